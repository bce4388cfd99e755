//! Decides who is asked: one pure step over a board, a view and a moment.
//!
//! The same board, view and moment give the same decisions: nothing here reads a clock, draws
//! chance, or depends on the order of a hash map.

use base::{DriverId, Millis, OfferId, TripId};

use crate::batch;
use crate::board::{Board, Hunt, Key, Leases, Rules};
use crate::load::{Meter, Step, Untimed};
use crate::look::{Ranked, look, metres, trace};
use crate::model::{BidTerms, Decision, OfferPlan, Part, Said, Verdict, View};
use crate::snapshot::{Snapshot, decide_and_keep};
use crate::strategy::{Preset, Strategy};

/// Looks at the next searches of each city, first come first served. While
/// [`Board::is_mid_sweep`] says so afterwards, more of them are due and the caller ticks again.
/// Searches of BATCHED are decided together, at the start of their city's tick when its window is
/// over.
pub fn tick(board: &mut Board, view: &dyn View, now: Millis) -> Vec<Decision> {
    tick_timed(board, view, &Untimed, now, None)
}

/// The same; what was decided, and from what, goes to `kept`.
pub fn tick_and_keep(
    board: &mut Board,
    view: &dyn View,
    now: Millis,
    kept: Option<&mut Vec<Snapshot>>,
) -> Vec<Decision> {
    tick_timed(board, view, &Untimed, now, kept)
}

/// The same under the city's budget: whoever's turn does not come in it is left for the next sweep.
pub fn tick_timed(
    board: &mut Board,
    view: &dyn View,
    meter: &dyn Meter,
    now: Millis,
    mut kept: Option<&mut Vec<Snapshot>>,
) -> Vec<Decision> {
    let mut out = Vec::new();
    if !board.is_mid_sweep() {
        out.extend(board.lapse(now).into_iter().map(Decision::Lapsed));
        board.begin_sweep(now);
    }
    let mut slice = board.rules.slice.max(1);
    while slice > 0
        && let Some(turn) = board.next_turn(now)
    {
        let began = meter.elapsed();
        let took = || meter.elapsed().saturating_sub(began);
        let goes_on = || took() < turn.purse;
        let looked = match &mut kept {
            Some(kept) => decide_and_keep(board, view, &turn.go, &goes_on, now, &mut out, kept),
            None => decide(board, view, &turn.go, &goes_on, now, &mut out),
        };
        if turn.go.way != Strategy::Batched {
            slice -= 1;
        }
        board.turn_over(&turn, looked, took(), now);
    }
    out
}

/// One go: searches that are decided together, how, and what is done without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Go {
    pub(crate) way: Strategy,
    pub(crate) step: Step,
    pub(crate) keys: Vec<Key>,
}

/// Decides a go; how many of its searches, from the first, before it should not go on.
pub(crate) fn decide(
    board: &mut Board,
    view: &dyn View,
    go: &Go,
    goes_on: &dyn Fn() -> bool,
    now: Millis,
    out: &mut Vec<Decision>,
) -> usize {
    match go.way {
        Strategy::Batched => batch::decide(board, view, go, goes_on, now, out),
        Strategy::FirstAccept
        | Strategy::Sequential
        | Strategy::BroadcastBid
        | Strategy::Scheduled => {
            for key in &go.keys {
                step(board, view, go, *key, now, out);
                // That nobody stands by is nobody's news.
                let over = |hunt: &Hunt| hunt.search.role == Part::StandBy && hunt.over.is_some();
                if board.hunts.get(key).is_some_and(over) {
                    board.stop(key.1);
                }
            }
            go.keys.len()
        }
    }
}

fn step(
    board: &mut Board,
    view: &dyn View,
    go: &Go,
    key: Key,
    now: Millis,
    out: &mut Vec<Decision>,
) {
    let Board { rules, simple, hunts, leases, seen, .. } = board;
    let rules = go.step.of(rules, simple);
    let Some(hunt) = hunts.get_mut(&key) else { return };
    hunt.take_way(go.way);
    let preset = rules.presets.of(go.way);
    let Some(patience) = take_up(hunt, rules, preset, now, out) else { return };
    let mut look = look(hunt, leases, rules, preset, view, seen, now);
    let is_first = look.put_first(hunt.search.first);
    let asked = match hunt.search.role {
        Part::Drive if !is_first => preset.at_once(hunt.round).min(look.ranked.len()),
        // One yes is enough to stand by, and a second one would be for nothing.
        Part::Drive | Part::StandBy => look.ranked.len().min(1),
    };
    let plans = make_round(hunt, leases, preset, &mut look.ranked[..asked], now);
    out.extend(said(trace(hunt, rules, &look, now)));
    close(hunt, plans, patience, now, out);
}

/// Whether a search that finds nobody now goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    GoesOn,
    IsOver,
}

/// Moves a search on with time; none when there is nothing to look for.
pub(crate) fn take_up(
    hunt: &mut Hunt,
    rules: &Rules,
    preset: &Preset,
    now: Millis,
    out: &mut Vec<Decision>,
) -> Option<Patience> {
    if let Some(said) = hunt.over {
        if now.after(said) >= rules.remind {
            give_up(hunt, Said::Again, now, out);
        }
        return None;
    }
    hunt.widen(preset, now);
    let enough = hunt.has_searched_enough(preset, now);
    if enough && hunt.is_worn_out(preset) {
        give_up(hunt, Said::First, now, out);
        return None;
    }
    Some(if enough { Patience::IsOver } else { Patience::GoesOn })
}

/// The round, or the end of a search that has found nobody for long enough.
pub(crate) fn close(
    hunt: &mut Hunt,
    plans: Vec<OfferPlan>,
    patience: Patience,
    now: Millis,
    out: &mut Vec<Decision>,
) {
    if !plans.is_empty() {
        hunt.round = hunt.round.saturating_add(1);
        out.push(Decision::Offers { plans, since: hunt.since });
    } else if patience == Patience::IsOver {
        give_up(hunt, Said::First, now, out);
    }
}

/// Without somebody who stands by a trip goes on: of that nothing is said.
fn give_up(hunt: &mut Hunt, said: Said, now: Millis, out: &mut Vec<Decision>) {
    hunt.over = Some(now);
    if hunt.search.role == Part::Drive {
        out.push(Decision::NoDrivers { trip: hunt.search.trip, said });
    }
}

pub(crate) fn said(lines: Vec<crate::model::Considered>) -> Option<Decision> {
    (!lines.is_empty()).then_some(Decision::Considered(lines))
}

/// Leases these drivers to the search.
pub(crate) fn make_round<'a>(
    hunt: &mut Hunt,
    leases: &mut Leases,
    preset: &Preset,
    chosen: impl IntoIterator<Item = &'a mut Ranked>,
    now: Millis,
) -> Vec<OfferPlan> {
    let (trip, round) = (hunt.search.trip, hunt.round.saturating_add(1));
    let bids = preset.bids.map(|bids| BidTerms {
        until: now + bids.open,
        floor: bids.floor,
        ceiling: bids.ceiling,
    });
    let mut plans = Vec::new();
    for ranked in chosen {
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
            bids,
            bid: None,
            role: hunt.search.role,
            instead_of: hunt.promised.map(|promised| promised.driver),
        };
        ranked.verdict = Verdict::Offered;
        leases.grant(plan.clone());
        hunt.ask(ranked.driver);
        plans.push(plan);
    }
    plans
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
