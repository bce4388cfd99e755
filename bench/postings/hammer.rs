//! Random postings in numbers: good, repeated, altered, unbalanced and overdrawn ones through every
//! door, each answered as it must be, and a ledger that is sound after them.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use ledger::Ledger;
use ledger::testing::{Client, People, Tally, differences};
use ops::Tasks;
use storage::Durability;
use tokio::task::JoinSet;

use super::{CLIENTS, sound};
use crate::postgres::Postgres;
use crate::table::{Figure, Row};

/// Riders, and as many drivers.
const PEOPLE: usize = 2000;

pub(crate) async fn hammer(count: u64) -> anyhow::Result<Vec<Row>> {
    let postgres = Postgres::start(Durability::Full).await?;
    eprintln!("postings: {count} random ones, {}", postgres.describe().await?);
    let tasks = Tasks::new();
    let ledger = Ledger::start(postgres.db.clone(), &tasks);
    // Clients that post in transactions of their own wait for each other's accounts.
    let direct = postgres.writers(CLIENTS / 4).await?;
    let people = People::new(PEOPLE);
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    for seed in 0..CLIENTS as u64 {
        let client = Client::new(direct.clone(), ledger.clone(), people.clone(), seed);
        clients.spawn(client.run(count / CLIENTS as u64));
    }
    let mut tally = Tally::default();
    while let Some(seen) = clients.join_next().await {
        match seen? {
            Ok(seen) => tally.join(seen),
            Err(wrong) => bail!("a wrong answer: {wrong}"),
        }
    }
    let took = begun.elapsed().as_secs_f64();
    ledger::roll_up(&postgres.db).await?;
    let wrong = differences(&postgres.db, &people, &tally).await?;
    ensure!(wrong.is_empty(), "balances are not what was posted: {wrong:?}");
    let checking = Instant::now();
    sound(&postgres.db).await?;
    direct.close().await;
    tasks.stop(Duration::from_secs(60)).await;
    postgres.stop().await;
    let mut rows = vec![
        Row::alone("random postings", Figure::new("/s", vec![tally.answered() as f64 / took])),
        Row::alone("posted", Figure::new("", vec![tally.posted as f64])),
        Row::alone("repeated", Figure::new("", vec![tally.repeated as f64])),
    ];
    let mut refused: Vec<_> = tally.refused.into_iter().collect();
    refused.sort_unstable();
    for (name, count) in refused {
        rows.push(Row::alone(format!("refused: {name}"), Figure::new("", vec![count as f64])));
    }
    let seconds = checking.elapsed().as_secs_f64();
    rows.push(Row::alone("all invariants checked", Figure::new("s", vec![seconds])));
    Ok(rows)
}
