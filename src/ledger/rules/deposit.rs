//! Money that comes through the gateway, expected or not.

use base::Piasters;
use uuid::Uuid;

use super::{Wallet, leg, moved};
use crate::model::{Account, Journal, Kind, Mode};

/// A deposit was captured: a rider tops up, a driver pays what he owes. Key `deposit:<deposit>`.
pub fn deposit(deposit: Uuid, to: Wallet, amount: Piasters) -> Journal {
    let legs = moved(Account::GatewayReceivable, to.account(), amount);
    Journal::new(Kind::Deposit, deposit, format!("deposit:{deposit}"), Mode::Obligation, &legs)
}

/// A deposit, or a part of it, goes back to the card it came from. Taken off before the gateway is
/// asked, and only what is there. Key `deposit_refund:<refund>`.
pub fn deposit_refund(refund: Uuid, from: Wallet, amount: Piasters, reason: &str) -> Journal {
    let legs = moved(from.account(), Account::GatewayReceivable, amount);
    let key = format!("deposit_refund:{refund}");
    let mut journal = Journal::new(Kind::DepositRefund, refund, key, Mode::Authorising, &legs);
    journal.note = Some(reason.to_owned());
    journal
}

/// The gateway did not take it: all of it is back. Key `deposit_refund_failed:<refund>`.
pub fn deposit_refund_failed(refund: Uuid, to: Wallet, amount: Piasters) -> Journal {
    let legs = moved(Account::GatewayReceivable, to.account(), amount);
    let key = format!("deposit_refund_failed:{refund}");
    Journal::new(Kind::DepositRefundFailed, refund, key, Mode::Obligation, &legs)
}

/// The gateway paid out `gross` of what it had captured, and kept `fee` of it. Key
/// `gateway:<payout>`.
pub fn gateway_settled(payout: Uuid, gross: Piasters, fee: Piasters) -> Journal {
    let gross = gross.max(Piasters::ZERO);
    let fee = fee.clamp(Piasters::ZERO, gross);
    let legs = [
        leg(Account::GatewayReceivable, gross),
        leg(Account::Bank, fee - gross),
        leg(Account::GatewayFees, -fee),
    ];
    let key = format!("gateway:{payout}");
    Journal::new(Kind::GatewaySettled, payout, key, Mode::Obligation, &legs)
}

/// A capture that nobody asked for waits until it is known whose it is. Key `suspense:<capture>`.
pub fn suspense(capture: Uuid, amount: Piasters) -> Journal {
    let legs = moved(Account::GatewayReceivable, Account::Suspense, amount);
    Journal::new(Kind::Suspense, capture, format!("suspense:{capture}"), Mode::Obligation, &legs)
}

/// How a capture in suspense ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    Found(Wallet),
    /// The gateway gives it back to whoever paid.
    Returned,
}

/// Ends what [`suspense`] began, with the same amount. Key `resolve:<capture>`.
pub fn suspense_resolved(capture: Uuid, amount: Piasters, how: Resolution) -> Journal {
    let to = match how {
        Resolution::Found(wallet) => wallet.account(),
        Resolution::Returned => Account::GatewayReceivable,
    };
    let legs = moved(Account::Suspense, to, amount);
    let key = format!("resolve:{capture}");
    Journal::new(Kind::SuspenseResolved, capture, key, Mode::Obligation, &legs)
}
