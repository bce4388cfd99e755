//! Drivers who wait at an airport are told their place, and operators see the queue.

use std::time::Duration;

use base::{DriverId, Problem};
use fleet::{FenceQueueView, QueuePlaceView};
use ops::Tasks;
use uuid::Uuid;

use crate::Flows;

/// A driver is told at most so often: what changed in between he hears at once.
const PLACES_EVERY: Duration = Duration::from_secs(2);

impl Flows {
    /// The driver's own place; `None`: he is in no queue.
    pub fn queue_place(&self, driver: DriverId) -> Option<QueuePlaceView> {
        self.fleet.queue_place(driver)
    }

    /// Who waits at this airport, first to last.
    pub fn fence_queue(&self, fence: Uuid) -> Result<FenceQueueView, Problem> {
        self.fleet.fence_queue(fence).ok_or_else(Problem::not_found)
    }

    /// Tells everybody whose place changed how it is now.
    pub fn tell_places(&self) {
        for (driver, place) in self.fleet.queue_news() {
            self.tell(driver, "queue.position", &place);
        }
    }
}

/// Places in queues, as long as the node runs.
pub fn keep_telling_places(flows: &Flows, tasks: &Tasks) {
    let (flows, stopping) = (flows.clone(), tasks.stopping());
    tasks.spawn("places in queues", async move {
        let mut tick = tokio::time::interval(PLACES_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = tick.tick() => flows.tell_places(),
            }
        }
    });
}
