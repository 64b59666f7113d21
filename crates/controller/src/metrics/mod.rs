//! `/metrics` and `/scrape`: what the engine, the ways out, the providers and the kernel know, in numbers.
//!
//! Labels are names from the configuration, never hosts or clients, and there are at most [`SERIES`] of a kind.

use std::time::{SystemTime, UNIX_EPOCH};

use adit_engine::{BOUNDS, Traffic};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use self::exposition::{Dialect, Exposition, Kind};
use crate::daemon::Daemon;
use crate::process::Usage;
use crate::server::Shared;

mod exposition;

/// Series of one family; what is more is summed up, or left out where a sum has no meaning.
const SERIES: usize = 200;
/// The label of what is summed up.
const OTHER: &str = "other";

/// `GET /metrics`, `GET /scrape`.
pub(crate) async fn show(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let dialect = Dialect::of(accept);
    let written = tokio::task::spawn_blocking(move || {
        let mut out = Exposition::new(dialect);
        let daemon = &*shared.daemon;
        traffic(&mut out, daemon);
        decisions(&mut out, daemon);
        groups(&mut out, daemon);
        providers(&mut out, daemon);
        dials(&mut out, daemon);
        dns(&mut out, daemon);
        process(&mut out, &shared);
        out.finish()
    });
    ([(header::CONTENT_TYPE, dialect.content_type())], written.await.unwrap_or_default()).into_response()
}

fn traffic(out: &mut Exposition, daemon: &dyn Daemon) {
    let table = daemon.engine().table();
    let (open, total) = (table.len(), table.traffic());
    out.family("adit_connections_active", Kind::Gauge, "Open connections and UDP flows.").sample(&[], open);
    out.family("adit_connections_total", Kind::Counter, "Connections and UDP flows so far.")
        .sample(&[], table.entered());
    out.family("adit_bytes_total", Kind::Counter, "Bytes carried, by outbound and direction.");
    let by_outbound = table.traffic_by_outbound().into_iter();
    let mut by_outbound: Vec<(String, Traffic)> = by_outbound
        .map(|(name, traffic)| (name.map_or_else(|| "none".to_owned(), |name| name.to_string()), traffic))
        .collect();
    by_outbound.sort_unstable_by(|(a, x), (b, y)| (y.up + y.down).cmp(&(x.up + x.down)).then(a.cmp(b)));
    let mut rest = Traffic::default();
    for (number, (name, traffic)) in by_outbound.iter().enumerate() {
        if number < SERIES / 2 {
            directions(out, name, *traffic);
        } else {
            rest.up = rest.up.saturating_add(traffic.up);
            rest.down = rest.down.saturating_add(traffic.down);
        }
    }
    if rest != Traffic::default() {
        directions(out, OTHER, rest);
    }
    for (name, bytes, help) in [
        ("xray_traffic_uplink_bytes_total", total.up, "Bytes from clients."),
        ("xray_traffic_downlink_bytes_total", total.down, "Bytes to clients."),
    ] {
        out.family(name, Kind::Counter, help).sample(&[], bytes);
    }
    out.family("xray_connections_active", Kind::Gauge, "Open connections and UDP flows.").sample(&[], open);
}

fn directions(out: &mut Exposition, outbound: &str, traffic: Traffic) {
    out.sample(&[("outbound", outbound), ("direction", "up")], traffic.up);
    out.sample(&[("outbound", outbound), ("direction", "down")], traffic.down);
}

/// Rules are numbered: the first ones one by one, because what is looked for there changes least.
fn decisions(out: &mut Exposition, daemon: &dyn Daemon) {
    let world = daemon.engine().world();
    let stats = world.rules.stats();
    out.family("adit_rules", Kind::Gauge, "Rules of the main list.").sample(&[], stats.len());
    out.family("adit_rule_hits_total", Kind::Counter, "How often a rule matched, by place, type and payload.");
    let mut rest = 0_u64;
    for (index, (rule, stats)) in world.rules.iter().zip(&stats).enumerate() {
        // Hosts and addresses of a configuration are its owner's business; which rule it was, its place says.
        let payload = match rule.kind.to_string().as_str() {
            "RuleSet" | "GeoSite" | "GeoIP" | "Network" => &*rule.payload,
            _ => "",
        };
        if index < SERIES {
            let labels = [
                ("rule", &*index.to_string()),
                ("type", &*rule.kind.to_string()),
                ("payload", payload),
                ("target", &*rule.target),
            ];
            out.sample(&labels, stats.hits);
        } else {
            rest = rest.saturating_add(stats.hits);
        }
    }
    if stats.len() > SERIES {
        out.sample(&[("rule", OTHER), ("type", ""), ("payload", ""), ("target", "")], rest);
    }
}

fn groups(out: &mut Exposition, daemon: &dyn Daemon) {
    let world = daemon.engine().world();
    let groups = world.book.names().filter_map(|name| world.book.report(name)).filter_map(|report| {
        let group = report.group?;
        (&*report.name != "GLOBAL").then_some((report.name, group))
    });
    let groups: Vec<_> = groups.collect();
    let members = groups.iter().flat_map(|(name, group)| group.all.iter().map(move |member| (name, group, member)));
    let members: Vec<_> = members.take(SERIES).collect();
    out.family("adit_group_member_up", Kind::Gauge, "Whether a member of a group can be used, as far as is known.");
    for (group, _, member) in &members {
        let is_up = world.book.report(member).is_some_and(|report| report.health.alive);
        out.sample(&[("group", group), ("member", member)], u8::from(is_up));
    }
    out.family("adit_group_member_delay_seconds", Kind::Gauge, "The last delay of a member; absent if it failed.");
    for (group, _, member) in &members {
        let last = world.book.report(member).and_then(|report| report.health.history.last().copied());
        if let Some(last) = last.filter(|last| last.delay != 0) {
            out.sample(&[("group", group), ("member", member)], f64::from(last.delay) / 1000.0);
        }
    }
    out.family("adit_group_selected", Kind::Gauge, "1 for the member that a group uses now.");
    for (name, group) in groups.iter().take(SERIES) {
        if let Some(now) = &group.now {
            out.sample(&[("group", name), ("member", now)], 1);
        }
    }
}

fn providers(out: &mut Exposition, daemon: &dyn Daemon) {
    let proxies = daemon.proxy_providers().into_iter().map(|one| ("proxies", one.name, one.updated));
    let rules = daemon.rule_providers().into_iter().map(|one| ("rules", one.name, one.updated));
    let now = SystemTime::now();
    out.family("adit_provider_age_seconds", Kind::Gauge, "Since a provider's list came; absent if it never did.");
    for (kind, name, updated) in proxies.chain(rules).take(SERIES) {
        if let Some(age) = updated.and_then(|at| now.duration_since(at).ok()) {
            out.sample(&[("kind", kind), ("provider", &name)], age.as_secs());
        }
    }
}

fn dials(out: &mut Exposition, daemon: &dyn Daemon) {
    let dials = daemon.engine().table().dials();
    out.family("adit_dial_errors_total", Kind::Counter, "Connections that no outbound was reached for, by class.");
    for (class, count) in dials.failures() {
        out.sample(&[("class", class)], count);
    }
    out.family("adit_dial_seconds", Kind::Histogram, "How long dials took, handshakes included, by type of outbound.");
    for (kind, durations) in dials.durations() {
        let mut below = 0;
        for (bound, count) in BOUNDS.iter().zip(durations.buckets) {
            below += count;
            out.sample_of("_bucket", &[("type", kind), ("le", &bound.as_secs_f64().to_string())], below);
        }
        out.sample_of("_bucket", &[("type", kind), ("le", "+Inf")], durations.count);
        out.sample_of("_sum", &[("type", kind)], durations.sum.as_secs_f64());
        out.sample_of("_count", &[("type", kind)], durations.count);
    }
}

fn dns(out: &mut Exposition, daemon: &dyn Daemon) {
    let world = daemon.engine().world();
    out.family("adit_dns_questions_total", Kind::Counter, "Questions of clients, by how they were answered.");
    for (answer, count) in world.dns.iter().flat_map(|dns| dns.counts()) {
        out.sample(&[("answer", answer)], count);
    }
}

fn process(out: &mut Exposition, shared: &Shared) {
    let usage = Usage::read();
    let uptime = usage.uptime;
    let began = SystemTime::now().checked_sub(uptime).and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    out.family("adit_build_info", Kind::Gauge, "What runs.").sample(&[("version", shared.daemon.version())], 1);
    for (name, help, value) in [
        ("process_resident_memory_bytes", "Resident memory.", usage.resident),
        ("process_virtual_memory_bytes", "Address space.", usage.virtual_memory),
        ("process_open_fds", "Open descriptors.", usage.descriptors),
        ("process_max_fds", "The most descriptors that may be open.", usage.descriptors_max),
        ("process_threads", "Threads.", usage.threads),
        ("process_start_time_seconds", "When it began, since 1970.", began.map_or(0, |began| began.as_secs())),
    ] {
        out.family(name, Kind::Gauge, help).sample(&[], value);
    }
    out.family("process_cpu_seconds_total", Kind::Counter, "Processor time, user and system.")
        .sample(&[], usage.cpu.as_secs_f64());
    out.family("xray_up", Kind::Gauge, "Always 1.").sample(&[], 1);
    out.family("xray_uptime_seconds", Kind::Gauge, "Since the start.").sample(&[], uptime.as_secs());
}
