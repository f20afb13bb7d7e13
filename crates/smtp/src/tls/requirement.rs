//! The lattice of TLS requirements: what must be true of a connection, and how two demands come to one.
//!
//! The types to know: [`TlsRequirement`], a [`Level`] of encryption together with the [`Proofs`] that the peer must give; and
//! [`Proof`], one of those. Its order is partial: there is no number that says which of two is stronger, only
//! [`join`](TlsRequirement::join) and [`implies`](TlsRequirement::implies). That a join never weakens anything is a property test
//! here, and the reason why demands may be added in any order.
//!
//! What it deliberately does not do: know who demands something (`demands` does), or look at certificates: whether a
//! proof was given stands in [`TlsFacts`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::TlsFacts;

/// What must be true of a connection before MAIL or AUTH is said on it.
///
/// It is a level of encryption together with the proofs that the peer must give. Both parts are joined on their own
/// (the higher level, all of the proofs), which makes [`join`](Self::join) commutative, associative and idempotent, and
/// every join at least as strong as each of its parts. The order of strength is partial: `dane` and `verified` are
/// different demands, and neither replaces the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TlsRequirement {
    level: Level,
    proofs: Proofs,
}

/// How far a connection must be protected, apart from particular proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// TLS is not even tried.
    #[default]
    None,
    /// TLS where the peer offers it; the fallback ladder is allowed (RFC 7435).
    Opportunistic,
    /// TLS with any certificate (RFC 3207).
    Required,
    /// TLS with a peer that proves who it is, in whichever way.
    Authenticated,
}

/// One way in which a peer proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// Its chain leads to a trust anchor and the certificate bears the expected name (RFC 6125).
    Verified,
    /// Its certificate matches a TLSA record (RFC 7672).
    Dane,
    /// Its certificate or key has a digest that the administrator wrote down.
    Pinned,
}

/// A set of proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Proofs(u8);

impl TlsRequirement {
    /// TLS is not even tried. The bottom of the lattice: it demands nothing.
    pub const NONE: Self = Self::of_level(Level::None);
    /// TLS where the peer offers it.
    pub const OPPORTUNISTIC: Self = Self::of_level(Level::Opportunistic);
    /// TLS with any certificate.
    pub const REQUIRED: Self = Self::of_level(Level::Required);
    /// TLS with a peer that proves who it is in any way: what REQUIRETLS asks for (RFC 8689 §4.2.1).
    pub const AUTHENTICATED: Self = Self::of_level(Level::Authenticated);
    /// TLS with a certificate that verifies for the expected name.
    pub const VERIFIED: Self = Self::of_proof(Proof::Verified);
    /// TLS with a certificate that matches a TLSA record.
    pub const DANE: Self = Self::of_proof(Proof::Dane);
    /// TLS with a certificate or key that was pinned.
    pub const PINNED: Self = Self::of_proof(Proof::Pinned);

    const fn of_level(level: Level) -> Self {
        Self { level, proofs: Proofs(0) }
    }

    const fn of_proof(proof: Proof) -> Self {
        Self { level: Level::Authenticated, proofs: Proofs(proof.bit()) }
    }

    /// The weakest requirement that satisfies both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self { level: self.level.max(other.level), proofs: self.proofs.union(other.proofs) }
    }

    /// How far it protects, apart from particular proofs.
    pub fn level(self) -> Level {
        self.level
    }

    /// The proofs that the peer must give, all of them.
    pub fn proofs(self) -> Proofs {
        self.proofs
    }

    /// Whether whatever satisfies this satisfies the other as well.
    pub fn implies(self, other: Self) -> bool {
        self.join(other) == self
    }

    /// Whether a connection with these facts (`None`: in clear) satisfies the requirement.
    pub fn is_satisfied_by(self, facts: Option<&TlsFacts>) -> bool {
        let Some(facts) = facts else { return self.level <= Level::Opportunistic };
        let given = facts.peer.given;
        given.contains_all(self.proofs) && (self.level < Level::Authenticated || !given.is_empty())
    }

    /// Whether mail may ever go in clear under this requirement.
    pub fn allows_clear(self) -> bool {
        self.is_satisfied_by(None)
    }
}

impl Proof {
    /// All of them, the most usual first.
    pub const ALL: [Self; 3] = [Self::Verified, Self::Dane, Self::Pinned];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Proofs {
    /// None at all.
    pub const EMPTY: Self = Self(0);

    /// What is in either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// With one more.
    #[must_use]
    pub fn with(self, proof: Proof) -> Self {
        Self(self.0 | proof.bit())
    }

    /// Whether this proof is in it.
    pub fn contains(self, proof: Proof) -> bool {
        self.0 & proof.bit() != 0
    }

    /// Whether all of the other's are in it.
    pub fn contains_all(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is none in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those in it.
    pub fn iter(self) -> impl Iterator<Item = Proof> {
        Proof::ALL.into_iter().filter(move |proof| self.contains(*proof))
    }
}

impl From<Proof> for Proofs {
    fn from(proof: Proof) -> Self {
        Self::EMPTY.with(proof)
    }
}

impl FromIterator<Proof> for Proofs {
    fn from_iter<I: IntoIterator<Item = Proof>>(proofs: I) -> Self {
        proofs.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verified => "verified",
            Self::Dane => "dane",
            Self::Pinned => "pinned",
        })
    }
}

/// The proofs with `+` between them.
impl fmt::Display for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.iter().map(|proof| proof.to_string()).collect();
        f.write_str(&words.join("+"))
    }
}

/// As it is written in a configuration: `opportunistic`, `verified`; several proofs as `verified+dane`.
impl fmt::Display for TlsRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            Level::None => f.write_str("none"),
            Level::Opportunistic => f.write_str("opportunistic"),
            Level::Required => f.write_str("required"),
            Level::Authenticated if self.proofs.is_empty() => f.write_str("authenticated"),
            Level::Authenticated => self.proofs.fmt(f),
        }
    }
}

/// What is not the name of a requirement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a TLS requirement")]
pub struct UnknownRequirement(String);

/// Reads what `Display` writes.
impl FromStr for TlsRequirement {
    type Err = UnknownRequirement;

    fn from_str(text: &str) -> Result<Self, UnknownRequirement> {
        let one = |word: &str| {
            Ok(match word {
                "none" => Self::NONE,
                "opportunistic" => Self::OPPORTUNISTIC,
                "required" => Self::REQUIRED,
                "authenticated" => Self::AUTHENTICATED,
                "verified" => Self::VERIFIED,
                "dane" => Self::DANE,
                "pinned" => Self::PINNED,
                _ => return Err(UnknownRequirement(text.to_owned())),
            })
        };
        text.split('+').try_fold(Self::NONE, |joined, word| Ok(joined.join(one(word)?)))
    }
}

impl Serialize for TlsRequirement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TlsRequirement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tls::PeerProof;

    fn any_requirement() -> impl Strategy<Value = TlsRequirement> {
        let elements = [
            TlsRequirement::NONE,
            TlsRequirement::OPPORTUNISTIC,
            TlsRequirement::REQUIRED,
            TlsRequirement::AUTHENTICATED,
            TlsRequirement::VERIFIED,
            TlsRequirement::DANE,
            TlsRequirement::PINNED,
        ];
        proptest::collection::vec(prop::sample::select(elements.to_vec()), 0..4)
            .prop_map(|parts| parts.into_iter().fold(TlsRequirement::NONE, TlsRequirement::join))
    }

    /// A connection in clear, or one with any set of proofs.
    fn any_facts() -> impl Strategy<Value = Option<TlsFacts>> {
        let proofs = proptest::collection::vec(prop::sample::select(Proof::ALL.to_vec()), 0..4);
        prop::option::of(proofs.prop_map(|proofs| TlsFacts {
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            group: None,
            server_name: None,
            peer: PeerProof { given: proofs.into_iter().collect(), ..PeerProof::default() },
            channel_bindings: crate::sasl::ChannelBindings::default(),
        }))
    }

    proptest! {
        #[test]
        fn join_is_commutative_associative_and_idempotent(
            a in any_requirement(), b in any_requirement(), c in any_requirement(),
        ) {
            prop_assert_eq!(a.join(b), b.join(a));
            prop_assert_eq!(a.join(b).join(c), a.join(b.join(c)));
            prop_assert_eq!(a.join(a), a);
            prop_assert_eq!(a.join(TlsRequirement::NONE), a);
        }

        #[test]
        fn a_join_is_satisfied_exactly_by_what_satisfies_both(
            a in any_requirement(), b in any_requirement(), facts in any_facts(),
        ) {
            let both = a.is_satisfied_by(facts.as_ref()) && b.is_satisfied_by(facts.as_ref());
            prop_assert_eq!(a.join(b).is_satisfied_by(facts.as_ref()), both);
        }

        #[test]
        fn join_is_monotone_and_is_the_least_of_what_is_above_both(
            a in any_requirement(), b in any_requirement(), c in any_requirement(),
        ) {
            prop_assert!(a.join(b).implies(a) && a.join(b).implies(b));
            if a.implies(b) {
                prop_assert!(a.join(c).implies(b.join(c)));
            }
            if c.implies(a) && c.implies(b) {
                prop_assert!(c.implies(a.join(b)));
            }
        }

        #[test]
        fn what_is_written_is_read_as_the_same(a in any_requirement()) {
            prop_assert_eq!(a.to_string().parse::<TlsRequirement>().unwrap(), a);
        }
    }

    #[test]
    fn only_none_and_opportunistic_ever_allow_clear() {
        for (requirement, clear) in [
            (TlsRequirement::NONE, true),
            (TlsRequirement::OPPORTUNISTIC, true),
            (TlsRequirement::REQUIRED, false),
            (TlsRequirement::AUTHENTICATED, false),
            (TlsRequirement::VERIFIED, false),
            (TlsRequirement::DANE, false),
            (TlsRequirement::PINNED, false),
        ] {
            assert_eq!(requirement.allows_clear(), clear, "{requirement}");
        }
    }

    #[test]
    fn one_proof_does_not_stand_in_for_another() {
        let verified = TlsFacts {
            version: String::new(),
            cipher: String::new(),
            group: None,
            server_name: None,
            peer: PeerProof::verified(),
            channel_bindings: crate::sasl::ChannelBindings::default(),
        };
        assert!(TlsRequirement::AUTHENTICATED.is_satisfied_by(Some(&verified)));
        assert!(!TlsRequirement::DANE.is_satisfied_by(Some(&verified)));
        assert!(!TlsRequirement::VERIFIED.join(TlsRequirement::DANE).is_satisfied_by(Some(&verified)));
    }
}
