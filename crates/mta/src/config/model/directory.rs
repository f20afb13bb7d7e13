//! `[[directory]]`: where people come from besides Postern's own users.

mod passwd_file;
mod sql;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use postern_smtp::address::{Domain, Mailbox};

use crate::directory::Login;
use crate::directory::ldap::{Filter, LdapUrl, NameTemplate, Scope};
use crate::https::HttpsUrl;

pub use passwd_file::{ClearPasswords, NamePart, PasswdFile, PasswdFormat, Rehash};
pub use sql::{Compare, Database, ScramStored, Sql, SqlField, SqlQuery};

/// A `[[directory]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryConfig {
    /// Its name in the log and in commands; never `users`, which are our own.
    pub name: String,
    /// Only names in these domains are looked for in it; empty: all names.
    pub domains: Vec<Domain>,
    /// How long one question to it may take.
    pub timeout: Duration,
    /// So long a success spares the next question.
    pub remember: Duration,
    /// So long a success counts while the directory does not answer.
    pub bridge: Duration,
    /// Sender addresses that follow from the name.
    pub addresses: Vec<AddressRule>,
    /// The directory's own passwords may not be used, only app passwords.
    pub app_passwords_only: bool,
    /// What kind it is, and what belongs to that.
    pub kind: DirectoryKind,
}

/// The kinds of directories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DirectoryKind {
    /// `[directory.ldap]`.
    Ldap(Box<Ldap>),
    /// `[directory.passwd_file]`.
    PasswdFile(PasswdFile),
    /// `[directory.sql]`.
    Sql(Box<Sql>),
    /// `[directory.saslauthd]`.
    Saslauthd(Saslauthd),
    /// `[directory.dovecot]`.
    Dovecot(Dovecot),
    /// `[directory.oauth]`.
    OAuth(OAuthDirectory),
}

/// `[directory.ldap]`: LDAP and Active Directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ldap {
    /// Servers that know the same people, in the order in which they are tried.
    pub urls: Vec<LdapUrl>,
    /// What kind of servers they are.
    pub flavour: LdapFlavour,
    /// Whether connections are encrypted.
    pub tls: LdapTls,
    /// Trusted authorities in PEM form; `None`: those of the system.
    pub trust: Option<PathBuf>,
    /// How long connecting, or one answer, may take before the next server is tried.
    pub step: Duration,
    /// The account to ask questions with; `None`: as nobody.
    pub service: Option<LdapService>,
    /// Who somebody is.
    pub people: LdapPeople,
    /// Which groups he is in.
    pub groups: LdapGroups,
}

/// The kinds of LDAP servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LdapFlavour {
    /// OpenLDAP, 389 Directory Server and their like.
    Ldap,
    /// Microsoft's, and Samba's.
    ActiveDirectory,
}

/// Whether connections to LDAP servers are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LdapTls {
    /// Always, and the server must prove its name.
    Verified,
    /// Never; only to a server on the same machine.
    Off,
}

/// The account of Postern's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LdapService {
    /// Its DN, or what Active Directory takes for one.
    pub dn: String,
    /// The file whose first line is its password.
    pub password_file: PathBuf,
}

/// How the entry of somebody is found, and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LdapPeople {
    /// Where people are looked for; always there without `bind_as`.
    pub base: Option<String>,
    /// How far below.
    pub scope: Scope,
    /// What finds one of them.
    pub filter: Filter,
    /// Whom somebody binds as without being looked for.
    pub bind_as: Option<NameTemplate>,
    /// The attribute that says what he is called.
    pub name: String,
    /// Those that hold his addresses.
    pub mail: Vec<String>,
}

/// How the groups of somebody are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LdapGroups {
    /// The attribute of his entry that names them by their DNs; empty: none does.
    pub member_of: String,
    /// Where groups are looked for; `None`: nowhere.
    pub base: Option<String>,
    /// What finds those that he is in.
    pub filter: Filter,
}

/// `[directory.saslauthd]`: PAM and the like, through Cyrus' saslauthd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saslauthd {
    /// Its socket.
    pub socket: PathBuf,
    /// What it is told to be asked by; PAM chooses its rules by that.
    pub service: String,
    /// The realm; mostly empty.
    pub realm: String,
}

/// `[directory.dovecot]`: whatever Dovecot checks passwords with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dovecot {
    /// Where its clients ask.
    pub socket: LocalSocket,
    /// Where it tells about users without their passwords; `None`: it is not asked.
    pub userdb_socket: Option<LocalSocket>,
    /// The service that it is told.
    pub service: String,
    /// The fields of its answers that hold sender addresses.
    pub address_fields: Vec<String>,
}

/// A socket on this machine: what goes over it is in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalSocket {
    /// In the file system.
    Unix(PathBuf),
    /// A loopback address.
    Tcp(SocketAddr),
}

/// `[directory.oauth]`: access tokens of an identity provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthDirectory {
    /// The provider, as it writes itself in its tokens.
    pub issuer: Option<String>,
    /// A token must be for one of these; empty: whoever it is for, which only introspection allows.
    pub audience: Vec<String>,
    /// A token must hold for all of these.
    pub scopes: Vec<String>,
    /// How a token is judged.
    pub proof: TokenProof,
    /// The claim that is the principal's name.
    pub user_claim: String,
    /// The claims that are his addresses.
    pub address_claims: Vec<String>,
    /// The claim that lists his groups.
    pub group_claim: Option<String>,
    /// So far clocks may differ.
    pub leeway: Duration,
    /// Whom to trust for HTTPS; `None`: the system's roots.
    pub trust: Option<PathBuf>,
}

/// How an access token is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenProof {
    /// By its signature (RFC 9068, RFC 7515).
    Signed {
        /// Where the keys are.
        keys: KeySource,
        /// The only algorithms that count.
        algorithms: Vec<SignatureAlgorithm>,
    },
    /// By asking the provider (RFC 7662).
    Introspected {
        /// The endpoint.
        url: HttpsUrl,
        /// Who Postern is there, and the file with its secret.
        client: Option<(String, PathBuf)>,
    },
}

/// Where an issuer's public keys are (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A set of keys that is fetched.
    Url(HttpsUrl),
    /// A set of keys on disk.
    File(PathBuf),
    /// Named in the provider's metadata at this address.
    Discovered(HttpsUrl),
}

/// How a token may be signed (RFC 7518 §3.1, RFC 8037 §3.1). There is nothing here that has no key, and nothing whose key both
/// sides know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// RSA with PKCS #1 v1.5 padding and SHA-256.
    Rs256,
    /// The same with SHA-384.
    Rs384,
    /// The same with SHA-512.
    Rs512,
    /// RSA with PSS padding and SHA-256.
    Ps256,
    /// The same with SHA-384.
    Ps384,
    /// The same with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl fmt::Display for LocalSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

impl FromStr for LocalSocket {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::Tcp(address)),
            Ok(address) => Err(format!(
                "passwords go over it in clear, and {address} is not on this machine: only loopback addresses will do"
            )),
            Err(_) => Err(format!(
                "\"{text}\" is neither a path that begins with / nor an address such as \"127.0.0.1:12345\""
            )),
        }
    }
}

impl SignatureAlgorithm {
    /// All of them, best first.
    pub const ALL: [Self; 9] = [
        Self::EdDsa,
        Self::Es256,
        Self::Es384,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
    ];

    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of this registered name, in exactly this spelling. EdDSA has a second one (RFC 9864 §2.2).
    pub fn named(name: &str) -> Option<Self> {
        let name = if name == "Ed25519" { "EdDSA" } else { name };
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// A sender address that follows from who has signed in: `{user}@example.org`.
///
/// `{user}` is the principal's name, `{login}` what he signed in as, `{local}` and `{domain}` the parts of that before and
/// behind its `@`. Where a part is missing, or what comes out is no address, there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressRule(Vec<Piece>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    User,
    Login,
    Local,
    Domain,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
}

impl AddressRule {
    /// Reads a rule.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (field, after) =
                behind.split_once('}').ok_or_else(|| format!("a \"{{\" in \"{text}\" is never closed"))?;
            pieces.extend([Piece::Text(before.to_owned()), Piece::Field(Field::parse(field)?)]);
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        let rule = Self(pieces);
        let sample = Login::new("anna@example.org").and_then(|login| rule.address("anna", &login));
        // A rule of `{user}` alone makes addresses where names are addresses.
        if sample.is_none()
            && Login::new("a@b.example").and_then(|login| rule.address("a@b.example", &login)).is_none()
        {
            return Err(format!("\"{text}\" makes no address; write \"{{user}}@example.org\" or the like"));
        }
        Ok(rule)
    }

    /// Whether the domain comes from what somebody types, which a directory that looks at less of it has not seen.
    pub(crate) fn takes_domain_as_typed(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Field(Field::Login | Field::Domain)))
    }

    /// The address of somebody with this name, who signed in as `login`.
    pub fn address(&self, user: &str, login: &Login) -> Option<Mailbox> {
        let domain = login.key().rsplit_once('@').map(|(_, domain)| domain);
        let mut text = String::new();
        for piece in &self.0 {
            text.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Field(Field::User) => user,
                Piece::Field(Field::Login) => login.key(),
                Piece::Field(Field::Local) => login.local(),
                Piece::Field(Field::Domain) => domain?,
            });
        }
        text.parse().ok()
    }
}

impl Field {
    fn parse(name: &str) -> Result<Self, String> {
        Ok(match name {
            "user" => Self::User,
            "login" => Self::Login,
            "local" => Self::Local,
            "domain" => Self::Domain,
            _ => {
                return Err(format!(
                    "there is no field {{{name}}}; the fields are {{user}}, {{login}}, {{local}} and {{domain}}"
                ));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(rule: &str, user: &str, login: &str) -> Option<String> {
        let rule = AddressRule::parse(rule).unwrap();
        rule.address(user, &Login::new(login).unwrap()).map(|address| address.to_string())
    }

    #[test]
    fn a_rule_makes_an_address_from_the_name_or_none() {
        assert_eq!(made("{user}@example.org", "anna", "x").as_deref(), Some("anna@example.org"));
        assert_eq!(made("{login}", "anna", "Anna@Example.org").as_deref(), Some("anna@example.org"));
        assert_eq!(
            made("{local}@sub.{domain}", "u", "anna@example.org").as_deref(),
            Some("anna@sub.example.org")
        );
        assert_eq!(made("{local}@sub.{domain}", "u", "anna"), None, "there is no domain");
        assert_eq!(made("{user}@example.org", "anna muster", "x"), None, "it would be no address");
        assert_eq!(made("{user}@example.org", "anna@evil.example", "x"), None, "two @ make no address");
    }

    #[test]
    fn what_makes_no_address_is_refused_in_words() {
        for rule in ["", "example.org", "{user", "{name}@example.org", "{user}@"] {
            assert!(AddressRule::parse(rule).is_err(), "{rule:?}");
        }
    }
}
