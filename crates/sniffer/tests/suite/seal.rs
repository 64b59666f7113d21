//! A client's Initial packets, sealed by rustls.

use rustls::Side;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::quic::Version;

/// What a client would write into a packet.
pub(crate) struct Sealer {
    pub(crate) version: Version,
    pub(crate) dcid: Vec<u8>,
    pub(crate) scid: Vec<u8>,
    pub(crate) token: Vec<u8>,
    /// Bytes of a packet number: 1 to 4.
    pub(crate) number_length: usize,
}

impl Sealer {
    pub(crate) fn new(version: Version) -> Self {
        Self { version, dcid: vec![0xd1; 8], scid: vec![1, 2, 3], token: Vec::new(), number_length: 1 }
    }

    /// An Initial packet.
    pub(crate) fn seal(&self, number: u64, frames: &[u8]) -> Vec<u8> {
        let suite = TLS13_AES_128_GCM_SHA256.tls13().unwrap().quic_suite().unwrap();
        let keys = suite.keys(&self.dcid, Side::Client, self.version).local;
        let mut payload = frames.to_vec();
        // RFC 9001 §5.4.2: enough for the sample.
        payload.resize(frames.len().max(4), 0);
        let length = self.number_length + payload.len() + 16;

        let mut packet = vec![self.first_byte(0) | u8::try_from(self.number_length - 1).unwrap()];
        packet.extend(self.rest_of_header());
        packet.extend(varint(self.token.len()));
        packet.extend(&self.token);
        packet.extend(varint(length));
        let number_at = packet.len();
        packet.extend(&number.to_be_bytes()[8 - self.number_length..]);

        let tag = keys.packet.encrypt_in_place(number, &packet, &mut payload).unwrap();
        packet.extend(payload);
        packet.extend(tag.as_ref());
        let (header, protected) = packet.split_at_mut(number_at);
        let (number, rest) = protected.split_at_mut(self.number_length);
        let sample = &rest[4 - self.number_length..][..16];
        keys.header.encrypt_in_place(sample, &mut header[0], number).unwrap();
        packet
    }

    /// A packet of another type: 1 is 0-RTT, 2 Handshake, 3 Retry. Its content is noise.
    pub(crate) fn other(&self, kind: u8) -> Vec<u8> {
        let mut packet = vec![self.first_byte(kind)];
        packet.extend(self.rest_of_header());
        packet.extend(varint(100));
        packet.extend([0xee; 100]);
        packet
    }

    fn first_byte(&self, kind: u8) -> u8 {
        match self.version {
            Version::V2 => 0xc0 | ((kind + 1) & 0b11) << 4,
            _ => 0xc0 | kind << 4,
        }
    }

    fn rest_of_header(&self) -> Vec<u8> {
        let version: u32 = if matches!(self.version, Version::V2) { 0x6b33_43cf } else { 1 };
        let [dcid_length, scid_length] = [&self.dcid, &self.scid].map(|id| [u8::try_from(id.len()).unwrap()]);
        [&version.to_be_bytes()[..], &dcid_length, &self.dcid, &scid_length, &self.scid].concat()
    }
}

/// A number as QUIC writes it, in two or four bytes.
pub(crate) fn varint(value: usize) -> Vec<u8> {
    match u16::try_from(value) {
        Ok(value) if value < 1 << 14 => (value | 1 << 14).to_be_bytes().to_vec(),
        _ => (u32::try_from(value).unwrap() | 2 << 30).to_be_bytes().to_vec(),
    }
}

/// A CRYPTO frame.
pub(crate) fn crypto(offset: usize, data: &[u8]) -> Vec<u8> {
    [&[6][..], &varint(offset), &varint(data.len()), data].concat()
}
