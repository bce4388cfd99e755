//! The price desk as its callers see it, and its tariffs in a real PostgreSQL.

use std::time::Duration;

use base::{
    BasisPoints, CityId, Millis, Piasters, Point, Route, RouteSource, Tier, UserId, limits,
};

use super::*;
use crate::calendar::Window;
use crate::desk::Book;
use crate::tariff::Factor;
use crate::tariff::Tariff;

/// The seeded rates of the economy tier.
pub(crate) const ECONOMY: Tariff = Tariff {
    city: CityId(1),
    tier: Tier::Economy,
    base_fare: Piasters(1000),
    per_km: Piasters(350),
    per_minute: Piasters(50),
    minimum_fare: Piasters(1500),
    booking_fee: Piasters(0),
    commission: BasisPoints(1500),
    from: Millis(0),
    until: None,
};

const RIDER: UserId = UserId::from_u128(7);

/// A Wednesday noon in Cairo: no window holds.
fn noon() -> Millis {
    Millis::parse("2026-01-14T10:00:00Z").expect("a time")
}

fn point(lat: f64, lng: f64) -> Point {
    Point::new(lat, lng).expect("in range")
}

fn desk() -> Pricing {
    let rush = Window {
        city: CityId(1),
        day: None,
        start_hour: 17,
        end_hour: 20,
        factor: Factor(13_000),
        name: "Rush hour".to_owned(),
    };
    let book = Book { tariffs: vec![ECONOMY], windows: vec![rush], ..Book::default() };
    Pricing::with_book(book, QuoteKey::derive(b"a secret of the tests"))
}

fn route(distance_m: u32, duration_s: u32) -> Route {
    Route { distance_m, duration_s, polyline: None, source: RouteSource::GreatCircle }
}

pub(crate) fn booking() -> Booking<'static> {
    Booking {
        rider: RIDER,
        city: CityId(1),
        time_zone: "Africa/Cairo",
        pickup: point(30.0444, 31.2357),
        destination: point(30.10, 31.30),
        stops: &[],
        tier: Tier::Economy,
        pickup_at: None,
        price: None,
    }
}

/// Raises the surge of the booking's zone to three times, from `from` on.
pub(crate) fn crowd(desk: &Pricing, from: Millis) -> Millis {
    let mut now = from;
    (0..50).for_each(|_| desk.requested(booking().pickup, now));
    for _ in 0..20 {
        desk.refresh_surge(|_| 0, now);
        now = now + Duration::from_secs(10);
    }
    now
}

#[test]
fn the_quoted_price_is_the_booked_price() {
    let desk = desk();
    let quote = desk.quote_now(&booking(), &route(10_000, 1200), noon()).expect("a quote");
    assert_eq!(quote.price, Piasters::pounds(55));
    let later = noon() + Duration::from_secs(599);
    assert_eq!(desk.redeem(&quote.id, &booking(), later), Ok(quote.clone()));
    let shown = Booking { price: Some(quote.price), ..booking() };
    assert_eq!(desk.redeem(&quote.id, &shown, later), Ok(quote));
}

#[test]
fn a_quote_is_refused_for_any_other_booking() {
    let desk = desk();
    let quote = desk.quote_now(&booking(), &route(10_000, 1200), noon()).expect("a quote");
    let check = |booking: Booking<'_>, expected| {
        assert_eq!(desk.redeem(&quote.id, &booking, noon()), Err(expected));
    };
    check(Booking { rider: UserId::from_u128(8), ..booking() }, QuoteRefused::Invalid);
    check(Booking { tier: Tier::Premium, ..booking() }, QuoteRefused::Invalid);
    check(Booking { pickup: point(30.046, 31.2357), ..booking() }, QuoteRefused::Invalid);
    check(Booking { destination: point(30.2, 31.3), ..booking() }, QuoteRefused::Invalid);
    check(Booking { stops: &[point(30.05, 31.25)], ..booking() }, QuoteRefused::Invalid);
    check(Booking { price: Some(Piasters(5499)), ..booking() }, QuoteRefused::PriceChanged);
    assert_eq!(desk.redeem("abc", &booking(), noon()), Err(QuoteRefused::Invalid));
    let over = noon() + limits::QUOTE_TTL;
    assert_eq!(desk.redeem(&quote.id, &booking(), over), Err(QuoteRefused::Expired));
}

#[test]
fn a_quote_is_refused_once_surge_rose_by_half() {
    let desk = desk();
    let quote = desk.quote_now(&booking(), &route(10_000, 1200), noon()).expect("a quote");
    (0..50).for_each(|_| desk.requested(booking().pickup, noon()));
    let mut now = noon();
    let mut seen = Vec::new();
    for _ in 0..6 {
        desk.refresh_surge(|_| 0, now);
        seen.push((
            desk.surge_at(booking().pickup),
            desk.redeem(&quote.id, &booking(), now).is_ok(),
        ));
        now = now + Duration::from_secs(10);
    }
    assert_eq!(
        seen,
        [(1.1, true), (1.2, true), (1.3, true), (1.4, true), (1.5, false), (1.6, false)]
    );
    assert_eq!(desk.redeem(&quote.id, &booking(), now), Err(QuoteRefused::SurgeRose));
    // A quote made under this surge is good.
    let fresh = desk.quote_now(&booking(), &route(10_000, 1200), now).expect("a quote");
    assert_eq!(fresh.price, Piasters::pounds(88));
    assert!(desk.redeem(&fresh.id, &booking(), now).is_ok());
}

#[test]
fn a_trip_ahead_is_priced_for_its_moment_and_only_for_that() {
    let desk = desk();
    // The next evening's rush hour, while surge is at its highest.
    let rush = noon() + Duration::from_secs(30 * 3600);
    let ahead = || Booking { pickup_at: Some(rush), ..booking() };
    let now = crowd(&desk, noon());
    let quote = desk.quote_now(&ahead(), &route(10_000, 1200), now).expect("a quote");
    let calm = Piasters::pounds(55);
    assert!(quote.price > calm && quote.price < calm + calm, "{quote:?}");
    assert_eq!((quote.surge, quote.pickup_at), (1.0, Some(rush)));
    assert_eq!(quote.expires, now + limits::QUOTE_TTL);
    assert_eq!(desk.redeem(&quote.id, &ahead(), now), Ok(quote.clone()));
    let later = Booking { pickup_at: Some(rush + Duration::from_secs(60)), ..booking() };
    let at_once = desk.quote_now(&booking(), &route(10_000, 1200), now).expect("a quote");
    for (id, booking) in [(&quote.id, later), (&quote.id, booking()), (&at_once.id, ahead())] {
        assert_eq!(desk.redeem(id, &booking, now), Err(QuoteRefused::Invalid));
    }
}

#[test]
fn an_estimate_shows_each_served_tier() {
    let desk = desk();
    let way = route(10_000, 1201);
    let mut ask = Ask {
        asker: Asker::Rider(RIDER),
        city: CityId(1),
        time_zone: "Africa/Cairo",
        pickup: booking().pickup,
        destination: booking().destination,
        stops: &[],
        pickup_at: None,
        route: &way,
        tiers: &[(Tier::Economy, Some(61)), (Tier::Premium, None)],
    };
    let reply = desk.estimate(&ask, noon()).expect("an estimate").reply;
    assert_eq!((reply.surge_active, reply.surge_message), (false, None));
    let [economy] = &reply.estimates[..] else { panic!("one tier is served: {reply:?}") };
    assert_eq!(economy.price, Piasters::pounds(55));
    assert_eq!((economy.eta.pickup, economy.eta.trip), (Some(2), 21));
    assert!(economy.price_range.min < economy.price && economy.price < economy.price_range.max);
    assert_eq!(
        desk.redeem(&economy.quote_id, &booking(), noon()).map(|q| q.price),
        Ok(economy.price)
    );

    let now = crowd(&desk, noon());
    let reply = desk.estimate(&ask, now).expect("an estimate").reply;
    assert!(reply.surge_active && reply.surge_message.is_some());
    let economy = &reply.estimates[0];
    assert_eq!((economy.surge_multiplier, economy.price), (3.0, Piasters::pounds(165)));
    let parts = &economy.breakdown;
    assert_eq!((parts.trip, parts.surge), (Piasters::pounds(55), Piasters::pounds(110)));

    ask.tiers = &[(Tier::Premium, None)];
    assert_eq!(
        desk.estimate(&ask, noon()),
        Err(PricingError::NotServed { city: CityId(1), tier: Tier::Premium })
    );
    ask.time_zone = "Mars/Olympus";
    ask.tiers = &[(Tier::Economy, None)];
    assert_eq!(desk.estimate(&ask, noon()), Err(PricingError::NoTimeZone { city: CityId(1) }));
}

#[test]
fn the_rush_hour_of_the_citys_clock_costs_more() {
    let desk = desk();
    let price = |utc| {
        let at = Millis::parse(utc).expect("a time");
        desk.quote_now(&booking(), &route(10_000, 1200), at).expect("a quote").price.to_string()
    };
    assert_eq!(price("2026-01-14T15:00:00Z"), "71.5"); // 17:00 in winter
    assert_eq!(price("2026-07-15T14:00:00Z"), "71.5"); // 17:00 in summer
    assert_eq!(price("2026-07-15T17:00:00Z"), "55"); // 20:00 in summer
}

#[test]
fn the_surge_map_shows_zones_within_the_radius() {
    let desk = desk();
    crowd(&desk, noon());
    let zones = desk.surge_map(booking().pickup, 5_000.0);
    assert_eq!(zones.len(), 1);
    assert_eq!((zones[0].multiplier, zones[0].level), (3.0, SurgeLevel::VeryHigh));
    assert!(zones[0].boundary.len() >= 5);
    assert_eq!(desk.surge_map(point(31.2, 29.9), 5_000.0), []);
}

#[tokio::test]
async fn the_seeded_tariffs_are_loaded_and_never_overlap() {
    let db = storage::testing::database().await;
    let book = store::load(&db, noon()).await.expect("loaded");
    let economy = book.tariffs.iter().find(|t| t.city == CityId(1) && t.tier == Tier::Economy);
    let from = Millis::parse("2020-01-01T00:00:00Z").expect("a time");
    assert_eq!(economy, Some(&Tariff { from, ..ECONOMY }));
    assert_eq!(book.tariffs.len(), 8);
    assert_eq!(book.windows.len(), 8);
    assert!(book.events.is_empty());

    let mut owner = storage::testing::owner(&db).await;
    let second = "INSERT INTO tariffs SELECT city_id, tier, 1, 1, 1, 1, 0, 1, '[2030-01-01,)'
                  FROM tariffs WHERE city_id = 1 AND tier = 'xl'";
    let refused = sqlx::query(second).execute(&mut owner).await.expect_err("two prices at once");
    assert!(storage::breaks(&refused, "one_tariff_at_a_time"), "{refused}");
    let ended = "UPDATE tariffs SET valid = '[2020-01-01,2030-01-01)' WHERE city_id = 1";
    sqlx::query(ended).execute(&mut owner).await.expect("ended");
    sqlx::query(second).execute(&mut owner).await.expect("one after the other");
    let later = Millis::parse("2030-01-01T00:00:00Z").expect("a time");
    let book = store::load(&db, later).await.expect("loaded");
    let here: Vec<_> = book.tariffs.iter().filter(|t| t.city == CityId(1)).collect();
    assert_eq!((here.len(), here[0].tier), (1, Tier::Xl));
}
