//! Where the keys of the page go.

/// What a table of the page is about.
#[derive(Debug)]
pub(super) struct Place {
    /// The first cell of its heading.
    pub(super) table: &'static str,
    /// A configuration with KEY and VALUE in it.
    pub(super) file: &'static str,
    /// VALUE, where a key has none of its own in `samples.txt`.
    pub(super) usual: Option<&'static str>,
}

const fn place(table: &'static str, file: &'static str) -> Place {
    Place { table, file, usual: None }
}

/// A table whose rows are words rather than keys.
const fn words(table: &'static str, file: &'static str) -> Place {
    Place { table, file, usual: Some("") }
}

const SOCKS5: &str = "proxies: [{name: a, type: socks5, server: 192.0.2.1, port: 1, KEY: VALUE}]";
const HTTP: &str = "proxies: [{name: a, type: http, server: 192.0.2.1, port: 1, KEY: VALUE}]";
const TLS: &str = "proxies: [{name: a, type: http, server: 192.0.2.1, port: 1, tls: true, KEY: VALUE}]";
const VLESS: &str = "proxies: [{name: a, type: vless, server: 192.0.2.1, port: 1, tls: true, \
                     uuid: 5783a3e7-e373-51cd-8642-c83782b807c5, KEY: VALUE}]";
const REALITY: &str = "proxies: [{name: a, type: vless, server: 192.0.2.1, port: 1, tls: true, servername: x.test, \
                       uuid: 5783a3e7-e373-51cd-8642-c83782b807c5, reality-opts: {KEY: VALUE}}]";
const WIREGUARD: &str = "proxies: [{name: a, type: wireguard, server: 192.0.2.1, port: 1, ip: 10.0.0.2, \
                         private-key: eCtXsJZ27+4PbhDkHnB923tkUn2Gj59wZw5wFA75MnU=, \
                         public-key: eCtXsJZ27+4PbhDkHnB923tkUn2Gj59wZw5wFA75MnU=, KEY: VALUE}]";
const PEER: &str = "proxies: [{name: a, type: wireguard, ip: 10.0.0.2, \
                    private-key: eCtXsJZ27+4PbhDkHnB923tkUn2Gj59wZw5wFA75MnU=, peers: [{KEY: VALUE}]}]";
const AMNEZIA: &str = "proxies: [{name: a, type: wireguard, server: 192.0.2.1, port: 1, ip: 10.0.0.2, \
                       private-key: eCtXsJZ27+4PbhDkHnB923tkUn2Gj59wZw5wFA75MnU=, \
                       public-key: eCtXsJZ27+4PbhDkHnB923tkUn2Gj59wZw5wFA75MnU=, amnezia-wg-option: {KEY: VALUE}}]";
const GROUP: &str = "proxy-groups: [{name: g, type: url-test, proxies: [DIRECT], KEY: VALUE}]";
const PROVIDER: &str = "proxy-providers: {p: {type: http, url: 'https://example.com/', KEY: VALUE}}";
const RULES: &str = "rule-providers: {p: {type: http, behavior: domain, url: 'https://example.com/', KEY: VALUE}}";

pub(super) const PLACES: &[Place] = &[
    place("top level", "KEY: VALUE"),
    words("`type` of a listener", "listeners: [{name: a, port: 7890, type: KEY}]"),
    place("key of a listener", "listeners: [{name: a, type: mixed, port: 7890, KEY: VALUE}]"),
    place("`profile`", "profile: {KEY: VALUE}"),
    place("`external-controller-cors`", "external-controller-cors: {KEY: VALUE}"),
    place("`tls`", "tls: {KEY: VALUE}"),
    place("`dns`", "dns: {nameserver: [192.0.2.1], KEY: VALUE}"),
    place("`fallback-filter`", "dns: {nameserver: [192.0.2.1], fallback: [192.0.2.2], fallback-filter: {KEY: VALUE}}"),
    words("nameserver", "dns: {nameserver: [192.0.2.1, 'VALUE']}"),
    place("`sniffer`", "sniffer: {enable: true, sniff: {TLS: {}}, KEY: VALUE}"),
    place("entry of `sniff`", "sniffer: {enable: true, sniff: {TLS: {KEY: VALUE}}}"),
    Place { table: "`type` of a proxy", file: "proxies: [{name: a, type: KEY, VALUE}]", usual: Some("server: x.test") },
    place("key of every proxy", SOCKS5),
    place("key about TLS", TLS),
    place("key of `socks5`", SOCKS5),
    place("key of `http`", HTTP),
    place("key of `vless`", VLESS),
    place("key of `reality-opts`", REALITY),
    place("key of `wireguard`", WIREGUARD),
    place("key of `peers`", PEER),
    Place { table: "key of `amnezia-wg-option`", file: AMNEZIA, usual: Some("5") },
    words("`type` of a group", "proxy-groups: [{name: g, type: KEY, proxies: [DIRECT]}]"),
    place("key of a group", GROUP),
    place("key of a proxy provider", PROVIDER),
    place(
        "key of `health-check`",
        "proxy-providers: {p: {type: http, url: 'https://example.com/', health-check: {KEY: VALUE}}}",
    ),
    place(
        "key of `override`",
        "proxy-providers: {p: {type: http, url: 'https://example.com/', override: {KEY: VALUE}}}",
    ),
    place("key of a rule provider", RULES),
    place("rule", "rules: ['KEY,VALUE,DIRECT', 'MATCH,DIRECT']"),
];
