//! The HTTP client against a bank that misbehaves.

use std::time::Duration;

use base::{Clock, Piasters};
use ops::{BreakerPolicy, Breakers};
use secrecy::SecretString;
use standins::{Bank, Play};

use super::super::account::{PayoutAccount, PayoutMethod};
use super::super::client::{HttpPayouts, PayoutProviderConfig};
use super::super::provider::{PayoutOrder, PayoutProvider, PayoutState};
use super::stand::NOW;
use crate::kashier::CallFailed;

/// Short, so that a bank that says nothing costs a test nothing.
const CALLS: BreakerPolicy =
    BreakerPolicy { time_out: Duration::from_millis(200), ..BreakerPolicy::DEFAULT };

fn client(url: &str, api_key: &str) -> HttpPayouts {
    let clock = Clock::manual(NOW);
    let config = PayoutProviderConfig {
        url: url.to_owned(),
        api_key: SecretString::from(api_key),
        webhook_key: SecretString::from(Bank::WEBHOOK_KEY),
    };
    HttpPayouts::new(config, &Breakers::new(clock.clone()), CALLS, clock).expect("a client")
}

async fn send(client: &HttpPayouts, reference: &str, pounds: i64) -> String {
    let account = PayoutAccount::parse(PayoutMethod::Wallet, "01012345678").expect("an account");
    let amount = Piasters::pounds(pounds);
    said(client.send(&PayoutOrder { reference, amount, account: &account }).await)
}

fn said(answer: Result<PayoutState, CallFailed>) -> String {
    match answer {
        Ok(PayoutState { standing, amount, bank_reference, reason, .. }) => {
            let more = bank_reference.or(reason).unwrap_or_default();
            format!("{standing:?} {amount} {more}").trim_end().to_owned()
        }
        Err(failed) => failed.to_string(),
    }
}

#[tokio::test]
async fn a_payout_is_sent_once_and_looked_up() {
    let bank = Bank::start().await;
    let client = client(bank.url(), Bank::API_KEY);
    let look = async |reference: &str| match client.look_up(reference).await {
        Ok(Some(state)) => said(Ok(state)),
        Ok(None) => "unknown".to_owned(),
        Err(failed) => failed.to_string(),
    };
    assert_eq!(look("wd-1").await, "unknown");
    assert_eq!(send(&client, "wd-1", 150).await, "Pending 150");
    assert_eq!(send(&client, "wd-1", 150).await, "Pending 150");
    bank.end("wd-1", "paid");
    assert_eq!(look("wd-1").await, "Paid 150 FT-PO-1");
    bank.end("wd-1", "failed");
    assert_eq!(look("wd-1").await, "Failed 150 the account is closed");
    let payouts = bank.payouts();
    assert_eq!((payouts.len(), payouts[0].asked, payouts[0].amount.as_str()), (1, 2, "150.00"));
    assert_eq!(payouts[0].account, "+201012345678");
    assert_eq!(bank.seen("/payouts"), 5);
}

#[tokio::test]
async fn what_may_have_had_an_effect_is_never_reported_as_none() {
    let bank = Bank::start().await;
    let client = client(bank.url(), Bank::API_KEY);
    let check = async |play: Option<Play>, reference: &str, expected: &str| {
        if let Some(play) = play {
            bank.play("/payouts", play);
        }
        assert_eq!(send(&client, reference, 100).await, expected);
    };
    check(Some(Play::Silence), "wd-1", "the gateway's answer is lost: no answer").await;
    check(Some(Play::Lose), "wd-2", "the gateway's answer is lost: no answer").await;
    check(Some(Play::Refuse(502)), "wd-3", "the gateway's answer is lost: 502").await;
    check(None, "wd-1", "Pending 100").await;
    assert_eq!(bank.payouts().len(), 2, "the first two were done all the same");
    check(Some(Play::Refuse(422)), "wd-3", "the gateway refused with 422").await;
    // Its circuit is open by now: another line.
    let client = self::client(bank.url(), Bank::API_KEY);
    assert_eq!(send(&client, "wd-1", 101).await, "the gateway refused with 409");
}

#[tokio::test]
async fn who_is_away_or_busy_was_not_asked() {
    let bank = Bank::start().await;
    let known = client(bank.url(), Bank::API_KEY);
    bank.play("/payouts", Play::Busy { after_s: 7 });
    assert_eq!(send(&known, "wd-1", 100).await, "the gateway was not reached: 429");
    let stranger = client(bank.url(), "another key");
    assert_eq!(send(&stranger, "wd-1", 100).await, "the gateway refused with 401");
    // Nobody listens there; after five of them nobody is asked.
    let away = client("http://127.0.0.1:9", Bank::API_KEY);
    for _ in 0..5 {
        assert_eq!(send(&away, "wd-1", 100).await, "the gateway was not reached: no connection");
    }
    let left_alone = "the gateway was not reached: it failed too often lately";
    assert_eq!(send(&away, "wd-1", 100).await, left_alone);
}

#[tokio::test]
async fn a_signature_is_the_banks_own() {
    let bank = Bank::start().await;
    let client = client(bank.url(), Bank::API_KEY);
    let body = r#"{"reference":"wd-1"}"#;
    let good = bank.sign(body);
    assert!(client.is_genuine(body.as_bytes(), &good));
    let wrong = [String::new(), good.to_uppercase(), good[2..].to_owned(), "é".repeat(32)];
    for wrong in &wrong {
        assert!(!client.is_genuine(body.as_bytes(), wrong), "{wrong}");
    }
    assert!(!client.is_genuine(b"{\"reference\":\"wd-2\"}", &good));
}
