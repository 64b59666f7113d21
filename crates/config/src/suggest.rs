//! "Did you mean …?"

/// The candidate that `written` is most likely a slip of, if any is close enough to be worth a hint.
pub(crate) fn closest<'c>(written: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    const LONGEST: usize = 64;
    let fold = |text: &str| -> Vec<char> {
        let lower = text.chars().flat_map(char::to_lowercase);
        lower.map(|c| if c == '_' { '-' } else { c }).collect()
    };
    let written = fold(written);
    if written.is_empty() || written.len() > LONGEST {
        return None;
    }
    let allowed = (written.len() / 3).clamp(1, 3);
    let near = candidates.into_iter().filter_map(|candidate| {
        // Most candidates are out at a glance.
        let length = if candidate.is_ascii() { candidate.len() } else { candidate.chars().take(LONGEST + 1).count() };
        if length > LONGEST || length.abs_diff(written.len()) > allowed {
            return None;
        }
        let folded = fold(candidate);
        let distance = distance(&written, &folded);
        (distance <= allowed && distance < folded.len()).then_some((distance, candidate))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = above[j] + usize::from(x != y);
            let mut best = replaced.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let keys = ["mixed-port", "socks-port", "port", "mode", "DIRECT", "REJECT"];
        for (written, meant) in [
            ("mixed-prot", Some("mixed-port")),
            ("mixed_port", Some("mixed-port")),
            ("sock-port", Some("socks-port")),
            ("DIRCET", Some("DIRECT")),
            ("direct", Some("DIRECT")),
            ("mod", Some("mode")),
            ("dns", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(closest(written, keys), meant, "{written}");
        }
        assert_eq!(closest(&"a".repeat(1 << 20), keys), None);
    }
}
