//! Circuit breakers: a third party that fails is left alone for a while, so that its trouble does
//! not become ours.
//!
//! One [`Breaker`] stands before each third party and every call to it goes through
//! [`Breaker::call`]. [`Breakers`] is the list of them, for operators.
//!
//! Guarantees:
//! - a call ends within the policy's time-out, whatever the other side does;
//! - while a circuit is open nobody is called; afterwards one call at a time tries it;
//! - a call that is given up (its future dropped) is held against nobody.

mod circuit;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use base::{Clock, Millis};
use metrics::{counter, gauge};
use parking_lot::Mutex;
use serde::Serialize;
use tracing::{info, warn};
use utoipa::ToSchema;

use circuit::{Circuit, Ending, Ticket};

/// When a circuit opens and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// A call that takes longer has failed.
    pub time_out: Duration,
    /// How far back calls count.
    pub window: Duration,
    /// Fewer calls than this within the window prove nothing.
    pub at_least: u32,
    /// Opens when this many of a hundred failed.
    pub fail_percent: u32,
    /// How long an open circuit rests before a call tries it.
    pub rest: Duration,
}

impl BreakerPolicy {
    pub const DEFAULT: Self = Self {
        time_out: Duration::from_secs(5),
        window: Duration::from_secs(30),
        at_least: 5,
        fail_percent: 50,
        rest: Duration::from_secs(30),
    };
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Where a circuit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// Calls are refused at once.
    Open,
    /// One call at a time tries whether the other side is well again.
    HalfOpen,
}

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError<E> {
    /// Nobody was called; worth another try after `wait`.
    #[error("not called: it failed too often lately")]
    Open { wait: Duration },
    /// Whether it had an effect is not known.
    #[error("no answer in time")]
    TimedOut,
    #[error(transparent)]
    Failed(E),
}

/// A breaker as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BreakerView {
    pub name: &'static str,
    pub state: BreakerState,
    /// Since when it stands there.
    pub since: Millis,
    /// Calls within the window, and those of them that failed.
    pub calls: u32,
    pub failed: u32,
    /// When an open one is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Millis>,
}

/// Every breaker of this node. Cheap to clone.
#[derive(Clone)]
pub struct Breakers {
    clock: Clock,
    all: Arc<Mutex<Vec<Breaker>>>,
}

impl Breakers {
    pub fn new(clock: Clock) -> Self {
        Self { clock, all: Arc::default() }
    }

    /// A breaker for one third party; `name` is its label in metrics.
    pub fn add(&self, name: &'static str, policy: BreakerPolicy) -> Breaker {
        let circuit = Mutex::new(Circuit::new(policy, self.clock.now()));
        let clock = self.clock.clone();
        let breaker = Breaker(Arc::new(Inner { name, policy, clock, circuit }));
        breaker.show(BreakerState::Closed);
        self.all.lock().push(breaker.clone());
        breaker
    }

    /// In the order in which they were added.
    pub fn view(&self) -> Vec<BreakerView> {
        self.all.lock().iter().map(Breaker::view).collect()
    }
}

/// What stands before one third party. Cheap to clone.
#[derive(Clone)]
pub struct Breaker(Arc<Inner>);

struct Inner {
    name: &'static str,
    policy: BreakerPolicy,
    clock: Clock,
    circuit: Mutex<Circuit>,
}

impl Breaker {
    /// Runs `work` unless the circuit is open. `is_theirs` tells an error that speaks against the
    /// other side (no connection, 5xx, 429) from an answer that shows it well (a dead token, 400).
    pub async fn call<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
        is_theirs: impl FnOnce(&E) -> bool,
    ) -> Result<T, CallError<E>> {
        let attempt = self.begin().map_err(|wait| {
            self.count("refused");
            CallError::Open { wait }
        })?;
        match tokio::time::timeout(self.0.policy.time_out, work).await {
            Err(_) => {
                attempt.end(Ending::Bad);
                self.count("timed_out");
                Err(CallError::TimedOut)
            }
            Ok(Ok(answer)) => {
                attempt.end(Ending::Good);
                self.count("done");
                Ok(answer)
            }
            Ok(Err(error)) => {
                let theirs = is_theirs(&error);
                attempt.end(if theirs { Ending::Bad } else { Ending::Good });
                self.count(if theirs { "failed" } else { "declined" });
                Err(CallError::Failed(error))
            }
        }
    }

    pub fn view(&self) -> BreakerView {
        let circuit = self.0.circuit.lock();
        let (calls, failed) = circuit.tally(self.0.clock.now());
        BreakerView {
            name: self.0.name,
            state: circuit.state(),
            since: circuit.since(),
            calls,
            failed,
            retry_at: circuit.retry_at(),
        }
    }

    fn begin(&self) -> Result<Attempt<'_>, Duration> {
        let ticket = self.turn(|circuit, now| circuit.admit(now))?;
        Ok(Attempt { breaker: self, ticket: Some(ticket) })
    }

    /// One turn of the circuit, told when it moved.
    fn turn<T>(&self, step: impl FnOnce(&mut Circuit, Millis) -> T) -> T {
        let now = self.0.clock.now();
        let mut circuit = self.0.circuit.lock();
        let before = circuit.state();
        let outcome = step(&mut circuit, now);
        let after = circuit.state();
        drop(circuit);
        if before != after {
            self.show(after);
            match after {
                BreakerState::Open => warn!(breaker = self.0.name, "circuit opened"),
                BreakerState::HalfOpen => info!(breaker = self.0.name, "circuit is tried"),
                BreakerState::Closed => info!(breaker = self.0.name, "circuit closed"),
            }
        }
        outcome
    }

    fn show(&self, state: BreakerState) {
        let number = match state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        gauge!("smartline_breaker_state", "breaker" => self.0.name).set(number);
    }

    fn count(&self, result: &'static str) {
        let name = self.0.name;
        counter!("smartline_breaker_calls_total", "breaker" => name, "result" => result)
            .increment(1);
    }
}

/// A call under way; dropped without an ending it was given up.
struct Attempt<'a> {
    breaker: &'a Breaker,
    ticket: Option<Ticket>,
}

impl Attempt<'_> {
    fn end(mut self, ending: Ending) {
        self.hand_back(ending);
    }

    fn hand_back(&mut self, ending: Ending) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.turn(|circuit, now| circuit.ended(ticket, ending, now));
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.hand_back(Ending::GivenUp);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    const QUICK: BreakerPolicy = BreakerPolicy { at_least: 1, ..BreakerPolicy::DEFAULT };

    fn stand() -> (Breakers, Breaker, Clock) {
        let clock = Clock::manual(Millis(1_700_000_000_000));
        let breakers = Breakers::new(clock.clone());
        let breaker = breakers.add("sms", QUICK);
        (breakers, breaker, clock)
    }

    /// How a call with this result ends.
    async fn call(breaker: &Breaker, result: Result<(), &'static str>) -> String {
        match breaker.call(async { result }, |error| *error != "dead token").await {
            Ok(()) => "done".to_owned(),
            Err(CallError::Open { wait }) => format!("open {}", wait.as_secs()),
            Err(CallError::TimedOut) => "timed out".to_owned(),
            Err(CallError::Failed(why)) => why.to_owned(),
        }
    }

    #[tokio::test]
    async fn who_fails_is_left_alone_and_tried_again_after_the_rest() {
        let (breakers, breaker, clock) = stand();
        assert_eq!(call(&breaker, Err("502")).await, "502");
        assert_eq!(call(&breaker, Ok(())).await, "open 30");
        assert_eq!(breakers.view()[0].state, BreakerState::Open);
        assert_eq!(breakers.view()[0].retry_at, Some(clock.now() + QUICK.rest));
        clock.advance(QUICK.rest);
        assert_eq!(call(&breaker, Err("502")).await, "502");
        assert_eq!(call(&breaker, Ok(())).await, "open 30");
        clock.advance(QUICK.rest);
        assert_eq!(call(&breaker, Ok(())).await, "done");
        assert_eq!(breakers.view()[0].state, BreakerState::Closed);
    }

    #[tokio::test]
    async fn an_answer_that_says_no_shows_the_other_side_well() {
        let (breakers, breaker, _) = stand();
        for _ in 0..20 {
            assert_eq!(call(&breaker, Err("dead token")).await, "dead token");
        }
        let view = &breakers.view()[0];
        assert_eq!((view.state, view.calls, view.failed), (BreakerState::Closed, 20, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_takes_too_long_has_failed() {
        let (breakers, breaker, _) = stand();
        let never = std::future::pending::<Result<(), &str>>();
        let ended = breaker.call(never, |_| true).await;
        assert!(matches!(ended, Err(CallError::TimedOut)));
        assert_eq!(breakers.view()[0].state, BreakerState::Open);
    }

    #[tokio::test]
    async fn a_call_given_up_leaves_the_next_one_its_try() {
        let (_, breaker, clock) = stand();
        call(&breaker, Err("502")).await;
        clock.advance(QUICK.rest);
        let never = std::future::pending::<Result<(), &str>>();
        let mut trial = Box::pin(breaker.call(never, |_| true));
        let waits = poll_fn(|cx| Poll::Ready(trial.as_mut().poll(cx).is_pending()));
        assert!(waits.await);
        assert_eq!(call(&breaker, Ok(())).await, "open 5", "one tries at a time");
        drop(trial);
        assert_eq!(call(&breaker, Ok(())).await, "done");
    }
}
