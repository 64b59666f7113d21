//! The server's side of a WebSocket that echoes (RFC 6455), for clients that will not settle for less.

use std::io::{Read, Write};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// The value of `Sec-WebSocket-Accept` for a client's key (RFC 6455 §4.2.2).
pub(super) fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64_STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// Echoes frames until the client closes. Returns when the connection is over.
pub(super) fn echo<S: Read + Write>(stream: &mut std::io::BufReader<S>) -> Option<()> {
    loop {
        // RFC 6455 §5.2: flags and opcode, mask bit and length, mask, payload.
        let mut head = [0; 2];
        stream.read_exact(&mut head).ok()?;
        let length = match head[1] & 0x7f {
            126 => {
                let mut length = [0; 2];
                stream.read_exact(&mut length).ok()?;
                usize::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                stream.read_exact(&mut length).ok()?;
                usize::try_from(u64::from_be_bytes(length)).ok()?
            }
            short => usize::from(short),
        };
        let mut mask = [0; 4];
        stream.read_exact(&mut mask).ok()?;
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).ok()?;
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        let mut frame = vec![head[0]];
        match length {
            0..126 => frame.push(length as u8),
            126..65_536 => {
                frame.push(126);
                frame.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                frame.push(127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&payload);
        stream.get_mut().write_all(&frame).ok()?;
        stream.get_mut().flush().ok()?;
        // Opcode 8 is the close frame, which we have just answered.
        if head[0] & 0x0f == 8 {
            return None;
        }
    }
}
