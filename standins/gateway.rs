//! Kashier: sessions that are paid or declined at a word, notices that are told as often and as
//! wrongly as a test wants.

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::plays::{Play, Plays};
use crate::signing::{canonical, sign};

/// Who calls, and what he shows.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub merchant: String,
    /// The Payment API key.
    pub api_key: String,
    pub secret_key: String,
}

impl Credentials {
    /// Nobody's.
    pub fn for_tests() -> Self {
        Self {
            merchant: "MID-123-456".to_owned(),
            api_key: "smartline-test-payment-key".to_owned(),
            secret_key: "smartline-test-secret-key".to_owned(),
        }
    }
}

/// An order as the gateway has it.
#[derive(Clone, Debug)]
pub struct Payment {
    pub session: String,
    /// `merchantOrderId`
    pub order: String,
    pub gateway_order: String,
    /// Pounds, as they were sent.
    pub amount: String,
    pub currency: String,
    pub status: String,
    pub webhook: String,
    pub redirect: String,
    /// The page reserves the money; it is taken when that is asked for.
    pub manual: bool,
    pub(crate) tries: Vec<Try>,
}

/// One transaction of an order.
#[derive(Clone, Debug)]
pub(crate) struct Try {
    pub id: String,
    pub operation: &'static str,
    pub status: &'static str,
    pub amount: Value,
    pub at: Timestamp,
}

impl Payment {
    /// The try that succeeded at one of these.
    pub(crate) fn done(&self, operations: &[&str]) -> Option<&Try> {
        let mut tries = self.tries.iter();
        tries.find(|one| operations.contains(&one.operation) && one.status == "SUCCESS")
    }

    /// What was taken, each amount as it was asked for.
    pub fn taken(&self) -> Vec<String> {
        let taken = self
            .tries
            .iter()
            .filter(|one| matches!(one.operation, "pay" | "capture") && one.status == "SUCCESS");
        taken.map(|one| one.amount.to_string()).collect()
    }
}

/// A notice, signed; what a test changes in it is no longer what was signed.
#[derive(Clone, Debug)]
pub struct Told {
    pub event: String,
    pub data: Value,
    pub signature: String,
    webhook: String,
}

impl Payment {
    /// What tries of these operations moved, in pounds and in all.
    pub(crate) fn total(&self, operations: &[&str]) -> Value {
        let done = |one: &&Try| one.status == "SUCCESS" && operations.contains(&one.operation);
        let amounts = self.tries.iter().filter(done).filter_map(|one| one.amount.as_f64());
        let piasters: f64 = amounts.map(|pounds| (pounds * 100.0).round()).sum();
        json!(piasters / 100.0)
    }
}

impl Told {
    pub fn body(&self) -> String {
        json!({"event": self.event, "data": self.data}).to_string()
    }
}

#[derive(Default)]
pub(crate) struct State {
    pub payments: Vec<Payment>,
    /// Rows of the transactions' list that belong to no order here.
    pub foreign: Vec<Value>,
    /// Refunds are not decided at once.
    pub refunds_wait: bool,
    /// What was not as documented.
    pub wrong: Vec<String>,
    /// Method and path of each request.
    pub seen: Vec<String>,
    next: u32,
}

pub(crate) struct Inner {
    pub url: String,
    pub credentials: Credentials,
    pub state: Mutex<State>,
    pub plays: Plays,
    http: reqwest::Client,
}

/// Cheap to clone; serves until its runtime ends.
#[derive(Clone)]
pub struct Gateway(pub(crate) Arc<Inner>);

impl Gateway {
    /// At a free port of this machine.
    pub async fn start(credentials: Credentials) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let gateway = Self::new(credentials, url);
        let router = gateway.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        gateway
    }

    /// One that whoever starts it serves at `url`.
    pub fn new(credentials: Credentials, url: String) -> Self {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let (state, plays) = (Mutex::default(), Plays::default());
        let http = reqwest::Client::new();
        Self(Arc::new(Inner { url, credentials, state, plays, http }))
    }

    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// The next request whose path holds `path` is answered like this.
    pub fn play(&self, path: &str, play: Play) {
        self.0.plays.add(path, play);
    }

    /// Requests whose method and path hold `part`. Fails the test when one was not as documented.
    pub fn seen(&self, part: &str) -> usize {
        let state = self.0.state.lock();
        assert_eq!(state.wrong, [""; 0], "what the gateway was asked was not as documented");
        state.seen.iter().filter(|seen| seen.contains(part)).count()
    }

    /// References of the orders that were opened, oldest first.
    pub fn orders(&self) -> Vec<String> {
        self.0.state.lock().payments.iter().map(|payment| payment.order.clone()).collect()
    }

    pub fn payment(&self, order: &str) -> Payment {
        let state = self.0.state.lock();
        let found = state.payments.iter().find(|payment| payment.order == order);
        found.unwrap_or_else(|| panic!("the gateway knows no order {order}")).clone()
    }

    /// The rider pays; the notice of it is not delivered yet.
    pub fn pay(&self, order: &str) -> Told {
        self.note(order, "pay", "SUCCESS", "PAID")
    }

    /// The bank declines the card; the page stays open.
    pub fn decline(&self, order: &str) -> Told {
        self.note(order, "pay", "FAILURE", "OPENED")
    }

    /// The bank takes its time.
    pub fn wait(&self, order: &str) -> Told {
        self.note(order, "pay", "PENDING", "PENDING")
    }

    /// The money is reserved only.
    pub fn authorize(&self, order: &str) -> Told {
        self.note(order, "authorize", "SUCCESS", "AUTHORIZED")
    }

    /// What it tells of the last thing that was done to an order.
    pub fn told_of_last(&self, order: &str) -> Told {
        let payment = self.payment(order);
        let last = payment.tries.last().unwrap_or_else(|| panic!("nothing was done to {order}"));
        let data = notice(&payment, &last.id, last.status, &last.amount);
        let (event, webhook) = (last.operation.to_owned(), payment.webhook.clone());
        let mut told = Told { event, data, signature: String::new(), webhook };
        self.sign(&mut told);
        told
    }

    /// The bank lets go what it reserved.
    pub fn lapse(&self, order: &str) -> Told {
        self.note(order, "reversal", "SUCCESS", "REVERSED")
    }

    /// Somebody gives it back by hand.
    pub fn refund(&self, order: &str) -> Told {
        self.note(order, "refund", "SUCCESS", "REFUNDED")
    }

    /// Refunds are put off from now on: [`Self::refund`] or [`Self::refuse_refund`] decides.
    pub fn put_refunds_off(&self) {
        self.0.state.lock().refunds_wait = true;
    }

    /// The bank does not take the refund that was put off.
    pub fn refuse_refund(&self, order: &str) -> Told {
        self.note(order, "refund", "FAILURE", "PAID")
    }

    /// What the order's session says from now on, whatever happened to it.
    pub fn stands(&self, order: &str, status: &str) {
        let mut state = self.0.state.lock();
        for payment in state.payments.iter_mut().filter(|payment| payment.order == order) {
            status.clone_into(&mut payment.status);
        }
    }

    fn note(&self, order: &str, event: &'static str, status: &'static str, session: &str) -> Told {
        let mut state = self.0.state.lock();
        state.next += 1;
        let fresh = format!("TX-{}-{}", std::process::id(), state.next);
        let found = state.payments.iter_mut().find(|payment| payment.order == order);
        let payment = found.unwrap_or_else(|| panic!("the gateway knows no order {order}"));
        session.clone_into(&mut payment.status);
        let waiting = payment.tries.iter_mut().find(|one| one.status == "PENDING");
        let (id, amount) = match waiting {
            Some(waiting) => {
                waiting.status = status;
                (waiting.id.clone(), waiting.amount.clone())
            }
            None => {
                let amount = number(&payment.amount);
                let (id, at) = (fresh.clone(), Timestamp::now());
                let told = amount.clone();
                payment.tries.push(Try { id, operation: event, status, amount, at });
                (fresh, told)
            }
        };
        let data = notice(payment, &id, status, &amount);
        let webhook = payment.webhook.clone();
        drop(state);
        let mut told = Told { event: event.to_owned(), data, signature: String::new(), webhook };
        self.sign(&mut told);
        told
    }

    /// Signs a notice as it stands: whatever it says, it is the gateway's word.
    pub fn sign(&self, told: &mut Told) {
        told.signature = sign(&self.0.credentials.api_key, &canonical(&told.data));
    }

    /// Tells it where the order said, once; the HTTP status of the answer.
    pub async fn tell(&self, told: &Told) -> u16 {
        let request = self.0.http.post(&told.webhook).body(told.body());
        let request = request
            .header("content-type", "application/json")
            .header("x-kashier-signature", &told.signature);
        request.send().await.map_or(0, |answer| answer.status().as_u16())
    }

    /// The query that the rider's browser comes back with.
    pub fn redirect(&self, order: &str) -> String {
        let payment = self.payment(order);
        let transaction = payment.tries.last().map_or("", |one| one.id.as_str());
        let status = if payment.status == "PAID" { "SUCCESS" } else { "FAILURE" };
        let text = format!(
            "paymentStatus={status}&cardDataToken=&maskedCard=512345******2346\
             &merchantOrderId={order}&orderId={}&cardBrand=Mastercard&orderReference=TEST-ORD-1\
             &transactionId={transaction}&amount={}&currency={}",
            payment.gateway_order, payment.amount, payment.currency
        );
        let signature = sign(&self.0.credentials.api_key, &text);
        format!("{text}&signature={signature}&mode=test")
    }

    /// Took another amount than was asked for: the session still says what that was.
    pub fn reprice(&self, order: &str, amount: &str) {
        let mut state = self.0.state.lock();
        let of_order = state.payments.iter_mut().filter(|payment| payment.order == order);
        for one in of_order.flat_map(|payment| &mut payment.tries) {
            one.amount = number(amount);
        }
    }

    /// Its page asks for another amount than it was opened with.
    pub fn misprint(&self, order: &str, amount: &str) {
        let mut state = self.0.state.lock();
        for payment in state.payments.iter_mut().filter(|payment| payment.order == order) {
            amount.clone_into(&mut payment.amount);
        }
    }

    /// Plants a row into the list of transactions that no order here made.
    pub fn list(&self, row: Value) {
        self.0.state.lock().foreign.push(row);
    }
}

pub(crate) fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// What Kashier tells of a transaction.
fn notice(payment: &Payment, transaction: &str, status: &str, amount: &Value) -> Value {
    let code = if status == "SUCCESS" { "00" } else { "51" };
    json!({
        "merchantOrderId": payment.order,
        "kashierOrderId": payment.gateway_order,
        "orderReference": "TEST-ORD-1",
        "transactionId": transaction,
        "status": status,
        "method": "card",
        "creationDate": Timestamp::now().to_string(),
        "amount": amount,
        "currency": payment.currency,
        "transactionResponseCode": code,
        "transactionResponseMessage": {"en": "said", "ar": "قيل"},
        "channel": "online | e-commerce",
        "card": {"cardInfo": {
            "cardHolderName": "Card Holder", "cardBrand": "Mastercard",
            "maskedCard": "512345******2346",
        }},
        "metaData": {},
        "merchantDetails": {"businessEmail": "shop@example.com", "storeName": "SmartLine"},
        "signatureKeys": ["amount", "channel", "currency", "kashierOrderId", "merchantOrderId",
            "method", "orderReference", "status", "transactionId", "transactionResponseCode"],
    })
}

/// A new order's names.
pub(crate) fn names() -> (String, String) {
    (Uuid::new_v4().simple().to_string(), Uuid::new_v4().to_string())
}
