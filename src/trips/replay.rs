//! Builds a trip from its events again and compares it with its row (T5), for whoever doubts one.

use base::{Cursor, Fault, Piasters, TripId};
use storage::{Db, Who};

use crate::event::{TripEvent, evolve};
use crate::model::{PaymentStatus, Trip};
use crate::registry::Filter;
use crate::store;

/// Trips read at a time.
const PAGE: u32 = 100;

/// A trip beside what its events say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    pub trip: TripId,
    pub events: usize,
    /// `status: the row says completed, the events say started`; empty when they agree.
    pub differences: Vec<String>,
}

/// Replays one trip; `None` when there is none with this id.
pub async fn replay(db: &Db, id: TripId) -> Result<Option<Replayed>, Fault> {
    let Some(row) = store::get(db, &Who::System, id).await? else { return Ok(None) };
    let events = store::events_since(db, id, 0).await?;
    Ok(Some(compare(&row, &events)))
}

/// Replays every trip, newest first; `each` hears of each.
pub async fn replay_all(db: &Db, mut each: impl FnMut(Replayed)) -> Result<(), Fault> {
    let mut after = None;
    loop {
        let rows = store::list(db, &Who::System, &Filter::default(), after, PAGE).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some(Cursor { at: last.created_at, id: last.id.0 });
        for row in rows {
            let events = store::events_since(db, row.id, 0).await?;
            // A trip under way may have moved between the two reads; then it is read again.
            let settled = events.last().is_some_and(|last| last.seq == row.version);
            match settled {
                true => each(compare(&row, &events)),
                false => {
                    if let Some(again) = replay(db, row.id).await? {
                        each(again);
                    }
                }
            }
        }
    }
}

fn compare(row: &Trip, events: &[TripEvent]) -> Replayed {
    let mut differences = Vec::new();
    if let Some((event, seq)) = events.iter().zip(1..).find(|(event, seq)| event.seq != *seq) {
        differences.push(format!("events: number {} stands where {seq} should", event.seq));
    }
    let made = events.iter().fold(blank(row, events), |trip, event| evolve(&trip, event));
    let mut check = |field: &str, stored: String, built: String| {
        if stored != built {
            differences.push(format!("{field}: the row says {stored}, the events say {built}"));
        }
    };
    check("version", row.version.to_string(), made.version.to_string());
    check("status", row.status.to_string(), made.status.to_string());
    check("payment", text(&row.payment_status), text(&made.payment_status));
    check("driver", text(&row.driver), text(&made.driver));
    check("queued behind", text(&row.queued_behind), text(&made.queued_behind));
    check("final price", text(&row.final_price), text(&made.final_price));
    check("price", text(&row.price), text(&made.price));
    check("quoted price", text(&row.quoted_price), text(&made.quoted_price));
    check("hold", text(&row.hold), text(&made.hold));
    check("distance", text(&row.distance_m), text(&made.distance_m));
    check("duration", text(&row.duration_s), text(&made.duration_s));
    check("rounds", row.rounds.to_string(), made.rounds.to_string());
    check("excluded drivers", text(&row.excluded), text(&made.excluded));
    check("cancelled by", text(&row.cancelled_by), text(&made.cancelled_by));
    check("cancel reason", text(&row.cancel_reason), text(&made.cancel_reason));
    check("cancel fee", text(&row.cancel_fee), text(&made.cancel_fee));
    check("times", times(row), times(&made));
    check("confirm by", text(&row.confirm_by), text(&made.confirm_by));
    Replayed { trip: row.id, events: events.len(), differences }
}

/// The trip before anything happened to it: what never changes, and what was agreed at the start.
fn blank(row: &Trip, events: &[TripEvent]) -> Trip {
    let opened = events.first().and_then(|event| event.opened.as_ref());
    Trip {
        version: 0,
        payment_status: PaymentStatus::Pending,
        driver: None,
        queued_behind: None,
        final_price: None,
        price: opened.map_or(row.price, |opened| opened.price),
        quoted_price: None,
        hold: opened.map_or(Piasters::ZERO, |opened| opened.hold),
        distance_m: None,
        duration_s: None,
        rounds: 0,
        excluded: Vec::new(),
        cancelled_by: None,
        cancel_reason: None,
        cancel_fee: Piasters::ZERO,
        requested_at: row.created_at,
        accepted_at: None,
        arrived_at: None,
        started_at: None,
        ended_at: None,
        confirm_by: None,
        ..row.clone()
    }
}

fn times(trip: &Trip) -> String {
    let Trip { requested_at, accepted_at, arrived_at, started_at, ended_at, .. } = trip;
    text(&(requested_at, accepted_at, arrived_at, started_at, ended_at))
}

fn text(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}")
}
