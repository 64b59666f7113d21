//! Answers, for as long as they may be kept.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::recent::Recent;
use crate::response::Response;

/// How long after its time an answer may still be given while another is asked for (RFC 8767 §5: one to three days).
const STALE_MAX: Duration = Duration::from_secs(86_400);

/// A bounded cache. Keys are those of [`Question::key`](crate::Question).
pub(crate) struct Cache {
    entries: Recent<Box<[u8]>, Entry>,
    serves_stale: bool,
}

struct Entry {
    response: Arc<Response>,
    since: Instant,
    until: Instant,
}

/// An answer that was kept.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) response: Arc<Response>,
    pub(crate) age: Age,
}

/// How old an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// This many seconds, within its time.
    Seconds(u32),
    /// Its time is over.
    Stale,
}

impl Age {
    pub(crate) const NEW: Self = Self::Seconds(0);

    /// What is left of `ttl` seconds: at least one, unless there was none (mihomo-surface.md §7.3).
    pub(crate) fn left(self, ttl: u32) -> u32 {
        match self {
            Self::NEW => ttl,
            Self::Seconds(age) => ttl.saturating_sub(age).max(1),
            Self::Stale => 1,
        }
    }
}

impl Cache {
    /// Holds at most `capacity` answers (2 or more). `serves_stale`: also those whose time is over.
    pub(crate) fn new(capacity: usize, serves_stale: bool) -> Self {
        Self { entries: Recent::new(capacity), serves_stale }
    }

    /// The answer under `key`, if one is known that may still be given.
    pub(crate) fn get(&mut self, key: &[u8], now: Instant) -> Option<Kept> {
        let Entry { response, since, until } = self.entries.get(key)?;
        let age = if now < *until {
            let seconds = now.saturating_duration_since(*since).as_secs();
            Age::Seconds(u32::try_from(seconds).unwrap_or(u32::MAX))
        } else if self.serves_stale && response.is_answer() && now < *until + STALE_MAX {
            Age::Stale
        } else {
            self.entries.remove(key);
            return None;
        };
        Some(Kept { response: Arc::clone(response), age })
    }

    /// Keeps `response` for as long as it allows. A failure does not replace an answer that may be given.
    pub(crate) fn insert(&mut self, key: Box<[u8]>, response: Arc<Response>, now: Instant) {
        let lifetime = response.lifetime();
        if lifetime.is_zero() || (!response.is_answer() && self.get(&key, now).is_some()) {
            return;
        }
        self.entries.insert(key, Entry { response, since: now, until: now + lifetime });
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
    use hickory_proto::rr::{RData, Record, RecordType};

    use super::*;
    use crate::message::Question;
    use crate::response::read_response;

    fn question(name: &str) -> Question {
        Question::of(&name.parse().unwrap(), RecordType::A)
    }

    fn answer(question: &Question, code: ResponseCode, ttl: u32) -> Arc<Response> {
        let mut message = Message::new(0, MessageType::Response, OpCode::Query);
        message.metadata.response_code = code;
        message.add_query(Query::query(question.name().clone(), question.kind()));
        let data = RData::A(hickory_proto::rr::rdata::A::new(192, 0, 2, 1));
        message.add_answer(Record::from_rdata(question.name().clone(), ttl, data));
        Arc::new(read_response(&message.to_vec().unwrap(), question, 0).unwrap())
    }

    fn ages(cache: &mut Cache, question: &Question, now: Instant, after_ms: &[u64]) -> Vec<Option<Age>> {
        let at = |ms: &u64| now + Duration::from_millis(*ms);
        after_ms.iter().map(|ms| cache.get(&question.key(), at(ms)).map(|kept| kept.age)).collect()
    }

    #[test]
    fn answers_live_as_long_as_they_say() {
        let (mut cache, now) = (Cache::new(8, false), Instant::now());
        let (short, none, wrong) = (question("short.example"), question("none.example"), question("wrong.example"));
        cache.insert(short.key(), answer(&short, ResponseCode::NoError, 2), now);
        cache.insert(none.key(), answer(&none, ResponseCode::NoError, 0), now);
        cache.insert(wrong.key(), answer(&wrong, ResponseCode::NoError, 0x8000_0001), now);
        assert_eq!(
            ages(&mut cache, &question("SHORT.example"), now, &[0, 999, 1000, 1999, 2000]),
            [Some(Age::NEW), Some(Age::NEW), Some(Age::Seconds(1)), Some(Age::Seconds(1)), None]
        );
        assert!(cache.get(&none.key(), now).is_none() && cache.get(&wrong.key(), now).is_none());
        assert_eq!(
            (Age::NEW.left(0), Age::Seconds(9).left(10), Age::Seconds(9).left(5), Age::Stale.left(9)),
            (0, 1, 1, 1)
        );
    }

    #[test]
    fn what_is_stale_is_given_for_a_day_and_no_failure_replaces_it() {
        let (mut cache, now) = (Cache::new(8, true), Instant::now());
        let (good, bad) = (question("good.example"), question("bad.example"));
        cache.insert(good.key(), answer(&good, ResponseCode::NoError, 2), now);
        cache.insert(bad.key(), answer(&bad, ResponseCode::ServFail, 2), now);
        let later = now + Duration::from_secs(3);
        cache.insert(good.key(), answer(&good, ResponseCode::ServFail, 2), later);
        assert_eq!(
            ages(&mut cache, &good, now, &[2000, 86_401_999, 86_402_000]),
            [Some(Age::Stale), Some(Age::Stale), None]
        );
        assert_eq!(ages(&mut cache, &bad, now, &[4999, 5000]), [Some(Age::Seconds(4)), None]);
        cache.insert(good.key(), answer(&good, ResponseCode::NoError, 2), later);
        cache.clear();
        assert!(cache.get(&good.key(), later).is_none());
    }
}
