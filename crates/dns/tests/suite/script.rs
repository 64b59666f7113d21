//! What scripted servers say.

use std::net::{Ipv4Addr, Ipv6Addr};

use adit_dns::hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use adit_dns::hickory_proto::rr::rdata::{A, AAAA, CNAME, SOA, TXT};
use adit_dns::hickory_proto::rr::{Name, RData, Record, RecordType};

pub(crate) fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).unwrap();
    name.set_fqdn(true);
    name
}

/// An answer to `query` with nothing in it yet.
pub(crate) fn reply(query: &Message, code: ResponseCode) -> Message {
    let mut reply = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    reply.metadata.response_code = code;
    reply.metadata.recursion_available = true;
    reply.queries = query.queries.clone();
    reply
}

pub(crate) fn record(owner: &str, ttl: u32, data: RData) -> Record {
    Record::from_rdata(name(owner), ttl, data)
}

pub(crate) fn a(last: u8) -> RData {
    RData::A(A(Ipv4Addr::new(192, 0, 2, last)))
}

pub(crate) fn aaaa(last: u16) -> RData {
    RData::AAAA(AAAA(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)))
}

pub(crate) fn cname(to: &str) -> RData {
    RData::CNAME(CNAME(name(to)))
}

pub(crate) fn soa(minimum: u32) -> RData {
    RData::SOA(SOA::new(name("ns.example"), name("root.example"), 1, 2, 3, 4, minimum))
}

pub(crate) fn kind(query: &Message) -> RecordType {
    query.queries[0].query_type()
}

/// The address 192.0.2.`last` to an A question, nothing to any other; for 60 seconds.
pub(crate) fn address(query: &Message, last: u8) -> Message {
    let mut reply = reply(query, ResponseCode::NoError);
    if kind(query) == RecordType::A {
        reply.add_answer(Record::from_rdata(query.queries[0].name().clone(), 60, a(last)));
    }
    reply
}

/// An answer of nearly 64 KiB whose last record is the address.
pub(crate) fn huge(query: &Message, last: u8) -> Message {
    let mut reply = reply(query, ResponseCode::NoError);
    let owner = query.queries[0].name().clone();
    while reply.to_vec().unwrap().len() < 65_000 {
        for _ in 0..8 {
            reply.add_answer(Record::from_rdata(owner.clone(), 60, RData::TXT(TXT::new(vec!["x".repeat(37)]))));
        }
    }
    reply.add_answer(Record::from_rdata(owner, 60, a(last)));
    reply
}
