//! How the database goes about it.

use storage::Who;

use super::stand::Stand;
use crate::reconcile::store::{BALANCES, LOOKS};

/// Tables that grow without end.
const LARGE: [&str; 5] = ["ledger_entry", "ledger_journal", "trips", "deposits", "withdrawals"];

#[tokio::test(flavor = "multi_thread")]
async fn looks_at_a_day_use_its_indexes() {
    let stand = Stand::busy().await;
    let mut tx = stand.db.begin(&Who::System).await.expect("a transaction");
    // What can't go by an index still scans then, and says so.
    sqlx::raw_sql("SET LOCAL enable_seqscan = off").execute(tx.conn()).await.expect("set");
    let looks = LOOKS.into_iter().map(|(kind, sql)| (kind.name(), sql));
    for (name, sql) in looks.chain([("balances", BALANCES)]) {
        let (first, second) = match name {
            "balances" => ("0::smallint", "'00000000-0000-0000-0000-000000000000'::uuid"),
            _ => ("now() - interval '1 day'", "now()"),
        };
        let sql = sql.replace("$1", first).replace("$2", second).replace("$3", "500");
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN {sql}"));
        let plan: Vec<String> =
            sqlx::query_scalar(explain).fetch_all(tx.conn()).await.expect("a plan");
        let plan = plan.join("\n");
        for table in LARGE {
            assert!(!plan.contains(&format!("Seq Scan on {table}")), "{name}\n{plan}");
        }
    }
}
