//! `load-balance`: connections spread over the members that work. Spec: mihomo-surface §6.3.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use adit_net::{Host, Session};
use parking_lot::Mutex;
use siphasher::sip::SipHasher13;

use super::Members;
use crate::options::Strategy;

/// Other members that are tried where the hash leads to a dead one.
const PROBES: u64 = 5;

/// Clients and destinations that keep their member.
const STICKY: usize = 1000;

/// For how long.
const STICKS: Duration = Duration::from_secs(600);

/// The state of one group.
#[derive(Debug)]
pub(crate) enum LoadBalance {
    /// Nothing is remembered: equal destinations lead to equal members, in every process.
    ConsistentHashing,
    /// The place of the member that was used last.
    RoundRobin(Mutex<usize>),
    StickySessions(Mutex<Sticky>),
}

/// Where pairs of client and destination went.
#[derive(Debug, Default)]
pub(crate) struct Sticky {
    places: HashMap<u64, (usize, Instant)>,
    /// Keys in the order in which they came.
    order: VecDeque<u64>,
}

impl LoadBalance {
    pub(super) fn new(strategy: Strategy) -> Self {
        match strategy {
            Strategy::ConsistentHashing => Self::ConsistentHashing,
            Strategy::RoundRobin => Self::RoundRobin(Mutex::default()),
            Strategy::StickySessions => Self::StickySessions(Mutex::default()),
        }
    }

    /// The place of the member for `session`; without one, where the next would go, and nothing is remembered.
    pub(super) fn now(&self, members: &Members<'_>, session: Option<&Session>, now: Instant) -> usize {
        match self {
            Self::ConsistentHashing => {
                let key = session.map_or(0, |session| hash(&[&destination(session)]));
                by_hash(members, key)
            }
            Self::RoundRobin(last) => {
                let mut last = last.lock();
                let next = members.next_alive(*last);
                if session.is_some() {
                    *last = next;
                }
                next
            }
            Self::StickySessions(sticky) => match session {
                Some(session) => {
                    let key = hash(&[session.client.ip().to_string().as_bytes(), &destination(session)]);
                    sticky.lock().place(key, members, now)
                }
                None => members.first_alive(),
            },
        }
    }
}

impl Sticky {
    fn place(&mut self, key: u64, members: &Members<'_>, now: Instant) -> usize {
        if let Some((place, since)) = self.places.get(&key).copied()
            && now.saturating_duration_since(since) < STICKS
            && members.alive(place)
        {
            return place;
        }
        // Drawn at random, so that no pattern of clients makes one member busier.
        let start = std::hash::RandomState::new().hash_one(key);
        let place = by_hash(members, start);
        if self.places.insert(key, (place, now)).is_none() {
            self.order.push_back(key);
        }
        while self.order.len() > STICKY {
            let Some(oldest) = self.order.pop_front() else { break };
            self.places.remove(&oldest);
        }
        place
    }
}

/// The member that `key` leads to, or one close by that works.
fn by_hash(members: &Members<'_>, key: u64) -> usize {
    (0..=PROBES)
        .map(|probe| jump(key.wrapping_add(probe), members.len()))
        .find(|place| members.alive(*place))
        .unwrap_or_else(|| members.first_alive())
}

/// Jump consistent hash (Lamping and Veach, 2014): one member more moves one key in so many, and no other.
fn jump(mut key: u64, buckets: usize) -> usize {
    let (mut bucket, mut next) = (0_u64, 0_u64);
    while next < buckets as u64 {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        // At most 2^31 times the bucket's number: far inside what both types hold exactly enough.
        let scale = (1_u64 << 31) as f64 / ((key >> 33) + 1) as f64;
        next = ((bucket + 1) as f64 * scale) as u64;
    }
    usize::try_from(bucket).unwrap_or_default()
}

/// With a fixed key: assignments survive a restart.
fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = SipHasher13::new();
    for part in parts {
        hasher.write_usize(part.len());
        hasher.write(part);
    }
    hasher.finish()
}

/// What connections to one service have in common: the registrable domain of the name, or the address.
fn destination(session: &Session) -> Vec<u8> {
    match &session.target.host {
        Host::Ip(ip) => octets(*ip),
        Host::Domain(name) => {
            psl::domain(name.as_str().as_bytes()).map_or(name.as_str().as_bytes(), |domain| domain.as_bytes()).to_vec()
        }
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bucket_more_moves_its_share_and_no_other_key() {
        for buckets in 1..20 {
            let at = |key: u32, buckets| jump(hash(&[&key.to_be_bytes()]), buckets);
            let moved: Vec<u32> = (0..2000).filter(|key| at(*key, buckets) != at(*key, buckets + 1)).collect();
            assert!(moved.iter().all(|key| at(*key, buckets + 1) == buckets), "{buckets}");
            let share = 2000 / (buckets + 1);
            assert!(moved.len() > share / 2 && moved.len() < share * 2, "{buckets}: {}", moved.len());
        }
    }

    #[test]
    fn the_published_function_is_used() {
        // From the reference implementation in the paper.
        for (key, buckets, expected) in
            [(0, 1, 0), (1, 60, 55), (42, 57, 43), (256, 1024, 520), (0xdead_10cc, 666, 361)]
        {
            assert_eq!(jump(key, buckets), expected, "{key} {buckets}");
        }
    }
}
