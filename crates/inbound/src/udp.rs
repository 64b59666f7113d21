//! The UDP side of SOCKS5: one socket per listener, for the clients that hold an association.
//!
//! The socket has the listener's port number and is shared by all associations, so that a single published port (a
//! container, a port forward) is enough. RFC 1928 §7 wants a datagram to come from the address of the client that asked;
//! here that is its IP address, because many clients do not know the port they will send from, or stand behind NAT.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use adit_net::{ClientAddr, Entry, Handler, Packet, ReturnPath, Shutdown, Target};
use bytes::Bytes;
use socket2::{SockAddr, SockRef};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpStream, UdpSocket};

use crate::socks5::wire;

/// Ways back that are remembered at once. One more, and those that no flow uses are forgotten.
const MAX_WAYS: usize = 1024;

/// The largest datagram.
const MAX_DATAGRAM: usize = 65_535;

/// The UDP socket of a listener, and who may use it.
#[derive(Debug)]
pub(crate) struct Associations {
    /// Whoever receives owns it, so that the port is free once the listener has ended.
    socket: Weak<UdpSocket>,
    peers: Mutex<HashMap<IpAddr, Peer>>,
}

#[derive(Debug)]
struct Peer {
    presence: Arc<Presence>,
    /// How its latest association came in.
    entry: Arc<Entry>,
}

/// How many associations an IP address holds. Ways back keep it, so that they die with the last association and live
/// again with the next.
#[derive(Debug, Default)]
struct Presence(AtomicUsize);

/// One client's right to use the UDP socket, which ends with this value.
#[derive(Debug)]
pub(crate) struct Association {
    associations: Arc<Associations>,
    ip: IpAddr,
}

impl Associations {
    pub(crate) fn new(socket: &Arc<UdpSocket>) -> Self {
        Self { socket: Arc::downgrade(socket), peers: Mutex::default() }
    }

    /// Lets datagrams from `client`'s IP address in.
    pub(crate) fn admit(self: &Arc<Self>, client: ClientAddr, entry: Entry) -> Association {
        let entry = Arc::new(entry);
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() > MAX_WAYS {
            peers.retain(|_, peer| !peer.is_forgotten());
        }
        let peer = peers.entry(client.ip()).or_insert_with(|| Peer { presence: Arc::default(), entry: entry.clone() });
        peer.entry = entry;
        peer.presence.0.fetch_add(1, Ordering::Relaxed);
        Association { associations: self.clone(), ip: client.ip() }
    }

    fn peer(&self, ip: IpAddr) -> Option<(Arc<Presence>, Arc<Entry>)> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = peers.get(&ip)?;
        peer.presence.is_live().then(|| (peer.presence.clone(), peer.entry.clone()))
    }

    /// Feeds `handler` with what admitted clients send. Never returns.
    ///
    /// # Cancel safety
    /// At most one datagram is lost.
    pub(crate) async fn receive<H: Handler>(self: Arc<Self>, socket: Arc<UdpSocket>, handler: Arc<H>) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut ways = Ways::default();
        loop {
            let (length, from) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!("receiving a datagram failed: {error}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            };
            let client = ClientAddr::from(from);
            let Some((presence, entry)) = self.peer(client.ip()) else {
                tracing::debug!(%client, "a datagram without an association was dropped");
                continue;
            };
            let datagram = buffer.get(..length).unwrap_or_default();
            match wire::datagram(datagram) {
                Ok((target, payload)) => handler.udp(Packet {
                    entry,
                    client,
                    target,
                    dscp: 0,
                    payload: Bytes::copy_from_slice(payload),
                    back: ways.to(from, presence, &self),
                }),
                Err(why) => tracing::debug!(%client, "a datagram was dropped: {why}"),
            }
        }
    }
}

impl Peer {
    fn is_forgotten(&self) -> bool {
        !self.presence.is_live() && Arc::strong_count(&self.presence) == 1
    }
}

impl Presence {
    fn is_live(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Association {
    /// Waits until the client ends its TCP connection, RFC 1928 §6: the association ends with it. What it sends there
    /// means nothing. A listener that ends takes its UDP socket along, so that the client learns of it here.
    pub(crate) async fn hold(self, mut control: TcpStream, shutdown: &Shutdown) {
        let mut ignored = [0; 64];
        let held = async { while control.read(&mut ignored).await.is_ok_and(|n| n > 0) {} };
        tokio::select! {
            () = held => {}
            () = shutdown.started() => {}
        }
    }
}

impl Drop for Association {
    fn drop(&mut self) {
        let mut peers = self.associations.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = peers.get(&self.ip) {
            peer.presence.0.fetch_sub(1, Ordering::Relaxed);
            if peer.is_forgotten() {
                peers.remove(&self.ip);
            }
        }
    }
}

/// The ways back by source address, so that a datagram costs no allocation but its payload.
#[derive(Default)]
struct Ways(HashMap<SocketAddr, Arc<Way>>);

impl Ways {
    fn to(&mut self, client: SocketAddr, presence: Arc<Presence>, through: &Arc<Associations>) -> Arc<Way> {
        if let Some(way) = self.0.get(&client)
            && Arc::ptr_eq(&way.presence, &presence)
        {
            return way.clone();
        }
        if self.0.len() >= MAX_WAYS {
            self.0.retain(|_, way| Arc::strong_count(way) > 1);
        }
        if self.0.len() >= MAX_WAYS {
            self.0.clear();
        }
        let way = Arc::new(Way { associations: through.clone(), presence, client: client.into() });
        self.0.insert(client, way.clone());
        way
    }
}

/// The way back to one socket of a client.
struct Way {
    associations: Arc<Associations>,
    presence: Arc<Presence>,
    /// As the socket spelled it: IPv4-mapped on a dual-stack one.
    client: SockAddr,
}

impl ReturnPath for Way {
    fn send(&self, from: &Target, payload: &[u8]) -> io::Result<()> {
        let socket = self.associations.socket.upgrade().filter(|_| self.presence.is_live());
        let Some(socket) = socket else {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the association has ended"));
        };
        let mut room = [0; wire::MAX_UDP_HEADER];
        let header = wire::datagram_header(from, &mut room);
        let whole = [IoSlice::new(header), IoSlice::new(payload)];
        // A full socket, a datagram too large for the header in front of it, an unreachable client: lost, as on a network.
        let _ = SockRef::from(&*socket).send_to_vectored(&whole, &self.client);
        Ok(())
    }
}
