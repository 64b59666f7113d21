//! What people already have, turned into YAML: `wg-quick` files and share links.
//!
//! ```
//! use adit_config::{Source, import};
//!
//! let source = Source {
//!     name: "/etc/wireguard/wg0.conf".into(),
//!     text: "\
//! [Interface]
//! PrivateKey = eCtXsJZ27+4PbhDkHnB923tkUn2Gj59wZw5wFA75MnU=
//! Address = 10.0.0.2/24
//! [Peer]
//! PublicKey = Cr8hWlKvtDt7nrvf+f0brNQQzabAqrjfBvas9pmowjo=
//! AllowedIPs = 0.0.0.0/0
//! Endpoint = vpn.example.com:51820
//! "
//!     .into(),
//!     home: ".".into(),
//!     overrides: Default::default(),
//! };
//! let (proxies, problems) = import::file(&source);
//! assert!(!problems.has_errors());
//! assert_eq!(proxies[0].name(), "wg0");
//! let config = import::config(&proxies);
//! assert!(config.ends_with("rules:\n  - MATCH,wg0\n"), "{config}");
//! ```

mod keys;
mod wg_quick;
mod write;

use std::fmt;
use std::path::Path;

use ipnet::IpNet;

use crate::group::GLOBAL;
use crate::mask::Hidden;
use crate::problem::Problems;
use crate::proxy::BUILT_IN;
use crate::proxy::links::{self, LinkError, Linked};
use crate::report::{Draft, Report};
use crate::source::Source;
use crate::yaml::At;
use write::{Keys, Written};

/// The group that chooses among several.
const GROUP: &str = "PROXY";

/// A proxy that was read from a file or a link and can be written into a configuration.
///
/// `Debug` shows its name only: the rest is full of secrets.
#[derive(Clone)]
pub struct Import {
    name: String,
    kind: &'static str,
    keys: Keys,
    /// Where it leads, if not everywhere.
    only: Vec<IpNet>,
}

impl Import {
    /// What it is called: after its file or its link's fragment.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Calls it something else, because a configuration has each name once.
    #[must_use]
    pub fn renamed(self, name: impl Into<String>) -> Self {
        Self { name: sane(&name.into()), ..self }
    }
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Reads a file: a `wg-quick` configuration (AmneziaWG's too), or share links, one a line.
///
/// What cannot be kept is a warning; an error means that there is nothing, or not everything, to show.
#[must_use]
pub fn file(source: &Source) -> (Vec<Import>, Problems) {
    if is_links(&source.text) {
        return lines_of_links(source);
    }
    let (import, problems) = wg_quick::import(source);
    (import.into_iter().collect(), problems)
}

/// Reads a share link, see [`crate::link::parse`].
///
/// # Errors
/// See [`LinkError`].
pub fn link(link: &str) -> Result<Import, LinkError> {
    let links::Link { name, linked } = links::read(link)?;
    let (kind, keys) = match &linked {
        Linked::Vless(written) => {
            let written = written.as_ref();
            links::vless_options(written.clone())?;
            ("vless", keys::vless(written))
        }
        Linked::Socks5(options) => ("socks5", keys::socks5(options)),
        Linked::Http(options) => ("http", keys::http(options)),
        Linked::WireGuard(options, dns) => ("wireguard", keys::wireguard(options, dns)),
    };
    let only = match &linked {
        Linked::WireGuard(options, _) => wg_quick::only(&options.tunnel),
        _ => Vec::new(),
    };
    Ok(Import { name: sane(&name), kind, keys, only })
}

/// The `proxies:` section, ready to be run or pasted.
#[must_use]
pub fn proxies(imports: &[Import]) -> String {
    let mut out = String::from("proxies:\n");
    for import in imports {
        let mut keys = vec![("name", Written::text(&*import.name)), ("type", Written::text(import.kind))];
        keys.extend(import.keys.iter().cloned());
        write::item(&mut out, 2, &keys);
    }
    out
}

/// A whole configuration: a mixed port on loopback, the proxies, and everything through them. A tunnel that leads to
/// some networks only gets those, and the rest goes directly; of several proxies a group chooses.
#[must_use]
pub fn config(imports: &[Import]) -> String {
    let mut out = String::from("mixed-port: 7890\nmode: rule\n\n");
    out.push_str(&proxies(imports));
    let (target, rest) = match imports {
        [import] if import.only.is_empty() => (&*import.name, None),
        [import] => (&*import.name, Some(&import.only)),
        _ => (GROUP, None),
    };
    if target == GROUP && imports.len() != 1 {
        let members = imports.iter().map(|import| import.name.clone()).collect();
        let group = vec![
            ("name", Written::text(GROUP)),
            ("type", Written::text("select")),
            ("proxies", Written::Texts(members)),
        ];
        out.push_str("\nproxy-groups:\n");
        write::item(&mut out, 2, &group);
    }
    out.push_str("\nrules:\n");
    let mut rule = |rule: String| out.push_str(&format!("  - {}\n", write::scalar(&rule)));
    for net in rest.into_iter().flatten() {
        rule(format!("IP-CIDR,{net},{target}"));
    }
    rule(format!("MATCH,{}", if rest.is_some() { "DIRECT" } else { target }));
    out
}

/// Whether the first line that says anything is a link.
fn is_links(text: &str) -> bool {
    let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('#'));
    first.and_then(|line| line.split_once("://")).is_some_and(|(scheme, _)| is_scheme(scheme))
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

fn lines_of_links(source: &Source) -> (Vec<Import>, Problems) {
    let report = Report::default();
    let (mut imports, mut secrets) = (Vec::new(), Vec::new());
    let mut start = 0;
    for line in source.text.split_inclusive('\n') {
        let (from, bare) = (start + line.len() - line.trim_start().len(), line.trim().trim_start_matches('\u{feff}'));
        start += line.len();
        if bare.is_empty() || bare.starts_with('#') {
            continue;
        }
        let at = At::new(from, from + line.trim().len());
        match link(bare) {
            Ok(import) => imports.push(import),
            Err(why) => {
                secrets.push(at);
                report.add(Draft::error(at, why.to_string()));
            }
        }
    }
    (imports, report.into_problems(source, &Hidden::Known(&secrets)))
}

/// The name that a proxy from `file` gets: the file's without folder and ending.
fn name_of(file: &str) -> String {
    let stem = Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    sane(&stem.filter(|_| !file.starts_with('<')).unwrap_or_default())
}

/// A name that rules can mention: no comma, no line break, nobody else's.
fn sane(name: &str) -> String {
    let name = name.replace(|c: char| c == ',' || c.is_control(), " ");
    match name.trim() {
        "" => "imported".to_owned(),
        taken if BUILT_IN.contains(&taken) || taken == GLOBAL || taken == GROUP => format!("{taken}-1"),
        name => name.to_owned(),
    }
}
