//! Outward shapes of experiments.

use base::{CityId, Millis, Piasters, UserId};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::Variant;

/// What a city tries: with whom of its riders, how long, which prices.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentView {
    pub id: Uuid,
    pub city_id: CityId,
    pub name: String,
    pub starts_at: Millis,
    /// The first moment outside. One that ended when it began was never in force.
    pub ends_at: Millis,
    /// Of the city's riders; the others are left out.
    pub share_percent: f64,
    /// The first one is the control.
    pub variants: Vec<VariantView>,
    pub created_by: UserId,
    pub created_at: Millis,
}

/// One of the ways to price that are compared.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VariantView {
    pub name: String,
    /// Riders are drawn in these proportions.
    pub weight: u32,
    /// Of the tariff's rates.
    pub base_multiplier: f32,
    pub per_km_multiplier: f32,
    pub per_minute_multiplier: f32,
    /// Surge beyond it is not charged.
    pub surge_cap: f32,
    /// Taken off what the trip costs, down to the tariff's minimum.
    pub discount: Piasters,
}

impl From<Variant> for VariantView {
    fn from(variant: Variant) -> Self {
        let Variant { name, weight, twist } = variant;
        Self {
            name,
            weight,
            base_multiplier: twist.base.as_f32(),
            per_km_multiplier: twist.per_km.as_f32(),
            per_minute_multiplier: twist.per_minute.as_f32(),
            surge_cap: twist.surge_cap.as_f32(),
            discount: twist.discount,
        }
    }
}

/// A page of experiments, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentsPage {
    pub experiments: Vec<ExperimentView>,
    pub next_cursor: Option<String>,
}
