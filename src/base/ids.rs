//! Ids: opaque, 16 bytes, ordered by time of creation (UUID version 7, RFC 9562).
//!
//! A type per kind of thing, so that a rider can't be passed where a driver is meant. On the wire
//! and in the database they are plain UUIDs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta] $name:ident),* $(,)?) => {$(
        #[$doc]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[derive(Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = Uuid)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id; later ones sort after earlier ones of this process.
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            pub const fn from_u128(value: u128) -> Self {
                Self(Uuid::from_u128(value))
            }

            pub const fn as_u128(self) -> u128 {
                self.0.as_u128()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(value: Uuid) -> Self {
                Self(value)
            }
        }

        impl From<$name> for Uuid {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    )*};
}

id! {
    /// An account: rider, driver or admin.
    UserId,
    /// An account in its role as rider; the same number as its [`UserId`].
    RiderId,
    /// An account in its role as driver; the same number as its [`UserId`].
    DriverId,
    /// A trip, from the request to its end.
    TripId,
    /// A trip shown to one driver.
    OfferId,
    /// A login: the family of refresh tokens that came from it.
    SessionId,
    /// A balanced set of postings.
    JournalId,
    /// A partner's key, not the key itself.
    ApiKeyId,
    /// A phone that takes pushes.
    DeviceId,
    /// Something told to one person.
    NotificationId,
    /// A campaign: a code that riders redeem.
    PromoCodeId,
    /// A rider's right to something off his trips.
    PromoCreditId,
}

impl From<RiderId> for UserId {
    fn from(id: RiderId) -> Self {
        Self(id.0)
    }
}

impl From<DriverId> for UserId {
    fn from(id: DriverId) -> Self {
        Self(id.0)
    }
}

impl UserId {
    pub const fn as_rider(self) -> RiderId {
        RiderId(self.0)
    }

    pub const fn as_driver(self) -> DriverId {
        DriverId(self.0)
    }
}

/// A city the company serves: key of table `cities`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct CityId(pub i16);
