//! What one node counts by itself: GCRA, in memory, on our own clock.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use base::{Clock, Millis};
use dashmap::DashMap;
use governor::middleware::{NoOpMiddleware, StateInformationMiddleware};
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;

use super::{Counted, Penalty, Rate, Verdict};

/// Requests between two sweeps of callers that were not seen for long.
const SWEEP_EVERY: u32 = 4096;

/// Our clock as `governor` reads it.
#[derive(Clone)]
struct Ticks(Clock);

impl governor::clock::Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        let millis = u64::try_from(self.0.now().0).unwrap_or(0);
        Nanos::new(millis.saturating_mul(1_000_000))
    }
}

type Bucket = RateLimiter<Counted, DashMapStateStore<Counted>, Ticks, StateInformationMiddleware>;

pub(super) struct Local {
    clock: Clock,
    /// One for each rate there is: a partner's key may bring its own.
    buckets: DashMap<Rate, Arc<Bucket>>,
    blocked: Mutex<HashMap<(&'static str, Counted), Millis>>,
    asked: AtomicU32,
}

impl Local {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, buckets: DashMap::new(), blocked: Mutex::default(), asked: AtomicU32::new(0) }
    }

    pub(super) fn check(&self, rate: &Rate, who: Counted) -> Verdict {
        let now = self.clock.now();
        if self.asked.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.sweep(now);
        }
        let key = (rate.name, who);
        if let Some(until) = self.blocked.lock().get(&key).filter(|until| **until > now) {
            return Verdict::Waits(until.after(now));
        }
        match self.bucket(rate).check_key(&who) {
            Ok(state) => Verdict::Passes { remaining: state.remaining_burst_capacity() },
            Err(until) => {
                let ticks = governor::clock::Clock::now(&Ticks(self.clock.clone()));
                let wait = until.wait_time_from(ticks);
                match rate.penalty {
                    Penalty::None => Verdict::Waits(wait),
                    Penalty::Block(span) => {
                        self.blocked.lock().insert(key, now + span);
                        Verdict::Waits(span.max(wait))
                    }
                }
            }
        }
    }

    fn bucket(&self, rate: &Rate) -> Arc<Bucket> {
        if let Some(bucket) = self.buckets.get(rate) {
            return Arc::clone(&bucket);
        }
        Arc::clone(&self.buckets.entry(*rate).or_insert_with(|| self.new_bucket(rate)))
    }

    fn new_bucket(&self, rate: &Rate) -> Arc<Bucket> {
        let quota = Quota::with_period(rate.gap())
            .unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN))
            .allow_burst(NonZeroU32::new(rate.burst).unwrap_or(NonZeroU32::MIN));
        let store = DashMapStateStore::default();
        let plain: RateLimiter<_, _, _, NoOpMiddleware<Nanos>> =
            RateLimiter::new(quota, store, Ticks(self.clock.clone()));
        Arc::new(plain.with_middleware())
    }

    fn sweep(&self, now: Millis) {
        self.blocked.lock().retain(|_, until| *until > now);
        for bucket in &self.buckets {
            bucket.retain_recent();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use base::UserId;

    use super::super::{Limit, Rates};
    use super::*;

    const ALI: Counted = Counted::User(UserId::from_u128(1));
    const MONA: Counted = Counted::User(UserId::from_u128(2));

    fn rate(limit: Limit) -> Rate {
        *Rates::default().of(limit)
    }

    fn local() -> (Local, Clock) {
        let clock = Clock::manual(Millis(1_700_000_000_000));
        (Local::new(clock.clone()), clock)
    }

    fn passes(local: &Local, limit: Limit, who: Counted) -> bool {
        matches!(local.check(&rate(limit), who), Verdict::Passes { .. })
    }

    #[test]
    fn a_limit_counts_each_caller_and_refills() {
        let (local, clock) = local();
        for left in (0..5).rev() {
            let verdict = local.check(&rate(Limit::TripRequest), ALI);
            assert_eq!(verdict, Verdict::Passes { remaining: left });
        }
        let refused = local.check(&rate(Limit::TripRequest), ALI);
        assert_eq!(refused, Verdict::Waits(Duration::from_secs(12)));
        assert!(passes(&local, Limit::TripRequest, MONA));
        assert!(passes(&local, Limit::Estimate, ALI));
        clock.advance(Duration::from_millis(11_999));
        assert!(!passes(&local, Limit::TripRequest, ALI));
        clock.advance(Duration::from_millis(1));
        assert!(passes(&local, Limit::TripRequest, ALI));
        assert!(!passes(&local, Limit::TripRequest, ALI));
    }

    #[test]
    fn positions_come_in_bursts_of_five() {
        let (local, clock) = local();
        assert!((0..5).all(|_| passes(&local, Limit::Location, ALI)));
        assert!(!passes(&local, Limit::Location, ALI));
        clock.advance(Duration::from_secs(2));
        assert!(passes(&local, Limit::Location, ALI));
    }

    #[test]
    fn who_passes_a_login_limit_is_blocked_for_a_minute() {
        let (local, clock) = local();
        let who = Counted::from(IpAddr::from([203, 0, 113, 7]));
        let login = rate(Limit::Login);
        assert!((0..10).all(|_| passes(&local, Limit::Login, who)));
        assert_eq!(local.check(&login, who), Verdict::Waits(Duration::from_secs(60)));
        clock.advance(Duration::from_millis(59_999));
        assert_eq!(local.check(&login, who), Verdict::Waits(Duration::from_millis(1)));
        clock.advance(Duration::from_millis(1));
        assert!((0..10).all(|_| passes(&local, Limit::Login, who)));
    }

    #[test]
    fn a_sweep_forgets_who_was_not_seen_for_long() {
        let (local, clock) = local();
        let who = Counted::from(IpAddr::from([203, 0, 113, 7]));
        for _ in 0..11 {
            local.check(&rate(Limit::Login), who);
        }
        clock.advance(Duration::from_secs(600));
        local.sweep(clock.now());
        assert!(local.blocked.lock().is_empty());
        assert!(local.bucket(&rate(Limit::Login)).is_empty());
    }
}
