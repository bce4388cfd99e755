//! Random walks over everything that can happen to a board.

use std::collections::BTreeSet;
use std::time::Duration;

use base::{CityId, DriverId, OfferId, TripId};
use proptest::prelude::*;

use super::city::{Play, driver, search, seen, trip};
use crate::board::Rules;
use crate::eligibility::Standing;
use crate::model::{Decision, OfferPlan, Outcome, Part, Search};
use crate::strategy::Strategy as Way;

const DRIVERS: u128 = 9;
const TRIPS: u128 = 5;

#[derive(Clone, Copy, Debug)]
enum Step {
    Search(u128),
    /// Booked ahead, for a driver or one who stands by; somebody stood by before, or driver 0 did.
    Ahead(u128, u128, Part),
    Stop(u128),
    /// The driver's open offer ends.
    End(u128, Outcome),
    /// Somebody speaks of an offer that may not exist.
    Rumour(u128, u128, Outcome),
    Turn(u128, Standing),
    Wait(u64),
    /// The city finds drivers in another way from now on.
    Choose(Way),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = || prop::sample::select(Outcome::ALL.to_vec());
    let standing = prop::sample::select(vec![
        Standing::Available,
        Standing::Offline,
        Standing::Busy,
        Standing::Available,
    ]);
    prop_oneof![
        3 => (1..=TRIPS).prop_map(Step::Search),
        2 => (1..=TRIPS, 0..=DRIVERS, prop::sample::select(vec![Part::Drive, Part::StandBy]))
            .prop_map(|(trip, first, part)| Step::Ahead(trip, first, part)),
        1 => (1..=TRIPS).prop_map(Step::Stop),
        6 => (1..=DRIVERS, outcome()).prop_map(|(d, o)| Step::End(d, o)),
        1 => (1..=TRIPS, 1..=DRIVERS, outcome()).prop_map(|(t, d, o)| Step::Rumour(t, d, o)),
        2 => (1..=DRIVERS, standing).prop_map(|(d, s)| Step::Turn(d, s)),
        4 => (1_u64..12_000).prop_map(Step::Wait),
        1 => prop::sample::select(Way::ALL.to_vec()).prop_map(Step::Choose),
    ]
}

/// What the searches that run have asked; forgotten when a search ends.
#[derive(Default)]
struct Asked {
    offers: BTreeSet<OfferId>,
    refused: BTreeSet<(TripId, DriverId)>,
}

impl Asked {
    fn forget(&mut self, play: &Play, trip: TripId) {
        self.refused.retain(|(of, _)| *of != trip);
        for plan in play.open.iter().filter(|plan| plan.trip == trip) {
            self.offers.remove(&plan.offer);
        }
    }

    /// An offer of an earlier search is no business of the one that runs.
    fn refuse(&mut self, plan: &OfferPlan) {
        if self.offers.contains(&plan.offer) {
            self.refused.insert((plan.trip, plan.driver));
        }
    }
}

/// Begins or updates a search of a trip. The last driver gave every trip back before.
fn begin(play: &mut Play, asked: &mut Asked, mut search: Search) {
    search.excluded.push(driver(DRIVERS));
    let running = play.board.hunts.values().find(|hunt| hunt.search.trip == search.trip);
    let anew = running.is_some_and(|hunt| {
        let (was, is) = (hunt.search.role, search.role);
        // Its driver gave the trip back while a nearer one was looked for.
        let lost = hunt.promised.is_some();
        let over = (hunt.over.is_some() || lost) && was == is;
        over || (was, is) == (Part::StandBy, Part::Drive)
    });
    if anew {
        asked.forget(play, search.trip);
    }
    play.board.search(search, play.now);
}

/// Is somebody wanted who stands by?
fn wants_standby(play: &Play, trip: TripId) -> bool {
    let mut hunts = play.board.hunts.values();
    hunts.any(|hunt| hunt.search.trip == trip && hunt.search.role == Part::StandBy)
}

fn act(play: &mut Play, asked: &mut Asked, step: Step) {
    match step {
        Step::Search(number) => {
            begin(play, asked, search(number, super::city::START));
        }
        Step::Ahead(number, first, role) => {
            let strategy = Some(Way::Scheduled);
            let (first, until) = ((first > 0).then(|| driver(first)), Some(play.now));
            let asks = search(number, super::city::START);
            begin(play, asked, Search { strategy, first, role, until, ..asks });
        }
        Step::Stop(number) => {
            play.board.stop(trip(number));
            asked.forget(play, trip(number));
        }
        Step::End(number, outcome) => {
            let plan = play.open.iter().find(|plan| plan.driver == driver(number)).cloned();
            let Some(plan) = plan else { return };
            if matches!(outcome, Outcome::Declined | Outcome::Expired) {
                asked.refuse(&plan);
            }
            let found = outcome == Outcome::Accepted
                || outcome == Outcome::StandsBy && wants_standby(play, plan.trip);
            play.end(number, outcome);
            if found {
                asked.forget(play, plan.trip);
            }
        }
        Step::Rumour(of, number, outcome) => {
            let known = |plan: &OfferPlan| plan.trip == trip(of) && plan.driver == driver(number);
            if play.open.iter().any(known) {
                return;
            }
            let found = outcome == Outcome::Accepted
                || outcome == Outcome::StandsBy && wants_standby(play, trip(of));
            play.board.offer_ended(trip(of), driver(number), outcome, play.now);
            if found {
                asked.forget(play, trip(of));
            }
        }
        Step::Turn(number, standing) => play.city.of(number).standing = standing,
        Step::Wait(ms) => play.now = play.now + Duration::from_millis(ms),
        Step::Choose(way) => play.board.choose(CityId(1), way),
    }
}

/// After a tick: what was decided keeps the promises.
fn holds(play: &Play, asked: &mut Asked, decisions: &[Decision]) {
    for decision in decisions {
        match decision {
            Decision::Offers { plans, .. } => {
                assert!(!plans.is_empty() && plans.len() <= 10);
                for plan in plans {
                    assert_ne!(plan.driver, driver(DRIVERS), "an excluded driver is asked");
                    let pair = (plan.trip, plan.driver);
                    assert!(!asked.refused.contains(&pair), "{pair:?} is asked twice");
                    asked.offers.insert(plan.offer);
                }
            }
            Decision::Lapsed(ended) => asked.refuse(&ended.plan),
            Decision::Considered(lines) => assert!(!lines.is_empty()),
            Decision::NoDrivers { trip, .. } => {
                let open = |plan: &OfferPlan| asked.offers.contains(&plan.offer);
                assert!(!play.open.iter().any(|plan| plan.trip == *trip && open(plan)));
            }
        }
    }
    let grace = Rules::default().grace;
    assert!(play.open.iter().all(|plan| plan.until + grace > play.now), "a lease outlives its end");
    assert_eq!(play.open.len(), play.board.open_offers());
}

proptest! {
    #[test]
    fn every_lease_ends(
        way in prop::sample::select(Way::ALL.to_vec()),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let drivers = (1..=DRIVERS).map(|number| seen(number, number as f64 * 300.0)).collect();
        let mut play = Play::with(Rules { slice: 2, ..Rules::default() }, drivers);
        play.board.choose(CityId(1), way);
        let mut asked = Asked::default();
        for step in steps {
            act(&mut play, &mut asked, step);
            loop {
                let decisions = play.decide();
                holds(&play, &mut asked, &decisions);
                if !play.board.is_mid_sweep() {
                    break;
                }
            }
        }
        // Left alone, every search ends and takes its offers with it.
        for _ in 0..40 {
            play.now = play.now + Duration::from_secs(13);
            loop {
                let decisions = play.decide();
                holds(&play, &mut asked, &decisions);
                if !play.board.is_mid_sweep() {
                    break;
                }
            }
        }
        prop_assert_eq!(play.board.open_offers(), 0);
    }
}
