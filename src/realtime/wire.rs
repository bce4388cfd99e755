//! The data of messages, as SPEC 3 and 11 name them; checked in form while they become commands.

use base::{CityId, Millis, OfferId, Piasters, Point, Problem, Tier, TripId, limits};
use flows::OfferAction;
use rooms::codec::Position;
use serde::{Deserialize, Serialize};
use trips::CancelReason;
use utoipa::ToSchema;

use crate::nearby::Asked;

/// Widest map a client may watch, km: its cells stay below what one socket may follow.
const NEARBY_KM: f64 = 8.0;

/// A driver's position.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
pub(crate) struct LocationData {
    lat: f64,
    lng: f64,
    /// Degrees, 0 to 360.
    heading: Option<f32>,
    /// km/h.
    speed: Option<f32>,
    /// Metres.
    accuracy: Option<f32>,
    timestamp: Millis,
}

/// Positions recorded while out of reach, oldest first, at most 200.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct LocationBatchData {
    pub(crate) locations: Vec<LocationData>,
}

/// The driver's wish to be online; a place counts as a first position.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StatusData {
    pub(crate) is_online: bool,
    lat: Option<f64>,
    lng: Option<f64>,
}

/// A driver's answer to an offer.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OfferRespondData {
    pub(crate) trip_id: TripId,
    pub(crate) action: OfferAction,
    /// With a bid: within the offer's `bid`.
    pub(crate) price: Option<Piasters>,
}

/// The rider takes a bid.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BidAcceptData {
    pub(crate) trip_id: TripId,
    pub(crate) offer_id: OfferId,
    /// Refused when the bid is of another price by now. May be absent where the bid was never
    /// raised.
    pub(crate) price: Option<Piasters>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TripStep {
    Arrived,
    Started,
    Completed,
}

/// The driver moves his trip along.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TripStatusData {
    pub(crate) trip_id: TripId,
    pub(crate) status: TripStep,
    /// The rider's PIN, where the city asks for it at the start.
    pub(crate) pin: Option<String>,
    /// What the driver was given, at the end of a trip paid in cash.
    pub(crate) cash_collected: Option<Piasters>,
}

/// Follows a trip: from event `afterSeq` on, or with a snapshot.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TripSubscribeData {
    pub(crate) trip_id: TripId,
    pub(crate) after_seq: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TripRef {
    pub(crate) trip_id: TripId,
}

/// Watches available drivers around a place.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NearbySubscribeData {
    lat: f64,
    lng: f64,
    /// km, at most 8.
    radius: f64,
    vehicle_type: Option<Tier>,
}

/// Watches a whole city; without one, the city where most drivers work.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
pub(crate) struct LiveSubscribeData {
    pub(crate) city: Option<CityId>,
}

/// No data.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
pub(crate) struct NoData {}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TripCancelData {
    pub(crate) trip_id: TripId,
    pub(crate) reason: CancelReason,
}

/// A fresh access token of the same account.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(crate) struct AuthData {
    pub(crate) token: String,
}

/// Goes on in a room behind the last number seen; without numbers a snapshot answers.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResumeData {
    /// `trip:<id>` or `user:<own id>`.
    pub(crate) room: String,
    pub(crate) epoch: Option<u64>,
    pub(crate) after_seq: Option<u64>,
}

/// Answer to following a room: everything behind `seq` comes as it happens.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RoomView {
    pub(crate) room: String,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuthView {
    pub(crate) expires_at: Millis,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateView {
    /// `offline`, `available`, `offered`, `busy` or `cooldown`.
    #[schema(value_type = String)]
    pub(crate) state: fleet::State,
}

/// The node restarts: come back after this many milliseconds and resume.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReconnectData {
    pub(crate) after_ms: u64,
}

/// `lat` and `lng` as a place on Earth.
fn place(lat: f64, lng: f64) -> Result<Point, Problem> {
    Ok(Point::new(lat, lng)?)
}

impl TryFrom<LocationData> for Position {
    type Error = Problem;

    fn try_from(data: LocationData) -> Result<Self, Problem> {
        // Heading, speed and accuracy are judged where positions are: in `fleet`.
        Ok(Self {
            at: place(data.lat, data.lng)?,
            heading: data.heading,
            speed_kmh: data.speed,
            accuracy_m: data.accuracy,
            timestamp: data.timestamp,
        })
    }
}

impl LocationBatchData {
    pub(crate) fn positions(self) -> Result<Vec<Position>, Problem> {
        if self.locations.is_empty() || self.locations.len() > limits::BATCH_POINTS_SOCKET {
            let why = format!("1 to {} points", limits::BATCH_POINTS_SOCKET);
            return Err(Problem::field("locations", "out_of_range", &why));
        }
        self.locations.into_iter().map(Position::try_from).collect()
    }
}

impl StatusData {
    /// The place, if both parts of it are there.
    pub(crate) fn at(&self) -> Result<Option<Point>, Problem> {
        match (self.lat, self.lng) {
            (Some(lat), Some(lng)) => place(lat, lng).map(Some),
            (None, None) => Ok(None),
            (Some(_), None) => Err(Problem::field("lng", "required", "lat comes with lng")),
            (None, Some(_)) => Err(Problem::field("lat", "required", "lng comes with lat")),
        }
    }
}

impl NearbySubscribeData {
    pub(crate) fn asked(&self) -> Result<Asked, Problem> {
        let at = place(self.lat, self.lng)?;
        if !(self.radius > 0.0 && self.radius <= NEARBY_KM) {
            let why = format!("above 0 and at most {NEARBY_KM} km");
            return Err(Problem::field("radius", "out_of_range", &why));
        }
        Ok(Asked { at, radius_m: self.radius * 1000.0, tier: self.vehicle_type })
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;

    fn read<T: DeserializeOwned>(json: &str) -> T {
        serde_json::from_str(json).unwrap()
    }

    /// The field that was refused, or `ok`.
    fn verdict<T>(result: Result<T, Problem>) -> String {
        match result {
            Ok(_) => "ok".to_owned(),
            Err(problem) => problem.details["fields"][0]["field"].as_str().unwrap().to_owned(),
        }
    }

    #[test]
    fn a_place_out_of_range_names_its_field() {
        let check = |rest: &str, expected: &str| {
            let json = format!(r#"{{"timestamp":"2026-11-22T16:00:00Z",{rest}}}"#);
            assert_eq!(
                verdict(Position::try_from(read::<LocationData>(&json))),
                expected,
                "{rest}"
            );
        };
        check(r#""lat":30,"lng":31"#, "ok");
        check(r#""lat":30,"lng":31,"heading":360,"speed":0,"accuracy":5.5,"more":1"#, "ok");
        check(r#""lat":90.01,"lng":31"#, "lat");
        check(r#""lat":30,"lng":-181"#, "lng");
    }

    #[test]
    fn a_backfill_has_a_bounded_number_of_points() {
        let check = |points: usize, expected: &str| {
            let point = r#"{"lat":30,"lng":31,"timestamp":"2026-11-22T16:00:00Z"}"#;
            let json = format!(r#"{{"locations":[{}]}}"#, vec![point; points].join(","));
            assert_eq!(verdict(read::<LocationBatchData>(&json).positions()), expected, "{points}");
        };
        check(0, "locations");
        check(1, "ok");
        check(200, "ok");
        check(201, "locations");
    }

    #[test]
    fn the_map_has_a_bounded_radius() {
        let check = |radius: &str, expected: &str| {
            let json = format!(r#"{{"lat":30,"lng":31,"radius":{radius}}}"#);
            assert_eq!(verdict(read::<NearbySubscribeData>(&json).asked()), expected, "{radius}");
        };
        check("2", "ok");
        check("8", "ok");
        check("8.1", "radius");
        check("0", "radius");
        check("-1", "radius");
    }
}
