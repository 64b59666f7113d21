//! The lab of a gateway, with the kernel alone.

use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use adit_testkit::lab::gateway::{CLIENT_V4, CLIENT_V6, EXIT_V4, EXIT_V6, GatewayLab, LAN, WAN_V4, WAN_V6, WanWatch};
use adit_testkit::lab::{Namespace, ORIGIN_V4, ORIGIN_V6};
use adit_testkit::origin::{DnsOrigin, QuicOrigin, TcpOrigin, UdpOrigin, quic_echo};

const PATIENCE: Duration = Duration::from_secs(5);

/// An origin that tells each client its address.
fn who() -> TcpOrigin {
    TcpOrigin::start(|mut stream| {
        let peer = stream.peer_addr().unwrap().ip().to_string();
        let _ = std::io::Write::write_all(&mut stream, peer.as_bytes());
    })
}

fn seen_as(place: &Namespace, to: SocketAddr) -> IpAddr {
    let mut stream = place.run(|| TcpStream::connect_timeout(&to, PATIENCE).unwrap());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    heard.parse().unwrap()
}

fn send(place: &Namespace, to: impl Into<IpAddr>, port: u16) {
    let to = SocketAddr::new(to.into(), port);
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    place.run(|| UdpSocket::bind(any).unwrap().send_to(b"x", to).unwrap());
}

#[test]
fn origins_see_who_comes_from_where() {
    let lab = GatewayLab::new();
    let (near, far) = (lab.internet().run(who), lab.exit().run(who));
    assert_eq!((near.addr().ip(), near.addr_v6().ip()), (ORIGIN_V4.into(), ORIGIN_V6.into()));
    assert_eq!((far.addr().ip(), far.addr_v6().ip()), (EXIT_V4.into(), EXIT_V6.into()));
    for (place, v4, v6) in [(lab.client(), CLIENT_V4, CLIENT_V6), (lab.gateway(), WAN_V4, WAN_V6)] {
        for origin in [&near, &far] {
            assert_eq!(seen_as(place, origin.addr()), IpAddr::from(v4));
            assert_eq!(seen_as(place, origin.addr_v6()), IpAddr::from(v6));
        }
    }
    assert_eq!(seen_as(lab.exit(), near.addr()), IpAddr::from(EXIT_V4));
    assert_eq!(seen_as(lab.exit(), near.addr_v6()), IpAddr::from(EXIT_V6));
    let (udp, quic) = lab.internet().run(|| (UdpOrigin::mirror(), QuicOrigin::start()));
    lab.client().run(|| {
        let socket = UdpSocket::bind("[::]:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(b"datagram", udp.addr_v6()).unwrap();
        let mut room = [0; 64];
        let (n, from) = socket.recv_from(&mut room).unwrap();
        let us = socket.local_addr().unwrap().port();
        assert_eq!(String::from_utf8_lossy(&room[..n]), format!("[{CLIENT_V6}]:{us} datagram"));
        assert_eq!(from, udp.addr_v6());
        for to in [quic.addr(), quic.addr_v6()] {
            assert_eq!(quic_echo(to, b"stream").unwrap(), b"stream");
        }
    });
    assert_eq!(
        quic.clients().iter().map(SocketAddr::ip).collect::<Vec<_>>(),
        [IpAddr::from(CLIENT_V4), IpAddr::from(CLIENT_V6)]
    );
}

/// What `watch` took down, in order.
fn lines(watch: &WanWatch) -> Vec<String> {
    let mut lines: Vec<String> = watch.seen().iter().map(ToString::to_string).collect();
    lines.sort();
    lines
}

#[test]
fn what_leaves_is_taken_down() {
    let lab = GatewayLab::new();
    let wan = lab.watch_wan(&[(EXIT_V4, 443).into(), (EXIT_V6, 443).into()]);
    let dns = lab.watch_dns();
    for place in [lab.client(), lab.gateway()] {
        send(place, EXIT_V4, 443);
        send(place, EXIT_V6, 443);
        // Stays on this side.
        send(lab.client(), std::net::Ipv4Addr::new(10, 78, 0, 1), 53);
    }
    wan.assert_silent("allowed");
    send(lab.client(), EXIT_V4, 53);
    send(lab.client(), EXIT_V4, 53);
    send(lab.gateway(), ORIGIN_V6, 853);
    assert!(lab.gateway().run(|| TcpStream::connect_timeout(&(EXIT_V4, 444).into(), PATIENCE)).is_err());
    let to_dns = ["1 × udp from 2001:db8:113::2 to [2001:db8::1]:853", "2 × udp from 10.78.0.2 to 198.51.100.2:53"];
    assert_eq!(lines(&dns), to_dns);
    let everything = ["1 × tcp from 203.0.113.2 to 198.51.100.2:444", to_dns[0], to_dns[1]];
    assert_eq!(lines(&wan), everything);
    lab.apply(&format!("ping -c 1 -W 5 {ORIGIN_V6}"));
    assert!(lines(&wan).iter().any(|line| line.ends_with("to [2001:db8::1]:0")), "{:?}", lines(&wan));
}

#[test]
#[should_panic(expected = "1 × udp from 10.78.0.2 to 192.0.2.1:7")]
fn a_leak_is_named() {
    let lab = GatewayLab::new();
    let wan = lab.watch_wan(&[]);
    send(lab.client(), ORIGIN_V4, 7);
    wan.assert_silent("here");
}

#[test]
fn scripts_run_on_the_gateway() {
    let lab = GatewayLab::new();
    let dns = lab.internet().run(|| DnsOrigin::start_on_53(&[("direct.test", ORIGIN_V4.into())]));
    lab.apply(&format!("test \"$(dig +short +timeout=5 @{} direct.test)\" = {ORIGIN_V4}", dns.addr().ip()));
    let chain = "chain inet wall wall { type filter hook forward priority 0; }";
    lab.apply(&format!("nft 'add table inet wall; add {chain}; add rule inet wall wall iifname {LAN} drop'"));
    assert!(lab.client().run(|| TcpStream::connect_timeout(&dns.addr(), Duration::from_millis(100))).is_err());
    assert_eq!(dns.asked().len(), 1);
}
