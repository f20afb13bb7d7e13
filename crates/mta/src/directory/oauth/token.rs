//! Signed tokens: taken apart, and believed only once the signature is right.
//!
//! [`read`] looks at the header alone and refuses what no key could make good: a token without a signature or with a shared
//! key, an encrypted or nested one, one with conditions that we do not know (RFC 7515 §4.1.11, RFC 8725 §3). [`Signed::verified`]
//! gives the claims once a key has confirmed them. What it deliberately does not do: use a key or an address that the token
//! brings along.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto;
use postern_smtp::text;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::claims::Claims;
use super::keys::Key;
use crate::config::SignatureAlgorithm;

/// A token has no more octets than this.
const LONGEST: usize = 8192;
/// Of a token's words, the log shows so many octets.
pub(super) const WORDS_MOST: usize = 100;
/// What a token may call itself, without `application/`: RFC 7519 §5.1, RFC 9068 §2.1.
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// A token whose signature nobody has looked at yet.
#[derive(Debug)]
pub(super) struct Signed<'t> {
    pub(super) header: Header,
    /// What is signed: header and claims as they were written.
    message: &'t str,
    claims: &'t str,
    signature: &'t str,
}

/// How it says that it is signed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) algorithm: SignatureAlgorithm,
    /// The name of the key.
    pub(super) key: Option<String>,
}

/// The header's members that matter (RFC 7515 §4.1). A repeated one is refused by the parser; others mean nothing.
#[derive(Deserialize)]
struct Written {
    alg: String,
    typ: Option<String>,
    cty: Option<IgnoredAny>,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
    b64: Option<IgnoredAny>,
}

/// Takes a token apart.
///
/// # Errors
/// Why it can be none that counts here, for the log.
pub(super) fn read<'t>(token: &'t str, allowed: &[SignatureAlgorithm]) -> Result<Signed<'t>, String> {
    if token.len() > LONGEST {
        return Err(format!("it has more than {LONGEST} octets"));
    }
    let parts: Vec<&str> = token.split('.').collect();
    let (header, claims, signature) = match parts[..] {
        [header, claims, signature] => (header, claims, signature),
        [_, _, _, _, _] => return Err("it is encrypted, so that only its own audience could read it".into()),
        _ => {
            return Err(
                "it is no signed token; what it means only its provider knows (introspection_url)".into()
            );
        }
    };
    let message = &token[..header.len() + 1 + claims.len()];
    Ok(Signed { header: header_of(header, allowed)?, message, claims, signature })
}

impl Signed<'_> {
    /// Its claims, when the key confirms them.
    ///
    /// # Errors
    /// The signature is wrong, or what is signed is no JSON object.
    pub(super) fn verified(&self, key: &Key) -> Result<Claims, String> {
        let algorithm = algorithm(self.header.algorithm);
        match crypto::verify(self.signature, self.message.as_bytes(), key.verifier(), algorithm) {
            Ok(true) => Claims::parse(&decoded(self.claims)?),
            Ok(false) | Err(_) => Err("its signature is wrong".to_owned()),
        }
    }
}

fn header_of(header: &str, allowed: &[SignatureAlgorithm]) -> Result<Header, String> {
    let written: Written = serde_json::from_slice(&decoded(header)?)
        .map_err(|error| format!("its header cannot be read: {}", text::clean(error, WORDS_MOST)))?;
    let algorithm = allowed_algorithm(&written.alg, allowed)?;
    if let Some(name) = written.typ {
        // RFC 7515 §4.1.9: compared in any case, and the prefix may be left out.
        let lower = name.to_ascii_lowercase();
        if !TYPES.contains(&lower.strip_prefix("application/").unwrap_or(&lower)) {
            return Err(format!("it is no access token but a {}", text::clean(name, WORDS_MOST)));
        }
    }
    if written.cty.is_some() {
        return Err("another token is wrapped in it".to_owned());
    }
    // RFC 7515 §4.1.11: who does not understand what is critical refuses; we know of nothing that could be.
    if written.crit.is_some() || written.b64.is_some() {
        return Err("it sets conditions (crit) that Postern does not know".to_owned());
    }
    Ok(Header { algorithm, key: written.kid })
}

fn allowed_algorithm(name: &str, allowed: &[SignatureAlgorithm]) -> Result<SignatureAlgorithm, String> {
    let known = SignatureAlgorithm::named(name);
    known.filter(|known| allowed.contains(known)).ok_or_else(|| {
        let name = text::clean(name, WORDS_MOST);
        match name.as_str() {
            name if name.eq_ignore_ascii_case("none") => "it is not signed (alg none)".to_owned(),
            name if name.starts_with("HS") => {
                format!("it is signed with a shared key ({name}), which proves nothing")
            }
            name => format!("it is signed with {name}, which algorithms does not list"),
        }
    })
}

fn decoded(part: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| "it is not encoded as a token is".to_owned())
}

fn algorithm(algorithm: SignatureAlgorithm) -> jsonwebtoken::Algorithm {
    use jsonwebtoken::Algorithm;
    match algorithm {
        SignatureAlgorithm::Rs256 => Algorithm::RS256,
        SignatureAlgorithm::Rs384 => Algorithm::RS384,
        SignatureAlgorithm::Rs512 => Algorithm::RS512,
        SignatureAlgorithm::Ps256 => Algorithm::PS256,
        SignatureAlgorithm::Ps384 => Algorithm::PS384,
        SignatureAlgorithm::Ps512 => Algorithm::PS512,
        SignatureAlgorithm::Es256 => Algorithm::ES256,
        SignatureAlgorithm::Es384 => Algorithm::ES384,
        SignatureAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}
