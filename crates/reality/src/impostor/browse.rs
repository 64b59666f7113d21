//! The beginning of an HTTP/2 connection as a browser makes it (RFC 9113). Chrome's was recorded from Chromium
//! 156.0.8078.79, bytes and records; the others' settings are those that servers see of them.
//!
//! ```text
//!  record: preface | SETTINGS | WINDOW_UPDATE      record: HEADERS (stream 1, the whole request)
//!  record: SETTINGS with ACK, when the site's SETTINGS have come
//! ```

use super::hpack;
use crate::hello::Browser;
use crate::options::ServerName;
use crate::wire::put_u16;

/// The request, a record's content each.
pub(super) fn request(server_name: &ServerName, browser: Browser) -> [Vec<u8>; 2] {
    let manners = Manners::of(browser);
    let mut opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut opening, SETTINGS, 0, 0, |out| {
        for (id, value) in manners.settings {
            put_u16(out, *id);
            out.extend_from_slice(&value.to_be_bytes());
        }
    });
    frame(&mut opening, WINDOW_UPDATE, 0, 0, |out| out.extend_from_slice(&manners.window.to_be_bytes()));
    let mut headers = Vec::new();
    frame(&mut headers, HEADERS, END_STREAM | END_HEADERS | PRIORITY, 1, |out| {
        out.extend_from_slice(&[0x80, 0, 0, 0, 255]); // depends on stream 0, exclusively, weight 256
        block(out, server_name, manners.fields);
    });
    [opening, headers]
}

/// The answer to SETTINGS.
pub(super) fn acknowledgement() -> Vec<u8> {
    let mut out = Vec::new();
    frame(&mut out, SETTINGS, ACK, 0, |_| {});
    out
}

/// How far into the site's frames we are. Their payload is skipped.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; 9],
    filled: usize,
    skip: usize,
}

impl Frames {
    /// Takes in what the site says, in any pieces. Returns how many SETTINGS in it want an answer.
    pub(super) fn settings(&mut self, mut data: &[u8]) -> usize {
        let mut found = 0;
        while !data.is_empty() {
            if self.skip > 0 {
                let n = self.skip.min(data.len());
                self.skip -= n;
                data = data.get(n..).unwrap_or_default();
                continue;
            }
            for (free, byte) in self.head.iter_mut().skip(self.filled).zip(data) {
                *free = *byte;
            }
            let n = data.len().min(self.head.len() - self.filled);
            self.filled += n;
            data = data.get(n..).unwrap_or_default();
            if self.filled == self.head.len() {
                let [a, b, c, kind, flags, ..] = self.head;
                self.filled = 0;
                self.skip = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                found += usize::from(kind == SETTINGS && flags & ACK == 0);
            }
        }
        found
    }
}

/// How a browser opens a connection.
struct Manners {
    settings: &'static [(u16, u32)],
    window: u32,
    /// Behind the pseudo-header fields, in order.
    fields: &'static [(&'static str, &'static str)],
}

impl Manners {
    const fn of(browser: Browser) -> Self {
        match browser {
            Browser::Firefox => Self {
                settings: &[(1, 65_536), (2, 0), (4, 131_072), (5, 16_384)],
                window: 12_517_377,
                fields: FIREFOX,
            },
            Browser::Safari | Browser::Ios => {
                Self { settings: &[(2, 0), (3, 100), (4, 2_097_152), (9, 1)], window: 10_420_225, fields: SAFARI }
            }
            Browser::Chrome | Browser::Edge => Self {
                settings: &[(1, 65_536), (2, 0), (4, 6_291_456), (6, 262_144)],
                window: 15_663_105,
                fields: CHROME,
            },
        }
    }
}

const CHROME: &[(&str, &str)] = &[
    ("sec-ch-ua", "\"Not:A-Brand\";v=\"8\", \"Chromium\";v=\"156\", \"Google Chrome\";v=\"156\""),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Windows\""),
    ("upgrade-insecure-requests", "1"),
    (
        "user-agent",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 \
         Safari/537.36",
    ),
    (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/jxl,image/avif,image/webp,image/apng,*/*;q=0.8,\
         application/signed-exchange;v=b3;q=0.7",
    ),
    ("sec-fetch-site", "none"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-user", "?1"),
    ("sec-fetch-dest", "document"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-US,en;q=0.9"),
    ("priority", "u=0, i"),
];

const FIREFOX: &[(&str, &str)] = &[
    ("user-agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:148.0) Gecko/20100101 Firefox/148.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("accept-language", "en-US,en;q=0.9"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("upgrade-insecure-requests", "1"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-site", "none"),
    ("sec-fetch-user", "?1"),
    ("priority", "u=0, i"),
];

const SAFARI: &[(&str, &str)] = &[
    (
        "user-agent",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.3 \
         Safari/605.1.15",
    ),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("sec-fetch-site", "none"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("accept-language", "en-US,en;q=0.9"),
    ("priority", "u=0, i"),
    ("accept-encoding", "gzip, deflate, br"),
];

fn block(out: &mut Vec<u8>, server_name: &ServerName, fields: &[(&str, &str)]) {
    hpack::indexed(out, 2); // :method GET
    if let ServerName::Dns(name) = server_name {
        hpack::field(out, ":authority", &name.to_ascii_lowercase());
    }
    hpack::indexed(out, 7); // :scheme https
    hpack::indexed(out, 4); // :path /
    for (name, value) in fields {
        hpack::field(out, name, value);
    }
}

/// RFC 9113 §4.1.
fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let mut payload = Vec::new();
    body(&mut payload);
    let [.., a, b, c] = payload.len().to_be_bytes();
    out.extend_from_slice(&[a, b, c, kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(&payload);
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PRIORITY: u8 = 0x20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hello::CHROME_VERSION;
    use crate::vectors::hex;

    /// What Chromium 156.0.8078.79 sent first on Linux, without a window.
    const OPENING: &str = "505249202a20485454502f322e300d0a0d0a534d0d0a0d0a
        000018040000000000 000100010000000200000000000400600000000600040000 000004080000000000 00ef0001";
    const BLOCK: &str = "
82418cf1e3c2e5f23a6ba0ab90f4ff878440874148b1275ad1ffa2fe749d37215aed83aa4fe7efbc1fcbdfcfd29fcde9ec3d26b69fe7efbc1fc85b73
f9408b4148b1275ad1ad49e33505023f30408d4148b1275ad1ad5d034ca7b29f07224c696e7578224092b6b9ac1c8558d520a4b6c2ad617b5a54251f
01317ad3d07f66a281b0dae053fafc087ed4ce6aadf2a7979c89c6bfb521aeba0bc8b1e632586d975765c53facd8f7e8cff4a506ea5531149d4ffda9
8ca39282a117a7b0f49580b6e2e05c0b814dc394761986d975765c53ec497ca589d34d1f43aeba0c41a4c7a98f33a69a3fdf9a68fa1d75d0620d263d
4c79a68fbed00177fe8d48e62b1d3cd1f46a4731581f734bf46a473158f058ebfa352398ac0ebaa6faf963e7efb4005defa1d75d0620d263d4c20d35
459162f924e3aa62fdf782367efb4005dd408a4148b4a549275906497f83a8f517408a4148b4a549275a93c85f86a87dcd30d25f408a4148b4a54927
5ad416cf023f31408a4148b4a549275a42a13f8690e4b692d49f50929bd9abfa5242cb40d25fa523b3e94f684c9f518b2d4b70ddf45abefb4005df40
86aec31ec327d785b6007d286f";

    fn name() -> ServerName {
        ServerName::Dns("www.example.com".into())
    }

    #[test]
    fn chromes_bytes_are_chromiums() {
        let [opening, headers] = request(&name(), Browser::Chrome);
        assert_eq!(opening, hex(OPENING));
        let mut fields = CHROME.to_vec();
        fields[0].1 = "\"Not:A-Brand\";v=\"8\", \"Chromium\";v=\"156\"";
        fields[2].1 = "\"Linux\"";
        fields[4].1 = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/156.0.0.0 \
                       Safari/537.36";
        let mut found = Vec::new();
        block(&mut found, &name(), &fields);
        assert_eq!(found, hex(BLOCK));
        // The frame around it, but for its length.
        assert_eq!(headers[3..14], hex("0125 00000001 80000000ff"));
    }

    #[test]
    fn chrome_is_the_version_its_hello_is_of() {
        for version in [format!("Chrome/{CHROME_VERSION}.0.0.0"), format!("\"Google Chrome\";v=\"{CHROME_VERSION}\"")] {
            assert!(CHROME.iter().any(|(_, value)| value.contains(&version)), "{version}");
        }
    }

    #[test]
    fn settings_are_found_at_every_split_point() {
        let mut site = Vec::new();
        frame(&mut site, SETTINGS, 0, 0, |out| out.extend_from_slice(&[4; 18]));
        frame(&mut site, SETTINGS, ACK, 0, |_| {});
        frame(&mut site, HEADERS, END_HEADERS, 1, |out| out.extend_from_slice(&[4; 300]));
        frame(&mut site, SETTINGS, 0, 0, |_| {});
        for cut in 0..=site.len() {
            let mut frames = Frames::default();
            assert_eq!(frames.settings(&site[..cut]) + frames.settings(&site[cut..]), 2, "{cut}");
        }
        let mut frames = Frames::default();
        assert_eq!(site.iter().map(|byte| frames.settings(&[*byte])).sum::<usize>(), 2);
    }
}
