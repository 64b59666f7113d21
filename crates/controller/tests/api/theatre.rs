//! A daemon that only notes, and a client that only speaks HTTP.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use adit_controller::{
    Controller, Daemon, DnsError, DnsMessage, LogFeed, Options, Patch, ProviderKind, ProxyProvider, Reload,
    RuleProvider, Storage, Subscription, Vehicle, Verdict,
};
use adit_dns::Question;
use adit_engine::{Engine, World};
use adit_net::{BoxFuture, Domain, Entry, HostsEntry, Network, Protocol, Session, Shutdown, SystemResolver, Tag, Task};
use adit_outbound::Book;
use adit_outbound::options::{Check, Common, Group, GroupKind, Kind, Outbound};
use adit_router::{Behavior, Format, Geo, Mode, Rules, Sources};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A name that has to be encoded wherever it goes.
pub(crate) const ODD: &str = "HK / 香港 #1 🦀 <b>%";
pub(crate) const ODD_ENCODED: &str = "HK%20%2F%20%E9%A6%99%E6%B8%AF%20%231%20%F0%9F%A6%80%20%3Cb%3E%25";

/// Notes what it is asked for.
pub(crate) struct Noting {
    engine: Engine,
    logs: LogFeed,
    stored: Stored,
    pub(crate) patches: Mutex<Vec<Patch>>,
    pub(crate) reloads: Mutex<Vec<Reload>>,
    pub(crate) updates: Mutex<Vec<(ProviderKind, String)>>,
    pub(crate) calls: Mutex<Vec<&'static str>>,
}

#[derive(Default)]
struct Stored(Mutex<HashMap<String, Vec<u8>>>);

impl Storage for Stored {
    fn load(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.lock().get(key).cloned())
    }

    fn save(&self, key: &str, value: Option<&[u8]>) -> Result<(), String> {
        match value {
            Some(value) => self.0.lock().insert(key.to_owned(), value.to_owned()),
            None => self.0.lock().remove(key),
        };
        Ok(())
    }
}

impl Daemon for Noting {
    fn engine(&self) -> &Engine {
        &self.engine
    }

    fn version(&self) -> &str {
        "v9.9.9"
    }

    fn configs(&self) -> Value {
        json!({ "mode": "rule", "mixed-port": 7890 })
    }

    fn unified_delay(&self) -> bool {
        false
    }

    fn patch(&self, patch: Patch) -> BoxFuture<'_, Result<(), String>> {
        let outcome = if patch.mixed_port == Some(1) { Err("port 1 is taken".to_owned()) } else { Ok(()) };
        self.patches.lock().push(patch);
        Box::pin(async { outcome })
    }

    fn reload(&self, reload: Reload) -> BoxFuture<'_, Result<(), String>> {
        self.reloads.lock().push(reload);
        Box::pin(async { Ok(()) })
    }

    fn check(&self, text: String) -> BoxFuture<'_, Verdict> {
        Box::pin(async move { Verdict { ok: !text.is_empty(), problems: Vec::new() } })
    }

    fn restart(&self) -> Result<(), String> {
        self.calls.lock().push("restart");
        Ok(())
    }

    fn chosen(&self) {
        self.calls.lock().push("chosen");
    }

    fn proxy_providers(&self) -> Vec<ProxyProvider> {
        vec![ProxyProvider {
            name: "sub".into(),
            vehicle: Vehicle::Http,
            check: Check::default(),
            updated: Some(UNIX_EPOCH + Duration::from_secs(1_700_000_000)),
            subscription: Some(Subscription { upload: 1, download: 2, total: 3, expire: 4 }),
        }]
    }

    fn rule_providers(&self) -> Vec<RuleProvider> {
        let inline = RuleProvider {
            name: "own".into(),
            vehicle: Vehicle::Inline,
            behavior: Behavior::Classical,
            format: Format::Yaml,
            rules: 1,
            updated: None,
            payload: vec!["DOMAIN,a.test".into()],
        };
        let http = RuleProvider {
            name: "ads".into(),
            vehicle: Vehicle::Http,
            behavior: Behavior::IpCidr,
            format: Format::Mrs,
            rules: 1,
            updated: None,
            payload: Vec::new(),
        };
        vec![inline, http]
    }

    fn update<'a>(&'a self, which: ProviderKind, name: &'a str) -> BoxFuture<'a, Result<(), String>> {
        self.updates.lock().push((which, name.to_owned()));
        Box::pin(async move { if name == "ads" { Err("no route to host".to_owned()) } else { Ok(()) } })
    }

    fn ask<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Result<DnsMessage, DnsError>> {
        use adit_dns::hickory_proto::op::Query;
        use adit_dns::hickory_proto::rr::{RData, Record, rdata};
        Box::pin(async {
            if question.name().to_string() == "off.test." {
                return Err(DnsError::Off);
            }
            let mut message = DnsMessage::query();
            message.queries.push(Query::query(question.name().clone(), question.kind()));
            let data = RData::A(rdata::A::new(192, 0, 2, 7));
            message.answers.push(Record::from_rdata(question.name().clone(), 300, data));
            Ok(message)
        })
    }

    fn flush_fake_ip(&self) -> Result<(), String> {
        Err("fake-ip is off".to_owned())
    }

    fn flush_dns(&self) {
        self.calls.lock().push("flush dns");
    }

    fn storage(&self) -> &dyn Storage {
        &self.stored
    }

    fn logs(&self) -> &LogFeed {
        &self.logs
    }
}

fn outbound(name: &str, kind: Kind, provider: Option<Tag>) -> Outbound {
    Outbound { name: name.into(), kind, common: Common { udp: true, provider, ..Common::default() } }
}

fn group(name: &str, kind: GroupKind, members: &[&str]) -> Group {
    Group {
        name: name.into(),
        kind,
        members: members.iter().map(|name| Tag::new(name)).collect(),
        check: Check::default(),
        disable_udp: false,
        hidden: false,
        icon: String::new(),
    }
}

fn world() -> World {
    let resolver = Arc::new(SystemResolver);
    let outbounds = vec![
        outbound("one", Kind::Direct, None),
        outbound("refuses", Kind::Reject, None),
        outbound(ODD, Kind::Direct, Some("sub".into())),
    ];
    let groups = vec![
        group("Proxy", GroupKind::Select { default: None }, &["one", "Auto", ODD]),
        group("Auto", GroupKind::UrlTest { tolerance: 0 }, &["one", ODD, "refuses"]),
        group("Dead", GroupKind::Fallback, &["refuses"]),
        group("Spread", GroupKind::LoadBalance(adit_outbound::options::Strategy::RoundRobin), &["one"]),
    ];
    let rules = ["DOMAIN-SUFFIX,example.com,Proxy", "IP-CIDR,127.0.0.0/8,Proxy,no-resolve", "MATCH,REJECT"];
    let rules = Rules::compile(Sources {
        rules: &rules.map(str::to_owned),
        sub_rules: &[],
        providers: &HashMap::new(),
        geo: &Geo::default(),
        known_target: &|_| true,
        no_resolve_all: false,
        processes: false,
    });
    World {
        mode: Mode::Rule,
        rules: Arc::new(rules.unwrap()),
        book: Book::build(outbounds, groups, resolver.clone(), resolver.clone()).unwrap(),
        hosts: Arc::new(HashMap::<Domain, HostsEntry>::new()),
        resolver,
        pins: HashMap::new(),
        dns: None,
        captures_dns: false,
        sniffer: None,
        processes: None,
    }
}

/// A controller that runs, its daemon, and its address.
pub(crate) struct Scene {
    pub(crate) daemon: Arc<Noting>,
    pub(crate) at: std::net::SocketAddr,
    pub(crate) tls_at: Option<std::net::SocketAddr>,
    pub(crate) shutdown: Shutdown,
    pub(crate) task: Task<()>,
}

impl Scene {
    pub(crate) fn start(options: Options) -> Self {
        let daemon = Arc::new(Noting {
            engine: Engine::new(world()),
            logs: LogFeed::new(),
            stored: Stored::default(),
            patches: Mutex::default(),
            reloads: Mutex::default(),
            updates: Mutex::default(),
            calls: Mutex::default(),
        });
        let options = Options { tcp: Some("127.0.0.1:0".parse().unwrap()), ..options };
        let controller = Controller::bind(options).unwrap();
        let (at, tls_at) = (controller.tcp_addr().unwrap(), controller.tls_addr());
        let shutdown = Shutdown::new();
        let task = Task::spawn("controller", controller.run(daemon.clone(), shutdown.clone()));
        Self { daemon, at, tls_at, shutdown, task }
    }

    pub(crate) fn open() -> Self {
        Self::start(Options::default())
    }

    /// Sends one request; `headers` are whole lines.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        ask(TcpStream::connect(self.at).await.unwrap(), &self.at.to_string(), method, path, headers, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    /// A body of JSON, from an answer with status 200.
    pub(crate) async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
        assert!(answer.body.ends_with('\n'), "{path}");
        serde_json::from_str(&answer.body).unwrap()
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(written, _)| written.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn message(&self) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"));
        body["message"].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> Answer {
    let has_host = headers.iter().any(|line| line.starts_with("Host:"));
    let mut lines = headers.iter().map(|line| format!("{line}\r\n")).collect::<String>();
    if !has_host {
        lines.push_str(&format!("Host: {host}\r\n"));
    }
    let request =
        format!("{method} {path} HTTP/1.1\r\n{lines}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let split = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(bytes[..split].to_vec()).unwrap();
    let body = String::from_utf8_lossy(&bytes[split + 4..]).into_owned();
    Answer { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head, body }
}

pub(crate) fn session(target: &str) -> Session {
    let entry = Entry {
        inbound: "DEFAULT-MIXED".into(),
        protocol: Protocol::Socks5,
        local: "127.0.0.1:7890".parse().unwrap(),
        user: Some("alice".into()),
    };
    let client: std::net::SocketAddr = "192.168.1.10:51234".parse().unwrap();
    Session::new(Network::Tcp, entry, client.into(), target.parse().unwrap())
}
