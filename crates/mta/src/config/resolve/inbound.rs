//! `[[inbound.policy]]`: what is demanded of some clients beyond what their listener demands.
//!
//! [`policies`] reads them all; an [`InboundPolicy`] comes out of each. A policy holds for sender domains, for networks, or
//! for both. One that holds for nobody, or that no client could meet because no listener asks for certificates, is a
//! problem; one that holds for everybody is a warning.
//!
//! What it deliberately does not do: match clients against policies (`inbound::demands` does), or lower what a listener
//! demands: a policy only adds.

use postern_pki::MinimumVersion;

use super::connector::address_space;
use super::listener::{VERSIONS, version_word};
use super::width::canonical;
use super::{Unique, network};
use crate::config::model::{AddressSpace, ClientCertificates, InboundPolicy, InboundTls, Listener};
use crate::config::reader::{Reader, Section};

pub(super) fn policies<'a>(
    reader: &mut Reader<'a>,
    top: &Section<'a>,
    minimum: Option<MinimumVersion>,
    listeners: Option<&[Listener]>,
) -> Option<Vec<InboundPolicy>> {
    let inbound = &reader.section(top, "inbound");
    let sections = reader.sections(inbound, "policy");
    let mut names = Unique::new("a policy");
    let mut policies = Vec::new();
    for at in &sections {
        let policy = policy(reader, at, minimum);
        names.check(reader, at, None);
        if let (Some(policy), Some(listeners)) = (&policy, listeners) {
            refuse_unmeetable(reader, at, policy.tls, listeners);
        }
        policies.push(policy);
    }
    policies.into_iter().collect()
}

fn policy<'a>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    minimum: Option<MinimumVersion>,
) -> Option<InboundPolicy> {
    let name = reader.name(at, "name");
    let (senders, sound) = reader.list_and_items(at, "senders", address_space);
    let networks = reader.list(at, "networks", network);
    let demands = [("required", InboundTls::Required), ("verified", InboundTls::Verified)];
    let tls = reader.choice(at, "tls", None, &demands);
    let minimum = reader.choice(at, "tls_minimum", minimum.map(version_word), &VERSIONS);
    if senders.as_ref().is_some_and(Vec::is_empty) && networks.as_ref().is_some_and(Vec::is_empty) {
        let remedy =
            "write senders or networks; to demand TLS of everybody, write tls = \"required\" in the listener";
        reader.complain(at, "", "it names neither senders nor networks, so it would hold for nobody", remedy);
    }
    if sound.contains(&AddressSpace::Any) {
        let what = "it holds for every sender: other servers that cannot do this cannot deliver here";
        reader.warn(at, "senders", what, "name the domains that are known to do it");
    }
    let networks = networks.map(|networks| networks.into_iter().map(canonical).collect());
    Some(InboundPolicy { name: name?, senders: senders?, networks: networks?, tls: tls?, minimum: minimum? })
}

/// Certificates that no listener asks for are never shown.
fn refuse_unmeetable(reader: &mut Reader<'_>, at: &Section<'_>, tls: InboundTls, listeners: &[Listener]) {
    let asks = |listener: &Listener| listener.client_certificates != ClientCertificates::Ignored;
    if tls == InboundTls::Verified && !listeners.iter().any(asks) {
        let what = "no listener asks for client certificates, so all of this mail would be refused";
        let remedy =
            "write client_certificates = \"asked\" and client_ca in the listener, or tls = \"required\" here";
        reader.complain(at, "tls", what, remedy);
    }
}
