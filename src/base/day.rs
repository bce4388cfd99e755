//! Business days: from midnight to midnight in Cairo, so 23, 24 or 25 hours long.

use std::fmt;

use crate::Millis;
use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;

/// The zone whose midnights divide the books.
const ZONE: &str = "Africa/Cairo";
/// Days that the books can know; the calendar goes further than that both ways.
const FIRST: Date = date(2000, 1, 1);
const LAST: Date = date(2999, 12, 31);

/// A day of the books, between the years 2000 and 2999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BusinessDay(Date);

impl BusinessDay {
    /// The day in which `now` lies.
    pub fn of(now: Millis) -> Self {
        let at = now.timestamp().unwrap_or(Timestamp::UNIX_EPOCH);
        Self(at.to_zoned(zone()).date().clamp(FIRST, LAST))
    }

    /// Reads `2026-01-31`.
    pub fn parse(text: &str) -> Option<Self> {
        let day: Date = text.parse().ok()?;
        // The calendar's parser takes a time of day too.
        (text.len() == 10 && (FIRST..=LAST).contains(&day)).then_some(Self(day))
    }

    /// Its first moment. Where the hour after midnight does not exist, that is the hour after it.
    pub fn start(self) -> Millis {
        let start = self.0.to_zoned(zone()).expect("a day within the calendar begins");
        Millis::from(start.timestamp())
    }

    /// The first moment after it.
    pub fn end(self) -> Millis {
        let next = self.0.tomorrow().expect("the calendar goes beyond the books");
        Millis::from(next.to_zoned(zone()).expect("it begins").timestamp())
    }

    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.tomorrow().expect("the calendar goes beyond the books").min(LAST))
    }

    #[must_use]
    pub fn before(self) -> Self {
        Self(self.0.yesterday().expect("the calendar goes beyond the books").max(FIRST))
    }

    /// `days` earlier.
    #[must_use]
    pub fn back(self, days: u16) -> Self {
        (0..days).fold(self, |day, _| day.before())
    }

    /// The last day of the month before.
    #[must_use]
    pub fn last_of_month_before(self) -> Self {
        Self(self.0.first_of_month()).before()
    }

    /// The first day of its month.
    #[must_use]
    pub fn first_of_month(self) -> Self {
        Self(self.0.first_of_month().max(FIRST))
    }
}

impl fmt::Display for BusinessDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn zone() -> TimeZone {
    TimeZone::get(ZONE).expect("the zones are part of the program")
}

/// Days one after another, both ends included, not the wrong way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayRange {
    first: BusinessDay,
    last: BusinessDay,
}

impl DayRange {
    /// `None` when they are the wrong way round, or more than `most` days.
    pub fn new(first: BusinessDay, last: BusinessDay, most: u16) -> Option<Self> {
        (first <= last && first >= last.back(most.saturating_sub(1)))
            .then_some(Self { first, last })
    }

    pub const fn first(self) -> BusinessDay {
        self.first
    }

    pub const fn last(self) -> BusinessDay {
        self.last
    }

    pub fn days(self) -> impl Iterator<Item = BusinessDay> {
        std::iter::successors(Some(self.first), move |day| (*day < self.last).then(|| day.next()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> BusinessDay {
        BusinessDay::parse(text).expect("a day")
    }

    #[test]
    fn a_business_day_has_as_many_hours_as_cairos_clocks_say() {
        let check = |text: &str, hours: i64, from: &str| {
            let day = day(text);
            assert_eq!(day.end().since(day.start()), hours * 3_600_000, "{text}");
            assert_eq!(day.start().to_string(), from, "{text}");
            assert_eq!(day.next().start(), day.end(), "{text}");
        };
        check("2026-01-10", 24, "2026-01-09T22:00:00.000Z");
        // Summer time begins at midnight: the day's first hour does not exist.
        check("2026-04-24", 23, "2026-04-23T22:00:00.000Z");
        check("2026-04-25", 24, "2026-04-24T21:00:00.000Z");
        // It ends at midnight too: the last hour of the day comes twice.
        check("2026-10-29", 25, "2026-10-28T21:00:00.000Z");
        check("2026-10-30", 24, "2026-10-29T22:00:00.000Z");
        check("2027-04-30", 23, "2027-04-29T22:00:00.000Z");
        check("2027-10-28", 25, "2027-10-27T21:00:00.000Z");
    }

    #[test]
    fn a_moment_lies_in_one_day() {
        let check = |at: &str, expected: &str| {
            let day = BusinessDay::of(Millis::parse(at).expect("a moment"));
            assert_eq!(day.to_string(), expected, "{at}");
        };
        check("2026-04-23T21:59:59.999Z", "2026-04-23");
        check("2026-04-23T22:00:00.000Z", "2026-04-24");
        check("2026-04-24T20:59:59.999Z", "2026-04-24");
        // 23:30 comes twice, both times on the 29th.
        check("2026-10-29T20:30:00.000Z", "2026-10-29");
        check("2026-10-29T21:30:00.000Z", "2026-10-29");
        check("2026-10-29T22:00:00.000Z", "2026-10-30");
    }

    #[test]
    fn days_are_read_and_counted() {
        for wrong in ["", "2026-1-1", "2026-02-29", "1999-12-31", "3000-01-01", "2026-01-01T00:00"]
        {
            assert_eq!(BusinessDay::parse(wrong), None, "{wrong}");
        }
        assert_eq!(day("2026-03-01").back(1).to_string(), "2026-02-28");
        assert_eq!(day("2026-03-17").last_of_month_before().to_string(), "2026-02-28");
        let range = |first: &str, last: &str, most| DayRange::new(day(first), day(last), most);
        assert_eq!(range("2026-01-02", "2026-01-01", 9), None);
        assert_eq!(range("2026-01-01", "2026-01-03", 2), None);
        let days = range("2026-01-01", "2026-01-03", 3).expect("three days");
        assert_eq!(days.days().count(), 3);
    }
}
