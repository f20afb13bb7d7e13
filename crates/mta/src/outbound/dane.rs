//! What a host publishes about its certificates, under DNSSEC (RFC 7672 §2.2).
//!
//! [`look_up`] gives one [`Dane`] for one host. Each outcome of a lookup means what the RFC says and nothing else: no
//! records and insecure records mean no DANE; forged answers and silence mean that the host cannot be used now, since
//! otherwise whoever can suppress an answer could switch the protection off.
//!
//! What it deliberately does not do: judge certificates, or decide what follows for a message.

use std::net::IpAddr;

use postern_dns::tlsa::{Tlsa, strongest, tlsa_name};
use postern_dns::{Dnssec, LookupError, Resolver, TlsaRecord};
use postern_smtp::tls::{TlsFailure, TlsFault};

use super::route::RoutedHost;

/// What a host publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dane {
    /// Nothing that counts: the host is treated as one without DANE.
    Nothing,
    /// Records to check its certificate against.
    Records {
        /// The name under which they stand: also the name to ask for in the handshake (RFC 7672 §8.1).
        base: String,
        /// The usable ones, the best digests only. Never empty.
        records: Vec<Tlsa>,
    },
    /// Records of which none can be used: TLS is demanded all the same, without a proof (RFC 7672 §2.2).
    Unusable(String),
    /// The answer was forged or did not come: the host must not be used now (RFC 7672 §2.1.2).
    Barred(TlsFailure),
}

/// Looks up what a host publishes.
pub(crate) async fn look_up(resolver: &dyn Resolver, host: &RoutedHost) -> Dane {
    let bases = match bases(resolver, host).await {
        Ok(bases) => bases,
        Err(failure) => return Dane::Barred(failure),
    };
    for base in bases {
        match at_base(resolver, host.port, &base).await {
            Dane::Nothing => {}
            found => return found,
        }
    }
    Dane::Nothing
}

/// The names under which records would count, in order (RFC 7672 §2.2.2): the name after secure aliases, then the
/// host's own.
async fn bases(resolver: &dyn Resolver, host: &RoutedHost) -> Result<Vec<String>, TlsFailure> {
    // RFC 7672 §2.2.1: a name that anybody could have put there protects nothing.
    if host.name_status != Dnssec::Secure || host.name.parse::<IpAddr>().is_ok() {
        return Ok(Vec::new());
    }
    let has_alias = !host.owner.eq_ignore_ascii_case(&host.name);
    match (host.address_status, has_alias) {
        (Dnssec::Secure, true) => Ok(vec![host.owner.clone(), host.name.clone()]),
        (Dnssec::Secure, false) => Ok(vec![host.name.clone()]),
        (_, false) => Ok(Vec::new()),
        // The alias may be signed although what it leads to is not.
        (_, true) => match resolver.alias(&host.name).await {
            Ok(alias) if alias.dnssec == Dnssec::Secure => Ok(vec![host.name.clone()]),
            Err(error) if error.is_temporary() => Err(barred(&host.name, &error)),
            Ok(_) | Err(_) => Ok(Vec::new()),
        },
    }
}

async fn at_base(resolver: &dyn Resolver, port: u16, base: &str) -> Dane {
    let name = tlsa_name(port, base);
    match resolver.tlsa(&name).await {
        Ok(answer) if answer.dnssec == Dnssec::Secure => judge(base, &name, &answer.records),
        Err(error) if error.is_temporary() => Dane::Barred(barred(&name, &error)),
        Ok(_) | Err(_) => Dane::Nothing,
    }
}

fn judge(base: &str, name: &str, published: &[TlsaRecord]) -> Dane {
    let (usable, unusable): (Vec<_>, Vec<_>) =
        published.iter().map(TlsaRecord::usable).partition(Result::is_ok);
    let records = strongest(usable.into_iter().flatten().collect());
    if !records.is_empty() {
        return Dane::Records { base: base.to_owned(), records };
    }
    match unusable.into_iter().find_map(Result::err) {
        Some(why) => Dane::Unusable(format!("no TLSA record at {name} can be used: {why}")),
        None => Dane::Nothing,
    }
}

fn barred(name: &str, error: &LookupError) -> TlsFailure {
    match error {
        LookupError::Bogus(why) => {
            TlsFailure::new(TlsFault::Bogus, format!("DNSSEC does not vouch for {name}: {why}"))
        }
        other => TlsFailure::new(TlsFault::Unanswered, format!("DNS does not answer for {name}: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use postern_testkit::dns::{ScriptedResolver, Zone};

    use super::super::route::{NextHop, Socket};
    use super::*;

    const EE: &str = "mx.example.net";

    fn host(name_status: Dnssec, owner: &str, address_status: Dnssec) -> RoutedHost {
        let at = Socket::Tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 25));
        RoutedHost {
            name: EE.into(),
            owner: owner.into(),
            port: 25,
            implicit_tls: false,
            name_status,
            address_status,
            sockets: vec![NextHop { host: EE.into(), at }],
        }
    }

    fn secure_host() -> RoutedHost {
        host(Dnssec::Secure, EE, Dnssec::Secure)
    }

    fn record(usage: u8, matching: u8, length: usize) -> postern_testkit::dns::Record {
        let record = TlsaRecord { usage, selector: 1, matching, data: vec![7; length] };
        postern_testkit::dns::Record::Tlsa(record)
    }

    async fn found(zone: Zone, host: &RoutedHost) -> Dane {
        look_up(&ScriptedResolver::new(zone), host).await
    }

    fn zone() -> Zone {
        let name = "_25._tcp.mx.example.net";
        Zone::new().record(name, record(3, 1, 32)).secure(name)
    }

    #[tokio::test]
    async fn secure_records_of_a_secure_host_count() {
        let Dane::Records { base, records } = found(zone(), &secure_host()).await else { panic!() };
        assert_eq!((base.as_str(), records.len()), (EE, 1));
    }

    #[tokio::test]
    async fn a_name_or_an_address_that_is_not_secure_has_no_dane() {
        let insecure_name = host(Dnssec::Insecure, EE, Dnssec::Secure);
        let insecure_address = host(Dnssec::Secure, EE, Dnssec::Insecure);
        for host in [insecure_name, insecure_address] {
            assert_eq!(found(zone(), &host).await, Dane::Nothing);
        }
    }

    #[tokio::test]
    async fn records_that_are_not_signed_do_not_count() {
        let zone = Zone::new().record("_25._tcp.mx.example.net", record(3, 1, 32));
        assert_eq!(found(zone, &secure_host()).await, Dane::Nothing);
    }

    #[tokio::test]
    async fn forged_answers_and_silence_bar_the_host() {
        let name = "_25._tcp.mx.example.net";
        let bogus = found(zone().bogus(name), &secure_host()).await;
        assert!(matches!(&bogus, Dane::Barred(failure) if failure.fault == TlsFault::Bogus), "{bogus:?}");
        let failing = found(Zone::new().failing(name), &secure_host()).await;
        assert!(matches!(&failing, Dane::Barred(failure) if failure.fault == TlsFault::Unanswered));
    }

    #[tokio::test]
    async fn records_of_which_none_is_usable_still_demand_tls() {
        let name = "_25._tcp.mx.example.net";
        let zone = Zone::new().record(name, record(1, 1, 32)).record(name, record(3, 1, 5)).secure(name);
        assert!(matches!(found(zone, &secure_host()).await, Dane::Unusable(_)));
    }

    #[tokio::test]
    async fn the_name_after_aliases_comes_first_and_then_the_hosts_own() {
        let other = "_25._tcp.real.example.net";
        let zone = zone().record(other, record(3, 1, 32)).secure(other);
        let aliased = host(Dnssec::Secure, "real.example.net", Dnssec::Secure);
        let Dane::Records { base, .. } = found(zone, &aliased).await else { panic!() };
        assert_eq!(base, "real.example.net");
        let only_own = self::zone().empty("real.example.net");
        let Dane::Records { base, .. } = found(only_own, &aliased).await else { panic!() };
        assert_eq!(base, EE);
    }

    #[tokio::test]
    async fn a_signed_alias_to_an_unsigned_name_leaves_the_hosts_own_records_in_force() {
        let aliased = host(Dnssec::Secure, "elsewhere.example", Dnssec::Insecure);
        let signed = zone().cname(EE, "elsewhere.example").secure(EE);
        assert!(matches!(found(signed, &aliased).await, Dane::Records { .. }));
        let unsigned = zone().cname(EE, "elsewhere.example");
        assert_eq!(found(unsigned, &aliased).await, Dane::Nothing);
    }
}
