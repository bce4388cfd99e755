//! `kill -9` in the middle of a round of offers, however drivers are found: the choice of the city
//! is there again, the searches go on, and nobody stays leased.

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::{CAIRO, House, Person, Socket, Victim, far_from, online_driver, until};
use crate::strategies::choose;

const PEOPLE: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn a_batched_round_that_a_kill_cut_off_is_made_again() {
    a_round_cut_off("batched").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sequential_round_that_a_kill_cut_off_is_made_again() {
    a_round_cut_off("sequential").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_of_first_to_accept_that_a_kill_cut_off_is_made_again() {
    a_round_cut_off("first_accept").await;
}

async fn a_round_cut_off(strategy: &str) {
    let mut house = House::start(Vec::new()).await;
    let server = house.outside();
    let admin = house.admin().await;
    choose(&admin, strategy).await;
    let places = (0..PEOPLE).map(|n| far_from(CAIRO, 300.0 * n as f64));
    let drivers = join_all(places.map(|at| online_driver(&server, &admin, at))).await;
    let mut wheels = join_all(drivers.iter().map(|one| Socket::listen(&server, one))).await;
    let riders = join_all((0..PEOPLE).map(|_| Person::rider(&server))).await;
    let asked = join_all(riders.iter().map(|rider| rider.request_trip(CAIRO))).await;
    let trips: Vec<String> = asked.iter().map(|reply| text(&reply.data()["tripId"])).collect();
    for wheel in &mut wheels {
        wheel.next("offer").await;
    }
    drop(wheels);
    house.kill(Victim::Program).await;

    let view = admin.get("/admin/cities/1/dispatch").await.data().clone();
    assert_eq!(view["strategy"], strategy);
    let mut wheels = join_all(drivers.iter().map(|one| Socket::listen(&server, one))).await;
    for (n, driver) in drivers.iter().enumerate() {
        driver.report(far_from(CAIRO, 300.0 * n as f64)).await.data();
    }
    let takes = wheels.iter_mut().map(accept_an_offer);
    let mut taken = join_all(takes).await;
    taken.sort();
    let mut expected = trips.clone();
    expected.sort();
    assert_eq!(taken, expected, "each has one, and each trip has its driver");
    for (rider, trip) in riders.iter().zip(&trips) {
        assert_eq!(rider.trip(trip).await["status"], "accepted");
    }
    every_offer_ends(&house).await;
    house.end().await;
}

/// By their record, which is written behind.
pub async fn every_offer_ends(house: &House) {
    let mut owner = house.owner().await;
    until("the end of every offer", async || {
        let open = "SELECT count(*) FROM trip_offers WHERE status = 'pending'";
        let open: i64 = sqlx::query_scalar(open).fetch_one(&mut owner).await.expect("offers");
        (open == 0).then_some(())
    })
    .await;
}

/// Accepts offers until one sticks; the trip.
async fn accept_an_offer(wheel: &mut Socket) -> String {
    loop {
        let trip = text(&wheel.next("offer").await["data"]["tripId"]);
        let answer = json!({"tripId": trip, "action": "accept"});
        if wheel.call("offer.respond", answer).await["type"] == "ack" {
            return trip;
        }
    }
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().expect("a text").to_owned()
}
