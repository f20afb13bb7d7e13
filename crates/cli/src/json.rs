//! What a command found out, for programs: JSON whose texts cannot steer a terminal, whoever they came from.
//!
//! [`in_json`] is all there is. JSON itself escapes control characters; what turns the direction of text it does not, so that is
//! replaced here. What it deliberately does not do: change the order of fields, or shorten anything.

use std::io;

use postern_smtp::text::clean;
use serde_json::Serializer;
use serde_json::ser::{Formatter, PrettyFormatter};

/// What a command found out, for programs.
pub(crate) fn in_json<T: serde::Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    let mut text = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut text, Clean(PrettyFormatter::new()));
    value.serialize(&mut serializer)?;
    text.push(b'\n');
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Pretty, and every text clean.
struct Clean(PrettyFormatter<'static>);

impl Formatter for Clean {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        writer.write_all(clean(text, usize::MAX).as_bytes())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_form_and_every_text_is_clean() {
        let value = serde_json::json!({"a": ["x\u{202e}y\u{9b}\n\"z\"", 7, {}], "b": null});
        let text = in_json(&value).unwrap();
        let harmful = |c: char| c != '\n' && !postern_smtp::text::is_harmless(c);
        assert!(!text.contains(harmful), "{text:?}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["a"][0], "x?y?\n\"z\"");
        assert_eq!(text.lines().count(), 8, "{text}");
    }
}
