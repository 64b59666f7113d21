//! DNS over QUIC (RFC 9250): one connection, a stream for each question.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use adit_net::{Datagrams, RecvDatagram, SendDatagram, Target};
use parking_lot::Mutex;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{
    AsyncUdpSocket, ClientConfig, Endpoint, EndpointConfig, IdleTimeout, TokioRuntime, TransportConfig, UdpPoller,
};
use tokio::io::ReadBuf;
use tokio::time::timeout;

use super::kept::{Connection, Kept};
use super::{Reach, UpstreamError};
use crate::message::{Extension, Question};
use crate::response::{Response, read_response};
use crate::tls::QuicTls;

/// How long a connection without questions is kept.
const IDLE: Duration = Duration::from_secs(30);
/// How long a connection that has worked may leave a question unanswered before it counts as dead.
const DEAD: Duration = Duration::from_secs(2);
/// How many connections a question is tried on.
const TRIES: usize = 3;
/// A length and the largest message that it has room for.
const LARGEST: usize = 2 + 65_535;
/// "No error" (RFC 9250 §4.3).
const DOQ_NO_ERROR: u32 = 0;
/// What every path carries (RFC 9000 §14); a way out through a proxy may carry no more.
const PACKET: u16 = 1200;

/// The connection to one server.
pub(super) struct Streams {
    reach: Arc<Reach>,
    tls: QuicTls,
    kept: Kept<Quic>,
}

impl Streams {
    pub(super) fn new(reach: Arc<Reach>, tls: QuicTls) -> Self {
        Self { reach, tls, kept: Kept::new() }
    }

    pub(super) async fn ask(&self, question: &Question, extension: Extension) -> Result<Response, UpstreamError> {
        // RFC 9250 §4.2.1: the id is 0, streams tell questions apart.
        let query = framed(&question.encode(0, extension)?)?;
        for _ in 0..TRIES {
            let (quic, new) = self.kept.get(self.open()).await?;
            let patience = if new { Duration::MAX } else { DEAD };
            match timeout(patience, quic.exchange(&query)).await {
                Ok(Ok(answer)) => return Ok(read_response(unframed(&answer)?, question, 0)?),
                Ok(Err(error)) if new => return Err(UpstreamError::Quic(error)),
                // It ended while it was not looked at: no fault of the server's.
                Ok(Err(_)) => {}
                Err(_) => quic.close(),
            }
        }
        Err(UpstreamError::Closed)
    }

    async fn open(&self) -> Result<Quic, UpstreamError> {
        let (datagrams, target) = self.reach.datagrams().await?;
        let Some(server) = target.socket_addr() else { return Err(UpstreamError::Silent) };
        let socket = Arc::new(Socket::new(datagrams, server));
        let (config, runtime) = (EndpointConfig::default(), Arc::new(TokioRuntime));
        let endpoint = Endpoint::new_with_abstract_socket(config, None, socket, runtime)?;
        let mut client = ClientConfig::new(Arc::clone(&self.tls.config) as _);
        client.transport_config(Arc::new(transport()));
        let wrong = |error: quinn::ConnectError| UpstreamError::Quic(error.to_string());
        let connecting = endpoint.connect_with(client, server, &self.tls.name).map_err(wrong)?;
        let connection = connecting.await.map_err(|error| UpstreamError::Quic(error.to_string()))?;
        Ok(Quic { connection, _endpoint: endpoint })
    }
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(IdleTimeout::try_from(IDLE).ok())
        .initial_mtu(PACKET)
        .mtu_discovery_config(None)
        .max_concurrent_bidi_streams(0_u8.into())
        .max_concurrent_uni_streams(0_u8.into());
    transport
}

/// RFC 9250 §4.2: as on TCP, every message has its length before it.
fn framed(query: &[u8]) -> Result<Vec<u8>, UpstreamError> {
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    let mut frame = Vec::with_capacity(query.len().saturating_add(2));
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(query);
    Ok(frame)
}

/// The one message of a whole stream.
fn unframed(stream: &[u8]) -> Result<&[u8], UpstreamError> {
    match stream.split_first_chunk() {
        Some((length, message)) if usize::from(u16::from_be_bytes(*length)) == message.len() => Ok(message),
        _ => Err(UpstreamError::Quic("the server's answer is not one message".into())),
    }
}

/// One connection and its socket.
struct Quic {
    connection: quinn::Connection,
    _endpoint: Endpoint,
}

impl Connection for Quic {
    fn is_open(&self) -> bool {
        self.connection.close_reason().is_none()
    }
}

impl Quic {
    async fn exchange(&self, query: &[u8]) -> Result<Vec<u8>, String> {
        let text = |error: &dyn fmt::Display| error.to_string();
        let (mut send, mut receive) = self.connection.open_bi().await.map_err(|error| text(&error))?;
        send.write_all(query).await.map_err(|error| text(&error))?;
        // RFC 9250 §4.2: the end of the stream says that the question is whole.
        send.finish().map_err(|error| text(&error))?;
        receive.read_to_end(LARGEST).await.map_err(|error| text(&error))
    }

    fn close(&self) {
        self.connection.close(DOQ_NO_ERROR.into(), b"");
    }
}

impl Drop for Quic {
    fn drop(&mut self) {
        self.close();
    }
}

/// A way out as QUIC wants its socket.
struct Socket {
    send: Mutex<Box<dyn SendDatagram>>,
    receive: Mutex<Box<dyn RecvDatagram>>,
    server: SocketAddr,
}

impl Socket {
    fn new(datagrams: Datagrams, server: SocketAddr) -> Self {
        Self { send: Mutex::new(datagrams.send), receive: Mutex::new(datagrams.recv), server }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("server", &self.server).finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysReady)
    }

    /// A way out that is busy drops the packet, as a network would; QUIC sends it again.
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let (to, mut cx) = (Target::from(transmit.destination), Context::from_waker(Waker::noop()));
        match self.send.lock().poll_send(&mut cx, transmit.contents, &to) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Ok(()),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (Some(buf), Some(meta)) = (bufs.first_mut(), meta.first_mut()) else { return Poll::Ready(Ok(0)) };
        let mut room = ReadBuf::new(buf);
        let from = std::task::ready!(self.receive.lock().poll_recv(cx, &mut room))?;
        let len = room.filled().len();
        *meta = RecvMeta {
            // A proxy may call the server by a name.
            addr: from.socket_addr().unwrap_or(self.server),
            len,
            stride: len,
            ecn: None,
            dst_ip: None,
        };
        Poll::Ready(Ok(1))
    }

    /// Nobody knows at the other end of a proxy; of the server's family, which is what this is asked for.
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(match self.server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        })
    }
}

#[derive(Debug)]
struct AlwaysReady;

impl UdpPoller for AlwaysReady {
    fn poll_writable(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
