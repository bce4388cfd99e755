//! Guards a trip's start PIN against guessing: a few wrong ones, then a pause.
//!
//! Lives with the trip's actor; a restart forgets it, which gives a guesser five more tries and no
//! more.

use std::time::Duration;

use base::Millis;

use crate::refusal::Refusal;
use crate::rules::Command;

/// Wrong PINs in a row before the pause.
pub(crate) const TRIES: u8 = 5;
/// How long nobody may try again.
pub(crate) const PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct PinGuard {
    wrong: u8,
    closed_until: Option<Millis>,
}

impl PinGuard {
    /// Refuses a start while the pause lasts, whatever PIN it brings.
    pub(crate) fn admit(&self, command: &Command, now: Millis) -> Result<(), Refusal> {
        match (command, self.closed_until) {
            (Command::Start { .. }, Some(until)) if now < until => {
                let wait_s = u32::try_from(until.after(now).as_secs() + 1).unwrap_or(u32::MAX);
                Err(Refusal::PinPaused { wait_s })
            }
            (_, _) => Ok(()),
        }
    }

    /// Counts what the rules said to a command.
    pub(crate) fn note(&mut self, refusal: &Refusal, now: Millis) {
        if *refusal != Refusal::WrongPin {
            return;
        }
        self.wrong += 1;
        if self.wrong >= TRIES {
            *self = Self { wrong: 0, closed_until: Some(now + PAUSE) };
        }
    }
}

#[cfg(test)]
mod tests {
    use base::DriverId;

    use super::*;

    #[test]
    fn the_fifth_wrong_pin_closes_the_start_for_a_minute() {
        let start = Command::Start { driver: DriverId::from_u128(1), pin: None };
        let mut guard = PinGuard::default();
        for _ in 0..TRIES {
            assert_eq!(guard.admit(&start, Millis(0)), Ok(()));
            guard.note(&Refusal::WrongPin, Millis(0));
        }
        assert_eq!(guard.admit(&start, Millis(59_000)), Err(Refusal::PinPaused { wait_s: 2 }));
        assert_eq!(guard.admit(&Command::NoDrivers, Millis(1)), Ok(()), "only the start waits");
        assert_eq!(guard.admit(&start, Millis(60_000)), Ok(()));
    }
}
