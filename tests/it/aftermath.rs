//! What follows a completed trip: by facts and jobs, once, a little later.

use std::time::Duration;

use serde_json::json;

use crate::harness::{CAIRO, Person, Server, online_driver};
use crate::races::started_trip;

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_trip_is_in_its_drivers_statistics_once() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let none = driver.get("/drivers/statistics").await;
    assert_eq!(none.data()["days"], json!([]));
    let trip = started_trip(&server, &rider, &driver).await;
    let done = driver.post(&format!("/trips/{trip}/status"), json!({"status": "completed"})).await;
    let fare = done.data()["finalPrice"].clone();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let day = loop {
        let days = driver.get("/drivers/statistics").await.data()["days"].clone();
        if let Some(day) = days.get(0) {
            break day.clone();
        }
        tick.tick().await;
    };
    assert_eq!((&day["trips"], &day["fares"]), (&json!(1), &fare));
    rider.get("/drivers/statistics").await.refused(403, "FORBIDDEN");
    server.check_invariants().await;
}
