//! The WireGuard way out against stock peers: `wireguard-go` with a TUN interface in a network namespace.

mod life;
mod paths;
mod traffic;

use std::net::Ipv4Addr;

use adit_testkit::lab::{Lab, PeerOptions, WireGuardPeer};
use adit_testkit::peers;
use adit_testkit::subject::{Proxy, Subject, Way};
use adit_testkit::{free_port, lab};

/// A lab with one peer.
fn scene() -> (Lab, WireGuardPeer) {
    let lab = Lab::new();
    let peer = lab.peer(PeerOptions::default());
    (lab, peer)
}

/// The proxy under test with this way out. Call it on the client side.
fn start(route: &lab::WireGuardRoute) -> Proxy {
    Subject::from_env().start(Way::WireGuard(route))
}

/// adit with proxies and rules of the test's own. Call it on the client side.
fn adit(proxies_and_rules: &str) -> Proxy {
    let port = free_port();
    let config = format!("mixed-port: {port}\nlog-level: info\n{proxies_and_rules}");
    Proxy { process: peers::adit(&config, &[port]), addr: (Ipv4Addr::LOCALHOST, port).into() }
}
