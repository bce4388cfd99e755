//! What stands before every route: version, room on the node, limits per caller, patience.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base::{Code, Problem};
use metrics::counter;

use crate::callers::Identified;
use crate::limiter::{Counted, Verdict};
use crate::policy::{By, Rate, patience, rate, unversioned};
use crate::reply::Refusal;
use crate::state::Edge;

/// Refuses when the node is full or the caller asks too often, and ends what takes too long.
pub(crate) async fn guard(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let Ok(_slot) = edge.slots.try_acquire() else {
        counter!("smartline_requests_shed_total").increment(1);
        let problem = Problem::new(Code::Unavailable, "the service is busy, try again shortly");
        return Refusal(problem).into_response();
    };
    let template = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = unversioned(template.as_deref().unwrap_or_default());
    let limited = rate(request.method(), route)
        .filter(|_| edge.limiter.is_on())
        .and_then(|rate| Some((rate, counted(&edge, &request, rate.by)?)));
    let verdict = limited.map(|(rate, who)| (rate, edge.limiter.check(rate, who)));
    if let Some((rate, Verdict::Waits(wait))) = verdict {
        counter!("smartline_requests_limited_total", "limit" => rate.name).increment(1);
        return refused(rate, wait);
    }
    let mut response = match tokio::time::timeout(patience(route), next.run(request)).await {
        Ok(response) => response,
        Err(_) => Refusal(Problem::new(Code::Timeout, "the answer took too long")).into_response(),
    };
    if let Some((rate, Verdict::Passes { remaining })) = verdict {
        let left = format!("\"{}\";r={remaining}", rate.name);
        limit_headers(&mut response, rate, &left);
    }
    response
}

/// Nobody is counted where the caller must be known and isn't: he gets 401 anyway.
fn counted(edge: &Edge, request: &Request, by: By) -> Option<Counted> {
    match by {
        By::Address => Some(client_address(request, edge.trusted_proxies).into()),
        By::User => {
            let identified = request.extensions().get::<Identified>()?;
            identified.user().map(Counted::User)
        }
    }
}

/// The peer's address, or the one that the outermost proxy of ours saw. What stands further left in
/// `X-Forwarded-For` is anyone's claim.
fn client_address(request: &Request, trusted_proxies: usize) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
    let Some(skip) = trusted_proxies.checked_sub(1) else { return peer };
    let chain = request.headers().get_all("x-forwarded-for");
    let chain: Vec<&str> =
        chain.iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(',')).collect();
    let seen = chain.iter().rev().nth(skip).and_then(|text| text.trim().parse().ok());
    seen.unwrap_or(peer)
}

fn refused(rate: &Rate, wait: Duration) -> Response {
    let seconds = whole_seconds(wait);
    let problem = Problem::new(Code::RateLimited, "too many requests, slow down")
        .with("limit", rate.name)
        .with("retryAfter", seconds);
    let mut response = Refusal(problem).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    limit_headers(&mut response, rate, &format!("\"{}\";r=0;t={seconds}", rate.name));
    response
}

/// Rounded up: who comes back then is let through.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn limit_headers(response: &mut Response, rate: &Rate, left: &str) {
    let policy = format!("\"{}\";q={};w=60", rate.name, rate.per_minute);
    for (name, value) in [("ratelimit-policy", policy.as_str()), ("ratelimit", left)] {
        if let Ok(value) = HeaderValue::from_str(value) {
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

fn asked_version<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let query = uri.query().unwrap_or_default();
    let in_query = query.split('&').find_map(|pair| pair.strip_prefix("version="));
    in_query.or_else(|| {
        let accept = headers.get(header::ACCEPT)?.to_str().ok()?;
        let (_, rest) = accept.split_once("application/vnd.smartline.v")?;
        rest.split(['+', ',', ';', ' ']).next()
    })
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
    use axum::body::Body;

    use super::*;

    #[test]
    fn only_our_proxies_are_believed() {
        let check = |forwarded: &str, trusted: usize, expected: &str| {
            let mut request = Request::new(Body::empty());
            let peer: SocketAddr = "10.0.0.9:5000".parse().expect("an address");
            request.extensions_mut().insert(ConnectInfo(peer));
            let value = forwarded.parse().expect("a header value");
            request.headers_mut().insert("x-forwarded-for", value);
            assert_eq!(client_address(&request, trusted).to_string(), expected, "{forwarded}");
        };
        check("203.0.113.7", 0, "10.0.0.9");
        check("203.0.113.7", 1, "203.0.113.7");
        check("6.6.6.6, 203.0.113.7", 1, "203.0.113.7");
        check("6.6.6.6, 203.0.113.7, 10.0.0.1", 2, "203.0.113.7");
        check("6.6.6.6", 2, "10.0.0.9");
        check("junk", 1, "10.0.0.9");
        check("2001:db8::1", 1, "2001:db8::1");
    }

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
    }
}
