//! F-D3: what YAML files can do to those who read them.

use std::time::{Duration, Instant};

use adit_config::Source;
use adit_router::Mode;

use crate::scene::{errors, loaded, only_error, plan, warnings};

#[test]
fn syntax_errors_have_a_place() {
    for (text, line, column, message) in [
        ("a: 1\n\tb: 2\n", 2, 1, "a tab where only spaces may be"),
        ("mode: rule\nrules: [a, b\nport: 1\n", 3, 5, "':'"),
        ("mode: rule\nsecret: \"abc\n", 2, 9, "unclosed quote"),
        ("mode: *nothing\n", 1, 7, "unknown anchor"),
        ("p: &p\n  q: *p\n", 2, 6, "stands inside what it refers to"),
        ("mode: rule\n---\nmode: rule\n", 2, 1, "second YAML document"),
        ("mode: rule\n? [a]\n: b\n", 2, 3, "cannot be a key"),
        ("p:\n  <<: 5\n", 2, 7, "map merge requires map or sequence of maps as the value"),
        ("- a\n- b\n", 1, 1, "expected a mapping, found a list"),
    ] {
        let loaded = loaded(text);
        assert!(loaded.plan.is_none(), "{text:?}");
        let problem = loaded.problems.iter().next().unwrap();
        assert!(problem.message.contains(message), "{text:?}: {}", problem.message);
        assert_eq!((problem.line, problem.column), (line, column), "{text:?}: {}", problem.message);
    }
}

#[test]
fn duplicate_keys_are_all_reported_with_the_line_of_the_first() {
    let text = "mode: rule\nipv6: true\nmode: direct\nhosts:\n  a.b: 1.1.1.1\n  a.b: 2.2.2.2\n";
    assert_eq!(
        errors(text),
        ["mapping key \"mode\" already defined at line 1", "mapping key \"a.b\" already defined at line 5",]
    );
}

#[test]
fn empty_files_are_refused_in_known_words() {
    for text in ["", "\n\n", "# only a comment\n", "---\n", "null\n"] {
        assert_eq!(only_error(text), "configuration file config.yaml is empty", "{text:?}");
    }
}

#[test]
fn byte_order_marks_line_endings_and_json_are_read() {
    assert_eq!(plan("\u{feff}mode: direct\r\nipv6: false\r\n").mode, Mode::Direct);
    assert!(!plan("\u{feff}mode: direct\r\nipv6: false\r\n").general.ipv6);
    assert_eq!(plan(r#"{"mode": "Direct", "ipv6": true}"#).mode, Mode::Direct);
    // Places are right in such files, too.
    let loaded = loaded("\u{feff}ipv6: true\r\nmode: x\r\n");
    let problem = loaded.problems.iter().next().unwrap();
    assert_eq!((problem.line, problem.column), (2, 7));
    assert!(!loaded.problems.render(false).contains('\r'));
}

#[test]
fn bytes_that_are_not_utf8_are_refused_with_their_place() {
    let problems = Source::from_bytes("c.yaml", b"mode: rule\nsecret: hunter2\xff\n".to_vec(), ".").unwrap_err();
    let problem = problems.iter().next().unwrap();
    assert_eq!((problem.line, problem.column), (2, 16));
    assert!(problem.message.contains("UTF-8"));
    assert!(!problems.render(false).contains("hunter2"));
    assert!(Source::from_bytes("c.yaml", b"mode: rule\n".to_vec(), ".").is_ok());
}

#[test]
fn alias_bombs_cost_nothing() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..40 {
        let inner = format!("*a{}", n - 1);
        text.push_str(&format!("a{n}: &a{n} [{}]\n", [&*inner; 10].join(", ")));
    }
    text.push_str("rules: *a39\nproxies: *a39\nproxy-groups: *a39\nhosts: {a.b: *a39}\n");
    let start = Instant::now();
    assert!(loaded(&text).plan.is_none());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn merge_bombs_are_cut_at_a_budget() {
    let keys: Vec<String> = (0..1000).map(|n| format!("k{n}: 1")).collect();
    let mut text = format!("base: &base {{{}}}\nlist:\n", keys.join(", "));
    for _ in 0..2000 {
        text.push_str("  - <<: *base\n");
    }
    assert!(errors(&text).iter().any(|error| error.contains("come from merges")));
}

#[test]
fn nesting_is_limited_in_the_file_and_harmless_through_aliases() {
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        let text = format!("x: {}{}\n", open.repeat(20_000), close.repeat(20_000));
        assert_eq!(errors(&text).len(), 1);
    }
    let block: String = (0..2000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert_eq!(errors(&block).len(), 1);
    // A chain of aliases is deeper than any nesting the parser would accept.
    let mut chain = "a0: &a0 [x]\n".to_owned();
    for n in 1..50_000 {
        chain.push_str(&format!("a{n}: &a{n} [*a{}]\n", n - 1));
    }
    chain.push_str("mode: wrong\nrules: *a49999\n");
    assert!(!errors(&chain).is_empty());
}

#[test]
fn huge_scalars_are_shown_shortened() {
    let text = format!("mode: {}\n", "x".repeat(1 << 20));
    let rendered = loaded(&text).problems.render(false);
    assert!(rendered.len() < 2000, "{}", rendered.len());
}

#[test]
fn anchors_merge_keys_and_templates_work_as_in_subscriptions() {
    let text = "\
p: &p {type: socks5, port: 1080, udp: true}
pr:
  inner: &g
    type: select
    proxies: [a, DIRECT]
x-notes: anything
proxies:
  - {<<: *p, name: a, server: 192.0.2.1}
  - <<: *p
    name: b
    server: 192.0.2.2
    port: 1081
proxy-groups:
  - {<<: *g, name: G}
  - name: H
    <<: [*g, {proxies: [b], hidden: true}]
";
    assert_eq!(warnings(text), [""; 0]);
    let plan = plan(text);
    let ports: Vec<String> = plan.outbounds[1..].iter().map(|outbound| format!("{:?}", outbound.kind)).collect();
    assert!(ports[0].contains("192.0.2.1:1080") && ports[1].contains("192.0.2.2:1081"), "{ports:?}");
    assert_eq!(plan.groups[1].members.iter().map(|tag| &**tag).collect::<Vec<_>>(), ["a", "DIRECT"]);
    assert!(plan.groups[1].hidden);
}

#[test]
fn values_are_weakly_typed() {
    let text = "\
mixed-port: '7890'
ipv6: 'false'
tcp-concurrent: yes
proxies:
  - {name: 123, type: socks5, server: 10.0.0.1, port: '0x1bb', udp: 'true', skip_cert_verify: true, tls: 1}
  - {name: yes, type: socks5, server: 10.0.0.1, port: 0o17, username: 0123, password: ~}
";
    let plan = plan(text);
    assert_eq!(plan.inbounds[0].options.listen.port(), 7890);
    assert!(!plan.general.ipv6 && plan.general.tcp_concurrent);
    assert_eq!(&*plan.outbounds[1].name, "123");
    assert!(plan.outbounds[1].common.udp);
    let first = format!("{:?}", plan.outbounds[1].kind);
    assert!(first.contains("10.0.0.1:443") && first.contains("Off"), "{first}");
    let second = format!("{:?}", plan.outbounds[2].kind);
    assert_eq!(&*plan.outbounds[2].name, "yes");
    assert!(second.contains("10.0.0.1:15") && second.contains("0123"), "{second}");
}

/// Whatever stands in a file, there is a plan or an error, and the diagnostics can be drawn.
fn check(text: &str) {
    let loaded = loaded(text);
    assert_ne!(loaded.plan.is_some(), loaded.problems.has_errors(), "{text}");
    let shown = loaded.problems.render(false);
    assert!(!shown.contains("5783a3e7-e373-51cd-8642-c83782b807c5"), "{shown}");
}

const SMALL: &str = "\
p: &p {type: vless, uuid: 5783a3e7-e373-51cd-8642-c83782b807c5}
mixed-port: 1
proxies:
- {<<: *p, name: \"é\", server: a.b, port: 1}
- name: 'x'
  type: >-
   direct
proxy-groups: [{name: G, type: select, include-all: yes, filter: (?i)x}]
hosts: {a.b: [1.1.1.1, '::1'], c.d: a.b}
rule-providers: {r: {type: inline, behavior: domain, payload: [+.a]}}
sub-rules: {s: ['MATCH,x']}
rules:
- AND,((DOMAIN,a),(NETWORK,udp)),é
- SUB-RULE,(RULE-SET,r),s
- \"MATCH,G\"
";

#[test]
fn every_prefix_of_a_file_is_handled() {
    plan(SMALL);
    for end in (0..SMALL.len()).filter(|end| SMALL.is_char_boundary(*end)) {
        check(&SMALL[..end]);
    }
}

#[test]
fn damaged_files_are_handled() {
    let mut state = 0x9e37_79b9_u32;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % below
    };
    let pieces = [
        "\n", "\t", "\"", "'", ":", ": ", "- ", "{", "}", "[", "]", ",", "&p ", "*p", "<<: ", "#", "\u{202e}", "é",
        "\0", "|", ">", "!", "%", "\r",
    ];
    for _ in 0..600 {
        let mut text: Vec<char> = SMALL.chars().collect();
        for _ in 0..=random(3) {
            let at = random(text.len());
            match random(3) {
                0 => text.splice(at..at, pieces[random(pieces.len())].chars()).for_each(drop),
                1 => text.drain(at..(at + random(12)).min(text.len())).for_each(drop),
                _ => {
                    let piece: Vec<char> = text[at..(at + random(40)).min(text.len())].to_vec();
                    let to = random(text.len());
                    text.splice(to..to, piece);
                }
            }
        }
        check(&text.into_iter().collect::<String>());
    }
}

/// A wrong file can have a problem on every line; they are counted, and the first thousand shown.
#[test]
fn floods_of_problems_are_counted() {
    let mut text = String::from("mode: rule\n");
    for n in 0..5_000 {
        text.push_str(&format!("unknown-{n}: 1\nmode: rule\n"));
    }
    text.push_str("rules:\n");
    for n in 0..5_000 {
        text.push_str(&format!("- DOMAIN,{n}.example,NOBODY\n"));
    }
    let start = Instant::now();
    let loaded = loaded(&text);
    assert!(loaded.plan.is_none());
    let counts = loaded.problems.counts();
    assert_eq!((counts.errors, counts.warnings), (10_000, 5_000));
    assert_eq!(loaded.problems.iter().count(), 2000);
    assert!(loaded.problems.render(false).ends_with("and 9000 more errors and 4000 more warnings\n\n"));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}
