//! Where a configuration's text comes from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::mask::Hidden;
use crate::problem::Problems;
use crate::report::{Draft, Report};
use crate::yaml::At;

/// A configuration file in memory.
#[derive(Clone, Debug)]
pub struct Source {
    /// What messages call it: a path, `<stdin>`, `<built-in>`.
    pub name: String,
    /// Its text.
    pub text: String,
    /// The folder that relative paths (rule providers, certificates) start from, and where the geo databases are.
    pub home: PathBuf,
    /// What takes the place of keys of the text.
    pub overrides: Overrides,
}

/// Top-level keys whose value somebody else says: the command line, or whoever changes settings while the daemon runs.
///
/// A mapping adds to the mapping of that key; any other value takes the place of what is written. Values are checked as if
/// they stood in the file, and problems with them name [`Overrides::ORIGIN`] instead of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides(BTreeMap<String, serde_json::Value>);

impl Overrides {
    /// What messages call the place of these values.
    pub const ORIGIN: &'static str = "<override>";

    /// Says the value of `key`, whatever was said of it before.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<serde_json::Value>) {
        self.0.insert(key.into(), value.into());
    }

    /// Adds those of `other`, which win.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend(other.0.iter().map(|(key, value)| (key.clone(), value.clone())));
    }

    /// The same as YAML, one key on a line; empty if there is nothing. JSON is YAML (YAML 1.2.2 §1.3).
    fn yaml(&self) -> String {
        self.0.iter().map(|(key, value)| format!("{}: {value}\n", serde_json::Value::from(key.as_str()))).collect()
    }
}

impl Source {
    /// The same with the overrides behind the text, if there are any, so that everything has a place in it; and where
    /// they begin.
    pub(crate) fn combined(&self) -> Option<(Self, usize)> {
        let overrides = self.overrides.yaml();
        if overrides.is_empty() {
            return None;
        }
        let (name, home) = (self.name.clone(), self.home.clone());
        let text = format!("{}\n{overrides}", self.text);
        Some((Self { name, text, home, overrides: Overrides::default() }, self.text.len() + 1))
    }

    /// A source from the bytes of a file.
    ///
    /// # Errors
    /// Bytes that are not UTF-8 are a [`Problem`](crate::Problem) with their line and column.
    pub fn from_bytes(name: impl Into<String>, bytes: Vec<u8>, home: impl Into<PathBuf>) -> Result<Self, Problems> {
        let (name, home) = (name.into(), home.into());
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { name, text, home, overrides: Overrides::default() }),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let report = Report::default();
                let message = "not valid UTF-8 from here on";
                let draft = Draft::error(At::new(good, good + '\u{fffd}'.len_utf8()), message);
                report.add(draft.hint("save the file as UTF-8 without a byte order mark"));
                let source = Self { name, text, home, overrides: Overrides::default() };
                Err(report.into_problems(&source, &Hidden::Guessed))
            }
        }
    }
}
