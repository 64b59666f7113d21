//! Names that `hosts` says are other names: answers with CNAMEs.

use std::net::IpAddr;

use adit_net::Domain;
use hickory_proto::op::{Message, MessageType, OpCode, Query as MessageQuery};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{RData, Record, RecordType};

use super::HOSTS_TTL;
use crate::cache::{Age, Kept};
use crate::encoded::Encoded;
use crate::message::Question;
use crate::query::{Query, code};
use crate::reply::{Limit, Reply};

/// A chain of names, and what is known of the last one.
pub(super) struct Alias {
    /// Two or more, the question's first.
    names: Vec<Domain>,
    known: Option<(Vec<IpAddr>, u32)>,
}

impl Alias {
    /// `known`: addresses and their TTL; `None`: they have to be asked for.
    pub(super) fn new(names: Vec<Domain>, known: Option<(Vec<IpAddr>, u32)>) -> Self {
        Self { names, known }
    }

    /// Whether nobody has to be asked.
    pub(super) fn is_complete(&self) -> bool {
        self.known.is_some()
    }

    /// What is asked elsewhere.
    pub(super) fn question(&self, kind: u16) -> Question {
        let kind = RecordType::from(kind);
        self.names
            .last()
            .map_or_else(|| Question::new(hickory_proto::rr::Name::root(), kind), |last| Question::of(last, kind))
    }

    /// The chain as CNAMEs, then what is known or was `found`.
    pub(super) fn answer(&self, query: &Query<'_>, found: Option<&Kept>, limit: Limit, out: &mut Vec<u8>) {
        match self.message(query, found).as_ref().and_then(Encoded::new) {
            Some(encoded) => encoded.answer(query, Age::NEW, limit, out),
            None => Reply::begin(query, code::SERVFAIL, out).finish(limit),
        }
    }

    fn message(&self, query: &Query<'_>, found: Option<&Kept>) -> Option<Message> {
        let mut message = Message::new(0, MessageType::Response, OpCode::Query);
        let question = query.question();
        message.add_query(MessageQuery::query(question.name().clone(), question.kind()));
        let name = |name: &Domain| Question::of(name, RecordType::A).name().clone();
        for pair in self.names.windows(2) {
            let [from, to] = pair else { return None };
            message.add_answer(Record::from_rdata(name(from), HOSTS_TTL, RData::CNAME(CNAME(name(to)))));
        }
        let last = name(self.names.last()?);
        if let Some((ips, ttl)) = &self.known {
            for ip in ips {
                let data = match ip {
                    IpAddr::V4(ip) => RData::A(A(*ip)),
                    IpAddr::V6(ip) => RData::AAAA(AAAA(*ip)),
                };
                message.add_answer(Record::from_rdata(last.clone(), *ttl, data));
            }
        }
        if let Some(Kept { response, age }) = found {
            if !response.is_answer() && !response.is_made() {
                return None;
            }
            message.metadata.response_code = response.code();
            message.answers.extend(response.message().answers.iter().cloned());
            message.authorities.extend(response.message().authorities.iter().cloned());
            let found = message.answers.iter_mut().skip(self.names.len().saturating_sub(1));
            for record in found.chain(&mut message.authorities) {
                record.ttl = age.left(record.ttl);
            }
        }
        Some(message)
    }
}
