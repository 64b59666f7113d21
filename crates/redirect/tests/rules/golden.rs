//! The text is a contract: people paste it into firewalls of their own. `ADIT_BLESS=1` writes what is expected anew.

use std::path::Path;

use adit_redirect::{Firewall, Mode, Plan};

use crate::{full, small};

#[test]
fn the_text_is_what_it_was() {
    for (name, plan) in [
        ("redirect", Plan::up(&full(Mode::Redirect, false)).unwrap()),
        ("redirect-kill-switch", Plan::up(&full(Mode::Redirect, true)).unwrap()),
        ("redirect-small", Plan::up(&small(Mode::Redirect)).unwrap()),
        ("tproxy", Plan::up(&full(Mode::Tproxy, false)).unwrap()),
        ("tproxy-kill-switch", Plan::up(&full(Mode::Tproxy, true)).unwrap()),
        ("tproxy-small", Plan::up(&small(Mode::Tproxy)).unwrap()),
        ("down", Plan::down()),
        ("iptables-redirect", Plan::up_in(Firewall::Iptables, &full(Mode::Redirect, false)).unwrap()),
        ("iptables-tproxy-kill-switch", Plan::up_in(Firewall::Iptables, &full(Mode::Tproxy, true)).unwrap()),
        ("iptables-down", Plan::down_in(Firewall::Iptables)),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name).with_extension("sh");
        let script = plan.script();
        if std::env::var_os("ADIT_BLESS").is_some() {
            std::fs::write(&path, &script).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(script == expected, "{} differs; this is the script now:\n{script}", path.display());
    }
}
