//! A whole tunnel in memory: WireGuard below, an IP stack above, time and datagrams as arguments.

use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use rand::CryptoRng;

use crate::stack::{ConnectError, Egress, NoPort, Stack, TcpFlow, UdpFlow};
use crate::{Clock, Device, Moment, Options, Outbox, PeerId};

/// A tunnel without sockets. What comes from the network goes into [`Core::receive`], what [`Core::outbox`] holds goes to
/// the network, and [`Core::turn`] does the rest.
#[derive(Debug)]
pub struct Core {
    device: Device,
    stack: Stack,
    outbox: Outbox,
}

impl Core {
    /// A tunnel that knows its peers, but not where they are. `random` makes keys, ports and sequence numbers, so it has
    /// to be a good source; tests bring a seeded one.
    #[must_use]
    pub fn new(options: &Options, mut random: impl CryptoRng + Send + 'static) -> Self {
        let mut seed = [0; 32];
        random.fill_bytes(&mut seed);
        let stack = Stack::new(options.addresses, options.mtu, seed);
        Self { device: Device::new(options, random), stack, outbox: Outbox::default() }
    }

    /// Takes what came from `from`: datagrams of `stride` bytes one behind the other, the last of which may be shorter. They
    /// are opened where they are.
    pub fn receive(&mut self, from: SocketAddr, bytes: &mut [u8], stride: usize, clock: Clock) {
        for datagram in bytes.chunks_mut(stride.max(1)) {
            if let Some(packet) = self.device.receive(from, datagram, clock, &mut self.outbox) {
                self.stack.receive(packet, clock.now);
            }
        }
    }

    /// Does what is due and lets connections send, as long as [`Outbox::has_room`]. Returns when to come back if nothing
    /// happens before; that is now if there was no room.
    pub fn turn(&mut self, clock: Clock) -> Option<Moment> {
        let Self { device, stack, outbox } = self;
        if device.take_revived() {
            stack.retry(clock.now);
        }
        let inner = stack.turn(clock.now, &mut Sealing { device, outbox, clock });
        let outer = self.device.turn(clock, &mut self.outbox);
        inner.into_iter().chain(outer).min()
    }

    /// Datagrams for the network.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Opens a TCP connection; its SYN goes with the next turn, and asks for a session if there is none.
    ///
    /// # Errors
    /// As [`Stack::connect`].
    pub fn connect(&mut self, to: SocketAddr, clock: Clock) -> Result<TcpFlow, ConnectError> {
        self.stack.connect(to, clock.now)
    }

    /// Opens a UDP socket.
    ///
    /// # Errors
    /// [`NoPort`].
    pub fn bind(&mut self) -> Result<UdpFlow, NoPort> {
        self.stack.bind()
    }

    /// Asks for a session with `peer` unless there is one or one was asked for.
    pub fn rouse(&mut self, peer: PeerId, clock: Clock) {
        self.device.rouse(peer, clock, &mut self.outbox);
    }

    /// The peers.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Tells where a peer is, until it is heard from elsewhere.
    pub fn set_endpoint(&mut self, peer: PeerId, endpoint: SocketAddr) {
        self.device.set_endpoint(peer, endpoint);
    }

    /// Ready when somebody did something to a connection or socket that wants a [`Core::turn`].
    pub fn poll_touched(&self, cx: &Context<'_>) -> Poll<()> {
        self.stack.poll_touched(cx)
    }

    /// Whether there is no connection and no socket, nor the rest of one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stack.is_empty()
    }

    /// Gives back memory that only a busy tunnel needs.
    pub fn shrink(&mut self) {
        self.outbox.shrink();
    }
}

/// Seals what the stack sends, straight into its place in the outbox.
struct Sealing<'a> {
    device: &'a mut Device,
    outbox: &'a mut Outbox,
    clock: Clock,
}

impl Egress for Sealing<'_> {
    fn has_room(&self) -> bool {
        self.outbox.has_room()
    }

    fn send(&mut self, to: IpAddr, len: usize, write: &mut dyn FnMut(&mut [u8])) {
        // Nobody has that address. A dial was told so; an answer of the stack's goes nowhere.
        let _ = self.device.send(to, len, self.clock, self.outbox, write);
    }
}
