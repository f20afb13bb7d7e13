//! Our client against our server, exchange against exchange: whoever knows the password gets in by every SCRAM mechanism,
//! and nobody else does, whatever he says.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postern_smtp::sasl::{
    Binding, BoundVariant, ChannelBindings, Claim, ClientExchange, Context, Credential, Mechanism, Nonces,
    ScramFault, ScramHash, ScramKey, ScramKeys, ScramProof, ServerContext, ServerExchange, Step,
};
use postern_smtp::secret::Secret;
use proptest::prelude::*;

const SCRAM: [Mechanism; 4] =
    [Mechanism::ScramSha256Plus, Mechanism::ScramSha256, Mechanism::ScramSha1Plus, Mechanism::ScramSha1];
const SALT: &[u8] = b"sixteen octets!!";
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();

/// How one exchange went.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Both sides are content; the server asks about this.
    Claimed(Claim),
    /// The server asks about this, and nobody is to be let in.
    Doubted(Claim),
    Malformed,
}

struct Sides {
    mechanism: Mechanism,
    user: String,
    password: String,
    acting_as: Option<String>,
    /// What the client calls the channel, and what the server does.
    channels: (Option<Binding>, ChannelBindings),
    /// What the client sees of the server's offer.
    offered: Vec<Mechanism>,
    bound_variant: BoundVariant,
    keys: Vec<ScramKey>,
}

fn exporter(octet: u8) -> ChannelBindings {
    ChannelBindings {
        exporter: Some(Binding::tls_exporter([octet; 32])),
        server_end_point: Some(Binding::tls_server_end_point([octet; 48])),
    }
}

fn hash_of(mechanism: Mechanism) -> ScramHash {
    mechanism.scram().expect("SCRAM")
}

fn key(mechanism: Mechanism, password: &str, label: u64) -> ScramKey {
    ScramKey::of(hash_of(mechanism), &Secret::new(password), SALT, ITERATIONS, label).expect("sayable")
}

impl Sides {
    fn new(mechanism: Mechanism, user: &str, password: &str) -> Self {
        Self {
            mechanism,
            user: user.to_owned(),
            password: password.to_owned(),
            acting_as: None,
            channels: (exporter(3).exporter, exporter(3)),
            offered: SCRAM.to_vec(),
            bound_variant: BoundVariant::Offered,
            keys: vec![key(mechanism, "another", 1), key(mechanism, password, 2)],
        }
    }

    fn begin(&self) -> (ClientExchange, ServerExchange, Step) {
        let credential = Credential::Password {
            user: self.user.clone(),
            password: Secret::new(self.password.as_str()),
            acting_as: self.acting_as.clone(),
        };
        let context =
            Context { nonce: [5; 18], channel_binding: self.channels.0.clone(), only: Some(self.mechanism) };
        let offered: Vec<String> = self.offered.iter().map(|mechanism| mechanism.name().to_owned()).collect();
        let (client, start) = ClientExchange::start(&offered, &credential, &context).expect("it can be said");
        let context = ServerContext {
            nonce: Nonces::new([9; 32]).draw(),
            channel_bindings: self.channels.1.clone(),
            bound_variant: self.bound_variant,
        };
        let initial = start.initial.expect("SCRAM begins with the client");
        let (server, step) = ServerExchange::start(self.mechanism, Some(initial.expose()), context);
        (client, server, step)
    }

    fn play(&self) -> End {
        let (mut client, mut server, mut step) = self.begin();
        loop {
            step = match step {
                Step::Challenge(challenge) => {
                    let challenge = challenge.expose_str().expect("base64");
                    match client.respond(challenge) {
                        Ok(answer) => server.respond(answer.expose()),
                        Err(broken) => panic!("{broken}"),
                    }
                }
                Step::Ask(Claim::Keys { hash, user }) => {
                    assert_eq!((hash, server.admits()), (hash_of(self.mechanism), false));
                    assert!(!user.is_empty());
                    let keys =
                        ScramKeys { salt: SALT.to_vec(), iterations: ITERATIONS, keys: self.keys.clone() };
                    server.keys(keys).expect("it asked for them")
                }
                Step::Ask(claim) if server.admits() => {
                    client.conclude().expect("the server has proved itself");
                    return End::Claimed(claim);
                }
                Step::Ask(claim) => return End::Doubted(claim),
                Step::Malformed => return End::Malformed,
            }
        }
    }

    fn doubt(&self) -> ScramProof {
        match self.play() {
            End::Doubted(Claim::Scram { proof, .. }) => proof,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_channel_that_was_exchanged_on_the_way_is_noticed() {
    for mechanism in [Mechanism::ScramSha256Plus, Mechanism::ScramSha1Plus] {
        let mut sides = Sides::new(mechanism, "tim", "tanstaaf");
        sides.channels.1 = exporter(4);
        assert_eq!(sides.doubt(), ScramProof::Void(ScramFault::OtherChannel));
        sides.channels.1.exporter = None;
        assert_eq!(sides.doubt(), ScramProof::Void(ScramFault::UnknownChannel));
    }
}

#[test]
fn an_offer_that_was_cut_on_the_way_is_noticed() {
    for mechanism in [Mechanism::ScramSha256, Mechanism::ScramSha1] {
        let mut sides = Sides::new(mechanism, "tim", "tanstaaf");
        sides.offered = vec![mechanism];
        assert_eq!(sides.doubt(), ScramProof::Void(ScramFault::Downgraded));
        sides.bound_variant = BoundVariant::Absent;
        assert!(matches!(sides.play(), End::Claimed(_)));
    }
}

#[test]
fn the_certificates_hash_names_the_channel_too() {
    for mechanism in [Mechanism::ScramSha256Plus, Mechanism::ScramSha1Plus] {
        let mut sides = Sides::new(mechanism, "tim", "tanstaaf");
        sides.channels.0 = exporter(3).server_end_point;
        assert!(matches!(sides.play(), End::Claimed(_)));
        sides.channels.0 = exporter(4).server_end_point;
        assert_eq!(sides.doubt(), ScramProof::Void(ScramFault::OtherChannel));
    }
}

/// Lines that come near to what a client says in SCRAM, PLAIN and with tokens, and others.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let nonce = STANDARD.encode(Nonces::new([9; 32]).draw());
    let field = prop::sample::select(vec![
        "n,,n=tim,r=abc".to_owned(),
        "y,,n=tim,r=abc".to_owned(),
        "p=tls-exporter,,n=tim,r=abc".to_owned(),
        "n,a=ann,n=tim,r=abc".to_owned(),
        "c=biws".to_owned(),
        format!("r=abc{nonce}"),
        "r=abc".to_owned(),
        format!("p={}", STANDARD.encode([0; 32])),
        format!("p={}", STANDARD.encode([0; 20])),
        "m=x".to_owned(),
        "x=y".to_owned(),
        "\u{1}auth=Bearer t\u{1}\u{1}".to_owned(),
        "user=tim".to_owned(),
        String::new(),
    ]);
    let fields = prop::collection::vec(field, 0..5).prop_map(|fields| STANDARD.encode(fields.join(",")));
    prop_oneof![
        6 => fields.prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(|octets| STANDARD.encode(octets).into_bytes()),
        1 => Just(Vec::new()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whoever_knows_the_password_gets_in(
        mechanism in prop::sample::select(SCRAM.to_vec()),
        user in "[a-z=,@.]{1,20}",
        password in "[ -~\u{e0}-\u{ff}]{1,30}",
        other in prop::option::of("[a-z=,]{1,10}"),
    ) {
        let mut sides = Sides::new(mechanism, &user, &password);
        sides.acting_as.clone_from(&other);
        let right = ScramProof::Right { label: if password == "another" { 1 } else { 2 } };
        let acting_as = other.filter(|other| *other != user);
        prop_assert_eq!(sides.play(), End::Claimed(Claim::Scram { user, acting_as, proof: right }));
    }

    #[test]
    fn whoever_does_not_know_it_does_not(
        mechanism in prop::sample::select(SCRAM.to_vec()),
        password in "[ -~]{1,30}",
        known in prop::collection::vec("[ -~]{1,30}", 0..3),
    ) {
        prop_assume!(!known.contains(&password));
        let mut sides = Sides::new(mechanism, "tim", &password);
        sides.keys = known.iter().zip(1..).map(|(known, label)| key(mechanism, known, label)).collect();
        prop_assert_eq!(sides.doubt(), ScramProof::Wrong);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_is_admitted_by_scram_without_a_proof_whatever_the_bytes(
        mechanism in prop::sample::select(Mechanism::ALL.to_vec()),
        lines in prop::collection::vec(line(), 0..6),
        key_octets in any::<[u8; 32]>(),
    ) {
        let context = ServerContext {
            nonce: Nonces::new([9; 32]).draw(),
            channel_bindings: exporter(3),
            bound_variant: BoundVariant::Absent,
        };
        let (mut server, _) = ServerExchange::start(mechanism, None, context);
        for line in lines {
            if let Step::Ask(Claim::Keys { .. }) = server.respond(&line) {
                let octets = Secret::new(key_octets);
                let key = ScramKey { label: 1, stored: octets.clone(), server: octets };
                let keys = ScramKeys { salt: SALT.to_vec(), iterations: ITERATIONS, keys: vec![key] };
                prop_assert!(matches!(server.keys(keys), Some(Step::Challenge(_))));
            }
            prop_assert!(mechanism.scram().is_none() || !server.admits());
        }
    }
}
