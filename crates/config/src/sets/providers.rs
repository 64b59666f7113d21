//! `rule-providers:`. Spec: mihomo-surface §4.

use std::collections::HashMap;
use std::sync::Arc;

use adit_net::Tag;
use adit_router::{Behavior, Format, ProviderError, ProviderHandle, ProviderWarning, RuleSet};

use super::geo::{Databases, Needed};
use crate::context::Context;
use crate::home::reason;
use crate::read::{Fields, Text, Value};
use crate::report::{Draft, Report, shown};
use crate::vehicle::{self, Vehicle};
use crate::yaml::At;

/// A rule provider: where its content comes from, how that becomes a set, and the handle by which rules use it.
#[derive(Clone, Debug)]
pub struct RuleProviderPlan {
    /// What rules call it.
    pub name: Tag,
    /// Where its content comes from.
    pub vehicle: Vehicle,
    /// What its entries are.
    pub behavior: Behavior,
    /// How its content is written.
    pub format: Format,
    /// Where the set belongs that [`parse`](Self::parse) makes. What the file, or else `payload`, had is in it already.
    pub handle: ProviderHandle,
    /// `payload`: all entries of an inline provider, or what others have until their file is there.
    pub payload: Vec<String>,
    databases: Arc<Databases>,
}

impl RuleProviderPlan {
    /// The set of some content. Blocking: opens the geo databases that classical entries mention, if they are in the home
    /// folder and not open yet.
    ///
    /// # Errors
    /// See [`ProviderError`]; the old set should stay in force.
    pub fn parse(&self, bytes: &[u8]) -> Result<(RuleSet, Vec<ProviderWarning>), ProviderError> {
        // What is wrong with a database is no news: rules that need it say so.
        self.parse_reporting(bytes, At::NOWHERE, &Report::default())
    }

    fn parse_reporting(
        &self,
        bytes: &[u8],
        at: At,
        report: &Report,
    ) -> Result<(RuleSet, Vec<ProviderWarning>), ProviderError> {
        let text = std::str::from_utf8(bytes).ok().filter(|_| self.behavior == Behavior::Classical);
        let lines = text.into_iter().flat_map(str::lines);
        let lines = lines.map(|line| Text { text: line.trim_start_matches([' ', '-', '"', '\'']), at });
        let geo = self.databases.open(Needed::of(lines), report);
        RuleSet::parse(bytes, self.behavior, self.format, &geo)
    }
}

/// A rule provider and its places in the file.
pub(super) struct Provider<'d> {
    pub(super) name: Text<'d>,
    /// Where `proxy` stands.
    pub(super) proxy_at: Option<At>,
    pub(super) plan: RuleProviderPlan,
    payload: Vec<Text<'d>>,
}

/// Reads the section, and compiles every set. One that is wrong is reported and stays empty: rules on it do not match
/// (F-D7).
pub(super) fn read<'d>(map: Option<Value<'d>>, databases: &Arc<Databases>, cx: &Context<'d>) -> Vec<Provider<'d>> {
    let fields = map.and_then(Value::fields);
    let entries = fields.iter().flat_map(Fields::named);
    let providers = entries.filter_map(|(name, value)| provider(name, value.fields()?, databases, cx));
    providers.inspect(|provider| provider.load(cx)).collect()
}

fn provider<'d>(
    name: Text<'d>,
    mut fields: Fields<'d>,
    databases: &Arc<Databases>,
    cx: &Context<'d>,
) -> Option<Provider<'d>> {
    let title = shown(name.text);
    let (kind, behavior) = (fields.take("type"), fields.take("behavior"));
    let mut missing = Vec::new();
    for (key, value) in [("behavior", behavior), ("type", kind)] {
        if value.is_none() {
            missing.push(key);
        }
    }
    if !missing.is_empty() {
        cx.report.error(name.at, format!("rule provider {title}: '' has unset fields: {}", missing.join(", ")));
    }
    let kind = kind?.text()?;
    let behavior = parsed(behavior?, ["domain", "ipcidr", "classical"]);
    let format = fields.take("format").map_or(Some(Format::Yaml), |value| parsed(value, ["yaml", "text", "mrs"]));
    let payload = fields.take("payload").map(Value::texts).unwrap_or_default();
    let vehicle = vehicle::read(kind, name, &mut fields, ("rule provider", "rules"), cx);
    let proxy_at = fields.place("proxy");
    fields.finish("a rule provider", &["path-in-bundle"]);
    let behavior = behavior?;
    let plan = RuleProviderPlan {
        name: Tag::new(name.text),
        vehicle: vehicle?,
        behavior,
        format: format?,
        handle: ProviderHandle::new(behavior),
        payload: payload.iter().map(|entry| entry.text.to_owned()).collect(),
        databases: Arc::clone(databases),
    };
    Some(Provider { name, proxy_at, plan, payload })
}

fn parsed<T: std::str::FromStr<Err = ProviderError>>(value: Value<'_>, known: [&str; 3]) -> Option<T> {
    let text = value.text()?;
    let report = value.report;
    text.text
        .parse()
        .map_err(|error: ProviderError| report.add(Draft::error(text.at, error.to_string()).meant(text.text, known)))
        .ok()
}

impl Provider<'_> {
    /// Puts in force what there is now: the file, or else `payload`.
    fn load(&self, cx: &Context<'_>) {
        if let Some(set) = self.load_file(cx).or_else(|| self.load_payload(cx)) {
            self.plan.handle.replace(set);
        }
    }

    /// A file that is missing is nothing to speak of if it is going to be downloaded.
    fn load_file(&self, cx: &Context<'_>) -> Option<RuleSet> {
        let path = self.plan.vehicle.path()?;
        let bytes = match vehicle::content(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                if matches!(self.plan.vehicle, Vehicle::File(_)) {
                    let why = reason(&error);
                    let (title, path) = (shown(self.name.text), shown(&path.to_string_lossy()));
                    let text = format!("initial rule provider {title} error: cannot read {path}: {why}");
                    cx.report.warning(self.name.at, format!("{text}; rules on it do not match"));
                }
                return None;
            }
        };
        let parsed = self.plan.parse_reporting(&bytes, self.name.at, cx.report);
        self.judged(parsed, cx)
    }

    fn load_payload(&self, cx: &Context<'_>) -> Option<RuleSet> {
        if self.payload.is_empty() && matches!(self.plan.vehicle, Vehicle::Http(_)) {
            return None; // an empty set would count as loaded
        }
        let classical = self.payload.iter().filter(|_| self.plan.behavior == Behavior::Classical);
        let geo = self.plan.databases.open(Needed::of(classical.copied()), cx.report);
        let entries = self.payload.iter().map(|entry| entry.text);
        self.judged(RuleSet::from_entries(entries, self.plan.behavior, &geo), cx)
    }

    fn judged(
        &self,
        parsed: Result<(RuleSet, Vec<ProviderWarning>), ProviderError>,
        cx: &Context<'_>,
    ) -> Option<RuleSet> {
        match parsed {
            Ok((set, warnings)) => {
                self.warn(&warnings, cx);
                Some(set)
            }
            Err(error) => {
                let text = format!("initial rule provider {} error: {error}", shown(self.name.text));
                cx.report.warning(self.name.at, text);
                None
            }
        }
    }

    fn warn(&self, warnings: &[ProviderWarning], cx: &Context<'_>) {
        let Some((first, rest)) = warnings.split_first() else { return };
        let others: usize = rest
            .iter()
            .map(|warning| match warning {
                ProviderWarning::More(more) => *more,
                _ => 1,
            })
            .sum();
        let mut text = format!("rule provider {}: {first}", shown(self.name.text));
        if others > 0 {
            text.push_str(&format!(" (and {others} more entries like this)"));
        }
        // Of an inline entry the place is known.
        let culprit = self.payload.iter().find(|entry| match first {
            ProviderWarning::Domain(bad) | ProviderWarning::IpCidr(bad) | ProviderWarning::Classical(bad, _) => {
                entry.text == bad
            }
            _ => false,
        });
        cx.report.warning(culprit.map_or(self.name.at, |entry| entry.at), text);
    }
}

/// The handles by name.
pub(super) fn handles(providers: &[Provider<'_>]) -> HashMap<Tag, ProviderHandle> {
    providers.iter().map(|provider| (provider.plan.name.clone(), provider.plan.handle.clone())).collect()
}
