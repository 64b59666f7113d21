//! Configurations, share links and `wg-quick` files.

use adit_config::{Source, import, link as share, load};

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
const KEY: &str = "eCtXsJZ27+4PbhDkHnB923tkUn2Gj59wZw5wFA75MnU=";

/// Any text as a link, and as what follows the user id or the private key in one, which must never be repeated. What
/// can be read can be written into a configuration.
pub fn link(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    read(text);
    if text.contains("5783") || text.contains("sJZ27") {
        return;
    }
    for (secret, link) in [(UUID, format!("vless://{UUID}@{text}")), ("sJZ27", format!("wireguard://{KEY}@{text}"))] {
        read(&link);
        let told = match share::parse(&link) {
            Ok(outbound) => format!("{outbound:?}"),
            Err(why) => format!("{why} {why:?}"),
        };
        assert!(!told.contains(secret), "{told}");
    }
}

fn read(link: &str) {
    match (share::parse(link), import::link(link)) {
        (Ok(_), Ok(import)) => written(&import),
        (Err(one), Err(other)) => assert_eq!(one, other),
        (one, other) => panic!("{one:?} {other:?}"),
    }
}

/// Any text as a `wg-quick` file. What is read without an error is written as a configuration without one, and the keys
/// are in no message.
pub fn wg_quick(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    run(text.to_owned());
    if !text.contains("sJZ27") {
        run(format!("[Interface]\nPrivateKey = {KEY}\nAddress = 10.0.0.2, fd00::2\n{text}"));
    }
}

fn run(text: String) {
    let source =
        Source { name: "wg0.conf".into(), text, home: "/nonexistent/adit".into(), overrides: Default::default() };
    let (imports, problems) = import::file(&source);
    for import in &imports {
        written(import);
    }
    let shown = problems.render(false);
    // A key is hidden as a whole, or, when it is no key, as the value that it is.
    assert!(!shown.contains(KEY), "{shown}");
}

fn written(import: &import::Import) {
    let text = import::config(std::slice::from_ref(import));
    let source =
        Source { name: "config.yaml".into(), text, home: "/nonexistent/adit".into(), overrides: Default::default() };
    let loaded = load(&source);
    assert!(loaded.plan.is_some(), "{}\n{}", source.text, loaded.problems.render(false));
}
