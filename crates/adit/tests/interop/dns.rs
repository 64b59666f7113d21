//! Names: what clients are answered, who is asked, and by which way out.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use adit_testkit::client::To;
use adit_testkit::lab::{Lab, ORIGIN_V4};
use adit_testkit::origin::{DnsOrigin, HttpOrigin};
use adit_testkit::subject::Subject;
use adit_testkit::{Process, Scratch, free_port, peers, programs};

use crate::leaving::{Leaving, to};
use crate::scenes;

/// A running adit that answers clients.
struct Scene {
    adit: Process,
    /// HTTP and SOCKS.
    proxy: SocketAddr,
    /// Where clients ask for names.
    dns: u16,
}

/// Starts adit with these lines below `dns:`, and with more sections.
fn start(dns_lines: &str, sections: &str) -> Scene {
    let (config, port, dns) = config(dns_lines, sections);
    Scene { adit: peers::adit(&config, &[port, dns]), proxy: (Ipv4Addr::LOCALHOST, port).into(), dns }
}

fn config(dns_lines: &str, sections: &str) -> (String, u16, u16) {
    let (port, dns) = (free_port(), free_port());
    let indented: String = dns_lines.lines().map(|line| format!("  {line}\n")).collect();
    let text = format!(
        "mixed-port: {port}\nlog-level: debug\ndns:\n  enable: true\n  listen: 127.0.0.1:{dns}\n  use-system-hosts: false\n\
         {indented}{sections}"
    );
    (text, port, dns)
}

/// `dig`, which asks once; what it prints of the answer's records.
fn dig(dns: u16, words: &str) -> String {
    let port = dns.to_string();
    let words = words.split_ascii_whitespace();
    let mut dig = Command::new("dig");
    let ran = programs::run(dig.args(["@127.0.0.1", "-p", &port, "+tries=1", "+time=5"]).args(words));
    ran.ok()
}

/// The records' data alone.
fn short(dns: u16, words: &str) -> String {
    dig(dns, &format!("+short {words}"))
}

/// The answer's code, such as `NOERROR`, and how many records it has.
fn outcome(dns: u16, words: &str) -> (String, usize) {
    let text = dig(dns, &format!("+noall +comments +answer {words}"));
    let code = text.split_once("status: ").and_then(|(_, rest)| rest.split_once(',')).expect("a code").0.to_owned();
    let records = text.lines().filter(|line| !line.is_empty() && !line.starts_with(';')).count();
    (code, records)
}

/// What was asked, each question once: `A name`.
fn asked(dns: &DnsOrigin) -> BTreeSet<String> {
    let kind = |kind| match kind {
        1 => "A",
        28 => "AAAA",
        _ => "other",
    };
    dns.asked().into_iter().map(|query| format!("{} {}", kind(query.kind), query.name)).collect()
}

/// F-E8
#[test]
fn f_e8_fake_addresses_stand_for_names_and_nobody_else_is_asked() {
    let upstream = DnsOrigin::start(&[("far.test", Ipv4Addr::LOCALHOST.into())]);
    let origin = HttpOrigin::start();
    let scene = start(
        &format!("enhanced-mode: fake-ip\nnameserver: [{}]\nfake-ip-filter: ['+.lan.test']", upstream.addr()),
        "hosts:\n  nas.test: 10.1.2.3\nrules:\n  - DOMAIN,no.test,REJECT\n  - MATCH,DIRECT\n",
    );
    let fake = short(scene.dns, "far.test A");
    assert_eq!(fake, "198.18.0.4");
    assert_eq!(short(scene.dns, "+tcp far.test A"), fake);
    assert_eq!(short(scene.dns, "no.test A"), "198.18.0.5");
    let empty = ("NOERROR".to_owned(), 0);
    for words in ["far.test AAAA", "far.test HTTPS", "+tcp far.test TYPE64", "nas.test AAAA"] {
        assert_eq!(outcome(scene.dns, words), empty, "{words}");
    }
    assert_eq!(short(scene.dns, "-x 198.18.0.4"), "far.test.");
    assert_eq!(short(scene.dns, "nas.test A"), "10.1.2.3");
    assert_eq!(asked(&upstream), BTreeSet::new(), "all of that is known here");

    // The filter's names have real addresses.
    assert_eq!(outcome(scene.dns, "box.lan.test A"), ("NXDOMAIN".to_owned(), 0));
    assert_eq!(asked(&upstream), BTreeSet::from(["A box.lan.test".to_owned()]));

    // A client that connects to a fake address gets to the name; who connects to one that stands for nothing does not.
    let mut stream =
        scenes::tunnel(scene.proxy, &To::Addr((Ipv4Addr::new(198, 18, 0, 4), origin.addr().port()).into()));
    scenes::download(&mut stream, 1_000);
    for last in [5, 77] {
        let to = To::Addr((Ipv4Addr::new(198, 18, 0, last), origin.addr().port()).into());
        assert!(adit_testkit::client::socks5(scene.proxy, &to).is_err(), "198.18.0.{last}");
    }
    drop(scene.adit);
}

#[test]
fn policy_chooses_servers_and_hosts_come_first() {
    let one = DnsOrigin::start(&[("a.test", [192, 0, 2, 1].into()), ("a.lan.test", [192, 0, 2, 99].into())]);
    let other = DnsOrigin::start(&[("a.test", [192, 0, 2, 99].into()), ("a.lan.test", [192, 0, 2, 2].into())]);
    let scene = start(
        &format!(
            "enhanced-mode: redir-host\nnameserver: [{}]\nnameserver-policy:\n  '+.lan.test': ['tcp://{}']",
            one.addr(),
            other.addr()
        ),
        "hosts:\n  'here.lan.test': a.test\nrules:\n  - MATCH,REJECT\n",
    );
    assert_eq!(short(scene.dns, "a.test A"), "192.0.2.1");
    assert_eq!(short(scene.dns, "a.lan.test A"), "192.0.2.2");
    assert_eq!(short(scene.dns, "here.lan.test A"), "a.test.\n192.0.2.1");
    assert_eq!(asked(&one), BTreeSet::from(["A a.test".to_owned()]));
    assert_eq!(asked(&other), BTreeSet::from(["A a.lan.test".to_owned()]));
    assert!(other.asked().iter().all(|query| query.tcp));
}

/// A lab with a nameserver and, on the same side, another adit as a SOCKS server.
struct Far {
    lab: Lab,
    dns: DnsOrigin,
    proxy: SocketAddr,
    _process: Process,
}

impl Far {
    fn new() -> Self {
        let lab = Lab::new();
        let dns = lab.inside(|| {
            let zone =
                [("far.test", [192, 0, 2, 77]), ("origin.test", ORIGIN_V4.octets()), ("exit.test", ORIGIN_V4.octets())];
            DnsOrigin::start(&zone.map(|(name, ip)| (name, ip.into())))
        });
        let port = free_port();
        let config =
            format!("mixed-port: {port}\nallow-lan: true\nbind-address: {ORIGIN_V4}\nrules:\n  - MATCH,DIRECT\n");
        let process = lab.inside(|| peers::adit(&config, &[port]));
        Self { lab, dns, proxy: (ORIGIN_V4, port).into(), _process: process }
    }

    /// The SOCKS server as the proxy `exit`, without UDP or with it.
    fn exit(&self, server: &str, udp: bool) -> String {
        format!(
            "proxies:\n  - {{ name: exit, type: socks5, server: {server}, port: {}, udp: {udp} }}\n",
            self.proxy.port()
        )
    }
}

#[test]
fn a_nameserver_is_asked_through_the_outbound_that_it_names() {
    let far = Far::new();
    let leaving = Leaving::watch(&far.lab);
    for (scheme, udp) in [("udp", true), ("udp", false), ("tcp", false)] {
        far.lab.client().run(|| {
            let scene = start(
                &format!("enhanced-mode: normal\nnameserver: ['{scheme}://{}#pick']", far.dns.addr()),
                &format!(
                    "{}proxy-groups:\n  - {{ name: pick, type: select, proxies: [exit] }}\nrules:\n  - MATCH,REJECT\n",
                    far.exit(&ORIGIN_V4.to_string(), udp)
                ),
            );
            assert_eq!(short(scene.dns, "far.test A"), "192.0.2.77", "{scheme}, UDP: {udp}\n{}", scene.adit.log());
        });
    }
    // Where the way out has no UDP, the question goes over TCP; never beside it.
    let ways: Vec<bool> = far.dns.asked().into_iter().map(|query| query.tcp).collect();
    assert_eq!(ways, [false, true, true]);
    let relayed = leaving.unmarked().into_iter().filter(|to| *to != self::to("tcp", far.proxy));
    let relayed: Vec<String> = relayed.collect();
    assert!(
        relayed.iter().all(|to| to.starts_with("udp . ") && !to.ends_with(&far.dns.addr().port().to_string())),
        "{relayed:?}"
    );
}

/// Where a rule's outbound has no UDP, the question goes over TCP: it does not try the next rule.
#[test]
fn respect_rules_sends_questions_where_rules_send_their_servers() {
    let far = Far::new();
    let leaving = Leaving::watch(&far.lab);
    let server = far.dns.addr();
    for scheme in ["tcp", "udp"] {
        far.lab.client().run(|| {
            let scene = start(
                &format!(
                    "enhanced-mode: normal\nrespect-rules: true\nnameserver: ['{scheme}://{server}']\n\
                     proxy-server-nameserver: [{server}]"
                ),
                &format!(
                    "{}rules:\n  - AND,((IN-TYPE,INNER),(IP-CIDR,{ORIGIN_V4}/32)),exit\n  - MATCH,DIRECT\n",
                    far.exit(&ORIGIN_V4.to_string(), false)
                ),
            );
            assert_eq!(short(scene.dns, "far.test A"), "192.0.2.77", "{scheme}: {}", scene.adit.log());
        });
    }
    assert_eq!(leaving.unmarked(), BTreeSet::from([to("tcp", far.proxy)]));
}

/// F-E11: the server of a proxy is known by name, and names are asked through that very proxy.
#[test]
fn f_e11_no_proxy_is_asked_for_its_own_address() {
    let far = Far::new();
    let leaving = Leaving::watch(&far.lab);
    let server = far.dns.addr();
    for knows in [format!("proxy-server-nameserver: [{server}]"), format!("default-nameserver: [{server}]")] {
        far.lab.client().run(|| {
            let scene = start(
                &format!(
                    "enhanced-mode: fake-ip\nnameserver: ['tcp://{server}#exit']\n{knows}\nfake-ip-filter: ['far.test']"
                ),
                &format!("{}rules:\n  - MATCH,exit\n", far.exit("exit.test", false)),
            );
            let started = Instant::now();
            assert_eq!(short(scene.dns, "far.test A"), "192.0.2.77", "{}", scene.adit.log());
            assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        });
    }
    let plain: BTreeSet<String> =
        far.dns.asked().into_iter().filter(|query| !query.tcp).map(|query| query.name).collect();
    assert_eq!(plain, BTreeSet::from(["exit.test".to_owned()]), "asked beside the proxy");
    assert_eq!(leaving.unmarked(), BTreeSet::from([to("tcp", far.proxy), to("udp", server)]));
}

/// F-E9, F-E10: everything that looks names up asks who is configured, and nobody else.
#[test]
fn f_e9_no_other_nameserver_is_ever_asked() {
    let far = Far::new();
    let origin = far.lab.inside(HttpOrigin::start);
    let leaving = Leaving::watch(&far.lab);
    let server = far.dns.addr();
    far.lab.client().run(|| {
        let scene = start(
            &format!("enhanced-mode: fake-ip\nnameserver: [{server}]"),
            &format!(
                "{}rules:\n  - DOMAIN-SUFFIX,secret.test,exit\n  - IP-CIDR,203.0.113.0/24,REJECT\n  - MATCH,DIRECT\n",
                far.exit("exit.test", false)
            ),
        );
        // A rule and DIRECT need the address.
        let mut stream = scenes::tunnel(scene.proxy, &To::name("origin.test", origin.addr().port()));
        scenes::download(&mut stream, 1_000);
        // The proxy needs its own, and nobody needs this name's.
        let _ = adit_testkit::client::socks5(scene.proxy, &To::name("one.secret.test", 80));
        // Nobody has it: that is the end.
        assert!(adit_testkit::client::socks5(scene.proxy, &To::name("missing.test", 80)).is_err());
        for words in ["two.secret.test A", "two.secret.test AAAA", "missing.test TXT"] {
            dig(scene.dns, words);
        }
    });
    let names: BTreeSet<String> = far.dns.asked().into_iter().map(|query| query.name).collect();
    assert_eq!(names, BTreeSet::from(["exit.test", "missing.test", "origin.test"].map(str::to_owned)));
    let expected = BTreeSet::from([to("udp", server), to("tcp", origin.addr()), to("tcp", far.proxy)]);
    assert_eq!(leaving.unmarked(), expected);
}

/// F-E12
#[test]
fn f_e12_fake_addresses_survive_kill_9() {
    let home = Scratch::new("home");
    let (config, port, dns) = config(
        "enhanced-mode: fake-ip\nnameserver: ['rcode://refused']",
        "profile:\n  store-fake-ip: true\nrules:\n  - MATCH,REJECT\n",
    );
    home.write("config.yaml", config);
    let ask = |name: &str| short(dns, &format!("{name} A"));
    let mut adit = start_in(&home, &[port, dns]);
    let before = ["one.test", "two.test", "three.test"].map(ask);
    wait_for_text(home.path(), "three.test");
    adit.kill();
    let adit = start_in(&home, &[port, dns]);
    let other = ask("other.test");
    assert_eq!(["three.test", "one.test", "two.test"].map(ask), [2, 0, 1].map(|n: usize| before[n].clone()));
    assert!(!before.contains(&other), "{other}");
    drop(adit);
}

/// A process that ends in peace has written everything: the next one goes on where it was.
#[test]
fn f_e12_fake_addresses_go_on_after_a_restart() {
    let home = Scratch::new("home");
    let (config, port, dns) = config(
        "enhanced-mode: fake-ip\nnameserver: ['rcode://refused']",
        "profile:\n  store-fake-ip: true\nrules:\n  - MATCH,REJECT\n",
    );
    home.write("config.yaml", config);
    let mut adit = start_in(&home, &[port, dns]);
    assert_eq!(short(dns, "one.test A"), "198.18.0.4");
    adit.signal("TERM");
    let end = Instant::now() + Duration::from_secs(10);
    while adit.is_running() && Instant::now() < end {
        thread::yield_now();
    }
    let adit = start_in(&home, &[port, dns]);
    assert_eq!([short(dns, "two.test A"), short(dns, "one.test A")], ["198.18.0.5", "198.18.0.4"], "{}", adit.log());
}

/// A nameserver that is ourselves: no question goes in a circle.
#[test]
fn our_own_server_is_no_nameserver() {
    let (port, dns) = (free_port(), free_port());
    let config = format!(
        "mixed-port: {port}\ndns:\n  enable: true\n  listen: 127.0.0.1:{dns}\n  nameserver: ['127.0.0.1:{dns}']\n\
         rules:\n  - MATCH,REJECT\n"
    );
    let adit = peers::adit(&config, &[port, dns]);
    let started = Instant::now();
    assert_eq!(outcome(dns, "far.test A").0, "SERVFAIL", "{}", adit.log());
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

/// Starts adit with the configuration in `home`.
fn start_in(home: &Scratch, ports: &[u16]) -> Process {
    let mut adit = Command::new(Subject::Adit.binary());
    adit.arg("-d").arg(home.path());
    Process::start("adit", adit, Scratch::new("adit")).listening(ports)
}

/// Waits until some file in `folder` has `text` in it.
fn wait_for_text(folder: &Path, text: &str) {
    let has_text = || {
        let files = fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.file_name() != "config.yaml");
        let contents = files.filter_map(|entry| fs::read(entry.path()).ok());
        contents.into_iter().any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    };
    let end = Instant::now() + Duration::from_secs(10);
    while !has_text() {
        assert!(Instant::now() < end, "{text} was not written to {}", folder.display());
        thread::yield_now();
    }
}

#[test]
fn explain_asks_the_configured_servers_and_listens_nowhere() {
    let upstream = DnsOrigin::start(&[("far.test", [203, 0, 113, 9].into())]);
    let home = Scratch::new("explain");
    let (config, port, dns) = config(
        &format!("enhanced-mode: fake-ip\nnameserver: [{}]", upstream.addr()),
        "profile:\n  store-fake-ip: true\nrules:\n  - IP-CIDR,203.0.113.0/24,REJECT\n  - MATCH,DIRECT\n",
    );
    home.write("config.yaml", config);
    let adit = start_in(&home, &[port, dns]);
    let mut explain = Command::new(Subject::Adit.binary());
    let ran = programs::run(explain.arg("explain").arg("-d").arg(home.path()).arg("far.test:443"));
    assert_eq!(ran.err, "", "the file of a running adit is left alone");
    let text = ran.ok();
    assert!(text.contains("far.test is 203.0.113.9") && text.contains("outbound: REJECT"), "{text}");
    assert_eq!(asked(&upstream), BTreeSet::from(["A far.test".to_owned()]));
    drop(adit);
}
