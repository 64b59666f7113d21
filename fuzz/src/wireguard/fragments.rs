//! Packets in parts.

use std::net::SocketAddr;
use std::task::Poll;

use adit_wireguard::Moment;
use adit_wireguard::options::Addresses;
use adit_wireguard::stack::{Stack, UdpFlow};
use tokio::io::ReadBuf;

use super::packet::{Part, UDP, ip, udp};
use super::{FAR, FAR6, NEAR, NEAR6, bytes, cx, pair, span, stack, turn};
use crate::input::Input;

const NOW: Moment = Moment::from_micros(1_000_000);
const PORT: u16 = 53;

/// Datagrams that a router took apart in any way, and datagrams that one stack takes apart for another.
pub fn wg_fragments(data: &[u8]) {
    let mut input = Input(data);
    let (kind, v6) = (input.byte(), input.byte() & 1 == 1);
    match kind % 3 {
        0 => hostile(v6, input),
        1 => apart(v6, input),
        _ => there_and_back(v6, input),
    }
}

fn near() -> (Stack, UdpFlow) {
    let mut stack = stack(Addresses::Both(NEAR, NEAR6), 7);
    let socket = stack.bind().expect("a port");
    (stack, socket)
}

fn receive(socket: &UdpFlow) -> Option<(Vec<u8>, SocketAddr)> {
    let mut space = vec![0; 65_536];
    let mut buf = ReadBuf::new(&mut space);
    match socket.poll_recv(&mut cx(), &mut buf) {
        Poll::Ready(Ok(from)) => Some((buf.filled().to_vec(), from)),
        Poll::Ready(Err(why)) => panic!("{why}"),
        Poll::Pending => None,
    }
}

/// Parts of anything, anywhere. Only whole datagrams come out.
fn hostile(v6: bool, mut input: Input<'_>) {
    let (mut stack, socket) = near();
    let (from, to) = pair(v6);
    let (mut now, mut count) = (NOW, 0usize);
    while !input.is_empty() && count < 400 {
        let (flags, ident, offset) = (input.byte(), input.byte() & 3, input.short());
        let content = input.bytes();
        // Whole units of eight bytes and small offsets are more likely to fit.
        let offset = if flags & 2 == 0 { offset % 40 } else { offset % (1 << 13) };
        let len = if flags & 4 == 0 { content.len() / 8 * 8 } else { content.len() };
        let mut payload = content[..len].repeat(if flags & 8 == 0 { 1 } else { 5 });
        if offset == 0 && flags & 16 == 0 {
            let whole = udp((from, PORT), (to, socket.local_port()), &payload);
            payload = whole[..whole.len().min(payload.len())].to_vec();
        }
        let part = Part { ident: ident.into(), offset, more: flags & 1 == 1 };
        stack.receive(&mut ip(from, to, UDP, Some(part), &payload), now);
        if flags & 0x60 == 0x60 {
            now = now + span(flags);
        }
        count += 1;
    }
    while let Some((_, who)) = receive(&socket) {
        assert_eq!(who.ip(), from);
    }
    assert!(turn(&mut stack, now).0.is_empty(), "an answer to a fragment");
}

/// Good datagrams, taken apart at any places, their parts in any order, and repeated.
fn apart(v6: bool, mut input: Input<'_>) {
    let (mut stack, socket) = near();
    let (from, to) = pair(v6);
    let len = usize::from(input.short()) % 9_000;
    let content = bytes(0, len);
    let whole = udp((from, PORT), (to, socket.local_port()), &content);
    let mut parts = Vec::new();
    let mut at = 0;
    while at < whole.len() {
        // At most 120 parts, which is fewer than are put together.
        let units = usize::from(input.byte()) % 64 + whole.len() / 8 / 110 + 1;
        let end = (at + 8 * units).min(whole.len());
        let part = Part { ident: 9, offset: (at / 8) as u16, more: end < whole.len() };
        parts.push(ip(from, to, UDP, Some(part), &whole[at..end]));
        at = end;
    }
    let mut missing: Vec<usize> = (0..parts.len()).collect();
    let mut received = 0;
    while !missing.is_empty() {
        let n = if input.is_empty() { missing[0] } else { usize::from(input.byte()) % parts.len() };
        missing.retain(|other| *other != n);
        stack.receive(&mut parts[n].clone(), NOW);
        while let Some(datagram) = receive(&socket) {
            assert!(datagram == (content.clone(), SocketAddr::new(from, PORT)), "put together wrongly");
            received += 1;
        }
    }
    assert_eq!(received, 1);
}

/// What one stack sends, another receives.
fn there_and_back(v6: bool, mut input: Input<'_>) {
    let (mut near, here) = near();
    let mut far = stack(Addresses::Both(FAR, FAR6), 8);
    let there = far.bind().expect("a port");
    let (from, to) = pair(v6);
    for _ in 0..4 {
        let len = usize::from(input.short());
        let content = bytes(len as u32, len);
        let sent = here.poll_send(&mut cx(), &content, SocketAddr::new(from, there.local_port()));
        if len > adit_wireguard::stack::MAX_PAYLOAD {
            assert!(matches!(sent, Poll::Ready(Err(_))));
            continue;
        }
        assert!(matches!(sent, Poll::Ready(Ok(()))));
        let mut packets = turn(&mut near, NOW).0;
        let turns = usize::from(input.byte()) % packets.len().max(1);
        packets.rotate_left(turns);
        for mut packet in packets {
            far.receive(&mut packet, NOW);
        }
        assert!(receive(&there) == Some((content, SocketAddr::new(to, here.local_port()))), "lost on the way");
    }
}
