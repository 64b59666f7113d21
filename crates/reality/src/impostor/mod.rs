//! Leaving a site that is not ours as a browser would (spec: vless-reality §2.9).

mod browse;
mod hpack;

use std::fmt::Write as _;

use self::browse::Frames;
use crate::error::{Alert, Error, LIKELY_CAUSES};
use crate::hello::Browser;
use crate::options::{Fingerprint, ServerName};
use crate::record::{Content, Encrypter, Opened, Opener, kind};
use crate::verify::Stranger;

/// A TLS server that is not ours: the real site behind a REALITY server that did not accept us, or whoever intercepts.
/// It never receives a byte of the application's.
///
/// A polite exit: send the handshake's output (our Finished) and [`browse`](Self::browse); for 5 to 15 seconds hand
/// what arrives to [`listen`](Self::listen) and send its answers; send [`close`](Self::close); close the socket. Do not
/// try again at once: the answer will be the same.
#[derive(Debug)]
pub struct Impostor {
    opener: Opener,
    encrypter: Encrypter,
    /// If the site chose HTTP/2.
    frames: Option<Frames>,
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
    pub(crate) fn new(opener: Opener, encrypter: Encrypter, h2: bool, how: Stranger, hints: Hints) -> Self {
        Self { opener, encrypter, frames: h2.then(Frames::default), how, hints }
    }

    /// Opens what the site says, past [`listen`](Self::listen).
    #[cfg(feature = "testing")]
    pub const fn opener(&mut self) -> &mut Opener {
        &mut self.opener
    }

    /// Whether the site chose HTTP/2.
    #[must_use]
    pub const fn chose_h2(&self) -> bool {
        self.frames.is_some()
    }

    /// One `GET /` with a browser's navigation headers for the name that was asked for, sealed. Empty unless the site
    /// chose HTTP/2.
    pub fn browse(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.chose_h2() {
            for part in browse::request(&self.hints.server_name, self.hints.browser) {
                self.seal(kind::APPLICATION_DATA, &part, &mut out);
            }
        }
        out
    }

    /// Takes in whole records from the front of `received`, which is changed. Returns how many bytes to drop from its
    /// front, and what a browser would answer now: SETTINGS are acknowledged, keys changed on request. A buffer of
    /// [`MAX_RECORD`](crate::MAX_RECORD) bytes always makes progress.
    ///
    /// # Errors
    /// The site broke TLS or ended the connection with an alert; there is nothing left to be polite about.
    pub fn listen(&mut self, received: &mut [u8]) -> Result<(usize, Vec<u8>), Error> {
        let (mut consumed, mut answer) = (0, Vec::new());
        while let Some(rest) = received.get_mut(consumed..) {
            let Opened::Record { consumed: n, content } = self.opener.open(rest)? else { break };
            consumed += n;
            match (content, &mut self.frames) {
                (Content::Data(data), Some(frames)) => {
                    for _ in 0..frames.settings(data) {
                        self.seal(kind::APPLICATION_DATA, &browse::acknowledgement(), &mut answer);
                    }
                }
                (Content::KeyUpdate { reply: true }, _) => self.encrypter.key_update(&mut answer)?,
                _ => {}
            }
        }
        Ok((consumed, answer))
    }

    /// close_notify, sealed. Send nothing afterwards. No GOAWAY comes before it: Chromium sends none either.
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

    /// A record that cannot be sealed is not sent: nobody waits for it.
    fn seal(&mut self, kind: u8, content: &[u8], out: &mut Vec<u8>) {
        let before = out.len();
        if self.encrypter.seal(kind, content, out).is_err() {
            out.truncate(before);
        }
    }
}
