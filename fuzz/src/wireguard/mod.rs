//! What comes out of a WireGuard tunnel's socket, and out of its ciphertext.

mod device;
mod fragments;
mod inner;
mod packet;
mod tcp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::task::{Context, Waker};
use std::time::Duration;

use adit_wireguard::Moment;
use adit_wireguard::options::{Addresses, Mtu};
use adit_wireguard::stack::{Egress, Stack};

pub use device::wg_datagram;
pub use fragments::wg_fragments;
pub use inner::wg_inner;
pub use tcp::wg_tcp;

const NEAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const NEAR6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1);
const FAR6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2);
const MTU: u16 = 1408;

/// The far end's address and ours.
fn pair(v6: bool) -> (IpAddr, IpAddr) {
    if v6 { (FAR6.into(), NEAR6.into()) } else { (FAR.into(), NEAR.into()) }
}

fn stack(addresses: Addresses, seed: u8) -> Stack {
    Stack::new(addresses, Mtu::new(MTU, addresses).expect("in range"), [seed; 32])
}

/// The byte that belongs at `at` of every stream and datagram.
fn pattern(at: u32) -> u8 {
    (at.wrapping_mul(0x9e37_79b1) >> 24) as u8
}

fn bytes(from: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| pattern(from.wrapping_add(n))).collect()
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// How long a step of a script may take.
fn span(choice: u8) -> Duration {
    const MILLIS: [u64; 16] =
        [0, 1, 1, 5, 20, 50, 100, 250, 1_000, 2_000, 5_500, 11_000, 16_000, 61_000, 121_000, 185_000];
    Duration::from_millis(MILLIS[usize::from(choice % 16)])
}

/// Collects packets; has room for so many.
struct Basket {
    packets: Vec<Vec<u8>>,
    limit: usize,
}

impl Basket {
    /// More packets than any turn can have reason to send.
    const MANY: usize = 20_000;

    fn new(limit: usize) -> Self {
        Self { packets: Vec::new(), limit }
    }
}

impl Egress for Basket {
    fn has_room(&self) -> bool {
        self.packets.len() < self.limit
    }

    fn send(&mut self, to: IpAddr, len: usize, write: &mut dyn FnMut(&mut [u8])) {
        let mut packet = vec![0; len];
        write(&mut packet);
        assert_eq!(packet::read(&packet).to, to);
        assert!(packet.len() <= usize::from(MTU), "longer than the MTU: {}", packet.len());
        self.packets.push(packet);
        assert!(self.packets.len() <= Self::MANY, "it does not stop sending");
    }
}

/// Gives a stack a turn with room for everything. Returns what it sent, and checks that it does not ask for more turns now.
fn turn(stack: &mut Stack, now: Moment) -> (Vec<Vec<u8>>, Option<Moment>) {
    let mut basket = Basket::new(usize::MAX);
    let next = stack.turn(now, &mut basket);
    assert!(next.is_none_or(|next| next > now), "a turn changes nothing");
    (basket.packets, next)
}

/// All users are gone, and nobody answers: in bounded time and with few wakes, nothing is left.
fn ends(stack: &mut Stack, mut now: Moment) {
    let mut wakes = 0;
    while let Some(next) = turn(stack, now).1 {
        now = next;
        wakes += 1;
        assert!(wakes < 2_000, "it does not end");
    }
    assert!(stack.is_empty(), "something is left and nobody cares");
}
