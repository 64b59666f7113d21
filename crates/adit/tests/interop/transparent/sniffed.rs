//! Connections by bare IP: what their first bytes say, and servers that speak first.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use adit_testkit::certificate::{Authority, TARGET};

use super::scene::{BANNER, FAMILIES, PATIENCE, PLACES, Place, Scene, Visitor, everywhere, in_both_modes};

fn url_host(addr: SocketAddr) -> String {
    if addr.is_ipv4() { addr.ip().to_string() } else { format!("[{}]", addr.ip()) }
}

#[test]
fn a_bare_ip_is_ruled_by_the_host_header() {
    in_both_modes(|scene| {
        everywhere(|place, family| {
            let to = family.of(scene.web.addr(), scene.web.addr_v6());
            let url = format!("http://{to}/");
            for (host, way) in [("header.proxied.test", Visitor::Exit), ("direct.test", Visitor::Wan)] {
                let seen = scene.curl(place, family, &["-H", &format!("Host: {host}"), &url]).ok();
                assert_eq!(Visitor::named(seen.parse().unwrap()), way, "{place:?} {to} {host}");
            }
            // Nothing in it but its own address.
            assert_eq!(scene.visits(place, family, &url_host(to)), Visitor::Wan);
        });
    });
}

#[test]
fn a_bare_ip_is_ruled_by_the_server_name_of_tls() {
    in_both_modes(|scene| {
        let root = Authority::shared().root_file();
        let port = scene.tls.port();
        for place in PLACES {
            for family in FAMILIES {
                let to = family.of(scene.tls.addr(), scene.tls.addr_v6());
                for (name, way) in [(TARGET, Visitor::Exit), ("localhost", Visitor::Wan)] {
                    let resolve = format!("{name}:{port}:{}", to.ip());
                    let url = format!("https://{name}:{port}/");
                    let words = ["--cacert", root.to_str().unwrap(), "--resolve", &resolve, &url];
                    assert_eq!(scene.curl(place, family, &words).ok(), "hello");
                    let client = scene.tls.last_client().unwrap();
                    assert_eq!(Visitor::named(client.ip()), way, "{place:?} {to} {name}");
                }
            }
        }
    });
}

/// How long the banner of `to` takes.
fn waits(scene: &Scene, place: Place, to: SocketAddr) -> Duration {
    let start = Instant::now();
    let mut stream = scene.at(place).run(|| TcpStream::connect_timeout(&to, PATIENCE).unwrap());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = vec![0; BANNER.len()];
    stream.read_exact(&mut heard).unwrap_or_else(|error| panic!("{place:?} {to}: {error}"));
    assert_eq!(heard, BANNER.as_bytes());
    start.elapsed()
}

/// On a port where names are looked for, a client that waits for its server is not kept waiting longer than 300 ms; the
/// connection is made all the same.
#[test]
fn a_server_that_speaks_first_is_heard_soon() {
    in_both_modes(|scene| {
        for family in FAMILIES {
            for place in PLACES {
                let to = family.of(scene.banner.addr(), scene.banner.addr_v6());
                // What a busy machine adds is not added every time.
                let shortest = (0..3).map(|_| waits(scene, place, to)).min().unwrap();
                assert!(shortest < Duration::from_millis(450), "{place:?} {to}: {shortest:?}");
            }
        }
    });
}
