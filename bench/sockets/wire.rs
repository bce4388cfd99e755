//! The client side of every server that is measured: one WebSocket client, three dialects.
//!
//! Owns no connection and no task. Positions are told apart by the place itself (see [`Spot`]),
//! so that the same client code times them whatever a server adds or leaves out.

use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

pub(crate) const UP_BYTES: usize = 32;
pub(crate) const DOWN_BYTES: usize = 48;
/// Far above what anything takes, so that only what never comes fails.
const PATIENCE: Duration = Duration::from_secs(20);
const DEGREE: f64 = 1e7;

pub(crate) type Socket = WebSocketStream<TcpStream>;

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    SmartLine,
    Echo,
    SocketIo,
}

/// How SmartLine sends positions down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Binary,
}

/// A place in ten-millionths of a degree, which every server passes on exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub lat: i32,
    pub lng: i32,
}

impl Spot {
    pub fn degrees(self) -> (f64, f64) {
        (f64::from(self.lat) / DEGREE, f64::from(self.lng) / DEGREE)
    }

    fn of(lat: f64, lng: f64) -> Self {
        Self { lat: (lat * DEGREE).round() as i32, lng: (lng * DEGREE).round() as i32 }
    }
}

/// The same small buffers for clients and for the bare server.
pub(crate) fn config() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(0)
}

/// A position frame of SmartLine: moving at 36 km/h, known to 5 m.
pub(crate) fn binary(spot: Spot, unix_ms: i64) -> [u8; UP_BYTES] {
    let mut frame = [0; UP_BYTES];
    frame[..2].copy_from_slice(&[1, 1]);
    frame[8..12].copy_from_slice(&spot.lat.to_le_bytes());
    frame[12..16].copy_from_slice(&spot.lng.to_le_bytes());
    frame[18..20].copy_from_slice(&360_u16.to_le_bytes());
    frame[20..22].copy_from_slice(&50_u16.to_le_bytes());
    frame[24..].copy_from_slice(&unix_ms.to_le_bytes());
    frame
}

impl Dialect {
    /// A position going up; `trip` is said only where the server doesn't know it by itself.
    pub fn position(self, spot: Spot, unix_ms: i64, car: usize, trip: &str) -> Message {
        match self {
            Self::SmartLine | Self::Echo => {
                Message::Binary(Bytes::copy_from_slice(&binary(spot, unix_ms)))
            }
            Self::SocketIo => {
                let (lat, lng) = spot.degrees();
                let trip =
                    if trip.is_empty() { String::new() } else { format!(r#","trip":"{trip}""#) };
                let text = format!(
                    r#"42["location",{{"id":"d{car}","lat":{lat},"lng":{lng},"heading":0,"speed":36,"at":{unix_ms}{trip}}}]"#
                );
                Message::Text(text.into())
            }
        }
    }

    /// Reads what came down: every position goes to `saw`; what must be answered is given back.
    pub fn read(self, message: &Message, saw: &mut impl FnMut(Spot)) -> Option<Message> {
        match (self, message) {
            (Self::SmartLine | Self::Echo, Message::Binary(frame)) => {
                if let Some(spot) = spot_down(frame) {
                    saw(spot);
                }
            }
            (Self::SmartLine, Message::Text(text)) if text.starts_with(NEARBY) => {
                if let Ok(frame) = serde_json::from_str::<NearbyFrame>(text)
                    && !frame.data.whole
                {
                    let seen = frame.data.entered.iter().chain(&frame.data.moved);
                    seen.for_each(|at| saw(Spot::of(at.lat, at.lng)));
                }
            }
            (Self::SmartLine, Message::Text(text)) if text.starts_with(LOCATION) => {
                if let Ok(frame) = serde_json::from_str::<LocationFrame>(text) {
                    saw(Spot::of(frame.data.lat, frame.data.lng));
                }
            }
            (Self::SocketIo, Message::Text(text)) => match text.as_str() {
                "2" => return Some(Message::text("3")),
                text => {
                    let event = text.strip_prefix("42").and_then(|t| serde_json::from_str(t).ok());
                    if let Some((_, At { lat, lng })) = event.map(|e: (&str, At)| e) {
                        saw(Spot::of(lat, lng));
                    }
                }
            },
            _ => {}
        }
        None
    }

    /// Opens a socket, ready to be used; `token` says who SmartLine speaks with, and which path of
    /// the bare server is meant.
    pub async fn open(self, address: &str, token: &str, format: Format) -> anyhow::Result<Socket> {
        let connecting = timeout(PATIENCE, TcpStream::connect(address)).await;
        let stream = connecting.with_context(|| format!("{address} doesn't answer"))??;
        self.open_on(stream, address, token, format).await
    }

    /// The same over a connection that is there.
    pub async fn open_on(
        self,
        stream: TcpStream,
        address: &str,
        token: &str,
        format: Format,
    ) -> anyhow::Result<Socket> {
        stream.set_nodelay(true)?;
        let path = match self {
            Self::SmartLine => "ws",
            Self::Echo => token,
            Self::SocketIo => "socket.io/?EIO=4&transport=websocket",
        };
        let mut request = format!("ws://{address}/{path}").into_client_request()?;
        if self == Self::SmartLine {
            let headers = request.headers_mut();
            headers.insert("authorization", format!("Bearer {token}").parse()?);
            if format == Format::Binary {
                headers.insert("sec-websocket-protocol", "smartline.v1.bin".parse()?);
            }
        }
        let opening = client_async_with_config(request, stream, Some(config()));
        let (mut socket, _) =
            timeout(PATIENCE, opening).await.context("the socket does not open")??;
        if self == Self::SocketIo {
            answer(&mut socket, |text| text.starts_with('0')).await?;
            ask(&mut socket, "40", |text| text.starts_with("40")).await?;
        }
        Ok(socket)
    }

    /// Follows the positions of a trip.
    pub async fn follow(self, socket: &mut Socket, trip: &str) -> anyhow::Result<()> {
        match self {
            Self::SmartLine => {
                let data = format!(r#"{{"tripId":"{trip}"}}"#);
                command(socket, "trip.subscribe", &data).await
            }
            Self::Echo => Ok(()),
            Self::SocketIo => {
                let asked = format!(r#"420["follow","{trip}"]"#);
                ask(socket, &asked, |text| text.starts_with("430")).await
            }
        }
    }

    /// Watches the map around a place.
    pub async fn watch(self, socket: &mut Socket, at: Spot, km: f64) -> anyhow::Result<()> {
        let (lat, lng) = at.degrees();
        match self {
            Self::SmartLine => {
                let data = format!(r#"{{"lat":{lat},"lng":{lng},"radius":{km}}}"#);
                command(socket, "nearby.subscribe", &data).await
            }
            Self::Echo => Ok(()),
            Self::SocketIo => {
                let (half_lat, half_lng) = (km / 111.2, km / 96.3);
                let (south, north) = (lat - half_lat, lat + half_lat);
                let (west, east) = (lng - half_lng, lng + half_lng);
                let asked = format!(r#"420["watch",{south},{west},{north},{east}]"#);
                ask(socket, &asked, |text| text.starts_with("430")).await
            }
        }
    }
}

/// A command of SmartLine, and its acknowledgement.
pub(crate) async fn command(socket: &mut Socket, kind: &str, data: &str) -> anyhow::Result<()> {
    let asked = format!(r#"{{"type":"{kind}","id":"1","data":{data}}}"#);
    socket.send(Message::text(asked)).await?;
    let said = answer(socket, |text| text.contains(r#""id":"1""#)).await?;
    match said.contains(r#""type":"ack""#) {
        true => Ok(()),
        false => bail!("SmartLine refused {kind}: {said}"),
    }
}

async fn ask(
    socket: &mut Socket,
    asked: &str,
    wanted: impl Fn(&str) -> bool,
) -> anyhow::Result<()> {
    socket.send(Message::text(asked)).await?;
    answer(socket, wanted).await.map(drop)
}

/// The next text that is `wanted`; what comes before it is dropped.
async fn answer(socket: &mut Socket, wanted: impl Fn(&str) -> bool) -> anyhow::Result<String> {
    let reading = async {
        while let Some(message) = socket.next().await {
            if let Message::Text(text) = message?
                && wanted(&text)
            {
                return Ok(text.to_string());
            }
        }
        bail!("the socket was closed");
    };
    timeout(PATIENCE, reading).await.context("no answer on the socket")?
}

const NEARBY: &str = r#"{"type":"nearby.update""#;
const LOCATION: &str = r#"{"type":"trip.location""#;

#[derive(Deserialize)]
struct At {
    lat: f64,
    lng: f64,
}

#[derive(Deserialize)]
struct LocationFrame {
    data: At,
}

#[derive(Deserialize)]
struct NearbyFrame {
    data: NearbyData,
}

#[derive(Deserialize)]
struct NearbyData {
    entered: Vec<At>,
    moved: Vec<At>,
    #[serde(default)]
    whole: bool,
}

fn spot_down(frame: &[u8]) -> Option<Spot> {
    let rest = frame.get(16..DOWN_BYTES)?;
    let four = |at: usize| Some(i32::from_le_bytes(rest.get(at..at + 4)?.try_into().ok()?));
    Some(Spot { lat: four(8)?, lng: four(12)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOT: Spot = Spot { lat: 300_444_201, lng: 312_357_120 };

    fn seen(dialect: Dialect, message: &Message) -> Vec<Spot> {
        let mut seen = Vec::new();
        dialect.read(message, &mut |spot| seen.push(spot));
        seen
    }

    #[test]
    fn a_position_comes_back_as_it_went() {
        let echoed = [&[0; 16][..], &binary(SPOT, 7)].concat();
        let echoed = Message::Binary(echoed.into());
        assert_eq!(seen(Dialect::Echo, &echoed), [SPOT]);
        assert_eq!(seen(Dialect::SmartLine, &echoed), [SPOT]);
        let event = Dialect::SocketIo.position(SPOT, 7, 3, "t");
        assert_eq!(seen(Dialect::SocketIo, &event), [SPOT]);
        let map = r#"{"type":"nearby.update","room":"cell:1","data":{"entered":[],"moved":
            [{"id":"a","lat":30.0444201,"lng":31.235712,"heading":1.5}],"left":[]}}"#;
        assert_eq!(seen(Dialect::SmartLine, &Message::text(map)), [SPOT]);
    }

    #[test]
    fn the_peer_is_kept_alive() {
        let answer = Dialect::SocketIo.read(&Message::text("2"), &mut |_| {});
        assert_eq!(answer, Some(Message::text("3")));
    }
}
