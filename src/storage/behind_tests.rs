//! The write-behind writer against a write that can be told to fail, on paused time.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

#[test]
fn a_ring_keeps_the_newest_per_key_and_drops_its_oldest() {
    let check = |pushes: &[(Option<u128>, &'static str)], expected: &str| {
        let mut ring = Ring::new(3);
        let dropped = pushes
            .iter()
            .filter(|(key, item)| ring.push(*key, *item) == Pushed::DroppedOldest)
            .count();
        let rows = ring.take(10, ring.end()).map(|batch| batch.rows.join(" ")).unwrap_or_default();
        assert_eq!(format!("{rows} -{dropped}"), expected, "{pushes:?}");
        assert!(ring.places.is_empty() && ring.unkeyed == 0 && ring.len() == 0);
    };
    check(&[(None, "a"), (None, "b")], "a b -0");
    check(&[(None, "a"), (None, "b"), (None, "c"), (None, "d")], "b c d -1");
    check(&[(Some(1), "a"), (Some(2), "b"), (Some(1), "c")], "c b -0");
    // A replacement takes no place, so nothing is dropped for it.
    check(&[(Some(1), "a"), (Some(2), "b"), (Some(3), "c"), (Some(2), "d")], "a d c -0");
    // The place of a dropped key is free again.
    check(
        &[(Some(1), "a"), (Some(2), "b"), (Some(3), "c"), (Some(4), "d"), (Some(1), "e")],
        "c d e -2",
    );
}

#[test]
fn a_batch_takes_no_more_than_it_may_and_nothing_newer_than_asked() {
    let mut ring = Ring::new(10);
    for item in 0..5 {
        ring.push(None, item);
    }
    let until = ring.end();
    ring.push(None, 5);
    assert_eq!(*ring.take(3, until).unwrap().rows, [0, 1, 2]);
    assert_eq!(*ring.take(3, until).unwrap().rows, [3, 4]);
    assert!(ring.take(3, until).is_none());
    assert_eq!(ring.len(), 1);
}

/// A database that can be away (`Unavailable`) or refuse (`Internal`) for some calls.
#[derive(Clone, Default)]
struct Stand {
    stored: Arc<Mutex<Vec<Vec<u32>>>>,
    away: Arc<AtomicU32>,
    refuses: Arc<Mutex<Option<u32>>>,
}

impl Stand {
    fn behind(&self, tasks: &Tasks, limits: BehindLimits) -> Behind<u32> {
        let stand = self.clone();
        // Items from 1000 on have a key: their last two digits.
        let key = |item: &u32| (*item >= 1000).then_some(u128::from(item % 100));
        Behind::start(tasks, "test", limits, key, move |rows| {
            let stand = stand.clone();
            async move { stand.store(&rows) }
        })
    }

    fn store(&self, rows: &[u32]) -> Result<(), Fault> {
        let away = self.away.load(Ordering::SeqCst);
        if away > 0 {
            self.away.store(away - 1, Ordering::SeqCst);
            return Err(Fault::unavailable("away"));
        }
        if self.refuses.lock().is_some_and(|bad| rows.contains(&bad)) {
            return Err(Fault::internal("refused"));
        }
        self.stored.lock().push(rows.to_vec());
        Ok(())
    }

    fn rows(&self) -> String {
        format!("{:?}", self.stored.lock())
    }
}

const LIMITS: BehindLimits =
    BehindLimits { capacity: 100, batch: 4, every: Duration::from_secs(5) };

async fn settle() {
    // Paused time runs on by itself when every task waits.
    tokio::time::sleep(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn rows_go_in_batches_and_the_newest_of_a_key_wins() {
    let (tasks, stand) = (Tasks::new(), Stand::default());
    let behind = stand.behind(&tasks, LIMITS);
    for item in [1101, 1102, 1201, 1301] {
        behind.push(item);
    }
    assert_eq!(behind.waiting(), 2);
    settle().await;
    assert_eq!(stand.rows(), "[[1301, 1102]]");
    (1..=6).for_each(|item| behind.push(item));
    settle().await;
    assert_eq!(stand.rows(), "[[1301, 1102], [1, 2, 3, 4], [5, 6]]");
}

#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_a_database_that_is_away_and_goes_first() {
    let (tasks, stand) = (Tasks::new(), Stand::default());
    let behind = stand.behind(&tasks, LIMITS);
    stand.away.store(7, Ordering::SeqCst);
    behind.push(1);
    settle().await;
    behind.push(2);
    settle().await;
    assert_eq!(stand.rows(), "[[1], [2]]");
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_is_dropped_and_the_next_one_goes() {
    let (tasks, stand) = (Tasks::new(), Stand::default());
    let behind = stand.behind(&tasks, LIMITS);
    *stand.refuses.lock() = Some(2);
    (1..=5).for_each(|item| behind.push(item));
    settle().await;
    assert_eq!(stand.rows(), "[[5]]");
}

#[tokio::test(start_paused = true)]
async fn a_flush_returns_when_everything_is_stored() {
    let (tasks, stand) = (Tasks::new(), Stand::default());
    let behind = stand.behind(&tasks, LIMITS);
    (1..=3).for_each(|item| behind.push(item));
    behind.flush().await;
    assert_eq!(stand.rows(), "[[1, 2, 3]]");
    stand.away.store(100, Ordering::SeqCst);
    behind.push(4);
    behind.flush().await; // Gives up rather than hang.
    stand.away.store(0, Ordering::SeqCst);
    behind.flush().await;
    assert_eq!(stand.rows(), "[[1, 2, 3], [4]]");
}

#[tokio::test(start_paused = true)]
async fn a_stopping_node_writes_what_waits() {
    let (tasks, stand) = (Tasks::new(), Stand::default());
    let behind = stand.behind(&tasks, LIMITS);
    behind.push(1);
    assert_eq!(tasks.stop(Duration::from_secs(30)).await, ops::Stopped::Clean);
    assert_eq!(stand.rows(), "[[1]]");
    // The writer is gone, a flush still stores.
    behind.push(2);
    behind.flush().await;
    assert_eq!(stand.rows(), "[[1], [2]]");
}

#[tokio::test(start_paused = true)]
async fn a_full_ring_loses_the_oldest_while_the_database_is_away() {
    let (tasks, stand) = (Tasks::new(), Stand::default());
    let behind = stand.behind(&tasks, BehindLimits { capacity: 3, batch: 10, ..LIMITS });
    stand.away.store(u32::MAX, Ordering::SeqCst);
    behind.push(1);
    settle().await; // The first batch is under way, out of the ring.
    (2..=6).for_each(|item| behind.push(item));
    stand.away.store(0, Ordering::SeqCst);
    settle().await;
    assert_eq!(stand.rows(), "[[1], [4, 5, 6]]");
}
