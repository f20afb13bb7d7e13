//! OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's and Microsoft's), the client's side: one message that holds the token.
//!
//! [`bearer`] and [`xoauth2`] write that message; a [`TokenTalk`] takes what a server says when it does not like the
//! token: a challenge with words in JSON, which wants an answer before the refusal itself comes.
//!
//! What it deliberately does not do: fetch or refresh tokens, and interpret the JSON; its words are for people.

use zeroize::Zeroizing;

use super::is_visible;
use crate::sasl::client::{Broken, Unable, words};
use crate::sasl::prepare::sasl_name;
use crate::sasl::{Mechanism, encode};
use crate::secret::Secret;

/// An exchange whose only message was said.
#[derive(Debug)]
pub(in crate::sasl) struct TokenTalk {
    mechanism: Mechanism,
    token: Secret,
    verdict: Verdict,
}

#[derive(Debug)]
enum Verdict {
    Open,
    /// The server's words.
    Refused(String),
}

/// Who signs in where.
#[derive(Clone, Copy)]
pub(in crate::sasl) struct Bearer<'a> {
    pub(in crate::sasl) user: &'a str,
    pub(in crate::sasl) token: &'a Secret,
    pub(in crate::sasl) endpoint: Option<(&'a str, u16)>,
}

/// `n,a=user,^Ahost=…^Aport=…^Aauth=Bearer token^A^A` (RFC 7628 §3.1).
pub(in crate::sasl) fn bearer(bearer: Bearer<'_>) -> Result<(TokenTalk, Secret), Unable> {
    let name = sasl_name(bearer.user).filter(|name| !name.contains('\u{1}'));
    let name = name.ok_or(Unable::Unsayable("the user name is empty or holds a control character"))?;
    let endpoint = match bearer.endpoint {
        Some((host, port)) if is_visible(host.as_bytes()) => format!("host={host}\u{1}port={port}\u{1}"),
        Some(_) => return Err(Unable::Unsayable("the server's name holds a blank or a control character")),
        None => String::new(),
    };
    message(Mechanism::OauthBearer, &format!("n,a={name},\u{1}{endpoint}"), bearer.token)
}

/// `user=…^Aauth=Bearer token^A^A`.
pub(in crate::sasl) fn xoauth2(bearer: Bearer<'_>) -> Result<(TokenTalk, Secret), Unable> {
    if bearer.user.is_empty() || bearer.user.chars().any(char::is_control) {
        return Err(Unable::Unsayable("the user name is empty or holds a control character"));
    }
    message(Mechanism::Xoauth2, &format!("user={}\u{1}", bearer.user), bearer.token)
}

impl TokenTalk {
    /// A challenge behind the token means that it was refused; the answer makes the server say so (RFC 7628 §3.2.3).
    pub(in crate::sasl) fn respond(&mut self, message: &[u8]) -> Result<Secret, Broken> {
        if matches!(self.verdict, Verdict::Refused(_)) {
            return Err(Broken::TooMuch);
        }
        self.verdict = Verdict::Refused(words(&String::from_utf8_lossy(message), &self.token));
        Ok(match self.mechanism {
            Mechanism::OauthBearer => encode(b"\x01"),
            _ => Secret::new(""),
        })
    }

    /// Nothing was said against the token.
    pub(in crate::sasl) fn is_unopposed(&self) -> bool {
        matches!(self.verdict, Verdict::Open)
    }

    /// The server's own words for its refusal.
    pub(in crate::sasl) fn complaint(&self) -> Option<&str> {
        match &self.verdict {
            Verdict::Refused(words) => Some(words),
            Verdict::Open => None,
        }
    }
}

fn message(mechanism: Mechanism, head: &str, token: &Secret) -> Result<(TokenTalk, Secret), Unable> {
    // RFC 6750 §2.1 allows even less; a token from a file that ends in a line end is the usual accident.
    if !is_visible(token.expose()) {
        return Err(Unable::Unsayable("the token is empty or holds a blank or a control character"));
    }
    let message = Zeroizing::new([head.as_bytes(), b"auth=Bearer ", token.expose(), b"\x01\x01"].concat());
    let talk = TokenTalk { mechanism, token: token.clone(), verdict: Verdict::Open };
    Ok((talk, Secret::new(message.as_slice())))
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    use super::*;
    use crate::sasl::BASE64;

    fn said(result: Result<(TokenTalk, Secret), Unable>) -> String {
        let (_, message) = result.expect("it can be said");
        message.expose_str().expect("UTF-8").to_owned()
    }

    #[test]
    fn the_example_of_rfc_7628() {
        let token = Secret::new("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
        let endpoint = Some(("server.example.com", 143));
        assert_eq!(
            said(bearer(Bearer { user: "user@example.com", token: &token, endpoint })),
            "n,a=user@example.com,\u{1}host=server.example.com\u{1}port=143\u{1}\
             auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\u{1}\u{1}"
        );
    }

    #[test]
    fn the_endpoint_may_be_left_out_and_names_are_escaped() {
        let token = Secret::new("t");
        let message = said(bearer(Bearer { user: "a,b=c", token: &token, endpoint: None }));
        assert_eq!(message, "n,a=a=2Cb=3Dc,\u{1}auth=Bearer t\u{1}\u{1}");
        let message = said(xoauth2(Bearer { user: "a,b=c", token: &token, endpoint: None }));
        assert_eq!(message, "user=a,b=c\u{1}auth=Bearer t\u{1}\u{1}");
    }

    #[test]
    fn nothing_can_be_slipped_into_the_message() {
        let fine = Secret::new("t");
        for user in ["", "a\u{1}auth=Bearer x", "a\r\nb", "a\0"] {
            assert!(bearer(Bearer { user, token: &fine, endpoint: None }).is_err(), "{user:?}");
            assert!(xoauth2(Bearer { user, token: &fine, endpoint: None }).is_err(), "{user:?}");
        }
        for token in ["", "t\n", "t\u{1}", "a b", "\u{fc}"] {
            let token = &Secret::new(token);
            assert!(bearer(Bearer { user: "u", token, endpoint: None }).is_err(), "{token:?}");
            assert!(xoauth2(Bearer { user: "u", token, endpoint: None }).is_err(), "{token:?}");
        }
        for host in ["", "a b", "a\u{1}port=1"] {
            assert!(
                bearer(Bearer { user: "u", token: &fine, endpoint: Some((host, 1)) }).is_err(),
                "{host:?}"
            );
        }
    }

    #[test]
    fn a_refusal_is_answered_once_and_its_words_are_kept() {
        let token = Secret::new("ya29.tanstaaf");
        for (begin, answer) in [(bearer as fn(_) -> _, "AQ=="), (xoauth2, "")] {
            let (mut talk, _) = begin(Bearer { user: "u", token: &token, endpoint: None }).unwrap();
            assert!(talk.is_unopposed() && talk.complaint().is_none());
            assert_eq!(talk.respond(b"{\"status\":\"401\"}\xff\r\n"), Ok(Secret::new(answer)));
            assert_eq!(talk.complaint(), Some("{\"status\":\"401\"}???"));
            assert!(!talk.is_unopposed());
            assert_eq!(talk.respond(b"{}"), Err(Broken::TooMuch));
        }
    }

    #[test]
    fn the_words_are_bounded_and_never_hold_a_part_of_the_token() {
        let token = Secret::new("ya29.tanstaaf");
        let complaint = |words: &str| {
            let (mut talk, _) = xoauth2(Bearer { user: "u", token: &token, endpoint: None }).unwrap();
            talk.respond(words.as_bytes()).unwrap();
            talk.complaint().unwrap().to_owned()
        };
        assert_eq!(complaint(&"x".repeat(5_000)).len(), 300);
        let encoded = BASE64.encode("ya29.tanstaaf");
        for words in [
            "ya29.tanstaaf",
            "{\"a\":\"9.tansta\"}",
            &format!("{}ya29.tanstaaf", "x".repeat(2_000)),
            &encoded,
        ] {
            assert!(complaint(words).starts_with("its words repeat"), "{words}");
        }
    }
}
