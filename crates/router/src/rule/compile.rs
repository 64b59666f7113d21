//! From the pieces of a line to a condition.
//!
//! Source: spec page 3.2 and 3.5.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use adit_net::{Domain, Tag};

use super::condition::{Condition, CountryTest, End, IpTest, ProcessTest, Test};
use super::error::{RuleErrorKind, RuleWarningKind};
use super::glob::Glob;
use super::line::{Piece, RuleLine};
use super::plain::{plain, ranges};
use super::{RuleKind, logic};
use crate::domain::{RegexBudget, bytes_regex, lower};
use crate::geo::{Countries, Geo};
use crate::parse_prefix;
use crate::provider::ProviderHandle;

/// Where a rule stands; not every type is allowed everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    List,
    /// Inside a logic rule, this many levels deep.
    Logic(usize),
    RuleSet,
}

/// What is wrong with a rule and where in its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: RuleErrorKind,
    pub(crate) offset: Option<Range<usize>>,
    pub(crate) hint: Option<String>,
}

impl Fault {
    pub(crate) fn at(piece: Piece<'_>, kind: RuleErrorKind) -> Self {
        Self { kind, offset: (!piece.text.is_empty()).then(|| piece.range()), hint: None }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Everything that compiling a rule needs, shared by all rules of a config or rule set.
pub(crate) struct Compiler<'a> {
    geo: &'a Geo,
    /// `None` inside rule sets, which cannot refer to others.
    providers: Option<&'a HashMap<Tag, ProviderHandle>>,
    no_resolve_all: bool,
    processes: bool,
    budget: RegexBudget,
    missing: Vec<&'static str>,
    /// What to know about the rules compiled since this was last emptied.
    pub(crate) warnings: Vec<RuleWarningKind>,
}

/// Nobody nests deeper, and recursion must end.
const MAX_DEPTH: usize = 32;

impl<'a> Compiler<'a> {
    pub(crate) fn for_lists(
        geo: &'a Geo,
        providers: &'a HashMap<Tag, ProviderHandle>,
        no_resolve_all: bool,
        processes: bool,
    ) -> Self {
        Self { providers: Some(providers), no_resolve_all, processes, ..Self::for_rule_set(geo) }
    }

    pub(crate) fn for_rule_set(geo: &'a Geo) -> Self {
        Self {
            geo,
            providers: None,
            no_resolve_all: false,
            processes: true,
            budget: RegexBudget::default(),
            missing: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Compiles everything but the target.
    pub(crate) fn condition(&mut self, line: &RuleLine<'_>, place: Place) -> Result<Condition, Fault> {
        let kind = line.kind;
        let (payload, name) = (line.payload, &line.name);
        if payload.text.is_empty() && kind != Some(RuleKind::Match) {
            return Err(Fault::at(line.name_piece, RuleErrorKind::NoPayload(name.clone())));
        }
        let kind = kind.ok_or_else(|| unknown_type(line))?;
        self.refuse_misplaced(kind, line, place)?;
        if matches!(place, Place::Logic(_) | Place::List) {
            self.warn_about_params(kind, line);
        }
        match kind {
            RuleKind::Match => Ok(condition(kind, "", Test::Always)),
            RuleKind::And | RuleKind::Or | RuleKind::Not => self.logic(kind, payload, place),
            RuleKind::SubRule => self.sub_rule(payload, place),
            RuleKind::RuleSet => self.rule_set(line),
            RuleKind::RematchName => {
                self.warnings.push(RuleWarningKind::Unsupported("REMATCH-NAME"));
                Ok(condition(kind, payload.text, Test::Never))
            }
            RuleKind::IpCidr
            | RuleKind::SrcIpCidr
            | RuleKind::IpSuffix
            | RuleKind::SrcIpSuffix
            | RuleKind::IpAsn
            | RuleKind::SrcIpAsn
            | RuleKind::GeoIp
            | RuleKind::SrcGeoIp => self.address(kind, line),
            RuleKind::GeoSite => self.site(payload),
            RuleKind::DomainRegex => {
                let text = payload.joined();
                let regex = self.regex(payload, &text)?;
                Ok(condition(kind, &text, Test::Regex(regex)))
            }
            RuleKind::ProcessName
            | RuleKind::ProcessPath
            | RuleKind::ProcessNameWildcard
            | RuleKind::ProcessPathWildcard
            | RuleKind::ProcessNameRegex
            | RuleKind::ProcessPathRegex
            | RuleKind::Uid => self.process(kind, payload),
            RuleKind::Domain | RuleKind::DomainSuffix => {
                if place != Place::RuleSet && Domain::new(payload.text).is_err() {
                    self.warnings.push(RuleWarningKind::NoHostName(payload.text.to_owned()));
                }
                plain(kind, payload)
            }
            _ => plain(kind, payload),
        }
    }

    fn refuse_misplaced(&self, kind: RuleKind, line: &RuleLine<'_>, place: Place) -> Result<(), Fault> {
        let refused = match place {
            Place::List => None,
            Place::Logic(_) if matches!(kind, RuleKind::Match | RuleKind::SubRule) => {
                Some(RuleErrorKind::NotInLogic(line.name.clone()))
            }
            Place::RuleSet if matches!(kind, RuleKind::Match | RuleKind::SubRule | RuleKind::RuleSet) => {
                Some(RuleErrorKind::NotInRuleSet(line.name.clone()))
            }
            Place::Logic(_) if kind == RuleKind::RuleSet && self.providers.is_none() => {
                Some(RuleErrorKind::NotInRuleSet(line.name.clone()))
            }
            Place::Logic(_) | Place::RuleSet => None,
        };
        refused.map_or(Ok(()), |error| Err(Fault::at(line.name_piece, error)))
    }

    fn warn_about_params(&mut self, kind: RuleKind, line: &RuleLine<'_>) {
        for param in &line.params {
            let known = match param.text {
                "no-resolve" => looks_at_addresses(kind),
                "src" => takes_params(kind),
                "" => true,
                _ => false,
            };
            if !known {
                self.warnings.push(RuleWarningKind::IgnoredParameter(param.text.to_owned()));
            }
        }
    }

    fn logic(&mut self, kind: RuleKind, payload: Piece<'_>, place: Place) -> Result<Condition, Fault> {
        let groups = logic::groups(payload).map_err(|error| Fault::at(payload, error))?;
        let mut parts = self.children(groups, place)?;
        let join = |operator: &str| {
            let texts: Vec<String> = parts.iter().map(|part| format!("({},{})", part.kind, part.payload)).collect();
            format!("({})", texts.join(operator))
        };
        let (payload, test) = match kind {
            RuleKind::And => (join(" && "), Test::All(parts.into())),
            RuleKind::Or => (join(" || "), Test::Any(parts.into())),
            _ => {
                let part = parts.pop().filter(|_| parts.is_empty());
                let part = part.ok_or_else(|| Fault::at(payload, RuleErrorKind::NotOne))?;
                (format!("(!({},{}))", part.kind, part.payload), Test::Not(Box::new(part)))
            }
        };
        Ok(condition(kind, &payload, test))
    }

    fn sub_rule(&mut self, payload: Piece<'_>, place: Place) -> Result<Condition, Fault> {
        let groups = logic::groups_of_condition(payload).map_err(|error| Fault::at(payload, error))?;
        let mut parts = self.children(groups, place)?;
        match parts.pop().filter(|_| parts.is_empty()) {
            // The test is the condition's, the name and the text are those of the SUB-RULE line.
            Some(part) => Ok(condition(RuleKind::SubRule, &payload.joined(), Test::All(Box::new([part])))),
            None => Err(Fault::at(payload, RuleErrorKind::SubRuleOne)),
        }
    }

    fn children(&mut self, groups: logic::Groups<'_>, place: Place) -> Result<Vec<Condition>, Fault> {
        let depth = if let Place::Logic(depth) = place { depth + 1 } else { 1 };
        for ignored in &groups.ignored {
            self.warnings.push(RuleWarningKind::IgnoredText(ignored.text.to_owned()));
        }
        let mut parts = Vec::with_capacity(groups.groups.len());
        for group in groups.groups {
            if depth > MAX_DEPTH {
                return Err(Fault::at(group, RuleErrorKind::LogicDepth));
            }
            let line = RuleLine::without_target(group);
            if line.name.is_empty() {
                return Err(Fault::at(group, RuleErrorKind::EmptyChild(group.text.to_owned())));
            }
            parts.push(self.condition(&line, Place::Logic(depth))?);
        }
        Ok(parts)
    }

    fn rule_set(&self, line: &RuleLine<'_>) -> Result<Condition, Fault> {
        let name = line.payload;
        let set = self.providers.and_then(|providers| providers.get(name.text));
        let set = set.ok_or_else(|| {
            let fault = Fault::at(name, RuleErrorKind::UnknownRuleSet(name.text.to_owned()));
            let near = self.providers.into_iter().flat_map(HashMap::keys);
            match near.into_iter().find(|known| known.eq_ignore_ascii_case(name.text)) {
                Some(known) => fault.hint(format!("did you mean {known}?")),
                None => fault,
            }
        })?;
        let src = has(line, "src");
        let test = Test::Set { set: set.clone(), src, ask: !has(line, "no-resolve") && !self.no_resolve_all };
        Ok(condition(RuleKind::RuleSet, name.text, test))
    }

    /// The eight kinds that look at an address.
    fn address(&mut self, kind: RuleKind, line: &RuleLine<'_>) -> Result<Condition, Fault> {
        let (kind, is_source) = match kind {
            RuleKind::IpCidr if has(line, "src") => (RuleKind::SrcIpCidr, true),
            RuleKind::IpSuffix if has(line, "src") => (RuleKind::SrcIpSuffix, true),
            RuleKind::IpAsn if has(line, "src") => (RuleKind::SrcIpAsn, true),
            RuleKind::GeoIp if has(line, "src") => (RuleKind::SrcGeoIp, true),
            kind => (kind, !takes_params(kind)),
        };
        let end = if is_source {
            End::Source
        } else {
            End::Destination { ask: !has(line, "no-resolve") && !self.no_resolve_all }
        };
        let payload = line.payload;
        let (text, test) = match kind {
            RuleKind::IpCidr | RuleKind::SrcIpCidr => {
                let net = parse_prefix(payload.text).ok_or_else(|| bad_prefix(payload))?;
                (net.to_string(), IpTest::Net(net))
            }
            RuleKind::IpSuffix | RuleKind::SrcIpSuffix => {
                let net = parse_prefix(payload.text).ok_or_else(|| bad_prefix(payload))?;
                let (address, bits) = (net.addr(), net.prefix_len());
                (net.to_string(), IpTest::Suffix { address, bits })
            }
            RuleKind::IpAsn | RuleKind::SrcIpAsn => self.system(payload)?,
            _ => self.country(payload)?,
        };
        Ok(condition(kind, &text, Test::Ip { end, test }))
    }

    fn system(&mut self, payload: Piece<'_>) -> Result<(String, IpTest), Fault> {
        let number: u32 =
            payload.text.parse().ok().filter(|n: &u32| n.to_string() == payload.text).ok_or_else(|| {
                Fault::at(payload, RuleErrorKind::Payload).hint("an AS number is written as digits only, such as 13335")
            })?;
        let database = self.geo.asn.clone();
        if database.is_none() {
            self.lacks("the ASN database");
        }
        Ok((payload.text.to_owned(), IpTest::Asn { number, database }))
    }

    fn country(&mut self, payload: Piece<'_>) -> Result<(String, IpTest), Fault> {
        let text = lower(payload.text).into_owned();
        let (code, negate) = match text.strip_prefix('!') {
            Some(code) => (code, true),
            None => (&*text, false),
        };
        let database = match &self.geo.countries {
            _ if code == "lan" => CountryTest::Lan,
            None => {
                self.lacks("the GeoIP database");
                CountryTest::Missing
            }
            Some(Countries::Mmdb(database)) => CountryTest::Mmdb(Arc::clone(database), code.into()),
            Some(Countries::Dat(database)) => match database.country(code) {
                Some(country) => CountryTest::Dat(country.clone()),
                None => return Err(Fault::at(payload, RuleErrorKind::UnknownCountry(code.to_owned()))),
            },
        };
        Ok((text.clone(), IpTest::Country { database, negate }))
    }

    fn site(&mut self, payload: Piece<'_>) -> Result<Condition, Fault> {
        let (wanted, negate) = match payload.text.strip_prefix('!') {
            Some(wanted) => (wanted, true),
            None => (payload.text, false),
        };
        let list = match &self.geo.site {
            None => {
                self.lacks("the GeoSite database");
                None
            }
            Some(database) => {
                let (matcher, skipped) = database.shared(wanted).map_err(|name| {
                    let fault = Fault::at(payload, RuleErrorKind::UnknownSiteList(name.to_owned()));
                    match database.suggest(name) {
                        Some(near) => fault.hint(format!("did you mean {near}?")),
                        None => fault,
                    }
                })?;
                if skipped > 0 {
                    self.warnings.push(RuleWarningKind::SkippedEntries(skipped));
                }
                Some(matcher)
            }
        };
        Ok(condition(RuleKind::GeoSite, payload.text, Test::Site { list, negate }))
    }

    fn regex(&mut self, payload: Piece<'_>, text: &str) -> Result<Box<regex::bytes::Regex>, Fault> {
        bytes_regex(text, &mut self.budget).map(Box::new).map_err(|why| {
            let needs_backtracking = why.contains("look-around") || why.contains("backreference");
            let fault = Fault::at(payload, RuleErrorKind::Regex(why));
            if needs_backtracking {
                fault.hint(
                    "expressions are matched in linear time, without look-around and back-references; \
                     combine simple DOMAIN-REGEX rules with AND and NOT instead",
                )
            } else {
                fault
            }
        })
    }

    fn process(&mut self, kind: RuleKind, payload: Piece<'_>) -> Result<Condition, Fault> {
        if !self.processes {
            self.warnings.push(RuleWarningKind::NoProcess);
        }
        let text = payload.joined();
        let test = match kind {
            RuleKind::ProcessName => ProcessTest::Name,
            RuleKind::ProcessPath => ProcessTest::Path,
            RuleKind::ProcessNameWildcard => ProcessTest::NameWildcard(Glob::new(&text)),
            RuleKind::ProcessPathWildcard => ProcessTest::PathWildcard(Glob::new(&text)),
            RuleKind::ProcessNameRegex => ProcessTest::NameRegex(self.regex(payload, &text)?),
            RuleKind::ProcessPathRegex => ProcessTest::PathRegex(self.regex(payload, &text)?),
            _ => ProcessTest::Uid(ranges(payload, u32::MAX)?),
        };
        Ok(condition(kind, &text, Test::Process(test)))
    }

    fn lacks(&mut self, database: &'static str) {
        if !self.missing.contains(&database) {
            self.missing.push(database);
            self.warnings.push(RuleWarningKind::NoDatabase(database));
        }
    }
}

pub(super) fn condition(kind: RuleKind, payload: &str, test: Test) -> Condition {
    Condition { kind, payload: payload.into(), test }
}

fn unknown_type(line: &RuleLine<'_>) -> Fault {
    let fault = Fault::at(line.name_piece, RuleErrorKind::UnknownType(line.name.clone()));
    match RuleKind::suggest(&line.name) {
        Some(near) => fault.hint(format!("did you mean {near}?")),
        None => fault,
    }
}

/// A prefix that cannot be read; a bare address gets the length that was probably meant.
fn bad_prefix(payload: Piece<'_>) -> Fault {
    let fault = Fault::at(payload, RuleErrorKind::Payload);
    match payload.text.parse::<IpAddr>() {
        Ok(ip) => fault.hint(format!("a prefix length is required: {ip}/{}", if ip.is_ipv4() { 32 } else { 128 })),
        Err(_) => fault,
    }
}

fn has(line: &RuleLine<'_>, param: &str) -> bool {
    line.params.iter().any(|piece| piece.text == param)
}

/// Kinds that honour `no-resolve` and `src`.
fn takes_params(kind: RuleKind) -> bool {
    matches!(kind, RuleKind::GeoIp | RuleKind::IpAsn | RuleKind::IpCidr | RuleKind::IpSuffix | RuleKind::RuleSet)
}

/// Kinds after which nobody is surprised to read `no-resolve`.
fn looks_at_addresses(kind: RuleKind) -> bool {
    takes_params(kind)
        || matches!(kind, RuleKind::SrcGeoIp | RuleKind::SrcIpAsn | RuleKind::SrcIpCidr | RuleKind::SrcIpSuffix)
}
