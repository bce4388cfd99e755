//! BATCHED: the waiting searches of a city against all drivers near them, decided together.
//!
//! Every quantity is in seconds of a rider's wait, so that they can be added: a pair of search and
//! driver costs the time to the pickup, plus what a no would lose, minus what the driver's score
//! and fairness (without its distance part, which the time itself stands for) are worth, minus his
//! turn: a driver who is not missed where he is, is sent farther than one who is. A search that
//! stays without a driver costs its reach: the longest pickup that is still worth it, which shrinks
//! in a shortage and grows with the wait.
//!
//! Searches of an airport whose queue is not empty take no part: the first in the queue is asked,
//! for the oldest search first, and he is nobody else's then.
//!
//! A rider who has a driver may take part, too (swap before pickup), among the drivers whom those
//! who have none leave: he costs what is left until his driver comes, less the gain that another
//! one must bring.

use std::collections::{BTreeMap, HashSet};

use base::{DriverId, Millis};

use crate::assign::{Edge, Row, assign};
use crate::board::{Board, Key};
use crate::engine::{Go, Patience, close, make_round, said, take_up};
use crate::look::{Look, Ranked, look, trace};
use crate::model::{Decision, Verdict, View};
use crate::offers::{Candidate, chance};
use crate::slack::Slack;
use crate::strategy::{Batching, Strategy};
use crate::supply::shares;

/// A search of the batch.
struct Due {
    key: Key,
    patience: Patience,
    /// `ranked` is by time to the pickup; the first few are the candidates.
    look: Look,
    waited_s: f64,
    /// For a rider who has a driver: the longest pickup that is worth another one, seconds.
    better_s: Option<f64>,
    /// Of the candidates, in their order.
    costs: Vec<Cost>,
    share: f64,
}

/// What a candidate costs.
struct Cost {
    total_ms: i64,
    /// What is taken off because it is his turn, seconds.
    turn_s: f64,
}

impl Due {
    fn candidates(&self, batching: &Batching) -> &[Ranked] {
        &self.look.ranked[..self.look.ranked.len().min(batching.candidates)]
    }
}

pub(crate) fn decide(
    board: &mut Board,
    view: &dyn View,
    go: &Go,
    goes_on: &dyn Fn() -> bool,
    now: Millis,
    out: &mut Vec<Decision>,
) -> usize {
    let (mut batch, looked) = gather(board, view, go, goes_on, now, out);
    let Board { rules, simple, hunts, leases, .. } = board;
    let rules = go.step.of(rules, simple);
    let batching = &rules.presets.batched;
    weigh(&mut batch, batching);
    let firsts = match_up(&mut batch, batching);
    let sets = offer_sets(&batch, &firsts, batching);
    for (due, set) in batch.iter_mut().zip(sets) {
        let Some(hunt) = hunts.get_mut(&due.key) else { continue };
        // The best first, as the round shows them.
        let place = |ranked: &Ranked| set.iter().position(|driver| *driver == ranked.driver);
        let mut chosen: Vec<&mut Ranked> =
            due.look.ranked.iter_mut().filter(|ranked| place(ranked).is_some()).collect();
        chosen.sort_by_key(|ranked| place(ranked));
        let plans = make_round(hunt, leases, &batching.preset, chosen, now);
        out.extend(said(trace(hunt, rules, &due.look, now)));
        close(hunt, plans, due.patience, now, out);
    }
    looked
}

/// Those who are decided together, and how many searches were looked at for it: the first always.
fn gather(
    board: &mut Board,
    view: &dyn View,
    go: &Go,
    goes_on: &dyn Fn() -> bool,
    now: Millis,
    out: &mut Vec<Decision>,
) -> (Vec<Due>, usize) {
    let Board { rules, simple, hunts, leases, seen, .. } = board;
    let rules = go.step.of(rules, simple);
    let Batching { preset, swap, .. } = &rules.presets.batched;
    let mut batch = Vec::with_capacity(go.keys.len());
    let mut looked = 0;
    for &key in &go.keys {
        if looked > 0 && !goes_on() {
            break;
        }
        looked += 1;
        let Some(hunt) = hunts.get_mut(&key) else { continue };
        hunt.take_way(Strategy::Batched);
        let better_s =
            hunt.promised.zip(*swap).map(|(promised, swap)| swap.within_s(promised, now));
        let patience = match better_s {
            Some(_) => Some(Patience::GoesOn),
            None => take_up(hunt, rules, preset, now, out),
        };
        let Some(patience) = patience else { continue };
        let mut look = look(hunt, leases, rules, preset, view, seen, now);
        if look.by_queue {
            let plans = make_round(hunt, leases, preset, look.ranked.first_mut(), now);
            out.extend(said(trace(hunt, rules, &look, now)));
            close(hunt, plans, patience, now, out);
            continue;
        }
        look.ranked.sort_by_key(|ranked| (ranked.eta_s, ranked.driver));
        let waited_s = now.after(hunt.search.asked_at).as_secs_f64();
        let (costs, share) = (Vec::new(), 0.0);
        batch.push(Due { key, patience, look, waited_s, better_s, costs, share });
    }
    batch.iter_mut().for_each(|due| due.look.without_leased(leases));
    (batch, looked)
}

/// What each candidate costs, and how many drivers each search has to itself.
fn weigh(batch: &mut [Due], batching: &Batching) {
    let candidates: Vec<Vec<DriverId>> = batch
        .iter()
        .map(|due| match due.better_s {
            None => due.candidates(batching).iter().map(|ranked| ranked.driver).collect(),
            // Who has a driver leaves the others theirs.
            Some(_) => Vec::new(),
        })
        .collect();
    let idle = batch.iter().flat_map(|due| &due.look.ranked);
    let slack = Slack::of(
        idle.filter_map(|ranked| ranked.idle_s.map(|idle_s| (ranked.driver, ranked.at, idle_s))),
    );
    let worth = |ranked: &Ranked| f64::from(ranked.parts.total() - ranked.parts.distance);
    let all = || batch.iter().flat_map(|due| due.candidates(batching));
    // Against the batch's own mean: whether all are good or all are poor changes no reach.
    let mean = all().map(worth).sum::<f64>() / all().count().max(1) as f64;
    for (due, share) in batch.iter_mut().zip(shares(&candidates)) {
        // Nothing is lost by the no of a driver whom nobody waits for.
        let decline_s = if due.better_s.is_none() { batching.decline_s } else { 0.0 };
        let cost = |ranked: &Ranked| {
            let turn_s = batching.turn_s(slack.around_s(ranked.at), ranked.idle_s);
            let no = 1.0 - yes(ranked);
            let free_s = (1.0 - batching.earlier) * f64::from(ranked.left_s);
            let seconds = f64::from(ranked.eta_s) - free_s + no * decline_s
                - (worth(ranked) - mean) * batching.point_s
                - turn_s;
            Cost { total_ms: milliseconds(seconds), turn_s }
        };
        due.costs = due.candidates(batching).iter().map(cost).collect();
        due.share = share;
    }
}

/// Chance of a yes. A driver minds his way to the pickup, not the trip he is paid for first.
fn yes(ranked: &Ranked) -> f64 {
    chance(ranked.acceptance, ranked.eta_s.saturating_sub(ranked.left_s))
}

/// The place of each search's best driver among its candidates, where one is worth it. Riders with
/// nobody choose first, and who has a driver among those whom they leave.
fn match_up(batch: &mut [Due], batching: &Batching) -> Vec<Option<usize>> {
    let (mut firsts, mut given) = (vec![None; batch.len()], HashSet::new());
    let turns = || batch.iter().flat_map(|due| &due.costs).map(|cost| cost.turn_s);
    let mean_turn_s = turns().sum::<f64>() / turns().count().max(1) as f64;
    for has_driver in [false, true] {
        for (index, place) in match_those(batch, batching, has_driver, mean_turn_s, &given) {
            given.insert(batch[index].look.ranked[place].driver);
            firsts[index] = Some(place);
        }
    }
    firsts
}

/// Of those who have a driver, or have none: whose search gets a driver, and which.
fn match_those(
    batch: &mut [Due],
    batching: &Batching,
    has_driver: bool,
    mean_turn_s: f64,
    given: &HashSet<DriverId>,
) -> Vec<(usize, usize)> {
    let mut columns: BTreeMap<DriverId, usize> = BTreeMap::new();
    let (mut rows, mut places) = (Vec::new(), Vec::new());
    let those = batch.iter_mut().enumerate();
    for (index, due) in those.filter(|(_, due)| due.better_s.is_some() == has_driver) {
        // Another driver for a rider who has one must be one who is missed less than others.
        let (reach_s, without_s) = match due.better_s {
            Some(better_s) => (better_s, better_s - mean_turn_s),
            None => {
                let reach_s = batching.supply.reach_s(due.share, due.waited_s);
                (reach_s, reach_s)
            }
        };
        let mut row = Row { edges: Vec::new(), without: milliseconds(without_s) };
        let mut of_row = Vec::new();
        for (place, ranked) in due.look.ranked.iter_mut().enumerate() {
            let cost = due.costs.get(place);
            let turn_s = match due.better_s {
                Some(_) => 0.0,
                None => cost.map_or(0.0, |cost| cost.turn_s),
            };
            if f64::from(ranked.eta_s) - turn_s > reach_s {
                ranked.verdict = Verdict::TooFar;
            } else if let Some(cost) = cost.filter(|_| !given.contains(&ranked.driver)) {
                let next = columns.len();
                let column = *columns.entry(ranked.driver).or_insert(next);
                row.edges.push(Edge { column, cost: cost.total_ms });
                of_row.push(place);
            }
        }
        rows.push(row);
        places.push((index, of_row));
    }
    let taken = assign(&rows, columns.len());
    let of_row = |(edge, (index, of_row)): (Option<usize>, (usize, Vec<usize>))| {
        edge.map(|edge| (index, of_row[edge]))
    };
    taken.into_iter().zip(places).filter_map(of_row).collect()
}

/// Who is asked for each search, best first: its own driver, then others whom nobody needs.
fn offer_sets(batch: &[Due], firsts: &[Option<usize>], batching: &Batching) -> Vec<Vec<DriverId>> {
    let mut taken: HashSet<DriverId> = batch
        .iter()
        .zip(firsts)
        .filter_map(|(due, first)| first.map(|place| due.look.ranked[place].driver))
        .collect();
    let mut sets = Vec::with_capacity(batch.len());
    for (due, first) in batch.iter().zip(firsts) {
        let Some(first) = *first else {
            sets.push(Vec::new());
            continue;
        };
        let candidate = |ranked: &Ranked| Candidate { eta_s: ranked.eta_s, chance: yes(ranked) };
        let ranked = &due.look.ranked;
        let mut others: Vec<usize> = (0..due.costs.len())
            .filter(|place| !taken.contains(&ranked[*place].driver))
            .filter(|place| ranked[*place].verdict != Verdict::TooFar)
            .collect();
        others.sort_by_key(|place| (due.costs[*place].total_ms, ranked[*place].driver));
        let others = others.into_iter().map(|place| (place, candidate(&ranked[place])));
        // A rider who has a driver is in no hurry.
        let most = if due.better_s.is_none() { batching.preset.at_once } else { 1 };
        let beside = batching.offers.beside(candidate(&ranked[first]), others, due.share, most);
        let set: Vec<DriverId> =
            [first].into_iter().chain(beside).map(|place| ranked[place].driver).collect();
        taken.extend(set.iter().copied());
        sets.push(set);
    }
    sets
}

#[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
fn milliseconds(seconds: f64) -> i64 {
    // A bound far beyond a day keeps sums of thousands of them exact.
    (seconds.clamp(-1e6, 1e6) * 1_000.0).round() as i64
}
