//! One running `wireguard-go` and its control socket.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};
use std::{fs, thread};

use super::{Key, Namespace};
use crate::cache::cached;
use crate::{Process, Scratch};

/// Where every `wireguard-go` of this machine puts its control socket.
const SOCKETS: &str = "/var/run/wireguard";

/// A TUN interface that `wireguard-go` serves.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) namespace: Arc<Namespace>,
    interface: String,
    mtu: u16,
    addresses: Vec<(IpAddr, u8)>,
    private_key: Key,
    port: u16,
    process: Process,
}

/// The other end of a tunnel, as a [`Device`] knows it.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    pub(super) public_key: Key,
    pub(super) pre_shared_key: Option<Key>,
    /// Networks whose addresses belong to it.
    pub(super) allowed_ips: Vec<(IpAddr, u8)>,
    pub(super) endpoint: Option<SocketAddr>,
    pub(super) keepalive: u16,
}

/// What `wireguard-go` knows about one remote end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes received from it in packets that were authentic.
    pub received: u64,
    /// Bytes sent to it.
    pub sent: u64,
    /// When the last handshake with it was completed.
    pub last_handshake: Option<SystemTime>,
    /// Where it was last heard from.
    pub endpoint: Option<SocketAddr>,
}

impl Device {
    /// Starts one that listens on `port`, or on any for 0.
    pub(super) fn start(
        namespace: Arc<Namespace>,
        mtu: u16,
        addresses: Vec<(IpAddr, u8)>,
        private_key: Key,
        port: u16,
    ) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        remove_stale_sockets();
        // Control sockets are named after interfaces and shared by all namespaces, so the name is unique on the machine.
        let interface = format!("wg{}n{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let process = spawn(&namespace, &interface);
        let device = Self { namespace, interface, mtu, addresses, private_key, port, process };
        device.configure();
        device
    }

    /// Kills the program, and starts another with the same key, port and addresses that knows nobody.
    pub(super) fn restart(&mut self) {
        self.process.kill();
        self.process = spawn(&self.namespace, &self.interface);
        self.configure();
    }

    pub(super) fn interface(&self) -> &str {
        &self.interface
    }

    pub(super) fn process(&self) -> &Process {
        &self.process
    }

    fn configure(&self) {
        self.ask(&format!("set=1\nprivate_key={}\nlisten_port={}\n", self.private_key.hex(), self.port));
        for &(address, prefix) in &self.addresses {
            self.namespace.add_address(&self.interface, address, prefix);
        }
        self.namespace.ip(&format!("link set {} mtu {} up", self.interface, self.mtu));
    }

    /// Adds a remote end, or changes one that has its key.
    pub(super) fn add(&self, remote: &Remote) {
        let mut text = format!(
            "set=1\npublic_key={}\npersistent_keepalive_interval={}\nreplace_allowed_ips=true\n",
            remote.public_key.hex(),
            remote.keepalive
        );
        if let Some(key) = &remote.pre_shared_key {
            let _ = writeln!(text, "preshared_key={}", key.hex());
        }
        if let Some(endpoint) = remote.endpoint {
            let _ = writeln!(text, "endpoint={endpoint}");
        }
        for (network, prefix) in &remote.allowed_ips {
            let _ = writeln!(text, "allowed_ip={network}/{prefix}");
        }
        self.ask(&text);
    }

    /// Forgets the remote end with this key.
    pub(super) fn remove(&self, public_key: &Key) {
        self.ask(&format!("set=1\npublic_key={}\nremove=true\n", public_key.hex()));
    }

    /// What it knows about the remote end with this key.
    pub(super) fn stats(&self, public_key: &Key) -> Option<Stats> {
        let answer = self.ask("get=1\n");
        let own = format!("public_key={}", public_key.hex());
        let mut lines = answer.lines().skip_while(|line| *line != own);
        lines.next()?;
        let mut stats = Stats::default();
        let mut since_epoch = Duration::ZERO;
        for (key, value) in lines.take_while(|line| !line.starts_with("public_key=")).filter_map(|l| l.split_once('='))
        {
            let number = || value.parse::<u64>().expect("a number");
            match key {
                "rx_bytes" => stats.received = number(),
                "tx_bytes" => stats.sent = number(),
                "endpoint" => stats.endpoint = Some(value.parse().expect("an address")),
                "last_handshake_time_sec" => since_epoch += Duration::from_secs(number()),
                "last_handshake_time_nsec" => since_epoch += Duration::from_nanos(number()),
                _ => {}
            }
        }
        stats.last_handshake = (since_epoch != Duration::ZERO).then(|| SystemTime::UNIX_EPOCH + since_epoch);
        Some(stats)
    }

    /// One request over the control socket (the "cross-platform userspace implementation" protocol of wireguard.com/xplatform).
    fn ask(&self, request: &str) -> String {
        let mut socket = UnixStream::connect(socket_of(&self.interface)).unwrap_or_else(|error| {
            panic!("{} has no control socket: {error}\n{}", self.interface, self.process.tail(20));
        });
        socket.write_all(request.as_bytes()).and_then(|()| socket.write_all(b"\n")).expect("a request");
        let mut answer = String::new();
        // It keeps the connection for more requests; an empty line ends the answer.
        let mut byte = [0];
        while !answer.ends_with("\n\n") {
            socket.read_exact(&mut byte).expect("an answer");
            answer.push(char::from(byte[0]));
        }
        assert!(answer.contains("errno=0\n"), "{} refuses:\n{request}{answer}", self.interface);
        answer
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.process.kill();
        let _ = fs::remove_file(socket_of(&self.interface));
    }
}

fn socket_of(interface: &str) -> PathBuf {
    Path::new(SOCKETS).join(interface).with_extension("sock")
}

fn spawn(namespace: &Namespace, interface: &str) -> Process {
    let _ = fs::remove_file(socket_of(interface));
    let mut command = Command::new(cached("wireguard-go/wireguard-go"));
    command.args(["-f", interface]).env("LOG_LEVEL", "error");
    let mut process = namespace.run(|| Process::start("wireguard-go", command, Scratch::new("wireguard")));
    let end = Instant::now() + Duration::from_secs(10);
    while UnixStream::connect(socket_of(interface)).is_err() {
        assert!(
            process.is_running() && Instant::now() < end,
            "wireguard-go makes no interface (it needs root and /dev/net/tun): {}",
            process.log()
        );
        thread::sleep(Duration::from_millis(1));
    }
    process
}

/// Removes what processes that were killed have left.
fn remove_stale_sockets() {
    for entry in fs::read_dir(SOCKETS).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix("wg")?.split_once('n')).map(|(owner, _)| owner);
        if owner.is_some_and(|owner| owner.parse::<u32>().is_ok() && !Path::new("/proc").join(owner).exists()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
