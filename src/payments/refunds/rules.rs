//! Decides what becomes of a refund to a card. Pure.
//!
//! Guarantees:
//! - a lost answer ends nothing;
//! - what had no effect for sure is failed, so that the money is free again.

use std::time::Duration;

use base::{Millis, Piasters};

use super::model::{CardRefund, RefundStatus};
use crate::kashier::{CallFailed, Reversal, Standing};

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
    },
    /// Nobody knows yet.
    Open {
        transaction: Option<String>,
    },
}

/// What the answer to the one call means.
pub(crate) fn of_answer(answer: Result<Reversal, CallFailed>) -> RefundWord {
    match answer {
        Ok(Reversal::Done { transaction }) => RefundWord::Done { transaction },
        Ok(Reversal::Pending { transaction }) => RefundWord::Open { transaction },
        Ok(Reversal::Failed) => RefundWord::Failed { why: "the gateway refused it".to_owned() },
        // Nothing reached it, and nobody asks again by himself.
        Err(failed @ (CallFailed::NotDone { .. } | CallFailed::Refused { .. })) => {
            RefundWord::Failed { why: failed.to_string() }
        }
        Err(CallFailed::Lost { .. }) => RefundWord::Open { transaction: None },
    }
}

/// What a look at the order means. That some of it went back says nothing about this refund once
/// another of the same deposit did.
pub(crate) const fn of_look(standing: Standing, is_first: bool) -> RefundWord {
    match standing {
        Standing::Returned if is_first => RefundWord::Done { transaction: None },
        Standing::Returned
        | Standing::Open
        | Standing::Paid
        | Standing::Authorized
        | Standing::Over
        | Standing::Unknown => RefundWord::Open { transaction: None },
    }
}

/// Is a notice that `amount` went back about this refund?
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
                RefundWord::Failed { why } => format!("failed: {why}"),
                RefundWord::Open { transaction } => format!("open {transaction:?}"),
            };
            assert_eq!(word, expected);
        };
        let named = || Some("TX-9".to_owned());
        check(Ok(Reversal::Done { transaction: named() }), "done Some(\"TX-9\")");
        check(Ok(Reversal::Pending { transaction: named() }), "open Some(\"TX-9\")");
        check(Ok(Reversal::Failed), "failed: the gateway refused it");
        let refused = CallFailed::Refused { status: 400 };
        check(Err(refused), "failed: the gateway refused with 400");
        let away = CallFailed::NotDone { why: "no connection".to_owned(), after: None };
        check(Err(away), "failed: the gateway was not reached: no connection");
        check(Err(CallFailed::Lost { why: "no answer".to_owned() }), "open None");
    }

    #[test]
    fn a_look_ends_the_first_refund_only() {
        let open = RefundWord::Open { transaction: None };
        assert_eq!(of_look(Standing::Returned, true), RefundWord::Done { transaction: None });
        assert_eq!(of_look(Standing::Returned, false), open);
        assert_eq!(of_look(Standing::Paid, true), open);
        assert_eq!(of_look(Standing::Unknown, true), open);
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
