//! Quotes: prices as signed promises that nobody has to store.
//!
//! A quote's id is its content, signed: rider, way, tier, price, end of validity, the moment of a
//! pickup that is ahead, and the variant of an experiment that the price is of.
//!
//! Guarantees:
//! - an id that this key didn't make is refused (test: `an_altered_quote_is_refused`);
//! - a redeemed quote is for this rider, pickup (within 100 m), stops, destination, tier and
//!   moment.

use base::{BasisPoints, Millis, Piasters, Point, Tier, UserId};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

use crate::experiments::Arm;
use crate::tariff::Factor;
use crate::wire::QuoteView;

/// First byte of every quote, and one more for each thing that it says behind the rest. What says
/// nothing more keeps the first form: a program that knows none of them redeems it.
const FORM: u8 = 1;
/// It says for which moment the price is.
const AHEAD: u8 = 1;
/// It says which variant of an experiment set the price.
const OF_TRIAL: u8 = 2;
/// Half of the hash, as RFC 2104 allows: 128 bits can't be guessed within ten minutes.
const TAG_BYTES: usize = 16;
/// How far the pickup may move, metres.
const PICKUP_SLACK_M: f64 = 100.0;
/// Stops and destination are the same place; the slack is what printing a number loses.
const SAME_PLACE_M: f64 = 1.0;
/// Longest text worth decoding: 255 stops of eight bytes.
const TEXT_MAX: usize = 3000;

type Signer = Hmac<Sha256>;

/// The key that signs quotes.
#[derive(Clone)]
pub struct QuoteKey(Signer);

impl QuoteKey {
    /// A key of its own from the program's secret, so that a quote is never a token.
    pub fn derive(secret: &[u8]) -> Self {
        let mut mac = Signer::new_from_slice(secret).expect("HMAC takes a key of any length");
        mac.update(b"smartline quote 1");
        let key = mac.finalize().into_bytes();
        Self(Signer::new_from_slice(&key).expect("HMAC takes a key of any length"))
    }
}

/// A price that holds for one rider, one way and one tier, for ten minutes.
#[derive(Clone, Debug, PartialEq)]
pub struct Quote {
    /// What the rider sends to book at this price.
    pub id: String,
    pub tier: Tier,
    pub price: Piasters,
    /// Road distance, metres.
    pub distance_m: u32,
    /// Driving time, seconds.
    pub duration_s: u32,
    /// The surge inside the price, 1 is none.
    pub surge: f32,
    pub commission: BasisPoints,
    /// The moment it is for; none: at once.
    pub pickup_at: Option<Millis>,
    /// The variant of an experiment that set the price.
    pub arm: Option<Arm>,
    /// The first moment at which it is over.
    pub expires: Millis,
}

impl Quote {
    pub fn view(&self) -> QuoteView {
        QuoteView {
            quote_id: self.id.clone(),
            vehicle_type: self.tier,
            price: self.price,
            surge_multiplier: self.surge,
            scheduled_at: self.pickup_at,
            expires_at: self.expires,
        }
    }
}

/// Why a quote was not redeemed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuoteRefused {
    #[error("the quote is unknown, altered, or for another trip")]
    Invalid,
    #[error("the quote's time is over")]
    Expired,
    #[error("the price is not the quoted one")]
    PriceChanged,
    #[error("surge rose sharply since the quote")]
    SurgeRose,
}

/// Where a trip goes, as a quote binds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Way<'a> {
    pub pickup: Point,
    pub stops: &'a [Point],
    pub destination: Point,
}

/// What a quote's id says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Promise {
    pub rider: UserId,
    pub tier: Tier,
    pub price: Piasters,
    pub distance_m: u32,
    pub duration_s: u32,
    pub surge: Factor,
    pub commission: BasisPoints,
    pub expires: Millis,
    pub pickup_at: Option<Millis>,
    pub trial: Option<Trial>,
}

/// How an experiment prices for a rider, as his quote remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trial {
    pub arm: Arm,
    /// How far surge is charged there: what rises beyond it is no reason to refuse the quote.
    pub surge_cap: Factor,
}

impl Promise {
    /// Signs the promise for this way.
    pub(crate) fn quote(self, way: Way<'_>, key: &QuoteKey) -> Quote {
        Quote {
            id: self.sign(way, key),
            tier: self.tier,
            price: self.price,
            distance_m: self.distance_m,
            duration_s: self.duration_s,
            surge: self.surge.as_f32(),
            commission: self.commission,
            pickup_at: self.pickup_at,
            arm: self.trial.map(|trial| trial.arm),
            expires: self.expires,
        }
    }

    fn sign(&self, way: Way<'_>, key: &QuoteKey) -> String {
        let ahead = if self.pickup_at.is_some() { AHEAD } else { 0 };
        let of_trial = if self.trial.is_some() { OF_TRIAL } else { 0 };
        let mut bytes = vec![FORM + ahead + of_trial, self.tier.index() as u8];
        bytes.extend(self.rider.0.as_bytes());
        bytes.extend(self.price.0.to_be_bytes());
        bytes.extend(self.distance_m.to_be_bytes());
        bytes.extend(self.duration_s.to_be_bytes());
        bytes.extend(self.surge.0.to_be_bytes());
        bytes.extend(self.commission.0.to_be_bytes());
        bytes.extend(self.expires.0.to_be_bytes());
        if let Some(pickup_at) = self.pickup_at {
            bytes.extend(pickup_at.0.to_be_bytes());
        }
        if let Some(Trial { arm, surge_cap }) = self.trial {
            bytes.extend(arm.experiment.as_bytes());
            bytes.push(arm.variant);
            bytes.extend(surge_cap.0.to_be_bytes());
        }
        for place in [way.pickup, way.destination].iter().chain(way.stops) {
            bytes.extend(degrees(place.lat()).to_be_bytes());
            bytes.extend(degrees(place.lng()).to_be_bytes());
        }
        let mut mac = key.0.clone();
        mac.update(&bytes);
        bytes.extend(&mac.finalize().into_bytes()[..TAG_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads an id that `key` signed for this way; whether it is still valid is not asked here.
    pub(crate) fn open(id: &str, way: Way<'_>, key: &QuoteKey) -> Option<Self> {
        if id.len() > TEXT_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(id).ok()?;
        let (body, tag) = bytes.split_at(bytes.len().checked_sub(TAG_BYTES)?);
        let mut mac = key.0.clone();
        mac.update(body);
        mac.verify_truncated_left(tag).ok()?;

        let mut body = Reader(body);
        let [form, tier] = body.take()?;
        let says = form.checked_sub(FORM).filter(|says| *says <= AHEAD | OF_TRIAL)?;
        let mut promise = Self {
            tier: *Tier::ALL.get(usize::from(tier))?,
            rider: UserId(Uuid::from_bytes(body.take()?)),
            price: Piasters(i64::from_be_bytes(body.take()?)),
            distance_m: u32::from_be_bytes(body.take()?),
            duration_s: u32::from_be_bytes(body.take()?),
            surge: Factor(u32::from_be_bytes(body.take()?)),
            commission: BasisPoints(i64::from_be_bytes(body.take()?)),
            expires: Millis(i64::from_be_bytes(body.take()?)),
            pickup_at: None,
            trial: None,
        };
        if says & AHEAD != 0 {
            promise.pickup_at = Some(Millis(i64::from_be_bytes(body.take()?)));
        }
        if says & OF_TRIAL != 0 {
            promise.trial = Some(body.trial()?);
        }
        let pickup = body.place()?;
        let destination = body.place()?;
        let mut stops = Vec::with_capacity(way.stops.len());
        while !body.0.is_empty() {
            stops.push(body.place()?);
        }
        let same = pickup.distance_m(way.pickup) <= PICKUP_SLACK_M
            && destination.distance_m(way.destination) <= SAME_PLACE_M
            && stops.len() == way.stops.len()
            && stops.iter().zip(way.stops).all(|(a, b)| a.distance_m(*b) <= SAME_PLACE_M);
        same.then_some(promise)
    }
}

/// Takes big-endian fields from the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn trial(&mut self) -> Option<Trial> {
        let experiment = Uuid::from_bytes(self.take()?);
        let [variant] = self.take()?;
        let surge_cap = Factor(u32::from_be_bytes(self.take()?));
        Some(Trial { arm: Arm { experiment, variant }, surge_cap })
    }

    fn place(&mut self) -> Option<Point> {
        let lat = i32::from_be_bytes(self.take()?);
        let lng = i32::from_be_bytes(self.take()?);
        Point::new(f64::from(lat) / 1e7, f64::from(lng) / 1e7).ok()
    }
}

/// Degrees in steps of 1e-7, a centimetre.
fn degrees(value: f64) -> i32 {
    (value * 1e7).round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIDER: UserId = UserId::from_u128(7);

    fn point(lat: f64, lng: f64) -> Point {
        Point::new(lat, lng).expect("in range")
    }

    fn promise() -> Promise {
        Promise {
            rider: RIDER,
            tier: Tier::Comfort,
            price: Piasters(5550),
            distance_m: 10_123,
            duration_s: 1234,
            surge: Factor(13_000),
            commission: BasisPoints(1800),
            expires: Millis(1_700_000_000_000),
            pickup_at: None,
            trial: None,
        }
    }

    fn tried() -> Promise {
        let arm = Arm { experiment: Uuid::from_u128(0xE), variant: 3 };
        let trial = Some(Trial { arm, surge_cap: Factor(12_000) });
        Promise { surge: Factor(12_000), trial, ..promise() }
    }

    fn ahead(promise: Promise) -> Promise {
        Promise { pickup_at: Some(Millis(1_700_000_555_000)), ..promise }
    }

    #[test]
    fn a_quote_says_what_was_promised() {
        let key = QuoteKey::derive(b"secret");
        let stops = [point(30.05, 31.24)];
        let way = Way {
            pickup: point(30.0444, 31.2357),
            stops: &stops,
            destination: point(-0.000_000_3, -179.999_999_9),
        };
        let quote = promise().quote(way, &key);
        assert_eq!(Promise::open(&quote.id, way, &key), Some(promise()));
        assert_eq!((quote.price, quote.surge), (Piasters(5550), 1.3));
        assert_eq!(Promise::open(&quote.id, way, &QuoteKey::derive(b"other")), None);
        assert_eq!(quote.arm, None);
        let quote = tried().quote(way, &key);
        assert_eq!(Promise::open(&quote.id, way, &key), Some(tried()));
        assert_eq!(quote.arm.map(|arm| (arm.experiment.as_u128(), arm.variant)), Some((0xE, 3)));
        let forms = [promise(), ahead(promise()), tried(), ahead(tried())].map(|promise| {
            let quote = promise.clone().quote(way, &key);
            assert_eq!((Promise::open(&quote.id, way, &key), quote.pickup_at), {
                let pickup_at = promise.pickup_at;
                (Some(promise), pickup_at)
            });
            URL_SAFE_NO_PAD.decode(quote.id).expect("base64url")[0]
        });
        assert_eq!(forms, [1, 2, 3, 4]);
    }

    #[test]
    fn an_altered_quote_is_refused() {
        let key = QuoteKey::derive(b"secret");
        let way = Way { pickup: point(30.0, 31.0), stops: &[], destination: point(30.1, 31.1) };
        let id = promise().quote(way, &key).id;
        for id in [&id, &tried().quote(way, &key).id, &ahead(tried()).quote(way, &key).id] {
            let bytes = URL_SAFE_NO_PAD.decode(id).expect("base64url");
            for place in 0..bytes.len() {
                for bit in 0..8 {
                    let mut altered = bytes.clone();
                    altered[place] ^= 1 << bit;
                    let text = URL_SAFE_NO_PAD.encode(altered);
                    assert_eq!(Promise::open(&text, way, &key), None, "byte {place} bit {bit}");
                }
            }
        }
        let long = "A".repeat(1_000_000);
        for text in
            ["", "A", "not base64!", &id[1..], &id[..id.len() - 1], &format!("{id}A"), &long]
        {
            assert_eq!(Promise::open(text, way, &key), None);
        }
    }

    #[test]
    fn a_quote_binds_its_way() {
        let key = QuoteKey::derive(b"secret");
        let (pickup, destination) = (point(30.0, 31.0), point(30.1, 31.1));
        let stops = [point(30.05, 31.05)];
        let id = promise().quote(Way { pickup, stops: &stops, destination }, &key).id;
        let opens = |pickup, stops: &[Point], destination| {
            Promise::open(&id, Way { pickup, stops, destination }, &key).is_some()
        };
        assert!(opens(point(30.000_89, 31.0), &stops, destination)); // 99 m
        assert!(!opens(point(30.000_91, 31.0), &stops, destination)); // 101 m
        assert!(!opens(pickup, &stops, point(30.1001, 31.1)));
        assert!(!opens(pickup, &[], destination));
        assert!(!opens(pickup, &[point(30.06, 31.05)], destination));
        assert!(!opens(pickup, &[stops[0], stops[0]], destination));
    }
}
