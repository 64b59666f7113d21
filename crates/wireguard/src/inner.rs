//! What the tunnel needs to know of the packets inside.

use std::net::IpAddr;

use smoltcp::wire::{IpVersion, Ipv4Packet, Ipv6Packet};

/// The source of an IP packet, and its own length, which may be less than that of its padded buffer.
pub(crate) fn source_and_length(packet: &[u8]) -> Option<(IpAddr, usize)> {
    match IpVersion::of_packet(packet).ok()? {
        IpVersion::Ipv4 => {
            let packet = Ipv4Packet::new_checked(packet).ok()?;
            Some((packet.src_addr().into(), usize::from(packet.total_len())))
        }
        IpVersion::Ipv6 => {
            let packet = Ipv6Packet::new_checked(packet).ok()?;
            Some((packet.src_addr().into(), packet.total_len()))
        }
    }
}
