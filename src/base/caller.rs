//! Who asks: the account behind a request, as its access token says.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Millis, SessionId, UserId};

/// What an account may be. On the wire `customer` is read as [`Role::Rider`], never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    #[serde(alias = "customer")]
    Rider,
    Driver,
    Admin,
}

impl Role {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rider => "rider",
            Self::Driver => "driver",
            Self::Admin => "admin",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "rider" | "customer" => Some(Self::Rider),
            "driver" => Some(Self::Driver),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

/// A verified access token's holder. Nothing but `identity` makes one from a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub user: UserId,
    pub role: Role,
    pub session: SessionId,
    /// When the access token ends; a socket needs a fresh one by then.
    pub expires: Millis,
}
