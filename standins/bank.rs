//! Who pays withdrawals out: takes each reference once, ends payouts at a word, tells as often as a
//! test wants.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::plays::{Play, Plays};
use crate::signing::sign;

/// A payout as the bank has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payout {
    pub id: String,
    pub reference: String,
    /// Pounds, as they were sent.
    pub amount: String,
    pub method: String,
    pub account: String,
    /// `pending`, `paid` or `failed`.
    pub status: &'static str,
    /// How often it was asked for.
    pub asked: u32,
}

#[derive(Default)]
struct Books {
    payouts: Vec<Payout>,
    /// What becomes of new ones; `None`: they are on their way.
    ends: Option<&'static str>,
    /// What was not as documented.
    wrong: Vec<String>,
    /// Method and path of each request.
    seen: Vec<String>,
}

struct Inner {
    url: String,
    api_key: String,
    webhook_key: String,
    books: Mutex<Books>,
    plays: Plays,
    http: reqwest::Client,
}

/// Cheap to clone; serves until its runtime ends.
#[derive(Clone)]
pub struct Bank(Arc<Inner>);

impl Bank {
    /// Nobody's keys.
    pub const API_KEY: &str = "smartline-test-payout-key";
    pub const WEBHOOK_KEY: &str = "smartline-test-payout-webhook-key";

    /// At a free port of this machine.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let bank = Self::new(url, Self::API_KEY, Self::WEBHOOK_KEY);
        let router = bank.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        bank
    }

    /// One that whoever starts it serves at `url`.
    pub fn new(url: String, api_key: &str, webhook_key: &str) -> Self {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let (api_key, webhook_key) = (api_key.to_owned(), webhook_key.to_owned());
        let (books, plays, http) = (Mutex::default(), Plays::default(), reqwest::Client::new());
        Self(Arc::new(Inner { url, api_key, webhook_key, books, plays, http }))
    }

    pub fn url(&self) -> &str {
        &self.0.url
    }

    pub fn router(&self) -> Router {
        Router::new()
            .route("/payouts", post(open))
            .route("/payouts/{reference}", get(look))
            .layer(from_fn_with_state(self.clone(), play))
            .with_state(self.clone())
    }

    /// The next request whose path holds `path` is answered like this.
    pub fn play(&self, path: &str, play: Play) {
        self.0.plays.add(path, play);
    }

    /// New payouts end like this at once: `paid` or `failed`.
    pub fn ends(&self, status: &'static str) {
        self.0.books.lock().ends = Some(status);
    }

    /// Requests whose method and path hold `part`. Fails the test when one was not as documented.
    pub fn seen(&self, part: &str) -> usize {
        let books = self.0.books.lock();
        assert_eq!(books.wrong, [""; 0], "what the bank was asked was not as documented");
        books.seen.iter().filter(|seen| seen.contains(part)).count()
    }

    /// Oldest first.
    pub fn payouts(&self) -> Vec<Payout> {
        self.0.books.lock().payouts.clone()
    }

    /// A payout ends, or is told to be on its way again.
    pub fn end(&self, reference: &str, status: &'static str) {
        self.change(reference, |payout| payout.status = status);
    }

    /// The bank has another amount than was asked for.
    pub fn reprice(&self, reference: &str, amount: &str) {
        self.change(reference, |payout| amount.clone_into(&mut payout.amount));
    }

    fn change(&self, reference: &str, change: impl FnOnce(&mut Payout)) {
        let mut books = self.0.books.lock();
        let found = books.payouts.iter_mut().find(|payout| payout.reference == reference);
        change(found.unwrap_or_else(|| panic!("the bank knows no payout {reference}")));
    }

    /// What it signs of a notice.
    pub fn sign(&self, body: &str) -> String {
        sign(&self.0.webhook_key, body)
    }

    /// Tells the server at `url` that something changed; the HTTP status of the answer.
    pub async fn tell(&self, url: &str, reference: &str) -> u16 {
        let body = json!({"reference": reference}).to_string();
        let url = format!("{url}/api/v1/payment/payout/callback");
        let request = self.0.http.post(url).header("content-type", "application/json");
        let request = request.header("x-payout-signature", self.sign(&body)).body(body);
        request.send().await.map_or(0, |answer| answer.status().as_u16())
    }

    fn is_known(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get("authorization").and_then(|value| value.to_str().ok());
        shown.and_then(|shown| shown.strip_prefix("Bearer ")) == Some(&self.0.api_key)
    }
}

/// Misbehaves where a test wants it.
async fn play(State(bank): State<Bank>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let seen = format!("{} {path}", request.method());
    bank.0.books.lock().seen.push(seen);
    match bank.0.plays.take(&path) {
        None => next.run(request).await,
        Some(play) => {
            if play.does() {
                next.run(request).await;
            }
            play.answer().await
        }
    }
}

fn refused(status: StatusCode, why: &str) -> Response {
    (status, json!({"error": why}).to_string()).into_response()
}

fn said(payout: &Payout) -> Response {
    let mut body = json!({
        "id": payout.id, "reference": payout.reference, "amount": payout.amount,
        "status": payout.status,
    });
    match payout.status {
        "paid" => body["bankReference"] = json!(format!("FT-{}", payout.id)),
        "failed" => body["reason"] = json!("the account is closed"),
        _ => {}
    }
    ([("content-type", "application/json")], body.to_string()).into_response()
}

async fn open(State(bank): State<Bank>, headers: HeaderMap, body: Bytes) -> Response {
    if !bank.is_known(&headers) {
        return refused(StatusCode::UNAUTHORIZED, "wrong key");
    }
    let Ok(asked) = serde_json::from_slice::<Value>(&body) else {
        return refused(StatusCode::BAD_REQUEST, "no JSON");
    };
    let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
    let mut books = bank.0.books.lock();
    let mut must = |holds: bool, why: &str| {
        if !holds {
            books.wrong.push(why.to_owned());
        }
    };
    let (reference, amount) = (text("reference"), text("amount"));
    let shown = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    must(shown == Some(&reference), "the idempotency key is the reference");
    let decimals = amount.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    must(decimals == 2 && !amount.starts_with('-'), "amount: pounds with two decimals");
    must(text("currency") == "EGP", "currency");
    must(matches!(text("method").as_str(), "bank" | "wallet" | "instapay"), "method");
    must(!text("account").is_empty(), "account");
    if let Some(known) = books.payouts.iter_mut().find(|known| known.reference == reference) {
        known.asked += 1;
        let same = known.amount == amount && known.account == text("account");
        return if same { said(known) } else { refused(StatusCode::CONFLICT, "another payout") };
    }
    let payout = Payout {
        id: format!("PO-{}", books.payouts.len() + 1),
        reference,
        amount,
        method: text("method"),
        account: text("account"),
        status: books.ends.unwrap_or("pending"),
        asked: 1,
    };
    let answer = said(&payout);
    books.payouts.push(payout);
    answer
}

async fn look(
    State(bank): State<Bank>,
    Path(reference): Path<String>,
    headers: HeaderMap,
) -> Response {
    if !bank.is_known(&headers) {
        return refused(StatusCode::UNAUTHORIZED, "wrong key");
    }
    let books = bank.0.books.lock();
    match books.payouts.iter().find(|payout| payout.reference == reference) {
        Some(payout) => said(payout),
        None => refused(StatusCode::NOT_FOUND, "no such payout"),
    }
}
