//! For what a driver's score is lowered, and by how much: it passes by itself.
//!
//! Others find out what he did and say so; here it is kept, and shown to dispatch with the rest of
//! him.

pub(crate) mod store;

use base::Millis;

pub use store::{
    HistoryRow, conduct_forget_in_tx, conduct_mark_in_tx, heard_since_in_tx, history_in_tx,
};

base::words! {
    /// For what a driver's score is lowered.
    Misconduct {
        /// Positions to which no car could have driven.
        Teleports = "teleports",
        /// The very same position for long, of a car that is said to move.
        FrozenPosition = "frozen_position",
        /// The track of a trip is an earlier one's.
        ReplayedTrack = "replayed_track",
        /// He takes the dear offers and leaves the cheap ones, or leaves a part of the town.
        CherryPicking = "cherry_picking",
        /// He takes far fewer offers than he used to.
        AcceptanceDrop = "acceptance_drop",
    }
}

/// A mark against a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConductMark {
    pub reason: Misconduct,
    /// Hundredths of a score, all of them at `since` and none at `until`.
    pub penalty: u8,
    pub since: Millis,
    pub until: Millis,
}

/// What is left of a driver's marks at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conduct {
    pub reason: Misconduct,
    /// Hundredths of a score.
    pub penalty: u8,
}

impl ConductMark {
    fn left(&self, now: Millis) -> u8 {
        let whole = self.until.since(self.since).max(1);
        let rest = self.until.since(now).clamp(0, whole);
        u8::try_from(i64::from(self.penalty) * rest / whole).unwrap_or(self.penalty)
    }
}

/// The mark that weighs most now; marks don't add up. None where nothing is left.
pub(crate) fn conduct(marks: &[ConductMark], now: Millis) -> Option<Conduct> {
    let left = marks.iter().map(|mark| Conduct { reason: mark.reason, penalty: mark.left(now) });
    let left = left.filter(|conduct| conduct.penalty > 0);
    left.max_by_key(|conduct| conduct.penalty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_fades_and_the_heaviest_counts() {
        let mark = |reason, penalty, since, until| ConductMark {
            reason,
            penalty,
            since: Millis(since),
            until: Millis(until),
        };
        let marks = [
            mark(Misconduct::Teleports, 30, 0, 1_000),
            mark(Misconduct::CherryPicking, 10, 500, 1_500),
        ];
        let check = |at, expected: &str| {
            let said = conduct(&marks, Millis(at));
            let said = said.map_or_else(String::new, |c| format!("{} {}", c.reason, c.penalty));
            assert_eq!(said, expected, "at {at}");
        };
        check(-100, "teleports 30");
        check(0, "teleports 30");
        check(500, "teleports 15");
        check(800, "cherry_picking 7");
        check(1_000, "cherry_picking 5");
        check(1_401, "");
        check(1_500, "");
        check(9_000, "");
        assert_eq!(conduct(&[], Millis(0)), None);
    }
}
