//! Who is who: accounts, passwords, access and refresh tokens, sessions.
//!
//! Owns the tables `users`, `sessions`, `login_codes`, `api_keys`, `api_key_usage` and `audit_log`,
//! and the set of revoked sessions. Decides nothing about what a role may do: that is in the
//! handlers' types.
//!
//! Guarantees:
//! - a password is never stored, logged or compared in plain; hashing never blocks the runtime and
//!   never runs more often at once than there are slots;
//! - an access token is HS256 under a key of ours or it is refused;    (test: `a_forged_token_…`)
//! - a refresh token is used once; a second use ends its family, except by the immediate
//!   predecessor within ten seconds;                                   (test: `a_used_token_…`)
//! - a login code is used once, within a minute;        (test: `a_code_logs_in_once_within_…`)
//! - a revoked session is refused here at once and on other nodes within five seconds;
//! - a partner's key is kept as a hash and shown once; one that was revoked is refused here at once
//!   and on other nodes within five seconds;
//! - what an operator did stands in the audit log, in the same commit.

mod accounts;
mod api_keys;
mod audit;
mod codes;
mod error;
mod model;
mod passwords;
mod phone;
mod refresh;
mod revocations;
mod store;
mod tokens;
mod wire;

#[cfg(test)]
mod tests;

pub use accounts::{Account, Identity, Settings};
pub use api_keys::{
    ApiKeyDay, ApiKeyView, ApiKeys, ApiKeysPage, MadeApiKey, NewApiKey, Partner, RotateApiKey,
    Scope,
};
pub use audit::{Audit, AuditEntry, AuditFilter, AuditObject, AuditPage, audit_in_tx};
pub use error::IdentityError;
pub use passwords::HashCost;
pub use phone::{NotAMobile, Phone};
pub use store::role_in_tx;
pub use tokens::{ACCESS_TTL, Keys, Tokens, WeakSecret};
pub use wire::{
    CheckPhone, Exchange, LogIn, LogOut, PhoneChecked, Refresh, SignUp, SignedIn, TokenPair,
    UserView,
};
