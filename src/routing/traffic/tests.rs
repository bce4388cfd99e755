//! What drives teach.

use storage::Who;

use super::*;
use crate::Router;

const ZONE: &str = "Africa/Cairo";

fn place(lat: f64, lng: f64) -> Point {
    Point::new(lat, lng).expect("in range")
}

fn at(utc: &str) -> Millis {
    Millis::parse(utc).expect("a time")
}

/// Ten minutes promised, on a Wednesday at eight.
fn drive() -> Drive {
    let started = at("2026-01-14T06:10:00Z");
    Drive {
        city: CityId(1),
        from: place(30.05, 31.23),
        to: place(30.08, 31.30),
        promised_at: at("2026-01-14T06:00:00Z"),
        started,
        promised_s: 600,
        driven_s: 600,
        promised_m: 9_000,
        driven_m: 9_000,
    }
}

async fn learn(db: &Db, drive: &Drive) {
    let mut tx = db.begin(&Who::System).await.expect("a transaction");
    learn_in_tx(&mut tx, drive, ZONE).await.expect("learnt");
    tx.commit().await.expect("committed");
}

async fn read(db: &Db) -> Traffic {
    let traffic = Traffic::default();
    traffic.read(db).await.expect("read");
    traffic
}

#[tokio::test]
async fn the_factor_becomes_what_is_driven() {
    let db = storage::testing::database().await;
    let Drive { from, to, started, .. } = drive();
    for _ in 0..150 {
        // The promise is made with what is known, as the program makes it.
        let factor = read(&db).await.factor(from, to, started);
        let promised_s = (600.0 * factor).round() as u32;
        learn(&db, &Drive { promised_s, driven_s: 900, ..drive() }).await;
    }
    let traffic = read(&db).await;
    let factor = traffic.factor(from, to, started);
    assert!((1.45..1.51).contains(&factor), "{factor}");
    for (other, when) in
        [("another hour", at("2026-01-14T09:10:00Z")), ("a Friday", at("2026-01-16T06:10:00Z"))]
    {
        assert_eq!(traffic.factor(from, to, when), 1.0, "{other}");
    }
    // In summer eight o'clock is an hour earlier in UTC.
    let summer = traffic.factor(from, to, at("2026-07-15T05:10:00Z"));
    assert_eq!(summer, factor);
    let half = traffic.factor(from, place(29.9, 31.0), started);
    assert!((half - factor.sqrt()).abs() < 1e-6, "only where it starts is known: {half}");
    let plain = Router::new(Vec::new(), None);
    let seconds = f64::from(plain.eta_s(from, to, started));
    let slower = f64::from(plain.with_traffic(traffic).eta_s(from, to, started));
    assert!((slower / seconds - factor).abs() < 0.01, "{slower} for {seconds}");
}

#[tokio::test]
async fn a_strange_trip_is_not_believed() {
    let db = storage::testing::database().await;
    for strange in [
        Drive { promised_s: 100, driven_s: 900, ..drive() },
        Drive { driven_s: 0, ..drive() },
        Drive { driven_m: 20_000, driven_s: 2_000, ..drive() },
        Drive { promised_at: at("2026-01-13T20:00:00Z"), driven_s: 900, ..drive() },
    ] {
        learn(&db, &strange).await;
        assert!(read(&db).await.0.load().squares.is_empty(), "{strange:?}");
    }
    learn(&db, &Drive { driven_s: 60_000, ..drive() }).await;
    let factor = read(&db).await.factor(drive().from, drive().to, drive().started);
    assert!((1.1..1.2).contains(&factor), "a hundred times as long: {factor}");
}

#[tokio::test]
async fn drives_at_the_same_time_all_count() {
    let db = storage::testing::database().await;
    let there = Drive { driven_s: 660, ..drive() };
    let back = Drive { from: there.to, to: there.from, ..there };
    let all = (0..40).map(|n| if n % 2 == 0 { there } else { back });
    let learning = all.map(|drive| {
        let db = db.clone();
        tokio::spawn(async move { learn(&db, &drive).await })
    });
    for done in learning.collect::<Vec<_>>() {
        done.await.expect("no deadlock");
    }
    let counts = store::all(&db).await.expect("read");
    assert_eq!(counts.len(), 2);
    let mut owner = storage::testing::owner(&db).await;
    let trips: i64 = sqlx::query_scalar("SELECT sum(trips) FROM traffic_factors")
        .fetch_one(&mut owner)
        .await
        .expect("counted");
    assert_eq!(trips, 80);
}
