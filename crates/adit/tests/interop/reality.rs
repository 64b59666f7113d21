//! REALITY against both generations of Xray.

use std::io::Write;
use std::net::{Ipv6Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use adit_testkit::client::{To, socks5};
use adit_testkit::middleman::{Manner, Middleman};
use adit_testkit::origin::{HttpOrigin, TcpOrigin};
use adit_testkit::peers::Era;
use adit_testkit::programs::run;
use adit_testkit::stage::{Door, FAR_NAME, Route, Stage};
use adit_testkit::subject::{Proxy, Subject, Way};
use adit_testkit::tls::Version;

use crate::scenes::{self, KIB, MIB};

fn start(route: &Route) -> Proxy {
    Subject::from_env().start(Way::Vless(route))
}

fn v6(port: u16) -> To {
    SocketAddr::from((Ipv6Addr::LOCALHOST, port)).into()
}

/// Everything a client may do over TCP, through one door.
fn carries_tcp(era: Era, door: Door) {
    let proxy = start(&Stage::shared(era).route(door));
    let origin = TcpOrigin::echo();
    let by_address = To::from(origin.addr());
    for length in [1, 2, 100, 1_186, 4_096, 8_171, 8_192, 16_384, 65_537, MIB, 16 * MIB + 3] {
        scenes::echo(proxy.addr, &by_address, length);
    }
    scenes::echo(proxy.addr, &v6(origin.port()), 100 * KIB);
    // Only the server can resolve this name: it must get the name, not an address (F-… fail closed, rule 3).
    scenes::echo(proxy.addr, &To::name(FAR_NAME, origin.port()), 100 * KIB);
    for version in [Version::Tls13, Version::Tls12] {
        let origin = scenes::https(version);
        for length in [1, 20_000, 20 * MIB] {
            scenes::inner_tls(proxy.addr, &origin.addr().into(), version, length);
        }
    }
    scenes::plain_http(proxy.addr, &HttpOrigin::start());
    scenes::server_speaks_first(proxy.addr);
    scenes::half_closes_around_an_answer(proxy.addr);
}

#[test]
fn vision_carries_tcp_to_the_old_generation() {
    carries_tcp(Era::Xray26_7, Door::Vision);
}

#[test]
fn vision_carries_tcp_to_the_new_generation() {
    carries_tcp(Era::Xray26_10, Door::Vision);
}

#[test]
fn plain_reality_carries_tcp_to_the_old_generation() {
    carries_tcp(Era::Xray26_7, Door::Plain);
}

#[test]
fn plain_reality_carries_tcp_to_the_new_generation() {
    carries_tcp(Era::Xray26_10, Door::Plain);
}

#[test]
fn udp_travels_as_xudp() {
    for era in Era::ALL {
        for door in [Door::Vision, Door::Plain] {
            let proxy = start(&Stage::shared(era).route(door));
            scenes::udp(proxy.addr, Some(FAR_NAME), true);
        }
    }
}

#[test]
fn vision_carries_a_gibibyte_on_the_old_generation() {
    let proxy = start(&Stage::shared(Era::Xray26_7).route(Door::Vision));
    let origin = scenes::https(Version::Tls13);
    scenes::inner_tls(proxy.addr, &origin.addr().into(), Version::Tls13, 1024 * MIB);
}

#[test]
fn vision_carries_a_gibibyte_on_the_new_generation() {
    let proxy = start(&Stage::shared(Era::Xray26_10).route(Door::Vision));
    let origin = scenes::https(Version::Tls13);
    scenes::inner_tls(proxy.addr, &origin.addr().into(), Version::Tls13, 1024 * MIB);
}

#[test]
fn a_server_that_signs_with_ml_dsa_is_verified() {
    for era in Era::ALL {
        let route = Stage::shared(era).route(Door::MlDsa);
        scenes::echo(start(&route).addr, &TcpOrigin::echo().addr().into(), MIB);
        let wrong = route.reality(|reality| {
            let key = reality.mldsa65_verify.take().unwrap();
            let flipped = if key.starts_with('A') { 'B' } else { 'A' };
            reality.mldsa65_verify = Some(format!("{flipped}{}", &key[1..]));
        });
        assert_refused(&start(&wrong));
    }
}

#[test]
fn handshakes_in_crumbs_and_first_bytes_glued_to_the_switch_lose_nothing() {
    for era in Era::ALL {
        let route = Stage::shared(era).route(Door::Vision);
        let middleman = Middleman::start(route.server, Manner::Crumbs(9_000));
        let proxy = start(&route.through(middleman.addr()));
        let origin = scenes::https(Version::Tls13);
        scenes::inner_tls(proxy.addr, &origin.addr().into(), Version::Tls13, 5 * MIB);
        scenes::echo(proxy.addr, &TcpOrigin::echo().addr().into(), MIB);
    }
}

#[test]
fn many_tunnels_at_once_keep_their_bytes_apart() {
    let proxy = start(&Stage::shared(Era::Xray26_10).route(Door::Vision));
    let echo = TcpOrigin::echo();
    let https = scenes::https(Version::Tls13);
    std::thread::scope(|scope| {
        for n in 0..24 {
            let (proxy, echo, https) = (&proxy, &echo, &https);
            scope.spawn(move || {
                scenes::echo(proxy.addr, &echo.addr().into(), 200_000 + n);
                scenes::inner_tls(proxy.addr, &https.addr().into(), Version::Tls13, 400_000 + n);
            });
        }
    });
}

#[test]
fn a_restarted_server_is_used_again_without_help() {
    let mut stage = Stage::start(Era::Xray26_10, &[Door::Vision]);
    let proxy = start(&stage.route(Door::Vision));
    let origin = TcpOrigin::echo();
    let to = To::from(origin.addr());
    scenes::echo(proxy.addr, &to, MIB);
    let mut open = scenes::tunnel(proxy.addr, &to);
    open.write_all(b"x").unwrap();
    stage.process_mut().kill();
    // The open tunnel ends instead of hanging …
    let started = Instant::now();
    let _ = std::io::copy(&mut open, &mut std::io::sink());
    assert!(started.elapsed() < Duration::from_secs(10), "an open tunnel outlived its server");
    // … new ones fail at once …
    let started = Instant::now();
    assert_no_answer(&proxy, &to);
    assert!(started.elapsed() < Duration::from_secs(10), "a dead server was waited for");
    // … and work as soon as the server is back.
    stage.restart();
    scenes::echo(proxy.addr, &to, MIB);
}

/// The client of `proxy` gets no echo: refused at once, or an open tunnel that ends without a byte.
fn assert_no_answer(proxy: &Proxy, to: &To) {
    let Ok(mut stream) = socks5(proxy.addr, to) else { return };
    let mut answer = Vec::new();
    let _ = stream.write_all(b"secret payload");
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
    assert!(answer.is_empty(), "something answered: {answer:02x?}");
}

/// A route that the server does not accept: the client is told, soon, and the origin is never reached.
fn assert_refused(proxy: &Proxy) {
    let origin = TcpOrigin::echo();
    let started = Instant::now();
    assert_no_answer(proxy, &origin.addr().into());
    // 10 s for the handshake, and the fallback's visit to the real site may linger for 15 s before the client hears of it.
    assert!(started.elapsed() < Duration::from_secs(19), "the refusal took {:?}", started.elapsed());
    assert_eq!(origin.accepted(), 0, "the origin was reached");
}

/// Clients that fail authentication meet the real site: nothing of the user's may go there, and the log says what to check.
fn meets_the_real_site(era: Era, route: &Route) {
    let stage = Stage::shared(era);
    let proxy = start(route);
    let before = stage.target().h2_bytes().len();
    assert_refused(&proxy);
    let shown = stage.target().h2_bytes().split_off(before);
    for secret in [&b"secret payload"[..], &[0xb8, 0x31, 0x38, 0x1d, 0x63, 0x24]] {
        assert!(!shown.windows(secret.len()).any(|window| window == secret), "the site was sent {secret:02x?}");
    }
    if Subject::from_env() == Subject::Adit {
        assert!(proxy.process.says("REALITY authentication failed"), "{}", proxy.process.log());
        let log = proxy.process.log().to_lowercase().replace('-', " ");
        for hint in ["public key", "short id", "clock"] {
            assert!(log.contains(hint), "the log does not say to check the {hint}:\n{log}");
        }
    }
}

#[test]
fn a_wrong_public_key_meets_the_real_site() {
    for era in Era::ALL {
        let route = Stage::shared(era).route(Door::Vision);
        // The public key of another private key (spec §11.2, csk2).
        meets_the_real_site(
            era,
            &route.reality(|reality| reality.public_key = "Z13VdO13iTELPS52gfN5C0Zsdz8VIf7PNld5WDcepS8".into()),
        );
    }
}

#[test]
fn a_wrong_short_id_meets_the_real_site() {
    for era in Era::ALL {
        let route = Stage::shared(era).route(Door::Vision);
        meets_the_real_site(era, &route.reality(|reality| reality.short_id = "0123".into()));
    }
}

#[test]
fn a_wrong_clock_meets_the_real_site_where_the_server_checks_it() {
    if Subject::from_env() != Subject::Adit {
        return;
    }
    let stage = Stage::shared(Era::Xray26_10);
    // faketime as a wrapper would outlive its own end; it tells what to preload instead.
    let library = run(Command::new("faketime").args(["-f", "+0", "printenv", "LD_PRELOAD"])).ok();
    let late = |mut command: Command| {
        command.env("LD_PRELOAD", &library).env("FAKETIME", "-10m").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command
    };
    let origin = TcpOrigin::echo();
    let right = start(&stage.route(Door::Clock));
    scenes::echo(right.addr, &origin.addr().into(), KIB);
    let wrong = Subject::Adit.start_with(Way::Vless(&stage.route(Door::Clock)), "", late);
    assert_refused(&wrong);
    // A server that does not check takes the same client.
    let unchecked = Subject::Adit.start_with(Way::Vless(&stage.route(Door::Vision)), "", late);
    scenes::echo(unchecked.addr, &origin.addr().into(), KIB);
}

#[test]
fn a_wrong_user_is_closed_without_an_answer() {
    for era in Era::ALL {
        for door in [Door::Vision, Door::Plain] {
            let mut route = Stage::shared(era).route(door);
            route.uuid = "11111111-2222-3333-4444-555555555555".into();
            assert_refused(&start(&route));
        }
    }
}

#[test]
fn a_missing_flow_is_closed_without_an_answer() {
    for era in Era::ALL {
        let mut route = Stage::shared(era).route(Door::Vision);
        route.vision = false;
        assert_refused(&start(&route));
        let mut route = Stage::shared(era).route(Door::Plain);
        route.vision = true;
        assert_refused(&start(&route));
    }
}

#[test]
fn fingerprints_with_a_hybrid_share_pass_everywhere() {
    for era in Era::ALL {
        for fingerprint in ["chrome", "firefox", "safari"] {
            let route =
                Stage::shared(era).route(Door::Vision).reality(|reality| reality.fingerprint = fingerprint.into());
            scenes::echo(start(&route).addr, &TcpOrigin::echo().addr().into(), KIB);
        }
    }
}

#[test]
fn fingerprints_without_a_hybrid_share_pass_the_old_generation_only() {
    for fingerprint in ["edge", "ios"] {
        let route =
            |era| Stage::shared(era).route(Door::Vision).reality(|reality| reality.fingerprint = fingerprint.into());
        scenes::echo(start(&route(Era::Xray26_7)).addr, &TcpOrigin::echo().addr().into(), KIB);
        assert_refused(&start(&route(Era::Xray26_10)));
    }
}
