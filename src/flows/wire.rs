//! What flows push to sockets: offers, their end, a driver's position in a trip room.

use base::{Millis, Piasters, TripId};
use bytes::Bytes;
use dispatch::Matching;
use fleet::Fix;
use rooms::{Format, Frame};
use serde::Serialize;
use utoipa::ToSchema;

/// A trip shown to one driver.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OfferView {
    pub trip_id: TripId,
    pub pickup: trips::Place,
    pub destination: trips::Place,
    pub estimated_price: Piasters,
    /// Metres.
    pub estimated_distance: u32,
    /// Seconds.
    pub estimated_duration: u32,
    /// Seconds until the driver could be at the pickup.
    pub pickup_eta: u32,
    pub expires_at: Millis,
    /// The trip that the driver is ending: this one would be his next, its `pickupEta` with what is
    /// left of that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_trip: Option<TripId>,
    /// The pickup of a trip that was booked ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<Millis>,
    /// To stand by only: another one drives the trip, and who accepts this is free, and asked first
    /// should that one not come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standby: Option<bool>,
    /// Where the driver bids a price, and the rider picks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bid: Option<BidRange>,
}

/// What may be bid, to half pounds.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct BidRange {
    pub min: Piasters,
    pub max: Piasters,
    /// Nothing is bid from then on; a bid stands until the offer ends.
    pub until: Millis,
}

/// An offer that ended without this driver's doing.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OfferRevokedView {
    pub trip_id: TripId,
    /// `expired`, `taken`, `cancelled` or `lost`; `standby_over` to who stood by.
    pub reason: &'static str,
}

/// How the search for a rider's driver stands, told while his city is overloaded and he stands in
/// line: whenever his place has changed enough to matter, and when he has none any more, because it
/// is his turn or the line is gone.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MatchingView {
    pub trip_id: TripId,
    pub status: Matching,
    /// 1 is next; absent once he is in line no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u32>,
}

/// The driver's position in a trip room.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TripLocationView {
    pub trip_id: TripId,
    pub lat: f64,
    pub lng: f64,
    pub heading: Option<f32>,
    /// km/h.
    pub speed: Option<f32>,
    pub at: Millis,
}

#[derive(Serialize)]
struct Push<'a, T> {
    r#type: &'a str,
    room: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    data: &'a T,
}

/// A numbered event frame `{type, room, epoch, seq, data}`.
pub(crate) fn event_frame<T: Serialize>(
    kind: &str,
    room: String,
    epoch: u64,
    seq: u64,
    data: &T,
) -> Frame {
    let push = Push { r#type: kind, room, epoch: Some(epoch), seq: Some(seq), data };
    Frame::json(serde_json::to_vec(&push).unwrap_or_default().into())
}

/// Name of a trip's room on the wire.
pub(crate) fn trip_room(trip: TripId) -> String {
    format!("trip:{trip}")
}

/// A position for the followers of a trip: JSON text, or the compact frame of `schema/`.
pub(crate) fn encode_trip_location(trip: TripId, fix: &Fix, format: Format) -> Bytes {
    match format {
        Format::Binary => rooms::codec::trip_location(trip, &position(fix)),
        Format::Json => {
            let data = TripLocationView {
                trip_id: trip,
                lat: fix.at.lat(),
                lng: fix.at.lng(),
                heading: fix.heading,
                speed: fix.speed_kmh,
                at: fix.timestamp,
            };
            let room = trip_room(trip);
            let push = Push { r#type: "trip.location", room, epoch: None, seq: None, data: &data };
            serde_json::to_vec(&push).unwrap_or_default().into()
        }
    }
}

fn position(fix: &Fix) -> rooms::codec::Position {
    rooms::codec::Position {
        at: fix.at,
        heading: fix.heading,
        speed_kmh: fix.speed_kmh,
        accuracy_m: fix.accuracy_m,
        timestamp: fix.timestamp,
    }
}
