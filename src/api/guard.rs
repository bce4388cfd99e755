//! What stands before every route: version, room on the node, limits per caller, patience.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base::{Code, Problem};
use identity::{ApiKeys, Partner};
use metrics::counter;
use ops::{By, Counted, Limit, Rate, Verdict, client_address, limited};

use crate::callers::Identified;
use crate::policy::{Retiring, importance, limit, patience, unversioned};
use crate::reply::Refusal;
use crate::state::Edge;

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");
const MINUTE: Duration = Duration::from_secs(60);

/// Refuses when the node is too full or the caller asks too often, and ends what takes too long.
pub(crate) async fn guard(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let template = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = unversioned(template.as_deref().unwrap_or_default());
    let method = request.method().clone();
    let importance = importance(&method, route);
    let address = Counted::from(address_of(&request, edge.trusted_proxies));
    let Some(_seat) = edge.crowd.enter(address) else {
        counter!("smartline_requests_limited_total", "limit" => "under-way").increment(1);
        let why = "this address has too many requests under way";
        let problem = Problem::new(Code::RateLimited, why).with("retryAfter", 1);
        return Refusal(problem).into_response();
    };
    let Some(_place) = edge.load.enter(importance) else {
        let name = importance.name();
        counter!("smartline_requests_shed_total", "importance" => name).increment(1);
        let problem = Problem::new(Code::Unavailable, "the service is busy, try again shortly");
        return Refusal(problem).into_response();
    };
    let partner = partner(&request);
    let verdict = match counted(&edge, &request, route) {
        Some((rate, who)) => Some((rate, edge.limiter.check(&rate, who).await)),
        None => None,
    };
    let refused = matches!(verdict, Some((_, Verdict::Waits(_))));
    if let Some(partner) = partner {
        let uses = if refused { ApiKeys::refused } else { ApiKeys::served };
        uses(&edge.keys, partner.key);
    }
    if let Some((rate, verdict @ Verdict::Waits(wait))) = &verdict {
        let mut response = Refusal(limited(rate, *wait)).into_response();
        limit_headers(&mut response, rate, *verdict);
        return response;
    }
    let mut response = match tokio::time::timeout(patience(route), next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            counter!("smartline_requests_timed_out_total").increment(1);
            Refusal(Problem::new(Code::Timeout, "the answer took too long")).into_response()
        }
    };
    if let Some((rate, verdict)) = &verdict {
        limit_headers(&mut response, rate, *verdict);
    }
    if let Some(retiring) = edge.retiring.iter().find(|r| r.covers(&method, route)) {
        retiring_headers(&mut response, retiring);
    }
    response
}

/// Who is counted under which rate. Where the caller must be known and isn't, his address is, for
/// being refused costs something too. Not here what is counted by what a body says.
fn counted(edge: &Edge, request: &Request, route: &str) -> Option<(Rate, Counted)> {
    if !edge.limiter.is_on() {
        return None;
    }
    let limit = limit(request.method(), route);
    let address = || Counted::from(address_of(request, edge.trusted_proxies));
    let who = match (limit.by(), request.extensions().get::<Identified>()) {
        (By::Phone, _) => return None,
        (By::Address, _) => address(),
        // A key has one bucket, whatever it is used for.
        (By::User | By::Caller, Some(Identified::Partner(partner))) => {
            let rate = Rate::new("api-key", partner.per_minute, MINUTE);
            return Some((rate, Counted::Key(partner.key.0)));
        }
        (By::User | By::Caller, Some(Identified::Known(caller))) => Counted::User(caller.user),
        (By::User | By::Caller, Some(Identified::Nobody | Identified::Refused(_)) | None) => {
            return Some((*edge.limiter.rate(Limit::Other), address()));
        }
    };
    Some((*edge.limiter.rate(limit), who))
}

fn partner(request: &Request) -> Option<Partner> {
    match request.extensions().get::<Identified>() {
        Some(Identified::Partner(partner)) => Some(*partner),
        _ => None,
    }
}

pub(crate) fn address_of(request: &Request, trusted_proxies: usize) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
    let chain = request.headers().get_all("x-forwarded-for").iter();
    let chain: Vec<&str> =
        chain.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(',')).collect();
    client_address(peer, chain.into_iter(), trusted_proxies)
}

pub(crate) fn limit_headers(response: &mut Response, rate: &Rate, verdict: Verdict) {
    for (name, value) in [("ratelimit-policy", rate.policy()), ("ratelimit", verdict.told(rate))] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
}

impl Retiring {
    fn covers(&self, method: &Method, route: &str) -> bool {
        self.route == route && self.method == method.as_str()
    }
}

fn retiring_headers(response: &mut Response, retiring: &Retiring) {
    let since = format!("@{}", retiring.deprecated.0.div_euclid(1000));
    let link = format!("<{}>; rel=\"deprecation\"", retiring.link);
    let values =
        [(DEPRECATION, since), (SUNSET, retiring.sunset.http_date()), (header::LINK, link)];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
}

/// For paths without a version: it may stand in the query or in `Accept`, and must be 1.
pub(crate) async fn pinned_version(request: Request, next: Next) -> Response {
    match asked_version(request.uri(), request.headers()) {
        None | Some("1") => next.run(request).await,
        Some(version) => unsupported(version),
    }
}

/// What is asked for first, unless version 1 is among what would do.
fn asked_version<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let query = uri.query().unwrap_or_default();
    if let Some(version) = query.split('&').find_map(|pair| pair.strip_prefix("version=")) {
        return Some(version);
    }
    let accepted = headers.get_all(header::ACCEPT).into_iter();
    let accepted = accepted.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    let mut versions = accepted.filter_map(|kind| {
        let rest = kind.trim().strip_prefix("application/vnd.smartline.v")?;
        rest.split(['+', ';', ' ']).next()
    });
    let first = versions.next()?;
    Some(if versions.any(|version| version == "1") { "1" } else { first })
}

fn unsupported(version: &str) -> Response {
    let problem = Problem::new(Code::UnsupportedVersion, "only version 1 is spoken here")
        .with("asked", version)
        .with("supported", ["1"]);
    Refusal(problem).into_response()
}

/// A path of no route: an unknown version is said to be one.
pub(crate) async fn unknown_route(uri: Uri) -> Response {
    let version = uri.path().strip_prefix("/api/v").and_then(|rest| rest.split('/').next());
    match version {
        Some(version) if version != "1" && version.bytes().all(|b| b.is_ascii_digit()) => {
            unsupported(version)
        }
        _ => no_such_route(),
    }
}

pub(crate) fn no_such_route() -> Response {
    Refusal(Problem::new(Code::NotFound, "there is no such route")).into_response()
}

pub(crate) async fn wrong_method() -> Response {
    let why = "the route doesn't take this method";
    Refusal(Problem::new(Code::MethodNotAllowed, why)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_the_query_and_from_accept() {
        let check = |uri: &str, accept: &str, expected: Option<&str>| {
            let uri: Uri = uri.parse().expect("a URI");
            let value = HeaderValue::from_str(accept).expect("a header value");
            let headers = HeaderMap::from_iter([(header::ACCEPT, value)]);
            assert_eq!(asked_version(&uri, &headers), expected, "{uri} {accept}");
        };
        check("/api/trips", "*/*", None);
        check("/api/trips?limit=1&version=1", "*/*", Some("1"));
        check("/api/trips?version=2", "*/*", Some("2"));
        check("/api/trips", "application/vnd.smartline.v1+json", Some("1"));
        check("/api/trips", "text/html, application/vnd.smartline.v7+json;q=0.9", Some("7"));
        check(
            "/api/trips",
            "application/vnd.smartline.v2+json, application/vnd.smartline.v1+json;q=0.5",
            Some("1"),
        );
    }
}
