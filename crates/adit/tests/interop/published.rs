//! The calls of published dashboards, as `tests/dashboard/published.py` recorded them in a browser (metacubexd, gh-pages
//! 2d88afeb; zashboard, gh-pages 6a7323ad), and those that mihomo-surface §9 says Yacd makes; and what they read of the
//! answers: §9.2 to §9.7, marked M, Z or Y.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use adit_testkit::client::To;
use adit_testkit::free_port;
use adit_testkit::origin::{HttpOrigin, TcpOrigin};
use serde_json::Value;

use crate::control::{SECRET, Scene};
use crate::scenes;

/// A call, its status, and what is read of its answer: a path of keys (`*` is every element) and a type.
type Call = (&'static str, &'static str, &'static str, u16, &'static [(&'static str, &'static str)]);

const PROXY: &[(&str, &str)] = &[
    ("name", "string"),
    ("type", "string"),
    ("udp", "boolean"),
    ("history", "array"),
    ("extra", "object"),
    ("alive", "boolean"),
    ("xudp", "boolean"),
    ("tfo", "boolean"),
    ("provider-name", "string"),
    ("dialer-proxy", "string"),
];

const GROUP: &[(&str, &str)] = &[
    ("all", "array"),
    ("now", "string"),
    ("testUrl", "string"),
    ("hidden", "boolean"),
    ("icon", "string"),
    ("history", "array"),
    ("extra", "object"),
];

const CALLS: &[Call] = &[
    ("GET", "/", "", 200, &[("hello", "string")]),
    ("GET", "/version", "", 200, &[("meta", "boolean"), ("version", "string")]),
    (
        "GET",
        "/configs",
        "",
        200,
        &[
            ("port", "number"),
            ("socks-port", "number"),
            ("redir-port", "number"),
            ("tproxy-port", "number"),
            ("mixed-port", "number"),
            ("mode", "string"),
            ("allow-lan", "boolean"),
            ("bind-address", "string"),
            ("log-level", "string"),
            ("ipv6", "boolean"),
            ("interface-name", "string"),
            ("tun/enable", "boolean"),
            ("tun/device", "string"),
            ("tun/stack", "string"),
            ("sniffing", "boolean"),
            ("tcp-concurrent", "boolean"),
            ("unified-delay", "boolean"),
        ],
    ),
    ("GET", "/proxies", "", 200, &[("proxies/GLOBAL/all", "array"), ("proxies/Auto/fixed", "string")]),
    ("GET", "/proxies/Pick", "", 200, GROUP),
    ("GET", "/proxies/one", "", 200, PROXY),
    ("GET", "/proxies/n1", "", 200, PROXY),
    ("GET", "/group/Auto", "", 200, GROUP),
    ("PUT", "/proxies/Pick", r#"{"name":"two"}"#, 204, &[]),
    ("PUT", "/proxies/Auto", r#"{"name":"one"}"#, 204, &[]),
    ("DELETE", "/proxies/Auto", "", 204, &[]),
    ("GET", "/proxies/one/delay?url=%URL%&timeout=2000", "", 200, &[("delay", "number")]),
    ("GET", "/group/Pick/delay?url=%URL%&timeout=5000", "", 200, &[("two", "number")]),
    (
        "GET",
        "/providers/proxies",
        "",
        200,
        &[
            ("providers/sub/name", "string"),
            ("providers/sub/type", "string"),
            ("providers/sub/vehicleType", "string"),
            ("providers/sub/updatedAt", "string"),
            ("providers/sub/testUrl", "string"),
            ("providers/sub/proxies/*/name", "string"),
            ("providers/default/proxies", "array"),
        ],
    ),
    ("PUT", "/providers/proxies/sub", "", 204, &[]),
    ("GET", "/providers/proxies/sub/healthcheck", "", 204, &[]),
    ("GET", "/providers/proxies/sub/n1/healthcheck?url=%URL%&timeout=2000", "", 200, &[("delay", "number")]),
    (
        "GET",
        "/providers/rules",
        "",
        200,
        &[
            ("providers/blocked/name", "string"),
            ("providers/blocked/behavior", "string"),
            ("providers/blocked/type", "string"),
            ("providers/blocked/vehicleType", "string"),
            ("providers/blocked/ruleCount", "number"),
            ("providers/blocked/updatedAt", "string"),
        ],
    ),
    ("PUT", "/providers/rules/blocked", "", 204, &[]),
    (
        "GET",
        "/rules",
        "",
        200,
        &[
            ("rules/*/type", "string"),
            ("rules/*/payload", "string"),
            ("rules/*/proxy", "string"),
            ("rules/*/size", "number"),
            ("rules/*/index", "number"),
            ("rules/*/extra/disabled", "boolean"),
            ("rules/*/extra/hitCount", "number"),
            ("rules/*/extra/hitAt", "string"),
        ],
    ),
    ("PATCH", "/rules/disable", r#"{"1":true}"#, 204, &[]),
    ("PATCH", "/rules/disable", r#"{"1":false}"#, 204, &[]),
    (
        "GET",
        "/connections",
        "",
        200,
        &[
            ("downloadTotal", "number"),
            ("uploadTotal", "number"),
            ("memory", "number"),
            ("connections/*/id", "string"),
            ("connections/*/upload", "number"),
            ("connections/*/download", "number"),
            ("connections/*/start", "string"),
            ("connections/*/chains", "array"),
            ("connections/*/rule", "string"),
            ("connections/*/rulePayload", "string"),
            ("connections/*/metadata/network", "string"),
            ("connections/*/metadata/type", "string"),
            ("connections/*/metadata/sourceIP", "string"),
            ("connections/*/metadata/destinationIP", "string"),
            ("connections/*/metadata/sourcePort", "string"),
            ("connections/*/metadata/destinationPort", "string"),
            ("connections/*/metadata/inboundPort", "string"),
            ("connections/*/metadata/inboundIP", "string"),
            ("connections/*/metadata/inboundName", "string"),
            ("connections/*/metadata/inboundUser", "string"),
            ("connections/*/metadata/host", "string"),
            ("connections/*/metadata/sniffHost", "string"),
            ("connections/*/metadata/dnsMode", "string"),
            ("connections/*/metadata/process", "string"),
            ("connections/*/metadata/processPath", "string"),
            ("connections/*/metadata/uid", "number"),
            ("connections/*/metadata/specialProxy", "string"),
            ("connections/*/metadata/specialRules", "string"),
            ("connections/*/metadata/remoteDestination", "string"),
        ],
    ),
    ("DELETE", "/connections/00000000-0000-4000-8000-000000000000", "", 204, &[]),
    ("GET", "/storage/zashboard", "", 200, &[]),
    ("PUT", "/storage/zashboard", r#"{"a":1}"#, 204, &[]),
    ("GET", "/storage/zashboard", "", 200, &[("a", "number")]),
    ("DELETE", "/storage/zashboard", "", 204, &[]),
    ("GET", "/dns/query?name=one.test&type=TXT", "", 500, &[("message", "string")]),
    ("POST", "/cache/dns/flush", "", 204, &[]),
    ("POST", "/cache/fakeip/flush", "", 204, &[]),
    ("PATCH", "/configs", r#"{"mode":"global"}"#, 204, &[]),
    ("PATCH", "/configs", r#"{"mode":"rule","log-level":"info","socket-port":7}"#, 204, &[]),
    ("PATCH", "/configs", r#"{"allow-lan":true}"#, 204, &[]),
    ("PATCH", "/configs", r#"{"allow-lan":false,"unified-delay":true}"#, 204, &[]),
    ("PATCH", "/configs", r#"{"tun":{"enable":true}}"#, 400, &[("message", "string")]),
    ("PUT", "/configs?force=true", r#"{"path":"","payload":""}"#, 204, &[]),
    ("PUT", "/configs?reload=true", r#"{"path":"","payload":""}"#, 204, &[]),
    ("POST", "/configs/geo", r#"{"path":"","payload":""}"#, 500, &[("message", "string")]),
    ("POST", "/upgrade", "", 500, &[("message", "string")]),
    ("POST", "/upgrade/ui", "", 500, &[("message", "string")]),
    ("DELETE", "/connections", "", 204, &[]),
];

/// The values at `path` of `value`.
fn at<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    path.split('/').fold(vec![value], |values, key| match key {
        "*" => values.into_iter().flat_map(|value| value.as_array().expect("an array")).collect(),
        key => values.into_iter().map(|value| &value[key]).collect(),
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check(what: &str, answer: &Value, fields: &[(&str, &str)]) {
    for (path, wanted) in fields {
        let values = at(answer, path);
        assert!(!values.is_empty(), "{what}: nothing at {path}");
        values.iter().for_each(|value| assert_eq!(kind(value), *wanted, "{what}: {path} of {answer}"));
    }
}

fn scene() -> Scene {
    let dns = free_port();
    Scene::start(&format!(
        "proxies:\n  - {{name: one, type: direct}}\n  - {{name: two, type: direct}}\n\
         proxy-providers:\n  sub: {{type: inline, payload: [{{name: n1, type: direct}}]}}\n\
         rule-providers:\n  blocked: {{type: inline, behavior: domain, payload: ['+.blocked.test']}}\n\
         proxy-groups:\n  - {{name: Pick, type: select, proxies: [one, two, Auto]}}\n  \
         - {{name: Auto, type: fallback, proxies: [one, two], use: [sub], interval: 0, url: 'http://127.0.0.1:1/'}}\n\
         dns: {{enable: true, enhanced-mode: fake-ip, nameserver: ['127.0.0.1:{dns}']}}\n\
         rules:\n  - RULE-SET,blocked,REJECT\n  - DOMAIN-SUFFIX,ads.test,REJECT\n  - MATCH,Pick\n"
    ))
}

#[test]
fn calls_of_published_dashboards_are_answered() {
    let (scene, web, echo) = (scene(), HttpOrigin::start(), TcpOrigin::echo());
    let url = format!("http%3A%2F%2F127.0.0.1%3A{}%2Fbytes%2F1", web.port());
    let _open = scenes::tunnel(scene.proxy(), &To::from(echo.addr()));
    for (method, path, body, wanted, fields) in CALLS {
        let path = path.replace("%URL%", &url);
        let (status, answer) = scene.ask(method, &path, body);
        assert_eq!(status, *wanted, "{method} {path} {body}: {answer}");
        match answer.is_empty() {
            true => assert!(fields.is_empty() && *wanted == 204, "{method} {path}: no answer"),
            false => check(&path, &serde_json::from_str(&answer).unwrap(), fields),
        }
    }
}

/// Each as the dashboards open it: the secret in the query, and one JSON document in each text frame.
#[test]
fn streams_of_published_dashboards_are_web_sockets() {
    let (scene, echo) = (scene(), TcpOrigin::echo());
    let streams: [(&str, &[(&str, &str)]); 4] = [
        ("/traffic", &[("up", "number"), ("down", "number"), ("upTotal", "number"), ("downTotal", "number")]),
        ("/memory", &[("inuse", "number"), ("oslimit", "number")]),
        ("/connections", &[("downloadTotal", "number"), ("connections", "array"), ("memory", "number")]),
        ("/logs", &[("type", "string"), ("payload", "string")]),
    ];
    for (path, fields) in streams {
        let query = if path == "/logs" { "&level=info" } else { "" };
        let mut socket = web_socket(&scene, &format!("{path}?token={SECRET}{query}"));
        scenes::echo(scene.proxy(), &To::from(echo.addr()), 10);
        let message = frame(&mut socket);
        check(path, &serde_json::from_str(&message).unwrap(), fields);
        if path == "/logs" {
            assert!(message.contains("[TCP] 127.0.0.1:"), "{message}");
        }
    }
}

fn web_socket(scene: &Scene, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(scene.api()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .unwrap();
    let head = scenes::read_head(&mut stream);
    // RFC 6455 §1.3 has this key and its answer.
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{path}: {head}");
    stream
}

/// One text frame, unfragmented and unmasked (RFC 6455 §5.2).
fn frame(stream: &mut TcpStream) -> String {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[0], 0x81, "a whole text frame");
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            stream.read_exact(&mut length).unwrap();
            u64::from_be_bytes(length)
        }
        short => u64::from(short),
    };
    let mut text = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}
