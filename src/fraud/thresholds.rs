//! From where on the rules are met, on this deployment.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base::Piasters;

base::words! {
    /// A number that a deployment may set; 0 turns off what it belongs to.
    Threshold {
        /// Movements within an hour from which on the account is flagged, held, blocked.
        VelocityFlag = "velocity.flag",
        VelocityHold = "velocity.hold",
        VelocityBlock = "velocity.block",
        /// How many times its own average is too much for an account.
        AmountTimes = "amount.times",
        /// Movements of a kind before its average says anything.
        AmountHistory = "amount.history",
        /// Share of a day's deposits that may not be taken out on the same day, per cent.
        DepositPercent = "deposit.percent",
        /// Deposits of a day below this are nobody's concern, pounds.
        DepositLeast = "deposit.least",
        /// Trips that went nowhere, of the same two within a day.
        CircularFlag = "circular.flag",
        CircularHold = "circular.hold",
        /// What is nowhere, metres.
        CircularMetres = "circular.metres",
        /// Accounts on one phone.
        DeviceFlag = "device.flag",
        DeviceHold = "device.hold",
        /// Failed payments within an hour; logins count for the hold, before money goes out.
        FailuresHold = "failures.hold",
        FailuresBlock = "failures.block",
        /// Refused postings within an hour.
        RefusedFlag = "refused.flag",
        RefusedHold = "refused.hold",
        /// How long what was cleared stays cleared for the same evidence, days.
        RememberDays = "remember.days",
        /// Minutes of an hour in which a driver was where no car could have been.
        TeleportsFlag = "teleports.flag",
        /// Minutes at the very same position while a speed is reported.
        FrozenFlag = "frozen.flag",
        FrozenHold = "frozen.hold",
        /// Minutes at the very same position with a rider, without a speed.
        FrozenTrip = "frozen.trip",
        /// Trips of a day whose tracks are those of earlier ones.
        ReplayFlag = "replay.flag",
        ReplayHold = "replay.hold",
        ReplayBlock = "replay.block",
        /// How much more often than a cheap offer a dear one is taken, per cent.
        CherryPercent = "cherry.percent",
        /// Offers of a week before they say anything of a choice.
        CherryOffers = "cherry.offers",
        /// By how much acceptance fell, per cent.
        TrendPercent = "trend.percent",
        /// Offers of two days before they say anything of a trend.
        TrendOffers = "trend.offers",
        /// What a score is lowered by, hundredths, for which offers a driver takes ...
        PenaltyChoosing = "penalty.choosing",
        /// ... for taking fewer ...
        PenaltyTrend = "penalty.trend",
        /// ... for positions that are not his.
        PenaltySpoofing = "penalty.spoofing",
        /// After so many days nothing is left of it.
        PenaltyDays = "penalty.days",
    }
}

/// In the order of [`Threshold::ALL`]. More than ten movements an hour, ten times the average and
/// nine tenths of the deposits are the company's own numbers.
const DEFAULTS: [u32; Threshold::ALL.len()] = [
    0, 11, 30, 10, 5, 90, 100, 3, 5, 300, 4, 0, 5, 20, 10, 30, 7, 5, 5, 20, 20, 1, 2, 5, 30, 40,
    25, 20, 10, 5, 30, 14,
];

/// How accounts are looked at on this deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FraudConfig {
    pub thresholds: Thresholds,
    /// How long a person waits for the check of what he asks for.
    pub patience: Duration,
    /// Does this node look at how drivers drive and choose?
    pub watches_driving: bool,
}

impl Default for FraudConfig {
    fn default() -> Self {
        let patience = Duration::from_secs(1);
        Self { thresholds: Thresholds::default(), patience, watches_driving: true }
    }
}

/// Every threshold of this deployment. As text: `name=number`, comma separated; what is not named
/// keeps its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds([u32; Threshold::ALL.len()]);

impl Default for Thresholds {
    fn default() -> Self {
        Self(DEFAULTS)
    }
}

impl Thresholds {
    pub const fn of(&self, threshold: Threshold) -> u32 {
        self.0[threshold as usize]
    }

    pub(crate) fn least_deposits(&self) -> Piasters {
        Piasters::pounds(self.of(Threshold::DepositLeast).into())
    }

    pub(crate) fn remember(&self) -> Duration {
        Duration::from_secs(24 * 3600) * self.of(Threshold::RememberDays)
    }
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongThresholds {
    #[error("{0}: expected name=number")]
    Form(String),
    #[error("{0} is no threshold; there are: {names}", names = names())]
    Unknown(String),
}

fn names() -> String {
    Threshold::ALL.iter().map(|threshold| threshold.name()).collect::<Vec<_>>().join(", ")
}

impl FromStr for Thresholds {
    type Err = WrongThresholds;

    fn from_str(text: &str) -> Result<Self, WrongThresholds> {
        let mut thresholds = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let form = || WrongThresholds::Form(part.to_owned());
            let (name, value) = part.split_once('=').ok_or_else(form)?;
            let threshold = Threshold::parse(name.trim());
            let threshold =
                threshold.ok_or_else(|| WrongThresholds::Unknown(name.trim().to_owned()))?;
            thresholds.0[threshold as usize] = value.trim().parse().map_err(|_| form())?;
        }
        Ok(thresholds)
    }
}

impl fmt::Display for Thresholds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, threshold) in Threshold::ALL.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{threshold}={}", self.of(*threshold))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_changes_what_it_names_and_nothing_else() {
        let set: Thresholds = "velocity.hold=3, device.flag=0,".parse().expect("thresholds");
        assert_eq!((set.of(Threshold::VelocityHold), set.of(Threshold::DeviceFlag)), (3, 0));
        assert_eq!(set.of(Threshold::AmountTimes), 10);
        assert_eq!("".parse(), Ok(Thresholds::default()));
        assert_eq!(Thresholds::default().to_string().parse(), Ok(Thresholds::default()));
        let wrong = |text: &str| text.parse::<Thresholds>().expect_err("wrong").to_string();
        assert!(wrong("velocity=3").starts_with("velocity is no threshold; there are: velocity"));
        assert_eq!(wrong("velocity.hold=-1"), "velocity.hold=-1: expected name=number");
        assert_eq!(wrong("velocity.hold"), "velocity.hold: expected name=number");
    }

    #[test]
    fn every_default_stands_in_its_own_place() {
        let defaults = Thresholds::default();
        let said = [
            (Threshold::VelocityHold, 11),
            (Threshold::DepositPercent, 90),
            (Threshold::CircularMetres, 300),
            (Threshold::FailuresHold, 5),
            (Threshold::RefusedFlag, 10),
            (Threshold::RememberDays, 7),
            (Threshold::TeleportsFlag, 5),
            (Threshold::FrozenTrip, 20),
            (Threshold::ReplayBlock, 5),
            (Threshold::CherryOffers, 40),
            (Threshold::TrendOffers, 20),
            (Threshold::PenaltySpoofing, 30),
            (Threshold::PenaltyDays, 14),
        ];
        for (threshold, expected) in said {
            assert_eq!(defaults.of(threshold), expected, "{threshold}");
        }
    }
}
