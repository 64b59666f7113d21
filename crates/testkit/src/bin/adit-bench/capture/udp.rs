//! Captured UDP → direct: datagrams per CPU-second.

use std::fs;
use std::time::Duration;

use adit_testkit::lab::gateway::{GatewayLab, LAN, WAN};
use adit_testkit::origin::UdpOrigin;

use super::flows::{Load, PAYLOAD};
use super::{Captor, How, Rule, capture, lead_captured};
use crate::Plan;
use crate::table::{Samples, adit_against, head, row};

/// Datagrams a second each way at which nothing is lost.
const CALM: u32 = 10_000;

/// What one proxy has shown under one load.
#[derive(Clone, Default)]
struct Figures {
    per_cpu_second: Samples,
    per_second: Samples,
    /// Percent of what was sent that did not come back.
    lost: Samples,
}

pub(super) fn run(plan: &Plan) {
    let lab = GatewayLab::new();
    lead_captured(&lab);
    let captors = Captor::all(plan, &lab);
    let echoes: Vec<_> = captors.iter().map(|_| lab.internet().run(|| UdpOrigin::echo(""))).collect();
    let rule = |(captor, echo): (&Captor, &UdpOrigin)| Rule {
        how: How::Tproxy,
        protocol: "udp",
        port: echo.port(),
        to: captor.port(How::Tproxy),
    };
    capture(&lab, &captors.iter().zip(&echoes).map(rule).collect::<Vec<_>>());

    for rate in [Some(CALM), None] {
        for flows in [1, 64] {
            leg(plan, &lab, &captors, &echoes, Load { flows, rate });
        }
    }
}

/// Ethernet, IPv4 and UDP in front of each payload.
const HEADERS: u64 = 14 + 20 + 8;

/// Datagrams that the gateway has sent, to the origins and to the client: what its proxies carried, wherever it went from
/// there. Counted by their bytes, because datagrams that travel together are one packet to an interface, with one set of
/// headers: of those, up to 3 % too few are counted.
fn sent_on(lab: &GatewayLab) -> u64 {
    // The thread's own: `/proc/net` shows the namespace of the process's first thread.
    let table = lab.gateway().run(|| fs::read_to_string("/proc/thread-self/net/dev")).expect("a table of interfaces");
    let sent = |line: &str| {
        let (interface, counts) = line.split_once(':')?;
        // The receiving side has eight columns, its sending twin begins with bytes.
        let bytes = counts.split_ascii_whitespace().nth(8)?;
        [LAN, WAN].contains(&interface.trim()).then(|| bytes.parse::<u64>().expect("a number"))
    };
    table.lines().filter_map(sent).sum::<u64>() / (PAYLOAD as u64 + HEADERS)
}

fn leg(plan: &Plan, lab: &GatewayLab, captors: &[Captor], echoes: &[UdpOrigin], load: Load) {
    let time = Duration::from_secs(2) / if plan.is_quick() { 2 } else { 1 };
    let mut figures = vec![Figures::default(); captors.len()];
    for round in 0..=plan.rounds {
        for ((captor, echo), figures) in captors.iter().zip(echoes).zip(&mut figures) {
            let time = if round == 0 { time / 4 } else { time };
            let before = (sent_on(lab), captor.cpu());
            let echoed = lab.client().run(|| load.run(echo.addr(), time)).expect("sockets");
            let (sent, cpu) = (sent_on(lab) - before.0, captor.cpu() - before.1);
            if round > 0 {
                figures.per_cpu_second.0.push(sent as f64 / cpu);
                figures.per_second.0.push(echoed.came_back as f64 / echoed.seconds);
                figures.lost.0.push(100.0 - echoed.came_back as f64 * 100.0 / echoed.sent as f64);
            }
        }
    }
    let rate = load.rate.map_or_else(|| "as many as one thread sends".to_owned(), |rate| format!("{rate} a second"));
    head(
        &format!("TPROXY UDP → direct and back, {PAYLOAD} bytes, {} flows, {rate}", load.flows),
        &["", "datagrams sent on per CPU-second", "adit ÷ this one", "came back per second", "lost %"],
    );
    let names: Vec<_> = captors.iter().map(|captor| captor.name).collect();
    let per_cpu_second: Vec<_> = figures.iter().map(|figures| figures.per_cpu_second.clone()).collect();
    for (n, figures) in figures.iter().enumerate() {
        row(&[
            names[n].to_owned(),
            figures.per_cpu_second.shown(0),
            adit_against(&names, &per_cpu_second, n),
            figures.per_second.shown(0),
            figures.lost.shown(1),
        ]);
    }
}
