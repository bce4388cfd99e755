//! `Idempotency-Key` around the routes: whose turn it is, and which answer was given before.
//!
//! What a key means is the flows' word ([`flows::Turn`]); here is only which routes take one.

use axum::body::Body;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base::{Code, Problem, UserId, limits};
use events::Once;
use flows::{Flows, Said, Sent, Turn};
use tokio::sync::oneshot;

use crate::body::too_large;
use crate::callers::Identified;
use crate::policy::unversioned;
use crate::reply::{Outcome, Refusal, with_outcome};

/// What a route makes of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Reads, and what must never be kept: tokens, positions.
    None,
    Optional,
    /// Creates something: the same body within seconds is one request.
    Creates,
    /// Moves money out of the house or into it.
    Required,
}

fn use_of(method: &Method, route: &str) -> Use {
    if method != Method::POST {
        return Use::None;
    }
    // Money that is given back.
    if route.starts_with("/admin/") && route.ends_with("/refund") {
        return Use::Required;
    }
    let mut parts = route.split('/').skip(1);
    match (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) {
        ("auth" | "location" | "pricing", _) | ("admin", "api-keys") => Use::None,
        ("payment", "callback" | "payout") => Use::None,
        // A decision that comes again is told where the withdrawal stands.
        ("payment", "withdraw") if route.ends_with("/manage") => Use::Optional,
        ("trips", "request") => Use::Creates,
        ("payment", _) => Use::Required,
        _ => Use::Optional,
    }
}

/// May a request to this route (without its version) carry a key?
pub(crate) fn takes_key(method: &Method, route: &str) -> bool {
    use_of(method, route) != Use::None
}

/// Must it?
pub(crate) fn needs_key(method: &Method, route: &str) -> bool {
    use_of(method, route) == Use::Required
}

/// The request's hold on its idempotency key, for the transaction of its effect.
pub(crate) struct Attempt(pub Once);

impl<S: Send + Sync> FromRequestParts<S> for Attempt {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Ok(Self(parts.extensions.get::<Once>().copied().unwrap_or_default()))
    }
}

/// Stands between the guard and the routes; answers a repeated request in the handler's place.
pub(crate) async fn keyed(State(flows): State<Flows>, request: Request, next: Next) -> Response {
    let template = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let wish = use_of(request.method(), unversioned(template.as_deref().unwrap_or_default()));
    let user = request.extensions().get::<Identified>().and_then(Identified::user);
    let (Some(user), true) = (user, wish != Use::None) else { return next.run(request).await };
    match (key_of(request.headers()), wish) {
        (Err(problem), _) => Refusal(problem).into_response(),
        (Ok(None), Use::Required) => {
            let why = "this route needs an Idempotency-Key header: any text of your own, new for \
                       each thing you want done";
            Refusal(Problem::new(Code::IdempotencyKeyRequired, why)).into_response()
        }
        (Ok(None), Use::None | Use::Optional) => next.run(request).await,
        (Ok(key), _) => once(&flows, user, key, request, next).await,
    }
}

async fn once(
    flows: &Flows,
    user: UserId,
    key: Option<String>,
    request: Request,
    next: Next,
) -> Response {
    let route = format!("{} {}", request.method(), unversioned(request.uri().path()));
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, limits::BODY_BYTES).await else {
        return Refusal(too_large()).into_response();
    };
    let sent = Sent { user, route: &route, body: &body, key: key.as_deref() };
    let attempt = match flows.turn(sent).await {
        Ok(Turn::Go(attempt)) => attempt,
        Ok(Turn::Answered { status, said }) => return replayed(status, said),
        Err(problem) => return Refusal(problem).into_response(),
    };
    let mut request = Request::from_parts(parts, Body::from(body));
    request.extensions_mut().insert(attempt.once);
    let (done, answer) = oneshot::channel();
    let keeper = flows.clone();
    // Goes on when the caller is gone: he will ask again for what became of it.
    flows.tasks.spawn("keyed request", async move {
        let response = next.run(request).await;
        keeper.answered(attempt, response.status().as_u16(), &said(&response)).await;
        done.send(response).ok();
    });
    answer.await.unwrap_or_else(|_| {
        Refusal(Problem::new(Code::Internal, "something went wrong on our side")).into_response()
    })
}

fn said(response: &Response) -> Said {
    match response.extensions().get::<Outcome>() {
        Some(Outcome::Data(data)) => Ok(data.clone()),
        Some(Outcome::Refused(problem)) => Err((**problem).clone()),
        None => Err(Problem::new(Code::Internal, "an answer without an outcome")),
    }
}

fn replayed(status: u16, said: Said) -> Response {
    let mut response = match said {
        Ok(data) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
            with_outcome(status, Outcome::Data(data))
        }
        Err(problem) => Refusal(problem).into_response(),
    };
    response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    response
}

/// The `Idempotency-Key` header.
fn key_of(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = flows::idempotency_key(value.to_str().unwrap_or_default())?;
    Ok(Some(key.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_creates_is_told_from_what_changes() {
        let check = |method: Method, route: &str, expected: Use| {
            assert_eq!(use_of(&method, route), expected, "{route}");
        };
        check(Method::POST, "/trips/request", Use::Creates);
        check(Method::POST, "/trips/{id}/status", Use::Optional);
        check(Method::POST, "/payment/deposit/init", Use::Required);
        check(Method::POST, "/payment/callback", Use::None);
        check(Method::POST, "/payment/payout/callback", Use::None);
        check(Method::POST, "/payment/withdraw/request", Use::Required);
        check(Method::POST, "/payment/withdraw/manage", Use::Optional);
        check(Method::POST, "/admin/trips/{id}/refund", Use::Required);
        check(Method::POST, "/admin/deposits/{orderId}/refund", Use::Required);
        check(Method::POST, "/admin/wallets/{userId}/adjust", Use::Optional);
        check(Method::POST, "/trips/{id}/dispute", Use::Optional);
        check(Method::POST, "/auth/login", Use::None);
        check(Method::POST, "/location/update", Use::None);
        check(Method::POST, "/admin/api-keys", Use::None);
        check(Method::GET, "/trips", Use::None);
    }
}
