//! Packets in parts (F-G12).

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::udp::datagram;
use super::world::{Basket, FAR, FAR6, NEAR, NEAR6, bytes};
use crate::Moment;
use crate::stack::fragment::{Outer, Reassembly};
use crate::stack::packet::Inner;

const NOW: Moment = Moment::from_micros(0);

/// The parts of a datagram, and the datagram.
fn parts(v6: bool, len: usize, mtu: usize, ident: u32) -> (Vec<Vec<u8>>, Vec<u8>) {
    let (from, to): (SocketAddr, SocketAddr) =
        if v6 { ((FAR6, 1).into(), (NEAR6, 2).into()) } else { ((FAR, 1).into(), (NEAR, 2).into()) };
    let whole = datagram(from, to, &bytes(0, len));
    let inner = Inner::parse(&whole).unwrap();
    let mut basket = Basket::default();
    Outer { from: inner.from, to: inner.to, protocol: inner.protocol }.send(inner.payload, mtu, ident, &mut basket);
    (basket.packets, whole)
}

fn add(reassembly: &mut Reassembly, packet: &[u8], now: Moment) -> Option<Vec<u8>> {
    reassembly.add(&Inner::parse(packet).unwrap(), now)
}

fn same(whole: &[u8], expected: &[u8]) -> bool {
    Inner::parse(whole).unwrap().payload == Inner::parse(expected).unwrap().payload
}

proptest! {
    #[test]
    fn every_order_and_repetition_gives_the_packet_once(v6 in any::<bool>(), len in 1300usize..9000, order in prop::collection::vec(any::<prop::sample::Index>(), 0..60)) {
        let (parts, whole) = parts(v6, len, 1280, 7);
        let mut reassembly = Reassembly::default();
        let mut missing: Vec<usize> = (0..parts.len()).collect();
        let mut given = 0;
        for index in order {
            let n = index.index(parts.len());
            if missing.is_empty() {
                break;
            }
            missing.retain(|other| *other != n);
            given += usize::from(add(&mut reassembly, &parts[n], NOW).is_some_and(|packet| same(&packet, &whole)));
        }
        for n in missing {
            given += usize::from(add(&mut reassembly, &parts[n], NOW).is_some_and(|packet| same(&packet, &whole)));
        }
        prop_assert_eq!(given, 1);
    }
}

#[test]
fn an_overlap_spoils_the_whole_packet() {
    for v6 in [false, true] {
        let (good, _) = parts(v6, 5000, 1280, 7);
        // The same packet taken apart differently.
        let (other, _) = parts(v6, 5000, 1288, 7);
        let mut reassembly = Reassembly::default();
        assert!(add(&mut reassembly, &good[0], NOW).is_none());
        assert!(add(&mut reassembly, &other[1], NOW).is_none());
        assert!(add(&mut reassembly, &good[1], NOW).is_none());
        for part in &good {
            assert!(add(&mut reassembly, part, NOW).is_none());
        }
    }
}

#[test]
fn parts_wait_for_thirty_seconds() {
    let (parts, _) = parts(false, 2000, 1280, 7);
    let second = Duration::from_secs(1);
    for (wait, whole) in [(29, true), (30, false)] {
        let mut reassembly = Reassembly::default();
        assert!(add(&mut reassembly, &parts[0], NOW).is_none());
        assert_eq!(add(&mut reassembly, &parts[1], NOW + second * wait).is_some(), whole);
    }
}

#[test]
fn a_flood_pushes_out_the_oldest_and_nothing_grows() {
    let mut reassembly = Reassembly::default();
    let (old, _) = parts(false, 2000, 1280, 1_000_000 % 65_536);
    assert!(add(&mut reassembly, &old[0], NOW).is_none());
    for ident in 0..10_000 {
        let (parts, _) = parts(false, 2000, 1280, ident);
        assert!(add(&mut reassembly, &parts[1], NOW).is_none());
    }
    assert!(add(&mut reassembly, &old[1], NOW).is_none());
    let (fresh, whole) = parts(true, 2000, 1280, 5);
    assert!(add(&mut reassembly, &fresh[1], NOW).is_none());
    assert!(same(&add(&mut reassembly, &fresh[0], NOW).unwrap(), &whole));
}
