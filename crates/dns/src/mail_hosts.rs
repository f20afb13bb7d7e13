//! Which hosts take a domain's mail, and in which order (RFC 5321 §5.1).

use std::collections::BTreeMap;

use crate::{Answer, Dnssec, LookupError, Mx};

/// Where a domain's mail goes, and how far that can be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailRoute {
    /// The hosts.
    pub hosts: MailHosts,
    /// The status of the MX answer; where there is no MX record, of the answer that says so (RFC 7672 §2.2.1).
    pub dnssec: Dnssec,
    /// The domain after aliases: a name that the hosts' certificates may bear as well when the answer is secure
    /// (RFC 7672 §3.2.2). The domain itself where there is no MX record.
    pub owner: String,
}

/// Where a domain's mail goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailHosts {
    /// The mail exchangers, in groups of equal preference, best group first; within a group in random order. Never
    /// empty, nor is any group.
    Hosts(Vec<Vec<String>>),
    /// The domain says that it takes no mail (RFC 7505).
    NullMx,
    /// The domain names no mail exchanger and is its own ("implicit MX").
    Implicit(String),
}

/// What the answer to a domain's MX lookup means.
///
/// `below` is a source of chance for the order among equals (RFC 5321 §5.1): `below(n)` gives a number from 0 to n-1.
///
/// # Errors
/// The lookup's own, except that [`LookupError::NoRecords`] means [`MailHosts::Implicit`]. Whether such a domain has
/// an address the caller finds out next.
pub fn mail_hosts(
    domain: &str,
    answer: Result<Answer<Vec<Mx>>, LookupError>,
    below: impl FnMut(usize) -> usize,
) -> Result<MailRoute, LookupError> {
    match answer {
        Ok(Answer { records, owner, dnssec, .. }) if !records.is_empty() => {
            Ok(MailRoute { hosts: in_order(records, below), dnssec, owner })
        }
        // RFC 5321 §5.1: an empty list of MXs is treated as an implicit MX; an error is not.
        Ok(Answer { dnssec, .. }) | Err(LookupError::NoRecords { dnssec }) => {
            let hosts = MailHosts::Implicit(domain.to_owned());
            Ok(MailRoute { hosts, dnssec, owner: domain.to_owned() })
        }
        Err(error) => Err(error),
    }
}

fn in_order(records: Vec<Mx>, mut below: impl FnMut(usize) -> usize) -> MailHosts {
    let mut groups: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    // RFC 7505 §3: a null MX beside other MXs is a mistake of theirs; the others are meant.
    for mx in records.into_iter().filter(|mx| !names_root(&mx.exchange)) {
        let group = groups.entry(mx.preference).or_default();
        if !group.contains(&mx.exchange) {
            group.push(mx.exchange);
        }
    }
    if groups.is_empty() {
        return MailHosts::NullMx;
    }
    for group in groups.values_mut() {
        shuffle(group, &mut below);
    }
    MailHosts::Hosts(groups.into_values().collect())
}

fn names_root(exchange: &str) -> bool {
    exchange.is_empty() || exchange == "."
}

/// Fisher and Yates. A source of chance that breaks its promise makes the order less random, not wrong.
fn shuffle(hosts: &mut [String], below: &mut impl FnMut(usize) -> usize) {
    for last in (1..hosts.len()).rev() {
        hosts.swap(last, below(last + 1).min(last));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;
    use crate::Dnssec;

    fn answer(records: &[(u16, &str)]) -> Answer<Vec<Mx>> {
        let records =
            records.iter().map(|&(preference, exchange)| Mx { preference, exchange: exchange.into() });
        Answer {
            records: records.collect(),
            owner: "example.org".into(),
            dnssec: Dnssec::Indeterminate,
            ttl: Duration::ZERO,
        }
    }

    fn hosts(records: &[(u16, &str)]) -> MailHosts {
        mail_hosts("example.org", Ok(answer(records)), |_| 0).expect("a positive answer has a meaning").hosts
    }

    #[test]
    fn hosts_come_in_groups_from_the_lowest_preference_up() {
        let found = hosts(&[(20, "c"), (10, "a"), (20, "d")]);
        let MailHosts::Hosts(groups) = found else { panic!("{found:?}") };
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0], ["a"]);
        assert_eq!(groups[1].iter().collect::<HashSet<_>>().len(), 2);
    }

    #[test]
    fn every_one_of_three_equals_comes_first_for_some_chance() {
        let records = [(10, "a"), (10, "b"), (10, "c")];
        let mut rng = fastrand::Rng::with_seed(7);
        let first = |rng: &mut fastrand::Rng| match mail_hosts("x", Ok(answer(&records)), |n| rng.usize(..n))
        {
            Ok(MailRoute { hosts: MailHosts::Hosts(groups), .. }) => groups[0][0].clone(),
            other => panic!("{other:?}"),
        };
        let seen: HashSet<String> = (0..100).map(|_| first(&mut rng)).collect();
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn a_single_root_exchanger_is_a_null_mx() {
        assert_eq!(hosts(&[(0, ".")]), MailHosts::NullMx);
    }

    #[test]
    fn a_root_exchanger_among_others_is_ignored() {
        assert_eq!(hosts(&[(0, "."), (10, "a")]), MailHosts::Hosts(vec![vec!["a".into()]]));
    }

    #[test]
    fn a_host_named_twice_with_one_preference_is_tried_once() {
        assert_eq!(hosts(&[(10, "a"), (10, "a")]), MailHosts::Hosts(vec![vec!["a".into()]]));
    }

    #[test]
    fn a_domain_without_mx_is_its_own_exchanger_as_surely_as_the_answer_says_so() {
        for dnssec in [Dnssec::Secure, Dnssec::Insecure] {
            let found = mail_hosts("example.org", Err(LookupError::NoRecords { dnssec }), |_| 0);
            let hosts = MailHosts::Implicit("example.org".into());
            assert_eq!(found, Ok(MailRoute { hosts, dnssec, owner: "example.org".into() }));
        }
    }

    #[test]
    fn the_route_keeps_the_status_and_the_owner_of_the_answer() {
        let answer =
            Answer { dnssec: Dnssec::Secure, owner: "mail.example.net".into(), ..answer(&[(10, "a")]) };
        let found = mail_hosts("example.org", Ok(answer), |_| 0).expect("a route");
        assert_eq!((found.dnssec, found.owner.as_str()), (Dnssec::Secure, "mail.example.net"));
    }

    #[test]
    fn a_missing_domain_and_a_failed_lookup_are_no_implicit_mx() {
        for error in [
            LookupError::NoSuchDomain { dnssec: Dnssec::Secure },
            LookupError::Temporary("timed out".into()),
            LookupError::Bogus("example.org: expired".into()),
        ] {
            assert_eq!(mail_hosts("example.org", Err(error.clone()), |_| 0), Err(error));
        }
    }

    #[test]
    fn a_source_of_chance_that_lies_does_no_harm() {
        let found = mail_hosts("x", Ok(answer(&[(1, "a"), (1, "b")])), |_| usize::MAX);
        let hosts = found.expect("a route").hosts;
        assert_eq!(hosts, MailHosts::Hosts(vec![vec!["a".into(), "b".into()]]));
    }
}
