//! The lab with a kernel as the client.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use adit_testkit::lab::{Lab, ORIGIN_V4, OUTER_CLIENT_V4, OUTER_SERVER_V4, PeerOptions, with_name_server};
use adit_testkit::origin::{DnsOrigin, TcpOrigin};
use adit_testkit::programs;

/// Sends and gets its bytes back.
pub(crate) fn exchange(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(b"over and back")?;
    let mut back = [0; 13];
    stream.read_exact(&mut back)?;
    assert_eq!(&back, b"over and back");
    Ok(())
}

fn echoes(to: SocketAddr) {
    exchange(TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap()).unwrap();
}

#[test]
fn a_kernel_reaches_an_origin_through_the_tunnel_over_both_families() {
    let lab = Lab::new();
    let echo = lab.inside(TcpOrigin::echo);
    for v6 in [false, true] {
        let peer = lab.peer(PeerOptions::default());
        let endpoint = if v6 { peer.endpoint_v6() } else { peer.endpoint_v4() };
        let watch = lab.watch(&[endpoint]);
        let _tunnel = lab.kernel_tunnel(&peer.route().through(endpoint));
        lab.client().run(|| {
            echoes(echo.addr());
            echoes(echo.addr_v6());
        });
        let stats = peer.stats();
        assert!(stats.received > 500 && stats.last_handshake.is_some(), "{stats:?}");
        assert_eq!(stats.endpoint.map(|from| from.is_ipv6()), Some(v6));
        assert_eq!(watch.leaks(), 0);
        assert!(watch.tunnelled() > 10);
    }
}

#[test]
fn what_goes_around_the_tunnel_is_counted_and_goes_nowhere() {
    let lab = Lab::new();
    let peer = lab.peer(PeerOptions::default());
    let echo = lab.inside(TcpOrigin::echo);
    lab.client().run(|| echoes(echo.addr()));
    let watch = lab.watch(&[peer.endpoint_v4()]);
    for around in [echo.addr(), echo.addr_v6(), peer.endpoint_v6()] {
        let before = watch.leaks();
        let reached = lab.client().run(|| TcpStream::connect_timeout(&around, Duration::from_millis(100)));
        assert!(reached.is_err());
        assert!(watch.leaks() > before);
    }
    assert_eq!(watch.tunnelled(), 0);
    drop(watch);
    lab.client().run(|| echoes(echo.addr()));
}

#[test]
fn a_peer_restarts_and_a_link_comes_back() {
    let lab = Lab::new();
    let mut peer = lab.peer(PeerOptions { pre_shared_key: true, ..PeerOptions::default() });
    let echo = lab.inside(TcpOrigin::echo);
    let route = peer.route().through(peer.endpoint_v6());
    assert!(route.pre_shared_key.is_some());
    let tunnel = lab.kernel_tunnel(&route);
    lab.client().run(|| echoes(echo.addr()));
    drop(tunnel);
    peer.restart();
    assert_eq!(peer.stats(), adit_testkit::lab::Stats::default());
    lab.plug(false);
    let unreachable = lab.client().run(|| TcpStream::connect_timeout(&echo.addr(), Duration::from_secs(5)));
    assert!(unreachable.is_err());
    lab.plug(true);
    let _tunnel = lab.kernel_tunnel(&route);
    lab.client().run(|| echoes(echo.addr_v6()));
    assert!(peer.stats().last_handshake.is_some());
}

#[test]
fn a_packet_of_our_own_making_comes_out_of_the_tunnel() {
    let lab = Lab::new();
    let peer = lab.peer(PeerOptions::default());
    let echo = lab.inside(TcpOrigin::echo);
    let route = peer.route();
    let _tunnel = lab.kernel_tunnel(&route);
    let v4 = route.v4.unwrap();
    let socket = lab.client().run(|| {
        echoes(echo.addr());
        UdpSocket::bind((v4, 0)).unwrap()
    });
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // IPv4 from 10.66.0.1, UDP from port 9 without a checksum.
    let port = socket.local_addr().unwrap().port().to_be_bytes();
    let header = [0x45, 0, 0, 31, 0, 1, 0, 0, 64, 17, 0, 0, 10, 66, 0, 1];
    let packet = [&header[..], &v4.octets(), &[0, 9], &port, &[0, 11, 0, 0], b"raw"].concat();
    peer.inject(v4.into(), &packet);
    let mut buffer = [0; 16];
    let (n, from) = socket.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..n], from), (&b"raw"[..], SocketAddr::from(([10, 66, 0, 1], 9))));
}

#[test]
fn programs_on_the_client_side_can_have_a_name_server() {
    let lab = Lab::new();
    let dns = lab.inside(|| DnsOrigin::start_on_53(&[("moving.test", ORIGIN_V4.into())]));
    let mut python = Command::new("python3");
    python.args(["-c", "import os, socket; print(socket.gethostbyname('moving.test'), os.environ['A'])"]).env("A", "b");
    let mut wrapped = with_name_server(&python, dns.addr().ip());
    let said = lab.client().run(|| programs::run(&mut wrapped));
    assert_eq!(said.ok(), format!("{ORIGIN_V4} b"));
}

#[test]
fn telling_a_peer_that_the_program_has_ended_is_no_leak() {
    let lab = Lab::new();
    let watch = lab.watch(&[]);
    let closed = lab.client().run(|| UdpSocket::bind((OUTER_CLIENT_V4, 0)).unwrap().local_addr().unwrap());
    lab.inside(|| {
        let late = UdpSocket::bind((OUTER_SERVER_V4, 0)).unwrap();
        late.connect(closed).unwrap();
        late.send(b"late").unwrap();
        late.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        assert_eq!(late.recv(&mut [0; 16]).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
    assert_eq!(watch.leaks(), 0);
}
