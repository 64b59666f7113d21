//! What a connection knows of its path, and how segments are cut to fit.

use std::net::IpAddr;

use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket};

use crate::stack::{Egress, checksum};

/// RFC 9293 §3.7.1: the MSS of who does not say.
const DEFAULT_MSS: usize = 536;
/// What is tried when full segments vanish although the MTU says they fit: what IPv6 guarantees, then less.
const STEPS: [usize; 3] = [1280, 1024, 576];
/// The segment at the front is lost so often before that.
const PATIENCE: u8 = 3;

pub(super) struct Path {
    pub(super) local: IpAddr,
    remote: IpAddr,
    mtu: usize,
    /// The longest segment that the other end takes.
    mss: usize,
    /// The oldest byte that was not acknowledged, and the one after the last that was sent.
    flight: Option<(u32, u32)>,
    /// How often that byte was sent again in a segment so large that its size may be the reason.
    retries: u8,
}

impl Path {
    pub(super) fn new(local: IpAddr, remote: IpAddr, mtu: usize) -> Self {
        Self { local, remote, mtu, mss: DEFAULT_MSS, flight: None, retries: 0 }
    }

    fn ip_header(&self) -> usize {
        if self.local.is_ipv4() { 20 } else { 40 }
    }

    /// The other end's SYN came.
    pub(super) fn on_syn(&mut self, tcp: &TcpPacket<&[u8]>) {
        let said = tcp.options_summary().ok().and_then(|options| options.max_segment_size);
        // As smoltcp reads it: zero means nothing was said, and less than 48 is nonsense.
        self.mss = said.filter(|&mss| mss != 0).map_or(DEFAULT_MSS, usize::from).max(48);
    }

    pub(super) fn heard(&mut self, tcp: &TcpPacket<&[u8]>) {
        if let Some((oldest, next)) = &mut self.flight
            && tcp.ack()
        {
            let acknowledged = number(tcp.ack_number());
            let progress = acknowledged.wrapping_sub(*oldest);
            if progress != 0 && progress <= next.wrapping_sub(*oldest) {
                *oldest = acknowledged;
                self.retries = 0;
            }
        }
    }

    pub(super) fn in_flight(&self, sequence: u32) -> bool {
        self.flight.is_some_and(|(oldest, next)| sequence.wrapping_sub(oldest) < next.wrapping_sub(oldest))
    }

    /// Never below what every host has to take (RFC 791; RFC 8200 §5).
    pub(super) fn lower_mtu(&mut self, mtu: usize) {
        let least = if self.local.is_ipv4() { 576 } else { 1280 };
        self.mtu = self.mtu.min(mtu.max(least));
    }

    /// Sends an answer as it is, but for its sums.
    pub(super) fn send_reply(&self, packet: &[u8], egress: &mut dyn Egress) {
        let ip = self.ip_header();
        egress.send(self.remote, packet.len(), &mut |place| {
            place.copy_from_slice(packet);
            self.seal(place, ip);
        });
    }

    /// Sends a packet that smoltcp made, in pieces if it is too long. Returns whether all data is in flight now; nothing
    /// if that packet carried none.
    pub(super) fn send(&mut self, packet: &[u8], egress: &mut dyn Egress) -> Option<bool> {
        let ip = self.ip_header();
        let tcp = TcpPacket::new_checked(packet.get(ip..)?).ok()?;
        let (header, payload) = packet.split_at_checked(ip + usize::from(tcp.header_len()))?;
        let options = header.len().saturating_sub(ip + 20);
        self.on_send(&tcp, header.len(), payload.len());
        let most = self.mtu.saturating_sub(header.len()).min(self.mss.saturating_sub(options)).max(1);
        let first = number(tcp.seq_number());
        if payload.is_empty() {
            self.send_reply(packet, egress);
            return None;
        }
        let last = payload.len().div_ceil(most) - 1;
        for (n, piece) in payload.chunks(most).enumerate() {
            egress.send(self.remote, header.len() + piece.len(), &mut |place| {
                let Some((to_header, to_payload)) = place.split_at_mut_checked(header.len()) else { return };
                to_header.copy_from_slice(header);
                to_payload.copy_from_slice(piece);
                let Some(rest) = place.get_mut(ip..) else { return };
                let mut tcp = TcpPacket::new_unchecked(rest);
                // Wraps like every sequence number.
                tcp.set_seq_number(smoltcp::wire::TcpSeqNumber(first.wrapping_add((n * most) as u32) as i32));
                if n != last {
                    tcp.set_fin(false);
                    tcp.set_psh(false);
                }
                self.seal(place, ip);
            });
        }
        Some(tcp.psh() || tcp.fin())
    }

    fn on_send(&mut self, tcp: &TcpPacket<&[u8]>, header: usize, payload: usize) {
        let first = number(tcp.seq_number());
        let (oldest, next) = *self.flight.get_or_insert((first, first));
        let end = first.wrapping_add(tcp.segment_len() as u32);
        let again = first == oldest && next != oldest;
        if (end.wrapping_sub(oldest) as i32) > (next.wrapping_sub(oldest) as i32) {
            self.flight = Some((oldest, end));
        }
        let size = self.mtu.min(header + payload).min(header + self.mss);
        let Some(step) = STEPS.into_iter().find(|&step| step < size) else { return };
        if again && payload > 1 {
            self.retries = self.retries.saturating_add(1);
        }
        if self.retries >= PATIENCE {
            self.retries = 0;
            self.lower_mtu(step);
        }
    }

    /// Fills in lengths and sums.
    fn seal(&self, packet: &mut [u8], ip: usize) {
        let len = u16::try_from(packet.len()).unwrap_or(u16::MAX);
        if self.local.is_ipv4() {
            let mut header = Ipv4Packet::new_unchecked(&mut *packet);
            header.set_total_len(len);
            header.fill_checksum();
        } else {
            Ipv6Packet::new_unchecked(&mut *packet).set_payload_len(len.saturating_sub(40));
        }
        let Some(segment) = packet.get_mut(ip..) else { return };
        TcpPacket::new_unchecked(&mut *segment).set_checksum(0);
        let sum = checksum::with_pseudo_header(self.local, self.remote, IpProtocol::Tcp, segment);
        TcpPacket::new_unchecked(segment).set_checksum(!sum);
    }
}

/// A sequence number as the wire has it.
fn number(sequence: smoltcp::wire::TcpSeqNumber) -> u32 {
    sequence.0 as u32
}
