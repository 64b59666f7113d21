//! What is open. Spec: mihomo-surface §9.4.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_engine::{Connection, ConnectionId, World};
use adit_net::{BoxFuture, DnsMode, Network, Protocol, Tag};
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::query;
use crate::json::{self, Refusal, Text};
use crate::process;
use crate::server::Shared;
use crate::stream::{Source, is_websocket};
use crate::time::Rfc3339;

/// How often a snapshot is sent unless something else is asked for, in milliseconds.
const INTERVAL: u64 = 1000;
/// How often at most.
const INTERVAL_MIN: u64 = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot<'a> {
    download_total: u64,
    upload_total: u64,
    connections: Vec<ConnectionView<'a>>,
    memory: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectionView<'a> {
    id: Text<ConnectionId>,
    metadata: Metadata<'a>,
    upload: u64,
    download: u64,
    start: Text<Rfc3339>,
    chains: Names<'a>,
    provider_chains: Vec<&'a str>,
    rule: Text<Rule<'a>>,
    rule_payload: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    network: Text<Network>,
    r#type: Text<Protocol>,
    #[serde(rename = "sourceIP")]
    source_ip: Text<IpAddr>,
    #[serde(rename = "destinationIP")]
    destination_ip: MaybeIp,
    #[serde(rename = "sourceGeoIP")]
    source_geo_ip: (),
    #[serde(rename = "destinationGeoIP")]
    destination_geo_ip: (),
    #[serde(rename = "sourceIPASN")]
    source_ip_asn: &'static str,
    #[serde(rename = "destinationIPASN")]
    destination_ip_asn: &'static str,
    source_port: Text<u16>,
    destination_port: Text<u16>,
    #[serde(rename = "inboundIP")]
    inbound_ip: Text<IpAddr>,
    inbound_port: Text<u16>,
    inbound_name: &'a str,
    inbound_user: &'a str,
    host: &'a str,
    sniff_host: &'a str,
    dns_mode: &'static str,
    uid: u32,
    process: &'a str,
    process_path: &'a str,
    special_proxy: &'a str,
    special_rules: &'a str,
    remote_destination: MaybeIp,
    rematch_name: &'static str,
    dscp: u8,
}

struct MaybeIp(Option<IpAddr>);

impl Serialize for MaybeIp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Some(ip) => serializer.collect_str(ip),
            None => serializer.serialize_str(""),
        }
    }
}

struct Names<'a>(&'a [Tag]);

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|name| &**name))
    }
}

/// The type of the rule that matched, if one did.
struct Rule<'a>(Option<&'a adit_router::RuleInfo>);

impl std::fmt::Display for Rule<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |rule| rule.kind.fmt(f))
    }
}

impl<'a> ConnectionView<'a> {
    fn new(connection: &'a Connection, world: &'a World, providers: &HashMap<&str, &'a str>) -> Self {
        let decision = connection.decision();
        let rule = decision.and_then(|decision| decision.rule.as_deref());
        let chain = decision.map_or(&[][..], |decision| &decision.chain);
        Self {
            id: Text(connection.id()),
            metadata: Metadata::new(connection, world),
            upload: connection.counters.up(),
            download: connection.counters.down(),
            start: Text(Rfc3339(connection.began)),
            chains: Names(chain),
            provider_chains: chain.iter().map(|name| providers.get(&**name).copied().unwrap_or_default()).collect(),
            rule: Text(Rule(rule)),
            rule_payload: rule.map_or("", |rule| &rule.payload),
        }
    }
}

impl<'a> Metadata<'a> {
    fn new(connection: &'a Connection, world: &'a World) -> Self {
        let session = &connection.session;
        let (client, local) = (session.client.socket_addr(), session.entry.local);
        let process = connection.decision().and_then(|decision| decision.process.as_ref());
        let pin = world.pins.get(&session.entry.inbound);
        let special = |name: Option<&'a Tag>| name.map_or("", |name| &**name);
        let (dns_mode, host, ip) = match &session.dns {
            DnsMode::Normal => ("normal", session.target.host.domain(), session.target.host.ip()),
            DnsMode::FakeIp(_) => ("fake-ip", session.target.host.domain(), None),
            DnsMode::RedirHost { name, ip } => ("redir-host", Some(name), Some(*ip)),
        };
        Self {
            network: Text(session.network),
            r#type: Text(session.entry.protocol),
            source_ip: Text(client.ip().to_canonical()),
            destination_ip: MaybeIp(ip),
            source_geo_ip: (),
            destination_geo_ip: (),
            source_ip_asn: "",
            destination_ip_asn: "",
            source_port: Text(client.port()),
            destination_port: Text(session.target.port),
            inbound_ip: Text(local.ip().to_canonical()),
            inbound_port: Text(local.port()),
            inbound_name: &session.entry.inbound,
            inbound_user: session.entry.user.as_deref().unwrap_or_default(),
            host: host.map_or("", |name| name.as_str()),
            sniff_host: session.sniffed.as_ref().map_or("", |name| name.as_str()),
            dns_mode,
            uid: process.map_or(0, |process| process.uid),
            process: process.map_or("", |process| process.path.rsplit('/').next().unwrap_or_default()),
            process_path: process.map_or("", |process| &process.path),
            special_proxy: special(pin.and_then(|pin| pin.outbound.as_ref())),
            special_rules: special(pin.and_then(|pin| pin.rules.as_ref())),
            remote_destination: MaybeIp(connection.remote()),
            rematch_name: "",
            dscp: session.dscp,
        }
    }
}

/// Everything that is open, the oldest first.
fn snapshot(shared: &Shared) -> String {
    let engine = shared.daemon.engine();
    let (world, table) = (engine.world(), engine.table());
    let mut open = table.snapshot();
    open.sort_unstable_by_key(|connection| connection.session.id);
    // Most connections share few chains, so names are looked up once.
    let mut providers: HashMap<&str, Option<Tag>> = HashMap::new();
    for name in open.iter().filter_map(|connection| connection.decision()).flat_map(|decision| &decision.chain) {
        providers.entry(name).or_insert_with(|| world.book.report(name).and_then(|report| report.provider));
    }
    let providers: HashMap<&str, &str> =
        providers.iter().filter_map(|(name, provider)| Some((*name, &**provider.as_ref()?))).collect();
    let traffic = table.traffic();
    json::text(&Snapshot {
        download_total: traffic.down,
        upload_total: traffic.up,
        connections: open.iter().map(|connection| ConnectionView::new(connection, &world, &providers)).collect(),
        memory: process::resident(),
    })
}

/// Tens of thousands of connections take tens of milliseconds, in which a worker would carry no traffic.
async fn snapshot_aside(shared: Shared) -> String {
    tokio::task::spawn_blocking(move || snapshot(&shared)).await.unwrap_or_default()
}

struct Snapshots {
    shared: Shared,
    ticks: Interval,
}

impl Source for Snapshots {
    fn next(&mut self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async {
            self.ticks.tick().await;
            Some(snapshot_aside(self.shared.clone()).await)
        })
    }
}

/// `GET /connections`.
pub(super) async fn all(State(shared): State<Shared>, request: Request) -> Response {
    if !is_websocket(request.headers()) {
        return json::respond(snapshot_aside(shared).await);
    }
    let millis = match query(request.uri(), "interval").filter(|text| !text.is_empty()) {
        None => INTERVAL,
        Some(text) => match text.parse::<u64>() {
            Ok(millis) => millis.clamp(INTERVAL_MIN, 3_600_000),
            Err(_) => return Refusal::bad_body().into_response(),
        },
    };
    let mut ticks = interval(Duration::from_millis(millis));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    shared.streams.answer(request, Snapshots { shared: shared.clone(), ticks }).await
}

/// `DELETE /connections`.
pub(super) async fn close_all(State(shared): State<Shared>) -> StatusCode {
    let open = shared.daemon.engine().table().snapshot();
    tracing::info!("closing {} connections", open.len());
    open.iter().map(Arc::as_ref).for_each(Connection::kill);
    StatusCode::NO_CONTENT
}

/// `DELETE /connections/{id}`. One that has just ended is as good as closed.
pub(super) async fn close(State(shared): State<Shared>, Path(id): Path<String>) -> StatusCode {
    if let Some(connection) = shared.daemon.engine().table().find(&id) {
        connection.kill();
    }
    StatusCode::NO_CONTENT
}
