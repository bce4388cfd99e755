//! What becomes of a finding that is found again, and of one that a person resolved.

use base::{Role, UserId};
use storage::Who;
use uuid::Uuid;

use super::stand::{Stand, admin, caller};
use crate::{FindingView, GatewaySide, Resolution};

/// One fault, planted: a balance that nobody posted.
async fn altered() -> Stand {
    let mut stand = Stand::busy().await;
    let rider = stand.rider;
    let sql = format!(
        "UPDATE ledger_balance SET balance = balance + 1 WHERE account = 1 AND owner = '{rider}'"
    );
    stand.tamper(&sql).await;
    stand
}

async fn resolve(stand: &Stand, id: Uuid, how: Resolution) -> Option<FindingView> {
    let mut tx = stand.db.begin(&Who::Caller(admin())).await.expect("a transaction");
    let resolved = stand.books.resolve_in_tx(&mut tx, &admin(), id, how, "looked at").await;
    tx.commit().await.expect("kept");
    resolved.ok()
}

async fn one(stand: &Stand) -> FindingView {
    let mut findings = stand.findings().await;
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_fault_is_one_finding() {
    let stand = altered().await;
    let first = stand.reconcile().await;
    let second = stand.reconcile().await;
    assert_eq!((first.faults, first.opened), (Some(1), Some(1)));
    assert_eq!((second.faults, second.opened), (Some(1), Some(0)));
    let found = one(&stand).await;
    assert_eq!(found.times, 2);
    assert!(found.first_seen < found.last_seen && found.opened_at == found.first_seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_called_fixed_is_opened_again_when_it_is_not() {
    let stand = altered().await;
    stand.reconcile().await;
    let id = one(&stand).await.id;
    let resolved = resolve(&stand, id, Resolution::Fixed).await.expect("it was open");
    assert_eq!(resolved.resolved_by, Some(admin().user));
    assert_eq!(resolve(&stand, id, Resolution::Fixed).await, None);
    assert_eq!(stand.open().await.len(), 0);
    let run = stand.reconcile().await;
    assert_eq!(run.opened, Some(1));
    let again = one(&stand).await;
    assert_eq!((again.id, again.resolution, again.reason), (id, None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_finding_stays_so_until_it_changes() {
    let mut stand = altered().await;
    stand.reconcile().await;
    let id = one(&stand).await.id;
    resolve(&stand, id, Resolution::Accepted).await.expect("it was open");
    assert_eq!(stand.reconcile().await.opened, Some(0));
    assert_eq!(one(&stand).await.resolution, Some(Resolution::Accepted));
    stand.tamper("UPDATE ledger_balance SET balance = balance + 1 WHERE account = 1").await;
    assert_eq!(stand.reconcile().await.opened, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_are_the_staffs() {
    let stand = altered().await;
    stand.reconcile().await;
    let id = one(&stand).await.id;
    for role in [Role::Rider, Role::Driver] {
        let nosy = caller(UserId::from(stand.rider), role);
        let seen = stand.books.findings(&nosy, crate::FindingFilter::default(), None, 10).await;
        assert_eq!(seen.expect("read").findings, []);
        assert_eq!(stand.books.runs(&nosy, None, 10).await.expect("read").runs, []);
        let mut tx = stand.db.begin(&Who::Caller(nosy)).await.expect("a transaction");
        let how = Resolution::Accepted;
        assert!(stand.books.resolve_in_tx(&mut tx, &nosy, id, how, "mine").await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_can_not_be_read_is_the_runs_failure_and_hides_nothing() {
    let stand = altered().await;
    let today = stand.books.today();
    let run = stand.look_at(today, GatewaySide::Unreadable("it is away".to_owned())).await;
    assert_eq!(run.gateway.as_deref(), Some("unreadable"));
    assert!(run.failure.is_some_and(|why| why.contains("it is away")));
    assert_eq!(run.faults, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_night_is_made_up_for_and_a_failed_one_done_again() {
    let stand = Stand::empty().await;
    let yesterday = stand.books.today().before();
    assert_eq!(stand.books.days_to_reconcile().await.expect("days"), [yesterday]);
    stand.look_at(yesterday.back(3), GatewaySide::NotSetUp).await;
    let due = [yesterday.back(2), yesterday.back(1), yesterday];
    assert_eq!(stand.books.days_to_reconcile().await.expect("days"), due);
    stand.look_at(yesterday, GatewaySide::Unreadable("away".to_owned())).await;
    assert_eq!(stand.books.days_to_reconcile().await.expect("days"), due);
    stand.look_at(yesterday, GatewaySide::NotSetUp).await;
    assert_eq!(stand.books.days_to_reconcile().await.expect("days"), []);
}
