//! ICMP, and paths that are narrower than they look (F-G11, F-G12).

use std::net::IpAddr;
use std::task::Poll;
use std::time::Duration;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, IpProtocol, Ipv4Packet, Ipv6Packet};

use super::world::{App, FAR, FAR6, NEAR, NEAR6, PORT, User, World, bytes, cx, far};
use crate::stack::ConnectError;
use crate::stack::packet::write_header;

const LONG: Duration = Duration::from_secs(300);

/// An ICMP error from a router, about a packet of ours of which it quotes so many bytes.
pub(super) fn error(kind: u8, code: u8, word: u16, quoted: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 28];
    packet.extend_from_slice(quoted);
    let len = packet.len() - 20;
    write_header(&mut packet, IpAddr::from([192, 0, 2, 1]), NEAR.into(), IpProtocol::Icmp, len);
    (packet[20], packet[21]) = (kind, code);
    packet[26..28].copy_from_slice(&word.to_be_bytes());
    Icmpv4Packet::new_unchecked(&mut packet[20..]).fill_checksum();
    packet
}

fn error6(kind: u8, code: u8, word: u32, quoted: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 48];
    packet.extend_from_slice(quoted);
    let len = packet.len() - 40;
    let router: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
    write_header(&mut packet, router.into(), NEAR6.into(), IpProtocol::Icmpv6, len);
    (packet[40], packet[41]) = (kind, code);
    packet[44..48].copy_from_slice(&word.to_be_bytes());
    smoltcp::wire::Icmpv6Packet::new_unchecked(&mut packet[40..]).fill_checksum(&router, &NEAR6);
    packet
}

#[test]
fn an_error_about_our_syn_ends_the_wait() {
    let cases = [(3, ConnectError::Refused), (1, ConnectError::Unreachable), (13, ConnectError::Unreachable)];
    for (code, expected) in cases {
        let mut world = World::new(30);
        world.up.up = false;
        world.keep_sent = true;
        let flow = world.stack.connect(far(PORT), world.now).unwrap();
        world.step();
        let syn = world.sent[0].clone();
        let mut forged = syn[..28].to_vec();
        forged[25] ^= 1;
        world.stack.receive(&mut error(3, code, 0, &forged), world.now);
        assert!(flow.poll_connected(&mut cx()).is_pending(), "another sequence number");
        world.stack.receive(&mut error(3, code, 0, &syn[..28]), world.now);
        assert_eq!(flow.poll_connected(&mut cx()), Poll::Ready(Err(expected)));
        world.step();
        assert_eq!(world.stack.flows.len(), 0);
    }
}

#[test]
fn an_error_does_not_end_a_connection() {
    let mut world = World::new(31);
    world.listen(App::Echo, 4096);
    world.keep_sent = true;
    let flow = world.connect();
    let mut user = User::default();
    user.write(&flow, 100);
    world.step();
    let data = world.sent.last().unwrap()[..28].to_vec();
    world.stack.receive(&mut error(3, 3, 0, &data), world.now);
    world.run(LONG, |_| {
        user.read(&flow);
        user.end
    });
    assert_eq!((user.read, user.error), (100, None));
}

fn upload(world: &mut World, to: std::net::SocketAddr, narrow: usize, told: bool) {
    world.listen(App::Sink, 256 << 10);
    let flow = world.connect_to(to).unwrap();
    world.up.mtu = narrow;
    world.keep_sent = true;
    let mut user = User::default();
    let index = world.connections.len() - 1;
    world.run(LONG, |world| {
        user.write(&flow, 300_000);
        for packet in std::mem::take(&mut world.sent) {
            if told && packet.len() > narrow {
                let mut error = if to.is_ipv4() {
                    error(3, 4, narrow as u16, &packet[..28])
                } else {
                    error6(2, 0, narrow as u32, &packet[..100])
                };
                world.stack.receive(&mut error, world.now);
            }
        }
        world.connections[index].received == 300_000
    });
}

#[test]
fn too_big_is_believed() {
    for to in [far(PORT), (FAR6, PORT).into()] {
        let mut world = World::new(32);
        let start = world.now;
        upload(&mut world, to, 1300, true);
        assert!(world.now.since(start) < Duration::from_secs(20), "{:?}", world.now.since(start));
    }
}

#[test]
fn too_big_is_not_believed_beyond_reason() {
    let mut world = World::new(33);
    world.listen(App::Sink, 256 << 10);
    world.keep_sent = true;
    let flow = world.connect();
    assert!(flow.poll_write(&mut cx(), &bytes(0, 5000)).is_ready());
    world.step();
    let data = world.sent.last().unwrap()[..28].to_vec();
    // Not in flight: ignored. In flight, but nobody has to bear less than 576.
    let mut stale = data;
    stale[24] ^= 0x40;
    world.stack.receive(&mut error(3, 4, 600, &stale), world.now);
    world.run(LONG, |world| world.connections[0].received == 5000);
    world.up.longest = 0;
    assert!(flow.poll_write(&mut cx(), &bytes(5000, 5000)).is_ready());
    world.run(LONG, |world| world.connections[0].received == 10_000);
    assert_eq!(world.up.longest, 1408);
    assert!(flow.poll_write(&mut cx(), &bytes(10_000, 5000)).is_ready());
    world.step();
    let data = world.sent.last().unwrap()[..28].to_vec();
    world.stack.receive(&mut error(3, 4, 68, &data), world.now);
    world.run(LONG, |world| world.connections[0].received == 15_000);
    world.up.longest = 0;
    assert!(flow.poll_write(&mut cx(), &bytes(15_000, 5000)).is_ready());
    world.run(LONG, |world| world.connections[0].received == 20_000);
    assert_eq!(world.up.longest, 576);
}

#[test]
fn a_black_hole_is_stepped_over() {
    for (to, narrow) in [(far(PORT), 1290), (far(PORT), 1100), (far(PORT), 580), ((FAR6, PORT).into(), 1280)] {
        let mut world = World::new(34);
        let start = world.now;
        upload(&mut world, to, narrow, false);
        assert!(world.now.since(start) < Duration::from_secs(240), "{narrow}: {:?}", world.now.since(start));
    }
}

#[test]
fn pings_are_answered() {
    let mut world = World::new(35);
    let mut packet = ping(b"payload");
    world.keep_sent = true;
    world.stack.receive(&mut packet, world.now);
    world.stack.receive(&mut packet6_ping(), world.now);
    world.step();
    let [four, six] = &world.sent[..] else { panic!("{} answers", world.sent.len()) };
    let ip = Ipv4Packet::new_checked(&four[..]).unwrap();
    assert_eq!((ip.src_addr(), ip.dst_addr()), (NEAR, FAR));
    let icmp = Icmpv4Packet::new_checked(ip.payload()).unwrap();
    let reply = Icmpv4Repr::parse(&icmp, &ChecksumCapabilities::default()).unwrap();
    assert_eq!(reply, Icmpv4Repr::EchoReply { ident: 7, seq_no: 9, data: b"payload" });
    let ip = Ipv6Packet::new_checked(&six[..]).unwrap();
    assert_eq!((ip.src_addr(), ip.dst_addr(), ip.payload()[0]), (NEAR6, FAR6, 129));
}

#[test]
fn a_ping_whose_answer_would_not_fit_is_not_answered() {
    let mut world = World::new(36);
    world.keep_sent = true;
    // What comes may be longer than what may go: it was taken apart, or the peer has another MTU.
    world.stack.receive(&mut ping(&[0; 1408 - 28 + 1]), world.now);
    world.step();
    assert!(world.sent.is_empty());
    world.stack.receive(&mut ping(&[0; 1408 - 28]), world.now);
    world.step();
    assert_eq!(world.sent.len(), 1);
}

fn ping(data: &[u8]) -> Vec<u8> {
    let ping = Icmpv4Repr::EchoRequest { ident: 7, seq_no: 9, data };
    let mut packet = vec![0; 20 + ping.buffer_len()];
    write_header(&mut packet, FAR.into(), NEAR.into(), IpProtocol::Icmp, ping.buffer_len());
    ping.emit(&mut Icmpv4Packet::new_unchecked(&mut packet[20..]), &ChecksumCapabilities::default());
    packet
}

fn packet6_ping() -> Vec<u8> {
    let mut packet = vec![0; 56];
    write_header(&mut packet, FAR6.into(), NEAR6.into(), IpProtocol::Icmpv6, 16);
    packet[40] = 128;
    smoltcp::wire::Icmpv6Packet::new_unchecked(&mut packet[40..]).fill_checksum(&FAR6, &NEAR6);
    packet
}
