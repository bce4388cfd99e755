//! Jobs: at least once, in order where it was asked for, none starved.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ops::Stopped;
use storage::Who;

use super::*;

const LEFT: &str = "SELECT count(*) FROM jobs";

#[tokio::test]
async fn a_job_exists_when_its_transaction_commits_and_only_then() {
    let stand = Stand::new().await;
    let mut tx = stand.db.begin(&Who::System).await.unwrap();
    add_in_tx(&mut tx, &[work(1)]).await.unwrap();
    drop(tx);
    assert_eq!(stand.count(LEFT).await, 0);
    let mut tx = stand.db.begin(&Who::System).await.unwrap();
    assert_eq!(add_in_tx(&mut tx, &[work(1), work(2)]).await.unwrap(), 2);
    tx.commit().await.unwrap();
    let hand = Hand::willing();
    let tasks = stand.work(&hand, quick());
    assert_eq!(hand.given(2).await, [("1".to_owned(), 1), ("2".to_owned(), 1)]);
    stand.until(LEFT, 0).await;
    assert_eq!(tasks.stop(Duration::from_secs(5)).await, Stopped::Clean);
}

#[tokio::test]
async fn a_key_waits_once() {
    let stand = Stand::new().await;
    stand.add(&[work(1).key("receipt"), work(2).key("receipt"), work(3)]).await;
    stand.add(&[work(4).key("receipt")]).await;
    assert_eq!(stand.count(LEFT).await, 2);
    let hand = Hand::willing();
    let _tasks = stand.work(&hand, quick());
    stand.until(LEFT, 0).await;
    // Done: the key is free again.
    stand.add(&[work(5).key("receipt")]).await;
    let seen = hand.given(3).await;
    assert_eq!(seen.last(), Some(&("5".to_owned(), 1)));
}

#[tokio::test]
async fn a_lane_runs_one_at_a_time_in_order_also_when_one_has_to_be_repeated() {
    let stand = Stand::new().await;
    let busy = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&busy);
    let hand = Hand::new(Box::new(move |job| {
        let busy = Arc::clone(&counter);
        Box::pin(async move {
            assert_eq!(busy.fetch_add(1, Ordering::SeqCst), 0, "two of a lane at once");
            tokio::task::yield_now().await;
            busy.fetch_sub(1, Ordering::SeqCst);
            let after = Some(Duration::ZERO);
            match (job.payload.as_str(), job.attempt) {
                ("2", 1) => Err(Failure::Again { why: "not yet".to_owned(), after }),
                _ => Ok(Done::Finished),
            }
        })
    }));
    let jobs: Vec<NewJob> = (1..=5).map(|n| work(n).lane(uuid(9))).collect();
    stand.add(&jobs).await;
    let _tasks = stand.work(&hand, quick());
    stand.until(LEFT, 0).await;
    let seen: Vec<String> = hand.given(6).await.into_iter().map(|(payload, _)| payload).collect();
    assert_eq!(seen, ["1", "2", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn the_least_urgent_job_is_the_most_urgent_some_day() {
    static LOW: Kind = Kind { priority: Priority::Low, ..WORK_ };
    static CRITICAL: Kind = Kind { priority: Priority::Critical, ..WORK_ };
    const WORK_: Kind = Kind {
        name: "work",
        queue: Queue::TripEvents,
        priority: Priority::Normal,
        version: 1,
        attempts: 3,
        on_dead: OnDead::Support,
    };
    let stand = Stand::new().await;
    stand.add(&[NewJob::new(&LOW, &"low").unwrap()]).await;
    stand.add(&[NewJob::new(&CRITICAL, &"first").unwrap()]).await;
    // A low one that has waited for longer than its patience.
    stand.add(&[NewJob::new(&LOW, &"old").unwrap()]).await;
    stand
        .run(
            "UPDATE jobs SET run_at = run_at - interval '61 s', rank_at = rank_at - interval '61 s' \
             WHERE payload = '\"old\"'",
        )
        .await;
    let hand = Hand::willing();
    let _tasks = stand.work(&hand, WorkerConfig { at_once: 1, ..quick() });
    let seen: Vec<String> = hand.given(3).await.into_iter().map(|(payload, _)| payload).collect();
    assert_eq!(seen, ["\"old\"", "\"first\"", "\"low\""]);
}

#[tokio::test]
async fn a_later_job_waits_for_its_time_and_a_newer_version_for_a_newer_worker() {
    static NEWER: Kind = Kind { version: 2, ..WORK_ };
    const WORK_: Kind = Kind {
        name: "work",
        queue: Queue::TripEvents,
        priority: Priority::Normal,
        version: 1,
        attempts: 3,
        on_dead: OnDead::Support,
    };
    let stand = Stand::new().await;
    let later = Clock::system().now() + Duration::from_secs(3600);
    stand.add(&[work(1).at(later), NewJob::new(&NEWER, &2).unwrap(), work(3)]).await;
    let hand = Hand::willing();
    let _tasks = stand.work(&hand, quick());
    assert_eq!(hand.given(1).await, [("3".to_owned(), 1)]);
    stand.until(LEFT, 2).await;
    stand.run("UPDATE jobs SET run_at = now(), rank_at = now() WHERE payload = '1'").await;
    assert_eq!(hand.given(2).await[1], ("1".to_owned(), 1));
    stand.until("SELECT count(*) FROM jobs WHERE version = 1", 0).await;
    assert_eq!(stand.count("SELECT attempts::bigint FROM jobs WHERE version = 2").await, 0);
}

#[tokio::test]
async fn a_crowded_queue_takes_only_what_is_urgent() {
    let stand = Stand::new().await;
    stand
        .run(
            "INSERT INTO jobs (queue, kind, version, payload, priority, run_at, rank_at, \
               max_attempts, on_dead) SELECT 'trip-events', 'other', 1, '0', 2, now(), now(), 1, \
               'support' FROM generate_series(1, 5000)",
        )
        .await;
    let hand = Hand::willing();
    let _tasks = stand.work(&hand, quick());
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    while stand.jobs.depth(Queue::TripEvents) < 5000 {
        tick.tick().await;
    }
    let refused = stand.jobs.add(&[work(1)]).await;
    assert!(matches!(refused, Err(AddError::Full(Queue::TripEvents))), "{refused:?}");
    static URGENT: Kind = Kind {
        name: "work",
        queue: Queue::TripEvents,
        priority: Priority::Critical,
        version: 1,
        attempts: 1,
        on_dead: OnDead::ByHand,
    };
    stand.add(&[NewJob::new(&URGENT, &2).unwrap()]).await;
    assert_eq!(hand.given(1).await, [("2".to_owned(), 1)]);
}

/// Each round a worker takes jobs and is gone in the middle of them, as with a killed process. The
/// effect shares the job's transaction: at the end each happened once.
#[test]
fn a_job_whose_worker_died_is_run_again_and_its_effect_is_one() {
    const JOBS: usize = 60;
    let steady = tokio::runtime::Runtime::new().unwrap();
    let stand = steady.block_on(async {
        let stand = Stand::new().await;
        stand.run("CREATE TABLE effects (job text); GRANT ALL ON effects TO smartline_app").await;
        let jobs: Vec<NewJob> = (0..JOBS).map(work).collect();
        stand.add(&jobs).await;
        stand
    });
    let handed = Arc::new(AtomicUsize::new(0));
    for _ in 0..8 {
        let mortal = tokio::runtime::Runtime::new().unwrap();
        mortal.block_on(async {
            let db = testing::another(&stand.db).await;
            let hand = storing(&db, &handed);
            let config = WorkerConfig { lease: Duration::from_millis(300), ..quick() };
            let before = handed.load(Ordering::SeqCst);
            let _tasks = Stand::on(db).work(&hand, config);
            // Some are stored, some are under way.
            let mut tick = tokio::time::interval(Duration::from_millis(1));
            while handed.load(Ordering::SeqCst) < before + 5 && stand.count(LEFT).await > 0 {
                tick.tick().await;
            }
        });
        mortal.shutdown_background();
    }
    steady.block_on(async {
        let hand = storing(&stand.db, &handed);
        let _tasks = stand.work(&hand, quick());
        stand.until(LEFT, 0).await;
        let lost = stand.count("SELECT count(*) FROM dead_letters").await;
        let (all, one) =
            ("SELECT count(*) FROM effects", "SELECT count(DISTINCT job) FROM effects");
        let effects = (stand.count(all).await, stand.count(one).await);
        // A job that was taken so often that its tries ran out is a letter, and had no effect.
        assert_eq!((effects.0, effects.1 + lost), (effects.1, JOBS as i64));
    });
}

/// Stores its effect and ends the job in one transaction.
fn storing(db: &Db, handed: &Arc<AtomicUsize>) -> Arc<Hand> {
    let (db, handed) = (db.clone(), Arc::clone(handed));
    Hand::new(Box::new(move |job| {
        let (db, handed) = (db.clone(), Arc::clone(&handed));
        Box::pin(async move {
            handed.fetch_add(1, Ordering::SeqCst);
            let mut tx = db.begin(&Who::System).await?;
            sqlx::query("INSERT INTO effects VALUES ($1)")
                .bind(&job.payload)
                .execute(tx.conn())
                .await
                .map_err(storage::fault)?;
            job.finish_in_tx(&mut tx).await?;
            tx.commit().await?;
            Ok(Done::Stored)
        })
    }))
}

/// It only seemed dead: its lease lapsed, another worker did the job, then it wants to store.
#[tokio::test]
async fn a_worker_that_lost_its_job_stores_nothing() {
    let stand = Stand::new().await;
    stand.run("CREATE TABLE effects (job text); GRANT ALL ON effects TO smartline_app").await;
    stand.add(&[work(1)]).await;
    let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (db, tell, wait) = (stand.db.clone(), Arc::clone(&entered), Arc::clone(&go));
    let slow = Hand::new(Box::new(move |job| {
        let (db, tell, wait) = (db.clone(), Arc::clone(&tell), Arc::clone(&wait));
        Box::pin(async move {
            tell.notify_one();
            wait.notified().await;
            let mut tx = db.begin(&Who::System).await?;
            job.finish_in_tx(&mut tx).await?;
            tx.commit().await?;
            Ok(Done::Stored)
        })
    }));
    // It renews nothing for as long as the test takes, and has no hand free for the job's return.
    let config = WorkerConfig { at_once: 1, lease: Duration::from_secs(3600), ..quick() };
    let slow_tasks = stand.work(&slow, config);
    entered.notified().await;
    stand.run("UPDATE jobs SET run_at = now()").await;
    let other = Stand::on(stand.db.clone());
    let counted = Arc::new(AtomicUsize::new(0));
    let _tasks = other.work(&storing(&stand.db, &counted), quick());
    stand.until(LEFT, 0).await;
    go.notify_one();
    slow.given(1).await;
    slow_tasks.stop(Duration::from_secs(5)).await;
    assert_eq!(stand.count("SELECT count(*) FROM effects").await, 1);
    assert_eq!(stand.count("SELECT count(*) FROM dead_letters").await, 0);
}

#[tokio::test]
async fn a_node_that_stops_gives_back_what_it_can_not_end() {
    let stand = Stand::new().await;
    stand.add(&[work(1)]).await;
    let hand = Hand::new(Box::new(|_| Box::pin(std::future::pending())));
    let config = WorkerConfig { drain: Duration::from_millis(50), ..quick() };
    let tasks = stand.work(&hand, config);
    stand.until("SELECT count(*) FROM jobs WHERE attempts = 1", 1).await;
    tasks.stop(Duration::from_secs(5)).await;
    let free = "SELECT count(*) FROM jobs WHERE attempts = 0 AND holder IS NULL";
    assert_eq!(stand.count(free).await, 1);
}

#[tokio::test]
async fn of_many_nodes_one_puts_a_scheduled_job_down() {
    static SWEEP: Schedule =
        Schedule { name: "sweep", cron: "* * * * * Africa/Cairo", kind: &WORK };
    let stand = Stand::new().await;
    let now = Clock::system().now();
    // The first look only writes down when it is due.
    assert!(!SWEEP.tick(&stand.db, now).await.unwrap());
    let due = now + Duration::from_secs(60);
    let ticks = (0..8).map(|_| SWEEP.tick(&stand.db, due));
    let moved = futures_util::future::join_all(ticks).await;
    let mine = moved.into_iter().filter(|tick| *tick.as_ref().unwrap()).count();
    assert_eq!((mine, stand.count(LEFT).await), (1, 1));
    // An hour without the program is one job, not sixty.
    let later = due + Duration::from_secs(3600);
    stand.run("DELETE FROM jobs").await;
    while SWEEP.tick(&stand.db, later).await.unwrap() {}
    assert_eq!(stand.count(LEFT).await, 1);
}

/// A slow job among a crowd of quick ones: its lease is kept although there is always something to
/// settle, so nobody takes it a second time.
#[tokio::test]
async fn a_slow_job_keeps_its_lease_while_others_come_and_go() {
    let stand = Stand::new().await;
    let slow = Arc::new(Notify::new());
    let gate = Arc::clone(&slow);
    let hand = Hand::new(Box::new(move |job| {
        let gate = Arc::clone(&gate);
        Box::pin(async move {
            if job.payload == "0" {
                gate.notified().await;
            }
            Ok(Done::Finished)
        })
    }));
    let config = WorkerConfig { at_once: 4, lease: Duration::from_millis(300), ..quick() };
    stand.add(&[work(0)]).await;
    let _tasks = stand.work(&hand, config);
    let begun = "SELECT count(*) FROM jobs WHERE payload = '0' AND attempts = 1";
    stand.until(begun, 1).await;
    let since = tokio::time::Instant::now();
    // Busy for several leases, whatever the machine takes for a job.
    while since.elapsed() < Duration::from_millis(1500) {
        let crowd: Vec<NewJob> = (1..200).map(work).collect();
        stand.add(&crowd).await;
        stand.until("SELECT count(*) FROM jobs", 1).await;
    }
    assert_eq!(stand.count(begun).await, 1, "it was taken again");
    slow.notify_one();
    stand.until(LEFT, 0).await;
}
