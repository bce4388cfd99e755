//! A whole city for operators: drivers, open requests, trips and counters, told once a second.
//!
//! A new watcher gets everything as of a tick made for him, and then the changes, both under one
//! gate, so nothing falls between. A watcher who had not read the last frame gets everything again
//! (`whole`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use base::{CityId, DriverId, Millis, Point, Tier, TripId};
use bytes::Bytes;
use fleet::{OnDuty, State};
use flows::{Flows, Scene};
use parking_lot::Mutex;
use rooms::{Body, FollowError, Item, Outlet, Rooms, Slot, Topic, Turns};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use trips::{Status, Trip};
use utoipa::ToSchema;

use crate::answer;

/// How often watchers are told. Clients let drivers glide between two frames.
const TICK: Duration = Duration::from_secs(1);

/// A driver at work.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CarView {
    id: DriverId,
    lat: f64,
    lng: f64,
    /// `available`, `offered`, `busy` or `cooldown`.
    #[schema(value_type = String)]
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    heading: Option<f32>,
    vehicle_type: Tier,
}

/// A trip that still looks for its driver.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequestView {
    trip_id: TripId,
    pickup: Point,
    destination: Point,
    vehicle_type: Tier,
    since: Millis,
}

/// A trip with its driver; one that comes here is no request any more.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RideView {
    trip_id: TripId,
    driver_id: DriverId,
    /// `accepted`, `arrived` or `started`.
    #[schema(value_type = String)]
    status: &'static str,
    pickup: Point,
    destination: Point,
    vehicle_type: Tier,
}

/// A trip that is neither request nor ride any more.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndedView {
    trip_id: TripId,
    /// `completed`, `cancelled` or `no_drivers`, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    status: Option<&'static str>,
}

/// Drivers by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Standing {
    available: u32,
    offered: u32,
    busy: u32,
    cooldown: u32,
}

/// Sums of the city; ends since the node started, waits of the last quarter of an hour, seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counters {
    drivers: Standing,
    waiting: u32,
    on_trip: u32,
    completed: u64,
    cancelled: u64,
    no_drivers: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_p50_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait_p95_s: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_wait_s: Option<u64>,
}

/// What changed in the city since the frame before.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LiveUpdate {
    at: Millis,
    /// What is listed is all there is: forget what was known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    whole: bool,
    /// New or changed.
    drivers: Vec<CarView>,
    left: Vec<DriverId>,
    /// New or changed.
    requests: Vec<RequestView>,
    /// New or changed.
    trips: Vec<RideView>,
    ended: Vec<EndedView>,
    counters: Counters,
}

#[derive(Serialize)]
struct LiveFrame {
    r#type: &'static str,
    room: String,
    data: LiveUpdate,
}

/// Answer to `live.subscribe`: the city that is watched now; all of it follows at once.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LiveView {
    room: String,
    city: CityId,
}

/// What the watchers of a city were told last.
#[derive(Default)]
struct Told {
    drivers: HashMap<DriverId, OnDuty>,
    /// Trips by the number of their last event.
    trips: HashMap<TripId, i32>,
}

/// One at a time: a tick, or a watcher who comes.
#[derive(Default)]
pub(crate) struct Live(Mutex<BTreeMap<CityId, Told>>);

/// Where scenes come from: the flows, or a stand-in for tests.
pub(crate) trait Cities {
    fn scene(&self, city: CityId) -> Scene;
}

impl Cities for Flows {
    fn scene(&self, city: CityId) -> Scene {
        Self::scene(self, city)
    }
}

/// Tells watchers what changed, until the node stops.
pub(crate) async fn keep_showing(live: Arc<Live>, flows: Flows, stopping: CancellationToken) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = ticks.tick() => live.tell(&flows.rooms, &flows),
        }
    }
}

impl Live {
    /// Passes on what changed in the cities that somebody watches, and forgets the others.
    pub(crate) fn tell(&self, rooms: &Rooms, cities: &impl Cities) {
        let mut turns = Turns::default();
        let mut gate = self.0.lock();
        gate.retain(|city, told| {
            let watched = rooms.followers(Topic::Live(*city)) > 0;
            if watched {
                show(rooms, *city, told, &cities.scene(*city), &mut turns);
            }
            watched
        });
        // Sockets write when nobody waits for the picture any more.
        drop(gate);
    }

    /// Watches `city` instead of what the socket watched before; `answer` makes the reply.
    pub(crate) fn join(
        &self,
        rooms: &Rooms,
        cities: &impl Cities,
        socket: &Arc<dyn Outlet>,
        city: CityId,
        answer: impl FnOnce(LiveView) -> Option<Bytes>,
    ) -> Result<(), FollowError> {
        let topic = Topic::Live(city);
        let mut turns = Turns::default();
        let mut gate = self.0.lock();
        gate.keys().for_each(|watched| rooms.leave(Topic::Live(*watched), socket.id()));
        let scene = cities.scene(city);
        // The others learn what changed first, so that all go on from the same scene.
        show(rooms, city, gate.entry(city).or_default(), &scene, &mut turns);
        rooms.join(topic, socket)?;
        if let Some(reply) = answer(LiveView { room: topic.to_string(), city }) {
            socket.push(Item::Reply(reply));
        }
        let body = Body::Text(frame(city, whole(&scene)));
        socket.push(Item::Position { slot: Slot::picture(topic), body });
        drop(gate);
        socket.turn();
        Ok(())
    }

    /// The picture was closed.
    pub(crate) fn leave(&self, rooms: &Rooms, socket: u64) {
        self.0.lock().keys().for_each(|watched| rooms.leave(Topic::Live(*watched), socket));
    }
}

fn show(rooms: &Rooms, city: CityId, told: &mut Told, scene: &Scene, turns: &mut Turns) {
    let changes = told.take(scene);
    let change = || frame(city, changes);
    rooms.publish_picture(Topic::Live(city), change, || frame(city, whole(scene)), turns);
}

impl Told {
    /// What changed since the last call; `scene` is what is told now.
    fn take(&mut self, scene: &Scene) -> LiveUpdate {
        let mut update = empty(scene);
        for driver in &scene.drivers {
            if self.drivers.insert(driver.driver, *driver) != Some(*driver) {
                update.drivers.push(car(driver));
            }
        }
        if self.drivers.len() > scene.drivers.len() {
            let here: HashSet<DriverId> = scene.drivers.iter().map(|d| d.driver).collect();
            update.left = self.drivers.keys().filter(|id| !here.contains(id)).copied().collect();
            self.drivers.retain(|id, _| here.contains(id));
        }
        for trip in &scene.trips {
            if self.trips.insert(trip.id, trip.version) != Some(trip.version) {
                update.add(trip);
            }
        }
        if self.trips.len() > scene.trips.len() {
            let here: HashSet<TripId> = scene.trips.iter().map(|trip| trip.id).collect();
            let gone = self.trips.keys().filter(|id| !here.contains(id));
            update.ended = gone.map(|id| ended(*id, scene)).collect();
            self.trips.retain(|id, _| here.contains(id));
        }
        update
    }
}

fn empty(scene: &Scene) -> LiveUpdate {
    LiveUpdate {
        at: scene.at,
        whole: false,
        drivers: Vec::new(),
        left: Vec::new(),
        requests: Vec::new(),
        trips: Vec::new(),
        ended: Vec::new(),
        counters: counters(scene),
    }
}

fn whole(scene: &Scene) -> LiveUpdate {
    let mut update = LiveUpdate { whole: true, ..empty(scene) };
    update.drivers = scene.drivers.iter().map(car).collect();
    scene.trips.iter().for_each(|trip| update.add(trip));
    update
}

impl LiveUpdate {
    /// A trip booked ahead is not shown before its search; a queued one rides with its driver.
    fn add(&mut self, trip: &Trip) {
        let (trip_id, vehicle_type) = (trip.id, trip.tier);
        let (pickup, destination) = (trip.pickup.at, trip.destination.at);
        match (trip.status, trip.driver) {
            (Status::Requested, _) => {
                let since = trip.requested_at;
                let view = RequestView { trip_id, pickup, destination, vehicle_type, since };
                self.requests.push(view);
            }
            (status, Some(driver_id)) if status.is_live() => {
                let status = status.name();
                let view =
                    RideView { trip_id, driver_id, status, pickup, destination, vehicle_type };
                self.trips.push(view);
            }
            (_, _) => {}
        }
    }
}

fn car(driver: &OnDuty) -> CarView {
    CarView {
        id: driver.driver,
        lat: driver.at.lat(),
        lng: driver.at.lng(),
        state: driver.state,
        heading: driver.heading,
        vehicle_type: driver.tier,
    }
}

fn ended(trip_id: TripId, scene: &Scene) -> EndedView {
    let known = scene.ended.iter().find(|(id, _)| *id == trip_id);
    EndedView { trip_id, status: known.map(|(_, status)| status.name()) }
}

fn counters(scene: &Scene) -> Counters {
    let mut drivers = Standing::default();
    for driver in &scene.drivers {
        match driver.state {
            State::Available => drivers.available += 1,
            State::Offered => drivers.offered += 1,
            State::Busy => drivers.busy += 1,
            State::Cooldown => drivers.cooldown += 1,
            State::Offline => {}
        }
    }
    let searching = || scene.trips.iter().filter(|trip| trip.status == Status::Requested);
    let riding = scene.trips.iter().filter(|trip| trip.driver.is_some()).count();
    let oldest = searching().map(|trip| trip.requested_at).min();
    let pulse = scene.pulse;
    Counters {
        drivers,
        waiting: u32::try_from(searching().count()).unwrap_or(u32::MAX),
        on_trip: u32::try_from(riding).unwrap_or(u32::MAX),
        completed: pulse.completed,
        cancelled: pulse.cancelled,
        no_drivers: pulse.no_drivers,
        wait_p50_s: pulse.wait_p50_s,
        wait_p95_s: pulse.wait_p95_s,
        oldest_wait_s: oldest.map(|since| scene.at.after(since).as_secs()),
    }
}

fn frame(city: CityId, data: LiveUpdate) -> Bytes {
    let room = Topic::Live(city).to_string();
    answer::json(&LiveFrame { r#type: "live.update", room, data })
}

#[cfg(test)]
mod tests {
    use base::Dice;
    use serde_json::{Value, json};
    use trips::PulseView;

    use super::*;
    use crate::watcher::Watcher;

    const CITY: CityId = CityId(1);

    /// A city whose drivers are set by hand.
    #[derive(Default)]
    struct Paper(Mutex<Vec<OnDuty>>);

    impl Cities for Paper {
        fn scene(&self, _: CityId) -> Scene {
            let drivers = self.0.lock().clone();
            let (trips, ended) = (Vec::new(), Vec::new());
            Scene { at: Millis(0), drivers, trips, ended, pulse: PulseView::default() }
        }
    }

    /// `+id` for a driver who came or changed, `-id` for one who left, `*` before a whole.
    fn read(watcher: &Watcher) -> String {
        let frames = watcher.read();
        frames.iter().map(|frame| said(&frame["data"])).collect::<Vec<_>>().join(" | ")
    }

    fn said(data: &Value) -> String {
        let mut words = Vec::new();
        if data["whole"] == json!(true) {
            words.push("*".to_owned());
        }
        let short = |id: &Value| id.as_str().unwrap().rsplit('-').next().unwrap().parse::<u64>();
        let listed = |key: &str| data[key].as_array().unwrap().clone();
        words.extend(listed("drivers").iter().map(|d| format!("+{}", short(&d["id"]).unwrap())));
        words.extend(listed("left").iter().map(|id| format!("-{}", short(id).unwrap())));
        words.join(" ")
    }

    fn driver(number: u128, lat: f64) -> OnDuty {
        OnDuty {
            driver: DriverId::from_u128(number),
            at: Point::new(lat, 31.2).unwrap(),
            heading: None,
            state: State::Available,
            tier: Tier::Economy,
            waiting_since: Millis(0),
        }
    }

    #[test]
    fn a_watcher_gets_all_then_changes_and_a_slow_one_all_again() {
        let (rooms, paper) = (Rooms::new(&Dice::seeded(1)), Paper::default());
        let (live, first, second) = (Live::default(), Watcher::new(1), Watcher::new(2));
        let outlet = |watcher: &Arc<Watcher>| -> Arc<dyn Outlet> { Arc::clone(watcher) as _ };
        *paper.0.lock() = vec![driver(1, 30.0), driver(2, 30.0)];
        live.join(&rooms, &paper, &outlet(&first), CITY, |_| None).unwrap();
        assert_eq!(read(&first), "* +1 +2");

        *paper.0.lock() = vec![driver(1, 30.1), driver(2, 30.0), driver(3, 30.0)];
        live.tell(&rooms, &paper);
        assert_eq!(read(&first), "+1 +3");
        live.tell(&rooms, &paper);
        assert_eq!(read(&first), "", "counters come all the same");

        // Whoever comes gets all of now; the other learns what changed by then.
        *paper.0.lock() = vec![driver(1, 30.1)];
        live.join(&rooms, &paper, &outlet(&second), CITY, |_| None).unwrap();
        assert_eq!(read(&second), "* +1");
        assert!(matches!(read(&first).as_str(), "-2 -3" | "-3 -2"));

        for lat in [30.2, 30.3] {
            *paper.0.lock() = vec![driver(1, lat)];
            live.tell(&rooms, &paper);
        }
        assert_eq!(read(&first), "* +1", "two unread frames become one whole");

        live.leave(&rooms, 1);
        live.leave(&rooms, 2);
        live.tell(&rooms, &paper);
        assert!(live.0.lock().is_empty(), "a city that nobody watches is not looked at");
    }
}
