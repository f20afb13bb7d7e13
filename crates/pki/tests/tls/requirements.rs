//! Whatever certificates a peer shows and whatever it is judged by: a handshake ends well exactly when the requirement is
//! satisfied, and no proof is given that was not earned.

use std::sync::LazyLock;

use postern_dns::tlsa::{Matching, Selector, Tlsa, Usage};
use postern_pki::{ClientHello, ClientTls, PeerPolicy, Pin};
use postern_smtp::tls::{Level, Proof, TlsRequirement};
use proptest::prelude::*;

use crate::dane::record;
use crate::pins::pins;
use crate::world::{Authority, GOOD, HOST, Host, NOT_BEGUN, OVER, leaf, meet};

/// Some authorities and hosts; made once, as keys cost time.
struct Pool {
    client: ClientTls,
    authorities: Vec<Authority>,
    /// Each with what is true of it: whether its name and dates are good, and whose it is.
    hosts: Vec<(Host, bool, Option<usize>)>,
}

const TRUSTED: usize = 0;
const BELOW: usize = 1;

static POOL: LazyLock<Pool> = LazyLock::new(|| {
    let root = Authority::root("root");
    let below = root.below("below");
    let authorities = vec![root, below, Authority::root("stranger"), Authority::root("root")];
    let mut hosts = Vec::new();
    for (names, life, good) in
        [(HOST, GOOD, true), ("other.example", GOOD, false), (HOST, OVER, false), (HOST, NOT_BEGUN, false)]
    {
        for (place, authority) in authorities.iter().enumerate() {
            hosts.push((authority.host_for(&[names], life), good, Some(place)));
        }
        hosts.push((Host::self_signed(&leaf(&[names], life)), good, None));
    }
    Pool { client: authorities[TRUSTED].trusted(), authorities, hosts }
});

#[derive(Debug, Clone)]
struct Case {
    requirement: TlsRequirement,
    host: usize,
    sent: Vec<usize>,
    /// Usage, selector, matching, and whose: a host's or, from the number of hosts on, an authority's.
    tlsa: Vec<(bool, bool, u8, usize)>,
    pins: Vec<(usize, bool)>,
    distrust: Vec<(usize, bool)>,
    small: bool,
}

const HOSTS: usize = 20;
const AUTHORITIES: usize = 4;

fn any_case() -> impl Strategy<Value = Case> {
    let demands = [
        TlsRequirement::OPPORTUNISTIC,
        TlsRequirement::REQUIRED,
        TlsRequirement::AUTHENTICATED,
        TlsRequirement::VERIFIED,
        TlsRequirement::DANE,
        TlsRequirement::PINNED,
    ];
    let requirement = prop::collection::vec(prop::sample::select(demands.to_vec()), 1..3)
        .prop_map(|all| all.into_iter().fold(TlsRequirement::NONE, TlsRequirement::join));
    let record = (any::<bool>(), any::<bool>(), 0..3_u8, 0..HOSTS + AUTHORITIES);
    let pin = || prop::collection::vec((0..HOSTS, any::<bool>()), 0..3);
    (
        requirement,
        0..HOSTS,
        prop::collection::vec(0..AUTHORITIES, 0..4),
        prop::collection::vec(record, 0..4),
        pin(),
        pin(),
        any::<bool>(),
        // Records and pins of the host itself, or there would hardly ever be a match.
        any::<[bool; 2]>(),
    )
        .prop_map(
            |(requirement, host, sent, mut tlsa, mut pins, distrust, small, [own_record, own_pin])| {
                if own_record {
                    tlsa.push((false, true, 1, host));
                }
                if own_pin {
                    pins.push((host, true));
                }
                Case { requirement, host, sent, tlsa, pins, distrust, small }
            },
        )
}

impl Case {
    fn host(&self) -> Host {
        let others: Vec<&Authority> = self.sent.iter().map(|place| &POOL.authorities[*place]).collect();
        POOL.hosts[self.host].0.clone().with(&others)
    }

    fn policy(&self) -> PeerPolicy {
        PeerPolicy {
            requirement: self.requirement,
            tlsa: self.tlsa.iter().map(tlsa).collect(),
            pins: self.pins.iter().map(pin).collect(),
            distrust: self.distrust.iter().map(pin).collect(),
            hello: if self.small { ClientHello::Small } else { ClientHello::Full },
            ..PeerPolicy::default()
        }
    }

    fn is_distrusted(&self) -> bool {
        self.distrust.iter().any(|(host, _)| *host == self.host)
    }

    /// By how it was made, not by looking at it.
    fn is_verified(&self) -> bool {
        let (_, good, authority) = &POOL.hosts[self.host];
        let linked = match authority {
            Some(TRUSTED) => true,
            Some(BELOW) => self.sent.contains(&BELOW),
            _ => false,
        };
        *good && linked
    }

    fn is_pinned(&self) -> bool {
        self.pins.iter().any(|(host, _)| *host == self.host)
    }

    fn has_own_record(&self) -> bool {
        self.tlsa.iter().any(|(anchor, _, _, whose)| !anchor && *whose == self.host)
    }

    /// Whether a record names an authority at all; the tests of DANE say when that is proof.
    fn has_anchor_record(&self) -> bool {
        self.tlsa.iter().any(|(anchor, _, _, whose)| *anchor && (*whose >= HOSTS || *whose == self.host))
    }
}

fn tlsa((anchor, key, matching, whose): &(bool, bool, u8, usize)) -> Tlsa {
    let usage = if *anchor { Usage::TrustAnchor } else { Usage::EndEntity };
    let selector = if *key { Selector::Spki } else { Selector::Cert };
    let matching = [Matching::Full, Matching::Sha256, Matching::Sha512][usize::from(*matching)];
    if let Some(place) = whose.checked_sub(HOSTS) {
        let authority = &POOL.authorities[place];
        return record(usage, selector, matching, (&authority.certificate, &authority.key()));
    }
    let host = &POOL.hosts[*whose].0;
    record(usage, selector, matching, (&host.chain[0], &host.spki()))
}

fn pin((host, key): &(usize, bool)) -> Pin {
    pins(&POOL.hosts[*host].0)[usize::from(*key)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_handshake_ends_well_exactly_when_the_requirement_is_satisfied(case in any_case()) {
        let config = case.host().config();
        match meet(&POOL.client.handshake(&case.policy()), &config) {
            Ok(facts) => {
                prop_assert!(case.requirement.is_satisfied_by(Some(&facts)));
                let given = facts.peer.given;
                let trusted = !case.is_distrusted();
                prop_assert_eq!(given.contains(Proof::Verified), trusted && case.is_verified());
                prop_assert_eq!(given.contains(Proof::Pinned), trusted && case.is_pinned());
                if given.contains(Proof::Dane) {
                    prop_assert!(trusted && (case.has_own_record() || case.has_anchor_record()));
                }
                if trusted && case.has_own_record() {
                    prop_assert!(given.contains(Proof::Dane));
                }
            }
            Err(refused) => {
                prop_assert!(case.requirement.level() == Level::Authenticated);
                prop_assert!(refused.certificate.is_some() && !refused.why.is_empty());
                // The same host under no demand shows that it was refused for a reason.
                let policy = PeerPolicy { requirement: TlsRequirement::OPPORTUNISTIC, ..case.policy() };
                let facts = meet(&POOL.client.handshake(&policy), &config).unwrap();
                prop_assert!(!case.requirement.is_satisfied_by(Some(&facts)));
            }
        }
    }
}
