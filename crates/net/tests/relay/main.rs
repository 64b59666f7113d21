//! The relay between real sockets: every byte, every end, every count.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod ends;
mod lab;
mod streams;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use adit_net::{BoxStream, Counters, End, Limits, Prefixed, Task, relay};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::lab::{Lab, pair, payload, raw, receive, send};
use self::streams::{EndlessAndStuck, Opaque, TurnsRaw, masked};

const MIB: usize = 1 << 20;

/// How a side of the relay is made; for `TurnsRaw` and `Prefixed`, after how many bytes it is raw.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Raw,
    Opaque,
    TurnsRaw(usize),
    Prefixed(usize),
}

impl Kind {
    fn make(self, socket: TcpStream, prefix: &[u8]) -> BoxStream {
        match self {
            Self::Raw => raw(socket),
            Self::Opaque => Box::new(Opaque(socket)),
            Self::TurnsRaw(after) => Box::new(TurnsRaw::new(socket, after)),
            Self::Prefixed(after) => Box::new(Prefixed::new(prefix[..after].to_vec(), socket)),
        }
    }

    /// What the outer end sends so that the relay reads `bytes`.
    fn sent(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::TurnsRaw(after) => masked(bytes.to_vec(), after),
            Self::Prefixed(after) => bytes[after..].to_vec(),
            Self::Raw | Self::Opaque => bytes.to_vec(),
        }
    }

    /// What the relay wrote when the outer end received `bytes`.
    fn received(self, bytes: Vec<u8>) -> Vec<u8> {
        match self {
            Self::TurnsRaw(after) => masked(bytes, after),
            _ => bytes,
        }
    }
}

/// Carries `length` bytes each way at once, and checks every byte and count. Returns the spliced bytes, up and down.
async fn carry(client: Kind, upstream: Kind, length: usize, seed: u64) -> (u64, u64) {
    let (up, down) = (payload(seed, length), payload(seed + 1, length));
    let lab = Lab::new(|s| client.make(s, &up), |s| upstream.make(s, &down)).await;
    let (client_read, client_write) = lab.client.into_split();
    let (server_read, server_write) = lab.server.into_split();
    let sending = (
        Task::spawn("client", send(client_write, client.sent(&up), seed + 2)),
        Task::spawn("server", send(server_write, upstream.sent(&down), seed + 3)),
    );
    let ((_, at_server), (_, at_client)) = tokio::join!(receive(server_read, seed + 4), receive(client_read, seed + 5));
    assert!(upstream.received(at_server) == up, "{client:?} → {upstream:?} differs");
    assert!(client.received(at_client) == down, "{client:?} ← {upstream:?} differs");
    assert!(matches!(lab.relay.join().await, Some(End::Done(_))));
    assert_eq!((lab.counters.up(), lab.counters.down()), (length as u64, length as u64));
    drop(sending);
    (lab.counters.spliced_up(), lab.counters.spliced_down())
}

#[tokio::test]
async fn every_byte_arrives_whatever_the_streams_are() {
    let kinds = [Kind::Raw, Kind::Opaque, Kind::TurnsRaw(300_000), Kind::Prefixed(20_000)];
    for (row, client) in kinds.into_iter().enumerate() {
        for (column, upstream) in kinds.into_iter().enumerate() {
            carry(client, upstream, MIB, (row * 100 + column * 10) as u64).await;
        }
    }
}

/// Sends 8 MiB each way as fast as it goes. Returns the bytes that were not spliced, up and down.
async fn copied_of_bulk(upstream: Kind) -> (u64, u64) {
    let body = payload(1, 8 * MIB);
    let lab = Lab::new(raw, |s| upstream.make(s, &[])).await;
    let (mut client_read, mut client_write) = lab.client.into_split();
    let (mut server_read, mut server_write) = lab.server.into_split();
    let from_server = upstream.sent(&body);
    let (mut at_client, mut at_server) = (vec![0; body.len()], vec![0; body.len()]);
    let (up, down, _, _) = tokio::join!(
        client_write.write_all(&body),
        server_write.write_all(&from_server),
        client_read.read_exact(&mut at_client),
        server_read.read_exact(&mut at_server),
    );
    up.and(down).unwrap();
    assert!(at_client == body && upstream.received(at_server) == body);
    let count = &lab.counters;
    assert_eq!((count.up(), count.down()), (8 * MIB as u64, 8 * MIB as u64));
    (count.up() - count.spliced_up(), count.down() - count.spliced_down())
}

/// Direct ↔ direct is spliced but for what moves before the promotion, and the odd chunk that a probing read catches.
#[tokio::test]
async fn bare_sockets_splice() {
    let (up, down) = copied_of_bulk(Kind::Raw).await;
    assert!(up <= MIB as u64 && down <= MIB as u64, "copied {up} and {down}");
}

/// Vision: layered at first, spliced after its switch.
#[tokio::test]
async fn a_stream_that_turns_raw_in_the_middle_splices_from_there() {
    let (up, down) = copied_of_bulk(Kind::TurnsRaw(500_000)).await;
    assert!(up <= 2 * MIB as u64 && down <= 2 * MIB as u64, "copied {up} and {down}");
}

#[tokio::test]
async fn a_layered_stream_never_splices() {
    assert_eq!(carry(Kind::Raw, Kind::Opaque, MIB, 1).await, (0, 0));
    assert_eq!(carry(Kind::TurnsRaw(2 * MIB), Kind::Raw, MIB, 1).await, (0, 0));
}

/// A layered sink may hold bytes back until it is flushed; a conversation must not wait for more of them.
#[tokio::test]
async fn what_a_sink_holds_back_is_flushed_when_the_source_pauses() {
    let after = 1000;
    let mut lab = Lab::new(raw, |s| Box::new(TurnsRaw::new(s, after))).await;
    for round in 0..3 {
        let (question, answer) = (payload(round, 300), payload(round + 10, 300));
        let mut got = vec![0; 300];
        lab.client.write_all(&question).await.unwrap();
        lab.server.read_exact(&mut got).await.unwrap();
        assert_eq!(masked(got.clone(), after), question);
        lab.server.write_all(&masked(answer.clone(), after)).await.unwrap();
        lab.client.read_exact(&mut got).await.unwrap();
        assert_eq!(got, answer);
    }
}

/// Promote late: a short connection never pays for a pipe.
#[tokio::test]
async fn a_short_connection_never_splices() {
    assert_eq!(carry(Kind::Raw, Kind::Raw, 128 * 1024, 1).await, (0, 0));
}

#[tokio::test]
async fn the_switch_may_come_at_any_byte() {
    for after in 0..=64 {
        carry(Kind::TurnsRaw(after), Kind::Prefixed(after), 64, after as u64).await;
    }
    for after in (128 * 1024 - 2..=128 * 1024 + 2).chain([65_535, 65_536, 65_537]) {
        carry(Kind::TurnsRaw(after), Kind::Raw, 256 * 1024, after as u64).await;
        carry(Kind::Raw, Kind::TurnsRaw(after), 256 * 1024, after as u64).await;
    }
}

/// No wake-up is lost however the two directions and many connections share threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_on_several_threads() {
    let all: Vec<_> = (0..48)
        .map(|seed| {
            let upstream = if seed % 3 == 0 { Kind::TurnsRaw(200_000) } else { Kind::Raw };
            Task::spawn("one", carry(Kind::Raw, upstream, MIB, seed))
        })
        .collect();
    for one in all {
        one.join().await.unwrap();
    }
}

/// splice(2) stops at urgent data, so what follows it must be read.
#[tokio::test]
async fn urgent_data_does_not_stop_a_spliced_direction() {
    let mut lab = Lab::raw().await;
    let body = payload(1, MIB);
    let mut got = vec![0; MIB];
    let (sent, received) = tokio::join!(lab.client.write_all(&body), lab.server.read_exact(&mut got));
    sent.unwrap();
    received.unwrap();
    for round in 0..4 {
        // The relay does not run until this task waits, so it finds all of this at once.
        let before = payload(round, 65_536);
        assert_eq!(lab.client.try_write(&before).unwrap(), before.len());
        if round > 0 {
            socket2::SockRef::from(&lab.client).send_out_of_band(b"!").unwrap();
        }
        assert_eq!(lab.client.try_write(b"after").unwrap(), 5);
        let mut got = vec![0; before.len() + 5];
        lab.server.read_exact(&mut got).await.unwrap();
        assert!(got[..before.len()] == before && got.ends_with(b"after"));
    }
}

/// F-B7
#[tokio::test]
async fn a_stalled_reader_holds_back_at_most_64_kib_in_user_space() {
    let read = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    let streams = read.each_ref().map(|read| EndlessAndStuck(read.clone()));
    let [client, upstream] = streams.map(|stream| Box::new(stream) as BoxStream);
    let counters = Counters::default();
    let carried = relay(client, upstream, &counters, Limits::default());
    assert!(tokio::time::timeout(Duration::from_millis(50), carried).await.is_err());
    for read in &read {
        assert!((1..=64 * 1024).contains(&read.load(Ordering::Relaxed)), "{read:?}");
    }
    assert_eq!((counters.up(), counters.down()), (0, 0));
}

/// F-B7
#[tokio::test]
async fn a_stalled_reader_stops_the_writer_and_loses_nothing() {
    for kind in [Kind::Raw, Kind::Opaque] {
        let mut lab = Lab::new(|s| kind.make(s, &[]), |s| kind.make(s, &[])).await;
        let (server_read, mut server_write) = lab.server.into_split();
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = sent.clone();
        let body = payload(5, MIB);
        let pushing = Task::spawn("server", async move {
            for piece in body.chunks(4096).cycle() {
                server_write.write_all(piece).await.unwrap();
                counter.fetch_add(piece.len(), Ordering::Relaxed);
            }
        });
        let mut before = usize::MAX;
        while before != sent.load(Ordering::Relaxed) {
            before = sent.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let expected: Vec<u8> = payload(5, MIB).into_iter().cycle().take(before + MIB).collect();
        let mut got = vec![0; expected.len()];
        lab.client.read_exact(&mut got).await.unwrap();
        assert!(got == expected);
        drop((pushing, server_read));
    }
}

#[tokio::test]
async fn the_future_is_small() {
    let (one, other) = (pair().await, pair().await);
    let counters = Counters::default();
    let future = relay(raw(one.0), raw(other.0), &counters, Limits::default());
    let size = size_of_val(&future);
    assert!(size <= 768, "{size} bytes");
}
