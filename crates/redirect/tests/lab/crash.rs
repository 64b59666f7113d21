//! Rules that outlive their proxy.

use adit_redirect::Mode;

use crate::net::{Net, ORIGINS, WAYS, WORLD, tcp, udp};

/// Without a kill switch, a proxy that is gone cuts nobody off; one that comes back is used again.
#[test]
fn a_crash_leaves_the_network() {
    for (firewall, mode) in WAYS {
        let net = Net::new(firewall);
        let proxy = net.proxy(mode, 0);
        let port = proxy.port;
        net.up(&Net::options(mode, port));
        net.wait_for_pulse(true);
        let everyone = |expected: fn(&'static str) -> &'static str| {
            for place in [&net.client, &net.gateway] {
                for to in ORIGINS {
                    assert_eq!(place.run(|| tcp(to)).as_deref(), Some(expected(to)), "{firewall:?} {mode:?}");
                    let by_udp = if mode == Mode::Tproxy { expected(to) } else { WORLD };
                    assert_eq!(place.run(|| udp(to)).as_deref(), Some(by_udp), "{firewall:?} {mode:?}");
                }
            }
        };
        everyone(|to| to);
        drop(proxy);
        net.wait_for_pulse(false);
        everyone(|_| WORLD);
        let _proxy = net.proxy(mode, port);
        net.wait_for_pulse(true);
        everyone(|to| to);
    }
}

/// Rules that were installed before the proxy runs capture nothing until it does.
#[test]
fn rules_alone_capture_nothing() {
    for (firewall, mode) in WAYS {
        let net = Net::new(firewall);
        net.up(&Net::options(mode, 7893));
        for place in [&net.client, &net.gateway] {
            for to in ORIGINS {
                assert_eq!(place.run(|| tcp(to)).as_deref(), Some(WORLD));
            }
        }
    }
}
