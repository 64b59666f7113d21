//! Proxies and groups. Spec: mihomo-surface §9.6.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use adit_outbound::options::{GroupKind, TEST_URL};
use adit_outbound::{Book, GroupReport, Measurement, NodeReport, SelectError};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};

use crate::json::{FromJson, Json, Refusal, Text};
use crate::server::Shared;
use crate::time::Rfc3339;

/// A proxy or group, as dashboards see it.
pub(super) struct ProxyView(pub(super) NodeReport);

/// The last tests.
struct History<'a>(&'a [Measurement]);

#[derive(Serialize)]
struct Past {
    time: Text<Rfc3339>,
    delay: u16,
}

#[derive(Serialize)]
struct OfUrl<'a> {
    alive: bool,
    history: History<'a>,
}

impl Serialize for History<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|one| Past { time: Text(Rfc3339(one.at)), delay: one.delay }))
    }
}

impl Serialize for ProxyView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(report) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &*report.name)?;
        map.serialize_entry("type", report.kind)?;
        map.serialize_entry("alive", &report.health.alive)?;
        map.serialize_entry("history", &History(&report.health.history))?;
        let by_url = report.health.by_url.iter();
        let extra = by_url.map(|one| (&*one.url, OfUrl { alive: one.alive, history: History(&one.history) }));
        map.serialize_entry("extra", &extra.collect::<std::collections::BTreeMap<_, _>>())?;
        map.serialize_entry("udp", &report.udp)?;
        // UDP over VLESS is XUDP here.
        map.serialize_entry("xudp", &(report.udp && report.kind == "Vless"))?;
        for absent in ["uot", "tfo", "mptcp", "smux"] {
            map.serialize_entry(absent, &false)?;
        }
        map.serialize_entry("interface", report.interface.as_deref().unwrap_or_default())?;
        map.serialize_entry("routing-mark", &report.mark)?;
        map.serialize_entry("provider-name", report.provider.as_deref().unwrap_or_default())?;
        map.serialize_entry("dialer-proxy", report.dialer_proxy.as_deref().unwrap_or_default())?;
        match &report.group {
            Some(group) => write_group(group, &mut map)?,
            None => map.serialize_entry("id", &id(&report.name))?,
        }
        map.end()
    }
}

/// What only groups have; that there is an `all` is how dashboards know one.
fn write_group<M: serde::ser::SerializeMap>(group: &GroupReport, map: &mut M) -> Result<(), M::Error> {
    let names: Vec<&str> = group.all.iter().map(|name| &**name).collect();
    map.serialize_entry("all", &names)?;
    if let Some(now) = &group.now {
        map.serialize_entry("now", &**now)?;
    }
    let is_selector = matches!(group.kind, GroupKind::Select { .. });
    let test_url = if is_selector && group.test_url == TEST_URL { "" } else { &*group.test_url };
    map.serialize_entry("testUrl", test_url)?;
    if !is_selector {
        map.serialize_entry("expectedStatus", &group.expected)?;
    }
    if matches!(group.kind, GroupKind::UrlTest { .. } | GroupKind::Fallback) {
        map.serialize_entry("fixed", group.fixed.as_deref().unwrap_or_default())?;
    }
    map.serialize_entry("hidden", &group.hidden)?;
    map.serialize_entry("icon", &group.icon)
}

/// A UUID (RFC 9562, version 8: of our own making) that a name has in every run.
fn id(name: &str) -> String {
    let half = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        (seed, name).hash(&mut hasher);
        hasher.finish()
    };
    let (a, b) = (half(0), half(1));
    let (high, mid, low) = (a >> 32, a >> 16 & 0xffff, a & 0x0fff);
    let (variant, node) = (b >> 48 & 0x3fff | 0x8000, b & 0xffff_ffff_ffff);
    format!("{high:08x}-{mid:04x}-8{low:03x}-{variant:04x}-{node:012x}")
}

/// What `names` are, in their order.
pub(super) fn views<'a>(book: &Book, names: impl IntoIterator<Item = &'a str>) -> Vec<ProxyView> {
    names.into_iter().filter_map(|name| book.report(name)).map(ProxyView).collect()
}

#[derive(Serialize)]
pub(super) struct Proxies<T> {
    proxies: T,
}

/// `{name: object}`, in the order of the book.
pub(super) struct ByName(Vec<ProxyView>);

impl Serialize for ByName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|view| (&*view.0.name, view)))
    }
}

/// `GET /proxies`.
pub(super) async fn all(State(shared): State<Shared>) -> Json<Proxies<ByName>> {
    let book = &shared.daemon.engine().world().book;
    Json(Proxies { proxies: ByName(views(book, book.names().map(|name| &**name))) })
}

/// `GET /group`.
pub(super) async fn groups(State(shared): State<Shared>) -> Json<Proxies<Vec<ProxyView>>> {
    let book = &shared.daemon.engine().world().book;
    let mut proxies = views(book, book.names().map(|name| &**name));
    proxies.retain(|view| view.0.group.is_some());
    Json(Proxies { proxies })
}

/// `GET /proxies/{name}`.
pub(super) async fn one(State(shared): State<Shared>, Path(name): Path<String>) -> Result<Json<ProxyView>, Refusal> {
    let report = shared.daemon.engine().world().book.report(&name);
    report.map(ProxyView).map(Json).ok_or_else(Refusal::not_found)
}

/// `GET /group/{name}`.
pub(super) async fn group(State(shared): State<Shared>, Path(name): Path<String>) -> Result<Json<ProxyView>, Refusal> {
    let report = shared.daemon.engine().world().book.report(&name).filter(|report| report.group.is_some());
    report.map(ProxyView).map(Json).ok_or_else(Refusal::not_found)
}

#[derive(Deserialize)]
pub(super) struct Choice {
    name: String,
}

/// `PUT /proxies/{name}`.
pub(super) async fn select(
    State(shared): State<Shared>,
    Path(group): Path<String>,
    FromJson(choice): FromJson<Choice>,
) -> Result<StatusCode, Refusal> {
    let world = shared.daemon.engine().world();
    world.book.select(&group, &choice.name).map_err(|error| match error {
        SelectError::NotFound => Refusal::not_found(),
        error => Refusal::bad(error.to_string()),
    })?;
    tracing::info!("{group} now uses {}", choice.name);
    shared.daemon.chosen();
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /proxies/{name}`.
pub(super) async fn unpin(State(shared): State<Shared>, Path(group): Path<String>) -> Result<StatusCode, Refusal> {
    shared.daemon.engine().world().book.unpin(&group).map_err(|error| match error {
        SelectError::NotFound => Refusal::not_found(),
        SelectError::NotASelector | SelectError::NotAMember => Refusal::bad_body(),
    })?;
    shared.daemon.chosen();
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_uuids() {
        let one = id("node 🦀");
        assert_eq!((one.len(), one.as_bytes()[14]), (36, b'8'));
        assert!(one == id("node 🦀") && one != id("node"));
    }
}
