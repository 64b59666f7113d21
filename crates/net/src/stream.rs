//! Byte streams, possibly many layers above a socket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A byte stream, possibly many layers above a socket.
///
/// # The raw contract
/// `raw_reader` returning `Some(socket)` promises: no layer holds back received bytes, and no layer will change
/// one again — what arrives on `socket` is what `poll_read` would have returned. `raw_writer` promises the same
/// for writing, and that everything accepted so far has been handed to the socket.
/// Once `Some`, always `Some`. The default is `None`, which is always correct.
///
/// Which streams are bare can change during a connection (Vision after its switch, a prefix that has drained), so the
/// relay asks before each read instead of being told.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {
    /// The socket whose received bytes are this stream's bytes from now on.
    fn raw_reader(&self) -> Option<&TcpStream> {
        None
    }

    /// The socket to which this stream's bytes go unchanged from now on.
    fn raw_writer(&self) -> Option<&TcpStream> {
        None
    }

    /// The socket at the very bottom, for asking about its state (failed? everything sent?), never for moving bytes.
    ///
    /// Layers pass the question down. The default knows it only while the stream is raw, which costs precision and
    /// nothing else.
    fn socket(&self) -> Option<&TcpStream> {
        self.raw_writer().or_else(|| self.raw_reader())
    }

    /// Makes the end of this stream look like a failure to its peer when it is dropped: a TCP reset rather than a FIN.
    ///
    /// Called when the other side of a relay broke, so that a cut transfer never looks complete. Layers pass it down;
    /// the default does nothing.
    fn abort(&mut self) {}
}

/// A stream at a seam between crates.
pub type BoxStream = Box<dyn Stream>;

impl Stream for TcpStream {
    fn raw_reader(&self) -> Option<&TcpStream> {
        Some(self)
    }

    fn raw_writer(&self) -> Option<&TcpStream> {
        Some(self)
    }

    fn abort(&mut self) {
        // A socket that is already gone cannot be reset; nothing to add.
        let _ = socket2::SockRef::from(&*self).set_linger(Some(std::time::Duration::ZERO));
    }
}

impl<S: Stream + ?Sized> Stream for Box<S> {
    fn raw_reader(&self) -> Option<&TcpStream> {
        (**self).raw_reader()
    }

    fn raw_writer(&self) -> Option<&TcpStream> {
        (**self).raw_writer()
    }

    fn socket(&self) -> Option<&TcpStream> {
        (**self).socket()
    }

    fn abort(&mut self) {
        (**self).abort();
    }
}

/// A stream whose first bytes were already read by somebody who looked at them.
///
/// It is raw for reading as soon as those bytes have been read again.
#[derive(Debug)]
pub struct Prefixed<S> {
    prefix: Vec<u8>,
    taken: usize,
    inner: S,
}

impl<S> Prefixed<S> {
    /// `prefix` is delivered before anything that `inner` still has.
    pub fn new(prefix: Vec<u8>, inner: S) -> Self {
        Self { prefix, taken: 0, inner }
    }
}

impl<S: Stream> AsyncRead for Prefixed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.taken == self.prefix.len() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let left = &self.prefix[self.taken..];
        let n = left.len().min(buf.remaining());
        buf.put_slice(&left[..n]);
        self.taken += n;
        if self.taken == self.prefix.len() {
            self.prefix = Vec::new();
            self.taken = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

impl<S: Stream> Stream for Prefixed<S> {
    fn raw_reader(&self) -> Option<&TcpStream> {
        if self.taken == self.prefix.len() { self.inner.raw_reader() } else { None }
    }

    fn raw_writer(&self) -> Option<&TcpStream> {
        self.inner.raw_writer()
    }

    fn socket(&self) -> Option<&TcpStream> {
        self.inner.socket()
    }

    fn abort(&mut self) {
        self.inner.abort();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    pub(crate) async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (one, other) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (one.unwrap(), other.unwrap().0)
    }

    /// F-A1
    #[tokio::test]
    async fn a_prefix_comes_first_whatever_the_reads_are_and_then_the_stream_is_raw() {
        for size in 1..=7 {
            let (mut peer, socket) = pair().await;
            peer.write_all(b"world").await.unwrap();
            drop(peer);
            let mut stream: BoxStream = Box::new(Prefixed::new(b"hello ".to_vec(), socket));
            let mut got = Vec::new();
            let mut piece = vec![0; size];
            loop {
                assert_eq!(stream.raw_reader().is_some(), got.len() >= 6, "after {got:?}");
                assert!(stream.raw_writer().is_some() && stream.socket().is_some());
                match stream.read(&mut piece).await.unwrap() {
                    0 => break,
                    n => got.extend_from_slice(&piece[..n]),
                }
            }
            assert_eq!(got, b"hello world");
        }
    }

    #[tokio::test]
    async fn an_empty_prefix_is_no_end_of_stream() {
        let (mut peer, socket) = pair().await;
        let mut stream = Prefixed::new(Vec::new(), socket);
        assert!(stream.raw_reader().is_some());
        peer.write_all(b"x").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn an_aborted_stream_resets() {
        let (mut peer, socket) = pair().await;
        let mut stream: BoxStream = Box::new(Prefixed::new(b"x".to_vec(), socket));
        stream.abort();
        drop(stream);
        assert_eq!(peer.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
