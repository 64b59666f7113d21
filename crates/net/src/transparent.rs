//! Sockets for traffic that was meant for somebody else: the kernel hands it to us by REDIRECT or TPROXY.
//!
//! Linux only: `ip(7)` and `ipv6(7)` on `IP_TRANSPARENT` and `IP_FREEBIND`, and the kernel's
//! `Documentation/networking/tproxy.rst`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain as Family, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::unmapped;

/// What the kernel should hold for a socket that receives the datagrams of all clients, while we are busy, in bytes. Its
/// own default is a burst of some ninety.
const KERNEL_BUFFER: usize = 4 * 1024 * 1024;

/// What sockets of a transparent listener carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transparent {
    /// `SO_MARK` of the listening socket, and so of every connection it accepts, and of sockets that answer; 0 sets
    /// none. Host rules tell our own packets by it.
    pub mark: u32,
}

impl Transparent {
    /// A listening socket that is handed connections whose destination was rewritten (REDIRECT). Needs no privilege
    /// without a mark. `[::]` is dual-stack, as in [`listen`](crate::listen).
    ///
    /// # Errors
    /// The system's error (address in use, not permitted, not ours).
    pub fn listen_redirected(self, at: SocketAddr) -> io::Result<TcpListener> {
        self.listen(at, false)
    }

    /// A listening socket that TPROXY may hand connections to any address. An accepted connection's local address is
    /// where the client wanted to go.
    ///
    /// # Errors
    /// As [`Transparent::listen_redirected`]; without `CAP_NET_ADMIN` or `CAP_NET_RAW` it is not permitted.
    pub fn listen_tproxy(self, at: SocketAddr) -> io::Result<TcpListener> {
        self.listen(at, true)
    }

    /// UDP sockets that TPROXY may hand datagrams to any address: one for each family that `at` means, so `[::]` gives
    /// two. Non-blocking; they report original destination and traffic class as control messages.
    ///
    /// A socket serves one family only, because the control messages of both differ in size.
    ///
    /// # Errors
    /// As [`Transparent::listen_tproxy`].
    pub fn udp_tproxy(self, at: SocketAddr) -> io::Result<Vec<Socket>> {
        let at = unmapped(at);
        if at.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            return Ok(vec![self.udp_receiver(at)?]);
        }
        let v4 = self.udp_receiver(SocketAddr::from((Ipv4Addr::UNSPECIFIED, at.port())))?;
        let port = local_addr(&v4)?.port();
        match self.udp_receiver(SocketAddr::new(at.ip(), port)) {
            Ok(v6) => Ok(vec![v4, v6]),
            Err(error) if is_without_ipv6(&error) => Ok(vec![v4]),
            Err(error) => Err(error),
        }
    }

    /// A UDP socket that sends from `from`, which is an address of somebody else. Non-blocking, not connected.
    ///
    /// Connected, it would be handed what its peer sends next (`nf_tproxy_get_sock_v4` prefers a connected socket to
    /// the listener), and a socket per client would be needed.
    ///
    /// # Errors
    /// The system's error: the address is in use by a socket of this host that does not share it, or not permitted.
    pub fn answering_from(self, from: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Family::for_address(from), Type::DGRAM, Some(Protocol::UDP))?;
        self.prepare(&socket, from, true)?;
        // Two listeners may answer from one address.
        socket.set_reuse_address(true)?;
        if from.is_ipv4() {
            socket.set_freebind_v4(true)?;
        } else {
            socket.set_freebind_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&from.into())?;
        Ok(socket)
    }

    fn listen(self, at: SocketAddr, transparent: bool) -> io::Result<TcpListener> {
        let at = unmapped(at);
        let any_v6 = at.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        match self.bound(at, Type::STREAM, transparent, !any_v6) {
            Ok(socket) => {
                socket.listen(4096)?;
                TcpListener::from_std(socket.into())
            }
            Err(error) if any_v6 && is_without_ipv6(&error) => {
                self.listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, at.port())), transparent)
            }
            Err(error) => Err(error),
        }
    }

    fn udp_receiver(self, at: SocketAddr) -> io::Result<Socket> {
        let socket = self.bound(at, Type::DGRAM, true, true)?;
        // Less is no reason to fail.
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, KERNEL_BUFFER).is_err() {
            let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
        }
        if at.is_ipv4() {
            socket.set_recv_tos_v4(true)?;
            nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Ipv4OrigDstAddr, &true)?;
        } else {
            socket.set_recv_tclass_v6(true)?;
            nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Ipv6OrigDstAddr, &true)?;
        }
        Ok(socket)
    }

    fn bound(self, at: SocketAddr, kind: Type, transparent: bool, only_v6: bool) -> io::Result<Socket> {
        let socket = Socket::new(Family::for_address(at), kind, None)?;
        self.prepare(&socket, at, transparent)?;
        if at.is_ipv6() {
            socket.set_only_v6(only_v6)?;
        }
        if kind == Type::STREAM {
            socket.set_reuse_address(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&at.into())?;
        Ok(socket)
    }

    /// One flag of the kernel's socket stands behind both options, but each checks the level it is set at.
    fn prepare(self, socket: &Socket, at: SocketAddr, transparent: bool) -> io::Result<()> {
        if self.mark != 0 {
            socket.set_mark(self.mark)?;
        }
        match (transparent, at.is_ipv4()) {
            (false, _) => Ok(()),
            (true, true) => socket.set_ip_transparent_v4(true),
            (true, false) => socket.set_ip_transparent_v6(true),
        }
    }
}

/// Where a connection that REDIRECT rewrote was going (`SO_ORIGINAL_DST`, `IP6T_SO_ORIGINAL_DST`), unmapped.
///
/// For a connection that was not rewritten this is our own address.
///
/// # Errors
/// The kernel does not know the connection: it does no connection tracking here.
pub fn original_destination(stream: &TcpStream) -> io::Result<SocketAddr> {
    let socket = SockRef::from(stream);
    // A dual-stack socket asks for an IPv4 client's connection at the IPv4 level.
    let original = match unmapped(stream.peer_addr()?) {
        SocketAddr::V4(_) => socket.original_dst_v4()?,
        SocketAddr::V6(_) => socket.original_dst_v6()?,
    };
    original.as_socket().map(unmapped).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

fn local_addr(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::Unsupported.into())
}

/// The kernel was built, booted or configured without IPv6.
fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}
