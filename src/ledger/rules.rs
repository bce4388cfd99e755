//! Decides which journals post what happens in the world.
//!
//! Owns who pays and who earns (DESIGN 7's table, a file per topic). Does no I/O: the caller passes
//! what it read, under lock where a decision hangs on it, and posts what comes back.
//!
//! Guarantees:
//! - every journal sums to zero;                              (test: `every_journal_sums_to_zero`)
//! - no journal takes more from a rider than he has;       (test: `riders_are_never_left_negative`)
//! - an amount that is not positive moves nothing: its journal has no legs, and the database
//!   refuses it;                                  (test: `an_amount_that_is_not_positive_is_none`)
//! - rounding happens once, half to even; the driver gets the residual.

mod correction;
mod deposit;
mod refund;
#[cfg(test)]
mod tests;
mod trip;
mod withdrawal;

pub use correction::{Debtor, adjustment, pay_due, write_off};
pub use deposit::{
    Resolution, deposit, deposit_refund, deposit_refund_failed, gateway_settled, suspense,
    suspense_resolved,
};
pub use refund::{Burden, Refund, RefundTo, refund};
pub use trip::{
    CancelFee, CashTaken, Insufficient, OverDueLimit, PaymentFailed, Settlement, Shares, TripMoney,
    captured, cash_difference, decide, fee_captured, hold_for, hold_journal, is_covered,
    raise_hold, shares, tip,
};
pub use withdrawal::{WithdrawStep, withdrawal};

use base::{DriverId, Piasters, RiderId, Role, UserId};

use crate::model::{Account, Leg};

/// An account that a person spends from, and that money for him goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wallet {
    Rider(RiderId),
    Driver(DriverId),
}

impl Wallet {
    /// `None` for roles without a wallet.
    pub const fn of(user: UserId, role: Role) -> Option<Self> {
        match role {
            Role::Rider => Some(Self::Rider(user.as_rider())),
            Role::Driver => Some(Self::Driver(user.as_driver())),
            Role::Admin => None,
        }
    }

    pub fn account(self) -> Account {
        match self {
            Self::Rider(rider) => Account::RiderWallet(rider.into()),
            Self::Driver(driver) => Account::Driver(driver.into()),
        }
    }
}

const fn leg(account: Account, amount: Piasters) -> Leg {
    Leg { account, amount, floor: None }
}

/// `amount` out of one account and into another; nothing when it is not positive.
fn moved(from: Account, to: Account, amount: Piasters) -> [Leg; 2] {
    let amount = amount.max(Piasters::ZERO);
    [leg(from, -amount), leg(to, amount)]
}
