//! What a run came to: one number per measure, and their mean and spread over seeds.

use serde::Serialize;

/// How a rider was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Gave up, and no driver had been asked: nobody was near enough.
    Unasked,
    /// Gave up after one driver was asked.
    OneAsked,
    MoreAsked,
    /// Called it off on hearing of a pickup of less than ten minutes.
    Below10Min,
    Below15Min,
    Above15Min,
}

impl Loss {
    pub const ALL: [Self; 6] = [
        Self::Unasked,
        Self::OneAsked,
        Self::MoreAsked,
        Self::Below10Min,
        Self::Below15Min,
        Self::Above15Min,
    ];

    /// Of one who gave up before a driver had accepted.
    pub const fn gave_up(asked: u32) -> Self {
        match asked {
            0 => Self::Unasked,
            1 => Self::OneAsked,
            _ => Self::MoreAsked,
        }
    }

    /// Of one who called it off when he heard how long the pickup would take.
    pub const fn called_off(pickup_ms: i64) -> Self {
        match pickup_ms {
            ..600_000 => Self::Below10Min,
            600_000..900_000 => Self::Below15Min,
            _ => Self::Above15Min,
        }
    }

    pub const fn is_given_up(self) -> bool {
        matches!(self, Self::Unasked | Self::OneAsked | Self::MoreAsked)
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Unasked => "gave up, nobody asked",
            Self::OneAsked => "gave up, one asked",
            Self::MoreAsked => "gave up, more asked",
            Self::Below10Min => "called off, pickup < 10 min",
            Self::Below15Min => "called off, 10 to 15 min",
            Self::Above15Min => "called off, longer",
        }
    }
}

/// One run, counted over the riders who asked within the measured hours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    pub asked: u32,
    pub served: u32,
    /// How the others were lost, and how long after they had asked, seconds.
    pub losses: Vec<(Loss, f64)>,
    /// Riders who were given a nearer driver than the one who had said yes.
    pub swaps: u32,
    /// From asking to pickup, seconds, of those served.
    pub waits_s: Vec<f64>,
    /// From the driver's yes to pickup, seconds.
    pub pickups_s: Vec<f64>,
    /// Driven without a rider towards these riders, also in vain, metres.
    pub empty_m: f64,
    pub offers: u32,
    /// Offers withdrawn from a driver because another had said yes.
    pub taken: u32,
    /// Had a driver's yes within a minute.
    pub matched_60: u32,
    /// Trips ended within the measured hours, whoever asked when.
    pub ended: u32,
    pub driver_hours: f64,
    /// What each driver earned within the measured hours.
    pub earnings: Vec<f64>,
}

/// The measures of a run, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Measures {
    pub served_pct: f64,
    pub gave_up_pct: f64,
    pub called_off_pct: f64,
    pub wait_p50_s: f64,
    pub wait_p95_s: f64,
    pub pickup_mean_s: f64,
    pub empty_km_per_trip: f64,
    pub offers_per_trip: f64,
    pub taken_per_trip: f64,
    pub trips_per_driver_hour: f64,
    pub matched_60s_pct: f64,
    pub gini: f64,
    pub swaps_per_trip: f64,
    /// The wait that each twentieth more of those served did not exceed, seconds.
    pub wait_steps_s: [f64; Measures::STEPS],
    /// By cause, in the order of [`Loss::ALL`].
    pub lost: [Lost; 6],
}

/// Riders lost in one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Lost {
    /// Of those who asked.
    pub pct: f64,
    /// From asking until they went, mean.
    pub after_s: f64,
}

impl Lost {
    fn of(tally: &Tally, loss: Loss) -> Self {
        let of_cause = || tally.losses.iter().filter(move |(cause, _)| *cause == loss);
        let count = of_cause().count() as f64;
        let seconds: f64 = of_cause().map(|(_, seconds)| seconds).sum();
        Self {
            pct: count / f64::from(tally.asked.max(1)) * 100.0,
            after_s: seconds / count.max(1.0),
        }
    }
}

impl Measures {
    pub const STEPS: usize = 20;
    pub const NAMES: [&str; 13] = [
        "served %",
        "gave up %",
        "called off %",
        "wait p50 s",
        "wait p95 s",
        "pickup s",
        "empty km",
        "offers",
        "taken",
        "trips/dh",
        "60 s %",
        "Gini",
        "swaps",
    ];

    pub fn of(tally: &Tally) -> Self {
        let asked = f64::from(tally.asked.max(1));
        let served = f64::from(tally.served.max(1));
        let percent = |count: u32| f64::from(count) / asked * 100.0;
        let lost = |given_up: bool| {
            let of = |(loss, _): &&(Loss, f64)| loss.is_given_up() == given_up;
            percent(tally.losses.iter().filter(of).count() as u32)
        };
        let pickups: f64 = tally.pickups_s.iter().sum();
        Self {
            served_pct: percent(tally.served),
            gave_up_pct: lost(true),
            called_off_pct: lost(false),
            wait_p50_s: quantile(&tally.waits_s, 0.5),
            wait_p95_s: quantile(&tally.waits_s, 0.95),
            pickup_mean_s: pickups / served,
            empty_km_per_trip: tally.empty_m / 1_000.0 / served,
            offers_per_trip: f64::from(tally.offers) / served,
            taken_per_trip: f64::from(tally.taken) / served,
            trips_per_driver_hour: f64::from(tally.ended) / tally.driver_hours.max(1e-9),
            matched_60s_pct: percent(tally.matched_60),
            gini: gini(&tally.earnings),
            swaps_per_trip: f64::from(tally.swaps) / served,
            wait_steps_s: std::array::from_fn(|step| {
                quantile(&tally.waits_s, (step + 1) as f64 / Self::STEPS as f64)
            }),
            lost: Loss::ALL.map(|loss| Lost::of(tally, loss)),
        }
    }

    pub const fn all(&self) -> [f64; 13] {
        [
            self.served_pct,
            self.gave_up_pct,
            self.called_off_pct,
            self.wait_p50_s,
            self.wait_p95_s,
            self.pickup_mean_s,
            self.empty_km_per_trip,
            self.offers_per_trip,
            self.taken_per_trip,
            self.trips_per_driver_hour,
            self.matched_60s_pct,
            self.gini,
            self.swaps_per_trip,
        ]
    }
}

/// Mean and standard deviation over seeds.
pub fn spread(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0).max(1.0)).sqrt())
}

/// The smallest value that at least a share `q` doesn't exceed; 0 of nothing.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// 0 when all have the same, near 1 when one has all.
pub fn gini(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (n, sum) = (sorted.len() as f64, sorted.iter().sum::<f64>());
    if sum <= 0.0 {
        return 0.0;
    }
    let ranked: f64 =
        sorted.iter().enumerate().map(|(place, value)| (place + 1) as f64 * value).sum();
    2.0 * ranked / (n * sum) - (n + 1.0) / n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arithmetic_is_right() {
        assert_eq!(spread(&[1.0, 2.0, 3.0]), (2.0, 1.0));
        assert_eq!(spread(&[4.0]), (4.0, 0.0));
        assert_eq!(quantile(&[3.0, 1.0, 2.0, 4.0], 0.5), 2.0);
        assert_eq!(quantile(&[3.0, 1.0, 2.0, 4.0], 0.95), 4.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
        assert!(gini(&[5.0; 4]).abs() < 1e-9);
        assert!((gini(&[0.0, 0.0, 0.0, 10.0]) - 0.75).abs() < 1e-9);
        assert_eq!(gini(&[0.0, 0.0]), 0.0);
    }
}
