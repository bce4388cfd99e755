//! Outward shapes of accounts and tokens.

use std::fmt;

use base::{Role, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A new account.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignUp {
    /// An Egyptian mobile number in any usual form.
    #[schema(example = "+201012345678")]
    pub phone: String,
    /// 8 to 200 characters, a letter and a digit among them. Not trimmed.
    pub password: String,
    pub name: String,
    /// `rider` or `driver`.
    pub role: Role,
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogIn {
    pub phone: String,
    pub password: String,
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckPhone {
    pub phone: String,
}

#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PhoneChecked {
    pub exists: bool,
}

#[derive(Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refresh {
    pub refresh_token: String,
}

/// A one-use code, as in the link that opens the live page.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    pub code: String,
}

#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogOut {
    #[serde(default)]
    pub refresh_token: Option<String>,
}

/// An account as its owner sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserView {
    pub id: UserId,
    pub phone: String,
    pub name: String,
    pub role: Role,
}

/// Answer to sign-up and login.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignedIn {
    pub user: UserView,
    #[serde(flatten)]
    pub tokens: TokenPair,
}

/// A fresh pair: the access token, and the refresh token that replaces the one before.
#[derive(Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenPair {
    /// Access token, for `Authorization: Bearer`.
    pub token: String,
    pub refresh_token: String,
    /// Seconds until the access token ends.
    pub expires_in: u64,
}

impl fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenPair").field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}
