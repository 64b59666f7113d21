use super::*;

fn parse(text: &str) -> Nameserver {
    Nameserver::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn every_form_becomes_a_transport() {
    for (text, shown) in [
        ("1.1.1.1", "udp://1.1.1.1:53"),
        (" 1.1.1.1:5353 ", "udp://1.1.1.1:5353"),
        ("udp://dns.example", "udp://dns.example:53"),
        ("2606:4700::1111", "udp://[2606:4700::1111]:53"),
        ("[2606:4700::1111]:54", "udp://[2606:4700::1111]:54"),
        ("tcp://2606:4700::1111", "tcp://[2606:4700::1111]:53"),
        ("tcp://8.8.8.8/", "tcp://8.8.8.8:53"),
        ("TLS://Dns.Google", "tls://dns.google:853"),
        ("tls://1.1.1.1:8853", "tls://1.1.1.1:8853"),
        ("https://dns.google/dns-query", "https://dns.google:443"),
        ("https://[::1]:8443/x?y=z", "https://[::1]:8443"),
        ("system", "system"),
        ("system://", "system"),
        ("dhcp://system", "system"),
        ("rcode://name_error", "rcode://name_error"),
    ] {
        assert_eq!(parse(text).to_string(), shown, "{text}");
    }
}

#[test]
fn a_url_keeps_its_path_and_hides_its_user() {
    let Transport::Https(https) = parse("https://us%3Aer:pass%40word@dns.example/a/b?c=d").transport else {
        panic!("not https");
    };
    assert_eq!(https.path, "/a/b?c=d");
    let authorization = https.authorization.clone().unwrap();
    assert_eq!(authorization.reveal(), "Basic dXM6ZXI6cGFzc0B3b3Jk");
    assert!(!format!("{https:?}").contains("dXM6"), "{https:?}");
    let Transport::Https(bare) = parse("https://dns.example").transport else { panic!("not https") };
    assert_eq!((bare.path.as_str(), bare.authorization), ("/", None));
}

#[test]
fn a_fragment_says_which_way_and_what_to_change() {
    let server = parse(
        "tls://dns.example#Proxy A&disable-ipv6=true&disable-qtype-65=true&disable-ipv4=false&ecs=1.2.3.4/16&ecs-override=true&disable-reuse=true&name-cert-verify=other.example",
    );
    assert_eq!(server.via, Some(Via::Named("Proxy A".into())));
    assert_eq!(server.changes.disabled, [28, 65]);
    assert_eq!(server.changes.subnet, Some(Subnet { network: "1.2.0.0/16".parse().unwrap(), replaces: true }));
    let Transport::Tls { certificate, one_shot, .. } = server.transport else { panic!("not tls") };
    assert_eq!((certificate, one_shot), (Certificate::Of("other.example".parse().unwrap()), true));

    assert_eq!(parse("1.1.1.1#RULES").via, Some(Via::Rules));
    let ecs = parse("1.1.1.1#ecs=2001:db8::1").changes.subnet.unwrap();
    assert_eq!(ecs, Subnet { network: "2001:db8::1/128".parse().unwrap(), replaces: false });
    assert!(matches!(
        parse("tls://1.1.1.1#skip-cert-verify=true").transport,
        Transport::Tls { certificate: Certificate::Unchecked, .. }
    ));
    assert_eq!(parse("https://1.1.1.1/q#h3=false"), parse("https://1.1.1.1/q"));
}

#[test]
fn errors_say_what_and_where() {
    for (text, part, said) in [
        ("", "", "no server"),
        ("udp://", "", "no server"),
        ("h3://dns.example", "h3", "does not speak HTTP/3: use `https://` without `h3=true`, or `quic://`"),
        ("http3://dns.example", "http3", "`http3` is not a way"),
        ("https://dns.example/q#h3=true", "https", "HTTP/3"),
        ("http://dns.example/q", "http", "plain HTTP"),
        ("dhcp://eth0", "dhcp", "does not ask DHCP"),
        ("tailscale://x", "tailscale", "Tailscale"),
        ("gopher://x", "gopher", "`gopher` is not a way to ask"),
        ("1.1.1.1:70000", "1.1.1.1:70000", "port"),
        ("1.1.1.1:0", "1.1.1.1:0", "port 0"),
        ("a b", "a b", "character"),
        ("tls://1.1.1.1/path", "/path", "only `https://` has a path"),
        ("tcp://user:word@1.1.1.1", "user:word", "only `https://` has a user"),
        ("https://x/a b", "/a b", "path of a URL"),
        ("rcode://nope", "nope", "`nope` is not an answer"),
        ("1.1.1.1#a&b", "b", "second way out"),
        ("1.1.1.1#skip-cert-verfy=true", "skip-cert-verfy", "not a parameter"),
        ("1.1.1.1#disable-qtype-99999=true", "disable-qtype-99999", "not a parameter"),
        ("1.1.1.1#disable-ipv4=yes", "yes", "`true` or `false`"),
        ("1.1.1.1#ecs=here", "here", "neither an address nor a network"),
        ("tls://1.1.1.1#name-cert-verify=a b", "a b", "not a host"),
    ] {
        let error = Nameserver::parse(text).unwrap_err();
        assert_eq!(&text[error.at.clone()], part, "{text}: {error}");
        assert!(error.to_string().contains(said), "{text}: {error}");
        assert!(!error.to_string().contains("word"), "{error}");
    }
}

#[test]
fn no_text_panics_and_every_place_is_within_it() {
    let whole = "https://ü:p@[2001:db8::1]:443/ä?q#vía&ecs=1.2.3.4/24&disable-qtype-65=true&name-cert-verify=a.example";
    let characters: Vec<char> = whole.chars().collect();
    for at in 0..=characters.len() {
        for change in ["", ":", "/", "@", "[", "]", "#", "=", "&", "ß", "\0", " "] {
            for cut in [0, 1, 5] {
                let (head, tail) = characters.split_at(at);
                let tail = tail.iter().skip(cut).collect::<String>();
                let text = head.iter().copied().chain(change.chars()).chain(tail.chars()).collect::<String>();
                if let Err(error) = Nameserver::parse(&text) {
                    assert!(text.get(error.at.clone()).is_some(), "{text}: {error:?}");
                }
                let _ = Nameserver::parse(&head.iter().collect::<String>());
            }
        }
    }
}
