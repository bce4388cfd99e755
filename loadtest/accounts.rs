//! Accounts: how a client gets in and stays in, and the file that remembers them between runs.
//!
//! Owns phones, passwords and tokens. A sign-up or log-in costs the server a password hash, so
//! they pass a narrow door ([`World::doors`]); a refresh costs next to nothing and comes first.
//! The passwords are those of test accounts and are derived from the phone.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::api::{Ask, Failure};
use crate::stats::add;
use crate::wire::{Role, SignedIn, Tier, Tokens};
use crate::world::World;

/// A token is renewed when this share of its life is left.
const RENEW_SHARE: f64 = 0.25;
/// Riders' numbers begin here in the five digits that a seed leaves.
const FIRST_RIDER: u32 = 40_000;

/// Somebody who can log in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    pub role: Role,
    pub index: u32,
    pub phone: String,
    password: String,
    /// Nil until the server gave one.
    pub id: Uuid,
    #[serde(default)]
    refresh_token: Option<String>,
    /// A driver who is approved.
    #[serde(default)]
    pub ready: bool,
    #[serde(skip)]
    live: Option<Live>,
    /// Riders: what the wallet holds as far as we know, piasters; `None` until the book is open.
    #[serde(skip)]
    pub wallet: Option<i64>,
}

#[derive(Clone, Debug)]
struct Live {
    token: String,
    renew_at: Instant,
}

/// Whether the account was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    New,
    Known,
}

impl Account {
    pub fn new(role: Role, index: u32, seed: u64) -> Self {
        let phone = phone(role, index, seed);
        Self {
            role,
            index,
            password: format!("loadtest-{}", &phone[phone.len() - 8..]),
            phone,
            id: Uuid::nil(),
            refresh_token: None,
            ready: false,
            live: None,
            wallet: None,
        }
    }

    /// The tier of a driver's car, or the one a rider mostly asks for.
    pub const fn tier(&self) -> Tier {
        match self.index % 20 {
            0..=13 => Tier::Economy,
            14..=16 => Tier::Comfort,
            17 => Tier::Premium,
            _ => Tier::Xl,
        }
    }

    /// Gets in: by the remembered session, else by password, else by signing up.
    pub async fn enter(&mut self, world: &World) -> Result<Entered, Failure> {
        if self.id.is_nil() {
            return match self.sign_up(world).await {
                Err(failure) if failure.is("PHONE_TAKEN") => {
                    self.log_in(world).await.map(|()| Entered::Known)
                }
                other => other.map(|()| Entered::New),
            };
        }
        if self.refresh_token.is_some() && self.refresh(world).await.is_ok() {
            return Ok(Entered::Known);
        }
        match self.log_in(world).await {
            // Another database than the one the file was made with.
            Err(failure) if failure.is("INVALID_CREDENTIALS") => {
                self.ready = false;
                self.sign_up(world).await.map(|()| Entered::New)
            }
            other => other.map(|()| Entered::Known),
        }
    }

    /// A token with enough life left.
    pub async fn token(&mut self, world: &World) -> Result<String, Failure> {
        if let Some(live) = &self.live
            && Instant::now() < live.renew_at
        {
            return Ok(live.token.clone());
        }
        if self.refresh_token.is_none() || self.refresh(world).await.is_err() {
            self.log_in(world).await?;
        }
        self.live.as_ref().map(|live| live.token.clone()).ok_or(Failure::TimedOut)
    }

    /// When the token must be renewed.
    pub fn renew_at(&self) -> Option<Instant> {
        self.live.as_ref().map(|live| live.renew_at)
    }

    /// The server no longer takes the token.
    pub fn forget_token(&mut self) {
        self.live = None;
    }

    async fn sign_up(&mut self, world: &World) -> Result<(), Failure> {
        let name = match self.role {
            Role::Rider => format!("Rider {}", self.index),
            Role::Driver => format!("Driver {}", self.index),
            Role::Admin => "Admin".to_owned(),
        };
        let (phone, password) = (&self.phone, &self.password);
        let body = json!({"phone": phone, "password": password, "name": name, "role": self.role});
        let _door = world.doors.acquire().await.map_err(|_| Failure::TimedOut)?;
        let signed = world.api.post(Ask::open("signup", "/auth/signup"), &body).await?;
        add(&world.stats.totals.sign_ups);
        self.signed_in(signed);
        Ok(())
    }

    async fn log_in(&mut self, world: &World) -> Result<(), Failure> {
        let body = json!({"phone": self.phone, "password": self.password});
        let _door = world.doors.acquire().await.map_err(|_| Failure::TimedOut)?;
        let signed = world.api.post(Ask::open("login", "/auth/login"), &body).await?;
        add(&world.stats.totals.log_ins);
        self.signed_in(signed);
        Ok(())
    }

    async fn refresh(&mut self, world: &World) -> Result<(), Failure> {
        let body = json!({"refreshToken": self.refresh_token});
        let tokens = world.api.post(Ask::open("refresh", "/auth/refresh"), &body).await;
        match tokens {
            Ok(tokens) => self.take(tokens),
            Err(failure) => {
                self.refresh_token = None;
                return Err(failure);
            }
        }
        Ok(())
    }

    fn signed_in(&mut self, signed: SignedIn) {
        self.id = signed.user.id;
        self.take(signed.tokens);
    }

    fn take(&mut self, tokens: Tokens) {
        let life = Duration::from_secs(tokens.expires_in).mul_f64(1.0 - RENEW_SHARE);
        self.refresh_token = Some(tokens.refresh_token);
        self.live = Some(Live { token: tokens.token, renew_at: Instant::now() + life });
    }
}

/// `+2010`, three digits of the seed, five of role and index: one account, one phone.
fn phone(role: Role, index: u32, seed: u64) -> String {
    let seed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    let number = match role {
        Role::Driver | Role::Admin => index,
        Role::Rider => FIRST_RIDER + index,
    };
    format!("+2010{:03}{number:05}", seed % 1_000)
}

/// The admin, whose account is given and never made.
pub struct Admin(tokio::sync::Mutex<Account>);

impl Admin {
    pub fn new(phone: &str, password: &str) -> Self {
        let account = Account {
            phone: phone.to_owned(),
            password: password.to_owned(),
            ..Account::new(Role::Admin, 0, 0)
        };
        Self(tokio::sync::Mutex::new(account))
    }

    pub async fn token(&self, world: &World) -> Result<String, Failure> {
        self.0.lock().await.token(world).await
    }
}

/// The file of accounts.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Accounts {
    url: String,
    seed: u64,
    accounts: Vec<Account>,
    #[serde(skip)]
    by_number: HashMap<(Role, u32), usize>,
}

impl Accounts {
    /// Reads the file; one that is missing, or of another server or seed, is an empty one.
    pub fn load(path: &Path, url: &str, seed: u64) -> Self {
        let read = std::fs::read(path).ok();
        let kept: Option<Self> = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mut accounts = kept.filter(|a| a.url == url && a.seed == seed).unwrap_or_default();
        (accounts.url, accounts.seed) = (url.to_owned(), seed);
        let numbered = accounts.accounts.iter().enumerate();
        accounts.by_number = numbered.map(|(i, a)| ((a.role, a.index), i)).collect();
        accounts
    }

    pub fn save(&self, path: &Path) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(self)?;
        // Whoever reads the file between two runs must never see half of it.
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, bytes)
            .and_then(|()| std::fs::rename(&fresh, path))
            .with_context(|| format!("can't write {}", path.display()))
    }

    /// The account of a number, remembered or new.
    pub fn get(&self, role: Role, index: u32) -> Account {
        let known = self.by_number.get(&(role, index)).map(|i| self.accounts[*i].clone());
        known.unwrap_or_else(|| Account::new(role, index, self.seed))
    }

    pub fn keep_all(&mut self, accounts: &[Account]) {
        for account in accounts {
            self.keep(account);
        }
    }

    /// Remembers an account as it is now.
    pub fn keep(&mut self, account: &Account) {
        let key = (account.role, account.index);
        match self.by_number.get(&key) {
            Some(index) => self.accounts[*index] = account.clone(),
            None => {
                self.by_number.insert(key, self.accounts.len());
                self.accounts.push(account.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn phones_are_egyptian_mobiles_and_never_shared() {
        let mut seen = HashSet::new();
        for index in (0..15_000).step_by(77) {
            for role in [Role::Driver, Role::Rider] {
                let phone = phone(role, index, 2018);
                assert!(phone.starts_with("+2010") && phone.len() == 13, "{phone}");
                assert!(seen.insert(phone));
            }
        }
        assert_ne!(phone(Role::Rider, 1, 1), phone(Role::Rider, 1, 2));
    }

    #[test]
    fn the_file_remembers_who_was_there() {
        let dir = std::env::temp_dir().join(format!("loadtest-accounts-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a place to write");
        let path = dir.join("accounts.json");
        let mut accounts = Accounts::load(&path, "http://a", 5);
        let mut account = accounts.get(Role::Driver, 3);
        account.id = Uuid::from_u128(9);
        accounts.keep(&account);
        account.ready = true;
        accounts.keep(&account);
        accounts.save(&path).expect("it is written");
        let again = Accounts::load(&path, "http://a", 5);
        assert_eq!(again.get(Role::Driver, 3).id, Uuid::from_u128(9));
        assert!(again.get(Role::Driver, 3).ready);
        assert!(again.get(Role::Rider, 3).id.is_nil());
        let other = Accounts::load(&path, "http://b", 5);
        assert!(other.get(Role::Driver, 3).id.is_nil(), "another server knows nobody");
        std::fs::remove_dir_all(&dir).expect("it was made above");
    }
}
