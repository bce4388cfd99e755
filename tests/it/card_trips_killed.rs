//! `kill -9` between a capture and what it brings: it is captured once and booked once.

use serde_json::json;
use standins::{Credentials, Gateway, Play};

use crate::harness::{
    CAIRO, House, Person, Socket, Victim, authorise, card_that_is, far_from, gateway_settings,
    point, until,
};

/// A rider in the car of a driver, his trip to be paid by card; trip, authorisation, order.
async fn riding(house: &House, gateway: &Gateway) -> (Person, Person, String, String, String) {
    let (server, admin) = (house.outside(), house.admin().await);
    let (rider, driver) = (Person::rider(&server).await, Person::driver(&server).await);
    driver.approve(&admin, "economy").await;
    driver.go_online(CAIRO).await.data();
    let (card, order) = authorise(gateway, &rider, 500.0).await;
    let mut wheel = Socket::listen(&server, &driver).await;
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
    let gateway = Gateway::start(Credentials::for_tests()).await;
    let mut house = House::beside("", |address| gateway_settings(&gateway, address)).await;
    let (rider, driver, trip, card, order) = riding(&house, &gateway).await;
    gateway.play("/v3/orders", play);
    let done = json!({"status": "completed"});
    let price = driver.post(&format!("/trips/{trip}/status"), done).await.data()["price"].clone();
    until("a capture", async || gateway.payment(&order).taken().pop()).await;
    house.fell(Victim::Program).await;
    house.rise().await;
    house.jobs_are_due().await;
    let captured = card_that_is(&rider, &card, "captured").await;
    assert_eq!(captured["captured"], price);
    assert_eq!(rider.trip(&trip).await["paymentStatus"], "paid");
    assert_eq!(gateway.payment(&order).taken(), [price.to_string()]);
    assert_eq!(gateway.seen("PUT /v3/orders"), 1, "asked once");
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_capture_and_its_booking_it_is_captured_once() {
    killed_while_captured(Play::Silence).await;
}
