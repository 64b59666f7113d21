//! What tests and dials have shown of one proxy or group. Spec: mihomo-surface §6.2.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Measurements that are remembered, for each URL and for all together.
const REMEMBERED: usize = 10;

/// URLs that are told apart; of more, the one that was tested longest ago is forgotten.
const URLS: usize = 16;

/// One delay test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// When it ended.
    pub at: SystemTime,
    /// Milliseconds; 0 if it failed, which is how dashboards know.
    pub delay: u16,
}

/// What a group needs to know of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    /// Whether it can be used, as far as is known. What was never tested can.
    pub(crate) alive: bool,
    /// The last delay in milliseconds; none if it failed or was never tested.
    pub(crate) delay: Option<u16>,
}

/// What is known, as the API shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthReport {
    /// Whether the last test of any URL succeeded, and no dial has failed since.
    pub alive: bool,
    /// The last tests of any URL, oldest first.
    pub history: Vec<Measurement>,
    /// The same by URL.
    pub by_url: Vec<UrlReport>,
}

/// What is known of one test URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlReport {
    /// The URL.
    pub url: Arc<str>,
    /// Whether the last test got the status that was expected.
    pub alive: bool,
    /// The last tests, oldest first.
    pub history: Vec<Measurement>,
}

/// The record of one proxy or group. It outlives a reload.
#[derive(Debug)]
pub(crate) struct Health {
    state: Mutex<State>,
    /// Told when a dial shows that something is wrong.
    alarm: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    alive: bool,
    /// A dial failed since the last success of any kind.
    suspected: bool,
    history: VecDeque<Measurement>,
    /// The last tested one last.
    by_url: Vec<ByUrl>,
}

#[derive(Debug)]
struct ByUrl {
    url: Arc<str>,
    alive: bool,
    history: VecDeque<Measurement>,
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tested {
    /// With an answer of the expected status, after so many milliseconds.
    Passed(u16),
    /// With an answer of another status.
    Unexpected(u16),
    /// Without an answer.
    Failed,
}

impl Health {
    pub(crate) fn new(alarm: Arc<Notify>) -> Self {
        let state = State { alive: true, suspected: false, history: VecDeque::new(), by_url: Vec::new() };
        Self { state: Mutex::new(state), alarm }
    }

    /// Notes a test of `url`. An answer with the wrong status shows that the proxy works, and that it does not for this URL.
    pub(crate) fn tested(&self, url: &Arc<str>, outcome: Tested, at: SystemTime) {
        let mut state = self.state.lock();
        let (global, own) = match outcome {
            Tested::Passed(delay) => (delay, delay),
            Tested::Unexpected(delay) => (delay, 0),
            Tested::Failed => (0, 0),
        };
        state.alive = outcome != Tested::Failed;
        state.suspected &= outcome == Tested::Failed;
        remember(&mut state.history, Measurement { at, delay: global });
        let mut by_url = match state.by_url.iter().position(|one| one.url == *url) {
            Some(place) => state.by_url.remove(place),
            None => ByUrl { url: Arc::clone(url), alive: true, history: VecDeque::new() },
        };
        by_url.alive = matches!(outcome, Tested::Passed(_));
        remember(&mut by_url.history, Measurement { at, delay: own });
        if state.by_url.len() == URLS {
            state.by_url.remove(0);
        }
        state.by_url.push(by_url);
    }

    /// A dial reached the server.
    pub(crate) fn reached(&self) {
        let mut state = self.state.lock();
        state.suspected = false;
    }

    /// A dial did not reach the server: it counts as dead until something shows otherwise, and is to be tested.
    pub(crate) fn missed(&self) {
        let was_suspected = std::mem::replace(&mut self.state.lock().suspected, true);
        if !was_suspected {
            self.alarm.notify_one();
        }
    }

    /// Whether a dial has failed since the last success.
    pub(crate) fn is_suspected(&self) -> bool {
        self.state.lock().suspected
    }

    /// Whether `url` was asked for through it, as far as is remembered.
    pub(crate) fn is_tested(&self, url: &str) -> bool {
        self.state.lock().by_url.iter().any(|one| &*one.url == url)
    }

    /// As a group that tests `url` sees it.
    pub(crate) fn condition(&self, url: &str) -> Condition {
        let state = self.state.lock();
        let own = state.by_url.iter().find(|one| &*one.url == url);
        let alive = own.map_or(state.alive, |own| own.alive) && !state.suspected;
        let last = own.and_then(|own| own.history.back()).map(|last| last.delay);
        Condition { alive, delay: last.filter(|delay| alive && *delay != 0) }
    }

    pub(crate) fn report(&self) -> HealthReport {
        let state = self.state.lock();
        let by_url = state.by_url.iter().map(|one| UrlReport {
            url: Arc::clone(&one.url),
            alive: one.alive,
            history: one.history.iter().copied().collect(),
        });
        HealthReport {
            alive: state.alive && !state.suspected,
            history: state.history.iter().copied().collect(),
            by_url: by_url.collect(),
        }
    }
}

fn remember(history: &mut VecDeque<Measurement>, measurement: Measurement) {
    if history.len() == REMEMBERED {
        history.pop_front();
    }
    history.push_back(measurement);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> Health {
        Health::new(Arc::default())
    }

    #[test]
    fn what_was_never_tested_is_alive_and_has_no_delay() {
        assert_eq!(health().condition("http://a/"), Condition { alive: true, delay: None });
    }

    #[test]
    fn a_wrong_status_is_bad_for_its_url_only() {
        let (health, url, now) = (health(), Arc::from("http://a/"), SystemTime::UNIX_EPOCH);
        health.tested(&url, Tested::Unexpected(7), now);
        assert_eq!(health.condition(&url), Condition { alive: false, delay: None });
        assert_eq!(health.condition("http://b/"), Condition { alive: true, delay: None });
        let report = health.report();
        assert_eq!((report.alive, report.history[0].delay), (true, 7));
        assert_eq!((report.by_url[0].alive, report.by_url[0].history[0].delay), (false, 0));
    }

    #[test]
    fn a_failed_dial_counts_until_something_succeeds() {
        let (health, url, now) = (health(), Arc::from("http://a/"), SystemTime::UNIX_EPOCH);
        health.tested(&url, Tested::Passed(20), now);
        assert_eq!(health.condition(&url), Condition { alive: true, delay: Some(20) });
        health.missed();
        assert_eq!(health.condition(&url), Condition { alive: false, delay: None });
        health.reached();
        assert_eq!(health.condition(&url), Condition { alive: true, delay: Some(20) });
        health.missed();
        health.tested(&url, Tested::Failed, now);
        assert!(health.is_suspected() && !health.report().alive);
        health.tested(&url, Tested::Passed(30), now);
        assert!(!health.is_suspected() && health.report().alive);
    }

    #[test]
    fn memory_is_bounded() {
        let health = health();
        for n in 0..100 {
            health.tested(&Arc::from(format!("http://{}/", n % 20)), Tested::Passed(n), SystemTime::UNIX_EPOCH);
        }
        let report = health.report();
        assert_eq!((report.history.len(), report.by_url.len()), (10, 16));
        assert_eq!(report.history[9].delay, 99);
        assert!(report.by_url.iter().all(|one| one.history.len() <= 10));
    }
}
