//! Datagrams over a VLESS stream: two halves of one stream, and a codec.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::pin::{Pin, pin};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};

use adit_net::{BoxStream, ClientAddr, Datagrams, RecvDatagram, SendDatagram, Target};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, ReadBuf};

use super::record::Outgoing;
use super::{packet_addr, xudp};

/// How datagrams are told apart in the stream.
#[derive(Clone, Debug)]
pub(super) enum Codec {
    Xudp(xudp::Encoder),
    /// Names cannot be written; the association's first one has this address.
    PacketAddr {
        first: Option<SocketAddr>,
    },
}

/// What may leave.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// The association's first destination; answers without an address come from it.
    pub(super) first: Target,
    /// Whether QUIC may pass.
    pub(super) port_443: bool,
}

/// Wraps `stream`, whose request header waits for the first datagram.
pub(super) fn over(stream: BoxStream, codec: Codec, rules: Rules) -> Datagrams {
    let shared = Arc::new(Mutex::new(Shared { stream, outgoing: Outgoing::default(), flushed: true }));
    let recv = Receiver {
        shared: Arc::clone(&shared),
        xudp: matches!(codec, Codec::Xudp(_)),
        first: rules.first.clone(),
        received: Vec::new(),
        at: 0,
    };
    Datagrams { recv: Box::new(recv), send: Box::new(Sender { shared, codec, rules }) }
}

/// The Global ID of a client's socket: the same for all its associations, never 0, and nothing that a server could
/// compute (spec: vless-reality §6.2).
pub(super) fn global_id(client: Option<ClientAddr>) -> Option<NonZeroU64> {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let hash = KEY.hash_one(client?);
    Some(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MIN))
}

/// INVARIANT: locked for the length of one poll only; both halves belong to one task.
struct Shared {
    stream: BoxStream,
    outgoing: Outgoing,
    flushed: bool,
}

impl Shared {
    /// Sees earlier datagrams on their way.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.outgoing.poll_send(cx, &mut self.stream))?;
        self.outgoing.rest();
        if !self.flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

struct Sender {
    shared: Arc<Mutex<Shared>>,
    codec: Codec,
    rules: Rules,
}

impl SendDatagram for Sender {
    /// Drops what cannot be carried: too long, to a forbidden port, to a name where names cannot be written.
    fn poll_send(&mut self, cx: &mut Context<'_>, payload: &[u8], to: &Target) -> Poll<io::Result<()>> {
        let mut shared = self.shared.lock();
        ready!(shared.poll_push(cx))?;
        if to.port == 443 && !self.rules.port_443 {
            tracing::debug!(%to, "UDP to port 443 is not carried with flow xtls-rprx-vision");
            return Poll::Ready(Ok(()));
        }
        // Neither encoding can tell an empty datagram from none.
        if payload.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let encoded = match &mut self.codec {
            Codec::Xudp(frames) => frames.encode(to, payload, shared.outgoing.end()).map_err(|error| error.to_string()),
            Codec::PacketAddr { first } => match to.socket_addr().or_else(|| first.filter(|_| *to == self.rules.first))
            {
                None => Err("packetaddr cannot carry names".to_owned()),
                Some(to) => packet_addr::encode(to, payload, shared.outgoing.end()).map_err(|error| error.to_string()),
            },
        };
        if let Err(why) = encoded {
            tracing::debug!(%to, why, "a datagram was dropped");
            return Poll::Ready(Ok(()));
        }
        shared.flushed = false;
        // What does not leave now is in front of the next datagram, and is pushed while we wait for answers.
        match shared.poll_push(cx) {
            Poll::Ready(pushed) => Poll::Ready(pushed),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }
}

struct Receiver {
    shared: Arc<Mutex<Shared>>,
    /// Or else packetaddr.
    xudp: bool,
    first: Target,
    received: Vec<u8>,
    at: usize,
}

impl RecvDatagram for Receiver {
    fn poll_recv(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<Target>> {
        loop {
            if let Some(from) = self.next(buf)? {
                return Poll::Ready(Ok(from));
            }
            if ready!(self.poll_read(cx))? == 0 {
                return Poll::Ready(Err(ended()));
            }
        }
    }
}

impl Receiver {
    /// The next datagram of those that have arrived.
    fn next(&mut self, buf: &mut ReadBuf<'_>) -> io::Result<Option<Target>> {
        loop {
            let bytes = self.received.get(self.at..).unwrap_or_default();
            let datagram = if self.xudp {
                match xudp::decode(bytes).map_err(|damaged| io::Error::new(io::ErrorKind::InvalidData, damaged))? {
                    xudp::Decoded::Incomplete => return Ok(None),
                    xudp::Decoded::Frame { consumed, event } => {
                        self.at += consumed;
                        match event {
                            xudp::Event::Nothing => None,
                            xudp::Event::End => return Err(ended()),
                            xudp::Event::Datagram { from, payload } => {
                                Some((from.unwrap_or_else(|| self.first.clone()), payload))
                            }
                        }
                    }
                }
            } else {
                match packet_addr::decode(bytes) {
                    packet_addr::Decoded::Incomplete => return Ok(None),
                    packet_addr::Decoded::Packet { consumed, datagram } => {
                        self.at += consumed;
                        datagram.map(|(from, payload)| (Target::from(from), payload))
                    }
                }
            };
            if let Some((from, payload)) = datagram {
                buf.put_slice(&payload[..payload.len().min(buf.remaining())]);
                return Ok(Some(from));
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut shared = self.shared.lock();
        if let Poll::Ready(pushed) = shared.poll_push(cx) {
            pushed?;
        }
        self.received.drain(..self.at);
        self.at = 0;
        self.received.reserve(ROOM);
        let read = pin!(shared.stream.read_buf(&mut self.received)).poll(cx);
        if self.received.is_empty() {
            self.received = Vec::new();
        }
        read
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the server ended the association")
}

/// Some datagrams.
const ROOM: usize = 4096;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use adit_net::Stream;
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;
    use crate::vless::header_stream::HeaderStream;
    use crate::vless::opening::Opening;
    use crate::vless::testing::{Memory, hex};

    fn target(text: &str) -> Target {
        text.parse().unwrap()
    }

    fn xudp(room: usize) -> (Datagrams, DuplexStream) {
        let (ours, theirs) = duplex(room);
        let stream: Box<dyn Stream> =
            Box::new(HeaderStream::new(Memory(ours), Opening::with_first_datagram(b"header".to_vec())));
        let codec = Codec::Xudp(xudp::Encoder::new(NonZeroU64::new(1)));
        (over(stream, codec, Rules { first: target("8.8.8.8:53"), port_443: false }), theirs)
    }

    async fn send(way: &mut Datagrams, payload: &[u8], to: &str) {
        poll_fn(|cx| way.send.poll_send(cx, payload, &target(to))).await.unwrap();
    }

    async fn recv(way: &mut Datagrams, room: usize) -> io::Result<(Target, Vec<u8>)> {
        let mut room = vec![0; room];
        let mut buf = ReadBuf::new(&mut room);
        let from = poll_fn(|cx| way.recv.poll_recv(cx, &mut buf)).await?;
        Ok((from, buf.filled().to_vec()))
    }

    async fn read(theirs: &mut DuplexStream) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(100_000);
        theirs.read_buf(&mut bytes).await.unwrap();
        bytes
    }

    /// F-F13 and spec §1.4: the header goes with the first datagram; what cannot be carried is dropped alone.
    #[tokio::test(start_paused = true)]
    async fn datagrams_go_whole_or_not_at_all() {
        let (mut way, mut theirs) = xudp(100_000);
        // Nothing is asked of the server before there is something to ask, however long we listen.
        assert!(tokio::time::timeout(std::time::Duration::from_secs(60), recv(&mut way, 10)).await.is_err());
        send(&mut way, b"", "8.8.8.8:53").await;
        send(&mut way, &[0; xudp::MAX_UPLINK + 1], "8.8.8.8:53").await;
        send(&mut way, &[0; 65_507], "8.8.8.8:53").await;
        send(&mut way, b"quic", "8.8.8.8:443").await;
        send(&mut way, &hex("dead"), "8.8.8.8:53").await;
        let first = hex("001400000101020035010808080800000000000000010002dead");
        assert_eq!(read(&mut theirs).await, [b"header", &first[..]].concat());
        send(&mut way, &hex("beef"), "8.8.4.4:53").await;
        assert_eq!(read(&mut theirs).await, hex("000c0000020102003501080804040002beef"));
        send(&mut way, &[1; xudp::MAX_UPLINK], "example.com:9").await;
        assert!(read(&mut theirs).await.ends_with(&[1; xudp::MAX_UPLINK]));
    }

    /// F-F13: cut anywhere, several at once, empty, the longest there are, without a source.
    #[tokio::test]
    async fn answers_are_read_at_every_cut() {
        let mut longest = hex("000c000002010200350108080404ffff");
        longest.resize(longest.len() + 65_535, 5);
        let stream = [
            hex("0000"),
            hex("000c0000020102003501080804040002beef"),
            hex("0004000002010000"),
            hex("000400000400"),
            hex("0004000002010002dead"),
            longest,
            hex("0004000002010001aa"),
        ]
        .concat();
        for cut in (0..70).chain([1000, 40_000, stream.len() - 3, stream.len()]) {
            let (mut way, mut theirs) = xudp(200_000);
            send(&mut way, b"x", "8.8.8.8:53").await;
            let writer = async {
                theirs.write_all(&stream[..cut]).await.unwrap();
                tokio::task::yield_now().await;
                theirs.write_all(&stream[cut..]).await.unwrap();
            };
            let reader = async {
                let (from, payload) = recv(&mut way, 100).await.unwrap();
                assert_eq!((from, payload), (target("8.8.4.4:53"), hex("beef")));
                let (from, payload) = recv(&mut way, 100).await.unwrap();
                assert_eq!((from, payload), (target("8.8.8.8:53"), hex("dead")));
                // Cut to the reader's room, and the stream goes on behind it.
                let (from, payload) = recv(&mut way, 100).await.unwrap();
                assert_eq!((from, payload), (target("8.8.4.4:53"), vec![5; 100]));
                let (_, payload) = recv(&mut way, 100).await.unwrap();
                assert_eq!(payload, hex("aa"));
            };
            tokio::join!(writer, reader);
        }
    }

    /// F-F13
    #[tokio::test]
    async fn an_end_or_damage_ends_the_association() {
        for (wire, kind) in [
            ("0000000400000300", io::ErrorKind::UnexpectedEof),
            ("00000003000003", io::ErrorKind::InvalidData),
            ("48545450", io::ErrorKind::InvalidData),
        ] {
            let (mut way, mut theirs) = xudp(1000);
            send(&mut way, b"x", "8.8.8.8:53").await;
            theirs.write_all(&hex(wire)).await.unwrap();
            assert_eq!(recv(&mut way, 10).await.unwrap_err().kind(), kind, "{wire}");
        }
        let (mut way, theirs) = xudp(1000);
        send(&mut way, b"x", "8.8.8.8:53").await;
        drop(theirs);
        assert!(recv(&mut way, 10).await.is_err());
    }

    /// F-B7: a server that does not read stops the sender, and nothing is torn when it reads again.
    #[tokio::test]
    async fn a_stalled_server_stops_the_sender() {
        let (mut way, mut theirs) = xudp(1000);
        let mut sent = 0_u64;
        let to = target("8.8.8.8:53");
        while poll_fn(|cx| Poll::Ready(way.send.poll_send(cx, &[3; 700], &to))).await.is_ready() {
            sent += 1;
        }
        assert!((1..5).contains(&sent), "{sent}");
        let reader = async {
            let mut bytes = vec![0; 6 + (24 + 700) + 3 * (16 + 700)];
            theirs.read_exact(&mut bytes).await.unwrap();
            bytes
        };
        let writer = async {
            for _ in sent..4 {
                send(&mut way, &[3; 700], "8.8.8.8:53").await;
            }
            poll_fn(|cx| way.send.poll_send(cx, b"", &to)).await.unwrap();
        };
        let (bytes, ()) = tokio::join!(reader, writer);
        let mut rest = &bytes[6..];
        while rest.len() > 700 {
            let xudp::Decoded::Frame { consumed, .. } = xudp::decode(rest).unwrap() else { panic!("torn") };
            rest = &rest[consumed..];
        }
    }

    #[test]
    fn global_ids_are_stable_per_socket_and_never_zero() {
        let client = |text: &str| Some(ClientAddr::from(text.parse::<SocketAddr>().unwrap()));
        let id = global_id(client("10.0.0.1:5000"));
        assert!(id.is_some());
        assert_eq!(id, global_id(client("10.0.0.1:5000")));
        assert_ne!(id, global_id(client("10.0.0.1:5001")));
        assert_eq!(global_id(None), None);
    }

    #[tokio::test]
    async fn packetaddr_drops_what_it_cannot_write() {
        let (ours, mut theirs) = duplex(10_000);
        let stream: Box<dyn Stream> =
            Box::new(HeaderStream::new(Memory(ours), Opening::with_first_datagram(Vec::new())));
        let codec = Codec::PacketAddr { first: Some("8.8.8.8:53".parse().unwrap()) };
        let mut way = over(stream, codec, Rules { first: target("dns.example:53"), port_443: true });
        send(&mut way, b"1", "dns.example:53").await;
        send(&mut way, b"2", "other.example:53").await;
        send(&mut way, b"3", "1.2.3.4:443").await;
        let sent = [hex("00080108080808003531"), hex("0008010102030401bb33")].concat();
        let mut bytes = vec![0; sent.len()];
        theirs.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, sent);
        theirs.write_all(&[&hex("0000")[..], &hex("0002ffff"), &sent].concat()).await.unwrap();
        assert_eq!(recv(&mut way, 10).await.unwrap(), (target("8.8.8.8:53"), b"1".to_vec()));
        assert_eq!(recv(&mut way, 10).await.unwrap(), (target("1.2.3.4:443"), b"3".to_vec()));
    }
}
