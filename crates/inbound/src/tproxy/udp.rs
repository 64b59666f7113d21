//! The UDP side of a transparent listener.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use adit_net::{ClientAddr, Entry, Handler, Packet, Protocol, Task, Transparent, is_own_listener};
use bytes::Bytes;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::answers::{Answers, Way};
use super::batch::{self, Datagram};
use crate::transparent::Door;

/// Ways back that are remembered before those without a flow are forgotten for the first time.
const WAYS: usize = 1024;

/// Bound sockets, one for each family.
#[derive(Debug)]
pub(crate) struct Receiver {
    sockets: Vec<UdpSocket>,
    answers: Arc<Answers>,
}

impl Receiver {
    pub(crate) fn bind(sockets: Transparent, at: SocketAddr) -> io::Result<Self> {
        let mut bound = Vec::new();
        for socket in sockets.udp_tproxy(at)? {
            bound.push(UdpSocket::from_std(socket.into())?);
        }
        Ok(Self { sockets: bound, answers: Arc::new(Answers::new(sockets)) })
    }

    /// Feeds `handler`. Never returns; dropping the future ends it.
    pub(crate) async fn receive<H: Handler>(self, door: Arc<Door>, handler: Arc<H>) {
        let entry = Arc::new(door.entry(Protocol::Tproxy));
        let tasks: Vec<Task<()>> = self
            .sockets
            .into_iter()
            .map(|socket| {
                let ways = Ways::new(Arc::clone(&self.answers));
                let feed = Feed { door: Arc::clone(&door), entry: Arc::clone(&entry), handler: handler.clone(), ways };
                Task::spawn("tproxy udp socket", feed.run(socket))
            })
            .collect();
        for task in tasks {
            task.join().await;
        }
    }
}

/// What one socket's datagrams need on their way to the handler.
struct Feed<H> {
    door: Arc<Door>,
    entry: Arc<Entry>,
    handler: Arc<H>,
    ways: Ways,
}

impl<H: Handler> Feed<H> {
    async fn run(mut self, socket: UdpSocket) {
        let is_ipv4 = socket.local_addr().is_ok_and(|local| local.is_ipv4());
        loop {
            let mut received = 0;
            let outcome = socket.readable().await.and_then(|()| {
                socket.try_io(Interest::READABLE, || {
                    received = batch::receive(&socket, is_ipv4, |datagram| self.take(datagram))?;
                    // Saves asking once more: the next datagram will tell.
                    if received < batch::BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
                })
            });
            match outcome {
                // There is more; but first whoever got these may take them.
                Ok(()) => tokio::task::yield_now().await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    tracing::debug!("receiving datagrams failed: {error}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }

    fn take(&mut self, datagram: Datagram<'_>) {
        let Datagram { from, to, dscp, payload } = datagram;
        let client = ClientAddr::from(from);
        if !self.door.admits(client) {
            return;
        }
        if !is_host(to) || is_own_listener(to) {
            tracing::trace!(%client, %to, "a datagram was dropped: nobody to send it to");
            return;
        }
        self.handler.udp(Packet {
            entry: Arc::clone(&self.entry),
            client,
            target: to.into(),
            dscp,
            payload: Bytes::copy_from_slice(payload),
            back: self.ways.to(from),
        });
    }
}

/// Whether one host may have this address (F-B18). An IPv4-mapped address is never seen on a network (RFC 4038 §4.2).
fn is_host(to: SocketAddr) -> bool {
    let ip = to.ip();
    let other = match ip {
        // RFC 1112 §4: class E; it includes the broadcast address.
        IpAddr::V4(ip) => ip.octets()[0] >= 240,
        IpAddr::V6(ip) => ip.to_ipv4_mapped().is_some(),
    };
    to.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !other
}

/// The ways back by client. They live as long as their flow holds them.
#[derive(Debug)]
struct Ways {
    known: HashMap<SocketAddr, Weak<Way>>,
    forget_at: usize,
    answers: Arc<Answers>,
}

impl Ways {
    fn new(answers: Arc<Answers>) -> Self {
        Self { known: HashMap::new(), forget_at: WAYS, answers }
    }

    fn to(&mut self, client: SocketAddr) -> Arc<Way> {
        if let Some(way) = self.known.get(&client).and_then(Weak::upgrade) {
            return way;
        }
        if self.known.len() >= self.forget_at {
            self.known.retain(|_, way| way.strong_count() > 0);
            // Twice what is in use, so that forgetting costs each newcomer the same, however many there are.
            self.forget_at = WAYS.max(self.known.len() * 2);
        }
        let way = Arc::new(self.answers.way_to(client));
        self.known.insert(client, Arc::downgrade(&way));
        way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F-B18
    #[test]
    fn only_single_hosts_are_targets() {
        for (to, expected) in [
            ("192.0.2.1:53", true),
            ("198.18.0.4:443", true),
            ("[2001:db8::1]:53", true),
            ("192.0.2.1:0", false),
            ("0.0.0.0:53", false),
            ("224.0.0.251:5353", false),
            ("255.255.255.255:67", false),
            ("240.0.0.1:1", false),
            ("[::]:1", false),
            ("[ff02::fb]:5353", false),
            ("[::ffff:192.0.2.1]:53", false),
        ] {
            assert_eq!(is_host(to.parse().unwrap()), expected, "{to}");
        }
    }
}
