//! Configurations and share links.

use adit_config::{Source, link as share, load};

/// Any text as a configuration, in a home folder that does not exist.
pub fn config(data: &[u8]) {
    let home = "/nonexistent/adit";
    let source = match Source::from_bytes("config.yaml", data.to_vec(), home) {
        Ok(source) => source,
        Err(problems) => {
            assert!(problems.has_errors());
            let _ = problems.render(true);
            return;
        }
    };
    let loaded = load(&source);
    assert_eq!(loaded.plan.is_none(), loaded.problems.has_errors());
    let _ = loaded.problems.render(data.len() % 2 == 0);
    for problem in loaded.problems.iter() {
        assert!(problem.line <= source.text.lines().count() + 1, "line {} does not exist", problem.line);
    }
}

const UUID: &str = "5783a3e7-e373-51cd-8642-c83782b807c5";

/// Any text as a link, and as what follows the user id in one, which must never be repeated.
pub fn link(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(why) = share::parse(text) {
        let _ = why.to_string();
    }
    if text.contains("5783") {
        return;
    }
    let told = match share::parse(&format!("vless://{UUID}@{text}")) {
        Ok(outbound) => format!("{outbound:?}"),
        Err(why) => format!("{why} {why:?}"),
    };
    assert!(!told.contains(UUID), "{told}");
}
