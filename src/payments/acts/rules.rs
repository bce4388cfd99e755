//! Decides who may do what alone, and who may decide. Pure.

use base::{Code, Piasters, Problem, UserId};

use super::model::{ActLimits, ActStatus, MoneyAct};

/// Must a second admin consent? `alone`: the sum of what this admin did alone within a day.
pub fn needs_another(limits: &ActLimits, amount: Piasters, alone: Piasters) -> bool {
    let amount = amount.abs();
    amount > limits.alone || alone + amount > limits.alone_per_day
}

base::words! {
    /// A second admin's word.
    Verdict { Approve = "approve", Decline = "decline" }
}

/// Why an act was not decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDecided {
    #[error("the act is {0} already")]
    Already(ActStatus),
    #[error("whoever asked for it can't consent to it")]
    OwnAct,
}

impl From<NotDecided> for Problem {
    fn from(why: NotDecided) -> Self {
        match why {
            NotDecided::Already(current) => {
                Self::new(Code::InvalidTransition, why.to_string()).with("current", current)
            }
            NotDecided::OwnAct => Self::new(Code::SecondAdminNeeded, why.to_string()),
        }
    }
}

/// What `by`'s word makes of an act. Whoever asked may take it back, and nothing else.
pub fn decide(act: &MoneyAct, by: UserId, verdict: Verdict) -> Result<ActStatus, NotDecided> {
    match (act.status, verdict) {
        (ActStatus::Pending, Verdict::Approve) if by == act.asked_by => Err(NotDecided::OwnAct),
        (ActStatus::Pending, Verdict::Approve) => Ok(ActStatus::Approved),
        (ActStatus::Pending, Verdict::Decline) => Ok(ActStatus::Declined),
        (current @ (ActStatus::Done | ActStatus::Approved | ActStatus::Declined), _) => {
            Err(NotDecided::Already(current))
        }
    }
}

#[cfg(test)]
mod tests {
    use base::Millis;
    use uuid::Uuid;

    use super::super::model::{ActId, ActKind, NewAct};
    use super::*;

    const ASKS: UserId = UserId::from_u128(1);
    const OTHER: UserId = UserId::from_u128(2);

    #[test]
    fn an_act_above_the_limit_or_beyond_the_day_needs_another() {
        let limits = ActLimits::default();
        let check = |amount, alone, expected| {
            let (amount, alone) = (Piasters::pounds(amount), Piasters::pounds(alone));
            assert_eq!(needs_another(&limits, amount, alone), expected, "{amount} after {alone}");
        };
        check(1_000, 0, false);
        check(1_001, 0, true);
        // What is taken away counts as what is given.
        check(-1_000, 0, false);
        check(-1_001, 0, true);
        check(1_000, 4_000, false);
        check(1, 5_000, true);
        check(-1, 5_000, true);
    }

    #[track_caller]
    fn check(status: ActStatus, by: UserId, verdict: Verdict, expected: &str) {
        let reason = "because".to_owned();
        let act = MoneyAct {
            id: ActId(Uuid::from_u128(9)),
            what: NewAct::on_account(ActKind::Adjustment, OTHER, Piasters(1), reason),
            status,
            asked_by: ASKS,
            asked_at: Millis(0),
            decided_by: None,
            decided_at: None,
            decision_reason: None,
            journal: None,
        };
        let found = match decide(&act, by, verdict) {
            Ok(status) => status.to_string(),
            Err(why) => why.to_string(),
        };
        assert_eq!(found, expected, "{status} {verdict}");
    }

    #[test]
    fn another_admin_decides_and_once() {
        use ActStatus::{Approved, Declined, Done, Pending};
        use Verdict::{Approve, Decline};
        check(Pending, OTHER, Approve, "approved");
        check(Pending, OTHER, Decline, "declined");
        check(Pending, ASKS, Approve, "whoever asked for it can't consent to it");
        check(Pending, ASKS, Decline, "declined");
        check(Approved, OTHER, Approve, "the act is approved already");
        check(Approved, OTHER, Decline, "the act is approved already");
        check(Declined, OTHER, Approve, "the act is declined already");
        check(Done, OTHER, Approve, "the act is done already");
        check(Done, ASKS, Decline, "the act is done already");
    }
}
