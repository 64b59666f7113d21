//! Rules about programs of this host.

use std::net::Ipv4Addr;

use adit_testkit::origin::HttpOrigin;
use adit_testkit::{free_port, peers, programs};

use crate::scenes;

#[test]
fn a_rule_knows_the_program_behind_a_connection() {
    let origin = HttpOrigin::start();
    let url = format!("http://{}/bytes/10", origin.addr());
    for (mode, is_known) in [("strict", true), ("off", false)] {
        let port = free_port();
        let config = format!(
            "mixed-port: {port}\nfind-process-mode: {mode}\nrules:\n  - PROCESS-NAME,curl,REJECT\n  - MATCH,DIRECT\n"
        );
        let adit = peers::adit(&config, &[port]);
        let proxy = format!("socks5h://127.0.0.1:{port}");
        assert_eq!(programs::curl(&["-x", &proxy, &url]).code != 0, is_known, "{mode}: {}", adit.log());
        scenes::plain_http((Ipv4Addr::LOCALHOST, port).into(), &origin);
    }
}
