//! From what is told to where it arrives, through the database and the stand-ins.

use std::time::Duration;

use base::Piasters;
use futures_util::future::join_all;
use serde_json::json;
use sqlx::Executor;
use storage::testing;

use super::stand::{HEX, MONA, NOW, OMAR, Stand, deliver};
use super::standins::Play;
use crate::model::{EndedBy, News, Platform};

const SEND: &str = "messages:send";

fn unregistered() -> Play {
    let kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
    let details = json!([{"@type": kind, "errorCode": "UNREGISTERED"}]);
    Play::json(404, &json!({"error": {"status": "NOT_FOUND", "details": details}}))
}

#[tokio::test]
async fn a_socket_that_acknowledges_is_enough() {
    let stand = Stand::new().await;
    stand.phone(MONA, Platform::Android, "token-mona").await;
    let socket = stand.socket(MONA);
    let id = stand.tell(MONA, News::TripArrived).await;
    let next = stand.deliver(id).await;
    assert_eq!(next, Some(NOW + Duration::from_secs(3)), "first the socket has its time");
    let notice = socket.read().remove(0);
    assert_eq!(notice["type"], "notice");
    assert_eq!(notice["data"]["kind"], "trip_arrived");
    assert_eq!(notice["data"]["title"], "Your driver is here");
    let body = notice["data"]["body"].as_str().unwrap();
    assert_eq!(body, "\u{2068}Ali\u{2069} waits at the pickup, plate \u{2068}ABC 123\u{2069}.");
    stand.rooms.acked(MONA, 7, notice["seq"].as_u64().unwrap());
    stand.carry(id).await;
    assert_eq!(stand.came(MONA).await, "delivered: socket delivered");
    assert_eq!(stand.fcm.seen(SEND).len(), 0);
}

#[tokio::test]
async fn a_socket_that_says_nothing_is_followed_by_a_push() {
    let stand = Stand::new().await;
    stand.phone(MONA, Platform::Android, "token-mona").await;
    stand.phone(MONA, Platform::Ios, HEX).await;
    stand.socket(MONA);
    let id = stand.tell(MONA, News::TripArrived).await;
    stand.carry(id).await;
    let came = stand.came(MONA).await;
    assert_eq!(came, "sent: socket failed NOT_ACKNOWLEDGED, push accepted, push accepted");
    assert_eq!(stand.fcm.seen(SEND).len(), 1);
    assert_eq!(stand.apns.seen(HEX).len(), 1);
    assert_eq!(stand.twilio.seen("Messages").len(), 0);
}

#[tokio::test]
async fn a_dead_token_is_forgotten_and_critical_news_goes_by_sms() {
    let stand = Stand::new().await;
    stand.phone(MONA, Platform::Android, "token-dead").await;
    stand.fcm.play(SEND, unregistered());
    let id = stand.tell(MONA, News::TripArrived).await;
    stand.carry(id).await;
    assert_eq!(stand.came(MONA).await, "sent: push failed UNREGISTERED, sms accepted");
    assert_eq!(stand.tokens(MONA).await, [""; 0]);
    let sms = stand.twilio.seen("Messages").remove(0);
    assert_eq!(sms.field("To"), "+201000000011");
    // The phone that spoke English is forgotten.
    assert!(sms.field("Body").starts_with("السائق \u{2068}Ali\u{2069} ينتظرك"), "{sms:?}");

    // What is not critical isn't worth an SMS.
    let id = stand.tell(MONA, News::TripStarted).await;
    stand.carry(id).await;
    assert_eq!(stand.came(MONA).await, "listed: ");
}

#[tokio::test]
async fn a_token_registered_again_since_it_died_stays() {
    let stand = Stand::new().await;
    stand.phone(MONA, Platform::Ios, HEX).await;
    let before = NOW.0 - 60_000;
    let gone = json!({"reason": "Unregistered", "timestamp": before});
    stand.apns.play(HEX, Play::json(410, &gone));
    let id = stand.tell(MONA, News::TripStarted).await;
    stand.carry(id).await;
    assert_eq!(stand.came(MONA).await, "failed: push failed Unregistered");
    assert_eq!(stand.tokens(MONA).await, [HEX]);
}

#[tokio::test]
async fn a_provider_in_trouble_is_asked_again_until_the_news_is_old() {
    let stand = Stand::new().await;
    stand.phone(MONA, Platform::Android, "token-mona").await;
    let busy = Play::Answer(503, &[("retry-after", "120")], String::new());
    stand.fcm.play(SEND, busy.clone());
    let id = stand.tell(MONA, News::TripStarted).await;
    assert_eq!(stand.deliver(id).await, Some(NOW + Duration::from_secs(120)));
    assert_eq!(stand.came(MONA).await, "pending: push waiting 503");
    assert_eq!(stand.deliver(id).await, Some(NOW + Duration::from_secs(120)), "not before");
    assert_eq!(stand.fcm.seen(SEND).len(), 1);
    stand.carry(id).await;
    assert_eq!(stand.came(MONA).await, "sent: push accepted");

    for _ in 0..5 {
        stand.fcm.play(SEND, busy.clone());
    }
    let id = stand.tell_once(MONA, News::TripStarted, "again").await.unwrap();
    stand.carry(id).await;
    assert_eq!(stand.came(MONA).await, "failed: push failed 503", "ten minutes are over");
}

#[tokio::test]
async fn a_push_whose_answer_got_lost_is_repeated_under_its_name() {
    let stand = Stand::new().await;
    stand.phone(MONA, Platform::Ios, HEX).await;
    stand.apns.play(HEX, Play::Lose);
    let id = stand.tell(MONA, News::TripStarted).await;
    stand.carry(id).await;
    assert_eq!(stand.came(MONA).await, "sent: push accepted");
    let seen = stand.apns.seen(HEX);
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].header("apns-id"), seen[1].header("apns-id"));
}

#[tokio::test]
async fn an_sms_whose_answer_got_lost_is_never_repeated() {
    let stand = Stand::new().await;
    stand.twilio.play("Messages", Play::Lose);
    let id = stand.tell(MONA, News::TripNoDrivers).await;
    stand.carry(id).await;
    assert_eq!(stand.came(MONA).await, "unknown: sms unknown NO_ANSWER");
    assert_eq!(stand.twilio.seen("Messages").len(), 1);
}

/// Each run that was cut off left a claim and nothing else.
#[tokio::test]
async fn a_crash_between_claim_and_answer_shows_and_is_settled_by_rule() {
    let stand = Stand::new().await;
    stand.phone(MONA, Platform::Android, "token-mona").await;
    let id = stand.tell(MONA, News::TripStarted).await;
    let claim = "INSERT INTO notification_deliveries
        (id, notification_id, channel, device_id, state, changed_at)
        SELECT gen_random_uuid(), n.id, 'push', d.id, 'sending', n.created_at
        FROM notifications n JOIN devices d USING (user_id) WHERE n.kind = 'trip_started'";
    let mut owner = testing::owner(&stand.db).await;
    owner.execute(claim).await.unwrap();
    let next = stand.deliver(id).await;
    assert_eq!(next, Some(NOW + Duration::from_secs(60)), "it may still be under way");
    assert_eq!(stand.came(MONA).await, "pending: push sending");
    stand.clock.advance(Duration::from_secs(60));
    assert!(stand.deliver(id).await.is_some());
    assert_eq!(stand.came(MONA).await, "pending: push waiting LOST");
    stand.carry(id).await;
    assert_eq!(stand.came(MONA).await, "sent: push accepted");

    let id = stand.tell(OMAR, News::TripNoDrivers).await;
    let claim = "INSERT INTO notification_deliveries
        (id, notification_id, channel, state, changed_at)
        SELECT gen_random_uuid(), id, 'sms', 'sending', created_at
        FROM notifications WHERE kind = 'trip_no_drivers'";
    owner.execute(claim).await.unwrap();
    stand.carry(id).await;
    assert_eq!(stand.came(OMAR).await, "unknown: sms unknown LOST");
    assert_eq!(stand.twilio.seen("Messages").len(), 0);
}

#[tokio::test]
async fn many_runs_at_once_send_once_per_way() {
    let stand = Stand::new().await;
    stand.phone(MONA, Platform::Android, "token-mona").await;
    stand.wishes(MONA, json!({"email": "mona@example.com"})).await;
    let id = stand.tell(MONA, News::PaymentFailed { amount: Piasters(4250) }).await;
    join_all((0..8).map(|_| stand.deliver(id))).await;
    stand.carry(id).await;
    assert_eq!(stand.fcm.seen(SEND).len(), 1);
    assert_eq!(stand.post.letters().len(), 1);
    assert_eq!(stand.came(MONA).await, "sent: push accepted, email accepted");
    stand.carry(id).await;
    assert_eq!(stand.fcm.seen(SEND).len(), 1, "a job that runs again sends nothing");
}

#[tokio::test]
async fn many_runs_at_once_put_one_notice_on_the_socket() {
    let stand = Stand::new().await;
    let socket = stand.socket(MONA);
    let id = stand.tell(MONA, News::TripArrived).await;
    let runs = join_all((0..8).map(|_| stand.deliver(id))).await;
    assert_eq!(runs, [Some(NOW + Duration::from_secs(3)); 8]);
    assert_eq!(socket.read().len(), 1);
}

#[tokio::test]
async fn a_run_cut_off_after_its_notice_tells_it_again_under_the_same_id() {
    let stand = Stand::new().await;
    let socket = stand.socket(MONA);
    let id = stand.tell(MONA, News::TripArrived).await;
    let cut_off = stand.notify.deliver(id).await.unwrap();
    drop(cut_off);
    assert_eq!(stand.came(MONA).await, "pending: ");
    assert!(stand.deliver(id).await.is_some());
    assert_eq!(stand.came(MONA).await, "pending: socket waiting");
    let notices = socket.read();
    assert_eq!(notices.len(), 2);
    assert_eq!(notices[0]["data"]["id"], notices[1]["data"]["id"]);
}

#[tokio::test]
async fn what_is_told_twice_is_told_once_and_only_if_it_commits() {
    let stand = Stand::new().await;
    assert!(stand.tell_once(MONA, News::TripStarted, "a").await.is_some());
    assert!(stand.tell_once(MONA, News::TripStarted, "a").await.is_none());
    assert!(stand.tell_once(OMAR, News::TripStarted, "a").await.is_some());
}

#[tokio::test]
async fn after_a_restart_the_old_numbers_prove_nothing() {
    let stand = Stand::new().await;
    stand.phone(MONA, Platform::Android, "token-mona").await;
    stand.socket(MONA);
    let id = stand.tell(MONA, News::TripStarted).await;
    assert!(stand.deliver(id).await.is_some());
    let again = stand.restarted();
    stand.clock.advance(Duration::from_secs(3));
    assert_eq!(deliver(&again, id).await, None);
    assert_eq!(stand.came(MONA).await, "sent: socket failed NOT_ACKNOWLEDGED, push accepted");
}

#[tokio::test]
async fn the_night_waits_and_mail_does_not() {
    let stand = Stand::new().await;
    stand.phone(MONA, Platform::Android, "token-mona").await;
    // Noon is night to her.
    let quiet = json!({"from": "08:00", "to": "14:00"});
    stand.wishes(MONA, json!({"email": "mona@example.com", "quietHours": quiet})).await;
    let id = stand.tell(MONA, News::WithdrawalPaid { amount: Piasters(4250) }).await;
    assert_eq!(stand.deliver(id).await, Some(NOW + Duration::from_secs(2 * 3600)));
    assert_eq!(stand.came(MONA).await, "pending: email accepted");
    stand.carry(id).await;
    assert_eq!(stand.came(MONA).await, "sent: email accepted, push accepted");
    let fee = Piasters::ZERO;
    let id = stand.tell(MONA, News::TripCancelled { by: EndedBy::Driver, fee }).await;
    assert_eq!(stand.deliver(id).await, None, "what is critical rings at any hour");
}
