//! Answers to DNS questions over UDP: fake addresses, and what a resolver remembers.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};

use adit_testkit::lab::gateway::{GatewayLab, LAN_V4};
use adit_testkit::origin::DnsOrigin;
use adit_testkit::subject::{Proxy, Subject};
use adit_testkit::{Scratch, free_port};

use super::start;
use crate::Plan;
use crate::table::{Samples, adit_against, head, row};

/// Client sockets of `dnsperf`, one thread.
const CLIENTS: &str = "8";
/// Who runs where.
const SERVERS_CORE: &str = "0";
const ASKERS_CORE: &str = "1";
/// Questions that wait for an answer at once.
const OPEN: &str = "200";

const METHOD: &str = "
# DNS

The namespaces of the chapter before; `dnsperf` (one thread, 8 sockets, 200 questions open) asks the gateway over UDP for A records of a list of
names, again and again. The server has a core of its own and the asker another: shared cores would show the asker's cost in every row. An asker
that has no core left bounds answers/s all the same; CPU per answer is the server's own. Every list is asked once before anything counts. *Fake addresses*: Mihomo remembers 1,000 in memory, of 10,000 names it gives each a new address each time; with
500 it answers from memory. Ours remembers the whole range. *Remembered*: `enhanced-mode: normal`, an upstream that knows 1,000 names with a
lifetime of 60 s.";

pub(super) fn run(plan: &Plan) {
    println!("{METHOD}");
    let lab = GatewayLab::new();
    fake(plan, &lab, 10_000);
    fake(plan, &lab, 500);
    remembered(plan, &lab, 1_000);
}

fn name(n: usize) -> String {
    format!("host-{n}.example.test")
}

fn fake(plan: &Plan, lab: &GatewayLab, names: usize) {
    let yaml = "enhanced-mode: fake-ip, fake-ip-range: 198.18.0.1/16, nameserver: ['udp://192.0.2.1:53']";
    let servers = servers(plan, lab, yaml);
    leg(plan, lab, &servers, names, &format!("Fake addresses, {names} names"));
}

fn remembered(plan: &Plan, lab: &GatewayLab, names: usize) {
    let upstream = lab.internet().run(|| DnsOrigin::start(&[]));
    for n in 0..names {
        let ip = Ipv4Addr::from(0xcb00_7100_u32 + (n % 256) as u32);
        upstream.set(&name(n), &[IpAddr::V4(ip)]);
    }
    let yaml = format!("enhanced-mode: normal, nameserver: ['udp://{}']", upstream.addr());
    let servers = servers(plan, lab, &yaml);
    leg(plan, lab, &servers, names, &format!("Remembered answers, {names} names"));
}

/// A server in the gateway.
struct Server {
    name: &'static str,
    proxy: Proxy,
    port: u16,
}

fn servers(plan: &Plan, lab: &GatewayLab, yaml: &str) -> Vec<Server> {
    let one = |&(name, subject): &(&'static str, Subject)| {
        let port = free_port();
        let yaml = format!("dns: {{ enable: true, ipv6: false, listen: '0.0.0.0:{port}', {yaml} }}");
        let proxy = start(lab, subject, &yaml, &[port]);
        let pid = proxy.process.id().to_string();
        let pinned =
            Command::new("taskset").args(["-a", "-p", "-c", SERVERS_CORE, &pid]).stdout(Stdio::null()).status();
        assert!(pinned.is_ok_and(|status| status.success()), "two cores are needed");
        Server { name, proxy, port }
    };
    plan.subjects.iter().map(one).collect()
}

/// What one run of `dnsperf` has seen.
struct Asked {
    answered: f64,
    per_second: f64,
    lost: f64,
}

impl Server {
    /// Asks for every name of `list` once, or for `seconds`.
    fn ask(&self, lab: &GatewayLab, list: &std::path::Path, seconds: Option<u32>) -> Asked {
        let mut command = Command::new("taskset");
        command.args([
            "-c",
            ASKERS_CORE,
            "dnsperf",
            "-s",
            &LAN_V4.to_string(),
            "-p",
            &self.port.to_string(),
            "-c",
            CLIENTS,
            "-T",
            "1",
            "-q",
            OPEN,
        ]);
        command.arg("-d").arg(list).stdin(Stdio::null());
        match seconds {
            Some(seconds) => command.args(["-l", &seconds.to_string()]),
            None => command.args(["-n", "1"]),
        };
        let output = lab.client().run(|| command.output()).expect("dnsperf: run scripts/setup first");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("NOERROR"), "{text}{}", String::from_utf8_lossy(&output.stderr));
        let number = |label| {
            let line = text.lines().find_map(|line| line.trim_start().strip_prefix(label));
            let number = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<f64>().ok());
            number.unwrap_or_else(|| panic!("no {label} in:\n{text}"))
        };
        Asked {
            answered: number("Queries completed:"),
            per_second: number("Queries per second:"),
            lost: number("Queries lost:"),
        }
    }
}

fn leg(plan: &Plan, lab: &GatewayLab, servers: &[Server], names: usize, title: &str) {
    let scratch = Scratch::new("names");
    let mut text = String::new();
    for n in 0..names {
        let _ = writeln!(text, "{} A", name(n));
    }
    let list = scratch.write("names", text);
    let seconds = if plan.is_quick() { 1 } else { 4 };
    let none = vec![Samples::default(); servers.len()];
    let (mut rate, mut cpu, mut lost) = (none.clone(), none.clone(), none);
    for _ in 0..plan.rounds {
        for (n, server) in servers.iter().enumerate() {
            // What was remembered may have grown old while others were asked.
            server.ask(lab, &list, None);
            let before = server.proxy.process.usage().cpu;
            let asked = server.ask(lab, &list, Some(seconds));
            rate[n].0.push(asked.per_second);
            cpu[n].0.push((server.proxy.process.usage().cpu - before) / asked.answered * 1e6);
            lost[n].0.push(asked.lost);
        }
    }
    head(title, &["", "answers/s", "adit ÷ this one", "CPU-s per million answers", "adit ÷ this one", "lost"]);
    let names: Vec<_> = servers.iter().map(|server| server.name).collect();
    for (n, name) in names.iter().enumerate() {
        row(&[
            (*name).to_owned(),
            rate[n].shown(0),
            adit_against(&names, &rate, n),
            cpu[n].shown(2),
            adit_against(&names, &cpu, n),
            lost[n].shown(0),
        ]);
    }
}
