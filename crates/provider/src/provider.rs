//! Keeps content fresh: from disk at once, from its source in time. Spec: mihomo-surface §4.6.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use adit_net::{Dialer, Task};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::copy::{Copy, Meta};
use crate::fetch::Fetcher;
use crate::request::Request;
use crate::subscription::Subscription;

/// The first pause after a failure; doubled each time, up to the interval.
const RETRY: Duration = Duration::from_secs(10);
/// The longest pause where no interval is given.
const RETRY_MOST: Duration = Duration::from_secs(600);
/// How often a file is looked at for changes.
const LOOK: Duration = Duration::from_secs(2);

/// Takes content, or says what is wrong with it: then the last good content stays.
pub trait Apply: Fn(&[u8]) -> Result<(), String> + Send + Sync + 'static {}

impl<F: Fn(&[u8]) -> Result<(), String> + Send + Sync + 'static> Apply for F {}

/// Where content comes from.
#[derive(Clone)]
pub enum Source {
    /// A server.
    Http {
        /// What is asked for.
        request: Request,
        /// Who asks.
        fetcher: Fetcher,
        /// By which way.
        via: Arc<dyn Dialer>,
    },
    /// The copy on disk itself, which somebody else writes.
    File,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { request, .. } => f.debug_tuple("Http").field(request).finish(),
            Self::File => f.write_str("File"),
        }
    }
}

/// Content to be kept fresh.
#[derive(Debug)]
pub struct Provider {
    name: String,
    source: Source,
    copy: Copy,
    interval: Option<Duration>,
}

/// How it went so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// When the content was last known to be good; `None` if there never was any.
    pub updated: Option<SystemTime>,
    /// What went wrong the last time, if it did.
    pub error: Option<String>,
    /// What the server says of the customer's plan.
    pub subscription: Option<Subscription>,
}

/// A provider at work. Dropping it ends the work; the copy on disk stays.
#[derive(Debug)]
pub struct Running {
    status: Arc<Mutex<Status>>,
    wishes: mpsc::Sender<oneshot::Sender<Result<(), String>>>,
    _task: Task<()>,
}

impl Provider {
    /// Content of `source` under `name` (for the log), with its copy at `path`. No interval: asked for only when there is no
    /// copy, and when somebody wishes.
    #[must_use]
    pub fn new(name: &str, source: Source, path: PathBuf, interval: Option<Duration>) -> Self {
        Self { name: name.to_owned(), source, copy: Copy::at(path), interval }
    }

    /// Begins. The copy on disk, if it is good, has been taken before this returns: it reads a file.
    pub fn start(self, apply: impl Apply) -> Running {
        let status = Arc::new(Mutex::new(Status::default()));
        let (wishes, heard) = mpsc::channel(4);
        let mut worker = Worker {
            provider: self,
            apply: Box::new(apply),
            status: Arc::clone(&status),
            content: Bytes::new(),
            etag: None,
            failures: 0,
        };
        let age = worker.take_copy();
        let task = Task::spawn("provider", worker.run(heard, age));
        Running { status, wishes, _task: task }
    }
}

impl Running {
    /// How it went so far.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As [`Updater::update`].
    ///
    /// # Errors
    /// What went wrong; the last good content stays.
    pub async fn update(&self) -> Result<(), String> {
        self.updater().update().await
    }

    /// Somebody who can ask for updates and does not own the provider.
    #[must_use]
    pub fn updater(&self) -> Updater {
        Updater(self.wishes.clone())
    }
}

/// Asks a provider for updates. It does not keep the provider at work.
#[derive(Clone, Debug)]
pub struct Updater(mpsc::Sender<oneshot::Sender<Result<(), String>>>);

impl Updater {
    /// Asks the source now, and waits for the outcome.
    ///
    /// # Errors
    /// What went wrong; the last good content stays.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the update.
    pub async fn update(&self) -> Result<(), String> {
        let ended = || "the provider has ended".to_owned();
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }
}

type Taker = dyn Fn(&[u8]) -> Result<(), String> + Send + Sync;

struct Worker {
    provider: Provider,
    apply: Box<Taker>,
    status: Arc<Mutex<Status>>,
    content: Bytes,
    etag: Option<String>,
    failures: u32,
}

impl Worker {
    /// Takes what is on disk; returns how old it is, if it is good.
    fn take_copy(&mut self) -> Option<Duration> {
        let (content, modified) = match self.provider.copy.read() {
            Ok(read) => read,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound || matches!(self.provider.source, Source::File) {
                    self.fail(format!("cannot read {}: {error}", self.provider.copy.path().display()));
                }
                return None;
            }
        };
        if let Err(why) = (self.apply)(&content) {
            self.fail(format!("{}: {why}", self.provider.copy.path().display()));
            return None;
        }
        let meta = self.provider.copy.meta(&content);
        self.content = content.into();
        self.etag = meta.etag;
        self.succeed(modified, meta.subscription);
        Some(modified.elapsed().unwrap_or_default())
    }

    async fn run(mut self, mut wishes: mpsc::Receiver<oneshot::Sender<Result<(), String>>>, age: Option<Duration>) {
        let mut due = self.first(age);
        loop {
            let due_now = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let wish = tokio::select! {
                wish = wishes.recv() => match wish {
                    Some(wish) => Some(wish),
                    None => return,
                },
                () = due_now => None,
            };
            let outcome = self.update(wish.is_some()).await;
            due = self.next(&outcome);
            if let Some(wish) = wish {
                let _ = wish.send(outcome);
            }
        }
    }

    /// When to ask first: at once without a copy, or when that is as old as the interval.
    fn first(&self, age: Option<Duration>) -> Option<Instant> {
        let wait = match (&self.provider.source, age, self.provider.interval) {
            (Source::File, ..) => LOOK,
            (Source::Http { .. }, None, _) => Duration::ZERO,
            (Source::Http { .. }, Some(_), None) => return None,
            (Source::Http { .. }, Some(age), Some(interval)) => interval.saturating_sub(age),
        };
        Some(Instant::now() + wait)
    }

    fn next(&self, outcome: &Result<(), String>) -> Option<Instant> {
        let interval = self.provider.interval;
        let wait = match (&self.provider.source, outcome) {
            (Source::File, _) => LOOK,
            (Source::Http { .. }, Ok(())) => interval?,
            (Source::Http { .. }, Err(_)) => {
                let doubled = RETRY.saturating_mul(1 << self.failures.saturating_sub(1).min(16));
                doubled.min(interval.unwrap_or(RETRY_MOST).max(RETRY))
            }
        };
        Some(Instant::now() + wait)
    }

    async fn update(&mut self, wished: bool) -> Result<(), String> {
        let outcome = match self.provider.source.clone() {
            Source::File => self.look(wished),
            Source::Http { request, fetcher, via } => self.download(&request, &fetcher, &*via).await,
        };
        if let Err(why) = &outcome {
            self.failures = self.failures.saturating_add(1);
            self.fail(why.clone());
        }
        outcome
    }

    /// Takes the file if it was changed, or if somebody wishes.
    fn look(&mut self, wished: bool) -> Result<(), String> {
        let path = self.provider.copy.path().display();
        let (content, modified) = self.provider.copy.read().map_err(|error| format!("cannot read {path}: {error}"))?;
        let known = self.status.lock().unwrap_or_else(PoisonError::into_inner).updated == Some(modified);
        if known && !wished {
            return Ok(());
        }
        (self.apply)(&content).map_err(|why| format!("{path}: {why}"))?;
        self.content = content.into();
        self.succeed(modified, None);
        Ok(())
    }

    async fn download(&mut self, request: &Request, fetcher: &Fetcher, via: &dyn Dialer) -> Result<(), String> {
        let answer = fetcher.fetch(request, self.etag.as_deref(), via).await.map_err(|error| error.to_string())?;
        let meta = Meta::new(answer.etag.clone(), answer.subscription);
        let new = answer.body.filter(|body| *body != self.content);
        if let Some(body) = &new {
            (self.apply)(body)?;
            self.content = body.clone();
        }
        self.etag = answer.etag;
        self.succeed(SystemTime::now(), answer.subscription);
        let (copy, content) = (self.provider.copy.clone(), self.content.clone());
        let write = move || if new.is_some() { copy.write(&content, meta) } else { copy.touch(&content, meta) };
        // The content is in use all the same.
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let path = self.provider.copy.path().display();
                tracing::warn!("provider {}: cannot write {path}: {error}", self.provider.name);
            }
            Err(error) => tracing::warn!("provider {}: {error}", self.provider.name),
        }
        Ok(())
    }

    fn succeed(&mut self, at: SystemTime, subscription: Option<Subscription>) {
        self.failures = 0;
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let subscription = subscription.or(status.subscription);
        *status = Status { updated: Some(at), error: None, subscription };
    }

    fn fail(&self, why: String) {
        tracing::warn!("provider {}: {why}; the last good content stays", self.provider.name);
        self.status.lock().unwrap_or_else(PoisonError::into_inner).error = Some(why);
    }
}
