//! Who is drawn, what he pays, and what the table refuses, in a real PostgreSQL.

use std::time::Duration;

use base::{Caller, Role, Route, RouteSource, SessionId, Tier};
use storage::{Db, Tx, Who, testing};

use super::*;
use crate::desk::{Ask, Asker, Book, Booking, Pricing};
use crate::quote::{QuoteKey, QuoteRefused};
use crate::rulebook::{ChangeSubject, changes_in_tx};
use crate::tests::{ECONOMY, crowd};

const DAY: Duration = Duration::from_secs(86_400);
const ADMIN: UserId = UserId::from_u128(1);

fn variant(name: &str, weight: u32, twist: Twist) -> Variant {
    Variant { name: name.to_owned(), weight, twist }
}

fn cheaper() -> Twist {
    Twist { per_km: Factor(8_000), ..Twist::NONE }
}

fn experiment(share: i64, weights: [u32; 3]) -> Experiment {
    let variants = weights.map(|weight| variant("-", weight, Twist::NONE)).to_vec();
    Experiment {
        id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001),
        city: CityId(1),
        starts: Millis(0),
        ends: Millis(i64::MAX),
        share: BasisPoints(share),
        variants,
    }
}

fn place(drawn: Option<(Arm, &Twist)>) -> Option<u8> {
    drawn.map(|(arm, _)| arm.variant)
}

/// Worked out apart from this program, with Python's hashlib.
#[test]
fn riders_are_drawn_for_ever() {
    let check = |rider: u128, hash: [u64; 2], of_half: Option<u8>, of_all: u8| {
        let (half, all) = (experiment(5_000, [1, 1, 2]), experiment(10_000, [1, 1, 2]));
        let rider = UserId::from_u128(rider);
        assert_eq!(numbers(half.id, rider), hash, "{rider}");
        assert_eq!((place(half.draw(rider)), place(all.draw(rider))), (of_half, Some(of_all)));
    };
    check(1, [0x440e_e8f7_0db7_c918, 0xc89a_2aeb_5bdb_d8e3], Some(2), 2);
    check(2, [0xba9d_005a_2e73_479b, 0x43ac_c67c_4f53_cbbe], None, 1);
    check(3, [0xf790_55b3_07e1_aa04, 0xca37_a7e7_ea55_59bd], None, 2);
    check(7, [0xc8ba_f669_f275_aebd, 0x4a5b_6e13_16a8_5f63], None, 1);
    check(u128::MAX, [0xde75_2a8e_b2fd_aa1b, 0xf854_16d1_ba77_ae29], None, 2);
}

#[test]
fn a_share_and_weights_are_kept_evenly() {
    let half = experiment(5_000, [1, 1, 2]);
    // Ids in a row: what is even over these is even over any.
    let mut found = [0_u32; 4];
    for rider in 0..100_000 {
        let place = place(half.draw(UserId::from_u128(rider)));
        found[place.map_or(3, usize::from)] += 1;
    }
    let expected = [12_500.0, 12_500.0, 25_000.0, 50_000.0];
    let off = |(found, expected): (&u32, &f64)| (f64::from(*found) - expected).powi(2) / expected;
    let chi_square: f64 = found.iter().zip(&expected).map(off).sum();
    // Chance passes this once in a thousand times, with three degrees of freedom.
    assert!(chi_square < 16.27, "{found:?}: {chi_square}");

    // Another experiment draws anew: who was in one variant here is spread over all there.
    let other = Experiment { id: Uuid::from_u128(2), ..experiment(5_000, [1, 1, 2]) };
    let riders = (0..100_000).map(UserId::from_u128);
    let of_control = riders.filter(|rider| place(half.draw(*rider)) == Some(0));
    let (mut again, mut all) = (0, 0);
    for rider in of_control {
        all += 1;
        again += u32::from(other.draw(rider).is_some());
    }
    assert!((5_800..6_600).contains(&again), "{again} of {all}");
}

fn running(twist: Twist) -> Experiment {
    let variants = vec![variant("control", 1, Twist::NONE), variant("tried", 1, twist)];
    let (starts, ends) = (Millis(1_000), Millis(2_000));
    Experiment { starts, ends, variants, ..experiment(5_000, [1, 1, 1]) }
}

fn desk(twist: Twist) -> Pricing {
    let experiments = vec![running(twist)];
    let book = Book { tariffs: vec![ECONOMY], experiments, ..Book::default() };
    Pricing::with_book(book, QuoteKey::derive(b"a secret of the tests"))
}

fn rider_of(variant: Option<u8>) -> UserId {
    let draw = |rider: &UserId| place(running(Twist::NONE).draw(*rider)) == variant;
    (0..).map(UserId::from_u128).find(draw).expect("there is one")
}

fn booking(rider: UserId) -> Booking<'static> {
    Booking { rider, ..crate::tests::booking() }
}

fn way() -> Route {
    // 10 + 20·3.5 + 40·0.5 = 100
    Route { distance_m: 20_000, duration_s: 2400, polyline: None, source: RouteSource::GreatCircle }
}

#[test]
fn a_rider_is_shown_booked_and_noted_at_one_variants_price() {
    let desk = desk(cheaper());
    let check = |asker: Asker, now: i64, price: i64, variant: Option<u8>| {
        let booking = booking(asker.user());
        let (way, now) = (way(), Millis(now));
        let ask = Ask {
            asker,
            city: booking.city,
            time_zone: booking.time_zone,
            pickup: booking.pickup,
            destination: booking.destination,
            stops: &[],
            pickup_at: None,
            route: &way,
            tiers: &[(Tier::Economy, None)],
        };
        let shown = desk.estimate(&ask, now).expect("prices");
        assert_eq!(shown.arm.map(|arm| arm.variant), variant, "{asker:?} at {now:?}");
        let economy = &shown.reply.estimates[0];
        assert_eq!(economy.price, Piasters::pounds(price), "{asker:?} at {now:?}");
        // Over meanwhile, the experiment's prices are what was promised.
        let later = now + Duration::from_secs(500);
        let redeemed = desk.redeem(&economy.quote_id, &booking, later).expect("it is ours");
        assert_eq!((redeemed.price, redeemed.arm), (economy.price, shown.arm));
        redeemed
    };
    let (control, tried, out) = (rider_of(Some(0)), rider_of(Some(1)), rider_of(None));
    check(Asker::Rider(control), 1_000, 100, Some(0));
    check(Asker::Rider(tried), 1_000, 86, Some(1));
    check(Asker::Rider(tried), 1_999, 86, Some(1));
    check(Asker::Rider(tried), 999, 100, None);
    check(Asker::Rider(tried), 2_000, 100, None);
    check(Asker::Rider(out), 1_500, 100, None);
    check(Asker::Partner(tried), 1_500, 100, None);
    let fresh = desk.quote_now(&booking(tried), &way(), Millis(1_500)).expect("a quote");
    assert_eq!((fresh.price, fresh.arm.map(|arm| arm.variant)), (Piasters::pounds(86), Some(1)));
    let elsewhere = Booking { city: CityId(2), ..booking(tried) };
    assert!(desk.quote_now(&elsewhere, &way(), Millis(1_500)).is_err(), "no tariff there");
    // Nobody uses a quote of another one's variant.
    let stolen = desk.redeem(&fresh.id, &booking(control), Millis(1_500));
    assert_eq!(stolen, Err(QuoteRefused::Invalid));
}

#[test]
fn surge_beyond_a_variants_cap_is_neither_charged_nor_a_reason_to_refuse() {
    let desk = desk(Twist { surge_cap: Factor(12_000), ..Twist::NONE });
    let (control, tried) = (booking(rider_of(Some(0))), booking(rider_of(Some(1))));
    let quote = |booking: &Booking<'_>| desk.quote_now(booking, &way(), Millis(1_500));
    let calm = [quote(&control).expect("a quote"), quote(&tried).expect("a quote")];
    let now = crowd(&desk, Millis(1_500));
    assert_eq!(desk.surge_at(control.pickup), 3.0);
    let dear = [quote(&control).expect("a quote"), quote(&tried).expect("a quote")];
    let said: Vec<_> = dear.iter().map(|quote| (quote.price.to_string(), quote.surge)).collect();
    assert_eq!(said, [("300".to_owned(), 3.0), ("120".to_owned(), 1.2)]);
    let refused = Err(QuoteRefused::SurgeRose);
    assert_eq!(desk.redeem(&calm[0].id, &control, now), refused);
    assert_eq!(desk.redeem(&calm[1].id, &tried, now).map(|quote| quote.price), Ok(calm[1].price));
}

fn now() -> Millis {
    Millis::from(jiff::Timestamp::now())
}

async fn begin(db: &Db, user: UserId) -> Tx {
    let (role, session, expires) = (Role::Admin, SessionId::from_u128(1), Millis(0));
    let mut tx = db.begin(&Who::Caller(Caller { user, role, session, expires })).await.expect("it");
    tx.because("a test").await.expect("a reason");
    tx
}

fn new(starts: Millis, ends: Millis) -> NewExperiment {
    NewExperiment {
        id: Uuid::now_v7(),
        city: CityId(1),
        name: "Cheaper kilometres".to_owned(),
        starts,
        ends,
        share: BasisPoints(2_550),
        variants: vec![variant("control", 3, Twist::NONE), variant("tried", 1, cheaper())],
        by: ADMIN,
        at: now(),
    }
}

#[tokio::test]
async fn two_experiments_of_a_city_never_overlap() {
    let db = testing::database().await;
    let now = now();
    let first = new(now + DAY, now + DAY * 3);
    let mut tx = begin(&db, ADMIN).await;
    let made = experiment_add_in_tx(&mut tx, &first).await.expect("added").expect("alone");
    tx.commit().await.expect("committed");
    assert_eq!((made.share_percent, made.variants[1].per_km_multiplier), (25.5, 0.8));
    let book = crate::store::load(&db, now).await.expect("loaded");
    let known = &book.experiments[0];
    assert_eq!((known.id, &known.variants), (first.id, &first.variants));

    let tried = async |from: Duration, until: Duration, city: i16| {
        let mut tx = begin(&db, ADMIN).await;
        let other = NewExperiment { city: CityId(city), ..new(now + from, now + until) };
        experiment_add_in_tx(&mut tx, &other).await.expect("asked").is_some()
    };
    assert!(!tried(Duration::ZERO, DAY + Duration::from_millis(1), 1).await);
    assert!(!tried(DAY * 2, DAY * 4, 1).await);
    assert!(tried(Duration::ZERO, DAY, 1).await);
    assert!(tried(DAY * 3, DAY * 4, 1).await);
    assert!(tried(DAY * 2, DAY * 4, 2).await, "in another city");

    // Ended before it began it leaves its time to others.
    let mut tx = begin(&db, ADMIN).await;
    let ended = experiment_end_in_tx(&mut tx, first.id, now).await.expect("asked");
    assert_eq!(ended.map(|ended| ended.ends_at), Some(first.starts));
    for again in [now, now + DAY] {
        assert_eq!(experiment_end_in_tx(&mut tx, first.id, again).await.expect("asked"), None);
    }
    let page = changes_in_tx(&mut tx, CityId(1), Some(ChangeSubject::Experiment), None, 10).await;
    let seen: Vec<_> = page.expect("a page").changes;
    assert_eq!((seen.len(), seen[0].actor_id, seen[0].reason.as_str()), (2, Some(ADMIN), "a test"));
    tx.commit().await.expect("committed");
    assert!(tried(DAY * 2, DAY * 4, 1).await);
    let book = crate::store::load(&db, now + DAY).await.expect("loaded");
    assert!(book.experiments.is_empty());
}

#[tokio::test]
async fn what_is_tried_is_never_changed() {
    let db = testing::database().await;
    let now = now();
    let first = new(now, now + DAY * 3);
    let mut tx = begin(&db, ADMIN).await;
    experiment_add_in_tx(&mut tx, &first).await.expect("added").expect("alone");
    tx.commit().await.expect("committed");

    // As an admin, past the program: whatever it is, it is refused.
    let refused = async |sql: &'static str| {
        let mut tx = begin(&db, ADMIN).await;
        let answer = sqlx::query(sql).execute(tx.conn()).await;
        answer.expect_err(sql).to_string()
    };
    let weights =
        "UPDATE pricing_experiments SET variants = jsonb_set(variants, '{0,weight}', '9')";
    for sql in [
        weights,
        "UPDATE pricing_experiments SET share_bp = 10000",
        "UPDATE pricing_experiments SET starts_at = now()",
        "DELETE FROM pricing_experiments",
        "INSERT INTO experiment_trips VALUES (gen_random_uuid(), gen_random_uuid(), 0, gen_random_uuid())",
    ] {
        let why = refused(sql).await;
        assert!(why.contains("permission denied"), "{sql}: {why}");
    }
    let later = "UPDATE pricing_experiments SET ends_at = ends_at + interval '1 day'";
    let past = "UPDATE pricing_experiments SET ends_at = now() - interval '1 day'";
    for sql in [later, past] {
        let why = refused(sql).await;
        assert!(why.contains("what was tried stays"), "{sql}: {why}");
    }
    // A variant that leaves the borders, whoever writes it.
    let mut owner = testing::owner(&db).await;
    let control = r#"{"name": "a", "weight": 1, "base_bp": 10000, "per_km_bp": 10000,
        "per_minute_bp": 10000, "surge_cap_bp": 30000, "discount": 0}"#;
    let mut check = async |field: &str, value: &str, fits: bool| {
        let sql = "SELECT experiment_variants_fit(jsonb_build_array($1::text::jsonb, \
                   jsonb_set($1::text::jsonb || '{\"name\": \"b\"}', ARRAY[$2], $3::text::jsonb)))";
        let asked = sqlx::query_scalar(sql).bind(control).bind(field).bind(value);
        let found: bool = asked.fetch_one(&mut owner).await.expect("an answer");
        assert_eq!(found, fits, "{field} {value}");
    };
    check("weight", "1000", true).await;
    check("weight", "0", false).await;
    check("base_bp", "15000", true).await;
    check("base_bp", "15001", false).await;
    check("per_km_bp", "4999", false).await;
    check("per_minute_bp", "null", false).await;
    check("surge_cap_bp", "30001", false).await;
    check("surge_cap_bp", "9999", false).await;
    check("discount", "-1", false).await;
    check("discount", "10001", false).await;
    check("name", "\"a\"", false).await;
}
