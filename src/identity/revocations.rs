//! The sessions that were ended while an access token of theirs may still live.
//!
//! Kept in memory on every node: filled at once by what this node revokes and every few seconds
//! from the database by what others did. An entry is forgotten once its last access token has
//! ended.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base::{Millis, SessionId};
use parking_lot::RwLock;
use tokio::sync::broadcast;

use crate::tokens::ACCESS_TTL;

/// Longest time an entry is needed: the longest token, and clocks that don't quite agree.
pub(crate) const KEEP: Duration = Duration::from_secs(ACCESS_TTL.as_secs() + 60);
/// Revocations that a slow listener may lag behind before it must ask for each of its sessions.
const NEWS: usize = 1024;

#[derive(Clone)]
pub(crate) struct Revocations {
    ended: Arc<RwLock<HashMap<SessionId, Millis>>>,
    news: broadcast::Sender<SessionId>,
}

impl Revocations {
    pub(crate) fn new() -> Self {
        Self { ended: Arc::default(), news: broadcast::channel(NEWS).0 }
    }

    pub(crate) fn contains(&self, session: SessionId) -> bool {
        self.ended.read().contains_key(&session)
    }

    /// Tells listeners, the first time only.
    pub(crate) fn add(&self, session: SessionId, at: Millis) {
        let known = self.ended.write().insert(session, at).is_some();
        if !known {
            // Nobody listening is fine: then there are no sockets to close.
            self.news.send(session).ok();
        }
    }

    pub(crate) fn forget_old(&self, now: Millis) {
        self.ended.write().retain(|_, at| now.after(*at) <= KEEP);
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<SessionId> {
        self.news.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_is_told_once_and_forgotten_when_no_token_can_live() {
        let revocations = Revocations::new();
        let mut heard = revocations.listen();
        let session = SessionId::from_u128(1);
        revocations.add(session, Millis(0));
        revocations.add(session, Millis(0));
        assert_eq!(heard.try_recv(), Ok(session));
        assert!(heard.try_recv().is_err());
        revocations.forget_old(Millis(0) + ACCESS_TTL);
        assert!(revocations.contains(session));
        revocations.forget_old(Millis(1) + KEEP);
        assert!(!revocations.contains(session));
    }
}
