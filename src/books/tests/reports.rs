//! Reports say what was booked, the same today and when the day is over.

use std::time::Duration;

use base::{BusinessDay, CityId, DayRange, PaymentMethod, Piasters, Tier, TripId};

use super::stand::{PRICE, Stand, admin, later};
use crate::{Books, DailyReport, ReportAsked};

const DAY: Duration = Duration::from_secs(26 * 3600);

fn of(day: BusinessDay) -> ReportAsked {
    let days = DayRange::new(day, day, 1).expect("a day");
    ReportAsked { days, city: None, tier: None, method: None }
}

async fn report(books: &Books, asked: &ReportAsked) -> DailyReport {
    books.daily_report(&admin(), asked).await.expect("a report")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_told_the_same_before_and_after_it_is_closed() {
    let stand = Stand::busy().await;
    let today = stand.books.today();
    let open = report(&stand.books, &of(today)).await;
    let rows: Vec<String> = open
        .trips
        .iter()
        .map(|row| {
            format!(
                "{} {} {}/{}/{} fares {} commission {} vat {} tips {} fees {} refunds {}",
                row.tier,
                row.method,
                row.completed,
                row.cancelled,
                row.no_drivers,
                row.fares,
                row.commission,
                row.vat,
                row.tips,
                row.cancel_fees,
                row.refunds
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            "economy card 1/0/0 fares 100 commission 13.16 vat 1.84 tips 0 fees 0 refunds 0",
            "economy cash 1/1/0 fares 100 commission 13.16 vat 1.84 tips 0 fees 15 refunds 0",
            "economy wallet 1/0/0 fares 100 commission 13.16 vat 1.84 tips 5 fees 0 refunds 10",
        ]
    );
    let company = &open.company[0];
    assert_eq!((company.deposits, company.deposits_paid), (2, Piasters::pounds(550)));
    assert_eq!((company.withdrawals, company.withdrawals_paid), (1, Piasters::pounds(40)));
    assert_eq!(company.adjustments, Piasters::pounds(7));
    // 500 came in; 100 and 5 were paid, 15 for the cancelled one, 10 and 7 came back; 30 are held.
    assert_eq!(company.riders_wallets, Piasters::pounds(367));
    assert_eq!(company.riders_held, Piasters::pounds(30));
    assert_eq!(company.drivers_debt, Piasters::pounds(15));
    assert_eq!(company.drivers_held, Piasters::pounds(20));

    let tomorrow = later(&stand.db, DAY);
    assert!(tomorrow.roll_up_days().await.expect("rolled up") >= 1);
    // What comes later is another day's.
    let rider = stand.rider;
    stand
        .post(
            &ledger::adjustment(
                admin().user,
                rider.into(),
                base::Role::Rider,
                Piasters::pounds(1),
                "late",
                None,
            )
            .expect("a wallet"),
        )
        .await;
    let closed = report(&tomorrow, &of(today)).await;
    assert_eq!(closed.trips, open.trips);
    assert_eq!(closed.company, open.company);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_nobody_closed_is_closed_when_it_is_asked_for() {
    let stand = Stand::busy().await;
    let today = stand.books.today();
    let open = report(&stand.books, &of(today)).await;
    let closed = report(&later(&stand.db, DAY), &of(today)).await;
    assert_eq!(closed, open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_tells_of_what_is_asked_for() {
    let stand = Stand::busy().await;
    let asked = of(stand.books.today());
    let check = async |asked: ReportAsked, expected: usize| {
        let report = report(&stand.books, &asked).await;
        assert_eq!(report.trips.len(), expected, "{asked:?}");
        assert_eq!(report.company, []);
    };
    check(ReportAsked { method: Some(PaymentMethod::Cash), ..asked }, 1).await;
    check(ReportAsked { tier: Some(Tier::Economy), ..asked }, 3).await;
    check(ReportAsked { tier: Some(Tier::Premium), ..asked }, 0).await;
    check(ReportAsked { city: Some(CityId(1)), ..asked }, 3).await;
    check(ReportAsked { city: Some(CityId(99)), ..asked }, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_paid_for_later_changes_the_day_on_which_it_ended() {
    let mut stand = Stand::empty().await;
    let (trip, driver) = (TripId::new(), stand.driver);
    stand.trip(trip, driver, "completed", "card", Piasters::ZERO).await;
    let yesterday = stand.books.today().before();
    let ended = yesterday.end().0 - 1_000;
    let sql = format!(
        "UPDATE trips SET payment_status = 'failed', created_at = to_timestamp({ended} / 1000.0), \
         ended_at = to_timestamp({ended} / 1000.0) WHERE id = '{trip}'"
    );
    stand.run(&sql).await;
    stand.books.roll_up_days().await.expect("rolled up");
    let before = report(&stand.books, &of(yesterday)).await;
    assert_eq!((before.trips[0].fares, before.trips[0].unpaid), (PRICE, PRICE));

    stand.run(&format!("UPDATE trips SET payment_status = 'paid' WHERE id = '{trip}'")).await;
    let paid = stand.settlement(trip, driver, PaymentMethod::Card, Piasters::ZERO);
    stand.step(&paid).await;
    let tomorrow = later(&stand.db, DAY);
    tomorrow.roll_up_days().await.expect("rolled up");
    let after = report(&tomorrow, &of(yesterday)).await;
    assert_eq!((after.trips[0].fares, after.trips[0].unpaid), (PRICE, Piasters::ZERO));
    // The commission is of the day on which it was booked.
    assert_eq!(after.trips[0].commission, Piasters::ZERO);
}
