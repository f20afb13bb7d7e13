//! Binding an identity to listeners and connectors: a change to the configuration file that leaves all the rest of it as
//! it was written, comments included.
//!
//! [`assign`] is from text to text; whoever calls it writes the file, once the new text has been judged. What it
//! deliberately does not do: touch the file, or know whether there is an identity of that name.

use toml_edit::{Array, DocumentMut, Item, Table, Value, value};

/// What shows a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// A listener, to its clients.
    Listener(String),
    /// A connector, to servers that ask for a client certificate.
    Connector(String),
}

/// What is to be done with a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// This identity alone is shown.
    Only,
    /// This identity is shown beside the others.
    Add,
    /// This identity is no longer shown.
    Release,
}

/// Why the text cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssignError {
    /// The text is no TOML.
    #[error("the configuration cannot be read: {0}; see: postern config check")]
    Unreadable(String),
    /// There is none of that name.
    #[error("the configuration has no {kind} named \"{name}\"{}", there_are(.known))]
    NoSuch {
        /// `listener` or `connector`.
        kind: &'static str,
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// What is written there is no list or text.
    #[error("{kind} \"{name}\": {key} is written in a way that is not understood; correct it by hand")]
    Strange {
        /// `listener` or `connector`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The key.
        key: &'static str,
    },
}

fn there_are(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; there is: {}", names.join(", ")) }
}

/// The text of the configuration with an identity bound, or released.
///
/// # Errors
/// What cannot be changed, and why.
pub fn assign(
    text: &str,
    identity: &str,
    bindings: &[Binding],
    change: Change,
) -> Result<String, AssignError> {
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| AssignError::Unreadable(error.message().to_owned()))?;
    for binding in bindings {
        let table = find(&mut document, binding)?;
        let understood = match binding {
            Binding::Listener(_) => change_list(table, identity, change),
            Binding::Connector(_) => change_one(table, identity, change),
        };
        if !understood {
            let (kind, name) = binding.words();
            return Err(AssignError::Strange { kind, name: name.to_owned(), key: binding.key() });
        }
    }
    Ok(document.to_string())
}

impl Binding {
    fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Listener(name) => ("listener", name),
            Self::Connector(name) => ("connector", name),
        }
    }

    fn key(&self) -> &'static str {
        match self {
            Self::Listener(_) => "identities",
            Self::Connector(_) => "identity",
        }
    }
}

fn find<'d>(document: &'d mut DocumentMut, binding: &Binding) -> Result<&'d mut Table, AssignError> {
    let (kind, name) = binding.words();
    let named = |table: &Table| table.get("name").and_then(Item::as_str).map(str::to_owned);
    let sections = document.get_mut(kind).and_then(Item::as_array_of_tables_mut);
    let mut known = Vec::new();
    for table in sections.into_iter().flat_map(|tables| tables.iter_mut()) {
        match named(table) {
            Some(own) if own == name => return Ok(table),
            own => known.extend(own),
        }
    }
    Err(AssignError::NoSuch { kind, name: name.to_owned(), known })
}

/// Changes `identities = […]`; says whether it was understood.
fn change_list(table: &mut Table, identity: &str, change: Change) -> bool {
    let written = match table.get_mut("identities") {
        None => None,
        Some(item) => match item.as_array_mut() {
            Some(list) => Some(list),
            None => return false,
        },
    };
    match (written, change) {
        (None, Change::Release) => {}
        (None, _) => {
            table.insert("identities", value(Array::from_iter([identity])));
        }
        (Some(list), Change::Only) => {
            list.clear();
            list.push(identity);
        }
        (Some(list), Change::Add) if holds(list, identity) => {}
        (Some(list), Change::Add) => list.push(identity),
        (Some(list), Change::Release) => {
            list.retain(|value| value.as_str() != Some(identity));
            // Without the key all are shown; an empty list is refused.
            if list.is_empty() {
                table.remove("identities");
            }
        }
    }
    true
}

fn holds(list: &Array, identity: &str) -> bool {
    list.iter().any(|value| value.as_str() == Some(identity))
}

/// Changes `identity = "…"`; says whether it was understood.
fn change_one(table: &mut Table, identity: &str, change: Change) -> bool {
    match table.get("identity").map(Item::as_str) {
        Some(None) => return false,
        Some(Some(own)) if change == Change::Release => {
            if own == identity {
                table.remove("identity");
            }
        }
        None if change == Change::Release => {}
        _ => {
            let decor = table.get("identity").and_then(Item::as_value).map(|value| value.decor().clone());
            let mut new = Value::from(identity);
            // A comment behind the old value stays behind the new one.
            if let Some(decor) = decor {
                *new.decor_mut() = decor;
            }
            table.insert("identity", Item::Value(new));
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# our gate
hostname = \"mail.example.org\"   # known to the world

[[listener]]
name = \"mx\"
bind = [\"[::]:25\"]

[[listener]]
name = \"submissions\"
identities = [\"old\"]  # for people
bind = [\"[::]:465\"]

[[connector]]
name = \"partner\"
identity = \"old\" # agreed with them
";

    fn changed(binding: Binding, change: Change) -> String {
        assign(TEXT, "mail", &[binding], change).unwrap()
    }

    #[test]
    fn only_the_line_that_is_meant_changes() {
        let text = changed(Binding::Listener("submissions".into()), Change::Only);
        assert_eq!(text, TEXT.replace("identities = [\"old\"]", "identities = [\"mail\"]"));
        let text = changed(Binding::Listener("submissions".into()), Change::Add);
        assert_eq!(text, TEXT.replace("identities = [\"old\"]", "identities = [\"old\", \"mail\"]"));
        let text = changed(Binding::Connector("partner".into()), Change::Only);
        assert_eq!(text, TEXT.replace("identity = \"old\" #", "identity = \"mail\" #"));
        let text = changed(Binding::Listener("mx".into()), Change::Only);
        assert_eq!(text.replace("identities = [\"mail\"]\n", ""), TEXT);
    }

    #[test]
    fn the_last_identity_that_is_released_leaves_no_empty_list() {
        let text = assign(TEXT, "old", &[Binding::Listener("submissions".into())], Change::Release).unwrap();
        assert!(!text.contains("identities"), "{text}");
        let text = assign(TEXT, "old", &[Binding::Connector("partner".into())], Change::Release).unwrap();
        assert!(!text.contains("identity ="), "{text}");
        assert_eq!(changed(Binding::Connector("partner".into()), Change::Release), TEXT);
    }

    #[test]
    fn an_unknown_listener_is_refused_with_those_that_there_are() {
        let error = assign(TEXT, "mail", &[Binding::Listener("imap".into())], Change::Only).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the configuration has no listener named \"imap\"; there is: mx, submissions"
        );
        assert!(assign("a = ", "mail", &[], Change::Only).is_err());
        let strange = "[[listener]]\nname = \"mx\"\nidentities = 3\n";
        assert!(assign(strange, "mail", &[Binding::Listener("mx".into())], Change::Add).is_err());
    }
}
