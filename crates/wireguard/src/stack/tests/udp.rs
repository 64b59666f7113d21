//! Sockets for datagrams.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;

use smoltcp::wire::{IpProtocol, UdpPacket};
use tokio::io::ReadBuf;

use super::errors::error;
use super::world::{Basket, FAR, FAR6, NEAR, NEAR6, bytes, cx};
use crate::Moment;
use crate::options::{Addresses, Mtu};
use crate::stack::packet::{Inner, write_header};
use crate::stack::{MAX_PAYLOAD, Stack, UdpFlow, checksum};

const NOW: Moment = Moment::from_micros(5);

fn stack(addresses: Addresses, seed: u8) -> Stack {
    Stack::new(addresses, Mtu::new(1408, addresses).unwrap(), [seed; 32])
}

fn near() -> Stack {
    stack(Addresses::Both(NEAR, NEAR6), 1)
}

fn turn(stack: &mut Stack) -> Vec<Vec<u8>> {
    let mut basket = Basket::default();
    stack.turn(NOW, &mut basket);
    basket.packets
}

fn recv(flow: &UdpFlow) -> Option<std::io::Result<(SocketAddr, Vec<u8>)>> {
    let mut space = vec![0; 65_535];
    let mut buf = ReadBuf::new(&mut space);
    match flow.poll_recv(&mut cx(), &mut buf) {
        Poll::Ready(from) => Some(from.map(|from| (from, buf.filled().to_vec()))),
        Poll::Pending => None,
    }
}

pub(super) fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let header = if to.is_ipv4() { 20 } else { 40 };
    let mut packet = vec![0; header + 8];
    packet.extend_from_slice(payload);
    let len = packet.len() - header;
    write_header(&mut packet, from.ip(), to.ip(), IpProtocol::Udp, len);
    let mut udp = UdpPacket::new_unchecked(&mut packet[header..]);
    udp.set_src_port(from.port());
    udp.set_dst_port(to.port());
    udp.set_len(len as u16);
    udp.fill_checksum(&from.ip().into(), &to.ip().into());
    packet
}

#[test]
fn datagrams_of_every_size_arrive_in_both_families() {
    let (mut near, mut far) = (near(), stack(Addresses::Both(FAR, FAR6), 2));
    let (ours, theirs) = (near.bind().unwrap(), far.bind().unwrap());
    for (from, to) in [(IpAddr::from(NEAR), IpAddr::from(FAR)), (NEAR6.into(), FAR6.into())] {
        for len in [0, 1, 1372, 1380, 1381, 9000, MAX_PAYLOAD - 20, MAX_PAYLOAD] {
            let to = SocketAddr::new(to, theirs.local_port());
            assert!(ours.poll_send(&mut cx(), &bytes(0, len), to).is_ready());
            for mut packet in turn(&mut near) {
                assert!(packet.len() <= 1408);
                far.receive(&mut packet, NOW);
            }
            let (sender, payload) = recv(&theirs).unwrap_or_else(|| panic!("{len} to {to}")).unwrap();
            assert_eq!(sender, SocketAddr::new(from, ours.local_port()));
            assert!(payload == bytes(0, len), "{len}");
        }
    }
    let too_long = ours.poll_send(&mut cx(), &vec![0; MAX_PAYLOAD + 1], (FAR, 1).into());
    assert!(matches!(too_long, Poll::Ready(Err(why)) if why.kind() == ErrorKind::InvalidInput));
}

#[test]
fn anybody_may_send_to_a_socket() {
    let mut near = near();
    let flow = near.bind().unwrap();
    for from in ["10.9.0.2:53", "192.0.2.7:9999", "[fd09::5]:1"] {
        let from: SocketAddr = from.parse().unwrap();
        let to = if from.is_ipv4() { IpAddr::from(NEAR) } else { NEAR6.into() };
        near.receive(&mut datagram(from, SocketAddr::new(to, flow.local_port()), b"hello"), NOW);
        assert_eq!(recv(&flow).unwrap().unwrap(), (from, b"hello".to_vec()));
    }
}

#[test]
fn a_wrong_sum_is_dropped_and_none_is_not_missed_in_ipv4() {
    let mut near = near();
    let flow = near.bind().unwrap();
    let to = SocketAddr::from((NEAR, flow.local_port()));
    let good = datagram((FAR, 53).into(), to, b"hello");
    for (sum, arrives) in [([0x12, 0x34], false), ([0, 0], true)] {
        let mut packet = good.clone();
        packet[26..28].copy_from_slice(&sum);
        near.receive(&mut packet, NOW);
        assert_eq!(recv(&flow).is_some(), arrives);
    }
    let mut six = datagram((FAR6, 53).into(), (NEAR6, flow.local_port()).into(), b"hello");
    six[46..48].fill(0);
    near.receive(&mut six, NOW);
    assert!(recv(&flow).is_none());
}

#[test]
fn a_sender_waits_for_room_and_a_slow_reader_loses_the_newest() {
    let mut near = near();
    let flow = near.bind().unwrap();
    let payload = bytes(0, 1000);
    let sent = (0..2000).take_while(|_| flow.poll_send(&mut cx(), &payload, (FAR, 9).into()).is_ready()).count();
    assert_eq!(sent, (512 << 10) / 1000);
    assert_eq!(turn(&mut near).len(), sent);
    assert!(flow.poll_send(&mut cx(), &payload, (FAR, 9).into()).is_ready());
    let mut packet = datagram((FAR, 9).into(), (NEAR, flow.local_port()).into(), &payload);
    for _ in 0..2000 {
        near.receive(&mut packet.clone(), NOW);
    }
    assert_eq!(std::iter::from_fn(|| recv(&flow)).count(), sent);
    near.receive(&mut packet, NOW);
    assert!(recv(&flow).is_some());
}

#[test]
fn a_closed_port_is_told_once_and_only_to_who_sent_there() {
    let mut near = near();
    let flow = near.bind().unwrap();
    assert!(flow.poll_send(&mut cx(), b"query", (FAR, 53).into()).is_ready());
    let sent = turn(&mut near).remove(0);
    let mut other = datagram((NEAR, flow.local_port()).into(), (FAR, 54).into(), b"query");
    other.truncate(28);
    near.receive(&mut error(3, 3, 0, &other), NOW);
    assert!(recv(&flow).is_none());
    near.receive(&mut error(3, 3, 0, &sent[..28]), NOW);
    assert_eq!(recv(&flow).unwrap().unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(recv(&flow).is_none());
}

#[test]
fn a_dropped_socket_frees_its_port() {
    let mut near = near();
    let flow = near.bind().unwrap();
    let port = flow.local_port();
    drop(flow);
    turn(&mut near);
    assert!(near.sockets.is_empty());
    near.receive(&mut datagram((FAR, 1).into(), (NEAR, port).into(), b"late"), NOW);
}

#[test]
fn what_we_send_has_right_sums() {
    let mut near = near();
    let flow = near.bind().unwrap();
    for to in [IpAddr::from(FAR), FAR6.into()] {
        assert!(flow.poll_send(&mut cx(), &bytes(3, 101), SocketAddr::new(to, 53)).is_ready());
        let packet = turn(&mut near).remove(0);
        let inner = Inner::parse(&packet).unwrap();
        assert_eq!(checksum::with_pseudo_header(inner.from, inner.to, IpProtocol::Udp, inner.payload), 0xffff);
    }
}
