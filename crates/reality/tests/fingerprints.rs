//! F-F7: each hello is exactly the browser's (spec: vless-reality §4), over many connections.

#![expect(clippy::unwrap_used, reason = "a test may stop")]

use std::collections::HashSet;

use adit_reality::testing::Hello;
use adit_reality::{ClientHandshake, Fingerprint, Hybrid, Options, PublicKey, ServerName, ShortId, SystemRandom};
use aws_lc_rs::digest::{SHA256, digest};

const SAMPLES: usize = 200;

fn options(fingerprint: Fingerprint) -> Options {
    let public_key: PublicKey = "NYBy1jZYgNGu6jKa35EhODhR7SGijjt16WXQ0s0WYlQ".parse().unwrap();
    let mut options = Options::new(ServerName::Dns("www.example.com".into()), public_key, ShortId::default());
    options.fingerprint = fingerprint;
    options
}

/// A hello's record and the message in it.
fn hello(options: &Options) -> (Vec<u8>, Hello) {
    let mut handshake = ClientHandshake::new(options, &mut SystemRandom, 1_767_225_600).unwrap();
    let record = handshake.take_output();
    assert!(handshake.take_output().is_empty());
    assert_eq!(record[..3], [22, 3, 1], "the first record's version");
    assert_eq!(usize::from(u16::from_be_bytes([record[3], record[4]])), record.len() - 5, "one record");
    let hello = Hello::read(&record[5..]);
    (record[5..].to_vec(), hello)
}

fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

fn plain(values: &[u16]) -> Vec<u16> {
    values.iter().copied().filter(|v| !is_grease(*v)).collect()
}

fn dashed(values: &[u16]) -> String {
    plain(values).iter().map(u16::to_string).collect::<Vec<_>>().join("-")
}

/// As JA3 is defined; with `sorted`, extension types are sorted by number.
fn ja3(hello: &Hello, sorted: bool) -> String {
    let mut kinds = hello.kinds();
    if sorted {
        kinds.sort_unstable();
    }
    let formats = hello.extension(11).map(|b| b[1..].iter().map(u8::to_string).collect::<Vec<_>>().join("-"));
    let text = format!(
        "{},{},{},{},{}",
        hello.version,
        dashed(&hello.ciphers),
        dashed(&kinds),
        dashed(&hello.groups()),
        formats.unwrap_or_default()
    );
    hex(&md5(text.as_bytes()))
}

/// As JA4 is defined for TLS over TCP.
fn ja4(hello: &Hello) -> String {
    fn short(values: &[String], tail: &str) -> String {
        hex(digest(&SHA256, format!("{}{tail}", values.join(",")).as_bytes()).as_ref())[..12].to_owned()
    }
    let four = |values: &[u16]| values.iter().map(|v| format!("{v:04x}")).collect::<Vec<_>>();
    let mut ciphers = four(&plain(&hello.ciphers));
    let kinds = plain(&hello.kinds());
    let mut extensions = four(&kinds.iter().copied().filter(|k| ![0, 16].contains(k)).collect::<Vec<_>>());
    let alpn = hello.alpn().first().map_or_else(|| "00".to_owned(), |a| format!("{}{}", &a[..1], &a[a.len() - 1..]));
    let version = match plain(&hello.versions()).iter().max() {
        Some(0x0304) => "13",
        other => panic!("version {other:?}"),
    };
    let sni = if hello.server_name().is_some() { "d" } else { "i" };
    let front = format!("t{version}{sni}{:02}{:02}{alpn}", ciphers.len(), kinds.len());
    ciphers.sort();
    extensions.sort();
    let signatures = format!("_{}", four(&plain(&hello.signatures())).join(","));
    format!("{front}_{}_{}", short(&ciphers, ""), short(&extensions, &signatures))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// RFC 1321; JA3 is defined with it, and no library here has it.
fn md5(message: &[u8]) -> [u8; 16] {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64), 0);
    let at = padded.len() - 8;
    padded[at..].copy_from_slice(&(message.len() as u64 * 8).to_le_bytes());
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.chunks(64) {
        let words: Vec<u32> = block.chunks(4).map(|w| u32::from_le_bytes(w.try_into().unwrap())).collect();
        let [mut a, mut b, mut c, mut d] = state;
        for i in 0..64 {
            let (f, word) = match i / 16 {
                0 => (b & c | !b & d, i),
                1 => (d & b | !d & c, 5 * i + 1),
                2 => (b ^ c ^ d, 3 * i + 5),
                _ => (c ^ (b | !d), 7 * i),
            };
            let constant = ((i as f64 + 1.0).sin().abs() * 4_294_967_296.0) as u32;
            let sum = a.wrapping_add(f).wrapping_add(constant).wrapping_add(words[word % 16]);
            (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(SHIFTS[i / 16][i % 4])));
        }
        for (total, part) in state.iter_mut().zip([a, b, c, d]) {
            *total = total.wrapping_add(part);
        }
    }
    state.map(u32::to_le_bytes).concat().try_into().unwrap()
}

#[test]
fn md5_is_md5() {
    assert_eq!(hex(&md5(b"")), "d41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(hex(&md5(b"message digest")), "f96b697d7cb7938d525a2f31aaf161d0");
    assert_eq!(hex(&md5(&[b'1'; 57])), "e48b2b937fbe05271407ba712a87acdc");
    assert_eq!(hex(&md5(&[b'1'; 63])), "4770c94a3ad003237dc1fb66278ef8b8");
}

/// What all hellos share.
fn common(message: &[u8], hello: &Hello) {
    assert_eq!(hello.version, 0x0303);
    assert_eq!(hello.session_id.len(), 32);
    assert_eq!(message[39..71], hello.session_id, "the session id's place");
    assert_eq!(hello.compression, [0]);
    assert_eq!(hello.server_name().as_deref(), Some("www.example.com"));
    assert_eq!(hello.alpn(), ["h2", "http/1.1"]);
    assert_eq!(hello.extension(5), Some(&[1, 0, 0, 0, 0][..]));
    assert_eq!(hello.extension(0xff01), Some(&[0][..]));
    assert_eq!(hello.extension(11), Some(&[1, 0][..]));
    assert_eq!(hello.extension(23), Some(&[][..]));
    assert_eq!(hello.extension(18), Some(&[][..]));
    let shares = hello.key_shares();
    for (group, share) in &shares {
        let length = match group {
            0x001d => 32,
            0x11ec => 1216,
            0x0017 => 65,
            group if is_grease(*group) => 1,
            group => panic!("group {group:04x}"),
        };
        assert_eq!(share.len(), length);
    }
    let offered = hello.groups();
    assert!(shares.iter().all(|(group, _)| offered.contains(group)), "shares are of offered groups");
}

/// The GREASE rules: first and last extension, one cipher, one group twice, one version.
fn grease(hello: &Hello) {
    assert!(is_grease(hello.ciphers[0]) && hello.ciphers.iter().filter(|c| is_grease(**c)).count() == 1);
    let reserved: Vec<_> = hello.extensions.iter().filter(|(kind, _)| is_grease(*kind)).collect();
    assert_eq!(reserved.len(), 2);
    assert_ne!(reserved[0].0, reserved[1].0);
    assert_eq!((&*reserved[0].1, &*reserved[1].1), (&[][..], &[0][..]));
    assert!(is_grease(hello.extensions[0].0), "GREASE comes first");
    let last = hello.extensions.iter().rposition(|(kind, _)| *kind != 21).unwrap();
    assert!(is_grease(hello.extensions[last].0), "GREASE comes last, before padding");
    let (groups, shares) = (hello.groups(), hello.key_shares());
    assert!(is_grease(groups[0]) && groups[0] == shares[0].0 && shares[0].1 == [0]);
    assert!(is_grease(hello.versions()[0]));
}

/// Two different keys where the browser has two, and a new one each time.
fn two_keys(hello: &Hello, seen: &mut HashSet<Vec<u8>>) {
    let x25519 = hello.key_share(0x001d).unwrap();
    let hybrid = hello.key_share(0x11ec).unwrap();
    assert_ne!(hybrid[1184..], x25519[..]);
    assert!(seen.insert(x25519) && seen.insert(hybrid[1184..].to_vec()) && seen.insert(hybrid[..32].to_vec()));
    assert!(seen.insert(hello.random.to_vec()) && seen.insert(hello.session_id.clone()));
}

/// Config id, key and payload of ECH GREASE; checks its form.
fn ech(hello: &Hello, aeads: &[u16], lengths: &[usize]) -> (u8, Vec<u8>, Vec<u8>) {
    let body = hello.extension(0xfe0d).unwrap();
    assert_eq!(body[..3], [0, 0, 1]);
    assert!(aeads.contains(&u16::from_be_bytes([body[3], body[4]])));
    assert_eq!(body[6..8], [0, 32]);
    let payload = body[42..].to_vec();
    assert!(lengths.contains(&payload.len()));
    assert_eq!(usize::from(u16::from_be_bytes([body[40], body[41]])), payload.len());
    (body[5], body[8..40].to_vec(), payload)
}

#[test]
fn chrome() {
    const TABLE: [u16; 17] = [0, 23, 0xff01, 10, 11, 35, 16, 5, 13, 18, 51, 45, 43, 27, 0x44cd, 0xca34, 0xfe0d];
    let (mut seen, mut orders, mut lengths) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut places = [[0_u32; 17]; 17];
    let mut grease_values = [const { Vec::new() }; 6];
    for _ in 0..SAMPLES {
        let (message, hello) = hello(&options(Fingerprint::Chrome));
        common(&message, &hello);
        grease(&hello);
        two_keys(&hello, &mut seen);
        assert_eq!(ja4(&hello), "t13d1517h2_8daaf6152771_cb7bf5808d99");
        assert_eq!(ja3(&hello, true), "bd4930bd9b000ee684830e44bab76fdf");
        assert_eq!(
            plain(&hello.ciphers),
            [
                0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d,
                0x002f, 0x0035
            ]
        );
        assert_eq!(plain(&hello.groups()), [0x11ec, 0x001d, 0x0017, 0x0018]);
        assert_eq!(hello.key_shares()[1..].iter().map(|(g, _)| *g).collect::<Vec<_>>(), [0x11ec, 0x001d]);
        assert_eq!(plain(&hello.versions()), [0x0304, 0x0303]);
        assert!(is_grease(hello.signatures()[0]), "GREASE comes first");
        assert_eq!(
            plain(&hello.signatures()),
            [0x0904, 0x0905, 0x0906, 0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601]
        );
        assert_eq!(hello.extension(0xca34).map(hex).unwrap(), TRUST_ANCHORS);
        assert_eq!(hello.extension(27), Some(&[2, 0, 2][..]));
        assert_eq!(hello.extension(45), Some(&[1, 1][..]));
        assert_eq!(hello.extension(35), Some(&[][..]));
        assert_eq!(hello.extension(0x44cd), Some(&[0, 3, 2, b'h', b'2'][..]));
        let (_, point, payload) = ech(&hello, &[1], &[144, 176, 208, 240]);
        assert!(seen.insert(point) && seen.insert(payload));
        assert!([1918, 1950, 1982, 2014].contains(&message.len()), "{}", message.len());
        lengths.insert(message.len());

        let middle = &hello.kinds()[1..18];
        for (place, kind) in middle.iter().enumerate() {
            places[TABLE.iter().position(|k| k == kind).expect("an extension of the table")][place] += 1;
        }
        orders.insert(middle.to_vec());
        let extensions = hello.kinds();
        for (values, value) in grease_values.iter_mut().zip([
            hello.ciphers[0],
            hello.groups()[0],
            hello.versions()[0],
            extensions[0],
            extensions[18],
            hello.signatures()[0],
        ]) {
            values.push(value);
        }
    }
    assert_eq!(lengths.len(), 4, "all payload lengths occur");
    assert_eq!(orders.len(), SAMPLES, "each connection has its own order");
    // 200 draws of 17 places, 11.8 expected in each: nothing is confined, nothing is favoured.
    assert!(places.iter().all(|row| row.iter().filter(|n| **n > 0).count() >= 12), "{places:?}");
    assert!(places.iter().flatten().all(|n| *n < 45), "{places:?}");
    let distinct = |values: &Vec<u16>| values.iter().collect::<HashSet<_>>().len();
    assert!(grease_values.iter().all(|values| distinct(values) >= 13), "16 values, each of them");
    assert!((1..6).all(|i| grease_values[..i].iter().all(|values| *values != grease_values[i])), "drawn independently");
}

/// The list as captured from Chromium 156.0.8078.79: its length, then identifiers, each with its length in front.
const TRUST_ANCHORS: &str = "00b8\
    0582df1302010582df1302060582df13020d0582df13020e0582df13020f0582df1302120582df1302130582df130214\
    08839a648c9b2d010708839a648c9b2d010808839a648c9b2d010908839a648c9b2d010a08839a648c9b2d010b08839a648c9b2d010c\
    08839a648c9b2d010d08839a648c9b2d011208839a648c9b2d0113\
    04d679090104d679090404d679090504d679090604d679090704d679090804d679090a04d679090b04d679090c04d679090d04d679090f";

#[test]
fn firefox() {
    let (mut seen, mut aeads) = (HashSet::new(), HashSet::new());
    for _ in 0..SAMPLES {
        let (message, hello) = hello(&options(Fingerprint::Firefox));
        common(&message, &hello);
        assert_eq!(message.len(), 1885);
        assert_eq!(ja3(&hello, false), "7704a11cf87dfcf33080b90ce11d5527");
        assert_eq!(ja4(&hello), "t13d1715h2_5b57614c22b0_a54fffd0eb61");
        assert_eq!(hello.kinds(), [0, 23, 0xff01, 10, 11, 16, 5, 34, 18, 51, 43, 13, 28, 27, 0xfe0d]);
        assert_eq!(hello.groups(), [0x11ec, 0x001d, 0x0017, 0x0018, 0x0019, 0x0100, 0x0101]);
        assert_eq!(hello.key_shares().iter().map(|(g, _)| *g).collect::<Vec<_>>(), [0x11ec, 0x001d, 0x0017]);
        assert_eq!(hello.versions(), [0x0304, 0x0303]);
        assert_eq!(
            hello.signatures(),
            [0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201]
        );
        assert_eq!(hello.extension(34), Some(&[0, 8, 4, 3, 5, 3, 6, 3, 2, 3][..]));
        assert_eq!(hello.extension(28), Some(&[0x40, 0x01][..]));
        assert_eq!(hello.extension(27), Some(&[6, 0, 1, 0, 2, 0, 3][..]));
        let (x25519, hybrid) = (hello.key_share(0x001d).unwrap(), hello.key_share(0x11ec).unwrap());
        assert_eq!(hybrid[1184..], x25519[..], "one X25519 key for both");
        assert_eq!(hello.key_share(0x0017).unwrap()[0], 4, "an uncompressed point");
        assert!(seen.insert(x25519) && seen.insert(hello.random.to_vec()));
        let (_, point, payload) = ech(&hello, &[1, 3], &[239]);
        assert!(seen.insert(point) && seen.insert(payload));
        aeads.insert(hello.extension(0xfe0d).unwrap()[4]);
    }
    assert_eq!(aeads.len(), 2);
}

#[test]
fn safari() {
    let mut seen = HashSet::new();
    for _ in 0..SAMPLES {
        let (message, hello) = hello(&options(Fingerprint::Safari));
        common(&message, &hello);
        grease(&hello);
        two_keys(&hello, &mut seen);
        assert_eq!(message.len(), 1533);
        assert_eq!(ja3(&hello, false), "ecdf4f49dd59effc439639da29186671");
        assert_eq!(ja4(&hello), "t13d2013h2_a09f3c656075_7f0f34a4126d");
        assert_eq!(plain(&hello.kinds()), [0, 23, 0xff01, 10, 11, 16, 5, 13, 18, 51, 45, 43, 27]);
        assert_eq!(hello.key_shares()[1..].iter().map(|(g, _)| *g).collect::<Vec<_>>(), [0x11ec, 0x001d]);
        assert_eq!(plain(&hello.versions()), [0x0304, 0x0303]);
        assert_eq!(
            hello.signatures(),
            [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0805, 0x0501, 0x0806, 0x0601, 0x0201]
        );
        assert_eq!(hello.extension(27), Some(&[2, 0, 1][..]));
    }
}

#[test]
fn ios() {
    for _ in 0..SAMPLES {
        let (message, hello) = hello(&options(Fingerprint::Ios));
        common(&message, &hello);
        grease(&hello);
        assert_eq!(message.len(), 512);
        assert_eq!(ja3(&hello, false), "656b9a2f4de6ed4909e157482860ab3d");
        assert_eq!(ja4(&hello), "t13d2613h2_2802a3db6c62_845d286b0d67");
        assert_eq!(plain(&hello.versions()), [0x0304, 0x0303, 0x0302, 0x0301]);
        assert_eq!(
            hello.signatures(),
            [0x0403, 0x0804, 0x0401, 0x0503, 0x0203, 0x0805, 0x0805, 0x0501, 0x0806, 0x0601, 0x0201]
        );
        padded(&hello);
    }
}

#[test]
fn edge() {
    for _ in 0..SAMPLES {
        let (message, hello) = hello(&options(Fingerprint::Edge));
        common(&message, &hello);
        grease(&hello);
        assert_eq!(message.len(), 512);
        assert_eq!(ja3(&hello, false), "b32309a26951912be7dba376398abc3b");
        assert_eq!(ja4(&hello), "t13d1515h2_8daaf6152771_de4a06bb82e3");
        assert_eq!(plain(&hello.versions()), [0x0304, 0x0303, 0x0302, 0x0301]);
        assert_eq!(hello.signatures(), [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601]);
        assert_eq!(hello.extension(27), Some(&[2, 0, 2][..]));
        padded(&hello);
    }
}

fn padded(hello: &Hello) {
    let (kind, body) = hello.extensions.last().unwrap();
    assert_eq!(*kind, 21);
    assert!(body.iter().all(|b| *b == 0));
}

/// Long names: padding to 512 and up to four bytes more, none when the hello is longer anyway.
#[test]
fn padding_follows_the_name() {
    let mut lengths = HashSet::new();
    for length in 1..=253 {
        let mut options = options(Fingerprint::Edge);
        options.server_name = ServerName::Dns("a".repeat(length));
        let (message, hello) = hello(&options);
        let without = message.len() - hello.extension(21).map_or(0, |body| body.len() + 4);
        match without {
            256..=507 => assert_eq!(message.len(), 512),
            508..=511 => assert_eq!(message.len(), without + 5),
            _ => assert!(hello.extension(21).is_none()),
        }
        lengths.insert(without);
    }
    assert!(lengths.contains(&507) && lengths.contains(&508) && lengths.contains(&512), "the edges were tried");
}

#[test]
fn no_server_name_for_addresses() {
    for fingerprint in
        [Fingerprint::Chrome, Fingerprint::Firefox, Fingerprint::Safari, Fingerprint::Edge, Fingerprint::Ios]
    {
        let mut options = options(fingerprint);
        options.server_name = "192.0.2.1".parse().unwrap();
        let (_, hello) = hello(&options);
        assert_eq!(hello.server_name(), None);
        assert_eq!(hello.extension(0), None);
    }
}

#[test]
fn hybrid_can_be_stripped_and_inserted() {
    for fingerprint in [Fingerprint::Chrome, Fingerprint::Firefox, Fingerprint::Safari] {
        let mut options = options(fingerprint);
        options.hybrid = Hybrid::Strip;
        assert!(!options.has_hybrid_share());
        let (_, hello) = hello(&options);
        assert!(!hello.groups().contains(&0x11ec) && hello.key_share(0x11ec).is_none());
        assert!(hello.key_share(0x001d).is_some());
    }
    for fingerprint in [Fingerprint::Edge, Fingerprint::Ios] {
        assert!(!options(fingerprint).has_hybrid_share());
        let mut options = options(fingerprint);
        options.hybrid = Hybrid::Insert;
        assert!(options.has_hybrid_share());
        let (message, hello) = hello(&options);
        common(&message, &hello);
        assert_eq!(plain(&hello.groups())[..2], [0x11ec, 0x001d]);
        assert_eq!(hello.key_shares()[1..].iter().map(|(g, _)| *g).collect::<Vec<_>>(), [0x11ec, 0x001d]);
    }
}

/// Drawn once per process, and only what current servers accept.
#[test]
fn random_stays_with_its_choice() {
    let shapes: HashSet<_> = (0..50)
        .map(|_| {
            let (_, hello) = hello(&options(Fingerprint::Random));
            assert!(hello.key_share(0x11ec).is_some());
            ja4(&hello)
        })
        .collect();
    assert_eq!(shapes.len(), 1);
}

/// The key in ECH GREASE is a point a server could use.
#[test]
fn ech_grease_carries_a_usable_key() {
    use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
    let (_, hello) = hello(&options(Fingerprint::Chrome));
    let (_, point, _) = ech(&hello, &[1], &[144, 176, 208, 240]);
    let private = PrivateKey::generate(&X25519).unwrap();
    assert!(agree(&private, UnparsedPublicKey::new(&X25519, point), (), |_| Ok(())).is_ok());
}
