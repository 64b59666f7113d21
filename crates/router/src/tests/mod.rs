//! Whole rules against whole connections.

mod errors;
mod index;
mod lists;
mod logic;
mod providers;
mod resolution;
mod stats;
mod trace;
mod types;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use adit_net::{Entry, Network, Protocol, Session, Tag};

use crate::geo::{dat, mmdb, site};
use crate::{
    Address, AsnDatabase, Behavior, Countries, Format, Geo, GeoIpDat, GeoSite, Mmdb, ProviderHandle, Query, RuleError,
    RuleSet, Rules, Sources, Step, Verdict,
};

/// What a set of rules is compiled from, with short ways to say it.
struct Setup {
    rules: Vec<String>,
    sub_rules: Vec<(Tag, Vec<String>)>,
    providers: HashMap<Tag, ProviderHandle>,
    geo: Geo,
    no_resolve_all: bool,
    processes: bool,
}

impl Setup {
    fn new(rules: &[&str]) -> Self {
        Self {
            rules: rules.iter().map(|&line| line.to_owned()).collect(),
            sub_rules: Vec::new(),
            providers: HashMap::new(),
            geo: Geo::default(),
            no_resolve_all: false,
            processes: true,
        }
    }

    fn sub(mut self, name: &str, rules: &[&str]) -> Self {
        let rules = rules.iter().map(|&line| line.to_owned()).collect();
        self.sub_rules.push((Tag::new(name), rules));
        self
    }

    fn set(mut self, name: &str, behavior: Behavior, text: &str) -> Self {
        let (set, warnings) = RuleSet::parse(text.as_bytes(), behavior, Format::Text, &self.geo).unwrap();
        assert_eq!(warnings, []);
        let handle = ProviderHandle::new(behavior);
        handle.replace(set);
        self.providers.insert(Tag::new(name), handle);
        self
    }

    fn geo(mut self) -> Self {
        self.geo = geo();
        self
    }

    fn try_compile(&self) -> Result<Rules, Vec<RuleError>> {
        Rules::compile(Sources {
            rules: &self.rules,
            sub_rules: &self.sub_rules,
            providers: &self.providers,
            geo: &self.geo,
            known_target: &|name| ["DIRECT", "REJECT", "A", "B", "C"].contains(&name),
            no_resolve_all: self.no_resolve_all,
            processes: self.processes,
        })
    }

    fn compile(&self) -> Rules {
        self.try_compile().unwrap()
    }
}

/// `A` exactly when the one rule matches.
fn single(rule: &str) -> Setup {
    Setup::new(&[rule])
}

fn geo() -> Geo {
    Geo {
        site: Some(Arc::new(GeoSite::parse(site::sample::small()).unwrap())),
        countries: Some(Countries::Mmdb(Arc::new(Mmdb::from_bytes(mmdb::sample::countries()).unwrap()))),
        asn: Some(Arc::new(AsnDatabase::from_bytes(mmdb::sample::systems()).unwrap())),
    }
}

fn geo_dat() -> Geo {
    Geo { countries: Some(Countries::Dat(Arc::new(GeoIpDat::parse(&dat::sample()).unwrap()))), ..Geo::default() }
}

fn session(target: &str) -> Session {
    let entry = Entry {
        inbound: Tag::new("DEFAULT-MIXED"),
        protocol: Protocol::Socks5,
        local: "192.168.1.1:7890".parse().unwrap(),
        user: Some("alice".into()),
    };
    let client: SocketAddr = "192.168.1.20:50000".parse().unwrap();
    Session::new(Network::Tcp, entry, client.into(), target.parse().unwrap())
}

fn verdict(step: Step) -> Verdict {
    match step {
        Step::Use(verdict) => verdict,
        step => panic!("nobody should ask for anything here: {step:?}"),
    }
}

/// Whether the single rule of `setup` matches the target, whose name has no address.
fn hits(setup: &Setup, target: &str) -> bool {
    let session = session(target);
    let query = Query::new(&session).with_address(Address::Unresolvable);
    verdict(setup.compile().decide(&query)).rule.is_some()
}

/// The outbound for a target whose name has no address.
fn outbound(rules: &Rules, target: &str) -> String {
    let session = session(target);
    let query = Query::new(&session).with_address(Address::Unresolvable);
    verdict(rules.decide(&query)).outbound.to_string()
}

fn errors(setup: &Setup) -> Vec<String> {
    match setup.try_compile() {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

fn warnings(setup: &Setup) -> Vec<String> {
    setup.compile().warnings().iter().map(|warning| warning.kind.to_string()).collect()
}
