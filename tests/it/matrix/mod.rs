//! Who may do what: every route and every command, asked by everyone (SECURITY: IDOR).
//!
//! The table says what each caller must get; the documents of `schema/` say what there is to ask.
//! Whatever is answered must also be what the document promises.

mod scene;
mod table;

use futures_util::stream::{self, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Contract, Server, Socket, Till, status_of};
use scene::{CALLERS, Caller, Scene};
use table::{Row, SOCKET, rows};

/// Scenes that are played at once: most of their time they wait for the next tick of dispatch.
const AT_ONCE: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn everyone_gets_what_the_table_says_and_what_the_document_promises() {
    let server = Till::start().await;
    let rows = (0..).zip(rows()).map(|(number, row)| play(&server, number, row));
    let played = stream::iter(rows).buffered(AT_ONCE).collect::<Vec<_>>().await;
    let mut contract = Contract::openapi();
    let mut wrong = Vec::new();
    for (row, answers) in &played {
        let Row { method, target, .. } = row;
        for ((name, (status, said)), expected) in CALLERS.iter().zip(answers).zip(&row.expected) {
            if status != expected {
                wrong.push(format!(
                    "{method} {target}: {name} got {status}, not {expected}: {said}"
                ));
            }
            if method != SOCKET {
                wrong.extend(contract.answer_faults(&row.operation(), *status, said));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Everybody's answer, in the order of the columns.
async fn play(server: &Server, number: u32, row: Row) -> (Row, Vec<(u16, Value)>) {
    let scene = Scene::new(server, number).await;
    let mut answers = Vec::new();
    for caller in &scene.callers {
        answers.push(ask(server, &scene, &row, caller).await);
    }
    (row, answers)
}

/// The status, and the whole answer.
async fn ask(server: &Server, scene: &Scene, row: &Row, caller: &Caller) -> (u16, Value) {
    let body = scene.body(&row.body, caller);
    if row.method != SOCKET {
        return request(server, row, &scene.fill(&row.target, caller), body, caller).await;
    }
    let shown = caller.shows();
    let headers: Vec<_> = shown.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut socket = match Socket::try_open_at(server, "/ws", &headers).await {
        Ok(socket) => socket,
        Err(status) => return (status, Value::Null),
    };
    let answer = socket.call(&row.target, body.unwrap_or(json!({}))).await;
    (status_of(&answer), answer)
}

async fn request(
    server: &Server,
    row: &Row,
    target: &str,
    body: Option<Value>,
    caller: &Caller,
) -> (u16, Value) {
    let method = Method::from_bytes(row.method.as_bytes()).expect("a method");
    let mut request = server.http.request(method, server.url(&format!("/api/v1{target}")));
    if let Some((name, value)) = caller.shows() {
        request = request.header(name, value);
    }
    if let Some(body) = body {
        request = request.json(&body);
    }
    // Money moves under a key only: whoever is let in has one.
    if row.target.starts_with("/payment/") || row.target.ends_with("/refund") {
        request = request.header("idempotency-key", caller.key());
    }
    let answer = request.send().await.expect("the server answers");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("an answer has a body");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
