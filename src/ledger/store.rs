//! All SQL of the ledger. Writes go through the two posting functions of migration 0002 only.

use std::collections::HashMap;

use base::{Cursor, Fault, JournalId, Piasters, RiderId, Role, TripId, UserId};
use storage::Tx;
use uuid::Uuid;

use crate::model::{Account, Journal, Kind, PostError, Posted, Repeat, RiderFunds, TripPaid};
use crate::rules;
use crate::wire::{CURRENCY, TransactionView, TransactionsPage, WalletView};

const LOCK: &str = "SELECT r_owner, r_account, r_balance FROM ledger_lock($1)";

const POST: &str = "\
SELECT 1, NULL::text, r_journal, r_fresh, r_account, r_owner, r_balance
FROM ledger_post($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

const POST_BATCH: &str = "\
SELECT r_item, r_refusal, r_journal, r_fresh, r_account, r_owner, r_balance
FROM ledger_post_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

/// Settlements from before `paid` was written are looked up in the trip, as the database does.
const TRIP_PAID: &str = "\
SELECT (SELECT coalesce(sum(coalesce(j.paid, CASE j.kind WHEN 'settle' THEN t.final_price
                                                         ELSE t.cancel_fee END)), 0)::bigint
        FROM ledger_journal j LEFT JOIN trips t ON t.id = j.reference
        WHERE j.kind IN ('settle', 'cancel_fee') AND j.reference = $1),
       (SELECT coalesce(-sum(j.paid), 0)::bigint FROM ledger_journal j
        WHERE j.parent = $1 AND j.paid < 0),
       (SELECT coalesce(-sum(e.amount), 0)::bigint
        FROM ledger_journal j JOIN ledger_entry e ON e.journal_id = j.id
        WHERE j.kind = 'settle' AND j.reference = $1 AND e.account = $2)";

const POSTED: &str = "\
SELECT 1, NULL::text, journal_id, false, account, owner, balance_after
FROM ledger_entry WHERE journal_id = $1 ORDER BY account";

// The kinds that people own are named, so that the primary key answers.
const BALANCES: &str = "\
SELECT account, balance FROM ledger_balance
WHERE account IN (1, 2, 3, 4, 10, 11) AND owner = $1";

// Accounts by number: 1, 10 what is free; 2, 11 what is held; 3 what is owed.
const TRANSACTIONS: &str = "\
WITH page AS (
  SELECT e.journal_id, e.created_at,
         coalesce(sum(e.amount) FILTER (WHERE e.account IN (1, 2, 10, 11)), 0)::bigint AS amount,
         coalesce(sum(e.amount) FILTER (WHERE e.account IN (2, 11)), 0)::bigint AS held,
         coalesce(-sum(e.amount) FILTER (WHERE e.account = 3), 0)::bigint AS due,
         max(e.balance_after) FILTER (WHERE e.account IN (1, 10)) AS balance_after
  FROM ledger_entry e
  WHERE e.owner = $1 AND e.account_seq IS NOT NULL
    AND ($2::timestamptz IS NULL OR (e.created_at, e.journal_id) < ($2, $3))
  GROUP BY e.created_at, e.journal_id
  ORDER BY e.created_at DESC, e.journal_id DESC
  LIMIT $4)
SELECT p.journal_id, j.kind, p.amount, p.held, p.due, p.balance_after,
       j.reference, j.parent, j.note, p.created_at
FROM page p JOIN ledger_journal j ON j.id = p.journal_id
ORDER BY p.created_at DESC, p.journal_id DESC";

/// A row of either posting function: item, refusal, journal, fresh, account, owner, balance.
type PostRow = (i32, Option<String>, Uuid, bool, Option<i16>, Option<Uuid>, Option<i64>);

/// Reads riders' money and keeps it from changing until the transaction ends. Every rider asked
/// for is in the answer. Call it before the transaction locks anything else of the ledger.
pub async fn lock_funds_in_tx(
    tx: &mut Tx,
    riders: &[UserId],
) -> Result<HashMap<UserId, RiderFunds>, Fault> {
    let mut funds: HashMap<UserId, RiderFunds> = HashMap::with_capacity(riders.len());
    if riders.is_empty() {
        return Ok(funds);
    }
    let ids: Vec<Uuid> = riders.iter().map(|rider| rider.0).collect();
    let rows: Vec<(Uuid, i16, i64)> =
        sqlx::query_as(LOCK).bind(ids).fetch_all(tx.conn()).await.map_err(storage::fault)?;
    for (owner, kind, balance) in rows {
        let rider = funds.entry(UserId(owner)).or_default();
        match Account::of_row(kind, owner) {
            Some(Account::RiderWallet(_)) => rider.wallet = Piasters(balance),
            Some(Account::RiderHold(_)) => rider.hold = Piasters(balance),
            Some(Account::RiderDue(_)) => rider.due = -Piasters(balance),
            other => return Err(Fault::internal(format!("locked {other:?} as a rider's money"))),
        }
    }
    Ok(funds)
}

/// Posts one journal. A refusal ends the transaction; a repeat is no refusal.
pub async fn post_in_tx(tx: &mut Tx, journal: &Journal) -> Result<Posted, PostError> {
    post_as_in_tx(tx, JournalId::new(), journal).await
}

/// Posts one journal under an id of the caller's: where it stands already under this id, it was the
/// caller who brought it there.
pub(crate) async fn post_as_in_tx(
    tx: &mut Tx,
    id: JournalId,
    journal: &Journal,
) -> Result<Posted, PostError> {
    // What a wallet holds changes, and that is a fact.
    tx.rings(events::FACTS);
    let legs = Legs::of(&[journal]);
    let rows: Vec<PostRow> = sqlx::query_as(POST)
        .bind(id.0)
        .bind(&journal.key)
        .bind(journal.kind.name())
        .bind(journal.reference)
        .bind(journal.mode.name())
        .bind(&journal.note)
        .bind(legs.accounts)
        .bind(legs.owners)
        .bind(legs.amounts)
        .bind(legs.floors)
        .bind(journal.parent.map(|trip| trip.0))
        .bind(journal.paid.map(|paid| paid.0))
        .fetch_all(tx.conn())
        .await
        .map_err(refused)?;
    answers(&[id], rows)?.pop().unwrap_or(Err(PostError::Unbalanced))
}

/// A journal that was posted before; `None` for one that never was.
pub async fn posted_in_tx(tx: &mut Tx, id: JournalId) -> Result<Option<Posted>, Fault> {
    let rows: Vec<PostRow> =
        sqlx::query_as(POSTED).bind(id.0).fetch_all(tx.conn()).await.map_err(storage::fault)?;
    // Not ours: it is no first posting.
    Ok(answers(&[JournalId(Uuid::nil())], rows)?.pop().and_then(Result::ok))
}

/// What was paid for a trip and given back. Who decides by it keeps others from giving back.
pub async fn trip_paid_in_tx(tx: &mut Tx, trip: TripId) -> Result<TripPaid, Fault> {
    let (paid, given_back, promo): (i64, i64, i64) = sqlx::query_as(TRIP_PAID)
        .bind(trip.0)
        .bind(Account::PromoExpense.kind())
        .fetch_one(tx.conn())
        .await
        .map_err(storage::fault)?;
    let (paid, given_back, promo) = (Piasters(paid), Piasters(given_back), Piasters(promo));
    Ok(TripPaid { paid, given_back, promo })
}

/// Posts journals in one round trip, each answered on its own, in order: a refused one leaves the
/// others and the transaction standing.
pub async fn post_batch_in_tx(
    tx: &mut Tx,
    journals: &[Journal],
) -> Result<Vec<Result<Posted, PostError>>, Fault> {
    let named: Vec<(JournalId, &Journal)> =
        journals.iter().map(|journal| (JournalId::new(), journal)).collect();
    post_batch_as_in_tx(tx, &named).await
}

/// Like [`post_batch_in_tx`], under ids of the caller's; see [`post_as_in_tx`].
pub(crate) async fn post_batch_as_in_tx(
    tx: &mut Tx,
    named: &[(JournalId, &Journal)],
) -> Result<Vec<Result<Posted, PostError>>, Fault> {
    if named.is_empty() {
        return Ok(Vec::new());
    }
    tx.rings(events::FACTS);
    let (ids, journals): (Vec<JournalId>, Vec<&Journal>) = named.iter().copied().unzip();
    let legs = Legs::of(&journals);
    let keys: Vec<&str> = journals.iter().map(|journal| journal.key.as_str()).collect();
    let kinds: Vec<&str> = journals.iter().map(|journal| journal.kind.name()).collect();
    let references: Vec<Uuid> = journals.iter().map(|journal| journal.reference).collect();
    let modes: Vec<&str> = journals.iter().map(|journal| journal.mode.name()).collect();
    let notes: Vec<Option<&str>> = journals.iter().map(|journal| journal.note.as_deref()).collect();
    let parents: Vec<Option<Uuid>> =
        journals.iter().map(|journal| journal.parent.map(|trip| trip.0)).collect();
    let paids: Vec<Option<i64>> =
        journals.iter().map(|journal| journal.paid.map(|paid| paid.0)).collect();
    let rows: Vec<PostRow> = sqlx::query_as(POST_BATCH)
        .bind(ids.iter().map(|id| id.0).collect::<Vec<_>>())
        .bind(keys)
        .bind(kinds)
        .bind(references)
        .bind(modes)
        .bind(notes)
        .bind(legs.journals)
        .bind(legs.accounts)
        .bind(legs.owners)
        .bind(legs.amounts)
        .bind(legs.floors)
        .bind(parents)
        .bind(paids)
        .fetch_all(tx.conn())
        .await
        .map_err(storage::fault)?;
    answers(&ids, rows)
}

/// Pays what a rider owes from his wallet after `source` brought money in; `None` when nothing is
/// owed or the wallet is empty.
pub async fn pay_due_in_tx(
    tx: &mut Tx,
    rider: RiderId,
    source: JournalId,
) -> Result<Option<Posted>, PostError> {
    let funds = lock_funds_in_tx(tx, &[rider.into()]).await?;
    let funds = funds.get(&rider.into()).copied().unwrap_or_default();
    match rules::pay_due(rider, &funds, source.0) {
        Some(journal) => post_in_tx(tx, &journal).await.map(Some),
        None => Ok(None),
    }
}

/// What a user has; zeros for an account that never held money.
pub async fn wallet(tx: &mut Tx, user: UserId, role: Role) -> Result<WalletView, Fault> {
    let rows: Vec<(i16, i64)> =
        sqlx::query_as(BALANCES).bind(user.0).fetch_all(tx.conn()).await.map_err(storage::fault)?;
    let balance_of = |account: Account| {
        let row = rows.iter().find(|(kind, _)| *kind == account.kind());
        row.map_or(Piasters::ZERO, |(_, balance)| Piasters(*balance))
    };
    let (balance, held, due) = match role {
        Role::Rider => (
            balance_of(Account::RiderWallet(user)),
            balance_of(Account::RiderHold(user)),
            -balance_of(Account::RiderDue(user)),
        ),
        Role::Driver => {
            let balance = balance_of(Account::Driver(user));
            let due = (-balance).max(Piasters::ZERO);
            (balance, balance_of(Account::DriverHold(user)), due)
        }
        Role::Admin => (Piasters::ZERO, Piasters::ZERO, Piasters::ZERO),
    };
    Ok(WalletView { balance, held, due, currency: CURRENCY })
}

/// A user's journals, newest first, after `after`; at most `limit`.
pub async fn transactions(
    tx: &mut Tx,
    user: UserId,
    role: Role,
    after: Option<Cursor>,
    limit: u32,
) -> Result<TransactionsPage, Fault> {
    if rules::Wallet::of(user, role).is_none() {
        return Ok(TransactionsPage { transactions: Vec::new(), next_cursor: None });
    }
    let limit = limit.clamp(1, base::limits::PAGE_MAX);
    let rows: Vec<TransactionRow> = sqlx::query_as(TRANSACTIONS)
        .bind(user.0)
        .bind(after.map(|cursor| storage::at(cursor.at)))
        .bind(after.map(|cursor| cursor.id))
        // One more than asked for tells whether there is a next page.
        .bind(i64::from(limit) + 1)
        .fetch_all(tx.conn())
        .await
        .map_err(storage::fault)?;
    let more = rows.len() > limit as usize;
    let transactions: Vec<TransactionView> =
        rows.into_iter().take(limit as usize).map(TransactionRow::view).collect();
    let last = transactions.last().filter(|_| more);
    let next_cursor = last.map(|row| Cursor { at: row.created_at, id: row.id.0 }.to_string());
    Ok(TransactionsPage { transactions, next_cursor })
}

/// The legs of several journals as parallel arrays.
struct Legs {
    /// Place of the leg's journal, from 1.
    journals: Vec<i32>,
    accounts: Vec<i16>,
    owners: Vec<Uuid>,
    amounts: Vec<i64>,
    floors: Vec<Option<i64>>,
}

impl Legs {
    fn of(journals: &[&Journal]) -> Self {
        let count = journals.iter().map(|journal| journal.legs.len()).sum();
        let mut all = Self {
            journals: Vec::with_capacity(count),
            accounts: Vec::with_capacity(count),
            owners: Vec::with_capacity(count),
            amounts: Vec::with_capacity(count),
            floors: Vec::with_capacity(count),
        };
        for (item, journal) in (1..).zip(journals) {
            for leg in &journal.legs {
                all.journals.push(item);
                all.accounts.push(leg.account.kind());
                all.owners.push(leg.account.owner().map_or(Uuid::nil(), |owner| owner.0));
                all.amounts.push(leg.amount.0);
                all.floors.push(leg.floor.map(|floor| floor.0));
            }
        }
        all
    }
}

/// One answer per item from rows per leg. What stands under our own id is no repeat: its commit's
/// answer was lost before.
fn answers(ids: &[JournalId], rows: Vec<PostRow>) -> Result<Vec<Result<Posted, PostError>>, Fault> {
    // A journal without legs answers no row; the database refuses it as unbalanced.
    let mut all: Vec<Result<Posted, PostError>> =
        ids.iter().map(|_| Err(PostError::Unbalanced)).collect();
    for (item, refusal, journal, fresh, kind, owner, balance) in rows {
        let place = usize::try_from(item - 1).ok().filter(|place| *place < ids.len());
        let place = place.ok_or_else(|| Fault::internal(format!("answer for item {item}")))?;
        let answer = &mut all[place];
        if let Some(state) = refusal {
            *answer = Err(refusal_of(&state));
            continue;
        }
        if answer.is_err() {
            let journal = JournalId(journal);
            let first = fresh || journal == ids[place];
            let repeat = if first { Repeat::First } else { Repeat::Again };
            *answer = Ok(Posted { journal, repeat, balances: Vec::new() });
        }
        if let (Ok(posted), Some(kind), Some(owner), Some(balance)) = (answer, kind, owner, balance)
        {
            posted.balances.push((account_of(kind, owner)?, Piasters(balance)));
        }
    }
    Ok(all)
}

pub(crate) fn account_of(kind: i16, owner: Uuid) -> Result<Account, Fault> {
    Account::of_row(kind, owner)
        .ok_or_else(|| Fault::internal(format!("account kind {kind} is not known")))
}

/// Reads a refusal of the posting functions; anything else is a fault.
fn refused(error: sqlx::Error) -> PostError {
    const ONCE: [&str; 2] = ["once_per_reference", "one_way_per_withdrawal"];
    const MALFORMED: [&str; 6] = [
        "journal_has_two_legs",
        "one_leg_per_account",
        "entry_moves_something",
        "account_is_known",
        "owner_fits_account",
        "refunds_name_their_trip",
    ];
    if let Some(state) = storage::raised(&error) {
        return refusal_of(state);
    }
    if ONCE.iter().any(|constraint| storage::breaks(&error, constraint)) {
        return PostError::KeyReused;
    }
    if MALFORMED.iter().any(|constraint| storage::breaks(&error, constraint)) {
        return PostError::Unbalanced;
    }
    PostError::Fault(storage::fault(error))
}

fn refusal_of(state: &str) -> PostError {
    match state {
        "SL001" => PostError::KeyReused,
        "SL002" => PostError::InsufficientFunds,
        "SL006" => PostError::RefundTooLarge,
        // The other integrity errors of a batch: legs that are no journal.
        _ => PostError::Unbalanced,
    }
}

#[derive(sqlx::FromRow)]
struct TransactionRow {
    journal_id: Uuid,
    kind: String,
    amount: i64,
    held: i64,
    due: i64,
    balance_after: Option<i64>,
    reference: Uuid,
    parent: Option<Uuid>,
    note: Option<String>,
    created_at: jiff_sqlx::Timestamp,
}

impl TransactionRow {
    fn view(self) -> TransactionView {
        let of_trip = Kind::of_name(&self.kind).is_some_and(Kind::is_of_trip);
        TransactionView {
            id: JournalId(self.journal_id),
            kind: self.kind,
            amount: Piasters(self.amount),
            held: Piasters(self.held),
            due: Piasters(self.due),
            balance_after: self.balance_after.map(Piasters),
            trip_id: self.parent.or(of_trip.then_some(self.reference)),
            reason: self.note,
            created_at: storage::millis(self.created_at),
        }
    }
}
