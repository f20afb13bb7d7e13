//! On which terms a message can be handed to a peer: what it needs, what the peer offers, and the MAIL and RCPT
//! lines that follow from both.
//!
//! A parameter that only adds something (SIZE, RET, ENVID, NOTIFY, ORCPT) is left out when the peer does not know it.
//! One that changes what the content or an address means (8-bit, binary, internationalised) is never dropped: the
//! message is refused honestly instead, with the reason that the DSN will name.

use crate::address::{Mailbox, ReversePath};
use crate::envelope::{BodyType, MailParams, RcptParams};
use crate::extension::Capabilities;
use crate::outcome::{Outcome, Reason, Step, Trouble};

use super::Job;

/// The terms agreed for one message.
#[derive(Debug)]
pub(super) struct Terms {
    /// `MAIL FROM:<…> …` with its CRLF.
    pub(super) mail: String,
    /// How the content goes over.
    pub(super) transfer: Transfer,
    smtputf8: bool,
    dsn: bool,
}

/// How the content goes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transfer {
    /// DATA, dot-stuffed. Preferred wherever it can carry the content, because every server gets it right.
    Data,
    /// BDAT chunks (RFC 3030): only for content that has no lines (BINARYMIME).
    Chunks,
}

impl Terms {
    /// Finds the terms, or the outcome that all recipients share when there are none.
    pub(super) fn negotiate(job: &Job, peer: &Capabilities, signed_in: bool) -> Result<Self, Outcome> {
        let failed = |reason| Outcome::Failed(Trouble::new(Step::Mail, reason));
        if let Some(limit) = size_limit(peer).filter(|limit| *limit < job.size) {
            return Err(failed(Reason::TooLarge(limit)));
        }
        // RFC 8689 §4.2.1: never to a server that does not promise the same in turn.
        if job.params.requiretls && !peer.requiretls {
            return Err(failed(Reason::NeedsRequireTls));
        }
        let body = body(job, peer).map_err(failed)?;
        if !peer.smtputf8 && all_need_utf8(job) {
            return Err(failed(Reason::NeedsUtf8));
        }
        let smtputf8 = peer.smtputf8 && gains_from_utf8(job);
        let from = reverse_path(&job.from, smtputf8).ok_or_else(|| failed(Reason::NeedsUtf8))?;
        let params = MailParams {
            size: peer.size.map(|_| job.size),
            body,
            smtputf8,
            ret: job.params.ret.filter(|_| peer.dsn),
            envid: job.params.envid.clone().filter(|_| peer.dsn),
            // RFC 4954 §5: a client that does not trust what it was told says `<>`.
            auth: job.params.auth.as_ref().filter(|_| signed_in).map(|_| "<>".to_owned()),
            requiretls: job.params.requiretls,
        };
        let transfer = if body == Some(BodyType::BinaryMime) { Transfer::Chunks } else { Transfer::Data };
        Ok(Self { mail: format!("MAIL FROM:{from}{params}\r\n"), transfer, smtputf8, dsn: peer.dsn })
    }

    /// `RCPT TO:<…> …` with its CRLF, or the outcome of a recipient whose address the peer cannot take.
    pub(super) fn rcpt(&self, to: &Mailbox, params: &RcptParams) -> Result<String, Outcome> {
        let Some(path) = path(to, self.smtputf8) else {
            return Err(Outcome::Failed(Trouble::new(Step::Rcpt, Reason::NeedsUtf8)));
        };
        let params = if self.dsn { params.clone() } else { RcptParams::default() };
        Ok(format!("RCPT TO:{path}{params}\r\n"))
    }
}

/// The announced limit; zero and a bare SIZE announce none (RFC 1870 §4).
fn size_limit(peer: &Capabilities) -> Option<u64> {
    peer.size.flatten().filter(|limit| *limit > 0)
}

/// What to say in `BODY=`. 7BIT is the default and stays unsaid.
fn body(job: &Job, peer: &Capabilities) -> Result<Option<BodyType>, Reason> {
    match job.params.body {
        // RFC 3030 §3: BINARYMIME goes only by BDAT, so that both extensions are needed.
        Some(BodyType::BinaryMime) if peer.chunking && peer.binary_mime => Ok(Some(BodyType::BinaryMime)),
        Some(BodyType::BinaryMime) => Err(Reason::NeedsBinary),
        _ if !job.eight_bit => Ok(None),
        // RFC 6152 §3: never send 8-bit content to a server that did not offer it.
        _ if peer.eight_bit_mime => Ok(Some(BodyType::EightBitMime)),
        _ => Err(Reason::NeedsEightBit),
    }
}

/// Whether the message can go to nobody without SMTPUTF8 (RFC 6531 §3.2).
fn all_need_utf8(job: &Job) -> bool {
    let from = job.from.mailbox().is_some_and(|from| !from.local.is_ascii());
    from || (job.utf8_headers && job.params.smtputf8)
}

/// Whether SMTPUTF8 is worth declaring: some address or the header section makes use of it. A message that was
/// declared but turned out to be plain goes on as plain mail (RFC 6531 §3.4: only when needed).
fn gains_from_utf8(job: &Job) -> bool {
    let addresses = || job.from.mailbox().into_iter().chain(job.to.iter().map(|(to, _)| to));
    let locals = addresses().any(|address| !address.local.is_ascii());
    let declared =
        job.params.smtputf8 && (job.utf8_headers || addresses().any(|address| !address.is_ascii()));
    locals || declared
}

fn reverse_path(from: &ReversePath, smtputf8: bool) -> Option<String> {
    match from {
        ReversePath::Null => Some("<>".to_owned()),
        ReversePath::Mailbox(mailbox) => path(mailbox, smtputf8),
    }
}

/// The address in angle brackets; `None` when it cannot be said without SMTPUTF8. A domain always can: as A-labels
/// (RFC 5890 §2.3.2.1).
fn path(mailbox: &Mailbox, smtputf8: bool) -> Option<String> {
    if smtputf8 || mailbox.is_ascii() {
        return Some(format!("<{mailbox}>"));
    }
    let domain = mailbox.domain()?.to_ascii().ok()?;
    mailbox.local.is_ascii().then(|| format!("<{}@{domain}>", mailbox.local))
}
