//! Authorisations as they are seen from outside, and as facts.

use base::{Millis, Piasters, RiderId, TripId};
use serde::Serialize;
use utoipa::ToSchema;

use super::model::{CardAuthorisation, CardId, CardStatus};
use crate::kashier::Currency;

/// Where an amount is authorised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CardOpened {
    /// To book a trip with.
    pub authorisation_id: CardId,
    /// Its name at the gateway.
    pub order_id: String,
    /// The gateway's page, for a browser or a web view.
    pub payment_url: String,
    /// When the page closes.
    pub expires_at: Millis,
}

impl CardOpened {
    pub(crate) fn of(card: &CardAuthorisation) -> Self {
        Self {
            authorisation_id: card.id,
            order_id: card.reference().to_string(),
            payment_url: card.page_url.clone().unwrap_or_default(),
            expires_at: card.page_until,
        }
    }
}

/// How an authorisation stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CardView {
    pub authorisation_id: CardId,
    pub order_id: String,
    pub amount: Piasters,
    pub currency: Currency,
    pub status: CardStatus,
    /// While it may still be authorised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trip_id: Option<TripId>,
    /// What was taken of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub captured: Option<Piasters>,
    /// Why it was not, in the gateway's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    pub created_at: Millis,
    /// When the page closes; once authorised, how long a trip may still be paid by it.
    pub expires_at: Millis,
}

impl From<&CardAuthorisation> for CardView {
    fn from(card: &CardAuthorisation) -> Self {
        let is_open = matches!(card.status, CardStatus::Pending | CardStatus::Failed);
        Self {
            authorisation_id: card.id,
            order_id: card.reference().to_string(),
            amount: card.amount,
            currency: card.currency,
            status: card.status,
            payment_url: card.page_url.clone().filter(|_| is_open),
            trip_id: card.trip,
            captured: card.captured,
            failure: card.failure.clone(),
            created_at: card.created_at,
            expires_at: card.expires_at.unwrap_or(card.page_until),
        }
    }
}

/// Every fact of an authorisation: `CARD_AUTHORISED`, `CARD_CAPTURED`,
/// `CARD_RELEASED`, `CARD_CHARGED`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CardMoved {
    pub authorisation_id: CardId,
    pub user_id: RiderId,
    pub amount: Piasters,
    pub status: CardStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trip_id: Option<TripId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub captured: Option<Piasters>,
    pub timestamp: Millis,
}

impl CardMoved {
    pub(crate) fn of(card: &CardAuthorisation, at: Millis) -> Self {
        Self {
            authorisation_id: card.id,
            user_id: card.rider,
            amount: card.amount,
            status: card.status,
            trip_id: card.trip,
            captured: card.captured,
            timestamp: at,
        }
    }
}
