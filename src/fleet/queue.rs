//! Fences that drivers enter, stay in and leave, and the queues of airports.
//!
//! Owns each driver's visits and his place in a queue (under his lock), and the lines as an index
//! over them. A driver who is free within an airport's fence stands in its queue, in the order in
//! which they came, until he leaves it by the rule of `visits`, takes a trip, goes offline, or
//! refuses too often (decision 0024).
//!
//! Places are written behind (durability class B) and read again at the start: who is heard within
//! the fence in time has the place he had.

mod lines;
mod rules;
pub(crate) mod store;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use base::{DriverId, Fault, Millis, Point, limits};
use geo::{FenceKind, Fences};
use metrics::{counter, gauge};
use uuid::Uuid;

use crate::fleet::{Fleet, Inner};
use crate::roster::{Core, Entry};
use crate::rules::Phase;
use crate::sessions::{DriverAtFence, Note};
use crate::visits::{Turn, Visit, Whereabouts};

pub(crate) use lines::Lines;
pub use rules::LostPlace;
pub(crate) use rules::Stand;
use rules::{Event, step};
use store::SpotRow;
pub use wire::{FenceQueueView, QueuePlaceView, QueuedView};

/// How long a restarted program expects those back who stood in a queue.
const RETURN_TTL: Duration = Duration::from_secs(120);
/// Drivers of a queue who are listed.
const LISTED: usize = 500;

/// Where a driver is and stands, as fences see it; under his lock.
#[derive(Debug, Default)]
pub(crate) struct Ground {
    visits: Vec<Visit>,
    stand: Stand,
    /// The moment of the last fact about him: the next one is later, whatever happens at once.
    noted: Millis,
}

impl Fleet {
    /// Reads who stood in which queue. They are expected back.
    pub(crate) async fn load_queues(&self) -> Result<(), Fault> {
        let inner = self.inner();
        let now = inner.clock.now();
        let stored = store::all(&inner.db).await?;
        let fences = inner.map.fences();
        for (driver, spot) in stored {
            let Some(entry) = inner.roster.entry(driver) else { continue };
            if airport(&fences, spot.fence).is_none() {
                inner.spots.push(SpotRow { driver, spot: None });
                continue;
            }
            let mut core = entry.core.lock();
            let stands = (core.ground.stand, Stand::Expected(spot));
            inner.lines.lock().moved((driver, entry.slot), stands, None);
            core.ground.stand = stands.1;
        }
        inner.lines.lock().expected_until = Some(now + RETURN_TTL);
        Ok(())
    }

    /// He said no to a trip that starts here, or let it pass: it counts in the airport's queue.
    pub(crate) fn refused_at(&self, driver: DriverId, pickup: Point) {
        let inner = self.inner();
        let Some(fence) = inner.map.airport_at(pickup) else { return };
        if let Some(entry) = inner.roster.find(driver) {
            let mut core = entry.core.lock();
            inner.stand(&entry, &mut core, Event::Refused { fence }, inner.clock.now());
        }
    }

    /// A driver's place; `None`: he is in no queue.
    pub fn queue_place(&self, driver: DriverId) -> Option<QueuePlaceView> {
        let inner = self.inner();
        let entry = inner.roster.find(driver)?;
        let core = entry.core.lock();
        let (spot, _) = core.ground.stand.in_line()?;
        let lines = inner.lines.lock();
        Some(QueuePlaceView {
            fence_id: spot.fence,
            airport: airport(&inner.map.fences(), spot.fence).unwrap_or_default(),
            position: Some(lines.place(spot.fence, spot.since, driver)),
            waiting: lines.waiting(spot.fence),
            since: Some(spot.since),
            reason: None,
        })
    }

    /// The queue of an airport; `None`: there is no such airport.
    pub fn fence_queue(&self, fence: Uuid) -> Option<FenceQueueView> {
        let inner = self.inner();
        let airport = airport(&inner.map.fences(), fence)?;
        let (waiting, members) = {
            let lines = inner.lines.lock();
            (lines.waiting(fence), lines.at(fence).take(LISTED).collect::<Vec<_>>())
        };
        let queued = |(position, (driver_id, member)): (u32, (DriverId, lines::Member))| {
            let entry = inner.roster.at_slot(member.slot)?;
            let core = entry.core.lock();
            // He may have left since the lines were read.
            let (spot, _) = core.ground.stand.in_line().filter(|(spot, _)| spot.fence == fence)?;
            Some(QueuedView {
                position,
                driver_id,
                since: spot.since,
                refusals: spot.refusals,
                state: core.phase.state(),
            })
        };
        let drivers = (1..).zip(members).filter_map(queued).collect();
        Some(FenceQueueView { fence_id: fence, airport, waiting, drivers })
    }

    /// Whose place changed since the last call, and how it is now: one of each driver at most.
    pub fn queue_news(&self) -> Vec<(DriverId, QueuePlaceView)> {
        let inner = self.inner();
        let news = inner.lines.lock().news();
        let fences = inner.map.fences();
        let view = |news: lines::News| {
            let view = QueuePlaceView {
                fence_id: news.fence,
                airport: airport(&fences, news.fence).unwrap_or_default(),
                position: news.place.map(|(place, _)| place),
                waiting: news.waiting,
                since: news.place.map(|(_, since)| since),
                reason: news.lost,
            };
            (news.driver, view)
        };
        news.into_iter().map(view).collect()
    }

    pub(crate) fn report_queues(&self) {
        let inner = self.inner();
        let fences = inner.map.fences();
        for fence in fences.all().filter(|fence| fence.kind == FenceKind::Airport) {
            let waiting = inner.lines.lock().waiting(fence.id);
            gauge!("smartline_airport_queue_drivers", "airport" => fence.name.clone())
                .set(f64::from(waiting));
        }
    }
}

/// The airport's name, if this fence is one.
fn airport(fences: &Fences, fence: Uuid) -> Option<String> {
    let found = fences.find(fence).filter(|fence| fence.kind == FenceKind::Airport);
    found.map(|fence| fence.name.clone())
}

impl Inner {
    /// Where he is now, or that only time has passed. The caller holds his lock, and he is online.
    pub(crate) fn follow_fences(
        &self,
        entry: &Entry,
        core: &mut Core,
        at: Option<Point>,
        now: Millis,
    ) {
        let fences = self.map.fences();
        if fences.is_empty() && core.ground.visits.is_empty() {
            return;
        }
        let (terms, visits) = (&self.config.fences, &mut core.ground.visits);
        // Of almost every position there is nothing to tell, and nothing is allocated.
        let (mut turns, mut entered) = (Vec::new(), Vec::new());
        visits.iter_mut().for_each(|visit| visit.holds = false);
        // Whose app only says that it is there may be anywhere: he keeps no place by that.
        let is_lost = core.live.is_none_or(|live| now.after(live.heard) > limits::FRESH_TTL);
        for fence in at.into_iter().flat_map(|at| fences.at(at)) {
            match visits.iter_mut().find(|visit| visit.fence == fence.id) {
                Some(visit) => visit.holds = true,
                None => {
                    visits.push(Visit::begin(fence.id, fence.kind, now));
                    entered.push((Turn::Entered, fence.id, fence.kind));
                }
            }
        }
        visits.retain_mut(|visit| {
            let place = match at {
                Some(_) if visit.holds => Whereabouts::Within,
                Some(at) => Whereabouts::outside(fences.edge_m(visit.fence, at), terms),
                None if fences.find(visit.fence).is_none() => Whereabouts::NoFence,
                None if is_lost && visit.kind == FenceKind::Airport => Whereabouts::Beyond,
                None => Whereabouts::Unknown,
            };
            let turn = visit.step(place, now, terms);
            turns.extend(turn.map(|turn| (turn, visit.fence, visit.kind)));
            turn != Some(Turn::Left)
        });
        for turn in turns.into_iter().chain(entered) {
            self.turned(entry, core, turn, now);
        }
    }

    fn turned(
        &self,
        entry: &Entry,
        core: &mut Core,
        (turn, fence, kind): (Turn, Uuid, FenceKind),
        now: Millis,
    ) {
        self.note_fence(entry, core, (turn, fence, kind), now);
        if kind == FenceKind::Airport {
            if turn == Turn::Left {
                self.stand(entry, core, Event::Left { fence }, now);
            }
            self.join(entry, core, now);
        }
    }

    /// What a step of his state means for his place; of one that leads to offline see
    /// [`Inner::leave_fences`].
    pub(crate) fn follow_queue(
        &self,
        entry: &Entry,
        core: &mut Core,
        (before, next): (Phase, Phase),
        now: Millis,
    ) {
        if before == Phase::Offline {
            let fresh = core.live.filter(|live| live.heard >= now - limits::FRESH_TTL);
            self.follow_fences(entry, core, fresh.map(|live| live.at), now);
        }
        match next {
            Phase::Available => {
                self.join(entry, core, now);
                // A trip that was called off after a restart, before he was seen anywhere.
                self.stand(entry, core, Event::Done, now);
            }
            Phase::Busy { .. } => self.stand(entry, core, Event::Took, now),
            Phase::Offline | Phase::Offered { .. } | Phase::Cooldown { .. } => {}
        }
    }

    /// He is offline: he is in no fence and in no queue.
    pub(crate) fn leave_fences(&self, entry: &Entry, core: &mut Core, now: Millis) {
        for visit in std::mem::take(&mut core.ground.visits) {
            self.note_fence(entry, core, (Turn::Left, visit.fence, visit.kind), now);
        }
        self.stand(entry, core, Event::Off, now);
    }

    /// His trip ended by his own doing: the place he had before is gone.
    pub(crate) fn forget_place(&self, entry: &Entry, core: &mut Core, now: Millis) {
        self.stand(entry, core, Event::Done, now);
    }

    /// Who is free within an airport's fence stands in its queue.
    fn join(&self, entry: &Entry, core: &mut Core, now: Millis) {
        let visits = &core.ground.visits;
        let at_airport = visits.iter().find(|visit| visit.kind == FenceKind::Airport);
        if let (Phase::Available, Some(visit)) = (core.phase, at_airport) {
            self.stand(entry, core, Event::Free { fence: visit.fence }, now);
        }
    }

    fn stand(&self, entry: &Entry, core: &mut Core, event: Event, now: Millis) {
        let before = core.ground.stand;
        let fence = match event {
            Event::Free { fence }
            | Event::Left { fence }
            | Event::Closed { fence }
            | Event::Refused { fence } => Some(fence),
            Event::Off | Event::Took | Event::Done | Event::Late => None,
        };
        if before == Stand::Out && !matches!(event, Event::Free { .. }) {
            return;
        }
        let mut lines = self.lines.lock();
        let ticket = fence.map_or(now, |fence| lines.ticket(fence, now));
        let (after, lost) = step(before, event, ticket, self.config.fences.refusals);
        if after == before {
            return;
        }
        lines.moved((entry.driver, entry.slot), (before, after), lost);
        drop(lines);
        core.ground.stand = after;
        if before.spot() != after.spot() {
            self.spots.push(SpotRow { driver: entry.driver, spot: after.spot() });
        }
        if let Some(why) = lost {
            counter!("smartline_airport_queue_left_total", "reason" => why.name()).increment(1);
        }
    }

    fn note_fence(
        &self,
        entry: &Entry,
        core: &mut Core,
        (turn, fence_id, kind): (Turn, Uuid, FenceKind),
        now: Millis,
    ) {
        let at = self.moment(core, now);
        let (driver_id, city_id) = (entry.driver, core.city);
        self.notes.push(Note::Fence(DriverAtFence {
            driver_id,
            city_id,
            fence_id,
            kind,
            at,
            turn,
        }));
    }

    /// Facts about a driver have moments of their own, in their order.
    pub(crate) fn moment(&self, core: &mut Core, now: Millis) -> Millis {
        let next = core.ground.noted + Duration::from_millis(1);
        core.ground.noted = now.max(next);
        core.ground.noted
    }

    /// When time alone may change something of his visits.
    pub(crate) fn fences_due(&self, core: &Core) -> impl Iterator<Item = Millis> {
        core.ground.visits.iter().filter_map(|visit| visit.due(&self.config.fences))
    }

    /// Place and slot of those who stand in line where this pickup is, first to last. Who is only
    /// expected back has a place, and can be anywhere.
    pub(crate) fn line_at(&self, pickup: Point) -> Vec<(u32, u32)> {
        let Some(fence) = self.map.airport_at(pickup) else { return Vec::new() };
        let lines = self.lines.lock();
        let places = (1..).zip(lines.at(fence)).filter(|(_, (_, member))| member.here);
        places.map(|(place, (_, member))| (place, member.slot)).collect()
    }

    /// Queues of fences that are no airports any more.
    pub(crate) fn close_queues(&self, now: Millis) {
        let fences = self.map.fences();
        let gone = self.lines.lock().fences();
        for fence in gone.into_iter().filter(|fence| airport(&fences, *fence).is_none()) {
            for entry in self.standing_at(fence) {
                let mut core = entry.core.lock();
                self.stand(&entry, &mut core, Event::Closed { fence }, now);
                // The visits of all others end with their next position.
                if core.phase != Phase::Offline {
                    self.follow_fences(&entry, &mut core, None, now);
                }
            }
        }
    }

    /// Gives up on those who did not come back after a restart.
    pub(crate) fn expect_no_longer(&self, now: Millis) {
        let due = self.lines.lock().expected_until.take_if(|until| *until <= now);
        if due.is_none() {
            return;
        }
        let fences = self.lines.lock().fences();
        for entry in fences.into_iter().flat_map(|fence| self.standing_at(fence)) {
            self.stand(&entry, &mut entry.core.lock(), Event::Late, now);
        }
    }

    fn standing_at(&self, fence: Uuid) -> Vec<Arc<Entry>> {
        let lines = self.lines.lock();
        let members = lines.at(fence);
        members.filter_map(|(_, member)| self.roster.at_slot(member.slot)).collect()
    }
}
