//! Facts: gapless, unchangeable, told in order, each once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base::{Fault, Millis};
use storage::Who;

use super::*;

/// Makes a job of every fact, in the lane of its aggregate.
struct Scribe {
    /// Refuses the facts of one aggregate while set.
    refuses: AtomicBool,
}

const DIFFICULT: u128 = 2;

impl Consumer for Scribe {
    fn name(&self) -> &'static str {
        "scribe"
    }

    fn jobs(&self, fact: &Published) -> Result<Vec<NewJob>, Fault> {
        if fact.aggregate_id == uuid(DIFFICULT) && self.refuses.load(Ordering::SeqCst) {
            return Err(Fault::internal("not this one"));
        }
        let told = format!("{}:{}", fact.aggregate_id.as_u128(), fact.seq);
        Ok(vec![NewJob::new(&WORK, &told)?.lane(fact.aggregate_id)])
    }
}

fn relay(stand: &Stand) -> (Relay, Arc<Scribe>) {
    let scribe = Arc::new(Scribe { refuses: AtomicBool::new(false) });
    let relay = Relay::new(stand.db.clone(), vec![Arc::clone(&scribe) as _]);
    (relay, scribe)
}

async fn append(db: &Db, aggregate: u128) -> i32 {
    let mut tx = db.begin(&Who::System).await.unwrap();
    let seq = append_in(&mut tx, aggregate).await.unwrap();
    tx.commit().await.unwrap();
    seq
}

async fn append_in(tx: &mut storage::Tx, aggregate: u128) -> Result<i32, Fault> {
    let fact = Fact {
        aggregate: "driver",
        id: uuid(aggregate),
        kind: "DRIVER_ONLINE",
        version: 1,
        payload: &serde_json::json!({}),
        at: Millis(1_700_000_000_000),
    };
    append_in_tx(tx, &fact).await
}

async fn told(stand: &Stand) -> Vec<String> {
    let mut conn = stand.owner().await;
    let sql = "SELECT payload #>> '{}' FROM jobs ORDER BY id";
    sqlx::query_scalar(sql).fetch_all(&mut conn).await.unwrap()
}

#[tokio::test]
async fn a_fact_that_is_told_again_after_an_unknown_commit_is_one() {
    let stand = Stand::new().await;
    let tell = async |kind, at| {
        let fact = Fact {
            aggregate: "driver",
            id: uuid(1),
            kind,
            version: 1,
            payload: &(),
            at: Millis(at),
        };
        let mut tx = stand.db.begin(&Who::System).await.unwrap();
        let number = append_once_in_tx(&mut tx, &fact).await.unwrap();
        tx.commit().await.unwrap();
        number
    };
    assert_eq!(tell("DRIVER_ONLINE", 1).await, Some(1));
    assert_eq!(tell("DRIVER_OFFLINE", 1).await, Some(2));
    assert_eq!(tell("DRIVER_ONLINE", 1).await, None, "it is there");
    assert_eq!(tell("DRIVER_ONLINE", 2).await, Some(3));
}

#[tokio::test]
async fn facts_are_numbered_without_gaps_and_never_change() {
    let stand = Stand::new().await;
    let numbers = futures_util::future::join_all((0..10).map(|_| append(&stand.db, 1))).await;
    let mut sorted = numbers.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (1..=10).collect::<Vec<_>>());
    let refused = async |sql: &str| {
        let mut conn = stand.owner().await;
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut conn).await;
        storage::raised(&done.unwrap_err()).unwrap().to_owned()
    };
    assert_eq!(refused("UPDATE event_store SET event_type = 'X'").await, "SL201");
    assert_eq!(refused("DELETE FROM event_store").await, "SL201");
    assert_eq!(refused("TRUNCATE event_store").await, "SL201");
    let gap = "INSERT INTO event_store (aggregate_type, aggregate_id, seq, event_type, payload, \
               created_at) SELECT aggregate_type, aggregate_id, 12, 'X', '{}', now() \
               FROM event_store LIMIT 1";
    assert_eq!(refused(gap).await, "SL202");
}

#[tokio::test]
async fn a_fact_that_becomes_visible_late_is_not_skipped() {
    let stand = Stand::new().await;
    let (relay, _) = relay(&stand);
    let mut late = stand.db.begin(&Who::System).await.unwrap();
    append_in(&mut late, 1).await.unwrap();
    // Has a higher number in the outbox and is committed first.
    append(&stand.db, 3).await;
    assert_eq!(relay.catch_up().await.unwrap(), 1);
    late.commit().await.unwrap();
    assert_eq!(relay.catch_up().await.unwrap(), 1);
    assert_eq!(told(&stand).await, ["3:1", "1:1"]);
}

#[tokio::test]
async fn nothing_is_told_of_what_was_rolled_back() {
    let stand = Stand::new().await;
    let (relay, _) = relay(&stand);
    let mut tx = stand.db.begin(&Who::System).await.unwrap();
    append_in(&mut tx, 1).await.unwrap();
    drop(tx);
    assert_eq!(append(&stand.db, 1).await, 1);
    relay.catch_up().await.unwrap();
    assert_eq!(told(&stand).await, ["1:1"]);
}

#[tokio::test]
async fn an_aggregate_waits_behind_its_own_fact_that_can_not_be_told_and_others_do_not() {
    let stand = Stand::new().await;
    let (relay, scribe) = relay(&stand);
    scribe.refuses.store(true, Ordering::SeqCst);
    for aggregate in [1, DIFFICULT, DIFFICULT, 1] {
        append(&stand.db, aggregate).await;
    }
    relay.catch_up().await.unwrap();
    assert_eq!(told(&stand).await, ["1:1", "1:2"]);
    scribe.refuses.store(false, Ordering::SeqCst);
    append(&stand.db, DIFFICULT).await;
    relay.catch_up().await.unwrap();
    assert_eq!(told(&stand).await, ["1:1", "1:2"], "it waits for its time");
    stand.run("UPDATE outbox SET next_at = now()").await;
    relay.catch_up().await.unwrap();
    assert_eq!(told(&stand).await, ["1:1", "1:2", "2:1", "2:2", "2:3"]);
}

/// Relays that are gone in the middle of their work, several at once, while facts come.
#[test]
fn every_fact_becomes_one_job_whatever_dies() {
    const AGGREGATES: u128 = 6;
    const EACH: usize = 15;
    let steady = tokio::runtime::Runtime::new().unwrap();
    let stand = Arc::new(steady.block_on(Stand::new()));
    let writer = Arc::clone(&stand);
    let writing = steady.spawn(async move {
        for _ in 0..EACH {
            for aggregate in 1..=AGGREGATES {
                append(&writer.db, aggregate).await;
            }
        }
    });
    let mut rounds = 0;
    while !writing.is_finished() || rounds < 10 {
        let mortal = tokio::runtime::Runtime::new().unwrap();
        mortal.block_on(async {
            let one = Stand::on(testing::another(&stand.db).await);
            let (relay, _) = relay(&one);
            let working = futures_util::future::join(relay.catch_up(), relay.catch_up());
            // Gone after a number of steps that differs from round to round.
            let steps = async {
                for _ in 0..rounds * 3 {
                    tokio::task::yield_now().await;
                }
            };
            futures_util::future::select(Box::pin(working), Box::pin(steps)).await;
        });
        mortal.shutdown_background();
        rounds += 1;
    }
    steady.block_on(async {
        writing.await.unwrap();
        let (relay, _) = relay(&stand);
        while stand.count("SELECT count(*) FROM outbox").await > 0 {
            relay.catch_up().await.unwrap();
        }
        let told = told(&stand).await;
        for aggregate in 1..=AGGREGATES {
            let own = format!("{aggregate}:");
            let numbers: Vec<&String> = told.iter().filter(|t| t.starts_with(&own)).collect();
            let expected: Vec<String> = (1..=EACH).map(|n| format!("{own}{n}")).collect();
            assert_eq!(numbers, expected.iter().collect::<Vec<_>>());
        }
    });
}
