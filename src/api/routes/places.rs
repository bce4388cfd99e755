//! Places in bodies: numbers first, so that what is wrong is told by its field.

use base::Point;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::fields::Fields;

/// Degrees, WGS84.
#[derive(Clone, Copy, Deserialize, ToSchema)]
pub(crate) struct PointBody {
    #[schema(minimum = -90, maximum = 90)]
    pub lat: f64,
    #[schema(minimum = -180, maximum = 180)]
    pub lng: f64,
}

impl PointBody {
    pub(crate) fn check(self, field: &str, fields: &mut Fields) {
        fields.point(field, self.lat, self.lng);
    }

    /// `None` only for what [`PointBody::check`] refuses.
    pub(crate) fn point(self) -> Option<Point> {
        Point::new(self.lat, self.lng).ok()
    }
}
