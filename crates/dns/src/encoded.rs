//! An answer as bytes that only its age, its asker and the case of its letters still change.

use hickory_proto::op::Message;

use crate::cache::Age;
use crate::query::Query;
use crate::reply::{Limit, Reply};
use crate::wire::{HEADER, RecordAt, WireName};

/// What follows the question in a message: answers and authorities, in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Encoded {
    code: u16,
    answers: u16,
    authorities: u16,
    /// Names in it point into the question, which stands where it stood when this was written.
    records: Box<[u8]>,
    /// Where in `records` the TTLs are.
    ttls: Box<[usize]>,
}

impl Encoded {
    /// `None` if the message does not fit into 64 KiB, or is none that we make.
    pub(crate) fn new(message: &Message) -> Option<Self> {
        let bytes = message.to_vec().ok()?;
        let (_, name_end) = WireName::read(&bytes, HEADER)?;
        let start = name_end.checked_add(4)?;
        let count = |records: &[_]| u16::try_from(records.len()).ok();
        let (answers, authorities) = (count(&message.answers)?, count(&message.authorities)?);
        let (mut at, mut ttls) = (start, Vec::new());
        for _ in 0..u32::from(answers).checked_add(authorities.into())? {
            let record = RecordAt::find(&bytes, at)?;
            ttls.push(record.ttl.checked_sub(start)?);
            at = record.end;
        }
        let records = bytes.get(start..at)?.into();
        Some(Self { code: message.metadata.response_code.into(), answers, authorities, records, ttls: ttls.into() })
    }

    /// Answers `query`, which asks what the message answers, into `out`.
    pub(crate) fn answer(&self, query: &Query<'_>, age: Age, limit: Limit, out: &mut Vec<u8>) {
        let mut reply = Reply::begin(query, self.code, out);
        let start = reply.append(&self.records, self.answers, self.authorities);
        for ttl in &self.ttls {
            reply.patch(start.saturating_add(*ttl), |ttl| age.left(ttl));
        }
        reply.finish(limit);
    }
}
