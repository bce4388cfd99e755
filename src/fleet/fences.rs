//! Fences as operators draw, change and disable them.
//!
//! Owns the forms of a change. What was drawn is an [`Outline`], checked before it comes here; what
//! is in force is a snapshot (`map`), read again by whoever hears of a change.

mod store;

use base::{BasisPoints, CityId, Millis, Point};
use geo::{FenceKind, Outline};
use serde::Serialize;
use storage::Ring;
use utoipa::ToSchema;
use uuid::Uuid;

pub use store::{
    fence_add_in_tx, fence_change_in_tx, fence_disable_in_tx, fence_in_tx, fence_lock_in_tx,
    fences_in_tx,
};

/// Rung by whatever changes cities or fences.
pub const MAP: Ring = Ring { channel: "smartline_map", part: "" };

/// Fences of one city that are in force, at most.
const FENCES_MAX: i64 = 300;

/// What a fence is, beside where it belongs and what it means.
#[derive(Clone, Debug)]
pub struct FenceForm {
    pub name: String,
    pub outline: Outline,
    /// Of a surge zone: what its surge is at least.
    pub multiplier: Option<BasisPoints>,
}

/// A fence that is to be drawn.
#[derive(Clone, Debug)]
pub struct NewFence {
    pub id: Uuid,
    pub city: CityId,
    pub kind: FenceKind,
    pub form: FenceForm,
    pub at: Millis,
}

/// A fence as operators see it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FenceView {
    pub id: Uuid,
    pub city_id: CityId,
    /// `service_area`, `restricted`, `airport` or `surge`.
    #[schema(value_type = String)]
    pub kind: FenceKind,
    pub name: String,
    /// In order, not closed.
    pub corners: Vec<Point>,
    /// Of a surge zone: what its surge is at least; null where it is only drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multiplier: Option<f64>,
    pub created_at: Millis,
    /// Since when it means nothing any more; null: it is in force.
    pub disabled_at: Option<Millis>,
}

/// A page of fences, the newest first.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FencesPage {
    pub fences: Vec<FenceView>,
    pub next_cursor: Option<String>,
}
