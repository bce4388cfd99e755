//! Operators see to what nobody tries any more; what they decide stands in the audit log.

use serde_json::json;
use sqlx::Executor;

use crate::harness::{Person, Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_read_and_decided_once_by_admins_only() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    let mut owner = storage::testing::owner(server.db()).await;
    owner
        .execute(
            "INSERT INTO dead_letters (queue, kind, version, payload, priority, max_attempts, rule, \
               attempts, errors, recoveries, made_at) \
             SELECT 'cleanup', 'nobody_does_this', 1, '{\"n\": 1}', 3, 3, 'support', 3, \
               '[{\"try\": 3, \"error\": \"away\"}]', 0, now() FROM generate_series(1, 3)",
        )
        .await
        .expect("letters are stored");
    rider.get("/admin/dead-letters").await.refused(403, "FORBIDDEN");
    let page = admin.get("/admin/dead-letters?limit=2&status=open&queue=cleanup").await;
    assert_eq!(page.data()["letters"].as_array().map(Vec::len), Some(2), "{page:?}");
    let next = page.data()["nextCursor"].as_str().expect("there is one more").to_owned();
    let rest = admin.get(&format!("/admin/dead-letters?limit=2&cursor={next}")).await;
    assert_eq!(rest.data()["letters"].as_array().map(Vec::len), Some(1), "{rest:?}");
    let letter = page.data()["letters"][0].clone();
    assert_eq!(
        (&letter["rule"], &letter["errors"][0]["error"]),
        (&json!("support"), &json!("away"))
    );

    let path = format!("/admin/dead-letters/{}/decision", letter["id"].as_str().expect("an id"));
    let retry = json!({"decision": "retry", "reason": "mended"});
    rider.post(&path, retry.clone()).await.refused(403, "FORBIDDEN");
    admin
        .post(&path, json!({"decision": "retry", "reason": " "}))
        .await
        .refused(400, "VALIDATION_FAILED");
    assert_eq!(admin.post(&path, retry.clone()).await.data()["status"], "retried");
    admin.post(&path, retry).await.refused(404, "NOT_FOUND");
    let jobs: i64 = sqlx::query_scalar("SELECT count(*) FROM jobs WHERE kind = 'nobody_does_this'")
        .fetch_one(&mut owner)
        .await
        .expect("jobs can be counted");
    assert_eq!(jobs, 1);
    let log = admin.get("/admin/audit?action=dead_letter.retry").await;
    assert_eq!(log.data()["entries"].as_array().map(Vec::len), Some(1), "{log:?}");
}
