//! Datagrams to addresses that stand for something else: answers come from the address that the client wrote to.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use adit_dns::{Fake, FakeIp};
use adit_net::{DnsMode, Domain, HostsEntry, Target};

use crate::flow::{Client, echo};
use crate::scene::{Scene, fake_dns, fake_dns_in};

/// The first two datagrams of a client to `sniffed.example`, which tell its name together.
const QUIC: &str = include_str!("../../../sniffer/tests/captures/chromium-156-quic.hex");

fn quic() -> Vec<Vec<u8>> {
    let unhex = |block: &str| -> Vec<u8> {
        let digits: Vec<u8> = block.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    };
    QUIC.split("\n\n").map(unhex).collect()
}

fn here() -> HostsEntry {
    HostsEntry::Addresses(vec!["127.0.0.1".parse().unwrap()])
}

/// The fake address of `name`, with the port of `at`.
fn fake(addresses: &FakeIp, name: &str, at: SocketAddr) -> Target {
    let ip = addresses.v4(&Domain::new(name).unwrap()).unwrap();
    SocketAddr::from((ip, at.port())).into()
}

/// Both names lead to the same server, so that only the way tells their answers apart.
#[tokio::test]
async fn answers_come_from_the_fake_address_of_each_name_of_one_socket() {
    let at = echo().await;
    let (dns, addresses) = fake_dns();
    let (a, b) = (fake(&addresses, "a.test", at), fake(&addresses, "b.test", at));
    let rules = &["DOMAIN-SUFFIX,test,DIRECT", "MATCH,DIRECT"];
    let mut client = Client::of(Scene::with_rules(rules).host("a.test", here()).host("b.test", here()).dns(&dns));
    for target in [&a, &b, &at.into(), &a, &b] {
        client.send(target, target.to_string().as_bytes());
        assert_eq!(client.answer().await.unwrap(), (target.clone(), target.to_string().into_bytes()));
    }
    let open = client.engine.table().snapshot();
    assert_eq!(open.len(), 3);
    let of_a = open.iter().find(|open| open.session.target.to_string() == format!("a.test:{}", at.port())).unwrap();
    assert_eq!(of_a.session.dns, DnsMode::FakeIp(a.host.ip().unwrap()));
}

/// F-E13
#[tokio::test]
async fn f_e13_a_fake_address_that_stands_for_nothing_is_not_dialled() {
    let at = echo().await;
    let mut client = Client::of(Scene::with_rules(&["MATCH,DIRECT"]).dns(&fake_dns().0));
    client.send(&Target::new(std::net::IpAddr::from([198, 18, 0, 77]), at.port()), b"nobody");
    client.send(&at.into(), b"somebody");
    assert_eq!(client.answer().await.unwrap().1, b"somebody");
    assert_eq!(client.engine.table().len(), 1);
}

/// F-E12: while a flow lasts, its address stands for no other name.
#[tokio::test]
async fn f_e12_the_address_of_a_live_flow_is_not_given_away() {
    let at = echo().await;
    let (dns, addresses) = fake_dns_in("198.18.0.0/29");
    let live = Domain::new("live.test").unwrap();
    let target = fake(&addresses, "live.test", at);
    let mut client = Client::of(Scene::with_rules(&["MATCH,DIRECT"]).host("live.test", here()).dns(&dns));
    let others = || {
        for n in 0..8 {
            addresses.v4(&Domain::new(&format!("n{n}.test")).unwrap()).unwrap();
        }
    };
    client.send(&target, b"1");
    client.answer().await.unwrap();
    others();
    assert_eq!(addresses.original(target.host.ip().unwrap()), Some(Fake::Name(live.clone())));
    client.send(&target, b"2");
    assert_eq!(client.answer().await.unwrap(), (target.clone(), b"2".to_vec()));

    client.engine.table().snapshot()[0].kill();
    while !client.engine.table().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    others();
    assert_ne!(addresses.original(target.host.ip().unwrap()), Some(Fake::Name(live)));
}

#[tokio::test]
async fn f_b17_many_names_of_one_client_share_few_sockets() {
    let at = echo().await;
    let (dns, addresses) = fake_dns();
    let mut scene = Scene::with_rules(&["MATCH,DIRECT"]).dns(&dns);
    for n in 0..100 {
        scene = scene.host(&format!("n{n}.test"), here());
    }
    let mut client = Client::of(scene);
    for n in (0..100).chain(0..3) {
        let target = fake(&addresses, &format!("n{n}.test"), at);
        client.send(&target, b"hello");
        assert_eq!(client.answer().await.unwrap(), (target, b"hello".to_vec()));
        assert!(client.engine.table().len() <= 64);
    }
}

/// A bare address, ruled by the name in two datagrams; the answers come from that address although the name is dialled.
#[tokio::test]
async fn a_quic_flow_is_ruled_by_the_name_in_it() {
    let at = echo().await;
    let scene = Scene::with_rules(&["DOMAIN,sniffed.example,DIRECT", "MATCH,REJECT"])
        .host("sniffed.example", here())
        .sniffing(at.port());
    let mut client = Client::of(scene);
    let target = Target::new(std::net::IpAddr::from([192, 0, 2, 1]), at.port());
    for datagram in quic() {
        client.send(&target, &datagram);
    }
    for datagram in quic() {
        assert_eq!(client.answer().await.unwrap(), (target.clone(), datagram));
    }
    let open = client.engine.table().snapshot();
    assert_eq!(open[0].session.sniffed, Some(Domain::new("sniffed.example").unwrap()));
}

#[tokio::test]
async fn a_datagram_of_another_protocol_is_not_held_back() {
    let at = echo().await;
    let mut client = Client::of(Scene::with_rules(&["MATCH,DIRECT"]).sniffing(at.port()));
    let begun = Instant::now();
    client.send(&at.into(), b"not QUIC");
    assert_eq!(client.answer().await.unwrap(), (at.into(), b"not QUIC".to_vec()));
    assert!(begun.elapsed() < Duration::from_millis(250), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_name_that_does_not_come_is_waited_for_300_ms() {
    let at = echo().await;
    let mut client = Client::of(Scene::with_rules(&["MATCH,DIRECT"]).sniffing(at.port()));
    let begun = Instant::now();
    let half = quic().remove(0);
    client.send(&at.into(), &half);
    assert_eq!(client.answer().await.unwrap(), (at.into(), half));
    assert!(begun.elapsed() >= Duration::from_millis(290), "{:?}", begun.elapsed());
}
