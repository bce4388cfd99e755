//! Words of reconciliation.

use base::Piasters;
use uuid::Uuid;

base::words! {
    /// What is wrong.
    FindingKind {
        /// The legs of a journal are not its own number, or don't sum to zero.
        UnbalancedJournal = "unbalanced_journal",
        /// A journal is not what was posted.
        ChangedJournal = "changed_journal",
        /// An entry does not follow from the one before it.
        BrokenChain = "broken_chain",
        /// A stored balance is not what the entries leave.
        AlteredBalance = "altered_balance",
        /// A balance beyond what its account may have.
        ForbiddenBalance = "forbidden_balance",
        /// A completed trip, or a fee, without its journal.
        MissingSettlement = "missing_settlement",
        /// A settlement of a trip that is not completed and paid.
        UnbackedSettlement = "unbacked_settlement",
        /// A settlement whose commission is not that of the fare.
        WrongSettlement = "wrong_settlement",
        /// An account of held money is not what is open.
        WrongHold = "wrong_hold",
        /// More was given back than paid.
        ExcessRefund = "excess_refund",
        /// A paid deposit that the ledger does not have, or has otherwise.
        MissingDeposit = "missing_deposit",
        /// A deposit in the ledger that nobody paid.
        UnbackedDeposit = "unbacked_deposit",
        /// A step of a withdrawal that the ledger does not have, or has otherwise.
        MissingWithdrawal = "missing_withdrawal",
        /// A step of a withdrawal in the ledger of which there is no withdrawal.
        UnbackedWithdrawal = "unbacked_withdrawal",
        /// The gateway captured what nobody here knows as paid.
        ForeignCapture = "foreign_capture",
        /// A deposit is paid here and was not captured there.
        MissingCapture = "missing_capture",
        /// Captured there with another amount than here.
        WrongCapture = "wrong_capture",
        /// A company account's roll-up is not the sum of its entries.
        WrongRollup = "wrong_rollup",
        /// A sealed day is not what it was.
        ChangedDay = "changed_day",
        /// What keeps history from changing is off.
        UnguardedLedger = "unguarded_ledger",
    }
}

base::words! {
    /// Where a finding stands.
    FindingStatus {
        Open = "open",
        Resolved = "resolved",
    }
}

base::words! {
    /// How a finding was resolved.
    Resolution {
        /// It was put right: seen again, it is opened again.
        Fixed = "fixed",
        /// It stays as it is: opened again only when it changes.
        Accepted = "accepted",
    }
}

base::words! {
    /// Who wanted a day looked at.
    AskedBy {
        Schedule = "schedule",
        Terminal = "terminal",
    }
}

/// Something that does not fit, as a look at a day found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discrepancy {
    pub kind: FindingKind,
    /// `trip:<id>`, `rider_wallet:<user>`, `capture:<transaction>` …
    pub subject: String,
    pub expected: String,
    pub actual: String,
}

/// A capture in the gateway's list of a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    pub transaction: String,
    /// The deposit or the card's authorisation that its order names, where it is one of ours.
    pub of: Option<Uuid>,
    /// What the ledger calls it where it waits in suspense.
    pub kept_as: Uuid,
    /// `None` for one that is no whole number of piasters of our currency.
    pub amount: Option<Piasters>,
}

base::words! {
    /// What the gateway took money for, as it begins the names of its orders.
    PaidKind {
        Deposit = "dep",
        /// A trip, by what was authorised for it.
        Card = "card",
    }
}

/// A deposit, or what a card paid, as far as the gateway's list is compared with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaidDeposit {
    pub kind: PaidKind,
    pub id: Uuid,
    pub amount: Piasters,
    /// The number of its newest attempt.
    pub attempt: i16,
    pub transaction: Option<String>,
    pub is_paid: bool,
}

impl PaidDeposit {
    /// As findings name it.
    pub(crate) fn subject(&self) -> String {
        let kind = match self.kind {
            PaidKind::Deposit => "deposit",
            PaidKind::Card => "card",
        };
        format!("{kind}:{}", self.id)
    }
}

/// What the comparison with the gateway's list brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    pub found: Vec<Discrepancy>,
    /// Paid here on that day and not in the list of it: captured a moment before midnight, or not
    /// at all. To be asked for one by one.
    pub unlisted: Vec<PaidDeposit>,
}

/// What is known from the gateway about a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewaySide {
    NotSetUp,
    /// Why.
    Unreadable(String),
    Compared(Vec<Discrepancy>),
}

impl GatewaySide {
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::NotSetUp => "not_set_up",
            Self::Unreadable(_) => "unreadable",
            Self::Compared(_) => "compared",
        }
    }
}

/// Which findings are looked for; what is absent doesn't narrow.
#[derive(Clone, Copy, Debug, Default)]
pub struct FindingFilter {
    pub status: Option<FindingStatus>,
    pub kind: Option<FindingKind>,
}
