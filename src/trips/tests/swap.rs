//! A nearer driver takes a trip over, as a table.

use super::table::{accept, after, cancel, check, tell};
use super::{RIDER, at_s, driver};
use crate::AheadCommand;
use crate::model::{Party, Status};
use crate::rules::{Command, State};
use crate::swap::TakeOver;

fn ask(n: u128, from: u128) -> Command {
    let (driver, from) = (driver(n), driver(from));
    Command::AskTakeOver(TakeOver { driver, from, until: at_s(90), round: 2 })
}

/// Accepted by 1, and 7 is asked to take over.
fn asked() -> State {
    tell(after(Status::Accepted), &[(20, ask(7, 1))])
}

#[test]
fn the_yes_of_a_nearer_driver_takes_the_trip_over() {
    let taken =
        "3 reassigned accepted by 7 [event offer(7 accepted) freed(1 taken_over) matched(7)]";
    check(&asked(), accept(7), 30, taken);
    // Until then it is the other's, as if nobody had been asked.
    check(&asked(), accept(8), 30, "NOT_FOUND");
    check(&asked(), accept(7), 90, "OFFER_EXPIRED");
    check(
        &asked(),
        Command::Decline { driver: driver(7) },
        30,
        "2 - accepted by 1 [offer(7 declined)]",
    );
    check(&asked(), Command::Expire, 90, "2 - accepted by 1 [offer(7 expired)]");
    let lost = Command::Withdraw { driver: driver(7) };
    check(&asked(), lost, 30, "2 - accepted by 1 [offer(7 lost)]");
}

#[test]
fn nobody_is_asked_to_take_over_from_who_has_it_not() {
    let accepted = after(Status::Accepted);
    check(&accepted, ask(7, 2), 20, "NOT_OFFERED");
    check(&accepted, ask(1, 1), 20, "NOT_OFFERED");
    check(&asked(), ask(7, 1), 21, "NOT_OFFERED");
    let changed = tell(asked(), &[(30, accept(7))]);
    check(&changed, ask(8, 1), 31, "NOT_OFFERED");
    check(&after(Status::Arrived), ask(7, 1), 70, "INVALID_TRANSITION {\"current\":\"arrived\"}");
    check(
        &after(Status::Requested),
        ask(7, 1),
        5,
        "INVALID_TRANSITION {\"current\":\"requested\"}",
    );
}

#[test]
fn once_the_driver_is_there_or_the_trip_is_over_nobody_takes_it() {
    let cancelled = "3 cancelled cancelled by 1 [event offer(7 revoked) freed(1 cancelled) ended]";
    check(&asked(), cancel(Party::Rider(RIDER)), 30, cancelled);
    let arrived = tell(asked(), &[(60, super::table::arrive(1))]);
    check(&arrived, accept(7), 61, "TRIP_TAKEN");
    let silent = Command::from(AheadCommand::Silent { driver: driver(1) });
    check(&asked(), silent, 30, "2 - accepted by 1 open 7 []");
}
