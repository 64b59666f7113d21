//! The one socket factory.
//!
//! Every socket of ours that leaves the machine is made here, so that a routing mark or an interface can never be
//! missing from one of them (a missing mark is a routing loop).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain as Family, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

/// What an outbound's sockets carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// `SO_MARK`; 0 sets none.
    pub mark: u32,
    /// `SO_BINDTODEVICE`.
    pub interface: Option<String>,
    /// TCP keep-alive.
    pub keep_alive: KeepAlive,
}

/// TCP keep-alive, on both legs of every connection: first probe after `idle`, then every `interval`, four in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Silence before the first probe; zero turns keep-alive off.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { idle: Duration::from_secs(15), interval: Duration::from_secs(15) }
    }
}

impl KeepAlive {
    /// Sets it on a connected socket. Failure is not worth a connection, so it is ignored.
    pub fn apply(&self, stream: &TcpStream) {
        if self.idle.is_zero() {
            return;
        }
        let probes = TcpKeepalive::new().with_time(self.idle).with_interval(self.interval).with_retries(4);
        let _ = SockRef::from(stream).set_tcp_keepalive(&probes);
    }
}

impl SocketOptions {
    /// Opens a TCP connection to one address. No deadline of its own.
    ///
    /// # Errors
    /// The system's error, among them the one for a mark or interface that we may not set.
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket.
    pub async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        self.mark_and_bind(SockRef::from(&socket), Some(to.ip()))?;
        socket.set_nodelay(true)?;
        let stream = socket.connect(to).await?;
        self.keep_alive.apply(&stream);
        Ok(stream)
    }

    /// A UDP socket for both families where the kernel has IPv6, otherwise for IPv4.
    ///
    /// IPv4 destinations must be given to it as IPv4-mapped when it is a v6 socket; [`to_family_of`] does that.
    ///
    /// # Errors
    /// As [`SocketOptions::connect`].
    pub fn udp(&self) -> io::Result<UdpSocket> {
        let socket = match Socket::new(Family::IPV6, Type::DGRAM, Some(Protocol::UDP)) {
            Ok(socket) if socket.set_only_v6(false).is_ok() => {
                match socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()) {
                    Ok(()) => socket,
                    Err(_) => Self::udp_v4()?,
                }
            }
            _ => Self::udp_v4()?,
        };
        self.mark_and_bind(SockRef::from(&socket), None)?;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket.into())
    }

    /// A UDP socket for the family of `to` alone, for whoever knows all the places it talks to.
    ///
    /// # Errors
    /// As [`SocketOptions::connect`]; also where the kernel lacks that family.
    pub fn udp_of_family(&self, to: IpAddr) -> io::Result<UdpSocket> {
        let any = if to.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        let at = SocketAddr::new(any, 0);
        let socket = Socket::new(Family::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
        if at.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&at.into())?;
        self.mark_and_bind(SockRef::from(&socket), Some(to))?;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket.into())
    }

    fn udp_v4() -> io::Result<Socket> {
        let socket = Socket::new(Family::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
        Ok(socket)
    }

    fn mark_and_bind(&self, socket: SockRef<'_>, to: Option<IpAddr>) -> io::Result<()> {
        if self.mark != 0 {
            socket.set_mark(self.mark)?;
        }
        // A loopback target is not reachable through another interface; users expect 127.0.0.1 to go on working.
        if let Some(interface) = &self.interface
            && !to.is_some_and(|ip| ip.is_loopback())
        {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        Ok(())
    }
}

/// A listening TCP socket with `SO_REUSEADDR`. `[::]` is dual-stack; where the kernel has no IPv6 it becomes `0.0.0.0`.
///
/// # Errors
/// The system's error (address in use, not permitted, not ours).
pub fn listen(at: SocketAddr) -> io::Result<TcpListener> {
    let socket = bound(at, Type::STREAM)?;
    socket.listen(4096)?;
    TcpListener::from_std(socket.into())
}

/// A bound UDP socket for an inbound. `[::]` as in [`listen`].
///
/// # Errors
/// As [`listen`].
pub fn listen_udp(at: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::from_std(bound(at, Type::DGRAM)?.into())
}

fn bound(at: SocketAddr, kind: Type) -> io::Result<Socket> {
    let any_v6 = at.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let socket = match Socket::new(Family::for_address(at), kind, None) {
        Ok(socket) => socket,
        Err(_) if any_v6 => return bound(SocketAddr::from((Ipv4Addr::UNSPECIFIED, at.port())), kind),
        Err(error) => return Err(error),
    };
    if at.is_ipv6() {
        socket.set_only_v6(!any_v6)?;
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    match socket.bind(&at.into()) {
        Ok(()) => Ok(socket),
        Err(error) if any_v6 && error.kind() == io::ErrorKind::AddrNotAvailable => {
            bound(SocketAddr::from((Ipv4Addr::UNSPECIFIED, at.port())), kind)
        }
        Err(error) => Err(error),
    }
}

/// `to` in the family that `socket` speaks: IPv4 becomes IPv4-mapped for a v6 socket.
#[must_use]
pub fn to_family_of(local: SocketAddr, to: SocketAddr) -> SocketAddr {
    match (local, to.ip()) {
        (SocketAddr::V6(_), IpAddr::V4(ip)) => SocketAddr::from((ip.to_ipv6_mapped(), to.port())),
        _ => to,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// The budget: first probe after 15 s, every 15 s, four in all; configuration overrides.
    #[tokio::test]
    async fn both_ends_get_keep_alive_and_no_delay() {
        let listener = listen(any("127.0.0.1:0")).unwrap();
        let keep_alive = KeepAlive { idle: Duration::from_secs(40), interval: Duration::from_secs(7) };
        for (given, idle, interval) in [(KeepAlive::default(), 15, 15), (keep_alive, 40, 7)] {
            let options = SocketOptions { keep_alive: given, ..SocketOptions::default() };
            let stream = options.connect(listener.local_addr().unwrap()).await.unwrap();
            let socket = SockRef::from(&stream);
            assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(idle));
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(interval));
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
        }
        let off = KeepAlive { idle: Duration::ZERO, ..KeepAlive::default() };
        let options = SocketOptions { keep_alive: off, ..SocketOptions::default() };
        let stream = options.connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(!SockRef::from(&stream).keepalive().unwrap());
    }

    /// F-B13: a mark or an interface that cannot be set is an error, never a socket without it.
    #[tokio::test]
    async fn a_mark_or_interface_is_set_or_the_socket_fails() {
        let listener = listen(any("127.0.0.1:0")).unwrap();
        let marked = SocketOptions { mark: 0x2d, ..SocketOptions::default() };
        match marked.connect(listener.local_addr().unwrap()).await {
            Ok(stream) => assert_eq!(SockRef::from(&stream).mark().unwrap(), 0x2d),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
        match marked.udp() {
            Ok(socket) => assert_eq!(SockRef::from(&socket).mark().unwrap(), 0x2d),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
        let elsewhere = SocketOptions { interface: Some("no-such-if0".into()), ..SocketOptions::default() };
        elsewhere.udp().unwrap_err();
        elsewhere.connect(any("192.0.2.1:9")).await.unwrap_err();
        // Loopback stays reachable.
        elsewhere.connect(listener.local_addr().unwrap()).await.unwrap();
    }

    #[tokio::test]
    async fn an_unspecified_listener_serves_both_families() {
        let listener = listen(any("[::]:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        let options = SocketOptions::default();
        options.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.unwrap();
        if listener.local_addr().unwrap().is_ipv6() {
            options.connect(SocketAddr::from((Ipv6Addr::LOCALHOST, port))).await.unwrap();
        }
        assert_eq!(listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn a_udp_socket_of_one_family_speaks_that_one() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(peer) = listen_udp(any(at)) else { continue };
            let to = peer.local_addr().unwrap();
            let ours = SocketOptions::default().udp_of_family(to.ip()).unwrap();
            assert_eq!(ours.local_addr().unwrap().is_ipv4(), to.is_ipv4());
            ours.send_to(b"ping", to).await.unwrap();
            assert_eq!(peer.recv_from(&mut [0; 8]).await.unwrap().0, 4);
        }
        let elsewhere = SocketOptions { interface: Some("no-such-if0".into()), ..SocketOptions::default() };
        elsewhere.udp_of_family(any("192.0.2.1:9").ip()).unwrap_err();
    }

    #[tokio::test]
    async fn one_udp_socket_reaches_both_families() {
        let ours = SocketOptions::default().udp().unwrap();
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(peer) = listen_udp(any(at)) else { continue };
            let to = to_family_of(ours.local_addr().unwrap(), peer.local_addr().unwrap());
            ours.send_to(b"ping", to).await.unwrap();
            let mut got = [0; 8];
            let (n, from) = peer.recv_from(&mut got).await.unwrap();
            assert_eq!(&got[..n], b"ping");
            peer.send_to(b"pong", from).await.unwrap();
            let (_, from) = ours.recv_from(&mut got).await.unwrap();
            assert_eq!(crate::unmapped(from), peer.local_addr().unwrap());
        }
    }
}
