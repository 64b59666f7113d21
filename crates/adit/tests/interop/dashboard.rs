//! The built-in dashboard in Chromium, against the real daemon with real clients.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use adit_testkit::cache::{cached, repository};
use adit_testkit::client::{Association, To, socks5};
use adit_testkit::origin::{DnsOrigin, HttpOrigin, TcpOrigin, UdpOrigin};
use adit_testkit::{Scratch, free_port};

use crate::control::{SECRET, Scene, until};
use crate::scenes;

/// Two browsers at once would measure each other.
static BROWSER: Mutex<()> = Mutex::new(());

/// How often clients say something.
const BEAT: Duration = Duration::from_millis(200);

/// A user's configuration: groups of three kinds, providers of both, rules that match, names that are asked for.
fn yaml(dns: &DnsOrigin, tested: &HttpOrigin) -> String {
    let url = format!("http://{}/", tested.addr());
    format!(
        "dns: {{enable: true, listen: '127.0.0.1:{}', nameserver: ['{}'], use-system-hosts: false}}\n\
         proxies:\n  - {{name: '🇩🇪 Frankfurt 1', type: direct}}\n  - {{name: '🇳🇱 Amsterdam, a name that is long', type: direct}}\n\
         proxy-providers:\n  subscription: {{type: file, path: nodes.yaml, health-check: {{enable: true, url: '{url}', interval: 3600}}}}\n\
         rule-providers:\n  ads: {{type: inline, behavior: domain, payload: ['+.ads.test', '+.track.test']}}\n  \
         home: {{type: file, behavior: ipcidr, format: text, path: home.txt}}\n\
         proxy-groups:\n  - {{name: Proxy, type: select, proxies: [Auto, '🇩🇪 Frankfurt 1', '🇳🇱 Amsterdam, a name that is long'], use: [subscription]}}\n  \
         - {{name: Auto, type: url-test, use: [subscription], url: '{url}', interval: 3600}}\n  \
         - {{name: AI, type: fallback, proxies: ['🇳🇱 Amsterdam, a name that is long', Auto], url: '{url}', interval: 3600}}\n  \
         - {{name: Spread, type: load-balance, use: [subscription], url: '{url}', interval: 3600}}\n\
         rules:\n  - RULE-SET,ads,REJECT\n  - RULE-SET,home,DIRECT,no-resolve\n  - DOMAIN-SUFFIX,ai.test,AI\n  \
         - DOMAIN-SUFFIX,crowd.test,REJECT-DROP\n  - NETWORK,UDP,Spread\n  - MATCH,Proxy\n",
        free_port(),
        dns.addr()
    )
}

const NODES: &str = "proxies:\n  - {name: 🇫🇮 Helsinki, type: direct}\n  - {name: 🇯🇵 Tokyo, type: direct}\n";

/// Names that clients ask for.
const HOSTS: [&str; 4] =
    ["api.ai.test", "www.site.test", "a-rather-long-name.of-some-host.in-a-deep.domain.site.test", "mail.site.test"];

fn start(yaml: &str) -> Scene {
    let home = Scratch::new("dashboard");
    home.write("nodes.yaml", NODES);
    home.write("home.txt", "192.0.2.0/24\n");
    Scene::start_in(home, yaml)
}

/// Clients with an open connection each, and one that talks over UDP. They talk as long as this lives.
struct Clients {
    _talk: mpsc::Sender<()>,
    _association: Association,
}

impl Clients {
    fn open(proxy: SocketAddr, tcp: &TcpOrigin, udp: &UdpOrigin) -> Self {
        let mut streams = HOSTS.map(|host| scenes::tunnel(proxy, &To::name(host, tcp.port())));
        for blocked in ["x.ads.test", "y.track.test"] {
            socks5(proxy, &To::name(blocked, 443)).expect_err("a rule refuses it");
        }
        let association = Association::open(proxy).unwrap();
        association.ask(&udp.addr().into(), b"datagram").unwrap();
        let (talk, silence) = mpsc::channel();
        thread::spawn(move || {
            while silence.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                if streams.iter_mut().try_for_each(talk_once).is_err() {
                    return;
                }
            }
        });
        Self { _talk: talk, _association: association }
    }
}

fn talk_once(stream: &mut TcpStream) -> io::Result<()> {
    let mut words = [7; 8_000];
    stream.write_all(&words)?;
    stream.read_exact(&mut words)
}

/// `tests/dashboard/drive.py` at work.
struct Drive(Child);

impl Drive {
    fn start(scene: &Scene, arguments: &[&str]) -> Self {
        let mut command = Command::new(cached("dashboard/bin/python"));
        command.arg(repository().join("tests/dashboard/drive.py"));
        command.args([&format!("http://{}", scene.api()), SECRET, "--proxy", &format!("http://{}", scene.proxy())]);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        for name in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        Self(command.spawn().expect("a Python that starts"))
    }

    /// Gives it what it asks for. Every step has to pass.
    fn finish(mut self, mut give: impl FnMut(&str)) {
        let mut output = String::new();
        for line in BufReader::new(self.0.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(wish) = line.strip_prefix("ASK ") {
                give(wish);
                writeln!(self.0.stdin.as_mut().unwrap()).unwrap();
            }
            if line.starts_with("PASS") && line.contains(" ms") {
                // Not what `cargo test` keeps for itself: the figures are worth reading in every run.
                io::stderr().write_all(format!("dashboard: {line}\n").as_bytes()).unwrap();
            }
            output += &(line + "\n");
        }
        let status = self.0.wait().unwrap();
        let skipped = output.lines().any(|line| line.starts_with("SKIP"));
        assert!(status.success() && !skipped && !output.contains("FAIL"), "{status}\n{output}");
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_user_in_a_browser() {
    let _alone = BROWSER.lock().unwrap_or_else(PoisonError::into_inner);
    let zone = HOSTS.map(|host| (host, Ipv4Addr::LOCALHOST.into()));
    let (dns, tested) = (DnsOrigin::start(&zone), HttpOrigin::start());
    let (tcp, udp) = (TcpOrigin::echo(), UdpOrigin::echo(""));
    let mut scene = start(&yaml(&dns, &tested));
    let mut clients = Some(Clients::open(scene.proxy(), &tcp, &udp));
    Drive::start(&scene, &["--name", HOSTS[1]]).finish(|wish| match wish {
        "stop" => {
            clients = None;
            scene.kill();
        }
        _ => {
            scene.start_again();
            clients = Some(Clients::open(scene.proxy(), &tcp, &udp));
        }
    });
    drop(clients);
}

/// Of 10,000 connections.
const OPEN: usize = 2_000;
/// That many of the open ones get something each beat.
const BUSY: usize = 200;
/// That many come and go each beat.
const BRIEF: usize = 4;

/// 10,000 connections: most wait for an answer that a rule withholds, which takes no descriptor of the other side, and the
/// rest reach an origin. Both ends are this process, and it has the same limit as adit: 20,000 in many containers.
struct Crowd {
    _stay: mpsc::Sender<()>,
}

impl Crowd {
    fn gather(scene: &Scene) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = scene.proxy();
        // Each is accepted before the next one comes, and none overflows a listener's queue.
        let (held, mut far_ends): (Vec<_>, Vec<_>) = (0..OPEN)
            .map(|n| {
                let near = scenes::tunnel(proxy, &To::name(HOSTS[n % HOSTS.len()], port));
                (near, listener.accept().unwrap().0)
            })
            .unzip();
        let mut waiting: VecDeque<TcpStream> = (OPEN..10_000).map(|n| wait_in_vain(proxy, n)).collect();
        let (stay, leave) = mpsc::channel();
        thread::spawn(move || {
            let mut n = 10_000;
            while leave.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                for stream in &mut far_ends[..BUSY] {
                    let _ = stream.write_all(&[7; 500]);
                }
                for _ in 0..BRIEF {
                    waiting.pop_front();
                    waiting.push_back(wait_in_vain(proxy, n));
                    n += 1;
                }
            }
            drop(held);
        });
        Self { _stay: stay }
    }
}

/// Asks for a tunnel that a rule keeps from being answered.
fn wait_in_vain(proxy: SocketAddr, n: usize) -> TcpStream {
    let mut stream = TcpStream::connect(proxy).unwrap();
    stream.write_all(&[5, 1, 0]).unwrap();
    stream.read_exact(&mut [0; 2]).unwrap();
    let to = To::name(&format!("host-{n}.crowd.test"), 443);
    stream.write_all(&[&[5, 1, 0][..], &to.socks5()].concat()).unwrap();
    stream
}

#[test]
fn ten_thousand_connections_scroll() {
    let _alone = BROWSER.lock().unwrap_or_else(PoisonError::into_inner);
    adit_net::raise_descriptor_limit().unwrap();
    let zone = HOSTS.map(|host| (host, Ipv4Addr::LOCALHOST.into()));
    let (dns, tested) = (DnsOrigin::start(&zone), HttpOrigin::start());
    let scene = start(&yaml(&dns, &tested));
    let _crowd = Crowd::gather(&scene);
    until("crowd", || {
        let metrics = scene.ask("GET", "/metrics", "").1;
        let open = metrics.lines().find_map(|line| line.strip_prefix("adit_connections_active "));
        open.is_some_and(|open| open.parse::<usize>().unwrap() >= 9_990)
    });
    Drive::start(&scene, &["--only", "scrolls", "--rows", "10000"]).finish(|wish| panic!("{wish}?"));
}
