//! Makes a decision again, by the same code, from what was kept of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base::{DriverId, Fault, Millis, OfferId, Point, TripId};
use storage::{Db, Who};

use super::store::{self, Kept};
use super::{Decided, Snapshot};
use crate::board::{Board, Key, Rules, key_of};
use crate::engine::{Go, decide};
use crate::load::Step;
use crate::model::{Considered, Decision, OfferPlan, Part, Seen, View};
use crate::strategy::Strategy;

/// A round of a trip, decided again.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayedRound {
    pub at: Millis,
    /// The round that was put together, or that could not be any more.
    pub round: u16,
    pub strategy: Strategy,
    /// What was done without, because the city was overloaded.
    pub step: Step,
    /// How far was looked, metres.
    pub radius_m: u32,
    /// Searches that were decided in the same go.
    pub searches: usize,
    /// False: there were more drivers within the radius, all of them farther than those who were
    /// looked at.
    pub complete: bool,
    /// Who was asked; nobody: the search was given up.
    pub asked: Vec<DriverId>,
    pub asked_again: Vec<DriverId>,
    /// Did all searches of the go come out as they did then, scores and all?
    pub same: bool,
    /// Every driver who was looked at, as the engine judged him again.
    pub lines: Vec<Considered>,
}

/// Decides every kept round of the trip again, oldest first; and how many more were kept by another
/// version, so that this program can't read them.
pub async fn replay_trip(
    db: &Db,
    who: &Who,
    trip: TripId,
) -> Result<(Vec<ReplayedRound>, usize), Fault> {
    let (kept, unreadable) = store::of_trip(db, who, trip).await?;
    // Some milliseconds for each large batch: not on a thread that serves sockets.
    let rounds = tokio::task::spawn_blocking(move || rounds_of(trip, &kept));
    let rounds = rounds.await;
    let rounds =
        rounds.map_err(|error| Fault::internal(format!("replay of trip {trip}: {error}")))?;
    Ok((rounds, unreadable))
}

pub(crate) fn rounds_of(trip: TripId, kept: &[Kept]) -> Vec<ReplayedRound> {
    kept.iter().filter_map(|kept| round_of(trip, &kept.snapshot, &kept.rules)).collect()
}

fn round_of(trip: TripId, snapshot: &Snapshot, rules: &Rules) -> Option<ReplayedRound> {
    let hunt = snapshot.hunts.iter().find(|hunt| hunt.search.trip == trip)?;
    let key = key_of(&hunt.search);
    let again = Again::of(snapshot, rules);
    let asked = |decided: &[Decided]| {
        let own = decided.iter().filter(|one| one.trip == trip);
        own.flat_map(|one| one.asked.iter().map(|(driver, _)| *driver)).collect::<Vec<_>>()
    };
    let lines: Vec<Considered> = again.lines.into_iter().filter(|line| line.trip == trip).collect();
    let ring = again.board.hunts.get(&key).map_or(hunt.ring, |hunt| hunt.ring);
    let rules = snapshot.step.of(rules, &again.board.simple);
    let preset = rules.presets.of(snapshot.way);
    let looked = lines.len();
    Some(ReplayedRound {
        at: snapshot.now,
        round: hunt.round.saturating_add(1),
        strategy: snapshot.way,
        step: snapshot.step,
        radius_m: crate::look::metres(preset.radius_m(ring, hunt.search.ring_m)),
        searches: snapshot.hunts.len(),
        complete: looked < rules.considered
            || (looked > rules.considered && looked < rules.considered.saturating_mul(4)),
        asked: asked(&snapshot.decided),
        asked_again: asked(&again.decided),
        same: again.faithful && again.decided == snapshot.decided,
        lines,
    })
}

/// A go that was gone through again.
struct Again {
    board: Board,
    decided: Vec<Decided>,
    lines: Vec<Considered>,
    /// Did the engine ask the view for the same as then?
    faithful: bool,
}

impl Again {
    fn of(snapshot: &Snapshot, rules: &Rules) -> Self {
        // What is said about drivers changes no decision: here everything is said.
        let told = usize::MAX;
        let rules = Rules { traced_barred: told, traced_unscored: told, ..rules.clone() };
        let mut board = Board::new(rules);
        for hunt in &snapshot.hunts {
            board.put_back(hunt.bare());
        }
        for driver in &snapshot.leased {
            board.leases.grant(held_elsewhere(*driver, snapshot.now));
        }
        let keys: Vec<Key> = snapshot.hunts.iter().map(|hunt| key_of(&hunt.search)).collect();
        let go = Go { way: snapshot.way, step: snapshot.step, keys };
        let playback = Playback::new(snapshot);
        let mut decisions = Vec::new();
        decide(&mut board, &playback, &go, &|| true, snapshot.now, &mut decisions);
        let faithful = playback.is_over();
        let decided = Decided::all(&decisions);
        let lines = |decision| match decision {
            Decision::Considered(lines) => lines,
            Decision::Offers { .. } | Decision::Lapsed(_) | Decision::NoDrivers { .. } => {
                Vec::new()
            }
        };
        let lines = decisions.into_iter().flat_map(lines).collect();
        Self { board, decided, lines, faithful }
    }
}

/// Somebody's offer: all that matters of it is that the driver holds it.
fn held_elsewhere(driver: DriverId, now: Millis) -> OfferPlan {
    OfferPlan {
        offer: OfferId::from_u128(0),
        trip: TripId::from_u128(0),
        driver,
        round: 1,
        made: now,
        until: now,
        score: 0.0,
        distance_m: 0,
        eta_s: 0,
        bids: None,
        bid: None,
        role: Part::Drive,
        instead_of: None,
    }
}

/// A view that answers as the real one did then.
struct Playback<'a> {
    snapshot: &'a Snapshot,
    glances: AtomicUsize,
    etas: AtomicUsize,
    strays: AtomicUsize,
}

impl<'a> Playback<'a> {
    const fn new(snapshot: &'a Snapshot) -> Self {
        let (glances, etas) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { snapshot, glances, etas, strays: AtomicUsize::new(0) }
    }

    fn stray(&self) {
        self.strays.fetch_add(1, Ordering::Relaxed);
    }

    /// Was it asked for all that there is, and for nothing else?
    fn is_over(&self) -> bool {
        let used = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        used(&self.strays) == 0
            && used(&self.glances) == self.snapshot.glances.len()
            && used(&self.etas) == self.snapshot.etas.len()
    }
}

impl View for Playback<'_> {
    fn drivers(
        &self,
        at: Point,
        radius_m: f64,
        limit: usize,
        _ahead: Duration,
        out: &mut Vec<Seen>,
    ) {
        let place = self.glances.fetch_add(1, Ordering::Relaxed);
        let Some(glance) = self.snapshot.glances.get(place) else { return self.stray() };
        if glance.radius_m.to_bits() != radius_m.to_bits() || glance.limit != limit {
            self.stray();
        }
        let seen =
            glance.seen.iter().filter_map(|place| self.snapshot.drivers.get(*place as usize));
        out.extend(seen.map(|seen| Seen { distance_m: seen.distance_from(at), ..seen.clone() }));
    }

    fn driver(&self, driver: DriverId, at: Point) -> Option<Seen> {
        let mut found = Vec::new();
        self.drivers(at, 0.0, 0, Duration::ZERO, &mut found);
        if found.iter().any(|seen| seen.driver != driver) {
            self.stray();
        }
        found.pop()
    }

    fn eta_s(&self, _from: Point, _to: Point, _now: Millis) -> u32 {
        let place = self.etas.fetch_add(1, Ordering::Relaxed);
        self.snapshot.etas.get(place).copied().unwrap_or_else(|| {
            self.stray();
            u32::MAX
        })
    }
}
