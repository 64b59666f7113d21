//! The IP packets inside the tunnel, checked.

use std::net::IpAddr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpAddress, IpProtocol, IpRepr, IpVersion, Ipv4Packet, Ipv6ExtHeader, Ipv6FragmentHeader, Ipv6Packet, Ipv6Repr,
};

/// A packet that may be for us. Its header is sound; what it carries was not looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inner<'a> {
    pub from: IpAddr,
    pub to: IpAddr,
    pub protocol: IpProtocol,
    /// The payload, or that part of it which the fragment has.
    pub payload: &'a [u8],
    pub fragment: Option<Fragment>,
}

/// Which part of a packet this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    pub ident: u32,
    /// In bytes.
    pub offset: usize,
    pub more: bool,
}

impl<'a> Inner<'a> {
    /// `None` for what no host should send or we have no use for: bad lengths, a bad sum, options, extension headers
    /// (but for fragments), senders that are no host (F-G12).
    pub(crate) fn parse(packet: &'a [u8]) -> Option<Self> {
        // smoltcp looks at the first byte without asking.
        packet.first()?;
        let inner = match IpVersion::of_packet(packet).ok()? {
            IpVersion::Ipv4 => Self::parse_v4(packet),
            IpVersion::Ipv6 => Self::parse_v6(packet),
        }?;
        (IpAddress::from(inner.from).is_unicast() && !inner.from.is_loopback()).then_some(inner)
    }

    fn parse_v4(bytes: &'a [u8]) -> Option<Self> {
        let packet = Ipv4Packet::new_checked(bytes).ok()?;
        // `Ipv4Repr` knows no fragments.
        if packet.header_len() != 20 || !packet.verify_checksum() {
            return None;
        }
        let (offset, more) = (usize::from(packet.frag_offset()), packet.more_frags());
        let fragment = (offset != 0 || more).then(|| Fragment { ident: packet.ident().into(), offset, more });
        Some(Self {
            from: packet.src_addr().into(),
            to: packet.dst_addr().into(),
            protocol: packet.next_header(),
            payload: bytes.get(20..packet.total_len().into())?,
            fragment,
        })
    }

    fn parse_v6(bytes: &'a [u8]) -> Option<Self> {
        let packet = Ipv6Packet::new_checked(bytes).ok()?;
        let header = Ipv6Repr::parse(&packet).ok()?;
        let inner = Self {
            from: header.src_addr.into(),
            to: header.dst_addr.into(),
            protocol: header.next_header,
            payload: bytes.get(40..packet.total_len())?,
            fragment: None,
        };
        if header.next_header != IpProtocol::Ipv6Frag {
            return Some(inner);
        }
        let extension = Ipv6ExtHeader::new_checked(inner.payload.get(..8)?).ok()?;
        let fields = Ipv6FragmentHeader::new_checked(extension.payload()).ok()?;
        // smoltcp reads the 13 bits that count eight bytes each.
        let offset = 8 * usize::from(fields.frag_offset());
        let fragment = Fragment { ident: fields.ident(), offset, more: fields.more_frags() };
        Some(Self {
            protocol: extension.next_header(),
            payload: inner.payload.get(8..)?,
            fragment: Some(fragment),
            ..inner
        })
    }
}

/// Writes the header of a packet with `len` bytes behind it. `place` begins with room for it.
pub(crate) fn write_header(place: &mut [u8], from: IpAddr, to: IpAddr, protocol: IpProtocol, len: usize) {
    let header = IpRepr::new(from.into(), to.into(), protocol, len, 64);
    header.emit(place, &ChecksumCapabilities::default());
}

/// The length of a header in the family of `address`.
pub(crate) const fn header_len(address: IpAddr) -> usize {
    if address.is_ipv4() { 20 } else { 40 }
}
