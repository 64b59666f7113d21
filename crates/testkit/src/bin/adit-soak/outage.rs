//! A minute in which the network carries nothing, with streams open: they survive.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use adit_testkit::client::socks5;
use adit_testkit::lab::{Lab, PeerOptions};
use adit_testkit::lossy::Faults;
use adit_testkit::origin::TcpOrigin;
use adit_testkit::subject::{Subject, Way};

use crate::verdict::{Pulse, Verdict};

const OUTAGE: Duration = Duration::from_secs(60);
/// Retransmission timers have backed off by then: at most another minute passes until the next try, and some to catch up.
const RECOVERY: Duration = Duration::from_secs(90);
/// Streams on which something was sent into the outage, and streams on which nothing was.
const STREAMS: usize = 20;

fn answer(stream: &mut TcpStream, question: &[u8]) -> io::Result<()> {
    let mut back = vec![0; question.len()];
    stream.read_exact(&mut back)?;
    if back == question { Ok(()) } else { Err(io::Error::other("another answer")) }
}

fn ask(stream: &mut TcpStream, question: &[u8]) -> io::Result<()> {
    stream.write_all(question)?;
    answer(stream, question)
}

pub(crate) fn run(subject: Subject, verdict: &mut Verdict) {
    let lab = Lab::new();
    let peer = lab.peer(PeerOptions::default());
    let relay = lab.relay(peer.endpoint_v4(), Faults::NONE, Faults::NONE, 1);
    let origin = lab.inside(TcpOrigin::patient_echo);
    let watch = lab.watch(&[peer.endpoint_v4()]);
    lab.client().run(|| {
        let proxy = subject.start(Way::WireGuard(&peer.route().through(relay.addr())));
        let open = || -> io::Result<TcpStream> {
            let mut stream = socks5(proxy.addr, &origin.addr().into())?;
            stream.set_read_timeout(Some(RECOVERY))?;
            ask(&mut stream, b"before")?;
            Ok(stream)
        };
        let streams: io::Result<Vec<_>> = (0..2 * STREAMS).map(|_| open()).collect();
        let mut streams = streams.expect("streams before the outage");
        relay.pause(true);
        let (busy, silent) = streams.split_at_mut(STREAMS);
        for stream in &mut *busy {
            stream.write_all(b"into the outage").expect("a proxy that takes bytes");
        }
        thread::sleep(OUTAGE);
        relay.pause(false);
        verdict.note(format!("{} packets were lost in {OUTAGE:?}", lost(&relay)));
        let all = busy.iter_mut().map(|stream| (stream, true)).chain(silent.iter_mut().map(|stream| (stream, false)));
        let pulse = recover(all);
        verdict.require(pulse.lost.is_empty(), pulse.summary("streams that go on after the outage"));
        verdict.require(open().is_ok(), "a new stream opens");
    });
    verdict.require(watch.leaks() == 0, "nothing went around the tunnel");
}

fn lost(relay: &adit_testkit::lossy::LossyRelay) -> u64 {
    relay.up().counts().paused + relay.down().counts().paused
}

/// Waits for every stream at once; those with something under way get its answer first.
fn recover<'a>(streams: impl Iterator<Item = (&'a mut TcpStream, bool)>) -> Pulse {
    let mut pulse = Pulse::new();
    let start = Instant::now();
    thread::scope(|scope| {
        let waiting: Vec<_> = streams
            .map(|(stream, busy)| {
                scope.spawn(move || {
                    if busy {
                        answer(stream, b"into the outage")?;
                    }
                    ask(stream, b"after")?;
                    Ok::<_, io::Error>(start.elapsed())
                })
            })
            .collect();
        for thread in waiting {
            match thread.join().expect("a thread that does not panic") {
                Ok(took) => pulse.came_after(took),
                Err(error) => pulse.lose(error),
            }
        }
    });
    pulse
}
