//! Questions as bytes: no socket, no clock, no randomness.

use std::fmt;

use adit_net::Domain;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::opt::{ClientSubnet, EdnsOption};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use ipnet::IpNet;
use thiserror::Error;

use crate::wire::{NAME_MAX, WireName};

/// What we say we can receive over UDP: what fits any path unfragmented (RFC 9715 §3.2, "DNS flag day 2020").
pub(crate) const UDP_PAYLOAD: u16 = 1232;
/// A name and what is asked about it, in class IN.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Question {
    name: Name,
    kind: RecordType,
    /// Where a client says that it is (RFC 7871). Answers to others are not for it.
    subnet: Option<IpNet>,
}

impl Question {
    /// Asks for the records of `kind` that `name` has.
    #[must_use]
    pub fn new(mut name: Name, kind: RecordType) -> Self {
        name.set_fqdn(true);
        Self { name, kind, subnet: None }
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

    /// As [`Question::new`], for a name out of a client's message.
    pub(crate) fn of_wire(name: &WireName, kind: u16, subnet: Option<IpNet>) -> Self {
        // As in `of`: this name keeps the limits as well.
        let name = Name::from_labels(name.labels()).unwrap_or_else(|_| Name::root());
        Self { subnet, ..Self::new(name, RecordType::from(kind)) }
    }

    /// Where the client is that asks, if it says so.
    pub(crate) fn subnet(&self) -> Option<IpNet> {
        self.subnet
    }

    /// The question as bytes that no other question has.
    pub(crate) fn key(&self) -> Box<[u8]> {
        let mut key = Vec::with_capacity(self.name.len() + 2);
        for label in self.name.iter() {
            key.push(u8::try_from(label.len()).unwrap_or_default());
            key.extend(label.iter().map(u8::to_ascii_lowercase));
        }
        key.push(0);
        let (end, len) = key_end(self.kind.into(), self.subnet);
        key.extend(end.into_iter().take(len));
        key.into()
    }

    /// The name as configurations write it, in lower case; `None` if they cannot.
    pub(crate) fn text(&self) -> Option<String> {
        let (name, _) = WireName::read(&self.key(), 0)?;
        name.text(&mut [0; NAME_MAX]).map(str::to_owned)
    }

    /// Whether an answer may be given again: what certificates are issued by changes while one waits
    /// (mihomo-surface.md §7.3).
    pub(crate) fn may_be_kept(&self) -> bool {
        let is_challenge = |label: &[u8]| label.eq_ignore_ascii_case(b"_acme-challenge");
        self.kind != RecordType::TXT || !self.name.iter().next().is_some_and(is_challenge)
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

    pub(crate) fn is(&self, query: &Query) -> bool {
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

/// What [`Question::key`] has after the name, and how much of it.
pub(crate) fn key_end(kind: u16, subnet: Option<IpNet>) -> ([u8; KEY_END_MAX], usize) {
    let mut end = [0; KEY_END_MAX];
    let parts = kind.to_be_bytes().into_iter();
    let mut fill =
        |bytes: &mut dyn Iterator<Item = u8>| end.iter_mut().zip(bytes).map(|(place, byte)| *place = byte).count();
    let len = match subnet {
        None => fill(&mut { parts }),
        Some(IpNet::V4(net)) => fill(&mut parts.chain(net.network().octets()).chain([net.prefix_len()])),
        Some(IpNet::V6(net)) => fill(&mut parts.chain(net.network().octets()).chain([net.prefix_len()])),
    };
    (end, len)
}

/// A type, an IPv6 address, and the length of a prefix.
pub(crate) const KEY_END_MAX: usize = 2 + 16 + 1;

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
