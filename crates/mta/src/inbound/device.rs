//! The gate on a device listener: who may come, what is looked at besides the sender, and what is noted of a message.
//!
//! What a device may do is decided in [`device`](crate::device) and [`decide`](super::decide). The session itself holds a device
//! to TLS and to signing in, by the settings it was begun with; MAIL looks at both once more, so that no slip there lets
//! anybody through.
//!
//! What it deliberately does not do: serve other listeners: without a device nothing here says no.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use postern_message::inspect::MAX_HEADER_BYTES;
use postern_message::rewrite::NewAuthor;
use postern_smtp::reply::Reply;
use postern_smtp::server::Verdict;

use super::decide::device_too_fast;
use super::gate::{Content, Gate};
use crate::config::{Device, OtherSenders};
use crate::device::Using;

impl Gate {
    /// Whoever is no device has no business on a device listener.
    pub(super) fn unknown_device(&mut self) -> Option<Verdict> {
        // A front end may have said meanwhile for whom it speaks.
        let admitted = self.listener.device_at(self.client.address.ip());
        self.device = admitted.map(|admitted| Arc::clone(&admitted.device));
        let site = self.site();
        let reply = self.standing(&site).check_device_is_known().err()?;
        self.refuse("connect", None, reply.clone());
        Some(Verdict::RefuseAndClose(reply))
    }

    /// Counts a message that is complete against the device's rate.
    ///
    /// # Errors
    /// The reply that sends it away for now.
    pub(super) fn count_for_device(&self) -> Result<(), Reply> {
        let Some(device) = &self.device else { return Ok(()) };
        self.shared.devices.take(device, Instant::now()).map_err(|wait| device_too_fast(device, wait))
    }

    /// Gives back what was counted for a message that came to nothing.
    pub(super) fn give_back_for_device(&self) {
        if let Some(device) = &self.device {
            self.shared.devices.give_back(device);
        }
    }

    /// What puts the device's address in the place of others, where it is to.
    pub(super) fn new_author(&self) -> Option<NewAuthor> {
        new_author_of(self.device.as_ref()?)
    }

    /// Why a handshake failed, with what can be done about a device that will never do better: TLS 1.0 and 1.1 are not spoken at
    /// all (RFC 8996).
    pub(super) fn with_advice(&self, reason: String) -> String {
        let Some(device) = &self.device else { return reason };
        let name = &device.name;
        format!(
            "{reason}; if device {name} knows no newer TLS, switch TLS off in it and write tls = \"offered\" in its [[device]]"
        )
    }

    /// How the device's message came.
    pub(super) fn using(&self) -> Option<Using> {
        let device = self.device.as_ref()?.name.clone();
        Some(Using { device, tls: self.tls.is_some(), signed_in: self.principal.is_some() })
    }

    /// Notes a device's message that was accepted.
    pub(super) fn note(&self, using: Option<&Using>, now: Timestamp) {
        if let Some(using) = using {
            self.shared.devices.note(using, self.client.address.ip(), now);
        }
    }
}

/// What puts a device's address in the place of others, where it is to.
pub(crate) fn new_author_of(device: &Device) -> Option<NewAuthor> {
    let replaced = device.other_senders == OtherSenders::Replaced;
    replaced.then(|| NewAuthor::new(device.sender.clone(), MAX_HEADER_BYTES))
}

impl Content {
    /// Stores and inspects a piece as it will be kept.
    pub(super) async fn keep(&mut self, bytes: &[u8]) {
        if self.trouble.is_some() {
            return;
        }
        self.inspector.feed(bytes);
        if let Some(preview) = &mut self.preview {
            preview.feed(bytes);
        }
        if let Err(error) = self.draft.write(bytes).await {
            self.trouble = Some(error);
        }
    }
}
