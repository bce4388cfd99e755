//! Admins correct accounts, give debts up, give money back: alone up to a limit, above it with
//! another admin's consent.

use base::{Caller, Code, Cursor, Piasters, Problem, Role, TripId, UserId};
use events::Once;
use identity::{Audit, AuditObject};
use ledger::{
    Account, AdjustmentView, Burden, Debtor, Journal, PostError, Posted, Refund, RefundTo, Repeat,
};
use notify::{Message, News};
use payments::{
    ActDetails, ActFilter, ActId, ActKind, ActStatus, ActView, ActsPage, AtFault, MoneyAct, NewAct,
    Verdict,
};
use serde_json::json;
use storage::{Tx, Who};
use trips::Trip;

use crate::Flows;
use crate::late_payment::late_payments;

/// Largest act at all, piasters.
const ACT_MAX: Piasters = Piasters::pounds(100_000);
/// What an admin did alone is counted so far back.
const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// An act, done or waiting for another admin.
#[derive(Clone, Debug)]
pub struct Acted {
    pub act: MoneyAct,
    /// Where it is done.
    pub posted: Option<Posted>,
}

impl Acted {
    pub fn view(&self) -> ActView {
        ActView::from(&self.act)
    }

    /// A correction as it stands in the ledger; `None` while it waits.
    pub fn adjustment(&self) -> Option<AdjustmentView> {
        let posted = self.posted.as_ref()?;
        let (_, balance_after) = posted.balances.first()?;
        Some(AdjustmentView {
            id: posted.journal,
            kind: "adjustment",
            user_id: self.act.what.user?.0,
            amount: self.act.what.amount,
            balance_after: *balance_after,
            reason: Some(self.act.what.reason.clone()),
        })
    }
}

impl Flows {
    /// Adds `amount` to (or, when negative, takes it from) a user's wallet.
    pub async fn adjust_wallet(
        &self,
        admin: &Caller,
        user: UserId,
        amount: Piasters,
        reason: &str,
        once: Once,
    ) -> Result<Acted, Problem> {
        if amount == Piasters::ZERO || amount.abs() > ACT_MAX {
            let text = "must not be zero, and at most 100000 either way";
            return Err(Problem::field("amount", "out_of_range", text));
        }
        let reason = reason.to_owned();
        let what = NewAct::on_account(ActKind::Adjustment, user, amount, reason);
        self.act(admin, what, once).await
    }

    /// Gives up what a rider or driver owes, or a part of it.
    pub async fn write_off(
        &self,
        admin: &Caller,
        user: UserId,
        amount: Piasters,
        reason: &str,
        once: Once,
    ) -> Result<Acted, Problem> {
        positive(amount)?;
        let what = NewAct::on_account(ActKind::WriteOff, user, amount, reason.to_owned());
        self.act(admin, what, once).await
    }

    /// Gives a rider back what he paid for a trip, or a part of it, into his wallet.
    pub async fn refund_trip(
        &self,
        admin: &Caller,
        trip: TripId,
        amount: Option<Piasters>,
        fault: AtFault,
        reason: &str,
        once: Once,
    ) -> Result<Acted, Problem> {
        let found = self.trips.get(&Who::Caller(*admin), trip).await?;
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let paid = ledger::trip_paid_in_tx(&mut tx, trip).await?;
        drop(tx);
        let amount = amount.unwrap_or(paid.paid - paid.given_back);
        if once.applied().is_none() {
            if paid.given_back >= paid.paid {
                let why = "nothing that was paid for the trip is left to give back";
                return Err(Problem::new(Code::RefundTooLarge, why));
            }
            positive(amount)?;
        }
        let what = NewAct {
            trip: Some(trip),
            fault: Some(fault),
            ..NewAct::on_account(ActKind::Refund, found.rider.into(), amount, reason.to_owned())
        };
        self.act(admin, what, once).await
    }

    /// What admins did and want to do with other people's money, newest first.
    pub async fn acts(
        &self,
        admin: &Caller,
        filter: &ActFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<ActsPage, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let mut found = payments::acts_in_tx(&mut tx, filter, after, limit + 1).await?;
        drop(tx);
        let more = found.len() > limit as usize;
        found.truncate(limit as usize);
        let shown = found.iter().map(|act| AuditObject::new("act", act.id));
        self.note_looks(admin, "act.read", shown).await?;
        let last = found.last().filter(|_| more);
        let next_cursor = last.map(|last| Cursor { at: last.asked_at, id: last.id.0 }.to_string());
        Ok(ActsPage { acts: found.iter().map(ActView::from).collect(), next_cursor })
    }

    /// A second admin's word on an act; whoever asked for it may only take it back.
    pub async fn decide_act(
        &self,
        admin: &Caller,
        id: ActId,
        verdict: Verdict,
        reason: Option<&str>,
        once: Once,
    ) -> Result<ActView, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let act = payments::act_lock_in_tx(&mut tx, id).await?;
        let mut act = act.ok_or_else(Problem::not_found)?;
        if once.applied().is_some() {
            // The attempt before did all of it, and its answer got lost.
            return Ok(ActView::from(&act));
        }
        act.status = payments::decide(&act, admin.user, verdict)?;
        act.decided_by = Some(admin.user);
        act.decided_at = Some(self.clock.now());
        act.decision_reason = reason.map(str::to_owned);
        let mut performed = None;
        if act.status == ActStatus::Approved {
            performed = self.perform_in_tx(&mut tx, admin, &act).await?;
            act.journal = performed.as_ref().map(|done| done.journal);
        }
        payments::act_decide_in_tx(&mut tx, &act).await?;
        self.dispute_follows_in_tx(&mut tx, &act).await?;
        let action = match verdict {
            Verdict::Approve => "act.approve",
            Verdict::Decline => "act.decline",
        };
        let details = json!({
            "kind": act.what.kind,
            "amount": act.what.amount,
            "askedBy": act.asked_by,
            "journal": act.journal,
            "reason": reason,
        });
        let record = Audit::by(admin, action, AuditObject::new("act", id)).with(details);
        identity::audit_in_tx(&mut tx, &[record]).await?;
        once.mark_in_tx(&mut tx, id.0).await?;
        tx.commit().await?;
        if let Some(posted) = performed {
            self.after_act(&posted);
        }
        Ok(ActView::from(&act))
    }

    /// Carries an act out, or lets it wait for another admin; once per key.
    pub(crate) async fn act(
        &self,
        admin: &Caller,
        what: NewAct,
        once: Once,
    ) -> Result<Acted, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        if let Some(id) = once.applied() {
            // The attempt before did all of it, and its answer got lost.
            let act = payments::act_in_tx(&mut tx, ActId(id)).await?;
            let act = act.ok_or_else(Problem::not_found)?;
            let posted = match act.journal {
                Some(journal) => ledger::posted_in_tx(&mut tx, journal).await?,
                None => None,
            };
            return Ok(Acted { act, posted });
        }
        let done = self.act_in_tx(&mut tx, admin, what, once).await?;
        tx.commit().await?;
        Ok(self.acted(done))
    }

    /// The same within a transaction; [`Self::acted`] follows its commit.
    pub(crate) async fn act_in_tx(
        &self,
        tx: &mut Tx,
        admin: &Caller,
        what: NewAct,
        once: Once,
    ) -> Result<Acted, Problem> {
        let now = self.clock.now();
        let alone = payments::alone_since_in_tx(tx, admin.user, now - DAY).await?;
        let waits = payments::needs_another(&self.act_limits, what.amount, alone);
        let mut act = MoneyAct {
            // The key names the act too: one that comes again after its time finds it.
            id: ActId(once.key().unwrap_or_else(uuid::Uuid::now_v7)),
            what,
            status: if waits { ActStatus::Pending } else { ActStatus::Done },
            asked_by: admin.user,
            asked_at: now,
            decided_by: None,
            decided_at: None,
            decision_reason: None,
            journal: None,
        };
        let mut posted = None;
        if waits {
            self.check_act_in_tx(tx, admin, &act).await?;
        } else {
            posted = self.perform_in_tx(tx, admin, &act).await?;
            act.journal = posted.as_ref().map(|done| done.journal);
        }
        if !payments::act_add_in_tx(tx, &act).await? {
            return Err(key_used_long_ago());
        }
        once.mark_in_tx(tx, act.id.0).await?;
        identity::audit_in_tx(tx, &[record(admin, &act)]).await?;
        Ok(Acted { act, posted })
    }

    /// An act whose transaction is committed.
    pub(crate) fn acted(&self, done: Acted) -> Acted {
        if let Some(posted) = &done.posted {
            self.after_act(posted);
        }
        done
    }

    /// What memory has to know of an act that is committed.
    pub(crate) fn after_act(&self, posted: &Posted) {
        for (account, balance) in &posted.balances {
            if let Account::Driver(user) = account {
                self.fleet.set_balance(user.as_driver(), *balance);
            }
        }
    }

    /// Refuses early what could not be done later either.
    async fn check_act_in_tx(
        &self,
        tx: &mut Tx,
        admin: &Caller,
        act: &MoneyAct,
    ) -> Result<(), Problem> {
        match act.what.kind {
            ActKind::Adjustment | ActKind::WriteOff => {
                account_journal_in_tx(tx, act).await?;
            }
            ActKind::Refund => {
                let (refund, left) = self.trip_refund_in_tx(tx, admin, act).await?;
                if refund.amount > left {
                    return Err(PostError::RefundTooLarge.into());
                }
            }
            ActKind::DepositRefund => {
                self.payments.gateway()?;
            }
            ActKind::PromoGrant
            | ActKind::PromoCode
            | ActKind::RefundFailed
            | ActKind::Suspense
            | ActKind::GatewaySettled => {}
        }
        Ok(())
    }

    /// Carries an act out: its journal, where it has one, and what belongs to it.
    async fn perform_in_tx(
        &self,
        tx: &mut Tx,
        admin: &Caller,
        act: &MoneyAct,
    ) -> Result<Option<Posted>, Problem> {
        let MoneyAct { id, ref what, .. } = *act;
        let posted = match what.kind {
            ActKind::Adjustment => {
                let journal = account_journal_in_tx(tx, act).await?;
                post_in_tx(tx, &journal).await?
            }
            ActKind::WriteOff => {
                let journal = account_journal_in_tx(tx, act).await?;
                post_in_tx(tx, &journal).await.map_err(|problem| match problem.code {
                    Code::InsufficientBalance => {
                        Problem::new(Code::MoreThanOwed, "more than is owed can't be given up")
                    }
                    _ => problem,
                })?
            }
            ActKind::Refund => {
                let (refund, _) = self.trip_refund_in_tx(tx, admin, act).await?;
                let posted = post_in_tx(tx, &ledger::refund(&refund)).await?;
                self.tell_refunded_in_tx(tx, act).await?;
                posted
            }
            ActKind::DepositRefund => {
                let deposit = what.deposit.ok_or_else(Problem::not_found)?;
                self.payments.begin_refund_in_tx(tx, act, deposit).await?
            }
            ActKind::RefundFailed => self.refund_failed_in_tx(tx, act).await?,
            ActKind::Suspense => self.resolve_suspense_in_tx(tx, act).await?,
            ActKind::GatewaySettled => self.gateway_settled_in_tx(tx, act).await?,
            ActKind::PromoGrant => {
                self.grant_in_tx(tx, admin, act).await?;
                return Ok(None);
            }
            ActKind::PromoCode => {
                self.open_code_in_tx(tx, act).await?;
                return Ok(None);
            }
        };
        if posted.repeat == Repeat::Again {
            return Err(key_used_long_ago());
        }
        let came_in = |user: &UserId| posted.balance_of(Account::RiderWallet(*user)).is_some();
        let gives = what.amount > Piasters::ZERO && what.kind != ActKind::DepositRefund;
        if let Some(user) = what.user.filter(|user| gives && came_in(user)) {
            // What comes in first pays what is owed.
            ledger::pay_due_in_tx(tx, user.as_rider(), posted.journal).await?;
            events::add_in_tx(tx, &[late_payments(user.as_rider())?]).await?;
        }
        tracing::info!(act.id = %id, kind = %what.kind, "an admin's act is done");
        Ok(Some(posted))
    }

    /// The refund of an act, and how much of what was paid is left. Refunds of one trip wait for
    /// each other.
    async fn trip_refund_in_tx(
        &self,
        tx: &mut Tx,
        admin: &Caller,
        act: &MoneyAct,
    ) -> Result<(Refund, Piasters), Problem> {
        let id = act.what.trip.ok_or_else(Problem::not_found)?;
        let trip = self.trips.get(&Who::Caller(*admin), id).await?;
        payments::refunds_of_trip_wait_in_tx(tx, id).await?;
        let paid = ledger::trip_paid_in_tx(tx, id).await?;
        let burden = match act.what.fault {
            Some(AtFault::Driver) => Burden::Driver,
            Some(AtFault::Company) | None => Burden::Company,
        };
        if burden == Burden::Driver && trip.final_price.is_none() {
            let why = "no fare was settled for this trip: the company bears it";
            return Err(Problem::field("fault", "invalid", why));
        }
        let refund = Refund {
            refund: act.id.0,
            trip: id,
            rider: trip.rider,
            driver: driver_of(&trip, burden)?,
            price: trip.final_price.unwrap_or(paid.paid),
            promo: paid.promo,
            commission: trip.commission,
            before: paid.given_back,
            amount: act.what.amount,
            burden,
            to: RefundTo::Wallet,
            reason: act.what.reason.clone(),
        };
        Ok((refund, paid.paid - paid.given_back))
    }

    async fn tell_refunded_in_tx(&self, tx: &mut Tx, act: &MoneyAct) -> Result<(), Problem> {
        let message = Message {
            to: act.what.user.ok_or_else(Problem::not_found)?,
            news: News::Refunded { amount: act.what.amount },
            about: act.what.trip.map(|trip| trip.0),
            once: format!("refund:{}", act.id),
            until: None,
        };
        self.notify.tell_in_tx(tx, &message).await?;
        Ok(())
    }
}

/// Goodwill takes nothing from a driver, and there may have been none.
fn driver_of(trip: &Trip, burden: Burden) -> Result<base::DriverId, Problem> {
    match (trip.driver, burden) {
        (Some(driver), _) => Ok(driver),
        (None, Burden::Company) => Ok(base::DriverId(trip.rider.0)),
        (None, Burden::Driver) => {
            let why = "nobody drove this trip: the company bears it";
            Err(Problem::field("fault", "invalid", why))
        }
    }
}

/// The journal of an act on somebody's account.
async fn account_journal_in_tx(tx: &mut Tx, act: &MoneyAct) -> Result<Journal, Problem> {
    let MoneyAct { id, ref what, asked_by, .. } = *act;
    let user = what.user.ok_or_else(Problem::not_found)?;
    let role = identity::role_in_tx(tx, user).await?.ok_or_else(Problem::not_found)?;
    let no_wallet = || Problem::new(Code::NotFound, "this account has no wallet");
    let key = id.to_string();
    let (amount, reason) = (what.amount, what.reason.as_str());
    if what.kind == ActKind::Adjustment {
        let made = ledger::adjustment(asked_by, user, role, amount, reason, Some(&key));
        return made.ok_or_else(no_wallet);
    }
    let debtor = match role {
        Role::Rider => Debtor::Rider(user.as_rider()),
        Role::Driver => Debtor::Driver(user.as_driver()),
        Role::Admin => return Err(no_wallet()),
    };
    Ok(ledger::write_off(asked_by, debtor, amount, reason, Some(&key)))
}

async fn post_in_tx(tx: &mut Tx, journal: &Journal) -> Result<Posted, Problem> {
    Ok(ledger::post_in_tx(tx, journal).await?)
}

pub(crate) fn positive(amount: Piasters) -> Result<(), Problem> {
    if amount <= Piasters::ZERO || amount > ACT_MAX {
        let text = "must be more than zero, and at most 100000";
        return Err(Problem::field("amount", "out_of_range", text));
    }
    Ok(())
}

pub(crate) fn key_used_long_ago() -> Problem {
    let why = "this key was used for a correction long ago, take another one";
    Problem::new(Code::IdempotencyKeyReused, why)
}

/// What stands in the log of an act.
fn record(admin: &Caller, act: &MoneyAct) -> Audit {
    let MoneyAct { id, ref what, status, journal, .. } = *act;
    let owner = || match what.user {
        Some(user) => AuditObject::new("wallet", user),
        None => AuditObject::new("act", id),
    };
    let subject = || match &what.details {
        Some(ActDetails::Grant { .. }) => AuditObject::new("promo_credit", id),
        Some(ActDetails::Code { code_id }) => AuditObject::new("promo_code", code_id),
        Some(ActDetails::Refund { refund_id }) => AuditObject::new("refund", refund_id),
        Some(ActDetails::Capture { capture_id }) => AuditObject::new("capture", capture_id),
        Some(ActDetails::Payout { .. }) => AuditObject::new("act", id),
        None => owner(),
    };
    let (action, object) = match (status, what.kind, what.trip) {
        (ActStatus::Pending, ..) => ("act.ask", AuditObject::new("act", id)),
        (_, ActKind::Adjustment, _) => ("wallet.adjust", owner()),
        (_, ActKind::WriteOff, _) => ("wallet.write_off", owner()),
        (_, ActKind::Refund, Some(trip)) => ("trip.refund", AuditObject::new("trip", trip)),
        (_, ActKind::Refund, None) => ("trip.refund", owner()),
        (_, ActKind::DepositRefund, _) => ("deposit.refund", owner()),
        (_, ActKind::PromoGrant, _) => ("promo.grant", subject()),
        (_, ActKind::PromoCode, _) => ("promo_code.create", subject()),
        (_, ActKind::RefundFailed, _) => ("refund.settle", subject()),
        (_, ActKind::Suspense, _) => ("suspense.resolve", subject()),
        (_, ActKind::GatewaySettled, _) => ("gateway.settle", subject()),
    };
    let details = json!({
        "act": id,
        "kind": what.kind,
        "user": what.user,
        "journal": journal,
        "amount": what.amount,
        "reason": what.reason,
    });
    Audit::by(admin, action, object).with(details)
}
