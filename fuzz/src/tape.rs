//! The part of an input that decides what happens around the bytes on the wire.

use postern_smtp::sasl::{Binding, ChannelBindings};
use postern_smtp::tls::{PeerProof, Proof, TlsFacts};

/// Decisions, octet by octet; when they are used up they begin again.
pub(crate) struct Tape<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Tape<'a> {
    /// Splits an input: its first octet says how many decisions follow, and behind them is the wire.
    pub(crate) fn split(data: &'a [u8]) -> (Self, &'a [u8]) {
        let (length, rest) = data.split_first().unwrap_or((&0, &[]));
        let (octets, wire) = rest.split_at(rest.len().min(usize::from(*length)));
        (Self { octets, at: 0 }, wire)
    }

    /// The next decision; without any it is always the first choice.
    pub(crate) fn next(&mut self) -> u8 {
        let octet = self.octets.get(self.at % self.octets.len().max(1));
        self.at += 1;
        octet.copied().unwrap_or(0)
    }

    /// One of these.
    pub(crate) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.next()) % choices.len()].clone()
    }

    /// Splits off what arrives at once: one line, everything, or any number of octets.
    pub(crate) fn piece<'w>(&mut self, wire: &'w [u8]) -> (&'w [u8], &'w [u8]) {
        let length = match self.next() {
            0 => wire.iter().position(|octet| *octet == b'\n').map_or(wire.len(), |at| at + 1),
            1 => wire.len(),
            octets => usize::from(octets) - 1,
        };
        wire.split_at(length.min(wire.len()))
    }

    /// A connection under TLS.
    pub(crate) fn facts(&mut self) -> TlsFacts {
        let unverified = PeerProof::unverified("self-signed");
        let by_dane = PeerProof { given: Proof::Dane.into(), ..PeerProof::default() };
        TlsFacts {
            version: "TLSv1.3".to_owned(),
            cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
            group: None,
            server_name: None,
            peer: self.pick(&[PeerProof::verified(), PeerProof::anonymous(), unverified, by_dane]),
            channel_bindings: self.pick(&[bindings(), ChannelBindings::default()]),
        }
    }
}

/// What a channel under TLS is called.
pub(crate) fn bindings() -> ChannelBindings {
    ChannelBindings {
        exporter: Some(Binding::tls_exporter([3; 32])),
        server_end_point: Some(Binding::tls_server_end_point([4; 32])),
    }
}
