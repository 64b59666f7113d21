//! Clients that speak to a proxy byte by byte. They wait at most ten seconds for anything.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

/// How long a client waits for an answer of the proxy or the far end.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Where to, as a client writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// An address and port.
    Addr(SocketAddr),
    /// A name and port.
    Name(String, u16),
}

impl To {
    /// A name and port.
    #[must_use]
    pub fn name(name: &str, port: u16) -> Self {
        Self::Name(name.to_owned(), port)
    }

    /// As SOCKS5 writes it (RFC 1928 §5).
    #[must_use]
    pub fn socks5(&self) -> Vec<u8> {
        let (mut bytes, port) = match self {
            Self::Addr(addr) => match addr.ip() {
                IpAddr::V4(ip) => ([&[1][..], &ip.octets()].concat(), addr.port()),
                IpAddr::V6(ip) => ([&[4][..], &ip.octets()].concat(), addr.port()),
            },
            Self::Name(name, port) => ([&[3, name.len() as u8][..], name.as_bytes()].concat(), *port),
        };
        bytes.extend_from_slice(&port.to_be_bytes());
        bytes
    }
}

impl From<SocketAddr> for To {
    fn from(addr: SocketAddr) -> Self {
        Self::Addr(addr)
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => addr.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

fn open(proxy: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(proxy)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn refused(what: &str, answer: &[u8]) -> io::Error {
    io::Error::other(format!("{what} refused: {answer:02x?}"))
}

/// Reads one SOCKS5 address (RFC 1928 §5).
fn read_socks5_address(stream: &mut impl Read) -> io::Result<To> {
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    let mut name = Vec::new();
    match kind[0] {
        1 => name.resize(4, 0),
        4 => name.resize(16, 0),
        3 => {
            let mut length = [0];
            stream.read_exact(&mut length)?;
            name.resize(usize::from(length[0]), 0);
        }
        other => return Err(io::Error::other(format!("address type {other}"))),
    }
    stream.read_exact(&mut name)?;
    let mut port = [0; 2];
    stream.read_exact(&mut port)?;
    let port = u16::from_be_bytes(port);
    Ok(match kind[0] {
        1 => To::Addr((<[u8; 4]>::try_from(&name[..]).map_err(io::Error::other)?, port).into()),
        4 => To::Addr((<[u8; 16]>::try_from(&name[..]).map_err(io::Error::other)?, port).into()),
        _ => To::Name(String::from_utf8_lossy(&name).into_owned(), port),
    })
}

/// A SOCKS5 CONNECT.
///
/// # Errors
/// The socket's, or the proxy's refusal with its bytes.
pub fn socks5(proxy: SocketAddr, to: &To) -> io::Result<TcpStream> {
    let mut stream = open(proxy)?;
    stream.write_all(&[5, 1, 0])?;
    let mut method = [0; 2];
    stream.read_exact(&mut method)?;
    if method != [5, 0] {
        return Err(refused("method", &method));
    }
    stream.write_all(&[&[5, 1, 0][..], &to.socks5()].concat())?;
    let mut head = [0; 3];
    stream.read_exact(&mut head)?;
    if head != [5, 0, 0] {
        return Err(refused("CONNECT", &head));
    }
    read_socks5_address(&mut stream)?;
    Ok(stream)
}

/// An HTTP CONNECT.
///
/// # Errors
/// The socket's, or the proxy's refusal with its head.
pub fn http_connect(proxy: SocketAddr, to: &To) -> io::Result<TcpStream> {
    let mut stream = open(proxy)?;
    write!(stream, "CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n")?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    if text.split_ascii_whitespace().nth(1) != Some("200") {
        return Err(io::Error::other(text));
    }
    Ok(stream)
}

/// Sends `bytes` to the proxy in one piece, half-closes if `fin`, and returns everything that comes back within `patience` or until
/// the proxy closes. The flag says whether it closed.
///
/// # Errors
/// The connect's. A reset counts as closing.
pub fn raw(proxy: SocketAddr, bytes: &[u8], fin: bool, patience: Duration) -> io::Result<(Vec<u8>, bool)> {
    let mut stream = open(proxy)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(bytes)?;
    if fin {
        stream.shutdown(std::net::Shutdown::Write)?;
    }
    let mut answer = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok((answer, true)),
            Ok(n) => answer.extend_from_slice(&buffer[..n]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok((answer, false));
            }
            Err(_) => return Ok((answer, true)),
        }
    }
}

/// A SOCKS5 UDP association.
#[derive(Debug)]
pub struct Association {
    control: TcpStream,
    socket: UdpSocket,
    relay: SocketAddr,
}

impl Association {
    /// Opens one.
    ///
    /// # Errors
    /// The socket's, or the proxy's refusal.
    pub fn open(proxy: SocketAddr) -> io::Result<Self> {
        let mut control = open(proxy)?;
        control.write_all(&[5, 1, 0])?;
        let mut method = [0; 2];
        control.read_exact(&mut method)?;
        control.write_all(&[5, 3, 0, 1, 0, 0, 0, 0, 0, 0])?;
        let mut head = [0; 3];
        control.read_exact(&mut head)?;
        if head != [5, 0, 0] {
            return Err(refused("UDP ASSOCIATE", &head));
        }
        let To::Addr(mut relay) = read_socks5_address(&mut control)? else {
            return Err(io::Error::other("the relay's address is a name"));
        };
        // RFC 1928 §6 lets a server say 0.0.0.0 for "where you reached me".
        if relay.ip().is_unspecified() {
            relay.set_ip(proxy.ip());
        }
        let socket = UdpSocket::bind((proxy.ip(), 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { control, socket, relay })
    }

    /// Where the proxy takes datagrams.
    #[must_use]
    pub fn relay(&self) -> SocketAddr {
        self.relay
    }

    /// The socket that datagrams leave from.
    #[must_use]
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// The socket's.
    pub fn send(&self, to: &To, payload: &[u8]) -> io::Result<()> {
        let datagram = [&[0, 0, 0][..], &to.socks5(), payload].concat();
        self.socket.send_to(&datagram, self.relay).map(drop)
    }

    /// Receives one datagram.
    ///
    /// # Errors
    /// The socket's, also when nothing comes for [`PATIENCE`].
    pub fn receive(&self) -> io::Result<(To, Vec<u8>)> {
        let mut buffer = vec![0; 65_536];
        let (n, from) = self.socket.recv_from(&mut buffer)?;
        if from != self.relay {
            return Err(io::Error::other(format!("a datagram from {from} instead of the relay")));
        }
        let mut rest = &buffer[..n];
        let mut head = [0; 3];
        rest.read_exact(&mut head)?;
        let from = read_socks5_address(&mut rest)?;
        Ok((from, rest.to_vec()))
    }

    /// Sends until an answer comes, at most five times, because datagrams may be lost before a path is up.
    ///
    /// # Errors
    /// The last one's.
    pub fn ask(&self, to: &To, payload: &[u8]) -> io::Result<(To, Vec<u8>)> {
        self.socket.set_read_timeout(Some(Duration::from_secs(3)))?;
        let mut last = io::Error::other("nothing was sent");
        for _ in 0..5 {
            self.send(to, payload)?;
            match self.receive() {
                Ok(answer) => return Ok(answer),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The TCP connection that keeps it alive.
    pub fn control(&mut self) -> &mut TcpStream {
        &mut self.control
    }
}
