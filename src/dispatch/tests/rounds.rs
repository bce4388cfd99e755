//! How one search goes: rounds, rings, the sixty seconds, and what the trace says.

use std::time::Duration;

use base::{CityId, DriverId, OfferId, Piasters};

use super::city::{Play, START, Ways, driver, search, seen, trip};
use crate::board::Rules;
use crate::eligibility::Standing;
use crate::model::{Decision, Outcome, Part, Seen};
use crate::strategy::Strategy;
use crate::wire::MatchingStatus;

/// `count` drivers, numbered from 1, each 100 m farther than the one before.
fn queue(count: u128) -> Vec<Seen> {
    (1..=count).map(|number| seen(number, number as f64 * 100.0)).collect()
}

#[test]
fn the_best_five_are_asked_at_once_then_the_next_five() {
    let mut play = Play::new(queue(12));
    assert_eq!(play.ask(1).tick(), "1: 1 2 3 4 5");
    assert_eq!(play.at(1.0).tick(), "");
    assert!(play.open.iter().all(|plan| plan.until == START + Duration::from_secs(15)));
    assert_eq!(play.at(15.0).end_all(Outcome::Expired).tick(), "1: 6 7 8 9 10");
    assert_eq!(play.open[0].round, 2);
    assert_eq!(play.at(30.0).end_all(Outcome::Expired).tick(), "1: 11 12");
}

#[test]
fn ten_bid_at_once_and_the_next_ring_does_when_nobody_was_chosen() {
    let mut drivers = queue(12);
    drivers.push(seen(70, 7_000.0));
    let mut play = Play::new(drivers);
    play.board.choose(CityId(1), Strategy::BroadcastBid);
    assert_eq!(play.ask(1).tick(), "1: 1 2 3 4 5 6 7 8 9 10");
    let plan = &play.open[0];
    let bids_until = plan.bids.expect("prices are bid").until;
    assert_eq!(bids_until, START + Duration::from_secs(30));
    assert_eq!(plan.until, START + Duration::from_secs(45), "the rider chooses for a while");
    assert!(play.board.bid(trip(2), driver(4), Piasters(4_500)).is_none(), "another's trip");
    let plan = play.board.bid(trip(1), driver(4), Piasters(4_500)).expect("he was asked");
    assert_eq!(plan.bid, Some(Piasters(4_500)));
    for number in [1, 2, 3, 5, 6, 7, 8, 9, 10] {
        assert_eq!(play.at(30.0).end(number, Outcome::Expired).tick(), "");
    }
    // He bid and was let pass: he rests a little, a farther ring asks others.
    assert_eq!(play.at(45.0).end(4, Outcome::Unchosen).tick(), "1: 11 12 70");
    assert_eq!(play.at(75.0).end_all(Outcome::Expired).tick(), "1: no drivers");
}

#[test]
fn where_nobody_else_is_whoever_was_let_pass_is_asked_again() {
    let mut play = Play::new(queue(3));
    play.board.choose(CityId(1), Strategy::BroadcastBid);
    assert_eq!(play.ask(1).tick(), "1: 1 2 3");
    assert_eq!(play.at(45.0).end_all(Outcome::Unchosen).tick(), "");
    assert_eq!(play.at(50.0).tick(), "1: 1 2 3");
    assert_eq!(play.at(95.0).end_all(Outcome::Unchosen).tick(), "1: no drivers");
}

#[test]
fn a_round_that_all_have_answered_is_over_at_once() {
    let mut play = Play::new(queue(6));
    play.ask(1).tick();
    for number in [1, 2, 3, 4] {
        assert_eq!(play.at(2.0).end(number, Outcome::Declined).tick(), "");
    }
    assert_eq!(play.end(5, Outcome::Lost).tick(), "1: 6");
}

#[test]
fn rings_widen_with_time() {
    let mut play = Play::new(vec![seen(6, 6_000.0), seen(9, 9_000.0), seen(11, 11_000.0)]);
    assert_eq!(play.ask(1).tick(), "");
    assert_eq!(play.at(19.999).tick(), "");
    assert_eq!(play.at(20.0).tick(), "1: 6");
    assert_eq!(play.at(25.0).end_all(Outcome::Declined).tick(), "");
    assert_eq!(play.at(39.999).tick(), "");
    assert_eq!(play.at(40.0).tick(), "1: 9");
    assert_eq!(play.at(55.0).end_all(Outcome::Expired).tick(), "");
    assert_eq!(play.at(60.0).tick(), "1: no drivers");
}

#[test]
fn rings_widen_when_two_rounds_have_said_no() {
    let mut drivers = queue(10);
    drivers.extend([seen(70, 7_000.0), seen(99, 9_900.0)]);
    let mut play = Play::new(drivers);
    play.ask(1).tick();
    play.at(1.0).end_all(Outcome::Declined).tick();
    assert_eq!(play.at(2.0).end_all(Outcome::Declined).tick(), "1: 70");
}

#[test]
fn the_next_ring_first_asks_who_is_left_of_the_last() {
    let mut drivers = queue(12);
    drivers.push(seen(70, 7_000.0));
    let mut play = Play::new(drivers);
    play.ask(1).tick();
    play.at(15.0).end_all(Outcome::Expired).tick();
    assert_eq!(play.at(30.0).end_all(Outcome::Expired).tick(), "1: 11 12 70");
}

#[test]
fn an_empty_city_is_searched_for_sixty_seconds() {
    let mut play = Play::new(Vec::new());
    play.ask(1);
    for second in 0..60 {
        assert_eq!(play.at(f64::from(second)).tick(), "");
    }
    assert_eq!(play.at(59.999).tick(), "");
    assert_eq!(play.at(60.0).tick(), "1: no drivers");
}

#[test]
fn everybody_saying_no_at_once_does_not_end_the_search_early() {
    let mut play = Play::new(queue(30));
    play.ask(1);
    for _ in 0..6 {
        assert_ne!(play.at(3.0).tick(), "");
        play.end_all(Outcome::Declined);
    }
    assert_eq!(play.tick(), "");
    // Whoever arrives within the sixty seconds is still asked.
    play.city.drivers.push(seen(77, 4_000.0));
    assert_eq!(play.at(40.0).tick(), "1: 77");
    assert_eq!(play.at(41.0).end_all(Outcome::Declined).tick(), "");
    assert_eq!(play.at(60.0).tick(), "1: no drivers");
}

#[test]
fn an_open_offer_holds_the_end_of_the_search_back() {
    let mut play = Play::new(Vec::new());
    play.ask(1).at(58.0).city.drivers.push(seen(1, 1_000.0));
    assert_eq!(play.tick(), "1: 1");
    assert_eq!(play.at(61.0).tick(), "");
    assert_eq!(play.at(73.0).end_all(Outcome::Expired).tick(), "1: no drivers");
}

#[test]
fn nobody_found_is_said_until_somebody_listens() {
    let mut play = Play::new(Vec::new());
    play.ask(1).at(60.0).tick();
    play.city.drivers.push(seen(1, 100.0));
    assert_eq!(play.at(64.0).tick(), "");
    assert_eq!(play.at(65.0).tick(), "1: still no drivers");
    play.board.stop(trip(1));
    assert_eq!(play.at(80.0).tick(), "");
    // Asked again, it is a new search.
    assert_eq!(play.ask(1).tick(), "1: 1");
}

#[test]
fn a_driver_who_arrives_is_asked_at_the_next_tick() {
    let mut play = Play::new(Vec::new());
    assert_eq!(play.ask(1).tick(), "");
    play.city.drivers.push(seen(4, 500.0));
    assert_eq!(play.at(7.3).tick(), "1: 4");
}

#[test]
fn an_excluded_driver_is_never_asked_again() {
    let mut play = Play::new(queue(2));
    play.board.search(crate::Search { excluded: vec![driver(1)], ..search(1, START) }, START);
    assert_eq!(play.tick(), "1: 2");
    for second in [15.0, 30.0, 45.0, 59.0] {
        assert_eq!(play.at(second).end_all(Outcome::Declined).tick(), "");
    }
    assert_eq!(play.at(60.0).tick(), "1: no drivers");
}

#[test]
fn a_driver_who_gives_the_trip_back_is_left_out_of_the_new_search() {
    let mut play = Play::new(queue(2));
    play.ask(1).tick();
    play.at(3.0).end(1, Outcome::Accepted).end(2, Outcome::Revoked);
    assert_eq!(play.board.searches(), 0);
    let again = crate::Search { excluded: vec![driver(1)], ..search(1, START) };
    play.at(100.0).board.search(again, START + Duration::from_secs(100));
    assert_eq!(play.tick(), "1: 2");
    // The sixty seconds count anew.
    assert_eq!(play.at(110.0).end_all(Outcome::Declined).tick(), "");
    assert_eq!(play.at(159.9).tick(), "");
    assert_eq!(play.at(160.0).tick(), "1: no drivers");
}

#[test]
fn a_lost_driver_rests_and_may_be_asked_again() {
    let mut play = Play::new(queue(1));
    play.ask(1).tick();
    assert_eq!(play.at(1.0).end(1, Outcome::Lost).tick(), "");
    assert_eq!(play.at(5.9).tick(), "");
    assert_eq!(play.at(6.0).tick(), "1: 1");
    // Nobody said no, so the ring is still the first one.
    assert_eq!(play.at(7.0).end(1, Outcome::Lost).tick(), "");
}

#[test]
fn an_accepted_offer_ends_the_search_and_the_others_end_on_their_own() {
    let mut play = Play::new(queue(5));
    play.ask(1).tick();
    play.at(2.0).end(3, Outcome::Accepted);
    assert_eq!((play.board.searches(), play.board.open_offers()), (0, 4));
    // They are not free for others before they are told.
    play.city.of(3).standing = Standing::Busy;
    assert_eq!(play.ask(2).tick(), "");
    assert_eq!(play.at(2.1).end_all(Outcome::Revoked).tick(), "2: 1 2 4 5");
}

#[test]
fn an_offer_that_nobody_ends_lapses() {
    let mut play = Play::new(queue(1));
    play.ask(1).tick();
    assert_eq!(play.at(24.999).tick(), "");
    assert_eq!(play.at(25.0).tick(), "lapsed 1");
    assert_eq!(play.board.open_offers(), 0);
    // It counts as a no, and a late answer is no offence.
    play.board.offer_ended(trip(1), driver(1), Outcome::Declined, play.now);
    assert_eq!(play.tick(), "");
}

#[test]
fn who_asked_first_is_served_first() {
    let mut play = Play::new(queue(7));
    play.at(2.0).ask(1).at(1.0).ask(2).at(3.0);
    assert_eq!(play.tick(), "2: 1 2 3 4 5, 1: 6 7");
}

#[test]
fn hopeless_searches_starve_nobody() {
    let mut play = Play::with(Rules { slice: 2, ..Rules::default() }, queue(1));
    for number in 1..=5 {
        let mut hopeless = search(number, START);
        hopeless.excluded.push(driver(1));
        play.board.search(hopeless, START);
    }
    play.at(1.0).ask(6);
    assert_eq!([play.tick(), play.tick()].concat(), "");
    assert_eq!(play.tick(), "6: 1");
    assert!(play.board.is_mid_sweep(), "a full slice is not known to be the last");
    assert_eq!(play.tick(), "");
    assert!(!play.board.is_mid_sweep());
}

#[test]
fn a_repeated_request_asks_nobody_twice() {
    let mut play = Play::new(queue(6));
    play.ask(1).tick();
    play.at(1.0).board.search(search(1, START), START + Duration::from_secs(1));
    assert_eq!(play.tick(), "");
    assert_eq!(play.at(2.0).end_all(Outcome::Declined).tick(), "1: 6");
}

#[test]
fn the_status_tells_position_offers_and_end() {
    let mut play = Play::new(vec![seen(1, 100.0)]);
    play.ask(1).at(0.1).ask(2).ask(3);
    let status = |play: &Play, number| play.board.status(trip(number));
    assert_eq!(status(&play, 3), Some(MatchingStatus::searching(Some(3))));
    play.tick();
    assert_eq!(status(&play, 1), Some(MatchingStatus::offers_pending()));
    assert_eq!(status(&play, 3), Some(MatchingStatus::searching(Some(2))));
    play.at(5.0).end(1, Outcome::Accepted).at(61.0).tick();
    assert_eq!(status(&play, 1), None);
    assert_eq!(status(&play, 4), None);
    play.end_all(Outcome::Declined).at(62.0).tick();
    assert_eq!(status(&play, 3), Some(MatchingStatus::no_drivers()));
}

#[test]
fn roads_rank_where_they_are_known() {
    let mut play = Play::new(vec![seen(1, 900.0), seen(2, 1_100.0)]);
    play.city.ways = Ways::RoundTheRiver;
    assert_eq!(play.ask(1).tick(), "1: 2 1");
    assert_eq!(play.open[0].eta_s, 214);
}

#[test]
fn a_free_driver_behind_many_busy_ones_is_found() {
    let mut play = Play::with(Rules { considered: 4, ..Rules::default() }, queue(9));
    for number in 1..=8 {
        play.city.of(number).standing = Standing::Busy;
    }
    assert_eq!(play.ask(1).tick(), "1: 9");
}

#[test]
fn a_driver_seen_twice_is_asked_once() {
    let mut drivers = queue(2);
    drivers.push(seen(1, 150.0));
    assert_eq!(Play::new(drivers).ask(1).tick(), "1: 1 2");
}

#[test]
fn a_familiar_driver_is_preferred() {
    let mut play = Play::new(vec![seen(1, 1_000.0), seen(2, 1_200.0)]);
    let familiar = crate::Search { familiar: vec![driver(2)], ..search(1, START) };
    play.board.search(familiar, START);
    assert_eq!(play.tick(), "1: 2 1");
}

/// The trace of one tick: `driver verdict`, in its order.
fn traced(play: &mut Play) -> Vec<String> {
    let lines = play.decide().into_iter().filter_map(|decision| match decision {
        Decision::Considered(lines) => Some(lines),
        Decision::Offers { .. } | Decision::Lapsed(_) | Decision::NoDrivers { .. } => None,
    });
    lines
        .flatten()
        .map(|line| {
            assert_eq!(line.score.is_some(), line.parts.is_some());
            format!("{} {}", line.driver.as_u128(), line.verdict.name())
        })
        .collect()
}

#[test]
fn the_trace_says_why_and_says_it_once() {
    let mut drivers = queue(6);
    drivers.extend([seen(7, 700.0), seen(8, 800.0)]);
    let mut play = Play::new(drivers);
    play.city.of(7).standing = Standing::Busy;
    play.city.of(8).fraud = true;
    let first = traced(play.ask(1));
    let expected = [
        "1 offered",
        "2 offered",
        "3 offered",
        "4 offered",
        "5 offered",
        "6 ranked",
        "7 busy",
        "8 fraud",
    ];
    assert_eq!(first, expected);
    play.city.drivers.retain(|seen| seen.driver != driver(6));
    play.at(1.0).end_all(Outcome::Declined);
    let second = traced(&mut play);
    let expected = ["1 asked", "2 asked", "3 asked", "4 asked", "5 asked", "7 busy", "8 fraud"];
    assert_eq!(second, expected);
    assert!(traced(play.at(2.0)).is_empty(), "nothing new, nothing written");
    play.city.of(7).standing = Standing::Cooldown;
    assert_eq!(traced(play.at(3.0)), ["7 cooldown"]);
}

#[test]
fn the_parts_of_a_score_add_up_to_it() {
    let mut play = Play::new(queue(3));
    for decision in play.ask(1).decide() {
        let Decision::Considered(lines) = decision else { continue };
        for line in lines {
            assert_eq!(line.score, line.parts.map(|parts| parts.total()));
        }
    }
    assert_eq!(play.open.len(), 3);
}

#[test]
fn the_same_board_and_view_decide_the_same() {
    let run = || -> Vec<(OfferId, DriverId)> {
        let mut play = Play::new(queue(40));
        for number in 1..=6 {
            play.ask(number);
        }
        play.tick();
        play.at(4.0).end_all(Outcome::Declined).tick();
        play.open.iter().map(|plan| (plan.offer, plan.driver)).collect()
    };
    assert_eq!(run(), run());
    let offers: std::collections::BTreeSet<OfferId> =
        run().into_iter().map(|(offer, _)| offer).collect();
    assert_eq!(offers.len(), run().len(), "ids of offers are unique");
}

/// A trip that is booked ahead, and searched until a minute after the start at least.
fn ahead(play: &mut Play, first: Option<u128>, role: Part) -> &mut Play {
    let (strategy, until) = (Some(Strategy::Scheduled), Some(START + Duration::from_secs(600)));
    let first = first.map(driver);
    let asked = crate::Search { strategy, first, role, until, ..search(1, play.now) };
    play.board.search(asked, play.now);
    play
}

#[test]
fn a_trip_ahead_asks_one_after_the_other_until_after_its_pickup() {
    let mut play = Play::new(queue(2));
    assert_eq!(ahead(&mut play, None, Part::Drive).tick(), "1: 1");
    assert_eq!(play.open[0].until, START + Duration::from_secs(20));
    assert_eq!(play.at(20.0).end_all(Outcome::Expired).tick(), "1: 2");
    assert_eq!(play.at(30.0).end_all(Outcome::Declined).tick(), "");
    // Who comes later is asked, too.
    play.city.drivers.push(seen(3, 9_000.0));
    assert_eq!(play.at(599.0).tick(), "1: 3");
    assert_eq!(play.at(599.5).end_all(Outcome::Declined).tick(), "");
    assert_eq!(play.at(600.0).tick(), "1: no drivers");
}

#[test]
fn after_five_noes_three_are_asked_at_once() {
    let mut play = Play::new(queue(9));
    ahead(&mut play, None, Part::Drive);
    for number in 1..=5 {
        assert_eq!(play.tick(), format!("1: {number}"));
        play.end_all(Outcome::Declined);
    }
    assert_eq!(play.tick(), "1: 6 7 8");
}

#[test]
fn who_stood_by_is_asked_alone_and_first() {
    let mut play = Play::new(queue(9));
    assert_eq!(ahead(&mut play, Some(7), Part::Drive).tick(), "1: 7");
    assert_eq!(play.end_all(Outcome::Declined).tick(), "1: 1");
    // However far he is, and however many are nearer.
    let mut drivers = queue(300);
    drivers.extend([seen(901, 9_000.0), seen(902, 70_000.0)]);
    drivers.iter_mut().for_each(|seen| seen.in_line = (seen.driver == driver(300)).then_some(1));
    for far in [901, 902] {
        let mut play = Play::new(drivers.clone());
        assert_eq!(ahead(&mut play, Some(far), Part::Drive).tick(), format!("1: {far}"));
        assert_eq!(play.end_all(Outcome::Declined).tick(), "1: 300", "the queue of an airport");
    }
    // He drives another meanwhile: then it is as for everybody.
    let mut play = Play::new(queue(9));
    play.city.of(7).standing = Standing::Busy;
    assert_eq!(ahead(&mut play, Some(7), Part::Drive).tick(), "1: 1");
}

#[test]
fn one_yes_is_enough_to_stand_by_and_a_driver_is_more_urgent() {
    let mut play = Play::new(queue(9));
    assert_eq!(ahead(&mut play, None, Part::StandBy).tick(), "1: 1");
    assert_eq!(play.open[0].role, Part::StandBy);
    assert_eq!(play.end_all(Outcome::Declined).tick(), "1: 2");
    assert_eq!(play.end_all(Outcome::StandsBy).at(30.0).tick(), "");
    assert_eq!(play.board.status(trip(1)), None);
    // The driver gives it back while somebody is asked to stand by.
    assert_eq!(ahead(&mut play, None, Part::StandBy).tick(), "1: 1");
    assert_eq!(ahead(&mut play, Some(2), Part::Drive).tick(), "1: 2");
    ahead(&mut play, None, Part::StandBy).end(1, Outcome::Revoked);
    assert_eq!(play.end(2, Outcome::Declined).tick(), "1: 1", "the search for a driver goes on");
    assert_eq!(play.open[0].role, Part::Drive);
}
