//! The socket below: WebSocket messages on the upgraded TCP stream itself.
//!
//! An own codec because of what it costs (docs/decisions/0006): a message is one read into the
//! stack and one write from a small buffer, with no layer between, and a socket at rest holds next
//! to nothing. Everything else about a socket is above the seam of [`Transport`].
//!
//! Guarantees:
//! - the same bytes give the same messages as tungstenite's server reads;
//!   (test: `reads_what_tungstenite_reads`)
//! - holds at most a message and a frame of input, and one frame beyond [`GATHER`] of output;
//! - of pings that come faster than pongs can go only the newest is answered (RFC 6455, 5.5.3).

use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rooms::Body;
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::poll_proceed;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::close::Close;
use crate::frame::{self, CONTROL_BYTES, Opcode};
use crate::reader::{Payload, Read, Reader};
use crate::transport::{Broken, Outgoing, Received, Transport};

/// Read at once.
const READ: usize = 4096;
/// Messages gather up to here before a write; a flush ends every turn anyway.
const GATHER: usize = 4096;
/// An emptied buffer larger than this gives its memory back.
const KEEP: usize = 256;

/// A WebSocket's server side on `stream`.
pub(crate) struct WebSocket<S> {
    stream: S,
    reader: Reader,
    input: Input,
    output: Output,
    /// The newest ping that is not answered yet.
    ping: Option<Payload>,
    /// The close frame is among our output: nothing follows it.
    closed: bool,
    /// The client's close frame came: nothing more is read.
    ended: bool,
}

/// Bytes read and not yet used: the start of a frame, or the frames after the one at hand.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
    used: usize,
}

/// Bytes taken and not yet written.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    written: usize,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> WebSocket<S> {
    /// `early` was read of the stream already, behind the request that opened the socket.
    pub(crate) fn new(stream: S, early: &[u8]) -> Self {
        let (reader, mut input) = (Reader::default(), Input::default());
        input.keep(early);
        let output = Output::default();
        Self { stream, reader, input, output, ping: None, closed: false, ended: false }
    }

    /// The next frame, out of what was read before or of one read; `None` when it is not all there
    /// or no message by itself. Each is taken from what the task may do before it gives way, so
    /// that a client with many frames is not served before all others.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Received>, Broken>> {
        let turn = ready!(poll_proceed(cx));
        if !self.input.rest().is_empty()
            && let Some((read, size)) = self.reader.take(self.input.rest())?
        {
            turn.made_progress();
            self.input.advance(size);
            return Poll::Ready(Ok(self.understand(read)));
        }
        drop(turn);
        self.poll_read(cx)
    }

    /// Reads once. A whole frame, the common case, is used where it was read.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Received>, Broken>> {
        let mut scratch = [const { MaybeUninit::<u8>::uninit() }; READ];
        let mut read = ReadBuf::uninit(&mut scratch);
        let done = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read));
        let mut bytes: &[u8] = read.filled();
        if done.is_err() || bytes.is_empty() {
            return Poll::Ready(Err(Broken::Gone));
        }
        let mut received = None;
        if self.input.rest().is_empty()
            && let Some((read, size)) = self.reader.take(bytes)?
        {
            bytes = &bytes[size..];
            received = self.understand(read);
        }
        self.input.keep(bytes);
        Poll::Ready(Ok(received))
    }

    fn understand(&mut self, read: Read) -> Option<Received> {
        match read {
            Read::Text(text) => Some(Received::Text(text)),
            Read::Binary(payload) => Some(Received::Binary(payload)),
            Read::Part => None,
            Read::Ping(payload) => {
                self.ping = Some(payload);
                Some(Received::Sign)
            }
            Read::Pong => Some(Received::Sign),
            Read::Close(code) => {
                self.ended = true;
                // Unless it answers ours.
                if !self.closed {
                    self.close(code, "");
                }
                Some(Received::Closing)
            }
        }
    }

    fn close(&mut self, code: Option<CloseCode>, reason: &str) {
        let mut payload: SmallVec<[u8; CONTROL_BYTES]> = SmallVec::new();
        if let Some(code) = code {
            payload.extend_from_slice(&u16::from(code).to_be_bytes());
            payload.extend_from_slice(reason.as_bytes());
        }
        self.output.put(Opcode::Close, &payload);
        self.closed = true;
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        while let Some(rest) = self.output.rest() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(0) | Err(_) => return Poll::Ready(Err(Broken::Gone)),
                Ok(written) => self.output.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Transport for WebSocket<S> {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Broken>> {
        if self.ended {
            ready!(self.poll_write(cx))?;
            return Poll::Ready(Err(Broken::Gone));
        }
        loop {
            match self.poll_frame(cx) {
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Ok(Some(received))) => return Poll::Ready(Ok(received)),
                Poll::Ready(Err(broken)) => return Poll::Ready(Err(broken)),
                Poll::Pending => {
                    // The answer to a ping has no other turn to go out in.
                    return match self.poll_flush(cx) {
                        Poll::Ready(Err(broken)) => Poll::Ready(Err(broken)),
                        Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.output.waits() < GATHER { Poll::Ready(Ok(())) } else { self.poll_write(cx) }
    }

    fn send(&mut self, message: Outgoing) -> Result<(), Broken> {
        // What still waits behind a close frame, the client's or ours, has nowhere to go.
        if self.closed {
            return Ok(());
        }
        match message {
            Outgoing::Body(Body::Text(json)) => self.output.put(Opcode::Text, &json),
            Outgoing::Body(Body::Binary(bytes)) => self.output.put(Opcode::Binary, &bytes),
            Outgoing::Ping => self.output.put(Opcode::Ping, &[]),
            Outgoing::Close(Close { code, reason }) => self.close(Some(code.into()), reason),
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.output.waits() < GATHER
            && !self.closed
            && let Some(payload) = self.ping.take()
        {
            self.output.put(Opcode::Pong, &payload);
        }
        self.poll_write(cx)
    }
}

impl Input {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    fn advance(&mut self, size: usize) {
        self.used += size;
        if self.used == self.bytes.len() {
            *self = Self::default();
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        // What was used makes room first.
        self.bytes.drain(..self.used);
        self.used = 0;
        self.bytes.extend_from_slice(bytes);
    }
}

impl Output {
    fn put(&mut self, opcode: Opcode, payload: &[u8]) {
        // What was written makes room first.
        self.bytes.drain(..self.written);
        self.written = 0;
        frame::put(&mut self.bytes, opcode, payload);
    }

    fn waits(&self) -> usize {
        self.bytes.len() - self.written
    }

    fn rest(&self) -> Option<&[u8]> {
        Some(&self.bytes[self.written..]).filter(|rest| !rest.is_empty())
    }

    fn advance(&mut self, written: usize) {
        self.written += written;
        if self.written < self.bytes.len() {
            return;
        }
        self.written = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        }
    }
}

#[cfg(test)]
#[path = "websocket_tests.rs"]
mod tests;
