//! Time as a value: milliseconds since 1970 UTC, passed in rather than read.
//!
//! [`Clock::system`] is the only reader of the machine's clock; tests hold a [`Clock::manual`] and
//! turn it by hand.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A moment: milliseconds since 1970-01-01T00:00:00Z. On the wire RFC 3339, UTC, three decimals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Millis(pub i64);

impl Millis {
    /// Signed time from `earlier` to `self` in milliseconds.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Time from `earlier` to `self`, zero when `earlier` is later.
    pub fn after(self, earlier: Self) -> Duration {
        Duration::from_millis(self.since(earlier).max(0).unsigned_abs())
    }

    /// `None` outside the years −9999 to 9999.
    pub fn timestamp(self) -> Option<Timestamp> {
        Timestamp::from_millisecond(self.0).ok()
    }

    /// As a header has it (RFC 9110): `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn http_date(self) -> String {
        let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
        let text = self.timestamp().and_then(|at| printer.timestamp_to_rfc9110_string(&at).ok());
        text.unwrap_or_default()
    }

    /// Reads RFC 3339, any offset, any number of decimals.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<Timestamp>().ok().map(|at| Self(at.as_millisecond()))
    }
}

impl From<Timestamp> for Millis {
    fn from(at: Timestamp) -> Self {
        Self(at.as_millisecond())
    }
}

impl Add<Duration> for Millis {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Millis {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.timestamp() {
            Some(at) => write!(f, "{at:.3}"),
            None => write!(f, "{}ms", self.0),
        }
    }
}

impl fmt::Debug for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(input)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("expected an RFC 3339 timestamp"))
    }
}

#[derive(Clone)]
enum Source {
    System,
    Manual(Arc<AtomicI64>),
    Custom(Arc<dyn Fn() -> Millis + Send + Sync>),
}

/// Where "now" comes from. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Source);

impl Clock {
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands until [`Clock::advance`] is called on it or a clone of it.
    pub fn manual(start: Millis) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.0))))
    }

    /// A clock read through `now`, for example from a runtime's paused time.
    pub fn custom(now: impl Fn() -> Millis + Send + Sync + 'static) -> Self {
        Self(Source::Custom(Arc::new(now)))
    }

    pub fn now(&self) -> Millis {
        match &self.0 {
            Source::System => Timestamp::now().into(),
            Source::Manual(at) => Millis(at.load(Ordering::SeqCst)),
            Source::Custom(now) => now(),
        }
    }

    /// Turns a manual clock forward; nothing happens to the others.
    pub fn advance(&self, span: Duration) {
        if let Source::Manual(at) = &self.0 {
            let span = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
            at.fetch_add(span, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_prints_as_rfc_3339_with_three_decimals() {
        assert_eq!(Millis(1_700_000_000_120).to_string(), "2023-11-14T22:13:20.120Z");
        assert_eq!(Millis(0).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_moment_prints_as_headers_have_it() {
        assert_eq!(Millis(784_111_777_000).http_date(), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn a_moment_is_read_with_any_offset() {
        assert_eq!(Millis::parse("2023-11-15T00:13:20.12+02:00"), Some(Millis(1_700_000_000_120)));
        assert_eq!(Millis::parse("yesterday"), None);
    }

    #[test]
    fn a_manual_clock_stands_until_turned() {
        let clock = Clock::manual(Millis(5));
        let twin = clock.clone();
        assert_eq!(clock.now(), Millis(5));
        twin.advance(Duration::from_millis(7));
        assert_eq!(clock.now(), Millis(12));
    }
}
