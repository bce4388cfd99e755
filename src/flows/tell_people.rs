//! Whom a trip's events and offers are news to, and telling them.

use std::cmp::Ordering;

use base::{Fault, Millis, PaymentMethod, Piasters, Role, UserId};
use dispatch::{OfferPlan, Part};
use notify::{EndedBy, Message, News, Receipt};
use storage::{Tx, Who};
use trips::{EventName, PaymentStatus, Side, Trip, TripEvent};

use crate::Flows;

impl Flows {
    /// Tells those whom `event` concerns. Told twice, it is told once.
    pub(crate) async fn tell_of_trip_in_tx(
        &self,
        tx: &mut Tx,
        trip: &Trip,
        event: &TripEvent,
    ) -> Result<(), Fault> {
        if let Some(collected) = event.cash_collected {
            self.tell_cash_in_tx(tx, trip, collected).await?;
        }
        if let Some((to, news)) = news_ahead(trip.rider.into(), trip.scheduled_at, event) {
            let once = format!("{}:{}:{}", news.kind(), trip.id, event.seq);
            let until = trip.scheduled_at;
            let message = Message { to, news, about: Some(trip.id.0), once, until };
            self.notify.tell_in_tx(tx, &message).await?;
        }
        for (to, news) in news_of(trip.rider.into(), trip.to_pay(), event) {
            let once = format!("{}:{}:{}", news.kind(), trip.id, event.seq);
            let message = Message { to, news, about: Some(trip.id.0), once, until: None };
            self.notify.tell_in_tx(tx, &message).await?;
        }
        if event.event == EventName::Completed {
            self.tell_debt_in_tx(tx, trip).await?;
        }
        // At its end there was nothing to give a receipt for.
        if event.event == EventName::Paid {
            self.tell_receipt_in_tx(tx, trip).await?;
        }
        Ok(())
    }

    /// Tells a driver how to go on whom the commission of a cash trip brought past his limit.
    async fn tell_debt_in_tx(&self, tx: &mut Tx, trip: &Trip) -> Result<(), Fault> {
        let Some(driver) = trip.driver.filter(|_| trip.method == PaymentMethod::Cash) else {
            return Ok(());
        };
        let (to, limit) = (UserId::from(driver), trip.terms.debt_limit);
        let owed = ledger::wallet(tx, to, Role::Driver).await?.due;
        if owed <= limit {
            return Ok(());
        }
        let news = News::DebtLimit { owed, limit };
        let once = format!("{}:{}", news.kind(), trip.id);
        let message = Message { to, news, about: Some(trip.id.0), once, until: None };
        self.notify.tell_in_tx(tx, &message).await.map(drop)
    }

    /// Tells the rider of cash that was more or less than his trip. Told twice, it is told once.
    pub(crate) async fn tell_cash_in_tx(
        &self,
        tx: &mut Tx,
        trip: &Trip,
        collected: Piasters,
    ) -> Result<(), Fault> {
        let over = collected - trip.to_pay();
        let news = match over.cmp(&Piasters::ZERO) {
            Ordering::Equal => return Ok(()),
            Ordering::Greater => News::ChangeCredited { amount: over },
            Ordering::Less => News::CashOwed { amount: -over },
        };
        let once = format!("cash:{}", trip.id);
        let message =
            Message { to: trip.rider.into(), news, about: Some(trip.id.0), once, until: None };
        self.notify.tell_in_tx(tx, &message).await.map(drop)
    }

    /// Sends the rider of a completed and paid trip his receipt. Told twice, it is told once.
    pub(crate) async fn tell_receipt_in_tx(&self, tx: &mut Tx, trip: &Trip) -> Result<(), Fault> {
        let Some((price, at)) = trip.final_price.zip(trip.ended_at) else { return Ok(()) };
        // One that is paid later is told of it then.
        if trip.payment_status != PaymentStatus::Paid {
            return Ok(());
        }
        let distance_m = trip.distance_m.unwrap_or(trip.quoted_distance_m);
        let message = Message {
            to: trip.rider.into(),
            news: News::Receipt(Receipt {
                price,
                promo: trip.promo,
                rounding: trip.to_pay() - (price - trip.promo),
                distance_m,
                method: trip.method,
                at,
            }),
            about: Some(trip.id.0),
            once: format!("receipt:{}", trip.id),
            until: None,
        };
        self.notify.tell_in_tx(tx, &message).await.map(drop)
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
        news: News::Offer { price, pickup_eta_s: plan.eta_s, standby: plan.role == Part::StandBy },
        about: Some(plan.trip.0),
        once: format!("offer:{}", plan.offer),
        until: Some(plan.answer_by()),
    }
}

/// What is news of a trip with its pickup at this time, beside what is of all: it is booked, it is
/// searched, or its driver is asked whether he still comes.
fn news_ahead(rider: UserId, pickup: Option<Millis>, event: &TripEvent) -> Option<(UserId, News)> {
    let at = pickup?;
    match event.event {
        EventName::Scheduled => Some((rider, News::TripBooked { at })),
        EventName::Requested if event.by == Side::System => Some((rider, News::TripSoon { at })),
        EventName::Accepted | EventName::Queued | EventName::Reassigned => {
            let (driver, by) = event.driver_id.zip(event.confirm_by)?;
            Some((driver.into(), News::ConfirmTrip { at, by }))
        }
        _ => None,
    }
}

/// Whom an event of a trip that costs `rider` so much is news to. Nobody is told what he did
/// himself. The receipt is a step of what follows a completion.
fn news_of(rider: UserId, price: Piasters, event: &TripEvent) -> Vec<(UserId, News)> {
    match event.event {
        EventName::Scheduled
        | EventName::Requested
        | EventName::Activated
        | EventName::Confirmed => Vec::new(),
        // The rider picked him, and saw that he did.
        EventName::Accepted if event.by == Side::Rider => {
            let driver = event.driver_id.map(UserId::from);
            let won = driver.zip(event.price).map(|(to, price)| (to, News::BidWon { price }));
            won.into_iter().collect()
        }
        EventName::Accepted | EventName::Queued => vec![(rider, News::TripAccepted)],
        EventName::Reassigned => {
            // He is on his way to a rider who has another driver now.
            let before = event.previous_driver_id.map(|one| (one.into(), News::TripTakenBack));
            std::iter::once((rider, News::TripAccepted)).chain(before).collect()
        }
        EventName::Arrived => vec![(rider, News::TripArrived)],
        EventName::Started => vec![(rider, News::TripStarted)],
        EventName::Completed => {
            let mut news = vec![(rider, News::TripCompleted { price })];
            if event.payment_status == PaymentStatus::Failed {
                news.push((rider, News::PaymentFailed { amount: price }));
            }
            news
        }
        EventName::Paid => vec![(rider, News::PaymentSucceeded { amount: price })],
        EventName::PaymentFailed => vec![(rider, News::PaymentFailed { amount: price })],
        EventName::Cancelled => cancelled(rider, event),
        EventName::DriverCancelled => given_back(rider, event),
        EventName::NoDrivers => vec![(rider, News::TripNoDrivers)],
    }
}

fn given_back(rider: UserId, event: &TripEvent) -> Vec<(UserId, News)> {
    let to_rider = if event.price.is_some() { News::TripBidOff } else { News::TripDriverCancelled };
    // He may not be looking: he didn't confirm, or nothing was heard of him.
    let taken = event.previous_driver_id.filter(|_| event.by == Side::System);
    let to_driver = taken.map(|driver| (driver.into(), News::TripTakenBack));
    std::iter::once((rider, to_rider)).chain(to_driver).collect()
}

fn cancelled(rider: UserId, event: &TripEvent) -> Vec<(UserId, News)> {
    // The fee is the rider's.
    let fee = event.cancel_fee.unwrap_or_default();
    let to_rider = |by| (rider, News::TripCancelled { by, fee });
    let to_driver = |by| {
        let driver = event.driver_id.map(UserId::from);
        driver.map(|driver| (driver, News::TripCancelled { by, fee: Piasters::ZERO }))
    };
    match event.by {
        Side::Rider => to_driver(EndedBy::Rider).into_iter().collect(),
        Side::Driver => vec![to_rider(EndedBy::Driver)],
        Side::Admin | Side::System => {
            let company = EndedBy::Company;
            std::iter::once(to_rider(company)).chain(to_driver(company)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const RIDER: UserId = UserId::from_u128(1);

    /// `rider trip_arrived`, with what is said of a cancellation.
    fn check(event: &str, by: &str, more: Value, expected: &str) {
        check_at(None, event, by, more, expected);
    }

    /// Of a trip that was booked ahead.
    fn check_ahead(event: &str, by: &str, more: Value, expected: &str) {
        check_at(Millis::parse("2026-12-03T10:15:00Z"), event, by, more, expected);
    }

    fn check_at(pickup: Option<Millis>, event: &str, by: &str, more: Value, expected: &str) {
        let mut payload = json!({
            "tripId": UserId::from_u128(9), "seq": 3, "event": event, "status": "accepted",
            "paymentStatus": "pending", "driverId": UserId::from_u128(2),
            "at": "2026-12-03T10:00:00Z", "by": by,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            payload[name] = value.clone();
        }
        let event: TripEvent = serde_json::from_value(payload).expect("an event");
        let price = event.final_price.unwrap_or_default();
        let ahead = news_ahead(RIDER, pickup, &event);
        let said = ahead.into_iter().chain(news_of(RIDER, price, &event)).map(|(to, news)| {
            let to = if to == RIDER { "rider" } else { "driver" };
            match news {
                News::TripCancelled { by, fee } => format!("{to} cancelled by {by}, fee {fee}"),
                News::TripCompleted { price } => format!("{to} arrived, {price}"),
                news => format!("{to} {}", news.kind()),
            }
        });
        assert_eq!(said.collect::<Vec<_>>().join("; "), expected);
    }

    #[test]
    fn an_event_is_news_to_whom_it_concerns() {
        let plain = |event, by, expected| check(event, by, json!({}), expected);
        plain("requested", "rider", "");
        plain("scheduled", "rider", "");
        plain("activated", "system", "");
        plain("accepted", "driver", "rider trip_accepted");
        plain("queued", "driver", "rider trip_accepted");
        let before =
            json!({"driverId": UserId::from_u128(3), "previousDriverId": UserId::from_u128(2)});
        check("reassigned", "system", before, "rider trip_accepted; driver trip_taken_back");
        plain("arrived", "driver", "rider trip_arrived");
        plain("started", "driver", "rider trip_started");
        plain("driver_cancelled", "driver", "rider trip_driver_cancelled");
        plain("no_drivers", "system", "rider trip_no_drivers");
        let bid = json!({"price": 45});
        check("accepted", "rider", bid.clone(), "driver bid_won");
        check("driver_cancelled", "driver", bid, "rider trip_bid_off");
        check("completed", "driver", json!({"finalPrice": 50}), "rider arrived, 50");
        check("paid", "system", json!({"finalPrice": 50}), "rider payment_succeeded");
        let unpaid = json!({"finalPrice": 50, "paymentStatus": "failed"});
        check("payment_failed", "system", unpaid.clone(), "rider payment_failed");
        check("completed", "driver", unpaid, "rider arrived, 50; rider payment_failed");
    }

    #[test]
    fn a_trip_ahead_is_news_when_it_is_booked_searched_and_accepted_early() {
        let nothing = || json!({});
        check_ahead("scheduled", "rider", nothing(), "rider trip_booked");
        check_ahead("requested", "system", nothing(), "rider trip_soon");
        check_ahead("requested", "rider", nothing(), "");
        let early = json!({"confirmBy": "2026-12-03T10:10:00Z"});
        check_ahead("accepted", "driver", early, "driver confirm_trip; rider trip_accepted");
        check_ahead("accepted", "driver", nothing(), "rider trip_accepted");
        check_ahead("confirmed", "driver", nothing(), "");
        let previous = || json!({"driverId": null, "previousDriverId": UserId::from_u128(2)});
        let both = "rider trip_driver_cancelled; driver trip_taken_back";
        check_ahead("driver_cancelled", "system", previous(), both);
        check_ahead("driver_cancelled", "driver", previous(), "rider trip_driver_cancelled");
    }

    #[test]
    fn a_cancellation_is_told_to_who_did_not_do_it() {
        let fee = || json!({"cancelFee": 15});
        check("cancelled", "rider", fee(), "driver cancelled by rider, fee 0");
        check("cancelled", "driver", fee(), "rider cancelled by driver, fee 15");
        let both = "rider cancelled by company, fee 15; driver cancelled by company, fee 0";
        check("cancelled", "admin", fee(), both);
        let nobody = json!({"driverId": null});
        check("cancelled", "rider", nobody.clone(), "");
        check("cancelled", "system", nobody, "rider cancelled by company, fee 0");
    }
}
