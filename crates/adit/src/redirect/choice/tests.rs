use adit_config::{DEFAULT_CONFIG, DnsPlan, Source, load};
use adit_dns::{FakeFilter, FakeRanges, Upstreams};
use adit_inbound::{Access, TransparentOptions};
use adit_net::KeepAlive;

use super::*;
use crate::redirect::ModeWord;

/// A configuration with a mark and these listeners.
fn plan(listeners: &[(Interception, &str)]) -> Plan {
    let source = Source {
        name: "<built-in>".into(),
        text: DEFAULT_CONFIG.into(),
        home: ".".into(),
        overrides: Default::default(),
    };
    let mut plan = load(&source).plan.unwrap();
    plan.general.routing_mark = 45;
    plan.transparent = listeners.iter().map(|(interception, listen)| part(*interception, listen)).collect();
    plan
}

fn part(interception: Interception, listen: &str) -> TransparentPlan {
    let options = TransparentOptions {
        name: "here".into(),
        interception,
        listen: listen.parse().unwrap(),
        access: Access::everyone(),
        udp: interception == Interception::Tproxy,
        mark: 45,
        keep_alive: KeepAlive::default(),
    };
    TransparentPlan { options, optional: false, rule: None, proxy: None }
}

fn tproxy() -> Plan {
    plan(&[(Interception::Tproxy, "[::]:7893")])
}

fn lan() -> CaptureArgs {
    CaptureArgs { interfaces: vec!["lan0".parse().unwrap()], ..CaptureArgs::default() }
}

fn chosen(args: &CaptureArgs, plan: &Plan) -> Choice {
    choose(args, plan, "config.yaml").unwrap_or_else(|wrong| panic!("{wrong:?}"))
}

/// The only thing that is wrong.
fn wrong(args: &CaptureArgs, plan: &Plan) -> String {
    let wrong = choose(args, plan, "config.yaml").unwrap_err();
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    wrong[0].to_string()
}

#[test]
fn the_configuration_says_where_traffic_goes() {
    let both = plan(&[(Interception::Redirect, "[::]:7892"), (Interception::Tproxy, "[::]:7893")]);
    let Choice { options, notes } = chosen(&lan(), &both);
    assert_eq!((options.mode, options.port, options.owner.mark), (Mode::Tproxy, 7893, 45));
    assert!(options.host && options.ipv6 && options.dns.is_none() && !options.kill_switch);
    assert!(options.bypass.endpoints.is_empty());
    assert_eq!(notes, [""; 0]);
    let redirect = CaptureArgs { mode: Some(ModeWord::Redirect), ..CaptureArgs::default() };
    assert_eq!(chosen(&redirect, &both).options.port, 7892);
    let port = CaptureArgs { port: Some(7892), ..CaptureArgs::default() };
    assert_eq!(chosen(&port, &both).options.mode, Mode::Redirect);
    let none = CaptureArgs { port: Some(7891), ..CaptureArgs::default() };
    let it_has = "it has --mode redirect --port 7892, --mode tproxy --port 7893";
    assert!(wrong(&none, &both).ends_with(it_has), "{}", wrong(&none, &both));
}

#[test]
fn without_a_listener_or_a_mark_the_error_says_what_to_write() {
    assert!(wrong(&lan(), &plan(&[])).contains("`tproxy-port: 7893`"));
    let mut plan = tproxy();
    plan.general.routing_mark = 0;
    assert!(wrong(&lan(), &plan).contains("`routing-mark: 45` into config.yaml"));
    let user = CaptureArgs { user: Some(991), ..lan() };
    assert_eq!(chosen(&user, &plan).options.owner.uid, Some(991));
    plan.general.routing_mark = 0x0100_0000;
    assert!(wrong(&lan(), &plan).contains("below 0x1000000"));
    let nothing = CaptureArgs { no_host: true, ..CaptureArgs::default() };
    assert!(wrong(&nothing, &tproxy()).contains("--interface"));
}

/// What forwarded traffic, and each family, does not reach.
#[test]
fn a_listener_that_captured_traffic_does_not_reach_is_named() {
    let loopback = plan(&[(Interception::Tproxy, "127.0.0.1:7893"), (Interception::Tproxy, "[::1]:7893")]);
    assert!(chosen(&CaptureArgs::default(), &loopback).options.ipv6);
    let said = wrong(&lan(), &loopback);
    assert!(said.contains("127.0.0.1:7893 and [::1]:7893") && said.contains("`allow-lan: true`"), "{said}");
    for listen in ["0.0.0.0:7893", "127.0.0.1:7893"] {
        let ipv4 = plan(&[(Interception::Tproxy, listen)]);
        assert!(wrong(&CaptureArgs::default(), &ipv4).contains("--no-ipv6"));
        let without = chosen(&CaptureArgs { no_ipv6: true, ..CaptureArgs::default() }, &ipv4);
        assert!(!without.options.ipv6);
        assert_eq!(without.notes.len(), 1);
    }
    let elsewhere = plan(&[(Interception::Tproxy, "192.168.1.1:7893")]);
    assert!(wrong(&CaptureArgs::default(), &elsewhere).contains("does not reach"));
    let mut deaf = tproxy();
    deaf.transparent[0].options.udp = false;
    assert!(wrong(&lan(), &deaf).contains("`udp: true`"));
}

fn answering(listen: Option<&str>, mode: DnsMode) -> Plan {
    let mut plan = tproxy();
    plan.dns = Some(DnsPlan {
        listen: listen.map(|listen| listen.parse().unwrap()),
        upstreams: Upstreams::default(),
        mode,
        ipv6: true,
        uses_hosts: true,
        uses_system_hosts: true,
    });
    plan
}

#[test]
fn questions_go_to_the_dns_server_of_the_configuration() {
    let ranges = FakeRanges { v4: Some("198.18.0.0/16".parse().unwrap()), v6: Some("fc00::/18".parse().unwrap()) };
    let filter = FakeFilter::Rules(Vec::new());
    let mode = DnsMode::FakeIp { ranges, filter, ttl: 1, store: None };
    let Choice { options, notes } = chosen(&lan(), &answering(Some("[::]:1053"), mode));
    assert_eq!((options.dns, notes), (Some(1053), Vec::new()));
    assert_eq!(options.fake, ["198.18.0.0/16".parse().unwrap(), "fc00::/18".parse().unwrap()]);

    let loopback = answering(Some("127.0.0.1:1053"), DnsMode::Normal);
    assert!(wrong(&lan(), &loopback).contains("write `listen: ':1053'` under `dns`, or --no-dns"));
    let ipv4 = answering(Some("0.0.0.0:1053"), DnsMode::Normal);
    assert!(wrong(&lan(), &ipv4).contains("--no-ipv6"));
    assert!(wrong(&lan(), &answering(Some("[::]:7893"), DnsMode::Normal)).contains("a port of its own"));

    let elsewhere = CaptureArgs { dns_port: Some(5353), ..lan() };
    assert_eq!(chosen(&elsewhere, &loopback).options.dns, Some(5353));
    assert_eq!(chosen(&CaptureArgs { no_dns: true, ..lan() }, &loopback).options.dns, None);
    let Choice { options, notes } = chosen(&lan(), &answering(None, DnsMode::Normal));
    assert_eq!((options.dns, notes.len()), (None, 1));
}

/// Packets of ours that carry another mark, or none.
#[test]
fn every_packet_of_ours_is_let_through() {
    let mut plan = tproxy();
    plan.outbounds[0].common.socket.mark = 46;
    assert_eq!(chosen(&lan(), &plan).options.bypass.marks, [Mark { value: 46, mask: u32::MAX }]);

    let text = "
proxies:
  - {name: a, type: socks5, server: 203.0.113.1, port: 1080}
  - {name: b, type: http, server: proxy.example.com, port: 80}
rules: ['MATCH,a']
";
    let source =
        Source { name: "config.yaml".into(), text: text.into(), home: ".".into(), overrides: Default::default() };
    let mut unmarked = load(&source).plan.unwrap();
    unmarked.transparent = plan.transparent;
    let args = CaptureArgs { user: Some(991), ..lan() };
    let endpoint = Endpoint { transport: Transport::Tcp, addr: "203.0.113.1:1080".parse().unwrap() };
    assert_eq!(chosen(&args, &unmarked).options.bypass.endpoints, [endpoint]);
}
