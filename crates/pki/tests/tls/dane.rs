//! DANE with every usage, selector and matching type (RFC 7672 §3).

use aws_lc_rs::digest;
use postern_dns::tlsa::{Matching, Selector, Tlsa, Usage};
use postern_pki::PeerPolicy;
use postern_smtp::tls::{Proof, TlsFacts, TlsFailure, TlsFault, TlsRequirement};
use rcgen::{BasicConstraints, IsCa};

use crate::world::{Authority, GOOD, HOST, Host, NOT_BEGUN, OVER, leaf, meet};

const SELECTORS: [Selector; 2] = [Selector::Cert, Selector::Spki];
const MATCHINGS: [Matching; 3] = [Matching::Full, Matching::Sha256, Matching::Sha512];

/// The record for a certificate and its key.
pub(crate) fn record(usage: Usage, selector: Selector, matching: Matching, of: (&[u8], &[u8])) -> Tlsa {
    let selected = match selector {
        Selector::Cert => of.0,
        Selector::Spki => of.1,
    };
    let data = match matching {
        Matching::Full => selected.to_vec(),
        Matching::Sha256 => digest::digest(&digest::SHA256, selected).as_ref().to_vec(),
        Matching::Sha512 => digest::digest(&digest::SHA512, selected).as_ref().to_vec(),
    };
    Tlsa { usage, selector, matching, data }
}

fn end_entity(host: &Host) -> Tlsa {
    record(Usage::EndEntity, Selector::Spki, Matching::Sha256, (&host.chain[0], &host.spki()))
}

fn anchor(authority: &Authority) -> Tlsa {
    record(Usage::TrustAnchor, Selector::Cert, Matching::Sha256, (&authority.certificate, &authority.key()))
}

/// A client that trusts nobody whom these hosts know.
fn check(tlsa: &[Tlsa], names: &[&str], host: &Host) -> Result<TlsFacts, TlsFailure> {
    let policy = PeerPolicy {
        tlsa: tlsa.to_vec(),
        names: super::names(names),
        ..PeerPolicy::of(TlsRequirement::DANE)
    };
    meet(&Authority::root("nobody's").trusted().handshake(&policy), &host.config())
}

fn fault(tlsa: &[Tlsa], host: &Host) -> TlsFault {
    check(tlsa, &[], host).unwrap_err().fault
}

#[test]
fn every_selector_and_matching_type_proves_the_hosts_own_certificate() {
    let host = Host::self_signed(&leaf(&["other.example"], OVER));
    let other = Host::self_signed(&leaf(&[HOST], GOOD));
    for (selector, matching) in combinations() {
        let of = |host: &Host| record(Usage::EndEntity, selector, matching, (&host.chain[0], &host.spki()));
        let facts = check(&[of(&other), of(&host)], &[], &host)
            .unwrap_or_else(|failure| panic!("{selector:?} {matching:?}: {failure}"));
        // Its name and its dates are wrong; they do not matter (RFC 7672 §3.1.1).
        assert_eq!(facts.peer.given, Proof::Dane.into());
        assert_eq!(facts.peer.missing.len(), 1, "that it does not verify is recorded beside it");
        assert_eq!(fault(&[of(&other)], &host), TlsFault::DaneMismatch);
    }
}

#[test]
fn every_selector_and_matching_type_proves_a_chain_to_its_anchor() {
    let root = Authority::root("root");
    let below = root.below("below");
    let host = below.host(&[HOST]);
    for (selector, matching) in combinations() {
        for authority in [&root, &below] {
            let of = (&authority.certificate[..], &authority.key()[..]);
            let tlsa = [record(Usage::TrustAnchor, selector, matching, of)];
            let facts = check(&tlsa, &[], &host.clone().with(&[&below, &root]))
                .unwrap_or_else(|failure| panic!("{selector:?} {matching:?}: {failure}"));
            assert_eq!(facts.peer.given, Proof::Dane.into());
        }
    }
}

#[test]
fn an_anchor_that_was_not_sent_must_be_in_the_record() {
    let root = Authority::root("root");
    let host = root.host(&[HOST]);
    for (selector, matching) in combinations() {
        let tlsa = [record(Usage::TrustAnchor, selector, matching, (&root.certificate, &root.key()))];
        if matching == Matching::Full {
            assert!(check(&tlsa, &[], &host).is_ok(), "{selector:?}");
            continue;
        }
        let failure = check(&tlsa, &[], &host).unwrap_err();
        assert_eq!(failure.fault, TlsFault::DaneMismatch);
        assert!(failure.why.contains("which must hold the trust anchor"), "{failure}");
    }
}

#[test]
fn an_anchor_in_the_chain_that_did_not_sign_anything_proves_nothing() {
    let (root, stranger) = (Authority::root("root"), Authority::root("stranger"));
    let impostor = Authority::root("root");
    for authority in [&stranger, &impostor] {
        let host = authority.host(&[HOST]).with(&[authority, &root]);
        assert_eq!(fault(&[anchor(&root)], &host), TlsFault::DaneMismatch);
    }
    for selector in SELECTORS {
        let full = record(Usage::TrustAnchor, selector, Matching::Full, (&root.certificate, &root.key()));
        assert_eq!(fault(&[full], &impostor.host(&[HOST])), TlsFault::DaneMismatch, "{selector:?}");
    }
}

#[test]
fn dates_count_below_an_anchor_and_for_the_anchor() {
    let root = Authority::root("root");
    let with = |days| fault(&[anchor(&root)], &root.host_for(&[HOST], days).with(&[&root]));
    assert_eq!((with(OVER), with(NOT_BEGUN)), (TlsFault::Expired, TlsFault::NotYetValid));
    let old = Authority::root_for("old", OVER);
    assert_eq!(fault(&[anchor(&old)], &old.host(&[HOST]).with(&[&old])), TlsFault::Expired);
    let late = root.host_for(&[HOST], OVER);
    assert!(check(&[end_entity(&late)], &[], &late).is_ok(), "but not for the host's own (RFC 7672 §3.1.1)");
}

#[test]
fn names_count_below_an_anchor() {
    let root = Authority::root("root");
    let host = root.host(&["example.net", "*.alias.example"]).with(&[&root]);
    let with = |names: &[&str]| check(&[anchor(&root)], names, &host);
    assert_eq!(fault(&[anchor(&root)], &host), TlsFault::HostMismatch);
    assert!(with(&["example.net"]).is_ok(), "the next-hop domain (RFC 7672 §3.2.2)");
    assert!(with(&["Example.NET."]).is_ok());
    assert!(with(&["other.example", "mx.alias.example"]).is_ok());
    assert!(with(&["not a name", ""]).is_err());
    let refused = with(&["other.example"]).unwrap_err();
    assert!(refused.why.ends_with("not for mx.example.org nor for other.example"), "{refused}");
}

#[test]
fn verified_is_about_the_hosts_own_name_wherever_its_records_stand() {
    let root = Authority::root("root");
    let host = root.host(&["mx.alias.example"]);
    let policy = |verify_as: Option<&str>| PeerPolicy {
        tlsa: vec![end_entity(&host)],
        verify_as: verify_as.map(str::to_owned),
        ..PeerPolicy::of(TlsRequirement::DANE.join(TlsRequirement::VERIFIED))
    };
    let with = |name| meet(&root.trusted().handshake(&policy(name)), &host.config());
    assert_eq!(with(None).unwrap_err().fault, TlsFault::HostMismatch);
    assert!(with(Some("mx.alias.example")).is_ok());
}

#[test]
fn a_self_signed_certificate_can_be_its_own_anchor() {
    let mut ca = leaf(&[HOST], GOOD);
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    for params in [leaf(&[HOST], GOOD), ca] {
        let host = Host::self_signed(&params);
        for (selector, matching) in combinations() {
            let own = record(Usage::TrustAnchor, selector, matching, (&host.chain[0], &host.spki()));
            assert!(check(&[own], &[], &host).is_ok(), "{selector:?} {matching:?}");
        }
    }
    let own = |host: &Host| {
        record(Usage::TrustAnchor, Selector::Spki, Matching::Sha256, (&host.chain[0], &host.spki()))
    };
    let late = Host::self_signed(&leaf(&[HOST], OVER));
    assert_eq!(fault(&[own(&late)], &late), TlsFault::Expired);
    let other = Host::self_signed(&leaf(&["other.example"], GOOD));
    assert_eq!(fault(&[own(&other)], &other), TlsFault::HostMismatch);
    let signed = Authority::root("root").host(&[HOST]);
    assert_eq!(fault(&[own(&signed)], &signed), TlsFault::DaneMismatch, "what another signed is no anchor");
}

#[test]
fn the_hosts_own_record_does_not_match_a_certificate_further_up() {
    let root = Authority::root("root");
    let host = root.host(&[HOST]).with(&[&root]);
    let of_root =
        record(Usage::EndEntity, Selector::Cert, Matching::Sha256, (&root.certificate, &root.key()));
    assert_eq!(fault(&[of_root], &host), TlsFault::DaneMismatch);
}

#[test]
fn a_mismatch_says_what_was_published_and_what_was_shown() {
    let (host, other) = (Host::self_signed(&leaf(&[HOST], GOOD)), Host::self_signed(&leaf(&[HOST], GOOD)));
    let failure = check(&vec![end_entity(&other); 5], &[], &host).unwrap_err();
    let own = &failure.certificate.as_ref().unwrap().spki_sha256[..16];
    assert!(failure.why.contains(&format!("whose key is 3 1 1 {own}")), "{failure}");
    assert!(failure.why.contains("2 more") && failure.why.len() < 300, "{failure}");
}

#[test]
fn dane_without_records_proves_nothing() {
    let host = Host::self_signed(&leaf(&[HOST], GOOD));
    assert_eq!(fault(&[], &host), TlsFault::NoTlsa);
}

#[test]
fn rubbish_in_a_record_proves_nothing_and_breaks_nothing() {
    let root = Authority::root("root");
    let host = root.host(&[HOST]).with(&[&root]);
    for data in [vec![], vec![0x30], vec![0x30, 0x82, 0xff, 0xff], vec![0; 9000]] {
        for (selector, matching) in combinations() {
            for usage in [Usage::TrustAnchor, Usage::EndEntity] {
                let tlsa = Tlsa { usage, selector, matching, data: data.clone() };
                assert_eq!(fault(&[tlsa], &host), TlsFault::DaneMismatch);
            }
        }
    }
}

fn combinations() -> impl Iterator<Item = (Selector, Matching)> {
    SELECTORS.into_iter().flat_map(|selector| MATCHINGS.into_iter().map(move |matching| (selector, matching)))
}
