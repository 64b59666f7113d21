//! Lists of integer ranges as rules and options write them: `80/443/6000-6500`.

use std::fmt;
use std::ops::RangeInclusive;

use thiserror::Error;

/// A list of inclusive ranges. An empty list means *everything*; whoever does not want that refuses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IntRanges(Box<[RangeInclusive<u32>]>);

/// Why a text is not a list of ranges.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadRanges {
    /// More than 28 items.
    #[error("intRanges error, too many ranges to use, maximum support 28 ranges")]
    TooMany,
    /// An item is neither `n` nor `a-b`, or a number is larger than the field it is compared with.
    #[error("invalid range: {0}")]
    Invalid(String),
}

const MAX_ITEMS: usize = 28;

impl IntRanges {
    /// Reads a list. `/` and `,` both separate; blanks and `[` `]` around numbers are ignored, empty items skipped,
    /// reversed ranges swapped. Numbers above `max` are refused. An empty text or `*` gives the empty list.
    ///
    /// # Errors
    /// See [`BadRanges`].
    pub fn parse(text: &str, max: u32) -> Result<Self, BadRanges> {
        if text.trim() == "*" {
            return Ok(Self::default());
        }
        let mut ranges = Vec::new();
        for item in text.split(['/', ',']).map(str::trim).filter(|item| !item.is_empty()) {
            if ranges.len() == MAX_ITEMS {
                return Err(BadRanges::TooMany);
            }
            let invalid = || BadRanges::Invalid(item.to_owned());
            let number = |text: &str| -> Result<u32, BadRanges> {
                let digits = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '[' | ']'));
                if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(invalid());
                }
                digits.parse().ok().filter(|n| *n <= max).ok_or_else(invalid)
            };
            let (low, high) = match item.split_once('-') {
                Some((low, high)) => (number(low)?, number(high)?),
                None => (number(item)?, number(item)?),
            };
            ranges.push(low.min(high)..=low.max(high));
        }
        Ok(Self(ranges.into()))
    }

    /// Whether `value` is in one of the ranges, or the list is empty.
    #[must_use]
    pub fn contains(&self, value: u32) -> bool {
        self.0.is_empty() || self.0.iter().any(|range| range.contains(&value))
    }

    /// Whether the list is empty and thus stands for everything.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges in the order they were written.
    pub fn iter(&self) -> impl Iterator<Item = RangeInclusive<u32>> + '_ {
        self.0.iter().cloned()
    }
}

/// Ranges joined with `/`, single values without a dash, `*` for the empty list.
impl fmt::Display for IntRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("*");
        }
        for (at, range) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("/")?;
            }
            if range.start() == range.end() {
                write!(f, "{}", range.start())?;
            } else {
                write!(f, "{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_written() {
        for (text, shown) in [
            ("80", "80"),
            ("80/443, 6000-6500", "80/443/6000-6500"),
            ("443-80", "80-443"),
            (" [1000] - [2000] /[3]", "1000-2000/3"),
            ("//80//", "80"),
            ("5-5", "5"),
            ("65535", "65535"),
            ("", "*"),
            ("*", "*"),
            (" / ", "*"),
        ] {
            assert_eq!(IntRanges::parse(text, 65535).unwrap().to_string(), shown, "{text:?}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_item() {
        for (text, item) in [
            ("80/1-2-3", "1-2-3"),
            ("-1", "-1"),
            ("+1", "+1"),
            ("a", "a"),
            ("65536", "65536"),
            ("1-", "1-"),
            ("99999999999999999999", "99999999999999999999"),
        ] {
            assert_eq!(IntRanges::parse(text, 65535), Err(BadRanges::Invalid(item.into())), "{text:?}");
        }
        let many = |n| vec!["1"; n].join("/");
        assert!(IntRanges::parse(&many(28), 9).is_ok());
        assert_eq!(IntRanges::parse(&many(29), 9), Err(BadRanges::TooMany));
    }

    #[test]
    fn membership() {
        let ports = IntRanges::parse("80/6000-6500", 65535).unwrap();
        assert!(ports.contains(80) && ports.contains(6000) && ports.contains(6500));
        assert!(!ports.contains(81) && !ports.contains(6501));
        assert!(IntRanges::default().contains(7));
    }
}
