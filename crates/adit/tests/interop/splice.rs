//! Bytes that need no work move inside the kernel: counted in system calls, not guessed from timing.

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use adit_testkit::Scratch;
use adit_testkit::certificate::TARGET;
use adit_testkit::middleman::{Manner, Middleman};
use adit_testkit::origin::HttpOrigin;
use adit_testkit::peers::Era;
use adit_testkit::stage::{Door, Stage};
use adit_testkit::subject::{Proxy, Subject, Way};
use adit_testkit::tls::{self, Version};

use crate::scenes::{self, MIB};

/// strace on a running process, counting what its data calls returned.
struct Counted {
    strace: Child,
    scratch: Scratch,
}

/// Bytes by system call.
type Bytes = HashMap<String, u64>;

impl Counted {
    fn attach(proxy: &Proxy) -> Self {
        let scratch = Scratch::new("strace");
        let strace = Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=splice,read,recvfrom,recvmsg,readv,write,writev,sendto,sendmsg", "-p"])
            .arg(proxy.process.id().to_string())
            .arg("-o")
            .arg(scratch.path().join("calls"))
            .stderr(Stdio::null())
            .spawn()
            .expect("strace");
        let traced = format!("TracerPid:\t{}\n", strace.id());
        let end = Instant::now() + Duration::from_secs(10);
        // It attaches to one thread after the other; one that is not traced yet carries bytes that nobody counts.
        while !threads(proxy).all(|status| status.contains(&traced)) {
            assert!(Instant::now() < end, "strace does not attach: may this user trace?");
        }
        Self { strace, scratch }
    }

    fn detach(mut self) -> Bytes {
        let status = Command::new("kill").args(["-s", "INT", &self.strace.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()));
        let _ = self.strace.wait();
        let mut bytes = Bytes::new();
        for line in std::fs::read_to_string(self.scratch.path().join("calls")).unwrap().lines() {
            // `123 splice(9, NULL, 12, NULL, 262144, …) = 65536`, or `123 <... splice resumed>) = 65536`
            let Some((call, result)) = line.rsplit_once(" = ") else { continue };
            let call = call.split_once(' ').map_or("", |(_, call)| call.trim_start());
            let name = call.strip_prefix("<... ").unwrap_or(call);
            let name = name.split(['(', ' ']).next().unwrap_or("");
            if let Some(count) = result.split_ascii_whitespace().next().and_then(|count| count.parse::<u64>().ok()) {
                *bytes.entry(name.to_owned()).or_default() += count;
            }
        }
        bytes
    }
}

/// What `/proc` says of each thread of `proxy`.
fn threads(proxy: &Proxy) -> impl Iterator<Item = String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", proxy.process.id())).unwrap();
    tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default())
}

/// Asserts that of `carried` bytes almost all were spliced. A spliced byte passes `splice` twice: into the pipe and out of it.
fn assert_spliced(bytes: &Bytes, carried: u64) {
    let spliced = bytes.get("splice").copied().unwrap_or(0) / 2;
    let copied: u64 = bytes.iter().filter(|(name, _)| *name != "splice").map(|(_, count)| count).sum();
    assert!(spliced >= carried - 2 * MIB, "of {carried} bytes only {spliced} were spliced: {bytes:?}");
    // Copied bytes are counted when read and when written.
    assert!(copied < 4 * MIB, "{copied} bytes were copied: {bytes:?}");
}

const CARRIED: u64 = 64 * MIB;

#[test]
fn direct_connections_are_spliced() {
    let proxy = Subject::from_env().start(Way::Direct);
    let origin = HttpOrigin::start();
    let mut stream = scenes::tunnel(proxy.addr, &origin.addr().into());
    let counted = Counted::attach(&proxy);
    scenes::download(&mut stream, CARRIED);
    assert_spliced(&counted.detach(), CARRIED);
}

#[test]
fn vision_is_spliced_after_its_switch() {
    let proxy = Subject::from_env().start(Way::Vless(&Stage::shared(Era::Xray26_10).route(Door::Vision)));
    let origin = scenes::https(Version::Tls13);
    let mut stream = tls::connect(scenes::tunnel(proxy.addr, &origin.addr().into()), TARGET, Version::Tls13);
    scenes::download(&mut stream, 10);
    let counted = Counted::attach(&proxy);
    scenes::download(&mut stream, CARRIED);
    assert_spliced(&counted.detach(), CARRIED);
}

/// After the switch the inner TLS records travel as they are: the end of what the inner client received is found, byte for byte, on
/// the wire between the proxy and its server.
#[test]
fn vision_leaves_the_outer_encryption() {
    for era in Era::ALL {
        let route = Stage::shared(era).route(Door::Vision);
        let middleman = Middleman::start(route.server, Manner::Plain);
        let proxy = Subject::from_env().start(Way::Vless(&route.through(middleman.addr())));
        let origin = scenes::https(Version::Tls13);
        let inner = Middleman::start(proxy.addr, Manner::Plain);
        let mut stream = tls::connect(scenes::tunnel(inner.addr(), &origin.addr().into()), TARGET, Version::Tls13);
        // A sender switches on a batch that ends with a record (spec §5.5): a small answer is one, a busy download may never be.
        for length in [10, 3 * MIB, 10] {
            scenes::download(&mut stream, length);
        }
        let is_in = |needle: &[u8], hay: &[u8]| hay.windows(needle.len()).any(|window| window == needle);
        let received = inner.down_tail();
        assert!(is_in(&received[received.len() - 512..], &middleman.down_tail()), "the downlink is not raw");
        let sent = inner.up_tail();
        assert!(is_in(&sent[sent.len() - 40..], &middleman.up_tail()), "the uplink is not raw");
    }
}

#[test]
fn inner_tls_1_2_stays_inside_the_outer_encryption() {
    let route = Stage::shared(Era::Xray26_10).route(Door::Vision);
    let middleman = Middleman::start(route.server, Manner::Plain);
    let proxy = Subject::from_env().start(Way::Vless(&route.through(middleman.addr())));
    let origin = scenes::https(Version::Tls12);
    let inner = Middleman::start(proxy.addr, Manner::Plain);
    let mut stream = tls::connect(scenes::tunnel(inner.addr(), &origin.addr().into()), TARGET, Version::Tls12);
    scenes::download(&mut stream, 100_000);
    let received = inner.down_tail();
    let needle = &received[received.len() - 64..];
    assert!(!middleman.down_tail().windows(64).any(|window| window == needle), "TLS 1.2 must not be sent raw");
}
