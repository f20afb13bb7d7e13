//! What a TLSA record says, and whether mail can use it (RFC 6698, RFC 7671, RFC 7672).
//!
//! - [`TlsaRecord`]: the record as published, four fields and no opinion.
//! - [`Tlsa`]: one that a mail client can check a certificate against; [`TlsaRecord::usable`] says whether it is one,
//!   and [`Unusable`] why not.
//! - [`strongest`]: which of several are to be used (digest agility).
//!
//! Pure. What it deliberately does not do: look anything up, or look at certificates.

use std::fmt;

/// The longest association data that is read, in octets: a generous certificate.
const MAX_DATA: usize = 16_384;

/// Which certificate of a server to expect, as published (RFC 6698 §2.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TlsaRecord {
    /// What the certificate is to the chain: 3 the server's own, 2 a trust anchor, 0 and 1 the same within the web's
    /// authorities.
    pub usage: u8,
    /// What of the certificate is meant: 0 all of it, 1 its public key.
    pub selector: u8,
    /// How `data` shows it: 0 as it is, 1 as SHA-256, 2 as SHA-512.
    pub matching: u8,
    /// What must match.
    pub data: Vec<u8>,
}

/// A record's data are not those of a TLSA record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not even the three fixed fields are there.
    #[error("a TLSA record of {0} octets is cut short: it needs 3 and the association data")]
    Short(usize),
    /// More association data than any certificate has.
    #[error("a TLSA record with {0} octets of association data is too long: at most 16384 are read")]
    Long(usize),
}

impl TlsaRecord {
    /// Reads a record's data as they stand in a DNS message (RFC 6698 §2.1). Association data may be missing or of the
    /// wrong length; that is for [`Self::usable`] to say.
    ///
    /// # Errors
    /// [`Malformed`]: the fault of whoever published it.
    pub fn parse_rdata(rdata: &[u8]) -> Result<Self, Malformed> {
        let &[usage, selector, matching, ref data @ ..] = rdata else {
            return Err(Malformed::Short(rdata.len()));
        };
        if data.len() > MAX_DATA {
            return Err(Malformed::Long(data.len()));
        }
        Ok(Self { usage, selector, matching, data: data.to_vec() })
    }

    /// The record in a form that a mail client can check (RFC 7672 §3.1).
    ///
    /// # Errors
    /// [`Unusable`]: the record is of a kind that mail does not use, or not well-formed. A host all of whose records are
    /// unusable still gets encrypted mail only (RFC 7672 §2.2).
    pub fn usable(&self) -> Result<Tlsa, Unusable> {
        let usage = match self.usage {
            2 => Usage::TrustAnchor,
            3 => Usage::EndEntity,
            // RFC 7672 §3.1.3: mail servers have no need of the web's authorities.
            usage => return Err(Unusable::Usage(usage)),
        };
        let selector = match self.selector {
            0 => Selector::Cert,
            1 => Selector::Spki,
            selector => return Err(Unusable::Selector(selector)),
        };
        let matching = match self.matching {
            0 => Matching::Full,
            1 => Matching::Sha256,
            2 => Matching::Sha512,
            matching => return Err(Unusable::Matching(matching)),
        };
        match matching.digest_length() {
            Some(wanted) if self.data.len() != wanted => {
                Err(Unusable::Length { wanted, found: self.data.len() })
            }
            None if self.data.is_empty() => Err(Unusable::Empty),
            _ => Ok(Tlsa { usage, selector, matching, data: self.data.clone() }),
        }
    }
}

/// As in a zone file: `3 1 1 2bb1…`.
impl fmt::Display for TlsaRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} ", self.usage, self.selector, self.matching)?;
        self.data.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// Why mail cannot use a TLSA record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Certificate usages 0 and 1, and unknown ones.
    #[error("certificate usage {0} is not for mail: only 2 (trust anchor) and 3 (the server's own) are")]
    Usage(u8),
    /// A selector other than 0 and 1.
    #[error("selector {0} is unknown: 0 is the certificate, 1 its public key")]
    Selector(u8),
    /// A matching type other than 0, 1 and 2.
    #[error("matching type {0} is unknown: 0 is the data themselves, 1 SHA-256, 2 SHA-512")]
    Matching(u8),
    /// A digest that is too short or too long.
    #[error("the digest has {found} octets instead of {wanted}")]
    Length {
        /// Octets that such a digest has.
        wanted: usize,
        /// Octets that this one has.
        found: usize,
    },
    /// Nothing that could match.
    #[error("there are no data to match")]
    Empty,
}

/// A certificate to expect, in a form that can be checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Tlsa {
    /// What the certificate is to the chain.
    pub usage: Usage,
    /// What of the certificate is meant.
    pub selector: Selector,
    /// How `data` shows it.
    pub matching: Matching,
    /// A digest of the right length, or DER.
    pub data: Vec<u8>,
}

/// What a certificate is to the server's chain (RFC 7672 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Usage {
    /// DANE-TA(2): the chain leads to it, and the server's name is checked.
    TrustAnchor,
    /// DANE-EE(3): the server's own; its names and dates do not matter.
    EndEntity,
}

/// What of a certificate is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Selector {
    /// Cert(0): all of it.
    Cert,
    /// SPKI(1): the public key.
    Spki,
}

/// How the association data show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Matching {
    /// Full(0): as it is.
    Full,
    /// SHA2-256(1).
    Sha256,
    /// SHA2-512(2).
    Sha512,
}

impl Matching {
    /// How many octets the digest has; `None` when there is no digest.
    pub fn digest_length(self) -> Option<usize> {
        match self {
            Self::Full => None,
            Self::Sha256 => Some(32),
            Self::Sha512 => Some(64),
        }
    }
}

impl Tlsa {
    /// The record that says this.
    pub fn record(&self) -> TlsaRecord {
        TlsaRecord {
            usage: match self.usage {
                Usage::TrustAnchor => 2,
                Usage::EndEntity => 3,
            },
            selector: match self.selector {
                Selector::Cert => 0,
                Selector::Spki => 1,
            },
            matching: match self.matching {
                Matching::Full => 0,
                Matching::Sha256 => 1,
                Matching::Sha512 => 2,
            },
            data: self.data.clone(),
        }
    }
}

/// As in a zone file: `3 1 1 2bb1…`.
impl fmt::Display for Tlsa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.record().fmt(f)
    }
}

/// The name under which a host publishes the certificates of the service on a port: `_25._tcp.mx.example.org`
/// (RFC 6698 §3). The host loses its last dot.
pub fn tlsa_name(port: u16, host: &str) -> String {
    format!("_{port}._tcp.{}", host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase())
}

/// The records to check against: of each usage and selector the best digest only, and whatever is published in full
/// (RFC 7671 §9). A weaker digest beside a stronger one must not let anyone in. The order stays.
pub fn strongest(records: Vec<Tlsa>) -> Vec<Tlsa> {
    let has_better = |record: &Tlsa| {
        record.matching == Matching::Sha256
            && records.iter().any(|other| {
                (other.usage, other.selector) == (record.usage, record.selector)
                    && other.matching == Matching::Sha512
            })
    };
    let weaker: Vec<bool> = records.iter().map(has_better).collect();
    records.into_iter().zip(weaker).filter(|(_, weaker)| !weaker).map(|(record, _)| record).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(usage: u8, selector: u8, matching: u8, length: usize) -> TlsaRecord {
        TlsaRecord { usage, selector, matching, data: vec![0xab; length] }
    }

    fn usable(usage: u8, selector: u8, matching: u8, length: usize) -> Tlsa {
        record(usage, selector, matching, length).usable().expect("a usable record")
    }

    #[test]
    fn a_record_is_shown_as_in_a_zone_file() {
        assert_eq!(record(3, 1, 1, 2).to_string(), "3 1 1 abab");
        assert_eq!(usable(2, 0, 1, 32).to_string(), format!("2 0 1 {}", "ab".repeat(32)));
    }

    #[test]
    fn usages_of_the_web_s_authorities_are_not_for_mail() {
        for usage in [0, 1, 4, 255] {
            assert_eq!(record(usage, 1, 1, 32).usable(), Err(Unusable::Usage(usage)));
        }
    }

    #[test]
    fn unknown_selectors_and_matching_types_are_unusable() {
        assert_eq!(record(3, 2, 1, 32).usable(), Err(Unusable::Selector(2)));
        assert_eq!(record(3, 1, 3, 32).usable(), Err(Unusable::Matching(3)));
    }

    #[test]
    fn a_digest_of_the_wrong_length_is_unusable() {
        for (matching, wanted, found) in [(1, 32, 31), (1, 32, 64), (2, 64, 32), (2, 64, 0)] {
            assert_eq!(record(3, 1, matching, found).usable(), Err(Unusable::Length { wanted, found }));
        }
        assert_eq!(record(3, 0, 0, 0).usable(), Err(Unusable::Empty));
    }

    #[test]
    fn cut_and_endless_records_are_malformed() {
        assert_eq!(TlsaRecord::parse_rdata(&[3, 1]), Err(Malformed::Short(2)));
        let long = [&[3, 1, 0][..], &vec![0; MAX_DATA + 1]].concat();
        assert_eq!(TlsaRecord::parse_rdata(&long), Err(Malformed::Long(MAX_DATA + 1)));
        assert!(TlsaRecord::parse_rdata(&long[..long.len() - 1]).is_ok());
    }

    #[test]
    fn the_name_to_ask_for_has_port_and_protocol_in_front() {
        assert_eq!(tlsa_name(25, "MX.example.org."), "_25._tcp.mx.example.org");
    }

    #[test]
    fn the_weaker_digest_goes_where_a_better_one_stands_beside_it() {
        let (weak, strong) = (usable(3, 1, 1, 32), usable(3, 1, 2, 64));
        let (other_usage, full) = (usable(2, 1, 1, 32), usable(3, 1, 0, 7));
        let all = vec![weak.clone(), other_usage.clone(), strong.clone(), full.clone()];
        assert_eq!(strongest(all), [other_usage, strong, full]);
        assert_eq!(strongest(vec![weak.clone()]), [weak]);
    }

    fn any_record() -> impl Strategy<Value = TlsaRecord> {
        let length = prop_oneof![Just(0_usize), Just(32), Just(64), 0..80_usize];
        (0..5_u8, 0..3_u8, 0..4_u8, length)
            .prop_map(|(usage, selector, matching, length)| record(usage, selector, matching, length))
    }

    proptest! {
        #[test]
        fn what_is_usable_says_the_same_as_the_record(record in any_record()) {
            if let Ok(tlsa) = record.usable() {
                prop_assert_eq!(tlsa.record(), record);
            }
        }

        #[test]
        fn reading_gives_back_what_was_written(rdata in prop::collection::vec(any::<u8>(), 3..100)) {
            let record = TlsaRecord::parse_rdata(&rdata).expect("a record");
            let written = [&[record.usage, record.selector, record.matching][..], &record.data].concat();
            prop_assert_eq!(written, rdata);
        }

        #[test]
        fn something_always_remains_of_each_usage_and_selector(
            records in prop::collection::vec(any_record(), 0..8),
        ) {
            let all: Vec<Tlsa> = records.iter().filter_map(|record| record.usable().ok()).collect();
            let kept = strongest(all.clone());
            for tlsa in &all {
                let same = |other: &&Tlsa| (other.usage, other.selector) == (tlsa.usage, tlsa.selector);
                prop_assert!(kept.iter().any(|other| same(&other)));
                let best = all.iter().filter(same).any(|other| other.matching == Matching::Sha512);
                prop_assert!(!best || kept.iter().filter(same).all(|other| other.matching != Matching::Sha256));
            }
            prop_assert_eq!(strongest(kept.clone()), kept);
        }
    }
}
