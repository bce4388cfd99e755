//! Authorisations: a page for each, the one call that takes or lets go, looks, and what they bring.

use std::time::Duration;

use base::{Caller, Fault, Millis, Piasters, Problem, TripId};
use events::{Fact, Once, Superseded};
use metrics::counter;
use storage::{Tx, Who};
use tracing::warn;
use uuid::Uuid;

use super::job;
use super::model::{CardAuthorisation, CardId, CardStatus};
use super::rules::{self, CardWord, Outcome};
use super::store;
use super::wire::{CardMoved, CardOpened, CardView};
use crate::Payments;
use crate::desk::{PAGE_OPEN, REST, TRIES, unavailable};
use crate::kashier::{CallFailed, Currency, Intent, Kashier, Order, PayPage};
use crate::rules::next_look as page_look;

/// Authorisations taken up by one run of the schedule.
const LOOKS: i64 = 500;
/// When a look that got lost is made up for.
const LOOK_AGAIN: Duration = Duration::from_secs(5 * 60);

/// How cards are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardLimits {
    /// How long an authorisation may be used. Banks let them fall after 7 days, some after 30.
    pub good_for: Duration,
}

impl Default for CardLimits {
    fn default() -> Self {
        Self { good_for: Duration::from_secs(6 * 24 * 3600) }
    }
}

/// An authorisation after a word about it; stored, with its fact, in the caller's transaction.
#[derive(Debug)]
pub struct CardLooked {
    pub card: CardAuthorisation,
    pub outcome: Outcome,
}

impl Payments {
    /// The line to a gateway that can reserve money.
    fn holds(&self) -> Result<&Kashier, Problem> {
        let gateway = self.gateway()?;
        match gateway.config().page {
            PayPage::Sessions => Ok(gateway),
            PayPage::Hosted => {
                let why = "cards are not taken for trips here, pay with cash or wallet";
                Err(Problem::new(base::Code::PaymentMethodUnavailable, why))
            }
        }
    }

    /// Are trips paid by card here at all?
    pub fn takes_cards(&self) -> bool {
        self.holds().is_ok()
    }

    /// Begins an authorisation: of how much, and where.
    pub async fn open_card(
        &self,
        caller: &Caller,
        amount: Piasters,
        once: Once,
    ) -> Result<CardOpened, Problem> {
        let gateway = self.holds()?;
        self.check_amount(amount)?;
        let card = match once.applied() {
            Some(id) => self.card_begun(CardId(id)).await?,
            None => self.begin_card(caller, amount, once).await?,
        };
        Ok(CardOpened::of(&self.with_card_page(gateway, card).await?))
    }

    /// One of the caller's own.
    pub async fn card(&self, caller: &Caller, id: CardId) -> Result<CardView, Problem> {
        let mut tx = self.db().begin(&Who::Caller(*caller)).await?;
        let card = store::card_in_tx(&mut tx, id).await?;
        let own = card.filter(|card| card.rider == caller.user.as_rider());
        Ok(CardView::from(&own.ok_or_else(Problem::not_found)?))
    }

    /// As the program sees it.
    pub async fn card_authorisation(&self, id: CardId) -> Result<Option<CardAuthorisation>, Fault> {
        let mut tx = self.db().begin(&Who::System).await?;
        store::card_in_tx(&mut tx, id).await
    }

    /// The one that a trip is paid by.
    pub async fn card_of_trip(&self, trip: TripId) -> Result<Option<CardAuthorisation>, Fault> {
        let mut tx = self.db().begin(&Who::System).await?;
        store::card_of_trip_in_tx(&mut tx, trip).await
    }

    /// Unchanged by others until the transaction ends.
    pub async fn card_lock_in_tx(
        &self,
        tx: &mut Tx,
        id: CardId,
    ) -> Result<CardAuthorisation, Fault> {
        must(store::card_lock_in_tx(tx, id).await?)
    }

    async fn begin_card(
        &self,
        caller: &Caller,
        amount: Piasters,
        once: Once,
    ) -> Result<CardAuthorisation, Problem> {
        let now = self.clock().now();
        let page_until = now + PAGE_OPEN;
        let card = CardAuthorisation {
            id: CardId(Uuid::now_v7()),
            rider: caller.user.as_rider(),
            amount,
            currency: Currency::Egp,
            status: CardStatus::Pending,
            attempt: 1,
            session: None,
            page_url: None,
            gateway_order: None,
            transaction: None,
            capture: None,
            trip: None,
            to_capture: None,
            captured: None,
            failure: None,
            look_at: page_look(now, page_until, now),
            page_until,
            expires_at: None,
            asked_at: None,
            created_at: now,
            authorised_at: None,
            ended_at: None,
        };
        let mut tx = self.db().begin(&Who::System).await?;
        store::card_add_in_tx(&mut tx, &card).await?;
        once.mark_in_tx(&mut tx, card.id.0).await?;
        tx.commit().await?;
        count("begun");
        Ok(card)
    }

    /// The authorisation of an attempt whose answer got lost. One without a page may be known to
    /// the gateway under its name: it goes on under the next.
    async fn card_begun(&self, id: CardId) -> Result<CardAuthorisation, Problem> {
        let card = must(self.card_authorisation(id).await?)?;
        match &card.page_url {
            None => self.another_card(&card).await,
            Some(_) => Ok(card),
        }
    }

    async fn with_card_page(
        &self,
        gateway: &Kashier,
        card: CardAuthorisation,
    ) -> Result<CardAuthorisation, Problem> {
        let mut card = card;
        for last in (0..TRIES).rev().map(|left| left == 0) {
            if card.page_url.is_some() {
                break;
            }
            let name = card.reference().to_string();
            let order = Order {
                reference: &name,
                amount: card.amount,
                currency: card.currency,
                customer: card.rider.into(),
                expires: card.page_until,
                intent: Intent::Hold,
            };
            match gateway.open(&order).await {
                Ok(page) => {
                    let mut tx = self.db().begin(&Who::System).await?;
                    if !store::card_page_in_tx(&mut tx, card.reference(), &page).await? {
                        return Err(Superseded::ByAnother.into());
                    }
                    tx.commit().await?;
                    (card.session, card.page_url) = (page.session, Some(page.url));
                }
                Err(failed) if last || !failed.passes() => return Err(unavailable(&failed)),
                Err(failed) => {
                    warn!(card.id = %card.id, attempt = card.attempt, "no page: {failed}");
                    tokio::time::sleep(REST.mul_f64(self.dice().unit())).await;
                    // The name may be used up, whatever became of the call.
                    card = self.another_card(&card).await?;
                }
            }
        }
        Ok(card)
    }

    async fn another_card(&self, card: &CardAuthorisation) -> Result<CardAuthorisation, Problem> {
        let now = self.clock().now();
        let until = now + PAGE_OPEN;
        let look_at = page_look(now, until, now).unwrap_or(until);
        let mut tx = self.db().begin(&Who::System).await?;
        if !store::card_again_in_tx(&mut tx, card.reference(), look_at, until).await? {
            return Err(Superseded::ByAnother.into());
        }
        let card = must(store::card_in_tx(&mut tx, card.id).await?)?;
        tx.commit().await?;
        Ok(card)
    }

    /// Notes that the gateway will be asked to take `amount` of a locked authorisation that is
    /// bound to a trip. Who commits it asks; nobody else ever does.
    pub async fn claim_capture_in_tx(
        &self,
        tx: &mut Tx,
        card: &mut CardAuthorisation,
        amount: Piasters,
    ) -> Result<(), Fault> {
        card.to_capture = Some(amount);
        claim_in_tx(tx, card, CardStatus::Capturing, self.clock().now()).await
    }

    /// The same of letting go what is to be let go.
    pub async fn claim_void_in_tx(
        &self,
        tx: &mut Tx,
        card: &mut CardAuthorisation,
    ) -> Result<(), Fault> {
        claim_in_tx(tx, card, CardStatus::Voiding, self.clock().now()).await
    }

    /// A locked authorisation that no trip needs (any more) is to be let go.
    pub async fn release_in_tx(
        &self,
        tx: &mut Tx,
        card: &mut CardAuthorisation,
    ) -> Result<(), Fault> {
        (card.status, card.look_at) = (CardStatus::Releasing, Some(self.clock().now()));
        store::card_move_in_tx(tx, card).await
    }

    /// A locked one is looked at again at `at`.
    pub async fn look_at_card_in_tx(
        &self,
        tx: &mut Tx,
        card: &mut CardAuthorisation,
        at: Millis,
    ) -> Result<(), Fault> {
        card.look_at = Some(at);
        store::card_move_in_tx(tx, card).await
    }

    /// Asks the gateway for what was claimed, once. A refusal is looked at before it is believed.
    pub async fn ask_card(&self, card: &CardAuthorisation) -> Result<CardWord, Fault> {
        let (Ok(gateway), Some(order)) = (self.gateway(), &card.gateway_order) else {
            return Ok(CardWord::NotDone { after: None });
        };
        let answer = match (card.status, card.to_capture, &card.transaction) {
            (CardStatus::Capturing, Some(amount), _) => gateway.capture(order, amount).await,
            (_, _, Some(transaction)) => gateway.void(order, transaction, card.amount).await,
            // The gateway never named what is to be let go.
            (_, _, None) => Err(CallFailed::Refused { status: 0 }),
        };
        if let Err(failed) = &answer {
            warn!(card.id = %card.id, status = %card.status, "a card's money: {failed}");
        }
        match (rules::of_answer(card, &answer), answer) {
            (Some(word), _) => Ok(word),
            (None, answer) => {
                let why = answer.err().map_or_else(
                    || "the gateway refused it".to_owned(),
                    |failed| failed.to_string(),
                );
                Ok(rules::of_refusal(why, self.look_up_card(card).await))
            }
        }
    }

    /// How it stands at the gateway; [`CardWord::Open`] where that can't be told.
    pub async fn look_up_card(&self, card: &CardAuthorisation) -> CardWord {
        let Ok(gateway) = self.gateway() else { return CardWord::Open };
        let reference = card.reference().to_string();
        match gateway.look_up_hold(&reference, card.session.as_deref()).await {
            Ok(found) => rules::of_look(card, found),
            Err(failed) => {
                warn!(card.id = %card.id, "a card could not be looked up: {failed}");
                CardWord::Open
            }
        }
    }

    /// Makes a word about a locked authorisation true, with its fact; what follows for trip and
    /// wallet is the caller's, in the same transaction.
    pub async fn card_told_in_tx(
        &self,
        tx: &mut Tx,
        mut card: CardAuthorisation,
        word: CardWord,
    ) -> Result<CardLooked, Fault> {
        let (now, before) = (self.clock().now(), card.status);
        let outcome = rules::apply(&mut card, word, self.cards().good_for, now);
        if outcome != Outcome::Same {
            store::card_move_in_tx(tx, &card).await?;
        }
        if card.status != before {
            count(card.status.name());
            tell_in_tx(tx, &card, now).await?;
        }
        Ok(CardLooked { card, outcome })
    }

    /// Puts down a job for each that is due to be looked at; how many.
    pub async fn look_up_due_cards(&self) -> Result<usize, Fault> {
        if !self.takes_cards() {
            return Ok(0);
        }
        let now = self.clock().now();
        let mut tx = self.db().begin(&Who::System).await?;
        let due = store::cards_due_in_tx(&mut tx, now, LOOK_AGAIN, LOOKS).await?;
        let looks = due.into_iter().map(job::due).collect::<Result<Vec<_>, _>>()?;
        events::add_in_tx(&mut tx, &looks).await?;
        tx.commit().await?;
        Ok(looks.len())
    }
}

async fn claim_in_tx(
    tx: &mut Tx,
    card: &mut CardAuthorisation,
    status: CardStatus,
    now: Millis,
) -> Result<(), Fault> {
    (card.status, card.asked_at) = (status, Some(now));
    card.look_at = Some(rules::next_look(now, now));
    store::card_move_in_tx(tx, card).await
}

fn must(card: Option<CardAuthorisation>) -> Result<CardAuthorisation, Fault> {
    card.ok_or_else(|| Fault::internal("a card's authorisation is not there"))
}

/// What is between two calls is nobody's business.
async fn tell_in_tx(tx: &mut Tx, card: &CardAuthorisation, at: Millis) -> Result<(), Fault> {
    let kind = match card.status {
        CardStatus::Authorised => "CARD_AUTHORISED",
        CardStatus::Captured => "CARD_CAPTURED",
        CardStatus::Charged => "CARD_CHARGED",
        CardStatus::Voided => "CARD_RELEASED",
        CardStatus::Pending
        | CardStatus::Failed
        | CardStatus::Expired
        | CardStatus::Bound
        | CardStatus::Capturing
        | CardStatus::Releasing
        | CardStatus::Voiding => return Ok(()),
    };
    let payload = CardMoved::of(card, at);
    let fact = Fact { aggregate: "card", id: card.id.0, kind, version: 1, payload: &payload, at };
    events::append_in_tx(tx, &fact).await.map(drop)
}

fn count(result: &'static str) {
    counter!("smartline_card_authorisations_total", "result" => result).increment(1);
}
