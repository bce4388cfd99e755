//! OSRM over HTTP: ways and times from an engine that the company runs beside this program.
//!
//! Protocol: the OSRM HTTP API, version 1, services `route` and `table`; places are `lng,lat`.
//!
//! Guarantees:
//! - a question ends in time, and an engine that fails is left alone for a while;
//! - a place with no road within [`SNAP_MOST_M`] is off the map: the engine itself would answer for
//!   the nearest road it has, on whatever continent (tests: `a_far_snap_is_off_the_map`,
//!   `one_car_off_the_map_costs_the_others_nothing`).

mod replies;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use base::{Fault, Point};
use bytes::Bytes;
use ops::{Breaker, BreakerPolicy, Breakers, CallError, NoAnswer, exchange, http_client};
use reqwest::{Client, Url};

use crate::roads::{NoRoad, RoadRoute};

/// How far a place may be from the road that it is put on.
pub(crate) const SNAP_MOST_M: f64 = 500.0;
/// Places of one `table` question; a server as it comes refuses more.
const TABLE_MOST: usize = 100;
/// The server hangs up on a line that was idle for 5 s: whoever used it just then asks again.
const ASK_AGAIN: usize = 1;

/// An engine beside us answers in milliseconds or is in trouble, and somebody waits for a quote.
const POLICY: BreakerPolicy =
    BreakerPolicy { time_out: Duration::from_secs(1), ..BreakerPolicy::DEFAULT };

/// Why the engine gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoWay {
    /// It answered: there is none.
    #[error(transparent)]
    Road(#[from] NoRoad),
    /// It didn't answer, or not what it is there for.
    #[error("the routing engine gave no answer: {0}")]
    Away(&'static str),
}

/// The line to the engine. Cheap to clone.
#[derive(Clone)]
pub struct Osrm {
    http: Client,
    base: String,
    line: Breaker,
}

impl Osrm {
    /// `base`: where the server is, like `http://osrm:5000`.
    pub fn new(base: &str, breakers: &Breakers) -> Result<Self, Fault> {
        let url = Url::parse(base)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| Fault::internal("OSRM_URL: not an address like http://osrm:5000"))?;
        Ok(Self {
            http: http_client(|builder| builder)?,
            base: url.as_str().trim_end_matches('/').to_owned(),
            line: breakers.add("osrm", POLICY),
        })
    }

    /// The quickest way between two places.
    pub(crate) async fn route(&self, from: Point, to: Point) -> Result<RoadRoute, NoWay> {
        let places = places([from, to]);
        let most = SNAP_MOST_M;
        let url = format!(
            "{}/route/v1/driving/{places}?overview=full&geometries=geojson&radiuses={most};{most}",
            self.base
        );
        replies::way(&self.ask(&url).await?)
    }

    /// Seconds from each of `from` to `to`, in their order.
    pub(crate) async fn etas_to(
        &self,
        from: &[Point],
        to: Point,
    ) -> Result<Vec<Result<f64, NoRoad>>, NoWay> {
        let mut all = Vec::with_capacity(from.len());
        for part in from.chunks(TABLE_MOST - 1) {
            let places = places(part.iter().copied().chain([to]));
            let count = part.len();
            let mut sources = String::new();
            for source in 0..count {
                let comma = if source == 0 { "" } else { ";" };
                write!(sources, "{comma}{source}").expect("a String takes all");
            }
            // No `radiuses`: one car without a road would be the end of the whole question.
            let url = format!(
                "{}/table/v1/driving/{places}?sources={sources}&destinations={count}\
                 &annotations=duration",
                self.base
            );
            all.extend(replies::times(&self.ask(&url).await?, count)?);
        }
        Ok(all)
    }

    async fn ask(&self, url: &str) -> Result<Bytes, NoWay> {
        let once = || self.line.call(exchange(self.http.get(url)), |_| true);
        let patient = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(10))
            .with_max_times(ASK_AGAIN)
            .with_jitter();
        let again = |error: &CallError<NoAnswer>| {
            matches!(error, CallError::Failed(NoAnswer::Lost | NoAnswer::NotSent))
        };
        match once.retry(patient).when(again).await {
            Ok(answer) => Ok(answer.body),
            Err(CallError::Open { .. }) => Err(NoWay::Away("left_alone")),
            Err(CallError::TimedOut) => Err(NoWay::Away("timed_out")),
            Err(CallError::Failed(NoAnswer::Bad(_))) => Err(NoWay::Away("failed")),
            Err(CallError::Failed(NoAnswer::Lost | NoAnswer::NotSent)) => {
                Err(NoWay::Away("not_reached"))
            }
        }
    }
}

fn places(all: impl IntoIterator<Item = Point>) -> String {
    let mut text = String::new();
    for at in all {
        let comma = if text.is_empty() { "" } else { ";" };
        // Six decimals are 0.1 m, and what the engine keeps.
        write!(text, "{comma}{:.6},{:.6}", at.lng(), at.lat()).expect("a String takes all");
    }
    text
}
