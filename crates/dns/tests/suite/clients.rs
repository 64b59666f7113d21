//! What clients are answered: hosts, fake addresses, memory, other servers.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use adit_dns::hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use adit_dns::hickory_proto::rr::rdata::TXT;
use adit_dns::hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsCode, EdnsOption};
use adit_dns::hickory_proto::rr::{DNSClass, RData, RecordType};
use adit_dns::{
    FakeAction, FakeFilter, FakeIp, FakeOptions, FakeRanges, Habits, Limit, Mode, Nameserver, Now, Original, Resolvers,
    Service, ServiceOptions, Upstreams, Via,
};
use adit_net::{Dialer, HostsEntry, HostsTable};
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use crate::script::{a, aaaa, address, cname, kind, name, record, reply, soa};
use crate::world::{Act, World, say};

const ONE: &str = "10.0.0.1:53";
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 1, 7));

pub(crate) fn question(text: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(text), kind));
    message
}

pub(crate) fn resolvers(world: &World, habits: Habits) -> Resolvers {
    let upstreams = Upstreams { main: vec![Nameserver::parse("10.0.0.1").unwrap()], habits, ..Upstreams::default() };
    let world = world.clone();
    Resolvers::new(&upstreams, &move |_: Option<&Via>| Some(Arc::new(world.clone()) as Arc<dyn Dialer>)).unwrap()
}

fn hosts() -> Vec<Arc<dyn HostsTable>> {
    let domain = |text: &str| text.parse().unwrap();
    let fixed = |list: &[&str]| HostsEntry::Addresses(list.iter().map(|ip| ip.parse().unwrap()).collect());
    let table: HashMap<_, _> = [
        (domain("nas.lan"), fixed(&["192.168.1.2", "fd00::2", "192.168.1.3"])),
        (domain("four.lan"), fixed(&["192.168.1.4"])),
        (domain("files.lan"), HostsEntry::Alias(domain("nas.lan"))),
        (domain("out.lan"), HostsEntry::Alias(domain("mid.lan"))),
        (domain("mid.lan"), HostsEntry::Alias(domain("www.example"))),
        (domain("loop.lan"), HostsEntry::Alias(domain("pool.lan"))),
        (domain("pool.lan"), HostsEntry::Alias(domain("loop.lan"))),
    ]
    .into();
    vec![Arc::new(table)]
}

pub(crate) fn options(world: &World, mode: Mode) -> ServiceOptions {
    let habits = Habits { ipv6: true, ..Habits::default() };
    ServiceOptions { resolver: resolvers(world, habits).main, hosts: hosts(), mode, ipv6: true }
}

pub(crate) fn fake(v6: bool, real: &'static [&'static str]) -> Mode {
    let v6 = v6.then(|| "fdfe::/64".parse().unwrap());
    let addresses = FakeIp::new(FakeRanges { v4: "198.18.0.1/16".parse().ok(), v6 }).unwrap();
    let filter = FakeFilter::Blacklist(Arc::new(move |name: &str| real.contains(&name)));
    Mode::FakeIp(FakeOptions { addresses: Arc::new(addresses), filter, ttl: 1 })
}

async fn ask_with(service: &Service, question: &Message, limit: Limit) -> Message {
    let bytes = question.to_vec().unwrap();
    let answer = service.handle(&bytes, CLIENT, limit).await.unwrap();
    let answer = Message::from_vec(&answer).unwrap();
    assert_eq!(answer.metadata.id, question.metadata.id);
    assert!(answer.metadata.message_type == MessageType::Response && answer.metadata.recursion_available);
    assert_eq!(answer.queries, question.queries);
    answer
}

async fn ask(service: &Service, text: &str, kind: RecordType) -> Message {
    ask_with(service, &question(text, kind), Limit::Datagram).await
}

fn shown(message: &Message) -> Vec<String> {
    message.answers.iter().map(|r| format!("{} {} {}", r.name, r.ttl, r.data)).collect()
}

#[tokio::test(start_paused = true)]
async fn hosts_come_first() {
    let world = World::default();
    let service = Service::new(options(&world, fake(true, &[])));
    let answer = ask(&service, "NAS.lan", RecordType::A).await;
    assert_eq!(shown(&answer), ["NAS.lan. 10 192.168.1.2", "NAS.lan. 10 192.168.1.3"]);
    assert!(answer.metadata.authoritative);
    assert_eq!(shown(&ask(&service, "nas.lan", RecordType::AAAA).await), ["nas.lan. 10 fd00::2"]);
    let empty = ask(&service, "four.lan", RecordType::AAAA).await;
    assert_eq!((empty.metadata.response_code, empty.answers.len()), (ResponseCode::NoError, 0));
    let alias = ask(&service, "files.lan", RecordType::AAAA).await;
    assert_eq!(shown(&alias), ["files.lan. 10 nas.lan.", "nas.lan. 10 fd00::2"]);
    let alias = ask(&service, "out.lan", RecordType::A).await;
    assert_eq!(shown(&alias), ["out.lan. 10 mid.lan.", "mid.lan. 10 www.example.", "www.example. 1 198.18.0.4"]);
    assert_eq!(ask(&service, "loop.lan", RecordType::A).await.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(world.asked(ONE), 0);

    world.udp(ONE, |query, _| say(address(query, 9)));
    let service = Service::new(options(&world, Mode::RedirHost));
    let alias = ask(&service, "out.lan", RecordType::A).await;
    assert_eq!(shown(&alias), ["out.lan. 10 mid.lan.", "mid.lan. 10 www.example.", "www.example. 60 192.0.2.9"]);
    // The connection is to the name that the client knows.
    assert_eq!(service.original("192.0.2.9".parse().unwrap()), Original::Mapped("out.lan".parse().unwrap()));
}

/// F-E8: a name with a fake address is asked about nowhere, and nothing gives its real address away.
#[tokio::test(start_paused = true)]
async fn a_fake_name_is_never_asked_about() {
    let world = World::default();
    world.udp(ONE, |query, _| say(reply(query, ResponseCode::NXDomain)));
    let service = Service::new(options(&world, fake(false, &[])));
    let answer = ask(&service, "API.example", RecordType::A).await;
    assert_eq!(shown(&answer), ["API.example. 1 198.18.0.4"]);
    assert!(answer.metadata.authoritative);
    assert_eq!(shown(&ask(&service, "api.example", RecordType::A).await), ["api.example. 1 198.18.0.4"]);
    for kind in [RecordType::AAAA, RecordType::HTTPS, RecordType::SVCB] {
        let empty = ask(&service, "api.example", kind).await;
        assert_eq!((empty.metadata.response_code, empty.answers.len()), (ResponseCode::NoError, 0), "{kind}");
    }
    for (text, code) in
        [("4.0.18.198.in-addr.arpa", ResponseCode::NoError), ("5.0.18.198.in-addr.arpa", ResponseCode::NXDomain)]
    {
        let answer = ask(&service, text, RecordType::PTR).await;
        assert_eq!(answer.metadata.response_code, code);
        assert_eq!(answer.answers.len(), usize::from(code == ResponseCode::NoError));
    }
    assert_eq!(world.asked(ONE), 0);
    assert_eq!(service.original("198.18.0.4".parse().unwrap()), Original::Fake("api.example".parse().unwrap()));
    assert_eq!(service.original("::ffff:198.18.0.9".parse().unwrap()), Original::FakeMissing);
    assert_eq!(service.original("198.18.0.1".parse().unwrap()), Original::Plain);
    // Other types, and addresses of others, are.
    ask(&service, "api.example", RecordType::TXT).await;
    ask(&service, "4.0.18.199.in-addr.arpa", RecordType::PTR).await;
    assert_eq!(world.asked(ONE), 2);
    let service = Service::new(options(&world, fake(true, &[])));
    assert_eq!(shown(&ask(&service, "api.example", RecordType::AAAA).await), ["api.example. 1 fdfe::4"]);
}

#[tokio::test(start_paused = true)]
async fn filtered_names_get_real_addresses_and_are_known_by_them() {
    let world = World::default();
    world.udp(ONE, |query, _| say(address(query, 5)));
    let service = Service::new(options(&world, fake(true, &["real.example"])));
    assert_eq!(shown(&ask(&service, "Real.example", RecordType::A).await), ["Real.example. 60 192.0.2.5"]);
    assert_eq!(service.original("192.0.2.5".parse().unwrap()), Original::Mapped("real.example".parse().unwrap()));
    sleep(Duration::from_secs(59)).await;
    assert_eq!(shown(&ask(&service, "real.EXAMPLE", RecordType::A).await), ["real.EXAMPLE. 1 192.0.2.5"]);
    assert_eq!(world.asked(ONE), 1);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(service.original("192.0.2.5".parse().unwrap()), Original::Plain);

    // What was given out is known by the next configuration's service as well.
    ask(&service, "real.example", RecordType::A).await;
    let next = service.renewed(options(&world, Mode::RedirHost));
    assert_eq!(next.original("192.0.2.5".parse().unwrap()), Original::Mapped("real.example".parse().unwrap()));
    let rules = FakeFilter::Rules(vec![(Arc::new(|name: &str| name.ends_with(".example")), FakeAction::Real)]);
    assert!(!rules.is_fake("a.example") && rules.is_fake("a.test"));
}

#[tokio::test(start_paused = true)]
async fn without_ipv6_nobody_is_asked_for_it() {
    let world = World::default();
    world.udp(ONE, |query, _| say(address(query, 5)));
    for mode in [Mode::Normal, Mode::RedirHost, fake(true, &[])] {
        let service = Service::new(ServiceOptions { ipv6: false, ..options(&world, mode) });
        let empty = ask(&service, "www.example", RecordType::AAAA).await;
        assert_eq!((empty.metadata.response_code, empty.answers.len()), (ResponseCode::NoError, 0));
    }
    assert_eq!(world.asked(ONE), 0);
    let service = Service::new(options(&world, Mode::Normal));
    assert_eq!(shown(&ask(&service, "www.example", RecordType::A).await).len(), 1);
    assert_eq!(service.original("192.0.2.5".parse().unwrap()), Original::Plain);
}

/// F-E4: what was not asked for is not passed on, chains of CNAMEs are, and TTLs are what is left of them.
#[tokio::test(start_paused = true)]
async fn answers_are_passed_on_without_what_nobody_asked_for() {
    let world = World::default();
    world.udp(ONE, |query, _| {
        let missing = query.queries[0].name() == &name("none.example");
        let mut reply = reply(query, if missing { ResponseCode::NXDomain } else { ResponseCode::NoError });
        reply.add_authority(record("example", 3600, soa(40)));
        if !missing {
            reply.add_answer(record("cdn.example", 30, a(1)));
            reply.add_answer(record("www.example", 100, cname("cdn.example")));
            reply.add_answer(record("bank.example", 3600, a(66)));
            reply.add_answer(record("cdn.example", 30, aaaa(6)));
            reply.add_additional(record("bank.example", 3600, a(66)));
        }
        say(reply)
    });
    let service = Service::new(options(&world, Mode::Normal));
    for (second, left, cdn) in [(0, 100, 30), (10, 90, 20), (29, 71, 1)] {
        sleep(
            Duration::from_secs(second)
                - Duration::from_secs(match second {
                    0 => 0,
                    10 => 0,
                    _ => 10,
                }),
        )
        .await;
        let answer = ask(&service, "www.example", RecordType::A).await;
        let expected = [format!("cdn.example. {cdn} 192.0.2.1"), format!("www.example. {left} cdn.example.")];
        assert_eq!(shown(&answer), expected);
        assert!(answer.authorities.is_empty() && answer.additionals.is_empty());
    }
    let missing = ask(&service, "none.example", RecordType::A).await;
    assert_eq!((missing.metadata.response_code, missing.authorities[0].ttl), (ResponseCode::NXDomain, 3600));
    assert_eq!(world.asked(ONE), 2);
}

/// F-E5: silence and failure of the servers are SERVFAIL within five seconds.
#[tokio::test(start_paused = true)]
async fn failures_are_told() {
    let world = World::default();
    for code in [ResponseCode::Refused, ResponseCode::ServFail, ResponseCode::NotImp] {
        world.udp(ONE, move |query, _| say(reply(query, code)));
        let service = Service::new(options(&world, Mode::Normal));
        assert_eq!(ask(&service, "www.example", RecordType::A).await.metadata.response_code, ResponseCode::ServFail);
    }
    world.udp(ONE, |_, _| vec![]);
    let (service, start) = (Service::new(options(&world, Mode::Normal)), Instant::now());
    assert_eq!(ask(&service, "www.example", RecordType::A).await.metadata.response_code, ResponseCode::ServFail);
    assert!(start.elapsed() <= Duration::from_millis(5010));
}

#[tokio::test(start_paused = true)]
async fn stale_answers_are_given_while_new_ones_are_asked_for() {
    let world = World::default();
    world.udp(ONE, |query, before| {
        let after = Duration::from_millis(if before == 0 { 0 } else { 400 });
        vec![Act::Say(after, address(query, if before == 0 { 1 } else { 2 }))]
    });
    let habits = Habits { serves_stale: true, ..Habits::default() };
    let options = ServiceOptions { resolver: resolvers(&world, habits).main, ..options(&world, Mode::Normal) };
    let service = Service::new(options);
    ask(&service, "www.example", RecordType::A).await;
    sleep(Duration::from_secs(100)).await;
    let start = Instant::now();
    for _ in 0..3 {
        assert_eq!(shown(&ask(&service, "www.example", RecordType::A).await), ["www.example. 1 192.0.2.1"]);
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    sleep(Duration::from_millis(401)).await;
    assert_eq!(shown(&ask(&service, "www.example", RecordType::A).await), ["www.example. 60 192.0.2.2"]);
    assert_eq!(world.asked(ONE), 2);
}

#[tokio::test(start_paused = true)]
async fn certificates_challenges_are_always_asked_for() {
    let world = World::default();
    world.udp(ONE, |query, _| {
        let mut reply = reply(query, ResponseCode::NoError);
        reply.add_answer(record("_acme-challenge.www.example", 60, RData::TXT(TXT::new(vec!["x".into()]))));
        say(reply)
    });
    let service = Service::new(options(&world, Mode::Normal));
    for _ in 0..2 {
        ask_with(&service, &question("_acme-challenge.www.example", RecordType::TXT), Limit::Stream).await;
    }
    assert_eq!(world.asked(ONE), 2);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_said_to_be_cut() {
    let world = World::default();
    world.udp(ONE, |query, _| {
        let mut reply = reply(query, ResponseCode::NoError);
        for n in 0..60 {
            reply.add_answer(record("www.example", 60, a(n)));
        }
        say(reply)
    });
    let service = Service::new(options(&world, Mode::Normal));
    let plain = question("www.example", RecordType::A);
    let sized = |size| {
        let mut question = plain.clone();
        let mut edns = Edns::new();
        edns.set_max_payload(size).set_version(0);
        question.set_edns(edns);
        question
    };
    for (question, limit, whole) in [
        (plain.clone(), Limit::Datagram, false),
        (sized(0), Limit::Datagram, false),
        (sized(900), Limit::Datagram, false),
        (sized(1100), Limit::Datagram, true),
        (sized(4096), Limit::Datagram, true),
        (plain.clone(), Limit::Stream, true),
    ] {
        let bytes = question.to_vec().unwrap();
        let answer = service.handle(&bytes, CLIENT, limit).await.unwrap();
        let message = Message::from_vec(&answer).unwrap();
        assert_eq!((message.metadata.truncation, message.answers.len()), (!whole, if whole { 60 } else { 0 }));
        assert_eq!(message.edns.is_some(), question.edns.is_some());
        if let Some(edns) = &message.edns {
            assert_eq!((edns.max_payload(), edns.version()), (1232, 0));
        }
    }
}

/// A client that says where it is gets an answer of its own; one that does not, another.
#[tokio::test(start_paused = true)]
async fn client_subnets_are_passed_on_and_kept_apart() {
    let world = World::default();
    world.udp(ONE, |query, _| {
        let edns = query.edns.as_ref().unwrap();
        let option = edns.option(EdnsCode::Subnet);
        say(address(query, if option.is_some() { 2 } else { 1 }))
    });
    let service = Service::new(options(&world, Mode::Normal));
    let mut located = question("www.example", RecordType::A);
    let mut edns = Edns::new();
    edns.options_mut().insert(EdnsOption::Subnet(ClientSubnet::new("203.0.113.0".parse().unwrap(), 24, 0)));
    located.set_edns(edns);
    for _ in 0..2 {
        assert_eq!(shown(&ask(&service, "www.example", RecordType::A).await), ["www.example. 60 192.0.2.1"]);
        assert_eq!(shown(&ask_with(&service, &located, Limit::Datagram).await), ["www.example. 60 192.0.2.2"]);
    }
    assert_eq!(world.asked(ONE), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_business_of_a_resolver_is_refused() {
    let world = World::default();
    let service = Service::new(options(&world, fake(true, &[])));
    let mut chaos = question("version.bind", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    let mut update = question("www.example", RecordType::SOA);
    update.metadata.op_code = OpCode::Update;
    let mut two = question("www.example", RecordType::A);
    two.add_query(Query::query(name("other.example"), RecordType::A));
    let mut none = question("www.example", RecordType::A);
    none.queries.clear();
    let mut old = question("www.example", RecordType::A);
    let mut edns = Edns::new();
    edns.set_version(1);
    old.set_edns(edns);
    let mut answered = question("www.example", RecordType::A);
    answered.add_answer(record("www.example", 60, a(1)));
    for (message, code) in [
        (chaos, ResponseCode::Refused),
        (update, ResponseCode::NotImp),
        (two, ResponseCode::FormErr),
        (none, ResponseCode::FormErr),
        (old, ResponseCode::BADVERS),
        (answered, ResponseCode::FormErr),
        (question("www.example", RecordType::AXFR), ResponseCode::NotImp),
        (question("www.example", RecordType::ANY), ResponseCode::NotImp),
    ] {
        let bytes = message.to_vec().unwrap();
        let answer = service.handle(&bytes, CLIENT, Limit::Datagram).await.unwrap();
        assert!(answer.len() <= bytes.len());
        let answer = Message::from_vec(&answer).unwrap();
        let extended = answer.edns.as_ref().map_or(0, |edns| u16::from(edns.rcode_high()));
        assert_eq!(u16::from(answer.metadata.response_code) | extended << 4, u16::from(code), "{message}");
    }
    // F-E2: two servers do not talk for ever.
    let mut response = question("www.example", RecordType::A);
    response.metadata.message_type = MessageType::Response;
    assert!(service.handle(&response.to_vec().unwrap(), CLIENT, Limit::Datagram).await.is_none());
    assert_eq!(world.asked(ONE), 0);
}

/// F-E1: every cut and every flipped bit of questions.
#[tokio::test(start_paused = true)]
async fn damaged_questions_are_answered_shortly_or_not_at_all() {
    let world = World::default();
    world.udp(ONE, |query, _| say(address(query, 1)));
    let mut located = question("www.example", RecordType::A);
    let mut edns = Edns::new();
    edns.options_mut().insert(EdnsOption::Subnet(ClientSubnet::new("2001:db8::".parse().unwrap(), 56, 0)));
    located.set_edns(edns);
    for mode in [Mode::Normal, fake(true, &[])] {
        let service = Service::new(options(&world, mode));
        for original in [located.to_vec().unwrap(), question("a.b.example", RecordType::AAAA).to_vec().unwrap()] {
            let cuts = (0..original.len()).map(|at| original[..at].to_vec());
            let flips = (0..original.len() * 8).map(|bit| {
                let mut bytes = original.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                bytes
            });
            for bytes in cuts.chain(flips) {
                let answer = service.handle(&bytes, CLIENT, Limit::Datagram).await;
                let Some(answer) = answer else {
                    assert!(bytes.len() < 12 || bytes[2] & 0x80 != 0, "{bytes:x?}");
                    continue;
                };
                assert_eq!(answer[..2], bytes[..2]);
                assert!(answer[2] & 0x80 != 0 && answer.len() <= bytes.len() * 3, "{bytes:x?}");
                Message::from_vec(&answer).unwrap();
            }
        }
    }
}

/// A name whose letters no configuration can write goes to the servers; it never gets a fake address.
#[tokio::test(start_paused = true)]
async fn odd_names_are_asked_as_they_are() {
    let world = World::default();
    world.udp(ONE, |query, _| say(address(query, 1)));
    let service = Service::new(options(&world, fake(true, &[])));
    let head = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00";
    for odd in [&b"\x03a.b\x07example\0"[..], b"\x04\xff\x00 !\x07example\0", b"\0"] {
        let bytes = [head, odd, b"\x00\x01\x00\x01"].concat();
        let answer = service.handle(&bytes, CLIENT, Limit::Datagram).await.unwrap();
        let answer = Message::from_vec(&answer).unwrap();
        assert!(matches!(answer.answers[0].data, RData::A(ip) if ip.0.octets() == [192, 0, 2, 1]));
    }
    assert_eq!(world.asked(ONE), 3);
    assert!(world.seen(|seen| seen.questions.iter().all(|(_, query)| kind(query) == RecordType::A)));
}

/// F-E6, F-E7: a flood of names at dead servers is dropped beyond a bound, and one client does not take all of it.
#[tokio::test(start_paused = true)]
async fn a_flood_leaves_room_for_others() {
    let world = World::default();
    world.udp(ONE, |query, _| match query.queries[0].name().to_string().as_str() {
        "good.example." => say(address(query, 1)),
        _ => vec![],
    });
    let service = Service::new(options(&world, Mode::Normal));
    let mut flood = tokio::task::JoinSet::new();
    for n in 0..2000 {
        let (service, bytes) = (service.clone(), question(&format!("n{n}.example"), RecordType::A).to_vec().unwrap());
        flood.spawn(async move { service.handle(&bytes, CLIENT, Limit::Datagram).await });
    }
    tokio::task::yield_now().await;
    sleep(Duration::from_millis(10)).await;
    let good = question("good.example", RecordType::A).to_vec().unwrap();
    let other = "192.168.1.8".parse().unwrap();
    assert!(service.handle(&good, other, Limit::Datagram).await.is_some());
    let answered = flood.join_all().await.into_iter().flatten().count();
    assert_eq!(answered, 256);
}

proptest! {
    /// F-E1: whatever is accepted as a question, the library that reads whole messages reads as the same one.
    #[test]
    fn questions_are_read_as_the_library_reads_them(
        label in "[a-zA-Z0-9_]{1,20}",
        kind in any::<u16>(),
        edns in any::<bool>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut message = question(&format!("{label}.Example.com"), RecordType::from(kind));
        if edns {
            let mut edns = Edns::new();
            edns.options_mut().insert(EdnsOption::Subnet(ClientSubnet::new("203.0.113.0".parse().unwrap(), 24, 0)));
            message.set_edns(edns);
        }
        let mut bytes = message.to_vec().unwrap();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(accepted) = adit_dns::Query::parse(&bytes) {
            let read = Message::from_vec(&bytes);
            // What is only understood here: options that the library does not like.
            if let Ok(read) = read {
                prop_assert_eq!(read.queries.len(), 1);
                let accepted = accepted.question();
                prop_assert_eq!(accepted.name(), read.queries[0].name());
                prop_assert_eq!(accepted.kind(), read.queries[0].query_type());
                prop_assert_eq!(read.queries[0].query_class(), DNSClass::IN);
            }
        }
    }

    /// F-E1: no bytes make the service panic, or say more than it was asked.
    #[test]
    fn any_bytes_are_answered_shortly_or_not_at_all(mut bytes in prop::collection::vec(any::<u8>(), 0..80), plain in any::<bool>()) {
        // Half of them with the header of a question.
        if plain && bytes.len() >= 12 {
            bytes[2..12].copy_from_slice(b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00");
        }
        let service = Service::new(options(&World::default(), fake(false, &[])));
        let mut answer = Vec::new();
        if let Now::Answered = service.answer_now(&bytes, Limit::Datagram, &mut answer) {
            prop_assert!(answer.len() <= bytes.len() * 3 && answer[2] & 0x80 != 0);
        }
    }
}
