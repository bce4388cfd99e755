//! What a driver may say that he was given in cash. Pure.

use base::{DriverId, Millis, PaymentMethod, Piasters};
use ledger::CashTaken;

use crate::model::{Status, Trip};
use crate::refusal::Refusal;

/// Most that a rider gets back into his wallet: nobody lacks change for more than the largest
/// note, so more is a slip of the finger.
pub const CASH_OVER_MAX: Piasters = Piasters::pounds(200);
/// How long after the trip's end its driver may still say what he was given, milliseconds.
pub const CASH_WITHIN_MS: i64 = 60 * 60 * 1000;

/// `given` for `trip`, as its driver says.
pub(crate) fn taken(trip: &Trip, driver: DriverId, given: Piasters) -> Result<CashTaken, Refusal> {
    if trip.method != PaymentMethod::Cash {
        return Err(Refusal::NotPaidInCash);
    }
    let to_pay = trip.to_pay();
    if given < Piasters::ZERO || given > to_pay + CASH_OVER_MAX {
        return Err(Refusal::CashOutOfRange { to_pay });
    }
    Ok(CashTaken {
        trip: trip.id,
        rider: trip.rider,
        driver,
        to_pay,
        taken: given,
        due_limit: trip.terms.due_limit,
    })
}

impl Trip {
    /// What its driver says at `now` that he was given for it, after its end.
    pub fn cash_after(
        &self,
        driver: DriverId,
        given: Piasters,
        now: Millis,
    ) -> Result<CashTaken, Refusal> {
        let ended = self.ended_at.filter(|_| self.status == Status::Completed);
        if self.driver != Some(driver) {
            return Err(Refusal::NotYours);
        }
        let Some(ended) = ended else {
            return Err(Refusal::InvalidTransition { current: self.status });
        };
        if now.since(ended) > CASH_WITHIN_MS {
            return Err(Refusal::TooLate);
        }
        taken(self, driver, given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{at_s, driver, trip};

    fn check(trip: &Trip, given: i64, seconds: i64, expected: &str) {
        let said = match trip.cash_after(driver(1), Piasters(given), at_s(seconds)) {
            Ok(taken) => format!("{} for {}", taken.taken, taken.to_pay),
            Err(refusal) => refusal.to_string(),
        };
        assert_eq!(said, expected);
    }

    #[test]
    fn a_driver_says_what_he_was_given_within_an_hour() {
        let ended = Trip {
            status: Status::Completed,
            driver: Some(driver(1)),
            ended_at: Some(at_s(0)),
            promo: Piasters(1_990),
            ..trip()
        };
        // 80.10 is paid as 80: there are no smaller coins than 50 piasters.
        check(&ended, 8_000, 3600, "80 for 80");
        check(&ended, 8_000, 3601, "it is too late for that");
        check(&ended, 28_000, 0, "280 for 80");
        check(&ended, 28_001, 0, "nobody pays so for a trip of 80");
        check(&ended, -1, 0, "nobody pays so for a trip of 80");
        let wallet = Trip { method: PaymentMethod::Wallet, ..ended.clone() };
        check(&wallet, 8_000, 0, "the trip is not paid in cash");
        check(
            &Trip { driver: Some(driver(2)), ..ended.clone() },
            1,
            0,
            "the trip is someone else's",
        );
        let started = Trip { status: Status::Started, ended_at: None, ..ended };
        check(&started, 8_000, 0, "a trip that is started can't do that");
    }
}
