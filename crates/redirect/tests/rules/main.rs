//! The rules as text, and as the kernel takes them.

#![expect(clippy::unwrap_used, reason = "this is all test")]

mod applied;
mod chains;
mod golden;

use adit_redirect::{Bypass, Endpoint, Ids, Interface, Mark, Mode, Options, Owner, Transport};

/// Everything that can be said, for both modes.
fn full(mode: Mode, kill_switch: bool) -> Options {
    let mut interfaces: Vec<Interface> = vec!["lan0".parse().unwrap()];
    interfaces.extend(Interface::of_docker());
    Options {
        mode,
        port: 7893,
        dns: Some(1053),
        owner: Owner { mark: 0x2d, uid: Some(991), gid: Some(992), cgroup: None },
        host: true,
        interfaces,
        ipv6: true,
        fake: vec!["198.18.0.0/16".parse().unwrap(), "fc00::/18".parse().unwrap()],
        bypass: Bypass {
            networks: vec!["203.0.113.0/25".parse().unwrap(), "203.0.113.128/25".parse().unwrap()],
            endpoints: vec![
                Endpoint { transport: Transport::Udp, addr: "198.51.100.1:51820".parse().unwrap() },
                Endpoint { transport: Transport::Tcp, addr: "[2001:db8::443]:443".parse().unwrap() },
            ],
            uids: vec![Ids { first: 1000, last: 1000 }, Ids { first: 2000, last: 2999 }],
            gids: vec![Ids { first: 60_000, last: 60_000 }],
            marks: vec![Mark { value: 7, mask: u32::MAX }, Mark { value: 0x40000, mask: 0xff0000 }],
            served_udp: vec![51820],
            ..Bypass::default()
        },
        kill_switch,
    }
}

/// As little as makes rules.
fn small(mode: Mode) -> Options {
    Options { mode, port: 7892, owner: Owner { mark: 1, ..Owner::default() }, host: true, ..Options::default() }
}

/// Options of all sorts.
fn all() -> Vec<Options> {
    let mut all = vec![small(Mode::Redirect), small(Mode::Tproxy)];
    for kill_switch in [false, true] {
        for mode in [Mode::Redirect, Mode::Tproxy] {
            let full = full(mode, kill_switch);
            all.push(Options { ipv6: false, dns: None, ..full.clone() });
            all.push(Options { host: false, ..full.clone() });
            all.push(Options { interfaces: Vec::new(), fake: Vec::new(), ..full.clone() });
            all.push(full);
        }
    }
    all
}
