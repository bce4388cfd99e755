//! Drivers on started trips, each with the rider who follows him.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::crowd::{Cars, Crowd};
use super::town::{Api, Person, Town};
use super::wire::{Dialect, Format, Spot};

/// About 1 m a message.
pub(crate) const STRIDE: i32 = 90;
/// Sockets that are opened at the same time.
pub(crate) const OPENING: usize = 64;
/// How often an offer that is not there yet is asked for.
const AGAIN: Duration = Duration::from_millis(3);
const TRIES: usize = 3000;

pub(crate) struct Pairs {
    /// Numbers of drivers and of riders.
    who: Range<usize>,
    trips: Vec<String>,
}

impl Pairs {
    /// Puts as many on started trips, the accounts from number `first` on. Nobody else may be free.
    pub async fn book(town: &mut Town, first: usize, count: usize) -> anyhow::Result<Self> {
        let who = first..first + count;
        let (drivers, riders) = (town.drivers(who.end).await?, town.riders(who.end).await?);
        let (cars, mut trips) = (Cars::new(count, STRIDE), Vec::new());
        // One after another: there is one free driver at a time, so it is his.
        for (car, number) in who.clone().enumerate() {
            let driver = &drivers[number];
            let trip = book(&town.api, driver, &riders[number], cars.spot(car, 0)).await?;
            for step in ["arrived", "started"] {
                advance(&town.api, driver, &trip, step).await?;
            }
            trips.push(trip);
        }
        Ok(Self { who, trips })
    }

    /// Opens everybody's socket; each rider is in his trip's room.
    pub async fn open(&self, town: &mut Town, format: Format) -> anyhow::Result<Crowd> {
        let (drivers, riders) =
            (town.drivers(self.who.end).await?, town.riders(self.who.end).await?);
        let crowd = Crowd::new(Dialect::SmartLine, Cars::new(self.who.len(), STRIDE));
        let (shared, address) = (&crowd, town.address.as_str());
        let opened = self.who.clone().zip(&self.trips).enumerate().map(|(car, (number, trip))| {
            let (driver, rider) = (&drivers[number], &riders[number]);
            async move {
                let dialect = Dialect::SmartLine;
                let mut seat = dialect.open(address, &rider.token, format).await?;
                dialect.follow(&mut seat, trip).await?;
                let wheel = dialect.open(address, &driver.token, format).await?;
                shared.listener(seat).await;
                shared.driver(wheel, car, "").await;
                anyhow::Ok(())
            }
        });
        stream::iter(opened).buffer_unordered(OPENING).try_collect::<()>().await?;
        Ok(crowd)
    }

    pub fn trip(&self, pair: usize) -> &str {
        &self.trips[pair]
    }

    /// Ends the trips; the drivers go home.
    pub async fn end(self, town: &mut Town) -> anyhow::Result<()> {
        let drivers = town.drivers(self.who.end).await?;
        for (number, trip) in self.who.zip(&self.trips) {
            advance(&town.api, &drivers[number], trip, "completed").await?;
            let home = json!({"isOnline": false});
            town.api.must("/drivers/status", &drivers[number].token, &home).await?;
        }
        Ok(())
    }
}

/// A trip from a place, accepted by a driver who goes online there; its id.
pub(crate) async fn book(
    api: &Api,
    driver: &Person,
    rider: &Person,
    at: Spot,
) -> anyhow::Result<String> {
    let (lat, lng) = at.degrees();
    let online = json!({"isOnline": true, "lat": lat, "lng": lng});
    api.must("/drivers/status", &driver.token, &online).await?;
    let asked = api.must("/trips/request", &rider.token, &wish(at)).await?;
    let trip = asked["tripId"].as_str().context("a trip has an id")?.to_owned();
    let path = format!("/trips/{trip}/driver-response");
    let accept = json!({"action": "accept"});
    let mut last = Value::Null;
    for _ in 0..TRIES {
        let said = api.post(&path, &driver.token, &accept).await?;
        if said.status == 200 {
            return Ok(trip);
        }
        last = said.body;
        sleep(AGAIN).await;
    }
    bail!("the trip was never offered to its driver: {last}");
}

/// A cash trip of two kilometres.
pub(crate) fn wish(from: Spot) -> Value {
    let (lat, lng) = from.degrees();
    json!({"pickup": {"lat": lat, "lng": lng}, "destination": {"lat": lat + 0.018, "lng": lng},
        "vehicleType": "economy"})
}

pub(crate) async fn advance(
    api: &Api,
    driver: &Person,
    trip: &str,
    step: &str,
) -> anyhow::Result<()> {
    let path = format!("/trips/{trip}/status");
    api.must(&path, &driver.token, &json!({"status": step})).await.map(drop)
}
