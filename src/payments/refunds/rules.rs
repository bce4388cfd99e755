//! Decides what becomes of a refund to a card. Pure.
//!
//! Guarantees:
//! - a lost answer ends nothing;
//! - what had no effect for sure is failed, so that the money is free again.

use std::time::Duration;

use base::{Millis, Piasters};

use super::model::{CardRefund, RefundStatus};
use crate::kashier::{CallFailed, Found, Reversal, Standing};

/// After this a refund without an answer is somebody's to look at.
pub(crate) const OVERDUE: Duration = Duration::from_secs(24 * 3600);
const FIRST_LOOK: Duration = Duration::from_secs(60);
const LONGEST_REST: Duration = Duration::from_secs(3600);

/// What is known of a refund now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundWord {
    Done {
        transaction: Option<String>,
    },
    Failed {
        why: String,
        transaction: Option<String>,
    },
    /// Nobody knows yet.
    Open {
        transaction: Option<String>,
    },
}

impl RefundWord {
    /// The gateway's name for the refund.
    pub(crate) fn transaction(&self) -> Option<&str> {
        match self {
            Self::Done { transaction }
            | Self::Failed { transaction, .. }
            | Self::Open { transaction } => transaction.as_deref(),
        }
    }
}

/// Did a refund end the other way than it is told now?
pub(crate) const fn contradicts(status: RefundStatus, word: &RefundWord) -> bool {
    matches!(
        (status, word),
        (RefundStatus::Done, RefundWord::Failed { .. })
            | (RefundStatus::Failed, RefundWord::Done { .. })
    )
}

/// What the answer to the one call means.
pub(crate) fn of_answer(answer: Result<Reversal, CallFailed>) -> RefundWord {
    let failed = |why: String| RefundWord::Failed { why, transaction: None };
    match answer {
        Ok(Reversal::Done { transaction }) => RefundWord::Done { transaction },
        Ok(Reversal::Pending { transaction }) => RefundWord::Open { transaction },
        Ok(Reversal::Failed) => failed("the gateway refused it".to_owned()),
        // Nothing reached it, and nobody asks again by himself.
        Err(error @ CallFailed::NotDone { .. }) => failed(error.to_string()),
        Err(error) if error.refused_for_good().is_some() => failed(error.to_string()),
        Err(CallFailed::Lost { .. } | CallFailed::Refused { .. }) => {
            RefundWord::Open { transaction: None }
        }
    }
}

/// What a look at the order means, where `before` of it had gone back by earlier refunds of ours.
/// Any other sum is not by this refund, or not by it alone: a person has to look.
pub(crate) fn of_look(found: &Found, before: Piasters, amount: Piasters) -> RefundWord {
    match (found.standing, found.returned) {
        (Standing::Returned, Some(returned)) if returned == before + amount => {
            RefundWord::Done { transaction: None }
        }
        (
            Standing::Returned
            | Standing::Returning
            | Standing::Open
            | Standing::Paid
            | Standing::Authorized
            | Standing::Over
            | Standing::Unknown,
            _,
        ) => RefundWord::Open { transaction: None },
    }
}

/// Is a notice that `amount` went back, or didn't, about this refund?
pub(crate) fn is_told_of(
    refund: &CardRefund,
    transaction: Option<&str>,
    amount: Option<Piasters>,
) -> bool {
    let named = refund.transaction.as_deref();
    match (named, transaction) {
        (Some(ours), Some(theirs)) => ours == theirs,
        (None, _) | (_, None) => {
            refund.status == RefundStatus::Sent && amount == Some(refund.amount)
        }
    }
}

/// When a refund without an answer is looked at next.
pub(crate) fn next_look(sent: Millis, now: Millis) -> Millis {
    now + (now.after(sent) / 2).clamp(FIRST_LOOK, LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use base::UserId;
    use uuid::Uuid;

    use super::super::model::RefundId;
    use super::*;
    use crate::model::DepositId;

    #[test]
    fn an_answer_ends_a_refund_only_when_it_is_sure() {
        let check = |answer, expected: &str| {
            let word = match of_answer(answer) {
                RefundWord::Done { transaction } => format!("done {transaction:?}"),
                RefundWord::Failed { why, .. } => format!("failed: {why}"),
                RefundWord::Open { transaction } => format!("open {transaction:?}"),
            };
            assert_eq!(word, expected);
        };
        let named = || Some("TX-9".to_owned());
        check(Ok(Reversal::Done { transaction: named() }), "done Some(\"TX-9\")");
        check(Ok(Reversal::Pending { transaction: named() }), "open Some(\"TX-9\")");
        check(Ok(Reversal::Failed), "failed: the gateway refused it");
        let refused = |status| Err(CallFailed::Refused { status });
        for status in [400, 404, 405, 410, 422] {
            check(refused(status), &format!("failed: the gateway refused with {status}"));
        }
        // It doesn't know us, or has something under this name: nothing is known of the money.
        for status in [401, 403, 408, 409, 425] {
            check(refused(status), "open None");
        }
        let away = CallFailed::NotDone { why: "no connection".to_owned(), after: None };
        check(Err(away), "failed: the gateway was not reached: no connection");
        check(Err(CallFailed::Lost { why: "no answer".to_owned() }), "open None");
    }

    #[test]
    fn a_look_ends_a_refund_only_by_the_sum_that_it_makes() {
        let check = |standing, returned: Option<i64>, before, expected: &str| {
            let found = Found {
                standing,
                order: None,
                transaction: None,
                amount: Some(Piasters(2_000)),
                returned: returned.map(Piasters),
                currency: None,
                method: None,
            };
            let word = match of_look(&found, Piasters(before), Piasters(500)) {
                RefundWord::Done { .. } => "done",
                RefundWord::Failed { .. } => "failed",
                RefundWord::Open { .. } => "open",
            };
            assert_eq!(word, expected, "{standing:?} {returned:?} after {before}");
        };
        use Standing::{Authorized, Open, Over, Paid, Returned, Returning, Unknown};
        check(Returned, Some(500), 0, "done");
        check(Returned, Some(1_500), 1_000, "done");
        // Somebody gave another sum back by hand, or ours is not there yet.
        check(Returned, Some(499), 0, "open");
        check(Returned, Some(1_000), 1_000, "open");
        check(Returned, Some(2_000), 0, "open");
        check(Returned, None, 0, "open");
        // It is not decided.
        check(Returning, Some(500), 0, "open");
        for standing in [Authorized, Open, Over, Paid, Unknown] {
            check(standing, Some(500), 0, "open");
        }
    }

    #[test]
    fn a_notice_is_about_the_refund_it_names() {
        let refund = |status, transaction: Option<&str>| CardRefund {
            id: RefundId(Uuid::from_u128(1)),
            deposit: DepositId(Uuid::from_u128(2)),
            user: UserId::from_u128(3),
            amount: Piasters(500),
            status,
            transaction: transaction.map(str::to_owned),
            failure: None,
            asked_at: Millis(0),
            sent_at: None,
            ended_at: None,
        };
        let check = |status, ours, theirs, amount, expected| {
            let found = is_told_of(&refund(status, ours), theirs, Some(Piasters(amount)));
            assert_eq!(found, expected, "{status} {ours:?} {theirs:?} {amount}");
        };
        use RefundStatus::{Done, Failed, Pending, Sent};
        check(Sent, None, Some("TX-1"), 500, true);
        check(Sent, None, Some("TX-1"), 501, false);
        check(Sent, Some("TX-1"), Some("TX-1"), 500, true);
        check(Sent, Some("TX-1"), Some("TX-2"), 500, false);
        check(Sent, Some("TX-1"), None, 500, true);
        check(Done, Some("TX-1"), Some("TX-1"), 500, true);
        check(Done, None, Some("TX-1"), 500, false);
        check(Failed, None, Some("TX-1"), 500, false);
        check(Pending, None, Some("TX-1"), 500, false);
    }
}
