//! Why a rule matches or does not, in words. Kept beside the tests, evaluated apart from them: it allocates freely.

use std::fmt;

use super::condition::{Condition, CountryTest, End, IpTest, Outcome, ProcessTest, Test, Wanted, set_facts};
use super::shown;
use crate::query::{Destination, Facts, Opener};

/// A short sentence, and those of the parts it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The rule or part of a rule, such as `DomainSuffix,google.com`; empty where there is nothing to add.
    pub rule: String,
    /// Such as `api.example.org does not end in .google.com`.
    pub text: String,
    /// One for each part of a logic rule that was looked at.
    pub parts: Vec<Self>,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        for (at, part) in self.parts.iter().enumerate() {
            write!(f, "{}{part}", if at == 0 { ": " } else { "; " })?;
        }
        Ok(())
    }
}

impl Condition {
    /// The outcome of [`Condition::test`] and why it is that.
    pub(crate) fn explain(&self, facts: &Facts<'_>) -> (Outcome, Reason) {
        let outcome = self.test(facts);
        let mut parts = Vec::new();
        let text = match &self.test {
            Test::All(conditions) | Test::Any(conditions) => {
                let go_on = Outcome::from(matches!(self.test, Test::All(_)));
                for condition in conditions {
                    let (outcome, reason) = condition.explain(facts);
                    parts.push(reason);
                    if outcome != go_on {
                        break;
                    }
                }
                logic_text(outcome, matches!(self.test, Test::All(_)))
            }
            Test::Not(condition) => {
                parts.push(condition.explain(facts).1);
                match outcome {
                    Outcome::Match => "its part does not match".to_owned(),
                    Outcome::Miss => "its part matches".to_owned(),
                    Outcome::NeedAddress => "its part needs an address".to_owned(),
                    Outcome::NeedProcess => "its part needs the process".to_owned(),
                }
            }
            Test::Set { set, src, ask } => set.reason(&set_facts(facts, *src, *ask), outcome),
            test => self.sentence(test, facts, outcome == Outcome::Match),
        };
        let rule = format!("{},{}", self.kind, shown(&self.payload));
        (outcome, Reason { rule, text, parts })
    }

    fn sentence(&self, test: &Test, facts: &Facts<'_>, yes: bool) -> String {
        let payload = shown(&self.payload);
        let does = |verb: &str, negated: &str, object: &str| {
            let verb = if yes { verb } else { negated };
            match facts.host {
                "" => format!("no name is known, and the empty name {verb} {object}"),
                host => format!("{host} {verb} {object}"),
            }
        };
        let is = |what: String, of: &str| format!("{what} is {}{of}", if yes { "" } else { "not " });
        match test {
            Test::Always => "it matches everything".into(),
            Test::Never => "this type is not supported and never matches".into(),
            Test::Domain => does("is", "is not", &payload),
            Test::Suffix => match facts.host == &*self.payload {
                true => does("is", "is", &payload),
                false => does("ends in", "does not end in", &format!(".{payload}")),
            },
            Test::Keyword => does("contains", "does not contain", &payload),
            Test::Wildcard(_) => does("fits", "does not fit", &payload),
            Test::Regex(_) => does("matches", "does not match", &payload),
            Test::Site { list: None, .. } => "the GeoSite database is not available".into(),
            Test::Site { negate, .. } => {
                let list = format!("the site list {}", payload.trim_start_matches('!'));
                match yes != *negate {
                    true => format!("{} is in {list}", name_or_none(facts)),
                    false => format!("{} is not in {list}", name_or_none(facts)),
                }
            }
            Test::Ip { end, test } => address_sentence(*end, test, &payload, facts),
            Test::DstPort(_) => is(format!("port {}", facts.destination_port), &format!("in {payload}")),
            Test::SrcPort(_) => is(format!("source port {}", facts.source_port), &format!("in {payload}")),
            Test::InPort(_) => is(format!("inbound port {}", facts.in_port), &format!("in {payload}")),
            Test::Network(_) => is(format!("the network {}", facts.network), &payload),
            Test::Dscp(_) => is(format!("DSCP {}", facts.dscp), &format!("in {payload}")),
            Test::InType(_) => is(format!("the inbound type {}", facts.protocol), &format!("in {payload}")),
            Test::InName(_) => is(format!("the inbound {}", facts.inbound), &format!("in {payload}")),
            Test::InUser(_) => match facts.user {
                Some(user) => is(format!("the user {}", shown(user)), &format!("in {payload}")),
                None => "the client gave no user name".into(),
            },
            Test::Process(test) => match facts.process {
                Opener::NotAsked => "needs the process".into(),
                Opener::Unknown => "the process is not known".into(),
                Opener::Known(process) => {
                    let has = match test {
                        ProcessTest::Uid(_) => format!("user id {}", process.uid),
                        ProcessTest::Name | ProcessTest::NameWildcard(_) | ProcessTest::NameRegex(_) => {
                            format!("the process {}", shown(process.name()))
                        }
                        _ => format!("the process {}", shown(&process.path)),
                    };
                    format!("{has} {} {payload}", if yes { "fits" } else { "does not fit" })
                }
            },
            Test::Set { .. } | Test::All(_) | Test::Any(_) | Test::Not(_) => String::new(),
        }
    }
}

fn name_or_none<'a>(facts: &Facts<'a>) -> &'a str {
    if facts.host.is_empty() { "the empty name" } else { facts.host }
}

fn logic_text(outcome: Outcome, all: bool) -> String {
    match (outcome, all) {
        (Outcome::Match, true) => "all of its parts match",
        (Outcome::Match, false) => "a part of it matches",
        (Outcome::Miss, true) => "a part of it does not match",
        (Outcome::Miss, false) => "none of its parts matches",
        (Outcome::NeedAddress, _) => "a part of it needs an address",
        (Outcome::NeedProcess, _) => "a part of it needs the process",
    }
    .to_owned()
}

fn address_sentence(end: End, test: &IpTest, payload: &str, facts: &Facts<'_>) -> String {
    match test {
        IpTest::Asn { database: None, .. } => return "the ASN database is not available".into(),
        IpTest::Country { database: CountryTest::Missing, .. } => return "the GeoIP database is not available".into(),
        _ => {}
    }
    let set = match test {
        IpTest::Net(_) => format!("in {payload}"),
        IpTest::Suffix { .. } => format!("equal to {payload} in its low bits"),
        IpTest::Asn { .. } => format!("in AS{payload}"),
        IpTest::Country { .. } => format!("in {payload}"),
    };
    let ip = match end.address(facts) {
        Wanted::Known(ip) => ip,
        Wanted::Askable => return format!("needs the address of {}", facts.host),
        Wanted::Unknown => return missing_address(end, facts),
    };
    let is = if test.contains(ip) { "" } else { "not " };
    match (end, facts.destination) {
        (End::Source, _) => format!("the source {ip} is {is}{set}"),
        (_, Destination::LookedUp(_)) => format!("needs an address: looked up {ip}, {is}{set}"),
        _ => format!("{ip} is {is}{set}"),
    }
}

fn missing_address(end: End, facts: &Facts<'_>) -> String {
    match (end, facts.destination) {
        (End::Source, _) => "the source address is not known".into(),
        (_, Destination::Unresolvable) => format!("needs an address: {} has none", name_or_none(facts)),
        _ => "the address is not known, and the rule does not ask for it".into(),
    }
}

/// The sentence for a rule set as a whole.
pub(crate) fn set_sentence(facts: &Facts<'_>, outcome: Outcome, what: &str) -> String {
    let name = match (facts.host, facts.destination.ip()) {
        ("", Some(ip)) => ip.to_string(),
        (host, Some(ip)) => format!("{host} ({ip})"),
        ("", None) => "the connection".into(),
        (host, None) => host.into(),
    };
    match outcome {
        Outcome::Match => format!("{name} is in the {what}"),
        Outcome::Miss => format!("{name} is not in the {what}"),
        Outcome::NeedAddress => format!("the {what} needs the address of {name}"),
        Outcome::NeedProcess => format!("the {what} needs the process behind {name}"),
    }
}
