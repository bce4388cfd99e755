//! The books over real connections: what people ride and pay is what statements, reports and
//! reconciliation say.

use std::process::Command;

use books::AskedBy;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor};

use crate::harness::{
    CAIRO, Folder, Person, Program, Server, Till, create_admin, deposit_that_is, online_driver,
    program,
};
use crate::races::started_trip;

fn today(server: &Server) -> String {
    server.running().flows().books.today().to_string()
}

/// A trip in cash and one by wallet, both driven to their ends; who rode and who drove.
async fn ridden(server: &Server, admin: &Person) -> (Person, Person) {
    let driver = online_driver(server, admin, CAIRO).await;
    let rider = Person::rider(server).await;
    let gift = json!({"amount": 300, "reason": "=test money"});
    assert_eq!(admin.post(&format!("/admin/wallets/{}/adjust", rider.id), gift).await.status, 201);
    let trip = started_trip(server, &rider, &driver).await;
    let done = json!({"status": "completed"});
    driver.post(&format!("/trips/{trip}/status"), done).await.data();
    (rider, driver)
}

async fn tamper(server: &Server, sql: &str) {
    let mut owner = storage::testing::owner(server.db()).await;
    let sql = format!("SET session_replication_role = replica; {sql}");
    owner.execute(AssertSqlSafe(sql)).await.expect("the owner may do that");
}

/// Looks at today as the nightly job looks at its day; what is open then.
async fn looked(server: &Server, admin: &Person) -> Vec<Value> {
    let flows = server.running().flows();
    let run = flows.look_at_day(flows.books.today(), AskedBy::Terminal).await;
    assert_eq!(run.expect("it was looked at").failure, None);
    let page = admin.get("/admin/reconciliation/findings?status=open").await;
    page.data()["findings"].as_array().expect("findings").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_traffic_fits_and_a_planted_fault_is_found_and_resolved() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let (rider, _) = ridden(&server, &admin).await;
    assert_eq!(looked(&server, &admin).await, Vec::<Value>::new());

    let sql = format!(
        "UPDATE ledger_balance SET balance = balance + 1 WHERE account = 1 AND owner = '{}'",
        rider.id
    );
    tamper(&server, &sql).await;
    let found = looked(&server, &admin).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["kind"], "altered_balance");
    assert_eq!(found[0]["subject"], format!("rider_wallet:{}", rider.id));
    let runs = admin.get("/admin/reconciliation?limit=1").await;
    assert_eq!(runs.data()["runs"][0]["day"], today(&server));
    assert_eq!(runs.data()["runs"][0]["opened"], 1);
    assert_eq!(runs.data()["open"], json!([{"kind": "altered_balance", "count": 1}]));
    assert!(runs.data()["nextCursor"].is_string(), "there was a look before: {runs:?}");

    let id = found[0]["id"].as_str().expect("an id");
    let path = format!("/admin/reconciliation/findings/{id}/resolve");
    let body = json!({"resolution": "fixed", "reason": "the operator's finger"});
    rider.post(&path, body.clone()).await.refused(403, "FORBIDDEN");
    let silent = json!({"resolution": "fixed", "reason": " "});
    admin.post(&path, silent).await.refused(400, "VALIDATION_FAILED");
    let resolved = admin.post(&path, body.clone()).await;
    assert_eq!(resolved.data()["resolvedBy"], admin.id);
    admin.post(&path, body).await.refused(404, "NOT_FOUND");
    let log = admin.get("/admin/audit?action=finding.resolve").await;
    assert_eq!(log.data()["entries"][0]["details"]["reason"], "the operator's finger");
    // It was not fixed.
    assert_eq!(looked(&server, &admin).await.len(), 1);
}

/// A gift, a top-up, a trip, a withdrawal that is open; then the four faults of the plan one after
/// the other, each found beside those before.
#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_list_is_compared_with_what_was_paid_here() {
    let till = Till::start().await;
    let admin = Person::admin(&till).await;
    let (rider, driver) = ridden(&till, &admin).await;
    let order = till.order(&rider, 150.0).await;
    let told = till.gateway.pay(&order);
    assert_eq!(till.gateway.tell(&told).await, 200);
    deposit_that_is(&rider, &order, "paid").await;
    // Begun, and never paid.
    till.order(&rider, 60.0).await;
    earned_and_withdrawn(&admin, &driver).await;
    assert_eq!(looked(&till, &admin).await, Vec::<Value>::new());

    let mut expected = Vec::new();
    let now = jiff::Timestamp::now().to_string();
    till.gateway.list(json!({"transactionId": "TX-FOREIGN", "status": "SUCCESS",
        "merchantOrderId": "somebody-elses", "operation": "pay", "amount": 99, "currency": "EGP",
        "creationDate": now}));
    expected.push("foreign_capture capture:TX-FOREIGN".to_owned());
    assert_eq!(kinds(&looked(&till, &admin).await), expected);

    // Paid here by a hand that forgot the ledger; the gateway never heard of it.
    let lost = "0190b8a0-0000-7000-8000-00000000dead";
    let sql = format!(
        "INSERT INTO deposits (id, user_id, role, amount, currency, status, transaction, \
           expires_at, created_at, paid_at) \
         VALUES ('{lost}', '{}', 'rider', 5000, 'EGP', 'paid', 'TX-LOST', now(), now(), now())",
        rider.id
    );
    tamper(&till, &sql).await;
    expected.push(format!("missing_capture deposit:{lost}"));
    expected.push(format!("missing_deposit deposit:{lost}"));
    assert_eq!(kinds(&looked(&till, &admin).await), expected);

    let unpaid = "0190b8a0-0000-7000-8000-00000000beef";
    let sql = format!(
        "INSERT INTO trips SELECT (jsonb_populate_record(t, jsonb_build_object('id', '{unpaid}'))).* \
         FROM trips t WHERE status = 'completed' LIMIT 1"
    );
    tamper(&till, &sql).await;
    expected.push(format!("missing_settlement trip:{unpaid}"));
    assert_eq!(kinds(&looked(&till, &admin).await), expected);

    let sql = format!(
        "UPDATE ledger_balance SET balance = balance - 1 WHERE account = 10 AND owner = '{}'",
        driver.id
    );
    tamper(&till, &sql).await;
    expected.insert(0, format!("altered_balance driver:{}", driver.id));
    assert_eq!(kinds(&looked(&till, &admin).await), expected);
}

/// Kinds and subjects, sorted.
fn kinds(findings: &[Value]) -> Vec<String> {
    let word = |finding: &Value, field: &str| finding[field].as_str().expect("a text").to_owned();
    let named = |finding| format!("{} {}", word(finding, "kind"), word(finding, "subject"));
    let mut kinds: Vec<String> = findings.iter().map(named).collect();
    kinds.sort();
    kinds
}

/// The driver asks for a part of what he was given.
async fn earned_and_withdrawn(admin: &Person, driver: &Person) {
    let gift = json!({"amount": 200, "reason": "a prize"});
    let path = format!("/admin/wallets/{}/adjust", driver.id);
    assert_eq!(admin.post(&path, gift).await.status, 201);
    let body = json!({"amount": 50, "method": "wallet", "accountNumber": "01012345678"});
    let asked = driver.post_once("/payment/withdraw/request", body, "out").await;
    assert_eq!(asked.status, 201, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_the_wallets_own_and_a_table_holds_no_formula() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let (rider, driver) = ridden(&server, &admin).await;
    let days = format!("from={0}&to={0}", today(&server));
    for person in [&rider, &driver] {
        let told = person.get(&format!("/wallet/statement?{days}")).await;
        let wallet = person.get("/wallet").await;
        assert_eq!(told.data()["closing"]["balance"], wallet.data()["balance"]);
        assert_eq!(told.data()["opening"]["balance"], 0);
        let by_admin = format!("/admin/wallets/{}/statement?{days}", person.id);
        assert_eq!(admin.get(&by_admin).await.data(), told.data());
    }
    let told = driver.get(&format!("/wallet/statement?{days}")).await;
    let (totals, line) = (&told.data()["driver"], &told.data()["lines"][0]);
    assert_eq!((&totals["trips"], &line["kind"]), (&json!(1), &json!("settle")), "{told:?}");
    assert_eq!(totals["cashCollected"], totals["fares"]);
    let log = admin.get("/admin/audit?action=wallet.statement").await;
    assert_eq!(log.data()["entries"].as_array().map(Vec::len), Some(2));

    let url = server.url(&format!("/api/v1/wallet/statement?{days}&format=csv"));
    let table = server.http.get(url).bearer_auth(&rider.token).send().await.expect("an answer");
    assert!(table.headers()["content-type"].to_str().expect("text").starts_with("text/csv"));
    let name = table.headers()["content-disposition"].to_str().expect("text").to_owned();
    assert!(name.starts_with("attachment; filename=\"statement-"), "{name}");
    let text = table.text().await.expect("text");
    assert!(text.contains(",\"'=test money\","), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_tells_of_the_day_and_asks_for_sane_days() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    ridden(&server, &admin).await;
    let today = today(&server);
    let days = format!("/admin/reports/daily?from={today}&to={today}");
    let report = admin.get(&days).await;
    let row = &report.data()["trips"][0];
    assert_eq!((&row["completed"], &row["method"]), (&json!(1), &json!("cash")), "{report:?}");
    assert!(row["fares"].as_f64() > Some(0.0) && row["commission"].as_f64() > Some(0.0));
    let company = &report.data()["company"][0];
    assert_eq!((&company["adjustments"], &company["ridersWallets"]), (&json!(300), &json!(300)));
    let of_cash = admin.get(&format!("{days}&method=wallet&tier=economy&city=1")).await;
    assert_eq!(of_cash.data()["trips"], json!([]));

    for wrong in [
        "from=2026-01-02&to=2026-01-01",
        "from=2025-01-01&to=2026-01-02",
        "from=2026-02-30&to=2026-03-01",
        "from=2026-01-01",
        "from=2026-01-01&to=2026-01-01&format=xml",
        "from=2026-01-01&to=2026-01-01&tier=golden",
    ] {
        let path = format!("/admin/reports/daily?{wrong}");
        admin.get(&path).await.refused(400, "VALIDATION_FAILED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_looks_at_a_day_too() {
    let directory = Folder::new();
    create_admin(&directory.0);
    Program::start(&directory.0).await.stop();
    let reconcile = |day: &str| {
        let mut command = Command::new(program());
        command.args(["admin", "--data-dir"]).arg(&directory.0);
        command.args(["reconcile", "--day", day]).output().expect("the program starts")
    };
    let clean = reconcile("2026-04-24");
    let said = String::from_utf8_lossy(&clean.stdout).into_owned();
    assert!(clean.status.success() && said.contains("2026-04-24: 0 faults"), "{clean:?}");
    assert!(!reconcile("2026-02-30").status.success());
}
