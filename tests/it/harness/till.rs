//! A server that people pay into, and the gateway that stands in for the real one.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};

use app::Setup;
use payments::{GatewayMode, KashierConfig, PayPage, PaymentsConfig};
use secrecy::SecretString;
use serde_json::{Value, json};
use standins::{Credentials, Gateway};
use storage::Db;

use super::house::Settings;
use super::looks::until;
use super::person::{Person, Reply};
use super::program::free_address;
use super::server::{Server, flat_city};

pub struct Till {
    server: Server,
    pub gateway: Gateway,
}

impl Deref for Till {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// How a server at `public_url` is paid through `gateway`.
fn paid_through(gateway: &Gateway, public_url: &str) -> PaymentsConfig {
    let credentials = Credentials::for_tests();
    PaymentsConfig {
        gateway: Some(KashierConfig {
            merchant: credentials.merchant,
            api_key: SecretString::from(credentials.api_key),
            secret_key: SecretString::from(credentials.secret_key),
            mode: GatewayMode::Test,
            page: PayPage::Sessions,
            api_url: gateway.url().to_owned(),
            fep_url: gateway.url().to_owned(),
            page_url: gateway.url().to_owned(),
            public_url: public_url.to_owned(),
            app_url: "https://app.example.com/paid".to_owned(),
        }),
        ..PaymentsConfig::default()
    }
}

/// The same for a program of its own.
pub fn gateway_settings(gateway: &Gateway, address: SocketAddr) -> Settings {
    let Credentials { merchant, api_key, secret_key } = Credentials::for_tests();
    vec![
        ("KASHIER_MERCHANT_ID", merchant),
        ("KASHIER_API_KEY", api_key),
        ("KASHIER_SECRET_KEY", secret_key),
        ("KASHIER_API_URL", gateway.url().to_owned()),
        ("KASHIER_FEP_URL", gateway.url().to_owned()),
        ("KASHIER_PUBLIC_URL", format!("http://{address}")),
        ("KASHIER_APP_URL", "https://app.example.com/paid".to_owned()),
    ]
}

impl Till {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// The same, with `change` made to its setup.
    pub async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let gateway = Gateway::start(Credentials::for_tests()).await;
        Self::on(storage::testing::database().await, gateway, free_address(), change).await
    }

    /// Where every trip costs `pounds`.
    pub async fn where_trips_cost(pounds: i64) -> Self {
        let gateway = Gateway::start(Credentials::for_tests()).await;
        Self::on(flat_city(pounds).await, gateway, free_address(), |_| {}).await
    }

    /// The same city after the program was stopped and `between` happened to its database.
    pub async fn restart(self, between: &'static str) -> Self {
        let Self { server, gateway } = self;
        let (db, address) = (storage::testing::another(server.db()).await, server.address);
        server.stop().await;
        let mut owner = storage::testing::owner(&db).await;
        sqlx::query(between).execute(&mut owner).await.expect("the owner may");
        Self::on(db, gateway, address, |_| {}).await
    }

    async fn on(
        db: Db,
        gateway: Gateway,
        address: SocketAddr,
        change: impl FnOnce(&mut Setup),
    ) -> Self {
        let server = Server::on(db, |setup| {
            setup.listen = address;
            setup.payments = paid_through(&gateway, &format!("http://{address}"));
            change(setup);
        });
        Self { server: server.await, gateway }
    }

    /// Begins a deposit; its order.
    pub async fn order(&self, person: &Person, amount: f64) -> String {
        static KEYS: AtomicU32 = AtomicU32::new(0);
        let key = format!("order-{}", KEYS.fetch_add(1, Ordering::Relaxed));
        let opened = open(person, amount, &key).await;
        assert_eq!(opened.status, 201, "{opened:?}");
        opened.data()["orderId"].as_str().expect("an order").to_owned()
    }

    /// Something is done about an authorisation now, as when its time has come.
    pub async fn look_at_card(&self, id: &str) {
        let sql = "UPDATE card_authorisations SET look_at = now() WHERE id = $1::uuid";
        let mut owner = storage::testing::owner(self.db()).await;
        sqlx::query(sql).bind(id).execute(&mut owner).await.expect("the owner may");
        // Where the schedule was quicker it is under way already.
        self.running().flows().payments.look_up_due_cards().await.expect("they are found");
    }

    /// The ledger's postings of a kind.
    pub async fn journals(&self, kind: &str) -> i64 {
        self.count("SELECT count(*) FROM ledger_journal WHERE kind = $1", kind).await
    }

    /// What stands in suspense, piasters.
    pub async fn suspense(&self) -> i64 {
        let sql = "SELECT coalesce(sum(amount), 0)::bigint FROM ledger_entry e \
                   JOIN ledger_account_kind k ON k.id = e.account WHERE k.name = $1";
        self.count(sql, "suspense").await
    }

    pub async fn count(&self, sql: &'static str, argument: &str) -> i64 {
        let mut owner = storage::testing::owner(self.db()).await;
        let counted = sqlx::query_scalar(sql).bind(argument).fetch_one(&mut owner).await;
        counted.expect("it can be counted")
    }

    /// Waits until nothing of `kind` is left to be done.
    pub async fn no_jobs(&self, kind: &str) {
        let waits = "SELECT count(*) FROM jobs WHERE kind = $1";
        until(kind, async || (self.count(waits, kind).await == 0).then_some(())).await;
    }

    /// Waits until the letter is there whose payload says `id` as `name`; what went wrong.
    pub async fn letter(&self, admin: &Person, name: &str, id: &str) -> String {
        until("a letter", async || {
            let page = admin.get("/admin/dead-letters?status=open").await;
            let letters = page.data()["letters"].as_array().cloned().unwrap_or_default();
            let found = letters.iter().find(|letter| letter["payload"][name] == id)?;
            Some(found["errors"][0]["error"].as_str().expect("a text").to_owned())
        })
        .await
    }
}

pub async fn open(person: &Person, amount: f64, key: &str) -> Reply {
    person.post_once("/payment/deposit/init", json!({"amount": amount}), key).await
}

/// The deposit as its owner sees it, once it is `status`.
pub async fn deposit_that_is(person: &Person, order: &str, status: &str) -> Value {
    until(&format!("deposit {status}"), async || {
        let reply = person.get(&format!("/payment/deposits/{order}")).await;
        let deposit = reply.data()["deposit"].clone();
        (deposit["status"] == status).then_some(deposit)
    })
    .await
}

/// A rider lets the gateway reserve `amount` and comes back from its page; authorisation and order.
pub async fn authorise(gateway: &Gateway, rider: &Person, amount: f64) -> (String, String) {
    let (id, order) = open_card(rider, amount).await;
    assert_eq!(gateway.tell(&gateway.authorize(&order)).await, 200);
    card_that_is(rider, &id, "authorised").await;
    (id, order)
}

/// The page only.
pub async fn open_card(rider: &Person, amount: f64) -> (String, String) {
    static KEYS: AtomicU32 = AtomicU32::new(0);
    let key = format!("card-{}", KEYS.fetch_add(1, Ordering::Relaxed));
    let opened = rider.post_once("/payment/card/init", json!({"amount": amount}), &key).await;
    assert_eq!(opened.status, 201, "{opened:?}");
    let text = |name: &str| opened.data()[name].as_str().expect("a text").to_owned();
    (text("authorisationId"), text("orderId"))
}

/// The authorisation as its rider sees it, once it is `status`.
pub async fn card_that_is(rider: &Person, id: &str, status: &str) -> Value {
    until(&format!("card {status}"), async || {
        let reply = rider.get(&format!("/payment/card/{id}")).await;
        let card = reply.data()["authorisation"].clone();
        (card["status"] == status).then_some(card)
    })
    .await
}
