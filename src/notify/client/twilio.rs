//! Twilio: SMS, and what becomes of them.

use aws_lc_rs::hmac;
use base::Fault;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use uuid::Uuid;

use crate::client::{Answer, Line, Verdict, http};

/// How Twilio is reached.
#[derive(Clone, Debug)]
pub struct TwilioConfig {
    pub account_sid: String,
    pub auth_token: SecretString,
    pub from: Sender,
    /// `https://api.twilio.com`.
    pub url: String,
    /// Our own address as Twilio calls it, up to the host: what it signs begins with it. Without
    /// one nobody tells us what became of a message.
    pub public_url: Option<String>,
}

/// Who messages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    Number(String),
    MessagingService(String),
}

/// Where Twilio tells what became of a message; the delivery's id follows.
const CALLBACK_PATH: &str = "/api/v1/webhooks/twilio";

pub(crate) struct Twilio {
    http: Client,
    line: Line,
    config: TwilioConfig,
}

impl Twilio {
    pub(crate) fn new(config: &TwilioConfig, line: Line) -> Result<Self, Fault> {
        Ok(Self { http: http()?, line, config: config.clone() })
    }

    /// Sends one SMS. Twilio knows no names for attempts: whoever asks twice sends two.
    pub(crate) async fn send(&self, phone: &str, text: &str, delivery: Uuid) -> Verdict {
        let TwilioConfig { account_sid, auth_token, from, url, .. } = &self.config;
        let url = url.trim_end_matches('/');
        let url = format!("{url}/2010-04-01/Accounts/{account_sid}/Messages.json");
        let mut form = vec![("To", phone.to_owned()), ("Body", text.to_owned())];
        form.push(match from {
            Sender::Number(number) => ("From", number.clone()),
            Sender::MessagingService(sid) => ("MessagingServiceSid", sid.clone()),
        });
        if let Some(callback) = self.callback_url(delivery) {
            form.push(("StatusCallback", callback));
        }
        let request = self.http.post(url).basic_auth(account_sid, Some(auth_token.expose_secret()));
        match self.line.send(request.form(&form)).await {
            Ok(answer) => self.judge(&answer),
            Err(verdict) => verdict,
        }
    }

    fn callback_url(&self, delivery: Uuid) -> Option<String> {
        let host = self.config.public_url.as_deref()?.trim_end_matches('/');
        Some(format!("{host}{CALLBACK_PATH}/{delivery}"))
    }

    fn judge(&self, answer: &Answer) -> Verdict {
        let said = serde_json::from_slice::<Said>(&answer.body).unwrap_or_default();
        let status = answer.status;
        if status.is_success() {
            return Verdict::Accepted { reference: said.sid.unwrap_or_default() };
        }
        let code = said.code.map_or_else(|| status.as_str().to_owned(), |code| code.to_string());
        let after = answer.retry_after(self.line.now());
        match status {
            // Both are said before anything is taken.
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                Verdict::Again { code, after }
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Verdict::Alert { code },
            status if status.is_server_error() => Verdict::Lost { code },
            _ => Verdict::Refused { code },
        }
    }

    /// Is a call to us about `delivery` Twilio's own? `form` is the body, decoded.
    pub(crate) fn is_genuine(
        &self,
        delivery: Uuid,
        form: &[(String, String)],
        given: &str,
    ) -> bool {
        let Some(url) = self.callback_url(delivery) else { return false };
        let Ok(given) = STANDARD.decode(given) else { return false };
        let key = signing_key(&self.config.auth_token);
        // Compares in constant time.
        hmac::verify(&key, signed_text(&url, form).as_bytes(), &given).is_ok()
    }
}

/// Twilio signs with HMAC-SHA1, whatever one thinks of it.
fn signing_key(token: &SecretString) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.expose_secret().as_bytes())
}

/// The address, then each parameter by name: name and value without anything between.
fn signed_text(url: &str, form: &[(String, String)]) -> String {
    let mut sorted: Vec<&(String, String)> = form.iter().collect();
    sorted.sort();
    sorted.iter().fold(url.to_owned(), |text, (name, value)| text + name + value)
}

#[derive(Default, Deserialize)]
struct Said {
    #[serde(default)]
    sid: Option<String>,
    #[serde(default)]
    code: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of Twilio's own documentation.
    #[test]
    fn a_signature_is_what_twilio_makes() {
        let form = [
            ("CallSid", "CA1234567890ABCDE"),
            ("Caller", "+12349013030"),
            ("Digits", "1234"),
            ("From", "+12349013030"),
            ("To", "+18005551212"),
        ];
        let form = form.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let text = signed_text("https://mycompany.com/myapp.php?foo=1&bar=2", &form);
        let key = signing_key(&SecretString::from("12345"));
        let tag = STANDARD.encode(hmac::sign(&key, text.as_bytes()));
        assert_eq!(tag, "0/KCTR6DLpKmkAf8muzZqo1nDgQ=");
    }
}
