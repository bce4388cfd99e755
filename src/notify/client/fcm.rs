//! Firebase Cloud Messaging, HTTP v1.

use std::collections::BTreeMap;
use std::time::Duration;

use base::{Fault, Millis};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::client::{Answer, Line, Verdict, http};
use crate::push::{Loudness, Push};

const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How long an assertion is good; the most that is allowed.
const ASSERTION_S: i64 = 3600;
/// An access token is renewed this long before its end.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// Largest message that is taken, bytes.
const PAYLOAD_MAX: usize = 4096;
/// What a quota's end without `Retry-After` means.
const QUOTA_REST: Duration = Duration::from_secs(60);

/// How Firebase is reached.
#[derive(Clone, Debug)]
pub struct FcmConfig {
    /// The service account's key file, JSON.
    pub account: SecretString,
    /// `https://fcm.googleapis.com`.
    pub url: String,
}

#[derive(Deserialize)]
struct Account {
    project_id: String,
    private_key_id: String,
    private_key: SecretString,
    client_email: String,
    token_uri: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

#[derive(Deserialize)]
struct Granted {
    access_token: SecretString,
    expires_in: u64,
}

struct Held {
    token: SecretString,
    renew_at: Millis,
}

pub(crate) struct Fcm {
    http: Client,
    line: Line,
    account: Account,
    key: EncodingKey,
    send_url: String,
    /// Whoever holds the lock fetches; the others wait for what he gets.
    held: Mutex<Option<Held>>,
}

impl Fcm {
    pub(crate) fn new(config: &FcmConfig, line: Line) -> Result<Self, Fault> {
        // The parser's message would repeat parts of the key.
        let account: Account = serde_json::from_str(config.account.expose_secret())
            .map_err(|_| Fault::internal("the FCM service account is not the expected JSON"))?;
        let pem = account.private_key.expose_secret().as_bytes();
        let key = EncodingKey::from_rsa_pem(pem)
            .map_err(|_| Fault::internal("the FCM service account's key is no RSA key"))?;
        let base = config.url.trim_end_matches('/');
        let send_url = format!("{base}/v1/projects/{}/messages:send", account.project_id);
        Ok(Self { http: http()?, line, account, key, send_url, held: Mutex::new(None) })
    }

    pub(crate) async fn send(&self, push: &Push<'_>) -> Verdict {
        let body = message(push, self.line.now()).to_string();
        if body.len() > PAYLOAD_MAX {
            return Verdict::Refused { code: "PAYLOAD_TOO_LARGE".to_owned() };
        }
        let token = match self.access_token().await {
            Ok(token) => token,
            Err(verdict) => return verdict,
        };
        let request = self
            .http
            .post(&self.send_url)
            .bearer_auth(token.expose_secret())
            .header("content-type", "application/json")
            .body(body);
        let answer = match self.line.send(request).await {
            Ok(answer) => answer,
            Err(verdict) => return verdict,
        };
        if answer.status == StatusCode::UNAUTHORIZED {
            *self.held.lock().await = None;
        }
        judge(&answer, self.line.now())
    }

    async fn access_token(&self) -> Result<SecretString, Verdict> {
        let mut held = self.held.lock().await;
        let now = self.line.now();
        if let Some(held) = held.as_ref().filter(|held| now < held.renew_at) {
            return Ok(held.token.clone());
        }
        let form = [("grant_type", GRANT.to_owned()), ("assertion", self.assertion(now)?)];
        let request = self.http.post(&self.account.token_uri).form(&form);
        // Asking for a token twice does no harm, so a lost answer is no loss.
        let answer = self.line.send(request).await.map_err(|verdict| match verdict {
            Verdict::Lost { code } => Verdict::Again { code, after: None },
            other => other,
        })?;
        if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS {
            let after = answer.retry_after(now);
            return Err(Verdict::Again { code: "TOKEN_UNAVAILABLE".to_owned(), after });
        }
        let refused = || Verdict::Alert { code: "TOKEN_REFUSED".to_owned() };
        if !answer.status.is_success() {
            return Err(refused());
        }
        let granted: Granted = serde_json::from_slice(&answer.body).map_err(|_| refused())?;
        let lives = Duration::from_secs(granted.expires_in).saturating_sub(RENEW_BEFORE);
        let token = granted.access_token;
        *held = Some(Held { token: token.clone(), renew_at: now + lives });
        Ok(token)
    }

    /// The signed claim that we are the service account.
    fn assertion(&self, now: Millis) -> Result<String, Verdict> {
        let iat = now.0.div_euclid(1000);
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some(self.account.private_key_id.clone());
        let claims = Claims {
            iss: &self.account.client_email,
            scope: SCOPE,
            aud: &self.account.token_uri,
            iat,
            exp: iat + ASSERTION_S,
        };
        jsonwebtoken::encode(&header, &claims, &self.key)
            .map_err(|_| Verdict::Alert { code: "NOT_SIGNED".to_owned() })
    }
}

fn message(push: &Push<'_>, now: Millis) -> Value {
    let ttl_s = push.until.after(now).as_secs();
    let (title, body) = (&push.text.title, &push.text.body);
    let mut data: BTreeMap<&str, String> = push.data();
    let loud = push.loudness == Loudness::Rings;
    let mut message = json!({
        "token": push.token,
        "android": {
            "priority": if loud { "HIGH" } else { "NORMAL" },
            "ttl": format!("{ttl_s}s"),
            "collapse_key": push.collapse,
        },
        "apns": {
            "headers": {
                "apns-priority": if loud { "10" } else { "5" },
                "apns-push-type": "alert",
                "apns-expiration": (push.until.0 / 1000).to_string(),
                "apns-collapse-id": push.collapse,
            },
            "payload": {"aps": {"alert": {"title": title, "body": body}, "sound": "default"}},
        },
    });
    if push.is_data_only() {
        // The app draws it itself, with buttons and the time that is left.
        data.insert("title", title.clone());
        data.insert("body", body.clone());
    } else {
        message["notification"] = json!({"title": title, "body": body});
    }
    message["data"] = json!(data);
    json!({"validate_only": false, "message": message})
}

#[derive(Deserialize)]
struct Sent {
    name: String,
}

#[derive(Deserialize)]
struct Failed {
    error: FailedError,
}

#[derive(Deserialize)]
struct FailedError {
    #[serde(default)]
    status: String,
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    #[serde(rename = "@type", default)]
    kind: String,
    #[serde(rename = "errorCode", default)]
    code: String,
}

/// What Firebase's answer means.
fn judge(answer: &Answer, now: Millis) -> Verdict {
    if answer.status.is_success() {
        // Taken in any case; without a name it can only not be looked up.
        let sent = serde_json::from_slice::<Sent>(&answer.body);
        return Verdict::Accepted { reference: sent.map(|sent| sent.name).unwrap_or_default() };
    }
    let failed = serde_json::from_slice::<Failed>(&answer.body).ok().map(|failed| failed.error);
    let own = failed.as_ref().and_then(|error| {
        error.details.iter().find(|detail| detail.kind.ends_with("google.firebase.fcm.v1.FcmError"))
    });
    let status = answer.status;
    let code = match (own, &failed) {
        (Some(detail), _) => detail.code.clone(),
        (None, Some(error)) if !error.status.is_empty() => error.status.clone(),
        (None, _) => status.as_str().to_owned(),
    };
    let after = answer.retry_after(now);
    match code.as_str() {
        "UNREGISTERED" | "SENDER_ID_MISMATCH" => Verdict::Dead { code, since: None },
        // Without Firebase's own detail it is our request that is wrong, and not the token.
        "INVALID_ARGUMENT" if own.is_some() => Verdict::Dead { code, since: None },
        "QUOTA_EXCEEDED" | "RESOURCE_EXHAUSTED" => {
            Verdict::Again { code, after: after.or(Some(QUOTA_REST)) }
        }
        // UNAUTHENTICATED: our access token ended early, the next try gets a new one.
        "UNAVAILABLE" | "INTERNAL" | "UNAUTHENTICATED" => Verdict::Again { code, after },
        "THIRD_PARTY_AUTH_ERROR" | "PERMISSION_DENIED" => Verdict::Alert { code },
        _ if status == StatusCode::TOO_MANY_REQUESTS => {
            Verdict::Again { code, after: after.or(Some(QUOTA_REST)) }
        }
        _ if status.is_server_error() => Verdict::Again { code, after },
        _ => Verdict::Refused { code },
    }
}

#[cfg(test)]
mod tests {
    use base::Clock;
    use ops::Breakers;

    use super::*;

    /// The same claims signed by OpenSSL with the same key.
    #[test]
    fn an_assertion_is_what_others_make_of_the_same_claims() {
        let account = json!({
            "project_id": "test-project",
            "private_key_id": "test-key",
            "private_key": include_str!("../tests/keys/fcm_private.pem"),
            "client_email": "push@test-project.iam.gserviceaccount.com",
            "token_uri": "https://oauth2.googleapis.com/token",
        });
        let account = SecretString::from(account.to_string());
        let config = FcmConfig { account, url: "https://fcm.googleapis.com".to_owned() };
        let clock = Clock::manual(Millis(1_800_000_000_123));
        let line = Line::new(&Breakers::new(clock.clone()), "test", &clock);
        let fcm = Fcm::new(&config, line).unwrap();
        let expected = include_str!("../tests/keys/assertion.jwt");
        assert_eq!(fcm.assertion(clock.now()).unwrap(), expected);
    }
}
