//! The text format: an entry per line, comment lines begin with `#` or `//`.
//!
//! Source: spec page 4.2.

use super::{ProviderError, ProviderWarning, RuleSetBuilder};

pub(super) fn read(bytes: &[u8], to: &mut RuleSetBuilder<'_>) -> Result<(), ProviderError> {
    for (number, line) in lines(bytes) {
        match line {
            Some(line) => {
                let entry = line.trim();
                if !(entry.is_empty() || entry.starts_with('#') || entry.starts_with("//")) {
                    to.add(entry)?;
                }
            }
            None => to.warnings.push(ProviderWarning::NotUtf8(number)),
        }
    }
    Ok(())
}

/// The lines with their numbers from 1; `None` for one that is not UTF-8. A byte order mark is dropped.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, Option<&str>)> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    bytes.split(|byte| *byte == b'\n').enumerate().map(|(at, line)| (at + 1, std::str::from_utf8(line).ok()))
}
