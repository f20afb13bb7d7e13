//! Whether an SPF record names an address (RFC 7208), as far as lookups alone can tell.
//!
//! [`evaluate`] follows `include`, `redirect`, `a`, `mx`, `ip4`, `ip6`, `exists` and `all` within the RFC's bounds: ten terms that ask the
//! DNS, two answers without a record. What needs a message (macros), or counts as bad manners (`ptr`), is said to be undecided
//! instead of guessed.
//!
//! What it deliberately does not do: judge incoming mail, or what a result means for us; `domains` does the latter.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use ipnet::IpNet;
use postern_dns::{LookupError, Resolver};

/// RFC 7208 §4.6.4: so many terms may ask the DNS.
const LOOKUPS_MOST: u8 = 10;
/// RFC 7208 §4.6.4: so many of those answers may be empty.
const VOID_MOST: u8 = 2;
/// RFC 7208 §4.6.4: a name may have so many mail exchangers.
const HOSTS_MOST: usize = 10;
/// So many terms of one record are looked at.
const TERMS_MOST: usize = 100;

/// What a record says of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spf {
    /// The domain publishes none.
    None,
    /// It may send; by this term.
    Pass(String),
    /// It may not.
    Fail,
    /// It probably may not.
    SoftFail,
    /// The record says nothing of it.
    Neutral,
    /// The record is broken: everybody's mail suffers from it.
    Broken(String),
    /// It could not be looked up.
    Unanswered(String),
    /// It depends on something that is not looked at here.
    Undecided(String),
}

/// How a term counts when it is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Qualifier {
    Pass,
    Fail,
    SoftFail,
    Neutral,
}

/// Why the evaluation ends without a result.
enum Stop {
    Broken(String),
    Unanswered(String),
    Undecided(String),
}

/// What one evaluation has used up.
struct Budget<'a> {
    resolver: &'a dyn Resolver,
    address: IpAddr,
    lookups: u8,
    void: u8,
}

/// What the record of a domain says of an address.
pub(super) async fn evaluate(resolver: &dyn Resolver, domain: &str, address: IpAddr) -> Spf {
    let mut budget = Budget { resolver, address, lookups: 0, void: 0 };
    match budget.check(domain.to_owned()).await {
        Ok(found) => found,
        Err(Stop::Broken(why)) => Spf::Broken(why),
        Err(Stop::Unanswered(why)) => Spf::Unanswered(why),
        Err(Stop::Undecided(why)) => Spf::Undecided(why),
    }
}

/// The one SPF record among text records (RFC 7208 §4.5).
pub(super) fn record(texts: &[String]) -> Result<Option<&str>, String> {
    let is_spf = |text: &&String| {
        let text = text.to_ascii_lowercase();
        text == "v=spf1" || text.starts_with("v=spf1 ")
    };
    let mut records = texts.iter().filter(is_spf);
    match (records.next(), records.count()) {
        (found, 0) => Ok(found.map(String::as_str)),
        (_, more) => Err(format!("there are {} SPF records, and there may be only one", more + 1)),
    }
}

impl Budget<'_> {
    /// RFC 7208 §4. Boxed, for it calls itself; the budget of lookups ends that.
    fn check(&mut self, domain: String) -> Pin<Box<dyn Future<Output = Result<Spf, Stop>> + Send + '_>> {
        Box::pin(async move {
            let texts = match self.resolver.txt(&domain).await {
                Ok(answer) => answer.records,
                Err(error) if error.is_negative() => return Ok(Spf::None),
                Err(error) => return Err(Stop::Unanswered(format!("{domain}: {error}"))),
            };
            let Some(record) = record(&texts).map_err(|why| Stop::Broken(format!("{domain}: {why}")))? else {
                return Ok(Spf::None);
            };
            let mut redirect = None;
            for term in record.split_ascii_whitespace().skip(1).take(TERMS_MOST) {
                if let Some(target) = modifier(term, "redirect") {
                    redirect = Some(target.to_owned());
                } else if !is_modifier(term)
                    && let Some(found) = self.term(term, &domain).await?
                {
                    return Ok(found);
                }
            }
            match redirect {
                Some(target) => self.redirected(target).await,
                None => Ok(Spf::Neutral),
            }
        })
    }

    async fn redirected(&mut self, target: String) -> Result<Spf, Stop> {
        self.spend(&target)?;
        match self.check(plain(&target)?).await? {
            // RFC 7208 §6.1
            Spf::None => Err(Stop::Broken(format!("redirect={target} leads to a domain without SPF"))),
            found => Ok(found),
        }
    }

    /// What a term says, if it is true of the address.
    async fn term(&mut self, term: &str, domain: &str) -> Result<Option<Spf>, Stop> {
        let (qualifier, mechanism) = qualified(term);
        let (name, argument) = split(mechanism);
        let holds = match name.to_ascii_lowercase().as_str() {
            "all" => true,
            "ip4" | "ip6" => self.is_within(argument.ok_or_else(|| bad(term))?, term)?,
            "a" => {
                let (target, network) = target(argument, domain, term)?;
                self.spend(term)?;
                let found = self.addresses(&target).await?;
                network.any(&found, self.address)
            }
            "mx" => self.is_exchanger(argument, domain, term).await?,
            "include" => {
                self.spend(term)?;
                self.included(argument.ok_or_else(|| bad(term))?, term).await?
            }
            "exists" => {
                self.spend(term)?;
                let target = plain(argument.ok_or_else(|| bad(term))?)?;
                !self.addresses(&target).await?.is_empty()
            }
            "ptr" => {
                return Err(Stop::Undecided(format!(
                    "{term} is not followed here; RFC 7208 §5.5 advises against it"
                )));
            }
            _ => return Err(bad(term)),
        };
        Ok(holds.then(|| qualifier.result(term)))
    }

    /// RFC 7208 §5.2
    async fn included(&mut self, target: &str, term: &str) -> Result<bool, Stop> {
        match self.check(plain(target)?).await? {
            Spf::Pass(_) => Ok(true),
            Spf::None => Err(Stop::Broken(format!("{term} leads to a domain without SPF"))),
            _ => Ok(false),
        }
    }

    /// RFC 7208 §5.4
    async fn is_exchanger(&mut self, argument: Option<&str>, domain: &str, term: &str) -> Result<bool, Stop> {
        let (target, network) = target(argument, domain, term)?;
        self.spend(term)?;
        let hosts = match self.resolver.mx(&target).await {
            Ok(answer) => answer.records,
            Err(error) => {
                self.empty(&target, &error)?;
                return Ok(false);
            }
        };
        if hosts.len() > HOSTS_MOST {
            return Err(Stop::Broken(format!("{term}: {target} has more than {HOSTS_MOST} mail exchangers")));
        }
        for host in hosts {
            let found = self.addresses(&host.exchange).await?;
            if network.any(&found, self.address) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_within(&self, network: &str, term: &str) -> Result<bool, Stop> {
        let found = network.parse::<IpNet>().ok().or_else(|| network.parse::<IpAddr>().ok().map(IpNet::from));
        Ok(found.ok_or_else(|| bad(term))?.contains(&self.address))
    }

    async fn addresses(&mut self, name: &str) -> Result<Vec<IpAddr>, Stop> {
        match self.resolver.addresses(name).await {
            Ok(answer) => Ok(answer.records),
            Err(error) => {
                self.empty(name, &error)?;
                Ok(Vec::new())
            }
        }
    }

    fn empty(&mut self, name: &str, error: &LookupError) -> Result<(), Stop> {
        if !error.is_negative() {
            return Err(Stop::Unanswered(format!("{name}: {error}")));
        }
        self.void += 1;
        if self.void > VOID_MOST {
            return Err(Stop::Broken(format!(
                "more than {VOID_MOST} of its names have no record, {name} among them"
            )));
        }
        Ok(())
    }

    fn spend(&mut self, term: &str) -> Result<(), Stop> {
        self.lookups += 1;
        if self.lookups > LOOKUPS_MOST {
            return Err(Stop::Broken(format!(
                "it needs more than {LOOKUPS_MOST} lookups; {term} is one too many"
            )));
        }
        Ok(())
    }
}

impl Qualifier {
    fn result(self, term: &str) -> Spf {
        match self {
            Self::Pass => Spf::Pass(term.to_owned()),
            Self::Fail => Spf::Fail,
            Self::SoftFail => Spf::SoftFail,
            Self::Neutral => Spf::Neutral,
        }
    }
}

/// How many leading bits of an address must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Prefixes {
    v4: u8,
    v6: u8,
}

impl Prefixes {
    fn any(self, found: &[IpAddr], address: IpAddr) -> bool {
        found.iter().any(|one| {
            let bits = if one.is_ipv4() { self.v4 } else { self.v6 };
            IpNet::new(*one, bits).is_ok_and(|network| network.contains(&address))
        })
    }
}

fn bad(term: &str) -> Stop {
    Stop::Broken(format!("the term {term:?} is none of SPF's"))
}

/// A name without macros, which only a message can fill in.
fn plain(name: &str) -> Result<String, Stop> {
    if name.contains('%') {
        return Err(Stop::Undecided(format!("{name} depends on each message")));
    }
    Ok(name.trim_end_matches('.').to_owned())
}

fn qualified(term: &str) -> (Qualifier, &str) {
    let qualifiers = [
        ('+', Qualifier::Pass),
        ('-', Qualifier::Fail),
        ('~', Qualifier::SoftFail),
        ('?', Qualifier::Neutral),
    ];
    let found = qualifiers.iter().find_map(|(sign, qualifier)| Some((*qualifier, term.strip_prefix(*sign)?)));
    found.unwrap_or((Qualifier::Pass, term))
}

/// The name of a mechanism and what stands behind its colon, or its slash.
fn split(mechanism: &str) -> (&str, Option<&str>) {
    match mechanism.find([':', '/']) {
        Some(at) if mechanism[at..].starts_with(':') => (&mechanism[..at], Some(&mechanism[at + 1..])),
        Some(at) => (&mechanism[..at], Some(&mechanism[at..])),
        None => (mechanism, None),
    }
}

/// The domain and the prefixes of `a` and `mx`: `a`, `a:host`, `a/24`, `a:host/24//64` (RFC 7208 §5.3).
fn target(argument: Option<&str>, domain: &str, term: &str) -> Result<(String, Prefixes), Stop> {
    let argument = argument.unwrap_or_default();
    let (name, bits) = argument.split_at(argument.find('/').unwrap_or(argument.len()));
    let (v4, v6) = bits.split_once("//").unwrap_or((bits, ""));
    let number = |text: &str, all: u8| match text.trim_start_matches('/') {
        "" => Ok(all),
        text => text.parse::<u8>().ok().filter(|bits| *bits <= all).ok_or_else(|| bad(term)),
    };
    let prefixes = Prefixes { v4: number(v4, 32)?, v6: number(v6, 128)? };
    let name = if name.is_empty() { domain.to_owned() } else { plain(name)? };
    Ok((name, prefixes))
}

fn modifier<'a>(term: &'a str, name: &str) -> Option<&'a str> {
    let (found, value) = term.split_once('=')?;
    found.eq_ignore_ascii_case(name).then_some(value)
}

/// RFC 7208 §6: unknown ones are passed over.
fn is_modifier(term: &str) -> bool {
    let Some((name, _)) = term.split_once('=') else { return false };
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

impl fmt::Display for Spf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("there is no SPF record"),
            Self::Pass(term) => write!(f, "it may send, by {term}"),
            Self::Fail => f.write_str("it may not send"),
            Self::SoftFail => f.write_str("it probably may not send"),
            Self::Neutral => f.write_str("the record says nothing of it"),
            Self::Broken(why) => write!(f, "the record is broken: {why}"),
            Self::Unanswered(why) => write!(f, "no answer: {why}"),
            Self::Undecided(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use postern_testkit::dns::{ScriptedResolver, Zone};

    use super::*;

    async fn ask(zone: Zone, address: &str) -> Spf {
        let resolver = ScriptedResolver::new(zone);
        evaluate(&resolver, "example.org", address.parse().unwrap()).await
    }

    async fn of(record: &str, address: &str) -> Spf {
        let zone = Zone::new()
            .txt("example.org", record)
            .address("example.org", Ipv4Addr::new(192, 0, 2, 9))
            .mx("example.org", 10, "mail.example.org")
            .address("mail.example.org", Ipv4Addr::new(192, 0, 2, 1))
            .txt("_spf.provider.example", "v=spf1 ip4:198.51.100.0/24 ip6:2001:db8:1::/48 ?all")
            .txt("plain.example", "no spf at all");
        ask(zone, address).await
    }

    #[tokio::test]
    async fn an_address_is_found_by_every_kind_of_term() {
        for (record, address, term) in [
            ("v=spf1 mx -all", "192.0.2.1", "mx"),
            ("v=spf1 a -all", "192.0.2.9", "a"),
            ("v=spf1 a:mail.example.org -all", "192.0.2.1", "a:mail.example.org"),
            ("v=spf1 mx/28 -all", "192.0.2.14", "mx/28"),
            ("v=spf1 ip4:203.0.113.7 -all", "203.0.113.7", "ip4:203.0.113.7"),
            ("v=spf1 IP6:2001:db8::/32 -all", "2001:db8:1::7", "IP6:2001:db8::/32"),
            ("v=spf1 include:_spf.provider.example -all", "198.51.100.7", "include:_spf.provider.example"),
            ("v=spf1 exists:mail.example.org -all", "203.0.113.1", "exists:mail.example.org"),
            ("v=spf1 redirect=_spf.provider.example", "198.51.100.7", "ip4:198.51.100.0/24"),
            ("v=spf1 exp=why.example.org x-y=1 +all", "203.0.113.1", "+all"),
        ] {
            assert_eq!(of(record, address).await, Spf::Pass(term.into()), "{record}");
        }
    }

    #[tokio::test]
    async fn an_address_that_is_not_named_gets_what_the_record_says_last() {
        for (record, expected) in [
            ("v=spf1 mx -all", Spf::Fail),
            ("v=spf1 mx ~all", Spf::SoftFail),
            ("v=spf1 mx ?all", Spf::Neutral),
            ("v=spf1 mx", Spf::Neutral),
            ("v=spf1 -ip4:203.0.113.0/24 +all", Spf::Fail),
            ("v=spf1 include:_spf.provider.example ~all", Spf::SoftFail),
            ("nothing of the kind", Spf::None),
            ("v=spf10 +all", Spf::None),
        ] {
            assert_eq!(of(record, "203.0.113.99").await, expected, "{record}");
        }
    }

    #[tokio::test]
    async fn a_broken_record_is_said_to_be_broken() {
        for record in [
            "v=spf1 ipv4:192.0.2.1 -all",
            "v=spf1 ip4:192.0.2.300 -all",
            "v=spf1 ip4 -all",
            "v=spf1 mx/40 -all",
            "v=spf1 include:plain.example -all",
            "v=spf1 redirect=plain.example",
            "v=spf1 a:no1.example a:no2.example a:no3.example -all",
        ] {
            assert!(matches!(of(record, "203.0.113.99").await, Spf::Broken(_)), "{record}");
        }
        let twice = Zone::new().txt("example.org", "v=spf1 -all").txt("example.org", "v=spf1 +all");
        assert!(matches!(ask(twice, "192.0.2.1").await, Spf::Broken(_)));
    }

    #[tokio::test]
    async fn circles_and_long_chains_end_at_ten_lookups() {
        let circle = Zone::new().txt("example.org", "v=spf1 include:example.org -all");
        assert!(matches!(ask(circle, "192.0.2.1").await, Spf::Broken(why) if why.contains("more than 10")));
    }

    #[tokio::test]
    async fn what_needs_a_message_is_not_guessed() {
        for record in
            ["v=spf1 exists:%{i}.example.org -all", "v=spf1 ptr -all", "v=spf1 include:%{d}.example -all"]
        {
            assert!(matches!(of(record, "192.0.2.200").await, Spf::Undecided(_)), "{record}");
        }
        assert_eq!(
            of("v=spf1 mx ptr -all", "192.0.2.1").await,
            Spf::Pass("mx".into()),
            "it was found before"
        );
    }
}
