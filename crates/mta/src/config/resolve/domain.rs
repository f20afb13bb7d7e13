//! `[[domain]]`: the domains Postern is the final destination of, and their aliases.

use std::collections::{HashMap, HashSet};

use postern_smtp::address::{Domain, Host, LocalPart, Mailbox};

use super::Unique;
use super::connector::IMPLICIT;
use crate::config::model::{Connector, LocalDomain, Way};
use crate::config::reader::{Reader, Section};
use crate::config::reference::nearest;

/// So many aliases that lead to others are named.
const FORWARDED_MOST: usize = 3;
const FORWARDING: &str =
    "nothing, if that is meant: spam is forwarded too, and whoever receives it blames this server";

pub(super) fn domains<'a>(
    reader: &mut Reader<'a>,
    top: &Section<'a>,
    connectors: Option<&[Connector]>,
) -> Option<Vec<LocalDomain>> {
    let sections = reader.sections(top, "domain");
    let mut names = Unique::new("a domain");
    let known = match connectors {
        Some(connectors) => connectors.iter().map(|connector| connector.name.0.as_str()).collect(),
        // Something is wrong with one of them, and was noted there; its name is still one to refer to.
        None => [top.given_names("connector"), vec![IMPLICIT]].concat(),
    };
    let mut domains = Vec::new();
    for at in &sections {
        let domain = domain(reader, at, connectors, &known);
        names.check(reader, at, domain.as_ref().map(|domain| domain.name.as_str()));
        domains.push(domain);
    }
    let domains: Vec<_> = domains.into_iter().collect::<Option<_>>()?;
    for (at, index) in sections.iter().zip(0..) {
        refuse_loops(reader, at, &domains, index);
        tell_of_forwarding(reader, at, &domains, &domains[index]);
    }
    for connector in connectors.unwrap_or_default() {
        warn_of_useless_connector(reader, top, connector, &domains);
    }
    Some(domains)
}

fn domain<'a>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    connectors: Option<&[Connector]>,
    known: &[&str],
) -> Option<LocalDomain> {
    let name: Option<Domain> = reader.parsed(at, "name", None);
    refuse_top_level(reader, at, name.as_ref());
    let deliver = deliver(reader, at, connectors, known);
    let mailboxes = reader.list(at, "mailboxes", local_part);
    let in_domain = |text: &str| recipient(text, name.as_ref());
    let aliases = reader.map(at, "aliases", in_domain).map(|aliases| by_local_part(reader, at, aliases));
    let plus = plus(reader, at);
    let catch_all = reader.turned(at, "catch_all", in_domain);
    let backup = reader.switch(at, "backup", None);
    if let (Some(connector), Some(mailboxes), Some(aliases)) = (&deliver, &mailboxes, &aliases) {
        judge_maildir(reader, at, connector, mailboxes.len() + aliases.len());
    }
    if let (Some(connector), Some(backup)) = (&deliver, backup) {
        judge_backup(reader, at, connector, backup);
    }
    Some(LocalDomain {
        name: name?,
        connector: deliver.map(|connector| connector.name.clone())?,
        mailboxes: mailboxes?.into_iter().collect(),
        aliases: aliases?,
        plus: plus?.chars().next(),
        catch_all,
        backup: backup?,
    })
}

fn deliver<'a, 'c>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    connectors: Option<&'c [Connector]>,
    known: &[&str],
) -> Option<&'c Connector> {
    let name = reader.name(at, "deliver")?;
    if !known.contains(&name.as_str()) {
        let remedy = match nearest(&name, known.iter().copied()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("add a [[connector]] with name = \"{name}\", or name an existing one"),
        };
        reader.complain(at, "deliver", format!("there is no connector named \"{name}\""), remedy);
    }
    connectors?.iter().find(|connector| connector.name.0 == name)
}

/// A domain of one label is a registry's, and all its mail would be taken from strangers. `localhost` never is (RFC 6761 §6.3).
fn refuse_top_level(reader: &mut Reader<'_>, at: &Section<'_>, name: Option<&Domain>) {
    let Some(name) = name.filter(|name| !name.as_str().contains('.')) else { return };
    if !name.as_str().eq_ignore_ascii_case("localhost") {
        let what = format!("\"{name}\" is a top-level domain, and nobody's own");
        reader.complain(at, "name", what, "write the whole domain, such as example.org");
    }
}

fn judge_maildir(reader: &mut Reader<'_>, at: &Section<'_>, connector: &Connector, names: usize) {
    let Way::Maildir(template) = &connector.to else { return };
    if names > 1 && !template.tells_mailboxes_apart() {
        let what =
            format!("connector \"{}\" puts the mail of all {names} names into one Maildir", connector.name);
        reader.warn(at, "deliver", what, "put {local} or {address} into the connector's path");
    }
}

/// What anybody sends to a domain of ours is taken. Where the DNS says how it goes on, that is relaying for strangers, unless
/// the domain's owner wants it so.
fn judge_backup(reader: &mut Reader<'_>, at: &Section<'_>, connector: &Connector, backup: bool) {
    match (&connector.to, backup) {
        (Way::Mx { .. }, false) => {
            let what = format!(
                "connector \"{}\" looks the domain up in the DNS, so that strangers could send through this server to whoever \
                 has it: this is an open relay for that domain, or a loop if the way leads back here",
                connector.name
            );
            let remedy = "name a connector that leads to the mailboxes (lmtp, maildir or smtp), or write backup = true if this \
                          server is a backup MX of the domain";
            reader.complain(at, "deliver", what, remedy);
        }
        (to, true) if !matches!(to, Way::Mx { .. }) => {
            let what =
                format!("it has no effect: connector \"{}\" does not look at MX records", connector.name);
            reader.warn(at, "backup", what, "remove the key, or name a connector with to = \"mx\"");
        }
        _ => {}
    }
}

fn warn_of_useless_connector(
    reader: &mut Reader<'_>,
    top: &Section<'_>,
    connector: &Connector,
    domains: &[LocalDomain],
) {
    if connector.spaces.is_empty() && !domains.iter().any(|domain| domain.connector == connector.name) {
        let what =
            format!("\"{}\" is never used: it has no address_space, and no domain names it", connector.name);
        reader.warn(
            top,
            "connector",
            what,
            "give it an address_space, name it in a domain's deliver, or remove it",
        );
    }
}

/// Aliases and catch_all that lead to others: strangers reach them through this server, in the names of their own domains.
fn tell_of_forwarding(
    reader: &mut Reader<'_>,
    at: &Section<'_>,
    domains: &[LocalDomain],
    domain: &LocalDomain,
) {
    let is_foreign = |target: &&Mailbox| match &target.host {
        Host::Domain(name) => !domains.iter().any(|domain| domain.name == *name),
        Host::Literal(_) => true,
    };
    let away =
        domain.aliases.iter().filter_map(|(alias, targets)| Some((alias, targets.iter().find(is_foreign)?)));
    let mut away: Vec<String> = away.map(|(alias, target)| format!("{alias} to {target}")).collect();
    away.sort();
    if !away.is_empty() {
        let (count, more) = (away.len(), if away.len() > FORWARDED_MOST { ", …" } else { "" });
        away.truncate(FORWARDED_MOST);
        let named = away.join(", ");
        let what = format!(
            "aliases ({count}) lead to other domains, so that strangers' mail goes on there: {named}{more}"
        );
        reader.warn(at, "aliases", what, FORWARDING);
    }
    if let Some(target) = domain.catch_all.as_ref().filter(is_foreign) {
        let what = format!(
            "it leads to another domain, so that strangers' mail for any name goes on there: {target}"
        );
        reader.warn(at, "catch_all", what, FORWARDING);
    }
}

/// The meaning of a local part, in lower case.
fn local_part(text: &str) -> Result<String, String> {
    let parsed = text.parse::<LocalPart>();
    parsed.map(|local| key(&local)).map_err(|error| format!("\"{text}\" is not a local part: {error}"))
}

fn key(local: &LocalPart) -> String {
    local.value().to_lowercase()
}

/// A mailbox, or a local part of the domain at hand. When the domain's name is wrong another name stands for it, which is
/// never seen.
fn recipient(text: &str, domain: Option<&Domain>) -> Result<Mailbox, String> {
    let whole = match domain {
        Some(domain) if text.parse::<LocalPart>().is_ok() => format!("{text}@{}", domain.as_str()),
        None if text.parse::<LocalPart>().is_ok() => format!("{text}@invalid"),
        _ => text.to_owned(),
    };
    whole.parse().map_err(|error| format!("\"{text}\" is neither a local part nor a mail address: {error}"))
}

fn by_local_part(
    reader: &mut Reader<'_>,
    at: &Section<'_>,
    aliases: Vec<(String, Vec<Mailbox>)>,
) -> HashMap<String, Vec<Mailbox>> {
    let mut map = HashMap::new();
    for (alias, targets) in aliases {
        if targets.is_empty() {
            reader.complain(
                at,
                "aliases",
                format!("\"{alias}\" leads nowhere"),
                "name at least one recipient, or remove it",
            );
        }
        let local = match local_part(&alias) {
            Ok(local) => local,
            Err(what) => {
                reader.complain(at, "aliases", what, "write the part before the @ only");
                continue;
            }
        };
        if map.insert(local, targets).is_some() {
            let what = format!("\"{alias}\" is written twice, in different case");
            reader.complain(at, "aliases", what, "join the two lists: case does not matter here");
        }
    }
    map
}

/// One delimiter, or nothing.
fn plus<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<String> {
    let text = reader.text(at, "plus")?;
    let fits = |letter: char| letter.is_ascii_punctuation() && !"@\"\\.()<>,;:[]".contains(letter);
    if text.len() > 1 || !text.chars().all(fits) {
        let what = format!("\"{text}\" is not one character that may stand in a local part");
        reader.complain(at, "plus", what, "write \"+\", \"-\" or the like, or \"\" to switch it off");
        return None;
    }
    Some(text)
}

/// A place in the own domains: index of the domain, local part in lower case.
type Place = (usize, String);

fn refuse_loops(reader: &mut Reader<'_>, at: &Section<'_>, domains: &[LocalDomain], index: usize) {
    let mut aliases: Vec<_> = domains[index].aliases.keys().collect();
    aliases.sort();
    for alias in aliases {
        let start = (index, alias.clone());
        // Each circle is reported once, at the first of its places.
        if let Some(way) = way_back(domains, &start).filter(|way| way.iter().min() == Some(&start)) {
            let circle: Vec<_> =
                way.iter().map(|(domain, local)| format!("{local}@{}", domains[*domain].name)).collect();
            let what = format!("mail for \"{alias}\" goes in circles: {}", circle.join(" → "));
            reader.complain(at, "aliases", what, "let one of them lead to a mailbox");
        }
    }
}

/// The way along aliases from a place back to itself. The direct way counts not: an alias may keep a copy for itself.
fn way_back(domains: &[LocalDomain], start: &Place) -> Option<Vec<Place>> {
    let mut ways = vec![vec![start.clone()]];
    let mut seen = HashSet::new();
    while let Some(way) = ways.pop() {
        let here = way.last()?;
        for next in own_targets(domains, here).into_iter().filter(|next| next != here) {
            let onward = || [way.clone(), vec![next.clone()]].concat();
            if next == *start {
                return Some(onward());
            }
            if seen.insert(next.clone()) {
                ways.push(onward());
            }
        }
    }
    None
}

/// Where an alias leads within the own domains.
fn own_targets(domains: &[LocalDomain], (domain, local): &Place) -> Vec<Place> {
    let targets = domains[*domain].aliases.get(local).map(Vec::as_slice).unwrap_or_default();
    targets.iter().filter_map(|target| place(domains, target)).collect()
}

/// The alias that a mailbox means, with its detail or without.
fn place(domains: &[LocalDomain], mailbox: &Mailbox) -> Option<Place> {
    let Host::Domain(name) = &mailbox.host else {
        return None;
    };
    let index = domains.iter().position(|domain| domain.name == *name)?;
    let (domain, local) = (&domains[index], key(&mailbox.local));
    if domain.aliases.contains_key(&local) {
        return Some((index, local));
    }
    let (base, _) = local.split_once(domain.plus?)?;
    Some((index, base.to_owned()))
}
