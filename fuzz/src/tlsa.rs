//! What a domain publishes as the certificate of its mail server.

use postern_dns::TlsaRecord;
use postern_dns::tlsa::{Matching, Tlsa, Usage, strongest};

/// The data of TLSA records, each behind an octet with its length: reading loses nothing, what is usable is well-formed
/// and says the same as the record, and of several usable ones the strongest of each kind remain.
pub fn tlsa(data: &[u8]) {
    let mut usable = Vec::new();
    let mut rest = data;
    while let Some((&length, behind)) = rest.split_first() {
        let (rdata, behind) = behind.split_at(usize::from(length).min(behind.len()));
        usable.extend(one_record(rdata));
        rest = behind;
    }
    let kept = strongest(usable.clone());
    assert_eq!(strongest(kept.clone()), kept);
    for tlsa in &usable {
        let remains = kept.iter().any(|other| (other.usage, other.selector) == (tlsa.usage, tlsa.selector));
        assert!(remains, "{tlsa} has no successor");
        assert!(tlsa.matching == Matching::Sha256 || kept.contains(tlsa), "{tlsa} is lost");
    }
}

fn one_record(rdata: &[u8]) -> Option<Tlsa> {
    let Ok(record) = TlsaRecord::parse_rdata(rdata) else {
        assert!(rdata.len() < 3);
        return None;
    };
    let written = [&[record.usage, record.selector, record.matching][..], &record.data].concat();
    assert_eq!(written, rdata);
    assert!(record.to_string().is_ascii());
    let tlsa = match record.usable() {
        Ok(tlsa) => tlsa,
        Err(why) => {
            assert!(!why.to_string().contains(char::is_control));
            return None;
        }
    };
    assert_eq!(tlsa.record(), record);
    assert!(matches!(tlsa.usage, Usage::TrustAnchor | Usage::EndEntity));
    assert_eq!(tlsa.matching.digest_length().unwrap_or(tlsa.data.len()), tlsa.data.len());
    Some(tlsa)
}

/// Records to begin with, by name.
pub fn tlsa_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let record = |usage, selector, matching, length| {
        let rdata = [&[usage, selector, matching][..], &vec![7; length]].concat();
        [&[u8::try_from(rdata.len()).unwrap_or(u8::MAX)][..], &rdata].concat()
    };
    vec![
        ("own-key", record(3, 1, 1, 32)),
        ("both-digests", [record(3, 1, 1, 32), record(3, 1, 2, 64)].concat()),
        ("anchor-in-full", [record(2, 0, 0, 200), record(2, 0, 1, 32)].concat()),
        ("web-authority", record(1, 0, 1, 32)),
        ("short-digest", record(3, 1, 1, 31)),
        ("cut", vec![2, 3, 1]),
    ]
}
