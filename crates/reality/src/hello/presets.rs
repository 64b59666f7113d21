//! The ClientHellos of browsers, as data (spec: vless-reality §4.1 to §4.5). Chrome's is that of Debian's Chromium
//! 156.0.8078.79; the others are the presets that Xray 26.7.28 pins: Firefox 148, Safari 26.3, iOS 14, Edge 85.

use super::grease::GREASE;
use crate::options::Fingerprint;
use crate::shares::HybridKey;

/// The Chrome release whose ClientHello [`Fingerprint::Chrome`] sends.
pub const CHROME_VERSION: u16 = 156;

/// One browser's hello.
#[derive(Debug)]
pub(crate) struct Preset {
    /// With [`GREASE`] where the browser puts a value of its own choice.
    pub(crate) ciphers: &'static [u16],
    pub(crate) extensions: &'static [Extension],
    pub(crate) order: Order,
    pub(crate) hybrid_key: HybridKey,
}

/// Whether extensions keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Fixed,
    /// All but the first and the last are shuffled for each connection.
    Shuffled,
}

/// One extension; lists hold [`GREASE`] where the browser puts a value of its own choice.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Extension {
    /// A reserved extension: the first of a hello is empty, the second holds one zero byte.
    Grease,
    /// The server name; left out for IP addresses.
    ServerName,
    /// An extension whose body is always the same.
    Fixed(u16, &'static [u8]),
    Groups(&'static [u16]),
    /// The groups to send key shares for.
    KeyShare(&'static [u16]),
    Versions(&'static [u16]),
    Signatures(&'static [u16]),
    /// Encrypted ClientHello as browsers send it when they know no key: one of the AEADs, one of the payload lengths.
    EchGrease {
        aeads: &'static [u16],
        payloads: &'static [u16],
    },
    /// BoringSSL's padding to 512 bytes.
    Padding,
}

impl Preset {
    pub(crate) const fn of(browser: Browser) -> &'static Self {
        match browser {
            Browser::Chrome => &CHROME,
            Browser::Firefox => &FIREFOX,
            Browser::Safari => &SAFARI,
            Browser::Edge => &EDGE,
            Browser::Ios => &IOS,
        }
    }
}

/// A browser that has a table: a [`Fingerprint`] after the dice have fallen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Browser {
    Chrome,
    Firefox,
    Safari,
    Edge,
    Ios,
}

impl Browser {
    /// `None` for [`Fingerprint::Random`].
    pub(crate) const fn of(fingerprint: Fingerprint) -> Option<Self> {
        match fingerprint {
            Fingerprint::Chrome => Some(Self::Chrome),
            Fingerprint::Firefox => Some(Self::Firefox),
            Fingerprint::Safari => Some(Self::Safari),
            Fingerprint::Edge => Some(Self::Edge),
            Fingerprint::Ios => Some(Self::Ios),
            Fingerprint::Random => None,
        }
    }
}

const CHROME_CIPHERS: &[u16] = &[
    GREASE, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d,
    0x002f, 0x0035,
];

const EXTENDED_MASTER_SECRET: Extension = Extension::Fixed(23, &[]);
const RENEGOTIATION_INFO: Extension = Extension::Fixed(0xff01, &[0]);
const POINT_FORMATS: Extension = Extension::Fixed(11, &[1, 0]);
const SESSION_TICKET: Extension = Extension::Fixed(35, &[]);
const ALPN: Extension = Extension::Fixed(16, b"\x00\x0c\x02h2\x08http/1.1");
const STATUS_REQUEST: Extension = Extension::Fixed(5, &[1, 0, 0, 0, 0]);
const SIGNED_CERTIFICATE_TIMESTAMP: Extension = Extension::Fixed(18, &[]);
const PSK_MODES: Extension = Extension::Fixed(45, &[1, 1]);
const COMPRESS_BROTLI: Extension = Extension::Fixed(27, &[2, 0, 2]);
const COMPRESS_ZLIB: Extension = Extension::Fixed(27, &[2, 0, 1]);

/// trust_anchors: the roots in the store of Chromium 156.0.8078.79 that have a short name, each a length and its
/// relative object identifier. The list moves with the browser.
const CHROME_TRUST_ANCHORS: Extension = Extension::Fixed(
    0xca34,
    b"\x00\xb8\
      \x05\x82\xdf\x13\x02\x01\x05\x82\xdf\x13\x02\x06\x05\x82\xdf\x13\x02\x0d\x05\x82\xdf\x13\x02\x0e\
      \x05\x82\xdf\x13\x02\x0f\x05\x82\xdf\x13\x02\x12\x05\x82\xdf\x13\x02\x13\x05\x82\xdf\x13\x02\x14\
      \x08\x83\x9a\x64\x8c\x9b\x2d\x01\x07\x08\x83\x9a\x64\x8c\x9b\x2d\x01\x08\x08\x83\x9a\x64\x8c\x9b\x2d\x01\x09\
      \x08\x83\x9a\x64\x8c\x9b\x2d\x01\x0a\x08\x83\x9a\x64\x8c\x9b\x2d\x01\x0b\x08\x83\x9a\x64\x8c\x9b\x2d\x01\x0c\
      \x08\x83\x9a\x64\x8c\x9b\x2d\x01\x0d\x08\x83\x9a\x64\x8c\x9b\x2d\x01\x12\x08\x83\x9a\x64\x8c\x9b\x2d\x01\x13\
      \x04\xd6\x79\x09\x01\x04\xd6\x79\x09\x04\x04\xd6\x79\x09\x05\x04\xd6\x79\x09\x06\
      \x04\xd6\x79\x09\x07\x04\xd6\x79\x09\x08\x04\xd6\x79\x09\x0a\x04\xd6\x79\x09\x0b\
      \x04\xd6\x79\x09\x0c\x04\xd6\x79\x09\x0d\x04\xd6\x79\x09\x0f",
);

/// Chromium 156.0.8078.79 as captured. Beside §4.1, which describes Chrome 133, it has ML-DSA and GREASE among the
/// signature schemes, and trust_anchors.
static CHROME: Preset = Preset {
    ciphers: CHROME_CIPHERS,
    order: Order::Shuffled,
    hybrid_key: HybridKey::Independent,
    extensions: &[
        Extension::Grease,
        Extension::ServerName,
        EXTENDED_MASTER_SECRET,
        RENEGOTIATION_INFO,
        Extension::Groups(&[GREASE, 0x11ec, 0x001d, 0x0017, 0x0018]),
        POINT_FORMATS,
        SESSION_TICKET,
        ALPN,
        STATUS_REQUEST,
        // ML-DSA-44, -65 and -87 (0904 to 0906), then what Chrome has sent for years.
        Extension::Signatures(&[
            GREASE, 0x0904, 0x0905, 0x0906, 0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
        ]),
        SIGNED_CERTIFICATE_TIMESTAMP,
        Extension::KeyShare(&[GREASE, 0x11ec, 0x001d]),
        PSK_MODES,
        Extension::Versions(&[GREASE, 0x0304, 0x0303]),
        COMPRESS_BROTLI,
        Extension::Fixed(APPLICATION_SETTINGS, b"\x00\x03\x02h2"),
        CHROME_TRUST_ANCHORS,
        Extension::EchGrease { aeads: &[1], payloads: &[144, 176, 208, 240] },
        Extension::Grease,
    ],
};

/// §4.2.
static FIREFOX: Preset = Preset {
    ciphers: &[
        0x1301, 0x1303, 0x1302, 0xc02b, 0xc02f, 0xcca9, 0xcca8, 0xc02c, 0xc030, 0xc00a, 0xc009, 0xc013, 0xc014, 0x009c,
        0x009d, 0x002f, 0x0035,
    ],
    order: Order::Fixed,
    hybrid_key: HybridKey::Shared,
    extensions: &[
        Extension::ServerName,
        EXTENDED_MASTER_SECRET,
        RENEGOTIATION_INFO,
        Extension::Groups(&[0x11ec, 0x001d, 0x0017, 0x0018, 0x0019, 0x0100, 0x0101]),
        POINT_FORMATS,
        ALPN,
        STATUS_REQUEST,
        Extension::Fixed(34, &[0, 8, 0x04, 0x03, 0x05, 0x03, 0x06, 0x03, 0x02, 0x03]), // delegated_credentials
        SIGNED_CERTIFICATE_TIMESTAMP,
        Extension::KeyShare(&[0x11ec, 0x001d, 0x0017]),
        Extension::Versions(&[0x0304, 0x0303]),
        Extension::Signatures(&[
            0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0203, 0x0201,
        ]),
        Extension::Fixed(28, &[0x40, 0x01]),          // record_size_limit
        Extension::Fixed(27, &[6, 0, 1, 0, 2, 0, 3]), // compress_certificate: zlib, brotli, zstd
        Extension::EchGrease { aeads: &[1, 3], payloads: &[239] },
    ],
};

/// §4.3.
static SAFARI: Preset = Preset {
    ciphers: &[
        GREASE, 0x1302, 0x1303, 0x1301, 0xc02c, 0xc02b, 0xcca9, 0xc030, 0xc02f, 0xcca8, 0xc00a, 0xc009, 0xc014, 0xc013,
        0x009d, 0x009c, 0x0035, 0x002f, 0xc008, 0xc012, 0x000a,
    ],
    order: Order::Fixed,
    hybrid_key: HybridKey::Independent,
    extensions: &[
        Extension::Grease,
        Extension::ServerName,
        EXTENDED_MASTER_SECRET,
        RENEGOTIATION_INFO,
        Extension::Groups(&[GREASE, 0x11ec, 0x001d, 0x0017, 0x0018, 0x0019]),
        POINT_FORMATS,
        ALPN,
        STATUS_REQUEST,
        Extension::Signatures(&[0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0805, 0x0501, 0x0806, 0x0601, 0x0201]),
        SIGNED_CERTIFICATE_TIMESTAMP,
        Extension::KeyShare(&[GREASE, 0x11ec, 0x001d]),
        PSK_MODES,
        Extension::Versions(&[GREASE, 0x0304, 0x0303]),
        COMPRESS_ZLIB,
        Extension::Grease,
    ],
};

/// §4.4.
static IOS: Preset = Preset {
    ciphers: &[
        GREASE, 0x1301, 0x1302, 0x1303, 0xc02c, 0xc02b, 0xcca9, 0xc030, 0xc02f, 0xcca8, 0xc024, 0xc023, 0xc00a, 0xc009,
        0xc028, 0xc027, 0xc014, 0xc013, 0x009d, 0x009c, 0x003d, 0x003c, 0x0035, 0x002f, 0xc008, 0xc012, 0x000a,
    ],
    order: Order::Fixed,
    hybrid_key: HybridKey::Independent,
    extensions: &[
        Extension::Grease,
        Extension::ServerName,
        EXTENDED_MASTER_SECRET,
        RENEGOTIATION_INFO,
        Extension::Groups(&[GREASE, 0x001d, 0x0017, 0x0018, 0x0019]),
        POINT_FORMATS,
        ALPN,
        STATUS_REQUEST,
        Extension::Signatures(&[
            0x0403, 0x0804, 0x0401, 0x0503, 0x0203, 0x0805, 0x0805, 0x0501, 0x0806, 0x0601, 0x0201,
        ]),
        SIGNED_CERTIFICATE_TIMESTAMP,
        Extension::KeyShare(&[GREASE, 0x001d]),
        PSK_MODES,
        Extension::Versions(&[GREASE, 0x0304, 0x0303, 0x0302, 0x0301]),
        Extension::Grease,
        Extension::Padding,
    ],
};

/// §4.5.
static EDGE: Preset = Preset {
    ciphers: CHROME_CIPHERS,
    order: Order::Fixed,
    hybrid_key: HybridKey::Independent,
    extensions: &[
        Extension::Grease,
        Extension::ServerName,
        EXTENDED_MASTER_SECRET,
        RENEGOTIATION_INFO,
        Extension::Groups(&[GREASE, 0x001d, 0x0017, 0x0018]),
        POINT_FORMATS,
        SESSION_TICKET,
        ALPN,
        STATUS_REQUEST,
        Extension::Signatures(&[0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601]),
        SIGNED_CERTIFICATE_TIMESTAMP,
        Extension::KeyShare(&[GREASE, 0x001d]),
        PSK_MODES,
        Extension::Versions(&[GREASE, 0x0304, 0x0303, 0x0302, 0x0301]),
        COMPRESS_BROTLI,
        Extension::Grease,
        Extension::Padding,
    ],
};

/// application_settings (ALPS), the code point Chrome has used since version 133.
pub(crate) const APPLICATION_SETTINGS: u16 = 0x44cd;
