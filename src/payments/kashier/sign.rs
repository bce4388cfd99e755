//! HMAC-SHA256 with the Payment API key, in lowercase hex, over each of the texts that are signed.

use std::fmt::{self, Write};

use base::Piasters;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::{Currency, amount_text};

type Signer = Hmac<Sha256>;

/// What the redirect's signature covers where the parameters' own order doesn't give it.
const REDIRECT_FIELDS: [&str; 10] = [
    "paymentStatus",
    "cardDataToken",
    "maskedCard",
    "merchantOrderId",
    "orderId",
    "cardBrand",
    "orderReference",
    "transactionId",
    "amount",
    "currency",
];

/// The Payment API key.
#[derive(Clone)]
pub struct SigningKey(Signer);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

impl SigningKey {
    pub fn new(key: &SecretString) -> Self {
        let signer = Signer::new_from_slice(key.expose_secret().as_bytes());
        Self(signer.expect("HMAC takes a key of any length"))
    }

    pub(crate) fn sign(&self, text: &str) -> String {
        let mut mac = self.0.clone();
        mac.update(text.as_bytes());
        let tag = mac.finalize().into_bytes();
        tag.iter().fold(String::with_capacity(64), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a String takes everything");
            hex
        })
    }

    /// Is `hex` the signature of `text`? Compares in constant time.
    pub(crate) fn is_genuine(&self, text: &str, hex: &str) -> bool {
        let Some(tag) = tag_of(hex) else { return false };
        let mut mac = self.0.clone();
        mac.update(text.as_bytes());
        mac.verify_slice(&tag).is_ok()
    }

    /// The `hash` of a hosted page's address.
    pub fn order_hash(
        &self,
        merchant: &str,
        order: &str,
        amount: Piasters,
        currency: Currency,
    ) -> String {
        let amount = amount_text(amount);
        self.sign(&format!("/?payment={merchant}.{order}.{amount}.{currency}"))
    }

    /// Did the gateway send the browser back with this query? For what is shown, never for what is
    /// booked. Kashier's examples disagree about what is signed: every parameter as it came, or a
    /// fixed list.
    pub fn is_genuine_redirect(&self, query: &str) -> bool {
        let pairs: Vec<(String, String)> =
            form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let Some(signature) = value_of(&pairs, "signature") else { return false };
        let as_it_came = pairs
            .iter()
            .filter(|(name, _)| name != "signature" && name != "mode")
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>();
        if self.is_genuine(&as_it_came.join("&"), signature) {
            return true;
        }
        let listed = REDIRECT_FIELDS
            .map(|name| format!("{name}={}", value_of(&pairs, name).unwrap_or_default()));
        self.is_genuine(&listed.join("&"), signature)
    }
}

fn value_of<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Reads 64 lowercase hex digits.
fn tag_of(hex: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let bytes = hex.as_bytes();
    if bytes.len() != 64 {
        return None;
    }
    let mut tag = [0; 32];
    for (place, pair) in tag.iter_mut().zip(bytes.chunks_exact(2)) {
        *place = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(tag)
}
