//! A city that is asked for more than it can do: its ticks keep their budget, everybody has his
//! turn, riders hear where they stand, and what was decided is decided again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base::{CityId, DriverId, Millis, Point, TripId};

use super::city::{City, Play, START, north, search, seen, trip};
use crate::board::Rules;
use crate::engine::tick_timed;
use crate::load::{Meter, Relief, Step};
use crate::model::{Decision, Outcome, Search, Seen, View};
use crate::snapshot::store::{Kept, Row};
use crate::snapshot::{Snapshot, decode, rounds_of};
use crate::strategy::Strategy;
use crate::turns::News;

pub(super) const CITY: CityId = CityId(1);
/// What a look at the map costs, and one way along roads.
pub(super) const LOOK: Duration = Duration::from_millis(1);
const WAY: Duration = Duration::from_micros(100);
pub(super) const BUDGET: Duration = Duration::from_millis(20);

/// Looking costs time here.
struct Slow<'a> {
    city: &'a City,
    look: Duration,
    spent_us: AtomicU64,
    /// Where was looked, in order.
    looks: Mutex<Vec<Point>>,
}

impl<'a> Slow<'a> {
    fn over(city: &'a City, look: Duration) -> Self {
        Self { city, look, spent_us: AtomicU64::default(), looks: Mutex::default() }
    }

    fn spend(&self, cost: Duration) {
        self.spent_us.fetch_add(cost.as_micros() as u64, Ordering::Relaxed);
    }
}

impl View for Slow<'_> {
    fn drivers(
        &self,
        at: Point,
        radius_m: f64,
        limit: usize,
        ahead: Duration,
        out: &mut Vec<Seen>,
    ) {
        self.spend(self.look);
        self.looks.lock().expect("nobody panics with it").push(at);
        self.city.drivers(at, radius_m, limit, ahead, out);
    }

    fn driver(&self, driver: DriverId, at: Point) -> Option<Seen> {
        self.city.driver(driver, at)
    }

    fn eta_s(&self, from: Point, to: Point, now: Millis) -> u32 {
        self.spend(WAY);
        self.city.eta_s(from, to, now)
    }
}

impl Meter for Slow<'_> {
    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.spent_us.load(Ordering::Relaxed))
    }
}

/// What one sweep over the city came to.
pub(super) struct Swept {
    pub(super) took: Duration,
    pub(super) looks: Vec<Point>,
    pub(super) decisions: Vec<Decision>,
    pub(super) kept: Vec<Snapshot>,
    pub(super) news: News,
}

pub(super) fn rules() -> Rules {
    Rules { relief: Relief { budget: BUDGET, ..Relief::default() }, ..Rules::default() }
}

pub(super) fn sweep(play: &mut Play) -> Swept {
    sweep_where(play, LOOK)
}

pub(super) fn sweep_where(play: &mut Play, look: Duration) -> Swept {
    for seen in &mut play.city.drivers {
        seen.heard = play.now;
    }
    let slow = Slow::over(&play.city, look);
    let (mut decisions, mut kept) = (Vec::new(), Vec::new());
    loop {
        decisions.extend(tick_timed(&mut play.board, &slow, &slow, play.now, Some(&mut kept)));
        if !play.board.is_mid_sweep() {
            break;
        }
    }
    let (took, looks) = (slow.elapsed(), slow.looks.into_inner().expect("nobody panics with it"));
    play.follow(&decisions);
    Swept { took, looks, decisions, kept, news: play.board.take_news() }
}

/// `count` riders, each at a place of his own, named by metres.
fn ask(play: &mut Play, numbers: std::ops::RangeInclusive<u128>, way: Strategy) {
    for number in numbers {
        let pickup = north(number as f64);
        let asked = Search { strategy: Some(way), pickup, ..search(number, play.now) };
        play.board.search(asked, play.now);
    }
}

pub(super) fn steps(news: &News) -> impl Iterator<Item = &'static str> {
    news.changes.iter().map(|(_, change)| change.to.name())
}

pub(super) fn step(play: &Play) -> Step {
    play.board.load(CITY).expect("it had a search").step
}

#[test]
fn a_tick_keeps_its_budget_and_everybody_has_his_turn() {
    for way in [Strategy::FirstAccept, Strategy::Sequential, Strategy::Batched] {
        let mut rules = rules();
        // Everybody goes on searching.
        rules.presets.first_accept.at_least = Duration::from_secs(9_999);
        rules.presets.sequential.at_least = Duration::from_secs(9_999);
        rules.presets.batched.preset.at_least = Duration::from_secs(9_999);
        let mut play = Play::with(rules, Vec::new());
        ask(&mut play, 1..=200, way);
        let mut turns: BTreeMap<String, u32> =
            (1..=200).map(|n| (north(f64::from(n)).lat().to_string(), 0)).collect();
        for second in 0..240_u32 {
            // Now half of what a look costs mostly, now three times as much: that is seen too late.
            let look = LOOK * (1 + 2 * (second % 2)) / 2;
            let swept = sweep_where(play.at(f64::from(second)), look);
            assert!(swept.took <= BUDGET + look, "{way}: {:?} at {second} s", swept.took);
            for at in swept.looks {
                *turns.get_mut(&at.lat().to_string()).expect("a rider's place") += 1;
            }
            let (least, most) = (turns.values().min(), turns.values().max());
            assert!(most <= least.map(|least| least + 1).as_ref(), "{way}: {least:?} {most:?}");
        }
        assert!(turns.values().all(|turns| *turns >= 3), "{way}: {turns:?}");
        assert_eq!(step(&play), Step::Queued, "{way}");
    }
}

#[test]
fn a_city_goes_up_and_comes_back_by_itself() {
    let mut play = Play::with(rules(), (1..=310).map(|n| seen(n, n as f64 * 5.0)).collect());
    ask(&mut play, 1..=300, Strategy::Sequential);
    let (mut path, mut second) = (Vec::new(), 0.0);
    while second < 120.0 {
        let swept = sweep(play.at(second));
        path.extend(steps(&swept.news));
        for plan in play.open.clone() {
            play.end(plan.driver.as_u128(), Outcome::Accepted);
            play.city.drivers.retain(|seen| seen.driver != plan.driver);
        }
        second += 1.0;
    }
    let expected =
        "longer_windows simple_distance queued simple_distance longer_windows normal".to_owned();
    assert_eq!(path.join(" "), expected);
    assert_eq!(play.board.searches(), 0, "everybody is served");
}

#[test]
fn a_place_only_gets_better_and_his_turn_clears_it() {
    for way in [Strategy::FirstAccept, Strategy::Batched] {
        let mut play = Play::with(rules(), Vec::new());
        ask(&mut play, 1..=400, way);
        let mut places: BTreeMap<TripId, Option<u32>> = BTreeMap::new();
        let (mut told, mut waits) = (0, 0);
        for second in 0..60_u32 {
            play.at(f64::from(second));
            if second < 20 && step_if_any(&play) == Some(Step::Queued) {
                // Others come: they stand behind those who are there, at once.
                let number = 1_000 + u128::from(second);
                ask(&mut play, number..=number, way);
                let status = play.board.status(trip(number)).expect("it runs");
                assert!(status.queue_position > Some(1), "{way}: {status:?}");
            }
            let news = sweep(&mut play).news;
            waits += news.waits.len();
            for one in news.places {
                told += 1;
                let before = places.insert(one.trip, one.status.queue_position).flatten();
                let place = one.status.queue_position;
                assert!(before.is_none_or(|before| place < Some(before)), "{before:?} {place:?}");
                assert_eq!(play.board.status(one.trip), Some(one.status), "{way}");
                assert_eq!(one.rider.as_u128(), one.trip.as_u128());
            }
        }
        assert!(places.len() > 250, "{way}: {} were told", places.len());
        assert!(told < places.len() * 12, "{way}: told {told} times");
        assert!(places.values().all(Option::is_none), "{way}: {places:?}");
        assert!(waits >= places.len(), "{way}: {waits}");
    }
}

fn step_if_any(play: &Play) -> Option<Step> {
    play.board.load(CITY).map(|load| load.step)
}

#[test]
fn who_stood_in_line_searches_as_long_as_others() {
    let mut play = Play::with(rules(), Vec::new());
    ask(&mut play, 1..=1_800, Strategy::FirstAccept);
    let mut over = BTreeMap::new();
    let mut began = BTreeMap::new();
    for second in 0..260_u32 {
        let swept = sweep(play.at(f64::from(second)));
        for at in &swept.looks {
            began.entry(at.lat().to_bits()).or_insert(second);
        }
        for decision in swept.decisions {
            if let Decision::NoDrivers { trip, .. } = decision {
                over.entry(trip.as_u128()).or_insert(second);
                play.board.stop(trip);
            }
        }
    }
    let (mut least, mut queued) = (u32::MAX, 0);
    for (number, over) in over {
        let began = began[&north(number as f64).lat().to_bits()];
        queued += usize::from(began > 60);
        least = least.min(over - began);
    }
    assert!(least >= 60, "given up {least} s after the first look");
    assert!(queued > 300, "{queued} stood in line for more than a minute");
}

#[test]
fn what_is_decided_under_each_step_is_decided_again() {
    for way in [Strategy::FirstAccept, Strategy::Sequential, Strategy::Batched] {
        let rules = rules();
        let drivers = (1..=80).map(|n| seen(n, 20.0 + n as f64 * 30.0)).collect::<Vec<_>>();
        let mut play = Play::with(rules.clone(), drivers);
        let (mut seen_steps, mut asked) = (BTreeSet::new(), 0);
        for second in 0..60_u32 {
            play.at(f64::from(second));
            if second % 2 == 0 && second < 24 {
                ask(&mut play, asked + 1..=asked + 60, way);
                asked += 60;
            }
            for snapshot in sweep(&mut play).kept {
                seen_steps.insert(snapshot.step.name());
                let read = decode(&Row::of(&snapshot).body);
                assert_eq!(read.as_ref(), Some(&snapshot));
                // One of its trips: a round is the same if all of its go are.
                if let Some(decided) = snapshot.decided.last() {
                    let kept = Kept { snapshot: snapshot.clone(), rules: rules.clone() };
                    let rounds = rounds_of(decided.trip, &[kept]);
                    assert!(rounds[0].same, "{way} under {}: {:?}", snapshot.step, rounds[0]);
                    assert_eq!(rounds[0].step, snapshot.step);
                }
            }
            if second % 3 == 0 {
                play.end_all(Outcome::Declined);
            }
        }
        let all: BTreeSet<&str> = Step::ALL.iter().map(|step| step.name()).collect();
        assert_eq!(seen_steps, all, "{way}");
    }
}

#[test]
fn from_simple_distance_on_no_road_is_asked_for() {
    let mut play = Play::with(rules(), (1..=100).map(|n| seen(n, n as f64 * 20.0)).collect());
    ask(&mut play, 1..=900, Strategy::FirstAccept);
    let mut snapshots = Vec::new();
    for second in 0..10_u32 {
        snapshots.extend(sweep(play.at(f64::from(second))).kept);
        play.end_all(Outcome::Lost);
    }
    let mut simple = 0;
    for snapshot in &snapshots {
        let by_air = snapshot.step.level() >= Step::SimpleDistance.level();
        simple += usize::from(by_air);
        assert_eq!(snapshot.etas.is_empty(), by_air, "{}", snapshot.step);
        assert_eq!(snapshot.glances[0].limit, if by_air { 64 } else { 256 });
    }
    assert!(simple > 0 && simple < snapshots.len(), "{simple} of {}", snapshots.len());
    // Whoever does without nothing is read by every program.
    let version = |snapshot: &Snapshot| Row::of(snapshot).body[0];
    let normal = |snapshot: &&Snapshot| snapshot.step == Step::Normal;
    assert!(snapshots.iter().filter(normal).all(|snapshot| version(snapshot) == 1));
    assert!(snapshots.iter().filter(|one| !normal(one)).all(|snapshot| version(snapshot) == 3));
}

#[test]
fn looks_and_batches_come_less_often_under_longer_windows() {
    for (way, often, seldom) in
        [(Strategy::FirstAccept, 10, 2), (Strategy::Batched, 5, 1), (Strategy::Sequential, 10, 2)]
    {
        let mut play = Play::with(rules(), Vec::new());
        ask(&mut play, 1..=1, way);
        let looks = |play: &mut Play, from: u32| {
            let of_second = |second| sweep(play.at(f64::from(second))).looks.len();
            (from..from + 10).map(of_second).sum::<usize>()
        };
        assert_eq!(looks(&mut play, 0), often, "{way}");
        play.board.overload(CITY, Step::LongerWindows, play.now);
        let found = looks(&mut play, 10);
        assert!((seldom..=seldom + 1).contains(&found), "{way}: {found}");
    }
}

#[test]
fn one_city_is_no_other_citys_burden() {
    let mut play = Play::with(rules(), (1..=5).map(|n| seen(n, n as f64)).collect());
    ask(&mut play, 1..=500, Strategy::FirstAccept);
    play.end_all(Outcome::Lost);
    for second in 0..6_u32 {
        sweep(play.at(f64::from(second)));
    }
    assert_eq!(step(&play), Step::Queued);
    play.end_all(Outcome::Declined);
    let elsewhere = Search { city: CityId(2), ..search(9_999, play.now) };
    play.board.search(elsewhere, play.now);
    let swept = sweep(play.at(5.1));
    assert_eq!(swept.looks.len(), 1, "the overloaded city has its pause");
    assert_eq!(play.board.load(CityId(2)).map(|load| load.step), Some(Step::Normal));
    let asked = |decision: &Decision| match decision {
        Decision::Offers { plans, .. } => Some(plans[0].trip),
        _ => None,
    };
    let asked: Vec<TripId> = swept.decisions.iter().filter_map(asked).collect();
    assert_eq!(asked, [trip(9_999)]);
}

#[test]
fn a_clock_that_is_set_back_holds_nothing_up() {
    let mut play = Play::with(rules(), Vec::new());
    for way in [Strategy::FirstAccept, Strategy::Batched] {
        ask(&mut play, 1..=1, way);
        play.board.overload(CITY, Step::LongerWindows, play.now);
        sweep(play.at(20.0));
        assert_eq!(sweep(play.at(0.0)).looks.len(), 1, "{way}");
        play.board.stop(trip(1));
        sweep(play.at(40.0));
    }
    assert_eq!(play.now, START + Duration::from_secs(40));
}
