//! The grammar of one rule line: pieces between commas, and where they stand.
//!
//! Source: spec page 3.1.

use std::borrow::Cow;
use std::ops::Range;

use super::RuleKind;

/// A part of a line without the blanks around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) text: &'a str,
    /// Where it begins in the whole line.
    pub(crate) at: usize,
}

impl<'a> Piece<'a> {
    /// `text` begins at byte `at` of the line; blanks around it are dropped.
    pub(crate) fn new(text: &'a str, at: usize) -> Self {
        let trimmed = text.trim_start();
        Self { text: trimmed.trim_end(), at: at + (text.len() - trimmed.len()) }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    /// Everything before and after the first comma.
    fn split_first(self) -> (Self, Option<Self>) {
        match self.text.split_once(',') {
            Some((head, rest)) => (Self::new(head, self.at), Some(Self::new(rest, self.at + head.len() + 1))),
            None => (self, None),
        }
    }

    /// Everything before and after the last comma.
    fn split_last(self) -> (Option<Self>, Self) {
        match self.text.rsplit_once(',') {
            Some((rest, tail)) => (Some(Self::new(rest, self.at)), Self::new(tail, self.at + rest.len() + 1)),
            None => (None, self),
        }
    }

    /// The text without the blanks around its commas.
    pub(crate) fn joined(self) -> Cow<'a, str> {
        if self.text.split(',').all(|part| part.trim() == part) {
            return Cow::Borrowed(self.text);
        }
        Cow::Owned(self.text.split(',').map(str::trim).collect::<Vec<_>>().join(","))
    }
}

/// A line taken apart; nothing is checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleLine<'a> {
    /// The type in upper case.
    pub(crate) name: String,
    pub(crate) kind: Option<RuleKind>,
    pub(crate) name_piece: Piece<'a>,
    pub(crate) payload: Piece<'a>,
    pub(crate) target: Option<Piece<'a>>,
    pub(crate) params: Vec<Piece<'a>>,
}

impl<'a> RuleLine<'a> {
    /// A line of a rule list: type, payload, target, parameters.
    pub(crate) fn with_target(line: &'a str) -> Self {
        Self::split(Piece::new(line, 0), true)
    }

    /// A line of a rule set or a part of a logic rule: type, payload, parameters.
    pub(crate) fn without_target(line: Piece<'a>) -> Self {
        Self::split(line, false)
    }

    fn split(line: Piece<'a>, with_target: bool) -> Self {
        let (name_piece, rest) = line.split_first();
        let name = name_piece.text.to_ascii_uppercase();
        let kind = RuleKind::from_config(&name);
        let end = Piece::new("", line.range().end);
        let mut parsed = Self { name, kind, name_piece, payload: end, target: None, params: Vec::new() };
        let Some(rest) = rest else { return parsed };
        match kind {
            Some(RuleKind::Match) if with_target => {
                let (target, ignored) = rest.split_first();
                parsed.target = Some(target);
                parsed.params.extend(pieces(ignored));
            }
            Some(kind) if kind.bears_commas() => {
                if with_target {
                    let (payload, target) = rest.split_last();
                    parsed.payload = payload.unwrap_or(end);
                    parsed.target = Some(target);
                } else {
                    parsed.payload = rest;
                }
            }
            _ => {
                let (payload, rest) = rest.split_first();
                parsed.payload = payload;
                let mut rest = pieces(rest);
                if with_target {
                    parsed.target = rest.next();
                }
                parsed.params.extend(rest);
            }
        }
        parsed.target = parsed.target.filter(|target| !target.text.is_empty());
        parsed
    }
}

fn pieces(mut left: Option<Piece<'_>>) -> impl Iterator<Item = Piece<'_>> {
    std::iter::from_fn(move || {
        let (piece, rest) = left?.split_first();
        left = rest;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts<'a> = (&'a str, &'a str, Option<&'a str>, Vec<&'a str>);

    fn parts(line: RuleLine<'_>) -> (String, String, Option<String>, Vec<String>) {
        (
            line.name,
            line.payload.joined().into_owned(),
            line.target.map(|target| target.text.to_owned()),
            line.params.iter().map(|param| param.text.to_owned()).collect(),
        )
    }

    #[test]
    fn the_three_classes_of_lines() {
        let table: [(&str, Parts<'_>); 11] = [
            ("DOMAIN,a.com,X", ("DOMAIN", "a.com", Some("X"), vec![])),
            (" domain , a.com , X , no-resolve , y ", ("DOMAIN", "a.com", Some("X"), vec!["no-resolve", "y"])),
            ("MATCH,X,ignored", ("MATCH", "", Some("X"), vec!["ignored"])),
            ("MATCH", ("MATCH", "", None, vec![])),
            ("DOMAIN,a.com", ("DOMAIN", "a.com", None, vec![])),
            ("DOMAIN,a.com,", ("DOMAIN", "a.com", None, vec![])),
            ("DOMAIN-REGEX,^a{1, 3}$,X", ("DOMAIN-REGEX", "^a{1,3}$", Some("X"), vec![])),
            ("AND,((A,1) , (B,2)),X", ("AND", "((A,1),(B,2))", Some("X"), vec![])),
            ("AND,X", ("AND", "", Some("X"), vec![])),
            ("NOPE,1,2,3", ("NOPE", "1", Some("2"), vec!["3"])),
            ("", ("", "", None, vec![])),
        ];
        for (line, (name, payload, target, params)) in table {
            let found = parts(RuleLine::with_target(line));
            let params: Vec<String> = params.into_iter().map(str::to_owned).collect();
            assert_eq!(found, (name.to_owned(), payload.to_owned(), target.map(str::to_owned), params), "{line:?}");
        }
    }

    #[test]
    fn without_a_target_the_second_piece_is_a_parameter() {
        let line = RuleLine::without_target(Piece::new("IP-CIDR,1.0.0.0/8,no-resolve", 0));
        assert_eq!(parts(line), ("IP-CIDR".into(), "1.0.0.0/8".into(), None, vec!["no-resolve".into()]));
        let line = RuleLine::without_target(Piece::new("DOMAIN-REGEX,a,b", 0));
        assert_eq!(parts(line), ("DOMAIN-REGEX".into(), "a,b".into(), None, vec![]));
    }

    #[test]
    fn pieces_know_where_they_stand() {
        let text = "  IP-CIDR ,  1.0.0.0/8,PROXY , src";
        let line = RuleLine::with_target(text);
        for piece in [line.name_piece, line.payload, line.target.unwrap(), line.params[0]] {
            assert_eq!(&text[piece.range()], piece.text);
        }
    }
}
