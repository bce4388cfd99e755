//! The wire as the documents tell it: frames of the socket, bodies of REST, money, positions.
//!
//! Owns shapes and their encoding, nothing else: no I/O. What the server adds beyond these shapes
//! is ignored; what it leaves out of them is a failure that names the field.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::geometry::Place;

/// An amount in piasters; on the wire a JSON number of pounds with at most two decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Piasters(pub i64);

impl Piasters {
    /// Reads the digits themselves: a float would lose piasters.
    pub fn parse(text: &str) -> Option<Self> {
        let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let part_trimmed = part.trim_end_matches('0');
        if !plain(whole) || !plain(part) || part_trimmed.len() > 2 {
            return None;
        }
        let cents: i64 = format!("{part_trimmed:0<2}").parse().ok()?;
        Some(Self(sign * (whole.parse::<i64>().ok()?.checked_mul(100)? + cents)))
    }

    /// `self × basis points`, rounded half to even.
    pub fn share(self, basis_points: i64) -> Self {
        let product = i128::from(self.0) * i128::from(basis_points);
        let (whole, rest) = (product.div_euclid(10_000), product.rem_euclid(10_000) * 2);
        let up = rest > 10_000 || (rest == 10_000 && whole & 1 == 1);
        Self(i64::try_from(whole + i128::from(up)).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Piasters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, part) = (self.0.unsigned_abs() / 100, self.0.unsigned_abs() % 100);
        write!(f, "{sign}{whole}.{part:02}")
    }
}

impl Serialize for Piasters {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_string()).map_err(S::Error::custom)?.serialize(out)
    }
}

impl<'de> Deserialize<'de> for Piasters {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(input)?;
        Self::parse(raw.get()).ok_or_else(|| D::Error::custom("no amount of money"))
    }
}

/// A class of vehicle and of fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    Economy,
    Comfort,
    Premium,
    Xl,
}

impl Tier {
    /// The house's share of a fare, basis points.
    pub const fn commission_bp(self) -> i64 {
        match self {
            Self::Economy => 1_500,
            Self::Comfort => 1_800,
            Self::Premium => 2_000,
            Self::Xl => 1_700,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentMethod {
    Cash,
    Wallet,
    Card,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    #[serde(alias = "customer")]
    Rider,
    Driver,
    Admin,
}

/// Where a trip stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Scheduled,
    Requested,
    Accepted,
    Arrived,
    Started,
    Completed,
    Cancelled,
    NoDrivers,
    /// How a reader of `status` may see a completed trip that could not be paid.
    PaymentFailed,
}

impl Status {
    pub const fn ended(self) -> bool {
        match self {
            Self::Completed | Self::Cancelled | Self::NoDrivers | Self::PaymentFailed => true,
            Self::Scheduled | Self::Requested | Self::Accepted | Self::Arrived | Self::Started => {
                false
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    Pending,
    Paid,
    Failed,
}

/// What a refusal says.
#[derive(Clone, Debug, Deserialize)]
pub struct Refusal {
    pub code: String,
    #[serde(default)]
    pub message: String,
    #[serde(default)]
    pub details: serde_json::Value,
}

/// The outside of every frame that comes down.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    pub kind: Cow<'a, str>,
    #[serde(default, deserialize_with = "id_text")]
    pub id: Option<String>,
    #[serde(default)]
    pub room: Option<String>,
    #[serde(default)]
    pub epoch: Option<u64>,
    #[serde(default)]
    pub seq: Option<u64>,
    #[serde(default, borrow)]
    pub data: Option<&'a RawValue>,
    #[serde(default)]
    pub error: Option<Refusal>,
}

fn id_text<'de, D: Deserializer<'de>>(input: D) -> Result<Option<String>, D::Error> {
    Ok(match serde_json::Value::deserialize(input)? {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text),
        other => Some(other.to_string()),
    })
}

/// The outside of every frame that goes up.
#[derive(Serialize)]
pub struct Up<'a, T> {
    #[serde(rename = "type")]
    pub kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
    pub data: &'a T,
}

/// An offer of a trip to one driver.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    pub trip_id: Uuid,
    pub pickup: Place,
    pub destination: Place,
    #[serde(default)]
    pub estimated_price: Option<Piasters>,
    #[serde(deserialize_with = "at_ms")]
    pub expires_at: i64,
    /// The trip that its driver is ending.
    #[serde(default)]
    pub after_trip: Option<Uuid>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TripRef {
    pub trip_id: Uuid,
}

/// A change of a trip, as its room sees it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TripEvent {
    pub trip_id: Uuid,
    pub event: String,
    pub status: Status,
    #[serde(default)]
    pub driver_id: Option<Uuid>,
    #[serde(deserialize_with = "at_ms")]
    pub at: i64,
}

/// A driver's position in a trip room.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sighting {
    pub trip_id: Uuid,
    pub lat: f64,
    pub lng: f64,
    /// The driver's own timestamp, unix milliseconds.
    #[serde(deserialize_with = "at_ms")]
    pub at: i64,
}

/// A trip as REST and acks show it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TripView {
    #[serde(alias = "tripId")]
    pub id: Uuid,
    pub status: Status,
    #[serde(default)]
    pub payment_status: Option<PaymentStatus>,
    #[serde(default)]
    pub driver_id: Option<Uuid>,
    #[serde(default)]
    pub vehicle_type: Option<Tier>,
    #[serde(default)]
    pub payment_method: Option<PaymentMethod>,
    #[serde(default)]
    pub final_price: Option<Piasters>,
    /// Left out where there is none.
    #[serde(default)]
    pub cancel_fee: Option<Piasters>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct TripPage {
    pub trips: Vec<TripView>,
}

/// What booking answers.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Booked {
    #[serde(alias = "id")]
    pub trip_id: Uuid,
    #[serde(default)]
    pub price: Option<Piasters>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Estimates {
    pub estimates: Vec<Estimate>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    pub vehicle_type: Tier,
    pub quote_id: String,
    pub price: Piasters,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Wallet {
    /// Without what is held.
    pub balance: Piasters,
    #[serde(default)]
    pub held: Piasters,
    #[serde(default)]
    pub due: Piasters,
}

impl Wallet {
    /// What the account is worth, piasters: holds still belong to it, a rider's dues don't. A
    /// driver has one account which may go below zero: his due is that balance, said once more.
    pub const fn net(&self, role: Role) -> i64 {
        let own = self.balance.0 + self.held.0;
        match role {
            Role::Rider => own - self.due.0,
            Role::Driver | Role::Admin => own,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignedIn {
    pub user: User,
    #[serde(flatten)]
    pub tokens: Tokens,
}

#[derive(Clone, Debug, Deserialize)]
pub struct User {
    pub id: Uuid,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    pub token: String,
    pub refresh_token: String,
    /// Seconds.
    pub expires_in: u64,
}

/// A position on its way up.
#[derive(Clone, Copy, Debug)]
pub struct Fix {
    pub at: Place,
    pub heading: f64,
    pub speed_kmh: f64,
    pub accuracy_m: f64,
    /// Unix milliseconds.
    pub timestamp: i64,
}

#[derive(Serialize)]
pub struct FixJson {
    lat: f64,
    lng: f64,
    heading: f64,
    speed: f64,
    accuracy: f64,
    timestamp: String,
}

/// Kind and version that open a binary position.
const POSITION: [u8; 2] = [1, 1];
const POSITION_BYTES: usize = 32;

impl Fix {
    pub fn json(&self) -> FixJson {
        let tenths = |value: f64| (value * 10.0).round() / 10.0;
        FixJson {
            lat: self.at.lat,
            lng: self.at.lng,
            heading: tenths(self.heading).rem_euclid(360.0),
            speed: tenths(self.speed_kmh),
            accuracy: tenths(self.accuracy_m),
            timestamp: rfc3339(self.timestamp),
        }
    }

    /// 32 bytes, little-endian (SPEC: kind, version, flags, ackSeq, lat, lng, heading, speed,
    /// accuracy, 0, unix ms).
    pub fn binary(&self) -> [u8; POSITION_BYTES] {
        let (lat, lng) = self.at.e7();
        let mut frame = [0; POSITION_BYTES];
        frame[..2].copy_from_slice(&POSITION);
        frame[8..12].copy_from_slice(&lat.to_le_bytes());
        frame[12..16].copy_from_slice(&lng.to_le_bytes());
        let hundredths = (self.heading.rem_euclid(360.0) * 100.0).round() as u16 % 36_000;
        frame[16..18].copy_from_slice(&hundredths.to_le_bytes());
        frame[18..20].copy_from_slice(&((self.speed_kmh * 10.0).round() as u16).to_le_bytes());
        frame[20..22].copy_from_slice(&((self.accuracy_m * 10.0).round() as u16).to_le_bytes());
        frame[24..32].copy_from_slice(&self.timestamp.to_le_bytes());
        frame
    }
}

impl Sighting {
    /// A binary position on its way down: the trip's id, then the frame as it goes up.
    pub fn from_binary(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != 16 + POSITION_BYTES || bytes[16..18] != POSITION {
            return None;
        }
        let (trip, frame) = bytes.split_at(16);
        let number = |at: usize| Some(i32::from_le_bytes(frame.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            trip_id: Uuid::from_slice(trip).ok()?,
            lat: f64::from(number(8)?) / 1e7,
            lng: f64::from(number(12)?) / 1e7,
            at: i64::from_le_bytes(frame[24..32].try_into().ok()?),
        })
    }
}

/// Unix milliseconds as RFC 3339, UTC, three decimals.
pub fn rfc3339(unix_ms: i64) -> String {
    Timestamp::from_millisecond(unix_ms)
        .map_or_else(|_| unix_ms.to_string(), |at| format!("{at:.3}"))
}

pub fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

fn at_ms<'de, D: Deserializer<'de>>(input: D) -> Result<i64, D::Error> {
    let text = Cow::<'de, str>::deserialize(input)?;
    let at: Timestamp = text.parse().map_err(D::Error::custom)?;
    Ok(at.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_and_shared_exactly() {
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(Piasters::parse(text).map(|p| p.0), expected, "{text}");
        };
        check("42.5", Some(4_250));
        check("-3.07", Some(-307));
        check("0", Some(0));
        check("7.00", Some(700));
        check("1.005", None);
        check("1e3", None);
        check("\"4\"", None);
        assert_eq!(Piasters(1_030).share(1_500).0, 154, "154.5 goes to the even neighbour");
        assert_eq!(Piasters(1_050).share(1_500).0, 158, "157.5 goes to the even neighbour");
        assert_eq!(Piasters(10_000).share(1_500).0, 1_500);
    }

    #[test]
    fn a_binary_position_comes_back_as_it_went() {
        let fix = Fix {
            at: Place::new(40.758_012_3, -73.985_512_3),
            heading: 271.25,
            speed_kmh: 97.4,
            accuracy_m: 6.5,
            timestamp: 1_790_000_000_123,
        };
        let (trip, frame) = (Uuid::from_u128(7), fix.binary());
        assert_eq!(&frame[..8], &[1, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(u16::from_le_bytes([frame[16], frame[17]]), 27_125);
        assert_eq!(u16::from_le_bytes([frame[18], frame[19]]), 974);
        let down = [trip.as_bytes().as_slice(), &frame].concat();
        let seen = Sighting::from_binary(&down).expect("a good frame");
        assert_eq!((seen.trip_id, seen.at), (trip, fix.timestamp));
        assert_eq!(Place::new(seen.lat, seen.lng).e7(), fix.at.e7());
        assert!(Sighting::from_binary(&down[..40]).is_none());
    }

    #[test]
    fn frames_of_the_document_are_read() {
        let text = r#"{"type":"trip.event","room":"trip:1","epoch":1,"seq":7,"data":{
            "tripId":"0190b8a0-0000-7000-8000-000000000001","event":"accepted","status":"accepted",
            "paymentStatus":"pending","driverId":"0190b8a0-0000-7000-8000-000000000002",
            "at":"2026-11-22T16:00:00.250Z"}}"#;
        let frame: Envelope<'_> = serde_json::from_str(text).expect("an envelope");
        assert_eq!((frame.kind.as_ref(), frame.seq, frame.epoch), ("trip.event", Some(7), Some(1)));
        let raw = frame.data.expect("data").get();
        let event: TripEvent = serde_json::from_str(raw).expect("an event");
        assert_eq!((event.status, event.at % 1_000), (Status::Accepted, 250));
        let wallet: Wallet =
            serde_json::from_str(r#"{"balance":-12.5,"held":3,"due":0.25,"currency":"EGP"}"#)
                .expect("a wallet");
        assert_eq!(wallet.net(Role::Rider), -1_250 + 300 - 25);
        assert_eq!(wallet.net(Role::Driver), -1_250 + 300);
    }

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        assert_eq!(rfc3339(1_790_000_000_000), "2026-09-21T14:13:20.000Z");
    }
}
