//! From an HTTP request to a socket on the TCP stream below it (RFC 6455, section 4.2).
//!
//! Decides nothing about who may: that is `upgrade`'s.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use base::{Code, Problem};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::websocket::WebSocket;

/// The one version there is.
pub(crate) const VERSION: HeaderValue = HeaderValue::from_static("13");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// A request that asks for a WebSocket, rightly.
pub(crate) struct Handshake {
    accept: HeaderValue,
    upgrade: OnUpgrade,
}

impl Handshake {
    pub(crate) fn of(request: &mut Request) -> Result<Self, Problem> {
        let wrong = |why| Problem::new(Code::UpgradeRequired, why);
        let headers = request.headers();
        if request.method() != Method::GET
            || !names(headers, &header::CONNECTION, "upgrade")
            || !names(headers, &header::UPGRADE, "websocket")
        {
            return Err(wrong("this address speaks WebSocket over HTTP/1.1: send Upgrade"));
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
            return Err(wrong("Sec-WebSocket-Version must be 13"));
        }
        let key = headers.get(header::SEC_WEBSOCKET_KEY);
        let key = key.ok_or_else(|| wrong("Sec-WebSocket-Key is missing"))?;
        let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()))
            .map_err(|_| wrong("Sec-WebSocket-Key is no key"))?;
        let upgrade = request.extensions_mut().remove::<OnUpgrade>();
        let upgrade = upgrade.ok_or_else(|| wrong("this connection can't be upgraded"))?;
        Ok(Self { accept, upgrade })
    }

    /// The answer after which [`Self::socket`] is the client's.
    pub(crate) fn answer(&self, protocol: Option<&'static str>) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, WEBSOCKET);
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept.clone());
        if let Some(protocol) = protocol {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        }
        response
    }

    /// The socket, once the answer is sent, on the caller's runtime; `None` when the client left
    /// before. Nothing of the request stays in memory.
    pub(crate) async fn socket(self) -> Option<WebSocket<TcpStream>> {
        let upgraded = self.upgrade.await.ok()?;
        let Ok(parts) = downcast::<TokioIo<TcpStream>>(upgraded) else {
            tracing::error!("a socket was upgraded from something that is no TCP stream");
            return None;
        };
        // To be woken by the runtime of whoever calls, not by the one that took the request.
        let stream = parts.io.into_inner().into_std().and_then(TcpStream::from_std);
        let failed = |error| tracing::error!(%error, "a socket could not be moved to its core");
        Some(WebSocket::new(stream.map_err(failed).ok()?, &parts.read_buf))
    }
}

fn names(headers: &HeaderMap, header: &HeaderName, word: &str) -> bool {
    listed(headers, header).any(|name| name.eq_ignore_ascii_case(word))
}

/// The comma-separated values of a header, however often it stands there.
pub(crate) fn listed<'a>(
    headers: &'a HeaderMap,
    header: &HeaderName,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let lines = headers.get_all(header).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_no_handshake_is_told_why() {
        let right = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let check = |method: Method, changed: Option<(&str, &str)>, expected: &str| {
            let mut request = Request::builder().method(method);
            for (name, value) in right {
                let value = changed.filter(|(other, _)| *other == name).map_or(value, |new| new.1);
                request = request.header(name, value);
            }
            let mut request = request.body(Body::empty()).unwrap();
            let problem = Handshake::of(&mut request).err().unwrap();
            assert_eq!(problem.code, Code::UpgradeRequired);
            assert!(problem.message.contains(expected), "{problem}");
        };
        check(Method::POST, None, "speaks WebSocket");
        check(Method::GET, Some(("connection", "close")), "speaks WebSocket");
        check(Method::GET, Some(("upgrade", "h2c")), "speaks WebSocket");
        check(Method::GET, Some(("sec-websocket-version", "8")), "must be 13");
        // All right but for the connection, which a made-up request has not.
        check(Method::GET, None, "can't be upgraded");
    }
}
