//! Scripted DNS: a [`Zone`] says what every name answers, two things answer from it.
//!
//! - [`ScriptedResolver`] is a [`Resolver`] in memory, for tests of one crate.
//! - [`serve`] is a real name server on loopback, UDP and TCP on one port, for tests that start the real program; the
//!   example `dns` is the same as a program of its own.
//!
//! Both know failures, silence, truncated answers, and DNSSEC as a validating resolver shows it (secure and bogus
//! names), record what they were asked, and can be changed while they run. Names nobody scripted do not exist. Nothing
//! here ever asks the real DNS, and nothing is signed: for that there is [`crate::signed`].

mod server;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use postern_dns::{Answer, Dnssec, LookupError, Mx, Resolver, TlsaRecord};

pub use server::{Server, serve};

/// Aliases followed before an answer ends.
const MAX_ALIASES: usize = 8;

/// What every name answers. Names are written without a last dot and compared in lower case.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    names: BTreeMap<String, Vec<Record>>,
    faults: BTreeMap<String, Fault>,
    truncated: BTreeSet<String>,
    marks: BTreeMap<String, Mark>,
    all_secure: bool,
    ttl: u32,
}

/// One record, without its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// Preference and exchange; `.` for the root.
    Mx(u16, String),
    /// Text.
    Txt(String),
    /// A host name.
    Ptr(String),
    /// The name that this one is an alias of.
    Cname(String),
    /// A certificate to expect.
    Tlsa(TlsaRecord),
}

/// What a question asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names of the record types say it all
pub enum Kind {
    A,
    Aaaa,
    Mx,
    Txt,
    Ptr,
    Cname,
    Tlsa,
    /// Any other type, by number; nothing has records of these.
    Other(u16),
}

/// What a validating resolver makes of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Secure,
    Insecure,
    Bogus,
}

/// A name that does not answer as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Failure,
    Silence,
}

/// What a zone answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Records with their owners, aliases first.
    Records(Vec<(String, Record)>),
    /// NODATA.
    NoRecords,
    /// NXDOMAIN.
    NoSuchDomain,
    /// SERVFAIL.
    Failure,
    /// Nothing at all.
    Silence,
}

impl Zone {
    /// A zone in which nothing exists, with a time to live of 0 so that changes are seen at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a mail exchanger.
    #[must_use]
    pub fn mx(self, domain: &str, preference: u16, exchange: &str) -> Self {
        self.record(domain, Record::Mx(preference, plain(exchange)))
    }

    /// Says that a domain takes no mail (RFC 7505).
    #[must_use]
    pub fn null_mx(self, domain: &str) -> Self {
        self.record(domain, Record::Mx(0, ".".to_owned()))
    }

    /// Adds an address of either family.
    #[must_use]
    pub fn address(self, host: &str, address: impl Into<IpAddr>) -> Self {
        match address.into() {
            IpAddr::V4(four) => self.record(host, Record::A(four)),
            IpAddr::V6(six) => self.record(host, Record::Aaaa(six)),
        }
    }

    /// Adds a text.
    #[must_use]
    pub fn txt(self, name: &str, text: &str) -> Self {
        self.record(name, Record::Txt(text.to_owned()))
    }

    /// Gives an address a name.
    #[must_use]
    pub fn ptr(self, address: impl Into<IpAddr>, host: &str) -> Self {
        self.record(&reverse_name(address.into()), Record::Ptr(plain(host)))
    }

    /// Makes a name an alias.
    #[must_use]
    pub fn cname(self, alias: &str, target: &str) -> Self {
        self.record(alias, Record::Cname(plain(target)))
    }

    /// Adds a certificate to expect; `data` is what must match.
    #[must_use]
    pub fn tlsa(self, name: &str, usage: u8, selector: u8, matching: u8, data: &[u8]) -> Self {
        self.record(name, Record::Tlsa(TlsaRecord { usage, selector, matching, data: data.to_vec() }))
    }

    /// Adds any record.
    #[must_use]
    pub fn record(mut self, name: &str, record: Record) -> Self {
        self.names.entry(plain(name)).or_default().push(record);
        self
    }

    /// A name that exists and has no records of its own.
    #[must_use]
    pub fn empty(mut self, name: &str) -> Self {
        self.names.entry(plain(name)).or_default();
        self
    }

    /// Questions about this name fail (SERVFAIL).
    #[must_use]
    pub fn failing(mut self, name: &str) -> Self {
        self.faults.insert(plain(name), Fault::Failure);
        self
    }

    /// Questions about this name get no answer.
    #[must_use]
    pub fn silent(mut self, name: &str) -> Self {
        self.faults.insert(plain(name), Fault::Silence);
        self
    }

    /// Over UDP, answers about this name are cut and say so; TCP has them whole.
    #[must_use]
    pub fn truncated(mut self, name: &str) -> Self {
        self.truncated.insert(plain(name));
        self
    }

    /// Answers about this name are secure (AD), of whatever kind, that there are none included. An answer by way of
    /// aliases is secure when every one of the names is.
    #[must_use]
    pub fn secure(self, name: &str) -> Self {
        self.mark(name, Mark::Secure)
    }

    /// Answers about this name are provably unsigned, even in a zone that is [`all_secure`](Self::all_secure).
    #[must_use]
    pub fn insecure(self, name: &str) -> Self {
        self.mark(name, Mark::Insecure)
    }

    /// The signatures for this name are wrong: SERVFAIL, unless the question says not to check (CD).
    #[must_use]
    pub fn bogus(self, name: &str) -> Self {
        self.mark(name, Mark::Bogus)
    }

    /// Every name is secure that is not marked otherwise.
    #[must_use]
    pub fn all_secure(mut self) -> Self {
        self.all_secure = true;
        self
    }

    fn mark(mut self, name: &str, mark: Mark) -> Self {
        self.marks.insert(plain(name), mark);
        self
    }

    /// The time to live of every record, in seconds.
    #[must_use]
    pub fn ttl(mut self, seconds: u32) -> Self {
        self.ttl = seconds;
        self
    }

    /// Forgets all about a name.
    pub fn remove(&mut self, name: &str) {
        let name = plain(name);
        self.names.remove(&name);
        self.faults.remove(&name);
        self.truncated.remove(&name);
        self.marks.remove(&name);
    }

    /// What the zone answers to a question.
    pub fn find(&self, name: &str, kind: Kind) -> Found {
        let mut owner = plain(name);
        let mut answer = Vec::new();
        for _ in 0..MAX_ALIASES {
            match self.faults.get(&owner) {
                Some(Fault::Failure) => return Found::Failure,
                Some(Fault::Silence) => return Found::Silence,
                None => {}
            }
            let records = self.names.get(&owner).map_or(&[][..], Vec::as_slice);
            let wanted = records.iter().filter(|record| record.kind() == kind);
            answer.extend(wanted.map(|record| (owner.clone(), record.clone())));
            let Some(target) = self.target(&owner, kind) else { break };
            answer.push((owner, Record::Cname(target.clone())));
            owner = target;
        }
        match answer.is_empty() {
            false => Found::Records(answer),
            true if self.exists(&owner) => Found::NoRecords,
            true => Found::NoSuchDomain,
        }
    }

    /// What a validating resolver says of the answer to a question: the weakest status along its aliases. Names without
    /// a mark are indeterminate. The root is secure as soon as anything is marked, so that validation is seen to work.
    pub fn status(&self, name: &str, kind: Kind) -> Dnssec {
        let mut owner = plain(name);
        let mut status = self.status_of(&owner);
        for _ in 0..MAX_ALIASES {
            let Some(target) = self.target(&owner, kind) else { break };
            status = status.and(self.status_of(&target));
            owner = target;
        }
        status
    }

    fn status_of(&self, name: &str) -> Dnssec {
        let validates = self.all_secure || !self.marks.is_empty();
        match self.marks.get(name) {
            Some(Mark::Secure) => Dnssec::Secure,
            Some(Mark::Insecure) => Dnssec::Insecure,
            Some(Mark::Bogus) => Dnssec::Bogus,
            None if self.all_secure || (name == "." && validates) => Dnssec::Secure,
            None => Dnssec::Indeterminate,
        }
    }

    fn target(&self, owner: &str, kind: Kind) -> Option<String> {
        let records = self.names.get(owner)?;
        records.iter().find_map(|record| match record {
            Record::Cname(target) if kind != Kind::Cname => Some(target.clone()),
            _ => None,
        })
    }

    /// Whether there is a name, or one below it (RFC 8020).
    fn exists(&self, name: &str) -> bool {
        let below = format!(".{name}");
        name == "." || self.names.keys().any(|known| known == name || known.ends_with(&below))
    }
}

/// One line a record: `NAME TYPE VALUE`. Types are MX, A, AAAA, TXT, PTR (an address may stand as the name), CNAME and
/// TLSA (`3 1 1 2bb1…`); `EMPTY`, `SERVFAIL`, `SILENT`, `TRUNCATED`, `SECURE`, `INSECURE` and `BOGUS` have no value; `TTL
/// SECONDS` and `ALL SECURE` stand alone. `#` begins a comment line.
impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut zone = Self::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                zone = zone.with_line(line).map_err(|what| format!("line {}: {what}: {line}", number + 1))?;
            }
        }
        Ok(zone)
    }
}

impl Zone {
    fn with_line(self, line: &str) -> Result<Self, &'static str> {
        let (name, rest) = first_word(line);
        let (kind, value) = first_word(rest);
        let address = || value.parse::<IpAddr>().map_err(|_| "not an address");
        Ok(match (name, kind) {
            ("TTL", seconds) => self.ttl(seconds.parse().map_err(|_| "not a number of seconds")?),
            (_, "MX") => {
                let (preference, exchange) = first_word(value);
                self.mx(name, preference.parse().map_err(|_| "not a preference")?, exchange)
            }
            (_, "A" | "AAAA") => self.address(name, address()?),
            (_, "TXT") => self.txt(name, value),
            (_, "PTR") => match name.parse::<IpAddr>() {
                Ok(address) => self.ptr(address, value),
                Err(_) => self.record(name, Record::Ptr(plain(value))),
            },
            (_, "CNAME") => self.cname(name, value),
            (_, "TLSA") => self.record(name, Record::Tlsa(tlsa(value).ok_or("not a TLSA record")?)),
            ("ALL", "SECURE") => self.all_secure(),
            (_, "SECURE") => self.secure(name),
            (_, "INSECURE") => self.insecure(name),
            (_, "BOGUS") => self.bogus(name),
            (_, "EMPTY") => self.empty(name),
            (_, "SERVFAIL") => self.failing(name),
            (_, "SILENT") => self.silent(name),
            (_, "TRUNCATED") => self.truncated(name),
            _ => return Err("not a known type"),
        })
    }
}

impl Record {
    fn kind(&self) -> Kind {
        match self {
            Self::A(_) => Kind::A,
            Self::Aaaa(_) => Kind::Aaaa,
            Self::Mx(..) => Kind::Mx,
            Self::Txt(_) => Kind::Txt,
            Self::Ptr(_) => Kind::Ptr,
            Self::Cname(_) => Kind::Cname,
            Self::Tlsa(_) => Kind::Tlsa,
        }
    }
}

/// A resolver in memory. Clones share one zone and one record of questions.
#[derive(Debug, Clone, Default)]
pub struct ScriptedResolver {
    script: Script,
}

impl ScriptedResolver {
    /// Answers from a zone.
    pub fn new(zone: Zone) -> Self {
        Self { script: Script::new(zone) }
    }

    /// What was asked so far, in order.
    pub fn queries(&self) -> Vec<(String, Kind)> {
        self.script.lock().queries.clone()
    }

    /// Changes the zone; the next question sees it.
    pub fn change(&self, change: impl FnOnce(Zone) -> Zone) {
        self.script.change(change);
    }

    fn ask<T>(
        &self,
        name: &str,
        kind: Kind,
        pick: impl Fn(&Record) -> Option<T>,
    ) -> Result<Answer<Vec<T>>, LookupError> {
        let found = self.script.ask(name, kind);
        let script = self.script.lock();
        let dnssec = script.zone.status(name, kind);
        let temporary = |what: &str| LookupError::Temporary(what.to_owned());
        let answers = match found {
            Found::Failure => return Err(temporary("the name server answered: SERVFAIL")),
            Found::Silence => return Err(temporary("the name server did not answer in time")),
            _ if dnssec == Dnssec::Bogus => {
                return Err(LookupError::Bogus(format!(
                    "the DNSSEC signatures for {name} are wrong: scripted"
                )));
            }
            Found::NoRecords => return Err(LookupError::NoRecords { dnssec }),
            Found::NoSuchDomain => return Err(LookupError::NoSuchDomain { dnssec }),
            Found::Records(answers) => answers,
        };
        let owner = answers.last().map_or_else(|| plain(name), |(owner, _)| owner.clone());
        let records: Vec<T> = answers.iter().filter_map(|(_, record)| pick(record)).collect();
        if records.is_empty() {
            return Err(LookupError::NoRecords { dnssec });
        }
        Ok(Answer { records, owner, dnssec, ttl: Duration::from_secs(u64::from(script.zone.ttl)) })
    }
}

#[async_trait]
impl Resolver for ScriptedResolver {
    async fn mx(&self, domain: &str) -> Result<Answer<Vec<Mx>>, LookupError> {
        self.ask(domain, Kind::Mx, |record| match record {
            Record::Mx(preference, exchange) => {
                Some(Mx { preference: *preference, exchange: exchange.clone() })
            }
            _ => None,
        })
    }

    async fn addresses(&self, host: &str) -> Result<Answer<Vec<IpAddr>>, LookupError> {
        let pick = |record: &Record| match record {
            Record::A(four) => Some(IpAddr::V4(*four)),
            Record::Aaaa(six) => Some(IpAddr::V6(*six)),
            _ => None,
        };
        match (self.ask(host, Kind::Aaaa, pick), self.ask(host, Kind::A, pick)) {
            (Ok(mut six), Ok(four)) => {
                six.records.extend(four.records);
                Ok(six)
            }
            (Ok(answer), Err(_)) | (Err(_), Ok(answer)) => Ok(answer),
            (Err(error), Err(_)) => Err(error),
        }
    }

    async fn ptr(&self, address: IpAddr) -> Result<Answer<Vec<String>>, LookupError> {
        self.ask(&reverse_name(address), Kind::Ptr, |record| match record {
            Record::Ptr(host) => Some(host.clone()),
            _ => None,
        })
    }

    async fn txt(&self, name: &str) -> Result<Answer<Vec<String>>, LookupError> {
        self.ask(name, Kind::Txt, |record| match record {
            Record::Txt(text) => Some(text.clone()),
            _ => None,
        })
    }

    async fn tlsa(&self, name: &str) -> Result<Answer<Vec<TlsaRecord>>, LookupError> {
        self.ask(name, Kind::Tlsa, |record| match record {
            Record::Tlsa(tlsa) => Some(tlsa.clone()),
            _ => None,
        })
    }

    async fn alias(&self, name: &str) -> Result<Answer<String>, LookupError> {
        let answer = self.ask(name, Kind::Cname, |record| match record {
            Record::Cname(target) => Some(target.clone()),
            _ => None,
        })?;
        Ok(answer.map(|targets| targets.concat()))
    }
}

/// A zone that can change, and what it was asked.
#[derive(Debug, Clone, Default)]
struct Script(Arc<Mutex<Scripted>>);

#[derive(Debug, Default)]
struct Scripted {
    zone: Zone,
    queries: Vec<(String, Kind)>,
}

impl Script {
    fn new(zone: Zone) -> Self {
        Self(Arc::new(Mutex::new(Scripted { zone, queries: Vec::new() })))
    }

    fn ask(&self, name: &str, kind: Kind) -> Found {
        let mut script = self.lock();
        script.queries.push((plain(name), kind));
        script.zone.find(name, kind)
    }

    fn change(&self, change: impl FnOnce(Zone) -> Zone) {
        let mut script = self.lock();
        script.zone = change(std::mem::take(&mut script.zone));
    }

    fn lock(&self) -> MutexGuard<'_, Scripted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line's first word, and what follows it.
fn first_word(line: &str) -> (&str, &str) {
    line.split_once(char::is_whitespace).map_or((line, ""), |(word, rest)| (word, rest.trim()))
}

/// `3 1 1 2bb1…`; the data may stand in several words.
fn tlsa(value: &str) -> Option<TlsaRecord> {
    let mut words = value.split_whitespace();
    let mut number = || words.next()?.parse().ok();
    let (usage, selector, matching) = (number()?, number()?, number()?);
    let digits: String = words.collect();
    let octets = digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    Some(TlsaRecord { usage, selector, matching, data: octets.collect::<Option<_>>()? })
}

/// Lower case, without the last dot; the root stays `.`.
fn plain(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.strip_suffix('.') {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => name,
    }
}

/// The name under which an address' own name stands (RFC 1035 §3.5, RFC 3596 §2.5).
fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(four) => {
            let [a, b, c, d] = four.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(six) => {
            let nibbles = six.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            let labels: Vec<String> = nibbles.map(|nibble| format!("{nibble:x}")).collect();
            format!("{}.ip6.arpa", labels.join("."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_read_from_text() {
        let text = "# a comment\nTTL 60\nexample.org MX 10 mx.example.org.\nmx.example.org  A 192.0.2.1\n\
                    192.0.2.1 PTR mx.example.org\nslow.example SILENT\nbroken.example SERVFAIL\n";
        let zone: Zone = text.parse().expect("a good zone");
        let mx = Record::Mx(10, "mx.example.org".into());
        assert_eq!(zone.find("EXAMPLE.org.", Kind::Mx), Found::Records(vec![("example.org".into(), mx)]));
        let ptr = Record::Ptr("mx.example.org".into());
        let reverse = "1.2.0.192.in-addr.arpa";
        assert_eq!(zone.find(reverse, Kind::Ptr), Found::Records(vec![(reverse.into(), ptr)]));
        assert_eq!(zone.find("slow.example", Kind::Mx), Found::Silence);
        assert_eq!(zone.find("broken.example", Kind::Mx), Found::Failure);
        assert_eq!(zone.ttl, 60);
    }

    #[tokio::test]
    async fn an_alias_is_as_secure_as_its_weakest_name_and_one_bogus_name_spoils_it() {
        let text = "www.example.org CNAME host.example.net\nhost.example.net A 192.0.2.1\nwww.example.org SECURE\n\
                    _25._tcp.mx.example.org TLSA 3 1 1 00ff\n_25._tcp.mx.example.org SECURE\nmx.example.org BOGUS\n";
        let resolver = ScriptedResolver::new(text.parse().expect("a zone"));
        let answer = resolver.addresses("www.example.org").await.expect("an answer");
        assert_eq!((answer.dnssec, answer.owner.as_str()), (Dnssec::Indeterminate, "host.example.net"));
        let link = resolver.alias("www.example.org").await.expect("an alias");
        assert_eq!((link.dnssec, link.records.as_str()), (Dnssec::Secure, "host.example.net"));
        let tlsa = resolver.tlsa("_25._tcp.mx.example.org").await.expect("an answer");
        assert_eq!((tlsa.dnssec, tlsa.records[0].to_string()), (Dnssec::Secure, "3 1 1 00ff".into()));
        assert!(matches!(resolver.addresses("mx.example.org").await, Err(LookupError::Bogus(_))));
        resolver.change(|zone| zone.all_secure().insecure("mx.example.org"));
        let missing = LookupError::NoSuchDomain { dnssec: Dnssec::Secure };
        assert_eq!(resolver.mx("nowhere.example.org").await, Err(missing));
        assert_eq!(
            resolver.mx("mx.example.org").await,
            Err(LookupError::NoRecords { dnssec: Dnssec::Insecure })
        );
        assert_eq!(resolver.addresses("www.example.org").await.expect("an answer").dnssec, Dnssec::Secure);
    }

    #[test]
    fn a_bad_zone_line_is_named() {
        let error =
            "example.org A 192.0.2.1\nexample.org A nowhere\n".parse::<Zone>().expect_err("a bad address");
        assert_eq!(error, "line 2: not an address: example.org A nowhere");
    }

    #[test]
    fn missing_names_and_missing_records_differ() {
        let zone = Zone::new().address("mx.example.org", [192, 0, 2, 1]);
        assert_eq!(zone.find("mx.example.org", Kind::Mx), Found::NoRecords);
        assert_eq!(zone.find("example.org", Kind::Mx), Found::NoRecords, "a name above one that exists");
        assert_eq!(zone.find("example.net", Kind::Mx), Found::NoSuchDomain);
    }

    #[test]
    fn reverse_names_of_ipv6_addresses_are_nibbles() {
        let name = reverse_name("2001:db8::1".parse().unwrap());
        assert_eq!(name, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
    }

    #[tokio::test]
    async fn the_scripted_resolver_answers_records_questions_and_can_be_changed() {
        let resolver =
            ScriptedResolver::new(Zone::new().mx("example.org", 10, "mx.example.org").secure("example.org"));
        let answer = resolver.mx("Example.org").await.expect("an answer");
        assert_eq!(answer.records, [Mx { preference: 10, exchange: "mx.example.org".into() }]);
        assert_eq!(answer.dnssec, Dnssec::Secure);
        assert_eq!(
            resolver.addresses("mx.example.org").await,
            Err(LookupError::NoSuchDomain { dnssec: Dnssec::Indeterminate })
        );
        resolver.change(|zone| zone.silent("example.org"));
        assert!(resolver.mx("example.org").await.expect_err("silence").is_temporary());
        assert_eq!(resolver.queries()[0], ("example.org".into(), Kind::Mx));
        assert_eq!(resolver.queries().len(), 4);
    }
}
