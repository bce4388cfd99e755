//! Redis: the counts that nodes share (GCRA, one script run per request, on Redis's own clock).

use std::pin::Pin;
use std::time::Duration;

use base::Fault;
use ops::{Breaker, BreakerPolicy, Breakers, Counted, Dependency, Health, Penalty, Rate};
use ops::{SharedCounts, Tasks, Verdict};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError, Script};
use secrecy::{ExposeSecret, SecretString};
use tracing::debug;

/// Longest wait for one answer: a request is served either way.
const ANSWER_WITHIN: Duration = Duration::from_millis(100);
/// How often it is asked whether it still answers.
const PING_EVERY: Duration = Duration::from_secs(2);

const POLICY: BreakerPolicy = BreakerPolicy {
    time_out: ANSWER_WITHIN,
    window: Duration::from_secs(10),
    at_least: 3,
    fail_percent: 50,
    rest: Duration::from_secs(2),
};

/// Takes one from a caller's bucket. Times in microseconds, the block in milliseconds; answers
/// whether it passes, and how many more may or how many milliseconds to wait.
const TAKE: &str = r"
local blocked = redis.call('PTTL', KEYS[2])
if blocked > 0 then return {0, blocked} end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local gap, burst, block = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local room = now + gap * burst - due
if room < gap then
  if block > 0 then redis.call('SET', KEYS[2], '1', 'PX', block) end
  return {0, math.max(math.ceil((gap - room) / 1000), block)}
end
due = due + gap
redis.call('SET', KEYS[1], string.format('%.0f', due), 'PX', math.ceil((due - now) / 1000))
return {1, math.floor((room - gap) / gap)}
";

/// The deployment's Redis. Cheap to clone.
#[derive(Clone)]
pub struct Redis {
    connection: ConnectionManager,
    breaker: Breaker,
    take: Script,
}

impl Redis {
    /// Connects when it is first asked, and again whenever the connection broke. Redis may be away.
    pub fn open(url: &SecretString, breakers: &Breakers) -> Result<Self, Fault> {
        // The parser's message can repeat the URL, which may hold a password.
        let wrong = |_: RedisError| Fault::internal("the address of Redis can't be read");
        let client = Client::open(url.expose_secret()).map_err(wrong)?;
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(ANSWER_WITHIN))
            .set_connection_timeout(Some(ANSWER_WITHIN * 5))
            .set_max_delay(PING_EVERY);
        let connection = ConnectionManager::new_lazy_with_config(client, config).map_err(wrong)?;
        let breaker = breakers.add("redis", POLICY);
        Ok(Self { connection, breaker, take: Script::new(TAKE) })
    }

    /// Reports whether it answers, until the node stops.
    pub fn keep_watch(&self, tasks: &Tasks, health: Health) {
        let (redis, stopping) = (self.clone(), tasks.stopping());
        tasks.spawn("redis watch", async move {
            let mut tick = tokio::time::interval(PING_EVERY);
            while stopping.run_until_cancelled(tick.tick()).await.is_some() {
                let state = if redis.answers().await { Dependency::Up } else { Dependency::Down };
                health.report("redis", state);
            }
        });
    }

    /// Asked past the breaker: somebody must notice that it is back.
    async fn answers(&self) -> bool {
        let mut connection = self.connection.clone();
        let ping = async move { redis::cmd("PING").query_async::<()>(&mut connection).await };
        tokio::time::timeout(PING_EVERY, ping).await.is_ok_and(|answer| answer.is_ok())
    }

    async fn take(&self, rate: &Rate, who: Counted) -> Result<Verdict, RedisError> {
        let block = match rate.penalty {
            Penalty::None => 0,
            Penalty::Block(span) => whole(span.as_millis()),
        };
        // The part in braces decides where a cluster keeps a key: both together.
        let bucket = format!("smartline:limit:{{{}:{who}}}", rate.name);
        let mut connection = self.connection.clone();
        let (passes, figure): (u8, u64) = self
            .take
            .key(&bucket)
            .key(format!("{bucket}:blocked"))
            .arg(whole(rate.gap().as_micros()).max(1))
            .arg(rate.burst)
            .arg(block)
            .invoke_async(&mut connection)
            .await?;
        Ok(match passes {
            0 => Verdict::Waits(Duration::from_millis(figure)),
            _ => Verdict::Passes { remaining: u32::try_from(figure).unwrap_or(u32::MAX) },
        })
    }
}

impl SharedCounts for Redis {
    fn check<'a>(
        &'a self,
        rate: &'a Rate,
        who: Counted,
    ) -> Pin<Box<dyn Future<Output = Option<Verdict>> + Send + 'a>> {
        Box::pin(async move {
            match self.breaker.call(self.take(rate, who), |_| true).await {
                Ok(verdict) => Some(verdict),
                Err(error) => {
                    debug!(%error, limit = rate.name, "counted by this node alone");
                    None
                }
            }
        })
    }
}

fn whole(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use base::{Clock, UserId};
    use ops::{Limit, Limiter, RateLimits, Rates};
    use std::sync::Arc;

    use super::*;
    use crate::testing::RedisServer;

    const ALI: Counted = Counted::User(UserId::from_u128(1));
    const MONA: Counted = Counted::User(UserId::from_u128(2));

    /// Windows so long that nothing refills while a test runs.
    fn rates() -> Rates {
        "trip-request=5/86400,login=3/86400".parse().expect("rates")
    }

    /// A node of its own that shares its counts through `server`.
    fn node(server: &RedisServer) -> (Limiter, Redis) {
        let redis = Redis::open(&server.url(), &Breakers::new(Clock::system())).expect("a URL");
        let shared: Arc<dyn SharedCounts> = Arc::new(redis.clone());
        (Limiter::new(RateLimits::On, rates(), Clock::system(), Some(shared)), redis)
    }

    async fn taken(limiter: &Limiter, limit: Limit, who: Counted, times: usize) -> usize {
        let mut taken = 0;
        for _ in 0..times {
            taken += usize::from(limiter.admit(limit, who).await.is_ok());
        }
        taken
    }

    /// Slow machines may miss the bound of an answer; these claims are about what is counted.
    async fn ready(redis: &Redis) {
        while !redis.answers().await {}
        while redis.take(Rates::default().of(Limit::Estimate), MONA).await.is_err() {}
    }

    #[tokio::test]
    async fn nodes_share_one_bucket_for_each_caller() {
        let server = RedisServer::start().await;
        let ((one, redis), (other, _)) = (node(&server), node(&server));
        ready(&redis).await;
        let rate = *one.rate(Limit::TripRequest);
        assert_eq!(redis.take(&rate, ALI).await.ok(), Some(Verdict::Passes { remaining: 4 }));
        assert_eq!(taken(&one, Limit::TripRequest, ALI, 2).await, 2);
        assert_eq!(taken(&other, Limit::TripRequest, ALI, 5).await, 2);
        assert_eq!(taken(&one, Limit::TripRequest, ALI, 5).await, 0);
        assert_eq!(taken(&one, Limit::TripRequest, MONA, 9).await, 5);
    }

    #[tokio::test]
    async fn who_is_blocked_is_told_how_long_on_every_node() {
        let server = RedisServer::start().await;
        let ((one, redis), (other, _)) = (node(&server), node(&server));
        ready(&redis).await;
        assert_eq!(taken(&one, Limit::Login, ALI, 4).await, 3);
        // The node that refused by itself didn't ask: the other is refused by what they share.
        let told = other.check(other.rate(Limit::Login), ALI).await;
        assert!(
            matches!(told, Verdict::Waits(wait) if wait >= Duration::from_secs(60)),
            "{told:?}"
        );
    }

    #[tokio::test]
    async fn when_redis_is_killed_each_node_counts_on() {
        let server = RedisServer::start().await;
        let (limiter, redis) = node(&server);
        ready(&redis).await;
        assert_eq!(taken(&limiter, Limit::TripRequest, ALI, 3).await, 3);
        server.kill().await;
        assert_eq!(taken(&limiter, Limit::TripRequest, ALI, 20).await, 2, "not open, not closed");
        assert!(!redis.answers().await);
    }
}
