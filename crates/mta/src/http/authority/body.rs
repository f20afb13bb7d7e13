//! A certificate request as people and programs send it: by itself, pasted into a form, or uploaded with one.
//!
//! [`Brought`] is what a body held. The bodies are whole and bounded already; everything here looks at slices of them.
//! What it deliberately does not do: look into the request.

use std::borrow::Cow;

use crate::http::request::percent_decoded;

/// The field of a form that holds the request.
const REQUEST: &str = "request";
/// The field that says what the certificate is to be for.
const PURPOSE: &str = "purpose";
/// A form has no more fields than this.
const FIELDS_MOST: usize = 16;

/// What a body held.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Brought<'b> {
    /// The request, in PEM or DER.
    pub(super) request: Cow<'b, [u8]>,
    /// What the certificate is to be for, in the sender's word.
    pub(super) purpose: Option<String>,
}

/// Takes a body apart by its content type.
///
/// # Errors
/// What is wrong with the form.
pub(super) fn read<'b>(content_type: Option<&str>, body: &'b [u8]) -> Result<Brought<'b>, &'static str> {
    let (media_type, parameters) =
        content_type.unwrap_or_default().split_once(';').unwrap_or((content_type.unwrap_or_default(), ""));
    match media_type.trim().to_ascii_lowercase().as_str() {
        "multipart/form-data" => {
            let boundary = boundary(parameters).ok_or("the form does not say what separates its parts")?;
            of_fields(parts(body, &boundary)?)
        }
        // What curl says of everything it sends, unless it is told otherwise.
        "application/x-www-form-urlencoded" if !is_bare(body) => of_fields(pairs(body)?),
        _ => Ok(Brought { request: Cow::Borrowed(body), purpose: None }),
    }
}

/// A field of a form: its name and its value.
type Field<'b> = (String, Cow<'b, [u8]>);

fn of_fields(fields: Vec<Field<'_>>) -> Result<Brought<'_>, &'static str> {
    let (mut request, mut purpose) = (None, None);
    for (name, value) in fields {
        let twice = match name.as_str() {
            REQUEST if value.is_empty() => false,
            REQUEST => request.replace(value).is_some(),
            PURPOSE => purpose.replace(String::from_utf8_lossy(&value).trim().to_owned()).is_some(),
            _ => false,
        };
        if twice {
            return Err("the form has a field twice; send one request at a time");
        }
    }
    let request =
        request.ok_or("the form has no field named \"request\" with the certificate request in it")?;
    Ok(Brought { request, purpose: purpose.filter(|purpose| !purpose.is_empty()) })
}

/// Whether a body is a request and no form, whatever it is called: forms neither begin with five hyphens nor hold what is
/// no text.
fn is_bare(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"-----BEGIN") || std::str::from_utf8(body).is_err()
}

/// `application/x-www-form-urlencoded`.
fn pairs(body: &[u8]) -> Result<Vec<Field<'_>>, &'static str> {
    const BROKEN: &str = "the form is not encoded as forms are";
    let text = std::str::from_utf8(body).map_err(|_| BROKEN)?;
    let mut fields = Vec::new();
    for pair in text.trim_end().split('&') {
        if fields.len() == FIELDS_MOST {
            return Err("the form has too many fields");
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let plain = |text: &str| percent_decoded(&text.replace('+', " ")).ok_or(BROKEN);
        fields.push((plain(name)?, Cow::Owned(plain(value)?.into_bytes())));
    }
    Ok(fields)
}

/// The parameter `boundary` (RFC 2046 §5.1.1).
fn boundary(parameters: &str) -> Option<String> {
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    })?;
    (1..=70).contains(&value.len()).then(|| value.to_owned())
}

/// `multipart/form-data` (RFC 7578).
fn parts<'b>(body: &'b [u8], boundary: &str) -> Result<Vec<Field<'b>>, &'static str> {
    const BROKEN: &str = "the form breaks off, or its parts are not separated as it says";
    let delimiter = format!("\r\n--{boundary}");
    let first = delimiter.as_bytes().get(2..).unwrap_or_default();
    let mut rest = body.strip_prefix(first).ok_or(BROKEN)?;
    let mut fields = Vec::new();
    // Two hyphens behind it are the end (RFC 2046 §5.1.1).
    while !rest.starts_with(b"--") {
        if fields.len() == FIELDS_MOST {
            return Err("the form has too many fields");
        }
        let end = memchr::memmem::find(rest, delimiter.as_bytes()).ok_or(BROKEN)?;
        let part = rest.get(..end).and_then(|part| part.strip_prefix(b"\r\n")).ok_or(BROKEN)?;
        let head = memchr::memmem::find(part, b"\r\n\r\n").ok_or(BROKEN)?;
        let name = name_of(&part[..head]).ok_or("a part of the form has no name")?;
        fields.push((name, Cow::Borrowed(&part[head + 4..])));
        rest = &rest[end + delimiter.len()..];
    }
    Ok(fields)
}

/// The name in `Content-Disposition: form-data; name="…"` (RFC 7578 §4.2).
fn name_of(head: &[u8]) -> Option<String> {
    let head = std::str::from_utf8(head).ok()?;
    let disposition = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    disposition.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("name").then(|| value.trim().trim_matches('"').to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE REQUEST-----\nAB+/=\n-----END CERTIFICATE REQUEST-----\n";

    fn brought(content_type: Option<&str>, body: &[u8]) -> Result<(String, Option<String>), &'static str> {
        let brought = read(content_type, body)?;
        Ok((String::from_utf8_lossy(&brought.request).into_owned(), brought.purpose))
    }

    #[test]
    fn a_bare_request_is_taken_whatever_it_is_called() {
        for content_type in [None, Some("application/pkcs10"), Some("application/x-www-form-urlencoded")] {
            assert_eq!(brought(content_type, PEM.as_bytes()), Ok((PEM.into(), None)), "{content_type:?}");
            let der = [0x30, 0x82, 1, 0xff];
            assert_eq!(read(content_type, &der).unwrap().request.as_ref(), der, "{content_type:?}");
        }
    }

    #[test]
    fn a_pasted_request_comes_out_of_the_form() {
        let body = "x=1&request=-----BEGIN+CERTIFICATE+REQUEST-----%0AAB%2B%2F%3D%0A-----END+CERTIFICATE+REQUEST-----%0A&purpose=client";
        let found = brought(Some("application/x-www-form-urlencoded; charset=utf-8"), body.as_bytes());
        assert_eq!(found, Ok((PEM.into(), Some("client".into()))));
    }

    #[test]
    fn an_uploaded_request_comes_out_of_the_form() {
        let body = format!(
            "--xyz\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n\r\n--xyz\r\n\
             content-disposition: form-data; name=\"request\"; filename=\"a;b.csr\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n{PEM}\r\n--xyz--\r\n"
        );
        let found = brought(Some("multipart/form-data; boundary=\"xyz\""), body.as_bytes());
        assert_eq!(found, Ok((PEM.into(), None)));
    }

    #[test]
    fn a_broken_form_is_refused_with_what_is_wrong() {
        let multipart = Some("multipart/form-data; boundary=xyz");
        let urlencoded = Some("application/x-www-form-urlencoded");
        let many = "a=b&".repeat(20);
        for (content_type, body, says) in [
            (Some("multipart/form-data"), "--x", "what separates"),
            (multipart, "", "breaks off"),
            (multipart, "--xyz\r\nContent-Disposition: form-data; name=\"request\"\r\n\r\nabc", "breaks off"),
            (multipart, "--xyz\r\n\r\n\r\n\r\n--xyz--", "no name"),
            (multipart, "--xyz--\r\n", "\"request\""),
            (urlencoded, "request=", "\"request\""),
            (urlencoded, "request=a&request=b", "twice"),
            (urlencoded, "request=%zz", "not encoded"),
            (urlencoded, &many, "too many"),
        ] {
            let error = brought(content_type, body.as_bytes()).unwrap_err();
            assert!(error.contains(says), "{body:?}: {error}");
        }
    }
}
