//! Shifts and trips of a driver: online, offline, offers, trips, facts.

use std::collections::BTreeMap;
use std::sync::Arc;

use base::{DriverId, Fault, Millis, Piasters, Point, TripId, limits};

use crate::conduct::{ConductMark, store as marks};
use crate::fleet::{Fleet, Inner, Scored};
use crate::model::{
    Count, DriverBrief, DriverFacts, Finish, Fix, FixError, FleetError, OnDuty, State,
};
use crate::position::Seat;
use crate::roster::{Core, Entry};
use crate::rules::{Command, Phase};
use crate::store;

impl Fleet {
    /// Begins the shift of an approved driver with running documents, and stores that he wants it.
    /// `at` counts as a first position. Changes nothing for who is online already.
    pub async fn go_online(&self, driver: DriverId, at: Option<Fix>) -> Result<State, FleetError> {
        let inner = self.inner();
        let found = store::facts(&inner.db, &[driver]).await?.pop();
        let (_, facts) = found.ok_or(FleetError::NoProfile)?;
        facts.may_work(inner.clock.now())?;
        if let Some(fix) = at {
            self.ingest(&self.seat(driver)?, &fix)?;
        }
        let city = at.and_then(|fix| self.city_of(fix.at)).map_or(facts.city, |city| city.id);
        store::wish(&inner.db, driver, store::Wish::Online(city)).await?;
        let entry = inner.roster.entry(driver).ok_or(FixError::Full)?;
        let now = inner.clock.now();
        entry.hear(now);
        let mut core = entry.core.lock();
        inner.know(&entry, &mut core, DriverFacts { wants_online: true, city, ..facts });
        inner.apply(&entry, &mut core, Command::Online, now)
    }

    /// Ends the shift at once; refused on a trip. An open offer is lost.
    pub async fn go_offline(&self, driver: DriverId) -> Result<State, FleetError> {
        let inner = self.inner();
        let entry = inner.roster.entry(driver).ok_or(FixError::Full)?;
        {
            let mut core = entry.core.lock();
            inner.apply(&entry, &mut core, Command::Offline, inner.clock.now())?;
            core.wants_online = false;
        }
        store::wish(&inner.db, driver, store::Wish::Offline).await?;
        Ok(State::Offline)
    }

    /// Anything came from him: he is there.
    pub fn heard(&self, seat: &Seat) {
        seat.entry().hear(self.inner().clock.now());
    }

    /// Is nothing heard of him?
    pub fn is_silent(&self, driver: DriverId) -> bool {
        let inner = self.inner();
        let now = inner.clock.now();
        inner.roster.find(driver).is_none_or(|entry| entry.is_silent(now))
    }

    pub fn state(&self, driver: DriverId) -> State {
        let entry = self.inner().roster.find(driver);
        entry.map_or(State::Offline, |entry| entry.core.lock().phase.state())
    }

    /// The trip he drives, as far as this node knows.
    pub fn trip_of(&self, driver: DriverId) -> Option<TripId> {
        self.inner().roster.find(driver)?.core.lock().phase.trip()
    }

    /// The trip that he has accepted and drives after that one.
    pub fn next_of(&self, driver: DriverId) -> Option<TripId> {
        self.inner().roster.find(driver)?.core.lock().phase.next()
    }

    /// May he be sent to a rider, as far as this node knows? Yes while nothing else is known.
    pub fn may_work(&self, driver: DriverId) -> bool {
        let inner = self.inner();
        let Some(entry) = inner.roster.find(driver) else { return true };
        let core = entry.core.lock();
        core.facts.as_ref().is_none_or(|facts| facts.may_work(inner.clock.now()).is_ok())
    }

    /// His newest accepted position and when it came in, however old.
    pub fn position(&self, driver: DriverId) -> Option<(Point, Millis)> {
        let entry = self.inner().roster.find(driver)?;
        let live = entry.core.lock().live?;
        Some((live.at, live.heard))
    }

    /// What the rider of his trip sees of him; `None` until his facts are loaded.
    pub fn brief(&self, driver: DriverId) -> Option<DriverBrief> {
        let entry = self.inner().roster.find(driver)?;
        let core = entry.core.lock();
        let facts = core.facts.as_ref()?;
        Some(DriverBrief {
            driver,
            name: facts.name.clone(),
            rating: facts.rating,
            tier: facts.tier,
            vehicle: facts.vehicle.clone(),
        })
    }

    /// The city's drivers who are online and were seen somewhere: a walk over all drivers.
    pub fn on_duty(&self, city: base::CityId) -> Vec<OnDuty> {
        let seen = |entry: Arc<Entry>| {
            let core = entry.core.lock();
            let (live, state) = (core.live?, core.phase.state());
            (core.city == city && state != State::Offline).then(|| OnDuty {
                driver: entry.driver,
                at: live.at,
                heading: live.heading,
                state,
                tier: core.tier(),
                waiting_since: core.waiting_since,
            })
        };
        self.inner().roster.all().into_iter().filter_map(seen).collect()
    }

    /// Drivers by city, tier and state; the offline are not counted.
    pub fn counts(&self) -> Vec<Count> {
        self.inner().tally.counts()
    }

    /// Drivers who are online, by city and tier.
    pub fn online(&self) -> BTreeMap<(base::CityId, base::Tier), u32> {
        let mut online = BTreeMap::new();
        for count in self.counts() {
            *online.entry((count.city, count.tier)).or_insert(0) += count.drivers;
        }
        online
    }

    /// AVAILABLE → OFFERED, or for who drives a rider to his drop-off: the next trip. From here on
    /// no other trip is offered to him.
    pub fn offer(&self, driver: DriverId, trip: TripId) -> Result<(), FleetError> {
        let inner = self.inner();
        let entry = inner.roster.find(driver).ok_or(FleetError::Offline)?;
        let mut core = entry.core.lock();
        let command = match core.drop_off {
            Some(_) => Command::OfferNext { trip },
            None => Command::Offer { trip },
        };
        inner.apply(&entry, &mut core, command, inner.clock.now()).map(drop)
    }

    /// Does he hold an offer of this trip?
    pub fn is_asked(&self, driver: DriverId, trip: TripId) -> bool {
        let entry = self.inner().roster.find(driver);
        entry.is_some_and(|entry| entry.core.lock().phase.asked() == Some(trip))
    }

    /// The trip that he is ending while he holds an offer of this one.
    pub fn ends_before(&self, driver: DriverId, trip: TripId) -> Option<TripId> {
        let phase = self.inner().roster.find(driver)?.core.lock().phase;
        phase.trip().filter(|_| phase.asked() == Some(trip))
    }

    /// His offer of this trip ended without him: free at once. Nothing when he holds none.
    pub fn release(&self, driver: DriverId, trip: TripId) {
        self.command(driver, Command::Release { trip }).ok();
    }

    /// He declined an offer or let it pass: it counts against his acceptance, and in the queue of
    /// the airport where the trip starts, if it is there.
    pub fn missed_offer(&self, driver: DriverId, pickup: Option<Point>) {
        if let Some(entry) = self.inner().roster.find(driver) {
            self.inner().score(&entry, &mut entry.core.lock(), Scored::OfferMissed);
        }
        if let Some(pickup) = pickup {
            self.refused_at(driver, pickup);
        }
    }

    /// OFFERED (this trip) or AVAILABLE → BUSY: he drives it, and its track begins.
    pub fn assign(&self, driver: DriverId, trip: TripId) -> Result<(), FleetError> {
        let inner = self.inner();
        let entry = inner.roster.find(driver).ok_or(FleetError::Offline)?;
        let mut core = entry.core.lock();
        let was_offered = matches!(core.phase, Phase::Offered { .. });
        inner.apply(&entry, &mut core, Command::Assign { trip }, inner.clock.now())?;
        if was_offered {
            inner.score(&entry, &mut core, Scored::OfferTaken);
        }
        Ok(())
    }

    /// He has accepted a next trip while he ends one.
    pub fn queue_next(&self, driver: DriverId, trip: TripId) -> Result<(), FleetError> {
        let inner = self.inner();
        let entry = inner.roster.find(driver).ok_or(FleetError::Offline)?;
        let mut core = entry.core.lock();
        let was_asked = core.phase.asked() == Some(trip);
        inner.apply(&entry, &mut core, Command::Queue { trip }, inner.clock.now())?;
        if was_asked {
            inner.score(&entry, &mut core, Scored::OfferTaken);
        }
        Ok(())
    }

    /// The trip is over for him; nothing when he doesn't drive it. The next one, if it is that
    /// one's turn now.
    pub fn finish(&self, driver: DriverId, trip: TripId, how: Finish) -> Option<TripId> {
        let inner = self.inner();
        let entry = inner.roster.find(driver)?;
        let mut core = entry.core.lock();
        let now = inner.clock.now();
        let drove = core.phase.trip() == Some(trip);
        let was_next = core.phase.next() == Some(trip);
        let rest_until = inner.rest_until(&core, now);
        if drove && matches!(how, Finish::Completed | Finish::GaveBack) {
            inner.forget_place(&entry, &mut core, now);
        }
        let waiting_since = core.waiting_since;
        inner.apply(&entry, &mut core, Command::Finish { trip, how, rest_until }, now).ok();
        if drove && how == Finish::TakenOver {
            core.waiting_since = waiting_since;
        }
        if drove {
            inner.put_away(trip, how);
            inner.score(&entry, &mut core, Scored::Trip(how));
            if how == Finish::Completed {
                core.recent.add(now);
            }
        } else if was_next {
            inner.score(&entry, &mut core, Scored::Trip(how));
        }
        core.phase.trip().filter(|_| drove)
    }

    /// The database says he drives this trip, whatever this node thought: at boot, before he is
    /// heard, and after a commit that overtook him.
    pub fn adopt(&self, driver: DriverId, trip: TripId) {
        self.follow(driver, Command::Adopt { trip });
    }

    /// The same of a trip that waits for the end of `behind`.
    pub fn adopt_next(&self, driver: DriverId, trip: TripId, behind: TripId) {
        self.follow(driver, Command::AdoptNext { trip, behind });
    }

    fn follow(&self, driver: DriverId, what_is_stored: Command) {
        let inner = self.inner();
        let Some(entry) = inner.roster.entry(driver) else { return };
        let mut core = entry.core.lock();
        let now = inner.clock.now();
        // Whoever has a live trip was online, and is after it unless he says otherwise.
        core.wants_online = true;
        if core.facts.is_none() {
            inner.want_facts(&entry, &mut core, now);
        }
        inner.apply(&entry, &mut core, what_is_stored, now).ok();
    }

    /// What he has or owes, as of the last posting.
    pub fn set_balance(&self, driver: DriverId, balance: Piasters) {
        if let Some(entry) = self.inner().roster.find(driver)
            && let Some(facts) = entry.core.lock().facts.as_mut()
        {
            facts.balance = balance;
        }
    }

    /// For what his score is lowered from now on; nothing for who is not known here. The rest of
    /// him stays: it may be newer here than in the database.
    pub fn set_conduct(&self, driver: DriverId, marks: Vec<ConductMark>) {
        if let Some(entry) = self.inner().roster.find(driver)
            && let Some(facts) = entry.core.lock().facts.as_mut()
        {
            facts.conduct = marks;
        }
    }

    /// Reads his marks again, if he is known here. Another node reads them with his next shift.
    pub async fn reload_conduct(&self, driver: DriverId) -> Result<(), Fault> {
        if self.inner().roster.find(driver).is_some() {
            let marks = marks::marks(&self.inner().db, driver).await?;
            self.set_conduct(driver, marks);
        }
        Ok(())
    }

    /// Takes what the database knows of him. Who may not work any more goes offline, unless he is
    /// on a trip; who wants to work and was just heard becomes available.
    pub fn set_facts(&self, driver: DriverId, facts: DriverFacts) {
        let inner = self.inner();
        let Some(entry) = inner.roster.entry(driver) else { return };
        let mut core = entry.core.lock();
        let now = inner.clock.now();
        let may_work = facts.may_work(now).is_ok();
        inner.know(&entry, &mut core, facts);
        match core.phase {
            Phase::Offline => inner.wake(&entry, &mut core, now),
            Phase::Available | Phase::Offered { .. } | Phase::Cooldown { .. } if !may_work => {
                inner.apply(&entry, &mut core, Command::Offline, now).ok();
            }
            Phase::Available
            | Phase::Offered { .. }
            | Phase::Cooldown { .. }
            | Phase::Busy { .. } => {}
        }
    }

    /// Reads what the database knows of him again; nothing for who has no profile.
    pub async fn reload_facts(&self, driver: DriverId) -> Result<(), Fault> {
        if let Some((driver, facts)) = store::facts(&self.inner().db, &[driver]).await?.pop() {
            self.set_facts(driver, facts);
        }
        Ok(())
    }

    fn command(&self, driver: DriverId, command: Command) -> Result<State, FleetError> {
        let inner = self.inner();
        let entry = inner.roster.find(driver).ok_or(FleetError::Offline)?;
        let mut core = entry.core.lock();
        inner.apply(&entry, &mut core, command, inner.clock.now())
    }
}

impl Inner {
    pub(crate) fn know(&self, entry: &Entry, core: &mut Core, facts: DriverFacts) {
        let was = (core.city, core.tier());
        core.wants_online = facts.wants_online;
        if !core.located {
            core.city = facts.city;
        }
        core.facts = Some(Box::new(facts));
        self.reclass(entry, core, was);
    }

    /// A position of who is offline: he becomes available when he wants to, may, and is heard.
    pub(crate) fn wake(&self, entry: &Entry, core: &mut Core, now: Millis) {
        let since = now - limits::PRESENCE_TTL;
        let heard = core.live.is_some_and(|live| live.heard >= since);
        if !heard {
            return;
        }
        match &core.facts {
            None => self.want_facts(entry, core, now),
            Some(facts) if core.wants_online && facts.may_work(now).is_ok() => {
                self.apply(entry, core, Command::Online, now).ok();
            }
            Some(_) => {}
        }
    }
}
