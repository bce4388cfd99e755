//! The batching writer, and random postings through every door.

use base::Fault;
use ops::Tasks;
use sqlx::Connection;

use super::*;
use crate::testing::{Client, People, Tally, differences};

/// Findings, without those that compare with trips: none are stored here.
async fn broken(db: &Db) -> Vec<Finding> {
    let findings = check_invariants(&mut tx(db).await).await.expect("checked");
    let of_trips = |f: &Finding| f.invariant == "M2" || f.detail.starts_with("rider ");
    findings.into_iter().filter(|finding| !of_trips(finding)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn random_postings_are_answered_right_and_leave_a_sound_ledger() {
    const CLIENTS: u64 = 64;
    let db = storage::testing::database().await;
    let tasks = Tasks::new();
    let ledger = Ledger::start(db.clone(), &tasks);
    let people = People::new(40);
    let mut clients = tokio::task::JoinSet::new();
    for seed in 0..CLIENTS {
        let client = Client::new(db.clone(), ledger.clone(), people.clone(), seed);
        clients.spawn(client.run(30));
    }
    let mut tally = Tally::default();
    while let Some(seen) = clients.join_next().await {
        tally.join(seen.expect("joined").expect("every answer is the one it must be"));
    }
    assert!(tally.posted > CLIENTS && tally.repeated > 0, "{tally:?}");
    let codes = ["insufficient", "key reused", "refund too large", "unbalanced"];
    assert!(codes.iter().all(|code| tally.refused.contains_key(code)), "{tally:?}");
    roll_up(&db).await.expect("rolled up");
    assert_eq!(differences(&db, &people, &tally).await.expect("read"), [""; 0]);
    assert_eq!(broken(&db).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refused_posting_costs_its_neighbours_nothing() {
    let db = storage::testing::database().await;
    let tasks = Tasks::new();
    let ledger = Ledger::start(db.clone(), &tasks);
    let user = rich_rider(&db, 10).await;
    let mut posts = tokio::task::JoinSet::new();
    for n in 0..40i64 {
        let amount = if n % 4 == 0 { -1_000_000 } else { 10 };
        let (ledger, journal) = (ledger.clone(), adjust(user, Role::Rider, amount, &n.to_string()));
        posts.spawn(async move { (amount, ledger.post(journal).await) });
    }
    while let Some(posted) = posts.join_next().await {
        match posted.expect("joined") {
            (10, answer) => assert_eq!(answer.expect("posted").repeat, Repeat::First),
            (_, answer) => assert!(matches!(answer, Err(PostError::InsufficientFunds))),
        }
    }
    assert_eq!(view(&db, user, Role::Rider).await, (1_000 + 30 * 10, 0, 0));
    assert_sound(&db).await;
}

#[tokio::test]
async fn what_a_vanished_caller_asked_for_is_posted() {
    let db = storage::testing::database().await;
    let tasks = Tasks::new();
    let ledger = Ledger::start(db.clone(), &tasks);
    let user = UserId::new();
    let journal = adjust(user, Role::Rider, 70, "gone");
    // Asked once: the journal is in the queue, and nobody waits for the answer.
    let gone = tokio::time::timeout(std::time::Duration::ZERO, ledger.post(journal.clone())).await;
    assert!(gone.is_err(), "{gone:?}");
    let mut looks = 0;
    while view(&db, user, Role::Rider).await.0 == 0 {
        looks += 1;
        assert!(looks < 10_000, "it never came");
    }
    assert_eq!(view(&db, user, Role::Rider).await, (70, 0, 0));
    assert_eq!(ledger.post(journal).await.expect("posted").repeat, Repeat::Again);
}

#[tokio::test]
async fn what_stands_under_our_own_id_was_posted_by_us() {
    let db = storage::testing::database().await;
    let user = UserId::new();
    let (id, journal) = (base::JournalId::new(), adjust(user, Role::Rider, 70, "k"));
    let other = adjust(user, Role::Rider, 80, "other");
    for _ in 0..2 {
        let mut tx1 = tx(&db).await;
        let posted = store::post_as_in_tx(&mut tx1, id, &journal).await.expect("posted");
        assert_eq!((posted.journal, posted.repeat), (id, Repeat::First));
        tx1.commit().await.expect("committed");
    }
    let mut tx1 = tx(&db).await;
    let named = [(base::JournalId::new(), &other), (id, &journal)];
    let answers = store::post_batch_as_in_tx(&mut tx1, &named).await.expect("answered");
    let said: Vec<_> = answers.into_iter().map(|a| a.expect("posted").repeat).collect();
    assert_eq!(said, [Repeat::First, Repeat::First]);
    assert_eq!(post_in_tx(&mut tx1, &journal).await.expect("posted").repeat, Repeat::Again);
}

/// Connections end in the middle of everything; callers ask again until they know.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postings_survive_connections_that_end() {
    const CLIENTS: u64 = 16;
    const EACH: i64 = 25;
    let db = storage::testing::database().await;
    let tasks = Tasks::new();
    let ledger = Ledger::start(db.clone(), &tasks);
    let user = UserId::new();
    let mut posts = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let (db, ledger) = (db.clone(), ledger.clone());
        posts.spawn(async move {
            let mut firsts = 0;
            for n in 0..EACH {
                let journal = adjust(user, Role::Rider, 1, &format!("{client}:{n}"));
                if n % 5 == 4 {
                    end_connections(&db).await;
                }
                loop {
                    match ledger.post(journal.clone()).await {
                        Ok(posted) => {
                            firsts += i64::from(posted.repeat == Repeat::First);
                            break;
                        }
                        Err(PostError::Fault(Fault::Unavailable(_) | Fault::Unknown(_))) => {}
                        Err(other) => panic!("{journal:?}: {other}"),
                    }
                }
            }
            firsts
        });
    }
    let mut firsts = 0;
    while let Some(seen) = posts.join_next().await {
        firsts += seen.expect("joined");
    }
    let all = i64::try_from(CLIENTS).expect("few") * EACH;
    assert_eq!(view(&db, user, Role::Rider).await, (all, 0, 0));
    // Where the answer stayed unknown the second asking finds it posted.
    assert!(firsts <= all);
    assert_eq!(broken(&db).await, []);
}

async fn end_connections(db: &Db) {
    let mut owner = storage::testing::owner(db).await;
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()
           AND application_name = 'smartline' AND query LIKE '%ledger_post%'",
    )
    .execute(&mut owner)
    .await
    .ok();
    owner.close().await.ok();
}
