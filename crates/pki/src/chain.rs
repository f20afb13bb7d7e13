//! Chains: from the certificate that belongs to a key up to its root, out of a heap of certificates in any order.
//!
//! [`Chain::arrange`] finds the certificate of a key and everything that leads upwards from it, by name and by signature.
//! A heap may hold several ways (an authority that was signed by two others), strangers, and loops; [`Chain::towards`]
//! takes the shortest way that leads to a root that is known. Roots themselves are not sent to anybody: who trusts one
//! has it (RFC 8446 §4.4.2).
//!
//! What it deliberately does not do: fetch what is missing (it says where it can be had), or judge the
//! certificates ([`examine`](crate::examine())).

use std::collections::BTreeSet;

use jiff::Timestamp;
use postern_smtp::text::clean;
use postern_smtp::tls::TlsFailure;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS;

use crate::certificate::Certificate;
use crate::checks::{in_its_life, known, unix};
use crate::judge::Shown;
use crate::{clients, signature};

/// The longest chain, in certificates. Real ones have two to four.
const LONGEST: usize = 10;
/// So many ways to a root are looked at.
const MOST_WAYS: usize = 64;
/// So many certificates are arranged; the rest is left over.
const MOST_CERTIFICATES: usize = 64;
/// The longest address that is shown, in octets.
const LONGEST_URL: usize = 200;

/// A certificate and those that lead from it to its root, in the order in which they are sent.
#[derive(Debug, Clone)]
pub struct Chain {
    heap: Vec<CertificateDer<'static>>,
    ways: Vec<Way>,
    certificates: Vec<CertificateDer<'static>>,
    root: Option<CertificateDer<'static>>,
    missing: Option<MissingIssuer>,
}

/// What a certificate is to be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To be shown by a server.
    Server,
    /// To be shown by a client.
    Client,
}

/// The authority whose certificate is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingIssuer {
    /// Whose certificate it would be.
    pub name: String,
    /// Where its certificate can be had, as the certificate below says.
    pub url: Option<String>,
}

/// Why no chain can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// There is no certificate at all.
    #[error("there is no certificate")]
    Empty,
    /// No certificate is the key's.
    #[error(
        "none of the certificates belongs to the private key: {found}; this is the certificate of another request, or \
         the key of another certificate"
    )]
    OfAnotherKey {
        /// Whose certificates there are.
        found: String,
    },
}

/// One way upwards: places in the heap, the certificate itself first, and the root it ends at if that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Way {
    path: Vec<usize>,
    root: Option<usize>,
}

impl Chain {
    /// Finds the certificate of this key (SubjectPublicKeyInfo) and puts those that lead upwards from it in order.
    ///
    /// Among several certificates of the key it is the one that was issued last. Among several ways it is one that
    /// ends at a root, and then the shortest.
    ///
    /// # Errors
    /// There is no certificate, or none is this key's.
    pub fn arrange(mut heap: Vec<CertificateDer<'static>>, leaf_spki: &[u8]) -> Result<Self, ChainError> {
        if heap.is_empty() {
            return Err(ChainError::Empty);
        }
        let Some(leaf) = leaf_of(&heap, leaf_spki) else {
            return Err(ChainError::OfAnotherKey { found: subjects(&heap) });
        };
        heap[..=leaf].rotate_right(1);
        heap.truncate(MOST_CERTIFICATES);
        let ways = ways(&heap);
        let way = ways.first().cloned().unwrap_or(Way { path: vec![0], root: None });
        let mut chain = Self { heap, ways, certificates: Vec::new(), root: None, missing: None };
        chain.choose(&way);
        chain.missing = if chain.root.is_some() { None } else { chain.missing_issuer() };
        Ok(chain)
    }

    /// The same by the shortest way that leads to one of these roots; as it is, if none does.
    #[must_use]
    pub fn towards(mut self, roots: &RootCertStore, now: Timestamp, purpose: Purpose) -> Self {
        let mut prefixes: BTreeSet<(usize, Vec<usize>)> = BTreeSet::new();
        for way in &self.ways {
            prefixes.extend((1..=way.path.len()).map(|length| (length, way.path[..length].to_vec())));
        }
        let leads = |(_, path): &(usize, Vec<usize>)| self.leads(path, roots, now, purpose).is_ok();
        let Some((_, path)) = prefixes.into_iter().find(leads) else { return self };
        let root = self.ways.iter().find(|way| way.path == path).and_then(|way| way.root);
        self.choose(&Way { path, root });
        self.missing = None;
        self
    }

    /// Whether the chain leads to one of these roots. Whether the certificate itself is in force does not matter here.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn completes(
        &self,
        roots: &RootCertStore,
        now: Timestamp,
        purpose: Purpose,
    ) -> Result<(), TlsFailure> {
        leads(&self.certificates, roots, now, purpose)
    }

    /// What is sent: the certificate itself, then its issuers in order, without the root.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The certificate itself.
    pub fn leaf(&self) -> &CertificateDer<'static> {
        &self.certificates[0]
    }

    /// Those that lead from it towards its root.
    pub fn issuers(&self) -> &[CertificateDer<'static>] {
        &self.certificates[1..]
    }

    /// The root at which it ends, if that was in the heap. A certificate that is signed by itself is its own.
    pub fn root(&self) -> Option<&CertificateDer<'static>> {
        self.root.as_ref()
    }

    /// Whose certificate would come next, if the chain neither ends at a root nor is known to lead to one.
    pub fn missing(&self) -> Option<&MissingIssuer> {
        self.missing.as_ref()
    }

    /// Whether its certificates vouch for one another in a circle, so that no root is above them.
    pub fn is_circle(&self) -> bool {
        let Some(top) = self.certificates.last().filter(|_| self.root.is_none()) else { return false };
        let top = Certificate::new(top);
        self.certificates.iter().any(|der| is_child(&top, &Certificate::new(der)))
    }

    /// What was in the heap and does not belong to the chain.
    pub fn left_over(&self) -> Vec<&CertificateDer<'static>> {
        let used = |certificate: &&CertificateDer<'static>| {
            self.certificates.contains(certificate) || self.root.as_ref() == Some(certificate)
        };
        self.heap.iter().filter(|certificate| !used(certificate)).collect()
    }

    /// What is sent, as PEM: what a certificate file holds.
    pub fn to_pem(&self) -> String {
        self.certificates.iter().map(|der| crate::request::pem("CERTIFICATE", der)).collect()
    }

    fn choose(&mut self, way: &Way) {
        self.certificates = way.path.iter().map(|place| self.heap[*place].clone()).collect();
        self.root = way.root.map(|place| self.heap[place].clone());
    }

    fn leads(
        &self,
        path: &[usize],
        roots: &RootCertStore,
        now: Timestamp,
        purpose: Purpose,
    ) -> Result<(), TlsFailure> {
        let certificates: Vec<_> = path.iter().map(|place| self.heap[*place].clone()).collect();
        leads(&certificates, roots, now, purpose)
    }

    fn missing_issuer(&self) -> Option<MissingIssuer> {
        let top = Certificate::new(self.certificates.last()?);
        Some(MissingIssuer { name: top.issuer(), url: issuer_url(&top) })
    }
}

fn leads(
    certificates: &[CertificateDer<'static>],
    roots: &RootCertStore,
    now: Timestamp,
    purpose: Purpose,
) -> Result<(), TlsFailure> {
    let [leaf, others @ ..] = certificates else { return Ok(()) };
    let certificate = Certificate::new(leaf);
    let shown = Shown { leaf, others, host: None, names: &[], now: unix(now) };
    match purpose {
        Purpose::Server => known(&certificate, roots, &shown),
        Purpose::Client => {
            clients::lead_to(roots, &Shown { now: in_its_life(&certificate, shown.now), ..shown })
        }
    }
}

/// The place of the key's certificate; of several the one that begins last.
fn leaf_of(heap: &[CertificateDer<'static>], spki: &[u8]) -> Option<usize> {
    let begin = |place: &usize| {
        Certificate::new(&heap[*place]).parsed().map_or(i64::MIN, |c| c.validity().not_before.timestamp())
    };
    let its_own = |place: &usize| Certificate::new(&heap[*place]).spki().is_some_and(|other| *other == *spki);
    (0..heap.len()).filter(its_own).max_by_key(begin)
}

/// Whose certificates these are; the first few.
fn subjects(heap: &[CertificateDer<'static>]) -> String {
    let shown: Vec<String> = heap.iter().take(3).map(|der| Certificate::new(der).subject()).collect();
    let more = if heap.len() > 3 { format!(" and {} more", heap.len() - 3) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// All ways upwards from the first of the heap, the best first.
fn ways(heap: &[CertificateDer<'static>]) -> Vec<Way> {
    let certificates: Vec<Certificate<'_>> = heap.iter().map(|der| Certificate::new(der)).collect();
    let mut search = Search {
        roots: certificates.iter().map(Certificate::is_self_signed).collect(),
        parents: certificates.iter().map(|child| parents(child, &certificates)).collect(),
        ways: Vec::new(),
    };
    search.climb(&mut vec![0]);
    search.ways.sort_by_key(|way| (way.root.is_none(), way.path.len()));
    search.ways
}

/// The places of those that signed this one.
fn parents(child: &Certificate<'_>, all: &[Certificate<'_>]) -> Vec<usize> {
    all.iter().enumerate().filter(|(_, parent)| is_child(child, parent)).map(|(place, _)| place).collect()
}

fn is_child(child: &Certificate<'_>, parent: &Certificate<'_>) -> bool {
    if !child.names_as_issuer(parent) || child.der() == parent.der() {
        return false;
    }
    // Signatures by keys that are too short are not checked at all; that they are, is for others to say.
    let spki = parent.spki().filter(|_| parent.weak_key().is_none());
    let made = spki.and_then(|spki| signature::is_made_by(child.der(), &spki));
    made.unwrap_or_else(|| key_names_agree(child, parent))
}

/// Where a signature is of a kind that cannot be checked here, the key's name must do (RFC 5280 §4.2.1.1).
fn key_names_agree(child: &Certificate<'_>, parent: &Certificate<'_>) -> bool {
    let of_issuer = child.parsed().and_then(|parsed| {
        parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0),
            _ => None,
        })
    });
    let own = parent.parsed().and_then(|parsed| {
        parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
            _ => None,
        })
    });
    of_issuer.is_none() || own.is_none() || of_issuer == own
}

struct Search {
    roots: Vec<bool>,
    parents: Vec<Vec<usize>>,
    ways: Vec<Way>,
}

impl Search {
    /// Follows every way from the end of this path. What was on the path already is not gone to again.
    fn climb(&mut self, path: &mut Vec<usize>) {
        let Some(top) = path.last().copied() else { return };
        if self.ways.len() >= MOST_WAYS {
            return;
        }
        if self.roots[top] {
            self.ways.push(Way { path: path.clone(), root: Some(top) });
            return;
        }
        let above: Vec<usize> =
            self.parents[top].iter().copied().filter(|place| !path.contains(place)).collect();
        if above.is_empty() || path.len() >= LONGEST {
            self.ways.push(Way { path: path.clone(), root: None });
            return;
        }
        for place in above {
            if self.roots[place] {
                self.ways.push(Way { path: path.clone(), root: Some(place) });
                continue;
            }
            path.push(place);
            self.climb(path);
            path.pop();
        }
    }
}

/// Where the issuer's certificate can be had (RFC 5280 §4.2.2.1).
fn issuer_url(certificate: &Certificate<'_>) -> Option<String> {
    let extensions = certificate.parsed()?.extensions();
    let access = extensions.iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => Some(access),
        _ => None,
    })?;
    access.accessdescs.iter().find_map(|description| match &description.access_location {
        GeneralName::URI(url) if description.access_method == OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS => {
            Some(clean(url, LONGEST_URL))
        }
        _ => None,
    })
}
