//! Packets out of a tunnel for a stack that is in use.

use std::net::SocketAddr;

use adit_wireguard::Moment;
use adit_wireguard::options::Addresses;
use adit_wireguard::stack::{Stack, TcpFlow, UdpFlow};
use tokio::io::ReadBuf;

use super::packet::{ACK, ICMP, ICMPV6, Part, SYN, Segment, TCP, UDP, icmp, ip, read, udp};
use super::{Basket, NEAR, NEAR6, bytes, cx, ends, pair, span, stack, turn};
use crate::input::Input;

/// Anything that a peer can put into a tunnel, while connections and sockets come and go. What the stack sends is sound
/// and fits, it never wants a turn for nothing, and in the end nothing is left.
pub fn wg_inner(data: &[u8]) {
    let mut input = Input(data);
    let addresses = match input.byte() % 4 {
        0 => Addresses::V4(NEAR),
        1 => Addresses::V6(NEAR6),
        _ => Addresses::Both(NEAR, NEAR6),
    };
    let mut host = Host {
        stack: stack(addresses, 7),
        now: Moment::from_micros(1_000_000),
        connections: Vec::new(),
        sockets: Vec::new(),
        sent: Vec::new(),
    };
    let mut steps = 0;
    while !input.is_empty() && steps < 300 {
        host.step(&mut input);
        steps += 1;
    }
    (host.connections, host.sockets) = (Vec::new(), Vec::new());
    ends(&mut host.stack, host.now);
}

struct Connection {
    flow: TcpFlow,
    /// What it sent last: where its next byte is, and what it expects.
    next: u32,
    ack: u32,
}

struct Host {
    stack: Stack,
    now: Moment,
    connections: Vec<Connection>,
    sockets: Vec<UdpFlow>,
    /// Some of what was sent, for errors to quote.
    sent: Vec<Vec<u8>>,
}

/// An element that the fuzzer chooses.
fn pick<'a, T>(input: &mut Input<'_>, from: &'a [T]) -> Option<&'a T> {
    from.get(usize::from(input.byte()) % from.len().max(1))
}

impl Host {
    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 16 {
            0 if self.connections.len() < 6 => {
                let to = pair(input.byte() & 1 == 1).0;
                let to = SocketAddr::new(to, 80 + u16::from(input.byte() % 4));
                if let Ok(flow) = self.stack.connect(to, self.now) {
                    self.connections.push(Connection { flow, next: 0, ack: 0 });
                }
            }
            1 if self.sockets.len() < 3 => self.sockets.extend(self.stack.bind()),
            0..=2 => self.user(input),
            3 => self.now = self.now + span(input.byte()),
            4 => self.answer(input),
            5 | 6 => self.segment(input),
            7 => self.datagram(input),
            8 | 9 => self.error(input),
            10 => self.ping(input),
            11 => {
                let protocol = [TCP, UDP, ICMP, ICMPV6, 44, 0, 43, 60][usize::from(input.byte() % 8)];
                let (v6, content) = (input.byte() & 1 == 1, input.bytes());
                let (from, to) = pair(v6);
                self.receive(ip(from, to, protocol, None, content));
            }
            12 => self.part(input),
            13 => {
                // A good packet, damaged.
                let mut packet = pick(input, &self.sent).cloned().unwrap_or_default();
                for _ in 0..=input.byte() % 3 {
                    let (at, value) = (usize::from(input.byte()), input.byte());
                    if let Some(byte) = packet.get_mut(at) {
                        *byte = value;
                    }
                }
                self.receive(packet);
            }
            _ => {
                let content = input.bytes().to_vec();
                self.receive(content);
            }
        }
        self.turn(input);
    }

    fn receive(&mut self, mut packet: Vec<u8>) {
        self.stack.receive(&mut packet, self.now);
    }

    /// A user does something.
    fn user(&mut self, input: &mut Input<'_>) {
        let (choice, len) = (input.byte(), usize::from(input.short()));
        let mut space = vec![0; 4096];
        let mut buf = ReadBuf::new(&mut space);
        if choice & 1 == 1 {
            let Some(socket) = pick(input, &self.sockets) else { return };
            let to = SocketAddr::new(pair(choice & 16 != 0).0, 53);
            match choice >> 1 & 7 {
                0..=3 => drop(socket.poll_send(&mut cx(), &bytes(0, len), to)),
                4..=6 => drop(socket.poll_recv(&mut cx(), &mut buf)),
                _ => drop(self.sockets.pop()),
            }
            return;
        }
        let Some(connection) = pick(input, &self.connections) else { return };
        match choice >> 1 & 7 {
            0..=2 => drop(connection.flow.poll_write(&mut cx(), &bytes(0, len))),
            3 | 4 => drop(connection.flow.poll_read(&mut cx(), &mut buf)),
            5 => drop(connection.flow.poll_shutdown(&mut cx())),
            6 => connection.flow.abort(),
            _ => drop(self.connections.swap_remove(usize::from(choice >> 4) % self.connections.len())),
        }
    }

    /// A connection's SYN is answered as it should be.
    fn answer(&mut self, input: &mut Input<'_>) {
        let options = [2, 4, 5, 180, 4, 2, 3, 3, 7];
        if let Some(connection) = pick(input, &self.connections) {
            let segment = Segment { flags: SYN | ACK, window: 65_535, options: &options, ..Segment::default() };
            let packet = connection.packet(5_000, connection.next, segment);
            self.receive(packet);
        }
    }

    /// A segment for a connection.
    fn segment(&mut self, input: &mut Input<'_>) {
        let (flags, by, about, window) = (input.byte(), input.byte() as i8, input.byte() as i8, input.short());
        let content = input.bytes();
        if let Some(connection) = pick(input, &self.connections) {
            let segment = Segment { flags, window, payload: content, ..Segment::default() };
            let seq = connection.ack.wrapping_add_signed(by.into());
            let packet = connection.packet(seq, connection.next.wrapping_add_signed(i32::from(about) / 32), segment);
            self.receive(packet);
        }
    }

    fn datagram(&mut self, input: &mut Input<'_>) {
        let (from, to) = pair(input.byte() & 1 == 1);
        let (port, content) = (input.short(), input.bytes());
        let near = pick(input, &self.sockets).map_or(port, UdpFlow::local_port);
        let mut payload = udp((from, port), (to, near), content);
        // A length of the fuzzer's; or no checksum.
        if port & 3 == 1 {
            payload[4..6].copy_from_slice(&port.to_be_bytes());
        } else if port & 3 == 2 {
            payload[6..8].fill(0);
        }
        self.receive(ip(from, to, UDP, None, &payload));
    }

    /// An ICMP error about a packet that was sent.
    fn error(&mut self, input: &mut Input<'_>) {
        let (kind, code, detail) = (input.byte(), input.byte(), input.short());
        let Some(about) = pick(input, &self.sent) else { return };
        let cut = usize::from(input.byte()).min(about.len());
        let (from, to) = pair(about.first().is_some_and(|byte| byte >> 4 == 6));
        let kinds = if from.is_ipv4() { [3, 3, 11, 12] } else { [1, 2, 3, 4] };
        let rest = [&[0, 0], &detail.to_be_bytes()[..], &about[..cut]].concat();
        let kind = if kind & 0x80 != 0 { kind } else { kinds[usize::from(kind & 3)] };
        let message = icmp(from, to, kind, code % 16, &rest);
        let protocol = if from.is_ipv4() { ICMP } else { ICMPV6 };
        self.receive(ip(from, to, protocol, None, &message));
    }

    fn ping(&mut self, input: &mut Input<'_>) {
        let (choice, content) = (input.byte(), input.bytes());
        let (from, to) = pair(choice & 1 == 1);
        let (protocol, kind) = if from.is_ipv4() { (ICMP, 8) } else { (ICMPV6, 128) };
        let message = icmp(from, to, kind, 0, &content.repeat(1 + usize::from(choice >> 1 & 15)));
        let half = (message.len() / 16 * 8).min(message.len());
        if choice & 0x80 == 0 || half == 0 {
            self.receive(ip(from, to, protocol, None, &message));
        } else {
            let part = Part { ident: choice.into(), offset: 0, more: true };
            self.receive(ip(from, to, protocol, Some(part), &message[..half]));
            let part = Part { ident: choice.into(), offset: (half / 8) as u16, more: false };
            self.receive(ip(from, to, protocol, Some(part), &message[half..]));
        }
    }

    /// A part of something.
    fn part(&mut self, input: &mut Input<'_>) {
        let (from, to) = pair(input.byte() & 1 == 1);
        let (choice, offset) = (input.byte(), input.short());
        let offset = if choice & 4 == 0 { offset % 32 } else { offset % (1 << 13) };
        let part = Part { ident: u16::from(choice >> 6), offset, more: choice & 8 != 0 };
        let protocol = [TCP, UDP, ICMP, ICMPV6][usize::from(choice & 3)];
        let content = input.bytes();
        let content = if choice & 16 == 0 { &content[..content.len() / 8 * 8] } else { content };
        self.receive(ip(from, to, protocol, Some(part), content));
    }

    /// A turn, sometimes with little room.
    fn turn(&mut self, input: &mut Input<'_>) {
        let room = input.byte();
        let packets = if room >= 0xf0 {
            let mut basket = Basket::new(usize::from(room & 7));
            self.stack.turn(self.now, &mut basket);
            basket.packets
        } else {
            turn(&mut self.stack, self.now).0
        };
        for packet in packets {
            let sent = read(&packet);
            assert!([NEAR.into(), NEAR6.into()].contains(&sent.from), "from {}", sent.from);
            if sent.protocol == TCP && !sent.part {
                let segment = Segment::read(sent.payload);
                let key = (segment.ports.0, SocketAddr::new(sent.to, segment.ports.1));
                let is = |it: &&mut Connection| (it.flow.local_port(), it.flow.remote()) == key;
                if let Some(connection) = self.connections.iter_mut().find(is) {
                    connection.next = segment.seq.wrapping_add(segment.len());
                    connection.ack = segment.ack;
                }
            }
            if self.sent.len() < 16 {
                self.sent.push(packet);
            }
        }
    }
}

impl Connection {
    fn packet(&self, seq: u32, ack: u32, segment: Segment<'_>) -> Vec<u8> {
        let far = self.flow.remote();
        let near = pair(far.is_ipv6()).1;
        let segment = Segment { ports: (far.port(), self.flow.local_port()), seq, ack, ..segment };
        ip(far.ip(), near, TCP, None, &segment.write(far.ip(), near))
    }
}
