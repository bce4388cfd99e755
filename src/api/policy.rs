//! What each route is allowed: how often per caller, how long an answer may take, how late it is
//! given up when the node is full, and whether it is about to go.

use std::time::Duration;

use axum::http::Method;
use base::Millis;
use ops::Limit;

/// What the routes without a rule of their own have: the longest a person waits.
const PATIENCE: Duration = Duration::from_secs(30);
const LOCATION_PATIENCE: Duration = Duration::from_secs(5);
const PRICING_PATIENCE: Duration = Duration::from_secs(10);
const REPORT_PATIENCE: Duration = Duration::from_secs(120);

/// Routes that read much: reports, statements, results of experiments.
fn is_report(route: &str) -> bool {
    route.starts_with("/admin/reports/")
        || route.ends_with("/statement")
        || route == "/admin/experiments/{id}/results"
}

/// How long the answer of `route` may take.
pub(crate) fn patience(route: &str) -> Duration {
    if is_report(route) {
        return REPORT_PATIENCE;
    }
    let area = route.split('/').nth(1).unwrap_or_default();
    match area {
        "location" => LOCATION_PATIENCE,
        "pricing" => PRICING_PATIENCE,
        _ => PATIENCE,
    }
}

/// The limit of a route (its template without the version).
pub(crate) fn limit(method: &Method, route: &str) -> Limit {
    match (method.as_str(), route) {
        ("POST", "/auth/login" | "/auth/exchange") => Limit::Login,
        ("POST", "/auth/signup") => Limit::Signup,
        ("POST", "/auth/check-phone") => Limit::CheckPhone,
        ("POST", "/auth/refresh") => Limit::Refresh,
        ("POST", "/trips/request") => Limit::TripRequest,
        ("POST", "/trips/{id}/driver-response") => Limit::DriverResponse,
        ("POST", "/trips/{id}/offers/{offerId}/accept") => Limit::BidPick,
        ("POST", "/trips/{id}/status" | "/trips/{id}/confirm") => Limit::TripStatus,
        ("POST", "/location/update") => Limit::Location,
        ("POST", "/location/batch-update") => Limit::LocationBatch,
        ("GET" | "HEAD", "/location/nearby") => Limit::Nearby,
        ("POST", "/pricing/estimate") => Limit::Estimate,
        ("POST", "/payment/deposit/init" | "/payment/card/init") => Limit::Deposit,
        ("POST", "/payment/callback" | "/payment/payout/callback") => Limit::GatewayNotice,
        ("POST", "/payment/withdraw/request") => Limit::Withdrawal,
        ("POST", "/trips/{id}/dispute") => Limit::Dispute,
        ("POST", "/promo/redeem") => Limit::PromoRedeem,
        ("GET" | "HEAD", route) if is_report(route) => Limit::Report,
        _ => Limit::Other,
    }
}

/// Who is served last when there is not room for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Importance {
    /// Lists, pictures, reports: somebody looks again later.
    Low,
    /// Most things.
    Normal,
    /// Money and trips that are under way: somebody stands in the street.
    High,
}

impl Importance {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

pub(crate) fn importance(method: &Method, route: &str) -> Importance {
    let mut parts = route.split('/').skip(1);
    let (area, changes) = (parts.next().unwrap_or_default(), method == Method::POST);
    match area {
        "payment" => Importance::High,
        // Decisions about money and people, against tables and pictures of them.
        "trips" | "wallet" | "admin" if changes => Importance::High,
        // How one trip stands.
        "trips" if parts.next().is_some() => Importance::Normal,
        "trips" | "wallet" | "admin" | "live" => Importance::Low,
        "pricing" if !changes => Importance::Low,
        _ => Importance::Normal,
    }
}

/// A route that is about to go, as its answers say (RFC 9745, RFC 8594).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retiring {
    pub method: &'static str,
    /// The template without the version.
    pub route: &'static str,
    /// Since when something better is there.
    pub deprecated: Millis,
    /// When it ends.
    pub sunset: Millis,
    /// What to read about it.
    pub link: &'static str,
}

/// Every route that is about to go.
pub(crate) const RETIRING: &[Retiring] = &[];

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
            let found = limit(&method, unversioned(path)).name();
            assert_eq!(found, expected, "{path}");
        };
        check(Method::POST, "/api/v1/auth/login", "login");
        check(Method::POST, "/api/auth/login", "login");
        check(Method::GET, "/api/auth/login", "other");
        check(Method::POST, "/api/v1/trips/{id}/status", "trip-status");
        check(Method::POST, "/api/v1/trips/{id}/confirm", "trip-status");
        check(Method::GET, "/api/v1/trips/{id}", "other");
        check(Method::HEAD, "/api/v1/location/nearby", "nearby");
        check(Method::GET, "/api/v1/wallet/statement", "report");
        check(Method::GET, "/api/v1/admin/reports/daily", "report");
        check(Method::GET, "/api/v1/admin/experiments/{id}/results", "report");
    }

    #[test]
    fn money_and_trips_under_way_are_given_up_last() {
        let check = |method: Method, route: &str, expected: Importance| {
            assert_eq!(importance(&method, route), expected, "{method} {route}");
        };
        check(Method::POST, "/trips/request", Importance::High);
        check(Method::POST, "/trips/{id}/status", Importance::High);
        check(Method::POST, "/payment/callback", Importance::High);
        check(Method::POST, "/admin/wallets/{userId}/adjust", Importance::High);
        check(Method::GET, "/trips/{id}", Importance::Normal);
        check(Method::POST, "/location/update", Importance::Normal);
        check(Method::POST, "/auth/login", Importance::Normal);
        check(Method::POST, "/pricing/estimate", Importance::Normal);
        check(Method::GET, "/trips", Importance::Low);
        check(Method::GET, "/admin/audit", Importance::Low);
        check(Method::GET, "/admin/reports/daily", Importance::Low);
        check(Method::GET, "/wallet/statement", Importance::Low);
        check(Method::GET, "/pricing/surge-map", Importance::Low);
        check(Method::GET, "/live/map", Importance::Low);
    }

    #[test]
    fn patience_follows_the_area() {
        assert_eq!(patience("/location/update"), LOCATION_PATIENCE);
        assert_eq!(patience("/pricing/estimate"), PRICING_PATIENCE);
        assert_eq!(patience("/trips/{id}"), PATIENCE);
        assert_eq!(patience("/wallet"), PATIENCE);
        assert_eq!(patience("/wallet/statement"), REPORT_PATIENCE);
        assert_eq!(patience("/admin/wallets/{userId}/statement"), REPORT_PATIENCE);
        assert_eq!(patience("/admin/reports/daily"), REPORT_PATIENCE);
        assert_eq!(patience(""), PATIENCE);
    }
}
