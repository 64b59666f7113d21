//! Segments as they come from and go to the wire (RFC 9293 §3.1).

use std::net::{IpAddr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IPV4_HEADER_LEN, IPV6_HEADER_LEN, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, TcpControl,
    TcpPacket, TcpRepr, TcpSeqNumber, TcpTimestampRepr,
};

use super::super::checksum;
use super::Seq;

/// A segment that arrived: the header's fields and the payload.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The port it was sent from.
    pub source_port: u16,
    /// The port it was sent to.
    pub destination_port: u16,
    /// Of its first byte, or of the SYN.
    pub seq: Seq,
    /// What the sender expects next.
    pub ack: Option<Seq>,
    /// The SYN, FIN or RST flag, of which there can only be one; or PSH, which means nothing here.
    pub control: TcpControl,
    /// Not scaled.
    pub window: u16,
    /// Of a SYN: how far windows are to be shifted, at most 14 (RFC 7323 §2.3).
    pub scale: Option<u8>,
    /// Of a SYN: the largest segment that the sender takes, without options.
    pub mss: Option<u16>,
    /// Of a SYN: whether the sender understands SACK.
    pub sack_permitted: bool,
    /// What arrived out of order, from and to; in the order of the option.
    pub sacks: [Option<(Seq, Seq)>; 3],
    /// The sender's clock, and the last of ours that it saw.
    pub timestamp: Option<(u32, u32)>,
    /// The data.
    pub payload: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Takes a TCP segment apart. `None` if it is malformed or its checksum is wrong.
    #[must_use]
    pub fn parse(segment: &'a [u8], source: IpAddr, destination: IpAddr) -> Option<Self> {
        if source.is_ipv4() != destination.is_ipv4() {
            return None;
        }
        if checksum::with_pseudo_header(source, destination, IpProtocol::Tcp, segment) != 0xffff {
            return None;
        }
        Self::read(&TcpPacket::new_checked(segment).ok()?)
    }

    /// The same for one whose checksum was looked at.
    pub(crate) fn read(packet: &TcpPacket<&'a [u8]>) -> Option<Self> {
        // Without checksums, addresses do not matter.
        let any = IpAddress::v4(0, 0, 0, 0);
        let repr = TcpRepr::parse(packet, &any, &any, &ChecksumCapabilities::ignored()).ok()?;
        let seq = |number: TcpSeqNumber| Seq::new(number.0.cast_unsigned());
        Some(Self {
            source_port: repr.src_port,
            destination_port: repr.dst_port,
            seq: seq(repr.seq_number),
            ack: repr.ack_number.map(seq),
            control: repr.control,
            window: repr.window_len,
            scale: repr.window_scale,
            mss: repr.max_seg_size,
            sack_permitted: repr.sack_permitted,
            sacks: repr.sack_ranges.map(|range| range.map(|(from, to)| (Seq::new(from), Seq::new(to)))),
            timestamp: repr.timestamp.map(|timestamp| (timestamp.tsval, timestamp.tsecr)),
            payload: repr.payload,
        })
    }

    pub(crate) fn is(&self, control: TcpControl) -> bool {
        self.control == control
    }

    /// What it takes in the sequence space (RFC 9293 §3.3, SEG.LEN).
    pub(crate) fn len(&self) -> u64 {
        self.payload.len() as u64 + self.control.len() as u64
    }
}

/// A header to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) seq: Seq,
    pub(crate) ack: Option<Seq>,
    pub(crate) control: TcpControl,
    pub(crate) window: u16,
    pub(crate) scale: Option<u8>,
    pub(crate) mss: Option<u16>,
    pub(crate) sack_permitted: bool,
    pub(crate) sacks: [Option<(u32, u32)>; 3],
    pub(crate) timestamp: Option<(u32, u32)>,
}

/// How long a TCP header is without options.
pub(crate) const TCP_HEADER_LEN: u64 = 20;
/// What timestamps take in a header, padded (RFC 7323 §3.2).
pub(crate) const TIMESTAMP_LEN: u64 = 12;

/// How long the IP header is.
pub(crate) const fn ip_header_len(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(_) => IPV4_HEADER_LEN,
        IpAddr::V6(_) => IPV6_HEADER_LEN,
    }
}

/// What routers may pass it on by; Linux' default.
const HOP_LIMIT: u8 = 64;

impl Header {
    fn repr(&self, local: SocketAddr, remote: SocketAddr) -> TcpRepr<'static> {
        let number = |seq: Seq| TcpSeqNumber(seq.number().cast_signed());
        TcpRepr {
            src_port: local.port(),
            dst_port: remote.port(),
            control: self.control,
            seq_number: number(self.seq),
            ack_number: self.ack.map(number),
            window_len: self.window,
            window_scale: self.scale,
            max_seg_size: self.mss,
            sack_permitted: self.sack_permitted,
            sack_ranges: self.sacks,
            timestamp: self.timestamp.map(|(value, echo)| TcpTimestampRepr::new(value, echo)),
            payload: &[],
        }
    }

    /// Hands a whole IP packet to `egress`: this header and `payload` bytes that `fill` writes. Returns whether it was
    /// taken.
    pub(crate) fn emit(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
        payload: usize,
        fill: &mut dyn FnMut(&mut [u8]),
        egress: &mut super::Egress<'_>,
    ) -> bool {
        let repr = self.repr(local, remote);
        let (ip, tcp) = (ip_header_len(local.ip()), repr.header_len());
        egress(ip + tcp + payload, &mut |packet| {
            let Some((head, segment)) = packet.split_at_mut_checked(ip) else { return };
            if segment.len() != tcp + payload {
                return;
            }
            write_ip(head, local.ip(), remote.ip(), segment.len());
            let (source, destination) = (local.ip().into(), remote.ip().into());
            if let Some(data) = segment.get_mut(tcp..) {
                fill(data);
            }
            let mut packet = TcpPacket::new_unchecked(&mut *segment);
            repr.emit(&mut packet, &source, &destination, &ChecksumCapabilities::ignored());
            let sum = checksum::with_pseudo_header(local.ip(), remote.ip(), IpProtocol::Tcp, segment);
            TcpPacket::new_unchecked(segment).set_checksum(!sum);
        })
    }
}

/// Writes an IP header with DF set, so that too large a packet is told of (RFC 1191 §3).
fn write_ip(head: &mut [u8], source: IpAddr, destination: IpAddr, payload_len: usize) {
    let next_header = IpProtocol::Tcp;
    match (source, destination) {
        (IpAddr::V4(src_addr), IpAddr::V4(dst_addr)) => {
            let repr = Ipv4Repr { src_addr, dst_addr, next_header, payload_len, hop_limit: HOP_LIMIT };
            let mut packet = Ipv4Packet::new_unchecked(head);
            repr.emit(&mut packet, &ChecksumCapabilities::default());
        }
        (IpAddr::V6(src_addr), IpAddr::V6(dst_addr)) => {
            let repr = Ipv6Repr { src_addr, dst_addr, next_header, payload_len, hop_limit: HOP_LIMIT };
            repr.emit(&mut Ipv6Packet::new_unchecked(head));
        }
        _ => {}
    }
}
