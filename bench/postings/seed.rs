//! The seed's pattern made correct: its tables and its steps, with the balances locked in one
//! order, so that no update is lost and nobody waits in a circle.

use std::time::Instant;

use anyhow::{Context, ensure};
use base::Piasters;
use sqlx::{Connection, Executor, PgConnection, Row as _, SqlSafeStr};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{CLIENTS, PEOPLE, Way, dice, finish, posting};
use crate::durable::Stopwatch;
use crate::postgres::Postgres;

const SCHEMA: &str = "
    CREATE TABLE seed_accounts (
      id uuid PRIMARY KEY, account_type text NOT NULL, balance bigint NOT NULL DEFAULT 0);
    CREATE TABLE seed_transactions (
      id uuid PRIMARY KEY, transaction_type text NOT NULL, status text NOT NULL,
      idempotency_key text UNIQUE, reference_id uuid, total_amount bigint NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE seed_entries (
      id bigserial PRIMARY KEY, transaction_id uuid NOT NULL,
      account_id uuid NOT NULL REFERENCES seed_accounts (id),
      entry_type text NOT NULL CHECK (entry_type IN ('DEBIT', 'CREDIT')),
      amount bigint NOT NULL CHECK (amount > 0), balance_after bigint NOT NULL, description text,
      created_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX ON seed_entries (account_id, created_at DESC);
    CREATE INDEX ON seed_entries (transaction_id)";

const KNOWN: &str = "SELECT id FROM seed_transactions WHERE idempotency_key = $1";
const LOCK: &str = "SELECT balance FROM seed_accounts WHERE id = $1 FOR UPDATE";
const TRANSACTION: &str = "
    INSERT INTO seed_transactions
      (id, transaction_type, status, idempotency_key, reference_id, total_amount)
    VALUES ($1, 'DEPOSIT', 'completed', $2, $3, $4)";
const ENTRY: &str = "
    INSERT INTO seed_entries
      (transaction_id, account_id, entry_type, amount, balance_after, description)
    VALUES ($1, $2, $3, $4, $5, 'deposit')";
const UPDATE: &str = "UPDATE seed_accounts SET balance = $2 WHERE id = $1";

const UNSOUND: &str = "
    SELECT (SELECT count(*) FROM seed_accounts a WHERE a.id <> $1 AND a.balance <> (
              SELECT coalesce(sum(CASE e.entry_type WHEN 'CREDIT' THEN amount ELSE -amount END), 0)
              FROM seed_entries e WHERE e.account_id = a.id))
         + (SELECT count(*) FROM (
              SELECT FROM seed_entries GROUP BY transaction_id
              HAVING sum(CASE entry_type WHEN 'CREDIT' THEN amount ELSE -amount END) <> 0) n)";

/// The company's account.
const CASH_FLOAT: Uuid = Uuid::nil();

/// Does the company's account have a balance that every posting writes?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    Locked,
    Unlocked,
}

pub(super) struct Seed<'a> {
    postgres: &'a Postgres,
    /// One per client, their statements prepared.
    connections: Mutex<Vec<PgConnection>>,
}

impl<'a> Seed<'a> {
    pub async fn start(postgres: &'a Postgres) -> anyhow::Result<Self> {
        let mut owner = postgres.owner().await?;
        owner.execute(SCHEMA).await?;
        let people = "
            INSERT INTO seed_accounts (id, account_type)
            SELECT lpad(to_hex(n), 32, '0')::uuid, CASE n WHEN 0 THEN 'CASH_FLOAT'
              ELSE 'CUSTOMER_WALLET' END
            FROM generate_series(0, $1) n";
        sqlx::query(people).bind(i64::try_from(PEOPLE)?).execute(&mut owner).await?;
        owner.execute("ANALYZE").await?;
        let mut connections = Vec::new();
        for _ in 0..CLIENTS {
            let mut connection = postgres.owner().await?;
            for sql in [KNOWN, LOCK, TRANSACTION, ENTRY, UPDATE] {
                connection.prepare(sql.into_sql_str()).await?;
            }
            connections.push(connection);
        }
        Ok(Self { postgres, connections: Mutex::new(connections) })
    }

    pub async fn run(
        &self,
        count: usize,
        company: Company,
        run: u32,
        way: &mut Way,
    ) -> anyhow::Result<()> {
        let mut connections = self.connections.lock().await;
        let (give, mut taken) = tokio::sync::mpsc::channel(CLIENTS);
        let watch = Stopwatch::start(self.postgres)?;
        let mut tasks = JoinSet::new();
        for (client, mut connection) in connections.drain(..).enumerate() {
            let give = give.clone();
            tasks.spawn(async move {
                let dice = dice(client, run);
                let mut waits = Vec::new();
                for _ in 0..count / CLIENTS {
                    let (who, amount) = posting(&dice);
                    let begun = Instant::now();
                    post(&mut connection, who.0, amount, company).await?;
                    waits.push(begun.elapsed());
                }
                give.send(connection).await.ok().context("nobody keeps the connection")?;
                anyhow::Ok(waits)
            });
        }
        drop(give);
        finish(tasks, watch, way).await?;
        while let Some(connection) = taken.recv().await {
            connections.push(connection);
        }
        let mut owner = self.postgres.owner().await?;
        let unsound: i64 =
            sqlx::query(UNSOUND).bind(CASH_FLOAT).fetch_one(&mut owner).await?.try_get(0)?;
        ensure!(unsound == 0, "the rival's books are wrong in {unsound} places");
        Ok(())
    }
}

async fn post(
    connection: &mut PgConnection,
    who: Uuid,
    amount: Piasters,
    company: Company,
) -> anyhow::Result<()> {
    let (id, reference) = (Uuid::now_v7(), Uuid::now_v7());
    let key = format!("deposit:{reference}");
    let mut tx = connection.begin().await?;
    let known = sqlx::query(KNOWN).bind(&key).fetch_optional(&mut *tx).await?;
    ensure!(known.is_none(), "{key} is known");
    // The nil id first: in the same order everywhere.
    let float: i64 = match company {
        Company::Locked => sqlx::query_scalar(LOCK).bind(CASH_FLOAT).fetch_one(&mut *tx).await?,
        Company::Unlocked => 0,
    };
    let balance: i64 = sqlx::query_scalar(LOCK).bind(who).fetch_one(&mut *tx).await?;
    sqlx::query(TRANSACTION)
        .bind(id)
        .bind(&key)
        .bind(reference)
        .bind(amount.0)
        .execute(&mut *tx)
        .await?;
    let legs = [(who, "CREDIT", balance + amount.0), (CASH_FLOAT, "DEBIT", float - amount.0)];
    for (account, side, after) in legs {
        sqlx::query(ENTRY)
            .bind(id)
            .bind(account)
            .bind(side)
            .bind(amount.0)
            .bind(after)
            .execute(&mut *tx)
            .await?;
    }
    for (account, _, after) in legs {
        if account != CASH_FLOAT || company == Company::Locked {
            sqlx::query(UPDATE).bind(account).bind(after).execute(&mut *tx).await?;
        }
    }
    tx.commit().await?;
    Ok(())
}
