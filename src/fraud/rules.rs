//! Decides what an account's doings mean. Pure.
//!
//! Counts come in buckets of five minutes. A window takes every bucket that reaches into it, so it
//! misses nothing and sees at the most five minutes too far back.
//!
//! Guarantees:
//! - each rule is met at its threshold and not below it;   (test: `each_rule_at_its_threshold`)
//! - a driver's day of trips meets none;   (test: `a_busy_day_is_no_fraud`)
//! - every pair of status and decision is written out.   (test: `every_decision_in_every_status`)

use std::collections::HashMap;
use std::time::Duration;

use base::{Millis, Piasters, Point, UserId};
use serde_json::{Value, json};

use crate::model::{
    Action, Admission, Count, Decision, Facts, Known, Movement, Rule, Signal, Status, What,
};
use crate::thresholds::{Threshold, Thresholds};

/// How long one bucket of counts is.
pub(crate) const BUCKET: Duration = Duration::from_secs(5 * 60);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// Nothing older is looked at.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// The bucket that `at` falls into.
pub(crate) fn bucket(at: Millis) -> Millis {
    let span = i64::try_from(BUCKET.as_millis()).unwrap_or(i64::MAX);
    Millis(at.0.div_euclid(span) * span)
}

/// Every rule that is met.
pub(crate) fn judge(facts: &Facts, thresholds: &Thresholds, now: Millis) -> Vec<Signal> {
    let look = Look { facts, thresholds, now };
    let signals = [
        look.velocity(),
        look.amount_anomaly(),
        look.deposit_withdraw(),
        look.circular_trips(),
        look.shared_device(),
        look.repeated_failures(),
        look.refused_postings(),
    ];
    signals.into_iter().flatten().collect()
}

struct Look<'a> {
    facts: &'a Facts,
    thresholds: &'a Thresholds,
    now: Millis,
}

impl Look<'_> {
    fn velocity(&self) -> Option<Signal> {
        let moved = self.times(What::Moved, HOUR);
        let steps = [
            (Threshold::VelocityBlock, Action::Block),
            (Threshold::VelocityHold, Action::Hold),
            (Threshold::VelocityFlag, Action::Flag),
        ];
        self.steps(Rule::Velocity, moved, &steps, json!({"movements": moved, "within": "1h"}))
    }

    fn amount_anomaly(&self) -> Option<Signal> {
        let (movement, amount, before) = self.facts.asked?;
        let least = i64::from(self.of(Threshold::AmountHistory)).max(1);
        let times = i128::from(self.of(Threshold::AmountTimes));
        if times == 0 || before.times < least || before.total <= Piasters::ZERO {
            return None;
        }
        // amount > times · (total / before), without dividing.
        let asked = i128::from(amount.0) * i128::from(before.times);
        let usual = i128::from(before.total.0);
        if asked <= times * usual {
            return None;
        }
        let action = match movement {
            Movement::Withdrawal => Action::Hold,
            Movement::Deposit | Movement::WalletBooking => Action::Flag,
        };
        Some(Signal {
            rule: Rule::AmountAnomaly,
            action,
            weight: i64::try_from(asked / usual).unwrap_or(i64::MAX),
            reasons: json!({
                "movement": movement,
                "amount": amount,
                "average": Piasters(before.total.0 / before.times),
                "of": before.times,
            }),
        })
    }

    fn deposit_withdraw(&self) -> Option<Signal> {
        let percent = i128::from(self.of(Threshold::DepositPercent));
        let deposited = self.amount(What::Deposited, DAY);
        let withdrawn = self.amount(What::Withdrawn, DAY);
        let too_little = deposited < self.thresholds.least_deposits().max(Piasters(1));
        if percent == 0 || too_little || withdrawn <= Piasters::ZERO {
            return None;
        }
        let is_met = i128::from(withdrawn.0) * 100 >= i128::from(deposited.0) * percent;
        is_met.then(|| Signal {
            rule: Rule::DepositWithdraw,
            action: Action::Hold,
            weight: withdrawn.0,
            reasons: json!({"deposited": deposited, "withdrawn": withdrawn, "within": "24h"}),
        })
    }

    fn circular_trips(&self) -> Option<Signal> {
        let mut with: HashMap<UserId, u32> = HashMap::new();
        for count in self.within(What::Circular, DAY) {
            *with.entry(count.other).or_default() += count.times;
        }
        let (other, trips) = with.into_iter().max_by_key(|(other, trips)| (*trips, *other))?;
        let steps =
            [(Threshold::CircularHold, Action::Hold), (Threshold::CircularFlag, Action::Flag)];
        let reasons = json!({"trips": trips, "with": other, "within": "24h"});
        self.steps(Rule::CircularTrips, trips, &steps, reasons)
    }

    fn shared_device(&self) -> Option<Signal> {
        let accounts = self.facts.accounts_of_device;
        let steps = [(Threshold::DeviceHold, Action::Hold), (Threshold::DeviceFlag, Action::Flag)];
        self.steps(Rule::SharedDevice, accounts, &steps, json!({"accounts": accounts}))
    }

    /// Logins count only when money is about to go out, and never for a block: anybody can fail to
    /// log in as anybody.
    fn repeated_failures(&self) -> Option<Signal> {
        let payments = self.times(What::PaymentFailed, HOUR);
        let is_leaving = matches!(self.facts.asked, Some((Movement::Withdrawal, ..)));
        let logins = if is_leaving { self.times(What::LoginFailed, HOUR) } else { 0 };
        let reasons = json!({"payments": payments, "logins": logins, "within": "1h"});
        let rule = Rule::RepeatedFailures;
        let blocked = [(Threshold::FailuresBlock, Action::Block)];
        let held = [(Threshold::FailuresHold, Action::Hold)];
        self.steps(rule, payments, &blocked, reasons.clone())
            .or_else(|| self.steps(rule, payments.saturating_add(logins), &held, reasons))
    }

    fn refused_postings(&self) -> Option<Signal> {
        let refused = self.times(What::Refused, HOUR);
        let steps =
            [(Threshold::RefusedHold, Action::Hold), (Threshold::RefusedFlag, Action::Flag)];
        let reasons = json!({"refused": refused, "within": "1h"});
        self.steps(Rule::RefusedPostings, refused, &steps, reasons)
    }

    fn steps(
        &self,
        rule: Rule,
        reached: u32,
        steps: &[(Threshold, Action)],
        reasons: Value,
    ) -> Option<Signal> {
        let action = step(self.thresholds, reached, steps)?;
        Some(Signal { rule, action, weight: reached.into(), reasons })
    }

    fn of(&self, threshold: Threshold) -> u32 {
        self.thresholds.of(threshold)
    }

    fn within(&self, what: What, window: Duration) -> impl Iterator<Item = &Count> {
        let since = self.now - window;
        let counts = self.facts.counts.iter();
        counts.filter(move |count| count.what == what && count.bucket + BUCKET > since)
    }

    fn times(&self, what: What, window: Duration) -> u32 {
        self.within(what, window).fold(0, |sum, count| sum.saturating_add(count.times))
    }

    fn amount(&self, what: What, window: Duration) -> Piasters {
        self.within(what, window).map(|count| count.amount).sum()
    }
}

/// The first step that is reached; the sternest stands first.
pub(crate) fn step(
    thresholds: &Thresholds,
    reached: u32,
    steps: &[(Threshold, Action)],
) -> Option<Action> {
    let is_reached = |threshold| {
        let from = thresholds.of(threshold);
        from > 0 && reached >= from
    };
    steps.iter().find(|(threshold, _)| is_reached(*threshold)).map(|(_, action)| *action)
}

/// What becomes of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meeting {
    /// A new case.
    Open,
    /// There is more in the open case.
    Grow,
    /// It is known, and somebody decides or has decided.
    Known,
}

/// `known`: the account's case of this rule that is in force, or the last one.
pub(crate) fn meet(
    signal: &Signal,
    known: Option<&Known>,
    remember: Duration,
    now: Millis,
) -> Meeting {
    let Some(known) = known else { return Meeting::Open };
    let is_sterner = signal.action.is_sterner_than(known.action);
    match known.status {
        Status::Open if is_sterner || signal.weight > known.weight => Meeting::Grow,
        Status::Open | Status::Confirmed => Meeting::Known,
        Status::Cleared => {
            let is_old = known.decided_at.is_none_or(|decided| now.after(decided) >= remember);
            let is_more = signal.weight >= known.weight.saturating_mul(2);
            if is_old || is_sterner || is_more { Meeting::Open } else { Meeting::Known }
        }
    }
}

/// What a decision makes of a case; `None` when it can't be decided so.
pub(crate) const fn decide(status: Status, decision: Decision) -> Option<Status> {
    match (status, decision) {
        (Status::Open, Decision::Clear) | (Status::Confirmed, Decision::Release) => {
            Some(Status::Cleared)
        }
        (Status::Open, Decision::Confirm) => Some(Status::Confirmed),
        (Status::Open, Decision::Release)
        | (Status::Confirmed, Decision::Clear | Decision::Confirm)
        | (Status::Cleared, _) => None,
    }
}

/// The sternest action of the cases in force.
pub(crate) fn standing<'a>(cases: impl IntoIterator<Item = &'a Known>) -> Option<Action> {
    let in_force = cases.into_iter().filter(|known| known.status != Status::Cleared);
    in_force.map(|known| known.action).reduce(Action::or)
}

/// May an account of this standing move money so? What comes in under a hold waits with the rest;
/// into a blocked account nothing more is taken, since nothing comes out of it.
pub const fn admission(standing: Option<Action>, movement: Movement) -> Admission {
    match (standing, movement) {
        (None | Some(Action::Flag), _) | (Some(Action::Hold), Movement::Deposit) => Admission::Go,
        (Some(Action::Hold), Movement::Withdrawal) => Admission::Waits,
        (Some(Action::Hold), Movement::WalletBooking) => Admission::UnderReview,
        (Some(Action::Block), _) => Admission::Blocked,
    }
}

/// What a person is told of his account's standing: never which rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Held,
    Released,
}

/// What is told when the standing changes; of a flag nobody knows.
pub fn told(before: Option<Action>, after: Option<Action>) -> Option<Told> {
    let stops = |standing: Option<Action>| standing.is_some_and(Action::stops_money);
    match (stops(before), stops(after)) {
        (false, true) => Some(Told::Held),
        (true, false) => Some(Told::Released),
        (true, true) | (false, false) => None,
    }
}

/// Did a trip go nowhere: is its end where it began, or was hardly anything driven?
pub fn is_circular(
    start: Point,
    end: Point,
    driven_m: Option<u32>,
    thresholds: &Thresholds,
) -> bool {
    let nowhere = thresholds.of(Threshold::CircularMetres);
    start.distance_m(end) <= f64::from(nowhere) || driven_m.is_some_and(|driven| driven <= nowhere)
}
