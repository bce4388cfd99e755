//! The handle: takes requests, moves withdrawals on, asks the provider.

use std::sync::Arc;
use std::time::Duration;

use base::{Clock, Code, Cursor, DriverId, Fault, Millis, Piasters, Problem, UserId};
use events::{Fact, Jobs};
use ledger::{Account, PostError, WithdrawStep};
use metrics::counter;
use ops::{BreakerPolicy, Breakers};
use storage::{Db, Tx, Who};
use tracing::warn;
use uuid::Uuid;

use super::account::PayoutAccount;
use super::client::{HttpPayouts, PayoutProviderConfig};
use super::job;
use super::model::{
    PayoutChannel, WithdrawLimits, Withdrawal, WithdrawalFilter, WithdrawalId, WithdrawalStatus,
};
use super::provider::{PayoutOrder, PayoutProvider, PayoutState};
use super::rules::{
    Act, OVERDUE, OVERDUE_REST, OutOfBounds, Refused, act_of_standing, contradicts, next_look,
    step, within,
};
use super::store;
use crate::facts::{WithdrawalMoved, withdrawal_fact};
use crate::kashier::CallFailed;

/// Payouts taken up by one run of the schedule.
const LOOKS: i64 = 500;
/// When a look that got lost is made up for.
const LOOK_AGAIN: Duration = Duration::from_secs(5 * 60);
/// The days that are counted in `per_day`.
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Within this time the same wish is the same request, whatever its key.
const SAME_FOR: Duration = Duration::from_secs(5);

/// How this deployment pays out; without a provider operators do it by hand.
#[derive(Clone, Debug, Default)]
pub struct PayoutsConfig {
    pub provider: Option<PayoutProviderConfig>,
    pub limits: WithdrawLimits,
    pub calls: BreakerPolicy,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Payouts(Arc<Inner>);

struct Inner {
    db: Db,
    clock: Clock,
    provider: Option<Arc<dyn PayoutProvider>>,
    limits: WithdrawLimits,
}

/// What a driver asks for.
#[derive(Clone, Debug)]
pub struct NewWithdrawal {
    pub driver: DriverId,
    pub amount: Piasters,
    pub account: PayoutAccount,
}

/// A withdrawal after a step of it.
#[derive(Clone, Debug)]
pub struct Advanced {
    pub withdrawal: Withdrawal,
    /// The driver's account afterwards, where it was touched.
    pub driver_balance: Option<Piasters>,
}

/// What goes with a step.
#[derive(Clone, Debug, Default)]
pub struct With {
    /// The admin who does it.
    pub by: Option<UserId>,
    pub reason: Option<String>,
    pub bank_reference: Option<String>,
    pub provider_id: Option<String>,
}

/// Why a step was not made; the transaction is over.
#[derive(Debug, thiserror::Error)]
pub enum AdvanceError {
    #[error("there is no such withdrawal")]
    NotFound,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Post(#[from] PostError),
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<AdvanceError> for Problem {
    fn from(error: AdvanceError) -> Self {
        match error {
            AdvanceError::NotFound => Self::not_found(),
            AdvanceError::Refused(refused) => {
                let text = format!("the withdrawal is {}", refused.current);
                Self::new(Code::InvalidTransition, text).with("current", refused.current)
            }
            // One of the steps' journals is there already: the row would have said so.
            AdvanceError::Post(error @ PostError::KeyReused) => {
                Fault::internal(error.to_string()).into()
            }
            AdvanceError::Post(error) => error.into(),
            AdvanceError::Fault(fault) => fault.into(),
        }
    }
}

/// Has the provider been asked for this payout before?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Never,
    /// It was, or may have been.
    Before,
}

/// What the provider's word means for a payout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pursued {
    /// Nobody knows yet; to be looked at again, not before `after` where somebody said so.
    OnItsWay {
        provider_id: Option<String>,
        after: Option<Duration>,
    },
    Ended {
        act: Act,
        provider_id: Option<String>,
        reason: String,
        bank_reference: Option<String>,
    },
    /// A person has to look.
    Strange(String),
}

impl Payouts {
    pub fn new(
        db: Db,
        clock: Clock,
        breakers: &Breakers,
        config: PayoutsConfig,
    ) -> Result<Self, Fault> {
        let PayoutsConfig { provider, limits, calls } = config;
        let provider = match provider {
            Some(config) => {
                let client = HttpPayouts::new(config, breakers, calls, clock.clone())?;
                Some(Arc::new(client) as Arc<dyn PayoutProvider>)
            }
            None => None,
        };
        Ok(Self::with(db, clock, provider, limits))
    }

    /// With a provider of the caller's own.
    pub fn with(
        db: Db,
        clock: Clock,
        provider: Option<Arc<dyn PayoutProvider>>,
        limits: WithdrawLimits,
    ) -> Self {
        Self(Arc::new(Inner { db, clock, provider, limits }))
    }

    pub fn has_provider(&self) -> bool {
        self.0.provider.is_some()
    }

    /// Sets the amount aside and stores the request with its fact. A driver who asks twice within
    /// seconds for the same gets the first.
    pub async fn request_in_tx(
        &self,
        tx: &mut Tx,
        new: &NewWithdrawal,
    ) -> Result<Advanced, Problem> {
        let now = self.0.clock.now();
        let NewWithdrawal { driver, amount, ref account } = *new;
        let open = store::withdrawal_open_in_tx(tx, driver).await?;
        if let Some(open) = &open {
            return self.same_or_refused(open, new, now);
        }
        let taken = store::withdrawals_since_in_tx(tx, driver, now - DAY).await?;
        within(&self.0.limits, amount, taken).map_err(|out| self.out_of_bounds(out))?;
        let withdrawal = Withdrawal {
            id: WithdrawalId(Uuid::now_v7()),
            driver,
            amount,
            account: account.clone(),
            status: WithdrawalStatus::Requested,
            channel: None,
            provider_id: None,
            bank_reference: None,
            reason: None,
            requested_at: now,
            decided_by: None,
            decided_at: None,
            sent_at: None,
            ended_at: None,
        };
        if !store::withdrawal_add_in_tx(tx, &withdrawal).await? {
            let open = store::withdrawal_open_in_tx(tx, driver).await?;
            let open = open.ok_or_else(|| Fault::unavailable("an open withdrawal just ended"))?;
            return self.same_or_refused(&open, new, now);
        }
        let balance = post_in_tx(tx, &withdrawal, WithdrawStep::Requested).await;
        let driver_balance = balance.map_err(Problem::from)?;
        tell_in_tx(tx, &withdrawal, now).await?;
        counter!("smartline_withdrawals_total", "status" => "requested").increment(1);
        Ok(Advanced { withdrawal, driver_balance })
    }

    /// Is it an amount that may be asked for?
    pub fn admits(&self, amount: Piasters) -> Result<(), Problem> {
        let limits = WithdrawLimits { per_day: u32::MAX, ..self.0.limits };
        within(&limits, amount, 0).map_err(|out| self.out_of_bounds(out))
    }

    fn same_or_refused(
        &self,
        open: &Withdrawal,
        new: &NewWithdrawal,
        now: Millis,
    ) -> Result<Advanced, Problem> {
        let is_same = open.amount == new.amount
            && open.account == new.account
            && now.after(open.requested_at) < SAME_FOR;
        if is_same {
            let withdrawal = open.clone();
            return Ok(Advanced { withdrawal, driver_balance: None });
        }
        let why = "an earlier withdrawal is still open";
        let problem = Problem::new(Code::WithdrawalOpen, why);
        Err(problem.with("requestId", open.id).with("status", open.status))
    }

    fn out_of_bounds(&self, out: OutOfBounds) -> Problem {
        let WithdrawLimits { least, most, per_day } = self.0.limits;
        match out {
            OutOfBounds::Amount => {
                let text = format!("must be between {least} and {most}");
                Problem::field("amount", "out_of_range", &text)
            }
            OutOfBounds::TooMany => {
                let why = "no more withdrawals can be asked for today";
                Problem::new(Code::WithdrawalLimit, why).with("perDay", per_day)
            }
        }
    }

    /// One step of a withdrawal: row, posting and fact.
    pub async fn advance_in_tx(
        &self,
        tx: &mut Tx,
        id: WithdrawalId,
        act: Act,
        with: With,
    ) -> Result<Advanced, AdvanceError> {
        let now = self.0.clock.now();
        let found = store::withdrawal_lock_in_tx(tx, id).await?;
        let mut withdrawal = found.ok_or(AdvanceError::NotFound)?;
        let (status, posts) = step(withdrawal.status, act)?;
        // What the provider has in its hands, the provider ends: it could still arrive.
        let theirs = withdrawal.channel == Some(PayoutChannel::Provider) && self.has_provider();
        if matches!(act, Act::Confirm | Act::Fail) && theirs && with.by.is_some() {
            return Err(Refused { current: withdrawal.status }.into());
        }
        withdrawal.status = status;
        withdrawal.reason = with.reason.or(withdrawal.reason);
        withdrawal.bank_reference = with.bank_reference.or(withdrawal.bank_reference);
        withdrawal.provider_id = with.provider_id.or(withdrawal.provider_id);
        let mut look_at = None;
        match act {
            Act::Approve | Act::Reject => {
                withdrawal.decided_by = with.by;
                withdrawal.decided_at = Some(now);
                if act == Act::Approve && self.has_provider() {
                    events::add_in_tx(tx, &[job::payout(id)?]).await?;
                    look_at = Some(now + LOOK_AGAIN);
                }
            }
            Act::Send(channel) => {
                withdrawal.channel = Some(channel);
                withdrawal.sent_at = Some(now);
                look_at = (channel == PayoutChannel::Provider).then(|| next_look(now, now));
            }
            Act::Confirm | Act::Fail => {}
        }
        if status.is_over() {
            withdrawal.ended_at = Some(now);
        }
        let mut driver_balance = None;
        if let Some(posts) = posts {
            driver_balance = post_in_tx(tx, &withdrawal, posts).await?;
        }
        store::withdrawal_move_in_tx(tx, &withdrawal, look_at).await?;
        tell_in_tx(tx, &withdrawal, now).await?;
        counter!("smartline_withdrawals_total", "status" => status.name()).increment(1);
        Ok(Advanced { withdrawal, driver_balance })
    }

    /// As far as `who` may see it.
    pub async fn get(&self, who: &Who, id: WithdrawalId) -> Result<Option<Withdrawal>, Fault> {
        let mut tx = self.0.db.begin(who).await?;
        store::withdrawal_in_tx(&mut tx, id).await
    }

    /// Newest first, as far as `who` may see them; one more than `limit` says that there are more.
    pub async fn list(
        &self,
        who: &Who,
        filter: &WithdrawalFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<Withdrawal>, Fault> {
        let mut tx = self.0.db.begin(who).await?;
        store::withdrawals_in_tx(&mut tx, filter, after, i64::from(limit) + 1).await
    }

    /// Asks the provider about a payout, or for it. One that may have been asked for is looked up
    /// first.
    pub async fn pursue(&self, withdrawal: &Withdrawal, asked: Asked) -> Pursued {
        let Some(provider) = &self.0.provider else {
            return Pursued::OnItsWay { provider_id: None, after: None };
        };
        let reference = withdrawal.id.reference();
        if asked == Asked::Before {
            match provider.look_up(&reference).await {
                Ok(Some(state)) => return judge(withdrawal, state),
                Ok(None) => {}
                Err(failed) => return put_off(withdrawal, &failed),
            }
        }
        if withdrawal.status.is_over() {
            return Pursued::OnItsWay { provider_id: None, after: None };
        }
        let order = PayoutOrder {
            reference: &reference,
            amount: withdrawal.amount,
            account: &withdrawal.account,
        };
        let failed = match provider.send(&order).await {
            Ok(state) => return judge(withdrawal, state),
            Err(failed) => failed,
        };
        match failed.refused_for_good() {
            Some(status) => Pursued::Ended {
                act: Act::Fail,
                provider_id: None,
                reason: format!("the provider refused it ({status})"),
                bank_reference: None,
            },
            // It may have it under this name; a look will tell.
            None => put_off(withdrawal, &failed),
        }
    }

    /// Notes that a payout is still on its way; true when somebody should look by now.
    pub async fn note_in_tx(
        &self,
        tx: &mut Tx,
        withdrawal: &Withdrawal,
        provider_id: Option<&str>,
        after: Option<Duration>,
    ) -> Result<bool, Fault> {
        let now = self.0.clock.now();
        let sent = withdrawal.sent_at.unwrap_or(now);
        let is_overdue = now.after(sent) >= OVERDUE;
        let next = if is_overdue { now + OVERDUE_REST } else { next_look(sent, now) };
        let next = after.map_or(next, |after| next.max(now + after));
        store::withdrawal_note_in_tx(tx, withdrawal.id, provider_id, next).await?;
        Ok(is_overdue)
    }

    /// An approved one that may not go out now is looked at again in a day.
    pub async fn put_off_in_tx(&self, tx: &mut Tx, id: WithdrawalId) -> Result<(), Fault> {
        store::withdrawal_wait_in_tx(tx, id, self.0.clock.now() + OVERDUE_REST).await
    }

    /// What is approved and not sent is looked at soon.
    pub async fn resume_in_tx(&self, tx: &mut Tx, driver: DriverId) -> Result<(), Fault> {
        if !self.has_provider() {
            return Ok(());
        }
        match store::withdrawal_open_in_tx(tx, driver).await? {
            Some(open) => store::withdrawal_wait_in_tx(tx, open.id, self.0.clock.now()).await,
            None => Ok(()),
        }
    }

    /// Puts down a job for each payout that is due to be looked at; how many.
    pub async fn look_up_due(&self) -> Result<usize, Fault> {
        if !self.has_provider() {
            return Ok(0);
        }
        let mut tx = self.0.db.begin(&Who::System).await?;
        let now = self.0.clock.now();
        let due = store::withdrawals_due_in_tx(&mut tx, now, LOOK_AGAIN, LOOKS).await?;
        let looks = due.into_iter().map(job::payout).collect::<Result<Vec<_>, _>>()?;
        events::add_in_tx(&mut tx, &looks).await?;
        tx.commit().await?;
        Ok(looks.len())
    }

    /// Takes the provider's word that something changed: it is asked what. Nothing it says here is
    /// booked.
    pub async fn take_notice(
        &self,
        jobs: &Jobs,
        body: &[u8],
        signature: &str,
    ) -> Result<(), Problem> {
        let provider = self.0.provider.as_ref().ok_or_else(|| {
            Problem::new(Code::GatewayUnavailable, "payouts by a provider are not set up here")
        })?;
        if !provider.is_genuine(body, signature) {
            counter!("smartline_payout_notices_total", "result" => "forged").increment(1);
            let why = "this is not signed by the payout provider";
            return Err(Problem::new(Code::InvalidSignature, why));
        }
        let notice: Notice = serde_json::from_slice(body)
            .map_err(|_| Problem::new(Code::MalformedBody, "a notice names a reference"))?;
        counter!("smartline_payout_notices_total", "result" => "taken").increment(1);
        match WithdrawalId::of_reference(&notice.reference) {
            Some(id) => jobs.add(&[job::told(id)?]).await.map(drop).map_err(Problem::from),
            None => Ok(()),
        }
    }
}

#[derive(serde::Deserialize)]
struct Notice {
    reference: String,
}

/// What the provider's state of a payout means for it.
fn judge(withdrawal: &Withdrawal, state: PayoutState) -> Pursued {
    let PayoutState { id, standing, amount, bank_reference, reason } = state;
    if amount != withdrawal.amount {
        return Pursued::Strange(format!("the provider has {amount}, not {}", withdrawal.amount));
    }
    if contradicts(withdrawal.status, standing) {
        let status = withdrawal.status;
        return Pursued::Strange(format!("booked as {status}, the provider says {standing:?}"));
    }
    match act_of_standing(standing) {
        Some(act) if !withdrawal.status.is_over() => {
            let reason = reason.unwrap_or_else(|| "it came back".to_owned());
            Pursued::Ended { act, provider_id: Some(id), reason, bank_reference }
        }
        Some(_) | None => Pursued::OnItsWay { provider_id: Some(id), after: None },
    }
}

fn put_off(withdrawal: &Withdrawal, failed: &CallFailed) -> Pursued {
    warn!(withdrawal.id = %withdrawal.id, "the payout provider: {failed}");
    let after = match failed {
        CallFailed::NotDone { after, .. } => *after,
        CallFailed::Lost { .. } | CallFailed::Refused { .. } => None,
    };
    Pursued::OnItsWay { provider_id: None, after }
}

async fn post_in_tx(
    tx: &mut Tx,
    withdrawal: &Withdrawal,
    step: WithdrawStep,
) -> Result<Option<Piasters>, PostError> {
    let Withdrawal { id, driver, amount, .. } = *withdrawal;
    let posted = ledger::post_in_tx(tx, &ledger::withdrawal(id.0, driver, amount, step)).await?;
    Ok(posted.balance_of(Account::Driver(driver.into())))
}

async fn tell_in_tx(tx: &mut Tx, withdrawal: &Withdrawal, at: Millis) -> Result<(), Fault> {
    let payload = WithdrawalMoved {
        withdrawal_id: withdrawal.id,
        user_id: withdrawal.driver.into(),
        amount: withdrawal.amount,
        status: withdrawal.status,
        channel: withdrawal.channel,
        timestamp: at,
    };
    let kind = withdrawal_fact(withdrawal.status);
    let id = withdrawal.id.0;
    let fact = Fact { aggregate: "withdrawal", id, kind, version: 1, payload: &payload, at };
    events::append_in_tx(tx, &fact).await.map(drop)
}
