//! What Kashier signs, as npm `query-string` 7 and node's crypto make it.

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use sha2::Sha256;

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// HMAC-SHA256 in lowercase hex.
pub fn sign(key: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any length will do");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The signed text of a notice's `data`.
pub fn canonical(data: &Value) -> String {
    let listed = data["signatureKeys"].as_array().into_iter().flatten();
    let mut keys: Vec<&str> = listed.filter_map(Value::as_str).collect();
    keys.sort_unstable();
    let parts = keys.into_iter().filter_map(|key| {
        let encode = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
        let value = match data.get(key)? {
            Value::Null => return Some(encode(key)),
            Value::String(text) => text.clone(),
            Value::Number(number) => number.as_f64().expect("a JSON number").to_string(),
            other => other.to_string(),
        };
        Some(format!("{}={}", encode(key), encode(&value)))
    });
    parts.collect::<Vec<_>>().join("&")
}
