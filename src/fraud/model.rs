//! The words of fraud: what an account did, which rule it met, what that means for it.

use base::{Millis, Piasters, UserId};
use serde_json::Value;

base::words! {
    /// Why somebody should look at an account.
    Rule {
        /// More money moved by the account's own wish within an hour than people do.
        Velocity = "velocity",
        /// Far more at once than the account is used to.
        AmountAnomaly = "amount_anomaly",
        /// What was paid in is taken out again at once.
        DepositWithdraw = "deposit_withdraw",
        /// The same two people, again and again, going nowhere.
        CircularTrips = "circular_trips",
        /// One phone on many accounts.
        SharedDevice = "shared_device",
        /// Payments that fail again and again, or logins before money goes out.
        RepeatedFailures = "repeated_failures",
        /// Money that isn't there, tried again and again.
        RefusedPostings = "refused_postings",
        /// A withdrawal could not be checked, and a person has to.
        Unchecked = "unchecked",
        /// Positions of a driver to which no car could have driven.
        Teleports = "teleports",
        /// The very same position for long, of a car that is said to move.
        FrozenPosition = "frozen_position",
        /// The track of a trip is an earlier one's, point by point.
        ReplayedTrack = "replayed_track",
        /// A driver takes the dear offers and leaves the cheap ones, or leaves a part of the town.
        CherryPicking = "cherry_picking",
        /// A driver takes far fewer offers than he used to.
        AcceptanceDrop = "acceptance_drop",
    }
}

base::words! {
    /// What a case means for its account, mildest first.
    Action {
        /// Operators see it.
        Flag = "flag",
        /// What is in the wallet stays there until somebody has decided.
        Hold = "hold",
        /// No money moves, and a driver is offered no trip.
        Block = "block",
    }
}

impl Action {
    /// The sterner of the two.
    pub const fn or(self, other: Self) -> Self {
        if other as u8 > self as u8 { other } else { self }
    }

    pub const fn is_sterner_than(self, other: Self) -> bool {
        self as u8 > other as u8
    }

    /// Does money stay where it is?
    pub const fn stops_money(self) -> bool {
        !matches!(self, Self::Flag)
    }
}

base::words! {
    /// Where a case stands.
    Status {
        /// Nobody has decided; its action is in force.
        Open = "open",
        /// There was nothing to it, or not any more.
        Cleared = "cleared",
        /// It is fraud: the account is blocked.
        Confirmed = "confirmed",
    }
}

base::words! {
    /// An operator's word on a case.
    Decision {
        /// There is nothing to an open case.
        Clear = "clear",
        /// It is fraud: the account is blocked.
        Confirm = "confirm",
        /// What was confirmed holds no longer.
        Release = "release",
    }
}

base::words! {
    /// A movement of money that an account asks for itself. What is done to it (fares, fees,
    /// refunds) is none: a driver who drives all day has asked for nothing.
    Movement {
        Deposit = "deposit",
        Withdrawal = "withdrawal",
        /// A trip to be paid from the wallet.
        WalletBooking = "wallet_booking",
    }
}

base::words! {
    /// What is counted of an account.
    What {
        /// It asked for a movement of money.
        Moved = "moved",
        /// Money came in.
        Deposited = "deposited",
        /// It asked for money to go out.
        Withdrawn = "withdrawn",
        PaymentFailed = "payment_failed",
        LoginFailed = "login_failed",
        /// A posting was refused.
        Refused = "refused",
        /// It took a trip that went nowhere, with somebody.
        Circular = "circular",
    }
}

/// Something that an account did, or that happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note<'a> {
    /// It is in the ledger. How often was counted when it was asked for.
    Moved(Movement, Piasters),
    PaymentFailed,
    LoginFailed,
    Refused,
    /// A trip that went nowhere, with this person.
    Circular(UserId),
    /// It is on the phone with this push token.
    Device(&'a str),
}

/// May a movement go on?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Go,
    /// It may be asked for, and waits until somebody has decided about the account.
    Waits,
    UnderReview,
    Blocked,
}

/// Times and amounts of one thing within one bucket of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count {
    pub what: What,
    /// With whom; the nil id where it is with nobody.
    pub other: UserId,
    /// When the bucket begins.
    pub bucket: Millis,
    pub times: u32,
    pub amount: Piasters,
}

/// All that an account moved in one way before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct History {
    pub times: i64,
    pub total: Piasters,
}

/// What the rules look at.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    /// Of the last day.
    pub counts: Vec<Count>,
    /// What is asked for now, and what was before it; it is among the counts already.
    pub asked: Option<(Movement, Piasters, History)>,
    /// Accounts that were seen on the phone this account is on.
    pub accounts_of_device: u32,
}

/// A rule that was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signal {
    pub rule: Rule,
    pub action: Action,
    /// How much evidence there is, in the rule's own measure.
    pub weight: i64,
    /// For operators.
    pub reasons: Value,
}

/// The case of a rule that an account has, or had last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// None: a later program's, of which only what it means for the account is known.
    pub rule: Option<Rule>,
    pub status: Status,
    pub action: Action,
    pub weight: i64,
    pub decided_at: Option<Millis>,
}

/// Which cases an operator looks for; what is absent doesn't narrow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CaseFilter {
    pub status: Option<Status>,
    pub rule: Option<Rule>,
}
