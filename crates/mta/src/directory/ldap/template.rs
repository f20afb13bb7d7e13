//! Texts of the configuration with fields in them, such as `uid={local},ou=people,dc=example,dc=org`.
//!
//! [`Fields`] holds what the fields stand for in one question. A [`NameTemplate`] makes the name that somebody binds as: a DN,
//! in which everything that could end a value is escaped (RFC 4514 §2.4), or the name of an account as Active Directory takes
//! it. Filters have [`Piece`]s too, but need no escaping: see `filter`.
//!
//! What it deliberately does not do: decide which entry belongs to a name.

use std::fmt::Write as _;

/// What may stand in braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Login,
    Local,
    Domain,
    Dn,
    Name,
}

/// A part of a text: octets as they stand, or a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Octets(Vec<u8>),
    Field(Field),
}

/// What the fields stand for. Where one is missing, nothing can be made of a text that has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) login: Option<String>,
    pub(super) local: Option<String>,
    pub(super) domain: Option<String>,
    pub(super) dn: Option<String>,
    pub(super) name: Option<String>,
}

/// The name that somebody binds as, with fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTemplate {
    pieces: Vec<Piece>,
    is_dn: bool,
}

impl Field {
    /// Those that are known of somebody who wants to sign in.
    pub(super) const OF_LOGIN: [Self; 3] = [Self::Login, Self::Local, Self::Domain];
    /// Those that are known of somebody whose entry was found.
    pub(super) const OF_ENTRY: [Self; 2] = [Self::Dn, Self::Name];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Local => "local",
            Self::Domain => "domain",
            Self::Dn => "dn",
            Self::Name => "name",
        }
    }
}

impl Piece {
    /// A field, by what stands between its braces.
    ///
    /// # Errors
    /// In words: there is no such field here.
    pub(super) fn field(name: &[u8], allowed: &[Field]) -> Result<Self, String> {
        let found = allowed.iter().find(|field| field.name().as_bytes() == name);
        found.map(|field| Self::Field(*field)).ok_or_else(|| {
            let known: Vec<String> = allowed.iter().map(|field| format!("{{{}}}", field.name())).collect();
            format!(
                "there is no field {{{}}} here; the fields are {}",
                String::from_utf8_lossy(name),
                known.join(", ")
            )
        })
    }

    pub(super) fn value<'a>(&'a self, fields: &'a Fields) -> Option<&'a [u8]> {
        match self {
            Self::Octets(octets) => Some(octets),
            Self::Field(field) => fields.value(*field).map(str::as_bytes),
        }
    }
}

impl Fields {
    fn value(&self, field: Field) -> Option<&str> {
        let value = match field {
            Field::Login => &self.login,
            Field::Local => &self.local,
            Field::Domain => &self.domain,
            Field::Dn => &self.dn,
            Field::Name => &self.name,
        };
        value.as_deref().filter(|value| !value.is_empty())
    }
}

impl NameTemplate {
    /// Reads one.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (field, after) =
                behind.split_once('}').ok_or_else(|| format!("a \"{{\" in \"{text}\" is never closed"))?;
            pieces.push(Piece::Octets(before.into()));
            pieces.push(Piece::field(field.as_bytes(), &Field::OF_LOGIN)?);
            rest = after;
        }
        pieces.push(Piece::Octets(rest.into()));
        let names_somebody = [Field::Login, Field::Local].map(Piece::Field);
        if !pieces.iter().any(|piece| names_somebody.contains(piece)) {
            return Err("it is the same for everybody; it needs {local} or {login}".to_owned());
        }
        Ok(Self { pieces, is_dn: text.contains('=') })
    }

    /// Whether what it makes is a DN, and not the name of an account.
    pub fn is_dn(&self) -> bool {
        self.is_dn
    }

    /// The name; `None` where a field is missing, or could not stand in the name of an account.
    pub(super) fn made(&self, fields: &Fields) -> Option<String> {
        let mut name = String::new();
        for piece in &self.pieces {
            let value = std::str::from_utf8(piece.value(fields)?).ok()?;
            match piece {
                Piece::Field(_) if self.is_dn => escape(&mut name, value),
                // The separators of account names: what stands around it would be of another domain.
                Piece::Field(Field::Local | Field::Domain) if value.contains(['@', '\\', '/']) => {
                    return None;
                }
                Piece::Octets(_) | Piece::Field(_) => name.push_str(value),
            }
        }
        Some(name)
    }
}

/// RFC 4514 §2.4: any octet may be written as `\` and two digits, so whatever is not plainly harmless is.
fn escape(into: &mut String, value: &str) {
    for c in value.chars() {
        if c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@') {
            into.push(c);
            continue;
        }
        let mut octets = [0; 4];
        for octet in c.encode_utf8(&mut octets).bytes() {
            // Writing to a text cannot fail.
            let _ = write!(into, "\\{octet:02x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(template: &str, local: &str) -> Option<String> {
        let fields = Fields { local: Some(local.into()), login: Some(local.into()), ..Fields::default() };
        NameTemplate::parse(template).unwrap().made(&fields)
    }

    #[test]
    fn no_name_ends_its_place_in_a_dn() {
        let people = "uid={local},ou=people,dc=example,dc=org";
        assert_eq!(made(people, "anna.m").unwrap(), "uid=anna.m,ou=people,dc=example,dc=org");
        assert_eq!(made(people, "zoë").unwrap(), "uid=zoë,ou=people,dc=example,dc=org");
        for hostile in
            ["anna,dc=example", "a+b=c", "#x", " ", "a;b", "\"x\"", "a\\", "\\2a", "<>", "=", "a\0"]
        {
            let name = made(people, hostile).unwrap();
            let value =
                name.strip_prefix("uid=").unwrap().strip_suffix(",ou=people,dc=example,dc=org").unwrap();
            assert!(
                !value.contains([',', '+', ';', '=', '"', '#', '<', '>', ' ', '\0']),
                "{hostile}: {name}"
            );
            assert_eq!(crate::directory::ldap::entry::first_value(&name).as_deref(), Some(hostile));
        }
        assert_eq!(made(people, ""), None, "nobody");
    }

    #[test]
    fn the_name_of_an_account_stays_in_its_domain() {
        assert_eq!(made("{local}@corp.example", "anna").as_deref(), Some("anna@corp.example"));
        assert_eq!(made("CORP\\{local}", "anna").as_deref(), Some("CORP\\anna"));
        for hostile in ["anna@evil.example", "EVIL\\anna", "evil/anna"] {
            assert_eq!(made("{local}@corp.example", hostile), None, "{hostile}");
        }
        assert_eq!(made("{login}", "anna@corp.example").as_deref(), Some("anna@corp.example"));
        assert_eq!(made("{local}@{domain}", "anna"), None, "there is no domain");
    }

    #[test]
    fn what_names_nobody_is_refused_in_words() {
        for text in ["", "uid=anna", "uid={uid}", "uid={local", "{domain}", "{dn}"] {
            assert!(NameTemplate::parse(text).is_err(), "{text:?}");
        }
    }
}
