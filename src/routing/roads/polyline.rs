//! Encodes a line the way maps draw it (Google's encoded polyline, precision 5).

use base::Point;

/// The text of a line. Points that fall together at this precision are written once.
pub(crate) fn encode(points: &[Point]) -> String {
    let mut text = String::with_capacity(points.len() * 5);
    let mut last = [0i64; 2];
    for (place, point) in points.iter().enumerate() {
        let next = [point.lat(), point.lng()].map(|degrees| (degrees * 1e5).round() as i64);
        if place > 0 && next == last {
            continue;
        }
        (0..2).for_each(|axis| push(&mut text, next[axis] - last[axis]));
        last = next;
    }
    text
}

/// Five bits at a time, the lowest first, sign in the lowest.
fn push(text: &mut String, step: i64) {
    let mut bits = (step << 1) ^ (step >> 63);
    while bits >= 0x20 {
        text.push(letter(0x20 | (bits & 0x1f)));
        bits >>= 5;
    }
    text.push(letter(bits));
}

fn letter(bits: i64) -> char {
    char::from(bits as u8 + 63)
}
