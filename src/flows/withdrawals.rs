//! Drivers take money out: asked for, decided by an admin, paid out by a provider or by hand.

use std::future::Future;
use std::pin::Pin;

use base::{Caller, Code, Cursor, Piasters, Problem};
use events::{Done, Failure, Handler, Job, Once};
use fraud::{Movement, Note};
use identity::{Audit, AuditObject};
use notify::{Message, News};
use payments::{
    Act, AdvanceError, Advanced, Asked, NewWithdrawal, PAYOUT_LOOKS, PayoutAccount, PayoutChannel,
    PayoutJob, Pursued, With, Withdrawal, WithdrawalFilter, WithdrawalId, WithdrawalStatus,
    WithdrawalView, WithdrawalsPage,
};
use serde_json::json;
use storage::{Tx, Who};
use tracing::{error, info};

use crate::Flows;
use crate::fraud_desk::Checked;

/// An admin's word on a withdrawal.
#[derive(Clone, Debug)]
pub struct Ruling {
    pub act: Act,
    pub reason: Option<String>,
    pub bank_reference: Option<String>,
}

impl Flows {
    /// Sets `amount` of the driver's aside until an admin has decided. A suspended driver may ask
    /// too: what he earned is his, and nothing goes out without an admin's word.
    pub async fn request_withdrawal(
        &self,
        driver: &Caller,
        amount: Piasters,
        account: PayoutAccount,
        once: Once,
    ) -> Result<WithdrawalView, Problem> {
        if let Some(id) = once.applied() {
            // The attempt before did all of it, and its answer got lost.
            let found = self.payouts.get(&Who::Caller(*driver), WithdrawalId(id)).await?;
            let found = found.filter(|found| found.driver == driver.user.as_driver());
            return Ok(WithdrawalView::of(&found.ok_or_else(Problem::not_found)?));
        }
        // What can't be asked for at all is nobody's concern.
        self.payouts.admits(amount)?;
        let checked = self.admit_movement(driver.user, Movement::Withdrawal, amount).await?;
        let new = NewWithdrawal { driver: driver.user.as_driver(), amount, account };
        // With the program's own rights: the fact beside it is nobody's to write.
        let mut tx = self.db.begin(&Who::System).await?;
        let asked = match self.payouts.request_in_tx(&mut tx, &new).await {
            Ok(asked) => asked,
            Err(problem) => {
                drop(tx);
                if problem.code == Code::InsufficientBalance {
                    self.note_of(driver.user, Note::Refused).await;
                }
                return Err(problem);
            }
        };
        let turned = match checked {
            Checked::Done => None,
            Checked::Broken => self.hold_unchecked_in_tx(&mut tx, driver.user, amount).await?,
        };
        once.mark_in_tx(&mut tx, asked.withdrawal.id.0).await?;
        tx.commit().await?;
        self.after_turn(turned).await;
        info!(withdrawal.id = %asked.withdrawal.id, "a withdrawal was asked for");
        self.after_step(&asked);
        Ok(WithdrawalView::of(&asked.withdrawal))
    }

    /// The driver's own, newest first.
    pub async fn own_withdrawals(
        &self,
        driver: &Caller,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<WithdrawalsPage, Problem> {
        let own = Some(driver.user.as_driver());
        let filter = WithdrawalFilter { status: None, driver: own };
        let who = Who::Caller(*driver);
        let found = self.payouts.list(&who, &filter, after, limit).await?;
        Ok(page(found, limit, WithdrawalView::of))
    }

    /// Everybody's, newest first, for an admin.
    pub async fn withdrawals(
        &self,
        admin: &Caller,
        filter: &WithdrawalFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<WithdrawalsPage, Problem> {
        let who = Who::Caller(*admin);
        let found = self.payouts.list(&who, filter, after, limit).await?;
        let shown = found.iter().map(|one| AuditObject::new("withdrawal", one.id));
        self.note_looks(admin, "withdrawal.read", shown).await?;
        Ok(page(found, limit, WithdrawalView::for_staff))
    }

    /// One, with the whole number of its account: for whoever pays it out by hand.
    pub async fn withdrawal(
        &self,
        admin: &Caller,
        id: WithdrawalId,
    ) -> Result<WithdrawalView, Problem> {
        let found = self.payouts.get(&Who::Caller(*admin), id).await?;
        let found = found.ok_or_else(Problem::not_found)?;
        let seen = AuditObject::new("withdrawal", id);
        self.note_look(admin, "withdrawal.read_account", seen).await?;
        Ok(WithdrawalView::for_staff(&found).with_number(&found))
    }

    /// An admin decides about a withdrawal, or says what became of one that he pays out by hand.
    pub async fn rule_on_withdrawal(
        &self,
        admin: &Caller,
        id: WithdrawalId,
        ruling: Ruling,
        once: Once,
    ) -> Result<WithdrawalView, Problem> {
        if once.applied().is_some() {
            // The attempt before did all of it, and its answer got lost.
            let found = self.payouts.get(&Who::Caller(*admin), id).await?;
            return Ok(WithdrawalView::for_staff(&found.ok_or_else(Problem::not_found)?));
        }
        let Ruling { act, reason, bank_reference } = ruling;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let with = With {
            by: Some(admin.user),
            // What is said with a yes is for the log.
            reason: reason.clone().filter(|_| matches!(act, Act::Reject | Act::Fail)),
            bank_reference: bank_reference.clone(),
            provider_id: None,
        };
        let moved = self.payouts.advance_in_tx(&mut tx, id, act, with).await?;
        if matches!(act, Act::Approve | Act::Send(_)) {
            self.admit_payout_in_tx(&mut tx, moved.withdrawal.driver.into()).await?;
        }
        let details = json!({
            "status": moved.withdrawal.status,
            "amount": moved.withdrawal.amount,
            "driver": moved.withdrawal.driver,
            "reason": reason,
            "bankReference": bank_reference,
        });
        let withdrawal = AuditObject::new("withdrawal", id);
        let record = Audit::by(admin, action_of(act), withdrawal).with(details);
        identity::audit_in_tx(&mut tx, &[record]).await?;
        self.tell_of_withdrawal_in_tx(&mut tx, &moved.withdrawal).await?;
        once.mark_in_tx(&mut tx, id.0).await?;
        tx.commit().await?;
        self.after_step(&moved);
        Ok(WithdrawalView::for_staff(&moved.withdrawal))
    }

    /// Takes what the payout provider tells; answered once it is noted.
    pub async fn payout_notice(&self, body: &[u8], signature: &str) -> Result<(), Problem> {
        self.payouts.take_notice(&self.jobs, body, signature).await
    }

    /// What memory has to know of a step that is committed.
    fn after_step(&self, moved: &Advanced) {
        if let Some(balance) = moved.driver_balance {
            self.fleet.set_balance(moved.withdrawal.driver, balance);
        }
    }

    /// Tells the driver; of what he asked for himself he knows.
    async fn tell_of_withdrawal_in_tx(
        &self,
        tx: &mut Tx,
        withdrawal: &Withdrawal,
    ) -> Result<(), base::Fault> {
        let Withdrawal { id, driver, amount, status, .. } = *withdrawal;
        let news = match status {
            WithdrawalStatus::Requested => return Ok(()),
            WithdrawalStatus::Approved => News::WithdrawalApproved { amount },
            WithdrawalStatus::Sent => News::WithdrawalPaid { amount },
            WithdrawalStatus::Confirmed => News::WithdrawalArrived { amount },
            WithdrawalStatus::Failed => News::WithdrawalFailed { amount },
            WithdrawalStatus::Rejected => News::WithdrawalRejected { amount },
        };
        let once = format!("withdrawal:{id}:{status}");
        let message = Message { to: driver.into(), news, about: Some(id.0), once, until: None };
        self.notify.tell_in_tx(tx, &message).await.map(drop)
    }
}

const fn action_of(act: Act) -> &'static str {
    match act {
        Act::Approve => "withdrawal.approve",
        Act::Reject => "withdrawal.reject",
        Act::Send(_) => "withdrawal.send",
        Act::Confirm => "withdrawal.confirm",
        Act::Fail => "withdrawal.fail",
    }
}

fn page(
    mut found: Vec<Withdrawal>,
    limit: u32,
    view: fn(&Withdrawal) -> WithdrawalView,
) -> WithdrawalsPage {
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let last = found.last().filter(|_| more);
    let next_cursor = last.map(|last| Cursor { at: last.requested_at, id: last.id.0 }.to_string());
    WithdrawalsPage { requests: found.iter().map(view).collect(), next_cursor }
}

/// Pays withdrawals out through the provider.
#[derive(Clone)]
pub struct Payer(pub Flows);

impl Handler for Payer {
    fn run<'a>(
        &'a self,
        job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send + 'a>> {
        Box::pin(async move {
            if job.kind == PAYOUT_LOOKS.name {
                self.0.payouts.look_up_due().await?;
                return Ok(Done::Finished);
            }
            let PayoutJob { withdrawal_id } = job.read()?;
            self.pay(job, withdrawal_id).await
        })
    }
}

impl Payer {
    async fn pay(&self, job: &Job, id: WithdrawalId) -> Result<Done, Failure> {
        let payouts = &self.0.payouts;
        let found = payouts.get(&Who::System, id).await?;
        let Some(mut withdrawal) = found.filter(|_| payouts.has_provider()) else {
            return Ok(Done::Finished);
        };
        let mut asked = Asked::Before;
        if withdrawal.status == WithdrawalStatus::Approved {
            // Noted before the provider is asked: whoever finds it sent asks what became of it.
            match self.send(id).await? {
                Some(sent) => (withdrawal, asked) = (sent, Asked::Never),
                // An operator was quicker.
                None => return Ok(Done::Finished),
            }
        }
        if withdrawal.channel != Some(PayoutChannel::Provider) {
            return Ok(Done::Finished);
        }
        match payouts.pursue(&withdrawal, asked).await {
            Pursued::OnItsWay { .. } if withdrawal.status.is_over() => Ok(Done::Finished),
            Pursued::OnItsWay { provider_id, after } => {
                let mut tx = self.0.db.begin(&Who::System).await?;
                let name = provider_id.as_deref();
                let overdue = payouts.note_in_tx(&mut tx, &withdrawal, name, after).await?;
                if overdue {
                    tx.commit().await?;
                    return Err(strange(id, "it is on its way for days"));
                }
                job.finish_in_tx(&mut tx).await?;
                tx.commit().await?;
                Ok(Done::Stored)
            }
            Pursued::Ended { act, provider_id, reason, bank_reference } => {
                let reason = (act == Act::Fail).then_some(reason);
                let with = With { by: None, reason, bank_reference, provider_id };
                self.step(id, act, with).await?;
                Ok(Done::Finished)
            }
            Pursued::Strange(why) => Err(strange(id, &why)),
        }
    }

    /// Notes that the provider will be asked. Not while somebody has to decide about the driver,
    /// whatever was found about him since the approval: then it waits, and operators find a letter.
    async fn send(&self, id: WithdrawalId) -> Result<Option<Withdrawal>, Failure> {
        let mut tx = self.0.db.begin(&Who::System).await?;
        let act = Act::Send(PayoutChannel::Provider);
        let Some(moved) = self.advance(&mut tx, id, act, With::default()).await? else {
            return Ok(None);
        };
        let driver = moved.withdrawal.driver;
        if let Err(problem) = self.0.admit_payout_in_tx(&mut tx, driver.into()).await {
            if !matches!(problem.code, Code::AccountUnderReview | Code::AccountBlocked) {
                return Err(Failure::again(problem.to_string()));
            }
            drop(tx);
            let mut tx = self.0.db.begin(&Who::System).await?;
            self.0.payouts.put_off_in_tx(&mut tx, id).await?;
            tx.commit().await?;
            return Err(strange(id, &problem.to_string()));
        }
        self.stored(tx, act, moved).await.map(Some)
    }

    /// One step by the program itself; `None` when the withdrawal is no longer where it was.
    async fn step(
        &self,
        id: WithdrawalId,
        act: Act,
        with: With,
    ) -> Result<Option<Withdrawal>, Failure> {
        let mut tx = self.0.db.begin(&Who::System).await?;
        match self.advance(&mut tx, id, act, with).await? {
            Some(moved) => self.stored(tx, act, moved).await.map(Some),
            None => Ok(None),
        }
    }

    async fn advance(
        &self,
        tx: &mut Tx,
        id: WithdrawalId,
        act: Act,
        with: With,
    ) -> Result<Option<Advanced>, Failure> {
        match self.0.payouts.advance_in_tx(tx, id, act, with).await {
            Ok(moved) => Ok(Some(moved)),
            Err(AdvanceError::Refused(_)) => Ok(None),
            Err(AdvanceError::Fault(fault)) => Err(fault.into()),
            Err(error) => Err(Failure::again(error.to_string())),
        }
    }

    async fn stored(&self, mut tx: Tx, act: Act, moved: Advanced) -> Result<Withdrawal, Failure> {
        let id = moved.withdrawal.id;
        let details = json!({"by": "provider", "status": moved.withdrawal.status});
        let withdrawal = AuditObject::new("withdrawal", id);
        let record = Audit::by_terminal(action_of(act), withdrawal).with(details);
        identity::audit_in_tx(&mut tx, &[record]).await?;
        self.0.tell_of_withdrawal_in_tx(&mut tx, &moved.withdrawal).await?;
        tx.commit().await?;
        self.0.after_step(&moved);
        Ok(moved.withdrawal)
    }
}

/// Nothing is done by trying again: a person has to look.
fn strange(id: WithdrawalId, why: &str) -> Failure {
    error!(withdrawal.id = %id, why, "a payout needs somebody to look");
    Failure::never(format!("{why}: {id}"))
}
