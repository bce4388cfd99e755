//! What a city asks for is counted and forecast, and a driver who waits is told where to go.

use std::time::Duration;

use base::{Clock, Millis};
use serde_json::json;

use crate::harness::{CAIRO, Contract, Person, Server, Socket, far_from, online_driver};

const QUARTER_MS: i64 = 900_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_who_waits_is_told_where_drivers_will_be_missing() {
    // Five minutes into a quarter of an hour, so that eleven minutes later it is over.
    let now = Clock::system().now().0;
    let clock = Clock::manual(Millis(now - now.rem_euclid(QUARTER_MS) + 300_000));
    let server = Server::with(|setup| setup.clock = clock.clone()).await;
    let admin = Person::admin(&server).await;
    let asked = far_from(CAIRO, 3_000.0);
    for _ in 0..6 {
        let rider = Person::rider(&server).await;
        let trip = rider.request_trip(asked).await;
        let id = trip.data()["tripId"].as_str().expect("an id");
        let cancel = format!("/trips/{id}/cancel");
        rider.post(&cancel, json!({"reason": "changed_mind"})).await.data();
    }
    let driver = online_driver(&server, &admin, CAIRO).await;
    let mut wheel = Socket::open(&server, &driver).await;
    let flows = server.running().flows();
    for _ in 0..33 {
        clock.advance(Duration::from_secs(20));
        let (lat, lng) = CAIRO;
        let here = json!({"lat": lat, "lng": lng, "timestamp": clock.now()});
        driver.post("/location/update", here).await.data();
    }
    flows.hint_drivers();
    flows.close_quarters().await.expect("closed");
    flows.hint_drivers();
    let hint = wheel.next("demand.hint").await;
    assert_eq!(
        (&hint["data"]["expectedRequests"], &hint["data"]["freeDrivers"]),
        (&6.into(), &0.into())
    );
    assert!(hint["data"]["boundary"].as_array().is_some_and(|corners| corners.len() >= 5));
    assert_eq!(Contract::asyncapi().frame_faults("down", &hint), [""; 0]);
    let told = hint["data"]["center"].clone();
    flows.hint_drivers();
    flows.close_quarters().await.expect("nothing is left to close");
    let answer = wheel.ok("ping", json!({})).await;
    assert!(answer.is_object(), "{answer}");
    assert!(wheel.waiting("demand.hint").is_none(), "he is told once");

    let view = admin.get("/admin/cities/1/demand").await;
    let view = view.data();
    let cells = view["cells"].as_array().expect("cells");
    let busy = cells.iter().find(|cell| cell["center"] == told).expect("the cell of the hint");
    assert_eq!((&busy["requests"], &busy["expectedNext"]), (&6.into(), &6.0.into()));
    assert_eq!(view["accuracy"]["quarters"], 0, "a week has to pass before it is judged");
    let strange = admin.get("/admin/cities/999/demand").await;
    assert_eq!(strange.code(), "NOT_FOUND");
}
