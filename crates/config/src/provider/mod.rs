//! `proxy-providers:`. Spec: mihomo-surface §6.4.

mod content;
mod nodes;
mod rewrite;
mod skipped;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use adit_net::Tag;
use adit_outbound::options::{Check, TestUrl};

use crate::context::Context;
use crate::filter::{Patterns, Types};
use crate::group::Tests;
use crate::home::reason;
use crate::read::{Fields, Text, Value};
use crate::report::shown;
use crate::vehicle::{self, Vehicle};
use crate::yaml::At;
use nodes::Recipe;
use rewrite::Rewrite;

pub use nodes::{ContentError, Nodes};
pub use skipped::Skipped;

/// A source of proxies.
#[derive(Clone, Debug)]
pub struct ProviderPlan {
    /// What groups call it.
    pub name: Tag,
    /// Where its content comes from.
    pub vehicle: Vehicle,
    /// How its nodes are tested whether or not a group asks; `None` is not at all.
    pub health_check: Option<Check>,
    /// How content becomes nodes. It needs nothing of the configuration.
    recipe: Recipe,
}

impl ProviderPlan {
    /// The nodes of some content: YAML with `proxies:`, or share links, one per line, perhaps all of them in base64. Nodes
    /// that cannot be used are left out and counted. Blocking, for a second at the most; reads files in the home folder that
    /// nodes name (certificates).
    ///
    /// # Errors
    /// [`ContentError`], when there is no node in it: the old ones should stay.
    pub fn nodes(&self, bytes: &[u8]) -> Result<Nodes, ContentError> {
        self.recipe.nodes(bytes)
    }
}

/// A provider, its places in the file, and what it has.
pub(crate) struct Provider<'d> {
    pub(crate) name: Text<'d>,
    pub(crate) plan: ProviderPlan,
    /// Where `proxy` stands.
    pub(crate) proxy_at: Option<At>,
    /// Where tests of its nodes go, if that is written, whether or not `health-check` is switched on.
    pub(crate) test_url: Option<TestUrl>,
    /// What is in its file, or else in its `payload`.
    pub(crate) nodes: Option<Nodes>,
}

/// Reads the section and the files. `groups` and `proxies` are names that providers cannot have.
pub(crate) fn read<'d>(map: Option<Value<'d>>, groups: &HashSet<&str>, cx: &Context<'d>) -> Vec<Provider<'d>> {
    let fields = map.and_then(Value::fields);
    let mut providers = Vec::new();
    for (name, value) in fields.iter().flat_map(Fields::named) {
        if name.text == "default" {
            cx.report.error(name.at, "can not defined a provider called `default`");
        } else if groups.contains(name.text) {
            cx.report.error(name.at, format!("duplicate provider name: {} is a group", shown(name.text)));
        } else if let Some(provider) = value.fields().and_then(|fields| one(name, fields, cx)) {
            providers.push(provider);
        }
    }
    providers
}

fn one<'d>(name: Text<'d>, mut fields: Fields<'d>, cx: &Context<'d>) -> Option<Provider<'d>> {
    let title = shown(name.text);
    let Some(kind) = fields.take("type") else {
        cx.report.error(name.at, format!("parse proxy provider {title} error: '' has unset fields: type"));
        return None;
    };
    let kind = kind.text()?;
    let vehicle = vehicle::read(kind, name, &mut fields, ("proxy provider", "proxies"), cx);
    let proxy_at = fields.place("proxy");
    let text =
        |fields: &mut Fields<'d>, key| fields.take(key).and_then(Value::text).filter(|text| !text.text.is_empty());
    let (health_check, test_url) = health_check(&title, &mut fields, cx).unzip();
    let payload = fields.take("payload");
    let size_limit = match &vehicle {
        Some(Vehicle::Http(download)) => download.size_limit,
        _ => None,
    };
    let recipe = Recipe {
        provider: Tag::new(name.text),
        filter: Patterns::read(text(&mut fields, "filter"), cx.report),
        exclude_filter: Patterns::read(text(&mut fields, "exclude-filter"), cx.report),
        exclude_type: Types::read(text(&mut fields, "exclude-type")),
        dialer: text(&mut fields, "dialer-proxy").map(|dialer| Tag::new(dialer.text)),
        rewrite: fields.take("override").and_then(|value| Rewrite::read(value, cx)).unwrap_or_default(),
        size_limit,
        home: cx.home.clone(),
        socket: cx.socket.clone(),
        ipv6: cx.ipv6,
    };
    fields.finish("a proxy provider", &["age-secret-key"]);
    let plan =
        ProviderPlan { name: Tag::new(name.text), vehicle: vehicle?, health_check: health_check.flatten(), recipe };
    let nodes = nodes(name, &plan, payload, cx);
    Some(Provider { name, plan, proxy_at, test_url: test_url.flatten(), nodes })
}

/// `health-check`, if it is switched on, and its URL, if it is written. Its default interval is five minutes.
fn health_check(title: &str, fields: &mut Fields<'_>, cx: &Context<'_>) -> Option<(Option<Check>, Option<TestUrl>)> {
    let mut fields = fields.take("health-check")?.fields()?;
    let enabled = fields.take("enable").and_then(Value::boolean).unwrap_or(false);
    let mut check = Tests { title: format!("proxy provider {title}") }.read(&mut fields, None, cx.report);
    check.interval.get_or_insert(Duration::from_secs(300));
    let url = fields.place("url").map(|_| check.url.clone());
    fields.finish("`health-check`", &[]);
    Some((enabled.then_some(check), url))
}

/// What the provider has now. A missing file is nothing to speak of if it is going to be downloaded.
fn nodes(name: Text<'_>, plan: &ProviderPlan, payload: Option<Value<'_>>, cx: &Context<'_>) -> Option<Nodes> {
    let title = shown(name.text);
    let warn = |why: &str| {
        cx.report.warning(name.at, format!("initial proxy provider {title} error: {why}"));
    };
    let file = plan.vehicle.path().map(vehicle::content);
    let mut nodes = match file {
        Some(Ok(bytes)) => plan.nodes(&bytes).map_err(|why| warn(&why.to_string())).ok(),
        Some(Err(error)) => {
            if matches!(plan.vehicle, Vehicle::File(_)) {
                warn(&reason(&error));
            }
            None
        }
        None => None,
    };
    if nodes.is_none() {
        nodes = match payload {
            Some(payload) => plan.recipe.payload(payload).map_err(|why| warn(&why.to_string())).ok(),
            None => {
                if plan.vehicle == Vehicle::Inline {
                    warn("file must have a `payload` field");
                }
                None
            }
        };
    }
    if let Some(nodes) = nodes.as_ref().filter(|nodes| !nodes.skipped.is_empty()) {
        cx.report.warning(name.at, format!("proxy provider {title}: left out {}", nodes.skipped));
    }
    nodes
}

/// The nodes of each provider that has some.
pub(crate) fn contents(providers: &mut [Provider<'_>]) -> HashMap<Tag, Nodes> {
    providers.iter_mut().filter_map(|provider| Some((provider.plan.name.clone(), provider.nodes.take()?))).collect()
}
