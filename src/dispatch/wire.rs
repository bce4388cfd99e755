//! How a search and its trace look from outside.

use std::ops::AddAssign;

use base::{CityId, DriverId, Millis, Piasters, UserId};
use fleet::Misconduct;
use serde::Serialize;
use utoipa::ToSchema;

use crate::load::Step;
use crate::score::Parts;
use crate::strategy::Strategy;

/// Where the finding of a driver stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    Searching,
    OffersPending,
    Matched,
    NoDrivers,
    Cancelled,
}

/// `GET /trips/{id}/matching-status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MatchingStatus {
    pub status: Matching,
    /// His place among the riders of the city who wait, in the order in which their searches are
    /// looked at; 1 is next. Only while nobody is being asked for him, and, while the city is
    /// overloaded and riders stand in line, until it was his turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u32>,
}

impl MatchingStatus {
    pub const fn searching(queue_position: Option<u32>) -> Self {
        Self { status: Matching::Searching, queue_position }
    }

    pub(crate) const fn without_place(self) -> Self {
        Self { queue_position: None, ..self }
    }

    pub const fn offers_pending() -> Self {
        Self { status: Matching::OffersPending, queue_position: None }
    }

    pub const fn matched() -> Self {
        Self { status: Matching::Matched, queue_position: None }
    }

    pub const fn no_drivers() -> Self {
        Self { status: Matching::NoDrivers, queue_position: None }
    }

    pub const fn cancelled() -> Self {
        Self { status: Matching::Cancelled, queue_position: None }
    }
}

/// How a city finds drivers: `GET /admin/cities/{id}/dispatch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CityDispatchView {
    #[schema(value_type = i16)]
    pub city_id: CityId,
    pub strategy: Strategy,
    /// What a request may name beside it.
    pub allowed: Vec<Strategy>,
    /// Absent where nobody chose yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<UserId>,
    /// As the node that answers knows it; absent before its first search there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadView>,
}

/// How loaded the search for drivers is in a city.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadView {
    /// What it does without: `normal` is nothing.
    pub step: Step,
    pub since: Millis,
    /// Searches that have no driver, and ask nobody now.
    pub waiting: usize,
    /// What the last tick in which somebody was looked at took, milliseconds.
    pub tick_ms: u64,
}

/// A second strategy beside a city's own, which is counted and never acted on:
/// `GET /admin/cities/{id}/dispatch/shadow`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowView {
    #[schema(value_type = i16)]
    pub city_id: CityId,
    /// Absent where none runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Absent where nobody chose yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<UserId>,
    /// Counted by the node that answers since the shadow was chosen, or since the node began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<ShadowCounts>,
}

/// Rounds of the city's own, by what the shadow would have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowCounts {
    /// Asked the same driver first.
    pub same: u64,
    /// Asked another one first.
    pub other: u64,
    /// Asked nobody yet.
    pub waits: u64,
    /// The city's own asked before the shadow had looked.
    pub unseen: u64,
    /// Searches that the city's own gave up, and the shadow would have asked somebody.
    pub found: u64,
    /// Of `same` and `other`: those in which the shadow would have asked before.
    pub sooner: u64,
    /// By how much in all, milliseconds.
    pub sooner_ms: u64,
    /// The city's own, over `same` and `other`.
    pub own: ShadowSide,
    /// The shadow, over the same rounds.
    pub shadow: ShadowSide,
}

/// Sums over rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShadowSide {
    /// Seconds from each round's first driver to the pickup.
    pub pickup_s: u64,
    /// Drivers asked.
    pub asked: u64,
}

impl AddAssign for ShadowSide {
    fn add_assign(&mut self, other: Self) {
        self.pickup_s += other.pickup_s;
        self.asked += other.asked;
    }
}

/// `GET /admin/trips/{id}/dispatch-trace`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Trace {
    /// The rounds that were made, and the end of a search that found nobody, oldest first.
    pub rounds: Vec<RoundView>,
    /// Of each round every driver who was looked at; between rounds what changed.
    pub trace: Vec<TraceRow>,
}

/// A round of offers, or the end of a search that found nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoundView {
    pub at: Millis,
    pub round: u16,
    pub strategy: Strategy,
    /// What the search did without, because the city was overloaded.
    pub step: Step,
    /// How far was looked, metres.
    pub radius: u32,
    /// Drivers who were looked at.
    pub looked: usize,
    /// False: there were more within the radius, all of them farther than those.
    pub complete: bool,
    /// Drivers who were asked.
    pub asked: usize,
    /// Searches that were decided together.
    pub searches: usize,
    /// Decided again from what was kept, by the program as it is now, it comes out the same. Where
    /// not, the lines of the round are those that were written at the time.
    pub reproduced: bool,
}

/// One line of `GET /admin/trips/{id}/dispatch-trace`: a driver, and what was made of him.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceRow {
    pub at: Millis,
    pub round: u16,
    pub driver_id: DriverId,
    /// `offered`, `ranked` (eligible, others were asked first), `too_far` (the search waits for
    /// another), `not_scored` (eligible, enough others are nearer), `behind_queue` (eligible, the
    /// airport's queue comes first), or what kept the driver out.
    pub verdict: String,
    pub score: Option<f32>,
    /// Driver to pickup, metres.
    pub distance: u32,
    /// Driver to pickup, seconds.
    pub eta: Option<u32>,
    pub parts: Option<Parts>,
    /// His place in the queue of the airport where the pickup is; 1 is next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_place: Option<u32>,
    /// For what his score was lowered; by how much, `parts` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conduct: Option<Misconduct>,
    /// How the offer of this round ended: `pending`, `accepted`, `declined`, `expired`, `revoked`,
    /// `lost` or `unchosen` (he bid, and the rider let it pass).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Millis>,
    /// What he bid last, where prices are bid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bid: Option<Piasters>,
}
