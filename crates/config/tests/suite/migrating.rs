//! `docs/migrating-from-mihomo.md` says of every key of Mihomo what becomes of it. Here the reader is asked whether that is so.

mod places;

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::Path;

use adit_config::{Severity, Source, load};

use places::{PLACES, Place};

const PAGE: &str = include_str!("../../../../docs/migrating-from-mihomo.md");
const SAMPLES: &str = include_str!("migrating/samples.txt");

/// The second column of the page's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Yes,
    Differs,
    Ignored,
    No,
    Ours,
}

impl Verdict {
    fn parse(cell: &str) -> Option<Self> {
        Some(match cell {
            "yes" => Self::Yes,
            "differs" => Self::Differs,
            "ignored" => Self::Ignored,
            "no" => Self::No,
            "ours" => Self::Ours,
            _ => return None,
        })
    }
}

/// A key (or a type, a flag, an endpoint) and what the page says of it.
#[derive(Debug)]
struct Row {
    table: &'static str,
    key: &'static str,
    verdict: Verdict,
}

/// What stands between backticks.
fn quoted(cell: &'static str) -> impl Iterator<Item = &'static str> {
    cell.split('`').skip(1).step_by(2)
}

/// The rows of all tables whose second column is headed `here`.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut table = None;
    for line in PAGE.lines() {
        let Some(cells) = line.strip_prefix('|') else {
            table = None;
            continue;
        };
        let cells: Vec<&str> = cells.split('|').map(str::trim).collect();
        match (table, &cells[..]) {
            (None, [title, "here", ..]) => table = Some(*title),
            (Some(_), [dashes, ..]) if dashes.starts_with("---") => {}
            (Some(table), [keys, verdict, note, ..]) => {
                let known = Verdict::parse(verdict);
                let verdict = known.unwrap_or_else(|| panic!("{table}: {keys} is {verdict}, which is no verdict"));
                if verdict == Verdict::Differs {
                    assert!(!note.is_empty(), "{table}: {keys} differs, and how is not said");
                }
                rows.extend(quoted(keys).map(|key| Row { table, key, verdict }));
            }
            _ => {}
        }
    }
    rows
}

/// The rows that are about what stands in a file.
fn keys() -> Vec<(&'static Place, Row)> {
    let place = |row: Row| Some((PLACES.iter().find(|place| place.table == row.table)?, row));
    rows().into_iter().filter_map(place).collect()
}

/// One value of a key.
struct Sample {
    table: &'static str,
    key: &'static str,
    value: &'static str,
}

fn samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut table = "";
    for line in SAMPLES.lines().filter(|line| !line.is_empty() && !line.starts_with("# ")) {
        match (line.strip_prefix('[').and_then(|line| line.strip_suffix(']')), line.split_once(" -> ")) {
            (_, Some((key, value))) => samples.push(Sample { table, key, value }),
            (Some(title), None) => table = title,
            (None, None) => panic!("no sample: {line}"),
        }
    }
    samples
}

/// A configuration that has little more than one key.
fn configuration(samples: &[Sample], place: &Place, key: &str) -> String {
    let found = samples.iter().find(|sample| sample.table == place.table && sample.key == key);
    let value = found.map(|sample| sample.value).or(place.usual);
    let value = value.unwrap_or_else(|| panic!("{}: there is no sample of {key}", place.table));
    let text = match value.strip_prefix("FILE ") {
        Some(text) => text.to_owned(),
        None => place.file.replace("KEY", key).replace("VALUE", value),
    };
    text.replace('⏎', "\n")
}

/// What the reader says, each with its severity.
fn said(text: &str) -> Vec<(Severity, String)> {
    // A folder that is there; nothing is written into it.
    let source = Source {
        name: "config.yaml".into(),
        text: text.to_owned(),
        home: env!("CARGO_MANIFEST_DIR").into(),
        overrides: Default::default(),
    };
    let loaded = load(&source);
    loaded.problems.iter().map(|problem| (problem.severity, problem.message.clone())).collect()
}

/// What a user reads as "this does nothing".
fn is_refusal(message: &str) -> bool {
    let words = [
        "unknown key",
        "no effect",
        "not supported",
        "unsupport",
        "not started",
        "not downloaded",
        "adit does not",
        "was removed",
    ];
    words.iter().any(|word| message.contains(word)) && !message.contains("is not available")
}

#[test]
fn every_key_is_what_the_page_says() {
    let (samples, mut wrong) = (samples(), Vec::new());
    for (place, row) in keys() {
        let text = configuration(&samples, place, row.key);
        let said = said(&text);
        let has_error = said.iter().any(|(severity, _)| *severity == Severity::Error);
        let refused = has_error || said.iter().any(|(_, message)| is_refusal(message));
        let is_unknown = said.iter().any(|(_, message)| message.contains("unknown key"));
        let is_right = match row.verdict {
            Verdict::Yes | Verdict::Ignored => !refused,
            Verdict::Differs => !has_error && !is_unknown,
            Verdict::No => refused && !is_unknown,
            Verdict::Ours => false,
        };
        if !is_right {
            wrong.push(format!("{}: {} is not `{:?}`: {said:#?}\n{text}", row.table, row.key, row.verdict));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// A key that nobody has thought of shows that the samples are looked at.
#[test]
fn a_key_that_does_not_exist_is_found_out_at_every_place() {
    // These are lists of words, and no place for keys.
    let words = ["`type`", "nameserver", "rule"];
    for place in PLACES.iter().filter(|place| !words.iter().any(|word| place.table.starts_with(word))) {
        let text = place.file.replace("KEY", "x9").replace("VALUE", "1");
        let said = said(&text);
        assert!(said.iter().any(|(_, message)| message.contains("unknown key `x9`")), "{}: {said:?}", place.table);
    }
}

#[test]
fn every_table_is_tried_and_every_sample_has_a_row() {
    let others = ["endpoint", "flag", "variable", "signal"];
    let rows = rows();
    for row in &rows {
        let is_known = PLACES.iter().any(|place| place.table == row.table) || others.contains(&row.table);
        assert!(is_known, "the table '{}' is not tried", row.table);
    }
    for place in PLACES {
        assert!(rows.iter().any(|row| row.table == place.table), "there is no table '{}'", place.table);
    }
    for Sample { table, key, .. } in samples() {
        assert!(rows.iter().any(|row| row.table == table && row.key == key), "{table}: there is no row of {key}");
    }
    let mut seen = HashSet::new();
    for row in &rows {
        assert!(seen.insert((row.table, row.key)), "{}: {} is there twice", row.table, row.key);
    }
}

/// The controller's table of endpoints, as it is written: it is not one that other crates can ask for.
#[test]
fn every_endpoint_has_a_row() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../controller/src/api/mod.rs");
    let code = fs::read_to_string(file).unwrap();
    let served = endpoints(&code);
    assert!(served.len() > 40, "{served:?}");
    let rows = rows();
    let (listed, refused): (Vec<&Row>, Vec<&Row>) = rows
        .iter()
        .filter(|row| row.table == "endpoint")
        .partition(|row| !row.key.contains("/debug/") && !row.key.starts_with("GET /ui") && row.key != "GET /");
    let listed: BTreeSet<String> = listed.iter().map(|row| row.key.to_owned()).collect();
    assert_eq!(listed, served);
    assert_eq!(refused.len(), 5, "{refused:?}");
}

/// `GET /path` and so on, of lines like `("/path", get(…).put(…)),`.
fn endpoints(code: &str) -> BTreeSet<String> {
    let mut endpoints = BTreeSet::new();
    for line in code.lines().filter_map(|line| line.trim().strip_prefix("(\"")) {
        let Some((path, methods)) = line.split_once("\", ") else { continue };
        for method in ["get", "post", "put", "patch", "delete"] {
            if methods.starts_with(&format!("{method}(")) || methods.contains(&format!(").{method}(")) {
                endpoints.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    endpoints
}
