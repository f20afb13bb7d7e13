//! What a database answers, whichever it is.
//!
//! A [`Row`] is named columns of [`Value`]s; [`Row::account`] makes somebody of it. What it deliberately does not do: care for
//! columns that mean nothing here.

use postern_smtp::secret::Secret;

use crate::directory::Principal;
use crate::directory::account::{Account, Standing, addresses, items};
use crate::directory::source::MOST_LISTED;
use crate::directory::source::key_of;

/// The longest text that is taken from a column, in octets.
pub(super) const LONGEST_TEXT: usize = 64 << 10;

/// One row.
#[derive(Debug)]
pub(super) struct Row(pub(super) Vec<(String, Value)>);

/// What stands in a column.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Text(Secret),
    Switch(bool),
    List(Vec<String>),
    /// Something else, by its kind.
    Other(String),
}

impl Row {
    /// Who this is. Without a name he is called as he signs in.
    ///
    /// # Errors
    /// In words, which column is of no use.
    pub(super) fn account(&self, login: &str) -> Result<Account, String> {
        let name = match self.column("name") {
            Some(value) => value.text("name")?.filter(|name| !name.is_empty()),
            None => None,
        };
        let stored = match self.column("password") {
            Some(Value::Text(stored)) => stored.clone(),
            None | Some(Value::Null) => Secret::new(""),
            Some(other) => return Err(other.mismatch("password", "a text")),
        };
        let mut principal = Principal::named(name.map_or_else(|| login.to_owned(), key_of), Vec::new());
        if let Some(value) = self.column("addresses") {
            principal.addresses = value.list("addresses")?.iter().flat_map(|item| addresses(item)).collect();
        }
        if let Some(value) = self.column("groups") {
            principal.groups = value.list("groups")?;
        }
        let standing = match self.column("enabled") {
            Some(value) if !value.is_yes()? => Standing::Closed,
            _ => Standing::Open,
        };
        Ok(Account { principal, stored, standing })
    }

    /// # Errors
    /// There is no password to compare with.
    pub(super) fn must_have_password(&self) -> Result<(), String> {
        match self.column("password") {
            Some(_) => Ok(()),
            None => {
                Err("the query gives no column that is called password; write SELECT … AS password"
                    .to_owned())
            }
        }
    }

    /// The text in the first column.
    pub(super) fn into_text(self) -> Option<String> {
        match self.0.into_iter().next()?.1 {
            Value::Text(text) => text.expose_str().map(str::to_owned),
            _ => None,
        }
    }

    fn column(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(column, _)| column.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Value {
    /// A text, unless there is far too much of it.
    pub(super) fn of_text(text: &str) -> Self {
        if text.len() > LONGEST_TEXT {
            return Self::Other("a text of more than 64 KiB".to_owned());
        }
        Self::Text(Secret::new(text))
    }

    fn text(&self, column: &str) -> Result<Option<&str>, String> {
        match self {
            Self::Text(text) => Ok(text.expose_str()),
            Self::Null => Ok(None),
            other => Err(other.mismatch(column, "a text")),
        }
    }

    fn list(&self, column: &str) -> Result<Vec<String>, String> {
        match self {
            Self::Null => Ok(Vec::new()),
            Self::Text(text) => Ok(items(text.expose_str().unwrap_or_default()).map(str::to_owned).collect()),
            Self::List(list) => Ok(list.iter().take(MOST_LISTED).cloned().collect()),
            other => Err(other.mismatch(column, "an array of texts, or a text with commas")),
        }
    }

    fn is_yes(&self) -> Result<bool, String> {
        match self {
            Self::Switch(on) => Ok(*on),
            // Nothing known is no permission.
            Self::Null => Ok(false),
            Self::Text(text) => {
                let word = text.expose_str().unwrap_or_default().to_ascii_lowercase();
                Ok(["1", "t", "true", "y", "yes", "on"].contains(&word.as_str()))
            }
            other => Err(other.mismatch("enabled", "true or false")),
        }
    }

    fn mismatch(&self, column: &str, expected: &str) -> String {
        let found = match self {
            Self::Null => "nothing",
            Self::Text(_) => "a text",
            Self::Switch(_) => "a truth value",
            Self::List(_) => "an array",
            Self::Other(kind) => kind,
        };
        format!("the column {column} is {found}, and {expected} is needed")
    }
}
