//! Counts requests per caller: GCRA, in memory, on our own clock.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base::{Clock, Millis, UserId};
use governor::middleware::{NoOpMiddleware, StateInformationMiddleware};
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;

use crate::policy::{Penalty, RATES, Rate};
use crate::state::RateLimits;

/// Requests between two sweeps of callers that were not seen for long.
const SWEEP_EVERY: u32 = 4096;

/// Who is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Counted {
    User(UserId),
    V4(Ipv4Addr),
    /// The upper half of an IPv6 address: one customer's network.
    V6(u64),
}

impl From<IpAddr> for Counted {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
            }
        }
    }
}

/// May the request pass?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// With this many more at once.
    Passes {
        remaining: u32,
    },
    Waits(Duration),
}

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

pub(crate) struct Limiter {
    switch: RateLimits,
    clock: Clock,
    buckets: HashMap<&'static str, Bucket>,
    blocked: Mutex<HashMap<(&'static str, Counted), Millis>>,
    asked: AtomicU32,
}

impl Limiter {
    pub(crate) fn new(switch: RateLimits, clock: Clock) -> Self {
        let bucket = |rate: &Rate| {
            let quota = Quota::per_minute(at_least_one(rate.per_minute))
                .allow_burst(at_least_one(rate.burst));
            let store = DashMapStateStore::default();
            let plain: RateLimiter<_, _, _, NoOpMiddleware<Nanos>> =
                RateLimiter::new(quota, store, Ticks(clock.clone()));
            plain.with_middleware()
        };
        Self {
            switch,
            buckets: RATES.iter().map(|rate| (rate.name, bucket(rate))).collect(),
            clock,
            blocked: Mutex::default(),
            asked: AtomicU32::new(0),
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.switch == RateLimits::On
    }

    pub(crate) fn check(&self, rate: &Rate, who: Counted) -> Verdict {
        let now = self.clock.now();
        if self.asked.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.sweep(now);
        }
        let key = (rate.name, who);
        if let Some(until) = self.blocked.lock().get(&key).filter(|until| **until > now) {
            return Verdict::Waits(until.after(now));
        }
        let Some(bucket) = self.buckets.get(rate.name) else {
            return Verdict::Passes { remaining: rate.burst };
        };
        match bucket.check_key(&who) {
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

    fn sweep(&self, now: Millis) {
        self.blocked.lock().retain(|_, until| *until > now);
        for bucket in self.buckets.values() {
            bucket.retain_recent();
        }
    }
}

fn at_least_one(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALI: Counted = Counted::User(UserId::from_u128(1));
    const MONA: Counted = Counted::User(UserId::from_u128(2));

    fn rate(name: &str) -> &'static Rate {
        RATES.iter().find(|rate| rate.name == name).expect("a known limit")
    }

    fn limiter() -> (Limiter, Clock) {
        let clock = Clock::manual(Millis(1_700_000_000_000));
        (Limiter::new(RateLimits::On, clock.clone()), clock)
    }

    fn passes(limiter: &Limiter, name: &str, who: Counted) -> bool {
        matches!(limiter.check(rate(name), who), Verdict::Passes { .. })
    }

    #[test]
    fn a_limit_counts_each_caller_and_refills() {
        let (limiter, clock) = limiter();
        for left in (0..5).rev() {
            let verdict = limiter.check(rate("trip-request"), ALI);
            assert_eq!(verdict, Verdict::Passes { remaining: left });
        }
        let refused = limiter.check(rate("trip-request"), ALI);
        assert_eq!(refused, Verdict::Waits(Duration::from_secs(12)));
        assert!(passes(&limiter, "trip-request", MONA));
        assert!(passes(&limiter, "estimate", ALI));
        clock.advance(Duration::from_millis(11_999));
        assert!(!passes(&limiter, "trip-request", ALI));
        clock.advance(Duration::from_millis(1));
        assert!(passes(&limiter, "trip-request", ALI));
        assert!(!passes(&limiter, "trip-request", ALI));
    }

    #[test]
    fn positions_come_in_bursts_of_five() {
        let (limiter, clock) = limiter();
        assert!((0..5).all(|_| passes(&limiter, "location", ALI)));
        assert!(!passes(&limiter, "location", ALI));
        clock.advance(Duration::from_secs(2));
        assert!(passes(&limiter, "location", ALI));
    }

    #[test]
    fn who_passes_a_login_limit_is_blocked_for_a_minute() {
        let (limiter, clock) = limiter();
        let who = Counted::from(IpAddr::from([203, 0, 113, 7]));
        assert!((0..10).all(|_| passes(&limiter, "login", who)));
        assert_eq!(limiter.check(rate("login"), who), Verdict::Waits(Duration::from_secs(60)));
        clock.advance(Duration::from_millis(59_999));
        assert_eq!(limiter.check(rate("login"), who), Verdict::Waits(Duration::from_millis(1)));
        clock.advance(Duration::from_millis(1));
        assert!((0..10).all(|_| passes(&limiter, "login", who)));
    }

    #[test]
    fn an_ipv6_customer_is_one_caller() {
        let of = |text: &str| Counted::from(text.parse::<IpAddr>().expect("an address"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:203.0.113.7"), of("203.0.113.7"));
    }

    #[test]
    fn a_sweep_forgets_who_was_not_seen_for_long() {
        let (limiter, clock) = limiter();
        let who = Counted::from(IpAddr::from([203, 0, 113, 7]));
        for _ in 0..11 {
            limiter.check(rate("login"), who);
        }
        clock.advance(Duration::from_secs(600));
        limiter.sweep(clock.now());
        assert!(limiter.blocked.lock().is_empty());
        assert!(limiter.buckets["login"].is_empty());
    }
}
