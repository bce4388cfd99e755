//! Being woken by the database: LISTEN on a connection of its own.
//!
//! Only a hint. A notification can get lost with its connection, and through a pooler in
//! transaction mode none arrives, so whoever listens also polls.

use std::time::Duration;

use ops::Tasks;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tracing::{info, warn};

use crate::db::{Db, quiet};

/// Between two attempts to listen.
const AGAIN: Duration = Duration::from_secs(1);

/// Calls `heard(channel, payload)` for what is notified on `channels` until the node stops, and
/// once per channel with an empty payload whenever something may have been missed.
pub fn listen(
    db: &Db,
    tasks: &Tasks,
    channels: &'static [&'static str],
    heard: impl Fn(&str, &str) + Send + Sync + 'static,
) {
    let Some(address) = db.direct() else {
        info!("no straight way to PostgreSQL (DATABASE_DIRECT_URL): polling instead of listening");
        return;
    };
    let options = quiet(address.options.clone()).application_name("smartline listener");
    let stopping = tasks.stopping();
    tasks.spawn("database listener", async move {
        // The listener wants a pool; its one connection is the one that listens.
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
        loop {
            let ended = tokio::select! {
                () = stopping.cancelled() => return,
                ended = hear(&pool, channels, &heard) => ended,
            };
            if let Err(error) = ended {
                warn!("listening to PostgreSQL failed, polling meanwhile: {error}");
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    });
}

async fn hear(
    pool: &sqlx::PgPool,
    channels: &[&'static str],
    heard: &(impl Fn(&str, &str) + Sync),
) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen_all(channels.iter().copied()).await?;
    loop {
        channels.iter().for_each(|channel| heard(channel, ""));
        // `None`: the connection was lost and is made again by the next call.
        while let Some(notification) = listener.try_recv().await? {
            heard(notification.channel(), notification.payload());
        }
    }
}
