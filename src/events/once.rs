//! Idempotency keys: one request, one effect, one answer, however often it is sent.
//!
//! An attempt takes its key first. The transaction of its effect marks the key as applied, so that
//! both are committed or neither; an attempt that lost its key meanwhile (it was given up for dead)
//! can't commit. The answer is stored behind it: whoever asks again gets it. When a node dies
//! between the two, the next attempt finds the key applied and answers by how things stand.

mod store;

use std::time::Duration;

use base::{Code, Fault, Problem, UserId};
use sha2::{Digest, Sha256};
use storage::{Db, Tx, Who};
use uuid::Uuid;

/// How long an attempt has its key to itself: a little longer than most answers may take. One that
/// takes longer is not in danger, it only can't store its effect once another attempt has begun.
const LEASE: Duration = Duration::from_secs(35);

/// Expired keys deleted by one statement.
const SWEEP: u64 = 10_000;

/// A request that is to have one effect.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Whose key it is.
    pub scope: UserId,
    /// Method and path, `POST /trips/request`.
    pub route: &'a str,
    pub key: &'a str,
    pub fingerprint: [u8; 32],
    /// How long the answer is kept.
    pub keep: Duration,
}

impl Asked<'_> {
    fn name(&self) -> Uuid {
        let mut hash = Sha256::new();
        hash.update(self.scope.0.as_bytes());
        hash.update(self.route.as_bytes());
        hash.update([0]);
        hash.update(self.key.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.finalize()[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}

/// May this attempt go on?
#[derive(Debug)]
pub enum Begun {
    /// It has the key.
    Run(Once),
    /// It was answered before.
    Replay { status: u16, answer: String },
    /// Another attempt is under way.
    Running,
    /// The key belongs to another request.
    Reused,
}

/// An attempt's hold on its key, handed down to the transaction of the effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Once {
    token: Option<Uuid>,
    key: Option<Uuid>,
    applied: Option<Uuid>,
}

/// The attempt lost its key to another one, or the database can't be asked: nothing may be stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Superseded {
    #[error("another attempt of the same request is under way")]
    ByAnother,
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<Superseded> for Problem {
    fn from(error: Superseded) -> Self {
        match error {
            Superseded::ByAnother => {
                let why = "the same request is being worked on, ask again for its answer";
                Self::new(Code::RequestInProgress, why)
            }
            Superseded::Fault(fault) => fault.into(),
        }
    }
}

impl Once {
    /// Of a request without a key.
    pub const NONE: Self = Self { token: None, key: None, applied: None };

    /// What the effect was about (a trip, a journal), where an earlier attempt had it already: what
    /// remains is to answer.
    pub const fn applied(&self) -> Option<Uuid> {
        self.applied
    }

    /// The key, the same for every attempt: a name for what the effect makes.
    pub const fn key(&self) -> Option<Uuid> {
        self.key
    }

    /// What names the attempt, for whoever commits the effects of many.
    pub const fn token(&self) -> Option<Uuid> {
        self.token
    }

    /// Makes the key's use part of the caller's transaction, whose effect is about `subject`.
    pub async fn mark_in_tx(&self, tx: &mut Tx, subject: Uuid) -> Result<(), Superseded> {
        let Some(token) = self.token else { return Ok(()) };
        let marked = mark_all_in_tx(tx, &[(token, subject)]).await?;
        if marked.is_empty() { Err(Superseded::ByAnother) } else { Ok(()) }
    }
}

/// Marks many attempts (token, subject) as [`Once::mark_in_tx`] does one; the tokens of those that
/// still have their keys.
pub async fn mark_all_in_tx(tx: &mut Tx, marks: &[(Uuid, Uuid)]) -> Result<Vec<Uuid>, Fault> {
    if marks.is_empty() {
        return Ok(Vec::new());
    }
    store::mark_in_tx(tx, marks).await
}

/// What makes two requests the same: method, path and body, the body without regard to the order of
/// its members or to white space.
pub fn fingerprint(route: &str, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(route.as_bytes());
    hash.update([0]);
    match serde_json::from_slice::<serde_json::Value>(body) {
        // The map of `Value` is sorted.
        Ok(value) => hash.update(value.to_string().as_bytes()),
        Err(_) => hash.update(body),
    }
    hash.finalize().into()
}

/// The keys of all accounts. Cheap to clone.
#[derive(Clone)]
pub struct IdempotencyKeys(Db);

impl IdempotencyKeys {
    pub const fn new(db: Db) -> Self {
        Self(db)
    }

    /// Takes the key for a new attempt, or says why not.
    pub async fn begin(&self, asked: &Asked<'_>) -> Result<Begun, Fault> {
        let token = Uuid::now_v7();
        let mut tx = self.0.begin(&Who::System).await?;
        let begun = match store::take_in_tx(&mut tx, asked, token, LEASE).await? {
            Some(applied) => {
                Begun::Run(Once { token: Some(token), key: Some(asked.name()), applied })
            }
            None => store::found_in_tx(&mut tx, asked).await?,
        };
        tx.commit().await?;
        Ok(begun)
    }

    /// Stores the attempt's answer.
    pub async fn answer(&self, once: &Once, status: u16, answer: &str) -> Result<(), Fault> {
        let Some(token) = once.token else { return Ok(()) };
        let mut tx = self.0.begin(&Who::System).await?;
        store::answer_in_tx(&mut tx, token, status, answer).await?;
        tx.commit().await
    }

    /// Gives the key back after an attempt that had no effect and no answer worth keeping; one that
    /// had an effect keeps it, and the next attempt may answer at once.
    pub async fn release(&self, once: &Once) -> Result<(), Fault> {
        let Some(token) = once.token else { return Ok(()) };
        let mut tx = self.0.begin(&Who::System).await?;
        store::release_in_tx(&mut tx, token).await?;
        tx.commit().await
    }

    /// Deletes what has expired; how much. To be called every few minutes.
    pub async fn sweep(&self) -> Result<u64, Fault> {
        let mut swept = 0;
        loop {
            // A batch at a time, so that no statement takes long.
            let mut tx = self.0.begin(&Who::System).await?;
            let some = store::sweep_in_tx(&mut tx, SWEEP).await?;
            tx.commit().await?;
            swept += some;
            if some < SWEEP {
                return Ok(swept);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_request_has_the_same_fingerprint() {
        let print = |route: &str, body: &str| fingerprint(route, body.as_bytes());
        let one = print("POST /trips/request", r#"{"a":1,"b":{"c":2,"d":3}}"#);
        assert_eq!(one, print("POST /trips/request", r#"{ "b": {"d":3,"c":2}, "a": 1 }"#));
        assert_ne!(one, print("POST /trips/request", r#"{"a":1,"b":{"c":2,"d":4}}"#));
        assert_ne!(one, print("POST /trips/other", r#"{"a":1,"b":{"c":2,"d":3}}"#));
        assert_ne!(print("x", "no json"), print("x", "other"));
    }
}
