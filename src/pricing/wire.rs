//! Outward shapes of prices and surge.

use base::{Millis, Piasters, Point, PromoCreditId, Tier};
use serde::Serialize;
use utoipa::ToSchema;

use crate::tariff::Factor;

/// Answer to `POST /pricing/estimate`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EstimateReply {
    pub estimates: Vec<Estimate>,
    pub surge_active: bool,
    /// Why prices are higher, while they are.
    pub surge_message: Option<&'static str>,
}

/// A tier's price and times. Booking with `quoteId` gives exactly `price`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    pub vehicle_type: Tier,
    pub quote_id: String,
    pub price: Piasters,
    /// What the rider's best promo would take off it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promo: Option<EstimatePromo>,
    /// Where the price would end if the way or the waiting changed.
    pub price_range: PriceRange,
    pub eta: EtaMinutes,
    pub surge_multiplier: f32,
    pub breakdown: Breakdown,
    pub route: RouteView,
    pub expires_at: Millis,
}

/// A promo that a booking would use unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EstimatePromo {
    pub promo_id: PromoCreditId,
    pub amount: Piasters,
    pub price_after: Piasters,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PriceRange {
    pub min: Piasters,
    pub max: Piasters,
}

/// Minutes, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct EtaMinutes {
    /// Until a car is at the pickup; null when none is free nearby.
    pub pickup: Option<u32>,
    pub trip: u32,
}

/// What the price is made of; the three parts add up to `total`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Breakdown {
    /// The trip without surge.
    pub trip: Piasters,
    pub surge: Piasters,
    pub booking_fee: Piasters,
    pub total: Piasters,
    /// Why the price is not the everyday one; empty when it is.
    pub reasons: Vec<PriceReason>,
}

/// Something that multiplies the price.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PriceReason {
    pub kind: ReasonKind,
    /// As operators named it; absent for demand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub multiplier: f32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReasonKind {
    /// More is asked for here than there are free drivers.
    Demand,
    /// A place where demand is known to be high.
    SurgeZone,
    /// The hour of the day.
    Hours,
    /// Something happens here.
    Event,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct RouteView {
    /// Metres.
    pub distance: u32,
    /// Seconds.
    pub duration: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub polyline: Option<String>,
}

/// A fresh quote, as refusals carry it in `details.quote`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuoteView {
    pub quote_id: String,
    pub vehicle_type: Tier,
    pub price: Piasters,
    pub surge_multiplier: f32,
    /// The pickup that it is for; absent: at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<Millis>,
    pub expires_at: Millis,
}

/// A zone where prices are higher.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct SurgeZone {
    pub center: Point,
    /// Corners, not closed.
    pub boundary: Vec<Point>,
    pub multiplier: f32,
    pub level: SurgeLevel,
    /// Of a zone that was drawn by operators; absent for a cell of the grid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// How strong a surge is, for colours on a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SurgeLevel {
    /// Under 1.3.
    Low,
    /// Under 1.5.
    Medium,
    /// Under 2.
    High,
    VeryHigh,
}

impl SurgeLevel {
    /// Of a factor that is surge.
    pub const fn of(factor: Factor) -> Self {
        match factor.0 {
            ..13_000 => Self::Low,
            13_000..15_000 => Self::Medium,
            15_000..20_000 => Self::High,
            20_000.. => Self::VeryHigh,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::VeryHigh => "very_high",
        }
    }
}
