//! Where a domain wants reports on TLS to be sent: the text record at `_smtp._tls.DOMAIN` (RFC 8460 §3).
//!
//! [`report_addresses`] reads it into a list of [`Rua`]; [`TlsRptError`] says what is wrong with a broken one. Pure.
//! What it deliberately does not do: look the record up, judge whether an address is fit to be sent to (the caller
//! parses the mail address and decides about the host), or write reports.

use crate::tagged::{self, Unreadable};

/// At most so many addresses of one record are used; the rest is passed over.
pub const ADDRESSES_MOST: usize = 10;
/// The longest address that is used, in octets.
pub const ADDRESS_MOST: usize = 2048;

/// Where a report can be sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Rua {
    /// To this mail address. It looks like one; whether it is one the caller finds out.
    Mail(String),
    /// By POST to this address, which begins with `https://`.
    Https(String),
}

/// What is wrong with a domain's record. It counts as wanting no reports then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsRptError {
    /// Two or more records claim to be the one.
    #[error("there are {0} TLSRPT records and there may be only one")]
    Several(usize),
    /// Not `v=TLSRPTv1; rua=…`.
    #[error("the TLSRPT record is not of the form \"v=TLSRPTv1; rua=mailto:reports@example.org\"")]
    Syntax,
    /// No address.
    #[error("the TLSRPT record has no rua")]
    NoRua,
    /// Nothing that a report can be sent to.
    #[error("the TLSRPT record names no address that begins with mailto: or https: and is sound")]
    NoUsableRua,
}

/// Where a domain wants its reports, from the text records at `_smtp._tls.DOMAIN`. Empty when none of them is about
/// reports; otherwise at least one and at most [`ADDRESSES_MOST`]. Addresses of other kinds are passed over.
///
/// # Errors
/// The domain's: there is more than one such record, it is broken, or no report can be sent to what it names.
pub fn report_addresses(texts: &[String]) -> Result<Vec<Rua>, TlsRptError> {
    let Some(rest) = tagged::only(texts, "v=TLSRPTv1")? else { return Ok(Vec::new()) };
    let fields = tagged::fields(rest)?;
    let (_, listed) = fields.iter().find(|(name, _)| *name == "rua").ok_or(TlsRptError::NoRua)?;
    // RFC 8460 §3: commas inside an address are written as %2C.
    let addresses: Vec<Rua> =
        listed.split(',').filter_map(|uri| rua(uri.trim())).take(ADDRESSES_MOST).collect();
    if addresses.is_empty() { Err(TlsRptError::NoUsableRua) } else { Ok(addresses) }
}

impl From<Unreadable> for TlsRptError {
    fn from(fault: Unreadable) -> Self {
        match fault {
            Unreadable::Several(count) => Self::Several(count),
            Unreadable::Syntax => Self::Syntax,
        }
    }
}

fn rua(uri: &str) -> Option<Rua> {
    let (scheme, rest) = uri.split_once(':')?;
    if uri.len() > ADDRESS_MOST || uri.contains([' ', '\t']) {
        return None;
    }
    match scheme.to_ascii_lowercase().as_str() {
        "mailto" => mail(rest).map(Rua::Mail),
        "https" => https(rest).map(|rest| Rua::Https(format!("https:{rest}"))),
        _ => None,
    }
}

/// RFC 6068 §2: one address; what stands behind a `?` (header fields) is none of a report's business.
fn mail(rest: &str) -> Option<String> {
    let address = decoded(rest.split('?').next().unwrap_or(rest))?;
    let (local, domain) = address.rsplit_once('@')?;
    let sound =
        !local.is_empty() && !domain.is_empty() && !address.chars().any(|c| c.is_control() || c == ' ');
    sound.then_some(address)
}

fn https(rest: &str) -> Option<&str> {
    let authority = rest.strip_prefix("//")?.split(['/', '?', '#']).next()?;
    // A user name in front of the host serves only to deceive.
    (!authority.is_empty() && !authority.contains('@')).then_some(rest)
}

/// RFC 3986 §2.1. `None` where a `%` stands alone or the result is no text.
fn decoded(text: &str) -> Option<String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        octets.push(if octet == b'%' { nibble(rest.next()?)? << 4 | nibble(rest.next()?)? } else { octet });
    }
    String::from_utf8(octets).ok()
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<Rua>, TlsRptError> {
        report_addresses(&[text.to_owned()])
    }

    fn to(address: &str) -> Rua {
        Rua::Mail(address.to_owned())
    }

    #[test]
    fn mail_and_https_addresses_are_found_in_order() {
        let text = "v=TLSRPTv1; rua=mailto:a@example.org , HTTPS://r.example/v1?x=1,ftp://x.example/;";
        let https = Rua::Https("https://r.example/v1?x=1".to_owned());
        assert_eq!(read(text), Ok(vec![to("a@example.org"), https]));
    }

    #[test]
    fn other_records_and_other_fields_are_passed_over() {
        let texts = ["v=spf1 -all", "v=TLSRPTv1;x=1;rua=mailto:a@b.example;rua=mailto:c@d.example"];
        assert_eq!(report_addresses(&texts.map(str::to_owned)), Ok(vec![to("a@b.example")]));
        assert_eq!(read("v=TLSRPTv2; rua=mailto:a@b.example"), Ok(vec![]));
        assert_eq!(report_addresses(&[]), Ok(vec![]));
    }

    #[test]
    fn a_mail_address_is_decoded_and_its_header_fields_are_dropped() {
        assert_eq!(
            read("v=TLSRPTv1;rua=mailto:a%2Cb%21@x.example?subject=hi"),
            Ok(vec![to("a,b!@x.example")])
        );
    }

    #[test]
    fn a_broken_record_says_what_is_wrong() {
        let twice = ["v=TLSRPTv1;rua=mailto:a@b.example"; 2].map(str::to_owned);
        assert_eq!(report_addresses(&twice), Err(TlsRptError::Several(2)));
        assert_eq!(read("v=TLSRPTv1; rua"), Err(TlsRptError::Syntax));
        assert_eq!(read("v=TLSRPTv1; x=1"), Err(TlsRptError::NoRua));
        for rua in [
            "mailto:",
            "mailto:nobody",
            "mailto:@b.example",
            "mailto:a@",
            "mailto:a%0d%0aRCPT@b.example",
            "mailto:a%2@b.example%",
            "mailto:a%ff@b.example",
            "http://r.example/",
            "https:r.example",
            "https:///v1",
            "https://user@r.example/",
            "mailto:a b@c.example",
        ] {
            assert_eq!(read(&format!("v=TLSRPTv1; rua={rua}")), Err(TlsRptError::NoUsableRua), "{rua}");
        }
    }

    #[test]
    fn the_number_and_length_of_addresses_are_bounded() {
        let many = vec!["mailto:a@b.example"; 50].join(",");
        assert_eq!(read(&format!("v=TLSRPTv1;rua={many}")).map(|found| found.len()), Ok(ADDRESSES_MOST));
        let long = format!("v=TLSRPTv1;rua=https://r.example/{}", "x".repeat(ADDRESS_MOST));
        assert_eq!(read(&long), Err(TlsRptError::NoUsableRua));
    }

    proptest! {
        #[test]
        fn what_is_found_holds_no_control_characters(rest in "(rua=)?[,;a-z@%0-9:/?= ]{0,80}") {
            for found in read(&format!("v=TLSRPTv1;{rest}")).unwrap_or_default() {
                let (Rua::Mail(address) | Rua::Https(address)) = found;
                prop_assert!(!address.contains(char::is_control));
            }
        }
    }
}
