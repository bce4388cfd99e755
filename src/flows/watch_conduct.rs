//! Drivers who game dispatch are looked for: by the hour in their positions and tracks, by night in
//! what they said to offers. What is found is a case for operators and lowers a score.
//!
//! Only who was heard lately is looked at, a page of drivers at a time, in the background.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use base::{DriverId, Fault, Millis, TripId};
use events::{Done, Failure, Handler, Job, Kind, OnDead, Priority, Queue, Schedule};
use fleet::{ConductMark, HistoryRow, Misconduct};
use fraud::{Answer, Drive, Evidence, Found, Manner, Rule, Spot, TRACKED, TREND_NEW, TREND_OLD};
use storage::Who;
use tracing::warn;
use trips::DrivenTrip;

use crate::Flows;

pub static CONDUCT_TRACKS: Kind = Kind {
    name: "conduct_tracks",
    queue: Queue::Analytics,
    priority: Priority::Low,
    version: 1,
    attempts: 3,
    on_dead: OnDead::Support,
};

pub static CONDUCT_ANSWERS: Kind = Kind { name: "conduct_answers", ..CONDUCT_TRACKS };

pub static TRACKS_ARE_WATCHED: Schedule =
    Schedule { name: "conduct_tracks", cron: "7 * * * * UTC", kind: &CONDUCT_TRACKS };

pub static ANSWERS_ARE_WATCHED: Schedule =
    Schedule { name: "conduct_answers", cron: "40 4 * * * Africa/Cairo", kind: &CONDUCT_ANSWERS };

/// Drivers that are looked at together.
const PAGE: i64 = 100;
/// Trips that ended so long ago are looked at, if nobody did: a job that could not run for hours
/// misses none.
const TRIPS_BACK: Duration = Duration::from_secs(6 * 3600);

/// Does both kinds of jobs.
#[derive(Clone)]
pub struct ConductWatcher(pub Flows);

impl Handler for ConductWatcher {
    fn run<'a>(
        &'a self,
        job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send + 'a>> {
        Box::pin(async move {
            if job.kind == CONDUCT_TRACKS.name {
                self.0.watch_tracks().await?;
            } else {
                self.0.watch_answers().await?;
            }
            Ok(Done::Finished)
        })
    }
}

impl Flows {
    /// Looks at where drivers were in the last hour, and whether the trips they ended were driven
    /// before.
    pub async fn watch_tracks(&self) -> Result<(), Fault> {
        let now = self.clock.now();
        let mut after = DriverId::from_u128(0);
        loop {
            let mut tx = self.slow.begin(&Who::System).await?;
            let page = fleet::heard_since_in_tx(&mut tx, after, now - TRIPS_BACK, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = *last;
            let rows = fleet::history_in_tx(&mut tx, &page, now - TRACKED, now).await?;
            let trips: BTreeSet<TripId> = rows.iter().filter_map(|row| row.trip).collect();
            let trips: Vec<TripId> = trips.into_iter().collect();
            let started = trips::started_in_tx(&mut tx, &trips).await?;
            let driven = trips::driven_in_tx(&mut tx, &page, now - TRIPS_BACK).await?;
            tx.commit().await?;
            let spots = rows.iter().map(|row| (row.driver, spot(row, &started)));
            for (driver, spots) in by_driver(spots) {
                let evidence = Evidence { spots: &spots, ..Evidence::default() };
                self.look_at_driver(driver, &evidence).await?;
            }
            self.keep_tracks(&driven).await?;
        }
        self.fraud.compare_tracks(&self.slow).await?;
        self.watch_replays().await
    }

    /// Whatever was just compared: a job that died after it left its replays for the next one.
    async fn watch_replays(&self) -> Result<(), Fault> {
        let mut after = DriverId::from_u128(0);
        loop {
            let mut tx = self.slow.begin(&Who::System).await?;
            let replayers = self.fraud.replayers_in_tx(&mut tx, after).await?;
            tx.commit().await?;
            let Some(last) = replayers.last() else { return Ok(()) };
            after = last.driver;
            for found in &replayers {
                let evidence = Evidence { replays: &found.replays, ..Evidence::default() };
                self.look_at_driver(found.driver, &evidence).await?;
            }
        }
    }

    async fn keep_tracks(&self, driven: &[DrivenTrip]) -> Result<(), Fault> {
        let mut tx = self.slow.begin(&Who::System).await?;
        let ids: Vec<_> = driven.iter().map(|driven| driven.trip).collect();
        let new = self.fraud.new_tracks_in_tx(&mut tx, &ids).await?;
        for &DrivenTrip { trip, driver, started, ended } in driven {
            if !new.contains(&trip) {
                continue;
            }
            let rows = fleet::history_in_tx(&mut tx, &[driver], started, ended).await?;
            let of_trip = rows.iter().filter(|row| row.trip == Some(trip));
            let started = HashMap::from([(trip, started)]);
            let spots: Vec<Spot> = of_trip.map(|row| spot(row, &started)).collect();
            let drive = Drive { trip, driver, ended, spots: &spots };
            self.fraud.keep_track_in_tx(&mut tx, &drive).await?;
        }
        tx.commit().await
    }

    /// Looks at which offers drivers took in the last two weeks.
    pub async fn watch_answers(&self) -> Result<(), Fault> {
        let now = self.clock.now();
        let mut after = DriverId::from_u128(0);
        loop {
            let mut tx = self.slow.begin(&Who::System).await?;
            let page = fleet::heard_since_in_tx(&mut tx, after, now - TREND_NEW, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = *last;
            let since = now - TREND_NEW - TREND_OLD;
            let answers = dispatch::answers_in_tx(&mut tx, &page, since).await?;
            tx.commit().await?;
            let answers = answers.iter().map(|said| {
                let &dispatch::OfferAnswer { driver, at, taken, price, to, manner } = said;
                let dispatch::Manner { named, lease_s, alone } = manner;
                (driver, Answer { at, taken, price, to, manner: Manner { named, lease_s, alone } })
            });
            for (driver, answers) in by_driver(answers) {
                let evidence = Evidence { answers: &answers, ..Evidence::default() };
                self.look_at_driver(driver, &evidence).await?;
            }
        }
    }

    /// Most drivers give no reason to write anything.
    async fn look_at_driver(&self, driver: DriverId, evidence: &Evidence<'_>) -> Result<(), Fault> {
        if !self.fraud.is_conspicuous(evidence) {
            return Ok(());
        }
        let mut tx = self.db.begin(&Who::System).await?;
        let found = self.fraud.look_at_driver_in_tx(&mut tx, driver, evidence).await?;
        let Found { turned, marks } = found;
        self.carry_out_in_tx(&mut tx, turned).await?;
        for mark in &marks {
            let &fraud::Mark { rule, penalty, since, until } = mark;
            let Some(reason) = misconduct(rule) else { continue };
            let mark = ConductMark { reason, penalty, since, until };
            fleet::conduct_mark_in_tx(&mut tx, driver, &mark).await?;
        }
        tx.commit().await?;
        self.after_turn(turned).await;
        if !marks.is_empty() {
            self.reload_conduct(driver).await;
        }
        Ok(())
    }

    /// What memory has to know of marks that are committed.
    pub(crate) async fn reload_conduct(&self, driver: DriverId) {
        if let Err(fault) = self.fleet.reload_conduct(driver).await {
            warn!(%fault, driver.id = %driver, "the fleet does not know of a driver's conduct");
        }
    }
}

/// What a rule about driving is called where scores are made; none for the other rules.
pub(crate) const fn misconduct(rule: Rule) -> Option<Misconduct> {
    match rule {
        Rule::Teleports => Some(Misconduct::Teleports),
        Rule::FrozenPosition => Some(Misconduct::FrozenPosition),
        Rule::ReplayedTrack => Some(Misconduct::ReplayedTrack),
        Rule::CherryPicking => Some(Misconduct::CherryPicking),
        Rule::AcceptanceDrop => Some(Misconduct::AcceptanceDrop),
        Rule::Velocity
        | Rule::AmountAnomaly
        | Rule::DepositWithdraw
        | Rule::CircularTrips
        | Rule::SharedDevice
        | Rule::RepeatedFailures
        | Rule::RefusedPostings
        | Rule::Unchecked => None,
    }
}

/// On a trip he is when the rider is in the car: on the way to him a driver may well wait.
fn spot(row: &HistoryRow, started: &HashMap<TripId, Millis>) -> Spot {
    let since = row.trip.and_then(|trip| started.get(&trip));
    Spot {
        at: row.fix.at,
        time: row.fix.timestamp,
        speed_kmh: row.fix.speed_kmh,
        on_trip: since.is_some_and(|since| row.fix.timestamp >= *since),
        suspect: row.suspect,
    }
}

fn by_driver<T>(all: impl Iterator<Item = (DriverId, T)>) -> HashMap<DriverId, Vec<T>> {
    let mut found: HashMap<DriverId, Vec<T>> = HashMap::new();
    for (driver, one) in all {
        found.entry(driver).or_default().push(one);
    }
    found
}

#[cfg(test)]
mod tests {
    use base::Point;
    use fleet::Fix;

    use super::*;

    #[test]
    fn a_driver_is_on_a_trip_when_his_rider_is_in_the_car() {
        let trip = TripId::from_u128(7);
        let on_trip = |trip: Option<TripId>, at: i64, started: Option<i64>| {
            let fix = Fix {
                at: Point::new(30.0, 31.0).expect("a place of the test"),
                heading: None,
                speed_kmh: None,
                accuracy_m: None,
                timestamp: Millis(at),
            };
            let row = HistoryRow { driver: DriverId::from_u128(1), fix, trip, suspect: false };
            let started = started.map(|at| (TripId::from_u128(7), Millis(at)));
            spot(&row, &started.into_iter().collect()).on_trip
        };
        assert!(!on_trip(None, 100, Some(50)));
        // On the way to his rider, and while he waits for her.
        assert!(!on_trip(Some(trip), 100, None));
        assert!(!on_trip(Some(trip), 49, Some(50)));
        assert!(on_trip(Some(trip), 50, Some(50)));
        assert!(!on_trip(Some(TripId::from_u128(8)), 100, Some(50)));
    }
}
