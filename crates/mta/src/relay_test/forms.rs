//! The ways in which strangers have asked servers to relay, and got it: each was true of some server once.
//!
//! A [`Form`] is a table row; [`Names`] fills in whose domains are meant. What it deliberately does not do: speak.

use std::net::IpAddr;

/// Domains that are nobody's mail (RFC 2606 §3): the first that is not ours stands for somebody else.
pub(super) const FOREIGN: [&str; 3] = ["example.com", "example.net", "example.org"];

/// One way to ask for relaying. In its texts `{us}` is a domain of the server's, `{host}` its name, `{ip}` its address as a
/// literal, and `{them}` somebody else's domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// What it is called.
    pub name: &'static str,
    /// What is said first.
    pub(super) first: First,
    /// Behind `MAIL FROM:`.
    pub(super) from: &'static str,
    /// Behind `RCPT TO:`.
    pub(super) to: &'static str,
    /// Where the address leads when nobody reads a route in it.
    pub(super) plainly: Plainly,
}

/// What is said before MAIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    Nothing,
    /// A transaction that is in order, and RSET.
    Reset,
    /// AUTH that fails: see `talk::Gives`.
    FailedSignIn,
}

/// Where an address leads when nobody reads a route in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plainly {
    /// To somebody else.
    Away,
    /// Into a domain of the server's, if it has such a mailbox.
    Home,
    /// To the postmaster, who can always be told.
    Postmaster,
}

/// Whose names are meant.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) host: String,
    pub(super) ours: String,
    pub(super) foreign: String,
    pub(super) address: IpAddr,
}

const STRANGER: &str = "<relay-test@{them}>";

/// All forms.
pub(super) const FORMS: &[Form] = &[
    form("a stranger to a stranger", STRANGER, "<nobody@{them}>", Plainly::Away),
    form("the null sender", "<>", "<nobody@{them}>", Plainly::Away),
    form("the sender spoofed as one of ours", "<postmaster@{us}>", "<nobody@{them}>", Plainly::Away),
    form("the sender spoofed as the host", "<relay-test@{host}>", "<nobody@{them}>", Plainly::Away),
    form("the sender spoofed as the address literal", "<relay-test@{ip}>", "<nobody@{them}>", Plainly::Away),
    form("the sender spoofed as localhost", "<relay-test@localhost>", "<nobody@{them}>", Plainly::Away),
    form("the sender without a domain", "<relay-test>", "<nobody@{them}>", Plainly::Away),
    form("sender and recipient the same", "<nobody@{them}>", "<nobody@{them}>", Plainly::Away),
    form("the percent hack at our domain", STRANGER, "<nobody%{them}@{us}>", Plainly::Home),
    form("the percent hack at our literal", STRANGER, "<nobody%{them}@{ip}>", Plainly::Home),
    form("the percent hack without a domain", STRANGER, "<nobody%{them}>", Plainly::Home),
    form("the percent hack twice", STRANGER, "<nobody%{them}%{us}@{host}>", Plainly::Home),
    form("a quoted address at our domain", STRANGER, "<\"nobody@{them}\"@{us}>", Plainly::Home),
    form("a quoted address at our literal", STRANGER, "<\"nobody@{them}\"@{ip}>", Plainly::Home),
    form("a quoted address alone", STRANGER, "<\"nobody@{them}\">", Plainly::Home),
    form("a quoted percent hack", STRANGER, "<\"nobody%{them}\"@{us}>", Plainly::Home),
    form("a quoted address with an escaped at sign", STRANGER, "<\"nobody\\@{them}\"@{us}>", Plainly::Home),
    form("two at signs, ours last", STRANGER, "<nobody@{them}@{us}>", Plainly::Home),
    form("two at signs, our literal last", STRANGER, "<nobody@{them}@{ip}>", Plainly::Home),
    form("two at signs, ours first", STRANGER, "<nobody@{us}@{them}>", Plainly::Away),
    form("a source route through us", STRANGER, "<@{us}:nobody@{them}>", Plainly::Away),
    form("a source route through our host", STRANGER, "<@{host}:nobody@{them}>", Plainly::Away),
    form("a source route through two", STRANGER, "<@{us},@{host}:nobody@{them}>", Plainly::Away),
    form("a source route through our literal", STRANGER, "<@{ip}:nobody@{them}>", Plainly::Away),
    form("a route without its at sign", STRANGER, "<{us}:nobody@{them}>", Plainly::Away),
    form("a bang path at our domain", STRANGER, "<{them}!nobody@{us}>", Plainly::Home),
    form("a bang path at our literal", STRANGER, "<{them}!nobody@{ip}>", Plainly::Home),
    form("a bang path alone", STRANGER, "<{them}!nobody>", Plainly::Home),
    form("a bang path through us", STRANGER, "<{us}!{them}!nobody>", Plainly::Home),
    form("a bang path and an at sign", STRANGER, "<{us}!nobody@{them}>", Plainly::Away),
    form("a domain with a dot behind it", STRANGER, "<nobody@{them}.>", Plainly::Away),
    form("upper case", "<RELAY-TEST@{THEM}>", "<NOBODY@{THEM}>", Plainly::Away),
    form("without brackets", STRANGER, "nobody@{them}", Plainly::Away),
    form("two paths", STRANGER, "<postmaster@{us}><nobody@{them}>", Plainly::Away),
    form("spaces in the path", STRANGER, "< nobody@{them} >", Plainly::Away),
    form("a space before the path", STRANGER, " <nobody@{them}>", Plainly::Away),
    form("a word behind the path", STRANGER, "<nobody@{them}> {us}", Plainly::Away),
    form("somebody else's IPv4 literal", STRANGER, "<nobody@[192.0.2.1]>", Plainly::Away),
    form("somebody else's IPv6 literal", STRANGER, "<nobody@[IPv6:2001:db8::1]>", Plainly::Away),
    Form { first: First::Reset, ..form("after RSET", STRANGER, "<nobody@{them}>", Plainly::Away) },
    Form {
        first: First::FailedSignIn,
        ..form("after AUTH that failed", STRANGER, "<nobody@{them}>", Plainly::Away)
    },
    form("the postmaster without a domain", STRANGER, "<postmaster>", Plainly::Postmaster),
];

/// Those that are tried again under TLS: a server may keep its rules apart for it.
pub(super) const UNDER_TLS: [&str; 5] = [
    "a stranger to a stranger",
    "the null sender",
    "the sender spoofed as one of ours",
    "the percent hack at our domain",
    "after AUTH that failed",
];

const fn form(name: &'static str, from: &'static str, to: &'static str, plainly: Plainly) -> Form {
    Form { name, first: First::Nothing, from, to, plainly }
}

impl Names {
    /// A host of which nothing more is known: its domain is its name's, without the first label where more than one stay.
    pub(super) fn of_host(host: &str, address: IpAddr) -> Self {
        let named = host.parse::<IpAddr>().is_err() && !host.starts_with('[');
        let host = if named { host.trim_end_matches('.').to_owned() } else { literal(address) };
        let parent = host.split_once('.').filter(|(_, parent)| named && parent.contains('.'));
        let ours = parent.map_or(host.clone(), |(_, parent)| parent.to_owned());
        let is_foreign = |name: &&&str| !host.to_lowercase().ends_with(**name);
        let foreign = FOREIGN.iter().find(is_foreign).copied().unwrap_or(FOREIGN[0]).to_owned();
        Self { host, ours, foreign, address }
    }

    /// A form's text with the names filled in.
    pub(super) fn fill(&self, text: &str) -> String {
        text.replace("{us}", &self.ours)
            .replace("{host}", &self.host)
            .replace("{ip}", &literal(self.address))
            .replace("{them}", &self.foreign)
            .replace("{THEM}", &self.foreign.to_uppercase())
    }
}

/// RFC 5321 §4.1.3.
fn literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_form_has_its_own_name_and_leaves_nothing_to_fill_in() {
        let names = Names::of_host("mx1.mail.test", "192.0.2.25".parse().unwrap());
        let mut seen = HashSet::new();
        for form in FORMS {
            assert!(seen.insert(form.name), "{} is there twice", form.name);
            let all = names.fill(&format!("{}{}", form.from, form.to));
            assert!(!all.contains(['{', '}']), "{all}");
        }
        assert!(UNDER_TLS.iter().all(|name| seen.contains(name)));
    }

    #[test]
    fn a_hosts_domain_is_its_parent_and_never_a_top_level() {
        let address = "2001:db8::25".parse().unwrap();
        let of = |host: &str| Names::of_host(host, address).ours;
        assert_eq!(of("mx1.mail.test"), "mail.test");
        assert_eq!(of("mail.test"), "mail.test");
        assert_eq!(of("2001:db8::25"), "[IPv6:2001:db8::25]");
        assert_eq!(Names::of_host("mx.example.com", address).foreign, "example.net");
    }
}
