//! Traffic, memory and the log, as they happen. Spec: mihomo-surface §9.2.

use std::time::Duration;

use adit_engine::Traffic;
use adit_net::BoxFuture;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, interval_at};

use super::query;
use crate::daemon::LogLevel;
use crate::json::{self, Refusal, Text};
use crate::logs::{Listening, LogEvent};
use crate::process;
use crate::server::Shared;
use crate::stream::Source;
use crate::time::Civil;

const SECOND: Duration = Duration::from_secs(1);

/// What the last second carried, and what was carried in all.
struct Speeds {
    shared: Shared,
    ticks: Interval,
    before: Traffic,
}

impl Source for Speeds {
    fn next(&mut self) -> BoxFuture<'_, Option<String>> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Line {
            up: u64,
            down: u64,
            up_total: u64,
            down_total: u64,
        }
        Box::pin(async {
            self.ticks.tick().await;
            let now = self.shared.daemon.engine().table().traffic();
            let before = std::mem::replace(&mut self.before, now);
            Some(json::text(&Line {
                up: now.up.saturating_sub(before.up),
                down: now.down.saturating_sub(before.down),
                up_total: now.up,
                down_total: now.down,
            }))
        })
    }
}

/// `GET /traffic`.
pub(super) async fn traffic(State(shared): State<Shared>, request: Request) -> Response {
    let mut ticks = interval_at(Instant::now() + SECOND, SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let before = shared.daemon.engine().table().traffic();
    shared.streams.answer(request, Speeds { shared: shared.clone(), ticks, before }).await
}

/// What this process takes. Dashboards expect the first number to be 0.
struct Memory {
    ticks: Interval,
    is_first: bool,
}

impl Source for Memory {
    fn next(&mut self) -> BoxFuture<'_, Option<String>> {
        #[derive(Serialize)]
        struct Line {
            inuse: u64,
            oslimit: u64,
        }
        Box::pin(async {
            self.ticks.tick().await;
            let inuse = if std::mem::take(&mut self.is_first) { 0 } else { process::resident() };
            Some(json::text(&Line { inuse, oslimit: 0 }))
        })
    }
}

/// `GET /memory`.
pub(super) async fn memory(State(shared): State<Shared>, request: Request) -> Response {
    let mut ticks = interval(SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    shared.streams.answer(request, Memory { ticks, is_first: true }).await
}

struct Log {
    listening: Listening,
    is_structured: bool,
}

impl Source for Log {
    fn next(&mut self) -> BoxFuture<'_, Option<String>> {
        Box::pin(async {
            let event = self.listening.next().await?;
            Some(if self.is_structured { structured(&event) } else { plain(&event) })
        })
    }
}

fn plain(event: &LogEvent) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        r#type: &'static str,
        payload: &'a str,
    }
    json::text(&Line { r#type: event.level.name(), payload: &event.message })
}

fn structured(event: &LogEvent) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        time: Text<String>,
        level: &'static str,
        message: &'a str,
        fields: [(); 0],
    }
    let Civil { hour, minute, second, .. } = Civil::of(event.at);
    let level = if event.level == LogLevel::Warning { "warn" } else { event.level.name() };
    let time = Text(format!("{hour:02}:{minute:02}:{second:02}"));
    json::text(&Line { time, level, message: &event.message, fields: [] })
}

/// `GET /logs`.
pub(super) async fn logs(State(shared): State<Shared>, request: Request) -> Response {
    let level = query(request.uri(), "level").filter(|level| !level.is_empty());
    let Some(level) = level.as_deref().map_or(Some(LogLevel::Info), LogLevel::parse) else {
        return Refusal::bad_body().into_response();
    };
    let is_structured = query(request.uri(), "format").is_some_and(|format| format == "structured");
    let listening = shared.daemon.logs().listen(level);
    shared.streams.answer(request, Log { listening, is_structured }).await
}
