//! Notifications carried on by the job queue.

use std::sync::Arc;
use std::time::Duration;

use base::{Clock, Dice, Piasters};
use events::{Handlers, Jobs, WorkerConfig};
use ops::{Stopped, Tasks};
use storage::{Who, testing};

use super::stand::{MONA, Stand, TRIP, caller};
use crate::model::{Message, News, Platform};
use crate::{CALM_NOTIFICATION, NOTIFICATION};

/// Kinds and payloads of what waits, in the order it was put down.
async fn waiting(stand: &Stand) -> Vec<(String, serde_json::Value)> {
    let sql = "SELECT kind, payload FROM jobs ORDER BY id";
    sqlx::query_as(sql).fetch_all(&mut testing::owner(&stand.db).await).await.unwrap()
}

#[tokio::test]
async fn what_is_told_puts_down_its_job_which_names_nobody() {
    let stand = Stand::new().await;
    let live = stand.tell(MONA, News::TripArrived).await;
    let calm = stand.tell(MONA, News::WithdrawalPaid { amount: Piasters(4250) }).await;
    stand.tell_once(MONA, News::TripArrived, "test:trip_arrived").await;
    let payload = |id| serde_json::json!({"notificationId": id});
    let expected = [
        ("notification".to_owned(), payload(live)),
        ("notification_calm".to_owned(), payload(calm)),
    ];
    assert_eq!(waiting(&stand).await, expected);
}

/// As when a withdrawal is asked for: the news is part of the person's own transaction.
#[tokio::test]
async fn a_person_may_be_told_in_his_own_transaction() {
    let stand = Stand::new().await;
    let message = |to| Message {
        to,
        news: News::PaymentSucceeded { amount: Piasters(4250) },
        about: Some(TRIP),
        once: "deposit:1".to_owned(),
        until: None,
    };
    let who = Who::Caller(caller(MONA));
    let mut tx = stand.db.begin(&who).await.unwrap();
    assert!(stand.notify.tell_in_tx(&mut tx, &message(MONA)).await.unwrap().is_some());
    tx.commit().await.unwrap();
    assert_eq!(waiting(&stand).await.len(), 1);
    // Nobody tells another.
    let mut tx = stand.db.begin(&who).await.unwrap();
    assert!(stand.notify.tell_in_tx(&mut tx, &message(super::stand::OMAR)).await.is_err());
    drop(tx);
    // Rolled back, it was never told.
    let mut tx = stand.db.begin(&who).await.unwrap();
    let other = Message { once: "deposit:2".to_owned(), ..message(MONA) };
    stand.notify.tell_in_tx(&mut tx, &other).await.unwrap();
    drop(tx);
    assert_eq!(waiting(&stand).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_carry_a_notification_from_the_socket_to_the_phone() {
    let stand = Stand::at(Clock::system()).await;
    stand.phone(MONA, Platform::Android, "token-mona").await;
    let socket = stand.socket(MONA);
    let jobs = Jobs::new(stand.db.clone(), Dice::seeded(3));
    let tasks = Tasks::new();
    let notify = Arc::new(stand.notify.clone());
    let handlers = Handlers::default()
        .on(&NOTIFICATION, Arc::clone(&notify) as _)
        .on(&CALM_NOTIFICATION, notify);
    let config = WorkerConfig { poll: Duration::from_millis(50), ..WorkerConfig::default() };
    jobs.work(&tasks, &stand.clock, handlers, config);
    stand.tell(MONA, News::TripArrived).await;
    let push = stand.fcm.first("messages:send").await;
    assert_eq!(push.json()["message"]["data"]["kind"], "trip_arrived");
    assert_eq!(socket.read()[0]["type"], "notice", "the socket was first");
    // A drain lets what runs end.
    assert_eq!(tasks.stop(Duration::from_secs(30)).await, Stopped::Clean);
    let came = stand.came(MONA).await;
    assert_eq!(came, "sent: socket failed NOT_ACKNOWLEDGED, push accepted");
    assert_eq!(waiting(&stand).await, []);
}
