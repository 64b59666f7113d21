//! Connections to our own listeners.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use adit_testkit::lab::gateway::{LAN_V4, LAN_V6, WAN_V4, WAN_V6};

use super::scene::{PATIENCE, PLACES, PORT, in_both_modes};

/// F-B11, F-B12: refused, and not passed to ourselves again and again.
#[test]
fn f_b11_a_connection_to_the_listener_itself_goes_nowhere() {
    in_both_modes(|scene| {
        let refusals = || scene.adit_log().matches("the destination is a listener of ours").count();
        let before = refusals();
        let mut attempts = 0;
        for place in PLACES {
            for at in [LAN_V4.into(), WAN_V4.into(), LAN_V6.into(), WAN_V6.into()] {
                let to = SocketAddr::new(at, PORT);
                let mut heard = Vec::new();
                if let Ok(mut stream) = scene.at(place).run(|| TcpStream::connect_timeout(&to, PATIENCE)) {
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
                    if let Err(error) = stream.read_to_end(&mut heard) {
                        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{place:?} {to}");
                    }
                }
                assert_eq!(heard, b"", "{place:?} {to}");
                attempts += 1;
            }
        }
        assert!(refusals() - before <= attempts);
    });
}
