//! One TCP connection against a far end that may do anything.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;

use adit_wireguard::Moment;
use adit_wireguard::options::Addresses;
use adit_wireguard::stack::{Stack, TcpFlow};
use tokio::io::ReadBuf;

use super::packet::{ACK, FIN, ICMP, ICMPV6, RST, SYN, Segment, TCP, icmp, ip, read};
use super::{NEAR, NEAR6, bytes, cx, ends, pair, pattern, span, stack, turn};
use crate::input::Input;

const PORT: u16 = 80;

/// Segments near the right ones, in every state; the user reads, writes and leaves in between. Whatever comes, bytes keep
/// their places in both directions, nothing is acknowledged or taken for an end that was not sent, nothing is sent that
/// was not allowed, and all ends.
pub fn wg_tcp(data: &[u8]) {
    let mut input = Input(data);
    let start = input.byte();
    let mut far = Far::new(&mut input, start & 1 == 1);
    if start & 6 != 0 {
        far.shake_hands(&mut input);
    }
    let mut steps = 0;
    while !input.is_empty() && steps < 300 {
        far.step(&mut input);
        steps += 1;
    }
    far.flow = None;
    let Far { mut stack, now, .. } = far;
    ends(&mut stack, now);
}

/// The far end, and all there is to know about the near one.
struct Far {
    stack: Stack,
    flow: Option<TcpFlow>,
    now: Moment,
    /// The far address, and the near one.
    ips: (IpAddr, IpAddr),
    /// From the far end to the near one.
    ports: (u16, u16),
    /// Their initial sequence numbers; of the near end's, once it is known.
    theirs: u32,
    ours: Option<u32>,
    /// What the near end sent at most, and acknowledged last.
    next: u32,
    acked: u32,
    /// The near end's last timestamp.
    clock: u32,
    /// What the far end sent at most, acknowledged at most, and allowed at most.
    end: u32,
    acking: u32,
    edge: u32,
    shift: u8,
    /// Where the far end said that its stream ends.
    fins: HashSet<u32>,
    written: u32,
    read: u32,
    shut: bool,
    /// The near end sent a FIN.
    finished: bool,
    last: Vec<u8>,
}

/// Whether `a` comes after `b` in the sequence space.
fn after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

impl Far {
    fn new(input: &mut Input<'_>, v6: bool) -> Self {
        let mut stack = stack(Addresses::Both(NEAR, NEAR6), input.byte());
        let now = Moment::from_micros(1_000_000);
        let ips = pair(v6);
        let flow = stack.connect(SocketAddr::new(ips.0, PORT), now).expect("a connection");
        let theirs = match input.byte() % 4 {
            0 => 1_000,
            1 => u32::MAX - 20,
            2 => 0x7fff_fff0,
            _ => 0u32.wrapping_sub(input.short().into()),
        };
        let ports = (PORT, flow.local_port());
        let mut far = Self {
            stack,
            flow: Some(flow),
            now,
            ips,
            ports,
            theirs,
            ours: None,
            next: 0,
            acked: theirs,
            clock: 0,
            end: theirs,
            acking: 0,
            edge: 0,
            shift: 0,
            fins: HashSet::new(),
            written: 0,
            read: 0,
            shut: false,
            finished: false,
            last: Vec::new(),
        };
        far.turn();
        far
    }

    fn shake_hands(&mut self, input: &mut Input<'_>) {
        let options = Self::syn_options(input.byte(), self.clock);
        let ack = self.ours.unwrap_or_default().wrapping_add(1);
        self.send(Segment {
            seq: self.theirs,
            ack,
            flags: SYN | ACK,
            window: input.short(),
            options: &options,
            ..Segment::default()
        });
        self.turn();
    }

    /// Options that a SYN may have.
    fn syn_options(choice: u8, clock: u32) -> Vec<u8> {
        let mut options = Vec::new();
        if choice & 1 != 0 {
            let mss: u16 = [1460, 536, 88, 9_000][usize::from(choice >> 6)];
            options.extend([2, 4]);
            options.extend(mss.to_be_bytes());
        }
        if choice & 2 != 0 {
            options.extend([4, 2]);
        }
        if choice & 4 != 0 {
            options.extend([8, 10, 0, 0, 1, 0]);
            options.extend(clock.to_be_bytes());
        }
        if choice & 8 != 0 {
            options.extend([3, 3, [0, 7, 14, 255][usize::from(choice >> 4 & 3)]]);
        }
        options
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 12 {
            0..=5 => self.segment(input),
            6 => {
                if let Some(flow) = self.flow.as_ref().filter(|_| !self.shut) {
                    let content = bytes(self.written, usize::from(input.short()) % 20_000);
                    if let Poll::Ready(Ok(n)) = flow.poll_write(&mut cx(), &content) {
                        self.written += n as u32;
                    }
                }
            }
            7 => self.user_reads(usize::from(input.short())),
            8 | 9 => self.now = self.now + span(input.byte()),
            10 => self.error(input),
            _ => match (input.byte() % 16, &self.flow) {
                (0, _) => self.flow = None,
                (1, Some(flow)) => flow.abort(),
                (2..=4, Some(flow)) => self.shut |= flow.poll_shutdown(&mut cx()).is_ready(),
                // The last segment once more.
                _ => self.stack.receive(&mut self.last.clone(), self.now),
            },
        }
        self.turn();
    }

    /// A segment whose numbers are near those that are due.
    fn segment(&mut self, input: &mut Input<'_>) {
        let flags = match input.byte() % 16 {
            0..=7 => ACK,
            8 | 9 => ACK | FIN,
            10 => SYN | ACK,
            11 => SYN,
            12 => RST,
            13 => RST | ACK,
            14 => 0,
            _ => input.byte(),
        };
        let near = |input: &mut Input<'_>, bases: [u32; 4]| {
            let choice = input.byte();
            let by = match choice >> 2 & 3 {
                0 => 0,
                1 => i32::from(input.byte() as i8),
                2 => i32::from(input.short() as i16),
                _ => i32::from(input.short() as i16) << 8,
            };
            bases[usize::from(choice & 3)].wrapping_add_signed(by)
        };
        let mut seq = near(input, [self.acked, self.end, self.acked.wrapping_sub(1), self.end]);
        let ack = near(input, [self.next, self.next, self.acking, self.ours.unwrap_or_default()]);
        let connected = self.flow.as_ref().is_some_and(|flow| !flow.poll_connected(&mut cx()).is_pending());
        // Only one number can begin the stream, or nobody would know what belongs where.
        if flags & SYN != 0 && !connected {
            seq = self.theirs;
        }
        let window = [65_535, 0, 1, 1_000, 29_200, input.short()][usize::from(input.byte() % 6)];
        let options = match input.byte() % 6 {
            0 | 1 => Vec::new(),
            2 => Self::syn_options(input.byte(), self.clock),
            3 => {
                let (value, echo) =
                    (u32::from(input.short()) << 8, self.clock.wrapping_add_signed(input.byte() as i8 as i32));
                [&[1, 1, 8, 10][..], &value.to_be_bytes(), &echo.to_be_bytes()].concat()
            }
            4 => {
                let mut sacks = vec![1, 1, 5, 2];
                for _ in 0..input.byte() % 4 {
                    let from = near(input, [self.acking, self.next, self.acking, self.next]);
                    sacks.extend(from.to_be_bytes());
                    sacks.extend(from.wrapping_add(u32::from(input.short()) % 8_000).to_be_bytes());
                }
                sacks[3] = sacks.len() as u8 - 2;
                sacks
            }
            _ => input.take(40).to_vec(),
        };
        let scale = input.byte();
        let len = usize::from(scale) * if scale & 1 == 0 { 1 } else { 5 };
        let content = bytes(seq.wrapping_add(u32::from(flags & SYN != 0)), if scale < 100 { 0 } else { len - 100 });
        self.send(Segment { seq, ack, flags, window, options: &options, payload: &content, ..Segment::default() });
    }

    fn send(&mut self, segment: Segment<'_>) {
        let segment = Segment { ports: self.ports, ..segment };
        let end = segment.seq.wrapping_add(segment.len());
        if after(end, self.end) {
            self.end = end;
        }
        if segment.flags & FIN != 0 {
            self.fins.insert(end);
        }
        if segment.flags & SYN != 0 {
            let shift =
                segment.options.windows(3).filter(|option| option[..2] == [3, 3]).map(|option| option[2].min(14));
            self.shift = shift.chain([self.shift]).max().unwrap_or_default();
        }
        if segment.flags & ACK != 0 && !after(segment.ack, self.next) && after(segment.ack, self.acking) {
            self.acking = segment.ack;
        }
        let edge = segment.ack.wrapping_add(u32::from(segment.window) << self.shift);
        if after(edge, self.edge) {
            self.edge = edge;
        }
        self.last = ip(self.ips.0, self.ips.1, TCP, None, &segment.write(self.ips.0, self.ips.1));
        self.stack.receive(&mut self.last.clone(), self.now);
    }

    /// An ICMP error about something that was sent, or not.
    fn error(&mut self, input: &mut Input<'_>) {
        let seq = [self.acking, self.next, self.next.wrapping_sub(1), 7][usize::from(input.byte() % 4)];
        let (far, near) = self.ips;
        let quoted = Segment { ports: (self.ports.1, self.ports.0), seq, ..Segment::default() }.write(near, far);
        let quote = ip(near, far, TCP, None, &quoted[..8 + usize::from(input.byte() % 13)]);
        let (choice, mtu) = (input.byte(), input.short().to_be_bytes());
        let message = match (far.is_ipv4(), choice % 4) {
            (true, 0) => icmp(far, near, 3, 4, &[&[0, 0, mtu[0], mtu[1]], &quote[..]].concat()),
            (true, code) => icmp(far, near, 3, code, &[&[0; 4], &quote[..]].concat()),
            (false, 0) => icmp(far, near, 2, 0, &[&[0, 0, mtu[0], mtu[1]], &quote[..]].concat()),
            (false, code) => icmp(far, near, 1, code + 1, &[&[0; 4], &quote[..]].concat()),
        };
        let protocol = if far.is_ipv4() { ICMP } else { ICMPV6 };
        self.stack.receive(&mut ip(far, near, protocol, None, &message), self.now);
    }

    fn user_reads(&mut self, len: usize) {
        let Some(flow) = &self.flow else { return };
        let mut space = vec![0; len];
        let mut buf = ReadBuf::new(&mut space);
        if let Poll::Ready(Ok(())) = flow.poll_read(&mut cx(), &mut buf) {
            let at = self.theirs.wrapping_add(1).wrapping_add(self.read);
            for (n, byte) in buf.filled().iter().enumerate() {
                assert_eq!(
                    *byte,
                    pattern(at.wrapping_add(n as u32)),
                    "at {} of what was received",
                    self.read as usize + n
                );
            }
            self.read += buf.filled().len() as u32;
            let end = at.wrapping_add(buf.filled().len() as u32 + 1);
            if buf.filled().is_empty() && len > 0 {
                assert!(self.fins.contains(&end), "an end that nobody sent");
            } else if len > 0 {
                assert!(!after(end.wrapping_sub(1), self.end), "bytes that nobody sent");
            }
        }
    }

    fn turn(&mut self) {
        for packet in turn(&mut self.stack, self.now).0 {
            let sent = read(&packet);
            if sent.protocol == TCP {
                assert_eq!((sent.to, sent.from), self.ips);
                self.near_sent(&Segment::read(sent.payload));
            }
        }
    }

    /// Checks what the near end sent.
    fn near_sent(&mut self, segment: &Segment<'_>) {
        assert_eq!(segment.ports, (self.ports.1, self.ports.0));
        if let Some(at) = segment.options.windows(2).position(|option| option == [8, 10]) {
            self.clock = segment
                .options
                .get(at + 2..at + 6)
                .map_or(0, |clock| u32::from_be_bytes(clock.try_into().expect("four")));
        }
        if segment.flags & RST != 0 {
            return;
        }
        if segment.flags & SYN != 0 {
            let ours = *self.ours.get_or_insert(segment.seq);
            assert_eq!(segment.seq, ours, "another beginning");
            if self.next == 0 {
                (self.next, self.acking, self.edge) = (ours.wrapping_add(1), ours, ours.wrapping_add(1));
            }
        }
        let Some(ours) = self.ours else { panic!("data before a SYN") };
        let end = segment.seq.wrapping_add(segment.len());
        let probe = segment.payload.len() <= 1 && !after(end, self.acking);
        if !probe && segment.flags & SYN == 0 {
            let at = segment.seq.wrapping_sub(ours).wrapping_sub(1);
            for (n, byte) in segment.payload.iter().enumerate() {
                assert_eq!(*byte, pattern(at.wrapping_add(n as u32)), "at {at} + {n} of what was sent");
            }
            let fin = u32::from(segment.flags & FIN != 0);
            let data = at + segment.payload.len() as u32;
            assert!(fin == 0 || data == self.written, "a FIN at {data} of {}", self.written);
            self.finished |= fin == 1;
            let most = self.written + u32::from(self.finished);
            assert!(data + fin <= most, "{data} bytes of the {most} that were written");
            assert!(!after(end.wrapping_sub(fin), self.edge.wrapping_add(1)), "more than was allowed");
        }
        if after(end, self.next) {
            self.next = end;
        }
        if segment.flags & ACK != 0 {
            assert!(!after(segment.ack, self.end), "acknowledges what was not sent");
            self.acked = segment.ack;
        }
    }
}
