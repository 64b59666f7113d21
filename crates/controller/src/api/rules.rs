//! Rules, how often they matched, and which are switched off. Spec: mihomo-surface §9.7.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use adit_net::Tag;
use adit_router::{RuleInfo, RuleStats};
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::json::{FromJson, Json, Refusal, Text};
use crate::server::Shared;
use crate::time::Rfc3339;

#[derive(Serialize)]
pub(super) struct Rules {
    rules: Vec<RuleView>,
}

/// A rule, as dashboards see it. Without a `uuid`: one of them would take us for sing-box (mihomo-surface §9.9).
#[derive(Serialize)]
struct RuleView {
    index: usize,
    r#type: String,
    payload: String,
    proxy: Text<Tag>,
    /// Entries of a GEOSITE list; nobody counts them here.
    size: i64,
    extra: Extra,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Extra {
    disabled: bool,
    hit_count: u64,
    hit_at: Text<Rfc3339>,
    miss_count: u64,
    miss_at: Text<Rfc3339>,
}

impl RuleView {
    fn new(index: usize, rule: &RuleInfo, stats: &RuleStats) -> Self {
        let at = |time: Option<SystemTime>| Text(Rfc3339(time.unwrap_or(UNIX_EPOCH)));
        Self {
            index,
            r#type: rule.kind.to_string(),
            payload: rule.payload.clone(),
            proxy: Text(rule.target.clone()),
            size: -1,
            extra: Extra {
                disabled: stats.disabled,
                hit_count: stats.hits,
                hit_at: at(stats.hit_at),
                miss_count: stats.misses,
                miss_at: at(stats.miss_at),
            },
        }
    }
}

/// `GET /rules`.
pub(super) async fn all(State(shared): State<Shared>) -> Json<Rules> {
    let world = shared.daemon.engine().world();
    let stats = world.rules.stats();
    let rules = world.rules.iter().zip(&stats).enumerate();
    Json(Rules { rules: rules.map(|(index, (rule, stats))| RuleView::new(index, rule, stats)).collect() })
}

/// `PATCH /rules/disable`. Until the next reload; rules that do not exist are ignored.
pub(super) async fn disable(
    State(shared): State<Shared>,
    FromJson(wanted): FromJson<HashMap<String, bool>>,
) -> Result<StatusCode, Refusal> {
    let wanted = wanted.into_iter().map(|(index, is_disabled)| Ok((index.parse::<usize>()?, is_disabled)));
    let wanted: Vec<_> = wanted.collect::<Result<_, std::num::ParseIntError>>().map_err(|_| Refusal::bad_body())?;
    let world = shared.daemon.engine().world();
    for (index, is_disabled) in wanted {
        if world.rules.set_disabled(index, is_disabled) {
            tracing::info!("rule {index} was switched {}", if is_disabled { "off" } else { "on" });
        }
    }
    Ok(StatusCode::NO_CONTENT)
}
