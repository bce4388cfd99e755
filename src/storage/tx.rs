//! A transaction with its caller, so that the policies of the database know who asks.

use std::fmt::Write;
use std::ops::{Deref, DerefMut};

use base::{Caller, Fault};
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Database, Executor, Postgres, SqlSafeStr};
use sqlx_core::transaction::TransactionManager;

use crate::background::Place;
use crate::bells::{Bells, Ring};
use crate::db::{PoolLimits, Via};
use crate::fault::{fault, is_gone};

type Manager = <Postgres as Database>::TransactionManager;

/// The role of request transactions.
pub(crate) const APP: &str = "smartline_app";
/// The role of the group writer.
pub(crate) const WRITER: &str = "smartline_writer";

/// On whose behalf a transaction runs.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    /// The account behind a request.
    Caller(Caller),
    /// The program itself: background work, and sign-up and login, which have no account yet.
    System,
}

impl From<Caller> for Who {
    fn from(caller: Caller) -> Self {
        Self::Caller(caller)
    }
}

/// Builds the statement that opens a transaction. It travels as one simple query.
#[derive(Clone)]
pub(crate) struct Opening {
    login: String,
    via: Via,
    settings: String,
    /// What the program's own work runs under beside that.
    own: &'static str,
}

impl Opening {
    pub(crate) fn new(login: &str, via: Via, limits: &PoolLimits) -> Self {
        let mut settings = String::new();
        if via == Via::Pooler {
            for (name, value) in limits.settings() {
                write!(settings, "; SET LOCAL {name} = {value}")
                    .expect("a String takes everything");
            }
        }
        let own =
            if limits.by_key { "; SET LOCAL plan_cache_mode = force_generic_plan" } else { "" };
        Self { login: login.to_owned(), via, settings, own }
    }

    pub(crate) const fn via(&self) -> Via {
        self.via
    }

    pub(crate) fn app(&self, who: &Who) -> String {
        // A UUID and three fixed words: nothing here can carry SQL.
        match who {
            Who::Caller(caller) => self.text(APP, &caller.user.0.to_string(), caller.role.name()),
            Who::System => self.system(APP),
        }
    }

    pub(crate) fn writer(&self) -> String {
        self.system(WRITER)
    }

    fn system(&self, role: &str) -> String {
        self.text(role, "", "system") + self.own
    }

    fn text(&self, role: &str, uid: &str, kind: &str) -> String {
        let Self { login, settings, .. } = self;
        // Ordered by what may fail: without the role nothing else would be safe to run.
        let role = if login == role { String::new() } else { format!("; SET LOCAL ROLE {role}") };
        format!("BEGIN{role}; SET LOCAL app.uid = '{uid}'; SET LOCAL app.role = '{kind}'{settings}")
    }
}

/// An open transaction: run statements with `sqlx::query(..).execute(&mut **tx)`. Dropped without
/// [`Tx::commit`] it is rolled back.
pub struct Tx {
    conn: PoolConnection<Postgres>,
    state: State,
    bells: Bells,
    /// Whom it brings something.
    rings: Vec<Ring>,
    /// Held by background work until the connection is free again.
    place: Option<Place>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// BEGIN is on its way: what the connection holds is not known.
    Opening,
    Open,
    Ended,
}

impl Tx {
    pub(crate) async fn open(
        conn: PoolConnection<Postgres>,
        statement: String,
        via: Via,
        bells: &Bells,
    ) -> Result<Self, sqlx::Error> {
        let (bells, rings) = (bells.clone(), Vec::new());
        let mut tx = Self { conn, state: State::Opening, bells, rings, place: None };
        let statement = AssertSqlSafe(statement).into_sql_str();
        <Manager as TransactionManager>::begin(&mut tx.conn, Some(statement)).await?;
        tx.state = State::Open;
        if via == Via::Pooler {
            // The driver names its statements per connection; on a server that other clients of
            // the pooler used, those names are taken. Alone in its query, so that newer poolers
            // which track names see it too.
            tx.conn.execute("DEALLOCATE ALL").await?;
        }
        Ok(tx)
    }

    pub(crate) fn with_place(mut self, place: Option<Place>) -> Self {
        self.place = place;
        self
    }

    /// The connection, for calls that want it by name.
    pub fn conn(&mut self) -> &mut PgConnection {
        &mut self.conn
    }

    /// It brings something that others wait for: they are called once it is committed.
    pub fn rings(&mut self, ring: Ring) {
        if !self.rings.contains(&ring) {
            self.rings.push(ring);
        }
    }

    /// Says why, for the records that the database itself keeps of what this transaction changes.
    pub async fn because(&mut self, why: &str) -> Result<(), Fault> {
        sqlx::query("SELECT set_config('app.why', $1, true)")
            .bind(why)
            .execute(&mut *self.conn)
            .await
            .map_err(fault)?;
        Ok(())
    }

    /// Makes it durable. `Ok` means on disk; [`Fault::Unknown`] means that the answer got lost and
    /// the outcome must be read back; any other fault means that nothing was stored.
    pub async fn commit(mut self) -> Result<(), Fault> {
        // COMMIT of a transaction in which a statement failed answers ROLLBACK without an error,
        // and the driver doesn't show the difference. This statement fails there, and it brings
        // deferred constraints forward, so that little can go wrong in COMMIT itself.
        self.conn.execute("SET CONSTRAINTS ALL IMMEDIATE").await.map_err(fault)?;
        let outcome = <Manager as TransactionManager>::commit(&mut self.conn).await;
        if let Err(error) = outcome {
            self.state = State::Opening; // Not known any more: Drop closes the connection.
            return Err(if is_gone(&error) {
                self.bells.rung(&self.rings);
                Fault::Unknown(format!("commit: {error}"))
            } else {
                fault(error)
            });
        }
        self.state = State::Ended;
        self.bells.rung(&self.rings);
        Ok(())
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        match self.state {
            // Queued here, sent when the pool takes the connection back.
            State::Open => <Manager as TransactionManager>::start_rollback(&mut self.conn),
            State::Opening => self.conn.close_on_drop(),
            State::Ended => {}
        }
    }
}

impl Deref for Tx {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.conn
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.conn
    }
}
