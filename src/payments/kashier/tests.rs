//! The protocol against its vectors: made with npm `query-string` 7.1.3, `underscore` and node's
//! crypto, two of them published by Kashier itself.

use base::Piasters;
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::canonical::{Members, canonical};
use super::{Currency, Event, NotGenuine, Notice, NoticeStatus, SigningKey, amount_text};

const OURS: &str = "smartline-test-payment-key";

fn key(text: &str) -> SigningKey {
    SigningKey::new(&SecretString::from(text.to_owned()))
}

#[test]
fn an_order_is_hashed_as_the_gateway_does() {
    let check = |secret: &str, (merchant, order): (&str, &str), amount: i64, hash: &str| {
        let made = key(secret).order_hash(merchant, order, Piasters(amount), Currency::Egp);
        assert_eq!(made, hash);
    };
    check(
        OURS,
        ("MID-123-456", "dep-0001"),
        15_050,
        "d490c82d9469bab6c727c7cb4581377c02a95a4339796c787230e1ce3c1882ca",
    );
    // Kashier's own has the amount "20", which we never write: the text itself is checked.
    assert_eq!(
        key("11111").sign("/?payment=mid-0-1.99.20.EGP"),
        "606a8a1307d64caf4e2e9bb724738f115a8972c27eccb2a8acd9194c357e4bec"
    );
}

#[test]
fn an_amount_is_written_with_two_decimals() {
    let check = |piasters, text: &str| assert_eq!(amount_text(Piasters(piasters)), text);
    check(15_050, "150.50");
    check(10_000, "100.00");
    check(7, "0.07");
    check(-325, "-3.25");
}

const REDIRECT: &str = "paymentStatus=SUCCESS&cardDataToken=&maskedCard=512345******2346\
    &merchantOrderId=dep-0001&orderId=7b0f2c1e-1111-4222-8333-444455556666&cardBrand=Mastercard\
    &orderReference=TEST-ORD-1&transactionId=TX-1&amount=150.50&currency=EGP";
const REDIRECT_HEX: &str = "0484c0f93851b93570bd9e2c998560c66bf23aead2d96226b5d13d1ceb0ebdd3";

#[test]
fn a_redirect_is_known_by_its_signature() {
    let key = key(OURS);
    assert_eq!(key.sign(REDIRECT), REDIRECT_HEX);
    let check = |query: &str, expected: bool| {
        assert_eq!(key.is_genuine_redirect(query), expected, "{query}");
    };
    check(&format!("{REDIRECT}&signature={REDIRECT_HEX}&mode=test"), true);
    let encoded = REDIRECT.replace('*', "%2A");
    check(&format!("{encoded}&mode=test&signature={REDIRECT_HEX}"), true);
    // More parameters, in another order: the fixed list says what is signed.
    check(&format!("extra=1&currency=EGP&{REDIRECT}&signature={REDIRECT_HEX}"), true);
    let dearer = REDIRECT.replace("150.50", "1500.50");
    check(&format!("{dearer}&signature={REDIRECT_HEX}"), false);
    check(REDIRECT, false);
    check(&format!("{REDIRECT}&signature={}", REDIRECT_HEX.to_uppercase()), false);
}

/// The text of `data`'s signed members.
fn text(data: &str) -> String {
    let members: Members = serde_json::from_str(data).unwrap();
    let signed: Vec<String> = serde_json::from_str(members["signatureKeys"].get()).unwrap();
    canonical(&members, &signed).unwrap()
}

const SAMPLE: &str = r#"{
    "merchantOrderId": "1642935044835", "kashierOrderId": "efb3d440-e3bf-4c86-b98e-c7bb1cbbcca1",
    "orderReference": "TEST-ORD-33581", "transactionId": "TX-249893122", "status": "SUCCESS",
    "method": "card", "creationDate": "2022-01-23T10:51:32.207Z", "amount": 11334,
    "currency": "EGP", "transactionResponseCode": "00", "channel": "online | e-commerce",
    "card": {"cardInfo": {"cardHolderName": "A B", "maskedCard": "512345******2346"}},
    "signatureKeys": ["amount", "channel", "currency", "kashierOrderId", "merchantOrderId",
        "method", "orderReference", "status", "transactionId", "transactionResponseCode"]}"#;
const SAMPLE_HEX: &str = "9b618fe7c05b33e3b6cfae86734128271b572aaea184fae23f153aa7f3c832b0";

const HARD: &str = r#"{
    "merchantOrderId": "dep-0001", "kashierOrderId": "7b0f2c1e-1111-4222-8333-444455556666",
    "orderReference": "TEST-ORD-1", "transactionId": "TX-1", "status": "SUCCESS",
    "method": "wallet", "amount":150.50, "currency": "EGP", "transactionResponseCode": "00",
    "channel": "online | e-commerce", "note":null, "x":"it's (x)*! ع",
    "signatureKeys": ["x", "note", "absent", "amount", "channel", "currency", "kashierOrderId",
        "merchantOrderId", "method", "orderReference", "status", "transactionId",
        "transactionResponseCode"]}"#;
const HARD_HEX: &str = "63c6c0956eb46e67df7cf1a61dbd4b01ade9ae496c08a5c5052a831f60220466";

#[test]
fn a_notice_is_signed_over_what_query_string_makes_of_it() {
    assert_eq!(
        text(SAMPLE),
        "amount=11334&channel=online%20%7C%20e-commerce&currency=EGP\
         &kashierOrderId=efb3d440-e3bf-4c86-b98e-c7bb1cbbcca1&merchantOrderId=1642935044835\
         &method=card&orderReference=TEST-ORD-33581&status=SUCCESS&transactionId=TX-249893122\
         &transactionResponseCode=00"
    );
    assert_eq!(
        text(HARD),
        "amount=150.5&channel=online%20%7C%20e-commerce&currency=EGP\
         &kashierOrderId=7b0f2c1e-1111-4222-8333-444455556666&merchantOrderId=dep-0001\
         &method=wallet&note&orderReference=TEST-ORD-1&status=SUCCESS&transactionId=TX-1\
         &transactionResponseCode=00&x=it%27s%20%28x%29%2A%21%20%D8%B9"
    );
}

#[test]
fn values_are_written_as_javascript_writes_them() {
    let check = |value: &str, expected: Option<&str>| {
        let members: Members = serde_json::from_str(&format!("{{\"a\":{value}}}")).unwrap();
        let made = canonical(&members, &["a".to_owned()]);
        assert_eq!(made.as_deref(), expected, "{value}");
    };
    check("100.00", Some("a=100"));
    check("0.1", Some("a=0.1"));
    check("-0.0", Some("a=0"));
    check("1e3", Some("a=1000"));
    check("123456789012345680000", Some("a=123456789012345680000"));
    // JavaScript would print an exponent: no amount is like that.
    check("1e21", None);
    check("1e-7", None);
    check("true", Some("a=true"));
    check("null", Some("a"));
    check("\"\"", Some("a="));
    check("[1,null,\"b c\"]", Some("a=1&a&a=b%20c"));
    check("[]", Some(""));
    check("{\"b\":1}", Some("a=%5Bobject%20Object%5D"));
    check("[[1]]", None);
}

fn sample(body: &str, signature: &str) -> Result<Notice, NotGenuine> {
    let body = format!("{{\"event\":\"pay\",\"data\":{body}}}");
    Notice::verify(&key("kashier-doc-sample-key"), body.as_bytes(), signature)
}

#[test]
fn a_genuine_notice_is_read() {
    let notice = sample(SAMPLE, SAMPLE_HEX).expect("it is genuine");
    assert_eq!(notice.event, Event::Pay);
    assert_eq!(notice.order, "1642935044835");
    assert_eq!(notice.transaction, "TX-249893122");
    assert_eq!(notice.status, NoticeStatus::Success);
    assert_eq!(notice.amount, Some(Piasters(1_133_400)));
    assert_eq!(notice.currency, Some(Currency::Egp));
    assert_eq!(notice.response_code.as_deref(), Some("00"));
    let hard = format!("{{\"event\":\"pay\",\"data\":{HARD}}}");
    let notice = Notice::verify(&key(OURS), hard.as_bytes(), HARD_HEX).expect("it is genuine");
    assert_eq!(notice.amount, Some(Piasters(15_050)));
}

#[test]
fn what_is_not_signed_as_it_stands_is_refused() {
    let check = |body: &str, signature: &str, expected: NotGenuine| {
        assert_eq!(sample(body, signature), Err(expected), "{body}");
    };
    check(&SAMPLE.replace("11334", "11335"), SAMPLE_HEX, NotGenuine::Forged);
    check(&SAMPLE.replace("EGP", "USD"), SAMPLE_HEX, NotGenuine::Forged);
    check(&SAMPLE.replace("SUCCESS", "FAILURE"), SAMPLE_HEX, NotGenuine::Forged);
    check(SAMPLE, "", NotGenuine::Forged);
    check(SAMPLE, &SAMPLE_HEX.to_uppercase(), NotGenuine::Forged);
    check(SAMPLE, HARD_HEX, NotGenuine::Forged);
    // The redirect's signature belongs to the same key and is for something else.
    check(SAMPLE, &key("kashier-doc-sample-key").sign(REDIRECT), NotGenuine::Forged);
    check("[]", SAMPLE_HEX, NotGenuine::Malformed);
    check("{}", SAMPLE_HEX, NotGenuine::Uncovered("signatureKeys"));
    assert_eq!(Notice::verify(&key(OURS), b"\xff", ""), Err(NotGenuine::Malformed));
    // A member named twice counts as JavaScript counts it: the last one is signed and read.
    let twice = SAMPLE.replace("\"amount\": 11334", "\"amount\": 1, \"amount\": 11334");
    let read = sample(&twice, SAMPLE_HEX).expect("it is genuine");
    assert_eq!(read.amount, Some(Piasters(1_133_400)));
}

/// A notice signed by the owner of the key.
fn signed(data: &Value) -> Result<Notice, NotGenuine> {
    let members: Members = serde_json::from_str(&data.to_string()).unwrap();
    let listed: Vec<String> = serde_json::from_value(data["signatureKeys"].clone()).unwrap();
    let signature = key(OURS).sign(&canonical(&members, &listed).unwrap());
    let body = json!({"event": "pay", "data": data}).to_string();
    Notice::verify(&key(OURS), body.as_bytes(), &signature)
}

fn whole() -> Value {
    let names = ["merchantOrderId", "transactionId", "status", "amount", "currency"];
    json!({
        "merchantOrderId": "dep-1", "transactionId": "TX-1", "status": "SUCCESS",
        "amount": 42.5, "currency": "EGP", "signatureKeys": names,
    })
}

#[test]
fn a_signature_must_cover_what_counts() {
    assert!(signed(&whole()).is_ok());
    for name in ["merchantOrderId", "transactionId", "status", "amount", "currency"] {
        let mut unlisted = whole();
        unlisted["signatureKeys"].as_array_mut().unwrap().retain(|listed| listed != name);
        assert_eq!(signed(&unlisted), Err(NotGenuine::Uncovered(name)));
        let mut absent = whole();
        absent.as_object_mut().unwrap().remove(name);
        assert_eq!(signed(&absent), Err(NotGenuine::Uncovered(name)));
    }
}

#[test]
fn what_is_signed_and_makes_no_sense_pays_nothing() {
    let check = |name: &str, value: Value, wrong: fn(&Notice) -> bool| {
        let mut data = whole();
        data[name] = value.clone();
        assert!(wrong(&signed(&data).expect("it is genuine")), "{name} {value}");
    };
    check("amount", json!(42.505), |notice| notice.amount.is_none());
    check("amount", json!("42.50"), |notice| notice.amount == Some(Piasters(4250)));
    check("amount", json!("x"), |notice| notice.amount.is_none());
    check("currency", json!("USD"), |notice| notice.currency.is_none());
    check("status", json!("APPROVED"), |notice| notice.status == NoticeStatus::Unknown);
    check("status", json!("success"), |notice| notice.status == NoticeStatus::Unknown);
    check("merchantId", json!("MID-9-9"), |n| n.merchant.as_deref() == Some("MID-9-9"));
    let nested = json!({"merchantId": "MID-9-9"});
    check("merchantDetails", nested, |n| n.merchant.as_deref() == Some("MID-9-9"));
}

proptest! {
    /// Whoever changes a signed byte is found out, and nothing makes the reader panic.
    #[test]
    fn a_changed_notice_is_never_believed(at in 0..SAMPLE.len(), byte in 0u8..) {
        let mut changed = SAMPLE.as_bytes().to_vec();
        changed[at] = byte;
        if let Ok(text) = String::from_utf8(changed)
            && let Ok(notice) = sample(&text, SAMPLE_HEX)
        {
            let genuine = sample(SAMPLE, SAMPLE_HEX).expect("it is genuine");
            prop_assert_eq!(notice.order, genuine.order);
            prop_assert_eq!(notice.transaction, genuine.transaction);
            prop_assert_eq!(notice.status, genuine.status);
            prop_assert_eq!(notice.amount, genuine.amount);
            prop_assert_eq!(notice.currency, genuine.currency);
        }
    }
}
