//! The scene.
//!
//! | name | the configured name server | the proxy server at the exit | ruled to |
//! |---|---|---|---|
//! | `*.proxied.test` | never heard of it | the origins | the exit |
//! | `direct.test` | the origins | never heard of it | DIRECT |
//! | `process.test` | the origins | the origins | whom the process says |
//! | `exit.test` | the proxy server | | |
//!
//! An origin tells a client as whom it came. A foreign name server, which the configuration does not name, is what all clients
//! are told to ask.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use adit_testkit::cache::adit_binary;
use adit_testkit::certificate::TARGET;
use adit_testkit::lab::gateway::{CLIENT_V4, CLIENT_V6, EXIT_V4, EXIT_V6, GatewayLab, WAN_V4, WAN_V6, WanWatch};
use adit_testkit::lab::{Namespace, ORIGIN_V4, ORIGIN_V6, with_name_server};
use adit_testkit::origin::{DnsOrigin, QuicOrigin, TcpOrigin, TlsOptions, TlsOrigin, UdpOrigin};
use adit_testkit::peers::Era;
use adit_testkit::programs::{Ran, run};
use adit_testkit::stage::{Door, PUBLIC_KEY, SHORT_ID, Site, Stage, UUID};
use adit_testkit::{Process, Scratch};

/// Longer than anything that works takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The port that captured traffic goes to.
pub(super) const PORT: u16 = 7893;
const DNS_PORT: u16 = 1053;

/// How traffic is captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Redirect,
    Tproxy,
}

pub(super) const MODES: [Mode; 2] = [Mode::Redirect, Mode::Tproxy];

/// Whose traffic it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A client that the gateway forwards.
    Client,
    /// The gateway itself.
    Host,
}

pub(super) const PLACES: [Place; 2] = [Place::Client, Place::Host];

/// Of the address that a client connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

pub(super) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

impl Family {
    pub(super) fn of<T>(self, v4: T, v6: T) -> T {
        match self {
            Self::V4 => v4,
            Self::V6 => v6,
        }
    }

    /// A name server that nobody configured.
    pub(super) fn foreign(self) -> IpAddr {
        self.of(EXIT_V4.into(), EXIT_V6.into())
    }
}

/// As whom an origin was visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visitor {
    /// The proxy server.
    Exit,
    /// The gateway.
    Wan,
    /// The client itself.
    Client,
}

impl Visitor {
    pub(super) fn named(ip: IpAddr) -> Self {
        let known: [(Self, [IpAddr; 2]); 3] = [
            (Self::Exit, [EXIT_V4.into(), EXIT_V6.into()]),
            (Self::Wan, [WAN_V4.into(), WAN_V6.into()]),
            (Self::Client, [CLIENT_V4.into(), CLIENT_V6.into()]),
        ];
        let found = known.into_iter().find(|(_, ips)| ips.contains(&ip));
        found.map(|(visitor, _)| visitor).unwrap_or_else(|| panic!("a visitor from {ip}"))
    }

    /// As whom `place` comes when nothing is captured.
    pub(super) fn untouched(place: Place) -> Self {
        match place {
            Place::Client => Self::Client,
            Place::Host => Self::Wan,
        }
    }
}

/// What a [`Scene`] is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) mode: Mode,
    pub(super) kill_switch: bool,
    /// Whether the listener is an entry of `listeners` rather than a port of the classic kind.
    pub(super) listed: bool,
    /// `enhanced-mode`.
    pub(super) enhanced: &'static str,
    /// `log-level`.
    pub(super) log: &'static str,
    /// Lines of the rules section.
    pub(super) rules: &'static str,
}

impl Setup {
    /// Everything leaves by the exit.
    pub(super) fn by_exit(mode: Mode, kill_switch: bool) -> Self {
        Self { mode, kill_switch, listed: true, enhanced: "fake-ip", log: "debug", rules: "  - MATCH,exit\n" }
    }
}

/// A lab, its origins, and adit on the gateway.
pub(super) struct Scene {
    pub(super) setup: Setup,
    pub(super) lab: GatewayLab,
    pub(super) stage: Stage,
    /// Says as whom it was visited, over HTTP.
    pub(super) web: TcpOrigin,
    /// Says as whom it was visited; the second is at the exit.
    pub(super) udp: [UdpOrigin; 2],
    pub(super) tls: TlsOrigin,
    pub(super) quic: QuicOrigin,
    /// Speaks first.
    pub(super) banner: TcpOrigin,
    /// The name server that is configured.
    pub(super) dns: DnsOrigin,
    /// The one that is not.
    foreign: DnsOrigin,
    questions: WanWatch,
    home: Scratch,
    adit: Mutex<Option<Process>>,
}

impl Scene {
    /// The scene of a mode that scenarios share. Nobody ends anything in it.
    fn shared(mode: Mode) -> &'static Self {
        static SCENES: [OnceLock<Scene>; 2] = [const { OnceLock::new() }; 2];
        SCENES[mode as usize].get_or_init(|| {
            Self::start(Setup {
                mode,
                kill_switch: false,
                listed: false,
                enhanced: "fake-ip",
                log: "debug",
                rules: SHARED_RULES,
            })
        })
    }

    /// A scene of one's own: rules are up, adit runs and knows its exit.
    pub(super) fn start(setup: Setup) -> Self {
        let lab = GatewayLab::new();
        let origins = [IpAddr::from(ORIGIN_V4), IpAddr::from(ORIGIN_V6)];
        let names: [(&str, &[IpAddr]); 3] =
            [("domain:proxied.test", &origins), ("process.test", &origins), (TARGET, &origins)];
        let site = Site { listen: EXIT_V4, names: &names };
        let (stage, far_udp, foreign) = lab.exit().run(|| {
            let stage = Stage::start_at(Era::Xray26_10, &[Door::Vision], site);
            (stage, UdpOrigin::mirror(), DnsOrigin::start_on_53(&[]))
        });
        let zone = [
            ("direct.test", origins[0]),
            ("direct.test", origins[1]),
            ("process.test", origins[0]),
            ("process.test", origins[1]),
            ("exit.test", EXIT_V4.into()),
        ];
        let (dns, web, udp, banner) = lab.internet().run(|| {
            (DnsOrigin::start_on_53(&zone), TcpOrigin::mirror(), UdpOrigin::mirror(), TcpOrigin::banner(BANNER))
        });
        let (tls, quic) = lab.internet().run(|| (TlsOrigin::start(TlsOptions::default()), QuicOrigin::start()));
        let questions = lab.watch_dns();
        let (home, udp, adit) = (Scratch::new("home"), [udp, far_udp], Mutex::new(None));
        let scene = Self { setup, lab, stage, web, udp, tls, quic, banner, dns, foreign, questions, home, adit };
        scene.home.write("config.yaml", scene.config());
        scene.run_adit();
        scene.lab.apply(&scene.host_rules());
        scene.wait_until_captured();
        scene
    }

    fn config(&self) -> String {
        let Self { setup, stage, web, tls, quic, banner, dns, .. } = self;
        let kind = match setup.mode {
            Mode::Redirect => "redir",
            Mode::Tproxy => "tproxy",
        };
        let listener = match setup.listed {
            true => format!("listeners: [{{ name: captured, type: {kind}, listen: '::', port: {PORT} }}]"),
            false => format!("{kind}-port: {PORT}\nallow-lan: true\nbind-address: '*'"),
        };
        let (server, exit_port) = (dns.addr(), stage.route(Door::Vision).server.port());
        let (web, tls, banner) = (web.port(), tls.port(), banner.port());
        let (quic4, quic6) = (quic.addr().port(), quic.addr_v6().port());
        format!(
            "{listener}\nlog-level: {}\nipv6: true\nrouting-mark: 45\n\
             find-process-mode: strict\nprofile: {{ store-fake-ip: true }}\n\
             dns:\n  enable: true\n  listen: '[::]:{DNS_PORT}'\n  ipv6: true\n  enhanced-mode: {}\n  \
             fake-ip-range: 198.18.0.1/16\n  fake-ip-range6: fdfe:dcba:9876::1/112\n  nameserver: ['{server}']\n  \
             default-nameserver: ['{server}']\n  proxy-server-nameserver: ['{server}']\n\
             sniffer:\n  enable: true\n  override-destination: false\n  sniff:\n    HTTP: {{ ports: [{web}] }}\n    \
             TLS: {{ ports: [{tls}, {banner}] }}\n    QUIC: {{ ports: [{quic4}, {quic6}] }}\n\
             proxies:\n  - name: exit\n    type: vless\n    server: exit.test\n    port: {exit_port}\n    uuid: {UUID}\n    \
             network: tcp\n    udp: true\n    flow: xtls-rprx-vision\n    tls: true\n    servername: {TARGET}\n    \
             client-fingerprint: chrome\n    \
             reality-opts: {{ public-key: {PUBLIC_KEY}, short-id: '{SHORT_ID}' }}\n\
             rules:\n{}",
            setup.log,
            setup.enhanced,
            setup.rules.replace("PYTHON", &python_name()),
        )
    }

    fn config_file(&self) -> String {
        self.home.path().join("config.yaml").display().to_string()
    }

    /// Starts adit on the gateway. It has the same home each time.
    pub(super) fn run_adit(&self) {
        let mut command = Command::new(adit_binary());
        command.arg("run").arg("-d").arg(self.home.path()).arg("-f").arg(self.config_file());
        let process =
            self.lab.gateway().run(|| Process::start("adit", command, Scratch::new("adit")).listening(&[PORT]));
        *self.adit.lock().unwrap() = Some(process);
    }

    /// Kills adit where it stands.
    pub(super) fn kill_adit(&self) {
        self.adit.lock().unwrap().as_mut().unwrap().kill();
    }

    /// What `adit redirect show` prints.
    fn host_rules(&self) -> String {
        let mut command = Command::new(adit_binary());
        command.args(["redirect", "show", "-d"]).arg(self.home.path()).arg("-f").arg(self.config_file());
        command.args(["--host", "--interface", "lan"]);
        if self.setup.kill_switch {
            command.arg("--kill-switch");
        }
        self.lab.gateway().run(|| run(&mut command)).ok()
    }

    /// Waits until the rules have seen that adit lives and a fresh proxy server has studied its target.
    pub(super) fn wait_until_captured(&self) {
        if !self.setup.kill_switch {
            let families = "nft list set inet adit alive | grep -o 'ipv[46]' | wc -l";
            self.lab.apply(&format!("timeout 10 sh -c \"until [ \\$({families}) = 2 ]; do sleep 0.02; done\""));
        }
        let (host, way) = match self.setup.enhanced == "fake-ip" && self.setup.rules.contains("exit") {
            true => ("warm.proxied.test", Visitor::Exit),
            false => ("direct.test", Visitor::Wan),
        };
        let url = format!("http://{host}:{}/", self.web.port());
        wait_until("the first connection", || {
            let seen = self.curl(Place::Client, Family::V4, &[&url]);
            seen.code == 0 && Visitor::named(seen.out.parse().unwrap()) == way
        });
    }

    pub(super) fn at(&self, place: Place) -> &Namespace {
        match place {
            Place::Client => self.lab.client(),
            Place::Host => self.lab.gateway(),
        }
    }

    /// Runs a program whose system asks the foreign name server.
    pub(super) fn run(&self, place: Place, family: Family, command: &Command) -> Ran {
        let mut command = with_name_server(command, family.foreign());
        self.at(place).run(|| run(&mut command))
    }

    pub(super) fn curl(&self, place: Place, family: Family, words: &[&str]) -> Ran {
        let mut command = Command::new("curl");
        command.args(["-sS", "--noproxy", "*", "--max-time", "10", family.of("-4", "-6")]).args(words);
        self.run(place, family, &command)
    }

    /// As whom `place` is seen by the web server at `host`.
    pub(super) fn visits(&self, place: Place, family: Family, host: &str) -> Visitor {
        let url = format!("http://{host}:{}/", self.web.port());
        let seen = self.curl(place, family, &[&url]).ok();
        Visitor::named(seen.parse().unwrap_or_else(|_| panic!("{place:?} {family:?} {host}: {seen}")))
    }

    /// What `dig` prints, when it asks `server`.
    pub(super) fn dig(&self, place: Place, server: IpAddr, words: &[&str]) -> String {
        let mut command = Command::new("dig");
        command.args(["+short", "+timeout=5", "+tries=1", &format!("@{server}")]).args(words);
        self.at(place).run(|| run(&mut command)).ok()
    }

    /// Waits until the proxy server says that it was asked for `target`: `tcp:name:port`.
    pub(super) fn exit_is_asked_for(&self, target: &str) {
        let end = format!(" accepted {target}");
        wait_until(&end, || self.stage.process().log().lines().any(|line| line.ends_with(&end)));
    }

    /// Who has been asked for names since before adit started, and for what.
    pub(super) fn assert_only_configured_servers(&self) {
        let stray: Vec<_> = self.questions.seen().into_iter().filter(|seen| seen.to != self.dns.addr()).collect();
        assert!(stray.is_empty(), "{}", Lines(&stray));
        assert_eq!(self.foreign.asked(), []);
        let asked = self.dns.asked();
        assert!(asked.iter().all(|query| !query.name.contains("proxied")), "{asked:?}");
    }

    pub(super) fn adit_log(&self) -> String {
        self.adit.lock().unwrap().as_ref().unwrap().log()
    }

    /// Shows the ends of the logs if this thread is panicking. Nobody drops shared scenes.
    fn explain(&self) {
        if let Some(adit) = self.adit.lock().unwrap().as_ref() {
            adit.explain();
        }
        self.stage.process().explain();
    }
}

/// Runs `scenario` for each place and family, all at once.
pub(super) fn everywhere(scenario: impl Fn(Place, Family) + Sync) {
    let combinations = PLACES.into_iter().flat_map(|place| FAMILIES.map(|family| (place, family)));
    thread::scope(|scope| {
        for (place, family) in combinations {
            let (scenario, name) = (&scenario, format!("{place:?} {family:?}"));
            let _ = thread::Builder::new().name(name).spawn_scoped(scope, move || scenario(place, family)).unwrap();
        }
    });
}

/// Runs a scenario in the shared scene of each mode at once; then no question has gone astray.
pub(super) fn in_both_modes(scenario: impl Fn(&Scene) + Sync) {
    thread::scope(|scope| {
        for mode in MODES {
            let scenario = &scenario;
            thread::Builder::new()
                .name(format!("{mode:?}"))
                .spawn_scoped(scope, move || in_mode(mode, scenario))
                .unwrap();
        }
    });
}

/// Runs a scenario in the shared scene of one mode; then no question has gone astray.
pub(super) fn in_mode(mode: Mode, scenario: impl Fn(&Scene)) {
    let scene = Scene::shared(mode);
    let _explained = Explained(scene);
    scenario(scene);
    scene.assert_only_configured_servers();
}

struct Explained<'a>(&'a Scene);

impl Drop for Explained<'_> {
    fn drop(&mut self) {
        self.0.explain();
    }
}

struct Lines<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Lines<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Of what speaks first.
pub(super) const BANNER: &str = "220 mail.test ESMTP ready\r\n";

const SHARED_RULES: &str = "  - AND,((DOMAIN,process.test),(PROCESS-NAME,curl)),exit
  - AND,((DOMAIN,process.test),(PROCESS-NAME,PYTHON)),DIRECT
  - DOMAIN,process.test,REJECT
  - DOMAIN-SUFFIX,proxied.test,exit
  - DOMAIN,target.test,exit
  - DSCP,46,exit
  - MATCH,DIRECT
";

/// The file name of the system's Python, which a link leads to.
fn python_name() -> String {
    let file =
        run(Command::new("python3").args(["-c", "import os, sys; print(os.path.realpath(sys.executable))"])).ok();
    file.rsplit('/').next().unwrap().to_owned()
}

/// Waits for something that another process does.
pub(super) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        thread::yield_now();
    }
}

/// What is answered to a datagram, which must come from where it was sent to.
pub(super) fn ask(socket: &UdpSocket, to: SocketAddr, payload: &str) -> Option<String> {
    socket.send_to(payload.as_bytes(), to).ok()?;
    hear(socket, to)
}

/// The next datagram, which must come from `from`.
pub(super) fn hear(socket: &UdpSocket, from: SocketAddr) -> Option<String> {
    let mut room = [0; 2048];
    loop {
        match socket.recv_from(&mut room) {
            Ok((n, source)) => {
                assert_eq!(source, from, "the answer's source");
                return Some(String::from_utf8_lossy(&room[..n]).into_owned());
            }
            // A wait with a time-out does not go on by itself after the machine stood still.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}
