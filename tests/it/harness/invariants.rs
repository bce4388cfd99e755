//! What must hold of the tables after anything that happened (DESIGN's invariants T, M and O, and
//! the facts' document), asked as the owner of everything, to whom no policy applies.

use std::collections::HashMap;

use app::Document;
use serde_json::{Value, json};
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
         AND scheduled_at IS NULL GROUP BY rider_id HAVING count(*) > 1",
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
        "T5 a trip costs what its last event about a price says: a picked bid, or the quote again",
        "SELECT t.id::text FROM trips t JOIN LATERAL (SELECT (e.payload->>'price')::numeric * 100 \
             AS price FROM event_store e \
           WHERE e.aggregate_type = 'trip' AND e.aggregate_id = t.id AND e.payload ? 'price' \
           ORDER BY e.seq DESC LIMIT 1) said ON true \
         WHERE said.price <> t.price OR t.final_price <> t.price",
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
        "M8 what was captured for deposits is what the paid ones say",
        "SELECT coalesce(d.id, j.reference)::text \
         FROM (SELECT id, amount FROM deposits WHERE status = 'paid' \
           UNION ALL SELECT id, captured FROM card_authorisations WHERE status = 'charged') d \
         FULL JOIN (SELECT j.reference, -e.amount AS amount FROM ledger_journal j \
           JOIN ledger_entry e ON e.journal_id = j.id \
           JOIN ledger_account_kind k ON k.id = e.account AND k.name = 'gateway_receivable' \
           WHERE j.kind = 'deposit') j ON j.reference = d.id \
         WHERE d.amount IS DISTINCT FROM j.amount",
    ),
    (
        "M7 what a driver has set aside is his withdrawals that were not sent",
        "SELECT coalesce(w.driver_id, b.owner)::text FROM (SELECT driver_id, sum(amount) AS held \
           FROM withdrawals WHERE status IN ('requested', 'approved') GROUP BY driver_id) w \
         FULL JOIN (SELECT owner, balance FROM ledger_balance WHERE account = 11) b \
           ON b.owner = w.driver_id WHERE coalesce(w.held, 0) <> coalesce(b.balance, 0)",
    ),
    (
        "M7 what is on its way to drivers is what was sent and has not ended",
        "SELECT (SELECT coalesce(sum(amount), 0) FROM withdrawals WHERE status = 'sent')::text \
         WHERE (SELECT coalesce(sum(amount), 0) FROM withdrawals WHERE status = 'sent') \
           <> (SELECT coalesce(sum(amount), 0) FROM ledger_entry WHERE account = 26)",
    ),
    (
        "an act that was done stands in the log",
        "SELECT a.id::text FROM admin_acts a WHERE NOT EXISTS (SELECT FROM audit_log l \
           WHERE l.details->>'act' = a.id::text OR l.object_id = a.id::text)",
    ),
    (
        "K1 what a card paid is what its trip has of the gateway",
        "SELECT a.id::text FROM card_authorisations a LEFT JOIN (SELECT j.reference, \
           -e.amount AS amount FROM ledger_journal j JOIN ledger_entry e ON e.journal_id = j.id \
           AND e.account = 23 WHERE j.kind IN ('settle', 'cancel_fee')) s \
           ON s.reference = a.trip_id \
         WHERE s.amount IS DISTINCT FROM CASE a.status WHEN 'captured' THEN a.captured END",
    ),
    (
        "K2 a trip that is paid by card has its own authorisation",
        "SELECT t.id::text FROM trips t LEFT JOIN card_authorisations a ON a.trip_id = t.id \
         WHERE t.payment_method = 'card' AND (a.id IS NULL OR a.rider_id <> t.rider_id \
           OR (t.status = 'completed' AND t.payment_status = 'pending' \
               AND a.status NOT IN ('bound', 'capturing')))",
    ),
    (
        "M7 an ended trip holds nothing",
        "SELECT t.id::text FROM trips t WHERE t.hold > 0 AND t.status IN ('completed', 'cancelled', 'no_drivers')",
    ),
    (
        "P1 a credit's and a code's counters are what trips have of them",
        "SELECT c.id::text FROM promo_credits c LEFT JOIN (SELECT credit_id, sum(amount) AS amount, \
           count(*) AS trips FROM promo_uses WHERE state <> 'freed' GROUP BY credit_id) u \
           ON u.credit_id = c.id \
         WHERE (c.used, c.trips) <> (coalesce(u.amount, 0), coalesce(u.trips, 0)) \
         UNION ALL SELECT k.id::text FROM promo_codes k LEFT JOIN (SELECT c.code_id, \
           sum(u.amount) AS given, count(*) AS uses FROM promo_uses u \
           JOIN promo_credits c ON c.id = u.credit_id WHERE u.state <> 'freed' \
           GROUP BY c.code_id) u ON u.code_id = k.id \
         WHERE (k.given, k.uses) <> (coalesce(u.given, 0), coalesce(u.uses, 0))",
    ),
    (
        "P2 a promo is spent by the settlement that books its expense",
        "SELECT coalesce(u.trip_id, s.reference)::text FROM (SELECT * FROM promo_uses \
           WHERE state = 'spent') u \
         FULL JOIN (SELECT j.reference, -e.amount AS amount FROM ledger_journal j \
           JOIN ledger_entry e ON e.journal_id = j.id AND e.account = 28 \
           WHERE j.kind = 'settle') s ON s.reference = u.trip_id \
         WHERE u.amount IS DISTINCT FROM s.amount",
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
    broken.extend(unlike_their_schema(owner).await);
    broken
}

impl Server {
    /// The legs of the journal of this kind about `reference`, in account order, piasters; empty
    /// when there is none.
    pub async fn postings(&self, kind: &str, reference: &str) -> String {
        let sql = "SELECT coalesce(string_agg(format('%s %s%s', k.name, \
                     CASE WHEN e.amount > 0 THEN '+' ELSE '' END, e.amount), ', ' \
                     ORDER BY e.account), '') \
                   FROM ledger_journal j JOIN ledger_entry e ON e.journal_id = j.id \
                   JOIN ledger_account_kind k ON k.id = e.account \
                   WHERE j.kind = $1 AND j.reference = $2::uuid";
        let mut owner = storage::testing::owner(self.db()).await;
        let legs = sqlx::query_scalar(sql).bind(kind).bind(reference).fetch_one(&mut owner).await;
        legs.expect("postings are readable")
    }

    /// Fails the test with every broken rule and what breaks it.
    pub async fn check_invariants(&self) {
        let mut owner = storage::testing::owner(self.db()).await;
        let broken = broken_rules(self.db(), &mut owner).await;
        assert!(broken.is_empty(), "{broken:#?}");
    }
}

/// C1: every stored fact is what `schema/facts.json` says of it.
async fn unlike_their_schema(owner: &mut sqlx::PgConnection) -> Vec<String> {
    let document = Document::Facts.text().expect("it prints");
    let document: Value = serde_json::from_str(&document).expect("JSON");
    let stored: Vec<(String, String, i16, sqlx::types::Json<Value>)> =
        sqlx::query_as("SELECT event_type, aggregate_type, version, payload FROM event_store")
            .fetch_all(owner)
            .await
            .expect("facts are read");
    let mut schemas = HashMap::new();
    let mut broken = Vec::new();
    for (kind, aggregate, version, sqlx::types::Json(payload)) in stored {
        let about = &document["facts"][&kind];
        if (&about["aggregate"], &about["version"]) != (&json!(aggregate), &json!(version)) {
            broken
                .push(format!("C1: {kind} of {aggregate}, version {version}, is not in the list"));
            continue;
        }
        let schema = schemas.entry(kind.clone()).or_insert_with(|| {
            let schema =
                json!({"$ref": about["payload"]["$ref"], "components": document["components"]});
            jsonschema::validator_for(&schema).expect("a schema")
        });
        broken.extend(schema.iter_errors(&payload).map(|fault| format!("C1: {kind}: {fault}")));
    }
    broken
}
