//! Prices are tried on riders: each sees his variant, pays what he was quoted, and is counted once.

use std::time::Duration;

use base::{BusinessDay, Clock};
use serde_json::{Value, json};

use crate::harness::{
    CAIRO, Person, Reply, Server, Socket, far_from, flat_city, online_driver, point,
};

/// What a trip costs everybody, and riders of the variant.
const PRICE: i64 = 20;
const TRIED: i64 = 15;

async fn server() -> Server {
    Server::on(flat_city(PRICE).await, |setup| {
        setup.fleet.cooldown = Some(Duration::ZERO);
        // Its own requests would make the prices of this small town rise.
        setup.surge_every = Duration::from_secs(24 * 3600);
    })
    .await
}

fn in_days(days: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days)).to_string()
}

fn experiment(days: i64) -> Value {
    json!({"name": "Five off", "endsAt": in_days(days), "sharePercent": 100, "reason": "a test",
        "variants": [{"name": "as it is", "weight": 1}, {"name": "five", "weight": 1, "discount": 5}]})
}

async fn estimate(rider: &Person) -> Value {
    let body = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 3000.0)),
        "vehicleTypes": ["economy"]});
    rider.post("/pricing/estimate", body).await.data()["estimates"][0].clone()
}

async fn book(rider: &Person, quote: Option<&Value>) -> Reply {
    let mut body = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 3000.0)),
        "vehicleType": "economy"});
    if let Some(quote) = quote {
        body["quoteId"] = quote.clone();
    }
    rider.post("/trips/request", body).await
}

fn trip(booked: &Reply) -> String {
    booked.data()["tripId"].as_str().expect("an id").to_owned()
}

async fn cancel(rider: &Person, booked: &Reply) {
    let path = format!("/trips/{}/cancel-search", trip(booked));
    rider.post(&path, json!({})).await.data();
}

/// Takes the trip and drives it to its end; what was paid.
async fn drive(driver: &Person, wheel: &mut Socket, trip: &str) -> Value {
    loop {
        let offer = wheel.next("offer").await;
        if offer["data"]["tripId"] == trip {
            break;
        }
    }
    let accept = json!({"action": "accept"});
    driver.post(&format!("/trips/{trip}/driver-response"), accept).await.data();
    for status in ["arrived", "started"] {
        driver.post(&format!("/trips/{trip}/status"), json!({"status": status})).await.data();
    }
    let done = json!({"status": "completed"});
    driver.post(&format!("/trips/{trip}/status"), done).await.data()["finalPrice"].clone()
}

/// Riders with the price and the quote they see, three at least of each variant.
async fn riders(server: &Server) -> (Vec<(Person, Value)>, Vec<(Person, Value)>) {
    let (mut control, mut tried) = (Vec::new(), Vec::new());
    while control.len() < 3 || tried.len() < 3 {
        let rider = Person::rider(server).await;
        let seen = estimate(&rider).await;
        assert_eq!(estimate(&rider).await["price"], seen["price"], "he sees one price");
        let quote = seen["quoteId"].clone();
        match seen["price"].as_i64() {
            Some(PRICE) => control.push((rider, quote)),
            Some(TRIED) => tried.push((rider, quote)),
            _ => panic!("a price of neither: {seen}"),
        }
    }
    (control, tried)
}

#[tokio::test(flavor = "multi_thread")]
async fn riders_pay_what_their_variant_quoted_and_are_counted_once() {
    let server = server().await;
    let admin = Person::admin(&server).await;
    let added = admin.post("/admin/cities/1/experiments", experiment(7)).await;
    assert_eq!(added.status, 201, "{added:?}");
    let id = added.data()["experiment"]["id"].as_str().expect("an id").to_owned();
    let (control, tried) = riders(&server).await;

    // Somebody else's quote, or one with another variant in it, is nobody's.
    book(&control[0].0, Some(&tried[0].1)).await.refused(409, "QUOTE_INVALID");
    let text = tried[1].1.as_str().expect("a text");
    let place = text.len() / 2;
    let other = if &text[place..=place] == "A" { "B" } else { "A" };
    let forged = json!(format!("{}{other}{}", &text[..place], &text[place + 1..]));
    book(&tried[1].0, Some(&forged)).await.refused(409, "QUOTE_INVALID");

    // One of each rides to the end, one of the variant's asks without a quote and lets it be.
    let driver = online_driver(&server, &admin, CAIRO).await;
    let mut wheel = Socket::open(&server, &driver).await;
    for ((rider, quote), price) in [(&control[0], PRICE), (&tried[0], TRIED)] {
        driver.report(CAIRO).await.data();
        let booked = book(rider, Some(quote)).await;
        assert_eq!(booked.data()["price"], price, "{booked:?}");
        assert_eq!(drive(&driver, &mut wheel, &trip(&booked)).await, price);
    }
    let asked = book(&tried[1].0, None).await;
    assert_eq!(asked.data()["price"], TRIED, "{asked:?}");
    cancel(&tried[1].0, &asked).await;

    let results = admin.get(&format!("/admin/experiments/{id}/results")).await;
    let [first, second] = &results.data()["variants"].as_array().expect("a list")[..] else {
        panic!("two variants: {results:?}")
    };
    let counts = |of: &Value| {
        ["riders", "requests", "completedTrips"].map(|name| of[name].as_u64().unwrap_or(u64::MAX))
    };
    assert_eq!(counts(first), [control.len() as u64, 1, 1], "{results:?}");
    assert_eq!(counts(second), [tried.len() as u64, 2, 1], "{results:?}");
    assert_eq!((&second["booked"]["count"], &second["completed"]["count"]), (&2.into(), &1.into()));
    assert_eq!((&second["found"]["count"], &second["found"]["of"]), (&1.into(), &2.into()));
    let mean = second["revenue"]["mean"].as_f64().expect("a mean");
    assert!((mean - TRIED as f64 / tried.len() as f64).abs() < 1e-4, "{results:?}");
    assert!(first["againstControl"].is_null() && second["againstControl"].is_object());
    assert!(second["againstControl"]["booked"]["interval"]["low"].is_number(), "{results:?}");

    // It can't be changed, only ended; what was quoted stands.
    admin
        .post("/admin/cities/1/experiments", experiment(1))
        .await
        .refused(409, "INVALID_TRANSITION");
    let end = format!("/admin/experiments/{id}/end");
    let why = json!({"reason": "seen enough"});
    admin.post(&end, why.clone()).await.data();
    admin.post(&end, why).await.refused(409, "INVALID_TRANSITION");
    assert_eq!(estimate(&tried[2].0).await["price"], PRICE);
    let late = book(&tried[2].0, Some(&tried[2].1)).await;
    assert_eq!(late.data()["price"], TRIED, "{late:?}");
    cancel(&tried[2].0, &late).await;
    let again = admin.post("/admin/cities/1/experiments", experiment(1)).await;
    assert_eq!(again.status, 201, "its time is free: {again:?}");
    let changes = admin.get("/admin/cities/1/changes?subject=experiment").await;
    assert_eq!(changes.data()["changes"].as_array().map(Vec::len), Some(3), "{changes:?}");
    let log = admin.get("/admin/audit?action=experiment.end").await;
    assert_eq!(log.data()["entries"][0]["object"]["id"], json!(id));
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variant_outlives_the_server_and_a_wrong_experiment_is_refused() {
    let server = server().await;
    let admin = Person::admin(&server).await;
    let add = async |change: fn(&mut Value)| {
        let mut body = experiment(7);
        change(&mut body);
        let reply = admin.post("/admin/cities/1/experiments", body).await;
        let fields = reply.body["error"]["details"]["fields"].as_array().cloned();
        let names = fields.unwrap_or_default().into_iter().map(|field| field["field"].clone());
        (reply.status, json!(names.collect::<Vec<Value>>()))
    };
    let wrong = add(|body| {
        body["sharePercent"] = json!(0.001);
        body["variants"][0]["perKmMultiplier"] = json!(0.9);
        body["variants"][1]["perKmMultiplier"] = json!(1.51);
        body["variants"][1]["surgeCap"] = json!(3.1);
        body["variants"][1]["discount"] = json!(100.5);
        body["variants"][1]["weight"] = json!(0);
        body["variants"][1]["name"] = json!("as it is");
    });
    let fields = [
        "sharePercent",
        "variants[1].weight",
        "variants[1].perKmMultiplier",
        "variants[1].surgeCap",
        "variants[1].discount",
        "variants[1].name",
        "variants[0]",
    ];
    assert_eq!(wrong.await, (400, json!(fields)));
    assert_eq!(add(|body| body["variants"] = json!([])).await, (400, json!(["variants"])));
    let past = add(|body| body["startsAt"] = json!("2020-01-01T00:00:00Z")).await;
    assert_eq!(past, (400, json!(["startsAt"])));
    let endless = add(|body| body["endsAt"] = json!("2099-01-01T00:00:00Z")).await;
    assert_eq!(endless, (400, json!(["endsAt"])));

    assert_eq!(add(|_| ()).await.0, 201);
    let (control, tried) = riders(&server).await;
    let phones = [&control[0], &tried[0]].map(|(rider, _)| rider.phone.clone());
    let server = server.restart().await;
    for (phone, price) in phones.into_iter().zip([PRICE, TRIED]) {
        let rider = Person::log_in(&server, &phone, "tahrir99").await;
        assert_eq!(estimate(&rider).await["price"], price);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prices_did_is_reported() {
    let server = server().await;
    let (admin, rider) = (Person::admin(&server).await, Person::rider(&server).await);
    let driver = online_driver(&server, &admin, CAIRO).await;
    let mut wheel = Socket::open(&server, &driver).await;
    let today = BusinessDay::of(Clock::system().now());
    let quotes = [estimate(&rider).await, estimate(&rider).await, estimate(&rider).await];
    let booked = book(&rider, Some(&quotes[0]["quoteId"])).await;
    drive(&driver, &mut wheel, &trip(&booked)).await;

    // A day before and a day after: midnight may come meanwhile.
    let (from, to) = (today.before(), today.next());
    let report = admin.get(&format!("/admin/reports/prices?from={from}&to={to}&city=1")).await;
    let report = report.data();
    let sum = |list: &str, field: &str| {
        let lines = report[list].as_array().expect("a list").iter();
        lines.map(|line| line[field].as_i64().expect("a number")).sum::<i64>()
    };
    assert_eq!((sum("prices", "trips"), sum("prices", "fares")), (1, PRICE), "{report}");
    assert_eq!((sum("acceptance", "shown"), sum("acceptance", "requested")), (3, 1), "{report}");
    assert_eq!((sum("zones", "trips"), sum("earnings", "drivers")), (1, 1), "{report}");
    // 15 % of 20 is the company's.
    assert_eq!(report["earnings"][0]["p50"], 17, "{report}");
    let path = format!("/api/v1/admin/reports/prices?from={from}&to={to}&format=csv");
    let table = server.http.get(server.url(&path)).bearer_auth(&admin.token).send().await;
    let text = table.expect("an answer").text().await.expect("text");
    assert!(text.starts_with("part,day,city,tier") && text.contains("\r\nprices,"), "{text}");
    let elsewhere = admin.get(&format!("/admin/reports/prices?from={from}&to={to}&city=2")).await;
    assert_eq!(elsewhere.data()["prices"], json!([]));
    let long = admin.get("/admin/reports/prices?from=2026-01-01&to=2026-02-01").await;
    long.refused(400, "VALIDATION_FAILED");
    server.check_invariants().await;
}
