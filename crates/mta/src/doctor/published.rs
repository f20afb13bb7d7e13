//! TLSA records and MTA-STS policies of ours, held against the certificates that we show.
//!
//! It is what an installation is held against too ([`crate::certificates::published`]), for what is in service already. A promise that
//! is broken costs mail: senders that check it keep theirs.
//!
//! What it deliberately does not do: look at promises of others.

use std::collections::BTreeSet;
use std::time::Duration;

use postern_pki::{Name, TlsIdentity};

use super::certificates::identities;
use super::room::Room;
use super::{Check, Finding, Verdict};
use crate::certificates::published::{
    Asking, Published, StsState, StsVerdict, TlsaState, TlsaVerdict, judge, look_up, places,
};
use crate::https::Https;
use crate::policy::mta_sts::StsOptions;

/// What is left for the judgement when the lookups took their time.
const BREATH: Duration = Duration::from_secs(2);

/// What we have published, and whether we keep to it.
pub(super) async fn look(room: &Room) -> Vec<Finding> {
    let roots = match &room.roots {
        Ok(roots) => roots,
        Err(why) => return vec![Finding::unknown(Check::Published, why, "")],
    };
    let https = Https::new(std::sync::Arc::clone(&room.opened.resolver), roots.clone());
    let asking = Asking {
        resolver: room.resolver(),
        https: &https,
        options: StsOptions::default(),
        time: room.time.saturating_sub(BREATH),
    };
    let domains = if room.takes_mail() { room.domains() } else { Vec::new() };
    let mut all = Vec::new();
    for identity in identities(room) {
        let places = places(&room.config, &identity.name, &names(&identity));
        let facts = look_up(&asking, &places, &domains).await;
        let spki = identity.certified_key.key.public_key();
        let spki = spki.as_ref().map(|spki| spki.to_vec()).unwrap_or_default();
        all.push(judge(&facts, &identity.certified_key.cert, &spki, roots, room.now));
    }
    findings(&all)
}

fn names(identity: &TlsIdentity) -> Vec<Name> {
    identity.names.iter().map(|name| Name::Dns(name.clone())).collect()
}

/// What several identities come to: a promise that one of them keeps is kept, for clients are shown the one that fits.
fn findings(all: &[Published]) -> Vec<Finding> {
    let places: BTreeSet<_> =
        all.iter().flat_map(|one| &one.tlsa).map(|state| (&state.host, state.port)).collect();
    let domains: BTreeSet<_> = all.iter().flat_map(|one| &one.mta_sts).map(|state| &state.domain).collect();
    let best_tlsa = |(host, port): (&String, u16)| {
        let same = all.iter().flat_map(|one| &one.tlsa).filter(|one| (&one.host, one.port) == (host, port));
        same.map(of_tlsa).min_by_key(|finding| finding.verdict)
    };
    let best_sts = |domain: &String| {
        let same = all.iter().flat_map(|one| &one.mta_sts).filter(|one| one.domain == *domain);
        same.map(of_sts).min_by_key(|finding| finding.verdict)
    };
    let mut findings: Vec<Finding> = places.into_iter().filter_map(best_tlsa).collect();
    findings.extend(domains.into_iter().filter_map(best_sts));
    if findings.is_empty() {
        findings.push(Finding::note(
            Check::Published,
            "there is nothing to hold our certificates against",
            "",
        ));
    }
    findings
}

fn of_tlsa(state: &TlsaState) -> Finding {
    let (verdict, remedy) = match &state.verdict {
        TlsaVerdict::Kept if state.unusable.is_empty() => (Verdict::Ok, String::new()),
        TlsaVerdict::Kept => (Verdict::Note, "delete the records that are not for mail".to_owned()),
        TlsaVerdict::NotPublished => {
            (Verdict::Note, "with a signed zone: postern cert next-key shows records to publish".to_owned())
        }
        TlsaVerdict::NotSigned => {
            (Verdict::Note, "sign the zone with DNSSEC, or delete the records".to_owned())
        }
        TlsaVerdict::NoneUsable => (Verdict::Warning, "publish a record 3 1 1 of the key".to_owned()),
        TlsaVerdict::Contradicted { first, .. } => {
            (Verdict::Failed, format!("publish at once: {}", first.join(" and ")))
        }
        TlsaVerdict::Unknown { .. } => (Verdict::Unknown, "see the check resolver".to_owned()),
    };
    Finding::new(Check::Published, verdict, state.to_string(), remedy)
}

fn of_sts(state: &StsState) -> Finding {
    let mend = "mend the policy, or use a certificate of an authority that everybody trusts";
    let (verdict, remedy) = match &state.verdict {
        StsVerdict::Kept => (Verdict::Ok, ""),
        StsVerdict::NotPublished => {
            (Verdict::Note, "a policy makes others deliver to us by verified TLS only (RFC 8461)")
        }
        StsVerdict::NotConcerned => (Verdict::Note, ""),
        StsVerdict::Broken { .. } => {
            (Verdict::Failed, "mend the policy, or delete the record that announces it")
        }
        StsVerdict::Reported { .. } => (Verdict::Warning, mend),
        StsVerdict::Contradicted { .. } => (Verdict::Failed, mend),
        StsVerdict::Unknown { .. } => (Verdict::Unknown, "see the check resolver"),
    };
    Finding::new(Check::Published, verdict, state.to_string(), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlsa(verdict: TlsaVerdict) -> Published {
        let (host, records, unusable) = ("mail.example.org".to_owned(), Vec::new(), Vec::new());
        Published {
            tlsa: vec![TlsaState { host, port: 25, records, unusable, verdict }],
            mta_sts: Vec::new(),
        }
    }

    fn sts(verdict: StsVerdict) -> Published {
        let (domain, hosts) = ("example.org".to_owned(), Vec::new());
        Published { tlsa: Vec::new(), mta_sts: vec![StsState { domain, hosts, verdict }] }
    }

    fn broken() -> TlsaVerdict {
        TlsaVerdict::Contradicted { why: "no record matches".into(), first: vec!["_25._tcp. IN TLSA".into()] }
    }

    #[test]
    fn a_broken_promise_costs_mail_and_names_the_record() {
        let findings = findings(&[tlsa(broken())]);
        assert_eq!(findings[0].verdict, Verdict::Failed);
        assert!(findings[0].remedy.contains("_25._tcp."), "{findings:?}");
    }

    #[test]
    fn a_promise_that_one_of_several_certificates_keeps_is_kept() {
        let findings = findings(&[tlsa(broken()), tlsa(TlsaVerdict::Kept)]);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].verdict, Verdict::Ok);
    }

    #[test]
    fn every_state_of_a_policy_has_its_verdict() {
        for (state, verdict) in [
            (StsVerdict::Kept, Verdict::Ok),
            (StsVerdict::NotPublished, Verdict::Note),
            (StsVerdict::Broken { why: "x".into() }, Verdict::Failed),
            (StsVerdict::Reported { why: vec!["x".into()] }, Verdict::Warning),
            (StsVerdict::Contradicted { why: vec!["x".into()] }, Verdict::Failed),
            (StsVerdict::Unknown { why: "x".into() }, Verdict::Unknown),
        ] {
            assert_eq!(findings(&[sts(state)])[0].verdict, verdict);
        }
        assert_eq!(findings(&[])[0].verdict, Verdict::Note);
    }
}
