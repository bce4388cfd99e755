//! What the providers have in common: one way to call out, one set of outcomes.
//!
//! Guarantees:
//! - every call ends within the breaker's time-out, and a provider that fails is left alone;
//! - a call that may have had an effect is never reported as one that had none.

pub(crate) mod apns;
pub(crate) mod fcm;
pub(crate) mod mail;
pub(crate) mod twilio;

use std::time::Duration;

use base::{Clock, Fault, Millis};
use bytes::Bytes;
use jiff::fmt::rfc2822;
use ops::{Breaker, BreakerPolicy, Breakers, CallError};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode};

/// How a provider took a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It took it, under this name.
    Accepted { reference: String },
    /// Not taken, worth another try: after the time it asked for, where it said one.
    Again { code: String, after: Option<Duration> },
    /// The address is no more: since then, where it said so.
    Dead { code: String, since: Option<Millis> },
    /// Not taken, and never will be.
    Refused { code: String },
    /// Our standing with the provider is wrong: somebody has to look.
    Alert { code: String },
    /// No answer came: it may have been taken.
    Lost { code: String },
}

/// What came back from a provider.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The time the provider asks to be left alone, as seconds or as a date.
    pub(crate) fn retry_after(&self, now: Millis) -> Option<Duration> {
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
pub(crate) enum NoAnswer {
    /// It speaks against the provider: no connection, 5xx, 429.
    Bad(Answer),
    /// Nothing reached it.
    NotSent,
    /// Sent, and nothing came back.
    Lost,
}

/// The line to one provider.
#[derive(Clone)]
pub(crate) struct Line {
    breaker: Breaker,
    clock: Clock,
}

impl Line {
    pub(crate) fn new(breakers: &Breakers, name: &'static str, clock: &Clock) -> Self {
        Self::with(breakers, name, clock, BreakerPolicy::DEFAULT)
    }

    pub(crate) fn with(
        breakers: &Breakers,
        name: &'static str,
        clock: &Clock,
        policy: BreakerPolicy,
    ) -> Self {
        Self { breaker: breakers.add(name, policy), clock: clock.clone() }
    }

    pub(crate) fn now(&self) -> Millis {
        self.clock.now()
    }

    /// Sends `request` once. The answer is in `Ok` whatever its status; `Err` is a finished
    /// verdict.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Answer, Verdict> {
        let called = self.breaker.call(exchange(request), |_| true).await;
        match called {
            Ok(answer) | Err(CallError::Failed(NoAnswer::Bad(answer))) => Ok(answer),
            Err(other) => Err(verdict(&other)),
        }
    }

    /// Runs a call that is no HTTP request under the same rules.
    pub(crate) async fn run<T>(
        &self,
        work: impl Future<Output = Result<T, NoAnswer>>,
    ) -> Result<T, Verdict> {
        self.breaker.call(work, |_| true).await.map_err(|error| verdict(&error))
    }
}

fn verdict(error: &CallError<NoAnswer>) -> Verdict {
    let again = |code: &str, after| Verdict::Again { code: code.to_owned(), after };
    match error {
        CallError::Open { wait } => again("CIRCUIT_OPEN", Some(*wait)),
        CallError::Failed(NoAnswer::NotSent) => again("UNREACHABLE", None),
        CallError::Failed(NoAnswer::Bad(answer)) => again(answer.status.as_str(), None),
        CallError::TimedOut | CallError::Failed(NoAnswer::Lost) => {
            Verdict::Lost { code: "NO_ANSWER".to_owned() }
        }
    }
}

async fn exchange(request: RequestBuilder) -> Result<Answer, NoAnswer> {
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

/// A client for providers: no redirects, since a message goes where it was meant to or nowhere.
pub(crate) fn http() -> Result<Client, Fault> {
    builder().build().map_err(|error| Fault::internal(format!("HTTP client: {error}")))
}

/// The same for a provider that speaks HTTP/2 only.
pub(crate) fn http2() -> Result<Client, Fault> {
    let built = builder().http2_prior_knowledge().build();
    built.map_err(|error| Fault::internal(format!("HTTP/2 client: {error}")))
}

fn builder() -> reqwest::ClientBuilder {
    Client::builder().redirect(Policy::none()).connect_timeout(Duration::from_secs(2))
}
