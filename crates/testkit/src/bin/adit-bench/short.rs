//! New connections: how many a second, and what each costs.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use adit_testkit::client::{To, socks5};
use adit_testkit::origin::TcpOrigin;
use adit_testkit::peers::Era;
use adit_testkit::stage::{Door, Stage};
use adit_testkit::subject::Way;

use crate::table::{Samples, head, row};
use crate::{SUBJECTS, Scale};

/// Clients at once.
const CLIENTS: u64 = 4;

/// One byte there, one byte back, and the end.
fn origin() -> TcpOrigin {
    TcpOrigin::start(|mut stream| {
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_ok() {
            let _ = stream.write_all(&byte);
        }
    })
}

fn once(proxy: SocketAddr, to: &To) {
    let mut stream = socks5(proxy, to).expect("a tunnel");
    stream.write_all(b"x").expect("a byte");
    stream.read_exact(&mut [0]).expect("a byte back");
}

fn leg(title: &str, way: Way<'_>, count: u64, rounds: usize) {
    let origin = origin();
    let to = To::from(origin.addr());
    let proxies = SUBJECTS.map(|(name, subject)| (name, subject.start(way)));
    let mut cpu = vec![Samples::default(); proxies.len()];
    let mut rate = vec![Samples::default(); proxies.len()];
    for round in 0..=rounds {
        for (n, (_, proxy)) in proxies.iter().enumerate() {
            let count = if round == 0 { count / 10 } else { count };
            let (before, wall) = (proxy.process.usage().cpu, Instant::now());
            std::thread::scope(|scope| {
                for _ in 0..CLIENTS {
                    scope.spawn(|| (0..count / CLIENTS).for_each(|_| once(proxy.addr, &to)));
                }
            });
            if round > 0 {
                cpu[n].0.push((proxy.process.usage().cpu - before) / count as f64 * 1e6);
                rate[n].0.push(count as f64 / wall.elapsed().as_secs_f64());
            }
        }
    }
    head(title, &["", "CPU-µs per connection", "adit ÷ this one", "connections/s"]);
    for (n, (name, _)) in proxies.iter().enumerate() {
        row(&[(*name).to_owned(), cpu[n].shown(0), cpu[0].ratio(&cpu[n]).shown(2), rate[n].shown(0)]);
    }
}

pub(crate) fn run(scale: Scale) {
    leg("Short connections, SOCKS5 → direct", Way::Direct, 4_000 / scale.cut, scale.rounds);
    let route = Stage::shared(Era::Xray26_10).route(Door::Vision);
    leg("Short connections, SOCKS5 → REALITY with Vision", Way::Vless(&route), 400 / scale.cut, scale.rounds);
}
