//! Decides when a circuit opens, is tried, and closes.
//!
//! No clock and no lock: the caller passes `now` and owns the turn. What was begun before the
//! circuit last moved says nothing about where it stands now, so every [`Ticket`] belongs to one
//! stay in a state.

use std::time::Duration;

use base::Millis;

use super::{BreakerPolicy, BreakerState};

/// Parts of the window that are forgotten one by one.
const SLICES: usize = 10;

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Good,
    Bad,
    /// Nobody waited for the answer.
    GivenUp,
}

/// The right to make one call; handed back with how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    stay: u64,
}

pub(super) struct Circuit {
    policy: BreakerPolicy,
    state: State,
    since: Millis,
    /// Counts the moves from state to state.
    stay: u64,
}

enum State {
    Closed(Window),
    Open { until: Millis },
    HalfOpen { trial: Trial },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Trial {
    UnderWay,
    Wanted,
}

impl Circuit {
    pub(super) fn new(policy: BreakerPolicy, now: Millis) -> Self {
        Self { policy, state: State::Closed(Window::default()), since: now, stay: 0 }
    }

    /// May a call be made? Refused with how long to wait.
    pub(super) fn admit(&mut self, now: Millis) -> Result<Ticket, Duration> {
        match self.state {
            State::Closed(_) => {}
            State::Open { until } if now < until => return Err(until.after(now)),
            State::Open { .. } => self.move_to(State::HalfOpen { trial: Trial::UnderWay }, now),
            // It is decided when the trial's time is up, at the latest.
            State::HalfOpen { trial: Trial::UnderWay } => return Err(self.policy.time_out),
            State::HalfOpen { trial: Trial::Wanted } => {
                self.state = State::HalfOpen { trial: Trial::UnderWay };
            }
        }
        Ok(Ticket { stay: self.stay })
    }

    pub(super) fn ended(&mut self, ticket: Ticket, ending: Ending, now: Millis) {
        if ticket.stay != self.stay {
            return;
        }
        let slice = slice_of(&self.policy, now);
        match (&mut self.state, ending) {
            (State::Closed(window), Ending::Good | Ending::Bad) => {
                window.add(slice, ending);
                if trips(&self.policy, window.tally(slice)) {
                    self.open(now);
                }
            }
            (State::HalfOpen { .. }, Ending::Good) => {
                self.move_to(State::Closed(Window::default()), now);
            }
            (State::HalfOpen { .. }, Ending::Bad) => self.open(now),
            (State::HalfOpen { trial }, Ending::GivenUp) => *trial = Trial::Wanted,
            // An open circuit has given out no ticket.
            (State::Closed(_), Ending::GivenUp) | (State::Open { .. }, _) => {}
        }
    }

    pub(super) const fn state(&self) -> BreakerState {
        match self.state {
            State::Closed(_) => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    pub(super) const fn since(&self) -> Millis {
        self.since
    }

    pub(super) const fn retry_at(&self) -> Option<Millis> {
        match self.state {
            State::Open { until } => Some(until),
            State::Closed(_) | State::HalfOpen { .. } => None,
        }
    }

    /// Calls within the window, and those of them that failed; none unless closed.
    pub(super) fn tally(&self, now: Millis) -> (u32, u32) {
        match &self.state {
            State::Closed(window) => window.tally(slice_of(&self.policy, now)),
            State::Open { .. } | State::HalfOpen { .. } => (0, 0),
        }
    }

    fn open(&mut self, now: Millis) {
        self.move_to(State::Open { until: now + self.policy.rest }, now);
    }

    fn move_to(&mut self, state: State, now: Millis) {
        self.state = state;
        self.since = now;
        self.stay += 1;
    }
}

fn trips(policy: &BreakerPolicy, (calls, failed): (u32, u32)) -> bool {
    let (calls_100, failed_100) = (u64::from(calls), u64::from(failed) * 100);
    calls >= policy.at_least && failed_100 >= calls_100 * u64::from(policy.fail_percent)
}

/// The number of the slice in which `now` lies.
fn slice_of(policy: &BreakerPolicy, now: Millis) -> i64 {
    let length = i64::try_from(policy.window.as_millis()).unwrap_or(i64::MAX) / SLICES as i64;
    now.0.div_euclid(length.max(1))
}

/// Calls of the last [`SLICES`] slices, each in the place of its number.
#[derive(Default)]
struct Window([Slice; SLICES]);

#[derive(Clone, Copy, Default)]
struct Slice {
    number: i64,
    calls: u32,
    failed: u32,
}

impl Window {
    fn add(&mut self, number: i64, ending: Ending) {
        let place = number.rem_euclid(SLICES as i64) as usize;
        let slice = &mut self.0[place];
        if slice.number != number {
            *slice = Slice { number, calls: 0, failed: 0 };
        }
        slice.calls = slice.calls.saturating_add(1);
        slice.failed = slice.failed.saturating_add(u32::from(ending == Ending::Bad));
    }

    fn tally(&self, number: i64) -> (u32, u32) {
        let fresh = self.0.iter().filter(|slice| slice.number > number - SLICES as i64);
        fresh.fold((0, 0), |(calls, failed), slice| {
            (calls.saturating_add(slice.calls), failed.saturating_add(slice.failed))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opens at 50 % of at least four calls within 10 s, rests 30 s.
    const POLICY: BreakerPolicy = BreakerPolicy {
        time_out: Duration::from_secs(5),
        window: Duration::from_secs(10),
        at_least: 4,
        fail_percent: 50,
        rest: Duration::from_secs(30),
    };
    const START: i64 = 1_700_000_000_000;

    /// Plays a script of `second:what`, where `+` is a call that ends well, `-` one that fails, `?`
    /// one that is given up; a refused one shows the seconds to wait. The outcome is what became of
    /// the calls, and where the circuit stands.
    fn check(script: &str, expected: &str) {
        let mut circuit = Circuit::new(POLICY, Millis(START));
        let mut told = String::new();
        for step in script.split_whitespace() {
            let (second, calls) = step.split_once(':').expect("second:calls");
            let second: i64 = second.parse().expect("a number of seconds");
            let now = Millis(START + second * 1000);
            for call in calls.chars() {
                let ending = match call {
                    '+' => Ending::Good,
                    '-' => Ending::Bad,
                    _ => Ending::GivenUp,
                };
                match circuit.admit(now) {
                    Ok(ticket) => {
                        circuit.ended(ticket, ending, now);
                        told.push(call);
                    }
                    Err(wait) => told.push_str(&format!("({})", wait.as_secs())),
                }
            }
        }
        let found = format!("{told} {:?}", circuit.state());
        assert_eq!(found, expected, "{script}");
    }

    #[test]
    fn a_circuit_opens_at_half_of_enough_calls() {
        check("0:---", "--- Closed");
        check("0:----", "---- Open");
        check("0:++--", "++-- Open");
        check("0:+++--", "+++-- Closed");
        check("0:+++---", "+++--- Open");
        check("0:??--??", "??--?? Closed");
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        check("0:--- 9:-", "---- Open");
        check("0:--- 10:-", "---- Closed");
        check("0:++++++ 10:----", "++++++---- Open");
        check("0:- 3:- 6:- 9:- 12:+", "----(27) Open");
        check("0:- 4:- 8:- 12:- 16:-", "----- Closed");
    }

    #[test]
    fn an_open_circuit_rests_and_then_one_call_decides() {
        check("0:---- 1:+ 29:+", "----(29)(1) Open");
        check("0:---- 30:+", "----+ Closed");
        check("0:---- 30:- 31:+", "-----(29) Open");
        check("0:---- 30:?+", "----?+ Closed");
        check("0:---- 30:+ 31:---", "----+--- Closed");
        check("0:---- 30:+ 31:----", "----+---- Open");
    }

    #[test]
    fn one_call_tries_at_a_time() {
        let mut circuit = Circuit::new(POLICY, Millis(START));
        for _ in 0..4 {
            let ticket = circuit.admit(Millis(START)).expect("closed");
            circuit.ended(ticket, Ending::Bad, Millis(START));
        }
        let later = Millis(START) + POLICY.rest;
        let trial = circuit.admit(later).expect("the first one tries");
        assert_eq!(circuit.admit(later), Err(POLICY.time_out));
        circuit.ended(trial, Ending::Good, later);
        assert!(circuit.admit(later).is_ok());
    }

    #[test]
    fn a_late_answer_says_nothing_about_the_state_after_it() {
        let mut circuit = Circuit::new(POLICY, Millis(START));
        let admit = |circuit: &mut Circuit, now| circuit.admit(now).expect("admitted");
        let late: Vec<Ticket> = (0..6).map(|_| admit(&mut circuit, Millis(START))).collect();
        let mut late = late.into_iter();
        for ticket in late.by_ref().take(4) {
            circuit.ended(ticket, Ending::Bad, Millis(START));
        }
        let later = Millis(START) + POLICY.rest;
        let trial = admit(&mut circuit, later);
        for ticket in late {
            circuit.ended(ticket, Ending::Good, later);
        }
        assert_eq!(circuit.state(), BreakerState::HalfOpen, "only the trial decides");
        circuit.ended(trial, Ending::Bad, later);
        assert_eq!(circuit.state(), BreakerState::Open);
    }
}
