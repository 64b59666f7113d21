//! The daemon while it runs: the API, another configuration, lists from elsewhere, and what outlives a kill.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use adit_testkit::cache::adit_binary;
use adit_testkit::client::{Association, To, socks5};
use adit_testkit::origin::{HttpOrigin, TcpOrigin};
use adit_testkit::peers::{self, Era};
use adit_testkit::{Process, Scratch, free_port};

use crate::scenes;

pub(crate) const SECRET: &str = "open-sesame";

/// A home folder with a configuration, and adit.
pub(crate) struct Scene {
    home: Scratch,
    port: u16,
    api: u16,
    adit: Process,
}

impl Scene {
    pub(crate) fn start(yaml: &str) -> Self {
        Self::start_in(Scratch::new("control"), yaml)
    }

    /// In a home folder that has files already.
    pub(crate) fn start_in(home: Scratch, yaml: &str) -> Self {
        let (port, api) = (free_port(), free_port());
        home.write("config.yaml", Self::config(yaml, port, api));
        let adit = Self::run(&home, port, api);
        Self { home, port, api, adit }
    }

    fn config(yaml: &str, port: u16, api: u16) -> String {
        format!("mixed-port: {port}\nexternal-controller: 127.0.0.1:{api}\nsecret: {SECRET}\nlog-level: debug\n{yaml}")
    }

    fn run(home: &Scratch, port: u16, api: u16) -> Process {
        let mut command = Command::new(adit_binary());
        command.arg("-d").arg(home.path());
        Process::start("adit", command, Scratch::new("adit")).listening(&[port, api])
    }

    pub(crate) fn kill(&mut self) {
        self.adit.kill();
    }

    /// Again, with what is in the home folder.
    pub(crate) fn start_again(&mut self) {
        self.adit = Self::run(&self.home, self.port, self.api);
    }

    pub(crate) fn api(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.api).into()
    }

    pub(crate) fn proxy(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Status and body of a request to the API.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.api)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {SECRET}\r\nConnection: close\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    pub(crate) fn get(&self, path: &str) -> serde_json::Value {
        let (status, body) = self.ask("GET", path, "");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    fn now(&self, group: &str) -> String {
        self.get(&format!("/proxies/{group}"))["now"].as_str().unwrap().to_owned()
    }

    /// Another configuration, by SIGHUP.
    fn reload(&self, yaml: &str, port: u16) {
        self.reload_as(Self::config(yaml, port, self.api));
    }

    fn reload_as(&self, text: String) {
        self.home.write("config.yaml", text);
        let before = self.adit.log().matches("was read again").count();
        self.adit.signal("HUP");
        until("the reload", || self.adit.log().matches("was read again").count() > before);
    }
}

#[test]
fn a_file_that_changes_is_read_again() {
    let scene = Scene::start(GROUPS);
    scene
        .home
        .write("config.yaml", Scene::config(&GROUPS.replace("MATCH,Pick", "MATCH,REJECT"), scene.port, scene.api));
    until("the reload", || scene.get("/rules")["rules"][0]["proxy"] == "REJECT");
}

pub(crate) fn until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "no {what}");
        thread::yield_now();
    }
}

/// A stream that goes on: it sends and gets its bytes back.
fn goes_on(stream: &mut TcpStream) {
    stream.write_all(b"still there?").unwrap();
    let mut back = [0; 12];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"still there?");
}

const GROUPS: &str = "proxies:\n  - {name: one, type: direct}\n  - {name: two, type: direct}\n\
                      proxy-groups:\n  - {name: Pick, type: select, proxies: [one, two]}\nrules:\n  - MATCH,Pick\n";

#[test]
fn a_dashboard_sees_chooses_and_ends() {
    let scene = Scene::start(GROUPS);
    assert_eq!(scene.get("/version")["meta"], true);
    assert_eq!(scene.ask("PUT", "/proxies/Pick", r#"{"name":"two"}"#).0, 204);
    let origin = TcpOrigin::echo();
    let mut stream = scenes::tunnel(scene.proxy(), &To::from(origin.addr()));
    goes_on(&mut stream);
    let connections = scene.get("/connections");
    let open = &connections["connections"][0];
    assert_eq!(open["chains"], serde_json::json!(["two", "Pick"]));
    assert_eq!((&open["rule"], &open["metadata"]["type"]), (&"Match".into(), &"Socks5".into()));
    assert_eq!(open["upload"], 12);
    let id = open["id"].as_str().unwrap();
    assert_eq!(scene.ask("DELETE", &format!("/connections/{id}"), "").0, 204);
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)), "ended by hand");
    until("an empty table", || scene.get("/connections")["connections"].as_array().unwrap().is_empty());
    assert!(scene.get("/connections")["uploadTotal"].as_u64().unwrap() >= 12, "totals never decrease");
    assert_eq!(scene.ask("PATCH", "/configs", r#"{"mode":"direct"}"#).0, 204);
    assert_eq!(scene.get("/configs")["mode"], "direct");
}

#[test]
fn a_scraper_sees_dials_and_questions() {
    let dns = free_port();
    let scene = Scene::start(&format!(
        "dns: {{enable: true, listen: '127.0.0.1:{dns}', enhanced-mode: fake-ip, nameserver: [127.0.0.1]}}\n{GROUPS}"
    ));
    let origin = TcpOrigin::echo();
    scenes::echo(scene.proxy(), &To::from(origin.addr()), 10);
    assert!(socks5(scene.proxy(), &SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())).into()).is_err());
    let dug = Command::new("dig").args(["@127.0.0.1", "-p", &dns.to_string(), "a.test", "+short"]).output().unwrap();
    assert!(dug.stdout.starts_with(b"198.18."), "{dug:?}");
    let (status, metrics) = scene.ask("GET", "/metrics", "");
    assert_eq!(status, 200);
    for line in [
        "adit_dial_errors_total{class=\"refused\"} 1",
        "adit_dial_seconds_count{type=\"Direct\"} 1",
        "adit_dns_questions_total{answer=\"fake\"} 1",
        "adit_dns_questions_total{answer=\"asked\"} 0",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line}\n{metrics}");
    }
}

#[test]
fn a_reload_keeps_what_is_the_same() {
    let scene = Scene::start(GROUPS);
    assert_eq!(scene.ask("PUT", "/proxies/Pick", r#"{"name":"two"}"#).0, 204);
    let origin = TcpOrigin::echo();
    let mut stream = scenes::tunnel(scene.proxy(), &To::from(origin.addr()));
    goes_on(&mut stream);
    // The same listener, other rules.
    scene.reload(&GROUPS.replace("MATCH,Pick", "MATCH,REJECT"), scene.port);
    goes_on(&mut stream);
    assert_eq!(scene.now("Pick"), "two");
    assert!(socks5(scene.proxy(), &To::from(origin.addr())).is_err(), "the new rules hold");
    // Another listener; the connection by the old one goes on.
    let other = free_port();
    scene.reload(GROUPS, other);
    goes_on(&mut stream);
    scenes::echo((Ipv4Addr::LOCALHOST, other).into(), &To::from(origin.addr()), 1000);
    until("an end of the old listener", || TcpStream::connect(scene.proxy()).is_err());
    assert_eq!(scene.now("Pick"), "two");
}

#[test]
fn a_configuration_that_is_wrong_changes_nothing() {
    let scene = Scene::start(GROUPS);
    let origin = HttpOrigin::start();
    for wrong in
        ["rules: [X", "rules:\n  - MATCH,NOBODY\n", "listeners: [{name: a, type: mixed, port: 1, listen: 192.0.2.1}]\n"]
    {
        scene.home.write("config.yaml", Scene::config(wrong, scene.port, scene.api));
        let before = scene.adit.log().matches("the configuration stays as it is").count();
        scene.adit.signal("HUP");
        until("complaint", || scene.adit.log().matches("the configuration stays as it is").count() > before);
        let (status, body) = scene.ask("PUT", "/configs?force=true", r#"{"path":"","payload":""}"#);
        assert_eq!(status, 400, "{body}");
        scenes::plain_http(scene.proxy(), &origin);
    }
}

/// Found in review: the port was lost for good, because its old listener had it until the last client left.
#[test]
fn a_listener_that_is_to_be_another_one_keeps_its_port() {
    let scene = Scene::start(GROUPS);
    let origin = TcpOrigin::echo();
    let to = To::from(origin.addr());
    let mut stream = scenes::tunnel(scene.proxy(), &to);
    let mut associated = Association::open(scene.proxy()).unwrap();
    let everywhere =
        format!("allow-lan: true\nauthentication: ['user:word']\nskip-auth-prefixes: ['::1/128']\n{GROUPS}");
    scene.reload(&everywhere, scene.port);
    goes_on(&mut stream);
    assert_eq!(
        associated.control().read(&mut [0]).unwrap(),
        0,
        "the UDP port is another one's, and the client is told"
    );
    assert!(socks5(scene.proxy(), &to).is_err(), "a password is asked for");
    scenes::echo((Ipv6Addr::LOCALHOST, scene.port).into(), &to, 1000);
    scene.reload(GROUPS, scene.port);
    goes_on(&mut stream);
    scenes::echo(scene.proxy(), &to, 1000);
}

/// Mihomo's front ends send configurations without ports, and rely on it.
#[test]
fn without_force_the_classic_listeners_stay() {
    let scene = Scene::start(GROUPS);
    let origin = TcpOrigin::echo();
    let payload = |yaml: &str| serde_json::json!({ "payload": yaml }).to_string();
    let stricter = payload(&format!("authentication: ['user:word']\n{GROUPS}"));
    assert_eq!(scene.ask("PUT", "/configs", &stricter).0, 204);
    assert!(socks5(scene.proxy(), &To::from(origin.addr())).is_err(), "credentials are not part of it");
    assert_eq!(scene.get("/configs")["mixed-port"], scene.port);
    assert_eq!(scene.ask("PUT", "/configs?force=true", &payload(GROUPS)).0, 204);
    until("an end of the port, which the payload does not have", || TcpStream::connect(scene.proxy()).is_err());
    assert_eq!(scene.get("/configs")["mixed-port"], 0);
}

#[test]
fn ports_are_opened_and_closed_while_it_runs() {
    let scene = Scene::start(GROUPS);
    let origin = TcpOrigin::echo();
    let to = To::from(origin.addr());
    let mut stream = scenes::tunnel(scene.proxy(), &to);
    let other = free_port();
    assert_eq!(scene.ask("PATCH", "/configs", &format!(r#"{{"socks-port":{other}}}"#)).0, 204);
    scenes::echo((Ipv4Addr::LOCALHOST, other).into(), &to, 1000);
    assert_eq!(scene.ask("PATCH", "/configs", r#"{"mixed-port":0,"mode":"direct"}"#).0, 204);
    until("an end of the port", || TcpStream::connect(scene.proxy()).is_err());
    goes_on(&mut stream);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (status, body) = scene.ask("PATCH", "/configs", &format!(r#"{{"port":{port},"socks-port":0}}"#));
    assert!(status == 400 && body.contains("in use"), "{status} {body}");
    let configs = scene.get("/configs");
    assert_eq!(
        (&configs["socks-port"], &configs["port"], &configs["mode"]),
        (&other.into(), &0.into(), &"direct".into())
    );
    scenes::echo((Ipv4Addr::LOCALHOST, other).into(), &to, 1000);
    // A port that changes hands to an address that cannot be had comes back.
    let patch = format!(r#"{{"bind-address":"192.0.2.1","allow-lan":true,"socks-port":{other}}}"#);
    assert_eq!(scene.ask("PATCH", "/configs", &patch).0, 400);
    scenes::echo((Ipv4Addr::LOCALHOST, other).into(), &to, 1000);
    // The file is the truth again once it is read.
    scene.reload(GROUPS, scene.port);
    scenes::echo(scene.proxy(), &to, 1000);
    goes_on(&mut stream);
}

#[test]
fn another_secret_takes_no_new_start() {
    let scene = Scene::start(GROUPS);
    let yaml = Scene::config(GROUPS, scene.port, scene.api);
    scene.reload_as(yaml.replace(SECRET, "another"));
    assert_eq!(scene.ask("GET", "/version", "").0, 401);
    scene.reload_as(yaml);
    assert_eq!(scene.ask("GET", "/version", "").0, 200);
}

#[test]
fn a_configuration_is_checked_and_not_used() {
    let scene = Scene::start(GROUPS);
    let check = |yaml: &str| {
        let (status, body) = scene.ask("POST", "/configs/check", &serde_json::json!({ "payload": yaml }).to_string());
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<serde_json::Value>(&body).unwrap()
    };
    assert_eq!(check("mixed-port: 1\n"), serde_json::json!({ "ok": true, "problems": [] }));
    let wrong = check("mixed-port: 1\nsecret: 'pass word'\nrules:\n  - MATCH,DIRCET\n");
    assert_eq!((&wrong["ok"], &wrong["problems"][0]["line"]), (&false.into(), &4.into()));
    assert_eq!(wrong["problems"][0]["hint"], "did you mean 'DIRECT'?");
    assert!(!wrong.to_string().contains("pass word"));
    assert_eq!(scene.get("/configs")["mixed-port"], scene.port);
}

/// F-D1: whoever has the secret may not read other files of the machine by it.
#[test]
fn f_d1_a_reload_reads_no_file_outside_the_home() {
    let scene = Scene::start(GROUPS);
    for path in ["/etc/passwd", "/dev/zero", "/proc/self/environ"] {
        let (status, body) = scene.ask("PUT", "/configs", &format!(r#"{{"path":"{path}"}}"#));
        assert!(status == 400 && body.contains("not subpath of home") && !body.contains("root:"), "{status} {body}");
    }
    let own = scene.home.path().join("config.yaml");
    assert_eq!(scene.ask("PUT", "/configs", &format!(r#"{{"path":"{}"}}"#, own.display())).0, 204);
}

#[test]
fn a_setting_that_cannot_change_is_refused() {
    let scene = Scene::start(GROUPS);
    for (patch, status) in [
        (r#"{"find-process-mode":"off"}"#, 204),
        (r#"{"find-process-mode":"now and then"}"#, 400),
        (r#"{"tun":{"enable":false,"device":"x"},"socket-port":1}"#, 204),
        (r#"{"tun":{"enable":true}}"#, 400),
        (r#"{"tcp-concurrent":true}"#, 400),
        (r#"{"skip-auth-prefixes":["nowhere"]}"#, 400),
        (r#"{"allow-lan":false,"sniffing":true,"log-level":"warning"}"#, 204),
    ] {
        assert_eq!(scene.ask("PATCH", "/configs", patch).0, status, "{patch}");
    }
    let configs = scene.get("/configs");
    assert_eq!((&configs["log-level"], &configs["sniffing"]), (&"warning".into(), &true.into()));
    assert_eq!(configs["find-process-mode"], "off");
}

#[test]
fn a_choice_outlives_a_kill() {
    let mut scene = Scene::start(GROUPS);
    for (round, member) in ["two", "one", "two", "one", "two"].into_iter().enumerate() {
        let body = format!(r#"{{"name":"{member}"}}"#);
        assert_eq!(scene.ask("PUT", "/proxies/Pick", &body).0, 204);
        scene.kill();
        scene.start_again();
        assert_eq!(scene.now("Pick"), member, "round {round}");
    }
}

/// Serves one text by HTTP, as long as it is up.
struct Lists {
    addr: SocketAddr,
    up: Arc<AtomicBool>,
    text: Arc<Mutex<String>>,
}

impl Lists {
    fn start(text: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (up, text) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(text.to_owned())));
        let (is_up, shown) = (Arc::clone(&up), Arc::clone(&text));
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut head = [0; 2048];
                if !is_up.load(Ordering::Relaxed) || stream.read(&mut head).is_err() {
                    continue;
                }
                let body = shown.lock().unwrap().clone();
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        Self { addr, up, text }
    }
}

#[test]
fn providers_are_served_from_their_copies_and_refreshed() {
    let nodes = Lists::start("proxies:\n  - {name: n1, type: direct}\n");
    let rules = Lists::start("payload:\n  - '+.blocked.test'\n");
    let yaml = format!(
        "proxy-providers:\n  sub: {{type: http, url: 'http://{}/', interval: 3600}}\n\
         rule-providers:\n  blocked: {{type: http, behavior: domain, url: 'http://{}/', interval: 3600}}\n\
         proxy-groups:\n  - {{name: Sub, type: select, use: [sub]}}\n\
         rules:\n  - RULE-SET,blocked,REJECT\n  - MATCH,DIRECT\n",
        nodes.addr, rules.addr
    );
    let mut scene = Scene::start(&yaml);
    let all = |scene: &Scene| scene.get("/proxies/Sub")["all"].clone();
    let count = |scene: &Scene| scene.get("/providers/rules")["providers"]["blocked"]["ruleCount"].clone();
    until("download", || all(&scene) == serde_json::json!(["n1"]) && count(&scene) == 1);
    *nodes.text.lock().unwrap() = "proxies:\n  - {name: n1, type: direct}\n  - {name: n2, type: direct}\n".into();
    assert_eq!(scene.ask("PUT", "/providers/proxies/sub", "").0, 204);
    assert_eq!(all(&scene), serde_json::json!(["n1", "n2"]));
    *nodes.text.lock().unwrap() = "nothing of the kind".into();
    assert_eq!(scene.ask("PUT", "/providers/proxies/sub", "").0, 503, "the old list stays");
    assert_eq!(all(&scene), serde_json::json!(["n1", "n2"]));

    // The next start needs nobody.
    nodes.up.store(false, Ordering::Relaxed);
    rules.up.store(false, Ordering::Relaxed);
    scene.kill();
    scene.start_again();
    assert_eq!((all(&scene), count(&scene)), (serde_json::json!(["n1", "n2"]), 1.into()));
    let blocked = socks5(scene.proxy(), &To::name("x.blocked.test", 80)).expect_err("a rule of the copy");
    assert!(blocked.to_string().contains("[05, 02, 00]"), "{blocked}");
}

fn socks_server(port: u16) -> Process {
    let json = serde_json::json!({
        "inbounds": [{
            "port": port, "listen": "127.0.0.1", "protocol": "socks", "settings": { "auth": "noauth" },
        }],
        "outbounds": [{ "protocol": "freedom" }],
    });
    peers::xray(Era::Xray26_10, &json, &[port])
}

#[test]
fn a_relay_goes_through_all_of_its_members() {
    let (first, second) = (free_port(), free_port());
    let (mut one, _two) = (socks_server(first), socks_server(second));
    let scene = Scene::start(&format!(
        "proxies:\n  - {{name: one, type: socks5, server: 127.0.0.1, port: {first}}}\n  \
         - {{name: two, type: socks5, server: 127.0.0.1, port: {second}}}\n\
         proxy-groups:\n  - {{name: Chain, type: relay, proxies: [one, two]}}\nrules:\n  - MATCH,Chain\n"
    ));
    let origin = HttpOrigin::start();
    scenes::plain_http(scene.proxy(), &origin);
    assert_eq!(scene.now("Chain"), "one → two");
    one.kill();
    assert!(socks5(scene.proxy(), &To::from(origin.addr())).is_err(), "the second is not reached around the first");
}

/// "When a chosen member dies mid-day, new connections move within one failed dial."
#[test]
fn a_group_leaves_a_dead_server_after_one_failed_dial() {
    let (first, second) = (free_port(), free_port());
    let (mut one, _two) = (socks_server(first), socks_server(second));
    let tested = Lists::start("here");
    let scene = Scene::start(&format!(
        "proxies:\n  - {{name: one, type: socks5, server: 127.0.0.1, port: {first}}}\n  \
         - {{name: two, type: socks5, server: 127.0.0.1, port: {second}}}\n\
         proxy-groups:\n  - {{name: Auto, type: fallback, proxies: [one, two], interval: 3600, \
         url: 'http://{}/'}}\nrules:\n  - MATCH,Auto\n",
        tested.addr
    ));
    let is_tested = |name: &str| !scene.get(&format!("/proxies/{name}"))["history"].as_array().unwrap().is_empty();
    until("delay tests", || is_tested("one") && is_tested("two"));
    let origin = HttpOrigin::start();
    scenes::plain_http(scene.proxy(), &origin);
    one.kill();
    assert!(socks5(scene.proxy(), &To::from(origin.addr())).is_err(), "the one that finds out");
    scenes::plain_http(scene.proxy(), &origin);
    assert_eq!(scene.now("Auto"), "two");
}
