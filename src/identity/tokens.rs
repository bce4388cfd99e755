//! Access tokens: JWT, HS256 and nothing else, and the keys behind all tokens.
//!
//! Needs no database: a request is checked by its signature, its times and the revoked sessions in
//! memory. The algorithm and the keys are ours alone: what a token's header says of either is only
//! looked up in a fixed map, and its `jku`, `x5u`, `jwk` are never read.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base::{Caller, Clock, Code, Dice, Millis, Problem, Role, SessionId, UserId};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::refresh::RefreshToken;
use crate::revocations::Revocations;

/// Life of an access token.
pub const ACCESS_TTL: Duration = Duration::from_secs(15 * 60);
/// Shortest secret, characters.
const SECRET_MIN: usize = 32;
/// Longest token that is looked at, bytes; ours have about 400.
const TOKEN_MAX: usize = 4096;

const ISSUER: &str = "smartline";
const AUDIENCE: &str = "smartline-api";
/// RFC 9068's name for an access token; another kind of token is none.
const KIND: &str = "at+jwt";

/// The signing secret is too short to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a signing secret needs at least {SECRET_MIN} characters")]
pub struct WeakSecret;

/// The secrets behind every token. The current one signs; the previous one only verifies, so that
/// a change of secret logs nobody out.
#[derive(Clone)]
pub struct Keys {
    pub secret: SecretString,
    pub previous: Option<SecretString>,
}

impl Keys {
    /// Refuses secrets that could be guessed.
    pub fn check(&self) -> Result<(), WeakSecret> {
        let strong = |secret: &SecretString| secret.expose_secret().chars().count() >= SECRET_MIN;
        let all_strong = strong(&self.secret) && self.previous.as_ref().is_none_or(strong);
        if all_strong { Ok(()) } else { Err(WeakSecret) }
    }

    /// A key for another purpose, from which the secret can't be learnt.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        derive(&self.secret, purpose)
    }

    fn derive_all(&self, purpose: &str) -> Vec<[u8; 32]> {
        let secrets = std::iter::once(&self.secret).chain(&self.previous);
        secrets.map(|secret| derive(secret, purpose)).collect()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

fn derive(secret: &SecretString, purpose: &str) -> [u8; 32] {
    let key = secret.expose_secret().as_bytes();
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes any key");
    mac.update(b"smartline ");
    mac.update(purpose.as_bytes());
    mac.finalize().into_bytes().into()
}

/// A key's public name: tells nodes with different secrets apart and says nothing of the secret.
fn key_id(secret: &SecretString) -> String {
    let digest = derive(secret, "key id");
    digest[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: UserId,
    role: Role,
    sid: SessionId,
    jti: Uuid,
    iat: i64,
    exp: i64,
    /// Never issued; respected where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    iss: String,
    aud: String,
}

/// Issues and verifies tokens. Cheap to clone; needs no database.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    clock: Clock,
    header: Header,
    signer: EncodingKey,
    verifiers: HashMap<String, DecodingKey>,
    validation: Validation,
    /// Current first.
    refresh_keys: Vec<[u8; 32]>,
    revocations: Revocations,
}

impl Tokens {
    pub fn new(keys: &Keys, clock: Clock) -> Self {
        let header = Header {
            typ: Some(KIND.to_owned()),
            kid: Some(key_id(&keys.secret)),
            ..Header::new(Algorithm::HS256)
        };
        let secrets = std::iter::once(&keys.secret).chain(&keys.previous);
        let verifiers = secrets
            .map(|s| (key_id(s), DecodingKey::from_secret(s.expose_secret().as_bytes())))
            .collect();
        Self(Arc::new(Inner {
            clock,
            header,
            signer: EncodingKey::from_secret(keys.secret.expose_secret().as_bytes()),
            verifiers,
            validation: validation(),
            refresh_keys: keys.derive_all("refresh token"),
            revocations: Revocations::new(),
        }))
    }

    /// The holder of an access token, if it is ours, lives, and its session wasn't ended.
    pub fn verify(&self, bearer: &str) -> Result<Caller, Problem> {
        let claims = self.read(bearer).ok_or_else(unauthenticated)?;
        let expires = Millis(claims.exp.saturating_mul(1000));
        let now = self.0.clock.now();
        if claims.nbf.is_some_and(|begins| now < Millis(begins.saturating_mul(1000))) {
            return Err(unauthenticated());
        }
        if now >= expires {
            return Err(Problem::new(Code::TokenExpired, "the access token has ended, refresh it"));
        }
        if self.0.revocations.contains(claims.sid) {
            return Err(Problem::new(Code::SessionRevoked, "this login was ended, log in again"));
        }
        Ok(Caller { user: claims.sub, role: claims.role, session: claims.sid, expires })
    }

    /// A new access token of `session`.
    pub fn issue(&self, user: UserId, role: Role, session: SessionId) -> String {
        let now = self.0.clock.now();
        let claims = Claims {
            sub: user,
            role,
            sid: session,
            jti: Uuid::from_bytes(Dice::secret::<16>()),
            iat: now.0.div_euclid(1000),
            exp: (now + ACCESS_TTL).0.div_euclid(1000),
            nbf: None,
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
        };
        jsonwebtoken::encode(&self.0.header, &claims, &self.0.signer)
            .expect("claims of plain words and numbers sign under any secret")
    }

    /// Has the session been ended while its access tokens may still live? For listeners that
    /// lagged behind [`Tokens::revocations`].
    pub fn is_revoked(&self, session: SessionId) -> bool {
        self.0.revocations.contains(session)
    }

    /// Sessions as they are ended, here or on another node.
    pub fn revocations(&self) -> broadcast::Receiver<SessionId> {
        self.0.revocations.listen()
    }

    pub(crate) fn revoked(&self) -> &Revocations {
        &self.0.revocations
    }

    pub(crate) fn write_refresh(&self, token: RefreshToken) -> String {
        token.write(&self.0.refresh_keys[0])
    }

    pub(crate) fn read_refresh(&self, text: &str) -> Option<RefreshToken> {
        RefreshToken::read(text, &self.0.refresh_keys)
    }

    fn read(&self, bearer: &str) -> Option<Claims> {
        if bearer.len() > TOKEN_MAX {
            return None;
        }
        let header = jsonwebtoken::decode_header(bearer).ok()?;
        if header.typ.as_deref() != Some(KIND) || header.crit.is_some() {
            return None;
        }
        let key = self.0.verifiers.get(header.kid.as_deref()?)?;
        let token = jsonwebtoken::decode::<Claims>(bearer, key, &self.0.validation).ok()?;
        Some(token.claims)
    }
}

/// Times are checked against our own clock, in [`Tokens::verify`].
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.required_spec_claims =
        HashSet::from(["exp", "iss", "aud", "sub"].map(str::to_owned));
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation
}

fn unauthenticated() -> Problem {
    Problem::new(Code::Unauthenticated, "a valid access token is needed")
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;
