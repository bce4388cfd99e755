//! The queue of an airport: in memory, by what its drivers do; with the database, over a restart.

use std::time::Duration;

use base::{CityId, Dice, DriverId, Millis, Point};
use geo::{Fence, FenceKind};
use sqlx::types::Json;
use uuid::Uuid;

use crate::store_tests::{House, fresh, house};
use crate::tests::{Scene, T1, T2, at, facts, scene};
use crate::{DriverFacts, DriverStatus, Finish, Fleet, State};

const AIRPORT: Uuid = Uuid::from_u128(77);

/// A kilometre from north to south and as much from east to west, its centre at zero.
fn airport() -> Fence {
    let corner = |north_m: f64, east: f64| {
        let middle = at(north_m);
        Point::new(middle.lat(), middle.lng() + east).expect("a corner")
    };
    let corners = vec![
        corner(-500.0, -0.005),
        corner(-500.0, 0.005),
        corner(500.0, 0.005),
        corner(500.0, -0.005),
    ];
    let (city, kind, name) = (CityId(1), FenceKind::Airport, "Cairo International".to_owned());
    Fence { id: AIRPORT, city, kind, name, corners }
}

async fn at_the_airport() -> Scene {
    let scene = scene().await;
    scene.draw(vec![airport()]);
    scene
}

fn driver(number: u128) -> DriverId {
    DriverId::from_u128(number)
}

/// Who stands there, first to last: `1 2 3`.
fn line(fleet: &Fleet) -> String {
    let queue = fleet.fence_queue(AIRPORT).expect("an airport");
    let names = queue.drivers.iter().map(|queued| queued.driver_id.as_u128().to_string());
    names.collect::<Vec<_>>().join(" ")
}

/// What there is to tell: `1: 2 of 3`, `2: gone, left`.
fn news(fleet: &Fleet) -> String {
    let mut told = fleet.queue_news();
    told.sort_by_key(|(driver, _)| *driver);
    let words = told.into_iter().map(|(driver, view)| {
        let place = view.position.map(|place| format!("{place} of {}", view.waiting));
        let why = view.reason.map(|why| format!(", {}", why.name())).unwrap_or_default();
        format!("{}: {}{why}", driver.as_u128(), place.unwrap_or_else(|| "gone".to_owned()))
    });
    words.collect::<Vec<_>>().join("; ")
}

/// Three drivers who came one after the other.
async fn three() -> Scene {
    let scene = at_the_airport().await;
    for number in 1..=3 {
        scene.online(driver(number), 400.0);
        scene.pass(1);
    }
    assert_eq!(line(&scene.fleet), "1 2 3");
    scene
}

/// Everybody is heard at his place, again and again.
fn stay(scene: &Scene, seconds: u64, places: &[(u128, f64)]) {
    for _ in 0..seconds / 5 {
        scene.pass(5);
        for (number, north_m) in places {
            scene.moves(driver(*number), *north_m);
        }
    }
}

#[tokio::test]
async fn who_leaves_for_good_loses_his_place_and_who_jitters_does_not() {
    let scene = three().await;
    // Beyond the edge by less than the margin of 75 m, or by more for less than a minute.
    stay(&scene, 200, &[(1, 570.0), (2, 400.0), (3, 400.0)]);
    stay(&scene, 50, &[(1, 700.0), (2, 400.0), (3, 400.0)]);
    stay(&scene, 10, &[(1, 480.0), (2, 400.0), (3, 400.0)]);
    stay(&scene, 55, &[(1, 700.0), (2, 400.0), (3, 400.0)]);
    assert_eq!(line(&scene.fleet), "1 2 3");
    stay(&scene, 10, &[(1, 700.0), (2, 400.0), (3, 400.0)]);
    assert_eq!(line(&scene.fleet), "2 3");
    // He comes back: the last.
    stay(&scene, 5, &[(1, 400.0), (2, 400.0), (3, 400.0)]);
    assert_eq!(line(&scene.fleet), "2 3 1");
}

#[tokio::test]
async fn who_is_not_heard_is_not_there() {
    let scene = three().await;
    stay(&scene, 40, &[(1, 400.0), (3, 400.0)]);
    assert_eq!(scene.fleet.state(driver(2)), State::Offline);
    assert_eq!(line(&scene.fleet), "1 3");
    scene.moves(driver(2), 400.0);
    assert_eq!(line(&scene.fleet), "1 3 2");
    // One who is heard but nowhere seen is taken to be where he was: here he was on his way out.
    stay(&scene, 5, &[(1, 700.0), (2, 400.0), (3, 400.0)]);
    for _ in 0..20 {
        scene.pass(5);
        for number in 1..=3 {
            scene.fleet.heard(&scene.fleet.seat(driver(number)).expect("his"));
        }
    }
    assert_eq!(line(&scene.fleet), "3 2");
    // For so long, and no longer: he may be anywhere.
    for _ in 0..10 {
        scene.pass(5);
        scene.fleet.heard(&scene.fleet.seat(driver(3)).expect("his"));
        scene.moves(driver(2), 400.0);
    }
    assert_eq!(line(&scene.fleet), "2");
}

#[tokio::test]
async fn a_trip_ends_the_wait_and_one_that_is_called_off_does_not() {
    let scene = three().await;
    let all = [(1, 400.0), (2, 400.0), (3, 400.0)];
    scene.fleet.offer(driver(1), T1).expect("he is free");
    assert_eq!(line(&scene.fleet), "1 2 3", "who is asked stands where he stood");
    scene.fleet.assign(driver(1), T1).expect("he holds the offer");
    assert_eq!(line(&scene.fleet), "2 3");
    stay(&scene, 60, &all);
    scene.fleet.finish(driver(1), T1, Finish::Freed);
    assert_eq!(line(&scene.fleet), "1 2 3", "his rider called it off");
    scene.fleet.assign(driver(1), T1).expect("he is free");
    scene.fleet.finish(driver(1), T1, Finish::GaveBack);
    assert_eq!(line(&scene.fleet), "2 3 1", "he called it off himself");
    scene.fleet.assign(driver(2), T1).expect("he is free");
    scene.fleet.finish(driver(2), T1, Finish::Completed);
    assert_eq!(line(&scene.fleet), "3 1", "he rests");
    stay(&scene, 70, &all);
    assert_eq!(line(&scene.fleet), "3 1 2");
    // Called off when he had left the airport already: that was his own way.
    scene.fleet.assign(driver(3), T2).expect("he is free");
    stay(&scene, 70, &[(1, 400.0), (2, 400.0), (3, 800.0)]);
    scene.fleet.finish(driver(3), T2, Finish::Freed);
    assert_eq!(line(&scene.fleet), "1 2");
}

#[tokio::test]
async fn two_trips_of_the_airport_refused_and_he_is_the_last() {
    let scene = three().await;
    scene.fleet.missed_offer(driver(1), Some(at(0.0)));
    assert_eq!(line(&scene.fleet), "1 2 3");
    for _ in 0..3 {
        scene.fleet.missed_offer(driver(1), Some(at(900.0)));
        scene.fleet.missed_offer(driver(1), None);
    }
    assert_eq!(line(&scene.fleet), "1 2 3", "trips of elsewhere are no trips of the airport");
    scene.fleet.missed_offer(driver(1), Some(at(10.0)));
    assert_eq!(line(&scene.fleet), "2 3 1");
    scene.fleet.missed_offer(driver(1), Some(at(10.0)));
    assert_eq!(line(&scene.fleet), "2 3 1", "he begins anew");
    let queue = scene.fleet.fence_queue(AIRPORT).expect("an airport");
    assert_eq!(queue.drivers[2].refusals, 1);
}

#[tokio::test]
async fn everybody_is_told_his_place_when_it_changes() {
    let scene = three().await;
    assert_eq!(news(&scene.fleet), "1: 1 of 3; 2: 2 of 3; 3: 3 of 3");
    stay(&scene, 20, &[(1, 420.0), (2, 400.0), (3, 400.0)]);
    assert_eq!(news(&scene.fleet), "");
    scene.fleet.assign(driver(2), T1).expect("he is free");
    assert_eq!(news(&scene.fleet), "2: gone, trip; 3: 2 of 2");
    for _ in 0..2 {
        scene.fleet.missed_offer(driver(1), Some(at(0.0)));
    }
    assert_eq!(news(&scene.fleet), "1: 2 of 2, refused; 3: 1 of 2");
    let place = scene.fleet.queue_place(driver(1)).expect("he waits");
    assert_eq!((place.position, place.waiting, place.reason), (Some(2), 2, None));
    assert_eq!(place.airport, "Cairo International");
    assert_eq!(scene.fleet.queue_place(driver(2)), None);
}

#[tokio::test]
async fn an_airport_that_is_closed_has_no_queue() {
    let scene = three().await;
    news(&scene.fleet);
    scene.draw(Vec::new());
    assert_eq!(scene.fleet.fence_queue(AIRPORT), None);
    let told = scene.fleet.queue_news();
    assert!(told.iter().all(|(_, view)| view.reason.is_some_and(|why| why.name() == "closed")));
    assert_eq!(told.len(), 3);
    assert_eq!(scene.fleet.queue_place(driver(1)), None);
    scene.draw(vec![airport()]);
    stay(&scene, 5, &[(2, 400.0)]);
    stay(&scene, 5, &[(1, 400.0)]);
    assert_eq!(line(&scene.fleet), "2 1", "they come anew");
}

#[tokio::test]
async fn dispatch_sees_the_queue_first_and_then_the_nearest() {
    let scene = three().await;
    scene.online(driver(11), 1_000.0);
    scene.online(driver(12), 1_400.0);
    scene.moves(driver(1), 420.0);
    let seen = |from: f64, radius_m: f64, limit: usize| {
        let found = scene.fleet.candidates(at(from), radius_m, limit);
        let words = found.iter().map(|one| match one.in_line {
            Some(place) => format!("{} ({place})", one.driver.as_u128()),
            None => one.driver.as_u128().to_string(),
        });
        words.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(seen(0.0, 2_000.0, 10), "1 (1) 2 (2) 3 (3) 11 12");
    assert_eq!(seen(0.0, 2_000.0, 4), "1 (1) 2 (2) 3 (3) 11");
    assert_eq!(seen(0.0, 2_000.0, 2), "1 (1) 2 (2)");
    assert_eq!(seen(0.0, 100.0, 10), "1 (1) 2 (2) 3 (3)", "the queue is near wherever it is");
    assert_eq!(seen(900.0, 300.0, 10), "11", "elsewhere the nearest come first");
    let found = scene.fleet.candidates(at(0.0), 2_000.0, 10);
    for one in found {
        assert!((one.distance_m - geo::distance_m(at(0.0), one.at)).abs() < 1e-9);
    }
}

/// What chance does to a driver who stays: nothing of it costs him his place.
fn harmless(scene: &Scene, dice: &Dice, number: u128) {
    let north_m = match dice.below(4) {
        0 => 300.0 + dice.unit() * 270.0,
        // Beyond the margin, for some seconds.
        1 => 580.0 + dice.unit() * 100.0,
        _ => 350.0 + dice.unit() * 100.0,
    };
    match dice.below(6) {
        0 if scene.fleet.offer(driver(number), T1).is_ok() => {
            scene.fleet.release(driver(number), T1);
        }
        1 => scene.fleet.missed_offer(driver(number), Some(at(5_000.0))),
        _ => {}
    }
    scene.moves(driver(number), north_m);
}

#[tokio::test]
async fn the_queue_is_served_in_the_order_in_which_they_came() {
    let scene = at_the_airport().await;
    let dice = Dice::seeded(2_026);
    let (mut expected, mut next): (Vec<u128>, u128) = (Vec::new(), 1);
    for step in 0..600 {
        match dice.below(12) {
            0 | 1 if expected.len() < 25 => {
                scene.online(driver(next), 400.0);
                expected.push(next);
                next += 1;
            }
            // The first one has a trip, or somebody goes home.
            2 if !expected.is_empty() => {
                let first = expected.remove(0);
                scene.fleet.assign(driver(first), T2).expect("he is free");
                scene.fleet.finish(driver(first), T2, Finish::Completed);
            }
            3 if !expected.is_empty() => {
                let place = dice.below(expected.len() as u64) as usize;
                let gone = expected.remove(place);
                scene.fleet.set_facts(driver(gone), suspended());
            }
            _ => {}
        }
        // Nobody is beyond the margin for a minute: each is seen within at least every 30 s.
        for number in &expected {
            if step % 6 == 0 {
                scene.moves(driver(*number), 400.0);
            } else {
                harmless(&scene, &dice, *number);
            }
        }
        scene.pass(5);
        let names: Vec<String> = expected.iter().map(u128::to_string).collect();
        assert_eq!(line(&scene.fleet), names.join(" "), "step {step}");
    }
    assert!(next > 60, "{next} came");
}

fn suspended() -> DriverFacts {
    DriverFacts { status: DriverStatus::Suspended, ..facts() }
}

/// The same airport in the table, around where the drivers of the other tests are.
async fn draw(house: &House) {
    let corners = [(40.74, -73.99), (40.74, -73.97), (40.755, -73.97), (40.755, -73.99)];
    let mut owner = storage::testing::owner(&house.db).await;
    sqlx::query(
        "INSERT INTO geofences (id, city_id, kind, name, corners)
         VALUES ($1, 1, 'airport', 'LaGuardia', $2)",
    )
    .bind(AIRPORT)
    .bind(Json(corners))
    .execute(&mut owner)
    .await
    .expect("a fence");
    house.fleet.reload_map().await.expect("the map is read");
}

async fn arrives(house: &House, number: u128, north_m: f64) {
    let fix = house.fix(north_m);
    house.fleet.go_online(driver(number), Some(fix)).await.expect("he may");
    house.clock.advance(Duration::from_secs(1));
}

#[tokio::test]
async fn who_stood_in_a_queue_when_the_program_ended_has_his_place_if_he_comes_back() {
    let first = fresh().await;
    draw(&first).await;
    for number in 1..=4 {
        first.approved(number).await;
    }
    for number in [3, 1, 2, 4] {
        arrives(&first, number, 0.0).await;
    }
    first.fleet.missed_offer(driver(3), Some(first.fix(0.0).at));
    first.fleet.go_offline(driver(4)).await.expect("he may");
    assert_eq!(line(&first.fleet), "3 1 2");
    first.fleet.flush().await;
    first.tasks.stop(Duration::from_secs(5)).await;

    let again = house(&first.db, &first.clock).await;
    assert_eq!(line(&again.fleet), "3 1 2", "they are expected");
    assert_eq!(again.fleet.queue_news(), [], "nobody is there who could be told");
    arrives(&again, 4, 0.0).await;
    let found = again.fleet.candidates(again.fix(0.0).at, 5_000.0, 10);
    let found: Vec<_> = found.iter().map(|one| (one.driver.as_u128(), one.in_line)).collect();
    assert_eq!(found, [(4, Some(4))], "who is expected keeps his place, and is not asked");
    // The last two are back, in the other order; the first is not.
    for number in [2, 1] {
        again.fleet.ingest(&again.seat(driver(number)), &again.fix(0.0)).expect("a position");
    }
    assert_eq!(line(&again.fleet), "3 1 2 4");
    assert_eq!(news(&again.fleet), "1: 2 of 4; 2: 3 of 4; 4: 4 of 4");
    for _ in 0..13 {
        again.clock.advance(Duration::from_secs(10));
        for number in [1, 2, 4] {
            again.fleet.ingest(&again.seat(driver(number)), &again.fix(0.0)).expect("a position");
        }
        again.fleet.inner().sweep(again.clock.now());
    }
    assert_eq!(line(&again.fleet), "1 2 4", "two minutes are over");
    arrives(&again, 3, 0.0).await;
    assert_eq!(line(&again.fleet), "1 2 4 3");
    again.fleet.flush().await;
    let stored = super::store::all(&again.db).await.expect("they are read");
    let stored: Vec<u128> = stored.iter().map(|(driver, _)| driver.as_u128()).collect();
    assert_eq!(stored, [1, 2, 4, 3]);
}

#[tokio::test]
async fn a_fence_that_is_entered_stayed_in_and_left_is_told_in_order() {
    let house = fresh().await;
    draw(&house).await;
    house.approved(1).await;
    arrives(&house, 1, 0.0).await;
    for _ in 0..31 {
        house.clock.advance(Duration::from_secs(10));
        house.fleet.ingest(&house.seat(driver(1)), &house.fix(0.0)).expect("a position");
    }
    for _ in 0..7 {
        house.clock.advance(Duration::from_secs(20));
        house.fleet.ingest(&house.seat(driver(1)), &house.fix(900.0)).expect("a position");
    }
    house.clock.advance(Duration::from_secs(20));
    house.fleet.ingest(&house.seat(driver(1)), &house.fix(0.0)).expect("a position");
    house.fleet.go_offline(driver(1)).await.expect("he may");
    house.fleet.flush().await;
    let mut owner = storage::testing::owner(&house.db).await;
    let told: Vec<(String, Option<Uuid>)> = sqlx::query_as(
        "SELECT seq || ' ' || event_type, (payload->>'fenceId')::uuid FROM event_store
         WHERE aggregate_type = 'driver' AND aggregate_id = $1 ORDER BY seq",
    )
    .bind(driver(1).0)
    .fetch_all(&mut owner)
    .await
    .expect("facts");
    let words: Vec<&str> = told.iter().map(|(words, _)| words.as_str()).collect();
    let expected = [
        "1 DRIVER_ONLINE",
        "2 DRIVER_ENTERED_FENCE",
        "3 DRIVER_DWELT_IN_FENCE",
        "4 DRIVER_LEFT_FENCE",
        "5 DRIVER_ENTERED_FENCE",
        "6 DRIVER_LEFT_FENCE",
        "7 DRIVER_OFFLINE",
    ];
    assert_eq!(words, expected);
    assert!(told[1..6].iter().all(|(_, fence)| *fence == Some(AIRPORT)), "{told:?}");
}

#[tokio::test]
async fn a_place_of_a_driver_or_a_fence_that_is_gone_holds_up_no_other() {
    let house = fresh().await;
    draw(&house).await;
    house.approved(1).await;
    let spot = |fence| Some(super::rules::Spot { fence, since: Millis(5), refusals: 1 });
    let row = |number, spot| super::SpotRow { driver: driver(number), spot };
    let rows = [row(9, spot(AIRPORT)), row(1, spot(AIRPORT)), row(2, None)];
    super::store::write(house.db.clone(), rows.into()).await.expect("they are written");
    let stored = super::store::all(&house.db).await.expect("they are read");
    assert_eq!(stored, [(driver(1), spot(AIRPORT).expect("a place"))]);
    let moved = [row(1, spot(Uuid::from_u128(5)))];
    super::store::write(house.db.clone(), moved.into()).await.expect("they are written");
    let gone = [row(1, None)];
    super::store::write(house.db.clone(), gone.into()).await.expect("they are written");
    assert_eq!(super::store::all(&house.db).await.expect("they are read"), []);
}
