//! What clients ask, as bytes. Read without a copy, because most questions are answered from what is at hand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Deref;

use ipnet::IpNet;

use crate::message::{KEY_END_MAX, Question, key_end};
use crate::wire::{HEADER, NAME_MAX, RecordAt, WireName, u16_at};

/// The type of the EDNS record (RFC 6891 §6.1.1).
pub(crate) const OPT: u16 = 41;
/// The EDNS option that says where a client is (RFC 7871 §6).
const CLIENT_SUBNET: u16 = 8;

/// Codes that a client's mistakes are answered with.
pub(crate) mod code {
    pub(crate) const FORMERR: u16 = 1;
    pub(crate) const SERVFAIL: u16 = 2;
    pub(crate) const NXDOMAIN: u16 = 3;
    pub(crate) const NOTIMP: u16 = 4;
    pub(crate) const REFUSED: u16 = 5;
    /// RFC 6891 §9.
    pub(crate) const BADVERS: u16 = 16;
}

/// A client's message: one question in class IN, checked.
#[derive(Clone, Copy)]
pub struct Query<'a> {
    /// Header and question, as they came.
    pub(crate) head: &'a [u8],
    pub(crate) name: WireName,
    pub(crate) kind: u16,
    pub(crate) edns: Option<ClientEdns>,
}

/// What a client's EDNS record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientEdns {
    /// How long an answer over UDP may be.
    pub(crate) payload: u16,
    /// The DO bit, which comes back (RFC 3225 §3).
    pub(crate) wants_dnssec: bool,
    pub(crate) subnet: Option<IpNet>,
}

/// Why a message is not a question that we answer.
pub enum BadQuery<'a> {
    /// To be met with silence: too short for a header, or itself an answer (F-E2: two servers must not talk for ever).
    Silence,
    /// To be answered with a code and no records.
    Refused {
        /// What of it is understood well enough to be sent back: the header, perhaps with the question.
        head: &'a [u8],
        /// The extended response code (RFC 6891 §6.1.3).
        code: u16,
        /// Whether it has an EDNS record, so that the answer has one as well.
        has_edns: bool,
    },
}

impl<'a> Query<'a> {
    /// Reads a client's message. Total: any bytes give a question or a refusal, in time bounded by their length.
    ///
    /// # Errors
    /// See [`BadQuery`].
    pub fn parse(message: &'a [u8]) -> Result<Self, BadQuery<'a>> {
        let header: &[u8; HEADER] = message.first_chunk().ok_or(BadQuery::Silence)?;
        let refused = |head, code| BadQuery::Refused { head, code, has_edns: false };
        let count = |at| u16_at(header, at).unwrap_or_default();
        if header[2] & 0x80 != 0 {
            return Err(BadQuery::Silence);
        }
        if header[2] & 0x78 != 0 {
            return Err(refused(header, code::NOTIMP));
        }
        // RFC 9619 §4: a query has exactly one question; and ours has no other records than additional ones.
        if (count(4), count(6), count(8)) != (1, 0, 0) {
            return Err(refused(header, code::FORMERR));
        }
        let question = WireName::read(message, HEADER).and_then(|(name, end)| {
            Some((name, u16_at(message, end)?, u16_at(message, end.checked_add(2)?)?, end.checked_add(4)?))
        });
        let (name, kind, class, end) = question.ok_or_else(|| refused(header, code::FORMERR))?;
        let head = message.get(..end).unwrap_or(header);
        let edns = additional(message, end, count(10)).map_err(|code| refused(head, code))?;
        let code = match (class, kind) {
            _ if edns.as_ref().is_some_and(|edns| edns.version > 0) => code::BADVERS,
            (1, OPT) => code::FORMERR,
            // Transfers and "everything": nothing that a resolver should say (RFC 8482).
            (1, 0 | 249..=255) => code::NOTIMP,
            (1, _) => return Ok(Self { head, name, kind, edns: edns.map(|edns| edns.said) }),
            _ => code::REFUSED,
        };
        Err(BadQuery::Refused { head, code, has_edns: edns.is_some() })
    }

    /// The question, to be asked elsewhere.
    #[must_use]
    pub fn question(&self) -> Question {
        Question::of_wire(&self.name, self.kind, self.subnet())
    }

    /// As [`Question::key`], without an allocation.
    pub(crate) fn key(&self) -> Key {
        let mut key = Key { bytes: [0; _], len: 0 };
        let (end, end_len) = key_end(self.kind, self.subnet());
        for part in [self.name.as_bytes(), end.get(..end_len).unwrap_or_default()] {
            if let Some(room) = key.bytes.get_mut(key.len..).and_then(|room| room.get_mut(..part.len())) {
                room.copy_from_slice(part);
                key.len = key.len.saturating_add(part.len());
            }
        }
        key
    }

    /// The name as configurations write it, in lower case; `None` if they cannot.
    pub(crate) fn text<'t>(&self, room: &'t mut [u8; NAME_MAX]) -> Option<&'t str> {
        self.name.text(room)
    }

    fn subnet(&self) -> Option<IpNet> {
        self.edns?.subnet
    }
}

/// A question as bytes that no other question has.
pub(crate) struct Key {
    bytes: [u8; NAME_MAX + KEY_END_MAX],
    len: usize,
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

struct Opt {
    version: u8,
    said: ClientEdns,
}

/// Reads the additional records: they must be whole, and the last of what there is.
fn additional(message: &[u8], mut at: usize, count: u16) -> Result<Option<Opt>, u16> {
    let mut opt = None;
    for _ in 0..count {
        let record = RecordAt::find(message, at).ok_or(code::FORMERR)?;
        if record.kind == OPT {
            // RFC 6891 §6.1.1: one at most, of the root.
            if opt.is_some() || !record.is_of_root {
                return Err(code::FORMERR);
            }
            opt = Some(read_opt(message, &record).ok_or(code::FORMERR)?);
        }
        at = record.end;
    }
    if at == message.len() { Ok(opt) } else { Err(code::FORMERR) }
}

fn read_opt(message: &[u8], record: &RecordAt) -> Option<Opt> {
    // The TTL's four bytes: extended code, version, flags (RFC 6891 §6.1.3).
    let [_, version, flags, _] = *message.get(record.ttl..)?.first_chunk()?;
    let mut options = message.get(record.data..record.end)?;
    let mut subnet = None;
    while !options.is_empty() {
        let data = options.get(4..)?.get(..u16_at(options, 2)?.into())?;
        if u16_at(options, 0)? == CLIENT_SUBNET {
            subnet = Some(read_subnet(data)?);
        }
        options = options.get(data.len().checked_add(4)?..)?;
    }
    // RFC 6891 §6.2.5: less than 512 is 512.
    Some(Opt { version, said: ClientEdns { payload: record.class.max(512), wants_dnssec: flags & 0x80 != 0, subnet } })
}

/// RFC 7871 §6. Bits beyond the prefix are taken as zero.
fn read_subnet(data: &[u8]) -> Option<IpNet> {
    let ([0, family, prefix, _], address) = data.split_first_chunk()? else { return None };
    let ip = match family {
        1 => IpAddr::V4(Ipv4Addr::from(padded(address)?)),
        2 => IpAddr::V6(Ipv6Addr::from(padded(address)?)),
        _ => return None,
    };
    Some(IpNet::new(ip, *prefix).ok()?.trunc())
}

fn padded<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    let mut whole = [0; N];
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(whole)
}
