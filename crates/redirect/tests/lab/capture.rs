//! Who is captured and who is not.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use adit_redirect::Firewall::{Iptables, Nftables};
use adit_redirect::{Bypass, Endpoint, Mode, Options, Owner, Transport};

use crate::net::{NOWHERE, Net, ORIGINS, WAYS, WORLD, tcp, udp};

#[test]
fn forwarded_clients_and_the_host_itself_are_captured() {
    for (firewall, mode) in WAYS {
        for kill_switch in [false, true] {
            let net = Net::new(firewall);
            let proxy = net.proxy(mode, 0);
            net.up(&Options { kill_switch, ..Net::options(mode, proxy.port) });
            if !kill_switch {
                net.wait_for_pulse(true);
            }
            for (name, place) in [("client", &net.client), ("gateway", &net.gateway)] {
                for to in NOWHERE.into_iter().chain(ORIGINS) {
                    let got = place.run(|| tcp(to));
                    assert_eq!(got.as_deref(), Some(to), "{firewall:?} {mode:?} {kill_switch} {name}");
                    if mode == Mode::Tproxy {
                        assert_eq!(place.run(|| udp(to)).as_deref(), Some(to), "{firewall:?} {mode:?} {kill_switch}");
                    }
                }
                // The proxy's own connections get out.
                for to in ["198.51.100.1:8", "[2001:db8:51::1]:8"] {
                    assert_eq!(place.run(|| tcp(to)).as_deref(), Some(WORLD), "{firewall:?} {mode:?} {kill_switch}");
                }
            }
        }
    }
}

#[test]
fn what_is_let_through_goes_its_way() {
    for (firewall, mode) in WAYS {
        let net = Net::new(firewall);
        let proxy = net.proxy(mode, 0);
        let endpoint = |transport, addr: &str| Endpoint { transport, addr: addr.parse().unwrap() };
        let [v4, v6] = ORIGINS;
        let endpoints = vec![endpoint(Transport::Tcp, v4), endpoint(Transport::Udp, v6)];
        let networks = vec!["198.51.100.0/24".parse().unwrap()];
        let options = Net::options(mode, proxy.port);
        let with = |bypass| Options { bypass, ..options.clone() };
        net.up(&with(Bypass { endpoints, ..Bypass::default() }));
        net.wait_for_pulse(true);
        for place in [&net.client, &net.gateway] {
            assert_eq!(place.run(|| tcp(v4)).as_deref(), (Some(WORLD)));
            assert_eq!(place.run(|| tcp(v6)).as_deref(), Some(v6));
            assert_eq!(place.run(|| udp(v6)).as_deref(), Some(WORLD));
        }
        net.up(&with(Bypass { networks, ..Bypass::default() }));
        net.wait_for_pulse(true);
        for place in [&net.client, &net.gateway] {
            assert_eq!(place.run(|| tcp(v4)).as_deref(), Some(WORLD));
            assert_eq!(place.run(|| tcp(v6)).as_deref(), Some(v6));
        }
    }
}

/// What becomes of a datagram to `to`.
fn refusal(to: &str) -> ErrorKind {
    let any = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.send(b"hello").and_then(|_| socket.recv(&mut [0; 8])).unwrap_err().kind()
}

/// A range of fake addresses is captured, although it lies among private ones.
#[test]
fn fake_addresses_are_captured() {
    for (firewall, mode) in WAYS {
        let net = Net::new(firewall);
        let proxy = net.proxy(mode, 0);
        let fake = vec!["10.255.0.0/16".parse().unwrap(), "fc00::/18".parse().unwrap()];
        net.up(&Options { fake, ..Net::options(mode, proxy.port) });
        net.wait_for_pulse(true);
        for place in [&net.client, &net.gateway] {
            for to in ["10.255.0.9:80", "[fc00::9]:80"] {
                assert_eq!(place.run(|| tcp(to)).as_deref(), Some(to));
                // What cannot be captured is not left to time out somewhere.
                if mode == Mode::Redirect {
                    let told = place.run(|| refusal(to));
                    // A host's own packet is refused while it is sent.
                    let fits = matches!(told, ErrorKind::ConnectionRefused | ErrorKind::PermissionDenied);
                    assert!(fits, "{firewall:?} {to}: {told}");
                }
            }
        }
    }
}

/// F-B11: nested by way of the rules.
#[test]
fn the_listener_itself_is_no_destination() {
    for (firewall, mode) in WAYS {
        let net = Net::new(firewall);
        let proxy = net.proxy(mode, 0);
        net.up(&Net::options(mode, proxy.port));
        net.wait_for_pulse(true);
        for at in ["10.78.0.1", "192.0.2.2", "[fd78::1]", "[2001:db8:2::2]"] {
            for place in [&net.client, &net.gateway] {
                let heard = place.run(|| tcp(&format!("{at}:{}", proxy.port)));
                assert_eq!(heard.unwrap_or_default(), "", "{firewall:?} {mode:?} {at}");
            }
        }
    }
}

/// Questions go to our server, whoever was asked; answers come from who was asked.
#[test]
fn questions_go_to_our_server() {
    for (firewall, mode) in WAYS {
        let net = Net::new(firewall);
        let proxy = net.proxy(mode, 0);
        // A server on an unspecified address would have to answer from the address it was asked at.
        let at = ["127.0.0.1:1053", "10.78.0.1:1053", "[::1]:1053", "[fd78::1]:1053"];
        let dns = net.gateway.run(|| at.map(|at| UdpSocket::bind(at).unwrap()));
        for socket in dns {
            std::thread::spawn(move || {
                let mut room = [0; 64];
                while let Ok((_, from)) = socket.recv_from(&mut room) {
                    let _ = socket.send_to(b"a fake address", from);
                }
            });
        }
        net.up(&Options { dns: Some(1053), ..Net::options(mode, proxy.port) });
        net.wait_for_pulse(true);
        for place in [&net.client, &net.gateway] {
            for asked in ["198.51.100.1:53", "[2001:db8:51::1]:53"] {
                assert_eq!(
                    place.run(|| udp(asked)).as_deref(),
                    Some("a fake address"),
                    "{firewall:?} {mode:?} {asked}"
                );
            }
        }
        for asked in ["10.78.0.1:53", "[fd78::1]:53"] {
            assert_eq!(
                net.client.run(|| udp(asked)).as_deref(),
                Some("a fake address"),
                "{firewall:?} {mode:?} {asked}"
            );
        }
    }
}

/// A proxy that may set no mark is known by its user.
#[test]
fn a_proxy_without_rights_is_known_by_its_user() {
    const USER: u32 = 64_999;
    for (firewall, kill_switch) in [(Nftables, false), (Nftables, true), (Iptables, false), (Iptables, true)] {
        let net = Net::new(firewall);
        let proxy = net.proxy_of(Some(USER), Mode::Redirect, 0);
        let owner = Owner { uid: Some(USER), ..Owner::default() };
        net.up(&Options { owner, kill_switch, ..Net::options(Mode::Redirect, proxy.port) });
        if !kill_switch {
            net.wait_for_pulse(true);
        }
        for place in [&net.client, &net.gateway] {
            for (to, heard) in [("198.51.100.1:7", "198.51.100.1:7"), ("198.51.100.1:8", WORLD)] {
                assert_eq!(place.run(|| tcp(to)).as_deref(), Some(heard));
            }
        }
    }
}
