//! What no honest network sends (F-G12).

use std::net::IpAddr;
use std::time::Duration;

use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, Ipv4Packet, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};

use super::world::{App, Basket, FAR, NEAR, NEAR6, PORT, User, World, far};
use crate::Moment;
use crate::options::{Addresses, Mtu};
use crate::stack::Stack;
use crate::stack::packet::write_header;

const NOW: Moment = Moment::from_micros(1_000_000);

fn stack() -> Stack {
    let addresses = Addresses::Both(NEAR, NEAR6);
    Stack::new(addresses, Mtu::new(1408, addresses).unwrap(), [7; 32])
}

fn answers(stack: &mut Stack, mut packet: Vec<u8>) -> Vec<Vec<u8>> {
    stack.receive(&mut packet, NOW);
    let mut basket = Basket::default();
    stack.turn(NOW, &mut basket);
    basket.packets
}

/// A segment from the far end's port 80.
pub(super) fn segment(to_port: u16, control: TcpControl, seq: u32, ack: Option<u32>, payload: &[u8]) -> Vec<u8> {
    let repr = TcpRepr {
        src_port: PORT,
        dst_port: to_port,
        control,
        seq_number: TcpSeqNumber(seq as i32),
        ack_number: ack.map(|ack| TcpSeqNumber(ack as i32)),
        window_len: 1000,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload,
    };
    let mut packet = vec![0; 20 + repr.buffer_len()];
    write_header(&mut packet, FAR.into(), NEAR.into(), IpProtocol::Tcp, repr.buffer_len());
    let (from, to) = (IpAddr::V4(FAR).into(), IpAddr::V4(NEAR).into());
    repr.emit(&mut TcpPacket::new_unchecked(&mut packet[20..]), &from, &to, &ChecksumCapabilities::default());
    packet
}

#[test]
fn a_segment_for_nobody_is_reset_but_a_reset_is_not() {
    let mut stack = stack();
    for (control, ack) in [(TcpControl::Syn, None), (TcpControl::None, Some(5)), (TcpControl::Fin, Some(9))] {
        let sent = answers(&mut stack, segment(4000, control, 100, ack, b""));
        let [rst] = &sent[..] else { panic!("{} answers to {control:?}", sent.len()) };
        let ip = Ipv4Packet::new_checked(&rst[..]).unwrap();
        let tcp = TcpPacket::new_checked(ip.payload()).unwrap();
        assert!(tcp.rst() && tcp.verify_checksum(&ip.src_addr().into(), &ip.dst_addr().into()));
        assert_eq!((tcp.src_port(), tcp.dst_port()), (4000, PORT));
        match ack {
            Some(ack) => assert_eq!(tcp.seq_number().0 as u32, ack),
            None => assert_eq!(tcp.ack_number().0, 101),
        }
    }
    assert!(answers(&mut stack, segment(4000, TcpControl::Rst, 100, Some(1), b"")).is_empty());
}

#[test]
fn a_flood_gets_few_answers() {
    let mut stack = stack();
    let mut basket = Basket::default();
    for port in 1..=20_000 {
        stack.receive(&mut segment(port, TcpControl::Syn, 1, None, b""), NOW);
    }
    stack.turn(NOW, &mut basket);
    assert_eq!(basket.packets.len(), 50);
}

#[test]
fn what_is_not_for_us_or_not_sound_is_dropped() {
    let good = || segment(4000, TcpControl::Syn, 1, None, b"");
    let change = |at: usize, to: &[u8]| {
        let mut packet = good();
        packet[at..at + to.len()].copy_from_slice(to);
        Ipv4Packet::new_unchecked(&mut packet[..]).fill_checksum();
        packet
    };
    assert_eq!(answers(&mut stack(), good()).len(), 1);
    let mut wrong_sum = good();
    wrong_sum[36] ^= 1;
    let mut wrong_header_sum = good();
    wrong_header_sum[10] ^= 1;
    let mut cut = good();
    cut.pop();
    let cases = [
        ("for somebody else", change(16, &[10, 9, 0, 7])),
        ("broadcast", change(16, &[255; 4])),
        ("from ourselves", change(12, &NEAR.octets())),
        ("from multicast", change(12, &[224, 0, 0, 1])),
        ("from nowhere", change(12, &[0; 4])),
        ("from loopback", change(12, &[127, 0, 0, 1])),
        ("another version", change(0, &[0x55])),
        ("options", change(0, &[0x46])),
        ("too short a header", change(0, &[0x44])),
        ("another protocol", change(9, &[47])),
        ("sum of TCP", wrong_sum),
        ("sum of IP", wrong_header_sum),
        ("truncated", cut),
        ("empty", Vec::new()),
    ];
    for (what, packet) in cases {
        assert!(answers(&mut stack(), packet).is_empty(), "{what}");
    }
}

#[test]
fn only_a_reset_in_the_window_ends_a_connection() {
    let mut world = World::new(20);
    world.listen(App::Echo, 4096);
    let flow = world.connect();
    world.keep_sent = true;
    let mut user = User::default();
    assert!(flow.poll_write(&mut super::world::cx(), &super::world::bytes(0, 10)).is_ready());
    world.pass(Duration::from_secs(1));
    user.read(&flow);
    assert_eq!(user.read, 10);
    let last = world.sent.last().unwrap().clone();
    let ip = Ipv4Packet::new_checked(&last[..]).unwrap();
    let ours = TcpPacket::new_checked(ip.payload()).unwrap();
    let (expected, port) = (ours.ack_number().0 as u32, flow.local_port());
    for outside in [expected.wrapping_sub(1), expected.wrapping_add(100 << 20), expected ^ 0x8000_0000] {
        world.stack.receive(&mut segment(port, TcpControl::Rst, outside, None, b""), world.now);
        user.read(&flow);
        assert_eq!(user.error, None, "{outside}");
    }
    world.stack.receive(&mut segment(port, TcpControl::Rst, expected, None, b""), world.now);
    user.read(&flow);
    assert!(user.error.is_some());
}

#[test]
fn nothing_is_taken_in_before_our_first_acknowledgement() {
    let mut stack = stack();
    let flow = stack.connect(far(PORT), NOW).unwrap();
    let mut basket = Basket::default();
    stack.turn(NOW, &mut basket);
    let ip = Ipv4Packet::new_checked(&basket.packets[0][..]).unwrap();
    let iss = TcpPacket::new_checked(ip.payload()).unwrap().seq_number().0 as u32;
    let port = flow.local_port();
    // A SYN without ACK, then an answer and, in the same train, data far behind the end of our buffer.
    stack.receive(&mut segment(port, TcpControl::Syn, 500, None, b""), NOW);
    stack.receive(&mut segment(port, TcpControl::Syn, 1000, Some(iss.wrapping_add(1)), b""), NOW);
    for offset in [5 << 20, 0, 4 << 20] {
        stack.receive(&mut segment(port, TcpControl::None, 1001 + offset, Some(iss.wrapping_add(1)), &[1; 1000]), NOW);
    }
    let mut basket = Basket::default();
    stack.turn(NOW, &mut basket);
    assert_eq!(basket.packets.len(), 1);
    let mut user = User::default();
    user.read(&flow);
    assert_eq!(user.read, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A connection whose other end says anything at all.
    #[test]
    fn no_segment_makes_it_panic(
        steps in prop::collection::vec((0u8..6, any::<i16>(), prop::option::of(-3i32..2000), 0usize..3000, any::<u16>(), any::<bool>()), 1..60),
    ) {
        let mut stack = stack();
        let flow = stack.connect(far(PORT), NOW).unwrap();
        let mut now = NOW;
        let mut user = User::default();
        let mut iss = None;
        for (control, seq, ack, len, wait, turn) in steps {
            let mut basket = Basket::default();
            if turn {
                stack.turn(now, &mut basket);
            }
            if let (None, Some(first)) = (iss, basket.packets.first()) {
                let ip = Ipv4Packet::new_checked(&first[..]).unwrap();
                iss = Some(TcpPacket::new_checked(ip.payload()).unwrap().seq_number().0 as u32);
            }
            let control = [TcpControl::None, TcpControl::Psh, TcpControl::Fin, TcpControl::Syn, TcpControl::None, TcpControl::Psh][usize::from(control)];
            let ack = ack.map(|ack| iss.unwrap_or(0).wrapping_add_signed(ack));
            stack.receive(&mut segment(flow.local_port(), control, 70_000u32.wrapping_add_signed(seq.into()), ack, &vec![0; len]), now);
            user.write(&flow, user.written + len);
            let mut space = [0; 4096];
            let _ = flow.poll_read(&mut super::world::cx(), &mut tokio::io::ReadBuf::new(&mut space));
            now = now + Duration::from_micros(u64::from(wait) * 100);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(head in prop::sample::select(vec![0x45u8, 0x60, 0x4f, 0]), bytes in prop::collection::vec(any::<u8>(), 0..200), sound in any::<bool>(), protocol in prop::sample::select(vec![1u8, 6, 17, 44, 58])) {
        let mut stack = stack();
        let mut packet = vec![head];
        packet.extend(bytes);
        if sound && head == 0x45 && packet.len() >= 28 {
            let len = packet.len();
            packet[9] = protocol;
            packet[16..20].copy_from_slice(&NEAR.octets());
            let mut ip = Ipv4Packet::new_unchecked(&mut packet[..]);
            ip.set_total_len(len as u16);
            ip.fill_checksum();
        } else if sound && head == 0x60 && packet.len() >= 40 {
            let len = packet.len() - 40;
            packet[6] = protocol;
            packet[4..6].copy_from_slice(&(len as u16).to_be_bytes());
            packet[24..40].copy_from_slice(&NEAR6.octets());
        }
        stack.receive(&mut packet, NOW);
        stack.turn(NOW, &mut Basket::default());
    }
}
