//! Text records of the form `v=VERSION; name=value; …`, which MTA-STS and TLS reporting share (RFC 8461 §3.1,
//! RFC 8460 §3).

/// Why a domain's text records are none of a kind, although it published some of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// More than one record of this version, so that none of them counts.
    Several(usize),
    /// The record breaks the grammar.
    Syntax,
}

/// What follows the version in the one record that has it. Records of other kinds under the name are passed over.
pub(crate) fn only<'a>(texts: &'a [String], version: &str) -> Result<Option<&'a str>, Unreadable> {
    let mut ours = texts.iter().filter_map(|text| behind_version(text, version));
    let first = ours.next();
    match ours.count() {
        0 => Ok(first),
        more => Err(Unreadable::Several(more + 1)),
    }
}

/// The fields of a record, in order.
pub(crate) fn fields(rest: &str) -> Result<Vec<(&str, &str)>, Unreadable> {
    let trimmed = rest.trim_end_matches(WHITE_SPACE);
    // One delimiter may end the record.
    let listed = trimmed.strip_suffix(';').unwrap_or(trimmed);
    listed.split(';').map(|field| one_field(field.trim_matches(WHITE_SPACE))).collect()
}

const WHITE_SPACE: [char; 2] = [' ', '\t'];

fn behind_version<'a>(text: &'a str, version: &str) -> Option<&'a str> {
    text.strip_prefix(version)?.trim_start_matches(WHITE_SPACE).strip_prefix(';')
}

fn one_field(field: &str) -> Result<(&str, &str), Unreadable> {
    let (name, value) = field.split_once('=').ok_or(Unreadable::Syntax)?;
    let sound = is_name(name) && !value.is_empty() && value.bytes().all(|c| (b' '..=b'~').contains(&c));
    if sound { Ok((name, value)) } else { Err(Unreadable::Syntax) }
}

/// The names of fields in records and policies (RFC 8461 §3.1: `sts-ext-name`).
pub(crate) fn is_name(name: &str) -> bool {
    let inside = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
    (1..=32).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(inside)
}
