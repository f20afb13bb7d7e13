//! What a section says of its peers: `tls`, `trust`, `pins` and `distrust`, which connectors and outbound policies share,
//! and whether the demand can ever be met.
//!
//! What it deliberately does not do: decide which keys a section may have.

use postern_dns::DnssecMode;
use postern_pki::Pin;
use postern_smtp::tls::{Proof, TlsRequirement};

use crate::config::model::{Dns, PeerDemand};
use crate::config::reader::{Reader, Section};

/// What can be demanded of all peers alike.
pub(super) const GENERAL: [(&str, TlsRequirement); 5] = [
    ("none", TlsRequirement::NONE),
    ("opportunistic", TlsRequirement::OPPORTUNISTIC),
    ("required", TlsRequirement::REQUIRED),
    ("verified", TlsRequirement::VERIFIED),
    ("dane", TlsRequirement::DANE),
];

/// What can be demanded of known peers.
const OF_KNOWN: [(&str, TlsRequirement); 6] =
    [GENERAL[0], GENERAL[1], GENERAL[2], GENERAL[3], GENERAL[4], ("pinned", TlsRequirement::PINNED)];

/// What the section says; whoever writes pins means them, so that they change the default.
pub(super) fn peer<'a>(reader: &mut Reader<'a>, at: &Section<'a>, default: &str) -> Option<PeerDemand> {
    let default = if at.writes("pins") { "pinned" } else { default };
    let requirement = reader.choice(at, "tls", Some(default), &OF_KNOWN);
    let trust = reader.trust(at, "trust");
    let pins = reader.list(at, "pins", pin);
    let distrust = reader.list(at, "distrust", pin);
    if let (Some(pins), Some(distrust)) = (&pins, &distrust) {
        refuse_contradiction(reader, at, pins, distrust);
    }
    if let (Some(requirement), Some(pins)) = (requirement, &pins) {
        refuse_nothing_pinned(reader, at, requirement, pins);
    }
    Some(PeerDemand { requirement: requirement?, trust, pins: pins?, distrust: distrust? })
}

/// What is judged by trust anchors or pins, and nothing asks for it: neither the section nor what `general` demands of all.
pub(super) fn warn_of_no_effect(
    reader: &mut Reader<'_>,
    at: &Section<'_>,
    peer: &PeerDemand,
    general: TlsRequirement,
) {
    let demanded = peer.requirement.join(general).proofs();
    if peer.trust.is_some() && !demanded.contains(Proof::Verified) {
        let what = "it has no effect: certificates are verified only with tls = \"verified\"";
        reader.warn(at, "trust", what, "write tls = \"verified\", or remove the key");
    }
    if !peer.pins.is_empty() && !demanded.contains(Proof::Pinned) {
        let what = format!("they have no effect: tls = \"{}\" does not ask for them", peer.requirement);
        reader.warn(at, "pins", what, "write tls = \"pinned\", or remove the key");
    }
}

/// A digest of a certificate or of its key.
pub(super) fn pin(text: &str) -> Result<Pin, String> {
    text.parse().map_err(|error| format!("\"{text}\" is not a pin: {error}"))
}

/// What decides whether TLSA records can ever be had: without them a peer that must match one is never reached.
#[derive(Clone, Copy)]
pub(super) struct DaneUse<'d> {
    /// Whether mail goes to an SMTP server, for which alone they are looked up.
    pub(super) exchanges: bool,
    /// Whether they are looked up there.
    pub(super) dane: Option<bool>,
    pub(super) dns: Option<&'d Dns>,
}

impl DaneUse<'_> {
    /// Complains of a demand for DANE that nobody could ever meet. `key` is what demands it.
    pub(super) fn judge(&self, reader: &mut Reader<'_>, at: &Section<'_>, key: &str, demand: TlsRequirement) {
        if !demand.proofs().contains(Proof::Dane) {
            return;
        }
        if !self.exchanges {
            let what = "only mail that goes by \"mx\" or to an \"smtp:\" host can be protected so";
            reader.complain(at, key, what, "write tls = \"verified\" or \"pinned\"");
        } else if let Some(why) = self.dns.and_then(never_secure) {
            let what = format!("DANE rests on DNSSEC, and {why}: such mail would wait for ever");
            let remedy = "let [dns] dnssec be \"resolver\" with a validating resolver on this machine, or \"own\"; \
                          or demand something else here";
            reader.complain(at, key, what, remedy);
        } else if self.dane == Some(false) {
            let what =
                "DANE is demanded and dane = false forbids to look for it: such mail would wait for ever";
            reader.complain(at, key, what, "write dane = true, or demand something else than DANE");
        }
    }
}

/// Why no answer of DNS is ever secure, where that shows in the file.
fn never_secure(dns: &Dns) -> Option<&'static str> {
    match dns.dnssec {
        DnssecMode::Off => Some("[dns] dnssec is \"off\""),
        DnssecMode::Resolver if no_server_is_here(dns) => {
            Some("none of [dns] servers is on this machine, so that their word on DNSSEC is not taken")
        }
        DnssecMode::Resolver | DnssecMode::Own { .. } => None,
    }
}

/// Whether servers are named, and all of them are other machines'.
pub(super) fn no_server_is_here(dns: &Dns) -> bool {
    !dns.servers.is_empty() && !dns.servers.iter().any(|server| server.ip().to_canonical().is_loopback())
}

fn refuse_contradiction(reader: &mut Reader<'_>, at: &Section<'_>, pins: &[Pin], distrust: &[Pin]) {
    for both in pins.iter().filter(|pin| distrust.contains(pin)) {
        let what = format!("{both} is pinned and distrusted at once");
        reader.complain(at, "distrust", what, "remove it from pins or from distrust");
    }
}

fn refuse_nothing_pinned(
    reader: &mut Reader<'_>,
    at: &Section<'_>,
    requirement: TlsRequirement,
    pins: &[Pin],
) {
    if requirement == TlsRequirement::PINNED && pins.is_empty() {
        let key = if at.writes("pins") { "pins" } else { "tls" };
        let what = "no certificate and no key is pinned, so none would ever do";
        let remedy = "write pins = [\"spki-sha256:…\"] with the digest of the peer's key, which `postern probe HOST` shows";
        reader.complain(at, key, what, remedy);
    }
}
