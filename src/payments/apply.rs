//! Makes news of a payment true, in one transaction: the deposit, its journal, its fact.

use base::{Fault, Millis, Piasters, Role};
use events::Fact;
use ledger::{Account, PostError, Wallet};
use metrics::counter;
use serde::Serialize;
use sha2::{Digest, Sha256};
use storage::Tx;
use uuid::Uuid;

use crate::Payments;
use crate::cards::{self, CardReference};
use crate::facts::{PaymentCompleted, PaymentFailed, PaymentInitiated};
use crate::model::{Claim, Deposit, DepositId, DepositStatus, News, Reference};
use crate::refunds::{self, RefundMoved, RefundWord, Told};
use crate::rules::{Verdict, judge, next_look, waits_for_person};
use crate::store::{self, NewDeposit, Payment};
use crate::suspense::{Kept, suspense_keep_in_tx};

/// What news of a payment changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    Paid(Paid),
    Failed(Deposit),
    /// A refund of ours arrived at its card, or did not and is on the wallet again.
    Refunded(RefundMoved),
    Nothing(&'static str),
    /// Somebody has to look: money came, or went, that nobody here asked for.
    Strange {
        why: &'static str,
        deposit: Option<Deposit>,
    },
}

/// A deposit that is paid, as of this transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paid {
    pub deposit: Deposit,
    /// A driver's account afterwards.
    pub driver_balance: Option<Piasters>,
}

impl Applied {
    const fn name(&self) -> &'static str {
        match self {
            Self::Paid(_) => "paid",
            Self::Failed(_) => "failed",
            Self::Refunded(_) => "refunded",
            Self::Nothing(why) | Self::Strange { why, .. } => why,
        }
    }
}

/// Why news could not be applied; the transaction is over.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error(transparent)]
    Post(#[from] PostError),
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A notice's application.
#[derive(Debug)]
pub enum NoticeApplied {
    Now(Applied),
    /// It was applied before.
    Before,
    /// It was, and somebody has to look; why.
    StrangeBefore(String),
}

/// Begins the outcome of a notice that somebody has to look at.
const STRANGE: &str = "strange:";

impl Payments {
    /// Applies a kept notice, once.
    pub async fn apply_notice_in_tx(
        &self,
        tx: &mut Tx,
        id: i64,
    ) -> Result<NoticeApplied, ApplyError> {
        let kept = store::notice_lock_in_tx(tx, id).await?;
        let kept = kept.ok_or_else(|| Fault::internal(format!("notice {id} is not there")))?;
        if let Some(outcome) = kept.outcome {
            return Ok(match outcome.strip_prefix(STRANGE) {
                Some(why) => NoticeApplied::StrangeBefore(why.to_owned()),
                None => NoticeApplied::Before,
            });
        }
        if let Ok(CardReference { card, .. }) = kept.notice.order.parse() {
            // What it says of a card is a reason to look: its event is not signed.
            events::add_in_tx(tx, &[cards::look_at(card)?]).await?;
            store::notice_applied_in_tx(tx, id, "looked_up", self.clock().now()).await?;
            return Ok(NoticeApplied::Now(Applied::Nothing("looked_up")));
        }
        let deposit = kept.notice.order.parse::<Reference>().ok();
        let news = News::from(&kept.notice);
        let applied = self.apply_in_tx(tx, deposit.map(|r| r.deposit), &news).await?;
        let outcome = match &applied {
            Applied::Strange { why, .. } => format!("{STRANGE}{why}"),
            other => other.name().to_owned(),
        };
        store::notice_applied_in_tx(tx, id, &outcome, self.clock().now()).await?;
        Ok(NoticeApplied::Now(applied))
    }

    /// Makes `news` of a deposit true.
    pub async fn apply_in_tx(
        &self,
        tx: &mut Tx,
        id: Option<DepositId>,
        news: &News,
    ) -> Result<Applied, ApplyError> {
        let deposit = match id {
            Some(id) => store::deposit_lock_in_tx(tx, id).await?,
            None => None,
        };
        let now = self.clock().now();
        match self.refunded_in_tx(tx, deposit.as_ref(), news).await? {
            Told::OfNone => {}
            Told::Of(moved) => return Ok(Applied::Refunded(*moved)),
            Told::Against => {
                return Ok(Applied::Strange { why: "refund_contradicted", deposit });
            }
        }
        let verdict = judge(deposit.as_ref(), news, self.merchant());
        let applied = match (verdict, deposit) {
            (Verdict::Ignore(why), _) => Applied::Nothing(why),
            (Verdict::Pay, Some(deposit)) => {
                Applied::Paid(pay_in_tx(tx, deposit, news, now).await?)
            }
            (Verdict::Fail { code }, Some(deposit)) => {
                let look_at = next_look(deposit.created_at, deposit.expires_at, now);
                let end = End { status: DepositStatus::Failed, why: &code, look_at };
                Applied::Failed(end_in_tx(tx, deposit, &end, now).await?)
            }
            (Verdict::Strange { why, amount }, deposit) => {
                if let Some(amount) = amount {
                    let about = deposit.as_ref().map(|deposit| deposit.id);
                    keep_in_tx(tx, news, Strange { why, amount, about }, now).await?;
                }
                let deposit = match deposit {
                    // A person settles it: the gateway is not asked again.
                    Some(deposit) if deposit.status != DepositStatus::Paid => {
                        let end = End { status: DepositStatus::Failed, why, look_at: None };
                        Some(end_in_tx(tx, deposit, &end, now).await?)
                    }
                    other => other,
                };
                Applied::Strange { why, deposit }
            }
            (Verdict::Pay | Verdict::Fail { .. }, None) => {
                return Err(Fault::internal("a verdict about no deposit").into());
            }
        };
        counter!("smartline_payment_news_total", "result" => applied.name()).increment(1);
        Ok(applied)
    }

    /// Makes what a look brought true, unless a notice was quicker and left the deposit to a
    /// person.
    pub async fn apply_look_in_tx(
        &self,
        tx: &mut Tx,
        id: DepositId,
        news: &News,
    ) -> Result<Applied, ApplyError> {
        let deposit = store::deposit_lock_in_tx(tx, id).await?;
        if deposit.as_ref().is_some_and(waits_for_person) {
            return Ok(Applied::Nothing("waits_for_person"));
        }
        self.apply_in_tx(tx, Some(id), news).await
    }

    /// The refund of ours that `news` is about, where it is one.
    async fn refunded_in_tx(
        &self,
        tx: &mut Tx,
        deposit: Option<&Deposit>,
        news: &News,
    ) -> Result<Told, ApplyError> {
        let transaction = news.transaction.clone();
        let word = match news.claim {
            Claim::Returned => RefundWord::Done { transaction },
            Claim::NotReturned => {
                let why =
                    format!("the gateway refused it ({})", news.code.as_deref().unwrap_or("-"));
                RefundWord::Failed { why, transaction }
            }
            Claim::Paid | Claim::Failed | Claim::Nothing => return Ok(Told::OfNone),
        };
        let is_ours = news.merchant.as_deref().is_none_or(|theirs| theirs == self.merchant());
        match deposit {
            Some(deposit) if is_ours => {
                let now = self.clock().now();
                Ok(refunds::told_in_tx(tx, deposit.id, word, news.amount, now).await?)
            }
            Some(_) | None => Ok(Told::OfNone),
        }
    }

    /// Ends a deposit that nobody paid in time. `None` when it was paid or ended meanwhile.
    pub async fn expire_in_tx(&self, tx: &mut Tx, id: DepositId) -> Result<Option<Deposit>, Fault> {
        let deposit = store::deposit_lock_in_tx(tx, id).await?;
        let Some(deposit) = deposit else { return Ok(None) };
        match deposit.status {
            DepositStatus::Pending => {
                let end = End { status: DepositStatus::Expired, why: "expired", look_at: None };
                Ok(Some(end_in_tx(tx, deposit, &end, self.clock().now()).await?))
            }
            // It said why already.
            DepositStatus::Failed => {
                store::deposit_look_in_tx(tx, id, None).await?;
                Ok(None)
            }
            DepositStatus::Paid | DepositStatus::Expired => Ok(None),
        }
    }

    /// A deposit that was looked at in vain is looked at again later.
    pub async fn look_again_in_tx(&self, tx: &mut Tx, id: DepositId) -> Result<(), Fault> {
        let deposit = store::deposit_lock_in_tx(tx, id).await?;
        let Some(deposit) = deposit.filter(|deposit| deposit.status != DepositStatus::Paid) else {
            return Ok(());
        };
        let now = self.clock().now();
        let look_at = next_look(deposit.created_at, deposit.expires_at, now);
        // Where the gateway was away to the end, it is asked until it answers.
        let look_at = look_at.unwrap_or(now + crate::rules::GRACE);
        store::deposit_look_in_tx(tx, id, Some(look_at)).await
    }
}

async fn pay_in_tx(
    tx: &mut Tx,
    deposit: Deposit,
    news: &News,
    now: Millis,
) -> Result<Paid, ApplyError> {
    let payment = Payment {
        transaction: news.transaction.as_deref(),
        gateway_order: news.gateway_order.as_deref(),
        method: news.method.as_deref(),
        at: now,
    };
    store::deposit_pay_in_tx(tx, deposit.id, &payment).await?;
    let wallet = Wallet::of(deposit.user, deposit.role)
        .ok_or_else(|| Fault::internal("a deposit of somebody without a wallet"))?;
    let journal = ledger::deposit(deposit.id.0, wallet, deposit.amount);
    let posted = ledger::post_in_tx(tx, &journal).await?;
    if deposit.role == Role::Rider {
        // What comes in first pays what is owed.
        ledger::pay_due_in_tx(tx, deposit.user.as_rider(), posted.journal).await?;
    }
    let payload = PaymentCompleted {
        payment_id: deposit.id,
        user_id: deposit.user,
        amount: deposit.amount,
        transaction_id: news.transaction.as_deref(),
        timestamp: now,
    };
    tell_in_tx(tx, deposit.id, "PAYMENT_COMPLETED", &payload, now).await?;
    counter!("smartline_deposits_total", "result" => "paid").increment(1);
    let driver_balance = posted.balance_of(Account::Driver(deposit.user));
    let deposit = Deposit { status: DepositStatus::Paid, paid_at: Some(now), ..deposit };
    Ok(Paid { deposit, driver_balance })
}

/// How a deposit ends without money.
struct End<'a> {
    status: DepositStatus,
    why: &'a str,
    look_at: Option<Millis>,
}

async fn end_in_tx(
    tx: &mut Tx,
    deposit: Deposit,
    end: &End<'_>,
    now: Millis,
) -> Result<Deposit, Fault> {
    store::deposit_fail_in_tx(tx, deposit.id, end.status, end.why, end.look_at).await?;
    let payload = PaymentFailed {
        payment_id: deposit.id,
        user_id: deposit.user,
        error: end.why,
        timestamp: now,
    };
    tell_in_tx(tx, deposit.id, "PAYMENT_FAILED", &payload, now).await?;
    counter!("smartline_deposits_total", "result" => end.status.name()).increment(1);
    Ok(Deposit { status: end.status, failure: Some(end.why.to_owned()), ..deposit })
}

/// Money that no deposit asked for.
struct Strange {
    why: &'static str,
    amount: Piasters,
    about: Option<DepositId>,
}

/// Money without an owner: once per payment, however often it is told.
async fn keep_in_tx(
    tx: &mut Tx,
    news: &News,
    strange: Strange,
    now: Millis,
) -> Result<(), ApplyError> {
    let Strange { why, amount, about } = strange;
    let name = news.transaction.as_deref().or(news.gateway_order.as_deref());
    let name = name.ok_or_else(|| Fault::internal("a payment without any name"))?;
    let kept = Kept {
        id: capture_of(name),
        transaction: news.transaction.clone(),
        gateway_order: news.gateway_order.clone(),
        deposit: about,
        why: why.to_owned(),
        amount,
        kept_at: now,
        resolved_at: None,
    };
    ledger::post_in_tx(tx, &ledger::suspense(kept.id, amount)).await?;
    suspense_keep_in_tx(tx, &kept).await?;
    counter!("smartline_suspense_postings_total").increment(1);
    Ok(())
}

/// The ledger's name of a payment: the same for every word about it.
pub(crate) fn capture_of(transaction: &str) -> Uuid {
    named(b"kashier transaction ", transaction)
}

/// The ledger's name of what the gateway paid out to the bank.
pub fn gateway_payout(reference: &str) -> Uuid {
    named(b"kashier payout ", reference)
}

fn named(kind: &[u8], name: &str) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(kind);
    hash.update(name.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// The fact that a deposit was asked for.
pub(crate) async fn initiated_in_tx(tx: &mut Tx, new: &NewDeposit) -> Result<(), Fault> {
    let payload = PaymentInitiated {
        payment_id: new.id,
        user_id: new.user,
        amount: new.amount,
        method: "kashier",
        timestamp: new.created_at,
    };
    tell_in_tx(tx, new.id, "PAYMENT_INITIATED", &payload, new.created_at).await
}

async fn tell_in_tx<T: Serialize>(
    tx: &mut Tx,
    id: DepositId,
    kind: &'static str,
    payload: &T,
    at: Millis,
) -> Result<(), Fault> {
    let fact = Fact { aggregate: "payment", id: id.0, kind, version: 1, payload, at };
    events::append_in_tx(tx, &fact).await.map(drop)
}
