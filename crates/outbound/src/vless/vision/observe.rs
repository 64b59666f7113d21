//! What kind of TLS runs inside, told from the bytes of both directions (spec: vless-reality §5.4).

/// The traffic filter of one connection. Both directions feed the same one: the ClientHello goes up, the ServerHello
/// that decides comes down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observer {
    /// Chunks still to be looked at, both directions together.
    budget: u8,
    tls: bool,
    tls12_or_above: bool,
    direct: bool,
    cipher: u16,
    /// Bytes of the ServerHello's record still to come.
    server_hello_left: usize,
}

impl Default for Observer {
    fn default() -> Self {
        Self { budget: 8, tls: false, tls12_or_above: false, direct: false, cipher: 0, server_hello_left: 0 }
    }
}

impl Observer {
    /// Looks at content of either direction: going up before it is framed, coming down after it is unframed. Long
    /// content counts as several chunks, as it does for the reference.
    pub fn see(&mut self, content: &[u8]) {
        for chunk in content.chunks(CHUNK) {
            if self.budget == 0 {
                return;
            }
            self.budget -= 1;
            self.look(chunk);
        }
    }

    /// Whether a ClientHello or ServerHello was seen.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Whether a ServerHello was seen (of TLS 1.0 to 1.3: they all say 1.2 or less in that place).
    #[must_use]
    pub fn is_tls12_or_above(&self) -> bool {
        self.tls12_or_above
    }

    /// Whether the inner connection is TLS 1.3 with a cipher that needs no second encryption.
    #[must_use]
    pub fn may_go_direct(&self) -> bool {
        self.direct
    }

    /// Whether so much was seen without a ServerHello that there will be none: padding should end.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        !self.tls12_or_above && self.budget <= 1
    }

    fn look(&mut self, chunk: &[u8]) {
        match chunk {
            [0x16, 0x03, 0x03, high, low, 0x02, ..] => {
                self.server_hello_left = usize::from(u16::from_be_bytes([*high, *low])) + 5;
                self.tls = true;
                self.tls12_or_above = true;
                if let Some(cipher) = self.cipher_of(chunk) {
                    self.cipher = cipher;
                }
            }
            [0x16, 0x03, _, _, _, 0x01, ..] => self.tls = true,
            _ => {}
        }
        if self.server_hello_left == 0 {
            return;
        }
        let hello = &chunk[..chunk.len().min(self.server_hello_left)];
        self.server_hello_left -= hello.len();
        if hello.windows(TLS13.len()).any(|window| window == TLS13) {
            self.direct = matches!(self.cipher, 0x1301..=0x1304);
            self.budget = 0;
        } else if self.server_hello_left == 0 {
            self.budget = 0;
        }
    }

    /// The cipher suite behind the session id, if this chunk is long enough to hold a ServerHello of TLS 1.3.
    fn cipher_of(&self, chunk: &[u8]) -> Option<u16> {
        if chunk.len() < 79 || self.server_hello_left < 79 {
            return None;
        }
        let session_id = usize::from(*chunk.get(43)?);
        let cipher = chunk.get(44 + session_id..46 + session_id)?;
        Some(u16::from_be_bytes(cipher.try_into().ok()?))
    }
}

/// The reference's buffer size: what it looks at, and frames, at once.
pub(super) const CHUNK: usize = 8192;

/// supported_versions (43) of a ServerHello that chose TLS 1.3 (RFC 8446 §4.2.1).
const TLS13: [u8; 6] = [0x00, 0x2b, 0x00, 0x02, 0x03, 0x04];

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A ServerHello record as TLS 1.3 servers send it.
    pub(in super::super) fn server_hello(cipher: u16, tls13: bool) -> Vec<u8> {
        let mut body = vec![0x03, 0x03];
        body.extend_from_slice(&[0xaa; 32]);
        body.push(32);
        body.extend_from_slice(&[0xbb; 32]);
        body.extend_from_slice(&cipher.to_be_bytes());
        body.push(0);
        let extensions: &[u8] = if tls13 {
            &[0x00, 0x33, 0x00, 0x02, 0x00, 0x1d, 0x00, 0x2b, 0x00, 0x02, 0x03, 0x04]
        } else {
            &[0xff, 0x01, 0x00, 0x01, 0x00]
        };
        body.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
        body.extend_from_slice(extensions);
        let mut record = vec![0x16, 0x03, 0x03];
        record.extend_from_slice(&(body.len() as u16 + 4).to_be_bytes());
        record.extend_from_slice(&[0x02, 0x00]);
        record.extend_from_slice(&(body.len() as u16).to_be_bytes());
        record.extend_from_slice(&body);
        record
    }

    pub(in super::super) fn client_hello() -> Vec<u8> {
        let mut record = vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
        record.resize(517, 0x5a);
        record
    }

    #[test]
    fn tls13_is_recognised_from_both_directions() {
        let mut seen = Observer::default();
        seen.see(&client_hello());
        assert!(seen.is_tls() && !seen.is_tls12_or_above() && !seen.may_go_direct());
        seen.see(&server_hello(0x1301, true));
        assert!(seen.is_tls12_or_above() && seen.may_go_direct() && !seen.gave_up());
    }

    #[test]
    fn other_inner_protocols_do_not_go_direct() {
        for (hello, why) in [
            (server_hello(0x1305, true), "CCM_8"),
            (server_hello(0xc02f, false), "TLS 1.2"),
            (server_hello(0x1399, true), "unknown suite"),
        ] {
            let mut seen = Observer::default();
            seen.see(&client_hello());
            seen.see(&hello);
            assert!(seen.is_tls() && seen.is_tls12_or_above() && !seen.may_go_direct(), "{why}");
        }
        let mut plain = Observer::default();
        for _ in 0..6 {
            plain.see(b"GET / HTTP/1.1\r\n\r\n");
            assert!(!plain.gave_up());
        }
        plain.see(b"GET / HTTP/1.1\r\n\r\n");
        assert!(plain.gave_up() && !plain.is_tls());
    }

    #[test]
    fn a_server_hello_may_come_in_pieces() {
        let hello = server_hello(0x1302, true);
        for cut in 79..hello.len() {
            let mut seen = Observer::default();
            seen.see(&hello[..cut]);
            seen.see(&hello[cut..]);
            // A needle that straddles the cut is missed, by us as by the reference; nothing breaks.
            let needle = hello.windows(6).position(|w| w == TLS13).unwrap();
            let straddles = (needle + 1..needle + 6).contains(&cut);
            assert_eq!(seen.may_go_direct(), !straddles, "cut at {cut}");
        }
    }

    /// F-F11: no length or session id makes it panic.
    #[test]
    fn damaged_hellos_are_harmless() {
        let hello = server_hello(0x1301, true);
        for position in 0..hello.len() {
            for value in [0, 1, 2, 0x7f, 0xff] {
                let mut bad = hello.clone();
                bad[position] = value;
                for end in 0..=bad.len() {
                    let mut seen = Observer::default();
                    seen.see(&bad[..end]);
                    seen.see(&bad[end..]);
                }
            }
        }
    }
}
