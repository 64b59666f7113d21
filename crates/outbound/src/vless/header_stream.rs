//! VLESS without a flow: a header each way in front of the bytes of any stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use adit_net::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::header::Answer;
use super::opening::Opening;
use super::record::Outgoing;
use super::{closed_before_answer, not_vless};

/// Bare as soon as both headers are behind it, if the stream below is.
#[derive(Debug)]
pub(super) struct HeaderStream<S> {
    io: S,
    opening: Option<Opening>,
    answer: Answer,
    outgoing: Outgoing,
    finished: bool,
}

impl<S: Stream> HeaderStream<S> {
    pub(super) fn new(io: S, opening: Opening) -> Self {
        Self { io, opening: Some(opening), answer: Answer::default(), outgoing: Outgoing::default(), finished: false }
    }

    /// Queues the header, and as much of `payload` as fits into the same TLS record.
    fn open(&mut self, payload: &[u8]) -> usize {
        let Some(opening) = self.opening.take() else { return 0 };
        let mut first = opening.into_header();
        let taken = payload.len().min(ONE_RECORD.saturating_sub(first.len()));
        first.extend_from_slice(&payload[..taken]);
        self.outgoing = Outgoing::new(first);
        taken
    }
}

impl<S: Stream> AsyncRead for HeaderStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(opening) = &mut this.opening
            && opening.poll_alone(cx).is_ready()
        {
            this.open(&[]);
        }
        // Without the request there will be no answer, and maybe nobody writes or flushes.
        if !this.answer.is_complete()
            && let Poll::Ready(sent) = this.outgoing.poll_send(cx, &mut this.io)
        {
            sent?;
        }
        while !this.answer.is_complete() && buf.remaining() > 0 {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
            let header = match buf.filled().get(before..) {
                None | Some([]) if this.finished => return Poll::Ready(Ok(())),
                None | Some([]) => return Poll::Ready(Err(closed_before_answer())),
                Some(received) => match this.answer.feed(received) {
                    Ok(header) => header,
                    Err(error) => {
                        buf.set_filled(before);
                        return Poll::Ready(Err(not_vless(error)));
                    }
                },
            };
            buf.filled_mut().copy_within(before + header.., before);
            buf.set_filled(buf.filled().len() - header);
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
        Pin::new(&mut this.io).poll_read(cx, buf)
    }
}

impl<S: Stream> AsyncWrite for HeaderStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.outgoing.poll_send(cx, &mut this.io))?;
        if this.opening.is_none() {
            this.outgoing.rest();
            return Pin::new(&mut this.io).poll_write(cx, buf);
        }
        let taken = this.open(buf);
        if let Poll::Ready(sent) = this.outgoing.poll_send(cx, &mut this.io) {
            sent?;
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.outgoing.poll_send(cx, &mut this.io))?;
        this.outgoing.rest();
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // The client has nothing to say, but may still want to listen.
        this.open(&[]);
        this.finished = true;
        ready!(this.outgoing.poll_send(cx, &mut this.io))?;
        this.outgoing.rest();
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

impl<S: Stream> Stream for HeaderStream<S> {
    fn raw_reader(&self) -> Option<&tokio::net::TcpStream> {
        if self.answer.is_complete() { self.io.raw_reader() } else { None }
    }

    fn raw_writer(&self) -> Option<&tokio::net::TcpStream> {
        let flushed = self.opening.is_none() && self.outgoing.is_empty();
        if flushed { self.io.raw_writer() } else { None }
    }

    fn socket(&self) -> Option<&tokio::net::TcpStream> {
        self.io.socket()
    }

    fn abort(&mut self) {
        self.io.abort();
    }
}

/// Plaintext of one TLS record (RFC 8446 §5.1).
const ONE_RECORD: usize = 16_384;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::vless::testing::{Memory, Scripted};

    const HEADER: &[u8] = b"the request header";

    fn stream<S: Stream>(io: S) -> HeaderStream<S> {
        HeaderStream::new(io, Opening::new(HEADER.to_vec()))
    }

    /// F-F12: the answer header at every cut, with addons of every length class, then the target's bytes.
    #[tokio::test]
    async fn the_answer_header_is_taken_away_at_every_cut() {
        for addons in [0_u8, 1, 200, 255] {
            let mut wire = vec![0, addons];
            wire.resize(2 + usize::from(addons), 0xee);
            wire.extend_from_slice(b"payload");
            for cut in 0..=wire.len() {
                let (mut all, mut stream) = (Vec::new(), stream(Scripted::new(&wire, &[cut])));
                stream.read_to_end(&mut all).await.unwrap();
                assert_eq!(all, b"payload", "cut at {cut}");
            }
            let every: Vec<usize> = (0..wire.len()).collect();
            let (mut all, mut stream) = (Vec::new(), stream(Scripted::new(&wire, &every)));
            stream.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, b"payload");
        }
    }

    /// F-F12: what is read before goes to the caller untouched.
    #[tokio::test]
    async fn the_callers_buffer_keeps_what_it_has() {
        let mut stream = stream(Scripted::new(b"\0\x02ab payload", &[]));
        let mut room = [0; 64];
        let mut buf = ReadBuf::new(&mut room);
        buf.put_slice(b"mine");
        std::future::poll_fn(|cx| Pin::new(&mut stream).poll_read(cx, &mut buf)).await.unwrap();
        assert_eq!(buf.filled(), b"mine payload");
    }

    /// F-F12
    #[tokio::test]
    async fn an_answer_that_is_none_is_an_error() {
        let mut all = Vec::new();
        let error = stream(Scripted::new(b"HTTP/1.1 400\r\n", &[])).read_to_end(&mut all).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let error = stream(Scripted::new(b"\0\x05abc", &[])).read_to_end(&mut all).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

        let mut finished = stream(Scripted::new(b"", &[]));
        finished.shutdown().await.unwrap();
        assert_eq!(finished.read_to_end(&mut all).await.unwrap(), 0);
        assert_eq!(finished.io.written, HEADER);
        assert!(finished.io.shut && all.is_empty());
    }

    /// Spec §1.4: header and first payload in one write, cut to one record, whatever the socket takes at once.
    #[tokio::test]
    async fn the_header_travels_with_the_first_payload() {
        let payload = vec![7; 50_000];
        for takes in [1, 10, 20_000] {
            let mut stream = stream(Scripted::new(b"", &[]));
            stream.io.takes = takes;
            let n = stream.write(&payload).await.unwrap();
            assert_eq!(n, ONE_RECORD - HEADER.len());
            stream.write_all(&payload[n..]).await.unwrap();
            stream.flush().await.unwrap();
            assert!(stream.io.written == [HEADER, &payload].concat());
            assert!(stream.outgoing.end().capacity() <= 2048, "an idle stream holds no buffer");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn servers_may_speak_first() {
        let (ours, mut theirs) = duplex(1000);
        let mut stream = stream(Memory(ours));
        let start = Instant::now();
        let server = async {
            let mut header = vec![0; HEADER.len()];
            theirs.read_exact(&mut header).await.unwrap();
            theirs.write_all(b"\0\x00220 ready").await.unwrap();
            (start.elapsed(), header)
        };
        let mut greeting = [0; 9];
        let (read, (waited, header)) = tokio::join!(stream.read_exact(&mut greeting), server);
        read.unwrap();
        assert_eq!((&greeting, &header[..]), (b"220 ready", HEADER));
        assert!((500..510).contains(&waited.as_millis()), "{waited:?}");
        assert!(timeout(Duration::from_secs(5), stream.read_u8()).await.is_err());
    }
}
