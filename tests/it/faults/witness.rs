//! A witness in the database: writes down which job was put down, claimed and ended, in which
//! order, by the transaction that does it; and says afterwards what should not have happened.

use std::collections::BTreeSet;

use sqlx::{Executor, PgConnection};

use super::traffic::Asked;

/// Whoever holds this lock stops every claim after it has taken its rows.
pub const GATE: i64 = 4_711;

const SEAT: &str = "
CREATE SCHEMA witness;
CREATE TABLE witness.jobs (
  at bigint GENERATED ALWAYS AS IDENTITY, what text, id bigint, kind text, key text, lane uuid);
CREATE FUNCTION witness.job() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  v_job public.jobs := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
  INSERT INTO witness.jobs (what, id, kind, key, lane)
  VALUES (TG_ARGV[0], v_job.id, v_job.kind, v_job.key, v_job.lane);
  IF TG_ARGV[0] = 'claimed' THEN
    PERFORM pg_advisory_xact_lock_shared(4711);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER witness_added AFTER INSERT ON jobs
  FOR EACH ROW EXECUTE FUNCTION witness.job('added');
CREATE TRIGGER witness_claimed AFTER UPDATE ON jobs
  FOR EACH ROW WHEN (NEW.attempts > OLD.attempts) EXECUTE FUNCTION witness.job('claimed');
CREATE TRIGGER witness_ended AFTER DELETE ON jobs
  FOR EACH ROW EXECUTE FUNCTION witness.job('ended');
";

/// What must hold when all is quiet. Each query lists what breaks the rule.
const RULES: &[(&str, &str)] = &[
    (
        "O1 O3 a fact became its jobs once, and nothing else became one",
        "WITH wanted AS ( \
           SELECT 'trip_news' AS kind, format('%s:%s', aggregate_id, seq) AS key FROM event_store \
             WHERE aggregate_type = 'trip' AND event_type <> 'TRIP_REQUESTED' \
           UNION ALL SELECT 'trip_aftermath', aggregate_id::text FROM event_store \
             WHERE event_type = 'TRIP_COMPLETED'), \
         made AS (SELECT kind, key, count(*) AS n FROM witness.jobs WHERE what = 'added' \
           AND kind IN ('trip_news', 'trip_aftermath') GROUP BY kind, key) \
         SELECT format('%s %s: %s', kind, key, coalesce(n, 0)) \
         FROM wanted w FULL JOIN made m USING (kind, key) WHERE w.key IS NULL OR m.n IS DISTINCT FROM 1",
    ),
    (
        "J1 a job ended once",
        "SELECT format('%s %s %s: %s', a.id, a.kind, a.key, count(e.id)) FROM witness.jobs a \
         LEFT JOIN witness.jobs e ON e.id = a.id AND e.what = 'ended' \
         WHERE a.what = 'added' AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = a.id) \
         GROUP BY a.id, a.kind, a.key HAVING count(e.id) <> 1",
    ),
    ("J1 nobody gave a job up", "SELECT format('%s %s: %s', kind, key, errors) FROM dead_letters"),
    (
        "O2 the jobs of a trip were put down in the order of its facts",
        "SELECT key FROM (SELECT key, split_part(key, ':', 2)::int AS seq, \
           lag(split_part(key, ':', 2)::int) OVER (PARTITION BY lane ORDER BY id) AS before \
           FROM witness.jobs WHERE what = 'added' AND kind = 'trip_news') j WHERE seq <= before",
    ),
    (
        "O2 a job was taken when all before it in its lane had ended",
        "SELECT c.key FROM witness.jobs c \
         JOIN witness.jobs a ON a.what = 'added' AND a.lane = c.lane AND a.id < c.id \
         LEFT JOIN witness.jobs e ON e.what = 'ended' AND e.id = a.id \
         WHERE c.what = 'claimed' AND (e.at IS NULL OR e.at > c.at)",
    ),
    (
        "T5 facts are numbered without a gap",
        "SELECT format('%s %s', aggregate_type, aggregate_id) FROM event_store \
         GROUP BY aggregate_type, aggregate_id HAVING count(*) <> max(seq) OR min(seq) <> 1",
    ),
    (
        "J1 a trip is in its driver's days once",
        "SELECT format('%s: drove %s for %s, counted %s for %s', \
           driver_id, t.n, t.fares, d.n, d.fares) FROM \
           (SELECT driver_id, count(*) AS n, sum(final_price) AS fares FROM trips \
            WHERE status = 'completed' GROUP BY driver_id) t \
         FULL JOIN (SELECT driver_id, sum(trips) AS n, sum(fares) AS fares FROM driver_days \
            GROUP BY driver_id) d USING (driver_id) \
         WHERE (t.n, t.fares) IS DISTINCT FROM (d.n, d.fares)",
    ),
    (
        "J1 a rider was told once of each step, and has one receipt",
        "SELECT format('%s: %s', t.id, n.told) FROM trips t LEFT JOIN \
           (SELECT about, array_agg(kind ORDER BY kind) AS told FROM notifications \
             GROUP BY about) n ON n.about = t.id \
         WHERE n.told IS DISTINCT FROM '{receipt,trip_accepted,trip_arrived,trip_completed,trip_started}'",
    ),
    (
        "J1 what follows a completion came to its end",
        "SELECT format('%s: %s at %s', subject, status, step) FROM sagas WHERE status <> 'done'",
    ),
];

pub async fn take_seat(owner: &mut PgConnection) {
    owner.execute(SEAT).await.expect("the owner may watch");
}

/// Is every fact told and every job done that traffic makes?
pub async fn is_quiet(owner: &mut PgConnection) -> bool {
    let sql = "SELECT NOT EXISTS (SELECT FROM outbox) AND NOT EXISTS (SELECT FROM jobs WHERE kind IN \
        ('trip_news', 'trip_aftermath', 'notification', 'notification_calm'))";
    sqlx::query_scalar(sql).fetch_one(owner).await.expect("the owner may look")
}

/// Every broken rule, and what breaks it.
pub async fn broken(owner: &mut PgConnection) -> Vec<String> {
    let mut broken = Vec::new();
    for (rule, query) in RULES {
        let rows: Vec<String> = sqlx::query_scalar(*query)
            .fetch_all(&mut *owner)
            .await
            .unwrap_or_else(|error| panic!("{rule}: {error}"));
        broken.extend(rows.into_iter().map(|what| format!("{rule}: {what}")));
    }
    broken
}

/// D1 D2: what was acknowledged is there, and nothing beside it.
pub async fn forgotten(owner: &mut PgConnection, asked: &[Asked]) -> Vec<String> {
    let sql = "SELECT id::text FROM trips";
    let trips: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut *owner).await.expect("trips");
    let stored: BTreeSet<&str> = trips.iter().map(String::as_str).collect();
    let booked: BTreeSet<&str> = asked.iter().filter_map(Asked::booked).collect();
    let bookings = asked.iter().filter(|request| request.booked().is_some()).count();
    let differ = stored.symmetric_difference(&booked);
    let mut broken: Vec<String> = differ.map(|trip| format!("D1: only one has {trip}")).collect();
    broken.extend((bookings != booked.len()).then(|| format!("D2: {bookings} keys, {booked:?}")));
    let sql = "SELECT count(*) FROM trips WHERE status = 'completed' AND payment_status = 'paid'";
    let paid: i64 = sqlx::query_scalar(sql).fetch_one(owner).await.expect("trips");
    let completed = asked.iter().filter(|request| request.completed()).count();
    let differs = usize::try_from(paid) != Ok(completed);
    broken.extend(differs.then(|| format!("D1: {paid} paid, {completed} acknowledged")));
    broken
}

/// How much was seen.
pub async fn figures(owner: &mut PgConnection) -> String {
    let sql = "SELECT format('%s facts, %s jobs, %s of them taken more than once', \
           (SELECT count(*) FROM event_store), \
           (SELECT count(*) FROM witness.jobs WHERE what = 'ended'), \
           (SELECT count(*) FROM (SELECT FROM witness.jobs WHERE what = 'claimed' \
             GROUP BY id HAVING count(*) > 1) again))";
    sqlx::query_scalar(sql).fetch_one(owner).await.expect("the owner may look")
}
