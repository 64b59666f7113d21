//! A stand-in record layer and streams in memory, for tests.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use adit_net::Stream;
use adit_reality::{Alert, Content, Error, Misbehaviour, Opened};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use super::record::{Open, Seal};

/// The bytes that a hexadecimal text means.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes();
    assert!(digits.len().is_multiple_of(2), "{text}");
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// One end of a pipe in memory.
#[derive(Debug)]
pub(super) struct Memory(pub(super) DuplexStream);

impl AsyncRead for Memory {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Memory {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Stream for Memory {}

/// One direction of a record layer that looks like TLS 1.3 from outside: bytes are changed with the record's number, a
/// tag tells whether they are of this layer, and whoever opens or seals a record too many or too few is found out.
#[derive(Debug, Default)]
pub(super) struct Layer {
    epoch: u8,
    records: u64,
}

impl Layer {
    fn mask(&self) -> u8 {
        0x55 ^ self.epoch ^ (self.records as u8).wrapping_mul(7)
    }

    fn tag(&self) -> [u8; 16] {
        let mut tag = [self.epoch; 16];
        tag[..8].copy_from_slice(&self.records.to_be_bytes());
        tag
    }

    fn push(&mut self, kind: u8, content: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&[23, 3, 3]);
        out.extend_from_slice(&(content.len() as u16 + 17).to_be_bytes());
        out.extend(content.iter().chain([&kind]).map(|byte| byte ^ self.mask()));
        out.extend_from_slice(&self.tag());
        self.records += 1;
    }

    fn next_epoch(&mut self) {
        self.epoch += 1;
        self.records = 0;
    }

    /// A record with nothing in it, as REALITY servers send them.
    pub(super) fn push_empty(&mut self, out: &mut Vec<u8>) {
        self.push(23, &[], out);
    }

    /// A KeyUpdate that asks for one in return.
    pub(super) fn push_key_update(&mut self, out: &mut Vec<u8>) {
        self.push(22, &[24, 0, 0, 1, 1], out);
        self.next_epoch();
    }
}

impl Open for Layer {
    fn open<'a>(&mut self, buf: &'a mut [u8]) -> Result<Opened<'a>, Error> {
        let Some(&[kind, _, _, high, low]) = buf.first_chunk() else {
            return Ok(Opened::Incomplete { need_total: 5 });
        };
        let total = 5 + usize::from(u16::from_be_bytes([high, low]));
        if buf.len() < total {
            return Ok(Opened::Incomplete { need_total: total });
        }
        let (sealed, tag) = buf[5..total].split_at_mut(total - 5 - 16);
        if kind != 23 || *tag != self.tag() {
            return Err(Error::BadRecord);
        }
        for byte in sealed.iter_mut() {
            *byte ^= self.mask();
        }
        self.records += 1;
        let (kind, content) = sealed.split_last().unwrap();
        let content = match (*kind, content) {
            (23, []) => Content::Nothing,
            (23, data) => Content::Data(data),
            (21, [_, 0]) => Content::Closed,
            (21, [_, alert]) => return Err(Error::PeerAlert(Alert(*alert))),
            (22, &[24, 0, 0, 1, reply]) => {
                self.next_epoch();
                Content::KeyUpdate { reply: reply == 1 }
            }
            _ => return Err(Misbehaviour::Unexpected("record").into()),
        };
        Ok(Opened::Record { consumed: total, content })
    }
}

impl Seal for Layer {
    fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        for content in plaintext.chunks(16_384) {
            self.push(23, content, out);
        }
        Ok(())
    }

    fn key_update(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.push(22, &[24, 0, 0, 1, 0], out);
        self.next_epoch();
        Ok(())
    }

    fn alert(&mut self, alert: Alert, out: &mut Vec<u8>) -> Result<(), Error> {
        self.push(21, &[1, alert.0], out);
        Ok(())
    }
}

/// A stream that hands out its bytes in scripted pieces and records what is written, taking it in pieces as well.
#[derive(Debug)]
pub(super) struct Scripted {
    /// The pieces that reads return, the last first; at the end, end of stream.
    pub(super) pieces: Vec<Vec<u8>>,
    pub(super) written: Vec<u8>,
    /// How much each write takes at most.
    pub(super) takes: usize,
    pub(super) shut: bool,
}

impl Scripted {
    /// Delivers `bytes` cut at `cuts`, which must be in order.
    pub(super) fn new(bytes: &[u8], cuts: &[usize]) -> Self {
        let mut pieces = Vec::new();
        let mut start = 0;
        for &end in cuts.iter().chain([&bytes.len()]) {
            if end > start {
                pieces.push(bytes[start..end].to_vec());
                start = end;
            }
        }
        pieces.reverse();
        Self { pieces, written: Vec::new(), takes: usize::MAX, shut: false }
    }
}

impl AsyncRead for Scripted {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(mut piece) = self.pieces.pop() {
            let rest = piece.split_off(piece.len().min(buf.remaining()));
            buf.put_slice(&piece);
            if !rest.is_empty() {
                self.pieces.push(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        assert!(!self.shut, "written after shutdown");
        let n = buf.len().min(self.takes);
        self.written.extend_from_slice(&buf[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut = true;
        Poll::Ready(Ok(()))
    }
}

impl Stream for Scripted {}
