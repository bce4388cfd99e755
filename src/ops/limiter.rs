//! The door of the rate limits: may this caller ask once more?
//!
//! REST and sockets ask here, so that both take from one bucket. Each node counts by itself first;
//! where nodes share their counts, those have the last word while they answer. When they don't, the
//! node goes on with its own: a limit is never open.
//!
//! Guarantees:
//! - whoever this node refuses by itself costs the shared counts nothing;
//! - memory is bounded by the callers of the last window: others are forgotten.

mod address;
mod crowd;
mod local;
mod rates;
mod tarpit;

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base::{Clock, Code, Problem, UserId};
use metrics::counter;
use uuid::Uuid;

pub use address::client_address;
pub use crowd::{Crowd, Seat};
pub use rates::{By, Limit, Penalty, Rate, Rates, WrongRates};
pub use tarpit::Tarpit;

use local::Local;

/// Whether callers are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimits {
    On,
    /// For load tests and demos; refused in production by the configuration.
    Off,
}

/// Who is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    User(UserId),
    V4(Ipv4Addr),
    /// The upper half of an IPv6 address: one customer's network.
    V6(u64),
    /// The digits of an international number.
    Phone(u64),
    /// A partner's key.
    Key(Uuid),
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

impl Counted {
    /// A phone number in any form that one number always has: only its digits count.
    pub fn phone(number: &str) -> Self {
        let digits = number.bytes().filter(u8::is_ascii_digit);
        Self::Phone(
            digits.fold(0, |all, digit| all.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))),
        )
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user:{user}"),
            Self::V4(address) => write!(f, "ip:{address}"),
            Self::V6(network) => write!(f, "net:{network:x}"),
            Self::Phone(digits) => write!(f, "phone:{digits}"),
            Self::Key(key) => write!(f, "key:{key}"),
        }
    }
}

/// May the request pass?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// With this many more at once.
    Passes {
        remaining: u32,
    },
    Waits(Duration),
}

impl Verdict {
    /// What `RateLimit` says to who is counted under `rate`.
    pub fn told(&self, rate: &Rate) -> String {
        match self {
            Self::Passes { remaining } => format!("\"{}\";r={remaining}", rate.name),
            Self::Waits(wait) => format!("\"{}\";r=0;t={}", rate.name, whole_seconds(*wait)),
        }
    }
}

/// Counts that nodes share.
pub trait SharedCounts: Send + Sync {
    /// `None` when they don't answer: they are away, or too slow to wait for.
    fn check<'a>(
        &'a self,
        rate: &'a Rate,
        who: Counted,
    ) -> Pin<Box<dyn Future<Output = Option<Verdict>> + Send + 'a>>;
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Limiter(Arc<Inner>);

struct Inner {
    switch: RateLimits,
    rates: Rates,
    local: Local,
    shared: Option<Arc<dyn SharedCounts>>,
}

impl Limiter {
    pub fn new(
        switch: RateLimits,
        rates: Rates,
        clock: Clock,
        shared: Option<Arc<dyn SharedCounts>>,
    ) -> Self {
        Self(Arc::new(Inner { switch, rates, local: Local::new(clock), shared }))
    }

    pub fn is_on(&self) -> bool {
        self.0.switch == RateLimits::On
    }

    /// How often this may be asked here.
    pub fn rate(&self, limit: Limit) -> &Rate {
        self.0.rates.of(limit)
    }

    /// Counts one request; passes everything while limits are off.
    pub async fn check(&self, rate: &Rate, who: Counted) -> Verdict {
        if !self.is_on() {
            return Verdict::Passes { remaining: rate.burst };
        }
        let verdict = match self.0.local.check(rate, who) {
            Verdict::Passes { remaining } => self.ask_others(rate, who, remaining).await,
            waits @ Verdict::Waits(_) => waits,
        };
        count(rate, verdict)
    }

    /// The same on this node alone, for what must cost next to nothing.
    pub fn check_here(&self, rate: &Rate, who: Counted) -> Verdict {
        if !self.is_on() {
            return Verdict::Passes { remaining: rate.burst };
        }
        count(rate, self.0.local.check(rate, who))
    }

    /// [`Self::check`] for who has nothing to tell but the refusal.
    pub async fn admit(&self, limit: Limit, who: Counted) -> Result<(), Problem> {
        let rate = self.rate(limit);
        match self.check(rate, who).await {
            Verdict::Passes { .. } => Ok(()),
            Verdict::Waits(wait) => Err(limited(rate, wait)),
        }
    }

    async fn ask_others(&self, rate: &Rate, who: Counted, left_here: u32) -> Verdict {
        let Some(shared) = &self.0.shared else { return Verdict::Passes { remaining: left_here } };
        match shared.check(rate, who).await {
            Some(Verdict::Passes { remaining }) => {
                Verdict::Passes { remaining: remaining.min(left_here) }
            }
            Some(waits @ Verdict::Waits(_)) => waits,
            None => {
                counter!("smartline_requests_counted_alone_total").increment(1);
                Verdict::Passes { remaining: left_here }
            }
        }
    }
}

fn count(rate: &Rate, verdict: Verdict) -> Verdict {
    if let Verdict::Waits(_) = verdict {
        counter!("smartline_requests_limited_total", "limit" => rate.name).increment(1);
    }
    verdict
}

/// What who asked too often is told; `details.retryAfter` in whole seconds.
pub fn limited(rate: &Rate, wait: Duration) -> Problem {
    Problem::new(Code::RateLimited, "too many requests, slow down")
        .with("limit", rate.name)
        .with("retryAfter", whole_seconds(wait))
}

/// Rounded up: who comes back then is let through.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use base::Millis;
    use parking_lot::Mutex;

    use super::*;

    const ALI: Counted = Counted::User(UserId::from_u128(1));

    /// Shared counts that answer what they are told to, and count how often they were asked.
    #[derive(Default)]
    struct Others {
        answer: Mutex<Option<Verdict>>,
        asked: Mutex<u32>,
    }

    impl SharedCounts for Others {
        fn check<'a>(
            &'a self,
            _: &'a Rate,
            _: Counted,
        ) -> Pin<Box<dyn Future<Output = Option<Verdict>> + Send + 'a>> {
            *self.asked.lock() += 1;
            Box::pin(std::future::ready(*self.answer.lock()))
        }
    }

    fn stand() -> (Limiter, Arc<Others>) {
        let others = Arc::new(Others::default());
        let clock = Clock::manual(Millis(1_700_000_000_000));
        let shared: Arc<dyn SharedCounts> = Arc::clone(&others) as _;
        (Limiter::new(RateLimits::On, Rates::default(), clock, Some(shared)), others)
    }

    #[tokio::test]
    async fn the_shared_counts_have_the_last_word_while_they_answer() {
        let (limiter, others) = stand();
        let rate = limiter.rate(Limit::TripRequest);
        *others.answer.lock() = Some(Verdict::Passes { remaining: 1 });
        assert_eq!(limiter.check(rate, ALI).await, Verdict::Passes { remaining: 1 });
        *others.answer.lock() = Some(Verdict::Waits(Duration::from_secs(7)));
        assert_eq!(limiter.check(rate, ALI).await, Verdict::Waits(Duration::from_secs(7)));
        *others.answer.lock() = None;
        assert_eq!(limiter.check(rate, ALI).await, Verdict::Passes { remaining: 2 });
    }

    #[tokio::test]
    async fn without_them_a_node_counts_on_and_a_flood_does_not_reach_them() {
        let (limiter, others) = stand();
        for _ in 0..100 {
            limiter.admit(Limit::TripRequest, ALI).await.ok();
        }
        let problem = limiter.admit(Limit::TripRequest, ALI).await.expect_err("five a minute");
        assert_eq!(problem.details["retryAfter"], 12);
        assert_eq!(*others.asked.lock(), 5);
    }

    #[tokio::test]
    async fn limits_can_be_lifted() {
        let clock = Clock::manual(Millis(0));
        let limiter = Limiter::new(RateLimits::Off, Rates::default(), clock, None);
        for _ in 0..100 {
            limiter.admit(Limit::Login, ALI).await.expect("limits are off");
        }
    }

    #[tokio::test]
    async fn what_must_cost_nothing_is_counted_here_alone_and_both_are_told_alike() {
        let (limiter, others) = stand();
        let rate = limiter.rate(Limit::TripRequest);
        let first = limiter.check_here(rate, ALI);
        assert_eq!(first.told(rate), "\"trip-request\";r=4");
        for _ in 0..4 {
            limiter.check_here(rate, ALI);
        }
        let refused = limiter.check_here(rate, ALI);
        assert_eq!(refused.told(rate), "\"trip-request\";r=0;t=12");
        assert_eq!(rate.policy(), "\"trip-request\";q=5;w=60");
        assert_eq!(*others.asked.lock(), 0);
    }

    #[test]
    fn an_ipv6_customer_is_one_caller_and_a_phone_is_its_digits() {
        let of = |text: &str| Counted::from(text.parse::<IpAddr>().expect("an address"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:203.0.113.7"), of("203.0.113.7"));
        assert_eq!(Counted::phone("+20 10 1234 5678"), Counted::Phone(201_012_345_678));
    }
}
