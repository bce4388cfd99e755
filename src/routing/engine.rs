//! The routing engine's answers, asked for once per pair of squares and five minutes.
//!
//! Whoever can wait for a way asks the engine; those who ask for the same pair meanwhile wait for
//! the same answer. Who can't wait (dispatch, in the middle of a tick) gets what is known, and what
//! isn't is asked for in bundles, so that it is known at the next tick.
//!
//! Guarantees:
//! - one pair is asked once at a time (test: `a_pair_is_asked_once_by_however_many`);
//! - memory is bounded: [`WAYS_KEPT`] ways, [`TIMES_KEPT`] times, [`AHEAD`] open questions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::Point;
use geo::Square;
use metrics::counter;
use ops::Tasks;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::osrm::{NoWay, Osrm};
use crate::roads::{NoRoad, RoadRoute};

/// As long as traffic stays what it is. Our own engine's answers only: others forbid to keep them.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// A way across a city is a few hundred points, 16 bytes each.
const WAYS_KEPT: u64 = 10_000;
const TIMES_KEPT: u64 = 200_000;
/// Questions that wait to be bundled; more are forgotten, and come again with the next tick.
const AHEAD: usize = 8192;
/// Questions that are bundled at once.
const BUNDLE: usize = 2048;

/// Squares of a degree: who stands in one, 56 m from south to north, waits in the same street.
const FINE: f64 = 2000.0;

type Pair = (Square, Square);
type Answer<T> = Result<T, NoRoad>;

pub(crate) struct Engine {
    osrm: Osrm,
    ways: moka::future::Cache<Pair, Answer<Arc<RoadRoute>>>,
    times: Times,
    ahead: Sender<(Point, Point)>,
}

type Times = moka::sync::Cache<Pair, Answer<f64>>;

impl Engine {
    pub(crate) fn start(osrm: Osrm, tasks: &Tasks) -> Self {
        let (ahead, asked) = mpsc::channel(AHEAD);
        let ways = moka::future::Cache::builder().max_capacity(WAYS_KEPT).time_to_live(KEPT_FOR);
        let times = Times::builder().max_capacity(TIMES_KEPT).time_to_live(KEPT_FOR).build();
        let (line, known, stopping) = (osrm.clone(), times.clone(), tasks.stopping());
        tasks.spawn("times from the routing engine", async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = ask_in_bundles(line, known, asked) => {}
            }
        });
        Self { osrm, ways: ways.build(), times, ahead }
    }

    /// The way between two places, or between others of the same squares.
    pub(crate) async fn way(&self, from: Point, to: Point) -> Result<Arc<RoadRoute>, NoWay> {
        let pair = pair(from, to);
        let ask = async {
            let answer = match self.osrm.route(from, to).await {
                Ok(way) => Ok(Arc::new(way)),
                Err(NoWay::Road(no)) => Err(no),
                Err(away) => return Err(away),
            };
            self.times.insert(pair, answer.as_ref().map(|way| way.seconds).map_err(|no| *no));
            Ok(answer)
        };
        let answer = self.ways.try_get_with(pair, ask).await;
        answer.map_err(|away: Arc<NoWay>| NoWay::clone(&away))?.map_err(NoWay::Road)
    }

    /// Seconds between two places, as far as that is known; never waits.
    pub(crate) fn time(&self, from: Point, to: Point) -> Result<f64, NoWay> {
        if let Some(known) = self.times.get(&pair(from, to)) {
            return known.map_err(NoWay::Road);
        }
        if self.ahead.try_send((from, to)).is_err() {
            counter!("smartline_engine_questions_dropped_total").increment(1);
        }
        Err(NoWay::Away("not_yet"))
    }
}

fn pair(from: Point, to: Point) -> Pair {
    (Square::of(from, FINE), Square::of(to, FINE))
}

async fn ask_in_bundles(osrm: Osrm, known: Times, mut asked: Receiver<(Point, Point)>) {
    let mut questions = Vec::with_capacity(BUNDLE);
    while asked.recv_many(&mut questions, BUNDLE).await > 0 {
        for (to, from) in bundles(questions.drain(..), |pair| known.contains_key(pair)) {
            // Away: whoever still wants to know asks again.
            let Ok(times) = osrm.etas_to(&from, to).await else { continue };
            for (from, time) in from.into_iter().zip(times) {
                known.insert(pair(from, to), time);
            }
        }
    }
}

/// By where they lead to, each pair once, without those that are known.
fn bundles(
    questions: impl Iterator<Item = (Point, Point)>,
    is_known: impl Fn(&Pair) -> bool,
) -> Vec<(Point, Vec<Point>)> {
    let mut by_target: BTreeMap<Square, (Point, BTreeMap<Square, Point>)> = BTreeMap::new();
    for (from, to) in questions {
        let pair = pair(from, to);
        if !is_known(&pair) {
            let (_, sources) = by_target.entry(pair.1).or_insert((to, BTreeMap::new()));
            sources.entry(pair.0).or_insert(from);
        }
    }
    by_target.into_values().map(|(to, from)| (to, from.into_values().collect())).collect()
}
