//! Somebody with an account: signs up, calls routes, reads answers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::looks::Looks;
use super::server::{Outside, Server};

/// Tahrir Square.
pub const CAIRO: (f64, f64) = (30.0444, 31.2357);

pub fn point(at: (f64, f64)) -> Value {
    json!({"lat": at.0, "lng": at.1})
}

/// A place `metres` north of `at`.
pub fn far_from(at: (f64, f64), metres: f64) -> (f64, f64) {
    (at.0 + metres / 111_195.0, at.1)
}

/// An answer: the HTTP status and the whole envelope.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub body: Value,
}

impl Reply {
    /// `data` of a success; fails the test with the whole answer otherwise.
    pub fn data(&self) -> &Value {
        assert!((200..300).contains(&self.status), "expected success: {self:?}");
        &self.body["data"]
    }

    /// The error's code; empty for a success.
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    /// Does it say what became of a request, rather than that nobody can say it now?
    pub fn says_what_became(&self) -> bool {
        self.status < 500 && self.code() != "REQUEST_IN_PROGRESS"
    }

    /// Claims a refusal.
    pub fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code()), (status, code), "{self:?}");
    }
}

#[derive(Clone, Debug)]
pub struct Person {
    pub id: String,
    pub token: String,
    pub refresh: String,
    pub phone: String,
    base: String,
    http: reqwest::Client,
}

static PHONES: AtomicU32 = AtomicU32::new(0);

/// An idempotency key no other request has.
pub fn next_key() -> String {
    static KEYS: AtomicU32 = AtomicU32::new(0);
    KEYS.fetch_add(1, Ordering::Relaxed).to_string()
}

/// How long somebody waits for an answer where it may never come; beyond every time-out of a route.
const PATIENCE: Duration = Duration::from_secs(60);

/// A phone no other test has.
pub fn next_phone() -> String {
    format!("+2010{:08}", PHONES.fetch_add(1, Ordering::Relaxed))
}

impl Person {
    pub async fn rider(server: &Outside) -> Self {
        Self::sign_up(server, "rider").await
    }

    /// An account of a driver without papers.
    pub async fn driver(server: &Outside) -> Self {
        Self::sign_up(server, "driver").await
    }

    pub async fn admin(server: &Server) -> Self {
        let phone = next_phone();
        server.running().create_admin(&phone, "Operator", "tahrir99").await.expect("an admin");
        Self::log_in(server, &phone, "tahrir99").await
    }

    pub async fn log_in(server: &Outside, phone: &str, password: &str) -> Self {
        let body = json!({"phone": phone, "password": password});
        let reply = send(&server.http, &server.url("/api/v1/auth/login"), None, Some(body)).await;
        Self::of(server, phone.to_owned(), &reply)
    }

    async fn sign_up(server: &Outside, role: &str) -> Self {
        let phone = next_phone();
        let body = json!({"phone": phone, "password": "tahrir99", "name": "Test", "role": role});
        let reply = send(&server.http, &server.url("/api/v1/auth/signup"), None, Some(body)).await;
        Self::of(server, phone, &reply)
    }

    fn of(server: &Outside, phone: String, reply: &Reply) -> Self {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let data = reply.data();
        Self {
            id: text(&data["user"]["id"]),
            token: text(&data["token"]),
            refresh: text(&data["refreshToken"]),
            phone,
            base: server.url("/api/v1"),
            http: server.http.clone(),
        }
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        send(&self.http, &format!("{}{path}", self.base), Some(&self.token), Some(body)).await
    }

    /// Under an idempotency key.
    pub async fn post_once(&self, path: &str, body: Value, key: &str) -> Reply {
        let request = self.http.post(format!("{}{path}", self.base)).json(&body);
        answer(request.bearer_auth(&self.token).header("idempotency-key", key)).await
    }

    /// Like [`Person::post_once`] where nobody may be there to answer.
    pub async fn try_post(&self, path: &str, body: &Value, key: &str) -> reqwest::Result<Reply> {
        let request = self.http.post(format!("{}{path}", self.base)).json(body);
        let request = request.bearer_auth(&self.token).header("idempotency-key", key);
        try_answer(request.timeout(PATIENCE)).await
    }

    /// Asks until somebody says what became of it: nobody there, too busy, and still being worked
    /// on are no such answers.
    pub async fn insist(&mut self, path: &str, body: &Value, key: &str) -> Reply {
        let mut looks = Looks::at(path);
        loop {
            looks.next().await;
            let Ok(reply) = self.try_post(path, body, key).await else { continue };
            if reply.status == 401 {
                self.log_in_again().await;
            } else if reply.says_what_became() {
                return reply;
            }
        }
    }

    /// With a new token, if somebody is there to give one.
    pub async fn log_in_again(&mut self) {
        let body = json!({"phone": self.phone, "password": "tahrir99"});
        let request = self.http.post(format!("{}/auth/login", self.base)).json(&body);
        let reply = try_answer(request.timeout(PATIENCE)).await;
        let token =
            reply.ok().and_then(|reply| reply.body["data"]["token"].as_str().map(str::to_owned));
        self.token = token.unwrap_or_else(|| self.token.clone());
    }

    /// Like [`Person::get`] where nobody may be there to answer.
    pub async fn try_get(&self, path: &str) -> reqwest::Result<Reply> {
        let request = self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token);
        try_answer(request.timeout(PATIENCE)).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        send(&self.http, &format!("{}{path}", self.base), Some(&self.token), None).await
    }

    /// Asks for a cash economy trip from `from` to a place two kilometres away.
    pub async fn request_trip(&self, from: (f64, f64)) -> Reply {
        let body = json!({"pickup": point(from), "destination": point(far_from(from, 2000.0)),
            "vehicleType": "economy"});
        self.post("/trips/request", body).await
    }

    /// The trip as this person sees it.
    pub async fn trip(&self, id: &str) -> Value {
        self.get(&format!("/trips/{id}")).await.data().clone()
    }

    pub async fn report(&self, at: (f64, f64)) -> Reply {
        let now = jiff::Timestamp::now().to_string();
        self.post("/location/update", json!({"lat": at.0, "lng": at.1, "timestamp": now})).await
    }

    pub async fn go_online(&self, at: (f64, f64)) -> Reply {
        self.post("/drivers/status", json!({"isOnline": true, "lat": at.0, "lng": at.1})).await
    }

    /// Hands in papers and is approved by `admin`.
    pub async fn approve(&self, admin: &Person, tier: &str) {
        self.hand_in_papers(tier).await;
        let decision = json!({"decision": "approve"});
        admin.post(&format!("/admin/drivers/{}/decision", self.id), decision).await.data();
    }

    pub async fn hand_in_papers(&self, tier: &str) {
        let plate = &self.phone[5..];
        let paper =
            |kind: &str| json!({"kind": kind, "number": "1", "expiresAt": "2099-01-01T00:00:00Z"});
        let profile = json!({
            "vehicle": {"type": tier, "make": "Lada", "model": "2107", "plate": plate,
                "color": "white", "year": 2019},
            "documents": [paper("driving_licence"), paper("vehicle_licence"), paper("insurance")],
        });
        self.post("/drivers/profile", profile).await.data();
    }
}

/// An approved economy driver, online at `at`.
pub async fn online_driver(server: &Outside, admin: &Person, at: (f64, f64)) -> Person {
    let driver = Person::driver(server).await;
    driver.approve(admin, "economy").await;
    driver.go_online(at).await.data();
    driver
}

/// One request; the body decides between POST and GET.
pub async fn send(
    http: &reqwest::Client,
    url: &str,
    token: Option<&str>,
    body: Option<Value>,
) -> Reply {
    let request = match body {
        Some(body) => http.post(url).json(&body),
        None => http.get(url),
    };
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    answer(request).await
}

async fn answer(request: reqwest::RequestBuilder) -> Reply {
    try_answer(request).await.expect("the server answers")
}

async fn try_answer(request: reqwest::RequestBuilder) -> reqwest::Result<Reply> {
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    let text = answer.text().await?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Reply { status, body })
}
