//! The page that somebody pays on, for a demo's browser.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};

use crate::gateway::{Gateway, Payment};

fn payment_of(gateway: &Gateway, session: &str) -> Option<Payment> {
    let state = gateway.0.state.lock();
    state.payments.iter().find(|payment| payment.session == session).cloned()
}

fn no_page() -> Response {
    (StatusCode::NOT_FOUND, "no such page").into_response()
}

pub(crate) async fn show(State(gateway): State<Gateway>, Path(session): Path<String>) -> Response {
    let Some(payment) = payment_of(&gateway, &session) else { return no_page() };
    let Payment { amount, currency, status, .. } = payment;
    // Nothing in it comes from a person: the amount was checked to be a number.
    Html(format!(
        "<!doctype html><meta charset=\"utf-8\"><title>Payment stand-in</title>\
         <h1>{amount} {currency}</h1><p>No real money: this page stands in for the gateway's. \
         It is {status}.</p>\
         <form method=\"post\" action=\"/session/{session}/pay\"><button>Pay</button></form>\
         <form method=\"post\" action=\"/session/{session}/decline\"><button>Decline</button></form>"
    ))
    .into_response()
}

/// Pays or declines, tells the merchant, and sends the browser back to him.
pub(crate) async fn done(
    State(gateway): State<Gateway>,
    Path((session, what)): Path<(String, String)>,
) -> Response {
    let Some(payment) = payment_of(&gateway, &session) else { return no_page() };
    let told = match what.as_str() {
        "pay" if payment.manual => gateway.authorize(&payment.order),
        "pay" => gateway.pay(&payment.order),
        "decline" => gateway.decline(&payment.order),
        _ => return no_page(),
    };
    gateway.tell(&told).await;
    Redirect::to(&format!("{}?{}", payment.redirect, gateway.redirect(&payment.order)))
        .into_response()
}
