//! The field's words that several rooms share: vehicle tiers and payment methods; and how a room
//! writes words of its own.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Writes an enum's names once, for the database, the wire, the documents and the log. Whoever uses
/// it needs `serde` and `utoipa`.
#[macro_export]
macro_rules! words {
    ($(#[doc = $doc:literal])* $name:ident {
        $($(#[$inner:meta])* $word:ident = $text:literal),* $(,)?
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[derive(::serde::Serialize, ::serde::Deserialize)]
        pub enum $name { $($(#[$inner])* #[serde(rename = $text)] $word),* }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$word),*];

            /// The name in the database and on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$word => $text),* }
            }

            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|word| word.name() == text)
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.name())
            }
        }

        // Derived, it would not see names that come out of a macro.
        impl ::utoipa::PartialSchema for $name {
            fn schema() -> ::utoipa::openapi::RefOr<::utoipa::openapi::Schema> {
                let about = concat!($($doc, "\n"),*).trim();
                ::utoipa::openapi::ObjectBuilder::new()
                    .schema_type(::utoipa::openapi::Type::String)
                    .description((!about.is_empty()).then_some(about))
                    .enum_values(Some(Self::ALL.iter().map(|word| word.name())))
                    .into()
            }
        }

        impl ::utoipa::ToSchema for $name {}
    };
}

/// A class of vehicle and of fare.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    Economy,
    Comfort,
    Premium,
    Xl,
}

impl Tier {
    pub const ALL: [Self; 4] = [Self::Economy, Self::Comfort, Self::Premium, Self::Xl];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Economy => "economy",
            Self::Comfort => "comfort",
            Self::Premium => "premium",
            Self::Xl => "xl",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.name() == text)
    }

    /// Position in [`Tier::ALL`], for masks and tables.
    pub const fn index(self) -> usize {
        match self {
            Self::Economy => 0,
            Self::Comfort => 1,
            Self::Premium => 2,
            Self::Xl => 3,
        }
    }

    /// May a car of this tier take a trip that asked for `asked`: the same tier or a higher one.
    /// An XL car is a large economy car: it serves economy and XL, and only XL cars seat an XL
    /// party.
    pub const fn serves(self, asked: Self) -> bool {
        match (asked, self) {
            (Self::Economy, _)
            | (Self::Comfort, Self::Comfort | Self::Premium)
            | (Self::Premium, Self::Premium)
            | (Self::Xl, Self::Xl) => true,
            (Self::Comfort, Self::Economy | Self::Xl)
            | (Self::Premium, Self::Economy | Self::Comfort | Self::Xl)
            | (Self::Xl, Self::Economy | Self::Comfort | Self::Premium) => false,
        }
    }
}

/// How a trip is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentMethod {
    Cash,
    Wallet,
    Card,
}

impl PaymentMethod {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cash => "cash",
            Self::Wallet => "wallet",
            Self::Card => "card",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Cash, Self::Wallet, Self::Card].into_iter().find(|method| method.name() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_car_serves_its_own_tier_and_lower_ones() {
        let served = |car: Tier| -> Vec<&str> {
            Tier::ALL.into_iter().filter(|asked| car.serves(*asked)).map(Tier::name).collect()
        };
        assert_eq!(served(Tier::Economy), ["economy"]);
        assert_eq!(served(Tier::Comfort), ["economy", "comfort"]);
        assert_eq!(served(Tier::Premium), ["economy", "comfort", "premium"]);
        assert_eq!(served(Tier::Xl), ["economy", "xl"]);
    }
}
