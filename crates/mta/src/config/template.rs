//! The path of a Maildir with places for the recipient's address.
//!
//! A [`Template`] is parsed once, with the configuration, and filled for each recipient. Words of an address never lead
//! out of their place in the path: what could (a slash, NUL, a dot at the beginning) is written as `%` and its number.
//!
//! What it deliberately does not do: touch the file system.

use std::fmt;
use std::path::PathBuf;

/// A path such as `/srv/mail/{domain}/{local}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
}

/// A place for a part of the recipient's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Before the `@`, without the detail.
    Local,
    /// Behind the `@`.
    Domain,
    /// `local@domain`, without the detail.
    Address,
    /// What stands behind the plus, or nothing.
    Detail,
}

/// The recipient as a [`Template`] wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemplateValues<'a> {
    /// The local part, unquoted, without the detail.
    pub local: &'a str,
    /// The domain.
    pub domain: &'a str,
    /// The detail, or empty.
    pub detail: &'a str,
}

impl Template {
    /// Reads a template; the error says in words what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("\"{text}\" is not an absolute path"));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (before, behind) = rest.split_at(open);
            let Some(close) = behind.find('}') else {
                return Err(format!("a \"{{\" in \"{text}\" is never closed"));
            };
            push_text(&mut pieces, before);
            pieces.push(Piece::Field(Field::parse(&behind[1..close])?));
            rest = &behind[close + 1..];
        }
        push_text(&mut pieces, rest);
        Ok(Self { pieces })
    }

    /// Whether two recipients of one domain get different paths.
    pub fn tells_mailboxes_apart(&self) -> bool {
        self.has(Field::Local) || self.has(Field::Address)
    }

    /// Whether the path holds this field.
    pub fn has(&self, field: Field) -> bool {
        self.pieces.contains(&Piece::Field(field))
    }

    /// The path for a recipient. Values are put in lower case, and whatever could leave the folder (`/`, NUL, a leading
    /// dot) is written as `%` and two hexadecimal digits, so that different recipients keep different paths.
    pub fn fill(&self, values: &TemplateValues<'_>) -> PathBuf {
        let mut path = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Field(field) => {
                    let value = field.value(values);
                    push_harmless(&mut path, &value);
                }
            }
        }
        PathBuf::from(path)
    }
}

impl Field {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Local, "local"),
        (Self::Domain, "domain"),
        (Self::Address, "address"),
        (Self::Detail, "detail"),
    ];

    fn parse(name: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|(_, known)| *known == name);
        known.map(|(field, _)| *field).ok_or_else(|| {
            format!("there is no field {{{name}}}; the fields are {{local}}, {{domain}}, {{address}} and {{detail}}")
        })
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(field, _)| *field == self).map_or("", |(_, name)| name)
    }

    fn value(self, values: &TemplateValues<'_>) -> String {
        match self {
            Self::Local => values.local.to_lowercase(),
            Self::Domain => values.domain.to_lowercase(),
            Self::Address => format!("{}@{}", values.local, values.domain).to_lowercase(),
            Self::Detail => values.detail.to_lowercase(),
        }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces.iter().try_for_each(|piece| match piece {
            Piece::Text(text) => f.write_str(text),
            Piece::Field(field) => write!(f, "{{{}}}", field.name()),
        })
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

fn push_harmless(path: &mut String, value: &str) {
    use std::fmt::Write as _;
    for (place, letter) in value.char_indices() {
        let harmful =
            matches!(letter, '/' | '%' | '\\') || letter.is_control() || (place == 0 && letter == '.');
        if !harmful {
            path.push(letter);
            continue;
        }
        let mut octets = [0; 4];
        for octet in letter.encode_utf8(&mut octets).bytes() {
            // Writing to a String cannot fail.
            let _ = write!(path, "%{octet:02x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(template: &str, local: &str) -> String {
        let values = TemplateValues { local, domain: "Example.org", detail: "lists" };
        Template::parse(template).unwrap().fill(&values).display().to_string()
    }

    #[test]
    fn fields_are_filled_in_lower_case() {
        assert_eq!(fill("/m/{domain}/{local}/x", "Anna"), "/m/example.org/anna/x");
        assert_eq!(fill("/m/{address}.{detail}", "anna"), "/m/anna@example.org.lists");
    }

    #[test]
    fn no_local_part_leaves_its_folder() {
        assert_eq!(fill("/m/{local}", "../../etc/passwd"), "/m/%2e.%2f..%2fetc%2fpasswd");
        assert_eq!(fill("/m/{local}", ".."), "/m/%2e.");
        assert_eq!(fill("/m/{local}", "a\0b%"), "/m/a%00b%25");
    }

    #[test]
    fn a_bad_template_says_why() {
        assert!(Template::parse("mail/{local}").unwrap_err().contains("not an absolute path"));
        assert!(Template::parse("/mail/{user}").unwrap_err().contains("no field {user}"));
        assert!(Template::parse("/mail/{local").unwrap_err().contains("never closed"));
    }

    #[test]
    fn a_template_displays_as_it_was_written() {
        let text = "/m/{domain}/{local}+{detail}";
        assert_eq!(Template::parse(text).unwrap().to_string(), text);
    }
}
