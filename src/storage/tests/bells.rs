//! Waiters are called by commits of this node and of others, and by nothing else.

use std::time::Duration;

use ops::Tasks;
use tokio::sync::mpsc;

use crate::{Db, Ring, Who, listen, testing};

const LETTERS: Ring = Ring { channel: "smartline_test", part: "letters" };
/// Far above what a notification takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a node's waiter is called with.
fn waiter(db: &Db) -> mpsc::Receiver<String> {
    let (tell, called) = mpsc::channel(100);
    db.on_ring(LETTERS.channel, move |part| tell.try_send(part.to_owned()).expect("there is room"));
    called
}

async fn next(called: &mut mpsc::Receiver<String>) -> String {
    let call = tokio::time::timeout(PATIENCE, called.recv());
    call.await.expect("it is called in time").expect("its node lives")
}

async fn bring(db: &Db) {
    let mut tx = db.begin(&Who::System).await.unwrap();
    tx.rings(LETTERS);
    tx.rings(LETTERS);
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_commit_calls_the_waiters_of_its_node_and_a_rollback_nobody() {
    let db = testing::database().await;
    let mut called = waiter(&db);
    let mut tx = db.begin(&Who::System).await.unwrap();
    tx.rings(LETTERS);
    drop(tx);
    bring(&db).await;
    assert_eq!(called.try_recv(), Ok("letters".to_owned()), "before commit returns");
    assert!(called.try_recv().is_err(), "once");
}

#[tokio::test]
async fn what_one_node_brings_others_hear_and_its_own_echo_it_does_not() {
    let here = testing::database().await;
    let there = testing::another(&here).await;
    let (mut called, mut others) = (waiter(&here), waiter(&there));
    let tasks = Tasks::new();
    listen(&here, &tasks);
    listen(&there, &tasks);
    // Both look at everything once they listen: something may have come before.
    assert_eq!(next(&mut called).await, "");
    assert_eq!(next(&mut others).await, "");
    bring(&here).await;
    assert_eq!(next(&mut called).await, "letters");
    assert_eq!(next(&mut others).await, "letters");
    // An echo would come before the answer to it.
    bring(&there).await;
    assert_eq!(next(&mut others).await, "letters");
    assert_eq!(next(&mut called).await, "letters");
    assert!(called.try_recv().is_err() && others.try_recv().is_err(), "nobody hears himself");
    tasks.stop(Duration::from_secs(5)).await;
}
