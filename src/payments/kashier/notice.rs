//! What the gateway tells about a payment, once its signature is found right.

use base::Piasters;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::canonical::{Members, canonical};
use super::{Currency, SigningKey, amount_of};

/// Without these under the signature a notice says nothing that can be relied on.
const COVERED: [&str; 5] = ["merchantOrderId", "transactionId", "status", "amount", "currency"];

/// Longest text that is taken over from a notice, characters.
const TEXT_MAX: usize = 200;

/// Why a notice is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGenuine {
    #[error("the body is not a notice")]
    Malformed,
    #[error("the signature does not cover {0}")]
    Uncovered(&'static str),
    #[error("the signature is not the gateway's")]
    Forged,
}

base::words! {
    /// What happened to the money, as far as it is signed.
    NoticeStatus {
        Success = "SUCCESS",
        Failure = "FAILURE",
        Pending = "PENDING",
        /// A word that is not documented: nothing was paid by it.
        Unknown = "UNKNOWN",
    }
}

base::words! {
    /// What a notice is about. It is not under the signature, so it can only ever hold a payment
    /// back, never make one.
    Event {
        Pay = "pay",
        Authorize = "authorize",
        Capture = "capture",
        Refund = "refund",
        PartialRefund = "partial_refund",
        Void = "void",
        Reversal = "reversal",
        Reject = "reject",
        Unknown = "unknown",
    }
}

/// A verified notice. Card and person stay behind: nothing of them is taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub event: Event,
    /// Our own reference.
    pub order: String,
    /// The gateway's name for the order, where it says one.
    pub gateway_order: Option<String>,
    pub transaction: String,
    pub status: NoticeStatus,
    /// `None` for an amount that is no whole number of piasters: it can't be the one asked for.
    pub amount: Option<Piasters>,
    /// `None` for one that is not ours.
    pub currency: Option<Currency>,
    /// The gateway's own words, for operators: the amount and currency as they came.
    pub stated: String,
    /// Whose money it is, where the notice says so.
    pub merchant: Option<String>,
    pub method: Option<String>,
    /// `00` is approved.
    pub response_code: Option<String>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    event: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Notice {
    /// Reads `body`, the bytes as they came, with the `x-kashier-signature` beside them.
    pub fn verify(key: &SigningKey, body: &[u8], signature: &str) -> Result<Self, NotGenuine> {
        let envelope: Envelope<'_> =
            serde_json::from_slice(body).map_err(|_| NotGenuine::Malformed)?;
        let members: Members =
            serde_json::from_str(envelope.data.get()).map_err(|_| NotGenuine::Malformed)?;
        let signed: Vec<String> =
            read(&members, "signatureKeys").ok_or(NotGenuine::Uncovered("signatureKeys"))?;
        for name in COVERED {
            if !members.contains_key(name) || !signed.iter().any(|listed| listed == name) {
                return Err(NotGenuine::Uncovered(name));
            }
        }
        let text = canonical(&members, &signed).ok_or(NotGenuine::Malformed)?;
        if !key.is_genuine(&text, signature) {
            return Err(NotGenuine::Forged);
        }
        Self::of(envelope.event.as_deref(), &members).ok_or(NotGenuine::Malformed)
    }

    fn of(event: Option<&str>, members: &Members) -> Option<Self> {
        let text = |name| read::<String>(members, name).filter(|text| is_plain(text));
        let amount = members["amount"].get();
        let currency: Option<String> = read(members, "currency");
        let status: Option<String> = read(members, "status");
        let stated = format!("{amount} {}", members["currency"].get());
        Some(Self {
            event: event.and_then(Event::parse).unwrap_or(Event::Unknown),
            order: text("merchantOrderId")?,
            gateway_order: text("kashierOrderId"),
            transaction: text("transactionId")?,
            status: status.and_then(|s| NoticeStatus::parse(&s)).unwrap_or(NoticeStatus::Unknown),
            amount: amount_of(&members["amount"]),
            currency: currency.and_then(|text| Currency::parse(&text)),
            stated: stated.chars().take(TEXT_MAX).collect(),
            merchant: merchant_of(members),
            method: text("method"),
            response_code: text("transactionResponseCode"),
        })
    }
}

fn read<T: serde::de::DeserializeOwned>(members: &Members, name: &str) -> Option<T> {
    serde_json::from_str(members.get(name)?.get()).ok()
}

/// Names and codes of the gateway are short and printable; what is not is none of them.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_MAX && !text.chars().any(char::is_control)
}

fn merchant_of(members: &Members) -> Option<String> {
    let details: Option<Value> = read(members, "merchantDetails");
    let nested = details.as_ref().and_then(|details| details["merchantId"].as_str());
    read(members, "merchantId").or_else(|| nested.map(str::to_owned))
}
