//! What one search sees around its pickup: who may be asked and how good he is, who is left out and
//! why, and the lines of the trace that say so.

use std::cmp::Ordering;
use std::time::Duration;

use base::{DriverId, Millis, Point};
use fleet::Misconduct;

use crate::board::{Drivers, Hunt, Leases, Rules};
use crate::eligibility::{Gate, Hold, Standing, gate};
use crate::model::{Considered, Search, Seen, Verdict, View};
use crate::score::{Acquaintance, Merits, Parts, Reach, Vehicle, score};
use crate::strategy::Preset;

/// A driver who may be asked.
pub(crate) struct Ranked {
    pub(crate) driver: DriverId,
    /// Where he is, or will be free.
    pub(crate) at: Point,
    pub(crate) distance_m: f64,
    /// Until he is at the pickup, seconds; what is left of the trip he drives is in it.
    pub(crate) eta_s: u32,
    /// Of that, what is left of the trip he drives.
    pub(crate) left_s: u32,
    pub(crate) parts: Parts,
    /// Share of offers that he accepts, 0 to 1.
    pub(crate) acceptance: f32,
    /// For how long he has waited for a trip, seconds; none while he drives.
    pub(crate) idle_s: Option<f64>,
    pub(crate) verdict: Verdict,
    pub(crate) in_line: Option<u32>,
    /// For what his score is lowered.
    pub(crate) conduct: Option<Misconduct>,
}

/// A driver who is not asked, and why.
pub(crate) struct Passed {
    driver: DriverId,
    distance_m: f64,
    in_line: Option<u32>,
    verdict: Verdict,
}

impl Passed {
    fn over(seen: &Seen, verdict: Verdict) -> Self {
        let Seen { driver, distance_m, in_line, .. } = *seen;
        Self { driver, distance_m, in_line, verdict }
    }
}

/// What one look around a pickup shows.
pub(crate) struct Look {
    /// Is it the turn of an airport's queue?
    pub(crate) by_queue: bool,
    /// Best score first; by queue: who stands first.
    pub(crate) ranked: Vec<Ranked>,
    /// Eligible, and farther than those who are ranked (nearest first), or it is the queue's turn.
    pub(crate) unscored: Vec<Passed>,
    /// Nearest first; by queue: first those who stand in it.
    pub(crate) barred: Vec<Passed>,
}

impl Look {
    /// Puts this driver before all others; false where he can't be asked.
    pub(crate) fn put_first(&mut self, driver: Option<DriverId>) -> bool {
        let place = self.ranked.iter().position(|ranked| Some(ranked.driver) == driver);
        if let Some(place) = place {
            self.ranked[..=place].rotate_right(1);
        }
        place.is_some()
    }

    /// Who was leased since the look holds an offer of another search.
    pub(crate) fn without_leased(&mut self, leases: &Leases) {
        for taken in self.ranked.extract_if(.., |ranked| leases.holds(ranked.driver)) {
            let Ranked { driver, distance_m, in_line, .. } = taken;
            let verdict = Verdict::Barred(Gate::Offered);
            self.barred.push(Passed { driver, distance_m, in_line, verdict });
        }
    }
}

pub(crate) fn look(
    hunt: &Hunt,
    leases: &Leases,
    rules: &Rules,
    preset: &Preset,
    view: &dyn View,
    seen: &mut Vec<Seen>,
    now: Millis,
) -> Look {
    let search = &hunt.search;
    let swap = rules.presets.batched.swap;
    let (radius_m, chain) = (hunt.radius_m(preset, swap, now), hunt.chain(preset));
    let is_first = |seen: &Seen| search.first == Some(seen.driver);
    let verdict = |seen: &Seen| {
        // Who stood by is asked wherever he is.
        let radius_m = if is_first(seen) { f64::INFINITY } else { radius_m };
        let hold = match hunt.hold(seen.driver, now) {
            Hold::None if leases.holds(seen.driver) => Hold::Offer,
            Hold::None if u64::from(left_s(seen)) > chain.as_secs() => Hold::Driving,
            hold => hold,
        };
        gate(search, radius_m, seen, hold, now)
    };
    gather(view, search, radius_m, rules.considered, chain, seen);
    if seen.len() >= rules.considered && !seen.iter().any(|seen| verdict(seen).is_ok()) {
        // The near ones all drive: in a busy city the free one is behind them.
        gather(view, search, radius_m, rules.considered * 4, chain, seen);
    }
    let can_be_asked = |seen: &Seen| seen.in_line.is_some() && verdict(seen).is_ok();
    // A rider who has a driver leaves the queue to the others.
    let by_queue = hunt.promised.is_none() && seen.iter().any(can_be_asked);
    if by_queue {
        seen.sort_by_key(|seen| (seen.in_line.is_none(), seen.in_line));
    }
    fetch_first(hunt, view, seen);
    let (mut eligible, mut unscored, mut barred) = (Vec::new(), Vec::new(), Vec::new());
    for seen in seen.iter() {
        match verdict(seen) {
            Err(gate) => barred.push(Passed::over(seen, Verdict::Barred(gate))),
            Ok(()) if seen.in_line.is_some() != by_queue && !is_first(seen) => {
                unscored.push(Passed::over(seen, Verdict::BehindQueue));
            }
            Ok(()) if eligible.len() < rules.scored => {
                eligible.push((seen, pickup_s(rules, view, seen, search, now)));
            }
            Ok(()) => unscored.push(Passed::over(seen, Verdict::NotScored)),
        }
    }
    let pace = Pace::of(&eligible);
    let scored = eligible.into_iter().map(|(seen, eta_s)| {
        let merits = merits(search, seen, pace.reach(seen, eta_s, radius_m), now);
        let parts = score(&merits, &rules.weights, &rules.fairness);
        ranked(seen, eta_s, parts, now)
    });
    let mut ranked: Vec<Ranked> = scored.collect();
    if !by_queue {
        ranked.sort_by(better);
    }
    Look { by_queue, ranked, unscored, barred }
}

fn ranked(seen: &Seen, eta_s: u32, parts: Parts, now: Millis) -> Ranked {
    let Seen { driver, at, distance_m, acceptance, in_line, conduct, .. } = *seen;
    let idle_s = waited(seen, now).map(|waited| waited.as_secs_f64());
    Ranked {
        driver,
        at,
        distance_m,
        eta_s,
        left_s: left_s(seen),
        parts,
        acceptance,
        idle_s,
        verdict: Verdict::Ranked,
        in_line,
        conduct: conduct.map(|conduct| conduct.reason),
    }
}

fn better(a: &Ranked, b: &Ranked) -> Ordering {
    b.parts
        .total()
        .total_cmp(&a.parts.total())
        .then(a.distance_m.total_cmp(&b.distance_m))
        .then(a.driver.cmp(&b.driver))
}

fn pickup_s(rules: &Rules, view: &dyn View, seen: &Seen, search: &Search, now: Millis) -> u32 {
    let way_s = match rules.air_s_per_m {
        Some(s_per_m) => seconds(seen.distance_m * s_per_m),
        None => view.eta_s(seen.at, search.pickup, now),
    };
    left_s(seen).saturating_add(way_s)
}

/// Until he has ended the trip he drives, seconds.
const fn left_s(seen: &Seen) -> u32 {
    match seen.standing {
        Standing::Finishing { left_s } => left_s,
        _ => 0,
    }
}

/// The nearest `limit` drivers, nearest first, each once.
fn gather(
    view: &dyn View,
    search: &Search,
    radius_m: f64,
    limit: usize,
    ahead: Duration,
    seen: &mut Vec<Seen>,
) {
    seen.clear();
    view.drivers(search.pickup, radius_m, limit, ahead, seen);
    seen.sort_unstable_by(|a, b| {
        a.distance_m.total_cmp(&b.distance_m).then(a.driver.cmp(&b.driver))
    });
    // A driver who moves while the index is read may be seen twice.
    let mut met = Drivers::with_capacity_and_hasher(seen.len(), Default::default());
    seen.retain(|seen| met.insert(seen.driver));
}

/// Who stood by is looked at before all others, however many are nearer, until he was asked.
fn fetch_first(hunt: &Hunt, view: &dyn View, seen: &mut Vec<Seen>) {
    let Some(first) = hunt.search.first.filter(|first| !hunt.memory.contains_key(first)) else {
        return;
    };
    if let Some(place) = seen.iter().position(|seen| seen.driver == first) {
        seen[..=place].rotate_right(1);
    } else if let Some(found) = view.driver(first, hunt.search.pickup) {
        seen.insert(0, found);
    }
}

/// How near a driver is, against the edge of the ring.
#[derive(Clone, Copy)]
enum Pace {
    /// Everybody is at the pickup, or nobody is there.
    Unknown,
    /// The candidates' own mean, seconds per metre of air distance: a slow hour makes nobody look
    /// hopeless, and where time goes with distance this is ranking by distance.
    Mean(f64),
}

impl Pace {
    fn of(eligible: &[(&Seen, u32)]) -> Self {
        let metres: f64 = eligible.iter().map(|(seen, _)| seen.distance_m).sum();
        let seconds: f64 = eligible.iter().map(|(_, eta_s)| f64::from(*eta_s)).sum();
        if metres > 0.0 && seconds > 0.0 { Self::Mean(seconds / metres) } else { Self::Unknown }
    }

    fn reach(self, seen: &Seen, eta_s: u32, radius_m: f64) -> Reach {
        match self {
            Self::Unknown => Reach::Straight { distance_m: seen.distance_m, within_m: radius_m },
            Self::Mean(s_per_m) => Reach::Road { eta_s, within_s: radius_m * s_per_m },
        }
    }
}

/// For how long he has waited for a trip; none while he has one.
pub(crate) fn waited(seen: &Seen, now: Millis) -> Option<Duration> {
    (seen.standing == Standing::Available).then(|| now.after(seen.waiting_since))
}

fn merits(search: &Search, seen: &Seen, reach: Reach, now: Millis) -> Merits {
    let vehicle = if seen.tier == search.tier { Vehicle::Exact } else { Vehicle::Higher };
    let acquaintance = if search.familiar.contains(&seen.driver) {
        Acquaintance::Repeat
    } else {
        Acquaintance::Stranger
    };
    Merits {
        reach,
        rating: seen.rating,
        acceptance: seen.acceptance,
        completion: seen.completion,
        vehicle,
        acquaintance,
        waiting: waited(seen, now).unwrap_or_default(),
        recent_trips: seen.recent_trips,
        penalty: seen.conduct.map_or(0, |conduct| conduct.penalty),
    }
}

/// The lines that say something new: a look that changes nothing writes nothing.
pub(crate) fn trace(hunt: &mut Hunt, rules: &Rules, look: &Look, now: Millis) -> Vec<Considered> {
    let (trip, round) = (hunt.search.trip, hunt.round.saturating_add(1));
    let mut lines = Vec::new();
    for ranked in &look.ranked {
        if hunt.is_news(ranked.driver, round, ranked.verdict) {
            lines.push(Considered {
                trip,
                at: now,
                round,
                driver: ranked.driver,
                verdict: ranked.verdict,
                score: Some(ranked.parts.total()),
                distance_m: metres(ranked.distance_m),
                eta_s: Some(ranked.eta_s),
                parts: Some(ranked.parts),
                in_line: ranked.in_line,
                conduct: ranked.conduct,
            });
        }
    }
    let unscored = look.unscored.iter().take(rules.traced_unscored);
    let barred = look.barred.iter().take(rules.traced_barred);
    for &Passed { driver, distance_m, in_line, verdict } in unscored.chain(barred) {
        if hunt.is_news(driver, round, verdict) {
            lines.push(Considered {
                trip,
                at: now,
                round,
                driver,
                verdict,
                score: None,
                distance_m: metres(distance_m),
                eta_s: None,
                parts: None,
                in_line,
                conduct: None,
            });
        }
    }
    lines
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and a distance is neither negative nor near the limit"
)]
pub(crate) fn metres(distance_m: f64) -> u32 {
    distance_m.round() as u32
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and no way takes less than no time"
)]
fn seconds(way_s: f64) -> u32 {
    way_s.round() as u32
}
