use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use adit_net::{Domain, Entry, Host, Network, Protocol as Spoken, Session, Target};
use adit_sniffer::{AddressSet, Found, NameSet, Options, Plan, Protocol, Sniff, Wanted};

const NOTHING: Wanted = Wanted { tls: false, http: false, quic: false };

fn domain(name: &str) -> Domain {
    Domain::new(name).unwrap()
}

fn session(network: Network, target: &str) -> Session {
    let local = SocketAddr::from(([192, 0, 2, 1], 7893));
    let entry = Entry { inbound: "tproxy".into(), protocol: Spoken::Tproxy, local, user: None };
    let client = SocketAddr::from(([192, 0, 2, 7], 50_000)).into();
    Session::new(network, entry, client, target.parse().unwrap())
}

fn names(wanted: &'static str) -> NameSet {
    NameSet::new(move |name| name.as_str() == wanted)
}

fn addresses(wanted: [u8; 4]) -> AddressSet {
    AddressSet::new(move |ip| ip == IpAddr::from(wanted))
}

/// Everything is looked for, as the documentation's example has it.
fn options() -> Options {
    Options {
        tls: Some(Sniff { ports: vec![443..=443, 8443..=8450], override_destination: None }),
        http: Some(Sniff { ports: vec![80..=80, 8080..=8880], override_destination: Some(false) }),
        quic: Some(Sniff::quic()),
        ..Options::default()
    }
}

fn wants(options: Options, session: &Session, mapped: Option<&str>) -> Option<Wanted> {
    Plan::new(options).wants(session, mapped.map(domain).as_ref(), Instant::now())
}

#[test]
fn ports_decide_which_sniffers_run() {
    for (network, port, wanted) in [
        (Network::Tcp, 443, Some(Wanted { tls: true, ..NOTHING })),
        (Network::Tcp, 80, Some(Wanted { http: true, ..NOTHING })),
        (Network::Tcp, 8443, Some(Wanted { tls: true, http: true, ..NOTHING })),
        (Network::Tcp, 8880, Some(Wanted { http: true, ..NOTHING })),
        (Network::Tcp, 8881, None),
        (Network::Tcp, 22, None),
        (Network::Udp, 443, Some(Wanted { quic: true, ..NOTHING })),
        (Network::Udp, 8443, None),
        (Network::Udp, 80, None),
    ] {
        let session = session(network, &format!("203.0.113.5:{port}"));
        assert_eq!(wants(options(), &session, None), wanted, "{network} {port}");
        assert_eq!(wants(Options { enable: false, ..options() }, &session, None), None);
        assert_eq!(wants(Options::default(), &session, None), None);
    }
}

#[test]
fn the_order_of_the_decision() {
    let off = || Options { parse_pure_ip: false, force_dns_mapping: false, ..options() };
    let bare = session(Network::Tcp, "203.0.113.5:443");
    let named = session(Network::Tcp, "a.example:443");
    for (what, options, session, mapped, looked_at) in [
        ("a bare address", options(), &bare, None, true),
        ("parse-pure-ip off", Options { parse_pure_ip: false, ..options() }, &bare, None, false),
        ("redir-host", options(), &bare, Some("a.example"), true),
        ("force-dns-mapping alone", Options { parse_pure_ip: false, ..options() }, &bare, Some("a.example"), true),
        ("force-dns-mapping off", Options { force_dns_mapping: false, ..options() }, &bare, Some("a.example"), false),
        ("a name from the client", options(), &named, None, false),
        ("one that is forced", Options { force_domain: names("a.example"), ..off() }, &named, None, true),
        ("another is forced", Options { force_domain: names("b.example"), ..off() }, &named, None, false),
        (
            "a forced name of redir-host",
            Options { force_domain: names("a.example"), ..off() },
            &bare,
            Some("a.example"),
            true,
        ),
        ("skip-dst", Options { skip_dst_address: addresses([203, 0, 113, 5]), ..options() }, &bare, None, false),
        ("another skip-dst", Options { skip_dst_address: addresses([203, 0, 113, 6]), ..options() }, &bare, None, true),
        ("skip-src", Options { skip_src_address: addresses([192, 0, 2, 7]), ..options() }, &bare, None, false),
        (
            "skip-src before force-domain",
            Options { skip_src_address: addresses([192, 0, 2, 7]), force_domain: names("a.example"), ..options() },
            &named,
            None,
            false,
        ),
    ] {
        assert_eq!(wants(options, session, mapped).is_some(), looked_at, "{what}");
    }
}

#[test]
fn what_is_taken_and_what_it_overrides() {
    let target = Target::new(IpAddr::from([203, 0, 113, 5]), 443);
    let taken = |options: Options, protocol| {
        let found = Found { protocol, name: domain("a.example") };
        Plan::new(options).accept(&target, found).map(|taken| (taken.name.to_string(), taken.override_destination))
    };
    let name = || "a.example".to_owned();
    assert_eq!(taken(options(), Protocol::Tls), Some((name(), true)));
    assert_eq!(taken(options(), Protocol::Http), Some((name(), false)));
    assert_eq!(taken(options(), Protocol::Quic), Some((name(), true)));
    let general = Options { override_destination: false, ..options() };
    assert_eq!(taken(general, Protocol::Tls), Some((name(), false)));
    let skipping = Options { skip_domain: names("a.example"), ..options() };
    assert_eq!(taken(skipping, Protocol::Tls), None);
}

/// F-A15: a server that speaks first is waited for six times, not for ever.
#[test]
fn f_a15_failures_end_the_looking() {
    let plan = Plan::new(Options { force_domain: names("a.example"), ..options() });
    let bare = session(Network::Tcp, "203.0.113.5:443");
    let (other_port, udp) = (session(Network::Tcp, "203.0.113.5:8443"), session(Network::Udp, "203.0.113.5:443"));
    let now = Instant::now();
    for _ in 0..6 {
        assert!(plan.wants(&bare, None, now).is_some());
        plan.failed(&bare, now);
        plan.failed(&udp, now);
    }
    assert_eq!(plan.wants(&bare, None, now), None);
    assert!(plan.wants(&other_port, None, now).is_some());
    assert!(plan.wants(&udp, None, now).is_some(), "datagrams are looked at whatever has failed");
    assert!(plan.wants(&bare, Some(&domain("a.example")), now).is_some(), "forced");
    assert!(plan.wants(&bare, None, now + Duration::from_secs(600)).is_some(), "forgotten");

    for (protocol, cleared) in [(Protocol::Quic, false), (Protocol::Tls, true)] {
        assert!(plan.accept(&bare.target, Found { protocol, name: domain("b.example") }).is_some());
        assert_eq!(plan.wants(&bare, None, now).is_some(), cleared, "{protocol}");
    }
}

#[test]
fn the_memory_of_failures_is_bounded() {
    let plan = Plan::new(options());
    let now = Instant::now();
    let first = session(Network::Tcp, "203.0.113.5:443");
    (0..6).for_each(|_| plan.failed(&first, now));
    assert_eq!(plan.wants(&first, None, now), None);
    for n in 0..10_000u32 {
        let mut other = first.clone();
        other.target.host = Host::from(IpAddr::from(n.to_be_bytes()));
        plan.failed(&other, now + Duration::from_millis(1));
    }
    assert!(plan.wants(&first, None, now).is_some(), "128 others have failed since");
}
