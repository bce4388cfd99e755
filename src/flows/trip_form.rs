//! A booking as apps write it, over REST and over the socket: the one place where its form is
//! checked.

use base::{Fields, Millis, PaymentMethod, Piasters, Problem, PromoCreditId, Tier, limits};
use base::{trimmed, trimmed_option};
use dispatch::Strategy;
use payments::CardId;
use serde::Deserialize;
use trips::{Passenger, Place};
use utoipa::ToSchema;

use crate::book_trip::TripRequest;
use crate::promo::PromoWish;
use crate::quote_price::STOPS_MAX;

/// Longest address, characters.
const ADDRESS_MAX: usize = 300;
/// Longest name of a passenger, characters.
const NAME_MAX: usize = 100;
/// Length of a passenger's phone as written, characters.
const PHONE: (usize, usize) = (5, 30);
/// Longest quote id, bytes: a few times what one has.
const QUOTE_MAX: usize = 1000;

/// A request for a trip.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TripForm {
    pickup: PlaceForm,
    destination: PlaceForm,
    /// At most 5, in the order they are driven to.
    #[serde(default)]
    stops: Vec<PlaceForm>,
    vehicle_type: Tier,
    /// Cash when absent.
    payment_method: Option<PaymentMethod>,
    /// What was authorised on the gateway's page, of a trip that is paid by card.
    card_authorisation: Option<CardId>,
    /// From an estimate; without one the trip is priced now.
    #[serde(default, deserialize_with = "trimmed_option")]
    quote_id: Option<String>,
    /// What the rider was shown: checked against the quote.
    price: Option<Piasters>,
    /// The moment of the pickup, from half an hour to a week ahead; at once when absent.
    scheduled_at: Option<Millis>,
    passenger: Option<PassengerForm>,
    /// The best promo that fits, when absent.
    promo_id: Option<PromoCreditId>,
    /// False: the promos are kept for another trip.
    use_promo: Option<bool>,
    /// How the driver is to be found, one of those that the city allows; as the city finds them
    /// when absent.
    strategy: Option<Strategy>,
}

/// A place as people name it; degrees, WGS84.
#[derive(Clone, Debug, Deserialize, ToSchema)]
struct PlaceForm {
    #[schema(minimum = -90, maximum = 90)]
    lat: f64,
    #[schema(minimum = -180, maximum = 180)]
    lng: f64,
    #[serde(default, deserialize_with = "trimmed_option")]
    address: Option<String>,
}

/// Who rides, when it is not the one who books.
#[derive(Clone, Debug, Deserialize, ToSchema)]
struct PassengerForm {
    #[serde(deserialize_with = "trimmed")]
    name: String,
    #[serde(deserialize_with = "trimmed")]
    phone: String,
}

impl TripForm {
    /// The request, or every field that is wrong with it.
    pub fn request(self) -> Result<TripRequest, Problem> {
        let mut fields = Fields::default();
        self.check(&mut fields);
        let pickup = self.pickup.place("pickup", &mut fields);
        let destination = self.destination.place("destination", &mut fields);
        let mut stops = Vec::new();
        for (index, stop) in self.stops.into_iter().take(STOPS_MAX).enumerate() {
            stops.extend(stop.place(&format!("stops[{index}]"), &mut fields));
        }
        fields.done()?;
        let (Some(pickup), Some(destination)) = (pickup, destination) else {
            return Err(Problem::field("pickup", "invalid", "must be a place"));
        };
        Ok(TripRequest {
            pickup,
            destination,
            stops,
            tier: self.vehicle_type,
            method: self.payment_method.unwrap_or(PaymentMethod::Cash),
            card: self.card_authorisation,
            quote_id: self.quote_id,
            price: self.price,
            passenger: self.passenger.map(|p| Passenger { name: p.name, phone: p.phone }),
            promo: match (self.promo_id, self.use_promo) {
                (_, Some(false)) => PromoWish::None,
                (Some(id), _) => PromoWish::This(id),
                (None, _) => PromoWish::Best,
            },
            strategy: self.strategy,
            pickup_at: self.scheduled_at,
        })
    }

    fn check(&self, fields: &mut Fields) {
        if self.stops.len() > STOPS_MAX {
            fields.wrong("stops", "too_many", &format!("at most {STOPS_MAX} stops"));
        }
        if self.card_authorisation.is_some() && self.payment_method != Some(PaymentMethod::Card) {
            let text = "only a trip that is paid by card has one";
            fields.wrong("cardAuthorisation", "unsupported", text);
        }
        let fare = 0..=limits::FARE_MAX;
        if self.price.is_some_and(|price| !fare.contains(&price.0)) {
            fields.wrong("price", "out_of_range", "must be between 0 and 10000");
        }
        if self.quote_id.as_ref().is_some_and(|id| id.len() > QUOTE_MAX) {
            fields.wrong("quoteId", "length", "is no quote's id");
        }
        if self.strategy.is_some_and(|strategy| !strategy.is_chosen()) {
            fields.wrong("strategy", "unsupported", "name a time in scheduledAt");
        } else if self.strategy.is_some() && self.scheduled_at.is_some() {
            let text = "for a trip that is booked ahead drivers are found in its own way";
            fields.wrong("strategy", "unsupported", text);
        }
        if let Some(passenger) = &self.passenger {
            fields.text("passenger.name", &passenger.name, 1, NAME_MAX);
            fields.text("passenger.phone", &passenger.phone, PHONE.0, PHONE.1);
        }
    }
}

impl PlaceForm {
    /// `None` when it was wrong, which `fields` knows then.
    fn place(self, field: &str, fields: &mut Fields) -> Option<Place> {
        if let Some(address) = &self.address {
            fields.text(&format!("{field}.address"), address, 1, ADDRESS_MAX);
        }
        let at = fields.point(field, self.lat, self.lng)?;
        Some(Place { at, address: self.address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The wrong fields by name, or what was understood of the texts.
    fn check(rest: &str, expected: &str) {
        let json = format!(
            r#"{{"pickup":{{"lat":30,"lng":31,"address":" Tahrir "}},
                "destination":{{"lat":30.1,"lng":31,"address":"  "}},
                "vehicleType":"economy"{rest}}}"#
        );
        let form: TripForm = serde_json::from_str(&json).unwrap();
        let said = match form.request() {
            Ok(asked) => format!(
                "{:?} {:?} {} stops {:?}",
                asked.pickup.address,
                asked.destination.address,
                asked.stops.len(),
                asked.passenger.map(|p| p.name)
            ),
            Err(problem) => {
                let fields = problem.details["fields"].as_array().unwrap().iter();
                let names: Vec<&str> = fields.map(|f| f["field"].as_str().unwrap()).collect();
                names.join(" ")
            }
        };
        assert_eq!(said, expected, "{rest}");
    }

    #[test]
    fn a_form_is_trimmed_and_every_wrong_field_is_named() {
        check("", r#"Some("Tahrir") None 0 stops None"#);
        check(r#","price":42.5,"paymentMethod":"wallet""#, r#"Some("Tahrir") None 0 stops None"#);
        check(r#","price":-1"#, "price");
        check(r#","price":10000.01"#, "price");
        let ahead = r#","scheduledAt":"2026-11-22T16:00:00Z""#;
        check(ahead, r#"Some("Tahrir") None 0 stops None"#);
        check(&format!(r#"{ahead},"strategy":"batched""#), "strategy");
        check(r#","strategy":"scheduled""#, "strategy");
        let stop = r#"{"lat":30,"lng":31}"#;
        check(&format!(r#","stops":[{stop}]"#), r#"Some("Tahrir") None 1 stops None"#);
        check(&format!(r#","stops":[{}]"#, [stop; 6].join(",")), "stops");
        check(r#","stops":[{"lat":30,"lng":31},{"lat":91,"lng":31}]"#, "stops[1].lat");
        let long = "x".repeat(301);
        check(
            &format!(r#","price":-1,"passenger":{{"name":"{long}","phone":"1"}}"#),
            "price passenger.name passenger.phone",
        );
        let mona = r#","passenger":{"name":" Mona ","phone":"01012345678"}"#;
        check(mona, r#"Some("Tahrir") None 0 stops Some("Mona")"#);
        check(r#","passenger":{"name":"a\u0007b","phone":"01012345678"}"#, "passenger.name");
    }
}
