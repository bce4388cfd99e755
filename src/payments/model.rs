//! Deposits, and what the gateway says about them.

use std::fmt;
use std::str::FromStr;

use base::{Millis, Piasters, Role, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::kashier::{Currency, Event, Found, Notice, NoticeStatus, Standing};

base::words! {
    /// Where a deposit stands.
    DepositStatus {
        Pending = "pending",
        Paid = "paid",
        /// A card was declined; another may still pay.
        Failed = "failed",
        /// Nobody paid in time.
        Expired = "expired",
    }
}

/// A deposit. Its id is the reference of the journal that books it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
#[schema(value_type = Uuid)]
pub struct DepositId(pub Uuid);

impl fmt::Display for DepositId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an order is called at the gateway, which takes each name once: the deposit and the number
/// of the attempt, `dep-0190b8a000007000800000000000dead-1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    pub deposit: DepositId,
    pub attempt: i16,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name_of("dep", self.deposit.0, self.attempt))
    }
}

/// A text that is no reference of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the reference of a deposit")]
pub struct NoReference;

impl FromStr for Reference {
    type Err = NoReference;

    fn from_str(text: &str) -> Result<Self, NoReference> {
        let (id, attempt) = read_name("dep", text).ok_or(NoReference)?;
        Ok(Self { deposit: DepositId(id), attempt })
    }
}

/// The name of an attempt at a page.
pub(crate) fn name_of(kind: &str, id: Uuid, attempt: i16) -> String {
    format!("{kind}-{}-{attempt}", id.simple())
}

/// What [`name_of`] was made of.
pub(crate) fn read_name(kind: &str, text: &str) -> Option<(Uuid, i16)> {
    let rest = text.strip_prefix(kind)?.strip_prefix('-')?;
    let (id, attempt) = rest.split_once('-')?;
    let (id, attempt) = (Uuid::try_parse(id).ok()?, attempt.parse().ok()?);
    // One spelling each, so that nobody finds anything under a name we never gave.
    (name_of(kind, id, attempt) == text).then_some((id, attempt))
}

/// A top-up of a rider's wallet, or of a driver's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    pub id: DepositId,
    pub user: UserId,
    /// [`Role::Rider`] or [`Role::Driver`].
    pub role: Role,
    pub amount: Piasters,
    pub currency: Currency,
    pub status: DepositStatus,
    pub attempt: i16,
    pub session: Option<String>,
    pub page_url: Option<String>,
    pub gateway_order: Option<String>,
    pub transaction: Option<String>,
    pub failure: Option<String>,
    pub expires_at: Millis,
    pub created_at: Millis,
    pub paid_at: Option<Millis>,
}

impl Deposit {
    /// Of the current attempt.
    pub const fn reference(&self) -> Reference {
        Reference { deposit: self.id, attempt: self.attempt }
    }
}

/// What a payment has come to, by the gateway's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The money was taken.
    Paid,
    /// One try failed.
    Failed,
    /// Money that had been taken went back.
    Returned,
    /// It was to go back, and did not.
    NotReturned,
    /// Nothing that is booked.
    Nothing,
}

/// News of a payment, from a notice or from a look at the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub claim: Claim,
    pub transaction: Option<String>,
    pub gateway_order: Option<String>,
    /// `None` for none that could have been asked for.
    pub amount: Option<Piasters>,
    pub currency: Option<Currency>,
    /// Whose money it is, where that is said.
    pub merchant: Option<String>,
    pub method: Option<String>,
    /// Why it failed.
    pub code: Option<String>,
}

impl From<&Notice> for News {
    fn from(notice: &Notice) -> Self {
        Self {
            claim: claim_of(notice.event, notice.status),
            transaction: Some(notice.transaction.clone()),
            gateway_order: notice.gateway_order.clone(),
            amount: notice.amount,
            currency: notice.currency,
            merchant: notice.merchant.clone(),
            method: notice.method.clone(),
            code: notice.response_code.clone(),
        }
    }
}

/// The event is not signed: a payment needs both words, and anything but a payment needs one.
fn claim_of(event: Event, status: NoticeStatus) -> Claim {
    use Event::{Authorize, Capture, PartialRefund, Pay, Refund, Reject, Reversal, Unknown, Void};
    match (event, status) {
        (Pay | Capture, NoticeStatus::Success) => Claim::Paid,
        (Refund | PartialRefund | Void | Reversal, NoticeStatus::Success) => Claim::Returned,
        (Pay | Authorize | Capture | Reject, NoticeStatus::Failure) => Claim::Failed,
        (Refund | PartialRefund, NoticeStatus::Failure) => Claim::NotReturned,
        (Void | Reversal | Unknown, NoticeStatus::Failure)
        | (Authorize | Reject | Unknown, NoticeStatus::Success)
        | (_, NoticeStatus::Pending | NoticeStatus::Unknown) => Claim::Nothing,
    }
}

impl From<Found> for News {
    fn from(found: Found) -> Self {
        let claim = match found.standing {
            Standing::Paid => Claim::Paid,
            Standing::Returned => Claim::Returned,
            // A session that is over says so at its end; what ends the deposit is its time.
            Standing::Open
            | Standing::Returning
            | Standing::Authorized
            | Standing::Over
            | Standing::Unknown => Claim::Nothing,
        };
        Self {
            claim,
            transaction: found.transaction,
            gateway_order: found.order,
            amount: found.amount,
            currency: found.currency,
            merchant: None,
            method: found.method,
            code: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_one_spelling() {
        let id = DepositId(Uuid::from_u128(0x0190_b8a0_0000_7000_8000_0000_0000_dead));
        let reference = Reference { deposit: id, attempt: 2 };
        let text = "dep-0190b8a000007000800000000000dead-2";
        assert_eq!(reference.to_string(), text);
        assert_eq!(text.parse(), Ok(reference));
        for wrong in [
            "dep-0190b8a0-0000-7000-8000-00000000dead-2",
            "dep-0190B8A000007000800000000000DEAD-2",
            "dep-0190b8a000007000800000000000dead-02",
            "dep-0190b8a000007000800000000000dead",
            "trip-0190b8a000007000800000000000dead-2",
            "",
        ] {
            assert_eq!(wrong.parse::<Reference>(), Err(NoReference), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_signed_holds_a_payment_back_and_makes_none() {
        use NoticeStatus::{Failure, Pending, Success, Unknown};
        let check = |event, status, expected| {
            assert_eq!(claim_of(event, status), expected, "{event} {status}");
        };
        check(Event::Pay, Success, Claim::Paid);
        check(Event::Capture, Success, Claim::Paid);
        check(Event::Authorize, Success, Claim::Nothing);
        check(Event::Unknown, Success, Claim::Nothing);
        check(Event::Refund, Success, Claim::Returned);
        check(Event::Void, Success, Claim::Returned);
        check(Event::Pay, Failure, Claim::Failed);
        check(Event::Refund, Failure, Claim::NotReturned);
        check(Event::PartialRefund, Failure, Claim::NotReturned);
        check(Event::Void, Failure, Claim::Nothing);
        check(Event::Refund, Pending, Claim::Nothing);
        check(Event::Pay, Pending, Claim::Nothing);
        check(Event::Pay, Unknown, Claim::Nothing);
    }
}
