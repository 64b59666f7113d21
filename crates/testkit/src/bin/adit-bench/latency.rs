//! What a proxy adds to a round trip.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use adit_testkit::client::{To, socks5};
use adit_testkit::origin::TcpOrigin;
use adit_testkit::peers::Era;
use adit_testkit::stage::{Door, Stage};
use adit_testkit::subject::Way;

use crate::Plan;
use crate::table::{Samples, head, row};

/// Microseconds of each of `count` round trips of 100 bytes.
fn trips(stream: &mut TcpStream, count: u64) -> Vec<f64> {
    let mut message = [7; 100];
    (0..count)
        .map(|_| {
            let start = Instant::now();
            stream.write_all(&message).expect("a message");
            stream.read_exact(&mut message).expect("its echo");
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect()
}

fn leg(plan: &Plan, title: &str, way: Way<'_>) {
    let count = 2_000 / plan.cut;
    let origin = TcpOrigin::echo();
    let to = To::from(origin.addr());
    let proxies: Vec<_> = plan.subjects.iter().map(|&(name, subject)| (name, subject.start(way))).collect();
    let mut plain = TcpStream::connect(origin.addr()).expect("the origin");
    plain.set_nodelay(true).expect("a socket option");
    let mut tunnels: Vec<TcpStream> =
        proxies.iter().map(|(_, proxy)| socks5(proxy.addr, &to).expect("a tunnel")).collect();
    let mut without = Samples::default();
    let mut with = vec![Samples::default(); proxies.len()];
    for round in 0..=plan.rounds {
        let direct = trips(&mut plain, count);
        let through: Vec<Vec<f64>> = tunnels.iter_mut().map(|tunnel| trips(tunnel, count)).collect();
        if round > 0 {
            without.0.extend(direct);
            with.iter_mut().zip(through).for_each(|(all, new)| all.0.extend(new));
        }
    }
    head(title, &["", "p50 µs", "p99 µs", "added p50", "added p99"]);
    let (p50, p99) = (without.at(0.5), without.at(0.99));
    row(&["no proxy".to_owned(), format!("{p50:.0}"), format!("{p99:.0}"), String::new(), String::new()]);
    for ((name, _), with) in proxies.iter().zip(&with) {
        let (w50, w99) = (with.at(0.5), with.at(0.99));
        row(&[
            (*name).to_owned(),
            format!("{w50:.0}"),
            format!("{w99:.0}"),
            format!("{:.0}", w50 - p50),
            format!("{:.0}", w99 - p99),
        ]);
    }
}

pub(crate) fn run(plan: &Plan) {
    leg(plan, "Round trip of 100 bytes, SOCKS5 → direct", Way::Direct);
    let route = Stage::shared(Era::Xray26_10).route(Door::Plain);
    leg(plan, "Round trip of 100 bytes, SOCKS5 → REALITY", Way::Vless(&route));
}
