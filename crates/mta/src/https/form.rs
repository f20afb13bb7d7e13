//! What is said to OAuth hosts: forms, and who says so.
//!
//! A [`Form`] is written field by field and sent as a body; [`basic`] is a name and a secret as a header field. What it
//! deliberately does not do: read forms.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::HeaderValue;
use postern_smtp::secret::Secret;
use zeroize::Zeroizing;

/// A form as it goes over the wire.
#[derive(Default)]
pub(crate) struct Form(Zeroizing<Vec<u8>>);

impl Form {
    /// How it is called there.
    pub(super) const MEDIA_TYPE: &'static str = "application/x-www-form-urlencoded";

    /// Adds a field.
    pub(crate) fn add(&mut self, name: &str, value: &[u8]) {
        if !self.0.is_empty() {
            self.0.push(b'&');
        }
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'=');
        encode(&mut self.0, value);
    }

    pub(super) fn into_body(mut self) -> Bytes {
        std::mem::take(&mut *self.0).into()
    }
}

/// A client's name and secret in the field `Authorization`; both are encoded as in a form first (RFC 6749 §2.3.1).
pub(crate) fn basic(name: &str, secret: &Secret) -> Option<HeaderValue> {
    let mut pair = Zeroizing::new(Vec::new());
    encode(&mut pair, name.as_bytes());
    pair.push(b':');
    encode(&mut pair, secret.expose());
    let field = Zeroizing::new(format!("Basic {}", STANDARD.encode(&*pair)));
    let mut value = HeaderValue::from_str(&field).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn encode(text: &mut Vec<u8>, value: &[u8]) {
    for octet in value {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(*octet),
            octet => text.extend_from_slice(format!("%{octet:02X}").as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_keeps_every_octet_apart_from_its_syntax() {
        let mut form = Form::default();
        form.add("grant_type", b"refresh_token");
        form.add("scope", b"https://mail.example/ a&b=c");
        assert_eq!(
            form.into_body(),
            &b"grant_type=refresh_token&scope=https%3A%2F%2Fmail.example%2F%20a%26b%3Dc"[..]
        );
    }

    #[test]
    fn a_name_with_a_colon_stays_apart_from_the_secret() {
        let value = basic("a:b", &Secret::new("s e")).unwrap();
        assert_eq!(value.to_str().unwrap(), format!("Basic {}", STANDARD.encode("a%3Ab:s%20e")));
        assert!(!format!("{value:?}").contains("Basic"), "it is not printed");
    }
}
