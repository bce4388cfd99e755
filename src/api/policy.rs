//! What each route is allowed: how often per caller, and how long an answer may take.
//!
//! Limits hang on the route's meaning and not on its path, so that the aliases of a version share
//! one bucket.

use std::time::Duration;

use axum::http::Method;

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum By {
    /// The caller's address (IPv6: its /64): there is no account yet, or too many of them.
    Address,
    User,
}

/// What happens to who passed the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Penalty {
    /// The next request is taken as soon as there is room for it.
    None,
    /// Nothing is taken for this long.
    Block(Duration),
}

/// How often something may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub name: &'static str,
    pub per_minute: u32,
    /// At once.
    pub burst: u32,
    pub by: By,
    pub penalty: Penalty,
}

const AUTH_BLOCK: Penalty = Penalty::Block(Duration::from_secs(60));

const fn auth(name: &'static str, per_minute: u32) -> Rate {
    Rate { name, per_minute, burst: per_minute, by: By::Address, penalty: AUTH_BLOCK }
}

const fn per_user(name: &'static str, per_minute: u32) -> Rate {
    Rate { name, per_minute, burst: per_minute, by: By::User, penalty: Penalty::None }
}

/// Every limit of the product, each once.
pub(crate) const RATES: &[Rate] = &[
    auth("login", 10),
    auth("signup", 5),
    auth("check-phone", 20),
    auth("refresh", 30),
    per_user("trip-request", 5),
    per_user("driver-response", 30),
    per_user("trip-status", 20),
    Rate { burst: 5, ..per_user("location", 30) },
    per_user("location-batch", 6),
    per_user("nearby", 60),
    per_user("estimate", 30),
];

/// What the routes without a rule of their own have: the longest a person waits.
const PATIENCE: Duration = Duration::from_secs(30);
const LOCATION_PATIENCE: Duration = Duration::from_secs(5);
const PRICING_PATIENCE: Duration = Duration::from_secs(10);
const REPORT_PATIENCE: Duration = Duration::from_secs(120);

/// How long the answer of `route` may take.
pub(crate) fn patience(route: &str) -> Duration {
    let area = route.split('/').nth(1).unwrap_or_default();
    match area {
        "location" => LOCATION_PATIENCE,
        "pricing" => PRICING_PATIENCE,
        "reports" => REPORT_PATIENCE,
        _ => PATIENCE,
    }
}

/// The limit of a route (its template without the version), if it has one.
pub(crate) fn rate(method: &Method, route: &str) -> Option<&'static Rate> {
    let name = match (method.as_str(), route) {
        ("POST", "/auth/login" | "/auth/exchange") => "login",
        ("POST", "/auth/signup") => "signup",
        ("POST", "/auth/check-phone") => "check-phone",
        ("POST", "/auth/refresh") => "refresh",
        ("POST", "/trips/request") => "trip-request",
        ("POST", "/trips/{id}/driver-response") => "driver-response",
        ("POST", "/trips/{id}/status") => "trip-status",
        ("POST", "/location/update") => "location",
        ("POST", "/location/batch-update") => "location-batch",
        ("GET" | "HEAD", "/location/nearby") => "nearby",
        ("POST", "/pricing/estimate") => "estimate",
        _ => return None,
    };
    RATES.iter().find(|rate| rate.name == name)
}

/// A route's template without its version: `/api/v1/trips/{id}` and `/api/trips/{id}` are one.
pub(crate) fn unversioned(path: &str) -> &str {
    let rest = path.strip_prefix("/api").unwrap_or(path);
    match rest.strip_prefix("/v1") {
        Some(tail) if tail.starts_with('/') => tail,
        _ => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_of_a_route_share_its_limit() {
        let check = |method: Method, path: &str, expected: &str| {
            let found = rate(&method, unversioned(path)).map_or("", |rate| rate.name);
            assert_eq!(found, expected, "{path}");
        };
        check(Method::POST, "/api/v1/auth/login", "login");
        check(Method::POST, "/api/auth/login", "login");
        check(Method::GET, "/api/auth/login", "");
        check(Method::POST, "/api/v1/trips/{id}/status", "trip-status");
        check(Method::GET, "/api/v1/trips/{id}", "");
        check(Method::HEAD, "/api/v1/location/nearby", "nearby");
    }

    #[test]
    fn patience_follows_the_area() {
        assert_eq!(patience("/location/update"), LOCATION_PATIENCE);
        assert_eq!(patience("/pricing/estimate"), PRICING_PATIENCE);
        assert_eq!(patience("/trips/{id}"), PATIENCE);
        assert_eq!(patience(""), PATIENCE);
    }
}
