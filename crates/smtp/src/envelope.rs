//! What MAIL and RCPT carry: the typed parameters of each (RFC 5321 §4.1.1.2 and §4.1.1.3).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::address::{ForwardPath, ReversePath};
use crate::xtext;

pub use crate::xtext::{xtext_decode, xtext_encode};

/// `MAIL FROM:<…>` with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The reverse-path.
    pub from: ReversePath,
    /// The parameters.
    pub params: MailParams,
}

/// The parameters of MAIL. Each may be given once; unknown ones are refused (555).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailParams {
    /// `SIZE=`, in octets (RFC 1870).
    pub size: Option<u64>,
    /// `BODY=` (RFC 6152, RFC 3030).
    pub body: Option<BodyType>,
    /// `SMTPUTF8` (RFC 6531).
    pub smtputf8: bool,
    /// `RET=` (RFC 3461 §4.3).
    pub ret: Option<Ret>,
    /// `ENVID=`, decoded from xtext (RFC 3461 §4.4). At most 100 characters, printable ASCII.
    pub envid: Option<String>,
    /// `AUTH=` (RFC 4954 §5), decoded from xtext; Postern does not trust it and passes `<>` on.
    pub auth: Option<String>,
    /// `REQUIRETLS`: hand it on only encrypted, to servers that prove who they are and promise the same (RFC 8689).
    #[serde(default)]
    pub requiretls: bool,
}

/// `BODY=`: what the client says about the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BodyType {
    /// Lines of ASCII.
    SevenBit,
    /// Lines of octets (RFC 6152).
    EightBitMime,
    /// Any octets, no lines (RFC 3030 §3). Only with BDAT.
    BinaryMime,
}

/// `RET=`: how much of the message a failure report returns (RFC 3461 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Ret {
    /// The whole message.
    Full,
    /// The header section only.
    Headers,
}

/// `RCPT TO:<…>` with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rcpt {
    /// The forward-path.
    pub to: ForwardPath,
    /// The parameters.
    pub params: RcptParams,
}

/// The parameters of RCPT.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RcptParams {
    /// `NOTIFY=` (RFC 3461 §4.1); `None` means the default: failure and delay.
    pub notify: Option<Notify>,
    /// `ORCPT=` (RFC 3461 §4.2): address type and the original recipient, decoded from xtext (or from
    /// utf-8-addr-xtext, RFC 6533 §3).
    pub orcpt: Option<OriginalRecipient>,
}

/// `NOTIFY=`: when the sender wants to hear. All `false` is `NEVER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Notify {
    /// Report delivery.
    pub success: bool,
    /// Report failure.
    pub failure: bool,
    /// Report delay.
    pub delay: bool,
}

/// `ORCPT=type;address`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OriginalRecipient {
    /// `rfc822` or `utf-8`, lower case.
    pub address_type: String,
    /// The address, decoded.
    pub address: String,
}

/// As MAIL's argument on the wire: `<a@example.org> SIZE=1000 BODY=8BITMIME`.
impl fmt::Display for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.from, self.params)
    }
}

/// Each parameter after a space, as behind MAIL's path; nothing when there are none.
impl fmt::Display for MailParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(size) = self.size {
            write!(f, " SIZE={size}")?;
        }
        if let Some(body) = self.body {
            write!(f, " BODY={body}")?;
        }
        if self.smtputf8 {
            f.write_str(" SMTPUTF8")?;
        }
        if let Some(ret) = self.ret {
            write!(f, " RET={ret}")?;
        }
        if let Some(envid) = &self.envid {
            write!(f, " ENVID={}", xtext_encode(envid))?;
        }
        if let Some(auth) = &self.auth {
            write!(f, " AUTH={}", xtext_encode(auth))?;
        }
        if self.requiretls {
            f.write_str(" REQUIRETLS")?;
        }
        Ok(())
    }
}

impl fmt::Display for BodyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SevenBit => "7BIT",
            Self::EightBitMime => "8BITMIME",
            Self::BinaryMime => "BINARYMIME",
        })
    }
}

impl fmt::Display for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "FULL",
            Self::Headers => "HDRS",
        })
    }
}

/// As RCPT's argument on the wire: `<b@example.org> NOTIFY=NEVER`.
impl fmt::Display for Rcpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.to, self.params)
    }
}

/// Each parameter after a space, as behind RCPT's path; nothing when there are none.
impl fmt::Display for RcptParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(notify) = self.notify {
            write!(f, " NOTIFY={notify}")?;
        }
        match &self.orcpt {
            Some(orcpt) => write!(f, " ORCPT={orcpt}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chosen = [(self.success, "SUCCESS"), (self.failure, "FAILURE"), (self.delay, "DELAY")];
        let words: Vec<&str> = chosen.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
        if words.is_empty() { f.write_str("NEVER") } else { f.write_str(&words.join(",")) }
    }
}

/// As in `ORCPT=` on the wire, always ASCII: `rfc822;` with xtext, `utf-8;` with utf-8-addr-xtext (RFC 6533 §3).
impl fmt::Display for OriginalRecipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = match self.address_type.as_str() {
            "utf-8" => xtext::utf8_xtext_encode(&self.address),
            _ => xtext_encode(&self.address),
        };
        write!(f, "{};{address}", self.address_type)
    }
}
