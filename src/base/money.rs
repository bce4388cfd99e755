//! Money in piasters, a hundredth of an Egyptian pound, always a whole number.
//!
//! On the wire an amount is a JSON number of pounds with at most two decimals (`42.5`). It is read
//! from the digits themselves and printed from the integer: no float on the way in or out.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::value::RawValue;

/// An amount in piasters; negative amounts flow out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Piasters(pub i64);

/// A share in hundredths of a percent: 1500 is 15 %.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct BasisPoints(pub i64);

/// Why a text is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("not a number of pounds")]
    NotANumber,
    #[error("more than two decimals")]
    TooPrecise,
    #[error("too large an amount")]
    TooLarge,
}

impl Piasters {
    pub const ZERO: Self = Self(0);

    pub const fn pounds(pounds: i64) -> Self {
        Self(pounds * 100)
    }

    /// Reads a JSON number of pounds: `42`, `42.5`, `42.50`, `-3.25`. Exponents are refused:
    /// no till prints them, and `1e2` is more likely a mistake than an amount.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
        if whole.is_empty() || part.is_empty() {
            return Err(MoneyError::NotANumber);
        }
        if !whole.bytes().chain(part.bytes()).all(|b| b.is_ascii_digit()) {
            return Err(MoneyError::NotANumber);
        }
        let part = part.trim_end_matches('0');
        let cents = match part.len() {
            0 => 0,
            1 => part.parse::<i64>().map_err(|_| MoneyError::NotANumber)? * 10,
            2 => part.parse::<i64>().map_err(|_| MoneyError::NotANumber)?,
            _ => return Err(MoneyError::TooPrecise),
        };
        let whole: i64 = whole.parse().map_err(|_| MoneyError::TooLarge)?;
        whole
            .checked_mul(100)
            .and_then(|p| p.checked_add(cents))
            .map(|p| Self(sign * p))
            .ok_or(MoneyError::TooLarge)
    }

    /// `self × share`, rounded half to even, through 128 bits so that nothing overflows on the way.
    pub fn share(self, share: BasisPoints) -> Self {
        self.part(share.0, 10_000)
    }

    /// `self × numerator / denominator`, rounded half to even, through 128 bits; `denominator` > 0.
    pub fn part(self, numerator: i64, denominator: i64) -> Self {
        let product = i128::from(self.0) * i128::from(numerator);
        Self(i64::try_from(half_even(product, i128::from(denominator))).unwrap_or(i64::MAX))
    }

    /// Rounded to the nearest multiple of `step` piasters, halves up (a fare is never negative).
    pub const fn round_to(self, step: i64) -> Self {
        Self((self.0 + step / 2).div_euclid(step) * step)
    }

    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    pub const fn abs(self) -> Self {
        Self(self.0.abs())
    }
}

/// `numerator / denominator` rounded half to even; `denominator` > 0.
fn half_even(numerator: i128, denominator: i128) -> i128 {
    let whole = numerator.div_euclid(denominator);
    let twice = numerator.rem_euclid(denominator) * 2;
    match twice.cmp(&denominator) {
        std::cmp::Ordering::Less => whole,
        std::cmp::Ordering::Greater => whole + 1,
        std::cmp::Ordering::Equal => whole + (whole & 1),
    }
}

impl fmt::Display for Piasters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, part) = (self.0.unsigned_abs() / 100, self.0.unsigned_abs() % 100);
        match part {
            0 => write!(f, "{sign}{whole}"),
            p if p % 10 == 0 => write!(f, "{sign}{whole}.{}", p / 10),
            p => write!(f, "{sign}{whole}.{p:02}"),
        }
    }
}

impl Serialize for Piasters {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_string()).map_err(S::Error::custom)?.serialize(out)
    }
}

impl<'de> Deserialize<'de> for Piasters {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(input)?;
        Self::parse(raw.get()).map_err(D::Error::custom)
    }
}

impl Add for Piasters {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Piasters {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Neg for Piasters {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl AddAssign for Piasters {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl SubAssign for Piasters {
    fn sub_assign(&mut self, other: Self) {
        self.0 -= other.0;
    }
}

impl Sum for Piasters {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_amount_is_read_from_its_digits() {
        let check = |text: &str, expected: Result<i64, MoneyError>| {
            assert_eq!(Piasters::parse(text).map(|p| p.0), expected, "{text}");
        };
        check("42.5", Ok(4250));
        check("42", Ok(4200));
        check("0.07", Ok(7));
        check("-3.25", Ok(-325));
        check("42.500", Ok(4250));
        check("42.505", Err(MoneyError::TooPrecise));
        check("1e2", Err(MoneyError::NotANumber));
        check("\"42\"", Err(MoneyError::NotANumber));
        check("NaN", Err(MoneyError::NotANumber));
        check("4.", Err(MoneyError::NotANumber));
        check("99999999999999999999", Err(MoneyError::TooLarge));
        check("92233720368547758.08", Err(MoneyError::TooLarge));
    }

    #[test]
    fn a_share_rounds_half_to_even() {
        let share = |amount, bp| Piasters(amount).share(BasisPoints(bp)).0;
        assert_eq!(share(10_000, 1500), 1500);
        assert_eq!(share(50, 100), 0); // 0.5 -> 0
        assert_eq!(share(150, 100), 2); // 1.5 -> 2
        assert_eq!(share(1030, 1500), 154); // 154.5 -> 154
        assert_eq!(share(-150, 100), -2);
    }

    #[test]
    fn a_fare_rounds_to_half_pounds() {
        assert_eq!(Piasters(4224).round_to(50).0, 4200);
        assert_eq!(Piasters(4225).round_to(50).0, 4250);
        assert_eq!(Piasters(4275).round_to(50).0, 4300);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(amount in -1_000_000_000_000i64..1_000_000_000_000) {
            let json = serde_json::to_string(&Piasters(amount)).expect("an amount prints");
            prop_assert_eq!(serde_json::from_str::<Piasters>(&json).expect("it reads"), Piasters(amount));
        }
    }
}
