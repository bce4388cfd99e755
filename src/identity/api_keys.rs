//! Keys of partners: other companies' programs that may ask a few things.
//!
//! A key stands for no account: it opens what its scopes name and nothing else. It is drawn at
//! random, shown once and kept as a hash. Every node holds the keys that are good in memory, so
//! that a request costs no query; what another node changed is known here within seconds.

mod memory;
mod store;
#[cfg(test)]
mod tests;

use std::time::Duration;

use base::{ApiKeyId, Caller, Cursor, Dice, Fault, Millis, Problem, trimmed};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::accounts::Identity;
use crate::{Audit, AuditObject};

pub use memory::{ApiKeys, Partner};

/// What every key begins with, so that one is known for what it is where it leaked to.
const PREFIX: &str = "sl_";
/// Too many to guess: 256 bits.
const BYTES: usize = 32;
/// Characters at the end by which people tell keys apart.
const HINT: usize = 4;
/// Requests a minute when nothing is said.
const PER_MINUTE: u32 = 600;
/// How long the key before a rotation goes on when nothing is said.
const GRACE: Duration = Duration::from_secs(86_400);

/// What a key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum Scope {
    #[serde(rename = "pricing:estimate")]
    PricingEstimate,
    #[serde(rename = "location:nearby")]
    LocationNearby,
}

impl Scope {
    pub const ALL: [Self; 2] = [Self::PricingEstimate, Self::LocationNearby];

    pub const fn name(self) -> &'static str {
        match self {
            Self::PricingEstimate => "pricing:estimate",
            Self::LocationNearby => "location:nearby",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// A key to be made.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewApiKey {
    /// Whose it is and what for.
    #[schema(max_length = 100)]
    #[serde(deserialize_with = "trimmed")]
    pub name: String,
    #[schema(min_items = 1)]
    pub scopes: Vec<Scope>,
    /// Requests a minute, 600 when absent.
    #[schema(minimum = 1, maximum = 100_000)]
    pub per_minute: Option<u32>,
    /// Never when absent.
    pub expires_at: Option<Millis>,
}

/// How a key is replaced.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotateApiKey {
    /// How long the key before goes on, seconds: a day when absent, 0 ends it at once.
    #[schema(minimum = 0, maximum = 604_800)]
    pub grace_seconds: Option<u32>,
}

/// A key as operators see it: never the key itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyView {
    pub id: ApiKeyId,
    pub name: String,
    /// The key's last characters.
    pub hint: String,
    pub scopes: Vec<Scope>,
    pub per_minute: u32,
    pub created_at: Millis,
    pub rotated_at: Option<Millis>,
    /// Until when the key before the last rotation goes on.
    pub previous_until: Option<Millis>,
    pub expires_at: Option<Millis>,
    pub revoked_at: Option<Millis>,
}

/// A key at the one moment when it is shown.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MadeApiKey {
    /// For `X-API-Key` or `Authorization: ApiKey`. It is not shown again.
    pub key: String,
    pub api_key: ApiKeyView,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeysPage {
    pub api_keys: Vec<ApiKeyView>,
    pub next_cursor: Option<String>,
}

/// A day (UTC) of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ApiKeyDay {
    #[schema(example = "2026-01-31")]
    pub day: String,
    pub requests: u64,
    /// Of them refused because they were too many.
    pub refused: u64,
}

impl Identity {
    pub async fn create_api_key(
        &self,
        admin: &Caller,
        asked: &NewApiKey,
    ) -> Result<MadeApiKey, Problem> {
        let now = self.store().clock.now();
        if asked.expires_at.is_some_and(|at| at <= now) {
            return Err(Problem::field("expiresAt", "invalid", "must be in the future"));
        }
        let (id, key) = (ApiKeyId::new(), draw());
        let record = Audit::by(admin, "api_key.create", object(id)).with(serde_json::json!({
            "name": asked.name, "scopes": asked.scopes, "expiresAt": asked.expires_at,
        }));
        let per_minute = asked.per_minute.unwrap_or(PER_MINUTE);
        let api_key = self.store().key_insert(admin, id, &key, asked, per_minute, record).await?;
        self.load_api_keys().await?;
        Ok(MadeApiKey { key: key.text, api_key })
    }

    /// A new key in the place of the old one, which goes on for the grace.
    pub async fn rotate_api_key(
        &self,
        admin: &Caller,
        id: ApiKeyId,
        asked: RotateApiKey,
    ) -> Result<MadeApiKey, Problem> {
        let key = draw();
        let grace = asked.grace_seconds.map_or(GRACE, |s| Duration::from_secs(s.into()));
        let details = serde_json::json!({ "graceSeconds": grace.as_secs() });
        let record = Audit::by(admin, "api_key.rotate", object(id)).with(details);
        let rotated = self.store().key_rotate(admin, id, &key, grace, record).await?;
        let api_key = rotated.ok_or_else(Problem::not_found)?;
        self.load_api_keys().await?;
        Ok(MadeApiKey { key: key.text, api_key })
    }

    /// Ends a key, and the one before it, at once. Once ended it stays so.
    pub async fn revoke_api_key(
        &self,
        admin: &Caller,
        id: ApiKeyId,
    ) -> Result<ApiKeyView, Problem> {
        let record = Audit::by(admin, "api_key.revoke", object(id));
        let revoked = self.store().key_revoke(admin, id, record).await?;
        let view = revoked.ok_or_else(Problem::not_found)?;
        self.load_api_keys().await?;
        Ok(view)
    }

    /// Newest first.
    pub async fn list_api_keys(
        &self,
        admin: &Caller,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<ApiKeysPage, Fault> {
        let api_keys = self.store().keys_page(admin, after, limit).await?;
        let next_cursor = api_keys
            .last()
            .filter(|_| api_keys.len() == limit as usize)
            .map(|last| Cursor { at: last.created_at, id: last.id.0 }.to_string());
        Ok(ApiKeysPage { api_keys, next_cursor })
    }

    /// The days on which a key was used, newest first.
    pub async fn api_key_usage(
        &self,
        admin: &Caller,
        id: ApiKeyId,
        days: u32,
    ) -> Result<Vec<ApiKeyDay>, Problem> {
        self.store_key_usage().await?;
        let days = self.store().key_days(admin, id, days).await?;
        days.ok_or_else(Problem::not_found)
    }

    /// Reads the keys that are good. Call it before the first request is served.
    pub async fn load_api_keys(&self) -> Result<(), Fault> {
        self.api_keys().replace(self.store().keys_good()).await
    }

    /// Writes down how often keys were used since the last time.
    pub async fn store_key_usage(&self) -> Result<(), Fault> {
        let used = self.api_keys().take_usage();
        if used.is_empty() {
            return Ok(());
        }
        let stored = self.store().key_usage_add(&used).await;
        if stored.is_err() {
            self.api_keys().give_back(&used);
        }
        stored
    }
}

/// A key that was just drawn.
pub(crate) struct Drawn {
    text: String,
    pub hash: [u8; 32],
    pub hint: String,
}

fn draw() -> Drawn {
    let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(Dice::secret::<BYTES>()));
    let hint = text[text.len() - HINT..].to_owned();
    Drawn { hash: hash(&text), hint, text }
}

/// Drawn from 256 bits, so one round is enough: there is nothing to guess.
fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

fn object(id: ApiKeyId) -> AuditObject {
    AuditObject::new("api_key", id)
}
