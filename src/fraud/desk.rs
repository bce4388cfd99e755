//! The handle: counts, judges, keeps cases, takes decisions.

use std::sync::Arc;
use std::time::Duration;

use base::{
    Caller, Clock, Code, Cursor, DriverId, Fault, Millis, Piasters, Problem, TripId, UserId,
};
use metrics::{counter, gauge};
use serde_json::json;
use sha2::{Digest, Sha256};
use storage::{Db, Tx, Who};
use tracing::warn;
use uuid::Uuid;

use crate::conduct::{self, Evidence, Replay, Spot};
use crate::model::{
    Action, Admission, CaseFilter, Count, Decision, Facts, Known, Movement, Note, Rule, Signal,
    Status, What,
};
use crate::prints::{REPLAYED, prints};
use crate::rules::{self, BUCKET, DAY, Meeting};
use crate::store;
use crate::thresholds::{FraudConfig, Threshold, Thresholds};
use crate::wire::{FraudCase, FraudPage};

/// How long a phone is remembered.
const DEVICE_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How long counts are kept: what rules look at, and as much again.
const COUNTS_KEPT: Duration = Duration::from_secs(2 * 24 * 3600);
const _: () = assert!(COUNTS_KEPT.as_secs() > DAY.as_secs() + BUCKET.as_secs());
/// How long a track is known again.
const TRACKS_KEPT: Duration = Duration::from_secs(14 * 24 * 3600);
/// Tracks that are compared at a time.
const TRACKS_COMPARED: i64 = 50;
/// Drivers who replayed, at a time.
const REPLAYERS: i64 = 100;
/// With nobody.
const NOBODY: UserId = UserId::from_u128(0);

/// Cheap to clone.
#[derive(Clone)]
pub struct Fraud(Arc<Inner>);

struct Inner {
    db: Db,
    clock: Clock,
    config: FraudConfig,
}

/// An account's standing changed: whoever holds the transaction carries it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turned {
    pub account: UserId,
    pub before: Option<Action>,
    pub after: Option<Action>,
    pub at: Millis,
}

/// What a movement was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub admission: Admission,
    pub turned: Option<Turned>,
}

/// A case after a decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    pub case: FraudCase,
    pub turned: Option<Turned>,
}

/// Why a driver's score is lowered: a case about his driving that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub rule: Rule,
    /// Hundredths of a score, all of them at `since` and none at `until`.
    pub penalty: u8,
    pub since: Millis,
    pub until: Millis,
}

/// What a look at a driver came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub turned: Option<Turned>,
    pub marks: Vec<Mark>,
}

/// A trip that was driven to its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drive<'a> {
    pub trip: TripId,
    pub driver: DriverId,
    pub ended: Millis,
    /// Its track, in order of time.
    pub spots: &'a [Spot],
}

/// A driver who replayed tracks lately, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayer {
    pub driver: DriverId,
    /// Of the last day, oldest first.
    pub replays: Vec<Replay>,
}

/// Why a case was not decided; the transaction is over.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    #[error("there is no such case")]
    NotFound,
    #[error("the case is {current}")]
    Refused { current: Status },
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<DecideError> for Problem {
    fn from(error: DecideError) -> Self {
        match error {
            DecideError::NotFound => Self::not_found(),
            DecideError::Refused { current } => {
                let text = format!("the case is {current}");
                Self::new(Code::InvalidTransition, text).with("current", current)
            }
            DecideError::Fault(fault) => fault.into(),
        }
    }
}

impl Fraud {
    pub fn new(db: Db, clock: Clock, config: FraudConfig) -> Self {
        Self(Arc::new(Inner { db, clock, config }))
    }

    /// Are drivers looked at on this node?
    pub fn watches_driving(&self) -> bool {
        self.0.config.watches_driving
    }

    pub fn thresholds(&self) -> &Thresholds {
        &self.0.config.thresholds
    }

    /// How long a check may take.
    pub fn patience(&self) -> Duration {
        self.0.config.patience
    }

    /// Counts what an account asks for and says whether it may. Commit it before the movement
    /// itself: what is asked for counts, whatever becomes of it. Its average is made of what moved,
    /// so that nobody raises his own by asking.
    pub async fn ask_in_tx(
        &self,
        tx: &mut Tx,
        account: UserId,
        movement: Movement,
        amount: Piasters,
    ) -> Result<Asked, Fault> {
        let now = self.0.clock.now();
        store::account_lock_in_tx(tx, account).await?;
        let mut counts = vec![count(What::Moved, now, NOBODY, amount)];
        if movement == Movement::Withdrawal {
            counts.push(count(What::Withdrawn, now, NOBODY, amount));
        }
        store::counters_add_in_tx(tx, account, &counts).await?;
        let before = store::history_in_tx(tx, account, movement).await?;
        let facts = Facts { asked: Some((movement, amount, before)), ..Facts::default() };
        let (turned, standing) = self.look_in_tx(tx, account, facts, now).await?;
        let admission = rules::admission(standing, movement);
        counter!("smartline_fraud_checks_total",
            "movement" => movement.name(), "result" => result_of(admission))
        .increment(1);
        Ok(Asked { admission, turned })
    }

    /// Notes what an account did, or what happened to it, and looks at it anew.
    pub async fn note_in_tx(
        &self,
        tx: &mut Tx,
        account: UserId,
        note: Note<'_>,
    ) -> Result<Option<Turned>, Fault> {
        let now = self.0.clock.now();
        store::account_lock_in_tx(tx, account).await?;
        let mut facts = Facts::default();
        let counts = match note {
            Note::Moved(movement, amount) => {
                store::history_add_in_tx(tx, account, movement, amount).await?;
                let came_in = movement == Movement::Deposit;
                came_in.then(|| count(What::Deposited, now, NOBODY, amount))
            }
            Note::PaymentFailed => Some(count(What::PaymentFailed, now, NOBODY, Piasters::ZERO)),
            Note::LoginFailed => Some(count(What::LoginFailed, now, NOBODY, Piasters::ZERO)),
            Note::Refused => Some(count(What::Refused, now, NOBODY, Piasters::ZERO)),
            Note::Circular(other) => Some(count(What::Circular, now, other, Piasters::ZERO)),
            Note::Device(token) => {
                let device = Sha256::digest(token.as_bytes()).into();
                let since = now - DEVICE_KEPT;
                let seen = store::device_seen_in_tx(tx, account, &device, now, since).await?;
                facts.accounts_of_device = seen;
                None
            }
        };
        store::counters_add_in_tx(tx, account, counts.as_slice()).await?;
        Ok(self.look_in_tx(tx, account, facts, now).await?.0)
    }

    /// What is in force for an account. Nothing about it changes until the transaction ends.
    pub async fn standing_in_tx(
        &self,
        tx: &mut Tx,
        account: UserId,
    ) -> Result<Option<Action>, Fault> {
        store::account_lock_in_tx(tx, account).await?;
        Ok(rules::standing(&store::cases_known_in_tx(tx, account).await?))
    }

    /// A withdrawal could not be checked: it waits for a person. For the withdrawal's own
    /// transaction, so that there is none without it.
    pub async fn hold_unchecked_in_tx(
        &self,
        tx: &mut Tx,
        account: UserId,
        amount: Piasters,
    ) -> Result<Option<Turned>, Fault> {
        let now = self.0.clock.now();
        store::account_lock_in_tx(tx, account).await?;
        let known = store::cases_known_in_tx(tx, account).await?;
        let signal = Signal {
            rule: Rule::Unchecked,
            action: Action::Hold,
            weight: amount.0,
            reasons: json!({"amount": amount}),
        };
        let before = rules::standing(&known);
        let case = known.iter().find(|known| known.rule == Some(Rule::Unchecked));
        // Of another withdrawal nothing is known, whatever was decided about the last one.
        let case = case.filter(|known| known.status != Status::Cleared);
        self.meet_in_tx(tx, account, &signal, case, now).await?;
        let after = before.map_or(signal.action, |before| before.or(signal.action));
        Ok(turned(account, before, Some(after), now))
    }

    /// As far as this admin may see them, newest first.
    pub async fn list(
        &self,
        admin: &Caller,
        filter: &CaseFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<FraudPage, Fault> {
        let mut tx = self.0.db.begin(&Who::Caller(*admin)).await?;
        let most = i64::from(limit) + 1;
        let mut cases = store::cases_in_tx(&mut tx, filter, after, most).await?;
        let more = cases.len() > limit as usize;
        cases.truncate(limit as usize);
        let last = cases.last().filter(|_| more);
        let next_cursor = last.map(|last| Cursor { at: last.opened_at, id: last.id }.to_string());
        Ok(FraudPage { cases, next_cursor })
    }

    pub async fn case_in_tx(&self, tx: &mut Tx, id: Uuid) -> Result<Option<FraudCase>, Fault> {
        store::case_in_tx(tx, id).await
    }

    /// Decides about a case in the transaction of the admin who does.
    pub async fn decide_in_tx(
        &self,
        tx: &mut Tx,
        admin: UserId,
        id: Uuid,
        decision: Decision,
        reason: &str,
    ) -> Result<Decided, DecideError> {
        let now = self.0.clock.now();
        let account = store::case_in_tx(tx, id).await?.ok_or(DecideError::NotFound)?.user_id;
        store::account_lock_in_tx(tx, account).await?;
        // Again, now that nobody else writes.
        let case = store::case_in_tx(tx, id).await?.ok_or(DecideError::NotFound)?;
        let current = case.status;
        let status = rules::decide(current, decision).ok_or(DecideError::Refused { current })?;
        let before = rules::standing(&store::cases_known_in_tx(tx, account).await?);
        let action = if status == Status::Confirmed { Action::Block } else { case.action };
        let ruling = store::Ruling { id, status, action, by: admin, at: now, reason };
        store::case_decide_in_tx(tx, &ruling).await?;
        let after = rules::standing(&store::cases_known_in_tx(tx, account).await?);
        counter!("smartline_fraud_decisions_total",
            "rule" => case.rule.name(), "decision" => decision.name())
        .increment(1);
        let case = FraudCase {
            status,
            action,
            decided_by: Some(admin),
            decided_at: Some(now),
            decision_reason: Some(reason.to_owned()),
            ..case
        };
        Ok(Decided { case, turned: turned(account, before, after, now) })
    }

    /// Does anything in this meet a rule about driving? Asked of every driver; the others are left
    /// alone.
    pub fn is_conspicuous(&self, evidence: &Evidence<'_>) -> bool {
        !conduct::judge(evidence, self.thresholds(), self.0.clock.now()).is_empty()
    }

    /// Opens cases about a driver, or renews those that are open. Of one that an operator cleared
    /// there is no mark unless the evidence is another.
    pub async fn look_at_driver_in_tx(
        &self,
        tx: &mut Tx,
        driver: DriverId,
        evidence: &Evidence<'_>,
    ) -> Result<Found, Fault> {
        let (now, account) = (self.0.clock.now(), UserId::from(driver));
        store::account_lock_in_tx(tx, account).await?;
        let known = store::cases_known_in_tx(tx, account).await?;
        let before = rules::standing(&known);
        let (mut after, mut marks) = (before, Vec::new());
        for signal in conduct::judge(evidence, self.thresholds(), now) {
            let case = known.iter().find(|known| known.rule == Some(signal.rule));
            let meeting = self.meet_in_tx(tx, account, &signal, case, now).await?;
            let is_open = case.is_some_and(|case| case.status == Status::Open);
            match meeting {
                Meeting::Open | Meeting::Grow => {
                    after = Some(after.map_or(signal.action, |after| after.or(signal.action)));
                }
                Meeting::Known if is_open => {
                    store::case_renew_in_tx(tx, account, &signal, now).await?;
                }
                Meeting::Known => continue,
            }
            marks.extend(self.mark(signal.rule, now));
        }
        Ok(Found { turned: turned(account, before, after, now), marks })
    }

    fn mark(&self, rule: Rule, now: Millis) -> Option<Mark> {
        let days = self.thresholds().of(Threshold::PenaltyDays);
        let penalty = conduct::penalty(rule, self.thresholds());
        let until = now + DAY * days;
        (penalty > 0 && until > now).then_some(Mark { rule, penalty, since: now, until })
    }

    /// Of these trips those whose tracks nobody looked at yet.
    pub async fn new_tracks_in_tx(
        &self,
        tx: &mut Tx,
        trips: &[TripId],
    ) -> Result<Vec<TripId>, Fault> {
        store::new_tracks_in_tx(tx, trips).await
    }

    /// Keeps the marks of a track, to be compared with those of others.
    pub async fn keep_track_in_tx(&self, tx: &mut Tx, drive: &Drive<'_>) -> Result<(), Fault> {
        let prints = prints(drive.spots);
        store::track_keep_in_tx(tx, drive, &prints).await
    }

    /// Compares the tracks that were kept and not compared, some at a time.
    pub async fn compare_tracks(&self, db: &Db) -> Result<(), Fault> {
        loop {
            let mut tx = db.begin(&Who::System).await?;
            let compared = store::tracks_compare_in_tx(&mut tx, REPLAYED, TRACKS_COMPARED).await?;
            tx.commit().await?;
            if compared == 0 {
                return Ok(());
            }
        }
    }

    /// A page of the drivers after `after` who replayed tracks within the last day, whenever that
    /// was found: who found it may have died before it opened a case.
    pub async fn replayers_in_tx(
        &self,
        tx: &mut Tx,
        after: DriverId,
    ) -> Result<Vec<Replayer>, Fault> {
        let since = self.0.clock.now() - DAY;
        let drivers = store::replayers_in_tx(tx, after, since, REPLAYERS).await?;
        let mut replayers = Vec::with_capacity(drivers.len());
        for driver in drivers {
            let replays = store::replays_in_tx(tx, driver, since).await?;
            replayers.push(Replayer { driver, replays });
        }
        Ok(replayers)
    }

    /// Forgets what no rule looks at any more, and shows how many cases wait.
    pub async fn sweep(&self) -> Result<(), Fault> {
        let now = self.0.clock.now();
        let mut tx = self.0.db.begin(&Who::System).await?;
        store::sweep_in_tx(&mut tx, now - COUNTS_KEPT, now - DEVICE_KEPT).await?;
        store::sweep_tracks_in_tx(&mut tx, now - TRACKS_KEPT).await?;
        let open = store::cases_open_in_tx(&mut tx).await?;
        tx.commit().await?;
        for action in Action::ALL {
            let waiting = open.iter().find(|(known, _)| known == action).map_or(0, |(_, n)| *n);
            gauge!("smartline_fraud_cases_open", "action" => action.name()).set(waiting as f64);
        }
        Ok(())
    }

    /// Judges an account and keeps what comes of it; its standing afterwards.
    async fn look_in_tx(
        &self,
        tx: &mut Tx,
        account: UserId,
        mut facts: Facts,
        now: Millis,
    ) -> Result<(Option<Turned>, Option<Action>), Fault> {
        facts.counts = store::counters_in_tx(tx, account, now - DAY - BUCKET).await?;
        let known = store::cases_known_in_tx(tx, account).await?;
        let before = rules::standing(&known);
        let mut after = before;
        for signal in rules::judge(&facts, self.thresholds(), now) {
            let case = known.iter().find(|known| known.rule == Some(signal.rule));
            if self.meet_in_tx(tx, account, &signal, case, now).await? != Meeting::Known {
                after = Some(after.map_or(signal.action, |after| after.or(signal.action)));
            }
        }
        Ok((turned(account, before, after, now), after))
    }

    async fn meet_in_tx(
        &self,
        tx: &mut Tx,
        account: UserId,
        signal: &Signal,
        case: Option<&Known>,
        now: Millis,
    ) -> Result<Meeting, Fault> {
        let meeting = rules::meet(signal, case, self.thresholds().remember(), now);
        match (meeting, case) {
            (Meeting::Known, _) => return Ok(meeting),
            (Meeting::Grow, Some(case)) => {
                let action = case.action.or(signal.action);
                store::case_grow_in_tx(tx, account, signal, action, now).await?;
            }
            (Meeting::Open | Meeting::Grow, _) => {
                store::case_open_in_tx(tx, account, signal, now).await?;
            }
        }
        let (rule, action) = (signal.rule.name(), signal.action.name());
        counter!("smartline_fraud_signals_total", "rule" => rule, "action" => action).increment(1);
        warn!(user.id = %account, rule, action, reasons = %signal.reasons,
            "an account met a rule of fraud");
        Ok(meeting)
    }
}

fn count(what: What, now: Millis, other: UserId, amount: Piasters) -> Count {
    let amount = amount.max(Piasters::ZERO);
    Count { what, other, bucket: rules::bucket(now), times: 1, amount }
}

fn turned(
    account: UserId,
    before: Option<Action>,
    after: Option<Action>,
    at: Millis,
) -> Option<Turned> {
    (before != after).then_some(Turned { account, before, after, at })
}

const fn result_of(admission: Admission) -> &'static str {
    match admission {
        Admission::Go => "go",
        Admission::Waits => "waits",
        Admission::UnderReview => "under_review",
        Admission::Blocked => "blocked",
    }
}
