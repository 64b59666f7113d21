//! The far end: WireGuard of ours with smoltcp behind it, which serves TCP and sends UDP back.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};

use super::stream::{Ending, Plan, down, up};
use super::{FAR, FAR6};
use crate::{Clock, Device, Moment, Options, Outbox};

/// Where the first stream connects to; the others follow.
pub(super) const FIRST_PORT: u16 = 1000;

/// A stream's other end.
struct Served {
    plan: Plan,
    /// None any more after a reboot.
    socket: Option<SocketHandle>,
    received: usize,
    sent: usize,
}

pub(super) struct Far {
    options: Options,
    random: StdRng,
    device: Device,
    pub(super) outbox: Outbox,
    card: Card,
    interface: Interface,
    sockets: SocketSet<'static>,
    served: Vec<Served>,
    /// When there is something to do.
    pub(super) deadline: Option<Moment>,
}

impl Far {
    pub(super) fn new(options: Options, mut random: StdRng) -> Self {
        let device = Device::new(&options, StdRng::from_seed(random.random()));
        let mut card = Card { mtu: options.mtu.bytes().into(), ..Card::default() };
        let interface = interface(&mut card, random.random());
        Self {
            options,
            random,
            device,
            outbox: Outbox::default(),
            card,
            interface,
            sockets: SocketSet::new(vec![]),
            served: Vec::new(),
            deadline: None,
        }
    }

    /// WireGuard begins anew; connections go on.
    pub(super) fn restart(&mut self) {
        self.device = Device::new(&self.options, StdRng::from_seed(self.random.random()));
    }

    /// Everything begins anew, and nobody remembers a connection.
    pub(super) fn reboot(&mut self) {
        self.restart();
        self.sockets = SocketSet::new(vec![]);
        self.served.iter_mut().for_each(|served| served.socket = None);
    }

    /// Waits for the next stream.
    pub(super) fn serve(&mut self, plan: Plan) {
        let buffer = || SocketBuffer::new(vec![0; plan.far_buffer]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.listen(FIRST_PORT + self.served.len() as u16).unwrap();
        let socket = Some(self.sockets.add(socket));
        self.served.push(Served { plan, socket, received: 0, sent: 0 });
    }

    /// What came of a stream.
    pub(super) fn received(&self, stream: usize) -> usize {
        self.served[stream].received
    }

    pub(super) fn index_count(&self) -> usize {
        self.device.index_count()
    }

    pub(super) fn receive(&mut self, from: SocketAddr, datagram: &mut [u8], clock: Clock) {
        let Some(packet) = self.device.receive(from, datagram, clock, &mut self.outbox) else { return };
        if send_back(packet) {
            self.send(packet, clock);
        } else {
            self.card.incoming.push_back(packet.to_vec());
        }
    }

    pub(super) fn turn(&mut self, clock: Clock) {
        let instant = Instant::from_micros(clock.now.micros() as i64);
        // One at a time: for whole trains smoltcp acknowledges once.
        loop {
            self.interface.poll(instant, &mut self.card, &mut self.sockets);
            if self.card.incoming.is_empty() {
                break;
            }
        }
        for (n, served) in self.served.iter_mut().enumerate() {
            if let Some(socket) = served.socket {
                served.act(n, self.sockets.get_mut(socket));
            }
        }
        self.interface.poll(instant, &mut self.card, &mut self.sockets);
        for packet in std::mem::take(&mut self.card.outgoing) {
            self.send(&packet, clock);
        }
        let inner = self.interface.poll_at(instant, &self.sockets);
        // smoltcp is sometimes sure that there is something to do at once, when there is not.
        let soon = clock.now + Duration::from_millis(1);
        let inner = inner.map(|at| Moment::from_micros(at.total_micros() as u64).max(soon));
        self.deadline = inner.into_iter().chain(self.device.turn(clock, &mut self.outbox)).min();
    }

    fn send(&mut self, packet: &[u8], clock: Clock) {
        let to: IpAddr = match packet[0] >> 4 {
            4 => <[u8; 4]>::try_from(&packet[16..20]).unwrap().into(),
            _ => <[u8; 16]>::try_from(&packet[24..40]).unwrap().into(),
        };
        // Whom else smoltcp may want to talk to, like the neighbours of an IPv6 host, is nobody.
        let _ = self.device.send(to, packet.len(), clock, &mut self.outbox, &mut |place| place.copy_from_slice(packet));
    }
}

impl Served {
    fn act(&mut self, stream: usize, socket: &mut Socket<'_>) {
        let expected = up(stream, self.plan.up);
        while socket.can_recv() {
            let received = self.received;
            let len = socket.recv(|data| {
                assert!(expected[received..].starts_with(data), "stream {stream}: what we sent was changed");
                (data.len(), data.len())
            });
            self.received += len.unwrap();
        }
        let content = down(stream, self.plan.down);
        while socket.can_send() && self.sent < content.len() {
            self.sent += socket.send_slice(&content[self.sent..]).unwrap();
        }
        let complete = self.sent == content.len();
        match self.plan.far {
            Ending::Abort(after) if self.received >= after && socket.may_send() => socket.abort(),
            Ending::First if complete && socket.may_send() => socket.close(),
            Ending::Last | Ending::Abort(_) if complete && socket.state() == State::CloseWait => socket.close(),
            _ => {}
        }
    }
}

/// Makes an answer out of a UDP packet, also of one in fragments; sums stay as they are. `false` if it is none.
fn send_back(packet: &mut [u8]) -> bool {
    let (addresses, half, header, first, protocol) = if packet[0] >> 4 == 4 {
        let first = u16::from_be_bytes([packet[6], packet[7]]) & 0x1fff == 0;
        (12, 4, 20, first, packet[9])
    } else if packet[6] == 44 {
        (8, 16, 48, u16::from_be_bytes([packet[42], packet[43]]) & 0xfff8 == 0, packet[40])
    } else {
        (8, 16, 40, true, packet[6])
    };
    if protocol != 17 {
        return false;
    }
    packet[addresses..addresses + 2 * half].rotate_left(half);
    if first {
        packet[header..header + 4].rotate_left(2);
    }
    true
}

fn interface(card: &mut Card, seed: u64) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut interface = Interface::new(config, card, Instant::ZERO);
    interface.update_ip_addrs(|addresses| {
        addresses.push(IpCidr::new(IpAddr::V4(FAR).into(), 24)).unwrap();
        addresses.push(IpCidr::new(IpAddr::V6(FAR6).into(), 64)).unwrap();
    });
    interface
}

/// What smoltcp takes for a network card.
#[derive(Default)]
struct Card {
    mtu: usize,
    incoming: VecDeque<Vec<u8>>,
    outgoing: Vec<Vec<u8>>,
}

impl phy::Device for Card {
    type RxToken<'a> = Packet;
    type TxToken<'a> = Place<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Packet, Place<'_>)> {
        Some((Packet(self.incoming.pop_front()?), Place(&mut self.outgoing)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Place<'_>> {
        Some(Place(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

struct Packet(Vec<u8>);

impl RxToken for Packet {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

struct Place<'a>(&'a mut Vec<Vec<u8>>);

impl TxToken for Place<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let result = write(&mut packet);
        self.0.push(packet);
        result
    }
}
