//! What a driver did, day by day: added up as trips end, so that nobody ever has to count trips.
//!
//! A day is the city's: from midnight to midnight of its own time zone.

mod store;

use base::{Caller, DriverId, Fault, Millis, Piasters};
use serde::Serialize;
use storage::{Db, Tx, Who};
use utoipa::ToSchema;

/// A trip that was driven to its end.
#[derive(Clone, Copy, Debug)]
pub struct Driven {
    pub driver: DriverId,
    pub ended: Millis,
    pub distance_m: u32,
    pub duration_s: u32,
    /// What the rider was charged.
    pub fare: Piasters,
}

/// One day of a driver.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DayView {
    /// `2026-11-28`, in the city's calendar.
    pub day: String,
    pub trips: i32,
    /// With riders aboard, metres.
    pub distance: i64,
    /// With riders aboard, seconds.
    pub duration: i64,
    /// What riders were charged, before commission.
    pub fares: Piasters,
}

/// Days of a driver, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DaysView {
    pub days: Vec<DayView>,
}

/// Adds a trip to its driver's day. Not idempotent by itself: call it in a transaction that is.
pub async fn add_to_day_in_tx(tx: &mut Tx, driven: &Driven, time_zone: &str) -> Result<(), Fault> {
    store::add_in_tx(tx, driven, time_zone, 1).await
}

/// Takes a trip back out of its driver's day, as [`add_to_day_in_tx`] put it in.
pub async fn take_from_day_in_tx(
    tx: &mut Tx,
    driven: &Driven,
    time_zone: &str,
) -> Result<(), Fault> {
    store::add_in_tx(tx, driven, time_zone, -1).await
}

/// The caller's newest `most` days on which he drove.
pub async fn days(db: &Db, caller: &Caller, most: u32) -> Result<DaysView, Fault> {
    let mut tx = db.begin(&Who::Caller(*caller)).await?;
    let days = store::days_in_tx(&mut tx, caller.user.as_driver(), most).await?;
    tx.commit().await?;
    Ok(DaysView { days })
}
