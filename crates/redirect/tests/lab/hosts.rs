//! Hosts as they are found: with bridges and with settings that others made.

use adit_redirect::Firewall::Nftables;
use adit_redirect::{ApplyError, Interface, Mode, Options};

use crate::net::{NOWHERE, Net, ORIGINS, WAYS, WORLD, tcp, udp};

/// The client and the host itself reach the listener, whatever they connect to.
fn is_captured(net: &Net, mode: Mode) {
    for place in [&net.client, &net.gateway] {
        for to in NOWHERE.into_iter().chain(ORIGINS) {
            assert_eq!(place.run(|| tcp(to)).as_deref(), Some(to), "{mode:?}");
        }
        for to in ORIGINS {
            let heard = if mode == Mode::Tproxy { to } else { WORLD };
            assert_eq!(place.run(|| udp(to)).as_deref(), Some(heard), "{mode:?}");
        }
    }
}

fn filter_bridges(net: &Net, value: &str) {
    for family in ["iptables", "ip6tables"] {
        net.gateway.set(&format!("bridge/bridge-nf-call-{family}"), value);
    }
}

/// The containers of a Docker host are behind bridges, and Docker has bridged packets filtered.
#[test]
fn containers_are_captured() {
    for (firewall, mode) in WAYS {
        let net = Net::bridged(firewall);
        filter_bridges(&net, if mode == Mode::Tproxy { "0" } else { "1" });
        let proxy = net.proxy(mode, 0);
        net.up(&Options { interfaces: Interface::of_docker().to_vec(), ..Net::options(mode, proxy.port) });
        net.wait_for_pulse(true);
        is_captured(&net, mode);
    }
}

/// The kernel forgets the listener between the bridge and the host: what is captured there would be cut off.
#[test]
fn tproxy_behind_a_bridge_that_filters_is_refused() {
    let net = Net::bridged(Nftables);
    let options = Options { interfaces: Interface::of_docker().to_vec(), ..Net::options(Mode::Tproxy, 7893) };
    let up = || net.gateway.run(|| adit_redirect::up(&options));
    filter_bridges(&net, "1");
    let refused = up().unwrap_err();
    assert!(matches!(&refused, ApplyError::BridgesFilter { bridge } if bridge == "br-a1b2c3d4e5f6"), "{refused}");
    filter_bridges(&net, "0");
    up().unwrap();
}

#[test]
fn strict_reverse_paths_are_no_obstacle() {
    for mode in [Mode::Redirect, Mode::Tproxy] {
        let net = Net::new(Nftables);
        for interface in ["all", "default", "lo", "lan", "wan"] {
            net.gateway.set(&format!("ipv4/conf/{interface}/rp_filter"), "1");
        }
        let proxy = net.proxy(mode, 0);
        net.up(&Net::options(mode, proxy.port));
        net.wait_for_pulse(true);
        is_captured(&net, mode);
    }
}
