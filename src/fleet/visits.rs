//! Decides when a driver has entered a fence, stayed in it, and left it.
//!
//! Pure: the caller passes where he is and `now`, and keeps one [`Visit`] per fence he is in.
//!
//! Guarantees:
//! - who is in stays in until he has been beyond the margin for the whole time that leaving takes:
//!   a position that jumps about the edge ends nothing  (test: `noise_at_the_edge_ends_no_visit`);
//! - of each visit it is told once that it began, once that it lasted, once that it ended, in this
//!   order  (test: `a_visit_is_told_in_order`).

use std::time::Duration;

use base::Millis;
use geo::FenceKind;
use uuid::Uuid;

/// What counts at the edge of a fence, and in the queue of an airport.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FenceTerms {
    /// So far beyond the edge nobody has left, metres.
    pub margin_m: f64,
    /// So long beyond the margin, and he has left.
    pub leave_after: Duration,
    /// So long within, and he stays.
    pub dwell: Duration,
    /// So many trips of the airport refused since he came, and he goes to the end of its queue.
    pub refusals: u8,
}

impl Default for FenceTerms {
    fn default() -> Self {
        Self {
            margin_m: 75.0,
            leave_after: Duration::from_secs(60),
            dwell: Duration::from_secs(300),
            refusals: 2,
        }
    }
}

/// Where a driver is, as one fence sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    Within,
    /// Outside by no more than the margin.
    Edge,
    Beyond,
    /// Only time has passed.
    Unknown,
    /// The fence is there no more.
    NoFence,
}

impl Whereabouts {
    /// For who is outside, so far from the edge; none: there is no such fence.
    pub(crate) fn outside(edge_m: Option<f64>, terms: &FenceTerms) -> Self {
        match edge_m {
            None => Self::NoFence,
            Some(metres) if metres <= terms.margin_m => Self::Edge,
            Some(_) => Self::Beyond,
        }
    }
}

/// What there is to tell of a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Entered,
    Dwelt,
    Left,
}

/// A driver's stay in a fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) fence: Uuid,
    pub(crate) kind: FenceKind,
    /// The fence holds the position that is being looked at.
    pub(crate) holds: bool,
    entered: Millis,
    dwelt: bool,
    /// Since when he is beyond the margin.
    out_since: Option<Millis>,
}

impl Visit {
    pub(crate) const fn begin(fence: Uuid, kind: FenceKind, now: Millis) -> Self {
        Self { fence, kind, holds: true, entered: now, dwelt: false, out_since: None }
    }

    /// After [`Turn::Left`] the visit is over.
    pub(crate) fn step(
        &mut self,
        at: Whereabouts,
        now: Millis,
        terms: &FenceTerms,
    ) -> Option<Turn> {
        match at {
            Whereabouts::NoFence => return Some(Turn::Left),
            Whereabouts::Within | Whereabouts::Edge => self.out_since = None,
            Whereabouts::Beyond => self.out_since = self.out_since.or(Some(now)),
            Whereabouts::Unknown => {}
        }
        match self.out_since {
            Some(since) => (now.after(since) >= terms.leave_after).then_some(Turn::Left),
            None if !self.dwelt && now.after(self.entered) >= terms.dwell => {
                self.dwelt = true;
                Some(Turn::Dwelt)
            }
            None => None,
        }
    }

    /// When time alone may change something.
    pub(crate) fn due(&self, terms: &FenceTerms) -> Option<Millis> {
        match self.out_since {
            Some(since) => Some(since + terms.leave_after),
            None => (!self.dwelt).then_some(self.entered + terms.dwell),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TERMS: FenceTerms = FenceTerms {
        margin_m: 50.0,
        leave_after: Duration::from_secs(60),
        dwell: Duration::from_secs(300),
        refusals: 2,
    };

    fn second(at: i64) -> Millis {
        Millis(at * 1_000)
    }

    /// Metres outside at these seconds; -1: only time passes. What is told, and when.
    fn check(steps: &[(i64, f64)], expected: &str) {
        let mut visit = Some(Visit::begin(Uuid::nil(), FenceKind::Airport, second(0)));
        let mut told = Vec::new();
        for (at, metres) in steps {
            let place = match *metres {
                metres if metres < 0.0 => Whereabouts::Unknown,
                0.0 => Whereabouts::Within,
                metres => Whereabouts::outside(Some(metres), &TERMS),
            };
            let turn = visit.as_mut().and_then(|visit| visit.step(place, second(*at), &TERMS));
            if let Some(turn) = turn {
                told.push(format!("{turn:?} {at}"));
            }
            if turn == Some(Turn::Left) {
                visit = None;
            }
        }
        assert_eq!(told.join(", "), expected, "{steps:?}");
    }

    #[test]
    fn leaving_takes_the_margin_and_the_time() {
        check(&[(10, 0.0), (20, 50.0), (200, 50.0)], "");
        check(&[(10, 51.0), (69, 51.0)], "");
        check(&[(10, 51.0), (70, 51.0)], "Left 70");
        // Back within the margin, it begins anew.
        check(&[(10, 900.0), (60, 50.0), (61, 900.0), (120, 900.0)], "");
        check(&[(10, 900.0), (60, 0.0), (61, 900.0), (121, 900.0)], "Left 121");
        // Whoever is heard no position of leaves by time, if he was out.
        check(&[(10, 900.0), (70, -1.0)], "Left 70");
        check(&[(10, 0.0), (70, -1.0)], "");
    }

    #[test]
    fn a_visit_is_told_in_order() {
        check(&[(299, 0.0), (300, 0.0), (301, 0.0), (900, 0.0)], "Dwelt 300");
        check(&[(300, -1.0)], "Dwelt 300");
        // On his way out nobody stays.
        check(&[(299, 900.0), (300, 900.0), (359, 900.0)], "Left 359");
        check(&[(300, 0.0), (400, 900.0), (460, 900.0)], "Dwelt 300, Left 460");
    }

    #[test]
    fn a_fence_that_is_there_no_more_is_left_at_once() {
        let mut visit = Visit::begin(Uuid::nil(), FenceKind::Surge, second(0));
        let at = Whereabouts::outside(None, &TERMS);
        assert_eq!(visit.step(at, second(1), &TERMS), Some(Turn::Left));
    }

    proptest! {
        #[test]
        fn noise_at_the_edge_ends_no_visit(
            steps in proptest::collection::vec((1_i64..40, 0.0..400.0_f64), 1..200),
        ) {
            let mut visit = Visit::begin(Uuid::nil(), FenceKind::Airport, second(0));
            let (mut now, mut out_at) = (0, None);
            for (pause, metres) in steps {
                now += pause;
                out_at = (metres > TERMS.margin_m).then(|| out_at.unwrap_or(now));
                let place = Whereabouts::outside(Some(metres), &TERMS);
                let turn = visit.step(place, second(now), &TERMS);
                let gone = out_at.is_some_and(|at| now - at >= 60);
                prop_assert_eq!(turn == Some(Turn::Left), gone, "at {} s", now);
                if gone {
                    return Ok(());
                }
            }
        }
    }
}
