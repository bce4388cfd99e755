//! Decides on which ways news goes to a person, and what is to be done next. Pure.
//!
//! Ways form a ladder: the next one is tried when the one before brought it to nobody. A letter
//! (e-mail) is sent beside it.
//!
//! Guarantees:
//! - a way that is muted, not set up, or without an address is not in the plan;
//! - what is not urgent makes no sound while the person wants quiet; (test: `the_night_is_quiet`)
//! - news that ran out of time goes nowhere any more.

use std::time::Duration;

use base::Millis;
use jiff::ToSpan;
use jiff::civil::Time;
use jiff::tz::TimeZone;

use crate::client::Verdict;
use crate::model::{Channel, Delivery, DeliveryState, Group, Kind, Preferences, Progress, Quiet};

/// A socket has this long to acknowledge a notice before other ways are tried.
pub(crate) const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(3);
/// An answer that didn't come by then got lost: every call to a provider ends sooner.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(60);

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How much news presses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Somebody waits for this person, or he for somebody: SMS where nothing else comes through.
    Critical,
    /// It is about what the person is doing right now, so it keeps no quiet hours.
    Live,
    /// It can wait for the morning.
    Calm,
}

/// What holds for a kind of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub group: Group,
    pub urgency: Urgency,
    /// Tried in this order.
    pub ladder: &'static [Channel],
    pub letter: bool,
    /// How long it stays news.
    pub ttl: Duration,
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Every kind's rule.
pub(crate) const fn rule(kind: Kind) -> Rule {
    use Channel::{Push, Sms, Socket};
    const SCREEN: &[Channel] = &[Socket, Push];
    const ALL: &[Channel] = &[Socket, Push, Sms];
    let (group, urgency, ladder, letter, ttl) = match kind {
        // Its frame goes over the socket by itself, and its life is the lease's.
        Kind::Offer => (Group::Offers, Urgency::Live, &[Push] as &[Channel], false, 30),
        Kind::TripBooked => (Group::Trips, Urgency::Live, SCREEN, false, DAY),
        Kind::TripSoon => (Group::Trips, Urgency::Live, SCREEN, false, 10 * MINUTE),
        Kind::ConfirmTrip => (Group::Trips, Urgency::Critical, ALL, false, 5 * MINUTE),
        Kind::TripAccepted => (Group::Trips, Urgency::Live, SCREEN, false, 10 * MINUTE),
        Kind::TripArrived => (Group::Trips, Urgency::Critical, ALL, false, 10 * MINUTE),
        Kind::TripStarted => (Group::Trips, Urgency::Live, SCREEN, false, 10 * MINUTE),
        Kind::TripCompleted => (Group::Trips, Urgency::Live, SCREEN, false, HOUR),
        Kind::TripCancelled => (Group::Trips, Urgency::Critical, ALL, false, 30 * MINUTE),
        Kind::TripDriverCancelled => (Group::Trips, Urgency::Live, SCREEN, false, 10 * MINUTE),
        Kind::TripTakenBack => (Group::Trips, Urgency::Critical, ALL, false, 30 * MINUTE),
        Kind::TripBidOff => (Group::Trips, Urgency::Live, SCREEN, false, 10 * MINUTE),
        Kind::BidWon => (Group::Trips, Urgency::Live, SCREEN, false, 10 * MINUTE),
        Kind::TripNoDrivers => (Group::Trips, Urgency::Critical, ALL, false, 10 * MINUTE),
        Kind::Receipt => (Group::Receipts, Urgency::Calm, &[] as &[Channel], true, 2 * DAY),
        Kind::PaymentSucceeded => (Group::Payments, Urgency::Live, SCREEN, false, HOUR),
        Kind::PaymentFailed => (Group::Payments, Urgency::Live, SCREEN, true, DAY),
        Kind::Tip => (Group::Payments, Urgency::Calm, SCREEN, false, DAY),
        Kind::DebtLimit => (Group::Payments, Urgency::Live, SCREEN, true, DAY),
        Kind::ChangeCredited => (Group::Payments, Urgency::Calm, SCREEN, false, DAY),
        Kind::CashOwed => (Group::Payments, Urgency::Live, SCREEN, true, DAY),
        Kind::PromoGranted => (Group::Payments, Urgency::Calm, SCREEN, false, 2 * DAY),
        Kind::Refunded => (Group::Payments, Urgency::Calm, SCREEN, true, 2 * DAY),
        Kind::DisputeResolved => (Group::Trips, Urgency::Calm, SCREEN, true, 2 * DAY),
        Kind::WithdrawalApproved => (Group::Withdrawals, Urgency::Calm, SCREEN, false, 2 * DAY),
        Kind::WithdrawalPaid => (Group::Withdrawals, Urgency::Calm, SCREEN, true, 2 * DAY),
        Kind::WithdrawalArrived => (Group::Withdrawals, Urgency::Calm, SCREEN, false, 2 * DAY),
        Kind::WithdrawalFailed => (Group::Withdrawals, Urgency::Calm, SCREEN, true, 2 * DAY),
        Kind::WithdrawalRejected => (Group::Withdrawals, Urgency::Calm, SCREEN, true, 2 * DAY),
        Kind::DocumentExpiring => (Group::Documents, Urgency::Calm, SCREEN, true, 2 * DAY),
        Kind::Statement => (Group::Statements, Urgency::Calm, SCREEN, true, 7 * DAY),
        Kind::AccountHeld => (Group::Payments, Urgency::Live, SCREEN, true, 2 * DAY),
        Kind::AccountReleased => (Group::Payments, Urgency::Live, SCREEN, true, 2 * DAY),
    };
    Rule { group, urgency, ladder, letter, ttl: secs(ttl) }
}

/// What is done about a message that may or may not have been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Sent again: under the same name, so that a device or mailbox shows one.
    Again,
    /// Left alone, and said to be unknown: a carrier would send it twice, or its moment is over.
    Leave,
}

pub(crate) const fn when_lost(kind: Kind, channel: Channel) -> Lost {
    match (kind, channel) {
        // The next driver is asked by then.
        (Kind::Offer, _) | (_, Channel::Sms) => Lost::Leave,
        (_, Channel::Push | Channel::Email | Channel::Socket) => Lost::Again,
    }
}

/// Which ways this node can send on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Open {
    pub push: bool,
    pub sms: bool,
    pub email: bool,
}

/// The person as far as the plan needs him.
pub(crate) struct Person<'a> {
    pub wishes: &'a Preferences,
    /// Devices that a service which is set up can reach.
    pub devices: usize,
    pub connected: bool,
    /// The clock of his city.
    pub zone: &'a TimeZone,
}

/// A way, and the moment from which it may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub channel: Channel,
    pub from: Millis,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub ladder: Vec<Step>,
    pub letter: Option<Step>,
}

/// The ways that `kind` takes to `person`, as things stand now.
pub(crate) fn plan(kind: Kind, person: &Person<'_>, open: Open, now: Millis) -> Plan {
    let rule = rule(kind);
    let wanted = |channel| !person.wishes.mutes(rule.group, channel);
    let loud = match rule.urgency {
        Urgency::Critical | Urgency::Live => now,
        Urgency::Calm => loud_again(person.wishes.quiet, person.zone, now),
    };
    let step = |channel: Channel| {
        let (reachable, from) = match channel {
            // On the screen in his hand nothing rings.
            Channel::Socket => (person.connected, now),
            Channel::Push => (open.push && person.devices > 0, loud),
            Channel::Sms => (open.sms, loud),
            Channel::Email => (open.email && person.wishes.email.is_some(), now),
        };
        (reachable && wanted(channel)).then_some(Step { channel, from })
    };
    Plan {
        ladder: rule.ladder.iter().copied().filter_map(step).collect(),
        letter: if rule.letter { step(Channel::Email) } else { None },
    }
}

/// When the person's quiet hours end; `now` when it is not quiet.
fn loud_again(quiet: Option<Quiet>, zone: &TimeZone, now: Millis) -> Millis {
    let Some((quiet, at)) = quiet.zip(now.timestamp()) else { return now };
    let local = at.to_zoned(zone.clone());
    let minute = minute_of(local.time());
    let over_midnight = quiet.to <= quiet.from;
    let is_quiet = match over_midnight {
        true => minute >= quiet.from || minute < quiet.to,
        false => (quiet.from..quiet.to).contains(&minute),
    };
    if !is_quiet {
        return now;
    }
    let tomorrow = over_midnight && minute >= quiet.from;
    let day = local.date().saturating_add(i64::from(tomorrow).days());
    let end = day.to_datetime(time_of(quiet.to)).to_zoned(zone.clone());
    end.map_or(now, |end| end.timestamp().into())
}

fn minute_of(time: Time) -> u16 {
    u16::try_from(i32::from(time.hour()) * 60 + i32::from(time.minute())).unwrap_or(0)
}

fn time_of(minute: u16) -> Time {
    let part = |n: u16| i8::try_from(n).unwrap_or(0);
    Time::new(part(minute / 60), part(minute % 60), 0, 0).unwrap_or(Time::MIN)
}

/// What to do about a notification now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Take this way, or see what became of it.
    Act(Channel),
    /// Nothing before then.
    Wait(Millis),
    /// It has come as far as it will.
    Over(Progress),
}

/// How far one way has come, all devices together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Untried,
    /// Something is to be done at that time.
    Due(Millis),
    Reached(Progress),
    Missed,
}

/// The next thing to do. Ends: every answer is either later, or changes a delivery.
pub(crate) fn next(plan: &Plan, done: &[Delivery], until: Millis, now: Millis) -> Next {
    let ladder = climb(plan, done, until, now);
    let letter = plan.letter.map(|step| stand(step, done, until, now));
    match (ladder, letter) {
        (act @ Next::Act(_), _) | (_, Some(act @ Next::Act(_))) => act,
        (Next::Wait(one), Some(Next::Wait(two))) => Next::Wait(one.min(two)),
        (wait @ Next::Wait(_), _) | (_, Some(wait @ Next::Wait(_))) => wait,
        (Next::Over(one), Some(Next::Over(two))) => Next::Over(better(one, two)),
        (over @ Next::Over(_), None) => over,
    }
}

fn climb(plan: &Plan, done: &[Delivery], until: Millis, now: Millis) -> Next {
    // A way that was begun and isn't planned any more (he left, he muted it) still counts.
    let begun = |channel: Channel| done.iter().any(|delivery| delivery.channel == channel);
    let mut end = Progress::Listed;
    for channel in [Channel::Socket, Channel::Push, Channel::Sms] {
        let planned = plan.ladder.iter().find(|step| step.channel == channel);
        let step = match planned {
            Some(step) => *step,
            None if begun(channel) => Step { channel, from: now },
            None => continue,
        };
        match stand(step, done, until, now) {
            Next::Over(missed @ (Progress::Failed | Progress::Expired | Progress::Listed)) => {
                end = missed
            }
            other => return other,
        }
    }
    Next::Over(end)
}

/// Where one way stands.
fn stand(step: Step, done: &[Delivery], until: Millis, now: Millis) -> Next {
    let standing = standing(step.channel, done);
    match standing {
        Standing::Reached(state) => Next::Over(state),
        Standing::Missed => Next::Over(Progress::Failed),
        // A look at what was sent already is worth it at any time.
        Standing::Due(at) if at <= now => Next::Act(step.channel),
        Standing::Due(at) => Next::Wait(at),
        Standing::Untried if now >= until => Next::Over(Progress::Expired),
        // By the time it may ring it is no news any more.
        Standing::Untried if step.from >= until => Next::Over(Progress::Listed),
        Standing::Untried if step.from > now => Next::Wait(step.from),
        Standing::Untried => Next::Act(step.channel),
    }
}

fn standing(channel: Channel, done: &[Delivery]) -> Standing {
    let rows = || done.iter().filter(|delivery| delivery.channel == channel);
    if rows().next().is_none() {
        return Standing::Untried;
    }
    let due = rows().filter_map(|row| match row.state {
        DeliveryState::Sending => Some(row.changed_at + LOST_AFTER),
        DeliveryState::Waiting => Some(row.next_at.unwrap_or(row.changed_at)),
        _ => None,
    });
    if let Some(at) = due.min() {
        return Standing::Due(at);
    }
    let best = rows().filter_map(|row| match row.state {
        DeliveryState::Delivered => Some(Progress::Delivered),
        DeliveryState::Accepted => Some(Progress::Sent),
        DeliveryState::Unknown => Some(Progress::Unknown),
        DeliveryState::Failed | DeliveryState::Sending | DeliveryState::Waiting => None,
    });
    best.reduce(better).map_or(Standing::Missed, Standing::Reached)
}

/// The state that says more for the person.
const fn better(one: Progress, two: Progress) -> Progress {
    if rank(one) >= rank(two) { one } else { two }
}

const fn rank(state: Progress) -> u8 {
    match state {
        Progress::Delivered => 6,
        Progress::Sent => 5,
        Progress::Unknown => 4,
        Progress::Pending => 3,
        Progress::Failed => 2,
        Progress::Expired => 1,
        Progress::Listed => 0,
    }
}

/// How long to wait before attempt `attempts + 1`: ten seconds and doubling, at most ten minutes;
/// `chance` in [0, 1) spreads those who failed together.
pub(crate) fn backoff(attempts: i16, chance: f64) -> Duration {
    let doubled = 10u64 << u32::try_from(attempts - 1).unwrap_or(0).min(6);
    secs(doubled.min(10 * MINUTE)).mul_f64(1.0 + chance / 2.0)
}

/// A provider that is down this long gets no more tries, however long the news lives.
pub(crate) const GIVE_UP_AFTER: Duration = secs(HOUR);

/// What a delivery's row says after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub state: DeliveryState,
    pub reference: Option<String>,
    pub code: Option<String>,
    pub next_at: Option<Millis>,
}

/// The attempt that is to be settled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub kind: Kind,
    pub channel: Channel,
    /// This one counted.
    pub attempts: i16,
    pub created_at: Millis,
    pub until: Millis,
}

/// What follows from the provider's verdict. `chance` in [0, 1).
pub(crate) fn settle(attempt: &Attempt, verdict: &Verdict, now: Millis, chance: f64) -> Settled {
    let ended = |state, code: &str| Settled {
        state,
        reference: None,
        code: Some(code.to_owned()),
        next_at: None,
    };
    let later = |code: &str, after: Option<Duration>, otherwise| {
        let at = now + after.unwrap_or_else(|| backoff(attempt.attempts, chance));
        if at >= attempt.until || at > attempt.created_at + GIVE_UP_AFTER {
            return ended(otherwise, code);
        }
        Settled { next_at: Some(at), ..ended(DeliveryState::Waiting, code) }
    };
    match verdict {
        Verdict::Accepted { reference } => Settled {
            state: DeliveryState::Accepted,
            reference: Some(reference.clone()),
            code: None,
            next_at: None,
        },
        Verdict::Again { code, after } => later(code, *after, DeliveryState::Failed),
        Verdict::Dead { code, .. } | Verdict::Refused { code } | Verdict::Alert { code } => {
            ended(DeliveryState::Failed, code)
        }
        Verdict::Lost { code } => match when_lost(attempt.kind, attempt.channel) {
            Lost::Again => later(code, None, DeliveryState::Unknown),
            Lost::Leave => ended(DeliveryState::Unknown, code),
        },
    }
}
