//! Money comes in: asked for, told of by the gateway, booked, and what follows from it.

use std::future::Future;
use std::pin::Pin;

use base::{Caller, Piasters, Problem, Role};
use events::{Done, Failure, Handler, Job, Once};
use fraud::Movement;
use notify::{Message, News};
use payments::{
    Applied, ApplyError, DEPOSIT_LOOK, DEPOSIT_LOOKS, Deposit, DepositOpened, DepositView, LookJob,
    Looked, NoticeApplied, NoticeJob, PAYMENT_NOTICE, Paid, Reference,
};
use storage::{Tx, Who};
use tracing::error;

use crate::Flows;
use crate::late_payment::late_payments;

impl Flows {
    /// Begins a top-up of the caller's wallet (a driver's: of his account).
    pub async fn open_deposit(
        &self,
        caller: &Caller,
        amount: Piasters,
        once: Once,
    ) -> Result<DepositOpened, Problem> {
        if once.applied().is_none() {
            // A check that broke lets it go on: what comes in can be looked at later.
            let _checked = self.admit_movement(caller.user, Movement::Deposit, amount).await?;
        }
        self.payments.open_deposit(caller, amount, once).await
    }

    /// How a deposit of the caller's stands.
    pub async fn deposit(
        &self,
        caller: &Caller,
        reference: Reference,
    ) -> Result<DepositView, Problem> {
        self.payments.deposit(caller, reference).await
    }

    /// Takes what the gateway tells; answered once it is kept.
    pub async fn gateway_notice(&self, body: &[u8], signature: &str) -> Result<(), Problem> {
        self.payments.take_notice(body, signature).await
    }

    /// Where a rider who comes back from the gateway's page goes on.
    pub async fn back_from_gateway(&self, query: &str) -> Result<String, Problem> {
        self.payments.returned(&self.jobs, query).await
    }
}

/// Does the jobs about deposits.
#[derive(Clone)]
pub struct Cashier(pub Flows);

impl Handler for Cashier {
    fn run<'a>(
        &'a self,
        job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send + 'a>> {
        Box::pin(async move {
            match job.kind.as_str() {
                kind if kind == PAYMENT_NOTICE.name => self.apply_notice(job).await,
                kind if kind == DEPOSIT_LOOK.name => self.look_up(job).await,
                kind if kind == DEPOSIT_LOOKS.name => {
                    self.0.payments.look_up_due().await?;
                    Ok(Done::Finished)
                }
                kind => Err(Failure::never(format!("no handler of {kind}"))),
            }
        })
    }
}

impl Cashier {
    async fn apply_notice(&self, job: &Job) -> Result<Done, Failure> {
        let NoticeJob { notice_id, order_id } = job.read()?;
        let mut tx = self.0.db.begin(&Who::System).await?;
        let applied = self.0.payments.apply_notice_in_tx(&mut tx, notice_id).await;
        match applied.map_err(failure)? {
            NoticeApplied::Now(applied) => self.book(tx, job, applied, &order_id).await,
            NoticeApplied::Before => Ok(Done::Finished),
            // It was applied, and the worker died before anybody was told.
            NoticeApplied::StrangeBefore(why) => Err(strange(&why, &order_id)),
        }
    }

    async fn look_up(&self, job: &Job) -> Result<Done, Failure> {
        let LookJob { deposit_id } = job.read()?;
        let payments = &self.0.payments;
        let looked = payments.look_up(deposit_id).await?;
        let mut tx = self.0.db.begin(&Who::System).await?;
        match looked {
            Looked::News(news) => {
                let applied = payments.apply_look_in_tx(&mut tx, deposit_id, &news).await;
                self.book(tx, job, applied.map_err(failure)?, &deposit_id.to_string()).await
            }
            Looked::NotYet => {
                payments.look_again_in_tx(&mut tx, deposit_id).await?;
                self.end(tx, job).await
            }
            Looked::Settled => self.end(tx, job).await,
            Looked::Over => {
                if let Some(deposit) = payments.expire_in_tx(&mut tx, deposit_id).await? {
                    self.tell_failed_in_tx(&mut tx, &deposit).await?;
                }
                self.end(tx, job).await
            }
        }
    }

    /// Tells those whom it concerns and commits all of it together with the end of the job.
    async fn book(
        &self,
        mut tx: Tx,
        job: &Job,
        applied: Applied,
        about: &str,
    ) -> Result<Done, Failure> {
        match applied {
            Applied::Nothing(_) => self.end(tx, job).await,
            Applied::Failed(deposit) => {
                self.tell_failed_in_tx(&mut tx, &deposit).await?;
                self.end(tx, job).await
            }
            Applied::Refunded(moved) => {
                if moved.ended {
                    self.0.tell_card_refund_in_tx(&mut tx, &moved.refund).await?;
                }
                let done = self.end(tx, job).await?;
                self.0.after_refund(&moved);
                Ok(done)
            }
            Applied::Paid(paid) => {
                self.tell_paid_in_tx(&mut tx, &paid).await?;
                let done = self.end(tx, job).await?;
                if let Some(balance) = paid.driver_balance {
                    self.0.fleet.set_balance(paid.deposit.user.as_driver(), balance);
                }
                Ok(done)
            }
            Applied::Strange { why, deposit } => {
                if let Some(deposit) = deposit.filter(|deposit| deposit.failure.is_some()) {
                    self.tell_failed_in_tx(&mut tx, &deposit).await?;
                }
                // The job is not ended with it: it becomes the letter that operators find.
                tx.commit().await?;
                Err(strange(why, about))
            }
        }
    }

    async fn end(&self, mut tx: Tx, job: &Job) -> Result<Done, Failure> {
        job.finish_in_tx(&mut tx).await?;
        tx.commit().await?;
        Ok(Done::Stored)
    }

    async fn tell_paid_in_tx(&self, tx: &mut Tx, paid: &Paid) -> Result<(), Failure> {
        let Deposit { id, user, role, amount, .. } = paid.deposit;
        let message = Message {
            to: user,
            news: News::PaymentSucceeded { amount },
            about: Some(id.0),
            once: format!("deposit:{id}:paid"),
            until: None,
        };
        self.0.notify.tell_in_tx(tx, &message).await?;
        if role == Role::Rider {
            events::add_in_tx(tx, &[late_payments(user.as_rider())?]).await?;
        }
        Ok(())
    }

    /// Once per deposit, however often a card is declined.
    async fn tell_failed_in_tx(&self, tx: &mut Tx, deposit: &Deposit) -> Result<(), Failure> {
        let Deposit { id, user, amount, .. } = *deposit;
        let message = Message {
            to: user,
            news: News::PaymentFailed { amount },
            about: Some(id.0),
            once: format!("deposit:{id}:failed"),
            until: None,
        };
        self.0.notify.tell_in_tx(tx, &message).await?;
        Ok(())
    }
}

/// Nothing is done by trying again: a person has to look.
fn strange(why: &str, about: &str) -> Failure {
    error!(why, about, "the gateway has money that nobody here asked for, or gave some back");
    Failure::never(format!("{why}: {about}"))
}

fn failure(error: ApplyError) -> Failure {
    match error {
        ApplyError::Fault(fault) => fault.into(),
        // A key that was used for another journal, or legs that make no sense: a person has to
        // look, and the next version of the program may do better.
        ApplyError::Post(error) => Failure::again(error.to_string()),
    }
}
