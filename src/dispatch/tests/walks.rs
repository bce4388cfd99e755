//! Random walks over everything that can happen to a board.

use std::collections::BTreeSet;
use std::time::Duration;

use base::{CityId, DriverId, OfferId, TripId};
use proptest::prelude::*;

use super::city::{Play, driver, search, seen, trip};
use crate::board::Rules;
use crate::eligibility::Standing;
use crate::model::{Decision, OfferPlan, Outcome};
use crate::strategy::Strategy as Way;
use crate::wire::MatchingStatus;

const DRIVERS: u128 = 9;
const TRIPS: u128 = 5;

#[derive(Clone, Copy, Debug)]
enum Step {
    Search(u128),
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

fn act(play: &mut Play, asked: &mut Asked, step: Step) {
    match step {
        Step::Search(number) => {
            let mut search = search(number, super::city::START);
            // The last driver gave every trip back before.
            search.excluded.push(driver(DRIVERS));
            let over = play.board.status(trip(number)) == Some(MatchingStatus::no_drivers());
            if over {
                asked.forget(play, trip(number));
            }
            play.board.search(search, play.now);
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
            play.end(number, outcome);
            if outcome == Outcome::Accepted {
                asked.forget(play, plan.trip);
            }
        }
        Step::Rumour(of, number, outcome) => {
            let known = |plan: &OfferPlan| plan.trip == trip(of) && plan.driver == driver(number);
            if play.open.iter().any(known) {
                return;
            }
            play.board.offer_ended(trip(of), driver(number), outcome, play.now);
            if outcome == Outcome::Accepted {
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
