//! For tests, benches and fuzz targets only (feature `testing`): a REALITY server that follows a script, a reader of
//! ClientHellos, and the parsers of this crate as plain functions.
//!
//! Panics where a test should fail.

mod certificate;
mod hello;
mod script;
mod server;

pub use hello::Hello;
pub use script::{Claim, Group, Identity, Layout, Policy, Received, Sabotage, Script, Secrets, Suite};
pub use server::TestServer;

use crate::certificate::Leaf;
use crate::error::Error;
use crate::handshake::{ClientHandshake, Progress};
use crate::record::Opener;
use crate::schedule::HandshakeSecrets;
use crate::server_hello::ServerHello;

/// Reads the body of a ServerHello that answers `client_hello` (a whole handshake message). Whether it is acceptable.
#[must_use]
pub fn read_server_hello(body: &[u8], client_hello: &[u8]) -> bool {
    ServerHello::read(body, client_hello).is_ok()
}

/// Walks a DER certificate: the Ed25519 key (if it is one), the bits of the signature, the first extension's value.
#[must_use]
#[expect(clippy::type_complexity, reason = "three slices of the input, named above")]
pub fn walk_certificate(der: &[u8]) -> Option<(Option<&[u8; 32]>, &[u8], Option<&[u8]>)> {
    Leaf::walk(der).map(|leaf| (leaf.ed25519, leaf.signature, leaf.extension))
}

/// Walks the first certificate in the body of a Certificate message. Whether both have the right structure.
#[must_use]
pub fn read_certificate_message(body: &[u8]) -> bool {
    matches!(Leaf::of_message(body), Some(Some(_)))
}

/// The opener of a client and the server that seals for it, with fixed keys and no handshake.
#[must_use]
pub fn opener(suite: Suite) -> (Opener, TestServer) {
    let secrets = HandshakeSecrets::new(suite.into(), &[7; 32], &[9; 32]).unwrap();
    let secrets = secrets.master.application(&[11; 32]).unwrap();
    let opener = Opener::new(secrets.server.clone()).unwrap();
    (opener, TestServer::open(secrets.client, secrets.server))
}

/// One exchange: everything the client has to say, and the server's answer fed in one piece. Returns what `feed` said
/// and the bytes it left. The client's closing words are delivered too.
pub fn exchange(client: &mut ClientHandshake, server: &mut TestServer) -> (Result<Progress, Error>, Vec<u8>) {
    server.receive(&client.take_output());
    let mut bytes = server.take_output();
    let result = client.feed(&mut bytes);
    let consumed = match &result {
        Ok(
            Progress::NeedMore { consumed } | Progress::Done { consumed, .. } | Progress::NotReality { consumed, .. },
        ) => *consumed,
        Err(_) => 0,
    };
    server.receive(&client.take_output());
    (result, bytes.split_off(consumed))
}
