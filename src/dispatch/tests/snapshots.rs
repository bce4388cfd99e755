//! What was decided is decided again from what was kept of it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base::{Caller, CityId, DriverId, Millis, Point, Role, SessionId, TripId, UserId};
use fleet::{Conduct, Misconduct};
use proptest::prelude::*;
use storage::Who;

use super::city::{City, EAGER, Play, START, driver, north, search, seen, trip};
use crate::board::Rules;
use crate::eligibility::Standing;
use crate::engine::tick_and_keep;
use crate::model::{Decision, Outcome, Part, Search, Seen, View};
use crate::snapshot::store::{Kept, Row, of_trip, write};
use crate::snapshot::{Snapshot, decode, rounds_of};
use crate::strategy::Strategy as Way;

/// One tick that keeps what it decided from.
fn keep(play: &mut Play) -> (Vec<Decision>, Vec<Snapshot>) {
    for seen in &mut play.city.drivers {
        seen.heard = play.now;
    }
    let mut kept = Vec::new();
    let decisions = tick_and_keep(&mut play.board, &play.city, play.now, Some(&mut kept));
    play.follow(&decisions);
    (decisions, kept)
}

fn kept(snapshot: &Snapshot, rules: &Rules) -> Kept {
    Kept { snapshot: snapshot.clone(), rules: rules.clone() }
}

/// How each round of the trip was decided, and is again: `1 2 3 | 1 2 3 same`.
fn again(number: u128, snapshot: &Snapshot) -> String {
    let rounds = rounds_of(trip(number), &[kept(snapshot, &Rules::default())]);
    let names = |drivers: &[base::DriverId]| {
        let names = drivers.iter().map(|driver| driver.as_u128().to_string());
        names.collect::<Vec<_>>().join(" ")
    };
    let round = &rounds[0];
    let same = if round.same { "same" } else { "differs" };
    format!("{} | {} {same}", names(&round.asked), names(&round.asked_again))
}

fn queue(count: u128) -> Vec<Seen> {
    (1..=count).map(|number| seen(number, number as f64 * 99.0)).collect()
}

#[test]
fn a_round_is_decided_again_and_every_driver_is_explained() {
    let mut play = Play::new(queue(100));
    play.city.of(2).standing = Standing::Busy;
    play.city.of(40).fraud = true;
    play.ask(1);
    let (_, snapshots) = keep(&mut play);
    assert_eq!(again(1, &snapshots[0]), "1 3 4 5 6 | 1 3 4 5 6 same");
    let rounds = rounds_of(trip(1), &[kept(&snapshots[0], &Rules::default())]);
    let round = &rounds[0];
    // 50 of the hundred are within 5 km, and each has a word; the others were never seen.
    let mut words = std::collections::BTreeMap::new();
    for line in &round.lines {
        *words.entry(line.verdict.name()).or_insert(0) += 1;
        let is_scored = line.verdict.name() == "ranked" || line.verdict.name() == "offered";
        assert_eq!(line.parts.is_some(), is_scored);
    }
    let words: Vec<String> = words.iter().map(|(word, count)| format!("{word} {count}")).collect();
    assert_eq!(words.join(", "), "busy 1, fraud 1, offered 5, ranked 43");
    assert_eq!((round.radius_m, round.complete, round.searches), (5_000, true, 1));
}

#[test]
fn who_is_not_scored_is_told_so_and_more_may_have_been_there() {
    let rules = Rules { considered: 20, scored: 8, ..Rules::default() };
    let mut play = Play::with(rules.clone(), queue(50));
    play.ask(1);
    let (_, snapshots) = keep(&mut play);
    let rounds = rounds_of(trip(1), &[kept(&snapshots[0], &rules)]);
    let unscored = rounds[0].lines.iter().filter(|line| line.verdict.name() == "not_scored");
    assert_eq!((unscored.count(), rounds[0].lines.len(), rounds[0].complete), (12, 20, false));
}

#[test]
fn a_go_that_decides_nothing_is_not_kept() {
    let mut play = Play::new(vec![seen(1, 9_000.0)]);
    play.ask(1);
    assert_eq!(keep(&mut play).1, []);
    play.at(60.0);
    play.city.of(1).standing = Standing::Busy;
    let (_, snapshots) = keep(&mut play);
    assert_eq!(again(1, &snapshots[0]), " |  same", "that nobody was found is a decision");
    play.at(70.0);
    assert_eq!(keep(&mut play).1, [], "to say it again is none");
}

#[test]
fn a_batch_is_one_snapshot_and_holds_each_driver_once() {
    let mut play = Play::new(queue(30));
    for number in 1..=10 {
        play.ask_batched(number, number as f64 * 50.0);
    }
    let (decisions, snapshots) = keep(&mut play);
    assert_eq!((snapshots.len(), snapshots[0].drivers.len()), (1, 30));
    let rounds = decisions.iter().filter(|one| matches!(one, Decision::Offers { .. })).count();
    assert_eq!(snapshots[0].decided.len(), rounds);
    for decided in &snapshots[0].decided {
        let words = again(decided.trip.as_u128(), &snapshots[0]);
        assert!(words.ends_with(" same"), "{words}");
    }
}

/// Drivers who are heard of between any two glances.
struct Restless<'a>(&'a City, AtomicI64);

impl View for Restless<'_> {
    fn drivers(
        &self,
        at: Point,
        radius_m: f64,
        limit: usize,
        ahead: Duration,
        out: &mut Vec<Seen>,
    ) {
        let first = out.len();
        self.0.drivers(at, radius_m, limit, ahead, out);
        let later = self.1.fetch_add(1, Ordering::Relaxed);
        for seen in &mut out[first..] {
            seen.heard.0 -= later;
        }
    }

    fn driver(&self, driver: DriverId, at: Point) -> Option<Seen> {
        self.0.driver(driver, at)
    }

    fn eta_s(&self, from: Point, to: Point, now: Millis) -> u32 {
        self.0.eta_s(from, to, now)
    }
}

#[test]
fn who_holds_an_offer_holds_one_however_often_he_was_seen() {
    let mut play = Play::new(queue(3));
    play.ask_batched(1, 0.0);
    keep(&mut play);
    play.now = play.now + Duration::from_secs(2);
    play.ask_batched(2, 0.0).ask_batched(3, 50.0);
    for seen in &mut play.city.drivers {
        seen.heard = play.now;
    }
    let mut kept = Vec::new();
    let view = Restless(&play.city, AtomicI64::default());
    tick_and_keep(&mut play.board, &view, play.now, Some(&mut kept));
    assert_eq!(kept[0].leased.len(), 1);
    assert!(again(2, &kept[0]).ends_with("same"), "{}", again(2, &kept[0]));
}

#[test]
fn other_rules_decide_otherwise_and_that_is_seen() {
    let mut play = Play::new(queue(10));
    play.ask(1);
    let (_, snapshots) = keep(&mut play);
    let mut rules = Rules::default();
    rules.presets.first_accept.at_once = 3;
    let rounds = rounds_of(trip(1), &[kept(&snapshots[0], &rules)]);
    assert_eq!((rounds[0].asked_again.len(), rounds[0].same), (3, false));
    // A score that is off by a bit is seen, though the same are asked.
    let mut rules = Rules::default();
    rules.weights.rating += 1e-6;
    let rounds = rounds_of(trip(1), &[kept(&snapshots[0], &rules)]);
    assert_eq!((rounds[0].asked == rounds[0].asked_again, rounds[0].same), (true, false));
    // And so is an engine that looks farther than then.
    let rules = Rules { considered: 300, ..Rules::default() };
    assert!(!rounds_of(trip(1), &[kept(&snapshots[0], &rules)])[0].same);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask(u128, f64),
    Ahead(u128, u128, Part),
    End(u128, Outcome),
    Move(u128, f64, Standing),
    Choose(Way),
    Queue(u128, Option<u32>),
    Mark(u128, Option<Conduct>),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let standing = prop::sample::select(vec![
        Standing::Available,
        Standing::Finishing { left_s: 100 },
        Standing::Busy,
        Standing::Available,
    ]);
    let outcome = prop::sample::select(Outcome::ALL.to_vec());
    prop_oneof![
        2 => (1_u128..=6, 0.0..4_000.0).prop_map(|(n, at)| Step::Ask(n, at)),
        2 => (1_u128..=6, 0_u16..4).prop_map(|(n, at)| Step::Ask(n, f64::from(at) * 1_000.0)),
        2 => (1_u128..=6, 0_u128..=12, prop::sample::select(vec![Part::Drive, Part::StandBy]))
            .prop_map(|(n, first, part)| Step::Ahead(n, first, part)),
        4 => (1_u128..=12, outcome).prop_map(|(n, outcome)| Step::End(n, outcome)),
        2 => (1_u128..=12, 0.0..9_000.0, standing).prop_map(|(n, at, how)| Step::Move(n, at, how)),
        1 => prop::sample::select(Way::ALL.to_vec()).prop_map(Step::Choose),
        1 => (1_u128..=12, prop::option::of(1_u32..9)).prop_map(|(n, place)| Step::Queue(n, place)),
        1 => (1_u128..=12, prop::option::of(conduct())).prop_map(|(n, mark)| Step::Mark(n, mark)),
        4 => (1_u64..9_000).prop_map(Step::Wait),
    ]
}

fn conduct() -> impl Strategy<Value = Conduct> {
    let reason = prop::sample::select(Misconduct::ALL.to_vec());
    (reason, 1_u8..=100).prop_map(|(reason, penalty)| Conduct { reason, penalty })
}

proptest! {
    #[test]
    fn whatever_happens_is_decided_again_the_same(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut rules = Rules::default();
        rules.presets.batched.swap = Some(EAGER);
        let drivers = (1..=12).map(|n| seen(n, n as f64 * 350.0)).collect();
        let mut play = Play::with(rules.clone(), drivers);
        // Pickups elsewhere see the same drivers without their places.
        play.city.airports = (0..4).map(|n| north(f64::from(n) * 1_000.0)).collect();
        for step in steps {
            match step {
                Step::Ask(number, at) => {
                    let asked = Search { pickup: north(at), ..search(number, START) };
                    play.board.search(asked, play.now);
                }
                Step::Ahead(number, first, role) => {
                    let (strategy, until) = (Some(Way::Scheduled), Some(play.now));
                    let first = (first > 0).then(|| driver(first));
                    let asked = search(number, START);
                    let asked = Search { strategy, first, role, until, ..asked };
                    play.board.search(asked, play.now);
                }
                Step::End(number, outcome) => {
                    play.end(number, outcome);
                }
                Step::Move(number, at, standing) => {
                    let seen = play.city.of(number);
                    (seen.at, seen.standing) = (north(at), standing);
                }
                Step::Choose(way) => play.board.choose(CityId(1), way),
                Step::Queue(number, place) => play.city.of(number).in_line = place,
                Step::Mark(number, conduct) => play.city.of(number).conduct = conduct,
                Step::Wait(ms) => play.now = play.now + Duration::from_millis(ms),
            }
            let (_, snapshots) = keep(&mut play);
            for snapshot in snapshots {
                let read = decode(&Row::of(&snapshot).body);
                prop_assert_eq!(read.as_ref(), Some(&snapshot));
                for decided in &snapshot.decided {
                    let rounds = rounds_of(decided.trip, &[kept(&snapshot, &rules)]);
                    prop_assert!(rounds[0].same, "{:?} of {:?}", rounds[0], snapshot);
                }
            }
        }
    }

    #[test]
    fn bytes_that_are_cut_or_mixed_up_are_no_snapshot(cut in 0_usize..900, flip in 0_usize..900) {
        let mut play = Play::new(queue(8));
        play.ask(1).ask(2);
        let (_, snapshots) = keep(&mut play);
        let bytes = Row::of(&snapshots[0]).body;
        if cut < bytes.len() {
            prop_assert_eq!(decode(&bytes[..cut]), None);
        }
        // Another byte may make another snapshot, or none: never a panic.
        let mut mixed = bytes.clone();
        let place = flip % mixed.len();
        mixed[place] ^= 0xA5;
        decode(&mixed);
        let longer = [bytes.as_slice(), &[0]].concat();
        prop_assert_eq!(decode(&longer), None);
    }
}

#[test]
fn what_is_written_is_read() {
    let mut play = Play::new(queue(12));
    let mut asked = search(1, START - Duration::from_secs(70));
    asked.excluded = vec![driver(3), driver(4)];
    asked.familiar = vec![driver(5)];
    asked.strategy = Some(Way::Sequential);
    play.board.search(asked, START);
    play.city.of(1).rating = f32::NAN;
    play.city.of(2).standing = Standing::Finishing { left_s: 70_000 };
    play.city.of(5).documents_until = Millis(i64::MAX);
    play.city.of(6).waiting_since = Millis(i64::MIN);
    play.city.of(7).in_line = Some(u32::MAX);
    play.city.of(7).conduct = Some(Conduct { reason: Misconduct::Teleports, penalty: 255 });
    play.city.of(8).conduct = Some(Conduct { reason: Misconduct::AcceptanceDrop, penalty: 0 });
    for _ in 0..3 {
        let (_, snapshots) = keep(&mut play);
        let bytes = Row::of(&snapshots[0]).body;
        let read = decode(&bytes).expect("it is one");
        // Not a number is no number's equal: by the bytes it is.
        assert_eq!(Row::of(&read).body, bytes);
        assert!(bytes.len() < 12 * 72 + 300, "{} bytes", bytes.len());
        play.now = play.now + Duration::from_secs(3);
        play.end_all(Outcome::Lost);
    }
}

#[test]
fn a_driver_of_bad_conduct_is_asked_after_the_others_and_the_trace_says_why() {
    let mut play = Play::new((1..=8).map(|number| seen(number, 300.0)).collect());
    play.city.of(1).conduct = Some(Conduct { reason: Misconduct::Teleports, penalty: 30 });
    play.city.of(2).conduct = Some(Conduct { reason: Misconduct::CherryPicking, penalty: 1 });
    play.ask(1);
    let (_, snapshots) = keep(&mut play);
    assert_eq!(again(1, &snapshots[0]), "3 4 5 6 7 | 3 4 5 6 7 same");
    let rounds = rounds_of(trip(1), &[kept(&snapshots[0], &Rules::default())]);
    let of = |number| rounds[0].lines.iter().find(|line| line.driver == driver(number));
    let (bad, good) = (of(1).expect("a line"), of(3).expect("a line"));
    assert_eq!((bad.conduct, good.conduct), (Some(Misconduct::Teleports), None));
    let (bad, good) = (bad.parts.expect("parts"), good.parts.expect("parts"));
    assert!((bad.conduct + 0.3).abs() < 1e-6 && good.conduct.abs() < 1e-6);
    assert!((good.total() - bad.total() - 0.3).abs() < 1e-5);
}

/// A round as the program before there was conduct wrote it: version 1, two drivers, one search.
const OLD: &str = "\
     0180a0abfef9620c66697273745f616363657074010000000000000000000000000000000102000000000000\
     000000000000000000010000000000003e400000000000003f4002b75c076b123e400000000000003f400765\
     636f6e6f6d790463617368904e000000c03eb009882700000000000000000002000000000000000000000000\
     00000001190b36593a003e400000000000003f40110000009040cdcc4c3f6666663f00000080f0b252000000\
     0000000000000000000000000232166cb274003e400000000000003f40110000009040cdcc4c3f6666663f00\
     000080f0b25201000000000088b3408002020001021326010000000000000000000000000000000102000000\
     00000000000000000000000001ffcf613f00000000000000000000000000000002f3c85f3f";

#[test]
fn what_an_older_program_wrote_is_read() {
    let mut play = Play::new(queue(2));
    play.ask(1);
    let (_, snapshots) = keep(&mut play);
    // It is written as before while nobody is marked: the program before reads it, too.
    let written: String =
        Row::of(&snapshots[0]).body.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(written, OLD);
    let digits = |at: usize| u8::from_str_radix(&OLD[at..at + 2], 16).expect("two digits");
    let old: Vec<u8> = (0..OLD.len()).step_by(2).map(digits).collect();
    let read = decode(&old).expect("it is read");
    assert_eq!(read, snapshots[0]);
    assert_eq!(again(1, &read), "1 2 | 1 2 same");
}

#[tokio::test]
async fn a_trip_has_its_rounds_for_admins_and_rules_come_back_exactly() {
    let db = storage::testing::database().await;
    let mut owner = storage::testing::owner(&db).await;
    let rider = UserId::new();
    sqlx::query(
        "WITH u AS (INSERT INTO users (id, phone, name, role, password_hash)
           VALUES ($1, '+201000000001', 'N', 'rider', '-') RETURNING id)
         INSERT INTO trips (id, city_id, rider_id, status, payment_method, tier, version,
           pickup_lat, pickup_lng, destination_lat, destination_lng, price, commission_bp,
           quoted_distance_m, quoted_duration_s, requested_at, created_at)
         SELECT $2, 1, id, 'requested', 'cash', 'economy', 1, 30, 31, 30.1, 31, 5000, 1500, 8000,
           1200, now() - interval '1 minute', now() - interval '1 minute' FROM u",
    )
    .bind(rider.0)
    .bind(trip(1).0)
    .execute(&mut owner)
    .await
    .expect("a trip");
    let mut play = Play::new(queue(12));
    play.now = base::Clock::system().now();
    for seen in &mut play.city.drivers {
        seen.documents_until = play.now + Duration::from_secs(86_400);
    }
    play.ask(1).ask(2);
    let mut rows = Vec::new();
    for _ in 0..2 {
        let (_, snapshots) = keep(&mut play);
        rows.extend(snapshots.iter().map(Row::of));
        play.now = play.now + Duration::from_secs(1);
        play.end_all(Outcome::Declined);
    }
    let rules = Rules::default();
    write(&db, &rules, &rows).await.expect("they are written");
    // A batch whose commit was not known is written again.
    write(&db, &rules, &rows).await.expect("they are written");
    let who = |role| {
        let (user, session) = (UserId::new(), SessionId::new());
        Who::Caller(Caller { user, role, session, expires: START })
    };
    let (read, _) = of_trip(&db, &who(Role::Admin), trip(1)).await.expect("they are read");
    assert_eq!(read.len(), 2);
    assert!(read.iter().all(|kept| kept.rules == rules));
    let rounds = rounds_of(trip(1), &read);
    assert_eq!(rounds.iter().map(|round| round.round).collect::<Vec<_>>(), [1, 2]);
    assert!(rounds.iter().all(|round| round.same));
    assert_eq!(of_trip(&db, &who(Role::Rider), trip(1)).await.expect("none").0.len(), 0);
    assert_eq!(of_trip(&db, &who(Role::Admin), TripId::new()).await.expect("none").0.len(), 0);
    // What another program wrote is passed over, and counted.
    sqlx::query("UPDATE dispatch_snapshots SET body = '\\x63' WHERE lead = $1 AND at = $2")
        .bind(trip(1).0)
        .bind(storage::at(rounds[0].at))
        .execute(&mut owner)
        .await
        .expect("the owner may");
    let (read, unreadable) = of_trip(&db, &who(Role::Admin), trip(1)).await.expect("they are read");
    assert_eq!((read.len(), unreadable), (1, 1));
}
