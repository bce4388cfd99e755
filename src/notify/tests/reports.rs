//! What carriers report, and the list, devices and wishes of people.

use std::time::Duration;

use aws_lc_rs::hmac;
use base::Cursor;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use storage::testing;
use uuid::Uuid;

use super::stand::{HEX, MONA, OMAR, Stand, caller};
use super::standins::Play;
use crate::SmsReport;
use crate::model::{News, Platform};

/// A report as Twilio signs it with `token`.
fn report(delivery: Uuid, status: &str, code: &str, token: &str) -> SmsReport {
    let mut form = vec![
        ("MessageSid".to_owned(), "SM1".to_owned()),
        ("MessageStatus".to_owned(), status.to_owned()),
        ("To".to_owned(), "+201000000011".to_owned()),
    ];
    if !code.is_empty() {
        form.push(("ErrorCode".to_owned(), code.to_owned()));
    }
    let mut sorted = form.clone();
    sorted.sort();
    let url = format!("https://api.example.com/api/v1/webhooks/twilio/{delivery}");
    let text = sorted.iter().fold(url, |text, (name, value)| text + name + value);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
    SmsReport { form, signature: STANDARD.encode(hmac::sign(&key, text.as_bytes())) }
}

async fn sms(stand: &Stand) -> Uuid {
    let id = stand.tell(MONA, News::TripNoDrivers).await;
    stand.carry(id).await;
    let sql = "SELECT id FROM notification_deliveries WHERE channel = 'sms'";
    sqlx::query_scalar(sql).fetch_one(&mut testing::owner(&stand.db).await).await.unwrap()
}

#[tokio::test]
async fn a_carriers_report_is_the_last_word_about_an_sms() {
    let stand = Stand::new().await;
    let delivery = sms(&stand).await;
    let said = async |status: &str, code: &str| {
        let report = report(delivery, status, code, "12345");
        stand.notify.sms_report(delivery, &report).await.unwrap();
        stand.came(MONA).await
    };
    assert_eq!(stand.came(MONA).await, "sent: sms accepted");
    assert_eq!(said("sent", "").await, "sent: sms accepted");
    assert_eq!(said("delivered", "").await, "delivered: sms delivered");
    // Reports overtake each other.
    assert_eq!(said("sent", "").await, "delivered: sms delivered");
    assert_eq!(said("undelivered", "30003").await, "delivered: sms delivered");
}

#[tokio::test]
async fn a_report_settles_an_sms_whose_answer_got_lost() {
    let stand = Stand::new().await;
    stand.twilio.play("Messages", Play::Lose);
    let delivery = sms(&stand).await;
    assert_eq!(stand.came(MONA).await, "unknown: sms unknown NO_ANSWER");
    let report = report(delivery, "undelivered", "30003", "12345");
    stand.notify.sms_report(delivery, &report).await.unwrap();
    assert_eq!(stand.came(MONA).await, "failed: sms failed 30003");
}

#[tokio::test]
async fn a_forged_report_changes_nothing() {
    let stand = Stand::new().await;
    let delivery = sms(&stand).await;
    let refused = async |delivery: Uuid, report: SmsReport| {
        let problem = stand.notify.sms_report(delivery, &report).await.unwrap_err();
        assert_eq!(problem.code.name(), "NOT_FOUND");
    };
    let genuine = report(delivery, "failed", "30003", "12345");
    refused(delivery, report(delivery, "failed", "30003", "54321")).await;
    refused(delivery, SmsReport { signature: String::new(), ..genuine.clone() }).await;
    let mut altered = genuine.clone();
    altered.form[1].1 = "delivered".to_owned();
    refused(delivery, altered).await;
    // Signed for one delivery, sent about another.
    refused(Uuid::from_u128(9), genuine).await;
    let unknown = Uuid::from_u128(9);
    refused(unknown, report(unknown, "failed", "30003", "12345")).await;
    assert_eq!(stand.came(MONA).await, "sent: sms accepted");
}

#[tokio::test]
async fn a_phone_belongs_to_whoever_registered_it_last() {
    let stand = Stand::new().await;
    stand.phone(MONA, Platform::Ios, HEX).await;
    stand.phone(MONA, Platform::Ios, HEX).await;
    assert_eq!(stand.tokens(MONA).await, [HEX]);
    stand.phone(OMAR, Platform::Ios, HEX).await;
    assert_eq!(stand.tokens(MONA).await, [""; 0]);
    assert_eq!(stand.tokens(OMAR).await, [HEX]);
    // Nobody ends another's pushes.
    stand.notify.unregister(&caller(MONA), HEX).await.unwrap();
    assert_eq!(stand.tokens(OMAR).await, [HEX]);
    stand.notify.unregister(&caller(OMAR), HEX).await.unwrap();
    assert_eq!(stand.tokens(OMAR).await, [""; 0]);
}

#[tokio::test]
async fn the_ten_newest_phones_are_kept() {
    let stand = Stand::new().await;
    for number in 0..12 {
        stand.clock.advance(Duration::from_secs(1));
        stand.phone(MONA, Platform::Android, &format!("token-{number:02}")).await;
    }
    let tokens = stand.tokens(MONA).await;
    assert_eq!((tokens.len(), tokens[0].as_str()), (10, "token-02"));
}

#[tokio::test]
async fn wishes_are_kept_as_they_were_saved() {
    let stand = Stand::new().await;
    let wishes = json!({
        "language": "en", "email": "mona@example.com",
        "quietHours": {"from": "22:30", "to": "07:00"},
        "muted": [{"group": "trips", "channel": "sms"}],
    });
    stand.wishes(MONA, wishes.clone()).await;
    let kept = stand.notify.preferences(&caller(MONA)).await.unwrap();
    assert_eq!(serde_json::to_value(kept).unwrap(), wishes);
    let others = stand.notify.preferences(&caller(OMAR)).await.unwrap();
    assert_eq!(others, crate::PreferencesView::default());
    stand.wishes(MONA, json!({})).await;
    let kept = stand.notify.preferences(&caller(MONA)).await.unwrap();
    assert_eq!(kept, crate::PreferencesView::default(), "saving replaces all of it");
}

#[tokio::test]
async fn the_list_is_paged_and_ones_own() {
    let stand = Stand::new().await;
    for number in 0..5 {
        stand.clock.advance(Duration::from_secs(1));
        let id = stand.tell_once(MONA, News::TripStarted, &number.to_string()).await.unwrap();
        stand.carry(id).await;
    }
    stand.tell(OMAR, News::TripNoDrivers).await;
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = stand.notify.list(&caller(MONA), after, 2).await.unwrap();
        seen.extend(page.notifications.iter().map(|row| row.created_at.0));
        let Some(next) = page.next_cursor else { break };
        after = Cursor::parse(&next);
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "newest first: {seen:?}");
    let page = stand.notify.list(&caller(MONA), None, 1).await.unwrap();
    let row = &page.notifications[0];
    assert_eq!((row.title.as_str(), row.kind), ("بدأت رحلتك", "trip_started"));
}
