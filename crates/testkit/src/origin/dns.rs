//! A DNS server that knows what it is told.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::home;
use super::tcp::TcpOrigin;

/// RFC 1035 §4.2.1; this server knows no EDNS.
const UDP_LIMIT: usize = 512;

const A: u16 = 1;
const AAAA: u16 = 28;

/// Answers A and AAAA questions over UDP and TCP. It does not know other names (NXDOMAIN), and has nothing of other types.
///
/// An answer that is too long for UDP is cut there, so a client that wants it must come again over TCP.
#[derive(Debug)]
pub struct DnsOrigin {
    tcp: TcpOrigin,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    zone: Mutex<HashMap<String, Vec<IpAddr>>>,
    asked: Mutex<Vec<Query>>,
    stop: AtomicBool,
}

/// A question that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// In lower case, without a dot at the end.
    pub name: String,
    /// 1 for A, 28 for AAAA.
    pub kind: u16,
    /// Whether it came over TCP.
    pub tcp: bool,
}

impl DnsOrigin {
    /// Starts one that knows `zone`, on a port of its own choice.
    #[must_use]
    pub fn start(zone: &[(&str, IpAddr)]) -> Self {
        for _ in 0..100 {
            if let Some(origin) = Self::start_on(crate::free_port(), zone) {
                return origin;
            }
        }
        panic!("no port is free for TCP and UDP");
    }

    /// Starts one on port 53, which only a lab's server side has free for certain.
    ///
    /// # Panics
    /// When it is not free.
    #[must_use]
    pub fn start_on_53(zone: &[(&str, IpAddr)]) -> Self {
        Self::start_on(53, zone).expect("port 53, in a namespace of a lab")
    }

    fn start_on(port: u16, zone: &[(&str, IpAddr)]) -> Option<Self> {
        let (v4, v6) = home();
        let addresses: [SocketAddr; 2] = [(v4, port).into(), (v6, port).into()];
        let listeners = [TcpListener::bind(addresses[0]).ok()?, TcpListener::bind(addresses[1]).ok()?];
        let sockets = [UdpSocket::bind(addresses[0]).ok()?, UdpSocket::bind(addresses[1]).ok()?];
        let shared = Arc::new(Shared::default());
        for (name, address) in zone {
            shared.zone.lock().expect("a zone").entry(name.to_ascii_lowercase()).or_default().push(*address);
        }
        for socket in sockets {
            let shared = Arc::clone(&shared);
            thread::spawn(move || serve_udp(&socket, &shared));
        }
        let ours = Arc::clone(&shared);
        let tcp = TcpOrigin::on(listeners, move |mut stream| {
            let mut length = [0; 2];
            while stream.read_exact(&mut length).is_ok() {
                let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
                let Ok(()) = stream.read_exact(&mut question) else { return };
                let Some(answer) = ours.answer(&question, true) else { return };
                let length = (answer.len() as u16).to_be_bytes();
                if stream.write_all(&[&length[..], &answer].concat()).is_err() {
                    return;
                }
            }
        });
        Some(Self { tcp, shared })
    }

    /// Gives `name` these addresses from now on; none makes it unknown.
    pub fn set(&self, name: &str, addresses: &[IpAddr]) {
        let mut zone = self.shared.zone.lock().expect("a zone");
        if addresses.is_empty() {
            zone.remove(&name.to_ascii_lowercase());
        } else {
            zone.insert(name.to_ascii_lowercase(), addresses.to_vec());
        }
    }

    /// The questions so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Query> {
        self.shared.asked.lock().expect("a record").clone()
    }

    /// The IPv4 address, of UDP and TCP.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.tcp.addr()
    }

    /// The IPv6 address, of UDP and TCP.
    #[must_use]
    pub fn addr_v6(&self) -> SocketAddr {
        self.tcp.addr_v6()
    }
}

impl Drop for DnsOrigin {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn serve_udp(socket: &UdpSocket, shared: &Shared) {
    let _ = socket.set_read_timeout(Some(Duration::from_millis(200)));
    let mut buffer = [0; 4096];
    while !shared.stop.load(Ordering::Relaxed) {
        let Ok((n, from)) = socket.recv_from(&mut buffer) else { continue };
        if let Some(answer) = shared.answer(&buffer[..n], false) {
            let _ = socket.send_to(&answer, from);
        }
    }
}

impl Shared {
    /// The answer to a message; `None` when it is no question.
    fn answer(&self, message: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let (question, query) = read_question(message, tcp)?;
        self.asked.lock().expect("a record").push(query.clone());
        let zone = self.zone.lock().expect("a zone");
        let addresses = zone.get(&query.name);
        let records: Vec<Vec<u8>> = addresses.into_iter().flatten().filter_map(|ip| record(query.kind, *ip)).collect();
        // RFC 1035 §4.1.1: a response, authoritative, recursion as desired and available; 3 is "no such name".
        let code = if addresses.is_some() { 0 } else { 3 };
        let flags = 0x8480 | u16::from(message[2] & 1) << 8 | code;
        let answer = assemble(&message[..2], flags, question, &records);
        if tcp || answer.len() <= UDP_LIMIT {
            return Some(answer);
        }
        Some(assemble(&message[..2], flags | 0x0200, question, &[]))
    }
}

/// Splits a message into its only question, as it is written and as it is meant.
fn read_question(message: &[u8], tcp: bool) -> Option<(&[u8], Query)> {
    let one_question = message.get(4..6)? == [0, 1];
    let is_query = message.get(2)? & 0xf8 == 0;
    let mut rest = message.get(12..).filter(|_| one_question && is_query)?;
    let mut labels = Vec::new();
    loop {
        let (&length, after) = rest.split_first()?;
        if length == 0 {
            rest = after;
            break;
        }
        // A question comes first, so nothing before it can be pointed at.
        let (label, after) = after.split_at_checked(usize::from(length)).filter(|_| length < 64)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        rest = after;
    }
    let kind = u16::from_be_bytes(rest.get(..2)?.try_into().ok()?);
    let end = message.len() - rest.len() + 4;
    Some((message.get(12..end)?, Query { name: labels.join("."), kind, tcp }))
}

/// A record for the name of the question, if `ip` is of the type that was asked for (RFC 1035 §4.1.3).
fn record(kind: u16, ip: IpAddr) -> Option<Vec<u8>> {
    let data = match (kind, ip) {
        (A, IpAddr::V4(v4)) => v4.octets().to_vec(),
        (AAAA, IpAddr::V6(v6)) => v6.octets().to_vec(),
        _ => return None,
    };
    let pointer_to_question = [0xc0, 12];
    let class_in = [0, 1];
    let lifetime = 60_u32.to_be_bytes();
    let length = (data.len() as u16).to_be_bytes();
    Some([&pointer_to_question[..], &kind.to_be_bytes(), &class_in, &lifetime, &length, &data].concat())
}

fn assemble(id: &[u8], flags: u16, question: &[u8], records: &[Vec<u8>]) -> Vec<u8> {
    let count = (records.len() as u16).to_be_bytes();
    [id, &flags.to_be_bytes(), &[0, 1], &count, &[0; 4], question, &records.concat()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    /// A question for `name`, with an id and the wish for recursion.
    fn question(name: &str, kind: u16) -> Vec<u8> {
        let mut bytes = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label.as_bytes());
        }
        bytes.push(0);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 1]);
        bytes
    }

    fn ask(origin: &DnsOrigin, name: &str, kind: u16) -> Vec<u8> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.send_to(&question(name, kind), origin.addr()).unwrap();
        let mut buffer = [0; UDP_LIMIT];
        let n = socket.recv(&mut buffer).unwrap();
        buffer[..n].to_vec()
    }

    #[test]
    fn it_answers_what_it_knows() {
        let (v4, v6) = (Ipv4Addr::new(192, 0, 2, 7), Ipv6Addr::LOCALHOST);
        let origin = DnsOrigin::start(&[("a.test", v4.into()), ("a.test", v6.into()), ("four.test", v4.into())]);
        let answer = ask(&origin, "A.Test", A);
        assert_eq!(answer[..8], [0xab, 0xcd, 0x85, 0x80, 0, 1, 0, 1]);
        assert!(answer.ends_with(&[0, 4, 192, 0, 2, 7]));
        assert!(ask(&origin, "a.test", AAAA).ends_with(&v6.octets()));
        assert_eq!(ask(&origin, "four.test", AAAA)[2..8], [0x85, 0x80, 0, 1, 0, 0]);
        assert_eq!(ask(&origin, "b.test", A)[2..8], [0x85, 0x83, 0, 1, 0, 0]);
        origin.set("b.test", &[v4.into()]);
        assert!(ask(&origin, "b.test", A).ends_with(&v4.octets()));
        assert_eq!(origin.asked()[0], Query { name: "a.test".to_owned(), kind: A, tcp: false });
    }

    #[test]
    fn long_answers_need_tcp() {
        let addresses: Vec<IpAddr> = (0..40).map(|n| Ipv4Addr::new(192, 0, 2, n).into()).collect();
        let origin = DnsOrigin::start(&[]);
        origin.set("many.test", &addresses);
        assert_eq!(ask(&origin, "many.test", A)[2..8], [0x87, 0x80, 0, 1, 0, 0]);
        let mut stream = std::net::TcpStream::connect(origin.addr()).unwrap();
        let question = question("many.test", A);
        stream.write_all(&[&(question.len() as u16).to_be_bytes()[..], &question].concat()).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer[2..8], [0x85, 0x80, 0, 1, 0, 40]);
    }

    #[test]
    fn nonsense_is_not_answered() {
        let shared = Shared::default();
        let whole = question("a.test", A);
        assert!(shared.answer(&whole, true).is_some());
        for cut in 0..whole.len() {
            assert!(shared.answer(&whole[..cut], true).is_none(), "{cut}");
        }
    }
}
