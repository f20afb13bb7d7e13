//! Installing a certificate: what came back from an authority becomes an identity in the store.
//!
//! [`plan`] reads what was brought ([`Offer`]), finds the key, arranges the chain and judges everything, without changing
//! anything: the [`Plan`] is what is shown before the question. [`Plan::carry_out`] puts it into the store in one step. Who
//! gets certificates by himself (ACME, the private CA) begins with [`plan_for`].
//!
//! What it deliberately does not do: ask anybody, or tell the daemon; it watches the store, and the administrator's
//! operations wake it.

use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use postern_pki::{
    About, Aspect, BorneNames, Bundle, Chain, Examination, Expectations, Finding, IdentityStore, Item, Name,
    Origin, Passphrase, PrivateKey, Purpose, RequestDetails, Severity, TlsIdentity, TrustAnchors,
    describe_certificate, examine,
};
use postern_smtp::tls::CertificateSeen;
use zeroize::Zeroizing;

use super::published::{self, New};
use super::{Error, listing};
use crate::authority;
use crate::config::{Config, IdentitySource};

/// A file that somebody brought, as it was read by whoever may read it.
pub struct Offer {
    /// What errors call it: its path.
    pub what: String,
    /// What is in it.
    pub octets: Zeroizing<Vec<u8>>,
    /// What must be in it, where it was brought as that.
    pub brought_as: Option<Item>,
}

impl Offer {
    /// Reads a file, with the rights of whoever calls.
    ///
    /// # Errors
    /// It cannot be read, or is larger than anything that it could be.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let (what, octets) = (path.display().to_string(), Bundle::octets(path)?);
        Ok(Self { what, octets, brought_as: None })
    }

    /// The same for a file that is to hold the private key.
    ///
    /// # Errors
    /// As [`read`](Self::read). That there is no key in it is told by the plan.
    pub fn read_key(path: &Path) -> Result<Self, Error> {
        Ok(Self { brought_as: Some(Item::Key), ..Self::read(path)? })
    }
}

/// Where the key of a certificate was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFrom {
    /// It was here all along: an authority inside or a program certified it.
    Here,
    /// It was brought along.
    Offered,
    /// It waited with the request.
    Request,
    /// It was made beforehand.
    Next,
    /// It is the one that the identity has already.
    Present,
}

/// What an installation would do.
#[derive(Debug)]
pub struct Plan {
    /// The identity that it becomes.
    pub identity: String,
    /// The new certificate.
    pub certificate: CertificateSeen,
    /// The certificate whose place it takes.
    pub present: Option<CertificateSeen>,
    /// Those that are sent with it, by their subjects.
    pub issuers: Vec<String>,
    /// Where its key was found.
    pub key_from: KeyFrom,
    /// What was found about it, the worst first.
    pub examination: Examination,
    chain: Chain,
    key: PrivateKey,
    about: About,
}

/// Whether findings that speak against it are obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubts {
    /// They are.
    Heed,
    /// The administrator knows better.
    Override,
}

/// What it means that something published could not be looked up. With the key that was there before a TLSA record goes on
/// being true, and it is a warning in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Somebody has to insist.
    Refuses,
    /// Nobody is there to insist, and a certificate that runs out is worse.
    Passes,
}

/// A certificate that came without files: from ACME, or from the private CA.
pub(crate) struct Delivery {
    /// The identity that it is for.
    pub(crate) identity: String,
    /// Its certificates, in any order.
    pub(crate) certificates: Vec<rustls::pki_types::CertificateDer<'static>>,
    /// Its key.
    pub(crate) key: PrivateKey,
    /// Who issued it, and for what request.
    pub(crate) about: About,
}

/// What certificates are judged against.
#[derive(Clone, Copy)]
pub(crate) struct Bench<'a> {
    pub(crate) config: &'a Config,
    pub(crate) store: &'a IdentityStore,
    pub(crate) now: Timestamp,
}

/// Reads and judges what was brought. The passphrase opens PKCS #12 files and locked keys; the name is the identity's,
/// where it is not to be found out.
///
/// # Errors
/// A file cannot be read, no key is there, or the identity is not ours to install. Findings are no errors: they stand in
/// the plan.
pub(crate) fn plan(
    bench: Bench<'_>,
    offers: &[Offer],
    passphrase: Option<&Passphrase>,
    named: Option<&str>,
) -> Result<Plan, Error> {
    let mut bundle = Bundle::default();
    for offer in offers {
        let brought = Bundle::parse(&offer.octets, &offer.what, passphrase)?;
        if let Some(item) = offer.brought_as {
            brought.expect(item, &offer.what)?;
        }
        bundle.join(brought);
    }
    let what: Vec<&str> = offers.iter().map(|offer| offer.what.as_str()).collect();
    bundle.expect(Item::Certificate, &what.join(", "))?;
    let found = bench.key_for(&mut bundle, named)?;
    let identity = match named {
        Some(named) => named.to_owned(),
        None => found.identity.clone().unwrap_or_else(|| bench.identity_for(&bundle, &found.key)),
    };
    let asked = found.asked.or_else(|| bench.asked_before(&identity));
    let about = About { origin: Origin::ByHand, installed: bench.now, asked };
    let delivery = Delivery { identity, certificates: bundle.certificates, key: found.key, about };
    bench.judge(delivery, found.from)
}

/// Judges a certificate that came by itself.
///
/// # Errors
/// As [`plan`].
pub(crate) fn plan_for(bench: Bench<'_>, delivery: Delivery) -> Result<Plan, Error> {
    bench.judge(delivery, KeyFrom::Here)
}

impl Plan {
    /// Puts the certificate into the store, in the place of the present one. The request that it answers is done with.
    ///
    /// # Errors
    /// Something speaks against it and was not overridden, or the disk. Nothing is changed then.
    pub(crate) fn carry_out(self, store: &IdentityStore, doubts: Doubts) -> Result<(), Error> {
        if self.examination.is_refused() && doubts == Doubts::Heed {
            return Err(Error::Refused { identity: self.identity, findings: self.examination.findings });
        }
        store.install(&self.identity, self.chain.certificates(), &self.key, &self.about)?;
        let answered = store.pending(&self.identity)?.is_some_and(|own| own.key.spki() == self.key.spki());
        if answered {
            store.drop_pending(&self.identity)?;
        }
        Ok(())
    }

    /// Looks up what we have published, in the DNS and as MTA-STS policies, and adds what that says about the certificate.
    ///
    /// # Errors
    /// Local: the TLS library cannot be set up.
    pub(crate) async fn hold_against_published(
        &mut self,
        config: &Config,
        silence: Silence,
        now: Timestamp,
    ) -> Result<(), Error> {
        let tolerated = silence == Silence::Passes || self.keeps_key();
        let (names, unread) = names_to_compare(self.chain.leaf(), tolerated);
        let (chain, spki) = (self.chain.certificates(), self.key.spki());
        let new = New { identity: &self.identity, names: &names, chain, spki: &spki };
        let published = published::compare(config, &new, now).await?;
        let only_unknown = published.is_unknown() && !published.is_contradicted();
        let mut findings = published.findings();
        for finding in findings.iter_mut().filter(|_| tolerated && only_unknown) {
            finding.severity = finding.severity.max(Severity::Warn);
        }
        self.add(findings.into_iter().chain(unread));
        Ok(())
    }

    /// Whether its key is that of the certificate before it: then a TLSA record of that key stays true.
    fn keeps_key(&self) -> bool {
        self.present.as_ref().is_some_and(|present| present.spki_sha256 == self.certificate.spki_sha256)
    }

    /// Adds what somebody else found.
    pub(crate) fn add(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.examination.findings.extend(findings);
        self.examination.findings.sort_by_key(|finding| finding.severity);
    }
}

impl fmt::Display for KeyFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Here => "made here",
            Self::Offered => "brought along",
            Self::Request => "made with the request",
            Self::Next => "made beforehand",
            Self::Present => "the present one",
        })
    }
}

/// A key that fits, and what is known by it.
struct Found {
    key: PrivateKey,
    from: KeyFrom,
    identity: Option<String>,
    asked: Option<RequestDetails>,
}

impl Bench<'_> {
    /// The key that one of the certificates is for: brought along, or waiting here.
    fn key_for(self, bundle: &mut Bundle, named: Option<&str>) -> Result<Found, Error> {
        let fits = |key: &PrivateKey| bundle.certificates.iter().any(|certificate| key.fits(certificate));
        if let Some(place) = bundle.keys.iter().position(fits) {
            let key = bundle.keys.swap_remove(place);
            return Ok(Found { key, from: KeyFrom::Offered, identity: None, asked: None });
        }
        let certificates = || {
            let seen = bundle.certificates.iter().take(3).map(|der| describe_certificate(der, 1).subject);
            seen.collect::<Vec<_>>().join("; ")
        };
        if !bundle.keys.is_empty() {
            return Err(Error::OtherKey { certificates: certificates() });
        }
        let mut names = self.store.pending_names()?;
        names.extend(self.store.names()?);
        // The one that was named comes first, should the same key be at several.
        names.sort_by_key(|name| named != Some(name.as_str()));
        names.dedup();
        for name in names {
            if let Some(found) = self.key_at(&name, fits)? {
                return Ok(Found { identity: Some(name), ..found });
            }
        }
        let waiting = self.store.pending_names()?;
        Err(Error::NoKey { certificates: certificates(), waiting })
    }

    /// The key of this name that fits: of its request, made beforehand, or present.
    fn key_at(self, name: &str, fits: impl Fn(&PrivateKey) -> bool) -> Result<Option<Found>, Error> {
        if let Some(pending) = self.store.pending(name)?.filter(|pending| fits(&pending.key)) {
            let asked = Some(pending.note.details);
            return Ok(Some(Found { key: pending.key, from: KeyFrom::Request, identity: None, asked }));
        }
        if let Some(key) = self.store.next_key(name)?.filter(&fits) {
            return Ok(Some(Found { key, from: KeyFrom::Next, identity: None, asked: None }));
        }
        if !self.store.holds(name) {
            return Ok(None);
        }
        // A present identity that is broken is no reason not to install another.
        let key = self.store.read(name).ok().map(|stored| stored.key).filter(fits);
        Ok(key.map(|key| Found { key, from: KeyFrom::Present, identity: None, asked: None }))
    }

    /// The identity whose names the certificate bears, else a new one by its first name.
    fn identity_for(self, bundle: &Bundle, key: &PrivateKey) -> String {
        let leaf = bundle.certificates.iter().find(|certificate| key.fits(certificate));
        let names = leaf.and_then(|leaf| BorneNames::of(leaf)).unwrap_or_default().names;
        let same = |listed: &&crate::config::Identity| match &listed.source {
            IdentitySource::Store { names: own, .. } => own.iter().all(|name| names.contains(name)),
            IdentitySource::Files { .. } => false,
        };
        if let Some(listed) = self.config.tls.identities.iter().find(same) {
            return listed.name.clone();
        }
        let first = names.first().map_or_else(|| self.config.hostname.to_string(), ToString::to_string);
        let plain = first.trim_start_matches("*.").split(['.', '@', ':']).next().unwrap_or_default();
        if plain.is_empty() { "mail".to_owned() } else { plain.to_owned() }
    }

    fn asked_before(self, identity: &str) -> Option<RequestDetails> {
        self.store.read(identity).ok().and_then(|stored| stored.about.asked)
    }

    fn judge(self, delivery: Delivery, key_from: KeyFrom) -> Result<Plan, Error> {
        let Delivery { identity, certificates, key, about } = delivery;
        postern_pki::check_name(&identity)?;
        self.refuse_foreign(&identity)?;
        let mut roots = TrustAnchors::System.load()?;
        // Our own CA's root is as good as any: whoever uses it has imported it.
        if let Ok(own) = TrustAnchors::File(authority::root(self.config)).load() {
            roots.extend(own.roots);
        }
        let purpose = self.purpose_of(&identity);
        let chain = Chain::arrange(certificates, &key.spki())?.towards(&roots, self.now, purpose);
        let names = self.wanted_names(&identity, &about, purpose);
        let expected = Expectations { names: &names, now: self.now, roots: &roots, purpose };
        let examination = examine(&chain, &key, &expected);
        let subject = |der: &rustls::pki_types::CertificateDer<'_>| describe_certificate(der, 1).subject;
        let mut plan = Plan {
            certificate: describe_certificate(chain.leaf(), chain.certificates().len()),
            present: self.present(&identity),
            issuers: chain.issuers().iter().map(subject).collect(),
            identity,
            key_from,
            examination,
            chain,
            key,
            about,
        };
        plan.add(lost_names(&plan));
        Ok(plan)
    }

    /// Files that somebody else writes are his: what we put there, he would overwrite.
    fn refuse_foreign(self, identity: &str) -> Result<(), Error> {
        let listed = self.config.tls.identities.iter().find(|listed| listed.name == identity);
        match listed.map(|listed| &listed.source) {
            Some(IdentitySource::Files { certificate, .. }) => {
                Err(Error::Foreign { identity: identity.to_owned(), path: certificate.clone() })
            }
            _ => Ok(()),
        }
    }

    /// An identity that only connectors are bound to is shown to servers, every other one to clients.
    fn purpose_of(self, identity: &str) -> Purpose {
        let connectors = self.config.connectors.iter().any(|own| own.identity.as_deref() == Some(identity));
        let listeners =
            self.config.listeners.iter().any(|own| own.identities.iter().any(|name| name == identity));
        if connectors && !listeners { Purpose::Client } else { Purpose::Server }
    }

    /// What it must be good for: what it was asked for with, else what the configuration has it for; the host name, where
    /// it is the only one that can bear it.
    fn wanted_names(self, identity: &str, about: &About, purpose: Purpose) -> Vec<Name> {
        let listed = self.config.tls.identities.iter().find(|listed| listed.name == identity);
        let mut names = match (&about.asked, listed.map(|listed| &listed.source)) {
            (Some(asked), _) => asked.names.clone(),
            (None, Some(IdentitySource::Store { issuer: Some(_), names, .. })) => names.clone(),
            _ => Vec::new(),
        };
        if let Ok(host) = self.config.hostname.to_string().parse::<Name>()
            && purpose == Purpose::Server
            && names.is_empty()
            && self.is_alone(identity)
        {
            names.push(host);
        }
        names
    }

    /// Whether some listener that shows it has no other that bears the host name. One of the configuration's that cannot be
    /// used yet will.
    fn is_alone(self, identity: &str) -> bool {
        // What cannot be read is of no use.
        let others = listing::others(self.config, self.store, identity, self.now).unwrap_or_default();
        let is_usable = |name: &str| others.iter().any(|other| other.name == name);
        let listed = self.config.tls.identities.iter().map(|listed| listed.name.as_str());
        let awaited: Vec<&str> = listed.filter(|name| *name != identity && !is_usable(name)).collect();
        let bears = |other: &TlsIdentity| other.is_for(self.config.hostname.as_str());
        self.config.listeners.iter().filter(|listener| listener.may_show(identity)).any(|listener| {
            !awaited.iter().any(|name| listener.may_show(name))
                && !others.iter().any(|other| listener.may_show(&other.name) && bears(other))
        })
    }

    fn present(self, identity: &str) -> Option<CertificateSeen> {
        let stored = self.store.read(identity).ok()?;
        Some(describe_certificate(stored.chain.first()?, stored.chain.len()))
    }
}

/// The names whose published records are looked at, and what there is to say of the others: that a name cannot be read must
/// not pass for that nothing is published for it.
fn names_to_compare(leaf: &[u8], tolerated: bool) -> (Vec<Name>, Vec<Finding>) {
    let finding = |severity, sentence, remedy: &str| Finding {
        severity,
        about: Aspect::Name,
        sentence,
        remedy: remedy.to_owned(),
    };
    let Some(borne) = BorneNames::of(leaf) else {
        let severity = if tolerated { Severity::Warn } else { Severity::Refuse };
        let sentence =
            "its list of names (subjectAltName) is damaged, so that nobody knows what is published for them";
        return (
            Vec::new(),
            vec![finding(severity, sentence.to_owned(), "ask the authority for a sound one")],
        );
    };
    let mut findings = Vec::new();
    if !borne.unsound.is_empty() {
        let shown: Vec<String> = borne.unsound.iter().take(5).map(ToString::to_string).collect();
        let sentence = format!(
            "what is published for {} of its names was not looked at: {}",
            borne.unsound.len(),
            shown.join("; ")
        );
        let remedy =
            "see for yourself that no TLSA record of theirs says otherwise, or ask for one without them";
        findings.push(finding(Severity::Warn, sentence, remedy));
    }
    if borne.others > 0 {
        let sentence =
            format!("{} of its names are no host names, addresses or mail addresses", borne.others);
        findings.push(finding(Severity::Note, sentence, "nothing: mail programs do not look at them"));
    }
    (borne.names, findings)
}

/// Names that the present certificate bears and the new one does not: programs that are set to them would complain.
fn lost_names(plan: &Plan) -> Option<Finding> {
    let present = plan.present.as_ref()?;
    let lost: Vec<&str> = present
        .names
        .iter()
        .filter(|name| !plan.certificate.names.contains(name))
        .map(String::as_str)
        .collect();
    (!lost.is_empty()).then(|| Finding {
        severity: Severity::Warn,
        about: Aspect::Name,
        sentence: format!("it no longer bears {}, which the present certificate does", lost.join(", ")),
        remedy: "make sure that no mail program and no server is set to that name".to_owned(),
    })
}

#[cfg(test)]
mod tests;
