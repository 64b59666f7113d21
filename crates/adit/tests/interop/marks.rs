//! `routing-mark`: whatever leaves carries it, because host rules know our packets by it. A packet without it comes back.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use adit_testkit::client::{Association, To};
use adit_testkit::lab::{Lab, Namespace, ORIGIN_V4, ORIGIN_V6, PeerOptions, WireGuardRoute};
use adit_testkit::origin::{DnsOrigin, HttpOrigin, UdpOrigin};
use adit_testkit::subject::Subject;
use adit_testkit::{Process, Scratch, free_port, peers, programs};

use crate::leaving::{Leaving, MARK, to};
use crate::scenes;

/// F-B13
#[test]
fn f_b13_every_packet_that_leaves_carries_the_mark() {
    let lab = Lab::new();
    let (wire4, wire6) = (lab.peer(PeerOptions::default()), lab.peer(PeerOptions::default()));
    let (http, udp) = lab.inside(|| (HttpOrigin::start(), UdpOrigin::echo("")));
    let dns = lab.inside(|| DnsOrigin::start(&[("far.test", ORIGIN_V4.into()), ("far.test", ORIGIN_V6.into())]));
    let (far_proxy, far_port) = lab.inside(far_proxy);
    let echoes = [SocketAddr::from((ORIGIN_V4, udp.port())), SocketAddr::from((ORIGIN_V6, udp.port()))];
    let leaving = Leaving::watch(&lab);

    lab.client().run(|| {
        let port = free_port();
        let mut doors = Vec::new();
        let mut listeners = String::new();
        for outbound in ["wire4", "wire6", "far-socks", "far-http"] {
            let port = free_port();
            listeners +=
                &format!("  - {{ name: to-{outbound}, type: mixed, listen: 127.0.0.1, port: {port}, proxy: {outbound} }}\n");
            doors.push((outbound, SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
        }
        let config = format!(
            "mixed-port: {port}\nlog-level: debug\nrouting-mark: {MARK}\nipv6: true\nlisteners:\n{listeners}proxies:\n{}{}  \
             - {{ name: far-socks, type: socks5, server: {ORIGIN_V4}, port: {far_port}, udp: true }}\n  \
             - {{ name: far-http, type: http, server: far.test, port: {far_port} }}\n\
             dns:\n  enable: true\n  ipv6: true\n  use-system-hosts: false\n  default-nameserver: [{resolver}]\n  \
             nameserver: [{resolver}, 'tcp://{resolver}']\n\
             rules:\n  - MATCH,DIRECT\n",
            wireguard("wire4", &wire4.route()),
            wireguard("wire6", &wire6.route().through(wire6.endpoint_v6())),
            resolver = dns.addr(),
        );
        let ports: Vec<u16> = doors.iter().map(|(_, at)| at.port()).chain([port]).collect();
        let adit = peers::adit(&config, &ports);

        let direct = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        for to in [To::name("far.test", http.addr().port()), http.addr().into(), http.addr_v6().into()] {
            scenes::download(&mut scenes::tunnel(direct, &to), 1_000);
        }
        for to in echoes {
            ask(direct, &to.into());
        }
        for (outbound, at) in &doors {
            scenes::download(&mut scenes::tunnel(*at, &http.addr().into()), 1_000);
            if *outbound != "far-http" {
                ask(*at, &echoes[0].into());
            }
        }
        let asked = dns.asked();
        assert!(asked.iter().any(|query| query.tcp) && asked.iter().any(|query| !query.tcp), "{asked:?}");
        drop(adit);
    });

    assert_eq!(leaving.unmarked(), BTreeSet::new(), "destinations of packets without the mark");
    let marked = leaving.marked();
    let far = SocketAddr::from((ORIGIN_V4, far_port));
    for expected in [
        to("tcp", http.addr()),
        to("tcp", http.addr_v6()),
        to("udp", echoes[0]),
        to("udp", echoes[1]),
        to("udp", dns.addr()),
        to("tcp", dns.addr()),
        to("udp", wire4.endpoint_v4()),
        to("udp", wire6.endpoint_v6()),
        to("tcp", far),
    ] {
        assert!(marked.contains(&expected), "nothing went to {expected}: {marked:?}");
    }
    drop(far_proxy);
}

/// Without the right to set marks no connection would ever be made, and without it nothing can be intercepted: the start
/// says so, and what to do.
#[test]
fn f_b13_a_missing_right_ends_the_start() {
    for (key, says) in [
        ("routing-mark: 45", "`routing-mark` needs CAP_NET_ADMIN"),
        ("tproxy-port: 7893", "transparent proxying needs CAP_NET_ADMIN"),
    ] {
        let scratch = Scratch::new("rights");
        let file = scratch.write("config.yaml", format!("mixed-port: 7890\n{key}\n"));
        // Either right is enough for a mark.
        let without = "-net_admin,-net_raw";
        let mut command = Command::new("timeout");
        command.args(["10", "setpriv", "--bounding-set", without, "--inh-caps", without, "--"]);
        command.arg(Subject::Adit.binary()).arg("run").arg("-f").arg(file);
        let ran = Namespace::new().run(|| programs::run(&mut command));
        assert!(ran.code == 1 && ran.err.contains(says), "{key}: {ran:?}");
    }
}

#[test]
fn a_transparent_listener_without_a_mark_is_told_of() {
    for (mark, is_told) in [("", true), ("routing-mark: 45\n", false)] {
        let namespace = Namespace::new();
        let adit = namespace.run(|| peers::adit(&format!("redir-port: 7892\n{mark}"), &[7892]));
        // Its last words come behind what it says of its start.
        adit.signal("TERM");
        assert!(adit.says("adit is shutting down"), "{}", adit.log());
        let log = adit.log();
        assert!(log.contains("Redirect proxy listening at: "), "{log}");
        assert_eq!(log.contains("no `routing-mark` is set"), is_told, "{log}");
    }
}

/// Another adit, on the far side, as a SOCKS and HTTP server.
fn far_proxy() -> (Process, u16) {
    let port = free_port();
    let config = format!("mixed-port: {port}\nallow-lan: true\nbind-address: {ORIGIN_V4}\nrules:\n  - MATCH,DIRECT\n");
    (peers::adit(&config, &[port]), port)
}

fn wireguard(name: &str, route: &WireGuardRoute) -> String {
    format!(
        "  - {{ name: {name}, type: wireguard, server: '{}', port: {}, ip: {}, private-key: {}, public-key: {}, udp: true, \
         mtu: {}, allowed-ips: ['0.0.0.0/0', '::/0'] }}\n",
        route.endpoint.ip(),
        route.endpoint.port(),
        route.v4.unwrap(),
        route.private_key.base64(),
        route.public_key.base64(),
        route.mtu,
    )
}

fn ask(proxy: SocketAddr, to: &To) {
    let association = Association::open(proxy).expect("no association");
    let (_, answer) = association.ask(to, b"hello").unwrap_or_else(|error| panic!("{to}: {error}"));
    assert_eq!(answer, b"hello");
}
