//! What must hold of the tables after anything that happened (DESIGN's invariants T, M and O),
//! asked
//! as the owner of everything, to whom no policy applies.

use sqlx::PgConnection;
use storage::{Db, Who};

use super::server::Server;

/// Each query lists what breaks the rule; none may return a row.
const RULES: &[(&str, &str)] = &[
    (
        "T1 a driver is on at most one active trip",
        "SELECT driver_id::text FROM trips WHERE status IN ('accepted', 'arrived', 'started') \
         AND queued_behind IS NULL GROUP BY driver_id HAVING count(*) > 1",
    ),
    (
        "T2 a rider is on at most one immediate trip",
        "SELECT rider_id::text FROM trips WHERE status IN ('requested', 'accepted', 'arrived', 'started') \
         GROUP BY rider_id HAVING count(*) > 1",
    ),
    (
        "T3 the winner of a trip changes only by an event that says so",
        "SELECT aggregate_id::text FROM (SELECT aggregate_id, seq, event_type, payload->>'driverId' AS driver, \
           lag(payload->>'driverId') OVER (PARTITION BY aggregate_id ORDER BY seq) AS before \
           FROM event_store WHERE aggregate_type = 'trip') e \
         WHERE before IS NOT NULL AND driver IS DISTINCT FROM before \
         AND event_type NOT IN ('TRIP_REASSIGNED', 'TRIP_DRIVER_CANCELLED')",
    ),
    (
        "T5 event numbers have no gap and the row has the last",
        "SELECT t.id::text FROM trips t JOIN (SELECT aggregate_id, count(*) AS n, max(seq) AS last \
           FROM event_store WHERE aggregate_type = 'trip' GROUP BY aggregate_id) e \
         ON e.aggregate_id = t.id \
         WHERE e.n <> e.last OR e.last <> t.version",
    ),
    (
        "T5 the last event says where the trip stands",
        "SELECT t.id::text FROM trips t JOIN event_store e \
         ON e.aggregate_type = 'trip' AND e.aggregate_id = t.id AND e.seq = t.version \
         WHERE e.payload->>'status' <> t.status OR e.payload->>'paymentStatus' <> t.payment_status \
         OR e.payload->>'driverId' IS DISTINCT FROM t.driver_id::text",
    ),
    (
        // Each fact waits in the outbox until what follows from it is stored in its place.
        "O1 a completed trip is followed up: its fact waits, or its saga was asked for",
        "SELECT aggregate_id::text FROM event_store e WHERE event_type = 'TRIP_COMPLETED' \
         AND NOT EXISTS (SELECT FROM outbox o WHERE o.aggregate_id = e.aggregate_id \
           AND o.seq = e.seq) \
         AND NOT EXISTS (SELECT FROM sagas s WHERE s.subject = e.aggregate_id) \
         AND NOT EXISTS (SELECT FROM jobs j WHERE j.key = e.aggregate_id::text)",
    ),
    (
        "O1 nothing is told that did not happen",
        "SELECT o.aggregate_id::text FROM outbox o WHERE NOT EXISTS (SELECT FROM event_store e \
         WHERE e.aggregate_type = o.aggregate_type AND e.aggregate_id = o.aggregate_id \
           AND e.seq = o.seq)",
    ),
    (
        "M7 an ended trip holds nothing",
        "SELECT t.id::text FROM trips t WHERE t.hold > 0 AND t.status IN ('completed', 'cancelled', 'no_drivers')",
    ),
];

/// Every broken rule, and what breaks it.
pub async fn broken_rules(db: &Db, owner: &mut PgConnection) -> Vec<String> {
    let mut broken = Vec::new();
    for (rule, query) in RULES {
        let rows: Vec<String> = sqlx::query_scalar(*query)
            .fetch_all(&mut *owner)
            .await
            .unwrap_or_else(|error| panic!("{rule}: {error}"));
        broken.extend(rows.into_iter().map(|what| format!("{rule}: {what}")));
    }
    let mut tx = db.begin(&Who::System).await.expect("a transaction");
    let findings = ledger::check_invariants(&mut tx).await.expect("the ledger is readable");
    broken.extend(findings.into_iter().map(|f| format!("{}: {}", f.invariant, f.detail)));
    broken
}

impl Server {
    /// Fails the test with every broken rule and what breaks it.
    pub async fn check_invariants(&self) {
        let mut owner = storage::testing::owner(self.db()).await;
        let broken = broken_rules(self.db(), &mut owner).await;
        assert!(broken.is_empty(), "{broken:#?}");
    }
}
