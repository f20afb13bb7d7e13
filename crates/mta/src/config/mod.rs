//! The configuration: one TOML file, read, judged and resolved.
//!
//! - [`File`] is what was written; [`Config`] is what will run: every default applied, every value typed.
//! - [`File::resolve`] reports all [`Problem`]s at once: which key, which line, what is wrong, what to do.
//! - [`reference`] is the one table of all keys with their types, defaults and reasons. Unknown keys are found with it,
//!   defaults are taken from it, `postern config explain` and `docs/configuration.md` are made from it.
//! - [`Surroundings`] is what the configuration is judged against besides itself, given as an argument.
//!
//! What it deliberately does not do: open sockets or databases, or read passwords. [`Config::check`] looks at the files
//! that it names and loads certificates; nothing else here does.

mod check;
mod file;
mod files;
mod model;
mod problem;
mod reader;
pub mod reference;
mod resolve;
pub mod show;
mod surroundings;
mod template;
#[cfg(test)]
mod tests;
pub mod units;
mod value;

use std::path::{Path, PathBuf};

pub use check::{Checked, Closed};
pub use file::File;
pub use model::{
    Acme, AcmeExternal, AcmeProof, AddressPattern, AddressRule, AddressSpace, Allowance, Allowances, Auth,
    BanRules, BurstAction, Bursts, Ca, Certificates, ClearPasswords, ClientCertificates, Compare, Config,
    Connector, ConnectorName, CredentialFile, CredentialSource, Database, Device, DeviceTls, DirectoryConfig,
    DirectoryKind, Dns, DnsPublisher, Dovecot, Expects, Form, FromCheck, FrontEndLogin, FrontEnds, Greets,
    Guessing, Http, Identity, IdentitySource, InboundPolicy, InboundTls, IpPreference, Issuer, KeptSessions,
    KeySource, Ldap, LdapFlavour, LdapGroups, LdapPeople, LdapService, LdapTls, Listener, ListenerLimits,
    ListenerTls, LmtpAddress, LocalDomain, LocalSocket, Metrics, NamePart, NamedCertificates, NamedNetworks,
    OAuth, OAuthDirectory, OtherSenders, Otherwise, Outbound, OwnUsers, PasswdFile, PasswdFormat, PeerDemand,
    People, Protection, Queue, Rate, Rates, Rehash, Role, Saslauthd, ScramStored, SendAs, SessionLimits,
    SignIn, SignatureAlgorithm, SmtpHost, SpacePolicy, Sql, SqlField, SqlQuery, StoreKind, Tls, TlsReports,
    TokenProof, Transcripts, Way,
};
pub use problem::{Problem, Problems};
pub use surroundings::Surroundings;
pub use template::{Field, Template, TemplateValues};

impl Config {
    /// Reads and resolves a file.
    ///
    /// # Errors
    /// All that is wrong with it, for the administrator.
    pub fn load(path: &Path, surroundings: &Surroundings) -> Result<Self, Problems> {
        let file = File::read(path).map_err(|problem| Problems(vec![problem]))?;
        file.resolve(&surroundings.beside(&file)).map_err(Problems)
    }

    /// Resolves a text that is to become a file; `name` is what the problems call it.
    ///
    /// # Errors
    /// All that is wrong with it, for the administrator.
    pub fn parse(text: &str, name: &str, surroundings: &Surroundings) -> Result<Self, Problems> {
        let file = File::parse(text, name).map_err(|problem| Problems(vec![problem]))?;
        file.resolve(&surroundings.beside(&file)).map_err(Problems)
    }
}

/// Where the configuration is when the command line names no file: `$POSTERN_CONFIG`, else `/etc/postern/postern.toml`.
pub fn default_path() -> PathBuf {
    let named = std::env::var_os("POSTERN_CONFIG").filter(|path| !path.is_empty());
    named.map_or_else(|| PathBuf::from("/etc/postern/postern.toml"), PathBuf::from)
}
