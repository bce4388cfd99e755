//! Short runs of the simulator: its promises and the engine's, checked on the way and at the end.

use std::time::Duration;

use dispatch::Batching;

use super::Policy;
use super::measures::{Measures, Tally};
use super::play::{Play, Setting};
use super::town::Town;

/// A small city at the load of the big one.
fn short(policy: Policy, seed: u64) -> Tally {
    let setting = Setting {
        town: Town::Square(Default::default()),
        seed,
        drivers: 60,
        per_minute: 3.0,
        acceptance: 0.65,
        warm_up: Duration::from_secs(300),
        measured: Duration::from_secs(900),
    };
    Play::new(&setting, policy.strategy(), policy.rules(Batching::default())).run()
}

/// One driver and one offer at a time, nobody asked twice, no lease that outlives the city: a run
/// panics when one of these breaks. Here: everybody who asked is accounted for.
#[test]
fn every_rider_comes_to_an_end() {
    let policies =
        [Policy::TopFive, Policy::Sequential, Policy::Exclusive, Policy::Full, Policy::Unswapped];
    for policy in policies {
        let tally = short(policy, 4);
        assert!(tally.asked > 20, "{policy:?}: {} asked", tally.asked);
        assert_eq!(tally.asked, tally.served + tally.losses.len() as u32, "{policy:?}");
        assert_eq!(tally.waits_s.len(), tally.served as usize);
        assert!(tally.served > tally.asked / 4, "{policy:?}: {tally:?}");
        assert!(tally.offers >= tally.served, "{policy:?}");
        assert!(tally.pickups_s.iter().zip(&tally.waits_s).all(|(pickup, wait)| pickup < wait));
    }
    assert_eq!(short(Policy::Exclusive, 4).taken, 0, "one offer at a time is never taken");
    assert_eq!(short(Policy::Unswapped, 4).swaps, 0);
    assert!(short(Policy::Full, 4).swaps > 0, "somebody has a nearer driver");
}

#[test]
fn one_seed_is_one_city() {
    assert_eq!(short(Policy::Full, 9), short(Policy::Full, 9));
    let (one, two) = (short(Policy::Full, 1), short(Policy::TopFive, 1));
    assert_eq!(one.asked, two.asked, "every policy meets the same riders");
    assert_ne!(Measures::of(&one), Measures::of(&short(Policy::Full, 2)));
}
