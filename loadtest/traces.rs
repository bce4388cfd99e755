//! Asks the server why each trip got the driver it got, as an operator would.
//!
//! After the run the trace of trips from all of it is read: every round must be decided again as it
//! was, every driver who was within the radius must be in it, and the one who drives must have said
//! yes to one of its offers.

use futures_util::StreamExt;
use serde::Deserialize;
use uuid::Uuid;

use crate::api::{Ask, Failure};
use crate::invariants::{Rule, Violation};
use crate::wire::TripView;
use crate::world::World;

/// Traces that are read; each is some work for the server.
const READ: usize = 300;
const AT_A_TIME: usize = 4;

/// `GET /admin/trips/{id}/dispatch-trace`, as far as it matters here.
#[derive(Clone, Debug, Deserialize)]
struct Trace {
    rounds: Vec<Round>,
    trace: Vec<Line>,
}

#[derive(Clone, Debug, Deserialize)]
struct Round {
    at: String,
    round: u16,
    /// Drivers who were looked at.
    looked: usize,
    /// Whether that was everybody within the radius.
    complete: bool,
    /// Whether it comes out the same when it is decided again.
    reproduced: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    at: String,
    driver_id: Uuid,
    #[serde(default)]
    answer: Option<String>,
}

/// Reads traces of trips that were booked, evenly from the whole run; how many.
pub async fn read(world: &World) -> usize {
    let booked = world.booked.lock().clone();
    let step = booked.len().div_ceil(READ).max(1);
    let chosen: Vec<Uuid> = booked.into_iter().step_by(step).collect();
    let count = chosen.len();
    let looks = chosen.into_iter().map(|trip| async move {
        let found = match look(world, trip).await {
            Ok((trip, trace)) => judge(&trip, &trace),
            Err(failure) => {
                vec![Violation::new(Rule::E1, format!("trip {trip} has no trace: {failure}"))]
            }
        };
        world.judge.report(found);
    });
    let mut looks = futures_util::stream::iter(looks).buffer_unordered(AT_A_TIME);
    while looks.next().await.is_some() {}
    count
}

async fn look(world: &World, trip: Uuid) -> Result<(TripView, Trace), Failure> {
    let token = world.admin.token(world).await?;
    let path = format!("/trips/{trip}");
    let seen = world.api.get(Ask::get("trip, by the admin", path, &token)).await?;
    let path = format!("/admin/trips/{trip}/dispatch-trace");
    let trace = world.api.get(Ask::get("dispatch trace", path, &token)).await?;
    Ok((seen, trace))
}

fn judge(trip: &TripView, trace: &Trace) -> Vec<Violation> {
    let id = trip.id;
    let mut found = Vec::new();
    let mut broken = |what: String| found.push(Violation::new(Rule::E1, what));
    for round in &trace.rounds {
        let lines = trace.trace.iter().filter(|line| line.at == round.at).count();
        let number = round.round;
        if !round.reproduced {
            broken(format!("trip {id}: round {number} is decided otherwise now"));
        } else if !round.complete {
            broken(format!("trip {id}: round {number} did not look at everybody"));
        } else if lines != round.looked {
            let looked = round.looked;
            broken(format!("trip {id}: round {number} explains {lines} of {looked} drivers"));
        }
    }
    let said_yes = |driver: Uuid| {
        let yes = |line: &&Line| line.answer.as_deref() == Some("accepted");
        trace.trace.iter().filter(yes).any(|line| line.driver_id == driver)
    };
    if let Some(driver) = trip.driver_id
        && !said_yes(driver)
    {
        broken(format!("trip {id}: nothing says why driver {driver} drives"));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(trip: serde_json::Value, trace: serde_json::Value) -> String {
        let trip = serde_json::from_value(trip).expect("a trip");
        let trace = serde_json::from_value(trace).expect("a trace");
        let found = judge(&trip, &trace);
        let short = |found: &Violation| found.what.splitn(3, ' ').nth(2).map(str::to_owned);
        found.iter().filter_map(short).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_trace_explains_everybody_or_is_found_out() {
        let (trip, ali, mona) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let driven_by =
            |driver: Uuid| json!({"id": trip, "status": "completed", "driverId": driver});
        let at = "2026-11-29T01:55:09.619Z";
        let trace = |complete: bool, reproduced: bool, looked: usize| {
            json!({
                "rounds": [{"at": at, "round": 1, "looked": looked, "complete": complete,
                    "reproduced": reproduced}],
                "trace": [
                    {"at": at, "driverId": ali, "answer": "accepted"},
                    {"at": at, "driverId": mona}
                ]
            })
        };
        assert_eq!(words(driven_by(ali), trace(true, true, 2)), "");
        assert_eq!(words(driven_by(ali), trace(true, true, 3)), "round 1 explains 2 of 3 drivers");
        let partial = "round 1 did not look at everybody";
        assert_eq!(words(driven_by(ali), trace(false, true, 2)), partial);
        let other = "round 1 is decided otherwise now";
        assert_eq!(words(driven_by(ali), trace(true, false, 2)), other);
        let why = format!("nothing says why driver {mona} drives");
        assert_eq!(words(driven_by(mona), trace(true, true, 2)), why);
        let nobody = json!({"id": trip, "status": "no_drivers"});
        assert_eq!(words(nobody, json!({"rounds": [], "trace": []})), "");
    }
}
