//! Being woken by the database: LISTEN on a connection of its own.
//!
//! Only a hint. A notification can get lost with its connection, and through a pooler in
//! transaction mode none arrives, so whoever listens also polls.

use std::time::Duration;

use ops::Tasks;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tracing::{info, warn};

use crate::bells::Bells;
use crate::db::{Db, quiet};

/// Between two attempts to listen.
const AGAIN: Duration = Duration::from_secs(1);

/// Until the node stops, hears what other nodes bring and calls those who [wait](Db::on_ring) for
/// it, and tells other nodes what this one brings. Whoever waits has said so before.
pub fn listen(db: &Db, tasks: &Tasks) {
    let bells = db.bells().clone();
    bells.tell_others(db, tasks);
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
                ended = hear(&pool, &bells) => ended,
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

async fn hear(pool: &sqlx::PgPool, bells: &Bells) -> Result<(), sqlx::Error> {
    let channels = bells.channels();
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen_all(channels.iter().copied()).await?;
    loop {
        channels.iter().for_each(|channel| bells.call(channel, ""));
        // `None`: the connection was lost and is made again by the next call.
        while let Some(notification) = listener.try_recv().await? {
            bells.heard(notification.channel(), notification.payload());
        }
    }
}
