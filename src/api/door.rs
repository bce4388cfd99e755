//! The doorstep of the main address: how much may come from one address in all, sockets too.
//!
//! Stands before everything that costs something (tokens, routes, logs), so that a flood is turned
//! away for next to nothing. Who is refused here waits for his answer and loses his connection,
//! unless it is a proxy's that others share.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use base::{Clock, Millis};
use ops::{Counted, Limit, Limiter, Tarpit, Verdict, limited};
use tracing::warn;
use uuid::Uuid;

use crate::edge;
use crate::envelope::{Meta, VERSION};
use crate::guard::{address_of, limit_headers};
use crate::reply::{Outcome, Refusal};

/// The log names a flood this often, however many there are.
const TELL_EVERY_MS: i64 = 60_000;

struct Door {
    limiter: Limiter,
    trusted_proxies: usize,
    tarpit: Tarpit,
    clock: Clock,
    told: AtomicI64,
}

/// Puts the doorstep before all routes of `router`.
pub fn door(
    router: Router,
    limiter: Limiter,
    trusted_proxies: usize,
    tarpit: Tarpit,
    clock: Clock,
) -> Router {
    let told = AtomicI64::new(i64::MIN / 2);
    let door = Arc::new(Door { limiter, trusted_proxies, tarpit, clock, told });
    router.layer(from_fn_with_state(door, doorstep))
}

async fn doorstep(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    if !door.limiter.is_on() {
        return next.run(request).await;
    }
    let who = Counted::from(address_of(&request, door.trusted_proxies));
    let rate = door.limiter.rate(Limit::Address);
    let verdict = door.limiter.check_here(rate, who);
    let Verdict::Waits(wait) = verdict else { return next.run(request).await };
    let now = door.clock.now();
    door.tell(who, now);
    let mut response = Refusal(limited(rate, wait)).into_response();
    if let Some(outcome) = response.extensions_mut().remove::<Outcome>() {
        let id = Uuid::now_v7().to_string();
        let meta = Meta { request_id: &id, timestamp: now, version: VERSION };
        edge::close(&mut response, &outcome, meta, false);
    }
    limit_headers(&mut response, rate, verdict);
    if door.trusted_proxies == 0 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        door.tarpit.keep().await;
    }
    response
}

impl Door {
    /// Who floods, now and then: a line for each request would be a flood of its own.
    fn tell(&self, who: Counted, now: Millis) {
        let told = self.told.load(Ordering::Relaxed);
        let due = now.0 - told >= TELL_EVERY_MS;
        let mine = || self.told.compare_exchange(told, now.0, Ordering::Relaxed, Ordering::Relaxed);
        if due && mine().is_ok() {
            warn!(%who, "an address asks more than it may in all, and is turned away");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::body::Body;
    use axum::extract::ConnectInfo;
    use axum::routing::get;
    use ops::{RateLimits, Rates};
    use tower::ServiceExt;

    use super::*;

    fn house(switch: RateLimits, trusted_proxies: usize) -> Router {
        let clock = Clock::manual(Millis(1_700_000_000_000));
        let rates: Rates = "address=2/60".parse().expect("rates");
        let limiter = Limiter::new(switch, rates, clock.clone(), None);
        let routes = Router::new().route("/", get(async || "hello"));
        door(routes, limiter, trusted_proxies, Tarpit::default(), clock)
    }

    /// The status, and whether the connection is to be closed.
    async fn ask(house: &Router, path: &str, forwarded: &str) -> (u16, bool) {
        let request = Request::builder().uri(path).header("x-forwarded-for", forwarded);
        let mut request = request.body(Body::empty()).expect("a request");
        let peer = SocketAddr::from(([127, 0, 0, 1], 9));
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = house.clone().oneshot(request).await.expect("never fails");
        (answer.status().as_u16(), answer.headers().contains_key(header::CONNECTION))
    }

    /// Time flies here whenever nothing else happens.
    #[tokio::test(start_paused = true)]
    async fn whatever_is_asked_counts_and_who_asks_too_much_is_hung_up_on() {
        let house = house(RateLimits::On, 0);
        assert_eq!(ask(&house, "/", "a").await, (200, false));
        assert_eq!(ask(&house, "/no-such-route", "b").await, (404, false));
        let refused_at = tokio::time::Instant::now();
        assert_eq!(ask(&house, "/", "c").await, (429, true));
        assert!(!refused_at.elapsed().is_zero(), "he is kept waiting");
    }

    #[tokio::test(start_paused = true)]
    async fn behind_a_proxy_its_clients_are_counted_and_its_connection_stays() {
        let house = house(RateLimits::On, 1);
        let begun = tokio::time::Instant::now();
        for expected in [(200, false), (200, false), (429, false)] {
            assert_eq!(ask(&house, "/", "203.0.113.7").await, expected);
        }
        assert_eq!(ask(&house, "/", "203.0.113.8").await, (200, false));
        assert!(begun.elapsed().is_zero(), "a connection of many is nobody's to hold");
    }

    #[tokio::test]
    async fn limits_can_be_lifted() {
        let house = house(RateLimits::Off, 0);
        for _ in 0..10 {
            assert_eq!(ask(&house, "/", "a").await, (200, false));
        }
    }
}
