//! The nonces of one session: all that is random in it comes in at its beginning.

use aws_lc_rs::hmac;

use super::NONCE;

/// Draws nonces from a seed: the same seed gives the same nonces, each once.
#[derive(Clone)]
pub struct Nonces {
    seed: [u8; 32],
    drawn: u64,
}

impl Nonces {
    /// From octets that are random and used for nothing else.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }

    /// The next one.
    pub fn draw(&mut self) -> [u8; NONCE] {
        self.drawn += 1;
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.seed), &self.drawn.to_be_bytes());
        let mut nonce = [0; NONCE];
        nonce.copy_from_slice(&tag.as_ref()[..NONCE]);
        nonce
    }
}

/// Who knows the seed knows the nonces to come.
impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nonces").field("drawn", &self.drawn).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_nonce_comes_twice_and_another_seed_gives_others() {
        let (mut one, mut again, mut other) =
            (Nonces::new([1; 32]), Nonces::new([1; 32]), Nonces::new([2; 32]));
        let drawn: Vec<_> = (0..100).map(|_| one.draw()).collect();
        assert!(drawn.iter().all(|nonce| *nonce == again.draw()));
        let different: std::collections::HashSet<_> = drawn.iter().collect();
        assert_eq!(different.len(), drawn.len());
        assert!(!drawn.contains(&other.draw()));
    }

    #[test]
    fn debug_output_does_not_show_the_seed() {
        assert_eq!(format!("{:?}", Nonces::new([1; 32])), "Nonces { drawn: 0, .. }");
    }
}
