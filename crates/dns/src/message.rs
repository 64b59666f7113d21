//! Questions and answers as bytes: no socket, no clock, no randomness.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use adit_net::Domain;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsOption};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use ipnet::IpNet;
use thiserror::Error;

use crate::nameserver::Rcode;

/// What we say we can receive over UDP: what fits any path unfragmented (RFC 9715 §3.2, "DNS flag day 2020").
pub(crate) const UDP_PAYLOAD: u16 = 1232;
/// How long a name's absence is believed, whatever its zone says.
const NEGATIVE_MAX: Duration = Duration::from_secs(300);
/// How long an answer is believed, whatever it says (RFC 8767 §4 suggests a bound of days).
const POSITIVE_MAX: Duration = Duration::from_secs(86_400);
/// How long a server's failure is believed (RFC 9520 §3.2: one second to five minutes).
const FAILURE: Duration = Duration::from_secs(5);
/// Longer chains of CNAMEs than any that works elsewhere.
const CNAMES_MAX: usize = 16;

/// A name and what is asked about it, in class IN.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Question {
    name: Name,
    kind: RecordType,
}

impl Question {
    /// Asks for the records of `kind` that `name` has.
    #[must_use]
    pub fn new(mut name: Name, kind: RecordType) -> Self {
        name.set_fqdn(true);
        Self { name, kind }
    }

    /// As [`Question::new`], for a host's name.
    #[must_use]
    pub fn of(name: &Domain, kind: RecordType) -> Self {
        // A `Domain` keeps every limit that a name on the wire has; the root would ask for what cannot have addresses.
        let name = Name::from_labels(name.as_str().split('.').map(str::as_bytes)).unwrap_or_else(|_| Name::root());
        Self::new(name, kind)
    }

    /// The name asked about.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What is asked about it.
    #[must_use]
    pub fn kind(&self) -> RecordType {
        self.kind
    }

    /// The question as a message with recursion desired.
    pub(crate) fn encode(&self, id: u16, extension: Extension) -> Result<Vec<u8>, BadQuestion> {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(self.name.clone(), self.kind));
        if let Extension::Edns(subnet) = extension {
            let mut edns = Edns::new();
            edns.set_max_payload(UDP_PAYLOAD).set_version(0);
            if let Some(network) = subnet {
                let subnet = ClientSubnet::new(network.addr(), network.prefix_len(), 0);
                edns.options_mut().insert(EdnsOption::Subnet(subnet));
            }
            message.set_edns(edns);
        }
        message.to_vec().map_err(|error| BadQuestion(error.to_string()))
    }

    fn is(&self, query: &Query) -> bool {
        query.query_class() == DNSClass::IN && query.query_type() == self.kind && *query.name() == self.name
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.kind)
    }
}

/// What a question carries besides itself.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extension {
    /// Nothing, for servers that do not know EDNS (RFC 6891 §7).
    None,
    /// EDNS, with the client subnet if there is one.
    Edns(Option<IpNet>),
}

/// A question that cannot be written as a message.
#[derive(Clone, Debug, Error)]
#[error("the question cannot be written: {0}")]
pub struct BadQuestion(String);

/// Why bytes are not the answer to a question.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BadResponse {
    /// Not a DNS message.
    #[error("malformed answer: {0}")]
    Malformed(String),
    /// A question, or an answer to something other than a query.
    #[error("not an answer to a query")]
    NotAnAnswer,
    /// The answer to another question.
    #[error("the answer to another question")]
    OtherQuestion,
}

/// The id in a message's header, if there is one.
pub(crate) fn id_of(message: &[u8]) -> Option<u16> {
    message.first_chunk().map(|id| u16::from_be_bytes(*id))
}

/// Replaces the id in a message's header.
pub(crate) fn set_id(message: &mut [u8], id: u16) {
    if let Some(place) = message.first_chunk_mut() {
        *place = id.to_be_bytes();
    }
}

/// Whether a message says that it is an answer of which a part is missing (QR and TC, RFC 1035 §4.1.1).
pub(crate) fn is_truncated(message: &[u8]) -> bool {
    message.get(2).is_some_and(|flags| flags & 0x82 == 0x82)
}

/// Reads `bytes` as the answer to `question`: one message, an answer, to that question with that id.
///
/// Total: any bytes give an answer or an error, in time and memory bounded by their length.
///
/// # Errors
/// See [`BadResponse`]. An answer without a question is accepted if it reports an error, as some servers leave it out.
pub fn read_response(bytes: &[u8], question: &Question, id: u16) -> Result<Response, BadResponse> {
    let message = Message::from_vec(bytes).map_err(|error| BadResponse::Malformed(error.to_string()))?;
    if message.metadata.message_type != MessageType::Response || message.metadata.op_code != OpCode::Query {
        return Err(BadResponse::NotAnAnswer);
    }
    let ours = match message.queries.as_slice() {
        [query] => question.is(query),
        [] => !matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain),
        _ => false,
    };
    if message.metadata.id != id || !ours {
        return Err(BadResponse::OtherQuestion);
    }
    Ok(Response { question: question.clone(), message, made: false })
}

/// An answer to a question, of whatever kind.
#[derive(Clone, Debug)]
pub struct Response {
    question: Question,
    message: Message,
    /// The configuration's, not a server's.
    made: bool,
}

impl Response {
    /// An answer that nobody gave.
    pub(crate) fn made(question: &Question, code: Rcode) -> Self {
        let mut message = Message::new(0, MessageType::Response, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.metadata.recursion_available = true;
        message.metadata.response_code = match code {
            Rcode::Success => ResponseCode::NoError,
            Rcode::FormatError => ResponseCode::FormErr,
            Rcode::ServerFailure => ResponseCode::ServFail,
            Rcode::NameError => ResponseCode::NXDomain,
            Rcode::NotImplemented => ResponseCode::NotImp,
            Rcode::Refused => ResponseCode::Refused,
        };
        message.add_query(Query::query(question.name.clone(), question.kind));
        Self { question: question.clone(), message, made: true }
    }

    /// Whether the configuration fixes this answer: it wins over all others and is not kept (mihomo-surface.md §7.2).
    pub(crate) fn is_made(&self) -> bool {
        self.made
    }

    /// What the server says about its answer.
    #[must_use]
    pub fn code(&self) -> ResponseCode {
        self.message.metadata.response_code
    }

    /// The whole message.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Takes out the records of these types.
    pub(crate) fn without(mut self, kinds: &[u16]) -> Self {
        if !kinds.is_empty() {
            let kept = |record: &Record| !kinds.contains(&record.record_type().into());
            self.message.answers.retain(kept);
            self.message.authorities.retain(kept);
            self.message.additionals.retain(kept);
        }
        self
    }

    /// The addresses that the question's name has, its CNAMEs followed, in the answer's order; none twice.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let mut found = Vec::new();
        let mut name = &self.question.name;
        // Bounded: a chain in a hostile answer may be a circle.
        for _ in 0..CNAMES_MAX {
            let mut next = None;
            for record in self.message.answers.iter().filter(|record| record.name == *name) {
                let address = match &record.data {
                    RData::A(a) => IpAddr::V4(a.0),
                    RData::AAAA(aaaa) => IpAddr::V6(aaaa.0),
                    RData::CNAME(alias) => {
                        next = Some(&alias.0);
                        continue;
                    }
                    _ => continue,
                };
                if record.record_type() == self.question.kind && !found.contains(&address) {
                    found.push(address);
                }
            }
            match next {
                Some(alias) if found.is_empty() => name = alias,
                _ => break,
            }
        }
        found
    }

    /// How long the answer may be kept; zero is not at all.
    ///
    /// The least TTL of all records (mihomo-surface.md §7.3); for absences also the SOA's own bound (RFC 2308 §5), and
    /// nothing without one.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        let least = || self.message.all_sections().map(ttl).min().unwrap_or_default();
        match self.code() {
            _ if self.made => Duration::ZERO,
            ResponseCode::NoError if self.has_asked_records() => least().min(POSITIVE_MAX),
            ResponseCode::NoError | ResponseCode::NXDomain => {
                let soa = self.message.authorities.iter().find_map(|record| match &record.data {
                    RData::SOA(soa) => Some(Duration::from_secs(soa.minimum.into())),
                    _ => None,
                });
                soa.map_or(Duration::ZERO, |minimum| minimum.min(least()).min(NEGATIVE_MAX))
            }
            ResponseCode::ServFail => FAILURE,
            _ => Duration::ZERO,
        }
    }

    fn has_asked_records(&self) -> bool {
        self.message.answers.iter().any(|record| record.record_type() == self.question.kind)
    }
}

/// RFC 2181 §8: a TTL with the highest bit set is zero.
fn ttl(record: &Record) -> Duration {
    Duration::from_secs(i32::try_from(record.ttl).map_or(0, i32::unsigned_abs).into())
}
