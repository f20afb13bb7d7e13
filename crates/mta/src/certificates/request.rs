//! Asking for a certificate: a request and its key, kept together until the certificate comes.
//!
//! [`make`] makes both and keeps them in the certificate store as one pending request. What it deliberately does not do:
//! send it anywhere; the private CA, an ACME authority and people do that, each in its own way.

use jiff::Timestamp;
use postern_pki::{
    IdentityStore, KeyKind, Pending, PendingNote, PrivateKey, RequestDetails, SigningRequest, Stored,
    check_name,
};

use super::Error;

/// With which key a certificate is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyChoice {
    /// A new one of this kind.
    New(KeyKind),
    /// The one that was made beforehand, else the identity's present one: TLSA records stay true.
    Kept,
}

/// What to do with a request that waits under the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// Leave it, and refuse.
    Keep,
    /// Throw it away with its key.
    Replace,
}

/// A request to be made.
#[derive(Debug, Clone)]
pub struct Ask {
    /// What the identity is called, or will be.
    pub identity: String,
    /// What is asked for.
    pub details: RequestDetails,
    /// With which key.
    pub key: KeyChoice,
    /// What happens to an earlier request.
    pub earlier: Earlier,
}

/// Makes a request and keeps it with its key.
///
/// # Errors
/// One waits already, there is no key to keep, a name cannot be in a certificate, or the disk. Nothing is changed then.
pub(crate) fn make(store: &IdentityStore, ask: Ask, now: Timestamp) -> Result<SigningRequest, Error> {
    check_name(&ask.identity)?;
    if ask.earlier == Earlier::Keep && store.pending(&ask.identity)?.is_some() {
        return Err(Error::Waiting { identity: ask.identity });
    }
    let key = match ask.key {
        KeyChoice::New(kind) => PrivateKey::generate(kind)?,
        KeyChoice::Kept => kept_key(store, &ask.identity)?,
    };
    let request = SigningRequest::make(&ask.details, &key).map_err(postern_pki::Error::from)?;
    let note = PendingNote { made: now, details: ask.details, sent: None };
    store.set_pending(&ask.identity, &Pending { request: request.clone(), key, note })?;
    Ok(request)
}

/// What an identity's next certificate is asked for with, and with which key: what the last one was, else what stands in
/// it.
///
/// # Errors
/// There is no such identity, or it is broken.
pub(crate) fn again(store: &IdentityStore, identity: &str, earlier: Earlier) -> Result<Ask, Error> {
    let (details, _) = successor(store, identity)?;
    Ok(Ask { identity: identity.to_owned(), details, key: KeyChoice::Kept, earlier })
}

/// The same for an authority inside: with the key itself.
///
/// # Errors
/// As [`again`].
pub(crate) fn successor(
    store: &IdentityStore,
    identity: &str,
) -> Result<(RequestDetails, PrivateKey), Error> {
    if !store.holds(identity) {
        return Err(Error::NoSuch { identity: identity.to_owned() });
    }
    Ok((details_of(&store.read(identity)?)?, kept_key(store, identity)?))
}

/// The key for the next certificate of an identity that is there.
pub(crate) fn kept_key(store: &IdentityStore, identity: &str) -> Result<PrivateKey, Error> {
    if let Some(next) = store.next_key(identity)? {
        return Ok(next);
    }
    if !store.holds(identity) {
        return Err(Error::NoSuch { identity: identity.to_owned() });
    }
    Ok(store.read(identity)?.key)
}

fn details_of(stored: &Stored) -> Result<RequestDetails, Error> {
    match (&stored.about.asked, stored.chain.first()) {
        (Some(asked), _) => Ok(asked.clone()),
        (None, Some(leaf)) => Ok(RequestDetails::of_certificate(leaf).map_err(postern_pki::Error::from)?),
        (None, None) => Err(postern_pki::Error::NoIdentity.into()),
    }
}
