//! Facts: what happened, told to whoever has to do something about it.

mod relay;
mod store;

use base::{Fault, Millis};
use serde::Serialize;
use storage::{Ring, Tx};
use uuid::Uuid;

use crate::NewJob;

pub use relay::Relay;

/// What every transaction that stores facts rings: the relay waits for it.
pub const FACTS: Ring = Ring { channel: "smartline_outbox", part: "" };

/// Something that happened to an aggregate which has no writer of its own. Trips and wallets write
/// their facts themselves, in the statements that move them.
#[derive(Debug)]
pub struct Fact<'a, T> {
    /// `driver`, `payment`, …
    pub aggregate: &'static str,
    pub id: Uuid,
    /// SCREAMING_SNAKE, in the past tense.
    pub kind: &'static str,
    /// Of the payload.
    pub version: i16,
    /// Names people by their ids only: facts are never changed, not even for an erasure.
    pub payload: &'a T,
    pub at: Millis,
}

/// Stores a fact in the caller's transaction; its number, gapless per aggregate. The aggregate is
/// held until the transaction ends. For the program itself and for admins.
pub async fn append_in_tx<T: Serialize>(tx: &mut Tx, fact: &Fact<'_, T>) -> Result<i32, Fault> {
    let payload = serde_json::to_string(fact.payload)
        .map_err(|error| Fault::internal(format!("payload of {}: {error}", fact.kind)))?;
    tx.rings(FACTS);
    store::append_in_tx(tx, fact, &payload).await
}

/// [`append_in_tx`] for what may be told again after an unknown commit: `None` if this fact, of
/// this kind and moment, is among the newest of its aggregate already.
pub async fn append_once_in_tx<T: Serialize>(
    tx: &mut Tx,
    fact: &Fact<'_, T>,
) -> Result<Option<i32>, Fault> {
    if store::is_told_in_tx(tx, fact).await? {
        return Ok(None);
    }
    append_in_tx(tx, fact).await.map(Some)
}

/// A fact on its way to its consumers.
#[derive(Clone, Debug)]
pub struct Published {
    pub(crate) id: i64,
    pub aggregate: String,
    pub aggregate_id: Uuid,
    /// 1, 2, 3 … within its aggregate.
    pub seq: i32,
    pub kind: String,
    pub version: i16,
    /// JSON.
    pub payload: String,
    pub at: Millis,
    pub(crate) attempts: i16,
}

impl Published {
    /// The payload as its own type.
    pub fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, Fault> {
        serde_json::from_str(&self.payload)
            .map_err(|error| Fault::internal(format!("{} {}: {error}", self.kind, self.seq)))
    }
}

/// Whoever wants to know of facts. It answers with jobs, which are stored in the transaction that
/// ends the telling: each fact becomes its jobs exactly once. Pure, and quick.
pub trait Consumer: Send + Sync {
    fn name(&self) -> &'static str;

    /// What is to be done about `fact`; nothing for most of them.
    fn jobs(&self, fact: &Published) -> Result<Vec<NewJob>, Fault>;
}
