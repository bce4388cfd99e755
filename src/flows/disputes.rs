//! Riders and drivers complain about trips; operators answer.

use base::{Caller, Code, Cursor, Piasters, Problem, TripId};
use events::Once;
use identity::{Audit, AuditObject};
use notify::{Message, News};
use payments::{
    ActKind, ActStatus, Dispute, DisputeFilter, DisputeId, DisputeReason, DisputeStatus,
    DisputeView, DisputesPage, MoneyAct, NewAct, Outcome, Resolution,
};
use serde_json::json;
use storage::{Tx, Who};
use uuid::Uuid;

use crate::Flows;
use crate::acts::positive;

/// What an operator makes of a complaint.
#[derive(Clone, Debug)]
pub struct Resolve {
    pub outcome: Outcome,
    pub amount: Option<Piasters>,
    /// What the person is told.
    pub answer: String,
}

impl Flows {
    /// A complaint about a trip of the caller's own.
    pub async fn open_dispute(
        &self,
        caller: &Caller,
        trip: TripId,
        reason: DisputeReason,
        text: &str,
        once: Once,
    ) -> Result<DisputeView, Problem> {
        let who = Who::Caller(*caller);
        let found = self.trips.get(&who, trip).await?;
        let mut tx = self.db.begin(&who).await?;
        if once.applied().is_some() {
            let known = payments::dispute_of_trip_in_tx(&mut tx, trip, caller.user).await?;
            return Ok(DisputeView::of(&known.ok_or_else(Problem::not_found)?));
        }
        let now = self.clock.now();
        payments::may_open(found.ended_at, now)?;
        let dispute = Dispute {
            id: DisputeId(Uuid::now_v7()),
            trip,
            opened_by: caller.user,
            role: caller.role,
            reason,
            text: text.to_owned(),
            status: DisputeStatus::Open,
            resolution: None,
            opened_at: now,
        };
        if !payments::dispute_add_in_tx(&mut tx, &dispute).await? {
            let why = "there is a complaint of yours about this trip already";
            return Err(Problem::new(Code::AlreadyDisputed, why));
        }
        once.mark_in_tx(&mut tx, dispute.id.0).await?;
        tx.commit().await?;
        metrics::counter!("smartline_disputes_total", "event" => "opened").increment(1);
        Ok(DisputeView::of(&dispute))
    }

    /// The caller's own complaints, newest first.
    pub async fn own_disputes(
        &self,
        caller: &Caller,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<DisputesPage, Problem> {
        let filter = DisputeFilter::Of(caller.user);
        let mut tx = self.db.begin(&Who::Caller(*caller)).await?;
        let found = payments::disputes_in_tx(&mut tx, &filter, after, limit + 1).await?;
        Ok(page(found, limit, DisputeView::of))
    }

    /// The operators' queue, newest first.
    pub async fn disputes(
        &self,
        admin: &Caller,
        filter: &DisputeFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<DisputesPage, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let found = payments::disputes_in_tx(&mut tx, filter, after, limit + 1).await?;
        drop(tx);
        let shown = found.iter().map(|dispute| AuditObject::new("dispute", dispute.id));
        self.note_looks(admin, "dispute.read", shown).await?;
        Ok(page(found, limit, DisputeView::for_staff))
    }

    /// An operator answers a complaint. Money above his limit waits for another admin, and the
    /// complaint with it.
    pub async fn resolve_dispute(
        &self,
        admin: &Caller,
        id: DisputeId,
        wish: Resolve,
        once: Once,
    ) -> Result<DisputeView, Problem> {
        let Resolve { outcome, amount, answer } = wish;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let dispute = payments::dispute_lock_in_tx(&mut tx, id).await?;
        let mut dispute = dispute.ok_or_else(Problem::not_found)?;
        if once.applied().is_some() {
            // The attempt before did all of it, and its answer got lost.
            return Ok(DisputeView::for_staff(&dispute));
        }
        let remedy = payments::remedy(&dispute, outcome)?;
        let mut acted = None;
        if let Some((kind, fault)) = remedy {
            let amount =
                amount.ok_or_else(|| Problem::field("amount", "required", "is required"))?;
            positive(amount)?;
            let user = if kind == ActKind::Refund {
                self.trips.get(&Who::Caller(*admin), dispute.trip).await?.rider.into()
            } else {
                dispute.opened_by
            };
            let what = NewAct {
                trip: Some(dispute.trip),
                dispute: Some(id),
                fault,
                ..NewAct::on_account(kind, user, amount, answer.clone())
            };
            acted = Some(self.act_in_tx(&mut tx, admin, what, Once::NONE).await?);
        }
        let act = acted.as_ref().map(|done| &done.act);
        let waits = act.is_some_and(|act| act.status == ActStatus::Pending);
        dispute.status = if waits { DisputeStatus::Waiting } else { DisputeStatus::Resolved };
        dispute.resolution = Some(Resolution {
            outcome,
            answer,
            amount: act.map(|act| act.what.amount),
            act: act.map(|act| act.id),
            by: admin.user,
            at: self.clock.now(),
        });
        payments::dispute_resolve_in_tx(&mut tx, &dispute).await?;
        let details = json!({
            "resolution": outcome,
            "status": dispute.status,
            "trip": dispute.trip,
            "amount": amount,
            "act": act.map(|act| act.id),
        });
        let record = Audit::by(admin, "dispute.resolve", AuditObject::new("dispute", id));
        identity::audit_in_tx(&mut tx, &[record.with(details)]).await?;
        if !waits {
            self.tell_resolved_in_tx(&mut tx, &dispute).await?;
        }
        once.mark_in_tx(&mut tx, id.0).await?;
        tx.commit().await?;
        if let Some(done) = acted {
            self.acted(done);
        }
        Ok(DisputeView::for_staff(&dispute))
    }

    /// What a second admin's word on an act means for the complaint that it answers.
    pub(crate) async fn dispute_follows_in_tx(
        &self,
        tx: &mut Tx,
        act: &MoneyAct,
    ) -> Result<(), Problem> {
        let Some(id) = act.what.dispute else { return Ok(()) };
        let dispute = payments::dispute_lock_in_tx(tx, id).await?;
        let mut dispute = dispute.ok_or_else(Problem::not_found)?;
        match act.status {
            ActStatus::Approved => {
                dispute.status = DisputeStatus::Resolved;
                self.tell_resolved_in_tx(tx, &dispute).await?;
            }
            ActStatus::Declined => {
                (dispute.status, dispute.resolution) = (DisputeStatus::Open, None);
            }
            ActStatus::Done | ActStatus::Pending => return Ok(()),
        }
        Ok(payments::dispute_resolve_in_tx(tx, &dispute).await?)
    }

    async fn tell_resolved_in_tx(&self, tx: &mut Tx, dispute: &Dispute) -> Result<(), Problem> {
        let message = Message {
            to: dispute.opened_by,
            news: News::DisputeResolved,
            about: Some(dispute.trip.0),
            once: format!("dispute:{}", dispute.id),
            until: None,
        };
        self.notify.tell_in_tx(tx, &message).await?;
        Ok(())
    }
}

fn page(mut found: Vec<Dispute>, limit: u32, view: fn(&Dispute) -> DisputeView) -> DisputesPage {
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let last = found.last().filter(|_| more);
    let next_cursor = last.map(|last| Cursor { at: last.opened_at, id: last.id.0 }.to_string());
    DisputesPage { disputes: found.iter().map(view).collect(), next_cursor }
}
