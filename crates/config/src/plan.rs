//! What a configuration means.

use std::collections::{HashMap, HashSet};

use adit_net::Tag;
use adit_outbound::options::{Group, Outbound};
use adit_router::{Hosts, Mode, Rules};

use crate::context::Context;
use crate::dns::{self, DnsPlan};
use crate::general::{self, FindProcess, General, LogLevel};
use crate::group::{self, GLOBAL};
use crate::home::Home;
use crate::hosts;
use crate::inbound::{self, InboundPlan, TransparentPlan};
use crate::mask::{self, Hidden};
use crate::problem::Problems;
use crate::proxy::{self, BUILT_IN, Proxy};
use crate::read::{Fields, Value};
use crate::report::{Report, shown};
use crate::rules::{self, RuleLines};
use crate::sets::Sets;
use crate::sniffer;
use crate::source::Source;
use crate::yaml::{self, At, Document};

/// A configuration that cannot be wrong: every name in it exists, every value is in range.
#[derive(Debug)]
pub struct Plan {
    /// What to listen on.
    pub inbounds: Vec<InboundPlan>,
    /// Where host rules send traffic.
    pub transparent: Vec<TransparentPlan>,
    /// Who looks names up. None: the system's resolver does, and clients are not answered.
    pub dns: Option<DnsPlan>,
    /// Which connections are looked into. None: none.
    pub sniffer: Option<adit_sniffer::Options>,
    /// `proxies:` in the order of the file, after those built-ins whose sockets have options (DIRECT).
    pub outbounds: Vec<Outbound>,
    /// `proxy-groups:` in the order of the file. `GLOBAL` is among them only if the file defines it.
    pub groups: Vec<Group>,
    /// The compiled rules.
    pub rules: Rules,
    /// Where each rule stands in the file.
    pub rule_lines: RuleLines,
    /// Fixed addresses and aliases.
    pub hosts: Hosts,
    /// How connections are routed.
    pub mode: Mode,
    /// What is written to the log.
    pub log_level: LogLevel,
    /// Settings that concern everything.
    pub general: General,
    /// Lines that start-up should say, such as who is served when there are no users.
    pub notices: Vec<String>,
}

/// What came out of a file: a plan unless there are errors, and everything that is wrong or doubtful.
#[derive(Debug)]
pub struct Loaded {
    /// `None` if `problems` has an error.
    pub plan: Option<Plan>,
    /// Errors and warnings by line.
    pub problems: Problems,
}

/// Reads a configuration, and the files in `source.home` that it names (rule providers, databases, certificates).
/// Blocking; reads no clock, and the environment only for `SAFE_PATHS`, `SKIP_SAFE_PATH_CHECK` and `DISABLE_SYSTEM_HOSTS`.
///
/// ```
/// use adit_config::{Source, load};
///
/// let source = Source {
///     name: "config.yaml".into(),
///     text: "mixed-port: 7890\nrules:\n  - MATCH,DIRCET\n".into(),
///     home: ".".into(),
/// };
/// let loaded = load(&source);
/// assert!(loaded.plan.is_none());
/// let problem = loaded.problems.iter().next().unwrap();
/// assert_eq!((problem.line, problem.column), (3, 11));
/// assert_eq!(problem.hint.as_deref(), Some("did you mean 'DIRECT'?"));
/// ```
#[must_use]
pub fn load(source: &Source) -> Loaded {
    let report = Report::default();
    let Some(document) = yaml::parse(&source.text, &report) else {
        if !report.has_errors() {
            report.error(At::NOWHERE, format!("configuration file {} is empty", shown(&source.name)));
        }
        return Loaded { plan: None, problems: report.into_problems(source, &Hidden::Guessed) };
    };
    let home = Home::new(&source.home);
    let plan = plan(source, &document, &home, &report).filter(|_| !report.has_errors());
    let secrets = if report.is_empty() { Vec::new() } else { mask::secrets(&document) };
    Loaded { plan, problems: report.into_problems(source, &Hidden::Known(&secrets)) }
}

fn plan<'d>(source: &Source, document: &'d Document<'d>, home: &'d Home, report: &'d Report) -> Option<Plan> {
    let root = Value::root(document, report);
    if root.is_null() {
        report.error(At::NOWHERE, format!("configuration file {} is empty", shown(&source.name)));
        return None;
    }
    let mut fields = root.fields()?;
    let mode = general::mode(&mut fields);
    let log_level = general::log_level(&mut fields);
    let general = general::general(&mut fields, report);
    let cx = Context {
        report,
        home,
        ipv6: general.ipv6,
        processes: general.find_process != FindProcess::Off,
        socket: general.socket(),
    };
    let ways = Ways::read(&mut fields, &cx);
    let doors = inbound::doors(&mut fields, &cx);
    let listeners = fields.take("listeners");
    let targets = ways.targets();
    let sets = Sets::read(&mut fields, &cx);
    let routes = rules::read(source, &mut fields, &targets, &sets, &cx);
    let mut listening = inbound::plan(&doors, listeners, &routes.sub_rules, &targets, &cx);
    listening.check_marks(fields.place("routing-mark"), &ways.proxies, &cx);
    let sniffer = sniffer::read(fields.take("sniffer"), &sets, &cx);
    let stores_fake_ip = general.store_fake_ip;
    let written = fields.take("dns");
    let dns = dns::read(written, &dns::Section { source, sets: &sets, ways: &targets, stores_fake_ip, cx: &cx });
    match &dns {
        Some(dns) => listening.add_dns(dns.listen, written.and_then(|section| section.place("listen"))),
        None => proxy::warn_of_missing_dns(&ways.proxies, &cx),
    }
    listening.check_addresses(&cx);
    let hosts = hosts::read(fields.take("hosts"), &cx);
    finish(fields, document);
    let Ways { proxies, groups } = ways;
    let direct = proxy::built_in_direct(&cx);
    let plan = Plan {
        inbounds: listening.inbounds,
        transparent: listening.transparent,
        dns,
        sniffer,
        outbounds: std::iter::once(direct).chain(proxies.into_iter().map(|proxy| proxy.outbound)).collect(),
        groups,
        rules: routes.rules?,
        rule_lines: routes.lines,
        hosts: hosts?,
        mode,
        log_level,
        general,
        notices: listening.notices,
    };
    Some(plan)
}

/// Proxies and groups: what rules can send to.
struct Ways<'d> {
    proxies: Vec<Proxy<'d>>,
    groups: Vec<Group>,
}

impl<'d> Ways<'d> {
    fn read(fields: &mut Fields<'d>, cx: &Context<'d>) -> Self {
        let proxies = fields.take("proxies").map(|list| proxy::read(list, cx)).unwrap_or_default();
        let providers = providers(fields, cx);
        let groups = group::read(fields.take("proxy-groups"), &proxies, &providers, cx);
        let members: HashMap<&str, Vec<Tag>> =
            groups.iter().map(|group| (&*group.name, group.members.clone())).collect();
        proxy::check_dialers(&proxies, &members, cx);
        Self { proxies, groups }
    }

    /// Every name a rule may have as its target.
    fn targets(&self) -> HashSet<&str> {
        let proxies = self.proxies.iter().map(|proxy| &*proxy.outbound.name);
        let groups = self.groups.iter().map(|group| &*group.name);
        BUILT_IN.into_iter().chain(std::iter::once(GLOBAL)).chain(proxies).chain(groups).collect()
    }
}

/// The names of `proxy-providers:`, whose members are not fetched yet.
fn providers<'d>(fields: &mut Fields<'d>, cx: &Context<'d>) -> HashSet<&'d str> {
    let at = fields.key_at("proxy-providers");
    let Some(providers) = fields.take("proxy-providers").and_then(Value::fields) else {
        return HashSet::new();
    };
    let names: HashSet<&str> = providers.named().map(|(name, _)| name.text).collect();
    if !names.is_empty() {
        let text = "`proxy-providers` are not supported yet: groups get no members from them";
        cx.report.warning(at.unwrap_or_else(|| providers.at()), text);
    }
    names
}

/// Reports the top-level keys that nobody took. Keys that only hold anchors are templates, and `x-` is for notes.
fn finish<'d>(mut fields: Fields<'d>, document: &Document<'d>) {
    for key in general::WITHOUT_EFFECT {
        let _ = fields.take(key);
    }
    fields.take_if(|key, at| key.starts_with("x-") || document.is_template(at));
    fields.finish("the configuration", general::UNSUPPORTED);
}
