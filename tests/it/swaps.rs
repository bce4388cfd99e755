//! Swap before pickup: a rider whose driver is far gets one who has come up nearer, once, and who
//! loses a trip that way is free and as far ahead in line as before.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{CAIRO, Person, Server, Socket, far_from, online_driver};
use crate::strategies::{choose, is_free, no_lease_is_left, rounds_become};

const FAR_M: f64 = 1_300.0;
const NEAR_M: f64 = 100.0;

async fn server() -> Server {
    Server::with(|setup| {
        // The near one is three minutes nearer, and is looked for at once.
        let swap = setup.dispatch.rules.presets.batched.swap.as_mut().expect("drivers are swapped");
        (swap.gain, swap.every) = (Duration::from_secs(90), Duration::ZERO);
    })
    .await
}

/// A rider whose driver is far away, and one near by who is asked to take over.
struct Scene {
    admin: Person,
    rider: Person,
    eyes: Socket,
    trip: String,
    far: (Person, Socket),
    near: (Person, Socket),
}

impl Scene {
    async fn set(server: &Server) -> Self {
        let admin = Person::admin(server).await;
        choose(&admin, "batched").await;
        let far = online_driver(server, &admin, far_from(CAIRO, FAR_M)).await;
        let mut far_wheel = Socket::listen(server, &far).await;
        let rider = Person::rider(server).await;
        let mut eyes = Socket::listen(server, &rider).await;
        let trip = text(&rider.request_trip(CAIRO).await.data()["tripId"]);
        eyes.ok("trip.subscribe", json!({"tripId": trip, "afterSeq": 1})).await;
        far_wheel.next("offer").await;
        assert_eq!(answer(&mut far_wheel, &trip, "accept").await["type"], "ack");
        far_wheel.ok("trip.subscribe", json!({"tripId": trip})).await;
        eyes.event("accepted").await;
        let near = Person::driver(server).await;
        near.approve(&admin, "economy").await;
        // Who listens before he comes misses no offer.
        let mut near_wheel = Socket::listen(server, &near).await;
        near.go_online(far_from(CAIRO, NEAR_M)).await.data();
        let offer = near_wheel.next("offer").await;
        assert_eq!(offer["data"]["tripId"], trip.as_str());
        Self { admin, rider, eyes, trip, far: (far, far_wheel), near: (near, near_wheel) }
    }

    async fn is_driven_by(&self, driver: &Person) {
        let view = self.rider.trip(&self.trip).await;
        assert_eq!((&view["driverId"], &view["status"]), (&json!(driver.id), &json!("accepted")));
    }

    async fn is_driven_to_its_end(&mut self) {
        let (driver, wheel) = &mut self.near;
        driver.report(CAIRO).await.data();
        for status in ["arrived", "started", "completed"] {
            wheel.ok("trip.status", json!({"tripId": self.trip, "status": status})).await;
        }
        self.eyes.event("completed").await;
    }
}

async fn answer(wheel: &mut Socket, trip: &str, action: &str) -> Value {
    wheel.call("offer.respond", json!({"tripId": trip, "action": action})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rider_is_given_the_driver_who_has_come_up_nearer() {
    let server = server().await;
    let mut scene = Scene::set(&server).await;
    scene.is_driven_by(&scene.far.0).await;
    assert_eq!(answer(&mut scene.near.1, &scene.trip, "accept").await["type"], "ack");
    let event = scene.eyes.event("reassigned").await;
    assert_eq!(event["data"]["driverId"], scene.near.0.id.as_str());
    scene.is_driven_by(&scene.near.0).await;
    // He who had it hears of it, and can't move it any more.
    scene.far.1.event("reassigned").await;
    let late = json!({"tripId": scene.trip, "status": "arrived"});
    let refused = scene.far.1.call("trip.status", late).await;
    assert_eq!(refused["type"], "error", "{refused}");
    is_free(&scene.far.0).await;
    scene.is_driven_to_its_end().await;
    rounds_become(&scene.admin, &scene.trip, "accepted, accepted").await;
    let path = format!("/admin/trips/{}/dispatch-trace", scene.trip);
    let trace = scene.admin.get(&path).await.data().clone();
    let rounds = trace["rounds"].as_array().expect("rounds");
    assert!(rounds.iter().all(|round| round["reproduced"] == true), "{rounds:#?}");
    no_lease_is_left(&server, &[scene.far.0, scene.near.0]).await;
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_of_the_nearer_one_leaves_all_as_it_is() {
    let server = server().await;
    let mut scene = Scene::set(&server).await;
    answer(&mut scene.near.1, &scene.trip, "decline").await;
    scene.is_driven_by(&scene.far.0).await;
    rounds_become(&scene.admin, &scene.trip, "accepted, declined").await;
    // Called off with another one asked, nobody is left over.
    let cancel = json!({"reason": "changed_mind"});
    let path = format!("/trips/{}/cancel", scene.trip);
    scene.rider.post(&path, cancel).await.data();
    is_free(&scene.far.0).await;
    is_free(&scene.near.0).await;
    no_lease_is_left(&server, &[scene.far.0, scene.near.0]).await;
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_who_gives_the_trip_back_while_another_is_asked_leaves_it_to_be_searched() {
    let server = server().await;
    let mut scene = Scene::set(&server).await;
    let path = format!("/trips/{}/cancel", scene.trip);
    scene.far.0.post(&path, json!({"reason": "vehicle_problem"})).await.data();
    // What he was asked was to take it over: that is over, and he is asked to drive it.
    let late = answer(&mut scene.near.1, &scene.trip, "accept").await;
    if late["type"] != "ack" {
        scene.near.1.next("offer").await;
        assert_eq!(answer(&mut scene.near.1, &scene.trip, "accept").await["type"], "ack");
    }
    scene.is_driven_by(&scene.near.0).await;
    scene.is_driven_to_its_end().await;
    is_free(&scene.far.0).await;
    no_lease_is_left(&server, &[scene.far.0, scene.near.0]).await;
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drivers_arrival_and_a_nearer_ones_yes_leave_one_of_the_two() {
    let server = server().await;
    for round in 0..4 {
        let scene = Scene::set(&server).await;
        // No farther at a time than a car can be believed to have come.
        for metres in [900.0, 600.0, 300.0, 0.0] {
            scene.far.0.report(far_from(CAIRO, metres)).await.data();
        }
        let (accept, arrive) = (
            format!("/trips/{}/driver-response", scene.trip),
            format!("/trips/{}/status", scene.trip),
        );
        let yes = scene.near.0.post(&accept, json!({"action": "accept"}));
        let there = scene.far.0.post(&arrive, json!({"status": "arrived"}));
        let (accepted, arrived) = if round % 2 == 0 {
            tokio::join!(yes, there)
        } else {
            let (arrived, accepted) = tokio::join!(there, yes);
            (accepted, arrived)
        };
        assert!((accepted.status == 200) != (arrived.status == 200), "{accepted:?} {arrived:?}");
        let winner = if arrived.status == 200 { &scene.far.0 } else { &scene.near.0 };
        assert_eq!(scene.rider.trip(&scene.trip).await["driverId"], winner.id.as_str());
        let path = format!("/trips/{}/cancel", scene.trip);
        scene.rider.post(&path, json!({"reason": "changed_mind"})).await.data();
        is_free(&scene.far.0).await;
        is_free(&scene.near.0).await;
    }
    server.check_invariants().await;
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
