//! What DNS clients ask.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use adit_dns::hickory_proto::op::{Message, MessageType, OpCode};
use adit_dns::{
    FakeFilter, FakeIp, FakeOptions, FakeRanges, Limit, Mode, Nameserver, Now, Original, Query, Resolver, Resolvers,
    Service, ServiceOptions, Upstreams, Via,
};
use adit_net::{BoxFuture, BoxStream, Dial, DialError, Dialer, Domain, HostsEntry};
use tokio::runtime::Runtime;

use crate::input::Input;

const HEADER: usize = 12;
pub(super) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// A, NS, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT, SVCB, HTTPS, transfers, ANY, nothing.
const KINDS: [u16; 16] = [1, 1, 1, 28, 28, 28, 12, 65, 64, 41, 255, 252, 0, 16, 5, 33];
/// Names that mean something to the services, and some that do not.
const NAMES: [&str; 12] = [
    "www.example",
    "Host.Hosts",
    "alias.hosts",
    "away.hosts",
    "circle.hosts",
    "many.hosts",
    "printer.lan",
    "1.0.18.198.in-addr.arpa",
    "4.0.18.198.in-addr.arpa",
    "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
    "_dns.resolver.arpa",
    "",
];

/// Messages, raw and built, answered in each mode, by datagram and by stream.
pub fn dns_query(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.byte();
    let message = match kind & 3 {
        0 => input.0.to_vec(),
        1 => {
            // Only the header is right.
            let counts = [0, 1, 0, 0, 0, 0, 0, kind >> 6];
            [&input.short().to_be_bytes()[..], &[kind >> 2 & 1, 0], &counts, input.0].concat()
        }
        _ => built(kind, &mut input),
    };
    reads_like_others(&message);
    for mode in [Mode::Normal, Mode::RedirHost, fakes()] {
        let service = service(mode, kind & 0x20 == 0);
        let by_stream = answer(&service, &message, Limit::Stream);
        let by_datagram = answer(&service, &message, Limit::Datagram);
        match (by_stream, by_datagram) {
            (None, None) => {}
            (Some(whole), Some(short)) if short[2] & 2 == 0 => assert_eq!(whole, short, "{message:02x?}"),
            // What did not fit is left out, and only that.
            (Some(whole), Some(short)) => assert!(short.len() < whole.len() && short[..2] == whole[..2]),
            (stream, datagram) => panic!("{message:02x?}: {stream:02x?} and {datagram:02x?}"),
        }
    }
}

/// What we take for a question is one to hickory as well, and the same one.
fn reads_like_others(message: &[u8]) {
    let (Ok(ours), Ok(theirs)) = (Query::parse(message), Message::from_vec(message)) else { return };
    assert!(theirs.metadata.message_type == MessageType::Query && theirs.metadata.op_code == OpCode::Query);
    let [question] = theirs.queries.as_slice() else { panic!("{} questions", theirs.queries.len()) };
    assert_eq!(ours.question().name(), question.name());
    assert_eq!(u16::from(ours.question().kind()), u16::from(question.query_type()));
}

fn answer(service: &Service, message: &[u8], limit: Limit) -> Option<Vec<u8>> {
    let mut now = b"what was there before".to_vec();
    let answer = match service.answer_now(message, limit, &mut now) {
        Now::Answered => now,
        Now::Silence => {
            assert!(message.len() < HEADER || message[2] & 0x80 != 0, "silence for a question");
            return None;
        }
        Now::Later(_) => {
            assert!(!must_be_known(service, message), "a fake name is asked for elsewhere: {message:02x?}");
            RUNTIME.with(|runtime| runtime.block_on(service.handle(message, CLIENT, limit)))?
        }
    };
    check(service, message, &answer, limit);
    Some(answer)
}

/// F-E8: names that get fake addresses are asked of nobody, for whatever leads to an address.
fn must_be_known(service: &Service, message: &[u8]) -> bool {
    let Ok(query) = Query::parse(message) else { return true };
    let question = query.question();
    let name = question.name().to_ascii().to_ascii_lowercase();
    let is_away = name == "away.hosts.";
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.') && name != ".";
    service.fake_addresses().is_some()
        && matches!(u16::from(question.kind()), 1 | 28 | 64 | 65)
        && is_plain
        && !is_away
        && !name.ends_with("lan.")
}

/// Every answer: to this question, well-formed, and no longer than the client takes.
fn check(service: &Service, message: &[u8], answer: &[u8], limit: Limit) {
    assert_eq!(answer[..2], message[..2], "another id");
    assert!(answer[2] & 0x80 != 0, "a question for an answer");
    assert_eq!(answer[2] & 0x79, message[2] & 0x79, "another opcode, or RD is lost");
    let read = Message::from_vec(answer).unwrap_or_else(|why| panic!("{why}: {answer:02x?} to {message:02x?}"));
    if limit == Limit::Datagram {
        let most = Message::from_vec(message).ok().and_then(|message| message.edns.map(|edns| edns.max_payload()));
        // What hickory does not read may still have an EDNS record.
        let most = if Query::parse(message).is_ok() { most.unwrap_or(1232).max(512) } else { 512 };
        assert!(answer.len() <= usize::from(most.min(1232)), "{} bytes for {most}", answer.len());
    }
    let Ok(query) = Query::parse(message) else {
        // F-E1: nobody is worth spoofing for this.
        assert!(answer.len() <= message.len(), "{answer:02x?} is longer than {message:02x?}");
        return assert!(read.answers.is_empty() && read.authorities.is_empty());
    };
    let question = query.question();
    let end = HEADER + question.name().len() + 4;
    assert_eq!(answer[HEADER..end], message[HEADER..end], "another question, or other letters");
    let name: Vec<String> =
        question.name().iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect();
    for record in &read.answers {
        let Some(ip) = record.data.ip_addr() else { continue };
        let is_fake = service.fake_addresses().is_some_and(|fakes| fakes.original(ip).is_some());
        if is_fake && record.name == *question.name() {
            let Original::Fake(known) = service.original(ip) else { panic!("{ip} stands for nothing") };
            assert_eq!(known.as_str(), name.join("."));
        }
    }
}

/// One question with right lengths, and additional records behind it.
pub(super) fn built(kind: u8, input: &mut Input<'_>) -> Vec<u8> {
    let (id, flags, choice) = (input.short(), input.byte(), input.byte());
    let mut message = id.to_be_bytes().to_vec();
    message.extend([flags & 0x07, flags & 0xf0, 0, 1, 0, 0, 0, 0, 0, 0]);
    if let Some(name) = NAMES.get(usize::from(choice >> 4)) {
        for label in name.split('.').filter(|label| !label.is_empty()) {
            message.push(label.len() as u8);
            message.extend(label.bytes());
        }
    } else {
        for _ in 0..=input.byte() & 7 {
            let label = input.bytes();
            let label = &label[..label.len().min(63)];
            message.push(label.len() as u8);
            message.extend(label);
            if label.is_empty() {
                message.pop();
                break;
            }
        }
    }
    message.push(0);
    message.extend(KINDS[usize::from(choice & 15)].to_be_bytes());
    message.extend([0, if kind & 0x40 == 0 { 1 } else { input.byte() }]);
    let mut count = 0u16;
    while !input.is_empty() && count < 8 {
        let choice = input.byte();
        message.push(0);
        message.extend([0, if choice & 7 == 7 { input.byte() } else { 41 }]);
        message.extend(input.short().to_be_bytes());
        message.extend([choice >> 4 & 1, choice >> 5 & 1, choice & 0x80, 0]);
        // A place for a client, some other option, or whatever.
        let content = match choice >> 2 & 3 {
            0 => Vec::new(),
            1 => {
                let (family, prefix, address) = (input.byte() & 3, input.byte() & 0x7f, input.byte() & 31);
                let address = input.take(address.into());
                [&[0, 8, 0, address.len() as u8 + 4, 0, family, prefix, 0], address].concat()
            }
            2 => {
                let content = input.bytes();
                [&[0, 10, 0, content.len() as u8], content].concat()
            }
            _ => input.bytes().to_vec(),
        };
        message.extend((content.len() as u16).to_be_bytes());
        message.extend(content);
        count += 1;
    }
    message[11] = count as u8;
    message
}

thread_local! {
    pub(super) static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
}

struct Nowhere;

impl Dialer for Nowhere {
    fn connect<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        panic!("{} is dialed", dial.target)
    }
}

/// Its servers refuse everything by themselves, so nothing is waited for.
static RESOLVER: LazyLock<Arc<Resolver>> = LazyLock::new(|| {
    let main = vec![Nameserver::parse("rcode://name_error").expect("a nameserver")];
    let ways = |_via: Option<&Via>| Some(Arc::new(Nowhere) as Arc<dyn Dialer>);
    Resolvers::new(&Upstreams { main, ..Upstreams::default() }, &ways).expect("resolvers").main
});

static HOSTS: LazyLock<Arc<HashMap<Domain, HostsEntry>>> = LazyLock::new(|| {
    let name = |text: &str| text.parse::<Domain>().expect("a name");
    let addresses =
        |list: &[&str]| HostsEntry::Addresses(list.iter().map(|ip| ip.parse().expect("an address")).collect());
    let many = (0..200).map(|n| IpAddr::from([192, 0, 2, n])).collect();
    Arc::new(HashMap::from([
        (name("host.hosts"), addresses(&["192.0.2.1", "2001:db8::1"])),
        (name("alias.hosts"), HostsEntry::Alias(name("host.hosts"))),
        (name("away.hosts"), HostsEntry::Alias(name("printer.lan"))),
        (name("circle.hosts"), HostsEntry::Alias(name("circle2.hosts"))),
        (name("circle2.hosts"), HostsEntry::Alias(name("circle.hosts"))),
        (name("many.hosts"), HostsEntry::Addresses(many)),
    ]))
});

/// Few addresses, so that they are soon given to other names.
pub(super) fn fakes() -> Mode {
    let ranges = FakeRanges {
        v4: Some("198.18.0.1/29".parse().expect("a range")),
        v6: Some("fd00::/124".parse().expect("a range")),
    };
    let addresses = Arc::new(FakeIp::new(ranges).expect("ranges"));
    let known: Domain = "known.example".parse().expect("a name");
    let _ = (addresses.v4(&known), addresses.v6(&known));
    Mode::FakeIp(FakeOptions {
        addresses,
        filter: FakeFilter::Blacklist(Arc::new(|name| name.ends_with("lan"))),
        ttl: 1,
    })
}

pub(super) fn service(mode: Mode, ipv6: bool) -> Service {
    Service::new(ServiceOptions { resolver: Arc::clone(&RESOLVER), hosts: vec![HOSTS.clone()], mode, ipv6 })
}
