//! IP packets, written and checked without the code that is tried.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) const ICMP: u8 = 1;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMPV6: u8 = 58;
const FRAGMENT: u8 = 44;

/// Which part of a packet: its number, where the part begins, and whether more follows.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) ident: u16,
    /// In units of eight bytes.
    pub(super) offset: u16,
    pub(super) more: bool,
}

/// RFC 1071's sum of the pieces one behind the other; all but the last have even lengths.
fn sum(pieces: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for pair in pieces.iter().flat_map(|piece| piece.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The sum of `payload` behind its pseudo header; 0xffff if there is a right checksum in it.
fn pseudo_sum(from: IpAddr, to: IpAddr, protocol: u8, payload: &[u8]) -> u16 {
    let len = (payload.len() as u32).to_be_bytes();
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) if protocol != ICMP => {
            sum(&[&from.octets(), &to.octets(), &[0, protocol], &len, payload])
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => sum(&[&from.octets(), &to.octets(), &[0, protocol], &len, payload]),
        _ => sum(&[payload]),
    }
}

/// Writes the checksum of `payload`, which has its place at `at`.
fn seal(from: IpAddr, to: IpAddr, protocol: u8, payload: &mut [u8], at: usize) {
    if payload.len() >= at + 2 {
        payload[at..at + 2].fill(0);
        let sum = !pseudo_sum(from, to, protocol, payload);
        let sum = if sum == 0 && protocol == UDP { 0xffff } else { sum };
        payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
}

/// A packet, or a part of one, with a right header.
pub(super) fn ip(from: IpAddr, to: IpAddr, protocol: u8, part: Option<Part>, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let word = |part: Part, low: u32| part.offset << low | u16::from(part.more) << if low == 0 { 13 } else { 0 };
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let (ident, flags) = part.map_or((0, 0), |part| (part.ident, word(part, 0)));
            packet.extend([0x45, 0]);
            packet.extend((20 + payload.len() as u16).to_be_bytes());
            packet.extend(ident.to_be_bytes());
            packet.extend(flags.to_be_bytes());
            packet.extend([64, protocol, 0, 0]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            let sum = !sum(&[&packet]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let extension = if part.is_some() { 8 } else { 0 };
            packet.extend([0x60, 0, 0, 0]);
            packet.extend((extension + payload.len() as u16).to_be_bytes());
            packet.extend([if part.is_some() { FRAGMENT } else { protocol }, 64]);
            packet.extend(from.octets());
            packet.extend(to.octets());
            if let Some(part) = part {
                packet.extend([protocol, 0]);
                packet.extend(word(part, 3).to_be_bytes());
                packet.extend(u32::from(part.ident).to_be_bytes());
            }
        }
        _ => unreachable!("addresses of one family"),
    }
    packet.extend(payload);
    packet
}

/// A TCP segment.
#[derive(Clone, Copy, Default)]
pub(super) struct Segment<'a> {
    pub(super) ports: (u16, u16),
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    pub(super) window: u16,
    /// At most 40 bytes.
    pub(super) options: &'a [u8],
    pub(super) payload: &'a [u8],
}

pub(super) const FIN: u8 = 1;
pub(super) const SYN: u8 = 2;
pub(super) const RST: u8 = 4;
pub(super) const ACK: u8 = 16;

impl Segment<'_> {
    /// As the payload of a packet.
    pub(super) fn write(&self, from: IpAddr, to: IpAddr) -> Vec<u8> {
        let options = self.options.len().next_multiple_of(4);
        let mut bytes = Vec::new();
        bytes.extend(self.ports.0.to_be_bytes());
        bytes.extend(self.ports.1.to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        bytes.extend([((5 + options / 4) as u8) << 4, self.flags]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.options);
        bytes.resize(20 + options, 0);
        bytes.extend(self.payload);
        seal(from, to, TCP, &mut bytes, 16);
        bytes
    }

    /// What `payload`, whose checksum is right, says.
    pub(super) fn read(payload: &[u8]) -> Segment<'_> {
        let short = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
        let long = |at: usize| u32::from(short(at)) << 16 | u32::from(short(at + 2));
        let header = usize::from(payload[12] >> 4) * 4;
        Segment {
            ports: (short(0), short(2)),
            seq: long(4),
            ack: long(8),
            flags: payload[13],
            window: short(14),
            options: &payload[20..header],
            payload: &payload[header..],
        }
    }

    /// What it takes in the sequence space.
    pub(super) fn len(&self) -> u32 {
        self.payload.len() as u32 + u32::from(self.flags & SYN != 0) + u32::from(self.flags & FIN != 0)
    }
}

/// A UDP datagram as the payload of a packet.
pub(super) fn udp(from: (IpAddr, u16), to: (IpAddr, u16), payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(from.1.to_be_bytes());
    bytes.extend(to.1.to_be_bytes());
    bytes.extend((8 + payload.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(payload);
    seal(from.0, to.0, UDP, &mut bytes, 6);
    bytes
}

/// An ICMP message, of either version, as the payload of a packet.
pub(super) fn icmp(from: IpAddr, to: IpAddr, kind: u8, code: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, code, 0, 0];
    bytes.extend(rest);
    seal(from, to, if from.is_ipv4() { ICMP } else { ICMPV6 }, &mut bytes, 2);
    bytes
}

/// A packet that the stack sent.
pub(super) struct Sent<'a> {
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) protocol: u8,
    /// Whether it is a part of a packet.
    pub(super) part: bool,
    pub(super) payload: &'a [u8],
}

/// Checks that a packet is sound: lengths and checksums.
pub(super) fn read(packet: &[u8]) -> Sent<'_> {
    let short = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let sent = match packet[0] >> 4 {
        4 => {
            assert_eq!(packet[0], 0x45, "options");
            assert_eq!(usize::from(short(2)), packet.len());
            assert_eq!(sum(&[&packet[..20]]), 0xffff, "checksum of a header");
            let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).expect("four")).into();
            let part = short(6) & 0x3fff != 0;
            Sent { from: address(12), to: address(16), protocol: packet[9], part, payload: &packet[20..] }
        }
        6 => {
            assert_eq!(usize::from(short(4)) + 40, packet.len());
            let address = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).expect("16")).into();
            let part = packet[6] == FRAGMENT;
            let (protocol, payload) = if part { (packet[40], &packet[48..]) } else { (packet[6], &packet[40..]) };
            Sent { from: address(8), to: address(24), protocol, part, payload }
        }
        other => panic!("version {other}"),
    };
    if !sent.part {
        assert_eq!(pseudo_sum(sent.from, sent.to, sent.protocol, sent.payload), 0xffff, "checksum of a payload");
    }
    sent
}
