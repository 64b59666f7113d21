//! Metrics as text. Sources: the Prometheus text format 0.0.4, and OpenMetrics 1.0 (the sections are named below).
//!
//! Everything that is told is counted elsewhere, and asked for when somebody looks. So this is a writer, not a registry.

use std::fmt::{Display, Write as _};

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Prometheus,
    OpenMetrics,
}

/// What a number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows, from the start of the process. The name ends in `_total`.
    Counter,
    Gauge,
    /// Samples have the suffixes `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// A text that grows.
#[derive(Debug)]
pub(super) struct Exposition {
    dialect: Dialect,
    text: String,
    name: &'static str,
}

impl Dialect {
    /// What `accept` asks for: OpenMetrics if it is named at all, as Prometheus itself does where it can read it.
    pub(super) fn of(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

impl Exposition {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, text: String::with_capacity(4096), name: "" }
    }

    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> &mut Self {
        self.name = name;
        // OpenMetrics, "MetricFamily": the family of a counter is named without `_total`.
        let family = match (self.dialect, kind) {
            (Dialect::OpenMetrics, Kind::Counter) => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        let word = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = write!(self.text, "# HELP {family} {help}\n# TYPE {family} {word}\n");
        self
    }

    /// Adds a sample of the family.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        self.sample_of("", labels, value)
    }

    /// Adds a sample whose name is that of the family with `suffix`.
    pub(super) fn sample_of(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        for (number, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{label}=\"", if number == 0 { '{' } else { ',' });
            escape(text, &mut self.text);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
        self
    }

    pub(super) fn finish(mut self) -> String {
        if self.dialect == Dialect::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_dialects() {
        let written = |dialect| {
            let mut out = Exposition::new(dialect);
            out.family("x_total", Kind::Counter, "Things.").sample(&[("a", "q\"\\\n\r"), ("b", "")], 1);
            out.finish()
        };
        let sample = "x_total{a=\"q\\\"\\\\\\n\u{fffd}\",b=\"\"} 1\n";
        assert_eq!(written(Dialect::Prometheus), format!("# HELP x_total Things.\n# TYPE x_total counter\n{sample}"));
        assert_eq!(written(Dialect::OpenMetrics), format!("# HELP x Things.\n# TYPE x counter\n{sample}# EOF\n"));
    }
}
