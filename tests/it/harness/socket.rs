//! A socket of the test's own: sends frames, waits for the ones it names.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::person::Person;
use super::server::Outside;

/// How long a test waits for something that must come; far above what it takes, so that only a
/// missing frame fails.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Frames that came while another was waited for, oldest first.
    seen: Vec<Value>,
    next_id: u32,
}

impl Socket {
    pub async fn open(server: &Outside, person: &Person) -> Self {
        Self::try_open(server, Some(&person.token)).await.expect("the socket opens")
    }

    /// The same, and what happens from now on is heard: the server has begun to write to it.
    pub async fn listen(server: &Outside, person: &Person) -> Self {
        let mut socket = Self::open(server, person).await;
        socket.ok("ping", json!({})).await;
        socket
    }

    /// A socket that gets positions in their compact form.
    pub async fn open_binary(server: &Outside, person: &Person) -> Self {
        let bearer = format!("Bearer {}", person.token);
        let headers =
            [("authorization", bearer.as_str()), ("sec-websocket-protocol", "smartline.v1.bin")];
        Self::try_open_at(server, "/ws", &headers).await.expect("the socket opens")
    }

    /// The HTTP status when the upgrade is refused.
    pub async fn try_open(server: &Outside, token: Option<&str>) -> Result<Self, u16> {
        match token {
            Some(token) => {
                let bearer = format!("Bearer {token}");
                Self::try_open_at(server, "/ws", &[("authorization", &bearer)]).await
            }
            None => Self::try_open_at(server, "/ws", &[]).await,
        }
    }

    /// The same at any address, with any headers.
    pub async fn try_open_at(
        server: &Outside,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, u16> {
        let url = format!("ws://{}{path}", server.address);
        let mut request = url.into_client_request().expect("a valid address");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header"));
        }
        match connect_async(request).await {
            Ok((stream, _)) => Ok(Self { stream, seen: Vec::new(), next_id: 0 }),
            Err(tungstenite::Error::Http(refused)) => Err(refused.status().as_u16()),
            Err(error) => panic!("no answer at all: {error}"),
        }
    }

    pub async fn send_text(&mut self, text: impl Into<String>) {
        self.stream.send(Message::text(text.into())).await.expect("the frame leaves");
    }

    pub async fn send_binary(&mut self, bytes: Vec<u8>) {
        self.stream.send(Message::binary(bytes)).await.expect("the frame leaves");
    }

    /// Sends a command and waits for its `ack` or `error`.
    pub async fn call(&mut self, kind: &str, data: Value) -> Value {
        self.next_id += 1;
        let id = self.next_id.to_string();
        self.send_text(json!({"type": kind, "id": id, "data": data}).to_string()).await;
        self.wait(|frame| frame["id"] == id.as_str()).await
    }

    /// Like [`Socket::call`], under an idempotency key.
    pub async fn once(&mut self, kind: &str, data: Value, key: &str) -> Value {
        self.next_id += 1;
        let id = self.next_id.to_string();
        let frame = json!({"type": kind, "id": id, "data": data, "idempotencyKey": key});
        self.send_text(frame.to_string()).await;
        self.wait(|frame| frame["id"] == id.as_str()).await
    }

    /// Like [`Socket::call`], for commands that must succeed: `data` of the ack.
    pub async fn ok(&mut self, kind: &str, data: Value) -> Value {
        let answer = self.call(kind, data).await;
        assert_eq!(answer["type"], "ack", "{answer}");
        answer["data"].clone()
    }

    /// The next frame of this type, also one that came already.
    pub async fn next(&mut self, kind: &str) -> Value {
        self.wait(|frame| frame["type"] == kind).await
    }

    /// The next `trip.event` of this name.
    pub async fn event(&mut self, name: &str) -> Value {
        self.wait(|frame| frame["type"] == "trip.event" && frame["data"]["event"] == name).await
    }

    pub async fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for("it", wanted).await
    }

    /// The same for `what`, which a failure names.
    pub async fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.seen.iter().position(&wanted) {
            return self.seen.remove(at);
        }
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                let frame = self.read().await.unwrap_or_else(|end| panic!("closed: {end:?}"));
                if wanted(&frame) {
                    return frame;
                }
                self.seen.push(frame);
            }
        });
        let found = found.await;
        found.unwrap_or_else(|_| panic!("{what} never came; seen so far: {:#?}", self.seen))
    }

    /// The next text frame as JSON, or how the socket was closed.
    pub async fn read(&mut self) -> Result<Value, Option<CloseFrame>> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    return Ok(serde_json::from_str(&text).expect("frames are JSON"));
                }
                Some(Ok(Message::Close(frame))) => return Err(frame),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// A frame of this type that came while another was waited for.
    pub fn waiting(&self, kind: &str) -> Option<&Value> {
        self.seen.iter().find(|frame| frame["type"] == kind)
    }

    /// The next binary frame.
    pub async fn binary(&mut self) -> Vec<u8> {
        let found = tokio::time::timeout(PATIENCE, async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Binary(bytes))) => return bytes.to_vec(),
                    Some(Ok(Message::Text(text))) => {
                        self.seen.push(serde_json::from_str(&text).expect("frames are JSON"));
                    }
                    Some(Ok(_)) => {}
                    end => panic!("closed: {end:?}"),
                }
            }
        });
        found.await.expect("a binary frame comes in time")
    }

    /// Reads until the server closes; the close code (1006 when it just vanished).
    pub async fn closed(&mut self) -> u16 {
        let end = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Err(frame) = self.read().await {
                    return frame.map_or(1006, |frame| u16::from(frame.code));
                }
            }
        });
        end.await.expect("the server closes in time")
    }

    /// Vanishes without a word.
    pub fn drop_connection(self) {
        drop(self);
    }
}
