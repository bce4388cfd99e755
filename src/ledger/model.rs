//! The ledger's words: accounts, journals, what a posting answers.
//!
//! Amounts flow into an account when positive, out when negative. What a rider owes is a negative
//! balance of his due account; what a driver owes is a negative balance of his only account.

use base::{Fault, JournalId, Piasters, Problem, TripId, UserId};
use uuid::Uuid;

/// Where money is. Accounts with an owner are wallets: they have a stored balance. The others are
/// the company's: their balance is the sum of their entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Account {
    RiderWallet(UserId),
    /// Set aside for the trip under way.
    RiderHold(UserId),
    /// What the rider owes, as a balance of zero or less.
    RiderDue(UserId),
    RiderPromo(UserId),
    Driver(UserId),
    /// Set aside for a withdrawal under way.
    DriverHold(UserId),
    Commission,
    Vat,
    CancelRevenue,
    GatewayReceivable,
    GatewayFees,
    Bank,
    PayoutClearing,
    Adjustments,
    PromoExpense,
    RefundContra,
    BadDebt,
    /// Money that came and that nobody was expected to send.
    Suspense,
}

impl Account {
    /// Key of the kind in table `ledger_account_kind`; also the order in which accounts are locked.
    pub const fn kind(self) -> i16 {
        match self {
            Self::RiderWallet(_) => 1,
            Self::RiderHold(_) => 2,
            Self::RiderDue(_) => 3,
            Self::RiderPromo(_) => 4,
            Self::Driver(_) => 10,
            Self::DriverHold(_) => 11,
            Self::Commission => 20,
            Self::Vat => 21,
            Self::CancelRevenue => 22,
            Self::GatewayReceivable => 23,
            Self::GatewayFees => 24,
            Self::Bank => 25,
            Self::PayoutClearing => 26,
            Self::Adjustments => 27,
            Self::PromoExpense => 28,
            Self::RefundContra => 29,
            Self::BadDebt => 30,
            Self::Suspense => 31,
        }
    }

    /// `None` for the company's own accounts.
    pub const fn owner(self) -> Option<UserId> {
        match self {
            Self::RiderWallet(user)
            | Self::RiderHold(user)
            | Self::RiderDue(user)
            | Self::RiderPromo(user)
            | Self::Driver(user)
            | Self::DriverHold(user) => Some(user),
            Self::Commission
            | Self::Vat
            | Self::CancelRevenue
            | Self::GatewayReceivable
            | Self::GatewayFees
            | Self::Bank
            | Self::PayoutClearing
            | Self::Adjustments
            | Self::PromoExpense
            | Self::RefundContra
            | Self::BadDebt
            | Self::Suspense => None,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::RiderWallet(_) => "rider_wallet",
            Self::RiderHold(_) => "rider_hold",
            Self::RiderDue(_) => "rider_due",
            Self::RiderPromo(_) => "rider_promo",
            Self::Driver(_) => "driver",
            Self::DriverHold(_) => "driver_hold",
            Self::Commission => "commission",
            Self::Vat => "vat",
            Self::CancelRevenue => "cancel_revenue",
            Self::GatewayReceivable => "gateway_receivable",
            Self::GatewayFees => "gateway_fees",
            Self::Bank => "bank",
            Self::PayoutClearing => "payout_clearing",
            Self::Adjustments => "adjustments",
            Self::PromoExpense => "promo_expense",
            Self::RefundContra => "refund_contra",
            Self::BadDebt => "bad_debt",
            Self::Suspense => "suspense",
        }
    }

    /// One account of every kind, those with an owner owned by `owner`.
    pub const fn all(owner: UserId) -> [Self; 18] {
        [
            Self::RiderWallet(owner),
            Self::RiderHold(owner),
            Self::RiderDue(owner),
            Self::RiderPromo(owner),
            Self::Driver(owner),
            Self::DriverHold(owner),
            Self::Commission,
            Self::Vat,
            Self::CancelRevenue,
            Self::GatewayReceivable,
            Self::GatewayFees,
            Self::Bank,
            Self::PayoutClearing,
            Self::Adjustments,
            Self::PromoExpense,
            Self::RefundContra,
            Self::BadDebt,
            Self::Suspense,
        ]
    }

    /// Reads a row's account; `None` for a kind this program doesn't know.
    pub(crate) fn of_row(kind: i16, owner: Uuid) -> Option<Self> {
        Self::all(UserId(owner)).into_iter().find(|account| account.kind() == kind)
    }
}

/// What a journal is for. Its reference is the trip, unless it says something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Hold,
    Release,
    Settle,
    CancelFee,
    /// The rider gave more or less cash than the trip cost.
    CashDifference,
    Tip,
    /// Given back for a trip at the driver's cost. Reference: the refund.
    Refund,
    /// Given back for a trip at the company's cost. Reference: the refund.
    Goodwill,
    /// Reference: the rider.
    DuePaid,
    /// Reference: the deposit.
    Deposit,
    /// A deposit, or a part of it, goes back to its card. Reference of this and the next: the
    /// refund.
    DepositRefund,
    /// It did not.
    DepositRefundFailed,
    /// The gateway paid out what it had captured. Reference: its payout.
    GatewaySettled,
    /// A capture that belongs to nobody. Reference: the capture.
    Suspense,
    /// Whose it was is known now, or it went back. Reference: the capture.
    SuspenseResolved,
    /// Reference of this and the next four: the withdrawal.
    WithdrawRequested,
    WithdrawRejected,
    WithdrawSent,
    WithdrawConfirmed,
    /// It was sent and came back.
    WithdrawFailed,
    /// Reference: the user whose debt is given up.
    WriteOff,
    /// Reference: the user whose account is corrected.
    Adjustment,
}

impl Kind {
    pub const ALL: [Self; 22] = [
        Self::Hold,
        Self::Release,
        Self::Settle,
        Self::CancelFee,
        Self::CashDifference,
        Self::Tip,
        Self::Refund,
        Self::Goodwill,
        Self::DuePaid,
        Self::Deposit,
        Self::DepositRefund,
        Self::DepositRefundFailed,
        Self::GatewaySettled,
        Self::Suspense,
        Self::SuspenseResolved,
        Self::WithdrawRequested,
        Self::WithdrawRejected,
        Self::WithdrawSent,
        Self::WithdrawConfirmed,
        Self::WithdrawFailed,
        Self::WriteOff,
        Self::Adjustment,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Settle => "settle",
            Self::CancelFee => "cancel_fee",
            Self::CashDifference => "cash_difference",
            Self::Tip => "tip",
            Self::Refund => "refund",
            Self::Goodwill => "goodwill",
            Self::DuePaid => "due_paid",
            Self::Deposit => "deposit",
            Self::DepositRefund => "deposit_refund",
            Self::DepositRefundFailed => "deposit_refund_failed",
            Self::GatewaySettled => "gateway_settled",
            Self::Suspense => "suspense",
            Self::SuspenseResolved => "suspense_resolved",
            Self::WithdrawRequested => "withdraw_requested",
            Self::WithdrawRejected => "withdraw_rejected",
            Self::WithdrawSent => "withdraw_sent",
            Self::WithdrawConfirmed => "withdraw_confirmed",
            Self::WithdrawFailed => "withdraw_failed",
            Self::WriteOff => "write_off",
            Self::Adjustment => "adjustment",
        }
    }

    /// Its reference has one journal of this kind at most, whatever the key.
    pub const fn is_once(self) -> bool {
        !matches!(self, Self::DuePaid | Self::WriteOff | Self::Adjustment)
    }

    /// Its reference is a trip.
    pub const fn is_of_trip(self) -> bool {
        matches!(
            self,
            Self::Hold
                | Self::Release
                | Self::Settle
                | Self::CancelFee
                | Self::CashDifference
                | Self::Tip
        )
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// May the posting be refused for lack of money?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Asked for: an account's floor is enforced.
    Authorising,
    /// Already true in the world, like commission on cash that was paid: a driver's floor is no
    /// obstacle. Rider wallet, hold and promo stay at zero or above even so.
    Obligation,
}

impl Mode {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authorising => "authorising",
            Self::Obligation => "obligation",
        }
    }
}

/// One account's part in a journal, never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    pub account: Account,
    pub amount: Piasters,
    /// Sets the account's floor from here on (a driver's: minus his city's debt limit).
    pub floor: Option<Piasters>,
}

/// A balanced set of legs, posted whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    pub kind: Kind,
    /// What it is about; see [`Kind`].
    pub reference: Uuid,
    /// The trip behind it, when the reference is something else.
    pub parent: Option<TripId>,
    /// What the rider paid for the trip by this, in whatever way, negative when it gives back. The
    /// database lets no trip give back more than was paid for it (M8).
    pub paid: Option<Piasters>,
    /// Posts once; `settle:<trip>` and the like.
    pub key: String,
    pub mode: Mode,
    pub legs: Vec<Leg>,
    /// Shown to the owner of the accounts.
    pub note: Option<String>,
}

impl Journal {
    /// One netted leg per account, in account order; legs of zero are left out.
    pub fn new(kind: Kind, reference: Uuid, key: String, mode: Mode, legs: &[Leg]) -> Self {
        let mut netted: Vec<Leg> = Vec::with_capacity(legs.len());
        for leg in legs {
            match netted.iter_mut().find(|known| known.account == leg.account) {
                Some(known) => {
                    known.amount += leg.amount;
                    known.floor = leg.floor.or(known.floor);
                }
                None => netted.push(*leg),
            }
        }
        netted.retain(|leg| leg.amount != Piasters::ZERO);
        netted.sort_by_key(|leg| leg.account);
        Self { kind, reference, parent: None, paid: None, key, mode, legs: netted, note: None }
    }

    /// What it moves on `account`, zero when the account has no part in it.
    pub fn amount_on(&self, account: Account) -> Piasters {
        self.legs.iter().filter(|leg| leg.account == account).map(|leg| leg.amount).sum()
    }
}

/// Was this the posting that moved the money?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    First,
    /// The key had been posted before with the same body; nothing moved now.
    Again,
}

/// A journal that stands in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    pub journal: JournalId,
    pub repeat: Repeat,
    /// What the journal left on each wallet account it touched.
    pub balances: Vec<(Account, Piasters)>,
}

impl Posted {
    pub fn balance_of(&self, account: Account) -> Option<Piasters> {
        self.balances.iter().find(|(known, _)| *known == account).map(|(_, balance)| *balance)
    }
}

/// Why a journal was not posted. Posted alone, any of these has ended the transaction.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PostError {
    #[error("an account would pass its floor")]
    InsufficientFunds,
    #[error("the key, or the once-only reference, was used for another journal")]
    KeyReused,
    #[error("more would be given back for the trip than was paid for it")]
    RefundTooLarge,
    #[error("the journal doesn't balance")]
    Unbalanced,
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<PostError> for Problem {
    fn from(error: PostError) -> Self {
        match error {
            PostError::InsufficientFunds => {
                Self::new(base::Code::InsufficientBalance, "the balance doesn't cover this")
            }
            PostError::KeyReused => {
                let text = "the idempotency key was used for another request";
                Self::new(base::Code::IdempotencyKeyReused, text)
            }
            PostError::RefundTooLarge => {
                let text = "more would be given back for the trip than was paid for it";
                Self::new(base::Code::RefundTooLarge, text)
            }
            // Legs are made by this program: a bug.
            PostError::Unbalanced => Fault::internal(error.to_string()).into(),
            PostError::Fault(fault) => fault.into(),
        }
    }
}

/// A rider's money, read under lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RiderFunds {
    /// Free to spend.
    pub wallet: Piasters,
    /// Set aside for trips under way.
    pub hold: Piasters,
    /// Owed, zero or more.
    pub due: Piasters,
}

/// What the ledger knows of a trip's payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TripPaid {
    /// By the rider, for the fare or its cancellation; zero while it is not paid.
    pub paid: Piasters,
    /// Of that, what refunds gave back.
    pub given_back: Piasters,
    /// What the company paid of the fare for him.
    pub promo: Piasters,
}

/// A broken invariant of DESIGN 9, with the first places where it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `M1`, `M3`, …
    pub invariant: &'static str,
    pub detail: String,
}
