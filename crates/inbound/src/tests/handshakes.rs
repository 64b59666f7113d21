//! What clients say first, byte for byte.

use adit_net::Secret;

use super::*;

/// A handshake, and all that is answered to it when the target is reached.
struct Handshake {
    kind: Kind,
    says: Vec<u8>,
    hears: &'static [u8],
    session: (Protocol, &'static str, Option<&'static str>),
}

const CONNECTED: &[u8] = b"\x05\0\0\x01\0\0\0\0\0\0";

fn handshakes() -> Vec<Handshake> {
    let socks4: &[u8] = b"\x04\x01\0\x50\x01\x02\x03\x04\0";
    let socks4a: &[u8] = b"\x04\x01\x01\xbb\0\0\0\x01ann\0A.example\0";
    let socks5: &[u8] = b"\x05\x01\0\x05\x01\0\x03\x09a.eXample\x01\xbb";
    let socks5_v6 = b"\x05\x02\x01\0\x05\x01\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x01\xbb";
    let with_password: &[u8] = b"\x05\x01\x02\x01\x03ann\x05apple\x05\x01\0\x01\x01\x02\x03\x04\0\x50";
    let connect: &[u8] = b"CONNECT A.example:443 HTTP/1.1\r\nHost: b.example\r\nProxy-Connection: Keep-Alive\r\n\r\n";
    let connect_10: &[u8] = b"CONNECT [2001:db8::1]:443 HTTP/1.0\r\n\r\n";
    let granted: &[u8] = b"\0\x5a\0\0\0\0\0\0";
    let mut all = Vec::new();
    for (says, hears, session, kind) in [
        (socks4, granted, (Protocol::Socks4, "1.2.3.4:80", None), Kind::Socks),
        (socks4a, granted, (Protocol::Socks4, "a.example:443", Some("ann")), Kind::Socks),
        (socks5, b"\x05\0\x05\0\0\x01\0\0\0\0\0\0", (Protocol::Socks5, "a.example:443", None), Kind::Socks),
        (socks5_v6, b"\x05\0\x05\0\0\x01\0\0\0\0\0\0", (Protocol::Socks5, "[2001:db8::1]:443", None), Kind::Socks),
        (
            with_password,
            b"\x05\x02\x01\0\x05\0\0\x01\0\0\0\0\0\0",
            (Protocol::Socks5, "1.2.3.4:80", Some("ann")),
            Kind::Socks,
        ),
        (connect, b"HTTP/1.1 200 Connection established\r\n\r\n", (Protocol::Https, "a.example:443", None), Kind::Http),
        (
            connect_10,
            b"HTTP/1.0 200 Connection established\r\n\r\n",
            (Protocol::Https, "[2001:db8::1]:443", None),
            Kind::Http,
        ),
    ] {
        for kind in [kind, Kind::Mixed] {
            all.push(Handshake { kind, says: says.to_vec(), hears, session });
        }
    }
    all
}

impl Handshake {
    /// Sends the handshake and some payload in these pieces, and checks the answer and the echo.
    async fn played(&self, scene: &Scene, pieces: &[&[u8]]) {
        let mut client = scene.connect().await;
        for piece in pieces {
            client.write_all(piece).await.unwrap();
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
        hear(&mut client, self.hears).await;
        hear(&mut client, b"payload").await;
        client.shutdown().await.unwrap();
        assert_eq!(rest(&mut client).await, b"");
        let (protocol, target, user) = self.session;
        let expected = (protocol, target.to_owned(), user.map(str::to_owned));
        assert_eq!(scene.recorder.sessions.lock().unwrap().len(), 1);
        assert_eq!(scene.sessions(), [expected]);
        scene.recorder.sessions.lock().unwrap().clear();
    }
}

/// F-A1
#[tokio::test]
async fn handshakes_work_however_they_are_cut() {
    for handshake in handshakes() {
        let scene = Scene::start(options(handshake.kind), Manner::Echo);
        let whole = [&handshake.says[..], b"payload"].concat();
        handshake.played(&scene, &[&whole]).await;
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        handshake.played(&scene, &bytes).await;
        for cut in 1..whole.len() {
            let (first, second) = whole.split_at(cut);
            handshake.played(&scene, &[first, second]).await;
        }
        scene.end().await;
    }
}

/// F-A3
#[tokio::test]
async fn a_client_that_leaves_within_its_handshake_leaves_nothing_behind() {
    for handshake in handshakes() {
        let scene = Scene::start(options(handshake.kind), Manner::Echo);
        for cut in 0..handshake.says.len() {
            let mut leaves = scene.connect().await;
            leaves.write_all(&handshake.says[..cut]).await.unwrap();
            leaves.shutdown().await.unwrap();
            rest(&mut leaves).await;
            let mut resets = scene.connect().await;
            resets.write_all(&handshake.says[..cut]).await.unwrap();
            adit_net::Stream::abort(&mut resets);
        }
        assert!(scene.sessions().is_empty());
        scene.end().await;
    }
}

/// F-A3, F-A7
#[tokio::test]
async fn silence_within_a_handshake_ends_at_the_deadline() {
    let budgets = Budgets { handshake: Duration::from_millis(300), ..Budgets::default() };
    let scene = Scene::start_within(budgets, options(Kind::Mixed), Manner::Echo);
    let mut silent = Vec::new();
    for handshake in handshakes() {
        for cut in 0..handshake.says.len() {
            let mut client = scene.connect().await;
            client.write_all(&handshake.says[..cut]).await.unwrap();
            silent.push(client);
        }
    }
    scene.end().await;
    for client in &mut silent {
        rest(client).await;
    }
}

/// F-A2
#[tokio::test]
async fn socks5_says_no_in_its_own_words_and_they_arrive() {
    let scene = Scene::start(options(Kind::Socks), Manner::Echo);
    let failed = |code: u8| [&b"\x05\0"[..], &[5, code, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    let long_name = [&b"\x05\x01\0\x05\x01\0\x03\xff"[..], &[b'a'; 255], b"\0\x50"].concat();
    for (says, hears) in [
        (&b"\x05\0"[..], b"\x05\xff".to_vec()),
        (b"\x05\x01\x01", b"\x05\xff".to_vec()),
        (b"\x05\x02\x01\x80", b"\x05\xff".to_vec()),
        (b"\x05\x01\0\x04\x01\0\x01\x01\x02\x03\x04\0\x50", failed(1)),
        (b"\x05\x01\0\x05\x02\0\x01\x01\x02\x03\x04\0\x50", failed(7)),
        (b"\x05\x01\0\x05\x09\0\x01\x01\x02\x03\x04\0\x50", failed(7)),
        (b"\x05\x01\0\x05\x01\0\x02\x01\x02\x03\x04\0\x50", failed(8)),
        (b"\x05\x01\0\x05\x01\0\x03\0\0\x50", failed(1)),
        (b"\x05\x01\0\x05\x01\0\x03\x03a\0b\0\x50", failed(1)),
        (b"\x05\x01\0\x05\x01\0\x03\x04a\r\nb\0\x50", failed(1)),
        (b"\x05\x01\0\x05\x01\0\x03\x03a\x1bb\0\x50", failed(1)),
        (b"\x05\x01\0\x05\x01\0\x03\x03a b\0\x50", failed(1)),
        (b"\x05\x01\0\x05\x01\0\x03\x03a/b\0\x50", failed(1)),
        (&long_name, failed(1)),
        (b"\x05\x01\0\x05\x01\0\x01\x01\x02\x03\x04\0\0", failed(1)),
    ] {
        for more in [0, 30_000] {
            let bytes = [says, &vec![b'x'; more]].concat();
            let heard = scene.ask(&bytes).await;
            assert_eq!(heard, hears, "{} +{more}", says.escape_ascii());
        }
    }
    assert!(scene.sessions().is_empty());
    scene.end().await;
}

/// F-A4
#[tokio::test]
async fn socks5_passwords_are_right_or_wrong() {
    let mut with_users = options(Kind::Socks);
    let longest = "x".repeat(255);
    with_users.users =
        Users::new([("ann".into(), Secret::new("apple")), (longest.clone(), Secret::new(longest.clone()))]);
    let scene = Scene::start(with_users, Manner::Echo);
    for (name, password, right) in [
        ("ann", "apple", true),
        (&longest, &longest, true),
        ("ann", "appl", false),
        ("ann", "apple2", false),
        ("ann", "pple", false),
        ("ann", "", false),
        ("", "apple", false),
        ("", "", false),
        ("bob", "apple", false),
        (&longest, "x", false),
    ] {
        let length = |text: &str| vec![u8::try_from(text.len()).unwrap()];
        let credentials =
            [&b"\x05\x02\0\x02\x01"[..], &length(name), name.as_bytes(), &length(password), password.as_bytes()]
                .concat();
        let mut client = scene.connect().await;
        client.write_all(&credentials).await.unwrap();
        if right {
            client.write_all(b"\x05\x01\0\x01\x01\x02\x03\x04\0\x50").await.unwrap();
            hear(&mut client, &[b"\x05\x02\x01\0", CONNECTED].concat()).await;
        } else {
            assert_eq!(rest(&mut client).await, b"\x05\x02\x01\x01", "{name} {password}");
        }
    }
    assert_eq!(scene.ask(b"\x05\x01\0").await, b"\x05\xff");
    assert_eq!(scene.ask(b"\x05\x01\x02\x05\x03ann\x05apple").await, b"\x05\x02\x01\x01");
    // SOCKS4 has no password, so only a user without one could pass.
    assert_eq!(scene.ask(b"\x04\x01\0\x50\x01\x02\x03\x04ann\0").await, b"\0\x5d\0\0\0\0\0\0");
    scene.end().await;
}

#[tokio::test]
async fn without_users_a_name_is_a_label_but_not_an_empty_one() {
    let scene = Scene::start(options(Kind::Socks), Manner::Echo);
    assert_eq!(scene.ask(b"\x05\x01\x02\x01\0\0").await, b"\x05\x02\x01\x01");
    let mut client = scene.connect().await;
    client.write_all(b"\x05\x01\x02\x01\x05label\x01x\x05\x01\0\x01\x01\x02\x03\x04\0\x50").await.unwrap();
    hear(&mut client, &[b"\x05\x02\x01\0", CONNECTED].concat()).await;
    assert_eq!(scene.sessions()[0].2.as_deref(), Some("label"));
    drop(client);
    scene.end().await;
}

#[tokio::test]
async fn socks4_users_have_no_password() {
    let mut with_users = options(Kind::Mixed);
    with_users.users = Users::new([("ann".into(), Secret::new(""))]);
    let scene = Scene::start(with_users, Manner::Echo);
    let mut client = scene.connect().await;
    client.write_all(b"\x04\x01\0\x50\x01\x02\x03\x04ann\0").await.unwrap();
    hear(&mut client, b"\0\x5a\0\0\0\0\0\0").await;
    drop(client);
    let no = b"\0\x5d\0\0\0\0\0\0";
    assert_eq!(scene.ask(b"\x04\x01\0\x50\x01\x02\x03\x04\0").await, no);
    assert_eq!(scene.ask(b"\x04\x01\0\x50\x01\x02\x03\x04an\0").await, no);
    scene.end().await;
}

/// F-A6, F-F16
#[tokio::test]
async fn what_is_no_proxy_protocol_gets_no_answer() {
    for kind in [Kind::Mixed, Kind::Socks, Kind::Http] {
        let scene = Scene::start(options(kind), Manner::Echo);
        for says in [
            &b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            &[0; 100],
            b"\xff\xff",
            b"\r",
            b"\n",
            b" GET / HTTP/1.1\r\n\r\n",
        ] {
            // A single CR may still become the empty line before a request.
            let heard = match (kind, says) {
                (Kind::Mixed | Kind::Http, b"\r") => scene.ask(b"\rx").await,
                _ => scene.ask(says).await,
            };
            let product = b"adit";
            assert!(!heard.windows(product.len()).any(|word| word == product));
            assert!(heard.is_empty() || heard.starts_with(b"HTTP/1.1 400 "), "{kind:?} {}", says.escape_ascii());
            assert!(heard.is_empty() || says == b"\r", "{kind:?} {}", says.escape_ascii());
        }
        // An SSH client's banner begins like a method. It is told no more than any bad request.
        let heard = scene.ask(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n").await;
        assert!(
            heard.is_empty() || heard == b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        scene.end().await;
    }
}

/// F-B6
#[tokio::test]
async fn a_failure_is_told_in_the_clients_protocol() {
    const REFUSED: fn() -> DialError = || DialError::Refused("x".into());
    const TIMED_OUT: fn() -> DialError = || DialError::TimedOut("x".into());
    const DENIED: fn() -> DialError = || DialError::Denied("x".into());
    const DROPPED: fn() -> DialError = || DialError::Dropped;
    for (why, code, status) in
        [(REFUSED, 5, &b"502"[..]), (TIMED_OUT, 4, b"504"), (DENIED, 2, b"403"), (DROPPED, 0, b"")]
    {
        let scene = Scene::start(options(Kind::Mixed), Manner::Refuse(why));
        let socks5 = scene.ask(b"\x05\x01\0\x05\x01\0\x01\x01\x02\x03\x04\0\x50").await;
        let socks4 = scene.ask(b"\x04\x01\0\x50\x01\x02\x03\x04\0").await;
        let connect = scene.ask(b"CONNECT a:1 HTTP/1.1\r\n\r\n").await;
        let get = scene.ask(b"GET http://a/ HTTP/1.1\r\nConnection: close\r\n\r\n").await;
        if status.is_empty() {
            assert_eq!(
                (&socks5[..], &socks4[..], &connect[..], &get[..]),
                (&b"\x05\0"[..], &b""[..], &b""[..], &b""[..])
            );
        } else {
            assert_eq!((socks5[3], socks4[1]), (code, 0x5b));
            assert_eq!((&connect[9..12], &get[9..12]), (status, status));
        }
        scene.end().await;
    }
}
