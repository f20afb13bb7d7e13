//! What is true of an established TLS connection, in the session's own words.
//!
//! [`facts_of_server`] is for connections that a client opened to us; for those that we open, the client's side of this crate
//! calls `facts` with the proof that it found. Both give a [`TlsFacts`]: version, suite and group under the names of
//! IANA, what the peer proved, and the channel bindings that SCRAM wants.
//!
//! What it deliberately does not do: decide whether that is enough (the requirement does), or give a channel binding where
//! it would not be safe: below TLS 1.3 there is none but the hash of the certificate that we have shown.

use jiff::Timestamp;
use postern_smtp::sasl::{Binding, ChannelBindings};
use postern_smtp::tls::{PeerProof, TlsFacts};
use rustls::{ConnectionCommon, ProtocolVersion, ServerConnection};

use crate::ClientCertificates;

/// What is true of a connection that a client opened to us, and what its certificate proves at this time, where the
/// listener asks for one. `certificates` must be the listener's own, those that its settings were made with.
/// Which certificate was shown only [`Shown`](crate::Shown) knows: the binding by it is added from there.
pub fn facts_of_server(
    connection: &ServerConnection,
    certificates: &ClientCertificates,
    now: Timestamp,
) -> TlsFacts {
    let server_name = connection.server_name().map(str::to_owned);
    facts(connection, server_name, certificates.judge(connection, now))
}

pub(crate) fn facts<Side>(
    connection: &ConnectionCommon<Side>,
    server_name: Option<String>,
    peer: PeerProof,
) -> TlsFacts {
    let group = connection.negotiated_key_exchange_group().and_then(|group| group.name().as_str());
    TlsFacts {
        version: version(connection.protocol_version()),
        cipher: cipher(connection.negotiated_cipher_suite()),
        group: group.map(str::to_owned),
        server_name,
        peer,
        channel_bindings: ChannelBindings { exporter: exporter(connection), server_end_point: None },
    }
}

/// `tls-exporter` (RFC 9266 §2), with TLS 1.3 only: with TLS 1.2 it needs the extended master secret (RFC 9266 §4.2),
/// and the library does not say whether that was negotiated.
fn exporter<Side>(connection: &ConnectionCommon<Side>) -> Option<Binding> {
    if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return None;
    }
    let label = b"EXPORTER-Channel-Binding";
    connection.export_keying_material([0; 32], label, Some(b"")).ok().map(Binding::tls_exporter)
}

fn version(version: Option<ProtocolVersion>) -> String {
    match version {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3".to_owned(),
        Some(ProtocolVersion::TLSv1_2) => "TLSv1.2".to_owned(),
        Some(other) => format!("{other:?}"),
        None => "unknown".to_owned(),
    }
}

/// rustls writes `TLS13_AES_128_GCM_SHA256` where IANA has `TLS_AES_128_GCM_SHA256`.
fn cipher(suite: Option<rustls::SupportedCipherSuite>) -> String {
    let name = suite.and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
    name.replacen("TLS13_", "TLS_", 1)
}
