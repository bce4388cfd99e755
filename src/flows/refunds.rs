//! Deposits go back to the cards they came from: ordered by an admin, asked of the gateway once.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use base::{Caller, Cursor, Piasters, Problem};
use events::{Done, Failure, Handler, Job, Once};
use identity::{Audit, AuditObject};
use ledger::Posted;
use notify::{Message, News};
use payments::{
    ActDetails, ActKind, ActView, CardRefund, MoneyAct, NewAct, REFUND_LOOKS, Reference, RefundId,
    RefundJob, RefundMoved, RefundStatus, RefundView, RefundWord, RefundsPage,
};
use serde::Serialize;
use serde_json::json;
use storage::{Tx, Who};
use tracing::error;

use crate::Flows;
use crate::acts::Acted;

/// The gateway's word about a refund is stored in so many tries; all of them take half a minute.
const STORE_TRIES: usize = 8;
const STORE_AGAIN: Duration = Duration::from_millis(100);

/// What an operator found out about a refund, or a capture, whose answer got lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundOut {
    Done,
    Failed,
}

impl FoundOut {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

impl Flows {
    /// Gives a deposit back to its card, or a part of it.
    pub async fn refund_deposit(
        &self,
        admin: &Caller,
        deposit: Reference,
        amount: Option<Piasters>,
        reason: &str,
        once: Once,
    ) -> Result<Acted, Problem> {
        let found = self.payments.refundable(&Who::Caller(*admin), deposit.deposit).await?;
        let amount = amount.unwrap_or(found.amount);
        if amount <= Piasters::ZERO || amount > found.amount {
            let text = "must be more than zero, and at most what was paid";
            return Err(Problem::field("amount", "out_of_range", text));
        }
        let reason = reason.to_owned();
        let what = NewAct {
            deposit: Some(found.id),
            ..NewAct::on_account(ActKind::DepositRefund, found.user, amount, reason)
        };
        self.act(admin, what, once).await
    }

    /// Refunds to cards, newest first.
    pub async fn card_refunds(
        &self,
        admin: &Caller,
        status: Option<RefundStatus>,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<RefundsPage, Problem> {
        let who = Who::Caller(*admin);
        let mut found = self.payments.card_refunds(&who, status, after, limit).await?;
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let shown = found.iter().map(|refund| AuditObject::new("refund", refund.id));
        self.note_looks(admin, "refund.read", shown).await?;
        let last = found.last().filter(|_| more);
        let next_cursor = last.map(|last| Cursor { at: last.asked_at, id: last.id.0 }.to_string());
        Ok(RefundsPage { refunds: found.iter().map(RefundView::from).collect(), next_cursor })
    }

    /// An operator says what became of a refund whose answer got lost, from the gateway's own page.
    /// That it failed puts money on a wallet: above his limit that waits for another admin.
    pub async fn settle_card_refund(
        &self,
        admin: &Caller,
        id: RefundId,
        found_out: FoundOut,
        reason: &str,
        once: Once,
    ) -> Result<(RefundView, Option<ActView>), Problem> {
        let refund = self.payments.card_refund(id).await?.ok_or_else(Problem::not_found)?;
        if once.applied().is_none() && refund.status != RefundStatus::Sent {
            return Err(nobody_waits(refund.status));
        }
        let act = match found_out {
            FoundOut::Done => {
                self.settle_as_done(admin, id, reason, once).await?;
                None
            }
            FoundOut::Failed => {
                let (kind, reason) = (ActKind::RefundFailed, reason.to_owned());
                let what = NewAct {
                    details: Some(ActDetails::Refund { refund_id: id }),
                    ..NewAct::on_account(kind, refund.user, refund.amount, reason)
                };
                Some(self.act(admin, what, once).await?.view())
            }
        };
        let refund = self.payments.card_refund(id).await?.ok_or_else(Problem::not_found)?;
        Ok((RefundView::from(&refund), act))
    }

    async fn settle_as_done(
        &self,
        admin: &Caller,
        id: RefundId,
        reason: &str,
        once: Once,
    ) -> Result<(), Problem> {
        if once.applied().is_some() {
            // The attempt before did all of it, and its answer got lost.
            return Ok(());
        }
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let word = RefundWord::Done { transaction: None };
        let moved = self.payments.settle_refund_in_tx(&mut tx, id, word).await?;
        if !moved.ended {
            return Err(nobody_waits(moved.refund.status));
        }
        let details = json!({"status": moved.refund.status, "reason": reason});
        let record = Audit::by(admin, "refund.settle", AuditObject::new("refund", id));
        identity::audit_in_tx(&mut tx, &[record.with(details)]).await?;
        self.tell_card_refund_in_tx(&mut tx, &moved.refund).await?;
        once.mark_in_tx(&mut tx, id.0).await?;
        tx.commit().await?;
        self.after_refund(&moved);
        Ok(())
    }

    /// Carries out the act that says that a refund did not happen.
    pub(crate) async fn refund_failed_in_tx(
        &self,
        tx: &mut Tx,
        act: &MoneyAct,
    ) -> Result<Posted, Problem> {
        let Some(ActDetails::Refund { refund_id }) = act.what.details else {
            return Err(Problem::not_found());
        };
        let word = RefundWord::Failed { why: act.what.reason.clone(), transaction: None };
        let moved = self.payments.settle_refund_in_tx(tx, refund_id, word).await?;
        moved.posted.ok_or_else(|| nobody_waits(moved.refund.status))
    }

    pub(crate) async fn tell_card_refund_in_tx(
        &self,
        tx: &mut Tx,
        refund: &CardRefund,
    ) -> Result<(), base::Fault> {
        if refund.status != RefundStatus::Done {
            return Ok(());
        }
        let message = Message {
            to: refund.user,
            news: News::Refunded { amount: refund.amount },
            about: Some(refund.deposit.0),
            once: format!("refund:{}", refund.id),
            until: None,
        };
        self.notify.tell_in_tx(tx, &message).await.map(drop)
    }

    /// What memory has to know of a refund that is committed.
    pub(crate) fn after_refund(&self, moved: &RefundMoved) {
        if let Some(posted) = &moved.posted {
            self.after_act(posted);
        }
    }
}

/// An operator says what became of something of which nobody has to be told any more.
pub(crate) fn nobody_waits(current: impl Serialize) -> Problem {
    let problem = Problem::new(base::Code::InvalidTransition, "nobody waits for a word");
    problem.with("current", current)
}

/// Asks the gateway for refunds, and how they stand.
#[derive(Clone)]
pub struct Refunder(pub Flows);

impl Handler for Refunder {
    fn run<'a>(
        &'a self,
        job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send + 'a>> {
        Box::pin(async move {
            if job.kind == REFUND_LOOKS.name {
                self.0.payments.look_up_due_refunds().await?;
                return Ok(Done::Finished);
            }
            let RefundJob { refund_id } = job.read()?;
            self.refund(refund_id).await
        })
    }
}

impl Refunder {
    async fn refund(&self, id: RefundId) -> Result<Done, Failure> {
        let payments = &self.0.payments;
        let Some(refund) = payments.card_refund(id).await? else {
            return Err(Failure::never(format!("there is no refund {id}")));
        };
        let word = match refund.status {
            RefundStatus::Done | RefundStatus::Failed => return Ok(Done::Finished),
            // Whoever claimed it asks, and nobody else ever does.
            RefundStatus::Pending if payments.claim_refund(id).await? => {
                payments.ask_refund(&refund, "refund").await?
            }
            RefundStatus::Pending => return Ok(Done::Finished),
            RefundStatus::Sent => payments.look_up_refund(&refund).await?,
        };
        // Nobody asks a second time, and a look can't say no: what is known is not let go easily.
        let patient = ExponentialBuilder::default()
            .with_min_delay(STORE_AGAIN)
            .with_max_times(STORE_TRIES)
            .with_jitter();
        let store = || self.store(id, word.clone());
        let moved = store.retry(patient).await?;
        self.0.after_refund(&moved);
        if moved.is_overdue {
            error!(refund.id = %id, "a refund to a card has no answer for a day");
            return Err(Failure::never(format!("no answer for a day: refund {id}")));
        }
        Ok(Done::Finished)
    }

    async fn store(&self, id: RefundId, word: RefundWord) -> Result<RefundMoved, Failure> {
        let mut tx = self.0.db.begin(&Who::System).await?;
        let moved = self.0.payments.settle_refund_in_tx(&mut tx, id, word).await;
        let moved = moved.map_err(|problem| Failure::again(problem.to_string()))?;
        if moved.ended {
            self.0.tell_card_refund_in_tx(&mut tx, &moved.refund).await?;
        }
        tx.commit().await?;
        Ok(moved)
    }
}
