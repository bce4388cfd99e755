//! A server of the test's own, in this process, on a free port.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Once;

use app::{Database, Running, Setup};
use reqwest::Client;
use storage::Db;

/// Where a server answers, whoever runs it.
pub struct Outside {
    pub address: SocketAddr,
    pub http: Client,
}

impl Outside {
    pub fn new(address: SocketAddr) -> Self {
        let http = Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        Self { address, http: http.expect("a client") }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// Ends with the test; derefs to where it answers.
pub struct Server {
    outside: Outside,
    db: Db,
    running: Option<Box<Running>>,
}

impl Deref for Server {
    type Target = Outside;

    fn deref(&self) -> &Outside {
        &self.outside
    }
}

static CRYPTO: Once = Once::new();

impl Server {
    /// A server with rate limits off and a cheap password hash, on an empty, migrated database.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// The same, with `change` made to its setup.
    pub async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let db = storage::testing::database().await;
        Self::on(db, change).await
    }

    /// Where every trip costs `pounds`, at any hour.
    pub async fn where_trips_cost(pounds: i64) -> Self {
        Self::on(flat_city(pounds).await, |_| {}).await
    }

    /// Stops it as a deploy does, and starts another one on the same database.
    pub async fn restart(self) -> Self {
        let db = storage::testing::another(&self.db).await;
        self.stop().await;
        Self::on(db, |_| {}).await
    }

    /// The same on a database that holds something already.
    pub async fn on(db: Db, change: impl FnOnce(&mut Setup)) -> Self {
        CRYPTO.call_once(|| {
            rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        });
        let mut setup = Setup::for_tests();
        change(&mut setup);
        let running = Box::pin(app::start(setup, Database { db: db.clone(), cluster: None }))
            .await
            .expect("the server starts");
        Self { outside: Outside::new(running.addr()), db, running: Some(Box::new(running)) }
    }

    pub const fn db(&self) -> &Db {
        &self.db
    }

    /// Drains as on SIGTERM.
    pub async fn stop(mut self) {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
    }

    pub fn running(&self) -> &Running {
        self.running.as_ref().expect("the server runs until it is stopped")
    }
}

/// The database of a city where every trip costs `pounds`.
pub async fn flat_city(pounds: i64) -> Db {
    let db = storage::testing::database().await;
    let mut owner = storage::testing::owner(&db).await;
    let flat = "UPDATE tariffs SET base_fare = $1, per_km = 0, per_minute = 0, minimum_fare = 0";
    sqlx::query(flat).bind(pounds * 100).execute(&mut owner).await.expect("tariffs");
    let hours = "DELETE FROM time_multipliers";
    sqlx::query(hours).execute(&mut owner).await.expect("hours");
    db
}
