//! The books are kept: closed days are added up and compared, people read reports and statements.

use std::future::Future;
use std::pin::Pin;

use base::{BusinessDay, Caller, Cursor, DayRange, Fault, Problem, UserId};
use books::{
    AskedBy, Books, Captured, DailyReport, Discrepancy, FindingFilter, FindingView, FindingsPage,
    GatewaySide, ReportAsked, Resolution, RunView, RunsPage, StatementView,
};
use events::{Done, Failure, Handler, Job, Kind, OnDead, Once, Priority, Queue, Schedule};
use identity::{Audit, AuditObject};
use payments::{Capture, Payments};
use serde_json::json;
use storage::Who;
use uuid::Uuid;

use crate::Flows;

/// Adds up the days that are over.
pub static CLOSE_DAYS: Kind = Kind {
    name: "close_days",
    queue: Queue::Analytics,
    priority: Priority::Low,
    version: 1,
    attempts: 10,
    on_dead: OnDead::Support,
};

/// Looks at the days that are over.
pub static RECONCILE_DAYS: Kind = Kind {
    name: "reconcile_days",
    queue: Queue::Analytics,
    priority: Priority::Normal,
    version: 1,
    attempts: 10,
    on_dead: OnDead::ByHand,
};

/// After midnight, when what was under way has come to its end, and few people ride.
pub static BOOKS_ARE_CLOSED: Schedule =
    Schedule { name: "close_days", cron: "0 3 * * * Africa/Cairo", kind: &CLOSE_DAYS };
pub static BOOKS_ARE_COMPARED: Schedule =
    Schedule { name: "reconcile_days", cron: "30 3 * * * Africa/Cairo", kind: &RECONCILE_DAYS };

/// Does both kinds of jobs.
#[derive(Clone)]
pub struct Bookkeeper(pub Flows);

impl Handler for Bookkeeper {
    fn run<'a>(
        &'a self,
        job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send + 'a>> {
        Box::pin(async move {
            if job.kind == CLOSE_DAYS.name {
                self.0.books.roll_up_days().await?;
            } else {
                self.0.reconcile_days().await?;
            }
            Ok(Done::Finished)
        })
    }
}

/// Looks at a day: what is here against itself, and against what the gateway lists.
pub async fn look_at_day(
    books: &Books,
    payments: &Payments,
    day: BusinessDay,
    asked_by: AskedBy,
) -> Result<RunView, Fault> {
    let gateway = match payments.captures(day).await {
        Ok(Some(listed)) => compared(books, payments, day, listed).await?,
        Ok(None) => GatewaySide::NotSetUp,
        Err(failed) => GatewaySide::Unreadable(failed.to_string()),
    };
    books.reconcile(day, asked_by, gateway).await
}

/// The gateway's list against our deposits and what cards paid. What is paid here and not in the
/// list is asked for by name: it may have been captured a moment before midnight, and be on the
/// list of another day.
async fn compared(
    books: &Books,
    payments: &Payments,
    day: BusinessDay,
    listed: Vec<Capture>,
) -> Result<GatewaySide, Fault> {
    let captured = |capture: Capture| Captured {
        transaction: capture.transaction,
        of: capture.of,
        kept_as: capture.kept_as,
        amount: capture.amount,
    };
    let listed: Vec<Captured> = listed.into_iter().map(captured).collect();
    let compared = books.compare_captures(day, &listed).await?;
    let mut found = compared.found;
    for deposit in &compared.unlisted {
        match payments.was_captured(deposit.kind.name(), deposit.id, deposit.attempt).await {
            Ok(true) => {}
            Ok(false) => found.push(Discrepancy::from(deposit)),
            Err(failed) => return Ok(GatewaySide::Unreadable(failed.to_string())),
        }
    }
    Ok(GatewaySide::Compared(found))
}

impl Flows {
    pub async fn look_at_day(&self, day: BusinessDay, asked_by: AskedBy) -> Result<RunView, Fault> {
        look_at_day(&self.books, &self.payments, day, asked_by).await
    }

    /// Looks at every closed day that was not looked at whole. One that can't be (the gateway's
    /// list of it is unreadable) is tried again and keeps no other waiting; what was found on it
    /// stands meanwhile.
    pub async fn reconcile_days(&self) -> Result<(), Fault> {
        let mut failed = None;
        for day in self.books.days_to_reconcile().await? {
            let run = self.look_at_day(day, AskedBy::Schedule).await?;
            let not_whole = run.failure.map(|why| format!("{day} was not looked at whole: {why}"));
            failed = failed.or(not_whole);
        }
        failed.map_or(Ok(()), |failed| Err(Fault::unavailable(failed)))
    }

    /// Looks, newest first, and how many findings are open.
    pub async fn reconciliation(
        &self,
        admin: &Caller,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<RunsPage, Problem> {
        Ok(self.books.runs(admin, after, limit).await?)
    }

    /// What does not fit, the newest opened first.
    pub async fn findings(
        &self,
        admin: &Caller,
        filter: FindingFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<FindingsPage, Problem> {
        Ok(self.books.findings(admin, filter, after, limit).await?)
    }

    /// Closes a finding; who did it and why stands in it and in the audit log, by the same commit.
    pub async fn resolve_finding(
        &self,
        admin: &Caller,
        id: Uuid,
        resolution: Resolution,
        reason: &str,
        once: Once,
    ) -> Result<FindingView, Problem> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        if once.applied().is_some() {
            // The attempt before did all of it, and its answer got lost.
            let finding = self.books.finding_in_tx(&mut tx, id).await?;
            return finding.ok_or_else(Problem::not_found);
        }
        let finding = self.books.resolve_in_tx(&mut tx, admin, id, resolution, reason).await?;
        let details = json!({
            "kind": finding.kind,
            "subject": finding.subject,
            "resolution": resolution,
            "reason": reason,
        });
        let record = Audit::by(admin, "finding.resolve", AuditObject::new("finding", id));
        identity::audit_in_tx(&mut tx, &[record.with(details)]).await?;
        once.mark_in_tx(&mut tx, id).await?;
        tx.commit().await?;
        self.books.report_open().await?;
        Ok(finding)
    }

    /// Trips and money by day.
    pub async fn daily_report(
        &self,
        admin: &Caller,
        asked: &ReportAsked,
    ) -> Result<DailyReport, Problem> {
        Ok(self.books.daily_report(admin, asked).await?)
    }

    /// The caller's own account between two days.
    pub async fn own_statement(
        &self,
        caller: &Caller,
        days: DayRange,
    ) -> Result<StatementView, Problem> {
        self.books.statement(caller, caller.user, caller.role, days).await
    }

    /// Anybody's, for an admin.
    pub async fn statement_of(
        &self,
        admin: &Caller,
        user: UserId,
        days: DayRange,
    ) -> Result<StatementView, Problem> {
        let role = self.identity.role_of(user).await?.ok_or_else(Problem::not_found)?;
        self.note_look(admin, "wallet.statement", AuditObject::new("wallet", user)).await?;
        self.books.statement(admin, user, role, days).await
    }
}
