//! Search filters of the configuration, with fields in them: `(&(objectClass=person)(uid={local}))`.
//!
//! A [`Filter`] is read once, when the configuration is (RFC 4515). What somebody calls himself is put into its values when
//! the request is made, as octets with their length before them, and never passes through the notation again. So no name
//! needs to be escaped, and none can change what is asked.
//!
//! What it deliberately does not do: know attributes, or judge whether a filter finds the right people.

use super::ber::{OCTETS, SEQUENCE, put};
use super::template::{Field, Fields, Piece};

/// The longest filter, in octets, and how deeply its parts may be nested.
const LONGEST: usize = 4096;
const DEEPEST: usize = 16;

/// A filter with fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(Part);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `&` and `|`, by their tags.
    List(u8, Vec<Self>),
    Not(Box<Self>),
    /// `=`, `>=`, `<=` and `~=`, by their tags.
    Compare(u8, String, Value),
    Present(String),
    /// What comes first, in between, and last; the first and the last may be empty.
    Substrings(String, Vec<Value>),
    Extensible {
        attribute: String,
        rule: String,
        dn: bool,
        value: Value,
    },
}

type Value = Vec<Piece>;

// RFC 4511 §4.5.1.7.
const AND: u8 = 0xa0;
const OR: u8 = 0xa1;
const NOT: u8 = 0xa2;
const EQUAL: u8 = 0xa3;
const SUBSTRINGS: u8 = 0xa4;
const AT_LEAST: u8 = 0xa5;
const AT_MOST: u8 = 0xa6;
const PRESENT: u8 = 0x87;
const ABOUT: u8 = 0xa8;
const EXTENSIBLE: u8 = 0xa9;

impl Filter {
    /// Reads a filter that finds one person.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn of_person(text: &str) -> Result<Self, String> {
        Self::parse(text, &Field::OF_LOGIN, &[Field::Login, Field::Local])
    }

    /// Reads a filter that finds the groups that somebody is in.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn of_groups(text: &str) -> Result<Self, String> {
        Self::parse(text, &Field::OF_ENTRY, &Field::OF_ENTRY)
    }

    /// The one that every entry fits.
    pub(super) fn anything() -> Self {
        Self(Part::Present("objectClass".to_owned()))
    }

    /// An account of Active Directory by its name.
    pub(super) fn account(name: &str) -> Self {
        Self(Part::Compare(EQUAL, "sAMAccountName".to_owned(), vec![Piece::Octets(name.into())]))
    }

    /// As it stands in a request; `None` where a field has no value.
    pub(super) fn encoded(&self, fields: &Fields) -> Option<Vec<u8>> {
        self.0.encoded(fields)
    }

    fn parse(text: &str, allowed: &[Field], needed: &[Field]) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("it is longer than {LONGEST} octets"));
        }
        let mut parser = Parser { rest: text.as_bytes(), allowed, fields: Vec::new() };
        let part = parser.part(0)?;
        if !parser.rest.is_empty() {
            return Err(format!("\"{}\" stands behind its last parenthesis", parser.shown()));
        }
        if !needed.iter().any(|field| parser.fields.contains(field)) {
            let names: Vec<String> = needed.iter().map(|field| format!("{{{}}}", field.name())).collect();
            return Err(format!("it asks for nobody in particular; it needs {}", names.join(" or ")));
        }
        Ok(Self(part))
    }
}

impl Part {
    fn encoded(&self, fields: &Fields) -> Option<Vec<u8>> {
        let mut content = Vec::new();
        let tag = match self {
            Self::List(tag, parts) => {
                for part in parts {
                    content.extend(part.encoded(fields)?);
                }
                *tag
            }
            Self::Not(part) => {
                content = part.encoded(fields)?;
                NOT
            }
            Self::Compare(tag, attribute, value) => {
                put(&mut content, OCTETS, attribute.as_bytes());
                put(&mut content, OCTETS, &made(value, fields)?);
                *tag
            }
            Self::Present(attribute) => {
                content = attribute.clone().into_bytes();
                PRESENT
            }
            Self::Substrings(attribute, values) => {
                put(&mut content, OCTETS, attribute.as_bytes());
                put(&mut content, SEQUENCE, &substrings(values, fields)?);
                SUBSTRINGS
            }
            Self::Extensible { attribute, rule, dn, value } => {
                for (tag, text) in [(0x81, rule), (0x82, attribute)] {
                    if !text.is_empty() {
                        put(&mut content, tag, text.as_bytes());
                    }
                }
                put(&mut content, 0x83, &made(value, fields)?);
                if *dn {
                    put(&mut content, 0x84, &[0xff]);
                }
                EXTENSIBLE
            }
        };
        let mut element = Vec::new();
        put(&mut element, tag, &content);
        Some(element)
    }
}

fn made(value: &Value, fields: &Fields) -> Option<Vec<u8>> {
    let parts: Option<Vec<&[u8]>> = value.iter().map(|piece| piece.value(fields)).collect();
    Some(parts?.concat())
}

fn substrings(values: &[Value], fields: &Fields) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    for (index, value) in values.iter().enumerate().filter(|(_, value)| !value.is_empty()) {
        let tag = match index {
            0 => 0x80,
            last if last == values.len() - 1 => 0x82,
            _ => 0x81,
        };
        put(&mut content, tag, &made(value, fields)?);
    }
    Some(content)
}

struct Parser<'a> {
    rest: &'a [u8],
    allowed: &'a [Field],
    /// Those that were met.
    fields: Vec<Field>,
}

impl Parser<'_> {
    fn part(&mut self, depth: usize) -> Result<Part, String> {
        if depth > DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} deep"));
        }
        self.take(b'(')?;
        let part = match self.rest.first() {
            Some(b'&') => self.list(AND, depth)?,
            Some(b'|') => self.list(OR, depth)?,
            Some(b'!') => {
                self.take(b'!')?;
                Part::Not(Box::new(self.part(depth + 1)?))
            }
            _ => self.item()?,
        };
        self.take(b')')?;
        Ok(part)
    }

    fn list(&mut self, tag: u8, depth: usize) -> Result<Part, String> {
        self.rest = &self.rest[1..];
        let mut parts = Vec::new();
        while self.rest.first() == Some(&b'(') {
            parts.push(self.part(depth + 1)?);
        }
        if parts.is_empty() {
            return Err(format!("an \"&\" or \"|\" has nothing behind it, at \"{}\"", self.shown()));
        }
        Ok(Part::List(tag, parts))
    }

    fn item(&mut self) -> Result<Part, String> {
        let attribute = self.attribute();
        if self.rest.first() == Some(&b':') {
            return self.extensible(attribute);
        }
        if attribute.is_empty() {
            return Err(format!("the name of an attribute is missing before \"{}\"", self.shown()));
        }
        for (sign, tag) in [(">=", AT_LEAST), ("<=", AT_MOST), ("~=", ABOUT)] {
            if let Some(rest) = self.rest.strip_prefix(sign.as_bytes()) {
                self.rest = rest;
                return Ok(Part::Compare(tag, attribute, self.only_value()?));
            }
        }
        self.take(b'=')?;
        let mut values = vec![self.value()?];
        while let Some(rest) = self.rest.strip_prefix(b"*") {
            self.rest = rest;
            values.push(self.value()?);
        }
        match &mut values[..] {
            [value] => Ok(Part::Compare(EQUAL, attribute, std::mem::take(value))),
            [first, last] if first.is_empty() && last.is_empty() => Ok(Part::Present(attribute)),
            [_, between @ .., _] if between.iter().any(Vec::is_empty) => {
                Err("two asterisks follow one another".to_owned())
            }
            _ => Ok(Part::Substrings(attribute, values)),
        }
    }

    /// `member:1.2.840.113556.1.4.1941:={dn}`.
    fn extensible(&mut self, attribute: String) -> Result<Part, String> {
        let (mut rule, mut dn) = (String::new(), false);
        while !self.rest.starts_with(b":=") {
            self.take(b':')?;
            match self.attribute() {
                word if word.eq_ignore_ascii_case("dn") && !dn => dn = true,
                word if !word.is_empty() && rule.is_empty() => rule = word,
                _ => return Err(format!("\":=\" is expected at \"{}\"", self.shown())),
            }
        }
        self.rest = &self.rest[2..];
        if attribute.is_empty() && rule.is_empty() {
            return Err("a match needs an attribute or a rule".to_owned());
        }
        Ok(Part::Extensible { attribute, rule, dn, value: self.only_value()? })
    }

    /// The name of an attribute with its options, or of a rule (RFC 4512 §2.5); maybe nothing.
    fn attribute(&mut self) -> String {
        let is_name = |octet: &u8| octet.is_ascii_alphanumeric() || b"-.;_".contains(octet);
        let length = self.rest.iter().take_while(|octet| is_name(octet)).count();
        let (name, rest) = self.rest.split_at(length);
        self.rest = rest;
        String::from_utf8_lossy(name).into_owned()
    }

    fn only_value(&mut self) -> Result<Value, String> {
        let value = self.value()?;
        if self.rest.first() == Some(&b'*') {
            return Err("an asterisk may only follow \"=\"; write it as \\2a".to_owned());
        }
        Ok(value)
    }

    /// Up to the next parenthesis or asterisk.
    fn value(&mut self) -> Result<Value, String> {
        let (mut value, mut octets) = (Vec::new(), Vec::new());
        loop {
            match self.rest {
                [] | [b')' | b'*', ..] => break,
                [b'(', ..] => {
                    return Err(format!(
                        "a \"(\" stands in a value, at \"{}\"; write it as \\28",
                        self.shown()
                    ));
                }
                [b'\\', rest @ ..] => {
                    octets.push(escaped(rest).ok_or("a \"\\\" is not followed by two hexadecimal digits")?);
                    self.rest = &rest[2..];
                }
                [b'{', rest @ ..] => {
                    let end =
                        rest.iter().position(|octet| *octet == b'}').ok_or("a \"{\" is never closed")?;
                    let field = Piece::field(&rest[..end], self.allowed)?;
                    if let Piece::Field(field) = field {
                        self.fields.push(field);
                    }
                    value.extend([Piece::Octets(std::mem::take(&mut octets)), field]);
                    self.rest = &rest[end + 1..];
                }
                [octet, rest @ ..] => {
                    octets.push(*octet);
                    self.rest = rest;
                }
            }
        }
        value.push(Piece::Octets(octets));
        value.retain(|piece| *piece != Piece::Octets(Vec::new()));
        Ok(value)
    }

    fn take(&mut self, octet: u8) -> Result<(), String> {
        let rest = self.rest.strip_prefix(&[octet][..]);
        self.rest = rest.ok_or_else(|| match self.rest {
            [] => format!("a \"{}\" is missing at its end", char::from(octet)),
            _ => format!("a \"{}\" is expected at \"{}\"", char::from(octet), self.shown()),
        })?;
        Ok(())
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.rest[..self.rest.len().min(20)]).into_owned()
    }
}

fn escaped(digits: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*digits.get(index)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::ber::Elements;
    use super::*;

    fn fields(login: &str) -> Fields {
        let local = login.rsplit_once('@').map_or(login, |(local, _)| local);
        Fields { login: Some(login.into()), local: Some(local.into()), ..Fields::default() }
    }

    fn encoded(filter: &str, login: &str) -> Option<Vec<u8>> {
        Filter::of_person(filter).unwrap().encoded(&fields(login))
    }

    /// The tags, and the content of what has none inside.
    fn outline(octets: &[u8], into: &mut Vec<(u8, Vec<u8>)>) {
        let mut elements = Elements(octets);
        while let Some((tag, content)) = elements.next() {
            let nested = tag & 0x20 != 0;
            into.push((tag, if nested { Vec::new() } else { content.to_vec() }));
            if nested {
                outline(content, into);
            }
        }
        assert!(elements.is_empty(), "nothing is left over");
    }

    fn outlined(filter: &str, login: &str) -> Vec<(u8, Vec<u8>)> {
        let mut found = Vec::new();
        outline(&encoded(filter, login).unwrap(), &mut found);
        found
    }

    #[test]
    fn a_filter_is_encoded_as_the_standard_has_it() {
        let octets = |text: &str| (OCTETS, text.as_bytes().to_vec());
        let outline =
            outlined("(&(objectClass=person)(!(a>=1))(|(uid={local})(mail=*)(cn=a*b\\2a*)))", "x@y.example");
        let expected = vec![
            (AND, vec![]),
            (EQUAL, vec![]),
            octets("objectClass"),
            octets("person"),
            (NOT, vec![]),
            (AT_LEAST, vec![]),
            octets("a"),
            octets("1"),
            (OR, vec![]),
            (EQUAL, vec![]),
            octets("uid"),
            octets("x"),
            (PRESENT, b"mail".to_vec()),
            (SUBSTRINGS, vec![]),
            octets("cn"),
            (SEQUENCE, vec![]),
            (0x80, b"a".to_vec()),
            (0x81, b"b*".to_vec()),
        ];
        assert_eq!(outline, expected);
        let nested = Filter::of_groups("(member:1.2.840.113556.1.4.1941:={dn})").unwrap();
        let dn = Fields { dn: Some("cn=a".into()), ..Fields::default() };
        let encoded = nested.encoded(&dn).unwrap();
        let mut expected = vec![EXTENSIBLE, 0];
        put(&mut expected, 0x81, b"1.2.840.113556.1.4.1941");
        put(&mut expected, 0x82, b"member");
        put(&mut expected, 0x83, b"cn=a");
        expected[1] = u8::try_from(expected.len() - 2).unwrap();
        assert_eq!(encoded, expected);
    }

    #[test]
    fn no_login_changes_the_shape_of_a_filter() {
        let filter = "(&(objectClass=person)(|(uid={local})(mail={login})(cn={local}*)))";
        let plain = outlined(filter, "anna");
        let mut random = fastrand::Rng::with_seed(4515);
        let alphabet: Vec<char> = "*()\\&|!=<>~:,;{}\0\n\"'2a28azZé😀 @".chars().collect();
        for _ in 0..5000 {
            let login: String =
                (0..random.usize(1..40)).map(|_| alphabet[random.usize(..alphabet.len())]).collect();
            let fields =
                Fields { login: Some(login.clone()), local: Some(login.clone()), ..Fields::default() };
            let octets = Filter::of_person(filter).unwrap().encoded(&fields).unwrap();
            let mut found = Vec::new();
            outline(&octets, &mut found);
            assert_eq!(found.len(), plain.len());
            for ((tag, value), (same, was)) in found.iter().zip(&plain) {
                assert_eq!(tag, same);
                let expected = if was == b"anna" { login.as_bytes() } else { was };
                assert_eq!(value, expected, "{login:?}");
            }
        }
    }

    #[test]
    fn a_filter_whose_field_is_missing_asks_nothing() {
        assert_eq!(encoded("(&(uid={local})(dc={domain}))", "anna"), None);
        assert_eq!(encoded("(uid={local})", "@example.org"), None);
    }

    #[test]
    fn what_is_no_filter_is_refused_in_words() {
        let deep = "(!".repeat(40) + "(uid={local})" + &")".repeat(40);
        for text in [
            "",
            "uid={local}",
            "(uid={local}",
            "(uid={local}))",
            "(&)",
            "(uid={user})",
            "(uid={local)",
            "(=a)",
            "(objectClass=person)",
            "(uid=\\zz{local})",
            "(uid={local}\\2)",
            "(uid={local}**a)",
            "(uid>={local}*)",
            "(uid={local}(x))",
            "(:={local})",
            "(a:b:c:={local})",
            "(mail={dn})",
            &deep,
        ] {
            assert!(Filter::of_person(text).is_err(), "{text:?}");
        }
        assert!(Filter::of_groups("(member={login})").is_err());
        assert!(Filter::of_groups("(objectClass=group)").is_err());
    }
}
