//! People who book and drive, each request under a key of its own, asked until it is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::harness::{
    CAIRO, Looks, Outside, Person, Reply, far_from, next_key, online_driver, point,
};

/// Riders, each with a driver of his own; they stand in rows of four.
const PAIRS: usize = 16;
/// Between pairs: further than any search looks, so that nobody is offered another's trip.
const APART_M: f64 = 12_000.0;
/// More than anybody spends or owes here, pounds.
const MONEY: u32 = 10_000;

/// A request that was answered, whoever was killed meanwhile.
#[derive(Debug)]
pub struct Asked {
    who: Person,
    path: String,
    body: Value,
    key: String,
    pub answer: Value,
}

impl Asked {
    /// The answer to the same request, sent once more.
    pub async fn again(&mut self) -> Value {
        self.who.insist(&self.path, &self.body, &self.key).await.data().clone()
    }

    /// The trip that was booked by it, if it was a booking.
    pub fn booked(&self) -> Option<&str> {
        let is_booking = self.path == "/trips/request";
        is_booking.then(|| self.answer["tripId"].as_str().expect("an id"))
    }

    /// The trip that was completed by it, if it was that.
    pub fn completed(&self) -> bool {
        self.body["status"] == "completed"
    }
}

#[derive(Default)]
struct Street {
    is_closed: AtomicBool,
    answered: AtomicUsize,
}

pub struct Traffic {
    street: Arc<Street>,
    pairs: Vec<JoinHandle<Vec<Asked>>>,
}

impl Traffic {
    pub async fn start(server: &Outside, admin: &Person) -> Self {
        let street = Arc::<Street>::default();
        let pairs = join_all((0..PAIRS).map(|n| Pair::new(server, admin, n))).await;
        let ride = |pair: Pair| tokio::spawn(pair.ride(Arc::clone(&street)));
        let pairs = pairs.into_iter().map(ride).collect();
        Self { street, pairs }
    }

    /// Requests answered so far.
    pub fn answered(&self) -> usize {
        self.street.answered.load(Ordering::Relaxed)
    }

    /// Everybody ends the trip he is on; all that was asked.
    pub async fn end(&mut self) -> Vec<Asked> {
        self.street.is_closed.store(true, Ordering::Relaxed);
        let asked = join_all(self.pairs.drain(..)).await;
        asked.into_iter().flat_map(|asked| asked.expect("nobody was turned away")).collect()
    }
}

struct Pair {
    rider: Person,
    driver: Person,
    at: (f64, f64),
    method: &'static str,
}

impl Pair {
    async fn new(server: &Outside, admin: &Person, n: usize) -> Self {
        let at = far_from(CAIRO, (n / 4) as f64 * APART_M);
        // A degree of longitude is shorter than one of latitude.
        let east = far_from((0.0, 0.0), (n % 4) as f64 * APART_M).0 / at.0.to_radians().cos();
        let at = (at.0, at.1 + east);
        let rider = Person::rider(server).await;
        let driver = online_driver(server, admin, at).await;
        let (method, payer) =
            if n.is_multiple_of(2) { ("wallet", &rider) } else { ("cash", &driver) };
        let gift = json!({"amount": MONEY, "reason": "test money"});
        let given = admin.post(&format!("/admin/wallets/{}/adjust", payer.id), gift).await;
        assert_eq!(given.status, 201, "{given:?}");
        Self { rider, driver, at, method }
    }

    /// One trip after the other, until the street is closed.
    async fn ride(mut self, street: Arc<Street>) -> Vec<Asked> {
        let mut asked = Vec::new();
        while !street.is_closed.load(Ordering::Relaxed) {
            let wish = json!({"pickup": point(self.at), "vehicleType": "economy",
                "destination": point(far_from(self.at, 2000.0)), "paymentMethod": self.method});
            let booked = street.ask(&mut self.rider, "/trips/request", &wish).await;
            let booked = booked.unwrap_or_else(|refused| panic!("{refused:?}"));
            let trip = booked.booked().expect("a booking").to_owned();
            asked.push(booked);
            if !self.take(&trip).await {
                continue;
            }
            for status in ["arrived", "started", "completed"] {
                asked.push(self.advance(&street, &trip, status).await);
            }
        }
        asked
    }

    /// Returns when the driver has the trip. He says yes until he was asked and was heard. False
    /// where the search has ended without him: it may, when all was down for too long.
    async fn take(&mut self, trip: &str) -> bool {
        let response = format!("/trips/{trip}/driver-response");
        let mut looks = Looks::at("the driver's turn");
        loop {
            looks.next().await;
            self.report().await;
            let key = next_key();
            let said = self.driver.try_post(&response, &json!({"action": "accept"}), &key).await;
            let stands = self.rider.try_get(&format!("/trips/{trip}")).await;
            looks.seen = format!("{said:?}, {stands:?}");
            match stands {
                Ok(seen) if seen.body["data"]["status"] == "accepted" => return true,
                Ok(seen) if seen.body["data"]["status"] == "no_drivers" => return false,
                Ok(seen) if seen.status == 401 => self.rider.log_in_again().await,
                Ok(_) | Err(_) => {}
            }
        }
    }

    async fn advance(&mut self, street: &Street, trip: &str, status: &str) -> Asked {
        let (path, body) = (format!("/trips/{trip}/status"), json!({"status": status}));
        let mut looks = Looks::at(&path);
        loop {
            looks.next().await;
            match street.ask(&mut self.driver, &path, &body).await {
                Ok(asked) => return asked,
                // A program that was just started does not know where he is.
                Err(refused) if refused.code() == "TOO_FAR_FROM_PICKUP" => self.report().await,
                Err(refused) => panic!("{status} is refused: {refused:?}"),
            }
        }
    }

    /// The driver says where he is.
    async fn report(&mut self) {
        let now = jiff::Timestamp::now().to_string();
        let here = json!({"lat": self.at.0, "lng": self.at.1, "timestamp": now});
        let heard = self.driver.try_post("/location/update", &here, &next_key()).await;
        if heard.is_ok_and(|reply| reply.status == 401) {
            self.driver.log_in_again().await;
        }
    }
}

impl Street {
    /// Asks under a new key; an error is a refusal.
    async fn ask(&self, who: &mut Person, path: &str, body: &Value) -> Result<Asked, Reply> {
        let key = next_key();
        let reply = who.insist(path, body, &key).await;
        self.answered.fetch_add(1, Ordering::Relaxed);
        if reply.status >= 300 {
            return Err(reply);
        }
        let (path, answer) = (path.to_owned(), reply.data().clone());
        Ok(Asked { who: who.clone(), path, body: body.clone(), key, answer })
    }
}
