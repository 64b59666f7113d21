//! The record layer of TLS 1.3 (RFC 8446 §5) over keys that rustls derives.

use std::sync::Arc;

use adit_reality::{Alert, Content, Error, MAX_RECORD, Misbehaviour, Opened};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use parking_lot::Mutex;
use rustls::ConnectionTrafficSecrets;
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;

use crate::vless::record::{Open, Seal};

/// What derives new keys, for both directions.
type Kernel = Arc<Mutex<KernelConnection<ClientConnectionData>>>;

/// Opens what the server sends, one record at a time.
pub(in crate::vless) struct Opener {
    key: Key,
    kernel: Kernel,
    /// Records since the last one with data in it.
    idle: u8,
}

/// Seals what we send.
pub(in crate::vless) struct Sealer {
    key: Key,
    kernel: Kernel,
}

impl Opener {
    pub(super) fn new(secrets: (u64, ConnectionTrafficSecrets), kernel: Kernel) -> Result<Self, Error> {
        Ok(Self { key: Key::new(secrets)?, kernel, idle: 0 })
    }

    fn content<'a>(&mut self, kind: u8, content: &'a [u8]) -> Result<Content<'a>, Error> {
        match (kind, content) {
            (APPLICATION_DATA, []) => Ok(Content::Nothing),
            (APPLICATION_DATA, data) => Ok(Content::Data(data)),
            (ALERT, &[_, description]) => match Alert(description) {
                Alert::CLOSE_NOTIFY => Ok(Content::Closed),
                Alert::USER_CANCELED => Ok(Content::Nothing),
                alert => Err(Error::PeerAlert(alert)),
            },
            (HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, reply @ 0..=1]) => {
                let next = self.kernel.lock().update_rx_secret();
                self.key = Key::new(next.map_err(|_| Error::Library("deriving a key"))?)?;
                Ok(Content::KeyUpdate { reply: reply == 1 })
            }
            // Tickets, which may share and span records. Nothing else may come, and a KeyUpdate ends its record.
            (HANDSHAKE, _) => Ok(Content::Nothing),
            _ => Err(Misbehaviour::Unexpected("content type").into()),
        }
    }
}

impl Open for Opener {
    fn open<'a>(&mut self, buf: &'a mut [u8]) -> Result<Opened<'a>, Error> {
        let Some((&mut header, rest)) = buf.split_first_chunk_mut::<5>() else {
            return Ok(Opened::Incomplete { need_total: 5 });
        };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        let consumed = 5 + length;
        if consumed > MAX_RECORD {
            return Err(Misbehaviour::RecordTooLong.into());
        }
        let Some(sealed) = rest.get_mut(..length) else {
            return Ok(Opened::Incomplete { need_total: consumed });
        };
        let content = match (header[0], &*sealed) {
            (APPLICATION_DATA, _) => {
                let (kind, content) = self.key.open(header, sealed)?;
                self.content(kind, content)?
            }
            (CHANGE_CIPHER_SPEC, [1]) => Content::Nothing,
            _ => return Err(Misbehaviour::Unexpected("record in the clear").into()),
        };
        // Faults F-F4.
        self.idle = match content {
            Content::Data(_) | Content::Closed => 0,
            Content::Nothing | Content::KeyUpdate { .. } if self.idle < MAX_IDLE => self.idle + 1,
            _ => return Err(Misbehaviour::Flood("records without content").into()),
        };
        Ok(Opened::Record { consumed, content })
    }
}

impl Sealer {
    pub(super) fn new(secrets: (u64, ConnectionTrafficSecrets), kernel: Kernel) -> Result<Self, Error> {
        Ok(Self { key: Key::new(secrets)?, kernel })
    }
}

impl Seal for Sealer {
    fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        out.reserve(plaintext.len() + plaintext.len().div_ceil(MAX_CONTENT) * OVERHEAD);
        for content in plaintext.chunks(MAX_CONTENT) {
            if self.key.sequence >= RECORDS_PER_KEY {
                self.key_update(out)?;
            }
            self.key.seal(APPLICATION_DATA, content, out)?;
        }
        Ok(())
    }

    fn key_update(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.key.seal(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0], out)?;
        let next = self.kernel.lock().update_tx_secret();
        self.key = Key::new(next.map_err(|_| Error::Library("deriving a key"))?)?;
        Ok(())
    }

    fn alert(&mut self, alert: Alert, out: &mut Vec<u8>) -> Result<(), Error> {
        let level = if alert == Alert::CLOSE_NOTIFY { 1 } else { 2 };
        self.key.seal(ALERT, &[level, alert.0], out)
    }
}

/// One direction's key, its IV, and the number of the next record.
struct Key {
    aead: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
}

impl Key {
    fn new((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self, Error> {
        const FAILED: Error = Error::Library("setting up a key");
        let (aead, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(FAILED),
        };
        let aead = UnboundKey::new(aead, key.as_ref()).map_err(|_| FAILED)?;
        let iv = iv.as_ref().try_into().map_err(|_| FAILED)?;
        Ok(Self { aead: LessSafeKey::new(aead), iv, sequence })
    }

    /// Appends one record of at most [`MAX_CONTENT`] bytes of content.
    fn seal(&mut self, kind: u8, content: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        const FAILED: Error = Error::Library("sealing a record");
        let nonce = self.next_nonce()?;
        let [high, low] = ((content.len() + OVERHEAD - 5) as u16).to_be_bytes();
        let header = [APPLICATION_DATA, 3, 3, high, low];
        out.extend_from_slice(&header);
        let start = out.len();
        out.extend_from_slice(content);
        out.push(kind);
        let inner = out.get_mut(start..).unwrap_or_default();
        let tag = self.aead.seal_in_place_separate_tag(nonce, Aad::from(header), inner).map_err(|_| FAILED)?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Decrypts in place; returns the type and the content without its padding (§5.4).
    fn open<'a>(&mut self, header: [u8; 5], sealed: &'a mut [u8]) -> Result<(u8, &'a [u8]), Error> {
        let nonce = self.next_nonce()?;
        let inner = self.aead.open_in_place(nonce, Aad::from(header), sealed).map_err(|_| Error::BadRecord)?;
        if inner.len() > MAX_CONTENT + 1 {
            return Err(Misbehaviour::RecordTooLong.into());
        }
        let end = inner.iter().rposition(|&byte| byte != 0);
        let (content, kind) = end
            .and_then(|end| Some((inner.get(..end)?, *inner.get(end)?)))
            .ok_or_else(|| Error::from(Misbehaviour::Unexpected("record without a content type")))?;
        Ok((kind, content))
    }

    /// RFC 8446 §5.3.
    fn next_nonce(&mut self) -> Result<Nonce, Error> {
        let sequence = self.sequence;
        self.sequence = sequence.checked_add(1).ok_or(Error::Exhausted)?;
        let mut nonce = self.iv;
        for (byte, of_sequence) in nonce.iter_mut().skip(4).zip(sequence.to_be_bytes()) {
            *byte ^= of_sequence;
        }
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

// RFC 8446 §B.1, §B.3.
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const KEY_UPDATE: u8 = 24;

const MAX_CONTENT: usize = 16_384;
/// Header, content type and tag.
const OVERHEAD: usize = 5 + 1 + 16;
/// RFC 8446 §5.5 allows 2^24.5 full records under one AES-GCM key.
const RECORDS_PER_KEY: u64 = 1 << 24;
const MAX_IDLE: u8 = 64;
