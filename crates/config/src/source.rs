//! Where a configuration's text comes from.

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
}

impl Source {
    /// A source from the bytes of a file.
    ///
    /// # Errors
    /// Bytes that are not UTF-8 are a [`Problem`](crate::Problem) with their line and column.
    pub fn from_bytes(name: impl Into<String>, bytes: Vec<u8>, home: impl Into<PathBuf>) -> Result<Self, Problems> {
        let (name, home) = (name.into(), home.into());
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { name, text, home }),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let report = Report::default();
                let message = "not valid UTF-8 from here on";
                let draft = Draft::error(At::new(good, good + '\u{fffd}'.len_utf8()), message);
                report.add(draft.hint("save the file as UTF-8 without a byte order mark"));
                Err(report.into_problems(&Self { name, text, home }, &Hidden::Guessed))
            }
        }
    }
}
