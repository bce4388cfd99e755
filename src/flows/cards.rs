//! Trips paid by card: what their end asks of the card, and what its answer makes of the money.
//!
//! A job per authorisation and no step of the saga after a completion: it also runs for trips that
//! end otherwise, it waits for days where an answer is lost, and a saga that can't go on takes back
//! what was done before.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use base::{Caller, DriverId, Fault, Millis, Piasters, Problem, TripId};
use events::{
    Consumer, Done, Failure, Handler, Job, Kind, NewJob, OnDead, Once, Priority, Published, Queue,
};
use fraud::Movement;
use identity::{Audit, AuditObject};
use ledger::{Account, Journal, PostError, RiderFunds, Wallet};
use notify::{Message, News};
use payments::{
    CARD, CARD_LOOKS, CardAuthorisation, CardId, CardJob, CardOpened, CardOutcome, CardStatus,
    CardView, CardWord,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use storage::{Tx, Who};
use tracing::{error, info};
use trips::{CardDue, CardSettled, PaymentStatus, Trip, TripEvent};

use crate::Flows;
use crate::late_payment::late_payments;
use crate::refunds::{FoundOut, nobody_waits};

/// A trip that is paid by card has ended.
pub static CARD_TRIP: Kind = Kind {
    name: "card_trip_ended",
    queue: Queue::Payments,
    priority: Priority::High,
    version: 1,
    attempts: 20,
    on_dead: OnDead::ByHand,
};

/// A trip that its card does not cover, or that still goes on when its authorisation runs out, is
/// looked at again after this.
const LATER: Duration = Duration::from_secs(3600);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EndedTrip {
    trip_id: TripId,
}

/// Hears of trips' ends.
#[derive(Clone, Copy, Debug)]
pub struct CardTrips;

impl Consumer for CardTrips {
    fn name(&self) -> &'static str {
        "card_trips"
    }

    fn jobs(&self, fact: &Published) -> Result<Vec<NewJob>, Fault> {
        let ends = ["TRIP_COMPLETED", "TRIP_PAID", "TRIP_CANCELLED", "TRIP_NO_DRIVERS"];
        if fact.aggregate != "trip" || !ends.contains(&fact.kind.as_str()) {
            return Ok(Vec::new());
        }
        let event: TripEvent = fact.read()?;
        if event.card_due.is_none() {
            return Ok(Vec::new());
        }
        Ok(vec![NewJob::new(&CARD_TRIP, &EndedTrip { trip_id: event.trip_id })?])
    }
}

impl Flows {
    /// Begins what a rider authorises for his next trip.
    pub async fn open_card(
        &self,
        rider: &Caller,
        amount: Piasters,
        once: Once,
    ) -> Result<CardOpened, Problem> {
        if once.applied().is_none() {
            // A check that broke lets it go on: what a trip costs is reserved in any case.
            let booking = Movement::WalletBooking;
            let _checked = self.admit_movement(rider.user, booking, amount).await?;
        }
        self.payments.open_card(rider, amount, once).await
    }

    /// An operator says what became of a capture whose answer got lost, by the gateway's own page.
    pub async fn settle_card(
        &self,
        admin: &Caller,
        id: CardId,
        found_out: FoundOut,
        reason: &str,
    ) -> Result<CardView, Problem> {
        let card = self.payments.card_authorisation(id).await?.ok_or_else(Problem::not_found)?;
        let word = match (card.status, card.to_capture, found_out) {
            (CardStatus::Capturing, Some(amount), FoundOut::Done) => {
                CardWord::Taken { transaction: None, amount }
            }
            (CardStatus::Capturing, Some(_), FoundOut::Failed) => {
                CardWord::Refused { why: reason.to_owned(), held: true }
            }
            (status, _, _) => return Err(nobody_waits(status)),
        };
        let details = json!({"outcome": found_out.name(), "reason": reason});
        let record = Audit::by(admin, "card.settle", AuditObject::new("card", id)).with(details);
        let told = CardCashier(self.clone()).told(&card, word, Some(record)).await;
        told.map_err(|failure| Fault::unavailable(failure.to_string()))?;
        let card = self.payments.card_authorisation(id).await?.ok_or_else(Problem::not_found)?;
        Ok(CardView::from(&card))
    }

    /// How it stands.
    pub async fn card(&self, rider: &Caller, id: CardId) -> Result<CardView, Problem> {
        self.payments.card(rider, id).await
    }
}

/// What a word about a card came to, for those who are told after the commit.
#[derive(Default)]
struct Settled {
    trip: Option<CardSettled>,
    driver_balance: Option<(DriverId, Piasters)>,
    /// Somebody has to look; why.
    strange: Option<&'static str>,
}

/// Does the jobs about cards.
#[derive(Clone)]
pub struct CardCashier(pub Flows);

impl Handler for CardCashier {
    fn run<'a>(
        &'a self,
        job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send + 'a>> {
        Box::pin(async move {
            match job.kind.as_str() {
                kind if kind == CARD_LOOKS.name => {
                    self.0.payments.look_up_due_cards().await?;
                }
                kind if kind == CARD_TRIP.name => {
                    let EndedTrip { trip_id } = job.read()?;
                    let card = self.0.payments.card_of_trip(trip_id).await?;
                    let card = card.ok_or_else(|| {
                        Failure::never(format!("trip {trip_id} is paid by card and has none"))
                    })?;
                    self.pursue(card).await?;
                }
                kind if kind == CARD.name => {
                    let CardJob { authorisation_id: id } = job.read()?;
                    let card = self.0.payments.card_authorisation(id).await?;
                    let none = || Failure::never(format!("there is no authorisation {id}"));
                    self.pursue(card.ok_or_else(none)?).await?;
                }
                kind => return Err(Failure::never(format!("no handler of {kind}"))),
            }
            Ok(Done::Finished)
        })
    }
}

impl CardCashier {
    /// Does what is next for an authorisation.
    async fn pursue(&self, card: CardAuthorisation) -> Result<(), Failure> {
        let now = self.0.clock.now();
        match card.status {
            CardStatus::Bound => self.end_of_trip(card.id).await,
            CardStatus::Releasing => self.let_go(card.id).await,
            // Nobody used it in time.
            CardStatus::Authorised if card.expires_at.is_some_and(|at| now >= at) => {
                self.let_go(card.id).await
            }
            CardStatus::Pending
            | CardStatus::Failed
            | CardStatus::Expired
            | CardStatus::Authorised
            | CardStatus::Capturing
            | CardStatus::Voiding => {
                let word = self.0.payments.look_up_card(&card).await;
                self.told(&card, word, None).await
            }
            CardStatus::Captured | CardStatus::Voided | CardStatus::Charged => Ok(()),
        }
    }

    /// Takes what the ended trip costs, or lets the card go. What will be asked of the gateway is
    /// noted first, under the locks that keep a wallet from paying for the same trip.
    async fn end_of_trip(&self, id: CardId) -> Result<(), Failure> {
        let payments = &self.0.payments;
        let (mut tx, funds, mut card) = self.locked(id).await?;
        if card.status != CardStatus::Bound {
            return Ok(());
        }
        let trip = trip_of(&mut tx, &card).await?;
        let due = match trip.card_due() {
            CardDue::NotYet => {
                let again = self.0.clock.now() + LATER;
                payments.look_at_card_in_tx(&mut tx, &mut card, again).await?;
                return Ok(tx.commit().await?);
            }
            CardDue::Nothing => Piasters::ZERO,
            CardDue::Fee(fee) => fee.fee,
            CardDue::Fare(fare) => {
                let taken = fare.to_pay().min(card.amount);
                if !ledger::is_covered(&fare, taken, &funds) {
                    return self.is_short(tx, card, trip).await;
                }
                fare.to_pay()
            }
        };
        let amount = due.min(card.amount);
        if amount > Piasters::ZERO {
            payments.claim_capture_in_tx(&mut tx, &mut card, amount).await?;
            tx.commit().await?;
            self.answered(&card).await?;
        } else {
            payments.release_in_tx(&mut tx, &mut card).await?;
            tx.commit().await?;
        }
        // Of what was refused, what is reserved is let go at once.
        self.let_go_if_released(id).await
    }

    /// Card, wallet and what may be owed do not pay for the trip: nothing moves, and it is tried
    /// again later, as long as the authorisation is good.
    async fn is_short(
        &self,
        mut tx: Tx,
        mut card: CardAuthorisation,
        trip: Trip,
    ) -> Result<(), Failure> {
        let now = self.0.clock.now();
        let settled = match trip.payment_status {
            PaymentStatus::Pending => {
                Some(moved(&mut tx, &trip, PaymentStatus::Failed, now).await?)
            }
            PaymentStatus::Failed | PaymentStatus::Paid => None,
        };
        if card.expires_at.is_some_and(|until| now >= until) {
            self.0.payments.release_in_tx(&mut tx, &mut card).await?;
        } else {
            let again = now + LATER;
            self.0.payments.look_at_card_in_tx(&mut tx, &mut card, again).await?;
        }
        tx.commit().await?;
        self.after(Settled { trip: settled, ..Settled::default() }).await
    }

    /// Lets go what no trip needs.
    async fn let_go(&self, id: CardId) -> Result<(), Failure> {
        match self.claimed_void(id).await? {
            Some(card) => self.answered(&card).await,
            // A trip was quicker, or another job.
            None => Ok(()),
        }
    }

    async fn let_go_if_released(&self, id: CardId) -> Result<(), Failure> {
        match self.0.payments.card_authorisation(id).await? {
            Some(card) if card.status == CardStatus::Releasing => self.let_go(id).await,
            Some(_) | None => Ok(()),
        }
    }

    /// What is to be let go, once it is noted that the gateway will be asked to.
    async fn claimed_void(&self, id: CardId) -> Result<Option<CardAuthorisation>, Failure> {
        let payments = &self.0.payments;
        let mut tx = self.0.db.begin(&Who::System).await?;
        let mut card = payments.card_lock_in_tx(&mut tx, id).await?;
        match card.status {
            CardStatus::Authorised => payments.release_in_tx(&mut tx, &mut card).await?,
            CardStatus::Releasing => {}
            _ => return Ok(None),
        }
        payments.claim_void_in_tx(&mut tx, &mut card).await?;
        tx.commit().await?;
        Ok(Some(card))
    }

    /// Asks the gateway for what was noted, once, and makes its answer true.
    async fn answered(&self, card: &CardAuthorisation) -> Result<(), Failure> {
        let word = self.0.payments.ask_card(card).await?;
        self.told(card, word, None).await
    }

    /// Makes a word of the gateway true, in one transaction: the authorisation, the journal, the
    /// trip, their facts.
    async fn told(
        &self,
        seen: &CardAuthorisation,
        word: CardWord,
        record: Option<Audit>,
    ) -> Result<(), Failure> {
        let id = seen.id;
        let (mut tx, funds, card) = self.locked(id).await?;
        if card.attempt != seen.attempt {
            // It goes on under another name, of which this says nothing.
            return Ok(());
        }
        let looked = self.0.payments.card_told_in_tx(&mut tx, card, word).await?;
        let (card, mut settled) = (looked.card, Settled::default());
        match looked.outcome {
            CardOutcome::Same => return Ok(()),
            CardOutcome::Moved => {}
            CardOutcome::Captured { amount } => {
                settled = self.captured(&mut tx, &card, amount, &funds).await?;
            }
            CardOutcome::NotCaptured => {
                settled = self.not_captured(&mut tx, &card, &funds).await?;
            }
            CardOutcome::Charged { amount } => self.charged(&mut tx, &card, amount).await?,
            CardOutcome::Overdue => {
                settled.strange = Some("a card was asked to pay a day ago, and nobody knows");
            }
            CardOutcome::Strange(why) => settled.strange = Some(why),
        }
        if let Some(record) = record {
            identity::audit_in_tx(&mut tx, &[record]).await?;
        }
        tx.commit().await?;
        self.after(settled).await.map_err(|failure| {
            error!(card.id = %id, "a card's money needs somebody to look: {failure}");
            failure
        })
    }

    async fn captured(
        &self,
        tx: &mut Tx,
        card: &CardAuthorisation,
        amount: Piasters,
        funds: &RiderFunds,
    ) -> Result<Settled, Failure> {
        let trip = trip_of(tx, card).await?;
        let now = self.0.clock.now();
        let (journal, settled) = match trip.card_due() {
            CardDue::Fare(fare) => {
                let settled = moved(tx, &trip, PaymentStatus::Paid, now).await?;
                (ledger::captured(&fare, amount, funds), Some(settled))
            }
            CardDue::Fee(fee) => (ledger::fee_captured(&fee, amount, funds), None),
            // The locks of who claimed it keep anybody else from paying.
            CardDue::NotYet | CardDue::Nothing => {
                return Err(Failure::never(format!("card {} paid for nothing", card.id)));
            }
        };
        let driver_balance = post(tx, &journal, &trip).await?;
        info!(trip.id = %trip.id, card.id = %card.id, "a card paid");
        Ok(Settled { trip: settled, driver_balance, strange: None })
    }

    /// The wallet is to pay for the trip; a fee is owed as of a trip paid in cash.
    async fn not_captured(
        &self,
        tx: &mut Tx,
        card: &CardAuthorisation,
        funds: &RiderFunds,
    ) -> Result<Settled, Failure> {
        let trip = trip_of(tx, card).await?;
        let mut settled = Settled::default();
        match trip.card_due() {
            CardDue::Fare(_) if trip.payment_status == PaymentStatus::Pending => {
                let now = self.0.clock.now();
                settled.trip = Some(moved(tx, &trip, PaymentStatus::Failed, now).await?);
                // He may have the money already.
                events::add_in_tx(tx, &[late_payments(trip.rider)?]).await?;
            }
            CardDue::Fee(fee) => {
                let journal = ledger::fee_captured(&fee, Piasters::ZERO, funds);
                settled.driver_balance = post(tx, &journal, &trip).await?;
            }
            CardDue::Fare(_) | CardDue::NotYet | CardDue::Nothing => {}
        }
        Ok(settled)
    }

    /// The gateway took what no trip waited for: it is in the rider's wallet and pays what he owes.
    async fn charged(
        &self,
        tx: &mut Tx,
        card: &CardAuthorisation,
        amount: Piasters,
    ) -> Result<(), Failure> {
        let journal = ledger::deposit(card.id.0, Wallet::Rider(card.rider), amount);
        let posted = ledger::post_in_tx(tx, &journal).await.map_err(refused)?;
        ledger::pay_due_in_tx(tx, card.rider, posted.journal).await.map_err(refused)?;
        let message = Message {
            to: card.rider.into(),
            news: News::PaymentSucceeded { amount },
            about: Some(card.id.0),
            once: format!("card:{}:charged", card.id),
            until: None,
        };
        self.0.notify.tell_in_tx(tx, &message).await?;
        events::add_in_tx(tx, &[late_payments(card.rider)?]).await?;
        Ok(())
    }

    /// The rider's money first, as whoever moves money locks it, then the authorisation.
    async fn locked(&self, id: CardId) -> Result<(Tx, RiderFunds, CardAuthorisation), Failure> {
        let card = self.0.payments.card_authorisation(id).await?;
        let card = card.ok_or_else(|| Failure::never(format!("there is no authorisation {id}")))?;
        let rider = card.rider.into();
        let mut tx = self.0.db.begin(&Who::System).await?;
        let funds = ledger::lock_funds_in_tx(&mut tx, &[rider]).await?;
        let funds = funds.get(&rider).copied().unwrap_or_default();
        let card = self.0.payments.card_lock_in_tx(&mut tx, id).await?;
        Ok((tx, funds, card))
    }

    /// Tells what was committed.
    async fn after(&self, settled: Settled) -> Result<(), Failure> {
        if let Some(trip) = &settled.trip {
            self.0.trips.card_settled(trip).await;
        }
        if let Some((driver, balance)) = settled.driver_balance {
            self.0.fleet.set_balance(driver, balance);
        }
        match settled.strange {
            Some(why) => Err(Failure::never(why)),
            None => Ok(()),
        }
    }
}

async fn trip_of(tx: &mut Tx, card: &CardAuthorisation) -> Result<Trip, Failure> {
    let trip = match card.trip {
        Some(trip) => trips::trip_in_tx(tx, trip).await?,
        None => None,
    };
    trip.ok_or_else(|| Failure::never(format!("card {} is no trip's", card.id)))
}

/// Another moved the trip meanwhile: all of it is tried again.
async fn moved(
    tx: &mut Tx,
    trip: &Trip,
    to: PaymentStatus,
    now: Millis,
) -> Result<CardSettled, Failure> {
    let settled = trips::card_settle_in_tx(tx, trip, to, now).await?;
    settled.ok_or_else(|| Failure::again(format!("trip {} moved meanwhile", trip.id)))
}

/// The driver's account afterwards.
async fn post(
    tx: &mut Tx,
    journal: &Journal,
    trip: &Trip,
) -> Result<Option<(DriverId, Piasters)>, Failure> {
    let posted = ledger::post_in_tx(tx, journal).await.map_err(refused)?;
    let Some(driver) = trip.driver else { return Ok(None) };
    Ok(posted.balance_of(Account::Driver(driver.into())).map(|balance| (driver, balance)))
}

/// The funds are locked: a refusal is a bug, and the next version of the program may do better.
fn refused(error: PostError) -> Failure {
    match error {
        PostError::Fault(fault) => fault.into(),
        other => Failure::again(other.to_string()),
    }
}
