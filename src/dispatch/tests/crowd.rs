//! Many searches and few drivers: nobody is shared, nobody starves.

use std::collections::BTreeMap;
use std::time::Duration;

use base::{Dice, DriverId, Millis, TripId};

use super::city::{Play, START, north, search, seen};
use crate::eligibility::Standing;
use crate::model::{Outcome, Seen};

/// Plays the drivers: each open offer is answered after a while, by chance.
struct Crowd {
    play: Play,
    dice: Dice,
    /// Trips by driver.
    taken: BTreeMap<DriverId, u32>,
    matched: Vec<TripId>,
    /// Until when a driver drives.
    busy: BTreeMap<DriverId, Millis>,
    trip_length: Duration,
}

impl Crowd {
    fn new(drivers: Vec<Seen>, trip_length: Duration) -> Self {
        let taken = drivers.iter().map(|seen| (seen.driver, 0)).collect();
        let (matched, busy) = (Vec::new(), BTreeMap::new());
        Self { play: Play::new(drivers), dice: Dice::seeded(7), taken, matched, busy, trip_length }
    }

    /// A second goes by: drivers come free, the engine ticks to the end, drivers answer.
    fn second(&mut self) {
        self.play.now = self.play.now + Duration::from_secs(1);
        let now = self.play.now;
        for seen in &mut self.play.city.drivers {
            if self.busy.get(&seen.driver).is_some_and(|until| *until <= now) {
                self.busy.remove(&seen.driver);
                (seen.standing, seen.waiting_since) = (Standing::Available, now);
                seen.at = north(self.dice.unit() * 4_000.0);
            }
        }
        self.play.decide();
        while self.play.board.is_mid_sweep() {
            self.play.decide();
        }
        self.answer();
    }

    fn answer(&mut self) {
        for plan in self.play.open.clone() {
            // A driver answers once within the fifteen seconds, mostly with yes.
            if !self.play.open.contains(&plan) || self.dice.below(8) > 0 {
                continue;
            }
            let number = plan.driver.as_u128();
            if self.dice.below(10) < 3 {
                self.play.end(number, Outcome::Declined);
                continue;
            }
            self.play.end(number, Outcome::Accepted);
            assert!(!self.matched.contains(&plan.trip), "a trip has one driver");
            assert!(!self.busy.contains_key(&plan.driver), "a driver has one trip");
            self.matched.push(plan.trip);
            *self.taken.entry(plan.driver).or_default() += 1;
            self.busy.insert(plan.driver, self.play.now + self.trip_length);
            let seen = self.play.city.of(number);
            seen.standing = Standing::Busy;
            seen.recent_trips = seen.recent_trips.saturating_add(1);
            // The trip's actor ends its other offers.
            let others: Vec<u128> = self
                .play
                .open
                .iter()
                .filter(|open| open.trip == plan.trip)
                .map(|open| open.driver.as_u128())
                .collect();
            for other in others {
                self.play.end(other, Outcome::Revoked);
            }
        }
    }
}

/// 0 when all have the same, near 1 when one has all.
fn gini(counts: &[u32]) -> f64 {
    let mut sorted: Vec<f64> = counts.iter().map(|count| f64::from(*count)).collect();
    sorted.sort_by(f64::total_cmp);
    let (n, sum) = (sorted.len() as f64, sorted.iter().sum::<f64>());
    let ranked: f64 = sorted.iter().enumerate().map(|(i, count)| (i + 1) as f64 * count).sum();
    2.0 * ranked / (n * sum) - (n + 1.0) / n
}

#[test]
fn gini_is_what_it_should_be() {
    assert!(gini(&[5, 5, 5, 5]).abs() < 1e-9);
    assert!((gini(&[0, 0, 0, 10]) - 0.75).abs() < 1e-9);
}

#[test]
fn a_hundred_searches_never_share_a_driver() {
    let drivers = (1..=20).map(|number| seen(number, number as f64 * 150.0)).collect();
    let mut crowd = Crowd::new(drivers, Duration::from_secs(3_600));
    for number in 1..=100 {
        crowd.play.board.search(search(1_000 + number, START), START);
    }
    for _ in 0..180 {
        crowd.second();
    }
    assert_eq!(crowd.matched.len(), 20, "every driver found a trip");
    assert!(crowd.taken.values().all(|trips| *trips == 1), "{:?}", crowd.taken);
    assert_eq!(crowd.play.board.open_offers(), 0);
}

#[test]
fn a_thousand_trips_are_spread_fairly() {
    let drivers = (1..=50)
        .map(|number| {
            let mut seen = seen(number, number as f64 * 80.0);
            // Some are liked better than others; they must not get everything.
            seen.rating = 3.5 + (number % 4) as f32 * 0.5;
            seen.acceptance = 0.5 + (number % 5) as f32 * 0.1;
            seen
        })
        .collect();
    let mut crowd = Crowd::new(drivers, Duration::from_secs(240));
    let mut asked = 0;
    while crowd.matched.len() < 1_000 {
        // 8 requests a minute for 50 drivers who drive four minutes each: most of them wait.
        if asked < 1_100 && crowd.dice.below(60) < 8 {
            asked += 1;
            let now = crowd.play.now;
            crowd.play.board.search(search(10_000 + asked, now), now);
        }
        crowd.second();
        assert!(crowd.play.now < START + Duration::from_secs(40_000), "too few trips served");
    }
    let counts: Vec<u32> = crowd.taken.values().copied().collect();
    let (least, most) = (counts.iter().min().copied(), counts.iter().max().copied());
    let unfairness = gini(&counts);
    assert!(least > Some(5), "a driver starves: {least:?} to {most:?} trips");
    assert!(unfairness < 0.2, "Gini {unfairness:.3}, {least:?} to {most:?} trips");
}
