//! Reading a ClientHello, independently of the code that writes it.

/// A ClientHello taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// legacy_version.
    pub version: u16,
    /// The random.
    pub random: [u8; 32],
    /// legacy_session_id.
    pub session_id: Vec<u8>,
    /// Cipher suites in order, GREASE included.
    pub ciphers: Vec<u16>,
    /// Compression methods.
    pub compression: Vec<u8>,
    /// Type and body of the extensions in order.
    pub extensions: Vec<(u16, Vec<u8>)>,
}

impl Hello {
    /// Reads a whole handshake message.
    ///
    /// # Panics
    /// When it is not a ClientHello whose lengths all fit, or an extension comes twice.
    #[must_use]
    pub fn read(message: &[u8]) -> Self {
        let mut at = message;
        assert_eq!(number(&mut at, 1), 1, "a ClientHello");
        assert_eq!(number(&mut at, 3), at.len(), "its length");
        let version = number(&mut at, 2) as u16;
        let random = take(&mut at, 32).try_into().unwrap();
        let session_id = vector(&mut at, 1).to_vec();
        let ciphers = numbers(vector(&mut at, 2));
        let compression = vector(&mut at, 1).to_vec();
        let mut block = vector(&mut at, 2);
        assert!(at.is_empty(), "nothing behind the extensions");
        let mut extensions: Vec<(u16, Vec<u8>)> = Vec::new();
        while !block.is_empty() {
            let kind = number(&mut block, 2) as u16;
            let body = vector(&mut block, 2).to_vec();
            assert!(extensions.iter().all(|(k, _)| *k != kind), "extension {kind:04x} twice");
            extensions.push((kind, body));
        }
        Self { version, random, session_id, ciphers, compression, extensions }
    }

    /// The body of an extension.
    #[must_use]
    pub fn extension(&self, kind: u16) -> Option<&[u8]> {
        self.extensions.iter().find(|(k, _)| *k == kind).map(|(_, body)| &**body)
    }

    /// Extension types in order.
    #[must_use]
    pub fn kinds(&self) -> Vec<u16> {
        self.extensions.iter().map(|(kind, _)| *kind).collect()
    }

    /// The server name.
    #[must_use]
    pub fn server_name(&self) -> Option<String> {
        let mut body = self.extension(0)?;
        let mut list = vector(&mut body, 2);
        assert_eq!(number(&mut list, 1), 0, "host_name");
        Some(String::from_utf8(vector(&mut list, 2).to_vec()).unwrap())
    }

    /// supported_groups in order.
    #[must_use]
    pub fn groups(&self) -> Vec<u16> {
        self.extension(10).map(|mut body| numbers(vector(&mut body, 2))).unwrap_or_default()
    }

    /// Key shares in order.
    #[must_use]
    pub fn key_shares(&self) -> Vec<(u16, Vec<u8>)> {
        let mut shares = Vec::new();
        let Some(mut body) = self.extension(51) else { return shares };
        let mut list = vector(&mut body, 2);
        while !list.is_empty() {
            let group = number(&mut list, 2) as u16;
            shares.push((group, vector(&mut list, 2).to_vec()));
        }
        shares
    }

    /// The key share of a group.
    #[must_use]
    pub fn key_share(&self, group: u16) -> Option<Vec<u8>> {
        self.key_shares().into_iter().find(|(g, _)| *g == group).map(|(_, share)| share)
    }

    /// supported_versions in order.
    #[must_use]
    pub fn versions(&self) -> Vec<u16> {
        self.extension(43).map(|mut body| numbers(vector(&mut body, 1))).unwrap_or_default()
    }

    /// signature_algorithms in order.
    #[must_use]
    pub fn signatures(&self) -> Vec<u16> {
        self.extension(13).map(|mut body| numbers(vector(&mut body, 2))).unwrap_or_default()
    }

    /// The protocols of ALPN in order.
    #[must_use]
    pub fn alpn(&self) -> Vec<String> {
        let Some(mut body) = self.extension(16) else { return Vec::new() };
        let mut list = vector(&mut body, 2);
        let mut names = Vec::new();
        while !list.is_empty() {
            names.push(String::from_utf8(vector(&mut list, 1).to_vec()).unwrap());
        }
        names
    }
}

fn take<'a>(at: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (head, tail) = at.split_at_checked(n).expect("enough bytes");
    *at = tail;
    head
}

fn number(at: &mut &[u8], bytes: usize) -> usize {
    take(at, bytes).iter().fold(0, |n, byte| n << 8 | usize::from(*byte))
}

fn vector<'a>(at: &mut &'a [u8], bytes: usize) -> &'a [u8] {
    let n = number(at, bytes);
    take(at, n)
}

fn numbers(bytes: &[u8]) -> Vec<u16> {
    assert!(bytes.len().is_multiple_of(2), "whole numbers");
    bytes.chunks(2).map(|pair| u16::from_be_bytes(pair.try_into().unwrap())).collect()
}
