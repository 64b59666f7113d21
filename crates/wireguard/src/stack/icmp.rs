//! ICMP inside the tunnel: what an error quotes, and answers to pings.

use std::net::{IpAddr, SocketAddr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4DstUnreachable, Icmpv4Message, Icmpv4Packet, Icmpv4Repr, Icmpv6DstUnreachable, Icmpv6Message, Icmpv6Packet,
    Icmpv6Repr, IpProtocol, IpVersion, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket,
};

use super::ConnectError;
use super::packet::{Inner, header_len, write_header};

/// What an ICMP message is for us.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The packet to answer with.
    Ping(Vec<u8>),
    Error(Report, Quote),
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    Unreachable(ConnectError),
    /// The largest packet that fits, in bytes; zero from routers older than RFC 1191.
    TooBig(u32),
}

/// The packet of ours that an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quote {
    pub from: IpAddr,
    pub protocol: IpProtocol,
    pub port: u16,
    pub remote: SocketAddr,
    /// TCP's sequence number.
    pub sequence: u32,
}

impl Message {
    /// `None` for what is malformed or says nothing to us.
    pub(crate) fn parse(inner: &Inner<'_>) -> Option<Self> {
        match (inner.to, inner.from) {
            (IpAddr::V4(_), IpAddr::V4(_)) if inner.protocol == IpProtocol::Icmp => Self::parse_v4(inner),
            (IpAddr::V6(to), IpAddr::V6(from)) if inner.protocol == IpProtocol::Icmpv6 => {
                Self::parse_v6(inner, from, to)
            }
            _ => None,
        }
    }

    fn parse_v4(inner: &Inner<'_>) -> Option<Self> {
        let sums = ChecksumCapabilities::default();
        let packet = Icmpv4Packet::new_checked(inner.payload).ok()?;
        if !packet.verify_checksum() {
            return None;
        }
        let report = match (packet.msg_type(), Icmpv4DstUnreachable::from(packet.msg_code())) {
            (Icmpv4Message::EchoRequest, _) => {
                let Icmpv4Repr::EchoRequest { ident, seq_no, data } = Icmpv4Repr::parse(&packet, &sums).ok()? else {
                    return None;
                };
                let reply = Icmpv4Repr::EchoReply { ident, seq_no, data };
                return Some(Self::Ping(answer(inner, reply.buffer_len(), |place| {
                    reply.emit(&mut Icmpv4Packet::new_unchecked(place), &sums);
                })));
            }
            (Icmpv4Message::DstUnreachable, Icmpv4DstUnreachable::FragRequired) => {
                // RFC 1191 §4: the MTU is where an echo has its sequence number.
                Report::TooBig(packet.echo_seq_no().into())
            }
            (
                Icmpv4Message::DstUnreachable,
                Icmpv4DstUnreachable::PortUnreachable | Icmpv4DstUnreachable::ProtoUnreachable,
            ) => Report::Unreachable(ConnectError::Refused),
            (Icmpv4Message::DstUnreachable, _) => Report::Unreachable(ConnectError::Unreachable),
            _ => return None,
        };
        Some(Self::Error(report, Quote::parse(inner.payload.get(8..)?)?))
    }

    fn parse_v6(inner: &Inner<'_>, from: std::net::Ipv6Addr, to: std::net::Ipv6Addr) -> Option<Self> {
        let sums = ChecksumCapabilities::default();
        let packet = Icmpv6Packet::new_checked(inner.payload).ok()?;
        if !packet.verify_checksum(&from, &to) {
            return None;
        }
        let report = match packet.msg_type() {
            Icmpv6Message::EchoRequest => {
                let Icmpv6Repr::EchoRequest { ident, seq_no, data } =
                    Icmpv6Repr::parse(&from, &to, &packet, &sums).ok()?
                else {
                    return None;
                };
                let reply = Icmpv6Repr::EchoReply { ident, seq_no, data };
                return Some(Self::Ping(answer(inner, reply.buffer_len(), |place| {
                    reply.emit(&to, &from, &mut Icmpv6Packet::new_unchecked(place), &sums);
                })));
            }
            Icmpv6Message::PktTooBig => Report::TooBig(packet.pkt_too_big_mtu()),
            Icmpv6Message::DstUnreachable => match Icmpv6DstUnreachable::from(packet.msg_code()) {
                Icmpv6DstUnreachable::PortUnreachable => Report::Unreachable(ConnectError::Refused),
                _ => Report::Unreachable(ConnectError::Unreachable),
            },
            _ => return None,
        };
        Some(Self::Error(report, Quote::parse(inner.payload.get(8..)?)?))
    }
}

impl Quote {
    /// A quotation ends where the router liked, so lengths inside are not to be compared with it; RFC 792 promises eight
    /// bytes behind the header.
    fn parse(packet: &[u8]) -> Option<Self> {
        packet.first()?;
        let (from, to, protocol, rest) = match IpVersion::of_packet(packet).ok()? {
            IpVersion::Ipv4 => {
                let header = Ipv4Packet::new_unchecked(packet.get(..20)?);
                let rest = packet.get(usize::from(header.header_len())..)?;
                if header.frag_offset() != 0 {
                    return None;
                }
                (header.src_addr().into(), IpAddr::from(header.dst_addr()), header.next_header(), rest)
            }
            IpVersion::Ipv6 => {
                let header = Ipv6Packet::new_unchecked(packet.get(..40)?);
                (header.src_addr().into(), IpAddr::from(header.dst_addr()), header.next_header(), packet.get(40..)?)
            }
        };
        let rest = rest.get(..8)?;
        // Both protocols have their ports in front, and TCP its sequence number behind them.
        let ports = UdpPacket::new_unchecked(rest);
        let remote = SocketAddr::new(to, ports.dst_port());
        let sequence = TcpPacket::new_unchecked(rest).seq_number().0 as u32;
        Some(Self { from, protocol, port: ports.src_port(), remote, sequence })
    }
}

/// A packet back to where `inner` came from.
fn answer(inner: &Inner<'_>, len: usize, write: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let header = header_len(inner.to);
    let mut packet = vec![0; header + len];
    write_header(&mut packet, inner.to, inner.from, inner.protocol, len);
    write(packet.get_mut(header..).unwrap_or_default());
    packet
}
