//! Delay tests. Spec: mihomo-surface §6.2, §9.3.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use adit_net::Tag;
use adit_outbound::options::{Check, TEST_URL, TestUrl};
use adit_outbound::{Book, Test, TestError};
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use serde::Serialize;
use tokio::task::JoinSet;

use super::{providers, query};
use crate::json::{Json, Refusal};
use crate::server::Shared;

/// Tests at once.
const AT_ONCE: usize = 10;
const FAILED: &str = "An error occurred in the delay test";

/// What a query asks for.
struct Wish {
    url: TestUrl,
    expected: Vec<RangeInclusive<u16>>,
    timeout: Duration,
}

#[derive(Serialize)]
pub(super) struct Delay {
    delay: u16,
}

impl Wish {
    /// `most` is the largest timeout, in milliseconds, whose bit width upstream parses.
    fn read(uri: &Uri, most: i64) -> Result<Self, Refusal> {
        let timeout: i64 = query(uri, "timeout").and_then(|text| text.parse().ok()).ok_or_else(Refusal::bad_body)?;
        if !(-most - 1..=most).contains(&timeout) {
            return Err(Refusal::bad_body());
        }
        let url = query(uri, "url").filter(|url| !url.is_empty()).unwrap_or_else(|| TEST_URL.to_owned());
        Ok(Self {
            url: TestUrl::parse(&url).map_err(|_| Refusal::unavailable(FAILED))?,
            expected: statuses(&query(uri, "expected").unwrap_or_default()).ok_or_else(Refusal::bad_body)?,
            timeout: Duration::from_millis(u64::try_from(timeout).unwrap_or(0)),
        })
    }

    fn test(&self, unified: bool) -> Test<'_> {
        Test { url: &self.url, expected: &self.expected, timeout: self.timeout, unified }
    }
}

/// Such as `200/204-299`; an empty text or `*` is any.
fn statuses(text: &str) -> Option<Vec<RangeInclusive<u16>>> {
    if matches!(text.trim(), "" | "*") {
        return Some(Vec::new());
    }
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (u16, u16) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        Some(from.min(to)..=from.max(to))
    };
    text.split(['/', ',']).map(range).collect()
}

async fn measure(shared: &Shared, name: &str, wish: &Wish) -> Result<Json<Delay>, Refusal> {
    let book = Arc::clone(&shared.daemon.engine().world().book);
    match book.test(name, wish.test(shared.daemon.unified_delay())).await {
        Ok(delay) => Ok(Json(Delay { delay })),
        Err(TestError::NotFound) => Err(Refusal::not_found()),
        Err(TestError::Timeout) => Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, "Timeout")),
        Err(error) => {
            tracing::debug!(proxy = name, %error, "a delay test failed");
            Err(Refusal::unavailable(FAILED))
        }
    }
}

/// `GET /proxies/{name}/delay`.
pub(super) async fn of_proxy(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Json<Delay>, Refusal> {
    if shared.daemon.engine().world().book.find(&name).is_none() {
        return Err(Refusal::not_found());
    }
    measure(&shared, &name, &Wish::read(&uri, i16::MAX.into())?).await
}

/// `GET /group/{name}/delay`. Takes away what was chosen by hand in groups that choose by themselves.
pub(super) async fn of_group(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Json<BTreeMap<String, u16>>, Refusal> {
    let book = Arc::clone(&shared.daemon.engine().world().book);
    if book.report(&name).is_none_or(|report| report.group.is_none()) {
        return Err(Refusal::not_found());
    }
    let wish = Wish::read(&uri, i32::MAX.into())?;
    let tested = book.test_group(&name, wish.test(shared.daemon.unified_delay())).await;
    let delays = tested.map_err(|_| Refusal::not_found())?.into_iter();
    let delays: BTreeMap<String, u16> = delays.map(|(member, delay)| (member.to_string(), delay)).collect();
    shared.daemon.chosen();
    if delays.is_empty() {
        return Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, "get delay: all proxies timeout"));
    }
    Ok(Json(delays))
}

/// `GET /providers/proxies/{provider}/{name}/healthcheck`.
pub(super) async fn of_member(
    State(shared): State<Shared>,
    Path((provider, name)): Path<(String, String)>,
    uri: Uri,
) -> Result<Json<Delay>, Refusal> {
    if !providers::is_member(&shared, &provider, &name) {
        return Err(Refusal::not_found());
    }
    measure(&shared, &name, &Wish::read(&uri, i16::MAX.into())?).await
}

/// `GET /providers/proxies/{provider}/healthcheck`: answers once every member was tested.
pub(super) async fn of_provider(
    State(shared): State<Shared>,
    Path(provider): Path<String>,
) -> Result<StatusCode, Refusal> {
    let (check, members) = providers::check_of(&shared, &provider).ok_or_else(Refusal::not_found)?;
    let (check, unified) = (Arc::new(check), shared.daemon.unified_delay());
    let mut running = JoinSet::new();
    for member in members {
        if running.len() >= AT_ONCE {
            running.join_next().await;
        }
        let book = Arc::clone(&shared.daemon.engine().world().book);
        running.spawn(note(book, member, Arc::clone(&check), unified));
    }
    while running.join_next().await.is_some() {}
    Ok(StatusCode::NO_CONTENT)
}

async fn note(book: Arc<Book>, member: Tag, check: Arc<Check>, unified: bool) {
    let test = Test { url: &check.url, expected: &check.expected, timeout: check.timeout, unified };
    if let Err(error) = book.test(&member, test).await {
        tracing::debug!(proxy = %member, %error, "a delay test failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_ranges() {
        assert_eq!(statuses("*"), Some(vec![]));
        assert_eq!(statuses("204/200-299"), Some(vec![204..=204, 200..=299]));
        assert_eq!(statuses("2xx"), None);
    }
}
