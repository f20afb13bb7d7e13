//! The server's side: one message read, and the words of a refusal.
//!
//! Both mechanisms end in the same pairs `key=value`, read strictly: a key may come once. What this deliberately does not
//! do: look into the token, or offer where to get one.

use super::is_visible;
use crate::sasl::Credential;
use crate::sasl::prepare::name_of;
use crate::sasl::server::text;
use crate::secret::Secret;

/// Octets of a token. More than any that is in use; a whole message must fit into a line of 12,288 octets in base64.
const MAX_TOKEN: usize = 8_192;
/// How many pairs a message may hold; RFC 7628 §3.1 knows seven keys.
const MAX_PAIRS: usize = 16;
/// What stands behind each pair, and once more behind the last.
const SEPARATOR: char = '\u{1}';

/// Why a token was refused (RFC 7628 §3.2.2); the client answers with a line that means nothing, and then hears the reply.
pub(in crate::sasl) const BEARER_REFUSED: &str = "{\"status\":\"invalid_token\",\"schemes\":\"bearer\"}";
/// The same as Google and Microsoft say it.
pub(in crate::sasl) const XOAUTH2_REFUSED: &str = "{\"status\":\"401\",\"schemes\":\"bearer\"}";

/// `gs2-header kvsep *kvpair kvsep` (RFC 7628 §3.1). Without an authorisation identity the name is empty: whose token it is,
/// then only its issuer can say. There is no channel binding (RFC 7628 §3.1 leaves it to mechanisms to come).
pub(in crate::sasl) fn bearer(message: &str) -> Option<Credential> {
    let (header, pairs) = message.split_once(SEPARATOR)?;
    let user = match header.split(',').collect::<Vec<_>>()[..] {
        ["n" | "y", "", ""] => String::new(),
        ["n" | "y", name, ""] => name_of(name.strip_prefix("a=")?)?,
        _ => return None,
    };
    let pairs = Pairs::parse(pairs)?;
    let endpoint = match (pairs.value("host"), pairs.value("port")) {
        (Some(host), Some(port)) if is_host(host) => Some((host.to_owned(), port.parse().ok()?)),
        (Some(host), None) if is_host(host) => None,
        (None, Some(port)) => port.parse::<u16>().map(|_| None).ok()?,
        (None, None) => None,
        _ => return None,
    };
    Some(Credential::Token { user, token: pairs.token()?, endpoint })
}

/// `user=name ^A auth=Bearer token ^A ^A`.
pub(in crate::sasl) fn xoauth2(message: &str) -> Option<Credential> {
    let pairs = Pairs::parse(message)?;
    let user = text(pairs.value("user")?.as_bytes())?;
    Some(Credential::Token { user, token: pairs.token()?, endpoint: None })
}

/// The pairs of a message.
struct Pairs<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Pairs<'a> {
    /// `*kvpair kvsep`, where each pair ends with `kvsep` itself.
    fn parse(text: &'a str) -> Option<Self> {
        let pairs = text.strip_suffix(SEPARATOR)?.strip_suffix(SEPARATOR)?;
        let mut read: Vec<(&str, &str)> = Vec::new();
        for pair in pairs.split(SEPARATOR) {
            let (key, value) = pair.split_once('=')?;
            let known = read.iter().any(|(other, _)| *other == key);
            if known || !is_key(key) || !value.bytes().all(is_value) || read.len() == MAX_PAIRS {
                return None;
            }
            read.push((key, value));
        }
        Some(Self(read))
    }

    fn value(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(other, _)| *other == key).map(|(_, value)| *value)
    }

    /// `Bearer` and the token (RFC 6750 §2.1); the scheme is known in any case (RFC 9110 §11.1).
    fn token(&self) -> Option<Secret> {
        let (scheme, token) = self.value("auth")?.split_once(' ')?;
        let fits = is_visible(token.as_bytes()) && token.len() <= MAX_TOKEN;
        (scheme.eq_ignore_ascii_case("Bearer") && fits).then(|| Secret::new(token))
    }
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|octet| octet.is_ascii_alphabetic())
}

/// `VCHAR / SP / HTAB / CR / LF`, and UTF-8, which XOAUTH2 has in names.
fn is_value(octet: u8) -> bool {
    octet.is_ascii_graphic() || !octet.is_ascii() || matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_host(host: &str) -> bool {
    host.len() <= crate::sasl::MAX_NAME && is_visible(host.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(user: &str, token: &str, endpoint: Option<(&str, u16)>) -> Credential {
        let endpoint = endpoint.map(|(host, port)| (host.to_owned(), port));
        Credential::Token { user: user.to_owned(), token: Secret::new(token), endpoint }
    }

    #[test]
    fn the_example_of_rfc_7628() {
        let message = "n,a=user@example.com,\u{1}host=server.example.com\u{1}port=143\u{1}\
             auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\u{1}\u{1}";
        let endpoint = Some(("server.example.com", 143));
        let expected = token("user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==", endpoint);
        assert_eq!(bearer(message), Some(expected));
    }

    #[test]
    fn the_way_of_google_and_microsoft() {
        let message = "user=zoë@example.org\u{1}auth=Bearer t\u{1}\u{1}";
        assert_eq!(xoauth2(message), Some(token("zoë@example.org", "t", None)));
    }

    #[test]
    fn the_name_may_be_left_to_the_token_and_is_unescaped() {
        assert_eq!(bearer("n,,\u{1}auth=bearer t\u{1}\u{1}"), Some(token("", "t", None)));
        assert_eq!(bearer("y,a=a=2Cb,\u{1}auth=Bearer t\u{1}\u{1}"), Some(token("a,b", "t", None)));
    }

    #[test]
    fn what_nobody_knows_is_skipped_and_nothing_comes_twice() {
        let with = |pairs: &str| bearer(&format!("n,a=u,\u{1}{pairs}\u{1}"));
        assert_eq!(with("mthd=POST\u{1}auth=Bearer t\u{1}qs=a=b\u{1}"), Some(token("u", "t", None)));
        for pairs in [
            "",
            "\u{1}",
            "auth=Bearer t",
            "auth=Bearer t\u{1}\u{1}",
            "auth=Bearer t\u{1}auth=Bearer t\u{1}",
            "auth=\u{1}",
            "auth=Bearer\u{1}",
            "auth=Bearer \u{1}",
            "auth=Basic t\u{1}",
            "auth=Bearer a b\u{1}",
            "auth=Bearer \u{fc}\u{1}",
            "auth=Bearer t\0\u{1}",
            "Auth=Bearer t\u{1}",
            "=x\u{1}auth=Bearer t\u{1}",
            "x\u{1}auth=Bearer t\u{1}",
            "x1=x\u{1}auth=Bearer t\u{1}",
            "port=70000\u{1}auth=Bearer t\u{1}",
            "host=a b\u{1}auth=Bearer t\u{1}",
            "host=\u{1}port=1\u{1}auth=Bearer t\u{1}",
        ] {
            assert_eq!(with(pairs), None, "{pairs:?}");
        }
    }

    #[test]
    fn a_message_without_its_form_is_none() {
        for header in ["", "n", "n,", "n,,x", "n,u,", "p=tls-exporter,,", "F,n,,", "n,a=,", "n,a=u=,", "n,,,"]
        {
            assert_eq!(bearer(&format!("{header}\u{1}auth=Bearer t\u{1}\u{1}")), None, "{header:?}");
        }
        for user in ["", "u\r", &"u".repeat(256)] {
            assert_eq!(xoauth2(&format!("user={user}\u{1}auth=Bearer t\u{1}\u{1}")), None, "{user:?}");
        }
        assert_eq!(xoauth2("auth=Bearer t\u{1}\u{1}"), None);
        assert_eq!(bearer("\u{1}"), None);
    }

    #[test]
    fn tokens_and_pairs_are_bounded() {
        let with = |token: &str| xoauth2(&format!("user=u\u{1}auth=Bearer {token}\u{1}\u{1}"));
        assert!(with(&"t".repeat(MAX_TOKEN)).is_some());
        assert!(with(&"t".repeat(MAX_TOKEN + 1)).is_none());
        let pairs: String = ('a'..='z').map(|key| format!("{key}=1\u{1}")).collect();
        assert_eq!(xoauth2(&format!("{pairs}user=u\u{1}auth=Bearer t\u{1}\u{1}")), None);
    }
}
