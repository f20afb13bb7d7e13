//! What Postern would do with mail now, given what was seen: the rules of deliveries, applied to facts.
//!
//! [`of_session`] says for one address whether mail would go over it and how well protected, or what it would come to;
//! [`overall`] goes through the addresses in the order in which a delivery tries them. Pure. What is refused here a delivery
//! refuses too, and the words are those of [`diagnose`].
//!
//! What it deliberately does not do: connect, or look at a queue.

use postern_pki::Aspect;
use postern_queue::Destination;
use postern_smtp::client::Protocol;
use postern_smtp::outcome::{Outcome, Reason, Step, Trouble};
use postern_smtp::reply::Reply;
use postern_smtp::tls::{Level, Proof, TlsFacts, TlsFailure, TlsFault, TlsRequirement};

use super::session::{Door, Seen, Start, Try};
use super::view::{Outlook, Verdict};
use crate::config::Connector;
use crate::diagnosis::diagnose;
use crate::event::clean;
use crate::outbound::attempt::{decisive, no_host_at_all};
use crate::outbound::live::witness;
use crate::outbound::plan::HostTerms;

/// Mail would go, and this is how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Going {
    pub(super) outlook: Outlook,
    pub(super) words: String,
}

/// What mail over one address would come to.
pub(super) type Prospect = Result<Going, Outcome>;

/// What is demanded at one address, and how it was gone about.
#[derive(Clone, Copy)]
pub(super) struct Judge<'a> {
    pub(super) terms: &'a Result<HostTerms, Box<Trouble>>,
    pub(super) connector: &'a Connector,
    pub(super) door: Door<'a>,
}

/// What mail over this address would come to.
pub(super) fn of_session(judge: Judge<'_>, seen: &Seen) -> Prospect {
    let terms = judge.terms.as_ref().map_err(|trouble| Outcome::Deferred((**trouble).clone()))?;
    let case = Case { terms, judge, seen };
    case.prospect().map_err(|outcome| case.witnessed(outcome))
}

/// What all of it comes to: mail goes over the first address that takes it; it fails only where all refuse for good.
pub(super) fn overall(prospects: &[(String, Prospect)], destination: &Destination) -> Verdict {
    if let Some((via, going)) =
        prospects.iter().find_map(|(via, prospect)| Some((via, prospect.as_ref().ok()?)))
    {
        return Verdict { via: Some(via.clone()), ..Verdict::going(going) };
    }
    let refusals: Vec<&Outcome> =
        prospects.iter().filter_map(|(_, prospect)| prospect.as_ref().err()).collect();
    let none = no_host_at_all();
    let decisive = decisive(&refusals).and_then(|index| refusals.get(index).copied());
    Verdict::of(decisive.unwrap_or(&none), destination)
}

impl Verdict {
    pub(super) fn going(going: &Going) -> Self {
        Self { outlook: going.outlook, words: going.words.clone(), via: None, diagnosis: None }
    }

    /// What an outcome that is no delivery means.
    pub(super) fn of(outcome: &Outcome, destination: &Destination) -> Self {
        let (outlook, verb) = match outcome {
            Outcome::Failed(_) => (Outlook::Fails, "would fail"),
            Outcome::Deferred(_) | Outcome::Delivered(_) => (Outlook::Waits, "would wait"),
        };
        let Some(trouble) = outcome.trouble() else {
            return Self { outlook, words: verb.to_owned(), via: None, diagnosis: None };
        };
        let mut diagnosis = diagnose(trouble, destination);
        // A reply may have as many lines as its server likes.
        diagnosis.evidence.iter_mut().for_each(|fact| *fact = clean(fact));
        let words = format!("{verb}: {}", trouble.reason);
        Self { outlook, words, via: None, diagnosis: Some(diagnosis) }
    }

    pub(super) fn of_prospect(prospect: &Prospect, destination: &Destination) -> Self {
        match prospect {
            Ok(going) => Self::going(going),
            Err(outcome) => Self::of(outcome, destination),
        }
    }
}

#[derive(Clone, Copy)]
struct Case<'a> {
    terms: &'a HostTerms,
    judge: Judge<'a>,
    seen: &'a Seen,
}

impl Case<'_> {
    fn requirement(&self) -> TlsRequirement {
        self.terms.demands.requirement()
    }

    fn prospect(&self) -> Prospect {
        let implicit = self.judge.door.start == Start::Implicit;
        if self.judge.door.start == Start::Never {
            self.spoken()?;
            let words = "would go to a socket on this machine".to_owned();
            return self.signed_in(Going { outlook: Outlook::Local, words }, None);
        }
        if self.requirement() == TlsRequirement::NONE && !implicit {
            self.spoken()?;
            return self.clear("nothing is demanded, so TLS is not tried");
        }
        match self.usable_try() {
            Some((attempt, Ok(facts))) => self.encrypted(attempt, facts),
            Some((_, Err(failure))) if self.may_fall_back() => {
                self.clear(&format!("the TLS handshake fails: {}", failure.why))
            }
            Some((_, Err(failure))) => Err(tls_failed(failure)),
            None => self.without_tls(),
        }
    }

    /// The handshake that counts: the small hello is tried by opportunistic TLS only.
    fn usable_try(&self) -> Option<(&Try, &Result<TlsFacts, TlsFailure>)> {
        let tries = &self.seen.tries;
        let attempt =
            if self.may_fall_back() { tries.iter().find(|attempt| attempt.result.is_ok()) } else { None };
        attempt.or(tries.first()).map(|attempt| (attempt, &attempt.result))
    }

    /// RFC 7435 §3: the ladder is for opportunistic TLS alone.
    fn may_fall_back(&self) -> bool {
        self.requirement() == TlsRequirement::OPPORTUNISTIC && self.judge.door.start == Start::Upgrade
    }

    fn encrypted(&self, attempt: &Try, facts: &TlsFacts) -> Prospect {
        if !self.requirement().is_satisfied_by(Some(facts)) {
            return Err(tls_failed(&self.shortfall(attempt, facts)));
        }
        if let Some(halt) = &self.seen.halt {
            return Err(self.refusal(halt, Some(facts)));
        }
        let version = facts.version.replace("TLSv", "TLS ");
        if facts.peer.is_authenticated() {
            let proofs = proofs_in_words(facts);
            let words = format!("would go, {version}, {proofs}");
            return self.signed_in(Going { outlook: Outlook::Authenticated, words }, Some(facts));
        }
        let doubt = facts.peer.doubt().map_or("no certificate was shown", |doubt| doubt.why.as_str());
        let words = format!("would go, encrypted with {version}, unverified ({doubt})");
        self.signed_in(Going { outlook: Outlook::Unauthenticated, words }, Some(facts))
    }

    /// No handshake came about at all.
    fn without_tls(&self) -> Prospect {
        self.spoken()?;
        if let Some(reply) = &self.seen.starttls {
            if self.requirement().allows_clear() {
                return self.clear("it offers STARTTLS and refuses it");
            }
            return Err(self.unmet(&TlsFailure::refused(), Some(reply.clone())));
        }
        let failure = match &self.seen.middlebox {
            Some(sign) => TlsFailure::stripped(sign),
            None => TlsFailure::not_offered(),
        };
        if self.requirement().allows_clear() {
            return self.clear(&failure.why);
        }
        Err(self.unmet(&failure, None))
    }

    /// The server was spoken to in clear, and an EHLO that it did not understand is no hindrance.
    fn spoken(&self) -> Result<(), Outcome> {
        if let Some(halt) = &self.seen.halt {
            return Err(self.refusal(halt, None));
        }
        let plain = self.judge.door.protocol == Protocol::Smtp
            && self.requirement().allows_clear()
            && self.judge.connector.credential.is_none();
        match &self.seen.misunderstood {
            Some(reply) if !plain && self.seen.middlebox.is_none() => {
                let trouble = Trouble::new(Step::Hello, Reason::Refused).with_reply(Some(reply.clone()));
                Err(self.refusal(&trouble, None))
            }
            _ => Ok(()),
        }
    }

    /// What anybody could have said delays mail and never bounces it.
    fn refusal(&self, trouble: &Trouble, facts: Option<&TlsFacts>) -> Outcome {
        let permanent =
            trouble.reason == Reason::Refused && trouble.reply.as_ref().is_some_and(Reply::is_permanent);
        if permanent && self.requirement().is_satisfied_by(facts) {
            return Outcome::Failed(trouble.clone());
        }
        Outcome::Deferred(trouble.clone())
    }

    fn clear(&self, why: &str) -> Prospect {
        let words = format!("would go in clear: {why}");
        self.signed_in(Going { outlook: Outlook::Clear, words }, None)
    }

    /// Credentials go only to a peer that proved who it is.
    fn signed_in(&self, going: Going, facts: Option<&TlsFacts>) -> Prospect {
        let authenticated = facts.is_some_and(|facts| facts.peer.is_authenticated());
        if self.judge.connector.credential.is_none() || authenticated {
            return Ok(going);
        }
        let why = "the connection is not encrypted to a server that proved who it is".to_owned();
        Err(Outcome::Deferred(Trouble::new(Step::Authenticate, Reason::CredentialsWithheld(why))))
    }

    fn unmet(&self, failure: &TlsFailure, reply: Option<Reply>) -> Outcome {
        Outcome::Deferred(Trouble::unmet(failure, self.requirement()).with_reply(reply))
    }

    /// The first demanded proof that was not given, and why not.
    fn shortfall(&self, attempt: &Try, facts: &TlsFacts) -> TlsFailure {
        let (demanded, peer) = (self.requirement(), &facts.peer);
        let of_check = |about: Aspect| {
            let check = attempt.checks.iter().find(|check| check.about == about)?;
            check.result.clone().err()
        };
        let lacking = demanded.proofs().iter().find(|proof| !peer.given.contains(*proof));
        let failure = match lacking {
            Some(Proof::Verified) => peer.missing.first().cloned(),
            Some(Proof::Dane) => of_check(Aspect::Distrust).or_else(|| of_check(Aspect::Dane)),
            Some(Proof::Pinned) => {
                let checked = of_check(Aspect::Distrust).or_else(|| of_check(Aspect::Pins));
                Some(checked.unwrap_or_else(TlsFailure::without_pins))
            }
            None if demanded.level() == Level::Authenticated => peer.missing.last().cloned(),
            None => None,
        };
        let nothing = || TlsFailure::new(TlsFault::NoCertificate, "it showed no certificate");
        failure.unwrap_or_else(nothing).about(peer.certificate.clone())
    }

    /// The outcome with what was seen, as a delivery records it.
    fn witnessed(&self, mut outcome: Outcome) -> Outcome {
        if let Outcome::Deferred(trouble) | Outcome::Failed(trouble) = &mut outcome {
            let facts = self.seen.secured().map(|(_, facts)| facts);
            witness(trouble, &self.judge.door.next_hop.to_string(), facts, &self.terms.demands);
        }
        outcome
    }
}

fn tls_failed(failure: &TlsFailure) -> Outcome {
    Outcome::Deferred(Trouble::of_tls(Reason::TlsFailed(failure.why.clone()), failure))
}

fn proofs_in_words(facts: &TlsFacts) -> String {
    let words = facts.peer.given.iter().map(|proof| match proof {
        Proof::Verified => "verified",
        Proof::Dane => "DANE",
        Proof::Pinned => "pinned",
    });
    let words: Vec<&str> = words.collect();
    match words.as_slice() {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        words => words.concat(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::{Duration, Instant};

    use postern_pki::{ClientHello, ClientTls, PeerPolicy};
    use postern_smtp::tls::{Demands, PeerProof, Proofs, Source};

    use super::super::dialogue::Clock;
    use super::super::session::Reach;
    use super::*;
    use crate::config::{File, Surroundings};
    use crate::outbound::route::{NextHop, Socket};

    const REQUIREMENTS: [TlsRequirement; 7] = [
        TlsRequirement::NONE,
        TlsRequirement::OPPORTUNISTIC,
        TlsRequirement::REQUIRED,
        TlsRequirement::AUTHENTICATED,
        TlsRequirement::VERIFIED,
        TlsRequirement::DANE,
        TlsRequirement::PINNED,
    ];

    fn connector() -> Connector {
        let text = "hostname = \"mail.example.org\"\n[[listener]]\nname = \"mx\"\nrole = \"relay\"\nbind = [\"127.0.0.1:0\"]\n";
        let config = File::parse(text, "test").unwrap().resolve(&Surroundings::default()).unwrap();
        config.connectors[0].clone()
    }

    fn terms(requirement: TlsRequirement) -> HostTerms {
        let demands = Demands::one(requirement, Source::AllMail);
        HostTerms { demands, peer: PeerPolicy::of(requirement), trust: None }
    }

    fn prospect(requirement: TlsRequirement, start: Start, seen: &Seen) -> Prospect {
        let at = Socket::Tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 25));
        let next_hop = NextHop { host: "mx.example.net".into(), at };
        let (policy, tls) = (PeerPolicy::default(), Err::<ClientTls, _>("none".to_owned()));
        let clock = Clock { step: Duration::from_secs(1), end: Instant::now() };
        let door = Door {
            next_hop: &next_hop,
            server_name: "mx.example.net",
            start,
            protocol: Protocol::Smtp,
            hello: "mail.example.org",
            source: &[],
            policy: &policy,
            tls: &tls,
            clock,
        };
        of_session(Judge { terms: &Ok(terms(requirement)), connector: &connector(), door }, seen)
    }

    fn ehlo(keywords: &[&str]) -> Reply {
        let lines = ["mx"].iter().chain(keywords).map(|line| (*line).to_owned()).collect();
        Reply { code: 250, enhanced: None, lines }
    }

    fn facts(given: Proofs) -> TlsFacts {
        TlsFacts {
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_256_GCM_SHA384".into(),
            group: None,
            server_name: None,
            peer: PeerProof { given, ..PeerProof::unverified("no") },
            channel_bindings: postern_smtp::sasl::ChannelBindings::default(),
        }
    }

    fn attempt(hello: ClientHello, result: Result<TlsFacts, TlsFailure>) -> Try {
        Try { hello, took: Duration::ZERO, result, chain: Vec::new(), checks: Vec::new() }
    }

    fn broken() -> Result<TlsFacts, TlsFailure> {
        Err(TlsFailure::new(TlsFault::Broken, "it broke off"))
    }

    fn offering(tries: Vec<Try>) -> Seen {
        let starttls = Some(Reply::plain(220, "Go ahead"));
        Seen { reach: Reach::Open, before: Some(ehlo(&["STARTTLS"])), starttls, tries, ..Seen::default() }
    }

    /// Everything that may be seen of TLS, with the best that deliveries could make of it by which requirement.
    fn scenes() -> Vec<Seen> {
        let proofs = [Proofs::EMPTY, Proof::Verified.into(), Proof::Dane.into(), Proof::Pinned.into()];
        let secured = proofs.map(|given| offering(vec![attempt(ClientHello::Full, Ok(facts(given)))]));
        let small = proofs.map(|given| {
            offering(vec![
                attempt(ClientHello::Full, broken()),
                attempt(ClientHello::Small, Ok(facts(given))),
            ])
        });
        let failing =
            offering(vec![attempt(ClientHello::Full, broken()), attempt(ClientHello::Small, broken())]);
        let refusing = Seen { starttls: Some(Reply::plain(454, "Not now")), ..offering(Vec::new()) };
        let plain = || Seen { before: Some(ehlo(&["SIZE"])), ..Seen::default() };
        let masked = Seen { middlebox: Some("a keyword is masked".into()), ..plain() };
        let rest = [failing, refusing, plain(), masked];
        secured.into_iter().chain(small).chain(rest).collect()
    }

    #[test]
    fn mail_never_goes_by_a_connection_that_does_not_satisfy_what_is_demanded() {
        for requirement in REQUIREMENTS {
            for seen in scenes() {
                let Ok(going) = prospect(requirement, Start::Upgrade, &seen) else { continue };
                let facts = if going.outlook == Outlook::Clear {
                    None
                } else {
                    seen.secured().map(|(_, facts)| facts)
                };
                assert!(requirement.is_satisfied_by(facts), "{requirement}: {going:?}");
            }
        }
    }

    #[test]
    fn opportunistic_mail_always_goes_and_only_it_takes_a_small_hello() {
        for seen in scenes() {
            assert!(prospect(TlsRequirement::OPPORTUNISTIC, Start::Upgrade, &seen).is_ok(), "{seen:?}");
            let fell_back = seen.tries.len() == 2;
            for requirement in &REQUIREMENTS[2..] {
                let goes = prospect(*requirement, Start::Upgrade, &seen).is_ok();
                assert!(!(goes && fell_back), "{requirement}: {seen:?}");
            }
        }
    }

    #[test]
    fn what_is_hidden_on_the_way_is_no_fault_of_the_server() {
        let fault = |seen: &Seen| match prospect(TlsRequirement::REQUIRED, Start::Upgrade, seen) {
            Err(Outcome::Deferred(trouble)) => trouble.fault(),
            other => panic!("{other:?}"),
        };
        let plain = Seen { before: Some(ehlo(&[])), ..Seen::default() };
        assert_eq!(fault(&plain), Some(TlsFault::NotOffered));
        let masked = Seen { middlebox: Some("a keyword is masked".into()), ..plain };
        assert_eq!(fault(&masked), Some(TlsFault::Stripped));
    }

    #[test]
    fn what_anybody_could_have_said_never_fails_mail() {
        let reply = Reply::plain(554, "Go away");
        let halt = Trouble::new(Step::Greeting, Reason::Refused).with_reply(Some(reply));
        let seen = Seen { halt: Some(halt), ..Seen::default() };
        for requirement in REQUIREMENTS {
            let fails = matches!(prospect(requirement, Start::Upgrade, &seen), Err(Outcome::Failed(_)));
            assert_eq!(fails, requirement.allows_clear(), "{requirement}");
        }
    }

    #[test]
    fn one_address_that_takes_it_is_enough_and_all_must_refuse_for_good() {
        let destination = Destination("example.net".into());
        let waits = || Err(Outcome::Deferred(Trouble::new(Step::Connect, Reason::TimedOut)));
        let fails = || Err(Outcome::Failed(Trouble::new(Step::Greeting, Reason::Refused)));
        let goes = || Ok(Going { outlook: Outlook::Clear, words: String::new() });
        let outlook = |prospects: Vec<Prospect>| {
            let named: Vec<_> = prospects.into_iter().map(|prospect| ("mx".to_owned(), prospect)).collect();
            overall(&named, &destination).outlook
        };
        assert_eq!(outlook(vec![fails(), waits(), goes()]), Outlook::Clear);
        assert_eq!(outlook(vec![waits(), fails()]), Outlook::Waits);
        assert_eq!(outlook(vec![fails(), fails()]), Outlook::Fails);
        assert_eq!(outlook(Vec::new()), Outlook::Waits);
    }

    #[test]
    fn a_trouble_with_tls_is_told_before_a_host_that_is_down_as_a_delivery_tells_it() {
        let failure = TlsFailure::new(TlsFault::SelfSigned, "it is signed by itself");
        let down = Outcome::Deferred(Trouble::new(Step::Connect, Reason::TimedOut));
        let prospects = [("a".to_owned(), Err(tls_failed(&failure))), ("b".to_owned(), Err(down))];
        let words = overall(&prospects, &Destination("example.net".into())).words;
        assert!(words.contains("signed by itself"), "{words}");
    }
}
