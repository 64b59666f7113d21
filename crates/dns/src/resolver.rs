//! Questions in, answers out: equal questions are asked once, answers are remembered.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use adit_net::{BoxFuture, Domain, Resolve, ResolveError};
use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::cache::{Age, Cache, Kept};
use crate::message::Question;
use crate::plan::Plan;
use crate::response::Response;

/// How long a question may take in all (mihomo-surface.md §7.3).
const BUDGET: Duration = Duration::from_secs(5);
/// Distinct questions that may be open at once; a further one is refused, not queued.
const FLIGHTS_MAX: usize = 512;

/// How a resolver asks and remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habits {
    /// Whether names are also looked up for IPv6 addresses. `false`: no AAAA question is ever sent.
    pub ipv6: bool,
    /// How long IPv6 addresses are waited for once IPv4 ones are known.
    pub ipv6_wait: Duration,
    /// How many answers are remembered; 2 or more.
    pub cache_size: usize,
    /// Whether an answer whose time is over is given once more (for at most a day), with a TTL of one second, while a new
    /// one is asked for.
    pub serves_stale: bool,
}

impl Default for Habits {
    /// No IPv6, 100 ms for it if it is switched on, 4096 answers, nothing stale (mihomo-surface.md §7.1).
    fn default() -> Self {
        Self { ipv6: false, ipv6_wait: Duration::from_millis(100), cache_size: 4096, serves_stale: false }
    }
}

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

pub(crate) type Outcome = Result<Arc<Response>, AskError>;
type Landing = watch::Receiver<Option<Outcome>>;

/// Asks the servers that it was given, and nobody else. Made by [`Servers`](crate::Servers), which is one list, and by
/// [`Resolvers`](crate::Resolvers), which choose between several.
///
/// Needs a tokio runtime to be asked in. Dropping it ends everything it has begun.
pub struct Resolver {
    inner: Arc<Inner>,
    habits: Habits,
}

struct Inner {
    plan: Plan,
    state: Mutex<State>,
    /// One for each open question.
    tasks: Mutex<JoinSet<()>>,
}

struct State {
    cache: Cache,
    /// The open questions: who asks one of them again waits for the same answer.
    flights: HashMap<Question, Landing>,
}

impl Resolver {
    pub(crate) fn new(plan: Plan, habits: Habits) -> Self {
        let cache = Cache::new(habits.cache_size, habits.serves_stale);
        let state = Mutex::new(State { cache, flights: HashMap::new() });
        Self { inner: Arc::new(Inner { plan, state, tasks: Mutex::default() }), habits }
    }

    /// The answer to `question`, remembered or asked for, within 5 seconds.
    ///
    /// NXDOMAIN is an answer. SERVFAIL, REFUSED and the like are one only if no server has a better one. TTLs are those
    /// that the server said.
    ///
    /// # Errors
    /// See [`AskError`].
    ///
    /// # Cancel safety
    /// Dropping the future abandons the answer. The question stays open for others, until its time is over.
    pub async fn ask(&self, question: &Question) -> Result<Arc<Response>, AskError> {
        Ok(self.answer(question).await?.response)
    }

    /// As [`Resolver::ask`], as a message whose TTLs are what is left of them.
    ///
    /// # Errors
    /// See [`AskError`].
    ///
    /// # Cancel safety
    /// As [`Resolver::ask`].
    pub async fn ask_message(&self, question: &Question) -> Result<Message, AskError> {
        let Kept { response, age } = self.answer(question).await?;
        let mut message = response.message().clone();
        for record in message.answers.iter_mut().chain(&mut message.authorities) {
            record.ttl = age.left(record.ttl);
        }
        Ok(message)
    }

    /// Forgets all answers. Questions that are open stay so.
    pub fn forget(&self) {
        self.inner.state.lock().cache.clear();
    }

    /// Whether AAAA questions are sent at all.
    #[must_use]
    pub fn has_ipv6(&self) -> bool {
        self.habits.ipv6
    }

    /// The answer under a question's key, if one is remembered. Whoever is given a stale one has it asked for again
    /// ([`Resolver::refresh`]).
    pub(crate) fn remembered(&self, key: &[u8]) -> Option<Kept> {
        self.inner.state.lock().cache.get(key, Instant::now())
    }

    /// Asks `question` in the background, unless somebody does so already.
    pub(crate) fn refresh(&self, question: &Question) {
        // Too many are asked already: the next who comes will try again.
        let _ = self.take_off(question);
    }

    pub(crate) async fn answer(&self, question: &Question) -> Result<Kept, AskError> {
        let known = self.remembered(&question.key());
        if let Some(known) = known {
            if known.age == Age::Stale {
                self.refresh(question);
            }
            return Ok(known);
        }
        let mut landing = self.take_off(question)?;
        let landed = landing.wait_for(Option::is_some).await.map_err(|_| AskError::Closed)?;
        let response = landed.clone().unwrap_or(Err(AskError::Closed))?;
        Ok(Kept { response, age: Age::NEW })
    }

    /// Where the answer to `question` will be, which is asked now if it is not already.
    fn take_off(&self, question: &Question) -> Result<Landing, AskError> {
        let (landing, flight) = {
            let mut state = self.inner.state.lock();
            if let Some(landing) = state.flights.get(question) {
                return Ok(landing.clone());
            }
            if state.flights.len() >= FLIGHTS_MAX {
                return Err(AskError::Busy);
            }
            let (flight, landing) = Flight::new(Arc::clone(&self.inner), question.clone());
            state.flights.insert(question.clone(), landing.clone());
            (landing, flight)
        };
        let mut tasks = self.inner.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(flight.run());
        Ok(landing)
    }

    async fn addresses(&self, name: &Domain) -> Result<Vec<IpAddr>, ResolveError> {
        let (four, six) = (Question::of(name, RecordType::A), Question::of(name, RecordType::AAAA));
        if !self.habits.ipv6 {
            return sorted_out(name, [self.ask(&four).await]);
        }
        let mut four = std::pin::pin!(self.ask(&four));
        let mut six = std::pin::pin!(self.ask(&six));
        let (four, six) = tokio::select! {
            four = &mut four => {
                let enough = four.as_ref().is_ok_and(|response| !response.addresses().is_empty());
                let patience = if enough { self.habits.ipv6_wait } else { BUDGET };
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
            Ok(response) if response.is_answer() => addresses.extend(response.addresses()),
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

/// A question on its way. Dropped, it takes itself out of the open ones.
struct Flight {
    inner: Arc<Inner>,
    question: Question,
    landing: watch::Sender<Option<Outcome>>,
}

impl Flight {
    fn new(inner: Arc<Inner>, question: Question) -> (Self, Landing) {
        let (landing, landed) = watch::channel(None);
        (Self { inner, question, landing }, landed)
    }

    async fn run(self) {
        let deadline = Instant::now() + BUDGET;
        let mut left = Vec::new();
        let (inner, question) = (Arc::clone(&self.inner), self.question.clone());
        let outcome = inner.plan.ask(&question, deadline, &mut left).await;
        self.land(outcome);
        for asking in left {
            asking.finish(deadline).await;
        }
    }

    fn land(self, outcome: Outcome) {
        if let Ok(response) = &outcome
            && self.question.may_be_kept()
        {
            self.inner.state.lock().cache.insert(self.question.key(), Arc::clone(response), Instant::now());
        }
        self.landing.send_replace(Some(outcome));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.inner.state.lock().flights.remove(&self.question);
    }
}
