//! Request targets that name a destination, RFC 9112 §3.2 and RFC 3986 §3.2.

use adit_net::Target;

/// An absolute-form target, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Absolute<'a> {
    pub(crate) target: Target,
    /// The host as the client spelled it, with brackets around IPv6.
    pub(crate) host: &'a str,
    /// Path and query, without a fragment. Empty, or begins with `/` or `?`.
    pub(crate) path: &'a str,
}

/// Takes `http://host[:port]/path?query` apart; `ws` means the same. User information and fragment are dropped.
/// `None`: it names no destination that we reach.
pub(crate) fn absolute(text: &str) -> Option<Absolute<'_>> {
    let (scheme, rest) = text.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("ws") {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let path = path.split('#').next().unwrap_or_default();
    let (user, host_and_port) = authority.split_once('@').unwrap_or(("", authority));
    if user.contains(['[', ']']) || host_and_port.contains('@') {
        return None;
    }
    let after_host = host_and_port.find(']').map_or(0, |bracket| bracket + 1);
    let (host, port) = match host_and_port.get(after_host..)?.find(':') {
        None => (host_and_port, ""),
        Some(colon) => {
            let (host, port) = host_and_port.split_at_checked(after_host + colon)?;
            (host, port.get(1..)?)
        }
    };
    let port = if port.is_empty() { "80" } else { port };
    Some(Absolute { target: authority_of(host, port)?, host, path })
}

/// Reads the authority-form target of CONNECT: `host:port`, both present, IPv6 in brackets, no user information.
pub(crate) fn authority(text: &str) -> Option<Target> {
    let (host, port) = text.rsplit_once(':')?;
    authority_of(host, port)
}

fn authority_of(host: &str, port: &str) -> Option<Target> {
    let target: Target = format!("{host}:{port}").parse().ok()?;
    (target.port != 0).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_targets() {
        for (text, target, host, path) in [
            ("http://Example.com", "example.com:80", "Example.com", ""),
            ("HTTP://example.com/", "example.com:80", "example.com", "/"),
            ("http://example.com:8080/a?b#c", "example.com:8080", "example.com", "/a?b"),
            ("http://example.com:/a", "example.com:80", "example.com", "/a"),
            ("http://example.com?x=http://y/", "example.com:80", "example.com", "?x=http://y/"),
            ("http://example.com#/a", "example.com:80", "example.com", ""),
            ("http://u:p@example.com/", "example.com:80", "example.com", "/"),
            ("http://[2001:db8::1]/", "[2001:db8::1]:80", "[2001:db8::1]", "/"),
            ("http://[2001:db8::1]:81/", "[2001:db8::1]:81", "[2001:db8::1]", "/"),
            ("ws://example.com./chat", "example.com:80", "example.com.", "/chat"),
            ("http://1.2.3.4/@", "1.2.3.4:80", "1.2.3.4", "/@"),
        ] {
            let expected = Absolute { target: target.parse().unwrap(), host, path };
            assert_eq!(absolute(text), Some(expected), "{text}");
        }
        for bad in [
            "",
            "/",
            "*",
            "example.com/",
            "https://example.com/",
            "ftp://example.com/",
            "http:/example.com/",
            "http://",
            "http:///a",
            "http://:80/",
            "http://example.com:0/",
            "http://example.com:65536/",
            "http://example.com:+80/",
            "http://example.com:80:80/",
            "http://2001:db8::1/",
            "http://[2001:db8::1/",
            "http://[2001:db8::1]x/",
            "http://[::1%25eth0]/",
            "http://a@b@example.com/",
            "http://exa%6Dple.com/",
            "http://exa\\mple.com/",
        ] {
            assert_eq!(absolute(bad), None, "{bad}");
        }
    }

    /// F-A13
    #[test]
    fn authorities_of_connect() {
        for (text, target) in [
            ("Example.com:443", "example.com:443"),
            ("1.2.3.4:1", "1.2.3.4:1"),
            ("[2001:db8::1]:65535", "[2001:db8::1]:65535"),
        ] {
            assert_eq!(authority(text), Some(target.parse().unwrap()), "{text}");
        }
        for bad in [
            "example.com",
            "example.com:",
            "example.com:0",
            "example.com:65536",
            "example.com:x",
            "u@example.com:443",
            "u:p@example.com:443",
            "2001:db8::1:443",
            "[2001:db8::1]",
            ":443",
            "",
            "http://example.com:443",
            "/",
        ] {
            assert_eq!(authority(bad), None, "{bad}");
        }
    }
}
