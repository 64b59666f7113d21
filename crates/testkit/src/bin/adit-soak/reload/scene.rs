//! The configurations, and how one takes the place of another.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use adit_testkit::client::{self, To};
use adit_testkit::lab::{Lab, ORIGIN_V4, OUTER_CLIENT_V4, OUTER_SERVER_V4, WireGuardRoute};
use adit_testkit::origin::{TcpOrigin, UdpOrigin};
use adit_testkit::peers::Era;
use adit_testkit::stage::{Door, Site, Stage};
use adit_testkit::subject::{Way, yaml_proxy};
use adit_testkit::{Process, free_port};

use crate::home::Home;
use crate::lists::Lists;
use crate::verdict::Verdict;

/// How long a reload may take. A file is left alone for half a second before it is read.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is used in every configuration; the last one comes from a provider.
const WAYS: [&str; 4] = ["DIRECT", "vision", "tunnel", "Sub"];
const REFUSED: &str = "the configuration stays as it is";

/// What is behind adit.
pub(super) struct Far {
    stage: Stage,
    tcp: [TcpOrigin; 4],
    mirrors: [TcpOrigin; 4],
    udp: [UdpOrigin; 3],
}

impl Far {
    pub(super) fn start(lab: &Lab) -> Self {
        lab.inside(|| Self {
            stage: Stage::start_at(Era::Xray26_10, &[Door::Vision], Site { listen: OUTER_SERVER_V4, names: &[] }),
            tcp: WAYS.map(|_| TcpOrigin::patient_echo()),
            mirrors: WAYS.map(|_| TcpOrigin::mirror()),
            udp: [(); 3].map(|()| UdpOrigin::echo("")),
        })
    }
}

/// Where somebody connects to, so that the rules choose this way.
pub(super) struct Target {
    pub(super) way: &'static str,
    pub(super) tcp: SocketAddr,
    pub(super) udp: Option<SocketAddr>,
    /// An origin that says whom it sees, and who that must be.
    pub(super) mirror: (SocketAddr, String),
}

pub(super) struct Scene<'f> {
    far: &'f Far,
    pub(super) home: Home,
    pub(super) adit: Process,
    lists: Lists,
    /// `proxies:` that are the same everywhere.
    proxies: String,
    /// As the tunnel's other end sees us.
    inner: Ipv4Addr,
    extra: u16,
    generation: usize,
    longest: Duration,
    faults: Vec<String>,
}

impl<'f> Scene<'f> {
    pub(super) fn start(far: &'f Far, tunnel: &WireGuardRoute) -> Self {
        let vision = far.stage.route(Door::Vision);
        let node = yaml_proxy("kept", Way::Vless(&vision));
        let lists = Lists::start(move |version| {
            let more = (0..version % 5).map(|n| format!("  - {{name: v{version}-{n}, type: direct}}\n"));
            format!("proxies:\n{node}{}", more.collect::<String>())
        });
        let proxies = yaml_proxy("vision", Way::Vless(&vision)) + &yaml_proxy("tunnel", Way::WireGuard(tunnel));
        let (home, extra) = (Home::new(), free_port());
        let inner = tunnel.v4.expect("an address in the tunnel");
        let text = configuration(0, &Parts { far, home: &home, lists: &lists, proxies: &proxies, extra });
        home.configure(&text);
        let (adit, _) = home.start();
        let mut api = home.api();
        assert_eq!(api.ask("PUT", "/providers/proxies/sub", "").expect("an answer").0, 204, "a first list");
        for (group, member) in [("Pick", "two"), ("Sub", "kept")] {
            api.choose(group, member).expect("a choice");
        }
        Self {
            far,
            home,
            adit,
            lists,
            proxies,
            inner,
            extra,
            generation: 0,
            longest: Duration::ZERO,
            faults: Vec::new(),
        }
    }

    pub(super) fn targets(&self) -> Vec<Target> {
        let server = ORIGIN_V4.to_string();
        let seen = [OUTER_CLIENT_V4.to_string(), server.clone(), self.inner.to_string(), server];
        let targets = WAYS.into_iter().zip(seen).enumerate();
        targets
            .map(|(n, (way, seen))| Target {
                way,
                tcp: self.far.tcp[n].addr(),
                udp: self.far.udp.get(n).map(UdpOrigin::addr),
                mirror: (self.far.mirrors[n].addr(), seen),
            })
            .collect()
    }

    fn write(&self, generation: usize) {
        let Self { far, home, lists, proxies, extra, .. } = self;
        home.configure(&configuration(generation, &Parts { far, home, lists, proxies, extra: *extra }));
    }

    /// The next configuration, by each way in turn. A file that just changes takes longer, so it does not come as often.
    pub(super) fn reload(&mut self) {
        self.generation += 1;
        self.write(self.generation);
        let start = Instant::now();
        match self.generation % 5 {
            0 => {}
            1 | 3 => self.adit.signal("HUP"),
            _ => match self.put() {
                Ok(204) => {}
                other => self.faults.push(format!("reload {}: {other:?}", self.generation)),
            },
        }
        while !self.is_in_use() {
            assert!(start.elapsed() < PATIENCE, "no reload {}:\n{}", self.generation, self.adit.tail(20));
            thread::sleep(Duration::from_millis(5));
        }
        if !self.generation.is_multiple_of(5) {
            self.longest = self.longest.max(start.elapsed());
        }
        self.look();
    }

    /// A configuration that cannot be used.
    pub(super) fn refuse(&mut self) {
        let broken = if self.generation.is_multiple_of(100) { "rules: [X" } else { "rules:\n  - MATCH,NOBODY\n" };
        self.home.configure(broken);
        let refused = match self.put() {
            Ok(400) => Ok(()),
            other => Err(format!("{other:?} instead of a refusal")),
        };
        let count = |adit: &Process| adit.log().matches(REFUSED).count();
        let before = count(&self.adit);
        self.adit.signal("HUP");
        let start = Instant::now();
        while count(&self.adit) == before && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(5));
        }
        let told = if count(&self.adit) > before { Ok(()) } else { Err("no line says that it was refused".to_owned()) };
        let unchanged = if self.is_in_use() { Ok(()) } else { Err("another configuration is in use".to_owned()) };
        let faults = [refused, told, unchanged].into_iter().filter_map(Result::err);
        self.faults.extend(faults.map(|fault| format!("broken file after reload {}: {fault}", self.generation)));
        self.look();
    }

    fn put(&self) -> std::io::Result<u16> {
        Ok(self.home.api().ask("PUT", "/configs?force=true", r#"{"path":"","payload":""}"#)?.0)
    }

    fn is_in_use(&self) -> bool {
        let rules = self.home.api().get("/rules");
        rules.is_ok_and(|rules| rules["rules"][0]["payload"] == *mark(self.generation))
    }

    /// Choices are kept, and the listener that comes and goes is there or not.
    fn look(&mut self) {
        let mut api = self.home.api();
        for (group, member) in [("Pick", "two"), ("Sub", "kept")] {
            match api.now(group) {
                Ok(now) if now == member => {}
                other => self.faults.push(format!("reload {}: {group} uses {other:?}", self.generation)),
            }
        }
        let at: SocketAddr = (Ipv4Addr::LOCALHOST, self.extra).into();
        let fault = if has_extra(self.generation) {
            client::socks5(at, &To::from(self.far.tcp[0].addr())).err().map(|error| format!("extra listener: {error}"))
        } else {
            TcpStream::connect(at).is_ok().then(|| "the extra listener is still there".to_owned())
        };
        self.faults.extend(fault.map(|fault| format!("reload {}: {fault}", self.generation)));
    }

    pub(super) fn judge(&self, verdict: &mut Verdict) {
        verdict.note(format!(
            "the longest reload took {:.0?}; {} lists were served",
            self.longest,
            self.lists.served()
        ));
        let shown: String = self.faults.iter().take(10).map(|fault| format!("\n       {fault}")).collect();
        let count = self.faults.len();
        verdict.require(count == 0, format!("{} reloads, {count} times something was wrong{shown}", self.generation));
    }
}

/// What configurations are made of.
struct Parts<'a> {
    far: &'a Far,
    home: &'a Home,
    lists: &'a Lists,
    proxies: &'a str,
    extra: u16,
}

/// The first rule says which configuration this is.
fn mark(generation: usize) -> String {
    format!("g{generation}.test")
}

fn has_extra(generation: usize) -> bool {
    generation % 3 == 1
}

fn configuration(generation: usize, parts: &Parts<'_>) -> String {
    let Parts { far, home, lists, proxies, extra } = parts;
    let variant = generation % 3;
    let (more_proxies, more_groups, more_rules) = match variant {
        0 => (String::new(), "", ""),
        1 => (
            "  - {name: other, type: socks5, server: 127.0.0.1, port: 9}\n".to_owned(),
            "  - {name: More, type: fallback, proxies: [other, DIRECT], url: 'http://127.0.0.1:9/', lazy: true}\n",
            "  - DOMAIN-SUFFIX,other.test,More\n  - DOMAIN-KEYWORD,blocked,REJECT\n",
        ),
        _ => (
            yaml_proxy("other", Way::Vless(&far.stage.route(Door::Vision))),
            "  - {name: More, type: url-test, proxies: [other, vision], url: 'http://127.0.0.1:9/', lazy: true}\n",
            "  - DOMAIN-SUFFIX,other.test,other\n",
        ),
    };
    let listeners = if has_extra(generation) {
        format!("listeners:\n  - {{name: extra, type: mixed, listen: 127.0.0.1, port: {extra}}}\n")
    } else {
        String::new()
    };
    let rules: String = WAYS.iter().enumerate().map(|(n, way)| rules_to(far, n, way)).collect();
    format!(
        "log-level: info\nprofile: {{store-selected: true, store-fake-ip: true}}\n\
         dns: {{enable: true, listen: '{}', enhanced-mode: fake-ip, nameserver: ['rcode://refused']}}\n{listeners}\
         proxy-providers:\n  sub: {{type: http, url: 'http://{}/{variant}', path: ./sub.yaml, interval: 1}}\n\
         proxies:\n  - {{name: one, type: direct}}\n  - {{name: two, type: direct}}\n{proxies}{more_proxies}\
         proxy-groups:\n  - {{name: Pick, type: select, proxies: [one, two]}}\n\
         \x20 - {{name: Sub, type: select, use: [sub]}}\n{more_groups}\
         rules:\n  - DOMAIN,{},REJECT\n{more_rules}{rules}  - MATCH,Pick\n",
        home.dns,
        lists.addr,
        mark(generation),
    )
}

/// Everything for the origins of a way goes that way.
fn rules_to(far: &Far, n: usize, way: &str) -> String {
    let udp = far.udp.get(n).map(UdpOrigin::port);
    let ports = [far.tcp[n].port(), far.mirrors[n].port()].into_iter().chain(udp);
    ports.map(|port| format!("  - DST-PORT,{port},{way}\n")).collect()
}
