//! Who may send where, and by which way: the relay policy and the choice of a connector.
//!
//! The types to know: [`Routing`], made once from a configuration, and [`Recipient`], its answer to a RCPT. There is
//! exactly one place that lets mail leave for a foreign domain, [`Routing::may_relay`], and it says yes only to a
//! signed-in principal or to a network that the configuration lists by name.
//!
//! What it deliberately does not do: look up DNS (that is `outbound`'s) or know of sessions.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use postern_queue::Destination;
use postern_smtp::address::{Domain, ForwardPath, Host, LocalPart, Mailbox, split_detail};

use crate::config::{Config, Connector, LocalDomain, Role, Way};
use crate::directory::{Denied, Principal, Users};

/// The relay policy and the connectors of one configuration.
pub struct Routing {
    config: Arc<Config>,
    domains: HashMap<Domain, LocalDomain>,
    connectors: Vec<Arc<Connector>>,
}

/// What a forward-path means here.
#[derive(Debug, PartialEq, Eq)]
pub enum Recipient {
    /// Ours: deliver to these (aliases are expanded; some of them may be elsewhere).
    Local(Vec<Mailbox>),
    /// Ours by its domain, but nobody has that address.
    Unknown,
    /// Somebody else's: only for those who [may relay](Routing::may_relay).
    Foreign(Mailbox),
}

impl Routing {
    /// The policy that a configuration describes.
    pub fn new(config: Arc<Config>) -> Self {
        let domains = config.domains.iter().map(|domain| (domain.name.clone(), domain.clone())).collect();
        let connectors = config.connectors.iter().cloned().map(Arc::new).collect();
        Self { config, domains, connectors }
    }

    /// Whether this client may send to foreign domains: a signed-in principal may; a client in a network listed by
    /// name may on relay listeners; nobody else ever does.
    pub fn may_relay(&self, principal: Option<&Principal>, role: Role, client: IpAddr) -> bool {
        principal.is_some() || (role == Role::Relay && self.config.relay_network(client).is_some())
    }

    /// What a forward-path means here.
    ///
    /// # Errors
    /// [`Denied::Unavailable`] when the directory cannot be asked: neither yes nor no.
    pub fn recipient(&self, to: &ForwardPath, users: &Users) -> Result<Recipient, Denied> {
        let mailbox = match to {
            ForwardPath::Mailbox(mailbox) => mailbox.clone(),
            ForwardPath::Postmaster => self.postmaster_here(),
        };
        if self.local_domain(&mailbox).is_none() && *to != ForwardPath::Postmaster {
            return Ok(Recipient::Foreign(mailbox));
        }
        self.expand(&mailbox, users)
    }

    /// The connector for a destination: for our own domains the one they name; otherwise the one with the most
    /// specific address space, then the lowest cost, then the first in the file.
    pub fn connector(&self, destination: &Destination) -> Option<&Arc<Connector>> {
        let domain: Option<Domain> = destination.0.parse().ok();
        if let Some(local) = domain.as_ref().and_then(|domain| self.domains.get(domain)) {
            return self.connectors.iter().find(|connector| connector.name == local.connector);
        }
        let fit = |connector: &Connector| {
            connector.spaces.iter().filter_map(|space| space.matches(&destination.0)).max()
        };
        self.connectors
            .iter()
            .filter_map(|connector| Some((fit(connector)?, connector)))
            .min_by_key(|(fit, connector)| (Reverse(*fit), connector.cost))
            .map(|(_, connector)| connector)
    }

    /// Our own domains whose mail goes into mailboxes and not to another server.
    pub fn mailbox_destinations(&self) -> impl Iterator<Item = Destination> {
        let own = self.domains.keys().map(|domain| Destination(domain.key().into_owned()));
        own.filter(|destination| {
            let way = self.connector(destination).map(|connector| &connector.to);
            matches!(way, Some(Way::Lmtp(_) | Way::Maildir(_)))
        })
    }

    /// The delimiter of plus-addressing where this mailbox lives; foreign mailboxes have none.
    pub fn plus_of(&self, mailbox: &Mailbox) -> Option<char> {
        self.local_domain(mailbox)?.plus
    }

    /// Follows aliases, each address once, to those that receive. Where an alias leads is the administrator's word:
    /// only the address that was asked for can be unknown.
    fn expand(&self, start: &Mailbox, users: &Users) -> Result<Recipient, Denied> {
        let (mut waiting, mut seen, mut targets) =
            (VecDeque::from([start.clone()]), HashSet::new(), Vec::new());
        while let Some(mailbox) = waiting.pop_front() {
            if !seen.insert(mailbox.clone()) {
                continue;
            }
            match self.meaning(&mailbox, users)? {
                Meaning::Nobody if mailbox == *start => return Ok(Recipient::Unknown),
                Meaning::Nobody | Meaning::Receives => targets.push(mailbox),
                Meaning::StandsFor(others) => {
                    // What stands for itself, too, is the mailbox of that name.
                    let (itself, others): (Vec<_>, Vec<_>) = others
                        .into_iter()
                        .partition(|other| is_same(other, &mailbox, self.plus_of(&mailbox)));
                    targets.extend(itself.first().map(|_| mailbox));
                    waiting.extend(others);
                }
            }
        }
        targets.dedup();
        Ok(if targets.is_empty() { Recipient::Unknown } else { Recipient::Local(targets) })
    }

    /// What one address means, without following it.
    fn meaning(&self, mailbox: &Mailbox, users: &Users) -> Result<Meaning, Denied> {
        let Some(domain) = self.local_domain(mailbox) else { return Ok(Meaning::Receives) };
        let local = mailbox.local.value().to_lowercase();
        let base = split_detail(&local, domain.plus).0;
        for name in if base == local { vec![base] } else { vec![local.as_str(), base] } {
            if let Some(aliased) = domain.aliases.get(name) {
                return Ok(Meaning::StandsFor(aliased.clone()));
            }
            if exists(domain, name, mailbox, users)? {
                return Ok(Meaning::Receives);
            }
        }
        // RFC 5321 §4.5.1: postmaster is always there.
        if base == "postmaster" {
            return Ok(self
                .config
                .postmaster
                .clone()
                .map_or(Meaning::Receives, |own| Meaning::StandsFor(vec![own])));
        }
        Ok(domain.catch_all.clone().map_or(Meaning::Nobody, |target| Meaning::StandsFor(vec![target])))
    }

    fn local_domain(&self, mailbox: &Mailbox) -> Option<&LocalDomain> {
        self.domains.get(mailbox.domain()?)
    }

    /// `<Postmaster>` without a domain is for whoever runs this host (RFC 5321 §4.5.1).
    fn postmaster_here(&self) -> Mailbox {
        if let Some(postmaster) = &self.config.postmaster {
            return postmaster.clone();
        }
        let hostname = &self.config.hostname;
        let first = || self.config.domains.first().map_or(hostname, |domain| &domain.name);
        let domain = if self.domains.contains_key(hostname) { hostname } else { first() };
        Mailbox::new(postmaster_local(), Host::Domain(domain.clone()))
    }
}

/// What a mailbox's deliveries are grouped by.
pub fn destination_of(mailbox: &Mailbox) -> Destination {
    Destination(mailbox.host.key().into_owned())
}

/// What an address of ours means.
enum Meaning {
    /// It is a mailbox, or somebody else's address.
    Receives,
    /// It is an alias, or caught: these are meant.
    StandsFor(Vec<Mailbox>),
    /// Nobody has it.
    Nobody,
}

fn exists(domain: &LocalDomain, name: &str, mailbox: &Mailbox, users: &Users) -> Result<bool, Denied> {
    if domain.mailboxes.contains(name) {
        return Ok(true);
    }
    let Ok(local) = LocalPart::from_value(name) else { return Ok(false) };
    users.is_recipient(&Mailbox::new(local, mailbox.host.clone()))
}

/// Whether an alias's target is the address that the alias was found for: case and detail do not count.
fn is_same(target: &Mailbox, mailbox: &Mailbox, plus: Option<char>) -> bool {
    let (target_local, local) = (target.local.value().to_lowercase(), mailbox.local.value().to_lowercase());
    target.domain() == mailbox.domain()
        && (target_local == local || target_local == split_detail(&local, plus).0)
}

fn postmaster_local() -> LocalPart {
    "postmaster".parse().expect("postmaster is a local part")
}

#[cfg(test)]
mod tests {
    use postern_smtp::secret::Secret;

    use super::*;
    use crate::config::{File, Surroundings};

    const CONFIG: &str = r#"
        hostname = "mail.example.org"
        postmaster = "anna@example.org"
        [[listener]]
        name = "mx"
        role = "relay"
        bind = ["127.0.0.1:0"]
        [[domain]]
        name = "example.org"
        deliver = "store"
        mailboxes = ["info"]
        aliases = { sales = ["anna", "bob@elsewhere.example"], info-copy = ["info"], info = ["info", "anna"] }
        [[domain]]
        name = "all.example"
        deliver = "store"
        catch_all = "anna@example.org"
        [[connector]]
        name = "store"
        to = "maildir:/srv/mail/{local}"
        [[connector]]
        name = "partner"
        to = "mx"
        address_space = ["*.partner.example"]
        [[connector]]
        name = "cheap"
        to = "smtp:relay.example.org"
        address_space = ["partner.example"]
        cost = 5
        [[connector]]
        name = "dear"
        to = "mx"
        address_space = ["partner.example"]
        cost = 50
        [relay]
        networks = [{ name = "printers", networks = ["192.0.2.0/28"] }]
    "#;

    struct House {
        routing: Routing,
        users: Users,
        _folder: tempfile::TempDir,
    }

    impl House {
        fn new() -> Self {
            let file = File::parse(CONFIG, "test").unwrap();
            let config = file.resolve(&Surroundings::default()).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let users = Users::open(folder.path()).unwrap();
            users.add("anna", &Secret::new("secret word"), &["anna@example.org".parse().unwrap()]).unwrap();
            Self { routing: Routing::new(Arc::new(config)), users, _folder: folder }
        }

        fn recipient(&self, address: &str) -> Recipient {
            let path = ForwardPath::Mailbox(address.parse().unwrap());
            self.routing.recipient(&path, &self.users).unwrap()
        }

        fn connector(&self, domain: &str) -> &str {
            &self.routing.connector(&Destination(domain.into())).unwrap().name.0
        }
    }

    fn local(addresses: &[&str]) -> Recipient {
        Recipient::Local(addresses.iter().map(|address| address.parse().unwrap()).collect())
    }

    #[test]
    fn users_and_listed_mailboxes_receive_in_any_case() {
        let house = House::new();
        assert_eq!(house.recipient("Anna@Example.ORG"), local(&["Anna@example.org"]));
        assert_eq!(house.recipient("anna+lists@example.org"), local(&["anna+lists@example.org"]));
    }

    #[test]
    fn nobody_is_unknown_and_others_are_foreign() {
        let house = House::new();
        assert_eq!(house.recipient("nobody@example.org"), Recipient::Unknown);
        assert_eq!(house.recipient("sales-x@example.org"), Recipient::Unknown);
        assert!(matches!(house.recipient("a@elsewhere.example"), Recipient::Foreign(_)));
        assert!(matches!(house.recipient("a@sub.example.org"), Recipient::Foreign(_)));
        assert!(matches!(house.recipient("anna@[127.0.0.1]"), Recipient::Foreign(_)));
    }

    #[test]
    fn an_alias_is_followed_and_one_that_names_itself_keeps_a_copy() {
        let house = House::new();
        assert_eq!(
            house.recipient("sales@example.org"),
            local(&["anna@example.org", "bob@elsewhere.example"])
        );
        assert_eq!(house.recipient("info@example.org"), local(&["info@example.org", "anna@example.org"]));
        assert_eq!(
            house.recipient("info-copy@example.org"),
            local(&["info@example.org", "anna@example.org"])
        );
    }

    #[test]
    fn postmaster_always_has_a_mailbox() {
        let house = House::new();
        assert_eq!(house.recipient("postmaster@example.org"), local(&["anna@example.org"]));
        assert_eq!(house.recipient("Postmaster@all.example"), local(&["anna@example.org"]));
        let bare = house.routing.recipient(&ForwardPath::Postmaster, &house.users).unwrap();
        assert_eq!(bare, local(&["anna@example.org"]));
    }

    #[test]
    fn a_catch_all_catches_only_in_its_own_domain() {
        let house = House::new();
        assert_eq!(house.recipient("whoever@all.example"), local(&["anna@example.org"]));
        assert_eq!(house.recipient("whoever@example.org"), Recipient::Unknown);
    }

    #[test]
    fn a_catch_all_whose_target_is_gone_still_leads_there_and_loses_nothing() {
        let house = House::new();
        house.users.remove("anna").unwrap();
        assert_eq!(house.recipient("whoever@all.example"), local(&["anna@example.org"]));
        assert_eq!(house.recipient("anna@example.org"), Recipient::Unknown);
    }

    #[test]
    fn a_long_chain_of_aliases_loses_nobody() {
        let chain: Vec<String> = (0..200).map(|n| format!("a{n} = [\"a{}\"]", n + 1)).collect();
        let text = CONFIG.replace(
            "aliases = { sales",
            &format!("aliases = {{ {}, a200 = [\"info\"], sales", chain.join(", ")),
        );
        let config = File::parse(&text, "test").unwrap().resolve(&Surroundings::default()).unwrap();
        let house = House { routing: Routing::new(Arc::new(config)), ..House::new() };
        assert_eq!(house.recipient("a0@example.org"), local(&["info@example.org", "anna@example.org"]));
    }

    #[test]
    fn the_most_specific_address_space_wins_and_then_the_lowest_cost() {
        let house = House::new();
        assert_eq!(house.connector("example.org"), "store");
        assert_eq!(house.connector("partner.example"), "cheap");
        assert_eq!(house.connector("mail.partner.example"), "partner");
        assert_eq!(house.connector("elsewhere.example"), "mx");
        assert_eq!(house.connector("[192.0.2.1]"), "mx");
    }

    #[test]
    fn one_of_our_domains_is_ours_in_either_spelling() {
        let text = CONFIG.replace("all.example", "bücher.example");
        let config = File::parse(&text, "test").unwrap().resolve(&Surroundings::default()).unwrap();
        let house = House { routing: Routing::new(Arc::new(config)), ..House::new() };
        for spelling in ["x@bücher.example", "x@xn--bcher-kva.example"] {
            assert_eq!(house.recipient(spelling), local(&["anna@example.org"]));
            let destination = destination_of(&spelling.parse().unwrap());
            assert_eq!(house.routing.connector(&destination).unwrap().name.0, "store");
        }
    }

    #[test]
    fn only_the_signed_in_and_listed_networks_may_relay() {
        let routing = House::new().routing;
        let printer: IpAddr = "192.0.2.5".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.5".parse().unwrap();
        let stranger: IpAddr = "192.0.2.77".parse().unwrap();
        let anna = Principal { name: "anna".into(), addresses: Vec::new() };
        assert!(routing.may_relay(Some(&anna), Role::Submission, stranger));
        assert!(routing.may_relay(None, Role::Relay, printer));
        assert!(routing.may_relay(None, Role::Relay, mapped));
        assert!(!routing.may_relay(None, Role::Submission, printer));
        assert!(!routing.may_relay(None, Role::Relay, stranger));
    }
}
