//! One HTTP call to a third party: what came back, and what may have happened when nothing did.
//!
//! Guarantees: a call that may have had an effect is never reported as one that had none.

use std::time::Duration;

use base::{Fault, Millis};
use bytes::Bytes;
use jiff::fmt::rfc2822;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, RequestBuilder, StatusCode};

/// How long a third party may take to pick up.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The time the other side asks to be left alone, as seconds or as a date.
    pub fn retry_after(&self, now: Millis) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = rfc2822::parse(text).ok()?;
        Some(Millis::from(at.timestamp()).after(now))
    }
}

/// Why there is no answer to go by.
#[derive(Debug)]
pub enum NoAnswer {
    /// It speaks against the other side: 5xx, 429.
    Bad(Answer),
    /// Nothing reached it.
    NotSent,
    /// Sent, and nothing came back.
    Lost,
}

/// Sends `request` once. To be run through a breaker, which ends it in time.
pub async fn exchange(request: RequestBuilder) -> Result<Answer, NoAnswer> {
    let response = request.send().await.map_err(|error| {
        // Errors can repeat the address, which may hold a token: they are not logged.
        if error.is_connect() || error.is_builder() { NoAnswer::NotSent } else { NoAnswer::Lost }
    })?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes().await;
    let is_bad = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    match body {
        // The status says enough where the body broke off.
        Err(_) if status.is_success() => Err(NoAnswer::Lost),
        body => {
            let answer = Answer { status, headers, body: body.unwrap_or_default() };
            if is_bad { Err(NoAnswer::Bad(answer)) } else { Ok(answer) }
        }
    }
}

/// A client for third parties: no redirects, since a call goes where it was meant to or nowhere.
pub fn http_client(more: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Result<Client, Fault> {
    let builder = Client::builder().redirect(Policy::none()).connect_timeout(CONNECT_WITHIN);
    more(builder).build().map_err(|error| Fault::internal(format!("HTTP client: {error}")))
}
