//! Answers: what is believed of them, and for how long.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use thiserror::Error;

use crate::encoded::Encoded;
use crate::message::Question;
use crate::nameserver::Rcode;

/// How long a name's absence is believed, whatever its zone says.
const NEGATIVE_MAX: Duration = Duration::from_secs(300);
/// How long an answer is believed, whatever it says (RFC 8767 §4 suggests a bound of days).
const POSITIVE_MAX: Duration = Duration::from_secs(86_400);
/// How long a server's failure is believed (RFC 9520 §3.2: one second to five minutes).
const FAILURE: Duration = Duration::from_secs(5);
/// Longer chains of CNAMEs than any that works elsewhere.
const CNAMES_MAX: usize = 16;

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
    Ok(Response::new(question, prune(message, question)))
}

/// Leaves what answers the question: the records of its name and of those that CNAMEs lead to, and for absences the
/// SOA. Whatever else a server says is not its business to say (F-E4).
fn prune(mut message: Message, question: &Question) -> Message {
    let mut names = vec![question.name().clone()];
    // Bounded by the longest chain; the records may come in any order.
    for _ in 0..CNAMES_MAX {
        let leads = |record: &&Record| names.last() == Some(&record.name);
        let next = message.answers.iter().filter(leads).find_map(|record| match &record.data {
            RData::CNAME(alias) => Some(alias.0.clone()),
            _ => None,
        });
        match next {
            Some(next) if !names.contains(&next) => names.push(next),
            _ => break,
        }
    }
    let kind = question.kind();
    let is_asked = |record: &Record| {
        let belongs = matches!(record.record_type(), RecordType::CNAME) || record.record_type() == kind;
        names.contains(&record.name) && belongs
    };
    message.answers.retain(is_asked);
    message.authorities.retain(|record| record.record_type() == RecordType::SOA);
    if message.answers.iter().any(|record| record.record_type() == kind) {
        message.authorities.clear();
    }
    message.additionals.clear();
    for record in message.answers.iter_mut().chain(&mut message.authorities) {
        record.ttl = u32::try_from(ttl(record).min(POSITIVE_MAX).as_secs()).unwrap_or_default();
    }
    message
}

/// An answer to a question, of whatever kind.
#[derive(Clone, Debug)]
pub struct Response {
    question: Question,
    message: Message,
    /// The configuration's, not a server's.
    made: bool,
    /// As bytes, when it was first given to a client.
    encoded: OnceLock<Option<Encoded>>,
    addresses: OnceLock<Box<[IpAddr]>>,
}

impl Response {
    fn new(question: &Question, message: Message) -> Self {
        Self { question: question.clone(), message, made: false, encoded: OnceLock::new(), addresses: OnceLock::new() }
    }

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
        message.add_query(Query::query(question.name().clone(), question.kind()));
        Self { made: true, ..Self::new(question, message) }
    }

    /// Whether the configuration fixes this answer: it wins over all others and is not kept (mihomo-surface.md §7.2).
    pub(crate) fn is_made(&self) -> bool {
        self.made
    }

    /// Whether a server said what it knows, rather than that it does not know.
    pub(crate) fn is_answer(&self) -> bool {
        matches!(self.code(), ResponseCode::NoError | ResponseCode::NXDomain)
    }

    /// The answer as bytes; `None` if it does not fit into a message.
    pub(crate) fn encoded(&self) -> Option<&Encoded> {
        self.encoded.get_or_init(|| Encoded::new(&self.message)).as_ref()
    }

    /// As [`Response::addresses`], found once.
    pub(crate) fn known_addresses(&self) -> &[IpAddr] {
        self.addresses.get_or_init(|| self.addresses().into())
    }

    /// What the server says about its answer.
    #[must_use]
    pub fn code(&self) -> ResponseCode {
        self.message.metadata.response_code
    }

    /// The message, without what does not belong to the answer.
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
        let mut name = self.question.name();
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
                if record.record_type() == self.question.kind() && !found.contains(&address) {
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
        self.message.answers.iter().any(|record| record.record_type() == self.question.kind())
    }
}

/// RFC 2181 §8: a TTL with the highest bit set is zero.
fn ttl(record: &Record) -> Duration {
    Duration::from_secs(i32::try_from(record.ttl).map_or(0, i32::unsigned_abs).into())
}
