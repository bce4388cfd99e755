//! The promises of the server that a client can see, and what breaks them.
//!
//! Owns the checkers as pure state machines that are fed what arrived; each answers with the
//! violations it found. Does no I/O and knows no sockets. [`Judge`] is the shared bench they
//! report to.
//!
//! The checkers: [`TripFollow`] (event numbers, order of states, one driver), [`PositionOrder`],
//! [`Claims`] and [`overlaps`] (one trip per driver); money is in `books.rs`. Each is shown to go
//! red on a wrong sequence by the tests below.

use std::collections::{BTreeMap, HashMap, HashSet};

use parking_lot::Mutex;
use serde::Serialize;
use uuid::Uuid;

use crate::books::Books;
use crate::wire::{Status, TripEvent};

/// Violations kept word for word; the rest are only counted.
const KEPT: usize = 200;

/// A promise, by the name the design gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Rule {
    /// Event numbers of a stream have no gap and no repeat, also after a resume.
    S1,
    /// Never an older position after a newer one.
    S2,
    /// A driver is on at most one trip, a trip has at most one driver.
    T1,
    /// A trip's winner doesn't change without an event that says so.
    T3,
    /// Status moves only along the graph.
    T4,
    /// Every trip ends.
    T6,
    /// A completed trip is settled, once.
    M2,
    /// Wallets and drivers' accounts add up.
    M5,
    /// The quoted price is the price.
    Q1,
    /// A trip's trace explains who drives it.
    E1,
}

impl Rule {
    pub const ALL: [Self; 10] = [
        Self::S1,
        Self::S2,
        Self::T1,
        Self::T3,
        Self::T4,
        Self::T6,
        Self::M2,
        Self::M5,
        Self::Q1,
        Self::E1,
    ];

    pub const fn says(self) -> &'static str {
        match self {
            Self::S1 => "event numbers without gap or repeat, also after a resume",
            Self::S2 => "never an older position after a newer one",
            Self::T1 => "one trip per driver, one driver per trip",
            Self::T3 => "the winner changes only by an event that says so",
            Self::T4 => "status moves only along the graph",
            Self::T6 => "every trip ends",
            Self::M2 => "a completed trip is settled with its completion",
            Self::M5 => "wallets and drivers' accounts add up to the piaster",
            Self::Q1 => "the quoted price is the price",
            Self::E1 => "the trace explains every driver within the radius, and why one drives",
        }
    }
}

/// One broken promise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Violation {
    pub rule: Rule,
    pub what: String,
}

impl Violation {
    pub fn new(rule: Rule, what: impl Into<String>) -> Self {
        Self { rule, what: what.into() }
    }
}

/// A driver's time on a trip, server's clock, unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stint {
    pub driver: Uuid,
    pub trip: Uuid,
    pub from: i64,
    /// `i64::MAX` while it lasts.
    pub to: i64,
}

/// Whether the server may have joined the socket to a trip's room before it was asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscription {
    /// Right after booking on this very socket: the events may come by themselves and again by
    /// the subscription, once.
    AfterBooking,
    /// A fresh socket: what was seen must not come again.
    Resume,
}

/// What one subscriber saw of one trip.
#[derive(Clone, Debug)]
pub struct TripFollow {
    trip: Uuid,
    last: u64,
    /// Whether the first number may be any: the server may join a driver to his trip's room.
    anywhere: bool,
    /// Highest event whose content was judged: a replay is not judged twice.
    judged: u64,
    replay_after: Option<u64>,
    status: Option<Status>,
    driver: Option<Uuid>,
    stints: Vec<Stint>,
}

impl TripFollow {
    pub const fn new(trip: Uuid) -> Self {
        Self {
            trip,
            last: 0,
            anywhere: false,
            judged: 0,
            replay_after: None,
            status: None,
            driver: None,
            stints: Vec::new(),
        }
    }

    /// Of somebody who comes to a trip that is under way.
    pub fn joining(trip: Uuid) -> Self {
        Self { anywhere: true, ..Self::new(trip) }
    }

    /// The number to resume after.
    pub const fn last(&self) -> u64 {
        self.last
    }

    pub const fn status(&self) -> Option<Status> {
        self.status
    }

    pub const fn driver(&self) -> Option<Uuid> {
        self.driver
    }

    pub fn stints(&self) -> &[Stint] {
        &self.stints
    }

    /// A `trip.subscribe` after [`Self::last`] is about to be sent.
    pub fn subscribing(&mut self, how: Subscription) {
        self.replay_after = match how {
            Subscription::AfterBooking => Some(self.last),
            Subscription::Resume => None,
        };
    }

    pub fn snapshot(&mut self, seq: u64, status: Status, driver: Option<Uuid>) -> Vec<Violation> {
        let mut found = Vec::new();
        self.anywhere = false;
        if seq < self.last {
            let what = format!("trip {}: snapshot {seq} after event {}", self.trip, self.last);
            found.push(Violation::new(Rule::S1, what));
        }
        if seq > self.judged {
            // What lies between is not known, so neither is the way from one state to the other.
            self.judged = seq;
            self.status = Some(status);
            self.driver = driver;
        }
        self.last = self.last.max(seq);
        found
    }

    pub fn event(&mut self, seq: u64, event: &TripEvent) -> Vec<Violation> {
        let mut found = Vec::new();
        let expected = self.last + 1;
        let first = std::mem::replace(&mut self.anywhere, false);
        if seq == expected {
            self.last = seq;
        } else if first {
            // What came before is not known.
            (self.last, self.judged, self.status) = (seq, seq, Some(event.status));
            self.driver = event.driver_id;
        } else if self.replay_after.is_some_and(|after| seq == after + 1) {
            self.replay_after = None;
            self.last = seq;
        } else {
            let kind = if seq > expected { "gap" } else { "repeat" };
            let what = format!("trip {}: {kind}, event {seq} after {}", self.trip, self.last);
            found.push(Violation::new(Rule::S1, what));
            self.last = self.last.max(seq);
        }
        if seq > self.judged {
            self.judged = seq;
            self.judge(event, &mut found);
        }
        found
    }

    fn judge(&mut self, event: &TripEvent, found: &mut Vec<Violation>) {
        let (before, after) = (self.status, event.status);
        if !may_follow(before, after) {
            let what = format!("trip {}: {before:?} was followed by {after:?}", self.trip);
            found.push(Violation::new(Rule::T4, what));
        }
        if on_trip(after) && self.driver.or(event.driver_id).is_none() {
            let what = format!("trip {}: {after:?} without a driver", self.trip);
            found.push(Violation::new(Rule::T3, what));
        }
        if let (Some(old), Some(new)) = (self.driver, event.driver_id)
            && old != new
            && after != Status::Requested
            && !event.event.contains("reassign")
        {
            let what =
                format!("trip {}: driver {old} became {new} by \"{}\"", self.trip, event.event);
            found.push(Violation::new(Rule::T3, what));
        }
        self.status = Some(after);
        self.note_driver(event);
    }

    fn note_driver(&mut self, event: &TripEvent) {
        let has_one = on_trip(event.status) || event.status.ended();
        let known = if has_one { event.driver_id.or(self.driver) } else { None };
        // A queued trip is driven from the turn on that it has after the one before.
        let drives = on_trip(event.status) && event.event != "queued";
        let holder = if drives { known } else { None };
        let open = self.stints.last_mut().filter(|stint| stint.to == i64::MAX);
        if open.as_ref().map(|stint| stint.driver) != holder {
            if let Some(stint) = open {
                stint.to = event.at;
            }
            if let Some(driver) = holder {
                let (trip, from) = (self.trip, event.at);
                self.stints.push(Stint { driver, trip, from, to: i64::MAX });
            }
        }
        self.driver = known;
    }
}

/// Whether a driver is bound to a trip in this state.
const fn on_trip(status: Status) -> bool {
    matches!(status, Status::Accepted | Status::Arrived | Status::Started)
}

/// The graph of a trip's states; a state may be said again (a payment, a rating).
fn may_follow(before: Option<Status>, after: Status) -> bool {
    use Status::{
        Accepted, Arrived, Cancelled, Completed, NoDrivers, PaymentFailed, Requested, Scheduled,
        Started,
    };
    match before {
        None => matches!(after, Scheduled | Requested),
        Some(before) if before == after => true,
        Some(Scheduled) => matches!(after, Requested | Cancelled),
        Some(Requested) => matches!(after, Accepted | NoDrivers | Cancelled),
        Some(Accepted) => matches!(after, Arrived | Requested | Cancelled),
        Some(Arrived) => matches!(after, Started | Requested | Cancelled),
        Some(Started) => matches!(after, Completed | PaymentFailed),
        Some(Completed | PaymentFailed) => matches!(after, Completed | PaymentFailed),
        Some(Cancelled | NoDrivers) => false,
    }
}

/// Numbers of a user's own stream on one socket.
#[derive(Clone, Debug, Default)]
pub struct UserStream {
    last: Option<u64>,
}

impl UserStream {
    pub fn event(&mut self, kind: &str, seq: u64) -> Option<Violation> {
        let before = self.last.replace(seq);
        let last = before.filter(|last| seq != last + 1)?;
        Some(Violation::new(Rule::S1, format!("user stream: {kind} {seq} after {last}")))
    }

    /// Numbers go on behind `seq` whatever it was before: a snapshot, a resume, a new epoch.
    pub const fn goes_on_behind(&mut self, seq: u64) {
        self.last = Some(seq);
    }

    /// Nothing is known of the next number.
    pub const fn forget(&mut self) {
        self.last = None;
    }

    pub const fn last(&self) -> Option<u64> {
        self.last
    }
}

/// Positions of one trip as one subscriber sees them.
#[derive(Clone, Debug, Default)]
pub struct PositionOrder {
    newest: Option<i64>,
}

impl PositionOrder {
    /// Another driver has the trip: his positions have their own order.
    pub fn new_driver(&mut self) {
        self.newest = None;
    }

    pub fn seen(&mut self, trip: Uuid, at: i64) -> Option<Violation> {
        let newest = self.newest.unwrap_or(i64::MIN);
        self.newest = Some(newest.max(at));
        (at < newest).then(|| {
            let late = newest - at;
            let what = format!("trip {trip}: a position {late} ms older than the one before");
            Violation::new(Rule::S2, what)
        })
    }
}

/// Who was told "the trip is yours".
#[derive(Clone, Debug, Default)]
pub struct Claims {
    by_trip: HashMap<Uuid, Uuid>,
    by_driver: HashMap<Uuid, Uuid>,
    /// A trip, who had it, and who was told that it is his. A nearer driver may take a trip over:
    /// that is judged at the end, by who had it when in the server's own time.
    contested: Vec<(Uuid, Uuid, Uuid)>,
}

impl Claims {
    /// The server acknowledged the driver's acceptance.
    pub fn accepted(&mut self, driver: Uuid, trip: Uuid) -> Vec<Violation> {
        let mut found = Vec::new();
        if let Some(other) = self.by_trip.insert(trip, driver).filter(|other| *other != driver) {
            self.contested.push((trip, other, driver));
        }
        if let Some(other) = self.by_driver.insert(driver, trip).filter(|other| *other != trip) {
            let what = format!("driver {driver} was given {other} and {trip}");
            found.push(Violation::new(Rule::T1, what));
        }
        found
    }

    /// The driver is off the trip, or about to ask for that.
    pub fn left(&mut self, driver: Uuid, trip: Uuid) {
        if self.by_trip.get(&trip) == Some(&driver) {
            self.by_trip.remove(&trip);
        }
        if self.by_driver.get(&driver) == Some(&trip) {
            self.by_driver.remove(&driver);
        }
    }

    /// Trips that two drivers were told to be theirs, and that did not pass from one to the other.
    pub fn unsettled(&mut self, stints: &[Stint]) -> Vec<Violation> {
        let had: HashSet<_> = stints.iter().map(|stint| (stint.trip, stint.driver)).collect();
        let passed =
            |trip, other, driver| [other, driver].iter().all(|who| had.contains(&(trip, *who)));
        let of_both = std::mem::take(&mut self.contested).into_iter();
        of_both
            .filter(|&(trip, other, driver)| !passed(trip, other, driver))
            .map(|(trip, other, driver)| {
                let what = format!("trip {trip} was given to {other} and to {driver}");
                Violation::new(Rule::T1, what)
            })
            .collect()
    }
}

/// Stints of one driver that overlap in the server's own time.
pub fn overlaps(stints: &mut [Stint]) -> Vec<Violation> {
    stints.sort_unstable_by_key(|stint| (stint.driver, stint.from, stint.to));
    let clash = |two: &[Stint]| {
        let (first, second) = (two[0], two[1]);
        (first.driver == second.driver && second.from < first.to).then(|| {
            let (driver, a, b) = (first.driver, first.trip, second.trip);
            Violation::new(Rule::T1, format!("driver {driver} was on {a} and {b} at once"))
        })
    };
    stints.windows(2).filter_map(clash).collect()
}

/// Where every checker reports to.
#[derive(Default)]
pub struct Judge {
    bench: Mutex<Bench>,
}

#[derive(Default)]
struct Bench {
    counts: BTreeMap<Rule, u64>,
    kept: Vec<Violation>,
    claims: Claims,
    stints: Vec<Stint>,
    books: Books,
}

/// What the run's promises came to.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    pub counts: BTreeMap<Rule, u64>,
    /// The first of them, word for word.
    pub violations: Vec<Violation>,
}

impl Verdict {
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}

impl Judge {
    pub fn report(&self, found: impl IntoIterator<Item = Violation>) {
        let mut bench = self.bench.lock();
        for violation in found {
            bench.note(violation);
        }
    }

    pub fn accepted(&self, driver: Uuid, trip: Uuid) {
        let mut bench = self.bench.lock();
        for violation in bench.claims.accepted(driver, trip) {
            bench.note(violation);
        }
    }

    pub fn left(&self, driver: Uuid, trip: Uuid) {
        self.bench.lock().claims.left(driver, trip);
    }

    pub fn stints(&self, stints: &[Stint]) {
        self.bench.lock().stints.extend_from_slice(stints);
    }

    pub fn books<T>(&self, work: impl FnOnce(&mut Books) -> T) -> T {
        work(&mut self.bench.lock().books)
    }

    pub fn broken(&self) -> u64 {
        self.bench.lock().counts.values().sum()
    }

    /// Judges what can only be judged at the end.
    pub fn verdict(&self) -> Verdict {
        let mut bench = self.bench.lock();
        let mut stints = std::mem::take(&mut bench.stints);
        let unsettled = bench.claims.unsettled(&stints);
        for violation in overlaps(&mut stints).into_iter().chain(unsettled) {
            bench.note(violation);
        }
        Verdict { counts: bench.counts.clone(), violations: bench.kept.clone() }
    }
}

impl Bench {
    fn note(&mut self, violation: Violation) {
        *self.counts.entry(violation.rule).or_default() += 1;
        if self.kept.len() < KEPT {
            self.kept.push(violation);
        }
    }
}

#[cfg(test)]
mod tests;
