//! Headers that make browsers careful, and the origins that may call.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::Response;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::warn;

/// An API's answers load nothing and are framed by nobody.
const STRICT_CSP: &str = "default-src 'none'; frame-ancestors 'none'";
/// The documents' page loads its own scripts and styles.
const PAGE_CSP: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
                        img-src 'self' data:; frame-ancestors 'none'";

const FIXED: &[(&str, &str)] = &[
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("permissions-policy", "geolocation=(), camera=(), microphone=()"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Adds the security headers to every answer; one that was set already stays.
pub(crate) async fn secure(State(()): State<()>, mut response: Response) -> Response {
    let page = is_html(response.headers());
    let headers = response.headers_mut();
    for (name, value) in FIXED {
        headers.entry(*name).or_insert(HeaderValue::from_static(value));
    }
    let csp = HeaderValue::from_static(if page { PAGE_CSP } else { STRICT_CSP });
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(csp);
    response
}

fn is_html(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|text| text.starts_with("text/html"))
}

/// Browsers of these origins may call; with none, no browser of another origin may.
pub(crate) fn cors(origins: &[String]) -> CorsLayer {
    let parse = |origin: &String| match HeaderValue::from_str(origin.trim_end_matches('/')) {
        Ok(value) => Some(value),
        Err(_) => {
            warn!(origin, "an origin of the allow-list is no origin");
            None
        }
    };
    let allowed: Vec<HeaderValue> = origins.iter().filter_map(parse).collect();
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(allowed))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("x-request-id"),
            HeaderName::from_static("traceparent"),
        ])
        .expose_headers([
            header::RETRY_AFTER,
            HeaderName::from_static("x-request-id"),
            HeaderName::from_static("ratelimit"),
            HeaderName::from_static("ratelimit-policy"),
            HeaderName::from_static("deprecation"),
            HeaderName::from_static("sunset"),
            header::LINK,
        ])
        .max_age(Duration::from_secs(600))
}
