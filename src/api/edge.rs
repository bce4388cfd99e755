//! The rim of every request: its id, who calls, the answer's envelope, the log line, the metric.

use std::any::Any;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base::{Code, Problem};
use metrics::{counter, histogram};
use tokio::time::Instant;
use tracing::{error, info};
use uuid::Uuid;

use crate::callers::Identified;
use crate::envelope::{self, Meta, VERSION};
use crate::reply::{Outcome, Refusal};
use crate::state::Edge;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is taken from outside, bytes.
const REQUEST_ID_MAX: usize = 128;

/// What is known of a request before it is handled, for its log line.
struct About {
    id: String,
    trace: Option<String>,
    method: &'static str,
    route: String,
    user: String,
    wants_problem_json: bool,
}

pub(crate) async fn around(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    let identified = Identified::of(&edge.tokens, &edge.keys, request.headers());
    let about = About::of(&request, &identified);
    request.extensions_mut().insert(identified);
    let started = Instant::now();
    let mut response = next.run(request).await;
    let outcome = response.extensions_mut().remove::<Outcome>();
    if let Some(outcome) = &outcome {
        let meta = Meta { request_id: &about.id, timestamp: edge.clock.now(), version: VERSION };
        close(&mut response, outcome, meta, about.wants_problem_json);
    }
    if let Ok(id) = HeaderValue::from_str(&about.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    about.record(response.status(), outcome.as_ref(), started.elapsed());
    response
}

/// A handler's panic is a fault of ours like any other, and counted.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands the panic over")]
pub(crate) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    counter!("smartline_request_panics_total").increment(1);
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let mut problem = Problem::new(Code::Internal, "something went wrong on our side");
    problem.cause = Some(format!("panic: {}", text.unwrap_or("(no message)")));
    Refusal(problem).into_response()
}

/// Writes the envelope into the response that was waiting for it.
pub(crate) fn close(
    response: &mut Response,
    outcome: &Outcome,
    meta: Meta<'_>,
    problem_json: bool,
) {
    let mut content_type = "application/json";
    let body = match outcome {
        Outcome::Data(data) => envelope::success(data, meta),
        Outcome::Refused(problem) if problem_json => {
            content_type = "application/problem+json";
            envelope::problem_json(problem, &meta)
        }
        Outcome::Refused(problem) => envelope::failure(problem, meta),
    };
    *response.body_mut() = Body::from(body);
    let status = response.status();
    let headers = response.headers_mut();
    // What was there counted the empty body.
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Outcome::Refused(problem) = outcome
        && let Some(seconds) = problem.details["retryAfter"].as_u64()
    {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.entry(header::RETRY_AFTER).or_insert(HeaderValue::from_static("1"));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
}

impl About {
    fn of(request: &Request, identified: &Identified) -> Self {
        let headers = request.headers();
        let route = request.extensions().get::<MatchedPath>();
        Self {
            id: request_id(headers),
            trace: trace_id(headers),
            method: method_label(request.method()),
            route: route.map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned()),
            user: identified.user().map(|user| user.to_string()).unwrap_or_default(),
            wants_problem_json: accepts_problem_json(headers),
        }
    }

    fn record(&self, status: StatusCode, outcome: Option<&Outcome>, took: Duration) {
        let (request_id, user_id, route) = (&self.id, &self.user, &self.route);
        let (method, status_code) = (self.method, status.as_u16());
        let trace_id = self.trace.as_deref().unwrap_or_default();
        let duration_ms = took.as_secs_f64() * 1000.0;
        let refused = match outcome {
            Some(Outcome::Refused(problem)) => Some(problem),
            Some(Outcome::Data(_)) | None => None,
        };
        let code = refused.map_or("", |problem| problem.code.name());
        match refused.and_then(|problem| problem.cause.as_deref()) {
            Some(cause) => error!(
                request_id,
                user_id,
                trace_id,
                method,
                route,
                status = status_code,
                code,
                duration_ms,
                cause,
                "request failed"
            ),
            None => info!(
                request_id,
                user_id,
                trace_id,
                method,
                route,
                status = status_code,
                code,
                duration_ms,
                "request"
            ),
        }
        histogram!(
            "http_server_request_duration_seconds",
            "method" => method, "route" => self.route.clone(), "status" => status_code.to_string()
        )
        .record(took.as_secs_f64());
    }
}

/// The caller's own id where it is short and plain, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let plain = |id: &&str| {
        let fits = (1..=REQUEST_ID_MAX).contains(&id.len());
        fits && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
    };
    given.filter(plain).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// The trace's id of a W3C `traceparent`; higher versions are read as version 0.
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let mut parts = headers.get("traceparent")?.to_str().ok()?.split('-');
    let (version, trace, span) = (parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let valid = is_hex(version, 2) && version != "ff" && is_hex(trace, 32) && is_hex(span, 16);
    let empty = trace.bytes().all(|b| b == b'0') || span.bytes().all(|b| b == b'0');
    (valid && !empty).then(|| trace.to_owned())
}

fn accepts_problem_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("application/problem+json"))
}

/// Methods come from outside: only known ones become a label.
fn method_label(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let value = HeaderValue::from_str(value).expect("a header value");
        HeaderMap::from_iter([(HeaderName::from_static(name), value)])
    }

    #[test]
    fn a_request_id_from_outside_is_taken_when_it_is_plain() {
        let check = |given: &str, taken: bool| {
            assert_eq!(request_id(&headers("x-request-id", given)) == given, taken, "{given}");
        };
        check("abc-123_X.y:z", true);
        check("", false);
        check("two words", false);
        check("<script>", false);
        check(&"x".repeat(128), true);
        check(&"x".repeat(129), false);
        assert_ne!(request_id(&HeaderMap::new()), request_id(&HeaderMap::new()));
    }

    #[test]
    fn a_traceparent_is_read_when_it_is_valid() {
        let check = |given: &str, expected: Option<&str>| {
            assert_eq!(trace_id(&headers("traceparent", given)).as_deref(), expected, "{given}");
        };
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        check(&format!("00-{trace}-00f067aa0ba902b7-01"), Some(trace));
        check(&format!("cc-{trace}-00f067aa0ba902b7-01-what-else"), Some(trace));
        check(&format!("ff-{trace}-00f067aa0ba902b7-01"), None);
        check(&format!("00-{trace}-0000000000000000-01"), None);
        check("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None);
        check(&format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()), None);
        check("junk", None);
    }
}
