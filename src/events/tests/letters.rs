//! Dead letters: whole, decided once, brought back where the rule says so.

use std::time::Duration;

use base::{Caller, Role, SessionId, UserId};
use storage::Who;

use super::*;

fn admin() -> Caller {
    let session = SessionId::from_u128(1);
    let expires = Clock::system().now() + Duration::from_secs(900);
    Caller { user: UserId::from_u128(7), role: Role::Admin, session, expires }
}

fn failing() -> std::sync::Arc<Hand> {
    let after = Some(Duration::ZERO);
    Hand::new(Box::new(move |job| {
        Box::pin(async move { Err(Failure::Again { why: format!("no {}", job.attempt), after }) })
    }))
}

const OPEN: &str = "SELECT count(*) FROM dead_letters WHERE status = 'open'";

#[tokio::test]
async fn a_job_that_fails_too_often_becomes_a_letter_with_its_story() {
    let stand = Stand::new().await;
    stand.add(&[work(1).key("k").lane(uuid(3))]).await;
    let _tasks = stand.work(&failing(), quick());
    stand.until(OPEN, 1).await;
    let letters = DeadLetters::new(&stand.db);
    let found = letters.list(&admin(), &LetterFilter::default(), None, 10).await.unwrap();
    let letter = &found[0];
    assert_eq!((letter.kind.as_str(), letter.attempts), ("work", 3));
    let told: Vec<&str> =
        letter.errors.as_array().unwrap().iter().map(|e| e["error"].as_str().unwrap()).collect();
    assert_eq!(told, ["no 1", "no 2", "no 3"]);
    assert_eq!(stand.count("SELECT count(*) FROM jobs").await, 0);
}

#[tokio::test]
async fn a_letter_is_decided_once_and_a_retried_one_starts_over() {
    let stand = Stand::new().await;
    stand.add(&[work(1)]).await;
    let tasks = stand.work(&failing(), quick());
    stand.until(OPEN, 1).await;
    tasks.stop(Duration::from_secs(5)).await;
    let letters = DeadLetters::new(&stand.db);
    let id = letters.list(&admin(), &LetterFilter::default(), None, 10).await.unwrap()[0].id;
    let decide = async |decision| {
        let mut tx = stand.db.begin(&Who::Caller(admin())).await.unwrap();
        let decided =
            DeadLetters::decide_in_tx(&mut tx, admin().user, id, decision, "mended").await;
        tx.commit().await.unwrap();
        decided
    };
    let letter = decide(Decision::Retry).await.unwrap();
    assert_eq!(letter.status, LetterStatus::Retried);
    assert_eq!(decide(Decision::Discard).await.unwrap_err().code, base::Code::NotFound);
    let hand = Hand::willing();
    let _tasks = stand.work(&hand, quick());
    assert_eq!(hand.given(1).await, [("1".to_owned(), 1)]);
    assert_eq!(stand.count(OPEN).await, 0);
}

#[tokio::test]
async fn a_trips_letter_is_brought_back_three_times_and_then_stays() {
    static TRIP: Kind = Kind {
        name: "work",
        queue: Queue::TripEvents,
        priority: Priority::Critical,
        version: 1,
        attempts: 1,
        on_dead: OnDead::Recover,
    };
    let stand = Stand::new().await;
    stand.add(&[NewJob::new(&TRIP, &1).unwrap()]).await;
    let handlers = Handlers::default().on(&TRIP, failing() as _);
    let _tasks = stand.work_on(handlers, quick());
    let letters = DeadLetters::new(&stand.db);
    let recover = async |after_s| {
        let clock = Clock::manual(Clock::system().now() + Duration::from_secs(after_s));
        letters.recover(&clock).await.unwrap()
    };
    for (early, due) in [(200, 310), (1700, 1810), (7100, 7210)] {
        stand.until(OPEN, 1).await;
        assert_eq!(recover(early).await, 0);
        assert_eq!(recover(due).await, 1);
    }
    stand.until(OPEN, 1).await;
    assert_eq!(recover(1_000_000).await, 0);
    let story = "SELECT max(recoveries)::bigint FROM dead_letters WHERE status = 'open'";
    assert_eq!(stand.count(story).await, 3);
}

/// Letters that nobody brings back any more are the oldest ones: they must not hide younger ones.
#[tokio::test]
async fn hopeless_letters_do_not_stand_in_the_way_of_others() {
    let stand = Stand::new().await;
    stand
        .run(
            "INSERT INTO dead_letters (queue, kind, version, payload, priority, max_attempts, rule, \
               attempts, errors, recoveries, made_at, died_at) \
             SELECT 'trip-events', 'work', 1, '0', 0, 1, 'recover', 1, '[]', \
               CASE WHEN n <= 150 THEN 3 ELSE 0 END, now(), now() - make_interval(days => 200 - n) \
             FROM generate_series(1, 151) n",
        )
        .await;
    let letters = DeadLetters::new(&stand.db);
    assert_eq!(letters.recover(&Clock::system()).await.unwrap(), 1);
    assert_eq!(stand.count(OPEN).await, 150);
}
