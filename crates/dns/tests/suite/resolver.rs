//! Several servers as one, what is remembered, and both families.

use std::sync::Arc;
use std::time::Duration;

use adit_dns::hickory_proto::op::ResponseCode;
use adit_dns::hickory_proto::rr::RecordType;
use adit_dns::{Options, Question, Resolver};
use adit_net::{Resolve as _, ResolveError};
use tokio::time::{Instant, sleep};

use crate::script::{a, aaaa, address, cname, kind, name, record, reply, soa};
use crate::world::{Act, World, say};

const ONE: &str = "10.0.0.1:53";
const TWO: &str = "10.0.0.2:53";

async fn ask(resolver: &Resolver, name: &str) -> Result<Vec<String>, ResolveError> {
    Ok(resolver.resolve(&name.parse().unwrap()).await?.iter().map(ToString::to_string).collect())
}

fn both() -> Options {
    Options { ipv6: true, ..Options::default() }
}

#[tokio::test(start_paused = true)]
async fn the_first_good_answer_wins() {
    let world = World::default();
    for (bad, code) in [(0, ResponseCode::ServFail), (1, ResponseCode::Refused), (2, ResponseCode::NotImp)] {
        world.udp(ONE, move |query, _| say(reply(query, code)));
        world.udp(TWO, |query, _| vec![Act::Say(Duration::from_millis(900), address(query, 2))]);
        let resolver = world.resolver(&["10.0.0.1", "10.0.0.2"], Options::default());
        assert_eq!(ask(&resolver, &format!("bad{bad}.example")).await.unwrap(), ["192.0.2.2"], "{code}");
    }
    world.udp(ONE, |query, _| vec![Act::Say(Duration::from_millis(20), address(query, 1))]);
    let (start, resolver) = (Instant::now(), world.resolver(&["10.0.0.1", "10.0.0.2"], Options::default()));
    assert_eq!(ask(&resolver, "www.example").await.unwrap(), ["192.0.2.1"]);
    assert!(start.elapsed() < Duration::from_millis(30));
}

#[tokio::test(start_paused = true)]
async fn a_missing_name_is_an_answer_and_a_failure_is_none() {
    let world = World::default();
    world.udp(ONE, |query, _| say(reply(query, ResponseCode::NXDomain)));
    world.udp(TWO, |query, _| vec![Act::Say(Duration::from_millis(900), address(query, 2))]);
    let resolver = world.resolver(&["10.0.0.1", "10.0.0.2"], Options::default());
    assert!(matches!(ask(&resolver, "none.example").await, Err(ResolveError::NoAddress(_))));

    world.udp(ONE, |query, _| say(reply(query, ResponseCode::ServFail)));
    world.udp(TWO, |query, _| say(reply(query, ResponseCode::Refused)));
    let resolver = world.resolver(&["10.0.0.1", "10.0.0.2"], Options::default());
    let error = ask(&resolver, "none.example").await.unwrap_err();
    assert!(matches!(error, ResolveError::Failed { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_fixed_answer_wins_and_is_not_remembered() {
    let world = World::default();
    world.udp(ONE, |query, _| say(address(query, 1)));
    let question = Question::of(&"www.example".parse().unwrap(), RecordType::A);
    let codes = [
        ("rcode://refused", ResponseCode::Refused),
        ("rcode://success", ResponseCode::NoError),
        ("rcode://server_failure", ResponseCode::ServFail),
    ];
    for (text, code) in codes {
        let resolver = world.resolver(&["10.0.0.1", text], Options::default());
        let first = resolver.ask(&question).await.unwrap();
        let second = resolver.ask(&question).await.unwrap();
        assert_eq!((first.code(), second.code()), (code, code));
        assert!(!Arc::ptr_eq(&first, &second));
    }
}

#[tokio::test(start_paused = true)]
async fn cnames_are_followed_within_the_answer() {
    let world = World::default();
    world.udp(ONE, |query, _| {
        let mut reply = reply(query, ResponseCode::NoError);
        reply.add_answer(record("two.example", 60, cname("three.example")));
        reply.add_answer(record("www.example", 60, cname("TWO.example")));
        reply.add_answer(record("three.example", 60, a(3)));
        reply.add_answer(record("three.example", 60, a(4)));
        reply.add_answer(record("three.example", 60, a(3)));
        reply.add_answer(record("unrelated.example", 60, a(66)));
        say(reply)
    });
    let resolver = world.resolver(&["10.0.0.1"], Options::default());
    assert_eq!(ask(&resolver, "www.example").await.unwrap(), ["192.0.2.3", "192.0.2.4"]);

    world.udp(ONE, |query, _| {
        let mut reply = reply(query, ResponseCode::NoError);
        reply.add_answer(record("www.example", 60, cname("two.example")));
        reply.add_answer(record("two.example", 60, cname("www.example")));
        say(reply)
    });
    let resolver = world.resolver(&["10.0.0.1"], Options::default());
    assert!(matches!(ask(&resolver, "www.example").await, Err(ResolveError::NoAddress(_))));
}

#[tokio::test(start_paused = true)]
async fn answers_are_remembered_for_their_time() {
    let world = World::default();
    world.udp(ONE, |query, _| {
        let asked = query.queries[0].name().to_string();
        let code = if asked.starts_with("no") { ResponseCode::NXDomain } else { ResponseCode::NoError };
        let mut reply = reply(query, code);
        match asked.as_str() {
            "kept.example." => drop(reply.add_answer(record("kept.example", 30, a(1)))),
            "zero.example." => drop(reply.add_answer(record("zero.example", 0, a(1)))),
            // The record that goes first decides.
            "part.example." => {
                reply.add_answer(record("part.example", 10, cname("kept.example")));
                reply.add_answer(record("kept.example", 30, a(1)));
            }
            "no.example." => drop(reply.add_authority(record("example", 3600, soa(1200)))),
            "no-short.example." => drop(reply.add_authority(record("example", 3600, soa(20)))),
            "no-soa.example." => {}
            other => panic!("{other}"),
        }
        say(reply)
    });
    let resolver = world.resolver(&["10.0.0.1"], Options::default());
    for (asked, seconds) in [("kept", 30), ("zero", 0), ("part", 10), ("no", 300), ("no-short", 20), ("no-soa", 0)] {
        let before = world.asked(ONE);
        let asked = format!("{asked}.example");
        let first = ask(&resolver, &asked).await.is_ok();
        if seconds > 0 {
            sleep(Duration::from_secs(seconds) - Duration::from_millis(10)).await;
            assert_eq!(ask(&resolver, &asked).await.is_ok(), first);
            assert_eq!(world.asked(ONE), before + 1, "{asked} is remembered");
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(ask(&resolver, &asked).await.is_ok(), first);
        assert_eq!(world.asked(ONE), before + 2, "{asked} is forgotten");
    }
}

#[tokio::test(start_paused = true)]
async fn equal_questions_are_asked_once_even_if_the_first_asker_leaves() {
    let world = World::default();
    world.udp(ONE, |query, _| vec![Act::Say(Duration::from_millis(500), address(query, 1))]);
    let resolver = Arc::new(world.resolver(&["10.0.0.1"], Options::default()));
    let mut asking = tokio::task::JoinSet::new();
    for spelling in ["www.example", "WWW.example", "www.EXAMPLE."] {
        let resolver = Arc::clone(&resolver);
        asking.spawn(async move { ask(&resolver, spelling).await });
    }
    assert!(tokio::time::timeout(Duration::from_millis(10), ask(&resolver, "www.example")).await.is_err());
    assert!(asking.join_all().await.iter().all(Result::is_ok));
    assert_eq!(world.asked(ONE), 1);
}

#[tokio::test(start_paused = true)]
async fn ipv6_is_waited_for_a_tenth_of_a_second_and_remembered_when_it_comes() {
    let world = World::default();
    world.udp(ONE, |query, _| match kind(query) {
        RecordType::AAAA => {
            let mut reply = reply(query, ResponseCode::NoError);
            reply.add_answer(record(&query.queries[0].name().to_string(), 60, aaaa(6)));
            let slow = query.queries[0].name() == &name("slow.example");
            vec![Act::Say(Duration::from_millis(if slow { 400 } else { 90 }), reply)]
        }
        _ => say(address(query, 1)),
    });
    let resolver = world.resolver(&["10.0.0.1"], both());
    let start = Instant::now();
    assert_eq!(ask(&resolver, "quick.example").await.unwrap(), ["192.0.2.1", "2001:db8::6"]);
    assert!(start.elapsed() < Duration::from_millis(99));
    let start = Instant::now();
    assert_eq!(ask(&resolver, "slow.example").await.unwrap(), ["192.0.2.1"]);
    assert!(start.elapsed() < Duration::from_millis(110));
    sleep(Duration::from_millis(400)).await;
    assert_eq!(ask(&resolver, "slow.example").await.unwrap(), ["192.0.2.1", "2001:db8::6"]);
    assert_eq!(world.asked(ONE), 4);
}

#[tokio::test(start_paused = true)]
async fn a_name_with_only_ipv6_is_waited_for() {
    let world = World::default();
    world.udp(ONE, |query, _| match kind(query) {
        RecordType::AAAA => {
            let mut reply = reply(query, ResponseCode::NoError);
            reply.add_answer(record("six.example", 60, aaaa(6)));
            vec![Act::Say(Duration::from_millis(700), reply)]
        }
        _ => say(reply(query, ResponseCode::NoError)),
    });
    assert_eq!(ask(&world.resolver(&["10.0.0.1"], both()), "six.example").await.unwrap(), ["2001:db8::6"]);
    // Nobody who has no IPv6 asks for it.
    let before = world.asked(ONE);
    ask(&world.resolver(&["10.0.0.1"], Options::default()), "six.example").await.unwrap_err();
    assert_eq!(world.asked(ONE), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_family_can_be_switched_off_for_a_server() {
    let world = World::default();
    world.udp(ONE, |query, _| {
        let mut reply = reply(query, ResponseCode::NoError);
        reply.add_answer(record("www.example", 60, a(1)));
        reply.add_answer(record("www.example", 60, aaaa(6)));
        say(reply)
    });
    let resolver = world.resolver(&["10.0.0.1#disable-ipv6=true"], both());
    assert_eq!(ask(&resolver, "www.example").await.unwrap(), ["192.0.2.1"]);
    assert!(world.seen(|seen| seen.questions.iter().all(|(_, query)| kind(query) == RecordType::A)));
    let question = Question::of(&"www.example".parse().unwrap(), RecordType::A);
    assert_eq!(resolver.ask(&question).await.unwrap().message().answers.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_resolver_ends_what_it_began() {
    let world = World::default();
    world.udp(ONE, |_, _| vec![]);
    let resolver = world.resolver(&["10.0.0.1"], Options::default());
    assert!(tokio::time::timeout(Duration::from_millis(10), ask(&resolver, "www.example")).await.is_err());
    drop(resolver);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(world.asked(ONE), 1);
}
