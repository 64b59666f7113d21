//! What is logged, as a stream for those who ask for it: whatever the level of the log itself, and at no cost while
//! nobody asks. Spec: mihomo-surface §9.2.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::sync::broadcast;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter, Layer};

use crate::daemon::LogLevel;

/// Events that a slow reader may be behind; it loses older ones.
const BEHIND: usize = 1024;
/// A message is cut to this many bytes (faults §1).
const LONGEST: usize = 4096;

/// One line of the log.
#[derive(Debug)]
pub(crate) struct LogEvent {
    pub(crate) at: SystemTime,
    pub(crate) level: LogLevel,
    pub(crate) message: String,
}

/// Hands what is logged to whoever listens. A layer of `tracing`, to be added as
/// `registry().with(feed.clone().with_filter(feed))`. Clones are the same feed.
#[derive(Clone, Debug)]
pub struct LogFeed(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    sender: broadcast::Sender<Arc<LogEvent>>,
    /// How many listen at each level, the most talkative last.
    listeners: Mutex<[usize; 5]>,
}

/// Somebody who listens.
#[derive(Debug)]
pub(crate) struct Listening {
    receiver: broadcast::Receiver<Arc<LogEvent>>,
    level: LogLevel,
    feed: LogFeed,
}

impl Default for LogFeed {
    fn default() -> Self {
        Self::new()
    }
}

impl LogFeed {
    /// A feed that nobody listens to.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Shared { sender: broadcast::Sender::new(BEHIND), listeners: Mutex::default() }))
    }

    /// Listens from now on.
    pub(crate) fn listen(&self, level: LogLevel) -> Listening {
        let receiver = self.0.sender.subscribe();
        self.count(level, |n| n.saturating_add(1));
        Listening { receiver, level, feed: self.clone() }
    }

    fn count(&self, level: LogLevel, change: impl Fn(usize) -> usize) {
        let before = self.level();
        if let Some(listeners) = self.0.listeners.lock().get_mut(level as usize) {
            *listeners = change(*listeners);
        }
        if self.level() != before {
            // `tracing` remembers who is interested in which line of the program.
            tracing::callsite::rebuild_interest_cache();
        }
    }

    /// The most talkative level that somebody listens at.
    fn level(&self) -> LevelFilter {
        match self.0.listeners.lock().iter().rposition(|n| *n != 0) {
            None | Some(0) => LevelFilter::OFF,
            Some(1) => LevelFilter::ERROR,
            Some(2) => LevelFilter::WARN,
            Some(3) => LevelFilter::INFO,
            Some(_) => LevelFilter::DEBUG,
        }
    }

    /// Only our own lines: libraries tell of things that nobody asked for, and some do so while a line is sent.
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("adit") && *metadata.level() <= self.level()
    }
}

impl Listening {
    /// The next line of the level that was asked for. Lines that came too fast are left out. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Arc<LogEvent>> {
        loop {
            match self.receiver.recv().await {
                Ok(event) if event.level as u8 <= self.level as u8 => return Some(event),
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.feed.count(self.level, |n| n.saturating_sub(1));
    }
}

impl<S: Subscriber> Layer<S> for LogFeed {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = EventText::for_people(event).to_string();
        if message.len() > LONGEST {
            message.truncate(message.floor_char_boundary(LONGEST));
            message.push('…');
        }
        let level = level_of(*event.metadata().level());
        let _ = self.0.sender.send(Arc::new(LogEvent { at: SystemTime::now(), level, message }));
    }
}

impl<S> Filter<S> for LogFeed {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level())
    }
}

fn level_of(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warning,
        Level::INFO => LogLevel::Info,
        Level::DEBUG | Level::TRACE => LogLevel::Debug,
    }
}

/// What an event says: the message, and the other fields.
///
/// Fields whose name begins with `flow.` are in the message already; they are for programs that read fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventText {
    /// The message.
    pub message: String,
    /// Name and value of each field.
    pub fields: Vec<(&'static str, String)>,
}

/// What the message says, too.
const SAID: &str = "flow.";

impl EventText {
    /// For people: without the fields that the message says already, which then cost nothing.
    #[must_use]
    pub fn for_people(event: &Event<'_>) -> Self {
        let mut unsaid = Unsaid(Self::default());
        event.record(&mut unsaid);
        unsaid.0
    }

    /// For programs: all fields, by their plain names.
    #[must_use]
    pub fn for_programs(event: &Event<'_>) -> Self {
        let mut text = Self::default();
        event.record(&mut text);
        text
    }
}

/// Takes what the message does not say.
struct Unsaid(EventText);

impl Visit for Unsaid {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if !field.name().starts_with(SAID) {
            self.0.record_debug(field, value);
        }
    }
}

impl fmt::Display for EventText {
    /// The message, then the fields as `key=value`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.fields.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

impl Visit for EventText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => drop(write!(self.message, "{value:?}")),
            name => self.fields.push((name.strip_prefix(SAID).unwrap_or(name), format!("{value:?}"))),
        }
    }
}

impl LogLevel {
    /// The level of that name, as `/logs` spells them.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "silent" => Self::Silent,
            "error" => Self::Error,
            "warning" => Self::Warning,
            "info" => Self::Info,
            "debug" => Self::Debug,
            _ => return None,
        })
    }

    /// As the API and the configuration spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[tokio::test]
    async fn who_listens_hears_its_level_and_nobody_pays_otherwise() {
        let feed = LogFeed::new();
        let subscriber = tracing_subscriber::registry().with(feed.clone().with_filter(feed.clone()));
        let _guard = tracing::subscriber::set_default(subscriber);
        assert!(!tracing::enabled!(target: "adit", Level::ERROR));
        let mut debug = feed.listen(LogLevel::Debug);
        let mut warning = feed.listen(LogLevel::Warning);
        tracing::debug!(target: "adit_x", n = 1, flow.said = "fir", "first");
        tracing::error!(target: "elsewhere", "not ours");
        tracing::warn!(target: "adit_x", "second");
        assert_eq!(debug.next().await.unwrap().message, "first n=1");
        assert_eq!(debug.next().await.unwrap().message, "second");
        assert_eq!(warning.next().await.unwrap().level, LogLevel::Warning);
        drop(debug);
        assert_eq!(feed.level(), LevelFilter::WARN);
        drop(warning);
        assert_eq!(feed.level(), LevelFilter::OFF);
    }

    #[tokio::test]
    async fn who_is_slow_loses_the_oldest() {
        let feed = LogFeed::new();
        let subscriber = tracing_subscriber::registry().with(feed.clone().with_filter(feed.clone()));
        let _guard = tracing::subscriber::set_default(subscriber);
        let mut slow = feed.listen(LogLevel::Info);
        for n in 0..BEHIND * 2 {
            tracing::info!(target: "adit_x", "{n}");
        }
        assert_eq!(slow.next().await.unwrap().message, BEHIND.to_string());
    }
}
