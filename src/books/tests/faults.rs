//! Faults that are planted one by one into a busy day: each is found, and nothing beside it.

use base::{Piasters, Role, TripId, UserId};
use uuid::Uuid;

use super::stand::{Stand, captured};

/// What to plant, and what must be found; `{…}` are filled in for both.
const PLANTED: &[(&str, &[&str])] = &[
    // A trip that says it was paid, and the ledger knows nothing.
    (
        "INSERT INTO trips SELECT (jsonb_populate_record(t, jsonb_build_object('id', '{new}'))).* \
         FROM trips t WHERE id = '{cash_trip}'",
        &["missing_settlement trip:{new}"],
    ),
    (
        "UPDATE ledger_balance SET balance = balance + 100 WHERE account = 1 AND owner = '{rider}'",
        &["altered_balance rider_wallet:{rider}"],
    ),
    (
        "UPDATE ledger_balance SET last_seq = last_seq + 1 \
         WHERE account = 10 AND owner = '{driver}'",
        &["altered_balance driver:{driver}"],
    ),
    (
        "UPDATE trips SET payment_status = 'failed' WHERE id = '{card_trip}'",
        &["unbacked_settlement trip:{card_trip}"],
    ),
    (
        "UPDATE trips SET status = 'cancelled', final_price = NULL WHERE id = '{card_trip}'",
        &["unbacked_settlement trip:{card_trip}"],
    ),
    (
        "UPDATE trips SET commission_bp = 2000 WHERE id = '{cash_trip}'",
        &["wrong_settlement trip:{cash_trip}"],
    ),
    (
        "INSERT INTO trips SELECT (jsonb_populate_record(t, jsonb_build_object('id', '{new}'))).* \
         FROM trips t WHERE status = 'cancelled'",
        &["missing_settlement trip:{new}"],
    ),
    ("DELETE FROM ledger_entry WHERE account = 27", &["unbalanced_journal journal:{present}"]),
    (
        "UPDATE ledger_journal SET note = 'nothing' WHERE id = '{present}'",
        &["changed_journal journal:{present}"],
    ),
    (
        "UPDATE ledger_entry SET balance_after = balance_after + 1 \
         WHERE account = 1 AND owner = '{rider}' AND account_seq = 2",
        &["broken_chain rider_wallet:{rider}"],
    ),
    (
        "DELETE FROM ledger_entry WHERE account = 1 AND owner = '{rider}' AND account_seq = 2",
        &["broken_chain rider_wallet:{rider}", "unbalanced_journal journal:{second}"],
    ),
    (
        "DELETE FROM ledger_balance WHERE account = 10 AND owner = '{debtor}'",
        &["broken_chain driver:{debtor}"],
    ),
    (
        "UPDATE trips SET hold = hold + 1 WHERE id = '{open_trip}'",
        &["wrong_hold rider_hold:{rider}"],
    ),
    (
        "UPDATE withdrawals SET amount = amount + 1 WHERE status = 'approved'",
        // Its journal holds another amount than its row says.
        &["missing_withdrawal withdrawal:{open_withdrawal}", "wrong_hold driver_hold:{driver}"],
    ),
    (
        "UPDATE withdrawals SET amount = amount + 1 WHERE id = '{withdrawal}'",
        &["missing_withdrawal withdrawal:{withdrawal}"],
    ),
    (
        "DELETE FROM withdrawals WHERE id = '{withdrawal}'",
        &["unbacked_withdrawal withdrawal:{withdrawal}"],
    ),
    (
        "UPDATE ledger_journal SET paid = -10001 WHERE kind = 'goodwill'",
        &["changed_journal journal:{goodwill}", "excess_refund trip:{wallet_trip}"],
    ),
    (
        "UPDATE ledger_balance SET floor = 5000 WHERE account = 10 AND owner = '{debtor}'",
        &["forbidden_balance driver:{debtor}"],
    ),
    (
        "ALTER TABLE ledger_entry DISABLE TRIGGER ledger_entry_immutable",
        &["unguarded_ledger trigger:ledger_entry_immutable"],
    ),
];

async fn text(stand: &mut Stand, sql: &'static str) -> String {
    sqlx::query_scalar(sql).fetch_one(&mut stand.owner).await.expect("one")
}

async fn fill(stand: &mut Stand) -> Vec<(&'static str, String)> {
    let present = "SELECT id::text FROM ledger_journal WHERE kind = 'adjustment'";
    let goodwill = "SELECT id::text FROM ledger_journal WHERE kind = 'goodwill'";
    let second = "SELECT journal_id::text FROM ledger_entry WHERE account = 1 AND account_seq = 2";
    let open = "SELECT id::text FROM withdrawals WHERE status = 'approved'";
    vec![
        ("{new}", TripId::new().to_string()),
        ("{rider}", stand.rider.to_string()),
        ("{driver}", stand.driver.to_string()),
        ("{debtor}", stand.debtor.to_string()),
        ("{wallet_trip}", stand.wallet_trip.to_string()),
        ("{cash_trip}", stand.cash_trip.to_string()),
        ("{card_trip}", stand.card_trip.to_string()),
        ("{open_trip}", stand.open_trip.to_string()),
        ("{withdrawal}", stand.withdrawal.to_string()),
        ("{present}", text(stand, present).await),
        ("{goodwill}", text(stand, goodwill).await),
        ("{second}", text(stand, second).await),
        ("{open_withdrawal}", text(stand, open).await),
    ]
}

fn filled(text: &str, words: &[(&str, String)]) -> String {
    words.iter().fold(text.to_owned(), |made, (word, value)| made.replace(word, value))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_on_which_all_fits_has_no_findings() {
    let stand = Stand::busy().await;
    let run = stand.reconcile().await;
    assert_eq!(stand.open().await, Vec::<String>::new());
    assert_eq!((run.faults, run.failure), (Some(0), None));
    // Neither has the day before, on which nothing happened.
    let yesterday = stand.books.today().before();
    let run = stand.look_at(yesterday, crate::GatewaySide::NotSetUp).await;
    assert_eq!((run.faults, run.failure), (Some(0), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_planted_fault_is_found_and_nothing_beside_it() {
    for (sql, expected) in PLANTED {
        let mut stand = Stand::busy().await;
        let words = fill(&mut stand).await;
        stand.tamper(&filled(sql, &words)).await;
        let run = stand.reconcile().await;
        let expected: Vec<_> = expected.iter().map(|text| filled(text, &words)).collect();
        assert_eq!(stand.open().await, expected, "{sql}");
        assert_eq!(run.failure, None, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_deposit_without_a_journal_is_found() {
    let mut stand = Stand::busy().await;
    let (lost, user) = (Uuid::now_v7(), UserId::from(stand.rider));
    stand.deposit_row(lost, user, Role::Rider, Piasters::pounds(80), "TX-LOST").await;
    stand.reconcile().await;
    assert_eq!(stand.open().await, [format!("missing_deposit deposit:{lost}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booked_deposit_that_nobody_paid_is_found() {
    let mut stand = Stand::busy().await;
    let id = stand.deposit;
    stand.listed.retain(|capture| capture.of != Some(id));
    stand.tamper(&format!("DELETE FROM deposits WHERE id = '{id}'")).await;
    stand.reconcile().await;
    assert_eq!(stand.open().await, [format!("unbacked_deposit deposit:{id}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_gateway_knows_and_what_it_does_not_know_is_found() {
    let mut stand = Stand::busy().await;
    let stranger = captured("TX-STRANGER", None, Piasters::pounds(9));
    stand.listed.push(stranger);
    stand.reconcile().await;
    assert_eq!(stand.open().await, ["foreign_capture capture:TX-STRANGER"]);

    let mut stand = Stand::busy().await;
    let lost = stand.listed.remove(0).of.expect("a deposit");
    stand.reconcile().await;
    assert_eq!(stand.open().await, [format!("missing_capture deposit:{lost}")]);

    let mut stand = Stand::busy().await;
    stand.listed[0].amount = Some(Piasters::pounds(499));
    let wrong = stand.listed[0].of.expect("a deposit");
    stand.reconcile().await;
    assert_eq!(stand.open().await, [format!("wrong_capture deposit:{wrong}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_in_suspense_is_known() {
    let mut stand = Stand::busy().await;
    let stray = captured("TX-STRAY", None, Piasters::pounds(9));
    let journal = ledger::suspense(stray.kept_as, Piasters::pounds(9));
    stand.post(&journal).await;
    stand.listed.push(stray);
    stand.reconcile().await;
    assert_eq!(stand.open().await, Vec::<String>::new());
}
