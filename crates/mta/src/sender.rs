//! Who may send as what.
//!
//! The types to know: [`Senders`], the rules of one configuration; [`Permission`], the answer about one person and one
//! address, with the rule that it follows from. There is one function that decides, [`Senders::judge`]; MAIL, the header and
//! `postern user may-send` all ask it, so that they cannot disagree.
//!
//! Somebody may send as his own addresses; as those with a detail behind the delimiter of an own domain; as an alias whose
//! mail he alone receives; and as what a `[[send_as]]` gives to him, his groups or everybody. An app password may be bound
//! to some of that.
//!
//! Pure. What it deliberately does not do: ask directories, or look at what a client that has not signed in writes.

use std::collections::HashMap;

use postern_message::inspect::Inspection;
use postern_message::repair;
use postern_smtp::address::{Domain, Mailbox, ReversePath, split_detail};
use postern_smtp::reply::{Reply, catalogue};

use crate::config::{Config, Form, LocalDomain, SendAs};
use crate::directory::{Principal, is_among};

/// Aliases of aliases are followed so far; the configuration has no loops.
const STEPS_MOST: usize = 16;

/// Who may send as what, by one configuration.
#[derive(Debug, Clone, Default)]
pub struct Senders {
    rules: Vec<SendAs>,
    domains: HashMap<Domain, Own>,
}

/// What counts of an own domain.
#[derive(Debug, Clone)]
struct Own {
    plus: Option<char>,
    /// Aliases that stand for one address alone: local part in lower case → that.
    aliases: HashMap<String, Mailbox>,
}

/// Whether somebody may send as an address, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permission<'a> {
    /// It is his.
    Own,
    /// It is his, with a detail behind the delimiter.
    Detail,
    /// It is an alias, and all its mail goes to this address of his.
    Alias(&'a Mailbox),
    /// The `[[send_as]]` of this name allows it.
    Rule(&'a str),
    /// The `[[send_as]]` of this name allows it on behalf: with a `Sender:` field of his own.
    OnBehalf(&'a str),
    /// The app password of this name is for other addresses.
    OutsideAppPassword(&'a str),
    /// Nothing allows it.
    NotOwned,
}

impl Permission<'_> {
    /// Whether he may write under the address as if it were his own.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Own | Self::Detail | Self::Alias(_) | Self::Rule(_))
    }
}

impl Senders {
    /// The rules of a configuration.
    pub fn new(config: &Config) -> Self {
        let domains = config.domains.iter().map(|domain| (domain.name.clone(), Own::of(domain)));
        Self { rules: config.send_as.clone(), domains: domains.collect() }
    }

    /// Whether somebody may send as an address.
    pub fn judge<'a>(&'a self, principal: &'a Principal, address: &Mailbox) -> Permission<'a> {
        let delimiter = self.delimiter_of(address);
        if let Some(used) = &principal.app_password
            && !used.addresses.is_empty()
            && !is_among(&used.addresses, address, delimiter)
        {
            return Permission::OutsideAppPassword(&used.name);
        }
        if principal.owns(address, None) {
            return Permission::Own;
        }
        if principal.owns(address, delimiter) {
            return Permission::Detail;
        }
        if let Some(target) = self.alias_of(principal, address) {
            return Permission::Alias(target);
        }
        self.by_rule(principal, address, delimiter)
    }

    /// Whether somebody may say MAIL with this reverse-path. The null path is nobody's address (RFC 5321 §4.5.5).
    ///
    /// # Errors
    /// The reply that refuses it.
    pub fn check_reverse_path(&self, principal: &Principal, from: &ReversePath) -> Result<(), Reply> {
        let ReversePath::Mailbox(mailbox) = from else { return Ok(()) };
        match self.judge(principal, mailbox) {
            Permission::OutsideAppPassword(name) => {
                Err(catalogue::outside_app_password(mailbox, name, &principal.name))
            }
            Permission::NotOwned => Err(catalogue::sender_not_owned(from, &principal.name)),
            _ => Ok(()),
        }
    }

    /// Whether somebody may send a message with this header: every author in From: is his (RFC 6409 §6.1), or he sends on the
    /// author's behalf and says so in Sender:. What cannot be read to its end could hide another author.
    ///
    /// # Errors
    /// The reply that refuses it.
    pub fn check_header(&self, principal: &Principal, header: &Inspection) -> Result<(), Reply> {
        let sender = match &header.sender {
            None => None,
            Some(Ok(sender)) => Some(sender),
            Some(Err(_)) => return Err(catalogue::sender_header_unreadable()),
        };
        if let Some(sender) = sender {
            self.check_sender_field(principal, sender)?;
        }
        for author in authors(header)? {
            match self.judge(principal, author) {
                Permission::OnBehalf(_) if sender.is_some() => {}
                Permission::OnBehalf(_) => return Err(catalogue::from_needs_sender(author, &principal.name)),
                Permission::OutsideAppPassword(name) => {
                    return Err(catalogue::outside_app_password(author, name, &principal.name));
                }
                Permission::NotOwned => return Err(catalogue::from_not_owned(author, &principal.name)),
                _ => {}
            }
        }
        Ok(())
    }

    /// The address that somebody's message without a From: field gets there: the reverse-path where he may write so, else the
    /// first address that is his.
    pub fn author<'a>(&self, principal: &'a Principal, from: &'a ReversePath) -> Option<&'a Mailbox> {
        let candidates = from.mailbox().into_iter().chain(&principal.addresses);
        candidates.into_iter().find(|address| self.judge(principal, address).is_full())
    }

    /// RFC 5322 §3.6.2: it says who sent the message, and nobody sends it on the behalf of somebody who sends it.
    fn check_sender_field(&self, principal: &Principal, sender: &Mailbox) -> Result<(), Reply> {
        match self.judge(principal, sender) {
            Permission::OutsideAppPassword(name) => {
                Err(catalogue::outside_app_password(sender, name, &principal.name))
            }
            permission if permission.is_full() => Ok(()),
            _ => Err(catalogue::sender_header_not_owned(sender, &principal.name)),
        }
    }

    /// A rule that allows all goes before one that allows it on behalf, whatever their order.
    fn by_rule(&self, principal: &Principal, address: &Mailbox, delimiter: Option<char>) -> Permission<'_> {
        let fits = |rule: &&SendAs| {
            rule.people.include(principal)
                && rule.addresses.iter().any(|pattern| pattern.fits(address, delimiter))
        };
        let of_form = |form: Form| self.rules.iter().filter(move |rule| rule.form == form).find(fits);
        match (of_form(Form::As), of_form(Form::OnBehalf)) {
            (Some(rule), _) => Permission::Rule(&rule.name),
            (None, Some(rule)) => Permission::OnBehalf(&rule.name),
            (None, None) => Permission::NotOwned,
        }
    }

    /// Where all mail for an alias goes, when that is an address of his.
    fn alias_of(&self, principal: &Principal, address: &Mailbox) -> Option<&Mailbox> {
        let mut target = self.stands_for(address)?;
        for _ in 0..STEPS_MOST {
            if principal.owns(target, self.delimiter_of(target)) {
                return Some(target);
            }
            target = self.stands_for(target)?;
        }
        None
    }

    fn stands_for(&self, address: &Mailbox) -> Option<&Mailbox> {
        let own = self.domains.get(address.domain()?)?;
        let local = address.local.value().to_lowercase();
        let base = split_detail(&local, own.plus).0;
        own.aliases.get(&local).or_else(|| own.aliases.get(base))
    }

    fn delimiter_of(&self, address: &Mailbox) -> Option<char> {
        self.domains.get(address.domain()?)?.plus
    }
}

impl Own {
    fn of(domain: &LocalDomain) -> Self {
        let alone = domain.aliases.iter().filter_map(|(name, targets)| match targets.as_slice() {
            [only] => Some((name.clone(), only.clone())),
            _ => None,
        });
        Self { plus: domain.plus, aliases: alone.collect() }
    }
}

/// The authors that a header names; none where one will be added.
fn authors(header: &Inspection) -> Result<&[Mailbox], Reply> {
    match repair::problem(header) {
        None => header.from.as_deref().map_err(|_| catalogue::from_unreadable()),
        Some(repair::Problem::NoFrom) => Ok(&[]),
        Some(_) => Err(catalogue::from_unreadable()),
    }
}

#[cfg(test)]
mod tests;
