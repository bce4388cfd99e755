//! How moves of money become the lines and totals of a statement.

use base::{BasisPoints, JournalId, Millis, PaymentMethod, Piasters, Role};
use uuid::Uuid;

use super::model::{DriverTotals, KindTotal, Standing, StatementLine, StatementView};
use base::DayRange;

/// The numbers of a person's accounts in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accounts {
    pub free: i16,
    pub held: i16,
    /// What he owes; a driver owes by a negative balance instead.
    pub due: Option<i16>,
}

impl Accounts {
    /// `None` for roles without a wallet.
    pub(crate) const fn of(role: Role) -> Option<Self> {
        match role {
            Role::Rider => Some(Self { free: 1, held: 2, due: Some(3) }),
            Role::Driver => Some(Self { free: 10, held: 11, due: None }),
            Role::Admin => None,
        }
    }
}

/// Balances of a person's accounts, as the ledger has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub balance: Piasters,
    pub held: Piasters,
    /// Zero or less.
    pub due: Piasters,
}

/// What a journal did to a person's accounts.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    pub journal: JournalId,
    pub at: Millis,
    pub kind: String,
    pub free: Piasters,
    pub held: Piasters,
    pub due: Piasters,
    pub balance_after: Option<Piasters>,
    pub trip: Option<Uuid>,
    pub reason: Option<String>,
    /// Of the trip, where the person may see it.
    pub fare: Option<Fare>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Fare {
    pub price: Piasters,
    pub rate: BasisPoints,
    pub method: PaymentMethod,
}

impl Sums {
    pub(crate) fn after(self, moved: &Moved) -> Self {
        Self {
            balance: self.balance + moved.free,
            held: self.held + moved.held,
            due: self.due + moved.due,
        }
    }

    fn standing(self, role: Role) -> Standing {
        let due = match role {
            Role::Driver => (-self.balance).max(Piasters::ZERO),
            Role::Rider | Role::Admin => -self.due,
        };
        Standing { balance: self.balance, held: self.held, due }
    }
}

/// The statement of a person's moves, oldest first.
pub(crate) fn statement(
    days: DayRange,
    role: Role,
    opening: Sums,
    closing: Sums,
    moves: Vec<Moved>,
) -> StatementView {
    let lines: Vec<StatementLine> = moves.into_iter().map(|moved| line(role, moved)).collect();
    let driver = (role == Role::Driver).then(|| driver_totals(&lines));
    StatementView {
        from: days.first().to_string(),
        to: days.last().to_string(),
        currency: "EGP",
        opening: opening.standing(role),
        closing: closing.standing(role),
        totals: totals(&lines),
        lines,
        driver,
    }
}

fn line(role: Role, moved: Moved) -> StatementLine {
    let amount = moved.free + moved.held;
    let of_fare = moved.fare.filter(|_| role == Role::Driver && moved.kind == "settle");
    let split = of_fare.map(|fare| ledger::shares(fare.price, fare.rate));
    let cash = of_fare.zip(split).map(|(fare, split)| match fare.method {
        // What is his and was not put on his account he has in his hand, with the company's part.
        PaymentMethod::Cash => split.driver - amount,
        PaymentMethod::Wallet | PaymentMethod::Card => Piasters::ZERO,
    });
    // Given too much, he owes it; given too little, it was made good to him.
    let cash =
        cash.or((role == Role::Driver && moved.kind == "cash_difference").then_some(-amount));
    StatementLine {
        id: moved.journal,
        at: moved.at,
        amount,
        held: moved.held,
        due: -moved.due,
        balance_after: moved.balance_after,
        trip_id: moved.trip,
        reason: moved.reason,
        fare: of_fare.map(|fare| fare.price),
        commission: split.map(|split| split.commission + split.vat),
        cash,
        kind: moved.kind,
    }
}

/// In the order in which the kinds first appear.
fn totals(lines: &[StatementLine]) -> Vec<KindTotal> {
    let mut totals: Vec<KindTotal> = Vec::new();
    for line in lines {
        match totals.iter_mut().find(|total| total.kind == line.kind) {
            Some(total) => {
                total.count += 1;
                total.amount += line.amount;
            }
            None => {
                totals.push(KindTotal { kind: line.kind.clone(), count: 1, amount: line.amount })
            }
        }
    }
    totals
}

fn driver_totals(lines: &[StatementLine]) -> DriverTotals {
    let mut totals = DriverTotals::default();
    for line in lines {
        totals.cash_collected += line.cash.unwrap_or_default();
        if let (Some(fare), Some(commission)) = (line.fare, line.commission) {
            totals.trips += 1;
            totals.fares += fare;
            totals.commission += commission;
            totals.earnings += fare - commission;
        }
        match line.kind.as_str() {
            "tip" => totals.tips += line.amount,
            "withdraw_sent" | "withdraw_failed" => totals.withdrawals -= line.amount,
            _ => {}
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::BusinessDay;

    fn moved(kind: &str, free: i64, held: i64, fare: Option<PaymentMethod>) -> Moved {
        let fare =
            fare.map(|method| Fare { price: Piasters(10_000), rate: BasisPoints(1_500), method });
        Moved {
            journal: JournalId::from_u128(1),
            at: Millis(0),
            kind: kind.to_owned(),
            free: Piasters(free),
            held: Piasters(held),
            due: Piasters::ZERO,
            balance_after: None,
            trip: None,
            reason: None,
            fare,
        }
    }

    fn of(role: Role, moves: Vec<Moved>) -> StatementView {
        let day = BusinessDay::parse("2026-01-01").expect("a day");
        let days = DayRange::new(day, day, 1).expect("a range");
        let closing = moves.iter().fold(Sums::default(), |sum, moved| sum.after(moved));
        statement(days, role, Sums::default(), closing, moves)
    }

    #[test]
    fn a_driver_sees_what_he_earned_gave_and_took_in_cash() {
        let check = |moves: Vec<Moved>, expected: &str| {
            let told = of(Role::Driver, moves).driver.expect("a driver's");
            let found = format!(
                "{} trips {} = {} + {}, cash {}, tips {}, out {}",
                told.trips,
                told.fares,
                told.earnings,
                told.commission,
                told.cash_collected,
                told.tips,
                told.withdrawals
            );
            assert_eq!(found, expected);
        };
        let wallet = Some(PaymentMethod::Wallet);
        let cash = Some(PaymentMethod::Cash);
        check(vec![], "0 trips 0 = 0 + 0, cash 0, tips 0, out 0");
        check(
            vec![moved("settle", 8_500, 0, wallet)],
            "1 trips 100 = 85 + 15, cash 0, tips 0, out 0",
        );
        check(
            vec![moved("settle", -1_500, 0, cash)],
            "1 trips 100 = 85 + 15, cash 100, tips 0, out 0",
        );
        // The company paid 20 of it.
        check(vec![moved("settle", 500, 0, cash)], "1 trips 100 = 85 + 15, cash 80, tips 0, out 0");
        // He was given 120, the rest went to the rider's wallet.
        check(
            vec![moved("settle", -1_500, 0, cash), moved("cash_difference", -2_000, 0, cash)],
            "1 trips 100 = 85 + 15, cash 120, tips 0, out 0",
        );
        let out = vec![
            moved("tip", 1_000, 0, wallet),
            moved("withdraw_requested", -500, 500, None),
            moved("withdraw_sent", 0, -500, None),
        ];
        check(out, "0 trips 0 = 0 + 0, cash 0, tips 10, out 5");
    }

    #[test]
    fn a_rider_sees_no_commission_and_money_set_aside_is_not_spent() {
        let moves = vec![
            moved("deposit", 10_000, 0, None),
            moved("hold", -6_000, 6_000, None),
            moved("settle", 1_000, -6_000, Some(PaymentMethod::Wallet)),
        ];
        let told = of(Role::Rider, moves);
        assert_eq!(told.driver, None);
        assert!(told.lines.iter().all(|line| line.commission.is_none() && line.fare.is_none()));
        let amounts: Vec<_> = told.lines.iter().map(|line| line.amount.to_string()).collect();
        assert_eq!(amounts, ["100", "0", "-50"]);
        assert_eq!((told.closing.balance, told.closing.held), (Piasters(5_000), Piasters::ZERO));
        let totals: Vec<_> =
            told.totals.iter().map(|total| format!("{} {}", total.kind, total.amount)).collect();
        assert_eq!(totals, ["deposit 100", "hold 0", "settle -50"]);
    }

    #[test]
    fn a_driver_who_owes_has_it_as_due() {
        let told = of(Role::Driver, vec![moved("settle", -1_500, 0, Some(PaymentMethod::Cash))]);
        assert_eq!(told.closing.due, Piasters(1_500));
        assert_eq!(told.closing.balance, Piasters(-1_500));
    }
}
