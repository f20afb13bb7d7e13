//! `[[directory]]`: where people come from besides Postern's own users.

mod passwd_file;
mod sql;

use std::path::PathBuf;
use std::time::Duration;

use postern_smtp::address::{Domain, Mailbox};

use crate::directory::Login;
use crate::directory::ldap::{Filter, LdapUrl, NameTemplate, Scope};

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
