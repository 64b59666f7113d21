//! Rules, and the files that rules refer to.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use adit_net::{Entry, Network, Protocol, Session, Tag};
use adit_router::{
    Address, AsnDatabase, Behavior, Countries, DomainSet, Format, Geo, GeoIpDat, GeoSite, Mmdb, ProviderHandle, Query,
    RuleSet, Rules, Sources, Step,
};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::input::Input;

/// What connections may ask: a name and addresses that the seeds' files and rules know.
fn sessions() -> &'static [Session] {
    static SESSIONS: OnceLock<Vec<Session>> = OnceLock::new();
    SESSIONS.get_or_init(|| {
        let targets = ["www.example.com:443", "x.y.cn:80", "a.net:65535", "1.1.1.1:53", "[2001:db8::1]:443"];
        let session = |(at, target): (usize, &str)| {
            let entry = Entry {
                inbound: Tag::new("DEFAULT-MIXED"),
                protocol: Protocol::Socks5,
                local: "127.0.0.1:7890".parse().expect("an address"),
                user: Some("ann".into()),
            };
            let client: std::net::SocketAddr = "192.168.1.2:50000".parse().expect("an address");
            let network = if at % 2 == 0 { Network::Tcp } else { Network::Udp };
            Session::new(network, entry, client.into(), target.parse().expect("a target"))
        };
        targets.into_iter().enumerate().map(session).collect()
    })
}

/// Decides for every session, with and without an address, and compares the decision with its explanation.
fn ask(rules: &Rules) {
    for session in sessions() {
        for address in [Address::NotAsked, Address::Unresolvable, Address::Known([1, 1, 1, 1].into())] {
            let query = Query::new(session).with_address(address);
            let mut step = rules.decide(&query);
            let trace = rules.explain(rules.start(None), &query);
            assert_eq!(trace.step, step, "the explanation tells another story");
            trace.rules.iter().for_each(|rule| drop(rule.to_string()));
            if let Step::NeedAddress(cursor) = step {
                assert_eq!(address, Address::NotAsked, "asked twice");
                step = rules.resume(cursor, &query.with_address(Address::Known([1, 1, 1, 1].into())));
            }
            assert!(matches!(step, Step::Use(_)), "asked twice");
        }
    }
}

fn compile(lines: &[String], sub: &[(Tag, Vec<String>)], set: Option<RuleSet>, geo: &Geo) -> Option<Rules> {
    let mut providers = HashMap::new();
    if let Some(set) = set {
        let handle = ProviderHandle::new(set.behavior());
        handle.replace(set);
        providers.insert(Tag::new("p"), handle);
    }
    let sources = Sources {
        rules: lines,
        sub_rules: sub,
        providers: &providers,
        geo,
        known_target: &|name| ["DIRECT", "REJECT", "P"].contains(&name),
        no_resolve_all: false,
        processes: false,
    };
    match Rules::compile(sources) {
        Ok(rules) => {
            rules.iter().for_each(|rule| drop(rule.to_string()));
            Some(rules)
        }
        Err(errors) => {
            for error in errors {
                let _ = (error.to_string(), &error.hint);
                if let Some(place) = error.offset {
                    assert!(error.line.get(place).is_some(), "the blame is outside of the line");
                }
            }
            None
        }
    }
}

/// Rule lines. A line that begins with `>` belongs to the sub-rules `s`.
pub fn rules(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let geo = Geo {
        site: GeoSite::parse(list(b"\x08\x02\x12\x0bexample.com")).ok().map(Arc::new),
        countries: GeoIpDat::parse(&list(b"\x0a\x04\x01\x00\x00\x00\x10\x08")).ok().map(Arc::new).map(Countries::Dat),
        asn: None,
    };
    let mut main = Vec::new();
    let mut sub = (Tag::new("s"), Vec::new());
    for line in text.lines() {
        match line.strip_prefix('>') {
            Some(line) => sub.1.push(line.to_owned()),
            None => main.push(line.to_owned()),
        }
    }
    let sub = [sub];
    if let Some(rules) = compile(&main, &sub, None, &geo) {
        ask(&rules);
        return;
    }
    // What is right about it on its own.
    main.retain(|line| compile(std::slice::from_ref(line), &[], None, &geo).is_some());
    if let Some(rules) = compile(&main, &[], None, &geo) {
        ask(&rules);
    }
}

/// Rule sets as files, in every format and for every behaviour.
pub fn provider(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.byte();
    let behavior = [Behavior::Domain, Behavior::IpCidr, Behavior::Classical][usize::from(kind % 3)];
    let format = [Format::Yaml, Format::Text, Format::Mrs][usize::from(kind / 3 % 3)];
    match RuleSet::parse(input.0, behavior, format, &Geo::default()) {
        Ok((set, warnings)) => {
            assert_eq!(set.behavior(), behavior);
            assert!(warnings.len() <= 21);
            warnings.iter().for_each(|warning| drop(warning.to_string()));
            use_set(set);
        }
        Err(why) => drop(why.to_string()),
    }
}

fn use_set(set: RuleSet) {
    let line = ["RULE-SET,p,P".to_owned()];
    ask(&compile(&line, &[], Some(set), &Geo::default()).expect("a good rule"));
}

/// Compiled rule sets: the arrays of a trie, and bodies with right counts inside a frame.
pub fn mrs(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.byte();
    if kind % 3 == 0 {
        let leaves = words(input.bytes());
        let bitmap = words(input.bytes());
        if let Ok(set) = DomainSet::from_mrs(leaves, bitmap, input.0.to_vec()) {
            let _ = ["x.y.cn", "a.net", "", "+", "\u{e4}.de"].map(|name| set.contains(name));
        }
        return;
    }
    let domain = kind % 3 == 1;
    let mut plain = b"MRS\x01".to_vec();
    plain.push(u8::from(!domain));
    plain.extend_from_slice(&2_u64.to_be_bytes());
    plain.extend_from_slice(&0_u64.to_be_bytes());
    plain.push(1);
    let sizes: &[usize] = if domain { &[8, 8, 1] } else { &[32] };
    for (at, size) in sizes.iter().enumerate() {
        let array = if at + 1 == sizes.len() { input.0 } else { input.bytes() };
        let whole = &array[..array.len() / size * size];
        plain.extend_from_slice(&((whole.len() / size) as u64).to_be_bytes());
        plain.extend_from_slice(whole);
    }
    let behavior = if domain { Behavior::Domain } else { Behavior::IpCidr };
    let frame = compress_to_vec(&plain[..], CompressionLevel::Uncompressed);
    if let Ok((set, _)) = RuleSet::parse(&frame, behavior, Format::Mrs, &Geo::default()) {
        use_set(set);
    }
}

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks(8).map(|word| word.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))).collect()
}

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![number << 3 | 2];
    if length < 0x80 {
        out.push(length as u8);
    } else {
        out.extend_from_slice(&[length as u8 | 0x80, (length >> 7) as u8 & 0x7f]);
    }
    out.extend_from_slice(content);
    out
}

/// A file with one list, CN, and one entry in it.
fn list(entry: &[u8]) -> Vec<u8> {
    field(1, &[field(1, b"CN"), field(2, entry)].concat())
}

/// `GeoSite.dat` and `GeoIP.dat`: raw, and lists of the name CN whose entries are the fuzzer's.
pub fn geo_dat(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.byte();
    let file = if kind & 1 == 0 {
        input.0.to_vec()
    } else {
        let mut list = field(1, b"CN");
        while !input.is_empty() {
            let shape = input.byte();
            let content = input.bytes();
            let entry = match shape % 4 {
                0 => content.to_vec(),
                // A domain with an attribute.
                1 => [&[8, shape >> 2 & 3][..], &field(2, content), &field(3, &field(1, b"ads"))].concat(),
                2 => [&[8, shape >> 2 & 3][..], &field(2, content)].concat(),
                // A prefix.
                _ => [&field(1, content)[..], &[16, shape]].concat(),
            };
            list.extend_from_slice(&field(2, &entry));
        }
        field(1, &list[..list.len().min(16_000)])
    };
    let lines = ["GEOIP,cn,P", "GEOSITE,cn,P", "GEOSITE,cn@ads,P"].map(str::to_owned);
    let mut geo = Geo::default();
    if kind & 2 == 0 {
        let Ok(site) = GeoSite::parse(file) else { return };
        geo.site = Some(Arc::new(site));
    } else {
        let Ok(dat) = GeoIpDat::parse(&file) else { return };
        for ip in [IpAddr::from([1, 1, 1, 1]), IpAddr::from([0_u16; 8])] {
            let _ = dat.contains("CN", ip);
        }
        geo.countries = Some(Countries::Dat(Arc::new(dat)));
    }
    for line in lines {
        if let Some(rules) = compile(&[line], &[], None, &geo) {
            ask(&rules);
        }
    }
}

/// MaxMind databases: raw, and with good metadata around a tree and records that are the fuzzer's.
pub fn geo_mmdb(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.byte();
    let file = if kind % 4 == 0 {
        input.0.to_vec()
    } else {
        let size = [24, 28, 32][usize::from(kind % 3)];
        let name = ["Meta-geoip0", "sing-geoip", "GeoLite2-Country", "GeoLite2-ASN", "ipinfo generic_asn_free.mmdb"];
        let nodes = usize::from(input.byte());
        let tree = input.take(nodes * size / 4);
        let nodes = tree.len() / (size / 4);
        let mut file = tree[..nodes * size / 4].to_vec();
        file.extend_from_slice(&[0; 16]);
        file.extend_from_slice(input.0);
        metadata(name[usize::from(kind / 8) % name.len()], nodes as u32, size as u16, kind & 4 != 0, &mut file);
        file
    };
    let addresses = ["1.1.1.1", "0.0.0.0", "255.255.255.255", "::", "2001:db8::1", "::ffff:1.1.1.1"];
    let addresses = addresses.map(|text| text.parse::<IpAddr>().expect("an address"));
    if let Ok(database) = Mmdb::from_bytes(file.clone()) {
        for ip in addresses {
            let codes = database.countries(ip);
            assert!(codes.iter().all(|code| !code.is_ascii() || database.is_in(ip, code)));
        }
    }
    if let Ok(database) = AsnDatabase::from_bytes(file) {
        for ip in addresses {
            let found = database.lookup(ip);
            assert!(found.is_none_or(|record| Some(record.number) == database.number(ip)));
        }
    }
}

/// Appends the metadata of a database, whose lengths are all below 29.
fn metadata(name: &str, nodes: u32, size: u16, v6: bool, file: &mut Vec<u8>) {
    let text = |text: &str| [&[2 << 5 | text.len() as u8], text.as_bytes()].concat();
    let short = |value: u16| [&[5 << 5 | 2][..], &value.to_be_bytes()].concat();
    let pairs = [
        ("binary_format_major_version", short(2)),
        ("binary_format_minor_version", short(0)),
        ("build_epoch", vec![1, 2, 1]),
        ("database_type", text(name)),
        ("description", vec![7 << 5]),
        ("ip_version", short(if v6 { 6 } else { 4 })),
        ("languages", vec![0, 4]),
        ("node_count", [&[6 << 5 | 4][..], &nodes.to_be_bytes()].concat()),
        ("record_size", short(size)),
    ];
    file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    file.push(7 << 5 | pairs.len() as u8);
    for (key, value) in pairs {
        file.extend_from_slice(&text(key));
        file.extend_from_slice(&value);
    }
}
