//! `kill -9` of the program and of its PostgreSQL at every step of a deposit: afterwards it is paid
//! once or not at all, and whoever asks again learns which.

use serde_json::json;
use standins::{Credentials, Gateway, Play};

use crate::harness::{
    Ask, Gate, House, Person, ROUNDS, Reply, Victim, deposit_that_is, gateway_settings, open, until,
};

const INIT: &str = "/payment/deposit/init";

/// A rider, and the gateway that he pays through.
pub struct Stage {
    pub house: House,
    pub gateway: Gateway,
    pub rider: Person,
}

impl Stage {
    pub async fn new() -> Self {
        let gateway = Gateway::start(Credentials::for_tests()).await;
        let house = House::beside("", |address| gateway_settings(&gateway, address)).await;
        let rider = Person::rider(&house.outside()).await;
        Self { house, gateway, rider }
    }

    /// A deposit that is paid, and not told of yet; its order.
    async fn paid(&self) -> (String, standins::Told) {
        let order = order_of(&open(&self.rider, 40.0, &crate::harness::next_key()).await);
        let told = self.gateway.pay(&order);
        (order, told)
    }

    /// So many deposits of 40 are in the wallet, each once.
    async fn holds(&self, deposits: u32) {
        assert_eq!(self.rider.get("/wallet").await.data()["balance"], json!(40 * deposits));
    }
}

fn order_of(reply: &Reply) -> String {
    reply.data()["orderId"].as_str().expect("an order").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_page_is_made_the_same_request_goes_on() {
    let Stage { mut house, gateway, rider } = Stage::new().await;
    // The gateway has made the session, and its answer never comes.
    gateway.play("/v3/payment/sessions", Play::Silence);
    let asking = tokio::spawn({
        let (rider, body) = (rider.clone(), json!({"amount": 40.0}));
        async move { rider.try_post(INIT, &body, "k").await }
    });
    until("a session", async || gateway.orders().pop()).await;
    house.fell(Victim::Program).await;
    assert!(asking.await.expect("it ends").is_err(), "no answer came");
    house.rise().await;
    open(&rider, 40.0, "k").await.refused(409, "REQUEST_IN_PROGRESS");
    house.keys_are_free().await;
    let again = open(&rider, 40.0, "k").await;
    let order = order_of(&again);
    assert_eq!(gateway.orders().last(), Some(&order));
    assert_eq!(gateway.orders().len(), 2);
    // Answered and killed: the answer is the same.
    house.kill(Victim::Program).await;
    assert_eq!(open(&rider, 40.0, "k").await.data(), again.data());
    assert_eq!(gateway.tell(&gateway.pay(&order)).await, 200);
    deposit_that_is(&rider, &order, "paid").await;
    assert_eq!(rider.get("/wallet").await.data()["balance"], 40);
    house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_while_it_is_asked_for_there_is_one() {
    let asked = Gate {
        lock: "BEGIN; LOCK TABLE deposits IN SHARE MODE",
        statement: "INSERT INTO deposits",
    };
    let Stage { mut house, gateway, rider } = Stage::new().await;
    for (n, (at, victim)) in (1..).zip(ROUNDS) {
        let mut ask = Ask::new(&rider, INIT, json!({"amount": 40.0}));
        let told = house.killed_while_asked(&mut ask, asked, at, victim).await;
        assert_eq!(told.status, 201, "{told:?}");
        let made = "SELECT count(*) FROM deposits";
        let made: i64 =
            sqlx::query_scalar(made).fetch_one(&mut house.owner().await).await.expect("a count");
        assert_eq!(made, n, "{at:?}");
        // There is a page for it, and whoever pays there has it.
        let order = order_of(&told);
        assert_eq!(gateway.tell(&gateway.pay(&order)).await, 200);
        deposit_that_is(&rider, &order, "paid").await;
        assert_eq!(rider.get("/wallet").await.data()["balance"], json!(40 * n));
    }
    house.end().await;
}

/// Kills everybody while a notice that is told by `gate` goes its way: it is told again.
async fn killed_on_the_way_of_a_notice(gate: Gate, answered: bool) {
    let mut stage = Stage::new().await;
    for (n, (at, victim)) in (1..).zip(ROUNDS) {
        let (order, told) = stage.paid().await;
        let gateway = stage.gateway.clone();
        let telling = async |_: &House| {
            let (gateway, told) = (gateway.clone(), told.clone());
            let telling = tokio::spawn(async move { gateway.tell(&told).await });
            if answered {
                // From here on it must not be lost.
                assert_eq!(telling.await.expect("it ends"), 200);
            }
        };
        stage.house.killed_in_a_job(gate, at, victim, telling).await;
        if !answered {
            assert_eq!(gateway.tell(&told).await, 200, "told again");
        }
        deposit_that_is(&stage.rider, &order, "paid").await;
        assert_eq!(gateway.tell(&told).await, 200, "told again for good measure");
        stage.holds(n).await;
    }
    stage.house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_before_a_notice_is_answered_it_is_told_again() {
    let kept = "INSERT INTO gateway_notices";
    let lock = "BEGIN; LOCK TABLE gateway_notices IN SHARE MODE";
    killed_on_the_way_of_a_notice(Gate { lock, statement: kept }, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_between_the_answer_to_a_notice_and_its_effect_it_is_paid_once() {
    let lock = "BEGIN; SELECT FROM deposits FOR UPDATE";
    killed_on_the_way_of_a_notice(Gate { lock, statement: "SELECT id, user_id" }, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_between_the_deposit_and_its_journal_it_is_paid_once() {
    killed_on_the_way_of_a_notice(crate::harness::POSTING, true).await;
}
