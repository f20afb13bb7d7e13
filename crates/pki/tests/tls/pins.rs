//! Pins, and distrust.

use aws_lc_rs::digest;
use postern_dns::tlsa::{Matching, Selector, Usage};
use postern_pki::{PeerPolicy, Pin, PinError};
use postern_smtp::tls::{Proof, TlsFault, TlsRequirement};

use crate::dane::record;
use crate::world::{Authority, GOOD, HOST, Host, OVER, leaf, meet};

fn sha256(octets: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, octets).as_ref().try_into().unwrap()
}

pub(crate) fn pins(host: &Host) -> [Pin; 2] {
    [Pin::Certificate(sha256(&host.chain[0])), Pin::Spki(sha256(&host.spki()))]
}

#[test]
fn a_pinned_certificate_or_key_is_proof_enough() {
    let client = Authority::root("root").trusted();
    let (host, other) =
        (Host::self_signed(&leaf(&["other.example"], OVER)), Host::self_signed(&leaf(&[HOST], GOOD)));
    for pin in pins(&host) {
        let policy =
            PeerPolicy { pins: vec![pins(&other)[0], pin], ..PeerPolicy::of(TlsRequirement::PINNED) };
        let facts = meet(&client.handshake(&policy), &host.config()).unwrap();
        assert_eq!(facts.peer.given, Proof::Pinned.into());
    }
    let policy = PeerPolicy { pins: pins(&other).to_vec(), ..PeerPolicy::of(TlsRequirement::PINNED) };
    let refused = meet(&client.handshake(&policy), &host.config()).unwrap_err();
    assert_eq!(refused.fault, TlsFault::PinMismatch);
    assert!(refused.why.contains(&pins(&host)[1].to_string()), "{refused}");
}

#[test]
fn pinned_without_pins_is_refused() {
    let root = Authority::root("root");
    let handshake = root.trusted().handshake(&PeerPolicy::of(TlsRequirement::PINNED));
    let refused = meet(&handshake, &root.host(&[HOST]).config()).unwrap_err();
    assert_eq!(refused.fault, TlsFault::PinMismatch);
}

#[test]
fn a_pin_on_an_authority_does_not_let_its_hosts_in() {
    let root = Authority::root("root");
    let policy = PeerPolicy {
        pins: vec![Pin::Certificate(sha256(&root.certificate)), Pin::Spki(sha256(&root.key()))],
        ..PeerPolicy::of(TlsRequirement::PINNED)
    };
    let host = root.host(&[HOST]).with(&[&root]).config();
    assert!(meet(&root.trusted().handshake(&policy), &host).is_err());
}

#[test]
fn what_is_distrusted_proves_nothing_whatever_else_holds() {
    let root = Authority::root("root");
    let below = root.below("below");
    let host = below.host(&[HOST]).with(&[&below]);
    let tlsa = record(Usage::EndEntity, Selector::Spki, Matching::Sha256, (&host.chain[0], &host.spki()));
    let [certificate, key] = pins(&host);
    for distrusted in [certificate, key, Pin::Spki(sha256(&below.key()))] {
        let with = |requirement| PeerPolicy {
            tlsa: vec![tlsa.clone()],
            pins: vec![certificate],
            distrust: vec![Pin::Spki([7; 32]), distrusted],
            ..PeerPolicy::of(requirement)
        };
        for requirement in [
            TlsRequirement::AUTHENTICATED,
            TlsRequirement::VERIFIED,
            TlsRequirement::DANE,
            TlsRequirement::PINNED,
        ] {
            let refused = meet(&root.trusted().handshake(&with(requirement)), &host.config()).unwrap_err();
            assert_eq!(refused.fault, TlsFault::Revoked, "{requirement}");
            assert!(refused.why.contains(&distrusted.to_string()), "{refused}");
        }
        for requirement in [TlsRequirement::OPPORTUNISTIC, TlsRequirement::REQUIRED] {
            let facts = meet(&root.trusted().handshake(&with(requirement)), &host.config()).unwrap();
            assert!(facts.peer.given.is_empty());
            assert_eq!(facts.peer.doubt().map(|doubt| doubt.fault), Some(TlsFault::Revoked));
        }
    }
}

#[test]
fn a_pin_is_read_in_every_form_that_people_write() {
    let digest: [u8; 32] = sha256(b"anything");
    let hex: String = Pin::Certificate(digest).to_string()[7..].to_owned();
    let colons =
        hex.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap()).collect::<Vec<_>>().join(":");
    for text in
        [format!("sha256:{hex}"), format!(" SHA256:{} ", hex.to_uppercase()), format!("sha256:{colons}")]
    {
        assert_eq!(text.parse(), Ok(Pin::Certificate(digest)), "{text}");
    }
    let base64 = "7ghcuCVKbAqM/+jIQHWv5rgxTWa8MFYfOsZXbhdcGtY=";
    let key: Pin = format!("spki-sha256:{base64}").parse().unwrap();
    assert_eq!(format!("spki-sha256:{}", base64.trim_end_matches('=')).parse(), Ok(key));
    assert_eq!(key.to_string().parse(), Ok(key));
    assert!(key.to_string().starts_with("spki-sha256:ee085cb8"), "{key}");
}

#[test]
fn what_is_no_pin_is_refused_with_words_that_say_why() {
    let a = "a".repeat(64);
    for (text, error) in [
        (String::new(), PinError::Kind),
        (a.clone(), PinError::Kind),
        (format!("md5:{a}"), PinError::Kind),
        ("sha256:".to_owned(), PinError::Length(0)),
        (format!("sha256:{a}a"), PinError::Length(65)),
        (format!("sha256:{}", "a".repeat(100_000)), PinError::Length(100_000)),
        (format!("spki-sha256:{}", "a".repeat(62)), PinError::Length(62)),
        (format!("sha256:{}g", "a".repeat(63)), PinError::Digit('g')),
        (format!("spki-sha256:{}!", "a".repeat(42)), PinError::Neither),
        // Bits are left over: the same digest must not have two spellings.
        (format!("spki-sha256:{}", "/".repeat(43)), PinError::Neither),
    ] {
        assert_eq!(text.parse::<Pin>(), Err(error), "{text:.80}");
    }
}
