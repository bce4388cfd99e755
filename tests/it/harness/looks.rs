//! Waiting for what must come.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// How long anything may take that must come: leases of jobs and of idempotency keys, half a minute
/// each, have to end in it. Beyond it something hangs.
pub const PATIENCE: Duration = Duration::from_secs(180);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Looks at something that must come, again and again.
pub struct Looks<'a> {
    what: &'a str,
    /// What was seen last, for whoever reads why it failed.
    pub seen: String,
    tick: Interval,
    begun: Instant,
}

impl<'a> Looks<'a> {
    pub fn at(what: &'a str) -> Self {
        let mut tick = interval(LOOK_AGAIN);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { what, seen: String::new(), tick, begun: Instant::now() }
    }

    /// Time for the next look; fails the test when it is the last.
    pub async fn next(&mut self) {
        assert!(self.begun.elapsed() < PATIENCE, "{} never came: {}", self.what, self.seen);
        self.tick.tick().await;
    }
}

/// Asks until there is something.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let mut looks = Looks::at(what);
    loop {
        looks.next().await;
        if let Some(found) = ask().await {
            return found;
        }
    }
}
