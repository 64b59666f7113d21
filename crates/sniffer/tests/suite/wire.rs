//! Hellos to order, and captured ones.

use adit_net::Domain;
use adit_sniffer::Verdict;

/// The first flight of Chromium 156 to `sniffed.example` over TCP: one record, an ECH extension, the name near its end.
pub(crate) const CHROMIUM_TLS: &str = include_str!("../captures/chromium-156-tls.hex");
/// The first two datagrams of Chromium 156 to `sniffed.example` over QUIC: a hello in shuffled frames across both.
pub(crate) const CHROMIUM_QUIC: &str = include_str!("../captures/chromium-156-quic.hex");

/// The name that a capture holds, as a verdict.
pub(crate) fn sniffed() -> Verdict {
    name("sniffed.example")
}

/// A verdict.
pub(crate) fn name(name: &str) -> Verdict {
    Verdict::Name(Domain::new(name).unwrap())
}

/// Bytes from hexadecimal text, line ends ignored.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Blocks that a blank line divides.
pub(crate) fn unhex_blocks(text: &str) -> Vec<Vec<u8>> {
    text.split("\n\n").map(unhex).collect()
}

/// `body` with its length in two bytes in front.
pub(crate) fn u16_prefixed(body: &[u8]) -> Vec<u8> {
    [&u16::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

/// The body of a server_name extension with these names.
pub(crate) fn server_names(names: &[&[u8]]) -> Vec<u8> {
    let list: Vec<u8> = names.iter().flat_map(|name| [vec![0], u16_prefixed(name)].concat()).collect();
    u16_prefixed(&list)
}

/// The parts of a hello; every one may be spoilt.
pub(crate) struct Hello {
    pub(crate) session_id: Vec<u8>,
    pub(crate) suites: Vec<u8>,
    pub(crate) compression: Vec<u8>,
    pub(crate) extensions: Vec<(u16, Vec<u8>)>,
    pub(crate) trailer: Vec<u8>,
}

impl Hello {
    pub(crate) fn with(extensions: &[(u16, Vec<u8>)]) -> Self {
        Self {
            session_id: vec![7; 32],
            suites: vec![0x13, 0x01],
            compression: vec![0],
            extensions: extensions.to_vec(),
            trailer: Vec::new(),
        }
    }

    /// A hello to `name`.
    pub(crate) fn to(name: &str) -> Self {
        Self::with(&[(0x0a0a, Vec::new()), (0, server_names(&[name.as_bytes()])), (43, vec![2, 3, 4])])
    }

    pub(crate) fn message(&self) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([0x5a; 32]);
        body.push(u8::try_from(self.session_id.len()).unwrap());
        body.extend(&self.session_id);
        body.extend(u16_prefixed(&self.suites));
        body.push(u8::try_from(self.compression.len()).unwrap());
        body.extend(&self.compression);
        let block: Vec<u8> = (self.extensions.iter())
            .flat_map(|(kind, body)| [kind.to_be_bytes().to_vec(), u16_prefixed(body)].concat())
            .collect();
        body.extend(u16_prefixed(&block));
        body.extend(&self.trailer);
        handshake(1, &body)
    }
}

/// A handshake message.
pub(crate) fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

/// One TLS record.
pub(crate) fn record(kind: u8, fragment: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1], u16_prefixed(fragment).as_slice()].concat()
}

/// The message in records that are cut at `cuts`, which rise.
pub(crate) fn records(message: &[u8], cuts: &[usize]) -> Vec<u8> {
    let ends = cuts.iter().copied().chain([message.len()]);
    let begins = [0].into_iter().chain(cuts.iter().copied());
    begins
        .zip(ends)
        .filter(|(begin, end)| begin < end)
        .flat_map(|(begin, end)| record(22, &message[begin..end]))
        .collect()
}
