//! `kill -9` of the program and of its PostgreSQL around everything that moves a trip's money:
//! afterwards it has moved once, and whoever asks again learns so.

use serde_json::{Value, json};

use crate::harness::{
    Ask, At, CAIRO, FUNDS, Gate, House, Kill, Outside, POSTING, Person, ROUNDS, Reply, Settings,
    far_from, online_driver, point, until,
};
use crate::trip_money::{booked_at, complete, postings_of, started_at, top_up, wallet};

/// Where every trip costs 50, and calling one off that has a driver costs 24 at once.
const CITY: &str = "UPDATE tariffs SET base_fare = 5000, per_km = 0, per_minute = 0, minimum_fare = 0; \
    DELETE FROM time_multipliers; \
    INSERT INTO cancel_rules \
      (city_id, tier, free_cancel_s, cancel_fee, no_show_wait_s, no_show_fee) \
    VALUES (1, 'economy', 0, 2400, 0, 3000)";
/// Between pairs: where a trip was just asked for the next one costs more.
const APART_M: f64 = 6_000.0;

pub struct City {
    pub house: House,
    pub admin: Person,
    pairs: u32,
}

/// A rider and a driver, in a place of their own.
pub struct Pair {
    pub rider: Person,
    pub driver: Person,
    at: (f64, f64),
    server: Outside,
}

impl City {
    pub async fn new() -> Self {
        Self::with(Settings::new()).await
    }

    pub async fn with(settings: Settings) -> Self {
        let house = House::beside(CITY, |_| settings).await;
        let admin = house.admin().await;
        Self { house, admin, pairs: 0 }
    }

    /// A driver on his shift, and a rider who has `pounds`.
    pub async fn pair(&mut self, pounds: f64) -> Pair {
        let at = far_from(CAIRO, f64::from(self.pairs) * APART_M);
        self.pairs += 1;
        let server = self.house.outside();
        let driver = online_driver(&server, &self.admin, at).await;
        let rider = Person::rider(&server).await;
        if pounds > 0.0 {
            top_up(&self.admin, &rider, pounds).await;
        }
        Pair { rider, driver, at, server }
    }

    /// What is known in the end to who asked.
    pub async fn killed(&mut self, mut ask: Ask, gate: Gate, round: (At, Kill)) -> Reply {
        self.house.killed_while_asked(&mut ask, gate, round.0, round.1).await
    }

    /// Everything that was posted about the trip.
    async fn posted(&self, trip: &str) -> Vec<String> {
        postings_of(&mut self.house.owner().await, trip).await
    }
}

impl Pair {
    /// A trip that has a driver.
    pub async fn booked(&self) -> String {
        let asked = booked_at(&self.server, &self.rider, &self.driver, self.at, json!({})).await;
        asked["tripId"].as_str().expect("an id").to_owned()
    }

    /// A trip whose rider sits in the car.
    async fn started(&self, method: &str) -> String {
        let method = json!({"paymentMethod": method});
        started_at(&self.server, &self.rider, &self.driver, self.at, method).await
    }

    /// A trip that was paid in cash; so its driver owes 7.50 of it.
    pub async fn completed(&self) -> String {
        let trip = self.started("cash").await;
        complete(&self.driver, &trip).await;
        trip
    }

    /// Returns when the driver was asked for the trip and has it.
    async fn accepts(&self, trip: &str) {
        let path = format!("/trips/{trip}/driver-response");
        until("the driver's turn", async || {
            let here = json!({"lat": self.at.0, "lng": self.at.1,
                "timestamp": jiff::Timestamp::now().to_string()});
            self.driver.post("/location/update", here).await;
            let said = self.driver.post(&path, json!({"action": "accept"})).await;
            (said.status == 200).then_some(())
        })
        .await;
    }

    fn completion(&self, trip: &str) -> Ask {
        Ask::new(&self.driver, format!("/trips/{trip}/status"), json!({"status": "completed"}))
    }

    /// Balance, held and due of rider and driver.
    async fn have(&self, rider: Value, driver: Value) {
        assert_eq!(wallet(&self.rider).await, rider);
        assert_eq!(wallet(&self.driver).await, driver);
    }
}

/// A trip in the database that nobody here knows of would bar its rider and be offered to no one.
#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_trip_is_booked_once_and_finds_its_driver() {
    let mut city = City::new().await;
    for round in ROUNDS.map(Some).into_iter().chain([None]) {
        let pair = city.pair(100.0).await;
        let body = json!({"pickup": point(pair.at), "destination": point(far_from(pair.at, 3000.0)),
            "vehicleType": "economy", "paymentMethod": "wallet"});
        let mut ask = Ask::new(&pair.rider, "/trips/request", body);
        let told = match round {
            Some(round) => city.killed(ask, FUNDS, round).await,
            None => city.house.away_while_asked(&mut ask, FUNDS).await,
        };
        assert_eq!(told.status, 201, "{told:?}");
        let trip = told.data()["tripId"].as_str().expect("an id").to_owned();
        assert_eq!(city.posted(&trip).await, ["hold: rider_wallet -6000, rider_hold 6000"]);
        pair.accepts(&trip).await;
    }
    city.house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_trip_is_settled_once() {
    let mut city = City::new().await;
    for round in ROUNDS {
        let pair = city.pair(100.0).await;
        let trip = pair.started("wallet").await;
        let told = city.killed(pair.completion(&trip), FUNDS, round).await;
        assert_eq!(told.data()["status"], "completed", "{told:?}");
        let posted = [
            "hold: rider_wallet -6000, rider_hold 6000",
            "settle: rider_wallet 1000, rider_hold -6000, driver 4250, commission 658, vat 92",
        ];
        assert_eq!(city.posted(&trip).await, posted);
        pair.have(json!([50, 0, 0]), json!([42.5, 0, 0])).await;
    }
    city.house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cash_trip_is_settled_once() {
    let mut city = City::new().await;
    for round in ROUNDS {
        let pair = city.pair(0.0).await;
        let trip = pair.started("cash").await;
        let told = city.killed(pair.completion(&trip), FUNDS, round).await;
        assert_eq!(told.data()["paymentStatus"], "paid", "{told:?}");
        assert_eq!(city.posted(&trip).await, ["settle: driver -750, commission 658, vat 92"]);
        pair.have(json!([0, 0, 0]), json!([-7.5, 0, 7.5])).await;
    }
    city.house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_is_tipped_once() {
    let mut city = City::new().await;
    for round in ROUNDS {
        let pair = city.pair(100.0).await;
        let trip = pair.completed().await;
        let tip = Ask::new(&pair.rider, format!("/trips/{trip}/tip"), json!({"amount": 10}));
        let told = city.killed(tip, POSTING, round).await;
        assert_eq!((told.status, &told.data()["amount"]), (201, &json!(10)), "{told:?}");
        let posted = city.posted(&trip).await;
        assert_eq!(posted[1..], ["tip: rider_wallet -1000, driver 1000"]);
        pair.have(json!([90, 0, 0]), json!([2.5, 0, 0])).await;
    }
    city.house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn change_that_was_not_given_is_in_the_wallet_once() {
    let mut city = City::new().await;
    for round in ROUNDS {
        let pair = city.pair(0.0).await;
        let trip = pair.completed().await;
        let body = json!({"cashCollected": 70});
        let cash = Ask::new(&pair.driver, format!("/trips/{trip}/cash"), body);
        let told = city.killed(cash, FUNDS, round).await;
        assert_eq!(told.data()["change"], 20, "{told:?}");
        let posted = city.posted(&trip).await;
        assert_eq!(posted[1..], ["cash_difference: rider_wallet 2000, driver -2000"]);
        pair.have(json!([20, 0, 0]), json!([-27.5, 0, 27.5])).await;
    }
    city.house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_is_charged_once() {
    let mut city = City::new().await;
    for round in ROUNDS {
        let pair = city.pair(100.0).await;
        let trip = pair.booked().await;
        let body = json!({"reason": "changed_mind"});
        let cancel = Ask::new(&pair.rider, format!("/trips/{trip}/cancel"), body);
        let told = city.killed(cancel, FUNDS, round).await;
        assert_eq!(told.data()["cancelFee"], 24, "{told:?}");
        let posted = "cancel_fee: rider_wallet -2400, driver 1600, cancel_revenue 800";
        assert_eq!(city.posted(&trip).await, [posted]);
        pair.have(json!([76, 0, 0]), json!([16, 0, 0])).await;
    }
    city.house.end().await;
}
