//! What printers, scanners and old applications may do: each is known by its address and may do what its `[[device]]` says,
//! and nothing else, whoever signs in from there.
//!
//! The types to know: [`Admitted`], a device with what a session with it needs; [`Using`], how a message of its came, for log and
//! book-keeping; [`log`], what is remembered of each.
//!
//! What it deliberately does not do: decide what is local or foreign (routing does), or look at what a device writes beyond
//! the fields that say who it is.

pub(crate) mod log;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use postern_message::inspect::Inspection;
use postern_message::repair;
use postern_smtp::address::{ForwardPath, Mailbox, ReversePath};
use postern_smtp::reply::{Reply, catalogue};
use postern_smtp::server::{AuthOffer, Settings, TlsMode};
use serde::Serialize;

use crate::config::{Device, DeviceTls, OtherSenders, SignIn};
use crate::directory::is_among;

/// A device, and what a session with it needs.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    /// What the configuration says.
    pub(crate) device: Arc<Device>,
    /// What the session needs: the listener's, as the device's section bends them.
    pub(crate) settings: Arc<Settings>,
}

/// How a message of a device's came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Using {
    /// The device.
    pub device: String,
    /// Whether it used TLS.
    pub tls: bool,
    /// Whether it signed in.
    pub signed_in: bool,
}

impl fmt::Display for Using {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |yes: bool| if yes { "yes" } else { "no" };
        let (tls, signed_in) = (word(self.tls), word(self.signed_in));
        write!(f, "device {} (TLS: {tls}, signed in: {signed_in})", self.device)
    }
}

/// All devices as a listener with these settings serves them.
pub(crate) fn admitted(devices: &[Device], settings: &Settings) -> Vec<Admitted> {
    let admit = |device: &Device| Admitted {
        settings: Arc::new(settings_for(device, settings)),
        device: Arc::new(device.clone()),
    };
    devices.iter().map(admit).collect()
}

/// The device that a client is; of several the one that names it most closely.
pub(crate) fn of_client(devices: &[Admitted], client: IpAddr) -> Option<&Admitted> {
    let close = |admitted: &&Admitted| admitted.device.closeness(client);
    devices.iter().filter(|admitted| close(admitted).is_some()).max_by_key(close)
}

/// A device can need more than its listener demands, and never less.
fn settings_for(device: &Device, listener: &Settings) -> Settings {
    let mut settings = listener.clone();
    if device.tls == DeviceTls::Required && settings.tls == TlsMode::Offered {
        settings.tls = TlsMode::Required;
    }
    settings.auth = match device.sign_in {
        SignIn::Required => AuthOffer::Mandatory,
        SignIn::Optional => AuthOffer::Optional,
    };
    settings.clear_sign_in = device.clear_sign_in;
    settings
}

/// Whether a device may say MAIL with this reverse-path.
///
/// # Errors
/// The reply that refuses it.
pub(crate) fn check_reverse_path(device: &Device, from: &ReversePath) -> Result<(), Reply> {
    let is_its_own = from.mailbox().is_some_and(|from| is_its_own(device, from));
    if is_its_own || device.other_senders == OtherSenders::Replaced {
        return Ok(());
    }
    Err(catalogue::device_sender(from, &device.name, &device.sender))
}

/// Whether a device may send to this address.
///
/// # Errors
/// The reply that refuses it.
pub(crate) fn check_recipient(device: &Device, to: &ForwardPath) -> Result<(), Reply> {
    // Whoever runs this host can always be told (RFC 5321 §4.5.1).
    let ForwardPath::Mailbox(mailbox) = to else { return Ok(()) };
    if device.may_send_to(mailbox) {
        return Ok(());
    }
    let domains: Vec<String> = device.recipients.iter().map(ToString::to_string).collect();
    Err(catalogue::device_recipient(to, &device.name, &domains.join(", ")))
}

/// Whether a device may send a message with this header: whoever is named as its author or sender is the device.
///
/// # Errors
/// The reply that refuses it.
pub(crate) fn check_header(device: &Device, header: &Inspection) -> Result<(), Reply> {
    let sender = match &header.sender {
        None => None,
        Some(Ok(sender)) => Some(sender),
        Some(Err(_)) => return Err(catalogue::sender_header_unreadable()),
    };
    let authors = match repair::problem(header) {
        None => header.from.as_deref().map_err(|_| catalogue::from_unreadable())?,
        Some(repair::Problem::NoFrom) => &[],
        Some(_) => return Err(catalogue::from_unreadable()),
    };
    match authors.iter().chain(sender).find(|named| !is_its_own(device, named)) {
        Some(other) => Err(catalogue::device_author(other, &device.name, &device.sender)),
        None => Ok(()),
    }
}

fn is_its_own(device: &Device, address: &Mailbox) -> bool {
    is_among(std::slice::from_ref(&device.sender), address, None)
}

#[cfg(test)]
mod tests;
