//! The IP stack inside the tunnel: TCP connections that we open, UDP sockets, and the ICMP that belongs to them.
//!
//! Sans-IO: [`Stack::receive`] takes packets, [`Stack::turn`] gives packets away, time is an argument. The faces of
//! connections and sockets ([`TcpFlow`], [`UdpFlow`]) are for other threads: each has a lock of its own and a place in
//! the queue of what the next turn looks at.
//!
//! Nothing walks over all connections. A packet finds its own in a hash map; a turn visits those that a packet, a user or
//! a timer touched, each for a quantum.
//!
//! It is a host that serves nobody: it opens connections and accepts none.

mod checksum;
mod endpoint;
mod flow;
mod fragment;
mod icmp;
mod packet;
mod ready;
mod reset;
pub mod tcp;
#[cfg(test)]
mod tests;
mod tokens;
mod udp;

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::task::{Context, Poll};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustc_hash::FxHashMap;
use smoltcp::wire::{IpAddress, IpProtocol, TcpPacket, UdpPacket};

use self::endpoint::{Endpoint, Turn};
use self::flow::{Flow, FlowKey};
use self::fragment::Reassembly;
use self::icmp::{Message, Report};
use self::packet::Inner;
use self::ready::Ready;
use self::tokens::Tokens;
use self::udp::{Sending, UdpSocket, source};
use crate::Moment;
use crate::options::{Addresses, Mtu};

pub use self::flow::{ConnectError, TcpFlow};
pub use self::udp::{MAX_PAYLOAD, NoPort, UdpFlow};

/// Where packets go.
pub trait Egress {
    /// Whether more packets are welcome. One that is sent regardless is not lost.
    fn has_room(&self) -> bool;

    /// Sends a packet of `len` bytes to `to`. `write` gets its place, zeroed, at most once; it is not called if there is
    /// no way to send to `to`.
    fn send(&mut self, to: IpAddr, len: usize, write: &mut dyn FnMut(&mut [u8]));
}

/// A flow that its user did something to.
pub(crate) enum Touched {
    Tcp(Arc<Flow>),
    Udp(Arc<UdpSocket>),
}

/// The stack.
pub struct Stack {
    addresses: Addresses,
    mtu: usize,
    random: StdRng,
    flows: FxHashMap<FlowKey, Arc<Flow>>,
    sockets: FxHashMap<u16, Arc<UdpSocket>>,
    /// At most one entry for each flow.
    timers: BTreeSet<(Moment, FlowKey)>,
    /// Who is to be visited, in turn.
    round: VecDeque<Touched>,
    ready: Arc<Ready>,
    reassembly: Reassembly,
    /// Answers of the stack itself.
    replies: VecDeque<(IpAddr, Vec<u8>)>,
    tokens: Tokens,
    /// Of the last packet that may be taken apart.
    ident: u32,
    scratch: Vec<u8>,
    #[cfg(test)]
    pub(crate) visits: usize,
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("flows", &self.flows.len())
            .field("sockets", &self.sockets.len())
            .finish_non_exhaustive()
    }
}

impl Drop for Stack {
    /// Nobody carries the packets of what is still open, so its users have to know.
    fn drop(&mut self) {
        self.flows.values().for_each(|flow| flow.fail());
        self.sockets.values().for_each(|socket| socket.fail());
    }
}

impl Stack {
    /// Linux' `ip_local_port_range`.
    const PORTS: RangeInclusive<u16> = 32_768..=60_999;
    /// What a flow may send before the next has its turn. Its user waits while it is sealed, so little; more would not be cheaper.
    const QUANTUM: usize = 12 << 10;
    /// The longest packet there is.
    const LONGEST: usize = 65_535;

    /// A stack without any flow. `seed` makes ports and initial sequence numbers, so it has to be a good one.
    #[must_use]
    pub fn new(addresses: Addresses, mtu: Mtu, seed: [u8; 32]) -> Self {
        let mut random = StdRng::from_seed(seed);
        Self {
            addresses,
            mtu: mtu.bytes().into(),
            ident: random.random(),
            random,
            flows: FxHashMap::default(),
            sockets: FxHashMap::default(),
            timers: BTreeSet::new(),
            round: VecDeque::new(),
            ready: Ready::shared(),
            reassembly: Reassembly::default(),
            replies: VecDeque::new(),
            tokens: Tokens::full(),
            scratch: vec![0; Self::LONGEST],
            #[cfg(test)]
            visits: 0,
        }
    }

    /// Opens a TCP connection. The SYN goes with the next turn.
    ///
    /// # Errors
    /// [`ConnectError::NoAddress`], [`ConnectError::NoPort`], or [`ConnectError::Unreachable`] for what is not the address
    /// of a host, or port 0.
    pub fn connect(&mut self, to: SocketAddr, now: Moment) -> Result<TcpFlow, ConnectError> {
        let local = source(self.addresses, to.ip()).ok_or(ConnectError::NoAddress(to))?;
        let address = IpAddress::from(to.ip());
        if to.port() == 0 || !address.is_unicast() {
            return Err(ConnectError::Unreachable);
        }
        let flows = &self.flows;
        let free = |port: &u16| !flows.contains_key(&FlowKey { port: *port, remote: to });
        let port = free_port(&mut self.random, free).ok_or(ConnectError::NoPort(to))?;
        let local = SocketAddr::new(local, port);
        let endpoint = Endpoint::open(local, to, self.mtu, self.random.random(), now);
        let key = FlowKey { port, remote: to };
        let flow = Arc::new(Flow::new(key, endpoint, self.ready.clone(), now));
        self.flows.insert(key, flow.clone());
        self.schedule(&flow);
        Ok(TcpFlow(flow))
    }

    /// Opens a UDP socket.
    ///
    /// # Errors
    /// [`NoPort`].
    pub fn bind(&mut self) -> Result<UdpFlow, NoPort> {
        let sockets = &self.sockets;
        let port = free_port(&mut self.random, |port| !sockets.contains_key(port)).ok_or(NoPort)?;
        let socket = Arc::new(UdpSocket::new(port, self.addresses, self.ready.clone()));
        self.sockets.insert(port, socket.clone());
        Ok(UdpFlow(socket))
    }

    /// The way was gone for everybody and is back: what was under way is sent again now, not when its timer fires, which
    /// by then may be a minute away.
    pub fn retry(&mut self, now: Moment) {
        for flow in self.flows.values() {
            flow.retry(now);
            if flow.schedule() {
                self.round.push_back(Touched::Tcp(flow.clone()));
            }
        }
    }

    /// Ready when a user did something that wants a [`Stack::turn`]. Nothing is lost between this and waiting.
    pub fn poll_touched(&self, cx: &Context<'_>) -> Poll<()> {
        self.ready.poll(cx)
    }

    /// Whether there is no flow, nor the rest of one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty() && self.sockets.is_empty()
    }

    /// Takes an IP packet from the tunnel. What is not sound, or not for us, is dropped (F-G12).
    pub fn receive(&mut self, packet: &mut [u8], now: Moment) {
        let Some(inner) = Inner::parse(packet) else { return };
        if source(self.addresses, inner.to) != Some(inner.to) || inner.from == inner.to {
            return;
        }
        if inner.fragment.is_none() {
            self.deliver(&inner, now);
        } else if let Some(whole) = self.reassembly.add(&inner, now)
            && let Some(inner) = Inner::parse(&whole)
        {
            self.deliver(&inner, now);
        }
    }

    fn deliver(&mut self, inner: &Inner<'_>, now: Moment) {
        match inner.protocol {
            IpProtocol::Tcp => self.on_tcp(inner, now),
            IpProtocol::Udp => self.on_udp(inner),
            IpProtocol::Icmp | IpProtocol::Icmpv6 => self.on_icmp(inner, now),
            _ => {}
        }
    }

    fn on_tcp(&mut self, inner: &Inner<'_>, now: Moment) {
        let Ok(tcp) = TcpPacket::new_checked(inner.payload) else { return };
        if checksum::with_pseudo_header(inner.from, inner.to, IpProtocol::Tcp, inner.payload) != 0xffff {
            return;
        }
        let key = FlowKey { port: tcp.dst_port(), remote: SocketAddr::new(inner.from, tcp.src_port()) };
        if let Some(flow) = self.flows.get(&key) {
            flow.receive(&tcp, now);
            if flow.schedule() {
                self.round.push_back(Touched::Tcp(flow.clone()));
            }
        } else if !tcp.rst() && self.tokens.take(now) {
            self.replies.extend(reset::answer(inner, &tcp).map(|packet| (inner.from, packet)));
        }
    }

    fn on_udp(&self, inner: &Inner<'_>) {
        let Ok(udp) = UdpPacket::new_checked(inner.payload) else { return };
        let Some(datagram) = inner.payload.get(..usize::from(udp.len())) else { return };
        // RFC 768: there may be none; not so with IPv6 (RFC 8200 §8.1).
        let unsummed = udp.checksum() == 0 && inner.to.is_ipv4();
        if !unsummed && checksum::with_pseudo_header(inner.from, inner.to, IpProtocol::Udp, datagram) != 0xffff {
            return;
        }
        if let Some(socket) = self.sockets.get(&udp.dst_port()) {
            socket.receive(SocketAddr::new(inner.from, udp.src_port()), udp.payload());
        }
    }

    fn on_icmp(&mut self, inner: &Inner<'_>, now: Moment) {
        let (report, quote) = match Message::parse(inner) {
            Some(Message::Ping(answer)) if answer.len() <= self.mtu && self.tokens.take(now) => {
                self.replies.push_back((inner.from, answer));
                return;
            }
            Some(Message::Error(report, quote)) => (report, quote),
            Some(Message::Ping(_)) | None => return,
        };
        if source(self.addresses, quote.from) != Some(quote.from) {
            return;
        }
        match (quote.protocol, report) {
            (IpProtocol::Tcp, report) => {
                let Some(flow) = self.flows.get(&FlowKey { port: quote.port, remote: quote.remote }) else { return };
                match report {
                    Report::TooBig(mtu) => flow.too_big(quote.sequence, usize::try_from(mtu).unwrap_or(usize::MAX)),
                    Report::Unreachable(why) => {
                        if flow.unreachable(quote.sequence, why) && flow.schedule() {
                            self.round.push_back(Touched::Tcp(flow.clone()));
                        }
                    }
                }
            }
            (IpProtocol::Udp, Report::Unreachable(ConnectError::Refused)) => {
                if let Some(socket) = self.sockets.get(&quote.port) {
                    socket.refused(quote.remote);
                }
            }
            _ => {}
        }
    }

    /// Visits all that was touched or whose time has come, in turn, until nothing is left to do or there is no room.
    /// Returns when to come back if nothing happens before; that is `now` if there was no room.
    pub fn turn(&mut self, now: Moment, egress: &mut dyn Egress) -> Option<Moment> {
        self.fire(now);
        self.ready.drain_into(&mut self.round);
        while egress.has_room() {
            if let Some((to, packet)) = self.replies.pop_front() {
                egress.send(to, packet.len(), &mut |place| place.copy_from_slice(&packet));
                continue;
            }
            if self.round.is_empty() {
                self.ready.drain_into(&mut self.round);
            }
            match self.round.pop_front() {
                Some(Touched::Tcp(flow)) => self.visit_flow(flow, now, egress),
                Some(Touched::Udp(socket)) => self.visit_socket(socket, egress),
                None => break,
            }
        }
        if self.round.is_empty() && self.replies.is_empty() {
            self.timers.first().map(|(at, _)| *at)
        } else {
            Some(now)
        }
    }

    fn visit_flow(&mut self, flow: Arc<Flow>, now: Moment, egress: &mut dyn Egress) {
        #[cfg(test)]
        {
            self.visits += 1;
        }
        let visit = flow.visit(&mut Turn { now, quantum: Self::QUANTUM, egress });
        let (old, new) = visit.timer;
        if old != new {
            old.map(|at| self.timers.remove(&(at, flow.key)));
            new.map(|at| self.timers.insert((at, flow.key)));
        }
        if visit.over {
            // A user may hold on to a connection that is over, and somebody else have its port by now.
            if self.flows.get(&flow.key).is_some_and(|other| Arc::ptr_eq(other, &flow)) {
                self.flows.remove(&flow.key);
            }
        } else if visit.again {
            self.schedule(&flow);
        }
    }

    fn visit_socket(&mut self, socket: Arc<UdpSocket>, egress: &mut dyn Egress) {
        let mut sending = Sending {
            quantum: Self::QUANTUM,
            mtu: self.mtu,
            ident: &mut self.ident,
            scratch: &mut self.scratch,
            egress,
        };
        match socket.visit(&mut sending) {
            Some(true) if socket.schedule() => self.round.push_back(Touched::Udp(socket)),
            Some(_) => {}
            None => {
                self.sockets.remove(&socket.port);
            }
        }
    }

    /// Puts those whose time has come into the round.
    fn fire(&mut self, now: Moment) {
        while let Some(&(at, key)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            let Some(flow) = self.flows.get(&key) else { continue };
            match flow.fired(now) {
                Ok(()) if flow.schedule() => self.round.push_back(Touched::Tcp(flow.clone())),
                Ok(()) | Err(None) => {}
                Err(Some(at)) => {
                    self.timers.insert((at, key));
                }
            }
        }
    }

    fn schedule(&mut self, flow: &Arc<Flow>) {
        if flow.schedule() {
            self.round.push_back(Touched::Tcp(flow.clone()));
        }
    }
}

/// Any port of [`Stack::PORTS`] that is free, from a random one upwards.
fn free_port(random: &mut StdRng, free: impl Fn(&u16) -> bool) -> Option<u16> {
    let first = random.random_range(Stack::PORTS);
    (first..=*Stack::PORTS.end()).chain(*Stack::PORTS.start()..first).find(free)
}
