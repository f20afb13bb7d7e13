//! OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's and Microsoft's): an access token in one message, on both sides.
//!
//! `client` writes the message and hears the refusal, `server` reads it and words the refusal. The two mechanisms differ in
//! how the name is said, and hardly else.

pub(super) mod client;
pub(super) mod server;

fn is_visible(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().all(u8::is_ascii_graphic)
}
