//! Tasks have names and owners; shutdown is a value you hold.

use std::future::Future;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// A spawned task that ends with its owner: dropping it aborts the task.
#[derive(Debug)]
pub struct Task<T> {
    name: &'static str,
    handle: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Task<T> {
    /// Starts `future` on the current runtime.
    pub fn spawn(name: &'static str, future: impl Future<Output = T> + Send + 'static) -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
        let handle = tokio::spawn(future.instrument(tracing::error_span!("task", name)));
        Self { name, handle: Some(handle) }
    }

    /// Waits for the task's result; `None` if it panicked or was aborted. A panic is logged.
    ///
    /// # Cancel safety
    /// Dropping the returned future aborts the task.
    pub async fn join(mut self) -> Option<T> {
        let outcome = self.handle.as_mut()?.await;
        self.handle = None;
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                if error.is_panic() {
                    tracing::error!(task = self.name, "a task panicked; please report this as a bug");
                }
                None
            }
        }
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.abort();
        }
    }
}

/// Tells accept loops to stop. Clones hear the same call.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// One that has not been called.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls for shutdown. Idempotent.
    pub fn start(&self) {
        self.0.cancel();
    }

    /// Waits for the call. Cancel-safe.
    pub async fn started(&self) {
        self.0.cancelled().await;
    }

    /// Whether it has been called.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.0.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_task_ends_with_its_owner() {
        let (held, mut released) = oneshot::channel::<()>();
        let task = Task::spawn("test", async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        tokio::task::yield_now().await;
        assert!(!task.is_finished() && released.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        drop(task);
        released.await.unwrap_err();
    }

    #[tokio::test]
    async fn a_panic_ends_one_task() {
        let task = Task::spawn("test", async { panic!("this one is part of a test") });
        assert_eq!(task.join().await, None);
        assert_eq!(Task::spawn("test", async { 7 }).join().await, Some(7));
    }

    #[tokio::test]
    async fn every_clone_hears_the_call() {
        let shutdown = Shutdown::new();
        let other = shutdown.clone();
        assert!(!other.is_started());
        shutdown.start();
        shutdown.start();
        other.started().await;
        assert!(other.is_started());
    }
}
