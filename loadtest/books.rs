//! What every account should hold, kept beside the server's own ledger.
//!
//! Owns the expected change of each account since the run opened its book. A change that can't be
//! known exactly (the driver's part of a fee, a reply that was lost) widens the book by its bounds
//! instead of guessing. Does no I/O.

use std::collections::HashMap;

use uuid::Uuid;

use crate::invariants::{Rule, Violation};
use crate::wire::{PaymentMethod, PaymentStatus, Piasters, Status, Tier, TripView};

/// An account's worth at the start and what must have happened to it since, piasters.
#[derive(Clone, Copy, Debug, Default)]
struct Book {
    start: i64,
    low: i64,
    high: i64,
}

/// All accounts of the run.
#[derive(Clone, Debug, Default)]
pub struct Books {
    accounts: HashMap<Uuid, Book>,
}

/// A trip that is over, as its receipt shows it.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub trip: Uuid,
    pub rider: Uuid,
    pub driver: Option<Uuid>,
    pub status: Status,
    pub payment: Option<PaymentStatus>,
    pub method: PaymentMethod,
    pub tier: Tier,
    pub final_price: Option<Piasters>,
    pub cancel_fee: Option<Piasters>,
}

impl Receipt {
    /// `asked` fills in what the view leaves out.
    pub fn of(view: &TripView, rider: Uuid, asked: (Tier, PaymentMethod)) -> Self {
        Self {
            trip: view.id,
            rider,
            driver: view.driver_id,
            status: view.status,
            payment: view.payment_status,
            method: view.payment_method.unwrap_or(asked.1),
            tier: view.vehicle_type.unwrap_or(asked.0),
            final_price: view.final_price,
            cancel_fee: view.cancel_fee,
        }
    }
}

impl Books {
    /// Opens an account's book at what it is worth now; an open one stays as it is.
    pub fn open(&mut self, owner: Uuid, net: i64) {
        self.accounts.entry(owner).or_insert(Book { start: net, low: 0, high: 0 });
    }

    /// The account changed by something between `low` and `high` piasters.
    pub fn post(&mut self, owner: Uuid, low: i64, high: i64) {
        // Who has no book is not judged: his start is not known.
        if let Some(book) = self.accounts.get_mut(&owner) {
            book.low += low;
            book.high += high;
        }
    }

    /// Books the end of a trip; answers with what is wrong about its receipt.
    pub fn settle(&mut self, receipt: &Receipt) -> Option<Violation> {
        match receipt.status {
            Status::Completed | Status::PaymentFailed => self.settle_fare(receipt),
            Status::Cancelled => {
                self.settle_fee(receipt);
                None
            }
            Status::NoDrivers
            | Status::Scheduled
            | Status::Requested
            | Status::Accepted
            | Status::Arrived
            | Status::Started => None,
        }
    }

    fn settle_fare(&mut self, receipt: &Receipt) -> Option<Violation> {
        let wrong = |what: &str| {
            Some(Violation::new(Rule::M2, format!("trip {}: completed {what}", receipt.trip)))
        };
        let (Some(price), Some(driver)) = (receipt.final_price, receipt.driver) else {
            return wrong("without a final price or a driver");
        };
        match receipt.payment {
            Some(PaymentStatus::Paid) => {}
            // Nothing moves until a payment that failed is tried again.
            Some(PaymentStatus::Failed) => return None,
            Some(PaymentStatus::Pending) | None => return wrong("but not settled"),
        }
        let commission = price.share(receipt.tier.commission_bp()).0;
        match receipt.method {
            PaymentMethod::Cash => self.post(driver, -commission, -commission),
            PaymentMethod::Wallet => {
                self.post(receipt.rider, -price.0, -price.0);
                self.post(driver, price.0 - commission, price.0 - commission);
            }
            PaymentMethod::Card => {
                self.post(driver, price.0 - commission, price.0 - commission);
            }
        }
        None
    }

    /// A trip that names no fee had none.
    fn settle_fee(&mut self, receipt: &Receipt) {
        let fee = receipt.cancel_fee.unwrap_or_default().0;
        self.post(receipt.rider, -fee, -fee);
        if let Some(driver) = receipt.driver {
            // The driver's part of the fee is between nothing and all of it.
            self.post(driver, 0, fee);
        }
    }

    /// Compares a book with what the server says the account is worth now.
    pub fn judge(&self, owner: Uuid, net: i64) -> Option<Violation> {
        let book = self.accounts.get(&owner)?;
        let change = net - book.start;
        if (book.low..=book.high).contains(&change) {
            return None;
        }
        let expected = if book.low == book.high {
            Piasters(book.low).to_string()
        } else {
            format!("{} to {}", Piasters(book.low), Piasters(book.high))
        };
        let what = format!("account {owner} changed by {}, not {expected}", Piasters(change));
        Some(Violation::new(Rule::M5, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIDER: Uuid = Uuid::from_u128(1);
    const DRIVER: Uuid = Uuid::from_u128(2);

    fn receipt(method: PaymentMethod, price: i64) -> Receipt {
        Receipt {
            trip: Uuid::from_u128(3),
            rider: RIDER,
            driver: Some(DRIVER),
            status: Status::Completed,
            payment: Some(PaymentStatus::Paid),
            method,
            tier: Tier::Economy,
            final_price: Some(Piasters(price)),
            cancel_fee: None,
        }
    }

    fn books() -> Books {
        let mut books = Books::default();
        books.open(RIDER, 50_000);
        books.open(DRIVER, -300);
        books
    }

    #[test]
    fn a_wallet_trip_moves_the_fare_and_keeps_the_commission() {
        let mut books = books();
        assert_eq!(books.settle(&receipt(PaymentMethod::Wallet, 10_050)), None);
        // 15 % of 100.50 is 15.075: half to even makes it 15.08.
        assert_eq!(books.judge(RIDER, 50_000 - 10_050), None);
        assert_eq!(books.judge(DRIVER, -300 + 10_050 - 1_508), None);
        assert!(books.judge(RIDER, 50_000 - 10_051).is_some(), "a piaster too much");
        assert!(books.judge(DRIVER, -300 + 10_050 - 1_507).is_some());
    }

    #[test]
    fn a_cash_trip_takes_only_the_commission() {
        let mut books = books();
        books.settle(&receipt(PaymentMethod::Cash, 10_000));
        assert_eq!(books.judge(DRIVER, -1_800), None);
        assert_eq!(books.judge(RIDER, 50_000), None);
        assert!(books.judge(RIDER, 40_000).is_some(), "cash left his hand, not his wallet");
    }

    #[test]
    fn a_failed_payment_moves_nothing_and_an_open_one_is_wrong() {
        let mut books = books();
        let with = |payment| Receipt { payment, ..receipt(PaymentMethod::Wallet, 900) };
        assert_eq!(books.settle(&with(Some(PaymentStatus::Failed))), None);
        assert_eq!(books.judge(RIDER, 50_000), None);
        let found = books.settle(&with(Some(PaymentStatus::Pending)));
        assert_eq!(found.map(|v| v.rule), Some(Rule::M2));
        let unpriced = Receipt { final_price: None, ..receipt(PaymentMethod::Cash, 0) };
        assert_eq!(books.settle(&unpriced).map(|v| v.rule), Some(Rule::M2));
    }

    #[test]
    fn a_fee_is_the_riders_loss_and_at_most_the_drivers_gain() {
        let cancelled = |fee: Option<i64>| Receipt {
            status: Status::Cancelled,
            cancel_fee: fee.map(Piasters),
            ..receipt(PaymentMethod::Cash, 0)
        };
        let mut free = books();
        free.settle(&cancelled(None));
        assert_eq!(free.judge(RIDER, 50_000), None);
        assert!(free.judge(RIDER, 48_500).is_some(), "a fee that the trip doesn't name");
        let mut paid = books();
        paid.settle(&cancelled(Some(1_500)));
        assert_eq!(paid.judge(RIDER, 48_500), None);
        assert!(paid.judge(RIDER, 50_000).is_some());
        assert_eq!(paid.judge(DRIVER, 700), None);
        assert!(paid.judge(DRIVER, 1_300).is_some(), "more than the whole fee");
    }

    #[test]
    fn who_has_no_book_is_not_judged_and_top_ups_count() {
        let mut books = books();
        books.post(RIDER, 20_000, 20_000);
        assert_eq!(books.judge(RIDER, 70_000), None);
        assert_eq!(books.judge(Uuid::from_u128(9), 5), None);
        books.open(RIDER, 0);
        assert_eq!(books.judge(RIDER, 70_000), None, "a book is opened once");
    }
}
