//! A socket to the server, as a phone holds it.
//!
//! Owns one connection: frames up and down, questions with an id and their one answer, the
//! numbers of the user's own stream. When it is lost it is lost: whoever holds it opens another
//! and resumes. [`Socket::next`] may be dropped at any await without losing a frame.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::api::Failure;
use crate::invariants::{UserStream, Violation};
use crate::stats::{Stats, add};
use crate::wire::{Envelope, Fix, Offer, Refusal, Sighting, TripEvent, TripRef, TripView, Up};

/// Longest wait for the answer to a question.
const ANSWER: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(10);
/// tungstenite zeroes its whole read buffer before every read: a small one costs less.
const BUFFER: usize = 4_096;
/// The subprotocol under which positions come down binary.
const BINARY: &str = "smartline.v1.bin";

/// What came down.
#[derive(Debug)]
pub enum Down {
    Ack {
        id: String,
        data: Option<Box<RawValue>>,
    },
    Error {
        id: Option<String>,
        refusal: Refusal,
    },
    Offer(Offer),
    OfferRevoked(TripRef),
    TripEvent {
        seq: u64,
        event: TripEvent,
    },
    /// Of a trip's room.
    Snapshot {
        seq: u64,
        trip: TripView,
    },
    Location(Sighting),
    Reconnect {
        after: Duration,
    },
    Other,
}

/// Which encoding positions come down in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Json,
    Binary,
}

/// One connection.
pub struct Socket {
    ws: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Frames that came while an answer was awaited.
    inbox: VecDeque<Down>,
    asked: u64,
    user: UserStream,
    user_epoch: Option<u64>,
    found: Vec<Violation>,
    stats: Arc<Stats>,
}

impl Socket {
    pub async fn open(
        url: &str,
        token: &str,
        encoding: Encoding,
        stats: &Arc<Stats>,
    ) -> Result<Self, Failure> {
        let begun = Instant::now();
        let opened = tokio::time::timeout(CONNECT, connect(url, token, encoding)).await;
        stats.answered("socket", begun.elapsed());
        let ws = match opened {
            Ok(Ok(ws)) => ws,
            Ok(Err(failure)) => return Err(failure),
            Err(_) => return Err(Failure::TimedOut),
        };
        add(&stats.totals.connects);
        Ok(Self {
            ws,
            inbox: VecDeque::new(),
            asked: 0,
            user: UserStream::default(),
            user_epoch: None,
            found: Vec::new(),
            stats: stats.clone(),
        })
    }

    /// The next frame, in order.
    pub async fn next(&mut self) -> Result<Down, Failure> {
        match self.inbox.pop_front() {
            Some(down) => Ok(down),
            None => self.read().await,
        }
    }

    /// Asks, and waits for the one answer; what else comes meanwhile is kept for [`Self::next`].
    pub async fn ask<T: DeserializeOwned>(
        &mut self,
        kind: &'static str,
        data: &impl Serialize,
    ) -> Result<T, Failure> {
        self.ask_as(kind, kind, data).await
    }

    /// The same, under a name of its own in the statistics.
    pub async fn ask_as<T: DeserializeOwned>(
        &mut self,
        what: &'static str,
        kind: &'static str,
        data: &impl Serialize,
    ) -> Result<T, Failure> {
        self.asked += 1;
        let id = self.asked.to_string();
        let begun = Instant::now();
        let answer = match tokio::time::timeout(ANSWER, self.converse(kind, &id, data)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::TimedOut),
        };
        self.stats.answered(what, begun.elapsed());
        let answer = answer.and_then(|raw| {
            let text = raw.as_deref().map_or("null", RawValue::get);
            serde_json::from_str(text).map_err(|e| Failure::Odd(format!("{e} in ack of {kind}")))
        });
        if let Err(failure) = &answer {
            self.stats.failed(what, failure.code(), &failure.to_string());
        }
        answer
    }

    async fn converse(
        &mut self,
        kind: &str,
        id: &str,
        data: &impl Serialize,
    ) -> Result<Option<Box<RawValue>>, Failure> {
        self.send_json(kind, Some(id), data).await?;
        loop {
            match self.read().await? {
                Down::Ack { id: answered, data } if answered == id => return Ok(data),
                Down::Error { id: Some(answered), refusal } if answered == id => {
                    return Err(Failure::Refused(refusal));
                }
                other => self.inbox.push_back(other),
            }
        }
    }

    /// Sends a position.
    pub async fn position(&mut self, fix: &Fix, encoding: Encoding) -> Result<(), Failure> {
        match encoding {
            Encoding::Json => self.send_json("location", None, &fix.json()).await,
            Encoding::Binary => {
                let frame = Message::Binary(fix.binary().to_vec().into());
                self.ws.send(frame).await.map_err(|e| lost(&e))
            }
        }
    }

    /// Violations found in the user's own stream since the last call.
    pub fn found(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.found)
    }

    /// Asks for what the user's own stream brought since the socket before this one.
    pub async fn resume_user(
        &mut self,
        room: &str,
        (epoch, seq): (Option<u64>, u64),
    ) -> Result<(), Failure> {
        let mut body = json!({"room": room, "afterSeq": seq});
        if let Some(epoch) = epoch {
            body["epoch"] = epoch.into();
        }
        self.user_epoch = epoch;
        self.user.goes_on_behind(seq);
        match self.ask::<serde_json::Value>("resume", &body).await {
            Err(failure @ Failure::Refused(_)) => {
                // Old offers are over anyway: a server that can't resume loses nothing here.
                self.user.forget();
                Err(failure)
            }
            other => other.map(|_| ()),
        }
    }

    /// Epoch and number of the last event of the user's own stream.
    pub fn user_stream(&self) -> Option<(Option<u64>, u64)> {
        Some((self.user_epoch, self.user.last()?))
    }

    /// Says goodbye; not waiting long for the other's.
    pub async fn close(mut self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.ws.close(None)).await;
    }

    async fn send_json(
        &mut self,
        kind: &str,
        id: Option<&str>,
        data: &impl Serialize,
    ) -> Result<(), Failure> {
        let text = serde_json::to_string(&Up { kind, id, data })
            .map_err(|e| Failure::Odd(format!("can't write {kind}: {e}")))?;
        self.ws.send(Message::Text(text.into())).await.map_err(|e| lost(&e))
    }

    /// The next frame that can be read; one that can't is counted, and the socket lives on.
    async fn read(&mut self) -> Result<Down, Failure> {
        loop {
            let message = match self.ws.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(lost(&error)),
                None => return Err(Failure::Lost("closed".to_owned())),
            };
            let parsed = match message {
                Message::Text(text) => self.parse(&text),
                Message::Binary(bytes) => {
                    let seen = Sighting::from_binary(&bytes).map(Down::Location);
                    let size = bytes.len();
                    seen.ok_or_else(|| Failure::Odd(format!("a binary frame of {size} bytes")))
                }
                Message::Close(frame) => {
                    let why = frame.map_or_else(
                        || "closed without a code".to_owned(),
                        |frame| format!("closed {} {}", u16::from(frame.code), frame.reason),
                    );
                    return Err(Failure::Lost(why));
                }
                // Pongs are sent by tungstenite itself on the next read.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            };
            add(&self.stats.totals.frames_down);
            match parsed {
                Ok(down) => return Ok(down),
                Err(odd) => self.stats.failed("frame", odd.code(), &odd.to_string()),
            }
        }
    }

    fn parse(&mut self, text: &Utf8Bytes) -> Result<Down, Failure> {
        let odd = |e: serde_json::Error| {
            let start: String = text.chars().take(300).collect();
            Failure::Odd(format!("{e} in frame {start}"))
        };
        let frame: Envelope<'_> = serde_json::from_str(text).map_err(odd)?;
        let raw = frame.data.map_or("null", RawValue::get);
        let of_trip = frame.room.as_deref().is_some_and(|room| room.starts_with("trip:"));
        if let (Some(seq), false) = (frame.seq, of_trip) {
            self.number(&frame, seq);
        }
        let seq = frame.seq.unwrap_or(0);
        Ok(match frame.kind.as_ref() {
            "ack" => Down::Ack {
                id: frame.id.unwrap_or_default(),
                data: frame.data.map(ToOwned::to_owned),
            },
            "error" => {
                let Some(refusal) = frame.error else {
                    return Err(Failure::Odd("an error frame without an error".to_owned()));
                };
                Down::Error { id: frame.id, refusal }
            }
            "offer" => Down::Offer(serde_json::from_str(raw).map_err(odd)?),
            "offer.revoked" => Down::OfferRevoked(serde_json::from_str(raw).map_err(odd)?),
            "trip.event" => Down::TripEvent { seq, event: serde_json::from_str(raw).map_err(odd)? },
            "trip.location" => Down::Location(serde_json::from_str(raw).map_err(odd)?),
            "snapshot" if of_trip => {
                add(&self.stats.totals.snapshots);
                Down::Snapshot { seq, trip: serde_json::from_str(raw).map_err(odd)? }
            }
            "reconnect" => Down::Reconnect { after: after(raw) },
            "nearby.update" => {
                add(&self.stats.totals.nearby_down);
                Down::Other
            }
            _ => Down::Other,
        })
    }

    /// Checks a number of the user's own stream.
    fn number(&mut self, frame: &Envelope<'_>, seq: u64) {
        let kind = frame.kind.as_ref();
        if kind == "snapshot" {
            self.user.goes_on_behind(seq);
        } else if ["offer", "offer.revoked", "bid", "chat", "notice"].contains(&kind) {
            if frame.epoch.is_some() && frame.epoch != self.user_epoch {
                // A new epoch begins a new count.
                self.user.forget();
            }
            self.found.extend(self.user.event(kind, seq));
        }
        self.user_epoch = frame.epoch.or(self.user_epoch);
    }
}

async fn connect(
    url: &str,
    token: &str,
    encoding: Encoding,
) -> Result<WebSocketStream<MaybeTlsStream<TcpStream>>, Failure> {
    let odd = |e: &dyn std::fmt::Display| Failure::Odd(e.to_string());
    let address = format!("{}/ws", url.replacen("http://", "ws://", 1));
    let mut request = address.into_client_request().map_err(|e| odd(&e))?;
    let bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|e| odd(&e))?;
    request.headers_mut().insert("Authorization", bearer);
    if encoding == Encoding::Binary {
        let binary = HeaderValue::from_static(BINARY);
        request.headers_mut().insert("Sec-WebSocket-Protocol", binary);
    }
    let config = WebSocketConfig::default().read_buffer_size(BUFFER).write_buffer_size(0);
    let opened = tokio_tungstenite::connect_async_with_config(request, Some(config), true).await;
    match opened {
        Ok((ws, _)) => Ok(ws),
        Err(Error::Http(response)) => Err(refused(&response)),
        Err(error) => Err(lost(&error)),
    }
}

/// An upgrade that was answered with an ordinary HTTP error.
fn refused(response: &Response<Option<Vec<u8>>>) -> Failure {
    #[derive(serde::Deserialize)]
    struct Reply {
        error: Refusal,
    }
    let body = response.body().as_deref().unwrap_or_default();
    let code = match serde_json::from_slice::<Reply>(body) {
        Ok(reply) => return Failure::Refused(reply.error),
        Err(_) if response.status() == 401 => "UNAUTHENTICATED",
        Err(_) => "UPGRADE_REFUSED",
    };
    let message = format!("the upgrade was answered with HTTP {}", response.status());
    let details = serde_json::Value::Null;
    Failure::Refused(Refusal { code: code.to_owned(), message, details })
}

fn after(raw: &str) -> Duration {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Hint {
        after_ms: u64,
    }
    let millis = serde_json::from_str::<Hint>(raw).map_or(1_000, |hint| hint.after_ms);
    Duration::from_millis(millis.min(30_000))
}

fn lost(error: &Error) -> Failure {
    match error {
        Error::Protocol(problem) => Failure::Lost(format!("protocol: {problem}")),
        other => Failure::Lost(other.to_string()),
    }
}
