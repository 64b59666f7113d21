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
        let mut message = hmac::Context::with_key(&mac);
        message.update(key);
        hellos.iter().for_each(|hello| message.update(hello));
        let verifier = UnparsedPublicKey::new(&ML_DSA_65, ml_dsa.as_bytes());
        if verifier.verify(message.sign().as_ref(), extension.unwrap_or_default()).is_err() {
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

fn read_certificate_verify(body: &[u8]) -> Option<(u16, &[u8])> {
    let mut body = Reader::new(body);
    let read = (body.u16()?, body.vec16()?);
    body.end()?;
    Some(read)
}

const ED25519_SCHEME: u16 = 0x0807;
