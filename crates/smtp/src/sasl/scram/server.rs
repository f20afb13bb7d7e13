//! SCRAM, the server's side.
//!
//! [`ScramServer::respond`] takes the client's three messages: the first asks for keys, the second proves, the third is
//! empty and only says that our own proof was heard. [`ScramServer::keys`] takes the answer to the first. Each proof is
//! tried against every key of the user, and against one that fits nothing where there is none: how long it takes does not
//! say who exists.
//!
//! A client that breaks the grammar hears so at once. One that proves nothing, or for whom the channel is another than for
//! us, is reported as a [`ScramProof`] that is not right, and can never be signed in ([`ScramServer::admits`]).
//!
//! What it deliberately does not do: say the server's error (`e=`), which would tell apart what must look alike.

use aws_lc_rs::constant_time;
use base64::Engine;

use super::arithmetic::xor;
use super::keys::{ScramHash, ScramKey, ScramKeys};
use super::{extensions, is_nonce};
use crate::sasl::channel::{Binding, ChannelBindings};
use crate::sasl::prepare::name_of;
use crate::sasl::server::Step;
use crate::sasl::{BASE64, Claim, ScramFault, ScramProof, encode};
use crate::secret::Secret;

/// Octets of the client's half of the nonce.
const MAX_CLIENT_NONCE: usize = 256;

/// An exchange under way.
#[derive(Debug)]
pub(in crate::sasl) struct ScramServer {
    hash: ScramHash,
    stage: Stage,
}

/// What is known of the channel on our side, and of what the client could have chosen.
#[derive(Debug)]
pub(in crate::sasl) enum Channel {
    /// The mechanism is a -PLUS one: the client must name the channel by one of these.
    Named(ChannelBindings),
    /// It is not, and a -PLUS one was not offered.
    Unnamed,
    /// It is not, and a -PLUS one was offered besides: who says that he missed that was lied to.
    NotChosen,
}

#[derive(Debug)]
enum Stage {
    /// Waiting for the client's first message.
    First { nonce: String, channel: Channel },
    /// Waiting for the keys.
    Keys(Begun),
    /// Waiting for the proof.
    Proof { begun: Begun, server_first: String, keys: ScramKeys },
    /// Our own proof was said; waiting for the empty line behind it.
    Heard { who: Who, label: u64 },
    /// The proof was right.
    Proved,
    /// Nothing more is taken, and nobody is signed in.
    Over,
}

/// The client's first message was good.
#[derive(Debug)]
struct Begun {
    who: Who,
    /// The whole nonce.
    nonce: String,
    /// `client-first-message-bare`.
    bare: String,
    /// What `c=` must repeat: the GS2 header and the channel's name.
    channel: Secret,
}

#[derive(Debug, Clone)]
struct Who {
    user: String,
    acting_as: Option<String>,
}

/// `client-first-message` in its parts.
struct ClientFirst<'a> {
    flag: &'a str,
    /// The GS2 header with its commas.
    header: &'a str,
    bare: &'a str,
    who: Who,
    nonce: &'a str,
}

/// `client-final-message` in its parts.
struct ClientFinal<'a> {
    channel: Vec<u8>,
    nonce: &'a str,
    without_proof: &'a str,
    proof: Secret,
}

impl ScramServer {
    /// Begins an exchange with our half of the nonce, which must never have been used: printable, without commas.
    pub(in crate::sasl) fn new(hash: ScramHash, nonce: String, channel: Channel) -> Self {
        Self { hash, stage: Stage::First { nonce, channel } }
    }

    /// Takes a message of the client's.
    pub(in crate::sasl) fn respond(&mut self, message: &[u8]) -> Step {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let Ok(message) = std::str::from_utf8(message) else { return Step::Malformed };
        match stage {
            Stage::First { nonce, channel } => self.first(message, &nonce, &channel),
            Stage::Proof { begun, server_first, keys } => self.last(message, begun, &server_first, &keys),
            Stage::Heard { who, label } if message.is_empty() => {
                self.stage = Stage::Proved;
                who.claims(ScramProof::Right { label })
            }
            _ => Step::Malformed,
        }
    }

    /// Takes what is kept of the user's passwords; `None`: nobody has asked.
    pub(in crate::sasl) fn keys(&mut self, keys: ScramKeys) -> Option<Step> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Keys(begun) => {
                let salt = BASE64.encode(&keys.salt);
                let server_first = format!("r={},s={salt},i={}", begun.nonce, keys.iterations);
                let challenge = encode(server_first.as_bytes());
                self.stage = Stage::Proof { begun, server_first, keys };
                Some(Step::Challenge(challenge))
            }
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// Whether the client may be signed in: it has proved that it knows the password.
    pub(in crate::sasl) fn admits(&self) -> bool {
        matches!(self.stage, Stage::Proved)
    }

    fn first(&mut self, message: &str, ours: &str, channel: &Channel) -> Step {
        let Some(first) = ClientFirst::parse(message) else { return Step::Malformed };
        let name = match channel.name_for(first.flag) {
            Ok(name) => name,
            Err(fault) => return first.who.claims(ScramProof::Void(fault)),
        };
        let keys = Claim::Keys { hash: self.hash, user: first.who.user.clone() };
        self.stage = Stage::Keys(Begun {
            nonce: format!("{}{ours}", first.nonce),
            bare: first.bare.to_owned(),
            channel: Secret::new([first.header.as_bytes(), name].concat()),
            who: first.who,
        });
        Step::Ask(keys)
    }

    fn last(&mut self, message: &str, begun: Begun, server_first: &str, keys: &ScramKeys) -> Step {
        let Some(last) = ClientFinal::parse(message, self.hash) else { return Step::Malformed };
        if !same(last.nonce.as_bytes(), begun.nonce.as_bytes()) {
            return begun.who.claims(ScramProof::Void(ScramFault::Nonce));
        }
        if !same(&last.channel, begun.channel.expose()) {
            return begun.who.claims(ScramProof::Void(ScramFault::OtherChannel));
        }
        let auth_message = format!("{},{server_first},{}", begun.bare, last.without_proof);
        let Some(key) = self.fitting(keys, &last.proof, auth_message.as_bytes()) else {
            return begun.who.claims(ScramProof::Wrong);
        };
        let signature = self.hash.mac(&key.server, auth_message.as_bytes());
        self.stage = Stage::Heard { who: begun.who, label: key.label };
        Step::Challenge(encode(format!("v={}", BASE64.encode(signature.expose())).as_bytes()))
    }

    /// The key that the proof is right for. All are tried, whichever it is.
    fn fitting<'k>(&self, keys: &'k ScramKeys, proof: &Secret, auth_message: &[u8]) -> Option<&'k ScramKey> {
        let mut fitting = None;
        for key in &keys.keys {
            if self.is_right(&key.stored, proof, auth_message) {
                fitting = Some(key);
            }
        }
        if keys.keys.is_empty() {
            // The same work, for its time alone.
            self.is_right(&Secret::new(vec![0; self.hash.length()]), proof, auth_message);
        }
        fitting
    }

    /// RFC 5802 §3: the hash of the client's key, which is the proof without our signature, is what we keep.
    fn is_right(&self, stored: &Secret, proof: &Secret, auth_message: &[u8]) -> bool {
        let client_key = xor(proof, &self.hash.mac(stored, auth_message));
        same(self.hash.digest(&client_key).expose(), stored.expose())
    }
}

impl Channel {
    /// What the channel's name must be where the client says this of it (RFC 5802 §6).
    fn name_for(&self, flag: &str) -> Result<&[u8], ScramFault> {
        match (self, flag.strip_prefix("p=")) {
            (Self::Named(bindings), Some(name)) => {
                bindings.named(name).map(Binding::octets).ok_or(ScramFault::UnknownChannel)
            }
            (Self::Named(_), None) | (Self::Unnamed | Self::NotChosen, Some(_)) => Err(ScramFault::Mismatch),
            (Self::NotChosen, None) if flag == "y" => Err(ScramFault::Downgraded),
            (Self::Unnamed | Self::NotChosen, None) => Ok(&[]),
        }
    }
}

impl Who {
    fn claims(self, proof: ScramProof) -> Step {
        Step::Ask(Claim::Scram { user: self.user, acting_as: self.acting_as, proof })
    }
}

impl<'a> ClientFirst<'a> {
    /// `gs2-cbind-flag "," [authzid] "," [reserved-mext ","] username "," nonce ["," extensions]` (RFC 5802 §7).
    fn parse(message: &'a str) -> Option<Self> {
        let (flag, rest) = message.split_once(',')?;
        let (acting_as, bare) = rest.split_once(',')?;
        let header = message.strip_suffix(bare)?;
        let mut fields = bare.split(',');
        let user = name_of(fields.next()?.strip_prefix("n=")?)?;
        let nonce = fields.next()?.strip_prefix("r=")?;
        extensions(fields).ok()?;
        let acting_as = match acting_as {
            "" => None,
            named => Some(name_of(named.strip_prefix("a=")?)?),
        };
        let sound = is_flag(flag) && is_nonce(nonce) && nonce.len() <= MAX_CLIENT_NONCE;
        let who = Who { acting_as: acting_as.filter(|other| *other != user), user };
        sound.then_some(Self { flag, header, bare, who, nonce })
    }
}

impl<'a> ClientFinal<'a> {
    /// `channel-binding "," nonce ["," extensions] "," proof` (RFC 5802 §7).
    fn parse(message: &'a str, hash: ScramHash) -> Option<Self> {
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let mut fields = without_proof.split(',');
        let channel = BASE64.decode(fields.next()?.strip_prefix("c=")?).ok()?;
        let nonce = fields.next()?.strip_prefix("r=")?;
        extensions(fields).ok()?;
        let proof = Secret::new(BASE64.decode(proof).ok()?);
        let sound = is_nonce(nonce) && proof.expose().len() == hash.length();
        sound.then_some(Self { channel, nonce, without_proof, proof })
    }
}

/// `"p=" cb-name / "n" / "y"`.
fn is_flag(flag: &str) -> bool {
    let is_cb_name = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-');
    match flag.strip_prefix("p=") {
        Some(name) => !name.is_empty() && name.bytes().all(is_cb_name),
        None => matches!(flag, "n" | "y"),
    }
}

fn same(one: &[u8], other: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(one, other).is_ok()
}

#[cfg(test)]
mod tests;
