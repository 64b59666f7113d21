//! A connection that is opened when it is needed and used until it ends.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::UpstreamError;

/// Knows whether it can still be used.
pub(super) trait Connection {
    /// Whether another question may be sent.
    fn is_open(&self) -> bool;
}

/// At most one connection, shared by all who ask.
pub(super) struct Kept<C>(Mutex<Option<Arc<C>>>);

impl<C: Connection> Kept<C> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The connection, and whether it is new. `open` runs only if there is none; others who ask meanwhile wait for it.
    pub(super) async fn get(
        &self,
        open: impl Future<Output = Result<C, UpstreamError>>,
    ) -> Result<(Arc<C>, bool), UpstreamError> {
        let mut kept = self.0.lock().await;
        if let Some(connection) = kept.as_ref().filter(|connection| connection.is_open()) {
            return Ok((Arc::clone(connection), false));
        }
        *kept = None;
        let connection = Arc::new(open.await?);
        *kept = Some(Arc::clone(&connection));
        Ok((connection, true))
    }
}
