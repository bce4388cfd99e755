//! What nobody waits for gets few connections at a time, however much of it there is: those who
//! ask would stand in line behind it, for a connection and for the server's cores.
//!
//! Guarantees:
//! - of a pool's connections at most so many are in the hands of background work
//!   (test: `what_nobody_waits_for_leaves_connections_to_those_who_ask`);
//! - one piece of work has one place, however many transactions it opens at a time, so that pieces
//!   can't wait for each other's second one (test: `work_in_the_background_has_one_place`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base::Fault;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

tokio::task_local! {
    /// Transactions that this piece of work has open.
    static OPEN: Arc<AtomicUsize>;
}

/// Runs `work` as a piece of background work: nobody waits for it.
pub async fn in_background<T>(work: impl Future<Output = T>) -> T {
    OPEN.scope(Arc::default(), work).await
}

/// The places that background work shares. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    /// How long one is waited for.
    patience: Duration,
}

/// Held with a transaction; none where somebody waits for it.
pub(crate) struct Place {
    _permit: Option<OwnedSemaphorePermit>,
    open: Arc<AtomicUsize>,
}

impl Places {
    pub(crate) fn new(count: u32, patience: Duration) -> Self {
        let count = usize::try_from(count.max(1)).expect("a pool is small");
        Self { free: Arc::new(Semaphore::new(count)), patience }
    }

    /// A place for the next transaction of whoever asks; none outside the background.
    pub(crate) async fn take(&self) -> Result<Option<Place>, Fault> {
        let Ok(open) = OPEN.try_with(Arc::clone) else { return Ok(None) };
        let mut place = Place { _permit: None, open: Arc::clone(&open) };
        // From here on the place counts down when it is dropped.
        if open.fetch_add(1, Ordering::Relaxed) == 0 {
            let free = Arc::clone(&self.free).acquire_owned();
            let permit = match tokio::time::timeout(self.patience, free).await {
                Ok(Ok(permit)) => permit,
                Ok(Err(_)) => return Err(Fault::unavailable("the database is closed")),
                Err(_) => return Err(Fault::unavailable("too much background work waits")),
            };
            place._permit = Some(permit);
        }
        Ok(Some(place))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}
