//! `[[send_as]]`: who may write as addresses that are not his own.
//!
//! [`SendAs`] is one rule, [`AddressPattern`] what its addresses are written as. Names and groups are kept in the form in
//! which they compare. What it deliberately does not do: decide (see `sender`).

use postern_smtp::address::{LocalPart, Mailbox, split_detail};

use super::AddressSpace;
use crate::directory::{Principal, key_of};

/// A `[[send_as]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendAs {
    /// What the log and `postern user may-send` call it.
    pub name: String,
    /// The addresses; never empty.
    pub addresses: Vec<AddressPattern>,
    /// Whom it is for.
    pub people: People,
    /// In which form they may write.
    pub form: Form,
}

/// Whom a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct People {
    /// Who of these directories only; `None`: of all.
    pub directory: Option<String>,
    /// Everybody.
    pub everybody: bool,
    /// Or people of these names.
    pub users: Vec<String>,
    /// Or who is in one of these groups, in lower case.
    pub groups: Vec<String>,
}

/// In which form somebody may write as an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As if it were his own.
    As,
    /// In its name, with a `Sender:` field that says who sent it (RFC 5322 §3.6.2).
    OnBehalf,
}

/// Addresses by a pattern: `info@example.org`, `crm-*@example.org`, `*@example.org`, `*@*.example.org`, or `*` for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressPattern {
    local: Local,
    space: AddressSpace,
}

/// What stands before the `@`, in lower case and without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Local {
    Exactly(String),
    /// At least one character stands where the `*` does.
    Between(String, String),
}

impl People {
    /// Whether somebody is meant. Names are user names, not addresses: several people may share an address.
    pub fn include(&self, principal: &Principal) -> bool {
        if self.directory.as_ref().is_some_and(|directory| *directory != principal.directory) {
            return false;
        }
        self.everybody || self.users.contains(&key_of(&principal.name)) || self.include_a_group_of(principal)
    }

    fn include_a_group_of(&self, principal: &Principal) -> bool {
        principal.groups.iter().any(|group| self.groups.contains(&group.to_lowercase()))
    }
}

impl AddressPattern {
    /// All addresses there are.
    pub const ALL: Self =
        Self { local: Local::Between(String::new(), String::new()), space: AddressSpace::Any };

    /// Reads a pattern; `space` reads what stands behind the `@`.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn parse(
        text: &str,
        space: impl FnOnce(&str) -> Result<AddressSpace, String>,
    ) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::ALL);
        }
        let wrong = |why: &str| {
            format!(
                "\"{text}\" {why}; write \"info@example.org\", \"crm-*@example.org\" or \"*@example.org\""
            )
        };
        let (local, domain) = text.rsplit_once('@').ok_or_else(|| wrong("has no @"))?;
        let local = Local::parse(local).ok_or_else(|| wrong("is no pattern of addresses"))?;
        Ok(Self { local, space: space(domain)? })
    }

    /// Whether an address fits. One that is written in full fits with a detail behind the delimiter, too.
    pub fn fits(&self, address: &Mailbox, delimiter: Option<char>) -> bool {
        let Some(domain) = address.domain() else { return *self == Self::ALL };
        self.space.matches(&domain.key()).is_some() && self.local.fits(&address.local.value(), delimiter)
    }

    /// The domains of which every address fits.
    pub fn whole(&self) -> Option<&AddressSpace> {
        let is_all =
            matches!(&self.local, Local::Between(before, behind) if before.is_empty() && behind.is_empty());
        is_all.then_some(&self.space)
    }
}

impl Local {
    /// With at most one `*`; the rest must be what an address can have.
    fn parse(text: &str) -> Option<Self> {
        let value = |text: &str| text.parse::<LocalPart>().ok().map(|local| local.value().to_lowercase());
        match text.split_once('*') {
            None => value(text).map(Self::Exactly),
            Some((_, behind)) if behind.contains('*') => None,
            Some((before, behind)) => {
                value(&format!("{before}x{behind}"))?;
                Some(Self::Between(before.to_lowercase(), behind.to_lowercase()))
            }
        }
    }

    fn fits(&self, local: &str, delimiter: Option<char>) -> bool {
        let local = local.to_lowercase();
        match self {
            Self::Exactly(own) => *own == local || *own == split_detail(&local, delimiter).0,
            Self::Between(before, behind) => {
                let rest = local.strip_prefix(before.as_str());
                rest.and_then(|rest| rest.strip_suffix(behind.as_str())).is_some_and(|rest| !rest.is_empty())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Result<AddressPattern, String> {
        AddressPattern::parse(text, |domain| match domain.strip_prefix("*.") {
            Some(below) => below.parse().map(AddressSpace::Below).map_err(|_| "below".to_owned()),
            None => domain.parse().map(AddressSpace::Exact).map_err(|_| "exact".to_owned()),
        })
    }

    fn fits(text: &str, address: &str) -> bool {
        pattern(text).unwrap().fits(&address.parse().unwrap(), Some('+'))
    }

    #[test]
    fn a_pattern_fits_whole_addresses_in_any_case_and_spelling() {
        for (text, address) in [
            ("info@example.org", "INFO@Example.org"),
            ("info@example.org", "info+news@example.org"),
            ("info@bücher.example", "\"info\"@xn--bcher-kva.example"),
            ("crm-*@example.org", "CRM-7@example.org"),
            ("crm-*@example.org", "crm-a+b@example.org"),
            ("*-bot@example.org", "a-bot@example.org"),
            ("*@example.org", "x@example.org"),
            ("*@*.example.org", "x@a.b.example.org"),
            ("*", "x@elsewhere.example"),
            ("*", "x@[192.0.2.1]"),
        ] {
            assert!(fits(text, address), "{text} {address}");
        }
    }

    #[test]
    fn a_pattern_fits_nothing_beside() {
        for (text, address) in [
            ("info@example.org", "info@example.com"),
            ("info@example.org", "info@sub.example.org"),
            ("info@example.org", "informer@example.org"),
            ("crm-*@example.org", "crm-@example.org"),
            ("crm-*@example.org", "xcrm-1@example.org"),
            ("a*a@example.org", "a@example.org"),
            ("a*a@example.org", "aa@example.org"),
            ("*@example.org", "x@a.example.org"),
            ("*@*.example.org", "x@example.org"),
            ("*@example.org", "x@[192.0.2.1]"),
        ] {
            assert!(!fits(text, address), "{text} {address}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_in_words() {
        for text in [
            "",
            "info",
            "@example.org",
            "a**@example.org",
            "*-*@example.org",
            "a b*@example.org",
            "a@",
            "a@b@c",
        ] {
            assert!(pattern(text).is_err(), "{text}");
        }
    }
}
