//! REST, as a client speaks it: the envelope, tokens, patience with a busy server.
//!
//! Owns one connection pool and the shape of success and failure. Every question is timed and
//! every failure counted by what was asked and the code that came back.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::stats::Stats;
use crate::wire::Refusal;

/// Longest a question may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Times a question is asked again when the server says it is too busy.
const RETRIES: u32 = 4;
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// Why there is no good answer.
#[derive(Clone, Debug)]
pub enum Failure {
    /// The server said no.
    Refused(Refusal),
    /// The connection failed or ended.
    Lost(String),
    /// No answer in time.
    TimedOut,
    /// An answer that is not what the documents say.
    Odd(String),
}

impl Failure {
    /// The server's code, or a word of our own.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused(refusal) => &refusal.code,
            Self::Lost(_) => "(connection lost)",
            Self::TimedOut => "(no answer)",
            Self::Odd(_) => "(not as documented)",
        }
    }

    pub fn is(&self, code: &str) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.code == code)
    }

    /// Said of a trip that another driver has now.
    pub fn is_no_longer_his(&self) -> bool {
        self.is("NOT_FOUND") || self.is("FORBIDDEN")
    }

    /// Whether the socket it happened on is of no more use.
    pub const fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }

    /// `details.current` of an invalid transition.
    pub fn current(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => refusal.details.get("current")?.as_str(),
            Self::Lost(_) | Self::TimedOut | Self::Odd(_) => None,
        }
    }

    /// Whether the same question may succeed a little later.
    pub fn passes(&self) -> bool {
        match self {
            Self::Refused(refusal) => {
                ["UNAVAILABLE", "TIMEOUT", "RATE_LIMITED"].contains(&refusal.code.as_str())
            }
            Self::Lost(_) | Self::TimedOut => true,
            Self::Odd(_) => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal)
                if refusal.details.as_object().is_some_and(|d| !d.is_empty()) =>
            {
                write!(f, "{}: {} {}", refusal.code, refusal.message, refusal.details)
            }
            Self::Refused(refusal) => write!(f, "{}: {}", refusal.code, refusal.message),
            Self::Lost(why) => write!(f, "connection lost: {why}"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Odd(what) => write!(f, "not as documented: {what}"),
        }
    }
}

impl std::error::Error for Failure {}

/// A question of REST.
pub struct Ask<'a> {
    /// Its name in the statistics.
    pub what: &'static str,
    pub method: Method,
    /// Below `/api/v1`.
    pub path: String,
    pub token: Option<&'a str>,
    /// The same key makes a repetition harmless.
    pub key: Option<Uuid>,
}

impl<'a> Ask<'a> {
    pub fn get(what: &'static str, path: impl Into<String>, token: &'a str) -> Self {
        Self { what, method: Method::GET, path: path.into(), token: Some(token), key: None }
    }

    pub fn post(what: &'static str, path: impl Into<String>, token: &'a str) -> Self {
        Self { what, method: Method::POST, path: path.into(), token: Some(token), key: None }
    }

    /// A question before anybody is logged in.
    pub fn open(what: &'static str, path: &str) -> Self {
        Self { what, method: Method::POST, path: path.to_owned(), token: None, key: None }
    }

    pub const fn with_key(mut self, key: Uuid) -> Self {
        self.key = Some(key);
        self
    }
}

/// The door to the server.
#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    stats: Arc<Stats>,
}

#[derive(Deserialize)]
struct Reply {
    success: bool,
    #[serde(default)]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<Refusal>,
}

/// What is sent with a question that needs no words.
#[derive(Serialize)]
pub struct Nothing {}

impl Api {
    pub fn new(url: &str, stats: Arc<Stats>) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().timeout(TIMEOUT).tcp_nodelay(true).build()?;
        Ok(Self { http, base: format!("{url}/api/v1"), stats })
    }

    pub async fn get<T: DeserializeOwned>(&self, ask: Ask<'_>) -> Result<T, Failure> {
        self.send(ask, None::<&Nothing>).await
    }

    pub async fn post<T: DeserializeOwned>(
        &self,
        ask: Ask<'_>,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.send(ask, Some(body)).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        ask: Ask<'_>,
        body: Option<&impl Serialize>,
    ) -> Result<T, Failure> {
        let mut tries = 0;
        loop {
            let begun = Instant::now();
            let answer = self.once(&ask, body).await;
            self.stats.answered(ask.what, begun.elapsed());
            let failure = match answer.and_then(|raw| parse::<T>(raw.as_deref())) {
                Ok(data) => return Ok(data),
                Err(Busy { failure, wait: Some(wait) }) if tries < RETRIES => {
                    self.stats.failed(ask.what, failure.code(), &failure.to_string());
                    tokio::time::sleep(wait).await;
                    tries += 1;
                    continue;
                }
                Err(busy) => busy.failure,
            };
            self.stats.failed(ask.what, failure.code(), &failure.to_string());
            return Err(failure);
        }
    }

    async fn once(
        &self,
        ask: &Ask<'_>,
        body: Option<&impl Serialize>,
    ) -> Result<Option<Box<RawValue>>, Busy> {
        let mut request =
            self.http.request(ask.method.clone(), format!("{}{}", self.base, ask.path));
        if let Some(token) = ask.token {
            request = request.bearer_auth(token);
        }
        if let Some(key) = ask.key {
            request = request.header("Idempotency-Key", key.to_string());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|e| Busy::from(lost(&e)))?;
        let status = response.status();
        let wait = (status == StatusCode::TOO_MANY_REQUESTS).then(|| retry_after(&response));
        let bytes = response.bytes().await.map_err(|e| Busy::from(lost(&e)))?;
        if status == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let reply: Reply = serde_json::from_slice(&bytes)
            .map_err(|e| Busy::from(Failure::Odd(format!("HTTP {status}, no envelope: {e}"))))?;
        match (reply.success, reply.error) {
            (true, _) if status.is_success() => Ok(reply.data),
            (_, Some(refusal)) => Err(Busy { failure: Failure::Refused(refusal), wait }),
            _ => Err(Failure::Odd(format!("HTTP {status} without an error")).into()),
        }
    }
}

/// A failure, and how long to wait before the question may be asked again.
struct Busy {
    failure: Failure,
    wait: Option<Duration>,
}

impl From<Failure> for Busy {
    fn from(failure: Failure) -> Self {
        Self { failure, wait: None }
    }
}

fn parse<T: DeserializeOwned>(raw: Option<&RawValue>) -> Result<T, Busy> {
    let text = raw.map_or("null", RawValue::get);
    serde_json::from_str(text).map_err(|e| {
        let start: String = text.chars().take(200).collect();
        Failure::Odd(format!("{e} in {start}")).into()
    })
}

fn retry_after(response: &reqwest::Response) -> Duration {
    let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let seconds = header.and_then(|text| text.parse().ok()).unwrap_or(1);
    Duration::from_secs(seconds).min(RETRY_AFTER_MAX)
}

fn lost(error: &reqwest::Error) -> Failure {
    if error.is_timeout() {
        return Failure::TimedOut;
    }
    // The useful part ("connection refused") is at the end of the chain.
    let mut source: &dyn std::error::Error = error;
    while let Some(deeper) = source.source() {
        source = deeper;
    }
    Failure::Lost(source.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_code_and_message_and_knows_where_the_trip_is() {
        let refusal: Refusal = serde_json::from_str(
            r#"{"code":"INVALID_TRANSITION","message":"can't","details":{"current":"cancelled"}}"#,
        )
        .expect("a refusal");
        let failure = Failure::Refused(refusal);
        assert!(failure.is("INVALID_TRANSITION") && !failure.passes());
        assert_eq!(failure.current(), Some("cancelled"));
        assert_eq!(failure.to_string(), r#"INVALID_TRANSITION: can't {"current":"cancelled"}"#);
        assert!(Failure::Lost("reset".to_owned()).passes());
    }

    #[test]
    fn an_answer_that_misses_a_field_names_it() {
        let raw = RawValue::from_string(r#"{"status":"requested"}"#.to_owned()).expect("json");
        let Err(busy) = parse::<crate::wire::TripView>(Some(&raw)) else { panic!("it parsed") };
        assert!(busy.failure.to_string().contains("missing field `id`"), "{}", busy.failure);
    }
}
