//! Decides who is asked: one pure step over a board, a view and a moment.
//!
//! The same board, view and moment give the same decisions: nothing here reads a clock, draws
//! chance, or depends on the order of a hash map.

use std::collections::HashSet;

use base::{DriverId, Millis, OfferId, TripId};

use crate::board::{Board, Hunt, Key, Leases, Rules};
use crate::eligibility::{Gate, Hold, gate};
use crate::model::{Considered, Decision, OfferPlan, Said, Search, Seen, Verdict, View};
use crate::score::{Acquaintance, Merits, Parts, Reach, Vehicle, score};
use crate::strategy::Preset;

/// Looks at the next searches, oldest first. While [`Board::is_mid_sweep`] says so afterwards, more
/// of them are due and the caller ticks again.
pub fn tick(board: &mut Board, view: &dyn View, now: Millis) -> Vec<Decision> {
    let mut decisions = Vec::new();
    if !board.is_mid_sweep() {
        decisions.extend(board.lapse(now).into_iter().map(Decision::Lapsed));
    }
    for key in board.next_slice() {
        step(board, view, key, now, &mut decisions);
    }
    decisions
}

fn step(board: &mut Board, view: &dyn View, key: Key, now: Millis, out: &mut Vec<Decision>) {
    let Board { rules, hunts, leases, seen, .. } = board;
    let Some(hunt) = hunts.get_mut(&key) else { return };
    let preset = rules.presets.of(hunt.search.strategy);
    let trip = hunt.search.trip;
    if let Some(said) = hunt.over {
        if now.after(said) >= rules.remind {
            hunt.over = Some(now);
            out.push(Decision::NoDrivers { trip, said: Said::Again });
        }
        return;
    }
    hunt.widen(preset, now);
    let enough = hunt.has_searched_enough(preset, now);
    if enough && hunt.is_worn_out(preset) {
        hunt.over = Some(now);
        out.push(Decision::NoDrivers { trip, said: Said::First });
        return;
    }
    let look = look(hunt, leases, rules, preset, view, seen, now);
    let plans = make_round(hunt, leases, preset, &look, now);
    let lines = trace(hunt, rules, &look, plans.len(), now);
    if !lines.is_empty() {
        out.push(Decision::Considered(lines));
    }
    if !plans.is_empty() {
        hunt.round = hunt.round.saturating_add(1);
        out.push(Decision::Offers { plans, since: hunt.since });
    } else if enough {
        hunt.over = Some(now);
        out.push(Decision::NoDrivers { trip, said: Said::First });
    }
}

/// A driver who may be asked.
struct Ranked {
    driver: DriverId,
    distance_m: f64,
    eta_s: u32,
    parts: Parts,
}

/// What one look around a pickup shows.
struct Look {
    /// Best first.
    ranked: Vec<Ranked>,
    /// Nearest first.
    barred: Vec<(DriverId, f64, Gate)>,
}

fn look(
    hunt: &Hunt,
    leases: &Leases,
    rules: &Rules,
    preset: &Preset,
    view: &dyn View,
    seen: &mut Vec<Seen>,
    now: Millis,
) -> Look {
    let search = &hunt.search;
    let radius_m = preset.radius_m(hunt.ring, search.ring_m);
    let verdict = |seen: &Seen| {
        let hold = match hunt.hold(seen.driver, now) {
            Hold::None if leases.holds(seen.driver) => Hold::Offer,
            hold => hold,
        };
        gate(search, radius_m, seen, hold, now)
    };
    gather(view, search, radius_m, rules.considered, seen);
    if seen.len() >= rules.considered && !seen.iter().any(|seen| verdict(seen).is_ok()) {
        // The near ones all drive: in a busy city the free one is behind them.
        gather(view, search, radius_m, rules.considered * 4, seen);
    }
    let (mut eligible, mut barred) = (Vec::new(), Vec::new());
    for seen in seen.iter() {
        match verdict(seen) {
            Err(gate) => barred.push((seen.driver, seen.distance_m, gate)),
            Ok(()) if eligible.len() < rules.scored => {
                eligible.push((seen, view.eta_s(seen.at, search.pickup, now)));
            }
            Ok(()) => {}
        }
    }
    let pace = Pace::of(&eligible);
    let scored = eligible.into_iter().map(|(seen, eta_s)| {
        let merits = merits(search, seen, pace.reach(seen, eta_s, radius_m), now);
        let parts = score(&merits, &rules.weights, &rules.fairness);
        Ranked { driver: seen.driver, distance_m: seen.distance_m, eta_s, parts }
    });
    let mut look = Look { ranked: scored.collect(), barred };
    look.ranked.sort_by(|a, b| {
        b.parts
            .total()
            .total_cmp(&a.parts.total())
            .then(a.distance_m.total_cmp(&b.distance_m))
            .then(a.driver.cmp(&b.driver))
    });
    look
}

/// The nearest `limit` drivers, nearest first, each once.
fn gather(view: &dyn View, search: &Search, radius_m: f64, limit: usize, seen: &mut Vec<Seen>) {
    seen.clear();
    view.drivers(search.pickup, radius_m, limit, seen);
    seen.sort_unstable_by(|a, b| {
        a.distance_m.total_cmp(&b.distance_m).then(a.driver.cmp(&b.driver))
    });
    // A driver who moves while the index is read may be seen twice.
    let mut met = HashSet::with_capacity(seen.len());
    seen.retain(|seen| met.insert(seen.driver));
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
        waiting: now.after(seen.waiting_since),
        recent_trips: seen.recent_trips,
    }
}

/// Leases the best drivers to the search.
fn make_round(
    hunt: &mut Hunt,
    leases: &mut Leases,
    preset: &Preset,
    look: &Look,
    now: Millis,
) -> Vec<OfferPlan> {
    let (trip, round) = (hunt.search.trip, hunt.round.saturating_add(1));
    let mut plans = Vec::new();
    for ranked in look.ranked.iter().take(preset.at_once) {
        let plan = OfferPlan {
            offer: offer_id(trip, ranked.driver, round, now),
            trip,
            driver: ranked.driver,
            round,
            made: now,
            until: now + preset.offer_ttl,
            score: ranked.parts.total(),
            distance_m: metres(ranked.distance_m),
            eta_s: ranked.eta_s,
        };
        leases.grant(plan.clone());
        hunt.ask(ranked.driver);
        plans.push(plan);
    }
    plans
}

/// The lines that say something new: a look that changes nothing writes nothing.
fn trace(
    hunt: &mut Hunt,
    rules: &Rules,
    look: &Look,
    asked: usize,
    now: Millis,
) -> Vec<Considered> {
    let (trip, round) = (hunt.search.trip, hunt.round.saturating_add(1));
    let mut lines = Vec::new();
    for (place, ranked) in look.ranked.iter().enumerate() {
        let verdict = if place < asked { Verdict::Offered } else { Verdict::Ranked };
        if hunt.is_news(ranked.driver, round, verdict) {
            lines.push(Considered {
                trip,
                at: now,
                round,
                driver: ranked.driver,
                verdict,
                score: Some(ranked.parts.total()),
                distance_m: metres(ranked.distance_m),
                eta_s: Some(ranked.eta_s),
                parts: Some(ranked.parts),
            });
        }
    }
    for &(driver, distance_m, gate) in look.barred.iter().take(rules.traced_barred) {
        let verdict = Verdict::Barred(gate);
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
fn metres(distance_m: f64) -> u32 {
    distance_m.round() as u32
}

/// A version 7 id from what makes the offer unique, so that a replay makes the same ids.
fn offer_id(trip: TripId, driver: DriverId, round: u16, now: Millis) -> OfferId {
    let mixed = trip.as_u128().rotate_left(41)
        ^ driver.as_u128().wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
        ^ u128::from(round).wrapping_mul(0xD6E8_FEB8_6659_FD93_A076_1D64_78BD_642F);
    let mut tail = [0; 10];
    tail.copy_from_slice(&(mixed ^ (mixed >> 61)).to_be_bytes()[6..]);
    let at = u64::try_from(now.0).unwrap_or(0);
    OfferId(uuid::Builder::from_unix_timestamp_millis(at, &tail).into_uuid())
}
