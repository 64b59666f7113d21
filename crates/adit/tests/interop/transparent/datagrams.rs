//! UDP: TPROXY takes it. Beside REDIRECT, which has connections only, it goes its way.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;

use adit_testkit::data;
use adit_testkit::origin::quic_echo;

use super::scene::{
    FAMILIES, Family, Mode, PATIENCE, PLACES, Scene, Setup, Visitor, ask, everywhere, hear, in_both_modes, in_mode,
};

fn socket(family: Family) -> UdpSocket {
    let socket = UdpSocket::bind(family.of("0.0.0.0:0", "[::]:0")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// As whom the mirror that gave this answer was visited, and what it was told.
fn read(answer: &str) -> (SocketAddr, &str) {
    let (visitor, payload) = answer.split_once(' ').unwrap_or_else(|| panic!("a mirror's answer: {answer}"));
    (visitor.parse().unwrap(), payload)
}

/// One socket, two origins: each answer comes from where the question went, and both saw the same mapping.
#[test]
fn answers_come_from_where_the_client_wrote_to() {
    in_both_modes(|scene| {
        everywhere(|place, family| {
            let socket = scene.at(place).run(|| socket(family));
            let mut mappings = HashSet::new();
            for round in ["first", "second"] {
                for origin in &scene.udp {
                    let to = family.of(origin.addr(), origin.addr_v6());
                    let answer = ask(&socket, to, round).unwrap_or_else(|| panic!("{place:?} {to}: silence"));
                    let (visitor, payload) = read(&answer);
                    assert_eq!(payload, round);
                    mappings.insert(visitor);
                }
            }
            assert_eq!(mappings.len(), 1, "{mappings:?}");
            let expected = match scene.setup.mode {
                Mode::Redirect => Visitor::untouched(place),
                Mode::Tproxy => Visitor::Wan,
            };
            assert_eq!(Visitor::named(mappings.iter().next().unwrap().ip()), expected);
        });
    });
}

/// To a fake address: the exit is told the name, and the answer comes from the fake address.
#[test]
fn datagrams_to_a_fake_address_carry_the_name() {
    in_mode(Mode::Tproxy, |scene| {
        everywhere(|place, family| {
            let name = format!("udp{place:?}{family:?}.proxied.test").to_ascii_lowercase();
            let fake = scene.dig(place, family.foreign(), &[family.of("A", "AAAA"), &name]);
            let to = SocketAddr::new(fake.parse::<IpAddr>().unwrap(), scene.udp[0].port());
            let socket = scene.at(place).run(|| socket(family));
            for round in ["first", "second"] {
                let answer = ask(&socket, to, round).unwrap_or_else(|| panic!("{place:?} {to}: silence"));
                let (visitor, payload) = read(&answer);
                assert_eq!((Visitor::named(visitor.ip()), payload), (Visitor::Exit, round));
            }
            scene.exit_is_asked_for(&format!("udp:{name}:{}", scene.udp[0].port()));
        });
    });
}

/// QUIC by bare IP; its first packets say whom it is for.
#[test]
fn quic_is_ruled_by_the_name_in_its_first_packets() {
    in_both_modes(|scene| {
        let payload = data::first(200_000);
        for place in PLACES {
            for to in [scene.quic.addr(), scene.quic.addr_v6()] {
                let before = scene.quic.clients().len();
                let echo = scene.at(place).run(|| quic_echo(to, &payload));
                assert!(echo.unwrap_or_else(|error| panic!("{place:?} {to}: {error}")) == payload);
                let expected = match scene.setup.mode {
                    Mode::Redirect => Visitor::untouched(place),
                    Mode::Tproxy => Visitor::Exit,
                };
                assert_eq!(Visitor::named(scene.quic.clients()[before].ip()), expected, "{place:?} {to}");
            }
        }
    });
}

/// A client that asks for expedited forwarding, and prints what it is answered.
const EXPEDITED: &str = "
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
six = ':' in host
s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(*((socket.IPPROTO_IPV6, socket.IPV6_TCLASS) if six else (socket.IPPROTO_IP, socket.IP_TOS)), 46 << 2)
s.settimeout(10)
s.sendto(b'x', (host, port))
print(s.recv(2048).decode())
";

#[test]
fn datagrams_are_ruled_by_their_code_point() {
    in_mode(Mode::Tproxy, |scene| {
        everywhere(|place, family| {
            let to = family.of(scene.udp[0].addr(), scene.udp[0].addr_v6());
            let mut python = Command::new("python3");
            python.args(["-c", EXPEDITED, &to.ip().to_string(), &to.port().to_string()]);
            let answer = scene.run(place, family, &python).ok();
            assert_eq!(Visitor::named(read(&answer).0.ip()), Visitor::Exit, "{place:?} {to}");
        });
    });
}

/// Of each place.
const FLOWS: usize = 5000;

/// The first makes adit find out whose each flow of the host is.
const FLOW_RULES: &str = "  - PROCESS-NAME,nobody,REJECT\n  - MATCH,DIRECT\n";

/// Sends one datagram on each socket, and returns as whom the mirror saw each.
fn round(sockets: &[UdpSocket], to: impl Fn(usize) -> SocketAddr, name: &str) -> Vec<SocketAddr> {
    let mut visitors = Vec::new();
    // As many as a receive buffer surely holds.
    for (first, some) in sockets.chunks(64).enumerate().map(|(at, some)| (at * 64, some)) {
        for (flow, socket) in (first..).zip(some) {
            socket.send_to(format!("{name} {flow}").as_bytes(), to(flow)).unwrap();
        }
        for (flow, socket) in (first..).zip(some) {
            let answer = hear(socket, to(flow)).unwrap_or_else(|| panic!("{name} {flow}: silence"));
            let (visitor, payload) = read(&answer);
            assert_eq!(payload, format!("{name} {flow}"));
            visitors.push(visitor);
        }
    }
    visitors
}

/// Each socket is a flow with a mapping of its own, and keeps it while others come and it pauses.
#[test]
fn five_thousand_flows_keep_their_mapping() {
    adit_net::raise_descriptor_limit().unwrap();
    let setup = Setup { log: "warning", rules: FLOW_RULES, ..Setup::by_exit(Mode::Tproxy, false) };
    let scene = Scene::start(setup);
    let to = |flow: usize| FAMILIES[flow % 2].of(scene.udp[0].addr(), scene.udp[0].addr_v6());
    let open = || -> Vec<UdpSocket> { (0..FLOWS).map(|flow| socket(FAMILIES[flow % 2])).collect() };
    let places = PLACES.map(|place| scene.at(place).run(open));
    // While one place's flows have their turn, the other's pause.
    let first = places.each_ref().map(|sockets| round(sockets, to, "first"));
    assert_eq!(first.iter().flatten().collect::<HashSet<_>>().len(), PLACES.len() * FLOWS, "mappings were shared");
    assert!(first.iter().flatten().all(|visitor| Visitor::named(visitor.ip()) == Visitor::Wan));
    let second = places.each_ref().map(|sockets| round(sockets, to, "second"));
    assert!(second == first, "mappings changed");
    scene.assert_only_configured_servers();
}
