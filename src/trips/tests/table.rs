//! The rules as a table: a story so far, a command, what comes of it.

use base::{PaymentMethod, Piasters, Problem, TripId, UserId};
use ledger::TripMoney;

use super::{RIDER, at_s, driver, pickup, point, state, trip};
use crate::AheadCommand;
use crate::model::{CancelReason, Party, Status, Trip};
use crate::rules::{Command, State, Step, Tell, step};

fn offer(n: u128, until_s: i64) -> (i64, Command) {
    (0, Command::Offer { driver: driver(n), until: at_s(until_s), round: 1 })
}

pub(super) fn accept(n: u128) -> Command {
    Command::Accept { driver: driver(n) }
}

pub(super) fn arrive(n: u128) -> Command {
    Command::Arrive { driver: driver(n), at: Some(pickup()) }
}

fn start(n: u128) -> Command {
    Command::Start { driver: driver(n), pin: None }
}

fn complete(n: u128) -> Command {
    Command::Complete { driver: driver(n), distance_m: 4321, cash: None }
}

pub(super) fn cancel(by: Party) -> Command {
    Command::Cancel { by, reason: CancelReason::ChangedMind }
}

/// Offered to 1 and 2, accepted by 1 at 5 s, arrived at 60 s, started at 90 s, completed at 690 s.
fn story(status: Status) -> Vec<(i64, Command)> {
    let whole = vec![
        offer(1, 15),
        offer(2, 15),
        (5, accept(1)),
        (60, arrive(1)),
        (90, start(1)),
        (690, complete(1)),
    ];
    let length = match status {
        Status::Scheduled | Status::NoDrivers => 0,
        Status::Requested => 2,
        Status::Accepted => 3,
        Status::Arrived => 4,
        Status::Started => 5,
        Status::Completed => 6,
        Status::Cancelled => return vec![(1, cancel(Party::Rider(RIDER)))],
    };
    whole.into_iter().take(length).collect()
}

pub(super) fn tell(state: State, story: &[(i64, Command)]) -> State {
    story.iter().fold(state, |state, (at, command)| {
        step(&state, command, at_s(*at))
            .unwrap_or_else(|refusal| panic!("{command:?}: {refusal}"))
            .next
    })
}

pub(super) fn after(status: Status) -> State {
    match status {
        Status::NoDrivers => tell(state(trip()), &[(60, Command::NoDrivers)]),
        Status::Scheduled => {
            let mut later = trip();
            later.status = Status::Scheduled;
            later.scheduled_at = Some(at_s(3600));
            state(later)
        }
        _ => tell(state(trip()), &story(status)),
    }
}

fn show_tell(tell: &Tell) -> String {
    match tell {
        Tell::Event => "event".to_owned(),
        Tell::NeedsDriver => "needs_driver".to_owned(),
        Tell::NeedsStandby => "needs_standby".to_owned(),
        Tell::StandbyOver { driver } => format!("standby_over({})", driver.as_u128()),
        Tell::OfferEnded { driver, outcome } => format!("offer({} {outcome})", driver.as_u128()),
        Tell::Bid { bid, stands } => {
            format!("bid({} {} {stands})", bid.driver.as_u128(), bid.price)
        }
        Tell::SearchOver => "over".to_owned(),
        Tell::Matched { driver } => format!("matched({})", driver.as_u128()),
        Tell::DriverFreed { driver, how } => format!("freed({} {how})", driver.as_u128()),
        Tell::Completed => "completed".to_owned(),
        Tell::Ended => "ended".to_owned(),
    }
}

fn show_money(money: &TripMoney) -> String {
    match money {
        TripMoney::Settle(fare) => format!(" settle {}", fare.price),
        TripMoney::ReleaseHold { hold, .. } => format!(" release {hold}"),
        TripMoney::CancelFee { fee, .. } => format!(" fee {fee}"),
    }
}

fn show(result: Result<Step, crate::Refusal>) -> String {
    match result {
        Err(refusal) => {
            let problem = Problem::from(refusal);
            let details = problem.details.to_string();
            let details = if details == "{}" { String::new() } else { format!(" {details}") };
            format!("{}{details}", problem.code.name())
        }
        Ok(step) => {
            let trip = &step.next.trip;
            let name = step.record.as_ref().map_or("-", |record| record.event.event.name());
            let driver = trip.driver.map(|id| format!(" by {}", id.as_u128())).unwrap_or_default();
            let money = step.record.as_ref().and_then(|record| record.money.as_ref());
            let money = money.map(show_money).unwrap_or_default();
            let offers: Vec<_> =
                step.next.offers.iter().map(|lease| lease.driver.as_u128().to_string()).collect();
            let offers = if offers.is_empty() {
                String::new()
            } else {
                format!(" open {}", offers.join(","))
            };
            let tells: Vec<_> = step.tells.iter().map(show_tell).collect();
            format!(
                "{} {name} {}{driver}{money}{offers} [{}]",
                trip.version,
                trip.status,
                tells.join(" ")
            )
        }
    }
}

#[track_caller]
pub(super) fn check(state: &State, command: Command, at: i64, expected: &str) {
    let shown = show(step(state, &command, at_s(at)));
    assert_eq!(shown, expected, "{} + {command:?} at {at} s", state.trip.status);
}

#[test]
fn an_asked_driver_accepts_before_his_deadline() {
    let offered = after(Status::Requested);
    check(
        &offered,
        accept(1),
        14,
        "2 accepted accepted by 1 [event offer(1 accepted) offer(2 revoked) over matched(1)]",
    );
    check(&offered, accept(3), 14, "NOT_FOUND");
}

#[test]
fn accept_is_refused_at_the_deadline() {
    let offered = after(Status::Requested);
    check(&offered, accept(1), 15, "OFFER_EXPIRED");
    let expired = step(&offered, &Command::Expire, at_s(15)).expect("offers end").next;
    check(&expired, accept(1), 15, "OFFER_EXPIRED");
    check(&expired, accept(3), 15, "NOT_FOUND");
}

#[test]
fn offers_end_one_by_one_without_an_event() {
    let offered = after(Status::Requested);
    let (d1, d2) = (driver(1), driver(2));
    check(&offered, Command::Decline { driver: d1 }, 3, "1 - requested open 2 [offer(1 declined)]");
    check(&offered, Command::Withdraw { driver: d2 }, 3, "1 - requested open 1 [offer(2 lost)]");
    check(&offered, Command::Withdraw { driver: driver(9) }, 3, "1 - requested open 1,2 []");
    check(&offered, Command::Decline { driver: driver(9) }, 3, "NOT_FOUND");
    check(&offered, Command::Expire, 14, "1 - requested open 1,2 []");
    check(&offered, Command::Expire, 15, "1 - requested [offer(1 expired) offer(2 expired)]");
}

#[test]
fn a_driver_has_one_offer_of_a_trip_at_a_time() {
    let offered = after(Status::Requested);
    check(&offered, offer(1, 20).1, 3, "NOT_OFFERED");
    check(&offered, offer(3, 20).1, 3, "1 - requested open 1,2,3 []");
    let declined = tell(offered, &[(3, Command::Decline { driver: driver(1) })]);
    check(&declined, accept(1), 4, "OFFER_EXPIRED");
    check(&declined, offer(1, 20).1, 4, "1 - requested open 2,1 []");
}

#[test]
fn late_answers_learn_why() {
    for status in [Status::Accepted, Status::Arrived, Status::Started, Status::Completed] {
        let state = after(status);
        check(&state, accept(2), 700, "TRIP_TAKEN");
        check(&state, Command::Decline { driver: driver(2) }, 700, "TRIP_TAKEN");
        check(&state, accept(3), 700, "NOT_FOUND");
        check(&state, Command::Decline { driver: driver(3) }, 700, "NOT_FOUND");
        let current = format!("INVALID_TRANSITION {{\"current\":\"{status}\"}}");
        check(&state, accept(1), 700, &current);
    }
    let ends = [(cancel(Party::Rider(RIDER)), "cancelled"), (Command::NoDrivers, "no_drivers")];
    for (end, status) in ends {
        let ended = tell(after(Status::Requested), &[(60, end)]);
        let current = format!("INVALID_TRANSITION {{\"current\":\"{status}\"}}");
        check(&ended, accept(1), 61, &current);
        check(&ended, accept(3), 61, "NOT_FOUND");
    }
}

#[test]
fn a_trip_goes_its_way() {
    check(&after(Status::Accepted), arrive(1), 60, "3 arrived arrived by 1 [event]");
    check(&after(Status::Arrived), start(1), 90, "4 started started by 1 [event]");
    check(
        &after(Status::Started),
        complete(1),
        690,
        "5 completed completed by 1 settle 100 [event completed freed(1 completed) ended]",
    );
    let done = after(Status::Completed).trip;
    assert_eq!(
        (done.final_price, done.distance_m, done.duration_s),
        (Some(Piasters(10_000)), Some(4321), Some(600))
    );
    assert_eq!(done.ended_at, Some(at_s(690)));
}

#[test]
fn only_its_driver_moves_a_trip_and_only_in_order() {
    let illegal = |status: &str| format!("INVALID_TRANSITION {{\"current\":\"{status}\"}}");
    check(&after(Status::Accepted), arrive(2), 60, "NOT_FOUND");
    check(&after(Status::Arrived), start(2), 90, "NOT_FOUND");
    check(&after(Status::Started), complete(2), 690, "NOT_FOUND");
    check(&after(Status::Requested), arrive(1), 3, "NOT_FOUND");
    check(&after(Status::Accepted), start(1), 60, &illegal("accepted"));
    check(&after(Status::Accepted), complete(1), 60, &illegal("accepted"));
    check(&after(Status::Arrived), arrive(1), 61, &illegal("arrived"));
    check(&after(Status::Completed), complete(1), 700, &illegal("completed"));
    check(&after(Status::Completed), complete(2), 700, "NOT_FOUND");
    check(&after(Status::Cancelled), start(1), 2, "NOT_FOUND");
    check(&after(Status::Started), Command::NoDrivers, 99, &illegal("started"));
    check(&after(Status::Accepted), offer(3, 99).1, 6, &illegal("accepted"));
}

#[test]
fn arrived_means_near_the_pickup() {
    let accepted = after(Status::Accepted);
    let at = |lat: f64| Command::Arrive { driver: driver(1), at: Some(point(lat, 31.2357)) };
    // One ten-thousandth of a degree of latitude is 11.1 m.
    check(&accepted, at(30.0444 + 0.0017), 60, "3 arrived arrived by 1 [event]");
    check(&accepted, at(30.0444 + 0.0019), 60, "TOO_FAR_FROM_PICKUP {\"distance\":211}");
    let nowhere = Command::Arrive { driver: driver(1), at: None };
    check(&accepted, nowhere, 60, "TOO_FAR_FROM_PICKUP {\"distance\":null}");
}

#[test]
fn a_trip_with_a_pin_starts_with_it() {
    let mut secured = trip();
    secured.pin = Some("0427".to_owned());
    let arrived = tell(state(secured), &story(Status::Arrived));
    let with =
        |pin: Option<&str>| Command::Start { driver: driver(1), pin: pin.map(str::to_owned) };
    check(&arrived, with(None), 90, "WRONG_PIN");
    check(&arrived, with(Some("0428")), 90, "WRONG_PIN");
    check(&arrived, with(Some("0427")), 90, "4 started started by 1 [event]");
}

#[test]
fn the_rider_cancels_free_within_the_window() {
    let rider = || cancel(Party::Rider(RIDER));
    check(
        &after(Status::Requested),
        rider(),
        3,
        "2 cancelled cancelled [event offer(1 revoked) offer(2 revoked) over ended]",
    );
    // Accepted at 5 s, free until 125 s.
    let free = "3 cancelled cancelled by 1 [event freed(1 cancelled) ended]";
    let late = "3 cancelled cancelled by 1 fee 15 [event freed(1 cancelled) ended]";
    check(&after(Status::Accepted), rider(), 124, free);
    check(&after(Status::Accepted), rider(), 125, late);
    check(&after(Status::Accepted), cancel(Party::Admin(UserId::from_u128(5))), 500, free);
    check(&after(Status::Started), rider(), 95, "INVALID_TRANSITION {\"current\":\"started\"}");
    let stranger = cancel(Party::Rider(base::RiderId::from_u128(4)));
    check(&after(Status::Requested), stranger.clone(), 3, "NOT_FOUND");
    check(&after(Status::Accepted), stranger.clone(), 3, "NOT_FOUND");
    check(&after(Status::Completed), stranger, 3, "NOT_FOUND");
}

#[test]
fn calling_the_search_off_never_touches_a_found_driver() {
    let stop = |rider| Command::CancelSearch { rider };
    let ended = "2 cancelled cancelled [event offer(1 revoked) offer(2 revoked) over ended]";
    check(&after(Status::Requested), stop(RIDER), 3, ended);
    let current = |status: &str| format!("INVALID_TRANSITION {{\"current\":\"{status}\"}}");
    check(&after(Status::Accepted), stop(RIDER), 6, &current("accepted"));
    check(&after(Status::Completed), stop(RIDER), 500, &current("completed"));
    check(&after(Status::Requested), stop(base::RiderId::from_u128(4)), 3, "NOT_FOUND");
}

#[test]
fn a_held_wallet_is_released_when_nothing_was_driven() {
    let mut held = trip();
    held.hold = Piasters(12_000);
    let requested = state(held);
    check(
        &requested,
        Command::NoDrivers,
        60,
        "2 no_drivers no_drivers release 120 [event over ended]",
    );
    check(
        &requested,
        cancel(Party::Rider(RIDER)),
        9,
        "2 cancelled cancelled release 120 [event over ended]",
    );
    let accepted = tell(requested, &story(Status::Accepted));
    let free = "3 cancelled cancelled by 1 release 120 [event freed(1 cancelled) ended]";
    check(&accepted, cancel(Party::Rider(RIDER)), 9, free);
}

#[test]
fn a_driver_who_gives_the_trip_back_is_not_asked_again() {
    let gave_back = cancel(Party::Driver(driver(1)));
    let again = "3 driver_cancelled requested [event freed(1 gave_back) needs_driver]";
    check(&after(Status::Accepted), gave_back.clone(), 9, again);
    let searched = tell(after(Status::Accepted), &[(9, gave_back.clone())]);
    assert_eq!(searched.trip.price, trip().price);
    check(&searched, offer(1, 30).1, 10, "NOT_OFFERED");
    check(&searched, gave_back, 10, "INVALID_TRANSITION {\"current\":\"requested\"}");
    check(&searched, offer(2, 30).1, 10, "3 - requested open 2 []");
}

#[test]
fn a_no_show_takes_the_waiting_time_at_the_pickup() {
    let no_show =
        || Command::Cancel { by: Party::Driver(driver(1)), reason: CancelReason::RiderNoShow };
    check(&after(Status::Accepted), no_show(), 900, "NO_SHOW_TOO_EARLY {\"waitSeconds\":300}");
    // Arrived at 60 s, waits 300 s.
    check(&after(Status::Arrived), no_show(), 350, "NO_SHOW_TOO_EARLY {\"waitSeconds\":10}");
    let gone = "4 cancelled cancelled by 1 fee 15 [event freed(1 no_show) ended]";
    check(&after(Status::Arrived), no_show(), 360, gone);
}

#[test]
fn reassigning_names_both_drivers() {
    let swap = |n| Command::Reassign { driver: driver(n) };
    let swapped = "3 reassigned accepted by 7 [event freed(1 taken_over) matched(7)]";
    check(&after(Status::Accepted), swap(7), 9, swapped);
    check(&after(Status::Accepted), swap(1), 9, "NOT_OFFERED");
    check(&after(Status::Arrived), swap(7), 61, "INVALID_TRANSITION {\"current\":\"arrived\"}");
}

#[test]
fn a_queued_trip_waits_for_its_turn() {
    let behind = TripId::from_u128(0x66);
    let next = Command::AcceptNext { driver: driver(1), behind };
    let story = [offer(1, 15), (5, next)];
    let queued = tell(state(trip()), &story);
    assert_eq!(queued.trip.queued_behind, Some(behind));
    check(&queued, arrive(1), 60, "INVALID_TRANSITION {\"current\":\"accepted\"}");
    // While the driver is busy elsewhere, calling it off costs nothing.
    let free = "3 cancelled cancelled by 1 [event freed(1 cancelled) ended]";
    check(&queued, cancel(Party::Rider(RIDER)), 999, free);
    check(&queued, Command::Activate, 200, "3 activated accepted by 1 [event]");
    // Of a driver nothing is heard of who knows when that other trip ends?
    let silent = || Command::from(AheadCommand::Silent { driver: driver(1) });
    let lost = "3 driver_cancelled requested [event freed(1 gave_back) needs_driver]";
    check(&queued, silent(), 60, lost);
    let active = tell(queued, &[(200, Command::Activate)]);
    check(&active, silent(), 230, "3 - accepted by 1 []");
    // The free window begins now, however long it was queued.
    check(
        &active,
        cancel(Party::Rider(RIDER)),
        319,
        "4 cancelled cancelled by 1 [event freed(1 cancelled) ended]",
    );
    check(&active, Command::Activate, 201, "INVALID_TRANSITION {\"current\":\"accepted\"}");
    check(&active, arrive(1), 260, "4 arrived arrived by 1 [event]");
}

#[test]
fn a_scheduled_trip_is_called_off_and_not_offered() {
    let scheduled = after(Status::Scheduled);
    check(&scheduled, cancel(Party::Rider(RIDER)), 10, "2 cancelled cancelled [event ended]");
    check(&scheduled, offer(1, 30).1, 10, "INVALID_TRANSITION {\"current\":\"scheduled\"}");
    check(&scheduled, accept(1), 10, "NOT_FOUND");
}

#[test]
fn the_graph_is_the_one_of_the_database() {
    // trip_may_become in migration 0003; `database::the_functions_refuse_what_is_illegal` asks it.
    let legal: Vec<String> = Status::ALL
        .iter()
        .flat_map(|from| Status::ALL.iter().map(move |to| (*from, *to)))
        .filter(|(from, to)| from.may_become(*to))
        .map(|(from, to)| format!("{from}>{to}"))
        .collect();
    assert_eq!(
        legal.join(" "),
        "scheduled>requested scheduled>cancelled requested>accepted requested>cancelled \
         requested>no_drivers accepted>requested accepted>accepted accepted>arrived \
         accepted>cancelled arrived>requested arrived>started arrived>cancelled started>completed"
    );
}

/// What a trip of 100 by card leaves to be taken of it, and what it says of its payment.
#[track_caller]
fn card_check(promo: i64, before: &[(i64, Command)], at: (i64, Command), expected: &str) {
    let card = Trip { method: PaymentMethod::Card, promo: Piasters(promo), ..trip() };
    let told = tell(state(card), before);
    let step = step(&told, &at.1, at_s(at.0)).expect("it is legal");
    let record = step.record.expect("it is stored");
    let due =
        record.event.card_due.map_or_else(|| "nothing said".to_owned(), |due| due.to_string());
    let moves = match record.money {
        None => "nothing moves",
        Some(TripMoney::Settle(_)) => "settled",
        Some(TripMoney::CancelFee { .. } | TripMoney::ReleaseHold { .. }) => "a fee or a hold",
    };
    assert_eq!(format!("{}, {due}, {moves}", record.event.payment_status), expected);
}

#[test]
fn the_end_of_a_trip_says_what_is_taken_of_its_card() {
    let rider = || cancel(Party::Rider(RIDER));
    let by_then = |status| story(status);
    let offered = by_then(Status::Requested);
    card_check(0, &offered, (5, accept(1)), "pending, nothing said, nothing moves");
    card_check(0, &by_then(Status::Started), (690, complete(1)), "pending, 100, nothing moves");
    card_check(2_000, &by_then(Status::Started), (690, complete(1)), "pending, 80, nothing moves");
    // A promo that pays for all of it leaves the card nothing.
    card_check(10_000, &by_then(Status::Started), (690, complete(1)), "paid, 0, settled");
    card_check(0, &by_then(Status::Requested), (1, rider()), "pending, 0, nothing moves");
    card_check(
        0,
        &by_then(Status::Requested),
        (60, Command::NoDrivers),
        "pending, 0, nothing moves",
    );
    card_check(0, &by_then(Status::Accepted), (6, rider()), "pending, 0, nothing moves");
    card_check(0, &by_then(Status::Accepted), (900, rider()), "pending, 15, nothing moves");
}
