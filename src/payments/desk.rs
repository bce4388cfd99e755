//! The handle: asks the gateway for pages, takes its notices, looks deposits up.

use std::sync::Arc;
use std::time::Duration;

use base::{Caller, Clock, Code, Dice, Fault, Piasters, Problem};
use events::{Jobs, NewJob, Once, Superseded};
use metrics::counter;
use ops::{BreakerPolicy, Breakers};
use storage::{Db, Who};
use tracing::{info, warn};
use uuid::Uuid;

use crate::apply::initiated_in_tx;
use crate::cards::{self, CardLimits, CardReference};
use crate::job;
use crate::kashier::{
    CallFailed, Currency, Intent, Kashier, KashierConfig, NotGenuine, Notice, Order,
};
use crate::model::{Claim, Deposit, DepositId, DepositStatus, News, NoReference, Reference};
use crate::rules::{next_look, waits_for_person};
use crate::store::{self, NewDeposit};
use crate::wire::{DepositOpened, DepositView};

/// Attempts at a page within one request. With the breaker's time-out and the rests between them
/// they stay within what a person waits.
pub(crate) const TRIES: u32 = 3;
/// Longest rest between two attempts.
pub(crate) const REST: Duration = Duration::from_millis(400);
/// How long a page may be paid on.
pub(crate) const PAGE_OPEN: Duration = Duration::from_secs(30 * 60);
/// Deposits taken up by one run of the schedule.
pub(crate) const LOOKS: i64 = 500;
/// When a look that got lost is made up for.
const LOOK_AGAIN: Duration = Duration::from_secs(5 * 60);

/// What may be brought in at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DepositLimits {
    pub least: Piasters,
    pub most: Piasters,
}

impl Default for DepositLimits {
    fn default() -> Self {
        Self { least: Piasters::pounds(10), most: Piasters::pounds(20_000) }
    }
}

/// How this deployment is paid; without a gateway there are no deposits.
#[derive(Clone, Debug, Default)]
pub struct PaymentsConfig {
    pub gateway: Option<KashierConfig>,
    pub deposits: DepositLimits,
    pub cards: CardLimits,
    pub calls: BreakerPolicy,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Payments(Arc<Inner>);

struct Inner {
    db: Db,
    clock: Clock,
    dice: Dice,
    gateway: Option<Kashier>,
    limits: DepositLimits,
    cards: CardLimits,
}

/// What a look at the gateway brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// To be applied as a notice would be.
    News(News),
    /// It has not been paid yet, or the gateway could not be asked.
    NotYet,
    /// It is paid, or a person settles it: the gateway was not asked.
    Settled,
    /// It was not paid, and its time is over.
    Over,
}

impl Payments {
    pub fn new(
        db: Db,
        clock: Clock,
        dice: Dice,
        breakers: &Breakers,
        config: PaymentsConfig,
    ) -> Result<Self, Fault> {
        let PaymentsConfig { gateway, deposits: limits, cards, calls } = config;
        let gateway = gateway
            .map(|config| Kashier::new(config, breakers, calls, clock.clone()))
            .transpose()?;
        Ok(Self(Arc::new(Inner { db, clock, dice, gateway, limits, cards })))
    }

    /// The line to the gateway, where there is one.
    pub fn gateway(&self) -> Result<&Kashier, Problem> {
        self.0.gateway.as_ref().ok_or_else(|| {
            let why = "online payment is not set up here";
            Problem::new(Code::GatewayUnavailable, why)
        })
    }

    /// Begins a top-up: who pays, and where.
    pub async fn open_deposit(
        &self,
        caller: &Caller,
        amount: Piasters,
        once: Once,
    ) -> Result<DepositOpened, Problem> {
        let gateway = self.gateway()?;
        self.check_amount(amount)?;
        let deposit = match once.applied() {
            Some(id) => self.begun(DepositId(id)).await?,
            None => self.begin(caller, amount, once).await?,
        };
        Ok(DepositOpened::of(&self.with_page(gateway, deposit).await?))
    }

    pub(crate) fn check_amount(&self, amount: Piasters) -> Result<(), Problem> {
        let DepositLimits { least, most } = self.0.limits;
        if amount < least || amount > most {
            let text = format!("must be between {least} and {most}");
            return Err(Problem::field("amount", "out_of_range", &text));
        }
        Ok(())
    }

    /// One of the caller's own.
    pub async fn deposit(
        &self,
        caller: &Caller,
        reference: Reference,
    ) -> Result<DepositView, Problem> {
        let mut tx = self.0.db.begin(&Who::Caller(*caller)).await?;
        let deposit = store::deposit_in_tx(&mut tx, reference.deposit).await?;
        let known = deposit.filter(|deposit| {
            deposit.user == caller.user && (1..=deposit.attempt).contains(&reference.attempt)
        });
        Ok(DepositView::of(&known.ok_or_else(Problem::not_found)?))
    }

    async fn begin(
        &self,
        caller: &Caller,
        amount: Piasters,
        once: Once,
    ) -> Result<Deposit, Problem> {
        let now = self.0.clock.now();
        let (id, expires_at) = (DepositId(Uuid::now_v7()), now + PAGE_OPEN);
        let new = NewDeposit {
            id,
            user: caller.user,
            role: caller.role,
            amount,
            currency: Currency::Egp,
            look_at: next_look(now, expires_at, now).unwrap_or(expires_at),
            expires_at,
            created_at: now,
        };
        let mut tx = self.0.db.begin(&Who::System).await?;
        store::deposit_add_in_tx(&mut tx, &new).await?;
        initiated_in_tx(&mut tx, &new).await?;
        once.mark_in_tx(&mut tx, id.0).await?;
        let deposit = must(store::deposit_in_tx(&mut tx, id).await?)?;
        tx.commit().await?;
        counter!("smartline_deposits_total", "result" => "begun").increment(1);
        Ok(deposit)
    }

    /// The deposit of an attempt whose answer got lost. One without a page may be known to the
    /// gateway under its name: it goes on under the next.
    async fn begun(&self, id: DepositId) -> Result<Deposit, Problem> {
        let mut tx = self.0.db.begin(&Who::System).await?;
        let deposit = must(store::deposit_in_tx(&mut tx, id).await?)?;
        drop(tx);
        match &deposit.page_url {
            None => self.another(&deposit).await,
            Some(_) => Ok(deposit),
        }
    }

    async fn with_page(&self, gateway: &Kashier, deposit: Deposit) -> Result<Deposit, Problem> {
        let mut deposit = deposit;
        let mut tries = 0;
        while deposit.page_url.is_none() {
            let name = deposit.reference().to_string();
            let order = Order {
                reference: &name,
                amount: deposit.amount,
                currency: deposit.currency,
                customer: deposit.user,
                expires: deposit.expires_at,
                intent: Intent::Charge,
            };
            let failed = match gateway.open(&order).await {
                Ok(page) => {
                    let mut tx = self.0.db.begin(&Who::System).await?;
                    let mine =
                        store::deposit_page_in_tx(&mut tx, deposit.reference(), &page).await?;
                    tx.commit().await?;
                    if !mine {
                        return Err(Superseded::ByAnother.into());
                    }
                    (deposit.session, deposit.page_url) = (page.session, Some(page.url));
                    break;
                }
                Err(failed) => failed,
            };
            warn!(deposit.id = %deposit.id, attempt = deposit.attempt, "no page to pay on: {failed}");
            tries += 1;
            if tries >= TRIES || !failed.passes() {
                return Err(unavailable(&failed));
            }
            tokio::time::sleep(REST.mul_f64(self.0.dice.unit())).await;
            // The name may be used up, whatever became of the call.
            deposit = self.another(&deposit).await?;
        }
        Ok(deposit)
    }

    /// The same deposit under its next name; the one before is left to expire.
    async fn another(&self, deposit: &Deposit) -> Result<Deposit, Problem> {
        let now = self.0.clock.now();
        let expires = now + PAGE_OPEN;
        let look_at = next_look(now, expires, now).unwrap_or(expires);
        let mut tx = self.0.db.begin(&Who::System).await?;
        let mine =
            store::deposit_again_in_tx(&mut tx, deposit.reference(), look_at, expires).await?;
        if !mine {
            return Err(Superseded::ByAnother.into());
        }
        let deposit = must(store::deposit_in_tx(&mut tx, deposit.id).await?)?;
        tx.commit().await?;
        Ok(deposit)
    }

    /// Takes a notice of the gateway: kept, and to be applied by a job. Told again, it is kept
    /// once.
    pub async fn take_notice(&self, body: &[u8], signature: &str) -> Result<(), Problem> {
        let gateway = self.gateway()?;
        let notice = Notice::verify(gateway.key(), body, signature).map_err(|wrong| {
            let result = match wrong {
                NotGenuine::Malformed => "malformed",
                NotGenuine::Uncovered(_) => "uncovered",
                NotGenuine::Forged => "forged",
            };
            count_notice(result);
            let code = match wrong {
                NotGenuine::Malformed => Code::MalformedBody,
                NotGenuine::Uncovered(_) | NotGenuine::Forged => Code::InvalidSignature,
            };
            Problem::new(code, wrong.to_string())
        })?;
        let mut tx = self.0.db.begin(&Who::System).await?;
        let kept = store::notice_add_in_tx(&mut tx, &notice, self.0.clock.now()).await?;
        let job = kept.map(|id| job::notice(id, &notice)).transpose()?;
        if let Some(job) = &job {
            events::add_in_tx(&mut tx, std::slice::from_ref(job)).await?;
        }
        tx.commit().await?;
        match job {
            Some(_) => {
                info!(order = notice.order, status = %notice.status, "the gateway told of a payment");
                count_notice("taken");
            }
            None => count_notice("repeated"),
        }
        Ok(())
    }

    /// Where the rider's browser goes on after the page, by the query it came back with. A genuine
    /// one is worth a look at the gateway at once; what it says is never booked.
    pub async fn returned(&self, jobs: &Jobs, query: &str) -> Result<String, Problem> {
        let gateway = self.gateway()?;
        let name = form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "merchantOrderId")
            .map(|(_, value)| value.into_owned());
        let genuine = name.filter(|_| gateway.key().is_genuine_redirect(query));
        let look = match &genuine {
            Some(name) => look_at_name(name)?,
            None => None,
        };
        let genuine = genuine.filter(|_| look.is_some());
        if let Some(job) = look {
            jobs.add(&[job]).await?;
        }
        let app = &gateway.config().app_url;
        let joint = if app.contains('?') { '&' } else { '?' };
        Ok(match genuine {
            Some(reference) => format!("{app}{joint}orderId={reference}"),
            None => app.clone(),
        })
    }

    /// Puts down a job for each deposit that is due to be looked at; how many.
    pub async fn look_up_due(&self) -> Result<usize, Fault> {
        if self.0.gateway.is_none() {
            return Ok(0);
        }
        let now = self.0.clock.now();
        let mut tx = self.0.db.begin(&Who::System).await?;
        let due = store::deposits_due_in_tx(&mut tx, now, LOOK_AGAIN, LOOKS).await?;
        let looks: Vec<_> = due.into_iter().map(job::look_up).collect::<Result<_, _>>()?;
        events::add_in_tx(&mut tx, &looks).await?;
        tx.commit().await?;
        Ok(looks.len())
    }

    /// Asks the gateway about a deposit that is not paid.
    pub async fn look_up(&self, id: DepositId) -> Result<Looked, Fault> {
        let Some(gateway) = &self.0.gateway else { return Ok(Looked::NotYet) };
        let mut tx = self.0.db.begin(&Who::System).await?;
        let found = store::deposit_in_tx(&mut tx, id).await?;
        drop(tx);
        let is_open =
            |deposit: &Deposit| deposit.status != DepositStatus::Paid && !waits_for_person(deposit);
        let Some(deposit) = found.filter(is_open) else { return Ok(Looked::Settled) };
        let reference = deposit.reference().to_string();
        match gateway.look_up(&reference, deposit.session.as_deref()).await {
            Ok(Some(found)) => {
                let news = News::from(found);
                if news.claim != Claim::Nothing {
                    return Ok(Looked::News(news));
                }
            }
            Ok(None) => {}
            // Nobody can say that it was not paid.
            Err(failed) => {
                warn!(deposit.id = %id, "a deposit could not be looked up: {failed}");
                counter!("smartline_deposit_looks_total", "result" => "failed").increment(1);
                return Ok(Looked::NotYet);
            }
        }
        counter!("smartline_deposit_looks_total", "result" => "not_paid").increment(1);
        let now = self.0.clock.now();
        match next_look(deposit.created_at, deposit.expires_at, now) {
            None => Ok(Looked::Over),
            Some(_) => Ok(Looked::NotYet),
        }
    }

    pub(crate) fn merchant(&self) -> &str {
        self.0.gateway.as_ref().map_or("", |gateway| gateway.config().merchant.as_str())
    }

    pub(crate) fn db(&self) -> &Db {
        &self.0.db
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn dice(&self) -> &Dice {
        &self.0.dice
    }

    pub(crate) fn cards(&self) -> CardLimits {
        self.0.cards
    }
}

/// A look at what bears this name, where it is one of ours.
fn look_at_name(name: &str) -> Result<Option<NewJob>, Fault> {
    if let Ok(Reference { deposit, .. }) = name.parse() {
        return job::look_up(deposit).map(Some);
    }
    match name.parse() {
        Ok(CardReference { card, .. }) => cards::look_at(card).map(Some),
        Err(NoReference) => Ok(None),
    }
}

fn must(deposit: Option<Deposit>) -> Result<Deposit, Fault> {
    deposit.ok_or_else(|| Fault::internal("a deposit that was stored is not there"))
}

pub(crate) fn unavailable(failed: &CallFailed) -> Problem {
    let mut problem =
        Problem::new(Code::GatewayUnavailable, "the payment gateway doesn't answer, try again");
    problem.cause = Some(failed.to_string());
    match failed {
        CallFailed::NotDone { after: Some(after), .. } => {
            problem.with("retryAfter", after.as_secs().max(1))
        }
        CallFailed::NotDone { after: None, .. }
        | CallFailed::Lost { .. }
        | CallFailed::Refused { .. } => problem,
    }
}

fn count_notice(result: &'static str) {
    counter!("smartline_gateway_notices_total", "result" => result).increment(1);
}
