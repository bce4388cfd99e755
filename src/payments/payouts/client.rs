//! Payouts over HTTP, by a small protocol that a bank's adapter speaks:
//!
//! ```text
//! POST {url}/payouts              {reference, amount: "150.50", currency: "EGP", method, account}
//! GET  {url}/payouts/{reference}
//!   both answer {id, reference, amount, status: "pending"|"paid"|"failed", bankReference?, reason?};
//!   the second 404 for a reference that never came
//! ```
//!
//! A reference is paid once: sent again it is answered with the payout that is there. What changed
//! is told by `POST …/payment/payout/callback {reference}`, signed with HMAC-SHA256 over the bytes.

use base::{Clock, Fault, Piasters};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use ops::{Breaker, BreakerPolicy, Breakers, http_client};
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::account::PayoutMethod;
use super::provider::{Asking, PayoutOrder, PayoutProvider, PayoutStanding, PayoutState};
use crate::kashier::{CallFailed, amount_text, call};

/// How the provider is reached.
#[derive(Clone, Debug)]
pub struct PayoutProviderConfig {
    pub url: String,
    /// Shown with every call.
    pub api_key: SecretString,
    /// Signs what the provider tells.
    pub webhook_key: SecretString,
}

/// The line to the provider. Cheap to clone.
#[derive(Clone)]
pub(crate) struct HttpPayouts {
    http: Client,
    line: Breaker,
    config: PayoutProviderConfig,
    clock: Clock,
}

impl HttpPayouts {
    pub(crate) fn new(
        config: PayoutProviderConfig,
        breakers: &Breakers,
        policy: BreakerPolicy,
        clock: Clock,
    ) -> Result<Self, Fault> {
        let line = breakers.add("payouts", policy);
        Ok(Self { http: http_client(|builder| builder)?, line, config, clock })
    }

    async fn post(&self, order: &PayoutOrder<'_>) -> Result<PayoutState, CallFailed> {
        let body = NewPayout {
            reference: order.reference,
            amount: amount_text(order.amount),
            currency: "EGP",
            method: order.account.method(),
            account: order.account.number(),
        };
        let request = self.http.post(self.at("/payouts")).json(&body);
        let request = request.header("idempotency-key", order.reference);
        let answer = call(&self.line, &self.clock, self.shown(request)).await?;
        read(&answer, order.reference).ok_or_else(unreadable)
    }

    async fn get(&self, reference: &str) -> Result<Option<PayoutState>, CallFailed> {
        let request = self.http.get(self.at(&format!("/payouts/{reference}")));
        match call(&self.line, &self.clock, self.shown(request)).await {
            Ok(answer) => read(&answer, reference).ok_or_else(unreadable).map(Some),
            Err(CallFailed::Refused { status: 404 }) => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    fn shown(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        request.bearer_auth(self.config.api_key.expose_secret())
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.config.url.trim_end_matches('/'))
    }
}

impl PayoutProvider for HttpPayouts {
    fn send<'a>(&'a self, order: &'a PayoutOrder<'a>) -> Asking<'a, PayoutState> {
        Box::pin(self.post(order))
    }

    fn look_up<'a>(&'a self, reference: &'a str) -> Asking<'a, Option<PayoutState>> {
        Box::pin(self.get(reference))
    }

    fn is_genuine(&self, body: &[u8], signature: &str) -> bool {
        let key = self.config.webhook_key.expose_secret().as_bytes();
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return false };
        mac.update(body);
        unhex(signature).is_some_and(|tag| mac.verify_slice(&tag).is_ok())
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let plain = pair.len() == 2 && pair.iter().all(|b| b"0123456789abcdef".contains(b));
            let pair = std::str::from_utf8(pair).ok().filter(|_| plain)?;
            u8::from_str_radix(pair, 16).ok()
        })
        .collect()
}

fn unreadable() -> CallFailed {
    CallFailed::Lost { why: "it can't be read".to_owned() }
}

#[derive(Serialize)]
struct NewPayout<'a> {
    reference: &'a str,
    amount: String,
    currency: &'a str,
    method: PayoutMethod,
    account: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    id: String,
    reference: String,
    amount: String,
    status: String,
    bank_reference: Option<String>,
    reason: Option<String>,
}

/// Longest text of the provider's that is kept.
const TEXT_MAX: usize = 200;

/// A payout as it was told, if it is the one of `reference`.
fn read(body: &Bytes, reference: &str) -> Option<PayoutState> {
    let told: Told = serde_json::from_slice(body).ok()?;
    let standing = match told.status.as_str() {
        "pending" => PayoutStanding::Pending,
        "paid" => PayoutStanding::Paid,
        "failed" => PayoutStanding::Failed,
        _ => return None,
    };
    let short = |text: Option<String>| text.map(|text| text.chars().take(TEXT_MAX).collect());
    (told.reference == reference && !told.id.is_empty()).then_some(PayoutState {
        id: short(Some(told.id))?,
        standing,
        amount: Piasters::parse(&told.amount).ok()?,
        bank_reference: short(told.bank_reference),
        reason: short(told.reason),
    })
}
