//! A statement adds up to the ledger.

use base::{DayRange, Piasters, Role, UserId};
use ledger::Account;

use super::stand::{Stand, admin, caller};
use crate::StatementView;

fn today(stand: &Stand) -> DayRange {
    let today = stand.books.today();
    DayRange::new(today, today, 1).expect("a day")
}

async fn own(stand: &Stand, user: UserId, role: Role) -> StatementView {
    let caller = caller(user, role);
    stand.books.statement(&caller, user, role, today(stand)).await.expect("a statement")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_riders_statement_ends_with_his_balance() {
    let stand = Stand::busy().await;
    let user = UserId::from(stand.rider);
    let told = own(&stand, user, Role::Rider).await;
    let kinds: Vec<String> =
        told.lines.iter().map(|line| format!("{} {}", line.kind, line.amount)).collect();
    assert_eq!(
        kinds,
        [
            "deposit 500",
            "hold 0",
            "settle -100",
            "cancel_fee -15",
            "hold 0",
            "tip -5",
            "goodwill 10",
            "adjustment 7"
        ]
    );
    assert_eq!(told.opening.balance, Piasters::ZERO);
    assert_eq!(told.closing.balance, stand.balance(Account::RiderWallet(user)).await);
    assert_eq!(told.closing.held, Piasters::pounds(30));
    assert_eq!(told.lines[2].trip_id, Some(stand.wallet_trip.0));
    assert_eq!((told.lines[2].commission, told.driver), (None, None));
    // A reason that would be a formula is none in a table.
    let csv = told.csv();
    assert!(csv.contains("\"'=a present\""), "{csv}");
    assert_eq!(csv.lines().count(), told.lines.len() + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drivers_statement_shows_commission_cash_tips_and_withdrawals() {
    let stand = Stand::busy().await;
    let driver = own(&stand, stand.driver.into(), Role::Driver).await;
    let totals = driver.driver.expect("a driver's");
    assert_eq!((totals.trips, totals.fares), (2, Piasters::pounds(200)));
    assert_eq!((totals.earnings, totals.commission), (Piasters::pounds(170), Piasters::pounds(30)));
    assert_eq!((totals.tips, totals.withdrawals), (Piasters::pounds(5), Piasters::pounds(40)));
    assert_eq!(totals.cash_collected, Piasters::ZERO);
    assert_eq!(driver.closing.held, Piasters::pounds(20));

    let debtor = own(&stand, stand.debtor.into(), Role::Driver).await;
    let totals = debtor.driver.expect("a driver's");
    assert_eq!(
        (totals.earnings, totals.cash_collected),
        (Piasters::pounds(85), Piasters::pounds(100))
    );
    assert_eq!((debtor.closing.balance, debtor.closing.due), (Piasters(-1_500), Piasters(1_500)));
}

#[tokio::test(flavor = "multi_thread")]
async fn days_follow_each_other() {
    let stand = Stand::busy().await;
    let user = UserId::from(stand.rider);
    let (who, today) = (caller(user, Role::Rider), stand.books.today());
    let of = async |first, last| {
        let days = DayRange::new(first, last, 9).expect("days");
        stand.books.statement(&who, user, Role::Rider, days).await.expect("a statement")
    };
    let before = of(today.back(2), today.before()).await;
    let after = of(today.next(), today.next()).await;
    let whole = of(today.before(), today.next()).await;
    assert_eq!((before.lines.len(), after.lines.len()), (0, 0));
    assert_eq!(before.closing.balance, Piasters::ZERO);
    assert_eq!(after.opening, whole.closing);
    assert_eq!(after.closing, whole.closing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_its_owners_and_the_staffs() {
    let stand = Stand::busy().await;
    let user = UserId::from(stand.rider);
    let days = today(&stand);
    let staff = stand.books.statement(&admin(), user, Role::Rider, days).await.expect("read");
    assert_eq!(staff.lines.len(), 8);
    // Even if somebody else's were asked for, the tables show nothing.
    let nosy = caller(stand.driver.into(), Role::Driver);
    let seen = stand.books.statement(&nosy, user, Role::Rider, days).await.expect("nothing");
    assert_eq!((seen.lines.len(), seen.closing.balance), (0, Piasters::ZERO));
    let of_admin = stand.books.statement(&admin(), admin().user, Role::Admin, days).await;
    assert!(of_admin.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_does_not_add_up_is_not_given() {
    let mut stand = Stand::busy().await;
    let user = UserId::from(stand.rider);
    let sql = format!(
        "UPDATE ledger_balance SET balance = balance + 1 WHERE account = 1 AND owner = '{user}'"
    );
    stand.tamper(&sql).await;
    let days = today(&stand);
    let refused = stand.books.statement(&caller(user, Role::Rider), user, Role::Rider, days).await;
    assert!(refused.is_err());
}
