//! What `adit check` shows.

use adit_config::{Counts, Severity};

use crate::scene::{PUBLIC_KEY, UUID, errors, loaded, warnings};

#[test]
fn every_problem_is_shown_in_one_go_with_its_line_and_a_hint() {
    let text = "\
mixed-port: 7890
mode: rul
socks-prot: 1080
ntp: {enable: true}
tun: {enable: false}
proxies:
  - {name: a, type: vles, server: example.com, port: 443}
proxy-groups:
  - {name: G, type: select, proxies: [a, DIRCET]}
";
    let loaded = loaded(text);
    assert_eq!(loaded.problems.counts(), Counts { errors: 3, warnings: 2 });
    assert!(loaded.plan.is_none());
    let expected = "\
error: invalid mode: rul
 --> config.yaml:2:7
  |
2 | mode: rul
  |       ^^^
  |
  = help: did you mean 'rule'?

warning: unknown key `socks-prot` in the configuration; it has no effect
 --> config.yaml:3:1
  |
3 | socks-prot: 1080
  | ^^^^^^^^^^
  |
  = help: did you mean 'socks-port'?

warning: `ntp` in the configuration is not supported yet and has no effect
 --> config.yaml:4:1
  |
4 | ntp: {enable: true}
  | ^^^

error: proxy 0: unsupport proxy type: vles
 --> config.yaml:7:21
  |
7 |   - {name: a, type: vles, server: example.com, port: 443}
  |                     ^^^^
  |
  = help: did you mean 'vless'?

error: G: 'DIRCET' not found
 --> config.yaml:9:42
  |
9 |   - {name: G, type: select, proxies: [a, DIRCET]}
  |                                          ^^^^^^
  |
  = help: did you mean 'DIRECT'?

";
    assert_eq!(loaded.problems.render(false), expected);
    assert!(loaded.problems.render(true).contains("\u{1b}["));
    let first = loaded.problems.iter().next().unwrap();
    assert_eq!(first.to_string(), "config.yaml:2:7: error: invalid mode: rul (did you mean 'rule'?)");
    assert_eq!(&text[first.span.clone()], "rul");
}

#[test]
fn keys_that_mihomo_has_and_we_do_not_are_named_once() {
    let text = "\
external-ui: ui
external-controller: 127.0.0.1:9090
secret: hunter2
experimental: {}
ntp: {enable: false}
tunnels: [\"tcp,127.0.0.1:1,example.com:1\"]
profile: {store-selected: true}
geodata-mode: false
geox-url: {mmdb: https://example.com/x}
global-client-fingerprint: chrome
proxies:
  - {name: a, type: socks5, server: 10.0.0.1, port: 1, tfo: true, smux: {enabled: true}}
  - {name: b, type: socks5, server: 10.0.0.1, port: 1, tfo: true, mptcp: false}
";
    let found = warnings(text);
    for key in ["`tunnels`", "there is no dashboard in", "geo databases are not downloaded"] {
        let about = found.iter().filter(|warning| warning.contains(key)).count();
        assert_eq!(about, 1, "{key}: {found:#?}");
    }
    for off in [
        "external-controller",
        "hunter2",
        "store-selected",
        "experimental",
        "ntp",
        "geodata-mode",
        "global-client-fingerprint",
        "mptcp",
    ] {
        assert!(!found.iter().any(|warning| warning.contains(off)), "{off}: {found:#?}");
    }
    let tfo: Vec<_> = found.iter().filter(|warning| warning.contains("`tfo`")).collect();
    assert_eq!(tfo.len(), 1);
    assert!(tfo[0].ends_with("(and in one more place)"), "{tfo:?}");
    assert_eq!(errors(text), [""; 0]);
}

/// F-L2, F-0.6: planted secrets are found neither in messages nor in the lines shown, whatever is wrong around them.
#[test]
fn secrets_are_never_shown() {
    let planted = [
        "hunter2",
        UUID,
        "aabbccddeeff0011",
        PUBLIC_KEY,
        "topsecret",
        "tok3n",
        "MIIsecretkey",
        "user-of-url",
        "headervalue",
    ];
    let text = format!(
        "\
secret: [topsecret]
authentication: [\"joe:hunter2\", \"hunter2\"]
external-controller: {{secret: topsecret}}
proxies:
  - {{name: a, type: vless, server: x, port: 99999, uuid: {UUID}, tls: true, reality-opts: {{public-key: {PUBLIC_KEY}, short-id: aabbccddeeff00112233}}, typo: 1}}
  - {{name: b, type: socks5, server: x y, port: 1, username: joe, password: [hunter2], tpyo: 2}}
  - {{name: c, type: http, server: x, port: 1, username: joe, password: hunter2, headers: {{\"a b\": headervalue}}}}
  - {{name: d, type: trojann, password: hunter2, uuid: {UUID}}}
  - {{name: e, type: vless, server: x, port: 1, uuid: '{UUID}0', private-key: MIIsecretkey}} # uuid: {UUID}
  - {{name: f, type: wireguard, private-key: MIIsecretkey, pre-shared-key: hunter2}}
  - {{name: g, type: ss, password: *nope}}
rule-providers:
  r: {{type: htp, behavior: domain, url: 'https://user-of-url:hunter2@example.com/?token=tok3n'}}
"
    );
    for text in [text.replace("*nope", "1"), text.clone(), text.replace(": *nope}}", ": \"hunter2")] {
        let loaded = loaded(&text);
        assert!(loaded.problems.has_errors());
        for shown in [
            loaded.problems.render(false),
            loaded.problems.render(true),
            format!("{:?}", loaded.problems),
            loaded.problems.iter().map(ToString::to_string).collect::<String>(),
        ] {
            for secret in planted {
                assert!(!shown.contains(secret), "{secret} in\n{shown}");
            }
        }
    }
}

#[test]
fn plans_do_not_show_secrets_in_debug() {
    let text = format!(
        "\
mixed-port: 1
authentication: [\"joe:hunter2\"]
proxies:
  - {{name: a, type: vless, server: x.y, port: 1, uuid: {UUID}, tls: true, reality-opts: {{public-key: {PUBLIC_KEY}, short-id: aabbccddeeff0011}}}}
  - {{name: b, type: socks5, server: x.y, port: 1, username: joe, password: hunter2}}
  - {{name: c, type: http, server: x.y, port: 1, username: joe, password: hunter2, headers: {{Authorization: hunter2}}}}
"
    );
    let plan = crate::scene::plan(&text);
    let shown = format!("{plan:?}");
    for secret in ["hunter2", UUID, "aabbccddeeff0011", PUBLIC_KEY, "5783"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}

#[test]
fn values_of_misspelt_secret_keys_are_masked_too() {
    for key in ["passwrd", "pasword", "Password", "private_kye", "public-ky", "uiid", "authentification", "sercet"] {
        let text = format!("{key}: hunter2\nproxies: [{{name: a, type: direct, {key}: hunter2}}]\n");
        let shown = loaded(&text).problems.render(false);
        assert!(shown.contains(key) && !shown.contains("hunter2"), "{shown}");
    }
}

/// In files that could not be parsed, secrets are recognised by the keys above them.
#[test]
fn secrets_are_masked_where_the_file_is_broken() {
    for text in [
        "authentication:\n  - joe:hunter2\n  - \"joe:hunter2\n",
        "authentication:\n- \"joe:hunter2\n",
        "proxies:\n  - name: a\n    password: \"hunter2\n",
        "proxies:\n  - name: a\n    headers:\n      X: \"hunter2\n",
        "proxies: [{name: a, password: \"hunter2 }]\n",
        "proxies: [{name: a, password: hunter2]\n",
        "url: 'https://joe:hunter2@example.com\n",
        "url: 'https://example.com/?hunter2\n",
        "\"secret\": \"hunter2\n",
    ] {
        let loaded = loaded(text);
        let shown = loaded.problems.render(false);
        assert!(loaded.problems.has_errors());
        assert!(!shown.contains("hunter2"), "{text}\n{shown}");
    }
}

/// F-D13, F-L1
#[test]
fn names_with_control_characters_are_escaped() {
    let text = "proxy-groups:\n  - {name: \"a\\e[31m\\u202e\\nb\", type: select, proxies: [\"x\\a😀\"]}\n";
    let loaded = loaded(text);
    let shown = loaded.problems.render(false);
    assert!(shown.contains("a\\u{1b}[31m\\u{202e}\\u{a}b: 'x\\u{7}😀' not found"), "{shown}");
    let raw = "mode: a\u{202e}b\u{061c}c\u{7f}\n";
    for text in [raw, "mode: \u{200f}\u{061c}x\n", "hosts: {\u{202e}: 1.1.1.1, a..b: 1.1.1.1}\n"] {
        let shown = crate::scene::loaded(text).problems.render(false);
        assert!(!shown.contains(['\u{202e}', '\u{1b}', '\u{7f}', '\u{061c}', '\u{200f}']), "{shown:?}");
    }
}

#[test]
fn typos_get_a_hint_and_words_do_not() {
    for (text, hint) in [
        ("mixed-prot: 1\n", Some("did you mean 'mixed-port'?")),
        ("mixed_port: 1\n", Some("did you mean 'mixed-port'?")),
        ("proxy-group: []\n", Some("did you mean 'proxy-groups'?")),
        ("rule: []\n", Some("did you mean 'rules'?")),
        ("experimantal: {a: 1}\n", Some("did you mean 'experimental'?")),
        ("something-else: 1\n", None),
    ] {
        let loaded = loaded(text);
        let problem = loaded.problems.iter().next().unwrap();
        assert_eq!(problem.severity, Severity::Warning);
        assert!(problem.message.starts_with("unknown key"), "{}", problem.message);
        assert_eq!(problem.hint.as_deref(), hint, "{text}");
    }
    assert_eq!(warnings("x-anything: 1\np: &p {a: 1}\nhosts: {<<: *p}\n").len(), 0);
}

#[test]
fn wrong_words_are_named_in_known_texts() {
    for (text, message, hint) in [
        ("mode: globl", "invalid mode: globl", "did you mean 'global'?"),
        ("log-level: warn", "invalid log-level: warn", "it is one of: silent, error, warning, info, debug"),
        ("find-process-mode: sometimes", "invalid find process mode: sometimes", "it is one of: strict, always, off"),
    ] {
        let loaded = loaded(text);
        let problem = loaded.problems.iter().next().unwrap();
        assert_eq!((&*problem.message, problem.hint.as_deref()), (message, Some(hint)));
    }
    assert_eq!(crate::scene::plan("mode: GLOBAL\nlog-level: Debug").log_level, adit_config::LogLevel::Debug);
}

#[test]
fn values_of_the_wrong_kind_are_errors_with_the_key() {
    for (text, message) in [
        ("mixed-port: 70000", "`mixed-port` must be a port from 0 to 65535, found '70000'"),
        ("mixed-port: abc", "`mixed-port` must be a port from 0 to 65535, found 'abc'"),
        ("ipv6: maybe", "`ipv6` must be true or false, found 'maybe'"),
        ("proxies: x", "'proxies' is not a slice"),
        ("proxies: [x]", "`proxies` must be a mapping, found 'x'"),
        ("hosts: [x]", "`hosts` must be a mapping, found a list"),
        (
            "lan-allowed-ips: [192.168.0.0/99]",
            "`lan-allowed-ips` must be a list of prefixes like 192.168.0.0/16, found '192.168.0.0/99'",
        ),
        ("bind-address: home", "`bind-address` must be * or an address, found 'home'"),
        ("routing-mark: -1", "`routing-mark` must be a number from 0 to 4294967295, found '-1'"),
    ] {
        assert_eq!(errors(text), [message], "{text}");
    }
}
