//! The answer to where mail would go, as it travels to the command line and to the console.
//!
//! [`RouteView`] holds a [`Leg`] for each destination, and that a [`HostView`] for each host. Words in them are for people;
//! whoever wants to decide by them uses [`RouteView::goes`] and [`Verdict`].
//!
//! What it deliberately does not do: find anything out.

use jiff::Timestamp;
use postern_queue::Destination;
use postern_smtp::outcome::Trouble;
use postern_smtp::tls::{Demands, TlsRequirement};
use serde::{Deserialize, Serialize};

use crate::diagnosis::{Diagnosis, diagnose};
pub use crate::policy::mta_sts::Source as StsSource;

/// Where mail to an address or a domain would go now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RouteView {
    /// What was asked for.
    pub asked: String,
    /// What that means here.
    pub meaning: Meaning,
    /// One for each destination that it leads to.
    pub legs: Vec<Leg>,
    /// Further destinations that were not looked at.
    pub beyond: usize,
    /// Whether DNSSEC is validated.
    pub validates: bool,
    /// By whom, or why not, in a sentence.
    pub dnssec: String,
    /// Whether a running daemon answered, which alone remembers how hosts were reached.
    pub daemon: bool,
}

/// What an address or a domain means here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meaning {
    /// A domain that we are the final destination for.
    OurDomain,
    /// Somebody else's domain.
    ForeignDomain,
    /// An address of ours; aliases are followed.
    Ours,
    /// An address in one of our domains that nobody has.
    Nobody,
    /// Somebody else's address.
    Foreign,
    /// The directory cannot be asked, and why.
    Undecided(String),
}

/// The way to one destination.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Leg {
    /// The destination.
    pub destination: String,
    /// The addresses there that are meant; none when a domain was asked for.
    pub recipients: Vec<String>,
    /// The connector that is chosen.
    pub connector: Option<ConnectorView>,
    /// Those that could have been, the best first.
    pub others: Vec<Other>,
    /// What the domain's MTA-STS policy is; `None` where none counts.
    pub mta_sts: Option<StsView>,
    /// The hosts in the order in which they are tried.
    pub hosts: Vec<HostView>,
    /// Hosts whose addresses could not be found out now.
    pub unresolved: Vec<Unresolved>,
    /// Whether mail would go.
    pub verdict: Verdict,
}

/// Whether mail would go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It would be tried at the hosts named.
    Goes,
    /// It would wait, and why.
    Waits(Diagnosis),
    /// It would be returned to its sender, and why.
    Fails(Diagnosis),
}

/// The connector that is chosen, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one switch of the configuration, and none depends on another"
)]
pub struct ConnectorView {
    /// Its name.
    pub name: String,
    /// Where it leads.
    pub to: String,
    /// The address space that holds the destination; `None` where one of our domains names the connector.
    pub space: Option<String>,
    /// Its cost.
    pub cost: u32,
    /// Whether it is in service.
    pub enabled: bool,
    /// Whether TLSA records are asked for.
    pub dane: bool,
    /// Whether MTA-STS policies are asked for.
    pub mta_sts: bool,
    /// Whether it signs in.
    pub signs_in: bool,
    /// Its rate, where it has one.
    pub rate: Option<String>,
    /// When it tries again, where that is not as `[queue]` says.
    pub retry: Option<String>,
}

/// A connector that could have been chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    /// Its name.
    pub name: String,
    /// The address space that holds the destination.
    pub space: String,
    /// Its cost.
    pub cost: u32,
    /// Whether it is in service.
    pub enabled: bool,
}

/// What is known of a domain's MTA-STS policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StsView {
    /// `enforce`, `testing` or `none`; `None`: there is no policy.
    pub mode: Option<String>,
    /// Where it comes from.
    pub source: Option<StsSource>,
    /// When it ceases to bind unless it is fetched again.
    pub expires: Option<Timestamp>,
    /// The hosts that it names.
    pub hosts: Option<Vec<String>>,
    /// What went wrong when it was last looked for.
    pub trouble: Option<String>,
}

/// One host with what is demanded of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostView {
    /// Its name.
    pub name: String,
    /// The name that it is an alias of.
    pub alias_of: Option<String>,
    /// The port.
    pub port: u16,
    /// Whether TLS starts with the first byte.
    pub implicit_tls: bool,
    /// Who says that it is the host.
    pub named_by: NamedBy,
    /// What DNSSEC says of its name: `secure`, `insecure` or `indeterminate`.
    pub name_status: String,
    /// What DNSSEC says of its addresses.
    pub address_status: String,
    /// Its addresses in the order in which they are tried.
    pub sockets: Vec<SocketView>,
    /// What its TLSA records say.
    pub dane: DaneView,
    /// What must hold: the join of the demands.
    pub requirement: TlsRequirement,
    /// The demands, each with its source.
    pub demands: Demands,
    /// Why it gets no mail now.
    pub barred: Option<Diagnosis>,
}

/// Who says that a host takes a destination's mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamedBy {
    /// The configuration.
    Configuration,
    /// MX records.
    Dns,
    /// Nobody: it is an address, written in the configuration or in the recipient's address.
    Address,
}

/// One address of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketView {
    /// The address, or a path in the file system.
    pub address: String,
    /// How it was last reached, where that was not at its best.
    pub memory: Option<Memory>,
}

/// How a host was last reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// `with a small TLS hello`, `in clear`.
    pub reached: String,
    /// For how long it is gone about so.
    pub until: Timestamp,
    /// What had failed.
    pub why: String,
}

/// What the TLSA records of a host say (RFC 7672).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum DaneView {
    /// They are not asked for: the connector does not want them, or the host has no name.
    NotAsked,
    /// There are none that count.
    #[serde(rename = "none")]
    Nothing,
    /// Records that its certificate is checked against.
    #[serde(rename = "usable")]
    Records {
        /// The host under whose name they stand.
        base: String,
        /// The usable ones.
        records: Vec<String>,
    },
    /// There are records, of which none can be used.
    Unusable {
        /// Why not.
        why: String,
    },
    /// The answer was forged or did not come.
    Barred {
        /// Which of it.
        why: String,
    },
}

/// A host whose addresses could not be found out now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unresolved {
    /// Its name.
    pub host: String,
    /// Why.
    pub diagnosis: Diagnosis,
}

impl RouteView {
    /// Whether mail would go: to every destination, now.
    pub fn goes(&self) -> bool {
        !self.legs.is_empty() && self.legs.iter().all(|leg| leg.verdict == Verdict::Goes)
    }
}

impl Leg {
    pub(super) fn new(destination: String, recipients: Vec<String>) -> Self {
        Self {
            destination,
            recipients,
            connector: None,
            others: Vec::new(),
            mta_sts: None,
            hosts: Vec::new(),
            unresolved: Vec::new(),
            verdict: Verdict::Goes,
        }
    }

    pub(super) fn wait_for(&mut self, trouble: &Trouble) {
        self.verdict = Verdict::Waits(self.diagnosis(trouble));
    }

    pub(super) fn fail_by(&mut self, trouble: &Trouble) {
        self.verdict = Verdict::Fails(self.diagnosis(trouble));
    }

    fn diagnosis(&self, trouble: &Trouble) -> Diagnosis {
        diagnose(trouble, &Destination(self.destination.clone()))
    }
}
