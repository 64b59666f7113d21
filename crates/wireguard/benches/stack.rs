//! What the stack costs by itself: `cargo bench -p adit-wireguard --bench stack`. The other end is scripted, so all the
//! time measured is ours. The best round counts.

#![expect(clippy::unwrap_used, reason = "a bench may stop")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use adit_wireguard::Moment;
use adit_wireguard::options::{Addresses, Mtu};
use adit_wireguard::stack::{Egress, Stack, TcpFlow};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};
use tokio::io::ReadBuf;

const NEAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const MTU: u16 = 1420;
const PAYLOAD: usize = 1380;
/// Packets that one system call brings.
const TRAIN: usize = 44;
const ROUNDS: usize = 20;

fn main() {
    println!("{:<10} {:>6} {:>12} {:>12}", "", "flows", "ns/packet", "Gbit/s");
    for flows in [1, 100, 1000] {
        let mut bench = Bench::new(flows);
        print("receive", flows, (0..ROUNDS).map(|_| bench.receive()).min().unwrap());
        print("send", flows, (0..ROUNDS).map(|_| bench.send()).min().unwrap());
    }
    memory();
}

fn print(what: &str, flows: usize, per_packet: Duration) {
    let nanos = per_packet.as_nanos() as f64;
    println!("{what:<10} {flows:>6} {nanos:>12.0} {:>12.1}", (PAYLOAD * 8) as f64 / nanos);
}

/// What connections hold that do nothing, before and after others came and went.
fn memory() {
    let before = resident();
    let idle = Bench::new(1000);
    println!("1,000 idle connections: {} KiB", resident().saturating_sub(before));
    drop(idle);
    for _ in 0..3 {
        let mut busy = Bench::new(100);
        busy.receive();
        busy.send();
    }
    let before = resident();
    let idle = Bench::new(1000);
    println!("the same after 300 others: {} KiB", resident().saturating_sub(before));
    drop(idle);
}

/// KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

struct Bench {
    stack: Stack,
    flows: Vec<Flow>,
    now: Moment,
    next: usize,
    space: Vec<u8>,
}

struct Flow {
    face: TcpFlow,
    /// The next byte of the other end, and the next one of ours.
    theirs: u32,
    ours: u32,
}

/// Looks at packets and throws them away.
struct Sink {
    place: Vec<u8>,
    packets: usize,
    bytes: usize,
    sequence: u32,
}

impl Egress for Sink {
    fn has_room(&self) -> bool {
        true
    }

    fn send(&mut self, _: IpAddr, len: usize, write: &mut dyn FnMut(&mut [u8])) {
        write(&mut self.place[..len]);
        self.packets += 1;
        self.bytes += len - 40;
        self.sequence = TcpPacket::new_unchecked(&self.place[20..len]).seq_number().0 as u32;
    }
}

impl Bench {
    fn new(flows: usize) -> Self {
        let addresses = Addresses::V4(NEAR);
        let mut bench = Self {
            stack: Stack::new(addresses, Mtu::new(MTU, addresses).unwrap(), [3; 32]),
            flows: Vec::new(),
            now: Moment::from_micros(1_000_000),
            next: 0,
            space: vec![0; 64 << 10],
        };
        for _ in 0..flows {
            let face = bench.stack.connect(SocketAddr::from((FAR, 80)), bench.now).unwrap();
            let sink = bench.turn();
            let mut flow = Flow { face, theirs: 1000, ours: sink.sequence.wrapping_add(1) };
            bench.stack.receive(&mut flow.segment(TcpControl::Syn, &[]), bench.now);
            flow.theirs += 1;
            bench.turn();
            bench.flows.push(flow);
        }
        bench
    }

    fn turn(&mut self) -> Sink {
        let mut sink = Sink { place: vec![0; 2048], packets: 0, bytes: 0, sequence: 0 };
        self.now = self.now + Duration::from_micros(100);
        self.stack.turn(self.now, &mut sink);
        sink
    }

    fn pick(&mut self) -> usize {
        self.next = (self.next + 1) % self.flows.len();
        self.next
    }

    /// A hundred trains come in, each for the next connection, and are read.
    fn receive(&mut self) -> Duration {
        let payload = [0x5a; PAYLOAD];
        let mut total = Duration::ZERO;
        for _ in 0..100 {
            let n = self.pick();
            let flow = &mut self.flows[n];
            let mut train: Vec<Vec<u8>> = Vec::new();
            for _ in 0..TRAIN {
                train.push(flow.segment(TcpControl::None, &payload));
                flow.theirs = flow.theirs.wrapping_add(PAYLOAD as u32);
            }
            let start = Instant::now();
            train.iter_mut().for_each(|packet| self.stack.receive(packet, self.now));
            self.turn();
            let mut read = 0;
            while read < TRAIN * PAYLOAD {
                let mut buf = ReadBuf::new(&mut self.space);
                assert!(self.flows[n].face.poll_read(&mut cx(), &mut buf).is_ready());
                read += buf.filled().len();
            }
            self.turn();
            total += start.elapsed();
        }
        total / (100 * TRAIN as u32)
    }

    /// A hundred buffers of 64 KiB go out, each by the next connection, and are acknowledged in pieces.
    fn send(&mut self) -> Duration {
        let data = vec![0x5a; 64 << 10];
        let (mut total, mut packets) = (Duration::ZERO, 0);
        for _ in 0..100 {
            let n = self.pick();
            let mut left = 64 << 10;
            let start = Instant::now();
            assert!(self.flows[n].face.poll_write(&mut cx(), &data).is_ready());
            total += start.elapsed();
            while left > 0 {
                let start = Instant::now();
                let sink = self.turn();
                total += start.elapsed();
                packets += sink.packets;
                left -= sink.bytes;
                let mut acks = Vec::new();
                for piece in 1..=sink.bytes.div_ceil(2 * PAYLOAD) {
                    let flow = &mut self.flows[n];
                    let step = (sink.bytes - (piece - 1) * 2 * PAYLOAD).min(2 * PAYLOAD);
                    flow.ours = flow.ours.wrapping_add(step as u32);
                    acks.push(flow.segment(TcpControl::None, &[]));
                }
                let start = Instant::now();
                acks.iter_mut().for_each(|ack| self.stack.receive(ack, self.now));
                total += start.elapsed();
            }
        }
        total / packets as u32
    }
}

impl Flow {
    fn segment(&self, control: TcpControl, payload: &[u8]) -> Vec<u8> {
        let syn = control == TcpControl::Syn;
        let tcp = TcpRepr {
            src_port: 80,
            dst_port: self.face.local_port(),
            control,
            seq_number: TcpSeqNumber(self.theirs as i32),
            ack_number: Some(TcpSeqNumber(self.ours as i32)),
            window_len: 65_535,
            window_scale: syn.then_some(8),
            max_seg_size: syn.then_some(PAYLOAD as u16),
            sack_permitted: syn,
            sack_ranges: [None; 3],
            timestamp: None,
            payload,
        };
        let payload_len = tcp.buffer_len();
        let ip = Ipv4Repr { src_addr: FAR, dst_addr: NEAR, next_header: IpProtocol::Tcp, payload_len, hop_limit: 64 };
        let mut packet = vec![0; 20 + payload_len];
        ip.emit(&mut Ipv4Packet::new_unchecked(&mut packet[..]), &ChecksumCapabilities::default());
        let (from, to) = (IpAddr::V4(FAR).into(), IpAddr::V4(NEAR).into());
        tcp.emit(&mut TcpPacket::new_unchecked(&mut packet[20..]), &from, &to, &ChecksumCapabilities::default());
        packet
    }
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
