//! Outward shapes: positions, the nearby map, tracks, profiles and decisions.

use base::{CityId, DriverId, FieldProblem, Millis, Point, Problem, Tier};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::cells::{CellDelta, Moved};
use crate::meter::TrackPoint;
use crate::model::{DriverStatus, Fix, NearbyDriver};

/// A position as an app sends it in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocationReport {
    pub lat: f64,
    pub lng: f64,
    /// Degrees clockwise from north, 0 to 360.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heading: Option<f32>,
    /// km/h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<f32>,
    /// Metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f32>,
    pub timestamp: Millis,
}

impl LocationReport {
    /// The position, when it is a place on Earth.
    pub fn fix(&self) -> Result<Fix, Problem> {
        let at = Point::new(self.lat, self.lng)?;
        Ok(Fix {
            at,
            heading: self.heading,
            speed_kmh: self.speed,
            accuracy_m: self.accuracy,
            timestamp: self.timestamp,
        })
    }
}

/// An available driver, as `GET /location/nearby` and `nearby.update` show him.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NearbyDriverView {
    /// A pseudonym, new for every online session.
    pub id: String,
    pub lat: f64,
    pub lng: f64,
    /// Metres; not told in deltas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance: Option<f64>,
    pub vehicle_type: Tier,
    pub rating: f32,
    pub heading: Option<f32>,
    pub last_update: Millis,
}

impl From<&NearbyDriver> for NearbyDriverView {
    fn from(driver: &NearbyDriver) -> Self {
        Self {
            id: driver.alias.clone(),
            lat: driver.at.lat(),
            lng: driver.at.lng(),
            distance: driver.distance_m.map(|metres| (metres * 10.0).round() / 10.0),
            vehicle_type: driver.tier,
            rating: driver.rating,
            heading: driver.heading,
            last_update: driver.last_update,
        }
    }
}

/// A driver who moved within a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NearbyMovedView {
    pub id: String,
    pub lat: f64,
    pub lng: f64,
    pub heading: Option<f32>,
}

impl From<&Moved> for NearbyMovedView {
    fn from(moved: &Moved) -> Self {
        let (lat, lng) = (moved.at.lat(), moved.at.lng());
        Self { id: moved.alias.clone(), lat, lng, heading: moved.heading }
    }
}

/// The data of a `nearby.update`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NearbyUpdateView {
    pub entered: Vec<NearbyDriverView>,
    pub moved: Vec<NearbyMovedView>,
    pub left: Vec<String>,
}

impl From<&CellDelta> for NearbyUpdateView {
    fn from(delta: &CellDelta) -> Self {
        Self {
            entered: delta.entered.iter().map(Into::into).collect(),
            moved: delta.moved.iter().map(Into::into).collect(),
            left: delta.left.clone(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrackPointView {
    pub lat: f64,
    pub lng: f64,
    pub at: Millis,
}

/// A trip's track, as `GET /trips/{id}/track` answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrackView {
    pub points: Vec<TrackPointView>,
    /// Metres, filtered: the distance of the fare.
    pub distance: u32,
    /// The same points, encoded (polyline algorithm, five decimals).
    pub polyline: String,
}

impl TrackView {
    pub(crate) fn new(points: &[TrackPoint], distance_m: u32) -> Self {
        let view = |point: &TrackPoint| TrackPointView {
            lat: point.at.lat(),
            lng: point.at.lng(),
            at: point.time,
        };
        Self {
            points: points.iter().map(view).collect(),
            distance: distance_m,
            polyline: polyline(points),
        }
    }
}

/// Google's encoded polyline: differences in 1e-5 degrees, five bits a character.
fn polyline(points: &[TrackPoint]) -> String {
    let mut text = String::with_capacity(points.len() * 4);
    let (mut lat, mut lng) = (0i64, 0i64);
    for point in points {
        let next = |degrees: f64| (degrees * 1e5).round() as i64;
        let (to_lat, to_lng) = (next(point.at.lat()), next(point.at.lng()));
        for step in [to_lat - lat, to_lng - lng] {
            let mut bits = (step << 1) ^ (step >> 63);
            while bits >= 0x20 {
                text.push(char::from((0x20 | (bits & 0x1f)) as u8 + 63));
                bits >>= 5;
            }
            text.push(char::from(bits as u8 + 63));
        }
        (lat, lng) = (to_lat, to_lng);
    }
    text
}

/// Body of `POST /drivers/profile`. Checked when it is saved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    pub vehicle: VehicleBody,
    /// Driving licence, vehicle licence and insurance are required.
    pub documents: Vec<DocumentBody>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VehicleBody {
    #[serde(rename = "type")]
    pub tier: Tier,
    pub make: String,
    pub model: String,
    pub plate: String,
    pub color: String,
    pub year: i16,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DocumentBody {
    /// `driving_licence`, `vehicle_licence`, `insurance`, or another word of that form.
    pub kind: String,
    pub number: String,
    pub expires_at: Millis,
}

/// A document on file.
pub type DocumentView = DocumentBody;

/// Body of `POST /admin/drivers/{id}/decision`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    pub decision: DecisionKind,
    #[serde(default)]
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    Approve,
    Reject,
    Suspend,
}

/// A driver's papers and where his approval stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriverView {
    pub id: DriverId,
    pub name: String,
    pub status: DriverStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    pub city_id: CityId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vehicle: Option<VehicleBody>,
    pub documents: Vec<DocumentView>,
    pub created_at: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Millis>,
}

/// Drivers who wait for a decision, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriversPage {
    pub drivers: Vec<DriverView>,
    pub next_cursor: Option<String>,
}

/// What is wrong with a profile; empty when nothing is. Texts are trimmed on the way.
pub(crate) fn check_profile(profile: &mut Profile, now: Millis) -> Vec<FieldProblem> {
    let mut wrong = Vec::new();
    let mut field = |name: String, code: &str, message: &str| {
        wrong.push(FieldProblem {
            field: name,
            code: code.to_owned(),
            message: message.to_owned(),
        });
    };
    let vehicle = &mut profile.vehicle;
    let texts = [
        ("make", &mut vehicle.make, 50),
        ("model", &mut vehicle.model, 50),
        ("plate", &mut vehicle.plate, 20),
        ("color", &mut vehicle.color, 30),
    ];
    for (name, text, most) in texts {
        *text = text.trim().to_owned();
        if text.is_empty() || text.chars().count() > most {
            field(format!("vehicle.{name}"), "length", &format!("1 to {most} characters"));
        }
    }
    if !(1980..=2100).contains(&vehicle.year) {
        field("vehicle.year".to_owned(), "out_of_range", "1980 to 2100");
    }
    if profile.documents.len() > DOCUMENTS_MAX {
        field("documents".to_owned(), "too_many", "at most 20 documents");
        return wrong;
    }
    for (place, document) in profile.documents.iter_mut().enumerate() {
        let name = |part: &str| format!("documents[{place}].{part}");
        document.kind = document.kind.trim().to_owned();
        document.number = document.number.trim().to_owned();
        let word = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if document.kind.is_empty() || document.kind.len() > 40 || !word(&document.kind) {
            field(name("kind"), "format", "1 to 40 characters of a to z and _");
        }
        if document.number.is_empty() || document.number.chars().count() > 50 {
            field(name("number"), "length", "1 to 50 characters");
        }
        if document.expires_at <= now {
            field(name("expiresAt"), "expired", "the document has run out");
        }
    }
    for kind in crate::papers::REQUIRED_DOCUMENTS {
        match profile.documents.iter().filter(|document| document.kind == kind).count() {
            0 => field("documents".to_owned(), "missing", &format!("{kind} is required")),
            1 => {}
            _ => field("documents".to_owned(), "duplicate", &format!("{kind} is there twice")),
        }
    }
    wrong
}

const DOCUMENTS_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_is_encoded_as_everyone_encodes_it() {
        let places = [(38.5, -120.2), (40.7, -120.95), (43.252, -126.453)];
        let points: Vec<TrackPoint> = places
            .into_iter()
            .map(|(lat, lng)| TrackPoint {
                at: Point::new(lat, lng).expect("a place"),
                time: Millis(0),
            })
            .collect();
        assert_eq!(polyline(&points), "_p~iF~ps|U_ulLnnqC_mqNvxq`@");
    }

    #[test]
    fn a_place_out_of_range_names_its_field() {
        let report = LocationReport {
            lat: 91.0,
            lng: 31.0,
            heading: None,
            speed: None,
            accuracy: None,
            timestamp: Millis(0),
        };
        let problem = report.fix().expect_err("91 degrees north is nowhere");
        assert_eq!(problem.details["fields"][0]["field"], "lat");
        assert!(LocationReport { lat: 90.0, ..report }.fix().is_ok());
    }

    fn profile() -> Profile {
        let document = |kind: &str| DocumentBody {
            kind: kind.to_owned(),
            number: "A1".to_owned(),
            expires_at: Millis(2000),
        };
        Profile {
            vehicle: VehicleBody {
                tier: Tier::Economy,
                make: " Nissan ".to_owned(),
                model: "Sunny".to_owned(),
                plate: "ABC 123".to_owned(),
                color: "white".to_owned(),
                year: 2020,
            },
            documents: ["driving_licence", "vehicle_licence", "insurance"].map(document).to_vec(),
        }
    }

    #[test]
    fn a_profile_says_what_is_wrong_with_it() {
        let check = |change: fn(&mut Profile), expected: &[&str]| {
            let mut profile = profile();
            change(&mut profile);
            let wrong = check_profile(&mut profile, Millis(1000));
            let found: Vec<String> =
                wrong.iter().map(|w| format!("{} {}", w.field, w.code)).collect();
            assert_eq!(found, expected);
        };
        check(|_| {}, &[]);
        check(|p| p.vehicle.plate = "  ".to_owned(), &["vehicle.plate length"]);
        check(|p| p.vehicle.year = 1979, &["vehicle.year out_of_range"]);
        check(|p| drop(p.documents.pop()), &["documents missing"]);
        check(|p| p.documents[1].expires_at = Millis(1000), &["documents[1].expiresAt expired"]);
        check(|p| p.documents.push(p.documents[0].clone()), &["documents duplicate"]);
        check(
            |p| p.documents[0].kind = "Licence!".to_owned(),
            &["documents[0].kind format", "documents missing"],
        );
    }
}
