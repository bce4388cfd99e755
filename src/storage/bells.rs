//! Waking whoever waits for rows, once they are committed.
//!
//! A `NOTIFY` inside the transaction that brings the rows would make all such commits wait for each
//! other: PostgreSQL holds one lock of the whole cluster from there to the end of the commit. So a
//! transaction only remembers whom it brings something; after its commit the waiters of this node
//! are called at once, and one task tells the other nodes, a few times a second at most.
//!
//! Only a hint, as a notification is: whoever waits also looks by himself from time to time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base::Fault;
use ops::Tasks;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tracing::debug;
use uuid::Uuid;

use crate::db::Db;
use crate::tx::Who;

/// Between two tellings of other nodes.
const TELL_EVERY: Duration = Duration::from_millis(20);

/// Something that somebody waits for: where it comes, and which part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ring {
    /// Also the channel on which other nodes hear of it.
    pub channel: &'static str,
    /// Empty where a channel has no parts.
    pub part: &'static str,
}

type Waiter = Box<dyn Fn(&str) + Send + Sync>;

/// Who waits, and what other nodes don't know yet. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Bells(Arc<Inner>);

struct Inner {
    /// Tells this node's notifications from those of others.
    node: Uuid,
    waiters: RwLock<Vec<(&'static str, Waiter)>>,
    untold: Mutex<BTreeSet<Ring>>,
    news: Notify,
}

impl Bells {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            node: Uuid::now_v7(),
            waiters: RwLock::default(),
            untold: Mutex::default(),
            news: Notify::new(),
        }))
    }

    pub(crate) fn on(&self, channel: &'static str, waiter: Waiter) {
        self.0.waiters.write().push((channel, waiter));
    }

    /// The channels for which somebody waits here.
    pub(crate) fn channels(&self) -> BTreeSet<&'static str> {
        self.0.waiters.read().iter().map(|(channel, _)| *channel).collect()
    }

    /// What a transaction of this node has brought.
    pub(crate) fn rung(&self, rings: &[Ring]) {
        if rings.is_empty() {
            return;
        }
        for ring in rings {
            self.call(ring.channel, ring.part);
        }
        self.0.untold.lock().extend(rings);
        self.0.news.notify_one();
    }

    /// What another node has told. Our own comes back too: its waiters were called already.
    pub(crate) fn heard(&self, channel: &str, payload: &str) {
        let (part, node) = payload.split_once('@').unwrap_or((payload, ""));
        if node != self.0.node.to_string() {
            self.call(channel, part);
        }
    }

    /// Something may have been missed, or may have come: `part` is empty for all of it.
    pub(crate) fn call(&self, channel: &str, part: &str) {
        for (name, waiter) in self.0.waiters.read().iter() {
            if *name == channel {
                waiter(part);
            }
        }
    }

    /// Tells other nodes what this one brings, until it stops.
    pub(crate) fn tell_others(&self, db: &Db, tasks: &Tasks) {
        let (bells, db, stopping) = (self.clone(), db.clone(), tasks.stopping());
        tasks.spawn("database bells", async move {
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = bells.0.news.notified() => {}
                }
                let rings = std::mem::take(&mut *bells.0.untold.lock());
                if let Err(fault) = bells.tell(&db, rings).await {
                    debug!(%fault, "other nodes look by themselves meanwhile");
                }
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = tokio::time::sleep(TELL_EVERY) => {}
                }
            }
        });
    }

    async fn tell(&self, db: &Db, rings: BTreeSet<Ring>) -> Result<(), Fault> {
        let channels: Vec<&str> = rings.iter().map(|ring| ring.channel).collect();
        let node = self.0.node;
        let payloads: Vec<String> =
            rings.iter().map(|ring| format!("{}@{node}", ring.part)).collect();
        let mut tx = db.begin(&Who::System).await?;
        sqlx::query(
            "SELECT pg_notify(t.channel, t.payload) FROM unnest($1, $2) t (channel, payload)",
        )
        .bind(channels)
        .bind(payloads)
        .execute(tx.conn())
        .await
        .map_err(crate::fault::fault)?;
        tx.commit().await
    }
}
