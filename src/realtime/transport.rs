//! The socket below: axum's WebSocket behind four verbs.
//!
//! The seam at which another codec can take its place. Nothing here knows lanes or rooms.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures_util::{Sink, Stream};
use rooms::Body;
use tokio_tungstenite::tungstenite;

use crate::close::Close;

/// What came from the client.
#[derive(Debug)]
pub(crate) enum Received {
    Text(Utf8Bytes),
    Binary(Bytes),
    /// A ping (answered below) or a pong.
    Sign,
    /// The client closes; the answer is on its way.
    Closing,
}

/// What goes to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    Body(Body),
    Ping,
    Close(Close),
}

/// Why nothing more can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A frame or message over the limit.
    TooBig,
    /// Not WebSocket, or text that is no UTF-8.
    Protocol,
    /// The connection ended.
    Gone,
}

pub(crate) trait Transport: Send {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Broken>>;
    /// Ready to take one message.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>>;
    /// Takes a message; may write at once.
    fn send(&mut self, message: Outgoing) -> Result<(), Broken>;
    /// Writes what was taken.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>>;
}

impl Transport for WebSocket {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Broken>> {
        Pin::new(self).poll_next(cx).map(|message| match message {
            None => Err(Broken::Gone),
            Some(Err(error)) => Err(broken(error)),
            Some(Ok(Message::Text(text))) => Ok(Received::Text(text)),
            Some(Ok(Message::Binary(bytes))) => Ok(Received::Binary(bytes)),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(Received::Sign),
            Some(Ok(Message::Close(_))) => Ok(Received::Closing),
        })
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Sink::poll_ready(Pin::new(self), cx).map_err(broken)
    }

    fn send(&mut self, message: Outgoing) -> Result<(), Broken> {
        let message = match message {
            Outgoing::Body(Body::Text(json)) => {
                let text = Utf8Bytes::try_from(json);
                Message::Text(text.map_err(|_| Broken::Gone)?)
            }
            Outgoing::Body(Body::Binary(bytes)) => Message::Binary(bytes),
            Outgoing::Ping => Message::Ping(Bytes::new()),
            Outgoing::Close(close) => Message::Close(Some(CloseFrame {
                code: close.code,
                reason: Utf8Bytes::from_static(close.reason),
            })),
        };
        Sink::start_send(Pin::new(self), message).map_err(broken)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        Sink::poll_flush(Pin::new(self), cx).map_err(broken)
    }
}

fn broken(error: axum::Error) -> Broken {
    match error.into_inner().downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => Broken::TooBig,
        // A peer that hangs up without a close frame is gone, not rude.
        Some(tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        )) => Broken::Gone,
        Some(tungstenite::Error::Protocol(_) | tungstenite::Error::Utf8(_)) => Broken::Protocol,
        _ => Broken::Gone,
    }
}
