//! Reading a ServerHello (RFC 8446 §4.1.3).
//!
//! A REALITY server answers with its target's ServerHello, in which only the key share is changed; unknown extensions
//! are therefore ignored (spec: vless-reality §2.7).

use crate::auth::SESSION_ID;
use crate::error::{Error, Misbehaviour};
use crate::suite::Suite;
use crate::wire::Reader;

/// What the server chose.
#[derive(Debug)]
pub(crate) struct ServerHello<'a> {
    pub(crate) suite: Suite,
    pub(crate) group: u16,
    pub(crate) share: &'a [u8],
}

impl<'a> ServerHello<'a> {
    /// Reads the body of the message that answers `client_hello`.
    pub(crate) fn read(body: &'a [u8], client_hello: &[u8]) -> Result<Self, Error> {
        let fields = Fields::read(body).ok_or(Misbehaviour::Malformed("ServerHello"))?;
        if fields.random == &HELLO_RETRY {
            return Err(Error::HelloRetry);
        }
        match fields.version {
            Some(0x0304) if fields.legacy_version == 0x0303 => {}
            None => return Err(Error::OldTls),
            Some(_) => return Err(Misbehaviour::Illegal("version").into()),
        }
        if client_hello.get(SESSION_ID..SESSION_ID + 32) != Some(fields.session_id) {
            return Err(Misbehaviour::Illegal("session id").into());
        }
        if fields.compression != 0 {
            return Err(Misbehaviour::Illegal("compression").into());
        }
        if fields.pre_shared_key {
            return Err(Misbehaviour::UnsolicitedExtension.into());
        }
        let suite = Suite::from_id(fields.suite).ok_or(Misbehaviour::Illegal("cipher suite"))?;
        let (group, share) = fields.key_share.ok_or(Misbehaviour::Malformed("ServerHello without a key share"))?;
        Ok(Self { suite, group, share })
    }
}

/// The message as it stands, nothing judged.
struct Fields<'a> {
    legacy_version: u16,
    random: &'a [u8; 32],
    session_id: &'a [u8],
    suite: u16,
    compression: u8,
    version: Option<u16>,
    key_share: Option<(u16, &'a [u8])>,
    pre_shared_key: bool,
}

impl<'a> Fields<'a> {
    fn read(body: &'a [u8]) -> Option<Self> {
        let mut body = Reader::new(body);
        let mut fields = Self {
            legacy_version: body.u16()?,
            random: body.array()?,
            session_id: body.vec8()?,
            suite: body.u16()?,
            compression: body.u8()?,
            version: None,
            key_share: None,
            pre_shared_key: false,
        };
        if body.is_empty() {
            return Some(fields); // TLS 1.2 without extensions
        }
        let mut extensions = Reader::new(body.vec16()?);
        body.end()?;
        while !extensions.is_empty() {
            let kind = extensions.u16()?;
            fields.extension(kind, Reader::new(extensions.vec16()?))?;
        }
        Some(fields)
    }

    fn extension(&mut self, kind: u16, mut body: Reader<'a>) -> Option<()> {
        match kind {
            43 if self.version.is_none() => {
                self.version = Some(body.u16()?);
                body.end()
            }
            // A HelloRetryRequest names only the group.
            51 if self.random == &HELLO_RETRY => Some(()),
            51 if self.key_share.is_none() => {
                self.key_share = Some((body.u16()?, body.vec16()?));
                body.end()
            }
            43 | 51 => None, // twice
            41 => {
                self.pre_shared_key = true;
                Some(())
            }
            _ => Some(()),
        }
    }
}

/// SHA-256 of "HelloRetryRequest": the random of a ServerHello that is none (RFC 8446 §4.1.3).
const HELLO_RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{self, hex};

    fn hello() -> Vec<u8> {
        let mut body = hex("0303 0101010101010101010101010101010101010101010101010101010101010101 20");
        body.extend([0; 32]);
        body.extend(hex("1301 00 0030 002b00020304 00330024001d0020"));
        body.extend([7; 32]);
        body.extend(hex("abcd0000"));
        let at = body.len() - 4 - 32 - 14 - 2;
        let length = (body.len() - at - 2) as u16;
        body[at..at + 2].copy_from_slice(&length.to_be_bytes());
        body
    }

    #[test]
    fn reads_what_was_chosen() {
        let body = hello();
        let read = ServerHello::read(&body, &hex(vectors::HELLO)).unwrap();
        assert_eq!((read.suite, read.group, read.share), (Suite::Aes128GcmSha256, 0x1d, &[7; 32][..]));
    }

    #[test]
    fn every_prefix_and_every_changed_byte_is_harmless() {
        let body = hello();
        let client = hex(vectors::HELLO);
        for length in 0..body.len() {
            assert!(ServerHello::read(&body[..length], &client).is_err(), "{length}");
        }
        for at in 0..body.len() {
            for value in [0, 1, 2, 0x7f, 0xff] {
                let mut changed = body.clone();
                changed[at] = value;
                let _ = ServerHello::read(&changed, &client);
            }
        }
    }

    #[test]
    fn extensions_that_come_twice_are_refused() {
        let mut body = hello();
        let twice = body.len() - 4;
        body.splice(twice.., [0, 43, 0, 2, 3, 4, 0xab, 0xcd, 0, 0]);
        let at = 2 + 32 + 33 + 3;
        let length = (body.len() - at - 2) as u16;
        body[at..at + 2].copy_from_slice(&length.to_be_bytes());
        let refused = ServerHello::read(&body, &hex(vectors::HELLO)).unwrap_err();
        assert_eq!(refused, Misbehaviour::Malformed("ServerHello").into());
    }
}
