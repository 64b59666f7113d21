//! A stream in memory, between the HTTP forwarder and whoever serves the origin's side of it.
//!
//! Like a socket pair: bounded, with half-close, and with an end that can look like a failure. Unlike one it takes no
//! descriptors, and holds no buffer while it is empty.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use adit_net::Stream;
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What one direction holds while its reader stalls.
const CAPACITY: usize = 32 * 1024;

/// Two ends of one stream.
pub(crate) fn pipe() -> (End, End) {
    let (there, back) = (Arc::<Lane>::default(), Arc::<Lane>::default());
    let near = End { reader: Reader(back.clone()), writer: Writer(there.clone()) };
    let far = End { reader: Reader(there), writer: Writer(back) };
    (near, far)
}

/// One end: both halves.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

/// The reading half. Dropping it makes the peer's writes fail.
#[derive(Debug)]
pub(crate) struct Reader(Arc<Lane>);

/// The writing half. Dropping it is an orderly end.
#[derive(Debug)]
pub(crate) struct Writer(Arc<Lane>);

/// One direction.
#[derive(Debug, Default)]
struct Lane(Mutex<Flow>);

#[derive(Debug, Default)]
struct Flow {
    buffer: BytesMut,
    ending: Ending,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// How the writer left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Ending {
    #[default]
    Open,
    Finished,
    Broken,
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, Flow> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flow {
    /// Ready once there is something to read, or nothing ever again.
    fn poll_filled(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match self.ending {
            _ if !self.buffer.is_empty() => Poll::Ready(Ok(())),
            Ending::Finished => Poll::Ready(Ok(())),
            Ending::Broken => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Ending::Open => {
                self.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn end(&mut self, ending: Ending) {
        if self.ending == Ending::Open {
            self.ending = ending;
            wake(&mut self.reader);
        }
    }
}

fn wake(waiting: &mut Option<Waker>) {
    if let Some(waker) = waiting.take() {
        waker.wake();
    }
}

impl Reader {
    /// Takes everything that is there, without copying it; empty at the end of the stream.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub(crate) async fn take(&self) -> io::Result<BytesMut> {
        std::future::poll_fn(|cx| {
            let mut flow = self.0.lock();
            std::task::ready!(flow.poll_filled(cx))?;
            let taken = std::mem::take(&mut flow.buffer);
            wake(&mut flow.writer);
            Poll::Ready(Ok(taken))
        })
        .await
    }

    /// Whether the peer has neither sent anything unread nor left.
    pub(crate) fn is_quiet(&self) -> bool {
        let flow = self.0.lock();
        flow.buffer.is_empty() && flow.ending == Ending::Open
    }

    fn poll_copy(&self, cx: &Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut flow = self.0.lock();
        std::task::ready!(flow.poll_filled(cx))?;
        let length = flow.buffer.len().min(into.remaining());
        into.put_slice(flow.buffer.get(..length).unwrap_or_default());
        flow.buffer.advance(length);
        if flow.buffer.is_empty() {
            flow.buffer = BytesMut::new();
        }
        wake(&mut flow.writer);
        Poll::Ready(Ok(()))
    }
}

impl Writer {
    /// Makes the end of this direction look like a failure to the reader. What was written before still arrives.
    pub(crate) fn abort(&self) {
        self.0.lock().end(Ending::Broken);
    }

    fn poll_push(&self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut flow = self.0.lock();
        if flow.reader_gone || flow.ending != Ending::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = CAPACITY.saturating_sub(flow.buffer.len());
        if room == 0 && !bytes.is_empty() {
            flow.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = room.min(bytes.len());
        flow.buffer.extend_from_slice(bytes.get(..length).unwrap_or_default());
        wake(&mut flow.reader);
        Poll::Ready(Ok(length))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut flow = self.0.lock();
        flow.reader_gone = true;
        flow.buffer = BytesMut::new();
        wake(&mut flow.writer);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.lock().end(Ending::Finished);
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_push(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().end(Ending::Finished);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.reader.poll_copy(cx, into)
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writer.poll_push(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(cx)
    }
}

impl Stream for End {
    fn abort(&mut self) {
        self.writer.abort();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn bytes_arrive_in_order_and_a_half_close_leaves_the_other_direction() {
        let (mut near, mut far) = pipe();
        let sent: Vec<u8> = (0..200_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let writing = async {
            near.write_all(&sent).await.unwrap();
            near.shutdown().await.unwrap();
            let mut answer = Vec::new();
            near.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let reading = async {
            let mut got = Vec::new();
            far.read_to_end(&mut got).await.unwrap();
            far.write_all(b"thanks").await.unwrap();
            drop(far);
            got
        };
        let (answer, got) = tokio::join!(writing, reading);
        assert_eq!(answer, b"thanks");
        assert!(got == sent);
    }

    /// F-B7
    #[tokio::test]
    async fn a_stalled_reader_stops_the_writer() {
        let (mut near, far) = pipe();
        let mut written = 0;
        let mut write = write_once(&mut near, &[1; 5000]);
        while let Poll::Ready(Ok(n)) = write {
            written += n;
            write = write_once(&mut near, &[1; 5000]);
        }
        assert_eq!(written, CAPACITY);
        assert_eq!(far.reader.take().await.unwrap().len(), CAPACITY);
        assert!(matches!(write_once(&mut near, &[1; 5000]), Poll::Ready(Ok(5000))));
    }

    fn write_once(end: &mut End, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(end).poll_write(&mut Context::from_waker(Waker::noop()), bytes)
    }

    /// F-B5
    #[tokio::test]
    async fn an_aborted_end_is_an_error_after_what_came_before_it() {
        let (mut near, mut far) = pipe();
        near.write_all(b"part").await.unwrap();
        near.abort();
        drop(near);
        let mut got = Vec::new();
        let error = far.read_to_end(&mut got).await.unwrap_err();
        assert_eq!((&got[..], error.kind()), (&b"part"[..], io::ErrorKind::ConnectionReset));
        assert_eq!(far.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn waiting_ends_when_the_other_end_leaves() {
        let (mut near, far) = pipe();
        let waits = async {
            let mut byte = [0];
            near.read(&mut byte).await
        };
        let (read, ()) = tokio::join!(waits, async { drop(far) });
        assert_eq!(read.unwrap(), 0);

        let (mut near, far) = pipe();
        let (written, ()) = tokio::join!(near.write_all(&[0; 100_000]), async { drop(far) });
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
