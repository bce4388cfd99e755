//! Who calls, as types: a handler that takes a [`Rider`] can't be reached by anyone else.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, header};
use base::{Caller, Code, DriverId, Problem, Role, UserId};
use identity::{ApiKeys, Partner, Scope, Tokens};
use pricing::Asker;

use crate::reply::Refusal;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What the request's token or key said; put there by the edge, once per request.
#[derive(Clone)]
pub(crate) enum Identified {
    Nobody,
    Known(Caller),
    Partner(Partner),
    Refused(Problem),
}

impl Identified {
    pub(crate) fn of(tokens: &Tokens, keys: &ApiKeys, headers: &HeaderMap) -> Self {
        let tokens_given = headers.get_all(header::AUTHORIZATION).iter();
        let mut given = tokens_given.chain(headers.get_all(API_KEY).iter());
        let Some(first) = given.next() else { return Self::Nobody };
        // Two of them: whoever put the second one there may see another caller than we do.
        if given.next().is_some() {
            return Self::Refused(unauthenticated());
        }
        let text = first.to_str().unwrap_or_default();
        let (scheme, secret) = match headers.contains_key(API_KEY) {
            true => ("apikey", text),
            false => text.split_once(' ').unwrap_or_default(),
        };
        let secret = secret.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            tokens.verify(secret).map_or_else(Self::Refused, Self::Known)
        } else if scheme.eq_ignore_ascii_case("apikey") {
            keys.verify(secret).map_or_else(|| Self::Refused(unauthenticated()), Self::Partner)
        } else {
            Self::Refused(unauthenticated())
        }
    }

    pub(crate) fn user(&self) -> Option<UserId> {
        match self {
            Self::Known(caller) => Some(caller.user),
            Self::Nobody | Self::Partner(_) | Self::Refused(_) => None,
        }
    }

    fn caller(parts: &Parts) -> Result<Caller, Problem> {
        match parts.extensions.get::<Self>() {
            Some(Self::Known(caller)) => Ok(*caller),
            Some(Self::Partner(_)) => Err(closed_to_keys()),
            Some(Self::Refused(problem)) => Err(problem.clone()),
            Some(Self::Nobody) | None => Err(unauthenticated()),
        }
    }

    /// The partner, where it is one and its key opens `scope`.
    fn partner(parts: &Parts, scope: Scope) -> Result<Option<Partner>, Problem> {
        match parts.extensions.get::<Self>() {
            Some(Self::Partner(partner)) if partner.may(scope) => Ok(Some(*partner)),
            Some(Self::Partner(_)) => Err(closed_to_keys().with("scope", scope)),
            Some(Self::Known(_) | Self::Refused(_) | Self::Nobody) | None => Ok(None),
        }
    }
}

fn closed_to_keys() -> Problem {
    Problem::new(Code::Forbidden, "this key doesn't open that")
}

fn unauthenticated() -> Problem {
    Problem::new(Code::Unauthenticated, "a valid access token is needed")
}

fn forbidden(needed: &'static str) -> Problem {
    Problem::new(Code::Forbidden, format!("only {needed} may do this"))
}

/// Anyone who is logged in.
#[derive(Clone, Copy)]
pub(crate) struct Anyone(pub Caller);

/// A rider or a driver: somebody with a wallet.
#[derive(Clone, Copy)]
pub(crate) struct Member(pub Caller);

#[derive(Clone, Copy)]
pub(crate) struct Rider(pub Caller);

/// Who may ask for prices: a rider, or a partner whose key opens them.
#[derive(Clone, Copy)]
pub(crate) struct PriceAsker(pub Asker);

/// Who may look for cars: anyone who is logged in, or a partner whose key opens that.
#[derive(Clone, Copy)]
pub(crate) struct Looker;

#[derive(Clone, Copy)]
pub(crate) struct Driver {
    pub id: DriverId,
    pub caller: Caller,
}

#[derive(Clone, Copy)]
pub(crate) struct Admin(pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for Anyone {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        Ok(Self(Identified::caller(parts)?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Member {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let caller = Identified::caller(parts)?;
        match caller.role {
            Role::Rider | Role::Driver => Ok(Self(caller)),
            Role::Admin => Err(forbidden("riders and drivers").into()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Rider {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let caller = Identified::caller(parts)?;
        match caller.role {
            Role::Rider => Ok(Self(caller)),
            Role::Driver | Role::Admin => Err(forbidden("riders").into()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PriceAsker {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Identified::partner(parts, Scope::PricingEstimate)? {
            // No account has this id, so nobody books with a partner's quote.
            Some(partner) => Ok(Self(Asker::Partner(UserId(partner.key.0)))),
            None => {
                let Rider(rider) = Rider::from_request_parts(parts, state).await?;
                Ok(Self(Asker::Rider(rider.user)))
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Looker {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        if Identified::partner(parts, Scope::LocationNearby)?.is_none() {
            Anyone::from_request_parts(parts, state).await?;
        }
        Ok(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Driver {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let caller = Identified::caller(parts)?;
        match caller.role {
            Role::Driver => Ok(Self { id: caller.user.as_driver(), caller }),
            Role::Rider | Role::Admin => Err(forbidden("drivers").into()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Admin {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let caller = Identified::caller(parts)?;
        match caller.role {
            Role::Admin => Ok(Self(caller)),
            Role::Rider | Role::Driver => Err(forbidden("admins").into()),
        }
    }
}
