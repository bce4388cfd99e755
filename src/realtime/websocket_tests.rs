//! Claims about the codec: the same messages as another implementation reads, and answers that it
//! understands.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use base::limits;
use bytes::Bytes;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

use super::*;

/// A stream that gives its chunks one read each, takes `room` bytes, and then ends.
struct Script {
    chunks: VecDeque<Vec<u8>>,
    written: Vec<u8>,
    room: usize,
}

impl Script {
    fn new(bytes: &[u8], chunk: usize) -> Self {
        let chunks = bytes.chunks(chunk).map(<[u8]>::to_vec).collect();
        Self { chunks, written: Vec::new(), room: usize::MAX }
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(mut chunk) = self.chunks.pop_front() {
            let rest = chunk.split_off(chunk.len().min(into.remaining()));
            into.put_slice(&chunk);
            if !rest.is_empty() {
                self.chunks.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let size = bytes.len().min(self.room);
        if size == 0 {
            return Poll::Pending;
        }
        self.room -= size;
        self.written.extend_from_slice(&bytes[..size]);
        Poll::Ready(Ok(size))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl io::Read for Script {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut read = ReadBuf::new(into);
        let _ = Pin::new(self).poll_read(&mut Context::from_waker(Waker::noop()), &mut read);
        Ok(read.filled().len())
    }
}

impl io::Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A frame as a client sends it.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame::put(&mut frame, Opcode::Text, payload);
    let head = frame.len() - payload.len();
    frame[0] = first;
    frame[1] |= 0x80;
    let mask = [7, 1, 9, 200];
    let hidden = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    let hidden: Vec<u8> = mask.into_iter().chain(hidden).collect();
    frame.splice(head.., hidden);
    frame
}

/// What the messages are, one word each, until the stream or the protocol ends.
fn ours(bytes: &[u8], chunk: usize) -> (Vec<String>, Vec<u8>) {
    let mut socket = WebSocket::new(Script::new(bytes, chunk), &[]);
    let mut cx = Context::from_waker(Waker::noop());
    let mut said = Vec::new();
    while let Poll::Ready(Ok(received)) = socket.poll_receive(&mut cx) {
        said.push(match received {
            Received::Text(text) => format!("text {text:.9} {}", text.len()),
            Received::Binary(bytes) => format!("binary {:?}", &bytes[..bytes.len().min(9)]),
            Received::Sign => "sign".to_owned(),
            Received::Closing => "close".to_owned(),
        });
        let _ = socket.poll_flush(&mut cx);
    }
    (said, socket.stream.written)
}

fn theirs(bytes: &[u8], chunk: usize) -> Vec<String> {
    let config = WebSocketConfig::default()
        .max_frame_size(Some(limits::FRAME_BYTES))
        .max_message_size(Some(limits::FRAME_BYTES));
    let script = Script::new(bytes, chunk);
    let mut socket = tungstenite::WebSocket::from_raw_socket(script, Role::Server, Some(config));
    let mut said = Vec::new();
    while let Ok(message) = socket.read() {
        said.push(match message {
            Message::Text(text) => format!("text {:.9} {}", text.as_str(), text.len()),
            Message::Binary(bytes) => format!("binary {:?}", &bytes[..bytes.len().min(9)]),
            Message::Ping(_) | Message::Pong(_) => "sign".to_owned(),
            Message::Close(_) => "close".to_owned(),
            Message::Frame(_) => "frame".to_owned(),
        });
    }
    said
}

/// Our answers, read by their client.
fn answers(written: &[u8]) -> Vec<Message> {
    let script = Script::new(written, 7);
    let mut client = tungstenite::WebSocket::from_raw_socket(script, Role::Client, None);
    std::iter::from_fn(|| client.read().ok()).collect()
}

/// Mostly right, sometimes broken.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let text = |size| prop::collection::vec(b'a'..=b'z', size);
    let bytes = |size| prop::collection::vec(any::<u8>(), size);
    prop_oneof![
        4 => text(0..300).prop_map(|text| masked(0x81, &text)),
        4 => bytes(0..300).prop_map(|bytes| masked(0x82, &bytes)),
        2 => text(0..300).prop_map(|text| masked(0x01, &text)),
        3 => text(0..300).prop_map(|text| masked(0x00, &text)),
        3 => text(0..300).prop_map(|text| masked(0x80, &text)),
        2 => bytes(0..126).prop_map(|bytes| masked(0x89, &bytes)),
        1 => bytes(0..126).prop_map(|bytes| masked(0x8A, &bytes)),
        1 => (60_000_usize..70_000).prop_map(|size| masked(0x82, &vec![1; size])),
        1 => (30_000_usize..40_000).prop_map(|size| masked(0x00, &vec![b'x'; size])),
        1 => bytes(0..10).prop_map(|bytes| masked(0x81, &bytes)),
        1 => (any::<u16>(), text(0..9)).prop_map(|(code, reason)| {
            masked(0x88, &[&code.to_be_bytes()[..], &reason].concat())
        }),
        1 => bytes(0..20).prop_map(|bytes| masked(0x88, &bytes)),
        1 => bytes(1..40),
    ]
}

proptest! {
    #[test]
    fn reads_what_tungstenite_reads(
        frames in prop::collection::vec(any_frame(), 1..12),
        chunk in 1_usize..9000,
        cut in 0_usize..4,
    ) {
        let mut bytes = frames.concat();
        bytes.truncate(bytes.len().saturating_sub(cut));
        let (said, written) = ours(&bytes, chunk);
        prop_assert_eq!(&said, &theirs(&bytes, 4096));
        let closed = said.last().is_some_and(|last| last == "close");
        let answers = answers(&written);
        prop_assert_eq!(answers.iter().any(Message::is_close), closed);
        prop_assert!(answers.iter().all(|answer| answer.is_pong() || answer.is_close()));
    }
}

#[test]
fn pings_are_answered_with_their_payload_and_only_the_newest_waits() {
    let pings: Vec<u8> = (0..50).flat_map(|n| masked(0x89, &[n; 100])).collect();
    let mut socket = WebSocket::new(Script::new(&pings, 4096), &[]);
    let mut cx = Context::from_waker(Waker::noop());
    for n in 0..50 {
        assert!(matches!(socket.poll_receive(&mut cx), Poll::Ready(Ok(Received::Sign))));
        if n == 9 {
            let _ = socket.poll_flush(&mut cx);
        }
    }
    let _ = socket.poll_flush(&mut cx);
    let pong = |n: u8| Message::Pong(vec![n; 100].into());
    assert_eq!(answers(&socket.stream.written), [pong(9), pong(49)]);
}

#[test]
fn a_stream_that_takes_little_gets_every_byte_once_and_then_nothing_after_the_close() {
    let mut socket = WebSocket::new(Script::new(&[], 1), &[]);
    socket.stream.room = 0;
    let mut cx = Context::from_waker(Waker::noop());
    let mut sent = Vec::new();
    for n in 0..10_u8 {
        let bytes = Bytes::from(vec![n; 700]);
        if socket.poll_ready(&mut cx).is_ready() {
            socket.send(Outgoing::Body(Body::Binary(bytes.clone()))).unwrap();
            sent.push(Message::Binary(bytes));
        }
        assert!(socket.poll_flush(&mut cx).is_pending());
        socket.stream.room = usize::from(n) * 50;
    }
    assert!(sent.len() < 10, "it must say that it is full");
    socket.stream.room = usize::MAX;
    socket.send(Outgoing::Close(crate::close::SLOW)).unwrap();
    assert!(socket.poll_flush(&mut cx).is_ready());
    socket.send(Outgoing::Ping).unwrap();
    assert!(socket.poll_flush(&mut cx).is_ready());
    let mut got = answers(&socket.stream.written);
    assert!(matches!(got.pop(), Some(Message::Close(Some(frame))) if frame.code == 1013.into()));
    assert_eq!(got, sent);
    assert!(socket.output.bytes.capacity() <= KEEP, "an emptied buffer gives its memory back");
}

#[tokio::test]
async fn many_frames_in_one_read_give_way_to_others() {
    let pings: Vec<u8> = (0..600).flat_map(|_| masked(0x89, &[])).collect();
    let mut socket = WebSocket::new(Script::new(&pings, 4096), &[]);
    let mut taken = 0;
    std::future::poll_fn(|cx| {
        while let Poll::Ready(Ok(_)) = socket.poll_receive(cx) {
            taken += 1;
        }
        Poll::Ready(())
    })
    .await;
    assert!((1..600).contains(&taken), "{taken} frames before anybody else's turn");
}
