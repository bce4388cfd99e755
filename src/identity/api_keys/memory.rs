//! The keys that are good, and how often each was used since that was last written down.

use std::collections::HashMap;
use std::sync::Arc;

use base::{ApiKeyId, Clock, Millis};
use parking_lot::{Mutex, RwLock};

use super::{Scope, hash};

/// Who asks with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partner {
    pub key: ApiKeyId,
    scopes: Scopes,
    /// Requests a minute.
    pub per_minute: u32,
}

impl Partner {
    pub const fn may(&self, scope: Scope) -> bool {
        self.scopes.0 & (1 << scope as u8) != 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scopes(u8);

/// A key that is good until a certain moment, or without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Good {
    pub partner: Partner,
    pub until: Option<Millis>,
}

impl Good {
    pub(crate) fn new(
        key: ApiKeyId,
        scopes: impl Iterator<Item = Scope>,
        per_minute: u32,
        until: Option<Millis>,
    ) -> Self {
        let scopes = Scopes(scopes.fold(0, |all, scope| all | 1 << scope as u8));
        Self { partner: Partner { key, scopes, per_minute }, until }
    }
}

/// Requests of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    pub requests: u64,
    pub refused: u64,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct ApiKeys(Arc<Memory>);

struct Memory {
    clock: Clock,
    good: RwLock<HashMap<[u8; 32], Good>>,
    /// Whoever reads the keys again holds it from before the query until they are replaced: an
    /// older reading never takes the place of a newer one.
    reading: tokio::sync::Mutex<()>,
    used: Mutex<HashMap<ApiKeyId, Used>>,
}

impl ApiKeys {
    pub fn new(clock: Clock) -> Self {
        let (good, reading, used) = Default::default();
        Self(Arc::new(Memory { clock, good, reading, used }))
    }

    /// Whose key this is, if it is good.
    pub fn verify(&self, key: &str) -> Option<Partner> {
        // Looked up by its hash: how long that takes says nothing about the key.
        let good = *self.0.good.read().get(&hash(key))?;
        let now = self.0.clock.now();
        good.until.is_none_or(|until| now < until).then_some(good.partner)
    }

    /// A request came with this key, and passed its limit.
    pub fn served(&self, key: ApiKeyId) {
        self.count(key, Used { requests: 1, refused: 0 });
    }

    /// A request came with this key, and was one too many.
    pub fn refused(&self, key: ApiKeyId) {
        self.count(key, Used { requests: 1, refused: 1 });
    }

    fn count(&self, key: ApiKeyId, more: Used) {
        let mut used = self.0.used.lock();
        let used = used.entry(key).or_default();
        used.requests += more.requests;
        used.refused += more.refused;
    }

    /// Replaces all keys by what `read` finds; one reading after the other.
    pub(crate) async fn replace<E>(
        &self,
        read: impl Future<Output = Result<HashMap<[u8; 32], Good>, E>>,
    ) -> Result<(), E> {
        let _alone = self.0.reading.lock().await;
        *self.0.good.write() = read.await?;
        Ok(())
    }

    pub(crate) fn take_usage(&self) -> HashMap<ApiKeyId, Used> {
        std::mem::take(&mut *self.0.used.lock())
    }

    /// What could not be written down is counted on.
    pub(crate) fn give_back(&self, used: &HashMap<ApiKeyId, Used>) {
        for (key, used) in used {
            self.count(*key, *used);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use super::*;

    const PRICES: ApiKeyId = ApiKeyId::from_u128(1);

    #[tokio::test]
    async fn a_key_is_good_until_its_end_and_opens_its_scopes_only() {
        let clock = Clock::manual(Millis(1_000));
        let keys = ApiKeys::new(clock.clone());
        let until = Some(Millis(2_000));
        let good = Good::new(PRICES, [Scope::PricingEstimate].into_iter(), 60, until);
        let read = async { Ok::<_, Infallible>(HashMap::from([(hash("sl_a"), good)])) };
        let Ok(()) = keys.replace(read).await;
        let partner = keys.verify("sl_a").expect("a good key");
        assert!(partner.may(Scope::PricingEstimate) && !partner.may(Scope::LocationNearby));
        for wrong in ["sl_b", "sl_A", "sl_a ", "", "a"] {
            assert_eq!(keys.verify(wrong), None, "{wrong}");
        }
        clock.advance(Duration::from_secs(1));
        assert_eq!(keys.verify("sl_a"), None);
    }

    #[tokio::test]
    async fn an_older_reading_never_takes_the_place_of_a_newer_one() {
        let keys = ApiKeys::new(Clock::manual(Millis(1_000)));
        let good = Good::new(PRICES, [Scope::PricingEstimate].into_iter(), 60, None);
        let (found, older) = tokio::sync::oneshot::channel();
        let (_, newer, sent) = tokio::join!(
            keys.replace(older),
            keys.replace(async { Ok::<_, Infallible>(HashMap::from([(hash("sl_a"), good)])) }),
            async { found.send(HashMap::new()) },
        );
        assert!(newer.is_ok() && sent.is_ok() && keys.verify("sl_a").is_some());
    }

    #[test]
    fn what_was_used_is_told_once_unless_it_is_given_back() {
        let keys = ApiKeys::new(Clock::manual(Millis(0)));
        keys.served(PRICES);
        keys.refused(PRICES);
        let used = keys.take_usage();
        assert_eq!(used[&PRICES], Used { requests: 2, refused: 1 });
        assert!(keys.take_usage().is_empty());
        keys.served(PRICES);
        keys.give_back(&used);
        assert_eq!(keys.take_usage()[&PRICES], Used { requests: 3, refused: 1 });
    }
}
