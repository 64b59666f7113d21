//! The kill switch, counted on the link to the world.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;

use adit_redirect::{Mode, Options};

use crate::net::{A_MOMENT, Net, ORIGINS, PATIENCE, WAYS, tcp, tcp_within, udp_within};

fn try_to_leak(net: &Net) {
    for place in [&net.client, &net.gateway] {
        place.run(|| {
            for to in ORIGINS {
                assert_eq!(tcp_within(to, A_MOMENT), None);
                assert_eq!(udp_within(to, A_MOMENT), None);
            }
            for to in ["198.51.100.1", "2001:db8:51::1"] {
                let ping = Command::new("ping").args(["-c", "1", "-W", "1", to]).output();
                assert!(!ping.is_ok_and(|ping| ping.status.success()));
            }
        });
    }
}

#[test]
fn without_the_proxy_nothing_leaves() {
    for (firewall, mode) in WAYS {
        let net = Net::new(firewall);
        let leaving = net.count_leaving();
        net.up(&Options { kill_switch: true, ..Net::options(mode, 7893) });
        try_to_leak(&net);
        assert_eq!(leaving.packets(), 0, "{firewall:?} {mode:?}");

        // It runs, dies, and somebody takes the policy routing away.
        let proxy = net.proxy(mode, 7893);
        for to in ORIGINS {
            assert_eq!(net.client.run(|| tcp(to)).as_deref(), Some(to));
            assert_eq!(net.gateway.run(|| tcp(to)).as_deref(), Some(to));
        }
        drop(proxy);
        try_to_leak(&net);
        if mode == Mode::Tproxy {
            net.gateway.ip("rule del pref 2769");
            net.gateway.ip("-6 rule del pref 2769");
            try_to_leak(&net);
        }
        assert_eq!(leaving.packets(), 0, "{firewall:?} {mode:?}");
    }
}

/// What IPv6 is not captured does not leave either.
#[test]
fn an_unwanted_family_stays() {
    for (firewall, mode) in WAYS {
        let net = Net::new(firewall);
        let leaving = net.count_leaving();
        let proxy = net.proxy(mode, 0);
        net.up(&Options { kill_switch: true, ipv6: false, ..Net::options(mode, proxy.port) });
        let [v4, v6] = ORIGINS;
        for place in [&net.client, &net.gateway] {
            assert_eq!(place.run(|| tcp(v4)).as_deref(), Some(v4));
            assert_eq!(place.run(|| tcp_within(v6, A_MOMENT)), None);
            assert_eq!(place.run(|| udp_within(v6, A_MOMENT)), None);
        }
        assert_eq!(leaving.packets(), 0, "{firewall:?} {mode:?}");
    }
}

/// Connections that began before the rules go on without a kill switch, and end with it.
#[test]
fn connections_from_before_the_rules() {
    for (firewall, mode) in WAYS {
        for kill_switch in [false, true] {
            let net = Net::new(firewall);
            let origin = net.world.run(|| TcpListener::bind("198.51.100.1:9").unwrap());
            let ours = [&net.client, &net.gateway].map(|place| {
                let ours = place.run(|| TcpStream::connect("198.51.100.1:9").unwrap());
                (ours, origin.accept().unwrap().0)
            });
            let proxy = net.proxy(mode, 0);
            net.up(&Options { kill_switch, ..Net::options(mode, proxy.port) });
            if !kill_switch {
                net.wait_for_pulse(true);
            }
            let leaving = net.count_leaving();
            for (mut ours, mut theirs) in ours {
                for side in [&ours, &theirs] {
                    side.set_read_timeout(Some(if kill_switch { A_MOMENT } else { PATIENCE })).unwrap();
                }
                let mut room = [0; 4];
                // The far end speaks first: its segment must not make ours look like an answer.
                theirs.write_all(b"ping").unwrap();
                ours.read_exact(&mut room).unwrap();
                ours.write_all(b"pong").unwrap();
                assert_eq!(theirs.read_exact(&mut room).is_ok(), !kill_switch, "{firewall:?} {mode:?}");
            }
            assert_eq!(leaving.packets() == 0, kill_switch, "{firewall:?} {mode:?}");
        }
    }
}

/// Who is served from outside is answered: TCP always, UDP ports that were named.
#[test]
fn servers_of_this_host_answer() {
    for (firewall, mode) in WAYS {
        for kill_switch in [false, true] {
            let net = Net::new(firewall);
            let proxy = net.proxy(mode, 0);
            let mut options = Options { kill_switch, ..Net::options(mode, proxy.port) };
            options.bypass.served_udp = vec![51820];
            net.up(&options);
            if !kill_switch {
                net.wait_for_pulse(true);
            }
            let (server, datagrams) = net
                .gateway
                .run(|| (TcpListener::bind("0.0.0.0:22").unwrap(), UdpSocket::bind("0.0.0.0:51820").unwrap()));
            std::thread::spawn(move || server.accept().unwrap().0.write_all(b"SSH").unwrap());
            std::thread::spawn(move || {
                let (_, from) = datagrams.recv_from(&mut [0; 8]).unwrap();
                datagrams.send_to(b"WireGuard", from).unwrap();
            });
            assert_eq!(net.world.run(|| tcp("192.0.2.2:22")).as_deref(), Some("SSH"), "{firewall:?} {mode:?}");
            let heard = net.world.run(|| udp_within("192.0.2.2:51820", PATIENCE));
            assert_eq!(heard.as_deref(), Some("WireGuard"), "{firewall:?} {mode:?}");
        }
    }
}
