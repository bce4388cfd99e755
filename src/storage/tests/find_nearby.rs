//! `find_nearby_drivers` beside a scan in plain arithmetic.

use base::Point;
use sqlx::Executor;
use sqlx::postgres::PgConnection;

use crate::testing;

const DRIVERS: usize = 4000;
/// Where drivers are: a city, both sides of the date line, and a pole.
const CENTRES: [(f64, f64); 4] = [(30.04, 31.24), (-17.0, 179.98), (89.95, 0.0), (-60.0, -180.0)];

fn place(driver: usize) -> Point {
    let (lat, lng) = CENTRES[driver % CENTRES.len()];
    let share = |step: usize| (driver * step % 1009) as f64 / 1009.0 - 0.5;
    // At the pole a degree of longitude is nothing.
    let wide = if lat > 80.0 { 360.0 } else { 0.3 };
    let lng = lng + share(631) * wide;
    let lng = if lng > 180.0 { lng - 360.0 } else { lng };
    let lng = if lng < -180.0 { lng + 360.0 } else { lng };
    Point::new(lat + share(401) * 0.099, lng).unwrap()
}

/// Free to be found: approved, at work, heard of lately, on no trip.
fn free(driver: usize) -> bool {
    [7, 11, 13, 17].iter().all(|kind| !driver.is_multiple_of(*kind))
}

async fn fill(conn: &mut PgConnection) {
    let places: Vec<Point> = (0..DRIVERS).map(place).collect();
    sqlx::query(
        "WITH d AS (SELECT n - 1 AS n, lpad(to_hex(n - 1), 32, '0')::uuid AS id, lat, lng
                    FROM unnest($1::float8[], $2::float8[]) WITH ORDINALITY AS p (lat, lng, n)),
         u AS (INSERT INTO users (id, phone, name, role, password_hash)
               SELECT id, '+2010' || lpad(n::text, 8, '0'), 'n', 'driver', 'x' FROM d),
         w AS (INSERT INTO drivers (id, status, wants_online)
               SELECT id, CASE WHEN n % 7 = 0 THEN 'pending' ELSE 'approved' END, n % 11 <> 0
               FROM d),
         v AS (INSERT INTO vehicles SELECT id, 'economy', 'm', 'm', n, 'c', 2020 FROM d)
         INSERT INTO driver_latest (driver_id, lat, lng, recorded_at)
         SELECT id, lat, lng, now() - CASE WHEN n % 13 = 0 THEN 120 ELSE 1 END * interval '1 s'
         FROM d",
    )
    .bind(places.iter().map(|at| at.lat()).collect::<Vec<_>>())
    .bind(places.iter().map(|at| at.lng()).collect::<Vec<_>>())
    .execute(&mut *conn)
    .await
    .unwrap();
    conn.execute(
        "INSERT INTO trips (id, city_id, rider_id, driver_id, status, payment_method, tier,
           version, pickup_lat, pickup_lng, destination_lat, destination_lng, price,
           commission_bp, quoted_distance_m, quoted_duration_s, requested_at, created_at)
         SELECT id, 1, id, id, 'started', 'cash', 'economy', 4, 30, 31, 30, 31, 1000, 1500, 1, 1,
           now(), now()
         FROM users WHERE ('x' || right(id::text, 8))::bit(32)::int % 17 = 0",
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn sql_finds_whom_a_scan_finds_nearest_first() {
    let db = testing::database().await;
    let mut conn = testing::owner(&db).await;
    fill(&mut conn).await;
    let mut check = async |at: Point, radius_m: i32, limit: i32| {
        let mut expected: Vec<(f64, usize)> = (0..DRIVERS)
            .filter(|driver| free(*driver))
            .map(|driver| (place(driver).distance_m(at), driver))
            .filter(|(metres, _)| *metres <= f64::from(radius_m))
            .collect();
        expected.sort_by(|one, two| one.0.total_cmp(&two.0));
        let inside = expected.len();
        expected.truncate(usize::try_from(limit).unwrap());
        let found: Vec<(String, f64)> = sqlx::query_as(
            "SELECT driver_id::text, distance_meters FROM find_nearby_drivers($1, $2, $3, $4)",
        )
        .bind(at.lat())
        .bind(at.lng())
        .bind(radius_m)
        .bind(limit)
        .fetch_all(&mut conn)
        .await
        .unwrap();
        assert_eq!(found.len(), expected.len(), "{at:?} within {radius_m}");
        for ((id, metres), (wanted_m, driver)) in found.iter().zip(&expected) {
            assert!((metres - wanted_m).abs() < 1e-3, "{at:?}: {metres} m, not {wanted_m} m");
            assert_eq!(usize::from_str_radix(&id[24..], 16).unwrap(), *driver, "{at:?}");
        }
        inside
    };
    let mut met = 0;
    for (lat, lng) in CENTRES {
        for (north, east) in [(0.0, 0.0), (0.03, 0.04), (-0.02, -0.05)] {
            let lng = if lng + east > 180.0 { lng + east - 360.0 } else { lng + east };
            let at = Point::new(lat + north, if lng < -180.0 { lng + 360.0 } else { lng }).unwrap();
            for radius_m in [300, 2000, 9000, 60_000] {
                met += check(at, radius_m, 50).await;
            }
            met += check(at, 60_000, 4000).await;
        }
    }
    assert!(met > 10_000, "{met}: the circles must hold drivers to say anything");
}
