//! The classic ports and `listeners:`.

use std::net::SocketAddr;

use adit_config::{InboundPlan, Plan};
use adit_inbound::Kind;
use adit_net::ClientAddr;

use crate::scene::{only_error, plan, warnings};

fn listening(plan: &Plan) -> Vec<String> {
    let shown = |inbound: &InboundPlan| {
        let optional = if inbound.optional { "?" } else { "" };
        format!("{} {:?} {}{optional}", inbound.options.name, inbound.options.kind, inbound.options.listen)
    };
    plan.inbounds.iter().map(shown).collect()
}

fn admits(inbound: &InboundPlan, ip: &str) -> bool {
    inbound.options.access.admits(ClientAddr::from(SocketAddr::new(ip.parse().unwrap(), 1)))
}

/// F-C1: without allow-lan, loopback of both families and nothing else.
#[test]
fn without_allow_lan_only_loopback_is_bound() {
    let plan = plan("port: 7890\nsocks-port: 7891\nmixed-port: 7892\nredir-port: 0\nbind-address: 0.0.0.0\n");
    assert_eq!(
        listening(&plan),
        [
            "DEFAULT-HTTP Http 127.0.0.1:7890",
            "DEFAULT-HTTP Http [::1]:7890?",
            "DEFAULT-SOCKS Socks 127.0.0.1:7891",
            "DEFAULT-SOCKS Socks [::1]:7891?",
            "DEFAULT-MIXED Mixed 127.0.0.1:7892",
            "DEFAULT-MIXED Mixed [::1]:7892?",
        ]
    );
    assert!(plan.notices.is_empty(), "{:?}", plan.notices);
}

#[test]
fn allow_lan_binds_the_address_that_is_asked_for() {
    for (bind, shown) in [
        ("'*'", "[::]:1"),
        ("0.0.0.0", "0.0.0.0:1"),
        ("192.168.1.2", "192.168.1.2:1"),
        ("'[::]'", "[::]:1"),
        ("'[fd00::1]'", "[fd00::1]:1"),
    ] {
        let plan = plan(&format!("mixed-port: 1\nallow-lan: true\nbind-address: {bind}\n"));
        assert_eq!(listening(&plan), [format!("DEFAULT-MIXED Mixed {shown}")]);
    }
}

/// F-C2: nobody on the internet is served by accident, and start-up says who is.
#[test]
fn an_open_door_serves_private_sources_and_says_so() {
    let open = plan("mixed-port: 1\nallow-lan: true\n");
    assert!(admits(&open.inbounds[0], "192.168.1.5") && admits(&open.inbounds[0], "100.64.0.1"));
    assert!(!admits(&open.inbounds[0], "8.8.8.8"));
    assert_eq!(open.notices.len(), 1);
    assert!(open.notices[0].starts_with("allow-lan without users: only loopback, private"), "{:?}", open.notices);

    let listed =
        plan("mixed-port: 1\nallow-lan: true\nlan-allowed-ips: [0.0.0.0/0, '::/0']\nlan-disallowed-ips: [8.8.4.4]\n");
    assert!(admits(&listed.inbounds[0], "8.8.8.8") && !admits(&listed.inbounds[0], "8.8.4.4"));
    assert!(listed.notices[0].contains("is served without a password"), "{:?}", listed.notices);

    let with_users =
        plan("mixed-port: 1\nallow-lan: true\nauthentication: ['a:b:c', 'd:']\nskip-auth-prefixes: [10.0.0.0/8]\n");
    let options = &with_users.inbounds[0].options;
    assert!(admits(&with_users.inbounds[0], "8.8.8.8") && with_users.notices.is_empty());
    assert_eq!(options.users.find(b"a", b"b:c").as_deref(), Some("a"));
    assert_eq!(options.users.find(b"d", b"").as_deref(), Some("d"));
    let proof = |ip: &str| options.users.must_prove(ClientAddr::from(SocketAddr::new(ip.parse().unwrap(), 1)));
    assert!(proof("8.8.8.8") && !proof("10.1.1.1"));

    let nobody = plan("mixed-port: 1\nlan-allowed-ips: []\n");
    assert!(!admits(&nobody.inbounds[0], "127.0.0.1"));
    assert!(warnings("authentication: [nocolon]\n")[0].contains("has no colon"));
}

#[test]
fn listeners_have_users_ports_and_pins_of_their_own() {
    let text = "\
authentication: ['u:p']
proxies: [{name: exit, type: direct}]
sub-rules: {inner: ['MATCH,DIRECT']}
listeners:
  - {name: a, type: mixed, port: 100}
  - {name: b, type: socks, port: '200/302,400-402', listen: 127.0.0.1, users: [], udp: false, rule: inner}
  - {name: c, type: http, port: 500, listen: '::', users: [{username: x, password: y}], proxy: exit}
  - {name: d, type: tunnel, port: 600}
  - {name: e, type: http, port: 700, certificate: ./x.pem, private_key: ./y.pem}
  - {name: f, type: http, port: 800, listen: 127.0.0.1, rule: nothing, proxy: nobody}
";
    let plan = plan(text);
    assert_eq!(
        listening(&plan),
        [
            "a Mixed 0.0.0.0:100",
            "b Socks 127.0.0.1:200",
            "b Socks 127.0.0.1:302",
            "b Socks 127.0.0.1:400",
            "b Socks 127.0.0.1:401",
            "b Socks 127.0.0.1:402",
            "c Http [::]:500",
            "f Http 127.0.0.1:800",
        ]
    );
    let [a, b, .., c, f] = plan.inbounds.as_slice() else { panic!() };
    assert!(a.options.users.find(b"u", b"p").is_some() && a.options.udp);
    assert!(b.options.users.is_empty() && !b.options.udp);
    assert_eq!(b.rule.as_deref(), Some("inner"));
    assert!(c.options.users.find(b"x", b"y").is_some() && c.options.users.find(b"u", b"p").is_none());
    assert_eq!((c.proxy.as_deref(), c.options.kind, c.options.udp), (Some("exit"), Kind::Http, false));
    assert_eq!((f.rule.as_deref(), f.proxy.as_deref()), (None, Some("REJECT")));
    let found = warnings(text);
    for about in ["type tunnel", "listeners with TLS", "there is no sub-rule 'nothing'", "proxy nobody not found"] {
        assert!(found.iter().any(|warning| warning.contains(about)), "{about}: {found:#?}");
    }
}

/// F-D12
#[test]
fn listeners_that_are_wrong_are_refused() {
    for (listeners, message) in [
        ("{name: a, port: 1}", "proxy 0: missing type"),
        ("{type: mixed}", "proxy 0: '' has unset fields: name, port"),
        ("{name: a, type: mixd, port: 1}", "proxy 0: unsupport proxy type: mixd"),
        ("{name: a, type: mixed, port: 1-70000}", "`port` must be a port or a list of port ranges, found '1-70000'"),
        (
            "{name: a, type: mixed, port: 1-60000}",
            "`port` must be a port or a list of port ranges, at most 1024 ports in all, found '1-60000'",
        ),
        ("{name: a, type: mixed, port: 1, listen: home}", "`listen` must be an address, found 'home'"),
        ("{name: a, type: mixed, port: 1}, {name: a, type: http, port: 2}", "listener a is the duplicate name"),
        ("{name: a, type: mixed, port: 7890}", "port 7890 is taken by `mixed-port` already"),
        (
            "{name: a, type: mixed, port: 5}, {name: b, type: http, port: 5, listen: 127.0.0.1}",
            "port 5 is taken by the listener 'a' already",
        ),
    ] {
        assert_eq!(only_error(&format!("mixed-port: 7890\nlisteners: [{listeners}]\n")), message);
    }
    assert_eq!(only_error("port: 1\nsocks-port: 1\n"), "port 1 is taken by `port` already");
    plan(
        "listeners: [{name: a, type: http, port: 5, listen: 127.0.0.1}, {name: b, type: http, port: 5, listen: '::1'}]",
    );
}
