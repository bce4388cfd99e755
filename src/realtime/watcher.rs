//! For tests: a socket that keeps what it is sent in its lanes until the test reads.

use std::sync::Arc;

use base::UserId;
use parking_lot::Mutex;
use rooms::{Body, Format, Item, Lanes, Outlet, Pushed};
use serde_json::Value;

/// A watcher who reads when asked to.
pub(crate) struct Watcher(u64, Mutex<Lanes>);

impl Outlet for Watcher {
    fn id(&self) -> u64 {
        self.0
    }

    fn user(&self) -> UserId {
        UserId::from_u128(self.0.into())
    }

    fn format(&self) -> Format {
        Format::Json
    }

    fn push(&self, item: Item) -> Pushed {
        self.1.lock().put(item, Format::Json)
    }

    fn turn(&self) {}
}

impl Watcher {
    pub(crate) fn new(id: u64) -> Arc<Self> {
        Arc::new(Self(id, Mutex::default()))
    }

    /// Every frame that waits, in the order it would go out.
    pub(crate) fn read(&self) -> Vec<Value> {
        let mut lanes = self.1.lock();
        let bodies = std::iter::from_fn(|| lanes.take());
        bodies.map(|body: Body| serde_json::from_slice(body.bytes()).unwrap()).collect()
    }
}
