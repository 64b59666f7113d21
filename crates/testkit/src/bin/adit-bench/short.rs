//! New connections: how many a second, and what each costs.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use adit_testkit::client::{To, socks5};
use adit_testkit::origin::TcpOrigin;
use adit_testkit::peers::Era;
use adit_testkit::stage::{Door, Stage};
use adit_testkit::subject::Way;

use crate::Plan;
use crate::table::{Samples, adit_against, head, row};

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

fn leg(plan: &Plan, title: &str, way: Way<'_>, count: u64) {
    let count = count / plan.cut;
    let origin = origin();
    let to = To::from(origin.addr());
    let proxies: Vec<_> = plan.subjects.iter().map(|&(name, subject)| (name, subject.start(way))).collect();
    let mut cpu = vec![Samples::default(); proxies.len()];
    let mut rate = vec![Samples::default(); proxies.len()];
    for round in 0..=plan.rounds {
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
    let names: Vec<_> = proxies.iter().map(|(name, _)| *name).collect();
    for (n, name) in names.iter().enumerate() {
        row(&[(*name).to_owned(), cpu[n].shown(0), adit_against(&names, &cpu, n), rate[n].shown(0)]);
    }
}

pub(crate) fn run(plan: &Plan) {
    leg(plan, "Short connections, SOCKS5 → direct", Way::Direct, 4_000);
    let route = Stage::shared(Era::Xray26_10).route(Door::Vision);
    leg(plan, "Short connections, SOCKS5 → REALITY with Vision", Way::Vless(&route), 400);
}
