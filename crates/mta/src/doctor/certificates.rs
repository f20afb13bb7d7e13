//! Our certificates: do they last, do they bear the names that they are asked for, does anybody trust them?
//!
//! Ends come from [`expiry`](crate::certificates::expiry), as `postern cert check` has them. Names are those that clients and servers connect to: our host name, and what
//! MX records call us. Trust is held against what this machine's system trusts, which is about what mail programs trust too.
//!
//! What it deliberately does not do: connect to the listeners (`ports` does).

use std::sync::Arc;

use postern_pki::{ClientTls, Standing, TlsIdentity};
use postern_smtp::server::TlsMode;
use postern_smtp::tls::{TlsFailure, TlsFault};

use super::room::{Room, listed};
use super::{Check, Finding, names};
use crate::certificates::expiry::{self, Severity};
use crate::certificates::listing::Listed;
use crate::certificates::watch::Watch;
use crate::config::{Listener, Role};

/// How a root is brought to the programs.
const IMPORT: &str = "have each program trust the root: postern ca root says how for each of them; or get a certificate of a public authority: docs/get-a-certificate.md";

/// Ends, names, and whether what lies on disk is served.
pub(super) async fn look(room: &Room) -> Vec<Finding> {
    let desk = room.admin.certificates();
    let mut findings: Vec<Finding> = desk.check(room.now).iter().map(of_end).collect();
    match desk.list().await {
        Ok(all) => findings.extend(all.iter().filter_map(not_served)),
        Err(error) => findings.push(Finding::unknown(Check::Certificates, error.to_string(), "")),
    }
    let identities = identities(room);
    let mut wanted = vec![room.hostname.clone()];
    wanted.extend(names::hosts_of_ours(room).await);
    wanted.sort();
    wanted.dedup();
    for listener in &room.config.listeners {
        findings.extend(wanted.iter().filter_map(|name| judge_name(listener, name, &identities)));
    }
    findings.dedup();
    findings
}

/// The identities that can be used, as a daemon would serve them.
pub(super) fn identities(room: &Room) -> Vec<Arc<TlsIdentity>> {
    Watch::default().look_without_authority(&room.config, room.now).identities
}

fn of_end(finding: &expiry::Finding) -> Finding {
    let make = match finding.severity {
        Severity::Ok => return Finding::ok(Check::Certificates, &finding.what),
        Severity::Warning => Finding::warning,
        Severity::Critical => Finding::failed,
    };
    make(Check::Certificates, finding.what.clone(), finding.remedy.clone())
}

fn not_served(one: &Listed) -> Option<Finding> {
    let served = one.served.as_ref().filter(|_| one.differs())?;
    let why = served.trouble.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let evidence = format!("what lies on disk for \"{}\" is not what is served{why}", one.identity);
    Some(Finding::warning(Check::Certificates, evidence, format!("see: postern cert show {}", one.identity)))
}

/// Whether a listener has a certificate for a name. Other servers do not look at names, but for those that check MTA-STS or
/// DANE; mail programs always do.
fn judge_name(listener: &Listener, name: &str, identities: &[Arc<TlsIdentity>]) -> Option<Finding> {
    let shown: Vec<_> = identities.iter().filter(|one| listener.may_show(&one.name)).collect();
    if shown.iter().any(|one| one.is_for(name)) {
        let evidence = format!("listener {} has a certificate for {name}", listener.name);
        return Some(Finding::ok(Check::Certificates, evidence));
    }
    // Without any, Postern's own stands in, which bears the host name.
    if shown.is_empty() {
        return None;
    }
    let all = listed(shown.iter().flat_map(|one| &one.names));
    let evidence = format!("listener {} has no certificate for {name}, only for {all}", listener.name);
    let remedy = format!(
        "get one for that name: postern cert request --name {name}; or have people use a name that it bears"
    );
    let make = match (listener.role, listener.tls.mode()) {
        (Role::Relay, TlsMode::Offered) => Finding::note,
        _ => Finding::warning,
    };
    Some(make(Check::Certificates, evidence, remedy))
}

/// Who trusts what people are shown.
pub(super) fn trust(room: &Room) -> Vec<Finding> {
    let shown_to_people = |identity: &&Arc<TlsIdentity>| {
        let people = room.config.listeners.iter().filter(|listener| listener.role == Role::Submission);
        people.into_iter().any(|listener| listener.may_show(&identity.name))
    };
    let identities = identities(room);
    let shown: Vec<_> = identities.iter().filter(shown_to_people).collect();
    if shown.is_empty() {
        let evidence =
            "people are shown a certificate of Postern's own private CA, or none: no other is installed";
        return vec![Finding::warning(Check::Trust, evidence, IMPORT)];
    }
    let roots = match &room.roots {
        Ok(roots) if roots.trusted_roots() > 0 => roots,
        Ok(_) => {
            let evidence = "this machine trusts no authority, so it cannot say whom mail programs trust";
            return vec![Finding::unknown(Check::Trust, evidence, "install the package ca-certificates")];
        }
        Err(why) => return vec![Finding::unknown(Check::Trust, why, "")],
    };
    shown.iter().map(|identity| judge_trust(identity, held_against(roots, identity, room))).collect()
}

fn held_against(roots: &ClientTls, identity: &TlsIdentity, room: &Room) -> Result<(), TlsFailure> {
    let name = match identity.names.first() {
        _ if identity.is_for(&room.hostname) => room.hostname.clone(),
        Some(name) => name.replacen('*', "mail", 1),
        None => room.hostname.clone(),
    };
    roots.verify(&identity.certified_key.cert, &name, room.now)
}

fn judge_trust(identity: &TlsIdentity, held: Result<(), TlsFailure>) -> Finding {
    let name = &identity.name;
    let failure = match held {
        Ok(()) => {
            let evidence = format!(
                "\"{name}\" is trusted by this machine's system, and by programs that trust the usual authorities"
            );
            return Finding::ok(Check::Trust, evidence);
        }
        Err(failure) => failure,
    };
    let why = &failure.why;
    match failure.fault {
        _ if identity.standing == Standing::StandIn => {
            let evidence =
                format!("\"{name}\" comes from Postern's private CA, which no program trusts by itself");
            Finding::warning(Check::Trust, evidence, IMPORT)
        }
        TlsFault::UnknownIssuer | TlsFault::SelfSigned => {
            let evidence = format!(
                "\"{name}\" leads to no authority that this machine's system trusts: {why}; mail programs warn, or refuse"
            );
            Finding::warning(Check::Trust, evidence, IMPORT)
        }
        TlsFault::IncompleteChain => {
            let evidence = format!("\"{name}\" is not trusted: {why}");
            let remedy = format!(
                "from a public authority: install it with the whole chain (postern cert install); from a private one: {IMPORT}"
            );
            Finding::warning(Check::Trust, evidence, remedy)
        }
        _ => Finding::failed(
            Check::Trust,
            format!("programs refuse \"{name}\": {why}"),
            "install another one: postern cert request",
        ),
    }
}

#[cfg(test)]
mod tests {
    use postern_smtp::tls::TlsFailure;

    use super::super::Verdict;
    use super::super::tests::config;
    use super::*;

    fn identity(name: &str, names: &[&str]) -> Arc<TlsIdentity> {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Arc::new(TlsIdentity::load(name, &certificate, &key, jiff::Timestamp::now()).unwrap().identity)
    }

    fn listener_of(role: &str, tls: &str) -> Listener {
        config(&format!(
            "[[listener]]\nname = \"x\"\nrole = \"{role}\"\nbind = [\"127.0.0.1:0\"]\ntls = \"{tls}\"\n"
        ))
        .listeners
        .remove(0)
    }

    #[test]
    fn a_listener_needs_a_certificate_for_the_name_that_people_use() {
        let all = [identity("mail", &["mail.example.org", "*.example.net"])];
        let verdict = |role: &str, tls: &str, name: &str| {
            judge_name(&listener_of(role, tls), name, &all).map(|finding| finding.verdict)
        };
        assert_eq!(verdict("submission", "required", "mail.example.org"), Some(Verdict::Ok));
        assert_eq!(verdict("submission", "implicit", "imap.example.net"), Some(Verdict::Ok));
        assert_eq!(verdict("submission", "required", "smtp.example.org"), Some(Verdict::Warning));
        assert_eq!(verdict("relay", "offered", "mx.example.org"), Some(Verdict::Note));
        assert!(
            judge_name(&listener_of("relay", "offered"), "x.example", &[]).is_none(),
            "the private CA stands in"
        );
    }

    #[test]
    fn what_programs_make_of_a_certificate_is_told_with_the_way_out() {
        let one = identity("mail", &["mail.example.org"]);
        let of = |fault| judge_trust(&one, Err(TlsFailure::new(fault, "why")));
        assert_eq!(judge_trust(&one, Ok(())).verdict, Verdict::Ok);
        assert!(of(TlsFault::SelfSigned).remedy.contains("postern ca root"));
        assert!(of(TlsFault::IncompleteChain).remedy.contains("whole chain"));
        assert_eq!(of(TlsFault::Expired).verdict, Verdict::Failed);
    }
}
