//! Whom a trip's events and offers are news to, and telling them.

use base::{Fault, Millis, Piasters, UserId};
use dispatch::OfferPlan;
use notify::{EndedBy, Message, News};
use storage::Who;
use trips::{EventName, Side, Trip, TripError, TripEvent};

use crate::Flows;

impl Flows {
    /// Tells those whom `event` concerns. Told twice, it is told once.
    pub async fn tell_of_trip(&self, event: &TripEvent) -> Result<(), TripError> {
        let trip = self.trips.get(&Who::System, event.trip_id).await?;
        let mut tx = self.db.begin(&Who::System).await?;
        for (to, news) in news_of(&trip, event) {
            let once = match news {
                // The one that doesn't hang on the event, but on the trip itself.
                News::Receipt { .. } => format!("receipt:{}", trip.id),
                _ => format!("trip:{}:{}", trip.id, event.seq),
            };
            let message = Message { to, news, about: Some(trip.id.0), once, until: None };
            self.notify.tell_in_tx(&mut tx, &message).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Pushes an offer to the phone of a driver whom no socket is known to have reached.
    pub(crate) async fn tell_offer(&self, plan: &OfferPlan, price: Piasters) -> Result<(), Fault> {
        let message = offer(plan, price);
        let mut tx = self.db.begin(&Who::System).await?;
        self.notify.tell_in_tx(&mut tx, &message).await?;
        tx.commit().await
    }
}

fn offer(plan: &OfferPlan, price: Piasters) -> Message {
    Message {
        to: plan.driver.into(),
        news: News::Offer { price, pickup_eta_s: plan.eta_s },
        about: Some(plan.trip.0),
        once: format!("offer:{}", plan.offer),
        until: Some(plan.until),
    }
}

/// Whom an event is news to. Nobody is told what he did himself.
fn news_of(trip: &Trip, event: &TripEvent) -> Vec<(UserId, News)> {
    let rider: UserId = trip.rider.into();
    let price = event.final_price.unwrap_or(trip.price);
    match event.event {
        EventName::Scheduled | EventName::Requested | EventName::Activated => Vec::new(),
        EventName::Accepted | EventName::Queued | EventName::Reassigned => {
            vec![(rider, News::TripAccepted)]
        }
        EventName::Arrived => vec![(rider, News::TripArrived)],
        EventName::Started => vec![(rider, News::TripStarted)],
        EventName::Completed => {
            vec![(rider, News::TripCompleted { price }), (rider, receipt(trip, price, event.at))]
        }
        EventName::Cancelled => {
            let fee = event.cancel_fee.unwrap_or_default();
            let driver = event.driver_id.map(UserId::from);
            let cancelled = |by, fee| News::TripCancelled { by, fee };
            // The fee is the rider's.
            let to_driver = |by| driver.map(|driver| (driver, cancelled(by, Piasters::ZERO)));
            match event.by {
                Side::Rider => to_driver(EndedBy::Rider).into_iter().collect(),
                Side::Driver => vec![(rider, cancelled(EndedBy::Driver, fee))],
                Side::Admin | Side::System => {
                    let to_rider = (rider, cancelled(EndedBy::Company, fee));
                    std::iter::once(to_rider).chain(to_driver(EndedBy::Company)).collect()
                }
            }
        }
        EventName::DriverCancelled => vec![(rider, News::TripDriverCancelled)],
        EventName::NoDrivers => vec![(rider, News::TripNoDrivers)],
    }
}

fn receipt(trip: &Trip, price: Piasters, at: Millis) -> News {
    let distance_m = trip.distance_m.unwrap_or(trip.quoted_distance_m);
    News::Receipt { price, distance_m, method: trip.method, at }
}
