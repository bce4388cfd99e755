//! `kill -9` at every step of a deposit: afterwards it is paid once or not at all, and whoever asks
//! again learns which.
//!
//! The server is the real program; its database outlives it, so that a lock held from outside can
//! keep it provably inside a step until it is killed there.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor};
use standins::{Credentials, Gateway, Play};
use storage::{Db, testing};

use crate::harness::{
    Folder, Outside, Person, Program, Reply, deposit_that_is, free_address, open,
};

/// Between two looks at what must come.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);

pub struct Stage {
    db: Db,
    gateway: Gateway,
    pub address: SocketAddr,
    dir: Folder,
}

impl Stage {
    pub async fn new() -> Self {
        let db = testing::database().await;
        let gateway = Gateway::start(Credentials::for_tests()).await;
        Self { db, gateway, address: free_address(), dir: Folder::new() }
    }

    async fn program(&self) -> Program {
        self.program_with(&[]).await
    }

    /// With further settings.
    pub async fn program_with(&self, more: &[(&'static str, String)]) -> Program {
        let Credentials { merchant, api_key, secret_key } = Credentials::for_tests();
        let gateway = self.gateway.url().to_owned();
        let (url, direct) = testing::urls(&self.db).await;
        let mut settings = vec![
            ("DATABASE_URL", url),
            ("DATABASE_DIRECT_URL", direct),
            ("JWT_SECRET", "t".repeat(32)),
            ("KASHIER_MERCHANT_ID", merchant),
            ("KASHIER_API_KEY", api_key),
            ("KASHIER_SECRET_KEY", secret_key),
            ("KASHIER_API_URL", gateway.clone()),
            ("KASHIER_FEP_URL", gateway),
            ("KASHIER_PUBLIC_URL", format!("http://{}", self.address)),
            ("KASHIER_APP_URL", "https://app.example.com/paid".to_owned()),
        ];
        settings.extend_from_slice(more);
        Program::start_set(&self.dir.0, self.address, &settings).await
    }

    pub async fn owner(&self) -> PgConnection {
        testing::owner(&self.db).await
    }

    /// What was taken is free again, as it will be by itself after its lease.
    pub async fn leases_end(&self) {
        let mut owner = self.owner().await;
        for sql in [
            "UPDATE idempotency SET lease_until = now() - interval '1 second'",
            "UPDATE jobs SET run_at = now(), rank_at = now()",
        ] {
            owner.execute(sql).await.expect("the owner may");
        }
    }

    /// Waits until some statement that holds `text` waits for a lock.
    pub async fn until_locked(&self, text: &str) {
        let mut owner = self.owner().await;
        let mut tick = tokio::time::interval(LOOK_EVERY);
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                   AND datname = current_database() AND query LIKE $1";
        loop {
            tick.tick().await;
            let waits: i64 = sqlx::query_scalar(sql)
                .bind(format!("%{text}%"))
                .fetch_one(&mut owner)
                .await
                .expect("it can be seen");
            if waits > 0 {
                return;
            }
        }
    }

    pub const fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    async fn journals(&self) -> i64 {
        let sql = "SELECT count(*) FROM ledger_journal WHERE kind = 'deposit'";
        sqlx::query_scalar(sql).fetch_one(&mut self.owner().await).await.expect("a count")
    }

    /// The books are right, and hold this many deposits.
    pub async fn adds_up(&self, deposits: i64) {
        assert_eq!(self.journals().await, deposits);
        let mut tx = self.db.begin(&storage::Who::System).await.expect("a transaction");
        let findings = ledger::check_invariants(&mut tx).await.expect("it is readable");
        assert_eq!(findings, []);
    }
}

fn order_of(reply: &Reply) -> String {
    reply.data()["orderId"].as_str().expect("an order").to_owned()
}

async fn balance(person: &Person) -> Value {
    person.get("/wallet").await.data()["balance"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_page_is_made_the_same_request_goes_on() {
    let stage = Stage::new().await;
    let program = stage.program().await;
    let server = Outside::new(stage.address);
    let rider = Person::rider(&server).await;
    // The gateway has made the session, and its answer never comes.
    stage.gateway.play("/v3/payment/sessions", Play::Silence);
    let asking = tokio::spawn({
        let rider = rider.clone();
        let body = json!({"amount": 40.0});
        async move { rider.try_post("/payment/deposit/init", &body, "k").await }
    });
    let mut tick = tokio::time::interval(LOOK_EVERY);
    while stage.gateway.orders().is_empty() {
        tick.tick().await;
    }
    program.kill();
    assert!(asking.await.expect("it ends").is_err(), "no answer came");
    let program = stage.program().await;
    open(&rider, 40.0, "k").await.refused(409, "REQUEST_IN_PROGRESS");
    stage.leases_end().await;
    let again = open(&rider, 40.0, "k").await;
    let order = order_of(&again);
    assert_eq!(stage.gateway.orders().last(), Some(&order));
    assert_eq!(stage.gateway.orders().len(), 2);
    // Answered and killed: the answer is the same.
    program.kill();
    let program = stage.program().await;
    assert_eq!(open(&rider, 40.0, "k").await.data(), again.data());
    assert_eq!(stage.gateway.tell(&stage.gateway.pay(&order)).await, 200);
    deposit_that_is(&rider, &order, "paid").await;
    assert_eq!(balance(&rider).await, 40);
    stage.adds_up(1).await;
    program.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_a_notice_is_kept_it_is_told_again() {
    let stage = Stage::new().await;
    let program = stage.program().await;
    let server = Outside::new(stage.address);
    let rider = Person::rider(&server).await;
    let order = order_of(&open(&rider, 40.0, "k").await);
    let told = stage.gateway.pay(&order);
    let mut owner = stage.owner().await;
    let mut lock = owner.begin().await.expect("a transaction");
    lock.execute("LOCK TABLE gateway_notices IN SHARE MODE").await.expect("the owner may");
    let telling = tokio::spawn({
        let (gateway, told) = (stage.gateway.clone(), told.clone());
        async move { gateway.tell(&told).await }
    });
    stage.until_locked("INSERT INTO gateway_notices").await;
    program.kill();
    assert_eq!(telling.await.expect("it ends"), 0, "no answer came");
    lock.rollback().await.expect("it ends");
    let program = stage.program().await;
    assert_eq!(stage.gateway.tell(&told).await, 200);
    deposit_that_is(&rider, &order, "paid").await;
    assert_eq!(balance(&rider).await, 40);
    stage.adds_up(1).await;
    program.stop();
}

/// Kills the program while the job that books a deposit waits for `lock`.
async fn killed_while_booking(lock: &'static str, waits_in: &str) {
    let stage = Stage::new().await;
    let program = stage.program().await;
    let server = Outside::new(stage.address);
    let rider = Person::rider(&server).await;
    // His account has a balance, so that there is a row to lock.
    let first = order_of(&open(&rider, 20.0, "first").await);
    assert_eq!(stage.gateway.tell(&stage.gateway.pay(&first)).await, 200);
    deposit_that_is(&rider, &first, "paid").await;
    let order = order_of(&open(&rider, 40.0, "k").await);
    let told = stage.gateway.pay(&order);
    let mut owner = stage.owner().await;
    let mut held = owner.begin().await.expect("a transaction");
    held.execute(lock).await.expect("the owner may");
    // Answered: from here on it must not be lost.
    assert_eq!(stage.gateway.tell(&told).await, 200);
    stage.until_locked(waits_in).await;
    program.kill();
    assert_eq!(stage.journals().await, 1);
    held.rollback().await.expect("it ends");
    let program = stage.program().await;
    stage.leases_end().await;
    deposit_that_is(&rider, &order, "paid").await;
    assert_eq!(stage.gateway.tell(&told).await, 200, "told again for good measure");
    assert_eq!(open(&rider, 40.0, "k").await.data()["orderId"], json!(order));
    assert_eq!(balance(&rider).await, 60);
    stage.adds_up(2).await;
    program.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_answer_to_a_notice_and_its_effect_it_is_paid_once() {
    killed_while_booking("SELECT FROM deposits FOR UPDATE", "FROM deposits WHERE id").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_deposit_and_its_journal_it_is_paid_once() {
    killed_while_booking("SELECT FROM ledger_balance FOR UPDATE", "ledger_post").await;
}
