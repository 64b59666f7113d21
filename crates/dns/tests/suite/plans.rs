//! Which servers are asked which question, by which way out.

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_dns::hickory_proto::op::ResponseCode;
use adit_dns::hickory_proto::rr::RecordType;
use adit_dns::{Fallback, Habits, Nameserver, Policy, Question, Resolver, Resolvers, ServersError, Upstreams, Via};
use adit_net::{Dialer, Resolve as _};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::script::{aaaa, address, kind, record, reply};
use crate::world::{Act, World, say};

fn list(texts: &[&str]) -> Vec<Nameserver> {
    texts.iter().map(|text| Nameserver::parse(text).unwrap()).collect()
}

/// A server at 10.0.0.`n` for each n, which says 192.0.2.`n`.
fn world(servers: impl IntoIterator<Item = u8>) -> World {
    let world = World::default();
    for n in servers {
        world.udp(&format!("10.0.0.{n}:53"), move |query, _| say(address(query, n)));
    }
    world
}

fn straight(world: &World) -> impl Fn(Option<&Via>) -> Option<Arc<dyn Dialer>> + use<> {
    let world = world.clone();
    move |_| Some(Arc::new(world.clone()) as Arc<dyn Dialer>)
}

fn build(world: &World, upstreams: &Upstreams) -> Resolvers {
    Resolvers::new(upstreams, &straight(world)).unwrap()
}

async fn ask(resolver: &Resolver, name: &str) -> String {
    match resolver.resolve(&name.parse().unwrap()).await {
        Ok(ips) => ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Err(_) => "nothing".to_owned(),
    }
}

fn of(names: &'static [&'static str], servers: &[&str]) -> Policy {
    Policy::of(Arc::new(move |name: &str| names.contains(&name)), list(servers))
}

#[tokio::test(start_paused = true)]
async fn the_first_entry_of_a_policy_decides() {
    let world = world(1..=6);
    let specific = Policy {
        choose: Arc::new(|name: &str| match name {
            "a.b.example" => Some(1),
            name if name.ends_with(".b.example") => Some(0),
            // There is no such list.
            "odd.example" => Some(7),
            _ => None,
        }),
        lists: vec![list(&["10.0.0.2"]), list(&["10.0.0.3"])],
    };
    let upstreams = Upstreams {
        main: list(&["10.0.0.1"]),
        policy: vec![specific, of(&["a.b.example", "set.example"], &["10.0.0.4"])],
        direct: list(&["10.0.0.5"]),
        proxy_servers: list(&["10.0.0.6"]),
        proxy_server_policy: vec![of(&["vps.example"], &["10.0.0.2"])],
        ..Upstreams::default()
    };
    let resolvers = build(&world, &upstreams);
    for (name, answer) in [
        ("A.b.example", "192.0.2.3"),
        ("x.b.example", "192.0.2.2"),
        ("set.example", "192.0.2.4"),
        ("odd.example", "192.0.2.1"),
        ("other.example", "192.0.2.1"),
    ] {
        assert_eq!(ask(&resolvers.main, name).await, answer, "{name}");
    }
    assert_eq!(ask(&resolvers.direct, "set.example").await, "192.0.2.5");
    assert_eq!(ask(&resolvers.proxy_servers, "set.example").await, "192.0.2.6");
    assert_eq!(ask(&resolvers.proxy_servers, "vps.example").await, "192.0.2.2");
    // F-E10: nobody but the servers that were chosen heard of a name.
    assert_eq!(world.seen(|seen| seen.questions.len()), 8);

    let follows = build(&world, &Upstreams { direct_follows_policy: true, ..upstreams });
    assert_eq!(ask(&follows.direct, "set.example").await, "192.0.2.4");
    assert_eq!(ask(&follows.direct, "other.example").await, "192.0.2.5");
}

#[tokio::test(start_paused = true)]
async fn the_fallback_is_believed_where_the_main_servers_are_not() {
    let world = world(1..=4);
    world.udp("10.0.0.1:53", |query, _| {
        let asked = query.queries[0].name().to_string();
        match asked.as_str() {
            "dead.example." => vec![],
            "slow.example." => vec![Act::Say(Duration::from_millis(2500), address(query, 1))],
            "none.example." | "gone.example." => say(reply(query, ResponseCode::NXDomain)),
            "poisoned.example." => say(address(query, 99)),
            _ => say(address(query, 1)),
        }
    });
    let upstreams = |is_lazy| Upstreams {
        main: list(&["10.0.0.1"]),
        policy: vec![of(&["ruled.example"], &["10.0.0.3"])],
        fallback: Some(Fallback {
            servers: list(&["10.0.0.2"]),
            only: Some(Arc::new(|name: &str| name == "only.example")),
            doubtful: Arc::new(|ip| ip == IpAddr::from([192, 0, 2, 99])),
            is_lazy,
        }),
        ..Upstreams::default()
    };
    let asked = |n: u8| world.asked(&format!("10.0.0.{n}:53"));
    for is_lazy in [false, true] {
        let resolver = build(&world, &upstreams(is_lazy)).main;
        for (name, answer, main, fallback) in [
            ("good.example", "192.0.2.1", 1, usize::from(!is_lazy)),
            ("poisoned.example", "192.0.2.2", 1, 1),
            ("none.example", "192.0.2.2", 1, 1),
            ("only.example", "192.0.2.2", 0, 1),
            ("ruled.example", "192.0.2.3", 0, 0),
        ] {
            let before = (asked(1), asked(2));
            assert_eq!(ask(&resolver, name).await, answer, "{name}");
            assert_eq!((asked(1) - before.0, asked(2) - before.1), (main, fallback), "{name} {is_lazy}");
        }
        for name in ["dead.example", "slow.example"] {
            let start = Instant::now();
            assert_eq!(ask(&resolver, name).await, "192.0.2.2");
            assert!(start.elapsed() < Duration::from_secs(3), "F-E5: {name} {:?}", start.elapsed());
        }
        // Types without addresses have nothing to doubt.
        let before = asked(2);
        resolver.ask(&Question::of(&"good.example".parse().unwrap(), RecordType::TXT)).await.unwrap();
        assert_eq!(asked(2), before);
        // What the fallback says counts, whatever it is.
        world.udp("10.0.0.2:53", |query, _| say(reply(query, ResponseCode::ServFail)));
        assert_eq!(ask(&resolver, "gone.example").await, "nothing");
        world.udp("10.0.0.2:53", |query, _| say(address(query, 2)));
    }
}

#[tokio::test(start_paused = true)]
async fn each_server_is_asked_by_its_way() {
    let world = world(1..=5);
    let upstreams = Upstreams {
        default: list(&["10.0.0.5"]),
        main: list(&["10.0.0.1", "10.0.0.2#exit"]),
        policy: vec![of(&["far.example"], &["10.0.0.3#exit"])],
        fallback: None,
        respects_rules: true,
        direct: list(&["10.0.0.4"]),
        ..Upstreams::default()
    };
    let asked = Mutex::new(Vec::new());
    let ways = |via: Option<&Via>| {
        asked.lock().push(via.cloned());
        Some(Arc::new(world.clone()) as Arc<dyn Dialer>)
    };
    let resolvers = Resolvers::new(&upstreams, &ways).unwrap();
    let exit = Some(Via::Named("exit".into()));
    // The default server; the policy's; the main ones; those for proxies, which no proxy may be asked for.
    assert_eq!(*asked.lock(), [None, exit.clone(), Some(Via::Rules), exit, None, None]);
    // F-E11: a proxy's own address is asked of none that is behind a proxy.
    assert_eq!(ask(&resolvers.proxy_servers, "far.example").await, "192.0.2.5");
    assert_eq!(ask(&resolvers.proxy_servers, "vps.example").await, "192.0.2.1");
    assert_eq!(ask(&resolvers.main, "far.example").await, "192.0.2.3");

    let none = |_: Option<&Via>| -> Option<Arc<dyn Dialer>> { None };
    assert!(matches!(Resolvers::new(&upstreams, &none), Err(ServersError::NoWay(_))));
    let empty = Upstreams { main: Vec::new(), ..upstreams.clone() };
    assert!(matches!(Resolvers::new(&empty, &straight(&world)), Err(ServersError::Empty)));
    let by_name = Upstreams { default: list(&["tls://dns.example"]), ..upstreams.clone() };
    assert!(matches!(Resolvers::new(&by_name, &straight(&world)), Err(ServersError::DefaultByName(_))));
    let nobody = Upstreams { main: list(&["tls://dns.example"]), default: Vec::new(), ..upstreams };
    assert!(matches!(Resolvers::new(&nobody, &straight(&world)), Err(ServersError::NoBootstrap(_))));
}

#[tokio::test(start_paused = true)]
async fn servers_given_by_name_are_looked_up_at_the_default_ones() {
    let world = world([2, 9]);
    world.udp("192.0.2.9:53", |query, _| say(address(query, 1)));
    let upstreams =
        Upstreams { default: list(&["10.0.0.9"]), main: list(&["udp://dns.example"]), ..Upstreams::default() };
    let resolvers = build(&world, &upstreams);
    assert_eq!(ask(&resolvers.main, "www.example").await, "192.0.2.1");
    assert_eq!(ask(&resolvers.main, "two.example").await, "192.0.2.1");
    assert_eq!((world.asked("10.0.0.9:53"), world.asked("192.0.2.9:53")), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn resolvers_remember_for_themselves_and_can_forget() {
    let world = world([1, 2, 3]);
    let upstreams = Upstreams { main: list(&["10.0.0.1"]), direct: list(&["10.0.0.1"]), ..Upstreams::default() };
    let resolvers = build(&world, &upstreams);
    for resolver in [&resolvers.main, &resolvers.direct, &resolvers.proxy_servers] {
        ask(resolver, "www.example").await;
        ask(resolver, "www.example").await;
    }
    assert_eq!(world.asked("10.0.0.1:53"), 3);
    resolvers.main.forget();
    ask(&resolvers.main, "www.example").await;
    ask(&resolvers.direct, "www.example").await;
    assert_eq!(world.asked("10.0.0.1:53"), 4);
    let question = Question::of(&"www.example".parse().unwrap(), RecordType::A);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(resolvers.main.ask_message(&question).await.unwrap().answers[0].ttl, 40);
    // Without `direct-nameserver`, the main resolver is asked and remembers.
    let same = build(&world, &Upstreams { direct: Vec::new(), ..upstreams });
    assert!(Arc::ptr_eq(&same.direct, &same.main));
}

#[tokio::test(start_paused = true)]
async fn the_systems_servers_are_read_again() {
    let path = std::env::temp_dir().join(format!("adit-resolv-{}", std::process::id()));
    let world = world([1, 2]);
    fs::write(&path, "nameserver 10.0.0.1\n").unwrap();
    let upstreams = Upstreams { main: list(&["system"]), resolv_conf: path.clone(), ..Upstreams::default() };
    let resolver = build(&world, &upstreams).main;
    assert_eq!(ask(&resolver, "a.example").await, "192.0.2.1");
    fs::write(&path, "nameserver 10.0.0.2\n").unwrap();
    sleep(Duration::from_secs(290)).await;
    assert_eq!(ask(&resolver, "b.example").await, "192.0.2.1");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(ask(&resolver, "c.example").await, "192.0.2.2");
    fs::remove_file(&path).unwrap();
    sleep(Duration::from_secs(300)).await;
    assert_eq!(ask(&resolver, "d.example").await, "192.0.2.2");
    let nobody = build(&world, &upstreams).main;
    assert_eq!(ask(&nobody, "e.example").await, "nothing");
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_ipv6_is_a_setting() {
    let world = World::default();
    world.udp("10.0.0.1:53", |query, _| match kind(query) {
        RecordType::AAAA => {
            let mut reply = reply(query, ResponseCode::NoError);
            reply.add_answer(record(&query.queries[0].name().to_string(), 60, aaaa(6)));
            vec![Act::Say(Duration::from_millis(300), reply)]
        }
        _ => say(address(query, 1)),
    });
    for (wait, answer) in [(100, "192.0.2.1"), (400, "192.0.2.1 2001:db8::6")] {
        let habits = Habits { ipv6: true, ipv6_wait: Duration::from_millis(wait), ..Habits::default() };
        let upstreams = Upstreams { main: list(&["10.0.0.1"]), habits, ..Upstreams::default() };
        assert_eq!(ask(&build(&world, &upstreams).main, "www.example").await, answer);
    }
}
