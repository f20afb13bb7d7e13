//! `[auth]` and `[[directory]]`: how people sign in, and where they come from.
//!
//! [`auth`] reads the one, [`directories`] the others. Each `[[directory]]` has exactly one section below it, which says what
//! kind it is. What it deliberately does not do: reach any of them.

mod ldap;
mod oauth;
mod passwd_file;
mod sql;

use std::time::Duration;

use postern_smtp::address::Domain;
use postern_smtp::sasl::Mechanism;

use super::Unique;
use crate::config::model::{
    AddressRule, Auth, ClearPasswords, DirectoryConfig, DirectoryKind, Dovecot, OwnUsers, Saslauthd,
};
use crate::config::reader::{Reader, Section};

/// The kinds, by the names of their sections.
const KINDS: [&str; 6] = ["ldap", "passwd_file", "sql", "saslauthd", "dovecot", "oauth"];

pub(super) fn auth<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Option<Auth> {
    let at = &reader.section(top, "auth");
    let mechanisms = reader.list(at, "mechanisms", mechanism);
    if at.writes("mechanisms") && mechanisms.as_ref().is_some_and(Vec::is_empty) {
        let what = "the list is empty, so nobody could sign in";
        reader.complain(at, "mechanisms", what, "name a mechanism, or remove the key for all that work");
    }
    let words = [("first", OwnUsers::First), ("last", OwnUsers::Last), ("off", OwnUsers::Off)];
    let own_users = reader.choice(at, "own_users", None, &words);
    Some(Auth {
        mechanisms: if at.writes("mechanisms") { Some(mechanisms?) } else { None },
        own_users: own_users?,
    })
}

pub(super) fn directories<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Option<Vec<DirectoryConfig>> {
    let sections = reader.sections(top, "directory");
    let mut names = Unique::new("a directory");
    let mut directories = Vec::new();
    for at in &sections {
        directories.push(directory(reader, at));
        names.check(reader, at, None);
        if at.given_name() == Some("users") {
            reader.complain(
                at,
                "name",
                "Postern's own users are called so",
                "give the directory another name",
            );
        }
    }
    directories.into_iter().collect()
}

fn directory<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<DirectoryConfig> {
    let name = reader.name(at, "name");
    let domains = reader.list(at, "domains", |text| text.parse().map_err(|error| format!("{error}")));
    let timeout = reader.duration(at, "timeout");
    let remember = reader.duration_or_never(at, "remember");
    let bridge = reader.duration_or_never(at, "bridge");
    let addresses = reader.list(at, "addresses", AddressRule::parse);
    refuse_typed_domains(reader, at, domains.as_deref(), addresses.as_deref());
    let app_passwords_only = reader.switch(at, "app_passwords_only", None);
    let kind = kind(reader, at);
    Some(DirectoryConfig {
        name: name?,
        domains: domains?,
        timeout: timeout?,
        remember: remember.unwrap_or(Duration::ZERO),
        bridge: bridge.unwrap_or(Duration::ZERO),
        addresses: addresses?,
        app_passwords_only: app_passwords_only?,
        kind: kind?,
    })
}

/// Whoever signs in as `anna@any.example` is anna to a directory that looks at no more than her name, and would own an address in
/// any domain.
fn refuse_typed_domains(
    reader: &mut Reader<'_>,
    at: &Section<'_>,
    domains: Option<&[Domain]>,
    addresses: Option<&[AddressRule]>,
) {
    let typed = addresses.is_some_and(|rules| rules.iter().any(AddressRule::takes_domain_as_typed));
    if typed && domains.is_some_and(<[Domain]>::is_empty) {
        let what = "it takes the domain from what people type, and no domains are named: anybody could take any domain";
        let remedy =
            "write domains = [\"example.org\"] beside it, or \"{user}\" or \"{user}@example.org\" here";
        reader.complain(at, "addresses", what, remedy);
    }
}

/// The one section below that says what it is.
fn kind<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<DirectoryKind> {
    let ldap = reader.written_section(at, "ldap");
    let passwd_file = reader.written_section(at, "passwd_file");
    let sql = reader.written_section(at, "sql");
    let saslauthd = reader.written_section(at, "saslauthd");
    let dovecot = reader.written_section(at, "dovecot");
    let oauth = reader.written_section(at, "oauth");
    let kinds = [
        ldap.map(|at| ldap::ldap(reader, &at).map(|ldap| DirectoryKind::Ldap(Box::new(ldap)))),
        passwd_file.map(|at| passwd_file::passwd_file(reader, &at).map(DirectoryKind::PasswdFile)),
        sql.map(|at| sql::sql(reader, &at).map(|sql| DirectoryKind::Sql(Box::new(sql)))),
        saslauthd.map(|at| self::saslauthd(reader, &at).map(DirectoryKind::Saslauthd)),
        dovecot.map(|at| self::dovecot(reader, &at).map(DirectoryKind::Dovecot)),
        oauth.map(|at| oauth::oauth(reader, &at).map(DirectoryKind::OAuth)),
    ];
    let mut written = kinds.into_iter().flatten();
    let (first, more) = (written.next(), written.next().is_some());
    if first.is_none() || more {
        let what = if more {
            "a directory is of one kind only"
        } else {
            "it is not said what kind of directory it is"
        };
        let sections: Vec<String> = KINDS.iter().map(|kind| format!("[directory.{kind}]")).collect();
        reader.complain(at, "", what, format!("write one of {} below it", sections.join(", ")));
        return None;
    }
    first?
}

fn saslauthd<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<Saslauthd> {
    let socket = reader.path(at, "socket");
    let service = reader.name(at, "service");
    let realm = reader.text(at, "realm");
    Some(Saslauthd { socket: socket?, service: service?, realm: realm? })
}

/// `allow_plain`.
fn clear_passwords<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<ClearPasswords> {
    let allowed = reader.switch(at, "allow_plain", None)?;
    Some(if allowed { ClearPasswords::Taken } else { ClearPasswords::Refused })
}

fn dovecot<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<Dovecot> {
    let socket = reader.turned(at, "socket", str::parse);
    let userdb_socket = reader.turned(at, "userdb_socket", str::parse);
    let service = reader.name(at, "service");
    let address_fields = reader.list(at, "address_fields", |text| Ok(text.to_owned()));
    Some(Dovecot { socket: socket?, userdb_socket, service: service?, address_fields: address_fields? })
}

fn mechanism(name: &str) -> Result<Mechanism, String> {
    Mechanism::named(name).ok_or_else(|| {
        let known: Vec<&str> = Mechanism::ALL.into_iter().map(Mechanism::name).collect();
        format!("\"{name}\" is no mechanism that Postern knows; those are {}", known.join(", "))
    })
}
