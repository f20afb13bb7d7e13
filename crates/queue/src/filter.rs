//! Which deliveries an operator means: one judgement for every store.

use postern_smtp::address::{Mailbox, ReversePath};

use crate::{Delivery, Destination, Filter};

impl Filter {
    /// Whether a delivery is meant: all conditions given must hold.
    pub(crate) fn means(&self, delivery: &Delivery) -> bool {
        (self.ids.is_empty() || self.ids.contains(&delivery.message.id))
            && self.from.is_none_or(|from| from <= delivery.message.id)
            && self.means_destination(&delivery.destination)
            && self.held.is_none_or(|held| held == delivery.held)
            && self.user.as_deref().is_none_or(|user| delivery.message.origin.user.as_deref() == Some(user))
            && self.held_at_entry.is_none_or(|held| held == delivery.message.hold.is_some())
            && self.accepted_before.is_none_or(|time| delivery.message.accepted < time)
            && self.sender.as_deref().is_none_or(|wanted| sender_is(&delivery.message.from, wanted))
            && self.recipient.as_deref().is_none_or(|wanted| has_recipient(delivery, wanted))
            && self.reason.as_deref().is_none_or(|wanted| has_reason(delivery, wanted))
    }

    /// The condition on the destination alone, which a store can judge before it reads the rest.
    pub(crate) fn means_destination(&self, destination: &Destination) -> bool {
        let Some(wanted) = self.destination.as_deref() else {
            return true;
        };
        match wanted.strip_prefix('*') {
            Some(below) if below.starts_with('.') => {
                let (name, below) = (destination.0.to_ascii_lowercase(), below.to_ascii_lowercase());
                name.len() > below.len() && name.ends_with(&below)
            }
            _ => wanted.eq_ignore_ascii_case(&destination.0),
        }
    }
}

fn sender_is(from: &ReversePath, wanted: &str) -> bool {
    match from {
        ReversePath::Null => wanted == "<>",
        ReversePath::Mailbox(mailbox) => mailbox_is(mailbox, wanted),
    }
}

fn has_recipient(delivery: &Delivery, wanted: &str) -> bool {
    delivery.recipients.iter().any(|state| mailbox_is(&state.recipient.address, wanted))
}

fn has_reason(delivery: &Delivery, wanted: &str) -> bool {
    let wanted = wanted.to_lowercase();
    let troubles = delivery.recipients.iter().filter_map(|state| state.trouble.as_ref());
    troubles.into_iter().any(|trouble| trouble.to_string().to_lowercase().contains(&wanted))
}

/// Operators need not know that the case of a local part is significant (RFC 5321 §2.4), nor type the brackets.
fn mailbox_is(mailbox: &Mailbox, wanted: &str) -> bool {
    let wanted =
        wanted.strip_prefix('<').and_then(|inner| inner.strip_suffix('>')).unwrap_or(wanted).to_lowercase();
    if wanted.starts_with('@') {
        return format!("@{}", mailbox.host).to_lowercase() == wanted;
    }
    mailbox.to_string().to_lowercase() == wanted
        || wanted.parse::<Mailbox>().is_ok_and(|wanted| wanted == *mailbox)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_means_everything_below_but_not_the_name_itself() {
        let filter = Filter { destination: Some("*.Example.org".into()), ..Filter::default() };
        assert!(filter.means_destination(&Destination("mx.example.org".into())));
        assert!(!filter.means_destination(&Destination("example.org".into())));
        assert!(!filter.means_destination(&Destination(".example.org".into())));
        assert!(!filter.means_destination(&Destination("badexample.org".into())));
    }

    #[test]
    fn an_address_is_meant_in_any_case_and_with_or_without_brackets() {
        let path = ReversePath::Mailbox("Anna@example.org".parse().unwrap());
        for wanted in ["anna@EXAMPLE.org", "<Anna@example.org>", "@example.org"] {
            assert!(sender_is(&path, wanted), "{wanted}");
        }
        assert!(!sender_is(&path, "<>"));
        assert!(!sender_is(&path, "@mple.org"));
        assert!(sender_is(&ReversePath::Null, "<>"));
    }
}
