//! What happens when the tunnel or the proxy dies, with and without a kill switch.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use adit_testkit::lab::gateway::WanWatch;
use adit_testkit::stage::Door;

use super::scene::{FAMILIES, Family, MODES, Mode, PLACES, Place, Scene, Setup, Visitor, ask, everywhere, wait_until};

fn in_each_mode(scenario: impl Fn(Mode) + Sync) {
    thread::scope(|scope| {
        for mode in MODES {
            let scenario = &scenario;
            scope.spawn(move || scenario(mode));
        }
    });
}

/// Tries everything that could get out, from everywhere at once, and says what did.
fn escapes(scene: &Scene) -> Vec<String> {
    thread::scope(|scope| {
        let mut attempts = Vec::new();
        for place in PLACES {
            for family in FAMILIES {
                let web = scene.web.port();
                let bare = family.of(scene.web.addr(), scene.web.addr_v6());
                for host in [bare.to_string(), format!("x.proxied.test:{web}"), format!("direct.test:{web}")] {
                    attempts.push(scope.spawn(move || {
                        let url = format!("http://{host}/");
                        let escaped = scene.curl(place, family, &["--max-time", "2", &url]).code == 0;
                        escaped.then(|| format!("{place:?}: {url}"))
                    }));
                }
                attempts.push(scope.spawn(move || {
                    let to = family.of(scene.udp[0].addr(), scene.udp[0].addr_v6());
                    datagram_escapes(scene, place, to).then(|| format!("{place:?}: a datagram to {to}"))
                }));
                attempts.push(scope.spawn(move || {
                    let mut ping = Command::new("ping");
                    ping.args(["-c", "1", "-W", "2", &bare.ip().to_string()]);
                    let escaped = scene.run(place, family, &ping).code == 0;
                    escaped.then(|| format!("{place:?}: a ping to {}", bare.ip()))
                }));
            }
        }
        attempts.into_iter().filter_map(|attempt| attempt.join().unwrap()).collect()
    })
}

fn datagram_escapes(scene: &Scene, place: Place, to: SocketAddr) -> bool {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = scene.at(place).run(|| UdpSocket::bind(any).unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    ask(&socket, to, "out").is_some()
}

/// Does something while clients try to get out, by the proxy or not.
fn meanwhile(scene: &Scene, what: impl FnOnce()) {
    thread::scope(|scope| {
        let clients = scope.spawn(|| escapes(scene));
        what();
        clients.join().unwrap();
    });
}

/// Everybody leaves by the exit, and nothing has gone another way.
fn all_is_well(scene: &Scene, wan: &WanWatch, when: &str) {
    everywhere(|place, family| {
        for host in ["life.proxied.test", &family.of("192.0.2.1".to_owned(), "[2001:db8::1]".to_owned())] {
            assert_eq!(scene.visits(place, family, host), Visitor::Exit, "{when}: {place:?} {family:?} {host}");
        }
    });
    wan.assert_silent(when);
}

/// No packet leaves but through the tunnel: not while that is dead, not while adit is dead, not while it starts.
#[test]
fn the_kill_switch_lets_nothing_out() {
    in_each_mode(|mode| {
        let mut scene = Scene::start(Setup::by_exit(mode, true));
        let server = scene.stage.route(Door::Vision).server;
        let wan = scene.lab.watch_wan(&[server, scene.dns.addr()]);
        all_is_well(&scene, &wan, "at first");

        scene.stage.process_mut().kill();
        assert_eq!(escapes(&scene), [""; 0], "{mode:?}: the tunnel is dead");
        wan.assert_silent("the tunnel is dead");
        let Scene { stage, lab, .. } = &mut scene;
        lab.exit().run(|| stage.restart());
        scene.wait_until_captured();
        all_is_well(&scene, &wan, "the tunnel is back");

        meanwhile(&scene, || scene.kill_adit());
        wan.assert_silent("adit dies");
        assert_eq!(escapes(&scene), [""; 0], "{mode:?}: adit is dead");
        wan.assert_silent("adit is dead");
        meanwhile(&scene, || scene.run_adit());
        wan.assert_silent("adit starts");
        scene.wait_until_captured();
        all_is_well(&scene, &wan, "adit is back");
        scene.assert_only_configured_servers();
    });
}

/// A name keeps its fake address over a kill: who connects to an address from before arrives with the name.
#[test]
fn fake_addresses_outlive_a_kill() {
    in_each_mode(|mode| {
        let scene = Scene::start(Setup::by_exit(mode, true));
        let fake = scene.dig(Place::Client, Family::V4.foreign(), &["A", "before.proxied.test"]);
        scene.kill_adit();
        scene.run_adit();
        assert_eq!(scene.visits(Place::Client, Family::V4, &fake), Visitor::Exit);
        scene.exit_is_asked_for(&format!("tcp:before.proxied.test:{}", scene.web.port()));
    });
}

/// Without a kill switch a crash cuts nobody off for longer than five seconds.
#[test]
fn a_crash_leaves_the_host_its_network() {
    in_each_mode(|mode| {
        let scene = Scene::start(Setup::by_exit(mode, false));
        for place in PLACES {
            assert_eq!(scene.visits(place, Family::V4, "192.0.2.1"), Visitor::Exit);
        }
        scene.kill_adit();
        let died = Instant::now();
        for place in PLACES {
            for family in FAMILIES {
                let to = family.of(scene.web.addr(), scene.web.addr_v6());
                let url = format!("http://{to}/");
                let mut seen = None;
                wait_until("the network", || {
                    let answer = scene.curl(place, family, &["--max-time", "1", &url]);
                    seen = (answer.code == 0).then(|| Visitor::named(answer.out.parse().unwrap()));
                    seen.is_some()
                });
                assert_eq!(seen, Some(Visitor::untouched(place)));
            }
        }
        // The last pulse was up to a second before; an attempt may take one more.
        assert!(died.elapsed() < Duration::from_secs(7), "{mode:?}: {:?}", died.elapsed());
        scene.run_adit();
        scene.wait_until_captured();
        assert_eq!(scene.visits(Place::Host, Family::V6, "[2001:db8::1]"), Visitor::Exit);
    });
}
