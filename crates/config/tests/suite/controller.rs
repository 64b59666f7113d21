//! `external-controller` and its kin, and the settings that the API shows.

use adit_config::{EmptyGroup, LogFormat};

use crate::scene::{errors, loaded, only_error, plan, source, warnings};

#[test]
fn the_controller_has_its_keys() {
    assert!(plan("mixed-port: 1\nsecret: x\n").controller.is_none());
    for (text, listen) in [
        ("127.0.0.1:9090", "127.0.0.1:9090"),
        (":9090", "[::]:9090"),
        ("'*:9090'", "[::]:9090"),
        ("localhost:9090", "127.0.0.1:9090"),
        ("'[::1]:9090'", "[::1]:9090"),
    ] {
        let controller = plan(&format!("external-controller: {text}\n")).controller.unwrap();
        assert_eq!(controller.listen, Some(listen.parse().unwrap()), "{text}");
        assert_eq!((controller.cors.origins.join(" "), controller.cors.private_network), ("*".to_owned(), true));
        assert!(controller.secret.is_none() && controller.tls.is_none() && controller.ui.is_none());
    }
    let text = "\
external-controller-unix: run/adit.sock
secret: 123456
external-controller-cors: {allow-origins: ['https://*.example.com'], allow-private-network: false}
external-ui: ui
external-ui-name: meta
external-ui-url: https://example.com/ui.zip
";
    let controller = plan(text).controller.unwrap();
    assert_eq!(controller.unix.as_deref(), Some("/nonexistent/adit/run/adit.sock".as_ref()));
    assert_eq!(controller.secret.as_ref().unwrap().reveal(), "123456");
    assert_eq!(
        (controller.cors.origins.join(" "), controller.cors.private_network),
        ("https://*.example.com".into(), false)
    );
    assert_eq!(controller.ui.as_deref(), Some("/nonexistent/adit/ui/meta".as_ref()));
    assert_eq!(warnings(text), ["there is no dashboard in /nonexistent/adit/ui/meta, and none is downloaded"]);
    assert!(!format!("{controller:?}").contains("123456"), "F-L2");
}

/// F-C2
#[test]
fn a_controller_that_is_open_to_all_says_so() {
    let notices = |text: &str| plan(text).notices;
    assert!(notices("external-controller: 127.0.0.1:9090\n").is_empty());
    assert!(notices("external-controller: 0.0.0.0:9090\nsecret: x\n").is_empty());
    let open = notices("external-controller: :9090\nsecret: ''\n");
    assert!(open.len() == 1 && open[0].starts_with("external-controller at [::]:9090 without `secret`"), "{open:?}");
}

#[test]
fn controllers_that_are_wrong_are_refused() {
    for (text, message) in [
        ("external-controller: 9090\n", "`external-controller` must be an address and a port, found '9090'"),
        ("external-controller: example.com:9090\n", "`external-controller` must be an address and a port"),
        (
            "external-controller-tls: :9443\n",
            "`external-controller-tls` needs `certificate` and `private-key` in `tls`",
        ),
        ("external-controller: :9090\nmixed-port: 9090\n", "port 9090 is taken by"),
        ("external-ui-name: ../x\n", "external UI name is not local: ../x"),
        ("external-ui: /etc\n", "path is not subpath of home directory or SAFE_PATHS: /etc"),
    ] {
        let error = only_error(text);
        assert!(error.starts_with(message), "{text}{error}");
    }
    let hidden = loaded("external-controller-tls: :1\nsecret: [hunter2]\n").problems.render(false);
    assert!(!hidden.contains("hunter2"), "{hidden}");
}

#[test]
fn tls_takes_texts_and_files() {
    let home = std::env::temp_dir().join(format!("adit-config-tls-{}", std::process::id()));
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("key.pem"), "-----BEGIN PRIVATE KEY-----").unwrap();
    let mut source = source(
        "external-controller-tls: 127.0.0.1:9443\ntls: {certificate: '-----BEGIN CERTIFICATE-----', private-key: key.pem}\n",
    );
    source.home = home.clone();
    let tls = adit_config::load(&source).plan.unwrap().controller.unwrap().tls.unwrap();
    assert_eq!(
        (&*tls.certificate, tls.private_key.reveal()),
        ("-----BEGIN CERTIFICATE-----", "-----BEGIN PRIVATE KEY-----")
    );
    std::fs::remove_dir_all(&home).unwrap();
}

#[test]
fn settings_are_shown_as_they_were_written() {
    let defaults = plan("mixed-port: 0\n").settings;
    assert_eq!((&*defaults.bind_address, defaults.geo_update_interval, defaults.etag_support), ("*", 24, true));
    assert_eq!(defaults.lan_allowed_ips, ["0.0.0.0/0", "::/0"]);
    let settings = plan(
        "\
port: 1
socks-port: '2'
redir-port: 3
tproxy-port: 4
mixed-port: 0x5
allow-lan: true
bind-address: 127.0.0.1
authentication: ['user:hunter2', 'other:x:y']
skip-auth-prefixes: [127.0.0.1/8]
lan-allowed-ips: [10.0.0.0/8]
lan-disallowed-ips: [10.1.0.0/16]
geo-auto-update: true
geo-update-interval: 12
geox-url: {geosite: 'https://example.com/x'}
sniffer: {enable: true, sniff: {TLS: {}}}
global-ua: clash
keep-alive-idle: 9
",
    )
    .settings;
    let ports = [settings.port, settings.socks_port, settings.redir_port, settings.tproxy_port, settings.mixed_port];
    assert_eq!(ports, [1, 2, 3, 4, 5]);
    assert!(settings.allow_lan && settings.geo_auto_update && settings.sniffing);
    assert_eq!((&*settings.bind_address, &*settings.global_ua), ("127.0.0.1", "clash"));
    assert_eq!(settings.users, ["user", "other"]);
    assert_eq!(settings.lan_allowed_ips, ["10.0.0.0/8"]);
    assert_eq!((settings.geo_update_interval, settings.keep_alive_idle), (12, 9));
    assert_eq!(settings.geox_url.geosite.reveal(), "https://example.com/x");
}

#[test]
fn general_settings_of_the_control_plane() {
    let default = plan("mixed-port: 0\n").general;
    assert!(default.store_selected && !default.unified_delay && default.etags && default.user_agent.is_none());
    assert_eq!((default.log_format, default.empty_group), (LogFormat::Text, EmptyGroup::Reject));
    let text = "unified-delay: true\nprofile: {store-selected: false}\nlog-format: JSON\nempty-group: direct\n\
                etag-support: false\nglobal-ua: mine\n";
    let general = plan(text).general;
    assert!(general.unified_delay && !general.store_selected && !general.etags);
    assert_eq!((general.log_format, general.empty_group), (LogFormat::Json, EmptyGroup::Direct));
    assert_eq!(general.user_agent.as_deref(), Some("mine"));
    assert_eq!(warnings(text), [""; 0]);
    assert_eq!(only_error("log-format: xml\n"), "invalid log-format: xml");
    assert_eq!(errors("global-ua: \"a\\nb\"\n").len(), 1);
}
