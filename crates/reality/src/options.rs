//! What the user chose, in types that cannot hold a wrong value.
//!
//! Spec: vless-reality §2.1, §2.2, §4.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Everything a handshake needs to know. Made once per outbound, used for every connection.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name put into SNI; must be one of the server's `serverNames`, letter for letter.
    pub server_name: ServerName,
    /// The server's X25519 public key (`public-key`, `pbk`).
    pub public_key: PublicKey,
    /// The short id (`short-id`, `sid`).
    pub short_id: ShortId,
    /// Whose ClientHello to send.
    pub fingerprint: Fingerprint,
    /// What to do with the post-quantum key share.
    pub hybrid: Hybrid,
    /// The Xray version to announce.
    pub client_version: ClientVersion,
    /// When set, the server must also prove itself with ML-DSA-65 (`mldsa65Verify`, `pqv`).
    pub mldsa65_verify: Option<MlDsaKey>,
}

impl Options {
    /// Options with the defaults: `chrome`, hybrid as the fingerprint has it, the newest client version, no ML-DSA.
    #[must_use]
    pub fn new(server_name: ServerName, public_key: PublicKey, short_id: ShortId) -> Self {
        Self {
            server_name,
            public_key,
            short_id,
            fingerprint: Fingerprint::Chrome,
            hybrid: Hybrid::AsFingerprint,
            client_version: ClientVersion::default(),
            mldsa65_verify: None,
        }
    }

    /// Whether the hello carries the X25519MLKEM768 share that Xray 26.9.8 and later demand. `false` deserves a
    /// warning when the configuration is read: such servers will show the real site.
    #[must_use]
    pub const fn has_hybrid_share(&self) -> bool {
        match self.hybrid {
            Hybrid::Insert => true,
            Hybrid::Strip => false,
            Hybrid::AsFingerprint => self.fingerprint.has_hybrid_share(),
        }
    }
}

/// An option that cannot be used. Says which and why; never repeats the value, which may be a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option}: {reason}")]
pub struct BadOption {
    option: &'static str,
    reason: &'static str,
}

impl BadOption {
    pub(crate) const fn new(option: &'static str, reason: &'static str) -> Self {
        Self { option, reason }
    }

    /// The option's name as users know it, e.g. `public-key`.
    #[must_use]
    pub const fn option(&self) -> &'static str {
        self.option
    }

    /// What is wrong with it, and what to do instead where that is known.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.reason
    }
}

/// The name to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerName {
    /// Sent as SNI. The server compares it case-sensitively, so the case is kept. 1 to 253 bytes of printable ASCII
    /// without a trailing dot; [`ClientHandshake::new`](crate::ClientHandshake::new) refuses anything else.
    Dns(String),
    /// An IP literal: SNI is omitted, as browsers do; the server's list must then contain an empty name.
    Ip,
}

impl ServerName {
    /// Checks what the type promises.
    pub(crate) fn check(&self) -> Result<(), BadOption> {
        let Self::Dns(name) = self else { return Ok(()) };
        let printable = name.bytes().all(|b| b.is_ascii_graphic());
        if name.is_empty() || name.len() > 253 || !printable || name.ends_with('.') {
            return Err(BadOption::new("servername", "not a host name (1 to 253 ASCII characters, no trailing dot)"));
        }
        Ok(())
    }
}

impl FromStr for ServerName {
    type Err = BadOption;

    /// IP literals, bare or in brackets, become [`ServerName::Ip`]; one trailing dot is dropped.
    fn from_str(text: &str) -> Result<Self, BadOption> {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if bare.parse::<IpAddr>().is_ok() {
            return Ok(Self::Ip);
        }
        let name = Self::Dns(text.strip_suffix('.').unwrap_or(text).to_owned());
        name.check().map(|()| name)
    }
}

/// The server's long-term X25519 public key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

impl FromStr for PublicKey {
    type Err = BadOption;

    /// base64url, with or without padding.
    fn from_str(text: &str) -> Result<Self, BadOption> {
        let bytes = BASE64URL.decode(text).map_err(|_| BadOption::new("public-key", "not base64url"))?;
        let key = bytes.try_into().map_err(|_| BadOption::new("public-key", "must decode to exactly 32 bytes"))?;
        Ok(Self(key))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey([redacted])") // whoever knows it can pose as a user of this server
    }
}

/// Up to eight bytes that tell the server which client this is. Missing bytes are zeros **on the right**.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ShortId(pub [u8; 8]);

impl FromStr for ShortId {
    type Err = BadOption;

    /// An even number of hexadecimal digits, at most 16; empty means eight zero bytes.
    fn from_str(text: &str) -> Result<Self, BadOption> {
        const NOT_HEX: BadOption = BadOption::new(
            "short-id",
            "must be an even number of hexadecimal digits, at most 16 (in YAML: quote it, 0123 is read as a number)",
        );
        let digits = text.as_bytes();
        if !digits.len().is_multiple_of(2) || digits.len() > 16 {
            return Err(NOT_HEX);
        }
        let mut id = [0; 8];
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| NOT_HEX)?;
            if !pair.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(NOT_HEX); // from_str_radix would take a sign
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NOT_HEX)?;
        }
        Ok(Self(id))
    }
}

impl fmt::Debug for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ShortId([redacted])")
    }
}

/// The browser whose ClientHello is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fingerprint {
    /// Chrome [`CHROME_VERSION`](crate::CHROME_VERSION). The default, and the safest choice.
    #[default]
    Chrome,
    /// Firefox 148. Offers a P-256 share too: a target that prefers P-256 breaks REALITY with this one only.
    Firefox,
    /// Safari 26.3.
    Safari,
    /// Edge 85. Has no hybrid share: refused by Xray 26.9.8 and later unless [`Hybrid::Insert`].
    Edge,
    /// iOS 14. Has no hybrid share: refused by Xray 26.9.8 and later unless [`Hybrid::Insert`].
    Ios,
    /// One of those that current servers accept, drawn once per process: Chrome with weight 6, Safari 3, Firefox 1.
    Random,
}

impl Fingerprint {
    /// Whether this browser sends an X25519MLKEM768 share, which Xray 26.9.8 and later demand.
    #[must_use]
    pub const fn has_hybrid_share(self) -> bool {
        match self {
            Self::Chrome | Self::Firefox | Self::Safari | Self::Random => true,
            Self::Edge | Self::Ios => false,
        }
    }

    /// The name users write.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chrome => "chrome",
            Self::Firefox => "firefox",
            Self::Safari => "safari",
            Self::Edge => "edge",
            Self::Ios => "ios",
            Self::Random => "random",
        }
    }
}

impl FromStr for Fingerprint {
    type Err = BadOption;

    /// The names of `client-fingerprint`, in any case.
    fn from_str(text: &str) -> Result<Self, BadOption> {
        let why = match text.to_ascii_lowercase().as_str() {
            "chrome" => return Ok(Self::Chrome),
            "firefox" => return Ok(Self::Firefox),
            "safari" => return Ok(Self::Safari),
            "edge" => return Ok(Self::Edge),
            "ios" => return Ok(Self::Ios),
            "random" => return Ok(Self::Random),
            "android" | "360" => "this preset speaks TLS 1.2 only and never works with REALITY; use chrome",
            "qq" => "this preset has no post-quantum key share and current servers refuse it; use chrome",
            "randomized" => {
                "randomised hellos are unreliable with REALITY (group without key share); use chrome or random"
            }
            "none" | "unsafe" | "hellogolang" | "" => "REALITY needs a browser's hello; use chrome",
            _ => "unknown; use chrome, firefox, safari, edge, ios or random",
        };
        Err(BadOption::new("client-fingerprint", why))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What to do with the post-quantum (X25519MLKEM768) key share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Hybrid {
    /// As the browser does.
    #[default]
    AsFingerprint,
    /// Leave it out. Only for servers older than Xray 25.5.16 whose target picks the hybrid group.
    Strip,
    /// Put it before X25519 where the browser has none ("modernised": no longer a real browser's hello).
    Insert,
}

/// The Xray version announced to the server, which may refuse old ones (`minClientVer`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientVersion(pub [u8; 3]);

impl Default for ClientVersion {
    /// 26.10.10, the newest release known when this was written.
    fn default() -> Self {
        Self([26, 10, 10])
    }
}

impl FromStr for ClientVersion {
    type Err = BadOption;

    /// `x.y.z`, each 0 to 255.
    fn from_str(text: &str) -> Result<Self, BadOption> {
        const BAD: BadOption = BadOption::new("client-version", "must be x.y.z with each part from 0 to 255");
        let mut parts = text.split('.');
        let mut version = [0; 3];
        for part in &mut version {
            let digits = parts.next().filter(|p| p.bytes().all(|b| b.is_ascii_digit())).ok_or(BAD)?;
            *part = digits.parse().map_err(|_| BAD)?;
        }
        if parts.next().is_some() { Err(BAD) } else { Ok(Self(version)) }
    }
}

impl fmt::Display for ClientVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.0;
        write!(f, "{x}.{y}.{z}")
    }
}

/// An ML-DSA-65 verification key (FIPS 204, 1952 bytes).
#[derive(Clone, PartialEq, Eq)]
pub struct MlDsaKey(Box<[u8; 1952]>);

impl MlDsaKey {
    /// Wraps the encoded key.
    #[must_use]
    pub fn new(key: Box<[u8; 1952]>) -> Self {
        Self(key)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 1952] {
        &self.0
    }
}

impl FromStr for MlDsaKey {
    type Err = BadOption;

    /// base64url, with or without padding.
    fn from_str(text: &str) -> Result<Self, BadOption> {
        let bytes = BASE64URL.decode(text).map_err(|_| BadOption::new("mldsa65-verify", "not base64url"))?;
        let key = bytes.into_boxed_slice().try_into();
        key.map(Self).map_err(|_| BadOption::new("mldsa65-verify", "must decode to exactly 1952 bytes"))
    }
}

impl fmt::Debug for MlDsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MlDsaKey([redacted])")
    }
}

const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_key_takes_base64url_padded_or_not() {
        let bare: PublicKey = "NYBy1jZYgNGu6jKa35EhODhR7SGijjt16WXQ0s0WYlQ".parse().unwrap();
        let padded: PublicKey = "NYBy1jZYgNGu6jKa35EhODhR7SGijjt16WXQ0s0WYlQ=".parse().unwrap();
        assert_eq!(bare, padded);
        assert_eq!(bare.0[..4], [0x35, 0x80, 0x72, 0xd6]);
        for bad in ["", "NYBy", "NYBy1jZYgNGu6jKa35EhODhR7SGijjt16WXQ0s0WYl+", "%%%"] {
            let refused = bad.parse::<PublicKey>().unwrap_err();
            assert_eq!(refused.option(), "public-key");
        }
    }

    #[test]
    fn short_id_is_padded_on_the_right() {
        assert_eq!("01ab".parse::<ShortId>().unwrap().0, [1, 0xab, 0, 0, 0, 0, 0, 0]);
        assert_eq!("".parse::<ShortId>().unwrap(), ShortId::default());
        assert_eq!("0123456789abcdef".parse::<ShortId>().unwrap().0, [1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
        for bad in ["1", "0123456789abcdef00", "zz", "+1", "éa"] {
            assert!(bad.parse::<ShortId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn version_has_three_bytes() {
        assert_eq!("26.3.27".parse::<ClientVersion>().unwrap().0, [26, 3, 27]);
        assert_eq!(ClientVersion::default().to_string(), "26.10.10");
        for bad in ["", "26", "26.3", "26.3.27.1", "26.3.256", "26.3.+1", "26..1"] {
            assert!(bad.parse::<ClientVersion>().is_err(), "{bad}");
        }
    }

    #[test]
    fn server_name_keeps_case_and_knows_addresses() {
        assert_eq!("Www.Example.com.".parse::<ServerName>().unwrap(), ServerName::Dns("Www.Example.com".into()));
        for ip in ["192.0.2.1", "2001:db8::1", "[2001:db8::1]"] {
            assert_eq!(ip.parse::<ServerName>().unwrap(), ServerName::Ip);
        }
        for bad in ["", ".", "a b", "ä.example"] {
            assert!(bad.parse::<ServerName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn fingerprints_that_cannot_work_say_why() {
        for name in ["chrome", "firefox", "safari", "edge", "ios", "random", "Chrome"] {
            assert_eq!(name.parse::<Fingerprint>().unwrap().name(), name.to_ascii_lowercase());
        }
        for (name, word) in
            [("android", "TLS 1.2"), ("360", "TLS 1.2"), ("qq", "key share"), ("randomized", "unreliable")]
        {
            assert!(name.parse::<Fingerprint>().unwrap_err().reason().contains(word));
        }
    }

    #[test]
    fn keys_are_redacted() {
        let key: PublicKey = "NYBy1jZYgNGu6jKa35EhODhR7SGijjt16WXQ0s0WYlQ".parse().unwrap();
        let mut options = Options::new(ServerName::Ip, key, ShortId([0xab; 8]));
        options.mldsa65_verify = Some(MlDsaKey::new(Box::new([7; 1952])));
        let shown = format!("{options:?}");
        assert!(!shown.contains("53, 128") && !shown.contains("171") && !shown.contains("7, 7"), "{shown}");
    }
}
