//! The text that a notice's signature is made of: what npm's `query-string` 7 makes of the signed
//! members, because that is what the gateway runs.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;

/// Members of a notice's `data`, as they were written.
pub(super) type Members = BTreeMap<String, Box<RawValue>>;

/// Everything but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// `key=value` of the named members that are there, sorted as JavaScript sorts. `None` when a value
/// has no text that both sides would agree on.
pub(super) fn canonical(members: &Members, signed: &[String]) -> Option<String> {
    let mut names: Vec<&String> =
        signed.iter().filter(|name| members.contains_key(*name)).collect();
    names.sort_by(|one, other| one.encode_utf16().cmp(other.encode_utf16()));
    names.dedup();
    let mut parts = Vec::with_capacity(names.len());
    for name in names {
        let key = encoded(name);
        let raw = &members[name];
        match raw.get().starts_with('[') {
            true => {
                let items: Vec<Box<RawValue>> = serde_json::from_str(raw.get()).ok()?;
                for item in &items {
                    parts.push(part(&key, item)?);
                }
            }
            false => parts.push(part(&key, raw)?),
        }
    }
    Some(parts.join("&"))
}

fn part(key: &str, raw: &RawValue) -> Option<String> {
    let literal = raw.get();
    let text = match literal.bytes().next()? {
        b'n' => return Some(key.to_owned()),
        b't' | b'f' => literal.to_owned(),
        b'"' => serde_json::from_str(literal).ok()?,
        // What an object is in a text, there.
        b'{' => "[object Object]".to_owned(),
        b'[' => return None,
        // Read here and not by the JSON parser, whose last digit may be off.
        _ => number_text(literal.parse().ok()?)?,
    };
    Some(format!("{key}={}", encoded(&text)))
}

/// A number as JavaScript prints it, where it prints no exponent.
fn number_text(number: f64) -> Option<String> {
    let size = number.abs();
    if size == 0.0 {
        return Some("0".to_owned());
    }
    (1e-6..1e21).contains(&size).then(|| number.to_string())
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}
