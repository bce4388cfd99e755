//! A city is asked for more than its budget lets it do: it does with less, riders hear where they
//! stand in line, everybody has his turn, and it comes back by itself.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{CAIRO, Contract, Person, Server, Socket, until};
use crate::strategies::{choose, drivers_at, no_lease_is_left, wheels_of};

const RIDERS: usize = 24;
const DRIVERS: usize = 8;

/// A server on which a tick is one look, and an overloaded city has three of them a second.
async fn slow_server() -> Server {
    Server::with(|setup| {
        setup.dispatch.tick = Duration::from_millis(100);
        let rules = &mut setup.dispatch.rules;
        rules.relief.budget = Duration::from_nanos(1);
        // Who is left over has the next tick after a quarter of it.
        rules.relief.pause = Duration::from_millis(1_200);
        rules.presets.batched.window = Duration::from_millis(500);
        rules.relief.rest = Duration::from_secs(1);
        rules.relief.calm = Duration::from_millis(500);
        for preset in [&mut rules.presets.sequential, &mut rules.presets.batched.preset] {
            preset.at_least = Duration::from_secs(5);
        }
    })
    .await
}

async fn load(admin: &Person) -> Value {
    admin.get("/admin/cities/1/dispatch").await.data()["load"].clone()
}

async fn becomes(admin: &Person, step: &str) {
    until(step, async || (load(admin).await["step"] == step).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn riders_of_an_overloaded_city_stand_in_line_one_by_one() {
    a_crowd("sequential").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn riders_of_an_overloaded_city_stand_in_line_in_batches() {
    a_crowd("batched").await;
}

async fn a_crowd(strategy: &str) {
    let server = slow_server().await;
    let admin = Person::admin(&server).await;
    choose(&admin, strategy).await;
    assert_eq!(load(&admin).await, Value::Null, "nobody was searched for");
    let riders = join_all((0..RIDERS).map(|_| Person::rider(&server))).await;
    let mut seats = join_all(riders.iter().map(|rider| Socket::listen(&server, rider))).await;
    let metres: Vec<f64> = (0..DRIVERS).map(|n| 20.0 * n as f64).collect();
    let drivers = drivers_at(&server, &admin, &metres).await;
    let wheels = wheels_of(&server, &drivers).await;

    // All of it at the same time: a line on a fast machine is over before a slow test looks.
    let (asked, taken, (), ()) = tokio::join!(
        join_all(riders.iter().map(asks_and_looks)),
        join_all(wheels.into_iter().map(takes_a_trip)),
        becomes(&admin, "queued"),
        is_named_among_the_degraded(&server),
    );
    let (trips, places): (Vec<String>, Vec<Option<u64>>) = asked.into_iter().unzip();
    let most = places.iter().flatten().max();
    assert!(most.is_some_and(|place| *place <= RIDERS as u64), "{places:?}");

    let mut ends = Vec::new();
    for (rider, trip) in riders.iter().zip(&trips) {
        let end = until("the end of a search", async || {
            let status = text(&rider.trip(trip).await["status"]);
            (status != "requested").then_some(status)
        });
        ends.push(end.await);
    }
    let served = ends.iter().filter(|end| *end == "accepted").count();
    assert_eq!(served, DRIVERS, "{ends:?}");
    assert!(ends.iter().all(|end| end == "accepted" || end == "no_drivers"), "{ends:?}");
    assert!(taken.iter().all(|trip| trips.contains(trip)));
    what_they_heard(&mut seats).await;

    becomes(&admin, "normal").await;
    let calm = load(&admin).await;
    assert_eq!((&calm["waiting"], calm["tickMs"].is_u64()), (&json!(0), true), "{calm}");
    no_lease_is_left(&server, &drivers).await;
    server.running().flows().dispatch.flush().await;
    let mut steps = Vec::new();
    for trip in &trips {
        let trace = admin.get(&format!("/admin/trips/{trip}/dispatch-trace")).await.data().clone();
        for round in trace["rounds"].as_array().expect("rounds") {
            assert_eq!(round["reproduced"], true, "{trip}: {round}");
            steps.push(text(&round["step"]));
        }
    }
    assert!(steps.iter().any(|step| step == "queued"), "{steps:?}");
    server.check_invariants().await;
}

/// The trip, and the first place that its rider sees; none: it was his turn before he looked.
async fn asks_and_looks(rider: &Person) -> (String, Option<u64>) {
    let trip = text(&rider.request_trip(CAIRO).await.data()["tripId"]);
    let path = format!("/trips/{trip}/matching-status");
    let place = until("a place, or an end", async || {
        let status = rider.get(&path).await.data().clone();
        let place = status["queuePosition"].as_u64();
        (place.is_some() || status["status"] != "searching").then_some(place)
    });
    let place = place.await;
    (trip, place)
}

async fn takes_a_trip(mut wheel: Socket) -> String {
    let trip = text(&wheel.next("offer").await["data"]["tripId"]);
    let taken = wheel.call("offer.respond", json!({"tripId": trip, "action": "accept"})).await;
    assert_eq!(taken["type"], "ack", "{taken}");
    trip
}

/// It is named, and the node goes on serving.
async fn is_named_among_the_degraded(server: &Server) {
    until("a degraded matching", async || {
        let answer = server.http.get(server.url("/health/ready?strict=1")).send().await;
        let answer = answer.expect("it answers");
        assert_eq!(answer.status().as_u16(), 200);
        let body: Value = answer.json().await.expect("JSON");
        (body["degraded"] == json!(["matching"])).then_some(())
    })
    .await;
}

/// Each place better than the one before, and at the end of the line none.
async fn what_they_heard(seats: &mut [Socket]) {
    let mut contract = Contract::asyncapi();
    let mut stood = 0;
    for seat in seats {
        seat.ok("ping", json!({})).await;
        let mut places = Vec::new();
        while seat.waiting("matching.status").is_some() {
            let frame = seat.next("matching.status").await;
            assert_eq!(contract.frame_faults("down", &frame), [""; 0], "{frame}");
            assert!(frame["seq"].is_u64(), "a place is numbered in the rider's own room: {frame}");
            places.push(frame["data"]["queuePosition"].as_u64());
        }
        let Some(last) = places.pop() else { continue };
        assert_eq!(last, None, "his turn came: {places:?}");
        assert!(places.iter().all(Option::is_some), "{places:?}");
        assert!(places.is_sorted_by(|a, b| a > b), "{places:?}");
        stood += 1;
    }
    assert!(stood >= 5, "only {stood} heard of a line");
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}
