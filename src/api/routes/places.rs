//! Places in bodies: numbers first, so that what is wrong is told by its field.

use base::{Point, PointError};
use serde::Deserialize;
use trips::Place;
use utoipa::ToSchema;

use crate::fields::{Fields, trimmed_option};

/// Longest address, characters.
const ADDRESS_MAX: usize = 300;

/// Degrees, WGS84.
#[derive(Clone, Copy, Deserialize, ToSchema)]
pub(crate) struct PointBody {
    #[schema(minimum = -90, maximum = 90)]
    pub lat: f64,
    #[schema(minimum = -180, maximum = 180)]
    pub lng: f64,
}

/// A place as people name it.
#[derive(Clone, Deserialize, ToSchema)]
pub(crate) struct PlaceBody {
    #[schema(minimum = -90, maximum = 90)]
    pub lat: f64,
    #[schema(minimum = -180, maximum = 180)]
    pub lng: f64,
    #[serde(default, deserialize_with = "trimmed_option")]
    pub address: Option<String>,
}

impl PointBody {
    pub(crate) fn check(self, field: &str, fields: &mut Fields) {
        check_point(self.lat, self.lng, field, fields);
    }

    /// `None` only for what [`PointBody::check`] refuses.
    pub(crate) fn point(self) -> Option<Point> {
        Point::new(self.lat, self.lng).ok()
    }
}

impl PlaceBody {
    pub(crate) fn check(&self, field: &str, fields: &mut Fields) {
        check_point(self.lat, self.lng, field, fields);
        if let Some(address) = &self.address {
            fields.text(&format!("{field}.address"), address, 1, ADDRESS_MAX);
        }
    }

    /// `None` only for what [`PlaceBody::check`] refuses.
    pub(crate) fn place(self) -> Option<Place> {
        Some(Place { at: Point::new(self.lat, self.lng).ok()?, address: self.address })
    }
}

/// Tells which of the two numbers is out of range.
pub(crate) fn check_point(lat: f64, lng: f64, field: &str, fields: &mut Fields) {
    let Err(error) = Point::new(lat, lng) else { return };
    let name = match error {
        PointError::Lat => "lat",
        PointError::Lng => "lng",
    };
    let path = if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
    fields.wrong(&path, "out_of_range", &error.to_string());
}
