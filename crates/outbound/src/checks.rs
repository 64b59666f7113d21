//! Delay tests of group members: who is due, and the tests themselves. Spec: mihomo-surface §6.2.
//!
//! One schedule for all groups and providers: a proxy that several of them test with one URL is tested once, at most ten tests
//! run at a time, and a proxy that a dial has missed is tested at once and then with growing pauses until it is back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use adit_net::Tag;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::book::{Book, Checked, Whose};
use crate::options::{Check, TestUrl};
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
    /// When all of a group or provider was last tested, and how many connections it had been asked for then.
    rounds: HashMap<Whose, (Instant, u64)>,
    /// When a missed proxy is to be tested again, and the pause after that.
    missed: HashMap<Tag, (Instant, Duration)>,
    /// What is being tested.
    running: HashSet<Pair>,
}

/// A name, and the URL that it is tested with.
type Pair = (Tag, String);

/// `health-check` of a proxy provider, if it is switched on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderCheck {
    /// The provider.
    pub name: Tag,
    /// How its members are tested.
    pub check: Check,
}

/// A test that is due: a proxy or group, and how.
#[derive(Debug)]
struct Due {
    name: Tag,
    check: Check,
}

impl Schedule {
    /// What is due at `now`, each pair of name and URL once; and when to look again.
    fn due(&mut self, book: &Book, providers: &[ProviderCheck], now: Instant) -> (Vec<Due>, Instant) {
        let mut due: Vec<Due> = Vec::new();
        let mut next = now + LONGEST;
        let of_providers = providers.iter().map(|provider| book.checked_of(provider));
        let all: Vec<Checked<'_>> = book.checked().chain(of_providers).collect();
        self.rounds.retain(|whose, _| all.iter().any(|one| one.whose == *whose));
        self.missed.retain(|name, _| book.is_suspected(name));
        for one in &all {
            let whole = self.round_is_due(one, now);
            if let Some(interval) = one.check.interval {
                let last = self.rounds.get(&one.whose).map_or(now, |(at, _)| *at);
                next = next.min(last + interval);
            }
            for member in one.members.iter() {
                // Nobody's traffic is sent for a group that somebody chooses in.
                let again = one.chooses && book.is_suspected(member) && self.missed_is_due(member, now, &mut next);
                // A provider may bring one in between.
                let new = one.check.interval.is_some() && !book.is_tested(member, one.check.url.as_str());
                let pair = || (member.clone(), one.check.url.as_str().to_owned());
                if (whole || again || new) && self.running.insert(pair()) {
                    due.push(Due { name: member.clone(), check: one.check.clone() });
                }
            }
        }
        (due, next)
    }

    /// A test has ended; one that did not end by itself leaves nothing behind, and no other is running then.
    fn ended(&mut self, ended: Option<Result<Pair, JoinError>>) {
        match ended {
            Some(Ok(pair)) => drop(self.running.remove(&pair)),
            Some(Err(_)) => self.running.clear(),
            None => {}
        }
    }

    /// Whether all of a group or provider is to be tested: the first time that it is seen with members, then every interval
    /// in which somebody used it.
    fn round_is_due(&mut self, one: &Checked<'_>, now: Instant) -> bool {
        let Some(interval) = one.check.interval.filter(|_| !one.members.is_empty()) else { return false };
        match self.rounds.get_mut(&one.whose) {
            None => {
                self.rounds.insert(one.whose.clone(), (now, one.uses));
                true
            }
            Some((last, uses)) => {
                if now.saturating_duration_since(*last) < interval {
                    return false;
                }
                let is_used = *uses != one.uses || !one.check.lazy;
                (*last, *uses) = (now, one.uses);
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

/// Tests what is due in the book in use, which came of `book` or is it, until nobody holds one any more. Cancel-safe.
///
/// `providers` says which members of providers are tested whether or not a group asks; `unified` is `unified-delay`.
pub async fn keep_testing(book: Arc<Book>, providers: impl Fn() -> Vec<ProviderCheck>, unified: impl Fn() -> bool) {
    let lineage = Arc::clone(book.lineage());
    drop(book);
    let mut schedule = Schedule::default();
    let mut running: JoinSet<Pair> = JoinSet::new();
    while let Some(current) = lineage.book() {
        let (due, next) = schedule.due(&current, &providers(), Instant::now());
        for due in due {
            while running.len() >= AT_ONCE {
                schedule.ended(running.join_next().await);
            }
            running.spawn(due.test(Arc::clone(&current), unified()));
        }
        drop(current);
        tokio::select! {
            () = sleep_until(next) => {}
            () = lineage.alarm.notified() => {}
            // Its outcome may make something else due.
            Some(ended) = running.join_next(), if !running.is_empty() => schedule.ended(Some(ended)),
        }
    }
}

impl Due {
    async fn test(self, book: Arc<Book>, unified: bool) -> Pair {
        let Self { name, check } = self;
        let test = Test { url: &check.url, expected: &check.expected, timeout: check.timeout, unified };
        if let Err(error) = book.test(&name, test).await {
            tracing::debug!(proxy = %name, %error, "a delay test failed");
        }
        (name, check.url.as_str().to_owned())
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
        let group = self.checked().find(|group| group.whose.is_group(name)).ok_or(TestError::NotFound)?;
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
