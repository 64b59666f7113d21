//! What a configuration means.

use std::collections::{HashMap, HashSet};

use adit_net::Tag;
use adit_outbound::options::{Group, Outbound};
use adit_router::{Hosts, Mode, Rules};

use crate::context::Context;
use crate::controller::{self, ControllerPlan};
use crate::dns::{self, DnsPlan};
use crate::general::{self, FindProcess, General, LogLevel};
use crate::group::{self, GLOBAL, ProviderTests, Providers};
use crate::home::Home;
use crate::hosts;
use crate::inbound::{self, InboundPlan, TransparentPlan};
use crate::mask::{self, Hidden};
use crate::problem::Problems;
use crate::provider::{self, Nodes};
use crate::proxy::{self, BUILT_IN, Proxy};
use crate::read::{Fields, Value};
use crate::report::{Report, shown};
use crate::rules::{self, RuleLines};
use crate::sets::{RuleProviderPlan, Sets};
use crate::settings::{self, Settings};
use crate::sniffer;
use crate::source::{Overrides, Source};
use crate::vehicle;
use crate::ways::{Assembled, Ways};
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
    /// Everything that `proxies`, `proxy-groups` and `proxy-providers` say, to be put together again when a provider has
    /// something else.
    pub ways: Ways,
    /// What each proxy provider has, as far as it is in a file or in the configuration.
    pub contents: HashMap<Tag, Nodes>,
    /// The proxies and the providers' nodes: [`Ways::assemble`] of `contents`.
    pub outbounds: Vec<Outbound>,
    /// The groups: [`Ways::assemble`] of `contents`. `GLOBAL` is among them only if the file defines it.
    pub groups: Vec<Group>,
    /// `rule-providers:` in the order of the file.
    pub rule_providers: Vec<RuleProviderPlan>,
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
    /// Where the API is. None: nowhere.
    pub controller: Option<ControllerPlan>,
    /// Settings as they were written.
    pub settings: Settings,
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
///     overrides: Default::default(),
/// };
/// let loaded = load(&source);
/// assert!(loaded.plan.is_none());
/// let problem = loaded.problems.iter().next().unwrap();
/// assert_eq!((problem.line, problem.column), (3, 11));
/// assert_eq!(problem.hint.as_deref(), Some("did you mean 'DIRECT'?"));
/// ```
#[must_use]
pub fn load(source: &Source) -> Loaded {
    match source.combined() {
        None => read(source, source.text.len()),
        Some((combined, written)) => {
            let mut loaded = read(&combined, written);
            loaded.problems.blame_from(written, &combined.text, Overrides::ORIGIN);
            loaded
        }
    }
}

/// `written`: where the overrides begin.
fn read(source: &Source, written: usize) -> Loaded {
    let report = Report::default();
    let Some(document) = yaml::parse_over(&source.text, written, &report) else {
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
        empty_group: general.empty_group,
        socket: general.socket(),
    };
    let ways = Written::read(&mut fields, &cx);
    let doors = inbound::doors(&mut fields, &cx);
    let listeners = fields.take("listeners");
    let targets = ways.targets();
    for provider in &ways.providers {
        vehicle::check_proxy(&provider.plan.vehicle, provider.proxy_at, &targets, &cx);
    }
    let (sets, rule_providers) = Sets::read(&mut fields, &targets, &cx);
    let routes = rules::read(source, &mut fields, &targets, &sets, &cx);
    let mut listening = inbound::plan(&doors, listeners, &routes.sub_rules, &targets, &cx);
    listening.check_marks(fields.place("routing-mark"), &ways.proxies, &cx);
    let sniffer = sniffer::read(fields.take("sniffer"), &sets, &cx);
    let stores_fake_ip = general.store_fake_ip;
    let written = fields.take("dns");
    let dns = dns::read(written, &dns::Section { source, sets: &sets, ways: &targets, stores_fake_ip, cx: &cx });
    match &dns {
        Some(dns) => {
            listening.add("`dns.listen`".to_owned(), dns.listen, written.and_then(|section| section.place("listen")))
        }
        None => proxy::warn_of_missing_dns(&ways.proxies, &cx),
    }
    let controller = controller::read(&mut fields, &mut listening, &cx);
    listening.check_addresses(&cx);
    let hosts = hosts::read(fields.take("hosts"), &cx);
    finish(fields, document);
    let (ways, contents, Assembled { outbounds, groups, .. }) = ways.assembled(&cx);
    let plan = Plan {
        inbounds: listening.inbounds,
        transparent: listening.transparent,
        dns,
        sniffer,
        ways,
        contents,
        outbounds,
        groups,
        rule_providers,
        rules: routes.rules?,
        rule_lines: routes.lines,
        hosts: hosts?,
        mode,
        log_level,
        general,
        controller,
        settings: settings::read(root),
        notices: listening.notices,
    };
    Some(plan)
}

/// Proxies, providers and groups as they are read: what rules can send to.
struct Written<'d> {
    proxies: Vec<Proxy<'d>>,
    providers: Vec<provider::Provider<'d>>,
    groups: Vec<group::Group<'d>>,
}

impl<'d> Written<'d> {
    fn read(fields: &mut Fields<'d>, cx: &Context<'d>) -> Self {
        let proxies = fields.take("proxies").map(|list| proxy::read(list, cx)).unwrap_or_default();
        let written = fields.take("proxy-groups");
        let names = group::names(written);
        let providers = provider::read(fields.take("proxy-providers"), &names, cx);
        let tests = providers.iter().map(|provider| {
            let interval = provider.plan.health_check.as_ref().and_then(|check| check.interval);
            (provider.name.text, ProviderTests { url: provider.test_url.clone(), interval })
        });
        let known = Providers { known: tests.collect(), groups: names };
        let groups = group::read(written, &proxies, &known, cx);
        Self { proxies, providers, groups }
    }

    /// Every name a rule may have as its target.
    fn targets(&self) -> HashSet<&'d str> {
        let proxies = self.proxies.iter().map(|proxy| proxy.name.text);
        let groups = self.groups.iter().map(|group| group.name.text);
        BUILT_IN.into_iter().chain(std::iter::once(GLOBAL)).chain(proxies).chain(groups).collect()
    }

    /// The ways out as they are now, checked for what only shows when all of them are known.
    fn assembled(mut self, cx: &Context<'_>) -> (Ways, HashMap<Tag, Nodes>, Assembled) {
        let contents = provider::contents(&mut self.providers);
        let direct = proxy::built_in_direct(cx);
        let proxies = self.proxies.iter().map(|proxy| proxy.outbound.clone());
        let ways = Ways {
            proxies: std::iter::once(direct).chain(proxies).collect(),
            groups: self.groups.iter().map(|group| group.plan.clone()).collect(),
            providers: self.providers.iter().map(|provider| provider.plan.clone()).collect(),
        };
        let assembled = ways.assemble(&contents);
        let members: HashMap<&str, Vec<Tag>> =
            assembled.groups.iter().map(|group| (&*group.name, group.members.clone())).collect();
        proxy::check_dialers(&self.proxies, &members, cx);
        group::warn_of_empty(&self.groups, &assembled.nodes, cx);
        for line in &assembled.left_out {
            let at = self.providers.first().map_or(At::NOWHERE, |provider| provider.name.at);
            cx.report.warning(at, format!("{line}: it is left out"));
        }
        (ways, contents, assembled)
    }
}

/// Reports the top-level keys that nobody took. Keys that only hold anchors are templates, and `x-` is for notes.
fn finish<'d>(mut fields: Fields<'d>, document: &Document<'d>) {
    for key in general::WITHOUT_EFFECT {
        let _ = fields.take(key);
    }
    fields.take_if(|key, at| key.starts_with("x-") || document.is_template(at));
    fields.finish("the configuration", general::UNSUPPORTED);
}
