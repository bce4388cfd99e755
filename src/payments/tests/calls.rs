//! The client: slow, failing, silent and lying gateways.

use std::time::Duration;

use base::{Piasters, UserId};
use ops::BreakerPolicy;
use serde_json::json;
use standins::Play;

use super::stand::{CALLS, NOW, client};
use crate::{CallFailed, Currency, Intent, Order, PayPage, Reversal, Standing};

fn order(reference: &str) -> Order<'_> {
    Order {
        reference,
        amount: Piasters(15_050),
        currency: Currency::Egp,
        customer: UserId::from_u128(1),
        expires: NOW + Duration::from_secs(1800),
        intent: Intent::Charge,
    }
}

/// How a call ended, in a word.
fn end<T: std::fmt::Debug>(result: &Result<T, CallFailed>) -> String {
    match result {
        Ok(_) => "done".to_owned(),
        Err(CallFailed::NotDone { after: None, .. }) => "not done".to_owned(),
        Err(CallFailed::NotDone { after: Some(after), .. }) => {
            format!("not done, again in {} s", after.as_secs())
        }
        Err(CallFailed::Lost { why }) => format!("lost: {why}"),
        Err(CallFailed::Refused { status }) => format!("refused {status}"),
    }
}

#[tokio::test]
async fn a_session_is_opened_once_and_its_failures_are_told_apart() {
    let (gateway, kashier, _) = client(PayPage::Sessions, CALLS).await;
    let check = async |play: Option<Play>, expected: &str| {
        let reference = format!("dep-{}", gateway.seen("POST"));
        let before = gateway.seen("POST");
        if let Some(play) = play {
            gateway.play("/v3/payment/sessions", play);
        }
        let opened = kashier.open(&order(&reference)).await;
        assert_eq!(end(&opened), expected);
        assert_eq!(gateway.seen("POST"), before + 1, "asked once");
    };
    check(None, "done").await;
    check(Some(Play::Refuse(400)), "refused 400").await;
    check(Some(Play::Refuse(401)), "refused 401").await;
    check(Some(Play::Refuse(403)), "refused 403").await;
    // It may have been made all the same.
    check(Some(Play::Refuse(502)), "lost: 502").await;
    check(Some(Play::Lose), "lost: no answer").await;
    check(Some(Play::Silence), "lost: no answer").await;
    check(Some(Play::Busy { after_s: 7 }), "not done, again in 7 s").await;
    let twice = kashier.open(&order("dep-0")).await;
    assert_eq!(end(&twice), "refused 400", "a name is taken once");
}

#[tokio::test]
async fn a_gateway_that_fails_is_left_alone_and_tried_again() {
    let calls = BreakerPolicy { at_least: 2, ..CALLS };
    let (gateway, kashier, clock) = client(PayPage::Sessions, calls).await;
    for number in 0..2 {
        gateway.play("/v3/payment/sessions", Play::Refuse(503));
        let failed = kashier.open(&order(&format!("dep-{number}"))).await;
        assert_eq!(end(&failed), "lost: 503");
    }
    assert_eq!(end(&kashier.open(&order("dep-3")).await), "not done, again in 30 s");
    assert_eq!(gateway.seen("POST"), 2, "nobody was called");
    clock.advance(Duration::from_secs(30));
    assert_eq!(end(&kashier.open(&order("dep-4")).await), "done");
}

#[tokio::test]
async fn a_gateway_that_is_not_there_had_no_effect() {
    let (gateway, kashier, _) = client(PayPage::Sessions, CALLS).await;
    let mut config = kashier.config().clone();
    config.api_url = "http://127.0.0.1:1".to_owned();
    let clock = base::Clock::manual(NOW);
    let breakers = ops::Breakers::new(clock.clone());
    let nobody = crate::Kashier::new(config, &breakers, CALLS, clock).expect("a client");
    assert_eq!(end(&nobody.open(&order("dep-1")).await), "not done");
    assert_eq!(gateway.seen("POST"), 0);
}

#[tokio::test]
async fn a_question_is_asked_again_and_its_answer_is_the_orders_own() {
    let (gateway, kashier, _) = client(PayPage::Sessions, CALLS).await;
    let page = kashier.open(&order("dep-1")).await.expect("a page");
    kashier.open(&order("dep-11")).await.expect("a page");
    gateway.pay("dep-11");
    let session = page.session.as_deref();
    let look = async || {
        let found = kashier.look_up("dep-1", session).await;
        found.map(|found| found.map(|found| found.standing))
    };
    assert_eq!(look().await, Ok(Some(Standing::Open)));
    let told = gateway.pay("dep-1");
    for play in [Play::Refuse(500), Play::Lose] {
        gateway.play("/v3/payment", play);
    }
    assert_eq!(look().await, Ok(Some(Standing::Paid)), "asked until it answered");
    // The search finds parts of names: the other order is not taken for this one.
    let found = kashier.look_up("dep-1", None).await.expect("an answer").expect("it is known");
    assert_eq!(found.transaction.as_deref(), told.data["transactionId"].as_str());
    assert_eq!((found.amount, found.standing), (Some(Piasters(15_050)), Standing::Paid));
    assert_eq!(kashier.look_up("dep-", None).await, Ok(None));
    for _ in 0..3 {
        gateway.play("/v3/payment", Play::Refuse(500));
    }
    assert_eq!(end(&kashier.look_up("dep-1", session).await), "lost: 500", "not for ever");
}

#[tokio::test]
async fn money_is_never_given_back_twice_by_itself() {
    let (gateway, kashier, _) = client(PayPage::Sessions, CALLS).await;
    kashier.open(&order("dep-1")).await.expect("a page");
    gateway.pay("dep-1");
    let name = gateway.payment("dep-1").gateway_order;
    let check = async |play: Play, expected: &str| {
        let before = gateway.seen("PUT");
        gateway.play("/v3/orders", play);
        let refunded = kashier.refund(&name, Piasters(300), "a cold car").await;
        assert_eq!(end(&refunded), expected);
        assert_eq!(gateway.seen("PUT"), before + 1, "asked once");
    };
    check(Play::Lose, "lost: no answer").await;
    check(Play::Silence, "lost: no answer").await;
    check(Play::Refuse(500), "lost: 500").await;
    check(Play::Busy { after_s: 3 }, "not done, again in 3 s").await;
    let refunded = kashier.refund(&name, Piasters(300), "a cold car").await;
    assert!(matches!(refunded, Ok(Reversal::Done { transaction: Some(_) })), "{refunded:?}");
    let told = gateway.pay("dep-1");
    let transaction = told.data["transactionId"].as_str().expect("a name");
    let voided = kashier.void(&name, transaction, Piasters(300)).await;
    assert!(matches!(voided, Ok(Reversal::Done { .. })), "{voided:?}");
    assert_eq!(end(&kashier.refund("no-such-order", Piasters(1), "x").await), "refused 404");
}

#[tokio::test]
async fn a_business_day_is_read_from_the_lists_newest_end() {
    let (gateway, kashier, _) = client(PayPage::Sessions, CALLS).await;
    let day = base::BusinessDay::parse("2026-01-10").expect("a day");
    // The day is from 22:00 to 22:00 UTC; one row per ten minutes over three of them.
    let first = "2026-01-08T22:05:00Z".parse::<jiff::Timestamp>().expect("a moment");
    for number in 0..3 * 144_i64 {
        let at = first + jiff::SignedDuration::from_mins(10 * number);
        gateway.list(json!({"transactionId": format!("TX-{number}"), "status": "SUCCESS",
            "merchantOrderId": "dep-1", "operation": "pay", "amount": 20.5, "currency": "EGP",
            "creationDate": at.to_string()}));
    }
    let listed = kashier.transactions(day).await.expect("a list");
    assert_eq!(listed.len(), 144);
    assert_eq!(listed[0].transaction, "TX-287");
    assert_eq!(listed[143].transaction, "TX-144");
    assert_eq!(listed[0].amount, Some(Piasters(2050)));
    // Three pages hold the day and what is newer; the older ones are not asked for.
    assert_eq!(gateway.seen("/v2/aggregator/transactions"), 3);
}

#[tokio::test]
async fn the_older_pages_address_is_signed_and_nobody_is_asked() {
    let (gateway, kashier, _) = client(PayPage::Hosted, CALLS).await;
    let page = kashier.open(&order("dep-0001")).await.expect("a page");
    // The vector's hash.
    let hash = "hash=d490c82d9469bab6c727c7cb4581377c02a95a4339796c787230e1ce3c1882ca";
    assert!(page.url.contains(hash), "{}", page.url);
    assert!(page.url.contains("&amount=150.50&currency=EGP&"), "{}", page.url);
    assert!(page.url.starts_with("https://checkout.example.com/?merchantId=MID-123-456&"));
    assert!(page.url.contains("&serverWebhook=http%3A%2F%2F127.0.0.1%3A9%2Fapi%2Fv1%2Fpayment%2F"));
    assert_eq!((page.session, gateway.seen("POST")), (None, 0));
}
