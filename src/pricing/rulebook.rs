//! What operators change of the prices: tariffs, hours, events; and the record of every change.
//!
//! Owns the forms of a change and where it fits among those that stand; the tables refuse what
//! must never be, whoever asks: two prices at once, a changed past, an event above three times the
//! fare that one admin alone wanted (migration 0020).
//!
//! Guarantees:
//! - a tariff begins at a moment that is not over, and the one before it ends there;
//! - whoever changes something rings [`RULES`] with it, so that every node reads again;
//! - the record says who changed what, when, why, from what and to what.

mod store;
#[cfg(test)]
mod tests;
mod wire;

use base::{BasisPoints, CityId, Millis, Piasters, Tier, UserId};
use geo::Outline;
use serde::{Deserialize, Serialize};
use storage::Ring;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::tariff::Factor;

pub use store::{
    changes_in_tx, event_add_in_tx, event_approve_in_tx, event_end_in_tx, event_in_tx,
    event_lock_in_tx, events_in_tx, hours_add_in_tx, hours_end_in_tx, hours_in_tx,
    hours_of_city_in_tx, tariff_in_tx, tariff_schedule_in_tx, tariff_withdraw_in_tx,
    tariffs_of_city_in_tx,
};
pub use wire::{ChangeView, ChangesPage, EventView, EventsPage, HoursView, TariffView};

/// Rung by whatever changes prices.
pub const RULES: Ring = Ring { channel: "smartline_prices", part: "" };

/// Windows of one city, and events of it that are not over, at most: each price looks at all.
const HOURS_MAX: i64 = 100;
const EVENTS_MAX: i64 = 200;

/// Rates that are to be in force from a moment on.
#[derive(Clone, Debug)]
pub struct NewTariff {
    pub id: Uuid,
    pub city: CityId,
    pub tier: Tier,
    pub base_fare: Piasters,
    pub per_km: Piasters,
    pub per_minute: Piasters,
    pub minimum_fare: Piasters,
    pub booking_fee: Piasters,
    pub commission: BasisPoints,
    pub from: Millis,
}

/// What became of a tariff that is not to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// The one before it goes on.
    Done,
    /// It is in force already, or was.
    Begun,
    Unknown,
}

/// Hours that are to cost more or less.
#[derive(Clone, Debug)]
pub struct NewHours {
    pub id: Uuid,
    pub city: CityId,
    /// 0 = Sunday … 6 = Saturday, the day on which it starts; every day when absent.
    pub day: Option<i16>,
    pub start_hour: i16,
    /// The first hour outside; not after `start_hour` means over midnight.
    pub end_hour: i16,
    pub factor: Factor,
    pub name: String,
}

/// A happening that is to raise prices within an outline.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub id: Uuid,
    pub city: CityId,
    pub name: String,
    pub outline: Outline,
    pub starts: Millis,
    pub ends: Millis,
    /// Above [`Factor::CAP`] it is the cap until another admin agrees.
    pub factor: Factor,
    pub by: UserId,
    pub at: Millis,
}

/// What a change was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeSubject {
    Tariff,
    Hours,
    Event,
    Fence,
    Experiment,
}

impl ChangeSubject {
    pub const ALL: [Self; 5] =
        [Self::Tariff, Self::Hours, Self::Event, Self::Fence, Self::Experiment];

    /// As the record has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tariff => "tariff",
            Self::Hours => "hours",
            Self::Event => "event",
            Self::Fence => "fence",
            Self::Experiment => "experiment",
        }
    }
}

/// When a tariff is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    id: Uuid,
    from: Millis,
    until: Option<Millis>,
}

/// Where a tariff fits that begins at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// Another one begins just then.
    Taken,
    /// The one that is to end there, and until when the new one holds.
    Free { ends: Option<Uuid>, until: Option<Millis> },
}

/// `spans` in order; they don't overlap.
fn fit(spans: &[Span], from: Millis) -> Fit {
    if spans.iter().any(|span| span.from == from) {
        return Fit::Taken;
    }
    let covers = |span: &&Span| span.from < from && span.until.is_none_or(|until| from < until);
    match spans.iter().find(covers) {
        Some(span) => Fit::Free { ends: Some(span.id), until: span.until },
        // A gap: until the next one begins.
        None => {
            let next = spans.iter().map(|span| span.from).find(|begins| *begins > from);
            Fit::Free { ends: None, until: next }
        }
    }
}
