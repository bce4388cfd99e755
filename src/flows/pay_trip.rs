//! Money that moves after a trip's end: what was open is paid, the driver is tipped, and says what
//! he was given in cash.

use base::{Caller, Code, DriverId, Piasters, Problem, TripId};
use events::Once;
use ledger::{Account, PostError, Posted, Repeat};
use notify::{Message, News};
use serde::Serialize;
use storage::Who;
use trips::{PaymentStatus, Status, Trip, TripView};
use utoipa::ToSchema;

use crate::Flows;
use crate::late_payment::{LatePayer, late_payments};

/// How long after a trip's end its driver may be tipped, milliseconds.
const TIP_WITHIN_MS: i64 = 72 * 60 * 60 * 1000;
/// A tip, piasters.
const TIP: (Piasters, Piasters) = (Piasters::pounds(1), Piasters::pounds(500));

/// A tip that was given.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TipView {
    pub trip_id: TripId,
    pub amount: Piasters,
}

/// What the driver was given in cash, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CashView {
    pub trip_id: TripId,
    pub to_pay: Piasters,
    pub collected: Piasters,
    /// Too much: it is in the rider's wallet, out of the driver's account.
    pub change: Piasters,
    /// Too little: the rider owes it, the driver has it already.
    pub short: Piasters,
}

impl CashView {
    fn of(trip: &Trip, collected: Piasters) -> Self {
        let to_pay = trip.to_pay();
        Self {
            trip_id: trip.id,
            to_pay,
            collected,
            change: (collected - to_pay).max(Piasters::ZERO),
            short: (to_pay - collected).max(Piasters::ZERO),
        }
    }
}

impl Flows {
    /// Tries to pay a completed trip that could not be paid at its end, from the wallet. One that
    /// is paid stays so, whoever paid it: asking twice pays once.
    pub async fn pay_trip(&self, rider: &Caller, id: TripId) -> Result<TripView, Problem> {
        let who = Who::Caller(*rider);
        let trip = self.trips.get(&who, id).await?;
        match (trip.status, trip.payment_status) {
            (Status::Completed, PaymentStatus::Paid) => return Ok(self.view(rider, &trip)),
            (Status::Completed, PaymentStatus::Failed) => {}
            (current, _) => return Err(out_of_order(current)),
        }
        LatePayer(self.clone()).pay(trip.rider).await?;
        let trip = self.trips.get(&who, id).await?;
        if trip.payment_status == PaymentStatus::Paid {
            return Ok(self.view(rider, &trip));
        }
        let available = self.wallet(rider).await?.balance;
        Err(ledger::Insufficient { available, price: trip.to_pay() }.into())
    }

    /// From the rider's wallet to his driver, once per trip.
    pub async fn tip_driver(
        &self,
        rider: &Caller,
        id: TripId,
        amount: Piasters,
        once: Once,
    ) -> Result<TipView, Problem> {
        let trip = self.trips.get(&Who::Caller(*rider), id).await?;
        let view = TipView { trip_id: id, amount };
        if once.applied().is_some() {
            return Ok(view);
        }
        let driver = self.may_tip(&trip, amount)?;
        let journal = ledger::tip(id, trip.rider, driver, amount);
        let mut tx = self.db.begin(&Who::System).await?;
        self.admit_gift_in_tx(&mut tx, rider.user).await?;
        let posted = first(ledger::post_in_tx(&mut tx, &journal).await, "the driver has his tip")?;
        let message = Message {
            to: driver.into(),
            news: News::Tip { amount },
            about: Some(id.0),
            once: format!("tip:{id}"),
            until: None,
        };
        self.notify.tell_in_tx(&mut tx, &message).await?;
        once.mark_in_tx(&mut tx, id.0).await?;
        tx.commit().await?;
        self.balance_moved(driver, &posted);
        Ok(view)
    }

    fn may_tip(&self, trip: &Trip, amount: Piasters) -> Result<DriverId, Problem> {
        if !(TIP.0..=TIP.1).contains(&amount) {
            let text = "must be between 1 and 500";
            return Err(Problem::field("amount", "out_of_range", text));
        }
        let (Status::Completed, Some(driver), Some(ended)) =
            (trip.status, trip.driver, trip.ended_at)
        else {
            return Err(out_of_order(trip.status));
        };
        if trip.payment_status != PaymentStatus::Paid {
            let text = "the trip itself is not paid yet";
            return Err(Problem::new(Code::PaymentDue, text).with("due", trip.to_pay()));
        }
        if self.clock.now().since(ended) > TIP_WITHIN_MS {
            return Err(Problem::new(Code::TooLate, "a tip is given within three days"));
        }
        Ok(driver)
    }

    /// The driver says, after the trip's end, what he was given: too much goes into the rider's
    /// wallet, too little is owed by the rider, within the city's limit.
    pub async fn report_cash(
        &self,
        caller: &Caller,
        id: TripId,
        collected: Piasters,
        once: Once,
    ) -> Result<CashView, Problem> {
        let driver = caller.user.as_driver();
        let trip = self.trips.get(&Who::Caller(*caller), id).await?;
        let view = CashView::of(&trip, collected);
        if once.applied().is_some() {
            return Ok(view);
        }
        let taken = trip.cash_after(driver, collected, self.clock.now())?;
        let mut tx = self.db.begin(&Who::System).await?;
        let rider = trip.rider;
        let funds = ledger::lock_funds_in_tx(&mut tx, &[rider.into()]).await?;
        let funds = funds.get(&rider.into()).copied().unwrap_or_default();
        let difference = ledger::cash_difference(&taken, &funds)
            .map_err(|over| trips::Refusal::CashTooShort { due: over.due, limit: over.limit })?;
        // As it should be: there is nothing to put right.
        let Some(difference) = difference else { return Ok(view) };
        let told = "what was given for this trip is known already";
        let posted = first(ledger::post_in_tx(&mut tx, &difference).await, told)?;
        let mut follow_ups = Vec::new();
        if view.change > Piasters::ZERO {
            ledger::pay_due_in_tx(&mut tx, rider, posted.journal).await?;
            follow_ups.push(late_payments(rider)?);
        }
        self.tell_cash_in_tx(&mut tx, &trip, collected).await?;
        events::add_in_tx(&mut tx, &follow_ups).await?;
        once.mark_in_tx(&mut tx, id.0).await?;
        tx.commit().await?;
        self.balance_moved(driver, &posted);
        Ok(view)
    }

    fn balance_moved(&self, driver: DriverId, posted: &Posted) {
        if let Some(balance) = posted.balance_of(Account::Driver(driver.into())) {
            self.fleet.set_balance(driver, balance);
        }
    }
}

fn out_of_order(current: Status) -> Problem {
    trips::Refusal::InvalidTransition { current }.into()
}

/// Of what happens once per trip: the posting that did it.
fn first(posted: Result<Posted, PostError>, told: &'static str) -> Result<Posted, Problem> {
    match posted {
        Ok(posted) if posted.repeat == Repeat::First => Ok(posted),
        Ok(_) | Err(PostError::KeyReused) => Err(Problem::new(Code::AlreadyDone, told)),
        Err(error) => Err(error.into()),
    }
}
