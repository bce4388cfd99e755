//! The clients against their stand-ins: what they send, and what they make of each answer.

use std::time::Duration;

use base::{Clock, Millis, NotificationId};
use ops::{BreakerPolicy, Breakers};
use secrecy::SecretString;
use serde_json::json;
use uuid::Uuid;

use super::stand::{apns_config, fcm_config, twilio_config};
use super::standins::{Play, Post, StandIn};
use crate::MailConfig;
use crate::client::apns::Apns;
use crate::client::fcm::Fcm;
use crate::client::mail::Mail;
use crate::client::twilio::Twilio;
use crate::client::{Line, Verdict};
use crate::model::Kind;
use crate::push::{Loudness, Push};
use crate::texts::Text;

const NOW: Millis = Millis(1_800_000_000_000);
const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const DELIVERY: Uuid = Uuid::from_u128(7);
const SEND: &str = "messages:send";

fn line(clock: &Clock) -> Line {
    Line::new(&Breakers::new(clock.clone()), "test", clock)
}

fn words() -> Text {
    Text { title: "وصل سائقك".to_owned(), body: "السائق ينتظرك.".to_owned() }
}

/// A push of `kind`, ten minutes of life left.
fn push<'a>(kind: Kind, token: &'a str, text: &'a Text) -> Push<'a> {
    Push {
        token,
        text,
        kind,
        notification: NotificationId::from_u128(5),
        delivery: DELIVERY,
        about: Some(Uuid::from_u128(6)),
        collapse: "trips-6",
        until: NOW + Duration::from_secs(600),
        loudness: Loudness::of(kind),
    }
}

/// `Again UNAVAILABLE 7s`, `Dead UNREGISTERED` …
fn said(verdict: Verdict) -> String {
    match verdict {
        Verdict::Accepted { reference } => format!("Accepted {reference}"),
        Verdict::Again { code, after } => match after {
            Some(after) => format!("Again {code} {}s", after.as_secs()),
            None => format!("Again {code}"),
        },
        Verdict::Dead { code, since } => match since {
            Some(since) => format!("Dead {code} since {}", since.0),
            None => format!("Dead {code}"),
        },
        Verdict::Refused { code } => format!("Refused {code}"),
        Verdict::Alert { code } => format!("Alert {code}"),
        Verdict::Lost { code } => format!("Lost {code}"),
    }
}

fn fcm_error(status: u16, code: &str) -> Play {
    let kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
    let details = json!([{"@type": kind, "errorCode": code}]);
    Play::json(status, &json!({"error": {"status": "X", "details": details}}))
}

#[tokio::test]
async fn firebase_gets_what_it_wants() {
    let (stand, clock) = (StandIn::fcm().await, Clock::manual(NOW));
    let fcm = Fcm::new(&fcm_config(&stand.url), line(&clock)).unwrap();
    let text = words();
    let verdict = fcm.send(&push(Kind::TripArrived, "token-1", &text)).await;
    assert_eq!(said(verdict), "Accepted projects/test-project/messages/1");
    fcm.send(&push(Kind::Offer, "token-2", &text)).await;
    let sent = stand.seen(SEND);
    let (arrived, offer) = (sent[0].json(), sent[1].json());
    assert_eq!(arrived["message"]["token"], "token-1");
    assert_eq!(arrived["message"]["notification"]["title"], "وصل سائقك");
    assert_eq!(arrived["message"]["android"]["ttl"], "600s");
    assert_eq!(arrived["message"]["android"]["collapse_key"], "trips-6");
    assert_eq!(arrived["message"]["apns"]["headers"]["apns-expiration"], "1800000600");
    assert_eq!(arrived["message"]["data"]["kind"], "trip_arrived");
    // An offer is drawn by the app.
    assert!(offer["message"]["notification"].is_null(), "{offer}");
    assert_eq!(offer["message"]["data"]["title"], "وصل سائقك");
    assert_eq!(offer["message"]["android"]["priority"], "HIGH");
}

#[tokio::test]
async fn one_access_token_serves_all_until_shortly_before_its_end() {
    let (stand, clock) = (StandIn::fcm().await, Clock::manual(NOW));
    let fcm = Fcm::new(&fcm_config(&stand.url), line(&clock)).unwrap();
    let text = words();
    let push = push(Kind::Statement, "token-1", &text);
    let all = (0..8).map(|_| fcm.send(&push));
    futures_util::future::join_all(all).await;
    assert_eq!(stand.seen("/token").len(), 1, "who comes while it is fetched waits for it");
    clock.advance(Duration::from_secs(3599 - 301));
    fcm.send(&push).await;
    assert_eq!(stand.seen("/token").len(), 1);
    clock.advance(Duration::from_secs(2));
    fcm.send(&push).await;
    assert_eq!(stand.seen("/token").len(), 2, "renewed five minutes early");
    // Taken back before its time: the next try asks for another.
    stand.play(SEND, Play::json(401, &json!({"error": {"status": "UNAUTHENTICATED"}})));
    assert_eq!(said(fcm.send(&push).await), "Again UNAUTHENTICATED");
    assert_eq!(said(fcm.send(&push).await), "Accepted projects/test-project/messages/1");
    assert_eq!(stand.seen("/token").len(), 3);
}

#[tokio::test]
async fn each_answer_of_firebase_means_what_is_documented() {
    let stand = StandIn::fcm().await;
    let text = words();
    let check = async |path: &'static str, play: Play, expected: &str| {
        // A line of its own: failures in a row would open it.
        let fcm = Fcm::new(&fcm_config(&stand.url), line(&Clock::manual(NOW))).unwrap();
        stand.play(path, play.clone());
        let verdict = fcm.send(&push(Kind::TripArrived, "token-1", &text)).await;
        assert_eq!(said(verdict), expected, "{play:?}");
    };
    let with = |status, headers, body: &str| Play::Answer(status, headers, body.to_owned());
    check(SEND, fcm_error(404, "UNREGISTERED"), "Dead UNREGISTERED").await;
    check(SEND, fcm_error(403, "SENDER_ID_MISMATCH"), "Dead SENDER_ID_MISMATCH").await;
    check(SEND, fcm_error(400, "INVALID_ARGUMENT"), "Dead INVALID_ARGUMENT").await;
    let ours = json!({"error": {"status": "INVALID_ARGUMENT", "details": []}});
    check(SEND, Play::json(400, &ours), "Refused INVALID_ARGUMENT").await;
    check(SEND, fcm_error(429, "QUOTA_EXCEEDED"), "Again QUOTA_EXCEEDED 60s").await;
    check(SEND, with(429, &[("retry-after", "7")], ""), "Again 429 7s").await;
    check(SEND, fcm_error(503, "UNAVAILABLE"), "Again UNAVAILABLE").await;
    check(SEND, with(503, &[("retry-after", "30")], "<html>"), "Again 503 30s").await;
    let date = &[("retry-after", "Fri, 15 Jan 2027 08:01:00 GMT")];
    check(SEND, with(503, date, ""), "Again 503 60s").await;
    check(SEND, fcm_error(500, "INTERNAL"), "Again INTERNAL").await;
    check(SEND, fcm_error(401, "THIRD_PARTY_AUTH_ERROR"), "Alert THIRD_PARTY_AUTH_ERROR").await;
    check(SEND, Play::Lose, "Lost NO_ANSWER").await;
    check("/token", with(400, &[], "{}"), "Alert TOKEN_REFUSED").await;
    check("/token", with(503, &[], ""), "Again TOKEN_UNAVAILABLE").await;
    // Nothing was sent yet: asking again does no harm.
    check("/token", Play::Lose, "Again NO_ANSWER").await;
}

#[tokio::test]
async fn a_slow_provider_is_given_up_and_then_left_alone() {
    let (stand, clock) = (StandIn::fcm().await, Clock::manual(NOW));
    let hasty = BreakerPolicy {
        time_out: Duration::from_millis(200),
        at_least: 1,
        ..BreakerPolicy::DEFAULT
    };
    let line = Line::with(&Breakers::new(clock.clone()), "test", &clock, hasty);
    let fcm = Fcm::new(&fcm_config(&stand.url), line).unwrap();
    let text = words();
    let push = push(Kind::TripArrived, "token-1", &text);
    fcm.send(&push).await;
    for _ in 0..3 {
        stand.play(SEND, Play::Silence);
    }
    let mut verdict = said(fcm.send(&push).await);
    assert_eq!(verdict, "Lost NO_ANSWER");
    while verdict == "Lost NO_ANSWER" {
        verdict = said(fcm.send(&push).await);
    }
    assert_eq!(verdict, "Again CIRCUIT_OPEN 30s");
    let before = stand.seen(SEND).len();
    fcm.send(&push).await;
    assert_eq!(stand.seen(SEND).len(), before, "an open circuit calls nobody");
}

#[tokio::test]
async fn a_provider_that_is_not_there_took_nothing() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let clock = Clock::manual(NOW);
    let twilio = Twilio::new(&twilio_config(&url), line(&clock)).unwrap();
    let verdict = twilio.send("+201000000001", "hello", DELIVERY).await;
    assert_eq!(said(verdict), "Again UNREACHABLE");
}

#[tokio::test]
async fn apple_gets_what_it_wants_over_http_2() {
    let (stand, clock) = (StandIn::apns().await, Clock::manual(NOW));
    let apns = Apns::new(&apns_config(&stand.url), line(&clock)).unwrap();
    let text = words();
    let push = push(Kind::TripArrived, HEX, &text);
    assert_eq!(said(apns.send(&push).await), format!("Accepted {DELIVERY}"));
    let seen = stand.seen(HEX).remove(0);
    assert_eq!(seen.header("apns-id"), DELIVERY.to_string());
    assert_eq!(seen.header("apns-collapse-id"), "trips-6");
    assert_eq!(seen.header("apns-expiration"), "1800000600");
    assert_eq!(seen.header("apns-priority"), "10");
    assert_eq!(seen.json()["aps"]["alert"]["title"], "وصل سائقك");
    assert_eq!(seen.json()["notificationId"], NotificationId::from_u128(5).to_string());
}

#[tokio::test]
async fn apples_token_is_renewed_neither_too_often_nor_too_late() {
    let (stand, clock) = (StandIn::apns().await, Clock::manual(NOW));
    let apns = Apns::new(&apns_config(&stand.url), line(&clock)).unwrap();
    let text = words();
    let push = push(Kind::TripArrived, HEX, &text);
    for minutes in [0, 39, 2, 1] {
        clock.advance(Duration::from_secs(minutes * 60));
        apns.send(&push).await;
    }
    stand.play(HEX, Play::json(403, &json!({"reason": "ExpiredProviderToken"})));
    clock.advance(Duration::from_secs(60));
    assert_eq!(said(apns.send(&push).await), "Again ExpiredProviderToken");
    apns.send(&push).await;
    let seen = stand.seen(HEX);
    let tokens: Vec<&str> = seen.iter().map(|seen| seen.header("authorization")).collect();
    let same: Vec<bool> = tokens.windows(2).map(|pair| pair[0] == pair[1]).collect();
    assert_eq!(same, [true, false, true, true, false], "after 39 and 41 minutes, then refused");
}

#[tokio::test]
async fn each_answer_of_apple_means_what_is_documented() {
    let stand = StandIn::apns().await;
    let text = words();
    let check = async |play: Play, expected: &str| {
        let apns = Apns::new(&apns_config(&stand.url), line(&Clock::manual(NOW))).unwrap();
        stand.play(HEX, play.clone());
        let verdict = apns.send(&push(Kind::TripArrived, HEX, &text)).await;
        assert_eq!(said(verdict), expected, "{play:?}");
    };
    let reason = |status, reason: &str| Play::json(status, &json!({"reason": reason}));
    let gone = json!({"reason": "Unregistered", "timestamp": 1_799_999_000_000_i64});
    check(Play::json(410, &gone), "Dead Unregistered since 1799999000000").await;
    check(reason(400, "BadDeviceToken"), "Dead BadDeviceToken").await;
    check(reason(400, "DeviceTokenNotForTopic"), "Dead DeviceTokenNotForTopic").await;
    check(reason(400, "BadTopic"), "Refused BadTopic").await;
    check(reason(403, "InvalidProviderToken"), "Alert InvalidProviderToken").await;
    check(reason(429, "TooManyRequests"), "Again TooManyRequests 60s").await;
    check(reason(500, "InternalServerError"), "Again InternalServerError").await;
    check(reason(503, "Shutdown"), "Again Shutdown").await;
    check(Play::Lose, "Lost NO_ANSWER").await;
}

#[tokio::test]
async fn each_answer_of_twilio_means_what_is_documented() {
    let stand = StandIn::twilio().await;
    let check = async |play: Option<Play>, expected: &str| {
        let twilio = Twilio::new(&twilio_config(&stand.url), line(&Clock::manual(NOW))).unwrap();
        if let Some(play) = &play {
            stand.play("Messages", play.clone());
        }
        let verdict = twilio.send("+201000000001", "السائق ينتظرك", DELIVERY).await;
        assert_eq!(said(verdict), expected, "{play:?}");
    };
    let error = |status, code: i64| Some(Play::json(status, &json!({"code": code})));
    check(None, "Accepted SM1").await;
    check(error(400, 21211), "Refused 21211").await;
    check(error(400, 21610), "Refused 21610").await;
    check(error(401, 20003), "Alert 20003").await;
    check(error(429, 20429), "Again 20429").await;
    let busy = Play::Answer(503, &[("retry-after", "5")], String::new());
    check(Some(busy), "Again 503 5s").await;
    // It may have taken it before it fell over.
    check(error(500, 20500), "Lost 20500").await;
    check(Some(Play::Lose), "Lost NO_ANSWER").await;
    let seen = stand.seen("Messages").remove(0);
    assert_eq!(seen.field("Body"), "السائق ينتظرك");
    let callback = format!("https://api.example.com/api/v1/webhooks/twilio/{DELIVERY}");
    assert_eq!(seen.field("StatusCallback"), callback);
}

#[tokio::test]
async fn a_letter_arrives_as_it_was_written() {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    let (post, clock) = (Post::start().await, Clock::manual(NOW));
    let from = "SmartLine <receipts@example.com>".to_owned();
    let config = MailConfig { url: SecretString::from(post.url.clone()), from };
    let send = async |to: &str| {
        let mail = Mail::new(&config, line(&clock)).unwrap();
        said(mail.send(to, &words(), DELIVERY).await)
    };
    let name = format!("<{DELIVERY}@example.com>");
    assert_eq!(send("mona@example.com").await, format!("Accepted {name}"));
    let letter = post.letters().remove(0);
    assert!(letter.contains(&format!("Message-ID: {name}")), "{letter}");
    assert!(letter.contains("To: mona@example.com"), "{letter}");
    assert!(letter.contains("Auto-Submitted: auto-generated"), "{letter}");
    assert!(letter.contains("charset=utf-8"), "{letter}");
    post.refuse("450 4.2.1 later");
    assert_eq!(send("mona@example.com").await, "Again 450");
    post.refuse("550 5.1.1 nobody");
    assert_eq!(send("mona@example.com").await, "Refused 550");
    post.refuse("530 5.7.0 who are you");
    assert_eq!(send("mona@example.com").await, "Alert 530");
    assert_eq!(send("no address").await, "Refused BAD_ADDRESS");
    assert_eq!(post.letters().len(), 1);
}
