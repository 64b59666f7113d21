//! Connections: every one says where its client wanted to go.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};

use adit_inbound::{BindError, Interception, TransparentInbound, TransparentOptions};
use adit_net::Protocol;

use crate::net::{Listening, Net, PATIENCE, options};

/// What somebody who connects to `to` is told.
fn told(to: SocketAddr) -> String {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = String::new();
    // A refused connection may end with a reset.
    let _ = stream.read_to_string(&mut heard);
    heard
}

fn check(net: &Net, listening: &Listening, protocol: Protocol) {
    for to in ["192.0.2.1:443", "[2001:db8::1]:80"] {
        assert_eq!(net.client.run(|| told(to.parse().unwrap())), to);
        let session = listening.sessions.recv_timeout(PATIENCE).unwrap();
        assert_eq!(session.target.to_string(), to);
        assert_eq!(session.entry.protocol, protocol);
        assert_eq!(session.entry.local.port(), listening.port);
        assert!(["10.78.0.2", "fd78::2"].contains(&session.client.ip().to_string().as_str()));
    }
}

#[test]
fn redirected_connections_know_their_destination() {
    let net = Net::new();
    let listening = net.listen(Interception::Redirect, false);
    net.rules(&format!(
        "table inet test {{
            chain prerouting {{
            type nat hook prerouting priority dstnat;
            iifname lan tcp dport {{ 80, 443 }} redirect to :{}
        }}
        }}",
        listening.port
    ));
    check(&net, &listening, Protocol::Redir);
}

#[test]
fn tproxied_connections_know_their_destination() {
    let net = Net::new();
    let listening = net.listen(Interception::Tproxy, false);
    net.rules_for_tproxy(listening.port);
    check(&net, &listening, Protocol::Tproxy);
}

/// F-B11, F-B12: whoever connects to the port itself has no other destination, and would only come back.
#[test]
fn a_connection_to_the_port_itself_is_closed() {
    for interception in [Interception::Redirect, Interception::Tproxy] {
        let net = Net::new();
        let listening = net.listen(interception, false);
        for to in ["10.78.0.1", "[fd78::1]"] {
            let to = format!("{to}:{}", listening.port).parse().unwrap();
            assert_eq!(net.client.run(|| told(to)), "");
        }
        for to in ["127.0.0.1", "127.9.9.9", "[::1]", "0.0.0.0"] {
            let to = format!("{to}:{}", listening.port).parse().unwrap();
            assert_eq!(net.gateway.run(|| told(to)), "");
        }
        assert!(listening.sessions.try_recv().is_err());
    }
}

/// F-H11: the error says which right is missing; REDIRECT without a mark needs none.
#[test]
fn an_ordinary_user_is_told_what_is_missing() {
    let net = Net::new();
    net.gateway.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _inside = runtime.enter();
        rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(65_534)).unwrap();
        for udp in [false, true] {
            let error = TransparentInbound::bind(options(Interception::Tproxy, udp)).unwrap_err();
            assert!(matches!(error, BindError::NotPermitted { .. }) && error.to_string().contains("CAP_NET_ADMIN"));
        }
        let redirect = TransparentOptions { mark: 0, ..options(Interception::Redirect, false) };
        TransparentInbound::bind(redirect).unwrap();
    });
}
