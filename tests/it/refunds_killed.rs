//! `kill -9` of the program and of its PostgreSQL while money is given back: to a card, into a
//! wallet, by the hands of one admin or of two. Afterwards it was given once or not at all, whoever
//! asks again learns which, and the gateway was asked at most once.

use serde_json::json;
use standins::{Gateway, Play};

use crate::acts::balance;
use crate::deposits_killed::Stage;
use crate::harness::{
    Ask, At, BACKEND, Gate, House, POSTGRES, POSTING, PROGRAM, Person, ROUNDS, Victim,
    deposit_that_is, open, until,
};
use crate::refunds::{act_of, refund_that_is};
use crate::settlement_killed::City;
use crate::trip_money::wallet;

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_is_given_back_once() {
    let mut city = City::new().await;
    let pair = city.pair(0.0).await;
    let trip = pair.completed().await;
    for (n, round) in (1..).zip(ROUNDS) {
        let body = json!({"amount": 10, "fault": "driver", "reason": "a detour"});
        let ask = Ask::new(&city.admin, format!("/admin/trips/{trip}/refund"), body);
        let act = act_of(&city.killed(ask, POSTING, round).await);
        assert_eq!(journals(&city.house, "refund", &act).await, 1);
        assert_eq!(wallet(&pair.rider).await, json!([10 * n, 0, 0]));
    }
    city.house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_corrected_once() {
    let mut city = City::new().await;
    let rider = Person::rider(&city.house.outside()).await;
    for (n, round) in (1..).zip(ROUNDS) {
        let body = json!({"amount": 30, "reason": "a present"});
        let ask = Ask::new(&city.admin, format!("/admin/wallets/{}/adjust", rider.id), body);
        let told = city.killed(ask, POSTING, round).await;
        assert_eq!(told.data()["transaction"]["balanceAfter"], 30 * n, "{told:?}");
        assert_eq!(wallet(&rider).await, json!([30 * n, 0, 0]));
    }
    city.house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debt_is_given_up_once_by_two_admins() {
    let asking = Gate {
        lock: "BEGIN; LOCK TABLE admin_acts IN SHARE MODE",
        statement: "INSERT INTO admin_acts",
    };
    let mut city = City::with(vec![("SMARTLINE_ADMIN_ALONE", "5".to_owned())]).await;
    let second = city.house.another_admin().await;
    // He called off a trip that had a driver, and had nothing to pay with.
    let pair = city.pair(0.0).await;
    let path = format!("/trips/{}/cancel", pair.booked().await);
    pair.rider.post(&path, json!({"reason": "changed_mind"})).await.data();
    let rider = pair.rider;
    for (n, round) in (1..).zip(ROUNDS) {
        let body = json!({"amount": 6, "reason": "he asked nicely"});
        let path = format!("/admin/wallets/{}/write-off", rider.id);
        let told = city.killed(Ask::new(&city.admin, path, body), asking, round).await;
        assert_eq!(told.status, 202, "{told:?}");
        let pending = city.admin.get("/admin/approvals?status=pending").await;
        let pending = pending.data()["acts"].as_array().cloned().unwrap_or_default();
        assert_eq!(pending.len(), 1, "asked for once: {pending:?}");
        let act = pending[0]["id"].as_str().expect("an id");
        assert_eq!(told.data()["act"]["id"], act);

        let body = json!({"decision": "approve", "reason": "looked at"});
        let consent = Ask::new(&second, format!("/admin/approvals/{act}/decide"), body);
        let told = city.killed(consent, POSTING, round).await;
        assert_eq!(told.data()["act"]["status"], "approved");
        assert_eq!(wallet(&rider).await, json!([0, 0, 24 - 6 * n]));
    }
    city.house.end().await;
}

/// The journals of a kind about `reference`.
async fn journals(house: &House, kind: &str, reference: &str) -> i64 {
    let mut owner = house.owner().await;
    let sql = "SELECT count(*) FROM ledger_journal WHERE kind = $1 AND reference = $2::uuid";
    let counted = sqlx::query_scalar(sql).bind(kind).bind(reference).fetch_one(&mut owner).await;
    counted.expect("a count")
}

/// A deposit of a hundred that was paid with a card.
struct Card {
    house: House,
    gateway: Gateway,
    admin: Person,
    rider: Person,
    order: String,
}

impl Card {
    async fn new() -> Self {
        let Stage { house, gateway, rider } = Stage::new().await;
        let admin = house.admin().await;
        let opened = open(&rider, 100.0, "k").await;
        let order = opened.data()["orderId"].as_str().expect("an order").to_owned();
        assert_eq!(gateway.tell(&gateway.pay(&order)).await, 200);
        deposit_that_is(&rider, &order, "paid").await;
        Self { house, gateway, admin, rider, order }
    }

    /// Twenty of it go back.
    fn refund(&self) -> Ask {
        let body = json!({"amount": 20, "reason": "paid by mistake"});
        Ask::new(&self.admin, format!("/admin/deposits/{}/refund", self.order), body)
    }

    /// How often the gateway was asked for refunds.
    fn asked(&self) -> usize {
        self.gateway.seen("PUT /v3/orders")
    }

    async fn is(&self, act: &str, status: &str, left: i32) {
        refund_that_is(&self.admin, act, status).await;
        assert_eq!(balance(&self.rider).await, json!(left), "{status}");
    }

    fn settled(&self, act: &str, outcome: &str) -> Ask {
        let body = json!({"outcome": outcome, "reason": "as the gateway's page says"});
        Ask::new(&self.admin, format!("/admin/refunds/{act}/settle"), body)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_to_a_card_is_ordered_once() {
    let mut card = Card::new().await;
    for (n, (at, victim)) in (1..).zip(ROUNDS) {
        let mut ask = card.refund();
        let told = card.house.killed_while_asked(&mut ask, POSTING, at, victim).await;
        let act = act_of(&told);
        card.house.jobs_are_due().await;
        card.is(&act, "done", 100 - 20 * n).await;
        assert_eq!(card.asked(), usize::try_from(n).expect("a count"));
    }
    card.house.end().await;
}

/// The row of a refund that moves on.
const MOVES: Gate = Gate {
    lock: "BEGIN; LOCK TABLE refunds IN SHARE MODE",
    statement: "UPDATE refunds SET status",
};

#[tokio::test(flavor = "multi_thread")]
async fn killed_around_the_one_call_the_gateway_is_asked_at_most_once() {
    let mut card = Card::new().await;
    card.house.jobs_wait("card_refund").await;
    let due = async |house: &House| house.jobs_are_due().await;

    // Before anybody took it on himself to ask: somebody asks afterwards.
    for (n, victim) in (1..).zip([PROGRAM, POSTGRES]) {
        let act = act_of(&card.refund().insist().await);
        card.house.killed_in_a_job(MOVES, At::Gate, victim, due).await;
        card.is(&act, "done", 100 - 20 * n).await;
        assert_eq!(card.asked(), usize::try_from(n).expect("a count"));
    }

    // Somebody took it on himself, and nobody knows whether he asked: nobody asks again. Who can
    // see the gateway's own page says that it has no refund.
    for victim in [PROGRAM, BACKEND] {
        let act = act_of(&card.refund().insist().await);
        card.house.killed_in_a_job(MOVES, At::Commit, victim, due).await;
        jobs_end(&card.house).await;
        card.is(&act, "sent", 40).await;
        assert_eq!(card.asked(), 2, "not at all");
        card.settled(&act, "failed").insist().await.data();
        card.is(&act, "failed", 60).await;
    }

    // The gateway has done it, and its answer never comes.
    for (n, victim) in (1..).zip([Victim::Program, Victim::Server]) {
        card.gateway.play("/v3/orders", Play::Silence);
        let act = act_of(&card.refund().insist().await);
        card.house.jobs_are_due().await;
        until("the call", async || (card.asked() == 2 + n).then_some(())).await;
        card.house.kill(victim).await;
        card.house.jobs_are_due().await;
        jobs_end(&card.house).await;
        let left = 60 - 20 * i32::try_from(n).expect("a count");
        card.is(&act, "sent", left).await;
        assert_eq!(card.asked(), 2 + n);
        let mut told = card.gateway.refund(&card.order);
        told.data["amount"] = json!(20);
        card.gateway.sign(&mut told);
        assert_eq!(card.gateway.tell(&told).await, 200);
        card.is(&act, "done", left).await;
    }
    card.house.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_refused_is_back_once() {
    let mut card = Card::new().await;
    card.house.jobs_wait("card_refund").await;
    let due = async |house: &House| house.jobs_are_due().await;
    for (n, (at, victim)) in (1..).zip(ROUNDS) {
        card.gateway.play("/v3/orders", Play::Refuse(400));
        let act = act_of(&card.refund().insist().await);
        card.house.killed_in_a_job(POSTING, at, victim, due).await;
        jobs_end(&card.house).await;
        match (at, victim(0)) {
            // The refusal is forgotten: nobody knows, until an operator has looked.
            (At::Gate, Victim::Program) => {
                card.is(&act, "sent", 80).await;
                let mut settled = card.settled(&act, "failed");
                let told = card.house.killed_while_asked(&mut settled, POSTING, at, victim).await;
                assert_eq!(told.data()["refund"]["status"], "failed", "{told:?}");
            }
            // The program may have it in mind still, or have lost the job before it could say so:
            // whoever of it and an operator comes first, it is told once.
            (At::Gate, Victim::Server | Victim::Backend(_)) => {
                let told = card.settled(&act, "failed").insist().await;
                assert!([200, 409].contains(&told.status), "{told:?}");
            }
            (At::Commit, _) => {}
        }
        card.is(&act, "failed", 100).await;
        let again = card.settled(&act, "failed").insist().await;
        again.refused(409, "INVALID_TRANSITION");
        assert_eq!(again.body["error"]["details"]["current"], "failed");
        assert_eq!(card.asked(), usize::try_from(n).expect("a count"));
        assert_eq!(journals(&card.house, "deposit_refund_failed", &act).await, 1);
    }
    card.house.end().await;
}

/// Returns when nothing is to be done about refunds any more.
async fn jobs_end(house: &House) {
    let mut owner = house.owner().await;
    until("the end of jobs", async || {
        let left = "SELECT count(*) FROM jobs WHERE kind = 'card_refund'";
        let left: i64 = sqlx::query_scalar(left).fetch_one(&mut owner).await.expect("a count");
        (left == 0).then_some(())
    })
    .await;
}
