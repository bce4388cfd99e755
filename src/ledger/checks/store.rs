//! The invariants as SQL: each query answers a line per breach, at most five.

use base::Fault;
use storage::Tx;

use crate::model::Finding;

pub(super) async fn findings(tx: &mut Tx) -> Result<Vec<Finding>, Fault> {
    let mut findings = Vec::new();
    for (invariant, query) in CHECKS {
        let details: Vec<String> =
            sqlx::query_scalar(query).fetch_all(tx.conn()).await.map_err(storage::fault)?;
        findings.extend(details.into_iter().map(|detail| Finding { invariant, detail }));
    }
    Ok(findings)
}

const CHECKS: [(&str, &str); 15] = [
    (
        "M1",
        "SELECT format('journal %s: legs %s of %s, sum %s',
                       coalesce(j.id, e.journal_id), e.legs, j.legs, e.total)
         FROM ledger_journal j
         FULL JOIN (SELECT journal_id, count(*) AS legs, sum(amount) AS total
                    FROM ledger_entry GROUP BY journal_id) e ON e.journal_id = j.id
         WHERE e.total IS DISTINCT FROM 0 OR e.legs IS DISTINCT FROM j.legs LIMIT 5",
    ),
    (
        "M2",
        "SELECT format('trip %s: %s, %s, settled by %s',
                       coalesce(t.id, j.reference), t.status, t.payment_status, j.id)
         FROM (SELECT * FROM trips
               WHERE status = 'completed' AND payment_status = 'paid' AND final_price > 0) t
         FULL JOIN (SELECT * FROM ledger_journal WHERE kind = 'settle') j ON j.reference = t.id
         WHERE t.id IS NULL
            OR (j.id IS NULL AND (t.commission_bp > 0 OR t.payment_method <> 'cash')) LIMIT 5",
    ),
    (
        "M3",
        "SELECT format('account %s of %s has %s', account, owner, balance) FROM ledger_balance
         WHERE (account IN (1, 2, 4) AND balance < 0) OR (account = 3 AND balance > 0) LIMIT 5",
    ),
    // Past the limit no new cash trips. Who was asked just before may still accept.
    (
        "M4",
        "SELECT format('driver %s is past his limit since %s and took cash trip %s at %s',
                       c.owner, c.at, t.id, t.accepted_at)
         FROM (SELECT b.owner,
                      (SELECT e.created_at FROM ledger_entry e
                       WHERE e.account = 10 AND e.owner = b.owner AND e.account_seq = 1 + coalesce(
                         (SELECT max(g.account_seq) FROM ledger_entry g
                          WHERE g.account = 10 AND g.owner = b.owner
                            AND g.account_seq IS NOT NULL AND g.balance_after >= b.floor), 0)) AS at
               FROM ledger_balance b WHERE b.account = 10 AND b.balance < b.floor) c
         JOIN trips t ON t.driver_id = c.owner AND t.payment_method = 'cash'
           AND t.accepted_at > c.at + interval '1 minute' LIMIT 5",
    ),
    (
        "M5",
        "SELECT format('account %s of %s: stored %s at %s, entries %s at %s',
                       coalesce(b.account, e.account), coalesce(b.owner, e.owner),
                       b.balance, b.last_seq, e.total, e.entries)
         FROM ledger_balance b
         FULL JOIN (SELECT account, owner, sum(amount) AS total, count(*) AS entries,
                           max(account_seq) AS last
                    FROM ledger_entry WHERE account_seq IS NOT NULL GROUP BY account, owner) e
           ON e.account = b.account AND e.owner = b.owner
         WHERE b.balance IS DISTINCT FROM coalesce(e.total, 0)
            OR b.last_seq IS DISTINCT FROM coalesce(e.entries, 0)
            OR e.last IS DISTINCT FROM e.entries LIMIT 5",
    ),
    (
        "M5",
        "SELECT format('account %s of %s: entry %s leaves %s',
                       account, owner, account_seq, balance_after)
         FROM (SELECT *, sum(amount) OVER
                      (PARTITION BY account, owner ORDER BY account_seq) AS total
               FROM ledger_entry WHERE account_seq IS NOT NULL) e
         WHERE balance_after <> total LIMIT 5",
    ),
    (
        "M7",
        "SELECT format('rider %s: trips hold %s, account %s',
                       coalesce(t.rider_id, b.owner), t.held, b.balance)
         FROM (SELECT rider_id, sum(hold) AS held FROM trips
               WHERE status IN ('scheduled', 'requested', 'accepted', 'arrived', 'started')
               GROUP BY rider_id) t
         FULL JOIN (SELECT owner, balance FROM ledger_balance WHERE account = 2) b
           ON b.owner = t.rider_id
         WHERE coalesce(t.held, 0) <> coalesce(b.balance, 0) LIMIT 5",
    ),
    // A withdrawal is set aside until it is rejected or sent, and on its way until it ends.
    (
        "M7",
        "SELECT format('withdrawal %s of %s: set aside %s, on its way %s',
                       w.reference, w.asked, w.held, w.sent)
         FROM (SELECT j.reference, array_agg(DISTINCT j.kind) AS kinds,
                      coalesce(max(e.amount) FILTER (WHERE e.account = 11), 0) AS asked,
                      coalesce(sum(e.amount) FILTER (WHERE e.account = 11), 0) AS held,
                      coalesce(sum(e.amount) FILTER (WHERE e.account = 26), 0) AS sent
               FROM ledger_journal j JOIN ledger_entry e ON e.journal_id = j.id
               WHERE j.kind LIKE 'withdraw%' GROUP BY j.reference) w
         WHERE w.held <> CASE WHEN w.kinds && ARRAY['withdraw_rejected', 'withdraw_sent'] THEN 0
                              ELSE w.asked END
            OR w.sent <> CASE WHEN 'withdraw_sent' <> ALL (w.kinds)
                                OR w.kinds && ARRAY['withdraw_confirmed', 'withdraw_failed'] THEN 0
                              ELSE w.asked END LIMIT 5",
    ),
    // Restored elsewhere, the watermark says nothing until the next roll-up.
    (
        "M6",
        "SELECT format('account %s: rolled up %s of %s entries, there are %s of %s',
                       coalesce(r.account, e.account), r.balance, r.entries, e.total, e.entries)
         FROM (SELECT r.* FROM ledger_rollup r, ledger_watermark w
               WHERE w.up_to <= pg_snapshot_xmax(pg_current_snapshot())::text::bigint) r
         FULL JOIN (SELECT e.account, sum(e.amount) AS total, count(*) AS entries
                    FROM ledger_entry e, ledger_watermark w
                    WHERE e.account_seq IS NULL AND e.xid < w.up_to
                      AND w.up_to <= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
                    GROUP BY e.account) e ON e.account = r.account
         WHERE r.balance IS DISTINCT FROM e.total OR r.entries IS DISTINCT FROM e.entries LIMIT 5",
    ),
    (
        "M8",
        "SELECT format('trip %s: paid %s, given back %s', r.parent, p.paid, r.back)
         FROM (SELECT parent, -sum(paid) AS back FROM ledger_journal
               WHERE paid < 0 GROUP BY parent) r
         CROSS JOIN LATERAL (
           SELECT coalesce(sum(coalesce(j.paid, CASE j.kind WHEN 'settle' THEN t.final_price
                                                            ELSE t.cancel_fee END)), 0) AS paid
           FROM ledger_journal j LEFT JOIN trips t ON t.id = j.reference
           WHERE j.kind IN ('settle', 'cancel_fee') AND j.reference = r.parent) p
         WHERE r.back > p.paid LIMIT 5",
    ),
    (
        "M8",
        "SELECT format('journal %s says %s, its legs %s', j.id, j.paid, -e.given)
         FROM ledger_journal j
         JOIN (SELECT journal_id,
                      coalesce(sum(amount) FILTER (WHERE account IN (1, 2, 3, 23)), 0) AS given
               FROM ledger_entry GROUP BY journal_id) e ON e.journal_id = j.id
         WHERE e.given <> -j.paid AND (j.paid < 0 OR e.given <> 0) LIMIT 5",
    ),
    (
        "M9",
        "SELECT format('trigger %s of %s is off', want, rel)
         FROM (VALUES ('ledger_journal_immutable', 'ledger_journal'),
                      ('ledger_entry_immutable', 'ledger_entry'),
                      ('ledger_entry_balanced', 'ledger_entry'),
                      ('ledger_refund_fits', 'ledger_journal'),
                      ('ledger_seal_immutable', 'ledger_seal')) v (want, rel)
         WHERE NOT EXISTS (SELECT 1 FROM pg_trigger t
           WHERE t.tgname = v.want AND t.tgrelid = v.rel::regclass AND t.tgenabled IN ('O', 'A'))",
    ),
    (
        "M9",
        "SELECT format('journal %s is not what was posted', j.id)
         FROM ledger_journal j
         JOIN (SELECT journal_id,
                      string_agg(format('%s:%s:%s', account, owner, amount), ','
                                 ORDER BY account, owner) AS legs,
                      min(created_at) AS first, max(created_at) AS last
               FROM ledger_entry GROUP BY journal_id) e ON e.journal_id = j.id
         WHERE e.first <> j.created_at OR e.last <> j.created_at
            OR j.fingerprint <> ledger_fingerprint(j.kind, j.reference, j.mode, j.note, e.legs,
                                                   j.parent, j.paid)
         LIMIT 5",
    ),
    (
        "M9",
        "SELECT format('day %s is not what was sealed', s.day)
         FROM ledger_seal s LEFT JOIN ledger_seal p ON p.day = s.day - 1
         CROSS JOIN LATERAL ledger_day(s.begins_at, s.ends_at, p.hash) d
         WHERE (s.journals, s.entries, s.volume, s.hash)
             IS DISTINCT FROM (d.r_journals, d.r_entries, d.r_volume, d.r_hash) LIMIT 5",
    ),
    (
        "M9",
        "SELECT format('of the days from %s to %s only %s are sealed', s.first, s.last, s.days)
         FROM (SELECT min(day) AS first, max(day) AS last, count(*) AS days FROM ledger_seal) s
         WHERE s.last - s.first + 1 <> s.days",
    ),
];
