//! What a probe found, as programs and people read it: the JSON of `postern probe DOMAIN --json`, and what the text is made of.
//!
//! A [`Report`] has one [`HostView`] for each host in the order in which mail would try them, each with a [`SessionView`] for
//! every address, and a [`Verdict`] at every level. Names are stable: fields may be added, none changes its meaning, and
//! [`FORMAT`] says so. Texts of others are cleaned and cut.
//!
//! What it deliberately does not do: lay anything out.

use std::time::Duration;

use postern_dns::mta_sts::record_id;
use postern_pki::{Check, ClientHello};
use postern_smtp::extension::Capabilities;
use postern_smtp::reply::Reply;
use postern_smtp::text::clean;
use postern_smtp::tls::{CertificateSeen, Demands, TlsFault};
use serde::Serialize;

use super::session::{Door, Reach, Seen, Start, Try};
use crate::config::Connector;
use crate::diagnosis::Diagnosis;
use crate::outbound::dane::Dane;
use crate::outbound::plan::PlannedHost;
use crate::outbound::route::Socket;
use crate::policy::mta_sts::Found;
pub use crate::policy::mta_sts::Source as StsSource;

/// The number of this form of report. It changes when a field changes its meaning.
pub const FORMAT: u32 = 1;
/// So many keywords of a server are shown, and so many octets of each line that it says.
const KEYWORDS_MOST: usize = 64;
const LINE_MOST: usize = 300;
/// So many TLSA records and lines of a policy are shown.
const RECORDS_MOST: usize = 32;

/// What a probe found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// What was asked for.
    pub asked: String,
    /// Who validates DNSSEC, in words.
    pub dnssec: String,
    /// The way out that mail would take; `None`: there is none.
    pub connector: Option<ConnectorView>,
    /// What the domain publishes; `None` for a single host.
    pub domain: Option<DomainView>,
    /// The hosts, in the order in which mail would try them.
    pub hosts: Vec<HostView>,
    /// Hosts whose addresses could not be found out now.
    pub unresolved: Vec<UnresolvedView>,
    /// What an administrator should know besides: files that could not be read, and the like.
    pub notes: Vec<String>,
    /// What Postern would do with mail now.
    pub verdict: Verdict,
}

/// A way out.
#[derive(Debug, Clone, Serialize)]
pub struct ConnectorView {
    /// Its name.
    pub name: String,
    /// Where it leads, as it stands in `to`.
    pub to: String,
    /// Whether it is in service.
    pub enabled: bool,
    /// Whether it signs in. A probe does not.
    pub signs_in: bool,
}

/// What a domain publishes.
#[derive(Debug, Clone, Serialize)]
pub struct DomainView {
    /// The domain.
    pub name: String,
    /// Its mail exchangers, best first.
    pub mx: Vec<MxView>,
    /// How far DNSSEC vouches for them: `secure`, `insecure`, `bogus` or `indeterminate`.
    pub mx_status: String,
    /// Why there are none.
    pub mx_trouble: Option<String>,
    /// Its MTA-STS policy; `None` where the connector does not heed any.
    pub mta_sts: Option<StsView>,
}

/// A mail exchanger.
#[derive(Debug, Clone, Serialize)]
pub struct MxView {
    /// Lower is tried first.
    pub preference: u16,
    /// The host.
    pub host: String,
}

/// An MTA-STS policy (RFC 8461).
#[derive(Debug, Clone, Default, Serialize)]
pub struct StsView {
    /// The id in the domain's record now.
    pub record: Option<String>,
    /// `enforce`, `testing` or `none`.
    pub mode: Option<String>,
    /// `fresh`, `cached` or `stale`.
    pub source: Option<StsSource>,
    /// The policy, line by line.
    pub policy: Vec<String>,
    /// Until when it binds unless it is fetched again.
    pub expires: Option<String>,
    /// What went wrong when it was looked for.
    pub trouble: Option<String>,
}

/// A host that was not found.
#[derive(Debug, Clone, Serialize)]
pub struct UnresolvedView {
    /// The host.
    pub host: String,
    /// Why not.
    pub why: String,
}

/// A host.
#[derive(Debug, Clone, Serialize)]
pub struct HostView {
    /// Its name.
    pub name: String,
    /// The port that mail would go to.
    pub port: u16,
    /// Its name after aliases, when that is another.
    pub alias_of: Option<String>,
    /// How far DNSSEC vouches for its name; `secure` also when the configuration names it.
    pub name_status: String,
    /// How far DNSSEC vouches for its addresses.
    pub address_status: String,
    /// What it publishes about its certificates.
    pub dane: DaneView,
    /// Whether the domain's MTA-STS policy lists it; `None` without a policy.
    pub in_policy: Option<bool>,
    /// What is demanded in all, such as `verified+dane`.
    pub requirement: String,
    /// Who demands what.
    pub demands: Demands,
    /// What was seen at each of its addresses.
    pub sessions: Vec<SessionView>,
    /// What other ports of it do, when that was asked for.
    pub ports: Vec<PortView>,
    /// What mail for this host would come to.
    pub verdict: Verdict,
}

/// What a host publishes about its certificates (RFC 7672).
#[derive(Debug, Clone, Default, Serialize)]
pub struct DaneView {
    /// `none`, `usable`, `unusable` or `barred`.
    pub status: &'static str,
    /// The name under which the records stand.
    pub base: Option<String>,
    /// Those that count, as in a zone file.
    pub records: Vec<String>,
    /// Why they cannot be used.
    pub why: Option<String>,
}

/// What was seen at one address.
#[derive(Debug, Clone, Serialize)]
pub struct SessionView {
    /// The address, or the path of a socket on this machine.
    pub address: String,
    /// The port; 0 for a socket on this machine.
    pub port: u16,
    /// `starttls`, `implicit` or `never`.
    pub tls: &'static str,
    /// `open`, `closed`, `filtered`, `unreachable` or `not-tried`.
    pub reach: &'static str,
    /// How long connecting took, in milliseconds.
    pub connect_ms: Option<u64>,
    /// The banner, with its code.
    pub banner: Option<String>,
    /// Whether EHLO was not understood, so that HELO was said.
    pub helo_only: bool,
    /// What it announces in clear.
    pub keywords_before: Vec<String>,
    /// Its reply to STARTTLS.
    pub starttls: Option<String>,
    /// The handshakes, in order: a large hello, and where that failed a small one.
    pub handshakes: Vec<HandshakeView>,
    /// What it announces under TLS.
    pub keywords_after: Vec<String>,
    /// Its AUTH mechanisms, under TLS where there is any.
    pub auth: Vec<String>,
    /// Why something on the way is suspected to rewrite SMTP.
    pub middlebox: Option<String>,
    /// What ended the session early.
    pub trouble: Option<String>,
    /// What mail over this address would come to.
    pub verdict: Verdict,
}

/// A TLS handshake.
#[derive(Debug, Clone, Serialize)]
pub struct HandshakeView {
    /// `large` (with a post-quantum key share) or `small`.
    pub hello: &'static str,
    /// Whether it came about.
    pub ok: bool,
    /// In milliseconds.
    pub took_ms: u64,
    /// `TLSv1.3`.
    pub version: Option<String>,
    /// The cipher suite.
    pub cipher: Option<String>,
    /// The key exchange group.
    pub group: Option<String>,
    /// The proofs that the peer gave: `verified`, `dane`, `pinned`.
    pub proofs: Vec<String>,
    /// What kind of trouble it was.
    pub fault: Option<TlsFault>,
    /// The trouble in words.
    pub why: Option<String>,
    /// The certificates that were shown, the server's own first.
    pub chain: Vec<CertificateSeen>,
    /// Every check of its certificate.
    pub checks: Vec<CheckView>,
}

/// One check of a certificate.
#[derive(Debug, Clone, Serialize)]
pub struct CheckView {
    /// `name`, `dates`, `key`, `signature`, `chain`, `dane`, `pins` or `distrust`.
    pub check: String,
    /// Whether it is well.
    pub ok: bool,
    /// Why not.
    pub why: Option<String>,
}

/// What a port does.
#[derive(Debug, Clone, Serialize)]
pub struct PortView {
    /// The address.
    pub address: String,
    /// The port.
    pub port: u16,
    /// What was found.
    pub state: PortState,
    /// In words.
    pub detail: String,
}

/// What was found at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortState {
    /// A mail server, with TLS.
    Open,
    /// A mail server, without TLS.
    OpenInClear,
    /// A mail server whose TLS does not work.
    BrokenTls,
    /// A mail server, whose STARTTLS something on the way hides.
    Stripped,
    /// A mail server that turns us away.
    Refuses,
    /// It takes connections and says nothing in the time, or hangs up.
    Silent,
    /// It speaks something else.
    SomethingElse,
    /// It refuses connections.
    Closed,
    /// Nobody answers: a firewall, most likely.
    Filtered,
    /// There is no way there.
    Unreachable,
    /// There was no time left.
    NotTried,
}

/// What Postern would do with mail.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// In one word.
    pub outlook: Outlook,
    /// In a sentence.
    pub words: String,
    /// The host and address that it would go over.
    pub via: Option<String>,
    /// Why it would not go, and what to do.
    pub diagnosis: Option<Diagnosis>,
}

/// What would become of mail, best first. The order is that of the exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outlook {
    /// It stays on this machine.
    Local,
    /// It goes encrypted, to a peer that proves who it is.
    Authenticated,
    /// It goes encrypted, to whoever answers.
    Unauthenticated,
    /// It goes in clear.
    Clear,
    /// It waits.
    Waits,
    /// It is returned to its sender.
    Fails,
}

impl Outlook {
    /// The exit code of `postern probe`. These never change.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Local | Self::Authenticated => 0,
            Self::Unauthenticated => 10,
            Self::Clear => 11,
            Self::Waits => 20,
            Self::Fails => 21,
        }
    }
}

impl ConnectorView {
    pub(super) fn of(connector: &Connector) -> Self {
        Self {
            name: connector.name.to_string(),
            to: connector.to.to_string(),
            enabled: connector.enabled,
            signs_in: connector.credential.is_some(),
        }
    }
}

impl SessionView {
    pub(super) fn of(door: &Door<'_>, seen: &Seen, verdict: Verdict) -> Self {
        let (address, port) = match &door.next_hop.at {
            Socket::Tcp(address) => (address.ip().to_string(), address.port()),
            Socket::Unix(path) => (path.display().to_string(), 0),
        };
        let last = seen.after.as_ref().or(seen.before.as_ref());
        Self {
            address,
            port,
            tls: start_word(door.start),
            reach: reach_word(seen.reach),
            connect_ms: seen.connected.map(milliseconds),
            banner: seen.greeting.as_ref().map(line),
            helo_only: seen.misunderstood.is_some(),
            keywords_before: seen.before.as_ref().map(keywords).unwrap_or_default(),
            starttls: seen.starttls.as_ref().map(line),
            handshakes: seen.tries.iter().map(HandshakeView::of).collect(),
            keywords_after: seen.after.as_ref().map(keywords).unwrap_or_default(),
            auth: last.map(mechanisms).unwrap_or_default(),
            middlebox: seen.middlebox.as_ref().map(|sign| clean(sign, LINE_MOST)),
            trouble: seen.halt.as_ref().map(|trouble| clean(trouble, LINE_MOST)),
            verdict,
        }
    }
}

impl HandshakeView {
    fn of(attempt: &Try) -> Self {
        let facts = attempt.result.as_ref().ok();
        let failure = attempt.result.as_ref().err();
        let hello = match attempt.hello {
            ClientHello::Full => "large",
            ClientHello::Small => "small",
        };
        Self {
            hello,
            ok: facts.is_some(),
            took_ms: milliseconds(attempt.took),
            version: facts.map(|facts| facts.version.clone()),
            cipher: facts.map(|facts| facts.cipher.clone()),
            group: facts.and_then(|facts| facts.group.clone()),
            proofs: facts
                .map(|facts| facts.peer.given.iter().map(|proof| proof.to_string()).collect())
                .unwrap_or_default(),
            fault: failure.map(|failure| failure.fault),
            why: failure.map(|failure| failure.why.clone()),
            chain: attempt.chain.clone(),
            checks: attempt.checks.iter().map(CheckView::of).collect(),
        }
    }
}

impl CheckView {
    fn of(check: &Check) -> Self {
        let why = check.result.as_ref().err().map(|failure| failure.why.clone());
        Self { check: check.about.to_string(), ok: why.is_none(), why }
    }
}

impl StsView {
    /// What binds, and what the domain's text records say now.
    pub(super) fn of(found: &Found, texts: Option<&[String]>) -> Self {
        let record = texts.and_then(|texts| record_id(texts).ok().flatten()).map(|id| id.to_string());
        let trouble = found.trouble.as_ref().map(|trouble| clean(trouble, LINE_MOST));
        let Some(binding) = &found.policy else { return Self { record, trouble, ..Self::default() } };
        let policy = &binding.fetched.policy;
        let lines = policy.lines();
        Self {
            record,
            mode: Some(policy.mode.to_string()),
            source: Some(binding.source),
            policy: lines.iter().take(RECORDS_MOST).map(|text| clean(text, LINE_MOST)).collect(),
            expires: Some(binding.fetched.expires().to_string()),
            trouble,
        }
    }

    /// Whether a policy is in force, in whichever mode.
    pub fn is_there(&self) -> bool {
        self.mode.is_some()
    }
}

impl DaneView {
    pub(super) fn of(host: &PlannedHost) -> Self {
        match &host.dane {
            Dane::Nothing => Self { status: "none", ..Self::default() },
            Dane::Records { base, records } => Self {
                status: "usable",
                base: Some(base.clone()),
                records: records.iter().take(RECORDS_MOST).map(|record| clean(record, LINE_MOST)).collect(),
                why: None,
            },
            Dane::Unusable(why) => Self { status: "unusable", why: Some(why.clone()), ..Self::default() },
            Dane::Barred(failure) => {
                Self { status: "barred", why: Some(failure.why.clone()), ..Self::default() }
            }
        }
    }
}

fn reach_word(reach: Reach) -> &'static str {
    match reach {
        Reach::NotTried => "not-tried",
        Reach::Open => "open",
        Reach::Closed => "closed",
        Reach::Filtered => "filtered",
        Reach::Unreachable => "unreachable",
    }
}

fn start_word(start: Start) -> &'static str {
    match start {
        Start::Upgrade => "starttls",
        Start::Implicit => "implicit",
        Start::Never => "never",
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn line(reply: &Reply) -> String {
    clean(reply.one_line(), LINE_MOST)
}

fn keywords(reply: &Reply) -> Vec<String> {
    reply.lines.iter().skip(1).take(KEYWORDS_MOST).map(|keyword| clean(keyword, LINE_MOST)).collect()
}

fn mechanisms(reply: &Reply) -> Vec<String> {
    let offered = Capabilities::parse(reply).auth;
    offered.iter().take(KEYWORDS_MOST).map(|mechanism| clean(mechanism, LINE_MOST)).collect()
}
