//! When a job is tried again, who comes first, who is let in: pure decisions.

use std::time::Duration;

use super::model::{Failure, Priority};

/// The first repetition waits about this long; each further one twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// From this depth on a queue takes what is urgent only.
const CROWDED: u64 = 5_000;
/// From this depth on it takes nothing that isn't money or a trip's change.
const FULL: u64 = 50_000;
/// Waits before a trip's dead letter is brought back by the program itself: after the last one it
/// stays for a person.
pub(crate) const RECOVERIES: [Duration; 3] =
    [Duration::from_secs(300), Duration::from_secs(1800), Duration::from_secs(7200)];

/// How long a job of this priority may stand behind others: it ranks as if it had come so much
/// later than it did. Whoever waited longer than the difference goes first.
pub(crate) const fn patience(priority: Priority) -> Duration {
    match priority {
        Priority::Critical => Duration::ZERO,
        Priority::High => Duration::from_secs(1),
        Priority::Normal => Duration::from_secs(10),
        Priority::Low => Duration::from_secs(60),
    }
}

/// The longest of them.
pub(crate) const PATIENCE_MAX: Duration = patience(Priority::Low);

/// What happens to a job after a failed try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Again(Duration),
    Dead,
    /// It is another worker's.
    Nothing,
}

/// `chance` in [0, 1).
pub(crate) fn fate(attempt: i16, attempts: i16, failure: &Failure, chance: f64) -> Fate {
    match failure {
        Failure::Lost => Fate::Nothing,
        Failure::Never { .. } => Fate::Dead,
        Failure::Again { .. } if attempt >= attempts => Fate::Dead,
        // Whoever said when knows better than we do; a little later, so that not all come at once.
        Failure::Again { after: Some(after), .. } => {
            Fate::Again(after.mul_f64(1.0 + chance * 0.1).min(LONGEST_WAIT))
        }
        Failure::Again { after: None, .. } => Fate::Again(backoff(attempt, chance)),
    }
}

/// Twice as long after each try, between half of it and the whole by chance.
fn backoff(attempt: i16, chance: f64) -> Duration {
    let doublings = u32::from(attempt.unsigned_abs().saturating_sub(1)).min(16);
    let whole = (FIRST_WAIT * 2_u32.pow(doublings)).min(LONGEST_WAIT);
    whole.mul_f64(0.5 + chance * 0.5)
}

/// Does a queue with `depth` jobs take another one?
pub(crate) const fn admits(priority: Priority, depth: u64) -> bool {
    match priority {
        Priority::Critical => true,
        Priority::High => depth < FULL,
        Priority::Normal | Priority::Low => depth < CROWDED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_job_waits_longer_each_time_and_dies_at_last() {
        let check = |attempt, failure: &Failure, chance, expected: Fate| {
            assert_eq!(fate(attempt, 5, failure, chance), expected, "{attempt} {failure:?}");
        };
        let (secs, again) = (Duration::from_secs_f64, Failure::again("away"));
        check(1, &again, 0.0, Fate::Again(secs(0.5)));
        check(2, &again, 0.0, Fate::Again(secs(1.0)));
        check(4, &again, 0.5, Fate::Again(secs(6.0)));
        check(5, &again, 0.0, Fate::Dead);
        check(1, &Failure::never("no such thing"), 0.0, Fate::Dead);
        check(5, &Failure::Lost, 0.0, Fate::Nothing);
        let told = |s| Failure::Again { why: "429".to_owned(), after: Some(secs(s)) };
        check(1, &told(7.0), 0.0, Fate::Again(secs(7.0)));
        check(1, &told(100.0), 0.5, Fate::Again(secs(105.0)));
        check(1, &told(1e6), 0.0, Fate::Again(LONGEST_WAIT));
        assert_eq!(fate(30, 99, &again, 0.0), Fate::Again(LONGEST_WAIT / 2));
    }

    #[test]
    fn a_crowded_queue_takes_what_is_urgent() {
        let admitted = |depth| -> Vec<&str> {
            let takes = |p: &&Priority| admits(**p, depth);
            Priority::ALL.iter().filter(takes).map(|p| p.name()).collect()
        };
        assert_eq!(admitted(0), ["critical", "high", "normal", "low"]);
        assert_eq!(admitted(CROWDED), ["critical", "high"]);
        assert_eq!(admitted(FULL), ["critical"]);
    }
}
