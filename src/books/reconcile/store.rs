//! All SQL that looks: at a day, by its first moment and the first after it, or at what is now.

use std::collections::HashSet;

use base::{BusinessDay, Fault, Piasters};
use sqlx::Row;
use sqlx::postgres::PgRow;
use storage::{Db, Tx, Who, at, fault};
use uuid::Uuid;

use super::model::{Captured, Discrepancy, FindingKind, PaidDeposit, PaidKind};
use super::rules::{Balance, Ours};

/// Faults of a kind that one look takes; more are no news.
const FAULTS_MAX: usize = 500;
/// Accounts in one statement.
const ACCOUNTS: i64 = 10_000;

/// Opens a transaction that reads only, for statements that may take long but take little else.
const READING: &str = "SET TRANSACTION READ ONLY; SET LOCAL max_parallel_workers_per_gather = 0; \
                       SET LOCAL jit = off; SET LOCAL work_mem = '32MB'";

/// Account, owner, stored balance and number, and what the entries say of them.
type BalanceRow = (i16, Uuid, i64, i64, Option<i64>, Option<i64>, Option<i64>);

/// Each answers subject, expected and actual of what does not fit between $1 and $2; $3 bounds it.
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
// a balance is the sum of its entries. Within the day neighbours are found by sorting, and only an
// account's first entry of the day is looked up in the days before.
const CHAIN: &str = "\
SELECT format('%s:%s', k.name, e.owner),
       format('entry %s leaves %s', e.account_seq, coalesce(p.left_before, 0) + e.amount),
       CASE WHEN NOT e.has_balance THEN 'there is no balance'
            WHEN p.seq_before IS DISTINCT FROM e.account_seq - 1
            THEN format('entry %s is missing', e.account_seq - 1)
            ELSE format('it says %s', e.balance_after) END
FROM (
  SELECT d.account, d.owner, d.account_seq, d.amount, d.balance_after,
         lag(d.account_seq) OVER w AS day_seq, lag(d.balance_after) OVER w AS day_left,
         EXISTS (SELECT FROM ledger_balance b
                 WHERE b.account = d.account AND b.owner = d.owner) AS has_balance
  FROM ledger_entry d
  WHERE d.account_seq IS NOT NULL AND d.created_at >= $1 AND d.created_at < $2
  WINDOW w AS (PARTITION BY d.account, d.owner ORDER BY d.account_seq)) e
JOIN ledger_account_kind k ON k.id = e.account
LEFT JOIN LATERAL (
  SELECT l.account_seq, l.balance_after FROM ledger_entry l
  WHERE e.day_seq IS NULL AND e.account_seq > 1 AND l.account_seq IS NOT NULL
    AND l.account = e.account AND l.owner = e.owner AND l.account_seq = e.account_seq - 1
  LIMIT 1) l ON true
CROSS JOIN LATERAL (SELECT coalesce(e.day_seq, l.account_seq, 0) AS seq_before,
                           coalesce(e.day_left, l.balance_after) AS left_before) p
WHERE NOT e.has_balance OR p.seq_before <> e.account_seq - 1
   OR e.balance_after <> coalesce(p.left_before, 0) + e.amount LIMIT $3";

// A fare of which no piaster is the company's moves nothing when it was paid in cash. A card that
// is being asked may still pay.
const NOT_SETTLED: &str = "\
SELECT format('trip:%s', t.id), format('a settlement of %s', t.final_price), 'none'
FROM trips t LEFT JOIN ledger_journal j ON j.kind = 'settle' AND j.reference = t.id
WHERE t.ended_at >= $1 AND t.ended_at < $2 AND t.status = 'completed' AND j.id IS NULL
  AND (t.payment_status = 'paid' OR (t.payment_status = 'pending' AND NOT EXISTS (
         SELECT FROM card_authorisations a
         WHERE a.trip_id = t.id AND a.status IN ('bound', 'capturing'))))
  AND t.final_price > 0
  AND (t.payment_method <> 'cash' OR round(t.final_price * t.commission_bp / 10000.0) > 0)
UNION ALL
SELECT format('trip:%s', t.id), format('a fee of %s', t.cancel_fee), 'none'
FROM trips t LEFT JOIN ledger_journal j ON j.kind = 'cancel_fee' AND j.reference = t.id
WHERE t.ended_at >= $1 AND t.ended_at < $2 AND t.status = 'cancelled' AND t.cancel_fee > 0
  AND j.id IS NULL
  AND NOT EXISTS (SELECT FROM card_authorisations a
                  WHERE a.trip_id = t.id AND a.status IN ('bound', 'capturing'))
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
WHERE d.paid_at >= $1 AND d.paid_at < $2 AND e.amount IS DISTINCT FROM -d.amount
UNION ALL
SELECT format('card:%s', a.id), format('a journal of %s', a.captured),
       coalesce((-e.amount)::text, 'none')
FROM card_authorisations a
LEFT JOIN ledger_journal j
  ON (a.status = 'charged' AND j.kind = 'deposit' AND j.reference = a.id)
  OR (a.status = 'captured' AND j.kind IN ('settle', 'cancel_fee') AND j.reference = a.trip_id)
LEFT JOIN ledger_entry e ON e.journal_id = j.id AND e.account = 23
WHERE a.captured IS NOT NULL AND a.ended_at >= $1 AND a.ended_at < $2
  AND e.amount IS DISTINCT FROM -a.captured LIMIT $3";

const DEPOSITED_FOR_NOTHING: &str = "\
SELECT format('deposit:%s', j.reference), 'a paid deposit', coalesce(d.status, 'none')
FROM ledger_journal j LEFT JOIN deposits d ON d.id = j.reference
LEFT JOIN card_authorisations a ON a.id = j.reference AND a.status = 'charged'
WHERE j.kind = 'deposit' AND j.created_at >= $1 AND j.created_at < $2
  AND d.status IS DISTINCT FROM 'paid' AND a.id IS NULL LIMIT $3";

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
       -- Below his floor a driver comes by what was true already (cash in his hand, a refund of his
       -- fare): by all of it since he was last above, and by nothing else.
       CASE WHEN p.account = 10 AND p.balance < p.floor THEN p.floor + coalesce(
         (SELECT sum(d.amount) FROM ledger_entry d JOIN ledger_journal j ON j.id = d.journal_id
          WHERE d.account = 10 AND d.owner = p.owner AND d.account_seq IS NOT NULL
            AND d.amount < 0 AND j.mode = 'obligation' AND d.account_seq > coalesce(
              (SELECT max(g.account_seq) FROM ledger_entry g
               WHERE g.account = 10 AND g.owner = p.owner AND g.account_seq IS NOT NULL
                 AND g.balance_after >= p.floor), 0)), 0)::bigint END
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
SELECT 'dep' AS kind, id, amount, attempt, transaction, status = 'paid' AS is_paid,
       coalesce(paid_at >= $3 AND paid_at < $4, false) AS of_the_day
FROM deposits
WHERE id = ANY ($1) OR transaction = ANY ($2) OR (paid_at >= $3 AND paid_at < $4)
UNION ALL
SELECT 'card', id, coalesce(captured, amount), attempt, capture, captured IS NOT NULL,
       coalesce(captured IS NOT NULL AND ended_at >= $3 AND ended_at < $4, false)
FROM card_authorisations
WHERE id = ANY ($1) OR capture = ANY ($2)
   OR (captured IS NOT NULL AND ended_at >= $3 AND ended_at < $4)";

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
    let deposits: Vec<Uuid> = listed.iter().filter_map(|capture| capture.of).collect();
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
        kind: PaidKind::parse(row.try_get("kind")?)
            .ok_or_else(|| sqlx::Error::Decode("neither a deposit nor a card".into()))?,
        id: row.try_get("id")?,
        amount: Piasters(row.try_get("amount")?),
        attempt: row.try_get("attempt")?,
        transaction: row.try_get("transaction")?,
        is_paid: row.try_get("is_paid")?,
    })
}
