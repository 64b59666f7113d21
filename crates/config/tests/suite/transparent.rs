//! Listeners for what host rules capture, and what belongs to them.

use std::net::SocketAddr;

use adit_config::{FindProcess, Plan, TransparentPlan};
use adit_net::ClientAddr;
use adit_outbound::options::Kind;

use crate::scene::{errors, loaded, only_error, outbound, plan, warnings};

fn listening(plan: &Plan) -> Vec<String> {
    let shown = |inbound: &TransparentPlan| {
        let options = &inbound.options;
        let udp = if options.udp { "+udp" } else { "" };
        let optional = if inbound.optional { "?" } else { "" };
        format!("{} {:?}{udp} {}{optional}", options.name, options.interception, options.listen)
    };
    plan.transparent.iter().map(shown).collect()
}

#[test]
fn ports_listen_on_loopback_or_everywhere() {
    let ports = "redir-port: 7892\ntproxy-port: 0x1ed5\n";
    let host = plan(ports);
    assert_eq!(
        listening(&host),
        [
            "DEFAULT-REDIR Redirect 127.0.0.1:7892",
            "DEFAULT-REDIR Redirect [::1]:7892?",
            "DEFAULT-TPROXY Tproxy+udp 127.0.0.1:7893",
            "DEFAULT-TPROXY Tproxy+udp [::1]:7893?",
        ]
    );
    let gateway = plan(&format!("{ports}allow-lan: true\nrouting-mark: 0xffffff\nkeep-alive-idle: 7\n"));
    assert_eq!(listening(&gateway), ["DEFAULT-REDIR Redirect [::]:7892", "DEFAULT-TPROXY Tproxy+udp [::]:7893"]);
    assert!(gateway.notices.is_empty(), "they are no open doors: {:?}", gateway.notices);
    assert!(gateway.inbounds.is_empty());
    let options = &gateway.transparent[0].options;
    assert_eq!((options.mark, options.keep_alive.idle.as_secs()), (0xff_ffff, 7));
    assert!(plan("redir-port: 0\ntproxy-port: 0\nallow-lan: true\n").transparent.is_empty());
}

/// Traffic of this host arrives on loopback, which such an address is not.
#[test]
fn an_address_that_misses_traffic_of_this_host_is_doubted() {
    let one = "tproxy-port: 1\nallow-lan: true\nbind-address: 192.168.1.2\n";
    assert_eq!(listening(&plan(one)), ["DEFAULT-TPROXY Tproxy+udp 192.168.1.2:1"]);
    let found = warnings(one);
    assert!(found.len() == 1 && found[0].contains("at 192.168.1.2 only the latter arrives"), "{found:?}");
    let range = "listeners: [{name: a, type: redir, port: 1-9, listen: 10.0.0.1}]\n";
    assert_eq!(warnings(range).len(), 1, "once: {:?}", warnings(range));
    for listen in ["127.0.0.1", "'::1'", "0.0.0.0", "'::'"] {
        let text = format!("listeners: [{{name: a, type: redir, port: 1, listen: {listen}}}]\n");
        assert_eq!(warnings(&text), [""; 0], "{listen}");
    }
}

#[test]
fn listeners_have_the_keys_of_all_and_those_of_their_type() {
    let text = "\
routing-mark: 7
proxies: [{name: exit, type: direct}]
sub-rules: {inner: ['MATCH,DIRECT']}
listeners:
  - {name: a, type: redir, port: 100}
  - {name: b, type: tproxy, port: '200/302,400-401', listen: 127.0.0.1, udp: false, rule: inner}
  - {name: c, type: redir, port: 500, listen: '[::1]', udp: true, proxy: exit, routing_mark: 9}
  - {name: d, type: tproxy, port: 600, rule: nothing, proxy: nobody}
  - {name: e, type: tproxy, port: 700, users: [], certificate: x, mptcp: true}
";
    let plan = plan(text);
    assert_eq!(
        listening(&plan),
        [
            "a Redirect [::]:100",
            "b Tproxy 127.0.0.1:200",
            "b Tproxy 127.0.0.1:302",
            "b Tproxy 127.0.0.1:400",
            "b Tproxy 127.0.0.1:401",
            "c Redirect+udp [::1]:500",
            "d Tproxy+udp [::]:600",
            "e Tproxy+udp [::]:700",
        ]
    );
    let [a, b, .., c, d, _] = plan.transparent.as_slice() else { panic!() };
    assert_eq!((a.rule.as_deref(), a.proxy.as_deref(), a.options.mark, a.optional), (None, None, 7, false));
    assert_eq!(b.rule.as_deref(), Some("inner"));
    assert_eq!((c.proxy.as_deref(), c.options.mark), (Some("exit"), 9));
    assert_eq!((d.rule.as_deref(), d.proxy.as_deref()), (None, Some("REJECT")), "F-0: fails closed");
    assert_eq!(
        warnings(text),
        [
            "there is no sub-rule 'nothing'; the main rules are used",
            "proxy nobody not found; this listener refuses all connections",
            "unknown key `users` in a listener of type tproxy; it has no effect",
            "unknown key `certificate` in a listener of type tproxy; it has no effect",
            "`mptcp` in a listener of type tproxy is not supported yet and has no effect",
        ]
    );
}

/// F-C3. Whose traffic is captured is for host rules to say: a public address of this host, an IPv6 client of the LAN.
#[test]
fn captured_clients_are_served_unless_they_are_denied() {
    let admits = |text: &str, ip: &str| {
        let plan = plan(text);
        let client = ClientAddr::from(SocketAddr::new(ip.parse().unwrap(), 1));
        let first = plan.transparent[0].options.access.admits(client);
        assert!(plan.transparent.iter().all(|inbound| inbound.options.access.admits(client) == first));
        first
    };
    let anyone = ["127.0.0.1", "::1", "192.168.1.9", "203.0.113.9", "2001:db8::9"];
    for text in [
        "redir-port: 1\n",
        "redir-port: 1\nallow-lan: true\n",
        "redir-port: 1\nallow-lan: true\nlan-allowed-ips: []\n",
        "listeners: [{name: a, type: tproxy, port: 1}]\nlan-allowed-ips: [10.0.0.0/8]\n",
    ] {
        for ip in anyone {
            assert!(admits(text, ip), "{ip}: {text}");
        }
    }
    let denying = "tproxy-port: 1\nallow-lan: true\nlan-disallowed-ips: [192.168.1.0/24, '2001:db8::/32']\n";
    assert_eq!(anyone.map(|ip| admits(denying, ip)), [true, true, false, true, false]);

    let notices = |text: &str| plan(text).notices;
    let listed = notices("tproxy-port: 1\nallow-lan: true\nlan-allowed-ips: [10.0.0.0/8]\n");
    assert!(listed.len() == 1 && listed[0].contains("does not concern redir and tproxy"), "{listed:?}");
    assert!(notices("tproxy-port: 1\nlan-allowed-ips: ['0.0.0.0/0', '::/0']\n").is_empty());
    assert!(notices("socks-port: 1\nlan-allowed-ips: [10.0.0.0/8]\n").is_empty());
}

/// F-D12
#[test]
fn no_port_is_taken_twice() {
    for (text, message) in [
        ("mixed-port: 7\nredir-port: 7\n", "port 7 is taken by `mixed-port` already"),
        ("tproxy-port: 7\nredir-port: 7\n", "port 7 is taken by `redir-port` already"),
        ("tproxy-port: 7\nlisteners: [{name: a, type: socks, port: 7}]\n", "port 7 is taken by `tproxy-port` already"),
        (
            "listeners: [{name: a, type: tproxy, port: 7}, {name: b, type: http, port: 5-9, listen: 10.0.0.1}]\n",
            "port 7 is taken by the listener 'a' already",
        ),
        (
            "listeners: [{name: a, type: tproxy, port: 7}, {name: a, type: redir, port: 8}]\n",
            "listener a is the duplicate name",
        ),
        (
            "tproxy-port: 1053\ndns: {enable: true, nameserver: [192.0.2.1], listen: '0.0.0.0:1053'}\n",
            "port 1053 is taken by `tproxy-port` already",
        ),
        (
            "listeners: [{name: a, type: redir, port: 53}]\ndns: {enable: true, nameserver: [192.0.2.1], listen: ':53'}\n",
            "port 53 is taken by the listener 'a' already",
        ),
        ("redir-port: 65536\n", "`redir-port` must be a port from 0 to 65535, found '65536'"),
        ("listeners: [{type: redir}]\n", "proxy 0: '' has unset fields: name, port"),
        ("listeners: [{name: a, type: redir, port: 0}]\n", "`port` must be a port or a list of port ranges, found '0'"),
        ("listeners: [{name: a, type: tproxi, port: 1}]\n", "proxy 0: unsupport proxy type: tproxi"),
    ] {
        assert_eq!(only_error(text), message);
    }
    plan("redir-port: 7\nlisteners: [{name: a, type: socks, port: 7, listen: 10.0.0.1}]\n");
    plan("redir-port: 7\ndns: {enable: false, listen: '127.0.0.1:7'}\n");
    plan("redir-port: 7\ndns: {enable: true, nameserver: [192.0.2.1], listen: '127.0.0.1:53'}\n");
}

/// F-B13: host rules know our own packets by the mark, and captured ones by other bits of it.
#[test]
fn routing_marks_leave_the_bits_of_captured_packets_alone() {
    let message = |mark: &str| format!("`routing-mark` {mark} has bits of 0xff000000, which mark captured packets");
    for (text, mark) in [
        ("redir-port: 1\nrouting-mark: 0x1000000\n", "0x1000000"),
        ("routing-mark: 4294967295\nlisteners: [{name: a, type: tproxy, port: 1}]\n", "0xffffffff"),
        ("redir-port: 1\nproxies: [{name: p, type: direct, routing-mark: 0xad000001}]\n", "0xad000001"),
        ("redir-port: 1\nproxies: [{name: p, type: direct, routing_mark: 0x2000000}]\n", "0x2000000"),
        ("listeners: [{name: a, type: redir, port: 1, routing-mark: 0x80000000}]\n", "0x80000000"),
    ] {
        assert_eq!(only_error(text), message(mark));
        let problems = loaded(text).problems;
        let hint = problems.iter().next().unwrap().hint.clone();
        assert!(hint.unwrap().contains("16777215"));
    }
    let twice = "tproxy-port: 1\nrouting-mark: 0x1000000\nproxies: [{name: p, type: direct}]\n";
    assert_eq!(errors(twice).len(), 1, "a proxy that inherits it is not blamed");
    let alone = plan("mixed-port: 1\nrouting-mark: 0xffffffff\nproxies: [{name: p, type: direct, routing-mark: 1}]\n");
    assert_eq!(alone.general.routing_mark, u32::MAX);
    plan("redir-port: 1\nrouting-mark: 0xffffff\nproxies: [{name: p, type: direct, routing-mark: 0}]\n");
}

#[test]
fn questions_can_be_answered_by_rule() {
    let text = "\
dns: {enable: true, nameserver: [192.0.2.1]}
proxies: [{name: dns-out, type: dns}]
rules: ['DST-PORT,53,dns-out', 'MATCH,DIRECT']
";
    assert_eq!(warnings(text), [""; 0]);
    let plan = plan(text);
    let dns = outbound(&plan, "dns-out");
    assert!(matches!(dns.kind, Kind::Dns) && dns.common.udp);
    let excluded = "\
proxies: [{name: dns-out, type: dns}, {name: p, type: direct}]
proxy-groups: [{name: G, type: select, include-all: true, exclude-type: Dns}]
";
    let members = crate::scene::plan(excluded).groups[0].members.clone();
    assert_eq!(members.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["p"]);
    let odd = "proxies: [{name: dns-out, type: dns, server: 1.1.1.1, tfo: true}]\n";
    assert_eq!(
        warnings(odd),
        [
            "'dns-out' answers from our own DNS, which is off: questions that rules send there fail",
            "unknown key `server` in a proxy of type dns; it has no effect",
            "`tfo` in a proxy of type dns is not supported yet and has no effect",
        ]
    );
}

#[test]
fn processes_are_looked_up_unless_that_is_off() {
    let rules = "rules: ['PROCESS-NAME,curl,REJECT', 'UID,1000,REJECT', 'MATCH,DIRECT']\n";
    for (mode, meant) in [
        ("", FindProcess::Strict),
        ("find-process-mode: strict\n", FindProcess::Strict),
        ("find-process-mode: Always\n", FindProcess::Always),
    ] {
        let text = format!("{mode}{rules}");
        assert_eq!(warnings(&text), [""; 0]);
        assert_eq!(plan(&text).general.find_process, meant);
    }
    let off = format!("find-process-mode: off\n{rules}");
    assert_eq!(plan(&off).general.find_process, FindProcess::Off);
    let found = warnings(&off);
    assert!(found.len() == 1 && found[0].contains("processes are not looked up"), "{found:?}");
    let error = only_error("find-process-mode: sometimes\n");
    assert_eq!(error, "invalid find process mode: sometimes");
}

#[test]
fn what_is_stored_is_said() {
    for (profile, stored) in
        [("", false), ("profile: {}\n", false), ("profile: {store-fake-ip: true}\n", true), ("profile: ~\n", false)]
    {
        let text = format!("mixed-port: 1\n{profile}");
        assert_eq!(plan(&text).general.store_fake_ip, stored, "{profile}");
        assert_eq!(warnings(&text), [""; 0], "{profile}");
    }
    assert_eq!(warnings("profile: {store-selected: false, store-fake-ip: true}\n"), [""; 0]);
    assert_eq!(
        warnings("profile: {store-selected: true, store-fakeip: true}\n"),
        ["unknown key `store-fakeip` in `profile`; it has no effect"]
    );
    assert_eq!(only_error("profile: {store-fake-ip: often}\n"), "`store-fake-ip` must be true or false, found 'often'");
}

#[test]
fn host_rules_are_not_installed_by_a_configuration() {
    let keys = "inbound-interface: eth0, bypass: [10.0.0.0/8], dns-redirect: false";
    let loaded = loaded(&format!("tproxy-port: 1\niptables: {{enable: true, {keys}}}\n"));
    assert!(loaded.plan.is_some());
    let found: Vec<_> = loaded.problems.iter().collect();
    assert_eq!(found.len(), 1);
    assert!(found[0].message.starts_with("`iptables` has no effect"), "{}", found[0]);
    assert!(found[0].hint.as_deref().unwrap().contains("adit redirect up"));
    for off in ["iptables: {enable: false}", "iptables: {inbound-interface: lo}", "iptables: {}", "iptables: ~"] {
        assert_eq!(warnings(&format!("{off}\nmixed-port: 1\n")), [""; 0], "{off}");
    }
}
