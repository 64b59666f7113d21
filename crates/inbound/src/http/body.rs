//! Message bodies on their way through: taken apart as they came, written in the framing that we announced.

use std::io;

use bytes::{Buf as _, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::tcp::ReadHalf;

use super::chunked::{BadChunk, Decoder, Piece};
use super::fields::{Connection, put};
use super::pipe;
use super::request::Body;
use super::response::Framing;

/// How much of a body is read at once from a client.
const STEP: usize = 16 * 1024;

/// What is still to come of a body, and how it goes on.
#[derive(Debug)]
pub(crate) enum Passing {
    /// So many bytes.
    Length(u64),
    /// Chunks, passed on as chunks.
    Chunks(Decoder),
    /// Chunks, of which only the data is passed on.
    Unchunked(Decoder),
    /// Everything.
    UntilClose,
}

/// Why a body did not arrive whole.
#[derive(Debug, Error)]
pub(crate) enum Stop {
    #[error("the sender ended: {0}")]
    Source(io::Error),
    #[error("the receiver ended: {0}")]
    Sink(io::Error),
    #[error("{0}")]
    Malformed(#[from] BadChunk),
}

/// Where a body comes from.
pub(crate) trait Source {
    /// Waits for more and adds it to `ahead`; `false` at the end of the stream. Holds no buffer while it waits.
    fn more(&mut self, ahead: &mut BytesMut) -> impl Future<Output = io::Result<bool>> + Send;
}

impl Source for ReadHalf<'_> {
    async fn more(&mut self, ahead: &mut BytesMut) -> io::Result<bool> {
        loop {
            // Readiness is a guess until a read has failed, so a buffer may have been made in vain.
            if ahead.is_empty() {
                *ahead = BytesMut::new();
            }
            self.readable().await?;
            ahead.reserve(STEP);
            match self.try_read_buf(ahead) {
                Ok(n) => return Ok(n > 0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Source for pipe::Reader {
    async fn more(&mut self, ahead: &mut BytesMut) -> io::Result<bool> {
        if ahead.is_empty() {
            *ahead = BytesMut::new();
        }
        let taken = self.take().await?;
        let more = !taken.is_empty();
        ahead.unsplit(taken);
        Ok(more)
    }
}

impl Passing {
    pub(crate) fn of_request(body: Body) -> Self {
        match body {
            Body::None => Self::Length(0),
            Body::Length(length) => Self::Length(length),
            Body::Chunked => Self::Chunks(Decoder::default()),
        }
    }

    /// From an origin's framing to the client's.
    pub(crate) fn of_response(from: Framing, to: Framing) -> Self {
        match (from, to) {
            (Framing::None, _) => Self::Length(0),
            (Framing::Length(length), _) => Self::Length(length),
            (Framing::Chunked, Framing::Chunked) => Self::Chunks(Decoder::default()),
            (Framing::Chunked, _) => Self::Unchunked(Decoder::default()),
            (Framing::UntilClose, _) => Self::UntilClose,
        }
    }

    /// Moves what belongs to the body from `ahead` to `out`. Whether that was the rest of it.
    fn digest(&mut self, ahead: &mut BytesMut, out: &mut Vec<u8>) -> Result<bool, BadChunk> {
        match self {
            Self::UntilClose => {
                out.extend_from_slice(ahead);
                ahead.clear();
                Ok(false)
            }
            Self::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(ahead.len());
                out.extend_from_slice(ahead.get(..length).unwrap_or_default());
                ahead.advance(length);
                *left = left.saturating_sub(length as u64);
                Ok(*left == 0)
            }
            Self::Chunks(decoder) => digest_chunks(decoder, ahead, |piece| put_chunk(out, piece)),
            Self::Unchunked(decoder) => digest_chunks(decoder, ahead, |piece| {
                if let Piece::Data(data) = piece {
                    out.extend_from_slice(data);
                }
                Ok(())
            }),
        }
    }
}

fn digest_chunks(
    decoder: &mut Decoder,
    ahead: &mut BytesMut,
    mut pass: impl FnMut(Piece<'_>) -> Result<(), BadChunk>,
) -> Result<bool, BadChunk> {
    let mut left: &[u8] = ahead;
    while let Some(piece) = decoder.next(&mut left)? {
        pass(piece)?;
    }
    let used = ahead.len().saturating_sub(left.len());
    ahead.advance(used);
    Ok(decoder.is_done())
}

fn put_chunk(out: &mut Vec<u8>, piece: Piece<'_>) -> Result<(), BadChunk> {
    match piece {
        Piece::Data(data) => {
            out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        }
        Piece::End(trailer) => {
            out.extend_from_slice(b"0\r\n");
            put_trailer(out, trailer)?;
            out.extend_from_slice(b"\r\n");
        }
    }
    Ok(())
}

/// RFC 9110 §6.5.1: fields that frame or route a message have no place in a trailer.
fn put_trailer(out: &mut Vec<u8>, mut trailer: Vec<u8>) -> Result<(), BadChunk> {
    trailer.extend_from_slice(b"\r\n");
    let mut room = [httparse::EMPTY_HEADER; 64];
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(&trailer, &mut room) else {
        return Err(BadChunk::Trailer);
    };
    for field in fields {
        let frames = ["content-length", "host", "trailer"].iter().any(|name| field.name.eq_ignore_ascii_case(name));
        if !frames && Connection::default().is_end_to_end(field.name) {
            put(out, field.name, field.value);
        }
    }
    Ok(())
}

/// Carries `passing` from `source`, of which `ahead` was already read, to `sink`, with `head` before it. What follows
/// the body stays in `ahead`.
pub(crate) async fn carry(
    source: &mut impl Source,
    ahead: &mut BytesMut,
    mut passing: Passing,
    sink: &mut (impl AsyncWrite + Unpin),
    head: Vec<u8>,
) -> Result<(), Stop> {
    let mut out = head;
    loop {
        let digested = passing.digest(ahead, &mut out);
        // What came before a malformed piece still arrives.
        if !out.is_empty() {
            sink.write_all(&out).await.map_err(Stop::Sink)?;
            out = Vec::new();
        }
        if digested? {
            return Ok(());
        }
        if !source.more(ahead).await.map_err(Stop::Source)? {
            return match passing {
                Passing::UntilClose => Ok(()),
                _ => Err(Stop::Source(io::ErrorKind::UnexpectedEof.into())),
            };
        }
    }
}
