//! Making the odd certificates of REALITY servers, and ones that look like a site's.

/// An Ed25519 certificate with the given bits where a signature would be, and optionally one extension.
pub(super) fn reality(key: &[u8; 32], mac: &[u8], extension: Option<&[u8]>) -> Vec<u8> {
    let time = element(0x18, b"00010101000000Z");
    let mut tbs = vec![
        element(0xa0, &element(2, &[2])),
        element(2, &[0]),
        ED25519.to_vec(),
        element(0x30, &[]),
        element(0x30, &[&*time, &*time].concat()),
        element(0x30, &[]),
        element(0x30, &[ED25519, &*element(3, &[&[0], &key[..]].concat())].concat()),
    ];
    if let Some(value) = extension {
        let extension = element(0x30, &[element(6, &[0]), element(4, value)].concat());
        tbs.push(element(0xa3, &element(0x30, &extension)));
    }
    let tbs = element(0x30, &tbs.concat());
    let bits = element(3, &[&[0], mac].concat());
    element(0x30, &[&*tbs, ED25519, &*bits].concat())
}

/// A certificate with a P-256 key, as sites have them; its signature is nonsense.
pub(super) fn genuine() -> Vec<u8> {
    let ecdsa = [0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let algorithm = [0x30, 19, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let time = element(0x17, b"260101000000Z");
    let tbs = [
        element(0xa0, &element(2, &[2])),
        element(2, &[0x5a; 16]),
        ecdsa.to_vec(),
        element(0x30, &[]),
        element(0x30, &[&*time, &*time].concat()),
        element(0x30, &[]),
        element(0x30, &[&algorithm[..], &*element(3, &[0; 66])].concat()),
    ];
    let tbs = element(0x30, &tbs.concat());
    element(0x30, &[&*tbs, &ecdsa, &*element(3, &[0; 72])].concat())
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let mut out = vec![tag];
    match content.len() {
        0..=0x7f => out.push(length[7]),
        0x80..=0xff => out.extend([0x81, length[7]]),
        _ => out.extend([0x82, length[6], length[7]]),
    }
    out.extend_from_slice(content);
    out
}

const ED25519: &[u8] = &[0x30, 5, 6, 3, 0x2b, 0x65, 0x70];

#[cfg(test)]
mod tests {
    use super::*;

    /// Spec: vless-reality §2.5.
    #[test]
    fn layout_is_that_of_real_servers() {
        let plain = reality(&[0xaa; 32], &[0xbb; 64], None);
        assert_eq!((plain.len(), &plain[72..104], &plain[114..]), (178, &[0xaa; 32][..], &[0xbb; 64][..]));
        let ml_dsa = reality(&[0xaa; 32], &[0xbb; 64], Some(&[0xcc; 3309]));
        assert_eq!((ml_dsa.len(), &ml_dsa[75..107], &ml_dsa[3445..]), (3509, &[0xaa; 32][..], &[0xbb; 64][..]));
        assert_eq!(ml_dsa[126..3435], [0xcc; 3309]);
    }
}
