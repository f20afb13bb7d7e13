//! SCRAM, the client's side.
//!
//! [`begin`] gives a [`Scram`] and the first message; [`Scram::respond`] takes the server's two messages. The password
//! never goes over the wire. The server has to prove that it knows it (or what it keeps of it) before
//! [`Scram::is_proved`] says so, and a server that only says yes has proved nothing.
//!
//! The number of iterations is the server's choice and our work: two hundred thousand take a processor some hundredths of a
//! second. What is asked outside of 4096 to 200,000 is refused.
//!
//! What it deliberately does not do: keep the salted password for the next time.

use std::num::NonZeroU32;

use aws_lc_rs::constant_time;
use base64::Engine;
use zeroize::Zeroizing;

use super::arithmetic::{Derived, salted, xor};
use super::keys::ScramHash;
use super::{BadFields, MAX_NONCE, extensions};
use crate::sasl::client::{Broken, Unable, words};
use crate::sasl::prepare::{prepared, sasl_name};
use crate::sasl::{BASE64, Binding, encode};
use crate::secret::Secret;

/// RFC 7677 §4 wants at least 4096; the rest is a bound on what a server can make us compute.
const ITERATIONS: std::ops::RangeInclusive<u32> = 4_096..=200_000;
/// Octets of the salt.
const MAX_SALT: usize = 512;

/// An exchange under way.
#[derive(Debug)]
pub(in crate::sasl) struct Scram {
    step: Step,
    complaint: Option<String>,
}

/// What is known of the channel, and what of it is used (the flag of the GS2 header, RFC 5802 §6).
#[derive(Debug, Clone, Copy)]
pub(in crate::sasl) enum Channel<'a> {
    /// `n`: we cannot name it, or do not care to.
    Unnamed,
    /// `y`: we could name it, and the server does not offer to hear it. A server that did knows from this that somebody
    /// changed its offer.
    NotAsked,
    /// `p`: it is named.
    Bound(&'a Binding),
}

/// What the client's first message is made of.
pub(in crate::sasl) struct Identity<'a> {
    pub(in crate::sasl) user: &'a str,
    pub(in crate::sasl) password: &'a Secret,
    pub(in crate::sasl) acting_as: Option<&'a str>,
    /// Ours: printable, without commas.
    pub(in crate::sasl) nonce: String,
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
    hash: ScramHash,
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
pub(in crate::sasl) fn begin(
    hash: ScramHash,
    identity: Identity<'_>,
    channel: Channel<'_>,
) -> Result<(Scram, Secret), Unable> {
    let unsayable = || Unable::Unsayable("SCRAM takes no control characters, and passwords in UTF-8 only");
    let password = identity.password.expose_str().and_then(prepared).ok_or_else(unsayable)?;
    let user = sasl_name(identity.user).ok_or_else(unsayable)?;
    let acting_as = match identity.acting_as {
        Some(other) => format!("a={}", sasl_name(other).ok_or_else(unsayable)?),
        None => String::new(),
    };
    let (flag, name) = match channel {
        Channel::Unnamed => ("n".to_owned(), [].as_slice()),
        Channel::NotAsked => ("y".to_owned(), [].as_slice()),
        Channel::Bound(binding) => (format!("p={}", binding.name()), binding.octets()),
    };
    let header = format!("{flag},{acting_as},");
    let bare = format!("n={user},r={}", identity.nonce);
    let message = Secret::new(format!("{header}{bare}"));
    let first = First {
        hash,
        password: Secret::new(password.as_bytes()),
        nonce: identity.nonce,
        bare,
        channel: Secret::new([header.as_bytes(), name].concat()),
    };
    Ok((Scram { step: Step::First(first), complaint: None }, message))
}

impl Scram {
    /// What to answer, in base64.
    pub(in crate::sasl) fn respond(&mut self, message: &[u8]) -> Result<Secret, Broken> {
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
    pub(in crate::sasl) fn is_proved(&self) -> bool {
        matches!(self.step, Step::Proved)
    }

    /// The server's own words for its refusal.
    pub(in crate::sasl) fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }
}

impl First {
    /// `client-final-message` in base64, and the signature that the server must give (RFC 5802 §3).
    fn answer(&self, message: &str) -> Result<(Secret, Secret), Broken> {
        let server = ServerFirst::parse(message, &self.nonce)?;
        let without_proof = format!("c={},r={}", BASE64.encode(self.channel.expose()), server.nonce);
        let auth_message = format!("{},{message},{without_proof}", self.bare);
        let salted = salted(self.hash, self.password.expose(), &server.salt, server.iterations);
        let keys = Derived::of(self.hash, &salted);
        let proof = xor(&keys.client, &self.hash.mac(&keys.stored, auth_message.as_bytes()));
        let signature = self.hash.mac(&keys.server, auth_message.as_bytes());
        let answer = Zeroizing::new(format!("{without_proof},p={}", BASE64.encode(proof.expose())));
        Ok((encode(answer.as_bytes()), signature))
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

impl From<BadFields> for Broken {
    fn from(bad: BadFields) -> Self {
        match bad {
            BadFields::Mandatory => Self::Extension,
            BadFields::Malformed(why) => Self::Malformed(why),
        }
    }
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
        let (scram, first) = begin(ScramHash::Sha256, identity, channel).expect("the example");
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

    #[test]
    fn the_example_of_rfc_5802() {
        let password = Secret::new("pencil");
        let nonce = "fyko+d2lbbFgONRv9qkxdawL".to_owned();
        let identity = Identity { user: "user", password: &password, acting_as: None, nonce };
        let (mut scram, first) = begin(ScramHash::Sha1, identity, Channel::Unnamed).unwrap();
        assert_eq!(shown(&first), "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
        let server_first = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";
        assert_eq!(
            answered(&mut scram, server_first).unwrap(),
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
        );
        scram.respond(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=").unwrap();
        assert!(scram.is_proved());
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
        let zero = format!("v={}", BASE64.encode([0; 32]));
        let short = format!("v={}", BASE64.encode([0; 31]));
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
            assert!(
                matches!(begin(ScramHash::Sha256, identity, Channel::Unnamed), Err(Unable::Unsayable(_))),
                "{user:?}"
            );
        }
        let password = Secret::new([0xff]);
        let identity = Identity { user: "u", password: &password, acting_as: None, nonce: NONCE.to_owned() };
        assert!(begin(ScramHash::Sha256, identity, Channel::Unnamed).is_err());
    }
}
