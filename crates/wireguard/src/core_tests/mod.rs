//! A whole tunnel of ours against another in simulated time: what its users see of it, whatever befalls it.

mod far;
mod path;
mod regressions;
mod schedule;
mod schedules;
mod stream;
mod world;

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::PrivateKey;
use crate::options::{Addresses, Keepalive, Mtu, Options, Peer};

const NEAR_OUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const NEAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const NEAR6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1);
const FAR6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2);

fn key(byte: u8) -> PrivateKey {
    PrivateKey::from_bytes([byte; 32])
}

fn options(own: u8, other: u8, addresses: Addresses, peer: Addresses) -> Options {
    let v4 = peer.v4().map(|address| format!("{address}/32").parse().unwrap());
    let v6 = peer.v6().map(|address| format!("{address}/128").parse().unwrap());
    Options {
        private_key: key(own),
        addresses,
        peers: vec![Peer {
            public_key: key(other).public_key(),
            preshared_key: None,
            allowed_ips: v4.into_iter().chain(v6).collect(),
            reserved: [0; 3],
            keepalive: Keepalive::Off,
        }],
        mtu: Mtu::DEFAULT,
        obfuscation: None,
    }
}

/// The client's.
fn near_options(addresses: Addresses) -> Options {
    options(1, 2, addresses, Addresses::Both(FAR, FAR6))
}

/// Those of the far end of a client with `near`.
fn far_options(near: &Options) -> Options {
    let far = options(2, 1, Addresses::Both(FAR, FAR6), near.addresses);
    Options { mtu: near.mtu, obfuscation: near.obfuscation.clone(), ..far }
}
