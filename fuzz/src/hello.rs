//! What a client begins TLS with.

use postern_smtp::tls::TlsOffer;

/// The first octets of a connection: what is read of them is bounded and fit for a terminal, does not depend on what
/// follows, and is whole or nothing.
pub fn tls_offer(data: &[u8]) {
    let Some(offer) = TlsOffer::parse(data) else { return };
    assert!(offer.versions.len() <= 16 && offer.ciphers.len() <= 128 && offer.groups.len() <= 32);
    assert!(offer.protocols.len() <= 8);
    let names = offer.protocols.iter().chain(&offer.server_name);
    assert!(names.into_iter().all(|name| name.len() <= 255));
    assert!(!offer.to_string().contains(char::is_control));
    assert_eq!(TlsOffer::parse(&[data, b"more"].concat()), Some(offer.clone()));
    for length in 0..data.len().min(600) {
        let begun = TlsOffer::parse(&data[..length]);
        assert!(begun.is_none_or(|begun| begun == offer));
    }
}

/// What real programs sent, by name.
pub fn hello_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let recorded = [
        ("openssl", include_str!("../../crates/smtp/tests/hellos/openssl.hex")),
        ("openssl-tls1.1", include_str!("../../crates/smtp/tests/hellos/openssl-tls1.1.hex")),
        ("openssl-tls1.0", include_str!("../../crates/smtp/tests/hellos/openssl-tls1.0.hex")),
        ("gnutls", include_str!("../../crates/smtp/tests/hellos/gnutls.hex")),
        ("curl", include_str!("../../crates/smtp/tests/hellos/curl.hex")),
        ("python", include_str!("../../crates/smtp/tests/hellos/python.hex")),
    ];
    let ssl2 = [&[0x80, 28, 1, 3, 1, 0, 3, 0, 0, 0, 16, 0, 0, 0x2f][..], &[7; 16]].concat();
    recorded.map(|(name, hex)| (name, octets(hex))).into_iter().chain([("ssl2", ssl2)]).collect()
}

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).filter_map(|d| u8::try_from(d).ok()).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
