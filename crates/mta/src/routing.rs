//! Who may send where, and by which way: the relay policy and the choice of a connector.
//!
//! The types to know: [`Routing`], made once from a configuration, and [`Recipient`], its answer to a RCPT. There is
//! exactly one place that lets mail leave for a foreign domain, [`Routing::may_relay`], and it says yes only to a
//! signed-in principal, or to a network or a verified client certificate that the configuration lists by name.
//!
//! What it deliberately does not do: look up DNS (that is `outbound`'s) or know of sessions.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use postern_pki::{ClientIdentity, Pin};
use postern_queue::Destination;
use postern_smtp::address::{Domain, ForwardPath, Host, LocalPart, Mailbox, split_detail};
use postern_smtp::tls::TlsRequirement;

use crate::config::{
    AddressSpace, Config, Connector, ConnectorName, Device, IpPreference, LocalDomain, NamedCertificates,
    PeerDemand, Role, Way,
};
use crate::directory::{Denied, Principal, Users};

/// The relay policy and the connectors of one configuration.
pub struct Routing {
    config: Arc<Config>,
    domains: HashMap<Domain, LocalDomain>,
    connectors: Vec<Arc<Connector>>,
    /// Leads into Postern itself.
    tls_reports: Arc<Connector>,
}

/// Where mail to the address for TLS reports goes. No domain can have this name.
const TLS_REPORTS: &str = "(tls-reports)";

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

/// What is known of a client that wants to send to a foreign domain.
#[derive(Debug, Clone, Copy)]
pub struct Relaying<'a> {
    /// Who has signed in.
    pub principal: Option<&'a Principal>,
    /// The role of the listener that it came to.
    pub role: Role,
    /// Its address.
    pub address: IpAddr,
    /// Who it is by its certificate; only ever one that was verified.
    pub certificate: Option<&'a ClientIdentity>,
    /// The device that it is known as, on device listeners.
    pub device: Option<&'a Device>,
}

/// Why a client may send to foreign domains. Its text is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit<'a> {
    /// Somebody has signed in.
    SignedIn,
    /// It is in the networks of this name.
    Network(&'a str),
    /// Its certificate is one of those of this name.
    Certificate(&'a str),
    /// It is the device of this name, and may send there.
    Device(&'a str),
}

impl Routing {
    /// The policy that a configuration describes.
    pub fn new(config: Arc<Config>) -> Self {
        let domains = config.domains.iter().map(|domain| (domain.name.clone(), domain.clone())).collect();
        let connectors = config.connectors.iter().cloned().map(Arc::new).collect();
        let tls_reports = Arc::new(tls_reports_connector(&config));
        Self { config, domains, connectors, tls_reports }
    }

    /// Why this client may send to this foreign address: a signed-in principal may; on relay listeners a client in a network
    /// that is listed by name may, and one whose verified certificate is; on device listeners a device may that lists the
    /// recipient's domain, whoever has signed in there. Nobody else ever does.
    pub fn may_relay<'a>(&'a self, client: Relaying<'a>, to: &Mailbox) -> Option<Permit<'a>> {
        if client.role == Role::Device {
            let device = client.device.filter(|device| device.may_send_to(to));
            return device.map(|device| Permit::Device(&device.name));
        }
        if client.principal.is_some() {
            return Some(Permit::SignedIn);
        }
        if client.role != Role::Relay {
            return None;
        }
        let by_network = self.config.relay_network(client.address).map(Permit::Network);
        by_network.or_else(|| self.certificates_with(client.certificate?).map(Permit::Certificate))
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

    /// The recipient of something that Postern writes itself.
    pub(crate) fn plain_recipient(&self, address: Mailbox) -> postern_queue::Recipient {
        let destination = self.destination_of(&address);
        postern_queue::Recipient::plain(address, destination)
    }

    /// The connector for a destination: for our own domains the one they name; otherwise the one with the most
    /// specific address space, then the lowest cost, then the first in the file.
    pub fn connector(&self, destination: &Destination) -> Option<&Arc<Connector>> {
        if destination.0 == TLS_REPORTS {
            return Some(&self.tls_reports);
        }
        let domain: Option<Domain> = destination.0.parse().ok();
        if let Some(local) = domain.as_ref().and_then(|domain| self.domains.get(domain)) {
            return self.connectors.iter().find(|connector| connector.name == local.connector);
        }
        self.fitting(destination).min_by_key(Fitting::rank).map(|fitting| fitting.connector)
    }

    /// The connectors with an address space that holds a destination, the best first, each with that space. Mail for our
    /// own domains does not ask them.
    pub fn candidates(&self, destination: &Destination) -> Vec<(&Arc<Connector>, &AddressSpace)> {
        let mut fitting: Vec<Fitting<'_>> = self.fitting(destination).collect();
        fitting.sort_by_key(Fitting::rank);
        fitting.into_iter().map(|fitting| (fitting.connector, fitting.space)).collect()
    }

    /// Whether a destination is one of our own domains.
    pub fn is_own_domain(&self, destination: &Destination) -> bool {
        destination.0.parse().is_ok_and(|domain: Domain| self.domains.contains_key(&domain))
    }

    fn fitting(&self, destination: &Destination) -> impl Iterator<Item = Fitting<'_>> {
        self.connectors.iter().filter_map(|connector| {
            let spaces = connector.spaces.iter();
            let fits = spaces.filter_map(|space| Some((space.matches(&destination.0)?, space)));
            let (fit, space) = fits.max_by_key(|(fit, _)| *fit)?;
            Some(Fitting { fit, space, connector })
        })
    }

    /// Our own domains whose mail goes into mailboxes and not to another server.
    pub fn mailbox_destinations(&self) -> impl Iterator<Item = Destination> {
        let own = self.domains.keys().map(|domain| Destination(domain.key().into_owned()));
        own.filter(|destination| {
            let way = self.connector(destination).map(|connector| &connector.to);
            matches!(way, Some(Way::Lmtp(_) | Way::Maildir(_)))
        })
    }

    /// What a mailbox's deliveries are grouped by: its domain, but for the address that takes TLS reports.
    pub fn destination_of(&self, mailbox: &Mailbox) -> Destination {
        if self.takes_reports(mailbox) {
            Destination(TLS_REPORTS.to_owned())
        } else {
            destination_of(mailbox)
        }
    }

    /// One of our domains, or our host's name, by any of its spellings: the one that destinations have. Names below them
    /// are not meant.
    pub fn own_name(&self, name: &str) -> Option<String> {
        let domain: Domain = name.parse().ok()?;
        let ours = self.domains.contains_key(&domain) || domain == self.config.hostname;
        ours.then(|| domain.key().into_owned())
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
        if self.takes_reports(mailbox) {
            return Ok(Meaning::Receives);
        }
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

    /// The name of the entry that lists this certificate.
    fn certificates_with(&self, certificate: &ClientIdentity) -> Option<&str> {
        let listed = self.config.relay_certificates.iter().find(|named| lists(named, certificate));
        listed.map(|named| named.name.as_str())
    }

    /// Whether this is the address for TLS reports.
    pub fn takes_reports(&self, mailbox: &Mailbox) -> bool {
        let receive = self.config.tls_reports.receive.as_ref();
        receive.is_some_and(|receive| is_same(receive, mailbox, None))
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

/// Takes reports in one at a time. Of the rest of a connector it uses nothing.
fn tls_reports_connector(config: &Config) -> Connector {
    Connector {
        name: ConnectorName("tls-reports".to_owned()),
        to: Way::TlsReports,
        spaces: Vec::new(),
        cost: 0,
        peer: PeerDemand {
            requirement: TlsRequirement::NONE,
            trust: None,
            pins: Vec::new(),
            distrust: Vec::new(),
        },
        dane: false,
        mta_sts: false,
        post_quantum: false,
        source: Vec::new(),
        ip: IpPreference::default(),
        credential: None,
        mechanism: None,
        identity: None,
        concurrency: 1,
        messages_per_connection: 1,
        idle: Duration::ZERO,
        hello: config.hostname.to_string(),
        rate: None,
        retry: config.queue.retry.clone(),
        enabled: true,
    }
}

/// What a mailbox's deliveries are grouped by, whatever the configuration.
pub fn destination_of(mailbox: &Mailbox) -> Destination {
    Destination(mailbox.host.key().into_owned())
}

/// A connector that could take a destination's mail.
struct Fitting<'a> {
    /// How specific its best address space is.
    fit: usize,
    space: &'a AddressSpace,
    connector: &'a Arc<Connector>,
}

impl Fitting<'_> {
    /// The least is the best; among equals the first in the file.
    fn rank(&self) -> (Reverse<usize>, u32) {
        (Reverse(self.fit), self.connector.cost)
    }
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

/// Whether a verified certificate is one of these: by a name that it bears, or by a digest. A name is a mail address or a
/// host name and is compared with those of its own kind only, whole and in any case; a `*` stands for itself.
fn lists(named: &NamedCertificates, certificate: &ClientIdentity) -> bool {
    let bears = |name: &String| {
        let borne = if name.contains('@') { &certificate.emails } else { &certificate.dns_names };
        borne.iter().any(|own| own.eq_ignore_ascii_case(name))
    };
    let pinned = |pin: &Pin| match pin {
        Pin::Certificate(digest) => *digest == certificate.sha256,
        Pin::Spki(digest) => *digest == certificate.spki_sha256,
    };
    named.names.iter().any(bears) || named.pins.iter().any(pinned)
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

impl fmt::Display for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignedIn => f.write_str("signing in"),
            Self::Network(name) => write!(f, "relay.networks {name}"),
            Self::Certificate(name) => write!(f, "relay.certificates {name}"),
            Self::Device(name) => write!(f, "device {name}"),
        }
    }
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
        let candidates = |domain: &str| -> Vec<String> {
            let candidates = house.routing.candidates(&Destination(domain.into()));
            candidates.iter().map(|(connector, space)| format!("{} {space}", connector.name)).collect()
        };
        assert_eq!(candidates("partner.example"), ["cheap partner.example", "dear partner.example", "mx *"]);
        assert_eq!(candidates("mail.partner.example"), ["partner *.partner.example", "mx *"]);
        assert_eq!(house.connector("[192.0.2.1]"), "mx");
    }

    #[test]
    fn the_address_for_tls_reports_is_ours_alone_in_its_destination() {
        let receive = "[tls_reports]\nreceive = \"Reports@example.org\"\n";
        let config = File::parse(&format!("{CONFIG}\n{receive}"), "test");
        let config = config.unwrap().resolve(&Surroundings::default()).unwrap();
        let house = House { routing: Routing::new(Arc::new(config)), ..House::new() };
        assert_eq!(house.recipient("reports@Example.org"), local(&["reports@Example.org"]));
        let destination = house.routing.destination_of(&"REPORTS@example.org".parse().unwrap());
        let connector = house.routing.connector(&destination).unwrap();
        assert_eq!(connector.to, Way::TlsReports);
        let other = house.routing.destination_of(&"anna@example.org".parse().unwrap());
        assert_eq!(house.routing.connector(&other).unwrap().name.0, "store");
        assert!(destination.0.parse::<Domain>().is_err(), "no domain can have that name");
    }

    #[test]
    fn our_domains_and_our_own_name_are_ours_and_no_name_below_them() {
        let house = House::new();
        for (name, ours) in [
            ("example.org", true),
            ("Example.ORG", true),
            ("mail.example.org", true),
            ("a.example.org", false),
            ("x.mail.example.org", false),
            ("all.example", true),
            ("xample.org", false),
            ("partner.example", false),
            ("org", false),
            ("", false),
        ] {
            let own = ours.then(|| name.to_lowercase());
            assert_eq!(house.routing.own_name(name), own, "{name}");
        }
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
            let name = spelling.trim_start_matches("x@");
            assert_eq!(house.routing.own_name(name).unwrap(), destination.0);
        }
    }

    #[test]
    fn only_the_signed_in_and_listed_networks_may_relay() {
        let routing = House::new().routing;
        let printer: IpAddr = "192.0.2.5".parse().unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.5".parse().unwrap();
        let stranger: IpAddr = "192.0.2.77".parse().unwrap();
        let anna = Principal::named("anna", Vec::new());
        let permit = |principal, role, address| {
            routing.may_relay(
                Relaying { principal, role, address, certificate: None, device: None },
                &elsewhere(),
            )
        };
        assert_eq!(permit(Some(&anna), Role::Submission, stranger), Some(Permit::SignedIn));
        assert_eq!(permit(None, Role::Relay, printer), Some(Permit::Network("printers")));
        assert_eq!(permit(None, Role::Relay, mapped), Some(Permit::Network("printers")));
        assert_eq!(permit(None, Role::Submission, printer), None);
        assert_eq!(permit(None, Role::Relay, stranger), None);
    }

    fn certificate(emails: &[&str], dns_names: &[&str]) -> ClientIdentity {
        let texts = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        ClientIdentity {
            emails: texts(emails),
            dns_names: texts(dns_names),
            sha256: [1; 32],
            spki_sha256: [2; 32],
        }
    }

    /// Routing with these lists of certificates in place of the file's.
    fn with_certificates(lists: &[NamedCertificates]) -> Routing {
        let mut config = (*House::new().routing.config).clone();
        config.relay_certificates = lists.to_vec();
        Routing::new(Arc::new(config))
    }

    fn named(name: &str, names: &[&str], pins: &[Pin]) -> NamedCertificates {
        NamedCertificates {
            name: name.into(),
            names: names.iter().map(ToString::to_string).collect(),
            pins: pins.to_vec(),
        }
    }

    fn elsewhere() -> Mailbox {
        "x@elsewhere.example".parse().unwrap()
    }

    fn permit<'a>(routing: &'a Routing, role: Role, certificate: &'a ClientIdentity) -> Option<Permit<'a>> {
        let (address, certificate) = ("192.0.2.77".parse().unwrap(), Some(certificate));
        let client = Relaying { principal: None, role, address, certificate, device: None };
        routing.may_relay(client, &elsewhere())
    }

    #[test]
    fn a_listed_certificate_may_relay_on_relay_listeners_by_its_whole_name() {
        let routing = with_certificates(&[
            named("branch", &["mail.branch.example"], &[]),
            named("fax", &["fax@example.org"], &[]),
        ]);
        let branch = certificate(&[], &["other.example", "MAIL.branch.example"]);
        assert_eq!(permit(&routing, Role::Relay, &branch), Some(Permit::Certificate("branch")));
        assert_eq!(permit(&routing, Role::Submission, &branch), None);
        let fax = certificate(&["Fax@Example.ORG"], &[]);
        assert_eq!(permit(&routing, Role::Relay, &fax), Some(Permit::Certificate("fax")));
        assert_eq!(Permit::Certificate("fax").to_string(), "relay.certificates fax");
    }

    #[test]
    fn a_certificate_may_relay_by_no_other_name_than_a_listed_one() {
        let routing = with_certificates(&[named("branch", &["mail.branch.example", "fax@example.org"], &[])]);
        for dns_name in [
            "branch.example",
            "mail.branch.example.attacker.example",
            "xmail.branch.example",
            "*.branch.example",
            "*",
            "",
            "mail.branch.example.",
            "mail.branch.example\0.attacker.example",
            // A mail address in the place of a host name is none.
            "fax@example.org",
        ] {
            assert_eq!(permit(&routing, Role::Relay, &certificate(&[], &[dns_name])), None, "{dns_name:?}");
        }
        for email in
            ["ax@example.org", "fax@example.org.attacker.example", "@example.org", "mail.branch.example"]
        {
            assert_eq!(permit(&routing, Role::Relay, &certificate(&[email], &[])), None, "{email:?}");
        }
        assert_eq!(permit(&routing, Role::Relay, &certificate(&[], &[])), None);
    }

    #[test]
    fn a_pinned_certificate_or_key_may_relay_whatever_its_names() {
        let nameless = certificate(&[], &[]);
        for (pin, expected) in [
            (Pin::Certificate([1; 32]), Some(Permit::Certificate("pinned"))),
            (Pin::Spki([2; 32]), Some(Permit::Certificate("pinned"))),
            (Pin::Certificate([2; 32]), None),
            (Pin::Spki([1; 32]), None),
        ] {
            let routing = with_certificates(&[named("pinned", &[], &[pin])]);
            assert_eq!(permit(&routing, Role::Relay, &nameless), expected, "{pin}");
        }
    }

    #[test]
    fn without_a_list_no_certificate_may_relay() {
        let routing = House::new().routing;
        let anybody = certificate(&["anna@example.org"], &["mail.example.org"]);
        assert_eq!(permit(&routing, Role::Relay, &anybody), None);
        let empty = with_certificates(&[named("nobody", &[], &[])]);
        assert_eq!(permit(&empty, Role::Relay, &anybody), None);
    }
}
