//! `GET /ws`: who may open a socket, and how it is set up.
//!
//! The token comes in `Authorization: Bearer`, or for browsers, which can't set that header, as a
//! second subprotocol `bearer.<jwt>`. Never in the query string: that ends up in logs.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use base::{Caller, Code, Problem};
use metrics::counter;
use ops::{Rate, Seat, Verdict, limited};
use rooms::Format;
use serde_json::json;

use crate::Realtime;
use crate::connection::{Connection, Made};
use crate::handshake::{self, Handshake};
use crate::session::Session;
use crate::transport::Transport;

const TEXT: &str = "smartline.v1";
const BINARY: &str = "smartline.v1.bin";
const BEARER: &str = "bearer.";
const FORWARDED: header::HeaderName = header::HeaderName::from_static("x-forwarded-for");
const POLICY: header::HeaderName = header::HeaderName::from_static("ratelimit-policy");
const LIMIT: header::HeaderName = header::HeaderName::from_static("ratelimit");

/// The socket's route. Nest it beside the API; it needs no other state.
pub fn router(realtime: Realtime) -> Router {
    Router::new().route("/ws", any(upgrade)).with_state(realtime)
}

async fn upgrade(State(realtime): State<Realtime>, mut request: Request) -> Response {
    let (caller, seat) = match admit(&realtime, &request) {
        Ok(admitted) => admitted,
        Err(problem) => return refusal(&problem),
    };
    let (rate, verdict) = realtime.ask_for_socket(&caller).await;
    if let Verdict::Waits(wait) = verdict {
        return limit_refusal(&rate, wait);
    }
    let handshake = match Handshake::of(&mut request) {
        Ok(handshake) => handshake,
        Err(problem) => return refusal(&problem),
    };
    let spoken = protocol(request.headers());
    let answer = handshake.answer(spoken.map(|(name, _)| name));
    let format = spoken.map_or(Format::Json, |(_, format)| format);
    // Under the supervisor, so that a drain waits for it and a panic ends it alone.
    let (tasks, core) = (realtime.tasks().clone(), realtime.core().clone());
    tasks.spawn_on(&core, "socket", async move {
        if let Some(socket) = handshake.socket().await {
            let session = session(&realtime, caller, format, Box::new(socket));
            // The threads must be able to end while a session says goodbye on them.
            drop(realtime);
            session.run().await;
        }
        drop(seat);
    });
    answer
}

fn session(
    realtime: &Realtime,
    caller: Caller,
    format: Format,
    transport: Box<dyn Transport>,
) -> Session {
    let hub = realtime.hub();
    let socket = Arc::new(Connection::new(Made {
        id: hub.next_id(),
        caller,
        format,
        now_ms: hub.now_ms(),
        meters: Arc::clone(hub.meters()),
        transport,
    }));
    Session::new(socket, Arc::clone(hub), realtime.rooms().clone(), realtime.desk())
}

fn admit(realtime: &Realtime, request: &Request) -> Result<(Caller, Seat), Problem> {
    let headers = request.headers();
    if realtime.hub().is_draining() {
        return Err(Problem::new(Code::Unavailable, "this node restarts, try another"));
    }
    check_origin(headers, realtime.origins())?;
    let why = "a socket needs an access token";
    let token = bearer(headers).ok_or_else(|| Problem::new(Code::Unauthenticated, why))?;
    let caller = realtime.verify(token)?;
    let seat = seat(realtime, request).ok_or_else(|| {
        Problem::new(Code::RateLimited, "this address holds too many sockets").with("retryAfter", 1)
    })?;
    Ok((caller, seat))
}

fn seat(realtime: &Realtime, request: &Request) -> Option<Seat> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
    let forwarded: Vec<&str> = handshake::listed(request.headers(), &FORWARDED).collect();
    realtime.seat(peer, forwarded.into_iter())
}

/// A browser says which page opens the socket; only ours may (the page of another site would act
/// with its visitor's rights).
fn check_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or("");
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let same = origin.split_once("://").is_some_and(|(_, site)| Some(site) == host);
    if same || allowed.iter().any(|known| known == origin) {
        return Ok(());
    }
    Err(Problem::new(Code::Forbidden, "this origin may not open sockets"))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then_some(token.trim());
    }
    protocols(headers).find_map(|name| name.strip_prefix(BEARER))
}

/// The subprotocol to speak: binary wins when both are offered.
fn protocol(headers: &HeaderMap) -> Option<(&'static str, Format)> {
    [(BINARY, Format::Binary), (TEXT, Format::Json)]
        .into_iter()
        .find(|(known, _)| protocols(headers).any(|name| name == *known))
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    handshake::listed(headers, &header::SEC_WEBSOCKET_PROTOCOL)
}

/// This account opens sockets faster than it may.
fn limit_refusal(rate: &Rate, wait: Duration) -> Response {
    let mut response = refusal(&limited(rate, wait));
    let told = [(POLICY, rate.policy()), (LIMIT, Verdict::Waits(wait).told(rate))];
    for (name, value) in told {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn refusal(problem: &Problem) -> Response {
    counter!("smartline_sockets_refused_total", "code" => problem.code.name()).increment(1);
    let status =
        StatusCode::from_u16(problem.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = json!({
        "success": false,
        "error": {
            "code": problem.code.name(),
            "message": problem.message,
            "details": problem.details,
        },
        "meta": {"version": "v1"},
    });
    let mut response = (status, Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if status == StatusCode::UPGRADE_REQUIRED {
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, handshake::VERSION);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if let Some(seconds) = problem.details["retryAfter"].as_u64() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_token_comes_as_header_or_subprotocol() {
        let check = |pairs: &[(header::HeaderName, &str)], expected: Option<&str>| {
            assert_eq!(bearer(&headers(pairs)), expected, "{pairs:?}");
        };
        check(&[], None);
        check(&[(header::AUTHORIZATION, "Bearer a.b.c")], Some("a.b.c"));
        check(&[(header::AUTHORIZATION, "bearer a.b.c")], Some("a.b.c"));
        check(&[(header::AUTHORIZATION, "Basic abc")], None);
        check(&[(header::SEC_WEBSOCKET_PROTOCOL, "smartline.v1, bearer.a.b.c")], Some("a.b.c"));
        check(&[(header::SEC_WEBSOCKET_PROTOCOL, "smartline.v1")], None);
    }

    #[test]
    fn binary_is_spoken_only_where_it_was_offered() {
        let check = |offered: &str, expected: Option<&str>| {
            let headers = headers(&[(header::SEC_WEBSOCKET_PROTOCOL, offered)]);
            assert_eq!(protocol(&headers).map(|(name, _)| name), expected, "{offered}");
        };
        check("smartline.v1", Some(TEXT));
        check("smartline.v1.bin, bearer.x", Some(BINARY));
        check("smartline.v1,smartline.v1.bin", Some(BINARY));
        check("chat", None);
    }

    #[test]
    fn only_our_own_pages_open_sockets() {
        let allowed = ["https://app.smartline.example".to_owned()];
        let check = |origin: Option<&str>, expected: bool| {
            let mut all = headers(&[(header::HOST, "localhost:8080")]);
            if let Some(origin) = origin {
                all.insert(header::ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(check_origin(&all, &allowed).is_ok(), expected, "{origin:?}");
        };
        check(None, true);
        check(Some("http://localhost:8080"), true);
        check(Some("https://app.smartline.example"), true);
        check(Some("https://app.smartline.example.evil"), false);
        check(Some("http://localhost"), false);
        check(Some("null"), false);
    }
}
