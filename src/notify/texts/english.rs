//! English texts.

use base::{Millis, PaymentMethod, Piasters};

use crate::model::{EndedBy, News, Receipt};
use crate::speech::{Counted, Speech, isolated};
use crate::texts::{Faces, Text};

pub(super) fn text(news: &News, faces: &Faces, speech: &Speech<'_>, now: Millis) -> Text {
    let money = |amount: &Piasters| speech.money(*amount);
    match news {
        News::Offer { price, pickup_eta_s, standby } => {
            let away = speech.count(pickup_eta_s.div_ceil(60), Counted::Minutes);
            let trip = format!("{}, pickup {away} away.", money(price));
            match standby {
                false => Text::new("New trip", trip),
                true => Text::new(
                    "Can you stand by?",
                    format!("{trip} You are asked first if its driver does not come."),
                ),
            }
        }
        News::TripBooked { at } => {
            let (date, time) = (speech.date(*at), speech.time(*at));
            let body =
                format!("We look for a driver shortly before your pickup on {date} at {time}.");
            Text::new("Your trip is booked", body)
        }
        News::TripSoon { at } => {
            let time = speech.time(*at);
            let body = format!("Your pickup is at {time}. We are looking for your driver.");
            Text::new("Your trip is soon", body)
        }
        News::ConfirmTrip { at, by } => {
            let (time, until) = (speech.time(*at), speech.time(*by));
            let body =
                format!("Confirm your pickup at {time} until {until}, or another driver gets it.");
            Text::new("Do you still come?", body)
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
        News::TripTakenBack => Text::new(
            "The trip is not yours any more",
            "Another driver gets it: he is nearer, or you did not confirm or could not be reached.",
        ),
        News::TripBidOff => Text::new(
            "Looking for another driver",
            "Your driver can't come, and his price is off. We look for another one.",
        ),
        News::BidWon { price } => {
            let body = format!("The rider took your price of {}.", money(price));
            Text::new("The trip is yours", body)
        }
        News::TripNoDrivers => Text::new(
            "No driver found",
            "All drivers near you are busy. Please try again in a little while.",
        ),
        News::Receipt(paid) => receipt(paid, speech),
        News::PaymentSucceeded { amount } => {
            Text::new("Payment received", format!("We received {}.", money(amount)))
        }
        News::PaymentFailed { amount } => {
            let body = format!("We could not collect {}. Please pay in the app.", money(amount));
            Text::new("Payment failed", body)
        }
        News::Tip { amount } => {
            Text::new("You got a tip", format!("Your rider thanks you with {}.", money(amount)))
        }
        News::DebtLimit { owed, limit } => {
            let body = format!(
                "You owe {}, more than {}. Pay in the app under Wallet to get cash trips again; \
                 other trips go on.",
                money(owed),
                money(limit)
            );
            Text::new("No cash trips for now", body)
        }
        News::ChangeCredited { amount } => {
            let body =
                format!("You paid {} more than the fare. It is in your wallet.", money(amount));
            Text::new("Your change", body)
        }
        News::CashOwed { amount } => {
            let body = format!(
                "Your driver got {} less than the fare. Please pay it in the app.",
                money(amount)
            );
            Text::new("Part of the fare is open", body)
        }
        News::PromoGranted { amount, until } => {
            let date = speech.date(*until);
            Text::new("A gift for you", format!("{} off your trips until {date}.", money(amount)))
        }
        News::Refunded { amount } => {
            Text::new("Money back", format!("We gave you back {}.", money(amount)))
        }
        News::DisputeResolved => {
            Text::new("Your complaint", "We looked at your complaint. Our answer is in the app.")
        }
        News::WithdrawalApproved { amount } => {
            let body = format!("We approved your withdrawal of {}.", money(amount));
            Text::new("Withdrawal approved", body)
        }
        News::WithdrawalArrived { amount } => {
            Text::new("Withdrawal arrived", format!("{} has arrived.", money(amount)))
        }
        News::WithdrawalFailed { amount } => {
            let body = format!("{} came back and is yours again.", money(amount));
            Text::new("Withdrawal failed", body)
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
        News::AccountHeld => Text::new(
            "We are looking at your account",
            "Until we are done, the money in your wallet stays there. Contact support for help.",
        ),
        News::AccountReleased => {
            Text::new("Your account is open again", "Everything in your wallet is yours to use.")
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

/// What was paid, and how the fare came to it where that is not the same.
fn receipt(paid: &Receipt, speech: &Speech<'_>) -> Text {
    let (way, distance) = (by(paid.method), speech.kilometres(paid.distance_m));
    let (date, time) = (speech.date(paid.at), speech.time(paid.at));
    let total = speech.money(paid.total());
    let mut body = format!("{total} {way} for {distance} on {date} at {time}.");
    if paid.total() != paid.price {
        body += &format!(" The fare was {}", speech.money(paid.price));
        if paid.promo > Piasters::ZERO {
            body += &format!(", promo {}", speech.money(-paid.promo));
        }
        if paid.rounding != Piasters::ZERO {
            body += &format!(", rounded by {}", speech.money(paid.rounding));
        }
        body.push('.');
    }
    Text::new("Your receipt", body)
}

const fn by(method: PaymentMethod) -> &'static str {
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
