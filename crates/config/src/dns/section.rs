//! What every part of the section needs, and lists of nameservers.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use adit_dns::{BadNameserver, Flaw, Nameserver, Via};

use crate::context::Context;
use crate::read::Text;
use crate::report::{Draft, shown};
use crate::rules;
use crate::sets::Sets;
use crate::source::Source;

/// What the section may refer to.
pub(crate) struct Section<'c, 'd> {
    pub(crate) source: &'c Source,
    /// Rule providers and databases.
    pub(crate) sets: &'c Sets,
    /// The names of all proxies and groups.
    pub(crate) ways: &'c HashSet<&'c str>,
    /// `profile.store-fake-ip`.
    pub(crate) stores_fake_ip: bool,
    pub(crate) cx: &'c Context<'d>,
}

/// What a nameserver may begin with, as far as we speak it.
const SCHEMES: [&str; 8] = ["udp", "tcp", "tls", "quic", "https", "system", "dhcp", "rcode"];

impl Section<'_, '_> {
    /// The servers of a list. Those that Mihomo knows and we do not are left out with a warning, unless nobody is left:
    /// to ask another list's servers instead is not what was written.
    pub(super) fn servers(&self, list: &[Text<'_>]) -> Vec<Nameserver> {
        let mut servers = Vec::with_capacity(list.len());
        let mut strangers = Vec::new();
        let mut wrong = 0;
        for (index, text) in list.iter().enumerate() {
            match Nameserver::parse(text.text) {
                Ok(server) => {
                    self.check_way(&server, *text);
                    servers.push(server);
                }
                Err(bad) if is_stranger(&bad.flaw) => strangers.push((index, *text, bad)),
                Err(bad) => {
                    wrong += 1;
                    self.cx.report.add(self.blame(index, *text, &bad));
                }
            }
        }
        let is_missed = servers.is_empty() && wrong == 0;
        for (index, text, bad) in strangers {
            let at = rules::within(self.source, text, bad.at.start, bad.at.end);
            let message = format!("DNS NameServer[{index}]: {}", bad.flaw);
            self.cx.report.add(if is_missed {
                Draft::error(at, message).hint("there is no other server in this list")
            } else {
                Draft::warning(at, message).hint("this server is left out, the others of the list are asked")
            });
        }
        servers
    }

    fn blame(&self, index: usize, text: Text<'_>, bad: &BadNameserver) -> Draft {
        let at = rules::within(self.source, text, bad.at.start, bad.at.end);
        let error = |message: String| Draft::error(at, format!("DNS NameServer[{index}] {message}"));
        match &bad.flaw {
            Flaw::Scheme(scheme) => error(format!("unsupport scheme: {}", shown(scheme)))
                .hint(format!("a nameserver begins with one of: {}", SCHEMES.join(", ")))
                .meant(scheme, SCHEMES),
            Flaw::Rcode(code) => {
                let names = adit_dns::Rcode::NAMES.map(|(name, _)| name);
                error(format!("format error: unsupported RCode type: {}", shown(code)))
                    .hint(format!("it is one of: {}", names.join(", ")))
                    .meant(code, names)
            }
            flaw => error(format!("format error: {flaw}"))
                .hint("a nameserver is written like 1.1.1.1, tls://1.1.1.1:853 or https://dns.example/dns-query#proxy"),
        }
    }

    /// Whether the way out that a server names is there.
    fn check_way(&self, server: &Nameserver, text: Text<'_>) {
        let Some(Via::Named(name)) = &server.via else { return };
        if self.ways.contains(name.as_str()) || is_interface(name) {
            return;
        }
        let start = text.text.find('#').map_or(0, |hash| hash + 1);
        let at = rules::within(self.source, text, start, text.text.len());
        let message = format!("there is neither a proxy nor a group nor an interface '{}' to ask by", shown(name));
        self.cx.report.add(Draft::error(at, message).meant(name, self.ways.iter().copied()));
    }

    /// Where fake addresses are kept, if they are.
    pub(super) fn store(&self) -> Option<PathBuf> {
        self.stores_fake_ip.then(|| self.cx.home.dir().join("fakeip.redb"))
    }
}

/// Whether Mihomo would ask the server, and we cannot.
fn is_stranger(flaw: &Flaw) -> bool {
    matches!(flaw, Flaw::Http3 | Flaw::PlainHttp | Flaw::Dhcp | Flaw::Tailscale)
}

/// Whether this machine has such an interface now.
fn is_interface(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && !name.starts_with('.') && Path::new("/sys/class/net").join(name).exists()
}
