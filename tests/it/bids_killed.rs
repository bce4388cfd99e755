//! `kill -9` while drivers bid: the bids are gone with the program, as leases are; the search goes
//! on, drivers are asked again, and a trip that was picked before stands at its price.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{CAIRO, House, Person, Socket, Victim, far_from, online_driver};
use crate::strategies::choose;
use crate::strategies_killed::every_offer_ends;

const DRIVERS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn bids_that_a_kill_cut_off_are_asked_for_again_and_a_picked_one_stands() {
    let mut house = House::start(Vec::new()).await;
    let server = house.outside();
    let admin = house.admin().await;
    choose(&admin, "broadcast_bid").await;
    let place = |n: usize| far_from(CAIRO, 200.0 * n as f64);
    let drivers = join_all((0..DRIVERS).map(|n| online_driver(&server, &admin, place(n)))).await;
    let mut wheels = join_all(drivers.iter().map(|one| Socket::listen(&server, one))).await;
    let riders = join_all((0..2).map(|_| Person::rider(&server))).await;

    // The first rider has picked, of the second's bids none.
    let early = asked_for(&riders[0]).await;
    let price = bid_of(&mut wheels[0], &early).await;
    let offer = open_bids(&riders[0], &early).await.remove(0);
    let path = format!("/trips/{early}/offers/{offer}/accept");
    let picked = riders[0].post(&path, json!({"price": price})).await.data().clone();
    assert_eq!(picked["driverId"], drivers[0].id.as_str());
    for wheel in &mut wheels[1..] {
        wheel.next("offer.revoked").await;
    }
    let late = asked_for(&riders[1]).await;
    for wheel in &mut wheels[1..] {
        bid_of(wheel, &late).await;
    }
    assert_eq!(open_bids(&riders[1], &late).await.len(), DRIVERS - 1);
    drop(wheels);
    house.kill(Victim::Program).await;

    let view = riders[0].trip(&early).await;
    assert_eq!((&view["status"], &view["price"]), (&json!("accepted"), &picked["price"]));
    assert!(open_bids(&riders[1], &late).await.is_empty(), "nobody bids now");
    let mut wheels = join_all(drivers.iter().map(|one| Socket::listen(&server, one))).await;
    for (n, driver) in drivers.iter().enumerate() {
        driver.report(place(n)).await.data();
    }
    // The first who is heard of is asked in any case.
    let price = bid_of(&mut wheels[1], &late).await;
    let offer = open_bids(&riders[1], &late).await.remove(0);
    let path = format!("/trips/{late}/offers/{offer}/accept");
    let picked = riders[1].post(&path, json!({"price": price})).await.data().clone();
    assert_eq!(
        (&picked["status"], &picked["driverId"]),
        (&json!("accepted"), &json!(drivers[1].id))
    );
    every_offer_ends(&house).await;
    let (db, mut wrong) = (house.db().await, Vec::new());
    let replayed = trips::replay_all(&db, |trip| wrong.extend(trip.differences)).await;
    replayed.expect("trips are read");
    assert_eq!(wrong, [""; 0]);
    db.close().await;
    house.end().await;
}

async fn asked_for(rider: &Person) -> String {
    text(&rider.request_trip(CAIRO).await.data()["tripId"])
}

/// Bids the estimated price and a pound; that.
async fn bid_of(wheel: &mut Socket, trip: &str) -> f64 {
    let is_it = |frame: &Value| frame["type"] == "offer" && frame["data"]["tripId"] == trip;
    let offer = wheel.wait(is_it).await;
    let price = offer["data"]["estimatedPrice"].as_f64().expect("an amount") + 1.0;
    wheel.ok("offer.respond", json!({"tripId": trip, "action": "bid", "price": price})).await;
    price
}

/// Of the trip's bids, the lowest first.
async fn open_bids(rider: &Person, trip: &str) -> Vec<String> {
    let reply = rider.get(&format!("/trips/{trip}/offers")).await;
    let offers = reply.data()["offers"].as_array().expect("a list").clone();
    offers.iter().map(|one| text(&one["offerId"])).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
