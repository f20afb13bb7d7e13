//! The lines of a file of people, read into an index.
//!
//! [`Index::parse`] takes everything; what it cannot use it notes and passes over. A [`Line`] is one person.
//!
//! What it deliberately does not do: compare passwords, or know what day it is: a line says from which day on it is closed.

use std::collections::HashMap;
use std::sync::Arc;

use postern_smtp::secret::Secret;

use crate::config::{ClearPasswords, PasswdFormat};
use crate::directory::Principal;
use crate::directory::account::{addresses, items};
use crate::directory::crypt::{Crypt, Typical, Unfit};
use crate::directory::source::key_of;

/// The longest line, in octets.
const LONGEST: usize = 8192;
/// The most problems that are noted.
const MOST_PROBLEMS: usize = 100;
/// Closed from the beginning.
const ALWAYS: Option<i64> = Some(i64::MIN);

/// All people of a file.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By the names that they sign in with, in lower case.
    pub(super) people: HashMap<String, Arc<Line>>,
    /// How most passwords are stored.
    pub(super) typical: Typical,
    /// What cannot be used, by line.
    pub(super) problems: Vec<(usize, String)>,
}

/// One person.
#[derive(Debug)]
pub(super) struct Line {
    /// Counted from one.
    pub(super) number: usize,
    /// What he signs in with, in lower case.
    pub(super) name: String,
    pub(super) principal: Principal,
    pub(super) stored: Secret,
    /// The day since 1970 from which on he cannot sign in.
    pub(super) closed_from: Option<i64>,
}

impl Index {
    pub(super) fn parse(content: &[u8], format: PasswdFormat, clear: ClearPasswords) -> Self {
        let mut index = Self::default();
        for (number, line) in (1..).zip(content.split(|octet| *octet == b'\n')) {
            match line_of(number, line, format) {
                Ok(Some(line)) => index.add(line, clear),
                Ok(None) => {}
                Err(what) => index.note(number, what),
            }
        }
        index
    }

    fn add(&mut self, line: Line, clear: ClearPasswords) {
        let (number, name) = (line.number, line.name.clone());
        if let Some(first) = self.people.get(&name) {
            let what = format!("{} stands in line {} already, which counts", shown(&name), first.number);
            return self.note(number, what);
        }
        match Crypt::parse(line.stored.expose_str().unwrap_or_default(), clear) {
            Ok(crypt) => self.typical.note(&crypt),
            Err(Unfit::Locked) => {}
            Err(unfit) => {
                self.note(number, format!("the password of {} cannot be used: {unfit}", shown(&name)));
            }
        }
        self.people.insert(name, Arc::new(line));
    }

    fn note(&mut self, number: usize, what: impl Into<String>) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push((number, what.into()));
        }
    }
}

/// The person; `None`: nobody stands there.
fn line_of(number: usize, line: &[u8], format: PasswdFormat) -> Result<Option<Line>, &'static str> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    if line.len() > LONGEST {
        return Err("it is longer than 8192 octets");
    }
    let line = std::str::from_utf8(line).map_err(|_| "it is not UTF-8")?;
    let fields: Vec<&str> = line.split(':').collect();
    let [name, stored, rest @ ..] = &fields[..] else { return Err("there is no colon behind the name") };
    if name.is_empty() || name.chars().any(char::is_control) || name.trim() != *name {
        return Err("nobody can be called so");
    }
    let key = key_of(name);
    let mut person = Line {
        number,
        principal: Principal::named(key.clone(), Vec::new()),
        name: key,
        stored: Secret::new(*stored),
        closed_from: None,
    };
    match format {
        PasswdFormat::Dovecot => read_extra(&mut person, rest),
        PasswdFormat::Shadow => person.closed_from = closed_from(rest)?,
    }
    Ok(Some(person))
}

/// Dovecot's fields behind the shell, `key=value` with blanks between. A value may hold colons.
fn read_extra(person: &mut Line, rest: &[&str]) {
    // uid, gid, gecos, home, shell.
    let extra = rest.get(5..).unwrap_or_default().join(":");
    for field in extra.split_whitespace() {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        match key.strip_prefix("userdb_").unwrap_or(key) {
            "postern_addresses" => person.principal.addresses = addresses(value),
            "postern_groups" => person.principal.groups = items(value).map(str::to_owned).collect(),
            "user" if !value.is_empty() && key == "user" => person.principal.name = key_of(value),
            // Where Dovecot lets somebody in only from some networks, or lets everybody in, Postern lets nobody in.
            "nologin" | "nopassword" | "allow_nets" => {
                person.closed_from = ALWAYS;
            }
            _ => {}
        }
    }
}

/// shadow(5): last change, least and most age, warning, inactivity, expiry; days, of which any may be missing.
fn closed_from(rest: &[&str]) -> Result<Option<i64>, &'static str> {
    let day = |place: usize| match rest.get(place).copied().unwrap_or_default() {
        "" => Ok(None),
        text => text.parse::<i64>().map(Some).map_err(|_| "a date in it is no number of days"),
    };
    let (changed, most, expires) = (day(0)?, day(2)?, day(5)?);
    // Zero: the password must be changed before anything else.
    if changed == Some(0) {
        return Ok(ALWAYS);
    }
    let aged = changed
        .zip(most.filter(|most| *most >= 0))
        .map(|(changed, most)| changed.saturating_add(most).saturating_add(1));
    let expires = expires.filter(|day| *day >= 0);
    Ok([aged, expires].into_iter().flatten().min())
}

/// A name for a message, without what could be a mistyped line.
fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, format: PasswdFormat) -> Index {
        Index::parse(text.as_bytes(), format, ClearPasswords::Taken)
    }

    #[test]
    fn a_passwd_file_of_dovecots_is_read_with_its_extra_fields() {
        let text = "# people\n\
                    Anna@Example.org:{PLAIN}a:1:1::/home/a:/bin/sh:userdb_quota=1 postern_addresses=a@x.example,b@x.example,broken \
                    userdb_postern_groups=staff,sales\r\n\
                    ben:{PLAIN}b\n\
                    carol:{PLAIN}c::::::user=Caroline\n\
                    dora:{PLAIN}d::::::nologin\n\
                    emil:::::::nopassword=y\n\
                    frank:{PLAIN}f::::::allow_nets=192.0.2.0/24\n";
        let index = parsed(text, PasswdFormat::Dovecot);
        assert_eq!(index.problems, []);
        let anna = &index.people["anna@example.org"];
        assert_eq!(anna.principal.name, "anna@example.org");
        let addresses: Vec<String> = anna.principal.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["a@x.example", "b@x.example"]);
        assert_eq!(anna.principal.groups, ["staff", "sales"]);
        assert_eq!(anna.stored.expose(), b"{PLAIN}a");
        assert_eq!(index.people["carol"].principal.name, "caroline");
        assert_eq!(index.people["ben"].closed_from, None);
        for closed in ["dora", "emil", "frank"] {
            assert_eq!(index.people[closed].closed_from, ALWAYS, "{closed}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_line_and_passed_over() {
        let mut text =
            b"anna:{PLAIN}a\nno colon\n:x\n\xff\xfe:x\nanna:{PLAIN}again\n ben:x\ncarol:{SECRET}x\n\n"
                .to_vec();
        text.extend([b'x'; LONGEST + 1]);
        text.extend(b"\nlast:{PLAIN}l");
        let index = Index::parse(&text, PasswdFormat::Dovecot, ClearPasswords::Taken);
        let lines: Vec<usize> = index.problems.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6, 7, 9], "{:?}", index.problems);
        assert_eq!(index.people["anna"].stored.expose(), b"{PLAIN}a", "the first counts");
        assert_eq!(index.people["last"].number, 10);
        assert!(index.people.contains_key("carol"), "he is not unknown, his password is unusable");
    }

    #[test]
    fn an_account_of_shadow_closes_when_it_expires_or_its_password_is_too_old() {
        let text = "open:!:19000:0:99999:7:::\n\
                    expires:x:19000:0:99999:7::20000:\n\
                    aged:x:19000:0:90:7:::\n\
                    both:x:19000:0:90:7:5:19050:\n\
                    must_change:x:0:0:99999:7:::\n\
                    short:x\n\
                    broken:x:soon::::::\n";
        let index = parsed(text, PasswdFormat::Shadow);
        let closed = |name: &str| index.people[name].closed_from;
        assert_eq!(closed("open"), Some(19000 + 99999 + 1));
        assert_eq!(closed("expires"), Some(20000));
        assert_eq!(closed("aged"), Some(19000 + 90 + 1));
        assert_eq!(closed("both"), Some(19050));
        assert_eq!(closed("must_change"), ALWAYS);
        assert_eq!(closed("short"), None);
        assert!(!index.people.contains_key("broken"));
        assert_eq!(index.problems.iter().filter(|(line, _)| *line == 7).count(), 1);
    }
}
