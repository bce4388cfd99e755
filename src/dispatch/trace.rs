//! The trace of a trip as operators read it: for each round that was kept everything, as the engine
//! judges it again; beside that what was written down at the time.

use std::collections::{HashMap, HashSet};

use base::{DriverId, Fault, Millis, TripId};
use storage::{Db, Who};

use crate::model::Considered;
use crate::snapshot::{ReplayedRound, replay_trip};
use crate::store::{self, Answer};
use crate::wire::{RoundView, Trace, TraceRow};

pub(crate) async fn read(db: &Db, who: &Who, trip: TripId) -> Result<Trace, Fault> {
    let (lines, answers) = store::trace(db, who, trip).await?;
    let (rounds, _) = replay_trip(db, who, trip).await?;
    Ok(assemble(lines, &rounds, &answers))
}

fn assemble(
    written: Vec<TraceRow>,
    rounds: &[ReplayedRound],
    answers: &HashMap<(DriverId, Millis), Answer>,
) -> Trace {
    let told: HashSet<Millis> =
        rounds.iter().filter(|round| round.same).map(|round| round.at).collect();
    let again = rounds.iter().filter(|round| round.same).flat_map(|round| &round.lines);
    let mut trace: Vec<TraceRow> = written
        .into_iter()
        .filter(|row| !told.contains(&row.at))
        .chain(again.map(TraceRow::from))
        .collect();
    for row in trace.iter_mut().filter(|row| row.verdict == "offered") {
        // The answer belongs to the offer that was made at the very moment of the line.
        if let Some(answer) = answers.get(&(row.driver_id, row.at)) {
            row.answer = Some(answer.status.clone());
            row.answered_at = answer.ended;
            row.bid = answer.bid;
        }
    }
    trace.sort_by(|a, b| {
        let score = |row: &TraceRow| row.score.unwrap_or(f32::NEG_INFINITY);
        (a.at.cmp(&b.at))
            .then(score(b).total_cmp(&score(a)))
            .then(a.distance.cmp(&b.distance))
            .then(a.driver_id.cmp(&b.driver_id))
    });
    Trace { rounds: rounds.iter().map(RoundView::from).collect(), trace }
}

impl From<&Considered> for TraceRow {
    fn from(line: &Considered) -> Self {
        Self {
            at: line.at,
            round: line.round,
            driver_id: line.driver,
            verdict: line.verdict.name().to_owned(),
            score: line.score,
            distance: line.distance_m,
            eta: line.eta_s,
            parts: line.parts,
            queue_place: line.in_line,
            conduct: line.conduct,
            answer: None,
            answered_at: None,
            bid: None,
        }
    }
}

impl From<&ReplayedRound> for RoundView {
    fn from(round: &ReplayedRound) -> Self {
        Self {
            at: round.at,
            round: round.round,
            strategy: round.strategy,
            step: round.step,
            radius: round.radius_m,
            looked: round.lines.len(),
            complete: round.complete,
            asked: round.asked.len(),
            searches: round.searches,
            reproduced: round.same,
        }
    }
}
