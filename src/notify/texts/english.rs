//! English texts.

use base::{Millis, PaymentMethod, Piasters};

use crate::model::{EndedBy, News};
use crate::speech::{Counted, Speech, isolated};
use crate::texts::{Faces, Text};

pub(super) fn text(news: &News, faces: &Faces, speech: &Speech<'_>, now: Millis) -> Text {
    let money = |amount: &Piasters| speech.money(*amount);
    match news {
        News::Offer { price, pickup_eta_s } => {
            let away = speech.count(pickup_eta_s.div_ceil(60), Counted::Minutes);
            Text::new("New trip", format!("{}, pickup {away} away.", money(price)))
        }
        News::TripAccepted => accepted(faces),
        News::TripArrived => arrived(faces),
        News::TripStarted => {
            Text::new("Your trip has started", format!("{} drives you.", driver(faces)))
        }
        News::TripCompleted { price } => {
            Text::new("You have arrived", format!("The fare is {}.", money(price)))
        }
        News::TripCancelled { by, fee } => cancelled(*by, *fee, speech),
        News::TripDriverCancelled => Text::new(
            "Looking for another driver",
            "Your driver can't come. We look for another one at the same price.",
        ),
        News::TripNoDrivers => Text::new(
            "No driver found",
            "All drivers near you are busy. Please try again in a little while.",
        ),
        News::Receipt { price, distance_m, method, at } => {
            let (way, distance) = (paid(*method), speech.kilometres(*distance_m));
            let (date, time) = (speech.date(*at), speech.time(*at));
            let body = format!("{} {way} for {distance} on {date} at {time}.", money(price));
            Text::new("Your receipt", body)
        }
        News::PaymentSucceeded { amount } => {
            Text::new("Payment received", format!("We received {}.", money(amount)))
        }
        News::PaymentFailed { amount } => {
            let body = format!("We could not collect {}. Please pay in the app.", money(amount));
            Text::new("Payment failed", body)
        }
        News::WithdrawalPaid { amount } => {
            Text::new("Withdrawal paid", format!("{} is on its way to you.", money(amount)))
        }
        News::WithdrawalRejected { amount } => {
            let body = format!("{} is yours again. The reason is in the app.", money(amount));
            Text::new("Withdrawal rejected", body)
        }
        News::DocumentExpiring { document, at } => expiring(document, *at, speech, now),
        News::Statement { from, to, trips, earned } => {
            let (from, to) = (speech.date(*from), speech.date(*to));
            let trips = speech.count(*trips, Counted::Trips);
            let body = format!("From {from} to {to}: {trips}, {} earned.", money(earned));
            Text::new("Your statement", body)
        }
    }
}

fn driver(faces: &Faces) -> String {
    faces.driver.as_deref().map_or_else(|| "Your driver".to_owned(), isolated)
}

fn accepted(faces: &Faces) -> Text {
    let driver = driver(faces);
    let body = match faces.car() {
        Some((car, plate)) => format!("{driver} comes in a {car}, plate {plate}."),
        None => format!("{driver} is on the way to you."),
    };
    Text::new("Your driver is on the way", body)
}

fn arrived(faces: &Faces) -> Text {
    let driver = driver(faces);
    let body = match faces.car() {
        Some((_, plate)) => format!("{driver} waits at the pickup, plate {plate}."),
        None => format!("{driver} waits at the pickup."),
    };
    Text::new("Your driver is here", body)
}

fn cancelled(by: EndedBy, fee: Piasters, speech: &Speech<'_>) -> Text {
    let mut body = match by {
        EndedBy::Rider => "The rider cancelled the trip.".to_owned(),
        EndedBy::Driver => "Your driver waited for you and ended the trip.".to_owned(),
        EndedBy::Company => "We had to cancel the trip.".to_owned(),
    };
    if fee > Piasters::ZERO {
        body += &format!(" The cancellation fee is {}.", speech.money(fee));
    }
    Text::new("Trip cancelled", body)
}

const fn paid(method: PaymentMethod) -> &'static str {
    match method {
        PaymentMethod::Cash => "in cash",
        PaymentMethod::Wallet => "from your wallet",
        PaymentMethod::Card => "by card",
    }
}

fn expiring(document: &str, at: Millis, speech: &Speech<'_>, now: Millis) -> Text {
    let paper = match document {
        "driving_licence" => "driving licence",
        "vehicle_licence" => "vehicle licence",
        "insurance" => "insurance",
        _ => "document",
    };
    let days = speech.days_until(at, now);
    let body = match days {
        0 => format!("Your {paper} runs out today."),
        _ => {
            let (days, date) = (speech.count(days, Counted::Days), speech.date(at));
            format!("Your {paper} runs out in {days}, on {date}.")
        }
    };
    Text::new("A document runs out", body)
}
