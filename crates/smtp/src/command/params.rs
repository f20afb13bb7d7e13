//! The parameters of MAIL and RCPT (RFC 5321 §4.1.2 Mail-parameters, Rcpt-parameters).

use super::{SyntaxError, Verb};
use crate::envelope::{BodyType, MailParams, Notify, OriginalRecipient, RcptParams, Ret, xtext_decode};
use crate::xtext::utf8_xtext_decode;

/// RFC 3461 §4.4: characters of ENVID.
const MAX_ENVID: usize = 100;
/// RFC 3461 §4.2: characters of ORCPT.
const MAX_ORCPT: usize = 500;
/// RFC 4954 §5: characters of MAIL's AUTH parameter.
const MAX_AUTH: usize = 500;
/// Characters of a keyword that a reply repeats.
const MAX_KEYWORD: usize = 32;

/// One `keyword` or `keyword=value`.
struct Parameter<'a> {
    verb: Verb,
    /// In upper case.
    keyword: String,
    value: Option<&'a str>,
}

impl MailParams {
    /// Reads what follows the space after the reverse-path; `None` when nothing does.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, SyntaxError> {
        let mut params = Self::default();
        for parameter in parameters(Verb::Mail, text) {
            let parameter = parameter?;
            match parameter.keyword.as_str() {
                "SIZE" => parameter.set(&mut params.size, size)?,
                "BODY" => parameter.set(&mut params.body, body)?,
                "SMTPUTF8" => parameter.set_flag(&mut params.smtputf8)?,
                "RET" => parameter.set(&mut params.ret, ret)?,
                "ENVID" => parameter.set(&mut params.envid, envid)?,
                "AUTH" => parameter.set(&mut params.auth, auth)?,
                "REQUIRETLS" => parameter.set_flag(&mut params.requiretls)?,
                _ => return Err(parameter.unknown()),
            }
        }
        Ok(params)
    }
}

impl RcptParams {
    /// Reads what follows the space after the forward-path; `None` when nothing does.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, SyntaxError> {
        let mut params = Self::default();
        for parameter in parameters(Verb::Rcpt, text) {
            let parameter = parameter?;
            match parameter.keyword.as_str() {
                "NOTIFY" => parameter.set(&mut params.notify, notify)?,
                "ORCPT" => parameter.set(&mut params.orcpt, orcpt)?,
                _ => return Err(parameter.unknown()),
            }
        }
        Ok(params)
    }
}

fn parameters(verb: Verb, text: Option<&str>) -> impl Iterator<Item = Result<Parameter<'_>, SyntaxError>> {
    text.into_iter().flat_map(|text| text.split(' ')).map(move |parameter| Parameter::parse(verb, parameter))
}

impl<'a> Parameter<'a> {
    /// RFC 5321 §4.1.2 esmtp-param; RFC 6531 §3.3 lets UTF-8 into values.
    fn parse(verb: Verb, text: &'a str) -> Result<Self, SyntaxError> {
        let (keyword, value) = match text.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (text, None),
        };
        let in_keyword = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
        if keyword.is_empty() || keyword.starts_with('-') || !keyword.bytes().all(in_keyword) {
            return Err(SyntaxError::Arguments(verb));
        }
        let mut keyword = keyword.to_ascii_uppercase();
        keyword.truncate(MAX_KEYWORD);
        let parameter = Self { verb, keyword, value };
        match value {
            Some(value) if value.is_empty() || value.contains('=') => Err(parameter.malformed()),
            _ => Ok(parameter),
        }
    }

    fn set<T>(&self, slot: &mut Option<T>, read: fn(&str) -> Option<T>) -> Result<(), SyntaxError> {
        if slot.is_some() {
            return Err(self.duplicate());
        }
        let value = self.value.and_then(read).ok_or_else(|| self.malformed())?;
        *slot = Some(value);
        Ok(())
    }

    fn set_flag(&self, flag: &mut bool) -> Result<(), SyntaxError> {
        match (*flag, self.value) {
            (true, _) => Err(self.duplicate()),
            (false, Some(_)) => Err(self.malformed()),
            (false, None) => {
                *flag = true;
                Ok(())
            }
        }
    }

    fn malformed(&self) -> SyntaxError {
        SyntaxError::Parameter { verb: self.verb, keyword: self.keyword.clone() }
    }

    fn duplicate(&self) -> SyntaxError {
        SyntaxError::DuplicateParameter { verb: self.verb, keyword: self.keyword.clone() }
    }

    fn unknown(&self) -> SyntaxError {
        SyntaxError::UnknownParameter { verb: self.verb, keyword: self.keyword.clone() }
    }
}

/// RFC 1870 §4: up to 20 digits. What no `u64` holds is too large all the same.
fn size(value: &str) -> Option<u64> {
    let is_number = value.len() <= 20 && value.bytes().all(|c| c.is_ascii_digit());
    is_number.then(|| value.parse().unwrap_or(u64::MAX))
}

/// RFC 6152 §2, RFC 3030 §3.
fn body(value: &str) -> Option<BodyType> {
    match value.to_ascii_uppercase().as_str() {
        "7BIT" => Some(BodyType::SevenBit),
        "8BITMIME" => Some(BodyType::EightBitMime),
        "BINARYMIME" => Some(BodyType::BinaryMime),
        _ => None,
    }
}

/// RFC 3461 §4.3.
fn ret(value: &str) -> Option<Ret> {
    match value.to_ascii_uppercase().as_str() {
        "FULL" => Some(Ret::Full),
        "HDRS" => Some(Ret::Headers),
        _ => None,
    }
}

/// RFC 3461 §4.4.
fn envid(value: &str) -> Option<String> {
    if value.len() > MAX_ENVID {
        return None;
    }
    xtext_decode(value).filter(|text| is_printable(text))
}

/// RFC 4954 §5: `<>` or a mailbox, as xtext.
fn auth(value: &str) -> Option<String> {
    if value.len() > MAX_AUTH {
        return None;
    }
    xtext_decode(value).filter(|text| !text.chars().any(char::is_control))
}

/// RFC 3461 §4.1: `NEVER` alone, or any of the others.
fn notify(value: &str) -> Option<Notify> {
    let mut notify = Notify { success: false, failure: false, delay: false };
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(notify);
    }
    for word in value.split(',') {
        let flag = match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => &mut notify.success,
            "FAILURE" => &mut notify.failure,
            "DELAY" => &mut notify.delay,
            _ => return None,
        };
        if std::mem::replace(flag, true) {
            return None;
        }
    }
    Some(notify)
}

/// RFC 3461 §4.2; RFC 6533 §3 for the type `utf-8`.
fn orcpt(value: &str) -> Option<OriginalRecipient> {
    let (address_type, address) = value.split_once(';')?;
    let in_type = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    if value.len() > MAX_ORCPT || address_type.is_empty() || !address_type.bytes().all(in_type) {
        return None;
    }
    let address_type = address_type.to_ascii_lowercase();
    let address = match address_type.as_str() {
        "utf-8" => utf8_xtext_decode(address)?,
        _ => xtext_decode(address).filter(|text| is_printable(text))?,
    };
    (!address.is_empty()).then_some(OriginalRecipient { address_type, address })
}

fn is_printable(text: &str) -> bool {
    text.bytes().all(|c| matches!(c, b' '..=b'~'))
}
