//! WebSocket frames (RFC 6455, section 5), the server's side: heads read and written, no state.
//!
//! Does no I/O. A client's frames are masked, ours never are; no extension is spoken, so reserved
//! bits are an error.

use base::limits;

use crate::transport::Broken;

/// The longest payload of a control frame.
pub(crate) const CONTROL_BYTES: usize = 125;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    const fn parse(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Continuation),
            1 => Some(Self::Text),
            2 => Some(Self::Binary),
            8 => Some(Self::Close),
            9 => Some(Self::Ping),
            10 => Some(Self::Pong),
            _ => None,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    const fn is_control(self) -> bool {
        self.bits() >= 8
    }
}

/// What stands before a client's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) last: bool,
    pub(crate) opcode: Opcode,
    mask: [u8; 4],
    /// Bytes of the head itself.
    pub(crate) size: usize,
    /// Bytes of the payload, at most [`limits::FRAME_BYTES`].
    pub(crate) payload: usize,
}

impl Head {
    /// Reads a head; `None` while more bytes are needed. What breaks the protocol is an error as
    /// soon as it is seen, and a payload that is too big before it is read.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, Broken> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let opcode = Opcode::parse(first & 0x0F).ok_or(Broken::Protocol)?;
        let last = first & 0x80 != 0;
        if first & 0x70 != 0 || second & 0x80 == 0 {
            return Err(Broken::Protocol);
        }
        let (payload, long) = match (second & 0x7F, rest) {
            (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 2),
            (127, [a, b, c, d, e, f, g, h, ..]) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 8)
            }
            (126 | 127, _) if opcode.is_control() => return Err(Broken::Protocol),
            (126 | 127, _) => return Ok(None),
            (short, _) => (u64::from(short), 0),
        };
        if opcode.is_control() && (!last || payload > CONTROL_BYTES as u64) {
            return Err(Broken::Protocol);
        }
        let fits = usize::try_from(payload).ok().filter(|bytes| *bytes <= limits::FRAME_BYTES);
        let payload = fits.ok_or(Broken::TooBig)?;
        let Some(&[a, b, c, d]) = rest.get(long..long + 4) else { return Ok(None) };
        Ok(Some(Self { last, opcode, mask: [a, b, c, d], size: 2 + long + 4, payload }))
    }

    /// Takes the client's mask off a whole payload.
    pub(crate) fn unmask(&self, payload: &mut [u8]) {
        let (words, rest) = payload.as_chunks_mut::<4>();
        for word in words {
            *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(self.mask)).to_ne_bytes();
        }
        rest.iter_mut().zip(self.mask).for_each(|(byte, mask)| *byte ^= mask);
    }
}

/// Appends a frame of ours, whole in itself.
pub(crate) fn put(output: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    output.reserve(10 + payload.len());
    output.push(0x80 | opcode.bits());
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..126), _) => output.push(short),
        (_, Ok(long)) => {
            output.push(126);
            output.extend_from_slice(&long.to_be_bytes());
        }
        (_, Err(_)) => {
            output.push(127);
            output.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    output.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_as_the_standard_says() {
        let check = |bytes: &[u8], expected: &str| {
            let found = match Head::parse(bytes) {
                Ok(Some(Head { last, opcode, mask, size, payload })) => {
                    assert_eq!(mask, [1, 2, 3, 4]);
                    let last = if last { "last" } else { "more" };
                    format!("{opcode:?} {last} {size}+{payload}")
                }
                Ok(None) => "waits".to_owned(),
                Err(error) => format!("{error:?}"),
            };
            assert_eq!(found, expected, "{bytes:?}");
        };
        check(&[], "waits");
        check(&[0x82], "waits");
        check(&[0x82, 0xA0, 1, 2, 3], "waits");
        check(&[0x82, 0xA0, 1, 2, 3, 4], "Binary last 6+32");
        check(&[0x01, 0x80, 1, 2, 3, 4, 9], "Text more 6+0");
        check(&[0x80, 0xFE, 1, 0, 1, 2, 3, 4], "Continuation last 8+256");
        check(&[0x80, 0xFE, 1], "waits");
        check(&[0x81, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4], "Text last 14+65536");
        check(&[0x81, 0xFF, 0, 0, 0, 0, 0, 1, 0, 1], "TooBig");
        check(&[0x81, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0], "TooBig");
        check(&[0x82, 0x20], "Protocol"); // not masked
        check(&[0xC2, 0xA0], "Protocol"); // a reserved bit
        check(&[0x83, 0x80], "Protocol"); // an unknown kind
        check(&[0x8B, 0x80], "Protocol");
        check(&[0x09, 0x80], "Protocol"); // a ping in parts
        check(&[0x89, 0xFE], "Protocol"); // a ping too long
        check(&[0x89, 0xFD, 1, 2, 3, 4], "Ping last 6+125");
    }

    #[test]
    fn the_examples_of_the_standard_are_read_and_written() {
        // RFC 6455, section 5.7: "Hello", masked and not.
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let head = Head::parse(&masked).unwrap().unwrap();
        let mut payload = masked[head.size..].to_vec();
        head.unmask(&mut payload);
        assert_eq!(payload, b"Hello");
        let mut output = Vec::new();
        put(&mut output, Opcode::Text, b"Hello");
        assert_eq!(output, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);

        let start = |size: usize| {
            let mut output = Vec::new();
            put(&mut output, Opcode::Binary, &vec![0; size]);
            assert_eq!(
                output.len() - size,
                if size < 126 {
                    2
                } else if size < 65536 {
                    4
                } else {
                    10
                }
            );
            output[..4].to_vec()
        };
        assert_eq!(start(125)[..2], [0x82, 0x7D]);
        assert_eq!(start(126), [0x82, 0x7E, 0x00, 0x7E]);
        assert_eq!(start(256), [0x82, 0x7E, 0x01, 0x00]);
        assert_eq!(start(65536), [0x82, 0x7F, 0x00, 0x00]);
    }
}
