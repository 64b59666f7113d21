//! Loading texts and looking at what came out.

use adit_config::{Loaded, Plan, Severity, Source, load};
use adit_outbound::options::{Kind, Outbound, WireGuard};

/// A source in a home folder that does not exist.
pub(crate) fn source(text: &str) -> Source {
    Source {
        name: "config.yaml".into(),
        text: text.into(),
        home: "/nonexistent/adit".into(),
        overrides: Default::default(),
    }
}

pub(crate) fn loaded(text: &str) -> Loaded {
    load(&source(text))
}

/// The plan of a text without errors.
#[track_caller]
pub(crate) fn plan(text: &str) -> Plan {
    let loaded = loaded(text);
    match loaded.plan {
        Some(plan) => plan,
        None => panic!("{}", loaded.problems.render(false)),
    }
}

/// The messages of the errors.
pub(crate) fn errors(text: &str) -> Vec<String> {
    messages(&loaded(text), Severity::Error)
}

/// The messages of the warnings.
pub(crate) fn warnings(text: &str) -> Vec<String> {
    messages(&loaded(text), Severity::Warning)
}

fn messages(loaded: &Loaded, severity: Severity) -> Vec<String> {
    let problems = loaded.problems.iter().filter(|problem| problem.severity == severity);
    problems.map(|problem| problem.message.clone()).collect()
}

/// The one error of a text.
#[track_caller]
pub(crate) fn only_error(text: &str) -> String {
    let mut errors = errors(text);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    errors.remove(0)
}

/// The outbound of that name.
#[track_caller]
pub(crate) fn outbound<'p>(plan: &'p Plan, name: &str) -> &'p Outbound {
    let found = plan.outbounds.iter().find(|outbound| &*outbound.name == name);
    found.unwrap_or_else(|| panic!("no outbound {name}"))
}

#[track_caller]
pub(crate) fn vless(outbound: &Outbound) -> &adit_outbound::vless::Options {
    match &outbound.kind {
        Kind::Vless(options) => options,
        other => panic!("not vless: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn wireguard(outbound: &Outbound) -> &WireGuard {
    match &outbound.kind {
        Kind::WireGuard(options) => options,
        other => panic!("not wireguard: {other:?}"),
    }
}

/// A public key of the right length, base64url.
pub(crate) const PUBLIC_KEY: &str = "NYBy1jZYgNGu6jKa35EhODhR7SGijjt16WXQ0s0WYlQ";
/// A user id.
pub(crate) const UUID: &str = "5783a3e7-e373-51cd-8642-c83782b807c5";
