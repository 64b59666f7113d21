//! The same decision as a connection gets, with the reason for every rule on the way.

use std::fmt::Write as _;
use std::net::IpAddr;

use adit_net::{Session, Target};
use adit_outbound::Way;
use adit_router::{Address, Mode, Opener, Query, RuleInfo, Step, TraceResult, TracedRule};

use crate::route::usable;
use crate::world::World;

/// Why a session goes where it goes.
#[derive(Debug)]
pub struct Explanation {
    asked: Target,
    /// What `hosts` made of it, if anything.
    hosts: Option<String>,
    /// Why no rule was asked, if none was.
    without_rules: Option<String>,
    steps: Vec<Said>,
    look_up: LookUp,
    way: Result<Way, String>,
}

/// A rule, and what was made of its match.
#[derive(Debug)]
struct Said {
    rule: TracedRule,
    /// The rule decided, but its outbound was not wanted.
    passed_over: bool,
}

#[derive(Debug)]
enum LookUp {
    NotNeeded,
    Found(IpAddr),
    Failed,
}

impl Explanation {
    /// Decides for `session` as [`crate::Engine`] would, and keeps the reasons. Looks a name up if a rule asks, and dials
    /// nothing.
    pub async fn of(world: &World, session: &Session) -> Self {
        let (target, address) = world.apply_hosts(&session.target);
        let hosts = (target != session.target).then(|| target.host.to_string());
        let mut explanation = Self {
            asked: session.target.clone(),
            hosts,
            without_rules: None,
            steps: Vec::new(),
            look_up: LookUp::NotNeeded,
            way: Err("no rule was asked".into()),
        };
        match prescribed(world, session) {
            Some((why, outbound)) => {
                explanation.without_rules = Some(why);
                let route = world.fixed(&outbound, session, target, address);
                explanation.way = route.map(|route| route.way).map_err(|error| error.to_string());
            }
            None => explanation.ask_rules(world, session, &target, address).await,
        }
        explanation
    }

    async fn ask_rules(&mut self, world: &World, session: &Session, target: &Target, address: Address) {
        let renamed = crate::route::renamed(session, target);
        let mut query = Query::new(renamed.as_ref().unwrap_or(session)).with_address(address);
        let pin = world.pins.get(&session.entry.inbound);
        let mut cursor = world.rules.start(pin.and_then(|pin| pin.rules.as_ref()));
        loop {
            let trace = world.rules.explain(cursor, &query);
            self.steps.extend(trace.rules.into_iter().map(|rule| Said { rule, passed_over: false }));
            match trace.step {
                Step::NeedAddress(at) => {
                    query.address = world.look_up(target).await;
                    self.look_up = query.address.known().map_or(LookUp::Failed, LookUp::Found);
                    // The rule that asked is about to be asked again.
                    self.steps.pop();
                    cursor = at;
                }
                Step::NeedProcess(at) => {
                    // Nobody has opened anything.
                    query.process = Opener::Unknown;
                    self.steps.pop();
                    cursor = at;
                }
                Step::Use(verdict) => {
                    if let Some(way) = usable(world.book.find(&verdict.outbound), &verdict.outbound, session) {
                        self.way = Ok(way);
                        return;
                    }
                    if let Some(last) = self.steps.last_mut() {
                        last.passed_over = true;
                    }
                    cursor = verdict.next();
                }
            }
        }
    }

    /// The explanation as text. `place` gives a rule's place in the configuration, such as `config.yaml:12`.
    #[must_use]
    pub fn render(&self, place: impl Fn(&RuleInfo) -> Option<String>) -> String {
        let mut out = format!("{}\n", self.asked);
        if let Some(hosts) = &self.hosts {
            let _ = writeln!(out, "  hosts: {hosts}");
        }
        if let Some(why) = &self.without_rules {
            let _ = writeln!(out, "  {why}");
        }
        for said in &self.steps {
            let mark = match said.rule.result {
                TraceResult::Decided if said.passed_over => "~",
                TraceResult::Decided | TraceResult::Entered => "*",
                TraceResult::Passed => "~",
                TraceResult::NotMatched | TraceResult::NeedsAddress | TraceResult::NeedsProcess => "-",
            };
            let place = place(&said.rule.rule).map(|place| format!("{place}: ")).unwrap_or_default();
            let _ = write!(out, "  {mark} {place}{}", said.rule);
            if said.passed_over {
                let _ = write!(out, "; {} is passed over (PASS, or no UDP)", said.rule.rule.target);
            }
            out.push('\n');
        }
        if self.without_rules.is_none() && !self.decided_by_rule() {
            out.push_str("  no rule matched: DIRECT\n");
        }
        let _ = match self.look_up {
            LookUp::NotNeeded => writeln!(out, "look-up:  not needed"),
            LookUp::Found(ip) => writeln!(out, "look-up:  {} is {ip}", self.asked.host),
            LookUp::Failed => writeln!(out, "look-up:  {} was asked for in vain", self.asked.host),
        };
        let _ = match &self.way {
            Ok(way) => writeln!(out, "outbound: {}", chain(way)),
            Err(why) => writeln!(out, "outbound: none: {why}"),
        };
        out
    }

    fn decided_by_rule(&self) -> bool {
        self.steps.last().is_some_and(|said| said.rule.result == TraceResult::Decided && !said.passed_over)
    }
}

/// An outbound that is taken without asking the rules, and why.
fn prescribed(world: &World, session: &Session) -> Option<(String, String)> {
    let inbound = &session.entry.inbound;
    if let Some(outbound) = world.pins.get(inbound).and_then(|pin| pin.outbound.as_ref()) {
        return Some((format!("the listener {inbound} sends everything to {outbound}"), outbound.to_string()));
    }
    match world.mode {
        Mode::Rule => None,
        Mode::Direct => Some(("mode: direct".into(), "DIRECT".into())),
        Mode::Global => Some(("mode: global".into(), "GLOBAL".into())),
    }
}

/// `Proxy → Auto → node-1 (Vless)`: outermost group first.
fn chain(way: &Way) -> String {
    let names: Vec<&str> = way.chain.iter().rev().map(|tag| tag.as_str()).collect();
    format!("{} ({})", names.join(" → "), way.kind)
}
