//! The seam between a connection and the codec below it: four verbs.

use std::task::{Context, Poll};

use rooms::Body;

use crate::close::Close;
use crate::reader::Payload;

/// What came from the client.
#[derive(Debug)]
pub(crate) enum Received {
    Text(String),
    Binary(Payload),
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
    /// Not WebSocket.
    Protocol,
    /// Text that is no UTF-8.
    Text,
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
