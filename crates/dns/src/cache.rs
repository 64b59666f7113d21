//! Answers, for as long as they may be kept.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::message::{Question, Response};

/// A bounded cache in two generations: what is not asked for during a whole generation is forgotten.
///
/// INVARIANT: each generation holds at most `half` answers. Both operations take constant (amortised) time.
pub(crate) struct Cache {
    young: HashMap<Question, Entry>,
    old: HashMap<Question, Entry>,
    half: usize,
}

struct Entry {
    response: Arc<Response>,
    until: Instant,
}

impl Cache {
    /// Holds at most `capacity` answers (2 or more).
    pub(crate) fn new(capacity: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: (capacity / 2).max(1) }
    }

    /// The answer to `question`, if one is known that `now` may still be given.
    pub(crate) fn get(&mut self, question: &Question, now: Instant) -> Option<Arc<Response>> {
        if let Some(entry) = self.young.get(question) {
            return (now < entry.until).then(|| Arc::clone(&entry.response));
        }
        let (question, entry) = self.old.remove_entry(question)?;
        if now >= entry.until {
            return None;
        }
        let response = Arc::clone(&entry.response);
        self.put(question, entry);
        Some(response)
    }

    /// Keeps `response` for as long as it allows.
    pub(crate) fn insert(&mut self, question: Question, response: Arc<Response>, now: Instant) {
        let lifetime = response.lifetime();
        if !lifetime.is_zero() {
            self.put(question, Entry { response, until: now + lifetime });
        }
    }

    fn put(&mut self, question: Question, entry: Entry) {
        if self.young.len() >= self.half && !self.young.contains_key(&question) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(question, entry);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    use hickory_proto::rr::{RData, Record, RecordType};

    use super::*;
    use crate::message::read_response;

    fn question(name: &str) -> Question {
        Question::of(&name.parse().unwrap(), RecordType::A)
    }

    fn answer(question: &Question, ttl: u32) -> Arc<Response> {
        let mut message = Message::new(0, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(question.name().clone(), question.kind()));
        let data = RData::A(hickory_proto::rr::rdata::A::new(192, 0, 2, 1));
        message.add_answer(Record::from_rdata(question.name().clone(), ttl, data));
        Arc::new(read_response(&message.to_vec().unwrap(), question, 0).unwrap())
    }

    #[test]
    fn answers_live_as_long_as_they_say() {
        let (mut cache, now) = (Cache::new(8), Instant::now());
        let (short, none, wrong) = (question("short.example"), question("none.example"), question("wrong.example"));
        cache.insert(short.clone(), answer(&short, 2), now);
        cache.insert(none.clone(), answer(&none, 0), now);
        cache.insert(wrong.clone(), answer(&wrong, 0x8000_0001), now);
        assert!(cache.get(&short, now + Duration::from_millis(1999)).is_some());
        assert!(cache.get(&short, now + Duration::from_secs(2)).is_none());
        assert!(cache.get(&none, now).is_none() && cache.get(&wrong, now).is_none());
        assert!(cache.get(&question("SHORT.example"), now).is_some());
    }

    #[test]
    fn it_stays_small_and_remembers_what_is_asked_for() {
        let (mut cache, now) = (Cache::new(10), Instant::now());
        let favourite = question("favourite.example");
        cache.insert(favourite.clone(), answer(&favourite, 60), now);
        for i in 0..1000 {
            let other = question(&format!("n{i}.example"));
            cache.insert(other.clone(), answer(&other, 60), now);
            assert!(cache.get(&favourite, now).is_some(), "{i}");
            assert!(cache.young.len() + cache.old.len() <= 10);
        }
        assert!(cache.get(&question("n0.example"), now).is_none());
    }
}
