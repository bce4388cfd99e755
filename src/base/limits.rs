//! Limits that several rooms agree on, side by side so that they can guard each other.
//! A limit that only one room knows lives in that room.

use std::time::Duration;

/// How long a driver may look at an offer (FIRST_ACCEPT).
pub const OFFER_TTL: Duration = Duration::from_secs(15);
/// Silence after which a driver is no longer online.
pub const PRESENCE_TTL: Duration = Duration::from_secs(30);
/// Oldest position a driver may have and still be found nearby.
pub const FRESH_TTL: Duration = Duration::from_secs(60);
/// Rest after a completed trip.
pub const COOLDOWN: Duration = Duration::from_secs(60);
/// How long a quoted price is a promise.
pub const QUOTE_TTL: Duration = Duration::from_secs(600);
/// Largest JSON body of a request, bytes.
pub const BODY_BYTES: usize = 1_000_000;
/// Largest frame of a socket, bytes.
pub const FRAME_BYTES: usize = 64 * 1024;
/// Highest fare, in piasters (10 000 EGP).
pub const FARE_MAX: i64 = 1_000_000;
/// Most rows of a page.
pub const PAGE_MAX: u32 = 100;
/// Most points in one REST backfill.
pub const BATCH_POINTS_REST: usize = 500;
/// Most points in one socket backfill.
pub const BATCH_POINTS_SOCKET: usize = 200;
/// Most stored points of a trip's track.
pub const TRACK_POINTS: usize = 1000;

// A driver must not vanish from presence and still hold an offer.
const _: () = assert!(OFFER_TTL.as_millis() < PRESENCE_TTL.as_millis());
// Whoever is online must be fresh enough to be found.
const _: () = assert!(PRESENCE_TTL.as_millis() <= FRESH_TTL.as_millis());
