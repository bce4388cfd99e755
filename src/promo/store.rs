//! All SQL of promo credit. What trips take moves through the two doors of migration 0015.

use base::{
    BasisPoints, CityId, Cursor, Fault, Millis, Piasters, PromoCodeId, PromoCreditId, RiderId,
    Tier, TripId,
};
use jiff_sqlx::Timestamp;
use sqlx::FromRow;
use sqlx::types::Uuid;
use storage::{Tx, at, breaks, fault, millis};

use crate::model::{Credit, Ended, NewCode, NewGrant, Off, Source};
use crate::rules::{Offer, Unfit};
use crate::wire::{PromoCodeView, PromoCodesPage};

/// Most credits of one rider that are looked at.
const CREDITS: i64 = 100;

const CODE_INSERT: &str = "\
INSERT INTO promo_codes (id, code, reason, percent_bp, off_max, min_fare, tiers, cities, per_rider,
  uses_max, budget, valid_from, valid_until, created_by, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
RETURNING *";

const CODES: &str = "\
SELECT * FROM promo_codes
WHERE $1::timestamptz IS NULL OR (date_trunc('milliseconds', created_at), id) < ($1, $2)
ORDER BY created_at DESC, id DESC LIMIT $3";

const CODE_DISABLE: &str = "\
UPDATE promo_codes SET disabled_at = coalesce(disabled_at, $2) WHERE id = $1 RETURNING *";

const CODE_OPEN: &str = "\
UPDATE promo_codes SET opened_at = $2
WHERE id = $1 AND opened_at IS NULL AND disabled_at IS NULL";

const GRANT: &str = "\
INSERT INTO promo_credits (id, rider_id, amount, reason, granted_by, expires_at, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING";

const REDEEM: &str = "\
INSERT INTO promo_credits (id, rider_id, code_id, trips_max, reason, expires_at, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT ON CONSTRAINT one_credit_per_code DO NOTHING";

// What has something left, the soonest over first.
const CREDITS_OF: &str = "\
SELECT c.id, c.amount, c.used, c.trips_max, c.trips, c.reason, c.expires_at,
       k.code, k.percent_bp, k.off_max, k.min_fare, k.tiers, k.cities, k.valid_from,
       k.budget - k.given AS budget_left,
       (k.disabled_at IS NULL AND coalesce(k.uses < k.uses_max, true)) AS open
FROM promo_credits c LEFT JOIN promo_codes k ON k.id = c.code_id
WHERE c.rider_id = $1 AND c.expires_at > $2
  AND coalesce(c.used < c.amount, true) AND coalesce(c.trips < c.trips_max, true)
  AND k.disabled_at IS NULL
ORDER BY c.expires_at, c.id LIMIT $3";

#[derive(FromRow)]
struct CodeRow {
    id: Uuid,
    code: String,
    reason: String,
    percent_bp: Option<i32>,
    off_max: i64,
    min_fare: i64,
    tiers: Vec<String>,
    cities: Vec<i16>,
    per_rider: i32,
    uses_max: Option<i32>,
    uses: i32,
    budget: i64,
    given: i64,
    valid_from: Timestamp,
    valid_until: Timestamp,
    created_at: Timestamp,
    opened_at: Option<Timestamp>,
    disabled_at: Option<Timestamp>,
}

impl CodeRow {
    fn view(self) -> PromoCodeView {
        PromoCodeView {
            id: PromoCodeId(self.id),
            code: self.code,
            reason: self.reason,
            percent: self.percent_bp.map(|share| share.unsigned_abs() / 100),
            off_max: Piasters(self.off_max),
            min_fare: Piasters(self.min_fare),
            vehicle_types: tiers(&self.tiers),
            cities: self.cities.into_iter().map(CityId).collect(),
            per_rider: self.per_rider.unsigned_abs(),
            max_uses: self.uses_max.map(i32::unsigned_abs),
            uses: self.uses.unsigned_abs(),
            budget: Piasters(self.budget),
            given: Piasters(self.given),
            valid_from: millis(self.valid_from),
            valid_until: millis(self.valid_until),
            created_at: millis(self.created_at),
            opened_at: self.opened_at.map(millis),
            disabled_at: self.disabled_at.map(millis),
        }
    }
}

#[derive(FromRow)]
struct CreditRow {
    id: Uuid,
    amount: Option<i64>,
    used: i64,
    trips_max: Option<i32>,
    trips: i32,
    reason: String,
    expires_at: Timestamp,
    code: Option<String>,
    percent_bp: Option<i32>,
    off_max: Option<i64>,
    min_fare: Option<i64>,
    tiers: Option<Vec<String>>,
    cities: Option<Vec<i16>>,
    valid_from: Option<Timestamp>,
    budget_left: Option<i64>,
    open: bool,
}

impl CreditRow {
    fn credit(self) -> Credit {
        let source = match (self.code, self.amount) {
            (Some(code), _) => {
                let most = Piasters(self.off_max.unwrap_or(0));
                let off = match self.percent_bp {
                    Some(share) => Off::Share { of_fare: BasisPoints(share.into()), at_most: most },
                    None => Off::Amount(most),
                };
                Source::Code {
                    code,
                    off,
                    min_fare: Piasters(self.min_fare.unwrap_or(0)),
                    tiers: tiers(&self.tiers.unwrap_or_default()),
                    cities: self.cities.unwrap_or_default().into_iter().map(CityId).collect(),
                    trips_left: (self.trips_max.unwrap_or(0) - self.trips).max(0).unsigned_abs(),
                    budget_left: Piasters(self.budget_left.unwrap_or(0)),
                    open: self.open,
                    valid_from: self.valid_from.map_or(Millis(0), millis),
                }
            }
            (None, amount) => {
                let amount = Piasters(amount.unwrap_or(0));
                Source::Grant { amount, left: amount - Piasters(self.used) }
            }
        };
        let expires_at = millis(self.expires_at);
        Credit { id: PromoCreditId(self.id), source, reason: self.reason, expires_at }
    }
}

fn tiers(names: &[String]) -> Vec<Tier> {
    names.iter().filter_map(|name| Tier::parse(name)).collect()
}

/// Makes a campaign that waits to be opened; `None` when another one has the code.
pub async fn code_insert_in_tx(tx: &mut Tx, new: &NewCode) -> Result<Option<PromoCodeView>, Fault> {
    let (percent, most) = match new.off {
        Off::Amount(amount) => (None, amount),
        Off::Share { of_fare, at_most } => (Some(of_fare.0), at_most),
    };
    let number = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let made: Result<CodeRow, sqlx::Error> = sqlx::query_as(CODE_INSERT)
        .bind(new.id.0)
        .bind(&new.code)
        .bind(&new.reason)
        .bind(percent.map(|share| i32::try_from(share).unwrap_or(i32::MAX)))
        .bind(most.0)
        .bind(new.min_fare.0)
        .bind(new.tiers.iter().map(|tier| tier.name()).collect::<Vec<_>>())
        .bind(new.cities.iter().map(|city| city.0).collect::<Vec<_>>())
        .bind(number(new.per_rider))
        .bind(new.uses_max.map(number))
        .bind(new.budget.0)
        .bind(at(new.valid_from))
        .bind(at(new.valid_until))
        .bind(new.created_by.0)
        .bind(at(new.at))
        .fetch_one(tx.conn())
        .await;
    match made {
        Ok(row) => Ok(Some(row.view())),
        Err(error) if breaks(&error, "one_promo_per_code") => Ok(None),
        Err(error) => Err(fault(error)),
    }
}

/// Campaigns, newest first, after `after`; at most `limit`.
pub async fn codes(
    tx: &mut Tx,
    after: Option<Cursor>,
    limit: u32,
) -> Result<PromoCodesPage, Fault> {
    let limit = limit.clamp(1, base::limits::PAGE_MAX);
    let rows: Vec<CodeRow> = sqlx::query_as(CODES)
        .bind(after.map(|cursor| at(cursor.at)))
        .bind(after.map(|cursor| cursor.id))
        // One more than asked for tells whether there is a next page.
        .bind(i64::from(limit) + 1)
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    let more = rows.len() > limit as usize;
    let codes: Vec<_> = rows.into_iter().take(limit as usize).map(CodeRow::view).collect();
    let last = codes.last().filter(|_| more);
    let next_cursor = last.map(|code| Cursor { at: code.created_at, id: code.id.0 }.to_string());
    Ok(PromoCodesPage { codes, next_cursor })
}

/// One campaign.
pub async fn code_in_tx(tx: &mut Tx, id: PromoCodeId) -> Result<Option<PromoCodeView>, Fault> {
    let row: Option<CodeRow> = sqlx::query_as("SELECT * FROM promo_codes WHERE id = $1")
        .bind(id.0)
        .fetch_optional(tx.conn())
        .await
        .map_err(fault)?;
    Ok(row.map(CodeRow::view))
}

/// Opens a campaign that waits; false when it is open, or was ended meanwhile.
pub async fn code_open_in_tx(tx: &mut Tx, id: PromoCodeId, now: Millis) -> Result<bool, Fault> {
    let opened =
        sqlx::query(CODE_OPEN).bind(id.0).bind(at(now)).execute(tx.conn()).await.map_err(fault)?;
    Ok(opened.rows_affected() == 1)
}

/// Ends a campaign; what trips reserved of it stays theirs. `None` when there is none.
pub async fn code_disable_in_tx(
    tx: &mut Tx,
    id: PromoCodeId,
    now: Millis,
) -> Result<Option<PromoCodeView>, Fault> {
    let row: Option<CodeRow> = sqlx::query_as(CODE_DISABLE)
        .bind(id.0)
        .bind(at(now))
        .fetch_optional(tx.conn())
        .await
        .map_err(fault)?;
    Ok(row.map(CodeRow::view))
}

/// False when there is one under this id.
pub async fn grant_in_tx(tx: &mut Tx, grant: &NewGrant) -> Result<bool, Fault> {
    let made = sqlx::query(GRANT)
        .bind(grant.id.0)
        .bind(grant.rider.0)
        .bind(grant.amount.0)
        .bind(&grant.reason)
        .bind(grant.granted_by.0)
        .bind(at(grant.expires_at))
        .bind(at(grant.at))
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(made.rows_affected() == 1)
}

/// What became of a code that a rider typed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redeemed {
    Now(PromoCreditId),
    /// He has it already.
    Before,
    Unknown,
    Refused(Unfit),
}

/// Gives the rider the code's credit, once. Runs as the program: a rider makes no credit himself.
pub async fn redeem_in_tx(
    tx: &mut Tx,
    rider: RiderId,
    code: &str,
    now: Millis,
) -> Result<Redeemed, Fault> {
    let row: Option<CodeRow> = sqlx::query_as("SELECT * FROM promo_codes WHERE code = $1")
        .bind(code)
        .fetch_optional(tx.conn())
        .await
        .map_err(fault)?;
    // One that was ended, or is not open yet, looks like none: it may have been found by guessing.
    let is_open = |row: &CodeRow| row.opened_at.is_some() && row.disabled_at.is_none();
    let Some(row) = row.filter(is_open) else {
        return Ok(Redeemed::Unknown);
    };
    if now >= millis(row.valid_until) {
        return Ok(Redeemed::Refused(Unfit::Expired));
    }
    let trips_gone = row.uses_max.is_some_and(|most| row.uses >= most);
    if trips_gone || row.given >= row.budget {
        return Ok(Redeemed::Refused(Unfit::UsedUp));
    }
    let id = PromoCreditId::new();
    let made = sqlx::query(REDEEM)
        .bind(id.0)
        .bind(rider.0)
        .bind(row.id)
        .bind(row.per_rider)
        .bind(&row.reason)
        .bind(row.valid_until)
        .bind(at(now))
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(if made.rows_affected() == 1 { Redeemed::Now(id) } else { Redeemed::Before })
}

/// What the rider has that is not used up and not over.
pub async fn credits_in_tx(tx: &mut Tx, rider: RiderId, now: Millis) -> Result<Vec<Credit>, Fault> {
    let rows: Vec<CreditRow> = sqlx::query_as(CREDITS_OF)
        .bind(rider.0)
        .bind(at(now))
        .bind(CREDITS)
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    Ok(rows.into_iter().map(CreditRow::credit).collect())
}

/// Takes the offer for a trip that this transaction has booked with it. False when it is gone
/// meanwhile: then the transaction is not to be committed. To be called last in it.
pub async fn reserve_in_tx(
    tx: &mut Tx,
    trip: TripId,
    offer: &Offer,
    now: Millis,
) -> Result<bool, Fault> {
    sqlx::query_scalar("SELECT promo_reserve($1, $2, $3, $4)")
        .bind(trip.0)
        .bind(offer.credit.0)
        .bind(offer.amount.0)
        .bind(at(now))
        .fetch_one(tx.conn())
        .await
        .map_err(fault)
}

/// Ends what trips reserved, in the transaction that moves them.
pub async fn end_in_tx(tx: &mut Tx, ended: &[Ended], now: Millis) -> Result<(), Fault> {
    if ended.is_empty() {
        return Ok(());
    }
    let (trips, spent): (Vec<Uuid>, Vec<bool>) = ended
        .iter()
        .map(|ended| match ended {
            Ended::Spent(trip) => (trip.0, true),
            Ended::Freed(trip) => (trip.0, false),
        })
        .unzip();
    sqlx::query("SELECT promo_end($1, $2, $3)")
        .bind(trips)
        .bind(spent)
        .bind(at(now))
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(())
}
