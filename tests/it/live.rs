//! Operators see a city at work: over the socket, and in a browser.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{
    ADMIN, Browser, CAIRO, Folder, Outside, Person, Program, Server, Socket, create_admin,
    far_from, online_driver, program,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_follows_a_city_and_nobody_else_does() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    let mut seat = Socket::open(&server, &rider).await;
    let refused = seat.call("live.subscribe", json!({"city": 1})).await;
    assert_eq!(refused["error"]["code"], "FORBIDDEN", "{refused}");
    rider.get("/live/map").await.refused(403, "FORBIDDEN");

    let driver = online_driver(&server, &admin, CAIRO).await;
    let mut desk = Socket::open(&server, &admin).await;
    let nowhere = desk.call("live.subscribe", json!({"city": 999})).await;
    assert_eq!(nowhere["error"]["code"], "NOT_FOUND", "{nowhere}");
    assert_eq!(desk.ok("live.subscribe", json!({})).await["room"], "live:1");
    let first = desk.next("live.update").await["data"].clone();
    assert_eq!(
        (&first["whole"], &first["drivers"][0]["state"]),
        (&json!(true), &json!("available"))
    );
    assert_eq!(first["counters"]["drivers"]["available"], 1);

    let mut wheel = Socket::open(&server, &driver).await;
    let trip = rider.request_trip(CAIRO).await.data()["tripId"].clone();
    let asked = desk.wait(|frame| lists(frame, "requests", &trip)).await;
    assert_eq!(asked["data"]["counters"]["waiting"], 1, "{asked}");
    wheel.next("offer").await;
    wheel.ok("offer.respond", json!({"tripId": trip, "action": "accept"})).await;
    let taken = desk.wait(|frame| lists(frame, "trips", &trip)).await;
    assert_eq!(taken["data"]["trips"][0]["driverId"], driver.id.as_str());
    for status in ["arrived", "started", "completed"] {
        wheel.ok("trip.status", json!({"tripId": trip, "status": status})).await;
    }
    let ended = desk.wait(|frame| lists(frame, "ended", &trip)).await;
    assert_eq!(ended["data"]["ended"][0]["status"], "completed");
    assert_eq!(ended["data"]["counters"]["completed"], 1);

    let map = admin.get("/live/map?city=1").await.data().clone();
    assert_eq!(map["city"]["timeZone"], "Africa/Cairo");
    assert_eq!(map["zones"]["type"], "FeatureCollection");
    admin.get("/live/map?city=999").await.refused(404, "NOT_FOUND");
}

/// Is the trip among these of a `live.update`?
fn lists(frame: &Value, part: &str, trip: &Value) -> bool {
    let listed = frame["data"][part].as_array();
    frame["type"] == "live.update"
        && listed.is_some_and(|listed| listed.iter().any(|entry| entry["tripId"] == *trip))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_the_city_and_goes_on_after_a_crash() {
    let dir = Folder::new();
    let city = Program::start(&dir.0).await;
    let server = Outside::new(city.address);
    create_admin(&dir.0);
    let admin = Person::log_in(&server, ADMIN, "tahrir99").await;
    for step in 0..4 {
        online_driver(&server, &admin, far_from(CAIRO, 300.0 * f64::from(step))).await;
    }
    let (rider, waiting) = (Person::rider(&server).await, Person::rider(&server).await);
    let driver = online_driver(&server, &admin, far_from(CAIRO, 9000.0)).await;
    crate::races::started_trip_at(&server, &rider, &driver, far_from(CAIRO, 9000.0)).await;
    waiting.request_trip(far_from(CAIRO, 40_000.0)).await.data();

    let browser = Browser::start().await;
    let link = link(&dir, &server);
    let mut page = browser.open(&link).await;
    page.wait_for("document.documentElement.dataset.live === 'live'").await;
    page.wait_for("smartlineLive.drivers() === 5 && smartlineLive.trips() === 1").await;
    page.wait_for("smartlineLive.requests() === 1").await;
    let said = "document.getElementById('counter-busy').textContent.trim() === '1'";
    page.wait_for(said).await;
    assert_eq!(page.evaluate("location.hash").await, "", "the code is gone from the address");
    page.wait_for(PAINTED).await;
    assert!(page.screenshot().await.starts_with(b"\x89PNG"));
    assert_eq!(page.errors().await, &[] as &[String]);

    city.kill();
    page.wait_for("document.documentElement.dataset.live === 'lost'").await;
    let city = Program::start_at(&dir.0, server.address).await;
    page.wait_for("document.documentElement.dataset.live === 'live'").await;
    page.wait_for("smartlineLive.epoch() > 1 && smartlineLive.trips() === 1").await;
    city.stop();
}

/// Something bright was drawn on one of the page's canvases.
const PAINTED: &str = "[...document.querySelectorAll('canvas')].some(canvas => {
    if (!canvas.width || !canvas.height) return false;
    const dots = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    for (let i = 0; i < dots.length; i += 4) {
        if (dots[i + 3] > 200 && dots[i] + dots[i + 1] + dots[i + 2] > 300) return true;
    }
    return false;
})";

/// A link with a one-use code, as an operator asks the program for it.
fn link(dir: &Folder, server: &Outside) -> String {
    let answer = Command::new(program())
        .args(["admin", "--data-dir"])
        .arg(&dir.0)
        .args(["link", "--phone", ADMIN, "--url", &server.url("")])
        .output()
        .expect("the program starts");
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    String::from_utf8(answer.stdout).expect("a link").trim().to_owned()
}
