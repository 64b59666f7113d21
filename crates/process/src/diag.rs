//! One socket, by its addresses: `sock_diag(7)` and `include/uapi/linux/inet_diag.h`.
//!
//! ```text
//!  request                                     answer
//!  0   nlmsghdr (16)                           0   nlmsghdr (16)
//!  16  family, protocol, extensions, padding   16  family, state, timer, retransmissions
//!  20  states                                  20  id, as in the request
//!  24  id: ports, addresses, interface, cookie 68  expires, receive queue, send queue
//!  72                                          80  uid, inode
//! ```
//!
//! Numbers are the host's, ports and addresses the network's.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use adit_net::Network;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const REQUEST: usize = 72;

/// The kernel answers at once; this is for one that does not.
const PATIENCE: Duration = Duration::from_millis(200);

/// What the kernel knows of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The user that made it.
    pub uid: u32,
    /// Its number among open files; never 0.
    pub inode: u32,
}

/// Asks the kernel. Both addresses unmapped; the kernel finds dual-stack sockets by their IPv4 addresses.
pub(crate) fn find(local: SocketAddr, remote: SocketAddr, network: Network) -> Option<Found> {
    let request = request(local, remote, network)?;
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG)).ok()?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE)).ok()?;
    send(&socket, &request, SendFlags::empty()).ok()?;
    let mut room = [0_u8; 1024];
    let (_, length) = recv(&socket, &mut room[..], RecvFlags::empty()).ok()?;
    answer(room.get(..length)?, local, remote, network)
}

/// The request for one socket; `None` for addresses of two families, which no socket has.
fn request(local: SocketAddr, remote: SocketAddr, network: Network) -> Option<[u8; REQUEST]> {
    let family = match (local, remote) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) => AF_INET,
        (SocketAddr::V6(_), SocketAddr::V6(_)) => AF_INET6,
        _ => return None,
    };
    // UDP looks a socket up as if by a packet that it receives: udp_dump_one() in net/ipv4/udp_diag.c.
    let (protocol, source, destination) = match network {
        Network::Tcp => (IPPROTO_TCP, local, remote),
        Network::Udp => (IPPROTO_UDP, remote, local),
    };
    let mut request = [0; REQUEST];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(room) = request.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
    };
    put(0, &(REQUEST as u32).to_ne_bytes());
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(6, &NLM_F_REQUEST.to_ne_bytes());
    put(16, &[family, protocol]);
    put(20, &u32::MAX.to_ne_bytes());
    put(24, &source.port().to_be_bytes());
    put(26, &destination.port().to_be_bytes());
    for (at, ip) in [(28, source.ip()), (44, destination.ip())] {
        match ip {
            IpAddr::V4(ip) => put(at, &ip.octets()),
            IpAddr::V6(ip) => put(at, &ip.octets()),
        }
    }
    // INET_DIAG_NOCOOKIE: any socket that matches.
    put(64, &[0xff; 8]);
    Some(request)
}

/// Reads an answer to a question about `local` and `remote`; `None` for an error, another socket, or nonsense.
#[must_use]
pub fn answer(bytes: &[u8], local: SocketAddr, remote: SocketAddr, network: Network) -> Option<Found> {
    let u16_at = |at: usize| bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes);
    let u32_at = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    if u16_at(4)? != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    // For a TCP connection that is gone the kernel finds the listener on its port, which has no peer.
    let (source, destination) = (u16::from_be(u16_at(20)?), u16::from_be(u16_at(22)?));
    if source != local.port() || network == Network::Tcp && destination != remote.port() {
        return None;
    }
    let found = Found { uid: u32_at(80)?, inode: u32_at(84)? };
    // A socket that was closed and still says goodbye.
    (found.inode != 0).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_or_refused_wherever_they_are_cut() {
        let (local, remote) = ("127.0.0.1:258".parse().unwrap(), "127.0.0.1:772".parse().unwrap());
        let mut bytes = [0_u8; 88];
        bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        bytes[20..24].copy_from_slice(&[1, 2, 3, 4]);
        bytes[80..84].copy_from_slice(&1000_u32.to_ne_bytes());
        bytes[84..88].copy_from_slice(&77_u32.to_ne_bytes());
        let found = Some(Found { uid: 1000, inode: 77 });
        assert_eq!(answer(&bytes, local, remote, Network::Tcp), found);
        for length in 0..bytes.len() {
            assert_eq!(answer(&bytes[..length], local, remote, Network::Tcp), None);
        }
        let other = "127.0.0.1:9".parse().unwrap();
        assert_eq!(answer(&bytes, local, other, Network::Tcp), None);
        assert_eq!(answer(&bytes, local, other, Network::Udp), found);
        assert_eq!(answer(&bytes, other, remote, Network::Udp), None);
    }
}
