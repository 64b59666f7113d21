//! What is captured on its way through a gateway, and what the gateway answers when it is asked for names.
//!
//! All proxies run in the one gateway of a lab; the port that a client writes to decides which of them gets it, so that rounds can
//! be interleaved.

mod dns;
mod flows;
mod tcp;
mod udp;

use std::time::Duration;

use adit_testkit::lab::ORIGIN_V4;
use adit_testkit::lab::gateway::{GatewayLab, LAN};
use adit_testkit::subject::{Proxy, Subject, Way};
use adit_testkit::{free_port, wait_for_port};

use crate::Plan;

/// The mark that leads captured packets to local sockets.
const MARK: u32 = 1;

const METHOD: &str = "
# Transparent

Three network namespaces: clients, a gateway with all proxies, and origins, with veth links between them. The same nftables rules for
all, in the gateway: the port that a client writes to decides who gets it. Client and origin share this machine's cores, their CPU is
not counted. Interleaved round by round; medians, with minimum and maximum. CPU is the proxy process's own, user and system, which includes
the kernel's work for packets that it sends; what softirqs do in somebody else's name is counted there. Datagrams are counted, both ways,
where they leave the gateway: what the echo or the client has no room for was carried all the same.";

pub(crate) fn transparent(plan: &Plan) {
    println!("{METHOD}");
    let plan = Plan { subjects: captors(plan), ..plan.clone() };
    tcp::run(&plan);
    udp::run(&plan);
}

pub(crate) fn names(plan: &Plan) {
    dns::run(&Plan { subjects: captors(plan), ..plan.clone() });
}

/// The subjects that are compared here: those that read the same keys.
fn captors(plan: &Plan) -> Vec<(&'static str, Subject)> {
    plan.subjects.iter().copied().filter(|(_, subject)| matches!(subject, Subject::Adit | Subject::Mihomo)).collect()
}

/// Starts a proxy in the gateway, with more lines of YAML, and waits for these ports of it.
fn start(lab: &GatewayLab, subject: Subject, yaml: &str, ports: &[u16]) -> Proxy {
    lab.gateway().run(|| {
        let proxy = subject.start_with(Way::Direct, &format!("allow-lan: true\n{yaml}"), |command| command);
        for port in ports {
            assert!(wait_for_port(*port, Duration::from_secs(10)), "{}", proxy.process.log());
        }
        proxy
    })
}

/// Leads packets that carry [`MARK`] to local sockets.
fn lead_captured(lab: &GatewayLab) {
    lab.gateway().ip(&format!("rule add fwmark {MARK} lookup 100"));
    lab.gateway().ip("route add local default dev lo table 100");
}

/// Replaces the rules of the gateway.
fn capture(lab: &GatewayLab, rules: &[Rule]) {
    let of = |how| rules.iter().filter(|rule| rule.how == how).map(Rule::shown).collect::<String>();
    let (held, turned) = (of(How::Tproxy), of(How::Redirect));
    lab.apply(&format!(
        "nft -f - <<'END'\nflush ruleset\ntable ip bench {{\n chain held {{\n  type filter hook prerouting priority \
         mangle;\n{held} }}\n chain turned {{\n  type nat hook prerouting priority dstnat;\n{turned} }}\n}}\nEND\n"
    ));
}

/// How packets are captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Tproxy,
    Redirect,
}

/// Which packets from the client are captured.
#[derive(Clone, Copy, Debug)]
struct Rule {
    how: How,
    protocol: &'static str,
    /// The origin's.
    port: u16,
    /// The proxy's.
    to: u16,
}

impl Rule {
    fn shown(&self) -> String {
        let Self { protocol, port, to, .. } = self;
        let packets = format!("  iifname {LAN} ip daddr {ORIGIN_V4} {protocol} dport {port}");
        match self.how {
            How::Tproxy => format!("{packets} tproxy to :{to} meta mark set {MARK} accept\n"),
            How::Redirect => format!("{packets} redirect to :{to}\n"),
        }
    }
}

/// A proxy in the gateway and the ports at which it gets what is captured.
struct Captor {
    name: &'static str,
    proxy: Proxy,
    tproxy: u16,
    redirect: u16,
}

impl Captor {
    fn all(plan: &Plan, lab: &GatewayLab) -> Vec<Self> {
        let one = |&(name, subject): &(&'static str, Subject)| {
            let (tproxy, redirect) = (free_port(), free_port());
            let yaml = format!("tproxy-port: {tproxy}\nredir-port: {redirect}");
            Self { name, proxy: start(lab, subject, &yaml, &[tproxy, redirect]), tproxy, redirect }
        };
        plan.subjects.iter().map(one).collect()
    }

    fn port(&self, how: How) -> u16 {
        match how {
            How::Tproxy => self.tproxy,
            How::Redirect => self.redirect,
        }
    }

    /// CPU seconds so far.
    fn cpu(&self) -> f64 {
        self.proxy.process.usage().cpu
    }
}
