//! What will run: the resolved configuration, every default applied, every value typed.
//!
//! [`Config`] and what it is made of. Whoever has one need not check anything again: names refer to what exists, lists
//! that must not be empty are not, and no relay network holds everybody. Where a lower layer has a type for a setting
//! already (limits, retry schedule, TLS version, log style), it is that type.
//!
//! What it deliberately does not do: know how any of it is written, or where a value came from
//! ([`Config::settings`] keeps that for `postern config show`).

mod device;
mod directory;
mod listener_tls;
mod protection;
mod send_as;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use postern_dns::update::TsigAlgorithm;
use postern_dns::{DnssecMode, Options};
use postern_pki::ca::Policy;
use postern_pki::{IdentityStore, KeyKind, MinimumVersion, Name, Pin, Tickets};
use postern_queue::retry::Schedule;
use postern_smtp::address::{Domain, Mailbox};
use postern_smtp::sasl::Mechanism;
use postern_smtp::server::{AuthOffer, FrontEnd, Limits, LineEndings, Timeouts};
use postern_smtp::tls::TlsRequirement;
use serde::{Deserialize, Serialize};

pub use device::{Device, DeviceTls, OtherSenders, SignIn};
pub use directory::{
    AddressRule, ClearPasswords, Compare, Database, DirectoryConfig, DirectoryKind, Dovecot, KeySource, Ldap,
    LdapFlavour, LdapGroups, LdapPeople, LdapService, LdapTls, LocalSocket, NamePart, OAuthDirectory,
    PasswdFile, PasswdFormat, Rehash, Saslauthd, ScramStored, SignatureAlgorithm, Sql, SqlField, SqlQuery,
    TokenProof,
};
pub use listener_tls::{Expects, Greets, ListenerTls, Otherwise};
pub use protection::{Allowance, Allowances, BanRules, BurstAction, Bursts, Guessing, Protection, Rates};
pub use send_as::{AddressPattern, Form, People, SendAs};

use super::Problem;
use super::show::Setting;
use super::template::Template;
use crate::certificates::deploy::Deployment;
use crate::history::Retention;
use crate::observe::LogStyle;

/// The configuration as it will run.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name Postern gives itself in the banner, in EHLO and in `Received` fields.
    pub hostname: Domain,
    /// Where the queue, the users and the private CA live. Absolute once loaded from a file.
    pub data_dir: PathBuf,
    /// Where mail for `postmaster` of every own domain goes when nothing there bears that name.
    pub postmaster: Option<Mailbox>,
    /// The address in the From: field of reports.
    pub report_from: Mailbox,
    /// What is written to the log, and how.
    pub log: LogStyle,
    /// Whom to ask for names.
    pub dns: Dns,
    /// Certificates and protocol versions.
    pub tls: Tls,
    /// Authorities that issue certificates by ACME. No name occurs twice.
    pub acme: Vec<Acme>,
    /// Sessions at the same time in the whole daemon.
    pub sessions: SessionLimits,
    /// What is kept of sessions that have ended.
    pub kept_sessions: KeptSessions,
    /// Where Postern listens.
    pub listeners: Vec<Listener>,
    /// The domains Postern is the final destination of. No name occurs twice.
    pub domains: Vec<LocalDomain>,
    /// The ways out, the implicit `mx` included. No name occurs twice.
    pub connectors: Vec<Connector>,
    /// How people sign in.
    pub auth: Auth,
    /// The organisation's own directories, in the order in which they are asked. No name occurs twice.
    pub directories: Vec<DirectoryConfig>,
    /// How much anybody may do, and what is done about guessers and thieves.
    pub protection: Protection,
    /// Who may write as addresses that are not his own. No name occurs twice.
    pub send_as: Vec<SendAs>,
    /// Printers, scanners and old applications, on device listeners. No name and no network occurs twice.
    pub devices: Vec<Device>,
    /// Who may relay without signing in, on relay listeners.
    pub relay_networks: Vec<NamedNetworks>,
    /// Which client certificates may relay without signing in, on relay listeners. No name occurs twice.
    pub relay_certificates: Vec<NamedCertificates>,
    /// What is demanded of some clients beyond what their listener demands. No name occurs twice.
    pub inbound_policies: Vec<InboundPolicy>,
    /// What is demanded of all mail that leaves by SMTP.
    pub outbound: Outbound,
    /// Reports about TLS (RFC 8460).
    pub tls_reports: TlsReports,
    /// Who hears of certificates that come to their end.
    pub certificates: Certificates,
    /// How long and how much is kept of what happened.
    pub history: Retention,
    /// Where figures can be read.
    pub metrics: Metrics,
    /// How long and how often delivery is tried.
    pub queue: Queue,
    /// What is offered over HTTP, and where.
    pub http: Http,
    /// What may be asked of the private CA.
    pub ca: Ca,
    /// What is allowed but probably not meant. To be logged at start.
    pub warnings: Vec<Problem>,
    /// Every setting with its value and where it came from, in the order of the file's sections.
    pub settings: Vec<Setting>,
}

/// `[ca]`: what may be asked of the private CA, and how its key is opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ca {
    /// What is issued, and for how long. The names of `automatic` are among those that may be asked for.
    pub policy: Policy,
    /// Whoever asks from one of these networks gets at once what is automatic; everybody else waits.
    pub automatic_from: Vec<IpNet>,
    /// The file whose first line opens the CA's key; none: somebody types it, or the key is open.
    pub passphrase_file: Option<PathBuf>,
}

/// `[auth]`: how people sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// The mechanisms that are announced; `None`: what all directories can judge.
    pub mechanisms: Option<Vec<Mechanism>>,
    /// When Postern's own users are asked.
    pub own_users: OwnUsers,
}

impl Auth {
    /// Whether keys for SCRAM-SHA-1 are kept: only where somebody switched it on by name.
    pub fn keeps_sha1(&self) -> bool {
        self.mechanisms.iter().flatten().any(|mechanism| mechanism.name().starts_with("SCRAM-SHA-1"))
    }
}

/// When Postern's own users are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnUsers {
    /// Before all other directories.
    First,
    /// After them.
    Last,
    /// Never: nobody is one.
    Off,
}

/// `[http]`: the private CA's public face.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Http {
    /// The addresses; empty: it is off. Port 0 lets the system choose.
    pub bind: Vec<SocketAddr>,
}

/// `[dns]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// The servers to ask; empty: those of the system.
    pub servers: Vec<SocketAddr>,
    /// How long one question may take.
    pub timeout: Duration,
    /// Who checks DNSSEC.
    pub dnssec: DnssecMode,
}

impl Dns {
    /// How a resolver is to ask.
    pub fn options(&self) -> Options {
        let Self { servers, timeout, dnssec } = self.clone();
        Options { servers, timeout: Some(timeout), dnssec }
    }
}

/// `[tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The identities that the file lists, in its order. Those that lie in the certificate store besides are used too.
    pub identities: Vec<Identity>,
    /// The oldest version that listeners accept.
    pub minimum: MinimumVersion,
}

/// A `[[tls.identity]]`: a certificate chain and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name that listeners and connectors refer to. In the certificate store, the name of its folder.
    pub name: String,
    /// Where it lies, and who renews it.
    pub source: IdentitySource,
}

impl Identity {
    /// The files of its certificate chain and of its key.
    pub fn files(&self, data_dir: &Path) -> (PathBuf, PathBuf) {
        match &self.source {
            IdentitySource::Files { certificate, key } => (certificate.clone(), key.clone()),
            IdentitySource::Store { .. } => {
                let paths = IdentityStore::new(data_dir).paths(&self.name);
                (paths.certificate, paths.key)
            }
        }
    }
}

/// Where an identity lies, and who renews it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentitySource {
    /// Files that somebody else writes and renews.
    Files {
        /// PEM: the certificate, then its chain.
        certificate: PathBuf,
        /// PEM: the private key.
        key: PathBuf,
    },
    /// The certificate store in the data directory.
    Store {
        /// Who issues and renews it; without, an administrator does by hand.
        issuer: Option<Issuer>,
        /// What it is issued for; host names, wildcards and addresses, never empty.
        names: Vec<Name>,
        /// The kind of key it gets.
        key: KeyKind,
    },
}

/// Who issues certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Issuer {
    /// Postern's own authority.
    PrivateCa,
    /// The `[[acme]]` of this name.
    Acme(String),
}

/// An `[[acme]]`: an authority that issues certificates by ACME (RFC 8555).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// The name that identities refer to, and that of a folder in the data directory.
    pub name: String,
    /// The address of its directory; it begins with `https://`.
    pub directory: String,
    /// Where it may write to.
    pub contact: Vec<Mailbox>,
    /// PEM: whom to trust for its own certificate, in place of the system's authorities.
    pub trust: Option<PathBuf>,
    /// The account with it that ours is bound to.
    pub external: Option<AcmeExternal>,
    /// One of the profiles that it offers.
    pub profile: Option<String>,
    /// How names are proved to it.
    pub proof: AcmeProof,
}

/// An account that the authority knows from elsewhere (RFC 8555 §7.3.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeExternal {
    /// Its key id.
    pub key_id: String,
    /// The file; its first line is the MAC key in base64url.
    pub key_file: PathBuf,
}

/// How names are proved to an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AcmeProof {
    /// By HTTP-01 (RFC 8555 §8.3).
    Http {
        /// Where it is answered; never empty.
        bind: Vec<SocketAddr>,
    },
    /// By TLS-ALPN-01 (RFC 8737).
    TlsAlpn {
        /// Where it is answered besides the listeners that begin with TLS.
        bind: Vec<SocketAddr>,
    },
    /// By DNS-01 (RFC 8555 §8.4).
    Dns(DnsPublisher),
}

/// Who sets a TXT record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsPublisher {
    /// The name server itself, asked by dynamic updates (RFC 2136).
    Update {
        /// It.
        server: SocketAddr,
        /// The zone; `None`: the server is asked.
        zone: Option<Domain>,
        /// The name of the key at the server.
        key_name: String,
        /// The file; its first line is the key's secret in base64.
        key_file: PathBuf,
        /// How updates are signed.
        algorithm: TsigAlgorithm,
    },
    /// A program.
    Hook(PathBuf),
}

/// `[certificates]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificates {
    /// So long before the end of a certificate there is a warning; the longest first, never empty, each once.
    pub warn: Vec<Duration>,
    /// Whether warnings go to the postmaster by mail, too.
    pub mail: bool,
    /// Where identities of the store are handed to whenever they are renewed.
    pub deployment: Deployment,
}

/// `[metrics]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Where figures can be read over HTTP; empty: nowhere.
    pub bind: Vec<SocketAddr>,
}

/// The front ends that may say XCLIENT on a listener.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FrontEnds {
    /// Their addresses.
    pub networks: Vec<IpNet>,
    /// Whether they may also say who their client has signed in as.
    pub login: FrontEndLogin,
}

/// Whether front ends may say who their client has signed in as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FrontEndLogin {
    /// They may not.
    #[default]
    Refused,
    /// They may, and whoever they name need prove nothing here.
    Honoured,
}

impl FrontEnds {
    /// What a client at this address may say.
    pub fn of(&self, address: IpAddr) -> FrontEnd {
        match self.login {
            _ if !self.networks.iter().any(|network| network.contains(&address)) => FrontEnd::No,
            FrontEndLogin::Refused => FrontEnd::Trusted,
            FrontEndLogin::Honoured => FrontEnd::TrustedWithLogin,
        }
    }
}

/// A `[[listener]]`: bound addresses and what is spoken there.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Its name in the log.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// The addresses; never empty. Port 0 lets the system choose.
    pub bind: Vec<SocketAddr>,
    /// When TLS starts.
    pub tls: ListenerTls,
    /// Whether AUTH is offered.
    pub auth: AuthOffer,
    /// The addresses that must speak the PROXY protocol; from others it is not interpreted.
    pub proxy_from: Vec<IpNet>,
    /// Who may say with XCLIENT for whom he speaks.
    pub xclient: FrontEnds,
    /// What a bare LF in content becomes.
    pub line_endings: LineEndings,
    /// The oldest TLS version that is taken here.
    pub minimum: MinimumVersion,
    /// Whether clients are asked for certificates.
    pub client_certificates: ClientCertificates,
    /// The names of the identities presented here; empty: all that there are, those of the certificate store too.
    pub identities: Vec<String>,
    /// Whether TLS sessions may be resumed.
    pub session_tickets: Tickets,
    /// Whether the From: field of signed-in principals is checked.
    pub check_from_header: FromCheck,
    /// Bounds per listener and per session.
    pub limits: ListenerLimits,
    /// A message with more `Received` fields than this goes in circles (RFC 5321 §6.3).
    pub hops: usize,
}

impl Listener {
    /// Whether it may present the identity of this name: it is bound to that, or to none in particular.
    pub fn may_show(&self, identity: &str) -> bool {
        self.identities.is_empty() || self.identities.iter().any(|name| name == identity)
    }
}

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Mail from other servers: own domains, permitted networks and, with AUTH, own people.
    Relay,
    /// Mail from signed-in people only (RFC 6409).
    Submission,
    /// Mail from printers, scanners and old applications that are listed by name, as each is allowed to send it.
    Device,
}

/// Whether clients are asked for certificates, and with which authorities they are verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    Ignored,
    /// They are asked; one that shows none, or one that does not verify, is a client like any other.
    Asked(PathBuf),
    /// Without one that verifies the handshake fails.
    Required(PathBuf),
}

/// Whether the From: field of signed-in principals must be an address of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromCheck {
    /// A foreign address in From: is refused.
    Enforced,
    /// Only the reverse-path is checked.
    Off,
}

/// `[sessions]`: what is kept of sessions that have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptSessions {
    /// Of which sessions.
    pub transcripts: Transcripts,
    /// For how long.
    pub keep: Duration,
    /// So many sessions at most.
    pub most: u64,
    /// So many octets at most.
    pub space: u64,
}

/// Of which sessions a transcript is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transcripts {
    /// Of those in which something went wrong.
    Troubled,
    /// Of all.
    All,
    /// Of none; then nobody says what went wrong, either.
    Off,
}

/// How many sessions there may be at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// In all.
    pub all: usize,
    /// From one client: an IPv4 address, or an IPv6 network of 64 bits.
    pub per_address: usize,
}

/// Bounds of a listener.
#[derive(Debug, Clone)]
pub struct ListenerLimits {
    /// Sessions at the same time at this listener.
    pub sessions: SessionLimits,
    /// Bounds per session.
    pub smtp: Limits,
    /// Time bounds per session.
    pub timeouts: Timeouts,
}

/// A `[[domain]]`: Postern is the final destination.
///
/// Local parts are compared without regard to case: the keys of `mailboxes` and `aliases` are in lower case.
#[derive(Debug, Clone)]
pub struct LocalDomain {
    /// The domain.
    pub name: Domain,
    /// The connector its mail goes to; it exists.
    pub connector: ConnectorName,
    /// Local parts that exist besides the addresses of Postern's users, unquoted and in lower case.
    pub mailboxes: HashSet<String>,
    /// Local part (unquoted, lower case) → where its mail goes instead. An alias may name itself: then the mailbox of
    /// that name gets the message too, and is not expanded again. Otherwise the aliases are free of loops.
    pub aliases: HashMap<String, Vec<Mailbox>>,
    /// What separates a detail from the mailbox: `anna+lists`.
    pub plus: Option<char>,
    /// Where mail for unknown local parts goes; `None`: it is refused.
    pub catch_all: Option<Mailbox>,
    /// Whether Postern only stands in for another server, to which the MX records lead. Never without [`Way::Mx`].
    pub backup: bool,
}

/// The name of a connector.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectorName(pub String);

/// A `[[connector]]`: a named way out.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one switch of the file, and none depends on another"
)]
pub struct Connector {
    /// Its name.
    pub name: ConnectorName,
    /// Where it leads.
    pub to: Way,
    /// The recipients' domains it serves; empty: only the domains that name it.
    pub spaces: Vec<AddressSpace>,
    /// Among equally specific address spaces the lowest cost wins.
    pub cost: u32,
    /// What its peers must prove. Without a wire it is [`TlsRequirement::NONE`].
    pub peer: PeerDemand,
    /// Whether TLSA records strengthen that (RFC 7672). Only with [`Way::Mx`] and [`Way::Smtp`].
    pub dane: bool,
    /// Whether policies of recipients' domains strengthen that (RFC 8461). Only with [`Way::Mx`].
    pub mta_sts: bool,
    /// Whether a hybrid post-quantum key exchange is offered.
    pub post_quantum: bool,
    /// The own addresses to connect from: at most one of each family.
    pub source: Vec<IpAddr>,
    /// Which family of addresses to use, and which first.
    pub ip: IpPreference,
    /// What to sign in with. Only with [`Way::Smtp`] and a requirement that proves who the peer is.
    pub credential: Option<CredentialSource>,
    /// The only way to sign in; `None`: the best that the peer offers.
    pub mechanism: Option<Mechanism>,
    /// The name of the identity to show to peers that ask for a client certificate; it exists.
    pub identity: Option<String>,
    /// Connections per destination at the same time; at least 1.
    pub concurrency: usize,
    /// Messages per connection; at least 1.
    pub messages_per_connection: usize,
    /// How long a finished connection is kept for reuse.
    pub idle: Duration,
    /// Our name in EHLO or LHLO.
    pub hello: String,
    /// Messages in a time, over all of its connections.
    pub rate: Option<Rate>,
    /// When to try again and when to give up.
    pub retry: Schedule,
    /// `false`: out of service, and the mail that takes it waits.
    pub enabled: bool,
}

/// What the peers of a connector or of an address space must prove. By default nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerDemand {
    /// What must be true before MAIL is said.
    pub requirement: TlsRequirement,
    /// PEM: trust anchors in place of the system's.
    pub trust: Option<PathBuf>,
    /// The certificates and keys that satisfy [`TlsRequirement::PINNED`]; one is enough.
    pub pins: Vec<Pin>,
    /// The certificates and keys that prove nothing, whatever else speaks for them.
    pub distrust: Vec<Pin>,
}

/// What is demanded of all mail that leaves by SMTP, whichever connector it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// Of every peer; [`TlsRequirement::NONE`] demands nothing.
    pub requirement: TlsRequirement,
    /// Of some. The most specific space that holds a destination wins; no space occurs twice.
    pub policies: Vec<SpacePolicy>,
}

/// `[[outbound.policy]]`: what is demanded of the peers of some destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpacePolicy {
    /// The recipients' domains that it holds for; never empty.
    pub spaces: Vec<AddressSpace>,
    /// What their peers must prove.
    pub peer: PeerDemand,
}

/// Where a connector leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// To the recipient's domain by MX (RFC 5321 §5).
    Mx {
        /// The port, 25 but for tests.
        port: u16,
    },
    /// To these hosts: the next one when the one before does not take mail. Never empty.
    Smtp(Vec<SmtpHost>),
    /// To a mail store by LMTP (RFC 2033).
    Lmtp(LmtpAddress),
    /// Into a Maildir on this machine.
    Maildir(Template),
    /// Into Postern itself: reports about how others reach us by TLS. Never written in a file.
    TlsReports,
}

/// A host to hand mail to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SmtpHost {
    /// Name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Whether TLS starts with the first byte.
    pub implicit_tls: bool,
}

/// Which family of addresses to use, and which first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IpPreference {
    /// IPv6, then IPv4.
    #[default]
    Ipv6First,
    /// IPv4, then IPv6.
    Ipv4First,
    /// Never IPv6.
    Ipv4Only,
    /// Never IPv4.
    Ipv6Only,
}

/// So many messages in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many; at least 1.
    pub messages: u32,
    /// In which time; more than zero.
    pub per: Duration,
}

/// Where an LMTP server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LmtpAddress {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A host (name or address, without brackets) and a port.
    Tcp(String, u16),
}

/// A set of recipients' domains. The most specific one wins: exact, then the longest below, then any.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AddressSpace {
    /// `*`.
    Any,
    /// `partner.example`.
    Exact(Domain),
    /// `*.partner.example`: all names below, not the name itself.
    Below(Domain),
}

/// What to sign in with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// A name and a password.
    Password(CredentialFile),
    /// A name and an access token that somebody else keeps fresh.
    Token {
        /// The name.
        user: String,
        /// The file; its first line is the token.
        token_file: PathBuf,
    },
    /// A name and an access token that Postern fetches (RFC 6749).
    OAuth {
        /// The name.
        user: String,
        /// Where it comes from.
        endpoint: OAuth,
    },
    /// The client certificate, which [`Connector::identity`] names (RFC 4422 Appendix A).
    External,
}

/// Where access tokens come from (RFC 6749).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth {
    /// The token endpoint; it begins with `https://`.
    pub token_url: String,
    /// Who Postern is there.
    pub client_id: String,
    /// The file; its first line is the client's secret. `None`: a public client.
    pub client_secret_file: Option<PathBuf>,
    /// The file; its first line is the refresh token (RFC 6749 §6). `None`: the client credentials grant (RFC 6749 §4.4).
    pub refresh_token_file: Option<PathBuf>,
    /// What is asked for; `None`: what the provider thinks fit.
    pub scope: Option<String>,
}

/// A name and the file with its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFile {
    /// The name.
    pub user: String,
    /// The file; its first line is the password.
    pub password_file: PathBuf,
}

/// Client networks that may relay without signing in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedNetworks {
    /// What the log calls them.
    pub name: String,
    /// The networks, host bits cleared, IPv4-mapped IPv6 networks turned into IPv4.
    pub networks: Vec<IpNet>,
    /// Why so wide a list is right, where it needs a reason.
    pub because: Option<String>,
}

/// `[[relay.certificates]]`: client certificates that may relay without signing in.
///
/// Only a certificate that verified at a listener which asks for one counts. Names and pins are alternatives: one of
/// either is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCertificates {
    /// What the log calls them.
    pub name: String,
    /// DNS names (A-labels in lower case) or mail addresses that a certificate may bear (subjectAltName). No wildcards.
    pub names: Vec<String>,
    /// Certificates and keys themselves.
    pub pins: Vec<Pin>,
}

/// `[[inbound.policy]]`: what is demanded of some clients beyond what their listener demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundPolicy {
    /// What the log calls it.
    pub name: String,
    /// It holds for mail whose reverse-path is in one of these,
    pub senders: Vec<AddressSpace>,
    /// and for clients in one of these: host bits cleared, IPv4-mapped networks turned into IPv4.
    pub networks: Vec<IpNet>,
    /// What must be true before mail is taken.
    pub tls: InboundTls,
    /// The oldest TLS version that will do.
    pub minimum: MinimumVersion,
}

/// What is demanded of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboundTls {
    /// TLS.
    Required,
    /// TLS with a client certificate that verifies.
    Verified,
}

/// `[tls_reports]`: reports about TLS (RFC 8460), to others and from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsReports {
    /// Whether reports are sent to domains that ask for them.
    pub send: bool,
    /// Who reports.
    pub organization: String,
    /// Whom to ask about a report.
    pub contact: Mailbox,
    /// The address in the From: field of reports.
    pub from: Mailbox,
    /// The own address that others' reports about us come to; `None`: mail to it is mail like any other.
    pub receive: Option<Mailbox>,
}

/// `[queue]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// Where messages wait.
    pub store: StoreKind,
    /// When to try again and when to give up.
    pub retry: Schedule,
    /// For how long an attempt owns its recipients unless it renews.
    pub lease: Duration,
    /// Attempts at the same time.
    pub deliveries: usize,
}

/// Where messages wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// On disk, in the data directory.
    Sqlite,
    /// In memory: lost at a restart. For trials.
    Memory,
}

impl Config {
    /// The name of the networks that let this client relay without signing in.
    pub fn relay_network(&self, client: IpAddr) -> Option<&str> {
        let client = client.to_canonical();
        let holds = |named: &&NamedNetworks| named.networks.iter().any(|network| network.contains(&client));
        self.relay_networks.iter().find(holds).map(|named| named.name.as_str())
    }
}

impl AddressSpace {
    /// How specific the match with this domain, in A-labels, is (higher wins), or `None` when the space does not hold it.
    pub fn matches(&self, domain: &str) -> Option<usize> {
        match self {
            Self::Any => Some(0),
            Self::Exact(name) => domain.eq_ignore_ascii_case(&name.key()).then_some(usize::MAX),
            Self::Below(name) => is_below(domain, &name.key()).then_some(name.key().len()),
        }
    }
}

/// As it stands in `to`.
impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = |host: &SmtpHost| format!("smtp:{}:{}", bracketed(&host.host), host.port);
        match self {
            Self::Mx { port: 25 } => f.write_str("mx"),
            Self::Mx { port } => write!(f, "mx, port {port}"),
            Self::Smtp(hosts) => f.write_str(&hosts.iter().map(host).collect::<Vec<_>>().join(", ")),
            Self::Lmtp(LmtpAddress::Unix(path)) => write!(f, "lmtp:unix:{}", path.display()),
            Self::Lmtp(LmtpAddress::Tcp(host, port)) => write!(f, "lmtp:{}:{port}", bracketed(host)),
            Self::Maildir(template) => write!(f, "maildir:{template}"),
            Self::TlsReports => f.write_str("Postern itself"),
        }
    }
}

/// An IPv6 address with its brackets.
fn bracketed(host: &str) -> Cow<'_, str> {
    if host.contains(':') { format!("[{host}]").into() } else { host.into() }
}

impl fmt::Display for AddressSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(name) => f.write_str(name.as_str()),
            Self::Below(name) => write!(f, "*.{}", name.as_str()),
        }
    }
}

impl fmt::Display for ConnectorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `domain` is `parent` with at least one label before it.
fn is_below(domain: &str, parent: &str) -> bool {
    let domain = domain.to_lowercase();
    domain.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> Domain {
        text.parse().unwrap()
    }

    #[test]
    fn ways_are_told_as_they_are_written() {
        let host = |host: &str, port| SmtpHost { host: host.into(), port, implicit_tls: false };
        let hosts = Way::Smtp(vec![host("a.example", 587), host("2001:db8::1", 25)]);
        assert_eq!(hosts.to_string(), "smtp:a.example:587, smtp:[2001:db8::1]:25");
        assert_eq!(Way::Mx { port: 25 }.to_string(), "mx");
        let store = Way::Lmtp(LmtpAddress::Tcp("b.example".into(), 24));
        assert_eq!(store.to_string(), "lmtp:b.example:24");
    }

    #[test]
    fn the_more_specific_space_matches_higher() {
        let spaces = [
            AddressSpace::Any,
            AddressSpace::Below(domain("example")),
            AddressSpace::Below(domain("partner.example")),
            AddressSpace::Exact(domain("mail.partner.example")),
        ];
        let ranks: Vec<_> =
            spaces.iter().map(|space| space.matches("Mail.Partner.Example").unwrap()).collect();
        assert!(ranks.is_sorted_by(|low, high| low < high), "{ranks:?}");
    }

    #[test]
    fn a_space_matches_in_either_spelling_of_its_name() {
        assert!(AddressSpace::Exact(domain("bücher.example")).matches("xn--bcher-kva.example").is_some());
        assert!(AddressSpace::Below(domain("bücher.example")).matches("a.xn--bcher-kva.example").is_some());
    }

    #[test]
    fn below_does_not_match_the_name_itself_nor_a_longer_label() {
        let space = AddressSpace::Below(domain("partner.example"));
        for other in ["partner.example", "notpartner.example", ".partner.example", "example"] {
            assert_eq!(space.matches(other), None, "{other}");
        }
    }
}
