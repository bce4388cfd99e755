//! An airport: who comes first is asked first, whatever his position does at the edge, however
//! drivers are found, and over a `kill -9`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::harness::{
    CAIRO, Contract, House, Outside, Person, Server, Socket, Victim, far_from, point, until,
};
use crate::strategies::{choose, no_lease_is_left};
use crate::strategies_killed::every_offer_ends;

type Place = (f64, f64);

/// How long a frame may take that must come.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a car says where it is.
const REPORTS: Duration = Duration::from_secs(2);

/// Where drivers wait, metres north of the centre: twenty within the southern edge.
const WAITING_M: f64 = -1_090.0;

/// A square of two kilometres, `metres` north of its centre.
fn at_airport(metres: f64) -> Place {
    far_from(far_from(CAIRO, 12_000.0), metres)
}

/// In the north of it, far from where drivers wait.
fn terminal() -> Place {
    at_airport(1_000.0)
}

/// Its id.
async fn draw_airport(admin: &Person) -> String {
    let centre = at_airport(0.0);
    let corner = |up: f64, right: f64| point((centre.0 + up, centre.1 + right));
    let h = 0.01;
    let corners = json!([corner(h, h), corner(h, -h), corner(-h, -h), corner(-h, h)]);
    let body = json!({"kind": "airport", "name": "Cairo International", "corners": corners,
        "reason": "drivers fight"});
    let made = admin.post("/admin/cities/1/fences", body).await;
    text(&made.data()["fence"]["id"])
}

/// Cars that say where they are, again and again: at the southern edge, now within, now outside by
/// less than the margin.
struct Cars {
    /// Where each of them waits, metres north of the centre; none: it says nothing.
    places: Arc<Mutex<Vec<Option<f64>>>>,
    reports: JoinHandle<()>,
}

impl Drop for Cars {
    fn drop(&mut self) {
        self.reports.abort();
    }
}

impl Cars {
    /// All of them where drivers wait.
    fn waiting(drivers: &[Person]) -> Self {
        Self::at(drivers, &vec![WAITING_M; drivers.len()])
    }

    fn at(drivers: &[Person], metres: &[f64]) -> Self {
        let places: Vec<_> = metres.iter().map(|metres| Some(*metres)).collect();
        let places = Arc::new(Mutex::new(places));
        let (drivers, shared) = (drivers.to_vec(), Arc::clone(&places));
        let reports = tokio::spawn(async move {
            let mut tick = tokio::time::interval(REPORTS);
            for round in 0_u32.. {
                tick.tick().await;
                let places: Vec<Option<f64>> =
                    shared.lock().expect("nobody panics with it").clone();
                let noise = if round % 2 == 0 { 0.0 } else { -60.0 };
                let said = drivers.iter().zip(places).filter_map(|(driver, place)| {
                    let at = at_airport(place? + noise);
                    Some(driver.report(at))
                });
                join_all(said).await;
            }
        });
        Self { places, reports }
    }

    fn move_to(&self, car: usize, place: Option<f64>) {
        self.places.lock().expect("nobody panics with it")[car] = place;
    }
}

/// The sockets of all drivers, each read all the time.
struct Ears {
    heard: mpsc::Receiver<(usize, Value)>,
    tongue: mpsc::Sender<(usize, Value)>,
    readers: Vec<JoinHandle<()>>,
    /// What came while something else was waited for.
    seen: Vec<(usize, Value)>,
}

impl Drop for Ears {
    fn drop(&mut self) {
        self.readers.iter().for_each(JoinHandle::abort);
    }
}

impl Ears {
    async fn of(server: &Outside, drivers: &[Person]) -> Self {
        let (tongue, heard) = mpsc::channel(4_096);
        let mut ears = Self { heard, tongue, readers: Vec::new(), seen: Vec::new() };
        for (number, driver) in drivers.iter().enumerate() {
            let reader = ears.reader(server, number, driver).await;
            ears.readers.push(reader);
        }
        ears
    }

    async fn reader(&self, server: &Outside, number: usize, driver: &Person) -> JoinHandle<()> {
        let (mut socket, tongue) = (Socket::listen(server, driver).await, self.tongue.clone());
        tokio::spawn(async move {
            while let Ok(frame) = socket.read().await {
                if tongue.send((number, frame)).await.is_err() {
                    return;
                }
            }
        })
    }

    /// The driver's socket breaks, and he opens another one.
    async fn reconnect(&mut self, server: &Outside, number: usize, driver: &Person) {
        self.readers[number].abort();
        self.readers[number] = self.reader(server, number, driver).await;
    }

    async fn wait(&mut self, what: &str, wanted: impl Fn(usize, &Value) -> bool) -> (usize, Value) {
        if let Some(place) = self.seen.iter().position(|(number, frame)| wanted(*number, frame)) {
            return self.seen.remove(place);
        }
        loop {
            let heard = timeout(PATIENCE, self.heard.recv()).await;
            let Ok(Some((number, frame))) = heard else {
                panic!("{what} never came; seen so far: {:#?}", self.seen)
            };
            if wanted(number, &frame) {
                return (number, frame);
            }
            self.seen.push((number, frame));
        }
    }

    /// Who is offered this trip next.
    async fn offered(&mut self, trip: &str) -> usize {
        let of_trip =
            |_, frame: &Value| frame["type"] == "offer" && frame["data"]["tripId"] == trip;
        self.wait("an offer", of_trip).await.0
    }
}

async fn answer(driver: &Person, trip: &str, action: &str) {
    let path = format!("/trips/{trip}/driver-response");
    driver.post(&path, json!({"action": action})).await.data();
}

/// Somebody books at the terminal; his trip.
async fn booked(server: &Outside) -> String {
    let rider = Person::rider(server).await;
    text(&rider.request_trip(terminal()).await.data()["tripId"])
}

/// Who stands there, by the numbers of these drivers: `0 1 2`.
async fn line(admin: &Person, fence: &str, drivers: &[Person]) -> String {
    let queue = admin.get(&format!("/admin/fences/{fence}/queue")).await.data().clone();
    let number = |queued: &Value| {
        let number = drivers.iter().position(|driver| queued["driverId"] == driver.id.as_str());
        number.map_or("?".to_owned(), |number| number.to_string())
    };
    let numbers: Vec<String> =
        queue["drivers"].as_array().expect("a list").iter().map(number).collect();
    numbers.join(" ")
}

async fn line_becomes(admin: &Person, fence: &str, drivers: &[Person], expected: &str) {
    let mut seen = String::new();
    until(expected, async || {
        let now = line(admin, fence, drivers).await;
        if now != seen {
            eprintln!("the queue: {now}");
            seen.clone_from(&now);
        }
        (now == expected).then_some(())
    })
    .await;
}

/// So many drivers who may work.
async fn approved(server: &Outside, admin: &Person, many: usize) -> Vec<Person> {
    let drivers = join_all((0..many).map(|_| Person::driver(server))).await;
    join_all(drivers.iter().map(|driver| driver.approve(admin, "economy"))).await;
    drivers
}

/// So many who came one after the other, and go on saying where they are.
async fn queued(server: &Outside, admin: &Person, many: usize) -> (Vec<Person>, Cars) {
    let drivers = approved(server, admin, many).await;
    for driver in &drivers {
        driver.go_online(at_airport(WAITING_M)).await.data();
    }
    let cars = Cars::waiting(&drivers);
    (drivers, cars)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_drivers_are_asked_in_the_order_in_which_they_came() {
    let server = Server::with(|setup| {
        setup.fleet.fences.leave_after = Duration::from_secs(1);
    })
    .await;
    let admin = Person::admin(&server).await;
    choose(&admin, "sequential").await;
    let airport = draw_airport(&admin).await;
    // Beside the terminal, and not in the queue: beyond the fence.
    let taxi = approved(&server, &admin, 1).await.remove(0);
    let (drivers, cars) = queued(&server, &admin, 10).await;
    assert_eq!(line(&admin, &airport, &drivers).await, "0 1 2 3 4 5 6 7 8 9");
    taxi.go_online(at_airport(1_300.0)).await.data();
    let _taxi = Cars::at(std::slice::from_ref(&taxi), &[1_300.0]);
    let all: Vec<Person> = drivers.iter().chain([&taxi]).cloned().collect();
    let mut ears = Ears::of(&server, &all).await;

    // The first says yes, the second no once: he keeps his place.
    let first = booked(&server).await;
    assert_eq!(ears.offered(&first).await, 0);
    answer(&all[0], &first, "accept").await;
    let second = booked(&server).await;
    assert_eq!(ears.offered(&second).await, 1);
    answer(&all[1], &second, "decline").await;
    assert_eq!(ears.offered(&second).await, 2);
    answer(&all[2], &second, "accept").await;
    line_becomes(&admin, &airport, &drivers, "1 3 4 5 6 7 8 9").await;
    // The second no brings him to the end.
    let third = booked(&server).await;
    assert_eq!(ears.offered(&third).await, 1);
    answer(&all[1], &third, "decline").await;
    assert_eq!(ears.offered(&third).await, 3);
    answer(&all[3], &third, "accept").await;
    line_becomes(&admin, &airport, &drivers, "4 5 6 7 8 9 1").await;
    // A broken connection costs nothing; to go offline or to drive away does.
    ears.reconnect(&server, 4, &all[4]).await;
    let fourth = booked(&server).await;
    assert_eq!(ears.offered(&fourth).await, 4);
    answer(&all[4], &fourth, "accept").await;
    cars.move_to(5, None);
    all[5].post("/drivers/status", json!({"isOnline": false})).await.data();
    cars.move_to(6, Some(-1_400.0));
    line_becomes(&admin, &airport, &drivers, "7 8 9 1").await;
    let fifth = booked(&server).await;
    assert_eq!(ears.offered(&fifth).await, 7);
    answer(&all[7], &fifth, "accept").await;

    tell_their_places(&mut ears, &all).await;
    explained(&server, &admin, &fifth, (&all[7], &taxi)).await;
    no_lease_is_left(&server, &all).await;
    server.check_invariants().await;
}

/// After all that, 8 is the first of three, and 1 the last.
async fn tell_their_places(ears: &mut Ears, drivers: &[Person]) {
    for (number, place) in [(8, 1), (9, 2), (1, 3)] {
        let (_, frame) = ears
            .wait("his place", |of, frame| {
                of == number
                    && frame["type"] == "queue.position"
                    && (&frame["data"]["position"], &frame["data"]["waiting"])
                        == (&json!(place), &json!(3))
            })
            .await;
        assert_eq!(Contract::asyncapi().frame_faults("down", &frame), [""; 0]);
        let own = drivers[number].get("/drivers/queue").await.data()["queue"].clone();
        assert_eq!(
            (&own["position"], &own["airport"]),
            (&json!(place), &json!("Cairo International"))
        );
    }
    assert_eq!(lost(ears, 7, "trip").await, Value::Null);
    assert_eq!(lost(ears, 6, "left").await, Value::Null);
    assert!(lost(ears, 1, "refused").await.is_u64(), "he is told his place at the end");
    assert_eq!(drivers[7].get("/drivers/queue").await.data()["queue"], Value::Null);
}

/// What he was told when he had lost his place for this reason: the one he has now.
async fn lost(ears: &mut Ears, number: usize, why: &str) -> Value {
    let gone = |of: usize, frame: &Value| {
        of == number && frame["type"] == "queue.position" && frame["data"]["reason"] == why
    };
    ears.wait(why, gone).await.1["data"]["position"].clone()
}

/// The trace says who stood where, and that another's car beside the rider had to wait.
async fn explained(server: &Server, admin: &Person, trip: &str, who: (&Person, &Person)) {
    server.running().flows().dispatch.flush().await;
    let trace = admin.get(&format!("/admin/trips/{trip}/dispatch-trace")).await.data().clone();
    let rounds = trace["rounds"].as_array().expect("rounds");
    assert!(rounds.iter().all(|round| round["reproduced"] == true), "{rounds:#?}");
    let said = |driver: &Person| {
        let rows = trace["trace"].as_array().expect("rows");
        let row = rows.iter().find(|row| row["driverId"] == driver.id.as_str());
        row.map(|row| (text(&row["verdict"]), row["queuePlace"].clone()))
    };
    assert_eq!(said(who.0), Some(("offered".to_owned(), json!(1))), "{trace:#}");
    assert_eq!(said(who.1), Some(("behind_queue".to_owned(), Value::Null)), "{trace:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn at_once_the_first_five_are_asked() {
    // On a slow machine an offer may pass before its end is seen: nobody goes to the end for it.
    let server = Server::with(|setup| setup.fleet.fences.refusals = 200).await;
    let admin = Person::admin(&server).await;
    draw_airport(&admin).await;
    let (drivers, _cars) = queued(&server, &admin, 7).await;
    let mut ears = Ears::of(&server, &drivers).await;
    let trip = booked(&server).await;
    let mut asked = Vec::new();
    for _ in 0..5 {
        asked.push(ears.offered(&trip).await);
    }
    asked.sort_unstable();
    assert_eq!(asked, [0, 1, 2, 3, 4]);
    answer(&drivers[3], &trip, "accept").await;
    no_lease_is_left(&server, &drivers).await;
    // Those who lost it stand where they stood.
    let next = booked(&server).await;
    let mut asked = Vec::new();
    for _ in 0..5 {
        asked.push(ears.offered(&next).await);
    }
    asked.sort_unstable();
    assert_eq!(asked, [0, 1, 2, 4, 5]);
    answer(&drivers[0], &next, "accept").await;
    no_lease_is_left(&server, &drivers).await;
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_batch_the_oldest_has_the_first() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    choose(&admin, "batched").await;
    let airport = draw_airport(&admin).await;
    let (drivers, _cars) = queued(&server, &admin, 4).await;
    let mut ears = Ears::of(&server, &drivers).await;
    for (number, driver) in drivers.iter().enumerate().take(3) {
        let trip = booked(&server).await;
        assert_eq!(ears.offered(&trip).await, number);
        answer(driver, &trip, "accept").await;
    }
    line_becomes(&admin, &airport, &drivers, "3").await;
    no_lease_is_left(&server, &drivers).await;
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_outlives_the_program() {
    let mut house = House::start(Vec::new()).await;
    let server = house.outside();
    let admin = house.admin().await;
    choose(&admin, "sequential").await;
    let airport = draw_airport(&admin).await;
    let (drivers, cars) = queued(&server, &admin, 5).await;
    let mut ears = Ears::of(&server, &drivers).await;
    let first = booked(&server).await;
    assert_eq!(ears.offered(&first).await, 0);
    drop(cars);
    // Places are written behind: what is lost of them is what a quarter of a second brought.
    let mut owner = house.owner().await;
    until("places that are stored", async || {
        let stored = "SELECT count(*) FROM airport_queue";
        let stored: i64 = sqlx::query_scalar(stored).fetch_one(&mut owner).await.expect("places");
        (stored == 5).then_some(())
    })
    .await;
    drop((owner, ears));
    house.kill(Victim::Program).await;

    // Whose offer was cut off is asked again; the others come back in another order.
    let mut ears = Ears::of(&server, &drivers).await;
    assert_eq!(line(&admin, &airport, &drivers).await, "0 1 2 3 4");
    drivers[0].report(at_airport(WAITING_M)).await.data();
    assert_eq!(ears.offered(&first).await, 0);
    answer(&drivers[0], &first, "accept").await;
    for number in [4, 2, 1, 3] {
        drivers[number].report(at_airport(WAITING_M)).await.data();
    }
    let _cars = Cars::waiting(&drivers);
    line_becomes(&admin, &airport, &drivers, "1 2 3 4").await;
    for (number, driver) in drivers.iter().enumerate().take(5).skip(1) {
        let trip = booked(&server).await;
        assert_eq!(ears.offered(&trip).await, number);
        answer(driver, &trip, "accept").await;
    }
    line_becomes(&admin, &airport, &drivers, "").await;
    every_offer_ends(&house).await;
    house.end().await;
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
