//! Who may follow a trip's room, and what a follower missed.
//!
//! A trip room's numbers are the trip's event numbers, so what was missed is read from the event
//! store: it survives the node (DESIGN 5).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use base::{Caller, Problem, Role, TripId};
use identity::AuditObject;
use rooms::{Backlog, Frame, Replay, Topic};
use storage::Who;
use trips::{Trip, TripEventView, TripView};

use crate::Flows;
use crate::wire::{event_frame, trip_room};

/// Epoch of every trip room: the event store never starts over.
pub(crate) const TRIP_EPOCH: u64 = 1;

impl Flows {
    /// The trip for who begins to follow it; an admin's look is recorded.
    pub async fn follow_trip(&self, caller: &Caller, id: TripId) -> Result<Arc<Trip>, Problem> {
        let trip = self.followed(caller, id).await?;
        self.note_look(caller, "trip.follow", AuditObject::new("trip", id)).await?;
        Ok(trip)
    }

    /// Rider, assigned driver and admins may follow; for others the trip does not exist.
    pub async fn followed(&self, caller: &Caller, id: TripId) -> Result<Arc<Trip>, Problem> {
        let trip = self.trips.get(&Who::Caller(*caller), id).await?;
        let allowed = match caller.role {
            Role::Admin => true,
            Role::Rider => trip.rider == caller.user.as_rider(),
            Role::Driver => trip.driver == Some(caller.user.as_driver()),
        };
        if allowed { Ok(trip) } else { Err(Problem::not_found()) }
    }

    /// The source of missed events for `caller`.
    pub fn replay(&self, caller: Caller) -> TripReplay {
        TripReplay { flows: self.clone(), caller }
    }
}

/// Reads what a follower missed from the event store.
pub struct TripReplay {
    flows: Flows,
    caller: Caller,
}

impl Replay for TripReplay {
    fn since(
        &self,
        topic: Topic,
        after: Option<u64>,
    ) -> Pin<Box<dyn Future<Output = Result<Backlog, Problem>> + Send + '_>> {
        Box::pin(async move {
            let Topic::Trip(id) = topic else { return Ok(Backlog::Events(Vec::new())) };
            match after {
                Some(seq) => self.missed(id, seq).await,
                None => self.snapshot(id).await,
            }
        })
    }
}

impl TripReplay {
    async fn missed(&self, id: TripId, after: u64) -> Result<Backlog, Problem> {
        let after = i32::try_from(after).unwrap_or(i32::MAX);
        let events = self.flows.trips.events_since(id, after).await?;
        let frames = events.iter().map(|event| {
            let seq = u64::try_from(event.seq).unwrap_or(0);
            (seq, trip_event_frame(id, seq, &TripEventView::from(event)))
        });
        Ok(Backlog::Events(frames.collect()))
    }

    async fn snapshot(&self, id: TripId) -> Result<Backlog, Problem> {
        let trip = self.flows.followed(&self.caller, id).await?;
        let seq = u64::try_from(trip.version).unwrap_or(0);
        let view: TripView = self.flows.view(&self.caller, &trip);
        let frame = event_frame("snapshot", trip_room(id), TRIP_EPOCH, seq, &view);
        Ok(Backlog::Snapshot { seq, frame })
    }
}

pub(crate) fn trip_event_frame(id: TripId, seq: u64, event: &TripEventView) -> Frame {
    event_frame("trip.event", trip_room(id), TRIP_EPOCH, seq, event)
}
