//! Who may use a listener.

use std::sync::Arc;

use adit_net::{ClientAddr, Secret};
use ipnet::IpNet;
use subtle::{Choice, ConstantTimeEq as _};

use crate::access;

/// The users of a listener, and the sources that need not be one of them.
///
/// Without users nobody is asked for credentials. A name that a client gives all the same is then kept as a label for
/// `IN-USER` rules, as Mihomo does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    list: Vec<(Arc<str>, Secret)>,
    skipped: Vec<IpNet>,
}

impl Users {
    /// Nobody is asked.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// These users, by name and password. A name may occur with several passwords; each of them is right.
    #[must_use]
    pub fn new(list: impl IntoIterator<Item = (String, Secret)>) -> Self {
        Self { list: list.into_iter().map(|(name, password)| (name.into(), password)).collect(), skipped: Vec::new() }
    }

    /// Sources in one of `prefixes` are not asked (`skip-auth-prefixes`). IPv4-mapped IPv6 prefixes count as IPv4.
    #[must_use]
    pub fn skipping(mut self, prefixes: impl IntoIterator<Item = IpNet>) -> Self {
        self.skipped = prefixes.into_iter().map(access::unmapped).collect();
        self
    }

    /// Whether there are no users, so that nobody is ever asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether `client` has to prove that it is one of the users.
    #[must_use]
    pub fn must_prove(&self, client: ClientAddr) -> bool {
        !self.is_empty() && !access::contains(&self.skipped, client.ip())
    }

    /// The user with this name and password. The time it takes depends on the list and on the length of what was
    /// given, not on how much of it is right.
    #[must_use]
    pub fn find(&self, name: &[u8], password: &[u8]) -> Option<Arc<str>> {
        let mut found = None;
        for (known, secret) in &self.list {
            let right = same(known.as_bytes(), name) & same(secret.reveal().as_bytes(), password);
            if bool::from(right) {
                found = Some(known);
            }
        }
        found.cloned()
    }

    /// What to think of credentials that `client` gave: the user they belong to, a label nobody vouches for, or an
    /// error if `client` had to prove itself and did not.
    pub(crate) fn judge(
        &self,
        client: ClientAddr,
        name: &[u8],
        password: &[u8],
    ) -> Result<Option<Arc<str>>, WrongCredentials> {
        if self.is_empty() {
            return Ok(std::str::from_utf8(name).ok().filter(|name| !name.is_empty()).map(Arc::from));
        }
        match self.find(name, password) {
            Some(user) => Ok(Some(user)),
            None if self.must_prove(client) => Err(WrongCredentials),
            None => Ok(None),
        }
    }
}

/// The client had to prove that it is one of the users, and did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrongCredentials;

fn same(expected: &[u8], given: &[u8]) -> Choice {
    let mut same = expected.len().ct_eq(&given.len());
    for (at, byte) in expected.iter().enumerate() {
        same &= byte.ct_eq(given.get(at).unwrap_or(&0));
    }
    same
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> Users {
        Users::new([
            ("ann".into(), Secret::new("apple")),
            ("bob".into(), Secret::new("")),
            ("ann".into(), Secret::new("avocado")),
        ])
    }

    fn client(ip: &str) -> ClientAddr {
        ClientAddr::from(std::net::SocketAddr::new(ip.parse().unwrap(), 1))
    }

    /// F-A4
    #[test]
    fn only_the_whole_name_with_the_whole_password_is_right() {
        let users = users();
        for (name, password, right) in [
            ("ann", "apple", true),
            ("ann", "avocado", true),
            ("bob", "", true),
            ("ann", "", false),
            ("ann", "appl", false),
            ("ann", "apple\0", false),
            ("ann", "pple", false),
            ("an", "apple", false),
            ("annn", "apple", false),
            ("ANN", "apple", false),
            ("", "", false),
            ("", "apple", false),
            ("bob", "apple", false),
        ] {
            let found = users.find(name.as_bytes(), password.as_bytes());
            assert_eq!(found.as_deref() == Some(name), right, "{name} {password}");
            assert_eq!(found.is_some(), right, "{name} {password}");
        }
        assert_eq!(Users::none().find(b"", b""), None);
    }

    /// F-C3
    #[test]
    fn skipped_sources_need_not_prove_anything_and_cannot_pose_as_a_user() {
        let users = users().skipping(["10.0.0.0/8".parse().unwrap()]);
        assert!(users.must_prove(client("127.0.0.1")));
        assert!(!users.must_prove(client("::ffff:10.1.1.1")));
        assert_eq!(users.judge(client("10.1.1.1"), b"ann", b"apple"), Ok(Some("ann".into())));
        assert_eq!(users.judge(client("10.1.1.1"), b"ann", b"wrong"), Ok(None));
        assert_eq!(users.judge(client("127.0.0.1"), b"ann", b"wrong"), Err(WrongCredentials));
    }

    #[test]
    fn without_users_a_name_is_a_label() {
        assert_eq!(Users::none().judge(client("8.8.8.8"), b"via-us", b"x"), Ok(Some("via-us".into())));
        assert_eq!(Users::none().judge(client("8.8.8.8"), b"\xff", b"x"), Ok(None));
    }

    /// F-L2
    #[test]
    fn debug_shows_no_password() {
        let shown = format!("{:?}", users());
        assert!(shown.contains("ann") && !shown.contains("apple"), "{shown}");
    }
}
