//! A host's addresses out of two answers, one for IPv6 and one for IPv4.
//!
//! [`both_families`] is all there is, and it is pure. The rule is that a failure never passes for a fact
//! ("there are no addresses"), that half an answer is better than none, and that the whole is no more
//! secure than its weaker half.
//!
//! What it deliberately does not do: ask, order the addresses by preference, or leave one family out because this machine
//! has no such address: the connector's own settings do that.

use std::net::IpAddr;

use crate::{Answer, LookupError};

type Addresses = Result<Answer<Vec<IpAddr>>, LookupError>;

/// One answer out of two. A family that failed is left out while the other has addresses; a host without addresses in
/// one family and a failed lookup in the other is a failure, not a fact. The status is the weaker one, that of "there is
/// none of this family" included.
pub(crate) fn both_families(six: Addresses, four: Addresses) -> Addresses {
    match (six, four) {
        (Ok(mut six), Ok(four)) => {
            six.records.extend(four.records);
            six.ttl = six.ttl.min(four.ttl);
            six.dnssec = six.dnssec.and(four.dnssec);
            Ok(six)
        }
        (Ok(mut answer), Err(none)) | (Err(none), Ok(mut answer)) => {
            if let LookupError::NoRecords { dnssec } | LookupError::NoSuchDomain { dnssec } = none {
                answer.dnssec = answer.dnssec.and(dnssec);
            }
            Ok(answer)
        }
        (Err(six), Err(four)) => Err(neither(six, four)),
    }
}

/// That the name does not exist says most; then a failure; then that there are no records.
fn neither(six: LookupError, four: LookupError) -> LookupError {
    use LookupError::{NoRecords, NoSuchDomain};
    match (six, four) {
        (NoSuchDomain { dnssec: a }, NoSuchDomain { dnssec: b }) => NoSuchDomain { dnssec: a.and(b) },
        (NoRecords { dnssec: a }, NoRecords { dnssec: b }) => NoRecords { dnssec: a.and(b) },
        (missing @ NoSuchDomain { .. }, _) | (_, missing @ NoSuchDomain { .. }) => missing,
        (NoRecords { .. }, trouble) | (trouble, _) => trouble,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Dnssec::{Insecure, Secure};
    use crate::LookupError::{NoRecords, NoSuchDomain};

    fn answer(address: [u8; 4], dnssec: crate::Dnssec) -> Answer<Vec<IpAddr>> {
        let (records, owner) = (vec![address.into()], "mx.example.org".to_owned());
        Answer { records, owner, dnssec, ttl: Duration::from_secs(u64::from(address[3])) }
    }

    #[test]
    fn addresses_of_both_families_are_as_secure_as_the_weaker_one() {
        let both = both_families(Ok(answer([192, 0, 2, 7], Secure)), Ok(answer([192, 0, 2, 9], Insecure)));
        let both = both.expect("addresses");
        assert_eq!((both.records.len(), both.dnssec, both.ttl.as_secs()), (2, Insecure, 7));
        let one = both_families(Err(NoRecords { dnssec: Insecure }), Ok(answer([192, 0, 2, 9], Secure)));
        assert_eq!(one.expect("addresses").dnssec, Insecure);
    }

    #[test]
    fn a_family_that_cannot_be_asked_is_left_out() {
        let trouble = LookupError::Temporary("timed out".into());
        let found = both_families(Err(trouble.clone()), Ok(answer([192, 0, 2, 9], Secure)));
        assert_eq!(found, Ok(answer([192, 0, 2, 9], Secure)));
        let found = both_families(Err(NoRecords { dnssec: Secure }), Err(trouble.clone()));
        assert_eq!(found, Err(trouble));
    }

    #[test]
    fn a_name_that_does_not_exist_for_one_family_does_not_exist() {
        let trouble = LookupError::Bogus("x".into());
        let missing = NoSuchDomain { dnssec: Secure };
        assert_eq!(both_families(Err(trouble), Err(missing.clone())), Err(missing));
    }
}
