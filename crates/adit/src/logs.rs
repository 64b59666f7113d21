//! Log lines as Mihomo writes them: `time="…" level=info msg="…"` (mihomo-surface §10.4).

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adit_config::{LogFormat, LogLevel};
use adit_controller::LogFeed;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

/// A line is cut to this many bytes (faults §1).
const LONGEST: usize = 4096;

/// The log as it runs: what is written to standard output, and what the API hands out.
#[derive(Clone)]
pub(crate) struct Logs {
    pub(crate) feed: LogFeed,
    filter: reload::Handle<LevelFilter, Registry>,
    level: Arc<Mutex<LogLevel>>,
}

impl Logs {
    /// Starts logging to standard output. In one process, only the first is heard.
    pub(crate) fn start(level: LogLevel, format: LogFormat) -> Self {
        let feed = LogFeed::new();
        let (filter, handle) = reload::Layer::new(filter(level));
        let lines = Lines { format }.with_filter(filter);
        let handed_out = feed.clone().with_filter(feed.clone());
        let _ = tracing_subscriber::registry().with(lines).with(handed_out).try_init();
        Self { feed, filter: handle, level: Arc::new(Mutex::new(level)) }
    }

    /// Writes this much from now on.
    pub(crate) fn set_level(&self, level: LogLevel) {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = level;
        let _ = self.filter.reload(filter(level));
    }

    /// How much is written.
    pub(crate) fn level(&self) -> LogLevel {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Silent => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    }
}

struct Lines {
    format: LogFormat,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let (now, level) = (SystemTime::now(), *event.metadata().level());
        let line = match self.format {
            LogFormat::Text => line(now, level, &text),
            LogFormat::Json => json(now, level, &text),
        };
        // Logging must not end a proxy whose standard output was closed (F-H10).
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }
}

/// The message, then the other fields as `key=value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

/// The same as an object in a line.
fn json(now: SystemTime, level: Level, text: &Text) -> String {
    let mut message = text.message.clone() + &text.fields;
    if message.len() > LONGEST {
        message.truncate(message.floor_char_boundary(LONGEST));
        message.push('…');
    }
    let object = serde_json::json!({ "time": Rfc3339(now).to_string(), "level": word(level), "msg": message });
    format!("{object}\n")
}

fn line(now: SystemTime, level: Level, text: &Text) -> String {
    let mut line = format!("time=\"{}\" level={} msg=\"", Rfc3339(now), word(level));
    for part in [&text.message, &text.fields] {
        escape(part, &mut line);
    }
    if line.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| line.is_char_boundary(*at)).unwrap_or_default();
        line.truncate(end);
        line.push('…');
    }
    line.push_str("\"\n");
    line
}

fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

/// One event is one line: control characters, quotes and marks that turn the reading direction are escaped (F-L1).
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() || is_direction_mark(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// UTC with nanoseconds.
struct Rfc3339(SystemTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = civil(days);
        let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{:09}Z", since.subsec_nanos())
    }
}

/// Days since 1970-01-01 as a date of the proleptic Gregorian calendar, counted in 400-year eras that begin in March,
/// so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_look_like_mihomos() {
        let text = Text { message: "[TCP] a --> b".into(), fields: " error=\"x\"".into() };
        let at = UNIX_EPOCH + Duration::new(1_798_761_599, 5);
        assert_eq!(
            line(at, Level::WARN, &text),
            "time=\"2026-12-31T23:59:59.000000005Z\" level=warning msg=\"[TCP] a --> b error=\\\"x\\\"\"\n"
        );
    }

    #[test]
    fn dates_across_leap_years() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(19_783), (2024, 3, 1));
        assert_eq!(civil(20_781), (2026, 11, 24));
    }

    #[test]
    fn f_l1_one_event_is_one_short_line() {
        let text = Text { message: "a\r\nb\u{1b}[31m\u{202e}c".into(), fields: "x".repeat(65_536) };
        let line = line(UNIX_EPOCH, Level::INFO, &text);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.contains(['\r', '\u{1b}', '\u{202e}']));
        assert!(line.len() < LONGEST + 16);
    }
}
