//! What a client offers when it begins TLS, and how a handshake with it can end badly: values for whoever explains it.
//!
//! The types to know: [`TlsOffer`], the first message of a handshake (ClientHello, RFC 8446 §4.1.2), as far as it tells old
//! programs, narrow settings and wrong names apart; [`HandshakeFault`], what ended a handshake; [`Alert`], the number by
//! which either side says why (RFC 8446 §6).
//!
//! What it deliberately does not do: decide anything about a handshake (the TLS library does), or advise.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a client offered, bounded and cleaned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsOffer {
    /// Versions that it speaks, newest first, as on the wire: 0x0304 is TLS 1.3, 0x0303 TLS 1.2, 0x0300 SSLv3, 0x0002 SSLv2.
    pub versions: Vec<u16>,
    /// The name of the server that it asks for (SNI), when it does.
    pub server_name: Option<String>,
    /// Protocols that it wants to speak over TLS (ALPN): `acme-tls/1`, `http/1.1`.
    pub protocols: Vec<String>,
    /// Cipher suites, by number, in its order.
    pub ciphers: Vec<u16>,
    /// Key exchange groups, by number, in its order.
    pub groups: Vec<u16>,
}

/// What ended a handshake with a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HandshakeFault {
    /// There is no version that both sides speak.
    NoCommonVersion,
    /// There is no cipher suite that both sides speak.
    NoCommonCipher,
    /// There is no key exchange group that both sides speak.
    NoCommonGroup,
    /// There is no signature algorithm that both sides take.
    NoCommonSignature,
    /// The client said why it will not go on.
    Alert(Alert),
    /// The client closed without a word.
    Closed,
    /// The connection was reset.
    Reset,
    /// The client did not go on.
    TimedOut,
    /// What came is not TLS.
    NotTls,
    /// The client showed no certificate, or one that does not verify, where one is demanded.
    ClientCertificate,
    /// No certificate of ours is usable.
    NoIdentity,
    /// The client broke the protocol, or its messages could not be read.
    Broken,
    /// We shut down meanwhile.
    Drained,
}

/// Why one side gives up on TLS, as the number on the wire (RFC 8446 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Alert(pub u8);

impl Alert {
    /// It could not agree on parameters.
    pub const HANDSHAKE_FAILURE: Self = Self(40);
    /// The certificate was corrupt, or its signatures did not verify.
    pub const BAD_CERTIFICATE: Self = Self(42);
    /// The certificate is of a type that is not taken.
    pub const UNSUPPORTED_CERTIFICATE: Self = Self(43);
    /// The certificate was revoked.
    pub const CERTIFICATE_REVOKED: Self = Self(44);
    /// The certificate has expired, or is not valid yet.
    pub const CERTIFICATE_EXPIRED: Self = Self(45);
    /// The certificate is not acceptable for another reason.
    pub const CERTIFICATE_UNKNOWN: Self = Self(46);
    /// The certificate's authority is not known or not trusted.
    pub const UNKNOWN_CA: Self = Self(48);
    /// It knows the version, and does not take it.
    pub const PROTOCOL_VERSION: Self = Self(70);
    /// It demands stronger ciphers.
    pub const INSUFFICIENT_SECURITY: Self = Self(71);
    /// It does not know the name that was asked for.
    pub const UNRECOGNIZED_NAME: Self = Self(112);

    /// Its name: `unknown_ca`.
    pub fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "close_notify",
            10 => "unexpected_message",
            20 => "bad_record_mac",
            21 => "decryption_failed",
            22 => "record_overflow",
            30 => "decompression_failure",
            40 => "handshake_failure",
            41 => "no_certificate",
            42 => "bad_certificate",
            43 => "unsupported_certificate",
            44 => "certificate_revoked",
            45 => "certificate_expired",
            46 => "certificate_unknown",
            47 => "illegal_parameter",
            48 => "unknown_ca",
            49 => "access_denied",
            50 => "decode_error",
            51 => "decrypt_error",
            60 => "export_restriction",
            70 => "protocol_version",
            71 => "insufficient_security",
            80 => "internal_error",
            86 => "inappropriate_fallback",
            90 => "user_canceled",
            100 => "no_renegotiation",
            109 => "missing_extension",
            110 => "unsupported_extension",
            112 => "unrecognized_name",
            113 => "bad_certificate_status_response",
            115 => "unknown_psk_identity",
            116 => "certificate_required",
            120 => "no_application_protocol",
            _ => return None,
        })
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "alert {}", self.0),
        }
    }
}
