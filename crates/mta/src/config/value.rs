//! The file as it was written: a tree of values that know their place.
//!
//! Everything is read into one tree first, so that a wrong value never hides the next one: which keys exist, of which
//! type, is the business of the [reference](super::reference) and of the [reader](super::reader).

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

/// A value of the file. Dates and times are of no use here, and refused by the reader as they come.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Switch(bool),
    List(Vec<Placed>),
    Table(Table),
}

/// A value and the octets of the file it takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    pub(super) value: Value,
    pub(super) span: Range<usize>,
}

/// A table's entries in the order of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Table(pub(super) Vec<Entry>);

/// A key, its place and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) value: Placed,
}

impl Table {
    /// The text that is written for a key, if it is one.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match &self.entry(key)?.value.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }
}

impl Value {
    /// What kind of value it is, in words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Switch(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }

    /// The value of a TOML literal; the defaults in the reference are written so.
    pub(super) fn from_literal(literal: &str) -> Option<Self> {
        let table: Table = toml::from_str(&format!("v = {literal}")).ok()?;
        table.0.into_iter().next().map(|entry| entry.value.value)
    }
}

/// The value as a TOML literal.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Switch(on) => write!(f, "{on}"),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(|item| item.value.to_string()).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Self::Table(table) if table.0.is_empty() => f.write_str("{}"),
            Self::Table(table) => {
                let entry = |entry: &Entry| format!("{} = {}", bare_or_quoted(&entry.key), entry.value.value);
                write!(f, "{{ {} }}", table.0.iter().map(entry).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// A text as a TOML literal.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A key as TOML writes it: bare where that is allowed.
pub(super) fn bare_or_quoted(key: &str) -> String {
    let bare =
        !key.is_empty() && key.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet));
    if bare { key.to_owned() } else { quoted(key) }
}

impl<'de> Deserialize<'de> for Placed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { span: spanned.span(), value: spanned.into_inner() })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Table(table) => Ok(table),
            other => Err(D::Error::custom(format!("a table is expected, not {}", other.kind()))),
        }
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a TOML value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<Value, E> {
        Ok(Value::Switch(on))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Placed>()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut table = Table::default();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let key_span = key.span();
            table.0.push(Entry { key: key.into_inner(), key_span, value: entries.next_value()? });
        }
        Ok(Value::Table(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_knows_its_place() {
        let text = "a = 1\n[[b]]\nc = [\n  \"x\",\n  true ]\n";
        let root: Table = toml::from_str(text).unwrap();
        let Value::List(tables) = &root.entry("b").unwrap().value.value else { panic!("b is a list") };
        let Value::Table(table) = &tables[0].value else { panic!("of tables") };
        let entry = table.entry("c").unwrap();
        assert_eq!(&text[entry.key_span.clone()], "c");
        let Value::List(items) = &entry.value.value else { panic!("c is a list") };
        assert_eq!(&text[items[1].span.clone()], "true");
        assert!(text[..tables[0].span.start].lines().count() <= 2, "the table is placed at its header");
    }

    #[test]
    fn a_literal_survives_reading_and_writing() {
        for literal in ["5", "0.1", "true", "[\"x\", 2]", "{ a = \"b\", \"c.d\" = [] }"] {
            assert_eq!(Value::from_literal(literal).map(|value| value.to_string()).as_deref(), Some(literal));
        }
        let text = Value::Text("a \"quoted\"\nword \\ and 'another'".to_owned());
        assert_eq!(Value::from_literal(&text.to_string()), Some(text));
    }
}
