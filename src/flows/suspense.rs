//! Money that nobody had asked for finds its owner, and what the gateway pays out to the bank is
//! booked: by admins, with the limits of their other acts.

use base::{BusinessDay, Caller, Code, Cursor, Piasters, Problem, UserId};
use events::Once;
use identity::AuditObject;
use ledger::{PostError, Posted, Repeat, Resolution, Wallet};
use notify::{Message, News};
use payments::{ActDetails, ActKind, Kept, MoneyAct, NewAct, SuspensePage, SuspenseView};
use storage::{Tx, Who};
use uuid::Uuid;

use crate::Flows;
use crate::acts::Acted;

/// What the gateway paid out to the bank.
#[derive(Clone, Debug)]
pub struct GatewayPayout {
    /// The gateway's name for it.
    pub reference: String,
    /// What it had captured.
    pub gross: Piasters,
    /// What it kept of that.
    pub fee: Piasters,
    /// Whose captures it pays.
    pub day: Option<BusinessDay>,
}

impl Flows {
    /// What waits for its owner, newest first.
    pub async fn suspense(
        &self,
        admin: &Caller,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<SuspensePage, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let mut found = payments::suspense_in_tx(&mut tx, after, limit + 1).await?;
        drop(tx);
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let shown = found.iter().map(|kept| AuditObject::new("capture", kept.id));
        self.note_looks(admin, "suspense.read", shown).await?;
        let last = found.last().filter(|_| more);
        let next_cursor = last.map(|last| Cursor { at: last.kept_at, id: last.id }.to_string());
        let captures = found.into_iter().map(SuspenseView::from).collect();
        Ok(SuspensePage { captures, next_cursor })
    }

    /// Gives a capture to whoever paid it; to nobody: the gateway gives it back.
    pub async fn resolve_suspense(
        &self,
        admin: &Caller,
        capture: Uuid,
        to: Option<UserId>,
        reason: &str,
        once: Once,
    ) -> Result<Acted, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let kept = payments::suspense_lock_in_tx(&mut tx, capture).await?;
        let kept = kept.ok_or_else(Problem::not_found)?;
        if once.applied().is_none() {
            must_wait(&kept)?;
            way_in_tx(&mut tx, to).await?;
        }
        drop(tx);
        let details = ActDetails::Capture { capture_id: capture };
        let company =
            NewAct::of_company(ActKind::Suspense, kept.amount, reason.to_owned(), details);
        self.act(admin, NewAct { user: to, ..company }, once).await
    }

    /// Books what the gateway paid out, once under its name.
    pub async fn settle_gateway(
        &self,
        admin: &Caller,
        payout: GatewayPayout,
        once: Once,
    ) -> Result<Acted, Problem> {
        let GatewayPayout { reference, gross, fee, day } = payout;
        let reason = format!("the gateway's payout {reference}");
        let day = day.map(|day| day.to_string());
        let details = ActDetails::Payout { reference, fee, day };
        let what = NewAct::of_company(ActKind::GatewaySettled, gross, reason, details);
        self.act(admin, what, once).await
    }

    pub(crate) async fn resolve_suspense_in_tx(
        &self,
        tx: &mut Tx,
        act: &MoneyAct,
    ) -> Result<Posted, Problem> {
        let (to, Some(ActDetails::Capture { capture_id })) = (act.what.user, &act.what.details)
        else {
            return Err(Problem::not_found());
        };
        let kept = payments::suspense_lock_in_tx(tx, *capture_id).await?;
        let kept = kept.ok_or_else(Problem::not_found)?;
        must_wait(&kept)?;
        let way = way_in_tx(tx, to).await?;
        let journal = ledger::suspense_resolved(kept.id, kept.amount, way);
        let posted = ledger::post_in_tx(tx, &journal).await?;
        payments::suspense_resolve_in_tx(tx, kept.id, to, self.clock.now()).await?;
        if let Some(to) = to {
            let news = News::PaymentSucceeded { amount: kept.amount };
            let (about, once) = (Some(kept.id), format!("suspense:{}", kept.id));
            let message = Message { to, news, about, once, until: None };
            self.notify.tell_in_tx(tx, &message).await?;
        }
        Ok(posted)
    }

    pub(crate) async fn gateway_settled_in_tx(
        &self,
        tx: &mut Tx,
        act: &MoneyAct,
    ) -> Result<Posted, Problem> {
        let Some(ActDetails::Payout { reference, fee, .. }) = &act.what.details else {
            return Err(Problem::not_found());
        };
        let payout = payments::gateway_payout(reference);
        let journal = ledger::gateway_settled(payout, act.what.amount, *fee);
        match ledger::post_in_tx(tx, &journal).await {
            Ok(posted) if posted.repeat == Repeat::First => Ok(posted),
            Ok(_) | Err(PostError::KeyReused) => {
                Err(Problem::new(Code::AlreadyDone, "this payout of the gateway is booked already"))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whose a capture becomes.
async fn way_in_tx(tx: &mut Tx, to: Option<UserId>) -> Result<Resolution, Problem> {
    let Some(user) = to else { return Ok(Resolution::Returned) };
    let role = identity::role_in_tx(tx, user).await?;
    let wallet = role.and_then(|role| Wallet::of(user, role));
    let unknown = || Problem::field("to", "unknown", "must be gateway, or have a wallet");
    wallet.map(Resolution::Found).ok_or_else(unknown)
}

fn must_wait(kept: &Kept) -> Result<(), Problem> {
    match kept.resolved_at {
        None => Ok(()),
        Some(_) => Err(Problem::new(Code::InvalidTransition, "it is given away already")),
    }
}
