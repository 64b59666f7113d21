//! Rules by name and by process; fake addresses.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;

use super::scene::{FAMILIES, Family, Mode, PATIENCE, Place, Scene, Setup, Visitor, everywhere, in_both_modes};

#[test]
fn curl_leaves_by_the_ruled_way() {
    in_both_modes(|scene| {
        everywhere(|place, family| {
            for (host, way) in [("curl.proxied.test", Visitor::Exit), ("direct.test", Visitor::Wan)] {
                assert_eq!(scene.visits(place, family, host), way, "{place:?} {family:?} {host}");
            }
        });
    });
}

/// As whom a plain HTTP client is seen that connects to `to`.
fn visits(scene: &Scene, place: Place, to: SocketAddr) -> Visitor {
    let mut stream = scene.at(place).run(|| TcpStream::connect_timeout(&to, PATIENCE).unwrap());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    Visitor::named(answer.rsplit("\r\n").next().unwrap().parse().unwrap())
}

fn is_fake(ip: IpAddr) -> bool {
    let text = ip.to_string();
    text.starts_with("198.18.") || text.starts_with("fdfe:dcba:9876:")
}

/// Whoever is asked, the answer is a fake address; a connection to it arrives at the exit with the name.
#[test]
fn dig_gets_a_fake_address_that_carries_the_name() {
    in_both_modes(|scene| {
        everywhere(|place, family| {
            let name = format!("{place:?}{family:?}.proxied.test").to_ascii_lowercase();
            let kind = family.of("A", "AAAA");
            let fake: IpAddr = scene.dig(place, family.foreign(), &[kind, &name]).parse().unwrap();
            assert!(is_fake(fake) && fake.is_ipv4() == (family == Family::V4), "{fake}");
            let again = scene.dig(place, family.foreign(), &["+tcp", kind, &name]);
            assert_eq!(again, fake.to_string(), "over TCP");
            assert_eq!(scene.dig(place, family.foreign(), &["HTTPS", &name]), "");
            assert_eq!(visits(scene, place, SocketAddr::new(fake, scene.web.port())), Visitor::Exit);
            scene.exit_is_asked_for(&format!("tcp:{name}:{}", scene.web.port()));
        });
    });
}

/// `redir-host`: clients get real addresses, and a connection to one is ruled and carried by the name it was given for.
#[test]
fn a_real_address_carries_the_name_it_was_given_for() {
    let rules = "  - DOMAIN,process.test,exit\n  - MATCH,DIRECT\n";
    let setup = Setup { enhanced: "redir-host", rules, ..Setup::by_exit(Mode::Tproxy, false) };
    let scene = Scene::start(setup);
    for (place, family) in [(Place::Client, Family::V4), (Place::Host, Family::V6)] {
        let kind = family.of("A", "AAAA");
        let real: IpAddr = scene.dig(place, family.foreign(), &[kind, "process.test"]).parse().unwrap();
        assert!(!is_fake(real), "{real}");
        assert_eq!(
            visits(&scene, place, SocketAddr::new(real, scene.web.port())),
            Visitor::Exit,
            "{place:?} {family:?}"
        );
        scene.exit_is_asked_for(&format!("tcp:process.test:{}", scene.web.port()));
    }
}

/// PROCESS-NAME: two programs of the host ask for the same name.
#[test]
fn programs_of_the_host_have_ways_of_their_own() {
    in_both_modes(|scene| {
        let url = format!("http://process.test:{}/", scene.web.port());
        for family in FAMILIES {
            assert_eq!(scene.visits(Place::Host, family, "process.test"), Visitor::Exit, "curl {family:?}");
            let mut python = Command::new("python3");
            let script = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode())";
            python.args(["-c", script, &url]);
            let seen = scene.run(Place::Host, family, &python).ok();
            assert_eq!(Visitor::named(seen.parse().unwrap()), Visitor::Wan, "python");
            // A forwarded client's programs are not ours to know.
            assert_ne!(scene.curl(Place::Client, family, &[&url]).code, 0);
        }
    });
}
