//! Reads: a trip and its neighbours, as far as the caller may see them.

use base::limits::FRESH_TTL;
use base::{Caller, Cursor, Point, Problem, Role, TripId};
use dispatch::{MatchingStatus, Trace};
use fleet::{DriverBrief, TrackView};
use identity::AuditObject;
use storage::Who;
use trips::{DriverCard, Filter, Side, Status, Trip, TripList, TripView, VehicleCard};

use crate::Flows;

impl Flows {
    /// A trip of the caller's own (rider, driver, or an offered driver), or any for an admin.
    pub async fn trip(&self, caller: &Caller, id: TripId) -> Result<TripView, Problem> {
        let trip = self.trips.get(&Who::Caller(*caller), id).await?;
        self.note_look(caller, "trip.read", AuditObject::new("trip", id)).await?;
        Ok(self.view(caller, &trip))
    }

    /// The caller's own trips (an admin's: all), newest first.
    pub async fn trips(
        &self,
        caller: &Caller,
        filter: &Filter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<TripList, Problem> {
        let page = self.trips.list(&Who::Caller(*caller), filter, after, limit).await?;
        let shown = page.trips.iter().map(|trip| AuditObject::new("trip", trip.id));
        self.note_looks(caller, "trip.read", shown).await?;
        let trips = page.trips.iter().map(|trip| self.view(caller, trip)).collect();
        Ok(TripList { trips, next_cursor: page.next.map(|cursor| cursor.to_string()) })
    }

    /// How the search for a driver stands.
    pub async fn matching_status(
        &self,
        caller: &Caller,
        id: TripId,
    ) -> Result<MatchingStatus, Problem> {
        let trip = self.trips.get(&Who::Caller(*caller), id).await?;
        Ok(match trip.status {
            Status::Requested => self.dispatch.status(id),
            Status::NoDrivers => MatchingStatus::no_drivers(),
            Status::Cancelled => MatchingStatus::cancelled(),
            Status::Scheduled => MatchingStatus::searching(None),
            Status::Accepted | Status::Arrived | Status::Started | Status::Completed => {
                MatchingStatus::matched()
            }
        })
    }

    /// The stored track, or what was measured so far.
    pub async fn track(&self, caller: &Caller, id: TripId) -> Result<TrackView, Problem> {
        self.trips.get(&Who::Caller(*caller), id).await?;
        self.note_look(caller, "trip.read_track", AuditObject::new("trip", id)).await?;
        Ok(self.fleet.track(id).await?)
    }

    /// Why each driver was or was not asked (admins).
    pub async fn dispatch_trace(&self, admin: &Caller, id: TripId) -> Result<Trace, Problem> {
        let who = Who::Caller(*admin);
        self.trips.get(&who, id).await?;
        self.note_look(admin, "trip.read_trace", AuditObject::new("trip", id)).await?;
        Ok(self.dispatch.trace(&who, id).await?)
    }

    /// The trip as `caller` may see it, with the driver's card once there is one. Where he is shows
    /// only while he drives this trip: afterwards it is nobody's business.
    pub fn view(&self, caller: &Caller, trip: &Trip) -> TripView {
        let view = TripView::of(trip, side_of(caller));
        let Some(brief) = trip.driver.and_then(|driver| self.fleet.brief(driver)) else {
            return view;
        };
        let on_the_way =
            matches!(trip.status, Status::Accepted | Status::Arrived | Status::Started);
        let shown = on_the_way && !trip.is_queued();
        let at = self
            .fleet
            .position(brief.driver)
            .filter(|(_, heard)| shown && self.clock.now().after(*heard) <= FRESH_TTL);
        view.with_driver(card_of(brief, at.map(|(at, _)| at)))
    }
}

pub(crate) const fn side_of(caller: &Caller) -> Side {
    match caller.role {
        Role::Rider => Side::Rider,
        Role::Driver => Side::Driver,
        Role::Admin => Side::Admin,
    }
}

fn card_of(brief: DriverBrief, at: Option<Point>) -> DriverCard {
    DriverCard {
        id: brief.driver,
        name: brief.name,
        rating: Some(brief.rating),
        vehicle: Some(VehicleCard {
            tier: brief.tier,
            make: brief.vehicle.make,
            model: brief.vehicle.model,
            plate: brief.vehicle.plate,
            color: brief.vehicle.color,
        }),
        lat: at.map(Point::lat),
        lng: at.map(Point::lng),
    }
}
