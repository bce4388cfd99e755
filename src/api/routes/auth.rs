//! `/auth`: accounts, logins, tokens.

use axum::extract::State;
use axum::http::StatusCode;
use flows::Flows;
use identity::{
    CheckPhone, Exchange, LogIn, LogOut, PhoneChecked, Refresh, SignUp, SignedIn, TokenPair,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::Valid;
use crate::callers::Anyone;
use crate::envelope::{Failure, Success};
use crate::fields::Check;
use crate::reply::{Answer, Refusal, Reply};

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new()
        .routes(routes!(check_phone))
        .routes(routes!(sign_up))
        .routes(routes!(log_in))
        .routes(routes!(refresh))
        .routes(routes!(exchange))
        .routes(routes!(log_out))
}

// What is wrong with an account's fields is known to `identity`.
impl Check for SignUp {}
impl Check for LogIn {}
impl Check for CheckPhone {}
impl Check for Refresh {}
impl Check for Exchange {}
impl Check for LogOut {}

/// Has this phone an account?
#[utoipa::path(
    post, path = "/auth/check-phone", tag = "auth", request_body = CheckPhone,
    responses((status = 200, body = Success<'static, PhoneChecked>))
)]
async fn check_phone(
    State(flows): State<Flows>,
    Valid(body): Valid<CheckPhone>,
) -> Answer<PhoneChecked> {
    Ok(Reply::ok(PhoneChecked { exists: flows.check_phone(&body.phone).await? }))
}

/// Creates a rider's or driver's account and logs it in.
#[utoipa::path(
    post, path = "/auth/signup", tag = "auth", request_body = SignUp,
    responses(
        (status = 201, body = Success<'static, SignedIn>),
        (status = 409, body = Failure<'static>, description = "the phone has an account already")
    )
)]
async fn sign_up(State(flows): State<Flows>, Valid(body): Valid<SignUp>) -> Answer<SignedIn> {
    Ok(Reply::created(flows.sign_up(body).await?))
}

#[utoipa::path(
    post, path = "/auth/login", tag = "auth", request_body = LogIn,
    responses(
        (status = 200, body = Success<'static, SignedIn>),
        (status = 401, body = Failure<'static>, description = "phone and password don't belong together")
    )
)]
async fn log_in(State(flows): State<Flows>, Valid(body): Valid<LogIn>) -> Answer<SignedIn> {
    Ok(Reply::ok(flows.log_in(&body.phone, &body.password).await?))
}

/// Exchanges a refresh token for the next pair. Each is used once: a used one ends its family.
#[utoipa::path(
    post, path = "/auth/refresh", tag = "auth", request_body = Refresh,
    responses(
        (status = 200, body = Success<'static, TokenPair>),
        (status = 401, body = Failure<'static>, description = "the token is unknown, used or ended")
    )
)]
async fn refresh(State(flows): State<Flows>, Valid(body): Valid<Refresh>) -> Answer<TokenPair> {
    Ok(Reply::ok(flows.refresh(&body.refresh_token).await?))
}

/// Logs in with a one-use code, as the link to the live page holds one.
#[utoipa::path(
    post, path = "/auth/exchange", tag = "auth", request_body = Exchange,
    responses(
        (status = 200, body = Success<'static, SignedIn>),
        (status = 401, body = Failure<'static>, description = "the code is unknown, used or old")
    )
)]
async fn exchange(State(flows): State<Flows>, Valid(body): Valid<Exchange>) -> Answer<SignedIn> {
    Ok(Reply::ok(flows.exchange(&body.code).await?))
}

/// Ends the caller's session, on every socket too.
#[utoipa::path(
    post, path = "/auth/logout", tag = "auth", request_body = Option<LogOut>,
    responses((status = 204, description = "logged out")),
    security(("bearer" = []))
)]
async fn log_out(
    Anyone(caller): Anyone,
    State(flows): State<Flows>,
    Valid(body): Valid<LogOut>,
) -> Result<StatusCode, Refusal> {
    flows.log_out(&caller, body.refresh_token.as_deref()).await?;
    Ok(StatusCode::NO_CONTENT)
}
