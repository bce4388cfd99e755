//! A look at a day, from its first statement to its findings.

use base::{BusinessDay, Caller, Cursor, Fault, Problem};
use metrics::{counter, gauge, histogram};
use storage::{Tx, Who};
use tracing::{error, info, warn};
use uuid::Uuid;

use super::found::store::{self as kept, RunEnd};
use super::model::{
    AskedBy, Captured, Compared, Discrepancy, FindingFilter, FindingKind, GatewaySide, Resolution,
};
use super::rules::compare;
use super::store;
use super::wire::{FindingView, FindingsPage, OpenFindings, RunView, RunsPage};
use crate::Books;

/// Days that are made up for when the nightly look was missed.
const CATCH_UP_DAYS: u16 = 31;

impl Books {
    /// The closed days that the nightly look has not seen, oldest first; the first time, yesterday.
    pub async fn days_to_reconcile(&self) -> Result<Vec<BusinessDay>, Fault> {
        let yesterday = self.today().before();
        let oldest = yesterday.back(CATCH_UP_DAYS - 1);
        let mut day = match kept::last_done(&self.0.db).await? {
            Some(last) => last.next().max(oldest),
            None => yesterday,
        };
        let mut days = Vec::new();
        while day <= yesterday {
            days.push(day);
            day = day.next();
        }
        Ok(days)
    }

    /// Compares the gateway's list of captures of `day` with our deposits.
    pub async fn compare_captures(
        &self,
        day: BusinessDay,
        listed: &[Captured],
    ) -> Result<Compared, Fault> {
        Ok(compare(listed, &store::ours(&self.0.slow, day, listed).await?))
    }

    /// Looks at a day and stores what does not fit. What could not be looked at is the run's
    /// failure; what was found beside it stands all the same.
    pub async fn reconcile(
        &self,
        day: BusinessDay,
        asked_by: AskedBy,
        gateway: GatewaySide,
    ) -> Result<RunView, Fault> {
        let (id, started) = (Uuid::now_v7(), self.0.clock.now());
        let mut tx = self.0.db.begin(&Who::System).await?;
        kept::run_add_in_tx(&mut tx, id, day, asked_by, started).await?;
        tx.commit().await?;

        let (mut found, mut failures) = self.look(day).await;
        match &gateway {
            GatewaySide::NotSetUp => {}
            GatewaySide::Unreadable(why) => failures.push(format!("the gateway's list: {why}")),
            GatewaySide::Compared(faults) => found.extend(faults.iter().cloned()),
        }
        let now = self.0.clock.now();
        let failure = (!failures.is_empty()).then(|| failures.join("; "));
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let mut tx = self.0.db.begin(&Who::System).await?;
        let opened = kept::findings_add_in_tx(&mut tx, day, &found, now).await?;
        let end = RunEnd {
            gateway: gateway.name(),
            faults: count(found.len()),
            opened: count(opened.len()),
            failure: failure.as_deref(),
        };
        let run = kept::run_end_in_tx(&mut tx, id, &end, now).await?;
        let open = kept::open_in_tx(&mut tx).await?;
        tx.commit().await?;

        report_open(&open);
        histogram!("smartline_reconciliation_seconds").record(now.after(started).as_secs_f64());
        tell(&run, &opened);
        Ok(run)
    }

    /// Every look in turn, each alone: what one finds, or fails at, is nothing to the next.
    async fn look(&self, day: BusinessDay) -> (Vec<Discrepancy>, Vec<String>) {
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for (kind, sql) in store::LOOKS {
            match store::look(&self.0.slow, kind, sql, day).await {
                Ok(faults) => found.extend(faults),
                Err(fault) => failures.push(format!("{kind}: {fault}")),
            }
        }
        match store::look_at_balances(&self.0.slow).await {
            Ok(faults) => found.extend(faults),
            Err(fault) => failures.push(format!("balances: {fault}")),
        }
        (found, failures)
    }

    /// Looks, newest first, with the number of findings that are open.
    pub async fn runs(
        &self,
        admin: &Caller,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<RunsPage, Fault> {
        let mut tx = self.0.db.begin(&Who::Caller(*admin)).await?;
        let open = kept::open_in_tx(&mut tx).await?;
        let mut runs = kept::runs_in_tx(&mut tx, after, limit + 1).await?;
        let more = runs.len() > limit as usize;
        runs.truncate(limit as usize);
        let last = runs.last().filter(|_| more);
        let next_cursor = last.map(|run| Cursor { at: run.started_at, id: run.id }.to_string());
        Ok(RunsPage { open, runs, next_cursor })
    }

    /// Findings, the newest opened first.
    pub async fn findings(
        &self,
        admin: &Caller,
        filter: FindingFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<FindingsPage, Fault> {
        let mut tx = self.0.db.begin(&Who::Caller(*admin)).await?;
        let mut findings = kept::findings_in_tx(&mut tx, filter, after, limit + 1).await?;
        let more = findings.len() > limit as usize;
        findings.truncate(limit as usize);
        let last = findings.last().filter(|_| more);
        let next_cursor = last.map(|last| Cursor { at: last.opened_at, id: last.id }.to_string());
        Ok(FindingsPage { findings, next_cursor })
    }

    /// Open findings whose newest look was that at `day`, for the terminal.
    pub async fn findings_of_day(&self, day: BusinessDay) -> Result<Vec<FindingView>, Fault> {
        let mut tx = self.0.db.begin(&Who::System).await?;
        kept::open_of_day_in_tx(&mut tx, day).await
    }

    pub async fn finding_in_tx(&self, tx: &mut Tx, id: Uuid) -> Result<Option<FindingView>, Fault> {
        kept::finding_in_tx(tx, id).await
    }

    /// Closes an open finding in the caller's transaction, which may also say so in the audit log.
    pub async fn resolve_in_tx(
        &self,
        tx: &mut Tx,
        admin: &Caller,
        id: Uuid,
        resolution: Resolution,
        reason: &str,
    ) -> Result<FindingView, Problem> {
        let now = self.0.clock.now();
        let resolved = kept::resolve_in_tx(tx, admin, id, resolution, reason, now).await?;
        resolved.ok_or_else(Problem::not_found)
    }

    /// Brings the gauges of open findings up to date.
    pub async fn report_open(&self) -> Result<(), Fault> {
        let mut tx = self.0.db.begin(&Who::System).await?;
        report_open(&kept::open_in_tx(&mut tx).await?);
        Ok(())
    }
}

/// Every kind has its line, also one without findings: an alert needs the zero.
fn report_open(open: &[OpenFindings]) {
    for kind in FindingKind::ALL {
        let count = open.iter().find(|open| open.kind == *kind).map_or(0, |open| open.count);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        gauge!("smartline_reconciliation_open_findings", "kind" => kind.name()).set(count);
    }
}

fn tell(run: &RunView, opened: &[FindingView]) {
    for finding in opened {
        let FindingView { id, kind, subject, day, expected, actual, .. } = finding;
        error!(
            finding.id = %id, kind = kind.name(), subject, day, expected, actual,
            "the books do not fit: {kind}, {subject}"
        );
    }
    let result = match (&run.failure, run.faults) {
        (Some(_), _) => "failed",
        (None, Some(0)) => "clean",
        (None, _) => "faults",
    };
    counter!("smartline_reconciliation_runs_total", "result" => result).increment(1);
    match &run.failure {
        Some(why) => warn!(day = run.day, "a day could not be looked at whole: {why}"),
        None => {
            info!(day = run.day, faults = run.faults, opened = run.opened, "a day was looked at");
        }
    }
}
