//! Marks by which a track is known again, wherever in another track it begins. Pure.
//!
//! The positions are rounded to about a metre, those that repeat the one before are left out, and
//! every [`GRAM`] in a row make one number. Of these numbers the smallest [`MARKS`] are kept: the
//! same stretch has the same smallest numbers, so that two tracks share about as many of their
//! marks as they share of the way (A. Z. Broder, *On the resemblance and containment of documents*,
//! 1997). Two drives of one road differ by metres at every position and share none.
//!
//! What is kept is compared with what later programs make: the numbers may never change.

use std::collections::BTreeSet;

use base::Point;
use sha2::{Digest, Sha256};

use crate::conduct::Spot;

/// Positions in a row that make one number.
const GRAM: usize = 8;
/// Numbers that are kept of a track.
pub(crate) const MARKS: usize = 8;
/// So many shared marks are no chance: half of the way, or a little less.
pub(crate) const REPLAYED: i16 = 4;
/// Too short a track has too few numbers to choose from.
const SHORTEST: usize = 3 * MARKS;

/// Of a track in order of time; none where it is too short to say anything.
pub(crate) fn prints(spots: &[Spot]) -> Vec<i64> {
    let mut places: Vec<(i32, i32)> =
        spots.iter().filter(|spot| !spot.suspect).map(|spot| place(spot.at)).collect();
    places.dedup();
    if places.len() < SHORTEST {
        return Vec::new();
    }
    let numbers: BTreeSet<i64> = places.windows(GRAM).map(number).collect();
    numbers.into_iter().take(MARKS).collect()
}

/// Hundred-thousandths of a degree.
fn place(at: Point) -> (i32, i32) {
    let rounded = |degrees: f64| (degrees * 1e5).round() as i32;
    (rounded(at.lat()), rounded(at.lng()))
}

fn number(places: &[(i32, i32)]) -> i64 {
    let mut hash = Sha256::new();
    for (lat, lng) in places {
        hash.update(lat.to_le_bytes());
        hash.update(lng.to_le_bytes());
    }
    let bytes: [u8; 32] = hash.finalize().into();
    let mut first = [0; 8];
    first.copy_from_slice(&bytes[..8]);
    i64::from_le_bytes(first)
}
