//! A rider asks for a trip.
//!
//! The price is a promise: it comes from a quote that can't be altered, or is worked out here and
//! now; the city's rules (fees, limits, PIN) are frozen into the trip, so that changing them never
//! changes a trip under way.

use ::promo::{Credit, Fare};
use base::{Caller, Millis, PaymentMethod, Piasters, Point, Problem, Tier, TripId};
use base::{Code, Dice};
use dispatch::Strategy;
use events::Once;
use fleet::City;
use fraud::{Movement, Note};
use payments::CardId;
use pricing::{Arm, Booking, Quote, QuoteRefused};
use serde::Serialize;
use storage::Who;
use trips::{NewTrip, Passenger, Place, PriceArm, Status, StatusView, Terms, Trip, TripError};
use utoipa::ToSchema;

use crate::Flows;
use crate::promo::{PromoWish, chosen};

/// A request for a trip, checked in form.
#[derive(Clone, Debug)]
pub struct TripRequest {
    pub pickup: Place,
    pub destination: Place,
    pub stops: Vec<Place>,
    pub tier: Tier,
    pub method: PaymentMethod,
    /// What pays for a trip by card.
    pub card: Option<CardId>,
    pub quote_id: Option<String>,
    /// Checked against the quote, never taken as the price.
    pub price: Option<Piasters>,
    pub passenger: Option<Passenger>,
    pub promo: PromoWish,
    /// How the driver is to be found; none: as the city finds them.
    pub strategy: Option<Strategy>,
    /// When the rider wants to be fetched; none: at once.
    pub pickup_at: Option<Millis>,
}

/// Answer to a request: the trip exists, and is being matched or will be in time.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TripRequested {
    pub trip_id: TripId,
    pub status: StatusView,
    pub price: Piasters,
    /// What the company pays of the price.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promo: Option<Piasters>,
    /// What the rider pays.
    #[schema(required = false)]
    pub to_pay: Piasters,
}

impl Flows {
    pub async fn request_trip(
        &self,
        caller: &Caller,
        request: TripRequest,
        once: Once,
    ) -> Result<TripRequested, Problem> {
        if let Some(booked) = once.applied() {
            // Booked by an earlier attempt whose answer got lost.
            let trip = self.trips.get(&Who::Caller(*caller), TripId(booked)).await?;
            return Ok(requested(&trip));
        }
        let now = self.clock.now();
        self.check_moment(request.pickup_at, now)?;
        let city = self.fleet.pickup_allowed(request.pickup.at)?;
        self.check_strategy(&request, &city)?;
        let credits = self.check_can_pay(caller, &request, &city).await?;
        let quote = self.agreed_price(caller, &request, &city, now).await?;
        let fare = Fare { city: city.id, tier: request.tier, price: quote.price };
        let promo = chosen(request.promo, &credits, &fare, now)?;
        if request.method == PaymentMethod::Wallet {
            // A check that broke lets the trip go on: what it costs is held in any case.
            let booking = Movement::WalletBooking;
            let _checked = self.admit_movement(caller.user, booking, quote.price).await?;
        }
        let new = NewTrip { promo, ..new_trip(request, caller, &quote, &city) };
        let trip = match self.trips.create(caller, new, once).await {
            Ok(trip) => trip,
            Err(error) => {
                if matches!(error, TripError::InsufficientBalance { .. }) {
                    self.note_of(caller.user, Note::Refused).await;
                }
                return Err(error.into());
            }
        };
        // Of a trip ahead that is counted when its search begins.
        if trip.status == Status::Requested {
            self.pricing.requested(trip.pickup.at, now);
        }
        Ok(requested(&trip))
    }

    /// A pickup ahead is neither so near that nobody may be found by then, nor too far.
    pub(crate) fn check_moment(&self, at: Option<Millis>, now: Millis) -> Result<(), Problem> {
        let ahead = self.trips.ahead();
        if at.is_none_or(|at| ahead.takes(at, now)) {
            return Ok(());
        }
        let (least, most) = (now + ahead.least, now + ahead.most);
        let text = format!("must be between {least} and {most}");
        Err(Problem::field("scheduledAt", "out_of_range", &text))
    }

    /// A request may name what the city allows.
    fn check_strategy(&self, request: &TripRequest, city: &City) -> Result<(), Problem> {
        match request.strategy {
            Some(named) if !self.dispatch.choice(city.id).allows(named) => {
                let text = "drivers are not found that way in this city";
                Err(Problem::field("strategy", "not_allowed", text))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Refuses what could not be paid before a price is even worked out; what the rider has for it
    /// beside money. Whether all of it is enough is decided in the creating transaction.
    async fn check_can_pay(
        &self,
        caller: &Caller,
        request: &TripRequest,
        city: &City,
    ) -> Result<Vec<Credit>, Problem> {
        if request.method == PaymentMethod::Card {
            self.check_card(request)?;
        }
        let mut tx = self.db.begin(&Who::Caller(*caller)).await?;
        let wallet = ledger::wallet(&mut tx, caller.user, caller.role).await?;
        if wallet.due > city.booking_due_limit {
            return Err(TripError::PaymentDue { due: wallet.due }.into());
        }
        match request.promo {
            PromoWish::None => Ok(Vec::new()),
            PromoWish::Best | PromoWish::This(_) => {
                let (rider, now) = (caller.user.as_rider(), self.clock.now());
                Ok(::promo::credits_in_tx(&mut tx, rider, now).await?)
            }
        }
    }

    /// Whether what was authorised pays for the trip is decided in the creating transaction.
    fn check_card(&self, request: &TripRequest) -> Result<(), Problem> {
        if !self.payments.takes_cards() {
            let why = "cards are not taken here, pay with cash or wallet";
            return Err(Problem::new(Code::PaymentMethodUnavailable, why));
        }
        match request.card {
            Some(_) => Ok(()),
            None => Err(TripError::CardUnfit { why: "missing".to_owned() }.into()),
        }
    }

    async fn agreed_price(
        &self,
        caller: &Caller,
        request: &TripRequest,
        city: &City,
        now: Millis,
    ) -> Result<Quote, Problem> {
        let stops: Vec<Point> = request.stops.iter().map(|stop| stop.at).collect();
        let booking = Booking {
            rider: caller.user,
            city: city.id,
            time_zone: &city.time_zone,
            pickup: request.pickup.at,
            destination: request.destination.at,
            stops: &stops,
            tier: request.tier,
            pickup_at: request.pickup_at,
            price: request.price,
        };
        let refused = match &request.quote_id {
            Some(id) => match self.pricing.redeem(id, &booking, now) {
                Ok(quote) => return Ok(quote),
                Err(refused) => Some(refused),
            },
            None => None,
        };
        let at = booking.pickup_at.unwrap_or(now);
        let route = self.route(booking.pickup, &stops, booking.destination, at).await?;
        let fresh = self.pricing.quote_now(&booking, &route, now)?;
        if let Some(arm) = fresh.arm {
            self.analytics.exposed(arm, caller.user.as_rider(), now);
        }
        match refused {
            Some(why) => Err(refusal(why, &fresh)),
            None if request.price.is_some_and(|price| price != fresh.price) => {
                Err(refusal(QuoteRefused::PriceChanged, &fresh))
            }
            None => Ok(fresh),
        }
    }
}

fn requested(trip: &Trip) -> TripRequested {
    TripRequested {
        trip_id: trip.id,
        status: StatusView::of(trip.status, trip.payment_status),
        price: trip.price,
        promo: (trip.promo > Piasters::ZERO).then_some(trip.promo),
        to_pay: trip.to_pay(),
    }
}

/// A refused quote, with a fresh one where asking again makes sense.
fn refusal(why: QuoteRefused, fresh: &Quote) -> Problem {
    match why {
        QuoteRefused::Invalid => {
            Problem::new(Code::QuoteInvalid, "the quote is not for this trip, ask for a new one")
        }
        QuoteRefused::Expired => {
            Problem::new(Code::QuoteExpired, "the quote's time is over").with("quote", fresh.view())
        }
        QuoteRefused::PriceChanged => {
            Problem::new(Code::PriceChanged, "the price is not the quoted one")
                .with("quote", fresh.view())
        }
        QuoteRefused::SurgeRose => {
            Problem::new(Code::PriceChanged, "demand rose sharply since the quote")
                .with("quote", fresh.view())
        }
    }
}

fn new_trip(request: TripRequest, caller: &Caller, quote: &Quote, city: &City) -> NewTrip {
    NewTrip {
        id: TripId::new(),
        rider: caller.user.as_rider(),
        city: city.id,
        pickup: request.pickup,
        destination: request.destination,
        stops: request.stops,
        passenger: request.passenger,
        tier: request.tier,
        method: request.method,
        strategy: match request.pickup_at {
            Some(_) => Strategy::Scheduled.name(),
            None => request.strategy.map_or(Strategy::OF_CITY, Strategy::name),
        }
        .to_owned(),
        price: quote.price,
        card: request.card.map(|card| card.0),
        promo: None,
        arm: quote.arm.map(|Arm { experiment, variant }| PriceArm { experiment, variant }),
        due_allowed: city.booking_due_limit,
        commission: quote.commission,
        surge: quote.surge,
        quote_id: request.quote_id,
        distance_m: quote.distance_m,
        duration_s: quote.duration_s,
        pin: city.start_pin.then(start_pin),
        terms: terms_of(city, request.tier),
        scheduled_at: request.pickup_at,
    }
}

/// The city's rules of today, frozen into the trip.
fn terms_of(city: &City, tier: Tier) -> Terms {
    let cancel = city.cancel_terms(tier);
    Terms {
        free_cancel_s: cancel.free_s,
        cancel_fee: cancel.fee,
        no_show_wait_s: cancel.no_show_wait_s,
        no_show_fee: cancel.no_show_fee,
        due_limit: city.rider_due_limit,
        debt_limit: city.driver_debt_limit,
        cash_step: city.cash_step,
    }
}

/// Four digits, told to the rider only.
fn start_pin() -> String {
    format!("{:04}", u16::from_be_bytes(Dice::secret::<2>()) % 10_000)
}
