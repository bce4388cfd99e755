//! Drivers who game dispatch: found by what they sent over their sockets, ranked lower with the
//! reason in the trace, and let go when an operator says so. Beside them somebody honest.

use std::time::Duration;

use base::{Clock, Dice};
use serde_json::{Value, json};
use sqlx::Executor;

use crate::harness::{CAIRO, Person, Server, Socket, far_from, online_driver, point, until};

/// A server whose clock goes as the test says, and where nobody rests after a trip.
async fn start() -> (Server, Clock) {
    let clock = Clock::manual(Clock::system().now());
    let server = Server::with(|setup| {
        setup.clock = clock.clone();
        setup.fleet.cooldown = Some(Duration::ZERO);
    })
    .await;
    (server, clock)
}

async fn report(wheel: &mut Socket, clock: &Clock, at: (f64, f64), speed: f64) {
    let here = json!({"lat": at.0, "lng": at.1, "speed": speed, "timestamp": clock.now()});
    wheel.ok("location", here).await;
}

/// The jobs as the schedules run them, over all that was sent.
async fn watched(server: &Server) {
    let flows = server.running().flows();
    flows.fleet.flush().await;
    flows.dispatch.flush().await;
    flows.watch_tracks().await.expect("tracks are watched");
    flows.watch_answers().await.expect("answers are watched");
}

async fn cases(admin: &Person) -> Vec<Value> {
    let reply = admin.get("/admin/fraud?limit=100").await;
    let mut cases = reply.data()["cases"].as_array().expect("a list").clone();
    cases.sort_by_key(|case| text(&case["rule"]));
    cases
}

/// `rule action status` and whose, for each case.
async fn shown(admin: &Person) -> Vec<(String, String)> {
    let said = |case: &Value| {
        let words = ["rule", "action", "status"].map(|name| text(&case[name]));
        (words.join(" "), text(&case["userId"]))
    };
    cases(admin).await.iter().map(said).collect()
}

async fn is_told_of_a_hold(driver: &Person) -> bool {
    let told = driver.get("/notifications").await.data()["notifications"].clone();
    told.as_array().expect("a list").iter().any(|one| one["kind"] == "account_held")
}

fn of(driver: &Person, words: &str) -> (String, String) {
    (words.to_owned(), driver.id.to_string())
}

/// What a trip that is asked for now says of each driver: `[score, conduct, part]`. It is called
/// off again.
async fn said_of(server: &Server, admin: &Person, drivers: &[&Person]) -> Vec<Value> {
    let rider = Person::rider(server).await;
    let trip = text(&rider.request_trip(CAIRO).await.data()["tripId"]);
    let said = until("the trace", async || {
        let reply = admin.get(&format!("/admin/trips/{trip}/dispatch-trace")).await;
        let trace = reply.data().clone();
        let rounds = trace["rounds"].as_array()?;
        let round = rounds.first()?;
        assert_eq!(round["reproduced"], true, "{trace:#}");
        let rows = trace["trace"].as_array()?.clone();
        drivers
            .iter()
            .map(|driver| {
                let row = rows.iter().find(|row| row["driverId"] == json!(driver.id))?;
                Some(json!({"score": row["score"], "conduct": row["conduct"],
                "part": row["parts"]["conduct"]}))
            })
            .collect::<Option<Vec<Value>>>()
    })
    .await;
    rider.post(&format!("/trips/{trip}/cancel-search"), json!({})).await.data();
    said
}

fn is_lowered(said: &Value, reason: &str, by: f64) {
    let part = said["part"].as_f64().expect("a part");
    assert!(said["conduct"] == reason && (part + by).abs() < 0.011, "{said}");
}

fn is_as_usual(said: &Value) {
    assert!(said["conduct"].is_null() && said["part"].as_f64() == Some(0.0), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_teleports_or_never_moves_is_found_ranked_lower_and_let_go_again() {
    let (server, clock) = start().await;
    let admin = Person::admin(&server).await;
    let jumper = online_driver(&server, &admin, CAIRO).await;
    let statue = online_driver(&server, &admin, CAIRO).await;
    let honest = online_driver(&server, &admin, CAIRO).await;
    let mut wheels = Vec::new();
    for driver in [&jumper, &statue, &honest] {
        wheels.push(Socket::listen(&server, driver).await);
    }
    let dice = Dice::seeded(7);
    // Six minutes and a little: home and away three times a minute; the same spot at 40 km/h; a
    // drive around the square with the noise of a receiver.
    for step in 0..20 {
        clock.advance(Duration::from_secs(20));
        report(&mut wheels[0], &clock, CAIRO, 0.0).await;
        report(&mut wheels[0], &clock, far_from(CAIRO, 20_000.0), 0.0).await;
        report(&mut wheels[1], &clock, CAIRO, 40.0).await;
        let metres = 60.0 * f64::from(step % 4) + 8.0 * dice.unit();
        report(&mut wheels[2], &clock, far_from(CAIRO, metres), 12.0).await;
    }
    report(&mut wheels[0], &clock, CAIRO, 0.0).await;
    report(&mut wheels[2], &clock, CAIRO, 0.0).await;
    let all = [&jumper, &statue, &honest];
    said_of(&server, &admin, &all).await.iter().for_each(is_as_usual);

    watched(&server).await;
    let expected = [of(&statue, "frozen_position flag open"), of(&jumper, "teleports flag open")];
    assert_eq!(shown(&admin).await, expected);
    let found = cases(&admin).await;
    assert!(found[0]["reasons"]["minutes"].as_u64() >= Some(5), "{}", found[0]);
    assert!(found[1]["reasons"]["farthestMetres"].as_u64() >= Some(19_000), "{}", found[1]);
    // A second look is the same case.
    watched(&server).await;
    assert_eq!(shown(&admin).await, expected);

    let said = said_of(&server, &admin, &all).await;
    is_lowered(&said[0], "teleports", 0.3);
    is_lowered(&said[1], "frozen_position", 0.3);
    is_as_usual(&said[2]);
    assert!(said[0]["score"].as_f64() < said[2]["score"].as_f64(), "{said:?}");
    for driver in all {
        // He is not told, and sees nothing of it.
        driver.get("/admin/fraud").await.refused(403, "FORBIDDEN");
        assert!(!is_told_of_a_hold(driver).await);
    }

    // An operator's word takes the mark away, and the same evidence does not bring it back.
    let path = format!("/admin/fraud/{}/decide", text(&found[1]["id"]));
    let word = json!({"decision": "clear", "reason": "a broken receiver"});
    admin.post(&path, word).await.data();
    watched(&server).await;
    let said = said_of(&server, &admin, &all).await;
    is_as_usual(&said[0]);
    is_lowered(&said[1], "frozen_position", 0.3);
    let expected =
        [of(&statue, "frozen_position flag open"), of(&jumper, "teleports flag cleared")];
    assert_eq!(shown(&admin).await, expected);
    server.check_invariants().await;
}

/// Around a block, forty places of it, each off by the noise of a receiver.
fn round_the_block(dice: &Dice) -> Vec<(f64, f64)> {
    let place = |step: u32| {
        let turn = f64::from(step) / 40.0 * std::f64::consts::TAU;
        let metres = |along: f64| 150.0 * along + 6.0 * (dice.unit() - 0.5);
        let north = far_from(CAIRO, metres(turn.sin())).0;
        (north, CAIRO.1 + metres(1.0 - turn.cos()) / 96_300.0)
    };
    (0..40).map(place).collect()
}

/// Drives a trip along these places; its id.
async fn drive(
    server: &Server,
    clock: &Clock,
    driver: &Person,
    wheel: &mut Socket,
    places: &[(f64, f64)],
) -> String {
    report(wheel, clock, CAIRO, 0.0).await;
    let rider = Person::rider(server).await;
    let trip = text(&rider.request_trip(CAIRO).await.data()["tripId"]);
    wheel.wait(|frame| frame["type"] == "offer" && frame["data"]["tripId"] == json!(trip)).await;
    wheel.ok("offer.respond", json!({"tripId": trip, "action": "accept"})).await;
    let step = async |status: &str| {
        let path = format!("/trips/{trip}/status");
        driver.post(&path, json!({"status": status})).await.data();
    };
    step("arrived").await;
    step("started").await;
    for at in places {
        clock.advance(Duration::from_secs(3));
        report(wheel, clock, *at, 28.0).await;
    }
    step("completed").await;
    clock.advance(Duration::from_secs(3));
    trip
}

#[tokio::test(flavor = "multi_thread")]
async fn who_drives_the_same_metres_twice_is_found_and_then_barred() {
    let (server, clock) = start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let mut wheel = Socket::listen(&server, &driver).await;
    let dice = Dice::seeded(7);
    let track = round_the_block(&dice);
    let first = drive(&server, &clock, &driver, &mut wheel, &track).await;
    // The same block again, as a car drives it.
    drive(&server, &clock, &driver, &mut wheel, &round_the_block(&dice)).await;
    watched(&server).await;
    assert_eq!(shown(&admin).await, []);

    let second = drive(&server, &clock, &driver, &mut wheel, &track).await;
    // No job ran for two hours, in which he was not heard.
    let flows = server.running().flows();
    flows.fleet.flush().await;
    let mut owner = storage::testing::owner(&flows.db).await;
    let away = "UPDATE driver_latest SET recorded_at = recorded_at - interval '2 hours'";
    owner.execute(away).await.expect("the owner may");
    watched(&server).await;
    assert_eq!(shown(&admin).await, [of(&driver, "replayed_track flag open")]);
    // What a job leaves that dies before it opens a case: its next run opens it.
    for table in ["driver_conduct", "fraud_cases"] {
        let sql = sqlx::AssertSqlSafe(format!("DELETE FROM {table}"));
        owner.execute(sql).await.expect("the owner may");
    }
    assert_eq!(shown(&admin).await, []);
    watched(&server).await;
    assert_eq!(shown(&admin).await, [of(&driver, "replayed_track flag open")]);
    let reasons = cases(&admin).await[0]["reasons"].clone();
    assert_eq!((&reasons["last"], &reasons["of"]), (&json!(second), &json!(first)), "{reasons}");
    report(&mut wheel, &clock, CAIRO, 0.0).await;
    is_lowered(&said_of(&server, &admin, &[&driver]).await[0], "replayed_track", 0.3);

    // Again, and his money waits; an operator confirms it, and he is asked no more.
    drive(&server, &clock, &driver, &mut wheel, &track).await;
    watched(&server).await;
    assert_eq!(shown(&admin).await, [of(&driver, "replayed_track hold open")]);
    assert!(is_told_of_a_hold(&driver).await);
    let path = format!("/admin/fraud/{}/decide", text(&cases(&admin).await[0]["id"]));
    admin.post(&path, json!({"decision": "confirm", "reason": "a film of a trip"})).await.data();
    report(&mut wheel, &clock, CAIRO, 0.0).await;
    let trip = Person::rider(&server).await.request_trip(CAIRO).await.data()["tripId"].clone();
    let verdict = until("the trace", async || {
        let path = format!("/admin/trips/{}/dispatch-trace", text(&trip));
        let trace = admin.get(&path).await.data()["trace"].clone();
        trace.as_array()?.first().map(|row| row["verdict"].clone())
    });
    assert_eq!(verdict.await, "fraud");
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_the_long_trips_and_leaves_the_short_ones_is_found() {
    let (server, clock) = start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    // He may owe the commission of many cash trips.
    let money = json!({"amount": 2000, "reason": "test money"});
    admin.post(&format!("/admin/wallets/{}/adjust", driver.id), money).await.data();
    let mut wheel = Socket::listen(&server, &driver).await;
    for number in 0..44_u32 {
        report(&mut wheel, &clock, CAIRO, 0.0).await;
        let dear = number % 2 == 0;
        let metres = if dear { 9_000.0 } else { 1_500.0 } + f64::from(number) * 20.0;
        let body = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, metres)),
            "vehicleType": "economy"});
        let rider = Person::rider(&server).await;
        let trip = text(&rider.post("/trips/request", body).await.data()["tripId"]);
        wheel
            .wait(|frame| frame["type"] == "offer" && frame["data"]["tripId"] == json!(trip))
            .await;
        let action = if dear { "accept" } else { "decline" };
        wheel.ok("offer.respond", json!({"tripId": trip, "action": action})).await;
        if dear {
            for status in ["arrived", "started", "completed"] {
                let path = format!("/trips/{trip}/status");
                driver.post(&path, json!({"status": status})).await.data();
            }
        } else {
            rider.post(&format!("/trips/{trip}/cancel-search"), json!({})).await.data();
        }
        clock.advance(Duration::from_secs(5));
    }
    watched(&server).await;
    assert_eq!(shown(&admin).await, [of(&driver, "cherry_picking flag open")]);
    let price = cases(&admin).await[0]["reasons"]["price"].clone();
    assert_eq!(price["dear"], json!({"offers": 22, "taken": 22}), "{price}");
    assert_eq!(price["cheap"], json!({"offers": 22, "taken": 0}), "{price}");
    report(&mut wheel, &clock, CAIRO, 0.0).await;
    is_lowered(&said_of(&server, &admin, &[&driver]).await[0], "cherry_picking", 0.1);
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_looked_at_where_that_is_switched_off() {
    let scheduled = async |watches_driving: bool| {
        let server = Server::with(|setup| setup.fraud.watches_driving = watches_driving).await;
        let mut owner = storage::testing::owner(&server.running().flows().db).await;
        let names = until("the schedules", async || {
            let names = sqlx::query_scalar("SELECT name FROM job_schedules ORDER BY name");
            let names: Vec<String> = names.fetch_all(&mut owner).await.expect("they can be read");
            // The last that is written down.
            names.iter().any(|name| name == "sweep_idempotency_keys").then_some(names)
        });
        let names = names.await.into_iter().filter(|name| name.starts_with("conduct"));
        names.collect::<Vec<_>>()
    };
    assert_eq!(scheduled(true).await, ["conduct_answers", "conduct_tracks"]);
    assert_eq!(scheduled(false).await, [""; 0]);
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
