//! What sealing and opening packets costs by itself.

use std::time::{Duration, Instant};

use adit_testkit::lab::Key;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use rustix::time::{ClockId, clock_gettime};

/// Bytes of an IP packet.
const PACKET: usize = 1_420;
/// What TCP carries in one: IPv4, TCP and its timestamps take the rest.
const PAYLOAD: usize = PACKET - 52;
/// Packets in a row: few enough to stay in a core's cache.
const BATCH: usize = 128;

/// CPU-seconds per GiB of TCP payload that boringtun takes on one thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bare {
    pub(crate) encapsulate: f64,
    pub(crate) decapsulate: f64,
}

impl Bare {
    /// Takes about as long as `time`.
    pub(crate) fn measure(time: Duration) -> Self {
        let (mut near, mut far) = session();
        let packet = ip_packet();
        let mut sealed = vec![([0; PACKET + 64], 0); BATCH];
        let mut opened = [0; PACKET + 64];
        let (mut encapsulate, mut decapsulate, mut packets) = (0.0, 0.0, 0);
        let end = Instant::now() + time;
        while Instant::now() < end {
            let start = cpu_seconds();
            for (room, length) in &mut sealed {
                let TunnResult::WriteToNetwork(bytes) = near.encapsulate(&packet, room) else { panic!("no session") };
                *length = bytes.len();
            }
            let middle = cpu_seconds();
            for (room, length) in &sealed {
                let result = far.decapsulate(None, &room[..*length], &mut opened);
                assert!(matches!(result, TunnResult::WriteToTunnelV4(..)), "{result:?}");
            }
            encapsulate += middle - start;
            decapsulate += cpu_seconds() - middle;
            packets += BATCH;
        }
        let gib = (packets * PAYLOAD) as f64 / f64::from(1 << 30);
        Self { encapsulate: encapsulate / gib, decapsulate: decapsulate / gib }
    }
}

/// An IPv4 header is all that boringtun looks at.
fn ip_packet() -> [u8; PACKET] {
    let mut packet = [0x5a; PACKET];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(PACKET as u16).to_be_bytes());
    packet
}

/// Two ends that have shaken hands.
fn session() -> (Tunn, Tunn) {
    let (near, far) = (Key::random(), Key::random());
    let end = |own: Key, other: Key, index| {
        Tunn::new(StaticSecret::from(own.0), PublicKey::from(other.public().0), None, None, index, None)
    };
    let (mut a, mut b) = (end(near, far, 1), end(far, near, 2));
    let (mut one, mut two, mut three) = ([0; 256], [0; 256], [0; 256]);
    let TunnResult::WriteToNetwork(initiation) = a.format_handshake_initiation(&mut one, false) else {
        panic!("no initiation");
    };
    let TunnResult::WriteToNetwork(response) = b.decapsulate(None, initiation, &mut two) else {
        panic!("no response");
    };
    let TunnResult::WriteToNetwork(keepalive) = a.decapsulate(None, response, &mut three) else {
        panic!("no session");
    };
    assert!(matches!(b.decapsulate(None, keepalive, &mut one), TunnResult::Done));
    (a, b)
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
