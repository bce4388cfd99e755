//! Prices and fences as operators keep them: in force with their answer, for whom they are meant,
//! and never for a trip that was promised before.

use serde_json::{Value, json};

use crate::harness::{CAIRO, Person, Reply, Server, far_from, point};

/// A flat city's trip costs this much.
const PRICE: i64 = 20;

/// A square of some kilometres around `at`.
fn square(at: (f64, f64), half_degrees: f64) -> Value {
    let corner = |up: f64, right: f64| point((at.0 + up, at.1 + right));
    let h = half_degrees;
    json!([corner(h, h), corner(h, -h), corner(-h, -h), corner(-h, h)])
}

async fn estimate(rider: &Person, from: (f64, f64)) -> Reply {
    let body = json!({"pickup": point(from), "destination": point(far_from(from, 3000.0)),
        "vehicleTypes": ["economy"]});
    rider.post("/pricing/estimate", body).await
}

/// Price, and the reasons as `kind name multiplier`.
async fn price(rider: &Person, from: (f64, f64)) -> (Value, Vec<String>) {
    let reply = estimate(rider, from).await;
    let economy = &reply.data()["estimates"][0];
    let reasons = economy["breakdown"]["reasons"].as_array().expect("a list").clone();
    let reason = |one: &Value| {
        let text = |name: &str| one[name].as_str().unwrap_or("-").to_owned();
        format!("{} {} {}", text("kind"), text("name"), one["multiplier"])
    };
    (economy["price"].clone(), reasons.iter().map(reason).collect())
}

fn tariff(base: f64, from: Option<String>) -> Value {
    json!({"vehicleType": "economy", "baseFare": base, "perKm": 0, "perMinute": 0,
        "minimumFare": 0, "commissionPercent": 17.5, "validFrom": from, "reason": "fuel costs more"})
}

fn in_days(days: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days)).to_string()
}

fn id(reply: &Reply, of: &str) -> String {
    reply.data()[of]["id"].as_str().expect("an id").to_owned()
}

/// The same corners, as far as numbers print.
fn same(one: &Value, other: &Value) -> bool {
    let corners = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (one, other) = (corners(one), corners(other));
    let near = |a: &Value, b: &Value| {
        let apart = a.as_f64().zip(b.as_f64()).map_or(f64::MAX, |(a, b)| (a - b).abs());
        apart < 1e-9
    };
    let same = |(a, b): (&Value, &Value)| near(&a["lat"], &b["lat"]) && near(&a["lng"], &b["lng"]);
    one.len() == other.len() && one.iter().zip(&other).all(same)
}

async fn act(admin: &Person, path: &str) -> Reply {
    admin.post(path, json!({"reason": "a word about it"})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tariff_is_changed_scheduled_and_taken_back_and_a_quote_stands() {
    let server = Server::where_trips_cost(PRICE).await;
    let (admin, rider) = (Person::admin(&server).await, Person::rider(&server).await);
    let quoted = estimate(&rider, CAIRO).await.data()["estimates"][0].clone();
    assert_eq!(quoted["price"], PRICE);

    let changed = admin.post("/admin/cities/1/tariffs", tariff(30.0, None)).await;
    assert_eq!(changed.status, 201, "{changed:?}");
    assert_eq!(price(&rider, CAIRO).await, (json!(30), vec![]));
    let coming = admin.post("/admin/cities/1/tariffs", tariff(40.0, Some(in_days(7)))).await;
    let coming = id(&coming, "tariff");
    assert_eq!(price(&rider, CAIRO).await.0, json!(30));

    // What was promised before is what is paid.
    let body = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 3000.0)),
        "vehicleType": "economy", "quoteId": quoted["quoteId"], "price": quoted["price"]});
    let booked = rider.post("/trips/request", body).await;
    assert_eq!(booked.data()["price"], PRICE, "{booked:?}");
    let trip = booked.data()["tripId"].as_str().expect("an id");
    rider.post(&format!("/trips/{trip}/cancel-search"), json!({})).await.data();

    let list = admin.get("/admin/cities/1/tariffs").await;
    let economy: Vec<Value> = list.data()["tariffs"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|one| one["vehicleType"] == "economy")
        .map(|one| json!([one["baseFare"], one["commissionPercent"], one["validUntil"].is_null()]))
        .collect();
    assert_eq!(economy, [json!([30, 17.5, false]), json!([40, 17.5, true])]);
    act(&admin, &format!("/admin/tariffs/{coming}/withdraw")).await.data();
    act(&admin, &format!("/admin/tariffs/{coming}/withdraw")).await.refused(404, "NOT_FOUND");
    let begun = id(&changed, "tariff");
    let refused = act(&admin, &format!("/admin/tariffs/{begun}/withdraw")).await;
    refused.refused(409, "INVALID_TRANSITION");

    let past = admin.post("/admin/cities/1/tariffs", tariff(1.0, Some(in_days(-1)))).await;
    past.refused(400, "VALIDATION_FAILED");
    let nowhere = admin.post("/admin/cities/99/tariffs", tariff(1.0, None)).await;
    nowhere.refused(404, "NOT_FOUND");
    let mut wrong = tariff(1.0, None);
    wrong["commissionPercent"] = json!(17.555);
    wrong["perKm"] = json!(-1);
    wrong["reason"] = json!(" ");
    let refused = admin.post("/admin/cities/1/tariffs", wrong).await;
    refused.refused(400, "VALIDATION_FAILED");
    let fields = refused.body["error"]["details"]["fields"].as_array().expect("fields").len();
    assert_eq!(fields, 3, "{refused:?}");

    let changes = admin.get("/admin/cities/1/changes?subject=tariff&limit=2").await;
    let newest = changes.data()["changes"].as_array().expect("a list");
    assert!(newest.iter().all(|one| one["actorId"] == json!(admin.id)), "{newest:?}");
    assert!(newest.iter().all(|one| one["reason"] == "a word about it"), "{newest:?}");
    let log = admin.get("/admin/audit?action=tariff.withdraw").await;
    assert_eq!(log.data()["entries"][0]["object"]["id"], json!(coming));
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_and_events_multiply_and_say_why() {
    let server = Server::where_trips_cost(PRICE).await;
    let (admin, rider) = (Person::admin(&server).await, Person::rider(&server).await);
    let other = Person::admin(&server).await;
    let hours = json!({"startHour": 0, "endHour": 0, "multiplier": 1.25, "name": "Holiday",
        "reason": "the feast"});
    let hours = id(&admin.post("/admin/cities/1/hours", hours).await, "hours");
    assert_eq!(price(&rider, CAIRO).await, (json!(25), vec!["hours Holiday 1.25".to_owned()]));

    let event = |multiplier: f64, name: &str| {
        json!({"name": name, "corners": square(CAIRO, 0.01), "multiplier": multiplier,
            "endsAt": in_days(1), "reason": "a match"})
    };
    let booked = admin.post("/admin/cities/1/events", event(2.0, "Match")).await;
    let reasons = vec!["hours Holiday 1.25".to_owned(), "event Match 2.0".to_owned()];
    assert_eq!(price(&rider, CAIRO).await, (json!(50), reasons));
    let away = far_from(CAIRO, 5000.0);
    assert_eq!(price(&rider, away).await.0, json!(25));

    // Above three times the fare another admin has to agree.
    let final_ = admin.post("/admin/cities/1/events", event(4.0, "Final")).await;
    assert_eq!(final_.data()["event"]["multiplier"], 3.0);
    assert_eq!(final_.data()["event"]["askedMultiplier"], 4.0);
    assert_eq!(price(&rider, CAIRO).await.0, json!(75));
    let approve = format!("/admin/events/{}/approve", id(&final_, "event"));
    act(&admin, &approve).await.refused(403, "SECOND_ADMIN_NEEDED");
    assert_eq!(act(&other, &approve).await.data()["event"]["approvedBy"], json!(other.id));
    act(&other, &approve).await.refused(409, "INVALID_TRANSITION");
    assert_eq!(price(&rider, CAIRO).await.0, json!(100));

    for event in [&final_, &booked] {
        let path = format!("/admin/events/{}/end", id(event, "event"));
        act(&admin, &path).await.data();
        act(&admin, &path).await.refused(409, "INVALID_TRANSITION");
    }
    act(&admin, &format!("/admin/hours/{hours}/end")).await.data();
    assert_eq!(price(&rider, CAIRO).await, (json!(PRICE), vec![]));
    assert_eq!(admin.get("/admin/cities/1/hours").await.data()["hours"], json!([]));
    let events = admin.get("/admin/cities/1/events?limit=1").await;
    assert_eq!(events.data()["events"][0]["name"], "Final");
    assert!(events.data()["nextCursor"].is_string());

    let mut wrong = event(5.01, "Too much");
    wrong["corners"] = square(far_from(CAIRO, 200_000.0), 0.01);
    admin.post("/admin/cities/1/events", wrong.clone()).await.refused(400, "VALIDATION_FAILED");
    wrong["multiplier"] = json!(1.5);
    let refused = admin.post("/admin/cities/1/events", wrong).await;
    assert_eq!(refused.body["error"]["details"]["fields"][0]["code"], "outside_city");
}

#[tokio::test(flavor = "multi_thread")]
async fn fences_are_drawn_changed_and_disabled() {
    let server = Server::where_trips_cost(PRICE).await;
    let (admin, rider) = (Person::admin(&server).await, Person::rider(&server).await);
    let fence = |kind: &str, corners: Value| json!({"kind": kind, "name": "Parliament", "corners": corners, "reason": "a visit"});
    let drawn =
        admin.post("/admin/cities/1/fences", fence("restricted", square(CAIRO, 0.01))).await;
    assert_eq!(drawn.status, 201, "{drawn:?}");
    let refused = estimate(&rider, CAIRO).await;
    refused.refused(409, "RESTRICTED_ZONE");
    assert_eq!(refused.body["error"]["details"]["zone"], "Parliament");
    rider.request_trip(CAIRO).await.refused(409, "RESTRICTED_ZONE");

    let path = format!("/admin/fences/{}", id(&drawn, "fence"));
    let moved = square(far_from(CAIRO, 8000.0), 0.01);
    let changed = admin.post(&path, fence("restricted", moved.clone())).await;
    assert!(same(&changed.data()["fence"]["corners"], &moved), "{changed:?}");
    assert_eq!(price(&rider, CAIRO).await.0, json!(PRICE));
    estimate(&rider, far_from(CAIRO, 8000.0)).await.refused(409, "RESTRICTED_ZONE");
    let other_kind = admin.post(&path, fence("airport", moved)).await;
    assert_eq!(other_kind.body["error"]["details"]["fields"][0]["code"], "fixed");
    act(&admin, &format!("{path}/disable")).await.data();
    assert_eq!(price(&rider, far_from(CAIRO, 8000.0)).await.0, json!(PRICE));
    act(&admin, &format!("{path}/disable")).await.refused(409, "INVALID_TRANSITION");
    admin
        .post(&path, fence("restricted", square(CAIRO, 0.01)))
        .await
        .refused(409, "INVALID_TRANSITION");

    let served = fence("service_area", square(CAIRO, 0.02));
    let served = id(&admin.post("/admin/cities/1/fences", served).await, "fence");
    estimate(&rider, far_from(CAIRO, 5000.0)).await.refused(409, "OUTSIDE_SERVICE_AREA");
    assert_eq!(price(&rider, CAIRO).await.0, json!(PRICE));
    act(&admin, &format!("/admin/fences/{served}/disable")).await.data();

    let mut zone = fence("surge", square(CAIRO, 0.02));
    let refused = admin.post("/admin/cities/1/fences", zone.clone()).await;
    assert_eq!(refused.body["error"]["details"]["fields"][0]["code"], "required");
    zone["multiplier"] = json!(1.5);
    admin.post("/admin/cities/1/fences", zone).await.data();
    let reasons = vec!["surge_zone Parliament 1.5".to_owned()];
    assert_eq!(price(&rider, CAIRO).await, (json!(30), reasons));
    let place = format!("/pricing/surge-map?lat={}&lng={}", CAIRO.0, CAIRO.1);
    for person in [&admin, &rider] {
        let zones = person.get(&place).await.data()["zones"].clone();
        assert_eq!(
            (&zones[0]["name"], &zones[0]["multiplier"]),
            (&json!("Parliament"), &json!(1.5))
        );
    }
    let list = admin.get("/admin/cities/1/fences?limit=100").await;
    let list = list.data()["fences"].as_array().expect("a list").clone();
    let disabled: Vec<bool> = list.iter().map(|one| !one["disabledAt"].is_null()).collect();
    assert_eq!(disabled, [false, true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_polygon_of_the_city_is_refused() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let (a, b, c) = (CAIRO, far_from(CAIRO, 1000.0), (CAIRO.0, CAIRO.1 + 0.01));
    let d = (b.0, c.1);
    let many: Vec<Value> = (0..501).map(|n| point(far_from(CAIRO, f64::from(n)))).collect();
    let far = far_from(CAIRO, 100_000.0);
    for (corners, field, code) in [
        (json!([point(a), point(b)]), "corners", "too_few"),
        (json!([point(a), point(b), point(a)]), "corners", "too_few"),
        (json!([point(a), point(d), point(b), point(c)]), "corners", "crosses_itself"),
        (json!(many), "corners", "too_many"),
        (json!([point(a), point(b), point(far)]), "corners", "crosses_itself"),
        (json!([point(a), point(c), point(far)]), "corners[2]", "outside_city"),
        (json!([point(a), {"lat": 91, "lng": 0}, point(c)]), "corners[1].lat", "out_of_range"),
    ] {
        let body = json!({"kind": "airport", "name": "x", "corners": corners, "reason": "y"});
        let refused = admin.post("/admin/cities/1/fences", body).await;
        refused.refused(400, "VALIDATION_FAILED");
        let said = &refused.body["error"]["details"]["fields"][0];
        assert_eq!((&said["field"], &said["code"]), (&json!(field), &json!(code)), "{said}");
    }
    // Closed or not is the same fence.
    let ring = json!([point(a), point(b), point(d), point(a)]);
    let body = json!({"kind": "airport", "name": "x", "corners": ring, "reason": "y"});
    let drawn = admin.post("/admin/cities/1/fences", body).await;
    let three = json!([point(a), point(b), point(d)]);
    assert!(same(&drawn.data()["fence"]["corners"], &three), "{drawn:?}");
}
