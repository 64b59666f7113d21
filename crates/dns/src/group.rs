//! Servers that are asked at once: the first good answer wins.

use std::sync::Arc;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, timeout_at};

use crate::message::Question;
use crate::resolver::{AskError, Outcome};
use crate::response::Response;
use crate::system::SystemServers;
use crate::upstream::{Upstream, UpstreamError};

/// One entry of a list.
#[derive(Clone)]
pub(crate) enum Member {
    Server(Arc<Upstream>),
    /// Whatever the system says at the moment.
    System(Arc<SystemServers>),
}

/// A list of servers.
#[derive(Clone, Default)]
pub(crate) struct Group(pub(crate) Vec<Member>);

impl Group {
    fn servers(&self) -> Vec<Arc<Upstream>> {
        let mut servers = Vec::with_capacity(self.0.len());
        for member in &self.0 {
            match member {
                Member::Server(server) => servers.push(Arc::clone(server)),
                Member::System(system) => servers.extend(system.servers()),
            }
        }
        servers
    }
}

/// A question to all servers of a list.
pub(crate) struct Asking {
    asked: JoinSet<(Arc<Upstream>, Result<Response, UpstreamError>)>,
    useless_late: Vec<AbortHandle>,
}

impl Asking {
    pub(crate) fn start(group: &Group, question: &Question) -> Self {
        let mut asking = Self { asked: JoinSet::new(), useless_late: Vec::new() };
        for server in group.servers() {
            let question = question.clone();
            let leaves_something = server.leaves_something();
            let handle = asking.asked.spawn(async move {
                let answer = server.ask(&question).await;
                (server, answer)
            });
            if !leaves_something {
                asking.useless_late.push(handle);
            }
        }
        asking
    }

    /// The first answer that says something; else what a server said of its failure; else what happened to each.
    pub(crate) async fn first_good(&mut self, deadline: Instant) -> Outcome {
        let patience = deadline.saturating_duration_since(Instant::now());
        let mut second_best = None;
        let mut failures = Vec::new();
        loop {
            match timeout_at(deadline, self.asked.join_next()).await {
                Ok(Some(Ok((_, Ok(response))))) if response.is_answer() || response.is_made() => {
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
                    failures.push(format!("no answer within {} seconds", patience.as_secs()));
                    break;
                }
            }
        }
        if failures.is_empty() {
            failures.push("there is no nameserver to ask".into());
        }
        second_best.map(Arc::new).ok_or_else(|| AskError::Failed(failures.join("; ")))
    }

    /// Lets slower servers' connections be opened whole: they would otherwise be given up for every question again.
    pub(crate) async fn finish(mut self, deadline: Instant) {
        for handle in &self.useless_late {
            handle.abort();
        }
        let _ = timeout_at(deadline, async { while self.asked.join_next().await.is_some() {} }).await;
    }
}
