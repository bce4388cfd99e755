//! The compact position frame: 32 bytes up, 48 bytes down (the trip's id before the same 32).
//!
//! Little-endian, no padding:
//!
//! | at | type | field |
//! |---|---|---|
//! | 0 | u8 | kind, 1 |
//! | 1 | u8 | version, 1 |
//! | 2 | u16 | flags: 1 no heading, 2 no speed, 4 no accuracy; other bits 0 |
//! | 4 | u32 | up: newest number seen of the sender's user stream, 0 for none; down: 0 |
//! | 8 | i32 | latitude · 10⁷ |
//! | 12 | i32 | longitude · 10⁷ |
//! | 16 | u16 | heading · 100, degrees, ≤ 36000 |
//! | 18 | u16 | speed · 10, km/h |
//! | 20 | u16 | accuracy · 10, m |
//! | 22 | u16 | 0 |
//! | 24 | i64 | milliseconds since 1970 UTC |
//!
//! Guarantees: what decodes is a place on Earth; encoding and decoding are inverse up to the steps
//! above; decoding does not allocate.

use std::cell::RefCell;

use base::{Millis, Point, TripId};
use bytes::{BufMut, Bytes, BytesMut};

/// Length of a position frame from a driver, bytes.
pub const UP_BYTES: usize = 32;
/// Length of a position frame to a follower, bytes.
pub const DOWN_BYTES: usize = 48;

const KIND: u8 = 1;
const VERSION: u8 = 1;
const NO_HEADING: u16 = 1;
const NO_SPEED: u16 = 2;
const NO_ACCURACY: u16 = 4;
const DEGREE: f64 = 1e7;
/// Frames down share chunks of this size, so that a position costs no allocation of its own.
const CHUNK_BYTES: usize = 4096;

/// A driver's position as it travels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    pub at: Point,
    /// Degrees, 0 to 360.
    pub heading: Option<f32>,
    pub speed_kmh: Option<f32>,
    pub accuracy_m: Option<f32>,
    pub timestamp: Millis,
}

/// Why bytes are no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("a position frame has 32 bytes")]
    Length,
    #[error("unknown kind of binary frame")]
    Kind,
    #[error("unknown version of the position frame")]
    Version,
    #[error("unknown flags in the position frame")]
    Flags,
    #[error("the place is not on Earth")]
    Place,
    #[error("the heading is above 360 degrees")]
    Heading,
}

/// A position from a driver, and the newest number he saw of his user stream (0: none).
pub fn decode(frame: &[u8]) -> Result<(Position, u32), CodecError> {
    let frame: &[u8; UP_BYTES] = frame.try_into().map_err(|_| CodecError::Length)?;
    if frame[0] != KIND {
        return Err(CodecError::Kind);
    }
    if frame[1] != VERSION {
        return Err(CodecError::Version);
    }
    let flags = u16_at(frame, 2);
    if flags & !(NO_HEADING | NO_SPEED | NO_ACCURACY) != 0 {
        return Err(CodecError::Flags);
    }
    let lat = f64::from(i32::from_le_bytes(four(frame, 8))) / DEGREE;
    let lng = f64::from(i32::from_le_bytes(four(frame, 12))) / DEGREE;
    let at = Point::new(lat, lng).map_err(|_| CodecError::Place)?;
    let field = |absent: u16, offset: usize, step: f32| {
        (flags & absent == 0).then(|| f32::from(u16_at(frame, offset)) / step)
    };
    let heading = field(NO_HEADING, 16, 100.0);
    if heading.is_some_and(|degrees| degrees > 360.0) {
        return Err(CodecError::Heading);
    }
    let position = Position {
        at,
        heading,
        speed_kmh: field(NO_SPEED, 18, 10.0),
        accuracy_m: field(NO_ACCURACY, 20, 10.0),
        timestamp: Millis(i64::from_le_bytes(eight(frame, 24))),
    };
    Ok((position, u32::from_le_bytes(four(frame, 4))))
}

/// The frame that [`decode`] reads.
pub fn encode(position: &Position, ack: u32) -> [u8; UP_BYTES] {
    let (mut frame, mut flags) = ([0; UP_BYTES], 0);
    let mut field = |offset: usize, value: Option<f32>, step: f32, absent: u16| match value {
        Some(value) => {
            // `as` saturates, so a value beyond the field becomes the field's largest.
            let scaled = (value * step).round() as u16;
            frame[offset..offset + 2].copy_from_slice(&scaled.to_le_bytes());
        }
        None => flags |= absent,
    };
    field(16, position.heading, 100.0, NO_HEADING);
    field(18, position.speed_kmh, 10.0, NO_SPEED);
    field(20, position.accuracy_m, 10.0, NO_ACCURACY);
    frame[0] = KIND;
    frame[1] = VERSION;
    frame[2..4].copy_from_slice(&flags.to_le_bytes());
    frame[4..8].copy_from_slice(&ack.to_le_bytes());
    frame[8..12].copy_from_slice(&fixed(position.at.lat()).to_le_bytes());
    frame[12..16].copy_from_slice(&fixed(position.at.lng()).to_le_bytes());
    frame[24..32].copy_from_slice(&position.timestamp.0.to_le_bytes());
    frame
}

/// The frame for followers of `trip`.
pub fn trip_location(trip: TripId, position: &Position) -> Bytes {
    thread_local! {
        static CHUNK: RefCell<BytesMut> = RefCell::new(BytesMut::new());
    }
    CHUNK.with_borrow_mut(|chunk| {
        if chunk.capacity() < DOWN_BYTES {
            *chunk = BytesMut::with_capacity(CHUNK_BYTES);
        }
        chunk.put_slice(&trip.as_u128().to_be_bytes());
        chunk.put_slice(&encode(position, 0));
        chunk.split().freeze()
    })
}

/// A frame down, for clients and tests.
pub fn decode_down(frame: &[u8]) -> Result<(TripId, Position), CodecError> {
    let (id, rest) = frame.split_first_chunk::<16>().ok_or(CodecError::Length)?;
    let (position, _) = decode(rest)?;
    Ok((TripId::from_u128(u128::from_be_bytes(*id)), position))
}

fn fixed(degrees: f64) -> i32 {
    (degrees * DEGREE).round() as i32
}

fn u16_at(frame: &[u8; UP_BYTES], at: usize) -> u16 {
    u16::from_le_bytes([frame[at], frame[at + 1]])
}

fn four(frame: &[u8; UP_BYTES], at: usize) -> [u8; 4] {
    [frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]
}

fn eight(frame: &[u8; UP_BYTES], at: usize) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&frame[at..at + 8]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cairo() -> Position {
        Position {
            at: Point::new(30.044_42, 31.235_712).expect("on Earth"),
            heading: Some(87.5),
            speed_kmh: Some(42.3),
            accuracy_m: Some(6.5),
            timestamp: Millis(1_700_000_000_120),
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Made by another program from the table above; clients test against the same file.
    #[test]
    fn golden_frames_are_read_and_written_as_they_stand() {
        let text = include_str!("../../schema/vectors/position.json");
        let vectors: serde_json::Value = serde_json::from_str(text).expect("JSON");
        for vector in vectors["valid"].as_array().expect("a list") {
            let number = |field: &str| vector[field].as_f64();
            let place = number("lat").zip(number("lng")).expect("a place");
            let position = Position {
                at: Point::new(place.0, place.1).expect("on Earth"),
                heading: number("heading").map(|value| value as f32),
                speed_kmh: number("speed").map(|value| value as f32),
                accuracy_m: number("accuracy").map(|value| value as f32),
                timestamp: Millis(vector["unixMs"].as_i64().expect("a time")),
            };
            let ack = u32::try_from(vector["ack"].as_u64().expect("a number")).expect("32 bits");
            let trip: TripId = vector["trip"].as_str().expect("an id").parse().expect("an id");
            let (up, down) = (encode(&position, ack), trip_location(trip, &position));
            assert_eq!(hex(&up), vector["up"], "{}", vector["name"]);
            assert_eq!(hex(&down), vector["down"], "{}", vector["name"]);
            assert_eq!(decode(&up), Ok((position, ack)));
        }
        for vector in vectors["invalid"].as_array().expect("a list") {
            let frame = bytes_of(vector["up"].as_str().expect("hex"));
            assert!(decode(&frame).is_err(), "{}", vector["name"]);
        }
    }

    fn bytes_of(hex: &str) -> Vec<u8> {
        let pair = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        (0..hex.len()).step_by(2).map(pair).collect()
    }

    #[test]
    fn a_frame_down_is_the_trip_and_the_same_bytes() {
        let trip = TripId::from_u128(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
        let frame = trip_location(trip, &cairo());
        assert_eq!(frame.len(), DOWN_BYTES);
        assert_eq!(hex(&frame[..16]), "0123456789abcdef0011223344556677");
        assert_eq!(frame[16..], encode(&cairo(), 0));
        assert_eq!(decode_down(&frame), Ok((trip, cairo())));
    }

    #[test]
    fn what_is_absent_stays_absent() {
        let bare = Position { heading: None, speed_kmh: None, accuracy_m: None, ..cairo() };
        assert_eq!(decode(&encode(&bare, 0)), Ok((bare, 0)));
    }

    #[test]
    fn what_is_no_position_is_refused() {
        let check = |change: &dyn Fn(&mut [u8; UP_BYTES]), expected: CodecError| {
            let mut frame = encode(&cairo(), 0);
            change(&mut frame);
            assert_eq!(decode(&frame), Err(expected));
        };
        assert_eq!(decode(&[]), Err(CodecError::Length));
        assert_eq!(decode(&[1; 33]), Err(CodecError::Length));
        check(&|frame| frame[0] = 2, CodecError::Kind);
        check(&|frame| frame[1] = 9, CodecError::Version);
        check(&|frame| frame[3] = 0x80, CodecError::Flags);
        check(&|frame| frame[8..12].fill(0x7f), CodecError::Place);
        check(&|frame| frame[16..18].fill(0xff), CodecError::Heading);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(0_u8.., 0..64)) {
            if let Ok((position, ack)) = decode(&bytes) {
                proptest::prop_assert_eq!(decode(&encode(&position, ack)), Ok((position, ack)));
            }
        }
    }
}
