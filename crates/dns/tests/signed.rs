//! The real thing: zones signed by Knot, served by knotd, behind unbound. Every question is asked three ways, and every
//! way must come to the same: by unbound's word, validated here through unbound, and validated here through a resolver
//! that does not validate.

use std::time::Duration;

use postern_dns::{
    AnchorError, Dnssec, DnssecMode, LookupError, OpenError, Opened, Options, Resolver, Validation,
    Validator, open,
};
use postern_testkit::signed::{Signed, SignedWorld};

const ZONES: &[(&str, &str, Signed)] = &[
    ("example", "", Signed::Yes),
    (
        "good.example",
        "@ MX 10 mx\n\
         @ MX 20 mx.plain.example.\n\
         @ TXT \"v=STSv1; \" \"id=1\"\n\
         mx A 192.0.2.1\n\
         mx AAAA 2001:db8::1\n\
         four A 192.0.2.4\n\
         _25._tcp.mx TLSA 3 1 1 0101010101010101010101010101010101010101010101010101010101010101\n\
         _25._tcp.mx TLSA 2 0 2 ff\n\
         _25._tcp.far CNAME _25._tcp.mx\n\
         far CNAME mx.other.example.\n\
         away CNAME mx.plain.example.\n\
         astray CNAME mx.bad.example.\n\
         *.wild A 192.0.2.7\n\
         *.wild MX 5 mx\n",
        Signed::Yes,
    ),
    ("other.example", "mx A 192.0.2.2\n", Signed::Yes),
    ("plain.example", "@ MX 10 mx\nmx A 192.0.2.3\nback CNAME mx.good.example.\n", Signed::No),
    ("bad.example", "@ MX 10 mx\nmx A 192.0.2.5\n_25._tcp.mx TLSA 3 1 1 00\n", Signed::Tampered),
    ("old.example", "@ MX 10 mx\nmx A 192.0.2.6\n", Signed::Expired),
];

/// Who says whether an answer is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Word,
    OwnThroughUnbound,
    OwnThroughCareless,
}

const WAYS: [Way; 3] = [Way::Word, Way::OwnThroughUnbound, Way::OwnThroughCareless];

fn through(world: &SignedWorld, way: Way) -> Opened {
    let own = || DnssecMode::Own { anchors: Some(world.anchor_file.clone()) };
    let (server, dnssec) = match way {
        Way::Word => (world.unbound, DnssecMode::Resolver),
        Way::OwnThroughUnbound => (world.unbound, own()),
        Way::OwnThroughCareless => (world.careless, own()),
    };
    open(&Options { servers: vec![server], timeout: Some(Duration::from_secs(5)), dnssec })
        .expect("a resolver")
}

async fn asks_each_way(check: impl AsyncFn(Way, &dyn Resolver)) {
    let world = SignedWorld::start(ZONES);
    for way in WAYS {
        check(way, &*through(&world, way).resolver).await;
    }
}

#[tokio::test]
async fn validation_is_seen_to_work_where_it_does() {
    let world = SignedWorld::start(ZONES);
    let works = |validator| Validation::Works(validator);
    assert_eq!(through(&world, Way::Word).probe().await, works(Validator::Resolver));
    assert_eq!(through(&world, Way::OwnThroughUnbound).probe().await, works(Validator::Own));
    assert_eq!(through(&world, Way::OwnThroughCareless).probe().await, works(Validator::Own));
    let options =
        Options { servers: vec![world.careless], dnssec: DnssecMode::Resolver, ..Options::default() };
    let careless = open(&options).expect("a resolver");
    assert!(matches!(careless.probe().await, Validation::Missing(_)));
    let answer = careless.resolver.mx("good.example").await.expect("an answer");
    assert_eq!(answer.dnssec, Dnssec::Indeterminate);
}

#[tokio::test]
async fn another_world_s_anchor_makes_everything_bogus() {
    let (world, other) = (SignedWorld::start(ZONES), SignedWorld::start(&[]));
    let dnssec = DnssecMode::Own { anchors: Some(other.anchor_file.clone()) };
    let options = Options { servers: vec![world.careless], timeout: None, dnssec };
    let opened = open(&options).expect("a resolver");
    let found = opened.probe().await;
    assert!(matches!(found, Validation::Broken(_)), "{found:?}");
    let error = opened.resolver.mx("good.example").await.expect_err("wrong signatures");
    assert!(matches!(error, LookupError::Bogus(_)), "{error:?}");
}

#[tokio::test]
async fn signed_answers_are_secure() {
    asks_each_way(async |way, resolver| {
        let mx = resolver.mx("good.example").await.expect("an answer");
        assert_eq!((mx.records.len(), mx.dnssec), (2, Dnssec::Secure), "{way:?}");
        let addresses = resolver.addresses("mx.good.example").await.expect("an answer");
        assert_eq!((addresses.records.len(), addresses.dnssec), (2, Dnssec::Secure), "{way:?}");
        let four = resolver.addresses("four.good.example").await.expect("an answer");
        assert_eq!((four.records.len(), four.dnssec), (1, Dnssec::Secure), "{way:?}");
        let txt = resolver.txt("good.example").await.expect("an answer");
        assert_eq!((txt.records, txt.dnssec), (vec!["v=STSv1; id=1".to_owned()], Dnssec::Secure), "{way:?}");
    })
    .await;
}

#[tokio::test]
async fn certificates_are_secure_also_by_way_of_an_alias() {
    asks_each_way(async |way, resolver| {
        for (asked, owner) in [
            ("_25._tcp.mx.good.example", "_25._tcp.mx.good.example"),
            ("_25._tcp.far.good.example", "_25._tcp.mx.good.example"),
        ] {
            let tlsa = resolver.tlsa(asked).await.expect("an answer");
            assert_eq!((tlsa.dnssec, tlsa.owner.as_str()), (Dnssec::Secure, owner), "{way:?}");
            let usable = tlsa.records.iter().filter(|record| record.usable().is_ok()).count();
            assert_eq!((tlsa.records.len(), usable), (2, 1), "{way:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn that_there_is_nothing_is_secure_where_it_is_signed_and_insecure_where_not() {
    asks_each_way(async |way, resolver| {
        for (domain, dnssec) in [("good.example", Dnssec::Secure), ("plain.example", Dnssec::Insecure)] {
            let none = resolver.tlsa(&format!("mx.{domain}")).await;
            assert_eq!(none, Err(LookupError::NoRecords { dnssec }), "{way:?}");
            let missing = resolver.tlsa(&format!("_25._tcp.nobody.{domain}")).await;
            assert_eq!(missing, Err(LookupError::NoSuchDomain { dnssec }), "{way:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn answers_of_an_unsigned_zone_are_insecure() {
    asks_each_way(async |way, resolver| {
        assert_eq!(
            resolver.mx("plain.example").await.expect("an answer").dnssec,
            Dnssec::Insecure,
            "{way:?}"
        );
        let addresses = resolver.addresses("mx.plain.example").await.expect("an answer");
        assert_eq!(addresses.dnssec, Dnssec::Insecure, "{way:?}");
    })
    .await;
}

#[tokio::test]
async fn a_chain_of_aliases_is_secure_when_every_link_is() {
    asks_each_way(async |way, resolver| {
        for (asked, owner, dnssec) in [
            ("far.good.example", "mx.other.example", Dnssec::Secure),
            ("away.good.example", "mx.plain.example", Dnssec::Insecure),
            ("back.plain.example", "mx.good.example", Dnssec::Insecure),
        ] {
            let answer = resolver.addresses(asked).await.expect("an answer");
            assert_eq!((answer.owner.as_str(), answer.dnssec), (owner, dnssec), "{way:?} {asked}");
            assert!(answer.came_by_alias(asked));
        }
        let link = resolver.alias("away.good.example").await.expect("an alias");
        assert_eq!((link.records.as_str(), link.dnssec), ("mx.plain.example", Dnssec::Secure), "{way:?}");
    })
    .await;
}

#[tokio::test]
async fn wildcards_are_secure() {
    asks_each_way(async |way, resolver| {
        let answer = resolver.addresses("any.wild.good.example").await.expect("an answer");
        assert_eq!(
            (answer.dnssec, answer.owner.as_str()),
            (Dnssec::Secure, "any.wild.good.example"),
            "{way:?}"
        );
        assert_eq!(
            resolver.mx("x.wild.good.example").await.expect("an answer").dnssec,
            Dnssec::Secure,
            "{way:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn tampered_and_expired_signatures_are_bogus_and_named() {
    asks_each_way(async |way, resolver| {
        for name in ["bad.example", "old.example"] {
            let error = resolver.mx(name).await.expect_err("wrong signatures");
            assert!(matches!(&error, LookupError::Bogus(what) if what.contains(name)), "{way:?} {error:?}");
        }
        for name in ["mx.bad.example", "mx.old.example", "astray.good.example"] {
            let error = resolver.addresses(name).await.expect_err("wrong signatures");
            assert!(matches!(&error, LookupError::Bogus(_)), "{way:?} {name}: {error:?}");
        }
        let error = resolver.tlsa("_25._tcp.mx.bad.example").await.expect_err("wrong signatures");
        assert!(matches!(&error, LookupError::Bogus(_)), "{way:?} {error:?}");
        let error = resolver.tlsa("_25._tcp.nobody.bad.example").await.expect_err("a proof that is wrong");
        assert!(matches!(&error, LookupError::Bogus(_)), "{way:?} {error:?}");
    })
    .await;
}

#[tokio::test]
async fn an_anchor_file_that_is_none_is_refused() {
    let world = SignedWorld::start(&[]);
    let zone = world.anchor_file.with_file_name("serve.conf");
    for path in [zone, "/nonexistent/anchor".into()] {
        let options = Options {
            servers: vec![world.unbound],
            dnssec: DnssecMode::Own { anchors: Some(path.clone()) },
            ..Options::default()
        };
        match open(&options).err().expect("no resolver") {
            OpenError::Anchors(AnchorError::Malformed { .. } | AnchorError::Unreadable { .. }) => {}
            other => panic!("{other}"),
        }
    }
}
