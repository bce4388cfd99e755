//! Writing behind: rows that may come a little late, or after a crash not at all, are collected in
//! a bounded ring and stored in batches.
//!
//! Owns what waits to be written. Does no SQL: the caller passes the write.
//!
//! Guarantees:
//! - [`Behind::push`] never waits for the database; a full ring loses its oldest item, counted;
//! - of items with the same key only the newest is written;
//! - a failed batch is written again, before anything newer; a row may be written twice, so writes
//!   are upserts or rows that may repeat;
//! - what was pushed before [`Behind::flush`] is stored when it returns, unless the database is
//!   away.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base::Fault;
use foldhash::fast::RandomState;
use metrics::{counter, gauge};
use ops::Tasks;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// Waiting before the first retry; doubled up to [`BACK_OFF_MAX`].
const BACK_OFF: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);
/// A batch that is refused as wrong this often is dropped: the next one must not wait for a bug.
const ATTEMPTS_AT_A_BUG: u32 = 3;
/// A flush gives up on a database that is away after this many tries.
const ATTEMPTS_AT_FLUSH: u32 = 3;

#[derive(Clone, Copy, Debug)]
pub struct BehindLimits {
    /// Items that may wait.
    pub capacity: usize,
    /// Most items of one write.
    pub batch: usize,
    /// How long an item waits at most, while the database keeps up. A full batch of items without
    /// a key, or a half-full ring, goes at once.
    pub every: Duration,
}

/// A handle for writing behind. Cheap to clone.
pub struct Behind<T>(Arc<Shared<T>>);

impl<T> Clone for Behind<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

type Writing = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send>>;

struct Shared<T> {
    name: &'static str,
    limits: BehindLimits,
    key: fn(&T) -> Option<u128>,
    write: Box<dyn Fn(Arc<[T]>) -> Writing + Send + Sync>,
    ring: Mutex<Ring<T>>,
    /// Told when a batch should go before its time.
    due: Notify,
    /// Whose turn it is to write, with the batch that is under way. Kept here, so that a caller
    /// who stops waiting loses nothing.
    turn: tokio::sync::Mutex<Option<Batch<T>>>,
}

struct Batch<T> {
    rows: Arc<[T]>,
    oldest: Instant,
    attempts: u32,
}

impl<T: Send + Sync + 'static> Behind<T> {
    /// Starts the writer. `key` says which items replace each other while they wait.
    pub fn start<F, W>(
        tasks: &Tasks,
        name: &'static str,
        limits: BehindLimits,
        key: fn(&T) -> Option<u128>,
        write: F,
    ) -> Self
    where
        F: Fn(Arc<[T]>) -> W + Send + Sync + 'static,
        W: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        let shared = Arc::new(Shared {
            name,
            limits,
            key,
            write: Box::new(move |rows| Box::pin(write(rows))),
            ring: Mutex::new(Ring::new(limits.capacity)),
            due: Notify::new(),
            turn: tokio::sync::Mutex::new(None),
        });
        tasks.spawn(name, run(Arc::clone(&shared), tasks.stopping()));
        Self(shared)
    }

    /// Puts an item in line. Never blocks on anything but another push.
    pub fn push(&self, item: T) {
        let shared = &self.0;
        let key = (shared.key)(&item);
        let (pushed, waiting, unkeyed) = {
            let mut ring = shared.ring.lock();
            (ring.push(key, item), ring.len(), ring.unkeyed)
        };
        if pushed == Pushed::DroppedOldest {
            counter!("smartline_behind_dropped_total", "name" => shared.name).increment(1);
        }
        if unkeyed >= shared.limits.batch || waiting * 2 >= shared.limits.capacity {
            shared.due.notify_one();
        }
    }

    /// Waits until everything pushed so far is stored, or the database has failed several times.
    pub async fn flush(&self) {
        self.0.drain().await;
    }

    /// Items waiting, without the batch under way.
    pub fn waiting(&self) -> usize {
        self.0.ring.lock().len()
    }
}

async fn run<T: Send + Sync>(shared: Arc<Shared<T>>, stopping: CancellationToken) {
    let mut back_off = BACK_OFF;
    loop {
        tokio::select! {
            () = stopping.cancelled() => break,
            () = shared.due.notified() => {}
            () = tokio::time::sleep(shared.limits.every) => {}
        }
        let until = shared.ring.lock().end();
        while let Some(outcome) = shared.write_one(until).await {
            if outcome.is_ok() {
                back_off = BACK_OFF;
                continue;
            }
            tokio::select! {
                () = stopping.cancelled() => break,
                () = tokio::time::sleep(back_off) => {}
            }
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
    }
    shared.drain().await;
}

impl<T: Send + Sync> Shared<T> {
    /// Writes what waits now; gives up when the database fails several times in a row.
    async fn drain(&self) {
        let until = self.ring.lock().end();
        let mut failures = 0;
        while let Some(outcome) = self.write_one(until).await {
            match outcome {
                Ok(()) => failures = 0,
                Err(fault) => {
                    failures += 1;
                    if failures >= ATTEMPTS_AT_FLUSH {
                        error!(name = self.name, left = self.ring.lock().len(), %fault,
                            "rows written behind are left unwritten");
                        return;
                    }
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    /// Writes one batch of items older than `until`; `None` when there is none.
    async fn write_one(&self, until: u64) -> Option<Result<(), Fault>> {
        let mut turn = self.turn.lock().await;
        if turn.is_none() {
            *turn = self.ring.lock().take(self.limits.batch, until);
        }
        let Some(batch) = turn.as_mut() else {
            self.report(None);
            return None;
        };
        self.report(Some(batch.oldest));
        batch.attempts += 1;
        let (rows, attempts) = (Arc::clone(&batch.rows), batch.attempts);
        let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        let outcome = (self.write)(rows).await;
        match &outcome {
            Ok(()) => {
                counter!("smartline_behind_rows_total", "name" => self.name).increment(count);
                *turn = None;
            }
            Err(Fault::Internal(text)) if attempts >= ATTEMPTS_AT_A_BUG => {
                error!(name = self.name, rows = count, "batch dropped, it is refused: {text}");
                counter!("smartline_behind_dropped_total", "name" => self.name).increment(count);
                *turn = None;
            }
            Err(fault) => {
                counter!("smartline_behind_failures_total", "name" => self.name).increment(1);
                warn!(name = self.name, rows = count, attempts, %fault, "batch failed, kept");
            }
        }
        Some(outcome)
    }

    fn report(&self, in_work: Option<Instant>) {
        let oldest = in_work.or_else(|| self.ring.lock().oldest());
        let lag = oldest.map_or(0.0, |since| since.elapsed().as_secs_f64());
        gauge!("smartline_behind_lag_seconds", "name" => self.name).set(lag);
    }
}

/// The items in line, oldest first, at most `capacity`.
struct Ring<T> {
    capacity: usize,
    items: VecDeque<Waiting<T>>,
    /// Number of the first item in line; they are numbered as they come.
    first: u64,
    /// Where an item with this key stands.
    places: HashMap<u128, u64, RandomState>,
    unkeyed: usize,
}

struct Waiting<T> {
    key: Option<u128>,
    item: T,
    /// When the oldest item of this place came: replacing an item doesn't make it wait anew.
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pushed {
    Appended,
    Replaced,
    DroppedOldest,
}

impl<T> Ring<T> {
    fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        let items = VecDeque::with_capacity(capacity);
        Self { capacity, items, first: 0, places: HashMap::default(), unkeyed: 0 }
    }

    fn len(&self) -> usize {
        self.items.len()
    }

    /// The number the next item will get.
    fn end(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    fn oldest(&self) -> Option<Instant> {
        self.items.front().map(|waiting| waiting.since)
    }

    fn push(&mut self, key: Option<u128>, item: T) -> Pushed {
        if let Some(place) = key.and_then(|key| self.places.get(&key)) {
            let index = usize::try_from(place - self.first).expect("a place is within the ring");
            self.items[index].item = item;
            return Pushed::Replaced;
        }
        let full = self.items.len() == self.capacity;
        if full {
            self.pop();
        }
        match key {
            Some(key) => {
                self.places.insert(key, self.end());
            }
            None => self.unkeyed += 1,
        }
        self.items.push_back(Waiting { key, item, since: Instant::now() });
        if full { Pushed::DroppedOldest } else { Pushed::Appended }
    }

    fn pop(&mut self) -> Option<Waiting<T>> {
        let waiting = self.items.pop_front()?;
        self.first += 1;
        match waiting.key {
            Some(key) => {
                self.places.remove(&key);
            }
            None => self.unkeyed -= 1,
        }
        Some(waiting)
    }

    /// The oldest items, at most `batch`, none numbered `until` or later.
    fn take(&mut self, batch: usize, until: u64) -> Option<Batch<T>> {
        let oldest = self.oldest()?;
        let count = usize::try_from(until.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let count = count.min(batch).min(self.items.len());
        let rows: Arc<[T]> = (0..count).filter_map(|_| self.pop()).map(|w| w.item).collect();
        if self.items.is_empty() {
            // What comes next is written where the cache still knows the memory, instead of going
            // around the whole ring.
            self.items.clear();
        }
        (!rows.is_empty()).then_some(Batch { rows, oldest, attempts: 0 })
    }
}

#[cfg(test)]
#[path = "behind_tests.rs"]
mod tests;
