//! Outward shapes of what operators keep of the prices.

use base::{CityId, Millis, Piasters, Point, Tier, UserId};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use super::ChangeSubject;

/// The rates of a tier while they are in force.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TariffView {
    pub id: Uuid,
    pub city_id: CityId,
    pub vehicle_type: Tier,
    pub base_fare: Piasters,
    pub per_km: Piasters,
    pub per_minute: Piasters,
    pub minimum_fare: Piasters,
    pub booking_fee: Piasters,
    /// Of the price.
    pub commission_percent: f64,
    pub valid_from: Option<Millis>,
    /// The first moment outside; null: until further notice.
    pub valid_until: Option<Millis>,
}

/// Hours that cost more or less, by the city's own clock.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HoursView {
    pub id: Uuid,
    pub city_id: CityId,
    /// 0 = Sunday … 6 = Saturday, the day on which it starts; null: every day.
    pub day: Option<i16>,
    pub start_hour: i16,
    /// The first hour outside; not after `startHour` means over midnight.
    pub end_hour: i16,
    pub multiplier: f32,
    pub name: String,
}

/// A happening that raises prices where it is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    pub id: Uuid,
    pub city_id: CityId,
    pub name: String,
    /// In order, not closed; null: the circle of `radius` metres around `center`.
    pub corners: Option<Vec<Point>>,
    pub center: Point,
    pub radius: i32,
    pub starts_at: Millis,
    /// The first moment outside.
    pub ends_at: Millis,
    /// What is in force.
    pub multiplier: f32,
    /// What was asked for, where it is above three times the fare: in force with another admin's
    /// word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_multiplier: Option<f32>,
    pub created_by: Option<UserId>,
    pub created_at: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<UserId>,
}

/// A page of events, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventsPage {
    pub events: Vec<EventView>,
    pub next_cursor: Option<String>,
}

/// One change of a tariff, of hours, an event, a fence or an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeView {
    pub at: Millis,
    pub subject: ChangeSubject,
    pub object_id: Uuid,
    /// Null: the program itself, or whoever works on its database.
    pub actor_id: Option<UserId>,
    pub reason: String,
    /// The row as it is stored: amounts in piasters, multipliers and shares in hundredths of a
    /// percent. Null: it was new.
    #[schema(value_type = Option<Object>)]
    pub before: Option<Value>,
    /// Null: it is no more.
    #[schema(value_type = Option<Object>)]
    pub after: Option<Value>,
}

/// A page of changes, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangesPage {
    pub changes: Vec<ChangeView>,
    pub next_cursor: Option<String>,
}
