//! Passwords as others store them: crypt(3), Dovecot's `{SCHEME}`, LDAP's `{SSHA}` and `{CRYPT}`.
//!
//! The types to know: [`Crypt`], one stored password that has been read and whose cost is within bounds; [`Unfit`], why one
//! cannot be used; [`Typical`], what the passwords of one directory are mostly like, so that a name that does not exist costs as
//! much as one that does.
//!
//! A stored password says itself how much work it is. Whoever can write one could make every check take minutes or gigabytes,
//! so there are bounds, well above what any program chooses by itself.
//!
//! What it deliberately does not do: run anything ([`Checker`](super::checker::Checker) does, off the reactor), make new hashes,
//! or accept what is broken by design (DES, `$2x$`, unsalted MD5).

mod argon2id;

use std::num::NonZeroU32;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Params as Argon2Params, PasswordVerifier};
use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use md5::{Digest as _, Md5};
use postern_smtp::sasl::{ScramHash, ScramKey, ScramKeys};
use postern_smtp::secret::Secret;
use zeroize::Zeroizing;

pub(super) use self::argon2id::Memory;
use super::{Denied, Why};
use crate::config::ClearPasswords;

/// The longest stored password, in octets.
const LONGEST: usize = 1024;
/// The longest password that crypt(3) takes (`CRYPT_MAX_PASSPHRASE_SIZE`); a longer one is nobody's there.
const LONGEST_FOR_CRYPT: usize = 512;
/// The most memory that one check may take, in KiB, and the most that it may go through. Dovecot takes 64 MiB three times.
const MOST_MEMORY: u64 = 256 * 1024;
const MOST_PASSED: u64 = 1024 * 1024;
/// The most lanes of argon2 and of yescrypt.
const MOST_LANES: u64 = 16;
/// The most rounds of sha-crypt, about a second. crypt(3) and Dovecot take 5,000, Python's passlib 656,000.
const MOST_SHA_ROUNDS: u64 = 1_000_000;
/// The most cost of bcrypt, about two seconds; each more doubles it. Usual are 5 to 12.
const MOST_BCRYPT: u64 = 15;
/// The most iterations of PBKDF2 and SCRAM.
const MOST_ITERATIONS: u64 = 2_000_000;

/// A stored password that can be compared with.
#[derive(Debug, Clone)]
pub(super) struct Crypt {
    text: Secret,
    form: Form,
    whose: Whose,
}

/// Why a stored password cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// There is none, or it has been made such that nothing fits it.
    #[error("it is locked")]
    Locked,
    /// Nobody here can compare with it.
    #[error("it is stored as {0}, which Postern does not know")]
    Unknown(String),
    /// It is not what it says it is.
    #[error("it is stored as {0}, but is none")]
    Broken(&'static str),
    /// It would take too much.
    #[error("it is stored as {scheme} with {found} {unit}, and more than {most} are not worked out")]
    TooCostly {
        /// What it is.
        scheme: &'static str,
        /// How much it asks for.
        found: u64,
        /// Of what.
        unit: &'static str,
        /// The bound.
        most: u64,
    },
    /// It is no secret.
    #[error("it is stored in clear; set allow_plain = true if that is meant")]
    InClear,
}

/// What somebody's and nobody's passwords must have in common to take the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kind {
    scheme: &'static str,
    cost: [u64; 3],
}

/// What the passwords of one directory are mostly like.
#[derive(Debug, Default)]
pub(super) struct Typical(Vec<(Kind, u64, Crypt)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Somebodys,
    /// Nothing fits it, after the same work.
    Nobodys,
}

#[derive(Debug, Clone)]
enum Form {
    Argon2 { scheme: &'static str, cost: [u64; 3] },
    ShaCrypt { scheme: &'static str, rounds: u64 },
    Yescrypt { cost: [u64; 3] },
    Bcrypt { cost: u64 },
    Md5Crypt { magic: &'static str },
    Digest { scheme: &'static str, algorithm: &'static digest::Algorithm, stored: Secret, salt: Vec<u8> },
    Pbkdf2 { iterations: NonZeroU32, salt: Vec<u8>, stored: Secret },
    Scram { hash: ScramHash, keys: ScramKeys },
    Clear(Secret),
}

impl Crypt {
    /// Reads a stored password.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn parse(stored: &str, clear: ClearPasswords) -> Result<Self, Unfit> {
        let form = match stored {
            "" => return Err(Unfit::Locked),
            // shadow(5): nothing that crypt(3) makes begins so.
            _ if stored.starts_with(['!', '*']) => return Err(Unfit::Locked),
            _ if stored.len() > LONGEST => return Err(Unfit::Broken("a password")),
            _ => match stored.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
                Some((scheme, value)) => schemed(scheme, value, clear)?,
                None => (crypt3(stored)?, stored.to_owned()),
            },
        };
        let (form, text) = form;
        Ok(Self { text: Secret::new(text), form, whose: Whose::Somebodys })
    }

    /// The same work, with which nothing is ever right.
    pub(super) fn of_nobody(&self) -> Self {
        Self { whose: Whose::Nobodys, ..self.clone() }
    }

    /// It as it is stored, for telling whether it has changed; `None`: it is nobody's.
    pub(super) fn text(&self) -> Option<&Secret> {
        (self.whose == Whose::Somebodys).then_some(&self.text)
    }

    /// Whether a new hash would be worth more. What SCRAM needs is never replaced.
    pub(super) fn is_dated(&self) -> bool {
        !matches!(self.form, Form::Argon2 { scheme: "argon2id", .. } | Form::Scram { .. })
    }

    /// What is kept for SCRAM, when that is what is stored.
    pub(super) fn scram_keys(&self, hash: ScramHash) -> Option<ScramKeys> {
        match &self.form {
            Form::Scram { hash: own, keys } if *own == hash => Some(keys.clone()),
            _ => None,
        }
    }

    /// Whether the password is the one that is stored. Takes as long as the stored password says.
    ///
    /// # Errors
    /// It cannot be told.
    pub(super) fn fits(&self, password: &Secret, memory: &mut Memory) -> Result<bool, Unfit> {
        let right = self.is_right(password.expose(), memory)?;
        Ok(right && self.whose == Whose::Somebodys)
    }

    fn is_right(&self, password: &[u8], memory: &mut Memory) -> Result<bool, Unfit> {
        let text = self.text.expose_str().ok_or(Unfit::Broken("text"))?;
        let broken = Unfit::Broken(self.kind().scheme);
        let fits = match &self.form {
            Form::Argon2 { .. } => {
                let hash = PasswordHash::new(text).map_err(|_| broken.clone())?;
                argon2id::is_right(&hash, password, memory).ok_or(broken)?
            }
            Form::ShaCrypt { .. } => {
                let sha = sha_crypt::ShaCrypt::default();
                yes_or_no(sha.verify_password(bounded(password), text)).ok_or(broken)?
            }
            Form::Yescrypt { .. } => {
                let yescrypt = yescrypt::Yescrypt::default();
                yes_or_no(yescrypt.verify_password(bounded(password), text)).ok_or(broken)?
            }
            Form::Bcrypt { .. } => bcrypt::verify(password, text).map_err(|_| broken)?,
            Form::Md5Crypt { magic } => {
                let salt = text[magic.len()..].split('$').next().unwrap_or_default();
                let made = md5_crypt(bounded(password), magic, salt);
                same(made.as_bytes(), text.as_bytes())
            }
            Form::Digest { algorithm, stored, salt, .. } => {
                let mut context = digest::Context::new(algorithm);
                context.update(password);
                context.update(salt);
                same(context.finish().as_ref(), stored.expose())
            }
            Form::Pbkdf2 { iterations, salt, stored } => {
                pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA1, *iterations, salt, password, stored.expose()).is_ok()
            }
            Form::Scram { hash, keys } => is_scram_right(*hash, keys, password),
            Form::Clear(clear) => same(password, clear.expose()),
        };
        Ok(fits && (password.len() <= LONGEST_FOR_CRYPT || !self.form.is_of_crypt3()))
    }

    fn kind(&self) -> Kind {
        let (scheme, cost) = match &self.form {
            Form::Argon2 { scheme, cost } => (*scheme, *cost),
            Form::ShaCrypt { scheme, rounds } => (*scheme, [*rounds, 0, 0]),
            Form::Yescrypt { cost } => ("yescrypt", *cost),
            Form::Bcrypt { cost } => ("bcrypt", [*cost, 0, 0]),
            Form::Md5Crypt { .. } => ("md5-crypt", [0; 3]),
            Form::Digest { scheme, .. } => (*scheme, [0; 3]),
            Form::Pbkdf2 { iterations, .. } => ("PBKDF2", [iterations.get().into(), 0, 0]),
            Form::Scram { keys, .. } => ("SCRAM", [keys.iterations.get().into(), 0, 0]),
            Form::Clear(_) => ("clear text", [0; 3]),
        };
        Kind { scheme, cost }
    }
}

impl Unfit {
    /// What it means for somebody who wants to sign in.
    pub(super) fn denied(self, whose: &str) -> Denied {
        match self {
            Self::Locked => Denied::Refused(Why::Disabled),
            unfit => {
                Denied::Unavailable(format!("the password of {whose} cannot be used: {unfit}; set it anew"))
            }
        }
    }
}

impl Typical {
    /// The most kinds that are told apart.
    const MOST: usize = 16;

    /// Counts one more.
    pub(super) fn note(&mut self, crypt: &Crypt) {
        let kind = crypt.kind();
        match self.0.iter().position(|(known, ..)| *known == kind) {
            Some(place) => self.0[place].1 = self.0[place].1.saturating_add(1),
            None if self.0.len() < Self::MOST => self.0.push((kind, 1, crypt.of_nobody())),
            None => {}
        }
    }

    /// The commonest, with which nothing is right; `None`: nothing is known yet.
    pub(super) fn nobody(&self) -> Option<&Crypt> {
        self.0.iter().max_by_key(|(_, count, _)| *count).map(|(.., crypt)| crypt)
    }

    /// Whether all can do this kind of SCRAM.
    pub(super) fn is_all_scram(&self, hash: ScramHash) -> bool {
        !self.0.is_empty() && self.0.iter().all(|(.., crypt)| crypt.scram_keys(hash).is_some())
    }
}

impl Form {
    fn is_of_crypt3(&self) -> bool {
        matches!(self, Self::ShaCrypt { .. } | Self::Yescrypt { .. } | Self::Md5Crypt { .. })
    }
}

/// What stands behind `{SCHEME}`, and its text where that is what is compared with. Dovecot writes `.b64` or `.hex` behind a
/// scheme whose value is encoded otherwise than usual.
fn schemed(scheme: &str, value: &str, clear: ClearPasswords) -> Result<(Form, String), Unfit> {
    let upper = scheme.to_ascii_uppercase();
    let (name, coding) = match upper.rsplit_once('.') {
        Some((name, coding @ ("B64" | "BASE64" | "HEX"))) => (name, Some(coding)),
        _ => (upper.as_str(), None),
    };
    let octets = |usual: Option<&str>| match coding.or(usual) {
        None => Some(value.as_bytes().to_vec()),
        Some("HEX") => unhex(value),
        Some(_) => unbase64(value),
    };
    let text = |scheme| {
        let octets = octets(None).ok_or(Unfit::Broken(scheme))?;
        String::from_utf8(octets).map_err(|_| Unfit::Broken(scheme))
    };
    let stored = value.to_owned();
    match name {
        "CRYPT" | "ARGON2ID" | "ARGON2I" | "SHA512-CRYPT" | "SHA256-CRYPT" | "BLF-CRYPT" | "MD5-CRYPT"
        | "MD5" => {
            let text = text("CRYPT")?;
            Ok((crypt3(&text)?, text))
        }
        "PBKDF2" => Ok((dovecot_pbkdf2(&text("PBKDF2")?)?, stored)),
        "SCRAM-SHA-1" => Ok((dovecot_scram(ScramHash::Sha1, &text("SCRAM-SHA-1")?)?, stored)),
        "SCRAM-SHA-256" => Ok((dovecot_scram(ScramHash::Sha256, &text("SCRAM-SHA-256")?)?, stored)),
        "PLAIN" | "CLEARTEXT" => match clear {
            ClearPasswords::Taken => {
                let octets = octets(None).filter(|octets| !octets.is_empty());
                Ok((Form::Clear(Secret::new(octets.ok_or(Unfit::Broken("clear text"))?)), stored))
            }
            ClearPasswords::Refused => Err(Unfit::InClear),
        },
        _ => match digest_scheme(name) {
            Some((scheme, algorithm, salted)) => {
                let octets = octets(Some("B64")).ok_or(Unfit::Broken(scheme))?;
                Ok((digest_form(scheme, algorithm, salted, &octets)?, stored))
            }
            None => Err(Unfit::Unknown(nameable(scheme))),
        },
    }
}

/// A scheme's name as it can be shown: what is none may be anything, a password too.
fn nameable(scheme: &str) -> String {
    let is_name = scheme.len() <= 24
        && scheme.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-._".contains(&octet));
    if is_name { format!("{{{scheme}}}") } else { "something".to_owned() }
}

/// Whether a salt follows the digest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Salted {
    Yes,
    No,
}

fn digest_scheme(name: &str) -> Option<(&'static str, &'static digest::Algorithm, Salted)> {
    Some(match name {
        "SHA" | "SHA1" => ("SHA", &digest::SHA1_FOR_LEGACY_USE_ONLY, Salted::No),
        "SHA256" => ("SHA256", &digest::SHA256, Salted::No),
        "SHA512" => ("SHA512", &digest::SHA512, Salted::No),
        "SSHA" => ("SSHA", &digest::SHA1_FOR_LEGACY_USE_ONLY, Salted::Yes),
        "SSHA256" => ("SSHA256", &digest::SHA256, Salted::Yes),
        "SSHA512" => ("SSHA512", &digest::SHA512, Salted::Yes),
        _ => return None,
    })
}

fn digest_form(
    scheme: &'static str,
    algorithm: &'static digest::Algorithm,
    salted: Salted,
    octets: &[u8],
) -> Result<Form, Unfit> {
    let (stored, salt) = octets.split_at_checked(algorithm.output_len()).ok_or(Unfit::Broken(scheme))?;
    if salt.is_empty() == (salted == Salted::Yes) {
        return Err(Unfit::Broken(scheme));
    }
    Ok(Form::Digest { scheme, algorithm, stored: Secret::new(stored), salt: salt.to_vec() })
}

/// crypt(5), and the PHC strings of argon2.
fn crypt3(text: &str) -> Result<Form, Unfit> {
    if text.starts_with(['!', '*']) || text.is_empty() {
        return Err(Unfit::Locked);
    }
    let id = text.strip_prefix('$').and_then(|rest| rest.split_once('$')).map(|(id, _)| id);
    match id {
        Some("argon2id") => argon2("argon2id", text),
        Some("argon2i") => argon2("argon2i", text),
        Some("6") => sha("SHA512-CRYPT", text, 86),
        Some("5") => sha("SHA256-CRYPT", text, 43),
        Some("y") => yescrypt_form(text),
        Some("2a" | "2b" | "2y") => bcrypt_form(text),
        Some("1") => md5_form("$1$", text),
        Some("apr1") => md5_form("$apr1$", text),
        Some(id) => Err(Unfit::Unknown(format!("${}$", nameable(id).trim_matches(['{', '}'])))),
        None => Err(Unfit::Unknown("DES, or without a scheme before it".to_owned())),
    }
}

fn argon2(scheme: &'static str, text: &str) -> Result<Form, Unfit> {
    let broken = || Unfit::Broken(scheme);
    let hash = PasswordHash::new(text).map_err(|_| broken())?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(broken());
    }
    let params = Argon2Params::try_from(&hash).map_err(|_| broken())?;
    let cost = [params.m_cost(), params.t_cost(), params.p_cost()].map(u64::from);
    within(scheme, "KiB of memory", cost[0], MOST_MEMORY)?;
    within(scheme, "KiB in all passes", cost[0].saturating_mul(cost[1]), MOST_PASSED)?;
    within(scheme, "lanes", cost[2], MOST_LANES)?;
    Ok(Form::Argon2 { scheme, cost })
}

fn sha(scheme: &'static str, text: &str, length: usize) -> Result<Form, Unfit> {
    let broken = Unfit::Broken(scheme);
    let fields: Vec<&str> = text.split('$').skip(2).collect();
    let (rounds, salt, hash) = match fields[..] {
        [salt, hash] => (5000, salt, hash),
        [rounds, salt, hash] => {
            let rounds = rounds.strip_prefix("rounds=").and_then(|rounds| rounds.parse().ok());
            (rounds.ok_or_else(|| broken.clone())?, salt, hash)
        }
        _ => return Err(broken),
    };
    if hash.len() != length || salt.is_empty() || salt.len() > 16 {
        return Err(broken);
    }
    within(scheme, "rounds", rounds, MOST_SHA_ROUNDS)?;
    Ok(Form::ShaCrypt { scheme, rounds })
}

/// Only what crypt(3) makes: its one flavour, and nothing beyond N, r and p. Others would have to be trusted to say truly how
/// much they cost.
fn yescrypt_form(text: &str) -> Result<Form, Unfit> {
    let broken = || Unfit::Broken("yescrypt");
    let fields: Vec<&str> = text.split('$').skip(2).collect();
    let [params, salt, hash] = fields[..] else { return Err(broken()) };
    // An empty hash would be equal to an empty output.
    if hash.len() != 43 || salt.len() > 86 || params.len() > 16 {
        return Err(broken());
    }
    let written: yescrypt::Params = params.parse().map_err(|_| broken())?;
    let (n, r, p) = (written.n(), u64::from(written.r()), u64::from(written.p()));
    within("yescrypt", "KiB of memory", n.saturating_mul(r) / 8, MOST_MEMORY)?;
    within("yescrypt", "lanes", p, MOST_LANES)?;
    let usual = yescrypt::Params::new(yescrypt::Mode::default(), n, written.r(), written.p());
    if usual.map_err(|_| broken())? != written {
        return Err(Unfit::Unknown("yescrypt of an unusual flavour".to_owned()));
    }
    Ok(Form::Yescrypt { cost: [n, r, p] })
}

fn bcrypt_form(text: &str) -> Result<Form, Unfit> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| Unfit::Broken("bcrypt"))?;
    let cost = parts.get_cost();
    within("bcrypt", "as its cost", cost.into(), MOST_BCRYPT)?;
    if cost < 4 { Err(Unfit::Broken("bcrypt")) } else { Ok(Form::Bcrypt { cost: cost.into() }) }
}

fn md5_form(magic: &'static str, text: &str) -> Result<Form, Unfit> {
    let fits =
        text[magic.len()..].split_once('$').is_some_and(|(salt, hash)| salt.len() <= 8 && hash.len() == 22);
    if fits { Ok(Form::Md5Crypt { magic }) } else { Err(Unfit::Broken("md5-crypt")) }
}

/// `$1$salt$iterations$hash`, the hash in hexadecimal, of SHA-1.
fn dovecot_pbkdf2(text: &str) -> Result<Form, Unfit> {
    let broken = || Unfit::Broken("PBKDF2");
    let fields: Vec<&str> = text.split('$').collect();
    let ["", "1", salt, iterations, hash] = fields[..] else { return Err(broken()) };
    let iterations = counted("PBKDF2", iterations)?;
    let stored = unhex(hash).filter(|hash| hash.len() == digest::SHA1_OUTPUT_LEN).ok_or_else(broken)?;
    Ok(Form::Pbkdf2 { iterations, salt: salt.as_bytes().to_vec(), stored: Secret::new(stored) })
}

/// `iterations,salt,StoredKey,ServerKey`, all but the first in base64.
fn dovecot_scram(hash: ScramHash, text: &str) -> Result<Form, Unfit> {
    let broken = || Unfit::Broken("SCRAM");
    let fields: Vec<&str> = text.split(',').collect();
    let [iterations, salt, stored, server] = fields[..] else { return Err(broken()) };
    let key = |text: &str| unbase64(text).filter(|key| key.len() == scram(hash).0.output_len());
    let (stored, server) = key(stored).zip(key(server)).ok_or_else(broken)?;
    let salt = unbase64(salt).filter(|salt| !salt.is_empty()).ok_or_else(broken)?;
    let key = ScramKey { label: 0, stored: Secret::new(stored), server: Secret::new(server) };
    let keys = ScramKeys { salt, iterations: counted("SCRAM", iterations)?, keys: vec![key] };
    Ok(Form::Scram { hash, keys })
}

/// What SCRAM takes for its digests, its signatures and its iteration.
fn scram(hash: ScramHash) -> (&'static digest::Algorithm, hmac::Algorithm, pbkdf2::Algorithm) {
    match hash {
        ScramHash::Sha1 => {
            (&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pbkdf2::PBKDF2_HMAC_SHA1)
        }
        ScramHash::Sha256 => (&digest::SHA256, hmac::HMAC_SHA256, pbkdf2::PBKDF2_HMAC_SHA256),
    }
}

/// RFC 5802 §3: `StoredKey := H(HMAC(Hi(password, salt, i), "Client Key"))`.
fn is_scram_right(hash: ScramHash, kept: &ScramKeys, password: &[u8]) -> bool {
    let (digest, mac, iterate) = scram(hash);
    let mut salted = Zeroizing::new(vec![0; digest.output_len()]);
    pbkdf2::derive(iterate, kept.iterations, &kept.salt, password, &mut salted);
    let client_key = hmac::sign(&hmac::Key::new(mac, &salted), b"Client Key");
    let stored_key = digest::digest(digest, client_key.as_ref());
    kept.keys.iter().any(|key| same(stored_key.as_ref(), key.stored.expose()))
}

/// The md5-crypt of FreeBSD and, with another word before it, of Apache.
fn md5_crypt(password: &[u8], magic: &str, salt: &str) -> Zeroizing<String> {
    let once = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    let mut first = Md5::new().chain_update(password).chain_update(magic).chain_update(salt);
    for chunk in password.chunks(16) {
        first.update(&once[..chunk.len()]);
    }
    let mut rest = password.len();
    while rest > 0 {
        first.update(if rest & 1 == 1 { &[0][..] } else { &password[..1] });
        rest >>= 1;
    }
    let mut digest: [u8; 16] = first.finalize().into();
    for round in 0..1000_u32 {
        let mut next = Md5::new();
        let odd = round & 1 == 1;
        next.update(if odd { password } else { &digest[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if odd { &digest[..] } else { password });
        digest = next.finalize().into();
    }
    Zeroizing::new(format!("{magic}{salt}${}", md5_letters(&digest)))
}

/// The digest's octets in the order of md5-crypt, in the alphabet of crypt(3), six bits at a time from the lowest.
fn md5_letters(digest: &[u8; 16]) -> String {
    const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const ORDER: [[usize; 3]; 5] = [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]];
    let mut letters = String::with_capacity(22);
    let mut push = |mut bits: u32, count: usize| {
        for _ in 0..count {
            letters.push(char::from(ALPHABET[(bits & 63) as usize]));
            bits >>= 6;
        }
    };
    for [high, middle, low] in ORDER {
        push(u32::from_be_bytes([0, digest[high], digest[middle], digest[low]]), 4);
    }
    push(digest[11].into(), 2);
    letters
}

/// The part of a password that crypt(3) looks at, so that one that is too long costs no more than one that is not.
fn bounded(password: &[u8]) -> &[u8] {
    &password[..password.len().min(LONGEST_FOR_CRYPT)]
}

/// `None`: neither.
fn yes_or_no(verified: Result<(), argon2::password_hash::Error>) -> Option<bool> {
    match verified {
        Ok(()) => Some(true),
        Err(argon2::password_hash::Error::PasswordInvalid) => Some(false),
        Err(_) => None,
    }
}

fn same(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

fn within(scheme: &'static str, unit: &'static str, found: u64, most: u64) -> Result<(), Unfit> {
    if found > most { Err(Unfit::TooCostly { scheme, found, unit, most }) } else { Ok(()) }
}

fn counted(scheme: &'static str, digits: &str) -> Result<NonZeroU32, Unfit> {
    let count: u32 = digits.parse().map_err(|_| Unfit::Broken(scheme))?;
    within(scheme, "iterations", count.into(), MOST_ITERATIONS)?;
    NonZeroU32::new(count).ok_or(Unfit::Broken(scheme))
}

/// With or without the padding.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?)).collect()
}

#[cfg(test)]
mod tests;
