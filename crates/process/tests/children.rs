//! Sockets of programs that the test starts.

#![expect(clippy::unwrap_used, reason = "this is all test")]

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use adit_net::Network;
use adit_process::Processes;

/// A shell that opens a socket and holds it until it is killed.
struct Shell(Child);

impl Shell {
    fn start(protocol: &str, to: SocketAddr) -> Self {
        let script = format!("exec 3<>/dev/{protocol}/{}/{}; echo hello >&3; read", to.ip(), to.port());
        Self(Command::new("bash").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap())
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_connection_belongs_to_who_opened_it() {
    for at in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(at).unwrap();
        let to = listener.local_addr().unwrap();
        let shell = Shell::start("tcp", to);
        let (_stream, from) = listener.accept().unwrap();
        let processes = Processes::new();
        // The second answer is remembered.
        for _ in 0..2 {
            let owner = processes.owner(from, to, Network::Tcp).unwrap();
            assert_eq!(owner.uid, rustix::process::getuid().as_raw());
            let program = owner.program.unwrap();
            assert_eq!((program.pid, program.name.as_str()), (shell.0.id(), "bash"));
            assert!(program.path.ends_with("/bash"));
        }
        // The other end is ours.
        let ours = processes.owner(to, from, Network::Tcp).unwrap().program.unwrap();
        assert_eq!(ours.pid, std::process::id());
    }
}

#[test]
fn a_datagram_belongs_to_who_sent_it() {
    for at in ["127.0.0.1:0", "[::1]:0"] {
        let socket = UdpSocket::bind(at).unwrap();
        let to = socket.local_addr().unwrap();
        let shell = Shell::start("udp", to);
        let (_, from) = socket.recv_from(&mut [0; 16]).unwrap();
        let program = Processes::new().owner(from, to, Network::Udp).unwrap().program.unwrap();
        assert_eq!(program.pid, shell.0.id());
    }
}

/// A socket that is connected to nobody, and one that speaks IPv4 by the other family.
#[test]
fn unconnected_and_dual_stack_sockets_are_found() {
    let processes = Processes::new();
    let unconnected = UdpSocket::bind("0.0.0.0:0").unwrap();
    let local = SocketAddr::from(([127, 0, 0, 1], unconnected.local_addr().unwrap().port()));
    let owner = processes.owner(local, "192.0.2.1:53".parse().unwrap(), Network::Udp).unwrap();
    assert_eq!(owner.program.unwrap().pid, std::process::id());

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = TcpStream::connect(format!("[::ffff:127.0.0.1]:{port}")).unwrap();
    let owner = processes.owner(client.local_addr().unwrap(), client.peer_addr().unwrap(), Network::Tcp).unwrap();
    assert_eq!(owner.program.unwrap().pid, std::process::id());
}

/// A program with thousands of sockets is looked through once, not once for each: several ask at a time, as a host's flows do.
#[test]
fn thousands_of_sockets_of_one_program_are_found_with_one_look() {
    const SOCKETS: usize = 4000;
    adit_net::raise_descriptor_limit().unwrap();
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = server.local_addr().unwrap();
    let sockets: Vec<UdpSocket> = (0..SOCKETS).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let processes = Processes::new();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for some in sockets.chunks(SOCKETS / 4) {
            let processes = &processes;
            scope.spawn(move || {
                for socket in some {
                    let owner = processes.owner(socket.local_addr().unwrap(), to, Network::Udp).unwrap();
                    assert_eq!(owner.program.unwrap().pid, std::process::id());
                }
            });
        }
    });
    // Looking through all files for each takes far longer.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn nobody_has_what_is_not_there() {
    let processes = Processes::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    // Its port listens, but there is no such connection.
    assert_eq!(processes.owner(at, "127.0.0.1:9".parse().unwrap(), Network::Tcp), None);
    assert_eq!(processes.owner("192.0.2.1:9".parse().unwrap(), at, Network::Tcp), None);
    assert_eq!(processes.owner("[::1]:9".parse().unwrap(), at, Network::Udp), None);
}
