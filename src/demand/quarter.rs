//! Quarters of an hour, and which of them are alike.

use std::time::Duration;

use base::Millis;
use jiff::ToSpan;
use jiff::tz::TimeZone;

/// A quarter of an hour, counted from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Quarter(pub i64);

impl Quarter {
    pub const LENGTH: Duration = Duration::from_secs(900);
    const MS: i64 = 900_000;

    pub const fn of(at: Millis) -> Self {
        Self(at.0.div_euclid(Self::MS))
    }

    pub const fn start(self) -> Millis {
        Millis(self.0 * Self::MS)
    }

    /// `count` quarters later.
    pub const fn plus(self, count: i64) -> Self {
        Self(self.0 + count)
    }

    /// The quarter that had the same time of the day, on the city's clock, `weeks` ago.
    pub(crate) fn weeks_ago(self, weeks: i64, zone: &TimeZone) -> Self {
        let local = zone.to_datetime(self.start().timestamp().unwrap_or_default());
        let then = local.checked_sub((7 * weeks).days()).ok();
        let then = then.and_then(|then| zone.to_timestamp(then).ok());
        // Out of range: no count is that old.
        then.map_or(Self(i64::MIN / Self::MS), |then| Self::of(then.into()))
    }
}
