//! Leaving a genuine site as a browser would.

use crate::record::Opener;

/// A TLS server that is not ours: the real site behind a REALITY server that did not accept us, or whoever intercepts.
/// It never receives a byte of the application's.
///
/// Polite exit: send the handshake's output (our Finished); if [`chose_h2`](Self::chose_h2), send
/// [`browse`](Self::browse) and read for 5 to 15 seconds; send [`close`](Self::close); close the socket.
#[derive(Debug)]
pub struct Impostor(());

impl Impostor {
    /// Opens what the site answers, so that it can be read and dropped.
    pub fn opener(&mut self) -> &mut Opener {
        todo!()
    }

    /// Whether the site chose HTTP/2.
    #[must_use]
    pub fn chose_h2(&self) -> bool {
        todo!()
    }

    /// One `GET /` with a browser's navigation headers, sealed; empty unless the site chose HTTP/2.
    pub fn browse(&mut self) -> Vec<u8> {
        todo!()
    }

    /// close_notify, sealed.
    pub fn close(&mut self) -> Vec<u8> {
        todo!()
    }

    /// Why this may have happened and what to check, for the log.
    #[must_use]
    pub fn explanation(&self) -> String {
        todo!()
    }
}
