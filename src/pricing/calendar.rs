//! Multipliers by time of day and by event.
//!
//! A window is read on the city's own clock, so it moves with daylight saving time; it may cross
//! midnight, then its day is the one it starts on. Where windows overlap the highest counts.

use base::{CityId, Millis, Point};
use geo::Outline;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::tariff::Factor;

/// Hours of a day, or of one weekday, that cost more or less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub city: CityId,
    /// 0 = Sunday … 6 = Saturday; `None` is every day.
    pub day: Option<i8>,
    pub start_hour: i8,
    /// The first hour that is outside; not after `start_hour` means over midnight.
    pub end_hour: i8,
    pub factor: Factor,
    /// What riders read beside the price.
    pub name: String,
}

impl Window {
    fn holds(&self, local: DateTime) -> bool {
        let over_midnight = self.end_hour <= self.start_hour;
        let hour = local.hour();
        let today = |at: DateTime| {
            self.day.is_none_or(|day| day == at.date().weekday().to_sunday_zero_offset())
        };
        if over_midnight && hour < self.end_hour {
            return local.date().yesterday().is_ok_and(|date| today(date.at(0, 0, 0, 0)));
        }
        hour >= self.start_hour && (over_midnight || hour < self.end_hour) && today(local)
    }
}

/// A happening that raises prices around it while it lasts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub city: CityId,
    pub area: Area,
    pub starts: Millis,
    /// The first moment that is outside.
    pub ends: Millis,
    pub factor: Factor,
    pub name: String,
}

/// Where an event is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Area {
    Circle { center: Point, radius_m: f64 },
    Outline(Outline),
}

impl Area {
    fn holds(&self, place: Point) -> bool {
        match self {
            Self::Circle { center, radius_m } => center.distance_m(place) <= *radius_m,
            Self::Outline(outline) => outline.holds(place),
        }
    }
}

/// A place where demand is known to be high, as operators draw it: its surge is at least this.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SurgeArea {
    pub outline: Outline,
    pub factor: Factor,
    pub name: String,
}

/// The wall clock of a zone (`Africa/Cairo`); `None` when nobody knows the zone.
pub(crate) fn local(at: Millis, zone: &str) -> Option<DateTime> {
    let zone = TimeZone::get(zone).ok()?;
    Some(at.timestamp()?.to_zoned(zone).datetime())
}

/// The window that counts now, if any holds.
pub(crate) fn time_of_day(windows: &[Window], city: CityId, local: DateTime) -> Option<&Window> {
    let here = windows.iter().filter(|window| window.city == city && window.holds(local));
    here.max_by_key(|window| window.factor)
}

/// The event that counts at this place and time, if there is any.
pub(crate) fn event(events: &[Event], city: CityId, pickup: Point, now: Millis) -> Option<&Event> {
    let here = events.iter().filter(|event| {
        event.city == city && (event.starts..event.ends).contains(&now) && event.area.holds(pickup)
    });
    here.max_by_key(|event| event.factor)
}

/// The drawn surge of the place, if there is any.
pub(crate) fn surge_area(areas: &[SurgeArea], pickup: Point) -> Option<&SurgeArea> {
    areas.iter().filter(|area| area.outline.holds(pickup)).max_by_key(|area| area.factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAIRO: &str = "Africa/Cairo";

    /// The seeded windows.
    fn windows() -> Vec<Window> {
        [
            (None, 7, 9, 12_000),
            (None, 17, 20, 13_000),
            (None, 23, 5, 11_000),
            (Some(5), 20, 23, 14_000),
        ]
        .map(|(day, start_hour, end_hour, factor)| Window {
            city: CityId(1),
            day,
            start_hour,
            end_hour,
            factor: Factor(factor),
            name: String::new(),
        })
        .to_vec()
    }

    #[track_caller]
    fn check(windows: &[Window], utc: &str, zone: &str, expected: u32) {
        let at = Millis::parse(utc).expect("a time");
        let local = local(at, zone).expect("a zone");
        let found = time_of_day(windows, CityId(1), local).map_or(Factor::ONE, |one| one.factor);
        assert_eq!(found.0, expected, "{utc} is {local} in {zone}");
    }

    #[test]
    fn a_window_holds_from_its_first_hour_to_before_its_last() {
        let windows = windows();
        // Winter: Cairo is two hours ahead. 2026-01-14 is a Wednesday.
        check(&windows, "2026-01-14T04:59:59Z", CAIRO, 10_000);
        check(&windows, "2026-01-14T05:00:00Z", CAIRO, 12_000);
        check(&windows, "2026-01-14T06:59:59Z", CAIRO, 12_000);
        check(&windows, "2026-01-14T07:00:00Z", CAIRO, 10_000);
        check(&windows, "2026-01-14T15:00:00Z", CAIRO, 13_000);
        check(&windows, "2026-01-14T18:00:00Z", CAIRO, 10_000);
    }

    #[test]
    fn a_window_over_midnight_holds_on_both_sides() {
        let windows = windows();
        check(&windows, "2026-01-14T20:59:59Z", CAIRO, 10_000);
        check(&windows, "2026-01-14T21:00:00Z", CAIRO, 11_000); // 23:00
        check(&windows, "2026-01-15T00:00:00Z", CAIRO, 11_000); // 02:00
        check(&windows, "2026-01-15T02:59:59Z", CAIRO, 11_000);
        check(&windows, "2026-01-15T03:00:00Z", CAIRO, 10_000); // 05:00
    }

    #[test]
    fn a_weekdays_window_belongs_to_the_day_it_starts_on() {
        let friday_night = [Window {
            city: CityId(1),
            day: Some(5),
            start_hour: 22,
            end_hour: 4,
            factor: Factor(14_000),
            name: String::new(),
        }];
        check(&friday_night, "2026-01-16T01:00:00Z", CAIRO, 10_000); // Friday 03:00
        check(&friday_night, "2026-01-16T20:00:00Z", CAIRO, 14_000); // Friday 22:00
        check(&friday_night, "2026-01-17T01:00:00Z", CAIRO, 14_000); // Saturday 03:00
        check(&friday_night, "2026-01-17T20:00:00Z", CAIRO, 10_000); // Saturday 22:00
        check(&windows(), "2026-01-16T18:30:00Z", CAIRO, 14_000); // Friday 20:30
    }

    #[test]
    fn windows_follow_daylight_saving_time() {
        let windows = windows();
        // 2026: summer time from 24 April 00:00 (which becomes 01:00) to 29 October 24:00.
        check(&windows, "2026-04-23T05:00:00Z", CAIRO, 12_000); // 07:00, +02
        check(&windows, "2026-04-24T04:00:00Z", CAIRO, 12_000); // 07:00, +03
        check(&windows, "2026-04-24T06:00:00Z", CAIRO, 10_000); // 09:00, +03
        check(&windows, "2026-04-23T21:59:59Z", CAIRO, 11_000); // 23:59:59, then 01:00
        check(&windows, "2026-04-23T22:00:00Z", CAIRO, 11_000);
        // 23:00 comes twice on the last night.
        check(&windows, "2026-10-29T20:30:00Z", CAIRO, 11_000);
        check(&windows, "2026-10-29T21:30:00Z", CAIRO, 11_000);
        check(&windows, "2026-10-30T03:00:00Z", CAIRO, 10_000); // 05:00, +02
    }

    #[test]
    fn each_city_has_its_own_clock_and_windows() {
        let windows = windows();
        check(&windows, "2026-01-14T05:00:00Z", "America/New_York", 11_000); // 00:00
        check(&windows, "2026-01-14T12:00:00Z", "America/New_York", 12_000); // 07:00
        let at = local(Millis::parse("2026-01-14T05:00:00Z").expect("a time"), CAIRO);
        assert_eq!(time_of_day(&windows, CityId(2), at.expect("a zone")), None);
        assert_eq!(local(Millis(0), "Mars/Olympus"), None);
    }

    #[test]
    fn an_event_raises_prices_around_it_while_it_lasts() {
        let center = Point::new(30.0, 31.0).expect("in range");
        let near = Point::new(30.005, 31.0).expect("in range");
        let far = Point::new(30.02, 31.0).expect("in range");
        let concert = |factor| Event {
            city: CityId(1),
            area: Area::Circle { center, radius_m: 1000.0 },
            starts: Millis(100),
            ends: Millis(200),
            factor: Factor(factor),
            name: String::new(),
        };
        let events = [concert(12_000), concert(15_000)];
        let found = |city, place, now| {
            event(&events, CityId(city), place, Millis(now)).map(|event| event.factor.0)
        };
        assert_eq!(found(1, near, 100), Some(15_000));
        assert_eq!(found(1, near, 200), None);
        assert_eq!(found(1, far, 150), None);
        assert_eq!(found(2, near, 150), None);
    }

    #[test]
    fn an_outline_is_where_an_event_or_a_surge_area_is() {
        let place = |lat, lng| Point::new(lat, lng).expect("in range");
        let corners = [(30.0, 31.0), (30.0, 31.1), (30.1, 31.0)].map(|(lat, lng)| place(lat, lng));
        let outline = Outline::parse(corners.to_vec()).expect("a triangle");
        let match_day = [Event {
            city: CityId(1),
            area: Area::Outline(outline.clone()),
            starts: Millis(100),
            ends: Millis(200),
            factor: Factor(20_000),
            name: "Match".to_owned(),
        }];
        let areas = [SurgeArea { outline, factor: Factor(15_000), name: "Stadium".to_owned() }];
        let (inside, outside) = (place(30.03, 31.03), place(30.09, 31.09));
        assert!(event(&match_day, CityId(1), inside, Millis(150)).is_some());
        assert!(event(&match_day, CityId(1), outside, Millis(150)).is_none());
        assert!(surge_area(&areas, inside).is_some());
        assert!(surge_area(&areas, outside).is_none());
    }
}
