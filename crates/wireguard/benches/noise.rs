//! What sessions cost beside boringtun's: `cargo bench -p adit-wireguard`. The two take turns; the best round of each counts.

#![expect(clippy::unwrap_used, reason = "a bench may stop")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use adit_wireguard::PrivateKey;
use adit_wireguard::testing::{DATA_OVERHEAD, Party, Session};
use boringtun::noise::{Tunn, TunnResult};

const PACKET: usize = 1420;
const BATCH: usize = 256;
const ROUNDS: usize = 60;

fn main() {
    let (mut ours, mut theirs) = ([Duration::MAX; 3], [Duration::MAX; 3]);
    let mut sessions = Party::new(key(1), 1).shake_hands(&mut Party::new(key(2), 2)).unwrap();
    let mut tunnels = tunnels();
    for _ in 0..ROUNDS {
        keep_best(&mut ours, adit(&mut sessions));
        keep_best(&mut theirs, boringtun(&mut tunnels));
    }
    println!("{:<28} {:>10} {:>10} {:>8}", "", "adit", "boringtun", "ratio");
    let rows = [("seal 1,420 bytes", BATCH), ("open 1,420 bytes", BATCH), ("a handshake, both ends", 1)];
    for ((what, times), (ours, theirs)) in rows.into_iter().zip(ours.into_iter().zip(theirs)) {
        let nanos = |total: Duration| total.as_nanos() as f64 / times as f64;
        let (ours, theirs) = (nanos(ours), nanos(theirs));
        println!("{what:<28} {ours:>7.0} ns {theirs:>7.0} ns {:>8.2}", ours / theirs);
    }
}

fn keep_best(best: &mut [Duration; 3], round: [Duration; 3]) {
    best.iter_mut().zip(round).for_each(|(best, time)| *best = time.min(*best));
}

fn timed(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

fn key(fill: u8) -> PrivateKey {
    PrivateKey::from_bytes([fill; 32])
}

/// An IPv4 packet, as far as boringtun looks at it.
fn packet() -> [u8; PACKET] {
    let mut packet = [0x5a; PACKET];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(PACKET as u16).to_be_bytes());
    packet
}

fn adit((sender, receiver): &mut (Session, Session)) -> [Duration; 3] {
    let mut messages = vec![[0; PACKET + DATA_OVERHEAD]; BATCH];
    messages.iter_mut().for_each(|message| message[16..16 + PACKET].copy_from_slice(&packet()));
    let seal = timed(|| messages.iter_mut().for_each(|message| assert!(sender.seal(message))));
    let open = timed(|| {
        for message in &mut messages {
            black_box(receiver.open(message).unwrap());
        }
    });
    let (mut ours, mut theirs) = (Party::new(key(1), 1), Party::new(key(2), 2));
    [seal, open, timed(|| drop(black_box(ours.shake_hands(&mut theirs).unwrap())))]
}

fn tunnels() -> (Tunn, Tunn) {
    let public = |fill| x25519_dalek::PublicKey::from(*key(fill).public_key().as_bytes());
    let mut sender = Tunn::new([1; 32].into(), public(2), None, None, 1, None);
    let mut receiver = Tunn::new([2; 32].into(), public(1), None, None, 2, None);
    connect(&mut sender, &mut receiver);
    (sender, receiver)
}

fn connect(sender: &mut Tunn, receiver: &mut Tunn) {
    let mut buffers = [[0; 2048]; 3];
    let [initiation, response, keepalive] = &mut buffers;
    let initiation = written(sender.format_handshake_initiation(initiation, true));
    let response = written(receiver.decapsulate(None, initiation, response));
    let keepalive = written(sender.decapsulate(None, response, keepalive));
    assert!(matches!(receiver.decapsulate(None, keepalive, &mut [0; 64]), TunnResult::Done));
}

fn written(result: TunnResult<'_>) -> &[u8] {
    match result {
        TunnResult::WriteToNetwork(message) => message,
        other => panic!("nothing to send: {other:?}"),
    }
}

fn boringtun((sender, receiver): &mut (Tunn, Tunn)) -> [Duration; 3] {
    let packet = packet();
    let mut messages = vec![[0; PACKET + DATA_OVERHEAD]; BATCH];
    let seal = timed(|| {
        for message in &mut messages {
            assert_eq!(written(sender.encapsulate(&packet, message)).len(), message.len());
        }
    });
    let mut text = [0; 2048];
    let open = timed(|| {
        for message in &messages {
            assert!(matches!(receiver.decapsulate(None, message, &mut text), TunnResult::WriteToTunnelV4(..)));
        }
    });
    let public = |fill| x25519_dalek::PublicKey::from(*key(fill).public_key().as_bytes());
    let mut ours = Tunn::new([1; 32].into(), public(2), None, None, 1, None);
    let mut theirs = Tunn::new([2; 32].into(), public(1), None, None, 2, None);
    [seal, open, timed(|| connect(&mut ours, &mut theirs))]
}
