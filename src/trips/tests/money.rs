//! The money of trips to the last piaster: promo, cash, what is owed. A fare is 100, of which the
//! company has 15 %.

use base::{Caller, DriverId, PaymentMethod, Piasters, PromoCreditId, TripId, UserId};
use events::Once;
use promo::Offer;

use super::new_trip;
use super::stand::{Stand, refusal, stand};
use crate::model::{CancelReason, NewTrip, Party, PaymentStatus, Status};
use crate::refusal::{Refusal, TripError};
use crate::rules::Command;

impl Stand {
    /// A gift of `amount` piasters for trips.
    async fn granted(&self, rider: &Caller, amount: i64) -> PromoCreditId {
        let id = PromoCreditId::new();
        sqlx::query(
            "INSERT INTO promo_credits (id, rider_id, amount, reason, granted_by, expires_at, \
               created_at) VALUES ($1, $2, $3, 'a gift', $1, now() + interval '1 day', now())",
        )
        .bind(id.0)
        .bind(rider.user.0)
        .bind(amount)
        .execute(&mut self.owner().await)
        .await
        .expect("the owner may");
        id
    }

    async fn booked(
        &self,
        rider: &Caller,
        method: PaymentMethod,
        change: impl FnOnce(&mut NewTrip),
    ) -> Result<TripId, TripError> {
        let mut new = new_trip(rider.user.as_rider(), method);
        change(&mut new);
        Ok(self.trips.create(rider, new, Once::NONE).await?.id)
    }

    /// `kind: account amount, …` of everything that was posted for the trip, in order.
    async fn postings(&self, trip: TripId) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT j.kind || ': ' || string_agg(format('%s %s', k.name, e.amount), ', ' \
               ORDER BY e.account) \
             FROM ledger_journal j JOIN ledger_entry e ON e.journal_id = j.id \
             JOIN ledger_account_kind k ON k.id = e.account \
             WHERE j.reference = $1 OR j.key = 'due:' || $1::text \
             GROUP BY j.id, j.kind, j.created_at ORDER BY j.created_at, j.id",
        )
        .bind(trip.0)
        .fetch_all(&mut self.owner().await)
        .await
        .expect("the ledger can be read")
    }

    async fn promo_state(&self, trip: TripId) -> String {
        sqlx::query_scalar("SELECT state FROM promo_uses WHERE trip_id = $1")
            .bind(trip.0)
            .fetch_one(&mut self.owner().await)
            .await
            .expect("the trip has a promo")
    }

    async fn left_of(&self, credit: PromoCreditId) -> i64 {
        sqlx::query_scalar("SELECT amount - used FROM promo_credits WHERE id = $1")
            .bind(credit.0)
            .fetch_one(&mut self.owner().await)
            .await
            .expect("the credit is there")
    }
}

fn twenty_off(credit: PromoCreditId) -> impl FnOnce(&mut NewTrip) {
    move |new| new.promo = Some(Offer { credit, amount: Piasters(2_000) })
}

fn completed(driver: DriverId, cash: Option<i64>) -> Command {
    Command::Complete { driver, distance_m: 90, cash: cash.map(Piasters) }
}

#[tokio::test]
async fn a_promo_is_spent_with_the_settlement() {
    let stand = stand().await;
    let (rider, driver) = (stand.rider().await, stand.driver().await);
    let credit = stand.granted(&rider, 4_500).await;
    let cash = stand.booked(&rider, PaymentMethod::Cash, twenty_off(credit)).await.expect("booked");
    assert_eq!(stand.promo_state(cash).await, "reserved");
    stand.started(cash, driver).await;
    let done = stand.does(cash, completed(driver, None)).await;
    assert_eq!((done.promo, done.to_pay()), (Piasters(2_000), Piasters(8_000)));
    let settled = ["settle: driver 500, commission 1316, vat 184, promo_expense -2000"];
    assert_eq!(stand.postings(cash).await, settled);
    assert_eq!(stand.promo_state(cash).await, "spent");

    // A wallet needs, holds and pays the rest only.
    stand.fund(&rider, Piasters(9_000)).await;
    let wallet = stand.booked(&rider, PaymentMethod::Wallet, twenty_off(credit)).await;
    let wallet = wallet.expect("the rest is there");
    stand.started(wallet, driver).await;
    stand.does(wallet, completed(driver, None)).await;
    let paid = [
        "hold: rider_wallet -9000, rider_hold 9000",
        "settle: rider_wallet 1000, rider_hold -9000, driver 8500, commission 1316, vat 184, \
         promo_expense -2000",
    ];
    assert_eq!(stand.postings(wallet).await, paid);
    assert_eq!(stand.left_of(credit).await, 500);

    // There is not enough left for a third: nothing of that booking stands.
    let gone = stand.booked(&rider, PaymentMethod::Cash, twenty_off(credit)).await;
    assert!(matches!(gone, Err(TripError::PromoGone)), "{gone:?}");
    assert_eq!(stand.trips.live_count(), 0);
    stand.money_adds_up().await;
}

#[tokio::test]
async fn a_trip_without_a_fare_gives_its_promo_back() {
    let stand = stand().await;
    let (rider, driver) = (stand.rider().await, stand.driver().await);
    let credit = stand.granted(&rider, 2_000).await;
    let book = || stand.booked(&rider, PaymentMethod::Cash, twenty_off(credit));
    let first = book().await.expect("booked");
    assert_eq!(stand.left_of(credit).await, 0);
    let by = Party::Rider(rider.user.as_rider());
    stand.does(first, Command::Cancel { by, reason: CancelReason::ChangedMind }).await;
    assert_eq!(
        (stand.promo_state(first).await.as_str(), stand.left_of(credit).await),
        ("freed", 2_000)
    );
    let second = book().await.expect("booked again");
    stand.does(second, Command::NoDrivers).await;
    assert_eq!(stand.left_of(credit).await, 2_000);
    // A driver who gives the trip back leaves it as it was.
    let third = book().await.expect("booked again");
    stand.accepted(third, driver).await;
    let by = Party::Driver(driver);
    stand.does(third, Command::Cancel { by, reason: CancelReason::VehicleProblem }).await;
    assert_eq!(stand.promo_state(third).await, "reserved");
    stand.money_adds_up().await;
}

#[tokio::test]
async fn a_trip_that_could_not_be_paid_keeps_its_promo_and_bars_the_next() {
    let stand = stand().await;
    let (rider, driver) = (stand.rider().await, stand.driver().await);
    stand.fund(&rider, Piasters(9_600)).await;
    let credit = stand.granted(&rider, 2_000).await;
    let trip =
        stand.booked(&rider, PaymentMethod::Wallet, twenty_off(credit)).await.expect("booked");
    stand.started(trip, driver).await;
    // The price grew by rule, far over what is held and may be owed.
    sqlx::query("UPDATE trips SET price = 30000")
        .execute(&mut stand.owner().await)
        .await
        .expect("the owner may");
    let stand = stand.restart().await;
    assert_eq!(stand.trips.rebuild().await.expect("it comes back"), 1);
    let done = stand.does(trip, completed(driver, None)).await;
    assert_eq!((done.status, done.payment_status), (Status::Completed, PaymentStatus::Failed));
    assert_eq!(stand.promo_state(trip).await, "reserved");
    match stand.booked(&rider, PaymentMethod::Cash, |_| {}).await {
        Err(TripError::PaymentDue { due }) => assert_eq!(due, Piasters(28_000)),
        other => panic!("{other:?}"),
    }
    stand.fund(&rider, Piasters(18_400)).await;
    assert_eq!(stand.trips.pay_late(rider.user.as_rider()).await.expect("it is tried").len(), 1);
    let paid = [
        "hold: rider_wallet -9600, rider_hold 9600",
        "release: rider_wallet 9600, rider_hold -9600",
        "settle: rider_wallet -28000, driver 25500, commission 3947, vat 553, promo_expense -2000",
    ];
    assert_eq!(stand.postings(trip).await, paid);
    assert_eq!(stand.promo_state(trip).await, "spent");
    stand.booked(&rider, PaymentMethod::Cash, |_| {}).await.expect("nothing is open any more");
    stand.money_adds_up().await;
}

#[tokio::test]
async fn cash_that_was_not_the_fare_is_made_good_in_the_same_commit() {
    let stand = stand().await;
    let driver = stand.driver().await;
    let ridden = async |rider: &Caller, given: i64| {
        let allowed = |new: &mut NewTrip| new.due_allowed = Piasters(10_000);
        let trip = stand.booked(rider, PaymentMethod::Cash, allowed).await.expect("booked");
        stand.started(trip, driver).await;
        let answer = stand.trips.command(trip, completed(driver, Some(given))).await;
        (trip, answer)
    };
    let owes = async |rider: &Caller| -stand.balance("rider_due", rider.user).await;

    let exact = stand.rider().await;
    let (trip, _) = ridden(&exact, 10_000).await;
    assert_eq!(stand.postings(trip).await, ["settle: driver -1500, commission 1316, vat 184"]);

    let rider = stand.rider().await;
    let (short, _) = ridden(&rider, 9_000).await;
    let owed = [
        "settle: driver -1500, commission 1316, vat 184",
        "cash_difference: rider_due -1000, driver 1000",
    ];
    assert_eq!(stand.postings(short).await, owed);
    assert_eq!(owes(&rider).await, 1_000);
    // Change comes into the wallet and pays what is owed first.
    let (over, _) = ridden(&rider, 11_500).await;
    let credited = [
        "settle: driver -1500, commission 1316, vat 184",
        "cash_difference: rider_wallet 1500, driver -1500",
        "due_paid: rider_wallet -1000, rider_due 1000",
    ];
    assert_eq!(stand.postings(over).await, credited);
    assert_eq!((owes(&rider).await, stand.balance("rider_wallet", rider.user).await), (0, 500));
    let events = stand.trips.events_since(over, 4).await.expect("events can be read");
    assert_eq!(events[0].cash_collected, Some(Piasters(11_500)));

    // More than may be owed completes nothing; the ride is over all the same.
    let (trip, answer) = ridden(&rider, 4_999).await;
    let limit = Piasters(5_000);
    assert_eq!(refusal(answer), Refusal::CashTooShort { due: Piasters(5_001), limit });
    assert_eq!(stand.stored(trip).await.status, Status::Started);
    stand.does(trip, completed(driver, Some(5_000))).await;
    assert_eq!(owes(&rider).await, 5_000);
    stand.money_adds_up().await;
}

#[tokio::test]
async fn what_may_be_owed_while_booking_is_the_citys_to_say() {
    let stand = stand().await;
    let rider = stand.rider().await;
    let owing = UserId::from(rider.user.as_rider());
    let mut tx = stand.db.begin(&storage::Who::System).await.expect("the database answers");
    let cash = ledger::CashTaken {
        trip: TripId::new(),
        rider: owing.as_rider(),
        driver: stand.driver().await,
        to_pay: Piasters(1_000),
        taken: Piasters(0),
        due_limit: Piasters(5_000),
    };
    let journal = ledger::cash_difference(&cash, &ledger::RiderFunds::default());
    let journal = journal.expect("within the limit").expect("it is short");
    ledger::post_in_tx(&mut tx, &journal).await.expect("it is posted");
    tx.commit().await.expect("it is kept");
    let book = |allowed: i64| {
        let allow = move |new: &mut NewTrip| new.due_allowed = Piasters(allowed);
        stand.booked(&rider, PaymentMethod::Cash, allow)
    };
    for allowed in [0, 999] {
        match book(allowed).await {
            Err(TripError::PaymentDue { due }) => assert_eq!(due, Piasters(1_000)),
            other => panic!("{other:?}"),
        }
    }
    book(1_000).await.expect("as much may be owed");
}
