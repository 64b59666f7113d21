//! Payloads of `AND`, `OR`, `NOT` and `SUB-RULE`: rules in parentheses.
//!
//! Source: spec page 3.5.

use super::RuleErrorKind;
use super::line::Piece;

/// What a payload of parentheses holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Groups<'a> {
    /// The outermost groups, without the pair that spans the whole payload.
    pub(crate) groups: Vec<Piece<'a>>,
    /// Text between them that is neither a comma nor blank.
    pub(crate) ignored: Vec<Piece<'a>>,
}

/// Takes a payload apart. A first parenthesis that is closed by the last one is a wrapper, so `(A,1)` holds no group
/// and `((A,1))` one.
pub(crate) fn groups(payload: Piece<'_>) -> Result<Groups<'_>, RuleErrorKind> {
    if !payload.text.starts_with('(') || !payload.text.ends_with(')') {
        return Err(RuleErrorKind::LogicFormat);
    }
    let wrapped = is_wrapped(payload.text)?;
    let (inside, at) =
        if wrapped { (&payload.text[1..payload.text.len() - 1], payload.at + 1) } else { (payload.text, payload.at) };
    Ok(outermost(inside, at))
}

/// The condition of `SUB-RULE` is read as if it stood in one more pair of parentheses.
pub(crate) fn groups_of_condition(payload: Piece<'_>) -> Result<Groups<'_>, RuleErrorKind> {
    if !payload.text.starts_with('(') || !payload.text.ends_with(')') {
        return Err(RuleErrorKind::LogicFormat);
    }
    is_wrapped(payload.text)?;
    Ok(outermost(payload.text, payload.at))
}

/// Checks the balance, and says whether the first parenthesis is closed by the last.
fn is_wrapped(text: &str) -> Result<bool, RuleErrorKind> {
    let mut depth = 0_usize;
    let mut wrapped = true;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => {
                depth = depth.checked_sub(1).ok_or(RuleErrorKind::MissingOpen)?;
                wrapped &= depth > 0 || at + 1 == text.len();
            }
            _ => {}
        }
    }
    if depth == 0 { Ok(wrapped) } else { Err(RuleErrorKind::MissingClose) }
}

/// The outermost groups of a balanced text that begins at byte `at` of its line.
fn outermost(text: &str, at: usize) -> Groups<'_> {
    let mut found = Groups { groups: Vec::new(), ignored: Vec::new() };
    let mut depth = 0_usize;
    let mut from = 0;
    for (here, c) in text.char_indices() {
        match c {
            '(' => {
                if depth == 0 {
                    found.between(&text[from..here], at + from);
                    from = here + 1;
                }
                depth += 1;
            }
            ')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    found.groups.push(Piece::new(&text[from..here], at + from));
                    from = here + 1;
                }
            }
            _ => {}
        }
    }
    found.between(&text[from..], at + from);
    found
}

impl<'a> Groups<'a> {
    fn between(&mut self, text: &'a str, at: usize) {
        let meaningless = |c: char| c == ',' || c.is_whitespace();
        let inner = text.trim_start_matches(meaningless);
        if !inner.is_empty() {
            let piece = Piece::new(inner.trim_end_matches(meaningless), at + text.len() - inner.len());
            self.ignored.push(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(payload: &str) -> Result<Vec<&str>, RuleErrorKind> {
        let found = groups(Piece::new(payload, 0))?;
        for piece in found.groups.iter().chain(&found.ignored) {
            assert_eq!(&payload[piece.range()], piece.text);
        }
        Ok(found.groups.into_iter().map(|piece| piece.text).collect())
    }

    #[test]
    fn wrappers_and_groups() {
        for (payload, children) in [
            ("((DOMAIN,a.com),(NETWORK,udp))", &["DOMAIN,a.com", "NETWORK,udp"][..]),
            ("(DOMAIN,a.com)", &[]),
            ("((DOMAIN,a.com))", &["DOMAIN,a.com"]),
            ("()", &[]),
            (
                "((AND,(DOMAIN,a.com),(NETWORK,tcp)),(DST-PORT,443))",
                &["AND,(DOMAIN,a.com),(NETWORK,tcp)", "DST-PORT,443"],
            ),
            ("(DOMAIN,a.com),(NETWORK,tcp)", &["DOMAIN,a.com", "NETWORK,tcp"]),
            ("((OR,((A,1),(B,2))),(C,3))", &["OR,((A,1),(B,2))", "C,3"]),
            ("( ( DOMAIN-REGEX,a,(b|c) ) )", &["DOMAIN-REGEX,a,(b|c)"]),
        ] {
            assert_eq!(texts(payload).unwrap(), children, "{payload}");
        }
    }

    #[test]
    fn unbalanced_payloads() {
        for (payload, error) in [
            ("", RuleErrorKind::LogicFormat),
            ("DOMAIN,a", RuleErrorKind::LogicFormat),
            ("(DOMAIN,a", RuleErrorKind::LogicFormat),
            ("(A))(B)", RuleErrorKind::MissingOpen),
            ("((A)", RuleErrorKind::MissingClose),
        ] {
            assert_eq!(texts(payload), Err(error), "{payload}");
        }
    }

    #[test]
    fn text_between_groups_is_told() {
        let found = groups(Piece::new("((A,1) and (B,2), x)", 0)).unwrap();
        assert_eq!(found.ignored.iter().map(|piece| piece.text).collect::<Vec<_>>(), ["and", "x"]);
        let condition = groups_of_condition(Piece::new("(NETWORK,tcp)", 0)).unwrap();
        assert_eq!(condition.groups.len(), 1);
    }

    proptest! {
        #[test]
        fn any_text_is_taken_apart_or_refused(payload in "[(),A1 é]{0,20}") {
            let _ = texts(&payload);
        }
    }
}
