//! What some clients must prove before their mail is taken, beyond what the listener demands of all.
//!
//! The types to know: [`Standing`], what is true of a client at MAIL; [`Refusal`], the policy that does not let it
//! through and why. All policies that hold for a client count, so that one more can only demand more. A policy holds by the
//! sender's domain, or by the client's network; the null reverse-path has no domain, so only networks hold for it.
//!
//! Pure: nothing is asked, logged or remembered here. What it deliberately does not do: verify certificates (the
//! handshake did), or tell a client the policy's name, which is for the log.

use std::net::IpAddr;

use postern_pki::MinimumVersion;
use postern_smtp::address::ReversePath;
use postern_smtp::reply::{Reply, catalogue};
use postern_smtp::tls::{PeerProof, Proof, TlsFacts};

use crate::config::{InboundPolicy, InboundTls};
use crate::routing::destination_of;

/// What is true of a client when it says MAIL.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing<'a> {
    /// The reverse-path.
    pub(crate) sender: &'a ReversePath,
    /// The client's address.
    pub(crate) client: IpAddr,
    /// What is known of TLS; `None`: the session is in clear.
    pub(crate) tls: Option<&'a TlsFacts>,
}

/// A policy that is not satisfied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal<'a> {
    /// The policy's name, for the log.
    pub(crate) policy: &'a str,
    /// What does not satisfy it, in words for the log.
    pub(crate) why: String,
    /// What the client is told.
    pub(crate) reply: Reply,
}

/// Checks a client against all policies, in their order.
///
/// # Errors
/// The first policy that holds for it and is not satisfied.
pub(crate) fn check<'a>(policies: &'a [InboundPolicy], standing: Standing<'_>) -> Result<(), Refusal<'a>> {
    holding(policies, standing).try_for_each(|policy| satisfied(policy, standing))
}

/// The policies that hold for a client, in their order.
pub(crate) fn holding<'a>(
    policies: &'a [InboundPolicy],
    standing: Standing<'_>,
) -> impl Iterator<Item = &'a InboundPolicy> {
    policies.iter().filter(move |policy| holds(policy, standing))
}

fn holds(policy: &InboundPolicy, standing: Standing<'_>) -> bool {
    let client = standing.client.to_canonical();
    policy.networks.iter().any(|network| network.contains(&client))
        || holds_for_sender(policy, standing.sender)
}

fn holds_for_sender(policy: &InboundPolicy, sender: &ReversePath) -> bool {
    let Some(mailbox) = sender.mailbox() else { return false };
    let domain = destination_of(mailbox).0;
    policy.senders.iter().any(|space| space.matches(&domain).is_some())
}

fn satisfied<'a>(policy: &'a InboundPolicy, standing: Standing<'_>) -> Result<(), Refusal<'a>> {
    let refusal = |why: String, reply| Refusal { policy: &policy.name, why, reply };
    let Some(facts) = standing.tls else {
        return Err(refusal("the session is in clear".into(), catalogue::tls_demanded()));
    };
    if !is_new_enough(policy.minimum, &facts.version) {
        let why = format!("the session uses {}", facts.version);
        return Err(refusal(why, catalogue::tls_too_old(&facts.version)));
    }
    if policy.tls == InboundTls::Verified && !facts.peer.given.contains(Proof::Verified) {
        let (why, reply) = without_proof(&facts.peer);
        return Err(refusal(why, reply));
    }
    Ok(())
}

/// TLS 1.2 is the oldest that is spoken at all. An unknown name is never taken for a newer version.
fn is_new_enough(minimum: MinimumVersion, version: &str) -> bool {
    match minimum {
        MinimumVersion::Tls12 => true,
        MinimumVersion::Tls13 => version == "TLSv1.3",
    }
}

fn without_proof(peer: &PeerProof) -> (String, Reply) {
    match (peer.doubt(), &peer.certificate) {
        (Some(doubt), _) => {
            (format!("its certificate does not verify: {}", doubt.why), catalogue::certificate_unproved())
        }
        (None, Some(_)) => ("its certificate was not verified".into(), catalogue::certificate_unproved()),
        (None, None) => ("it shows no certificate".into(), catalogue::certificate_needed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AddressSpace;

    const ELSEWHERE: &str = "203.0.113.7";
    const BRANCH: &str = "192.0.2.7";

    fn policy(tls: InboundTls, minimum: MinimumVersion) -> InboundPolicy {
        InboundPolicy {
            name: "partner".into(),
            senders: vec![
                AddressSpace::Exact("bücher.example".parse().unwrap()),
                AddressSpace::Below("partner.example".parse().unwrap()),
            ],
            networks: vec!["192.0.2.0/24".parse().unwrap()],
            tls,
            minimum,
        }
    }

    fn facts(version: &str, peer: PeerProof) -> TlsFacts {
        TlsFacts {
            version: version.into(),
            cipher: "TLS_AES_128_GCM_SHA256".into(),
            group: None,
            server_name: None,
            peer,
            channel_bindings: postern_smtp::sasl::ChannelBindings::default(),
        }
    }

    /// The code and help token of the refusal, or nothing.
    fn refusal(policy: &InboundPolicy, sender: &str, client: &str, tls: Option<&TlsFacts>) -> Option<String> {
        let sender = match sender {
            "" => ReversePath::Null,
            address => ReversePath::Mailbox(address.parse().unwrap()),
        };
        let standing = Standing { sender: &sender, client: client.parse().unwrap(), tls };
        let refusal = check(std::slice::from_ref(policy), standing).err()?;
        assert_eq!(refusal.policy, "partner");
        let line = refusal.reply.one_line();
        assert!(!line.contains("partner"), "the policy's name is not for the peer: {line}");
        Some(format!("{} {}", refusal.reply.code, line.rsplit(' ').next()?))
    }

    #[test]
    fn a_policy_holds_by_the_senders_domain_in_either_spelling_or_by_the_clients_network() {
        let policy = policy(InboundTls::Required, MinimumVersion::Tls12);
        let demanded = Some("530 (tls-demanded)".to_owned());
        for sender in ["a@bücher.example", "a@XN--BCHER-KVA.example", "a@mail.partner.example"] {
            assert_eq!(refusal(&policy, sender, ELSEWHERE, None), demanded, "{sender}");
        }
        for sender in ["a@partner.example", "a@notpartner.example", "a@[192.0.2.7]", "a@elsewhere.example"] {
            assert_eq!(refusal(&policy, sender, ELSEWHERE, None), None, "{sender}");
        }
        for client in [BRANCH, "::ffff:192.0.2.7"] {
            assert_eq!(refusal(&policy, "a@elsewhere.example", client, None), demanded, "{client}");
        }
    }

    #[test]
    fn the_null_reverse_path_is_judged_by_its_network_alone() {
        let mut policy = policy(InboundTls::Required, MinimumVersion::Tls12);
        policy.senders.push(AddressSpace::Any);
        assert_eq!(refusal(&policy, "", ELSEWHERE, None), None);
        assert_eq!(refusal(&policy, "", BRANCH, None), Some("530 (tls-demanded)".into()));
    }

    #[test]
    fn any_tls_satisfies_required_and_an_old_version_is_refused_where_a_newer_is_the_minimum() {
        let old = facts("TLSv1.2", PeerProof::anonymous());
        let new = facts("TLSv1.3", PeerProof::anonymous());
        for (minimum, tls, expected) in [
            (MinimumVersion::Tls12, &old, None),
            (MinimumVersion::Tls12, &new, None),
            (MinimumVersion::Tls13, &old, Some("550 (tls-too-old)".to_owned())),
            (MinimumVersion::Tls13, &new, None),
        ] {
            let policy = policy(InboundTls::Required, minimum);
            assert_eq!(refusal(&policy, "", BRANCH, Some(tls)), expected, "{minimum:?} {}", tls.version);
        }
    }

    #[test]
    fn verified_takes_a_certificate_that_verifies_and_nothing_else() {
        let policy = policy(InboundTls::Verified, MinimumVersion::Tls12);
        let shown = PeerProof { certificate: Some(Box::default()), ..PeerProof::anonymous() };
        let pinned = PeerProof { given: Proof::Pinned.into(), ..shown.clone() };
        for (peer, expected) in [
            (PeerProof::verified(), None),
            (PeerProof::anonymous(), Some("550 (certificate-needed)")),
            (PeerProof::unverified("it has expired"), Some("454 (certificate-unproved)")),
            (shown, Some("454 (certificate-unproved)")),
            (pinned, Some("454 (certificate-unproved)")),
        ] {
            let facts = facts("TLSv1.3", peer);
            let said = refusal(&policy, "", BRANCH, Some(&facts));
            assert_eq!(said.as_deref(), expected, "{:?}", facts.peer);
        }
        assert_eq!(refusal(&policy, "", BRANCH, None), Some("530 (tls-demanded)".into()));
    }

    #[test]
    fn one_more_policy_can_only_demand_more() {
        let lax = policy(InboundTls::Required, MinimumVersion::Tls12);
        let strict =
            InboundPolicy { name: "strict".into(), ..policy(InboundTls::Verified, MinimumVersion::Tls13) };
        let facts = facts("TLSv1.3", PeerProof::unverified("it has expired"));
        let sender = ReversePath::Mailbox("a@x.partner.example".parse().unwrap());
        let standing = Standing { sender: &sender, client: ELSEWHERE.parse().unwrap(), tls: Some(&facts) };
        for policies in [[lax.clone(), strict.clone()], [strict, lax]] {
            let refusal = check(&policies, standing).unwrap_err();
            assert_eq!(refusal.policy, "strict");
            assert_eq!(refusal.why, "its certificate does not verify: it has expired");
        }
    }
}
