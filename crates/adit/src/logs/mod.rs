//! Log lines as Mihomo writes them: `time="…" level=info msg="…"` (mihomo-surface §10.4), or as JSON.

mod writer;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use adit_config::{LogFormat, LogLevel};
use adit_controller::{EventText, LogFeed, Rfc3339};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use writer::Writer;

/// A line is cut to this many bytes (faults §1).
const LONGEST: usize = 4096;

/// The log as it runs: what is written to standard output, and what the API hands out.
#[derive(Clone)]
pub(crate) struct Logs {
    pub(crate) feed: LogFeed,
    filter: reload::Handle<LevelFilter, Registry>,
    level: Arc<Mutex<LogLevel>>,
    writer: Writer,
}

impl Logs {
    /// Starts logging to standard output. In one process, only the first is heard.
    pub(crate) fn start(level: LogLevel, format: LogFormat) -> Self {
        let feed = LogFeed::new();
        let (filter, handle) = reload::Layer::new(filter(level));
        let left_out = |n| format!("{n} lines were not logged: nobody read them in time");
        let writer = Writer::start(std::io::stdout(), move |n| {
            let text = EventText { message: left_out(n), fields: Vec::new() };
            format.line(SystemTime::now(), Level::WARN, &text)
        });
        let lines = Lines { format, writer: writer.clone() }.with_filter(filter);
        let handed_out = feed.clone().with_filter(feed.clone());
        let _ = tracing_subscriber::registry().with(lines).with(handed_out).try_init();
        Self { feed, filter: handle, level: Arc::new(Mutex::new(level)), writer }
    }

    /// Writes this much from now on.
    pub(crate) fn set_level(&self, level: LogLevel) {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = level;
        let _ = self.filter.reload(filter(level));
    }

    /// Waits a moment until everything is written: the process is about to end.
    pub(crate) fn finish(&self) {
        self.writer.finish();
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
    writer: Writer,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Libraries tell more of themselves than anybody asked for, and where they lie on the disk.
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN && !metadata.target().starts_with("adit") {
            return;
        }
        let text = match self.format {
            LogFormat::Text => EventText::for_people(event),
            LogFormat::Json => EventText::for_programs(event),
        };
        self.writer.write(self.format.line(SystemTime::now(), *event.metadata().level(), &text));
    }
}

trait Format {
    fn line(self, now: SystemTime, level: Level, text: &EventText) -> String;
}

impl Format for LogFormat {
    fn line(self, now: SystemTime, level: Level, text: &EventText) -> String {
        match self {
            Self::Text => line(now, level, text),
            Self::Json => json(now, level, text),
        }
    }
}

/// An object in a line: the message, and every field of the event by its name.
fn json(now: SystemTime, level: Level, text: &EventText) -> String {
    let mut object = serde_json::Map::new();
    object.insert("time".into(), Rfc3339(now).to_string().into());
    object.insert("level".into(), word(level).into());
    object.insert("msg".into(), cut(text.message.clone()).into());
    for (name, value) in &text.fields {
        // A number is one here, too.
        let number = value.parse::<serde_json::Number>().map(serde_json::Value::Number);
        let value = number.unwrap_or_else(|_| cut(value.clone()).into());
        object.insert((*name).into(), value);
    }
    format!("{}\n", serde_json::Value::Object(object))
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}

fn line(now: SystemTime, level: Level, text: &EventText) -> String {
    let mut line = format!("time=\"{}\" level={} msg=\"", Rfc3339(now), word(level));
    escape(&text.to_string(), &mut line);
    let mut line = cut(line);
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn lines_look_like_mihomos() {
        let fields = vec![("error", "\"x\"".to_owned())];
        let text = EventText { message: "[TCP] a --> b".into(), fields };
        let at = UNIX_EPOCH + Duration::new(1_798_761_599, 5);
        assert_eq!(
            line(at, Level::WARN, &text),
            "time=\"2026-12-31T23:59:59.000000005Z\" level=warning msg=\"[TCP] a --> b error=\\\"x\\\"\"\n"
        );
    }

    #[test]
    fn json_has_every_field_by_its_name() {
        let fields = vec![("client", "127.0.0.1:5".to_owned()), ("up", "12".to_owned())];
        let line = json(UNIX_EPOCH, Level::INFO, &EventText { message: "[TCP] a --> b".into(), fields });
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            object,
            serde_json::json!({
                "time": "1970-01-01T00:00:00Z", "level": "info", "msg": "[TCP] a --> b", "client": "127.0.0.1:5", "up": 12
            })
        );
    }

    #[test]
    fn f_l1_one_event_is_one_short_line() {
        let text = EventText { message: "a\r\nb\u{1b}[31m\u{202e}c".into(), fields: vec![("x", "x".repeat(65_536))] };
        let line = line(UNIX_EPOCH, Level::INFO, &text);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.contains(['\r', '\u{1b}', '\u{202e}']));
        assert!(line.len() < LONGEST + 16);
    }
}
