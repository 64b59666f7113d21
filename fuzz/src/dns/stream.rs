//! Streams of questions.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use adit_dns::{Limit, Service};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::query::{self, CLIENT, RUNTIME, built, fakes};
use crate::input::Input;

/// A client that sends questions in pieces and ends: each whole one gets its answer, and nothing else is said.
pub fn dns_stream(data: &[u8]) {
    let mut input = Input(data);
    let (kind, cut) = (input.byte(), input.short());
    let stream = if kind & 1 == 0 { input.0.to_vec() } else { framed(&mut input) };
    let service = query::service(fakes(), true);
    let mut client = Client { asks: &stream, piece: usize::from(cut % 600) + 1, hears: Vec::new() };
    let outcome = RUNTIME.with(|runtime| runtime.block_on(service.converse(&mut client, CLIENT)));
    // By another service, asked in the same order: which name has an address depends on what was asked before.
    let (mut expected, is_sound) = answers(&query::service(fakes(), true), &stream);
    assert_eq!(outcome.is_ok(), is_sound, "{outcome:?}");
    let (mut heard, is_whole) = messages(&client.hears);
    assert!(is_whole.is_ok(), "answers are cut");
    expected.sort();
    heard.sort();
    if is_sound {
        assert_eq!(heard, expected);
    } else {
        // Who breaks the framing does not hear what was still open.
        assert!(heard.iter().all(|answer| expected.contains(answer)));
    }
}

/// What is answered to each whole message by itself; whether the framing is kept.
fn answers(service: &Service, stream: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let (questions, end) = messages(stream);
    let answer =
        |question: &Vec<u8>| RUNTIME.with(|runtime| runtime.block_on(service.handle(question, CLIENT, Limit::Stream)));
    (questions.iter().filter_map(answer).collect(), !matches!(end, Err(End::Zero)))
}

#[derive(PartialEq, Eq)]
enum End {
    /// Within a message.
    Cut,
    /// At one that has no length.
    Zero,
}

/// The whole messages at the front of a stream, and how it goes on behind them.
fn messages(mut stream: &[u8]) -> (Vec<Vec<u8>>, Result<(), End>) {
    let mut messages = Vec::new();
    loop {
        let (message, rest) = match stream {
            [] => return (messages, Ok(())),
            [0, 0, ..] => return (messages, Err(End::Zero)),
            [high, low, rest @ ..] => match rest.split_at_checked(u16::from_be_bytes([*high, *low]).into()) {
                Some(split) => split,
                None => return (messages, Err(End::Cut)),
            },
            [_] => return (messages, Err(End::Cut)),
        };
        messages.push(message.to_vec());
        stream = rest;
    }
}

/// Questions with right lengths in front, but for those that are not.
fn framed(input: &mut Input<'_>) -> Vec<u8> {
    let mut stream = Vec::new();
    while !input.is_empty() {
        let kind = input.byte();
        let mut part = Input(input.bytes());
        let message = if kind & 1 == 0 { part.0.to_vec() } else { built(0, &mut part) };
        let length = if kind >= 0xf0 { u16::from(kind & 0x0f) } else { message.len() as u16 };
        stream.extend(length.to_be_bytes());
        stream.extend(message);
    }
    stream
}

/// A client's end, in memory.
struct Client<'a> {
    asks: &'a [u8],
    /// How much of it arrives at once.
    piece: usize,
    hears: Vec<u8>,
}

impl AsyncRead for Client<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (now, later) = self.asks.split_at(self.piece.min(self.asks.len()).min(buf.remaining()));
        buf.put_slice(now);
        self.asks = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = bytes.len().min(self.piece);
        self.hears.extend(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
