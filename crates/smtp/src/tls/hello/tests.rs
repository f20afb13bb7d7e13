//! Hellos that real programs sent, and what strangers could make of them.

use proptest::prelude::*;

use super::*;

/// What each of these sent as its first flight.
const OPENSSL: &str = include_str!("../../../tests/hellos/openssl.hex");
const OPENSSL_TLS_1_1: &str = include_str!("../../../tests/hellos/openssl-tls1.1.hex");
const OPENSSL_TLS_1_0: &str = include_str!("../../../tests/hellos/openssl-tls1.0.hex");
const GNUTLS: &str = include_str!("../../../tests/hellos/gnutls.hex");
const CURL: &str = include_str!("../../../tests/hellos/curl.hex");
const PYTHON: &str = include_str!("../../../tests/hellos/python.hex");
const ALL: [&str; 6] = [OPENSSL, OPENSSL_TLS_1_1, OPENSSL_TLS_1_0, GNUTLS, CURL, PYTHON];

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(octet).collect()
}

fn offer(hex: &str) -> TlsOffer {
    TlsOffer::parse(&octets(hex)).unwrap()
}

#[test]
fn programs_of_today_are_read() {
    for (hex, groups_begin) in [(OPENSSL, 0x001d), (GNUTLS, 0x0017), (CURL, 0x001d), (PYTHON, 0x001d)] {
        let offer = offer(hex);
        assert_eq!(offer.versions[..2], [0x0304, 0x0303], "{offer}");
        assert_eq!(offer.server_name.as_deref(), Some("mail.example.org"), "{offer}");
        assert!(offer.ciphers.contains(&0x1301) && offer.ciphers.contains(&0xc02f), "{offer}");
        assert!(!offer.ciphers.contains(&0x00ff), "{offer}");
        assert_eq!(offer.groups[0], groups_begin, "{offer}");
    }
    assert_eq!(offer(OPENSSL).protocols, ["smtp"]);
    assert!(offer(GNUTLS).protocols.is_empty());
}

#[test]
fn programs_of_yesterday_say_their_newest_version() {
    assert_eq!(offer(OPENSSL_TLS_1_1).versions, [0x0302]);
    let old = offer(OPENSSL_TLS_1_0);
    assert_eq!((old.versions.as_slice(), old.server_name.as_deref()), (&[0x0301][..], None));
    assert!(old.ciphers.contains(&0x0035), "{old}");
}

/// As a hello of SSL 2.0: version, cipher specs, and a challenge.
fn ssl2(version: u16, specs: &[[u8; 3]]) -> Vec<u8> {
    let specs = specs.concat();
    let mut message = vec![CLIENT_HELLO];
    message.extend(version.to_be_bytes());
    message.extend(u16::try_from(specs.len()).unwrap().to_be_bytes());
    message.extend([0, 0, 0, 16]);
    message.extend(specs);
    message.extend([7; 16]);
    let length = u16::try_from(message.len()).unwrap() | 0x8000;
    [&length.to_be_bytes()[..], &message].concat()
}

#[test]
fn the_form_of_ssl_2_is_read() {
    let specs = [[0, 0, 0x2f], [1, 0, 0x80], [0, 0, 0xff], [0, 0, 0x0a]];
    let offer = TlsOffer::parse(&ssl2(0x0301, &specs)).unwrap();
    assert_eq!(offer.versions, [0x0301, 0x0002]);
    assert_eq!(offer.ciphers, [0x002f, 0x000a]);
    let newer = TlsOffer::parse(&ssl2(0x0301, &specs[..1])).unwrap();
    assert_eq!(newer.versions, [0x0301]);
    let pure = TlsOffer::parse(&ssl2(0x0002, &specs[1..2])).unwrap();
    assert_eq!((pure.versions, pure.ciphers), (vec![0x0002], vec![]));
    assert_eq!(TlsOffer::parse(&ssl2(0x0401, &specs)), None);
}

/// The same message in records of so many octets.
fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
    let record = |piece: &[u8]| {
        let length = u16::try_from(piece.len()).unwrap().to_be_bytes();
        [&[HANDSHAKE, 3, 1][..], &length, piece].concat()
    };
    hello[5..].chunks(size).flat_map(record).collect()
}

#[test]
fn a_hello_in_many_records_is_the_same_hello() {
    for hex in ALL {
        let hello = octets(hex);
        for size in [1, 2, 3, 5, 100, 511] {
            assert_eq!(TlsOffer::parse(&in_records(&hello, size)), Some(offer(hex)));
        }
    }
}

#[test]
fn what_follows_the_hello_does_not_matter_and_what_lacks_of_it_does() {
    for hex in ALL {
        let hello = octets(hex);
        assert_eq!(TlsOffer::parse(&[&hello[..], b"\x14\x03\x03\0\x01\x01"].concat()), Some(offer(hex)));
        for length in 0..hello.len() {
            assert_eq!(TlsOffer::parse(&hello[..length]), None, "{length}");
        }
    }
}

/// A hello with these extensions.
fn with_extensions(extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let long = |content: &[u8]| [&u16::try_from(content.len()).unwrap().to_be_bytes()[..], content].concat();
    let extension = |(kind, content): &(u16, &[u8])| [&kind.to_be_bytes()[..], &long(content)].concat();
    let extensions: Vec<u8> = extensions.iter().flat_map(extension).collect();
    let body = [&[3, 3][..], &[7; 32], &[0, 0, 4, 0x0a, 0x0a, 0x13, 0x01, 1, 0], &long(&extensions)].concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[CLIENT_HELLO], &length[1..], &body].concat();
    [&[HANDSHAKE, 3, 1][..], &long(&message)].concat()
}

#[test]
fn grease_is_no_offer() {
    let hello = with_extensions(&[
        (0xdada, b""),
        (SUPPORTED_VERSIONS, b"\x06\x7a\x7a\x03\x03\x03\x04"),
        (SUPPORTED_GROUPS, b"\0\x04\x2a\x2a\0\x1d"),
        (ALPN, b"\0\x08\x02\x1a\x1a\x04smtp"),
    ]);
    let offer = TlsOffer::parse(&hello).unwrap();
    assert_eq!(offer.versions, [0x0304, 0x0303]);
    assert_eq!((offer.ciphers, offer.groups), (vec![0x1301], vec![0x001d]));
    assert_eq!(offer.protocols, ["smtp"]);
}

#[test]
fn what_is_not_sound_is_no_hello() {
    let odd: [&[(u16, &[u8])]; 6] = [
        &[(SUPPORTED_GROUPS, b"\0\x03\0\x1d\0")],
        &[(SUPPORTED_GROUPS, b"\0\x02\0\x1d\0")],
        &[(SUPPORTED_VERSIONS, b"\x02\x03\x04"), (SUPPORTED_VERSIONS, b"\x02\x03\x03")],
        &[(SERVER_NAME, b"\0\x09\0\0\x05mail")],
        &[(ALPN, b"\0\x04\x04smtp")],
        &[(ALPN, b"")],
    ];
    for extensions in odd {
        assert_eq!(TlsOffer::parse(&with_extensions(extensions)), None, "{extensions:?}");
    }
    for octets in
        [&b""[..], b"\x16", b"\x16\x03\x01\0\0", b"EHLO a\r\n", b"\x80\x01\x01", b"\x16\x03\x01\xff\xff"]
    {
        assert_eq!(TlsOffer::parse(octets), None, "{octets:?}");
    }
}

#[test]
fn lists_are_cut_and_texts_cleaned() {
    let many =
        |count: u16| (0..count).flat_map(|number| (0x2000 + number).to_be_bytes()).collect::<Vec<u8>>();
    let list = [&2000_u16.to_be_bytes()[..], &many(1000)].concat();
    let name = b"\0\x0a\0\0\x07a\x1b[31m\xff";
    let hello = with_extensions(&[(SUPPORTED_GROUPS, &list), (SERVER_NAME, name), (ALPN, &[0, 2, 1, 7])]);
    let offer = TlsOffer::parse(&hello).unwrap();
    assert_eq!(offer.groups.len(), GROUPS_MOST);
    assert_eq!(offer.server_name.as_deref(), Some("a?[31m?"));
    assert_eq!(offer.protocols, ["?"]);
}

proptest! {
    #[test]
    fn whatever_comes_is_read_within_bounds(
        which in 0..ALL.len(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        size in 1_usize..600,
    ) {
        let mut hello = octets(ALL[which]);
        for (at, octet) in changes {
            let at = at.index(hello.len());
            hello[at] = octet;
        }
        let offer = TlsOffer::parse(&hello);
        if hello[..5] == octets(ALL[which])[..5] {
            prop_assert_eq!(TlsOffer::parse(&in_records(&hello, size)), offer.clone());
        }
        if let Some(offer) = offer {
            prop_assert!(offer.versions.len() <= VERSIONS_MOST && offer.ciphers.len() <= CIPHERS_MOST);
            prop_assert!(offer.groups.len() <= GROUPS_MOST && offer.protocols.len() <= PROTOCOLS_MOST);
            prop_assert!(!offer.to_string().contains(char::is_control));
        }
    }
}
