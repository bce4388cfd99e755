//! Maps of available drivers: what changed in a cell, told to whoever watches it, five times a
//! second.
//!
//! A new watcher gets the picture as of the last tick and then the changes, both under one gate, so
//! nothing falls between. One frame per cell and tick; a watcher who had not read the last one gets
//! the whole cell instead (`whole`).
//!
//! A client keeps drivers by room: who enters a room has left every other, whichever frame comes
//! first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::{Millis, Point, Tier};
use bytes::Bytes;
use fleet::{CellDelta, Fleet, NearbyDriver};
use flows::Flows;
use geo::{Cell, cells_around};
use parking_lot::Mutex;
use rooms::{Body, FollowError, Item, Outlet, Rooms, Slot, Topic, Turns};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::answer;

/// How often watchers are told.
const TICK: Duration = Duration::from_millis(200);

/// An available driver on the map.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DriverView<'a> {
    /// New for every online session, tied to nobody.
    #[schema(value_type = String)]
    id: &'a str,
    lat: f64,
    lng: f64,
    vehicle_type: Tier,
    rating: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    heading: Option<f32>,
    last_update: Millis,
}

/// A driver who moved within his cell.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct MovedView<'a> {
    #[schema(value_type = String)]
    id: &'a str,
    lat: f64,
    lng: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    heading: Option<f32>,
}

/// What changed in one cell since the frame before.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(crate) struct NearbyUpdate<'a> {
    entered: Vec<DriverView<'a>>,
    moved: Vec<MovedView<'a>>,
    #[schema(value_type = Vec<String>)]
    left: Vec<&'a str>,
    /// `entered` is all there is in this room: forget what was known of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    whole: bool,
}

/// Answer to `nearby.subscribe`: the rooms that are watched now. Who is there follows at once, as
/// updates of whole rooms.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct NearbyView {
    rooms: Vec<String>,
}

#[derive(Serialize)]
struct CellFrame<'a> {
    r#type: &'static str,
    room: String,
    data: NearbyUpdate<'a>,
}

/// One at a time: a tick, or a watcher who comes. `fleet` holds what watchers were told.
#[derive(Default)]
pub(crate) struct Nearby(Mutex<()>);

/// Tells watchers what changed, until the node stops.
pub(crate) async fn keep_telling(nearby: Arc<Nearby>, flows: Flows, stopping: CancellationToken) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = ticks.tick() => nearby.tell(&flows.rooms, &flows.fleet),
        }
    }
}

/// The map as watchers were told it: the fleet's, or a stand-in for tests.
pub(crate) trait Map {
    /// What changed since the last call.
    fn changed(&self) -> Vec<CellDelta>;
    /// Who is in the cell as of the last call of `changed`.
    fn cell(&self, cell: Cell, tier: Option<Tier>) -> Vec<NearbyDriver>;
}

impl Map for Fleet {
    fn changed(&self) -> Vec<CellDelta> {
        self.moved_cells()
    }

    fn cell(&self, cell: Cell, tier: Option<Tier>) -> Vec<NearbyDriver> {
        self.cell_view(cell, tier)
    }
}

impl Nearby {
    /// Passes on what changed.
    pub(crate) fn tell(&self, rooms: &Rooms, map: &impl Map) {
        let mut turns = Turns::default();
        let gate = self.0.lock();
        let deltas = map.changed();
        let mut cells: BTreeMap<Cell, Vec<&CellDelta>> = BTreeMap::new();
        for delta in &deltas {
            cells.entry(delta.cell).or_default().push(delta);
        }
        let mut cells: Vec<_> = cells.into_iter().collect();
        // Goodbyes first, for clients that don't keep drivers by room.
        cells.sort_by_key(|(_, deltas)| deltas.iter().any(|delta| !delta.entered.is_empty()));
        for (cell, deltas) in cells {
            for (topic, tier) in rooms.cell_topics(cell.id()) {
                let seen = || deltas.iter().copied().filter(|delta| shows(tier, delta.tier));
                if seen().next().is_some() {
                    let change = || frame(topic, changes(seen()));
                    let all = || frame(topic, whole(&map.cell(cell, tier)));
                    rooms.publish_picture(topic, change, all, &mut turns);
                }
            }
        }
        // Sockets write when nobody waits for the map any more.
        drop(gate);
    }

    /// Watches the cells around a place instead of what the socket watched before; `answer` makes
    /// the reply from who is there now.
    pub(crate) fn join(
        &self,
        rooms: &Rooms,
        map: &impl Map,
        socket: &Arc<dyn Outlet>,
        asked: &Asked,
        answer: impl FnOnce(NearbyView) -> Option<Bytes>,
    ) -> Result<(), FollowError> {
        let gate = self.0.lock();
        rooms.leave_cells(socket.id());
        let (mut names, mut pictures) = (Vec::new(), Vec::new());
        for cell in cells_around(asked.at, asked.radius_m) {
            let topic = Topic::Cell(cell.id(), asked.tier);
            if let Err(error) = rooms.join(topic, socket) {
                rooms.leave_cells(socket.id());
                return Err(error);
            }
            names.push(topic.to_string());
            let here = map.cell(cell, asked.tier);
            if !here.is_empty() {
                pictures.push((topic, frame(topic, whole(&here))));
            }
        }
        // Queued before the gate opens, so that it comes before the first change.
        if let Some(reply) = answer(NearbyView { rooms: names }) {
            socket.push(Item::Reply(reply));
        }
        for (topic, picture) in pictures {
            socket.push(Item::Position { slot: Slot::picture(topic), body: Body::Text(picture) });
        }
        drop(gate);
        socket.turn();
        Ok(())
    }
}

/// The part of the map that a client looks at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) at: Point,
    pub(crate) radius_m: f64,
    pub(crate) tier: Option<Tier>,
}

/// Cars of exactly the tier asked for, as in `GET /location/nearby`.
fn shows(asked: Option<Tier>, tier: Tier) -> bool {
    asked.is_none_or(|asked| asked == tier)
}

fn changes<'a>(deltas: impl Iterator<Item = &'a CellDelta>) -> NearbyUpdate<'a> {
    let mut update = NearbyUpdate::default();
    for delta in deltas {
        update.entered.extend(delta.entered.iter().map(view));
        update.moved.extend(delta.moved.iter().map(|moved| MovedView {
            id: &moved.alias,
            lat: moved.at.lat(),
            lng: moved.at.lng(),
            heading: moved.heading,
        }));
        update.left.extend(delta.left.iter().map(String::as_str));
    }
    update
}

fn whole(drivers: &[NearbyDriver]) -> NearbyUpdate<'_> {
    let entered = drivers.iter().map(view).collect();
    NearbyUpdate { entered, whole: true, ..NearbyUpdate::default() }
}

fn view(driver: &NearbyDriver) -> DriverView<'_> {
    DriverView {
        id: &driver.alias,
        lat: driver.at.lat(),
        lng: driver.at.lng(),
        vehicle_type: driver.tier,
        rating: driver.rating,
        heading: driver.heading,
        last_update: driver.last_update,
    }
}

fn frame(topic: Topic, data: NearbyUpdate<'_>) -> Bytes {
    answer::json(&CellFrame { r#type: "nearby.update", room: topic.to_string(), data })
}

#[cfg(test)]
mod tests {
    use base::Dice;
    use fleet::Moved;

    use super::*;
    use crate::watcher::Watcher;

    /// A map with one change at a time.
    #[derive(Default)]
    struct Paper {
        deltas: Mutex<Vec<CellDelta>>,
        here: Mutex<Vec<NearbyDriver>>,
    }

    impl Map for Paper {
        fn changed(&self) -> Vec<CellDelta> {
            std::mem::take(&mut self.deltas.lock())
        }

        fn cell(&self, cell: Cell, tier: Option<Tier>) -> Vec<NearbyDriver> {
            let here = self.here.lock();
            let inside = |d: &&NearbyDriver| geo::cell_of(d.at) == cell && shows(tier, d.tier);
            here.iter().filter(inside).cloned().collect()
        }
    }

    fn cairo() -> Point {
        Point::new(30.0444, 31.2357).unwrap()
    }

    fn driver(alias: &str, tier: Tier) -> NearbyDriver {
        NearbyDriver {
            alias: alias.to_owned(),
            at: cairo(),
            distance_m: None,
            tier,
            rating: 4.8,
            heading: Some(90.0),
            last_update: Millis(0),
        }
    }

    fn delta(tier: Tier) -> CellDelta {
        let cell = geo::cell_of(cairo());
        CellDelta { cell, tier, entered: vec![], moved: vec![], left: vec![] }
    }

    #[test]
    fn a_watcher_gets_the_picture_then_the_changes_and_a_slow_one_the_whole() {
        let (rooms, map) = (Rooms::new(&Dice::seeded(1)), Paper::default());
        let (nearby, watcher) = (Nearby::default(), Watcher::new(1));
        let outlet: Arc<dyn Outlet> = Arc::clone(&watcher) as _;
        map.here.lock().extend([driver("a", Tier::Economy), driver("x", Tier::Xl)]);
        let asked = Asked { at: cairo(), radius_m: 1000.0, tier: Some(Tier::Economy) };
        nearby.join(&rooms, &map, &outlet, &asked, |view| Some(answer::json(&view))).unwrap();
        let picture = watcher.read();
        let room = format!("cell:{:x}:economy", geo::cell_of(cairo()).id());
        let rooms_watched = picture[0]["rooms"].as_array().unwrap();
        assert!(rooms_watched.contains(&room.clone().into()));
        assert_eq!((picture.len(), &picture[1]["room"]), (2, &room.clone().into()));
        assert_eq!(picture[1]["data"]["entered"].as_array().unwrap().len(), 1);
        assert_eq!(picture[1]["data"]["entered"][0]["id"], "a");

        let mut entered = delta(Tier::Economy);
        entered.entered.push(driver("b", Tier::Economy));
        let mut other = delta(Tier::Xl);
        other.left.push("x".to_owned());
        map.deltas.lock().extend([entered, other]);
        nearby.tell(&rooms, &map);
        let update = &watcher.read()[0];
        assert_eq!((&update["type"], &update["room"]), (&"nearby.update".into(), &room.into()));
        assert_eq!(update["data"]["entered"][0]["id"], "b");
        assert_eq!(update["data"]["left"], serde_json::json!([]));

        map.here.lock().push(driver("b", Tier::Economy));
        for _ in 0..2 {
            let mut moved = delta(Tier::Economy);
            moved.moved.push(Moved { alias: "a".to_owned(), at: cairo(), heading: None });
            map.deltas.lock().push(moved);
            nearby.tell(&rooms, &map);
        }
        let late = watcher.read();
        assert_eq!((late.len(), &late[0]["data"]["whole"]), (1, &true.into()));
        assert_eq!(late[0]["data"]["entered"].as_array().unwrap().len(), 2);
    }
}
