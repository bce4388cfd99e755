//! Refunds to cards: taken off the wallet, asked for, settled.

use std::time::Duration;

use base::{Code, Cursor, Fault, Millis, Piasters, Problem};
use events::Fact;
use ledger::{PostError, Posted, Wallet};
use metrics::counter;
use storage::{Tx, Who};
use tracing::warn;

use super::job;
use super::model::{CardRefund, RefundId, RefundStatus};
use super::rules::{self, OVERDUE, RefundWord};
use super::store::{self, Added};
use crate::Payments;
use crate::acts::MoneyAct;
use crate::facts::PaymentRefunded;
use crate::model::{Deposit, DepositId, DepositStatus};

/// Refunds taken up by one run of the schedule.
const LOOKS: i64 = 200;
/// When a look that got lost is made up for.
const LOOK_AGAIN: Duration = Duration::from_secs(5 * 60);

/// A refund after a word about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundMoved {
    pub refund: CardRefund,
    /// Where it ended by this, and not before.
    pub ended: bool,
    /// What put the amount back on the wallet.
    pub posted: Option<Posted>,
    /// Somebody should look by now.
    pub is_overdue: bool,
}

impl Payments {
    /// The deposit that an admin wants to give back, in whole or in part.
    pub async fn refundable(&self, who: &Who, id: DepositId) -> Result<Deposit, Problem> {
        let mut tx = self.db().begin(who).await?;
        let deposit = crate::store::deposit_in_tx(&mut tx, id).await?;
        let deposit = deposit.ok_or_else(Problem::not_found)?;
        if deposit.status != DepositStatus::Paid {
            let why = "only what was paid can be given back";
            let problem = Problem::new(Code::InvalidTransition, why);
            return Err(problem.with("current", deposit.status));
        }
        Ok(deposit)
    }

    /// Takes a refund off the wallet and puts down the job that asks the gateway for it.
    pub async fn begin_refund_in_tx(
        &self,
        tx: &mut Tx,
        act: &MoneyAct,
        id: DepositId,
    ) -> Result<Posted, Problem> {
        self.gateway()?;
        let deposit = crate::store::deposit_in_tx(tx, id).await?;
        let deposit = deposit.ok_or_else(Problem::not_found)?;
        let amount = act.what.amount;
        let wallet = wallet_of(&deposit)?;
        let journal = ledger::deposit_refund(act.id.0, wallet, amount, &act.what.reason);
        let posted = ledger::post_in_tx(tx, &journal).await?;
        let refund = CardRefund {
            id: RefundId(act.id.0),
            deposit: id,
            user: deposit.user,
            amount,
            status: RefundStatus::Pending,
            transaction: None,
            failure: None,
            asked_at: self.clock().now(),
            sent_at: None,
            ended_at: None,
        };
        match store::refund_add_in_tx(tx, &refund).await? {
            Added::Yes => {}
            Added::Open => {
                let why = "an earlier refund of this deposit is still open";
                let problem = Problem::new(Code::InvalidTransition, why);
                return Err(problem.with("current", RefundStatus::Sent));
            }
            Added::TooMuch => {
                let why = "more would be given back than was paid";
                return Err(Problem::new(Code::RefundTooLarge, why));
            }
        }
        events::add_in_tx(tx, &[job::refund(refund.id)?]).await?;
        Ok(posted)
    }

    pub async fn card_refund(&self, id: RefundId) -> Result<Option<CardRefund>, Fault> {
        let mut tx = self.db().begin(&Who::System).await?;
        store::refund_in_tx(&mut tx, id).await
    }

    /// Newest first; one more than `limit` says that there are more.
    pub async fn card_refunds(
        &self,
        who: &Who,
        status: Option<RefundStatus>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<CardRefund>, Fault> {
        let mut tx = self.db().begin(who).await?;
        store::refunds_in_tx(&mut tx, status, after, i64::from(limit) + 1).await
    }

    /// Notes that the gateway will be asked for a refund; true for the one caller who may ask.
    pub async fn claim_refund(&self, id: RefundId) -> Result<bool, Fault> {
        let now = self.clock().now();
        let mut tx = self.db().begin(&Who::System).await?;
        let refund = store::refund_lock_in_tx(&mut tx, id).await?;
        let Some(mut refund) = refund.filter(|r| r.status == RefundStatus::Pending) else {
            return Ok(false);
        };
        (refund.status, refund.sent_at) = (RefundStatus::Sent, Some(now));
        store::refund_move_in_tx(&mut tx, &refund, Some(rules::next_look(now, now))).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Asks the gateway for a refund that was claimed. Once.
    pub async fn ask_refund(&self, refund: &CardRefund, reason: &str) -> Result<RefundWord, Fault> {
        let failed = |why: &str| RefundWord::Failed { why: why.to_owned(), transaction: None };
        let Ok(gateway) = self.gateway() else { return Ok(failed("no gateway is set up")) };
        let mut tx = self.db().begin(&Who::System).await?;
        let deposit = crate::store::deposit_in_tx(&mut tx, refund.deposit).await?;
        drop(tx);
        let Some(order) = deposit.and_then(|deposit| deposit.gateway_order) else {
            return Ok(failed("the gateway never named the order"));
        };
        let answer = gateway.refund(&order, refund.amount, reason).await;
        if let Err(error) = &answer {
            warn!(refund.id = %refund.id, "a refund to a card: {error}");
        }
        Ok(rules::of_answer(answer))
    }

    /// Looks how a refund without an answer stands.
    pub async fn look_up_refund(&self, refund: &CardRefund) -> Result<RefundWord, Fault> {
        let open = RefundWord::Open { transaction: None };
        let Ok(gateway) = self.gateway() else { return Ok(open) };
        let mut tx = self.db().begin(&Who::System).await?;
        let deposit = crate::store::deposit_in_tx(&mut tx, refund.deposit).await?;
        let others = store::refunds_lock_in_tx(&mut tx, refund.deposit).await?;
        drop(tx);
        let Some(deposit) = deposit else { return Ok(open) };
        let done = others.iter().filter(|other| other.status == RefundStatus::Done);
        let before = done.map(|other| other.amount).sum();
        let reference = deposit.reference().to_string();
        Ok(match gateway.look_up(&reference, deposit.session.as_deref()).await {
            Ok(Some(found)) => rules::of_look(&found, before, refund.amount),
            Ok(None) | Err(_) => open,
        })
    }

    /// Makes a word about a refund true; a refund that has ended stays as it is.
    pub async fn settle_refund_in_tx(
        &self,
        tx: &mut Tx,
        id: RefundId,
        word: RefundWord,
    ) -> Result<RefundMoved, Problem> {
        let refund = store::refund_lock_in_tx(tx, id).await?;
        let refund = refund.ok_or_else(Problem::not_found)?;
        Ok(settle_in_tx(tx, refund, word, self.clock().now()).await?)
    }

    /// Puts down a job for each refund that is due to be looked at; how many.
    pub async fn look_up_due_refunds(&self) -> Result<usize, Fault> {
        let mut tx = self.db().begin(&Who::System).await?;
        let now = self.clock().now();
        let due = store::refunds_due_in_tx(&mut tx, now, LOOK_AGAIN, LOOKS).await?;
        let looks = due.into_iter().map(job::refund).collect::<Result<Vec<_>, _>>()?;
        events::add_in_tx(&mut tx, &looks).await?;
        tx.commit().await?;
        Ok(looks.len())
    }
}

/// What the gateway's word about money that goes back has to do with our refunds.
pub(crate) enum Told {
    OfNone,
    Of(Box<RefundMoved>),
    /// One of ours ended the other way.
    Against,
}

/// The gateway says that `amount` of a deposit went back, or did not: the refund of ours that it is
/// about.
pub(crate) async fn told_in_tx(
    tx: &mut Tx,
    deposit: DepositId,
    word: RefundWord,
    amount: Option<Piasters>,
    now: Millis,
) -> Result<Told, PostError> {
    let refunds = store::refunds_lock_in_tx(tx, deposit).await?;
    let told = refunds.into_iter().find(|r| rules::is_told_of(r, word.transaction(), amount));
    let Some(refund) = told else { return Ok(Told::OfNone) };
    if rules::contradicts(refund.status, &word) {
        return Ok(Told::Against);
    }
    Ok(Told::Of(Box::new(settle_in_tx(tx, refund, word, now).await?)))
}

async fn settle_in_tx(
    tx: &mut Tx,
    mut refund: CardRefund,
    word: RefundWord,
    now: Millis,
) -> Result<RefundMoved, PostError> {
    if refund.status != RefundStatus::Sent {
        let (ended, is_overdue) = (false, false);
        return Ok(RefundMoved { refund, ended, posted: None, is_overdue });
    }
    let sent = refund.sent_at.unwrap_or(now);
    let (mut posted, mut look_at) = (None, None);
    let ended = match word {
        RefundWord::Done { transaction } => {
            refund.status = RefundStatus::Done;
            refund.transaction = transaction.or(refund.transaction);
            true
        }
        RefundWord::Failed { why, transaction } => {
            refund.status = RefundStatus::Failed;
            refund.failure = Some(why);
            refund.transaction = transaction.or(refund.transaction);
            let deposit = crate::store::deposit_in_tx(tx, refund.deposit).await?;
            let deposit = deposit.ok_or_else(|| Fault::internal("a refund without a deposit"))?;
            let wallet = wallet_of(&deposit)?;
            let journal = ledger::deposit_refund_failed(refund.id.0, wallet, refund.amount);
            posted = Some(ledger::post_in_tx(tx, &journal).await?);
            true
        }
        RefundWord::Open { transaction } => {
            refund.transaction = transaction.or(refund.transaction);
            look_at = Some(rules::next_look(sent, now));
            false
        }
    };
    if ended {
        refund.ended_at = Some(now);
        tell_in_tx(tx, &refund, now).await?;
        counter!("smartline_card_refunds_total", "status" => refund.status.name()).increment(1);
    }
    let is_overdue = !ended && now.after(sent) >= OVERDUE;
    if is_overdue {
        look_at = Some(now + OVERDUE);
    }
    store::refund_move_in_tx(tx, &refund, look_at).await?;
    Ok(RefundMoved { refund, ended, posted, is_overdue })
}

fn wallet_of(deposit: &Deposit) -> Result<Wallet, Fault> {
    Wallet::of(deposit.user, deposit.role)
        .ok_or_else(|| Fault::internal("a deposit of somebody without a wallet"))
}

async fn tell_in_tx(tx: &mut Tx, refund: &CardRefund, at: Millis) -> Result<(), Fault> {
    let payload = PaymentRefunded {
        payment_id: refund.deposit,
        user_id: refund.user,
        refund_id: refund.id,
        amount: refund.amount,
        error: refund.failure.as_deref(),
        timestamp: at,
    };
    let kind = match refund.status {
        RefundStatus::Failed => "PAYMENT_REFUND_FAILED",
        RefundStatus::Pending | RefundStatus::Sent | RefundStatus::Done => "PAYMENT_REFUNDED",
    };
    let id = refund.deposit.0;
    let fact = Fact { aggregate: "payment", id, kind, version: 1, payload: &payload, at };
    events::append_in_tx(tx, &fact).await.map(drop)
}
