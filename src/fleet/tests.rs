//! The fleet in memory: states, presence, positions, the nearby map.

use std::sync::Arc;
use std::time::Duration;

use base::{CityId, Clock, Dice, DriverId, Millis, Piasters, Point, Tier, TripId};
use ops::Tasks;
use tokio::sync::mpsc;

use crate::{
    CancelTerms, City, DriverFacts, DriverStatus, Effect, Finish, Finishing, Fix, FixError, Fleet,
    FleetConfig, NearbyQuery, Papers, Record, Seat, State, VehicleFacts,
};

const START: Millis = Millis(1_700_000_000_000);
const ALI: DriverId = DriverId::from_u128(1);
const MONA: DriverId = DriverId::from_u128(2);
pub(crate) const T1: TripId = TripId::from_u128(101);
pub(crate) const T2: TripId = TripId::from_u128(102);

/// Metres north of a place in Cairo.
pub(crate) fn at(north_m: f64) -> Point {
    Point::new(30.0444 + north_m / 111_195.0, 31.2357).expect("a place of the test")
}

pub(crate) fn facts() -> DriverFacts {
    DriverFacts {
        name: "Ali".to_owned(),
        status: DriverStatus::Approved,
        papers: Papers { kind: "insurance".to_owned(), until: START + Duration::from_secs(86_400) },
        city: CityId(1),
        tier: Tier::Economy,
        vehicle: VehicleFacts::default(),
        rating: 4.5,
        record: Record::default(),
        fraud: false,
        conduct: Vec::new(),
        wants_online: true,
        balance: Piasters(0),
        debt_limit: Piasters(20_000),
    }
}

pub(crate) struct Scene {
    pub(crate) fleet: Fleet,
    pub(crate) clock: Clock,
    effects: mpsc::Receiver<Effect>,
}

/// A fleet whose tasks never get a turn, since no test waits after this: what happens is what the
/// test does.
pub(crate) async fn scene() -> Scene {
    let tasks = Tasks::new();
    let clock = Clock::manual(START);
    let (sender, effects) = mpsc::channel(64);
    let db = storage::testing::database().await;
    let config = FleetConfig { drivers_max: 10_000, ..FleetConfig::default() };
    let fleet = Fleet::start(db, &tasks, clock.clone(), Dice::seeded(7), config, sender);
    fleet.inner().map.replace(vec![cairo()], geo::Fences::default());
    Scene { fleet, clock, effects }
}

fn cairo() -> City {
    City {
        id: CityId(1),
        name: "Cairo".to_owned(),
        time_zone: "Africa/Cairo".to_owned(),
        center: at(0.0),
        radius_m: 80_000,
        search_radius_m: 5000,
        cooldown_s: 60,
        start_pin: false,
        cancel: CancelTerms {
            free_s: 120,
            fee: Piasters(1500),
            no_show_wait_s: 300,
            no_show_fee: Piasters(1500),
        },
        cancel_by_tier: Vec::new(),
        rider_due_limit: Piasters(5000),
        booking_due_limit: Piasters::ZERO,
        driver_debt_limit: Piasters(20_000),
        cash_step: Piasters(50),
    }
}

impl Scene {
    fn seat(&self, driver: DriverId) -> Seat {
        self.fleet.seat(driver).expect("there is room")
    }

    fn fix(&self, north_m: f64) -> Fix {
        Fix {
            at: at(north_m),
            heading: Some(90.0),
            speed_kmh: Some(30.0),
            accuracy_m: Some(8.0),
            timestamp: self.clock.now(),
        }
    }

    /// What a change of the table brings about.
    pub(crate) fn draw(&self, fences: Vec<geo::Fence>) {
        let inner = self.fleet.inner();
        inner.map.replace(vec![cairo()], geo::Fences::new(fences));
        inner.close_queues(self.clock.now());
    }

    pub(crate) fn moves(&self, driver: DriverId, north_m: f64) -> bool {
        self.fleet.ingest(&self.seat(driver), &self.fix(north_m)).expect("a good position").live
    }

    pub(crate) fn online(&self, driver: DriverId, north_m: f64) {
        self.fleet.set_facts(driver, facts());
        self.moves(driver, north_m);
        assert_eq!(self.fleet.state(driver), State::Available);
    }

    /// Time passes second by second, as the presence loop sees it.
    pub(crate) fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            self.clock.advance(Duration::from_secs(1));
            self.fleet.inner().sweep(self.clock.now());
        }
    }

    fn nearby(&self, radius_m: f64) -> Vec<u32> {
        let query = NearbyQuery { at: at(0.0), radius_m, tier: None, limit: 100 };
        let found = self.fleet.nearby(&query, self.clock.now());
        found.iter().map(|d| d.distance_m.expect("told").round() as u32).collect()
    }

    fn told(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.effects.try_recv().ok()).collect()
    }

    fn lost(&mut self) -> Vec<Effect> {
        let told = self.told();
        let comes_or_goes =
            |effect: &Effect| matches!(effect, Effect::Arrived { .. } | Effect::Left { .. });
        told.into_iter().filter(|effect| !comes_or_goes(effect)).collect()
    }
}

#[tokio::test]
async fn a_position_makes_available_who_wants_and_may() {
    let mut scene = scene().await;
    scene.moves(ALI, 0.0);
    assert_eq!(scene.fleet.state(ALI), State::Offline, "nothing is known of him yet");
    // The loader comes back: he was heard a moment ago.
    scene.fleet.set_facts(ALI, facts());
    assert_eq!(scene.fleet.state(ALI), State::Available);
    assert_eq!(scene.told(), [Effect::Arrived { city: CityId(1) }]);
    let refused = [
        DriverFacts { wants_online: false, ..facts() },
        DriverFacts { status: DriverStatus::Pending, ..facts() },
        DriverFacts { papers: Papers { kind: "x".to_owned(), until: START }, ..facts() },
    ];
    for facts in refused {
        scene.fleet.set_facts(MONA, facts.clone());
        scene.moves(MONA, 10.0);
        assert_eq!(scene.fleet.state(MONA), State::Offline, "{facts:?}");
    }
}

#[tokio::test]
async fn silence_takes_him_out() {
    let mut scene = scene().await;
    scene.online(ALI, 0.0);
    scene.pass(30);
    assert_eq!(scene.fleet.state(ALI), State::Available, "thirty seconds are not over thirty");
    scene.pass(2);
    assert_eq!(scene.fleet.state(ALI), State::Offline);
    assert!(scene.nearby(1000.0).is_empty());
    // His wish stands: the next position brings him back.
    scene.moves(ALI, 10.0);
    assert_eq!(scene.fleet.state(ALI), State::Available);
    assert_eq!(scene.lost(), []);
}

#[tokio::test]
async fn whatever_is_heard_keeps_presence_but_not_freshness() {
    let scene = scene().await;
    scene.online(ALI, 100.0);
    for _ in 0..6 {
        scene.pass(10);
        scene.fleet.heard(&scene.seat(ALI));
    }
    assert_eq!(scene.nearby(1000.0), [100], "a position of sixty seconds ago is fresh");
    scene.pass(1);
    assert_eq!(scene.fleet.state(ALI), State::Available);
    assert!(scene.nearby(1000.0).is_empty());
    assert_eq!(scene.fleet.candidates(at(0.0), 1000.0, 10).len(), 1, "dispatch sees the stale too");
}

#[tokio::test]
async fn an_offer_is_lost_with_its_driver() {
    let mut scene = scene().await;
    scene.online(ALI, 0.0);
    scene.fleet.offer(ALI, T1).expect("he is free");
    assert!(scene.fleet.offer(ALI, T2).is_err(), "one offer at a time");
    assert!(scene.nearby(1000.0).is_empty(), "riders see only the free");
    scene.pass(32);
    assert_eq!(scene.fleet.state(ALI), State::Offline);
    let lost = [Effect::Left { driver: ALI }, Effect::Lost { driver: ALI, trip: T1 }];
    assert!(scene.told().ends_with(&lost));
}

#[tokio::test]
async fn a_trip_from_offer_to_rest() {
    let mut scene = scene().await;
    scene.online(ALI, 0.0);
    scene.fleet.offer(ALI, T1).expect("he is free");
    scene.fleet.assign(ALI, T1).expect("he holds the offer");
    assert_eq!(scene.fleet.state(ALI), State::Busy);
    scene.pass(3);
    let taken = scene.fleet.ingest(&scene.seat(ALI), &scene.fix(50.0)).expect("a good position");
    assert_eq!((taken.trip, taken.live, taken.distance_m), (Some(T1), true, 0));
    scene.fleet.start_meter(ALI, T1);
    scene.pass(3);
    scene.moves(ALI, 100.0);
    scene.pass(3);
    let taken = scene.fleet.ingest(&scene.seat(ALI), &scene.fix(160.0)).expect("a good position");
    assert_eq!(taken.distance_m, 110);
    assert_eq!(scene.fleet.meter(T1).map(|meter| meter.distance_m), Some(110));
    // Silent on a trip: flagged once, not taken out.
    scene.pass(70);
    assert_eq!(scene.fleet.state(ALI), State::Busy);
    assert_eq!(scene.lost(), [Effect::Silent { driver: ALI, trip: T1 }]);
    assert!(scene.fleet.is_silent(ALI));
    scene.moves(ALI, 200.0);
    assert!(!scene.fleet.is_silent(ALI));
    scene.fleet.finish(ALI, T2, Finish::Completed);
    assert_eq!(scene.fleet.state(ALI), State::Busy, "that is not his trip");
    scene.fleet.finish(ALI, T1, Finish::Completed);
    assert_eq!(scene.fleet.state(ALI), State::Cooldown);
    for _ in 0..6 {
        scene.pass(10);
        scene.moves(ALI, 200.0);
    }
    scene.pass(1);
    assert_eq!(scene.fleet.state(ALI), State::Available);
    let seen = &scene.fleet.candidates(at(0.0), 1000.0, 10)[0];
    assert_eq!((seen.recent_trips, seen.acceptance, seen.completion), (1, 1.0, 1.0));
}

#[tokio::test]
async fn who_gives_a_trip_back_is_free_at_once_and_it_counts() {
    let scene = scene().await;
    scene.online(ALI, 0.0);
    scene.fleet.assign(ALI, T1).expect("he is free");
    scene.fleet.finish(ALI, T1, Finish::GaveBack);
    assert_eq!(scene.fleet.state(ALI), State::Available);
    scene.fleet.missed_offer(ALI, None);
    let seen = &scene.fleet.candidates(at(0.0), 1000.0, 10)[0];
    assert_eq!((seen.acceptance, seen.completion), (0.0, 0.0));
    assert_eq!(scene.fleet.meter(T1), None, "the next driver begins his own track");
}

#[tokio::test]
async fn a_suspended_driver_finishes_his_trip_and_is_off() {
    let scene = scene().await;
    let suspended = || DriverFacts { status: DriverStatus::Suspended, ..facts() };
    scene.online(ALI, 0.0);
    scene.fleet.assign(ALI, T1).expect("he is free");
    scene.fleet.set_facts(ALI, suspended());
    assert_eq!(scene.fleet.state(ALI), State::Busy);
    scene.fleet.finish(ALI, T1, Finish::Freed);
    assert_eq!(scene.fleet.state(ALI), State::Offline);
    scene.online(MONA, 0.0);
    scene.fleet.set_facts(MONA, suspended());
    assert_eq!(scene.fleet.state(MONA), State::Offline, "the free are off at once");
    assert!(scene.nearby(1000.0).is_empty());
}

#[tokio::test]
async fn a_live_trip_of_the_database_makes_busy_before_he_is_heard() {
    let scene = scene().await;
    scene.fleet.adopt(ALI, T1);
    assert_eq!(scene.fleet.state(ALI), State::Busy);
    scene.pass(120);
    scene.fleet.set_facts(ALI, DriverFacts { tier: Tier::Comfort, ..facts() });
    let taken = scene.fleet.ingest(&scene.seat(ALI), &scene.fix(0.0)).expect("a good position");
    assert_eq!(taken.trip, Some(T1));
    let count: Vec<_> =
        scene.fleet.counts().into_iter().filter(|count| count.drivers > 0).collect();
    assert_eq!(count.len(), 1);
    assert_eq!(
        (count[0].city, count[0].tier, count[0].state),
        (CityId(1), Tier::Comfort, State::Busy)
    );
}

#[tokio::test]
async fn a_jump_stays_off_the_map_until_confirmed() {
    let scene = scene().await;
    scene.online(ALI, 0.0);
    scene.fleet.assign(ALI, T1).expect("he is free");
    scene.fleet.start_meter(ALI, T1);
    let place = || scene.fleet.position(ALI).expect("he has one").0.distance_m(at(0.0)).round();
    for (north_m, live, expected) in [
        (30.0, true, 30.0),
        (9000.0, false, 30.0),
        (9030.0, false, 30.0),
        (9060.0, true, 9060.0),
        (9100.0, true, 9100.0),
    ] {
        scene.pass(3);
        assert_eq!(scene.moves(ALI, north_m), live, "{north_m}");
        assert_eq!(place(), expected);
    }
    assert_eq!(scene.fleet.meter(T1).map(|meter| meter.distance_m), Some(70), "the jump is free");
}

#[tokio::test]
async fn the_map_never_goes_back_in_time() {
    let scene = scene().await;
    scene.online(ALI, 0.0);
    scene.pass(10);
    scene.moves(ALI, 100.0);
    let late = Fix { timestamp: scene.clock.now() - Duration::from_secs(5), ..scene.fix(50.0) };
    let taken = scene.fleet.ingest(&scene.seat(ALI), &late).expect("kept for history");
    assert!(!taken.live);
    assert_eq!(scene.nearby(1000.0), [100]);
    let future =
        Fix { timestamp: scene.clock.now() + Duration::from_secs(3600), ..scene.fix(120.0) };
    assert!(scene.fleet.ingest(&scene.seat(ALI), &future).expect("clamped").live);
    scene.pass(1);
    assert!(scene.moves(ALI, 140.0), "a clamped time doesn't lock the map");
    let old = Fix { timestamp: scene.clock.now() - Duration::from_secs(90_000), ..scene.fix(0.0) };
    assert_eq!(scene.fleet.ingest(&scene.seat(ALI), &old), Err(FixError::TooOld));
}

#[tokio::test]
async fn a_backfill_is_taken_in_order_of_time() {
    let scene = scene().await;
    scene.online(ALI, 0.0);
    scene.fleet.assign(ALI, T1).expect("he is free");
    scene.fleet.start_meter(ALI, T1);
    scene.pass(40);
    let then = |seconds: u64, north_m| Fix {
        timestamp: START + Duration::from_secs(seconds),
        ..scene.fix(north_m)
    };
    let coarse = Fix { accuracy_m: Some(900.0), ..then(20, 0.0) };
    let ancient = Fix { timestamp: START - Duration::from_secs(100_000), ..scene.fix(0.0) };
    let outcome = scene
        .fleet
        .ingest_batch(&scene.seat(ALI), &[then(30, 300.0), coarse, then(10, 100.0), ancient]);
    assert_eq!(outcome.accepted, 2);
    let codes: Vec<_> =
        outcome.rejected.iter().map(|(place, code)| (*place, code.name())).collect();
    assert_eq!(codes, [(1, "TOO_INACCURATE"), (3, "TOO_OLD")]);
    assert_eq!(scene.fleet.meter(T1).map(|meter| meter.distance_m), Some(300));
    // Older than fresh: for history only, though it is newer than what the map shows.
    scene.pass(200);
    let outcome = scene.fleet.ingest_batch(&scene.seat(ALI), &[then(60, 500.0)]);
    assert_eq!(outcome.accepted, 1);
    let shown = scene.fleet.position(ALI).expect("he has one").0;
    assert_eq!(shown.distance_m(at(0.0)).round(), 300.0);
}

#[tokio::test]
async fn a_new_session_has_a_new_alias() {
    let scene = scene().await;
    let alias = || {
        let query = NearbyQuery { at: at(0.0), radius_m: 1000.0, tier: None, limit: 1 };
        scene.fleet.nearby(&query, scene.clock.now())[0].alias.clone()
    };
    scene.online(ALI, 0.0);
    let first = alias();
    scene.pass(5);
    scene.moves(ALI, 10.0);
    assert_eq!(alias(), first, "one session, one alias");
    scene.pass(40);
    scene.moves(ALI, 20.0);
    assert_ne!(alias(), first);
    assert!(!first.contains(&ALI.to_string()));
}

#[tokio::test]
async fn followers_are_told_what_adds_up_to_the_map() {
    let scene = scene().await;
    let deltas = || {
        let told = scene.fleet.moved_cells();
        let sum = |pick: fn(&crate::CellDelta) -> usize| told.iter().map(pick).sum::<usize>();
        (sum(|d| d.entered.len()), sum(|d| d.moved.len()), sum(|d| d.left.len()))
    };
    let view = |north_m: f64| scene.fleet.cell_view(geo::cell_of(at(north_m)), None).len();
    assert_eq!(deltas(), (0, 0, 0));
    scene.online(ALI, 0.0);
    assert_eq!((deltas(), view(0.0)), ((1, 0, 0), 1));
    scene.pass(3);
    scene.moves(ALI, 20.0);
    scene.moves(ALI, 25.0);
    assert_eq!(deltas(), (0, 1, 0), "two moves, told once");
    assert_eq!(deltas(), (0, 0, 0));
    for step in 1..=50 {
        scene.pass(3);
        scene.moves(ALI, 25.0 + f64::from(step) * 100.0);
    }
    assert_eq!(deltas(), (1, 0, 1), "another cell");
    assert_eq!((view(0.0), view(5025.0)), (0, 1));
    assert_eq!(scene.fleet.cell_view(geo::cell_of(at(5025.0)), Some(Tier::Xl)).len(), 0);
    scene.fleet.offer(ALI, T1).expect("he is free");
    assert_eq!(deltas(), (0, 0, 1), "the offered are not shown");
    scene.fleet.release(ALI, T1);
    assert_eq!(deltas(), (1, 0, 0));
    // Heard, but not from where: after sixty seconds he leaves the map.
    for _ in 0..7 {
        scene.pass(10);
        scene.fleet.heard(&scene.seat(ALI));
    }
    assert_eq!((deltas(), view(5025.0)), ((0, 0, 1), 0));
}

#[tokio::test]
async fn surge_and_estimates_count_the_free_only() {
    let scene = scene().await;
    scene.online(ALI, 0.0);
    scene.online(MONA, 100.0);
    let now = scene.clock.now();
    let free = || scene.fleet.free_per_surge_cell(now).values().sum::<u32>();
    assert_eq!(free(), 2);
    let nearest = |tier| {
        let found = scene.fleet.nearest_free(at(-100.0), tier, now);
        found.map(|place| place.distance_m(at(-100.0)).round())
    };
    assert_eq!(nearest(Tier::Economy), Some(100.0));
    assert_eq!(nearest(Tier::Premium), None);
    scene.fleet.offer(ALI, T1).expect("he is free");
    assert_eq!((free(), nearest(Tier::Economy)), (1, Some(200.0)));
    scene.fleet.set_balance(MONA, Piasters(-20_001));
    let seen = scene.fleet.candidates(at(0.0), 1000.0, 10);
    let debts: Vec<_> = seen.iter().map(|c| (c.driver, c.state, c.in_debt)).collect();
    assert_eq!(debts, [(ALI, State::Offered, false), (MONA, State::Available, true)]);
}

#[tokio::test]
async fn of_many_who_want_one_driver_one_gets_him() {
    let scene = scene().await;
    scene.online(ALI, 0.0);
    let fleet = Arc::new(scene.fleet);
    let wins: usize = std::thread::scope(|scope| {
        let claims: Vec<_> = (0..8u128)
            .map(|trip| {
                let fleet = Arc::clone(&fleet);
                scope.spawn(move || fleet.offer(ALI, TripId::from_u128(trip)).is_ok())
            })
            .collect();
        claims.into_iter().map(|c| usize::from(c.join().expect("ends"))).sum()
    });
    assert_eq!(wins, 1);
}

#[tokio::test]
async fn a_full_way_out_loses_no_lost_offer() {
    let mut scene = scene().await;
    for number in 1..=100u128 {
        let driver = DriverId::from_u128(number);
        scene.online(driver, 0.0);
        scene.fleet.offer(driver, TripId::from_u128(number)).expect("he is free");
    }
    scene.told();
    scene.pass(32);
    let mut lost = scene.lost();
    // Each is told of twice: he left, and so an offer was lost.
    for _ in 0..3 {
        scene.pass(1);
        lost.extend(scene.lost());
    }
    assert_eq!(lost.len(), 100);
}

#[tokio::test]
async fn who_drives_a_rider_is_seen_from_his_drop_off_until_something_comes_after() {
    let scene = scene().await;
    let fleet = &scene.fleet;
    scene.online(ALI, 0.0);
    scene.online(MONA, 0.0);
    let seen = |around_m: f64, radius_m: f64| {
        let found = fleet.finishing(at(around_m), radius_m, 10);
        let text = |one: &Finishing| {
            let Finishing { candidate, from } = one;
            let metres = (candidate.distance_m.round(), from.distance_m(at(0.0)).round());
            format!("{} {metres:?}", candidate.driver.as_u128())
        };
        found.iter().map(text).collect::<Vec<_>>().join(", ")
    };
    for (driver, trip) in [(ALI, T1), (MONA, T2)] {
        fleet.offer(driver, trip).expect("free");
        fleet.assign(driver, trip).expect("asked");
    }
    assert_eq!(seen(3_000.0, 5_000.0), "", "nobody is in a car yet");
    fleet.drives_to(ALI, T1, at(3_000.0));
    fleet.drives_to(MONA, T1, at(3_000.0)); // not her trip
    scene.moves(ALI, 400.0);
    assert_eq!(seen(3_100.0, 200.0), "1 (100.0, 400.0)");
    assert_eq!(seen(3_100.0, 99.0), "");
    let next = TripId::from_u128(103);
    assert_eq!(fleet.ends_before(ALI, next), None);
    fleet.offer(ALI, next).expect("he ends his trip");
    assert!(fleet.is_asked(ALI, next) && !fleet.is_asked(ALI, T1));
    assert_eq!(fleet.ends_before(ALI, next), Some(T1));
    assert_eq!(seen(3_000.0, 5_000.0), "", "he is asked");
    fleet.release(ALI, next);
    assert_eq!(seen(3_000.0, 5_000.0), "1 (0.0, 400.0)");
    fleet.offer(MONA, next).expect_err("her rider is not in the car");
    fleet.offer(ALI, next).expect("he is free for it again");
    fleet.queue_next(ALI, next).expect("asked");
    assert_eq!((seen(3_000.0, 5_000.0), fleet.trip_of(ALI)), (String::new(), Some(T1)));
    assert_eq!(fleet.finish(ALI, T1, Finish::Completed), Some(next), "its turn, without a rest");
    assert_eq!((fleet.trip_of(ALI), fleet.state(ALI)), (Some(next), State::Busy));
    assert_eq!(seen(3_000.0, 5_000.0), "", "he is on his way to another rider");
    assert_eq!(fleet.finish(ALI, next, Finish::Completed), None);
    assert_eq!(fleet.state(ALI), State::Cooldown);
}

#[tokio::test]
async fn who_loses_a_trip_to_a_nearer_driver_has_waited_as_long_as_before() {
    let scene = scene().await;
    scene.online(ALI, 0.0);
    let waited = |scene: &Scene| {
        let found = scene.fleet.candidates(at(0.0), 1_000.0, 10);
        found.first().map(|one| scene.clock.now().since(one.waiting_since) / 1_000)
    };
    for (how, expected) in [(Finish::TakenOver, 12), (Finish::Freed, 0)] {
        scene.clock.advance(Duration::from_secs(7));
        scene.fleet.assign(ALI, T1).expect("free");
        scene.clock.advance(Duration::from_secs(5));
        scene.fleet.finish(ALI, T1, how);
        assert_eq!(waited(&scene), Some(expected), "{how:?}");
    }
}

#[tokio::test]
async fn a_next_trip_found_at_the_start_waits_for_the_one_before_whichever_is_found_first() {
    let scene = scene().await;
    for (driver, next_first) in [(ALI, true), (MONA, false)] {
        let fleet = &scene.fleet;
        if next_first {
            fleet.adopt_next(driver, T2, T1);
            fleet.adopt(driver, T1);
        } else {
            fleet.adopt(driver, T1);
            fleet.adopt_next(driver, T2, T1);
        }
        assert_eq!(fleet.trip_of(driver), Some(T1));
        assert_eq!(fleet.finish(driver, T1, Finish::Completed), Some(T2));
    }
}
