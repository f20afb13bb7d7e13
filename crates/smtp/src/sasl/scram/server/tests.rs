//! The examples of the RFCs, and what becomes of clients that keep to no rule.

use std::num::NonZeroU32;

use super::*;
use crate::sasl::Binding;

const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const OURS: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn begun(channel: Channel) -> ScramServer {
    ScramServer::new(ScramHash::Sha256, OURS.to_owned(), channel)
}

fn key(hash: ScramHash, salt: &[u8], password: &str, label: u64) -> ScramKey {
    let iterations = NonZeroU32::new(4096).unwrap();
    ScramKey::of(hash, &Secret::new(password), salt, iterations, label).unwrap()
}

/// The keys of the example's user, who has these passwords.
fn keys(passwords: &[&str]) -> ScramKeys {
    let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let labelled = passwords.iter().zip(10..);
    let keys = labelled.map(|(password, label)| key(ScramHash::Sha256, &salt, password, label)).collect();
    ScramKeys { salt, iterations: NonZeroU32::new(4096).unwrap(), keys }
}

fn said(step: Step) -> String {
    let Step::Challenge(challenge) = step else { panic!("no challenge: {step:?}") };
    String::from_utf8(BASE64.decode(challenge.expose()).unwrap()).unwrap()
}

fn asks_for(user: &str) -> Step {
    Step::Ask(Claim::Keys { hash: ScramHash::Sha256, user: user.to_owned() })
}

fn claims(proof: ScramProof) -> Step {
    Step::Ask(Claim::Scram { user: "user".to_owned(), acting_as: None, proof })
}

fn void(fault: ScramFault) -> Step {
    claims(ScramProof::Void(fault))
}

/// What comes of this final message.
fn at_final(message: &str) -> Step {
    let mut server = begun(Channel::Unnamed);
    assert_eq!(server.respond(CLIENT_FIRST.as_bytes()), asks_for("user"));
    assert_eq!(said(server.keys(keys(&["pencil"])).unwrap()), SERVER_FIRST);
    let step = server.respond(message.as_bytes());
    assert!(!server.admits());
    assert_eq!(server.respond(b""), Step::Malformed, "no second chance");
    assert_eq!(server.respond(CLIENT_FINAL.as_bytes()), Step::Malformed, "no second chance");
    assert!(server.keys(keys(&["pencil"])).is_none() && !server.admits());
    step
}

#[test]
fn the_example_of_rfc_7677() {
    let mut server = begun(Channel::Unnamed);
    assert_eq!(server.respond(CLIENT_FIRST.as_bytes()), asks_for("user"));
    assert!(!server.admits());
    assert_eq!(said(server.keys(keys(&["pencil"])).unwrap()), SERVER_FIRST);
    assert_eq!(said(server.respond(CLIENT_FINAL.as_bytes())), SERVER_FINAL);
    assert!(!server.admits(), "the client has not yet heard us");
    assert_eq!(server.respond(b""), claims(ScramProof::Right { label: 10 }));
    assert!(server.admits());
}

#[test]
fn the_example_of_rfc_5802() {
    let mut server = ScramServer::new(ScramHash::Sha1, "3rfcNHYJY1ZVvWVs7j".to_owned(), Channel::Unnamed);
    let asked = server.respond(b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL");
    assert_eq!(asked, Step::Ask(Claim::Keys { hash: ScramHash::Sha1, user: "user".to_owned() }));
    let salt = BASE64.decode("QSXCR+Q6sek8bf92").unwrap();
    let keys = vec![key(ScramHash::Sha1, &salt, "pencil", 1)];
    let keys = ScramKeys { salt, iterations: NonZeroU32::new(4096).unwrap(), keys };
    assert_eq!(
        said(server.keys(keys).unwrap()),
        "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
    );
    let last = "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=";
    assert_eq!(said(server.respond(last.as_bytes())), "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=");
}

#[test]
fn whichever_of_a_users_passwords_it_is_its_label_says() {
    for (passwords, label) in [(["pencil", "other", "third"], 10), (["other", "third", "pencil"], 12)] {
        let mut server = begun(Channel::Unnamed);
        server.respond(CLIENT_FIRST.as_bytes());
        server.keys(keys(&passwords)).unwrap();
        assert_eq!(said(server.respond(CLIENT_FINAL.as_bytes())), SERVER_FINAL);
        assert_eq!(server.respond(b""), claims(ScramProof::Right { label }));
    }
}

#[test]
fn a_wrong_password_and_a_user_who_does_not_exist_look_alike() {
    for passwords in [&["other", "third"][..], &[]] {
        let mut server = begun(Channel::Unnamed);
        server.respond(CLIENT_FIRST.as_bytes());
        assert_eq!(said(server.keys(keys(passwords)).unwrap()), SERVER_FIRST);
        assert_eq!(server.respond(CLIENT_FINAL.as_bytes()), claims(ScramProof::Wrong));
        assert!(!server.admits());
    }
}

#[test]
fn keys_that_are_damaged_fit_nothing() {
    for stored in [&b""[..], &[0; 31], &[0; 32], &[0; 33]] {
        let mut damaged = keys(&["pencil"]);
        damaged.keys[0].stored = Secret::new(stored);
        let mut server = begun(Channel::Unnamed);
        server.respond(CLIENT_FIRST.as_bytes());
        server.keys(damaged).unwrap();
        assert_eq!(server.respond(CLIENT_FINAL.as_bytes()), claims(ScramProof::Wrong));
    }
}

#[test]
fn the_nonce_must_be_that_of_the_exchange() {
    for nonce in ["rOprNGfwEbeRWgbNEkqO", OURS, "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k1"] {
        let message = CLIENT_FINAL.replace("rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", nonce);
        assert_eq!(at_final(&message), void(ScramFault::Nonce), "{nonce}");
    }
}

#[test]
fn what_the_client_said_of_the_channel_must_be_repeated_as_it_was() {
    for header in ["y,,", "n,a=user,", "n,", "n,,x", "p=tls-exporter,,", ""] {
        let message = CLIENT_FINAL.replace("biws", &BASE64.encode(header));
        assert_eq!(at_final(&message), void(ScramFault::OtherChannel), "{header}");
    }
}

#[test]
fn a_wrong_proof_is_one_whatever_is_wrong_with_it() {
    assert_eq!(at_final(&CLIENT_FINAL.replace("p=dHz", "p=eHz")), claims(ScramProof::Wrong));
    let extended = CLIENT_FINAL.replace(",p=", ",x=y,p=");
    assert_eq!(at_final(&extended), claims(ScramProof::Wrong), "what was said is what is signed");
}

#[test]
fn a_final_message_out_of_form_is_malformed() {
    let nonce = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let proof = "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    for message in [
        String::new(),
        CLIENT_FIRST.to_owned(),
        format!("c=biws,{nonce}"),
        format!("{nonce},c=biws,{proof}"),
        format!("c=biws,{proof},{nonce}"),
        format!("c=biws,{nonce},m=x,{proof}"),
        format!("c=biws,{nonce},c=biws,{proof}"),
        format!("c=biw,{nonce},{proof}"),
        format!("c=biws,{nonce},{proof},x=y"),
        format!("c=biws,{nonce},{proof}="),
        format!("c=biws,{nonce},p="),
        format!("c=biws,{nonce},p=AAAA"),
        format!("c=biws,r=,{proof}"),
        format!("c=biws,r=\u{7f},{proof}"),
        format!(" {CLIENT_FINAL}"),
    ] {
        assert_eq!(at_final(&message), Step::Malformed, "{message:?}");
    }
}

#[test]
fn a_first_message_out_of_form_is_malformed() {
    let (long_name, long_nonce) = ("a".repeat(256), "a".repeat(MAX_CLIENT_NONCE + 1));
    for message in [
        "",
        "n",
        "n,,",
        "n=user,r=abc",
        "n,n=user,r=abc",
        "N,,n=user,r=abc",
        "nn,,n=user,r=abc",
        "p=,,n=user,r=abc",
        "p=tls exporter,,n=user,r=abc",
        "n,user,n=user,r=abc",
        "n,a=,n=user,r=abc",
        "n,,n=,r=abc",
        "n,,n=us=er,r=abc",
        "n,,n=us\u{7}er,r=abc",
        "n,,r=abc,n=user",
        "n,,n=user",
        "n,,n=user,r=",
        "n,,n=user,r=a b",
        "n,,n=user,r=\u{fc}",
        "n,,m=x,n=user,r=abc",
        "n,,n=user,r=abc,m=x",
        "n,,n=user,r=abc,r=abc",
        "n,,n=user,r=abc,",
        &format!("n,,n={long_name},r=abc"),
        &format!("n,,n=user,r={long_nonce}"),
    ] {
        let mut server = begun(Channel::Unnamed);
        assert_eq!(server.respond(message.as_bytes()), Step::Malformed, "{message:?}");
        assert_eq!(server.respond(CLIENT_FIRST.as_bytes()), Step::Malformed, "no second chance");
    }
    assert_eq!(begun(Channel::Unnamed).respond(b"n,,n=us\xffer,r=abc"), Step::Malformed);
}

#[test]
fn names_are_unescaped_and_prepared_and_oneself_is_nobody_else() {
    let asked = |message: &str| begun(Channel::Unnamed).respond(message.as_bytes());
    assert_eq!(asked("n,,n=a=2Cb=3Dc,r=abc"), asks_for("a,b=c"));
    assert_eq!(asked("n,,n=I\u{ad}X,r=abc,x=y"), asks_for("IX"));
    let other = |authzid: &str| {
        let mut server = begun(Channel::NotChosen);
        match server.respond(format!("y,{authzid},n=user,r=abc").as_bytes()) {
            Step::Ask(Claim::Scram { acting_as, .. }) => acting_as,
            step => panic!("{step:?}"),
        }
    };
    assert_eq!(other("a=ann").as_deref(), Some("ann"));
    assert_eq!(other("a=user"), None);
    assert_eq!(other(""), None);
}

#[test]
fn a_channel_binding_that_was_talked_away_is_noticed() {
    let said = |flag: &str, channel: Channel| {
        begun(channel).respond(format!("{flag},,n=user,r=rOprNGfwEbeRWgbNEkqO").as_bytes())
    };
    let named = || {
        Channel::Named(ChannelBindings {
            exporter: Some(Binding::tls_exporter([1; 32])),
            ..ChannelBindings::default()
        })
    };
    assert_eq!(said("n", Channel::Unnamed), asks_for("user"));
    assert_eq!(said("y", Channel::Unnamed), asks_for("user"));
    assert_eq!(said("n", Channel::NotChosen), asks_for("user"));
    assert_eq!(said("y", Channel::NotChosen), void(ScramFault::Downgraded));
    assert_eq!(said("p=tls-exporter", Channel::Unnamed), void(ScramFault::Mismatch));
    assert_eq!(said("p=tls-exporter", Channel::NotChosen), void(ScramFault::Mismatch));
    assert_eq!(said("n", named()), void(ScramFault::Mismatch));
    assert_eq!(said("y", named()), void(ScramFault::Mismatch));
    assert_eq!(said("p=tls-exporter", named()), asks_for("user"));
    for unknown in ["p=tls-unique", "p=TLS-EXPORTER", "p=tls-server-end-point"] {
        assert_eq!(said(unknown, named()), void(ScramFault::UnknownChannel), "{unknown}");
    }
}

/// The proof of the client's own test of the same, worked out with another implementation.
#[test]
fn the_channel_must_be_ours() {
    let last = "c=cD10bHMtZXhwb3J0ZXIsLAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f,\
        r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=QC6CS20quADQRb3mT99YUH+n3VJxUvzuK0K0E1Vrs2M=";
    let with = |exported: [u8; 32]| {
        let bindings =
            ChannelBindings { exporter: Some(Binding::tls_exporter(exported)), ..ChannelBindings::default() };
        let mut server = begun(Channel::Named(bindings));
        assert_eq!(server.respond(b"p=tls-exporter,,n=user,r=rOprNGfwEbeRWgbNEkqO"), asks_for("user"));
        server.keys(keys(&["pencil"])).unwrap();
        server.respond(last.as_bytes())
    };
    let ours = std::array::from_fn(|index| u8::try_from(index).unwrap());
    assert_eq!(said(with(ours)), "v=2GiAgapEppLVlUXbxUDksL3VgYHzuqiK5tR4mhJGgvs=");
    assert_eq!(with([0; 32]), void(ScramFault::OtherChannel));
}

#[test]
fn nothing_but_an_empty_line_acknowledges_our_proof() {
    let mut server = begun(Channel::Unnamed);
    server.respond(CLIENT_FIRST.as_bytes());
    server.keys(keys(&["pencil"])).unwrap();
    said(server.respond(CLIENT_FINAL.as_bytes()));
    assert_eq!(server.respond(b"x"), Step::Malformed);
    assert_eq!(server.respond(b""), Step::Malformed);
    assert!(!server.admits());
}

#[test]
fn debug_output_shows_no_key_and_no_proof() {
    let mut server = begun(Channel::Unnamed);
    server.respond(CLIENT_FIRST.as_bytes());
    server.keys(keys(&["pencil"])).unwrap();
    let shown = format!("{server:?}");
    assert!(shown.contains("redacted") && !shown.contains("pencil"), "{shown}");
}
