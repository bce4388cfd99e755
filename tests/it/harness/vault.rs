//! A server that pays drivers out, and the bank that stands in for a real one.

use app::Setup;
use payments::{PayoutProviderConfig, PayoutsConfig};
use secrecy::SecretString;
use serde_json::{Value, json};
use standins::Bank;
use std::ops::Deref;

use super::house::Settings;
use super::looks::until;
use super::person::{Person, Reply};
use super::server::Server;

pub struct Vault {
    server: Server,
    pub bank: Bank,
}

impl Deref for Vault {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

/// How drivers are paid out by `bank`.
fn paid_out_by(bank: &Bank) -> PayoutsConfig {
    PayoutsConfig {
        provider: Some(PayoutProviderConfig {
            url: bank.url().to_owned(),
            api_key: SecretString::from(Bank::API_KEY),
            webhook_key: SecretString::from(Bank::WEBHOOK_KEY),
        }),
        ..PayoutsConfig::default()
    }
}

/// The same for a program of its own.
pub fn bank_settings(bank: &Bank) -> Settings {
    vec![
        ("PAYOUT_URL", bank.url().to_owned()),
        ("PAYOUT_API_KEY", Bank::API_KEY.to_owned()),
        ("PAYOUT_WEBHOOK_KEY", Bank::WEBHOOK_KEY.to_owned()),
    ]
}

impl Vault {
    pub async fn start() -> Self {
        let bank = Bank::start().await;
        let change = |setup: &mut Setup| setup.payouts = paid_out_by(&bank);
        Self { server: Server::with(change).await, bank }
    }

    /// The bank tells the server that a withdrawal changed.
    pub async fn tell(&self, id: &str) {
        assert_eq!(self.bank.tell(&self.url(""), &reference(id)).await, 200);
    }
}

/// What a withdrawal is called at the bank.
fn reference(id: &str) -> String {
    format!("wd-{}", id.replace('-', ""))
}

/// Gives somebody pounds.
pub async fn fund(admin: &Person, person: &Person, pounds: f64) {
    let body = json!({"amount": pounds, "reason": "test money"});
    let path = format!("/admin/wallets/{}/adjust", person.id);
    assert_eq!(admin.post(&path, body).await.status, 201);
}

/// To a bank account.
pub async fn withdraw(driver: &Person, amount: f64, key: &str) -> Reply {
    let body = json!({"amount": amount, "method": "bank",
        "accountNumber": "EG38 0019 0005 0000 0000 2631 8000 2"});
    driver.post_once("/payment/withdraw/request", body, key).await
}

/// The driver's withdrawal once it is `status`.
pub async fn withdrawal_that_is(driver: &Person, id: &str, status: &str) -> Value {
    until(&format!("withdrawal {status}"), async || {
        let page = driver.get("/payment/withdrawals").await;
        let requests = page.data()["requests"].as_array().cloned().unwrap_or_default();
        let found = requests.into_iter().find(|request| request["id"] == id);
        found.filter(|request| request["status"] == status)
    })
    .await
}
