//! What a service is told.

use std::sync::Arc;

use adit_net::HostsTable;

use crate::fake::FakeIp;
use crate::plan::NameMatch;
use crate::resolver::Resolver;

/// What clients are answered.
#[derive(Clone)]
pub struct ServiceOptions {
    /// Whom to ask what is not known here.
    pub resolver: Arc<Resolver>,
    /// `use-hosts`: names with fixed addresses, in this order (the configuration's, then the system's).
    pub hosts: Vec<Arc<dyn HostsTable>>,
    /// `enhanced-mode`.
    pub mode: Mode,
    /// Whether AAAA questions are answered with addresses: the effective `dns.ipv6`.
    pub ipv6: bool,
}

/// `enhanced-mode`: how a connection to an address gets its name back.
#[derive(Clone)]
pub enum Mode {
    /// Not at all.
    Normal,
    /// By the addresses in answers.
    RedirHost,
    /// By addresses that stand for names, and for names without one as in [`Mode::RedirHost`].
    FakeIp(FakeOptions),
}

/// Who gets fake addresses.
#[derive(Clone)]
pub struct FakeOptions {
    /// The addresses. A new configuration with the same ranges takes over the old one's.
    pub addresses: Arc<FakeIp>,
    /// `fake-ip-filter`.
    pub filter: FakeFilter,
    /// `fake-ip-ttl`, in seconds.
    pub ttl: u32,
}

/// `fake-ip-filter` with its modes. Names are given in lower case, without a trailing dot.
#[derive(Clone)]
pub enum FakeFilter {
    /// These names get real addresses.
    Blacklist(NameMatch),
    /// Only these names get fake addresses.
    Whitelist(NameMatch),
    /// The first that matches decides; a name that none matches gets a fake address.
    Rules(Vec<(NameMatch, FakeAction)>),
}

/// What a rule of a [`FakeFilter`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FakeAction {
    /// `fake-ip`
    Fake,
    /// `real-ip`
    Real,
}

impl FakeFilter {
    /// Whether `name` gets a fake address.
    #[must_use]
    pub fn is_fake(&self, name: &str) -> bool {
        match self {
            Self::Blacklist(names) => !names(name),
            Self::Whitelist(names) => names(name),
            Self::Rules(rules) => {
                rules.iter().find(|(names, _)| names(name)).is_none_or(|(_, action)| *action == FakeAction::Fake)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_decide_as_their_modes_say() {
        let set = |names: &'static [&'static str]| -> NameMatch { Arc::new(move |name: &str| names.contains(&name)) };
        let blacklist = FakeFilter::Blacklist(set(&["a.example"]));
        let whitelist = FakeFilter::Whitelist(set(&["a.example"]));
        let rules = FakeFilter::Rules(vec![
            (set(&["a.example"]), FakeAction::Fake),
            (set(&["a.example", "b.example"]), FakeAction::Real),
        ]);
        let say = |filter: &FakeFilter| ["a.example", "b.example", "c.example"].map(|name| filter.is_fake(name));
        assert_eq!(say(&blacklist), [false, true, true]);
        assert_eq!(say(&whitelist), [true, false, false]);
        assert_eq!(say(&rules), [true, false, true]);
    }
}
