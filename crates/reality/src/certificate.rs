//! Finding the key and the "signature" in a server's certificate.
//!
//! A REALITY certificate has no names, serial 0 and validity in the year 1, and its signature is an HMAC, so nothing
//! but its structure is looked at: DER with definite lengths (X.690), the outline of RFC 5280 §4.1.

use crate::wire::Reader;

/// The parts of a certificate that REALITY uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaf<'a> {
    /// The public key, if it is an Ed25519 key.
    pub(crate) ed25519: Option<&'a [u8; 32]>,
    /// The bits of the signature.
    pub(crate) signature: &'a [u8],
    /// The value of the first extension.
    pub(crate) extension: Option<&'a [u8]>,
}

impl<'a> Leaf<'a> {
    /// The first certificate of a Certificate message's body (RFC 8446 §4.4.2). The outer `None` means that the message
    /// is malformed, the inner one that its first certificate cannot be walked.
    pub(crate) fn of_message(body: &'a [u8]) -> Option<Option<Self>> {
        let mut body = Reader::new(body);
        if !body.vec8()?.is_empty() {
            return None; // the context is empty in a server's message
        }
        let mut list = Reader::new(body.vec24()?);
        body.end()?;
        let first = list.vec24()?;
        list.vec16()?; // extensions: OCSP, SCT
        while !list.is_empty() {
            list.vec24()?;
            list.vec16()?;
        }
        Some(Self::walk(first))
    }

    /// Walks one certificate.
    pub(crate) fn walk(der: &'a [u8]) -> Option<Self> {
        let mut outer = Reader::new(der);
        let mut certificate = expect(&mut outer, SEQUENCE)?;
        outer.end()?;
        let mut tbs = expect(&mut certificate, SEQUENCE)?;
        expect(&mut certificate, SEQUENCE)?; // signature algorithm
        let signature = bits(&mut certificate)?;
        certificate.end()?;

        let (mut tag, _) = element(&mut tbs)?;
        if tag == VERSION {
            (tag, _) = element(&mut tbs)?;
        }
        if tag != INTEGER {
            return None; // the serial number
        }
        for _ in ["signature algorithm", "issuer", "validity", "subject"] {
            expect(&mut tbs, SEQUENCE)?;
        }
        let ed25519 = ed25519(expect(&mut tbs, SEQUENCE)?)?;
        let extension = first_extension(tbs)?;
        Some(Self { ed25519, signature, extension })
    }
}

/// SubjectPublicKeyInfo. The inner `None` means another kind of key.
fn ed25519(mut info: Reader<'_>) -> Option<Option<&[u8; 32]>> {
    let algorithm = expect(&mut info, SEQUENCE)?;
    let key = bits(&mut info)?;
    info.end()?;
    Some(if algorithm.rest() == ED25519 { key.try_into().ok() } else { None })
}

/// What follows the key: unique ids that nobody uses, then the extensions.
fn first_extension(mut tbs: Reader<'_>) -> Option<Option<&[u8]>> {
    while !tbs.is_empty() {
        let (tag, mut content) = element(&mut tbs)?;
        if tag != EXTENSIONS {
            continue;
        }
        let mut list = expect(&mut content, SEQUENCE)?;
        let mut extension = expect(&mut list, SEQUENCE)?;
        expect(&mut extension, OBJECT_ID)?;
        let (mut tag, mut value) = element(&mut extension)?;
        if tag == BOOLEAN {
            (tag, value) = element(&mut extension)?;
        }
        return (tag == OCTET_STRING).then_some(Some(value.rest()));
    }
    Some(None)
}

/// A BIT STRING of whole bytes.
fn bits<'a>(from: &mut Reader<'a>) -> Option<&'a [u8]> {
    let mut content = expect(from, BIT_STRING)?;
    (content.u8()? == 0).then(|| content.rest())
}

fn expect<'a>(from: &mut Reader<'a>, tag: u8) -> Option<Reader<'a>> {
    let (found, content) = element(from)?;
    (found == tag).then_some(content)
}

/// One element with a one-byte tag and a definite length of up to three bytes.
fn element<'a>(from: &mut Reader<'a>) -> Option<(u8, Reader<'a>)> {
    let tag = from.u8()?;
    if tag & 0x1f == 0x1f {
        return None; // a tag of several bytes: none occurs in certificates
    }
    let content = match from.u8()? {
        short @ ..=0x7f => from.take(usize::from(short))?,
        0x81 => from.vec8()?,
        0x82 => from.vec16()?,
        0x83 => from.vec24()?,
        _ => return None, // indefinite, or longer than any message
    };
    Some((tag, Reader::new(content)))
}

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// An AlgorithmIdentifier's content for Ed25519: the OID 1.3.101.112, no parameters (RFC 8410 §3).
const ED25519: &[u8] = &[OBJECT_ID, 3, 0x2b, 0x65, 0x70];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::hex;

    const CERTIFICATE: &str = "
3081af3063a003020102020100300506032b657030003022180f30303031303130313030303030305a180f303030313031303130
30303030305a3000302a300506032b6570032100cd14b37f956e953194ff7fb73b3d81dcc561d61a7538094b7c3e1a643ee5f3aa
300506032b657003410052d39363aa990a19112bf232441f0b67e6da155e6b2ac07f5746ed901d421aaeac6d2ce5ad646e8eb276
ee22402337b8715634088cac024b2a2d7423cd6abe64";

    #[test]
    fn walks_to_key_and_signature() {
        let der = hex(CERTIFICATE);
        let leaf = Leaf::walk(&der).unwrap();
        assert_eq!(leaf.ed25519.unwrap()[..], der[72..104]);
        assert_eq!(leaf.signature, &der[114..]);
        assert_eq!(leaf.extension, None);
    }

    #[test]
    fn every_prefix_and_every_changed_byte_is_harmless() {
        let der = hex(CERTIFICATE);
        for length in 0..der.len() {
            assert_eq!(Leaf::walk(&der[..length]), None, "{length}");
        }
        for at in 0..der.len() {
            for value in [0, 1, 0x1f, 0x30, 0x7f, 0x80, 0x83, 0x84, 0xff] {
                let mut changed = der.clone();
                changed[at] = value;
                let _ = Leaf::walk(&changed);
            }
        }
        assert_eq!(Leaf::walk(&[der, vec![0]].concat()), None, "trailing bytes");
    }
}
