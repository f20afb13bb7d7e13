//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the client's side (RFC 5802, RFC 7677, RFC 9266).
//!
//! [`begin`] gives a [`Scram`] and the first message; [`Scram::respond`] takes the server's two messages. The password
//! never goes over the wire. The server has to prove that it knows it (or what it keeps of it) before
//! [`Scram::is_proved`] says so, and a server that only says yes has proved nothing.
//!
//! The number of iterations is the server's choice and our work: two hundred thousand take a processor some hundredths of a
//! second. What is asked outside of 4096 to 200,000 is refused.
//!
//! What it deliberately does not do: SCRAM-SHA-1, other channel bindings than `tls-exporter`, and keep the salted
//! password for the next time.

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest, hmac, pbkdf2};
use base64::Engine;
use zeroize::Zeroizing;

use super::client::{Broken, Unable, words};
use super::prepare::{prepared, sasl_name};
use super::{BASE64, Binding, encode};
use crate::secret::Secret;

/// RFC 7677 §4 wants at least 4096; the rest is a bound on what a server can make us compute.
const ITERATIONS: std::ops::RangeInclusive<u32> = 4_096..=200_000;
/// Octets of the whole nonce.
const MAX_NONCE: usize = 512;
/// Octets of the salt.
const MAX_SALT: usize = 512;
const HASH: usize = digest::SHA256_OUTPUT_LEN;

type Hash = Zeroizing<[u8; HASH]>;

/// An exchange under way.
#[derive(Debug)]
pub(super) struct Scram {
    step: Step,
    complaint: Option<String>,
}

/// What is known of the channel, and what of it is used (the flag of the GS2 header, RFC 5802 §6).
#[derive(Debug, Clone, Copy)]
pub(super) enum Channel<'a> {
    /// `n`: we cannot name it, or do not care to.
    Unnamed,
    /// `y`: we could name it, and the server does not offer to hear it. A server that did knows from this that somebody
    /// changed its offer.
    NotAsked,
    /// `p`: it is named.
    Bound(&'a Binding),
}

/// What the client's first message is made of.
pub(super) struct Identity<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a Secret,
    pub(super) acting_as: Option<&'a str>,
    /// Ours: printable, without commas.
    pub(super) nonce: String,
}

#[derive(Debug)]
enum Step {
    First(First),
    /// Our proof was given; the server's signature must be this.
    Final(Secret, Secret),
    Proved,
    /// Nothing more is to be said.
    Over,
}

/// Our first message was said.
#[derive(Debug)]
struct First {
    password: Secret,
    nonce: String,
    /// `client-first-message-bare`.
    bare: String,
    /// The GS2 header and the channel's name: what `c=` repeats.
    channel: Secret,
}

/// The server's first message.
struct ServerFirst<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

/// The first message, not yet in base64.
///
/// # Errors
/// Our own: the name or the password cannot be said in SCRAM.
pub(super) fn begin(identity: Identity<'_>, channel: Channel<'_>) -> Result<(Scram, Secret), Unable> {
    let unsayable = || Unable::Unsayable("SCRAM takes no control characters, and passwords in UTF-8 only");
    let password = identity.password.expose_str().and_then(prepared).ok_or_else(unsayable)?;
    let user = sasl_name(identity.user).ok_or_else(unsayable)?;
    let acting_as = match identity.acting_as {
        Some(other) => format!("a={}", sasl_name(other).ok_or_else(unsayable)?),
        None => String::new(),
    };
    let (flag, name) = match channel {
        Channel::Unnamed => ("n", [].as_slice()),
        Channel::NotAsked => ("y", [].as_slice()),
        Channel::Bound(binding) => ("p=tls-exporter", binding.octets()),
    };
    let header = format!("{flag},{acting_as},");
    let bare = format!("n={user},r={}", identity.nonce);
    let message = Secret::new(format!("{header}{bare}"));
    let first = First {
        password: Secret::new(password.as_bytes()),
        nonce: identity.nonce,
        bare,
        channel: Secret::new([header.as_bytes(), name].concat()),
    };
    Ok((Scram { step: Step::First(first), complaint: None }, message))
}

impl Scram {
    /// What to answer, in base64.
    pub(super) fn respond(&mut self, message: &[u8]) -> Result<Secret, Broken> {
        let step = std::mem::replace(&mut self.step, Step::Over);
        let message = std::str::from_utf8(message).map_err(|_| Broken::Malformed("it is not UTF-8"))?;
        match step {
            Step::First(First { password, .. }) | Step::Final(_, password) if message.starts_with("e=") => {
                // RFC 5802 §7, server-error: the reply that follows decides.
                self.complaint = Some(words(message, &password));
                Ok(Secret::new(""))
            }
            Step::First(first) => {
                let (answer, signature) = first.answer(message)?;
                self.step = Step::Final(signature, first.password);
                Ok(answer)
            }
            Step::Final(signature, _) => {
                verify(message, &signature)?;
                self.step = Step::Proved;
                Ok(Secret::new(""))
            }
            Step::Proved | Step::Over => Err(Broken::TooMuch),
        }
    }

    /// The server has proved that it knows the password.
    pub(super) fn is_proved(&self) -> bool {
        matches!(self.step, Step::Proved)
    }

    /// The server's own words for its refusal.
    pub(super) fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }
}

impl First {
    /// `client-final-message` in base64, and the signature that the server must give (RFC 5802 §3).
    fn answer(&self, message: &str) -> Result<(Secret, Secret), Broken> {
        let server = ServerFirst::parse(message, &self.nonce)?;
        let without_proof = format!("c={},r={}", BASE64.encode(self.channel.expose()), server.nonce);
        let auth_message = format!("{},{message},{without_proof}", self.bare);
        let salted = salted(&self.password, &server);
        let client_key = mac(salted.as_slice(), b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_slice());
        let client_signature = mac(stored_key.as_ref(), auth_message.as_bytes());
        let proof = xor(&client_key, &client_signature);
        let server_key = mac(salted.as_slice(), b"Server Key");
        let server_signature = mac(server_key.as_slice(), auth_message.as_bytes());
        let answer = Zeroizing::new(format!("{without_proof},p={}", BASE64.encode(proof.as_slice())));
        Ok((encode(answer.as_bytes()), Secret::new(server_signature.as_slice())))
    }
}

impl<'a> ServerFirst<'a> {
    /// `[reserved-mext ","] nonce "," salt "," iteration-count ["," extensions]` (RFC 5802 §7).
    fn parse(message: &'a str, ours: &str) -> Result<Self, Broken> {
        if message.starts_with("m=") {
            return Err(Broken::Extension);
        }
        let mut fields = message.split(',');
        let mut field = |name| fields.next().and_then(|field| field.strip_prefix(name));
        let nonce = field("r=").ok_or(Broken::Malformed("it has no nonce"))?;
        let salt = field("s=").ok_or(Broken::Malformed("it has no salt"))?;
        let iterations = field("i=").ok_or(Broken::Malformed("it has no iteration count"))?;
        extensions(fields)?;
        Ok(Self {
            nonce: extended(nonce, ours)?,
            salt: decoded_salt(salt)?,
            iterations: bounded_count(iterations)?,
        })
    }
}

/// The whole nonce, which must be ours with something of the server's behind it (RFC 5802 §5.1).
fn extended<'a>(nonce: &'a str, ours: &str) -> Result<&'a str, Broken> {
    let theirs = nonce.strip_prefix(ours).ok_or(Broken::Nonce)?;
    let printable = nonce.len() <= MAX_NONCE && theirs.bytes().all(|octet| octet.is_ascii_graphic());
    if theirs.is_empty() || !printable { Err(Broken::Nonce) } else { Ok(nonce) }
}

fn decoded_salt(salt: &str) -> Result<Vec<u8>, Broken> {
    let salt = BASE64.decode(salt).map_err(|_| Broken::Malformed("its salt is not base64"))?;
    if (1..=MAX_SALT).contains(&salt.len()) {
        return Ok(salt);
    }
    Err(Broken::Malformed("its salt is empty or longer than 512 octets"))
}

/// `posit-number`: digits of which the first is not zero.
fn bounded_count(digits: &str) -> Result<NonZeroU32, Broken> {
    if digits.starts_with('0') || !digits.bytes().all(|octet| octet.is_ascii_digit()) || digits.is_empty() {
        return Err(Broken::Malformed("its iteration count is no number"));
    }
    let count = digits.parse().ok().filter(|count| ITERATIONS.contains(count));
    count.and_then(NonZeroU32::new).ok_or(Broken::Iterations)
}

/// Optional extensions: known to nobody so far, and skipped (RFC 5802 §5.1). The letters that have a meaning are none.
fn extensions<'a>(fields: impl Iterator<Item = &'a str>) -> Result<(), Broken> {
    for field in fields {
        match field.as_bytes() {
            [b'm', b'=', ..] => return Err(Broken::Extension),
            [b'a' | b'c' | b'e' | b'i' | b'n' | b'p' | b'r' | b's' | b'v', ..] => {
                return Err(Broken::Malformed("a field stands where it may not"));
            }
            [letter, b'=', _, ..] if letter.is_ascii_alphabetic() && !field.contains('\0') => {}
            _ => return Err(Broken::Malformed("what stands behind its fields is no extension")),
        }
    }
    Ok(())
}

/// `verifier ["," extensions]`: the server's signature, compared in constant time.
fn verify(message: &str, expected: &Secret) -> Result<(), Broken> {
    let mut fields = message.split(',');
    let verifier = fields.next().and_then(|field| field.strip_prefix("v="));
    let verifier = verifier.ok_or(Broken::Malformed("it has no signature"))?;
    extensions(fields)?;
    let given = BASE64.decode(verifier).map_err(|_| Broken::Malformed("its signature is not base64"))?;
    constant_time::verify_slices_are_equal(&given, expected.expose()).map_err(|_| Broken::Signature)
}

/// `Hi(password, salt, i)`: PBKDF2 with HMAC-SHA-256 (RFC 5802 §2.2).
fn salted(password: &Secret, server: &ServerFirst<'_>) -> Hash {
    let mut out = Hash::default();
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(algorithm, server.iterations, &server.salt, password.expose(), out.as_mut_slice());
    out
}

fn mac(key: &[u8], data: &[u8]) -> Hash {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data);
    let mut out = Hash::default();
    out.copy_from_slice(tag.as_ref());
    out
}

fn xor(one: &Hash, other: &Hash) -> Hash {
    let mut out = one.clone();
    out.iter_mut().zip(other.iter()).for_each(|(octet, with)| *octet ^= with);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677 §3.
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    fn begun(channel: Channel<'_>) -> (Scram, String) {
        let password = Secret::new("pencil");
        let identity =
            Identity { user: "user", password: &password, acting_as: None, nonce: NONCE.to_owned() };
        let (scram, first) = begin(identity, channel).expect("the example");
        (scram, shown(&first))
    }

    fn shown(message: &Secret) -> String {
        message.expose_str().expect("UTF-8").to_owned()
    }

    /// Our final message, out of its base64.
    fn answered(scram: &mut Scram, server_first: &str) -> Result<String, Broken> {
        let answer = scram.respond(server_first.as_bytes())?;
        Ok(String::from_utf8(BASE64.decode(answer.expose()).expect("base64")).expect("UTF-8"))
    }

    /// What comes of this message of the server's in the place of its first.
    fn at_first(message: &str) -> Broken {
        let (mut scram, _) = begun(Channel::Unnamed);
        let broken = scram.respond(message.as_bytes()).expect_err(message);
        assert!(!scram.is_proved());
        assert_eq!(scram.respond(SERVER_FIRST.as_bytes()), Err(Broken::TooMuch), "no second chance");
        broken
    }

    /// What comes of this message of the server's in the place of its second.
    fn at_final(message: &str) -> Broken {
        let (mut scram, _) = begun(Channel::Unnamed);
        scram.respond(SERVER_FIRST.as_bytes()).expect("the example");
        let broken = scram.respond(message.as_bytes()).expect_err(message);
        assert!(!scram.is_proved());
        assert_eq!(scram.respond(SERVER_FINAL.as_bytes()), Err(Broken::TooMuch), "no second chance");
        broken
    }

    #[test]
    fn the_example_of_rfc_7677() {
        let (mut scram, first) = begun(Channel::Unnamed);
        assert_eq!(first, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        assert_eq!(
            answered(&mut scram, SERVER_FIRST).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(!scram.is_proved());
        assert_eq!(scram.respond(SERVER_FINAL.as_bytes()), Ok(Secret::new("")));
        assert!(scram.is_proved());
        assert_eq!(scram.respond(b""), Err(Broken::TooMuch));
    }

    /// Worked out with another implementation of HMAC and PBKDF2, which gives the example of RFC 7677 too.
    #[test]
    fn the_channel_is_named_and_goes_into_the_proof() {
        let exported = std::array::from_fn(|index| u8::try_from(index).unwrap());
        let (mut scram, first) = begun(Channel::Bound(&Binding::tls_exporter(exported)));
        assert_eq!(first, "p=tls-exporter,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        assert_eq!(
            answered(&mut scram, SERVER_FIRST).unwrap(),
            "c=cD10bHMtZXhwb3J0ZXIsLAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f,\
             r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=QC6CS20quADQRb3mT99YUH+n3VJxUvzuK0K0E1Vrs2M="
        );
        scram.respond(b"v=2GiAgapEppLVlUXbxUDksL3VgYHzuqiK5tR4mhJGgvs=").unwrap();
        assert!(scram.is_proved());
    }

    #[test]
    fn a_channel_that_nobody_asked_for_is_mentioned() {
        let (mut scram, first) = begun(Channel::NotAsked);
        assert_eq!(first, "y,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let answer = answered(&mut scram, SERVER_FIRST).unwrap();
        assert!(
            answer.starts_with("c=eSws,")
                && answer.ends_with(",p=FoqiHTtQEDE8lz1CdaEe3tK4mS+iMDTl77SPyDS53DY=")
        );
        scram.respond(b"v=dI4KpiQJwBr1+V+K6U1dA6l6I4I9DUNXWND4pcpRU3U=").unwrap();
    }

    #[test]
    fn the_nonce_must_go_with_ours() {
        let with = |nonce: &str| at_first(&format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"));
        for nonce in ["", "x", NONCE, "rOprNGfwEbeRWgbNEkqo+server", "XrOprNGfwEbeRWgbNEkqO"] {
            assert_eq!(with(nonce), Broken::Nonce, "{nonce}");
        }
        for theirs in [" ", "a b", "\u{7f}", "\0", "\u{fc}", &"x".repeat(MAX_NONCE)] {
            assert_eq!(with(&format!("{NONCE}{theirs}")), Broken::Nonce, "{theirs:?}");
        }
    }

    #[test]
    fn the_iteration_count_is_bounded_at_both_ends() {
        let with = |count: &str| format!("r={NONCE}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i={count}");
        for count in ["1", "4095", "200001", "1000000000", "4294967296", "99999999999999999999999"] {
            assert_eq!(at_first(&with(count)), Broken::Iterations, "{count}");
        }
        for count in ["", "0", "04096", "+4096", "-4096", "4096 ", " 4096", "4e3", "0x1000", "\u{664}\u{660}"]
        {
            assert!(matches!(at_first(&with(count)), Broken::Malformed(_)), "{count:?}");
        }
        let (mut scram, _) = begun(Channel::Unnamed);
        assert!(scram.respond(with("4097").as_bytes()).is_ok());
    }

    #[test]
    fn the_salt_is_strict_base64_of_bounded_length() {
        let with = |salt: &str| at_first(&format!("r={NONCE}x,s={salt},i=4096"));
        let long = BASE64.encode([0; MAX_SALT + 1]);
        for salt in
            ["", "W22ZaJ0SNY7soEsUEjb6gQ=", "W22ZaJ0SNY7soEsUEjb6gR==", "W22Z aJ0", "W22Z-_0=", "=", &long]
        {
            assert!(matches!(with(salt), Broken::Malformed(_)), "{salt:?}");
        }
    }

    #[test]
    fn the_fields_come_in_order_each_once_and_complete() {
        let salt = "s=W22ZaJ0SNY7soEsUEjb6gQ==";
        for message in [
            String::new(),
            ",".to_owned(),
            format!("{salt},r={NONCE}x,i=4096"),
            format!("r={NONCE}x,i=4096,{salt}"),
            format!("r={NONCE}x,{salt}"),
            format!("R={NONCE}x,{salt},i=4096"),
            format!("r={NONCE}x,{salt},i=4096,"),
            format!("r={NONCE}x,{salt},i=4096,i=4097"),
            format!("r={NONCE}x,{salt},i=4096,v=AAAA"),
            format!("r={NONCE}x,{salt},i=4096,x"),
            format!("r={NONCE}x,{salt},i=4096,x="),
            format!("r={NONCE}x,{salt},i=4096,1=x"),
            format!("r={NONCE}x,{salt},i=4096,xy=z"),
            format!("r={NONCE}x,{salt},i=4096,x=\0"),
        ] {
            assert!(matches!(at_first(&message), Broken::Malformed(_)), "{message:?}");
        }
    }

    #[test]
    fn what_is_not_utf_8_is_refused() {
        let (mut scram, _) = begun(Channel::Unnamed);
        assert!(matches!(scram.respond(b"r=\xff"), Err(Broken::Malformed(_))));
    }

    #[test]
    fn optional_extensions_are_skipped_and_signed_and_mandatory_ones_end_it() {
        let (mut scram, _) = begun(Channel::Unnamed);
        let first = format!("{SERVER_FIRST},x=y=z,q=1");
        scram.respond(first.as_bytes()).unwrap();
        assert_eq!(scram.respond(SERVER_FINAL.as_bytes()), Err(Broken::Signature));
        assert_eq!(at_first(&format!("m=new,{SERVER_FIRST}")), Broken::Extension);
        assert_eq!(at_first(&format!("{SERVER_FIRST},m=new")), Broken::Extension);
        assert_eq!(at_final(&format!("{SERVER_FINAL},m=new")), Broken::Extension);
        let (mut scram, _) = begun(Channel::Unnamed);
        scram.respond(SERVER_FIRST.as_bytes()).unwrap();
        scram.respond(format!("{SERVER_FINAL},x=y").as_bytes()).unwrap();
        assert!(scram.is_proved());
    }

    #[test]
    fn no_other_signature_than_the_right_one_proves_anything() {
        let zero = format!("v={}", BASE64.encode([0; HASH]));
        let short = format!("v={}", BASE64.encode([0; HASH - 1]));
        let changed = SERVER_FINAL.replace("6rri", "7rri");
        let of_the_channel = "v=2GiAgapEppLVlUXbxUDksL3VgYHzuqiK5tR4mhJGgvs=";
        for message in [zero.as_str(), &short, &changed, of_the_channel, "v="] {
            assert_eq!(at_final(message), Broken::Signature, "{message}");
        }
        for message in ["", "v", "V=", "v=6rri=", &SERVER_FINAL[..SERVER_FINAL.len() - 1], SERVER_FIRST] {
            assert!(matches!(at_final(message), Broken::Malformed(_)), "{message}");
        }
        assert!(matches!(at_final(&format!("{SERVER_FINAL},v=AAAA")), Broken::Malformed(_)));
    }

    #[test]
    fn an_error_is_kept_for_people_and_answered_with_nothing() {
        for early in [true, false] {
            let (mut scram, _) = begun(Channel::Unnamed);
            if !early {
                scram.respond(SERVER_FIRST.as_bytes()).unwrap();
            }
            assert_eq!(scram.respond(b"e=unknown-\x1b[31muser"), Ok(Secret::new("")));
            assert_eq!(scram.complaint(), Some("e=unknown-?[31muser"));
            assert!(!scram.is_proved());
            assert_eq!(scram.respond(SERVER_FINAL.as_bytes()), Err(Broken::TooMuch));
        }
    }

    #[test]
    fn an_error_that_repeats_the_password_is_not_kept() {
        let (mut scram, _) = begun(Channel::Unnamed);
        scram.respond(b"e=pencil").unwrap();
        assert!(!scram.complaint().unwrap().contains("pencil"));
    }

    #[test]
    fn debug_output_shows_neither_password_nor_signature() {
        let (mut scram, _) = begun(Channel::Unnamed);
        assert!(!format!("{scram:?}").contains("pencil"));
        scram.respond(SERVER_FIRST.as_bytes()).unwrap();
        assert!(format!("{scram:?}").contains("redacted"));
    }

    #[test]
    fn a_name_or_password_that_scram_cannot_carry_is_our_own_trouble() {
        for (user, password) in [("", "x"), ("u", ""), ("u\0", "x"), ("u", "x\r"), ("\u{ad}", "x")] {
            let password = Secret::new(password);
            let identity = Identity { user, password: &password, acting_as: None, nonce: NONCE.to_owned() };
            assert!(matches!(begin(identity, Channel::Unnamed), Err(Unable::Unsayable(_))), "{user:?}");
        }
        let password = Secret::new([0xff]);
        let identity = Identity { user: "u", password: &password, acting_as: None, nonce: NONCE.to_owned() };
        assert!(begin(identity, Channel::Unnamed).is_err());
    }
}
