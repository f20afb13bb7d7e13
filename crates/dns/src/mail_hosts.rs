//! Which hosts take a domain's mail, and in which order (RFC 5321 §5.1).

use std::collections::BTreeMap;

use crate::{Answer, LookupError, Mx};

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
) -> Result<MailHosts, LookupError> {
    let records = match answer {
        Ok(answer) => answer.records,
        // RFC 5321 §5.1: an empty list of MXs is treated as an implicit MX; an error is not.
        Err(LookupError::NoRecords) => Vec::new(),
        Err(error) => return Err(error),
    };
    if records.is_empty() {
        return Ok(MailHosts::Implicit(domain.to_owned()));
    }
    Ok(in_order(records, below))
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
        Answer { records: records.collect(), dnssec: Dnssec::Indeterminate, ttl: Duration::ZERO }
    }

    fn hosts(records: &[(u16, &str)]) -> MailHosts {
        mail_hosts("example.org", Ok(answer(records)), |_| 0).expect("a positive answer has a meaning")
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
            Ok(MailHosts::Hosts(groups)) => groups[0][0].clone(),
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
    fn a_domain_without_mx_is_its_own_exchanger() {
        let found = mail_hosts("example.org", Err(LookupError::NoRecords), |_| 0);
        assert_eq!(found, Ok(MailHosts::Implicit("example.org".into())));
    }

    #[test]
    fn a_missing_domain_and_a_failed_lookup_are_no_implicit_mx() {
        for error in [LookupError::NoSuchDomain, LookupError::Temporary("timed out".into())] {
            assert_eq!(mail_hosts("example.org", Err(error.clone()), |_| 0), Err(error));
        }
    }

    #[test]
    fn a_source_of_chance_that_lies_does_no_harm() {
        let found = mail_hosts("x", Ok(answer(&[(1, "a"), (1, "b")])), |_| usize::MAX);
        assert_eq!(found, Ok(MailHosts::Hosts(vec![vec!["a".into(), "b".into()]])));
    }
}
