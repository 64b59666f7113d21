//! What is open. Spec: mihomo-surface §9.4.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_engine::{Connection, ConnectionId, Traffic, World};
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
/// Bytes of a connection's object, roughly.
const TYPICAL: usize = 720;

/// What stays the same for as long as a connection lives: everything but what it has carried.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Description<'a> {
    id: Text<ConnectionId>,
    metadata: Metadata<'a>,
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

impl<'a> Description<'a> {
    fn new(connection: &'a Connection, world: &'a World, providers: &'a Providers) -> Self {
        let decision = connection.decision();
        let rule = decision.and_then(|decision| decision.rule.as_deref());
        let chain = decision.map_or(&[][..], |decision| &decision.chain);
        Self {
            id: Text(connection.id()),
            metadata: Metadata::new(connection, world),
            start: Text(Rfc3339(connection.began)),
            chains: Names(chain),
            provider_chains: chain.iter().map(|name| providers.of(name)).collect(),
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

/// Which provider a name came from. Most connections share few chains, so names are looked up once.
#[derive(Default)]
struct Providers(HashMap<Tag, Option<Tag>>);

impl Providers {
    fn look_up(&mut self, connection: &Connection, world: &World) {
        for name in connection.decision().iter().flat_map(|decision| &decision.chain) {
            if !self.0.contains_key(name) {
                self.0.insert(name.clone(), world.book.report(name).and_then(|report| report.provider));
            }
        }
    }

    fn of(&self, name: &Tag) -> &str {
        self.0.get(name).and_then(|provider| provider.as_deref()).unwrap_or_default()
    }
}

/// Everything that is open, the oldest first. A dashboard asks every second, and nearly all of the answer is what it was:
/// so that is written once for each connection, and put together here.
fn snapshot(shared: &Shared) -> String {
    let engine = shared.daemon.engine();
    let (world, table) = (engine.world(), engine.table());
    let mut open = table.snapshot();
    open.sort_unstable_by_key(|connection| connection.session.id);
    let mut providers = Providers::default();
    let mut text = String::with_capacity(256 + open.len() * TYPICAL);
    let Traffic { up, down } = table.traffic();
    let memory = process::resident();
    let _ = write!(text, "{{\"downloadTotal\":{down},\"uploadTotal\":{up},\"memory\":{memory},\"connections\":[");
    for (place, connection) in open.iter().enumerate() {
        let (up, down) = (connection.counters.up(), connection.counters.down());
        let comma = if place == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{{\"upload\":{up},\"download\":{down},");
        match connection.description.get() {
            Some(written) => text.push_str(written),
            None => text.push_str(&describe(connection, &world, &mut providers)),
        }
    }
    text.push_str("]}\n");
    text
}

/// The rest of a connection's object, kept with it once nothing in it changes any more.
fn describe(connection: &Connection, world: &World, providers: &mut Providers) -> Box<str> {
    providers.look_up(connection, world);
    let object = json::text(&Description::new(connection, world, providers));
    let rest: Box<str> = object.trim_end().strip_prefix('{').unwrap_or_default().into();
    let is_settled = connection.remote().is_some() || connection.session.network == Network::Udp;
    if is_settled && connection.decision().is_some() {
        let _ = connection.description.set(rest.clone());
    }
    rest
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
