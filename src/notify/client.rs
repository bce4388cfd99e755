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
use ops::{Answer, Breaker, BreakerPolicy, Breakers, CallError, NoAnswer, exchange};
use reqwest::{Client, RequestBuilder};

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

/// A client for providers.
pub(crate) fn http() -> Result<Client, Fault> {
    ops::http_client(|builder| builder)
}

/// The same for a provider that speaks HTTP/2 only.
pub(crate) fn http2() -> Result<Client, Fault> {
    ops::http_client(reqwest::ClientBuilder::http2_prior_knowledge)
}
