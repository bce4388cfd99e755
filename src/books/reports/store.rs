//! All SQL of reports. A day is its first moment ($1), the first after it ($2) and its name ($3).

use base::{CityId, Fault, Millis, PaymentMethod, Piasters, Tier};
use sqlx::Row;
use sqlx::postgres::PgRow;
use storage::{Tx, at, fault, millis};

use super::model::{CompanyDay, ReportAsked, TripDay};
use base::{BusinessDay, DayRange};

/// The program's work in the background: alone, without helpers.
const CALM: &str = "SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off";

// Money of a trip is in journals whose reference or parent it is. Accounts by number: 1 to 3 the
// rider's, 10 the driver's, 20 commission, 21 tax, 23 gateway, 28 promo.
macro_rules! trips_of_day {
    () => {
        "SELECT $3::date AS day, g.city_id, g.tier, g.method, sum(g.completed)::bigint AS completed, \
           sum(g.cancelled)::bigint AS cancelled, sum(g.no_drivers)::bigint AS no_drivers, \
           sum(g.fares)::bigint AS fares, sum(g.unpaid)::bigint AS unpaid, \
           sum(g.commission)::bigint AS commission, sum(g.vat)::bigint AS vat, \
           sum(g.promo)::bigint AS promo, sum(g.tips)::bigint AS tips, \
           sum(g.cancel_fees)::bigint AS cancel_fees, sum(g.refunds)::bigint AS refunds \
         FROM ( \
           SELECT t.city_id, t.tier, t.payment_method AS method, \
             count(*) FILTER (WHERE t.status = 'completed') AS completed, \
             count(*) FILTER (WHERE t.status = 'cancelled') AS cancelled, \
             count(*) FILTER (WHERE t.status = 'no_drivers') AS no_drivers, \
             coalesce(sum(t.final_price), 0) AS fares, \
             coalesce(sum(t.final_price) FILTER (WHERE t.payment_status = 'failed'), 0) AS unpaid, \
             0 AS commission, 0 AS vat, 0 AS promo, 0 AS tips, 0 AS cancel_fees, 0 AS refunds \
           FROM trips t WHERE t.ended_at >= $1 AND t.ended_at < $2 GROUP BY 1, 2, 3 \
           UNION ALL \
           SELECT t.city_id, t.tier, t.payment_method, 0, 0, 0, 0, 0, \
             coalesce(sum(e.amount) FILTER (WHERE e.account = 20), 0), \
             coalesce(sum(e.amount) FILTER (WHERE e.account = 21), 0), \
             coalesce(-sum(e.amount) FILTER (WHERE e.account = 28), 0), \
             coalesce(sum(e.amount) FILTER (WHERE j.kind = 'tip' AND e.account = 10), 0), \
             coalesce(-sum(e.amount) FILTER (WHERE j.kind = 'cancel_fee' \
               AND e.account IN (1, 2, 3)), 0), \
             coalesce(sum(e.amount) FILTER (WHERE j.kind IN ('refund', 'goodwill') \
               AND e.account IN (1, 2, 3, 23)), 0) \
           FROM ledger_journal j \
           JOIN ledger_entry e ON e.journal_id = j.id AND e.created_at >= $1 AND e.created_at < $2 \
           JOIN trips t ON t.id = coalesce(j.parent, j.reference) \
           WHERE j.created_at >= $1 AND j.created_at < $2 \
             AND j.kind IN ('settle', 'tip', 'cancel_fee', 'refund', 'goodwill') \
           GROUP BY 1, 2, 3) g \
         GROUP BY g.city_id, g.tier, g.method"
    };
}

// 11 drivers' holds, 23 gateway, 24 its fees, 26 on its way to the bank, 27 corrections, 30 debts
// given up.
macro_rules! company_of_day {
    () => {
        "SELECT $3::date AS day, \
           count(DISTINCT j.id) FILTER (WHERE j.kind = 'deposit') AS deposits, \
           coalesce(-sum(e.amount) FILTER \
             (WHERE j.kind = 'deposit' AND e.account = 23), 0)::bigint \
             AS deposits_paid, \
           count(DISTINCT j.id) FILTER (WHERE j.kind = 'withdraw_sent') AS withdrawals, \
           coalesce(sum(e.amount) FILTER (WHERE j.kind = 'withdraw_sent' AND e.account = 26), \
             0)::bigint AS withdrawals_paid, \
           coalesce(-sum(e.amount) FILTER (WHERE j.kind = 'withdraw_failed' AND e.account = 26), \
             0)::bigint AS withdrawals_back, \
           coalesce(-sum(e.amount) FILTER (WHERE e.account = 24), 0)::bigint AS gateway_fees, \
           coalesce(-sum(e.amount) FILTER (WHERE j.kind = 'adjustment' AND e.account = 27), \
             0)::bigint AS adjustments, \
           coalesce(-sum(e.amount) FILTER (WHERE j.kind = 'write_off' AND e.account = 30), \
             0)::bigint AS written_off \
         FROM ledger_journal j \
         JOIN ledger_entry e ON e.journal_id = j.id AND e.created_at >= $1 AND e.created_at < $2 \
         WHERE j.created_at >= $1 AND j.created_at < $2 \
           AND j.kind IN ('deposit', 'withdraw_sent', 'withdraw_failed', 'gateway_settled', \
                          'adjustment', 'write_off')"
    };
}

// What there is now, less what came after $1.
macro_rules! balances_at {
    () => {
        "SELECT coalesce(sum(x.balance) FILTER (WHERE x.account = 1), 0)::bigint AS riders_wallets, \
           coalesce(sum(x.balance) FILTER (WHERE x.account = 2), 0)::bigint AS riders_held, \
           coalesce(-sum(x.balance) FILTER (WHERE x.account = 3), 0)::bigint AS riders_due, \
           coalesce(sum(x.balance) FILTER (WHERE x.account = 10 AND x.balance > 0), 0)::bigint \
             AS drivers_credit, \
           coalesce(-sum(x.balance) FILTER (WHERE x.account = 10 AND x.balance < 0), 0)::bigint \
             AS drivers_debt, \
           coalesce(sum(x.balance) FILTER (WHERE x.account = 11), 0)::bigint AS drivers_held \
         FROM (SELECT b.account, b.balance - coalesce(l.later, 0) AS balance FROM ledger_balance b \
               LEFT JOIN (SELECT account, owner, sum(amount) AS later FROM ledger_entry \
                          WHERE account_seq IS NOT NULL AND created_at >= $1 \
                          GROUP BY account, owner) l \
                 ON l.account = b.account AND l.owner = b.owner) x"
    };
}

const TRIPS_TODAY: &str = concat!(
    "SELECT d.*, d.day::text AS day_text, c.name AS city_name FROM (",
    trips_of_day!(),
    ") d JOIN cities c ON c.id = d.city_id \
     WHERE ($4::smallint IS NULL OR d.city_id = $4) AND ($5::text IS NULL OR d.tier = $5) \
       AND ($6::text IS NULL OR d.method = $6) ORDER BY d.day, d.city_id, d.tier, d.method"
);

const TRIPS_KEEP: &str = concat!(
    "INSERT INTO report_trip_days (day, city_id, tier, method, completed, cancelled, no_drivers, \
       fares, unpaid, commission, vat, promo, tips, cancel_fees, refunds) ",
    trips_of_day!()
);

const TRIPS_KEPT: &str = "\
SELECT d.*, d.day::text AS day_text, c.name AS city_name
FROM report_trip_days d JOIN cities c ON c.id = d.city_id
WHERE d.day >= $1::date AND d.day <= $2::date
  AND ($3::smallint IS NULL OR d.city_id = $3) AND ($4::text IS NULL OR d.tier = $4)
  AND ($5::text IS NULL OR d.method = $5)
ORDER BY d.day, d.city_id, d.tier, d.method";

/// The day's flows; its balances come from [`BALANCES_AT`].
const COMPANY_FLOWS: &str =
    concat!("SELECT m.*, m.day::text AS day_text FROM (", company_of_day!(), ") m");
const BALANCES_AT: &str = balances_at!();

// Balances at a day's end never change: they are written once.
const COMPANY_KEEP: &str = "\
INSERT INTO report_company_days (day, computed_at, deposits, deposits_paid, withdrawals,
  withdrawals_paid, withdrawals_back, gateway_fees, adjustments, written_off, riders_wallets,
  riders_held, riders_due, drivers_credit, drivers_debt, drivers_held)
VALUES ($1::date, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (day) DO UPDATE SET computed_at = excluded.computed_at, deposits = excluded.deposits,
  deposits_paid = excluded.deposits_paid, withdrawals = excluded.withdrawals,
  withdrawals_paid = excluded.withdrawals_paid, withdrawals_back = excluded.withdrawals_back,
  gateway_fees = excluded.gateway_fees, adjustments = excluded.adjustments,
  written_off = excluded.written_off";

const COMPANY_KEPT: &str = "\
SELECT *, day::text AS day_text FROM report_company_days
WHERE day >= $1::date AND day <= $2::date ORDER BY day";

// Days whose trips were paid for later, on the day between $1 and $2.
const PAID_LATE: &str = "\
SELECT DISTINCT (t.ended_at AT TIME ZONE 'Africa/Cairo')::date::text
FROM ledger_journal j JOIN trips t ON t.id = j.reference
WHERE j.kind = 'settle' AND j.created_at >= $1 AND j.created_at < $2 AND t.ended_at < $1";

/// One roll-up of a day at a time.
pub(crate) async fn calm_in_tx(tx: &mut Tx, day: Option<BusinessDay>) -> Result<(), Fault> {
    sqlx::raw_sql(CALM).execute(tx.conn()).await.map_err(fault)?;
    if let Some(day) = day {
        sqlx::query("SELECT pg_advisory_xact_lock(742016, $1::date - date '2000-01-01')")
            .bind(day.to_string())
            .execute(tx.conn())
            .await
            .map_err(fault)?;
    }
    Ok(())
}

/// Adds the trips of a closed day up, in place of what was there.
pub(crate) async fn trips_keep_in_tx(tx: &mut Tx, day: BusinessDay) -> Result<(), Fault> {
    sqlx::query("DELETE FROM report_trip_days WHERE day = $1::date")
        .bind(day.to_string())
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    sqlx::query(TRIPS_KEEP)
        .bind(at(day.start()))
        .bind(at(day.end()))
        .bind(day.to_string())
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(())
}

/// Stores a closed day; its balances only the first time.
pub(crate) async fn company_keep_in_tx(
    tx: &mut Tx,
    day: &CompanyDay,
    now: Millis,
) -> Result<(), Fault> {
    sqlx::query(COMPANY_KEEP)
        .bind(&day.day)
        .bind(at(now))
        .bind(day.deposits)
        .bind(day.deposits_paid.0)
        .bind(day.withdrawals)
        .bind(day.withdrawals_paid.0)
        .bind(day.withdrawals_back.0)
        .bind(day.gateway_fees.0)
        .bind(day.adjustments.0)
        .bind(day.written_off.0)
        .bind(day.riders_wallets.0)
        .bind(day.riders_held.0)
        .bind(day.riders_due.0)
        .bind(day.drivers_credit.0)
        .bind(day.drivers_debt.0)
        .bind(day.drivers_held.0)
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(())
}

/// A day from the tables themselves; with `balances` what was outstanding at its end, zeros
/// without.
pub(crate) async fn company_in_tx(
    tx: &mut Tx,
    day: BusinessDay,
    balances: Balances,
) -> Result<CompanyDay, Fault> {
    let flows = sqlx::query(COMPANY_FLOWS)
        .bind(at(day.start()))
        .bind(at(day.end()))
        .bind(day.to_string())
        .fetch_one(tx.conn())
        .await
        .map_err(fault)?;
    let outstanding = match balances {
        Balances::Told => {
            let row = sqlx::query(BALANCES_AT).bind(at(day.end())).fetch_one(tx.conn()).await;
            Some(row.map_err(fault)?)
        }
        Balances::Known => None,
    };
    company(&flows, outstanding.as_ref()).map_err(fault)
}

/// Are the balances at a day's end to be worked out?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Balances {
    Told,
    /// They are stored already.
    Known,
}

pub(crate) async fn trips_today_in_tx(
    tx: &mut Tx,
    day: BusinessDay,
    asked: &ReportAsked,
) -> Result<Vec<TripDay>, Fault> {
    let rows = sqlx::query(TRIPS_TODAY)
        .bind(at(day.start()))
        .bind(at(day.end()))
        .bind(day.to_string())
        .bind(asked.city.map(|city| city.0))
        .bind(asked.tier.map(Tier::name))
        .bind(asked.method.map(PaymentMethod::name))
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    rows.iter().map(|row| trips(row).map_err(fault)).collect()
}

pub(crate) async fn trips_kept_in_tx(
    tx: &mut Tx,
    asked: &ReportAsked,
) -> Result<Vec<TripDay>, Fault> {
    let rows = sqlx::query(TRIPS_KEPT)
        .bind(asked.days.first().to_string())
        .bind(asked.days.last().to_string())
        .bind(asked.city.map(|city| city.0))
        .bind(asked.tier.map(Tier::name))
        .bind(asked.method.map(PaymentMethod::name))
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    rows.iter().map(|row| trips(row).map_err(fault)).collect()
}

pub(crate) async fn company_kept_in_tx(
    tx: &mut Tx,
    days: DayRange,
) -> Result<Vec<CompanyDay>, Fault> {
    let rows = sqlx::query(COMPANY_KEPT)
        .bind(days.first().to_string())
        .bind(days.last().to_string())
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    rows.iter().map(|row| company(row, Some(row)).map_err(fault)).collect()
}

/// Days before `day` whose trips were paid for on it.
pub(crate) async fn paid_late_in_tx(
    tx: &mut Tx,
    day: BusinessDay,
) -> Result<Vec<BusinessDay>, Fault> {
    let days: Vec<String> = sqlx::query_scalar(PAID_LATE)
        .bind(at(day.start()))
        .bind(at(day.end()))
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    Ok(days.iter().filter_map(|day| BusinessDay::parse(day)).collect())
}

/// When the first trip was asked for or the first money moved. Journals' ids rise with time.
pub(crate) async fn begun_in_tx(tx: &mut Tx) -> Result<Option<Millis>, Fault> {
    let begun: Option<jiff_sqlx::Timestamp> = sqlx::query_scalar(
        "SELECT least((SELECT min(created_at) FROM trips), \
                      (SELECT created_at FROM ledger_journal ORDER BY id LIMIT 1))",
    )
    .fetch_one(tx.conn())
    .await
    .map_err(fault)?;
    Ok(begun.map(millis))
}

fn trips(row: &PgRow) -> Result<TripDay, sqlx::Error> {
    let money = |column: &str| row.try_get::<i64, _>(column).map(Piasters);
    Ok(TripDay {
        day: row.try_get("day_text")?,
        city: CityId(row.try_get("city_id")?),
        city_name: row.try_get("city_name")?,
        tier: row.try_get("tier")?,
        method: row.try_get("method")?,
        completed: row.try_get("completed")?,
        cancelled: row.try_get("cancelled")?,
        no_drivers: row.try_get("no_drivers")?,
        fares: money("fares")?,
        unpaid: money("unpaid")?,
        commission: money("commission")?,
        vat: money("vat")?,
        promo: money("promo")?,
        tips: money("tips")?,
        cancel_fees: money("cancel_fees")?,
        refunds: money("refunds")?,
    })
}

fn company(flows: &PgRow, outstanding: Option<&PgRow>) -> Result<CompanyDay, sqlx::Error> {
    let flow = |column: &str| flows.try_get::<i64, _>(column).map(Piasters);
    let balance = |column: &str| match outstanding {
        Some(row) => row.try_get::<i64, _>(column).map(Piasters),
        None => Ok(Piasters::ZERO),
    };
    Ok(CompanyDay {
        day: flows.try_get("day_text")?,
        deposits: flows.try_get("deposits")?,
        deposits_paid: flow("deposits_paid")?,
        withdrawals: flows.try_get("withdrawals")?,
        withdrawals_paid: flow("withdrawals_paid")?,
        withdrawals_back: flow("withdrawals_back")?,
        gateway_fees: flow("gateway_fees")?,
        adjustments: flow("adjustments")?,
        written_off: flow("written_off")?,
        riders_wallets: balance("riders_wallets")?,
        riders_held: balance("riders_held")?,
        riders_due: balance("riders_due")?,
        drivers_credit: balance("drivers_credit")?,
        drivers_debt: balance("drivers_debt")?,
        drivers_held: balance("drivers_held")?,
    })
}
