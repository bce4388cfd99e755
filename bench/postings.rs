//! Postings: money moved between a person's account and the company's, 64 clients at a time, three
//! in ten on one account that everybody wants.
//!
//! Three ways, one after another in each run, on the same server: the seed's pattern made correct
//! (the balances locked, checked and written by a statement each, in a transaction), the product's
//! function in a transaction per posting, and its batching writer. The rival's tables are its own,
//! without triggers, facts or outbox, which ours all carry; its statements are prepared and every
//! client of it has a connection. Entries in it say what they leave on either account, as the
//! seed's do, so the company's row is locked too; a second rival does without that.

mod hammer;
mod seed;

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use base::{Dice, Piasters, UserId};
use ledger::{Journal, Ledger, Posted, Repeat, Wallet};
use ops::Tasks;
use storage::{Db, Durability};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::Options;
use crate::durable::{Stopwatch, Taken, beside};
use crate::postgres::Postgres;
use crate::table::{Bound, Figure, Row, quantile};

const CLIENTS: usize = 64;
const PEOPLE: u128 = 5000;
/// Of ten postings so many are about the first person.
const HOT: u64 = 3;

/// What one way took, with how long its callers waited.
#[derive(Default)]
struct Way {
    taken: Taken,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
}

impl Way {
    fn waited(&mut self, mut waits: Vec<Duration>) {
        waits.sort_unstable();
        let sorted: Vec<f64> = waits.iter().map(|wait| wait.as_secs_f64() * 1e3).collect();
        self.p50_ms.push(quantile(&sorted, 0.5));
        self.p99_ms.push(quantile(&sorted, 0.99));
    }
}

pub(crate) use hammer::hammer;

pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let postgres = Postgres::start(Durability::Full).await?;
    eprintln!("postings: {}", postgres.describe().await?);
    let (few, many) = if options.quick { (640, 3200) } else { (3200, 32_000) };
    let rival = seed::Seed::start(&postgres).await?;
    let tasks = Tasks::new();
    let ledger = Ledger::start(postgres.db.clone(), &tasks);
    let writers = postgres.writers(CLIENTS).await?;
    let [mut locked, mut unlocked, mut single, mut batched] = [(); 4].map(|()| Way::default());
    for run in 0..options.runs {
        eprintln!("postings: run {}", run + 1);
        rival.run(few, seed::Company::Locked, run, &mut locked).await?;
        rival.run(few, seed::Company::Unlocked, run, &mut unlocked).await?;
        crowd(&postgres, &writers, one_by_one, (few, run), &mut single).await?;
        sound(&postgres.db).await?;
        crowd(&postgres, &ledger, together, (many, run), &mut batched).await?;
        sound(&postgres.db).await?;
    }
    writers.close().await;
    tasks.stop(Duration::from_secs(60)).await;
    let name = "seed's pattern";
    let mut rows: Vec<Row> =
        beside("a posting, batched", &batched.taken, name, &locked.taken, Some(8.0)).collect();
    let p50 = |way: &Way| Figure::new("ms", way.p50_ms.clone());
    let p99 = |way: &Way| Figure::new("ms", way.p99_ms.clone());
    rows.push(Row::less("a posting, batched: p50", p50(&batched), name, p50(&locked)));
    rows.push(
        Row::less("a posting, batched: p99", p99(&batched), name, p99(&locked))
            .bound(Bound::Max(50.0)),
    );
    let name = "the same without the company's balance";
    rows.extend(beside("a posting, batched", &batched.taken, name, &unlocked.taken, None));
    let name = "the function each";
    rows.extend(beside("a posting, batched", &batched.taken, name, &single.taken, None));
    rows.push(Row::less("a posting, batched: p99", p99(&batched), name, p99(&single)));
    postgres.stop().await;
    Ok(rows)
}

/// Who gets how much, the same in every way.
fn posting(dice: &Dice) -> (UserId, Piasters) {
    let who = if dice.below(10) < HOT { 0 } else { u128::from(dice.next_u64()) % PEOPLE };
    (UserId::from_u128(1 + who), Piasters(1 + i64::try_from(dice.below(10_000)).unwrap_or(0)))
}

/// A client's chance, another one in every run.
fn dice(client: usize, run: u32) -> Dice {
    Dice::seeded(client as u64 * 1000 + u64::from(run))
}

fn deposit(dice: &Dice) -> Journal {
    let (who, amount) = posting(dice);
    ledger::deposit(Uuid::now_v7(), Wallet::Rider(who.as_rider()), amount)
}

async fn one_by_one(db: Db, journal: Journal) -> anyhow::Result<Posted> {
    let mut tx = db.begin_writer().await?;
    let posted = ledger::post_in_tx(&mut tx, &journal).await?;
    tx.commit().await?;
    Ok(posted)
}

async fn together(ledger: Ledger, journal: Journal) -> anyhow::Result<Posted> {
    Ok(ledger.post(journal).await?)
}

/// All clients post through `door` by `post`, `count` times together.
async fn crowd<D, P>(
    postgres: &Postgres,
    door: &D,
    post: fn(D, Journal) -> P,
    (count, run): (usize, u32),
    way: &mut Way,
) -> anyhow::Result<()>
where
    D: Clone + Send + 'static,
    P: Future<Output = anyhow::Result<Posted>> + Send + 'static,
{
    let watch = Stopwatch::start(postgres)?;
    let mut tasks = JoinSet::new();
    for client in 0..CLIENTS {
        let door = door.clone();
        tasks.spawn(async move {
            let dice = dice(client, run);
            let mut waits = Vec::new();
            for _ in 0..count / CLIENTS {
                let journal = deposit(&dice);
                let begun = Instant::now();
                let posted = post(door.clone(), journal).await?;
                ensure!(posted.repeat == Repeat::First, "{posted:?} stood already");
                waits.push(begun.elapsed());
            }
            anyhow::Ok(waits)
        });
    }
    finish(tasks, watch, way).await
}

async fn finish(
    mut tasks: JoinSet<anyhow::Result<Vec<Duration>>>,
    watch: Stopwatch<'_>,
    way: &mut Way,
) -> anyhow::Result<()> {
    let mut waits = Vec::new();
    while let Some(waited) = tasks.join_next().await {
        waits.extend(waited??);
    }
    watch.stop(waits.len(), &mut way.taken)?;
    way.waited(waits);
    Ok(())
}

/// Every invariant of the ledger, but those that compare it with trips: there are none.
async fn sound(db: &Db) -> anyhow::Result<()> {
    let mut tx = db.begin_writer().await?;
    sqlx::query("SET LOCAL statement_timeout = 0").execute(tx.conn()).await?;
    let findings = ledger::check_invariants(&mut tx).await.context("the ledger can't be read")?;
    let of_trips = |f: &ledger::Finding| f.invariant == "M2" || f.detail.starts_with("rider ");
    let findings: Vec<_> = findings.into_iter().filter(|f| !of_trips(f)).collect();
    ensure!(findings.is_empty(), "the ledger is not sound: {findings:?}");
    Ok(())
}
