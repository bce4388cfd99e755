//! Decides who may complain when, and what may answer a complaint. Pure.

use std::time::Duration;

use base::{Code, Millis, Problem, Role};

use super::model::{Dispute, DisputeStatus, Outcome};
use crate::acts::{ActKind, AtFault};

/// How long after its end a trip may be complained about.
pub const OPEN_WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    #[error("the trip is still under way")]
    NotEnded,
    #[error("a trip can be complained about for seven days after its end")]
    TooLate,
}

impl From<NotOpened> for Problem {
    fn from(why: NotOpened) -> Self {
        match why {
            NotOpened::NotEnded => Self::new(Code::TripInProgress, why.to_string()),
            NotOpened::TooLate => Self::new(Code::DisputeTooLate, why.to_string()),
        }
    }
}

/// `ended`: when the trip did, if it has.
pub fn may_open(ended: Option<Millis>, now: Millis) -> Result<(), NotOpened> {
    let ended = ended.ok_or(NotOpened::NotEnded)?;
    if now.after(ended) > OPEN_WITHIN { Err(NotOpened::TooLate) } else { Ok(()) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotResolved {
    #[error("the complaint is {0}")]
    Already(DisputeStatus),
    /// There is nobody to claw it back for.
    #[error("a driver's complaint is answered with a refund or rejected")]
    DriversClawback,
}

impl From<NotResolved> for Problem {
    fn from(why: NotResolved) -> Self {
        match why {
            NotResolved::Already(current) => {
                Self::new(Code::InvalidTransition, why.to_string()).with("current", current)
            }
            NotResolved::DriversClawback => Self::field("resolution", "invalid", &why.to_string()),
        }
    }
}

/// The act that carries an outcome out; `None` for a rejection.
pub fn remedy(
    dispute: &Dispute,
    outcome: Outcome,
) -> Result<Option<(ActKind, Option<AtFault>)>, NotResolved> {
    if dispute.status != DisputeStatus::Open {
        return Err(NotResolved::Already(dispute.status));
    }
    match (outcome, dispute.role) {
        (Outcome::Rejected, _) => Ok(None),
        (Outcome::Clawback, Role::Driver | Role::Admin) => Err(NotResolved::DriversClawback),
        (Outcome::Clawback, Role::Rider) => Ok(Some((ActKind::Refund, Some(AtFault::Driver)))),
        (Outcome::Refund, Role::Rider) => Ok(Some((ActKind::Refund, Some(AtFault::Company)))),
        (Outcome::Refund, Role::Driver | Role::Admin) => Ok(Some((ActKind::Adjustment, None))),
    }
}

#[cfg(test)]
mod tests {
    use base::{TripId, UserId};
    use uuid::Uuid;

    use super::super::model::{DisputeId, DisputeReason};
    use super::*;

    const ENDED: Millis = Millis(1_700_000_000_000);

    #[test]
    fn a_trip_is_complained_about_for_seven_days() {
        let day = Duration::from_secs(24 * 3600);
        assert_eq!(may_open(None, ENDED), Err(NotOpened::NotEnded));
        assert_eq!(may_open(Some(ENDED), ENDED), Ok(()));
        assert_eq!(may_open(Some(ENDED), ENDED + day * 7), Ok(()));
        let late = ENDED + day * 7 + Duration::from_millis(1);
        assert_eq!(may_open(Some(ENDED), late), Err(NotOpened::TooLate));
    }

    #[track_caller]
    fn check(role: Role, status: DisputeStatus, outcome: Outcome, expected: &str) {
        let dispute = Dispute {
            id: DisputeId(Uuid::from_u128(1)),
            trip: TripId::from_u128(2),
            opened_by: UserId::from_u128(3),
            role,
            reason: DisputeReason::Fare,
            text: "too much".to_owned(),
            status,
            resolution: None,
            opened_at: ENDED,
        };
        let found = match remedy(&dispute, outcome) {
            Ok(None) => "nothing".to_owned(),
            Ok(Some((kind, None))) => kind.to_string(),
            Ok(Some((kind, Some(fault)))) => format!("{kind} by {fault}"),
            Err(why) => why.to_string(),
        };
        assert_eq!(found, expected, "{outcome}");
    }

    #[test]
    fn each_outcome_has_its_act() {
        use DisputeStatus::{Open, Resolved, Waiting};
        check(Role::Rider, Open, Outcome::Refund, "refund by company");
        check(Role::Rider, Open, Outcome::Clawback, "refund by driver");
        check(Role::Rider, Open, Outcome::Rejected, "nothing");
        check(Role::Driver, Open, Outcome::Refund, "adjustment");
        check(Role::Driver, Open, Outcome::Rejected, "nothing");
        let no_clawback = "a driver's complaint is answered with a refund or rejected";
        check(Role::Driver, Open, Outcome::Clawback, no_clawback);
        check(Role::Rider, Waiting, Outcome::Rejected, "the complaint is waiting");
        check(Role::Rider, Resolved, Outcome::Refund, "the complaint is resolved");
    }
}
