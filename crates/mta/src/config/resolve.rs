//! From [`File`] to [`Config`]: section by section, then what only shows when all of them are known.
//!
//! Everything goes through a [`Reader`], which takes the default from the reference, notes each problem with its place,
//! and remembers which value came from where. Functions here give `None` only when a problem was noted, and nothing is
//! given up before everything has been read, so that all problems show at once.
//!
//! What it deliberately does not do: look at files, addresses or name servers. The machine is known by [`Surroundings`].

mod acme;
mod ca;
mod certificates;
mod closed;
mod connector;
mod device;
mod directory;
mod domain;
mod http;
mod inbound;
mod listener;
mod outbound;
mod peer;
mod protection;
mod relay;
mod send_as;
mod sessions;
mod tls_reports;
mod width;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use postern_dns::DnssecMode;
use postern_queue::retry::Schedule;
use postern_smtp::address::{Domain, Mailbox};

use super::check::Closed;
use super::files::Named;
use super::model::{Config, Dns, Queue, StoreKind};
use super::reader::{Reader, Section, positive_duration};
use super::show::Setting;
use super::{File, Problem, Surroundings};
use crate::event::Level;
use crate::history::Retention;
use crate::observe::{LogFormat, LogStyle};
use closed::Hole;

/// What came of reading a file. Without problems there is a configuration.
pub(super) struct Resolved {
    pub(super) config: Option<Config>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    pub(super) settings: Vec<Setting>,
    pub(super) named: Vec<Named>,
    /// The proof that it makes no open relay.
    pub(super) closed: Option<Closed>,
}

pub(super) fn resolve<'a>(file: &'a File, surroundings: &'a Surroundings) -> Resolved {
    let mut reader = Reader::new(file);
    let config = read(&mut reader, surroundings);
    let Reader { mut problems, mut warnings, settings, named, .. } = reader;
    let mut closed = None;
    if let (Some(config), true) = (&config, problems.is_empty()) {
        let told = |hole: Hole| file.problem(None, hole.key, hole.what, hole.remedy.to_owned());
        match closed::prove(config, &surroundings.gateways) {
            Ok(proof) => closed = Some(proof),
            Err(holes) => problems.extend(holes.into_iter().map(told)),
        }
    }
    problems.sort_by_key(|problem| problem.line);
    warnings.sort_by_key(|warning| warning.line);
    Resolved { config, problems, warnings, settings, named, closed }
}

/// `None` only with a problem noted. Everything is read before anything is given up, so that all problems show at once.
fn read<'a>(reader: &mut Reader<'a>, surroundings: &'a Surroundings) -> Option<Config> {
    let top = &reader.top();
    let hostname = hostname(reader, top);
    let data_dir = reader.path(top, "data_dir");
    let place = reader.place(top, "data_dir", data_dir.as_ref());
    reader.named.extend(place.map(Named::DataDir));
    let postmaster = reader.parsed(top, "postmaster", None);
    let log = log(reader, top);
    let dns = dns(reader, top);
    let limits = reader.section(top, "limits");
    let sessions = listener::limits(reader, &limits).map(|(limits, _)| limits.sessions);
    let kept_sessions = sessions::kept(reader, top);
    let mut bound = HashSet::new();
    let authorities = acme::acme(reader, top, &mut bound);
    let own = certificates::Own { hostname: hostname.as_ref(), challenges: &authorities.challenges };
    let (tls, identities) = certificates::tls(reader, top, own, &surroundings.identities);
    let minimum = tls.as_ref().map(|tls| tls.minimum);
    let of_all = &listener::OfAll { section: &limits, sessions, minimum, identities: &identities };
    let listeners = listener::listeners(reader, top, of_all, &mut bound);
    let http = http::http(reader, top, &mut bound);
    if let (Some(tls), Some(listeners)) = (&tls, &listeners) {
        acme::judge_use(reader, &authorities, tls, listeners);
    }
    let ca = ca::ca(reader, top, http.as_ref());
    let auth = directory::auth(reader, top);
    let directories = directory::directories(reader, top);
    let protection = protection::protection(reader, top);
    let send_as = send_as::rules(reader, top, directories.as_deref());
    let inbound_policies = inbound::policies(reader, top, minimum, listeners.as_deref());
    let devices = device::devices(reader, top, &surroundings.gateways, listeners.as_deref());
    let (relay_networks, relay_certificates) =
        relay::relay(reader, top, &surroundings.gateways, listeners.as_deref());
    let queue = queue(reader, top);
    let outbound = outbound::outbound(reader, top, dns.as_ref());
    let common = connector::Common {
        hostname: hostname.as_ref(),
        dns: dns.as_ref(),
        retry: queue.as_ref().map(|queue| &queue.retry),
        outbound: &outbound,
        identities: &identities,
    };
    let connectors = connector::connectors(reader, top, common);
    let domains = domain::domains(reader, top, connectors.as_deref());
    let report_from = report_from(reader, top, hostname.as_ref());
    let own = tls_reports::Own {
        hostname: hostname.as_ref(),
        report_from: report_from.as_ref(),
        domains: domains.as_deref(),
    };
    let tls_reports = tls_reports::tls_reports(reader, top, own);
    let certificates = certificates::certificates(reader, top);
    let history = history(reader, top);
    let metrics = certificates::metrics(reader, top, &mut bound);
    Some(Config {
        hostname: hostname?,
        data_dir: data_dir?,
        postmaster,
        report_from: report_from?,
        log: log?,
        dns: dns?,
        tls: tls?,
        acme: authorities.all?,
        sessions: sessions?,
        kept_sessions: kept_sessions?,
        listeners: listeners?,
        domains: domains?,
        connectors: connectors?,
        auth: auth?,
        directories: directories?,
        protection: protection?,
        send_as: send_as?,
        devices: devices?,
        relay_networks: relay_networks?,
        relay_certificates: relay_certificates?,
        inbound_policies: inbound_policies?,
        outbound: outbound.outbound?,
        tls_reports: tls_reports?,
        certificates: certificates?,
        history: history?,
        metrics: metrics?,
        queue: queue?,
        http: http?,
        ca: ca?,
        warnings: Vec::new(),
        settings: Vec::new(),
    })
}

fn hostname<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Option<Domain> {
    let hostname: Domain = reader.parsed(top, "hostname", None)?;
    if !hostname.as_str().contains('.') {
        let what =
            format!("\"{}\" is not a full name; many servers refuse mail from such", hostname.as_str());
        reader.warn(
            top,
            "hostname",
            what,
            "write the name under which the world knows this machine: mail.example.org",
        );
    }
    Some(hostname)
}

fn log<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Option<LogStyle> {
    let at = &reader.section(top, "log");
    let format = reader.choice(at, "format", None, &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    let level = reader.choice(at, "level", None, &[("info", Level::Info), ("debug", Level::Debug)]);
    Some(LogStyle { format: format?, level: level? })
}

fn history<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Option<Retention> {
    let at = &reader.section(top, "history");
    let keep = reader.duration_or_never(at, "keep");
    let (events, size) = (reader.count(at, "events"), reader.size(at, "size"));
    Some(Retention { keep: keep?, events: events?, size: size? })
}

fn dns<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Option<Dns> {
    let at = &reader.section(top, "dns");
    let servers = reader.list(at, "servers", name_server);
    let timeout = reader.duration(at, "timeout");
    if at.writes("servers") && servers.as_ref().is_some_and(Vec::is_empty) {
        reader.complain(
            at,
            "servers",
            "the list is empty",
            "name a server, or remove the key to use the system's",
        );
    }
    let dnssec = dnssec(reader, at);
    let dns = Dns { servers: servers.unwrap_or_default(), timeout: timeout?, dnssec: dnssec? };
    if at.writes("dnssec") && dns.dnssec == DnssecMode::Resolver && peer::no_server_is_here(&dns) {
        let what = "it has no effect: the word of name servers on other machines is not taken";
        let remedy = "name a validating resolver on this machine in servers, or write \"own\"";
        reader.warn(at, "dnssec", what, remedy);
    }
    Some(dns)
}

fn dnssec<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<DnssecMode> {
    let anchors = reader.path(at, "trust_anchors");
    let place = reader.place(at, "trust_anchors", anchors.as_ref());
    reader.named.extend(place.map(Named::Anchors));
    let own = DnssecMode::Own { anchors: None };
    let words = [("resolver", &DnssecMode::Resolver), ("own", &own), ("off", &DnssecMode::Off)];
    let dnssec = reader.choice(at, "dnssec", None, &words)?;
    if at.writes("trust_anchors") && *dnssec != own {
        let what = "it has no effect: only Postern's own validation uses it";
        reader.warn(at, "trust_anchors", what, "write dnssec = \"own\", or remove the key");
    }
    Some(if *dnssec == own { DnssecMode::Own { anchors } } else { dnssec.clone() })
}

fn name_server(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, 53));
    }
    text.parse().map_err(|_| format!("\"{text}\" is not an address such as \"127.0.0.1\" or \"[::1]:5353\""))
}

fn queue<'a>(reader: &mut Reader<'a>, top: &Section<'a>) -> Option<Queue> {
    let at = &reader.section(top, "queue");
    let store =
        reader.choice(at, "store", None, &[("sqlite", StoreKind::Sqlite), ("memory", StoreKind::Memory)]);
    if store == Some(StoreKind::Memory) {
        let what = "messages are kept in memory: a restart loses those that wait";
        reader.warn(at, "store", what, "write store = \"sqlite\" outside of trials");
    }
    let retry = schedule(reader, at, None);
    let lease = reader.duration(at, "lease");
    let deliveries = reader.count(at, "deliveries");
    Some(Queue { store: store?, retry: retry?, lease: lease?, deliveries: deliveries? })
}

/// What a section says of trying again; `inherited` is what holds where it says nothing.
fn schedule<'a>(reader: &mut Reader<'a>, at: &Section<'a>, inherited: Option<&Schedule>) -> Option<Schedule> {
    let intervals = reader.list(at, "retry", positive_duration);
    let jitter = reader.share(at, "jitter");
    let expire = reader.duration(at, "expire");
    let delay_warning = reader.duration_or_never(at, "delay_warning");
    let intervals = intervals.or_else(|| inherited.map(|all| all.intervals.clone()));
    let expire = expire.or_else(|| inherited.map(|all| all.expire));
    if let (Some(intervals), Some(expire)) = (&intervals, expire) {
        judge_schedule(reader, at, intervals, expire);
    }
    if let (Some(warning), Some(expire)) = (delay_warning, expire)
        && warning >= expire
    {
        let what = "senders are told of a delay only after the message has expired, so never";
        reader.warn(at, "delay_warning", what, "make it shorter than expire, or write \"never\"");
    }
    let delay_warning = match delay_warning {
        Some(warning) => Some(warning).filter(|warning| !warning.is_zero()),
        None => inherited?.delay_warning,
    };
    let jitter = jitter.or_else(|| inherited.map(|all| all.jitter));
    Some(Schedule { intervals: intervals?, jitter: jitter?, expire: expire?, delay_warning })
}

/// Two settings that do not fit are the fault of a section that writes one of them.
fn judge_schedule(reader: &mut Reader<'_>, at: &Section<'_>, intervals: &[Duration], expire: Duration) {
    if !at.writes("expire") && !at.writes("retry") {
        return;
    }
    let Some(first) = intervals.first() else {
        let remedy = "write at least one time span, or remove the key for the default schedule";
        return reader.complain(at, "retry", "the list is empty: nothing would ever be tried again", remedy);
    };
    if expire < *first {
        let key = if at.writes("expire") { "expire" } else { "retry" };
        let what = "messages expire before they are tried a second time";
        let remedy = "make expire longer than the first time span of retry; five days are usual";
        reader.complain(at, key, what, remedy);
    }
}

fn report_from<'a>(reader: &mut Reader<'a>, top: &Section<'a>, hostname: Option<&Domain>) -> Option<Mailbox> {
    let at = &reader.section(top, "report");
    // Without a host name there is a problem already, and nothing to make the default of.
    let default = hostname.map(|name| format!("postmaster@{}", name.as_str()));
    reader.parsed(at, "from", default)
}

/// Finds names that are given twice.
struct Unique {
    kind: &'static str,
    seen: HashSet<String>,
}

impl Unique {
    fn new(kind: &'static str) -> Self {
        Self { kind, seen: HashSet::new() }
    }

    /// `name` is what the section's name was read as; without, it is taken as written, for others clash with it all the same.
    fn check(&mut self, reader: &mut Reader<'_>, at: &Section<'_>, name: Option<&str>) {
        let Some(name) = name.or_else(|| at.given_name()) else { return };
        if !self.seen.insert(name.to_owned()) {
            let what = format!("there is {} named \"{name}\" above already", self.kind);
            reader.complain(at, "name", what, "give each its own name, or remove one");
        }
    }
}

/// An address or a network; `192.0.2.5` means that address only.
fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    text.parse().map_err(|_| format!("\"{text}\" is not an address or a network such as \"192.0.2.0/28\""))
}
