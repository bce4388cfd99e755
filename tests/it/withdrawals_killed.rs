//! `kill -9` of the program and of its PostgreSQL at every step of a withdrawal: afterwards it is
//! paid out once or not at all, and whoever asks again learns which.

use serde_json::{Value, json};
use standins::{Bank, Play};

use crate::harness::{
    Ask, At, BACKEND, Gate, House, Kill, POSTGRES, POSTING, PROGRAM, Person, Victim, bank_settings,
    fund, next_key, until, withdraw, withdrawal_that_is,
};

/// Somebody moves it on.
const ROW: Gate =
    Gate { lock: "BEGIN; SELECT FROM withdrawals FOR UPDATE", statement: "SELECT id, driver_id" };

struct City {
    house: House,
    bank: Bank,
    admin: Person,
}

impl City {
    async fn new() -> Self {
        let bank = Bank::start().await;
        let house = House::beside("", |_| bank_settings(&bank)).await;
        let admin = house.admin().await;
        Self { house, bank, admin }
    }

    /// A driver with 300 pounds.
    async fn driver(&self) -> Person {
        let driver = Person::driver(&self.house.outside()).await;
        fund(&self.admin, &driver, 300.0).await;
        driver
    }

    fn approval(&self, id: &str) -> Ask {
        let body = json!({"requestId": id, "action": "approve"});
        Ask::new(&self.admin, "/payment/withdraw/manage", body)
    }

    async fn tell(&self, id: &str) {
        let url = self.house.outside().url("");
        assert_eq!(self.bank.tell(&url, &reference(id)).await, 200);
    }

    /// The bank was asked for it, once.
    async fn is_asked(&self, id: &str) {
        let payout = until("a payout", async || {
            self.bank.payouts().into_iter().find(|payout| payout.reference == reference(id))
        });
        assert_eq!(payout.await.asked, 1);
    }

    /// Paid out once.
    async fn is_paid_once(&self, driver: &Person, id: &str) {
        withdrawal_that_is(driver, id, "confirmed").await;
        self.tell(id).await;
        self.is_asked(id).await;
        let wallet = driver.get("/wallet").await.data().clone();
        assert_eq!((&wallet["balance"], &wallet["held"]), (&json!(200), &json!(0)));
    }
}

fn reference(id: &str) -> String {
    format!("wd-{}", id.replace('-', ""))
}

fn id_of(asked: &Value) -> String {
    asked["request"]["id"].as_str().expect("an id").to_owned()
}

/// Kills at every step of a withdrawal, each time.
async fn killed_at_every_step(rounds: [(At, Kill); 2]) {
    let mut city = City::new().await;
    // So that a step does not follow while another one is looked at.
    city.house.jobs_wait("payout").await;
    for (at, victim) in rounds {
        let driver = city.driver().await;
        let body = json!({"amount": 100.0, "method": "bank",
            "accountNumber": "EG38 0019 0005 0000 0000 2631 8000 2"});
        let mut ask = Ask::new(&driver, "/payment/withdraw/request", body);
        let asked = city.house.killed_while_asked(&mut ask, POSTING, at, victim).await;
        let id = id_of(asked.data());
        let all = driver.get("/payment/withdrawals").await.data()["requests"].clone();
        assert_eq!(all.as_array().map(Vec::len), Some(1), "{all}");

        let mut approval = city.approval(&id);
        let told = city.house.killed_while_asked(&mut approval, ROW, at, victim).await;
        assert_eq!(told.data()["request"]["status"], "approved");
        assert!(city.bank.payouts().iter().all(|payout| payout.reference != reference(&id)));

        // The amount leaves the house, before the bank is asked.
        let due = async |house: &House| house.jobs_are_due().await;
        city.house.killed_in_a_job(POSTING, at, victim, due).await;
        city.is_asked(&id).await;
        withdrawal_that_is(&driver, &id, "sent").await;

        city.bank.end(&reference(&id), "paid");
        city.tell(&id).await;
        let due = async |house: &House| house.jobs_are_due().await;
        city.house.killed_in_a_job(POSTING, at, victim, due).await;
        withdrawal_that_is(&driver, &id, "confirmed").await;
        city.is_paid_once(&driver, &id).await;
    }
    city.house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_the_program_pays_once() {
    killed_at_every_step([(At::Gate, PROGRAM), (At::Commit, PROGRAM)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_postgresql_is_killed_at_every_step_pays_once() {
    killed_at_every_step([(At::Gate, POSTGRES), (At::Commit, BACKEND)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_once_it_is_approved_it_is_paid_out() {
    let mut city = City::new().await;
    let driver = city.driver().await;
    let id = id_of(withdraw(&driver, 100.0, &next_key()).await.data());
    assert_eq!(city.approval(&id).insist().await.status, 200);
    city.house.kill(Victim::Program).await;
    city.house.jobs_are_due().await;
    city.is_asked(&id).await;
    city.bank.end(&reference(&id), "paid");
    city.tell(&id).await;
    city.is_paid_once(&driver, &id).await;
    city.house.end().await;
}

/// Kills while the bank has a payout and has not answered.
async fn killed_while_the_bank_is_silent(victim: Victim) {
    let mut city = City::new().await;
    let driver = city.driver().await;
    let id = id_of(withdraw(&driver, 100.0, &next_key()).await.data());
    city.bank.play("/payouts", Play::Silence);
    assert_eq!(city.approval(&id).insist().await.status, 200);
    city.is_asked(&id).await;
    city.house.kill(victim).await;
    city.house.jobs_are_due().await;
    withdrawal_that_is(&driver, &id, "sent").await;
    city.bank.end(&reference(&id), "paid");
    city.tell(&id).await;
    city.is_paid_once(&driver, &id).await;
    assert_eq!(city.bank.seen("POST /payouts"), 1);
    city.house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_bank_has_it_and_has_not_answered_it_is_not_sent_again() {
    killed_while_the_bank_is_silent(Victim::Program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_postgresql_is_killed_while_the_bank_has_it_does_not_send_it_again() {
    killed_while_the_bank_is_silent(Victim::Server).await;
}
