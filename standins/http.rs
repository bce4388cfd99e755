//! The gateway's routes: what is asked is checked against the documents.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashMap;

use crate::gateway::{Gateway, Payment, Try, names, number};
use crate::page;

type Asked = HashMap<String, String>;

impl Gateway {
    /// Everything the gateway serves: its API, its refunds, its pages.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v3/payment/sessions", post(open))
            .route("/v3/payment/sessions/{id}/payment", get(session))
            .route("/v3/payment/orders", get(orders))
            .route("/payments/orders/{order}", get(order))
            .route("/v2/aggregator/transactions", get(transactions))
            .route("/v3/orders/{order}", put(reverse))
            .route("/session/{id}", get(page::show))
            .route("/session/{id}/{what}", post(page::done))
            .layer(from_fn_with_state(self.clone(), play))
            .with_state(self.clone())
    }

    fn must(&self, holds: bool, why: &str) {
        if !holds {
            self.0.state.lock().wrong.push(why.to_owned());
        }
    }

    fn is_known(&self, headers: &HeaderMap) -> bool {
        headers.get("authorization").is_some_and(|shown| shown == &self.0.credentials.secret_key)
    }
}

/// Lets in who shows the right key, the page everybody; misbehaves where a test wants it.
async fn play(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let seen = format!("{} {path}", request.method());
    gateway.0.state.lock().seen.push(seen);
    if !path.starts_with("/session/") && !gateway.is_known(request.headers()) {
        return unauthorized();
    }
    let play = gateway.0.plays.take(&path);
    match play {
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
    (status, json!({"status": "FAILURE", "error": {"cause": why}}).to_string()).into_response()
}

fn unauthorized() -> Response {
    refused(StatusCode::UNAUTHORIZED, "wrong key")
}

fn said(body: &Value) -> Response {
    ([("content-type", "application/json")], body.to_string()).into_response()
}

async fn open(State(gateway): State<Gateway>, headers: HeaderMap, body: Bytes) -> Response {
    let credentials = &gateway.0.credentials;
    let shows_key = headers.get("api-key").is_some_and(|shown| shown == &credentials.api_key);
    if !shows_key {
        return unauthorized();
    }
    let Ok(asked) = serde_json::from_slice::<Value>(&body) else {
        return refused(StatusCode::BAD_REQUEST, "no JSON");
    };
    let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
    gateway.must(text("merchantId") == credentials.merchant, "merchantId");
    let amount = text("amount");
    let decimals = amount.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    gateway.must(decimals == 2 && number(&amount).is_number(), "amount: pounds with two decimals");
    gateway.must(text("currency") == "EGP", "currency");
    gateway.must(text("expireAt").parse::<Timestamp>().is_ok(), "expireAt");
    gateway.must(text("expireAt").len() == "2026-11-28T10:00:00.000Z".len(), "expireAt with ms");
    gateway.must(asked["maxFailureAttempts"].is_u64(), "maxFailureAttempts");
    gateway.must(text("type") == "one-time", "type");
    gateway.must(matches!(text("display").as_str(), "ar" | "en"), "display");
    gateway.must(text("merchantRedirect").starts_with("http"), "merchantRedirect");
    gateway.must(text("serverWebhook").starts_with("http"), "serverWebhook");
    let customer = &asked["customer"];
    gateway.must(customer["email"].is_string() && customer["reference"].is_string(), "customer");
    let mut state = gateway.0.state.lock();
    if state.payments.iter().any(|payment| payment.order == text("order")) {
        return refused(StatusCode::BAD_REQUEST, "duplicate order");
    }
    let (session, gateway_order) = names();
    state.payments.push(Payment {
        session: session.clone(),
        order: text("order"),
        gateway_order,
        amount,
        currency: text("currency"),
        status: "CREATED".to_owned(),
        webhook: text("serverWebhook"),
        redirect: text("merchantRedirect"),
        manual: asked["manualCapture"] == true,
        tries: Vec::new(),
    });
    let url = format!("{}/session/{session}?mode=test", gateway.0.url);
    said(&json!({"_id": session, "status": "CREATED", "sessionUrl": url, "history": []}))
}

async fn session(State(gateway): State<Gateway>, Path(id): Path<String>) -> Response {
    let state = gateway.0.state.lock();
    let Some(payment) = state.payments.iter().find(|payment| payment.session == id) else {
        return refused(StatusCode::NOT_FOUND, "no such session");
    };
    said(&json!({"message": "found", "data": {
        "sessionId": payment.session, "status": payment.status, "merchantOrderId": payment.order,
        "amount": number(&payment.amount), "currency": payment.currency, "method": "card",
        "orderId": payment.gateway_order, "history": [],
    }}))
}

fn tried(one: &Try) -> Value {
    json!({"operation": one.operation, "status": one.status, "transactionId": one.id})
}

/// Finds by a part of the name, as the real one does.
async fn orders(State(gateway): State<Gateway>, Query(asked): Query<Asked>) -> Response {
    let (search, limit) = (asked.get("search").cloned().unwrap_or_default(), asked.get("limit"));
    let limit = limit.and_then(|limit| limit.parse().ok()).unwrap_or(10);
    let state = gateway.0.state.lock();
    let found = state.payments.iter().filter(|payment| payment.order.contains(&search));
    let rows = found.take(limit).map(|payment| {
        let status = if payment.status == "PAID" { "CAPTURED" } else { payment.status.as_str() };
        json!({"merchantOrderId": payment.order, "orderId": payment.gateway_order,
            "status": status, "transactions": payment.tries.iter().map(tried).collect::<Vec<_>>()})
    });
    said(&json!({"data": rows.collect::<Vec<_>>()}))
}

async fn order(State(gateway): State<Gateway>, Path(order): Path<String>) -> Response {
    let state = gateway.0.state.lock();
    let Some(payment) = state.payments.iter().find(|payment| payment.order == order) else {
        return refused(StatusCode::NOT_FOUND, "no such order");
    };
    said(&json!({"response": {"orderId": payment.gateway_order,
        "totalCapturedAmount": payment.total(&["pay", "capture"]),
        "totalRefundedAmount": payment.total(&["refund"])}}))
}

/// All transactions, newest first, in pages.
async fn transactions(State(gateway): State<Gateway>, Query(asked): Query<Asked>) -> Response {
    let count = |name: &str, usual| {
        asked.get(name).and_then(|value| value.parse::<usize>().ok()).unwrap_or(usual)
    };
    let (page, limit) = (count("page", 1).max(1), count("limit", 20));
    let state = gateway.0.state.lock();
    let own = state.payments.iter().flat_map(|payment| {
        payment.tries.iter().map(|one| {
            json!({"transactionId": one.id, "merchantOrderId": payment.order,
                "operation": one.operation, "status": one.status, "amount": one.amount,
                "currency": payment.currency, "creationDate": one.at.to_string()})
        })
    });
    let mut rows: Vec<Value> = own.chain(state.foreign.iter().cloned()).collect();
    let at = |row: &Value| row["creationDate"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
    rows.sort_by_key(|row| std::cmp::Reverse(at(row)));
    let total = rows.len();
    let rows: Vec<Value> = rows.into_iter().skip((page - 1) * limit).take(limit).collect();
    said(&json!({"body": rows, "pagination": {"page": page, "total": total}}))
}

/// Refunds, voids and captures: each call is carried out, a repeated one again. What is reserved is
/// taken or let go once.
async fn reverse(
    State(gateway): State<Gateway>,
    Path(order): Path<String>,
    body: Bytes,
) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let operation = match asked["apiOperation"].as_str() {
        Some("REFUND") => "refund",
        Some("VOID") => "void",
        Some("CAPTURE") => "capture",
        _ => return refused(StatusCode::BAD_REQUEST, "apiOperation"),
    };
    let amount = asked["transaction"]["amount"].clone();
    gateway.must(amount.is_number(), "transaction.amount is a number");
    let target = asked["transaction"]["targetTransactionId"].is_string();
    gateway.must(operation != "void" || target, "targetTransactionId");
    let (id, _) = names();
    let mut state = gateway.0.state.lock();
    let status = match (operation, state.refunds_wait) {
        ("refund", true) => "PENDING",
        _ => "SUCCESS",
    };
    let found = state.payments.iter_mut().find(|payment| payment.gateway_order == order);
    let Some(payment) = found else { return refused(StatusCode::NOT_FOUND, "no such order") };
    if payment.manual && operation != "refund" {
        let held = payment.done(&["authorize"]);
        let over = payment.done(&["pay", "capture", "void", "reversal"]).is_some();
        let fits = amount.as_f64() <= number(&payment.amount).as_f64();
        if held.is_none() || over || !fits {
            return refused(StatusCode::BAD_REQUEST, "nothing of that is reserved");
        }
        payment.status = if operation == "void" { "VOIDED" } else { "PAID" }.to_owned();
    }
    let transaction = format!("TX-{id}");
    let at = Timestamp::now();
    payment.tries.push(Try { id: transaction.clone(), operation, status, amount, at });
    if status == "PENDING" {
        "REFUND_PENDING".clone_into(&mut payment.status);
    }
    said(&json!({"status": "SUCCESS", "response": {
        "status": status, "transactionId": transaction}}))
}
