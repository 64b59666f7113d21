//! Names that end up inside rules, and so may contain nothing that could end a rule.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadName {
    /// Empty, or longer than the kernel allows (15 bytes for an interface).
    #[error("`{0}` is empty or too long")]
    Length(String),
    /// White space, quotes, control characters, `/` in an interface, `..` in a control group.
    #[error("`{0}` contains what no such name contains")]
    Character(String),
}

/// A network interface, or several: a name that ends in `*` means all that begin so.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interface(String);

impl Interface {
    /// The name, with its `*` if it has one.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a link of this name is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(begin) => name.starts_with(begin),
            None => self.0 == name,
        }
    }

    /// Where the containers of a Docker host are: its default bridge and those of user-defined networks.
    #[must_use]
    pub fn of_docker() -> [Self; 2] {
        [Self("docker0".to_owned()), Self("br-*".to_owned())]
    }
}

impl FromStr for Interface {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let name = text.strip_suffix('*').unwrap_or(text);
        // IFNAMSIZ is 16 with the final zero; dev_valid_name() in net/core/dev.c.
        if name.is_empty() || name.len() > 15 {
            return Err(BadName::Length(shown(text)));
        }
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'"' | b'\\' | b'*' | b'\'');
        if !name.bytes().all(plain) || matches!(name, "." | "..") {
            return Err(BadName::Character(shown(text)));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A control group (version 2), as a path below the root of their file system: `system.slice/adit.service`. It must exist
/// when rules are installed, because the kernel is told its number.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cgroup(String);

impl Cgroup {
    /// The path, without a slash at either end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How deep it lies; children of the root are at 1.
    pub(crate) fn level(&self) -> usize {
        self.0.split('/').count()
    }
}

impl FromStr for Cgroup {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let path = text.trim_matches('/');
        if path.is_empty() || path.len() > 1024 {
            return Err(BadName::Length(shown(text)));
        }
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'\'');
        if !path.bytes().all(plain) || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(BadName::Character(shown(text)));
        }
        Ok(Self(path.to_owned()))
    }
}

impl fmt::Display for Cgroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_quotes() {
        for good in ["eth0", "br-*", "wg0.100", "enp3s0f1np1", "docker_gwbridge"] {
            assert_eq!(good.parse::<Interface>().unwrap().as_str(), good);
        }
        for bad in ["", "*", "a b", "a\"b", "a\nb", "a*b", "sixteen-letters-", "a/b", "..", "é"] {
            bad.parse::<Interface>().unwrap_err();
        }
        let group: Cgroup = "/system.slice/adit.service/".parse().unwrap();
        assert_eq!((group.as_str(), group.level()), ("system.slice/adit.service", 2));
        for bad in ["", "/", "a//b", "a/../b", "a\"b", "a\nb", "a b"] {
            bad.parse::<Cgroup>().unwrap_err();
        }
    }
}
