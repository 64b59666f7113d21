//! What records and handshakes cost: `cargo bench -p adit-reality`. Best of several rounds; no comparison is kept.

#![expect(clippy::unwrap_used, reason = "a bench may stop")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use adit_reality::testing::{Group, Identity, Script, Suite, TestServer, exchange};
use adit_reality::{ClientHandshake, Established, Fingerprint, Opened, Progress, SystemRandom};

fn report(what: &str, times: u32, mut run: impl FnMut() -> Duration) {
    let best = (0..7).map(|_| (0..times).map(|_| run()).sum::<Duration>()).min().unwrap_or_default();
    println!("{what:<44} {:>9.0} ns", best.as_nanos() as f64 / f64::from(times));
}

fn timed<T>(run: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(run());
    start.elapsed()
}

fn established(suite: Suite) -> (Box<Established>, TestServer) {
    let identity = Identity::new(1);
    let mut client = ClientHandshake::new(&identity.options(), &mut SystemRandom, 0).unwrap();
    let mut server = TestServer::new(identity, Script { suite, ..Script::default() });
    match exchange(&mut client, &mut server).0.unwrap() {
        Progress::Done { established, .. } => (established, server),
        _ => panic!("not established"),
    }
}

fn main() {
    println!("{:<44} {:>9.2?}", "the first random number", timed(draw));
    for suite in [Suite::Aes128, Suite::Aes256, Suite::ChaCha20] {
        let (mut established, mut server) = established(suite);
        let (data, mut out) = (vec![7; 16_384], Vec::with_capacity(17_000));
        report(&format!("{suite:?}: seal 16 KiB"), 500, || {
            out.clear();
            timed(|| established.sealer.seal(&data, &mut out))
        });
        report(&format!("{suite:?}: open 16 KiB"), 500, || {
            server.send(&data);
            let mut bytes = server.take_output();
            timed(|| assert!(matches!(established.opener.open(&mut bytes), Ok(Opened::Record { .. }))))
        });
    }
    let identity = Identity::new(1);
    for fingerprint in [Fingerprint::Chrome, Fingerprint::Firefox, Fingerprint::Safari, Fingerprint::Ios] {
        let mut options = identity.options();
        options.fingerprint = fingerprint;
        report(&format!("{fingerprint}: make a hello"), 50, || {
            timed(|| ClientHandshake::new(&options, &mut SystemRandom, 0).unwrap())
        });
    }
    for group in [Group::X25519, Group::Hybrid] {
        report(&format!("{group:?}: the rest of the handshake"), 50, || {
            let mut client = ClientHandshake::new(&identity.options(), &mut SystemRandom, 0).unwrap();
            let mut server = TestServer::new(identity.clone(), Script { group, ..Script::default() });
            server.receive(&client.take_output());
            let mut bytes = server.take_output();
            timed(|| client.feed(&mut bytes).unwrap())
        });
    }
}

fn draw() {
    use adit_reality::Random as _;
    SystemRandom.fill(&mut [0; 32]);
}
