//! `kill -9` between a capture and what it brings: it is captured once and booked once.

use serde_json::json;
use standins::Play;

use crate::deposits_killed::{LOOK_EVERY, Stage};
use crate::harness::{CAIRO, Outside, Person, Socket, authorise, card_that_is, far_from, point};

/// A rider in the car of a driver, his trip to be paid by card; trip, authorisation, order.
async fn riding(stage: &Stage, server: &Outside) -> (Person, Person, String, String, String) {
    let rider = Person::rider(server).await;
    let (admin, driver) = (Person::rider(server).await, Person::driver(server).await);
    let promote = "UPDATE users SET role = 'admin' WHERE id = $1::uuid";
    let promoted = sqlx::query(promote).bind(&admin.id).execute(&mut stage.owner().await).await;
    promoted.expect("the owner may");
    let admin = Person::log_in(server, &admin.phone, "tahrir99").await;
    driver.approve(&admin, "economy").await;
    driver.go_online(CAIRO).await.data();
    let (card, order) = authorise(stage.gateway(), &rider, 500.0).await;
    let mut wheel = Socket::listen(server, &driver).await;
    let body = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 3000.0)),
        "vehicleType": "economy", "paymentMethod": "card", "cardAuthorisation": card});
    let trip = rider.post("/trips/request", body).await.data()["tripId"].clone();
    let trip = trip.as_str().expect("an id").to_owned();
    wheel.next("offer").await;
    let path = format!("/trips/{trip}/driver-response");
    driver.post(&path, json!({"action": "accept"})).await.data();
    driver.report(CAIRO).await.data();
    for status in ["arrived", "started"] {
        driver.post(&format!("/trips/{trip}/status"), json!({"status": status})).await.data();
    }
    (rider, driver, trip, card, order)
}

/// Ends the trip, and kills the program once the gateway was asked for the money.
async fn killed_while_captured(play: Play) {
    let stage = Stage::new().await;
    let program = stage.program_with(&[]).await;
    let server = Outside::new(stage.address);
    let (rider, driver, trip, card, order) = riding(&stage, &server).await;
    stage.gateway().play("/v3/orders", play);
    let done = json!({"status": "completed"});
    let price = driver.post(&format!("/trips/{trip}/status"), done).await.data()["price"].clone();
    let mut tick = tokio::time::interval(LOOK_EVERY);
    while stage.gateway().payment(&order).taken().is_empty() {
        tick.tick().await;
    }
    program.kill();
    let program = stage.program_with(&[]).await;
    stage.leases_end().await;
    let captured = card_that_is(&rider, &card, "captured").await;
    assert_eq!(captured["captured"], price);
    assert_eq!(rider.trip(&trip).await["paymentStatus"], "paid");
    assert_eq!(stage.gateway().payment(&order).taken(), [price.to_string()]);
    assert_eq!(stage.gateway().seen("PUT /v3/orders"), 1, "asked once");
    stage.adds_up(0).await;
    program.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_capture_and_its_booking_it_is_captured_once() {
    killed_while_captured(Play::Silence).await;
}
