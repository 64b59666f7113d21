//! The RST for a segment that belongs to no connection (RFC 9293 §3.10.7.1).

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, TcpTimestampRepr};

use super::packet::{Inner, header_len, write_header};

/// `None` if there is nothing sound to answer.
pub(crate) fn answer(inner: &Inner<'_>, tcp: &TcpPacket<&[u8]>) -> Option<Vec<u8>> {
    let (from, to) = (inner.to.into(), inner.from.into());
    let sums = ChecksumCapabilities::default();
    let (seq_number, ack_number) = if tcp.ack() {
        (tcp.ack_number(), None)
    } else {
        (TcpSeqNumber(0), Some(tcp.seq_number() + tcp.segment_len()))
    };
    let none: Option<TcpTimestampRepr> = None;
    let rst = TcpRepr {
        src_port: tcp.dst_port(),
        dst_port: tcp.src_port(),
        control: TcpControl::Rst,
        seq_number,
        ack_number,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: none,
        payload: &[],
    };
    let header = header_len(inner.to);
    let mut packet = vec![0; header + rst.buffer_len()];
    write_header(&mut packet, inner.to, inner.from, IpProtocol::Tcp, rst.buffer_len());
    rst.emit(&mut TcpPacket::new_unchecked(packet.get_mut(header..)?), &from, &to, &sums);
    Some(packet)
}
