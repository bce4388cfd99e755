//! Judges positions: are they in range, of their time, and can a car have been there?
//!
//! Pure: the caller passes `now` and keeps one [`Track`] per driver.

use std::time::Duration;

use base::{Millis, Point};

use crate::model::{Fix, FixError};

/// Positions older than this are of no use to anyone.
pub(crate) const BACKFILL: Duration = Duration::from_secs(24 * 3600);
/// A position reported as "now" that is older than this by the server's clock says where he was,
/// not where he is. Generous, because phones' clocks are wrong; freshness goes by the server's
/// clock.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(300);
/// A coarser position (metres) says little more than the city.
pub(crate) const ACCURACY_MAX_M: f32 = 500.0;

const JUMP_KMH: f64 = 200.0;
const JUMP_M: f64 = 500.0;
/// So many points must agree with a jump before it is believed.
const CONFIRMATIONS: u8 = 2;

/// A position in range; `late_ms` was cut off when it came from the future.
pub(crate) struct Admitted {
    pub(crate) fix: Fix,
    pub(crate) from_future: bool,
}

/// Ranges, age and accuracy. A time in the future becomes `now`.
pub(crate) fn admit(fix: &Fix, now: Millis) -> Result<Admitted, FixError> {
    // NaN is in no range.
    if fix.heading.is_some_and(|heading| !(0.0..=360.0).contains(&heading)) {
        return Err(FixError::Heading);
    }
    if fix.speed_kmh.is_some_and(|speed| !(0.0..f32::INFINITY).contains(&speed)) {
        return Err(FixError::Speed);
    }
    if fix.accuracy_m.is_some_and(|accuracy| !(0.0..f32::INFINITY).contains(&accuracy)) {
        return Err(FixError::Accuracy);
    }
    if fix.timestamp < now - BACKFILL {
        return Err(FixError::TooOld);
    }
    if fix.accuracy_m.is_some_and(|accuracy| accuracy > ACCURACY_MAX_M) {
        return Err(FixError::TooInaccurate);
    }
    let from_future = fix.timestamp > now;
    let timestamp = fix.timestamp.min(now);
    Ok(Admitted { fix: Fix { timestamp, ..*fix }, from_future })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The newest place he is at.
    Live,
    /// As live, but he can't have driven there from the place before.
    Moved,
    /// Older than the newest: history only.
    Late,
    /// He can't be there: out of the live map until the next points agree.
    Suspect,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Point,
    time: Millis,
}

/// What is remembered of a driver to judge his next position.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Track {
    newest: Option<Mark>,
    suspect: Option<(Mark, u8)>,
}

impl Track {
    pub(crate) fn judge(&mut self, at: Point, time: Millis) -> Verdict {
        let mark = Mark { at, time };
        let Some(newest) = self.newest else {
            self.newest = Some(mark);
            return Verdict::Live;
        };
        if time < newest.time {
            return Verdict::Late;
        }
        if !jumps(newest, mark) {
            *self = Self { newest: Some(mark), suspect: None };
            return Verdict::Live;
        }
        match self.suspect {
            Some((suspect, agreed)) if time >= suspect.time && !jumps(suspect, mark) => {
                if agreed + 1 >= CONFIRMATIONS {
                    *self = Self { newest: Some(mark), suspect: None };
                    return Verdict::Moved;
                }
                self.suspect = Some((mark, agreed + 1));
            }
            Some(_) | None => self.suspect = Some((mark, 0)),
        }
        Verdict::Suspect
    }
}

/// Faster than any car and farther than any error, both.
fn jumps(from: Mark, to: Mark) -> bool {
    let metres = from.at.distance_m(to.at);
    if metres <= JUMP_M {
        return false;
    }
    let hours = to.time.since(from.time) as f64 / 3_600_000.0;
    // At the same moment in two places: no speed explains that.
    hours <= 0.0 || metres / 1000.0 / hours > JUMP_KMH
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_700_000_000_000);

    fn at(north_m: f64) -> Point {
        Point::new(30.0 + north_m / 111_195.0, 31.0).expect("a place of the test")
    }

    fn fix() -> Fix {
        Fix { at: at(0.0), heading: None, speed_kmh: None, accuracy_m: None, timestamp: NOW }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let check = |fix: Fix, expected: Result<i64, FixError>| {
            let found = admit(&fix, NOW).map(|admitted| admitted.fix.timestamp.since(NOW));
            assert_eq!(found, expected, "{fix:?}");
        };
        check(fix(), Ok(0));
        check(Fix { heading: Some(360.0), ..fix() }, Ok(0));
        check(Fix { heading: Some(360.1), ..fix() }, Err(FixError::Heading));
        check(Fix { heading: Some(-1.0), ..fix() }, Err(FixError::Heading));
        check(Fix { heading: Some(f32::NAN), ..fix() }, Err(FixError::Heading));
        check(Fix { speed_kmh: Some(-0.1), ..fix() }, Err(FixError::Speed));
        check(Fix { speed_kmh: Some(f32::INFINITY), ..fix() }, Err(FixError::Speed));
        check(Fix { accuracy_m: Some(f32::NAN), ..fix() }, Err(FixError::Accuracy));
        check(Fix { accuracy_m: Some(500.0), ..fix() }, Ok(0));
        check(Fix { accuracy_m: Some(500.1), ..fix() }, Err(FixError::TooInaccurate));
        let day = 24 * 3600 * 1000;
        check(Fix { timestamp: Millis(NOW.0 - day), ..fix() }, Ok(-day));
        check(Fix { timestamp: Millis(NOW.0 - day - 1), ..fix() }, Err(FixError::TooOld));
        // The future is clamped.
        check(Fix { timestamp: Millis(NOW.0 + 5000), ..fix() }, Ok(0));
        check(Fix { timestamp: Millis(i64::MAX), ..fix() }, Ok(0));
        check(Fix { timestamp: Millis(i64::MIN), ..fix() }, Err(FixError::TooOld));
    }

    /// Seconds and metres north, and what is expected of each.
    fn walk(points: &[(i64, f64, Verdict)]) {
        let mut track = Track::default();
        for (number, (seconds, north_m, expected)) in points.iter().enumerate() {
            let verdict = track.judge(at(*north_m), Millis(seconds * 1000));
            assert_eq!(verdict, *expected, "point {number} of {points:?}");
        }
    }

    #[test]
    fn a_drive_is_live() {
        use Verdict::{Late, Live};
        walk(&[(0, 0.0, Live), (3, 40.0, Live), (3, 41.0, Live), (2, 20.0, Late), (6, 90.0, Live)]);
    }

    #[test]
    fn a_jump_is_suspect_until_two_more_points_agree() {
        use Verdict::{Live, Moved, Suspect};
        walk(&[
            (0, 0.0, Live),
            (3, 5000.0, Suspect),
            (6, 5040.0, Suspect),
            (9, 5080.0, Moved),
            (12, 5120.0, Live),
        ]);
    }

    #[test]
    fn a_point_back_home_ends_the_suspicion() {
        use Verdict::{Live, Suspect};
        walk(&[
            (0, 0.0, Live),
            (3, 5000.0, Suspect),
            (6, 30.0, Live),
            (9, 5040.0, Suspect),
            (12, 60.0, Live),
        ]);
    }

    #[test]
    fn scattered_jumps_confirm_nothing() {
        use Verdict::{Live, Suspect};
        walk(&[
            (0, 0.0, Live),
            (3, 5000.0, Suspect),
            (6, -5000.0, Suspect),
            (9, 5000.0, Suspect),
            (12, -5000.0, Suspect),
        ]);
    }

    #[test]
    fn it_takes_both_speed_and_distance() {
        use Verdict::{Live, Suspect};
        walk(&[(0, 0.0, Live), (1, 499.0, Live)]);
        walk(&[(0, 0.0, Live), (10, 550.0, Live)]); // 198 km/h
        walk(&[(0, 0.0, Live), (9, 550.0, Suspect)]); // 220 km/h
        walk(&[(0, 0.0, Live), (0, 501.0, Suspect)]);
        walk(&[(0, 0.0, Live), (3600, 150_000.0, Live)]);
    }
}
