//! What our domains publish about their mail: SPF, DKIM, DMARC, and where they want reports about TLS.
//!
//! Each question is asked of every domain, many at once. Judged is the syntax, and whether it fits us: an SPF record must name
//! the addresses that our mail leaves from. A record that nobody can use is worse than none, because it looks as if all were well.
//!
//! What it deliberately does not do: sign or check messages, or look at TLSA and MTA-STS (`published` does, because they are
//! about certificates).

use std::net::IpAddr;

use futures_util::StreamExt as _;
use futures_util::stream;
use postern_dns::tls_rpt::{Rua, TlsRptError, report_addresses};
use postern_dns::{LookupError, Resolver};

use super::names::spoken;
use super::room::{Room, listed};
use super::spf::{self, Spf};
use super::{Check, Finding};

/// So much is asked at the same time.
const AT_ONCE: usize = 16;
/// A name has so many labels at most that are walked up.
const LABELS_MOST: usize = 8;
/// What to do where nobody answers.
const SEE_RESOLVER: &str = "see the check resolver";

/// The text records at a name.
type Texts = Result<Vec<String>, LookupError>;

/// Whether our domains' SPF records name the addresses that our mail leaves from.
pub(super) async fn spf(room: &Room) -> Vec<Finding> {
    let mut addresses: Vec<IpAddr> = spoken(room).await.into_iter().map(|(address, _)| address).collect();
    addresses.dedup();
    let (domains, resolver) = (room.domains(), room.resolver());
    let looks: Vec<_> = domains.iter().map(|domain| spf_of(resolver, domain, &addresses)).collect();
    let found: Vec<SpfFound> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    let direct = if room.sends_itself() { Leaves::Directly } else { Leaves::ByAnother };
    let judged = domains.iter().zip(&found).flat_map(|(domain, found)| judge_spf(domain, found, direct));
    or_none(Check::Spf, judged.collect())
}

/// How our mail leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    /// From our own addresses.
    Directly,
    /// Through another server, whose addresses count.
    ByAnother,
}

struct SpfFound {
    texts: Texts,
    of: Vec<(IpAddr, Spf)>,
}

async fn spf_of(resolver: &dyn Resolver, domain: &str, addresses: &[IpAddr]) -> SpfFound {
    let mut of = Vec::new();
    for address in addresses {
        of.push((*address, spf::evaluate(resolver, domain, *address).await));
    }
    SpfFound { texts: texts(resolver, domain).await, of }
}

fn judge_spf(domain: &str, found: &SpfFound, leaves: Leaves) -> Vec<Finding> {
    let publish =
        format!("publish: {domain}. IN TXT \"v=spf1 mx -all\", with every server that sends for it");
    let record = match &found.texts {
        Ok(texts) => spf::record(texts),
        Err(error) if error.is_negative() => Ok(None),
        Err(error) => {
            let evidence = format!("the SPF record of {domain} cannot be looked up: {error}");
            return vec![Finding::unknown(Check::Spf, evidence, SEE_RESOLVER)];
        }
    };
    let record = match record {
        Err(why) => {
            return vec![Finding::failed(Check::Spf, format!("{domain}: {why}"), "leave one of them")];
        }
        Ok(None) => {
            let evidence =
                format!("{domain} has no SPF record; large receivers refuse such mail or file it as junk");
            return vec![Finding::warning(Check::Spf, evidence, publish)];
        }
        Ok(Some(record)) => record,
    };
    if leaves == Leaves::ByAnother || found.of.is_empty() {
        let evidence = format!(
            "{domain} has {record:?}; from which addresses our mail reaches others is not known here"
        );
        let remedy = "see that it names the servers that mail leaves by";
        return vec![Finding::note(Check::Spf, evidence, remedy)];
    }
    found.of.iter().map(|(address, spf)| judge_address(domain, record, *address, spf)).collect()
}

fn judge_address(domain: &str, record: &str, address: IpAddr, spf: &Spf) -> Finding {
    let kind = if address.is_ipv4() { "ip4" } else { "ip6" };
    let add = format!("add {kind}:{address} to the record, before its \"all\"");
    let evidence = format!("{domain} has {record:?}; of {address}: {spf}");
    match spf {
        Spf::Pass(term) if term.ends_with("all") => {
            let remedy = "end the record with -all: as it is, everybody may send in this domain's name";
            Finding::warning(Check::Spf, evidence, remedy)
        }
        Spf::Pass(_) => Finding::ok(Check::Spf, evidence),
        Spf::Fail | Spf::SoftFail => Finding::failed(Check::Spf, evidence, add),
        Spf::Neutral | Spf::None => Finding::warning(Check::Spf, evidence, add),
        Spf::Broken(_) => Finding::failed(Check::Spf, evidence, "mend the record (RFC 7208 §4.6)"),
        Spf::Unanswered(_) => Finding::unknown(Check::Spf, evidence, SEE_RESOLVER),
        Spf::Undecided(_) => Finding::unknown(
            Check::Spf,
            evidence,
            "send a message to a service that shows what it makes of it",
        ),
    }
}

/// Whether keys for signatures are published. Which, nobody can tell who does not know their names.
pub(super) async fn dkim(room: &Room) -> Vec<Finding> {
    let found = each(room, |domain| format!("_domainkey.{domain}")).await;
    or_none(Check::Dkim, found.iter().map(|(domain, texts)| judge_dkim(domain, texts)).collect())
}

fn judge_dkim(domain: &str, texts: &Texts) -> Finding {
    let signs = "Postern does not sign yet: have another server sign what leaves, and publish its key";
    match texts {
        // RFC 8020 §2: there is nothing below a name that does not exist.
        Err(LookupError::NoSuchDomain { .. }) => Finding::note(
            Check::Dkim,
            format!("{domain} publishes no DKIM key, so nothing signs its mail"),
            signs,
        ),
        Ok(_) | Err(LookupError::NoRecords { .. }) => Finding::note(
            Check::Dkim,
            format!("{domain} publishes something below _domainkey; which keys, only who signs knows"),
            "Postern does not sign yet; see that the server that signs has the key that is published",
        ),
        Err(error) => {
            let evidence = format!("the DKIM keys of {domain} cannot be looked up: {error}");
            Finding::unknown(Check::Dkim, evidence, SEE_RESOLVER)
        }
    }
}

/// Whether receivers know what to do with mail that is not from us.
pub(super) async fn dmarc(room: &Room) -> Vec<Finding> {
    let (domains, resolver) = (room.domains(), room.resolver());
    let looks: Vec<_> = domains.iter().map(|domain| dmarc_of(resolver, domain)).collect();
    let found: Vec<_> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    or_none(
        Check::Dmarc,
        domains.iter().zip(&found).map(|(domain, found)| judge_dmarc(domain, found)).collect(),
    )
}

/// The texts at the domain, or at the nearest domain above that has a record, with its name.
async fn dmarc_of(resolver: &dyn Resolver, domain: &str) -> (String, Texts) {
    let own = texts(resolver, &format!("_dmarc.{domain}")).await;
    let has_record = |texts: &Texts| texts.iter().flatten().any(|text| is_dmarc(text));
    if has_record(&own) || own.as_ref().is_err_and(|error| !error.is_negative()) {
        return (domain.to_owned(), own);
    }
    let mut above = domain;
    for _ in 0..LABELS_MOST {
        let Some((_, parent)) = above.split_once('.').filter(|(_, parent)| parent.contains('.')) else {
            break;
        };
        above = parent;
        let found = texts(resolver, &format!("_dmarc.{above}")).await;
        if has_record(&found) {
            return (above.to_owned(), found);
        }
    }
    (domain.to_owned(), own)
}

fn is_dmarc(text: &str) -> bool {
    let rest = text.trim_start().strip_prefix("v=DMARC1");
    rest.is_some_and(|rest| rest.trim_start().is_empty() || rest.trim_start().starts_with(';'))
}

fn judge_dmarc(domain: &str, (at, texts): &(String, Texts)) -> Finding {
    let publish = format!(
        "publish: _dmarc.{domain}. IN TXT \"v=DMARC1; p=none; rua=mailto:postmaster@{domain}\", and later p=reject"
    );
    let records: Vec<&String> = match texts {
        Ok(texts) => texts.iter().filter(|text| is_dmarc(text)).collect(),
        Err(error) if error.is_negative() => Vec::new(),
        Err(error) => {
            let evidence = format!("the DMARC record of {domain} cannot be looked up: {error}");
            return Finding::unknown(Check::Dmarc, evidence, SEE_RESOLVER);
        }
    };
    let record = match records.as_slice() {
        [] => {
            let evidence =
                format!("{domain} has no DMARC record; large receivers demand one of whoever sends much");
            return Finding::warning(Check::Dmarc, evidence, publish);
        }
        [record] => record,
        more => {
            let evidence = format!("{at} has {} DMARC records, so that none of them counts", more.len());
            return Finding::failed(Check::Dmarc, evidence, "leave one of them (RFC 7489 §6.6.3)");
        }
    };
    let from = if at == domain { String::new() } else { format!(", by {at}") };
    let evidence = format!("{domain} has {record:?}{from}");
    match policy_of(record, at != domain).as_deref() {
        Some("none") => {
            Finding::note(Check::Dmarc, evidence, "once the reports look well: p=quarantine, then p=reject")
        }
        Some("quarantine" | "reject") => Finding::ok(Check::Dmarc, evidence),
        Some(other) => Finding::failed(Check::Dmarc, format!("{evidence}; {other:?} is no policy"), publish),
        None => Finding::failed(Check::Dmarc, format!("{evidence}; it has no p"), publish),
    }
}

/// RFC 7489 §6.3: `sp` is for the domains below, where it is given.
fn policy_of(record: &str, below: bool) -> Option<String> {
    let tag = |name: &str| {
        let fields = record.split(';').filter_map(|field| field.split_once('='));
        let mut same = fields.filter(|(tag, _)| tag.trim().eq_ignore_ascii_case(name));
        same.next().map(|(_, value)| value.trim().to_ascii_lowercase())
    };
    below.then(|| tag("sp")).flatten().or_else(|| tag("p"))
}

/// Whether our domains ask others how TLS with us goes.
pub(super) async fn tls_reports(room: &Room) -> Vec<Finding> {
    let found = each(room, |domain| format!("_smtp._tls.{domain}")).await;
    or_none(Check::TlsReports, found.iter().map(|(domain, texts)| judge_tls_reports(domain, texts)).collect())
}

fn judge_tls_reports(domain: &str, texts: &Texts) -> Finding {
    let parsed = match texts {
        Ok(texts) => report_addresses(texts),
        Err(error) if error.is_negative() => Ok(Vec::new()),
        Err(error) => {
            let evidence = format!("the TLSRPT record of {domain} cannot be looked up: {error}");
            return Finding::unknown(Check::TlsReports, evidence, SEE_RESOLVER);
        }
    };
    match parsed {
        Ok(to) if to.is_empty() => Finding::note(
            Check::TlsReports,
            format!("{domain} asks for no reports about TLS, so nobody says when encryption with us fails"),
            format!("publish: _smtp._tls.{domain}. IN TXT \"v=TLSRPTv1; rua=mailto:postmaster@{domain}\""),
        ),
        Ok(to) => {
            let to = to.iter().map(|rua| match rua {
                Rua::Mail(address) => address.as_str(),
                Rua::Https(url) => url.as_str(),
            });
            Finding::ok(Check::TlsReports, format!("reports about TLS with {domain} go to {}", listed(to)))
        }
        Err(TlsRptError::Several(_)) => {
            let evidence = format!("{domain} has several TLSRPT records, so that none of them counts");
            Finding::warning(Check::TlsReports, evidence, "leave one of them")
        }
        Err(error) => {
            Finding::warning(Check::TlsReports, format!("{domain}: {error}"), "mend the record (RFC 8460 §3)")
        }
    }
}

/// The text records of every domain, at a name that follows from it.
async fn each(room: &Room, name: impl Fn(&str) -> String) -> Vec<(String, Texts)> {
    let (domains, resolver) = (room.domains(), room.resolver());
    let look = |domain: &String| {
        let name = name(domain);
        async move { texts(resolver, &name).await }
    };
    let looks: Vec<_> = domains.iter().map(look).collect();
    let found: Vec<Texts> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    domains.iter().cloned().zip(found).collect()
}

async fn texts(resolver: &dyn Resolver, name: &str) -> Texts {
    resolver.txt(name).await.map(|answer| answer.records)
}

fn or_none(check: Check, findings: Vec<Finding>) -> Vec<Finding> {
    if !findings.is_empty() {
        return findings;
    }
    vec![Finding::note(check, "there is no [[domain]] to look at", "")]
}

#[cfg(test)]
mod tests {
    use postern_dns::Dnssec;

    use super::super::Verdict;
    use super::*;

    const NONE: LookupError = LookupError::NoSuchDomain { dnssec: Dnssec::Indeterminate };

    fn late() -> LookupError {
        LookupError::Temporary("nobody answers".into())
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands beside failures")]
    fn found(texts: &[&str]) -> Texts {
        Ok(texts.iter().map(|&text| text.to_owned()).collect())
    }

    fn verdict_of_spf(texts: Texts, spf: Spf, leaves: Leaves) -> Verdict {
        let of = vec![("192.0.2.1".parse().unwrap(), spf)];
        judge_spf("example.org", &SpfFound { texts, of }, leaves)[0].verdict
    }

    #[test]
    fn an_spf_record_must_be_there_be_whole_and_name_our_address() {
        use Leaves::{ByAnother, Directly};
        let one = || found(&["v=spf1 mx -all"]);
        let pass = || Spf::Pass("mx".into());
        for (texts, spf, leaves, verdict) in [
            (one(), pass(), Directly, Verdict::Ok),
            (one(), Spf::Pass("+all".into()), Directly, Verdict::Warning),
            (one(), Spf::Fail, Directly, Verdict::Failed),
            (one(), Spf::SoftFail, Directly, Verdict::Failed),
            (one(), Spf::Neutral, Directly, Verdict::Warning),
            (one(), Spf::Broken("x".into()), Directly, Verdict::Failed),
            (one(), Spf::Unanswered("x".into()), Directly, Verdict::Unknown),
            (one(), Spf::Undecided("x".into()), Directly, Verdict::Unknown),
            (one(), Spf::Fail, ByAnother, Verdict::Note),
            (found(&["v=spf1 mx", "v=spf1 a"]), pass(), Directly, Verdict::Failed),
            (found(&["other"]), Spf::None, Directly, Verdict::Warning),
            (Err(NONE), Spf::None, Directly, Verdict::Warning),
            (Err(late()), Spf::None, Directly, Verdict::Unknown),
        ] {
            assert_eq!(verdict_of_spf(texts.clone(), spf.clone(), leaves), verdict, "{texts:?} {spf:?}");
        }
    }

    #[test]
    fn a_missing_spf_term_is_offered_ready_made() {
        let of = vec![("2001:db8::1".parse().unwrap(), Spf::Fail)];
        let findings =
            judge_spf("example.org", &SpfFound { texts: found(&["v=spf1 -all"]), of }, Leaves::Directly);
        assert!(findings[0].remedy.contains("ip6:2001:db8::1"), "{findings:?}");
    }

    #[test]
    fn a_dmarc_policy_counts_from_the_domain_or_the_one_above() {
        let own = |texts| judge_dmarc("example.org", &("example.org".into(), texts)).verdict;
        assert_eq!(own(found(&["v=DMARC1; p=reject"])), Verdict::Ok);
        assert_eq!(own(found(&["v=DMARC1;p=none;rua=mailto:x@example.org"])), Verdict::Note);
        assert_eq!(own(found(&["v=DMARC1; p=maybe"])), Verdict::Failed);
        assert_eq!(own(found(&["v=DMARC1; rua=mailto:x@example.org"])), Verdict::Failed);
        assert_eq!(own(found(&["v=DMARC1; p=none", "v=DMARC1; p=reject"])), Verdict::Failed);
        assert_eq!(own(found(&["v=DMARC12; p=reject"])), Verdict::Warning);
        assert_eq!(own(Err(NONE)), Verdict::Warning);
        assert_eq!(own(Err(late())), Verdict::Unknown);
        let above = |text| judge_dmarc("mail.example.org", &("example.org".into(), found(&[text])));
        assert_eq!(above("v=DMARC1; p=none; sp=reject").verdict, Verdict::Ok);
        assert!(above("v=DMARC1; p=reject").evidence.ends_with("by example.org"));
    }

    #[tokio::test]
    async fn the_dmarc_record_above_is_found() {
        use postern_testkit::dns::{ScriptedResolver, Zone};
        let resolver = ScriptedResolver::new(Zone::new().txt("_dmarc.example.org", "v=DMARC1; p=reject"));
        assert_eq!(dmarc_of(&resolver, "a.b.example.org").await.0, "example.org");
        assert_eq!(dmarc_of(&resolver, "example.net").await.0, "example.net");
    }

    #[test]
    fn whether_any_key_is_published_is_all_that_can_be_told() {
        let empty = LookupError::NoRecords { dnssec: Dnssec::Indeterminate };
        assert!(judge_dkim("example.org", &Err(NONE)).evidence.contains("no DKIM key"));
        assert!(judge_dkim("example.org", &Err(empty)).evidence.contains("publishes something"));
        assert_eq!(judge_dkim("example.org", &Err(late())).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_broken_record_about_tls_reports_is_worse_than_none() {
        let of = |texts| judge_tls_reports("example.org", &texts).verdict;
        assert_eq!(of(found(&["v=TLSRPTv1; rua=mailto:tls@example.org"])), Verdict::Ok);
        assert_eq!(of(Err(NONE)), Verdict::Note);
        assert_eq!(of(found(&["v=TLSRPTv1; rua=ftp://example.org"])), Verdict::Warning);
        assert_eq!(
            of(found(&["v=TLSRPTv1; rua=mailto:a@b.example", "v=TLSRPTv1; rua=mailto:c@d.example"])),
            Verdict::Warning
        );
        assert_eq!(of(Err(late())), Verdict::Unknown);
    }
}
