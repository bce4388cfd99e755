//! All SQL of authorisations. Binding one to a trip is the trip's own statement.

use std::time::Duration;

use base::{Fault, Millis, Piasters, RiderId, TripId};
use sqlx::Row;
use sqlx::postgres::PgRow;
use storage::{Tx, at, fault, millis};
use uuid::Uuid;

use super::model::{CardAuthorisation, CardId, CardReference, CardStatus};
use crate::kashier::{Currency, Page};
use crate::store::{due, due_in_tx};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, rider_id, amount, currency, status, attempt, session, page_url, ",
            "gateway_order, transaction, capture, trip_id, to_capture, captured, failure, ",
            "look_at, page_until, expires_at, asked_at, created_at, authorised_at, ended_at ",
            "FROM card_authorisations ",
            $rest
        )
    };
}

const BY_ID: &str = select!("WHERE id = $1");
const LOCKED: &str = select!("WHERE id = $1 FOR NO KEY UPDATE");
const OF_TRIP: &str = select!("WHERE trip_id = $1");

pub(crate) async fn card_add_in_tx(tx: &mut Tx, new: &CardAuthorisation) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO card_authorisations (id, rider_id, amount, currency, look_at, page_until, \
           created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(new.id.0)
    .bind(new.rider.0)
    .bind(new.amount.0)
    .bind(new.currency.name())
    .bind(new.look_at.map(at))
    .bind(at(new.page_until))
    .bind(at(new.created_at))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// As far as the transaction's caller may see it.
pub(crate) async fn card_in_tx(
    tx: &mut Tx,
    id: CardId,
) -> Result<Option<CardAuthorisation>, Fault> {
    read(tx, BY_ID, id.0).await
}

/// The same, unchanged by others until the transaction ends.
pub(crate) async fn card_lock_in_tx(
    tx: &mut Tx,
    id: CardId,
) -> Result<Option<CardAuthorisation>, Fault> {
    read(tx, LOCKED, id.0).await
}

pub(crate) async fn card_of_trip_in_tx(
    tx: &mut Tx,
    trip: TripId,
) -> Result<Option<CardAuthorisation>, Fault> {
    read(tx, OF_TRIP, trip.0).await
}

async fn read(
    tx: &mut Tx,
    sql: &'static str,
    id: Uuid,
) -> Result<Option<CardAuthorisation>, Fault> {
    let row = sqlx::query(sql).bind(id).fetch_optional(tx.conn()).await.map_err(fault)?;
    row.map(|row| card(&row).map_err(fault)).transpose()
}

/// Stores where the attempt of `reference` is authorised; false when another is under way.
pub(crate) async fn card_page_in_tx(
    tx: &mut Tx,
    reference: CardReference,
    page: &Page,
) -> Result<bool, Fault> {
    let stored = sqlx::query(
        "UPDATE card_authorisations SET session = $3, page_url = $4 WHERE id = $1 AND attempt = $2",
    )
    .bind(reference.card.0)
    .bind(reference.attempt)
    .bind(&page.session)
    .bind(&page.url)
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(stored.rows_affected() == 1)
}

/// Begins the attempt after that of `reference`; false when another did, or it is beyond its page.
pub(crate) async fn card_again_in_tx(
    tx: &mut Tx,
    reference: CardReference,
    look_at: Millis,
    page_until: Millis,
) -> Result<bool, Fault> {
    let stored = sqlx::query(
        "UPDATE card_authorisations SET attempt = attempt + 1, status = 'pending', \
           failure = NULL, session = NULL, page_url = NULL, look_at = $3, page_until = $4 \
         WHERE id = $1 AND attempt = $2 AND authorised_at IS NULL \
           AND status IN ('pending', 'failed', 'expired')",
    )
    .bind(reference.card.0)
    .bind(reference.attempt)
    .bind(at(look_at))
    .bind(at(page_until))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(stored.rows_affected() == 1)
}

/// Stores all that a word, or whoever asks the gateway, may change.
pub(crate) async fn card_move_in_tx(tx: &mut Tx, card: &CardAuthorisation) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE card_authorisations SET status = $2, gateway_order = $3, transaction = $4, \
           capture = $5, to_capture = $6, captured = $7, failure = $8, look_at = $9, \
           expires_at = $10, asked_at = $11, authorised_at = $12, ended_at = $13 WHERE id = $1",
    )
    .bind(card.id.0)
    .bind(card.status.name())
    .bind(&card.gateway_order)
    .bind(&card.transaction)
    .bind(&card.capture)
    .bind(card.to_capture.map(|amount| amount.0))
    .bind(card.captured.map(|amount| amount.0))
    .bind(&card.failure)
    .bind(card.look_at.map(at))
    .bind(card.expires_at.map(at))
    .bind(card.asked_at.map(at))
    .bind(card.authorised_at.map(at))
    .bind(card.ended_at.map(at))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// See [`due_in_tx`].
pub(crate) async fn cards_due_in_tx(
    tx: &mut Tx,
    now: Millis,
    again: Duration,
    most: i64,
) -> Result<Vec<CardId>, Fault> {
    let ids = due_in_tx(tx, due!("card_authorisations"), now, again, most).await?;
    Ok(ids.into_iter().map(CardId).collect())
}

fn card(row: &PgRow) -> Result<CardAuthorisation, sqlx::Error> {
    let unknown = || sqlx::Error::Decode("unknown word of an authorisation".into());
    let moment = |column: &str| {
        row.try_get::<Option<jiff_sqlx::Timestamp>, _>(column).map(|at| at.map(millis))
    };
    let at = |column: &str| row.try_get::<jiff_sqlx::Timestamp, _>(column).map(millis);
    let amount = |column: &str| row.try_get::<Option<i64>, _>(column).map(|n| n.map(Piasters));
    Ok(CardAuthorisation {
        id: CardId(row.try_get("id")?),
        rider: RiderId(row.try_get("rider_id")?),
        amount: Piasters(row.try_get("amount")?),
        currency: Currency::parse(row.try_get("currency")?).ok_or_else(unknown)?,
        status: CardStatus::parse(row.try_get("status")?).ok_or_else(unknown)?,
        attempt: row.try_get("attempt")?,
        session: row.try_get("session")?,
        page_url: row.try_get("page_url")?,
        gateway_order: row.try_get("gateway_order")?,
        transaction: row.try_get("transaction")?,
        capture: row.try_get("capture")?,
        trip: row.try_get::<Option<Uuid>, _>("trip_id")?.map(TripId),
        to_capture: amount("to_capture")?,
        captured: amount("captured")?,
        failure: row.try_get("failure")?,
        look_at: moment("look_at")?,
        page_until: at("page_until")?,
        expires_at: moment("expires_at")?,
        asked_at: moment("asked_at")?,
        created_at: at("created_at")?,
        authorised_at: moment("authorised_at")?,
        ended_at: moment("ended_at")?,
    })
}
