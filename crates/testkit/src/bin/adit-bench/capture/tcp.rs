//! Captured TCP → direct: CPU per GiB carried downwards.

use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use adit_testkit::Process;
use adit_testkit::client::PATIENCE;
use adit_testkit::lab::gateway::{GatewayLab, LAN_V4};
use adit_testkit::origin::TcpOrigin;

use super::{Captor, How, Rule, capture, lead_captured};
use crate::Plan;
use crate::carry::{FLOOR, GIB, MIB, fetch, floor, serve};
use crate::table::{Samples, adit_against, head, row};

/// One row.
struct Path<'a> {
    name: &'static str,
    process: &'a Process,
    /// Where the client connects to.
    to: SocketAddr,
}

impl Path<'_> {
    /// CPU seconds per GiB and GiB per second of one download.
    fn measure(&self, length: u64) -> (f64, f64) {
        let mut stream = TcpStream::connect_timeout(&self.to, PATIENCE).expect("a connection");
        stream.set_nodelay(true).expect("a socket option");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        fetch(&mut stream, MIB);
        let (cpu, wall) = (self.process.usage().cpu, Instant::now());
        fetch(&mut stream, length);
        let gib = length as f64 / GIB as f64;
        ((self.process.usage().cpu - cpu) / gib, gib / wall.elapsed().as_secs_f64())
    }
}

pub(super) fn run(plan: &Plan) {
    let lab = GatewayLab::new();
    lead_captured(&lab);
    let captors = Captor::all(plan, &lab);
    leg(plan, &lab, &captors, How::Tproxy, "TPROXY TCP → direct");
    leg(plan, &lab, &captors, How::Redirect, "REDIRECT TCP → direct");
}

fn leg(plan: &Plan, lab: &GatewayLab, captors: &[Captor], how: How, title: &str) {
    let origin = || lab.internet().run(|| TcpOrigin::start(|mut stream| serve(&mut stream)));
    let origins: Vec<_> = captors.iter().map(|_| origin()).collect();
    let rule = |(captor, origin): (&Captor, &TcpOrigin)| Rule {
        how,
        protocol: "tcp",
        port: origin.addr().port(),
        to: captor.port(how),
    };
    capture(lab, &captors.iter().zip(&origins).map(rule).collect::<Vec<_>>());

    let bare = origin();
    let (process, to) = lab.gateway().run(|| floor(LAN_V4, bare.addr()));
    let mut paths = vec![Path { name: FLOOR, process: &process, to }];
    paths.extend(captors.iter().zip(&origins).map(|(captor, origin)| Path {
        name: captor.name,
        process: &captor.proxy.process,
        to: origin.addr(),
    }));

    let mut cpu = vec![Samples::default(); paths.len()];
    let mut rate = cpu.clone();
    // The first round warms up and is not counted.
    for round in 0..=plan.rounds {
        for (n, path) in paths.iter().enumerate() {
            let length = 4 * GIB / plan.cut / if round == 0 { 8 } else { 1 };
            let (cost, speed) = lab.client().run(|| path.measure(length));
            if round > 0 {
                cpu[n].0.push(cost);
                rate[n].0.push(speed);
            }
        }
    }
    head(title, &["", "CPU-s/GiB", "× floor", "adit ÷ this one", "GiB/s"]);
    let names: Vec<_> = paths.iter().map(|path| path.name).collect();
    for (n, name) in names.iter().enumerate() {
        row(&[
            (*name).to_owned(),
            cpu[n].shown(3),
            cpu[n].ratio(&cpu[0]).shown(2),
            adit_against(&names, &cpu, n),
            rate[n].shown(2),
        ]);
    }
}
