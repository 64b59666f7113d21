//! Where random bytes come from.

/// A source of unpredictable bytes. A seam, so that tests can make a hello that is the same each time.
///
/// ML-KEM and P-256 key pairs do not go through it: the cryptographic library draws those itself.
pub trait Random {
    /// Fills `out`. Must be a cryptographic generator outside tests: private keys come from here.
    fn fill(&mut self, out: &mut [u8]);
}

/// The generator of the cryptographic library.
///
/// The first use in a process seeds it, which takes tens of milliseconds: draw once at start-up.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// # Panics
    /// When the operating system has no randomness to give. Nothing secret can be done then, and nothing from a
    /// network can bring it about.
    #[expect(clippy::expect_used, reason = "a key made of predictable bytes is worse than a stop")]
    fn fill(&mut self, out: &mut [u8]) {
        aws_lc_rs::rand::fill(out).expect("the system's random generator works");
    }
}

/// Uniform in `0..bound`; `bound` of 0 gives 0.
pub(crate) fn below(random: &mut dyn Random, bound: u8) -> u8 {
    if bound == 0 {
        return 0;
    }
    // Values at or above the largest multiple of `bound` would make small results likelier.
    let fair = u16::from(u8::MAX) + 1 - (u16::from(u8::MAX) + 1) % u16::from(bound);
    loop {
        let [byte] = bytes(random);
        if u16::from(byte) < fair {
            return byte % bound;
        }
    }
}

/// `N` fresh bytes.
pub(crate) fn bytes<const N: usize>(random: &mut dyn Random) -> [u8; N] {
    let mut out = [0; N];
    random.fill(&mut out);
    out
}
