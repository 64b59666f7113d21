//! Numbers that several tests check against (spec: vless-reality §11.2).

/// Bytes from hexadecimal digits; white space is ignored.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
    assert!(digits.len().is_multiple_of(2));
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

pub(crate) const SERVER_PRIVATE: &str = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";
pub(crate) const SERVER_PUBLIC: &str = "358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd166254";
pub(crate) const CLIENT_PRIVATE: &str = "404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f";
pub(crate) const CLIENT_PUBLIC: &str = "79a631eede1bf9c98f12032cdeadd0e7a079398fc786b88cc846ec89af85a51a";
pub(crate) const SECOND_PRIVATE: &str = "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f";
pub(crate) const SECOND_PUBLIC: &str = "675dd574ed7789310b3d2e7681f3790b466c773b1521fecf36577958371ea52f";
pub(crate) const RANDOM: &str = "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf";
/// B1 and B2.
pub(crate) const AUTH_KEY: &str = "b5ee71b90eb9c8664558c2f6c0375d03edd9e982f3856d561ba4a27cc90002ad";

/// B1: the hello with one X25519 share and a session id of zeros.
pub(crate) const HELLO: &str = "
010000c00303a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf2000000000000000000000000000
0000000000000000000000000000000000000000061301130213030100007100000010000e00000b6578616d706c652e636f6d00
0a00040002001d000d000800060403080404010010000e000c02683208687474702f312e31003300260024001d002079a631eede
1bf9c98f12032cdeadd0e7a079398fc786b88cc846ec89af85a51a002d00020101002b0003020304";
