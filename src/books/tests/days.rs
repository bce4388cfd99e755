//! Days of 23 and 25 hours take what lies in them, to the millisecond.

use base::{BusinessDay, DayRange, TripId};

use super::stand::{Stand, admin};
use crate::{GatewaySide, ReportAsked};

/// A completed trip at `at` of which the ledger knows nothing: what a look at its day finds.
async fn unsettled(stand: &mut Stand, at: &str) -> String {
    let trip = TripId::new();
    let driver = stand.driver;
    stand.trip(trip, driver, "completed", "cash", base::Piasters::ZERO).await;
    let sql = format!(
        "UPDATE trips SET ended_at = '{at}', created_at = '{at}', requested_at = '{at}' \
         WHERE id = '{trip}'"
    );
    stand.run(&sql).await;
    format!("missing_settlement trip:{trip}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_has_what_happened_between_its_midnights() {
    // Its first and last moment, and the moments beside them.
    let days = [
        ("2026-04-24", "2026-04-23T22:00:00.000Z", "2026-04-24T20:59:59.999Z"),
        ("2026-10-29", "2026-10-28T21:00:00.000Z", "2026-10-29T21:59:59.999Z"),
        ("2026-07-01", "2026-06-30T21:00:00.000Z", "2026-07-01T20:59:59.999Z"),
    ];
    let around = [
        ("2026-04-23T21:59:59.999Z", "2026-04-24T21:00:00.000Z"),
        ("2026-10-28T20:59:59.999Z", "2026-10-29T22:00:00.000Z"),
        ("2026-06-30T20:59:59.999Z", "2026-07-01T21:00:00.000Z"),
    ];
    for ((day, first, last), (before, after)) in days.into_iter().zip(around) {
        let mut stand = Stand::empty().await;
        let day = BusinessDay::parse(day).expect("a day");
        unsettled(&mut stand, before).await;
        unsettled(&mut stand, after).await;
        let mut expected =
            vec![unsettled(&mut stand, first).await, unsettled(&mut stand, last).await];
        expected.sort();
        stand.look_at(day, GatewaySide::NotSetUp).await;
        assert_eq!(stand.open().await, expected, "{day}");

        // A report of the three days counts each trip once.
        let days = DayRange::new(day.before(), day.next(), 3).expect("three days");
        let asked = ReportAsked { days, city: None, tier: None, method: None };
        let report = stand.books.daily_report(&admin(), &asked).await.expect("a report");
        let counts: Vec<_> =
            report.trips.iter().map(|row| (row.day.clone(), row.completed)).collect();
        let counted =
            [(day.before(), 1), (day, 2), (day.next(), 1)].map(|(day, n)| (day.to_string(), n));
        assert_eq!(counts, counted);
    }
}
