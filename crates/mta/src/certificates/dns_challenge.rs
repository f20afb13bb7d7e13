//! Putting a proof for a certificate authority into the DNS, and taking it out again (RFC 8555 §8.4).
//!
//! The authority asks for the TXT record of `_acme-challenge.NAME`; whoever can set it has control over the name. The
//! types to know:
//! - [`Publisher`]: sets the record and removes it. There are two.
//! - [`DynamicUpdate`]: the name server takes it by dynamic update (RFC 2136).
//! - [`Hook`]: a program of the administrator's does it, for name servers of any kind.
//!
//! Several proofs may stand at one name at the same time, that of a host and that of its wildcard: each call is about one
//! value and leaves the others alone.
//!
//! What it deliberately does not do: make the value, talk to the authority, or try again.

mod dynamic;

use async_trait::async_trait;

pub use super::hook::Hook;
pub use dynamic::{Aliases, DynamicUpdate};

/// Who can set a TXT record of ours, and remove it.
///
/// `name` is the whole name in A-labels without a last dot, as in `_acme-challenge.mail.example.org`; `value` is the
/// record's text, 43 characters of base64url. What comes back is for the story of the order: words to keep, perhaps none.
///
/// # Errors
/// Why it is not done, and what to do about it: for the administrator, on one line or several.
///
/// # Cancel safety
/// May be dropped at any time, and then the record may be there or not. Call [`Publisher::withdraw`] in any case.
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Adds the record beside what is there already. When this returns, the authority may look.
    async fn publish(&self, name: &str, value: &str) -> Result<String, String>;

    /// Removes the record and no other. It is no error if it is not there.
    async fn withdraw(&self, name: &str, value: &str) -> Result<String, String>;
}

/// It is started as `PROGRAM present NAME VALUE` before the authority looks, and as `PROGRAM cleanup NAME VALUE` afterwards. It
/// should end only when the record is there for all to see, or gone.
#[async_trait]
impl Publisher for Hook {
    async fn publish(&self, name: &str, value: &str) -> Result<String, String> {
        self.run(&["present", name, value]).await
    }

    async fn withdraw(&self, name: &str, value: &str) -> Result<String, String> {
        self.run(&["cleanup", name, value]).await
    }
}
