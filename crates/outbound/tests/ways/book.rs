use std::sync::Arc;

use adit_net::{DialError, Tag};
use adit_outbound::options::{Common, Group, GroupKind, Kind, Outbound, Tls, Verify};
use adit_outbound::{Book, Role, SelectError};

use crate::scene::{
    Flow, Names, asked, book, connect, echo, expect_echo, outbound, refusal, select, serve, target, udp_echo, via,
};
use crate::{http, socks5};

fn reject(name: &str) -> Outbound {
    outbound(name, Kind::Reject)
}

fn chain(book: &Book, name: &str) -> Vec<String> {
    book.find(name).unwrap().chain.iter().map(Tag::to_string).collect()
}

fn complaint(outbounds: Vec<Outbound>, groups: Vec<Group>) -> String {
    let names = Arc::new(Names::default());
    Book::build(outbounds, groups, Arc::clone(&names) as _, names).unwrap_err().to_string()
}

#[test]
fn built_ins_are_there_unless_defined() {
    let plain = book(Vec::new(), Vec::new(), Names::default());
    for (name, kind, role) in [
        ("DIRECT", "Direct", Role::Dial),
        ("REJECT", "Reject", Role::Dial),
        ("REJECT-DROP", "RejectDrop", Role::Dial),
        ("COMPATIBLE", "Compatible", Role::Dial),
        ("PASS", "Pass", Role::Pass),
        ("PASS-RULE", "PassRule", Role::Pass),
    ] {
        let way = plain.find(name).unwrap();
        assert_eq!((way.kind, way.role, way.udp), (kind, role, true), "{name}");
        assert_eq!(way.chain, [Tag::new(name)]);
    }
    assert!(plain.find("direct").is_none(), "names are case-sensitive");
    assert_eq!(chain(&plain, "GLOBAL"), ["DIRECT", "GLOBAL"]);

    let mut own = select("GLOBAL", &["REJECT"]);
    own.disable_udp = true;
    let defined = book(vec![reject("DIRECT")], vec![own], Names::default());
    assert_eq!(defined.find("DIRECT").unwrap().kind, "Reject");
    assert_eq!(chain(&defined, "GLOBAL"), ["REJECT", "GLOBAL"]);
}

#[test]
fn global_offers_everything_in_the_files_order() {
    let global =
        book(vec![reject("z"), reject("a")], vec![select("g2", &["a"]), select("g1", &["z"])], Names::default());
    for member in ["DIRECT", "REJECT", "z", "a", "g2", "g1"] {
        global.select("GLOBAL", member).unwrap();
    }
    assert_eq!(chain(&global, "GLOBAL"), ["z", "g1", "GLOBAL"]);
    for other in ["GLOBAL", "REJECT-DROP", "COMPATIBLE", "PASS", "nobody"] {
        assert_eq!(global.select("GLOBAL", other), Err(SelectError::NotAMember), "{other}");
    }
}

/// F-B6
#[tokio::test]
async fn rejects_tell_at_once() {
    let book = book(Vec::new(), Vec::new(), Names::default());
    let to = target("t.test:80");
    assert!(matches!(refusal(&book, "REJECT", &to).await.0, DialError::Denied(why) if why.contains("t.test:80")));
    assert!(matches!(refusal(&book, "REJECT-DROP", &to).await.0, DialError::Dropped));
    assert!(matches!(refusal(&book, "PASS", &to).await.0, DialError::Denied(_)));
    let datagrams = Flow::open(&book.find("REJECT").unwrap().dialer, &to).await;
    assert!(matches!(datagrams.err().unwrap(), DialError::Denied(_)));
}

#[tokio::test]
async fn groups_are_followed_when_somebody_dials() {
    let (at, _echo) = echo().await;
    let mut starts_at_b = select("inner", &["a", "b"]);
    starts_at_b.kind = GroupKind::Select { default: Some(Tag::new("b")) };
    let book = book(
        vec![reject("a"), outbound("b", Kind::Direct)],
        vec![select("outer", &["inner", "a"]), starts_at_b],
        Names::default(),
    );
    assert_eq!(chain(&book, "outer"), ["b", "inner", "outer"]);
    let way = book.find("outer").unwrap();
    assert_eq!((way.kind, way.udp, way.role), ("Direct", true, Role::Dial));
    expect_echo(&mut connect(&book, "outer", &target(at)).await.unwrap(), b"by b").await;

    book.select("inner", "a").unwrap();
    assert_eq!(chain(&book, "outer"), ["a", "inner", "outer"]);
    assert!(matches!(refusal(&book, "outer", &target(at)).await.0, DialError::Denied(_)));
    // Who holds a way keeps it.
    crate::scene::soon(way.dialer.connect(crate::scene::dial(&target(at)))).await.unwrap();

    book.select("outer", "a").unwrap();
    assert_eq!(chain(&book, "outer"), ["a", "outer"]);
    assert_eq!(book.select("outer", "b"), Err(SelectError::NotAMember));
    assert_eq!(book.select("a", "b"), Err(SelectError::NotASelector));
    assert_eq!(book.select("nothing", "b"), Err(SelectError::NotFound));
    assert_eq!(SelectError::NotAMember.to_string(), "Selector update error: proxy not exist");
    assert_eq!(SelectError::NotASelector.to_string(), "Must be a Selector");
    assert_eq!(chain(&book, "outer"), ["a", "outer"], "a refused choice changes nothing");
}

#[tokio::test]
async fn a_group_can_refuse_udp_and_pass_shows_through() {
    let (at, _echo) = udp_echo().await;
    let mut no_udp = select("no-udp", &["DIRECT"]);
    no_udp.disable_udp = true;
    let book = book(
        Vec::new(),
        vec![no_udp, select("passes", &["PASS", "no-udp"]), select("udp", &["DIRECT"])],
        Names::default(),
    );
    let way = book.find("no-udp").unwrap();
    assert!(!way.udp);
    assert!(matches!(Flow::open(&way.dialer, &target(at)).await.err().unwrap(), DialError::Unsupported(_)));
    let mut flow = Flow::open(&book.find("udp").unwrap().dialer, &target(at)).await.unwrap();
    flow.echo(b"carried", &target(at)).await;
    assert_eq!(book.find("passes").unwrap().role, Role::Pass);
    book.select("passes", "no-udp").unwrap();
    let way = book.find("passes").unwrap();
    assert!(way.role == Role::Dial && !way.udp);
}

/// A → (group → B) → target; and whatever the group chooses later.
#[tokio::test]
async fn servers_are_reached_through_other_proxies_and_groups() {
    let (at, _echo) = echo().await;
    let (a_script, b_script, c_script) =
        (socks5::Script::default(), socks5::Script::default(), http::Script::default());
    let (served_a, served_b, served_c) = (a_script.clone(), b_script.clone(), c_script.clone());
    let (a, _a) = serve(move |client| socks5::socks5(client, served_a.clone())).await;
    let (b, _b) = serve(move |client| socks5::socks5(client, served_b.clone())).await;
    let (c, _c) = serve(move |client| http::proxy(client, served_c.clone())).await;
    let book = book(
        vec![
            via(socks5::upstream("a", a, None), "hops"),
            socks5::upstream("b", b, None),
            via(http::upstream("c", c), "b"),
            via(outbound("direct-by-b", Kind::Direct), "b"),
        ],
        vec![select("hops", &["b", "c", "DIRECT"])],
        Names::default(),
    );
    let to = target(at);
    let mut stream = connect(&book, "a", &to).await.unwrap();
    assert!(stream.raw_reader().is_some(), "chains of plain proxies stay bare");
    expect_echo(&mut stream, b"target by a by b").await;
    assert_eq!(
        (asked(&b_script.log), asked(&a_script.log)),
        (vec![format!("connect {a}")], vec![format!("connect {to}")])
    );
    assert_eq!(chain(&book, "a"), ["a"]);

    book.select("hops", "c").unwrap();
    expect_echo(&mut connect(&book, "a", &to).await.unwrap(), b"target by a by c by b").await;
    assert_eq!(
        (asked(&b_script.log), asked(&a_script.log)),
        (vec![format!("connect {c}")], vec![format!("connect {to}")])
    );
    assert!(asked(&c_script.log)[0].starts_with(&format!("CONNECT {a} HTTP/1.1\r\n")));

    book.select("hops", "DIRECT").unwrap();
    expect_echo(&mut connect(&book, "a", &to).await.unwrap(), b"target by a").await;
    assert_eq!((asked(&b_script.log), asked(&a_script.log).len()), (vec![], 1));

    expect_echo(&mut connect(&book, "direct-by-b", &to).await.unwrap(), b"target by b").await;
    assert_eq!(asked(&b_script.log), [format!("connect {to}")]);
}

#[tokio::test]
async fn datagrams_go_through_a_relay_behind_a_relay() {
    let (at, _echo) = udp_echo().await;
    let (inner, outer) = (socks5::Script::default(), socks5::Script::default());
    let (served_inner, served_outer) = (inner.clone(), outer.clone());
    let (a, _a) = serve(move |client| socks5::socks5(client, served_inner.clone())).await;
    let (b, _b) = serve(move |client| socks5::socks5(client, served_outer.clone())).await;
    let book = book(
        vec![via(socks5::upstream("a", a, None), "b"), socks5::upstream("b", b, None)],
        Vec::new(),
        Names::default(),
    );
    let mut flow = Flow::open(&book.find("a").unwrap().dialer, &target(at)).await.unwrap();
    let (_, from) = flow.echo(b"twice wrapped", &target(at)).await;
    assert_eq!(from, target(at));
    assert_eq!(asked(&inner.log), ["associate 0.0.0.0:0", "datagram to v4"]);
    assert_eq!(asked(&outer.log), [format!("connect {a}").as_str(), "associate 0.0.0.0:0", "datagram to v4"]);
}

/// Who is at fault in a chain: the hop first, then who needed it.
#[tokio::test]
async fn a_broken_hop_is_blamed() {
    let (dead, server) = echo().await;
    drop(server);
    tokio::task::yield_now().await;
    let elsewhere = "127.0.0.1:9".parse().unwrap();
    let book = book(
        vec![via(socks5::upstream("a", elsewhere, None), "b"), socks5::upstream("b", dead, None)],
        Vec::new(),
        Names::default(),
    );
    let (_, text) = refusal(&book, "a", &target("t.test:80")).await;
    assert_eq!(text, format!("connection refused by {dead} (proxy [b] at {dead}) (proxy [a] at {elsewhere})"));
}

/// F-D12
#[test]
fn names_that_cannot_be_are_refused_in_mihomos_words() {
    let nothing = Vec::new;
    assert_eq!(complaint(vec![reject("x"), reject("x")], nothing()), "proxy x is the duplicate name");
    let twice = vec![select("g", &["REJECT"]), select("g", &["REJECT"])];
    assert_eq!(complaint(Vec::new(), twice), "ProxyGroup g: duplicate group name");
    assert_eq!(complaint(vec![reject("x")], vec![select("x", &["REJECT"])]), "proxy group x: the duplicate name");
    assert_eq!(complaint(Vec::new(), vec![select("DIRECT", &["REJECT"])]), "proxy group DIRECT: the duplicate name");
    assert_eq!(complaint(Vec::new(), vec![select("g", &["nobody"])]), "g: 'nobody' not found");
    assert_eq!(complaint(Vec::new(), vec![select("g", &[])]), "g: `use` or `proxies` missing");
    let looping = vec![select("b", &["REJECT", "a"]), select("a", &["b"]), select("c", &["DIRECT"])];
    let text = "loop is detected in ProxyGroup, please check following ProxyGroups: [a b]";
    assert_eq!(complaint(Vec::new(), looping), text);
    assert!(complaint(Vec::new(), vec![select("g", &["g"])]).ends_with(": [g]"));
    assert!(complaint(Vec::new(), vec![select("g", &["GLOBAL"])]).ends_with(": [GLOBAL g]"));

    assert_eq!(complaint(vec![via(reject("a"), "b")], nothing()), "proxy [a] dialer-proxy [b] not found");
    assert_eq!(complaint(vec![via(reject("a"), "a")], nothing()), "proxy [a] has circular dialer-proxy dependency");
    let circle = vec![reject("x"), via(reject("a"), "b"), via(reject("b"), "c"), via(reject("c"), "a")];
    assert_eq!(complaint(circle, nothing()), "proxy [a] has circular dialer-proxy dependency");
    let leads_to_one = vec![via(reject("x"), "a"), via(reject("a"), "b"), via(reject("b"), "a")];
    assert_eq!(complaint(leads_to_one, nothing()), "proxy [a] has circular dialer-proxy dependency");
}

#[test]
fn unusable_tls_options_name_the_proxy() {
    let tls = Tls { server_name: "not a name".into(), alpn: Vec::new(), verify: Verify::Off, client_certificate: None };
    let server = target("proxy.test:443");
    let options = adit_outbound::options::Socks5 { server, credentials: None, tls: Some(tls) };
    let text = complaint(vec![outbound("up", Kind::Socks5(options))], Vec::new());
    assert_eq!(text, "proxy [up]: TLS server name `not a name` is neither a DNS name nor an address");
}

/// Through groups, a circle is a matter of choice: the configuration may have it, a dial may not.
#[tokio::test]
async fn a_circle_by_way_of_a_group_ends_the_dial() {
    let (at, _echo) = echo().await;
    let script = socks5::Script::default();
    let served = script.clone();
    let (server, _server) = serve(move |client| socks5::socks5(client, served.clone())).await;
    let book = book(
        vec![via(socks5::upstream("a", server, None), "g"), via(socks5::upstream("b", server, None), "h")],
        vec![select("g", &["DIRECT", "a", "b"]), select("h", &["DIRECT", "a"])],
        Names::default(),
    );
    connect(&book, "a", &target(at)).await.unwrap();
    for (g, h) in [("a", "DIRECT"), ("b", "a")] {
        book.select("g", g).unwrap();
        book.select("h", h).unwrap();
        for name in ["a", "b"] {
            let dialled = connect(&book, name, &target(at)).await;
            if (name, g) == ("b", "a") {
                // b → DIRECT is no circle.
                assert!(dialled.is_ok());
                continue;
            }
            let text = dialled.err().unwrap().to_string();
            assert!(text.contains("has circular dialer-proxy dependency"), "{text}");
        }
    }
}

/// F-E11: names of servers are asked of their own resolver, names of destinations of the other.
#[tokio::test]
async fn servers_and_destinations_have_their_own_resolvers() {
    let (at, _echo) = echo().await;
    let (server, _server) = serve(move |client| socks5::socks5(client, socks5::Script::default())).await;
    let destinations = Arc::new(Names::new(&[("echo.test", "127.0.0.1")]));
    let servers = Arc::new(Names::new(&[("proxy.test", "127.0.0.1")]));
    let options = adit_outbound::options::Socks5 {
        server: target(format!("proxy.test:{}", server.port())),
        credentials: None,
        tls: None,
    };
    let up = Outbound { name: Tag::new("up"), kind: Kind::Socks5(options), common: Common::default() };
    let book = Book::build(vec![up], Vec::new(), Arc::clone(&destinations) as _, Arc::clone(&servers) as _).unwrap();
    let count = |names: &Names| names.questions.load(std::sync::atomic::Ordering::Relaxed);
    let to = target(format!("echo.test:{}", at.port()));
    connect(&book, "up", &to).await.unwrap();
    assert_eq!(
        (count(&destinations), count(&servers)),
        (0, 1),
        "F-E8: the destination's name is the proxy's to resolve"
    );
    connect(&book, "DIRECT", &to).await.unwrap();
    assert_eq!((count(&destinations), count(&servers)), (1, 1));
}
