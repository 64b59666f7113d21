//! Answers to clients, written straight into the buffer that is sent.

use std::net::IpAddr;

use crate::message::UDP_PAYLOAD;
use crate::query::{BadQuery, ClientEdns, OPT, Query};
use crate::wire::HEADER;

/// A, AAAA and other types of records, as numbers.
pub(crate) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const SVCB: u16 = 64;
    pub(crate) const HTTPS: u16 = 65;
}

/// Class IN.
const IN: u16 = 1;
/// Where the question's name stands in every message: what a compressed name points at.
const QUESTION_NAME: u16 = 0xc000 | HEADER as u16;

/// How a client is answered, and so how long an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// By one datagram: as long as the client said, 512 bytes if it said nothing, and never more than what passes
    /// everywhere unfragmented.
    Datagram,
    /// By a stream: 65,535 bytes.
    Stream,
}

impl Limit {
    fn bytes(self, edns: Option<&ClientEdns>) -> usize {
        match self {
            Self::Datagram => edns.map_or(512, |edns| edns.payload.min(UDP_PAYLOAD)).into(),
            Self::Stream => u16::MAX.into(),
        }
    }
}

/// An answer that is being written.
pub(crate) struct Reply<'a> {
    out: &'a mut Vec<u8>,
    question_end: usize,
    edns: Option<ClientEdns>,
    code: u16,
    answers: u16,
    authorities: u16,
}

impl<'a> Reply<'a> {
    /// Begins the answer to `query` in `out`, whose content goes.
    pub(crate) fn begin(query: &Query<'_>, code: u16, out: &'a mut Vec<u8>) -> Self {
        start(query.head, code, out);
        Self { question_end: out.len(), out, edns: query.edns, code, answers: 0, authorities: 0 }
    }

    /// Appends the address of the question's name.
    pub(crate) fn address(&mut self, ip: IpAddr, ttl: u32) {
        match ip {
            IpAddr::V4(ip) => self.record(kind::A, ttl, &ip.octets()),
            IpAddr::V6(ip) => self.record(kind::AAAA, ttl, &ip.octets()),
        }
    }

    /// Appends the name (`data`, uncompressed) that the question's address belongs to.
    pub(crate) fn pointer(&mut self, data: &[u8], ttl: u32) {
        self.record(kind::PTR, ttl, data);
    }

    fn record(&mut self, kind: u16, ttl: u32, data: &[u8]) {
        let Ok(len) = u16::try_from(data.len()) else { return };
        for part in [QUESTION_NAME, kind, IN] {
            self.out.extend_from_slice(&part.to_be_bytes());
        }
        self.out.extend_from_slice(&ttl.to_be_bytes());
        self.out.extend_from_slice(&len.to_be_bytes());
        self.out.extend_from_slice(data);
        self.answers = self.answers.saturating_add(1);
    }

    /// Appends whole records and returns where they begin.
    pub(crate) fn append(&mut self, records: &[u8], answers: u16, authorities: u16) -> usize {
        let start = self.out.len();
        self.out.extend_from_slice(records);
        (self.answers, self.authorities) = (answers, authorities);
        start
    }

    /// Changes the four bytes at `at`.
    pub(crate) fn patch(&mut self, at: usize, change: impl FnOnce(u32) -> u32) {
        if let Some(bytes) = self.out.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
            *bytes = change(u32::from_be_bytes(*bytes)).to_be_bytes();
        }
    }

    /// Ends the answer. What is too long for `limit` is left out, and said to be (TC, RFC 2181 §9).
    pub(crate) fn finish(self, limit: Limit) {
        let Self { out, question_end, edns, code, mut answers, mut authorities } = self;
        let opt_len = if edns.is_some() { 11 } else { 0 };
        if out.len().saturating_add(opt_len) > limit.bytes(edns.as_ref()) {
            out.truncate(question_end);
            (answers, authorities) = (0, 0);
            if let Some(flags) = out.get_mut(2) {
                *flags |= 0x02;
            }
        }
        if let Some(edns) = edns {
            opt(out, code, edns.wants_dnssec);
        }
        counts(out, answers, authorities, edns.is_some());
    }
}

/// Answers a message that is no question of ours into `out`; `false` if it is to be met with silence.
pub(crate) fn refuse(bad: &BadQuery<'_>, out: &mut Vec<u8>) -> bool {
    out.clear();
    let BadQuery::Refused { head, code, has_edns } = bad else { return false };
    start(head, *code, out);
    if *has_edns {
        opt(out, *code, false);
    }
    counts(out, 0, 0, *has_edns);
    true
}

/// Header and question. The flags: QR, AA, RD as it came (RFC 1035 §4.1.1), RA, CD as it came (RFC 4035 §3.1.6).
fn start(head: &[u8], code: u16, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(head);
    let has_question = u8::from(head.len() > HEADER);
    let low = code.to_be_bytes()[1] & 0x0f;
    if let Some([_, _, high, flags, counts @ ..]) = out.first_chunk_mut::<HEADER>() {
        *high = 0x84 | (*high & 0x79);
        *flags = 0x80 | (*flags & 0x10) | low;
        *counts = [0, has_question, 0, 0, 0, 0, 0, 0];
    }
}

/// RFC 6891 §6.1.2.
fn opt(out: &mut Vec<u8>, code: u16, wants_dnssec: bool) {
    out.push(0);
    for part in [OPT, UDP_PAYLOAD] {
        out.extend_from_slice(&part.to_be_bytes());
    }
    let extended = u8::try_from(code >> 4).unwrap_or_default();
    out.extend_from_slice(&[extended, 0, if wants_dnssec { 0x80 } else { 0 }, 0, 0, 0]);
}

fn counts(out: &mut [u8], answers: u16, authorities: u16, has_opt: bool) {
    if let Some(places) = out.get_mut(6..HEADER) {
        let counts = [answers, authorities, has_opt.into()];
        for (place, count) in places.chunks_exact_mut(2).zip(counts) {
            place.copy_from_slice(&count.to_be_bytes());
        }
    }
}
