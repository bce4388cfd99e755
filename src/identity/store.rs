//! All SQL of identity. Runs as the program itself: who logs in is nobody yet.

use std::time::Duration;

use base::{Clock, Fault, Millis, Role, SessionId, UserId};
use jiff_sqlx::Timestamp;
use storage::{Db, Tx, Who, at, breaks, fault, millis};
use uuid::Uuid;

use crate::audit::audit_in_tx;
use crate::model::NewAccount;
use crate::refresh::{IDLE_TTL, RefreshToken, Revoked, SESSION_TTL, Session};
use crate::{Audit, AuditObject, UserView};

/// An account with its password's hash.
pub(crate) struct Credentials {
    pub user: UserId,
    pub name: String,
    pub role: Role,
    pub hash: String,
}

/// A session that was moved to its next generation.
pub(crate) struct Rotated {
    pub user: UserId,
    pub role: Role,
    pub generation: i32,
}

/// A session with its account's role as it is now.
pub(crate) struct Held {
    pub session: Session,
    pub user: UserId,
    pub role: Role,
}

/// What became of a new account.
pub(crate) enum Created {
    Done(UserId),
    PhoneTaken,
}

pub(crate) struct Store {
    pub db: Db,
    pub clock: Clock,
}

impl Store {
    pub(crate) async fn phone_exists(&self, phone: &str) -> Result<bool, Fault> {
        let mut tx = self.db.begin(&Who::System).await?;
        let sql = "SELECT EXISTS (SELECT 1 FROM users WHERE phone = $1 AND deleted_at IS NULL)";
        sqlx::query_scalar(sql).bind(phone).fetch_one(tx.conn()).await.map_err(fault)
    }

    pub(crate) async fn credentials(&self, phone: &str) -> Result<Option<Credentials>, Fault> {
        let mut tx = self.db.begin(&Who::System).await?;
        let sql = "SELECT id, name, role, password_hash FROM users
                   WHERE phone = $1 AND deleted_at IS NULL";
        let row: Option<(Uuid, String, String, String)> =
            sqlx::query_as(sql).bind(phone).fetch_optional(tx.conn()).await.map_err(fault)?;
        row.map(|(id, name, role, hash)| {
            Ok(Credentials { user: UserId(id), name, role: role_word(&role)?, hash })
        })
        .transpose()
    }

    /// Creates the account and its first session in one commit.
    pub(crate) async fn create_with_session(
        &self,
        account: &NewAccount,
        hash: &str,
        session: SessionId,
    ) -> Result<Created, Fault> {
        let mut tx = self.db.begin(&Who::System).await?;
        let created = self.user_insert_in_tx(&mut tx, account, hash).await?;
        if let Created::Done(user) = created {
            self.session_insert_in_tx(&mut tx, user, session).await?;
            tx.commit().await?;
        }
        Ok(created)
    }

    /// Creates the account alone, at the terminal.
    pub(crate) async fn create(&self, account: &NewAccount, hash: &str) -> Result<Created, Fault> {
        let mut tx = self.db.begin(&Who::System).await?;
        let created = self.user_insert_in_tx(&mut tx, account, hash).await?;
        if let Created::Done(user) = created {
            let record = Audit::by_terminal("account.create", AuditObject::new("account", user));
            audit_in_tx(&mut tx, &[record]).await?;
            tx.commit().await?;
        }
        Ok(created)
    }

    pub(crate) async fn session_insert(
        &self,
        user: UserId,
        session: SessionId,
    ) -> Result<(), Fault> {
        let mut tx = self.db.begin(&Who::System).await?;
        self.session_insert_in_tx(&mut tx, user, session).await?;
        tx.commit().await
    }

    /// Moves the session to its next generation if `token` is the live one and the session lives:
    /// one statement, so that of two at once one wins.
    pub(crate) async fn rotate(&self, token: RefreshToken) -> Result<Option<Rotated>, Fault> {
        let now = self.clock.now();
        let mut tx = self.db.begin(&Who::System).await?;
        let sql = "UPDATE sessions s SET generation = s.generation + 1, rotated_at = $3
                   FROM users u
                   WHERE s.id = $1 AND s.generation = $2 AND s.revoked_at IS NULL
                     AND s.expires_at > $3 AND s.rotated_at > $4
                     AND u.id = s.user_id AND u.deleted_at IS NULL
                   RETURNING u.id, u.role, s.generation";
        let row: Option<(Uuid, String, i32)> = sqlx::query_as(sql)
            .bind(token.session.0)
            .bind(token.generation)
            .bind(at(now))
            .bind(at(now - IDLE_TTL))
            .fetch_optional(tx.conn())
            .await
            .map_err(fault)?;
        let Some((user, role, generation)) = row else { return Ok(None) };
        tx.commit().await?;
        Ok(Some(Rotated { user: UserId(user), role: role_word(&role)?, generation }))
    }

    pub(crate) async fn session(&self, id: SessionId) -> Result<Option<Held>, Fault> {
        let mut tx = self.db.begin(&Who::System).await?;
        let sql = "SELECT s.user_id, u.role, s.generation, s.rotated_at, s.expires_at,
                          s.revoked_at IS NOT NULL OR u.deleted_at IS NOT NULL
                   FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = $1";
        let row: Option<(Uuid, String, i32, Timestamp, Timestamp, bool)> =
            sqlx::query_as(sql).bind(id.0).fetch_optional(tx.conn()).await.map_err(fault)?;
        row.map(|(user, role, generation, rotated_at, expires_at, revoked)| {
            let revoked = if revoked { Revoked::Yes } else { Revoked::No };
            let (rotated_at, expires_at) = (millis(rotated_at), millis(expires_at));
            let session = Session { generation, rotated_at, expires_at, revoked };
            Ok(Held { session, user: UserId(user), role: role_word(&role)? })
        })
        .transpose()
    }

    /// Ends a session; the first reason stays.
    pub(crate) async fn revoke(&self, id: SessionId, why: &str) -> Result<(), Fault> {
        let mut tx = self.db.begin(&Who::System).await?;
        let sql = "UPDATE sessions SET revoked_at = $2, revoked_why = $3
                   WHERE id = $1 AND revoked_at IS NULL";
        sqlx::query(sql)
            .bind(id.0)
            .bind(at(self.clock.now()))
            .bind(why)
            .execute(tx.conn())
            .await
            .map_err(fault)?;
        tx.commit().await
    }

    /// Ends every session of a user and names them.
    pub(crate) async fn revoke_all(
        &self,
        user: UserId,
        why: &str,
    ) -> Result<Vec<SessionId>, Fault> {
        let mut tx = self.db.begin(&Who::System).await?;
        let sql = "UPDATE sessions SET revoked_at = $2, revoked_why = $3
                   WHERE user_id = $1 AND revoked_at IS NULL RETURNING id";
        let ids: Vec<Uuid> = sqlx::query_scalar(sql)
            .bind(user.0)
            .bind(at(self.clock.now()))
            .bind(why)
            .fetch_all(tx.conn())
            .await
            .map_err(fault)?;
        tx.commit().await?;
        Ok(ids.into_iter().map(SessionId).collect())
    }

    pub(crate) async fn revoked_since(
        &self,
        since: Millis,
    ) -> Result<Vec<(SessionId, Millis)>, Fault> {
        let mut tx = self.db.begin(&Who::System).await?;
        let sql = "SELECT id, revoked_at FROM sessions WHERE revoked_at >= $1";
        let rows: Vec<(Uuid, Timestamp)> =
            sqlx::query_as(sql).bind(at(since)).fetch_all(tx.conn()).await.map_err(fault)?;
        Ok(rows.into_iter().map(|(id, when)| (SessionId(id), millis(when))).collect())
    }

    /// Name and role of the accounts among `users` that exist.
    pub(crate) async fn accounts(
        &self,
        users: &[UserId],
    ) -> Result<Vec<(UserId, String, Role)>, Fault> {
        accounts_in_tx(&mut self.db.begin(&Who::System).await?, users).await
    }

    /// Keeps a code's hash for `ttl`; codes that nobody used in their time go.
    pub(crate) async fn code_insert(
        &self,
        hash: &[u8; 32],
        user: UserId,
        ttl: Duration,
    ) -> Result<(), Fault> {
        let now = self.clock.now();
        let mut tx = self.db.begin(&Who::System).await?;
        sqlx::query("DELETE FROM login_codes WHERE expires_at <= $1")
            .bind(at(now))
            .execute(tx.conn())
            .await
            .map_err(fault)?;
        sqlx::query("INSERT INTO login_codes (code_hash, user_id, expires_at) VALUES ($1, $2, $3)")
            .bind(&hash[..])
            .bind(user.0)
            .bind(at(now + ttl))
            .execute(tx.conn())
            .await
            .map_err(fault)?;
        let record = Audit::by_terminal("account.link", AuditObject::new("account", user));
        audit_in_tx(&mut tx, &[record]).await?;
        tx.commit().await
    }

    /// Takes the code away and opens a session in one commit; of two at once one gets it.
    pub(crate) async fn code_use(
        &self,
        hash: &[u8; 32],
        session: SessionId,
    ) -> Result<Option<UserView>, Fault> {
        let mut tx = self.db.begin(&Who::System).await?;
        let sql = "DELETE FROM login_codes c USING users u
                   WHERE c.code_hash = $1 AND c.expires_at > $2
                     AND u.id = c.user_id AND u.deleted_at IS NULL
                   RETURNING u.id, u.phone, u.name, u.role";
        let row: Option<(Uuid, String, String, String)> = sqlx::query_as(sql)
            .bind(&hash[..])
            .bind(at(self.clock.now()))
            .fetch_optional(tx.conn())
            .await
            .map_err(fault)?;
        let Some((id, phone, name, role)) = row else { return Ok(None) };
        let user = UserView { id: UserId(id), phone, name, role: role_word(&role)? };
        self.session_insert_in_tx(&mut tx, user.id, session).await?;
        tx.commit().await?;
        Ok(Some(user))
    }

    async fn user_insert_in_tx(
        &self,
        tx: &mut Tx,
        account: &NewAccount,
        hash: &str,
    ) -> Result<Created, Fault> {
        let user = UserId::new();
        let sql = "INSERT INTO users (id, phone, name, role, password_hash, created_at)
                   VALUES ($1, $2, $3, $4, $5, $6)";
        let inserted = sqlx::query(sql)
            .bind(user.0)
            .bind(account.phone.as_str())
            .bind(&account.name)
            .bind(account.role.name())
            .bind(hash)
            .bind(at(self.clock.now()))
            .execute(tx.conn())
            .await;
        match inserted {
            Ok(_) => Ok(Created::Done(user)),
            Err(e) if breaks(&e, "one_account_per_phone") => Ok(Created::PhoneTaken),
            Err(e) => Err(fault(e)),
        }
    }

    async fn session_insert_in_tx(
        &self,
        tx: &mut Tx,
        user: UserId,
        session: SessionId,
    ) -> Result<(), Fault> {
        let now = self.clock.now();
        let sql = "INSERT INTO sessions (id, user_id, rotated_at, created_at, expires_at)
                   VALUES ($1, $2, $3, $3, $4)";
        sqlx::query(sql)
            .bind(session.0)
            .bind(user.0)
            .bind(at(now))
            .bind(at(now + SESSION_TTL))
            .execute(tx.conn())
            .await
            .map_err(fault)?;
        Ok(())
    }
}

async fn accounts_in_tx(
    tx: &mut Tx,
    users: &[UserId],
) -> Result<Vec<(UserId, String, Role)>, Fault> {
    let sql = "SELECT id, name, role FROM users
               WHERE id = ANY($1) AND deleted_at IS NULL";
    let ids: Vec<Uuid> = users.iter().map(|user| user.0).collect();
    let rows: Vec<(Uuid, String, String)> =
        sqlx::query_as(sql).bind(ids).fetch_all(tx.conn()).await.map_err(fault)?;
    rows.into_iter().map(|(id, name, role)| Ok((UserId(id), name, role_word(&role)?))).collect()
}

/// The role of an account as the transaction's caller may see it; `None` when there is none. For
/// whoever has a connection already, so that he does not wait for a second one.
pub async fn role_in_tx(tx: &mut Tx, user: UserId) -> Result<Option<Role>, Fault> {
    Ok(accounts_in_tx(tx, &[user]).await?.pop().map(|(_, _, role)| role))
}

fn role_word(text: &str) -> Result<Role, Fault> {
    Role::parse(text).ok_or_else(|| Fault::internal(format!("unknown role {text} in users")))
}
