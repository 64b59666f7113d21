//! A server that does not know us will not know us a moment later (faults F-F15).

use std::time::Duration;

use adit_net::DialError;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Refuses to try again too soon after the server failed to prove itself: every attempt reaches a stranger, who would
/// see a tight loop of them.
#[derive(Debug, Default)]
pub(super) struct BackOff(Mutex<Option<Failure>>);

#[derive(Debug)]
struct Failure {
    in_a_row: u32,
    until: Instant,
    why: String,
}

impl BackOff {
    /// Says whether it is time to try.
    ///
    /// # Errors
    /// The last failure's text, when it is too early.
    pub(super) fn check(&self) -> Result<(), DialError> {
        match &*self.0.lock() {
            Some(last) if Instant::now() < last.until => {
                Err(DialError::Protocol(format!("{} (not tried again yet)", last.why)))
            }
            _ => Ok(()),
        }
    }

    /// Records that the peer was not our server.
    pub(super) fn failed(&self, why: &str) {
        let mut last = self.0.lock();
        let now = Instant::now();
        let in_a_row = match &*last {
            // One of several that were under way together.
            Some(last) if now < last.until => last.in_a_row,
            Some(last) => last.in_a_row.saturating_add(1),
            None => 1,
        };
        let pause = FIRST.saturating_mul(1 << in_a_row.saturating_sub(1).min(8)).min(LONGEST);
        *last = Some(Failure { in_a_row, until: now + pause, why: why.to_owned() });
    }

    /// Records that it was.
    pub(super) fn succeeded(&self) {
        *self.0.lock() = None;
    }
}

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(16);

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_and_end_with_success() {
        let back_off = BackOff::default();
        for pause in [1, 2, 4, 8, 16, 16] {
            assert!(back_off.check().is_ok());
            back_off.failed("no key");
            back_off.failed("no key");
            advance(Duration::from_millis(pause * 1000 - 1)).await;
            assert!(back_off.check().unwrap_err().to_string().contains("no key"), "{pause} s");
            advance(Duration::from_millis(1)).await;
        }
        back_off.failed("no key");
        back_off.succeeded();
        assert!(back_off.check().is_ok());
        back_off.failed("no key");
        advance(Duration::from_secs(1)).await;
        assert!(back_off.check().is_ok(), "the count starts again");
    }
}
