//! Outward shapes of promo credit.

use base::{CityId, Millis, Piasters, PromoCodeId, PromoCreditId, Tier};
use serde::Serialize;
use utoipa::ToSchema;

use crate::model::{Credit, Off, Source};

/// A campaign as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromoCodeView {
    pub id: PromoCodeId,
    pub code: String,
    pub reason: String,
    /// Of the fare; absent: each trip gets `offMax`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// The most that one trip gets.
    pub off_max: Piasters,
    pub min_fare: Piasters,
    /// Empty: every tier.
    pub vehicle_types: Vec<Tier>,
    /// Empty: every city.
    #[schema(value_type = Vec<i16>)]
    pub cities: Vec<CityId>,
    /// Trips that each rider gets it for.
    pub per_rider: u32,
    /// Trips in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<u32>,
    /// Trips that have it, or had it.
    pub uses: u32,
    /// Money in all.
    pub budget: Piasters,
    /// Reserved and spent.
    pub given: Piasters,
    pub valid_from: Millis,
    pub valid_until: Millis,
    pub created_at: Millis,
    /// Null while it waits for a second admin: nobody can redeem it yet.
    pub opened_at: Option<Millis>,
    pub disabled_at: Option<Millis>,
}

/// A page of campaigns, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromoCodesPage {
    pub codes: Vec<PromoCodeView>,
    pub next_cursor: Option<String>,
}

/// Something a rider gets off his trips.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromoView {
    pub id: PromoCreditId,
    /// The code it came from; absent for an amount that was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What it is for.
    pub reason: String,
    /// What is left of an amount that was granted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<Piasters>,
    /// Of the fare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// The most that one trip gets.
    pub off_max: Piasters,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_fare: Option<Piasters>,
    /// Absent: every tier.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vehicle_types: Vec<Tier>,
    /// Absent: every city.
    #[schema(value_type = Vec<i16>)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cities: Vec<CityId>,
    /// Trips that it is still good for; absent: until it is used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trips_left: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_from: Option<Millis>,
    pub expires_at: Millis,
}

/// What a rider has, the soonest over first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PromosView {
    pub promos: Vec<PromoView>,
}

impl From<Credit> for PromoView {
    fn from(credit: Credit) -> Self {
        let Credit { id, source, reason, expires_at } = credit;
        match source {
            Source::Grant { left, .. } => Self {
                id,
                code: None,
                reason,
                left: Some(left),
                percent: None,
                off_max: left,
                min_fare: None,
                vehicle_types: Vec::new(),
                cities: Vec::new(),
                trips_left: None,
                valid_from: None,
                expires_at,
            },
            Source::Code { code, off, min_fare, tiers, cities, trips_left, valid_from, .. } => {
                let (percent, off_max) = match off {
                    Off::Amount(amount) => (None, amount),
                    Off::Share { of_fare, at_most } => {
                        (u32::try_from(of_fare.0 / 100).ok(), at_most)
                    }
                };
                Self {
                    id,
                    code: Some(code),
                    reason,
                    left: None,
                    percent,
                    off_max,
                    min_fare: (min_fare > Piasters::ZERO).then_some(min_fare),
                    vehicle_types: tiers,
                    cities,
                    trips_left: Some(trips_left),
                    valid_from: Some(valid_from),
                    expires_at,
                }
            }
        }
    }
}
