//! Providers that check what they receive, and misbehave on command.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Version};
use axum::response::{IntoResponse, Response};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

/// The key pairs of `keys/` were made for these tests and sign nothing else.
pub(super) const FCM_KEY: &str = include_str!("keys/fcm_private.pem");
const FCM_PUBLIC: &[u8] = include_bytes!("keys/fcm_public.pem");
pub(super) const APNS_KEY: &str = include_str!("keys/apns_private.pem");
const APNS_PUBLIC: &[u8] = include_bytes!("keys/apns_public.pem");

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub path: String,
    pub headers: HeaderMap,
    pub body: String,
    version: Version,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    pub(super) fn field(&self, name: &str) -> String {
        let mut fields = form_urlencoded::parse(self.body.as_bytes());
        let found = fields.find(|(key, _)| key == name);
        found.map(|(_, value)| value.into_owned()).unwrap_or_default()
    }
}

/// What a stand-in does in place of its proper answer.
#[derive(Clone, Debug)]
pub(super) enum Play {
    Answer(u16, &'static [(&'static str, &'static str)], String),
    /// Takes it, and the answer breaks off.
    Lose,
    /// Says nothing at all.
    Silence,
}

impl Play {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::Answer(status, &[], body.to_string())
    }
}

/// The proper answer to a request, or what is wrong with it.
type Proper = fn(&Seen) -> Result<Response, String>;

struct Inner {
    proper: Proper,
    seen: Mutex<Vec<Seen>>,
    plays: Mutex<VecDeque<(&'static str, Play)>>,
    wrong: Mutex<Vec<String>>,
    /// Rings with every request.
    bell: Notify,
}

#[derive(Clone)]
pub(super) struct StandIn {
    pub url: String,
    inner: Arc<Inner>,
}

impl StandIn {
    async fn start(proper: Proper) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (seen, plays, wrong) = (Mutex::default(), Mutex::default(), Mutex::default());
        let inner = Arc::new(Inner { proper, seen, plays, wrong, bell: Notify::new() });
        let app = Router::new().fallback(answer).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, inner }
    }

    pub(super) async fn fcm() -> Self {
        Self::start(fcm).await
    }

    pub(super) async fn apns() -> Self {
        Self::start(apns).await
    }

    pub(super) async fn twilio() -> Self {
        Self::start(twilio).await
    }

    /// The next request whose path holds `path` is answered like this.
    pub(super) fn play(&self, path: &'static str, play: Play) {
        self.inner.plays.lock().push_back((path, play));
    }

    /// Waits for the first request whose path holds `path`.
    pub(super) async fn first(&self, path: &str) -> Seen {
        loop {
            let rung = self.inner.bell.notified();
            if let Some(seen) = self.seen(path).into_iter().next() {
                return seen;
            }
            rung.await;
        }
    }

    /// Requests whose path holds `path`. Fails the test when one was not as documented.
    pub(super) fn seen(&self, path: &str) -> Vec<Seen> {
        assert_eq!(*self.inner.wrong.lock(), [""; 0]);
        self.inner.seen.lock().iter().filter(|seen| seen.path.contains(path)).cloned().collect()
    }
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let seen = Seen {
        path: parts.uri.path().to_owned(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
        version: parts.version,
    };
    let proper = (inner.proper)(&seen);
    inner.seen.lock().push(seen.clone());
    inner.bell.notify_one();
    let proper = proper.unwrap_or_else(|why| {
        inner.wrong.lock().push(format!("{}: {why}", seen.path));
        (axum::http::StatusCode::BAD_REQUEST, why).into_response()
    });
    let play = {
        let mut plays = inner.plays.lock();
        let place = plays.iter().position(|(path, _)| seen.path.contains(path));
        place.and_then(|place| plays.remove(place))
    };
    match play {
        None => proper,
        Some((_, Play::Silence)) => std::future::pending().await,
        Some((_, Play::Lose)) => {
            let broken = futures_util::stream::iter([Err::<Vec<u8>, _>(io::Error::other("cut"))]);
            Response::new(Body::from_stream(broken))
        }
        Some((_, Play::Answer(status, headers, body))) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            response.body(Body::from(body)).unwrap()
        }
    }
}

fn must(holds: bool, why: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}

/// Claims of a token signed by the owner of `public`. Its times are the tests' own.
fn claims(token: &str, algorithm: Algorithm, public: &[u8]) -> Result<(String, Value), String> {
    let key = match algorithm {
        Algorithm::RS256 => DecodingKey::from_rsa_pem(public),
        _ => DecodingKey::from_ec_pem(public),
    };
    let mut rules = Validation::new(algorithm);
    rules.validate_exp = false;
    rules.validate_aud = false;
    rules.required_spec_claims.clear();
    let key = key.map_err(|error| error.to_string())?;
    let token = jsonwebtoken::decode::<Value>(token, &key, &rules)
        .map_err(|error| format!("the token: {error}"))?;
    Ok((token.header.kid.unwrap_or_default(), token.claims))
}

fn fcm(seen: &Seen) -> Result<Response, String> {
    if seen.path == "/token" {
        must(seen.field("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer", "grant")?;
        let (kid, claims) = claims(&seen.field("assertion"), Algorithm::RS256, FCM_PUBLIC)?;
        must(kid == "test-key", "kid")?;
        must(claims["iss"] == "push@test-project.iam.gserviceaccount.com", "iss")?;
        let scope = "https://www.googleapis.com/auth/firebase.messaging";
        must(claims["scope"] == scope, "scope")?;
        must(claims["aud"] == format!("http://{}/token", seen.header("host")), "aud")?;
        let (iat, exp) = (claims["iat"].as_i64(), claims["exp"].as_i64());
        must(iat.zip(exp).is_some_and(|(iat, exp)| exp > iat && exp <= iat + 3600), "exp")?;
        let body = json!({"access_token": "ya29.test", "expires_in": 3599, "token_type": "Bearer"});
        return Ok(body.to_string().into_response());
    }
    must(seen.path == "/v1/projects/test-project/messages:send", "path")?;
    must(seen.header("authorization") == "Bearer ya29.test", "bearer")?;
    must(seen.header("content-type") == "application/json", "content type")?;
    must(seen.body.len() <= 4096, "size")?;
    let message = &seen.json()["message"];
    must(message["token"].is_string(), "token")?;
    let data = message["data"].as_object();
    must(data.is_some_and(|data| data.values().all(Value::is_string)), "data values")?;
    let android = &message["android"];
    must(matches!(android["priority"].as_str(), Some("HIGH" | "NORMAL")), "priority")?;
    let ttl = android["ttl"].as_str().and_then(|ttl| ttl.strip_suffix('s'));
    must(ttl.is_some_and(|ttl| ttl.parse::<u32>().is_ok()), "ttl")?;
    Ok(json!({"name": "projects/test-project/messages/1"}).to_string().into_response())
}

fn apns(seen: &Seen) -> Result<Response, String> {
    must(seen.version == Version::HTTP_2, "HTTP/2")?;
    let device = seen.path.strip_prefix("/3/device/").unwrap_or_default();
    must(!device.is_empty() && device.bytes().all(|b| b.is_ascii_hexdigit()), "device")?;
    let token = seen.header("authorization").strip_prefix("bearer ").unwrap_or_default();
    let (kid, claims) = claims(token, Algorithm::ES256, APNS_PUBLIC)?;
    must(kid == "ABC123DEFG", "kid")?;
    must(claims["iss"] == "DEF123GHIJ" && claims["iat"].is_i64(), "claims")?;
    must(seen.header("apns-topic") == "com.example.smartline", "topic")?;
    must(seen.header("apns-push-type") == "alert", "type")?;
    must(matches!(seen.header("apns-priority"), "10" | "5"), "priority")?;
    must(seen.header("apns-expiration").parse::<i64>().is_ok(), "expiration")?;
    let collapse = seen.header("apns-collapse-id");
    must((1..=64).contains(&collapse.len()), "collapse id")?;
    must(uuid::Uuid::try_parse(seen.header("apns-id")).is_ok(), "id")?;
    must(seen.body.len() <= 4096 && seen.json()["aps"]["alert"]["body"].is_string(), "payload")?;
    let id = seen.header("apns-id").to_owned();
    Ok(([("apns-id", id)], "").into_response())
}

fn twilio(seen: &Seen) -> Result<Response, String> {
    must(seen.path == "/2010-04-01/Accounts/AC00/Messages.json", "path")?;
    // AC00:12345
    must(seen.header("authorization") == "Basic QUMwMDoxMjM0NQ==", "credentials")?;
    let form = "application/x-www-form-urlencoded";
    must(seen.header("content-type") == form, "content type")?;
    must(seen.field("To").starts_with("+20"), "To")?;
    must(seen.field("From") == "+15550001111", "From")?;
    must((1..=1600).contains(&seen.field("Body").chars().count()), "Body")?;
    let body = json!({"sid": "SM1", "status": "queued", "error_code": null});
    Ok((axum::http::StatusCode::CREATED, body.to_string()).into_response())
}

/// A mail server that keeps every letter.
#[derive(Clone)]
pub(super) struct Post {
    pub url: String,
    letters: Arc<Mutex<Vec<String>>>,
    /// Said in place of the next "250" to a recipient.
    refusals: Arc<Mutex<VecDeque<&'static str>>>,
}

impl Post {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let post = Self { url, letters: Arc::default(), refusals: Arc::default() };
        let own = post.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let post = own.clone();
                tokio::spawn(async move { post.serve(stream).await });
            }
        });
        post
    }

    pub(super) fn refuse(&self, line: &'static str) {
        self.refusals.lock().push_back(line);
    }

    pub(super) fn letters(&self) -> Vec<String> {
        self.letters.lock().clone()
    }

    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 post.test ESMTP\r\n").await?;
        while let Some(line) = lines.next_line().await? {
            let word = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let refused = (word == "RCPT").then(|| self.refusals.lock().pop_front()).flatten();
            let reply = match (word.as_str(), refused) {
                (_, Some(refusal)) => refusal,
                ("EHLO", _) => "250-post.test\r\n250 8BITMIME",
                ("QUIT", _) => "221 bye",
                ("DATA", _) => {
                    write.write_all(b"354 go on\r\n").await?;
                    let mut letter = String::new();
                    while let Some(line) = lines.next_line().await? {
                        if line == "." {
                            break;
                        }
                        letter += &format!("{line}\n");
                    }
                    self.letters.lock().push(letter);
                    "250 kept"
                }
                (_, None) => "250 ok",
            };
            write.write_all(format!("{reply}\r\n").as_bytes()).await?;
        }
        Ok(())
    }
}
