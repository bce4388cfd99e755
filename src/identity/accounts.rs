//! The accounts of this node's callers: sign-up, login, refresh, logout.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base::{Caller, Clock, Fault, Problem, Role, SessionId, UserId};
use metrics::counter;
use ops::Tasks;
use storage::Db;
use tokio::sync::broadcast;
use tracing::warn;

use crate::api_keys::ApiKeys;
use crate::model::{NewAccount, phone_field};
use crate::passwords::{Fit, Passwords};
use crate::refresh::{RefreshToken, Verdict, judge};
use crate::revocations::KEEP;
use crate::store::{Created, Store};
use crate::tokens::{ACCESS_TTL, Keys, Tokens};
use crate::{HashCost, IdentityError, SignUp, SignedIn, TokenPair, UserView};

/// Pause between looks for sessions that other nodes ended: with the time a look takes, well under
/// the five seconds within which their sockets must close.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How far back each look overlaps the one before: clocks differ, and commits take a moment.
const LOOK_BACK: Duration = Duration::from_secs(30);

/// How identity works on this node.
#[derive(Clone, Debug)]
pub struct Settings {
    pub keys: Keys,
    pub hash_cost: HashCost,
    /// Password hashes at once; about one per core.
    pub hash_slots: usize,
}

/// An account as other rooms need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub user: UserId,
    pub name: String,
    pub role: Role,
}

/// Accounts, logins and their tokens. Cheap to clone.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    store: Store,
    tokens: Tokens,
    passwords: Passwords,
    keys: ApiKeys,
}

impl Identity {
    /// Starts the look-out for sessions and keys ended elsewhere; it ends with `tasks`. Call
    /// [`Identity::load_revocations`] and [`Identity::load_api_keys`] before the first request is
    /// served.
    pub fn start(db: Db, tasks: &Tasks, clock: Clock, settings: &Settings) -> Result<Self, Fault> {
        settings.keys.check().map_err(|weak| Fault::internal(weak.to_string()))?;
        let identity = Self(Arc::new(Inner {
            tokens: Tokens::new(&settings.keys, clock.clone()),
            keys: ApiKeys::new(clock.clone()),
            store: Store { db, clock },
            passwords: Passwords::new(settings.hash_cost, settings.hash_slots)?,
        }));
        let (watcher, stopping) = (identity.clone(), tasks.stopping());
        tasks.spawn("ended sessions and keys", async move {
            while stopping.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
                if let Err(fault) = watcher.look().await {
                    warn!(%fault, "could not look for ended sessions and keys");
                }
            }
            if let Err(fault) = watcher.store_key_usage().await {
                warn!(%fault, "the last uses of keys were not stored");
            }
        });
        Ok(identity)
    }

    /// Reads the sessions that were ended lately, so that a restart forgets none.
    pub async fn load_revocations(&self) -> Result<(), Fault> {
        self.look_for_ended(KEEP).await
    }

    /// Issues and checks access tokens without the database.
    pub fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// Partners' keys, as requests are checked against them.
    pub fn api_keys(&self) -> &ApiKeys {
        &self.0.keys
    }

    /// The holder of an access token.
    pub fn verify(&self, bearer: &str) -> Result<Caller, Problem> {
        self.0.tokens.verify(bearer)
    }

    /// Sessions as they are ended; a listener that lagged asks [`Tokens::is_revoked`] for each of
    /// its own.
    pub fn revocations(&self) -> broadcast::Receiver<SessionId> {
        self.0.tokens.revocations()
    }

    /// Has this phone an account?
    pub async fn check_phone(&self, phone: &str) -> Result<bool, IdentityError> {
        let phone = phone_field(phone).map_err(IdentityError::Invalid)?;
        Ok(self.0.store.phone_exists(phone.as_str()).await?)
    }

    /// Whose phone this is: for what is noted about an account, never for an answer.
    pub async fn user_of_phone(&self, phone: &str) -> Result<Option<UserId>, IdentityError> {
        let phone = phone_field(phone).map_err(IdentityError::Invalid)?;
        let known = self.0.store.credentials(phone.as_str()).await?;
        Ok(known.map(|account| account.user))
    }

    /// Creates a rider's or driver's account and logs it in.
    pub async fn sign_up(&self, asked: SignUp) -> Result<SignedIn, IdentityError> {
        let account = NewAccount::public(asked).map_err(IdentityError::Invalid)?;
        let hash = self.0.passwords.hash(account.password.clone()).await?;
        let session = SessionId::new();
        match self.0.store.create_with_session(&account, &hash, session).await? {
            Created::PhoneTaken => Err(IdentityError::PhoneTaken),
            Created::Done(user) => {
                let view = UserView {
                    id: user,
                    phone: account.phone.as_str().to_owned(),
                    name: account.name,
                    role: account.role,
                };
                Ok(self.signed_in(view, session))
            }
        }
    }

    /// Creates an admin: for the command line, never for a route.
    pub async fn create_admin(
        &self,
        phone: &str,
        name: &str,
        password: &str,
    ) -> Result<UserId, IdentityError> {
        let asked = SignUp {
            phone: phone.to_owned(),
            password: password.to_owned(),
            name: name.to_owned(),
            role: Role::Admin,
        };
        let account = NewAccount::any(asked).map_err(IdentityError::Invalid)?;
        let hash = self.0.passwords.hash(account.password.clone()).await?;
        match self.0.store.create(&account, &hash).await? {
            Created::Done(user) => Ok(user),
            Created::PhoneTaken => Err(IdentityError::PhoneTaken),
        }
    }

    /// An unknown phone takes as long as a wrong password and is told the same.
    pub async fn log_in(&self, phone: &str, password: &str) -> Result<SignedIn, IdentityError> {
        let phone = phone_field(phone).map_err(IdentityError::Invalid)?;
        let known = self.0.store.credentials(phone.as_str()).await?;
        let hash = known.as_ref().map(|account| account.hash.clone());
        let fit = self.0.passwords.verify(password.to_owned(), hash).await?;
        let (Some(account), Fit::Right) = (known, fit) else {
            counter!("smartline_logins_total", "result" => "refused").increment(1);
            return Err(IdentityError::InvalidCredentials);
        };
        let session = SessionId::new();
        self.0.store.session_insert(account.user, session).await?;
        counter!("smartline_logins_total", "result" => "done").increment(1);
        let view = UserView {
            id: account.user,
            phone: phone.as_str().to_owned(),
            name: account.name,
            role: account.role,
        };
        Ok(self.signed_in(view, session))
    }

    /// Exchanges a refresh token for the next pair; see `refresh::judge` for one that was used.
    pub async fn refresh(&self, refresh_token: &str) -> Result<TokenPair, IdentityError> {
        let token =
            self.0.tokens.read_refresh(refresh_token).ok_or(IdentityError::InvalidRefreshToken)?;
        // A second round only when the session moved between the update and the look at it.
        for _ in 0..3 {
            if let Some(next) = self.0.store.rotate(token).await? {
                return Ok(self.pair(next.user, next.role, token.session, next.generation));
            }
            let held = self.0.store.session(token.session).await?;
            let held = held.ok_or(IdentityError::InvalidRefreshToken)?;
            match judge(&held.session, token.generation, self.0.store.clock.now()) {
                Verdict::Rotate => {}
                Verdict::Again { generation } => {
                    return Ok(self.pair(held.user, held.role, token.session, generation));
                }
                Verdict::Reused => {
                    counter!("smartline_refresh_reuse_total").increment(1);
                    warn!(session.id = %token.session, "used refresh token came back, family ended");
                    self.end_session(token.session, "reuse").await?;
                    return Err(IdentityError::InvalidRefreshToken);
                }
                Verdict::Ended => return Err(IdentityError::InvalidRefreshToken),
            }
        }
        Err(Fault::unavailable("the session is refreshed too often at once").into())
    }

    /// Ends the caller's session, and the one of `refresh_token` when that is another of his.
    pub async fn log_out(
        &self,
        caller: &Caller,
        refresh_token: Option<&str>,
    ) -> Result<(), IdentityError> {
        self.end_session(caller.session, "logout").await?;
        let other = refresh_token.and_then(|text| self.0.tokens.read_refresh(text));
        let Some(other) = other.filter(|token| token.session != caller.session) else {
            return Ok(());
        };
        let held = self.0.store.session(other.session).await?;
        if held.is_some_and(|held| held.user == caller.user) {
            self.end_session(other.session, "logout").await?;
        }
        Ok(())
    }

    /// Ends every session of a user, for example when he is blocked.
    pub async fn end_sessions(&self, user: UserId, why: &str) -> Result<(), Fault> {
        let now = self.0.store.clock.now();
        for session in self.0.store.revoke_all(user, why).await? {
            self.0.tokens.revoked().add(session, now);
        }
        Ok(())
    }

    /// The role of an account; `None` when there is none.
    pub async fn role_of(&self, user: UserId) -> Result<Option<Role>, IdentityError> {
        Ok(self.account(user).await?.map(|account| account.role))
    }

    pub async fn account(&self, user: UserId) -> Result<Option<Account>, IdentityError> {
        Ok(self.accounts(&[user]).await?.remove(&user))
    }

    /// The accounts among `users` that exist.
    pub async fn accounts(
        &self,
        users: &[UserId],
    ) -> Result<HashMap<UserId, Account>, IdentityError> {
        let rows = self.0.store.accounts(users).await?;
        let accounts = rows.into_iter();
        Ok(accounts.map(|(user, name, role)| (user, Account { user, name, role })).collect())
    }

    async fn look(&self) -> Result<(), Fault> {
        self.look_for_ended(LOOK_BACK).await?;
        self.load_api_keys().await?;
        self.store_key_usage().await
    }

    async fn end_session(&self, session: SessionId, why: &str) -> Result<(), Fault> {
        self.0.store.revoke(session, why).await?;
        self.0.tokens.revoked().add(session, self.0.store.clock.now());
        Ok(())
    }

    pub(crate) async fn look_for_ended(&self, back: Duration) -> Result<(), Fault> {
        let now = self.0.store.clock.now();
        for (session, at) in self.0.store.revoked_since(now - back).await? {
            self.0.tokens.revoked().add(session, at);
        }
        self.0.tokens.revoked().forget_old(now);
        Ok(())
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn signed_in(&self, user: UserView, session: SessionId) -> SignedIn {
        let tokens = self.pair(user.id, user.role, session, 0);
        SignedIn { user, tokens }
    }

    fn pair(&self, user: UserId, role: Role, session: SessionId, generation: i32) -> TokenPair {
        TokenPair {
            token: self.0.tokens.issue(user, role, session),
            refresh_token: self.0.tokens.write_refresh(RefreshToken { session, generation }),
            expires_in: ACCESS_TTL.as_secs(),
        }
    }
}
