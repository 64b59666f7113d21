//! Leaving a site that is not ours as a browser would (spec: vless-reality §2.9).

mod browse;

use std::fmt::Write as _;

use crate::error::{Alert, LIKELY_CAUSES};
use crate::hello::Browser;
use crate::options::{Fingerprint, ServerName};
use crate::record::{Encrypter, Opener, kind};
use crate::verify::Stranger;

/// A TLS server that is not ours: the real site behind a REALITY server that did not accept us, or whoever intercepts.
/// It never receives a byte of the application's.
///
/// A polite exit: send the handshake's output (our Finished); if [`chose_h2`](Self::chose_h2), send
/// [`browse`](Self::browse) and read for 5 to 15 seconds; send [`close`](Self::close); close the socket. Do not try
/// again at once: the answer will be the same.
#[derive(Debug)]
pub struct Impostor {
    opener: Opener,
    encrypter: Encrypter,
    h2: bool,
    how: Stranger,
    hints: Hints,
}

/// What is known of the hello that was not accepted.
#[derive(Clone, Debug)]
pub(crate) struct Hints {
    pub(crate) server_name: ServerName,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) browser: Browser,
    pub(crate) hybrid_share: bool,
}

impl Impostor {
    pub(crate) const fn new(opener: Opener, encrypter: Encrypter, h2: bool, how: Stranger, hints: Hints) -> Self {
        Self { opener, encrypter, h2, how, hints }
    }

    /// Opens what the site answers, so that it can be read and dropped.
    pub const fn opener(&mut self) -> &mut Opener {
        &mut self.opener
    }

    /// Whether the site chose HTTP/2.
    #[must_use]
    pub const fn chose_h2(&self) -> bool {
        self.h2
    }

    /// One `GET /` with a browser's navigation headers for the name that was asked for, sealed. Empty unless the site
    /// chose HTTP/2.
    pub fn browse(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.h2 {
            let request = browse::request(&self.hints.server_name, self.hints.browser);
            self.seal(kind::APPLICATION_DATA, &request, &mut out);
        }
        out
    }

    /// close_notify, sealed. Send nothing afterwards.
    pub fn close(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.seal(kind::ALERT, &Alert::CLOSE_NOTIFY.record_content(), &mut out);
        out
    }

    /// Why this may have happened and what to check, for the log.
    #[must_use]
    pub fn explanation(&self) -> String {
        let mut text = String::from("REALITY authentication failed: ");
        text.push_str(match self.how {
            Stranger::Genuine => "the real site answered (or someone intercepts)",
            Stranger::OtherSecret => {
                "a server with an Ed25519 certificate that was not made for us answered: another REALITY server, or a \
                 wrong public-key"
            }
            Stranger::MlDsa => {
                "the server's certificate was made with our secret but does not carry a signature by mldsa65-verify"
            }
        });
        text.push_str("; nothing of yours was sent to it; ");
        if !self.hints.hybrid_share {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "most likely the hello ({}) was refused for its lack of an X25519MLKEM768 share; otherwise ",
                self.hints.fingerprint
            );
        }
        text.push_str(match self.how {
            Stranger::MlDsa => "check mldsa65-verify against the server's mldsa65Seed",
            Stranger::Genuine | Stranger::OtherSecret => LIKELY_CAUSES,
        });
        text
    }

    /// A record of a goodbye that cannot be sealed is not sent.
    fn seal(&mut self, kind: u8, content: &[u8], out: &mut Vec<u8>) {
        if self.encrypter.seal(kind, content, out).is_err() {
            out.clear();
        }
    }
}
