//! What the tests share: worlds, clients, and a way back that records.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use adit_dns::{
    FakeFilter, FakeIp, FakeOptions, FakeRanges, Nameserver, Resolvers, Service, ServiceOptions, Upstreams,
};
use adit_engine::{Engine, Pin, World};
use adit_net::{
    Accepted, BoxFuture, BoxStream, Dial, DialError, Dialer, Domain, Entry, HostsEntry, Network, Protocol, Reply,
    ReturnPath, Session, SystemResolver, Tag, Target, WithHosts,
};
use adit_outbound::Book;
use adit_outbound::options::{Check, Group, GroupKind, Outbound};
use adit_process::Processes;
use adit_router::{Geo, Mode, Rules, Sources};
use adit_sniffer::Sniff;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// A world to be built.
pub(crate) struct Scene {
    pub(crate) rules: Vec<&'static str>,
    pub(crate) sub_rules: Vec<(Tag, Vec<String>)>,
    pub(crate) hosts: HashMap<Domain, HostsEntry>,
    pub(crate) mode: Mode,
    pub(crate) pins: HashMap<Tag, Pin>,
    pub(crate) outbounds: Vec<Outbound>,
    pub(crate) dns: Option<Service>,
    pub(crate) sniffer: Option<adit_sniffer::Options>,
    pub(crate) processes: bool,
}

impl Scene {
    pub(crate) fn with_rules(rules: &[&'static str]) -> Self {
        Self {
            rules: rules.to_vec(),
            sub_rules: Vec::new(),
            hosts: HashMap::new(),
            mode: Mode::Rule,
            pins: HashMap::new(),
            outbounds: Vec::new(),
            dns: None,
            sniffer: None,
            processes: false,
        }
    }

    /// With a DNS of our own that answers captured questions.
    pub(crate) fn dns(mut self, dns: &Service) -> Self {
        self.dns = Some(dns.clone());
        self
    }

    /// Looks into connections to `port` for HTTP's host, and into datagrams to it for QUIC's.
    pub(crate) fn sniffing(mut self, port: u16) -> Self {
        let sniff = || Some(Sniff { ports: vec![port..=port], override_destination: None });
        self.sniffer = Some(adit_sniffer::Options { http: sniff(), quic: sniff(), ..Default::default() });
        self
    }

    pub(crate) fn host(mut self, name: &str, entry: HostsEntry) -> Self {
        self.hosts.insert(Domain::new(name).unwrap(), entry);
        self
    }

    /// `NOUDP` is `DIRECT` without UDP; `Choice` is a group of `NOUDP` and `DIRECT`.
    pub(crate) fn world(self) -> World {
        let hosts: Arc<dyn adit_net::HostsTable> = Arc::new(self.hosts);
        let resolver: Arc<dyn adit_net::Resolve> =
            Arc::new(WithHosts::new(Arc::clone(&hosts), Arc::new(SystemResolver)));
        let group = |name: &str, members: &[&str], disable_udp| Group {
            name: name.into(),
            kind: GroupKind::Select { default: None },
            members: members.iter().map(|name| Tag::new(name)).collect(),
            check: Check::default(),
            disable_udp,
            hidden: false,
            icon: String::new(),
        };
        let groups = vec![group("NOUDP", &["DIRECT"], true), group("Choice", &["NOUDP", "DIRECT"], false)];
        let book = Book::build(self.outbounds, groups, Arc::clone(&resolver), Arc::clone(&resolver)).unwrap();
        let lines: Vec<String> = self.rules.iter().map(ToString::to_string).collect();
        let rules = Rules::compile(Sources {
            rules: &lines,
            sub_rules: &self.sub_rules,
            providers: &HashMap::new(),
            geo: &Geo::default(),
            known_target: &|_| true,
            no_resolve_all: false,
            processes: self.processes,
        })
        .unwrap();
        World {
            mode: self.mode,
            rules: Arc::new(rules),
            book,
            hosts,
            resolver,
            pins: self.pins,
            captures_dns: self.dns.is_some(),
            dns: self.dns,
            sniffer: self.sniffer.map(|options| Arc::new(adit_sniffer::Plan::new(options))),
            processes: self.processes.then(|| Arc::new(Processes::new())),
        }
    }

    pub(crate) fn engine(self) -> Arc<Engine> {
        Arc::new(Engine::new(self.world()))
    }
}

/// Fake addresses for every name, and nobody to ask.
pub(crate) fn fake_dns() -> (Service, Arc<FakeIp>) {
    fake_dns_in("198.18.0.1/16")
}

/// As [`fake_dns`], with addresses of this range.
pub(crate) fn fake_dns_in(range: &str) -> (Service, Arc<FakeIp>) {
    let ranges = FakeRanges { v4: Some(range.parse().unwrap()), v6: None };
    let addresses = Arc::new(FakeIp::new(ranges).unwrap());
    let upstreams = Upstreams { main: vec![Nameserver::parse("rcode://refused").unwrap()], ..Upstreams::default() };
    let nowhere = |_: Option<&adit_dns::Via>| Some(Arc::new(Nowhere) as Arc<dyn Dialer>);
    let mode = FakeOptions {
        addresses: Arc::clone(&addresses),
        filter: FakeFilter::Blacklist(Arc::new(|name: &str| name.ends_with(".real.test"))),
        ttl: 1,
    };
    let service = Service::new(ServiceOptions {
        resolver: Resolvers::new(&upstreams, &nowhere).unwrap().main,
        hosts: Vec::new(),
        mode: adit_dns::Mode::FakeIp(mode),
        ipv6: false,
    });
    (service, addresses)
}

struct Nowhere;

impl Dialer for Nowhere {
    fn connect<'a>(&'a self, dial: Dial<'a>) -> BoxFuture<'a, Result<BoxStream, DialError>> {
        Box::pin(std::future::ready(Err(DialError::Denied(dial.target.to_string()))))
    }
}

pub(crate) fn session(network: Network, target: &str) -> Session {
    let client = SocketAddr::from(([127, 0, 0, 1], 4)).into();
    Session::new(network, entry(), client, target.parse().unwrap())
}

pub(crate) fn entry() -> Entry {
    Entry {
        inbound: "door".into(),
        protocol: Protocol::Socks5,
        local: SocketAddr::from(([127, 0, 0, 1], 7890)),
        user: None,
    }
}

/// Says `yes` or `no: <reason>`.
pub(crate) struct Plain;

impl Reply for Plain {
    fn accepted(&self) -> Cow<'static, [u8]> {
        b"yes".into()
    }

    fn refused(&self, why: &DialError) -> Cow<'static, [u8]> {
        format!("no: {why}").into_bytes().into()
    }
}

/// A client that does not know of us.
pub(crate) struct Silent;

impl Reply for Silent {
    fn accepted(&self) -> Cow<'static, [u8]> {
        b"".into()
    }

    fn refused(&self, _: &DialError) -> Cow<'static, [u8]> {
        b"".into()
    }
}

/// As [`client`], by TPROXY.
pub(crate) async fn captured(target: &str) -> (TcpStream, Accepted) {
    let (ours, mut accepted) = client(target).await;
    accepted.session.entry.protocol = Protocol::Tproxy;
    accepted.reply = &Silent;
    (ours, accepted)
}

/// A client's end, and what the engine is given of it.
pub(crate) async fn client(target: &str) -> (TcpStream, Accepted) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (theirs, _) = listener.accept().await.unwrap();
    let session = session(Network::Tcp, target);
    (ours, Accepted { session, stream: Box::new(theirs), reply: &Plain })
}

/// A way back that hands everything to the test; closed when the test drops its end.
pub(crate) struct Recorder(pub(crate) mpsc::UnboundedSender<(Target, Vec<u8>)>);

impl ReturnPath for Recorder {
    fn send(&self, from: &Target, payload: &[u8]) -> std::io::Result<()> {
        self.0.send((from.clone(), payload.to_vec())).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}
