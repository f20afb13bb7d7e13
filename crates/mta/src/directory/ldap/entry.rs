//! What an entry says of a person: name, addresses, groups, and whether the account may be used.
//!
//! Attributes are what administrators of other systems put there: names are compared without case and without options
//! (RFC 4512 §2.5), values that are no text are passed over, and everything is bounded.
//!
//! What it deliberately does not do: ask the server for more.

use jiff::Timestamp;
use postern_smtp::address::Mailbox;

use super::message::{Entry, Outcome};
use super::{Fault, words};
use crate::directory::source::MOST_LISTED;
use crate::directory::{Login, Why};

/// Attributes by which Active Directory says that an account is closed, and those of other servers.
pub(super) const STATE: [&str; 4] =
    ["userAccountControl", "accountExpires", "nsAccountLock", "pwdAccountLockedTime"];
/// The bit of `userAccountControl` for an account that is switched off ([MS-ADTS] §2.2.16).
const ACCOUNT_DISABLED: i64 = 0x2;
/// The time that says: for ever, by the administrator (draft-behera-ldap-password-policy §5.3.3).
const LOCKED_FOR_EVER: &str = "000001010000Z";
/// From the first of January 1601, where Active Directory counts from, to that of 1970, in seconds.
const TO_UNIX: i64 = 11_644_473_600;

impl Entry {
    /// The texts of an attribute.
    fn texts<'a>(&'a self, attribute: &'a str) -> impl Iterator<Item = &'a str> {
        let named =
            move |name: &str| name.split(';').next().unwrap_or_default().eq_ignore_ascii_case(attribute);
        let values = self.attributes.iter().filter(move |(name, _)| named(name));
        values.flat_map(|(_, values)| values).filter_map(|value| std::str::from_utf8(value).ok())
    }

    /// The person's name in this attribute, in the form in which names compare.
    pub(super) fn name(&self, attribute: &str) -> Option<String> {
        self.texts(attribute).find_map(Login::new).map(|name| name.key().to_owned())
    }

    /// The addresses in these attributes. Active Directory writes `smtp:` before them, and other things than addresses.
    pub(super) fn addresses(&self, attributes: &[String]) -> Vec<Mailbox> {
        let mut found: Vec<Mailbox> = Vec::new();
        for text in attributes.iter().flat_map(|attribute| self.texts(attribute)) {
            let bare = match text.split_at_checked(5) {
                Some((prefix, rest)) if prefix.eq_ignore_ascii_case("smtp:") => rest,
                _ => text,
            };
            if let Ok(address) = bare.parse::<Mailbox>()
                && !found.contains(&address)
                && found.len() < MOST_LISTED
            {
                found.push(address);
            }
        }
        found
    }

    /// The groups that this attribute names by their DNs.
    pub(super) fn groups_in(&self, attribute: &str) -> Vec<String> {
        self.texts(attribute).filter_map(first_value).take(MOST_LISTED).collect()
    }

    /// What this entry, a group, is called.
    pub(super) fn group_name(&self) -> Option<String> {
        let name = self.texts("cn").next().map(str::to_owned);
        name.or_else(|| first_value(&self.dn))
    }

    /// Why the account may not be used, by what stands in its entry.
    pub(super) fn closed(&self, now: Timestamp) -> Option<Why> {
        let number = |attribute| self.texts(attribute).next().and_then(|text| text.parse::<i64>().ok());
        let disabled = number(STATE[0]).is_some_and(|flags| flags & ACCOUNT_DISABLED != 0);
        let locked = self.texts(STATE[2]).any(|text| text.eq_ignore_ascii_case("true"))
            || self.texts(STATE[3]).any(|text| text == LOCKED_FOR_EVER);
        let expired = number(STATE[1]).is_some_and(|ticks| is_over(ticks, now));
        match () {
            () if disabled || locked => Some(Why::Disabled),
            () if expired => Some(Why::Account("it has expired")),
            () => None,
        }
    }
}

/// Whether a time of Active Directory, in steps of 100 ns, is past. Nothing and the largest number mean: never.
fn is_over(ticks: i64, now: Timestamp) -> bool {
    !matches!(ticks, 0 | i64::MAX) && ticks / 10_000_000 - TO_UNIX <= now.as_second()
}

/// What the answer to a bind as a person means.
///
/// # Errors
/// That it is no, or that nobody can tell.
pub(super) fn judge_bind(outcome: &Outcome) -> Result<(), Fault> {
    let refused = |why| Err(Fault::Refused(why));
    match outcome.code {
        0 => Ok(()),
        // Invalid credentials.
        49 => refused(why_refused(&outcome.text)),
        // No such object, a DN that cannot be one, an entry without a password.
        32 | 34 | 48 => refused(Why::UnknownUser),
        // Constraint violation: 389 Directory Server after too many wrong passwords.
        19 => refused(Why::Account("it is locked")),
        // Unwilling to perform: the same server, of accounts that are switched off.
        53 if outcome.text.to_ascii_lowercase().contains("inactivated") => refused(Why::Disabled),
        8 | 13 => Err(Fault::Final(format!(
            "the server takes passwords only over a safer connection ({}): remove tls = \"off\"",
            words(outcome)
        ))),
        10 => Err(Fault::Final(format!(
            "the server refers to another one for this person ({}); referrals are not followed: name that server in urls",
            words(outcome)
        ))),
        _ => Err(Fault::Final(format!("the server does not judge the password ({})", words(outcome)))),
    }
}

/// Active Directory says more in a number behind `data` ([MS-ADTS] §5.1.1.1.1, Win32 error codes).
fn why_refused(text: &str) -> Why {
    let code = text.split_once("data ").map(|(_, rest)| rest.split(',').next().unwrap_or(rest).trim());
    match code {
        Some("525") => Why::UnknownUser,
        Some("530") => Why::Account("it may not be used at this hour"),
        Some("531") => Why::Account("it may not be used from this machine"),
        Some("532") => Why::Account("its password has expired"),
        Some("533") => Why::Disabled,
        Some("701") => Why::Account("it has expired"),
        Some("773") => Why::Account("its password must be changed first"),
        Some("775") => Why::Account("it is locked"),
        _ => Why::WrongPassword,
    }
}

/// The value of the first part of a DN (RFC 4514 §3): `Mail, all` of `cn=Mail\, all,ou=groups`.
pub(super) fn first_value(dn: &str) -> Option<String> {
    let mut octets = dn.split_once('=')?.1.bytes().peekable();
    let mut value = Vec::new();
    // What is escaped stays, also a blank at the end.
    let mut kept = 0;
    while let Some(octet) = octets.next() {
        match octet {
            b',' | b'+' | b';' => break,
            b'\\' => {
                let first = octets.next()?;
                let digit = |octet: u8| char::from(octet).to_digit(16);
                let pair = digit(first).zip(octets.peek().and_then(|second| digit(*second)));
                match pair {
                    Some((high, low)) => {
                        octets.next();
                        value.push(u8::try_from(high * 16 + low).ok()?);
                    }
                    None => value.push(first),
                }
                kept = value.len();
            }
            b' ' if value.is_empty() => {}
            octet => value.push(octet),
        }
    }
    while value.len() > kept && value.last() == Some(&b' ') {
        value.pop();
    }
    String::from_utf8(value).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(attributes: &[(&str, &[&str])]) -> Entry {
        let values = |values: &[&str]| values.iter().map(|value| value.as_bytes().to_vec()).collect();
        let attributes = attributes.iter().map(|(name, all)| ((*name).to_owned(), values(all))).collect();
        Entry { dn: "cn=Anna,dc=example".into(), attributes }
    }

    fn judged(code: u32, text: &str) -> Result<(), Fault> {
        judge_bind(&Outcome { code, text: text.to_owned() })
    }

    #[test]
    fn addresses_come_from_all_attributes_and_nothing_else_becomes_one() {
        let anna = entry(&[
            ("MAIL", &["anna@example.org"]),
            (
                "proxyAddresses;range=0-9",
                &["SMTP:anna@example.org", "smtp:a.m@example.net", "X500:/o=x", "sip:a@b.example"],
            ),
            ("other", &["x@example.org"]),
        ]);
        let found = anna.addresses(&["mail".into(), "proxyAddresses".into()]);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["anna@example.org", "a.m@example.net"]);
    }

    #[test]
    fn a_name_is_clean_and_a_group_is_called_by_its_first_part() {
        let anna = entry(&[
            ("uid", &["a\0b", "Anna"]),
            ("memberOf", &["CN=Mail\\, all,OU=x", "cn=Zo\\c3\\ab+uid=1,ou=y", "x"]),
        ]);
        assert_eq!(anna.name("UID").as_deref(), Some("anna"));
        assert_eq!(anna.name("cn"), None);
        assert_eq!(anna.groups_in("memberof"), ["Mail, all", "Zoë"]);
        for (dn, value) in [("cn=a ,b", "a"), ("cn=a\\ ,b", "a "), ("cn= a", "a"), ("cn=\\23x", "#x")] {
            assert_eq!(first_value(dn).as_deref(), Some(value), "{dn}");
        }
        for dn in ["", "cn", "cn=", "cn=,x", "cn=a\\", "cn=\\ff"] {
            assert_eq!(first_value(dn), None, "{dn}");
        }
    }

    #[test]
    fn an_account_that_is_closed_says_so_in_its_entry() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let ticks = |seconds: i64| ((1_800_000_000 + seconds + TO_UNIX) * 10_000_000).to_string();
        let closed = |attribute: &str, value: &str| entry(&[(attribute, &[value])]).closed(now);
        assert_eq!(closed("userAccountControl", "514"), Some(Why::Disabled));
        assert_eq!(closed("userAccountControl", "512"), None);
        assert_eq!(closed("accountExpires", &ticks(-1)), Some(Why::Account("it has expired")));
        for never in ["0", "9223372036854775807", &ticks(1), "soon"] {
            assert_eq!(closed("accountExpires", never), None, "{never}");
        }
        assert_eq!(closed("nsAccountLock", "TRUE"), Some(Why::Disabled));
        assert_eq!(closed("pwdAccountLockedTime", "000001010000Z"), Some(Why::Disabled));
        assert_eq!(
            closed("pwdAccountLockedTime", "20260101000000Z"),
            None,
            "the server counts the time itself"
        );
    }

    #[test]
    fn active_directory_says_why_in_a_number() {
        for (data, why) in [
            ("52e", Why::WrongPassword),
            ("525", Why::UnknownUser),
            ("533", Why::Disabled),
            ("773", Why::Account("its password must be changed first")),
            ("775", Why::Account("it is locked")),
        ] {
            let text = format!(
                "80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data {data}, v4563"
            );
            assert_eq!(judged(49, &text), Err(Fault::Refused(why)), "{data}");
        }
        assert_eq!(judged(49, ""), Err(Fault::Refused(Why::WrongPassword)));
    }

    #[test]
    fn only_a_clear_no_is_a_wrong_password() {
        assert_eq!(judged(0, ""), Ok(()));
        assert_eq!(
            judged(53, "Account inactivated. Contact system administrator."),
            Err(Fault::Refused(Why::Disabled))
        );
        for code in [1, 2, 8, 10, 13, 50, 51, 52, 53, 80, 4096] {
            assert!(matches!(judged(code, "x"), Err(Fault::Final(_))), "{code}");
        }
    }
}
