//! All SQL of reconciliation. What looks at a day takes its first moment and the first after it.

use std::collections::HashSet;

use base::{Caller, Cursor, Fault, Millis, Piasters, UserId};
use sqlx::Row;
use sqlx::postgres::PgRow;
use storage::{Db, Tx, Who, at, fault, millis};
use uuid::Uuid;

use super::model::{
    AskedBy, Captured, Discrepancy, FindingFilter, FindingKind, FindingStatus, PaidDeposit,
    Resolution,
};
use super::rules::{Balance, Ours};
use super::wire::{FindingView, OpenFindings, RunView};
use base::BusinessDay;

/// Faults of a kind that one look takes; more are no news.
const FAULTS_MAX: usize = 500;
/// Accounts in one statement.
const ACCOUNTS: i64 = 10_000;

/// Opens a transaction that reads only, for statements that may take long but take little else.
const READING: &str = "SET TRANSACTION READ ONLY; SET LOCAL max_parallel_workers_per_gather = 0; \
                       SET LOCAL jit = off";

/// Each answers subject, expected and actual of what does not fit between $1 and $2; $3 bounds it.
/// Account, owner, stored balance and number, and what the entries say of them.
type BalanceRow = (i16, Uuid, i64, i64, Option<i64>, Option<i64>, Option<i64>);

pub(crate) const LOOKS: [(FindingKind, &str); 13] = [
    (FindingKind::UnbalancedJournal, UNBALANCED),
    (FindingKind::ChangedJournal, CHANGED),
    (FindingKind::BrokenChain, CHAIN),
    (FindingKind::MissingSettlement, NOT_SETTLED),
    (FindingKind::UnbackedSettlement, SETTLED_FOR_NOTHING),
    (FindingKind::WrongSettlement, SETTLED_WRONG),
    (FindingKind::WrongHold, HOLDS),
    (FindingKind::ExcessRefund, REFUNDS),
    (FindingKind::MissingDeposit, DEPOSITS),
    (FindingKind::UnbackedDeposit, DEPOSITED_FOR_NOTHING),
    (FindingKind::MissingWithdrawal, WITHDRAWALS),
    (FindingKind::UnbackedWithdrawal, WITHDRAWN_FOR_NOTHING),
    (FindingKind::UnguardedLedger, GUARDS),
];

// Debits are credits: journals and entries of the day by themselves, so that either may be missing.
const UNBALANCED: &str = "\
SELECT format('journal:%s', coalesce(j.id, e.journal_id)),
       format('%s legs that sum to 0', coalesce(j.legs, 0)),
       format('%s legs that sum to %s', coalesce(e.legs, 0), coalesce(e.total, 0))
FROM (SELECT id, legs FROM ledger_journal WHERE created_at >= $1 AND created_at < $2) j
FULL JOIN (SELECT journal_id, count(*) AS legs, sum(amount) AS total FROM ledger_entry
           WHERE created_at >= $1 AND created_at < $2 GROUP BY journal_id) e ON e.journal_id = j.id
WHERE e.total IS DISTINCT FROM 0 OR e.legs IS DISTINCT FROM j.legs LIMIT $3";

// One that doesn't balance is found as such.
const CHANGED: &str = "\
SELECT format('journal:%s', j.id), encode(j.fingerprint, 'hex'), encode(f.print, 'hex')
FROM ledger_journal j
JOIN (SELECT journal_id, count(*) AS legs, sum(amount) AS total,
             string_agg(format('%s:%s:%s', account, owner, amount), ','
                        ORDER BY account, owner) AS body
      FROM ledger_entry WHERE created_at >= $1 AND created_at < $2 GROUP BY journal_id) e
  ON e.journal_id = j.id AND e.legs = j.legs AND e.total = 0
CROSS JOIN LATERAL (SELECT ledger_fingerprint(j.kind, j.reference, j.mode, j.note, e.body,
                                              j.parent, j.paid) AS print) f
WHERE j.created_at >= $1 AND j.created_at < $2 AND j.fingerprint <> f.print LIMIT $3";

// Each entry follows the one before it, without a gap; with the balances' own look it follows that
// a balance is the sum of its entries.
const CHAIN: &str = "\
SELECT format('%s:%s', k.name, e.owner),
       format('entry %s leaves %s', e.account_seq, coalesce(p.balance_after, 0) + e.amount),
       CASE WHEN b.owner IS NULL THEN 'there is no balance'
            WHEN e.account_seq > 1 AND p.account_seq IS NULL
            THEN format('entry %s is missing', e.account_seq - 1)
            ELSE format('it says %s', e.balance_after) END
FROM ledger_entry e
JOIN ledger_account_kind k ON k.id = e.account
LEFT JOIN ledger_entry p
  ON p.account = e.account AND p.owner = e.owner AND p.account_seq = e.account_seq - 1
LEFT JOIN ledger_balance b ON b.account = e.account AND b.owner = e.owner
WHERE e.account_seq IS NOT NULL AND e.created_at >= $1 AND e.created_at < $2
  AND (b.owner IS NULL OR (e.account_seq > 1 AND p.account_seq IS NULL)
       OR e.balance_after <> coalesce(p.balance_after, 0) + e.amount) LIMIT $3";

// A fare of which no piaster is the company's moves nothing when it was paid in cash.
const NOT_SETTLED: &str = "\
SELECT format('trip:%s', t.id), format('a settlement of %s', t.final_price), 'none'
FROM trips t LEFT JOIN ledger_journal j ON j.kind = 'settle' AND j.reference = t.id
WHERE t.ended_at >= $1 AND t.ended_at < $2 AND t.status = 'completed' AND j.id IS NULL
  AND (t.payment_status = 'paid' OR (t.payment_status = 'pending' AND t.payment_method <> 'card'))
  AND t.final_price > 0
  AND (t.payment_method <> 'cash' OR round(t.final_price * t.commission_bp / 10000.0) > 0)
UNION ALL
SELECT format('trip:%s', t.id), format('a fee of %s', t.cancel_fee), 'none'
FROM trips t LEFT JOIN ledger_journal j ON j.kind = 'cancel_fee' AND j.reference = t.id
WHERE t.ended_at >= $1 AND t.ended_at < $2 AND t.status = 'cancelled' AND t.cancel_fee > 0
  AND j.id IS NULL
LIMIT $3";

const SETTLED_FOR_NOTHING: &str = "\
SELECT format('trip:%s', j.reference), 'a trip that is completed and paid',
       coalesce(format('%s, %s', t.status, t.payment_status), 'no such trip')
FROM ledger_journal j LEFT JOIN trips t ON t.id = j.reference
WHERE j.kind = 'settle' AND j.created_at >= $1 AND j.created_at < $2
  AND (t.status IS DISTINCT FROM 'completed' OR t.payment_status IS DISTINCT FROM 'paid')
LIMIT $3";

// Commission and tax together are the rate's share of the fare, to the piaster that rounding takes.
const SETTLED_WRONG: &str = "\
SELECT format('trip:%s', t.id), format('%s of 10000 of %s', t.commission_bp, t.final_price), s.share
FROM ledger_journal j JOIN trips t ON t.id = j.reference
CROSS JOIN LATERAL (SELECT coalesce(sum(e.amount), 0)::bigint::text AS share FROM ledger_entry e
                    WHERE e.journal_id = j.id AND e.account IN (20, 21)) s
WHERE j.kind = 'settle' AND j.created_at >= $1 AND j.created_at < $2
  AND t.status = 'completed' AND t.payment_status = 'paid'
  AND abs(s.share::bigint * 10000 - t.final_price * t.commission_bp) > 5000 LIMIT $3";

// As things stand now, whatever the day.
const HOLDS: &str = "\
SELECT format('rider_hold:%s', coalesce(t.rider_id, b.owner)),
       format('%s for trips', coalesce(t.held, 0)), coalesce(b.balance, 0)::text
FROM (SELECT rider_id, sum(hold) AS held FROM trips
      WHERE status IN ('scheduled', 'requested', 'accepted', 'arrived', 'started')
      GROUP BY rider_id) t
FULL JOIN (SELECT owner, balance FROM ledger_balance WHERE account = 2) b ON b.owner = t.rider_id
WHERE coalesce(t.held, 0) <> coalesce(b.balance, 0) AND ($1 <= $2)
UNION ALL
SELECT format('driver_hold:%s', coalesce(w.driver_id, b.owner)),
       format('%s for withdrawals', coalesce(w.held, 0)), coalesce(b.balance, 0)::text
FROM (SELECT driver_id, sum(amount) AS held FROM withdrawals
      WHERE status IN ('requested', 'approved') GROUP BY driver_id) w
FULL JOIN (SELECT owner, balance FROM ledger_balance WHERE account = 11) b ON b.owner = w.driver_id
WHERE coalesce(w.held, 0) <> coalesce(b.balance, 0)
LIMIT $3";

const REFUNDS: &str = "\
SELECT format('trip:%s', r.parent), format('at most %s', p.paid), b.back::text
FROM (SELECT DISTINCT parent FROM ledger_journal
      WHERE created_at >= $1 AND created_at < $2 AND paid < 0) r
CROSS JOIN LATERAL (
  SELECT coalesce(sum(coalesce(j.paid, CASE j.kind WHEN 'settle' THEN t.final_price
                                                   ELSE t.cancel_fee END)), 0) AS paid
  FROM ledger_journal j LEFT JOIN trips t ON t.id = j.reference
  WHERE j.kind IN ('settle', 'cancel_fee') AND j.reference = r.parent) p
CROSS JOIN LATERAL (SELECT -sum(j.paid) AS back FROM ledger_journal j
                    WHERE j.parent = r.parent AND j.paid < 0) b
WHERE b.back > p.paid LIMIT $3";

const DEPOSITS: &str = "\
SELECT format('deposit:%s', d.id), format('a journal of %s', d.amount),
       coalesce((-e.amount)::text, 'none')
FROM deposits d
LEFT JOIN ledger_journal j ON j.kind = 'deposit' AND j.reference = d.id
LEFT JOIN ledger_entry e ON e.journal_id = j.id AND e.account = 23
WHERE d.paid_at >= $1 AND d.paid_at < $2 AND e.amount IS DISTINCT FROM -d.amount LIMIT $3";

const DEPOSITED_FOR_NOTHING: &str = "\
SELECT format('deposit:%s', j.reference), 'a paid deposit', coalesce(d.status, 'none')
FROM ledger_journal j LEFT JOIN deposits d ON d.id = j.reference
WHERE j.kind = 'deposit' AND j.created_at >= $1 AND j.created_at < $2
  AND d.status IS DISTINCT FROM 'paid' LIMIT $3";

// A withdrawal of which anything happened on the day has exactly the steps of its status.
const WITHDRAWALS: &str = "\
SELECT format('withdrawal:%s', w.id), due.steps, coalesce(got.steps, 'none')
FROM withdrawals w
CROSS JOIN LATERAL (
  SELECT string_agg(format('%s %s', s.step, w.amount), ', ' ORDER BY s.step COLLATE \"C\") AS steps
  FROM unnest(CASE w.status
    WHEN 'rejected' THEN ARRAY['withdraw_requested', 'withdraw_rejected']
    WHEN 'sent' THEN ARRAY['withdraw_requested', 'withdraw_sent']
    WHEN 'confirmed' THEN ARRAY['withdraw_requested', 'withdraw_sent', 'withdraw_confirmed']
    WHEN 'failed' THEN ARRAY['withdraw_requested', 'withdraw_sent', 'withdraw_failed']
    ELSE ARRAY['withdraw_requested'] END) AS s (step)) due
LEFT JOIN LATERAL (
  SELECT string_agg(format('%s %s', j.kind, m.moved), ', ' ORDER BY j.kind COLLATE \"C\") AS steps
  FROM ledger_journal j
  CROSS JOIN LATERAL (SELECT sum(e.amount) AS moved FROM ledger_entry e
                      WHERE e.journal_id = j.id AND e.amount > 0) m
  WHERE j.kind IN ('withdraw_requested', 'withdraw_rejected', 'withdraw_sent',
                   'withdraw_confirmed', 'withdraw_failed') AND j.reference = w.id) got ON true
WHERE ((w.requested_at >= $1 AND w.requested_at < $2) OR (w.sent_at >= $1 AND w.sent_at < $2)
       OR (w.ended_at >= $1 AND w.ended_at < $2))
  AND got.steps IS DISTINCT FROM due.steps LIMIT $3";

const WITHDRAWN_FOR_NOTHING: &str = "\
SELECT DISTINCT format('withdrawal:%s', j.reference), 'a withdrawal', 'none'
FROM ledger_journal j LEFT JOIN withdrawals w ON w.id = j.reference
WHERE j.kind IN ('withdraw_requested', 'withdraw_rejected', 'withdraw_sent', 'withdraw_confirmed',
                 'withdraw_failed')
  AND j.created_at >= $1 AND j.created_at < $2 AND w.id IS NULL LIMIT $3";

const GUARDS: &str = "\
SELECT format('trigger:%s', g.guard), format('on, at %s', g.place), 'off'
FROM (VALUES ('ledger_journal_immutable', 'ledger_journal'),
             ('ledger_entry_immutable', 'ledger_entry'),
             ('ledger_entry_balanced', 'ledger_entry'),
             ('ledger_refund_fits', 'ledger_journal')) g (guard, place)
WHERE ($1 <= $2) AND NOT EXISTS (
  SELECT FROM pg_trigger t
  WHERE t.tgname = g.guard AND t.tgrelid = g.place::regclass AND t.tgenabled IN ('O', 'A'))
LIMIT $3";

// A page of accounts: those that don't fit, and the page's last.
pub(crate) const BALANCES: &str = "\
WITH page AS (
  SELECT b.account, b.owner, b.balance, b.last_seq, b.floor FROM ledger_balance b
  WHERE (b.account, b.owner) > ($1, $2) ORDER BY b.account, b.owner LIMIT $3),
last AS (SELECT account, owner FROM page ORDER BY account DESC, owner DESC LIMIT 1)
SELECT p.account, p.owner, p.balance, p.last_seq, e.balance_after, e.account_seq,
       CASE WHEN p.account = 10 AND p.balance < p.floor THEN p.floor + coalesce(
         (SELECT min(d.amount) FROM ledger_entry d
          WHERE d.account = 10 AND d.owner = p.owner AND d.account_seq IS NOT NULL), 0) END
FROM page p
LEFT JOIN LATERAL (
  SELECT e.balance_after, e.account_seq FROM ledger_entry e
  WHERE e.account = p.account AND e.owner = p.owner AND e.account_seq IS NOT NULL
  ORDER BY e.account_seq DESC LIMIT 1) e ON true
WHERE e.account_seq IS DISTINCT FROM nullif(p.last_seq, 0)
   OR coalesce(e.balance_after, 0) <> p.balance
   OR (p.account IN (1, 2, 4, 11) AND p.balance < 0) OR (p.account = 3 AND p.balance > 0)
   OR (p.account = 10 AND p.balance < p.floor)
   OR (p.account, p.owner) = (SELECT l.account, l.owner FROM last l)
ORDER BY p.account, p.owner";

const OURS: &str = "\
SELECT id, amount, attempt, transaction, status = 'paid' AS is_paid,
       coalesce(paid_at >= $3 AND paid_at < $4, false) AS of_the_day
FROM deposits
WHERE id = ANY ($1) OR transaction = ANY ($2) OR (paid_at >= $3 AND paid_at < $4)";

const KEPT: &str = "SELECT reference FROM ledger_journal \
                    WHERE kind = 'suspense' AND reference = ANY ($1)";

async fn reading(db: &Db) -> Result<Tx, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    sqlx::raw_sql(READING).execute(tx.conn()).await.map_err(fault)?;
    Ok(tx)
}

/// What one look finds on a day.
pub(crate) async fn look(
    db: &Db,
    kind: FindingKind,
    sql: &'static str,
    day: BusinessDay,
) -> Result<Vec<Discrepancy>, Fault> {
    let mut tx = reading(db).await?;
    let rows: Vec<(String, String, String)> = sqlx::query_as(sql)
        .bind(at(day.start()))
        .bind(at(day.end()))
        .bind(i64::try_from(FAULTS_MAX).expect("a small number"))
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    let found = |(subject, expected, actual)| Discrepancy { kind, subject, expected, actual };
    Ok(rows.into_iter().map(found).collect())
}

/// Every account whose stored balance is not what its entries left, or beyond its bounds.
pub(crate) async fn look_at_balances(db: &Db) -> Result<Vec<Discrepancy>, Fault> {
    let mut found = Vec::new();
    let mut after = (i16::MIN, Uuid::nil());
    loop {
        let mut tx = reading(db).await?;
        let rows: Vec<BalanceRow> = sqlx::query_as(BALANCES)
            .bind(after.0)
            .bind(after.1)
            .bind(ACCOUNTS)
            .fetch_all(tx.conn())
            .await
            .map_err(fault)?;
        drop(tx);
        let Some(last) = rows.last() else { return Ok(found) };
        after = (last.0, last.1);
        for (account, owner, stored, last_seq, left, newest_seq, lowest) in rows {
            let balance = Balance { account, owner, stored, last_seq, left, newest_seq, lowest };
            found.extend(balance.wrong());
        }
        if found.len() >= FAULTS_MAX {
            return Ok(found);
        }
    }
}

/// What is known here of the captures in the gateway's list of `day`.
pub(crate) async fn ours(db: &Db, day: BusinessDay, listed: &[Captured]) -> Result<Ours, Fault> {
    let deposits: Vec<Uuid> = listed.iter().filter_map(|capture| capture.deposit).collect();
    let payments: Vec<&str> = listed.iter().map(|capture| capture.transaction.as_str()).collect();
    let kept: Vec<Uuid> = listed.iter().map(|capture| capture.kept_as).collect();
    let mut tx = reading(db).await?;
    let rows = sqlx::query(OURS)
        .bind(deposits)
        .bind(payments)
        .bind(at(day.start()))
        .bind(at(day.end()))
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    let mut ours = Ours {
        deposits: Vec::with_capacity(rows.len()),
        of_the_day: HashSet::new(),
        kept: HashSet::new(),
    };
    for row in rows {
        let deposit = deposit(&row).map_err(fault)?;
        if row.try_get("of_the_day").map_err(fault)? {
            ours.of_the_day.insert(deposit.id);
        }
        ours.deposits.push(deposit);
    }
    let known: Vec<Uuid> =
        sqlx::query_scalar(KEPT).bind(kept).fetch_all(tx.conn()).await.map_err(fault)?;
    ours.kept.extend(known);
    Ok(ours)
}

fn deposit(row: &PgRow) -> Result<PaidDeposit, sqlx::Error> {
    Ok(PaidDeposit {
        id: row.try_get("id")?,
        amount: Piasters(row.try_get("amount")?),
        attempt: row.try_get("attempt")?,
        transaction: row.try_get("transaction")?,
        is_paid: row.try_get("is_paid")?,
    })
}

pub(crate) async fn run_add_in_tx(
    tx: &mut Tx,
    id: Uuid,
    day: BusinessDay,
    asked_by: AskedBy,
    now: Millis,
) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO reconciliation_runs (id, day, asked_by, started_at) \
         VALUES ($1, $2::date, $3, $4)",
    )
    .bind(id)
    .bind(day.to_string())
    .bind(asked_by.name())
    .bind(at(now))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// How a run ended.
pub(crate) struct RunEnd<'a> {
    pub gateway: &'static str,
    pub faults: i32,
    pub opened: i32,
    pub failure: Option<&'a str>,
}

pub(crate) async fn run_end_in_tx(
    tx: &mut Tx,
    id: Uuid,
    end: &RunEnd<'_>,
    now: Millis,
) -> Result<RunView, Fault> {
    let row = sqlx::query(
        "UPDATE reconciliation_runs \
         SET ended_at = $2, gateway = $3, faults = $4, opened = $5, failure = $6 WHERE id = $1 \
         RETURNING *, day::text AS day_text",
    )
    .bind(id)
    .bind(at(now))
    .bind(end.gateway)
    .bind(end.faults)
    .bind(end.opened)
    .bind(end.failure)
    .fetch_one(tx.conn())
    .await
    .map_err(fault)?;
    run(&row).map_err(fault)
}

/// The newest day that was looked at whole.
pub(crate) async fn last_done(db: &Db) -> Result<Option<BusinessDay>, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let day: Option<String> = sqlx::query_scalar(
        "SELECT max(day)::text FROM reconciliation_runs \
         WHERE ended_at IS NOT NULL AND failure IS NULL AND asked_by = 'schedule'",
    )
    .fetch_one(tx.conn())
    .await
    .map_err(fault)?;
    Ok(day.as_deref().and_then(BusinessDay::parse))
}

/// Stores what was found: each fault is one finding, however often it is found. Answers those that
/// were opened by it.
pub(crate) async fn findings_add_in_tx(
    tx: &mut Tx,
    day: BusinessDay,
    found: &[Discrepancy],
    now: Millis,
) -> Result<Vec<FindingView>, Fault> {
    let rows = sqlx::query(
        "INSERT INTO reconciliation_findings AS f \
           (id, kind, subject, day, expected, actual, first_seen, last_seen, opened_at) \
         SELECT n.id, n.kind, n.subject, $2::date, n.expected, n.actual, $1, $1, $1 \
         FROM (SELECT DISTINCT ON (kind, subject) * \
               FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[]) \
                 AS u (id, kind, subject, expected, actual) ORDER BY kind, subject) n \
         ON CONFLICT ON CONSTRAINT one_finding_per_fault DO UPDATE SET \
           day = excluded.day, expected = excluded.expected, actual = excluded.actual, \
           last_seen = excluded.last_seen, times = f.times + 1, \
           (status, opened_at, resolution, reason, resolved_by, resolved_at) = ( \
             SELECT CASE WHEN s.stays THEN f.status ELSE 'open' END, \
                    CASE WHEN s.stays THEN f.opened_at ELSE excluded.last_seen END, \
                    CASE WHEN s.stays THEN f.resolution END, CASE WHEN s.stays THEN f.reason END, \
                    CASE WHEN s.stays THEN f.resolved_by END, \
                    CASE WHEN s.stays THEN f.resolved_at END \
             FROM (SELECT f.status = 'open' OR (f.resolution = 'accepted' \
                     AND (f.expected, f.actual) = (excluded.expected, excluded.actual)) \
                     AS stays) s) \
         RETURNING f.*, f.day::text AS day_text",
    )
    .bind(at(now))
    .bind(day.to_string())
    .bind(found.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
    .bind(found.iter().map(|fault| fault.kind.name()).collect::<Vec<_>>())
    .bind(found.iter().map(|fault| short(&fault.subject)).collect::<Vec<_>>())
    .bind(found.iter().map(|fault| fault.expected.as_str()).collect::<Vec<_>>())
    .bind(found.iter().map(|fault| fault.actual.as_str()).collect::<Vec<_>>())
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    let all = rows.iter().map(|row| finding(row).map_err(fault));
    let all: Vec<FindingView> = all.collect::<Result<_, _>>()?;
    let is_new = |view: &FindingView| view.status == FindingStatus::Open && view.opened_at == now;
    Ok(all.into_iter().filter(is_new).collect())
}

/// A subject as it is stored: a stranger's transaction may be called anything.
fn short(subject: &str) -> String {
    subject.chars().take(200).collect()
}

/// Open findings by kind; kinds without any are left out.
pub(crate) async fn open_in_tx(tx: &mut Tx) -> Result<Vec<OpenFindings>, Fault> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT kind, count(*) FROM reconciliation_findings WHERE status = 'open' \
         GROUP BY kind ORDER BY kind",
    )
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    let open = |(kind, count): (String, i64)| {
        FindingKind::parse(&kind).map(|kind| OpenFindings { kind, count })
    };
    Ok(rows.into_iter().filter_map(open).collect())
}

pub(crate) async fn runs_in_tx(
    tx: &mut Tx,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Vec<RunView>, Fault> {
    let rows = sqlx::query(
        "SELECT *, day::text AS day_text FROM reconciliation_runs \
         WHERE $1::timestamptz IS NULL OR (started_at, id) < ($1, $2) \
         ORDER BY started_at DESC, id DESC LIMIT $3",
    )
    .bind(after.map(|cursor| at(cursor.at)))
    .bind(after.map(|cursor| cursor.id))
    .bind(i64::from(limit))
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    rows.iter().map(|row| run(row).map_err(fault)).collect()
}

pub(crate) async fn findings_in_tx(
    tx: &mut Tx,
    filter: FindingFilter,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Vec<FindingView>, Fault> {
    let rows = sqlx::query(
        "SELECT *, day::text AS day_text FROM reconciliation_findings \
         WHERE ($1::timestamptz IS NULL OR (opened_at, id) < ($1, $2)) \
           AND ($3::text IS NULL OR status = $3) AND ($4::text IS NULL OR kind = $4) \
         ORDER BY opened_at DESC, id DESC LIMIT $5",
    )
    .bind(after.map(|cursor| at(cursor.at)))
    .bind(after.map(|cursor| cursor.id))
    .bind(filter.status.map(FindingStatus::name))
    .bind(filter.kind.map(FindingKind::name))
    .bind(i64::from(limit))
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    rows.iter().map(|row| finding(row).map_err(fault)).collect()
}

/// Open findings whose newest look was that at `day`.
pub(crate) async fn open_of_day_in_tx(
    tx: &mut Tx,
    day: BusinessDay,
) -> Result<Vec<FindingView>, Fault> {
    let rows = sqlx::query(
        "SELECT *, day::text AS day_text FROM reconciliation_findings \
         WHERE status = 'open' AND day = $1::date ORDER BY kind, subject",
    )
    .bind(day.to_string())
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    rows.iter().map(|row| finding(row).map_err(fault)).collect()
}

/// Closes an open finding; `None` when there is none with this id.
pub(crate) async fn resolve_in_tx(
    tx: &mut Tx,
    admin: &Caller,
    id: Uuid,
    resolution: Resolution,
    reason: &str,
    now: Millis,
) -> Result<Option<FindingView>, Fault> {
    let row = sqlx::query(
        "UPDATE reconciliation_findings SET status = 'resolved', resolution = $2, reason = $3, \
           resolved_by = $4, resolved_at = $5 \
         WHERE id = $1 AND status = 'open' RETURNING *, day::text AS day_text",
    )
    .bind(id)
    .bind(resolution.name())
    .bind(reason)
    .bind(admin.user.0)
    .bind(at(now))
    .fetch_optional(tx.conn())
    .await
    .map_err(fault)?;
    row.map(|row| finding(&row).map_err(fault)).transpose()
}

fn moment(row: &PgRow, column: &str) -> Result<Millis, sqlx::Error> {
    row.try_get::<jiff_sqlx::Timestamp, _>(column).map(millis)
}

fn later(row: &PgRow, column: &str) -> Result<Option<Millis>, sqlx::Error> {
    Ok(row.try_get::<Option<jiff_sqlx::Timestamp>, _>(column)?.map(millis))
}

/// A column that holds one of the words of a check constraint.
fn word<T>(row: &PgRow, column: &str, parse: fn(&str) -> Option<T>) -> Result<T, sqlx::Error> {
    let text: &str = row.try_get(column)?;
    parse(text).ok_or_else(|| sqlx::Error::Decode(format!("{column} holds {text}").into()))
}

fn run(row: &PgRow) -> Result<RunView, sqlx::Error> {
    Ok(RunView {
        id: row.try_get("id")?,
        day: row.try_get("day_text")?,
        asked_by: word(row, "asked_by", AskedBy::parse)?,
        started_at: moment(row, "started_at")?,
        ended_at: later(row, "ended_at")?,
        gateway: row.try_get("gateway")?,
        faults: row.try_get("faults")?,
        opened: row.try_get("opened")?,
        failure: row.try_get("failure")?,
    })
}

fn finding(row: &PgRow) -> Result<FindingView, sqlx::Error> {
    let resolution: Option<&str> = row.try_get("resolution")?;
    Ok(FindingView {
        id: row.try_get("id")?,
        kind: word(row, "kind", FindingKind::parse)?,
        subject: row.try_get("subject")?,
        day: row.try_get("day_text")?,
        expected: row.try_get("expected")?,
        actual: row.try_get("actual")?,
        status: word(row, "status", FindingStatus::parse)?,
        first_seen: moment(row, "first_seen")?,
        last_seen: moment(row, "last_seen")?,
        times: row.try_get("times")?,
        opened_at: moment(row, "opened_at")?,
        resolution: resolution.and_then(Resolution::parse),
        reason: row.try_get("reason")?,
        resolved_by: row.try_get::<Option<Uuid>, _>("resolved_by")?.map(UserId),
        resolved_at: later(row, "resolved_at")?,
    })
}
