//! `kill -9` at every step of a withdrawal: afterwards it is paid out once or not at all, and
//! whoever asks again learns which. The server is the real program.

use serde_json::json;
use sqlx::Connection;
use sqlx::Executor;
use standins::{Bank, Play};

use crate::deposits_killed::{LOOK_EVERY, Stage};
use crate::harness::{Outside, Person, fund, withdraw, withdrawal_that_is};

struct City {
    stage: Stage,
    bank: Bank,
    admin: Person,
    driver: Person,
    server: Outside,
}

impl City {
    /// With the program running; a driver has 300 pounds.
    async fn new() -> (Self, crate::harness::Program) {
        let (stage, bank) = (Stage::new().await, Bank::start().await);
        let program = stage.program_with(&settings(&bank)).await;
        let server = Outside::new(stage.address);
        let admin = Person::rider(&server).await;
        let mut owner = stage.owner().await;
        sqlx::query("UPDATE users SET role = 'admin' WHERE id = $1::uuid")
            .bind(&admin.id)
            .execute(&mut owner)
            .await
            .expect("the owner may");
        let admin = Person::log_in(&server, &admin.phone, "tahrir99").await;
        let driver = Person::driver(&server).await;
        fund(&admin, &driver, 300.0).await;
        (Self { stage, bank, admin, driver, server }, program)
    }

    async fn restart(&self) -> crate::harness::Program {
        let program = self.stage.program_with(&settings(&self.bank)).await;
        self.stage.leases_end().await;
        program
    }

    async fn requested(&self) -> String {
        let asked = withdraw(&self.driver, 100.0, "k").await;
        asked.data()["request"]["id"].as_str().expect("an id").to_owned()
    }

    fn approval(&self, id: &str) -> tokio::task::JoinHandle<Option<u16>> {
        let (admin, body) = (self.admin.clone(), json!({"requestId": id, "action": "approve"}));
        tokio::spawn(async move {
            admin.try_post_once("/payment/withdraw/manage", body, "approve").await
        })
    }

    /// Paid out once, and the books are right.
    async fn is_paid_once(&self, id: &str) {
        let reference = format!("wd-{}", id.replace('-', ""));
        let told = async || {
            let url = self.server.url("");
            assert_eq!(self.bank.tell(&url, &reference).await, 200);
        };
        let mut tick = tokio::time::interval(LOOK_EVERY);
        while self.bank.payouts().is_empty() {
            tick.tick().await;
        }
        self.bank.end(&reference, "paid");
        told().await;
        withdrawal_that_is(&self.driver, id, "confirmed").await;
        told().await;
        let payouts = self.bank.payouts();
        assert_eq!((payouts.len(), payouts[0].asked), (1, 1), "{payouts:?}");
        let wallet = self.driver.get("/wallet").await.data().clone();
        assert_eq!((&wallet["balance"], &wallet["held"]), (&json!(200), &json!(0)));
        self.stage.adds_up(0).await;
    }
}

fn settings(bank: &Bank) -> [(&'static str, String); 3] {
    [
        ("PAYOUT_URL", bank.url().to_owned()),
        ("PAYOUT_API_KEY", Bank::API_KEY.to_owned()),
        ("PAYOUT_WEBHOOK_KEY", Bank::WEBHOOK_KEY.to_owned()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_is_asked_for_the_same_request_goes_on() {
    let (city, program) = City::new().await;
    let mut owner = city.stage.owner().await;
    let mut held = owner.begin().await.expect("a transaction");
    held.execute("SELECT FROM ledger_balance FOR UPDATE").await.expect("the owner may");
    let asking = tokio::spawn({
        let driver = city.driver.clone();
        let body = json!({"amount": 100.0, "method": "bank",
            "accountNumber": "EG38 0019 0005 0000 0000 2631 8000 2"});
        async move { driver.try_post_once("/payment/withdraw/request", body, "k").await }
    });
    city.stage.until_locked("ledger_post").await;
    program.kill();
    assert_eq!(asking.await.expect("it ends"), None, "no answer came");
    held.rollback().await.expect("it ends");
    let program = city.restart().await;
    let none = city.driver.get("/payment/withdrawals").await;
    assert_eq!(none.data()["requests"], json!([]));
    let id = city.requested().await;
    program.kill();
    let program = city.restart().await;
    assert_eq!(city.requested().await, id, "answered and killed: the answer is the same");
    assert_eq!(city.approval(&id).await.expect("it ends"), Some(200));
    city.is_paid_once(&id).await;
    program.stop();
}

/// Kills the program while whoever moves the withdrawal on waits for its row.
async fn killed_at_the_row(approved_before: bool) {
    let (city, program) = City::new().await;
    let id = city.requested().await;
    let mut owner = city.stage.owner().await;
    let approving = if approved_before {
        // Kept from being sent: the bank is not asked before the row says so.
        let mut held = owner.begin().await.expect("a transaction");
        held.execute("LOCK TABLE audit_log IN SHARE MODE").await.expect("the owner may");
        let approving = city.approval(&id);
        city.stage.until_locked("INSERT INTO audit_log").await;
        held.rollback().await.expect("it ends");
        assert_eq!(approving.await.expect("it ends"), Some(200));
        None
    } else {
        let mut held = owner.begin().await.expect("a transaction");
        held.execute("SELECT FROM withdrawals FOR UPDATE").await.expect("the owner may");
        let approving = city.approval(&id);
        city.stage.until_locked("FROM withdrawals WHERE id").await;
        Some((approving, held))
    };
    program.kill();
    if let Some((approving, held)) = approving {
        assert_eq!(approving.await.expect("it ends"), None, "no answer came");
        held.rollback().await.expect("it ends");
        assert_eq!(city.bank.payouts(), []);
    }
    let program = city.restart().await;
    assert_eq!(city.approval(&id).await.expect("it ends"), Some(200));
    city.is_paid_once(&id).await;
    program.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_is_approved_it_is_approved_by_the_next_try() {
    killed_at_the_row(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_once_it_is_approved_it_is_paid_out() {
    killed_at_the_row(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_bank_has_it_and_has_not_answered_it_is_not_sent_again() {
    let (city, program) = City::new().await;
    let id = city.requested().await;
    city.bank.play("/payouts", Play::Silence);
    assert_eq!(city.approval(&id).await.expect("it ends"), Some(200));
    let mut tick = tokio::time::interval(LOOK_EVERY);
    while city.bank.payouts().is_empty() {
        tick.tick().await;
    }
    program.kill();
    let program = city.restart().await;
    withdrawal_that_is(&city.driver, &id, "sent").await;
    city.is_paid_once(&id).await;
    assert_eq!(city.bank.seen("POST /payouts"), 1);
    program.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_its_arrival_is_booked_it_is_booked_once() {
    let (city, program) = City::new().await;
    let id = city.requested().await;
    assert_eq!(city.approval(&id).await.expect("it ends"), Some(200));
    let mut tick = tokio::time::interval(LOOK_EVERY);
    while city.bank.payouts().is_empty() {
        tick.tick().await;
    }
    let reference = format!("wd-{}", id.replace('-', ""));
    city.bank.end(&reference, "paid");
    let mut owner = city.stage.owner().await;
    let mut held = owner.begin().await.expect("a transaction");
    held.execute("SELECT FROM withdrawals FOR UPDATE").await.expect("the owner may");
    assert_eq!(city.bank.tell(&city.server.url(""), &reference).await, 200);
    city.stage.until_locked("withdrawals").await;
    program.kill();
    held.rollback().await.expect("it ends");
    let program = city.restart().await;
    city.is_paid_once(&id).await;
    program.stop();
}
