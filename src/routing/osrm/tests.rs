//! The engine's answers as it gives them (OSRM 26.10.0 on Monaco, shortened), and its bad days.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base::{Clock, Millis, Point, RouteSource};
use ops::{Breakers, Tasks};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::*;
use crate::Router;

const WAY: &str = r#"{"code":"Ok","routes":[{"legs":[{"steps":[],"weight":211.5,"summary":"",
 "duration":211.5,"distance":2394.8}],"weight_name":"routability","geometry":{"coordinates":
 [[7.424532,43.738293],[7.424297,43.738371],[7.419502,43.731341]],"type":"LineString"},
 "weight":211.5,"duration":211.5,"distance":2394.8}],"waypoints":[{"hint":"AAAA",
 "location":[7.424532,43.738293],"name":"Avenue de l'Hermitage","distance":13.09030081},
 {"hint":"AAAA","location":[7.419502,43.731341],"name":"Tunnel Rocher Palais",
 "distance":41.10946749}]}"#;
const TABLE: &str = r#"{"code":"Ok","destinations":[{"hint":"AAAA","location":[7.419502,43.731341],
 "name":"Tunnel Rocher Palais","distance":41.10946749}],"durations":[[211.5],[268.8]],
 "sources":[{"hint":"AAAA","location":[7.424532,43.738293],"name":"Avenue de l'Hermitage",
 "distance":13.09030081},{"hint":"AAAA","location":[7.427729,43.740142],
 "name":"Avenue des Spélugues","distance":26.9393969}]}"#;
/// What it says of two places in the Gulf of Guinea.
const AFRICA: &str = r#"{"code":"Ok","routes":[{"legs":[{"steps":[],"weight":0,"summary":"",
 "duration":0,"distance":0}],"weight_name":"routability","geometry":{"coordinates":
 [[7.349395,43.715032],[7.349395,43.715032]],"type":"LineString"},"weight":0,"duration":0,
 "distance":0}],"waypoints":[{"location":[7.349395,43.715032],"name":"Basse Corniche",
 "distance":4899738.339},{"location":[7.349395,43.715032],"name":"Basse Corniche",
 "distance":4775051.488}]}"#;
const NO_SEGMENT: &str =
    r#"{"message":"Could not find a matching segment for coordinate 0","code":"NoSegment"}"#;

fn point(lat: f64, lng: f64) -> Point {
    Point::new(lat, lng).expect("in range")
}

fn hermitage() -> Point {
    point(43.7384, 7.4246)
}

fn spelugues() -> Point {
    point(43.7400, 7.4280)
}

fn rocher() -> Point {
    point(43.7313, 7.4190)
}

#[test]
fn a_way_is_read_as_it_is_written() {
    let way = replies::way(WAY.as_bytes()).expect("a way");
    assert_eq!((way.metres, way.seconds, way.line.len()), (2394.8, 211.5, 3));
    assert_eq!(way.line[0], point(43.738293, 7.424532));
    assert_eq!(replies::times(TABLE.as_bytes(), 2), Ok(vec![Ok(211.5), Ok(268.8)]));
}

#[test]
fn a_far_snap_is_off_the_map() {
    assert_eq!(replies::way(AFRICA.as_bytes()), Err(NoWay::Road(NoRoad::OffMap)));
}

#[test]
fn one_car_off_the_map_costs_the_others_nothing() {
    let far = TABLE.replace("13.09030081", "613.5");
    let times = replies::times(far.as_bytes(), 2);
    assert_eq!(times, Ok(vec![Err(NoRoad::OffMap), Ok(268.8)]));
    let no_road = TABLE.replace("[268.8]", "[null]");
    let times = replies::times(no_road.as_bytes(), 2);
    assert_eq!(times, Ok(vec![Ok(211.5), Err(NoRoad::Unreachable)]));
}

#[test]
fn what_it_refuses_is_told_apart() {
    let check =
        |body: &str, expected: NoWay| assert_eq!(replies::way(body.as_bytes()), Err(expected));
    check(NO_SEGMENT, NoWay::Road(NoRoad::OffMap));
    check(r#"{"code":"NoRoute","message":"Impossible route"}"#, NoWay::Road(NoRoad::Unreachable));
    check(r#"{"message":"Query string malformed","code":"InvalidQuery"}"#, NoWay::Away("refused"));
    check("<html>Bad gateway</html>", NoWay::Away("unreadable"));
    check(r#"{"code":"Ok"}"#, NoWay::Away("unreadable"));
    check(&WAY.replace("2394.8", "-1"), NoWay::Away("unreadable"));
    assert_eq!(replies::times(TABLE.as_bytes(), 3), Err(NoWay::Away("unreadable")));
}

/// An engine that knows these three places.
struct StandIn {
    /// Paths and queries, in the order they came.
    asked: Mutex<Vec<String>>,
    /// What it answers instead, one after the other.
    plays: Mutex<VecDeque<(StatusCode, &'static str)>>,
    /// Answers that may go out.
    gate: Semaphore,
    waiting: AtomicUsize,
}

impl StandIn {
    async fn start() -> (Arc<Self>, String) {
        let engine = Arc::new(Self {
            asked: Mutex::default(),
            plays: Mutex::default(),
            gate: Semaphore::new(1000),
            waiting: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&engine));
        tokio::spawn(async move { axum::serve(listener, app).await });
        (engine, url)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

async fn answer(State(engine): State<Arc<StandIn>>, request: Request) -> Response {
    let uri = request.uri().to_string();
    engine.asked.lock().push(uri.clone());
    engine.waiting.fetch_add(1, Ordering::SeqCst);
    let _go = engine.gate.acquire().await.expect("never closed");
    if let Some((status, body)) = engine.plays.lock().pop_front() {
        return (status, body).into_response();
    }
    let body = if uri.starts_with("/route/") { WAY } else { TABLE };
    body.into_response()
}

fn router(url: &str, tasks: &Tasks) -> (Router, Breakers) {
    let breakers = Breakers::new(Clock::manual(Millis(1_700_000_000_000)));
    let osrm = Osrm::new(url, &breakers).expect("a client");
    (Router::new(Vec::new(), None).with_engine(osrm, tasks), breakers)
}

const NOW: Millis = Millis(1_700_000_000_000);

#[tokio::test]
async fn a_way_comes_from_the_engine_and_is_kept() {
    let ((engine, url), tasks) = (StandIn::start().await, Tasks::new());
    let (router, _) = router(&url, &tasks);
    let route = router.route(hermitage(), &[], rocher(), NOW).await;
    assert_eq!((route.distance_m, route.duration_s), (2395, 212));
    assert_eq!(route.source, RouteSource::Roads);
    assert!(route.polyline.is_some());
    let near = point(43.73841, 7.42461);
    assert_eq!(router.route(near, &[], rocher(), NOW).await, route, "the same street");
    assert_eq!(router.eta_s(near, rocher(), NOW), 212, "whoever can't wait has it too");
    let once = "/route/v1/driving/7.424600,43.738400;7.419000,43.731300\
                ?overview=full&geometries=geojson&radiuses=500;500";
    assert_eq!(engine.asked(), [once]);
}

#[tokio::test]
async fn a_pair_is_asked_once_by_however_many() {
    let ((engine, url), tasks) = (StandIn::start().await, Tasks::new());
    let (router, _) = router(&url, &tasks);
    let gate = engine.gate.acquire_many(1000).await.expect("never closed");
    let ways = (0..50).map(|_| router.route(hermitage(), &[], rocher(), NOW));
    let all = futures_util::future::join_all(ways);
    let opened = async {
        while engine.waiting.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        drop(gate);
    };
    let (routes, ()) = tokio::join!(all, opened);
    assert!(routes.iter().all(|route| route.duration_s == 212));
    assert_eq!(engine.asked().len(), 1);
}

#[tokio::test]
async fn times_that_nobody_waits_for_are_asked_in_one_bundle() {
    let ((engine, url), tasks) = (StandIn::start().await, Tasks::new());
    let (router, _) = router(&url, &tasks);
    let cars = [hermitage(), spelugues(), hermitage()];
    let mut air = Vec::new();
    router.etas_to_s(rocher(), &cars, NOW, &mut air);
    assert_ne!(air, [212, 269, 212]);
    loop {
        let mut known = Vec::new();
        router.etas_to_s(rocher(), &cars, NOW, &mut known);
        if known != air {
            assert_eq!(known, [212, 269, 212]);
            break;
        }
        tokio::task::yield_now().await;
    }
    let bundle = "/table/v1/driving/7.424600,43.738400;7.428000,43.740000;7.419000,43.731300\
                  ?sources=0;1&destinations=2&annotations=duration";
    assert_eq!(engine.asked(), [bundle]);
}

#[tokio::test]
async fn on_its_bad_days_the_air_line_answers_and_it_is_left_alone() {
    let ((engine, url), tasks) = (StandIn::start().await, Tasks::new());
    let (router, breakers) = router(&url, &tasks);
    for (status, body) in [
        (StatusCode::BAD_REQUEST, NO_SEGMENT),
        (StatusCode::INTERNAL_SERVER_ERROR, ""),
        (StatusCode::TOO_MANY_REQUESTS, ""),
        (StatusCode::OK, "<html>"),
        (StatusCode::BAD_GATEWAY, ""),
        (StatusCode::SERVICE_UNAVAILABLE, ""),
    ] {
        engine.plays.lock().push_back((status, body));
        // Other squares each time: an answer that counts is kept.
        let from = point(43.70 + f64::from(u32::from(status.as_u16())) / 1e4, 7.4);
        let route = router.route(from, &[], rocher(), NOW).await;
        assert_eq!(route.source, RouteSource::GreatCircle, "{status}");
    }
    let before = engine.asked().len();
    let route = router.route(hermitage(), &[], rocher(), NOW).await;
    assert_eq!(route.source, RouteSource::GreatCircle);
    assert_eq!(breakers.view()[0].state, ops::BreakerState::Open);
    assert_eq!(engine.asked().len(), before, "it is left alone");
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_nobodys_trouble() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let tasks = Tasks::new();
    let (router, _) = router(&url, &tasks);
    let route = router.route(hermitage(), &[], rocher(), NOW).await;
    assert_eq!(route.source, RouteSource::GreatCircle);
    for wrong in ["osrm:5000", "ftp://osrm", ""] {
        assert!(Osrm::new(wrong, &Breakers::new(Clock::manual(NOW))).is_err(), "{wrong}");
    }
}
