//! Takes responsibility for a message: the last checks, our own header fields, and one commit.
//!
//! When [`take`] says [`Verdict::Queued`], the message is on disk. Nothing else in Postern says so to a client.

use jiff::Timestamp;
use postern_message::inspect::Inspection;
use postern_message::{repair, trace};
use postern_queue::{Envelope, Error, NewMessage, Origin, Recipient, SenderTls};
use postern_smtp::address::Mailbox;
use postern_smtp::envelope::{BodyType, MailParams, RcptParams};
use postern_smtp::reply::{Reply, catalogue};
use postern_smtp::server::{Transaction, Verdict};

use super::gate::{Content, Gate};
use crate::daemon::Site;
use crate::event::{Event, Subject};
use crate::policy::reports::Preview;

/// Checks, stamps and enqueues a complete transaction.
///
/// # Errors
/// The reply that refuses it; then nothing was stored.
pub(crate) async fn take(
    gate: &mut Gate,
    transaction: Transaction,
    recipients: Vec<(Mailbox, RcptParams)>,
    content: Content,
) -> Result<Verdict, Reply> {
    if let Some(error) = content.trouble {
        return Err(not_stored(gate, &error));
    }
    let now = Timestamp::now();
    let site = gate.site();
    let inspection = content.inspector.finish();
    let mut transaction = transaction;
    if content.still_text.is_some_and(|checker| checker.finish().is_ok()) {
        // Some senders say BINARYMIME of plain text; as text it can go to every next hop.
        transaction.params.body = Some(BodyType::EightBitMime);
    }
    check_hops(gate, &inspection)?;
    gate.standing(&site).check_author(&inspection)?;
    if let Some(device) = &gate.device {
        // It is the same already, unless others are replaced.
        transaction.from = device.sender.clone().into();
    }
    check_report(&site, content.preview).await?;
    let counted = gate.count_message(&recipients, transaction.size, now)?;
    let id = content.draft.id().to_string();
    let stamp = Stamp { id: &id, now };
    let mut head = received(gate, &site, &transaction, &stamp);
    if gate.device.is_some() {
        head.extend(repairs(&site, transaction.from.mailbox(), &inspection, &stamp));
    } else if let Some(principal) = &gate.principal {
        let author = site.senders.author(principal, &transaction.from);
        head.extend(repairs(&site, author, &inspection, &stamp));
    }
    let using = gate.using();
    let accepted = Event::Accepted {
        message_id: message_id(gate, &site, &inspection, &stamp),
        hello: gate.hello.as_ref().map(|hello| hello.name.clone()),
        program: inspection.program.clone(),
        session: gate.client.session.clone(),
        from: transaction.from.to_string(),
        to: recipients.iter().map(|(mailbox, _)| mailbox.to_string()).collect(),
        size: transaction.size,
        user: gate.principal.as_ref().map(|principal| principal.name.clone()),
        device: using.clone(),
    };
    let envelope = envelope(gate, transaction, recipients, &inspection);
    let message = NewMessage { envelope, head: head.into(), draft: content.draft, hold: counted.hold() };
    let stored = gate.shared.store.enqueue(now, message).await;
    let id = stored.map_err(|error| {
        gate.give_back(&counted, now);
        not_stored(gate, &error)
    })?;
    gate.accepted += 1;
    gate.note(using.as_ref(), now);
    gate.shared.observer.emit(Subject::Message(id), accepted);
    gate.settle(id, &counted, now).await;
    gate.shared.wake.notify_one();
    Ok(Verdict::Queued { id: id.to_string() })
}

/// A message that passed too many servers goes in circles (RFC 5321 §6.3).
fn check_hops(gate: &Gate, inspection: &Inspection) -> Result<(), Reply> {
    let most = gate.listener.config.hops;
    let hops = usize::try_from(inspection.received_count).unwrap_or(usize::MAX);
    if hops > most { Err(catalogue::mail_loop()) } else { Ok(()) }
}

/// What holds no TLS report is refused at the address for those as long as the client is there to hear of it: later, all
/// that could be told would go to a sender who may be forged.
async fn check_report(site: &Site, preview: Option<Preview>) -> Result<(), Reply> {
    let Some(preview) = preview else { return Ok(()) };
    let Some(why) = preview.objection(&site.routing).await else { return Ok(()) };
    // The words may repeat the message's own, and RFC 5321 §4.2 knows ASCII alone.
    Err(catalogue::no_tls_report(&why.replace(|c: char| !c.is_ascii(), "?")))
}

/// What makes the fields that we add this message's own.
struct Stamp<'a> {
    id: &'a str,
    now: Timestamp,
}

fn received(gate: &Gate, site: &Site, transaction: &Transaction, stamp: &Stamp<'_>) -> Vec<u8> {
    // With several recipients a `for` would tell each of the others (RFC 5321 §7.2).
    let only = match transaction.to.as_slice() {
        [(path, _)] => path.mailbox(),
        _ => None,
    };
    let hello = gate.hello.as_ref();
    let tls = gate.tls.as_ref();
    let protocol = trace::protocol(trace::Transfer {
        extended: hello.is_some_and(|hello| hello.extended),
        tls: tls.is_some(),
        authenticated: gate.principal.is_some(),
        utf8: transaction.params.smtputf8,
    });
    let received = trace::Received {
        from_hello: hello.map_or("", |hello| hello.name.as_str()),
        client: gate.client.address.ip(),
        client_name: None,
        device: gate.device.as_ref().map(|device| device.name.as_str()),
        by: site.config.hostname.as_str(),
        protocol,
        tls: tls.map(|facts| (facts.version.as_str(), facts.cipher.as_str())),
        id: stamp.id,
        recipient: only,
        date: stamp.now,
    };
    received.render()
}

/// What a submission lacks is added (RFC 6409 §8); a missing author is one whom we know to have sent it.
fn repairs(site: &Site, author: Option<&Mailbox>, inspection: &Inspection, stamp: &Stamp<'_>) -> Vec<u8> {
    let author = author.filter(|author| author.is_ascii());
    let origin = repair::Origin { now: stamp.now, unique: stamp.id, hostname: site.config.hostname.as_str() };
    repair::missing_fields(inspection, author, &origin)
}

/// The id that the message goes out with.
fn message_id(gate: &Gate, site: &Site, inspection: &Inspection, stamp: &Stamp<'_>) -> Option<String> {
    let is_repaired = gate.device.is_some() || gate.principal.is_some();
    if inspection.has_message_id || !is_repaired {
        return inspection.message_id.clone();
    }
    Some(repair::message_id(stamp.now, stamp.id, site.config.hostname.as_str()))
}

fn envelope(
    gate: &Gate,
    transaction: Transaction,
    recipients: Vec<(Mailbox, RcptParams)>,
    inspection: &Inspection,
) -> Envelope {
    let site = gate.site();
    let recipient = |(address, params): (Mailbox, RcptParams)| Recipient {
        destination: site.routing.destination_of(&address),
        address,
        notify: params.notify,
        orcpt: params.orcpt,
    };
    let tls = sender_tls(&transaction.params, inspection);
    Envelope {
        from: transaction.from,
        ret: transaction.params.ret,
        envid: transaction.params.envid,
        body: transaction.params.body,
        smtputf8: transaction.params.smtputf8,
        eight_bit: transaction.eight_bit,
        utf8_headers: inspection.utf8_headers,
        tls,
        origin: Origin {
            listener: Some(gate.listener.config.name.clone()),
            client: Some(gate.client.address.ip()),
            user: gate.principal.as_ref().map(|principal| principal.name.clone()),
            session: Some(gate.client.session.clone()),
            device: gate.device.as_ref().map(|device| device.name.clone()),
        },
        recipients: recipients.into_iter().map(recipient).collect(),
    }
}

/// What the sender wants of TLS. RFC 8689 §4.1: beside REQUIRETLS the header field is ignored.
fn sender_tls(params: &MailParams, inspection: &Inspection) -> SenderTls {
    match (params.requiretls, inspection.tls_required_no) {
        (true, _) => SenderTls::Required,
        (false, true) => SenderTls::NotRequired,
        (false, false) => SenderTls::AsPolicy,
    }
}

fn not_stored(gate: &Gate, error: &Error) -> Reply {
    let (reply, remedy) = match error {
        Error::Full { .. } => (
            catalogue::storage_full(),
            "make room on the disk that holds the data directory; nothing was acknowledged, senders try again",
        ),
        _ => (
            catalogue::local_error(),
            "nothing was acknowledged, senders try again; if it stays so, restart Postern",
        ),
    };
    gate.emit(Event::Alarm {
        what: format!("a message could not be stored: {error}"),
        remedy: remedy.into(),
    });
    reply
}

#[cfg(test)]
mod tests {
    use postern_message::inspect::{Inspector, MAX_HEADER_BYTES};

    use super::*;

    fn inspected(content: &[u8]) -> Inspection {
        let mut inspector = Inspector::new(MAX_HEADER_BYTES);
        inspector.feed(content);
        inspector.finish()
    }

    #[test]
    fn the_header_field_is_heeded_and_requiretls_goes_before_it() {
        let silent = inspected(b"Subject: x\r\n\r\nTLS-Required: No\r\n");
        let careless = inspected(b"Subject: x\r\nTLS-Required: No\r\n\r\n");
        let plain = MailParams::default();
        let strict = MailParams { requiretls: true, ..MailParams::default() };
        assert_eq!(sender_tls(&plain, &silent), SenderTls::AsPolicy);
        assert_eq!(sender_tls(&plain, &careless), SenderTls::NotRequired);
        assert_eq!(sender_tls(&strict, &silent), SenderTls::Required);
        assert_eq!(sender_tls(&strict, &careless), SenderTls::Required);
    }
}
