//! Outward shapes: what is expected where, and a hint to a driver.

use base::{CityId, Millis, Point};
use serde::Serialize;
use utoipa::ToSchema;

use crate::hints::Hint;
use crate::quarter::Quarter;

/// A city's demand by H3 cell.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DemandView {
    pub city_id: CityId,
    /// The last quarter of an hour that is over and counted; null: none yet.
    pub counted: Option<Millis>,
    pub cells: Vec<DemandCellView>,
    pub accuracy: AccuracyView,
}

/// One cell, about 1.4 km wide.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DemandCellView {
    pub center: Point,
    /// In order, not closed.
    pub boundary: Vec<Point>,
    /// Requests in the last counted quarter.
    pub requests: u32,
    /// Expected requests in the quarter after it, and in the one after that.
    pub expected: f64,
    pub expected_next: f64,
    /// Drivers who are free here now.
    pub free_drivers: u32,
}

/// How far off the forecasts of the last seven days were, summed over cells and quarters, as a part
/// of what was asked for; beside it two plain guesses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccuracyView {
    /// Quarters that are compared.
    pub quarters: u32,
    pub requests: u64,
    /// 0.4: of a hundred requests forty were expected elsewhere, or not at all. Null: nothing to
    /// compare yet.
    pub error: Option<f64>,
    /// Of "as in the same quarter a week ago".
    pub error_week_ago: Option<f64>,
    /// Of "as in the last quarter that was known then".
    pub error_quarter_ago: Option<f64>,
}

/// Where a driver who waits would be needed. He may stay where he is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HintView {
    pub center: Point,
    /// In order, not closed.
    pub boundary: Vec<Point>,
    /// From the driver to the middle as the crow flies, metres.
    pub distance: u32,
    /// Requests expected there in the quarter of an hour that begins next.
    pub expected_requests: u32,
    /// Drivers who are free there now.
    pub free_drivers: u32,
    /// When that quarter is over.
    pub until: Millis,
}

impl HintView {
    pub fn new(hint: &Hint, now: Millis) -> Self {
        Self {
            center: hint.cell.center(),
            boundary: hint.cell.boundary(),
            distance: hint.distance_m.round() as u32,
            expected_requests: hint.expected.round() as u32,
            free_drivers: hint.free,
            until: Quarter::of(now).plus(2).start(),
        }
    }
}
