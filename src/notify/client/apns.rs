//! Apple's push service, with a signing key (token-based), over HTTP/2.

use std::time::Duration;

use base::{Fault, Millis};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::client::{Answer, Line, Verdict, http2};
use crate::push::{Loudness, Push};

/// Apple refuses tokens that are renewed within 20 minutes, and those older than 60.
const RENEW_AFTER: Duration = Duration::from_secs(40 * 60);
/// Largest payload that is taken, bytes.
const PAYLOAD_MAX: usize = 4096;
/// What "too many" without `Retry-After` means.
const REST: Duration = Duration::from_secs(60);

/// How Apple is reached.
#[derive(Clone, Debug)]
pub struct ApnsConfig {
    /// The signing key, a `.p8` file.
    pub key: SecretString,
    pub key_id: String,
    pub team_id: String,
    /// The app's bundle.
    pub topic: String,
    /// `https://api.push.apple.com`, or the sandbox.
    pub url: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    iat: i64,
}

struct Signed {
    token: SecretString,
    renew_at: Millis,
}

pub(crate) struct Apns {
    http: Client,
    line: Line,
    config: ApnsConfig,
    key: EncodingKey,
    signed: Mutex<Option<Signed>>,
}

impl Apns {
    pub(crate) fn new(config: &ApnsConfig, line: Line) -> Result<Self, Fault> {
        let key = EncodingKey::from_ec_pem(config.key.expose_secret().as_bytes())
            .map_err(|_| Fault::internal("APNS_KEY is no P-256 key in PKCS#8 PEM"))?;
        let (http, config) = (http2()?, config.clone());
        Ok(Self { http, line, config, key, signed: Mutex::new(None) })
    }

    pub(crate) async fn send(&self, push: &Push<'_>) -> Verdict {
        let body = payload(push).to_string();
        if body.len() > PAYLOAD_MAX {
            return Verdict::Refused { code: "PAYLOAD_TOO_LARGE".to_owned() };
        }
        let token = match self.provider_token().await {
            Ok(token) => token,
            Err(verdict) => return verdict,
        };
        let url = format!("{}/3/device/{}", self.config.url.trim_end_matches('/'), push.token);
        let priority = if push.loudness == Loudness::Rings { "10" } else { "5" };
        let request = self
            .http
            .post(url)
            .header("authorization", format!("bearer {}", token.expose_secret()))
            .header("apns-topic", &self.config.topic)
            .header("apns-push-type", "alert")
            .header("apns-priority", priority)
            .header("apns-expiration", (push.until.0 / 1000).to_string())
            .header("apns-collapse-id", push.collapse)
            .header("apns-id", push.delivery.to_string())
            .body(body);
        match self.line.send(request).await {
            Ok(answer) => self.judge(&answer).await,
            Err(verdict) => verdict,
        }
    }

    async fn provider_token(&self) -> Result<SecretString, Verdict> {
        let mut signed = self.signed.lock().await;
        let now = self.line.now();
        if let Some(signed) = signed.as_ref().filter(|signed| now < signed.renew_at) {
            return Ok(signed.token.clone());
        }
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.config.key_id.clone());
        let claims = Claims { iss: &self.config.team_id, iat: now.0.div_euclid(1000) };
        let token = jsonwebtoken::encode(&header, &claims, &self.key)
            .map_err(|_| Verdict::Alert { code: "NOT_SIGNED".to_owned() })?;
        let token = SecretString::from(token);
        *signed = Some(Signed { token: token.clone(), renew_at: now + RENEW_AFTER });
        Ok(token)
    }

    async fn judge(&self, answer: &Answer) -> Verdict {
        let refused = serde_json::from_slice::<Refused>(&answer.body).unwrap_or_default();
        let after = answer.retry_after(self.line.now());
        let code = match refused.reason.as_str() {
            "" => answer.status.as_str().to_owned(),
            reason => reason.to_owned(),
        };
        match (answer.status, code.as_str()) {
            (StatusCode::OK, _) => {
                let id = answer.headers.get("apns-id").and_then(|value| value.to_str().ok());
                Verdict::Accepted { reference: id.unwrap_or_default().to_owned() }
            }
            (StatusCode::GONE, _) => Verdict::Dead { code, since: refused.timestamp.map(Millis) },
            (_, "BadDeviceToken" | "DeviceTokenNotForTopic") => Verdict::Dead { code, since: None },
            (_, "ExpiredProviderToken") => {
                *self.signed.lock().await = None;
                Verdict::Again { code, after }
            }
            (StatusCode::FORBIDDEN, _) => Verdict::Alert { code },
            (StatusCode::TOO_MANY_REQUESTS, _) => {
                Verdict::Again { code, after: after.or(Some(REST)) }
            }
            (status, _) if status.is_server_error() => Verdict::Again { code, after },
            (_, _) => Verdict::Refused { code },
        }
    }
}

#[derive(Default, Deserialize)]
struct Refused {
    #[serde(default)]
    reason: String,
    /// Since when the token is dead, unix milliseconds.
    #[serde(default)]
    timestamp: Option<i64>,
}

fn payload(push: &Push<'_>) -> Value {
    let alert = json!({"title": push.text.title, "body": push.text.body});
    let level = if push.loudness == Loudness::Rings { "time-sensitive" } else { "active" };
    let mut payload = json!({
        "aps": {"alert": alert, "sound": "default", "interruption-level": level},
    });
    for (name, value) in push.data() {
        payload[name] = json!(value);
    }
    payload
}
