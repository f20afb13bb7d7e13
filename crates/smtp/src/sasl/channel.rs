//! What a TLS channel is called, for SCRAM's -PLUS variants (RFC 5056): whoever signs in proves that he is at the other end
//! of this very channel, and nobody passes the exchange on from another one.
//!
//! A [`Binding`] is one name of the channel, of its type; [`ChannelBindings`] are all that TLS can give. What it
//! deliberately does not do: take them from a connection.

use crate::secret::Secret;

/// The name of a TLS channel that both its ends know and nobody else can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    kind: Kind,
    octets: Secret,
}

/// The types that are known here, by the names of RFC 5929 and RFC 9266.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exporter,
    ServerEndPoint,
}

/// The names that one TLS channel has. None at all: TLS has no sound one to give, or there is no TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChannelBindings {
    /// `tls-exporter` (RFC 9266).
    pub exporter: Option<Binding>,
    /// `tls-server-end-point` (RFC 5929 §4).
    pub server_end_point: Option<Binding>,
}

impl Binding {
    /// `tls-exporter` (RFC 9266 §2): 32 octets of keying material exported with the label `EXPORTER-Channel-Binding`
    /// and an empty context. With TLS 1.2 it is sound only together with the extended master secret (RFC 9266 §4.2).
    pub fn tls_exporter(exported: [u8; 32]) -> Self {
        Self { kind: Kind::Exporter, octets: Secret::new(exported) }
    }

    /// `tls-server-end-point` (RFC 5929 §4.1): the hash of the server's certificate, by the hash that it is signed with.
    pub fn tls_server_end_point(certificate_hash: impl Into<Vec<u8>>) -> Self {
        Self { kind: Kind::ServerEndPoint, octets: Secret::new(certificate_hash) }
    }

    /// The type's registered name.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Exporter => "tls-exporter",
            Kind::ServerEndPoint => "tls-server-end-point",
        }
    }

    pub(super) fn octets(&self) -> &[u8] {
        self.octets.expose()
    }
}

impl ChannelBindings {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    /// The one of this type.
    pub(super) fn named(&self, name: &str) -> Option<&Binding> {
        self.all().find(|binding| binding.name() == name)
    }

    fn all(&self) -> impl Iterator<Item = &Binding> {
        self.exporter.iter().chain(&self.server_end_point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_found_by_the_name_of_the_type_alone() {
        let exporter = Binding::tls_exporter([1; 32]);
        let end_point = Binding::tls_server_end_point([2; 48]);
        let both =
            ChannelBindings { exporter: Some(exporter.clone()), server_end_point: Some(end_point.clone()) };
        assert_eq!(both.named("tls-exporter"), Some(&exporter));
        assert_eq!(both.named("tls-server-end-point"), Some(&end_point));
        for name in ["tls-unique", "TLS-EXPORTER", "tls-exporter ", ""] {
            assert_eq!(both.named(name), None, "{name:?}");
        }
        assert!(!both.is_empty() && ChannelBindings::default().is_empty());
        let one = ChannelBindings { server_end_point: Some(end_point), ..ChannelBindings::default() };
        assert!(!one.is_empty() && one.named("tls-exporter").is_none());
    }
}
