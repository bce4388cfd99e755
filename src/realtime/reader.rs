//! Frames become messages: parts joined, text checked, what breaks the protocol refused.
//!
//! Pure: bytes in, messages out. A message has at most [`limits::FRAME_BYTES`].

use base::limits;
use smallvec::SmallVec;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::frame::{Head, Opcode};
use crate::transport::Broken;

/// A payload; one as short as a position's needs no memory of its own.
pub(crate) type Payload = SmallVec<[u8; rooms::codec::UP_BYTES]>;

/// What a whole frame turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Text(String),
    Binary(Payload),
    /// A part of a message that goes on.
    Part,
    Ping(Payload),
    Pong,
    /// The client closes; the code to answer with.
    Close(Option<CloseCode>),
}

#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// The parts of a message so far, and of which kind it will be.
    parts: Option<(Opcode, Vec<u8>)>,
}

impl Reader {
    /// The frame that `bytes` begin with, and its size; `None` while it is not all there.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Option<(Read, usize)>, Broken> {
        let Some(head) = Head::parse(bytes)? else { return Ok(None) };
        self.fits(&head)?;
        let size = head.size + head.payload;
        let Some(masked) = bytes.get(head.size..size) else { return Ok(None) };
        let mut payload = Payload::from_slice(masked);
        head.unmask(&mut payload);
        let read = match head.opcode {
            Opcode::Text | Opcode::Binary | Opcode::Continuation => self.join(&head, payload)?,
            Opcode::Ping => Read::Ping(payload),
            Opcode::Pong => Read::Pong,
            Opcode::Close => Read::Close(close_code(&payload)?),
        };
        Ok(Some((read, size)))
    }

    /// May a frame like this come now?
    fn fits(&self, head: &Head) -> Result<(), Broken> {
        match (head.opcode, &self.parts) {
            (Opcode::Continuation, None) | (Opcode::Text | Opcode::Binary, Some(_)) => {
                Err(Broken::Protocol)
            }
            (Opcode::Continuation, Some((_, parts)))
                if parts.len() + head.payload > limits::FRAME_BYTES =>
            {
                Err(Broken::TooBig)
            }
            _ => Ok(()),
        }
    }

    /// A message is whole, or goes on in frames to come.
    fn join(&mut self, head: &Head, payload: Payload) -> Result<Read, Broken> {
        let (opcode, whole) = match self.parts.take() {
            Some((opcode, mut parts)) => {
                parts.extend_from_slice(&payload);
                (opcode, Payload::from_vec(parts))
            }
            None => (head.opcode, payload),
        };
        if !head.last {
            self.parts = Some((opcode, whole.into_vec()));
            return Ok(Read::Part);
        }
        if opcode == Opcode::Binary {
            return Ok(Read::Binary(whole));
        }
        String::from_utf8(whole.into_vec()).map(Read::Text).map_err(|_| Broken::Text)
    }
}

/// The code to answer a close frame with: the client's own, unless it may not be sent.
fn close_code(payload: &[u8]) -> Result<Option<CloseCode>, Broken> {
    match payload {
        [] => Ok(None),
        [a, b, reason @ ..] if std::str::from_utf8(reason).is_ok() => {
            let code = CloseCode::from(u16::from_be_bytes([*a, *b]));
            Ok(Some(if code.is_allowed() { code } else { CloseCode::Protocol }))
        }
        _ => Err(Broken::Protocol),
    }
}
