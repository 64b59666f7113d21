//! Several servers as one: the first good answer wins, equal questions are asked once, answers are remembered.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_net::{BoxFuture, Domain, Resolve, ResolveError};
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::cache::Cache;
use crate::message::{Question, Response};
use crate::upstream::Upstream;

/// How long a question may take in all (mihomo-surface.md §7.3).
const BUDGET: Duration = Duration::from_secs(5);
/// How long IPv6 addresses are waited for once IPv4 ones are known (mihomo-surface.md §5.3).
const IPV6_WAIT: Duration = Duration::from_millis(100);
/// Answers remembered (mihomo-surface.md §7.1, `cache-max-size`).
const CACHE: usize = 4096;
/// Distinct questions that may be open at once.
const FLIGHTS_MAX: usize = 1024;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AskError {
    /// No server answered; what each of them did instead.
    #[error("no nameserver answered: {0}")]
    Failed(String),
    /// Too many other questions are open.
    #[error("too many names are being looked up at once")]
    Busy,
    /// The resolver ended before the answer came.
    #[error("the resolver was closed")]
    Closed,
}

type Outcome = Result<Arc<Response>, AskError>;

/// Asks all servers of a list at once, and nobody else. Made by [`Servers`](crate::Servers).
///
/// Needs a tokio runtime to be asked in. Dropping it ends everything it has begun.
pub struct Resolver {
    inner: Arc<Inner>,
    ipv6: bool,
}

struct Inner {
    servers: Vec<Arc<Upstream>>,
    state: Mutex<State>,
    /// One for each open question.
    tasks: Mutex<JoinSet<()>>,
}

struct State {
    cache: Cache,
    /// The open questions: who asks one of them again waits for the same answer.
    flights: HashMap<Question, watch::Receiver<Option<Outcome>>>,
}

impl Resolver {
    pub(crate) fn new(servers: Vec<Arc<Upstream>>, ipv6: bool) -> Self {
        let state = State { cache: Cache::new(CACHE), flights: HashMap::new() };
        let inner = Inner { servers, state: Mutex::new(state), tasks: Mutex::default() };
        Self { inner: Arc::new(inner), ipv6 }
    }

    /// The answer to `question`, remembered or asked for, within 5 seconds.
    ///
    /// NXDOMAIN is an answer. SERVFAIL, REFUSED and the like are one only if no server has a better one.
    ///
    /// # Errors
    /// See [`AskError`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the answer. The question stays open for others, until its time is over.
    pub async fn ask(&self, question: &Question) -> Result<Arc<Response>, AskError> {
        let (mut landing, flight) = {
            let mut state = self.inner.state.lock();
            if let Some(known) = state.cache.get(question, Instant::now()) {
                return Ok(known);
            }
            match state.flights.get(question) {
                Some(landing) => (landing.clone(), None),
                None if state.flights.len() >= FLIGHTS_MAX => return Err(AskError::Busy),
                None => {
                    let (flight, landing) = Flight::new(Arc::clone(&self.inner), question.clone());
                    state.flights.insert(question.clone(), landing.clone());
                    (landing, Some(flight))
                }
            }
        };
        if let Some(flight) = flight {
            let mut tasks = self.inner.tasks.lock();
            while tasks.try_join_next().is_some() {}
            tasks.spawn(flight.run());
        }
        let landed = landing.wait_for(Option::is_some).await.map_err(|_| AskError::Closed)?;
        landed.clone().unwrap_or(Err(AskError::Closed))
    }

    async fn addresses(&self, name: &Domain) -> Result<Vec<IpAddr>, ResolveError> {
        let (four, six) = (Question::of(name, RecordType::A), Question::of(name, RecordType::AAAA));
        if !self.ipv6 {
            return sorted_out(name, [self.ask(&four).await]);
        }
        let mut four = std::pin::pin!(self.ask(&four));
        let mut six = std::pin::pin!(self.ask(&six));
        let (four, six) = tokio::select! {
            four = &mut four => {
                let enough = four.as_ref().is_ok_and(|response| !response.addresses().is_empty());
                let patience = if enough { IPV6_WAIT } else { BUDGET };
                (four, timeout(patience, six).await.ok())
            }
            six = &mut six => (four.await, Some(six)),
        };
        sorted_out(name, std::iter::once(four).chain(six))
    }
}

impl Resolve for Resolver {
    fn resolve<'a>(&'a self, name: &'a Domain) -> BoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(self.addresses(name))
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.inner.tasks.lock().abort_all();
    }
}

/// The addresses of all answers, or what their lack means.
fn sorted_out(name: &Domain, outcomes: impl IntoIterator<Item = Outcome>) -> Result<Vec<IpAddr>, ResolveError> {
    let mut addresses = Vec::new();
    let mut failure = None;
    for outcome in outcomes {
        match outcome {
            Ok(response) if is_answer(&response) => addresses.extend(response.addresses()),
            Ok(response) => failure = Some(format!("the nameserver answered {}", response.code())),
            Err(error) => failure = Some(error.to_string()),
        }
    }
    match failure {
        _ if !addresses.is_empty() => Ok(addresses),
        None => Err(ResolveError::NoAddress(name.clone())),
        Some(cause) => Err(ResolveError::Failed { name: name.clone(), cause }),
    }
}

/// Whether a server said what it knows, rather than that it does not know.
fn is_answer(response: &Response) -> bool {
    matches!(response.code(), ResponseCode::NoError | ResponseCode::NXDomain)
}

/// A question on its way. Dropped, it takes itself out of the open ones.
struct Flight {
    inner: Arc<Inner>,
    question: Question,
    landing: watch::Sender<Option<Outcome>>,
}

impl Flight {
    fn new(inner: Arc<Inner>, question: Question) -> (Self, watch::Receiver<Option<Outcome>>) {
        let (landing, landed) = watch::channel(None);
        (Self { inner, question, landing }, landed)
    }

    async fn run(self) {
        let deadline = Instant::now() + BUDGET;
        let mut asked = JoinSet::new();
        let mut useless_late = Vec::new();
        for server in &self.inner.servers {
            let (server, question) = (Arc::clone(server), self.question.clone());
            let leaves_something = server.leaves_something();
            let handle = asked.spawn(async move {
                let answer = server.ask(&question).await;
                (server, answer)
            });
            if !leaves_something {
                useless_late.push(handle);
            }
        }
        let outcome = first_good(&mut asked, deadline).await;
        self.land(outcome);
        for handle in useless_late {
            handle.abort();
        }
        // A slower server's connection would otherwise be given up half open, for every question again.
        let _ = timeout_at(deadline, async { while asked.join_next().await.is_some() {} }).await;
    }

    fn land(self, outcome: Outcome) {
        if let Ok(response) = &outcome {
            let question = self.question.clone();
            self.inner.state.lock().cache.insert(question, Arc::clone(response), Instant::now());
        }
        self.landing.send_replace(Some(outcome));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.inner.state.lock().flights.remove(&self.question);
    }
}

type Asked = JoinSet<(Arc<Upstream>, Result<Response, crate::upstream::UpstreamError>)>;

/// The first answer that says something; else what a server said of its failure; else what happened to each.
async fn first_good(asked: &mut Asked, deadline: Instant) -> Outcome {
    let mut second_best = None;
    let mut failures = Vec::new();
    loop {
        match timeout_at(deadline, asked.join_next()).await {
            Ok(Some(Ok((_, Ok(response))))) if is_answer(&response) || response.is_made() => {
                return Ok(Arc::new(response));
            }
            Ok(Some(Ok((server, Ok(response))))) => {
                tracing::debug!(server = server.name(), code = %response.code(), "a nameserver has no answer");
                second_best.get_or_insert(response);
            }
            Ok(Some(Ok((server, Err(error))))) => {
                tracing::debug!(server = server.name(), %error, "a nameserver did not answer");
                failures.push(format!("{}: {error}", server.name()));
            }
            // One task that panicked must not end the others.
            Ok(Some(Err(error))) => failures.push(error.to_string()),
            Ok(None) => break,
            Err(_) => {
                failures.push(format!("no answer within {} seconds", BUDGET.as_secs()));
                break;
            }
        }
    }
    second_best.map(Arc::new).ok_or_else(|| AskError::Failed(failures.join("; ")))
}
