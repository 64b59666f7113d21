//! The request header, held back so that it travels with the client's first bytes (spec: vless-reality §1.4).

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// A request header that has not been sent.
#[derive(Debug)]
pub(super) struct Opening {
    header: Vec<u8>,
    patience: Patience,
}

/// How long the header waits for company.
#[derive(Debug)]
enum Patience {
    /// Until there is any.
    Endless,
    /// [`ALONE_AFTER`] from the moment when somebody waits for an answer.
    Short,
    /// The time runs.
    Running(Pin<Box<Sleep>>),
}

impl Opening {
    /// Waits for half a second: servers that speak first must hear of us.
    pub(super) fn new(header: Vec<u8>) -> Self {
        Self { header, patience: Patience::Short }
    }

    /// Waits for the first datagram, without which there is nothing to ask for.
    pub(super) fn with_first_datagram(header: Vec<u8>) -> Self {
        Self { header, patience: Patience::Endless }
    }

    /// Completes when the header should go alone.
    pub(super) fn poll_alone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut self.patience {
                Patience::Endless => return Poll::Pending,
                Patience::Short => self.patience = Patience::Running(Box::pin(sleep(ALONE_AFTER))),
                Patience::Running(timer) => {
                    ready!(timer.as_mut().poll(cx));
                    return Poll::Ready(());
                }
            }
        }
    }

    /// The header, to be sent now.
    pub(super) fn into_header(self) -> Vec<u8> {
        self.header
    }
}

const ALONE_AFTER: Duration = Duration::from_millis(500);
