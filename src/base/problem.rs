//! What a caller is told when the answer is no: a stable code, a sentence, details.
//!
//! Every code of the product is listed here with its HTTP status, so that REST and the socket can't
//! disagree and `schema/refusals.json` is complete.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{Fault, PointError};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal;)*) => {
        /// A stable reason. The name never changes; the sentence beside it may.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// SCREAMING_SNAKE, as on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The HTTP status it travels with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }
        }
    };
}

codes! {
    /// The request doesn't have the documented form; `details.fields` says where.
    ValidationFailed = "VALIDATION_FAILED", 400;
    /// The body is no JSON.
    MalformedBody = "MALFORMED_BODY", 400;
    /// The content type is not `application/json`.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE", 415;
    /// The body or frame is over the limit.
    PayloadTooLarge = "PAYLOAD_TOO_LARGE", 413;
    /// A frame of a type that the protocol doesn't know, or not from this role.
    UnknownType = "UNKNOWN_TYPE", 400;
    /// No token, or one that is not valid.
    Unauthenticated = "UNAUTHENTICATED", 401;
    /// The token was good and has ended.
    TokenExpired = "TOKEN_EXPIRED", 401;
    /// The session was ended by logout or by misuse of a refresh token.
    SessionRevoked = "SESSION_REVOKED", 401;
    /// Phone and password don't belong together.
    InvalidCredentials = "INVALID_CREDENTIALS", 401;
    /// The refresh token is unknown, used or ended.
    InvalidRefreshToken = "INVALID_REFRESH_TOKEN", 401;
    /// The login code is unknown, used already, or older than a minute.
    InvalidCode = "INVALID_CODE", 401;
    /// The role may not do this.
    Forbidden = "FORBIDDEN", 403;
    /// There is no such thing, or it is someone else's.
    NotFound = "NOT_FOUND", 404;
    MethodNotAllowed = "METHOD_NOT_ALLOWED", 405;
    /// This address speaks WebSocket, and the request is no WebSocket handshake.
    UpgradeRequired = "UPGRADE_REQUIRED", 426;
    /// The version asked for is not spoken here.
    UnsupportedVersion = "UNSUPPORTED_VERSION", 406;
    /// The phone has an account already.
    PhoneTaken = "PHONE_TAKEN", 409;
    /// The driver is not approved (yet, or any more).
    DriverNotApproved = "DRIVER_NOT_APPROVED", 409;
    /// A document of the driver has run out; `details.kind` says which.
    DocumentExpired = "DOCUMENT_EXPIRED", 409;
    /// A driver on a trip can't go offline or take another.
    DriverBusy = "DRIVER_BUSY", 409;
    /// The driver is not online.
    DriverOffline = "DRIVER_OFFLINE", 409;
    /// The driver owes more than his limit and can't take cash trips.
    DebtLimit = "DEBT_LIMIT", 409;
    /// The rider already has a trip under way.
    TripInProgress = "TRIP_IN_PROGRESS", 409;
    /// Another pickup that the rider booked ahead is about then; `details.scheduledAt` says when.
    TripOverlaps = "TRIP_OVERLAPS", 409;
    /// The rider has booked as many trips ahead as he may; `details.limit` says how many.
    TooManyScheduled = "TOO_MANY_SCHEDULED", 409;
    /// Someone else has the trip.
    TripTaken = "TRIP_TAKEN", 409;
    /// The offer's time is over.
    OfferExpired = "OFFER_EXPIRED", 409;
    /// The driver was not asked.
    NotOffered = "NOT_OFFERED", 409;
    /// The trip can't do that from where it is; `details.current` says where it is.
    InvalidTransition = "INVALID_TRANSITION", 409;
    /// The start PIN is wrong.
    WrongPin = "WRONG_PIN", 409;
    /// The driver is too far from the pickup; `details.distance` in metres.
    TooFarFromPickup = "TOO_FAR_FROM_PICKUP", 409;
    /// The waiting time is not over; `details.waitSeconds` is left.
    NoShowTooEarly = "NO_SHOW_TOO_EARLY", 409;
    /// The quote is unknown, altered, or for another request.
    QuoteInvalid = "QUOTE_INVALID", 409;
    /// The quote's ten minutes are over; `details.quote` holds a fresh one.
    QuoteExpired = "QUOTE_EXPIRED", 409;
    /// The price is not the quoted one, or surge rose; `details.quote` holds a fresh quote.
    PriceChanged = "PRICE_CHANGED", 409;
    /// The wallet doesn't cover the price.
    InsufficientBalance = "INSUFFICIENT_BALANCE", 409;
    /// The rider owes for an earlier trip; `details.due` says how much.
    PaymentDue = "PAYMENT_DUE", 409;
    /// The rider would owe more than he may; `details.due` and `details.limit` say how much.
    DueLimit = "DUE_LIMIT", 409;
    /// The time in which it may be done is over.
    TooLate = "TOO_LATE", 409;
    /// It was done before, and is done once.
    AlreadyDone = "ALREADY_DONE", 409;
    /// Another campaign has the code.
    PromoCodeTaken = "PROMO_CODE_TAKEN", 409;
    /// The code or promo gives nothing here; `details.reason` says why.
    PromoUnfit = "PROMO_UNFIT", 409;
    /// Somebody looks at the account, and until then its wallet pays nothing.
    AccountUnderReview = "ACCOUNT_UNDER_REVIEW", 409;
    /// No money moves on the account.
    AccountBlocked = "ACCOUNT_BLOCKED", 409;
    /// More would be given back for the trip than was paid for it.
    RefundTooLarge = "REFUND_TOO_LARGE", 409;
    /// An earlier withdrawal of the driver's is still open; `details.requestId` names it.
    WithdrawalOpen = "WITHDRAWAL_OPEN", 409;
    /// The driver asked for as many withdrawals as a day allows.
    WithdrawalLimit = "WITHDRAWAL_LIMIT", 409;
    /// More than is owed can't be given up.
    MoreThanOwed = "MORE_THAN_OWED", 409;
    /// Whoever asked for it can't consent to it: another admin must.
    SecondAdminNeeded = "SECOND_ADMIN_NEEDED", 403;
    /// The time for complaints about the trip is over.
    DisputeTooLate = "DISPUTE_TOO_LATE", 409;
    /// The caller has complained about this trip before.
    AlreadyDisputed = "ALREADY_DISPUTED", 409;
    /// The payment method is not served.
    PaymentMethodUnavailable = "PAYMENT_METHOD_UNAVAILABLE", 409;
    /// No card was authorised so that it pays for the trip; `details.reason` says why.
    CardNotAuthorised = "CARD_NOT_AUTHORISED", 409;
    /// The payment gateway is not set up here, or doesn't answer.
    GatewayUnavailable = "GATEWAY_UNAVAILABLE", 503;
    /// What calls itself the payment gateway did not sign this.
    InvalidSignature = "INVALID_SIGNATURE", 401;
    /// The pickup is outside every service area.
    OutsideServiceArea = "OUTSIDE_SERVICE_AREA", 409;
    /// The pickup is in a zone where pickups are not allowed; `details.zone` names it.
    RestrictedZone = "RESTRICTED_ZONE", 409;
    /// The route needs an `Idempotency-Key`.
    IdempotencyKeyRequired = "IDEMPOTENCY_KEY_REQUIRED", 400;
    /// The same request, under the same key, is being worked on.
    RequestInProgress = "REQUEST_IN_PROGRESS", 409;
    /// The idempotency key belongs to another request.
    IdempotencyKeyReused = "IDEMPOTENCY_KEY_REUSED", 422;
    /// A position older than history keeps.
    TooOld = "TOO_OLD", 400;
    /// A position too coarse to be of use.
    TooInaccurate = "TOO_INACCURATE", 400;
    /// Too many requests; `Retry-After` says when again.
    RateLimited = "RATE_LIMITED", 429;
    /// The answer took too long.
    Timeout = "TIMEOUT", 503;
    /// Something needed is away, or the node is full; try again.
    Unavailable = "UNAVAILABLE", 503;
    /// A fault of ours.
    Internal = "INTERNAL", 500;
}

/// One field that was wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldProblem {
    pub field: String,
    pub code: String,
    pub message: String,
}

/// A refusal or failure as the outside sees it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {message}", code.name())]
pub struct Problem {
    pub code: Code,
    pub message: Cow<'static, str>,
    /// An object: `{fields}`, `{current}`, `{quote}`, …; empty when there is nothing to add.
    pub details: Value,
    /// What happened inside, for the log only.
    pub cause: Option<String>,
}

impl Problem {
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), details: json!({}), cause: None }
    }

    #[must_use]
    pub fn with(mut self, key: &str, value: impl Serialize) -> Self {
        if let Value::Object(map) = &mut self.details {
            map.insert(key.to_owned(), serde_json::to_value(value).unwrap_or(Value::Null));
        }
        self
    }

    pub fn fields(fields: Vec<FieldProblem>) -> Self {
        Self::new(Code::ValidationFailed, "the request has invalid fields").with("fields", fields)
    }

    /// One invalid field.
    pub fn field(field: &str, code: &str, message: &str) -> Self {
        Self::fields(vec![FieldProblem {
            field: field.to_owned(),
            code: code.to_owned(),
            message: message.to_owned(),
        }])
    }

    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "there is no such thing here")
    }
}

impl From<PointError> for Problem {
    fn from(error: PointError) -> Self {
        Self::field(error.field(), "out_of_range", &error.to_string())
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let mut problem = match &fault {
            Fault::Unavailable(_) | Fault::Unknown(_) => {
                Self::new(Code::Unavailable, "the service can't do this right now, try again")
            }
            Fault::Internal(_) => Self::new(Code::Internal, "something went wrong on our side"),
        };
        problem.cause = Some(fault.to_string());
        problem
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_screaming_and_unique() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for name in names {
            assert!(name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{name}");
        }
    }
}
