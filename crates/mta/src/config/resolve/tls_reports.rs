//! `[tls_reports]`: reports about TLS (RFC 8460).

use postern_smtp::address::{Domain, Host, Mailbox};

use crate::config::model::{LocalDomain, TlsReports};
use crate::config::reader::{Reader, Section};
use crate::config::reference::nearest;

/// What the defaults are made of.
#[derive(Clone, Copy)]
pub(super) struct Own<'o> {
    pub(super) hostname: Option<&'o Domain>,
    pub(super) report_from: Option<&'o Mailbox>,
    /// `None`: something is wrong with one of them, so that nothing can be said of the others.
    pub(super) domains: Option<&'o [LocalDomain]>,
}

pub(super) fn tls_reports<'a>(
    reader: &mut Reader<'a>,
    top: &Section<'a>,
    own: Own<'_>,
) -> Option<TlsReports> {
    let at = &reader.section(top, "tls_reports");
    let address = own.report_from.map(ToString::to_string);
    let send = reader.switch(at, "send", None);
    let organization = reader.name_or(at, "organization", own.hostname.map(ToString::to_string));
    let contact = reader.parsed(at, "contact", address.clone());
    let from = reader.parsed(at, "from", address);
    let receive: Option<Mailbox> = reader.parsed(at, "receive", None);
    if let (Some(receive), Some(domains)) = (&receive, own.domains) {
        refuse_foreign(reader, at, receive, domains);
    }
    Some(TlsReports { send: send?, organization: organization?, contact: contact?, from: from?, receive })
}

/// Reports that go elsewhere are not ours to read.
fn refuse_foreign(reader: &mut Reader<'_>, at: &Section<'_>, receive: &Mailbox, domains: &[LocalDomain]) {
    let is_own =
        |host: &Host| matches!(host, Host::Domain(name) if domains.iter().any(|own| own.name == *name));
    if is_own(&receive.host) {
        return;
    }
    let host = receive.host.to_string();
    let remedy = match nearest(&host, domains.iter().map(|own| own.name.as_str())) {
        Some(meant) => format!("did you mean {}@{meant}?", receive.local),
        None => "name an address in the domain of a [[domain]]".to_owned(),
    };
    reader.complain(at, "receive", format!("{host} is none of the own domains"), remedy);
}
