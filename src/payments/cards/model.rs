//! What is reserved on a card.

use std::fmt;
use std::str::FromStr;

use base::{Millis, Piasters, RiderId, TripId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::kashier::Currency;
use crate::model::{NoReference, name_of, read_name};

base::words! {
    /// Where an authorisation stands.
    CardStatus {
        /// Nobody has authorised anything yet.
        Pending = "pending",
        /// It can't be used; another may be.
        Failed = "failed",
        /// Nobody authorised in time, or what was reserved falls by the bank's own time.
        Expired = "expired",
        /// The amount is reserved, and no trip has it.
        Authorised = "authorised",
        /// A trip has it.
        Bound = "bound",
        /// The gateway was asked to take it; what became of that may not be known.
        Capturing = "capturing",
        Captured = "captured",
        /// It is to be let go, and the gateway has not been asked.
        Releasing = "releasing",
        /// The gateway was asked to let it go; what became of that may not be known.
        Voiding = "voiding",
        Voided = "voided",
        /// The gateway took it without being asked to: it is in the wallet.
        Charged = "charged",
    }
}

/// An authorisation.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
#[schema(value_type = Uuid)]
pub struct CardId(pub Uuid);

impl fmt::Display for CardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What it is called at the gateway: `card-0190b8a000007000800000000000dead-1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardReference {
    pub card: CardId,
    pub attempt: i16,
}

impl fmt::Display for CardReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name_of("card", self.card.0, self.attempt))
    }
}

impl FromStr for CardReference {
    type Err = NoReference;

    fn from_str(text: &str) -> Result<Self, NoReference> {
        let (id, attempt) = read_name("card", text).ok_or(NoReference)?;
        Ok(Self { card: CardId(id), attempt })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardAuthorisation {
    pub id: CardId,
    pub rider: RiderId,
    pub amount: Piasters,
    pub currency: Currency,
    pub status: CardStatus,
    pub attempt: i16,
    pub session: Option<String>,
    pub page_url: Option<String>,
    pub gateway_order: Option<String>,
    /// The authorisation's name at the gateway, and the capture's.
    pub transaction: Option<String>,
    pub capture: Option<String>,
    pub trip: Option<TripId>,
    /// What the gateway was asked for, and what it took.
    pub to_capture: Option<Piasters>,
    pub captured: Option<Piasters>,
    pub failure: Option<String>,
    /// When it is looked at next.
    pub look_at: Option<Millis>,
    pub page_until: Millis,
    /// How long it is good, once authorised.
    pub expires_at: Option<Millis>,
    pub asked_at: Option<Millis>,
    pub created_at: Millis,
    pub authorised_at: Option<Millis>,
    pub ended_at: Option<Millis>,
}

impl CardAuthorisation {
    /// Of the current attempt.
    pub const fn reference(&self) -> CardReference {
        CardReference { card: self.id, attempt: self.attempt }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_one_spelling_and_is_no_deposits() {
        let card = CardId(Uuid::from_u128(0x0190_b8a0_0000_7000_8000_0000_0000_dead));
        let reference = CardReference { card, attempt: 1 };
        let text = "card-0190b8a000007000800000000000dead-1";
        assert_eq!((reference.to_string().as_str(), text.parse()), (text, Ok(reference)));
        assert_eq!(text.parse::<crate::Reference>(), Err(NoReference));
        assert_eq!(
            "dep-0190b8a000007000800000000000dead-1".parse::<CardReference>(),
            Err(NoReference)
        );
    }
}
