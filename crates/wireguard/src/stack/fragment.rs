//! Putting packets together from fragments (RFC 791 §3.2, RFC 8200 §4.5), and taking them apart.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6FragmentRepr};

use super::Egress;
use super::packet::{Inner, header_len, write_header};
use crate::Moment;

/// Packets that wait for the rest of them.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    pending: HashMap<Key, Pending>,
    /// INVARIANT: the keys of `pending`, the oldest first.
    by_age: VecDeque<(Moment, Key)>,
}

/// RFC 791 and RFC 8200 agree on what tells packets apart, but for the protocol, which does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    from: IpAddr,
    to: IpAddr,
    protocol: IpProtocol,
    ident: u32,
}

#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    /// The parts that are here, as offset and end, in order.
    parts: Vec<(usize, usize)>,
    /// The length of the whole, once the last part is here.
    total: Option<usize>,
    /// Fragments overlapped, so that all of it is worthless (RFC 5722 §4).
    spoiled: bool,
}

impl Reassembly {
    /// With 64 KiB each that is the memory that a flood can take: 4 MiB.
    const MOST: usize = 64;
    /// RFC 8200 says 60; Linux waits for 30.
    const PATIENCE: Duration = Duration::from_secs(30);
    /// Parts of one packet: 64 KiB in the smallest that a path makes.
    const MOST_PARTS: usize = 128;

    /// Takes a fragment of a packet; returns the packet as if it had never been taken apart, once it is whole.
    pub(crate) fn add(&mut self, inner: &Inner<'_>, now: Moment) -> Option<Vec<u8>> {
        let fragment = inner.fragment?;
        let key = Key { from: inner.from, to: inner.to, protocol: inner.protocol, ident: fragment.ident };
        self.expire(now);
        let pending = self.pending.entry(key).or_insert_with(|| {
            self.by_age.push_back((now, key));
            Pending::default()
        });
        let whole = pending.add(inner.payload, fragment.offset, fragment.more);
        let packet = whole.then(|| {
            let mut packet = vec![0; header_len(inner.to)];
            packet.append(&mut pending.bytes);
            let len = packet.len() - header_len(inner.to);
            write_header(&mut packet, inner.from, inner.to, inner.protocol, len);
            packet
        });
        if whole {
            self.pending.remove(&key);
            self.by_age.retain(|(_, other)| *other != key);
        }
        packet
    }

    /// Forgets what is too old, and the oldest if there is too much.
    fn expire(&mut self, now: Moment) {
        while let Some((since, key)) = self.by_age.front() {
            if self.by_age.len() < Self::MOST && now.since(*since) < Self::PATIENCE {
                break;
            }
            self.pending.remove(key);
            self.by_age.pop_front();
        }
    }
}

impl Pending {
    /// Returns whether it is whole.
    fn add(&mut self, part: &[u8], offset: usize, more: bool) -> bool {
        let Some(end) = offset.checked_add(part.len()) else { return false };
        if self.spoiled || part.is_empty() || (more && !part.len().is_multiple_of(8)) || end > usize::from(u16::MAX) {
            return false;
        }
        let at = self.parts.partition_point(|&(start, _)| start < offset);
        if self.parts.get(at) == Some(&(offset, end)) {
            return false;
        }
        if self.conflicts(at, offset, end, more) {
            *self = Self { spoiled: true, ..Self::default() };
            return false;
        }
        if !more {
            self.total = Some(end);
        }
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        if let Some(place) = self.bytes.get_mut(offset..end) {
            place.copy_from_slice(part);
        }
        self.parts.insert(at, (offset, end));
        self.total.is_some_and(|total| total == self.parts.iter().map(|(start, end)| end - start).sum::<usize>())
    }

    fn conflicts(&self, at: usize, offset: usize, end: usize, more: bool) -> bool {
        let before = at.checked_sub(1).and_then(|before| self.parts.get(before)).is_some_and(|part| part.1 > offset);
        let after = self.parts.get(at).is_some_and(|part| part.0 < end);
        let beyond = self.total.is_some_and(|total| end > total || !more);
        let short = !more && self.parts.last().is_some_and(|part| part.1 > end);
        before || after || beyond || short || self.parts.len() >= Reassembly::MOST_PARTS
    }
}

/// The addresses of a packet to send, and what it carries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outer {
    pub from: IpAddr,
    pub to: IpAddr,
    pub protocol: IpProtocol,
}

impl Outer {
    /// Sends `payload`, in fragments if it does not fit. `ident` must not be that of another packet to the same address
    /// in the last seconds.
    pub(crate) fn send(&self, payload: &[u8], mtu: usize, ident: u32, egress: &mut dyn Egress) {
        let header = header_len(self.to);
        if header + payload.len() <= mtu {
            egress.send(self.to, header + payload.len(), &mut |place| {
                write_header(place, self.from, self.to, self.protocol, payload.len());
                fragment_v4(place, self.to, ident, 0, false);
                place.iter_mut().skip(header).zip(payload).for_each(|(to, from)| *to = *from);
            });
            return;
        }
        let extension = if self.to.is_ipv4() { 0 } else { 8 };
        let most = mtu.saturating_sub(header + extension).max(8) / 8 * 8;
        let last = payload.len().div_ceil(most) - 1;
        for (n, piece) in payload.chunks(most).enumerate() {
            let (offset, more) = (n * most, n != last);
            egress.send(self.to, header + extension + piece.len(), &mut |place| {
                if self.to.is_ipv4() {
                    write_header(place, self.from, self.to, self.protocol, piece.len());
                    fragment_v4(place, self.to, ident, offset, more);
                } else {
                    write_header(place, self.from, self.to, IpProtocol::Ipv6Frag, 8 + piece.len());
                    self.fragment_v6(place, ident, offset, more);
                }
                if let Some(place) = place.get_mut(header + extension..) {
                    place.copy_from_slice(piece);
                }
            });
        }
    }

    fn fragment_v6(&self, packet: &mut [u8], ident: u32, offset: usize, more: bool) {
        let Some(place) = packet.get_mut(40..48) else { return };
        place.fill(0);
        if let Some(next) = place.first_mut() {
            *next = self.protocol.into();
        }
        let frag_offset = u16::try_from(offset / 8).unwrap_or(u16::MAX);
        let fields = Ipv6FragmentRepr { frag_offset, more_frags: more, ident };
        if let Some(Ok(mut header)) = place.get_mut(2..).map(smoltcp::wire::Ipv6FragmentHeader::new_checked) {
            fields.emit(&mut header);
        }
    }
}

/// Writes where a fragment belongs into an IPv4 header. Whoever forwards it may take it apart further.
fn fragment_v4(packet: &mut [u8], to: IpAddr, ident: u32, offset: usize, more: bool) {
    if to.is_ipv4()
        && let Ok(mut header) = Ipv4Packet::new_checked(packet)
    {
        header.set_ident(ident as u16);
        header.set_dont_frag(false);
        header.set_frag_offset(u16::try_from(offset).unwrap_or(u16::MAX));
        header.set_more_frags(more);
        header.fill_checksum();
    }
}
