//! Where the database is and the pools that lead to it.

use std::str::FromStr;
use std::time::Duration;

use base::Fault;
use metrics::{gauge, histogram};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool};
use tokio::time::Instant;

use crate::background::Places;
use crate::bells::Bells;
use crate::fault::{fault, is_gone};
use crate::tx::{Opening, Tx, Who};

/// How a connection reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Straight: prepared statements live as long as the connection.
    Direct,
    /// Through a pooler in transaction mode: the server behind the connection changes with every
    /// transaction, so nothing may outlive one.
    Pooler,
}

/// Where a database is and as whom to log in.
#[derive(Clone, Debug)]
pub struct Address {
    pub(crate) options: PgConnectOptions,
    via: Via,
}

impl Address {
    /// Reads a `postgres://` URL. `statement-cache-capacity=0` in it says that a pooler is in
    /// between, whatever `via` says.
    pub fn parse(url: &str, via: Via) -> Result<Self, Fault> {
        // The parser's message can repeat the URL, which holds a password.
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| Fault::internal("the database URL can't be read"))?;
        let pooled = url.contains("statement-cache-capacity=0");
        Ok(Self { options, via: if pooled { Via::Pooler } else { via } })
    }

    pub(crate) const fn new(options: PgConnectOptions) -> Self {
        Self { options, via: Via::Direct }
    }

    /// The role that logs in.
    pub fn login(&self) -> &str {
        self.options.get_username()
    }

    #[cfg(test)]
    pub(crate) fn with_login(&self, name: &str) -> Self {
        Self { options: self.options.clone().username(name), via: self.via }
    }

    #[cfg(test)]
    pub(crate) fn through_a_pooler(&self) -> Self {
        Self { options: self.options.clone(), via: Via::Pooler }
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn database(&self) -> Option<&str> {
        self.options.get_database()
    }

    /// The same place, another database.
    #[must_use]
    pub fn with_database(&self, name: &str) -> Self {
        Self { options: self.options.clone().database(name), via: self.via }
    }

    /// One connection outside the pools, without timeouts: migrations, tests.
    pub(crate) async fn connect_once(&self) -> Result<PgConnection, sqlx::Error> {
        PgConnection::connect_with(&quiet(self.options.clone())).await
    }
}

/// Bounds of the pools and of what runs in them.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Connections kept open.
    pub min: u32,
    /// Connections at most.
    pub max: u32,
    /// Of these at most so many for what [nobody waits for](crate::in_background): two for each
    /// core, of which the private server has as many as this program. More would get no more done,
    /// and take the cores from those who ask.
    pub background: u32,
    /// Connections at most for the group writer, beside the others so that a crowd of readers can't
    /// hold up transitions.
    pub writers: u32,
    /// How long a caller waits for a connection.
    pub acquire: Duration,
    /// After this the server ends a statement.
    pub statement: Duration,
    /// After this the server gives up waiting for a lock.
    pub lock: Duration,
    /// After this an unused connection above `min` is closed.
    pub idle: Duration,
    /// Statements slower than this are logged.
    pub slow: Duration,
    /// Whether statements here ask for few rows by an index, as requests and jobs do. Then no plan
    /// reads a whole table where an index would do: plans are kept, and one made while a table was
    /// empty or a queue just drained would read all of what comes later. And what the program does
    /// for itself is planned once, not for each of its lists of keys: that costs more than to read.
    pub by_key: bool,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            min: 5,
            max: 20,
            background: background(),
            writers: 4,
            acquire: Duration::from_secs(3),
            statement: Duration::from_secs(10),
            lock: Duration::from_secs(5),
            idle: Duration::from_secs(30),
            slow: Duration::from_millis(100),
            by_key: true,
        }
    }
}

fn background() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(cores * 2).map_or(12, |twice| twice.clamp(4, 12))
}

impl PoolLimits {
    /// What the server is told of them, setting by setting.
    pub(crate) fn settings(&self) -> [(&'static str, String); 4] {
        let statement = self.statement.as_millis();
        let scans = if self.by_key { "off" } else { "on" };
        [
            ("statement_timeout", statement.to_string()),
            ("lock_timeout", self.lock.as_millis().to_string()),
            ("idle_in_transaction_session_timeout", (statement * 2).to_string()),
            ("enable_seqscan", scans.to_owned()),
        ]
    }
}

/// A connection that was idle longer than this is asked whether it still lives before it is used.
const TRUST_IDLE: Duration = Duration::from_secs(1);

/// The database as rooms see it. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: PgPool,
    writers: PgPool,
    /// In `pool`, for background work.
    places: Places,
    opening: Opening,
    address: Address,
    /// Of the pool, for its measures.
    name: &'static str,
    /// Around the pooler, where there is one.
    direct: Option<Address>,
    bells: Bells,
}

/// Opens the pools. Fails when the database doesn't answer within `limits.acquire`.
pub async fn connect(address: &Address, limits: &PoolLimits) -> Result<Db, Fault> {
    let options = tuned(address, limits);
    let pool = pool_options(limits, limits.min, limits.max)
        .connect_with(options.clone())
        .await
        .map_err(fault)?;
    let writers = pool_options(limits, 0, limits.writers).connect_lazy_with(options);
    let opening = Opening::new(address.login(), address.via, limits);
    let direct = (address.via == Via::Direct).then(|| address.clone());
    let (address, bells) = (address.clone(), Bells::new());
    let places = places(limits);
    Ok(Db { pool, writers, places, opening, address, name: "app", direct, bells })
}

/// Background work is in no hurry: it waits for a place as long as a statement may take.
fn places(limits: &PoolLimits) -> Places {
    Places::new(limits.background.min(limits.max), limits.statement)
}

impl Db {
    /// With a straight way to the server, for what can't go through a pooler.
    #[must_use]
    pub fn with_direct(mut self, address: &Address) -> Self {
        self.direct = (address.via == Via::Direct).then(|| address.clone());
        self
    }

    /// The same database through a pool of its own, opened when it is needed: for what takes long
    /// and must not hold up the others.
    #[must_use]
    pub fn apart(&self, name: &'static str, limits: &PoolLimits) -> Self {
        let options = tuned(&self.address, limits);
        Self {
            pool: pool_options(limits, 0, limits.max).connect_lazy_with(options),
            places: places(limits),
            opening: Opening::new(self.address.login(), self.address.via, limits),
            name,
            ..self.clone()
        }
    }

    /// Calls `waiter` with the part that something came for, or with none when anything may have
    /// come: after a commit of this node that [rings](Tx::rings), and, where somebody
    /// [listens](crate::listen), after one of another node.
    pub fn on_ring(&self, channel: &'static str, waiter: impl Fn(&str) + Send + Sync + 'static) {
        self.bells.on(channel, Box::new(waiter));
    }

    pub(crate) const fn bells(&self) -> &Bells {
        &self.bells
    }

    pub(crate) const fn direct(&self) -> Option<&Address> {
        self.direct.as_ref()
    }

    /// A transaction of `smartline_app` that carries `who` to the policies. One round trip.
    pub async fn begin(&self, who: &Who) -> Result<Tx, Fault> {
        let place = self.places.take().await?;
        let tx = self.open(&self.pool, self.opening.app(who)).await?;
        Ok(tx.with_place(place))
    }

    /// A transaction of `smartline_writer`: transition and ledger functions, reads of live trips.
    pub async fn begin_writer(&self) -> Result<Tx, Fault> {
        self.open(&self.writers, self.opening.writer()).await
    }

    async fn open(&self, pool: &PgPool, statement: String) -> Result<Tx, Fault> {
        let asked = Instant::now();
        // After the server was restarted all that rest in the pool are dead, and no more than that.
        let mut dead = pool.options().get_max_connections();
        let tx = loop {
            let conn = pool.acquire().await.map_err(fault)?;
            match Tx::open(conn, statement.clone(), self.opening.via(), &self.bells).await {
                Ok(tx) => break tx,
                // Nothing was asked of it yet.
                Err(error) if dead > 0 && is_gone(&error) => dead -= 1,
                Err(error) => return Err(fault(error)),
            }
        };
        histogram!("smartline_db_begin_seconds").record(asked.elapsed().as_secs_f64());
        self.report();
        Ok(tx)
    }

    /// Does the database answer?
    pub async fn ping(&self) -> Result<(), Fault> {
        let mut conn = self.pool.acquire().await.map_err(fault)?;
        conn.ping().await.map_err(fault)
    }

    /// Closes the pools once the transactions in flight have ended.
    pub async fn close(&self) {
        self.writers.close().await;
        self.pool.close().await;
    }

    fn report(&self) {
        let gauges = [(self.name, &self.pool), ("writer", &self.writers)];
        for (name, pool) in gauges {
            let (open, idle) = (pool.size(), u32::try_from(pool.num_idle()).unwrap_or(u32::MAX));
            gauge!("smartline_db_connections", "pool" => name, "state" => "open").set(open);
            gauge!("smartline_db_connections", "pool" => name, "state" => "busy")
                .set(open.saturating_sub(idle));
        }
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) const fn address(&self) -> &Address {
        &self.address
    }
}

fn pool_options(limits: &PoolLimits, min: u32, max: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .min_connections(min)
        .max_connections(max)
        .acquire_timeout(limits.acquire)
        .acquire_slow_threshold(limits.slow)
        .idle_timeout(limits.idle)
        // A question before every use would cost a round trip: only those that rested are asked.
        .test_before_acquire(false)
        .before_acquire(|conn, rest| {
            Box::pin(async move {
                if rest.idle_for > TRUST_IDLE {
                    conn.ping().await?;
                }
                Ok(true)
            })
        })
}

fn tuned(address: &Address, limits: &PoolLimits) -> PgConnectOptions {
    let options = quiet(address.options.clone())
        .log_slow_statements("warn".parse().expect("a level's name"), limits.slow);
    match address.via {
        Via::Direct => options.options(limits.settings()),
        // A pooler refuses start-up parameters that it doesn't know; `Opening` sets them instead.
        Via::Pooler => options.statement_cache_capacity(0).extra_float_digits(None),
    }
}

pub(crate) fn quiet(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name("smartline").log_statements("off".parse().expect("a level's name"))
}
