//! One key, one effect, one answer.

use std::time::Duration;

use base::UserId;
use storage::Who;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

fn asked(body: &str) -> Asked<'static> {
    let (scope, route) = (UserId::from_u128(5), "POST /trips/request");
    Asked { scope, route, key: "abc", fingerprint: fingerprint(route, body.as_bytes()), keep: DAY }
}

/// What the key says, and what an attempt may do with it.
fn says(begun: &Begun) -> String {
    match begun {
        Begun::Run(once) if once.applied() == Some(uuid(77)) => "answer".to_owned(),
        Begun::Run(_) => "run".to_owned(),
        Begun::Replay { status, answer } => format!("{status} {answer}"),
        Begun::Running => "running".to_owned(),
        Begun::Reused => "reused".to_owned(),
    }
}

/// An effect under the key; whether it was committed.
async fn effect(stand: &Stand, once: &Once) -> bool {
    let mut tx = stand.db.begin(&Who::System).await.unwrap();
    add_in_tx(&mut tx, &[work(1)]).await.unwrap();
    match once.mark_in_tx(&mut tx, uuid(77)).await {
        Ok(()) => tx.commit().await.is_ok(),
        Err(_) => false,
    }
}

fn run(begun: Begun) -> Once {
    match begun {
        Begun::Run(once) => once,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_key_one_effect() {
    let stand = Stand::new().await;
    let keys = IdempotencyKeys::new(stand.db.clone());
    let begun =
        futures_util::future::join_all((0..20).map(|_| async { keys.begin(&asked("{}")).await }));
    let begun: Vec<Begun> = begun.await.into_iter().map(Result::unwrap).collect();
    let running: Vec<String> = begun.iter().map(says).filter(|s| s != "running").collect();
    assert_eq!(running, ["run"]);
    let mine = begun.into_iter().find(|b| matches!(b, Begun::Run(_))).map(run).unwrap();
    assert!(effect(&stand, &mine).await);
    assert!(!effect(&stand, &mine).await, "a second effect of one attempt");
    assert_eq!(says(&keys.begin(&asked("{}")).await.unwrap()), "running");
    keys.answer(&mine, 201, r#"{"tripId":1}"#).await.unwrap();
    assert_eq!(says(&keys.begin(&asked("{}")).await.unwrap()), r#"201 {"tripId":1}"#);
    assert_eq!(says(&keys.begin(&asked("{ }")).await.unwrap()), r#"201 {"tripId":1}"#);
    assert_eq!(says(&keys.begin(&asked(r#"{"a":1}"#)).await.unwrap()), "reused");
    assert_eq!(stand.count("SELECT count(*) FROM jobs").await, 1);
}

#[tokio::test]
async fn an_attempt_that_was_given_up_has_no_effect_any_more() {
    let stand = Stand::new().await;
    let keys = IdempotencyKeys::new(stand.db.clone());
    let first = run(keys.begin(&asked("{}")).await.unwrap());
    stand.run("UPDATE idempotency SET lease_until = now() - interval '1 s'").await;
    let second = run(keys.begin(&asked("{}")).await.unwrap());
    assert!(!effect(&stand, &first).await);
    assert!(effect(&stand, &second).await);
    assert_eq!(stand.count("SELECT count(*) FROM jobs").await, 1);
}

#[tokio::test]
async fn an_attempt_that_died_before_its_answer_is_answered_by_the_next() {
    let stand = Stand::new().await;
    let keys = IdempotencyKeys::new(stand.db.clone());
    let first = run(keys.begin(&asked("{}")).await.unwrap());
    assert!(effect(&stand, &first).await);
    stand.run("UPDATE idempotency SET lease_until = now() - interval '1 s'").await;
    let next = keys.begin(&asked("{}")).await.unwrap();
    assert_eq!(says(&next), "answer");
    let next = run(next);
    assert!(!effect(&stand, &next).await, "its effect is there already");
    keys.answer(&next, 200, "{}").await.unwrap();
    assert_eq!(says(&keys.begin(&asked("{}")).await.unwrap()), "200 {}");
}

#[tokio::test]
async fn a_key_is_free_again_after_a_failure_and_after_its_time() {
    let stand = Stand::new().await;
    let keys = IdempotencyKeys::new(stand.db.clone());
    let failed = run(keys.begin(&asked("{}")).await.unwrap());
    keys.release(&failed).await.unwrap();
    let again = run(keys.begin(&asked("{}")).await.unwrap());
    keys.answer(&again, 201, "1").await.unwrap();
    stand.run("UPDATE idempotency SET expires_at = now() - interval '1 s', lease_until = now() - interval '1 s'").await;
    // Even another request may use it then.
    assert_eq!(says(&keys.begin(&asked(r#"{"a":1}"#)).await.unwrap()), "run");
    stand.run("UPDATE idempotency SET expires_at = now() - interval '1 s', lease_until = now() - interval '1 s'").await;
    assert_eq!(keys.sweep().await.unwrap(), 1);
}
