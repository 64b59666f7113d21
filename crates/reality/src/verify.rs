//! Telling our server from everyone else (spec: vless-reality §2.5).

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ED25519, ML_DSA_65, UnparsedPublicKey};

use crate::auth::AuthKey;
use crate::certificate::Leaf;
use crate::error::{Error, Misbehaviour};
use crate::options::MlDsaKey;
use crate::wire::Reader;

/// That the server showed a certificate made with our shared secret, and holds that certificate's key. Cannot be made
/// outside this crate.
#[derive(Clone, Copy, Debug)]
pub struct ServerProven(());

/// Who sent the certificate.
#[derive(Debug)]
pub(crate) enum Witness {
    /// Someone who knows our secret; whether it is the owner of the certificate's key is still open.
    Ours(Claimant),
    /// Someone else.
    Stranger(Stranger),
}

/// How a stranger shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stranger {
    /// A certificate as sites have them.
    Genuine,
    /// A certificate as REALITY servers make them, but not with our secret.
    OtherSecret,
    /// Our secret, but not the ML-DSA-65 signature that the options ask for.
    MlDsa,
}

/// The Ed25519 key of a certificate that was made with our secret.
#[derive(Debug)]
pub(crate) struct Claimant([u8; 32]);

/// Looks at the body of a Certificate message. `hellos` are ClientHello and ServerHello as on the wire.
pub(crate) fn examine(
    body: &[u8],
    auth: &AuthKey,
    ml_dsa: Option<&MlDsaKey>,
    hellos: [&[u8]; 2],
) -> Result<Witness, Error> {
    let leaf = Leaf::of_message(body).ok_or(Misbehaviour::Malformed("Certificate"))?;
    let Some(Leaf { ed25519: Some(key), signature, extension }) = leaf else {
        return Ok(Witness::Stranger(Stranger::Genuine));
    };
    let mac = auth.mac();
    if hmac::verify(&mac, key, signature).is_err() {
        return Ok(Witness::Stranger(Stranger::OtherSecret));
    }
    if let Some(ml_dsa) = ml_dsa {
        let message = ml_dsa_message(&mac, key, hellos);
        let verifier = UnparsedPublicKey::new(&ML_DSA_65, ml_dsa.as_bytes());
        if verifier.verify(message.as_ref(), extension.unwrap_or_default()).is_err() {
            return Ok(Witness::Stranger(Stranger::MlDsa));
        }
    }
    Ok(Witness::Ours(Claimant(*key)))
}

impl Claimant {
    /// Checks the body of CertificateVerify against the transcript up to and with Certificate (RFC 8446 §4.4.3).
    /// Ed25519 is accepted although no browser offers it: REALITY servers sign with nothing else.
    pub(crate) fn prove(self, body: &[u8], transcript: &[u8]) -> Result<ServerProven, Error> {
        let (scheme, signature) = read_certificate_verify(body).ok_or(Misbehaviour::Malformed("CertificateVerify"))?;
        if scheme != ED25519_SCHEME {
            return Err(Misbehaviour::Illegal("signature scheme").into());
        }
        let mut signed = vec![b' '; 64];
        signed.extend_from_slice(b"TLS 1.3, server CertificateVerify\0");
        signed.extend_from_slice(transcript);
        let verifier = UnparsedPublicKey::new(&ED25519, self.0);
        verifier.verify(&signed, signature).map_err(|_| Error::BadCertificateVerify)?;
        Ok(ServerProven(()))
    }
}

/// What the server signs with ML-DSA-65.
fn ml_dsa_message(mac: &hmac::Key, key: &[u8; 32], hellos: [&[u8]; 2]) -> hmac::Tag {
    let mut message = hmac::Context::with_key(mac);
    message.update(key);
    hellos.iter().for_each(|hello| message.update(hello));
    message.sign()
}

fn read_certificate_verify(body: &[u8]) -> Option<(u16, &[u8])> {
    let mut body = Reader::new(body);
    let read = (body.u16()?, body.vec16()?);
    body.end()?;
    Some(read)
}

const ED25519_SCHEME: u16 = 0x0807;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{self, hex};
    use crate::wire::{put_u16, put_vec};

    // Spec: vless-reality §11.3.
    const KEY: &str = "cd14b37f956e953194ff7fb73b3d81dcc561d61a7538094b7c3e1a643ee5f3aa";
    const CERTIFICATE: &str = "
3081af3063a003020102020100300506032b657030003022180f30303031303130313030303030305a180f303030313031303130
30303030305a3000302a300506032b6570032100cd14b37f956e953194ff7fb73b3d81dcc561d61a7538094b7c3e1a643ee5f3aa
300506032b657003410052d39363aa990a19112bf232441f0b67e6da155e6b2ac07f5746ed901d421aaeac6d2ce5ad646e8eb276
ee22402337b8715634088cac024b2a2d7423cd6abe64";
    const TRANSCRIPT: &str = "54e6289e14c7b0e7ad9acc2dfc4c1e3d027d0eef7f5c4c3fe7c292761d0e06a6";
    const SIGNATURE: &str = "7209a420d412316214fd913c7fcd719b83d419ad46ea93ccfe871be3e56268e85e04c8abb171b74b
                             3f00c3d71a3c86cd7ed827d29dcf6cfd8dfadec5f0de260d";

    fn auth(key: &str) -> AuthKey {
        AuthKey::from_bytes(hex(key).try_into().unwrap())
    }

    fn message_body(certificate: &[u8]) -> Vec<u8> {
        let mut body = vec![0];
        put_vec::<3>(&mut body, |out| {
            put_vec::<3>(out, |out| out.extend_from_slice(certificate));
            put_u16(out, 0);
        });
        body
    }

    fn certificate_verify(scheme: u16, signature: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        put_u16(&mut body, scheme);
        put_vec::<2>(&mut body, |out| out.extend_from_slice(signature));
        body
    }

    fn claimant() -> Claimant {
        match examine(&message_body(&hex(CERTIFICATE)), &auth(vectors::AUTH_KEY), None, [&[], &[]]) {
            Ok(Witness::Ours(claimant)) => claimant,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_certificate_of_the_spec_is_ours() {
        let body = message_body(&hex(CERTIFICATE));
        assert_eq!(body.len() + 4, 191);
        assert_eq!(claimant().0[..], hex(KEY));
        claimant().prove(&certificate_verify(0x0807, &hex(SIGNATURE)), &hex(TRANSCRIPT)).unwrap();
    }

    #[test]
    fn any_flipped_bit_makes_a_stranger() {
        for bit in 0..64 * 8 {
            let mut certificate = hex(CERTIFICATE);
            certificate[114 + bit / 8] ^= 1 << (bit % 8);
            let witness = examine(&message_body(&certificate), &auth(vectors::AUTH_KEY), None, [&[], &[]]).unwrap();
            assert!(matches!(witness, Witness::Stranger(Stranger::OtherSecret)), "bit {bit}");
        }
        let other = auth("dc0cc78c0944d28c97d293ea0136ca77808deaef28e83a7ad309ebaef9510b3e"); // B3
        let witness = examine(&message_body(&hex(CERTIFICATE)), &other, None, [&[], &[]]).unwrap();
        assert!(matches!(witness, Witness::Stranger(Stranger::OtherSecret)));
    }

    #[test]
    fn the_key_must_sign() {
        let transcript = hex(TRANSCRIPT);
        let mut signature = hex(SIGNATURE);
        signature[63] ^= 1;
        let bad = claimant().prove(&certificate_verify(0x0807, &signature), &transcript);
        assert_eq!(bad.unwrap_err(), Error::BadCertificateVerify);
        let other = claimant().prove(&certificate_verify(0x0807, &hex(SIGNATURE)), &[0; 32]);
        assert_eq!(other.unwrap_err(), Error::BadCertificateVerify);
        let scheme = claimant().prove(&certificate_verify(0x0403, &hex(SIGNATURE)), &transcript);
        assert_eq!(scheme.unwrap_err(), Misbehaviour::Illegal("signature scheme").into());
        let short = claimant().prove(&[8, 7, 0, 64], &transcript);
        assert_eq!(short.unwrap_err(), Misbehaviour::Malformed("CertificateVerify").into());
    }

    #[test]
    fn the_message_for_ml_dsa() {
        let mut hello = hex(vectors::HELLO);
        let sealed = hex("9135e77d732b7c0b3d1368af48bbe4c4c18d8fe8c1e7fa336dcb6fd0af5794c8");
        hello[crate::auth::SESSION_ID..][..32].copy_from_slice(&sealed);
        let mac = ml_dsa_message(&auth(vectors::AUTH_KEY).mac(), &hex(KEY).try_into().unwrap(), [&hello, &[0xaa; 90]]);
        let expected = hex("a48bb7861bc70b0c0173bbed9c6dd67a0e41dc54a303046c492df7c303823e0b15c402eaf2dd074f41bd
                            122828ffa443bb46891bd67ad4b9733a5f51af5adc11");
        assert_eq!(mac.as_ref(), expected);
    }
}
