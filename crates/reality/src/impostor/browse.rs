//! One HTTP/2 request as a browser sends it on a new connection (RFC 9113, RFC 7541).
//!
//! ```text
//!  preface | SETTINGS | WINDOW_UPDATE | HEADERS (stream 1, the whole request)
//! ```

use crate::hello::Browser;
use crate::options::ServerName;
use crate::wire::put_u16;

/// The bytes of the request. Fields are written as plain literals, without Huffman coding: their length is all that a
/// bystander sees.
pub(super) fn request(server_name: &ServerName, browser: Browser) -> Vec<u8> {
    let manners = Manners::of(browser);
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    frame(&mut out, SETTINGS, 0, 0, |out| {
        for (id, value) in manners.settings {
            put_u16(out, *id);
            out.extend_from_slice(&value.to_be_bytes());
        }
    });
    frame(&mut out, WINDOW_UPDATE, 0, 0, |out| out.extend_from_slice(&manners.window.to_be_bytes()));
    frame(&mut out, HEADERS, END_STREAM | END_HEADERS | PRIORITY, 1, |out| {
        out.extend_from_slice(&[0x80, 0, 0, 0, 255]); // depends on stream 0, exclusively, weight 256
        fields(out, server_name, &manners);
    });
    out
}

/// How a browser opens a connection.
struct Manners {
    settings: &'static [(u16, u32)],
    window: u32,
    user_agent: &'static str,
    accept: &'static str,
    client_hints: &'static [(&'static str, &'static str)],
}

impl Manners {
    const fn of(browser: Browser) -> Self {
        match browser {
            Browser::Firefox => Self {
                settings: &[(1, 65_536), (2, 0), (4, 131_072), (5, 16_384)],
                window: 12_517_377,
                user_agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:148.0) Gecko/20100101 Firefox/148.0",
                accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                client_hints: &[],
            },
            Browser::Safari | Browser::Ios => Self {
                settings: &[(2, 0), (3, 100), (4, 2_097_152), (9, 1)],
                window: 10_420_225,
                user_agent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                             Version/26.3 Safari/605.1.15",
                accept: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                client_hints: &[],
            },
            Browser::Chrome | Browser::Edge => Self {
                settings: &[(1, 65_536), (2, 0), (4, 6_291_456), (6, 262_144)],
                window: 15_663_105,
                user_agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                             Chrome/133.0.0.0 Safari/537.36",
                accept: "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;\
                         q=0.8,application/signed-exchange;v=b3;q=0.7",
                client_hints: &[
                    ("sec-ch-ua", "\"Not(A:Brand\";v=\"99\", \"Google Chrome\";v=\"133\", \"Chromium\";v=\"133\""),
                    ("sec-ch-ua-mobile", "?0"),
                    ("sec-ch-ua-platform", "\"Windows\""),
                    ("upgrade-insecure-requests", "1"),
                ],
            },
        }
    }
}

fn fields(out: &mut Vec<u8>, server_name: &ServerName, manners: &Manners) {
    out.push(0x82); // :method GET
    if let ServerName::Dns(name) = server_name {
        out.push(0x01); // :authority, literal, not indexed
        string(out, &name.to_ascii_lowercase());
    }
    out.extend_from_slice(&[0x87, 0x84]); // :scheme https, :path /
    for (name, value) in manners.client_hints {
        field(out, name, value);
    }
    field(out, "user-agent", manners.user_agent);
    field(out, "accept", manners.accept);
    for (name, value) in [
        ("sec-fetch-site", "none"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-user", "?1"),
        ("sec-fetch-dest", "document"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept-language", "en-US,en;q=0.9"),
        ("priority", "u=0, i"),
    ] {
        field(out, name, value);
    }
}

/// RFC 7541 §6.2.2: a literal field that no table remembers.
fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(0);
    string(out, name);
    string(out, value);
}

/// RFC 7541 §5.2, without Huffman coding; the length has a 7-bit prefix (§5.1).
fn string(out: &mut Vec<u8>, text: &str) {
    match text.len().checked_sub(0x7f) {
        None => out.push(text.len() as u8), // below 127
        Some(mut rest) => {
            out.push(0x7f);
            while rest >= 0x80 {
                out.push((rest & 0x7f) as u8 | 0x80);
                rest >>= 7;
            }
            out.push(rest as u8);
        }
    }
    out.extend_from_slice(text.as_bytes());
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
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PRIORITY: u8 = 0x20;
