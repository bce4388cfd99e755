//! Answers ways and arrival times from the best model at hand: roads, else the routing engine, else
//! measured speeds between zones, else the air line; times are as long as traffic makes them.

use std::sync::Arc;

use base::{Millis, Point, Route, RouteSource};
use metrics::counter;
use ops::Tasks;

use crate::engine::Engine;
use crate::osrm::{NoWay, Osrm};
use crate::roads::{NoRoad, RoadGraph, RoadRoute, encode};
use crate::speeds::{Clocked, SpeedTable};
use crate::traffic::Traffic;
use crate::zones::ZoneShape;

/// Roads are longer than the air line by this factor, on average over a city.
const DETOUR: f64 = 1.3;
/// Mean speed of city traffic where nothing better is known: 24 km/h, in metres a second.
const DEFAULT_MPS: f64 = 24.0 / 3.6;

/// Ways that were found along roads.
const BY_ROAD: &str = "smartline_ways_by_road_total";
/// Ways and times that the routing engine answered, or had answered lately.
const BY_ENGINE: &str = "smartline_ways_by_engine_total";

/// Finds ways. Cheap to clone.
#[derive(Clone)]
pub struct Router {
    roads: Arc<[RoadGraph]>,
    engine: Option<Arc<Engine>>,
    speeds: Option<Arc<SpeedTable>>,
    traffic: Traffic,
}

impl Router {
    /// Without roads and a table every way is the air line, driven at the default speed. Where
    /// maps overlap, the first one that knows both ends answers.
    pub fn new(roads: Vec<RoadGraph>, speeds: Option<SpeedTable>) -> Self {
        Self {
            roads: roads.into(),
            engine: None,
            speeds: speeds.map(Arc::new),
            traffic: Traffic::default(),
        }
    }

    /// Asks an engine over the network for what the roads at hand don't know.
    #[must_use]
    pub fn with_engine(self, osrm: Osrm, tasks: &Tasks) -> Self {
        Self { engine: Some(Arc::new(Engine::start(osrm, tasks))), ..self }
    }

    /// Times as long as trips were lately.
    #[must_use]
    pub fn with_traffic(self, traffic: Traffic) -> Self {
        Self { traffic, ..self }
    }

    /// The way from `from` over `via` to `to`, started at `at`. Its source is that of its weakest
    /// leg; it has a line where every leg has one.
    pub async fn route(&self, from: Point, via: &[Point], to: Point, at: Millis) -> Route {
        let (mut metres, mut seconds) = (0.0, 0.0);
        let mut source = RouteSource::Roads;
        let mut line = Vec::new();
        let mut here = from;
        for next in via.iter().copied().chain([to]) {
            let leg = self.leg(here, next, at, &mut line).await;
            metres += leg.metres;
            seconds += leg.seconds;
            source = weaker(source, leg.source);
            here = next;
        }
        let polyline = (source == RouteSource::Roads).then(|| encode(&line));
        Route { distance_m: whole(metres), duration_s: whole(seconds), polyline, source }
    }

    /// One leg; where it leads along streets they are added to `line`.
    async fn leg(&self, from: Point, to: Point, at: Millis, line: &mut Vec<Point>) -> Leg {
        let road = match self.by_road(from, to, |graph| graph.route(from, to)) {
            Some(road) => Some(Arc::new(road)),
            None => self.by_engine(from, to).await,
        };
        let leg = match road {
            Some(road) => {
                line.extend_from_slice(&road.line);
                Leg { metres: road.metres, seconds: road.seconds, source: RouteSource::Roads }
            }
            None => by_air(self.clocked(at).as_ref(), from, to),
        };
        Leg { seconds: leg.seconds * self.traffic.factor(from, to, at), ..leg }
    }

    /// Seconds to drive from `from` to `to`, started at `at`. A few microseconds when the question
    /// before had the same `to`: for ranking candidates. An engine over the network is not waited
    /// for: what it hasn't said lately is estimated, and asked for.
    pub fn eta_s(&self, from: Point, to: Point, at: Millis) -> u32 {
        let road = self.by_road(from, to, |graph| graph.eta_s(from, to));
        let known = road.or_else(|| self.known_by_engine(from, to));
        let seconds = known.unwrap_or_else(|| by_air(self.clocked(at).as_ref(), from, to).seconds);
        whole(seconds * self.traffic.factor(from, to, at))
    }

    /// Seconds to drive to `to` from each of `from`, in their order, added to `out`.
    pub fn etas_to_s(&self, to: Point, from: &[Point], at: Millis, out: &mut Vec<u32>) {
        let graph = self.roads.iter().find(|graph| graph.covers(to));
        let mut found = 0;
        let told = graph.map(|graph| {
            graph.etas_to(to, from, |from, eta| {
                out.push(match eta {
                    Ok(seconds) => {
                        found += 1;
                        whole(seconds * self.traffic.factor(from, to, at))
                    }
                    Err(_) => self.eta_s(from, to, at),
                });
            })
        });
        if !matches!(told, Some(Ok(()))) {
            out.extend(from.iter().map(|from| self.eta_s(*from, to, at)));
        }
        counter!(BY_ROAD).increment(found);
    }

    /// The zones whose speeds are known; none without a table.
    pub fn zones(&self) -> Vec<ZoneShape> {
        self.speeds.as_ref().map(|table| table.zones().shapes()).unwrap_or_default()
    }

    /// What the first map says that knows both places, and why none does.
    fn by_road<T>(
        &self,
        from: Point,
        to: Point,
        ask: impl Fn(&RoadGraph) -> Result<T, NoRoad>,
    ) -> Option<T> {
        let mut why = "no_graph";
        for graph in self.roads.iter().filter(|graph| graph.covers(from) && graph.covers(to)) {
            match ask(graph) {
                Ok(found) => {
                    counter!(BY_ROAD).increment(1);
                    return Some(found);
                }
                Err(NoRoad::OffMap) => why = "off_map",
                Err(NoRoad::Unreachable) => why = "unreachable",
            }
        }
        counter!("smartline_ways_without_roads_total", "reason" => why).increment(1);
        None
    }

    async fn by_engine(&self, from: Point, to: Point) -> Option<Arc<RoadRoute>> {
        counted(self.engine.as_ref()?.way(from, to).await)
    }

    fn known_by_engine(&self, from: Point, to: Point) -> Option<f64> {
        counted(self.engine.as_ref()?.time(from, to))
    }

    fn clocked(&self, at: Millis) -> Option<Clocked<'_>> {
        self.speeds.as_ref().and_then(|table| table.at(at))
    }
}

/// What the engine says, counted; or why the next model has to answer.
fn counted<T>(answer: Result<T, NoWay>) -> Option<T> {
    let why = match answer {
        Ok(found) => {
            counter!(BY_ENGINE).increment(1);
            return Some(found);
        }
        Err(NoWay::Road(NoRoad::OffMap)) => "off_map",
        Err(NoWay::Road(NoRoad::Unreachable)) => "unreachable",
        Err(NoWay::Away(why)) => why,
    };
    counter!("smartline_ways_without_engine_total", "reason" => why).increment(1);
    None
}

struct Leg {
    metres: f64,
    seconds: f64,
    source: RouteSource,
}

/// The table's speeds are road distance over time, so they apply to the road distance.
fn by_air(speeds: Option<&Clocked<'_>>, from: Point, to: Point) -> Leg {
    let metres = from.distance_m(to) * DETOUR;
    match speeds.and_then(|speeds| speeds.mean_mps(from, to)) {
        Some(speed) => Leg { metres, seconds: metres / speed, source: RouteSource::SpeedTable },
        None => Leg { metres, seconds: metres / DEFAULT_MPS, source: RouteSource::GreatCircle },
    }
}

const fn weaker(a: RouteSource, b: RouteSource) -> RouteSource {
    match (a, b) {
        (RouteSource::GreatCircle, _) | (_, RouteSource::GreatCircle) => RouteSource::GreatCircle,
        (RouteSource::SpeedTable, _) | (_, RouteSource::SpeedTable) => RouteSource::SpeedTable,
        (RouteSource::Roads, RouteSource::Roads) => RouteSource::Roads,
    }
}

fn whole(value: f64) -> u32 {
    // At most half of the Earth per leg: far inside a u32; the cast saturates anyway.
    value.round() as u32
}
