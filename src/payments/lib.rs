//! Money from and to the world outside: what the gateway is asked, what it says, what becomes of
//! it.
//!
//! Owns the gateway's protocol and client, deposits, what riders authorise on cards, and what the
//! gateway told. Does not own
//! balances: every movement is a journal of `ledger`. Tells nobody: who applies news (the flows)
//! tells in the same transaction.
//!
//! Guarantees:
//! - nothing the gateway says is believed before its signature is found right, and what it says is
//!   kept before it is answered;
//! - a deposit is booked once, by exactly the amount and currency that were asked for, and a paid
//!   one never goes back;   (test: `a_payment_makes_a_deposit_paid_once`)
//! - money that belongs to no deposit is kept in suspense, and a person is told;
//! - an amount is read from its digits, never through a float.

mod acts;
mod apply;
mod captures;
mod cards;
mod desk;
mod disputes;
mod facts;
mod job;
mod kashier;
mod model;
mod payouts;
mod refunds;
mod rules;
mod store;
mod suspense;
#[cfg(test)]
mod tests;
mod wire;

pub use acts::{
    ActDetails, ActFilter, ActId, ActKind, ActLimits, ActStatus, ActView, ActsPage, AtFault,
    MoneyAct, NewAct, NotDecided, Verdict, act_add_in_tx, act_decide_in_tx, act_in_tx,
    act_lock_in_tx, acts_in_tx, alone_since_in_tx, decide, needs_another,
    refunds_of_trip_wait_in_tx,
};
pub use apply::{Applied, ApplyError, NoticeApplied, Paid, gateway_payout};
pub use captures::Capture;
pub use cards::{
    CARD, CARD_LOOKS, CARDS_EVERY_MINUTE, CardAuthorisation, CardId, CardJob, CardLimits,
    CardLooked, CardMoved, CardOpened, CardOutcome, CardReference, CardStatus, CardView, CardWord,
};
pub use desk::{DepositLimits, Looked, Payments, PaymentsConfig};
pub use disputes::{
    Dispute, DisputeFilter, DisputeId, DisputeReason, DisputeStatus, DisputeView, DisputesPage,
    NotOpened, NotResolved, OPEN_WITHIN, Outcome, Resolution, dispute_add_in_tx,
    dispute_lock_in_tx, dispute_of_trip_in_tx, dispute_resolve_in_tx, disputes_in_tx, may_open,
    remedy,
};
pub use facts::{
    CARD_FACTS, PaymentCompleted, PaymentFailed, PaymentInitiated, PaymentRefunded,
    WITHDRAWAL_FACTS, WithdrawalMoved,
};
pub use job::{DEPOSIT_LOOK, DEPOSIT_LOOKS, EVERY_MINUTE, LookJob, NoticeJob, PAYMENT_NOTICE};
pub use kashier::{
    CallFailed, Currency, Event, Found, GatewayMode, Hold, HoldStanding, Intent, Kashier,
    KashierConfig, ListFailed, Listed, NotGenuine, Notice, NoticeStatus, Order, Page, PayPage,
    Reversal, SigningKey, Standing,
};
pub use model::{Claim, Deposit, DepositId, DepositStatus, News, NoReference, Reference};
pub use payouts::{
    Act, AdvanceError, Advanced, Asked, Asking, NewWithdrawal, NotAnAccount, PAYOUT, PAYOUT_LOOKS,
    PAYOUTS_EVERY_MINUTE, PayoutAccount, PayoutChannel, PayoutJob, PayoutMethod, PayoutOrder,
    PayoutProvider, PayoutProviderConfig, PayoutStanding, PayoutState, Payouts, PayoutsConfig,
    Pursued, Refused, With, WithdrawLimits, Withdrawal, WithdrawalFilter, WithdrawalId,
    WithdrawalStatus, WithdrawalView, WithdrawalsPage,
};
pub use refunds::{
    CardRefund, REFUND, REFUND_LOOKS, REFUNDS_EVERY_MINUTE, RefundId, RefundJob, RefundMoved,
    RefundStatus, RefundView, RefundWord, RefundsPage,
};
pub use suspense::{
    Kept, SuspensePage, SuspenseView, suspense_in_tx, suspense_lock_in_tx, suspense_resolve_in_tx,
};
pub use wire::{DepositOpened, DepositView};
