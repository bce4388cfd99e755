//! Money that a driver takes out: set aside, sent, arrived, or back again.

use base::{DriverId, Piasters};
use uuid::Uuid;

use super::moved;
use crate::model::{Account, Journal, Kind, Mode};

/// A step of a withdrawal. The database lets each happen once, and of rejected and sent, and of
/// confirmed and failed, only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithdrawStep {
    /// Set aside. Only what is there, whatever a driver may owe otherwise.
    Requested,
    /// Given back before it was sent.
    Rejected,
    Sent,
    Confirmed,
    /// The payout came back.
    Failed,
}

/// The journal of a step; key `withdraw:<withdrawal>:<step>`. `amount` is the same in every step.
pub fn withdrawal(
    withdrawal: Uuid,
    driver: DriverId,
    amount: Piasters,
    step: WithdrawStep,
) -> Journal {
    let (own, hold) = (Account::Driver(driver.into()), Account::DriverHold(driver.into()));
    let clearing = Account::PayoutClearing;
    let (name, kind, mode, from, to) = match step {
        WithdrawStep::Requested => {
            ("requested", Kind::WithdrawRequested, Mode::Authorising, own, hold)
        }
        WithdrawStep::Rejected => ("rejected", Kind::WithdrawRejected, Mode::Obligation, hold, own),
        WithdrawStep::Sent => ("sent", Kind::WithdrawSent, Mode::Authorising, hold, clearing),
        WithdrawStep::Confirmed => {
            ("confirmed", Kind::WithdrawConfirmed, Mode::Obligation, clearing, Account::Bank)
        }
        WithdrawStep::Failed => ("failed", Kind::WithdrawFailed, Mode::Obligation, clearing, own),
    };
    let key = format!("withdraw:{withdrawal}:{name}");
    Journal::new(kind, withdrawal, key, mode, &moved(from, to, amount))
}
