//! What is wrong with a host's certificate, told apart.

use postern_pki::{ClientHello, PeerPolicy, describe};
use postern_smtp::tls::{Proof, TlsFault, TlsRequirement};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa};
use rustls::ClientConnection;

use super::*;
use crate::world::{Authority, GOOD, HOST, Host, NOT_BEGUN, OVER, common_name, leaf, meet, meet_as};

/// Refused where it must verify, with this fault and these words; recorded as just that where nothing is demanded.
fn is_bad(trusted: &Authority, host: &Host, fault: TlsFault, words: &str) {
    let client = trusted.trusted();
    let refused =
        meet(&client.handshake(&PeerPolicy::of(TlsRequirement::VERIFIED)), &host.config()).unwrap_err();
    assert_eq!(refused.fault, fault, "{refused}");
    assert!(refused.why.contains(words), "{refused}");
    let shown = refused.certificate.expect("the certificate is kept");
    assert_eq!(shown.chain, host.chain.len());
    for requirement in [TlsRequirement::OPPORTUNISTIC, TlsRequirement::REQUIRED] {
        let facts = meet(&client.handshake(&PeerPolicy::of(requirement)), &host.config()).unwrap();
        assert!(facts.peer.given.is_empty());
        assert_eq!(facts.peer.missing.len(), 1);
        assert_eq!((facts.peer.missing[0].fault, &facts.peer.missing[0].why), (fault, &refused.why));
        assert_eq!(facts.peer.certificate.as_deref(), Some(&*shown));
    }
}

#[test]
fn every_trouble_with_a_certificate_has_its_own_fault_and_words() {
    let (root, stranger) = (Authority::root("root"), Authority::root("stranger"));
    let (below, above) = (root.below("below"), stranger.below("above"));
    let day = |days| (now() + self::days(days)).strftime("%Y-%m-%d").to_string();
    let mut clients_only = leaf(&[HOST], GOOD);
    clients_only.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for (host, fault, words) in [
        (root.host_for(&[HOST], OVER), TlsFault::Expired, format!("has expired on {}", day(-2))),
        (root.host_for(&[HOST], NOT_BEGUN), TlsFault::NotYetValid, format!("not valid before {}", day(2))),
        (
            root.host(&["other.example"]),
            TlsFault::HostMismatch,
            format!("is for other.example, not for {HOST}"),
        ),
        (root.host(&[]), TlsFault::HostMismatch, format!("bears no name, so it is not for {HOST}")),
        (
            Host::self_signed(&leaf(&[HOST], GOOD)),
            TlsFault::SelfSigned,
            "signed by itself (CN=a mail host)".into(),
        ),
        (
            below.host(&[HOST]),
            TlsFault::IncompleteChain,
            "signed by CN=below, which is not trusted here".into(),
        ),
        (stranger.host(&[HOST]), TlsFault::IncompleteChain, "or the authority is a private one".into()),
        (
            above.host(&[HOST]).with(&[&above]),
            TlsFault::UnknownIssuer,
            "its chain leads to CN=stranger".into(),
        ),
        (
            above.host(&[HOST]).with(&[&above, &stranger]),
            TlsFault::UnknownIssuer,
            "signed by an unknown authority: its chain leads to CN=stranger".into(),
        ),
        (root.sign(&clients_only), TlsFault::BadCertificate, "not issued for servers".into()),
    ] {
        is_bad(&root, &host, fault, &words);
    }
}

#[test]
fn a_self_signed_authoritys_certificate_is_called_self_signed() {
    let mut params = leaf(&[HOST], GOOD);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    is_bad(&Authority::root("root"), &Host::self_signed(&params), TlsFault::SelfSigned, "signed by itself");
}

#[test]
fn an_authority_whose_time_is_over_is_named() {
    let root = Authority::root("root");
    let old = Authority::root_for("old", OVER);
    let mut host = old.host(&[HOST]).with(&[&old]);
    is_bad(&root, &host, TlsFault::Expired, "the certificate of its authority (CN=old) has expired on 20");
    host.chain.truncate(1);
    is_bad(&root, &host, TlsFault::IncompleteChain, "signed by CN=old");
}

#[test]
fn a_whole_chain_verifies_in_any_order_and_with_the_root_in_it() {
    let root = Authority::root("root");
    let upper = root.below("upper");
    let lower = upper.below("lower");
    for others in [vec![&lower, &upper], vec![&upper, &lower], vec![&lower, &upper, &root]] {
        let host = lower.host(&[HOST]).with(&others);
        let handshake = root.trusted().handshake(&PeerPolicy::of(TlsRequirement::VERIFIED));
        let facts = meet(&handshake, &host.config()).unwrap();
        assert_eq!(facts.peer.given, Proof::Verified.into());
        let chain = handshake.chain();
        assert_eq!(chain.len(), others.len() + 1);
        assert_eq!(chain[0].issuer, "CN=lower");
        assert!(
            chain.iter().all(|certificate| certificate.self_signed == (certificate.subject == "CN=root"))
        );
    }
}

#[test]
fn other_names_than_the_hosts_own_prove_nothing_without_dane() {
    let root = Authority::root("root");
    let host = root.host(&["example.net"]).config();
    let policy =
        PeerPolicy { names: super::names(&["example.net"]), ..PeerPolicy::of(TlsRequirement::VERIFIED) };
    let refused = meet(&root.trusted().handshake(&policy), &host).unwrap_err();
    assert_eq!(refused.fault, TlsFault::HostMismatch);
    assert!(refused.why.ends_with("not for mx.example.org"), "{refused}");
}

#[test]
fn the_words_of_the_handshakes_error_are_those_of_the_failure() {
    let handshake = Authority::root("root").trusted().handshake(&PeerPolicy::of(TlsRequirement::VERIFIED));
    let host = Host::self_signed(&leaf(&[HOST], GOOD)).config();
    let mut client =
        ClientConnection::new(handshake.config(), postern_pki::server_name(HOST).unwrap()).unwrap();
    let mut server = rustls::ServerConnection::new(std::sync::Arc::new(host)).unwrap();
    world::carry(&mut client, &mut server);
    server.process_new_packets().unwrap();
    world::carry(&mut server, &mut client);
    let error =
        std::io::Error::new(std::io::ErrorKind::InvalidData, client.process_new_packets().unwrap_err());
    assert_eq!(describe(&error), handshake.failure(&error).why);
}

#[test]
fn what_a_certificate_says_is_cleaned_and_cut() {
    let mut params: CertificateParams = leaf(&["a.example"; 12], GOOD);
    params.distinguished_name = common_name(&format!("a\u{1b}[2J\u{202e}{}", "x".repeat(4000)));
    let host = Host::self_signed(&params);
    let seen = postern_pki::describe_certificate(&host.chain[0], 1);
    assert!(seen.subject.starts_with("CN=a?[2J?xxx") && seen.subject.len() <= 255, "{}", seen.subject);
    assert_eq!(seen.names.len(), 6);
    assert_eq!(seen.names[5], "and 7 more");
    assert_eq!((seen.key.as_str(), seen.signature.as_str()), ("P-256", "ecdsa-with-SHA256"));
    assert!(seen.self_signed && seen.not_before.ends_with('Z') && seen.sha256.len() == 64);
    let rubbish = postern_pki::describe_certificate(b"rubbish", 2);
    assert_eq!((rubbish.subject.as_str(), rubbish.chain), ("unreadable", 2));
}

#[test]
fn an_issuer_of_ones_own_name_is_not_ones_own_signature() {
    let twin = Authority::root("a mail host");
    let host = twin.host(&[HOST]);
    assert!(!postern_pki::describe_certificate(&host.chain[0], 1).self_signed);
}

#[test]
fn the_small_hello_fits_one_small_segment_and_the_full_one_is_post_quantum() {
    let root = Authority::root("root");
    let client = root.trusted();
    let measured = |hello| {
        let handshake = client.handshake(&PeerPolicy { hello, ..PeerPolicy::default() });
        let mut connection =
            ClientConnection::new(handshake.config(), postern_pki::server_name(HOST).unwrap()).unwrap();
        let mut wire = Vec::new();
        connection.write_tls(&mut wire).unwrap();
        let facts = meet(&handshake, &root.host(&[HOST]).config()).unwrap();
        assert_eq!(facts.peer.given, Proof::Verified.into());
        (wire.len(), facts.group.unwrap())
    };
    let (full, group) = measured(ClientHello::Full);
    assert!(full > 1200, "{full}");
    assert_eq!(group, "X25519MLKEM768");
    let (small, group) = measured(ClientHello::Small);
    assert!(small < 512, "{small}");
    assert_eq!(group, "X25519");
}

#[test]
fn an_address_is_verified_by_its_address() {
    let root = Authority::root("root");
    let host = root.host(&["192.0.2.1"]).config();
    let handshake = || root.trusted().handshake(&PeerPolicy::of(TlsRequirement::VERIFIED));
    assert!(meet_as("192.0.2.1", &handshake(), &host).is_ok());
    let refused = meet_as("192.0.2.2", &handshake(), &host).err().unwrap();
    assert_eq!(refused.fault, TlsFault::HostMismatch);
}
