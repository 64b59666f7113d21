//! Ways that lead nowhere: REJECT, REJECT-DROP, and what a router must not follow (PASS, `type: dns`).

use std::future::ready;

use adit_net::{BoxFuture, BoxStream, Datagrams, Dial, DialError, Dialer};

/// Refuses every dial at once.
pub(crate) enum Reject {
    /// The client is told.
    Tell,
    /// The client is left waiting; whoever serves it does the waiting.
    Drop,
    /// "This rule did not match": a dial is a routing mistake.
    Pass,
    /// "Our own DNS answers": a dial is a routing mistake.
    Dns,
}

impl Reject {
    fn error(&self, dial: Dial<'_>) -> DialError {
        match self {
            Self::Tell => DialError::Denied(format!("{} is rejected by rule", dial.target)),
            Self::Drop => DialError::Dropped,
            Self::Pass => DialError::Denied(format!("{} was sent to PASS, which leads nowhere", dial.target)),
            Self::Dns => DialError::Denied(format!("{} was sent to a proxy that answers DNS only", dial.target)),
        }
    }
}

impl Dialer for Reject {
    fn connect<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(ready(Err(self.error(dial))))
    }

    fn datagrams<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<Datagrams, DialError>> {
        Box::pin(ready(Err(self.error(dial))))
    }
}
