//! The words of notifications: what is told, on which way, to which device, in which language.
//!
//! [`News`] is what happened, with what its text needs and nothing that names a person: names are
//! looked up when the text is made, so that a person can be erased without touching what was told.

use std::fmt;

use base::{DeviceId, Millis, NotificationId, Piasters, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

base::words! {
    /// Languages that texts exist in.
    Language { Ar = "ar", En = "en" }
}

base::words! {
    /// A way to a person.
    Channel {
        /// A `notice` on his open socket.
        Socket = "socket",
        Push = "push",
        Sms = "sms",
        Email = "email",
    }
}

base::words! {
    Platform { Ios = "ios", Android = "android" }
}

base::words! {
    /// What a person chooses about, on each channel.
    Group {
        Offers = "offers",
        Trips = "trips",
        Receipts = "receipts",
        Payments = "payments",
        Withdrawals = "withdrawals",
        Documents = "documents",
        Statements = "statements",
    }
}

base::words! {
    Kind {
        Offer = "offer",
        /// A trip was booked ahead.
        TripBooked = "trip_booked",
        /// Its driver is searched now.
        TripSoon = "trip_soon",
        /// For its driver, who accepted early: he must say again that he comes.
        ConfirmTrip = "confirm_trip",
        TripAccepted = "trip_accepted",
        TripArrived = "trip_arrived",
        TripStarted = "trip_started",
        TripCompleted = "trip_completed",
        TripCancelled = "trip_cancelled",
        /// The driver gave the trip back; another is searched.
        TripDriverCancelled = "trip_driver_cancelled",
        /// For a driver who did not confirm, or of whom nothing is heard: the trip is not his.
        TripTakenBack = "trip_taken_back",
        /// The driver gave the trip back, and his price was a bid.
        TripBidOff = "trip_bid_off",
        /// For the driver: the rider picked his bid.
        BidWon = "bid_won",
        TripNoDrivers = "trip_no_drivers",
        Receipt = "receipt",
        PaymentSucceeded = "payment_succeeded",
        PaymentFailed = "payment_failed",
        /// For the driver.
        Tip = "tip",
        /// The driver owes more than he may and gets no cash trips until he pays.
        DebtLimit = "debt_limit",
        /// More cash than the trip cost: the rest is in the rider's wallet.
        ChangeCredited = "change_credited",
        /// Less cash than the trip cost: the rider owes the rest.
        CashOwed = "cash_owed",
        PromoGranted = "promo_granted",
        /// Money given back, for a trip or to a card.
        Refunded = "refunded",
        DisputeResolved = "dispute_resolved",
        WithdrawalApproved = "withdrawal_approved",
        WithdrawalPaid = "withdrawal_paid",
        WithdrawalArrived = "withdrawal_arrived",
        /// It was sent and came back.
        WithdrawalFailed = "withdrawal_failed",
        WithdrawalRejected = "withdrawal_rejected",
        DocumentExpiring = "document_expiring",
        Statement = "statement",
        /// What is in the wallet stays there until somebody has looked at the account.
        AccountHeld = "account_held",
        AccountReleased = "account_released",
    }
}

base::words! {
    /// How far something told has come.
    Progress {
        /// On its way.
        Pending = "pending",
        /// A device said that it has it, or the carrier did.
        Delivered = "delivered",
        /// A provider took it.
        Sent = "sent",
        /// Every way was tried.
        Failed = "failed",
        /// Its time was over before it came anywhere.
        Expired = "expired",
        /// It may have been sent, and sending it twice would be worse.
        Unknown = "unknown",
        /// No way was open or wanted: it stands in the list only.
        Listed = "listed",
    }
}

base::words! {
    /// How far one way has come.
    DeliveryState {
        /// Claimed: the call to the provider is under way, or its answer got lost.
        Sending = "sending",
        /// To be tried, or looked at, again.
        Waiting = "waiting",
        /// A provider took it.
        Accepted = "accepted",
        Delivered = "delivered",
        Failed = "failed",
        Unknown = "unknown",
    }
}

base::words! {
    /// Who ended a trip.
    EndedBy { Rider = "rider", Driver = "driver", Company = "company" }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum News {
    Offer {
        #[serde(with = "whole")]
        price: Piasters,
        pickup_eta_s: u32,
        /// He would come should another driver not.
        #[serde(default)]
        standby: bool,
    },
    TripBooked {
        at: Millis,
    },
    TripSoon {
        at: Millis,
    },
    ConfirmTrip {
        at: Millis,
        by: Millis,
    },
    TripAccepted,
    TripArrived,
    TripStarted,
    TripCompleted {
        #[serde(with = "whole")]
        price: Piasters,
    },
    TripCancelled {
        by: EndedBy,
        #[serde(with = "whole")]
        fee: Piasters,
    },
    TripDriverCancelled,
    TripTakenBack,
    TripBidOff,
    BidWon {
        #[serde(with = "whole")]
        price: Piasters,
    },
    TripNoDrivers,
    Receipt(Receipt),
    PaymentSucceeded {
        #[serde(with = "whole")]
        amount: Piasters,
    },
    PaymentFailed {
        #[serde(with = "whole")]
        amount: Piasters,
    },
    Tip {
        #[serde(with = "whole")]
        amount: Piasters,
    },
    DebtLimit {
        #[serde(with = "whole")]
        owed: Piasters,
        #[serde(with = "whole")]
        limit: Piasters,
    },
    ChangeCredited {
        #[serde(with = "whole")]
        amount: Piasters,
    },
    CashOwed {
        #[serde(with = "whole")]
        amount: Piasters,
    },
    PromoGranted {
        #[serde(with = "whole")]
        amount: Piasters,
        until: Millis,
    },
    Refunded {
        #[serde(with = "whole")]
        amount: Piasters,
    },
    DisputeResolved,
    WithdrawalApproved {
        #[serde(with = "whole")]
        amount: Piasters,
    },
    WithdrawalPaid {
        #[serde(with = "whole")]
        amount: Piasters,
    },
    WithdrawalArrived {
        #[serde(with = "whole")]
        amount: Piasters,
    },
    WithdrawalFailed {
        #[serde(with = "whole")]
        amount: Piasters,
    },
    WithdrawalRejected {
        #[serde(with = "whole")]
        amount: Piasters,
    },
    DocumentExpiring {
        document: String,
        at: Millis,
    },
    Statement {
        from: Millis,
        to: Millis,
        trips: u32,
        #[serde(with = "whole")]
        earned: Piasters,
    },
    AccountHeld,
    AccountReleased,
}

/// What a rider paid for a trip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The fare.
    #[serde(with = "whole")]
    pub price: Piasters,
    /// What the company paid of it.
    #[serde(with = "whole", default)]
    pub promo: Piasters,
    /// Cash is handed over in coins there are: more than the rest, or (negative) less.
    #[serde(with = "whole", default)]
    pub rounding: Piasters,
    pub distance_m: u32,
    pub method: base::PaymentMethod,
    pub at: Millis,
}

impl Receipt {
    pub(crate) fn total(&self) -> Piasters {
        self.price - self.promo + self.rounding
    }
}

impl News {
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Offer { .. } => Kind::Offer,
            Self::TripBooked { .. } => Kind::TripBooked,
            Self::TripSoon { .. } => Kind::TripSoon,
            Self::ConfirmTrip { .. } => Kind::ConfirmTrip,
            Self::TripAccepted => Kind::TripAccepted,
            Self::TripArrived => Kind::TripArrived,
            Self::TripStarted => Kind::TripStarted,
            Self::TripCompleted { .. } => Kind::TripCompleted,
            Self::TripCancelled { .. } => Kind::TripCancelled,
            Self::TripDriverCancelled => Kind::TripDriverCancelled,
            Self::TripTakenBack => Kind::TripTakenBack,
            Self::TripBidOff => Kind::TripBidOff,
            Self::BidWon { .. } => Kind::BidWon,
            Self::TripNoDrivers => Kind::TripNoDrivers,
            Self::Receipt(_) => Kind::Receipt,
            Self::PaymentSucceeded { .. } => Kind::PaymentSucceeded,
            Self::PaymentFailed { .. } => Kind::PaymentFailed,
            Self::Tip { .. } => Kind::Tip,
            Self::DebtLimit { .. } => Kind::DebtLimit,
            Self::ChangeCredited { .. } => Kind::ChangeCredited,
            Self::CashOwed { .. } => Kind::CashOwed,
            Self::PromoGranted { .. } => Kind::PromoGranted,
            Self::Refunded { .. } => Kind::Refunded,
            Self::DisputeResolved => Kind::DisputeResolved,
            Self::WithdrawalApproved { .. } => Kind::WithdrawalApproved,
            Self::WithdrawalPaid { .. } => Kind::WithdrawalPaid,
            Self::WithdrawalArrived { .. } => Kind::WithdrawalArrived,
            Self::WithdrawalFailed { .. } => Kind::WithdrawalFailed,
            Self::WithdrawalRejected { .. } => Kind::WithdrawalRejected,
            Self::DocumentExpiring { .. } => Kind::DocumentExpiring,
            Self::Statement { .. } => Kind::Statement,
            Self::AccountHeld => Kind::AccountHeld,
            Self::AccountReleased => Kind::AccountReleased,
        }
    }
}

/// Piasters as a whole number: a tagged enum can't hold the wire's form of money.
mod whole {
    use base::Piasters;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(amount: &Piasters, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_i64(amount.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Piasters, D::Error> {
        i64::deserialize(input).map(Piasters)
    }
}

/// Something to tell one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub to: UserId,
    pub news: News,
    /// What it is about: a trip, a withdrawal. Later news of the same thing replaces it on screen.
    pub about: Option<Uuid>,
    /// Names this message among those to the same person: told twice, it is stored once.
    pub once: String,
    /// When it stops being news, where that is sooner than its kind says.
    pub until: Option<Millis>,
}

/// A phone that takes pushes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub id: DeviceId,
    pub platform: Platform,
    pub token: String,
    pub registered_at: Millis,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Which service reaches a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Fcm,
    Apns,
}

impl Device {
    /// An iPhone's own token is hex; one that came through Firebase is not.
    pub(crate) fn service(&self) -> Service {
        let hex = self.token.len() >= 64 && self.token.bytes().all(|b| b.is_ascii_hexdigit());
        match self.platform {
            Platform::Ios if hex => Service::Apns,
            Platform::Ios | Platform::Android => Service::Fcm,
        }
    }
}

/// Minutes of the day, on the clock of the person's city; may cross midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quiet {
    pub from: u16,
    /// The first minute that is loud again.
    pub to: u16,
}

/// What a person wants. Absent: everything, in the language of his phone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preferences {
    pub language: Option<Language>,
    pub email: Option<String>,
    pub quiet: Option<Quiet>,
    pub muted: Vec<(Group, Channel)>,
}

impl Preferences {
    pub(crate) fn mutes(&self, group: Group, channel: Channel) -> bool {
        self.muted.contains(&(group, channel))
    }
}

/// A way that was taken, or tried: one row per channel, and per device for pushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub id: Uuid,
    pub channel: Channel,
    pub device: Option<DeviceId>,
    pub state: DeliveryState,
    pub attempts: i16,
    /// The provider's name for it; on the socket, node and number.
    pub reference: Option<String>,
    pub code: Option<String>,
    pub next_at: Option<Millis>,
    pub changed_at: Millis,
}

/// Something told, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notification {
    pub id: NotificationId,
    pub to: UserId,
    pub news: News,
    pub about: Option<Uuid>,
    pub state: Progress,
    pub created_at: Millis,
    pub until: Millis,
}

impl Notification {
    /// Devices show only the newest of one name: one per thing it is about, else each by itself.
    pub(crate) fn collapse(&self) -> String {
        match self.about {
            Some(about) => format!("{}-{about}", crate::plan::rule(self.news.kind()).group),
            None => self.id.to_string(),
        }
    }
}
