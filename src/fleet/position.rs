//! Positions come in: checked, put on the live map, measured, written behind. The hot path.

use std::sync::Arc;
use std::time::Duration;

use base::{DriverId, Fault, Millis, Point, TripId, limits};
use parking_lot::Mutex;

use crate::check::{self, CLOCK_SKEW, Verdict};
use crate::conduct::HistoryRow;
use crate::fleet::{ANY_ONLINE, Fleet, Inner};
use crate::meter::{self, Link, TrackPoint};
use crate::model::{BatchOutcome, Finish, Fix, FixError, Ingested};
use crate::roster::{Core, Entry, Live};
use crate::rules::Phase;
use crate::store::{self, LatestRow};
use crate::wire::TrackView;

/// Off trip a point is kept for history when it is this far from the last one kept, metres …
const KEEP_M: f64 = 50.0;
/// … or this long after it.
const KEEP: Duration = Duration::from_secs(30);

/// What a trip's meter shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meter {
    /// Filtered, since the start of the trip, metres.
    pub distance_m: u32,
    /// Points held of its track.
    pub points: usize,
}

/// How a position was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Report {
    /// "I am here": on the map unless his clock is hopelessly late.
    Now,
    /// Out of the app's memory: on the map only while it is fresh.
    Backfill,
}

/// A driver's place in this fleet, found once: what a long-lived connection reports through.
#[derive(Clone)]
pub struct Seat(Arc<Entry>);

impl Seat {
    pub fn driver(&self) -> DriverId {
        self.0.driver
    }

    pub(crate) fn entry(&self) -> &Entry {
        &self.0
    }
}

impl Fleet {
    /// The driver's seat, made when he is new to this node.
    pub fn seat(&self, driver: DriverId) -> Result<Seat, FixError> {
        self.inner().roster.entry(driver).map(Seat).ok_or(FixError::Full)
    }

    /// Takes one position. Synchronous, and no longer than a lock of this driver's own.
    pub fn ingest(&self, seat: &Seat, fix: &Fix) -> Result<Ingested, FixError> {
        self.inner().take(&seat.0, fix, Report::Now)
    }

    /// Takes positions the app kept while out of reach, in order of time whatever their order here.
    pub fn ingest_batch(&self, seat: &Seat, fixes: &[Fix]) -> BatchOutcome {
        let mut order: Vec<usize> = (0..fixes.len()).collect();
        order.sort_by_key(|place| fixes[*place].timestamp);
        let mut outcome = BatchOutcome::default();
        for place in order {
            match self.inner().take(&seat.0, &fixes[place], Report::Backfill) {
                Ok(_) => outcome.accepted += 1,
                Err(error) => outcome.rejected.push((place, error.code())),
            }
        }
        outcome.rejected.sort_unstable_by_key(|(place, _)| *place);
        outcome
    }

    /// The rider is in the car: the distance counts from here. Opens the meter when there is none
    /// (this node took the trip over).
    pub fn start_meter(&self, driver: DriverId, trip: TripId) {
        let inner = self.inner();
        let now = inner.clock.now();
        let meter = inner.meter_of(trip, now);
        meter.lock().start(now);
        if let Some(entry) = inner.roster.find(driver) {
            let mut core = entry.core.lock();
            if core.phase.trip() == Some(trip) {
                core.meter = Some((trip, meter));
            }
        }
    }

    /// The rider is in the car and gets out there: from then on the driver is free for the next
    /// trip ([`Fleet::finishing`]). Nothing when he doesn't drive this trip.
    pub fn drives_to(&self, driver: DriverId, trip: TripId, drop_off: Point) {
        let inner = self.inner();
        let Some(entry) = inner.roster.find(driver) else { return };
        let mut core = entry.core.lock();
        if core.phase.trip() == Some(trip) {
            core.drop_off = Some(drop_off);
            inner.drop_offs.put(entry.slot, drop_off, inner.clock.now());
            inner.drop_offs.set_class(entry.slot, ANY_ONLINE);
        }
    }

    /// What the trip's meter shows; `None` when it was never opened here or is stored already.
    pub fn meter(&self, trip: TripId) -> Option<Meter> {
        let meter = self.inner().find_meter(trip)?;
        let meter = meter.lock();
        Some(Meter { distance_m: meter.distance_m(), points: meter.len() })
    }

    /// Stores a trip's track and forgets its meter; the fleet does it by itself after
    /// [`Fleet::finish`]. When that fails the meter stays and it is tried again; without a meter
    /// there is nothing to store.
    pub async fn close_track(&self, trip: TripId) -> Result<(), Fault> {
        let inner = self.inner();
        let Some(meter) = inner.find_meter(trip) else { return Ok(()) };
        let (points, distance_m) = {
            let meter = meter.lock();
            (meter.track(limits::TRACK_POINTS), meter.distance_m())
        };
        store::keep_track(&inner.db, trip, &points, distance_m, inner.clock.now()).await?;
        let stored = |_: &TripId, other: &mut Arc<_>| Arc::ptr_eq(other, &meter);
        inner.meters.remove_if_mut(&trip, stored);
        inner.closing.remove_if_mut(&trip, stored);
        Ok(())
    }

    /// Stores the tracks of all trips that are over.
    pub async fn store_tracks(&self) -> Result<(), Fault> {
        let over: Vec<TripId> = self.inner().closing.iter().map(|meter| *meter.key()).collect();
        for trip in over {
            self.close_track(trip).await?;
        }
        Ok(())
    }

    /// The track so far, or as stored; empty when nothing was ever measured.
    pub async fn track(&self, trip: TripId) -> Result<TrackView, Fault> {
        let inner = self.inner();
        if let Some(meter) = inner.find_meter(trip) {
            let meter = meter.lock();
            return Ok(TrackView::new(&meter.track(limits::TRACK_POINTS), meter.distance_m()));
        }
        let stored = store::track(&inner.db, trip).await?;
        Ok(stored.map_or_else(
            || TrackView::new(&[], 0),
            |(points, distance_m)| TrackView::new(&points, distance_m),
        ))
    }

    /// Fills the meter of a trip that another process drove until it died, from history; `started`
    /// is when the rider got in. Positions that come in meanwhile find their place.
    pub async fn restore_track(
        &self,
        driver: DriverId,
        trip: TripId,
        accepted: Millis,
        started: Option<Millis>,
    ) -> Result<(), Fault> {
        let inner = self.inner();
        let meter = inner.meter_of(trip, accepted);
        {
            // First, so that what is driven while history is read counts whatever becomes of it.
            let mut meter = meter.lock();
            meter.reopen(accepted);
            if let Some(started) = started {
                meter.start(started);
            }
        }
        let points = store::trip_history(&inner.db, driver, trip, accepted).await?;
        let mut meter = meter.lock();
        for (point, accuracy_m) in points {
            meter.add(point, accuracy_m, Link::Driven);
        }
        Ok(())
    }
}

impl Inner {
    fn take(&self, entry: &Entry, fix: &Fix, report: Report) -> Result<Ingested, FixError> {
        let now = self.clock.now();
        let admitted = match check::admit(fix, now) {
            Ok(admitted) => admitted,
            Err(error) => {
                self.count.refused.increment(1);
                return Err(error);
            }
        };
        entry.hear(now);
        self.count.updates.increment(1);
        if admitted.from_future {
            self.count.future.increment(1);
        }
        let fix = admitted.fix;
        let mut core = entry.core.lock();
        let verdict = judge(&mut core, &fix, report, now);
        match verdict {
            Verdict::Live | Verdict::Moved => self.show(entry, &mut core, &fix, now),
            Verdict::Late => self.count.late.increment(1),
            Verdict::Suspect => self.count.suspect.increment(1),
        }
        let distance_m = measure(&core, &fix, verdict);
        // Of a time that is made up nobody can say how fast he came there.
        if !(admitted.from_future && verdict == Verdict::Suspect) {
            self.remember(entry.driver, &mut core, &fix, verdict);
        }
        let live = matches!(verdict, Verdict::Live | Verdict::Moved);
        let (trip, timestamp) = (core.phase.trip(), fix.timestamp);
        Ok(Ingested { trip, live, distance_m, timestamp })
    }

    fn show(&self, entry: &Entry, core: &mut Core, fix: &Fix, now: Millis) {
        core.live = Some(Live { at: fix.at, heading: fix.heading, heard: now });
        if core.phase == Phase::Offline {
            self.wake(entry, core, now);
        } else if !core.located {
            self.locate(core, fix.at);
        }
        if core.phase != Phase::Offline {
            self.index.put(entry.slot, fix.at, now);
            self.follow_fences(entry, core, Some(fix.at), now);
        }
        if core.phase == Phase::Available {
            self.mark(entry);
        }
        self.latest.push(LatestRow { driver: entry.driver, fix: *fix });
    }

    /// On a trip every point goes to history, off trip only what says something new.
    fn remember(&self, driver: DriverId, core: &mut Core, fix: &Fix, verdict: Verdict) {
        let trip = core
            .meter
            .as_ref()
            .filter(|(_, meter)| fix.timestamp >= meter.lock().opened())
            .map(|(trip, _)| *trip);
        let suspect = verdict == Verdict::Suspect;
        let new = core.kept.is_none_or(|(at, time)| {
            let apart = fix.timestamp.since(time).unsigned_abs();
            u128::from(apart) >= KEEP.as_millis() || at.distance_m(fix.at) >= KEEP_M
        });
        if trip.is_none() && !new {
            return;
        }
        if !suspect {
            core.kept = Some((fix.at, fix.timestamp));
        }
        self.history.push(HistoryRow { driver, fix: *fix, trip, suspect });
    }

    /// The meter of a trip that is over for its driver: stored soon. One who gave the trip back, or
    /// was taken over, leaves no track: the next driver begins his own. Nor does one that was over
    /// before, unless it was driven after all.
    pub(crate) fn put_away(&self, trip: TripId, how: Finish) {
        if let Some((trip, meter)) = self.meters.remove(&trip)
            && !matches!(how, Finish::GaveBack | Finish::TakenOver)
            && (how != Finish::Stale || meter.lock().is_started())
        {
            self.closing.insert(trip, meter);
        }
    }

    fn find_meter(&self, trip: TripId) -> Option<Arc<Mutex<meter::Meter>>> {
        let found = self.meters.get(&trip).or_else(|| self.closing.get(&trip));
        found.map(|meter| Arc::clone(&meter))
    }

    /// The trip's meter, opened when there is none.
    pub(crate) fn meter_of(&self, trip: TripId, opened: Millis) -> Arc<Mutex<meter::Meter>> {
        let made = || Arc::new(Mutex::new(meter::Meter::open(opened)));
        Arc::clone(&self.meters.entry(trip).or_insert_with(made))
    }
}

fn judge(core: &mut Core, fix: &Fix, report: Report, now: Millis) -> Verdict {
    let age = now.after(fix.timestamp);
    let too_late = match report {
        Report::Now => age > CLOCK_SKEW,
        Report::Backfill => age > limits::FRESH_TTL,
    };
    if too_late { Verdict::Late } else { core.track.judge(fix.at, fix.timestamp) }
}

/// Adds the point to the meter of the trip under way; metres so far.
fn measure(core: &Core, fix: &Fix, verdict: Verdict) -> u32 {
    let Some((_, meter)) = &core.meter else { return 0 };
    let mut meter = meter.lock();
    let link = match verdict {
        Verdict::Live | Verdict::Late => Link::Driven,
        Verdict::Moved => Link::Jumped,
        Verdict::Suspect => return meter.distance_m(),
    };
    meter.add(TrackPoint { at: fix.at, time: fix.timestamp }, fix.accuracy_m, link);
    meter.distance_m()
}
