//! Delay tests of group members: who is due, and the tests themselves. Spec: mihomo-surface §6.2.
//!
//! One schedule for all groups: a proxy that is in several groups with one URL is tested once, at most ten tests run at a
//! time, and a proxy that a dial has missed is tested at once and then with growing pauses until it is back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use adit_net::Tag;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::book::{Book, Checked};
use crate::options::TestUrl;
use crate::probe::{Test, TestError};

/// Tests at once.
const AT_ONCE: usize = 10;
/// The first pause before a missed proxy is tested again; doubled each time.
const RETRY: Duration = Duration::from_secs(1);
/// The longest.
const RETRY_MOST: Duration = Duration::from_secs(64);
/// How long nothing is looked at when nothing is due.
const LONGEST: Duration = Duration::from_secs(3600);

/// What is known between two looks at the schedule.
#[derive(Debug, Default)]
struct Schedule {
    /// When a group was last tested, and how many connections it had been asked for then.
    groups: HashMap<Tag, (Instant, u64)>,
    /// When a missed proxy is to be tested again, and the pause after that.
    missed: HashMap<Tag, (Instant, Duration)>,
}

/// A test that is due: a proxy or group, and how.
#[derive(Debug)]
struct Due {
    name: Tag,
    check: crate::options::Check,
}

impl Schedule {
    /// What is due at `now`, each pair of name and URL once; and when to look again.
    fn due(&mut self, book: &Book, now: Instant) -> (Vec<Due>, Instant) {
        let mut due: Vec<Due> = Vec::new();
        let mut seen: HashSet<(Tag, String)> = HashSet::new();
        let mut next = now + LONGEST;
        let groups: Vec<Checked<'_>> = book.checked().collect();
        self.groups.retain(|name, _| groups.iter().any(|group| group.name == name));
        self.missed.retain(|name, _| book.is_suspected(name));
        for group in &groups {
            let whole = self.group_is_due(group, now);
            if let Some(interval) = group.check.interval {
                let last = self.groups.get(group.name).map_or(now, |(at, _)| *at);
                next = next.min(last + interval);
            }
            for member in group.members {
                // Nobody's traffic is sent for a group that somebody chooses in.
                let again = group.chooses && book.is_suspected(member) && self.missed_is_due(member, now, &mut next);
                if (whole || again) && seen.insert((member.clone(), group.check.url.as_str().to_owned())) {
                    due.push(Due { name: member.clone(), check: group.check.clone() });
                }
            }
        }
        (due, next)
    }

    /// Whether all of a group is to be tested: the first time it is seen, then every interval in which somebody used it.
    fn group_is_due(&mut self, group: &Checked<'_>, now: Instant) -> bool {
        let Some(interval) = group.check.interval else { return false };
        match self.groups.get_mut(group.name) {
            None => {
                self.groups.insert(group.name.clone(), (now, group.uses));
                true
            }
            Some((last, uses)) => {
                if now.saturating_duration_since(*last) < interval {
                    return false;
                }
                let is_used = *uses != group.uses || !group.check.lazy;
                (*last, *uses) = (now, group.uses);
                is_used
            }
        }
    }

    /// Whether a proxy that was missed is to be tested again.
    fn missed_is_due(&mut self, name: &Tag, now: Instant, next: &mut Instant) -> bool {
        let (at, pause) = self.missed.entry(name.clone()).or_insert((now, RETRY));
        let is_due = *at <= now;
        if is_due {
            *at = now + *pause;
            *pause = (*pause * 2).min(RETRY_MOST);
        }
        *next = (*next).min(*at);
        is_due
    }
}

/// Tests what is due, for as long as the caller holds a book of this lineage. Never returns before; cancel-safe.
///
/// `unified` is `unified-delay`.
pub async fn keep_testing(book: impl Fn() -> Arc<Book>, unified: impl Fn() -> bool) {
    let alarm = book().alarm();
    let mut schedule = Schedule::default();
    let mut running: JoinSet<()> = JoinSet::new();
    loop {
        let current = book();
        let (due, next) = schedule.due(&current, Instant::now());
        for due in due {
            while running.len() >= AT_ONCE {
                let _ = running.join_next().await;
            }
            let (current, unified) = (Arc::clone(&current), unified());
            running.spawn(async move {
                let Due { name, check } = due;
                let test = Test { url: &check.url, expected: &check.expected, timeout: check.timeout, unified };
                if let Err(error) = current.test(&name, test).await {
                    tracing::debug!(proxy = %name, url = check.url.as_str(), %error, "a delay test failed");
                }
            });
        }
        drop(current);
        tokio::select! {
            () = sleep_until(next) => {}
            () = alarm.notified() => {}
            // Its outcome may make something else due.
            Some(_) = running.join_next(), if !running.is_empty() => {}
        }
    }
}

impl Book {
    /// Measures the delay of `name` now, notes it, and returns it in milliseconds, also if the status was not the expected
    /// one.
    ///
    /// # Errors
    /// See [`TestError`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the test and notes nothing.
    pub async fn test(&self, name: &str, test: Test<'_>) -> Result<u16, TestError> {
        let way = self.find(name).ok_or(TestError::NotFound)?;
        let outcome = test.run(&*way.dialer).await;
        let tested = test.judge(&outcome);
        self.note(name, test.url.shared(), tested, SystemTime::now());
        outcome.map(|(_, took)| crate::probe::milliseconds(took))
    }

    /// Measures the delay of all members of a group, at most ten at a time. A pin of a group that chooses by itself is
    /// taken away first, and a `url-test` group uses its own URL, as Mihomo has it. Members that failed are left out.
    ///
    /// # Errors
    /// `NotFound` if there is no such group.
    pub async fn test_group(self: &Arc<Self>, name: &str, test: Test<'_>) -> Result<Vec<(Tag, u16)>, TestError> {
        let group = self.checked().find(|group| &**group.name == name).ok_or(TestError::NotFound)?;
        let url: TestUrl = if group.owns_url { group.check.url.clone() } else { test.url.clone() };
        let members: Vec<Tag> = group.members.to_vec();
        let _ = self.unpin(name);
        let mut delays = vec![None; members.len()];
        let mut running = JoinSet::new();
        for (place, member) in members.iter().cloned().enumerate() {
            while running.len() >= AT_ONCE {
                take(&mut running, &mut delays).await;
            }
            let (book, url, expected) = (Arc::clone(self), url.clone(), test.expected.to_vec());
            let (timeout, unified) = (test.timeout, test.unified);
            running.spawn(async move {
                let test = Test { url: &url, expected: &expected, timeout, unified };
                (place, book.test(&member, test).await.ok())
            });
        }
        while !running.is_empty() {
            take(&mut running, &mut delays).await;
        }
        self.reconsider(name);
        Ok(members.into_iter().zip(delays).filter_map(|(member, delay)| Some((member, delay?))).collect())
    }
}

async fn take(running: &mut JoinSet<(usize, Option<u16>)>, delays: &mut [Option<u16>]) {
    if let Some(Ok((place, delay))) = running.join_next().await
        && let Some(slot) = delays.get_mut(place)
    {
        *slot = delay;
    }
}
