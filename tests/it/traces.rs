//! Why each driver was asked or not, afterwards: everybody within the radius has his reason, and
//! the engine decides the same from what was kept.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{
    ADMIN, CAIRO, Folder, Outside, Person, Program, Server, Socket, create_admin, far_from,
    online_driver, program, until,
};
use crate::strategies::choose;

/// The trace once it has this many rounds.
async fn trace_of(admin: &Person, trip: &str, rounds: usize) -> Value {
    until("the trace", async || {
        let reply = admin.get(&format!("/admin/trips/{trip}/dispatch-trace")).await;
        let trace = reply.data().clone();
        let answered = trace["trace"].as_array()?.iter().any(|row| row["answer"] == "accepted");
        (answered && trace["rounds"].as_array()?.len() == rounds).then_some(trace)
    })
    .await
}

async fn matched(server: &Outside, rider: &Person, driver: &Person, at: (f64, f64)) -> String {
    let mut wheel = Socket::listen(server, driver).await;
    let trip = text(&rider.request_trip(at).await.data()["tripId"]);
    wheel.next("offer").await;
    wheel.ok("offer.respond", json!({"tripId": trip, "action": "accept"})).await;
    trip
}

#[tokio::test(flavor = "multi_thread")]
async fn every_driver_within_the_radius_has_his_reason() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    choose(&admin, "batched").await;
    let busy = online_driver(&server, &admin, CAIRO).await;
    matched(&server, &Person::rider(&server).await, &busy, CAIRO).await;
    let near = online_driver(&server, &admin, far_from(CAIRO, 100.0)).await;
    let far = online_driver(&server, &admin, far_from(CAIRO, 4_900.0)).await;
    let other = online_driver(&server, &admin, far_from(CAIRO, 200.0)).await;
    other.post("/drivers/status", json!({"isOnline": false})).await.data();
    let beyond = online_driver(&server, &admin, far_from(CAIRO, 9_000.0)).await;
    let rider = Person::rider(&server).await;
    // Whoever is long silent is offline.
    for (driver, metres) in [(&busy, 0.0), (&near, 100.0), (&far, 4_900.0)] {
        driver.report(far_from(CAIRO, metres)).await.data();
    }
    let trip = matched(&server, &rider, &near, CAIRO).await;

    let trace = trace_of(&admin, &trip, 1).await;
    let round = &trace["rounds"][0];
    let facts = ["round", "strategy", "radius", "looked", "complete", "asked", "reproduced"];
    let facts: Vec<&Value> = facts.iter().map(|name| &round[name]).collect();
    let expected = json!([1, "batched", 5000, 3, true, 1, true]);
    assert_eq!(json!(facts), expected, "{trace:#}");
    let rows = trace["trace"].as_array().expect("rows");
    let said = |driver: &Person| {
        let of = |row: &&Value| row["driverId"] == driver.id.as_str() && row["round"] == 1;
        rows.iter().find(of).map(|row| text(&row["verdict"]))
    };
    let expected = [(&near, Some("offered")), (&busy, Some("busy")), (&far, Some("too_far"))];
    for (driver, verdict) in expected {
        assert_eq!(said(driver).as_deref(), verdict, "{trace:#}");
    }
    for driver in [&other, &beyond] {
        assert_eq!(said(driver), None, "who is not there is not spoken of: {trace:#}");
    }
    for row in rows.iter().filter(|row| row["parts"].is_object()) {
        let parts = row["parts"].as_object().expect("an object");
        let sum: f64 = parts.values().filter_map(Value::as_f64).sum();
        let score = row["score"].as_f64().expect("a score");
        assert!((sum - score).abs() < 1e-5, "{row}");
    }
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_is_replayed_at_the_terminal_and_a_planted_fault_is_found() {
    let dir = Folder::new();
    let running = Program::start(&dir.0).await;
    let server = Outside::new(running.address);
    create_admin(&dir.0);
    let admin = Person::log_in(&server, ADMIN, "tahrir99").await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let trip = matched(&server, &rider, &driver, CAIRO).await;
    trace_of(&admin, &trip, 1).await;

    let replay = || {
        let mut command = Command::new(program());
        command.args(["admin", "--data-dir"]).arg(&dir.0).args(["replay", "--trip", &trip]);
        let done = command.output().expect("it runs");
        (done.status.success(), String::from_utf8_lossy(&done.stdout).into_owned())
    };
    let (well, said) = replay();
    assert!(well && said.contains("1 rounds decided again, 0 differ"), "{said}");
    assert!(said.contains(&format!("asked then: {}", driver.id)), "{said}");
    let (_, owner) = storage::Cluster::reach(&dir.0).expect("it runs");
    let mut owner = storage::testing::connect_once(&owner).await.expect("a connection");
    let weights =
        "UPDATE dispatch_snapshots SET rules = jsonb_set(rules, '{weights,rating}', '0.3')";
    sqlx::query(weights).execute(&mut owner).await.expect("the owner may plant a fault");
    let (well, said) = replay();
    assert!(!well && said.contains("1 rounds decided again, 1 differ"), "{said}");
    running.stop();
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
