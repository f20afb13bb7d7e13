//! `[outbound]`: what is demanded of all mail that leaves by SMTP, and what connectors look for unless they say otherwise.
//!
//! [`outbound`] reads the section and its `[[outbound.policy]]`, which demand more for some destinations. The type to know:
//! [`Read`], which has each value on its own, so that connectors are still judged where another value is wrong. Two policies
//! for one address space are a problem; a demand that much of the world cannot meet is a warning.
//!
//! What it deliberately does not do: join these demands with those of connectors, DANE or MTA-STS (the plan of a delivery
//! does), or read connectors.

use std::collections::HashMap;

use postern_smtp::tls::TlsRequirement;

use super::connector::address_space;
use super::peer::{DaneUse, GENERAL, peer};
use crate::config::model::{AddressSpace, Dns, Outbound, SpacePolicy};
use crate::config::reader::{Reader, Section};

/// `[outbound]` as it was read: what connectors need of it holds though something else is wrong.
pub(super) struct Read {
    pub(super) outbound: Option<Outbound>,
    pub(super) requirement: Option<TlsRequirement>,
    pub(super) dane: Option<bool>,
    pub(super) mta_sts: Option<bool>,
}

pub(super) fn outbound<'a>(reader: &mut Reader<'a>, top: &Section<'a>, dns: Option<&Dns>) -> Read {
    let at = &reader.section(top, "outbound");
    let requirement = reader.choice(at, "tls", None, &GENERAL);
    let dane = reader.switch(at, "dane", None);
    let mta_sts = reader.switch(at, "mta_sts", None);
    let dane_use = DaneUse { exchanges: true, dane, dns };
    if let Some(requirement) = requirement {
        dane_use.judge(reader, at, "tls", requirement);
        warn_of_the_world(reader, at, requirement);
    }
    let policies = policies(reader, at, &dane_use);
    let outbound =
        requirement.zip(policies).map(|(requirement, policies)| Outbound { requirement, policies });
    Read { outbound, requirement, dane, mta_sts }
}

fn warn_of_the_world(reader: &mut Reader<'_>, at: &Section<'_>, requirement: TlsRequirement) {
    if requirement.proofs().is_empty() {
        return;
    }
    let what = format!(
        "it holds for every destination, and many mail servers cannot be \"{requirement}\": mail to them will wait and come back"
    );
    let remedy = "write \"required\" or less here, and more in [[outbound.policy]] or in a connector for those that are known";
    reader.warn(at, "tls", what, remedy);
}

fn policies<'a>(
    reader: &mut Reader<'a>,
    outbound: &Section<'a>,
    dane: &DaneUse<'_>,
) -> Option<Vec<SpacePolicy>> {
    let sections = reader.sections(outbound, "policy");
    let mut spoken_for = HashMap::new();
    let mut policies = Vec::new();
    for (at, number) in sections.iter().zip(1..) {
        let (spaces, sound) = reader.list_and_items(at, "address_space", address_space);
        for space in sound {
            let before = spoken_for.insert(space.clone(), number);
            refuse_second(reader, at, &space, before.map(|before| (before, number)));
        }
        policies.push(policy(reader, at, spaces, dane));
    }
    policies.into_iter().collect()
}

fn policy<'a>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    spaces: Option<Vec<AddressSpace>>,
    dane: &DaneUse<'_>,
) -> Option<SpacePolicy> {
    if spaces.as_ref().is_some_and(Vec::is_empty) {
        let remedy = "write the recipients' domains that it is for, or remove the section";
        reader.complain(at, "address_space", "the list is empty", remedy);
    }
    let peer = peer(reader, at, "none");
    if let Some(peer) = &peer {
        dane.judge(reader, at, "tls", peer.requirement);
    }
    if !["tls", "trust", "pins", "distrust"].iter().any(|key| at.writes(key)) {
        reader.complain(
            at,
            "tls",
            "the policy demands nothing",
            "write tls, trust, pins or distrust, or remove it",
        );
    }
    Some(SpacePolicy { spaces: spaces?, peer: peer? })
}

/// `before` is the number of the policy that has the space already, and that of this one.
fn refuse_second(
    reader: &mut Reader<'_>,
    at: &Section<'_>,
    space: &AddressSpace,
    before: Option<(usize, usize)>,
) {
    let what = match before {
        None => return,
        Some((before, this)) if before == this => format!("\"{space}\" is written twice"),
        Some((before, _)) => {
            format!("policy number {before} speaks for \"{space}\" already, so neither would win")
        }
    };
    reader.complain(at, "address_space", what, "name each domain once, in one policy only");
}
