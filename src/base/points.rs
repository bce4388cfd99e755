//! Places on Earth: WGS84 degrees, checked when made; great-circle distance in metres.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use utoipa::ToSchema;

/// Mean Earth radius, metres (IUGG R1). One constant everywhere, so that the index, the fare and
/// the tests measure the same distance.
pub const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// A place. `lat` in [−90, 90], `lng` in [−180, 180], both finite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Point {
    lat: f64,
    lng: f64,
}

/// Why two numbers are no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PointError {
    #[error("latitude must be between -90 and 90")]
    Lat,
    #[error("longitude must be between -180 and 180")]
    Lng,
}

impl PointError {
    /// The number that was wrong, as it is named on the wire.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Lat => "lat",
            Self::Lng => "lng",
        }
    }
}

impl Point {
    pub fn new(lat: f64, lng: f64) -> Result<Self, PointError> {
        // NaN is in no range, so it is refused here too.
        if !(-90.0..=90.0).contains(&lat) {
            return Err(PointError::Lat);
        }
        if !(-180.0..=180.0).contains(&lng) {
            return Err(PointError::Lng);
        }
        Ok(Self { lat, lng })
    }

    pub const fn lat(self) -> f64 {
        self.lat
    }

    pub const fn lng(self) -> f64 {
        self.lng
    }

    /// Great-circle distance, metres.
    pub fn distance_m(self, other: Self) -> f64 {
        haversine_m(self.lat, self.lng, other.lat, other.lng)
    }
}

/// Great-circle distance in metres between two places in degrees (haversine formula).
pub fn haversine_m(lat1: f64, lng1: f64, lat2: f64, lng2: f64) -> f64 {
    let (phi1, phi2) = (lat1.to_radians(), lat2.to_radians());
    let sin_phi = ((phi2 - phi1) / 2.0).sin();
    let sin_lambda = ((lng2 - lng1).to_radians() / 2.0).sin();
    let h = sin_phi * sin_phi + phi1.cos() * phi2.cos() * sin_lambda * sin_lambda;
    2.0 * EARTH_RADIUS_M * h.sqrt().min(1.0).asin()
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            lat: f64,
            lng: f64,
        }
        let wire = Wire::deserialize(input)?;
        Self::new(wire.lat, wire.lng).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_out_of_range_is_refused() {
        assert!(Point::new(30.0, 31.0).is_ok());
        assert_eq!(Point::new(f64::NAN, 31.0), Err(PointError::Lat));
        assert_eq!(Point::new(90.1, 31.0), Err(PointError::Lat));
        assert_eq!(Point::new(30.0, f64::INFINITY), Err(PointError::Lng));
        assert_eq!(Point::new(30.0, -180.5), Err(PointError::Lng));
    }

    #[test]
    fn distances_match_known_ones() {
        let check = |a: (f64, f64), b: (f64, f64), expected: f64| {
            let metres = haversine_m(a.0, a.1, b.0, b.1);
            assert!((metres - expected).abs() < 1.0, "{a:?} {b:?}: {metres}");
        };
        check((0.0, 0.0), (0.0, 1.0), 111_195.08);
        check((0.0, 179.5), (0.0, -179.5), 111_195.08);
        check((30.0444, 31.2357), (30.0444, 31.2357), 0.0);
        check((90.0, 0.0), (-90.0, 0.0), 20_015_114.4);
    }
}
