//! Answers clients: from `hosts`, with fake addresses, from memory, or by asking.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_net::{Domain, HostsEntry};

use crate::cache::{Age, Kept};
use crate::fake::{Fake, FakeIp};
use crate::mapping::Mapping;
use crate::query::{Query, code};
use crate::reply::{Limit, Reply, kind, refuse};
use crate::wire::{NAME_MAX, WireName};

use self::counts::{Answered, Counts};
use self::gate::{Gate, Place};
use self::reversed::reversed;

mod alias;
mod audience;
mod counts;
mod gate;
mod listen;
mod options;
mod reversed;
mod tcp;
mod udp;

pub use listen::DnsServer;
pub use options::{FakeAction, FakeFilter, FakeOptions, Mode, ServiceOptions};

/// How long an address from `hosts` may be kept, in seconds (mihomo-surface.md §7.5).
const HOSTS_TTL: u32 = 10;
/// Longer chains of aliases in `hosts` than anybody writes (F-E15).
const ALIASES_MAX: usize = 16;
/// Questions that may be open at once, to the resolver; a further one gets no answer, not a queue.
const OPEN_MAX: usize = 512;

/// What an address that a client connects to stands for (mihomo-surface.md §7.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Original {
    /// A fake address: the connection is to this name.
    Fake(Domain),
    /// A fake address that stands for nothing: not to be dialled.
    FakeMissing,
    /// An address that was given out for this name not long ago.
    Mapped(Domain),
    /// An address and nothing else.
    Plain,
}

/// Answers clients' questions, however they came: by the sockets of a [`DnsServer`], or captured on their way elsewhere.
///
/// Cheap to clone; clones are the same service.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    options: ServiceOptions,
    mapping: Option<Arc<Mapping>>,
    gate: Gate,
    counts: Arc<Counts>,
}

/// What [`Service::answer_now`] did.
#[expect(clippy::large_enum_variant, reason = "looked at where it is returned, and never kept")]
pub enum Now<'a> {
    /// The answer is in the buffer.
    Answered,
    /// There is to be no answer.
    Silence,
    /// Somebody else has to be asked: [`Service::answer_later`].
    Later(Later<'a>),
}

/// A question that has to be asked elsewhere.
pub struct Later<'a> {
    query: Query<'a>,
    /// Where aliases in `hosts` lead from the question's name.
    alias: Option<alias::Alias>,
    name: Option<Domain>,
}

/// What happens to a name that is not in `hosts`.
enum Next {
    Address(IpAddr, u32),
    /// NOERROR without records.
    Empty,
    Ask,
}

impl Service {
    /// A service as `options` say.
    #[must_use]
    pub fn new(options: ServiceOptions) -> Self {
        let mapping = (!matches!(options.mode, Mode::Normal)).then(|| Arc::new(Mapping::new()));
        Self(Arc::new(Inner { options, mapping, gate: Gate::new(OPEN_MAX), counts: Arc::default() }))
    }

    /// A service with other options that still knows which addresses this one has given out.
    #[must_use]
    pub fn renewed(&self, options: ServiceOptions) -> Self {
        let kept = self.0.mapping.clone().unwrap_or_else(|| Arc::new(Mapping::new()));
        let mapping = (!matches!(options.mode, Mode::Normal)).then_some(kept);
        let (gate, counts) = (self.0.gate.clone(), Arc::clone(&self.0.counts));
        Self(Arc::new(Inner { options, mapping, gate, counts }))
    }

    /// The answer to `message` from `client`, to be sent back in the way that `limit` names; `None`: no answer is due.
    ///
    /// Total: any bytes give an answer or silence, and no answer to a malformed message is longer than the message.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the answer.
    pub async fn handle(&self, message: &[u8], client: IpAddr, limit: Limit) -> Option<Vec<u8>> {
        let mut answer = Vec::new();
        match self.answer_now(message, limit, &mut answer) {
            Now::Answered => Some(answer),
            Now::Silence => None,
            Now::Later(later) => {
                let _place = self.enter(client)?;
                self.answer_later(&later, limit, &mut answer).await;
                Some(answer)
            }
        }
    }

    /// As [`Service::handle`], for a client that has its place already.
    async fn handle_entered(&self, message: &[u8], limit: Limit, _place: Place) -> Option<Vec<u8>> {
        let mut answer = Vec::new();
        match self.answer_now(message, limit, &mut answer) {
            Now::Answered => {}
            Now::Silence => return None,
            Now::Later(later) => self.answer_later(&later, limit, &mut answer).await,
        }
        Some(answer)
    }

    /// Answers `message` into `out`, if that is possible without asking anybody. Never waits.
    pub fn answer_now<'m>(&self, message: &'m [u8], limit: Limit, out: &mut Vec<u8>) -> Now<'m> {
        let query = match Query::parse(message) {
            Ok(query) => query,
            Err(bad) => {
                self.0.counts.add(Answered::Refused);
                return if refuse(&bad, out) { Now::Answered } else { Now::Silence };
            }
        };
        let name = query.text(&mut [0; NAME_MAX]).and_then(|text| Domain::new(text).ok());
        if let Some(reply) = self.of_fake_address(&query, name.as_ref(), out) {
            reply.finish(limit);
            self.0.counts.add(Answered::Fake);
            return Now::Answered;
        }
        let Some(name) = name else { return self.remembered(query, None, limit, out) };
        let hosts = self.by_hosts(&name, query.kind);
        let how = if hosts.is_some() { Answered::Hosts } else { Answered::Fake };
        match hosts {
            None => match self.by_mode(&name, query.kind) {
                Next::Address(ip, ttl) => finish_with(&query, &[ip], ttl, limit, out),
                Next::Empty => Reply::begin(&query, 0, out).finish(limit),
                Next::Ask => return self.remembered(query, Some(name), limit, out),
            },
            Some(HostsEntry::Addresses(ips)) => finish_with(&query, &ips, HOSTS_TTL, limit, out),
            Some(HostsEntry::Alias(target)) => match self.follow(&name, target, query.kind) {
                None => Reply::begin(&query, code::SERVFAIL, out).finish(limit),
                Some(alias) if alias.is_complete() => alias.answer(&query, None, limit, out),
                Some(alias) => return Now::Later(Later { query, alias: Some(alias), name: Some(name) }),
            },
        }
        self.0.counts.add(how);
        Now::Answered
    }

    /// Asks the resolver, and answers into `out` within five seconds. Who can answer nothing says SERVFAIL.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the answer.
    pub async fn answer_later(&self, later: &Later<'_>, limit: Limit, out: &mut Vec<u8>) {
        let Later { query, alias, name } = later;
        let question = match alias {
            Some(alias) => alias.question(query.kind),
            None => query.question(),
        };
        let Ok(kept) = self.0.options.resolver.answer(&question).await else {
            self.0.counts.add(Answered::Failed);
            return Reply::begin(query, code::SERVFAIL, out).finish(limit);
        };
        self.0.counts.add(Answered::Asked);
        match alias {
            Some(alias) => {
                self.map(name.as_ref(), &kept);
                alias.answer(query, Some(&kept), limit, out);
            }
            None => self.finish(query, name.as_ref(), &kept, limit, out),
        }
    }

    /// What `ip` stands for. A name that is found counts as used now.
    #[must_use]
    pub fn original(&self, ip: IpAddr) -> Original {
        if let Mode::FakeIp(fake) = &self.0.options.mode {
            match fake.addresses.original(ip.to_canonical()) {
                Some(Fake::Name(name)) => return Original::Fake(name),
                Some(Fake::Missing) => return Original::FakeMissing,
                None => {}
            }
        }
        self.0.mapping.as_ref().and_then(|mapping| mapping.original(ip)).map_or(Original::Plain, Original::Mapped)
    }

    /// How clients' questions were answered so far, by this service and those before it: a word and a number each.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.counts.read()
    }

    /// Who is asked what is not known here.
    #[must_use]
    pub fn resolver(&self) -> &Arc<crate::Resolver> {
        &self.0.options.resolver
    }

    /// The fake addresses, if this service gives any.
    #[must_use]
    pub fn fake_addresses(&self) -> Option<&Arc<FakeIp>> {
        match &self.0.options.mode {
            Mode::FakeIp(fake) => Some(&fake.addresses),
            Mode::Normal | Mode::RedirHost => None,
        }
    }

    /// A place among the questions that wait for others; `None`: there are too many, and this one gets no answer.
    fn enter(&self, client: IpAddr) -> Option<Place> {
        let place = self.0.gate.enter(client);
        if place.is_none() {
            self.0.counts.add(Answered::Refused);
        }
        place
    }

    /// The addresses that a question's name has in `hosts`, or its alias. Only A and AAAA are answered from there; an
    /// entry without addresses of the family has none.
    fn by_hosts(&self, name: &Domain, asked: u16) -> Option<HostsEntry> {
        let family = match asked {
            kind::A => IpAddr::is_ipv4,
            kind::AAAA => IpAddr::is_ipv6,
            _ => return None,
        };
        let mut entry = self.0.options.hosts.iter().find_map(|hosts| hosts.lookup(name))?;
        if let HostsEntry::Addresses(ips) = &mut entry {
            ips.retain(family);
        }
        Some(entry)
    }

    /// Steps 2 and 4 of mihomo-surface.md §7.5.
    fn by_mode(&self, name: &Domain, asked: u16) -> Next {
        let ipv6 = self.0.options.ipv6;
        if let Mode::FakeIp(fake) = &self.0.options.mode
            && matches!(asked, kind::A | kind::AAAA | kind::HTTPS | kind::SVCB)
            && fake.filter.is_fake(name.as_str())
        {
            let address = match asked {
                kind::A => fake.addresses.v4(name).map(IpAddr::V4),
                kind::AAAA if ipv6 => fake.addresses.v6(name).map(IpAddr::V6),
                // These would tell real addresses.
                _ => None,
            };
            return address.map_or(Next::Empty, |ip| Next::Address(ip, fake.ttl.max(1)));
        }
        if asked == kind::AAAA && !ipv6 { Next::Empty } else { Next::Ask }
    }

    /// Where aliases lead, and what is known there. `None`: in a circle.
    fn follow(&self, name: &Domain, target: Domain, asked: u16) -> Option<alias::Alias> {
        let mut names = vec![name.clone(), target];
        while names.len() <= ALIASES_MAX {
            let last = names.last()?.clone();
            let known = match self.by_hosts(&last, asked) {
                Some(HostsEntry::Alias(next)) => {
                    names.push(next);
                    continue;
                }
                Some(HostsEntry::Addresses(ips)) => Some((ips, HOSTS_TTL)),
                None => match self.by_mode(&last, asked) {
                    Next::Address(ip, ttl) => Some((vec![ip], ttl)),
                    Next::Empty => Some((Vec::new(), HOSTS_TTL)),
                    Next::Ask => None,
                },
            };
            return Some(alias::Alias::new(names, known));
        }
        None
    }

    /// Answers from memory, or says that somebody has to be asked.
    fn remembered<'m>(&self, query: Query<'m>, name: Option<Domain>, limit: Limit, out: &mut Vec<u8>) -> Now<'m> {
        let Some(kept) = self.0.options.resolver.remembered(&query.key()) else {
            return Now::Later(Later { query, alias: None, name });
        };
        if kept.age == Age::Stale {
            self.0.options.resolver.refresh(&query.question());
        }
        self.0.counts.add(Answered::Remembered);
        self.finish(&query, name.as_ref(), &kept, limit, out);
        Now::Answered
    }

    fn finish(&self, query: &Query<'_>, name: Option<&Domain>, kept: &Kept, limit: Limit, out: &mut Vec<u8>) {
        self.map(name, kept);
        match kept.response.encoded().filter(|_| kept.response.is_answer() || kept.response.is_made()) {
            Some(encoded) => encoded.answer(query, kept.age, limit, out),
            // What a server says of its own troubles is not for clients (mihomo-surface.md §7.3).
            None => Reply::begin(query, code::SERVFAIL, out).finish(limit),
        }
    }

    /// Remembers which name the addresses in an answer were given out for.
    fn map(&self, name: Option<&Domain>, kept: &Kept) {
        let (Some(mapping), Some(name)) = (&self.0.mapping, name) else { return };
        let ips = kept.response.known_addresses();
        if !ips.is_empty() {
            let lifetime = kept.response.lifetime().as_secs();
            let left = kept.age.left(u32::try_from(lifetime).unwrap_or(u32::MAX));
            mapping.remember(name, ips, Duration::from_secs(left.into()));
        }
    }

    /// Answers who asks for the name of a fake address (F-E8): the name, or that there is none.
    fn of_fake_address<'o>(&self, query: &Query<'_>, name: Option<&Domain>, out: &'o mut Vec<u8>) -> Option<Reply<'o>> {
        let Mode::FakeIp(fake) = &self.0.options.mode else { return None };
        if query.kind != kind::PTR {
            return None;
        }
        match fake.addresses.original(reversed(name?.as_str())?)? {
            Fake::Name(name) => {
                let mut reply = Reply::begin(query, 0, out);
                let data = WireName::of(&name);
                reply.pointer(data.as_bytes(), fake.ttl.max(1));
                Some(reply)
            }
            Fake::Missing => Some(Reply::begin(query, code::NXDOMAIN, out)),
        }
    }
}

/// Answers with addresses of the question's name; with none, says that there is none of that family.
fn finish_with(query: &Query<'_>, ips: &[IpAddr], ttl: u32, limit: Limit, out: &mut Vec<u8>) {
    let mut reply = Reply::begin(query, 0, out);
    for ip in ips {
        reply.address(*ip, ttl);
    }
    reply.finish(limit);
}
