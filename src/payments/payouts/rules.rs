//! Decides what a withdrawal may do next. Pure.
//!
//! Guarantees:
//! - every pair of status and act is written out, and what is not allowed changes nothing;
//!   (test: `every_act_in_every_status`)
//! - nothing that was sent is sent again, and nothing that ended moves.

use std::time::Duration;

use base::{Millis, Piasters};
use ledger::WithdrawStep;

use super::model::{PayoutChannel, WithdrawLimits, WithdrawalStatus};
use super::provider::PayoutStanding;

/// The first look at a payout that was sent, and the longest rest between two.
const FIRST_LOOK: Duration = Duration::from_secs(30);
const LONGEST_REST: Duration = Duration::from_secs(15 * 60);
/// A payout on its way for longer than this is somebody's to look at.
pub(crate) const OVERDUE: Duration = Duration::from_secs(3 * 24 * 3600);
/// Between two letters about an overdue payout.
pub(crate) const OVERDUE_REST: Duration = Duration::from_secs(24 * 3600);

/// What is done to a withdrawal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Approve,
    Reject,
    /// It is given to the provider, or an operator has ordered it at the bank.
    Send(PayoutChannel),
    /// It arrived.
    Confirm,
    /// It came back.
    Fail,
}

/// It can't do that from where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the withdrawal is {current}")]
pub struct Refused {
    pub current: WithdrawalStatus,
}

/// Where `act` brings a withdrawal, and what is posted on the way.
pub(crate) fn step(
    current: WithdrawalStatus,
    act: Act,
) -> Result<(WithdrawalStatus, Option<WithdrawStep>), Refused> {
    use WithdrawalStatus::{Approved, Confirmed, Failed, Rejected, Requested, Sent};
    match (current, act) {
        // The amount was set aside when it was asked for.
        (Requested, Act::Approve) => Ok((Approved, None)),
        (Requested, Act::Reject) => Ok((Rejected, Some(WithdrawStep::Rejected))),
        (Approved, Act::Send(_)) => Ok((Sent, Some(WithdrawStep::Sent))),
        (Sent, Act::Confirm) => Ok((Confirmed, Some(WithdrawStep::Confirmed))),
        (Sent, Act::Fail) => Ok((Failed, Some(WithdrawStep::Failed))),
        (Requested, Act::Send(_) | Act::Confirm | Act::Fail)
        | (Approved, Act::Approve | Act::Reject | Act::Confirm | Act::Fail)
        | (Sent, Act::Approve | Act::Reject | Act::Send(_))
        | (Confirmed | Failed | Rejected, _) => Err(Refused { current }),
    }
}

/// What the provider's word does to a withdrawal; nothing while it is on its way.
pub(crate) const fn act_of_standing(standing: PayoutStanding) -> Option<Act> {
    match standing {
        PayoutStanding::Pending => None,
        PayoutStanding::Paid => Some(Act::Confirm),
        PayoutStanding::Failed => Some(Act::Fail),
    }
}

/// Does the provider now say something else than what was booked?
pub(crate) const fn contradicts(status: WithdrawalStatus, standing: PayoutStanding) -> bool {
    matches!(
        (status, standing),
        (WithdrawalStatus::Confirmed, PayoutStanding::Failed)
            | (WithdrawalStatus::Failed, PayoutStanding::Paid)
            | (WithdrawalStatus::Rejected, _)
    )
}

/// Why an amount can't be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutOfBounds {
    Amount,
    TooMany,
}

/// `taken`: withdrawals of the last day.
pub(crate) fn within(
    limits: &WithdrawLimits,
    amount: Piasters,
    taken: u32,
) -> Result<(), OutOfBounds> {
    if amount < limits.least || amount > limits.most {
        return Err(OutOfBounds::Amount);
    }
    if taken >= limits.per_day {
        return Err(OutOfBounds::TooMany);
    }
    Ok(())
}

/// When a payout that is on its way is looked at next: soon, then ever more seldom.
pub(crate) fn next_look(sent: Millis, now: Millis) -> Millis {
    now + (now.after(sent) / 2).clamp(FIRST_LOOK, LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTS: [(&str, Act); 6] = [
        ("approve", Act::Approve),
        ("reject", Act::Reject),
        ("send", Act::Send(PayoutChannel::Provider)),
        ("send by hand", Act::Send(PayoutChannel::Hand)),
        ("confirm", Act::Confirm),
        ("fail", Act::Fail),
    ];

    /// Every act that `from` allows, with where it leads and what is posted.
    #[track_caller]
    fn check(from: WithdrawalStatus, expected: &[&str]) {
        let allowed = ACTS.iter().filter_map(|(name, act)| {
            let (to, posts) = step(from, *act).ok()?;
            let posts = posts.map_or_else(|| "nothing".to_owned(), |step| format!("{step:?}"));
            Some(format!("{name}: {to}, {posts}"))
        });
        assert_eq!(allowed.collect::<Vec<_>>(), expected, "{from}");
    }

    #[test]
    fn every_act_in_every_status() {
        use WithdrawalStatus::{Approved, Confirmed, Failed, Rejected, Requested, Sent};
        check(Requested, &["approve: approved, nothing", "reject: rejected, Rejected"]);
        check(Approved, &["send: sent, Sent", "send by hand: sent, Sent"]);
        check(Sent, &["confirm: confirmed, Confirmed", "fail: failed, Failed"]);
        check(Confirmed, &[]);
        check(Failed, &[]);
        check(Rejected, &[]);
    }

    #[test]
    fn what_ended_has_no_way_on() {
        for status in WithdrawalStatus::ALL {
            let moves = ACTS.iter().any(|(_, act)| step(*status, *act).is_ok());
            assert_eq!(moves, !status.is_over(), "{status}");
        }
    }

    #[test]
    fn the_provider_word_ends_what_is_on_its_way() {
        assert_eq!(act_of_standing(PayoutStanding::Pending), None);
        assert_eq!(act_of_standing(PayoutStanding::Paid), Some(Act::Confirm));
        assert_eq!(act_of_standing(PayoutStanding::Failed), Some(Act::Fail));
        use WithdrawalStatus::{Confirmed, Failed, Rejected, Sent};
        assert!(
            contradicts(Confirmed, PayoutStanding::Failed)
                && contradicts(Failed, PayoutStanding::Paid)
        );
        assert!(contradicts(Rejected, PayoutStanding::Pending));
        assert!(
            !contradicts(Confirmed, PayoutStanding::Paid)
                && !contradicts(Sent, PayoutStanding::Failed)
        );
    }

    #[test]
    fn an_amount_keeps_its_bounds() {
        let limits = WithdrawLimits::default();
        let check = |pounds: &str, taken, expected| {
            let amount = Piasters::parse(pounds).expect("an amount");
            assert_eq!(within(&limits, amount, taken), expected, "{pounds} {taken}");
        };
        check("50", 0, Ok(()));
        check("10000", 2, Ok(()));
        check("49.99", 0, Err(OutOfBounds::Amount));
        check("10000.01", 0, Err(OutOfBounds::Amount));
        check("-50", 0, Err(OutOfBounds::Amount));
        check("50", 3, Err(OutOfBounds::TooMany));
    }

    #[test]
    fn a_payout_is_looked_at_ever_more_seldom() {
        let sent = Millis(1_700_000_000_000);
        let after = |seconds| {
            let now = sent + Duration::from_secs(seconds);
            next_look(sent, now).since(now) / 1000
        };
        assert_eq!([after(0), after(60), after(600), after(86_400)], [30, 30, 300, 900]);
    }
}
