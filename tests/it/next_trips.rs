//! Whoever drives a rider to his drop-off may be promised the next trip: it waits for that
//! drop-off, and whatever happens to either of the two, nobody waits for ever.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{
    CAIRO, House, Outside, Person, Server, Socket, Victim, far_from, online_driver, point, until,
};
use crate::strategies::{choose, no_lease_is_left, rounds_become};
use crate::strategies_killed::every_offer_ends;

/// Where the first rider gets out: so far from his pickup.
const DROP_OFF_M: f64 = 2_000.0;
/// … and where his driver is when the next one asks.
const NEARLY_M: f64 = 1_800.0;

/// A driver with a rider in the car, who has nearly reached the drop-off; nobody else is there.
struct Ride {
    driver: Person,
    wheel: Socket,
    trip: String,
    drop_off: (f64, f64),
}

impl Ride {
    async fn start(server: &Outside, admin: &Person) -> Self {
        choose(admin, "batched").await;
        let drop_off = far_from(CAIRO, DROP_OFF_M);
        let driver = online_driver(server, admin, CAIRO).await;
        let mut wheel = Socket::listen(server, &driver).await;
        let rider = Person::rider(server).await;
        let body = json!({"pickup": point(CAIRO), "destination": point(drop_off),
            "vehicleType": "economy"});
        let trip = text(&rider.post("/trips/request", body).await.data()["tripId"]);
        wheel.next("offer").await;
        answer(&mut wheel, &trip, "accept").await;
        for status in ["arrived", "started"] {
            step(&mut wheel, &trip, status).await;
        }
        // No farther at a time than a car can be believed to have come.
        for metres in [450.0, 900.0, 1_350.0, NEARLY_M] {
            driver.report(far_from(CAIRO, metres)).await.data();
        }
        Self { driver, wheel, trip, drop_off }
    }

    /// A rider at the drop-off asks, and the driver is asked before he is free.
    async fn next_offer(&mut self, server: &Outside) -> (Person, String) {
        let rider = Person::rider(server).await;
        let trip = text(&rider.request_trip(self.drop_off).await.data()["tripId"]);
        let offer = self.wheel.next("offer").await;
        assert_eq!(offer["data"]["tripId"], trip.as_str());
        assert_eq!(offer["data"]["afterTrip"], self.trip.as_str(), "{offer}");
        (rider, trip)
    }

    async fn accept(&mut self, trip: &str) {
        let answered = answer(&mut self.wheel, trip, "accept").await;
        assert_eq!(answered["data"]["status"], "accepted", "{answered}");
    }

    /// From the drop-off to the end of the next trip.
    async fn drive_on(&mut self, trip: &str) {
        self.driver.report(self.drop_off).await.data();
        for status in ["arrived", "started", "completed"] {
            until(status, async || {
                let data = json!({"tripId": trip, "status": status});
                let said = self.wheel.call("trip.status", data).await;
                (said["type"] == "ack").then_some(())
            })
            .await;
        }
    }
}

async fn answer(wheel: &mut Socket, trip: &str, action: &str) -> Value {
    wheel.call("offer.respond", json!({"tripId": trip, "action": action})).await
}

async fn step(wheel: &mut Socket, trip: &str, status: &str) {
    wheel.ok("trip.status", json!({"tripId": trip, "status": status})).await;
}

/// Names of the trip's events, in order, as its rider was told.
async fn told(rider: &mut Socket, last: &str) -> Vec<String> {
    let mut names = Vec::new();
    while names.last().is_none_or(|name| name != last) {
        names.push(text(&rider.next("trip.event").await["data"]["event"]));
    }
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_near_his_drop_off_is_promised_the_next_trip() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let mut ride = Ride::start(&server, &admin).await;
    let (rider, next) = ride.next_offer(&server).await;
    let mut eyes = Socket::listen(&server, &rider).await;
    eyes.ok("trip.subscribe", json!({"tripId": next, "afterSeq": 1})).await;
    ride.accept(&next).await;
    // It is his, and not yet: he can't be at its pickup, and its rider doesn't see where he drives.
    let view = rider.trip(&next).await;
    assert_eq!((&view["status"], &view["driverId"]), (&json!("accepted"), &json!(ride.driver.id)));
    assert!(view["driver"]["lat"].is_null(), "{view}");
    let early = ride.wheel.call("trip.status", json!({"tripId": next, "status": "arrived"})).await;
    assert_eq!(early["error"]["code"], "INVALID_TRANSITION", "{early}");
    // One next trip, and no more.
    let third = Person::rider(&server).await;
    let waits = text(&third.request_trip(ride.drop_off).await.data()["tripId"]);
    let first = ride.trip.clone();
    step(&mut ride.wheel, &first, "completed").await;
    assert_eq!(told(&mut eyes, "activated").await, ["queued", "activated"]);
    ride.drive_on(&next).await;
    assert_eq!(told(&mut eyes, "completed").await, ["arrived", "started", "completed"]);
    rounds_become(&admin, &next, "accepted").await;
    let trace = admin.get(&format!("/admin/trips/{next}/dispatch-trace")).await.data().clone();
    assert_eq!(trace["rounds"][0]["reproduced"], true, "{trace}");
    third.post(&format!("/trips/{waits}/cancel-search"), json!({})).await;
    let off = ride.driver.post("/drivers/status", json!({"isOnline": false})).await;
    assert_eq!(off.data()["state"], "offline", "nothing holds him");
    no_lease_is_left(&server, &[ride.driver]).await;
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_next_trip_that_is_called_off_or_given_back_leaves_the_ride_as_it_is() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let mut ride = Ride::start(&server, &admin).await;
    // A no, and he is asked for another.
    let (rider, declined) = ride.next_offer(&server).await;
    answer(&mut ride.wheel, &declined, "decline").await;
    rider.post(&format!("/trips/{declined}/cancel-search"), json!({})).await;
    // The rider calls it off, without a fee.
    let (rider, next) = ride.next_offer(&server).await;
    ride.accept(&next).await;
    let path = format!("/trips/{next}/cancel");
    let cancelled = rider.post(&path, json!({"reason": "changed_mind"})).await.data().clone();
    assert!(cancelled["cancelFee"].is_null() || cancelled["cancelFee"] == 0, "{cancelled}");
    // He gives it back, and the search goes on without him.
    let (rider, next) = ride.next_offer(&server).await;
    ride.accept(&next).await;
    let path = format!("/trips/{next}/cancel");
    ride.driver.post(&path, json!({"reason": "vehicle_problem"})).await.data();
    assert_eq!(rider.trip(&next).await["status"], "requested");
    rider.post(&format!("/trips/{next}/cancel-search"), json!({})).await;
    let first = ride.trip.clone();
    step(&mut ride.wheel, &first, "completed").await;
    let off = ride.driver.post("/drivers/status", json!({"isOnline": false})).await;
    assert_eq!(off.data()["state"], "offline", "nothing holds him");
    no_lease_is_left(&server, &[ride.driver]).await;
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drop_off_and_the_answer_to_the_next_offer_may_come_in_any_order() {
    const ROUNDS: usize = 6;
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let mut orders = [0, 0];
    for round in 0..ROUNDS {
        let mut ride = Ride::start(&server, &admin).await;
        let (rider, next) = ride.next_offer(&server).await;
        let (answer, end) =
            (format!("/trips/{next}/driver-response"), format!("/trips/{}/status", ride.trip));
        let accepts = ride.driver.post(&answer, json!({"action": "accept"}));
        let completes = ride.driver.post(&end, json!({"status": "completed"}));
        let (accepted, completed) = match round % 3 {
            0 => {
                let completed = completes.await;
                (accepts.await, completed)
            }
            1 => tokio::join!(accepts, completes),
            _ => {
                let (completed, accepted) = tokio::join!(completes, accepts);
                (accepted, completed)
            }
        };
        completed.data();
        accepted.data();
        ride.drive_on(&next).await;
        assert_eq!(rider.trip(&next).await["status"], "completed");
        let events = server.running().flows().trips.events_since(next.parse().expect("an id"), 0);
        let was_queued = events.await.expect("events").iter().any(|e| e.queued_behind.is_some());
        orders[usize::from(was_queued)] += 1;
        let off = ride.driver.post("/drivers/status", json!({"isOnline": false})).await;
        off.data();
    }
    assert!(orders[0] > 0 && orders[1] > 0, "both ways round: {orders:?}");
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promise_of_the_next_trip_outlives_kill_9() {
    let mut house = House::start(Vec::new()).await;
    let server = house.outside();
    let admin = house.admin().await;
    // Killed while the first trip is driven: it has its end, then comes the next.
    let mut ride = Ride::start(&server, &admin).await;
    let (rider, next) = ride.next_offer(&server).await;
    ride.accept(&next).await;
    house.kill(Victim::Program).await;
    ride.wheel = Socket::listen(&server, &ride.driver).await;
    let early = ride.wheel.call("trip.status", json!({"tripId": next, "status": "arrived"})).await;
    assert_eq!(early["error"]["code"], "INVALID_TRANSITION", "{early}");
    let first = ride.trip.clone();
    ride.driver.report(ride.drop_off).await.data();
    step(&mut ride.wheel, &first, "completed").await;
    ride.drive_on(&next).await;
    assert_eq!(rider.trip(&next).await["status"], "completed");
    ride.driver.post("/drivers/status", json!({"isOnline": false})).await.data();
    // Killed in the middle of an offer of the next: the search is made again.
    let mut ride = Ride::start(&server, &admin).await;
    let (rider, next) = ride.next_offer(&server).await;
    house.kill(Victim::Program).await;
    ride.wheel = Socket::listen(&server, &ride.driver).await;
    ride.driver.report(far_from(CAIRO, NEARLY_M)).await.data();
    let offer = ride.wheel.next("offer").await;
    assert_eq!(offer["data"]["afterTrip"], ride.trip.as_str(), "{offer}");
    ride.accept(&next).await;
    let first = ride.trip.clone();
    step(&mut ride.wheel, &first, "completed").await;
    ride.drive_on(&next).await;
    assert_eq!(rider.trip(&next).await["status"], "completed");
    every_offer_ends(&house).await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_the_drop_off_and_the_next_trips_turn_loses_neither() {
    let mut house = House::start(Vec::new()).await;
    let server = house.outside();
    let admin = house.admin().await;
    let mut ride = Ride::start(&server, &admin).await;
    let (rider, next) = ride.next_offer(&server).await;
    ride.accept(&next).await;
    // Who holds the row holds up its turn, and nothing else.
    let mut owner = house.owner().await;
    let mut held = sqlx::Connection::begin(&mut owner).await.expect("a transaction");
    let lock = sqlx::query("SELECT FROM trips WHERE id = $1::uuid FOR UPDATE").bind(&next);
    lock.execute(&mut *held).await.expect("the lock");
    let first = ride.trip.clone();
    step(&mut ride.wheel, &first, "completed").await;
    assert_eq!(rider.trip(&next).await["status"], "accepted");
    let track = async |person: &Person| {
        let points = person.get(&format!("/trips/{first}/track")).await.data()["points"].clone();
        points.as_array().map_or(0, Vec::len)
    };
    let mut looks = house.owner().await;
    until("the track", async || {
        let kept = sqlx::query("SELECT FROM trip_tracks WHERE trip_id = $1::uuid").bind(&first);
        kept.fetch_optional(&mut looks).await.expect("tracks")
    })
    .await;
    house.fell(Victim::Program).await;
    drop(held);
    house.rise().await;
    ride.wheel = Socket::listen(&server, &ride.driver).await;
    ride.drive_on(&next).await;
    assert_eq!(rider.trip(&next).await["status"], "completed");
    assert!(track(&ride.driver).await > 0, "the track of the first trip is what it was");
    let off = ride.driver.post("/drivers/status", json!({"isOnline": false})).await;
    assert_eq!(off.data()["state"], "offline", "nothing holds him");
    every_offer_ends(&house).await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn riders_at_one_drop_off_share_the_drivers_who_come_and_nobody_is_promised_twice() {
    const RIDES: usize = 4;
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    choose(&admin, "batched").await;
    let mut rides = Vec::new();
    for _ in 0..RIDES {
        rides.push(Ride::start(&server, &admin).await);
    }
    let riders = join_all((0..RIDES * 2).map(|_| Person::rider(&server))).await;
    let drop_off = rides[0].drop_off;
    join_all(riders.iter().map(|rider| rider.request_trip(drop_off))).await;
    let takes = rides.iter_mut().map(async |ride| {
        let offer = ride.wheel.next("offer").await;
        let next = text(&offer["data"]["tripId"]);
        ride.accept(&next).await;
        let first = ride.trip.clone();
        step(&mut ride.wheel, &first, "completed").await;
        ride.drive_on(&next).await;
        next
    });
    let mut done = join_all(takes).await;
    done.sort();
    done.dedup();
    assert_eq!(done.len(), RIDES, "each driver had a next trip of his own");
    server.check_invariants().await;
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
