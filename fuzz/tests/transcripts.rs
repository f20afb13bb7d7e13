//! The fuzz targets on the transcripts: as they are, and with decisions, cuts and splices that nobody wrote down.

use postern_fuzz::seeds::{self, Seed, with_decisions};
use proptest::collection::vec;
use proptest::prelude::*;

fn seeds() -> Vec<Seed> {
    let seeds = seeds::all().expect("the transcripts of the smtp crate");
    assert!(seeds.len() > 100, "{} transcripts", seeds.len());
    seeds
}

#[test]
fn every_target_takes_every_transcript() {
    for seed in seeds() {
        for wire in [&seed.client, &seed.server] {
            postern_fuzz::command(wire);
            postern_fuzz::content(wire);
            postern_fuzz::header(wire);
            postern_fuzz::tls_report(wire);
            postern_fuzz::mta_sts(wire);
            postern_fuzz::tlsa(wire);
            postern_fuzz::certificate_files(wire);
            postern_fuzz::signing_request(wire);
            postern_fuzz::reply(wire);
            postern_fuzz::client(&with_decisions(wire));
            postern_fuzz::sasl_client(&with_decisions(wire));
            postern_fuzz::sasl_server(&with_decisions(wire));
            postern_fuzz::dsn(&with_decisions(wire));
            postern_fuzz::server(&with_decisions(wire));
        }
    }
}

#[test]
fn the_target_for_hellos_takes_its_seeds() {
    for (name, octets) in postern_fuzz::hello_seeds() {
        assert!(postern_smtp::tls::TlsOffer::parse(&octets).is_some(), "{name}");
        postern_fuzz::tls_offer(&octets);
    }
}

#[test]
fn the_target_for_certificates_takes_its_seeds() {
    for (_, octets) in postern_fuzz::tlsa_seeds() {
        postern_fuzz::tlsa(&octets);
    }
}

/// Any settings, and then decisions most of which are for the usual course of things.
fn decisions() -> impl Strategy<Value = Vec<u8>> {
    let usual = prop_oneof![12 => Just(0), 2 => 1_u8..20, 1 => any::<u8>()];
    (vec(any::<u8>(), 0..6), vec(usual, 0..40)).prop_map(|(settings, others)| [settings, others].concat())
}

/// The end of one behind the beginning of another, behind some decisions.
fn splice(side: fn(Seed) -> Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let wires: Vec<Vec<u8>> = seeds().into_iter().map(side).filter(|wire| wire.len() < 2_000).collect();
    let wire = || (prop::sample::select(wires.clone()), any::<prop::sample::Index>());
    (decisions(), wire(), wire()).prop_map(|(decisions, (one, end), (other, start))| {
        let length = u8::try_from(decisions.len()).expect("fewer than 46");
        let (one, other) = (&one[..end.index(one.len() + 1)], &other[start.index(other.len() + 1)..]);
        [&[length], decisions.as_slice(), one, other].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_splice_of_clients_breaks_the_server(data in splice(|seed| seed.client)) {
        postern_fuzz::server(&data);
    }

    #[test]
    fn no_splice_of_clients_breaks_the_sign_in(data in splice(|seed| seed.client)) {
        postern_fuzz::sasl_server(&data);
    }

    #[test]
    fn no_splice_of_servers_breaks_the_sign_in(data in splice(|seed| seed.server)) {
        postern_fuzz::sasl_client(&data);
    }

    #[test]
    fn no_splice_of_servers_breaks_the_client(data in splice(|seed| seed.server)) {
        postern_fuzz::client(&data);
    }
}
