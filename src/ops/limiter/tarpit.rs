//! Who is turned away waits first.
//!
//! A refusal that comes at once is asked for again at once: 64 hands that are refused in a tenth of
//! a millisecond each keep two cores busy with saying no. Kept waiting for a second they come back
//! 64 times a second. Waiting costs a timer, and there are so many places and no more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

/// How long each is kept.
const KEPT: Duration = Duration::from_secs(1);
/// How many wait at a time, whoever they are; beyond that a refusal comes at once.
const PLACES: usize = 4096;

/// Where the refused wait. Cheap to clone.
#[derive(Clone)]
pub struct Tarpit {
    places: Arc<Semaphore>,
}

impl Default for Tarpit {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(PLACES)) }
    }
}

impl Tarpit {
    /// Returns after a second, or at once where all places are taken.
    pub async fn keep(&self) {
        if let Ok(_place) = self.places.try_acquire() {
            tokio::time::sleep(KEPT).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_waits_and_no_more_than_there_are_places_for() {
        let tarpit = Tarpit { places: Arc::new(Semaphore::new(1)) };
        let mut kept = Box::pin(tarpit.keep());
        assert!((&mut kept).now_or_never().is_none(), "the first one waits");
        assert!(tarpit.keep().now_or_never().is_some(), "there is no place for another");
        kept.await;
        assert!(tarpit.keep().now_or_never().is_none(), "his place is free again");
    }
}
