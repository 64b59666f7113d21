//! A VLESS outbound against a REALITY server that follows a script, over real sockets: what the server sees byte for
//! byte, and what the relay makes of the streams.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adit_net::{
    ClientAddr, Counters, Datagrams, Dial, DialError, Dialer, End, Limits, Side, SystemResolver, Tag, Target, Task,
    relay,
};
use adit_outbound::Book;
use adit_outbound::options::{Common, Kind, Outbound};
use adit_outbound::vless::vision::{Then, Unpad};
use adit_outbound::vless::{Flow, Options, PacketEncoding, Security, UserId, header, xudp};
use adit_reality::Alert;
use adit_reality::testing::{Identity, Script, TestServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

fn id() -> UserId {
    UserId::parse("b831381d-6324-4d53-ad4f-8cda48b30811").unwrap()
}

fn target() -> Target {
    "example.com:443".parse().unwrap()
}

/// A dialer whose server is `listener`.
async fn scene(flow: Flow, packet_encoding: PacketEncoding) -> (TcpListener, Arc<dyn Dialer>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = Options {
        server: listener.local_addr().unwrap().into(),
        id: id(),
        security: Security::Reality(Box::new(Identity::new(1).options())),
        flow,
        packet_encoding,
    };
    let outbound = Outbound {
        name: Tag::new("proxy"),
        kind: Kind::Vless(Box::new(options)),
        common: Common { udp: true, ..Common::default() },
    };
    let resolver = Arc::new(SystemResolver);
    let book = Book::build(vec![outbound], Vec::new(), Arc::<SystemResolver>::clone(&resolver), resolver).unwrap();
    (listener, book.find("proxy").unwrap().dialer)
}

const VISION: Flow = Flow::Vision { udp443: false };

/// The server's end of one connection.
struct Peer {
    socket: TcpStream,
    server: TestServer,
    wire: Vec<u8>,
    frames: Unpad,
    /// How the client's bytes come.
    then: Then,
    /// Everything after the request header, unframed.
    content: Vec<u8>,
    id_is_due: bool,
}

impl Peer {
    /// Accepts a client and shakes hands.
    async fn accept(listener: &TcpListener, identity: Identity) -> Self {
        let (socket, _) = timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
        socket.set_nodelay(true).unwrap();
        let mut peer = Self {
            socket,
            server: TestServer::new(identity, Script::default()),
            wire: Vec::new(),
            frames: Unpad::new(id()),
            then: Then::Frames,
            content: Vec::new(),
            id_is_due: true,
        };
        while peer.server.received().finished.is_none() {
            assert!(peer.receive_record().await, "a handshake");
            peer.flush().await;
        }
        peer
    }

    async fn flush(&mut self) {
        let output = self.server.take_output();
        self.socket.write_all(&output).await.unwrap();
    }

    async fn fill(&mut self) -> bool {
        timeout(PATIENCE, self.socket.read_buf(&mut self.wire)).await.unwrap().unwrap() > 0
    }

    /// Hands exactly one record to the TLS server: what follows may not be one.
    async fn receive_record(&mut self) -> bool {
        loop {
            if let Some(&[_, _, _, high, low]) = self.wire.first_chunk() {
                let length = 5 + usize::from(u16::from_be_bytes([high, low]));
                if self.wire.len() >= length {
                    self.server.receive(&self.wire[..length]);
                    self.wire.drain(..length);
                    return true;
                }
            }
            if !self.fill().await {
                return false;
            }
        }
    }

    /// Reads the request; what comes with it is content.
    async fn request(&mut self, vision: bool, command: header::Command<'_>) {
        let mut expected = Vec::new();
        header::request(&id(), vision, command, &mut expected);
        assert!(self.receive_record().await);
        let data = self.server.take_data();
        assert!(data.starts_with(&expected), "{data:02x?}");
        assert!(data.len() > expected.len(), "the header does not travel alone");
        if !vision {
            self.then = Then::Sealed;
        }
        self.take(&data[expected.len()..]);
    }

    fn take(&mut self, mut data: &[u8]) {
        if self.then == Then::Frames {
            let found = self.frames.feed(data, &mut self.content).unwrap();
            self.then = found.then;
            data = &data[found.consumed..];
        }
        self.content.extend_from_slice(data);
    }

    /// Reads until there are `n` bytes of content, or to the end.
    async fn read_until(&mut self, n: usize) {
        while self.content.len() < n {
            if self.then == Then::Raw {
                self.content.append(&mut self.wire);
                if self.content.len() < n && !self.fill().await {
                    return;
                }
                continue;
            }
            if !self.receive_record().await {
                return;
            }
            let data = self.server.take_data();
            self.take(&data);
        }
    }

    /// Sends the answer header and `content` in frames, the last of which says `command`.
    fn answer(&mut self, command: u8, content: &[u8]) {
        let frame = self.framed(command, content);
        self.server.send(&[&[0, 0][..], &frame].concat());
    }

    fn framed(&mut self, command: u8, content: &[u8]) -> Vec<u8> {
        let mut frame = if std::mem::take(&mut self.id_is_due) { id().as_bytes().to_vec() } else { Vec::new() };
        frame.push(command);
        frame.extend_from_slice(&(content.len() as u16).to_be_bytes());
        frame.extend_from_slice(&[0, 9]);
        frame.extend_from_slice(content);
        frame.extend_from_slice(&[0; 9]);
        frame
    }
}

async fn dial(dialer: &dyn Dialer) -> Result<adit_net::BoxStream, DialError> {
    dialer.connect(Dial { target: &target(), known: None, client: None }).await
}

/// A pair of connected sockets.
async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// A client whose connection is relayed through `dialer`, and the relay.
async fn relayed(dialer: Arc<dyn Dialer>) -> (TcpStream, Task<(End, Arc<Counters>)>) {
    let (client, ours) = sockets().await;
    let task = Task::spawn("relay", async move {
        let upstream = dial(&*dialer).await.unwrap();
        let counters = Arc::new(Counters::default());
        let end = relay(Box::new(ours), upstream, &counters, Limits::default()).await;
        (end, counters)
    });
    (client, task)
}

async fn ended(task: Task<(End, Arc<Counters>)>) -> (End, Arc<Counters>) {
    timeout(PATIENCE, task.join()).await.unwrap().unwrap()
}

// The inner connection, as far as Vision looks at it.

fn client_hello() -> Vec<u8> {
    let mut record = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    record.resize(517, 0x5a);
    record
}

fn server_hello() -> Vec<u8> {
    let mut record = vec![0x16, 3, 3, 0, 90, 2, 0, 0, 86, 3, 3];
    record.resize(43, 0xaa);
    record.push(32);
    record.resize(76, 0xbb);
    record.extend_from_slice(&[0x13, 1, 0, 0, 14, 0, 0x2b, 0, 2, 3, 4, 0, 0x33, 0, 4, 0, 0x1d, 0, 0]);
    record
}

fn record(length: usize, seed: u8) -> Vec<u8> {
    let mut record = vec![0x17, 3, 3];
    record.extend_from_slice(&(length as u16).to_be_bytes());
    record.extend((0..length).map(|i| (i as u8).wrapping_mul(31) ^ seed));
    record
}

/// Many records, some of them small.
fn bulk(seed: u8) -> Vec<u8> {
    (0..200_u8).flat_map(|i| record(if i % 7 == 0 { 100 } else { 16_401 }, i ^ seed)).collect()
}

/// Sends `bytes` in pieces of changing sizes.
async fn trickle(socket: &mut TcpStream, bytes: &[u8], seed: usize) {
    let (mut left, mut turn) = (bytes, seed);
    while !left.is_empty() {
        turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let n = [1, 5, 700, 4096, 16_406, 60_000, 200_000][(turn >> 33) % 7].min(left.len());
        socket.write_all(&left[..n]).await.unwrap();
        left = &left[n..];
        tokio::task::yield_now().await;
    }
}

/// Trap 10, F-F10, F-F14: both directions leave the outer encryption at an exact byte, whatever the pieces; after that
/// the kernel moves the bytes; and both ends are passed on without a word of TLS.
#[tokio::test]
async fn after_the_switch_both_directions_are_spliced() {
    for seed in 0..4 {
        let (listener, dialer) = scene(VISION, PacketEncoding::Xudp).await;
        let (client, task) = relayed(dialer).await;
        let (up, down) = (bulk(1), bulk(2));
        let finished = [&[0x14, 3, 3, 0, 1, 1][..], &record(53, 9)].concat();

        let server = async {
            let mut peer = Peer::accept(&listener, Identity::new(1)).await;
            peer.request(true, header::Command::Tcp(&target())).await;
            peer.read_until(517).await;
            peer.answer(0, &server_hello());
            let direct = peer.framed(2, &record(2000, 7));
            peer.server.send(&direct);
            // Behind the switch, in the same segment.
            let raw = peer.server.take_output();
            peer.socket.write_all(&[&raw[..], &down[..1000]].concat()).await.unwrap();
            let Peer { socket, .. } = &mut peer;
            trickle(socket, &down[1000..], seed).await;
            socket.shutdown().await.unwrap();
            peer.read_until(usize::MAX).await;
            peer
        };
        let client = async {
            let (mut read, mut client) = (Vec::new(), client);
            client.write_all(&client_hello()).await.unwrap();
            let mut hello = vec![0; server_hello().len() + 2005];
            client.read_exact(&mut hello).await.unwrap();
            assert!(hello == [server_hello(), record(2000, 7)].concat());
            client.write_all(&finished).await.unwrap();
            trickle(&mut client, &up, seed + 10).await;
            client.shutdown().await.unwrap();
            client.read_to_end(&mut read).await.unwrap();
            read
        };
        let (peer, read) = tokio::join!(server, client);
        assert!(read == down, "downlink, seed {seed}");
        assert!(peer.content == [client_hello(), finished, up.clone()].concat(), "uplink, seed {seed}");
        assert_eq!(peer.then, Then::Raw);
        assert!(peer.server.received().alerts.is_empty(), "no alert after the switch");

        let (end, counters) = ended(task).await;
        assert!(matches!(end, End::Done(_)), "{end:?}");
        assert_eq!(counters.up() as usize, peer.content.len());
        assert_eq!(counters.down() as usize, server_hello().len() + 2005 + down.len());
        assert!(counters.spliced_up() > 1_000_000, "{counters:?}");
        assert!(counters.spliced_down() > 1_000_000, "{counters:?}");
    }
}

/// F-B1 through the outer encryption: each side may end first, and the other goes on.
#[tokio::test]
async fn half_closes_are_kept_while_sealed() {
    for client_first in [true, false] {
        let (listener, dialer) = scene(Flow::Plain, PacketEncoding::Xudp).await;
        let (mut client, task) = relayed(dialer).await;
        let server = async {
            let mut peer = Peer::accept(&listener, Identity::new(1)).await;
            peer.request(false, header::Command::Tcp(&target())).await;
            if client_first {
                peer.read_until(usize::MAX).await;
                assert_eq!(peer.content, b"question");
                assert_eq!(peer.server.received().alerts, [Alert::CLOSE_NOTIFY]);
            }
            peer.server.send(b"\0\0answer");
            peer.server.send_alert(Alert::CLOSE_NOTIFY);
            peer.flush().await;
            peer.socket.shutdown().await.unwrap();
            peer.read_until(usize::MAX).await;
            peer.content
        };
        let client = async {
            client.write_all(b"question").await.unwrap();
            let mut answer = Vec::new();
            if client_first {
                client.shutdown().await.unwrap();
                client.read_to_end(&mut answer).await.unwrap();
            } else {
                client.read_to_end(&mut answer).await.unwrap();
                client.write_all(b", and more").await.unwrap();
                client.shutdown().await.unwrap();
            }
            answer
        };
        let (question, answer) = tokio::join!(server, client);
        assert_eq!(answer, b"answer");
        assert_eq!(question, if client_first { &b"question"[..] } else { b"question, and more" });
        let (end, _) = ended(task).await;
        let first = if client_first { Side::Client } else { Side::Upstream };
        assert!(matches!(end, End::Done(side) if side == first), "{end:?}");
    }
}

/// F-B4, F-B5, F-F12, F-F14: a connection that is cut, refused or answered with something else ends in a reset for the
/// client, after every byte that arrived.
#[tokio::test]
async fn a_cut_connection_is_a_reset_for_the_client() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Cut {
        NoCloseNotify,
        Reset,
        ResetWhenRaw,
        TurnedAway,
        NotVless,
    }
    for cut in [Cut::NoCloseNotify, Cut::Reset, Cut::ResetWhenRaw, Cut::TurnedAway, Cut::NotVless] {
        let (listener, dialer) = scene(VISION, PacketEncoding::Xudp).await;
        let (mut client, task) = relayed(dialer).await;
        client.write_all(b"question").await.unwrap();
        let mut peer = Peer::accept(&listener, Identity::new(1)).await;
        peer.request(true, header::Command::Tcp(&target())).await;
        match cut {
            Cut::NoCloseNotify | Cut::Reset => peer.answer(0, b"half an ans"),
            Cut::ResetWhenRaw => peer.answer(2, b"half an ans"),
            Cut::TurnedAway => peer.server.send_alert(Alert::CLOSE_NOTIFY),
            Cut::NotVless => peer.server.send(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        }
        peer.flush().await;
        let mut got = vec![0; 11];
        if !matches!(cut, Cut::TurnedAway | Cut::NotVless) {
            client.read_exact(&mut got).await.unwrap();
            assert_eq!(got, b"half an ans");
        }
        if matches!(cut, Cut::Reset | Cut::ResetWhenRaw) {
            socket2::SockRef::from(&peer.socket).set_linger(Some(Duration::ZERO)).unwrap();
        }
        let keep = (cut == Cut::NotVless).then_some(peer);
        let error = timeout(PATIENCE, client.read(&mut got)).await.unwrap().expect_err("a reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{cut:?}");
        let (end, _) = ended(task).await;
        assert!(matches!(end, End::Broken(ref broken) if broken.side == Side::Upstream), "{cut:?}: {end:?}");
        drop(keep);
    }
}

/// F-B4: a client that breaks off is a reset for the server, so that what it sent does not look complete.
#[tokio::test]
async fn a_client_that_breaks_off_is_a_reset_for_the_server() {
    let (listener, dialer) = scene(VISION, PacketEncoding::Xudp).await;
    let (mut client, task) = relayed(dialer).await;
    client.write_all(b"half a quest").await.unwrap();
    let mut peer = Peer::accept(&listener, Identity::new(1)).await;
    peer.request(true, header::Command::Tcp(&target())).await;
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let (end, _) = ended(task).await;
    assert!(matches!(end, End::Broken(ref broken) if broken.side == Side::Client), "{end:?}");
    let mut rest = Vec::new();
    let error = timeout(PATIENCE, peer.socket.read_to_end(&mut rest)).await.unwrap().expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

async fn associate(dialer: &dyn Dialer, to: &Target, client: Option<&str>) -> Result<Datagrams, DialError> {
    let client = client.map(|text| ClientAddr::from(text.parse::<SocketAddr>().unwrap()));
    dialer.datagrams(Dial { target: to, known: None, client }).await
}

async fn send(way: &mut Datagrams, payload: &[u8], to: &Target) {
    std::future::poll_fn(|cx| way.send.poll_send(cx, payload, to)).await.unwrap();
}

async fn recv(way: &mut Datagrams) -> (Target, Vec<u8>) {
    let mut room = vec![0; 65_536];
    let mut buf = ReadBuf::new(&mut room);
    let from = timeout(PATIENCE, std::future::poll_fn(|cx| way.recv.poll_recv(cx, &mut buf))).await.unwrap().unwrap();
    (from, buf.filled().to_vec())
}

/// Trap 9: with Vision, datagrams are XUDP frames in command Mux, inside Vision's framing, never command UDP. The name
/// goes to the server as a name.
#[tokio::test]
async fn trap_9_udp_is_xudp_in_mux_with_vision() {
    let (listener, dialer) = scene(VISION, PacketEncoding::Xudp).await;
    let first: Target = "dns.example:53".parse().unwrap();
    let mut ids = Vec::new();
    for client in [Some("10.0.0.1:5000"), Some("10.0.0.1:5000"), Some("10.0.0.1:5001"), None] {
        let server = async {
            let mut peer = Peer::accept(&listener, Identity::new(1)).await;
            peer.request(true, header::Command::Mux).await;
            peer.read_until(1).await;
            // New, UDP, the name, and the Global ID if there is one.
            let metadata = if client.is_some() { 28 } else { 20 };
            let head = [&[0, metadata, 0, 0, 1, 1, 2, 0, 53, 2, 11][..], b"dns.example"].concat();
            assert!(peer.content.starts_with(&head), "{:02x?}", peer.content);
            let (global_id, rest) = peer.content[22..].split_at(usize::from(metadata) - 20);
            assert_eq!(rest, [&[0, 5][..], b"query"].concat());
            let global_id = global_id.to_vec();
            let answer = b"\0\x0c\0\0\x02\x01\x02\0\x35\x01\x08\x08\x04\x04\0\x06answer\0\x04\0\0\x02\x01\0\x05again";
            peer.answer(0, answer);
            peer.flush().await;
            (peer, global_id)
        };
        let client = async {
            let mut way = associate(&*dialer, &first, client).await.unwrap();
            send(&mut way, b"query", &first).await;
            assert_eq!(recv(&mut way).await, ("8.8.4.4:53".parse().unwrap(), b"answer".to_vec()));
            assert_eq!(recv(&mut way).await, (first.clone(), b"again".to_vec()));
            way
        };
        let ((peer, global_id), way) = tokio::join!(server, client);
        ids.push(global_id);
        drop((peer, way));
    }
    assert_eq!(ids[0], ids[1], "one socket of a client, one id");
    assert_ne!(ids[0], ids[2]);
    assert_ne!(ids[0], [0; 8]);
    assert!(ids[3].is_empty());
}

/// Spec §5.8: QUIC is left to TCP unless the flow says otherwise.
#[tokio::test]
async fn udp_to_port_443_is_refused_here() {
    let quic: Target = "example.com:443".parse().unwrap();
    let (listener, dialer) = scene(VISION, PacketEncoding::Xudp).await;
    let refused = associate(&*dialer, &quic, None).await;
    assert!(matches!(&refused, Err(DialError::Denied(why)) if why.contains("udp443")), "{refused:?}");
    drop(listener);

    for flow in [Flow::Vision { udp443: true }, Flow::Plain] {
        let (listener, dialer) = scene(flow, PacketEncoding::Xudp).await;
        let server = async {
            let mut peer = Peer::accept(&listener, Identity::new(1)).await;
            peer.request(flow != Flow::Plain, header::Command::Mux).await;
            peer.read_until(1).await;
            peer.content
        };
        let client = async {
            let mut way = associate(&*dialer, &quic, None).await.unwrap();
            send(&mut way, b"initial", &quic).await;
            way
        };
        let (content, _way) = tokio::join!(server, client);
        let Ok(xudp::Decoded::Frame { consumed, .. }) = xudp::decode(&content) else { panic!("a frame") };
        assert_eq!(consumed, content.len());
        assert!(content.ends_with(b"\0\x07initial"));
    }
}

/// Spec §6.3: packetaddr never asks for a flow, and answers name their source.
#[tokio::test]
async fn packetaddr_is_command_udp_to_the_magic_name() {
    let (listener, dialer) = scene(VISION, PacketEncoding::PacketAddr).await;
    let to: Target = "8.8.8.8:53".parse().unwrap();
    let magic: Target = "sp.packet-addr.v2fly.arpa:443".parse().unwrap();
    let server = async {
        let mut peer = Peer::accept(&listener, Identity::new(1)).await;
        peer.request(false, header::Command::Udp(&magic)).await;
        assert_eq!(peer.content, b"\0\x0c\x01\x08\x08\x08\x08\0\x35query");
        peer.server.send(b"\0\0\0\x0d\x01\x08\x08\x04\x04\0\x35answer");
        peer.flush().await;
        peer
    };
    let client = async {
        let mut way = associate(&*dialer, &to, None).await.unwrap();
        send(&mut way, b"query", &to).await;
        assert_eq!(recv(&mut way).await, ("8.8.4.4:53".parse().unwrap(), b"answer".to_vec()));
        way
    };
    tokio::join!(server, client);
    let name: Target = "dns.example:53".parse().unwrap();
    assert!(matches!(associate(&*dialer, &name, None).await, Err(DialError::Unresolved(_))));
}

/// F-F1, F-F15: a server that does not know us is not asked again at once, gets no VLESS byte, and costs one connection
/// per request at most.
#[tokio::test]
async fn a_stranger_is_not_asked_again_at_once() {
    let (listener, dialer) = scene(VISION, PacketEncoding::Xudp).await;
    let stranger = async {
        let mut peer = Peer::accept(&listener, Identity::new(2)).await;
        // A visit to the page, or nothing.
        while peer.server.received().data.is_empty() && peer.receive_record().await {}
        peer
    };
    let first = dial(&*dialer);
    let (peer, first) = tokio::join!(stranger, first);
    let Err(DialError::Protocol(why)) = first else { panic!("no stream") };
    assert!(why.contains("public-key") && why.contains("[proxy]"), "{why}");
    assert!(!peer.server.received().data.windows(16).any(|bytes| bytes == id().as_bytes()), "not one VLESS byte");

    let start = Instant::now();
    for _ in 0..20 {
        assert!(matches!(dial(&*dialer).await, Err(DialError::Protocol(_))));
        assert!(associate(&*dialer, &"8.8.8.8:53".parse().unwrap(), None).await.is_err());
    }
    assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    assert!(timeout(Duration::from_millis(50), listener.accept()).await.is_err(), "no other connection");

    // When the time has come and the server knows us, all is well at once.
    tokio::time::sleep(Duration::from_millis(1050).saturating_sub(start.elapsed())).await;
    let (_peer, again) = tokio::join!(Peer::accept(&listener, Identity::new(1)), dial(&*dialer));
    again.unwrap();
}

/// F-F15: a server that is down is one refused connection per request; when it is back, the next request works.
#[tokio::test]
async fn a_server_that_is_down_is_tried_once_per_request() {
    let (listener, dialer) = scene(VISION, PacketEncoding::Xudp).await;
    let at = listener.local_addr().unwrap();
    drop(listener);
    for _ in 0..3 {
        assert!(matches!(dial(&*dialer).await, Err(DialError::Refused(_))));
    }
    let listener = TcpListener::bind(at).await.unwrap();
    let (_peer, stream) = tokio::join!(Peer::accept(&listener, Identity::new(1)), dial(&*dialer));
    stream.unwrap();
    assert!(timeout(Duration::from_millis(50), listener.accept()).await.is_err());
}
