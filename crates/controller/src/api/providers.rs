//! Providers. Spec: mihomo-surface §9.7.

use std::time::SystemTime;

use adit_net::Tag;
use adit_outbound::options::{Check, TestUrl};
use adit_outbound::{Book, NodeReport};
use adit_router::Format;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::proxies::{ProxyView, views};
use crate::daemon::{ProviderKind, ProxyProvider, RuleProvider, Subscription, Vehicle};
use crate::json::{Json, Refusal, Text};
use crate::server::Shared;
use crate::time::{NEVER, Rfc3339};

#[derive(Serialize)]
pub(super) struct Providers<T> {
    providers: T,
}

/// `{name: object}`, in order.
pub(super) struct ByName<T>(Vec<T>);

/// What has a name.
pub(super) trait Named {
    fn name(&self) -> &str;
}

impl<T: Named + Serialize> Serialize for ByName<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|one| (one.name(), one)))
    }
}

/// When a list came.
pub(super) struct Updated(Option<SystemTime>);

impl Serialize for Updated {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(at) => Text(Rfc3339(at)).serialize(serializer),
            None => serializer.serialize_str(NEVER),
        }
    }
}

/// A proxy provider, real or made up: dashboards expect one of all proxies and one of each group's own.
struct Listed {
    name: Tag,
    vehicle: &'static str,
    check: Check,
    updated: Option<SystemTime>,
    subscription: Option<Subscription>,
    members: Vec<Tag>,
}

impl Listed {
    fn of(provider: ProxyProvider, reports: &[NodeReport]) -> Self {
        let members = reports.iter().filter(|report| report.provider.as_ref() == Some(&provider.name));
        Self {
            members: members.map(|report| report.name.clone()).collect(),
            vehicle: provider.vehicle.name(),
            name: provider.name,
            check: provider.check,
            updated: provider.updated,
            subscription: provider.subscription,
        }
    }

    fn made_up(name: Tag, check: Check, members: Vec<Tag>) -> Self {
        Self { name, vehicle: "Compatible", check, updated: None, subscription: None, members }
    }
}

/// What a group tests its members with.
fn check(report: &NodeReport) -> Check {
    let url = report.group.as_ref().and_then(|group| TestUrl::parse(&group.test_url).ok());
    Check { url: url.unwrap_or_default(), ..Check::default() }
}

fn listed(shared: &Shared, book: &Book) -> Vec<Listed> {
    let reports: Vec<NodeReport> = book.names().filter_map(|name| book.report(name)).collect();
    let is_own = |name: &Tag| reports.iter().any(|report| report.name == *name && report.provider.is_none());
    let own = |members: &[Tag]| members.iter().filter(|name| is_own(name)).cloned().collect::<Vec<_>>();
    let mut all: Vec<Listed> = Vec::new();
    for report in &reports {
        let Some(group) = &report.group else { continue };
        let members = own(&group.all);
        match &*report.name {
            "GLOBAL" => all.insert(0, Listed::made_up("default".into(), Check::default(), members)),
            _ if members.is_empty() => {}
            _ => all.push(Listed::made_up(report.name.clone(), check(report), members)),
        }
    }
    all.extend(shared.daemon.proxy_providers().into_iter().map(|provider| Listed::of(provider, &reports)));
    all
}

fn find(shared: &Shared, book: &Book, name: &str) -> Option<Listed> {
    listed(shared, book).into_iter().find(|provider| &*provider.name == name)
}

/// Whether `name` is a member of `provider`.
pub(super) fn is_member(shared: &Shared, provider: &str, name: &str) -> bool {
    let world = shared.daemon.engine().world();
    find(shared, &world.book, provider).is_some_and(|found| found.members.iter().any(|member| &**member == name))
}

/// How the members of `provider` are tested, and who they are.
pub(super) fn check_of(shared: &Shared, provider: &str) -> Option<(Check, Vec<Tag>)> {
    let world = shared.daemon.engine().world();
    find(shared, &world.book, provider).map(|found| (found.check, found.members))
}

/// A proxy provider, as dashboards see it.
pub(super) struct ProxyProviderView {
    listed: Listed,
    proxies: Vec<ProxyView>,
}

impl ProxyProviderView {
    fn new(listed: Listed, book: &Book) -> Self {
        let proxies = views(book, listed.members.iter().map(|name| &**name));
        Self { listed, proxies }
    }
}

impl Named for ProxyProviderView {
    fn name(&self) -> &str {
        &self.listed.name
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SubscriptionView {
    upload: u64,
    download: u64,
    total: u64,
    expire: u64,
}

impl Serialize for ProxyProviderView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Listed { name, vehicle, check, updated, subscription, .. } = &self.listed;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &**name)?;
        map.serialize_entry("type", "Proxy")?;
        map.serialize_entry("vehicleType", vehicle)?;
        map.serialize_entry("proxies", &self.proxies)?;
        map.serialize_entry("testUrl", check.url.as_str())?;
        let expected = check.expected.iter().map(|range| match (range.start(), range.end()) {
            (from, to) if from == to => from.to_string(),
            (from, to) => format!("{from}-{to}"),
        });
        let expected = expected.collect::<Vec<_>>().join("/");
        map.serialize_entry("expectedStatus", if expected.is_empty() { "*" } else { &expected })?;
        map.serialize_entry("updatedAt", &Updated(*updated))?;
        if let Some(Subscription { upload, download, total, expire }) = *subscription {
            map.serialize_entry("subscriptionInfo", &SubscriptionView { upload, download, total, expire })?;
        }
        map.end()
    }
}

/// `GET /providers/proxies`.
pub(super) async fn proxies(State(shared): State<Shared>) -> Json<Providers<ByName<ProxyProviderView>>> {
    let world = shared.daemon.engine().world();
    let all = listed(&shared, &world.book).into_iter();
    Json(Providers { providers: ByName(all.map(|one| ProxyProviderView::new(one, &world.book)).collect()) })
}

/// `GET /providers/proxies/{provider}`.
pub(super) async fn of_proxies(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<ProxyProviderView>, Refusal> {
    let world = shared.daemon.engine().world();
    let found = find(&shared, &world.book, &name).ok_or_else(Refusal::not_found)?;
    Ok(Json(ProxyProviderView::new(found, &world.book)))
}

/// `GET /providers/proxies/{provider}/{name}`.
pub(super) async fn member(
    State(shared): State<Shared>,
    Path((provider, name)): Path<(String, String)>,
) -> Result<Json<ProxyView>, Refusal> {
    let report = shared.daemon.engine().world().book.report(&name);
    let report = report.filter(|_| is_member(&shared, &provider, &name));
    report.map(ProxyView).map(Json).ok_or_else(Refusal::not_found)
}

/// `PUT /providers/proxies/{provider}`. What is written in the configuration is always up to date.
pub(super) async fn update_proxies(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    let is_real = shared.daemon.proxy_providers().iter().any(|provider| *provider.name == *name);
    let world = shared.daemon.engine().world();
    if !is_real && find(&shared, &world.book, &name).is_none() {
        return Err(Refusal::not_found());
    }
    if is_real {
        shared.daemon.update(ProviderKind::Proxies, &name).await.map_err(Refusal::unavailable)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A rule provider, as dashboards see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RuleProviderView {
    name: Text<Tag>,
    r#type: &'static str,
    vehicle_type: &'static str,
    behavior: String,
    format: &'static str,
    rule_count: usize,
    updated_at: Updated,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    payload: Vec<String>,
}

impl Named for RuleProviderView {
    fn name(&self) -> &str {
        &self.name.0
    }
}

impl From<RuleProvider> for RuleProviderView {
    fn from(provider: RuleProvider) -> Self {
        Self {
            name: Text(provider.name),
            r#type: "Rule",
            vehicle_type: provider.vehicle.name(),
            behavior: provider.behavior.to_string(),
            format: match (provider.vehicle, provider.format) {
                (Vehicle::Inline, _) => "",
                (_, Format::Yaml) => "YamlRule",
                (_, Format::Text) => "TextRule",
                (_, Format::Mrs) => "MrsRule",
            },
            rule_count: provider.rules,
            updated_at: Updated(provider.updated),
            payload: provider.payload,
        }
    }
}

/// `GET /providers/rules`.
pub(super) async fn rules(State(shared): State<Shared>) -> Json<Providers<ByName<RuleProviderView>>> {
    let all = shared.daemon.rule_providers().into_iter().map(RuleProviderView::from);
    Json(Providers { providers: ByName(all.collect()) })
}

/// `PUT /providers/rules/{provider}`.
pub(super) async fn update_rules(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<StatusCode, Refusal> {
    if !shared.daemon.rule_providers().iter().any(|provider| *provider.name == *name) {
        return Err(Refusal::not_found());
    }
    shared.daemon.update(ProviderKind::Rules, &name).await.map_err(Refusal::unavailable)?;
    Ok(StatusCode::NO_CONTENT)
}
