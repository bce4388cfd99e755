//! Who calls, as types: a handler that takes a [`Rider`] can't be reached by anyone else.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use base::{Caller, Code, DriverId, Problem, Role, UserId};
use identity::Tokens;

use crate::reply::Refusal;

/// What the request's token said; put there by the edge, once per request.
#[derive(Clone)]
pub(crate) enum Identified {
    Nobody,
    Known(Caller),
    Refused(Problem),
}

impl Identified {
    pub(crate) fn of(tokens: &Tokens, headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let Some(first) = given.next() else { return Self::Nobody };
        let bearer = first.to_str().ok().and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        match bearer {
            // Two headers: whoever put the second one there may see another caller than we do.
            Some(token) if given.next().is_none() => match tokens.verify(token) {
                Ok(caller) => Self::Known(caller),
                Err(problem) => Self::Refused(problem),
            },
            _ => Self::Refused(unauthenticated()),
        }
    }

    pub(crate) fn user(&self) -> Option<UserId> {
        match self {
            Self::Known(caller) => Some(caller.user),
            Self::Nobody | Self::Refused(_) => None,
        }
    }

    fn caller(parts: &Parts) -> Result<Caller, Problem> {
        match parts.extensions.get::<Self>() {
            Some(Self::Known(caller)) => Ok(*caller),
            Some(Self::Refused(problem)) => Err(problem.clone()),
            Some(Self::Nobody) | None => Err(unauthenticated()),
        }
    }
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
