//! Kashier over HTTP: what is asked, and what became of a question that got no answer.
//!
//! Guarantees:
//! - a call ends in time, and a gateway that fails is left alone for a while;
//! - only questions are asked twice by themselves: a session, a refund or a void never is;
//! - a call that may have had an effect is never reported as one that had none.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use base::{Clock, Fault, Millis, Piasters, UserId};
use bytes::Bytes;
use ops::{Breaker, BreakerPolicy, Breakers, CallError, NoAnswer, exchange, http_client};
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, RequestBuilder, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tracing::error;

use super::replies::{self, Found, Hold, HoldStanding, Reversal, Standing};
use super::{Currency, SigningKey, amount_text};

/// Cards that may be declined before the page gives up.
const FAILED_ATTEMPTS: u8 = 5;
/// A question is asked so often again.
const ASK_AGAIN: usize = 2;

base::words! {
    /// Whose money it is: everybody's or nobody's.
    GatewayMode { Test = "test", Live = "live" }
}

base::words! {
    /// How a rider comes to the page that he pays on.
    PayPage {
        /// The gateway makes a session and says where it is.
        Sessions = "sessions",
        /// The older way: an address that we sign ourselves.
        Hosted = "hosted",
    }
}

/// How Kashier is reached.
#[derive(Clone, Debug)]
pub struct KashierConfig {
    /// `MID-123-456`
    pub merchant: String,
    /// The Payment API key: it signs.
    pub api_key: SecretString,
    /// The Secret key: it opens.
    pub secret_key: SecretString,
    pub mode: GatewayMode,
    pub page: PayPage,
    /// Sessions, orders, transactions: `https://api.kashier.io`.
    pub api_url: String,
    /// Refunds and voids: `https://fep.kashier.io`.
    pub fep_url: String,
    /// The hosted page: `https://payments.kashier.io`.
    pub page_url: String,
    /// This server as the gateway and a rider's browser reach it.
    pub public_url: String,
    /// Where the rider's app takes over after the page.
    pub app_url: String,
}

/// What is to be paid.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    pub reference: &'a str,
    pub amount: Piasters,
    pub currency: Currency,
    pub customer: UserId,
    pub expires: Millis,
    pub intent: Intent,
}

/// What the page does with the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Takes it.
    Charge,
    /// Reserves it, to be captured or let go later. Cards only, and only by a session.
    Hold,
}

/// Where it is paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub session: Option<String>,
    pub url: String,
}

/// Why a call gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallFailed {
    /// It had no effect, and may have one later.
    #[error("the gateway was not reached: {why}")]
    NotDone { why: String, after: Option<Duration> },
    /// It may have had one.
    #[error("the gateway's answer is lost: {why}")]
    Lost { why: String },
    /// It was refused; [`Self::refused_for_good`] says whether that is the end of it.
    #[error("the gateway refused with {status}")]
    Refused { status: u16 },
}

impl CallFailed {
    /// The status of a refusal that had no effect and never will have one. Who doesn't know us,
    /// who thinks that it came too early or too late, and who has something under this name
    /// already says nothing about the money.
    pub(crate) const fn refused_for_good(&self) -> Option<u16> {
        match self {
            Self::Refused { status: 401 | 403 | 408 | 409 | 425 } => None,
            Self::Refused { status } => Some(*status),
            Self::NotDone { .. } | Self::Lost { .. } => None,
        }
    }

    /// May the next try go better?
    pub(crate) const fn passes(&self) -> bool {
        matches!(self, Self::NotDone { after: None, .. } | Self::Lost { .. })
    }
}

/// The line to Kashier. Cheap to clone.
#[derive(Clone)]
pub struct Kashier {
    http: Client,
    api: Breaker,
    fep: Breaker,
    key: SigningKey,
    config: KashierConfig,
    clock: Clock,
    /// What stands for a customer's address: the gateway wants one and gets none of a person.
    host: String,
}

impl Kashier {
    pub fn new(
        config: KashierConfig,
        breakers: &Breakers,
        policy: BreakerPolicy,
        clock: Clock,
    ) -> Result<Self, Fault> {
        let public = Url::parse(&config.public_url)
            .map_err(|error| Fault::internal(format!("KASHIER_PUBLIC_URL: {error}")))?;
        Ok(Self {
            http: http_client(|builder| builder)?,
            api: breakers.add("kashier-api", policy),
            fep: breakers.add("kashier-fep", policy),
            key: SigningKey::new(&config.api_key),
            host: public.host_str().unwrap_or("localhost").to_owned(),
            config,
            clock,
        })
    }

    pub const fn key(&self) -> &SigningKey {
        &self.key
    }

    pub const fn config(&self) -> &KashierConfig {
        &self.config
    }

    /// Where `order` is paid. Asked once: without an answer the order's reference is used up.
    pub async fn open(&self, order: &Order<'_>) -> Result<Page, CallFailed> {
        match self.config.page {
            PayPage::Hosted => Ok(self.hosted(order)),
            PayPage::Sessions => self.session(order).await,
        }
    }

    async fn session(&self, order: &Order<'_>) -> Result<Page, CallFailed> {
        let reference = order.customer.to_string();
        let body = NewSession {
            merchant_id: &self.config.merchant,
            order: order.reference,
            amount: amount_text(order.amount),
            currency: order.currency,
            merchant_redirect: self.own("/api/v1/payment/return"),
            server_webhook: self.own("/api/v1/payment/callback"),
            expire_at: order.expires,
            max_failure_attempts: FAILED_ATTEMPTS,
            kind: "one-time",
            payment_type: "credit",
            display: "ar",
            mode: self.config.mode,
            failure_redirect: false,
            allowed_methods: match order.intent {
                Intent::Charge => "card,wallet",
                Intent::Hold => "card",
            },
            manual_capture: order.intent == Intent::Hold,
            customer: Customer { email: format!("{reference}@{}", self.host), reference },
        };
        let request = self.http.post(self.at(&self.config.api_url, "/v3/payment/sessions"));
        let request = request.header("api-key", self.config.api_key.expose_secret()).json(&body);
        let answer = self.send(&self.api, request).await?;
        replies::session(&answer).ok_or_else(unreadable)
    }

    /// The older page's address; nobody is asked.
    fn hosted(&self, order: &Order<'_>) -> Page {
        let KashierConfig { merchant, mode, .. } = &self.config;
        let Order { reference, amount, currency, .. } = *order;
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("merchantId", merchant)
            .append_pair("orderId", reference)
            .append_pair("amount", &amount_text(amount))
            .append_pair("currency", currency.name())
            .append_pair("hash", &self.key.order_hash(merchant, reference, amount, currency))
            .append_pair("mode", mode.name())
            .append_pair("merchantRedirect", &self.own("/api/v1/payment/return"))
            .append_pair("serverWebhook", &self.own("/api/v1/payment/callback"))
            .append_pair("allowedMethods", "card,wallet")
            .append_pair("failureRedirect", "false")
            .append_pair("redirectMethod", "get")
            .append_pair("display", "ar")
            .finish();
        let url = format!("{}?{query}", self.at(&self.config.page_url, "/"));
        Page { session: None, url }
    }

    /// How a payment stands at the gateway; `None` when it knows none under this reference.
    pub async fn look_up(
        &self,
        reference: &str,
        session: Option<&str>,
    ) -> Result<Option<Found>, CallFailed> {
        let found = match session {
            Some(session) => self.session_found(reference, session).await?,
            None => None,
        };
        if let Some(found) = &found
            && !matches!(found.standing, Standing::Paid | Standing::Returned)
        {
            return Ok(Some(found.clone()));
        }
        let order = self.order_found(reference).await?;
        match (found, order) {
            (Some(found), Some(order)) => Ok(Some(found.with_order(order))),
            // Only the order says what was captured.
            (Some(_), None) => Err(unreadable()),
            (None, order) => Ok(order),
        }
    }

    async fn session_found(
        &self,
        reference: &str,
        session: &str,
    ) -> Result<Option<Found>, CallFailed> {
        let path = format!("/v3/payment/sessions/{session}/payment");
        let answer = self.ask(&path, &[]).await?;
        answer.map(|body| replies::of_session(&body, reference).ok_or_else(unreadable)).transpose()
    }

    async fn order_found(&self, reference: &str) -> Result<Option<Found>, CallFailed> {
        let query = [("search", reference), ("limit", "5")];
        let Some(body) = self.ask("/v3/payment/orders", &query).await? else { return Ok(None) };
        let Some(mut found) = replies::of_orders(&body, reference).ok_or_else(unreadable)? else {
            return Ok(None);
        };
        if matches!(found.standing, Standing::Paid | Standing::Returned | Standing::Unknown) {
            // Only the older route says how much was captured and went back. Without its word
            // nothing is known: what was asked for is no answer.
            let older = self.ask(&format!("/payments/orders/{reference}"), &[]).await?;
            let totals = older.and_then(|body| replies::totals(&body)).ok_or_else(unreadable)?;
            (found.amount, found.returned) = (Some(totals.0), totals.1);
        }
        Ok(Some(found))
    }

    /// How what is reserved on a card stands; `None` when nothing is known under this reference.
    /// Its transactions say more than the word for the whole.
    pub async fn look_up_hold(
        &self,
        reference: &str,
        session: Option<&str>,
    ) -> Result<Option<Hold>, CallFailed> {
        let query = [("search", reference), ("limit", "5")];
        let mut found = match self.ask("/v3/payment/orders", &query).await? {
            Some(body) => replies::hold_of_orders(&body, reference).ok_or_else(unreadable)?,
            None => None,
        };
        if let Some(session) = session {
            let path = format!("/v3/payment/sessions/{session}/payment");
            if let Some(body) = self.ask(&path, &[]).await? {
                let page = replies::hold_of_session(&body, reference).ok_or_else(unreadable)?;
                found = Some(match found {
                    Some(order) => order.with_session(page),
                    None => page,
                });
            }
        }
        if let Some(Hold { standing: HoldStanding::Taken { amount, .. }, .. }) = &mut found
            && amount.is_none()
        {
            let older = self.ask(&format!("/payments/orders/{reference}"), &[]).await?;
            *amount = older.and_then(|body| replies::totals(&body)).map(|totals| totals.0);
        }
        Ok(found)
    }

    /// Takes what is reserved, or a part of it. Asked once.
    pub async fn capture(
        &self,
        gateway_order: &str,
        amount: Piasters,
    ) -> Result<Reversal, CallFailed> {
        let transaction = Part { amount, target_transaction_id: None };
        let body = Operation { api_operation: "CAPTURE", reason: None, transaction };
        self.reverse(gateway_order, &body).await
    }

    /// Gives money of an order back. Asked once; when the answer is lost, only looking tells.
    pub async fn refund(
        &self,
        gateway_order: &str,
        amount: Piasters,
        reason: &str,
    ) -> Result<Reversal, CallFailed> {
        let transaction = Part { amount, target_transaction_id: None };
        let body = Operation { api_operation: "REFUND", reason: Some(reason), transaction };
        self.reverse(gateway_order, &body).await
    }

    /// Takes a payment back before it is settled, or lets go what is reserved. Asked once.
    pub async fn void(
        &self,
        gateway_order: &str,
        transaction: &str,
        amount: Piasters,
    ) -> Result<Reversal, CallFailed> {
        let transaction = Part { amount, target_transaction_id: Some(transaction) };
        let body = Operation { api_operation: "VOID", reason: None, transaction };
        self.reverse(gateway_order, &body).await
    }

    async fn reverse(&self, order: &str, body: &Operation<'_>) -> Result<Reversal, CallFailed> {
        let url = self.at(&self.config.fep_url, &format!("/v3/orders/{order}"));
        let answer = self.send(&self.fep, self.http.put(url).json(body)).await?;
        replies::reversal(&answer).ok_or_else(unreadable)
    }

    /// A question, asked again where it got no answer; `None` for what is not there.
    pub(super) async fn ask(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<Bytes>, CallFailed> {
        let url = self.at(&self.config.api_url, path);
        let ask = || self.send(&self.api, self.http.get(&url).query(query));
        let patient = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_times(ASK_AGAIN)
            .with_jitter();
        match ask.retry(patient).when(CallFailed::passes).await {
            Ok(body) => Ok(Some(body)),
            Err(CallFailed::Refused { status: 404 }) => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    async fn send(&self, line: &Breaker, request: RequestBuilder) -> Result<Bytes, CallFailed> {
        let request = request.header(AUTHORIZATION, self.config.secret_key.expose_secret());
        call(line, &self.clock, request).await
    }

    fn at(&self, host: &str, path: &str) -> String {
        format!("{}{path}", host.trim_end_matches('/'))
    }

    fn own(&self, path: &str) -> String {
        self.at(&self.config.public_url, path)
    }
}

/// Sends `request` to a third party that moves money, once; what it answers when it says yes.
pub(crate) async fn call(
    line: &Breaker,
    clock: &Clock,
    request: RequestBuilder,
) -> Result<Bytes, CallFailed> {
    let answer = match line.call(exchange(request), |_| true).await {
        Ok(answer) => answer,
        Err(CallError::Open { wait }) => {
            let why = "it failed too often lately".to_owned();
            return Err(CallFailed::NotDone { why, after: Some(wait) });
        }
        Err(CallError::Failed(NoAnswer::NotSent)) => {
            return Err(CallFailed::NotDone { why: "no connection".to_owned(), after: None });
        }
        Err(CallError::Failed(NoAnswer::Bad(answer)))
            if answer.status == StatusCode::TOO_MANY_REQUESTS =>
        {
            let after = answer.retry_after(clock.now());
            return Err(CallFailed::NotDone { why: "429".to_owned(), after });
        }
        Err(CallError::Failed(NoAnswer::Bad(answer))) => {
            return Err(CallFailed::Lost { why: answer.status.as_u16().to_string() });
        }
        Err(CallError::TimedOut | CallError::Failed(NoAnswer::Lost)) => {
            return Err(CallFailed::Lost { why: "no answer".to_owned() });
        }
    };
    let status = answer.status;
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        // A wrong key, or our address is not on its list.
        error!(status = status.as_u16(), "a third party that moves money does not let us in");
    }
    match status.is_success() {
        true => Ok(answer.body),
        false => Err(CallFailed::Refused { status: status.as_u16() }),
    }
}

fn unreadable() -> CallFailed {
    CallFailed::Lost { why: "it can't be read".to_owned() }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewSession<'a> {
    merchant_id: &'a str,
    order: &'a str,
    amount: String,
    currency: Currency,
    merchant_redirect: String,
    server_webhook: String,
    expire_at: Millis,
    max_failure_attempts: u8,
    #[serde(rename = "type")]
    kind: &'a str,
    payment_type: &'a str,
    display: &'a str,
    mode: GatewayMode,
    failure_redirect: bool,
    allowed_methods: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    manual_capture: bool,
    customer: Customer,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[derive(Serialize)]
struct Customer {
    email: String,
    reference: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Operation<'a> {
    api_operation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    transaction: Part<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    amount: Piasters,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_transaction_id: Option<&'a str>,
}
