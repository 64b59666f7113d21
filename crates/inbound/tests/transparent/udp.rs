//! Datagrams: their destination is known, and answers come from it.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use adit_inbound::Interception;
use adit_net::Target;
use socket2::SockRef;

use crate::net::{Listening, Net, PATIENCE};

fn tproxy() -> (Net, Listening) {
    let net = Net::new();
    let listening = net.listen(Interception::Tproxy, true);
    net.rules_for_tproxy(listening.port);
    (net, listening)
}

fn socket(any: &str) -> UdpSocket {
    let socket = UdpSocket::bind(any).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Checks that an answer comes from where `payload` was sent to.
fn ask(socket: &UdpSocket, to: &str, payload: &str) {
    let to: SocketAddr = to.parse().unwrap();
    socket.send_to(payload.as_bytes(), to).unwrap();
    hear(socket, to, payload);
}

fn hear(socket: &UdpSocket, to: SocketAddr, payload: &str) {
    let mut room = [0; 2048];
    let (length, from) = socket.recv_from(&mut room).unwrap_or_else(|error| panic!("{to}: {error}"));
    assert_eq!(from, to);
    assert_eq!(String::from_utf8_lossy(&room[..length]), format!("{to} {payload}"));
}

/// One socket, many destinations, in both families; then again, when the sockets that answer exist.
#[test]
fn answers_come_from_where_the_client_wrote_to() {
    let (net, listening) = tproxy();
    net.client.run(|| {
        let (v4, v6) = (socket("0.0.0.0:0"), socket("[::]:0"));
        for round in ["first", "second", "third"] {
            for to in ["192.0.2.1:53", "192.0.2.1:54", "198.51.100.7:53"] {
                ask(&v4, to, round);
            }
            for to in ["[2001:db8::1]:53", "[2001:db8::2]:53"] {
                ask(&v6, to, round);
            }
        }
    });
    let seen: Vec<_> = listening.packets.try_iter().collect();
    assert_eq!(seen.len(), 15);
    assert!(seen.iter().all(|(client, target, _)| client.is_ipv4() == target.socket_addr().unwrap().is_ipv4()));
}

#[test]
fn connected_clients_hear_their_peer() {
    let (net, _listening) = tproxy();
    net.client.run(|| {
        for (any, to) in [("0.0.0.0:0", "192.0.2.9:443"), ("[::]:0", "[2001:db8::9]:443")] {
            let socket = socket(any);
            socket.connect(to).unwrap();
            for _ in 0..3 {
                socket.send(b"over").unwrap();
                hear(&socket, to.parse().unwrap(), "over");
            }
        }
    });
}

#[test]
fn the_code_point_is_known() {
    let (net, listening) = tproxy();
    net.client.run(|| {
        let (v4, v6) = (socket("0.0.0.0:0"), socket("[::]:0"));
        for dscp in [0_u32, 46, 63] {
            // The lower two bits are for congestion, RFC 3168 §5.
            SockRef::from(&v4).set_tos_v4(dscp << 2 | 1).unwrap();
            SockRef::from(&v6).set_tclass_v6(dscp << 2 | 2).unwrap();
            ask(&v4, "192.0.2.1:53", "x");
            ask(&v6, "[2001:db8::1]:53", "x");
        }
    });
    let seen: Vec<u8> = listening.packets.try_iter().map(|(_, _, dscp)| dscp).collect();
    assert_eq!(seen, [0, 0, 46, 46, 63, 63]);
}

/// F-B11, F-B12: to the port itself. F-B18: to nobody in particular.
#[test]
fn datagrams_without_a_destination_are_dropped() {
    let (net, listening) = tproxy();
    net.client.run(|| {
        let v4 = socket("0.0.0.0:0");
        for to in ["10.78.0.1", "240.1.2.3"] {
            v4.send_to(b"loop", (to, listening.port)).unwrap();
        }
        ask(&v4, "192.0.2.1:53", "real");
    });
    let seen: Vec<_> = listening.packets.try_iter().map(|(_, target, _)| target).collect();
    assert_eq!(seen, ["192.0.2.1:53".parse::<Target>().unwrap()]);
}

/// F-B14: an address in use is nobody's to answer from; other answers go on.
#[test]
fn an_answer_that_cannot_come_from_its_address_is_dropped() {
    let (net, listening) = tproxy();
    net.gateway.ip("address add 192.0.2.1/32 dev lo");
    let _occupied = net.gateway.run(|| UdpSocket::bind("192.0.2.1:53").unwrap());
    // It stays in the namespace it was made in.
    let v4 = net.client.run(|| socket("0.0.0.0:0"));
    v4.send_to(b"lost", "192.0.2.1:53").unwrap();
    listening.packets.recv_timeout(PATIENCE).unwrap();
    ask(&v4, "192.0.2.2:53", "heard");
    v4.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    v4.recv_from(&mut [0; 64]).unwrap_err();
}

/// Each client socket is a flow; each of them keeps the address that it wrote to.
#[test]
fn five_thousand_flows_keep_their_mapping() {
    const FLOWS: u16 = 5000;
    let (net, listening) = tproxy();
    let destination = |flow: u16| SocketAddr::from(([192, 0, 2, (flow % 250) as u8], 1000 + flow % 16));
    net.client.run(|| {
        let sockets: Vec<UdpSocket> = (0..FLOWS).map(|_| socket("0.0.0.0:0")).collect();
        for round in ["one", "two"] {
            // As many as the receive buffer of one socket surely holds.
            for (first, some) in sockets.chunks(64).enumerate().map(|(at, some)| (at as u16 * 64, some)) {
                for (at, socket) in some.iter().enumerate() {
                    socket.send_to(round.as_bytes(), destination(first + at as u16)).unwrap();
                }
                for (at, socket) in some.iter().enumerate() {
                    hear(socket, destination(first + at as u16), round);
                }
            }
        }
    });
    let clients: std::collections::HashSet<_> = listening.packets.try_iter().map(|(client, ..)| client).collect();
    assert_eq!(clients.len(), usize::from(FLOWS));
}
