//! The lines people grep for (mihomo-surface §10.4), and a limit on how often they repeat.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use adit_net::{DialError, Network, Session, Tag};

use crate::table::{Connection, Decision};

/// One line says which rule sent a session where.
pub(crate) fn routed(session: &Session, decision: &Decision) {
    tracing::info!(
        flow.client = %session.client,
        flow.target = %session.target,
        flow.rule = %Matched(decision),
        flow.chain = %Chain(&decision.chain),
        "{} {} using {}",
        Heading(session),
        Matched(decision),
        Chain(&decision.chain)
    );
}

/// One line says why an outbound was not reached. A storm of them is cut to ten per second (faults §1).
pub(crate) fn not_reached(session: &Session, decision: Option<&Decision>, why: &DialError) {
    static LIMIT: Limit = Limit::new();
    // A client that a rule refuses has nothing wrong with it.
    if matches!(why, DialError::Denied(_) | DialError::Dropped) {
        tracing::debug!("{} refused: {why}", Heading(session));
        return;
    }
    let Some(skipped) = LIMIT.admit() else { return };
    let more = Skipped(skipped);
    match decision {
        Some(decision) => {
            let chain = Chain(&decision.chain);
            tracing::warn!("{} dial {chain} ({}) error: {why}{more}", Heading(session), Matched(decision));
        }
        None => tracing::warn!("{} error: {why}{more}", Heading(session)),
    }
}

/// One line says what became of a session: who, where, by which rule and way, how much, how long, how it ended.
pub(crate) fn ended(connection: &Connection, how: &str) {
    // A session that no rule was found for has had its line.
    let Some(decision) = connection.decision() else { return };
    let session = &connection.session;
    let (up, down) = (connection.counters.up(), connection.counters.down());
    let seconds = session.since.elapsed().as_secs_f64();
    tracing::info!(
        flow.network = %session.network,
        flow.client = %session.client,
        flow.target = %session.target,
        flow.rule = %Matched(decision),
        flow.chain = %Chain(&decision.chain),
        flow.how = %how,
        up,
        down,
        seconds = format_args!("{seconds:.3}"),
        "{} {} using {} ended: {how}",
        Heading(session),
        Matched(decision),
        Chain(&decision.chain)
    );
}

/// `[TCP] client --> target`.
struct Heading<'a>(&'a Session);

impl fmt::Display for Heading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let network = match self.0.network {
            Network::Tcp => "TCP",
            Network::Udp => "UDP",
        };
        write!(f, "[{network}] {} --> {}", self.0.client, self.0.target)
    }
}

/// `match DomainSuffix(example.com)`.
struct Matched<'a>(&'a Decision);

impl fmt::Display for Matched<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.rule {
            Some(rule) => write!(f, "match {rule}"),
            None => f.write_str("doesn't match any rule"),
        }
    }
}

/// `Group[leaf]`: the outermost group, then the leaf in brackets; a single name stands alone.
struct Chain<'a>(&'a [Tag]);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            [only] => f.write_str(only),
            [leaf, .., outermost] => write!(f, "{outermost}[{leaf}]"),
        }
    }
}

struct Skipped(u64);

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { Ok(()) } else { write!(f, " ({} more like this were not logged)", self.0) }
    }
}

/// Ten lines per second, the rest counted.
struct Limit {
    /// The second (of this process) in the upper half, lines in it in the lower.
    window: AtomicU64,
    skipped: AtomicU64,
}

const LINES_PER_SECOND: u64 = 10;

impl Limit {
    const fn new() -> Self {
        Self { window: AtomicU64::new(0), skipped: AtomicU64::new(0) }
    }

    /// `Some(lines left out since the last one)` if a line may be written now.
    fn admit(&self) -> Option<u64> {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        self.admit_at(START.get_or_init(Instant::now).elapsed().as_secs())
    }

    fn admit_at(&self, second: u64) -> Option<u64> {
        let next = |window: u64| {
            let lines = if window >> 32 == second { window & u64::from(u32::MAX) } else { 0 };
            (lines < LINES_PER_SECOND).then_some(second << 32 | (lines + 1))
        };
        if self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok() {
            return Some(self.skipped.swap(0, Ordering::Relaxed));
        }
        self.skipped.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_second_and_a_count_of_the_rest() {
        let limit = Limit::new();
        assert_eq!((0..25).filter(|_| limit.admit_at(7).is_some()).count(), 10);
        assert_eq!(limit.admit_at(8), Some(15));
        assert_eq!(limit.admit_at(8), Some(0));
    }

    #[test]
    fn chains_read_outermost_first() {
        assert_eq!(Chain(&["node".into()]).to_string(), "node");
        assert_eq!(Chain(&["node".into(), "Auto".into(), "Proxy".into()]).to_string(), "Proxy[node]");
    }
}
