//! Operators keep a city's prices: tariffs from a moment on, hours, events. Every change has a
//! reason, stands in the audit log and in the city's own record, and is in force when its answer
//! goes out.

use base::{BasisPoints, Caller, CityId, Code, Cursor, Millis, Piasters, Point, Problem, Tier};
use events::Once;
use geo::Outline;
use identity::AuditObject;
use pricing::{
    ChangeSubject, ChangesPage, EventView, EventsPage, Factor, HoursView, NewEvent, NewHours,
    NewTariff, TariffView, Withdrawn,
};
use serde_json::{Value, json};
use storage::{Tx, Who};
use tracing::warn;
use uuid::Uuid;

use crate::Flows;
use crate::audit::audit_in_tx;

/// What the audit log says of a change.
pub(crate) struct Change {
    /// `kind.verb`: what it was done to, and what.
    pub action: &'static str,
    pub id: Uuid,
    pub details: Value,
}

/// Rates as an admin asks for them, checked in form.
#[derive(Clone, Debug)]
pub struct TariffRequest {
    pub tier: Tier,
    pub base_fare: Piasters,
    pub per_km: Piasters,
    pub per_minute: Piasters,
    pub minimum_fare: Piasters,
    pub booking_fee: Piasters,
    pub commission: BasisPoints,
    /// Now when absent.
    pub from: Option<Millis>,
}

/// Hours as an admin asks for them, checked in form.
#[derive(Clone, Debug)]
pub struct HoursRequest {
    pub day: Option<i16>,
    pub start_hour: i16,
    pub end_hour: i16,
    pub factor: Factor,
    pub name: String,
}

/// An event as an admin asks for it, checked in form.
#[derive(Clone, Debug)]
pub struct EventRequest {
    pub name: String,
    pub corners: Vec<Point>,
    /// Now when absent.
    pub starts: Option<Millis>,
    pub ends: Millis,
    pub factor: Factor,
}

impl Flows {
    /// Tariffs that are or will be in force.
    pub async fn tariffs(&self, admin: &Caller, city: CityId) -> Result<Vec<TariffView>, Problem> {
        self.must_serve(city)?;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        Ok(pricing::tariffs_of_city_in_tx(&mut tx, city, self.clock.now()).await?)
    }

    /// New rates of a tier, now or from a moment ahead; booked trips keep their price.
    pub async fn schedule_tariff(
        &self,
        admin: &Caller,
        city: CityId,
        asked: TariffRequest,
        reason: &str,
        once: Once,
    ) -> Result<TariffView, Problem> {
        self.must_serve(city)?;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        if let Some(id) = once.applied() {
            // By an attempt whose answer got lost.
            let made = pricing::tariff_in_tx(&mut tx, id).await?;
            return made.ok_or_else(Problem::not_found);
        }
        let now = self.clock.now();
        let from = asked.from.unwrap_or(now);
        if from < now {
            return Err(Problem::field("validFrom", "invalid", "must not be in the past"));
        }
        let new = NewTariff {
            id: Uuid::now_v7(),
            city,
            tier: asked.tier,
            base_fare: asked.base_fare,
            per_km: asked.per_km,
            per_minute: asked.per_minute,
            minimum_fare: asked.minimum_fare,
            booking_fee: asked.booking_fee,
            commission: asked.commission,
            from,
        };
        tx.because(reason).await?;
        let made = pricing::tariff_schedule_in_tx(&mut tx, &new).await?;
        let made = made.ok_or_else(|| {
            let why = "another tariff of this tier begins just then: take that one back first";
            Problem::new(Code::InvalidTransition, why)
        })?;
        let details = json!({"city": city, "tariff": made, "reason": reason});
        let change = Change { action: "tariff.schedule", id: new.id, details };
        self.settle_change(tx, admin, change, once).await?;
        Ok(made)
    }

    /// Takes a tariff back that is not in force yet; the one before it goes on.
    pub async fn withdraw_tariff(
        &self,
        admin: &Caller,
        id: Uuid,
        reason: &str,
        once: Once,
    ) -> Result<(), Problem> {
        if once.applied().is_some() {
            return Ok(());
        }
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        tx.because(reason).await?;
        match pricing::tariff_withdraw_in_tx(&mut tx, id, self.clock.now()).await? {
            Withdrawn::Done => {}
            Withdrawn::Unknown => return Err(Problem::not_found()),
            Withdrawn::Begun => {
                let why = "it is in force: schedule another one instead";
                return Err(Problem::new(Code::InvalidTransition, why));
            }
        }
        let details = json!({"reason": reason});
        let change = Change { action: "tariff.withdraw", id, details };
        self.settle_change(tx, admin, change, once).await
    }

    pub async fn hours(&self, admin: &Caller, city: CityId) -> Result<Vec<HoursView>, Problem> {
        self.must_serve(city)?;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        Ok(pricing::hours_of_city_in_tx(&mut tx, city).await?)
    }

    /// Hours that cost more or less, from now on.
    pub async fn add_hours(
        &self,
        admin: &Caller,
        city: CityId,
        asked: HoursRequest,
        reason: &str,
        once: Once,
    ) -> Result<HoursView, Problem> {
        self.must_serve(city)?;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        if let Some(id) = once.applied() {
            let made = pricing::hours_in_tx(&mut tx, id).await?;
            return made.ok_or_else(Problem::not_found);
        }
        let HoursRequest { day, start_hour, end_hour, factor, name } = asked;
        let id = Uuid::now_v7();
        let new = NewHours { id, city, day, start_hour, end_hour, factor, name };
        tx.because(reason).await?;
        let made = pricing::hours_add_in_tx(&mut tx, &new).await?;
        let made = made.ok_or_else(|| too_many("a city has at most 100 of them"))?;
        let details = json!({"city": city, "hours": made, "reason": reason});
        let change = Change { action: "hours.add", id, details };
        self.settle_change(tx, admin, change, once).await?;
        Ok(made)
    }

    pub async fn end_hours(
        &self,
        admin: &Caller,
        id: Uuid,
        reason: &str,
        once: Once,
    ) -> Result<(), Problem> {
        if once.applied().is_some() {
            return Ok(());
        }
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        tx.because(reason).await?;
        if !pricing::hours_end_in_tx(&mut tx, id).await? {
            return Err(Problem::not_found());
        }
        let details = json!({"reason": reason});
        let change = Change { action: "hours.end", id, details };
        self.settle_change(tx, admin, change, once).await
    }

    /// The newest first, ended ones too.
    pub async fn city_events(
        &self,
        admin: &Caller,
        city: CityId,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<EventsPage, Problem> {
        self.must_serve(city)?;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        Ok(pricing::events_in_tx(&mut tx, city, after, limit).await?)
    }

    /// A happening that raises prices where it is. Above three times the fare it is three times
    /// until another admin agrees.
    pub async fn add_event(
        &self,
        admin: &Caller,
        city: CityId,
        asked: EventRequest,
        reason: &str,
        once: Once,
    ) -> Result<EventView, Problem> {
        let outline = self.outline_in(city, asked.corners)?;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        if let Some(id) = once.applied() {
            let made = pricing::event_in_tx(&mut tx, id).await?;
            return made.ok_or_else(Problem::not_found);
        }
        let now = self.clock.now();
        let starts = asked.starts.unwrap_or(now);
        if asked.ends <= starts || asked.ends <= now {
            let text = "must be in the future, and after startsAt";
            return Err(Problem::field("endsAt", "invalid", text));
        }
        let id = Uuid::now_v7();
        let EventRequest { name, ends, factor, .. } = asked;
        let (by, at) = (admin.user, now);
        let new = NewEvent { id, city, name, outline, starts, ends, factor, by, at };
        tx.because(reason).await?;
        let made = pricing::event_add_in_tx(&mut tx, &new).await?;
        let made = made.ok_or_else(|| too_many("a city has at most 200 that are not over"))?;
        let details = json!({
            "city": city, "name": made.name, "multiplier": made.multiplier,
            "askedMultiplier": made.asked_multiplier, "startsAt": made.starts_at,
            "endsAt": made.ends_at, "reason": reason,
        });
        let change = Change { action: "event.add", id, details };
        self.settle_change(tx, admin, change, once).await?;
        Ok(made)
    }

    /// Over from now on.
    pub async fn end_event(
        &self,
        admin: &Caller,
        id: Uuid,
        reason: &str,
        once: Once,
    ) -> Result<EventView, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let event = pricing::event_lock_in_tx(&mut tx, id).await?;
        let event = event.ok_or_else(Problem::not_found)?;
        if once.applied().is_some() {
            return Ok(event);
        }
        tx.because(reason).await?;
        let ended = pricing::event_end_in_tx(&mut tx, id, self.clock.now()).await?;
        let ended = ended.ok_or_else(|| Problem::new(Code::InvalidTransition, "it is over"))?;
        let details = json!({"city": ended.city_id, "reason": reason});
        let change = Change { action: "event.end", id, details };
        self.settle_change(tx, admin, change, once).await?;
        Ok(ended)
    }

    /// A second admin's word on an event above three times the fare.
    pub async fn approve_event(
        &self,
        admin: &Caller,
        id: Uuid,
        reason: &str,
        once: Once,
    ) -> Result<EventView, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let event = pricing::event_lock_in_tx(&mut tx, id).await?;
        let event = event.ok_or_else(Problem::not_found)?;
        if once.applied().is_some() {
            return Ok(event);
        }
        let over = event.ends_at <= self.clock.now();
        if event.asked_multiplier.is_none() || event.approved_by.is_some() || over {
            let why = "it does not wait for anybody's word";
            return Err(Problem::new(Code::InvalidTransition, why));
        }
        if event.created_by == Some(admin.user) {
            return Err(Problem::new(Code::SecondAdminNeeded, "another admin must agree"));
        }
        tx.because(reason).await?;
        let event = pricing::event_approve_in_tx(&mut tx, id, admin.user).await?;
        let details = json!({
            "city": event.city_id, "askedBy": event.created_by, "multiplier": event.multiplier,
            "reason": reason,
        });
        let change = Change { action: "event.approve", id, details };
        self.settle_change(tx, admin, change, once).await?;
        Ok(event)
    }

    /// What changed in a city: tariffs, hours, events, fences; the newest first.
    pub async fn city_changes(
        &self,
        admin: &Caller,
        city: CityId,
        subject: Option<ChangeSubject>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<ChangesPage, Problem> {
        self.must_serve(city)?;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        Ok(pricing::changes_in_tx(&mut tx, city, subject, after, limit).await?)
    }

    pub(crate) fn must_serve(&self, city: CityId) -> Result<(), Problem> {
        self.fleet.city(city).map(drop).ok_or_else(Problem::not_found)
    }

    /// What was drawn, if it is one piece and lies within the city.
    pub(crate) fn outline_in(&self, city: CityId, corners: Vec<Point>) -> Result<Outline, Problem> {
        let city = self.fleet.city(city).ok_or_else(Problem::not_found)?;
        let outline = Outline::parse(corners);
        let outline =
            outline.map_err(|error| Problem::field("corners", error.code(), &error.to_string()))?;
        let outside = |corner: &Point| corner.distance_m(city.center) > f64::from(city.radius_m);
        match outline.corners().iter().position(outside) {
            None => Ok(outline),
            Some(index) => {
                let text = "must be within the city's circle";
                Err(Problem::field(&format!("corners[{index}]"), "outside_city", text))
            }
        }
    }

    /// Writes a change down and makes it stand. Whoever made it finds it in force when he has his
    /// answer; other nodes hear of it, and so does this one again, should reading fail here.
    pub(crate) async fn settle_change(
        &self,
        mut tx: Tx,
        admin: &Caller,
        change: Change,
        once: Once,
    ) -> Result<(), Problem> {
        let Change { action, id, details } = change;
        let kind = action.split('.').next().unwrap_or_default();
        audit_in_tx(&mut tx, admin, action, AuditObject::new(kind, id), details).await?;
        once.mark_in_tx(&mut tx, id).await?;
        tx.commit().await?;
        if let Err(fault) = self.pricing.reload().await {
            warn!(%fault, "prices stay as they were read last, and are read again");
        }
        if let Err(fault) = self.fleet.reload_map().await {
            warn!(%fault, "fences stay as they were read last, and are read again");
        }
        Ok(())
    }
}

pub(crate) fn too_many(text: &str) -> Problem {
    Problem::field("city", "too_many", text)
}
