//! Argon2 (RFC 9106) in memory that is kept for the next password.
//!
//! A check takes megabytes. Were they allocated each time, every thread that ever made one would hold on to its own, as
//! allocators do, and each check would begin with the system clearing pages. So whoever makes checks hands in [`Memory`].
//!
//! What it deliberately does not do: bound what a stored hash asks for (see [`Crypt::parse`](super::Crypt::parse)).

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time;
use zeroize::Zeroizing;

/// Room for one check at a time; empty until the first, and as large as the largest since.
#[derive(Default)]
pub(in crate::directory) struct Memory(Vec<Block>);

/// Whether the password is the one that was hashed, or why that cannot be told. RFC 9106 §3.1.
pub(super) fn is_right(hash: &PasswordHash, password: &[u8], memory: &mut Memory) -> Option<bool> {
    let (salt, expected) = (hash.salt.as_ref()?, hash.hash.as_ref()?);
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    let version = hash.version.map_or(Some(Version::default()), |version| Version::try_from(version).ok())?;
    let params = Params::try_from(hash).ok()?;
    let blocks = params.block_count();
    if memory.0.len() < blocks {
        memory.0.resize(blocks, Block::new());
    }
    let mut made = Zeroizing::new(vec![0; expected.as_bytes().len()]);
    let argon2 = Argon2::new(algorithm, version, params);
    argon2
        .hash_password_into_with_memory(password, salt.as_ref(), &mut made, &mut memory.0[..blocks])
        .ok()?;
    Some(constant_time::verify_slices_are_equal(&made, expected.as_bytes()).is_ok())
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Memory({} KiB)", self.0.len())
    }
}
