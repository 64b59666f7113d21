//! Hosts as they are found: with bridges and with settings that others made.

use adit_redirect::Firewall::{Iptables, Nftables};
use adit_redirect::doctor::Facts;
use adit_redirect::{Interface, Mode, Options};

use crate::net::{A_MOMENT, NOWHERE, Net, ORIGINS, PATIENCE, WAYS, WORLD, tcp, tcp_within, udp_within};

/// The client and the host itself reach the listener, whatever they connect to.
fn is_captured(net: &Net, mode: Mode, kill_switch: bool) {
    for place in [&net.client, &net.gateway] {
        for to in NOWHERE.into_iter().chain(ORIGINS) {
            assert_eq!(place.run(|| tcp(to)).as_deref(), Some(to), "{mode:?}");
        }
        for to in ORIGINS {
            let (heard, patience) = match (mode, kill_switch) {
                (Mode::Tproxy, _) => (Some(to), PATIENCE),
                (Mode::Redirect, false) => (Some(WORLD), PATIENCE),
                (Mode::Redirect, true) => (None, A_MOMENT),
            };
            assert_eq!(place.run(|| udp_within(to, patience)).as_deref(), heard, "{mode:?}");
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
        for filters in ["0", "1"] {
            // The chains of iptables come too late there.
            if (firewall, mode, filters) == (Iptables, Mode::Tproxy, "1") {
                continue;
            }
            for kill_switch in [false, true] {
                let net = Net::bridged(firewall);
                filter_bridges(&net, filters);
                let proxy = net.proxy(mode, 0);
                let interfaces = Interface::of_docker().to_vec();
                net.up(&Options { interfaces, kill_switch, ..Net::options(mode, proxy.port) });
                if !kill_switch {
                    net.wait_for_pulse(true);
                }
                is_captured(&net, mode, kill_switch);
            }
        }
    }
}

/// Rules that are older than the first bridge do not get what it loses: the next `up` puts that right.
#[test]
fn rules_older_than_the_bridge_are_installed_again() {
    let net = Net::new(Nftables);
    let proxy = net.proxy(Mode::Tproxy, 0);
    let options = Options { interfaces: Interface::of_docker().to_vec(), ..Net::options(Mode::Tproxy, proxy.port) };
    net.up(&options);
    net.wait_for_pulse(true);
    net.put_lan_behind_bridge();
    filter_bridges(&net, "1");
    let facts = net.gateway.run(Facts::gather);
    assert_eq!(facts.filtered_bridge.as_deref(), Some("br-a1b2c3d4e5f6"));
    assert_ne!(facts.precedes_filter, Some(true));
    assert_eq!(net.client.run(|| tcp_within(NOWHERE[0], A_MOMENT)), None);
    net.up(&options);
    net.wait_for_pulse(true);
    is_captured(&net, Mode::Tproxy, false);
    assert_ne!(net.gateway.run(Facts::gather).precedes_filter, Some(false));
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
        is_captured(&net, mode, false);
    }
}
