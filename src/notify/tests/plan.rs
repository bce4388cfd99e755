//! Which ways are taken, in which order, and what follows from what became of them.

use std::time::Duration;

use base::Millis;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::client::Verdict;
use crate::model::{Channel, Delivery, DeliveryState, Group, Kind, Preferences, Progress, Quiet};
use crate::plan::{Attempt, Next, Open, Person, Plan, Step, backoff, next, plan, rule, settle};

const ALL: Open = Open { push: true, sms: true, email: true };
/// Noon in Cairo, winter.
const NOON: &str = "2026-12-03T10:00:00Z";
/// One hour past midnight in Cairo.
const NIGHT: &str = "2026-12-02T23:00:00Z";

fn at(text: &str) -> Millis {
    Millis::parse(text).unwrap()
}

fn wishes(email: bool, muted: &[(Group, Channel)]) -> Preferences {
    Preferences {
        email: email.then(|| "mona@example.com".to_owned()),
        quiet: Some(Quiet { from: 22 * 60, to: 7 * 60 }),
        muted: muted.to_vec(),
        ..Preferences::default()
    }
}

/// `push+8h` for a way that must wait eight hours.
fn said(plan: &Plan, now: Millis) -> String {
    let step = |step: &Step| match step.from.since(now) {
        0 => step.channel.name().to_owned(),
        wait => format!("{}+{}m", step.channel, wait / 60_000),
    };
    plan.ladder.iter().chain(&plan.letter).map(step).collect::<Vec<_>>().join(" ")
}

fn check(kind: Kind, now: &str, person: (usize, bool, &Preferences), open: Open, expected: &str) {
    let (devices, connected, wishes) = person;
    let zone = TimeZone::get("Africa/Cairo").unwrap();
    let person = Person { wishes, devices, connected, zone: &zone };
    let found = said(&plan(kind, &person, open, at(now)), at(now));
    assert_eq!(found, expected, "{kind} at {now}");
}

#[test]
fn each_kind_takes_its_ways() {
    let all = wishes(true, &[]);
    let everywhere = |kind, expected| check(kind, NOON, (2, true, &all), ALL, expected);
    everywhere(Kind::Offer, "push");
    everywhere(Kind::TripBooked, "socket push");
    everywhere(Kind::TripSoon, "socket push");
    everywhere(Kind::ConfirmTrip, "socket push sms");
    everywhere(Kind::TripAccepted, "socket push");
    everywhere(Kind::TripArrived, "socket push sms");
    everywhere(Kind::TripStarted, "socket push");
    everywhere(Kind::TripCompleted, "socket push");
    everywhere(Kind::TripCancelled, "socket push sms");
    everywhere(Kind::TripDriverCancelled, "socket push");
    everywhere(Kind::TripTakenBack, "socket push sms");
    everywhere(Kind::TripBidOff, "socket push");
    everywhere(Kind::BidWon, "socket push");
    everywhere(Kind::TripNoDrivers, "socket push sms");
    everywhere(Kind::Receipt, "email");
    everywhere(Kind::PaymentSucceeded, "socket push");
    everywhere(Kind::PaymentFailed, "socket push email");
    everywhere(Kind::DebtLimit, "socket push email");
    everywhere(Kind::Refunded, "socket push email");
    everywhere(Kind::DisputeResolved, "socket push email");
    everywhere(Kind::WithdrawalApproved, "socket push");
    everywhere(Kind::WithdrawalPaid, "socket push email");
    everywhere(Kind::WithdrawalArrived, "socket push");
    everywhere(Kind::WithdrawalFailed, "socket push email");
    everywhere(Kind::WithdrawalRejected, "socket push email");
    everywhere(Kind::DocumentExpiring, "socket push email");
    everywhere(Kind::Statement, "socket push email");
    everywhere(Kind::AccountHeld, "socket push email");
    everywhere(Kind::AccountReleased, "socket push email");
}

#[test]
fn a_way_without_an_address_or_a_provider_is_not_taken() {
    let (mail, no_mail) = (wishes(true, &[]), wishes(false, &[]));
    let arrived = |person, open, expected| check(Kind::TripArrived, NOON, person, open, expected);
    arrived((0, true, &mail), ALL, "socket sms");
    arrived((1, false, &mail), ALL, "push sms");
    arrived((1, false, &mail), Open { sms: false, ..ALL }, "push");
    arrived((1, false, &mail), Open { push: false, ..ALL }, "sms");
    arrived((0, false, &mail), Open::default(), "");
    check(Kind::Receipt, NOON, (1, true, &no_mail), ALL, "");
    check(Kind::Receipt, NOON, (1, true, &mail), Open { email: false, ..ALL }, "");
}

#[test]
fn what_is_muted_is_not_taken() {
    let person = wishes(true, &[(Group::Trips, Channel::Sms), (Group::Receipts, Channel::Email)]);
    check(Kind::TripArrived, NOON, (1, true, &person), ALL, "socket push");
    check(Kind::Receipt, NOON, (1, true, &person), ALL, "");
    check(Kind::Statement, NOON, (1, true, &person), ALL, "socket push email");
}

#[test]
fn the_night_is_quiet() {
    let person = wishes(true, &[]);
    let night = |kind, expected| check(kind, NIGHT, (1, true, &person), ALL, expected);
    // Six hours to go until seven; letters and screens make no sound.
    night(Kind::WithdrawalPaid, "socket push+360m email");
    night(Kind::Statement, "socket push+360m email");
    // The car is here, whatever the hour.
    night(Kind::TripArrived, "socket push sms");
    night(Kind::Offer, "push");
    let edge = |now, expected| check(Kind::Statement, now, (1, false, &person), ALL, expected);
    edge("2026-12-03T19:59:59Z", "push email");
    edge("2026-12-03T20:00:00Z", "push+540m email");
    edge("2026-12-04T05:00:00Z", "push email");
    // The night in which summer time begins has an hour less.
    edge("2026-04-23T21:00:00Z", "push+420m email");
}

fn way(channel: Channel, state: DeliveryState, next_at: i64) -> Delivery {
    Delivery {
        id: Uuid::nil(),
        channel,
        device: None,
        state,
        attempts: 1,
        reference: None,
        code: None,
        next_at: (state == DeliveryState::Waiting).then_some(Millis(next_at)),
        changed_at: Millis(0),
    }
}

#[test]
fn the_next_way_is_tried_when_the_one_before_reached_nobody() {
    use Channel::{Email, Push, Sms, Socket};
    use DeliveryState::{Accepted, Delivered, Failed, Sending, Unknown, Waiting};
    let step = |channel| Step { channel, from: Millis(0) };
    let ladder = || vec![step(Socket), step(Push), step(Sms)];
    let plain = Plan { ladder: ladder(), letter: None };
    let check = |plan: &Plan, done: &[Delivery], now: i64, expected: Next| {
        assert_eq!(next(plan, done, Millis(600_000), Millis(now)), expected, "{done:?}");
    };
    check(&plain, &[], 0, Next::Act(Socket));
    check(&plain, &[way(Socket, Waiting, 3000)], 1000, Next::Wait(Millis(3000)));
    check(&plain, &[way(Socket, Waiting, 3000)], 3000, Next::Act(Socket));
    check(&plain, &[way(Socket, Delivered, 0)], 3000, Next::Over(Progress::Delivered));
    check(&plain, &[way(Socket, Failed, 0)], 3000, Next::Act(Push));
    let pushed = |state| [way(Socket, Failed, 0), way(Push, state, 5000)];
    check(&plain, &pushed(Accepted), 3000, Next::Over(Progress::Sent));
    check(&plain, &pushed(Waiting), 3000, Next::Wait(Millis(5000)));
    check(&plain, &pushed(Failed), 3000, Next::Act(Sms));
    check(&plain, &pushed(Unknown), 3000, Next::Over(Progress::Unknown));
    // Whoever claimed it has a minute to say what came of it.
    check(&plain, &pushed(Sending), 3000, Next::Wait(Millis(60_000)));
    check(&plain, &pushed(Sending), 60_000, Next::Act(Push));
    // One of two phones has it, the other is still tried.
    let two = [way(Socket, Failed, 0), way(Push, Accepted, 0), way(Push, Waiting, 5000)];
    check(&plain, &two, 3000, Next::Wait(Millis(5000)));
    let all = [way(Socket, Failed, 0), way(Push, Failed, 0), way(Sms, Failed, 0)];
    check(&plain, &all, 3000, Next::Over(Progress::Failed));
    // A letter goes out beside it, whatever the ladder says.
    let letter = Plan { ladder: ladder(), letter: Some(step(Email)) };
    check(&letter, &[way(Socket, Waiting, 3000)], 0, Next::Act(Email));
    let sent = [way(Socket, Waiting, 3000), way(Email, Accepted, 0)];
    check(&letter, &sent, 0, Next::Wait(Millis(3000)));
    let both = [way(Socket, Delivered, 0), way(Email, Failed, 0)];
    check(&letter, &both, 0, Next::Over(Progress::Delivered));
    // No way at all, and too late for any.
    check(&Plan::default(), &[], 0, Next::Over(Progress::Listed));
    check(&plain, &[], 600_000, Next::Over(Progress::Expired));
    // A phone that was forgotten after the push failed: the ladder goes on.
    let without = Plan { ladder: vec![step(Sms)], letter: None };
    check(&without, &[way(Push, Failed, 0)], 3000, Next::Act(Sms));
}

#[test]
fn what_may_ring_only_after_its_time_is_listed() {
    let later = Step { channel: Channel::Push, from: Millis(900_000) };
    let plan = Plan { ladder: vec![later], letter: None };
    assert_eq!(next(&plan, &[], Millis(600_000), Millis(0)), Next::Over(Progress::Listed));
    assert_eq!(next(&plan, &[], Millis(1_000_000), Millis(0)), Next::Wait(Millis(900_000)));
}

#[test]
fn a_verdict_leads_to_the_documented_end() {
    let text = |code: &str| code.to_owned();
    let check = |kind, channel, attempts, verdict: Verdict, expected: &str| {
        let ttl = rule(kind).ttl;
        let attempt =
            Attempt { kind, channel, attempts, created_at: Millis(0), until: Millis(0) + ttl };
        let end = settle(&attempt, &verdict, Millis(0), 0.0);
        let next = end.next_at.map(|at| format!(" at {}s", at.0 / 1000)).unwrap_or_default();
        let code = end.code.unwrap_or_default();
        let found = format!("{} {code}{next}", end.state);
        assert_eq!(found, expected, "{kind} {channel} {verdict:?}");
    };
    let again = |after: Option<u64>| Verdict::Again {
        code: text("UNAVAILABLE"),
        after: after.map(Duration::from_secs),
    };
    let lost = || Verdict::Lost { code: text("NO_ANSWER") };
    let dead = Verdict::Dead { code: text("UNREGISTERED"), since: None };
    let push = Channel::Push;
    let accepted = Verdict::Accepted { reference: text("x") };
    check(Kind::TripArrived, push, 1, accepted, "accepted ");
    check(Kind::TripArrived, push, 1, again(None), "waiting UNAVAILABLE at 10s");
    check(Kind::TripArrived, push, 3, again(None), "waiting UNAVAILABLE at 40s");
    check(Kind::TripArrived, push, 1, again(Some(120)), "waiting UNAVAILABLE at 120s");
    // Its ten minutes are over by then.
    check(Kind::TripArrived, push, 1, again(Some(700)), "failed UNAVAILABLE");
    // It lives for days, but nobody is tried for longer than an hour.
    check(Kind::Statement, push, 1, again(Some(3600)), "waiting UNAVAILABLE at 3600s");
    check(Kind::Statement, push, 1, again(Some(3700)), "failed UNAVAILABLE");
    check(Kind::TripArrived, push, 1, dead, "failed UNREGISTERED");
    check(Kind::TripArrived, push, 1, Verdict::Refused { code: text("X") }, "failed X");
    check(Kind::TripArrived, push, 1, Verdict::Alert { code: text("A") }, "failed A");
    // A lost answer: a push is repeated under its name, an SMS or an offer never is.
    check(Kind::TripArrived, push, 1, lost(), "waiting NO_ANSWER at 10s");
    check(Kind::Receipt, Channel::Email, 1, lost(), "waiting NO_ANSWER at 10s");
    check(Kind::TripArrived, Channel::Sms, 1, lost(), "unknown NO_ANSWER");
    check(Kind::Offer, push, 1, lost(), "unknown NO_ANSWER");
}

#[test]
fn waits_double_up_to_ten_minutes() {
    let check = |attempts, chance, seconds| {
        assert_eq!(backoff(attempts, chance), Duration::from_secs(seconds), "{attempts}");
    };
    check(1, 0.0, 10);
    check(2, 0.0, 20);
    check(6, 0.0, 320);
    check(7, 0.0, 600);
    check(i16::MAX, 0.0, 600);
    check(2, 0.5, 25);
}
