//! What the operating system's files say: nameservers and names. The system's resolver itself is never asked.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use adit_net::{Domain, HostsEntry, HostsTable, Target, is_own_listener};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::nameserver::Changes;
use crate::upstream::{Out, Upstream, Wire};

/// How often `resolv.conf` is read (mihomo-surface.md §7.2).
const RESOLV_CONF_EVERY: Duration = Duration::from_secs(300);
/// How often it is looked whether the hosts file has changed.
const HOSTS_EVERY: Duration = Duration::from_secs(5);
/// More servers than any system asks.
const SERVERS_MAX: usize = 8;
/// Longer files than any system has are not read to their end.
const RESOLV_CONF_MAX: u64 = 64 * 1024;
/// As for [`RESOLV_CONF_MAX`]: block lists live in hosts files.
const HOSTS_MAX: u64 = 32 * 1024 * 1024;
/// More addresses than anybody gives a name (F-E15): each further one would be compared with all before it.
const ADDRESSES_MAX: usize = 64;

/// The servers that a `resolv.conf` names, at most 8 and none twice. What cannot be asked (a link-local address with its
/// interface) is left out, as is whatever is not understood.
#[must_use]
pub fn read_resolv_conf(text: &str) -> Vec<IpAddr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() == Some("nameserver")
            && let Some(Ok(ip)) = words.next().map(str::parse::<IpAddr>)
            && !servers.contains(&ip)
            && servers.len() < SERVERS_MAX
        {
            servers.push(ip);
        }
    }
    servers
}

/// The names in a hosts file (hosts(5)) and their addresses, in the order of the file, at most 64 of a name. What is not
/// understood is left out.
///
/// Total: any text gives a table, in time and memory bounded by its length.
#[must_use]
pub fn read_hosts(text: &str) -> HashMap<Domain, HostsEntry> {
    let mut names: HashMap<Domain, HostsEntry> = HashMap::new();
    for line in text.lines() {
        let line = line.split_once('#').map_or(line, |(line, _)| line);
        let mut words = line.split_ascii_whitespace();
        let Some(Ok(ip)) = words.next().map(str::parse::<IpAddr>) else { continue };
        for name in words.filter_map(|word| Domain::new(word).ok()) {
            let entry = names.entry(name).or_insert_with(|| HostsEntry::Addresses(Vec::new()));
            if let HostsEntry::Addresses(addresses) = entry
                && addresses.len() < ADDRESSES_MAX
                && !addresses.contains(&ip)
            {
                addresses.push(ip);
            }
        }
    }
    names
}

fn read(path: &Path, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The servers that a file like `/etc/resolv.conf` names, read again every five minutes.
pub(crate) struct SystemServers {
    path: PathBuf,
    out: Out,
    changes: Changes,
    state: Mutex<Option<Read>>,
}

struct Read {
    at: Instant,
    servers: Vec<(IpAddr, Arc<Upstream>)>,
}

impl SystemServers {
    pub(crate) fn new(path: PathBuf, changes: Changes, out: Out) -> Self {
        Self { path, out, changes, state: Mutex::new(None) }
    }

    /// The servers as of now. Those that stay keep what they have; a file that cannot be read changes nothing.
    pub(crate) fn servers(&self) -> Vec<Arc<Upstream>> {
        let mut state = self.state.lock();
        let now = Instant::now();
        let known = match state.take() {
            Some(read) if now < read.at + RESOLV_CONF_EVERY => read,
            old => {
                let old = old.map(|read| read.servers).unwrap_or_default();
                let servers = match read(&self.path, RESOLV_CONF_MAX) {
                    Ok(text) => self.renewed(&old, &read_resolv_conf(&text)),
                    Err(error) => {
                        tracing::warn!(file = %self.path.display(), %error, "the system's nameservers cannot be read");
                        old
                    }
                };
                Read { at: now, servers }
            }
        };
        let servers = known.servers.iter().map(|(_, server)| Arc::clone(server)).collect();
        *state = Some(known);
        servers
    }

    fn renewed(&self, old: &[(IpAddr, Arc<Upstream>)], ips: &[IpAddr]) -> Vec<(IpAddr, Arc<Upstream>)> {
        // A system that asks us must not be asked by us.
        let others = ips.iter().filter(|ip| !is_own_listener(SocketAddr::new(**ip, 53)));
        let renewed = others.map(|ip| {
            let kept = old.iter().find(|(known, _)| known == ip).map(|(_, server)| Arc::clone(server));
            (*ip, kept.unwrap_or_else(|| self.upstream(*ip)))
        });
        renewed.collect()
    }

    fn upstream(&self, ip: IpAddr) -> Arc<Upstream> {
        let wire = Wire::Udp(Target::new(ip, 53));
        Arc::new(Upstream::new(format!("udp://{ip} (system)"), self.changes.clone(), wire, self.out.clone()))
    }
}

/// A hosts file, read again when it changes.
pub struct HostsFile {
    path: PathBuf,
    state: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    looked: Option<Instant>,
    changed: Option<SystemTime>,
    names: HashMap<Domain, HostsEntry>,
}

impl HostsFile {
    /// The file at `path` (`/etc/hosts`). It is read when the first name is looked up; a file that cannot be read has no
    /// names.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, state: Mutex::default() }
    }
}

impl HostsTable for HostsFile {
    fn lookup(&self, name: &Domain) -> Option<HostsEntry> {
        let mut state = self.state.lock();
        let now = Instant::now();
        if state.looked.is_none_or(|looked| now >= looked + HOSTS_EVERY) {
            let changed = std::fs::metadata(&self.path).and_then(|file| file.modified()).ok();
            if state.looked.is_none() || state.changed != changed {
                let text = read(&self.path, HOSTS_MAX).unwrap_or_default();
                (state.changed, state.names) = (changed, read_hosts(&text));
            }
            state.looked = Some(now);
        }
        state.names.get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_far_as_they_can_be_asked() {
        let text = "# made by hand\nsearch lan\nnameserver 192.0.2.1\n  nameserver\t2001:db8::1 # more\n\
                    nameserver fe80::1%eth0\nnameserver\nnameserver nine.example\nNAMESERVER 192.0.2.9\n\
                    nameserver 192.0.2.1\noptions edns0";
        let expected: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!(read_resolv_conf(text), expected);
        let many: String = (0..99).map(|n| format!("nameserver 192.0.2.{n}\n")).collect();
        assert_eq!(read_resolv_conf(&many).len(), SERVERS_MAX);
    }

    #[test]
    fn names_are_read_with_all_their_addresses() {
        let text = "127.0.0.1 localhost # us\n::1 localhost ip6-localhost\n192.0.2.7\tNAS.lan nas\n\n192.0.2.7 nas\n\
                    nonsense nas\n192.0.2.8 b\u{e4}d 300.1.1.1.1";
        let names = read_hosts(text);
        let addresses = |list: &[&str]| HostsEntry::Addresses(list.iter().map(|ip| ip.parse().unwrap()).collect());
        let of = |name: &str| names.get(&name.parse().unwrap()).cloned();
        assert_eq!(of("localhost"), Some(addresses(&["127.0.0.1", "::1"])));
        assert_eq!((of("nas.lan"), of("nas")), (Some(addresses(&["192.0.2.7"])), Some(addresses(&["192.0.2.7"]))));
        assert_eq!(of("lan"), None);
    }

    /// F-E15: a third of the largest file, all of it about one name, is read in time that only grows with its length.
    #[test]
    fn f_e15_one_name_does_not_make_a_hosts_file_slow() {
        let text: String = (0..500_000_u32).map(|n| format!("{} nas.lan\n", std::net::Ipv4Addr::from(n))).collect();
        let started = std::time::Instant::now();
        let names = read_hosts(&text);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        let Some(HostsEntry::Addresses(addresses)) = names.get(&"nas.lan".parse().unwrap()) else {
            panic!("no addresses")
        };
        assert_eq!(addresses.len(), ADDRESSES_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hosts_file_is_read_again_when_it_changes() {
        let path = std::env::temp_dir().join(format!("adit-hosts-{}", std::process::id()));
        let name: Domain = "nas.lan".parse().unwrap();
        let file = HostsFile::new(path.clone());
        assert_eq!(file.lookup(&name), None);
        std::fs::write(&path, "192.0.2.1 nas.lan").unwrap();
        assert_eq!(file.lookup(&name), None);
        tokio::time::advance(HOSTS_EVERY).await;
        assert_eq!(file.lookup(&name), Some(HostsEntry::Addresses(vec![[192, 0, 2, 1].into()])));
        std::fs::remove_file(&path).unwrap();
        tokio::time::advance(HOSTS_EVERY).await;
        assert_eq!(file.lookup(&name), None);
    }
}
